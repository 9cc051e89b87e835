"""The real Envoy for tests: folders as the kubelet mounts them, the process, and its status port.

``Site`` is what a pod has around its sidecar (mounted folders, free ports), ``Proxy`` the running process.
"""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.upstream import free_port

from mtls_operator.api import names
from mtls_operator.envoy import STATS_QUERY, Placement, ProxyStats, parse_proxy_stats

DEADLINE = 20.0


def envoy_binary() -> str:
    """Return the path of Envoy: beside the running Python, or on PATH."""
    beside = Path(sys.executable).with_name("envoy")
    found = str(beside) if beside.exists() else shutil.which("envoy")
    if found is None:
        raise RuntimeError("no envoy binary: install the development dependencies")
    return found


def eventually(condition: Callable[[], bool], what: str, *, seconds: float = DEADLINE) -> None:
    """Wait until a condition holds; fails with ``what`` after a deadline."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        time.sleep(0.01)


def swap(folder: Path, files: Mapping[str, str | bytes]) -> None:
    """Replace the files of a mounted folder as the kubelet does: a new folder, and one rename of ``..data``."""
    folder.mkdir(parents=True, exist_ok=True)
    version = folder / f"..{time.monotonic_ns()}"
    version.mkdir()
    for name, content in files.items():
        (version / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    data, fresh = folder / "..data", folder / "..data_tmp"
    old = data.resolve() if data.is_symlink() else None
    fresh.symlink_to(version.name)
    fresh.rename(data)
    for name in files:
        link = folder / name
        if not link.is_symlink():
            link.symlink_to(Path("..data") / name)
    if old is not None:
        shutil.rmtree(old)


def read_folder(folder: Path) -> dict[str, bytes]:
    """Return the files of a mounted folder."""
    return {path.name: path.read_bytes() for path in sorted((folder / "..data").iterdir())}


@dataclass(frozen=True, slots=True)
class Site:
    """Folders and ports of one proxy outside of a pod."""

    root: Path
    placement: Placement

    @classmethod
    def create(cls, root: Path) -> Self:
        """Make the folders below ``root`` and find free ports."""
        (root / "run").mkdir(parents=True)
        placement = Placement(
            host_folder=str(root / "host"),
            revocation_folder=str(root / "revocation"),
            server_folder=str(root / "server"),
            proxy_folder=str(root / "proxy"),
            run_folder=str(root / "run"),
            address="127.0.0.1",
            tls_port=free_port(),
            status_port=free_port(),
        )
        return cls(root, placement)

    def mount(self, folder: str, files: Mapping[str, str | bytes]) -> None:
        """Publish the complete content of one of the folders host, revocation, server, proxy."""
        swap(self.root / folder, files)

    def change(self, folder: str, files: Mapping[str, str | bytes]) -> None:
        """Publish a folder again with some files changed."""
        swap(self.root / folder, {**read_folder(self.root / folder), **files})


class Proxy:
    """A running Envoy; waits until it serves, and is killed on exit."""

    def __init__(self, site: Site, *, node: str = "shop/api-0/uid-0", concurrency: int = 1) -> None:
        self.site = site
        self.log = site.root / "envoy.log"
        self.out = site.root / "envoy.out"
        with self.log.open("wb") as log, self.out.open("wb") as out:
            self._process = subprocess.Popen(
                [
                    envoy_binary(),
                    "-c",
                    f"{site.placement.host_folder}/{names.BOOTSTRAP_KEY}",
                    "--service-node",
                    node,
                    "--service-cluster",
                    "api",
                    "--concurrency",
                    str(concurrency),
                    "--disable-hot-restart",
                    "--reject-unknown-dynamic-fields",
                    "--drain-strategy",
                    "immediate",
                    "--drain-time-s",
                    "1",
                    "--file-flush-interval-msec",
                    "100",
                    "-l",
                    "warn",
                ],
                stdout=out,
                stderr=log,
                env={"PATH": os.environ.get("PATH", ""), "TMPDIR": str(site.root)},
            )

    def wait(self) -> Self:
        """Wait until the process serves; fails with its log when it exits instead."""
        eventually(self._is_live, "the proxy is ready")
        return self

    @property
    def pid(self) -> int:
        """Return the process id."""
        return self._process.pid

    def exit_code(self) -> int:
        """Wait until the process ends by itself and return its exit code."""
        return self._process.wait(DEADLINE)

    def status(self, path: str, method: str = "GET") -> tuple[int, str]:
        """Ask the status port; status 0 when it does not answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.site.placement.status_port, timeout=5)
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        except (OSError, http.client.HTTPException):
            return 0, ""
        finally:
            connection.close()

    def stats(self) -> ProxyStats:
        """Return what the proxy reports to be in force."""
        return parse_proxy_stats(self.status(STATS_QUERY)[1])

    def counter(self, name: str) -> int:
        """Return one counter; 0 when it does not exist."""
        for line in self.status(f"/stats?filter=^{name}$")[1].splitlines():
            return int(line.rpartition(": ")[2])
        return 0

    def close(self) -> None:
        """Stop the process."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(5)

    def _is_live(self) -> bool:
        if self._process.poll() is not None:
            raise AssertionError(
                f"envoy exited with {self._process.returncode}:\n{self.log.read_text()[-4000:]}"
            )
        live, _ = self.status("/ready")
        return live == 200 and self.counter("listener_manager.workers_started") == 1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def validate(config: Path) -> subprocess.CompletedProcess[str]:
    """Run ``envoy --mode validate`` on a configuration file."""
    return subprocess.run(
        [
            *(envoy_binary(), "--mode", "validate", "-c", str(config), "-l", "warn"),
            *("--service-node", "validate", "--service-cluster", "validate"),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
