"""Bundles of CA certificates that users bring: which are trusted, and why each other one is not.

The proxy treats every certificate of its bundle as an anchor, also one that is not self-signed (Envoy sets
``X509_V_FLAG_PARTIAL_CHAIN``). An issuing intermediate therefore needs no root beside it, and is trusted without
everything else that its root has signed. What a refused certificate means for what is in force is the caller's
decision; nothing here takes anything away.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cryptography import x509

from mtls_operator.pki.certificate import to_bytes
from mtls_operator.pki.chains import issuers_among, with_path
from mtls_operator.pki.errors import PkiError, Reason, refusing
from mtls_operator.pki.pem import Block, blocks
from mtls_operator.pki.subject import name_text
from mtls_operator.pki.trusted import (
    Refusal,
    TrustedCa,
    UntrustedError,
    require_checkable,
    require_trustworthy,
    trusted_ca,
    unreadable,
)

#: More than any host needs; also bounds how many signatures a hostile file makes us check.
MAX_CERTIFICATES: Final = 64
#: Whoever has one of these names as its issuer is checked against each: together with the above 512 signatures at most.
MAX_OF_ONE_NAME: Final = 8


@dataclass(frozen=True, slots=True)
class RefusedCa:
    """A certificate that is not trusted: its place in the file from 1, its subject where it has one, and why."""

    index: int
    subject: str
    reason: Refusal
    message: str

    def __str__(self) -> str:
        named = f" ({self.subject})" if self.subject else ""
        return f"certificate {self.index}{named} {self.message}."


@dataclass(frozen=True, slots=True)
class Bundle:
    """What a file of certificates comes to; certificates stand in the order of the file.

    ``notes`` are worth a warning and refuse nothing. ``look_again`` is when time alone changes the answer.
    """

    accepted: tuple[TrustedCa, ...]
    refused: tuple[RefusedCa, ...]
    notes: tuple[str, ...] = ()
    look_again: datetime | None = None

    @property
    def pem(self) -> str:
        """The accepted certificates, each once, with nothing between them."""
        return "".join(ca.certificate_pem for ca in self.accepted)


def describe_ca(pem: bytes | str) -> TrustedCa:
    """Return the facts of one CA certificate of ours, to be given as ``beside`` or for its key digest.

    Raises `PkiError` if it cannot be read.
    """
    with refusing(Reason.INVALID_CA_CERTIFICATE, "the CA certificate cannot be read"):
        certificate = x509.load_pem_x509_certificate(to_bytes(pem))
    return trusted_ca(certificate)


def read_bundle(
    pem: bytes | str, *, now: datetime, beside: Iterable[TrustedCa] = (), managed: Collection[str] = ()
) -> Bundle:
    """Return which certificates of a PEM text may be trusted, and every other one with its place and reason.

    ``beside`` are CAs that are trusted together with these: what has the key identifier of one of them and another
    key is refused. ``managed`` are key digests of CAs of this operator: as a bundle they would come without their
    revocations. Never raises for the content of the text; a text without any certificate is itself refused.
    """
    reading = _Reading(now)
    for index, block in enumerate(blocks(to_bytes(pem)), start=1):
        reading.take(index, block)
    if not reading.accepted and not reading.refused:
        reading.refused.append(
            RefusedCa(1, "", Refusal.NOT_A_CERTIFICATE, "is missing: there is no PEM block CERTIFICATE")
        )
    reading.refuse_if(
        lambda ca: ca.key_digest in managed,
        Refusal.MANAGED,
        "has the key of a CA that this operator manages: use clientCAs.managed or managedFrom, "
        "which bring its revocations",
    )
    _refuse_ambiguous(reading, tuple(beside))
    _refuse_too_deep(reading)
    return Bundle(
        accepted=tuple(reading.accepted),
        refused=tuple(sorted(reading.refused, key=lambda one: one.index)),
        notes=_notes(reading.accepted),
        look_again=min(reading.moments, default=None),
    )


class _Reading:
    """The certificates of one file while they are being judged."""

    def __init__(self, now: datetime) -> None:
        self.now = now
        self.accepted: list[TrustedCa] = []
        self.refused: list[RefusedCa] = []
        self.moments: list[datetime] = []

    def take(self, index: int, block: Block) -> None:
        """Judge one block by itself."""
        subject = ""
        try:
            certificate = _certificate(index, block)
            subject = _subject(certificate)
            require_checkable(certificate)
            ca = trusted_ca(certificate, index=index)
            self.moments += [moment for moment in (ca.not_before, ca.not_after) if moment > self.now]
            require_trustworthy(ca, now=self.now)
            self._require_new(ca)
            self._require_few(ca)
        except PkiError as error:
            untrusted = unreadable(error)
            self.refused.append(RefusedCa(index, subject, untrusted.reason, untrusted.message))
        except UntrustedError as error:
            self.refused.append(RefusedCa(index, subject, error.reason, error.message))
        else:
            self.accepted.append(ca)

    def _require_new(self, ca: TrustedCa) -> None:
        for other in self.accepted:
            if other.digest == ca.digest:
                raise UntrustedError(Refusal.DUPLICATE, f"is the same as certificate {other.index}")

    def _require_few(self, ca: TrustedCa) -> None:
        same = sum(other.certificate.subject == ca.certificate.subject for other in self.accepted)
        if same >= MAX_OF_ONE_NAME:
            raise UntrustedError(
                Refusal.TOO_MANY,
                f"is one too many of its name: a bundle has at most {MAX_OF_ONE_NAME} of each",
            )

    def refuse_if(self, wrong: Callable[[TrustedCa], bool], reason: Refusal, message: str) -> bool:
        """Refuse what was accepted so far and is wrong; say whether there was any."""
        found = [ca for ca in self.accepted if wrong(ca)]
        self.refused += [RefusedCa(ca.index, ca.subject, reason, message) for ca in found]
        self.accepted = [ca for ca in self.accepted if ca not in found]
        return bool(found)


def _certificate(index: int, block: Block) -> x509.Certificate:
    if index > MAX_CERTIFICATES:
        raise UntrustedError(Refusal.TOO_MANY, f"is one too many: a bundle has at most {MAX_CERTIFICATES}")
    if "PRIVATE KEY" in block.label:
        raise UntrustedError(
            Refusal.NOT_A_CERTIFICATE,
            "is a private key, which everybody who can read this object now knows: take it out and replace it",
        )
    if block.label != "CERTIFICATE":
        raise UntrustedError(
            Refusal.NOT_A_CERTIFICATE, f"is a PEM block {block.label or 'without a name'}, not CERTIFICATE"
        )
    if block.problem:
        raise UntrustedError(Refusal.UNREADABLE, block.problem)
    with refusing(Reason.INVALID_CA_CERTIFICATE, "it cannot be read"):
        return x509.load_der_x509_certificate(block.der)


def _subject(certificate: x509.Certificate) -> str:
    with refusing(Reason.INVALID_CA_CERTIFICATE, "its subject cannot be read"):
        return name_text(certificate.subject)


def _refuse_ambiguous(reading: _Reading, beside: tuple[TrustedCa, ...]) -> None:
    """Refuse all CAs that share a key identifier and not the key: rules could not tell them apart."""
    keys: dict[str, set[str]] = defaultdict(set)
    for ca in (*reading.accepted, *beside):
        keys[ca.ski].add(ca.key_digest)
    reading.refuse_if(
        lambda ca: bool(ca.ski) and len(keys[ca.ski]) > 1,
        Refusal.SAME_KEY_IDENTIFIER,
        "has the subject key identifier of another trusted CA, and another key",
    )


def _refuse_too_deep(reading: _Reading) -> None:
    """Give each CA its path; refuse, until nothing changes, those that no issuer of theirs may have below it."""
    signed = issuers_among(reading.accepted)
    while True:
        left = {ca.digest for ca in reading.accepted}
        issuers = {digest: tuple(one for one in signed[digest] if one.digest in left) for digest in left}
        placed = {ca.digest: with_path(ca, issuers) for ca in reading.accepted}
        refused = reading.refuse_if(
            lambda ca, placed=placed: placed[ca.digest] is None,  # type: ignore[misc]  # bound now, for the loop
            Refusal.PATH_LENGTH,
            "is below a CA of this file that may have no CA below it (pathLenConstraint)",
        )
        if not refused:
            reading.accepted = [ca for ca in placed.values() if ca is not None]
            return


def _notes(accepted: Iterable[TrustedCa]) -> tuple[str, ...]:
    named: dict[str, list[TrustedCa]] = defaultdict(list)
    for ca in accepted:
        named[ca.subject].append(ca)
    return tuple(
        f"certificates {', '.join(str(ca.index) for ca in same)} have one name ({subject}) and different keys: "
        "they are told apart by their digests."
        for subject, same in named.items()
        if len({ca.key_digest for ca in same}) > 1
    )
