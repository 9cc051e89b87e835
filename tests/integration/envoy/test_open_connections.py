"""Changes reach connections that are already open, and the connections stay."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from tests.support.certs import leaf
from tests.support.envoy import eventually
from tests.support.lab import HOST, NO_GOOD_CERTIFICATE, Lab, default_config

from mtls_operator.envoy import RuleScript

PROTOCOLS = pytest.mark.parametrize("protocol", ["http1", "http2"])


@PROTOCOLS
def test_a_revoked_certificate_is_refused_on_its_open_connection_and_restored_again(
    lab: Lab, protocol: str
) -> None:
    with getattr(lab, protocol)("good") as client:
        assert client.get("/admin", HOST).status == 200
        lab.push_revocation(lab.revocation_text((1, 2)))
        assert client.get("/admin", HOST).status == 403
        assert client.get("/", HOST).status == 200
        lab.push_revocation(lab.revocation_text((2,)))
        assert client.get("/admin", HOST).status == 200


@PROTOCOLS
def test_an_issuer_taken_off_the_list_stops_counting_on_open_connections(lab: Lab, protocol: str) -> None:
    with getattr(lab, protocol)("good") as client:
        assert client.get("/admin", HOST).status == 200
        lab.push_rules(replace(lab.rules, issuers=()))
        assert client.get("/admin", HOST).status == 403
        assert "x-forwarded-client-cert" not in str(client.get("/", HOST).seen)


@PROTOCOLS
def test_a_certificate_that_expires_on_an_open_connection_stops_counting(lab: Lab, protocol: str) -> None:
    end = datetime.now(UTC) + timedelta(seconds=3)
    start = timedelta(minutes=-5)
    lifetime = end - (datetime.now(UTC) + start)
    lab.people.add("short", leaf(lab.people.ca, "short", index=5, start=start, lifetime=lifetime))
    with getattr(lab, protocol)("short") as client:
        assert client.get("/admin", HOST).status == 200
        eventually(lambda: client.get("/admin", HOST).status == 403, "the certificate has expired", seconds=6)
        assert time.time() >= end.timestamp() - 1


@PROTOCOLS
def test_a_new_rule_applies_to_open_connections(lab: Lab, protocol: str) -> None:
    with getattr(lab, protocol)() as client:
        assert client.get("/new", HOST).status == 200
        rule = RuleScript(
            "new", "block", (), f'{NO_GOOD_CERTIFICATE} and f["http.request.uri.path"] == "/new"'
        )
        lab.push_rules(replace(lab.rules, rules=(rule,)))
        assert client.get("/new", HOST).status == 403


@PROTOCOLS
def test_a_host_name_taken_off_is_misdirected_at_once(lab: Lab, protocol: str) -> None:
    with getattr(lab, protocol)("good") as client:
        assert client.get("/", HOST).status == 200
        lab.push_rules(replace(lab.rules, hostnames=("other.example.com",)))
        assert client.get("/", HOST).status == 421


@pytest.fixture(scope="module")
def ageing_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    lab = Lab(tmp_path_factory.mktemp("ageing"), config=replace(default_config(), max_connection_age=2))
    yield lab
    lab.close()


def test_a_stream_that_outlives_the_maximum_age_is_cut(ageing_lab: Lab) -> None:
    upgrade = [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("Sec-WebSocket-Version", "13"),
    ]
    with ageing_lab.http1("good") as client:
        assert client.get("/chat", HOST, upgrade).status == 101
        opened = time.monotonic()
        assert client.reader.read() == b""
        assert 1 < time.monotonic() - opened < 8
