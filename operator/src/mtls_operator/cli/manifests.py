"""Objects from files: YAML or JSON manifests, one file, a folder of them, or standard input.

A mapping with the same key twice is refused: which of the two counts would depend on who reads it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from mtls_operator.cli.errors import Unanswered

STANDARD_INPUT: Final = "-"
_SUFFIXES: Final = frozenset({".yaml", ".yml", ".json"})


@dataclass(frozen=True, slots=True)
class Manifest:
    """One object and the file that it stands in."""

    file: str
    body: Mapping[str, Any]

    @property
    def kind(self) -> str:
        """The kind as it is written."""
        return str(self.body.get("kind", ""))


def read_text(file: str) -> str:
    """Return the text of a file, or of standard input for ``-``.

    Raises:
        Unanswered: it cannot be read, or is not UTF-8.
    """
    try:
        data = sys.stdin.buffer.read() if file == STANDARD_INPUT else Path(file).read_bytes()
        return data.decode("utf-8-sig")
    except OSError as error:
        raise Unanswered(f"{_name(file)}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise Unanswered(f"{_name(file)}: not a text in UTF-8 (byte {error.start})") from error


def is_manifest(text: str) -> bool:
    """Say whether a text looks like objects of Kubernetes rather than like an expression."""
    return text.lstrip().startswith("{") or any(
        line.startswith(("apiVersion:", "kind:", "---")) for line in text.splitlines()
    )


def read_manifests(paths: Sequence[str]) -> list[Manifest]:
    """Return the objects of files and folders, in order; folders are read as ``kubectl apply -f`` does.

    Raises:
        Unanswered: a file cannot be read, or is no manifest.
    """
    return [
        manifest for path in paths for file in _files(path) for manifest in parse(read_text(file), file=file)
    ]


def parse(text: str, *, file: str) -> list[Manifest]:
    """Return the objects of a text of one or several documents; a List counts as what is in it.

    Raises:
        Unanswered: it is not YAML, or a document is no object.
    """
    try:
        documents = list(yaml.load_all(text, Loader=_Loader))
    except yaml.YAMLError as error:
        raise Unanswered(f"{_name(file)}: {_complaint(error)}") from error
    except RecursionError as error:
        raise Unanswered(f"{_name(file)}: nested too deeply") from error
    return [
        Manifest(_name(file), body) for each in documents if each is not None for body in _objects(each, file)
    ]


def _objects(document: object, file: str) -> Iterator[Mapping[str, Any]]:
    if not isinstance(document, dict) or not all(isinstance(key, str) for key in document):
        raise Unanswered(f"{_name(file)}: a document is no object with apiVersion, kind and metadata")
    items = document.get("items")
    if str(document.get("kind", "")).endswith("List") and isinstance(items, list):
        for item in items:
            yield from _objects(item, file)
    else:
        yield document


def _files(path: str) -> list[str]:
    folder = Path(path)
    if path == STANDARD_INPUT or not folder.is_dir():
        return [path]
    files = sorted(each for each in folder.iterdir() if each.suffix in _SUFFIXES and each.is_file())
    if not files:
        raise Unanswered(f"{path}: no .yaml, .yml or .json file in this folder")
    return [str(each) for each in files]


def _name(file: str) -> str:
    return "standard input" if file == STANDARD_INPUT else file


def _complaint(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}"
    return " ".join(str(error).split())


class _Loader(yaml.SafeLoader):
    """A loader that refuses a key that comes twice, and leaves times as the texts that they are in JSON."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002 - the signature of yaml
        seen: set[object] = set()
        for key, _ in node.value:
            value = key.value if isinstance(key, yaml.ScalarNode) else None
            if value is not None and value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {value!r} is there twice", key.start_mark
                )
            seen.add(value)
        return super().construct_mapping(node, deep=deep)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
