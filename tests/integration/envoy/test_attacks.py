"""A client that tries to be somebody else, to hide a request, or to name a path as the application alone reads it."""

from __future__ import annotations

import re
import ssl
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import unquote

import pytest
from tests.support.certs import leaf
from tests.support.envoy import eventually
from tests.support.lab import HOST, NO_GOOD_CERTIFICATE, OTHER_HOST, Lab
from tests.support.upstream import NO_SOCKET

from mtls_operator.api.names import REVOCATION_KEY, RULES_KEY
from mtls_operator.envoy import RuleScript
from mtls_operator.plan import epochs
from mtls_operator.plan.rule_scripts import rule_script
from mtls_operator.rules import parse, to_lua

#: How often a script looks at its mounted file.
CHECK_SECONDS = 2
PATH = 'f["http.request.uri.path"]'
#: Paths of a rule, each with a character that may also be written as an escape.
DELIMITED = RuleScript(
    "delimited",
    "block",
    (
        '{ ["/v1/x:cancel"] = true, ["/@admin"] = true, ["/caf%C3%A9"] = true, ["/a;b"] = true, ["/a!(b)"] = true }',
    ),
    f"{NO_GOOD_CERTIFICATE} and K[1][{PATH}] == true",
)
PROTOCOLS = pytest.mark.parametrize("protocol", ["http1", "http2"])


# Escapes


@PROTOCOLS
@pytest.mark.parametrize(
    "target",
    [
        "/v1/x:cancel",
        "/v1/x%3Acancel",
        "/v1/x%3acancel",
        "/v1/x%3acancel;v=1",
        "/v1/x%3acancel%3bv=1",
        "/v1/;/x%3acancel",
        "/@admin",
        "/%40admin",
        "/y/..;/%40admin",
        "/caf%C3%A9",
        "/caf%c3%a9",
        "/caf%C3%a9?x=1",
        "/a;b",
        "/a%3Bb",
        "/a%3bb",
        "/a%21%28b%29",
        "/a!%28b)",
    ],
)
def test_an_escape_does_not_hide_a_path(lab: Lab, protocol: str, target: str) -> None:
    lab.push_rules(replace(lab.rules, rules=(DELIMITED,)))
    with getattr(lab, protocol)() as client:
        assert client.get(target, HOST).status == 403
    with getattr(lab, protocol)("good") as client:
        assert client.get(target, HOST).status == 200


@PROTOCOLS
@pytest.mark.parametrize("target", ["/", "//", "///", "/.//", "//./", "/x/..//", "//?x=1"])
def test_a_path_of_slashes_only_is_the_root(lab: Lab, protocol: str, target: str) -> None:
    """Envoy leaves two slashes of such a path."""
    code = to_lua(parse('not cf.tls_client_auth.cert_verified and http.request.uri.path eq "/"'))
    root = rule_script("root", code, action="block")
    lab.push_rules(replace(lab.rules, rules=(root,)))
    with getattr(lab, protocol)() as client:
        assert client.get(target, HOST).status == 403
    with getattr(lab, protocol)("good") as client:
        assert client.get(target, HOST).status == 200
    assert [request.target.split("?")[0] for request in lab.upstream.inbox.all()] == ["/"]


@PROTOCOLS
@pytest.mark.parametrize(
    ("sent", "arrives"),
    [
        ("/caf%c3%a9", "/caf%C3%A9"),
        ("/x%3ay?q=%c3&r=%2f", "/x%3Ay?q=%c3&r=%2f"),
        ("/x%3ay?", "/x%3Ay?"),
        ("/100%25c3", "/100%25c3"),
        ("/a%20b", "/a%20b"),
    ],
)
def test_the_application_receives_escapes_in_upper_case_and_the_query_as_it_was(
    lab: Lab, protocol: str, sent: str, arrives: str
) -> None:
    with getattr(lab, protocol)() as client:
        assert client.get(sent, HOST).status == 200
    assert [request.target for request in lab.upstream.inbox.all()] == [arrives]


@PROTOCOLS
@pytest.mark.parametrize(
    "target",
    [
        "/%c0%afadmin",
        "/x/%C0%AE%C0%AE/admin",
        "/%c1%81dmin",
        "/%e0%80%afadmin",
        "/%E0%9F%BF",
        "/%f0%80%80%afadmin",
        "/%u0061dmin",
        "/admin%",
        "/admin%4",
        "/%4xadmin",
        "/x%zz",
    ],
)
def test_an_escape_that_readers_understand_differently_is_refused(
    lab: Lab, protocol: str, target: str
) -> None:
    with getattr(lab, protocol)("good") as client:
        assert client.get(target, HOST).status == 400
    assert lab.upstream.inbox.all() == []


@PROTOCOLS
@pytest.mark.parametrize(
    "target",
    [
        "/%%36%31dmin",
        "/%6%31dmin",
        "/%2%35%36%31dmin",
        "/x/%%32%65%%32%65/admin",
        "/x/.%%32e/admin",
        "/x%%32%46..%%32%46admin",
        "/x%2%46..%2%46admin",
        "/x%%35%43..%%35%43admin",
        "/%%30%30admin",
    ],
)
def test_an_escape_made_of_escapes_is_no_escape_when_it_arrives(lab: Lab, protocol: str, target: str) -> None:
    """Decoded once, as an application does, it must not be another path than the one that was judged."""
    with getattr(lab, protocol)() as client:
        client.get(target, HOST)
    for request in lab.upstream.inbox.all():
        read = unquote(request.target)
        assert "%" in read
        assert not {"\0", "\\"} & set(read)
        assert {"..", "."}.isdisjoint(read.split("/"))


def test_escapes_in_other_scripts_of_the_world_pass(lab: Lab) -> None:
    for text in ("é", "ß", "漢", "😀", "ࠀ", "𐀀"):
        with lab.http1() as client:
            target = "/" + "".join(f"%{byte:02X}" for byte in text.encode())
            assert client.get(target, HOST).status == 200, text


# Requests within requests


@pytest.mark.parametrize(
    "second",
    [
        b"GET /admin HTTP/1.1\r\nHost: api.example.com\r\n\r\n",
        b"GET /x/../admin HTTP/1.1\r\nHost: api.example.com\r\n\r\n",
        b"TRACE /admin HTTP/1.1\r\nHost: api.example.com\r\n\r\n",
        b"GET https://user:pw@api.example.com/admin HTTP/1.1\r\nHost: api.example.com\r\n\r\n",
        b"GET /admin HTTP/1.1\r\nHost: api.example.com:443\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n",
    ],
)
def test_each_request_of_a_pipeline_is_judged(lab: Lab, second: bytes) -> None:
    with lab.http1() as client:
        assert client.raw(b"GET / HTTP/1.1\r\nHost: api.example.com\r\n\r\n" + second).status == 200
        assert client.read().status == 403
    assert [request.target for request in lab.upstream.inbox.all()] == ["/"]


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"get /admin HTTP/1.1\r\nHost: api.example.com\r\n\r\n",
        b"GET /admin HTTP/0.9\r\n\r\n",
        b"GET /admin\r\n\r\n",
        b"GET /\x00admin HTTP/1.1\r\nHost: api.example.com\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: api.example.com\r\nX: a\x00b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: \xef\xbd\x81pi.example.com\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: [::1]\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: xn--api-x.example.com\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: api.example.com\r\n\r\n",
        b"\r\n\r\n\r\nGARBAGE\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
def test_this_request_does_not_reach_the_application(lab: Lab, request_bytes: bytes) -> None:
    with lab.http1("good") as client:
        client.raw(request_bytes)
    assert lab.upstream.inbox.all() == []


def _request(**pseudo: str) -> list[tuple[str, str]]:
    head = {"method": "GET", "scheme": "https", "authority": HOST, "path": "/"} | pseudo
    return [(f":{name}", value) for name, value in head.items()]


@pytest.mark.parametrize(
    "headers",
    [
        [*_request(), ("connection", "upgrade"), ("upgrade", "websocket")],
        [*_request(), ("transfer-encoding", "chunked")],
        [*_request(), ("X-Upper", "1")],
        [*_request(), (":path", "/admin")],
        [*_request(), ("x", "a\r\nx-forwarded-client-cert: Hash=forged")],
        [*_request(), ("x", "a\nb")],
        [*_request(), ("x\r\ny", "a")],
        [("x", "1"), *_request()],
        [*_request(), ("te", "gzip")],
        [*_request(), ("content-length", "5")],
        _request(method="GET /admin HTTP/1.1\r\nHost: api.example.com\r\n\r\nGET"),
        _request(path="/ HTTP/1.1\r\nX: y"),
        _request(path="/ x"),
        _request(path="/public?x#/admin"),
        _request(path=""),
        _request(authority=f"user@{HOST}"),
        _request(authority=f"{HOST}/admin"),
        _request(authority=f"{HOST}?x"),
        _request(method="CONNECT", protocol="websocket", path="/admin"),
        _request(method="CONNECT", protocol="connect-udp"),
    ],
)
def test_this_http2_request_does_not_reach_the_application(
    lab: Lab, headers: Sequence[tuple[str, str]]
) -> None:
    with lab.http2("good") as client:
        assert client.send(headers).status in {0, 400}
    assert lab.upstream.inbox.all() == []


@pytest.mark.parametrize("filling", ["a/", "..;/", "a/..;/", "%3A", "%3B;", "%c3%a9;/"])
def test_a_very_long_path_is_judged_to_its_end(lab: Lab, filling: str) -> None:
    ending = RuleScript("ending", "block", (), f'{NO_GOOD_CERTIFICATE} and {PATH}:sub(-6) == "/admin"')
    lab.push_rules(replace(lab.rules, rules=(ending,)))
    with lab.http1() as client:
        assert client.get("/" + filling * (50_000 // len(filling)) + "/admin", HOST).status == 403
    assert lab.upstream.inbox.all() == []


def test_an_answer_that_is_no_upgrade_opens_no_tunnel(lab: Lab) -> None:
    """Bytes behind an upgrade that the application did not accept are a request like any other."""
    upgrade = (
        b"GET / HTTP/1.1\r\nHost: api.example.com\r\nConnection: Upgrade\r\nUpgrade: websocket2\r\n\r\n"
        b"GET /admin HTTP/1.1\r\nHost: api.example.com\r\n\r\n"
    )
    with lab.http1() as client:
        first = client.raw(upgrade).status
        second = client.read().status
    assert (first, second) in {(200, 403), (403, 0), (403, 403)}
    assert "/admin" not in [request.target for request in lab.upstream.inbox.all()]


@pytest.mark.parametrize(
    ("method", "framing"),
    [
        (b"GET", b"\r\n"),
        (b"GET", b"Content-Length: 0\r\n\r\n"),
        (b"POST", b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        (b"POST", b"Transfer-Encoding: chunked\r\n\r\n2e\r\n"),
    ],
)
@pytest.mark.parametrize("later", [True, False])
def test_an_application_without_websockets_receives_nothing_behind_the_request_for_one(
    lab: Lab, method: bytes, framing: bytes, *, later: bool
) -> None:
    """The proxy takes what follows for the tunnel's; to the application it would be a request that nobody judged."""
    upgrade = b"Host: api.example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    head = b"%b %b HTTP/1.1\r\n%b%b" % (method, NO_SOCKET.encode(), upgrade, framing)
    hidden = b"GET /admin HTTP/1.1\r\nHost: api.example.com\r\n\r\n"
    with lab.http1() as client:
        client.socket.sendall(head if later else head + hidden)
        if later:
            eventually(lambda: len(lab.upstream.inbox.all()) == 1, "the request has arrived")
            client.socket.sendall(hidden)
        # Both connections of the proxy end with the answer, so that nothing of the rest can follow.
        assert client.read().status == 200
        assert client.reader.read() == b""
    assert [request.target for request in lab.upstream.inbox.all()] == [NO_SOCKET]


# Connections and revocation


def test_a_request_that_began_before_a_revocation_and_ends_after_it_is_refused(lab: Lab) -> None:
    with lab.http1("good") as client:
        client.socket.sendall(b"GET /admin HTTP/1.1\r\nHost: api.exam")
        lab.push_revocation(lab.revocation_text((1, 2)))
        assert client.raw(b"ple.com\r\n\r\n").status == 403
    assert lab.upstream.inbox.all() == []


def test_requests_that_are_sent_ahead_are_judged_when_their_turn_comes(lab: Lab) -> None:
    one = b"GET /admin HTTP/1.1\r\nHost: api.example.com\r\n\r\n"
    with lab.http1("good") as client:
        assert client.raw(one).status == 200
        lab.push_revocation(lab.revocation_text((1, 2)))
        answers = [client.raw(one * 3).status, client.read().status, client.read().status]
    assert answers[0] == 403
    assert set(answers) <= {403, 0}
    assert len(lab.upstream.inbox.all()) == 1


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def test_a_connection_of_a_revoked_certificate_cannot_be_taken_up_again(
    lab: Lab, version: ssl.TLSVersion
) -> None:
    with lab.http1("good", version=version) as client:
        assert client.get("/admin", HOST).status == 200
        session = client.socket.session
    lab.push_revocation(lab.revocation_text((1, 2)))
    assert session is None or (session.ticket_lifetime_hint == 0 and not session.has_ticket)
    with lab.http1("good", version=version) as client:
        assert client.socket.session_reused is False
        assert client.get("/admin", HOST).status == 403


@PROTOCOLS
def test_a_connection_serves_the_host_that_it_was_opened_for_only(lab: Lab, protocol: str) -> None:
    with getattr(lab, protocol)("good") as client:
        assert client.get("/", HOST).status == 200
        assert client.get("/", OTHER_HOST).status == 421
        assert client.get("/", HOST).status == 200


# What the application is told


def _elements(header: str) -> list[list[tuple[str, str]]]:
    r"""Read x-forwarded-client-cert as Envoy documents it: elements by ``,``, pairs by ``;``, quotes with ``\"``."""
    elements: list[list[tuple[str, str]]] = [[]]
    text, quoted, position = "", False, 0

    def end() -> None:
        key, _, value = text.partition("=")
        elements[-1].append((key, value))

    while position < len(header):
        character = header[position]
        if quoted and character == "\\":
            text += header[position : position + 2]
            position += 2
            continue
        if character == '"':
            quoted = not quoted
        elif character in ",;" and not quoted:
            end()
            text = ""
            if character == ",":
                elements.append([])
            position += 1
            continue
        text += character
        position += 1
    end()
    return elements


@pytest.mark.parametrize(
    "name",
    [
        'x",Hash=forged;URI=spiffe://admin',
        'x";Hash=forged;Subject="CN=admin',
        "x\\",
        'x\\"',
        'x\\",By=forged',
        "x,CN=admin",
        "x+CN=admin",
        "#x",
        "x<y>=z",
    ],
)
def test_a_subject_cannot_forge_a_second_element_of_the_certificate_header(lab: Lab, name: str) -> None:
    person = lab.people.add("odd", leaf(lab.people.ca, name, index=6))
    with lab.http1("odd") as client:
        assert client.get("/admin", HOST).status == 200
    (value,) = lab.upstream.inbox.all()[0].values("x-forwarded-client-cert")
    (element,) = _elements(value)
    assert [key for key, _ in element] == ["Hash", "Subject", "URI"]
    assert dict(element)["URI"] == ""
    assert dict(element)["Hash"] == person.digest
    assert dict(element)["Subject"].startswith('"CN=')


# Who can write the files of a pod for a moment


@pytest.fixture
def own_lab(tmp_path: Path) -> Iterator[Lab]:
    """A proxy of its own, connected: what its files say must not depend on other tests."""
    lab = Lab(tmp_path)
    lab.reset()
    yield lab
    lab.close()


@pytest.mark.parametrize("epoch", [2**53 - 1, (2**40) * 8, int((time.time() + 3650 * 86_400) * 1000)])
def test_a_file_that_is_newer_than_the_operator_believes_never_takes_over(own_lab: Lab, epoch: int) -> None:
    """It would stay in force after the operator has put the file right, and nothing would show it."""
    lab = own_lab
    open_rules = replace(lab.rules, rules=())
    lab.site.change("host", {RULES_KEY: lab.rules_text(open_rules, epoch=epoch)})
    lab.site.change("revocation", {REVOCATION_KEY: lab.revocation_text((), epoch=epoch)})
    until = time.monotonic() + 4 * CHECK_SECONDS
    with lab.http1() as nobody, lab.http1("revoked") as revoked:
        while time.monotonic() < until:
            assert nobody.get("/admin", HOST).status == 403
            assert revoked.get("/admin", HOST).status == 403
            time.sleep(0.1)
    # Files that are put right, and newer than what was pushed, are followed as ever.
    lab.site.change("host", {RULES_KEY: lab.rules_text(open_rules)})
    with lab.http1() as nobody:
        eventually(lambda: nobody.get("/admin", HOST).status == 200, "the file is in force", seconds=6)


def test_the_proxy_follows_no_epoch_that_the_operator_would_not_take_for_its_own() -> None:
    script = (Path(epochs.__file__).parents[1] / "envoy" / "lua" / "follow.lua").read_text()
    (days,) = re.findall(r"FARTHEST_SECONDS = (\d+) \* 86400", script)
    now = datetime.now(UTC)
    followed = int((now + timedelta(days=int(days))).timestamp() * 1000)
    assert epochs.credible(followed, now=now - timedelta(hours=12)) == followed
    assert epochs.next_epoch([followed], now=now) == followed + 1
