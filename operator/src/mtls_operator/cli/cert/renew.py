"""``kubectl mtls cert renew``."""

from __future__ import annotations

import argparse
from datetime import datetime, timedelta
from functools import partial

from mtls_operator.api import names
from mtls_operator.api.timestamp import format_timestamp
from mtls_operator.cli import clock
from mtls_operator.cli.access import Access, on_cluster
from mtls_operator.cli.cert.changes import change, renewal_missing
from mtls_operator.cli.cert.objects import read_object, status_of
from mtls_operator.cli.errors import Exit, Refused
from mtls_operator.cli.screen import Screen
from mtls_operator.cli.waiting import wait
from mtls_operator.cluster import Body, Cluster
from mtls_operator.pki import CLOCK_SKEW


def run(parsed: argparse.Namespace, screen: Screen) -> Exit:
    """Ask for a new certificate."""

    async def renew(cluster: Cluster, namespace: str) -> None:
        name = parsed.name
        body = await read_object(cluster, namespace, name)
        former = str(status_of(body).get("serialNumber") or "")
        if not former:
            raise Refused(f"ClientCertificate {name} has no certificate yet")
        if (body.get("spec") or {}).get("request"):
            raise Refused(
                f"ClientCertificate {name} was issued for a signing request: only its owner can make a new one"
            )
        await change(cluster, namespace, name, _wish(body, now=clock.utc_now()))
        if not parsed.wait:
            screen.line(f"ClientCertificate {name} is asked to be renewed")
            return
        look = partial(renewal_missing, cluster, namespace, name, former=former)
        await wait(look, screen, timeout=parsed.timeout)
        serial = status_of(await read_object(cluster, namespace, name)).get("serialNumber")
        screen.line(f"ClientCertificate {name} has certificate {serial}, in place of {former}")

    on_cluster(Access.of(parsed), renew)
    return Exit.FINE


def _wish(body: Body, *, now: datetime) -> Body:
    """Return the patch that asks for a renewal at once, also where this clock is ahead of the operator's.

    Another wish within the same second is another wish all the same.
    """
    before = (body["metadata"].get("annotations") or {}).get(names.RENEW_ANNOTATION)
    wanted = format_timestamp(now - CLOCK_SKEW)
    if before == wanted:
        wanted = format_timestamp(now - CLOCK_SKEW - timedelta(seconds=1))
    return {"metadata": {"annotations": {names.RENEW_ANNOTATION: wanted}}}
