"""The generations of a namespace's CA: as the operator keeps them, or as the namespace itself can see them."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from mtls_operator.api import names
from mtls_operator.api.certificate import CertificateState
from mtls_operator.api.timestamp import parse_timestamp
from mtls_operator.cli.access import is_forbidden
from mtls_operator.cli.cert.objects import state_of, status_of
from mtls_operator.cli.errors import Unanswered
from mtls_operator.cluster import Body, Cluster, Kind, RejectedError
from mtls_operator.pki import CertificateFacts, PkiError, read_certificate
from mtls_operator.plan.authority import FIRST_INDEX_KEY, Phase, generation_of, selector
from mtls_operator.plan.ledger import RECORDS_KEY, Entry, Record, decode, latest
from mtls_operator.plan.objects import secret_value
from mtls_operator.plan.rotation import generation_of_serial, two_thirds

_PEM: Final = re.compile("-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)
_ENDED: Final = (CertificateState.REVOKED, CertificateState.EXPIRED)


class Held(StrEnum):
    """How a certificate belongs to an object."""

    PRESENT = "present"
    FORMER = "former"
    LEFT = "left"


@dataclass(frozen=True, slots=True)
class Leaf:
    """A certificate that is neither expired nor revoked, and the ClientCertificate that it is or was of."""

    serial: str
    end: datetime
    owner: str
    held: Held


@dataclass(frozen=True, slots=True)
class Generation:
    """One generation, without its key.

    ``generation`` 0 and ``phase`` None: not known here. ``leaves``: those that end last come first. ``name`` is
    that of its Secret, ``rotate`` what an administrator asked for, ``given_by`` the Secret that it was taken from
    (empty: the operator made it).
    """

    facts: CertificateFacts
    generation: int = 0
    phase: Phase | None = None
    first_index: int = 0
    rotate: str = ""
    name: str = ""
    leaves: tuple[Leaf, ...] = ()
    given_by: str = ""

    @property
    def due(self) -> datetime | None:
        """When it is due to be replaced; None for one that does not sign."""
        return two_thirds(self.facts) if self.phase is Phase.ACTIVE else None


@dataclass(frozen=True, slots=True)
class GivenSecret:
    """A Secret with an issuing CA: the digest of its certificate where it can be read, and why it is refused."""

    name: str
    digest: str
    refused: str = ""


@dataclass(frozen=True, slots=True)
class View:
    """The generations, newest first; ``complete`` is False where only the namespace could be read.

    ``given`` are the Secrets in which administrators give the namespace an issuing CA.
    """

    generations: tuple[Generation, ...]
    complete: bool
    given: tuple[GivenSecret, ...] = ()


async def read_view(cluster: Cluster, namespace: str, operator: str, *, now: datetime) -> View:
    """Return the generations of a namespace's CA with as much as may be read.

    Raises:
        Unanswered: there is no CA.
    """
    certificates = await cluster.list(Kind.CERTIFICATE, namespace)
    try:
        kept = await read_kept(cluster, namespace, operator)
        uid = await _life_of(cluster, namespace)
        pages = await cluster.list(Kind.CONFIG_MAP, operator, labels=selector("ledger", namespace, uid))
        given = await read_given(cluster, namespace, operator)
    except RejectedError as error:
        if not is_forbidden(error):
            raise
        return await _seen_from_inside(cluster, namespace, certificates)
    if not kept:
        refused = "".join(f"\n{one.refused}" for one in given if one.refused)
        raise Unanswered(await none_kept(cluster, namespace, operator) + refused)
    records: list[Record] = []
    for page in pages:
        records += decode(str((page.get("data") or {}).get(RECORDS_KEY, "")))[0]
    leaves = _leaves(kept, latest(records), certificates, now=now)
    counted = tuple(replace(one, leaves=_ordered(leaves[one.generation])) for one in reversed(kept))
    return View(counted, complete=True, given=given)


async def none_kept(cluster: Cluster, namespace: str, operator: str) -> str:
    """Return what it means that no Secret of a namespace's CA was found: the namespace itself may show one."""
    bundle = await cluster.get(Kind.CONFIG_MAP, namespace, names.CLIENT_CA_CONFIGMAP)
    if not _pems(bundle):
        return f"namespace {namespace} has no CA: it is made with the first host or certificate"
    return (
        f"namespace {namespace} has a CA, and namespace {operator} has no Secret of it: where the operator runs in "
        "another namespace, name that with --operator-namespace; otherwise restore the Secret from a backup"
    )


def signs_nothing(generations: Sequence[Generation]) -> str:
    """Return what is wrong where generations are there and none of them signs, or is about to; else an empty text."""
    if any(one.phase in {Phase.ACTIVE, Phase.PREPARED, None} for one in generations):
        return ""
    return (
        "No generation signs, and nothing is issued: the Secret of the CA that signed is missing. Restore it from a "
        "backup; the condition Programmed of the hosts has its name."
    )


def _pems(bundle: Body | None) -> list[str]:
    return _PEM.findall(str(((bundle or {}).get("data") or {}).get(names.CA_KEY) or ""))


async def read_given(cluster: Cluster, namespace: str, operator: str) -> tuple[GivenSecret, ...]:
    """Return the Secrets in which administrators give a namespace an issuing CA, by name."""
    bodies = await cluster.list(Kind.SECRET, operator, labels=f"{names.ISSUING_CA_LABEL}={namespace}")
    return tuple(sorted(map(_given, bodies), key=lambda one: one.name))


def _given(body: Body) -> GivenSecret:
    try:
        digest = read_certificate(secret_value(body, names.TLS_CERT_KEY) or b"").fingerprint_sha256
    except PkiError:
        digest = ""
    annotations = body["metadata"].get("annotations") or {}
    return GivenSecret(
        str(body["metadata"]["name"]), digest, str(annotations.get(names.REFUSED_ANNOTATION) or "")
    )


async def read_kept(cluster: Cluster, namespace: str, operator: str) -> list[Generation]:
    """Return the generations as the operator keeps them, oldest first, those of the namespace's present life.

    Raises:
        Unanswered: there is no namespace, or a Secret cannot be read.
    """
    bodies = await cluster.list(Kind.SECRET, operator, labels=selector("authority", namespace))
    uid = await _life_of(cluster, namespace)
    ours = [body for body in bodies if body["metadata"]["labels"].get(names.NAMESPACE_UID_LABEL) == uid]
    return sorted((_generation(body, namespace) for body in ours), key=lambda one: one.generation)


async def _life_of(cluster: Cluster, namespace: str) -> str:
    """Return the UID of a namespace: what is kept of a former one of its name is about others' certificates."""
    home = await cluster.get(Kind.NAMESPACE, None, namespace)
    if home is None:
        raise Unanswered(f"there is no namespace {namespace}")
    return str(home["metadata"]["uid"])


def _generation(body: Body, namespace: str) -> Generation:
    name = str(body["metadata"]["name"])
    annotations = body["metadata"].get("annotations") or {}
    try:
        facts = read_certificate(secret_value(body, names.TLS_CERT_KEY) or b"")
        phase = Phase(annotations.get(names.PHASE_ANNOTATION, Phase.ACTIVE.value))
        first = int(secret_value(body, FIRST_INDEX_KEY) or b"0")
    except (PkiError, ValueError) as error:
        raise Unanswered(f"Secret {name} is no usable CA: {error}") from error
    return Generation(
        facts=facts,
        generation=generation_of(name, namespace) or 0,
        phase=phase,
        first_index=first,
        rotate=str(annotations.get(names.ROTATE_ANNOTATION) or ""),
        name=name,
        given_by=str(annotations.get(names.GIVEN_BY_ANNOTATION) or ""),
    )


def _leaves(
    generations: Sequence[Generation],
    ledger: Mapping[str, Record],
    certificates: Iterable[Mapping[str, Any]],
    *,
    now: datetime,
) -> defaultdict[int, list[Leaf]]:
    """Return the certificates of each generation that count: those of objects, and those that left theirs."""
    known = {
        serial: Leaf(serial, record.not_after, record.owner.rpartition("/")[2], Held.LEFT)
        for serial, record in ledger.items()
    }
    for body in certificates:
        known |= {leaf.serial: leaf for leaf in _leaves_of(body)}
    counting: defaultdict[int, list[Leaf]] = defaultdict(list)
    for serial, leaf in known.items():
        record = ledger.get(serial)
        if leaf.end > now and not (record is not None and record.entry is Entry.REVOKED):
            generation = generation_of_serial(serial, generations)
            if generation is not None:
                counting[generation].append(leaf)
    return counting


def _leaves_of(body: Mapping[str, Any]) -> Iterator[Leaf]:
    """Yield the certificates that an object names, its former ones first."""
    status, name = status_of(body), str(body["metadata"]["name"])
    former = ((one, Held.FORMER) for one in status.get("previous") or ())
    for one, held in (*former, (status, Held.PRESENT)):
        serial, end = one.get("serialNumber"), one.get("notAfter")
        if serial and end:
            yield Leaf(str(serial), parse_timestamp(str(end)), name, held)


def _ordered(leaves: Iterable[Leaf]) -> tuple[Leaf, ...]:
    return tuple(sorted(leaves, key=lambda leaf: (-leaf.end.timestamp(), leaf.owner, leaf.serial)))


async def _seen_from_inside(cluster: Cluster, namespace: str, certificates: Iterable[Body]) -> View:
    """Return what the bundle, the hosts and the certificates of the namespace tell."""
    bundle = await cluster.get(Kind.CONFIG_MAP, namespace, names.CLIENT_CA_CONFIGMAP)
    pems = _pems(bundle)
    if not pems:
        raise Unanswered(
            f"namespace {namespace} has no ConfigMap {names.CLIENT_CA_CONFIGMAP} with a CA: it is made with the first "
            "host or certificate"
        )
    phases: dict[str, Phase] = {}
    for host in await cluster.list(Kind.HOST, namespace):
        for one in status_of(host).get("clientCAs") or ():
            if one.get("source") == "managed" and one.get("phase") in list(Phase):
                phases[str(one.get("ski"))] = Phase(one["phase"])
    leaves: defaultdict[str, list[Leaf]] = defaultdict(list)
    for body in certificates:
        if state_of(body) not in _ENDED:
            ski = str((status_of(body).get("issuer") or {}).get("ski"))
            leaves[ski] += [leaf for leaf in _leaves_of(body) if leaf.held is Held.PRESENT]
    found = []
    for pem in pems:
        try:
            facts = read_certificate(pem)
        except PkiError as error:
            raise Unanswered(f"ConfigMap {names.CLIENT_CA_CONFIGMAP}: {error}") from error
        found.append(Generation(facts, phase=phases.get(facts.ski), leaves=_ordered(leaves[facts.ski])))
    return View(tuple(found), complete=False)
