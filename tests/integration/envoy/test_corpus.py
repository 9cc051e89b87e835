"""Every case of the language's corpus that HTTPS can carry, as a real request through the real proxy.

Here over HTTP/2; ``kubectl mtls rule corpus`` sends them over HTTP/1.1 (``tests/integration/cli``).
"""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.lab import Lab, next_epoch
from tests.unit.rules.machine import corpus

from mtls_operator.api.names import RULES_FILTER
from mtls_operator.cli.rule.path import Paths
from mtls_operator.cli.rule.wire import Sent, carried
from mtls_operator.envoy import rules_script
from mtls_operator.plan.rule_scripts import rule_script
from mtls_operator.rules import RUNTIME, parse, to_lua

PATHS = Paths()


def sent(case: dict[str, Any]) -> Sent | None:
    """Return the request of a case as it is sent, None where nobody can send it."""
    if "result" not in case:
        return None
    request = carried(parse(case["expr"]), case.get("request") or {}, PATHS)
    return request if request is not None and request.tls == "TLSv1.3" else None


CASES = [
    pytest.param(case, request, id=case["id"])
    for case, request in ((case, sent(case)) for case in corpus())
    if request is not None and case.get("request", {}).get("http.request.version", "HTTP/2") == "HTTP/2"
]


def test_the_wire_carries_most_of_the_corpus() -> None:
    assert len(CASES) >= 200


@pytest.mark.parametrize(("case", "request_of_case"), CASES)
def test_the_proxy_answers_as_the_corpus_says(lab: Lab, case: dict[str, Any], request_of_case: Sent) -> None:
    assert lab.operator is not None
    expression = parse(case["expr"])
    script = rules_script(
        epoch=next_epoch(),
        hostnames=[request_of_case.host],
        issuers=lab.rules.issuers,
        rules=[rule_script("rule", to_lua(expression), action="block", status=418)],
        reads_certificate=expression.reads_certificate,
        forward=["xfcc"],
        runtime=RUNTIME,
        mounted=lab.site.placement.rules_file,
    )
    lab.operator.push(RULES_FILTER, script)
    with lab.http2(request_of_case.client, request_of_case.host) as client:
        answer = client.send(
            [
                (":method", request_of_case.method),
                (":scheme", "https"),
                (":authority", request_of_case.host),
                (":path", request_of_case.target),
                *request_of_case.headers,
            ]
        )
    assert answer.status == (418 if case["result"] else 200)
