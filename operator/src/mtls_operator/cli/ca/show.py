"""``kubectl mtls ca show``."""

from __future__ import annotations

import argparse

from mtls_operator.api.timestamp import format_timestamp
from mtls_operator.cli import clock
from mtls_operator.cli.access import Access, on_cluster, operator_namespace
from mtls_operator.cli.ca.generations import Generation, Held, Leaf, View, read_view
from mtls_operator.cli.ca.progress import missing_on_hosts
from mtls_operator.cli.errors import Exit
from mtls_operator.cli.screen import Form, Screen
from mtls_operator.cluster import Cluster
from mtls_operator.plan.authority import Phase

_HEAD = ("GENERATION", "PHASE", "SUBJECT", "KEY ID", "EXPIRES", "ROTATES", "CERTIFICATES")
#: As many certificates that keep a generation are named; the table counts all of them.
_MOST = 5
_PARTIAL = (
    "You may not read the operator's namespace: generations that count no more, and certificates that left their "
    "objects, are not shown."
)


def run(parsed: argparse.Namespace, screen: Screen) -> Exit:
    """Show the generations."""

    async def read(cluster: Cluster, namespace: str) -> tuple[View, list[str]]:
        view = await read_view(cluster, namespace, operator_namespace(parsed), now=clock.utc_now())
        prepared = next((one for one in view.generations if one.phase is Phase.PREPARED), None)
        missing = await missing_on_hosts(cluster, namespace, prepared.facts.ski) if prepared else []
        return view, missing

    view, missing = on_cluster(Access.of(parsed), read)
    if parsed.output is not Form.TEXT:
        screen.data(
            parsed.output,
            {
                "generations": [_document(one) for one in view.generations],
                "complete": view.complete,
                "waitingFor": missing,
            },
        )
        return Exit.FINE
    screen.table(_HEAD, [_cells(one) for one in view.generations])
    if missing:
        screen.line()
        screen.line("the rotation waits for:")
        for line in missing:
            screen.line(line, indent=2)
    for one in view.generations:
        _keepers(one, screen)
    if not view.complete:
        screen.note(_PARTIAL)
    return Exit.FINE


def _keepers(one: Generation, screen: Screen) -> None:
    """Say which certificates a generation waits for that is to be retired."""
    if one.phase is not Phase.RETIRING or not one.leaves:
        return
    screen.line()
    which = f"generation {one.generation}" if one.generation else f"the CA with key {one.facts.ski}"
    screen.line(f"{which} counts until these have ended or are revoked:")
    for leaf in one.leaves[:_MOST]:
        screen.line(
            f"{_HELD[leaf.held].format(leaf.owner)}, {leaf.serial}, until {format_timestamp(leaf.end)}",
            indent=2,
        )
    if len(one.leaves) > _MOST:
        screen.line(f"and {len(one.leaves) - _MOST} more", indent=2)


_HELD = {
    Held.PRESENT: "ClientCertificate {}",
    Held.FORMER: "a former certificate of ClientCertificate {}",
    Held.LEFT: "a certificate that ClientCertificate {} left behind",
}


def _cells(one: Generation) -> list[str]:
    due = format_timestamp(one.due) if one.due is not None else ""
    if one.rotate and one.phase is Phase.ACTIVE:
        due = "now"
    return [
        str(one.generation or "?"),
        one.phase.value if one.phase is not None else "?",
        one.facts.subject,
        one.facts.ski,
        format_timestamp(one.facts.not_after),
        due,
        str(len(one.leaves)),
    ]


def _document(one: Generation) -> dict[str, object]:
    return {
        "generation": one.generation or None,
        "phase": one.phase.value if one.phase is not None else None,
        "subject": one.facts.subject,
        "ski": one.facts.ski,
        "fingerprintSha256": one.facts.fingerprint_sha256,
        "notAfter": format_timestamp(one.facts.not_after),
        "rotates": format_timestamp(one.due) if one.due is not None else None,
        "asked": one.rotate or None,
        "certificates": len(one.leaves),
        "keptBy": [_kept_by(leaf) for leaf in one.leaves] if one.phase is Phase.RETIRING else [],
    }


def _kept_by(leaf: Leaf) -> dict[str, object]:
    return {
        "clientCertificate": leaf.owner,
        "held": leaf.held.value,
        "serialNumber": leaf.serial,
        "notAfter": format_timestamp(leaf.end),
    }
