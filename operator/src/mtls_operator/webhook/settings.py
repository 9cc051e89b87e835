"""Settings of the webhook, from flags and environment: one table says both names, so that they cannot differ.

A flag wins over its variable, a variable over the default. A value that does not fit ends the start with a
sentence that names the variable; nothing falls back to a default silently.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import mtls_operator
from mtls_operator.inject import InjectSettings, InvalidInjectSettings, PullPolicy

_MAX_PORT: Final = 65_535


class InvalidWebhookSettings(ValueError):  # noqa: N818 - reads as the sentence it is
    """A flag or variable is missing or does not fit; the message names it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookSettings:
    """Everything that the webhook's process is told from outside."""

    inject: InjectSettings
    """What the sidecar looks like."""
    port: int = 9443
    """HTTPS port, also for ``/healthz`` and ``/readyz``; 0 takes any free one."""
    address: str | None = None
    """Address to listen on; None is every address of both families."""
    tls_directory: Path = Path("/etc/mtls/webhook")
    """Folder of ``tls.crt`` and ``tls.key``: a mounted Secret."""
    tls_poll_seconds: float = 2.0
    """How often the folder is looked at for a new certificate."""
    drain_seconds: float = 3.0
    """How long it goes on answering after SIGTERM, until the cluster no longer sends it anything."""
    shutdown_seconds: float = 10.0
    """How long requests that are being answered may take after that."""
    body_bytes: int = 8 * 1024 * 1024
    """Largest review: an object of the API server is at most 3 MiB, and a review can hold it twice."""
    body_seconds: float = 5.0
    """How long a client may take to send a review."""
    validation_seconds: float = 2.5
    """How long a review of ours may wait and take; the API server gives up after three seconds."""
    validation_backlog: int = 16
    """How many reviews of rules may wait for one another; each further one is turned away unchecked."""


@dataclass(frozen=True, slots=True)
class _Option:
    field: str
    variable: str
    convert: Callable[[str], Any]
    help: str

    @property
    def flag(self) -> str:
        return "--" + self.field.replace("_", "-")


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= _MAX_PORT:
        raise ValueError(f"must be 0 to {_MAX_PORT}")
    return port


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 <= seconds < float("inf"):
        raise ValueError("must be a number of seconds, not negative")
    return seconds


def _interval(text: str) -> float:
    seconds = _seconds(text)
    if seconds == 0:
        raise ValueError("must be more than 0 seconds")
    return seconds


_SERVER: Final = (
    _Option("port", "MTLS_WEBHOOK_PORT", _port, "HTTPS port (default 9443)"),
    _Option("address", "MTLS_WEBHOOK_ADDRESS", str, "address to listen on (default: every address)"),
    _Option(
        "tls_directory",
        "MTLS_WEBHOOK_TLS_DIRECTORY",
        Path,
        "folder of tls.crt and tls.key (default /etc/mtls/webhook)",
    ),
    _Option(
        "tls_poll_seconds",
        "MTLS_WEBHOOK_TLS_POLL_SECONDS",
        _interval,
        "seconds between two looks for a new certificate (default 2)",
    ),
    _Option(
        "drain_seconds",
        "MTLS_WEBHOOK_DRAIN_SECONDS",
        _seconds,
        "seconds to go on answering after SIGTERM (default 3)",
    ),
)
_PROXY: Final = (
    _Option("proxy_image", "MTLS_PROXY_IMAGE", str, "image of the sidecar (required)"),
    _Option("proxy_pull_policy", "MTLS_PROXY_PULL_POLICY", PullPolicy, "Always, IfNotPresent or Never"),
    _Option("proxy_concurrency", "MTLS_PROXY_CONCURRENCY", int, "worker threads of the sidecar (default 1)"),
    _Option("proxy_cpu_request", "MTLS_PROXY_CPU_REQUEST", str, "CPU request of the sidecar (default 10m)"),
    _Option("proxy_memory_request", "MTLS_PROXY_MEMORY_REQUEST", str, "memory request (default 48Mi)"),
    _Option("proxy_memory_limit", "MTLS_PROXY_MEMORY_LIMIT", str, "memory limit (default 256Mi)"),
    _Option("proxy_cpu_limit", "MTLS_PROXY_CPU_LIMIT", str, "CPU limit (default: none)"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the webhook's flags to a parser; each says the variable that it overrides."""
    for option in (*_SERVER, *_PROXY):
        parser.add_argument(
            option.flag, default=None, metavar="VALUE", help=f"{option.help} [{option.variable}]"
        )


def from_environ(environ: Mapping[str, str]) -> WebhookSettings:
    """Return the settings of an environment; raise InvalidWebhookSettings for the first that does not fit."""
    return settings_from(argparse.Namespace(), environ)


def settings_from(args: argparse.Namespace, environ: Mapping[str, str]) -> WebhookSettings:
    """Return the settings of parsed flags and an environment.

    Raises:
        InvalidWebhookSettings: a value is missing or does not fit.
    """
    proxy = {key.removeprefix("proxy_"): value for key, value in _values(_PROXY, args, environ).items()}
    if "image" not in proxy:
        raise InvalidWebhookSettings("MTLS_PROXY_IMAGE (--proxy-image) is missing: the image of the sidecar")
    try:
        inject = InjectSettings(version=mtls_operator.__version__, **proxy)
    except InvalidInjectSettings as error:
        variable = next(option.variable for option in _PROXY if option.field == f"proxy_{error.field}")
        raise InvalidWebhookSettings(f"{variable}: {error.message}") from error
    return WebhookSettings(inject=inject, **_values(_SERVER, args, environ))


def _values(
    options: tuple[_Option, ...], args: argparse.Namespace, environ: Mapping[str, str]
) -> dict[str, Any]:
    """Return what is set of some options, converted; an empty variable counts as not set."""
    values: dict[str, Any] = {}
    for option in options:
        text = getattr(args, option.field, None) or environ.get(option.variable)
        if not text:
            continue
        try:
            values[option.field] = option.convert(text)
        except ValueError as error:
            raise InvalidWebhookSettings(f"{option.variable} ({option.flag}): {text!r}: {error}") from error
    return values
