"""Requests that the admission policy of the chart must refuse or accept, as files beside this one.

A file holds the difference to a good request, as a JSON Patch, and begins with ``# error:`` and a part of the
sentence that the API server must answer with (``# accepted`` in the other folder). What it is applied to stands in
the file's name:

=============  =====================================================================================
``create-…``   a pod that carries the sidecar as the webhook made it, as it is created
``plain-…``    a pod without the label that exists, as it is updated
``update-…``   the pod with the sidecar that exists, as it is updated
``status-…``   the same through ``pods/status``
``debug-…``    the same through ``pods/ephemeralcontainers``
``bind-…``     a Binding of that pod
=============  =====================================================================================
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import yaml

from mtls_operator.inject import InjectSettings, inject

HERE = Path(__file__).parent
Json = dict[str, Any]

LABELLED_NAME = "admission-labelled"
PLAIN_NAME = "admission-plain"


class Kind(Enum):
    """What a case is applied to; the value is the first word of its file's name."""

    CREATE = "create"
    PLAIN = "plain"
    UPDATE = "update"
    STATUS = "status"
    DEBUG = "debug"
    BIND = "bind"


@dataclass(frozen=True, slots=True)
class Case:
    """One request; ``error`` is empty when it must be accepted."""

    name: str
    kind: Kind
    error: str
    patch: tuple[Json, ...]


def cases(folder: str) -> list[Case]:
    """Return the cases of ``refused`` or ``accepted`` in the order of their names."""
    return [_case(path) for path in sorted((HERE / folder).glob("*.yaml"))]


def _case(path: Path) -> Case:
    text = path.read_text(encoding="utf-8")
    headline = text.partition("\n")[0]
    error = headline.removeprefix("# error: ") if headline.startswith("# error: ") else ""
    if not error and headline != "# accepted":
        raise ValueError(f"{path.name}: the first line must be '# error: …' or '# accepted'")
    return Case(path.stem, Kind(path.name.partition("-")[0]), error, tuple(yaml.safe_load(text) or ()))


def plain_pod() -> Json:
    """Return a pod without the label; no scheduler knows it, so that it can be looked at and never runs."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": PLAIN_NAME, "labels": {"app": "shop"}},
        "spec": {
            "schedulerName": "none",
            "initContainers": [{"name": "migrate", "image": "shop/migrate"}],
            "containers": [
                {
                    "name": "app",
                    "image": "shop/api",
                    "ports": [{"name": "http", "containerPort": 8080}],
                    "env": [{"name": "LEVEL", "value": "info"}],
                    "volumeMounts": [{"name": "data", "mountPath": "/data"}],
                }
            ],
            "volumes": [{"name": "data", "emptyDir": {}}],
        },
    }


def labelled_pod(image: str) -> Json:
    """Return the same pod with the label, as the webhook of the chart would make it."""
    pod = plain_pod()
    pod["metadata"] = {"name": LABELLED_NAME, "labels": {"app": "shop", "mtls-operator.dev/host": "api"}}
    settings = InjectSettings(image=image, version="test")
    return dict(inject(pod, settings=settings, namespace="test", entropy=b"admission").pod)


def binding() -> Json:
    """Return the request of a scheduler that puts the labelled pod on a node."""
    return {
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": {"name": LABELLED_NAME},
        "target": {"apiVersion": "v1", "kind": "Node", "name": "node-1"},
    }


def patched(document: Json, patch: tuple[Json, ...]) -> Json:
    """Apply a JSON Patch (RFC 6902: add, replace, remove; ``-`` is the end of a list) to a copy of a document."""
    result = copy.deepcopy(document)
    for operation in patch:
        *parents, last = [
            part.replace("~1", "/").replace("~0", "~") for part in operation["path"].split("/")[1:]
        ]
        target: Any = result
        for part in parents:
            target = target[int(part)] if isinstance(target, list) else target[part]
        _apply(target, last, operation)
    return result


def _apply(target: Any, last: str, operation: Json) -> None:
    value = copy.deepcopy(operation.get("value"))
    if isinstance(target, list):
        position = len(target) if last == "-" else int(last)
        if operation["op"] != "add":
            del target[position]
        if operation["op"] != "remove":
            target.insert(position, value)
        return
    if operation["op"] != "add":
        del target[last]
    if operation["op"] != "remove":
        target[last] = value
