"""The quickstart, played through: apply, wait, ask as six clients, revoke on an open connection, show the status."""

from __future__ import annotations

import json
import time
from base64 import b64decode
from collections.abc import Sequence

from clients import Client, Identity, expired, foreign, from_secret
from release import NAMESPACE, Shell
from scene import (
    LET_IN,
    REFUSED,
    SOON_SECONDS,
    MismatchError,
    Table,
    address_of,
    apply,
    ask_until,
    patching,
    wait_ready,
)

TENANT = "shop"
HOSTNAME = "api.example.com"


def run(shell: Shell) -> None:
    """Play the quickstart through.

    Raises:
        MismatchError: an answer was not the expected one.
    """
    apply(shell, "quickstart")
    _restore(shell)
    wait_ready(shell, TENANT, "clientcertificate", "gateway-7")
    wait_ready(shell, TENANT, "clientcertificate", "gateway-8")
    wait_ready(shell, TENANT, "mtlshost", "api")
    wait_ready(shell, TENANT, "mtlsrule", "admin")
    with address_of(shell, TENANT, "api") as address:
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
        ("no certificate", None, REFUSED),
        ("gateway-7, valid", good, LET_IN),
        ("of a foreign CA", foreign(), REFUSED),
        ("expired, of our CA", expired(authority), REFUSED),
        ("gateway-8, revoked", other, REFUSED),
    )
    table = Table(client_certificate=22, path=10)
    table.head()
    for who, identity, admin in clients:
        for path, expected in (("/", LET_IN), ("/admin", admin)):
            table.row(who, path, expected=expected, actual=client(identity).status(path))
    print(
        f"\nRevoked on an open connection: the first 403 came {seconds * 1000:.0f} ms after the patch was sent."
    )
    if table.wrong:
        raise MismatchError(f"{table.wrong} requests were not answered as expected")


def _revoke_and_measure(shell: Shell, connection: Client) -> float:
    """Revoke gateway-8 while a connection of it is open; return the seconds to the first refused request on it."""
    before = connection.status("/admin")
    if before != LET_IN:
        raise MismatchError(f"gateway-8 got {before} at /admin before it was revoked")
    path = f"/apis/mtls-operator.dev/v1alpha1/namespaces/{TENANT}/clientcertificates/gateway-8"
    with patching(shell) as patch:
        began = time.monotonic()
        patch(path, {"spec": {"revoked": True}})
        ask_until(lambda: connection.status("/admin"), REFUSED, what="gateway-8, revoked")
        seconds = time.monotonic() - began
    began = time.monotonic()
    while True:
        state = shell.get("clientcertificate", "gateway-8", f"--namespace={TENANT}")["status"]["state"]
        if state == "Revoked":
            return seconds
        if time.monotonic() - began > SOON_SECONDS:
            raise MismatchError(f"gateway-8 is {state}, not Revoked, 10 s after every proxy refused it")
