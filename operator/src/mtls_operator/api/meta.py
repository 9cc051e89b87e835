"""What we keep of an object's metadata: identity, generation, life. Labels and annotations are not kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mtls_operator.api.errors import InvalidSpec
from mtls_operator.api.fields import Fields, fields_of


@dataclass(frozen=True, slots=True)
class Meta:
    """Identity and life of one object.

    ``created`` is the API server's text (RFC 3339), so that ordering by it needs no clock; ``deleting`` is
    True from the moment that somebody asked for deletion, while finalizers hold the object.
    """

    namespace: str
    name: str
    uid: str = ""
    generation: int = 0
    created: str = ""
    deleting: bool = False
    finalizers: tuple[str, ...] = ()
    resource_version: str = ""

    @property
    def key(self) -> tuple[str, str]:
        """Namespace and name."""
        return self.namespace, self.name


def parse_meta(body: Mapping[str, object]) -> Meta:
    """Read the metadata of a namespaced object.

    Fields that only the API server sets may be missing (an object that was never stored, as in local mode).

    Raises:
        InvalidSpec: there is no name or no namespace, or a field has the wrong type.
    """
    metadata = fields_of(body, path="").child("metadata")
    return Meta(
        namespace=_required(metadata, "namespace"),
        name=_required(metadata, "name"),
        uid=metadata.string("uid") or "",
        generation=metadata.integer("generation", default=0, minimum=0, maximum=2**63 - 1),
        created=metadata.string("creationTimestamp") or "",
        deleting=bool(metadata.string("deletionTimestamp")),
        finalizers=metadata.strings("finalizers"),
        resource_version=metadata.string("resourceVersion") or "",
    )


def _required(metadata: Fields, name: str) -> str:
    value = metadata.string(name)
    if not value:
        raise InvalidSpec(metadata.at(name), "is required")
    return value
