"""Where things are: the checkout, the cache of builds, the state of one cluster.

The cache may be deleted at any time. The state folder belongs to one cluster and is deleted with it. Sockets live
in a short folder under ``/run``, because the path of a Unix socket is limited to 107 bytes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from testcluster.errors import ClusterError

REPOSITORY: Final = Path(__file__).resolve().parents[3]
GO_SETS: Final = REPOSITORY / "hack" / "cluster" / "go"
IMAGE_SOURCES: Final = REPOSITORY / "hack" / "images"

_NAME: Final = re.compile(r"[a-z]([a-z0-9-]{0,18}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Places:
    """The folders of one cluster."""

    name: str
    cache: Path
    states: Path

    @property
    def state(self) -> Path:
        """Everything of this cluster that outlives a command."""
        return self.states / self.name

    @property
    def run(self) -> Path:
        """Sockets of this cluster."""
        return Path("/run") / f"mtls-operator-{self.name}"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig, readable by its owner only."""
        return self.state / "kubeconfig"

    @property
    def certificates(self) -> Path:
        """Keys and certificates of the local provider."""
        return self.state / "pki"

    @property
    def configs(self) -> Path:
        """Rendered configuration files of the local provider."""
        return self.state / "config"

    @property
    def logs(self) -> Path:
        """Log files of the local provider, one for each process, and the audit log."""
        return self.state / "logs"

    @property
    def pids(self) -> Path:
        """Pid files of the local provider."""
        return self.state / "pids"

    @property
    def lock(self) -> Path:
        """The file that serialises the commands which change a cluster."""
        return self.states / ".lock"


def places(name: str, *, environment: Mapping[str, str]) -> Places:
    """Return the folders of the cluster ``name``, by the XDG base directory specification.

    Raises:
        ClusterError: the name is not a short lower-case label, or HOME is missing.
    """
    if not _NAME.fullmatch(name):
        raise ClusterError(f"cluster name {name!r}: use 1 to 20 of a-z, 0-9 and -, beginning with a letter")
    return Places(
        name=name,
        cache=_base(environment, "XDG_CACHE_HOME", ".cache") / "mtls-operator",
        states=_base(environment, "XDG_STATE_HOME", ".local/state") / "mtls-operator",
    )


def _base(environment: Mapping[str, str], variable: str, default: str) -> Path:
    value = environment.get(variable, "")
    if value.startswith("/"):  # the specification: a relative path is to be ignored
        return Path(value)
    home = environment.get("HOME", "")
    if not home.startswith("/"):
        raise ClusterError(f"neither {variable} nor HOME is an absolute path: where to keep files is unknown")
    return Path(home) / default
