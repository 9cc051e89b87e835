"""The one error of parsing: which field does not fit, and why."""

from __future__ import annotations


class InvalidSpec(Exception):  # noqa: N818 - the name is also the reason of the condition that shows it
    """A field of an object does not fit; the message tells its author what to write instead.

    The API server's schema normally refuses such objects. They still arrive: stored before a rule was added,
    restored from a backup, or written while the definitions were not installed completely.
    """

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path}: {message}")
        self.path = path
        self.message = message
