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
from mtls_operator.api.conditions import (
    Condition,
    MakeCondition,
    conditions_for,
    conditions_of,
    merge_conditions,
    ready,
)
from mtls_operator.api.host import ForwardedHeader, Host
from mtls_operator.api.reason import ConditionType, Reason
from mtls_operator.api.rule import Rule
from mtls_operator.api.secret import Secret
from mtls_operator.api.timestamp import format_timestamp
from mtls_operator.envoy import (
    Forwarded,
    IssuerTrust,
    ProxyConfig,
    ScriptError,
    SerialSet,
    Unlisted,
    check_script,
    epoch_of,
    host_files,
    rules_script,
    script_version,
    server_sds,
    version_of,
)
from mtls_operator.plan.authority import Phase
from mtls_operator.plan.epochs import credible, next_epoch
from mtls_operator.plan.held import Held
from mtls_operator.plan.hostrules import HostRules
from mtls_operator.plan.objects import Document, Owner, config_map, metadata, network_policy, secret
from mtls_operator.plan.rollout import Files, Rollout
from mtls_operator.plan.trouble import Trouble
from mtls_operator.rules import RUNTIME

#: A ConfigMap holds at most 1 MiB; some of it is metadata.
CONFIG_BYTES = 1000 * 1024
#: What the schema lets ``status.rules`` hold; ``status.ruleCount`` counts all.
SHOWN_RULES = 1000
#: What it lets the texts of ``status.clientCAs`` be: whoever made the CA chose them.
SHOWN_SUBJECT = 2048
SHOWN_SKI = 128
#: Of the troubles of a host, the beginning says what to do first.
SHOWN_MESSAGE = 16_000

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


#: ``Trust.source`` of the namespace's own CA; other sources are named as in ``str(Source)``.
MANAGED: Final = "managed"


@dataclass(frozen=True, slots=True)
class Trust:
    """An issuing CA as a host sees it: where it comes from, where it stands, which revocations were imported."""

    digest: str
    certificate_pem: str
    subject: str
    ski: str
    not_after: datetime
    source: str = MANAGED
    phase: str = Phase.ACTIVE.value
    imported: SerialSet | Unlisted | None = None


@dataclass(frozen=True, slots=True)
class Serving:
    """A server certificate with its chain, its key, and the CA to hand out with it (empty: not ours)."""

    certificate_pem: str
    key_pem: Secret
    ca_pem: str


@dataclass(frozen=True, slots=True)
class Configuration:
    """The generated files of one host; ``version`` is what proxies acknowledge for the rules."""

    data: Mapping[str, str]
    script: str
    version: str
    epoch: int


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
) -> Configuration | Trouble:
    """Generate what the pods of a host mount; unchanged rules keep their epoch (guarantee G6).

    ``trusts`` are all CAs whose leaves count on this host. ``previous_script`` is the one found in the cluster,
    ``seen`` are the epochs that were ever seen in use.
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
    return Configuration(data=data, script=script, version=script_version(script), epoch=epoch)


def _script(host: Host, rules: HostRules, trusts: Sequence[Trust], *, epoch: int) -> str:
    issuers = [
        IssuerTrust(trust.digest, listed=trust.source == MANAGED, imported=trust.imported) for trust in trusts
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


@dataclass(frozen=True, slots=True)
class HostView:
    """Everything that a host's status rests on; ``expiring`` says which certificate of the user's own ends soon."""

    host: Host
    conflict: str
    trusts: tuple[Trust, ...]
    troubles: tuple[Trouble, ...]
    configuration: Configuration | None
    programmed: Trouble | None
    rules: HostRules
    rollout: Rollout
    revocation_epoch: int
    recovered: int
    now: datetime
    damaged: tuple[str, ...] = ()
    paged: bool = False
    left_out: tuple[str, ...] = ()
    expiring: str = ""


def status_of(view: HostView) -> dict[str, Any]:
    """Return the whole status of a host."""
    host, rollout = view.host, view.rollout
    status: dict[str, Any] = {
        "proxies": {
            "pods": rollout.pods,
            "injected": rollout.injected,
            "connected": rollout.connected,
            "current": rollout.current,
            "summary": f"{rollout.current}/{rollout.pods}",
        },
        "epoch": {
            "rules": view.configuration.epoch if view.configuration is not None else 0,
            "revocation": view.revocation_epoch,
        },
        "clientCAs": _client_cas(view.trusts),
        "rules": [
            {"name": rule.meta.name, "action": rule.action.value, "priority": rule.priority}
            for rule in _enabled(view.rules)[:SHOWN_RULES]
        ],
        "ruleCount": len(_enabled(view.rules)),
    }
    conditions = _conditions(view)
    status["conditions"] = merge_conditions(conditions_of(host.status), conditions, now=view.now)
    return status


def _enabled(rules: HostRules) -> list[Rule]:
    return [rule for rule in rules.in_force if rule.enabled]


def _client_cas(trusts: Sequence[Trust]) -> list[dict[str, str]]:
    return [
        {
            "subject": trust.subject[:SHOWN_SUBJECT],
            "ski": trust.ski[:SHOWN_SKI],
            "notAfter": format_timestamp(trust.not_after),
            "source": trust.source,
            "phase": trust.phase,
        }
        for trust in trusts
    ]


def _conditions(view: HostView) -> list[Condition]:
    condition = conditions_for(view.host.meta.generation)
    accepted = (
        condition(ConditionType.ACCEPTED, Reason.HOSTNAME_CONFLICT, view.conflict, status=False)
        if view.conflict
        else condition(ConditionType.ACCEPTED, Reason.ACCEPTED, "The spec is valid.", status=True)
    )
    resolved = _resolved(view, condition)
    programmed = (
        condition(ConditionType.PROGRAMMED, view.programmed.reason, view.programmed.message, status=False)
        if view.programmed is not None
        else condition(
            ConditionType.PROGRAMMED, Reason.PROGRAMMED, "The configuration is written.", status=True
        )
    )
    rollout = view.rollout
    deployed = condition(
        ConditionType.DEPLOYED,
        rollout.reason or Reason.DEPLOYED,
        rollout.message,
        status=rollout.reason is None,
    )
    enforced = _enforced(view, condition)
    needed = [
        ConditionType.ACCEPTED,
        ConditionType.RESOLVED_REFS,
        ConditionType.PROGRAMMED,
        ConditionType.DEPLOYED,
    ]
    if view.rules.never_compiled:
        needed.append(ConditionType.ENFORCED)
    conditions = [accepted, resolved, programmed, deployed, enforced]
    return [*conditions, ready(conditions, needed, message="In force on every proxy.")]


def _resolved(view: HostView, condition: MakeCondition) -> Condition:
    kind = ConditionType.RESOLVED_REFS
    if view.troubles:
        first = view.troubles[0]
        return condition(
            kind,
            first.reason,
            _shortened(" ".join(trouble.message for trouble in view.troubles)),
            status=False,
        )
    if view.damaged:
        message = (
            f"The ledger has lines that cannot be read ({', '.join(view.damaged[:3])}): what they revoked stays "
            "revoked; restore the page from a backup, or remove the lines."
        )
        return condition(kind, Reason.LEDGER_UNREADABLE, message, status=True)
    if view.recovered:
        message = (
            f"{view.recovered} revocations were missing from the ledger and were recovered from the published "
            f"list: check the backups of the operator's namespace."
        )
        return condition(kind, Reason.LEDGER_ROLLBACK, message, status=True)
    if view.left_out:
        message = (
            f"The list of revocations is too large for {' and '.join(view.left_out)}, even in pages: other gateways "
            "and people do not see the present one. The proxies have all of it. Use several namespaces."
        )
        return condition(kind, Reason.LIST_TOO_LARGE, message, status=True)
    if view.paged:
        message = (
            "The readable list of revocations does not fit into mtls-revocation: pages.json there names the ConfigMaps "
            "with its parts. The proxies have all of it."
        )
        return condition(kind, Reason.LIST_IN_PAGES, message, status=True)
    if view.expiring:
        return condition(kind, Reason.SERVING_CERTIFICATE_EXPIRING, view.expiring, status=True)
    return condition(kind, Reason.RESOLVED, "Everything that the spec names was found.", status=True)


def _shortened(text: str) -> str:
    return text if len(text) <= SHOWN_MESSAGE else f"{text[:SHOWN_MESSAGE]}…"


def _enforced(view: HostView, condition: MakeCondition) -> Condition:
    kind = ConditionType.ENFORCED
    if view.rules.never_compiled:
        named = ", ".join(view.rules.never_compiled)
        message = f"Rule {named} has never compiled and blocks nothing: mend or delete it."
        return condition(kind, Reason.RULE_NEVER_COMPILED, message, status=False)
    if not view.rules.blocks:
        message = "No enabled Block rule applies: everybody gets in. Create an MTLSRule."
        return condition(kind, Reason.NO_RULES, message, status=False)
    if view.configuration is None or view.rollout.reason is not None:
        message = f"Rules are set but not in force on every proxy: {view.rollout.message}"
        reason = view.rollout.reason or Reason.PENDING
        return condition(kind, reason, message, status=False)
    count = len(_enabled(view.rules))
    return condition(kind, Reason.ENFORCED, f"Rules in force: {count}.", status=True)
