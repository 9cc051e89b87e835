"""``kubectl mtls cert restore``."""

from __future__ import annotations

import argparse
from functools import partial

from mtls_operator.cli.access import Access, on_cluster
from mtls_operator.cli.cert.changes import change, restoring_missing
from mtls_operator.cli.errors import Exit
from mtls_operator.cli.screen import Screen
from mtls_operator.cli.waiting import wait
from mtls_operator.cluster import Cluster


def run(parsed: argparse.Namespace, screen: Screen) -> Exit:
    """Take a revocation back."""

    async def restore(cluster: Cluster, namespace: str) -> None:
        name = parsed.name
        await change(cluster, namespace, name, {"spec": {"revoked": False}})
        if not parsed.wait:
            screen.line(f"ClientCertificate {name} is asked to be valid again")
            return
        look = partial(restoring_missing, cluster, namespace, name)
        took = await wait(look, screen, timeout=parsed.timeout)
        screen.line(f"every proxy accepts ClientCertificate {name} again, after {took:.2f} s")

    on_cluster(Access.of(parsed), restore)
    return Exit.FINE
