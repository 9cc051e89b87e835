"""What restoring, renewing and revoking have in common: change the object, then wait for the operator's word on it."""

from __future__ import annotations

from mtls_operator.api.certificate import CertificateState
from mtls_operator.api.reason import ConditionType, Reason
from mtls_operator.cli.cert.objects import condition_of, read_object, state_of
from mtls_operator.cli.errors import Refused, Unanswered
from mtls_operator.cluster import Body, Cluster, Kind, NotFoundError

_NOT_YET = "the operator has not looked at it yet"


async def change(cluster: Cluster, namespace: str, name: str, patch: Body) -> Body:
    """Merge a patch into a ClientCertificate and return it.

    Raises:
        Unanswered: there is none.
    """
    try:
        return await cluster.patch(Kind.CERTIFICATE, namespace, name, patch)
    except NotFoundError as error:
        raise Unanswered(f"there is no ClientCertificate {name} in namespace {namespace}") from error


async def revocation_missing(cluster: Cluster, namespace: str, name: str) -> str:
    """Return what a revocation still waits for; empty: every proxy refuses the certificate."""
    body = await read_object(cluster, namespace, name)
    said = condition_of(body, ConditionType.REVOKED)
    if said is None:
        return _NOT_YET
    if said.status == "True" or state_of(body) == CertificateState.EXPIRED:
        return ""
    return said.message


async def restoring_missing(cluster: Cluster, namespace: str, name: str) -> str:
    """Return what a restore still waits for; empty: every proxy accepts the certificate.

    Raises:
        Refused: the revocation cannot be taken back.
    """
    body = await read_object(cluster, namespace, name)
    said, state = condition_of(body, ConditionType.REVOKED), state_of(body)
    if said is None:
        return _NOT_YET
    if said.reason == Reason.RESTORE_REFUSED.value:
        raise Refused(said.message)
    if state in (CertificateState.EXPIRED, CertificateState.FAILED):
        raise Refused(_ready_message(body))
    return "" if state == CertificateState.ACTIVE else _ready_message(body)


async def renewal_missing(cluster: Cluster, namespace: str, name: str, *, former: str) -> str:
    """Return what a renewal still waits for; empty: the status names another certificate than ``former``.

    Raises:
        Refused: it is not possible, or the certificate is revoked.
    """
    body = await read_object(cluster, namespace, name)
    said = condition_of(body, ConditionType.READY)
    if (body.get("status") or {}).get("serialNumber") != former and state_of(body) == CertificateState.ACTIVE:
        return ""
    if said is not None and said.reason in (
        Reason.RENEWAL_FAILED.value,
        Reason.CERTIFICATE_REVOKED.value,
    ):
        raise Refused(said.message)
    return "the new certificate is being issued"


def _ready_message(body: Body) -> str:
    said = condition_of(body, ConditionType.READY)
    return said.message if said is not None else _NOT_YET
