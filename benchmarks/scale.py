"""Many certificates and long lists: the operator on a cluster in memory, and the real proxy; no cluster needed.

    PYTHONPATH=operator/src:. .venv/bin/python benchmarks/scale.py list --issued 1000000 --revoked 100000
    PYTHONPATH=operator/src:. .venv/bin/python benchmarks/scale.py restart --certificates 10000

``list``: a ledger is synthesised, the operator starts on it and writes and pushes the list; then one more certificate
is revoked, and the proxy loads the list. ``restart``: that many certificates are issued; then an operator with no
memory starts on them, in a process of its own, and is measured until nothing is left to do. The operator is the whole
one, with real time; only the API server and the discovery server are not (``tests/feature/harness.py``).
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import pickle
import random
import statistics
import subprocess
import sys
import tempfile
import time
from base64 import b64encode
from datetime import timedelta
from pathlib import Path

import structlog
from tests.feature.harness import START, Lab
from tests.support.builders import NAMESPACE, certificate, host, pod
from tests.support.lab import HOST, next_epoch
from tests.support.lab import Lab as ProxyLab

from mtls_operator.api import names
from mtls_operator.api.certificate import RevocationReason
from mtls_operator.cluster import Kind
from mtls_operator.pki import format_serial, make_serial
from mtls_operator.plan.authority import NEXT_INDEX_KEY
from mtls_operator.plan.ledger import Entry, Record, append
from mtls_operator.plan.ledger_pages import page_document

#: Goals, for a list of 100 000 revocations and for 10 000 certificates.
MOST_MILLISECONDS = 500
MOST_MEGABYTES_OF_PROXY = 20
MOST_SECONDS_OF_RESTART = 120
SYSTEM = names.OPERATOR_NAMESPACE


def resident(pid: int | str = "self") -> float:
    """Return the resident memory of a process in MB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1000


def say(what: str, value: str) -> None:
    """Print one figure."""
    print(f"{what:<78} {value}", flush=True)


def require(*, holds: bool, goal: str) -> None:
    """Stop with an error when a goal is missed."""
    if not holds:
        raise SystemExit(f"missed: {goal}")


async def until_idle(lab: Lab, seconds: float) -> None:
    """Wait until the operator has nothing to do."""
    deadline = time.monotonic() + seconds
    while not lab.process.idle:
        if time.monotonic() > deadline:
            raise SystemExit(f"not idle after {seconds:.0f} s")
        await asyncio.sleep(0.05)
    lab.check_failures()


def synthesise(lab: Lab, issued: int, revoked: int) -> None:
    """Put a ledger into the cluster, and a CA that has given out that many numbers."""
    chance = random.Random(1)
    records = [
        Record(
            serial=format_serial(make_serial(index, chance.randbytes(15))),
            entry=Entry.REVOKED,
            at=START,
            not_after=START + timedelta(days=365),
            reason=RevocationReason.UNSPECIFIED,
            owner=f"{NAMESPACE}/device-{index}",
            owner_uid=f"{index:08x}-0000-4000-8000-000000000000",
        )
        for index in sorted(chance.sample(range(1024, issued), revoked))
    ]
    (authority,) = lab.authority_secrets()
    uid = authority["metadata"]["labels"][names.NAMESPACE_UID_LABEL]
    for number, text in enumerate(append("", records), start=2):
        lab.cluster.make(page_document(SYSTEM, NAMESPACE, uid, page=number, text=text))
    mark = -(-issued // 1024) * 1024
    encoded = b64encode(str(mark).encode()).decode()
    lab.cluster.edit(Kind.SECRET, SYSTEM, authority["metadata"]["name"], {"data": {NEXT_INDEX_KEY: encoded}})


async def pushed_after(lab: Lab, name: str) -> tuple[float, float, float]:
    """Revoke one certificate; return the seconds until the push, the durable list, and the status."""
    discovery, began = lab.process.discovery, time.perf_counter()
    pushes, lists = len(discovery.history), len([w for w in lab.cluster.writes if _is_list(w.name)])
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, name, {"spec": {"revoked": True}})
    times = [0.0, 0.0, 0.0]
    while not all(times):
        await asyncio.sleep(0.001)
        now = time.perf_counter() - began
        if not times[0] and len(discovery.history) > pushes:
            times[0] = now
        if not times[1] and len([w for w in lab.cluster.writes if _is_list(w.name)]) > lists:
            times[1] = now
        if (
            not times[2]
            and lab.cluster.objects[Kind.CERTIFICATE, NAMESPACE, name]["status"]["state"] == "Revoked"
        ):
            times[2] = now
        if now > 60:
            raise SystemExit("not revoked within 60 s")
    return times[0], times[1], times[2]


def _is_list(name: str) -> bool:
    return name == names.REVOCATION_CONFIGMAP


async def long_list(issued: int, revoked: int) -> None:
    """Measure the operator with a long list."""
    lab = Lab([])
    lab.cluster.make(host())
    more = [f"more-{number}" for number in range(9)]
    for name in more:
        lab.cluster.make(certificate(name))
    lab.run_pod(pod())
    await lab.start()
    await until_idle(lab, 60)
    await lab.stop()
    synthesise(lab, issued, revoked)
    gc.collect()
    lab.writes()
    before, began = resident(), time.perf_counter()
    await lab.start()
    while not any(_is_list(write.name) for write in lab.cluster.writes):  # noqa: ASYNC110 - it has no event
        await asyncio.sleep(0.005)
    say(
        "from the start to the list in force, ledger and evidence read",
        f"{time.perf_counter() - began:.1f} s",
    )
    await until_idle(lab, 120)
    say("until revoked.json and ca.crl are written too", f"{time.perf_counter() - began:.1f} s")
    pages = [body for body in lab.cluster.all(Kind.CONFIG_MAP, NAMESPACE) if "part" in body.get("data", {})]
    script = lab.revocation_script()
    say(
        "the proxies' part; further ConfigMaps with the readable parts",
        f"{len(script) / 1000:.0f} kB; {len(pages)}",
    )
    gc.collect()
    say("operator memory for it", f"{resident() - before:.0f} MB")
    idle = [await pushed_after(lab, name) for name in more[:4]]
    await asyncio.sleep(31)
    busy = []
    for name in more[4:]:
        busy.append(await pushed_after(lab, name))
        await asyncio.sleep(0.2)
    for what, times in (("idle", idle), ("while the readable parts are made", busy)):
        for place, word in enumerate(("pushed", "in mtls-revocation", "state: Revoked")):
            values = [one[place] * 1000 for one in times]
            median, most = statistics.median(values), max(values)
            say(f"one more, operator {what}: {word}", f"median {median:.0f} ms, maximum {most:.0f} ms")
            require(holds=median < MOST_MILLISECONDS, goal=f"{word} within {MOST_MILLISECONDS} ms")
    await asyncio.sleep(75)  # whatever is still to be made of the last revocation is made
    await until_idle(lab, 120)
    await lab.stop()
    lab.writes()
    began = time.perf_counter()
    await lab.start()
    await until_idle(lab, 120)
    seconds, writes = time.perf_counter() - began, len(lab.writes())
    say("restart to idle; writes", f"{seconds:.1f} s; {writes}")
    _require_restart(seconds, writes)
    await lab.close()


def _require_restart(seconds: float, writes: int) -> None:
    require(
        holds=seconds < MOST_SECONDS_OF_RESTART and not writes,
        goal=f"a restart within {MOST_SECONDS_OF_RESTART} s that writes nothing",
    )


def proxy(issued: int, revoked: int) -> None:
    """Measure the real proxy with a long list."""
    chance = random.Random(1)
    wanted = [*sorted(chance.sample(range(1024, issued), revoked - 1)), issued - 1]
    with tempfile.TemporaryDirectory() as folder:
        lab = ProxyLab(Path(folder))
        try:
            with lab.http1("good") as client:
                assert client.get("/admin", HOST).status == 200
                before = resident(lab.proxy.pid)
                lab.push_revocation(lab.revocation_text(wanted))
                after = resident(lab.proxy.pid)
                say("proxy memory growth by the list, one worker", f"{after - before:.1f} MB")
                for _ in range(10):
                    lab.push_revocation(lab.revocation_text([*wanted, chance.randrange(1024, issued)]))
                most = resident(lab.proxy.pid) - before
                say("after ten more pushes of it", f"{most:.1f} MB")
                require(
                    holds=max(after - before, most) < MOST_MEGABYTES_OF_PROXY,
                    goal=f"{MOST_MEGABYTES_OF_PROXY} MB of the proxy",
                )
                times = []
                for _ in range(20):
                    lab.push_revocation(lab.revocation_text(wanted))
                    while client.get("/admin", HOST).status != 200:
                        time.sleep(0.001)
                    text = lab.revocation_text([1, *wanted], next_epoch())
                    began = time.perf_counter()
                    lab.push_revocation(text)
                    while client.get("/admin", HOST).status != 403:
                        time.sleep(0.001)
                    times.append((time.perf_counter() - began) * 1000)
                median = statistics.median(times)
                say(
                    "from the push to the first 403 on an open connection",
                    f"median {median:.0f} ms, maximum {max(times):.0f} ms",
                )
                require(holds=median < MOST_MILLISECONDS, goal=f"refused within {MOST_MILLISECONDS} ms")
        finally:
            lab.close()


async def issue(count: int) -> bytes:
    """Issue certificates; return the cluster."""
    lab = Lab([], workers=16)
    lab.cluster.make(host())
    for number in range(count):
        lab.cluster.make(certificate(f"device-{number:05d}"))
    began = time.perf_counter()
    await lab.start()
    await until_idle(lab, 600)
    say(f"{count} certificates issued by the operator", f"{time.perf_counter() - began:.0f} s")
    await lab.close()
    return pickle.dumps(lab.cluster.objects)


async def start_on(cluster: bytes) -> None:
    """Start an operator with no memory on a cluster."""
    lab = Lab([], workers=16)
    lab.cluster.objects.clear()
    lab.cluster.objects.update(pickle.loads(cluster))  # noqa: S301 - our own
    for _ in range(max(int(body["metadata"]["resourceVersion"]) for body in lab.cluster.objects.values())):
        next(lab.cluster._versions)  # noqa: SLF001 - a server that goes on where the other one stopped
    lab.skew = timedelta(hours=1)
    gc.collect()
    before, began, cpu = resident(), time.perf_counter(), time.process_time()
    await lab.start()
    await until_idle(lab, 600)
    seconds, writes = time.perf_counter() - began, len(lab.writes())
    say("restart to all reconciled", f"{seconds:.1f} s ({time.process_time() - cpu:.1f} s CPU)")
    say("writes", f"{writes}")
    _require_restart(seconds, writes)
    gc.collect()
    say(
        "operator memory for them; process with the cluster in memory, before",
        f"{resident() - before:.0f} MB; {before:.0f} MB",
    )
    began = time.perf_counter()
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "device-00007", {"spec": {"revoked": True}})
    await until_idle(lab, 60)
    say("one of them revoked, until idle", f"{time.perf_counter() - began:.2f} s; {len(lab.writes())} writes")
    await lab.close()


def restart(count: int) -> None:
    """Issue in one process, restart in another."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "cluster.pickle"
        for step in ("issue", "start"):
            command = [sys.executable, __file__, step, "--certificates", str(count), "--file", str(file)]
            subprocess.run(command, check=True)


def main() -> None:
    """Measure and print."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("list", "proxy", "restart", "issue", "start"))
    parser.add_argument("--issued", type=int, default=1_000_000)
    parser.add_argument("--revoked", type=int, default=100_000)
    parser.add_argument("--certificates", type=int, default=10_000)
    parser.add_argument("--file", type=Path)
    chosen = parser.parse_args()
    if chosen.what == "list":
        asyncio.run(long_list(chosen.issued, chosen.revoked))
        proxy(chosen.issued, chosen.revoked)
    elif chosen.what == "proxy":
        proxy(chosen.issued, chosen.revoked)
    elif chosen.what == "restart":
        restart(chosen.certificates)
    elif chosen.what == "issue":
        chosen.file.write_bytes(asyncio.run(issue(chosen.certificates)))
    else:
        asyncio.run(start_on(chosen.file.read_bytes()))


if __name__ == "__main__":
    main()
