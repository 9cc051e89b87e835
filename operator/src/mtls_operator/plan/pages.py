"""Texts that are too large for one ConfigMap, in pages: split at line ends, put together only when whole.

A revocation list has one signature and cannot be split into lists without saying that each is partial, which most
readers refuse. So its *text* is split: no page is a list, all of them together are the list. The index in the first
object names the pages and the digest of the whole; pages are written before it, so that a reader who comes in between
sees an old whole or nothing, never a mixture.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from mtls_operator.api import names
from mtls_operator.plan.objects import Document, config_map, metadata

#: Key of the index in the first object.
INDEX_KEY: Final = "pages.json"
#: Key of the text in a page.
PAGE_KEY: Final = "part"
#: A ConfigMap holds at most 1 MiB with its metadata.
PAGE_BYTES: Final = 900 * 1024
#: More pages than any list needs: an index from outside must not make us read without end.
_MOST_PAGES: Final = 64


@dataclass(frozen=True, slots=True)
class Paging:
    """Where texts went: ``kept`` with the index into the first object, ``pages`` into one further object each."""

    kept: Mapping[str, str]
    pages: tuple[str, ...]


class TooLargeError(ValueError):
    """A text does not fit into all pages, or has a line that does not fit into one."""


def paginate(texts: Mapping[str, str], *, room: int, page_bytes: int = PAGE_BYTES) -> Paging:
    """Keep the texts that fit into ``room`` bytes, the first ones first, and split the others into pages.

    The same texts give the same pages. Without a text that is split there is no index.
    """
    kept: dict[str, str] = {}
    index: dict[str, object] = {}
    pages: list[str] = []
    for key, text in texts.items():
        size = len(text.encode())
        if size <= room:
            kept[key] = text
            room -= size
            continue
        parts = _split(text, page_bytes)
        numbers = list(range(len(pages) + 1, len(pages) + 1 + len(parts)))
        index[key] = {"pages": numbers, "bytes": size, "sha256": _digest(text)}
        pages += parts
    if len(pages) > _MOST_PAGES:
        raise TooLargeError(f"{len(pages)} pages are more than {_MOST_PAGES}")
    if index:
        kept[INDEX_KEY] = json.dumps(index, sort_keys=True) + "\n"
    return Paging(kept, tuple(pages))


def whole(key: str, first: Mapping[str, str], pages: Mapping[int, str]) -> str | None:
    """Return a text from the first object or from its pages; None where it is missing, damaged or a mixture.

    ``pages`` are by their numbers. Never raises: anybody in the namespace may have edited all of it.
    """
    if first.get(key):
        return first[key]
    try:
        entry = json.loads(first.get(INDEX_KEY, ""))[key]
        numbers, digest = entry["pages"], entry["sha256"]
        if not isinstance(numbers, list) or len(numbers) > _MOST_PAGES:
            return None
        text = "".join(pages[number] for number in numbers)
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return text if text and _digest(text) == digest else None


def page_documents(namespace: str, pages: Sequence[str]) -> list[Document]:
    """Return the ConfigMaps of the pages, in the order in which they are numbered from 1."""
    return [
        config_map(
            metadata(namespace, names.revocation_page(number), role="revocation-page"), {PAGE_KEY: text}
        )
        for number, text in enumerate(pages, start=1)
    ]


def page_number(name: str) -> int | None:
    """Return the number in the name of a page; None for any other name."""
    prefix = names.revocation_page(0).removesuffix("0")
    digits = name.removeprefix(prefix)
    usual = digits.isascii() and digits.isdigit() and not digits.startswith("0")
    return int(digits) if name.startswith(prefix) and usual and len(digits) <= len(str(_MOST_PAGES)) else None


def _split(text: str, page_bytes: int) -> list[str]:
    parts: list[list[str]] = [[]]
    size = 0
    for line in text.splitlines(keepends=True):
        length = len(line.encode())
        if length > page_bytes:
            raise TooLargeError(f"a line of {length} bytes is longer than a page of {page_bytes}")
        if size + length > page_bytes:
            parts.append([])
            size = 0
        parts[-1].append(line)
        size += length
    return ["".join(lines) for lines in parts]


def _digest(text: str) -> str:
    return sha256(text.encode(errors="replace")).hexdigest()
