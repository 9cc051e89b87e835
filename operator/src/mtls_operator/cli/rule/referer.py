"""Which Referer headers arrive: Envoy removes what is no reference (RFC 9110, 10.1.3) before any rule runs.

Written down here from what the real Envoy does; a test compares them.
"""

from __future__ import annotations

import re
from typing import Final

_ABSOLUTE: Final = re.compile(
    r"[A-Za-z][A-Za-z0-9+.-]*://@?([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:(?P<port>[0-9]{1,5}))?([/?][!\"$-~]*)?"
)
_RELATIVE: Final = re.compile(r"[A-Za-z0-9._~%!$&'()*+,;=@?-]*(/[A-Za-z0-9._~%!$&'()*+,;=@?:/-]*)?")
_MOST_PORT: Final = 65_535


def referer_arrives(value: str) -> bool:
    """Say whether rules and application see a Referer; one with a fragment or a user, for one, is removed."""
    absolute = _ABSOLUTE.fullmatch(value)
    if absolute is None:
        return _RELATIVE.fullmatch(value) is not None
    return absolute["port"] is None or int(absolute["port"]) <= _MOST_PORT
