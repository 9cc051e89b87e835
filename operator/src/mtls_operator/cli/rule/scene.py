"""The objects that decide about a request: hosts, rules and certificates of one namespace, from files or a cluster."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from mtls_operator.api import names
from mtls_operator.api.errors import InvalidSpec
from mtls_operator.api.host import Host, parse_host
from mtls_operator.api.meta import parse_meta
from mtls_operator.api.rule import Rule
from mtls_operator.cli.errors import Unanswered
from mtls_operator.cli.manifests import Manifest
from mtls_operator.cli.rule.decision import is_ours
from mtls_operator.cli.rule.verdict import DEFAULT_NAMESPACE, with_namespace
from mtls_operator.plan.hostrules import BrokenRule, FormerRule, HostRules, Standing, rules_for
from mtls_operator.plan.lists import Lists, list_name, list_of
from mtls_operator.plan.reading import read_rule

Body: TypeAlias = Mapping[str, Any]

_LIST_KIND: Final = "ConfigMap"
_OURS: Final = frozenset({names.HOST_KIND, names.RULE_KIND, names.CERTIFICATE_KIND})


@dataclass(frozen=True, slots=True)
class Scene:
    """What one namespace holds; hosts and certificates by name.

    ``last_good`` is what rules that do not compile fall back to, by host (see ``HostRules.last_good``). ``ca_pem``
    and ``revoked`` (serial numbers) are None where they are not known: files do not have them. ``live``: it is a
    cluster's.
    """

    namespace: str
    hosts: Mapping[str, Body]
    rules: Sequence[Rule | BrokenRule]
    certificates: Mapping[str, Body]
    live: bool = False
    last_good: Mapping[str, Mapping[str, FormerRule]] | None = None
    ca_pem: str | None = None
    revoked: frozenset[str] | None = None
    lists: Lists = field(default_factory=dict)


def scene_of_files(manifests: Iterable[Manifest], namespace: str | None) -> Scene:
    """Return what manifests say about a namespace; None: the only one that they are about.

    Raises:
        Unanswered: they are about several, an object is there twice, or one has no name.
    """
    found: dict[str, dict[str, dict[str, Body]]] = {}
    for manifest in manifests:
        ours = manifest.kind in _OURS and manifest.body.get("apiVersion") == names.API_VERSION
        if not ours and not _is_list(manifest):
            continue
        body = with_namespace(manifest.body, namespace or DEFAULT_NAMESPACE)
        try:
            meta = parse_meta(body)
        except InvalidSpec as error:
            raise Unanswered(f"{manifest.file}: {manifest.kind}: {error}") from error
        objects = found.setdefault(meta.namespace, {}).setdefault(manifest.kind, {})
        if meta.name in objects:
            raise Unanswered(f"{manifest.file}: {manifest.kind} {meta.namespace}/{meta.name} is there twice")
        objects[meta.name] = body
    if namespace is None and len(found) > 1:
        raise Unanswered(
            f"the files are about several namespaces ({', '.join(sorted(found))}): choose one with -n"
        )
    chosen = namespace or next(iter(found), DEFAULT_NAMESPACE)
    kinds = found.get(chosen, {})
    return Scene(
        namespace=chosen,
        hosts=kinds.get(names.HOST_KIND, {}),
        rules=[read_rule(body) for body in kinds.get(names.RULE_KIND, {}).values()],
        certificates=kinds.get(names.CERTIFICATE_KIND, {}),
        lists={list_name(name): list_of(body) for name, body in kinds.get(_LIST_KIND, {}).items()},
    )


def _is_list(manifest: Manifest) -> bool:
    """Say whether a manifest is a named list that rules can use."""
    metadata = manifest.body.get("metadata")
    labels = metadata.get("labels") if isinstance(metadata, Mapping) else None
    return manifest.kind == _LIST_KIND and isinstance(labels, Mapping) and names.LIST_LABEL in labels


@dataclass(frozen=True, slots=True)
class HostInForce:
    """A host with the rules in force; ``host`` None: the files hold rules and no MTLSHost, all of them apply.

    ``notes`` say which rules are not in force as they are written.
    """

    name: str
    host: Host | None
    rules: HostRules
    notes: tuple[str, ...]


def host_in_force(scene: Scene, *, name: str, hostname: str) -> HostInForce:
    """Return the host that a request is for: the one named, else the one that has the hostname, else the only one.

    Raises:
        Unanswered: there is none, several are possible, or it cannot be read.
    """
    chosen = name or _by_hostname(scene, hostname)
    if not chosen:
        return _without_host(scene)
    if chosen not in scene.hosts:
        raise Unanswered(f"there is no MTLSHost {chosen} in namespace {scene.namespace}")
    host = _read_host(scene.hosts[chosen])
    in_force = rules_for(chosen, scene.rules, (scene.last_good or {}).get(chosen, {}), scene.lists)
    return HostInForce(chosen, host, in_force, _notes(in_force))


def _by_hostname(scene: Scene, hostname: str) -> str:
    if not scene.hosts:
        return ""
    if not hostname:
        if len(scene.hosts) == 1:
            return next(iter(scene.hosts))
        raise Unanswered(
            f"namespace {scene.namespace} has several MTLSHosts ({', '.join(sorted(scene.hosts))}): say which one "
            "with --url, --host or --mtls-host"
        )
    fitting = sorted(
        name for name, body in scene.hosts.items() if is_ours(hostname, _read_host(body).hostnames)
    )
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        # The oldest has the name (MTLSHost: Accepted); of files nobody knows which that is.
        raise Unanswered(
            f"{hostname} is a hostname of {' and '.join(fitting)}: say which one with --mtls-host"
        )
    if len(scene.hosts) == 1:
        return next(iter(scene.hosts))
    raise Unanswered(
        f"no MTLSHost of namespace {scene.namespace} has the hostname {hostname}: no proxy answers for it"
    )


def _read_host(body: Body) -> Host:
    try:
        return parse_host(body)
    except InvalidSpec as error:
        raise Unanswered(f"MTLSHost {parse_meta(body).name}: {error}") from error


def _without_host(scene: Scene) -> HostInForce:
    """Return the rules of files that hold no host: all of them, as long as they can be of one host."""
    named = {tuple(sorted(rule.host_names)) for rule in scene.rules if rule.host_names}
    hosts = sorted({host for each in named for host in each})
    if not scene.rules:
        where = f"namespace {scene.namespace} has" if scene.live else "the files have"
        raise Unanswered(f"{where} no MTLSHost and no MTLSRule")
    if scene.live:
        raise Unanswered(f"namespace {scene.namespace} has no MTLSHost: its rules apply to nothing")
    if len(hosts) > 1:
        raise Unanswered(
            f"the rules are for several hosts ({', '.join(hosts)}): say which one with --mtls-host"
        )
    in_force = rules_for(hosts[0] if hosts else "", scene.rules, {}, scene.lists)
    return HostInForce(hosts[0] if hosts else "", None, in_force, _notes(in_force))


def _notes(rules: HostRules) -> tuple[str, ...]:
    notes = []
    for outcome in rules.outcomes:
        first = outcome.error.split("\n")[0]
        if outcome.standing is Standing.LAST_GOOD:
            notes.append(f"rule {outcome.name} does not compile ({first}); its last good version is in force")
        elif outcome.standing is Standing.NONE:
            notes.append(f"rule {outcome.name} has never compiled ({first}): it decides nothing")
    notes += [f"rule {rule.meta.name} is disabled" for rule in rules.in_force if not rule.enabled]
    return tuple(notes)
