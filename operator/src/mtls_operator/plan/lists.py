"""Named lists in the cluster: ConfigMaps of a rule's namespace, by label.

``in $office_network`` reads the ConfigMap ``office-network``: names of objects have no underscores, and names of
lists no hyphens, so that each has exactly one of the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from mtls_operator.api import names
from mtls_operator.rules import BrokenList, Kind, ListError, NamedList, read_list

#: The lists of a namespace, by the name that rules use.
Lists: TypeAlias = Mapping[str, NamedList | BrokenList]

_KINDS: Final = {"ip": Kind.IP, "string": Kind.BYTES, "integer": Kind.INT}
_LABELS: Final = {kind: label for label, kind in _KINDS.items()}


def list_name(object_name: str) -> str:
    """Return the name by which rules use the list in a ConfigMap."""
    return object_name.replace("-", "_")


def list_kind(label: str) -> Kind | None:
    """Return what a list with this value of the label holds, or None."""
    return _KINDS.get(label)


def kind_label(kind: Kind) -> str:
    """Return the value of the label for a kind of list."""
    return _LABELS[kind]


def list_of(body: Mapping[str, Any]) -> NamedList | BrokenList:
    """Read the list in a ConfigMap, or what is wrong with it."""
    label = str((body["metadata"].get("labels") or {}).get(names.LIST_LABEL))
    kind = list_kind(label)
    if kind is None:
        return BrokenList(f"the label {names.LIST_LABEL} must be ip, string or integer, not {label!r}")
    data = body.get("data") or {}
    items = data.get(names.LIST_KEY)
    others = sorted({*data, *(body.get("binaryData") or {})} - {names.LIST_KEY})
    if others:
        return BrokenList(f"only the key {names.LIST_KEY} is read, and there is {others[0]!r} as well")
    if not isinstance(items, str):
        return BrokenList(f"the ConfigMap has no key {names.LIST_KEY}")
    try:
        return read_list(kind, items)
    except ListError as error:
        return BrokenList(str(error))
