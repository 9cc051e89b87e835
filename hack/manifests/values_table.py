"""The table of values in the chart's README, made from the comments of values.yaml.

A comment block right above a key describes it. A key gets a row when it has a comment and no key below it has
one; then its default is everything below it. A value that no comment covers is an error: no value without words.
It deliberately understands only the block style that the chart's values.yaml is written in.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import yaml

_KEY = re.compile(r"(?P<indent> *)(?P<key>[A-Za-z][A-Za-z0-9]*):(?: |$)")
_COMMENT = re.compile(r" *# ?(?P<text>.*)")

#: The path of a value: ``("proxy", "image", "tag")``.
Path = tuple[str, ...]


class UndocumentedValueError(Exception):
    """A value without a comment; the message names it."""


@dataclass(frozen=True, slots=True)
class Row:
    """One value: where it stands, its default and what it means."""

    path: Path
    default: object
    meaning: str


def rows(text: str) -> tuple[Row, ...]:
    """Return the rows of a values.yaml, in its order.

    Raises:
        UndocumentedValueError: a value has no comment and no commented parent.
    """
    comments = dict(_comments(text))
    documented = {path for path, words in comments.items() if words}
    values = yaml.safe_load(text)
    found = []
    for path, words in comments.items():
        below = any(other[: len(path)] == path and other != path for other in documented)
        if words and not below:
            found.append(Row(path, _value(values, path), words))
    for path, value in _leaves(values, ()):
        if not any(path[: len(row.path)] == row.path for row in found):
            raise UndocumentedValueError(f"{'.'.join(path)} ({value!r}) has no comment in values.yaml")
    return tuple(found)


def table(text: str) -> str:
    """Return the Markdown table of a values.yaml."""
    lines = ["| value | default | meaning |", "|---|---|---|"]
    for row in rows(text):
        default = json.dumps(row.default, ensure_ascii=False).replace("|", "\\|")
        lines.append(f"| `{'.'.join(row.path)}` | `{default}` | {row.meaning.replace('|', chr(92) + '|')} |")
    return "\n".join(lines) + "\n"


def _comments(text: str) -> Iterator[tuple[Path, str]]:
    """Yield every key with the comment block right above it, or with no words."""
    block: list[str] = []
    stack: list[tuple[int, str]] = []
    for line in text.splitlines():
        if comment := _COMMENT.fullmatch(line):
            block.append(comment["text"].strip())
        elif key := _KEY.match(line):
            indent = len(key["indent"])
            stack = [entry for entry in stack if entry[0] < indent] + [(indent, key["key"])]
            yield tuple(name for _, name in stack), " ".join(block)
            block = []
        else:
            block = []


def _value(values: object, path: Path) -> object:
    for key in path:
        if not isinstance(values, Mapping):
            raise TypeError(f"{'.'.join(path)} is no value")
        values = values[key]
    return values


def _leaves(values: object, path: Path) -> Iterator[tuple[Path, object]]:
    if isinstance(values, Mapping) and values:
        for key, value in values.items():
            yield from _leaves(value, (*path, str(key)))
    else:
        yield path, values
