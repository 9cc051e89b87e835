"""``kubectl mtls rule``: rules, before and after they are applied."""

from __future__ import annotations

from mtls_operator.cli.command import Commands, Help, group
from mtls_operator.cli.rule import check, corpus, explain

_HELP = Help(
    line="check rules, explain what they do to a request, run test cases",
    text="Rules: what an expression means, whether it is accepted, and what it does to a request.",
)
_COMMANDS = (check, explain, corpus)


def add(commands: Commands) -> None:
    """Add the group with its commands."""
    inner = group(commands, "rule", _HELP)
    for each in _COMMANDS:
        each.add(inner)
