"""From the patch of ``spec.revoked`` to the first refused request: run it with the chart installed.

    PYTHONPATH=. .venv/bin/python benchmarks/revocation.py --trials 20

For each trial a certificate has an HTTP/1.1 and an HTTP/2 connection open to every pod, on which it keeps asking; a
further client opens new connections. Prints median and maximum, in milliseconds after the patch was sent, of the
slowest pod of each trial, and until the status says Revoked.
"""

from __future__ import annotations

import argparse
import statistics
import threading
import time
import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.support.clients import Http1, Http2
from tests.support.cluster import Api, cluster_environment
from tests.support.tenant import HOSTNAME, Tenant


def refused_at(ask: Callable[[], int], results: list[float]) -> None:
    """Ask until the answer is 403, and note when."""
    deadline = time.perf_counter() + 10
    while time.perf_counter() < deadline:
        if ask() == 403:
            results.append(time.perf_counter())
            return
        time.sleep(0.005)  # as quick clients would, but without taking the processors from the proxies
    results.append(float("inf"))


def _status(connection: Http1 | Http2) -> int:
    return connection.get("/admin", HOSTNAME).status


def trial(tenant: Tenant, name: str, addresses: list[str]) -> dict[str, float]:
    """Revoke one certificate; return the milliseconds for each way to ask, and for the status."""
    ways: dict[str, list[tuple[Callable[[], int], list[float]]]] = {"h1": [], "h2": [], "new": []}
    for address in addresses:
        for way, opener in (("h1", tenant.http1), ("h2", tenant.http2)):
            connection = opener(name, address)
            assert connection.get("/admin", HOSTNAME).status == 200
            ways[way].append((partial(_status, connection), []))
    context = tenant.context(name)

    def on_a_new_connection() -> int:
        with Http1(8443, context, HOSTNAME, address=addresses[0]) as connection:
            return connection.get("/admin", HOSTNAME).status

    ways["new"].append((on_a_new_connection, []))
    threads = [
        threading.Thread(target=refused_at, args=asked) for askers in ways.values() for asked in askers
    ]
    for thread in threads:
        thread.start()
    time.sleep(0.05)
    began = time.perf_counter()
    tenant.patch("clientcertificates", name, {"revoked": True})
    for thread in threads:
        thread.join()
    tenant.wait_state(name, "Revoked")
    state = time.perf_counter() - began
    slowest = {way: max(results[0] for _, results in askers) - began for way, askers in ways.items()}
    return {way: seconds * 1000 for way, seconds in {**slowest, "status": state}.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--pods", type=int, default=2)
    arguments = parser.parse_args()
    api = Api(Path(cluster_environment()["KUBECONFIG"]))
    tenant = Tenant(api, f"bench-{uuid.uuid4().hex[:6]}")
    tenant.create_namespace()
    tenant.host()
    tenant.rule("admin")
    tenant.deploy(replicas=arguments.pods)
    names = [f"c-{number}" for number in range(arguments.trials)]
    for name in names:
        tenant.certificate(name)
    tenant.wait_ready("mtlshosts", "api", within=90)
    for name in names:
        tenant.wait_ready("clientcertificates", name)
    addresses = tenant.wait_pods(arguments.pods)
    trials = []
    for name in names:
        trials.append(trial(tenant, name, addresses))
        time.sleep(0.3)
    words = {
        "h1": "open HTTP/1.1 connections",
        "h2": "open HTTP/2 connections",
        "new": "new connections",
        "status": "state: Revoked",
    }
    for way, word in words.items():
        seen = [result[way] for result in trials]
        print(f"{word:<28} median {statistics.median(seen):6.0f} ms   max {max(seen):6.0f} ms")
    api.delete(f"/api/v1/namespaces/{tenant.namespace}")


if __name__ == "__main__":
    main()
