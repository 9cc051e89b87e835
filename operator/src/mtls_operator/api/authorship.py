"""Which program wrote a field of a spec: its field manager, as the API server keeps it beside the object.

The API server tells nobody but its audit log which user it was. A manager is what the program called itself
(``kubectl-patch``, ``kubectl-mtls``, ``argocd-controller``): enough to know where to look, and no proof of anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

#: What the API server takes for a manager (apimachinery, ``managedFields``).
_LONGEST: Final = 128


def writer_of(body: Mapping[str, object], field: str) -> str:
    """Return the manager that wrote ``spec.<field>`` last; empty where that is not known.

    Never raises: what is written there decides nothing.
    """
    metadata = body.get("metadata")
    entries = metadata.get("managedFields") if isinstance(metadata, Mapping) else None
    if not isinstance(entries, list | tuple):
        return ""
    wrote = [entry for entry in entries if isinstance(entry, Mapping) and _wrote(entry, field)]
    last = max(wrote, key=lambda entry: str(entry.get("time") or ""), default={})
    return _plain(str(last.get("manager") or ""))


def _wrote(entry: Mapping[str, object], field: str) -> bool:
    if entry.get("subresource"):
        return False
    fields = entry.get("fieldsV1")
    spec = fields.get("f:spec") if isinstance(fields, Mapping) else None
    return isinstance(spec, Mapping) and f"f:{field}" in spec


def _plain(manager: str) -> str:
    """Return a text that fits a status and a line of an Event."""
    return "".join(letter if letter.isprintable() else "?" for letter in manager[:_LONGEST])
