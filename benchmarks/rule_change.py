"""From the push of a new set of rules to the first answer by it, on open connections of one proxy; no cluster needed.

    PYTHONPATH=operator/src:. .venv/bin/python benchmarks/rule_change.py --changes 50

An HTTP/1.1 and an HTTP/2 connection keep asking while sets of different sizes are pushed one after the other. Prints
median and maximum, in milliseconds after the push was offered, until each connection is answered by the new set, and
until the proxy has acknowledged it (looked at every 10 ms).
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from tests.support.lab import ADMIN, HOST, Lab

from mtls_operator.envoy import RuleScript

SIZES = (1, 10, 100, 1000)
#: As quick clients would, but without taking the processors from the proxy.
PAUSE = 0.001


def version(lab: Lab, number: int, size: int) -> str:
    """Return a script that answers with its number, after ``size`` rules that do not apply."""
    others = [replace(ADMIN, name=f"rule-{position}") for position in range(size - 1)]
    answer = RuleScript("version", "block", (), "true", 403, "text/plain", str(number))
    return lab.rules_text(replace(lab.rules, rules=(*others, answer)))


def seen_at(ask: Callable[[], bytes], body: bytes, found: list[float]) -> None:
    """Ask until the answer is that of the new set, and note when."""
    while ask() != body:
        time.sleep(PAUSE)
    found.append(time.perf_counter())


def change(lab: Lab, askers: dict[str, Callable[[], bytes]], number: int, size: int) -> dict[str, float]:
    """Push one set; return the milliseconds for each way to ask, and for the acknowledgement."""
    text, body = version(lab, number, size), str(number).encode()
    found: dict[str, list[float]] = {way: [] for way in askers}
    threads = [threading.Thread(target=seen_at, args=(ask, body, found[way])) for way, ask in askers.items()]
    for thread in threads:
        thread.start()
    began = time.perf_counter()
    lab.push_rules(text)
    found["acknowledged"] = [time.perf_counter()]
    for thread in threads:
        thread.join()
    return {way: (times[0] - began) * 1000 for way, times in found.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--changes", type=int, default=50)
    changes = parser.parse_args().changes
    with tempfile.TemporaryDirectory() as folder:
        lab = Lab(Path(folder))
        try:
            with lab.http1("good") as http1, lab.http2("good") as http2:
                askers = {
                    "HTTP/1.1": lambda: http1.get("/x", HOST).body,
                    "HTTP/2": lambda: http2.get("/x", HOST).body,
                }
                for size in SIZES:
                    results = [change(lab, askers, number, size) for number in range(changes)]
                    for way in results[0]:
                        times = [result[way] for result in results]
                        median, most = statistics.median(times), max(times)
                        print(f"{size:>5} rules  {way:<14} median {median:6.1f} ms   max {most:6.1f} ms")
        finally:
            lab.close()


if __name__ == "__main__":
    main()
