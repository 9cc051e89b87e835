"""Every way to a certificate: a device's own key, a phone's keystore, a partner's CA with its list, and a new CA.

Each part is what a person would do, with kubectl, openssl and the plugin ``kubectl mtls``, and a request.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from clients import Identity
from partner import Partner, new_partner
from release import ROOT, CommandError, Shell
from rotation import rotate
from scene import LET_IN, REFUSED, MismatchError, Table, ask_until, patching, wait_ready
from stage import TENANT, Stage, say, stage_on, title
from terminal import Terminal

#: Chart values of this demo: certificates follow a new CA within seconds, not within an hour.
VALUES = ("rotation.reissueSeconds=15",)
#: What openssl calls the cipher of a keystore with the profile Modern.
_MODERN = "AES-256-CBC"


def run(shell: Shell) -> None:
    """Play all parts.

    Raises:
        CommandError: a command failed.
        MismatchError: an answer was not the expected one.
    """
    if shutil.which("openssl") is None:
        raise CommandError("this demo needs the command openssl (Debian: apt-get install openssl)")
    began, table = time.monotonic(), Table(client_certificate=38)
    with TemporaryDirectory() as folder:
        # The commands are shown as they are typed in a checkout.
        Path(folder, "examples").symlink_to(ROOT / "examples")
        terminal, partner = Terminal(shell, Path(folder)), new_partner("Partner CA")
        clients = {name: partner.client(name) for name in ("partner-1", "partner-2", "partner-3")}
        _set_up(terminal, partner, revoked=clients["partner-2"])
        with stage_on(terminal, table) as stage:
            _device(stage)
            phone = _phone(stage)
            _partner(stage, partner, clients)
            rotate(stage, phone=phone, partner=clients["partner-1"])
    print(
        f"\n{table.total - table.wrong} of {table.total} rows as expected, after {time.monotonic() - began:.0f} s.\n"
    )
    print(shell.kubectl("get", "mh,cc,mr", "--all-namespaces", "-o", "wide"))
    print(
        f'Look around:  eval "$(.venv/bin/python hack/cluster env)"; kubectl -n {TENANT} describe mtlshost api'
    )
    print("Clean up:     make demo-down")
    if table.wrong:
        raise MismatchError(f"{table.wrong} rows are not as expected")


def _set_up(terminal: Terminal, partner: Partner, *, revoked: Identity) -> None:
    shell = terminal.shell
    if shell.kubectl("get", "namespace", TENANT, "--ignore-not-found"):
        print(f"Removing the namespace {TENANT} of an earlier run ...", flush=True)
        shell.kubectl("delete", "namespace", TENANT, "--timeout=120s")
    print(
        "Setting up: a host that trusts the managed CA and that of a partner, and a rule for everybody",
        flush=True,
    )
    (terminal.folder / "ca.crt").write_text(partner.ca_crt)
    before = datetime.now(UTC) - timedelta(hours=1)
    (terminal.folder / "ca.crl").write_text(partner.ca_crl([revoked], number=1, at=before))
    terminal.type("kubectl apply -f examples/certificates/00-namespace.yaml")
    terminal.type(f"kubectl -n {TENANT} create configmap partner-ca --from-file=ca.crt --from-file=ca.crl")
    terminal.type("kubectl apply -f examples/certificates")
    for kind, name in (
        ("clientcertificate", "gateway-1"),
        ("clientcertificate", "phone-1"),
        ("mtlshost", "api"),
        ("mtlsrule", "everything"),
    ):
        wait_ready(shell, TENANT, kind, name)


def _device(stage: Stage) -> None:
    title(
        1, "A device that keeps its key: it makes the key and a signing request, and gets back a certificate"
    )
    terminal = stage.terminal
    stage.make_request("device-1", "device-1")
    began = time.monotonic()
    terminal.type(
        "(cat examples/certificates/device-1.yaml.in; sed 's/^/    /' device-1.csr) | kubectl apply -f -"
    )
    terminal.type(f"kubectl -n {TENANT} wait cc/device-1 --for=condition=Ready --timeout=60s")
    terminal.type(f"kubectl -n {TENANT} get cc device-1 -o jsonpath='{{.status.certificate}}' > device-1.crt")
    seconds = time.monotonic() - began
    terminal.type("openssl x509 -in device-1.crt -noout -subject -issuer -enddate")
    say(f"It took {seconds:.1f} s. The key never left the device: there is no Secret device-1.")
    stage.table.head()
    stage.ask("nobody", None, REFUSED)
    stage.ask("gateway-1, from its Secret", stage.secret("gateway-1"), LET_IN)
    stage.ask("device-1, from status.certificate", stage.written("device-1"), LET_IN)


def _phone(stage: Stage) -> Identity:
    title(2, "A phone: one encrypted file, PKCS#12, with the password beside it in the same Secret")
    terminal, secret = stage.terminal, f"kubectl -n {TENANT} get secret phone-1 -o jsonpath="
    terminal.type(secret + r"'{.data.keystore\.p12}' | base64 -d > phone-1.p12")
    terminal.type(secret + "'{.data.keystore-password}' | base64 -d > password")
    shown = terminal.type("openssl pkcs12 -in phone-1.p12 -passin file:password -noout -info")
    terminal.type("openssl pkcs12 -in phone-1.p12 -passin file:password -clcerts -nodes -out phone-1.pem")
    if _MODERN not in shown:
        raise MismatchError(f"phone-1.p12 is not encrypted with {_MODERN}: {shown}")
    identity = Identity((terminal.folder / "phone-1.pem").read_bytes(), b"")
    stage.table.head()
    stage.ask("phone-1, from its PKCS#12 file", identity, LET_IN)
    return identity


def _partner(stage: Stage, partner: Partner, clients: Mapping[str, Identity]) -> None:
    title(
        3,
        "A partner with a CA of its own, made just now: the cluster has its certificate and its list, and no key",
    )
    stage.table.head()
    stage.ask("partner-1, valid", clients["partner-1"], LET_IN)
    stage.ask("partner-2, on the partner's list", clients["partner-2"], REFUSED)
    stage.ask("of another CA with the same name", new_partner("Partner CA").client("partner-1"), REFUSED)
    connection = stage.connect(clients["partner-3"])
    stage.table.row("partner-3, connection stays open", expected=LET_IN, actual=connection.status("/"))
    crl = partner.ca_crl([clients["partner-2"], clients["partner-3"]], number=2, at=datetime.now(UTC))
    with patching(stage.terminal.shell) as patch:
        began = time.monotonic()
        patch(f"/api/v1/namespaces/{TENANT}/configmaps/partner-ca", {"data": {"ca.crl": crl}})
        ask_until(lambda: connection.status("/"), REFUSED, what="partner-3, on the new list")
        seconds = time.monotonic() - began
    say(
        f"The partner's next list has partner-3, too: refused {seconds * 1000:.0f} ms after the ConfigMap changed."
    )
    stage.table.row("partner-3, the same connection", expected=REFUSED, actual=connection.status("/"))
    stage.ask("partner-1, still valid", clients["partner-1"], LET_IN)
