"""Options that the commands for a cluster share."""

from __future__ import annotations

import argparse

from mtls_operator.api import names
from mtls_operator.api.duration import InvalidDuration, parse_duration


def add_access(to: argparse.ArgumentParser) -> None:
    """Add ``-n``, ``--kubeconfig`` and ``--context``."""
    group = to.add_argument_group("cluster")
    group.add_argument(
        "-n", "--namespace", metavar="NAME", help="the namespace; default: that of the context"
    )
    group.add_argument("--kubeconfig", metavar="FILE", help="instead of $KUBECONFIG or ~/.kube/config")
    group.add_argument("--context", metavar="NAME", help="a context of the kubeconfig")


def add_operator_namespace(to: argparse.ArgumentParser) -> None:
    """Add ``--operator-namespace``."""
    to.add_argument(
        "--operator-namespace",
        metavar="NAME",
        help=f"where the operator runs; default: {names.OPERATOR_NAMESPACE}",
    )


def add_timeout(to: argparse.ArgumentParser, *, default: str) -> None:
    """Add ``--timeout``."""
    to.add_argument(
        "--timeout",
        type=seconds,
        default=default,
        metavar="TIME",
        help=f"how long to wait, such as 90s or 1h; default: {default}",
    )


def seconds(text: str) -> float:
    """Read a duration of the command line, in seconds."""
    try:
        return parse_duration(text).total_seconds()
    except InvalidDuration as error:
        raise argparse.ArgumentTypeError(str(error)) from error
