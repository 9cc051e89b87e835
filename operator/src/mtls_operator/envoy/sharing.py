"""Text that occurs more than once in a script is written once: a thousand rules of one form are mostly the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from mtls_operator.envoy.lua_text import lua_list


class Shared:
    """The members of a Lua table, for texts (Lua expressions) that occur at least twice in what is written.

    A reference is worth it for what is longer than one.
    """

    __slots__ = ("_least", "_name", "_places", "_texts")

    def __init__(self, name: str, texts: Iterable[str], *, always: bool = False) -> None:
        self._name = name
        self._least = 1 if always else len(f"{name}[999]")
        counted = Counter(text for text in texts if len(text) > self._least)
        self._texts = [text for text, count in counted.items() if always or count > 1]
        self._places = {text: place for place, text in enumerate(self._texts, 1)}

    def table(self) -> str:
        """Return the Lua statement that makes the table."""
        return f"local {self._name} = {lua_list(self._texts)}"

    def __call__(self, text: str) -> str:
        """Return how a text is written where it is needed."""
        place = self._places.get(text)
        return text if place is None else f"{self._name}[{place}]"
