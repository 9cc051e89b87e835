"""ClientCertificates as commands read them: by what the operator says of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mtls_operator.api import names
from mtls_operator.api.conditions import conditions_of
from mtls_operator.api.reason import ConditionType
from mtls_operator.api.timestamp import parse_timestamp
from mtls_operator.cli.errors import Unanswered
from mtls_operator.cluster import Body, Cluster, Kind


@dataclass(frozen=True, slots=True)
class Said:
    """What a condition says of the present spec; ``status`` is True, False or Unknown as a text."""

    status: str
    reason: str
    message: str


async def read_object(cluster: Cluster, namespace: str, name: str) -> Body:
    """Return a ClientCertificate.

    Raises:
        Unanswered: there is none.
    """
    body = await cluster.get(Kind.CERTIFICATE, namespace, name)
    if body is None:
        raise Unanswered(f"there is no ClientCertificate {name} in namespace {namespace}")
    return body


def condition_of(body: Mapping[str, Any], wanted: ConditionType) -> Said | None:
    """Return a condition; None where it is missing, or about an older spec."""
    generation = body["metadata"].get("generation", 0)
    for condition in conditions_of(status_of(body)):
        if condition.get("type") == wanted.value:
            observed = condition.get("observedGeneration")
            if isinstance(observed, int) and observed < generation:
                return None
            return Said(*(str(condition.get(key) or "") for key in ("status", "reason", "message")))
    return None


def status_of(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the status, empty while there is none."""
    status = body.get("status")
    return status if isinstance(status, Mapping) else {}


def state_of(body: Mapping[str, Any]) -> str:
    """Return the state, empty while there is none."""
    return str(status_of(body).get("state") or "")


def moment_of(body: Mapping[str, Any], field: str) -> datetime | None:
    """Return a time of the status; None where there is none."""
    try:
        return parse_timestamp(str(status_of(body).get(field) or ""))
    except ValueError:
        return None


def secret_name_of(body: Mapping[str, Any]) -> str:
    """Return the name of the Secret."""
    return str(body["spec"].get("secretName") or body["metadata"]["name"])


def data_of(body: Mapping[str, Any], owner: Mapping[str, Any]) -> Mapping[str, str]:
    """Return the content of the Secret of a ClientCertificate, in base64.

    Raises:
        Unanswered: the Secret is somebody else's.
    """
    uids = {one.get("uid") for one in body["metadata"].get("ownerReferences") or ()}
    if owner["metadata"]["uid"] not in uids:
        name = body["metadata"]["name"]
        raise Unanswered(
            f"Secret {name} does not belong to {names.CERTIFICATE_KIND} {owner['metadata']['name']}"
        )
    return body.get("data") or {}
