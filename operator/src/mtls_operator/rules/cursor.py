"""A position in the text, with the few tests that a hand-written parser needs.

Positions are characters; spans are bytes of the UTF-8 text. Space, CR and LF are blanks, nothing else is; around the
whole text all white space of Unicode is dropped. That is how Cloudflare's engine reads.
"""

from __future__ import annotations

from typing import Final

from mtls_operator.rules.diagnostics import Code, Lint, RuleError, Span

BLANKS: Final = " \r\n"
#: Characters with the Unicode property White_Space: ``str.strip`` drops a few more.
_WHITE_SPACE: Final = (
    "\t\n\v\f\r \x85\xa0\u1680" + "".join(map(chr, range(0x2000, 0x200B))) + "\u2028\u2029\u202f\u205f\u3000"
)
IDENTIFIER: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_")


class Cursor:
    """The text without the white space around it, and how far it has been read."""

    __slots__ = ("_bytes_before", "end", "notes", "position", "source")

    def __init__(self, source: str) -> None:
        self.source = source
        self.position = len(source) - len(source.lstrip(_WHITE_SPACE))
        self.end = max(self.position, len(source.rstrip(_WHITE_SPACE)))
        self.notes: list[Lint] = []
        self._bytes_before = [0]
        for char in source:
            self._bytes_before.append(self._bytes_before[-1] + len(char.encode("utf-8", "surrogatepass")))

    @property
    def char(self) -> str:
        """The next character, empty at the end."""
        return self.source[self.position : self.position + 1] if self.position < self.end else ""

    def span(self, start: int, end: int | None = None) -> Span:
        """Return the bytes between two positions; without an end, up to the current one."""
        return Span(self._bytes_before[start], self._bytes_before[self.position if end is None else end])

    def error(
        self,
        code: Code,
        message: str,
        start: int | None = None,
        end: int | None = None,
        *,
        hint: str | None = None,
    ) -> RuleError:
        """Return the error to raise; it reaches from here to the end unless told otherwise."""
        first = self.position if start is None else start
        last = self.end if end is None else end
        if hint is None and self.char and self.char in _WHITE_SPACE and self.char not in BLANKS:
            hint = "only spaces and line ends are blanks here: write a space"
        return RuleError(code, message, span=self.span(first, last), source=self.source, hint=hint)

    def note(self, code: str, message: str, start: int, end: int | None = None) -> None:
        """Keep a warning about how the text is written, which the tree no longer tells."""
        self.notes.append(Lint(code, message, self.span(start, end)))

    def skip_blanks(self) -> None:
        """Go to the next character that is no blank."""
        while self.position < self.end and self.source[self.position] in BLANKS:
            self.position += 1

    def looking_at(self, token: str) -> bool:
        """Return whether the text goes on with these characters."""
        return self.source.startswith(token, self.position, self.end)

    def take(self, token: str) -> bool:
        """Step over these characters if they come next."""
        if not self.looking_at(token):
            return False
        self.position += len(token)
        return True

    def run(self, characters: frozenset[str], start: int | None = None) -> str:
        """Return the longest piece from here that consists of these characters, without stepping over it."""
        first = self.position if start is None else start
        last = first
        while last < self.end and self.source[last] in characters:
            last += 1
        return self.source[first:last]

    def word(self) -> str:
        """Return the word that comes next, without stepping over it."""
        return self.run(IDENTIFIER)

    def take_word(self, word: str) -> bool:
        """Step over a word if it comes next and ends there."""
        if self.word() != word:
            return False
        self.position += len(word)
        return True

    def token_end(self, start: int | None = None) -> int:
        """Return where the unknown thing that begins here ends: at a blank, a bracket, a comma or the end."""
        first = self.position if start is None else start
        last = first
        while last < self.end and (last == first or self.source[last] not in BLANKS + "(){}[],"):
            last += 1
        return last
