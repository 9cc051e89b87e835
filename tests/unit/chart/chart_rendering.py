"""The objects of one rendering of the chart, and a few ways to look at them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Rendered:
    """The objects of one rendering."""

    documents: tuple[Document, ...]

    def of_kind(self, kind: str) -> list[Document]:
        return [document for document in self.documents if document["kind"] == kind]

    def names(self, kind: str) -> set[str]:
        return {document["metadata"]["name"] for document in self.of_kind(kind)}

    def one(self, kind: str, name: str) -> Document:
        found = [document for document in self.of_kind(kind) if document["metadata"]["name"] == name]
        assert len(found) == 1, f"{kind} {name}: {len(found)} of them"
        return found[0]

    def pods(self) -> Iterator[tuple[str, Document]]:
        """Yield the name and the pod template of every workload."""
        for document in self.documents:
            if "template" in document.get("spec", {}):
                yield document["metadata"]["name"], document["spec"]["template"]

    def container(self, deployment: str) -> Document:
        containers = self.one("Deployment", deployment)["spec"]["template"]["spec"]["containers"]
        assert len(containers) == 1
        container: Document = containers[0]
        return container

    def environment(self, deployment: str) -> dict[str, str]:
        """Return the variables of a deployment's container that have a fixed value."""
        return {
            entry["name"]: entry["value"] for entry in self.container(deployment)["env"] if "value" in entry
        }

    def rules(self) -> Iterator[tuple[str, Document]]:
        """Yield every RBAC rule with the name of its role."""
        for kind in ("ClusterRole", "Role"):
            for role in self.of_kind(kind):
                for rule in role["rules"]:
                    yield role["metadata"]["name"], rule


#: Renders the chart with further arguments for helm.
Render = Callable[..., Rendered]
