"""Which certificate the client presents: a file, a ClientCertificate, one of which only the worth is said, or none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from mtls_operator.api import names
from mtls_operator.api.certificate import CertificateState, asks_for_revocation
from mtls_operator.api.timestamp import format_timestamp, parse_timestamp
from mtls_operator.cli.errors import Unanswered
from mtls_operator.cli.manifests import read_text
from mtls_operator.cli.rule.certificate import NOBODY, Worth, known_fields, read_pem, some_certificate
from mtls_operator.cli.rule.scene import HostInForce, Scene
from mtls_operator.pki import PkiError, judge_client


@dataclass(frozen=True, slots=True)
class Claim:
    """What the flags say about the certificate; None where they say nothing."""

    file: str | None = None
    ca_file: str | None = None
    name: str | None = None
    nobody: bool = False
    verified: bool | None = None
    revoked: bool = False

    @property
    def overridden(self) -> bool:
        """Whether the flags decide what it is worth."""
        return self.revoked or self.verified is not None


def presented(claim: Claim, scene: Scene, at_host: HostInForce, *, now: datetime) -> Worth:
    """Return what the certificate of a request is worth to a host.

    Raises:
        Unanswered: it cannot be read, or nothing says whether it is valid.
    """
    if claim.revoked and claim.verified is False:
        raise Unanswered(
            "--revoked and --unverified exclude each other: only a valid certificate can be revoked"
        )
    if claim.nobody and claim.overridden:
        raise Unanswered("--no-cert goes without --verified, --unverified and --revoked")
    if claim.file is not None:
        return _overridden(_of_file(claim, scene, at_host, now), claim)
    if claim.name is not None:
        return _overridden(_of_object(claim.name, scene, at_host, now), claim)
    if claim.overridden:
        title, why = "some certificate", "the flags say so"
        return some_certificate(
            verified=claim.verified is not False, revoked=claim.revoked, title=title, why=why
        )
    return NOBODY


def _overridden(worth: Worth, claim: Claim) -> Worth:
    if not claim.overridden:
        return worth
    verified = claim.verified is not False
    return replace(worth, verified=verified, revoked=claim.revoked, why="the flags say so", notes=())


# A file


def _of_file(claim: Claim, scene: Scene, at_host: HostInForce, now: datetime) -> Worth:
    file = claim.file or ""
    pem = read_text(file)
    facts, fields = read_pem(pem, file=file)
    title = f"{facts.subject or facts.serial} ({file})"
    issuer_serial = "cf.tls_client_auth.cert_issuer_serial"
    if claim.overridden:
        return Worth(title, True, True, False, "", fields, frozenset({issuer_serial}))
    ca_pem = read_text(claim.ca_file) if claim.ca_file else _managed_ca(scene, at_host)
    if ca_pem is None:
        raise Unanswered(
            "whether this certificate is valid depends on the CA: give it with --ca FILE, or say --verified, "
            "--unverified or --revoked"
        )
    try:
        judged = judge_client(pem, ca_pem, now=now)
    except PkiError as error:
        raise Unanswered(f"{file}: {error}") from error
    if (
        judged.issuer is None
        and not claim.ca_file
        and at_host.host is not None
        and at_host.host.client_cas.copied
    ):
        raise Unanswered(
            f"{file} is not of the managed CA, and MTLSHost {at_host.name} trusts others too, which are not looked up "
            "here: give the CA with --ca FILE"
        )
    fields[issuer_serial] = judged.issuer.serial if judged.issuer is not None else ""
    if judged.issuer is None:
        return Worth(title, True, False, False, judged.problem, fields)
    why = f"signed by {judged.issuer.subject or judged.issuer.serial}, valid until {format_timestamp(facts.not_after)}"
    if claim.ca_file or not scene.live:
        notes = ("it counts as not revoked: say --revoked for the other case",)
        return Worth(title, True, True, False, why, fields, notes=notes)
    if scene.revoked is None:
        raise Unanswered(
            f"whether this certificate is revoked is not known: ConfigMap {names.REVOCATION_CONFIGMAP} of namespace "
            f"{scene.namespace} has no {names.REVOKED_JSON_KEY}; say --verified or --revoked"
        )
    revoked = facts.serial in scene.revoked
    listed = f"{'on' if revoked else 'not on'} the published list of revoked certificates"
    return Worth(title, True, True, revoked, f"{why}, {listed}", fields)


def _managed_ca(scene: Scene, at_host: HostInForce) -> str | None:
    if at_host.host is not None and not at_host.host.client_cas.managed:
        raise Unanswered(
            f"MTLSHost {at_host.name} does not trust the managed CA of its namespace: give its CA with --ca FILE"
        )
    return scene.ca_pem


# An object


def _of_object(name: str, scene: Scene, at_host: HostInForce, now: datetime) -> Worth:
    body = scene.certificates.get(name)
    if body is None:
        where = f"in namespace {scene.namespace}" if scene.live else "in the files"
        raise Unanswered(f"there is no ClientCertificate {name} {where}")
    title = f"ClientCertificate {name}"
    if at_host.host is not None and not at_host.host.client_cas.managed:
        why = f"MTLSHost {at_host.name} does not trust the managed CA of its namespace"
        return some_certificate(verified=False, revoked=False, title=title, why=why)
    status = body.get("status")
    if not isinstance(status, Mapping) or not status.get("state"):
        if scene.live:
            raise Unanswered(f"{title} has no certificate yet: the operator has not looked at it")
        revoked = asks_for_revocation(body)
        why = f"issued by the managed CA, spec.revoked is {str(revoked).lower()}"
        return some_certificate(verified=True, revoked=revoked, title=title, why=why)
    return _of_status(title, body, status, now)


def of_object_status(title: str, body: Mapping[str, Any], now: datetime) -> Worth:
    """Return what the status of a ClientCertificate of a cluster tells.

    Raises:
        Unanswered: there is no certificate yet.
    """
    status = body.get("status")
    if not isinstance(status, Mapping) or not status.get("state"):
        raise Unanswered(f"{title} has no certificate yet: the operator has not looked at it")
    return _of_status(title, body, status, now)


def _of_status(title: str, body: Mapping[str, Any], status: Mapping[str, Any], now: datetime) -> Worth:
    state = str(status["state"])
    serial, ends, begins = (status.get(key) for key in ("serialNumber", "notAfter", "notBefore"))
    if not serial or not isinstance(ends, str):
        raise Unanswered(f"{title} has no certificate: its state is {state}")
    issuer = status.get("issuer")
    known: dict[str, object] = {"serial": str(serial)}
    if status.get("fingerprintSha256"):
        known["fingerprint_sha256"] = str(status["fingerprintSha256"])
    if isinstance(issuer, Mapping) and issuer.get("ski"):
        known |= {"issuer_ski": str(issuer["ski"])}
    fields, unknown = known_fields(known)
    try:
        expired = now >= parse_timestamp(ends)
        early = isinstance(begins, str) and now < parse_timestamp(begins)
    except ValueError as error:
        raise Unanswered(f"{title}: status: {error}") from error
    if expired or early:
        why = f"it expired at {ends}" if expired else f"it is valid from {begins} on only"
        return Worth(title, True, False, False, why, fields, unknown)
    revoked = state in _REVOKED
    why = f"its state is {state}, it is valid until {ends}"
    notes = [_NOTES[state]] if state in _NOTES else []
    if asks_for_revocation(body) and not revoked:
        notes.append("spec.revoked is set, but the operator has not published it yet")
    return Worth(title, True, True, revoked, why, fields, unknown, tuple(notes))


_REVOKED = {
    CertificateState.REVOKED.value,
    CertificateState.PENDING_REVOCATION.value,
    CertificateState.PENDING_REACTIVATION.value,
}
_NOTES = {
    CertificateState.PENDING_REVOCATION.value: (
        "the revocation is not confirmed by every proxy yet: one that is late may still count it as not revoked"
    ),
    CertificateState.PENDING_REACTIVATION.value: (
        "it was restored, but not every proxy has confirmed that: it counts as revoked until then"
    ),
}
