"""What a refused client receives: one answer for every reason, with an id of ours and nothing of its own."""

from __future__ import annotations

import uuid
from dataclasses import replace

import pytest
from tests.support.clients import Answer
from tests.support.lab import ADMIN, HOST, Lab

from mtls_operator.envoy import RuleScript

NOT_GOOD = [None, "revoked", "foreign", "expired", "server-usage"]
BROKEN = "-- mtls-rules 1\nfunction envoy_on_request(handle) error('boom') end\n"
MARK = "reflect-me"
GRPC = [("content-type", "application/grpc"), ("te", "trailers")]


def neutral(answer: Answer) -> tuple[int, dict[str, str], bytes]:
    """Return an answer without what differs between any two: the id and the date."""
    given = answer.headers["x-request-id"]
    headers = {name: value.replace(given, "ID") for name, value in answer.headers.items() if name != "date"}
    return answer.status, headers, answer.body.replace(given.encode(), b"ID")


def ask(lab: Lab, person: str | None, protocol: str, *headers: tuple[str, str]) -> Answer:
    with getattr(lab, protocol)(person) as client:
        answer: Answer = client.get("/admin", HOST, list(headers))
        return answer


@pytest.mark.parametrize("accept", ["application/json", "text/plain"])
@pytest.mark.parametrize("protocol", ["http1", "http2"])
def test_the_answer_does_not_say_what_was_wrong_with_the_certificate(
    lab: Lab, protocol: str, accept: str
) -> None:
    answers = [neutral(ask(lab, person, protocol, ("accept", accept))) for person in NOT_GOOD]
    lab.push_revocation("-- mtls-revocation 1\nfunction envoy_on_request(handle) error('boom') end\n")
    answers.append(neutral(ask(lab, "good", protocol, ("accept", accept))))
    lab.push_rules(BROKEN)
    answers.append(neutral(ask(lab, "good", protocol, ("accept", accept))))
    assert all(answer == answers[0] for answer in answers)
    assert (answers[0][0], answers[0][1]["content-type"]) == (403, accept)


@pytest.mark.parametrize("protocol", ["http1", "http2"])
def test_the_id_is_a_fresh_one_in_header_and_body(lab: Lab, protocol: str) -> None:
    answers = [ask(lab, None, protocol, ("x-request-id", MARK)) for _ in range(2)]
    ids = [answer.headers["x-request-id"] for answer in answers]
    assert [str(uuid.UUID(given)) for given in ids] == ids
    assert ids[0] != ids[1]
    assert all(given.encode() in answer.body for given, answer in zip(ids, answers, strict=True))


@pytest.mark.parametrize("person", NOT_GOOD, ids=str)
@pytest.mark.parametrize("protocol", ["http1", "http2"])
def test_head_has_the_headers_of_the_answer_and_no_body(lab: Lab, protocol: str, person: str | None) -> None:
    get = ask(lab, person, protocol)
    with getattr(lab, protocol)(person) as client:
        if protocol == "http1":
            head = client.request("HEAD", "/admin", HOST)
        else:
            pseudo = [(":method", "HEAD"), (":scheme", "https"), (":authority", HOST), (":path", "/admin")]
            head = client.send(pseudo)
        assert client.get("/", HOST).status == 200
    assert head.body == b""
    assert neutral(head)[:2] == neutral(get)[:2]


@pytest.mark.parametrize("person", NOT_GOOD, ids=str)
def test_a_grpc_client_gets_permission_denied_in_one_block_of_headers(
    grpc_lab: Lab, person: str | None
) -> None:
    answer = ask(grpc_lab, person, "http2", *GRPC)
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["content-type"] == "application/grpc"
    assert answer.headers["grpc-status"] == "7"
    assert answer.headers["grpc-message"] == "client certificate required"
    assert str(uuid.UUID(answer.headers["x-request-id"]))
    assert grpc_lab.upstream.inbox.all() == []


def test_the_gate_answers_a_grpc_client_alike(grpc_lab: Lab) -> None:
    before = neutral(ask(grpc_lab, None, "http2", *GRPC))
    grpc_lab.push_rules(BROKEN)
    assert neutral(ask(grpc_lab, None, "http2", *GRPC)) == before


@pytest.mark.parametrize(
    ("status", "grpc_status"), [(400, "13"), (401, "16"), (403, "7"), (404, "12"), (429, "14"), (418, "2")]
)
def test_a_rules_own_answer_becomes_a_grpc_status_and_message(
    grpc_lab: Lab, status: int, grpc_status: str
) -> None:
    rule = replace(ADMIN, status=status, content_type="text/plain", body="ask ops\nfor ü 100%")
    grpc_lab.push_rules(replace(grpc_lab.rules, rules=(rule,)))
    answer = ask(grpc_lab, None, "http2", *GRPC)
    assert (answer.status, answer.headers["grpc-status"]) == (200, grpc_status)
    assert answer.headers["grpc-message"] == "ask ops%0Afor %C3%BC 100%25"


def test_a_client_that_only_calls_itself_grpc_is_refused_all_the_same(lab: Lab) -> None:
    answer = ask(lab, None, "http1", *GRPC)
    assert (answer.headers["grpc-status"], answer.body) == ("7", b"")
    assert lab.upstream.inbox.all() == []


def test_a_rules_own_answer_is_given_whatever_the_client_accepts(lab: Lab) -> None:
    rule = replace(ADMIN, status=401, content_type="text/x-own", body="own\n")
    lab.push_rules(replace(lab.rules, rules=(rule,)))
    for accept in ("application/json", "text/plain", "image/png"):
        answer = ask(lab, None, "http1", ("accept", accept))
        assert (answer.status, answer.headers["content-type"], answer.body) == (401, "text/x-own", b"own\n")


def test_a_refusal_is_kept_by_no_cache(lab: Lab) -> None:
    """404 and 410 may be kept without a word (RFC 9110, 15.1), and a cache may be shared with those who are let in."""
    lab.push_rules(replace(lab.rules, rules=(replace(ADMIN, status=404, body="not here"),)))
    assert ask(lab, None, "http1").headers["cache-control"] == "no-store"


@pytest.mark.parametrize("script", ["ours", "broken"])
@pytest.mark.parametrize("protocol", ["http1", "http2"])
@pytest.mark.parametrize(
    ("path", "host"), [("/admin", HOST), ("/%01", HOST), ("/", "reflect-me.example.com")]
)
def test_nothing_of_the_request_comes_back(
    lab: Lab, protocol: str, script: str, path: str, host: str
) -> None:
    if script == "broken":
        lab.push_rules(BROKEN)
    sent = [
        (name, f"{MARK}{number}")
        for number, name in enumerate(
            [
                "accept",
                "x-request-id",
                "user-agent",
                "cookie",
                "origin",
                "referer",
                "content-type",
                "traceparent",
            ]
        )
    ]
    with getattr(lab, protocol)() as client:
        answer = client.get(f"{path}?{MARK}", host, sent)
    assert answer.status in ({403, 400, 421} if script == "ours" else {403})
    assert MARK not in f"{answer.headers}{answer.body!r}"


@pytest.mark.parametrize(
    ("path", "host", "error"),
    [("/%01", HOST, b"malformed path"), ("/", "evil.example.com", b"misdirected request")],
)
def test_requests_that_are_not_for_us_are_answered_in_the_same_form(
    lab: Lab, path: str, host: str, error: bytes
) -> None:
    with lab.http2() as client:
        for accept, body in (
            ("*/*", b'{"error":"%s","request_id":"ID"}\n'),
            ("text/*", b"%s\nrequest id: ID\n"),
        ):
            assert neutral(client.get(path, host, [("accept", accept)]))[2] == body % error


@pytest.mark.parametrize(
    "sent",
    [
        [],
        [("X-Request-Id", "mine")],
        [("X-Request-Id", "a"), ("x-request-id", "b")],
        [("X-Request-Id", "01234567-89ab-4cde-8f01-23456789abcd"), ("X-Forwarded-For", "10.0.0.1")],
        [("X-Request-Id", "mine"), ("X-Envoy-Internal", "true"), ("X-Forwarded-For", "127.0.0.1")],
    ],
    ids=["none", "text", "twice", "anothers", "as-if-internal"],
)
@pytest.mark.parametrize("protocol", ["http1", "http2"])
def test_the_application_too_receives_an_id_of_ours(
    lab: Lab, protocol: str, sent: list[tuple[str, str]]
) -> None:
    lower = [(name.lower(), value) for name, value in sent]
    with getattr(lab, protocol)() as client:
        client.get("/", HOST, lower)
    (request,) = lab.upstream.inbox.all()
    (given,) = request.values("x-request-id")
    assert str(uuid.UUID(given)) == given
    assert given not in dict(lower).values()


def test_a_log_rule_changes_no_answer(lab: Lab) -> None:
    """Log mode: the same requests with and without it, refused and let in."""
    requests = [("/", None), ("/admin", None), ("/admin", "good"), ("/admin", "revoked"), ("/%01", "good")]

    def answers() -> list[tuple[int, str | None, bytes]]:
        found = []
        for path, person in requests:
            with lab.http1(person) as client:
                answer = client.get(path, HOST)
                given = answer.headers.get("x-request-id", "")
                body = answer.body.replace(given.encode(), b"ID") if given else b""
                found.append((answer.status, answer.headers.get("content-type"), body))
        return found

    before, seen = answers(), [request.headers for request in lab.upstream.inbox.all()]
    lab.upstream.inbox.clear()
    watch = tuple(RuleScript(f"watch-{number}", "log", (), "true") for number in range(50))
    lab.push_rules(replace(lab.rules, rules=(*watch, ADMIN, RuleScript("last", "log", (), "true"))))
    assert answers() == before
    now = [request.headers for request in lab.upstream.inbox.all()]
    assert [[name for name, _ in each] for each in now] == [[name for name, _ in each] for each in seen]
