"""Compiled expressions in the real proxy decide as the reference evaluator does, about requests on the wire."""

from __future__ import annotations

import ssl
from base64 import b64encode
from collections.abc import Sequence

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from tests.support.certs import Pair, authority, leaf
from tests.support.lab import HOST, Lab, next_epoch

from mtls_operator.api.names import RULES_FILTER
from mtls_operator.envoy import RuleScript, check_script, rules_script
from mtls_operator.plan.rule_scripts import rule_script
from mtls_operator.rules import RUNTIME, Expression, evaluate, parse, simple_form, to_lua
from mtls_operator.rules.schema import FIELDS
from mtls_operator.rules.types import BYTES

EXPRESSIONS = [
    simple_form(paths=["/admin"], path_prefixes=["/admin/"], hostnames=[HOST], allow_revoked=False),
    simple_form(paths=["/admin"], path_prefixes=[], hostnames=[], allow_revoked=True),
    'not cf.tls_client_auth.cert_presented or http.request.uri.path eq "/"',
    'http.request.uri.path wildcard "/ADMIN*" xor cf.tls_client_auth.cert_verified',
    'ip.src in {127.0.0.0/8} and http.request.method in {"GET" "PUT"} and ssl',
    'ip.src in {10.0.0.0/8 ::1} or http.host ne "api.example.com"',
    'http.request.uri contains "q=1" and cf.tls_client_auth.cert_subject_dn eq "CN=good"',
    r'http.request.uri matches "^/(ad|)min(/|$)|\?q=\d+$" and not http.host matches r"\bnever\b"',
    'cf.tls_client_auth.cert_serial gt "0A" and not cf.tls_client_auth.cert_revoked',
]
#: Person -> presented, verified, revoked.
FACTS = {
    "good": (True, True, False),
    "revoked": (True, True, True),
    "foreign": (True, False, False),
    None: (False, False, False),
}


def enforce(lab: Lab, text: str) -> Expression:
    """Answer with 418 whenever the expression holds."""
    expression = parse(text)
    enforce_all(
        lab,
        rule_script("rule", to_lua(expression), action="block", status=418),
        reads_certificate=expression.reads_certificate,
    )
    return expression


def enforce_all(lab: Lab, *rules: RuleScript, reads_certificate: bool = True) -> None:
    """Put rules in force on the host."""
    assert lab.operator is not None
    script = rules_script(
        epoch=next_epoch(),
        hostnames=lab.rules.hostnames,
        issuers=lab.rules.issuers,
        rules=rules,
        reads_certificate=reads_certificate,
        forward=["xfcc"],
        runtime=RUNTIME,
        mounted=lab.site.placement.rules_file,
    )
    check_script(script)
    lab.operator.push(RULES_FILTER, script)


@pytest.mark.parametrize("text", EXPRESSIONS)
def test_the_proxy_decides_as_the_reference_evaluator(lab: Lab, text: str) -> None:
    expression = enforce(lab, text)
    for person, (presented, verified, revoked) in FACTS.items():
        pair = lab.people.pairs[person] if person else None
        for path, query in (("/admin", ""), ("/", ""), ("/admin/x", "q=1"), ("/other", "q=1")):
            request = {
                "cf.tls_client_auth.cert_presented": presented,
                "cf.tls_client_auth.cert_verified": verified,
                "cf.tls_client_auth.cert_revoked": revoked,
                "cf.tls_client_auth.cert_serial": pair.serial_hex.upper() if pair else "",
                "cf.tls_client_auth.cert_subject_dn": f"CN={person}" if person else "",
                "http.host": HOST,
                "http.request.uri.path": path,
                "http.request.uri.query": query,
                "ip.src": "127.0.0.1",
            }
            with lab.http1(person) as client:
                status = client.get(f"{path}?{query}" if query else path, HOST).status
            assert status == (418 if evaluate(expression, request) else 200), (text, person, path)


def test_rules_that_are_found_by_their_path_are_asked_in_their_order(lab: Lab) -> None:
    path = "http.request.uri.path"
    texts = [
        ("block", 418, f'{path} strict wildcard "/a/secret/*"'),
        ("skip", None, f'{path} in {{"/a/open" "/a/b"}}'),
        ("block", 419, f'starts_with({path}, "/a/") and not cf.tls_client_auth.cert_verified'),
        ("block", 420, 'http.request.method eq "DELETE"'),
        ("block", 421, f'{path} eq "/a/open" or {path} eq "/last"'),
    ]
    rules = tuple(
        rule_script(f"r{number}", to_lua(parse(text)), action=action, status=status)  # type: ignore[arg-type]  # literals
        for number, (action, status, text) in enumerate(texts)
    )
    enforce_all(lab, *rules)
    expected = {
        (None, "GET", "/a/secret/x"): 418,
        (None, "GET", "/a/open"): 200,
        (None, "GET", "/a/x"): 419,
        (None, "DELETE", "/a/x"): 419,
        ("good", "GET", "/a/x"): 200,
        ("good", "DELETE", "/a/x"): 420,
        ("revoked", "GET", "/a/x"): 200,
        (None, "DELETE", "/a/b"): 200,
        (None, "DELETE", "/last"): 420,
        (None, "GET", "/last"): 421,
        (None, "GET", "/other"): 200,
        # In the reading of an application that drops parameters.
        (None, "GET", "/last;x"): 421,
        ("good", "GET", "/b/..;/a/secret/x"): 418,
        ("good", "GET", "/a/secret%3Bx/y"): 418,
    }
    seen = {}
    for person, method, target in expected:
        with lab.http1(person) as client:
            seen[person, method, target] = client.request(method, target, HOST).status
    assert seen == expected


Lines = Sequence[tuple[str, str]]

ROLES: Lines = [("x-role", "user,admin"), ("x-other", "1"), ("x-role", ""), ("x-role", "user")]
COOKIES: Lines = [("cookie", "s=1; t"), ("cookie", "s=2;  %61=x=y ")]
FORWARDED: Lines = [
    ("x-forwarded-for", "192.0.2.1"),
    ("x-forwarded-proto", "http"),
    ("x-envoy-internal", "true"),
    ("x-request-id", "mine"),
]
PLAIN: Lines = [("user-agent", "curl/8"), ("referer", "https://a/")]

#: Expressions about what comes in any number, each with requests for which it holds and for which it does not.
COLLECTIONS = [
    # A value that holds a comma is one value, and a repeated header is several.
    'http.request.headers["x-role"][0] eq "user,admin"',
    'any(http.request.headers["x-role"][*] eq "admin")',
    'any(http.request.headers["x-role"][*] eq "user")',
    'http.request.headers["x-role"][2] eq "user" and http.request.headers["x-role"][1] eq ""',
    'len(http.request.headers["x-role"]) eq 3',
    'http.request.headers["x-role"][0] ne "user"',
    'not any(http.request.headers["x-role"][*] eq "user")',
    'any((http.request.headers.names[*] eq "x-other" and http.request.headers.values[*] eq "1"))',
    'http.request.headers["host"][0] eq "api.example.com" and not has_key(http.request.headers, ":path")',
    "len(http.request.headers.names) eq 1",
    'has_key(http.request.headers, "x-forwarded-client-cert") or has_key(http.request.headers, "x-envoy-internal")',
    'has_key(http.request.headers, "x-request-id")',
    'http.x_forwarded_for eq ""',
    'http.x_forwarded_for eq "192.0.2.1"',
    'has_key(http.request.headers, "x-forwarded-for")',
    'http.cookie eq "s=1; t; s=2;  %61=x=y"',
    'http.request.cookies["s"][1] eq "2" and http.request.cookies["a"][0] eq "x=y"',
    'any(http.request.cookies["t"][*] eq "")',
    'http.user_agent eq ""',
    'http.user_agent eq "curl/8" and http.referer eq "https://a/"',
    'http.request.uri.args["a"][1] eq "2" and has_value(http.request.uri.args.names, "b")',
    'any(http.request.uri.args.values[*] contains "%41")',
    'http.request.full_uri eq "https://api.example.com/x.tar.GZ?a=1&a=2&b"',
    'http.request.uri.path.extension eq "gz"',
    'lower(http.request.headers["x-role"][*])[0] eq "user,admin"',
    "http.request.headers.truncated",
    'len(url_decode(http.request.uri.query, "r")) eq 3',
]
TARGETS = [("/", ""), ("/x.tar.GZ", "a=1&a=2&b"), ("/admin", "a=%41"), ("/admin", "%25%341=")]


@pytest.mark.parametrize("text", COLLECTIONS)
@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/2"])
def test_the_proxy_counts_headers_cookies_and_arguments_exactly(lab: Lab, text: str, version: str) -> None:
    expression = enforce(lab, text)
    with lab.http1() if version == "HTTP/1.1" else lab.http2() as client:
        for lines in ([], ROLES, COOKIES, FORWARDED, PLAIN):
            headers: dict[str, list[str]] = {"host": [HOST]}
            for name, value in lines:
                if name not in {"x-forwarded-proto", "x-envoy-internal", "x-request-id"}:
                    headers.setdefault(name, []).append(value.strip())
            if version == "HTTP/2" and lines is COOKIES:
                # Cookies that were split for compression are put together again (RFC 9113, 8.2.3).
                headers["cookie"] = ["; ".join(headers["cookie"])]
            for path, query in TARGETS:
                request = {
                    "http.host": HOST,
                    "http.request.headers": headers,
                    "http.request.uri.path": path,
                    "http.request.uri.query": query,
                    "http.request.version": version,
                }
                status = client.get(f"{path}?{query}" if query else path, HOST, lines).status
                assert status == (418 if evaluate(expression, request) else 200), (lines, path, query)


@pytest.mark.parametrize("method", ["delete", "Delete", "DELETe"])
def test_a_method_in_lower_case_passes_no_rule_about_the_one_in_upper_case(lab: Lab, method: str) -> None:
    enforce(lab, 'http.request.method eq "DELETE"')
    lab.upstream.inbox.clear()
    with lab.http1() as client:
        assert client.request(method, "/", HOST).status == 400
    with lab.http2() as client:
        pseudo = [(":method", method), (":scheme", "https"), (":authority", HOST), (":path", "/")]
        assert client.send(pseudo).status == 400
    assert lab.upstream.inbox.all() == []


def test_cookies_of_http2_stand_behind_all_other_lines(lab: Lab) -> None:
    enforce(lab, 'http.request.headers.values[1] eq "b" and http.request.headers.names[2] eq "cookie"')
    with lab.http2() as client:
        assert client.get("/", HOST, [("cookie", "a=1"), ("x-a", "b")]).status == 418
    with lab.http1() as client:
        assert client.get("/", HOST, [("cookie", "a=1"), ("x-a", "b")]).status == 200


def test_lines_that_the_proxy_joins_are_seen_as_the_application_receives_them(lab: Lab) -> None:
    enforce(lab, 'http.user_agent eq "good,bad" and http.request.headers["authorization"][0] eq "x,y"')
    with lab.http1() as client:
        repeated = [
            ("user-agent", "good"),
            ("User-Agent", "bad"),
            ("authorization", "x"),
            ("authorization", "y"),
        ]
        assert client.get("/", HOST, repeated).status == 418


def test_the_bytes_of_a_header_are_those_on_the_wire(lab: Lab) -> None:
    enforce(lab, r'http.request.headers["x-bytes"][0] eq "a\xff\xe9"')
    with lab.http1() as client:
        assert client.get("/", HOST, [("x-bytes", "a\xff\xe9")]).status == 418
        assert client.get("/", HOST, [("x-bytes", "a\xc3\xbf\xc3\xa9")]).status == 200


@pytest.mark.parametrize("value", [" admin", "admin ", "\tadmin \t"])
def test_blanks_around_a_value_hide_nothing(lab: Lab, value: str) -> None:
    enforce(lab, 'http.request.headers["x-role"][0] eq "admin"')
    with lab.http1() as client:
        assert client.get("/", HOST, [("x-role", value)]).status == 418
    with lab.http2() as client:
        # Refused by the proxy's codec, or seen by the rule: never let through.
        assert client.get("/", HOST, [("x-role", value)]).status in {418, 400, 0}


def test_a_host_header_beside_the_authority_changes_nothing(lab: Lab) -> None:
    enforce(
        lab,
        'any(http.request.headers["host"][*] ne "api.example.com") or len(http.request.headers["host"]) ne 1',
    )
    with lab.http2() as client:
        answer = client.get("/", HOST, [("host", "evil.example.com")])
        assert answer.status in {200, 400}
        if answer.status == 200:
            assert "evil.example.com" not in str(answer.seen)
    enforce(lab, 'any(http.request.headers["host"][*] eq "evil.example.com")')
    with lab.http1() as client:
        assert client.get("/", HOST, [("Host", "evil.example.com")]).status in {400, 421}


def test_a_name_in_upper_case_is_the_same_header(lab: Lab) -> None:
    enforce(lab, 'http.request.headers["x-role"][0] eq "Admin"')
    with lab.http1() as client:
        assert client.get("/", HOST, [("X-ROLE", "Admin")]).status == 418


@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/2"])
def test_the_connection_is_described_as_it_is(lab: Lab, version: str) -> None:
    port = lab.site.placement.tls_port
    enforce(
        lab,
        f'http.request.version eq "{version}" and cf.edge.server_ip eq 127.0.0.1 and cf.edge.server_port eq {port}'
        ' and cf.tls_version eq "TLSv1.3" and cf.tls_cipher in {"AEAD-AES256-GCM-SHA384" "AEAD-AES128-GCM-SHA256"}',
    )
    with lab.http1() if version == "HTTP/1.1" else lab.http2() as client:
        assert client.get("/", HOST).status == 418


def test_a_cipher_of_tls_1_2_has_the_name_of_openssl(lab: Lab) -> None:
    enforce(lab, 'cf.tls_version eq "TLSv1.2" and cf.tls_cipher matches "^ECDHE-ECDSA-AES(128|256)-GCM-SHA"')
    with lab.http1(version=ssl.TLSVersion.TLSv1_2) as client:
        assert client.get("/", HOST).status == 418


def facts_of(pair: Pair, issuer: Pair | None) -> dict[str, object]:
    """Return the fields of a presented certificate, as the library sees it."""
    made = pair.certificate
    prefix = "cf.tls_client_auth.cert_"
    extensions = made.extensions
    key = extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    issuer_key = extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier or b""
    der = b64encode(made.public_bytes(Encoding.DER)).decode()
    return {
        f"{prefix}presented": True,
        f"{prefix}verified": issuer is not None,
        f"{prefix}fingerprint_sha1": made.fingerprint(hashes.SHA1()).hex(),  # noqa: S303 - the field's own function
        f"{prefix}fingerprint_sha256": made.fingerprint(hashes.SHA256()).hex(),
        f"{prefix}serial": pair.serial_hex.upper(),
        f"{prefix}issuer_serial": issuer.serial_hex.upper() if issuer else "",
        f"{prefix}ski": key.hex().upper(),
        f"{prefix}issuer_ski": issuer_key.hex().upper(),
        f"{prefix}subject_dn": made.subject.rfc4514_string(),
        f"{prefix}subject_dn_rfc2253": made.subject.rfc4514_string(),
        f"{prefix}issuer_dn": made.issuer.rfc4514_string(),
        f"{prefix}issuer_dn_rfc2253": made.issuer.rfc4514_string(),
        f"{prefix}subject_dn_legacy": "/O=Acme/CN="
        + made.subject.rfc4514_string().split("=")[1].split(",")[0],
        f"{prefix}issuer_dn_legacy": f"/{made.issuer.rfc4514_string()}",
        f"{prefix}not_before": f"{made.not_valid_before_utc:%b %e %H:%M:%S %Y} GMT",
        f"{prefix}not_after": f"{made.not_valid_after_utc:%b %e %H:%M:%S %Y} GMT",
        f"{prefix}rfc9440": f":{der}:",
    }


NO_CERTIFICATE = {
    name: "" for name, kind in FIELDS.items() if name.startswith("cf.tls_client_auth.") and kind == BYTES
}


def test_every_fact_of_a_certificate_is_the_one_of_the_certificate(lab: Lab) -> None:
    foreign = authority("foreign")
    people = {"fact-good": (lab.people.ca, lab.people.ca), "fact-foreign": (foreign, None)}
    for person, (signer, issuer) in people.items():
        names = {
            "dns": ("b.example", "a.example"),
            "uris": ("spiffe://a",),
            "addresses": ("192.0.2.1", "2001:db8::1"),
        }
        pair = lab.people.add(person, leaf(signer, person, index=1, organization="Acme", **names))
        text = " and ".join(
            name if value is True else f"not {name}" if value is False else f'{name} eq "{value}"'
            for name, value in facts_of(pair, issuer).items()
        )
        alternatives = (
            ' and tls.client.san.dns[1] eq "a.example" and len(tls.client.san.dns) eq 2'
            ' and tls.client.san.uri[0] eq "spiffe://a" and len(tls.client.san.email) eq 0'
            " and tls.client.san.ip[0] eq 192.0.2.1 and any(tls.client.san.ip[*] in {2001:db8::/32})"
            ' and cf.tls_client_auth.cert_chain_rfc9440 eq "" and not cf.tls_client_auth.cert_rfc9440_too_large'
        )
        enforce(lab, text + alternatives)
        for version in (lab.http1, lab.http2):
            with version(person) as client:
                # Twice: the second time from what is kept.
                assert [client.get("/", HOST).status for _ in range(2)] == [418, 418]
        with lab.http1("good") as client:
            assert client.get("/", HOST).status == 200


def test_without_a_certificate_every_string_is_empty(lab: Lab) -> None:
    text = " and ".join(f'{name} eq ""' for name in NO_CERTIFICATE)
    enforce(
        lab, f"{text} and len(tls.client.san.dns) eq 0 and not any(tls.client.san.ip[*] in {{0.0.0.0/0}})"
    )
    with lab.http1() as client:
        assert client.get("/", HOST).status == 418


def test_the_chain_is_what_this_connection_sent(lab: Lab) -> None:
    middle = authority("middle", issuer=lab.people.ca)
    pair = leaf(middle, "chained", index=1)
    lab.people.add("alone", pair)
    certificate, _ = lab.people.add("chained", pair).write(lab.people.folder, "chained")
    certificate.write_text(pair.certificate_pem + middle.certificate_pem)
    sent = b64encode(middle.certificate.public_bytes(Encoding.DER)).decode()
    enforce(lab, f'cf.tls_client_auth.cert_chain_rfc9440 eq ":{sent}:"')
    for person, status in (("chained", 418), ("alone", 200), ("chained", 418)):
        with lab.http1(person) as client:
            assert client.get("/", HOST).status == status


def test_a_certificate_that_is_too_large_for_a_header_is_said_to_be(lab: Lab) -> None:
    names = tuple(f"{'x' * 60}-{n}.example" for n in range(150))
    lab.people.add("large", leaf(lab.people.ca, "large", index=1, dns=names))
    enforce(
        lab,
        'cf.tls_client_auth.cert_rfc9440_too_large and cf.tls_client_auth.cert_rfc9440 eq ""'
        " and len(tls.client.san.dns) eq 150",
    )
    for person, status in (("large", 418), ("good", 200), (None, 200)):
        with lab.http1(person) as client:
            assert client.get("/", HOST).status == status


def test_a_chain_that_is_too_large_for_a_header_is_said_to_be(lab: Lab) -> None:
    names = tuple(f"{'x' * 60}-{n}.example" for n in range(200))
    pair = lab.people.add("long-chain", leaf(lab.people.ca, "long-chain", index=1))
    others = leaf(lab.people.ca, "other", index=2, dns=names).certificate_pem
    (lab.people.folder / "long-chain.crt").write_text(pair.certificate_pem + others)
    enforce(
        lab,
        'cf.tls_client_auth.cert_chain_rfc9440_too_large and cf.tls_client_auth.cert_chain_rfc9440 eq ""'
        ' and cf.tls_client_auth.cert_rfc9440 matches "^:[A-Za-z0-9+/=]+:$"',
    )
    with lab.http1("long-chain") as client:
        assert client.get("/", HOST).status == 418


def test_names_of_a_certificate_that_nobody_vouches_for_are_known_as_such(lab: Lab) -> None:
    forged = leaf(authority("foreign"), "forged", index=1, dns=("admin.example",))
    lab.people.add("forged", forged)
    enforce(lab, 'any(tls.client.san.dns[*] eq "admin.example") and not cf.tls_client_auth.cert_verified')
    with lab.http1("forged") as client:
        assert client.get("/", HOST).status == 418


def test_the_issuer_is_the_direct_one(lab: Lab) -> None:
    middle = authority("middle", issuer=lab.people.ca)
    pair = lab.people.add("below", leaf(middle, "below", index=1))
    certificate = lab.people.folder / "below.crt"
    certificate.write_text(pair.certificate_pem + middle.certificate_pem)
    key = middle.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest.hex()
    enforce(
        lab,
        f'cf.tls_client_auth.cert_issuer_ski eq "{key.upper()}"'
        f' and cf.tls_client_auth.cert_issuer_serial eq "{middle.serial_hex.upper()}"',
    )
    with lab.http1("below") as client:
        assert client.get("/", HOST).status == 418


def test_the_time_of_a_request_is_now(lab: Lab) -> None:
    enforce(
        lab,
        "http.request.timestamp.sec gt 1700000000 and http.request.timestamp.sec lt 9999999999"
        " and http.request.timestamp.msec in {0..999}",
    )
    with lab.http1() as client:
        assert client.get("/", HOST).status == 418


def test_a_path_with_parameters_is_judged_in_both_readings_in_fields_made_of_it_too(lab: Lab) -> None:
    enforce(
        lab,
        'http.request.full_uri eq "https://api.example.com/admin" or http.request.uri.path.extension eq "php"',
    )
    with lab.http1() as client:
        assert client.get("/admin;x", HOST).status == 418
        assert client.get("/a.php;x", HOST).status == 418
        assert client.get("/a;.php", HOST).status == 418
        assert client.get("/admi;n", HOST).status == 200
