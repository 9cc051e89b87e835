"""How commands are declared: argparse's sub-parsers, help with examples, and the options that several share."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, NoReturn, TypeAlias

from mtls_operator.cli.errors import Exit
from mtls_operator.cli.screen import Form, Screen

PROGRAM = "kubectl mtls"

#: What a command does: parsed arguments in, exit code out.
Run: TypeAlias = Callable[[argparse.Namespace, Screen], Exit]
#: Where commands are added.
Commands: TypeAlias = "argparse._SubParsersAction[Parser]"  # noqa: SLF001 - the type has no other name


@dataclass(frozen=True, slots=True)
class Help:
    """The texts of a command: one line in the list of commands, what it does, and examples to copy."""

    line: str
    text: str
    examples: str = ""


class Parser(argparse.ArgumentParser):
    """A parser whose complaints say where the help is."""

    def error(self, message: str) -> NoReturn:
        """End with exit code 2."""
        self.exit(
            Exit.UNANSWERED, f"{self.prog}: {message}\nSee '{self.prog} --help' for usage and examples.\n"
        )


def parser(program: str, texts: Help) -> Parser:
    """Return the parser of the program itself."""
    return Parser(prog=program, **_texts(texts))


def group(commands: Commands, name: str, texts: Help) -> Commands:
    """Add a group of commands; without a command it shows its help and counts as not understood."""
    added = commands.add_parser(name, help=texts.line, **_texts(texts))
    return subcommands(added)


def subcommands(of: Parser) -> Commands:
    """Return where the commands of a parser are added."""
    of.set_defaults(run=_show(of))
    return of.add_subparsers(title="commands", metavar="COMMAND", parser_class=Parser)


def command(commands: Commands, name: str, texts: Help, run: Run) -> Parser:
    """Add a command."""
    added = commands.add_parser(name, help=texts.line, **_texts(texts))
    added.set_defaults(run=run)
    return added


def add_form(to: argparse.ArgumentParser) -> None:
    """Add ``-o``."""
    to.add_argument(
        "-o",
        "--output",
        type=Form,
        choices=list(Form),
        default=Form.TEXT,
        metavar="FORM",
        help="text (default), json or yaml",
    )


def later(module: str) -> Run:
    """Return what the function ``run`` of a module does, which is loaded only then: the Kubernetes client is large."""

    def run(parsed: argparse.Namespace, screen: Screen) -> Exit:
        done: Exit = import_module(module).run(parsed, screen)
        return done

    return run


def _texts(texts: Help) -> dict[str, Any]:
    epilog = f"examples:\n{texts.examples}" if texts.examples else None
    return {
        "description": texts.text,
        "epilog": epilog,
        "formatter_class": argparse.RawDescriptionHelpFormatter,
        "allow_abbrev": False,
    }


def _show(of: argparse.ArgumentParser) -> Run:
    def run(_parsed: argparse.Namespace, screen: Screen) -> Exit:
        screen.complain(f"a command is missing\n\n{of.format_help().rstrip()}")
        return Exit.UNANSWERED

    return run
