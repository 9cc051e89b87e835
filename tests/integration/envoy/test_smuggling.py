"""Whatever a client writes into headers and trailers, the application learns of the certificate only what we say.

One matrix: each header in each odd spelling, for each kind of client, over each protocol. A spelling either
never arrives (the proxy drops the header, or refuses the request) or arrives with our own value.
"""

from __future__ import annotations

import base64
import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from tests.support.certs import Pair
from tests.support.clients import GONE, Answer
from tests.support.envoy import eventually
from tests.support.lab import HOST, Lab
from tests.support.upstream import Received

from mtls_operator.envoy import Forwarded

XFCC = "x-forwarded-client-cert"
NAMES = (
    XFCC,
    "client-cert",
    "client-cert-chain",
    "cf-client-cert-der-base64",
    "cf-client-cert-sha256",
    "cf-client-cert-anything",
)
EVERY: tuple[Forwarded, ...] = ("xfcc", "rfc9440", "cloudflare")
FORGED = "Forged"
#: A header of no meaning: what stays within its value is harmless.
PLAIN = "x-plain"

Spellings = dict[str, Callable[[str], list[tuple[str, str]]]]

#: Spellings that the proxy accepts as a header: it must not arrive, or be ours.
ACCEPTED: Spellings = {
    "as it is": lambda name: [(name, FORGED)],
    "twice": lambda name: [(name, FORGED), (name, f"{FORGED} again")],
    "underscores": lambda name: [(name.replace("-", "_"), FORGED)],
    "one underscore": lambda name: [("_".join(name.rsplit("-", 1)), FORGED)],
    "the first an underscore": lambda name: [(name.replace("-", "_", 1), FORGED)],
    "dots": lambda name: [(name.replace("-", "."), FORGED)],
    "one dot": lambda name: [(name.replace("-", ".", 1), FORGED)],
    "odd characters": lambda name: [(name.replace("-", sign), FORGED) for sign in "!#$%&'*+^`|~"],
    "empty": lambda name: [(name, "")],
    "empty and then not": lambda name: [(name, ""), (name, FORGED)],
    "a list": lambda name: [(name, f"{FORGED}, {FORGED}")],
    "hop-by-hop": lambda name: [("connection", name), (name, FORGED)],
}
#: Also with letters of both cases, which HTTP/2 has not.
HTTP1_ACCEPTED: Spellings = ACCEPTED | {
    "upper case": lambda name: [(name.upper(), FORGED)],
    "title case": lambda name: [(name.title(), FORGED)],
    "odd case": lambda name: [(name.title().swapcase(), FORGED)],
    "both cases": lambda name: [(name.title(), FORGED), (name, FORGED), (name.upper(), FORGED)],
    "underscores in upper case": lambda name: [(name.upper().replace("-", "_"), FORGED)],
    "blanks around the value": lambda name: [(name, f" \t {FORGED} \t ")],
    "nothing behind the name": lambda name: [(name, f"{FORGED}\r\n{name}:{FORGED}")],
    "an end of line without CR": lambda name: [(PLAIN, f"a\n{name}: {FORGED}")],
    # A line that begins with a blank goes on with the value before (RFC 9112, 5.2), and a CR alone is none.
    "a blank before the name": lambda name: [(PLAIN, f"a\r\n {name}: {FORGED}")],
    "a tab before the name": lambda name: [(PLAIN, f"a\r\n\t{name}: {FORGED}")],
    "the value on the next line": lambda name: [(name, f"\r\n {FORGED}\r\n\t{FORGED}")],
    "a CR without LF": lambda name: [(PLAIN, f"a\r{name}: {FORGED}")],
}
#: Bytes of one or more lines that are no header: the request is refused.
HTTP1_REFUSED = {
    "a blank before the colon": "{name} : Forged",
    "a tab before the colon": "{name}\t: Forged",
    "a blank in the name": "x {name}: Forged",
    "a control character in the name": "{name}\x0b: Forged",
    "a NUL in the name": "{name}\x00: Forged",
    "a NUL in the value": "{name}: For\x00ged",
    "no colon": "{name}",
}
HTTP2_REFUSED: Spellings = {
    "upper case": lambda name: [(name.title(), FORGED)],
    "a blank behind the name": lambda name: [(f"{name} ", FORGED)],
    "a blank before the name": lambda name: [(f" {name}", FORGED)],
    "a colon behind the name": lambda name: [(f"{name}:", FORGED)],
    "a colon before the name": lambda name: [(f":{name}", FORGED)],
    "a line end in the value": lambda name: [(PLAIN, f"a\r\n{name}: {FORGED}")],
    "a line end in the name": lambda name: [(f"x-plain: a\r\n{name}", FORGED)],
    "a NUL in the value": lambda name: [(name, f"{FORGED}\0")],
}
PEOPLE = [None, "foreign", "revoked", "good"]


def base64_der(pair: Pair) -> str:
    return base64.b64encode(pair.certificate.public_bytes(Encoding.DER)).decode()


@dataclass(frozen=True, slots=True)
class Told:
    """What the application must have received about a client: names to values."""

    headers: dict[str, str]

    @classmethod
    def about(cls, lab: Lab, person: str | None) -> Told:
        if person != "good":
            return cls({})
        pair = lab.people.pairs[person]
        return cls(
            {
                XFCC: f'Hash={pair.digest};Subject="CN=good";URI=',
                "client-cert": f":{base64_der(pair)}:",
                "cf-client-cert-der-base64": base64_der(pair),
                "cf-client-cert-sha256": pair.digest,
            }
        )


def told(request: Received) -> Told:
    """Return what the application takes for word about a certificate, under every name that it may read so."""
    found: dict[str, str] = {}
    lines = [line for line in (*request.headers, *request.trailers) if line[0] != PLAIN]
    for name, value in lines:
        plain = "".join(sign if sign.isalnum() else "-" for sign in name.lower())
        if "client-cert" in plain:
            assert plain == name, f"{name} arrived"
            assert name not in found, f"{name} arrived twice"
            found[name] = value
    assert FORGED not in str(lines)
    return Told(found)


@pytest.fixture
def every(lab: Lab) -> Lab:
    """A proxy that forwards everything there is."""
    lab.push_rules(replace(lab.rules, forward=EVERY))
    return lab


def arrived(lab: Lab, answer: Answer, person: str | None) -> None:
    """Check an accepted request: it arrived, with our word and no other."""
    assert answer.status == 200
    (request,) = lab.upstream.inbox.all()
    lab.upstream.inbox.clear()
    assert told(request) == Told.about(lab, person)


@pytest.mark.parametrize("person", PEOPLE, ids=str)
@pytest.mark.parametrize("spelling", HTTP1_ACCEPTED)
def test_this_spelling_over_http1_tells_the_application_nothing(
    every: Lab, spelling: str, person: str | None
) -> None:
    with every.http1(person) as client:
        for name in NAMES:
            arrived(every, client.get("/", HOST, HTTP1_ACCEPTED[spelling](name)), person)


@pytest.mark.parametrize("person", PEOPLE, ids=str)
@pytest.mark.parametrize("spelling", ACCEPTED)
def test_this_spelling_over_http2_tells_the_application_nothing(
    every: Lab, spelling: str, person: str | None
) -> None:
    with every.http2(person) as client:
        for name in NAMES:
            lines = [line for line in ACCEPTED[spelling](name) if line[0] != "connection"]
            arrived(every, client.get("/", HOST, lines), person)


@pytest.mark.parametrize("person", PEOPLE, ids=str)
@pytest.mark.parametrize("spelling", HTTP1_REFUSED)
def test_this_spelling_over_http1_is_refused(every: Lab, spelling: str, person: str | None) -> None:
    for name in NAMES:
        line = HTTP1_REFUSED[spelling].format(name=name)
        with every.http1(person) as client:
            assert client.raw(f"GET / HTTP/1.1\r\nHost: {HOST}\r\n{line}\r\n\r\n".encode()).status == 400
    assert every.upstream.inbox.all() == []


@pytest.mark.parametrize("spelling", HTTP2_REFUSED)
def test_this_spelling_over_http2_is_refused(every: Lab, spelling: str) -> None:
    def status(who: tuple[str | None, str]) -> int:
        with every.http2(who[0]) as client:
            return client.get("/", HOST, HTTP2_REFUSED[spelling](who[1])).status

    # The proxy takes a second to close a connection on which it was sent such a thing: all at once.
    everybody = list(itertools.product(PEOPLE, NAMES))
    with ThreadPoolExecutor(len(everybody)) as pool:
        assert set(pool.map(status, everybody)) <= {0, 400}
    assert every.upstream.inbox.all() == []


@pytest.fixture
def every_grpc(grpc_lab: Lab) -> Lab:
    """A proxy of an HTTP/2 application, the only kind that is sent trailers, that forwards everything."""
    grpc_lab.push_rules(replace(grpc_lab.rules, forward=EVERY))
    return grpc_lab


@pytest.mark.parametrize("person", PEOPLE, ids=str)
@pytest.mark.parametrize("spelling", ACCEPTED)
def test_this_spelling_among_http2_trailers_tells_the_application_nothing(
    every_grpc: Lab, spelling: str, person: str | None
) -> None:
    head = [(":method", "POST"), (":scheme", "https"), (":authority", HOST), (":path", "/")]
    with every_grpc.http2(person) as client:
        for name in NAMES:
            lines = [line for line in ACCEPTED[spelling](name) if line[0] != "connection"]
            answer = client.send(head, trailers=[*lines, ("x-checksum", "kept")])
            assert ("x-checksum", "kept") in every_grpc.upstream.inbox.all()[0].trailers
            arrived(every_grpc, answer, person)


@pytest.mark.parametrize("person", PEOPLE, ids=str)
@pytest.mark.parametrize("application", ["every", "every_grpc"])
def test_http1_trailers_tell_no_application_anything(
    request: pytest.FixtureRequest, application: str, person: str | None
) -> None:
    lab: Lab = request.getfixturevalue(application)
    head = f"POST / HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\nTrailer: client-cert\r\n\r\n"
    with lab.http1(person) as client:
        for name in NAMES:
            for line in (
                f"{name}: {FORGED}",
                f"{name.title()}: {FORGED}",
                f"{name.replace('-', '_')}: {FORGED}",
            ):
                answer = client.raw(f"{head}4\r\nbody\r\n0\r\n{line}\r\n\r\n".encode())
                assert lab.upstream.inbox.all()[0].trailers == ()
                arrived(lab, answer, person)


@pytest.mark.parametrize("person", PEOPLE, ids=str)
def test_an_upgrade_tells_the_application_our_word_and_names_none_of_our_headers(
    every: Lab, person: str | None
) -> None:
    named = ", ".join(NAMES)
    fields = [("Connection", f"upgrade, {named}"), ("Upgrade", "websocket"), ("Client-Cert", FORGED)]
    with every.http1(person) as client:
        assert client.get("/socket", HOST, fields).status == 101
    (request,) = every.upstream.inbox.all()
    assert request.values("connection") == ["upgrade"]
    assert told(request) == Told.about(every, person)


@pytest.mark.parametrize("person", PEOPLE, ids=str)
@pytest.mark.parametrize(
    "head",
    [
        f"GET https://{HOST}/ HTTP/1.1\r\nHost: {HOST}",
        f"GET http://{HOST}/ HTTP/1.1\r\nHost: other.example.com",
        f"OPTIONS / HTTP/1.1\r\nHost: {HOST}",
        f"HEAD / HTTP/1.1\r\nHost: {HOST}",
        f"GET / HTTP/1.1\r\nHost: {HOST}\r\nExpect: 100-continue",
        f"GET / HTTP/1.1\r\nHost: {HOST}\r\nUpgrade: h2c\r\nConnection: upgrade, http2-settings\r\nHTTP2-Settings: x",
        f"GET / HTTP/1.1\r\nHost: {HOST}\r\nTE: trailers\r\nConnection: te, client-cert-chain, close",
    ],
)
def test_this_form_of_request_tells_the_application_nothing_else(
    every: Lab, head: str, person: str | None
) -> None:
    lines = "".join(f"{name.title()}: {FORGED}\r\n" for name in NAMES)
    with every.http1(person) as client:
        assert client.raw(f"{head}\r\n{lines}\r\n".encode()).status in {100, 200}
        eventually(lambda: len(every.upstream.inbox.all()) == 1, "the request has arrived")
    assert told(every.upstream.inbox.all()[0]) == Told.about(every, person)


@pytest.mark.parametrize(
    "head",
    [
        f"GET / HTTP/1.0\r\nHost: {HOST}",
        f"CONNECT {HOST}:443 HTTP/1.1\r\nHost: {HOST}:443",
        f"GET / HTTP/0.9\r\nHost: {HOST}",
        f"GET / HTTP/1.1\r\nHost: {HOST}\r\nUpgrade: other\r\nConnection: upgrade, client-cert",
        f"GET / HTTP/1.1\r\nHost: {HOST}\r\nHost: {HOST}",
        f"GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: " + ", ".join(f"x{n}" for n in range(12)),
    ],
)
def test_this_form_of_request_never_reaches_the_application(every: Lab, head: str) -> None:
    with every.http1("good") as client:
        answer = client.raw(f"{head}\r\nClient-Cert: {FORGED}\r\n\r\n".encode())
    assert answer.status == 0 or 400 <= answer.status < 500
    assert every.upstream.inbox.all() == []


def test_an_http2_connect_never_reaches_the_application(every: Lab) -> None:
    head = [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "https"), (":authority", HOST)]
    with every.http2("good") as client:
        answer = client.send([*head, (":path", "/"), ("client-cert", FORGED)])
    assert answer is GONE or answer.status >= 400
    assert every.upstream.inbox.all() == []


def test_headers_of_other_proxies_are_not_ours_and_pass(every: Lab) -> None:
    others = [("x-ssl-client-cert", "a"), ("ssl-client-verify", "b"), ("x-forwarded-tls-client-cert", "c")]
    with every.http1() as client:
        assert client.get("/", HOST, others).status == 200
    assert set(others) <= set(every.upstream.inbox.all()[0].headers)


@pytest.mark.parametrize("name", ["x-original-url", "x-rewrite-url", "x.original.url", "X_Rewrite_Url"])
def test_a_header_that_names_another_path_does_not_arrive_in_this_spelling(every: Lab, name: str) -> None:
    with every.http1() as client:
        assert client.get("/", HOST, [(name, "/admin")]).status == 200
    assert "/admin" not in str(every.upstream.inbox.all()[0].headers)
