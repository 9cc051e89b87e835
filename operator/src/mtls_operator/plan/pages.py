"""Texts that are too large for one ConfigMap, in pages: split at line ends, put together only when whole.

A revocation list has one signature and cannot be split into lists without saying that each is partial, which most
readers refuse. So its *text* is split: no page is a list, all of them together are the list. The index in the first
object names the pages and the digest of the whole. New pages never take the numbers of those that the index names now:
they are written beside them, before the index, so that at every moment there is a whole list, the old or the new one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from mtls_operator.api import names
from mtls_operator.plan.objects import Document, config_map, metadata

#: Key of the index in the first object.
INDEX_KEY: Final = "pages.json"
#: Key of the text in a page.
PAGE_KEY: Final = "part"
#: Role of a page.
PAGE_ROLE: Final = "revocation-page"
#: A ConfigMap holds at most 1 MiB with its metadata.
PAGE_BYTES: Final = 900 * 1024
#: More pages than any list needs: an index from outside must not make us read without end.
_MOST_PAGES: Final = 64
#: Numbers are below this: pages that are in use, new ones beside them, and a gap that both left.
_NUMBER_LIMIT: Final = 1000


@dataclass(frozen=True, slots=True)
class Paging:
    """Where texts went: ``kept`` with the index into the first object, ``pages`` into one further object each.

    ``pages`` are by their numbers, in order.
    """

    kept: Mapping[str, str]
    pages: Mapping[int, str]


class TooLargeError(ValueError):
    """A text does not fit into all pages, or has a line that does not fit into one."""


def paginate(
    texts: Mapping[str, str], *, room: int, page_bytes: int = PAGE_BYTES, present: str = ""
) -> Paging:
    """Keep the texts that fit into ``room`` bytes, the first ones first, and split the others into pages.

    ``present`` is the index that is in use: the same texts as there keep their pages, others get numbers that it does
    not name. Without a text that is split there is no index.

    Raises:
        TooLargeError: there would be too many pages, or a line does not fit into one.
    """
    kept: dict[str, str] = {}
    split: dict[str, list[str]] = {}
    for key, text in texts.items():
        size = len(text.encode())
        if size <= room:
            kept[key] = text
            room -= size
        else:
            split[key] = _split(text, page_bytes)
    parts = [part for text_parts in split.values() for part in text_parts]
    if len(parts) > _MOST_PAGES:
        raise TooLargeError(f"{len(parts)} pages are more than {_MOST_PAGES}")
    if not parts:
        return Paging(kept, {})
    about = {key: (len(texts[key].encode()), _digest(texts[key])) for key in split}
    used = numbers_in(present)
    if max(used, default=0) + 2 * _MOST_PAGES > _NUMBER_LIMIT:
        used = ()  # not an index of ours: our numbers stay far below
    first = min(used, default=1)
    index = _index(split, about, first=first)
    if index != present:
        first = 1 if first > len(parts) or not used else max(used) + 1
        index = _index(split, about, first=first)
    return Paging({**kept, INDEX_KEY: index}, dict(enumerate(parts, start=first)))


def _index(split: Mapping[str, list[str]], about: Mapping[str, tuple[int, str]], *, first: int) -> str:
    entries: dict[str, object] = {}
    for key, parts in split.items():
        size, digest = about[key]
        entries[key] = {"pages": list(range(first, first + len(parts))), "bytes": size, "sha256": digest}
        first += len(parts)
    return json.dumps(entries, sort_keys=True) + "\n"


def numbers_in(index: str, key: str | None = None) -> tuple[int, ...]:
    """Return the pages that an index names, of one text or of all; nothing for what is no index. Never raises."""
    try:
        entries = json.loads(index)
        chosen = entries.values() if key is None else [entries[key]]
        found = [number for entry in chosen for number in entry["pages"]]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return ()
    if len(found) > _MOST_PAGES or not all(
        type(number) is int and 0 < number < _NUMBER_LIMIT for number in found
    ):
        return ()
    return tuple(found)


def whole(key: str, first: Mapping[str, str], pages: Mapping[int, str]) -> str | None:
    """Return a text from the first object or from its pages; None where it is missing, damaged or a mixture.

    ``pages`` are by their numbers. Never raises: anybody in the namespace may have edited all of it.
    """
    if first.get(key):
        return first[key]
    try:
        digest = json.loads(first.get(INDEX_KEY, ""))[key]["sha256"]
        text = "".join(pages[number] for number in numbers_in(first[INDEX_KEY], key))
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return text if text and _digest(text) == digest else None


def page_documents(namespace: str, pages: Mapping[int, str]) -> dict[int, Document]:
    """Return the ConfigMaps of the pages by their numbers."""
    return {
        number: config_map(
            metadata(namespace, names.revocation_page(number), role=PAGE_ROLE), {PAGE_KEY: text}
        )
        for number, text in pages.items()
    }


def page_number(name: str) -> int | None:
    """Return the number in the name of a page; None for any other name."""
    number = names.number_in(name, names.revocation_page(0))
    return number if number is not None and number < _NUMBER_LIMIT else None


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
