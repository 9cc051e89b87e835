"""What a refused client is told, and in which form."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lupa.luajit21 import LuaRuntime

from mtls_operator.envoy.script import call

LUA = LuaRuntime(unpack_returned_tuples=True, encoding="latin-1")
ANSWER: Any = LUA.eval(call("answer"))
HEADERS: Any = LUA.eval("function(map) return { get = function(_, name) return map[name] end } end")
ID = "01234567-89ab-4cde-8f01-23456789abcd"
OWN = LUA.table_from({"body": "no\n", "content_type": "text/x-no"})


def answer(own: Any = None, **sent: str) -> tuple[dict[str, str], str]:
    """Return headers and body of the answer to a request with these headers."""
    headers = {"x-request-id": ID, **{name.replace("_", "-"): value for name, value in sent.items()}}
    fields, body = ANSWER(HEADERS(LUA.table_from(headers)), "403", "denied", own)
    return dict(fields), body


def test_the_default_is_json_with_the_requests_id() -> None:
    fields, body = answer()
    assert body == f'{{"error":"denied","request_id":"{ID}"}}\n'
    assert fields == {
        ":status": "403",
        "content-type": "application/json",
        "cache-control": "no-store",
        "x-request-id": ID,
    }


def test_plain_text_says_the_same() -> None:
    fields, body = answer(accept="text/plain")
    assert (fields["content-type"], body) == ("text/plain", f"denied\nrequest id: {ID}\n")


@pytest.mark.parametrize(
    "accept",
    [
        "",
        " , ",
        "*/*",
        "application/json",
        "Application/JSON",
        "application/*",
        "application/json; charset=utf-8",
        "application/json;q=0.5, */*;q=0.1",
        "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
        "text/plain;q=0.5, application/json",
        "text/plain, application/json",
        "text/*;q=0.4, */*;q=0.4",
        "application/json; q=1.0",
        "text/plain;q=0, */*",
    ],
)
def test_this_client_gets_json(accept: str) -> None:
    assert answer(accept=accept)[0]["content-type"] == "application/json"


@pytest.mark.parametrize(
    "accept",
    [
        "text/plain",
        "text/*",
        "text/html",
        "image/*",
        "application/xml",
        "text/plain, application/json;q=0.9",
        "text/plain, */*;q=0.1",
        "application/json;q=0, */*",
        "application/json; q=0",
        "*/*;q=0",
        "application/json-seq",
        "xapplication/json",
    ],
)
def test_this_client_gets_text(accept: str) -> None:
    assert answer(accept=accept)[0]["content-type"] == "text/plain"


@pytest.mark.parametrize("content_type", ["application/grpc", "application/grpc+proto"])
def test_a_grpc_client_gets_the_bare_text_which_envoy_makes_its_message(content_type: str) -> None:
    fields, body = answer(content_type=content_type, accept="text/plain")
    assert ("content-type" in fields, body) == (False, "denied")


@pytest.mark.parametrize(
    "content_type", ["application/grpc-web", "application/grpcx", "x/application/grpc", "grpc"]
)
def test_this_is_no_grpc_client(content_type: str) -> None:
    assert answer(content_type=content_type)[0]["content-type"] == "application/json"


@pytest.mark.parametrize("accept", ["application/json", "text/plain"])
def test_an_answer_of_the_rules_author_is_given_as_it_is(accept: str) -> None:
    fields, body = answer(OWN, accept=accept)
    assert (fields["content-type"], body) == ("text/x-no", "no\n")
    assert fields["x-request-id"] == ID


@pytest.mark.parametrize(
    "forged", ["mine", "", ID + "0", '","x":"' + "a" * 30, "<script>alert(document.cookie)</sc>x"]
)
def test_a_text_that_is_no_id_of_ours_does_not_come_back(forged: str) -> None:
    fields, body = answer(x_request_id=forged)
    assert "x-request-id" not in fields
    assert body == '{"error":"denied"}\n'
    assert answer(x_request_id=forged, accept="text/plain")[1] == "denied\n"


@given(
    st.dictionaries(
        st.sampled_from(["accept", "content-type", "user-agent", "cookie", ":path"]),
        st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF), max_size=60),
    )
)
def test_nothing_that_the_client_sends_comes_back(sent: dict[str, str]) -> None:
    fields, body = answer(**sent)
    assert body in {
        f'{{"error":"denied","request_id":"{ID}"}}\n',
        f"denied\nrequest id: {ID}\n",
        "denied",
    }
    assert set(fields.values()) <= {"403", "application/json", "text/plain", "no-store", ID}


@pytest.mark.parametrize(
    "accept", ["*/*, " * 12_000, ";" * 60_000, "a" + " " * 60_000, "a;" + " q=" * 20_000]
)
def test_a_long_accept_header_is_not_read_to_its_end(accept: str) -> None:
    fields, _ = answer(accept=accept)
    assert fields["content-type"] in {"application/json", "text/plain"}
