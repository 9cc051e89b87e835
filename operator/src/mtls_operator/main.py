"""The ``mtls-operator`` command: ``run`` the operator, or serve the ``webhook``."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
from collections.abc import Sequence

import structlog

from mtls_operator import __version__

_USAGE_ERROR = 2
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return 0 after a clean stop, 1 when a part failed, 2 for wrong arguments or settings."""
    parser = _parser()
    parsed = parser.parse_args(arguments)
    _configure_logging(os.environ.get("MTLS_LOG_FORMAT", "json"), os.environ.get("MTLS_LOG_LEVEL", "info"))
    return _run() if parsed.command == "run" else _webhook(parsed)


def _parser() -> argparse.ArgumentParser:
    from mtls_operator.webhook import add_arguments  # noqa: PLC0415 - each command loads only what it needs

    parser = argparse.ArgumentParser(
        prog="mtls-operator",
        description="Client-certificate mTLS for HTTP services on Kubernetes.",
        epilog="Settings come from environment variables named MTLS_...; the Helm chart sets them.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser(
        "run", help="run the operator against the cluster of the service account or KUBECONFIG"
    )
    add_arguments(
        commands.add_parser(
            "webhook",
            help="serve the admission webhook: it injects the sidecar and checks rules, hosts and certificates",
        )
    )
    return parser


def _run() -> int:
    from mtls_operator.cluster import NotConfiguredError  # noqa: PLC0415 - as above
    from mtls_operator.controller import settings  # noqa: PLC0415 - as above
    from mtls_operator.controller.run import run  # noqa: PLC0415 - as above

    try:
        wanted = settings.from_environ(os.environ)
    except settings.SettingsError as error:
        return _refuse(str(error))
    try:
        return asyncio.run(run(wanted))
    except NotConfiguredError as error:
        return _refuse(str(error))


def _webhook(parsed: argparse.Namespace) -> int:
    from mtls_operator.webhook import InvalidWebhookSettings, serve, settings_from  # noqa: PLC0415 - as above

    try:
        wanted = settings_from(parsed, os.environ)
    except InvalidWebhookSettings as error:
        return _refuse(str(error))
    asyncio.run(serve(wanted))
    return 0


def _refuse(message: str) -> int:
    sys.stderr.write(f"mtls-operator: {message}\n")
    return _USAGE_ERROR


def _configure_logging(form: str, level: str) -> None:
    """Send structlog's and kopf's lines to standard error in one form."""
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer() if form == "console" else structlog.processors.JSONRenderer()
    )
    shared: list[structlog.typing.Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS.get(level, logging.INFO)),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    logging.basicConfig(
        level=max(_LEVELS.get(level, logging.INFO), logging.WARNING), handlers=[handler], force=True
    )


if __name__ == "__main__":
    sys.exit(main())
