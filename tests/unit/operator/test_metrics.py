"""What Prometheus reads: names and labels are a contract with people's alerts."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from mtls_operator.controller.metrics import Metrics


def samples(metrics: Metrics) -> dict[tuple[str, frozenset[str]], float]:
    return {
        (sample.name, frozenset(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(metrics.text().decode())
        for sample in family.samples
    }


def test_the_names_are_exactly_these() -> None:
    families = {
        family.name: family.type for family in text_string_to_metric_families(Metrics().text().decode())
    }
    assert families == {
        "mtls_operator_reconcile_seconds": "histogram",
        "mtls_operator_reconcile_failures": "counter",
        "mtls_operator_queue_length": "gauge",
        "mtls_operator_issuing_cas_attention": "gauge",
        "mtls_operator_discovery_streams": "gauge",
        "mtls_operator_discovery_pushes": "gauge",
        "mtls_operator_discovery_refusals": "gauge",
        "mtls_operator_issuing_limited": "gauge",
        "mtls_operator_capacity_used_ratio": "gauge",
        "mtls_operator_rotation_waiting_hosts": "gauge",
    }


def test_every_run_is_counted_by_topic() -> None:
    metrics = Metrics()
    metrics.reconciled("host", 0.03)
    metrics.reconciled("host", 0.01)
    metrics.reconciled("rule", 0.01)
    assert samples(metrics)["mtls_operator_reconcile_seconds_count", frozenset({"host"})] == 2
    assert samples(metrics)["mtls_operator_reconcile_seconds_sum", frozenset({"host"})] == 0.04


def test_failures_are_counted_by_topic_and_kind() -> None:
    metrics = Metrics()
    metrics.failed("certificate", "bug")
    metrics.failed("certificate", "cluster")
    metrics.failed("certificate", "cluster")
    seen = samples(metrics)
    assert seen["mtls_operator_reconcile_failures_total", frozenset({"certificate", "bug"})] == 1
    assert seen["mtls_operator_reconcile_failures_total", frozenset({"certificate", "cluster"})] == 2


def test_two_operators_in_one_process_do_not_share_counters() -> None:
    first, second = Metrics(), Metrics()
    first.failed("host", "bug")
    assert ("mtls_operator_reconcile_failures_total", frozenset({"host", "bug"})) not in samples(second)
