"""A complete proxy on this machine: certificates, application, operator's stand-in, and a running Envoy.

Rules are written in Lua here: the language that users write is tested elsewhere.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Self

from tests.support.certs import SERVER, Pair, authority, leaf
from tests.support.clients import Http1, Http2, tls_context
from tests.support.discovery import Discovery
from tests.support.envoy import Proxy, Site
from tests.support.upstream import Http1Upstream, Http2Upstream

from mtls_operator.api import names
from mtls_operator.api.secret import Secret
from mtls_operator.envoy import (
    Forwarded,
    IssuerRevocations,
    IssuerTrust,
    ProxyConfig,
    RuleScript,
    host_files,
    revocation_script,
    rules_script,
    server_sds,
)

HOST = "api.example.com"
OTHER_HOST = "shop.example.com"
DISCOVERY_NAME = "mtls-operator.mtls-system.svc"
NO_GOOD_CERTIFICATE = '(not f["cf.tls_client_auth.cert_verified"] or f["cf.tls_client_auth.cert_revoked"])'
#: What the simple form of a rule for the path /admin compiles to.
ADMIN = RuleScript(
    "admin",
    "block",
    ('{ ["/admin"] = true }',),
    f'{NO_GOOD_CERTIFICATE} and K[1][f["http.request.uri.path"]] == true',
)
REVOKED_INDEX = 2


_epochs = itertools.count(1_764_000_000_000)


def next_epoch() -> int:
    """Return an epoch above every one before."""
    return next(_epochs)


@dataclass(frozen=True, slots=True)
class Rules:
    """What a rules script of the tests says; change it with ``dataclasses.replace``."""

    issuers: tuple[IssuerTrust, ...]
    rules: tuple[RuleScript, ...] = (ADMIN,)
    hostnames: tuple[str, ...] = (HOST, OTHER_HOST, "*.wild.example.com")
    reads_certificate: bool = True
    forward: tuple[Forwarded, ...] = ("xfcc",)

    def script(self, mounted: str, epoch: int | None = None) -> str:
        return rules_script(
            epoch=next_epoch() if epoch is None else epoch,
            hostnames=self.hostnames,
            issuers=self.issuers,
            rules=self.rules,
            reads_certificate=self.reads_certificate,
            forward=self.forward,
            runtime="return {}",
            mounted=mounted,
        )


@dataclass(slots=True)
class People:
    """Certificates by the name of their story, each written to a file once."""

    folder: Path
    ca: Pair
    pairs: dict[str, Pair] = field(default_factory=dict)

    @classmethod
    def create(cls, folder: Path) -> Self:
        folder.mkdir(parents=True, exist_ok=True)
        people = cls(folder, authority("managed"))
        ca = people.ca
        people.add("good", leaf(ca, "good", index=1))
        people.add("revoked", leaf(ca, "revoked", index=REVOKED_INDEX))
        people.add("foreign", leaf(authority("foreign"), "foreign", index=1))
        people.add("expired", leaf(ca, "expired", index=3, start=timedelta(days=-2)))
        people.add("server-usage", leaf(ca, "server-usage", index=4, usage=SERVER))
        return people

    def add(self, name: str, pair: Pair) -> Pair:
        pair.write(self.folder, name)
        self.pairs[name] = pair
        return pair

    def identity(self, name: str | None) -> tuple[Path, Path] | None:
        """Return certificate and key file of a person; None for nobody."""
        return None if name is None else (self.folder / f"{name}.crt", self.folder / f"{name}.key")


class Lab:
    """A running proxy with everything around it; ``connected`` decides whether an operator exists."""

    def __init__(
        self,
        root: Path,
        *,
        config: ProxyConfig | None = None,
        connected: bool = True,
        client_ca_pem: str | None = None,
        concurrency: int = 1,
        start: bool = True,
    ) -> None:
        self.people = People.create(root / "people")
        self.internal = authority("internal")
        self.config = config or default_config()
        self.upstream = Http2Upstream() if self.config.protocol == "HTTP2" else Http1Upstream()
        self.operator = self._new_operator() if connected else None
        self.config = replace(
            self.config,
            upstream_port=self.upstream.port,
            discovery_port=self.operator.port if self.operator else 1,
        )
        self.site = Site.create(root / "site")
        self.rules = Rules((IssuerTrust(self.people.ca.digest, listed=True),))
        self._mount(self.people.ca.certificate_pem if client_ca_pem is None else client_ca_pem)
        self.proxy = Proxy(self.site, concurrency=concurrency)
        if start:
            self.proxy.wait()

    def _new_operator(self, port: int = 0) -> Discovery:
        pair = leaf(self.internal, "operator", usage=SERVER, dns=(DISCOVERY_NAME,))
        return Discovery(pair, self.internal.certificate_pem, port=port)

    def _mount(self, client_ca_pem: str) -> None:
        server = leaf(self.people.ca, HOST, usage=SERVER, dns=(HOST, OTHER_HOST))
        identity = leaf(self.internal, "proxy", uris=("spiffe://mtls-operator.dev/ns/shop/uid",))
        files = host_files(
            self.config,
            client_ca_pem=client_ca_pem,
            rules=self.rules_text(self.rules),
            placement=self.site.placement,
        )
        self.site.mount("host", files)
        self.site.mount("revocation", {names.REVOCATION_KEY: self.revocation_text()})
        self.site.mount(
            "server",
            {names.SERVER_SDS_KEY: server_sds(server.certificate_pem, Secret(server.key_pem)).reveal()},
        )
        self.mount_identity(identity, self.internal)

    def mount_identity(self, identity: Pair, operator_ca: Pair) -> None:
        """Publish the proxy's own certificate and the CA of the operator."""
        self.site.mount(
            "proxy",
            {
                names.TLS_CERT_KEY: identity.certificate_pem,
                names.TLS_KEY_KEY: identity.key_pem,
                names.CA_KEY: operator_ca.certificate_pem,
            },
        )

    def rules_text(self, rules: Rules, epoch: int | None = None) -> str:
        """Return a rules script that follows the mounted file of this proxy."""
        return rules.script(self.site.placement.rules_file, epoch)

    def revocation_text(
        self,
        revoked: Iterable[int] = (REVOKED_INDEX,),
        epoch: int | None = None,
        *issuers: Pair,
        first: int = 0,
    ) -> str:
        """Return a revocation script with the indices revoked under the managed CA (or the given ones).

        ``first`` is where the lists begin.
        """
        places = [index - first for index in revoked]
        bits = bytearray(max([0, *places]) // 8 + 1)
        for place in places:
            bits[place // 8] |= 1 << place % 8
        return revocation_script(
            epoch=next_epoch() if epoch is None else epoch,
            issuers=[IssuerRevocations(ca.digest, bytes(bits), first) for ca in issuers or (self.people.ca,)],
            mounted=self.site.placement.revocation_file,
        )

    def push_rules(self, rules: Rules | str) -> None:
        """Push a rules script and wait for the acknowledgement."""
        assert self.operator is not None
        text = rules if isinstance(rules, str) else self.rules_text(rules)
        self.operator.push(names.RULES_FILTER, text)

    def push_revocation(self, text: str) -> None:
        """Push a revocation script and wait for the acknowledgement."""
        assert self.operator is not None
        self.operator.push(names.REVOCATION_FILTER, text)

    def reset(self) -> None:
        """Push the scripts that every test starts from."""
        self.push_rules(self.rules)
        self.push_revocation(self.revocation_text())
        self.upstream.inbox.clear()

    def http1(self, person: str | None = None, sni: str | None = HOST, **options: object) -> Http1:
        """Open an HTTP/1.1 connection as somebody."""
        context = tls_context(identity=self.people.identity(person), **options)  # type: ignore[arg-type]  # passed on
        return Http1(self.site.placement.tls_port, context, sni)

    def http2(self, person: str | None = None, sni: str | None = HOST, **options: object) -> Http2:
        """Open an HTTP/2 connection as somebody."""
        context = tls_context(identity=self.people.identity(person), alpn="h2", **options)  # type: ignore[arg-type]  # passed on
        return Http2(self.site.placement.tls_port, context, sni)

    def stop_operator(self) -> None:
        """End the operator's stand-in; the proxy goes on."""
        if self.operator is not None:
            self.operator.close()

    def close(self) -> None:
        """Stop everything."""
        self.proxy.close()
        self.stop_operator()
        self.upstream.close()


def default_config() -> ProxyConfig:
    """Return the configuration of most tests; ports are filled in by the lab."""
    return ProxyConfig(
        host="api",
        upstream_port=8080,
        protocol="HTTP1",
        min_tls="1.2",
        max_connection_age=3600,
        discovery_host="127.0.0.1",
        discovery_port=18000,
        discovery_server_name=DISCOVERY_NAME,
    )
