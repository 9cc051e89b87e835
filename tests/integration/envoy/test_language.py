"""Compiled expressions in the real proxy decide as the reference evaluator does."""

from __future__ import annotations

import pytest
from tests.support.lab import HOST, Lab, next_epoch

from mtls_operator.api.names import RULES_FILTER
from mtls_operator.envoy import RuleScript, check_script, rules_script
from mtls_operator.rules import RUNTIME, evaluate, parse, simple_form, to_lua

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


@pytest.mark.parametrize("text", EXPRESSIONS)
def test_the_proxy_decides_as_the_reference_evaluator(lab: Lab, text: str) -> None:
    assert lab.operator is not None
    expression = parse(text)
    code = to_lua(expression)
    script = rules_script(
        epoch=next_epoch(),
        hostnames=lab.rules.hostnames,
        issuers=lab.rules.issuers,
        rules=[RuleScript("rule", "block", tuple(code.constants), code.expression, 418)],
        reads_certificate=expression.reads_certificate,
        forward_xfcc=True,
        runtime=RUNTIME,
        mounted=lab.site.placement.rules_file,
    )
    check_script(script)
    lab.operator.push(RULES_FILTER, script)
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
