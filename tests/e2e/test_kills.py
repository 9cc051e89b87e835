"""The operator is killed in the middle of every kind of work, on a real cluster (guarantee G3).

The feature tests kill it at every single write; here the process really dies, at moments that a seed chooses: first
while it works, then once more while its successor takes up. What must hold is asked from outside: of the API server, of
every version of every Secret that it has shown, of ``openssl`` with the published list, and of the real proxy.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import threading
import time
from base64 import b64decode
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.support.clients import Http1
from tests.support.cluster import OPERATOR_NAMESPACE, Api, Body, eventually, is_ready
from tests.support.operator_pod import (
    fresh_operator,
    is_running,
    operator_pods,
    operator_processes,
    process_in,
    scale,
)
from tests.support.requests import key_pem, request_pem
from tests.support.tenant import HOSTNAME, Tenant, identity_context

from mtls_operator.pki import CertificateFacts, index_of, parse_serial, read_certificate
from mtls_operator.plan.ledger import RECORDS_KEY

#: Objects of each kind of work: enough that a kill meets some of them half-way.
COUNT = 12
#: The work takes about so long, in seconds, and so does taking up; a kill comes at a random moment of it.
WORK = 1.2
TAKING_UP = (1.0, 3.0)
_ROLE, _PHASE, _ROTATE = (f"mtls-operator.dev/{name}" for name in ("role", "phase", "rotate"))
_KINDS = {"secrets": "Secret", "configmaps": "ConfigMap"}
_ORDER = ("Prepared", "Active", "Retiring", "Retired")


@dataclass(slots=True)
class Watcher:
    """Follows the objects of one label selector, and keeps what it saw of each version, in order."""

    api: Api
    path: str
    see: Callable[[Body], None]
    stopped: threading.Event = field(default_factory=threading.Event)
    thread: threading.Thread = field(init=False)

    def __post_init__(self) -> None:
        listed = self.api.get(self.path, labelSelector=_ROLE)
        for body in listed["items"]:
            self.see(body)
        version = listed["metadata"]["resourceVersion"]
        self.thread = threading.Thread(target=self._run, args=(version,), daemon=True)
        self.thread.start()

    def _run(self, version: str) -> None:
        query = {"watch": "1", "labelSelector": _ROLE, "resourceVersion": version}
        with (
            contextlib.suppress(httpx.HTTPError),
            self.api.http.stream("GET", self.path, params=query, timeout=None) as answer,
        ):
            for line in answer.iter_lines():
                event = json.loads(line)
                if event["type"] in ("ADDED", "MODIFIED"):
                    self.see(event["object"])
                if self.stopped.is_set():
                    return


@dataclass(slots=True)
class Fleet:
    """A namespace with a host, a pod and many certificates, and everything that was ever seen of them."""

    tenant: Tenant
    address: str = ""
    #: By name of the object: its serial numbers in their order, and by serial number the facts.
    history: dict[str, list[str]] = field(default_factory=dict)
    facts: dict[str, CertificateFacts] = field(default_factory=dict)
    phases: dict[str, list[str]] = field(default_factory=dict)
    identities: dict[str, tuple[bytes, bytes]] = field(default_factory=dict)

    def see(self, body: Body) -> None:
        """Take in a version of a Secret or ConfigMap of the namespace."""
        if body["metadata"]["labels"][_ROLE] != "certificate":
            return
        pem = _pem(body)
        facts = read_certificate(pem)
        self.facts[facts.serial] = facts
        name = body["metadata"]["ownerReferences"][0]["name"]
        history = self.history.setdefault(name, [])
        if not history or history[-1] != facts.serial:
            history.append(facts.serial)
        key = b64decode(body["data"]["tls.key"]) if "tls.key" in body["data"] else key_pem(name)
        self.identities[facts.serial] = (pem, key)

    def see_authority(self, body: Body) -> None:
        """Take in a version of a CA of the namespace."""
        if body["metadata"]["labels"].get("mtls-operator.dev/namespace") != self.tenant.namespace:
            return
        if body["metadata"]["labels"][_ROLE] == "authority":
            found = self.phases.setdefault(body["metadata"]["name"], [])
            phase = body["metadata"]["annotations"][_PHASE]
            if not found or found[-1] != phase:
                found.append(phase)

    # What must hold, whatever happened.

    def check(self, tmp_path: Path) -> None:
        """Fail on a certificate that was issued twice, forgotten or left over, and on a phase that went back."""
        eventually(self._disagreement, lambda found: not found, within=20)
        seen = dict(self.facts)  # before the ledger is read: more may be issued meanwhile
        indices = [(facts.issuer_ski, index_of(parse_serial(serial))) for serial, facts in seen.items()]
        assert len(set(indices)) == len(indices), "an index was used twice"
        for name, history in dict(self.history).items():
            assert len(set(history)) == len(history), f"{name}: a certificate came back over a newer one"
        ledger, held = self.ledger(), set(self._held().values())
        for serial in set(seen) - held:
            assert serial in ledger, f"{serial} is valid, and nobody knows of it"
        for name, phases in dict(self.phases).items():
            order = [_ORDER.index(phase) for phase in phases]
            assert order == sorted(order), f"{name} went back: {phases}"
        assert len(self.active()) == 1, "one CA signs"
        self.verify(tmp_path)

    def _disagreement(self) -> str:
        """Say where objects, their statuses, and what was seen of them are not the same; they are in the end."""
        statuses = {body["metadata"]["uid"]: body["status"]["serialNumber"] for body in self.objects()}
        held = self._held()
        for uid, serial in held.items():
            if uid not in statuses:
                return f"{serial} belongs to nobody"
            if statuses[uid] != serial:
                return f"the status says {statuses[uid]}, and there is {serial}"
        missing = set(statuses.values()) - set(self.facts)
        return f"{missing} were never seen" if missing or set(statuses) != set(held) else ""

    def _held(self) -> dict[str, str]:
        """Return the serial numbers of the certificates that are there, by the UID of their object."""
        found = {}
        for kind in ("secrets", "configmaps"):
            path = f"/api/v1/namespaces/{self.tenant.namespace}/{kind}"
            for body in self.tenant.api.items(path, labelSelector=f"{_ROLE}=certificate"):
                (owner,) = body["metadata"]["ownerReferences"]
                found[owner["uid"]] = read_certificate(_pem({**body, "kind": _KINDS[kind]})).serial
        return found

    def verify(self, tmp_path: Path) -> None:
        """Ask openssl of every certificate that an object holds whether the published list revokes it."""
        bundle = self.tenant.config_map("mtls-client-ca")
        published = self.tenant.config_map("mtls-revocation")
        assert bundle is not None
        assert published is not None
        (tmp_path / "ca.pem").write_text(bundle["data"]["ca.crt"] + published["data"]["ca.crl"])
        ledger = self.ledger()
        for body in self.objects():
            serial = body["status"]["serialNumber"]
            leaf = tmp_path / "leaf.pem"
            leaf.write_bytes(self.identities[serial][0])
            done = subprocess.run(
                ["openssl", "verify", "-crl_check", "-CAfile", str(tmp_path / "ca.pem"), str(leaf)],
                capture_output=True,
                text=True,
                check=False,
            )
            revoked = bool(body["spec"].get("revoked"))
            assert ("certificate revoked" in done.stderr) == revoked, (body["metadata"]["name"], done.stderr)
            assert (done.returncode != 0) == revoked, (body["metadata"]["name"], done.stderr)
            assert (ledger.get(serial) == "revoked") == revoked, body["metadata"]["name"]

    def active(self) -> list[str]:
        """Return the CAs that sign."""
        secrets = self.tenant.in_operator_namespace("secrets", "authority")
        return [
            one["metadata"]["name"] for one in secrets if one["metadata"]["annotations"][_PHASE] == "Active"
        ]

    def ledger(self) -> dict[str, str]:
        """Return what the ledger says of each serial number last."""
        found: dict[str, str] = {}
        pages = sorted(
            self.tenant.in_operator_namespace("configmaps", "ledger"), key=lambda one: one["metadata"]["name"]
        )
        for page in pages:
            for line in page["data"][RECORDS_KEY].splitlines():
                record = json.loads(line)
                found[record["serial"]] = record["entry"]
        return found

    def objects(self) -> list[Body]:
        """Return the ClientCertificates of the namespace."""
        return self.tenant.api.items(self.tenant.path("clientcertificates"))

    # What users do.

    def names(self, kind: str) -> list[str]:
        """Return the names of the objects of a kind of work."""
        return [f"{kind}-{number}" for number in range(COUNT)]

    def make(self, kind: str, **spec: Any) -> None:
        """Create the objects of a kind of work."""
        for name in self.names(kind):
            self.tenant.certificate(name, **spec)

    def patch(self, kind: str, spec: dict[str, Any]) -> None:
        """Change all of them."""
        for name in self.names(kind):
            self.tenant.patch("clientcertificates", name, spec)

    def wait(self, kind: str, holds: Callable[[Body], bool]) -> list[Body]:
        """Wait until something holds of all of them."""

        def look() -> list[Body]:
            return [body for body in self.objects() if body["metadata"]["name"].rpartition("-")[0] == kind]

        return eventually(
            look,
            lambda seen: len(seen) == COUNT and all(map(holds, seen)),
            within=60,
            what=f"all of {kind}",
        )

    def asks(self, serial: str) -> int:
        """Ask for what is protected, with a certificate by its serial number."""
        with Http1(
            8443, identity_context(*self.identities[serial]), HOSTNAME, address=self.address
        ) as connection:
            return connection.get("/admin", HOSTNAME).status

    def are_refused(self, serials: Collection[str]) -> None:
        """Wait until the proxy refuses every one of them: it may still be about to connect to the new operator."""
        eventually(lambda: {self.asks(serial) for serial in serials}, lambda seen: seen == {403}, within=20)


def _pem(body: Body) -> bytes:
    text = str(body["data"]["tls.crt"])
    return b64decode(text) if body["kind"] == "Secret" else text.encode()


@contextlib.contextmanager
def _fleet(api: Api, name: str) -> Iterator[Fleet]:
    """Make a namespace in which everything is seen, and remove it."""
    tenant = Tenant(api, f"t-{name}-{os.getpid()}")
    tenant.create_namespace()
    fleet = Fleet(tenant)
    base = f"/api/v1/namespaces/{tenant.namespace}"
    watchers = [Watcher(api, f"{base}/{kind}", _typed(kind, fleet.see)) for kind in _KINDS]
    own = f"/api/v1/namespaces/{OPERATOR_NAMESPACE}/secrets"
    watchers.append(Watcher(api, own, fleet.see_authority))
    yield fleet
    for watcher in watchers:
        watcher.stopped.set()
    api.delete(base)


@pytest.fixture(scope="module")
def fleet(operator: Api) -> Iterator[Fleet]:
    """A namespace with a host, a pod, and certificates in the state from which each kind of work begins."""
    with _fleet(operator, "kills") as fleet:
        tenant = fleet.tenant
        tenant.host()
        tenant.rule("admin")
        tenant.deploy(replicas=1)
        for kind in ("renewed", "revoked", "restored", "deleted"):
            fleet.make(kind)
        for kind in ("renewed", "revoked", "restored", "deleted"):
            fleet.wait(kind, is_ready)
        fleet.patch("restored", {"revoked": True, "revocationReason": "CertificateHold"})
        fleet.wait("restored", lambda body: body["status"]["state"] == "Revoked")
        (fleet.address,) = tenant.wait_pods(1, within=90)
        tenant.wait_ready("mtlshosts", "api", within=90)
        yield fleet


@pytest.fixture(scope="module")
def rotated(operator: Api) -> Iterator[Fleet]:
    """A namespace without hosts: a rotation waits for no proxy."""
    with _fleet(operator, "rotated") as fleet:
        fleet.make("leaf")
        fleet.wait("leaf", is_ready)
        yield fleet


def _typed(kind: str, see: Callable[[Body], None]) -> Callable[[Body], None]:
    """Say of objects what they are: those of a list do not."""
    return lambda body: see({**body, "kind": _KINDS[kind]})


def _killed_twice(api: Api, act: Callable[[], None], seed: str) -> None:
    """Begin something, kill the operator in the middle of it, and its successor while it takes up."""
    chance = random.Random(seed)
    fresh_operator(api)
    (first,) = operator_processes()
    working = threading.Thread(target=act)
    working.start()
    time.sleep(chance.uniform(0.02, WORK))
    os.kill(first, signal.SIGKILL)
    second = eventually(
        lambda: next((pid for pid in operator_processes() if pid != first), None),
        within=30,
        what="its successor",
    )
    time.sleep(chance.uniform(*TAKING_UP))
    with contextlib.suppress(ProcessLookupError):
        os.kill(second or 0, signal.SIGKILL)
    working.join()
    fresh_operator(api)


def test_issuing(fleet: Fleet, tmp_path: Path) -> None:
    _killed_twice(fleet.tenant.api, lambda: fleet.make("issued"), "issue")
    bodies = fleet.wait("issued", is_ready)
    fleet.check(tmp_path)
    assert [len(fleet.history[body["metadata"]["name"]]) for body in bodies] == [1] * COUNT
    assert fleet.asks(bodies[0]["status"]["serialNumber"]) == 200


def test_issuing_for_requests(fleet: Fleet, tmp_path: Path) -> None:
    def act() -> None:
        for name in fleet.names("device"):
            fleet.tenant.certificate(name, request=request_pem(name))

    _killed_twice(fleet.tenant.api, act, "request")
    bodies = fleet.wait("device", is_ready)
    fleet.check(tmp_path)
    for body in bodies:
        (serial,) = fleet.history[body["metadata"]["name"]]
        assert read_certificate(body["status"]["certificate"]).serial == serial
    assert fleet.asks(bodies[0]["status"]["serialNumber"]) == 200


def test_renewing(fleet: Fleet, tmp_path: Path) -> None:
    """By a change of the spec: the same steps as at the time of a renewal."""
    before = {name: fleet.history[name][-1] for name in fleet.names("renewed")}
    _killed_twice(
        fleet.tenant.api, lambda: fleet.patch("renewed", {"dnsNames": ["new.example.com"]}), "renew"
    )
    bodies = fleet.wait(
        "renewed",
        lambda body: is_ready(body) and body["status"]["serialNumber"] != before[body["metadata"]["name"]],
    )
    fleet.check(tmp_path)
    ledger = fleet.ledger()
    for body in bodies:
        name = body["metadata"]["name"]
        assert fleet.history[name] == [before[name], body["status"]["serialNumber"]], "renewed once"
        assert ledger[before[name]] == "known"
    assert fleet.asks(bodies[0]["status"]["serialNumber"]) == 200
    assert fleet.asks(before[bodies[0]["metadata"]["name"]]) == 200


def test_revoking(fleet: Fleet, tmp_path: Path) -> None:
    _killed_twice(fleet.tenant.api, lambda: fleet.patch("revoked", {"revoked": True}), "revoke")
    bodies = fleet.wait("revoked", lambda body: body["status"]["state"] == "Revoked")
    fleet.are_refused([body["status"]["serialNumber"] for body in bodies])
    fleet.check(tmp_path)


def test_restoring(fleet: Fleet, tmp_path: Path) -> None:
    _killed_twice(fleet.tenant.api, lambda: fleet.patch("restored", {"revoked": False}), "restore")
    bodies = fleet.wait("restored", lambda body: body["status"]["state"] == "Active")
    assert {fleet.asks(body["status"]["serialNumber"]) for body in bodies} == {200}
    fleet.check(tmp_path)


def test_deleting(fleet: Fleet, tmp_path: Path) -> None:
    def act() -> None:
        for name in fleet.names("deleted"):
            fleet.tenant.delete("clientcertificates", name)

    _killed_twice(fleet.tenant.api, act, "delete")
    gone = set(fleet.names("deleted"))
    eventually(lambda: gone & {body["metadata"]["name"] for body in fleet.objects()}, lambda left: not left)
    eventually(lambda: [name for name in gone if fleet.tenant.secret(name)], lambda left: not left)
    serials = [fleet.history[name][-1] for name in sorted(gone)]
    assert {fleet.ledger()[serial] for serial in serials} == {"revoked"}
    fleet.are_refused(serials)
    fleet.check(tmp_path)


def test_a_second_operator_beside_one_that_was_paused(fleet: Fleet, tmp_path: Path) -> None:
    """One stands still with what was true then, another one works, and then both run."""
    api, tenant = fleet.tenant.api, fleet.tenant
    tenant.certificate("early", revoked=False)
    early = tenant.wait_ready("clientcertificates", "early")["status"]["serialNumber"]
    tenant.patch("clientcertificates", "early", {"revoked": True})
    tenant.wait_state("early", "Revoked")
    fresh_operator(api)
    (former,) = operator_pods(api)
    paused = process_in(former)
    try:
        os.kill(paused, signal.SIGSTOP)
        scale(api, 2)
        process_in(eventually(lambda: _other_than(former, operator_pods(api)), what="another operator") or {})
        fleet.make("beside")
        fleet.wait("beside", lambda body: (body.get("status") or {}).get("serialNumber"))
        fleet.patch("beside", {"revoked": True})
        fleet.patch("renewed", {"dnsNames": ["beside.example.com"]})
        serials = {fleet.history[name][-1] for name in fleet.names("beside")}
        eventually(
            lambda: {fleet.ledger().get(serial) for serial in serials}, lambda seen: seen == {"revoked"}
        )
        assert fleet.asks(early) == 403
        os.kill(paused, signal.SIGCONT)
        tenant.certificate("both")
        for _ in range(40):
            assert fleet.asks(early) == 403, "no list without it at any moment"
            time.sleep(0.1)
        tenant.wait_ready("clientcertificates", "both")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(paused, signal.SIGCONT)
        scale(api, 1)
    eventually(lambda: len(operator_pods(api)) == 1 and is_running(api), within=60, what="one operator")
    fleet.wait("beside", lambda body: body["status"]["state"] == "Revoked")
    fleet.are_refused(serials)
    fleet.check(tmp_path)


def _other_than(former: Body, pods: list[Body]) -> Body | None:
    return next((pod for pod in pods if pod["metadata"]["uid"] != former["metadata"]["uid"]), None)


def test_rotating(rotated: Fleet, tmp_path: Path) -> None:
    (before,) = rotated.active()
    _killed_twice(rotated.tenant.api, lambda: _ask_for_rotation(rotated, "2026-03-01"), "rotate")
    eventually(
        rotated.active, lambda now: len(now) == 1 and now != [before], within=60, what="a new CA signs"
    )
    rotated.tenant.certificate("late")
    rotated.tenant.wait_ready("clientcertificates", "late")
    rotated.check(tmp_path)
    assert rotated.phases[before][-1] == "Retiring"


def test_a_compromised_ca(rotated: Fleet, tmp_path: Path) -> None:
    (before,) = rotated.active()
    _killed_twice(rotated.tenant.api, lambda: _ask_for_rotation(rotated, "compromised"), "compromised")
    eventually(
        rotated.active, lambda now: len(now) == 1 and now != [before], within=60, what="a new CA signs"
    )
    eventually(lambda: rotated.phases[before][-1], lambda phase: phase == "Retired", within=30)
    bundle = rotated.tenant.config_map("mtls-client-ca")
    assert bundle is not None
    dropped = read_certificate(_authority(rotated, before)["tls.crt"]).ski
    trusted = bundle["data"]["ca.crt"].split("-----END CERTIFICATE-----\n")[:-1]
    assert dropped not in {read_certificate(f"{pem}-----END CERTIFICATE-----\n").ski for pem in trusted}
    rotated.tenant.certificate("later")
    rotated.tenant.wait_ready("clientcertificates", "later")
    eventually(
        lambda: {rotated.facts[history[-1]].issuer_ski for history in dict(rotated.history).values()},
        lambda issuers: dropped not in issuers,
        within=30,
        what="every certificate is issued anew",
    )
    rotated.check(tmp_path)


def _authority(fleet: Fleet, name: str) -> dict[str, bytes]:
    path = f"/api/v1/namespaces/{OPERATOR_NAMESPACE}/secrets/{name}"
    return {key: b64decode(value) for key, value in fleet.tenant.api.get(path)["data"].items()}


def _ask_for_rotation(fleet: Fleet, how: str) -> None:
    (name,) = fleet.active()
    path = f"/api/v1/namespaces/{OPERATOR_NAMESPACE}/secrets/{name}"
    fleet.tenant.api.patch(path, {"metadata": {"annotations": {_ROTATE: how}}})
