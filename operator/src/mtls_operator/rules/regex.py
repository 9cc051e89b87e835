r"""Regular expressions: what Rust's engine and RE2 agree on, read into a tree.

A pattern works on bytes, without Unicode; a character outside ASCII is its UTF-8 sequence. Everything that the
two engines read differently, or that only one of them knows (set operations in classes, look-around,
back-references, repeated repetition, lone braces), is refused with the reason, so that a rule means the same
wherever it runs. What a tree matches is in :mod:`mtls_operator.rules.automaton`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from mtls_operator.rules.regex_tree import (
    Alternatives,
    Assertion,
    OneOf,
    RegexNode,
    Repetition,
    Sequence,
)

_MAX_REPEAT: Final = 1000
_MAX_GROUPS: Final = 50
_MAX_SIZE: Final = 10_000
_ASCII: Final = 0x80
NEWLINE: Final = ord("\n")
_ALL: Final = frozenset(range(256))
_DIGITS: Final = frozenset(b"0123456789")
_LOWER: Final = frozenset(range(ord("a"), ord("z") + 1))
_UPPER: Final = frozenset(range(ord("A"), ord("Z") + 1))
WORD: Final = _DIGITS | _LOWER | _UPPER | frozenset(b"_")
_SPACE: Final = frozenset(b"\t\n\v\f\r ")
_CLASSES: Final = {
    "d": _DIGITS,
    "D": _ALL - _DIGITS,
    "w": WORD,
    "W": _ALL - WORD,
    "s": _SPACE,
    "S": _ALL - _SPACE,
}
_CONTROLS: Final = {"n": 0x0A, "r": 0x0D, "t": 0x09}
_ANCHORS: Final = {
    "b": Assertion.WORD_EDGE,
    "B": Assertion.NO_WORD_EDGE,
    "A": Assertion.START,
    "z": Assertion.END,
}
_PUNCTUATION: Final = frozenset("!\"#$%&'()*+,-./:;=?@[\\]^_`{|}~")
_REPEATS: Final[dict[str, tuple[int, int | None]]] = {"*": (0, None), "+": (1, None), "?": (0, 1)}
_FLAGS: Final = frozenset("ims")
_COUNTED: Final = re.compile(r"\{([0-9]{1,9})(,([0-9]{0,9}))?\}")
_SET_OPERATION: Final = "set operations in a character class are not supported; escape these characters"
_NAMED_GROUP: Final = re.compile(r"\?P?<([A-Za-z_][A-Za-z0-9_]*)>")
_FLAG_GROUP: Final = re.compile(r"\?([a-zA-Z]*)(?:-([a-zA-Z]+))?([:)])")


class RegexError(ValueError):
    """A pattern that is refused, with the reason and the place in the pattern."""


@dataclass(frozen=True, slots=True)
class _Piece:
    """A part, and how many positions it needs when its repetitions are written out."""

    node: RegexNode
    size: int


class _Reader:
    """The pattern, how far it has been read, and what has been seen."""

    __slots__ = ("depth", "names", "pattern", "position")

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.position = 0
        self.depth = 0
        self.names: set[str] = set()

    @property
    def char(self) -> str:
        return self.pattern[self.position : self.position + 1]

    def take(self) -> str:
        char = self.char
        self.position += 1
        return char

    def error(self, reason: str) -> RegexError:
        return RegexError(f"{reason} (character {min(self.position, len(self.pattern)) + 1} of the pattern)")


def normalise(pattern: str) -> str:
    r"""Return the pattern with ``\"`` written as a plain quote, so that quoted and raw literals agree."""
    return re.sub(r"\\(.)", lambda pair: '"' if pair[1] == '"' else pair[0], pattern, flags=re.DOTALL)


def parse_regex(pattern: str) -> RegexNode:
    """Return the tree of a pattern; raises :class:`RegexError`."""
    reader = _Reader(pattern)
    piece = _alternatives(reader, frozenset())
    if reader.char:
        raise reader.error("a closing parenthesis without an opening one")
    return piece.node


def _alternatives(reader: _Reader, flags: frozenset[str]) -> _Piece:
    """Read up to the end of the group; flags that are set inside hold until then."""
    branches: list[list[RegexNode]] = [[]]
    size = 1
    while reader.char and reader.char != ")":
        if reader.char == "|":
            reader.take()
            branches.append([])
            continue
        change = _flag_change(reader, flags)
        if change is not None:
            flags = change
            continue
        piece = _repeated(reader, flags)
        branches[-1].append(piece.node)
        size += piece.size
        if size > _MAX_SIZE:
            raise reader.error("the pattern is too large once its repetitions are written out")
    return _Piece(Alternatives(tuple(Sequence(tuple(branch)) for branch in branches)), size)


def _flag_change(reader: _Reader, flags: frozenset[str]) -> frozenset[str] | None:
    """Read ``(?i)`` and the like; None when something else comes next."""
    match = _FLAG_GROUP.match(reader.pattern, reader.position + 1) if reader.char == "(" else None
    if match is None or match[3] == ":":
        return None
    changed = _flags(reader, match, flags)
    reader.position = match.end()
    return changed


def _flags(reader: _Reader, match: re.Match[str], flags: frozenset[str]) -> frozenset[str]:
    on, off = match[1], match[2] or ""
    if not _FLAGS.issuperset(on + off):
        raise reader.error("only the flags i, m and s are supported")
    if len(set(on + off)) < len(on + off):
        raise reader.error("a flag stands there twice")
    if match[3] == ")" and not on + off:
        raise reader.error("flags are missing")
    return (flags | frozenset(on)) - frozenset(off)


def _repeated(reader: _Reader, flags: frozenset[str]) -> _Piece:
    piece = _atom(reader, flags)
    bounds = _quantifier(reader)
    if bounds is None:
        return piece
    if reader.char == "?":
        # Lazy or greedy: it is the same set of texts.
        reader.take()
    if reader.char and reader.char in "*+?{":
        raise reader.error("a repetition cannot be repeated")
    low, high = bounds
    return _Piece(Repetition(piece.node, low, high), piece.size * max(low, high or 1) + 1)


def _quantifier(reader: _Reader) -> tuple[int, int | None] | None:
    """Read a repetition; return its bounds, None when there is none."""
    char = reader.char
    if char and char in _REPEATS:
        return _REPEATS[reader.take()]
    if char != "{":
        return None
    match = _COUNTED.match(reader.pattern, reader.position)
    if match is None:
        raise reader.error("'{' must begin a repetition such as {2}, {2,} or {2,5}; write \\{ for a brace")
    low = int(match[1])
    high = int(match[3]) if match[3] else low if match[2] is None else None
    if high is not None and high < low:
        raise reader.error("the repetition ends before it begins")
    if max(low, high or 0) > _MAX_REPEAT:
        raise reader.error(f"at most {_MAX_REPEAT} repetitions")
    reader.position = match.end()
    return low, high


def _atom(reader: _Reader, flags: frozenset[str]) -> _Piece:
    char = reader.char
    if char == "(":
        return _group(reader, flags)
    if char == "[":
        return _Piece(OneOf(_class(reader, flags)), 1)
    if char == "\\":
        return _escape(reader, flags)
    if char in "*+?{":
        raise reader.error("there is nothing to repeat")
    reader.take()
    return _special(char, flags) or _literal(char, flags)


def _special(char: str, flags: frozenset[str]) -> _Piece | None:
    if char == ".":
        return _Piece(OneOf(_ALL if "s" in flags else _ALL - {NEWLINE}), 1)
    if char == "^":
        return _Piece(Assertion.LINE_START if "m" in flags else Assertion.START, 1)
    if char == "$":
        return _Piece(Assertion.LINE_END if "m" in flags else Assertion.END, 1)
    return None


def _literal(char: str, flags: frozenset[str]) -> _Piece:
    data = char.encode()
    return _Piece(Sequence(tuple(OneOf(_folded(frozenset({byte}), flags)) for byte in data)), len(data))


def _group(reader: _Reader, flags: frozenset[str]) -> _Piece:
    reader.take()
    reader.depth += 1
    if reader.depth > _MAX_GROUPS:
        raise reader.error(f"groups are nested deeper than {_MAX_GROUPS}")
    if reader.char == "?":
        named = _NAMED_GROUP.match(reader.pattern, reader.position)
        scoped = _FLAG_GROUP.match(reader.pattern, reader.position)
        if named is not None:
            if named[1] in reader.names:
                raise reader.error("two groups have one name")
            reader.names.add(named[1])
            reader.position = named.end()
        elif scoped is not None and scoped[3] == ":":
            flags = _flags(reader, scoped, flags)
            reader.position = scoped.end()
        else:
            raise reader.error("look-around, atomic and conditional groups are not supported")
    inner = _alternatives(reader, flags)
    if reader.take() != ")":
        raise reader.error("a closing parenthesis is missing")
    reader.depth -= 1
    return inner


def _escape(reader: _Reader, flags: frozenset[str]) -> _Piece:
    char = reader.pattern[reader.position + 1 : reader.position + 2]
    if char in _ANCHORS:
        reader.position += 2
        return _Piece(_ANCHORS[char], 1)
    return _Piece(OneOf(_folded(_escaped_bytes(reader), flags)), 1)


def _escaped_bytes(reader: _Reader) -> frozenset[int]:
    """Read an escape that stands for one byte out of a set."""
    char = reader.pattern[reader.position + 1 : reader.position + 2]
    if char == "x":
        digits = reader.pattern[reader.position + 2 : reader.position + 4]
        if re.fullmatch(r"[0-9a-fA-F]{2}", digits) is None:
            raise reader.error("\\x needs two hexadecimal digits")
        reader.position += 4
        return frozenset({int(digits, 16)})
    if char in _CLASSES:
        result = _CLASSES[char]
    elif char in _CONTROLS:
        result = frozenset({_CONTROLS[char]})
    elif char in _PUNCTUATION:
        result = frozenset({ord(char)})
    elif char and char in "0123456789":
        raise reader.error("back-references are not supported")
    else:
        raise reader.error(f"\\{char} is not supported" if char else "the pattern ends in a backslash")
    reader.position += 2
    return result


def _class(reader: _Reader, flags: frozenset[str]) -> frozenset[int]:
    reader.take()
    negated = reader.char == "^"
    if negated:
        reader.take()
    members: set[int] = set()
    first = True
    while first or reader.char != "]":
        if not reader.char:
            raise reader.error("the character class is not closed")
        members |= _class_item(reader, first=first)
        first = False
    reader.take()
    folded = _folded(frozenset(members), flags)
    return _ALL - folded if negated else folded


def _class_item(reader: _Reader, *, first: bool) -> frozenset[int]:
    bracket = first and reader.char == "]"
    start = _class_member(reader, first=first)
    if reader.pattern[reader.position : reader.position + 2] == "--":
        # Rust reads a difference of sets, RE2 a range that ends in a hyphen.
        raise reader.error(_SET_OPERATION)
    dash = reader.char == "-" and reader.pattern[reader.position + 1 : reader.position + 2] not in {"]", ""}
    if not dash:
        return start
    if bracket:
        # Rust reads three characters, RE2 a range.
        raise reader.error("write \\] for a bracket that begins a range")
    reader.take()
    end = _class_member(reader, first=True)
    if len(start) != 1 or len(end) != 1:
        raise reader.error("a range needs a single character at both ends")
    low, high = min(start), min(end)
    if low > high:
        raise reader.error("the range ends before it begins")
    return frozenset(range(low, high + 1))


def _class_member(reader: _Reader, *, first: bool) -> frozenset[int]:
    char = reader.char
    if char == "\\":
        return _escaped_bytes(reader)
    if char == "[":
        raise reader.error("write \\[ for a bracket inside a character class")
    if reader.pattern[reader.position : reader.position + 2] in {"&&", "--", "~~"}:
        raise reader.error(_SET_OPERATION)
    if char == "-" and not first and reader.pattern[reader.position + 1 : reader.position + 2] != "]":
        raise reader.error("write \\- for a hyphen inside a character class")
    if not char:
        raise reader.error("the character class is not closed")
    if ord(char) >= _ASCII:
        raise reader.error("only ASCII characters can stand in a character class")
    reader.take()
    return frozenset({ord(char)})


def _folded(members: frozenset[int], flags: frozenset[str]) -> frozenset[int]:
    if "i" not in flags:
        return members
    upper = frozenset(byte - 32 for byte in members & _LOWER)
    lower = frozenset(byte + 32 for byte in members & _UPPER)
    return members | upper | lower
