"""Cases in the real Envoy: our generated configuration, rules pushed by our discovery server, requests over HTTPS.

One Envoy runs all cases, one after the other; a rule is in force when Envoy has acknowledged it. What no client can
send goes to the same generated Lua in LuaJIT.
"""

from __future__ import annotations

import itertools
import logging
import secrets
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import structlog

from mtls_operator.api import names
from mtls_operator.cli.errors import Unanswered
from mtls_operator.cli.proxy import Proxy, ProxyError, Site, find_envoy
from mtls_operator.cli.rule.clients import LIFETIME, REVOKED, Clients, authority
from mtls_operator.cli.rule.machine import Machine
from mtls_operator.cli.rule.path import Paths
from mtls_operator.cli.rule.upstream import application
from mtls_operator.cli.rule.wire import Sent, carried
from mtls_operator.envoy import (
    IssuerRevocations,
    IssuerTrust,
    ProxyConfig,
    host_files,
    revocation_script,
    rules_script,
    script_version,
    server_sds,
)
from mtls_operator.pki import (
    AUTHORITY_ENTROPY,
    Authority,
    bitmap,
    issue_internal_client,
    issue_internal_server,
    issue_server,
    random_serial,
)
from mtls_operator.plan.rule_scripts import rule_script
from mtls_operator.push import DiscoveryServer, Pod, Report, ReportKind, Scope, Script, ServerCredentials
from mtls_operator.rules import RUNTIME, Expression, RequestError, to_lua

#: The answer of a rule that matches: one that nothing else here gives.
MATCHED: Final = 418
_LET_THROUGH: Final = 200
_NAMESPACE: Final = "corpus"
_UID: Final = "corpus"
_HOST: Final = "corpus"
_POD: Final = Pod(_NAMESPACE, "proxy", "proxy", _HOST)
_SERVER: Final = "discovery.corpus.svc"
_SECONDS: Final = 10.0


class EnvoyEngine:
    """A running Envoy with everything around it (see :class:`~.engine.Engine`)."""

    def __init__(self, push: _Push, clients: Clients, rules_file: str) -> None:
        self._push = push
        self._clients = clients
        self._rules_file = rules_file
        self._machine, self._paths = Machine(), Paths()
        self._count: Counter[str] = Counter()

    def run(self, expression: Expression, request: Mapping[str, object]) -> bool | str:
        """See :class:`~.engine.Engine`."""
        sent = carried(expression, request, self._paths)
        if sent is not None:
            self._count["https"] += 1
            return self._send(expression, sent)
        self._count["lua"] += 1
        try:
            result = self._machine.run(to_lua(expression), request)
        except RequestError as error:
            return f"no request: {error}"
        return result if isinstance(result, bool) else f"no Boolean: {result!r}"

    def summary(self) -> str:
        """See :class:`~.engine.Engine`."""
        return f"{self._count['https']} sent to Envoy over HTTPS, {self._count['lua']} given to the generated Lua"

    def _send(self, expression: Expression, sent: Sent) -> bool | str:
        text = rules_script(
            epoch=self._push.next_epoch(),
            hostnames=[sent.host],
            issuers=[IssuerTrust(self._clients.issuer, listed=True)],
            rules=[rule_script("case", to_lua(expression), action="block", status=MATCHED)],
            reads_certificate=expression.reads_certificate,
            forward=["xfcc"],
            runtime=RUNTIME,
            mounted=self._rules_file,
        )
        refusal = self._push.put_in_force(text)
        if refusal:
            return f"Envoy refuses the rule: {refusal}"
        status = self._clients.send(sent)
        if status in {MATCHED, _LET_THROUGH}:
            return status == MATCHED
        return f"Envoy answers {status}" if status else "Envoy closes the connection"


class _Push:
    """The discovery server, and what Envoy answers it."""

    def __init__(self, internal: Authority, now: datetime) -> None:
        pair = issue_internal_server(
            internal, dns_names=[_SERVER], validity=LIFETIME, serial=_serial(), now=now
        )
        self._epochs = itertools.count(int(now.timestamp() * 1000))
        self._changed = threading.Condition()
        self._answers: dict[str, str] = {}
        self.server = DiscoveryServer(address="127.0.0.1:0", on_report=self._note)
        self.port = self.server.start(
            ServerCredentials(pair.certificate_pem.encode(), pair.key_pem, internal.certificate_pem.encode())
        )
        self.server.set_namespace(_NAMESPACE, _UID)
        self.server.set_pod(_POD)
        self.server.open()

    def next_epoch(self) -> int:
        """Return an epoch above every one before."""
        return next(self._epochs)

    def put_in_force(self, text: str) -> str:
        """Push a rules script and wait until Envoy runs it; return its words when it refuses.

        Raises:
            Unanswered: it does not answer.
        """
        version = script_version(text)
        self.server.publish(Scope(_NAMESPACE, _HOST), Script(names.RULES_FILTER, version, text))
        with self._changed:
            if not self._changed.wait_for(lambda: version in self._answers, _SECONDS):
                raise Unanswered(f"Envoy does not answer a push within {_SECONDS:g} s")
            return self._answers.pop(version)

    def _note(self, report: Report) -> None:
        with self._changed:
            if report.kind is ReportKind.ACKNOWLEDGED and report.resource == names.RULES_FILTER:
                self._answers[report.version] = ""
            elif report.kind is ReportKind.REFUSED:
                self._answers[report.refused] = report.error or "without a reason"
            self._changed.notify_all()


@contextmanager
def running_envoy(program: str | None) -> Iterator[EnvoyEngine]:
    """Start Envoy and everything around it in a folder of its own; stop and remove all of it at the end.

    Raises:
        Unanswered: there is no Envoy, or it does not run.
    """
    now = datetime.now(UTC)
    try:
        binary = find_envoy(program)
        with ExitStack() as stack:
            stack.enter_context(_quiet())
            root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kubectl-mtls-")))
            internal, managed = authority("internal", now), authority("managed", now)
            push = _Push(internal, now)
            stack.callback(push.server.stop, 0.0)
            site = Site.create(root / "site")
            clients = Clients(root / "clients", site.placement.tls_port, managed, now)
            stack.callback(clients.close)
            config = _config(upstream=stack.enter_context(application()), discovery=push.port)
            _mount(site, config, internal, managed, now=now, epoch=push.next_epoch())
            node = names.node_id(_POD.namespace, _POD.name, _POD.uid)
            stack.enter_context(closing(Proxy(site, binary=binary, node=node))).wait()
            yield EnvoyEngine(push, clients, site.placement.rules_file)
    except ProxyError as error:
        raise Unanswered(str(error)) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the log of the discovery server off the screen: what matters of it is in the answers."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        yield
    finally:
        structlog.configure(**before)


def _config(*, upstream: int, discovery: int) -> ProxyConfig:
    return ProxyConfig(
        host="api",
        upstream_port=upstream,
        protocol="HTTP1",
        min_tls="1.2",
        max_connection_age=3600,
        discovery_host="127.0.0.1",
        discovery_port=discovery,
        discovery_server_name=_SERVER,
    )


def _mount(  # noqa: PLR0913 - what stands in the folders
    site: Site, config: ProxyConfig, internal: Authority, managed: Authority, *, now: datetime, epoch: int
) -> None:
    """Write what a pod mounts; no rule is in force yet."""
    rules = rules_script(
        epoch=epoch,
        hostnames=["localhost"],
        issuers=[IssuerTrust(managed.digest, listed=True)],
        rules=[],
        reads_certificate=False,
        forward=["xfcc"],
        runtime=RUNTIME,
        mounted=site.placement.rules_file,
    )
    revoked = revocation_script(
        epoch=epoch,
        issuers=[IssuerRevocations(managed.digest, bitmap([REVOKED]))],
        mounted=site.placement.revocation_file,
    )
    server = issue_server(managed, hostnames=["localhost"], validity=LIFETIME, serial=_serial(), now=now)
    uri = names.proxy_identity(_NAMESPACE, _UID)
    identity = issue_internal_client(internal, uri=uri, validity=LIFETIME, serial=_serial(), now=now)
    files = host_files(config, client_ca_pem=managed.certificate_pem, rules=rules, placement=site.placement)
    site.mount("host", files)
    site.mount("revocation", {names.REVOCATION_KEY: revoked})
    site.mount("server", {names.SERVER_SDS_KEY: server_sds(server.certificate_pem, server.key_pem).reveal()})
    site.mount(
        "proxy",
        {
            names.TLS_CERT_KEY: identity.certificate_pem,
            names.TLS_KEY_KEY: identity.key_pem.reveal(),
            names.CA_KEY: internal.certificate_pem,
        },
    )


def _serial() -> int:
    return random_serial(secrets.token_bytes(AUTHORITY_ENTROPY))
