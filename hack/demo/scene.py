"""What the scenarios share: waiting for objects, the way to a Service, tables of who got in, quick patches."""

from __future__ import annotations

import json
import socket
import ssl
import time
import urllib.request
from base64 import b64decode
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE, Popen
from tempfile import TemporaryDirectory

import yaml
from release import ROOT, CommandError, Shell

LET_IN, REFUSED = 200, 403
SOON_SECONDS = 10.0
_WAIT_SECONDS = 180.0


class MismatchError(Exception):
    """Something was not as expected."""


def apply(shell: Shell, example: str) -> None:
    """Apply the numbered files of an example in their order."""
    print(f"Applying examples/{example} ...", flush=True)
    for file in sorted((ROOT / "examples" / example).glob("[0-9]*.yaml")):
        shell.kubectl("apply", f"--filename={file}")


def wait_ready(shell: Shell, namespace: str, kind: str, name: str) -> None:
    """Wait until an object is Ready, saying what it waits for."""
    began, said = time.monotonic(), ""
    while True:
        body = shell.get(kind, name, f"--namespace={namespace}")
        conditions = {c["type"]: c for c in (body.get("status") or {}).get("conditions") or ()}
        ready = conditions.get("Ready")
        current = ready is not None and ready.get("observedGeneration") == body["metadata"]["generation"]
        if ready is not None and current and ready["status"] == "True":
            print(f"  {kind}/{name}: {ready['message']} ({time.monotonic() - began:.1f} s)", flush=True)
            return
        message = ready["message"] if ready is not None else "not seen by the operator yet"
        if message != said:
            print(f"  {kind}/{name}: {message}", flush=True)
            said = message
        if time.monotonic() - began > _WAIT_SECONDS:
            raise MismatchError(f"{kind}/{name} is not Ready after {_WAIT_SECONDS:.0f} s: {message}")
        time.sleep(0.3)


@contextmanager
def address_of(shell: Shell, namespace: str, service: str) -> Iterator[tuple[str, int]]:
    """Yield where a Service answers: its own address where that can be reached, else through a port-forward."""
    body = shell.get("service", service, f"--namespace={namespace}")
    direct = (body["spec"]["clusterIP"], 443)
    if _answers(direct):
        yield direct
        return
    command = ["kubectl", f"--namespace={namespace}", "port-forward", f"service/{service}", "0:443"]
    with Popen(command, env=shell.environment, stdout=PIPE, text=True, cwd=ROOT) as forward:
        try:
            assert forward.stdout is not None  # noqa: S101 - a pipe was asked for
            line = forward.stdout.readline()
            yield "127.0.0.1", int(line.partition(" -> ")[0].rpartition(":")[2])
        finally:
            forward.terminate()


def _answers(address: tuple[str, int]) -> bool:
    try:
        socket.create_connection(address, timeout=1).close()
    except OSError:
        return False
    return True


class Table:
    """Rows of what was expected and what came; ``wrong`` counts those that differ, of ``total``."""

    def __init__(self, **widths: int) -> None:
        self._names = [name.replace("_", " ") for name in widths]
        self._widths = list(widths.values())
        self.wrong = self.total = 0

    def head(self) -> None:
        """Print the names of the columns."""
        print(f"\n  {self._cells(self._names)}{'expected':<10}actual", flush=True)

    def row(self, *cells: str, expected: int, actual: int) -> None:
        """Print a row with its verdict."""
        verdict = self.verdict(fine=actual == expected)
        print(f"  {self._cells(cells)}{expected:<10}{actual:<6}{verdict}", flush=True)

    def verdict(self, *, fine: bool) -> str:
        """Count a verdict, and return its words."""
        self.total += 1
        self.wrong += not fine
        return "ok" if fine else "NOT AS EXPECTED"

    def _cells(self, cells: Sequence[str]) -> str:
        return "".join(f"{cell:<{width}}" for cell, width in zip(cells, self._widths, strict=True))


def ask_until(status: Callable[[], int], wanted: int, *, what: str) -> None:
    """Ask again and again, without a pause, until the wanted answer comes.

    Raises:
        MismatchError: it does not come within ten seconds.
    """
    began = time.monotonic()
    while (seen := status()) != wanted:
        if time.monotonic() - began > SOON_SECONDS:
            raise MismatchError(f"{what}: still {seen} after {SOON_SECONDS:.0f} s")


@contextmanager
def patching(shell: Shell) -> Iterator[Callable[[str, object], None]]:
    """Yield a function that patches an object by its path: starting kubectl would take longer than a revocation."""
    config = yaml.safe_load(Path(shell.environment["KUBECONFIG"]).read_text())
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    context = ssl.create_default_context(cadata=b64decode(cluster["certificate-authority-data"]).decode())
    with TemporaryDirectory() as folder:
        pair = Path(folder, "pair.pem")
        pair.touch(mode=0o600)
        pair.write_bytes(b64decode(user["client-certificate-data"]) + b64decode(user["client-key-data"]))
        context.load_cert_chain(pair)

    def patch(path: str, body: object) -> None:
        request = urllib.request.Request(  # noqa: S310 - the API server of the kubeconfig
            cluster["server"] + path,
            data=json.dumps(body).encode(),
            method="PATCH",
            headers={"Content-Type": "application/merge-patch+json"},
        )
        with urllib.request.urlopen(request, context=context, timeout=10) as response:  # noqa: S310
            if response.status != LET_IN:
                raise CommandError(f"the API server answered {response.status}")

    yield patch
