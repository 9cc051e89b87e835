"""Pod in, pod with sidecar out.

One pure function behind every door (webhook, plugin, tests). It neither asks whether the MTLSHost exists nor
looks at the cluster: a pod may come before its host, and the kubelet then waits for the host's volumes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mtls_operator.api import names
from mtls_operator.inject.errors import InjectRefused
from mtls_operator.inject.identity import choose_uid
from mtls_operator.inject.reading import Json, containers, mapping, objects
from mtls_operator.inject.refusals import host_name, refuse_conflicts
from mtls_operator.inject.settings import InjectSettings
from mtls_operator.inject.sidecar import (
    HOST_VOLUME,
    INJECTED_ANNOTATION,
    VOLUMES,
    Extras,
    container,
    extras_of,
    volumes,
)


@dataclass(frozen=True, slots=True)
class Injection:
    """The pod to create, whether it differs from the one that came, and one sentence why."""

    pod: Json
    changed: bool
    reason: str


def inject(pod: Json, *, settings: InjectSettings, namespace: str, entropy: bytes) -> Injection:
    """Return the pod with the sidecar of the host that its label names; the pod that came in is not changed.

    A pod without the label is returned as it is. A pod that carries our annotation gets its sidecar made
    anew: what anybody else changed in it is dropped, except variables and mounts that other webhooks put into
    every container. With the same entropy a second call changes nothing.

    Args:
        pod: the Pod as JSON.
        settings: what the sidecar looks like in this cluster.
        namespace: of the pod: a pod in a review often does not say it.
        entropy: decides the user id of the sidecar; differs from pod to pod.

    Raises:
        InjectRefused: the pod asks for the sidecar and cannot have it.
    """
    labels = mapping(mapping(pod, "metadata", path="pod"), "labels", path="metadata")
    if names.HOST_LABEL not in labels:
        return Injection(pod, changed=False, reason=f"no label {names.HOST_LABEL}")
    host = host_name(labels[names.HOST_LABEL])
    bare, extras = _without_sidecar(pod)
    refuse_conflicts(bare)
    injected = _with_sidecar(bare, host=host, uid=_uid(bare, entropy), settings=settings, extras=extras)
    if injected == pod:
        return Injection(pod, changed=False, reason=f"already carries the sidecar of {namespace}/{host}")
    return Injection(injected, changed=True, reason=f"sidecar of {namespace}/{host} added")


def has_sidecar(pod: Json) -> bool:
    """Return whether a pod, as the API server shows it, runs the sidecar of the host that its label names.

    For the status: a pod with the label and without the sidecar is one that does not enforce anything.
    """
    try:
        metadata, spec = mapping(pod, "metadata", path="pod"), mapping(pod, "spec", path="pod")
        host = mapping(metadata, "labels", path="metadata").get(names.HOST_LABEL)
        return isinstance(host, str) and _holds_config(spec, host) and _runs_sidecar(spec)
    except InjectRefused:
        return False  # not the shape of a pod: nothing that runs


def _holds_config(spec: Json, host: str) -> bool:
    return [
        mapping(volume, "configMap", path="spec.volumes").get("name")
        for volume in objects(spec, "volumes", path="spec")
        if volume.get("name") == HOST_VOLUME
    ] == [names.host_config(host)]


def _runs_sidecar(spec: Json) -> bool:
    return any(
        _is_sidecar(candidate) and candidate.get("restartPolicy") == "Always" and _mounts_host(candidate)
        for candidate in objects(spec, "initContainers", path="spec")
    )


def _mounts_host(candidate: Json) -> bool:
    mounts = objects(candidate, "volumeMounts", path="spec.initContainers")
    return any(m.get("name") == HOST_VOLUME and m.get("mountPath") == names.HOST_MOUNT for m in mounts)


def _is_sidecar(candidate: Json) -> bool:
    return candidate.get("name") == names.SIDECAR_NAME


def _without_sidecar(pod: Json) -> tuple[Json, Extras]:
    """Take a sidecar of ours out of a pod; without our annotation nothing in the pod is taken for ours."""
    metadata, spec = mapping(pod, "metadata", path="pod"), mapping(pod, "spec", path="pod")
    if INJECTED_ANNOTATION not in mapping(metadata, "annotations", path="metadata"):
        return pod, Extras()
    init_containers = objects(spec, "initContainers", path="spec")
    bare_spec = {
        **spec,
        "initContainers": [item for item in init_containers if not _is_sidecar(item)],
        "volumes": [
            item for item in objects(spec, "volumes", path="spec") if item.get("name") not in VOLUMES
        ],
    }
    extras = [extras_of(item) for item in init_containers if _is_sidecar(item)]
    return {**pod, "spec": bare_spec}, extras[0] if extras else Extras()


def _with_sidecar(
    pod: Json, *, host: str, uid: int, settings: InjectSettings, extras: Extras
) -> dict[str, Any]:
    metadata, spec = mapping(pod, "metadata", path="pod"), mapping(pod, "spec", path="pod")
    annotations = mapping(metadata, "annotations", path="metadata")
    proxy = container(host=host, uid=uid, settings=settings, extras=extras)
    return {
        **pod,
        "metadata": {**metadata, "annotations": {**annotations, INJECTED_ANNOTATION: settings.version}},
        "spec": {
            **spec,
            # First, so that it runs before any other container of the pod does.
            "initContainers": [proxy, *objects(spec, "initContainers", path="spec")],
            "volumes": [*objects(spec, "volumes", path="spec"), *volumes(host)],
        },
    }


def _uid(pod: Json, entropy: bytes) -> int:
    spec = mapping(pod, "spec", path="pod")
    return choose_uid(
        entropy, own_user_namespace=spec.get("hostUsers") is False, taken=frozenset(_user_ids(spec))
    )


def _user_ids(spec: Json) -> Iterator[int]:
    """Yield the user and group ids that the pod names anywhere: the sidecar shares none of them."""
    contexts: list[Mapping[str, Any]] = [mapping(spec, "securityContext", path="spec")]
    contexts += [mapping(item, "securityContext", path=path) for path, item in containers(spec)]
    for context in contexts:
        values = [context.get("runAsUser"), context.get("runAsGroup"), context.get("fsGroup")]
        groups = context.get("supplementalGroups")
        values += groups if isinstance(groups, list) else []
        yield from (value for value in values if isinstance(value, int))
