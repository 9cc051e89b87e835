"""What one MTLSHost needs in the cluster, and what its status says.

The last good configuration stays in force while a part is broken (guarantee G2): what cannot be built is left out of
the objects to write, so that nothing replaces what is there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from mtls_operator.api import names
from mtls_operator.api.host import ForwardedHeader, Host
from mtls_operator.api.reason import Reason
from mtls_operator.api.secret import Secret
from mtls_operator.envoy import (
    Forwarded,
    IssuerTrust,
    ProxyConfig,
    ScriptError,
    check_script,
    epoch_of,
    host_files,
    rules_script,
    script_version,
    server_sds,
    version_of,
)
from mtls_operator.plan.epochs import credible, next_epoch
from mtls_operator.plan.held import Held
from mtls_operator.plan.hostrules import HostRules
from mtls_operator.plan.objects import Document, Owner, config_map, metadata, network_policy, secret
from mtls_operator.plan.rollout import Files
from mtls_operator.plan.trouble import Trouble
from mtls_operator.plan.trust import Trust
from mtls_operator.rules import RUNTIME

#: A ConfigMap holds at most 1 MiB; some of it is metadata.
CONFIG_BYTES = 1000 * 1024
_FORWARDED: Final[Mapping[ForwardedHeader, Forwarded]] = {
    ForwardedHeader.X_FORWARDED_CLIENT_CERT: "xfcc",
    ForwardedHeader.RFC9440: "rfc9440",
    ForwardedHeader.CLOUDFLARE: "cloudflare",
}


@dataclass(frozen=True, slots=True)
class Discovery:
    """Where proxies find the operator, and who may read their status ports besides it (peers of a NetworkPolicy)."""

    host: str
    port: int
    operator_namespace: str
    metrics_from: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Serving:
    """A server certificate with its chain, its key, and the CA to hand out with it (empty: not ours)."""

    certificate_pem: str
    key_pem: Secret
    ca_pem: str


@dataclass(frozen=True, slots=True)
class Configuration:
    """The generated files of one host, and the rules and CAs that they were made of.

    ``version`` is what proxies acknowledge for the rules.
    """

    data: Mapping[str, str]
    script: str
    version: str
    epoch: int
    rules: HostRules
    trusts: tuple[Trust, ...]
    #: What else the files were made of.
    settings: tuple[object, ...] = ()


def owner_of(host: Host) -> Owner:
    """Return the owner of everything that is written for a host in its namespace."""
    return Owner(names.API_VERSION, names.HOST_KIND, host.meta.name, host.meta.uid)


def configure(  # noqa: PLR0913 - what a configuration rests on, most of it by keyword
    host: Host,
    rules: HostRules,
    trusts: Sequence[Trust],
    discovery: Discovery,
    *,
    previous_script: str,
    seen: Sequence[int],
    now: datetime,
    former: Configuration | None = None,
) -> Configuration | Trouble:
    """Generate what the pods of a host mount; unchanged rules keep their epoch (guarantee G6).

    ``trusts`` are all CAs whose leaves count on this host. ``previous_script`` is the one found in the cluster,
    ``seen`` are the epochs that were ever seen in use. ``former`` is returned if it would be generated again: a
    thousand rules take a tenth of a second, and a host is looked at for many reasons.
    """
    config = ProxyConfig(
        host=host.meta.name,
        upstream_port=host.port,
        protocol=host.protocol.value,
        min_tls=host.min_tls.value,
        max_connection_age=int(host.max_age.total_seconds()),
        discovery_host=discovery.host,
        discovery_port=discovery.port,
        discovery_server_name=discovery.host,
    )
    seen = [epoch for epoch in seen if credible(epoch, now=now) is not None]
    old = credible(epoch_of(previous_script), now=now)
    settings = (config, host.hostnames, host.forwarded_headers)
    if (
        former is not None
        and former.rules is rules
        and (former.trusts, former.settings) == (tuple(trusts), settings)
        and former.script == previous_script
        and former.epoch == old
        and former.epoch >= max(seen, default=0)
    ):
        return former
    epoch = old if old is not None else next_epoch(seen, now=now)
    script = _script(host, rules, trusts, epoch=epoch)
    if script != previous_script or epoch < max(seen, default=0):
        epoch = next_epoch((*seen, old), now=now)
        script = _script(host, rules, trusts, epoch=epoch)
        try:
            check_script(script)
        except ScriptError as error:
            return Trouble(Reason.CONFIG_INVALID, f"The generated script does not load: {error}")
    data = host_files(config, client_ca_pem="".join(trust.certificate_pem for trust in trusts), rules=script)
    data[names.LAST_GOOD_KEY] = rules.last_good()
    size = sum(len(text.encode()) for text in data.values())
    if size > CONFIG_BYTES:
        return Trouble(
            Reason.CONFIG_TOO_LARGE,
            f"The rules compile to {size} bytes, at most {CONFIG_BYTES} fit: use fewer or smaller rules. "
            "The last good configuration stays in force.",
        )
    return Configuration(
        data=data,
        script=script,
        version=script_version(script),
        epoch=epoch,
        rules=rules,
        trusts=tuple(trusts),
        settings=settings,
    )


def _script(host: Host, rules: HostRules, trusts: Sequence[Trust], *, epoch: int) -> str:
    issuers = [
        IssuerTrust(
            trust.digest, listed=trust.listed, imported=trust.imported, ends=int(trust.not_after.timestamp())
        )
        for trust in trusts
    ]
    return rules_script(
        epoch=epoch,
        hostnames=host.hostnames,
        issuers=issuers,
        rules=rules.scripts,
        reads_certificate=rules.reads_certificate,
        forward=[_FORWARDED[header] for header in host.forwarded_headers],
        runtime=RUNTIME,
    )


def host_objects(host: Host, configuration: Configuration, discovery: Discovery) -> list[Document]:
    """Return the ConfigMap of a host, and its NetworkPolicy unless it does not want one."""
    namespace, name = host.meta.key
    owner = owner_of(host)
    documents = [
        config_map(metadata(namespace, names.host_config(name), role="host", owner=owner), configuration.data)
    ]
    if host.network_policy:
        documents.append(
            network_policy(
                metadata(namespace, names.host_config(name), role="host", owner=owner),
                host=name,
                operator_namespace=discovery.operator_namespace,
                allowed_ports=host.allowed_ports,
                metrics_from=discovery.metrics_from,
            )
        )
    return documents


def trust_document(host: Host, held: Held, seal: Secret) -> Document | Trouble:
    """Return the ConfigMap with the last good copies of what a host's users brought; proxies do not mount it."""
    text = held.document(seal, host.meta.uid)
    size = len(text.encode())
    if size > CONFIG_BYTES:
        return Trouble(
            Reason.CONFIG_TOO_LARGE,
            f"The CAs and lists of clientCAs take {size} bytes, at most {CONFIG_BYTES} fit: use fewer or smaller ones. "
            "The last good configuration stays in force.",
        )
    namespace, name = host.meta.key
    meta = metadata(namespace, names.trust_config(name), role="host", owner=owner_of(host))
    return config_map(meta, {names.TRUST_KEY: text})


def server_document(host: Host, serving: Serving) -> Document:
    """Return the Secret that the pods of a host mount: the certificate, and the same as Envoy reads it."""
    sds = server_sds(serving.certificate_pem, serving.key_pem)
    data: dict[str, Secret | str] = {
        names.TLS_CERT_KEY: serving.certificate_pem,
        names.TLS_KEY_KEY: serving.key_pem,
        names.SERVER_SDS_KEY: sds,
    }
    if serving.ca_pem:
        data[names.CA_KEY] = serving.ca_pem
    namespace, name = host.meta.key
    return secret(metadata(namespace, names.server_secret(name), role="server", owner=owner_of(host)), data)


def wanted_files(configuration: Configuration, serving: Serving) -> Files:
    """Return the versions that the status port of every proxy must report."""
    return Files(
        listener=version_of(configuration.data[names.LISTENER_KEY]),
        client_ca=version_of(configuration.data[names.CLIENT_CA_SDS_KEY]),
        server=version_of(server_sds(serving.certificate_pem, serving.key_pem)),
    )
