"""The access log: what was refused and what a rule wants logged, one JSON line each, without secrets."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.support.certs import authority, leaf
from tests.support.envoy import eventually
from tests.support.lab import ADMIN, HOST, Lab, next_epoch

from mtls_operator.api.names import READY_PATH
from mtls_operator.envoy import RuleScript
from mtls_operator.envoy.access_log import FIELDS

_numbers = itertools.count()


def lines_since(lab: Lab, send: Callable[[], object]) -> list[dict[str, Any]]:
    """Return the lines of the requests that ``send`` makes; requests to no host of ours mark begin and end."""
    number = next(_numbers)
    begin, end = f"begin-{number}.invalid", f"end-{number}.invalid"
    mark(lab, begin)
    send()
    mark(lab, end)

    def lines() -> list[dict[str, Any]]:
        return [json.loads(line) for line in lab.proxy.out.read_text().splitlines()]

    eventually(lambda: any(line["host"] == end for line in lines()), "the log is written")
    hosts = [line["host"] for line in lines()]
    return lines()[hosts.index(begin) + 1 : hosts.index(end)]


def mark(lab: Lab, host: str) -> None:
    with lab.http1() as client:
        client.get("/", host)


def get(lab: Lab, person: str | None, path: str, host: str = HOST) -> Callable[[], object]:
    def send() -> object:
        with lab.http1(person) as client:
            return client.get(path, host, [("X-Request-Id", "mine")])

    return send


def test_a_request_that_passes_is_not_logged(lab: Lab) -> None:
    assert lines_since(lab, get(lab, "good", "/admin")) == []


def test_readiness_probes_are_not_logged(lab: Lab) -> None:
    assert lines_since(lab, get(lab, None, READY_PATH, "10.0.0.1")) == []


def test_a_blocked_request_is_logged_with_its_rule_and_certificate(lab: Lab) -> None:
    (line,) = lines_since(lab, get(lab, "revoked", "/admin?password=secret"))
    pair = lab.people.pairs["revoked"]
    expected = {
        "action": "block",
        "status": 403,
        "method": "GET",
        "host": HOST,
        "path": "/admin",
        "sni": HOST,
        "rule": "admin",
        "log_rules": None,
        "presented": True,
        "verified": True,
        "revoked": True,
        "unknown": False,
        "subject": "CN=revoked",
        "serial": pair.serial_hex,
        "fingerprint": pair.digest,
        "tls": "TLSv1.3",
    }
    assert {key: line[key] for key in expected} == expected
    assert "secret" not in json.dumps(line)


@pytest.mark.parametrize(
    ("path", "host", "action", "status"),
    [("/", "evil.example.com", "misdirected", 421), ("/%01", HOST, "malformed", 400)],
)
def test_a_request_that_is_not_for_us_is_logged(
    lab: Lab, path: str, host: str, action: str, status: int
) -> None:
    (line,) = lines_since(lab, get(lab, "good", path, host))
    assert (line["action"], line["status"]) == (action, status)


def test_a_log_rule_is_logged_and_passes(lab: Lab) -> None:
    lab.push_rules(replace(lab.rules, rules=(RuleScript("watch", "log", (), "true"), ADMIN)))
    (line,) = lines_since(lab, get(lab, "good", "/x"))
    assert (line["action"], line["rule"], line["log_rules"], line["status"]) == ("log", None, ["watch"], 200)


def test_a_skip_is_not_logged(lab: Lab) -> None:
    skip = RuleScript("skip", "skip", (), 'f["http.request.uri.path"] == "/skip"')
    lab.push_rules(replace(lab.rules, rules=(skip, ADMIN)))
    assert lines_since(lab, get(lab, None, "/skip")) == []


def test_every_rule_that_applied_is_named(lab: Lab) -> None:
    lab.push_rules(replace(lab.rules, rules=(RuleScript("watch", "log", (), "true"), ADMIN)))
    (line,) = lines_since(lab, get(lab, None, "/admin;x"))
    assert (line["action"], line["rule"], line["log_rules"]) == ("block", "admin", ["watch"])


def test_a_request_without_a_decision_is_logged(lab: Lab) -> None:
    text = "-- mtls-rules 1\nfunction envoy_on_request(handle)\n"
    text += 'if handle:headers():get(":path") == "/" then error("boom") end\n'
    text += 'handle:respond({[":status"] = "403"}, "") end\n'
    lab.push_rules(text)
    (line,) = lines_since(lab, get(lab, "good", "/"))
    assert line["details"].startswith("rbac_access_denied")


def test_a_grpc_request_without_a_decision_is_logged_although_its_answer_has_the_status_200(lab: Lab) -> None:
    lab.push_rules("-- mtls-rules 1\nfunction envoy_on_request(handle) error('boom') end\n")

    def send() -> None:
        with lab.http2("good") as client:
            answer = client.get("/", HOST, [("content-type", "application/grpc+proto"), ("te", "trailers")])
            assert (answer.status, answer.headers["grpc-status"]) == (200, "7")

    start = lab.proxy.out.stat().st_size
    send()
    eventually(lambda: lab.proxy.out.stat().st_size > start, "the log is written")
    (line,) = [json.loads(text) for text in lab.proxy.out.read_text()[start:].splitlines()]
    assert line["details"].startswith("rbac_access_denied")


def test_a_request_that_the_proxy_redirects_is_logged(lab: Lab) -> None:
    (line,) = lines_since(lab, get(lab, "good", "/a%2Fadmin"))
    assert (line["action"], line["status"]) == (None, 307)


def test_a_request_that_envoy_refuses_itself_is_logged(lab: Lab) -> None:
    (line,) = lines_since(lab, get(lab, "good", "/admin#x"))
    assert line["status"] == 400


def test_a_refused_request_is_found_by_the_id_that_the_client_was_told(lab: Lab) -> None:
    told: list[str] = []

    def send() -> None:
        with lab.http1() as client:
            told.append(client.get("/admin", HOST, [("X-Request-Id", "mine")]).headers["x-request-id"])

    (line,) = lines_since(lab, send)
    assert [line["request_id"]] == told


def test_a_client_cannot_put_an_id_of_its_own_into_the_log(lab: Lab) -> None:
    """Envoy refuses these before it replaces the id."""
    (line,) = lines_since(lab, get(lab, "good", "/admin#x"))
    assert line["details"] == "path_normalization_failed"
    assert not line["request_id"]


def test_the_gates_refusal_has_the_requests_id_too(lab: Lab) -> None:
    lab.push_rules("-- mtls-rules 1\nfunction envoy_on_request(handle) error('boom') end\n")
    (line,) = lines_since(lab, get(lab, "good", "/"))
    assert len(line["request_id"]) == len("01234567-89ab-4cde-8f01-23456789abcd")


def test_the_epochs_of_rules_and_revocations_are_those_in_force(lab: Lab) -> None:
    rules, revocation = next_epoch(), next_epoch()
    lab.push_rules(lab.rules_text(lab.rules, rules))
    lab.push_revocation(lab.revocation_text(epoch=revocation))
    (line,) = lines_since(lab, get(lab, "revoked", "/admin"))
    assert (line["rules_epoch"], line["revocation_epoch"]) == (rules, revocation)


def test_a_certificate_that_no_issuer_of_ours_signed_is_presented_and_not_verified(lab: Lab) -> None:
    (line,) = lines_since(lab, get(lab, "foreign", "/admin"))
    assert (line["presented"], line["verified"], line["revoked"]) == (True, False, False)
    assert line["fingerprint"] == lab.people.pairs["foreign"].digest


def test_without_a_certificate_there_are_no_facts_of_one(lab: Lab) -> None:
    (line,) = lines_since(lab, get(lab, None, "/admin"))
    assert (line["presented"], line["verified"], line["revoked"]) == (False, False, False)
    assert (line["serial"], line["subject"], line["fingerprint"]) == (None, None, None)


def test_a_certificates_text_stays_within_its_field(lab: Lab) -> None:
    """Whoever signs a certificate of his own chooses its names."""
    name = 'x","action":"allow"}\n{"event":"request\\' + "\x1b[31m\u202eü"
    lab.people.add("hostile", leaf(authority("foreign"), name, index=1))
    (line,) = lines_since(lab, get(lab, "hostile", "/admin"))
    assert (line["action"], line["verified"]) == ("block", False)
    assert line["subject"].isascii()
    assert line["subject"].isprintable()


def test_long_texts_of_a_client_are_cut(lab: Lab) -> None:
    long = RuleScript("long", "block", (), "true")
    lab.push_rules(replace(lab.rules, rules=(long,)))
    lab.people.add("long", leaf(authority("foreign"), "c" * 64, index=1, organization="o" * 20_000))
    path, method = "/" + "p" * 30_000, "M" * 5_000

    def send() -> None:
        with lab.http1("long") as client:
            assert client.request(method, path, HOST).status in {400, 403}
        with lab.http2("long") as client:
            assert client.get(path, HOST).status == 403

    for line in lines_since(lab, send):
        assert len(json.dumps(line)) < 4_000


def test_quotes_and_other_alphabets_of_a_request_are_escaped(lab: Lab) -> None:
    block = RuleScript("all", "block", (), "true")
    lab.push_rules(replace(lab.rules, rules=(block,)))
    paths = ['/a"b', '/","action":"allow"}{"', "/a'b<c>", "/%C3%BC%F0%9F%94%91"]
    normalised = ["/a%22b", "/%22,%22action%22:%22allow%22%7D%7B%22", "/a'b%3Cc%3E", "/%C3%BC%F0%9F%94%91"]

    def send() -> None:
        with lab.http2() as client:
            for path in paths:
                assert client.get(path, HOST, [("x-request-id", '"}{')]).status == 403

    lines = lines_since(lab, send)
    assert [(line["path"], line["action"]) for line in lines] == [(path, "block") for path in normalised]


@pytest.mark.parametrize(
    ("path", "host", "header"),
    [
        ("/\x01\x1b[31m", HOST, "x"),
        ("/\xff\xfe", HOST, "x"),
        ("/a\r\nb", HOST, "x"),
        ("/", f'{HOST}"', "x"),
        ("/", f"{HOST}\xff", "x"),
        ("/", HOST, "\x1b[31m"),
        ("/", HOST, 'a\r\n{"event":"request"}'),
    ],
)
@pytest.mark.parametrize("protocol", ["http1", "http2"])
def test_a_control_character_of_a_request_stays_out_of_the_log_or_is_escaped(
    lab: Lab, protocol: str, path: str, host: str, header: str
) -> None:
    def send() -> None:
        with getattr(lab, protocol)() as client:
            client.get(path, host, [("user-agent", header), ("x-request-id", header)])

    lines = lines_since(lab, send)
    assert len(lines) <= 1
    for line in lines:
        assert json.dumps(line, ensure_ascii=False).isprintable()
        assert not line["request_id"] or header not in line["request_id"]


def test_every_field_is_explained_in_the_documentation(lab: Lab) -> None:
    text = (Path(__file__).parents[3] / "docs" / "operations.md").read_text()
    (line,) = lines_since(lab, get(lab, None, "/admin"))
    assert set(line) == set(FIELDS)
    _, _, section = text.partition("## Access log")
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    assert [field for field in FIELDS if f"`{field}`" not in "".join(rows)] == []


def test_a_request_by_an_unknown_certificate_state_is_logged(lab: Lab) -> None:
    lab.push_revocation("-- mtls-revocation 1\nfunction envoy_on_request(handle) error('boom') end\n")
    (line,) = lines_since(lab, get(lab, "good", "/"))
    assert (line["action"], line["status"], line["unknown"]) == ("unknown", 403, True)
