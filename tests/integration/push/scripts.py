"""Small scripts whose effect one can see."""

from __future__ import annotations

from mtls_operator.api import names
from mtls_operator.push import Script


def lua(name: str, version: str, *, status: int | None = None) -> Script:
    """Return a script that answers every request with a status and its version, or lets it pass."""
    body = f'h:respond({{[":status"]="{status}"}}, "{version}")' if status else ""
    return Script(name, version, f"-- {name} {version}\nfunction envoy_on_request(h)\n  {body}\nend\n")


def rules(version: str, *, status: int | None = 403) -> Script:
    return lua(names.RULES_FILTER, version, status=status)


def revocation(version: str, *, status: int | None = None) -> Script:
    return lua(names.REVOCATION_FILTER, version, status=status)


def broken(version: str) -> Script:
    return Script(names.RULES_FILTER, version, f"-- {names.RULES_FILTER} {version}\nif then\n")
