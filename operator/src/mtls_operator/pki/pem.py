"""Parting a text into its PEM blocks (RFC 7468), the damaged ones included, so that each can be named.

Text between the blocks is allowed, as bundles have comments. What is behind a label is not decided here.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_BEGIN: Final = b"-----BEGIN "
_DASHES: Final = b"-----"
_LONGEST_LABEL: Final = 64
_WHITESPACE: Final = b" \t\r\n"


@dataclass(frozen=True, slots=True)
class Block:
    """One block: its label, and its bytes, or the ``problem`` for which there are none."""

    label: str
    der: bytes = b""
    problem: str = ""


def blocks(text: bytes) -> Iterator[Block]:
    """Return the blocks of a text in their order; takes time in proportion to its length."""
    at = text.find(_BEGIN)
    while at >= 0:
        following = text.find(_BEGIN, at + len(_BEGIN))
        yield _block(text[at + len(_BEGIN) : following if following >= 0 else len(text)])
        at = following


def _block(text: bytes) -> Block:
    label, dashes, rest = text.partition(_DASHES)
    if (
        not dashes
        or len(label) > _LONGEST_LABEL
        or not (label.isascii() and label.decode("ascii").isprintable())
    ):
        return Block("", problem="has a damaged first line")
    name = label.decode("ascii")
    body, end, _ = rest.partition(b"-----END " + label + _DASHES)
    if not end:
        return Block(name, problem=f"has no line -----END {name}-----")
    try:
        return Block(name, der=base64.b64decode(body.translate(None, _WHITESPACE), validate=True))
    except binascii.Error:
        return Block(name, problem="is not valid base64")
