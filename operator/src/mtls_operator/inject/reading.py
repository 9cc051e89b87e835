"""Reading a pod that came as JSON: absent and null are empty, another shape is refused with its path."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mtls_operator.inject.errors import InjectRefused

Json = Mapping[str, Any]


def mapping(parent: Json, key: str, *, path: str) -> Json:
    """Return the object at a key, empty when absent or null; raise InjectRefused otherwise."""
    value = parent.get(key)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise InjectRefused(f"{path}.{key}", "must be an object")
    return value


def objects(parent: Json, key: str, *, path: str) -> Sequence[Json]:
    """Return the list of objects at a key, empty when absent or null; raise InjectRefused otherwise."""
    value = parent.get(key)
    if value is None:
        return ()
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise InjectRefused(f"{path}.{key}", "must be a list")
    for index, item in enumerate(value):
        if not isinstance(item, Mapping):
            raise InjectRefused(f"{path}.{key}[{index}]", "must be an object")
    return value


def containers(spec: Json) -> Iterator[tuple[str, Json]]:
    """Yield every container of a pod that can run with its path: init containers first, as they start."""
    for key in ("initContainers", "containers", "ephemeralContainers"):
        for index, container in enumerate(objects(spec, key, path="spec")):
            yield f"spec.{key}[{index}]", container
