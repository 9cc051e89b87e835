"""The user id of a sidecar: its own in every pod.

Two reasons. The kernel counts inotify instances per user and node (128 by default) and a proxy needs several,
so that proxies with one shared id fail from about the nineteenth on. And a listening port can be shared by
processes of one user (SO_REUSEPORT): no container of the pod may run under the id of the proxy.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from typing import Final

#: Above everything that images and distributions use, and such that nothing derived from it passes 2^31.
FIRST_UID: Final = 100_000
LAST_UID: Final = 2**31 - 2**17 - 1
#: A pod with ``hostUsers: false`` maps 65 536 ids only; they are its own on the node already.
FIRST_MAPPED_UID: Final = 10_000
LAST_MAPPED_UID: Final = 65_533


def choose_uid(entropy: bytes, *, own_user_namespace: bool, taken: Collection[int]) -> int:
    """Return the user id that the entropy gives, none of those that the pod uses otherwise.

    ``own_user_namespace`` is ``spec.hostUsers: false``.
    """
    first, last = (FIRST_MAPPED_UID, LAST_MAPPED_UID) if own_user_namespace else (FIRST_UID, LAST_UID)
    count = last - first + 1
    start = int.from_bytes(hashlib.sha256(b"mtls-operator uid\n" + entropy).digest()) % count
    return next(uid for step in range(len(taken) + 1) if (uid := first + (start + step) % count) not in taken)
