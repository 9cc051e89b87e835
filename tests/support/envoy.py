"""The real Envoy for tests: folders as the kubelet mounts them, the process, and its status port.

``Site`` is what a pod has around its sidecar (mounted folders, free ports), ``Proxy`` the running process.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from mtls_operator.cli import proxy
from mtls_operator.envoy import STATS_QUERY, ProxyStats, parse_proxy_stats

DEADLINE = 20.0


def eventually(condition: Callable[[], bool], what: str, *, seconds: float = DEADLINE) -> None:
    """Wait until a condition holds; fails with ``what`` after a deadline."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        time.sleep(0.01)


def read_folder(folder: Path) -> dict[str, bytes]:
    """Return the files of a mounted folder."""
    return {path.name: path.read_bytes() for path in sorted((folder / "..data").iterdir())}


@dataclass(frozen=True, slots=True)
class Site(proxy.Site):
    """Folders and ports of one proxy outside of a pod."""

    def change(self, folder: str, files: Mapping[str, str | bytes]) -> None:
        """Publish a folder again with some files changed."""
        proxy.swap(self.root / folder, {**read_folder(self.root / folder), **files})


class Proxy(proxy.Proxy):
    """A running Envoy whose statistics are read."""

    @property
    def pid(self) -> int:
        """Return the process id."""
        return self._process.pid

    def exit_code(self) -> int:
        """Wait until the process ends by itself and return its exit code."""
        return self._process.wait(DEADLINE)

    def stats(self) -> ProxyStats:
        """Return what the proxy reports to be in force."""
        return parse_proxy_stats(self.status(STATS_QUERY)[1])


def validate(config: Path) -> subprocess.CompletedProcess[str]:
    """Run ``envoy --mode validate`` on a configuration file."""
    return subprocess.run(
        [
            *(proxy.find_envoy(), "--mode", "validate", "-c", str(config), "-l", "warn"),
            *("--service-node", "validate", "--service-cluster", "validate"),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
