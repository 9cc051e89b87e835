"""MTLSHost: hostnames of one workload, enabled for mTLS."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Final

from mtls_operator.api import limits
from mtls_operator.api.client_cas import ClientCas, parse_client_cas
from mtls_operator.api.errors import InvalidSpec
from mtls_operator.api.fields import NOT_SUPPORTED, Fields, fields_of
from mtls_operator.api.meta import Meta, parse_meta


class WorkloadProtocol(StrEnum):
    """What the application speaks on its port: HTTP/1.1, or HTTP/2 without TLS (h2c, gRPC)."""

    HTTP1 = "HTTP1"
    HTTP2 = "HTTP2"


class TlsVersion(StrEnum):
    """The lowest TLS version that clients may use."""

    V1_2 = "1.2"
    V1_3 = "1.3"


class ForwardedHeader(StrEnum):
    """How the application learns about a verified certificate.

    Envoy's ``x-forwarded-client-cert``; ``client-cert`` and ``client-cert-chain`` of RFC 9440; Cloudflare's
    ``cf-client-cert-der-base64`` and ``cf-client-cert-sha256``.
    """

    X_FORWARDED_CLIENT_CERT = "XForwardedClientCert"
    RFC9440 = "RFC9440"
    CLOUDFLARE = "Cloudflare"


class AddressSource(StrEnum):
    """Where ``ip.src`` comes from; anything but the connection is not supported yet."""

    CONNECTION = "Connection"
    PROXY_PROTOCOL = "ProxyProtocol"
    X_FORWARDED_FOR = "XForwardedFor"


DEFAULT_FORWARDED_HEADERS: Final = (ForwardedHeader.X_FORWARDED_CLIENT_CERT,)
DEFAULT_MAX_AGE: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Host:
    """An MTLSHost as its author wants it, defaults applied.

    ``hostnames`` are lower-case, exact or with a leading ``*.``. ``tls_secret_name`` None: the operator
    issues the serving certificate. ``max_age`` bounds connections and single streams. ``status`` is what was
    written last, as it is.
    """

    meta: Meta
    hostnames: tuple[str, ...]
    port: int
    protocol: WorkloadProtocol = WorkloadProtocol.HTTP1
    tls_secret_name: str | None = None
    min_tls: TlsVersion = TlsVersion.V1_2
    client_cas: ClientCas = field(default_factory=ClientCas)
    forwarded_headers: tuple[ForwardedHeader, ...] = DEFAULT_FORWARDED_HEADERS
    max_age: timedelta = DEFAULT_MAX_AGE
    network_policy: bool = True
    allowed_ports: tuple[int, ...] = ()
    status: Mapping[str, object] = field(default_factory=dict, hash=False)


def parse_host(body: Mapping[str, object]) -> Host:
    """Read an MTLSHost.

    Raises:
        InvalidSpec: a field does not fit, is not known or is not supported yet.
    """
    meta = parse_meta(body)
    if len(meta.name) > limits.HOST_NAME_LENGTH:
        raise InvalidSpec("metadata.name", f"must be at most {limits.HOST_NAME_LENGTH} characters long")
    spec = fields_of(body, path="").child("spec")
    spec.only(
        (
            "hostnames",
            "workload",
            "tls",
            "clientCAs",
            "forwardedHeaders",
            "clientAddress",
            "connections",
            "isolation",
        )
    )
    _check_client_address(spec.child("clientAddress"))
    hostnames = spec.texts("hostnames", limits.HOSTNAME, maximum=limits.HOSTNAMES)
    if not hostnames:
        raise InvalidSpec("spec.hostnames", "needs at least one name")
    workload, tls, isolation = spec.child("workload"), spec.child("tls"), spec.child("isolation")
    workload.only(("port", "protocol"))
    tls.only(("secretName", "minVersion"))
    port = _port(workload)
    network_policy = isolation.flag("networkPolicy", default=True)
    return Host(
        meta=meta,
        hostnames=hostnames,
        port=port,
        protocol=workload.choice("protocol", WorkloadProtocol, default=WorkloadProtocol.HTTP1),
        tls_secret_name=tls.text("secretName", limits.SECRET_NAME),
        min_tls=tls.choice("minVersion", TlsVersion, default=TlsVersion.V1_2),
        client_cas=parse_client_cas(spec.child("clientCAs"), namespace=meta.namespace),
        forwarded_headers=spec.choices(
            "forwardedHeaders", ForwardedHeader, default=DEFAULT_FORWARDED_HEADERS
        ),
        max_age=_max_age(spec.child("connections")),
        network_policy=network_policy,
        allowed_ports=_allowed_ports(isolation, port=port, network_policy=network_policy),
        status=fields_of(body, path="").child("status").values,
    )


def _port(workload: Fields) -> int:
    port = workload.integer("port", default=None, minimum=limits.MIN_PORT, maximum=limits.MAX_PORT)
    _refuse_reserved(port, path=workload.at("port"))
    return port


def _allowed_ports(isolation: Fields, *, port: int, network_policy: bool) -> tuple[int, ...]:
    isolation.only(("networkPolicy", "allowedPorts"))
    path = isolation.at("allowedPorts")
    ports = isolation.integers(
        "allowedPorts", minimum=limits.MIN_PORT, maximum=limits.MAX_PORT, items=limits.ALLOWED_PORTS
    )
    for index, allowed in enumerate(ports):
        _refuse_reserved(allowed, path=f"{path}[{index}]")
    if port in ports:
        raise InvalidSpec(path, "must not contain workload.port: that would open a way around the proxy")
    if ports and not network_policy:
        raise InvalidSpec(path, "has no effect while networkPolicy is false: remove one of both")
    return ports


def _refuse_reserved(port: int, *, path: str) -> None:
    if port in limits.RESERVED_PORTS:
        taken = " and ".join(str(reserved) for reserved in sorted(limits.RESERVED_PORTS))
        raise InvalidSpec(path, f"ports {taken} belong to the proxy")


def _check_client_address(address: Fields) -> None:
    address.only(("from",), planned=("trustedCIDRs",))
    source = address.choice("from", AddressSource, default=AddressSource.CONNECTION)
    if source is not AddressSource.CONNECTION:
        raise InvalidSpec(address.at("from"), f"{NOT_SUPPORTED}: {source.value}")


def _max_age(connections: Fields) -> timedelta:
    connections.only(("maxAge",))
    return connections.duration(
        "maxAge", default=DEFAULT_MAX_AGE, minimum=limits.MIN_AGE, maximum=limits.MAX_AGE
    )
