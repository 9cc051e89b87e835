"""How fast certificates are issued in bulk, and what each costs; needs the local cluster with the chart installed.

    make local-cluster-up images && .venv/bin/python hack/demo install
    PYTHONPATH=. .venv/bin/python benchmarks/issuing.py --certificates 500

Prints one line for each figure. Needs the local provider of ``hack/cluster``: the processes' CPU times and the API
server's audit log are read on this machine.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import threading
import time
import uuid
from pathlib import Path
from queue import Queue

import httpx
from benchmarks.audit import Mark, mark, operator_writes
from tests.support.cluster import Api, cluster_environment, process_of
from tests.support.tenant import Tenant

from mtls_operator.api import names


def cpu_seconds(pid: int) -> float:
    """Return user and system time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_megabytes(pid: int) -> float:
    """Return the resident memory of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1000
    return 0.0


def writes_for_certificates(namespace: str, since: Mark) -> int:
    """Count the operator's writes for certificates of a namespace since a mark in the audit log."""
    return sum(
        write.namespace == namespace
        and write.resource in ("clientcertificates", "secrets", "events")
        and write.name != "mtls-proxy"
        for write in operator_writes(since)
    )


def create_all(tenant: Tenant, count: int, clients: int) -> None:
    """Create certificates from several clients at once."""
    numbers: Queue[int] = Queue()
    for number in range(count):
        numbers.put(number)

    def work() -> None:
        while not numbers.empty():
            tenant.certificate(f"bulk-{numbers.get():05d}")

    threads = [threading.Thread(target=work) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def wait_all(api: Api, tenant: Tenant, count: int, deadline: float) -> None:
    """Wait until every certificate is Ready."""
    while True:
        items = api.items(tenant.path("clientcertificates"))
        ready = sum(
            condition["type"] == "Ready" and condition["status"] == "True"
            for item in items
            for condition in (item.get("status") or {}).get("conditions") or ()
        )
        if ready >= count:
            return
        if time.monotonic() > deadline:
            raise SystemExit(f"only {ready} of {count} are Ready")
        time.sleep(0.1)


def single(tenant: Tenant, number: int) -> float:
    """Return the milliseconds from creating one certificate to Ready=True, seen by a watch."""
    name = f"single-{number}"
    api = tenant.api
    path = tenant.path("clientcertificates")
    version = api.get(path)["metadata"]["resourceVersion"]
    query = {"watch": "1", "resourceVersion": version, "fieldSelector": f"metadata.name={name}"}
    result: list[float] = []
    started = threading.Event()

    def follow() -> None:
        with api.http.stream("GET", path, params=query, timeout=httpx.Timeout(20)) as response:
            started.set()
            for line in response.iter_lines():
                conditions = (json.loads(line)["object"].get("status") or {}).get("conditions") or ()
                if any(c["type"] == "Ready" and c["status"] == "True" for c in conditions):
                    result.append(time.perf_counter())
                    return

    thread = threading.Thread(target=follow)
    thread.start()
    started.wait()
    began = time.perf_counter()
    tenant.certificate(name)
    thread.join()
    return (result[0] - began) * 1000


def collections(tenant: Tenant) -> dict[str, dict[str, str]]:
    """Return what the operator watches of certificates: path of a collection, and the query that selects from it."""
    ours = f"{names.MANAGED_BY_LABEL}={names.MANAGED_BY}"
    secrets = f"/api/v1/namespaces/{tenant.namespace}/secrets"
    return {tenant.path("clientcertificates"): {}, secrets: {"labelSelector": ours}}


def versions(tenant: Tenant) -> dict[str, str]:
    """Return the present resource version of each collection."""
    return {path: tenant.api.get(path)["metadata"]["resourceVersion"] for path in collections(tenant)}


def watch_events(tenant: Tenant, since: dict[str, str]) -> int:
    """Count the events that a watch has received since some resource versions, by having the API server repeat them."""
    count = 0
    for path, query in collections(tenant).items():
        query |= {"watch": "1", "resourceVersion": since[path], "timeoutSeconds": "3"}
        with tenant.api.http.stream("GET", path, params=query) as response:
            for line in response.iter_lines():
                event = json.loads(line)["type"]
                if event not in ("ADDED", "MODIFIED", "DELETED"):
                    raise SystemExit(f"the API server does not repeat the events: {line[:200]}")
                count += 1
    return count


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--certificates", type=int, default=500)
    parser.add_argument("--clients", type=int, default=16)
    arguments = parser.parse_args()
    count = arguments.certificates
    api = Api(Path(cluster_environment()["KUBECONFIG"]))
    tenant = Tenant(api, f"bench-{uuid.uuid4().hex[:6]}")
    tenant.create_namespace()
    tenant.certificate("first")
    tenant.wait_ready("clientcertificates", "first")
    operator = process_of("bin/mtls-operator", "run")
    server = process_of("/kube-apiserver")
    singles = [single(tenant, number) for number in range(15)]
    before = cpu_seconds(operator), cpu_seconds(server)
    log = mark()
    since = versions(tenant)
    began = time.monotonic()
    create_all(tenant, count, arguments.clients)
    created = time.monotonic() - began
    wait_all(api, tenant, count + len(singles) + 1, began + 300)
    seconds = time.monotonic() - began
    time.sleep(2)
    after = cpu_seconds(operator), cpu_seconds(server)
    events = watch_events(tenant, since)
    print(
        f"{count} certificates, {arguments.clients} clients: "
        f"created after {created:.1f} s, Ready after {seconds:.1f} s"
    )
    print(f"certificates per second: {count / seconds:.0f}")
    print(f"a single one on an idle operator: median {statistics.median(singles):.0f} ms (of {len(singles)})")
    writes = writes_for_certificates(tenant.namespace, log)
    print(f"API writes of the operator per certificate: {writes / count:.2f}")
    print(f"watch events per certificate: {events / count:.2f}")
    print(f"operator CPU per certificate: {(after[0] - before[0]) / count * 1000:.1f} ms")
    print(f"API server CPU per certificate: {(after[1] - before[1]) / count * 1000:.1f} ms")
    print(f"operator memory: {resident_megabytes(operator):.0f} MB resident")
    api.delete(f"/api/v1/namespaces/{tenant.namespace}")


if __name__ == "__main__":
    main()
