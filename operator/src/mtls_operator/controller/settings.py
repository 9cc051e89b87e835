"""How the operator is told where it runs: environment variables that the chart sets, all with defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from mtls_operator.api import names

_LAST_PORT = 65_535
_MOST_WORKERS = 1024


@dataclass(frozen=True, slots=True)
class Settings:
    """Each field is read from the environment variable ``MTLS_`` plus its name in capitals."""

    #: Namespace of the operator itself: keys and ledgers are kept here.
    operator_namespace: str = names.OPERATOR_NAMESPACE
    #: Domain of the cluster's DNS.
    cluster_domain: str = "cluster.local"
    #: Service through which proxies reach the discovery server.
    discovery_service: str = names.DISCOVERY_SERVICE
    #: Port on which the discovery server listens, and the Service too.
    discovery_port: int = names.DISCOVERY_PORT
    #: Address on which the discovery server listens.
    discovery_bind: str = "0.0.0.0"
    #: Service of the webhook, whose certificate the operator makes.
    webhook_service: str = names.WEBHOOK_SERVICE
    #: Mutating- and ValidatingWebhookConfiguration of this name: the operator sets their ``caBundle``.
    webhook_configuration: str = names.WEBHOOK_CONFIGURATION
    #: Port of ``/healthz`` and ``/readyz``.
    health_port: int = 8081
    #: Port of ``/metrics``.
    metrics_port: int = 8082
    #: How many keys are worked on at once.
    workers: int = 16
    #: ``json`` or ``console``.
    log_format: str = "json"
    #: ``debug``, ``info``, ``warning`` or ``error``.
    log_level: str = "info"

    @property
    def discovery_host(self) -> str:
        """DNS name of the discovery server, and the name in its certificate."""
        return f"{self.discovery_service}.{self.operator_namespace}.svc.{self.cluster_domain}"


class SettingsError(Exception):
    """An environment variable whose value does not fit."""


@dataclass(slots=True)
class _Read:
    values: dict[str, object] = field(default_factory=dict)


def from_environ(environ: Mapping[str, str]) -> Settings:
    """Read the settings.

    Raises:
        SettingsError: a number is none or out of its range, or a choice is unknown; the message names the variable.
    """
    read = _Read()
    for entry in fields(Settings):
        variable = f"MTLS_{entry.name.upper()}"
        text = environ.get(variable)
        if text is None or not text.strip():
            continue
        read.values[entry.name] = _number(variable, text) if isinstance(entry.default, int) else text.strip()
    settings = Settings(**read.values)  # type: ignore[arg-type]  # each value was read by the type of its default
    _require(settings.log_format, ("json", "console"), "MTLS_LOG_FORMAT")
    _require(settings.log_level, ("debug", "info", "warning", "error"), "MTLS_LOG_LEVEL")
    return settings


def _number(variable: str, text: str) -> int:
    try:
        number = int(text)
    except ValueError as error:
        raise SettingsError(f"{variable}={text!r} is no number") from error
    most = _MOST_WORKERS if variable == "MTLS_WORKERS" else _LAST_PORT
    if not 1 <= number <= most:
        raise SettingsError(f"{variable}={text!r} is not between 1 and {most}")
    return number


def _require(value: str, known: tuple[str, ...], variable: str) -> None:
    if value not in known:
        raise SettingsError(f"{variable}={value!r} is not one of {', '.join(known)}")
