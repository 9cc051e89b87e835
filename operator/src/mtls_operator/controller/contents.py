"""What a ClientCertificate's Secret holds, or the ConfigMap where the key stays with its owner."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mtls_operator.api import names
from mtls_operator.api.certificate import ClientCertificate
from mtls_operator.api.secret import Secret
from mtls_operator.cluster import Body, Kind
from mtls_operator.controller.holdings import place_of
from mtls_operator.controller.observed import Written
from mtls_operator.pki import plain_pem
from mtls_operator.plan.authority import CERTIFICATE_ROLE, Stored, certificate_owner
from mtls_operator.plan.keystore import KEYSTORE_KEYS, mark_of
from mtls_operator.plan.objects import Document, config_map, content_of, metadata, secret, secret_value
from mtls_operator.plan.replacement import issued_for


@dataclass(frozen=True, slots=True)
class Keystores:
    """Further files of a Secret, and the version of the Secret with their password; ``made`` is False for none yet."""

    files: Mapping[str, Secret] = field(default_factory=dict, repr=False)
    password_version: str | None = None
    made: bool = True


#: They cannot be made now: what is there stays.
NO_KEYSTORES = Keystores(made=False)


def document_of(  # noqa: PLR0913 - the parts of one object, most of them by keyword
    certificate: ClientCertificate,
    certificate_pem: str,
    stored: Stored,
    *,
    key: Secret | None,
    keystores: Keystores,
    renewed_for: str = "",
) -> Document:
    """Return what is to be written for a certificate; ``key`` is None where its owner has it.

    ``stored`` is the generation of the CA that signed it: what is above that goes after the certificate.
    ``renewed_for``: the wish for a renewal that is granted by it; empty leaves what stands there.
    """
    kind, name = place_of(certificate)
    meta = metadata(
        certificate.meta.namespace,
        name,
        role=CERTIFICATE_ROLE,
        owner=certificate_owner(certificate.meta.name, certificate.meta.uid),
    )
    meta["annotations"] = {names.ISSUED_FOR_ANNOTATION: issued_for(certificate)}
    if renewed_for:
        meta["annotations"][names.RENEWED_FOR_ANNOTATION] = renewed_for
    public = {
        names.TLS_CERT_KEY: with_chain(certificate_pem, stored),
        names.CA_KEY: stored.authority.certificate_pem,
    }
    if kind is Kind.CONFIG_MAP or key is None:
        return config_map(meta, public)
    document = secret(meta, {**public, names.TLS_KEY_KEY: key, **keystores.files})
    if keystores.made and certificate.keystore.wanted:
        version = keystores.password_version
        mark = mark_of(certificate, content_of(document), password_version=version)
        meta["annotations"][names.KEYSTORE_ANNOTATION] = mark
    return document


def with_chain(certificate_pem: str, stored: Stored) -> str:
    """Return a certificate with the CAs between it and the root, as TLS sends them (RFC 8446, 4.4.2)."""
    return "".join((certificate_pem, *stored.sent_pem))


def into(body: Body, document: Document, keystores: Keystores) -> Body:
    """Return an object as it was read with what is ours replaced; what others added to it stays.

    Keystores that are no longer wanted go; those that cannot be made now stay, and count as not looked at.
    """
    meta = {key: value for key, value in body["metadata"].items() if key != "managedFields"}
    for part in ("labels", "annotations"):
        meta[part] = {**(meta.get(part) or {}), **document["metadata"][part]}
    data = dict(body.get("data") or {})
    if names.KEYSTORE_ANNOTATION not in document["metadata"]["annotations"]:
        ours = meta["annotations"].pop(names.KEYSTORE_ANNOTATION, None) is not None
    else:
        ours = True
    if keystores.made and ours:
        data = {key: value for key, value in data.items() if key not in KEYSTORE_KEYS}
    return {**body, "metadata": meta, "data": {**data, **document["data"]}}


def value_of(body: Body, key: str) -> bytes:
    """Return a value of a Secret or a ConfigMap; nothing where it is missing."""
    if body["kind"] == Kind.CONFIG_MAP.kind:
        return str((body.get("data") or {}).get(key) or "").encode()
    return secret_value(body, key) or b""


def is_complete(certificate: ClientCertificate, seen: Written, stored: Stored) -> bool:
    """Say whether our labels and the certificates are as they were written, without anything before or after."""
    key = None if certificate.request is not None else Secret(b"")
    pem = plain_pem(seen.certificate)
    wanted = content_of(document_of(certificate, pem, stored, key=key, keystores=NO_KEYSTORES))
    parts = (f"data/{names.CA_KEY}", f"data/{names.TLS_CERT_KEY}", "labels")
    return all(seen.content.get(part) == wanted[part] for part in parts)
