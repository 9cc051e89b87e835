"""What the webhook's checks cost, and whether rules that are slow to check hold up pods; needs no cluster.

    PYTHONPATH=. .venv/bin/python benchmarks/admission.py --reviews 300

Prints one line for each figure: processor time of each decision, then the time of reviews over HTTPS to a webhook in
this process, alone and while others send it the most expensive rules as fast as it answers.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import ssl
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import structlog
from tests.support import builders
from tests.support.certs import SERVER, authority, leaf

from mtls_operator.api import names
from mtls_operator.inject import InjectSettings
from mtls_operator.plan.admission import judge
from mtls_operator.webhook.server import MUTATE_PATH, VALIDATE_PATH, running
from mtls_operator.webhook.settings import WebhookSettings

_SLOW = " or ".join(f'http.request.uri.path matches "(a|b)*a(a|b){{7}}{number}"' for number in range(20))
_POD = {
    "metadata": {"generateName": "api-", "labels": {names.HOST_LABEL: "api"}},
    "spec": {"containers": [{"name": "app", "image": "shop/api"}]},
}
_OBJECTS = (
    ("ClientCertificate", builders.certificate(emails=["ops@example.com"])),
    ("MTLSHost", builders.host()),
    ("MTLSRule, simple form", builders.rule()),
    ("MTLSRule, slow to check", builders.rule(expression=_SLOW)),
)


def review(resource: tuple[str, str, str], body: dict[str, Any]) -> dict[str, Any]:
    """Return what the API server asks about a new object."""
    group, version, plural = resource
    return {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
            "operation": "CREATE",
            "resource": {"group": group, "version": version, "resource": plural},
            "namespace": "shop",
            "object": body,
        },
    }


def of_rule(body: dict[str, Any]) -> dict[str, Any]:
    """Return a review of a rule."""
    return review((names.GROUP, names.VERSION, names.RULE_PLURAL), body)


def decisions(count: int) -> None:
    """Print the processor time of one decision of each kind."""
    for title, body in _OBJECTS:
        repeats = 3 if "slow" in title else count
        began = time.process_time()
        for _ in range(repeats):
            assert not judge(body["kind"], body).refusal
        print(f"decision, {title}: {(time.process_time() - began) / repeats * 1000:.2f} ms")


async def timed(ask: Callable[[], Awaitable[int]], count: int) -> str:
    """Ask one after the other; return median and maximum in milliseconds."""
    times = []
    for _ in range(count):
        began = time.perf_counter()
        assert await ask() == 200
        times.append((time.perf_counter() - began) * 1000)
    return f"median {statistics.median(times):.1f} ms, maximum {max(times):.1f} ms"


async def over_https(count: int) -> None:
    """Print how long reviews take, and how long pods take beside a flood of slow rules."""
    ca = authority("benchmark")
    with tempfile.TemporaryDirectory() as folder:
        leaf(ca, "webhook", usage=SERVER, addresses=("127.0.0.1",)).write(Path(folder))
        settings = WebhookSettings(
            inject=InjectSettings(image="proxy:1", version="1.0.0"),
            address="127.0.0.1",
            port=0,
            tls_directory=Path(folder),
        )
        connector = aiohttp.TCPConnector(ssl=ssl.create_default_context(cadata=ca.certificate_pem))
        async with running(settings) as webhook, aiohttp.ClientSession(connector=connector) as http:

            async def post(path: str, body: dict[str, Any]) -> int:
                async with http.post(f"https://127.0.0.1:{webhook.port}{path}", json=body) as response:
                    await response.read()
                    return response.status

            async def pod() -> int:
                return await post(MUTATE_PATH, review(("", "v1", "pods"), _POD))

            async def flood(statuses: list[int]) -> None:
                while True:
                    statuses.append(await post(VALIDATE_PATH, of_rule(builders.rule(expression=_SLOW))))

            simple = of_rule(builders.rule())
            print(f"review of a simple rule: {await timed(lambda: post(VALIDATE_PATH, simple), count)}")
            print(f"review of a pod: {await timed(pod, count)}")
            statuses: list[int] = []
            floods = [asyncio.create_task(flood(statuses)) for _ in range(32)]
            await asyncio.sleep(1)
            print(f"review of a pod beside a flood of slow rules: {await timed(pod, count)}")
            for task in floods:
                task.cancel()
            await asyncio.gather(*floods, return_exceptions=True)
            print(f"slow rules checked: {statuses.count(200)}, turned away: {statuses.count(503)}")


def main() -> None:
    """Run both parts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reviews", type=int, default=300)
    count = parser.parse_args().reviews
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    decisions(count)
    asyncio.run(over_https(count))


if __name__ == "__main__":
    main()
