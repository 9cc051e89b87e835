"""What rules cost: the proxy's CPU time per request against the same proxy without rules; needs no cluster.

    PYTHONPATH=. .venv/bin/python benchmarks/rules.py

Starts a real Envoy for each variant with the generated configuration, one worker each, in front of an Envoy that
answers by itself; some at a time, always with the bare proxy among them. Clients send requests over connections that
stay open. Variants take turns in random order, so that other work on the machine hits all of them; each figure is a
median of the rounds. The bare proxy has the same configuration without our three filters and without the access log;
the first variants have more and more of it.

CPU time is that of all threads of the proxy's process, in nanoseconds, from the kernel's scheduler.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from tests.support.certs import SERVER, authority, leaf
from tests.support.clients import tls_context
from tests.support.envoy import Proxy, Site
from tests.support.lab import HOST, REVOKED_INDEX, People, default_config
from tests.support.load import Http1Load, Http2Load, Load

from mtls_operator.api import names
from mtls_operator.api.secret import Secret
from mtls_operator.cli.proxy import find_envoy, free_port
from mtls_operator.envoy import (
    IssuerRevocations,
    IssuerTrust,
    RuleScript,
    host_files,
    revocation_script,
    rules_script,
    server_sds,
)
from mtls_operator.plan.rule_scripts import rule_script
from mtls_operator.rules import GENERATED_LIMITS, PRODUCT_LIMITS, RUNTIME, Limits, parse, simple_form, to_lua

BARE = "bare proxy"
PATH = "/orders/4711/lines?limit=50"
_BODY = json.dumps({"lines": [{"article": f"A-{number}", "pieces": number} for number in range(8)]})
_EPOCH = 1_764_000_000_000
_CERTIFICATES_ISSUED = 100_000
_OURS = frozenset({names.REVOCATION_FILTER, names.RULES_FILTER, names.GATE_FILTER})

#: Scripts that do nothing, and nothing but what the gate asks for: no rules script can cost less than the latter.
_NOTHING = """-- {name} 1
function envoy_on_request(handle)
end
"""
_ALLOW = """-- mtls-rules 1
function envoy_on_request(handle)
  handle:streamInfo():filterState():set("mtls.decision", "envoy.string", "allow")
end
"""
_NO_REVOCATION = _NOTHING.format(name=names.REVOCATION_FILTER)


@dataclass(frozen=True, slots=True)
class Variant:
    """A proxy to measure: its rules, and what it has otherwise than a host's proxy.

    ``rules_text`` and ``revocation_text`` take the place of the generated scripts; ``without`` names filters that it
    does not have; ``logs``: it has the access log and the counters.
    """

    name: str
    rules: tuple[RuleScript, ...] = ()
    rules_text: str | None = None
    revocation_text: str | None = None
    without: frozenset[str] = frozenset()
    logs: bool = True


def bare() -> Variant:
    """Return the proxy that all others are compared with."""
    return Variant(BARE, without=_OURS, logs=False)


def parts() -> list[Variant]:
    """Return proxies that have more and more of what a host's proxy has; the last one lacks only rules."""
    only_gate = frozenset({names.GATE_FILTER})
    rules_name = names.RULES_FILTER
    return [
        Variant("access log and counters", without=_OURS),
        Variant(
            "+ two scripts that do nothing", (), _NOTHING.format(name=rules_name), _NO_REVOCATION, only_gate
        ),
        Variant("+ one of them says allow", (), _ALLOW, _NO_REVOCATION, only_gate),
        Variant("+ the gate", (), _ALLOW, _NO_REVOCATION),
        Variant("+ the revocation script", (), _ALLOW),
        Variant("no rule"),
    ]


def rule(text: str, number: int, limits: Limits = PRODUCT_LIMITS) -> RuleScript:
    """Return a Block rule of an expression."""
    return rule_script(f"rule-{number}", to_lua(parse(text, limits=limits)), action="block")


def simple(number: int) -> RuleScript:
    """Return the simple form of a rule: one path and what is below it."""
    text = simple_form(
        paths=[f"/admin-{number}"], path_prefixes=[f"/admin-{number}/"], hostnames=[], allow_revoked=False
    )
    return rule(text, number, GENERATED_LIMITS)


def mixed(number: int) -> RuleScript:
    """Return one of several kinds of rules that read different parts of a request, none of which applies."""
    path, header = "http.request.uri.path", "http.request.headers"
    texts = (
        f'starts_with({path}, "/internal/{number}/") and not cf.tls_client_auth.cert_verified',
        f'http.request.method in {{"DELETE" "PUT"}} and {path} contains "/{number}/"',
        f'any({header}["x-tenant"][*] eq "tenant-{number}")',
        f'cf.tls_client_auth.cert_serial eq "{number:036X}"',
        f"ip.src in {{203.0.113.{number % 256} 198.51.100.0/24}}",
        f'http.host ne "{HOST}" and {path} eq "/{number}"',
        f'{path} matches "^/v[0-9]+/{number}/"',
        f'lower(http.user_agent) contains "scanner-{number}"',
    )
    return rule(texts[number % len(texts)], number)


def longest() -> RuleScript:
    """Return a rule as long as they may be, all of which has to be looked at."""
    text, number = 'http.request.uri.query eq "never"', 0
    while len(more := f'{text} or http.request.uri.query eq "page={number}"') <= PRODUCT_LIMITS.characters:
        text, number = more, number + 1
    return rule(text, 0)


def deepest() -> RuleScript:
    """Return a rule that is nested as deeply as it may be."""
    levels = PRODUCT_LIMITS.nesting - 1
    opened = "".join(f'(http.host eq "h{level}" or ' for level in range(levels))
    return rule(opened + 'http.request.uri.path eq "/never"' + ")" * levels, 0)


def most_regexes() -> RuleScript:
    """Return a rule with as many regular expressions as it may have."""
    count = PRODUCT_LIMITS.regexes
    parts = (f'http.request.uri.path matches "^/v{n}/[a-z]+[0-9]*$"' for n in range(count))
    return rule(" or ".join(parts), 0)


def variants(counts: Sequence[int]) -> list[Variant]:
    """Return everything that is measured."""
    found = parts()
    found += [Variant(f"{n} simple rule{'s' * (n > 1)}", tuple(map(simple, range(n)))) for n in counts]
    found += [Variant(f"{n} mixed rules", tuple(map(mixed, range(n)))) for n in counts if n > 1]
    found.append(Variant(f"an expression of {PRODUCT_LIMITS.characters} bytes", (longest(),)))
    found.append(Variant(f"an expression of {PRODUCT_LIMITS.nesting} levels", (deepest(),)))
    found.append(Variant(f"{PRODUCT_LIMITS.regexes} regular expressions", (most_regexes(),)))
    return found


class Measured:
    """A running proxy of a variant."""

    def __init__(self, root: Path, variant: Variant, people: People, upstream: int) -> None:
        self.variant = variant
        self.site = Site.create(root)
        placement = self.site.placement
        config = replace(default_config(), upstream_port=upstream, discovery_port=1)
        rules = rules_script(
            epoch=_EPOCH,
            hostnames=[HOST],
            issuers=[IssuerTrust(people.ca.digest, listed=True)],
            rules=variant.rules,
            reads_certificate=bool(variant.rules),
            forward=["xfcc"],
            runtime=RUNTIME,
            mounted=placement.rules_file,
        )
        files = host_files(
            config,
            client_ca_pem=people.ca.certificate_pem,
            rules=variant.rules_text or rules,
            placement=placement,
        )
        files[names.LISTENER_KEY] = changed(files[names.LISTENER_KEY], variant)
        bitmap = bytearray(_CERTIFICATES_ISSUED // 8)
        bitmap[0] = 1 << REVOKED_INDEX
        revocation = revocation_script(
            epoch=_EPOCH,
            issuers=[IssuerRevocations(people.ca.digest, bytes(bitmap))],
            mounted=placement.revocation_file,
        )
        server = leaf(people.ca, HOST, usage=SERVER, dns=(HOST,))
        internal = authority("internal")
        identity = leaf(internal, "proxy")
        self.site.mount("host", files)
        self.site.mount("revocation", {names.REVOCATION_KEY: variant.revocation_text or revocation})
        sds = server_sds(server.certificate_pem, Secret(server.key_pem)).reveal()
        self.site.mount("server", {names.SERVER_SDS_KEY: sds})
        self.site.mount(
            "proxy",
            {
                names.TLS_CERT_KEY: identity.certificate_pem,
                names.TLS_KEY_KEY: identity.key_pem,
                names.CA_KEY: internal.certificate_pem,
            },
        )
        self.proxy = Proxy(self.site)

    def cpu(self) -> int:
        """Return the CPU time of the process in nanoseconds."""
        tasks = Path(f"/proc/{self.proxy.pid}/task")
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks.iterdir())


def changed(listener: str, variant: Variant) -> str:
    """Return a listener file without what a variant does not have, and otherwise the same."""
    document = json.loads(listener)
    (chain,) = document["resources"][0]["filter_chains"]
    manager = chain["filters"][-1]["typed_config"]
    manager["http_filters"] = [one for one in manager["http_filters"] if one["name"] not in variant.without]
    if not variant.logs:
        del manager["access_log"]
    return json.dumps(document)


@contextlib.contextmanager
def application(folder: Path) -> Iterator[int]:
    """Run an Envoy that answers every request by itself; yields its port."""
    port = free_port()
    extensions = "type.googleapis.com/envoy.extensions.filters"
    manager = {
        "@type": f"{extensions}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "application",
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "any",
                    "domains": ["*"],
                    "routes": [
                        {
                            "match": {"prefix": "/"},
                            "direct_response": {"status": 200, "body": {"inline_string": _BODY}},
                        }
                    ],
                }
            ]
        },
        "http_filters": [
            {"name": "router", "typed_config": {"@type": f"{extensions}.http.router.v3.Router"}}
        ],
    }
    listener = {
        "name": "application",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }
    file = folder / "application.json"
    file.write_text(json.dumps({"static_resources": {"listeners": [listener]}}))
    command = [find_envoy(), "-c", str(file), "--concurrency", "1", "--disable-hot-restart", "-l", "error"]
    with subprocess.Popen(command) as process:
        try:
            yield port
        finally:
            process.terminate()


@contextlib.contextmanager
def running(root: Path, group: Sequence[Variant], people: People, upstream: int) -> Iterator[list[Measured]]:
    """Run the proxies of some variants."""
    with contextlib.ExitStack() as stack:
        proxies = []
        for number, variant in enumerate(group):
            proxies.append(Measured(root / str(number), variant, people, upstream))
            stack.enter_context(contextlib.closing(proxies[-1].proxy))
        for measured in proxies:
            measured.proxy.wait()
        yield proxies


def connect(measured: Measured, *, people: People, protocol: str, person: str | None) -> Load:
    """Open the connections of one kind of client to one proxy."""
    port = measured.site.placement.tls_port
    identity = people.identity(person)
    if protocol == "h1":
        return Http1Load(port, tls_context(identity=identity), HOST, PATH, connections=16)
    context = tls_context(identity=identity, alpn="h2")
    return Http2Load(port, context, HOST, PATH, connections=4, streams=4)


def spent(measured: Measured, load: Load, requests: int) -> float:
    """Return the microseconds of CPU time for each of some requests."""
    before = measured.cpu()
    load.ask(requests)
    return (measured.cpu() - before) / requests / 1000


def rounds(
    proxies: Sequence[Measured], connected: Callable[[Measured], Load], *, count: int, requests: int
) -> dict[str, list[float]]:
    """Measure every proxy once in each round; two more rounds come first and do not count."""
    loads = [(measured, connected(measured)) for measured in proxies]
    figures: dict[str, list[float]] = {measured.variant.name: [] for measured in proxies}
    for number in range(-2, count):
        random.shuffle(loads)
        for measured, load in loads:
            figure = spent(measured, load, requests)
            if number >= 0:
                figures[measured.variant.name].append(figure)
    for _, load in loads:
        load.close()
    return figures


@dataclass(frozen=True, slots=True)
class Row:
    """Medians: microseconds for each request, and the ratio to the bare proxy in the same round."""

    microseconds: float
    ratio: float


def rows(figures: dict[str, list[float]]) -> dict[str, Row]:
    """Return the figures of each variant."""
    ratios = {
        name: statistics.median(one / bare for one, bare in zip(series, figures[BARE], strict=True))
        for name, series in figures.items()
    }
    return {name: Row(statistics.median(series), ratios[name]) for name, series in figures.items()}


def show(tables: dict[str, dict[str, Row]]) -> None:
    """Print one table with a column for each kind of client."""
    print(f"\n| | {' | '.join(tables)} |\n|{'---|' * (len(tables) + 1)}")
    for name in next(iter(tables.values())):
        cells = [f"{table[name].ratio:.2f} ({table[name].microseconds:.0f} µs)" for table in tables.values()]
        print(f"| {name} | {' | '.join(cells)} |")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--requests", type=int, default=800, help="of each proxy in each round")
    parser.add_argument("--counts", type=int, nargs="*", default=[1, 10, 100, 1000], help="of rules")
    parser.add_argument("--only", default="", help="only variants with this in their name")
    parser.add_argument("--at-once", type=int, default=4, help="proxies that run beside the bare one")
    parser.add_argument("--protocols", nargs="*", default=["h1", "h2"])
    arguments = parser.parse_args()
    tables: dict[str, dict[str, Row]] = {}
    chosen = [each for each in variants(arguments.counts) if arguments.only in each.name]
    with tempfile.TemporaryDirectory() as name, application(Path(name)) as upstream:
        people = People.create(Path(name, "people"))
        for start in range(0, len(chosen), arguments.at_once):
            group = [bare(), *chosen[start : start + arguments.at_once]]
            with running(Path(name, f"group-{start}"), group, people, upstream) as proxies:
                for person, protocol in itertools.product(("good", None), arguments.protocols):
                    figures = rounds(
                        proxies,
                        partial(connect, people=people, protocol=protocol, person=person),
                        count=arguments.rounds,
                        requests=arguments.requests,
                    )
                    title = f"{protocol}, {'a valid certificate' if person else 'no certificate'}"
                    tables.setdefault(title, {}).update(rows(figures))
            print(f"{start + len(group) - 1} of {len(chosen)} measured", file=sys.stderr)
    show(tables)


if __name__ == "__main__":
    main()
