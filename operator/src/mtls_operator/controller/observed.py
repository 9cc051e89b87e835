"""Objects of the cluster as small parsed values: never whole bodies, never key material (G5)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from mtls_operator.api import names
from mtls_operator.api.certificate import ClientCertificate, asks_for_revocation, parse_certificate
from mtls_operator.api.errors import InvalidSpec
from mtls_operator.api.host import Host, parse_host
from mtls_operator.api.meta import Meta, parse_meta
from mtls_operator.api.secret import Secret
from mtls_operator.api.timestamp import parse_timestamp
from mtls_operator.cluster import Kind
from mtls_operator.envoy import epoch_of
from mtls_operator.inject import has_sidecar
from mtls_operator.pki import is_pair
from mtls_operator.plan.authority import CERTIFICATE_ROLE
from mtls_operator.plan.grants import granters_in
from mtls_operator.plan.objects import content_of, secret_value
from mtls_operator.plan.policy import POLICY_ANNOTATION
from mtls_operator.plan.quota import QUOTA_ANNOTATION
from mtls_operator.plan.reading import read_rule
from mtls_operator.plan.rollout import Pod


@dataclass(frozen=True, slots=True)
class Broken:
    """An object of ours that cannot be read: why, and what still counts of it."""

    meta: Meta
    error: str
    status: Mapping[str, Any]
    revoked: bool = False


@dataclass(frozen=True, slots=True)
class Written:
    """An object that we write, as it was last seen.

    ``content`` are digests of its parts; ``epoch`` and ``text`` are set for the generated scripts and for the
    last good rules; ``certificate`` is the public ``tls.crt`` of a Secret or of what was issued for a request,
    ``issued_for`` the digest of what it was issued for, ``renewed_for`` the wish for a renewal that was granted last,
    ``keystore`` the mark of its keystores. ``has_key`` says that the private key of this certificate is there.
    ``tenant`` is the life of a namespace (name, UID) that its labels name.
    """

    kind: Kind
    namespace: str
    name: str
    uid: str
    version: int
    role: str
    owners: frozenset[str]
    content: Mapping[str, str]
    certificate: str = ""
    has_key: bool = False
    epoch: int | None = None
    text: str = ""
    script: str = ""
    issued_for: str = ""
    keystore: str = ""
    renewed_for: str = ""
    tenant: tuple[str, str] = ("", "")


@dataclass(frozen=True, slots=True)
class Namespace:
    """A namespace: its UID changes when it is deleted and made again.

    ``policy`` and ``maximum`` are its annotations about what may be issued; None: it has none.
    """

    name: str
    uid: str
    ending: bool
    made: datetime
    policy: str | None = None
    maximum: str | None = None


def granters_of(host: Host | Broken | None) -> frozenset[str]:
    """Return the namespaces whose CAs a host wants, or has by its status."""
    if host is None:
        return frozenset()
    wanted = host.client_cas.managed_from if isinstance(host, Host) else ()
    return granters_in(host.status) | frozenset(wanted)


def parse(kind: Kind, body: Mapping[str, Any]) -> Any:
    """Read an object of a kind; one of ours that cannot be read is :class:`Broken`."""
    parsers: dict[Kind, Callable[[Mapping[str, Any]], Any]] = {
        Kind.NAMESPACE: _namespace,
        Kind.HOST: _host,
        Kind.CERTIFICATE: certificate_of,
        Kind.RULE: read_rule,
        Kind.POD: _pod,
    }
    return parsers[kind](body) if kind in parsers else _written(kind, body)


#: Of a namespace that does not say since when it exists: no grant is as young.
_NEVER: Final = "9999-01-01T00:00:00Z"


def _namespace(body: Mapping[str, Any]) -> Namespace:
    metadata = body["metadata"]
    annotations = metadata.get("annotations") or {}
    return Namespace(
        name=metadata["name"],
        uid=metadata["uid"],
        ending=bool(metadata.get("deletionTimestamp")),
        made=parse_timestamp(str(metadata.get("creationTimestamp") or _NEVER)),
        policy=annotations.get(POLICY_ANNOTATION),
        maximum=annotations.get(QUOTA_ANNOTATION),
    )


def identity(body: Mapping[str, Any]) -> tuple[str, str, int]:
    """Return the namespace (empty: it has none), name and resourceVersion of an object."""
    metadata = body["metadata"]
    return metadata.get("namespace", ""), metadata["name"], int(metadata.get("resourceVersion") or 0)


def _host(body: Mapping[str, Any]) -> Host | Broken:
    try:
        return parse_host(body)
    except InvalidSpec as error:
        return Broken(parse_meta(body), str(error), body.get("status") or {})


def certificate_of(body: Mapping[str, Any]) -> ClientCertificate | Broken:
    """Read a ClientCertificate, or why it cannot be read."""
    try:
        return parse_certificate(body)
    except InvalidSpec as error:
        return Broken(parse_meta(body), str(error), body.get("status") or {}, asks_for_revocation(body))


def _pod(body: Mapping[str, Any]) -> Pod:
    metadata, status = body["metadata"], body.get("status") or {}
    return Pod(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        host=(metadata.get("labels") or {}).get(names.HOST_LABEL, ""),
        address=str(status.get("podIP") or ""),
        running=status.get("phase") == "Running",
        ending=bool(metadata.get("deletionTimestamp")),
        injected=has_sidecar(body),
    )


def tenant_of(body: Mapping[str, Any]) -> tuple[str, str]:
    """Return the name and the UID of the namespace that an object's labels name; empty where they do not."""
    labels = body["metadata"].get("labels") or {}
    return (
        str(labels.get(names.NAMESPACE_LABEL) or ""),
        str(labels.get(names.NAMESPACE_UID_LABEL) or ""),
    )


_SCRIPTS = (names.RULES_KEY, names.REVOCATION_KEY)


def _written(kind: Kind, body: Mapping[str, Any]) -> Written:
    metadata = body["metadata"]
    namespace, name, version = identity(body)
    data = body.get("data") or {}
    role = (metadata.get("labels") or {}).get(names.ROLE_LABEL, "")
    annotations = metadata.get("annotations") or {}
    certificate, epoch, text, script = "", None, "", ""
    if kind is Kind.SECRET:
        certificate = (secret_value(body, names.TLS_CERT_KEY) or b"").decode("ascii", "replace")
    elif kind is Kind.CONFIG_MAP and role == CERTIFICATE_ROLE:
        certificate = str(data.get(names.TLS_CERT_KEY) or "")
    elif kind is Kind.CONFIG_MAP:
        text = str(data.get(names.LAST_GOOD_KEY) or "")
        script = str(data.get(names.RULES_KEY) or "")
        epoch = next((epoch_of(str(data[key])) for key in _SCRIPTS if data.get(key)), None)
    return Written(
        kind=kind,
        namespace=namespace,
        name=name,
        uid=metadata["uid"],
        version=version,
        role=role,
        owners=frozenset(owner.get("uid", "") for owner in metadata.get("ownerReferences") or ()),
        content=content_of(body),
        certificate=certificate,
        has_key=kind is Kind.SECRET and _has_key(body, certificate),
        epoch=epoch,
        text=text,
        script=script,
        issued_for=str(annotations.get(names.ISSUED_FOR_ANNOTATION) or ""),
        keystore=str(annotations.get(names.KEYSTORE_ANNOTATION) or ""),
        renewed_for=str(annotations.get(names.RENEWED_FOR_ANNOTATION) or ""),
        tenant=tenant_of(body),
    )


def _has_key(body: Mapping[str, Any], certificate: str) -> bool:
    """Look at the private key in a Secret once; nothing of it is kept (G5)."""
    key = secret_value(body, names.TLS_KEY_KEY)
    return bool(key) and is_pair(certificate, Secret(key or b""))
