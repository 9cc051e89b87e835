"""Sees every state that the cluster goes through, not only the last one, and says what must never be seen (G3).

A test that looks at the end alone would miss a certificate that was overwritten, or a revocation that was gone for a
moment. The witness looks at every version of every object of ours and at every script that is pushed, by whatever
process they come.
"""

from __future__ import annotations

from base64 import b64decode
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime

from tests.feature.harness import Lab, revokes

from mtls_operator.api import names
from mtls_operator.cluster import Body, Kind
from mtls_operator.pki import CertificateFacts, PkiError, index_of, parse_serial, read_certificate
from mtls_operator.plan.authority import CERTIFICATE_ROLE, NEXT_INDEX_KEY, Phase
from mtls_operator.plan.ledger import RECORDS_KEY, Entry, Record, decode, latest
from mtls_operator.push import Scope, Script

_ORDER = (Phase.PREPARED.value, Phase.ACTIVE.value, Phase.RETIRING.value, Phase.RETIRED.value)


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate that was in an object of the cluster, if only for a moment."""

    namespace: str
    life: str
    owner: str
    issuer: str
    not_after: datetime


@dataclass(slots=True)
class Witness:
    """What was seen since `watch`, in every namespace."""

    lab: Lab
    #: By serial number.
    issued: dict[str, Issued] = field(default_factory=dict)
    #: By UID of a ClientCertificate: its serial numbers in the order in which they were there.
    history: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    wrong: list[str] = field(default_factory=list)
    _phases: dict[str, str] = field(default_factory=dict)
    _next: dict[str, int] = field(default_factory=dict)
    _indices: dict[tuple[str, int], str] = field(default_factory=dict)
    _refused: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    def watch(self) -> Witness:
        """Look at everything from now on."""
        kinds = {Kind.SECRET: names.ROLE_LABEL, Kind.CONFIG_MAP: names.ROLE_LABEL, Kind.NAMESPACE: ""}
        self.lab.cluster.watch(kinds, self._see)
        self.lab.listeners.append(self._pushed)
        return self

    def check(self) -> None:
        """Fail on anything that was seen and must never be, and on what is left over or forgotten now."""
        assert not self.wrong, self.wrong
        alive = {body["metadata"]["uid"] for body in self.lab.cluster.all(Kind.CERTIFICATE)}
        held = dict(self._held())
        orphans = {place for place, (owner, _) in held.items() if owner not in alive}
        assert not orphans, f"nobody owns {orphans}"
        present = {serial for _, serial in held.values()}
        for serial, issued in self.issued.items():
            if serial in present or issued.not_after <= self.lab.now() or self._has_ended(issued):
                continue
            assert serial in self.lab.ledger(issued.namespace), f"{serial} is valid and nobody knows of it"

    def _has_ended(self, issued: Issued) -> bool:
        """Say whether the life of the namespace in which a certificate was issued is over."""
        home = self.lab.cluster.find(Kind.NAMESPACE, "", issued.namespace)
        return home is None or home["metadata"]["uid"] != issued.life

    def _held(self) -> dict[tuple[str, str], tuple[str, str]]:
        """Return owner and serial number of each certificate that is in the cluster, by its place."""
        found = {}
        for kind in (Kind.SECRET, Kind.CONFIG_MAP):
            for body in self.lab.cluster.all(kind, None, f"{names.ROLE_LABEL}={CERTIFICATE_ROLE}"):
                facts = _facts(kind, body)
                if facts is not None:
                    place = body["metadata"]["namespace"], body["metadata"]["name"]
                    found[place] = _owner(body), facts.serial
        return found

    def _see(self, kind: Kind, event: str, body: Body) -> None:
        metadata = body["metadata"]
        if kind is Kind.NAMESPACE:
            if event == "DELETED":
                self._refused.pop(metadata["name"], None)
            return
        role = metadata["labels"][names.ROLE_LABEL]
        if event == "DELETED":
            if role == "authority":
                self._phases.pop(metadata["uid"], None)
        elif role == CERTIFICATE_ROLE:
            self._certificate(kind, body)
        elif role == "authority":
            self._authority(body)
        elif role == "revocation":
            self._list(metadata["namespace"], body["data"].get(names.REVOCATION_KEY, ""), "written")

    def _pushed(self, scope: Scope, script: Script) -> None:
        if script.name == names.REVOCATION_FILTER:
            self._list(scope.namespace, script.text, "pushed")

    def _certificate(self, kind: Kind, body: Body) -> None:
        facts = _facts(kind, body)
        if facts is None:
            return
        serial, owner = facts.serial, _owner(body)
        place = (facts.issuer_ski, index_of(parse_serial(serial)))
        if self._indices.setdefault(place, serial) != serial:
            self.wrong.append(f"index {place[1]} is in {serial} and in {self._indices[place]}")
        namespace = body["metadata"]["namespace"]
        life = self.lab.cluster.read(Kind.NAMESPACE, "", namespace)["metadata"]["uid"]
        self.issued[serial] = Issued(namespace, life, owner, facts.issuer_ski, facts.not_after)
        if serial not in self.history[owner]:
            self.history[owner].append(serial)
        elif self.history[owner][-1] != serial:
            self.wrong.append(f"{serial} came back over {self.history[owner][-1]}")

    def _authority(self, body: Body) -> None:
        metadata = body["metadata"]
        uid, phase = metadata["uid"], metadata["annotations"][names.PHASE_ANNOTATION]
        before = self._phases.get(uid, phase)
        if _ORDER.index(phase) < _ORDER.index(before):
            self.wrong.append(f"{metadata['name']} went back from {before} to {phase}")
        self._phases[uid] = phase
        index = int(b64decode(body["data"][NEXT_INDEX_KEY]))
        if index < self._next.get(uid, 0):
            self.wrong.append(
                f"the indices of {metadata['name']} went back from {self._next[uid]} to {index}"
            )
        self._next[uid] = index
        life = metadata["labels"][names.NAMESPACE_UID_LABEL]
        active = [
            one["metadata"]["name"]
            for one in self.lab.authority_secrets(metadata["labels"][names.NAMESPACE_LABEL])
            if one["metadata"]["labels"][names.NAMESPACE_UID_LABEL] == life
            and one["metadata"]["annotations"][names.PHASE_ANNOTATION] == Phase.ACTIVE.value
        ]
        if len(active) > 1:
            self.wrong.append(f"two CAs sign: {active}")

    def _list(self, namespace: str, script: str, how: str) -> None:
        """Take in a list for the proxies: a serial number leaves it only when the ledger says that it may."""
        ledger, now = self._ledger(namespace), self.lab.now()
        revoked = {
            serial
            for serial, record in ledger.items()
            if record.entry is Entry.REVOKED
            and record.not_after > now
            and not self._is_retired(serial, namespace)
        }
        listed = {serial for serial in revoked if revokes(script, serial)}
        gone = sorted((self._refused[namespace] & revoked) - listed)
        if gone:
            self.wrong.append(f"a list was {how} without {gone}, which an earlier one had")
        self._refused[namespace] = (self._refused[namespace] & revoked) | listed

    def _ledger(self, namespace: str) -> dict[str, Record]:
        """Return what the ledger says of the present life of a namespace."""
        home = self.lab.cluster.find(Kind.NAMESPACE, "", namespace)
        records: list[Record] = []
        for page in self.lab.ledger_pages(namespace):
            life = page["metadata"]["labels"].get(names.NAMESPACE_UID_LABEL)
            if home is not None and life == home["metadata"]["uid"]:
                records += decode(page["data"][RECORDS_KEY])[0]
        return latest(records)

    def _is_retired(self, serial: str, namespace: str) -> bool:
        """Say whether the CA of a serial number counts no more: then nobody needs a list of it."""
        issuer = self.issued[serial].issuer if serial in self.issued else ""
        return any(
            read_certificate(b64decode(secret["data"][names.TLS_CERT_KEY])).ski == issuer
            and secret["metadata"]["annotations"][names.PHASE_ANNOTATION] == Phase.RETIRED.value
            for secret in self.lab.authority_secrets(namespace)
        )


def _facts(kind: Kind, body: Body) -> CertificateFacts | None:
    text = str((body.get("data") or {}).get(names.TLS_CERT_KEY, ""))
    try:
        return read_certificate(text if kind is Kind.CONFIG_MAP else b64decode(text))
    except PkiError:
        return None


def _owner(body: Body) -> str:
    (owner,) = body["metadata"]["ownerReferences"]
    return str(owner["uid"])
