"""How the operator is told where it runs: environment variables that the chart sets, all with defaults."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import timedelta
from typing import Any

from mtls_operator.api import names

_LAST_PORT = 65_535
#: The largest numbers of what is no port.
_MOST = {
    "MTLS_WORKERS": 1024,
    "MTLS_REISSUE_SECONDS": 30 * 24 * 3600,
    "MTLS_MAX_CERTIFICATES": 10_000_000,
    "MTLS_MAX_ISSUED_PER_DAY": 10_000_000,
}
_LEAST = {"MTLS_MAX_CERTIFICATES": 0, "MTLS_CRL_PORT": 0}
#: Room for the path of a list behind it; what a URL in a certificate may contain is checked where it is signed.
_CRL_URL = re.compile(r"http://[A-Za-z0-9.:\[\]-]{1,255}(/[A-Za-z0-9._~/-]{0,255})?")
_SELECTORS = frozenset({"namespaceSelector", "podSelector"})


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
    #: Port on which signed revocation lists are served over plain HTTP; 0: they are not.
    crl_port: int = 0
    #: Where others reach that port, ``http://host[:port][/path]``: new certificates name their list there; empty: they
    #: name none.
    crl_url: str = ""
    #: NetworkPolicy peers, besides the operator, that may read the sidecars' status ports; a JSON list.
    proxy_metrics_from: tuple[Mapping[str, Any], ...] = ()
    #: How many keys are worked on at once.
    workers: int = 16
    #: After a rotation of a CA, certificates with keys of ours are issued anew within this many seconds.
    reissue_seconds: int = 3600
    #: As many certificates a namespace may have at a time; unset: any number. The Namespace's annotation goes first.
    max_certificates: int | None = None
    #: As many serial numbers a namespace may use up in a day, in blocks of 1 024; all of them may be used at once.
    max_issued_per_day: int = 50_000
    #: ``json`` or ``console``.
    log_format: str = "json"
    #: ``debug``, ``info``, ``warning`` or ``error``.
    log_level: str = "info"

    @property
    def reissue_window(self) -> timedelta:
        """Within which time after a rotation certificates are issued anew."""
        return timedelta(seconds=self.reissue_seconds)

    def crl_url_of(self, namespace: str, generation: int) -> str:
        """Return where the list of a CA is fetched; empty: nowhere."""
        return self.crl_url.rstrip("/") + f"/crl/{namespace}/{generation}.crl" if self.crl_url else ""

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
        SettingsError: a number is none or out of its range, a choice is unknown, or a list is not one of peers; the
            message names the variable.
    """
    read = _Read()
    for entry in fields(Settings):
        variable = f"MTLS_{entry.name.upper()}"
        text = environ.get(variable)
        if text is None or not text.strip():
            continue
        if entry.default is None or isinstance(entry.default, int):
            read.values[entry.name] = _number(variable, text)
        elif isinstance(entry.default, tuple):
            read.values[entry.name] = _peers(variable, text)
        else:
            read.values[entry.name] = text.strip()
    settings = Settings(**read.values)  # type: ignore[arg-type]  # each value was read by the type of its default
    _require(settings.log_format, ("json", "console"), "MTLS_LOG_FORMAT")
    if settings.crl_url and not _CRL_URL.fullmatch(settings.crl_url):
        raise SettingsError(
            f"MTLS_CRL_URL={settings.crl_url!r} is not http://host[:port][/path]: a list is fetched over plain HTTP"
        )
    _require(settings.log_level, ("debug", "info", "warning", "error"), "MTLS_LOG_LEVEL")
    return settings


def _number(variable: str, text: str) -> int:
    try:
        number = int(text)
    except ValueError as error:
        raise SettingsError(f"{variable}={text!r} is no number") from error
    most = _MOST.get(variable, _LAST_PORT)
    least = _LEAST.get(variable, 1)
    if not least <= number <= most:
        raise SettingsError(f"{variable}={text!r} is not between {least} and {most}")
    return number


def _peers(variable: str, text: str) -> tuple[Mapping[str, Any], ...]:
    """Read peers as the API server will: one that it refuses would hold back every host."""
    try:
        peers = json.loads(text)
    except ValueError as error:
        raise SettingsError(f"{variable} is no JSON") from error
    if not isinstance(peers, list) or not all(isinstance(peer, dict) and _is_peer(peer) for peer in peers):
        raise SettingsError(
            f"{variable} is not a list of peers of a NetworkPolicy: objects with namespaceSelector, podSelector or "
            "both, or with ipBlock alone"
        )
    return tuple(peers)


def _is_peer(peer: Mapping[str, Any]) -> bool:
    keys = peer.keys()
    if not all(isinstance(value, dict) for value in peer.values()):
        return False
    return keys == {"ipBlock"} or (bool(keys) and keys <= _SELECTORS)


def _require(value: str, known: tuple[str, ...], variable: str) -> None:
    if value not in known:
        raise SettingsError(f"{variable}={value!r} is not one of {', '.join(known)}")
