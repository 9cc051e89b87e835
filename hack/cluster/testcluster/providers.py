"""Which provider runs the cluster: the one it was made with, the one that was asked for, or the first that works."""

from __future__ import annotations

import enum
import json

from testcluster.commands import write_whole
from testcluster.errors import ClusterError
from testcluster.places import Places

_FILE = "provider.json"


class Provider(enum.Enum):
    """Who runs the cluster."""

    LOCAL = "local"
    KIND = "kind"
    CURRENT = "current"


def choose(
    asked: Provider | None, *, recorded: Provider | None, kind_missing: str, local_missing: str
) -> Provider:
    """Return the provider to use.

    Args:
        asked: what the user asked for; None leaves the choice to us.
        recorded: what the cluster of this name was made with; None when there is none.
        kind_missing: why kind does not work here; empty when it does.
        local_missing: why the local provider does not work here; empty when it does.

    Raises:
        ClusterError: another provider was asked for than the cluster was made with, or none works.
    """
    if recorded is not None:
        if asked not in (None, recorded):
            raise ClusterError(
                f"a cluster of this name was made with --provider {recorded.value}; 'down' ends it"
            )
        return recorded
    if asked is not None:
        return asked
    if not kind_missing:
        return Provider.KIND
    if not local_missing:
        return Provider.LOCAL
    raise ClusterError(
        f"no provider works here. kind: {kind_missing}. local: {local_missing}. "
        "A cluster of your own: --provider current --context NAME"
    )


def recorded(places: Places) -> Provider | None:
    """Return the provider that the cluster of this name was made with; None when there is no such cluster."""
    try:
        document = json.loads((places.state / _FILE).read_bytes())
    except FileNotFoundError:
        return None
    return Provider(document["provider"])


def record(places: Places, provider: Provider) -> None:
    """Remember with which provider a cluster was made."""
    write_whole(places.state / _FILE, (json.dumps({"provider": provider.value}) + "\n").encode())
