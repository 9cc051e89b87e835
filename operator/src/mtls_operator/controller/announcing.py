"""Events about a ClientCertificate: for transitions that somebody should hear of. Issuing has its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from mtls_operator.api import names
from mtls_operator.api.certificate import ClientCertificate
from mtls_operator.api.conditions import condition_status, conditions_of
from mtls_operator.api.reason import ConditionType, Reason
from mtls_operator.controller.recorder import Recorder

_STATES: Final = {
    "Revoked": ("Revoked", "Every proxy knows that the certificate is revoked."),
    "Active": ("Restored", "Every proxy knows that the certificate is not revoked any more."),
    "Expired": ("Expired", "The certificate has expired."),
}
#: Whoever is active after one of these was restored; without any proxy there is nothing to wait for in between.
_LEFT: Final = ("PendingReactivation", "PendingRevocation", "Revoked")
#: What ``Ready`` says of a certificate that is issued, and that somebody has to do something about.
_TROUBLES: Final = frozenset(
    reason.value
    for reason in (
        Reason.RENEWAL_REQUIRED,
        Reason.RENEWAL_FAILED,
        Reason.CA_ROTATION,
        Reason.SECRET_NOT_FOUND,
        Reason.INVALID_KEYSTORE,
    )
)


def announce(recorder: Recorder, certificate: ClientCertificate, status: Mapping[str, Any]) -> None:
    """Post Events for what a new status says that the one before did not."""
    _announce_state(recorder, certificate, status)
    _announce_refusal(recorder, certificate, status)
    _announce_trouble(recorder, certificate, status)


def _announce_state(recorder: Recorder, certificate: ClientCertificate, status: Mapping[str, Any]) -> None:
    before, after = certificate.status.get("state"), status["state"]
    if before == after or after not in _STATES or (after == "Active" and before not in _LEFT):
        return
    reason, message = _STATES[after]
    message += _circumstances(certificate, after)
    recorder.record(names.CERTIFICATE_KIND, certificate.meta, reason=reason, message=message)


def _circumstances(certificate: ClientCertificate, state: str) -> str:
    """Return by which program, and why, as far as it is known."""
    if state == "Expired":
        return ""
    through = f" through {certificate.revoked_through}" if certificate.revoked_through else ""
    if state == "Revoked" and certificate.revoked:
        return f" It was revoked{through}, reason {certificate.revocation_reason.value}."
    return f" It was restored{through}." if state == "Active" and through else ""


def _announce_refusal(recorder: Recorder, certificate: ClientCertificate, status: Mapping[str, Any]) -> None:
    issued = _condition(status, ConditionType.ISSUED)
    was_issued = condition_status(certificate.status, ConditionType.ISSUED)
    if issued.get("status") == "False" and was_issued is not False and status["state"] == "Failed":
        _warn(recorder, certificate, issued)


def _announce_trouble(recorder: Recorder, certificate: ClientCertificate, status: Mapping[str, Any]) -> None:
    """Say what is wrong with a certificate that is issued, each time that something else is said of it."""
    before, after = (_condition(one, ConditionType.READY) for one in (certificate.status, status))
    said = [(one.get("reason"), one.get("message")) for one in (before, after)]
    issued = _condition(status, ConditionType.ISSUED)
    if after.get("reason") in _TROUBLES and said[0] != said[1] and issued.get("status") == "True":
        _warn(recorder, certificate, after)


def _warn(recorder: Recorder, certificate: ClientCertificate, condition: Mapping[str, Any]) -> None:
    recorder.record(
        names.CERTIFICATE_KIND,
        certificate.meta,
        reason=str(condition["reason"]),
        message=str(condition["message"]),
        warning=True,
    )


def _condition(status: Mapping[str, Any], kind: ConditionType) -> Mapping[str, Any]:
    return next((one for one in conditions_of(status) if one.get("type") == kind.value), {})
