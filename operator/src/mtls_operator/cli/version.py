"""``kubectl mtls version``."""

from __future__ import annotations

import argparse

from mtls_operator import __version__
from mtls_operator.cli.command import Commands, Help, add_form, command
from mtls_operator.cli.errors import Exit
from mtls_operator.cli.screen import Form, Screen

_HELP = Help(
    line="show the version of this plugin",
    text="Show the version of this plugin. Rules are judged as the operator of the same version judges them.",
    examples="  kubectl mtls version\n  kubectl mtls version -o json",
)


def add(commands: Commands) -> None:
    """Add the command."""
    add_form(command(commands, "version", _HELP, _run))


def _run(parsed: argparse.Namespace, screen: Screen) -> Exit:
    if parsed.output is Form.TEXT:
        screen.line(f"kubectl-mtls {__version__}")
    else:
        screen.data(parsed.output, {"version": __version__})
    return Exit.FINE
