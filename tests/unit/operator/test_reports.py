"""What is kept of the proxies' reports, per pod and script (G4)."""

from __future__ import annotations

from datetime import UTC, datetime

from mtls_operator.api import names
from mtls_operator.controller.reports import Reports
from mtls_operator.plan.rollout import Files, Pod, StreamState
from mtls_operator.push import Pod as Pushed
from mtls_operator.push import Report, ReportKind

POD = Pushed("shop", "api-1", "u-1", "api")
SEEN = Pod("shop", "api-1", "u-1", "api", "10.0.0.1", running=True, ending=False, injected=True)
RULES, REVOCATION = names.RULES_FILTER, names.REVOCATION_FILTER
BEGIN = 1_790_000_000.0


def report(
    kind: ReportKind,
    version: str = "",
    *,
    at: float = 0.0,
    error: str = "",
    resource: str = RULES,
    pod: Pushed = POD,
) -> Report:
    return Report(pod, resource, kind, version, error, BEGIN + at)


def after(*reports: Report, resource: str = RULES) -> StreamState:
    kept = Reports()
    for entry in reports:
        kept.take(entry)
    return kept.streams[POD.uid, resource]


def test_a_pod_that_has_said_nothing_has_no_state() -> None:
    (proxy,) = Reports().proxies([SEEN])
    assert (proxy.rules, proxy.revocation, proxy.files) == (None, None, None)
    assert not proxy.connected


def test_a_proxy_that_connects_is_connected_with_what_it_says_it_runs() -> None:
    state = after(report(ReportKind.CONNECTED, "v1"))
    assert (state.connected, state.version, state.error) == (True, "v1", "")
    assert state.since == datetime.fromtimestamp(BEGIN, UTC)


def test_an_acknowledgement_is_the_version_in_force() -> None:
    assert after(report(ReportKind.CONNECTED), report(ReportKind.ACKNOWLEDGED, "v2")).version == "v2"


def test_the_time_of_connection_stays_while_it_is_connected() -> None:
    state = after(report(ReportKind.CONNECTED, at=0), report(ReportKind.ACKNOWLEDGED, "v2", at=60))
    assert state.since == datetime.fromtimestamp(BEGIN, UTC)


def test_a_refusal_keeps_the_version_in_force_and_the_proxys_words() -> None:
    state = after(
        report(ReportKind.ACKNOWLEDGED, "v1"), report(ReportKind.REFUSED, error="script load error")
    )
    assert (state.connected, state.version, state.error) == (True, "v1", "script load error")


def test_a_refusal_without_words_is_still_a_refusal() -> None:
    assert after(report(ReportKind.REFUSED, "v1")).error == "no reason given"


def test_acknowledging_the_last_good_version_again_does_not_hide_the_refusal() -> None:
    state = after(
        report(ReportKind.ACKNOWLEDGED, "v1"),
        report(ReportKind.REFUSED, "v1", error="script load error"),
        report(ReportKind.ACKNOWLEDGED, "v1"),
    )
    assert state.error == "script load error"


def test_acknowledging_a_new_version_ends_the_refusal() -> None:
    state = after(
        report(ReportKind.REFUSED, "v1", error="script load error"), report(ReportKind.ACKNOWLEDGED, "v3")
    )
    assert (state.version, state.error) == ("v3", "")


def test_a_disconnected_proxy_keeps_its_version_and_says_since_when() -> None:
    state = after(
        report(ReportKind.CONNECTED, at=0),
        report(ReportKind.ACKNOWLEDGED, "v2", at=5),
        report(ReportKind.DISCONNECTED, at=90),
    )
    assert (state.connected, state.version) == (False, "v2")
    assert state.since == datetime.fromtimestamp(BEGIN + 90, UTC)


def test_a_disconnection_before_anything_else_claims_no_version() -> None:
    assert after(report(ReportKind.DISCONNECTED, "v9")).version == ""


def test_a_proxy_that_comes_back_is_connected_since_then() -> None:
    state = after(
        report(ReportKind.CONNECTED, at=0),
        report(ReportKind.DISCONNECTED, at=5),
        report(ReportKind.CONNECTED, at=9),
    )
    assert state.connected
    assert state.since == datetime.fromtimestamp(BEGIN + 9, UTC)


def test_the_scripts_of_a_pod_are_kept_apart() -> None:
    kept = Reports()
    kept.take(report(ReportKind.ACKNOWLEDGED, "r1", resource=RULES))
    (proxy,) = kept.proxies([SEEN])
    assert not proxy.connected
    kept.take(report(ReportKind.ACKNOWLEDGED, "l1", resource=REVOCATION))
    (proxy,) = kept.proxies([SEEN])
    assert proxy.connected
    assert proxy.rules is not None
    assert proxy.revocation is not None
    assert (proxy.rules.version, proxy.revocation.version) == ("r1", "l1")


def test_a_pod_of_the_same_name_starts_with_nothing() -> None:
    """A StatefulSet's pod comes back under its name: what its former life acknowledged is not in force on it."""
    kept = Reports()
    kept.take(report(ReportKind.ACKNOWLEDGED, "r1", pod=Pushed("shop", "api-1", "former", "api")))
    (proxy,) = kept.proxies([SEEN])
    assert proxy.rules is None


def test_what_is_gone_is_forgotten_and_nothing_else() -> None:
    kept = Reports()
    other = Pushed("shop", "api-2", "u-2", "api")
    for pod in (POD, other):
        kept.take(report(ReportKind.ACKNOWLEDGED, "r1", pod=pod))
        kept.take(report(ReportKind.ACKNOWLEDGED, "l1", pod=pod, resource=REVOCATION))
        kept.files[pod.uid] = Files("a", "b", "c")
    kept.forget(POD.uid)
    assert {uid for uid, _ in kept.streams} == {"u-2"}
    assert set(kept.files) == {"u-2"}


def test_a_pod_lags_until_it_acknowledges_the_list() -> None:
    kept = Reports()
    kept.take(report(ReportKind.CONNECTED, "l1", resource=REVOCATION))
    assert kept.lagging([SEEN], "l2") == [SEEN]
    kept.take(report(ReportKind.ACKNOWLEDGED, "l2", resource=REVOCATION))
    assert kept.lagging([SEEN], "l2") == []
