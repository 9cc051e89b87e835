"""The managed CA of a namespace: which Secret is it, when may one be made, what tenants see of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from mtls_operator.api import names
from mtls_operator.api.secret import Secret
from mtls_operator.pki import Authority, PkiError, load_authority
from mtls_operator.plan.objects import Document, Owner, config_map, metadata, secret, secret_value

#: Key in the CA's Secret: the first index that was never reserved.
NEXT_INDEX_KEY: Final = "next-index"
#: Indices are reserved in blocks: one extra write per block, a restart skips the rest of its block.
INDEX_BLOCK: Final = 1024
AUTHORITY_LIFETIME: Final = timedelta(days=3650)
#: Role of the Secret of a ClientCertificate.
CERTIFICATE_ROLE: Final = "certificate"


class AuthorityUnusableError(Exception):
    """The CA of a namespace cannot be used; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A CA as it is kept: its generation, the first index that is not reserved, and the Secret without its data."""

    authority: Authority
    generation: int
    next_index: int
    body: Document


def labels_of(namespace: str, namespace_uid: str) -> dict[str, str]:
    """Return the labels that bind an object of the operator's namespace to one life of a tenant namespace."""
    return {names.NAMESPACE_LABEL: namespace, names.NAMESPACE_UID_LABEL: namespace_uid}


def selector(role: str, namespace: str, namespace_uid: str | None = None) -> str:
    """Return the label selector for objects of a role that belong to a namespace, or to one life of it."""
    wanted = {names.ROLE_LABEL: role, names.NAMESPACE_LABEL: namespace}
    if namespace_uid is not None:
        wanted[names.NAMESPACE_UID_LABEL] = namespace_uid
    return ",".join(f"{key}={value}" for key, value in wanted.items())


def authority_document(
    operator_namespace: str, namespace: str, namespace_uid: str, generation: int, authority: Authority
) -> Document:
    """Return the Secret of a new CA: no index is reserved yet."""
    return secret(
        metadata(
            operator_namespace,
            names.authority_secret(namespace, generation),
            role="authority",
            labels=labels_of(namespace, namespace_uid),
        ),
        {
            names.TLS_CERT_KEY: authority.certificate_pem,
            names.TLS_KEY_KEY: authority.key_pem,
            NEXT_INDEX_KEY: "0",
        },
    )


def read_stored(bodies: Iterable[Mapping[str, Any]], namespace: str) -> Stored | None:
    """Return the newest generation among the Secrets of a namespace's CA; None when there is none.

    Raises:
        AuthorityUnusableError: its content cannot be used.
    """
    by_generation = {}
    for body in bodies:
        generation = generation_of(body["metadata"]["name"], namespace)
        if generation is not None:
            by_generation[generation] = body
    if not by_generation:
        return None
    generation = max(by_generation)
    body = dict(by_generation[generation])
    name = body["metadata"]["name"]
    index = secret_value(body, NEXT_INDEX_KEY) or b""
    if not index.isdigit():
        raise AuthorityUnusableError(
            f"Secret {name} in the operator's namespace has no usable {NEXT_INDEX_KEY}: restore it from a backup."
        )
    try:
        authority = load_authority(
            secret_value(body, names.TLS_CERT_KEY) or b"",
            Secret(secret_value(body, names.TLS_KEY_KEY) or b""),
        )
    except PkiError as error:
        raise AuthorityUnusableError(
            f"Secret {name} in the operator's namespace is no usable CA: {error} Restore it from a backup."
        ) from error
    return Stored(authority, generation, int(index), without_data(body))


def without_data(body: Mapping[str, Any]) -> Document:
    """Return a Secret without what is secret in it (guarantee G5)."""
    return {key: value for key, value in body.items() if key not in ("data", "stringData")}


def generation_of(name: str, namespace: str) -> int | None:
    """Return the generation in the name of a CA's Secret; None when the name is not one of this namespace."""
    prefix = names.authority_secret(namespace, 0).removesuffix("0")
    number = name.removeprefix(prefix)
    return int(number) if name.startswith(prefix) and number.isdigit() else None


def reserve(stored: Stored, *, block: int = INDEX_BLOCK) -> Document:
    """Return the Secret with the next block of indices reserved, to be replaced at exactly the version read."""
    metadata_ = {
        key: stored.body["metadata"][key]
        for key in ("name", "namespace", "labels", "resourceVersion", "uid")
        if key in stored.body["metadata"]
    }
    document = secret(
        metadata_,
        {
            names.TLS_CERT_KEY: stored.authority.certificate_pem,
            names.TLS_KEY_KEY: stored.authority.key_pem,
            NEXT_INDEX_KEY: str(stored.next_index + block),
        },
    )
    document["type"] = stored.body.get("type", document["type"])
    return document


def bundle_document(namespace: str, authority: Authority) -> Document:
    """Return the ConfigMap from which anybody in the namespace can read the CA certificate."""
    return config_map(
        metadata(namespace, names.CLIENT_CA_CONFIGMAP, role="bundle"),
        {names.CA_KEY: authority.certificate_pem},
    )


def page_document(  # noqa: PLR0913 - the parts of one object, most of them by keyword
    operator_namespace: str, namespace: str, namespace_uid: str, *, page: int, text: str, version: str = ""
) -> Document:
    """Return one page of the ledger; with a version it replaces exactly that one."""
    meta = metadata(
        operator_namespace,
        names.ledger_page(namespace, page),
        role="ledger",
        labels=labels_of(namespace, namespace_uid),
    )
    if version:
        meta["resourceVersion"] = version
    return config_map(meta, {"records.jsonl": text})


def page_number(name: str, namespace: str) -> int | None:
    """Return the number in the name of a ledger page; None when the name is not one of this namespace."""
    prefix = names.ledger_page(namespace, 0).removesuffix("0")
    number = name.removeprefix(prefix)
    return int(number) if name.startswith(prefix) and number.isdigit() else None


def proxy_document(namespace: str, certificate_pem: str, key_pem: Secret, ca_pem: str) -> Document:
    """Return the Secret with which the proxies of a namespace show the operator who they are."""
    return secret(
        metadata(namespace, names.PROXY_SECRET, role="proxy"),
        {names.TLS_CERT_KEY: certificate_pem, names.TLS_KEY_KEY: key_pem, names.CA_KEY: ca_pem},
    )


def certificate_owner(name: str, uid: str) -> Owner:
    """Return the owner of a ClientCertificate's Secret."""
    return Owner(names.API_VERSION, names.CERTIFICATE_KIND, name, uid)
