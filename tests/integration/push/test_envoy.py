"""What the real Envoy does with what the server sends, and what the server learns from it."""

from __future__ import annotations

import statistics
import time

import pytest
from tests.integration.push.authority import NAMESPACE, NAMESPACE_UID, InternalAuthority
from tests.integration.push.conftest import Serve, StartEnvoy
from tests.integration.push.scripts import broken, revocation, rules
from tests.integration.push.served import DEADLINE

from mtls_operator.api import names
from mtls_operator.push import Pod, ReportKind, Scope

HOST = Scope(NAMESPACE, "api")
ALL = Scope(NAMESPACE)
RULES, REVOCATION = names.RULES_FILTER, names.REVOCATION_FILTER


def test_a_push_changes_the_answer_on_a_connection_that_is_already_open(
    serve: Serve, envoy: StartEnvoy, pod: Pod
) -> None:
    served = serve()
    served.server.set_pod(pod)
    proxy = envoy(served.port, pod)
    assert proxy.get() == (200, "")
    opened = proxy.connection.sock
    served.server.publish(HOST, rules("v1"))
    _, report = served.reports.wait(kind=ReportKind.ACKNOWLEDGED)
    assert (report.pod, report.resource, report.version, report.error) == (pod, RULES, "v1", "")
    assert proxy.get() == (403, "v1")
    assert proxy.connection.sock is opened


def test_a_starting_proxy_serves_what_is_published_already(serve: Serve, envoy: StartEnvoy, pod: Pod) -> None:
    served = serve()
    served.server.set_pod(pod)
    served.server.publish(HOST, rules("v1"))
    served.server.publish(ALL, revocation("r1"))
    assert envoy(served.port, pod).get() == (403, "v1")
    assert served.reports.wait(kind=ReportKind.ACKNOWLEDGED, resource=REVOCATION)[1].version == "r1"


def test_a_refused_script_is_followed_by_the_last_good_one_at_once(
    serve: Serve, envoy: StartEnvoy, pod: Pod
) -> None:
    served = serve()
    served.server.set_pod(pod)
    served.server.publish(HOST, rules("v1"))
    proxy = envoy(served.port, pod)
    served.reports.wait(kind=ReportKind.ACKNOWLEDGED, version="v1")
    served.server.publish(HOST, broken("v2"))
    _, refusal = served.reports.wait(kind=ReportKind.REFUSED)
    assert (refusal.version, refusal.refused) == ("v1", "v2")
    assert refusal.error.startswith('script load error: [string "-- mtls-rules v2')
    served.reports.wait(kind=ReportKind.ACKNOWLEDGED, version="v1", count=2)
    assert proxy.get() == (403, "v1")
    assert 'mtls-rules.version_text: "v1"' in proxy.stat("version_text")
    served.server.publish(HOST, rules("v3"))
    served.reports.wait(kind=ReportKind.ACKNOWLEDGED, version="v3")
    assert proxy.get() == (403, "v3")
    assert len(served.reports.all(kind=ReportKind.REFUSED)) == 1


def test_a_refused_script_of_one_resource_does_not_hold_back_the_other(
    serve: Serve, envoy: StartEnvoy, pod: Pod
) -> None:
    served = serve()
    served.server.set_pod(pod)
    served.server.publish(HOST, broken("v1"))
    envoy(served.port, pod)
    served.reports.wait(kind=ReportKind.REFUSED, resource=RULES)
    served.server.publish(ALL, revocation("r1"))
    served.reports.wait(kind=ReportKind.ACKNOWLEDGED, resource=REVOCATION, version="r1")


def test_after_a_restart_of_the_server_nothing_is_pushed_twice(
    serve: Serve, envoy: StartEnvoy, pod: Pod
) -> None:
    first = serve()
    first.server.set_pod(pod)
    first.server.publish(HOST, rules("v1"))
    first.server.publish(ALL, revocation("r1"))
    proxy = envoy(first.port, pod)
    for resource in (RULES, REVOCATION):
        first.reports.wait(kind=ReportKind.ACKNOWLEDGED, resource=resource)
    first.server.stop(1.0)
    assert not first.reports.all(kind=ReportKind.DISCONNECTED)
    assert proxy.get() == (403, "v1")
    again = serve(port=first.port, is_open=False)
    again.server.set_pod(pod)
    again.server.publish(HOST, rules("v1"))
    again.server.publish(ALL, revocation("r1"))
    again.server.open()
    assert again.reports.wait(kind=ReportKind.CONNECTED, resource=RULES)[1].version == "v1"
    assert again.reports.wait(kind=ReportKind.CONNECTED, resource=REVOCATION)[1].version == "r1"
    again.server.publish(HOST, rules("v2"))
    again.reports.wait(kind=ReportKind.ACKNOWLEDGED, version="v2")
    assert again.server.snapshot().pushes == 1
    assert proxy.get() == (403, "v2")


def test_bytes_refused_before_a_restart_of_the_server_are_refused_again_and_not_falsely_acknowledged(
    serve: Serve, envoy: StartEnvoy, pod: Pod
) -> None:
    """Envoy acknowledges, without running it, what equals the last configuration that it refused."""
    first = serve()
    first.server.set_pod(pod)
    first.server.publish(HOST, broken("v1"))
    proxy = envoy(first.port, pod)
    first.reports.wait(kind=ReportKind.REFUSED)
    first.server.stop(1.0)
    again = serve(port=first.port)
    again.server.set_pod(pod)
    again.server.publish(HOST, broken("v1"))
    _, report = again.reports.wait(kind=ReportKind.REFUSED)
    assert (report.version, report.refused) == ("", "v1")
    assert not again.reports.all(kind=ReportKind.ACKNOWLEDGED, resource=RULES)
    assert proxy.get() == (200, "")


def test_keep_alive_pings_of_a_proxy_do_not_end_its_streams(
    serve: Serve, envoy: StartEnvoy, pod: Pod
) -> None:
    """Three pings a second: with gRPC's defaults the third one ends the connection."""
    served = serve()
    served.server.set_pod(pod)
    envoy(served.port, pod)
    served.reports.wait(kind=ReportKind.CONNECTED, resource=RULES)
    with pytest.raises(AssertionError, match="no "):
        served.reports.wait(kind=ReportKind.DISCONNECTED, timeout=2.5)


def test_streams_of_a_namespace_that_is_gone_are_closed_and_its_proxies_keep_what_they_have(
    serve: Serve, envoy: StartEnvoy, pod: Pod
) -> None:
    served = serve()
    served.server.set_pod(pod)
    served.server.publish(HOST, rules("v1"))
    proxy = envoy(served.port, pod)
    served.reports.wait(kind=ReportKind.ACKNOWLEDGED)
    served.server.set_namespace(NAMESPACE, None)
    for resource in (RULES, REVOCATION):
        served.reports.wait(kind=ReportKind.DISCONNECTED, resource=resource)
    served.server.set_namespace(NAMESPACE, f"{NAMESPACE_UID}-of-its-next-life")
    served.server.set_pod(pod)
    served.server.publish(HOST, rules("v2"))
    connections = len(served.reports.all(kind=ReportKind.CONNECTED))
    with pytest.raises(AssertionError, match="no "):
        served.reports.wait(kind=ReportKind.CONNECTED, count=connections + 1, timeout=1.0)
    assert proxy.get() == (403, "v1")


def test_the_certificate_of_another_namespace_opens_nothing(
    serve: Serve, envoy: StartEnvoy, authority: InternalAuthority, pod: Pod
) -> None:
    served = serve()
    served.server.set_namespace("evil", "ns-uid-2")
    served.server.set_pod(pod)
    served.server.publish(HOST, rules("v1"))
    proxy = envoy(served.port, pod, authority.proxy("evil", "ns-uid-2"))
    assert proxy.get() == (200, "")
    assert not served.reports.all()


def test_a_push_is_acknowledged_within_milliseconds(serve: Serve, envoy: StartEnvoy, pod: Pod) -> None:
    served = serve()
    served.server.set_pod(pod)
    proxy = envoy(served.port, pod)
    seconds = []
    for number in range(30):
        begin = time.monotonic()
        served.server.publish(HOST, rules(f"v{number}"))
        acknowledged, _ = served.reports.wait(kind=ReportKind.ACKNOWLEDGED, version=f"v{number}")
        seconds.append(acknowledged - begin)
        assert proxy.get() == (403, f"v{number}")
    print(f"push to acknowledgement: median {statistics.median(seconds) * 1000:.1f} ms")  # noqa: T201 - measured
    assert statistics.median(seconds) < 0.05
    assert max(seconds) < DEADLINE
