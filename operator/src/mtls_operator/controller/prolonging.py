"""Gives the CAs for servers and for the operator itself a later end, long before they come to theirs.

They keep name and key, so that every certificate of theirs goes on and whoever trusts the old one has years to take
the new one. Managed CAs, whose leaves are told apart by the digest of their issuer, are rotated instead.
"""

from __future__ import annotations

from base64 import b64encode
from datetime import timedelta
from typing import Final

import structlog

from mtls_operator.api import names
from mtls_operator.api.secret import Secret
from mtls_operator.api.timestamp import format_timestamp
from mtls_operator.cluster import Body, ConflictError, Kind
from mtls_operator.controller.context import Context
from mtls_operator.pki import AUTHORITY_ENTROPY, Authority, load_authority, prolonged
from mtls_operator.plan.objects import secret_value
from mtls_operator.plan.rotation import two_thirds

_log = structlog.get_logger(__name__)

CA_LIFETIME: Final = timedelta(days=3650)


def is_young(context: Context, authority: Authority) -> bool:
    """Say whether a CA is still in the first two thirds of its life."""
    return context.now() < two_thirds(authority.facts)


async def living(context: Context, body: Body) -> Authority:
    """Return the CA of a Secret, with a later end if two thirds of its life have passed; the Secret has it then.

    Raises:
        PkiError: it is no usable CA.
    """
    authority = _read(body)
    if is_young(context, authority):
        return authority
    fresh = prolonged(
        authority, now=context.now(), lifetime=CA_LIFETIME, entropy=context.entropy(AUTHORITY_ENTROPY)
    )
    metadata = body["metadata"]
    written = b64encode(fresh.certificate_pem.encode()).decode()
    try:
        await context.cluster.replace({**body, "data": {**body["data"], names.TLS_CERT_KEY: written}})
    except ConflictError:  # somebody else was as quick
        now = await context.cluster.get(Kind.SECRET, metadata["namespace"], metadata["name"])
        return authority if now is None else _read(now)
    _log.info("authority.prolonged", name=metadata["name"], until=format_timestamp(fresh.facts.not_after))
    return fresh


def _read(body: Body) -> Authority:
    return load_authority(
        secret_value(body, names.TLS_CERT_KEY) or b"", Secret(secret_value(body, names.TLS_KEY_KEY) or b"")
    )
