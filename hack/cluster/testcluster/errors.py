"""What can go wrong, as the user is told it."""

from __future__ import annotations


class ClusterError(Exception):
    """A condition that the user can understand and act on; the message says how."""


class CommandError(ClusterError):
    """A program that we started failed; the message carries the end of what it printed."""

    def __init__(self, argv: tuple[str, ...], code: int, output: str) -> None:
        self.argv = argv
        self.code = code
        self.output = output
        tail = "\n".join(output.strip().splitlines()[-20:])
        super().__init__(f"{' '.join(argv)} ended with code {code}\n{tail}".rstrip())
