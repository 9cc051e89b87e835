"""The access log: what was refused and what a rule wants logged, one JSON line each, without secrets."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from tests.support.envoy import eventually
from tests.support.lab import ADMIN, HOST, Lab

from mtls_operator.api.names import READY_PATH
from mtls_operator.envoy import RuleScript


def lines_since(lab: Lab, send: Callable[[], object]) -> list[dict[str, Any]]:
    """Return the lines of the requests that ``send`` makes; a request of our own marks the end."""
    start = lab.proxy.out.stat().st_size
    send()
    with lab.http1() as client:
        client.get("/admin?", HOST, [("X-Request-Id", "end")])

    def lines() -> list[dict[str, Any]]:
        with lab.proxy.out.open() as out:
            out.seek(start)
            return [json.loads(line) for line in out.read().splitlines()]

    eventually(lambda: any(line["request_id"] == "end" for line in lines()), "the log is written")
    return [line for line in lines() if line["request_id"] != "end"]


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
        "rule": "admin",
        "status": 403,
        "method": "GET",
        "host": HOST,
        "path": "/admin",
        "sni": HOST,
        "request_id": "mine",
        "serial": pair.serial_hex,
        "fingerprint": pair.digest,
        "revoked": "1",
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
    assert (line["action"], line["rule"], line["status"]) == ("log", "watch", 200)


def test_a_skip_is_not_logged(lab: Lab) -> None:
    skip = RuleScript("skip", "skip", (), 'f["http.request.uri.path"] == "/skip"')
    lab.push_rules(replace(lab.rules, rules=(skip, ADMIN)))
    assert lines_since(lab, get(lab, None, "/skip")) == []


def test_every_rule_that_applied_is_named(lab: Lab) -> None:
    lab.push_rules(replace(lab.rules, rules=(RuleScript("watch", "log", (), "true"), ADMIN)))
    (line,) = lines_since(lab, get(lab, None, "/admin;x"))
    assert (line["action"], line["rule"], line["status"]) == ("block", "watch,admin", 403)


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


def test_a_request_by_an_unknown_certificate_state_is_logged(lab: Lab) -> None:
    lab.push_revocation("-- mtls-revocation 1\nfunction envoy_on_request(handle) error('boom') end\n")
    (line,) = lines_since(lab, get(lab, "good", "/"))
    assert (line["action"], line["status"], line["revoked"]) == ("unknown", 403, None)
