"""``kubectl mtls cert list``."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from mtls_operator.api.certificate import CertificateState
from mtls_operator.cli import clock
from mtls_operator.cli.access import Access, on_cluster
from mtls_operator.cli.cert.objects import moment_of, state_of, status_of
from mtls_operator.cli.errors import Exit
from mtls_operator.cli.screen import Form, Screen
from mtls_operator.cluster import Cluster, Kind

_ENDED = (CertificateState.REVOKED, CertificateState.EXPIRED)


@dataclass(frozen=True, slots=True)
class Row:
    """One ClientCertificate; empty where the status says nothing."""

    namespace: str
    name: str
    state: str
    serial: str
    expires: str
    renews: str
    subject: str
    end: datetime | None

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> Row:
        """Read it from an object."""
        status, meta = status_of(body), body["metadata"]
        return cls(
            namespace=str(meta["namespace"]),
            name=str(meta["name"]),
            state=state_of(body),
            serial=str(status.get("serialNumber") or ""),
            expires=str(status.get("notAfter") or ""),
            renews=str(status.get("renewalTime") or ""),
            subject=str(status.get("subject") or ""),
            end=moment_of(body, "notAfter"),
        )

    def document(self) -> dict[str, str]:
        """Return it for tools."""
        return {
            "namespace": self.namespace,
            "name": self.name,
            "state": self.state,
            "serialNumber": self.serial,
            "notAfter": self.expires,
            "renewalTime": self.renews,
            "subject": self.subject,
        }


def run(parsed: argparse.Namespace, screen: Screen) -> Exit:
    """List what there is."""
    within = timedelta(seconds=parsed.expiring) if parsed.expiring is not None else None
    everywhere = parsed.all_namespaces

    async def read(cluster: Cluster, namespace: str) -> list[Row]:
        bodies = await cluster.list(Kind.CERTIFICATE, None if everywhere else namespace)
        return chosen(map(Row.of, bodies), within=within, now=clock.utc_now())

    rows = on_cluster(Access.of(parsed), read)
    if parsed.output is not Form.TEXT:
        screen.data(parsed.output, {"certificates": [row.document() for row in rows]})
        return Exit.FINE
    if not rows:
        screen.note("no certificates")
        return Exit.FINE
    head = ["NAME", "STATE", "SERIAL", "EXPIRES", "RENEWS", "SUBJECT"]
    cells = [[row.name, row.state, row.serial, row.expires, row.renews, row.subject] for row in rows]
    if everywhere:
        head = ["NAMESPACE", *head]
        cells = [[row.namespace, *line] for row, line in zip(rows, cells, strict=True)]
    screen.table(head, cells)
    return Exit.FINE


def chosen(rows: Iterable[Row], *, within: timedelta | None, now: datetime) -> list[Row]:
    """Return rows in the order of their ends; ``within``: only valid ones that end so soon."""
    kept = [row for row in rows if within is None or _ends(row, within, now)]
    last = datetime.max.replace(tzinfo=UTC)
    return sorted(kept, key=lambda row: (row.end or last, row.namespace, row.name))


def _ends(row: Row, within: timedelta, now: datetime) -> bool:
    return row.end is not None and row.state not in _ENDED and now < row.end <= now + within
