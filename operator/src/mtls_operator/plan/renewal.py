"""When a certificate is replaced: from its own dates and its object's UID alone, so that every look gives the same.

The times of many objects that were created together are spread, by at most a tenth of the window in which the
renewal may happen.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from typing import Final

#: Without ``renewal.before``, a certificate is renewed when this part of its life is left.
DEFAULT_PART: Final = 3
#: The spread, as a part of the window between renewal and end.
SPREAD_PART: Final = 10


def renewal_time(
    not_before: datetime, not_after: datetime, *, before: timedelta | None, uid: str
) -> datetime:
    """Return when to renew: ``before`` the end (default: a third of the life), less a spread of its own.

    A window that is as long as the life or longer would renew for ever: it is cut to nine tenths of the life.
    """
    life = not_after - not_before
    window = life / DEFAULT_PART if before is None else min(before, life * 9 / 10)
    moment = not_after - window + spread(uid, window / SPREAD_PART)
    return moment.replace(microsecond=0)


def spread(uid: str, window: timedelta) -> timedelta:
    """Return a part of a window that is always the same for a UID and different for different ones."""
    digest = hashlib.sha256(uid.encode()).digest()
    return window * (int.from_bytes(digest[:8], "big") / 2**64)
