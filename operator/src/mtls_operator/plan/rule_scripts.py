"""A compiled rule as a proxy gets it: the language's code in the data plane's form.

The two know nothing of each other; this is the one place where a guard of the one becomes that of the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from mtls_operator.envoy import Action, RuleScript
from mtls_operator.rules import LuaCode, NamedList

_NO_LISTS: Final[Mapping[str, NamedList]] = MappingProxyType({})


def rule_script(  # noqa: PLR0913 - the parts of one rule, all but its name and its code by keyword
    name: str,
    code: LuaCode,
    *,
    action: Action,
    lists: Mapping[str, NamedList] = _NO_LISTS,
    status: int | None = None,
    content_type: str | None = None,
    body: str | None = None,
) -> RuleScript:
    """Return a rule with the guard of its code, and with what the ``lists`` that it uses hold now.

    ``status``, ``content_type`` and ``body`` are those of :class:`~mtls_operator.envoy.RuleScript`.
    """
    guard = code.guard
    return RuleScript(
        name=name,
        action=action,
        constants=code.bound(lists),
        expression=code.expression,
        status=status,
        content_type=content_type,
        body=body,
        paths=None if guard.paths is None else tuple(sorted(guard.paths)),
        prefixes=tuple(sorted(guard.prefixes)),
        spares_good=guard.spares_good,
    )
