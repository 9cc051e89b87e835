"""The entry point of ``kubectl mtls``: kubectl runs the program ``kubectl-mtls`` on the PATH."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Sequence

from mtls_operator.cli import ca, cert, rule, version
from mtls_operator.cli.command import PROGRAM, Help, Parser, parser, subcommands
from mtls_operator.cli.errors import Exit, Refused, Unanswered
from mtls_operator.cli.screen import Screen

_HELP = Help(
    line="",
    text=(
        "Client-certificate mTLS for HTTP services on Kubernetes: issue, renew and revoke certificates, look at and\n"
        "replace the CA, try rules before you apply them, and find out why a request is let in or refused."
    ),
    examples=(
        "  kubectl mtls cert revoke gateway-8 -n shop --reason KeyCompromise --wait\n"
        "  kubectl mtls rule check 'not cf.tls_client_auth.cert_verified'\n"
        "  kubectl mtls rule explain -n shop --certificate gateway-8 --path /admin\n"
        "\n"
        "Exit codes: 0 the answer is yes, 1 it is no (refused, failed, not in force in time), 2 there is no answer: a\n"
        "command was not understood, or a file or cluster could not be read."
    ),
)
#: One module or package for each group of commands; each adds itself.
_GROUPS = (cert, ca, rule, version)


def build_parser() -> Parser:
    """Return the parser of all commands."""
    top = parser(PROGRAM, _HELP)
    commands = subcommands(top)
    for each in _GROUPS:
        each.add(commands)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code; a mistake of the user's is a message, never a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    screen = Screen(sys.stdout, sys.stderr)
    parsed = build_parser().parse_args(arguments)
    try:
        code = parsed.run(parsed, screen)
        sys.stdout.flush()
    except Unanswered as error:
        screen.complain(str(error))
        code = Exit.UNANSWERED
    except Refused as error:
        screen.complain(str(error))
        code = Exit.REFUSED
    except KeyboardInterrupt:
        code = Exit.INTERRUPTED
    except BrokenPipeError:
        # The reader has what it wanted (``| head``). Python would complain once more at its end.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = Exit.FINE
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
