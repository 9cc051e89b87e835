"""Host names in certificates: which are well formed, and which name covers which (RFC 6125, RFC 9525).

A wildcard is a whole leftmost label and stands for exactly one label. Names are ASCII; internationalised
names are written as A-labels. The common name of a subject is never a host name here.
"""

from __future__ import annotations

import re
from typing import Final

from mtls_operator.pki.errors import PkiError, Reason

_LONGEST: Final = 253
_LABEL: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_WILDCARD: Final = "*."


def is_hostname(name: str) -> bool:
    """Return whether a name is a plain DNS host name: no wildcard, no underscore, no trailing dot, no IP."""
    labels = name.split(".")
    if len(name) > _LONGEST or not all(_LABEL.fullmatch(label) for label in labels):
        return False
    return not labels[-1].isdigit()


def is_wildcard(name: str) -> bool:
    """Return whether a name is ``*.`` and a host name of at least two labels."""
    rest = name.removeprefix(_WILDCARD)
    return name.startswith(_WILDCARD) and len(name) <= _LONGEST and "." in rest and is_hostname(rest)


def require_hostname(name: str, *, reason: Reason, wildcard: bool) -> str:
    """Return a well-formed host name (or, where allowed, wildcard); else raise `PkiError` that names it."""
    if is_hostname(name) or (wildcard and is_wildcard(name)):
        return name
    hint = (
        "a DNS name or a leading wildcard like *.example.com" if wildcard else "a DNS name without wildcard"
    )
    raise PkiError(reason, f"{name[:300]!r} is not {hint}.")


def covers(presented: str, hostname: str) -> bool:
    """Return whether a DNS name of a certificate is valid for a host name (RFC 9525, 6.3).

    A wildcard host name is covered only by the same wildcard: one presented name per label would not serve
    all of it.
    """
    have, want = presented.lower(), hostname.lower()
    if have == want:
        return is_hostname(have) or is_wildcard(have)
    _, _, parent = want.partition(".")
    return is_hostname(want) and is_wildcard(have) and have == _WILDCARD + parent
