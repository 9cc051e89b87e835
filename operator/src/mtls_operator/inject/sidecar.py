"""The sidecar itself: its container and its volumes, as a pure function of the host and the settings.

Why each field is as it is stands beside it; ``docs/injection.md`` tells the same story for users.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from mtls_operator.api import names
from mtls_operator.inject.reading import Json
from mtls_operator.inject.settings import InjectSettings

#: On an injected pod: the version that injected it.
INJECTED_ANNOTATION: Final = f"{names.GROUP}/injected"
#: Containers and volumes whose names begin so are ours.
RESERVED_PREFIX: Final = "mtls-"

HOST_VOLUME: Final = "mtls-host"
REVOCATION_VOLUME: Final = "mtls-revocation"
SERVER_VOLUME: Final = "mtls-server"
IDENTITY_VOLUME: Final = "mtls-identity"
RUN_VOLUME: Final = "mtls-run"
NO_TOKEN_VOLUME: Final = "mtls-no-token"  # noqa: S105 - the name of a volume
VOLUMES: Final = (HOST_VOLUME, REVOCATION_VOLUME, SERVER_VOLUME, IDENTITY_VOLUME, RUN_VOLUME, NO_TOKEN_VOLUME)

#: Where Kubernetes puts the token of the service account, unless a container mounts something there itself.
TOKEN_MOUNT: Final = "/var/run/secrets/kubernetes.io/serviceaccount"  # noqa: S105 - a path

_DOWNWARD: Final = (
    ("POD_NAMESPACE", "metadata.namespace"),
    ("POD_NAME", "metadata.name"),
    ("POD_UID", "metadata.uid"),
)
_ENV_NAMES: Final = frozenset(name for name, _ in _DOWNWARD)
#: Variables that make the loader, the allocator or Lua run or read something else.
_DANGEROUS_ENV: Final = ("LD_", "LUA_", "GLIBC_", "MALLOC_", "ENVOY_")
#: Other webhooks put tokens and sockets into every container here; nothing of the proxy's image or ours lives
#: below (``/var/run`` is a link to ``/run`` in most images, hence no ``mtls``). No segment is empty or dots.
_FOREIGN_MOUNT: Final = re.compile(r"/var/run(/[A-Za-z0-9_-][A-Za-z0-9._-]*)+")
_OUR_RUN: Final = re.compile(r"/var/run/mtls(/.*)?")

#: The mode of the files that the sidecar reads as "other": its user id is of no group that owns them, and an
#: ``fsGroup`` would change the owner of the application's volumes too. Nobody else mounts these volumes.
_READABLE: Final = 0o444
_RUN_SIZE: Final = "16Mi"
_NO_TOKEN_SIZE: Final = "1Mi"  # noqa: S105 - a size


@dataclass(frozen=True, slots=True)
class Extras:
    """What other webhooks added to a sidecar of ours and may stay: variables, mounts below ``/var/run``."""

    env: tuple[Json, ...] = ()
    mounts: tuple[Json, ...] = ()


def container(*, host: str, uid: int, settings: InjectSettings, extras: Extras) -> dict[str, Any]:
    """Return the init container with ``restartPolicy: Always`` (a native sidecar) of one pod."""
    return {
        "name": names.SIDECAR_NAME,
        "image": settings.image,
        "imagePullPolicy": settings.pull_policy.value,
        "restartPolicy": "Always",
        "args": arguments(host, concurrency=settings.concurrency),
        "env": [*_downward_env(), *extras.env],
        "ports": [
            {"name": names.TLS_PORT_NAME, "containerPort": names.TLS_PORT, "protocol": "TCP"},
            {"name": names.STATUS_PORT_NAME, "containerPort": names.STATUS_PORT, "protocol": "TCP"},
        ],
        "readinessProbe": _readiness_probe(),
        "resources": _resources(settings),
        "securityContext": _security_context(uid),
        "volumeMounts": [*_mounts(), *extras.mounts],
    }


def arguments(host: str, *, concurrency: int) -> list[str]:
    """Return Envoy's command line; the discovery server knows the pod by the node id (``names.node_id``)."""
    return [
        "-c",
        f"{names.HOST_MOUNT}/{names.BOOTSTRAP_KEY}",
        "--service-node",
        names.node_id("$(POD_NAMESPACE)", "$(POD_NAME)", "$(POD_UID)"),
        "--service-cluster",
        host,
        "--concurrency",
        str(concurrency),
        "--disable-hot-restart",
        "-l",
        "warn",
        "--drain-strategy",
        "immediate",
        "--drain-time-s",
        "5",
        # Without it Envoy ignores fields of the listener that it does not know, silently.
        "--reject-unknown-dynamic-fields",
        "--file-flush-interval-msec",
        "1000",
    ]


def volumes(host: str) -> list[dict[str, Any]]:
    """Return the sidecar's volumes: none is optional, so the kubelet waits until the operator wrote them."""
    return [
        {"name": HOST_VOLUME, "configMap": {"name": names.host_config(host), "defaultMode": _READABLE}},
        {
            "name": REVOCATION_VOLUME,
            "configMap": {"name": names.REVOCATION_CONFIGMAP, "defaultMode": _READABLE},
        },
        {
            "name": SERVER_VOLUME,
            "secret": {"secretName": names.server_secret(host), "defaultMode": _READABLE},
        },
        {"name": IDENTITY_VOLUME, "secret": {"secretName": names.PROXY_SECRET, "defaultMode": _READABLE}},
        {"name": RUN_VOLUME, "emptyDir": {"medium": "Memory", "sizeLimit": _RUN_SIZE}},
        {"name": NO_TOKEN_VOLUME, "emptyDir": {"medium": "Memory", "sizeLimit": _NO_TOKEN_SIZE}},
    ]


def extras_of(existing: Json) -> Extras:
    """Return what may stay of a sidecar that is made anew: everything else in it is dropped."""
    return Extras(
        env=tuple(entry for entry in _items(existing, "env") if _foreign_env(entry)),
        mounts=tuple(mount for mount in _items(existing, "volumeMounts") if _foreign_mount(mount)),
    )


def _items(parent: Json, key: str) -> Sequence[Json]:
    value = parent.get(key)
    return value if isinstance(value, Sequence) and not isinstance(value, str) else ()


def _foreign_env(entry: Json) -> bool:
    name = str(entry.get("name", ""))
    return bool(name) and name not in _ENV_NAMES and not name.startswith(_DANGEROUS_ENV)


def _foreign_mount(mount: Json) -> bool:
    path = str(mount.get("mountPath", ""))
    return (
        not str(mount.get("name", "")).startswith(RESERVED_PREFIX)
        and path != TOKEN_MOUNT
        and _FOREIGN_MOUNT.fullmatch(path) is not None
        and _OUR_RUN.fullmatch(path) is None
    )


def _downward_env() -> list[dict[str, Any]]:
    return [{"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}} for name, path in _DOWNWARD]


def _mounts() -> list[dict[str, Any]]:
    read_only = (
        (HOST_VOLUME, names.HOST_MOUNT),
        (REVOCATION_VOLUME, names.REVOCATION_MOUNT),
        (SERVER_VOLUME, names.SERVER_MOUNT),
        (IDENTITY_VOLUME, names.PROXY_MOUNT),
        # A mount of our own here keeps the API token out of the proxy, whatever the application gets.
        (NO_TOKEN_VOLUME, TOKEN_MOUNT),
    )
    return [
        *({"name": name, "mountPath": path, "readOnly": True} for name, path in read_only),
        {"name": RUN_VOLUME, "mountPath": names.RUN_MOUNT},
    ]


def _readiness_probe() -> dict[str, Any]:
    """Ask through TLS, listener and rules script: the status port says ready while a script fails.

    There is no start-up probe, because the application need not wait for a proxy of incoming connections (it
    costs a second or two), and no liveness probe, because no fault that it could see goes away by a restart.
    """
    return {
        "httpGet": {"path": names.READY_PATH, "port": names.TLS_PORT_NAME, "scheme": "HTTPS"},
        "periodSeconds": 2,
        "timeoutSeconds": 2,
        "failureThreshold": 3,
    }


def _resources(settings: InjectSettings) -> dict[str, Any]:
    limits = {"memory": settings.memory_limit}
    if settings.cpu_limit is not None:
        limits["cpu"] = settings.cpu_limit
    return {"requests": {"cpu": settings.cpu_request, "memory": settings.memory_request}, "limits": limits}


def _security_context(uid: int) -> dict[str, Any]:
    return {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "privileged": False,
        "readOnlyRootFilesystem": True,
        "runAsGroup": uid,
        "runAsNonRoot": True,
        "runAsUser": uid,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
