"""How a command ends when it cannot give its answer."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """Exit codes: the answer is yes, the answer is no, there is no answer (usage, files, cluster)."""

    FINE = 0
    REFUSED = 1
    UNANSWERED = 2
    INTERRUPTED = 130


class Refused(Exception):  # noqa: N818 - as Unanswered
    """What was asked for was not done: somebody refuses it, or it is not in force in time. The message says why."""


class Unanswered(Exception):  # noqa: N818 - not every one is an error of the user's
    """A question that cannot be answered; the message says why and what to do, in one or a few lines."""
