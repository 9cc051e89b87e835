"""What commands print: text with a few styles for people, JSON or YAML for tools, complaints on standard error.

Colours go to terminals only, and not when ``NO_COLOR`` is set (no-color.org). Lines are never cut or wrapped: they
can be piped into other tools. Whatever a terminal would act upon is replaced, for rules, certificates and headers
come from anybody.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import IO

import yaml
from rich.console import Console
from rich.text import Text


class Form(StrEnum):
    """The form of an answer: for people, or for tools."""

    TEXT = "text"
    JSON = "json"
    YAML = "yaml"


class Style(StrEnum):
    """What a piece of text is; the values are styles of rich."""

    PLAIN = ""
    HEAD = "bold"
    GOOD = "green"
    BAD = "bold red"
    WARNING = "yellow"
    FAINT = "dim"


class Screen:
    """Standard output and standard error of one command."""

    def __init__(self, out: IO[str], err: IO[str], *, width: int | None = None) -> None:
        self._out = _console(out, width)
        self._err = _console(err, width)

    @property
    def draws(self) -> bool:
        """Whether the output can show lines drawn with characters outside ASCII."""
        return self._out.encoding.lower().startswith("utf")

    def line(self, text: str = "", style: Style = Style.PLAIN, *, indent: int = 0) -> None:
        """Print a text of one or several lines."""
        self.pieces([(text, style)], indent=indent)

    def pieces(self, pieces: Iterable[tuple[str, Style]], *, indent: int = 0) -> None:
        """Print a line of pieces in different styles."""
        line = Text(" " * indent)
        for text, style in pieces:
            shown = "\n".join(printable(part) for part in text.split("\n"))
            line.append(shown.replace("\n", "\n" + " " * indent), style.value or None)
        self._out.print(line)

    def pairs(self, pairs: Sequence[tuple[str, str]], *, indent: int = 0) -> None:
        """Print two columns, the first as wide as its widest cell."""
        width = max((len(name) for name, _ in pairs), default=0)
        for name, value in pairs:
            self.line(f"{name:<{width}}  {value}".rstrip(), indent=indent)

    def data(self, form: Form, document: Mapping[str, object]) -> None:
        """Print a document for tools."""
        if form is Form.YAML:
            text = yaml.safe_dump(document, sort_keys=False, allow_unicode=False, width=2**20).rstrip("\n")
        else:
            text = json.dumps(document, indent=2)
        self._out.print(Text(text))

    def table(self, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Print columns under their names, each as wide as its widest cell."""
        shown = [[printable(cell) for cell in row] for row in rows]
        widths = [max(map(len, column)) for column in zip(head, *shown, strict=True)]
        for number, row in enumerate([list(head), *shown]):
            line = "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
            self.line(line.rstrip(), Style.PLAIN if number else Style.HEAD)

    def note(self, text: str) -> None:
        """Print how far a command is, on standard error: the answer is what is on standard output."""
        self._err.print(Text("\n".join(printable(part) for part in text.split("\n")), Style.FAINT.value))

    def ask(self, question: str) -> bool:
        """Ask a person on the terminal; False where there is none, or for any answer but yes."""
        if not sys.stdin.isatty():
            return False
        self._err.print(Text(f"{printable(question)} [yes/no] "), end="")
        return sys.stdin.readline().strip().lower() == "yes"

    def complain(self, message: str) -> None:
        """Print a message about what went wrong on standard error, behind the name of the program."""
        first, *rest = (printable(part) for part in message.split("\n"))
        text = Text("kubectl mtls: ", Style.BAD.value)
        text.append("\n".join([first, *rest]), "default")
        self._err.print(text)


def printable(text: str) -> str:
    """Return a line in which every character that a terminal would act upon is replaced."""
    return "".join(
        " " if char == "\t" else char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text
    )


def _console(stream: IO[str], width: int | None) -> Console:
    return Console(
        file=stream,
        highlight=False,
        markup=False,
        emoji=False,
        soft_wrap=True,
        width=width,
        legacy_windows=False,
    )
