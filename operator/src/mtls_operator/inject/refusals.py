"""Pods that cannot have the sidecar, each with the sentence that the person who applies it reads.

Every check is a pure function of the pod as the user wrote it; the first that finds something wins. The
admission policy of the chart says the same in CEL, because it must hold when this webhook is not asked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final

from mtls_operator.api import names
from mtls_operator.inject.errors import InjectRefused
from mtls_operator.inject.reading import Json, containers, mapping, objects
from mtls_operator.inject.sidecar import RESERVED_PREFIX

#: Name of an MTLSHost: an object name of at most 52 characters, so that the names made from it stay valid.
_HOST_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_HOST_NAME_MAX: Final = 52
_MIRROR_ANNOTATION: Final = "kubernetes.io/config.mirror"
_OS_LABEL: Final = "kubernetes.io/os"
_PORTS: Final = (names.TLS_PORT, names.STATUS_PORT)
_PORT_NAMES: Final = (names.TLS_PORT_NAME, names.STATUS_PORT_NAME)


def host_name(value: object) -> str:
    """Return the label's value when it can be the name of an MTLSHost; raise InjectRefused otherwise."""
    if isinstance(value, str) and len(value) <= _HOST_NAME_MAX and _HOST_NAME.fullmatch(value):
        return value
    raise InjectRefused(
        f"metadata.labels[{names.HOST_LABEL}]",
        f"{value!r} is not the name of an MTLSHost: lower-case letters, digits, '-' and '.', "
        f"at most {_HOST_NAME_MAX} characters",
    )


def refuse_conflicts(pod: Json) -> None:
    """Raise InjectRefused for the first thing in a pod that does not go together with the sidecar.

    Args:
        pod: a pod *without* our own sidecar and volumes.
    """
    metadata, spec = mapping(pod, "metadata", path="pod"), mapping(pod, "spec", path="pod")
    _refuse_mirror(metadata)
    for check in _CHECKS:
        check(spec)


def _refuse_mirror(metadata: Json) -> None:
    if _MIRROR_ANNOTATION in mapping(metadata, "annotations", path="metadata"):
        raise InjectRefused(
            "metadata.annotations",
            "this is the mirror of a static pod: the pod itself runs on the node without the sidecar; "
            "remove the label from the static pod's manifest",
        )


def _refuse_windows(spec: Json) -> None:
    os_name = mapping(spec, "os", path="spec").get("name") or mapping(spec, "nodeSelector", path="spec").get(
        _OS_LABEL
    )
    if os_name not in (None, "linux"):
        raise InjectRefused("spec.os", f"the sidecar runs on Linux nodes only, not on {os_name}")


def _refuse_shared_namespaces(spec: Json) -> None:
    reasons = {
        "hostNetwork": "the application would be reachable on the node's addresses past the sidecar",
        "hostPID": "processes outside of the sidecar could read its memory and its keys through /proc",
        "shareProcessNamespace": "other containers could read the sidecar's keys through /proc, and stop it",
    }
    for field, reason in reasons.items():
        # Anything but an absent or false value: an unknown shape is no reason to let a pod pass.
        if spec.get(field) not in (None, False):
            raise InjectRefused(
                f"spec.{field}", f"must not be set on a pod with the label {names.HOST_LABEL}: {reason}"
            )


def _refuse_names(spec: Json) -> None:
    named = [*containers(spec)]
    named += [
        (f"spec.volumes[{i}]", volume) for i, volume in enumerate(objects(spec, "volumes", path="spec"))
    ]
    for path, item in named:
        if str(item.get("name", "")).startswith(RESERVED_PREFIX):
            raise InjectRefused(
                f"{path}.name",
                f"{item['name']!r}: names that begin with {RESERVED_PREFIX!r} are the sidecar's; rename it",
            )


def _refuse_ports(spec: Json) -> None:
    for path, container in containers(spec):
        for index, port in enumerate(objects(container, "ports", path=path)):
            where = f"{path}.ports[{index}]"
            if port.get("containerPort") in _PORTS and port.get("protocol") in (None, "TCP"):
                raise InjectRefused(
                    where, f"port {port['containerPort']} is the sidecar's; listen on another one"
                )
            if port.get("name") in _PORT_NAMES:
                raise InjectRefused(
                    f"{where}.name",
                    f"{port['name']!r} is the name of the sidecar's port: a Service that asks for it "
                    "would reach this container instead; rename it",
                )


def _refuse_mounts(spec: Json) -> None:
    for path, container in containers(spec):
        for index, mount in enumerate(objects(container, "volumeMounts", path=path)):
            if str(mount.get("name", "")).startswith(RESERVED_PREFIX):
                raise InjectRefused(f"{path}.volumeMounts[{index}]", "only the sidecar may mount its volumes")


def _refuse_secrets(spec: Json) -> None:
    for path, name in _secret_references(spec):
        if isinstance(name, str) and (name == names.PROXY_SECRET or name.startswith(names.server_secret(""))):
            raise InjectRefused(
                path, f"the Secret {name} holds a key of the sidecar: no other container may read it"
            )


def _secret_references(spec: Json) -> Iterator[tuple[str, object]]:
    for index, volume in enumerate(objects(spec, "volumes", path="spec")):
        path = f"spec.volumes[{index}]"
        yield f"{path}.secret", mapping(volume, "secret", path=path).get("secretName")
        projected = mapping(volume, "projected", path=path)
        for source in objects(projected, "sources", path=f"{path}.projected"):
            yield f"{path}.projected", mapping(source, "secret", path=path).get("name")
    for path, container in containers(spec):
        for entry in objects(container, "env", path=path):
            source = mapping(entry, "valueFrom", path=f"{path}.env")
            yield f"{path}.env", mapping(source, "secretKeyRef", path=f"{path}.env").get("name")
        for entry in objects(container, "envFrom", path=path):
            yield f"{path}.envFrom", mapping(entry, "secretRef", path=f"{path}.envFrom").get("name")


_CHECKS: Final[tuple[Callable[[Json], None], ...]] = (
    _refuse_windows,
    _refuse_shared_namespaces,
    _refuse_names,
    _refuse_ports,
    _refuse_mounts,
    _refuse_secrets,
)
