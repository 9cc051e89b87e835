"""The quickstart, played through: apply, wait, ask as six clients, revoke on an open connection, show the status."""

from __future__ import annotations

import json
import socket
import ssl
import time
import urllib.request
from base64 import b64decode
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import PIPE, Popen
from tempfile import TemporaryDirectory

import yaml
from clients import Client, Identity, expired, foreign, from_secret
from release import NAMESPACE, ROOT, CommandError, Shell

TENANT = "shop"
HOSTNAME = "api.example.com"
_WAIT_SECONDS = 180.0
_SOON_SECONDS = 10.0
_LET_IN, _REFUSED = 200, 403


class MismatchError(Exception):
    """Something was not as expected."""


@dataclass(frozen=True, slots=True)
class Row:
    """One request: who asks, with which certificate, for what, and the expected status."""

    who: str
    identity: Identity | None
    path: str
    expected: int


def run(shell: Shell) -> None:
    """Play the quickstart through.

    Raises:
        MismatchError: an answer was not the expected one.
    """
    print("Applying examples/quickstart ...", flush=True)
    for file in sorted((ROOT / "examples" / "quickstart").glob("[0-9]*.yaml")):
        shell.kubectl("apply", f"--filename={file}")
    _restore(shell)
    _wait(shell, "clientcertificate", "gateway-7")
    _wait(shell, "clientcertificate", "gateway-8")
    _wait(shell, "mtlshost", "api")
    _wait(shell, "mtlsrule", "admin")
    with _address(shell) as address:
        _ask(shell, address)
    print()
    print(shell.kubectl("get", "mtls", "--all-namespaces"))
    print('Look around:  eval "$(.venv/bin/python hack/cluster env)"; kubectl -n shop describe mtlshost api')
    print("Clean up:     make demo-down")


def _restore(shell: Shell) -> None:
    """Take back the revocation of an earlier run."""
    patch = json.dumps({"spec": {"revoked": False}})
    for name in ("gateway-7", "gateway-8"):
        shell.kubectl(
            "patch", "clientcertificate", name, f"--namespace={TENANT}", "--type=merge", f"--patch={patch}"
        )


def _wait(shell: Shell, kind: str, name: str) -> None:
    """Wait until an object is Ready, saying what it waits for."""
    began, said = time.monotonic(), ""
    while True:
        body = shell.get(kind, name, f"--namespace={TENANT}")
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
def _address(shell: Shell) -> Iterator[tuple[str, int]]:
    """Yield where the Service answers: its own address where that can be reached, else through a port-forward."""
    service = shell.get("service", "api", f"--namespace={TENANT}")
    direct = (service["spec"]["clusterIP"], 443)
    if _answers(direct):
        yield direct
        return
    command = ["kubectl", f"--namespace={TENANT}", "port-forward", "service/api", "0:443"]
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


def _ask(shell: Shell, address: tuple[str, int]) -> None:
    server = shell.get("secret", "mtls-server-api", f"--namespace={TENANT}")
    server_ca = b64decode(server["data"]["ca.crt"]).decode()
    good = from_secret(shell.get("secret", "gateway-7", f"--namespace={TENANT}"))
    other = from_secret(shell.get("secret", "gateway-8", f"--namespace={TENANT}"))
    authority = from_secret(shell.get("secret", f"ca-{TENANT}-1", f"--namespace={NAMESPACE}"))

    def client(identity: Identity | None) -> Client:
        return Client(address, HOSTNAME, server_ca=server_ca, identity=identity)

    seconds = _revoke_and_measure(shell, client(other))
    clients: Sequence[tuple[str, Identity | None, int]] = (
        ("no certificate", None, _REFUSED),
        ("gateway-7, valid", good, _LET_IN),
        ("of a foreign CA", foreign(), _REFUSED),
        ("expired, of our CA", expired(authority), _REFUSED),
        ("gateway-8, revoked", other, _REFUSED),
    )
    rows = [
        Row(who, identity, path, admin if path == "/admin" else _LET_IN)
        for who, identity, admin in clients
        for path in ("/", "/admin")
    ]
    wrong = _table(rows, client)
    print(
        f"\nRevoked on an open connection: the first 403 came {seconds * 1000:.0f} ms after the patch was sent."
    )
    if wrong:
        raise MismatchError(f"{wrong} requests were not answered as expected")


def _table(rows: Sequence[Row], client: Callable[[Identity | None], Client]) -> int:
    print(f"\n  {'client certificate':<22}{'path':<10}{'expected':<10}actual")
    wrong = 0
    for row in rows:
        actual = client(row.identity).status(row.path)
        verdict = "ok" if actual == row.expected else "NOT AS EXPECTED"
        wrong += actual != row.expected
        print(f"  {row.who:<22}{row.path:<10}{row.expected:<10}{actual:<6}{verdict}", flush=True)
    return wrong


def _revoke_and_measure(shell: Shell, connection: Client) -> float:
    """Revoke gateway-8 while a connection of it is open; return the seconds to the first refused request on it."""
    before = connection.status("/admin")
    if before != _LET_IN:
        raise MismatchError(f"gateway-8 got {before} at /admin before it was revoked")
    with _api(shell) as patch:
        began = time.monotonic()
        patch({"spec": {"revoked": True}})
        while connection.status("/admin") != _REFUSED:
            if time.monotonic() - began > _SOON_SECONDS:
                raise MismatchError("gateway-8 still gets in 10 s after it was revoked")
        seconds = time.monotonic() - began
    began = time.monotonic()
    while True:
        state = shell.get("clientcertificate", "gateway-8", f"--namespace={TENANT}")["status"]["state"]
        if state == "Revoked":
            return seconds
        if time.monotonic() - began > _SOON_SECONDS:
            raise MismatchError(f"gateway-8 is {state}, not Revoked, 10 s after every proxy refused it")


@contextmanager
def _api(shell: Shell) -> Iterator[Callable[[object], None]]:
    """Yield a function that patches gateway-8 directly: starting kubectl would take longer than the revocation."""
    config = yaml.safe_load(Path(shell.environment["KUBECONFIG"]).read_text())
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    context = ssl.create_default_context(cadata=b64decode(cluster["certificate-authority-data"]).decode())
    with TemporaryDirectory() as folder:
        pair = Path(folder, "pair.pem")
        pair.touch(mode=0o600)
        pair.write_bytes(b64decode(user["client-certificate-data"]) + b64decode(user["client-key-data"]))
        context.load_cert_chain(pair)
    path = f"/apis/mtls-operator.dev/v1alpha1/namespaces/{TENANT}/clientcertificates/gateway-8"

    def patch(body: object) -> None:
        request = urllib.request.Request(  # noqa: S310 - the API server of the kubeconfig
            cluster["server"] + path,
            data=json.dumps(body).encode(),
            method="PATCH",
            headers={"Content-Type": "application/merge-patch+json"},
        )
        with urllib.request.urlopen(request, context=context, timeout=10) as response:  # noqa: S310
            if response.status != _LET_IN:
                raise CommandError(f"the API server answered {response.status}")

    yield patch
