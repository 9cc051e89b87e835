"""The difference of two JSON documents as a JSON Patch (RFC 6902): what an admission review is answered with.

Objects are compared key by key; a list that differs is replaced whole: fewer operations, fewer mistakes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Operation = dict[str, Any]


def json_patch(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Operation]:
    """Return the operations that turn one document into the other, in a stable order."""
    return list(_difference("", before, after))


def _difference(path: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Operation]:
    for key in sorted(before.keys() | after.keys()):
        where = f"{path}/{_escape(key)}"
        if key not in after:
            yield {"op": "remove", "path": where}
        elif key not in before:
            yield {"op": "add", "path": where, "value": after[key]}
        elif isinstance(before[key], Mapping) and isinstance(after[key], Mapping):
            yield from _difference(where, before[key], after[key])
        elif before[key] != after[key] or type(before[key]) is not type(after[key]):
            yield {"op": "replace", "path": where, "value": after[key]}


def _escape(key: str) -> str:
    """Write a key as a part of a JSON Pointer (RFC 6901 section 3)."""
    return key.replace("~", "~0").replace("/", "~1")
