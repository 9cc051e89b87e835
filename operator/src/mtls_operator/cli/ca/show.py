"""``kubectl mtls ca show``."""

from __future__ import annotations

import argparse
from datetime import datetime

from mtls_operator.api import names
from mtls_operator.api.timestamp import format_timestamp
from mtls_operator.cli import clock
from mtls_operator.cli.access import Access, on_cluster, operator_namespace
from mtls_operator.cli.ca.generations import Generation, Held, Leaf, View, read_view, signs_nothing
from mtls_operator.cli.ca.progress import missing_on_hosts
from mtls_operator.cli.errors import Exit
from mtls_operator.cli.screen import Form, Screen
from mtls_operator.cluster import Cluster
from mtls_operator.plan.authority import Phase

_HEAD = ("GENERATION", "PHASE", "SOURCE", "SUBJECT", "KEY ID", "EXPIRES", "ROTATES", "CERTIFICATES")
#: As many certificates that keep a generation are named; the table counts all of them.
_MOST = 5
_PARTIAL = (
    "You may not read the operator's namespace: generations that count no more, and certificates that left their "
    "objects, are not shown."
)


def run(parsed: argparse.Namespace, screen: Screen) -> Exit:
    """Show the generations."""

    async def read(cluster: Cluster, namespace: str) -> tuple[View, list[str], list[str]]:
        now = clock.utc_now()
        view = await read_view(cluster, namespace, operator_namespace(parsed), now=now)
        prepared = next((one for one in view.generations if one.phase is Phase.PREPARED), None)
        missing = await missing_on_hosts(cluster, namespace, prepared.facts.ski) if prepared else []
        return view, missing, _attention(view, now=now)

    view, missing, attention = on_cluster(Access.of(parsed), read)
    if parsed.output is not Form.TEXT:
        screen.data(
            parsed.output,
            {
                "generations": [_document(one) for one in view.generations],
                "complete": view.complete,
                "waitingFor": missing,
                "attention": attention,
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
    for line in attention:
        screen.line()
        screen.line(line)
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


def _attention(view: View, *, now: datetime) -> list[str]:
    """Return what somebody has to do about the CA: one that is missing, or that was given to the operator."""
    lost = signs_nothing(view.generations)
    lines = [lost] if lost else []
    lines += [one.refused for one in view.given if one.refused]
    active = next((one for one in view.generations if one.phase is Phase.ACTIVE), None)
    known = {one.facts.fingerprint_sha256 for one in view.generations}
    waiting = any(one.digest and one.digest not in known and not one.refused for one in view.given)
    under_way = any(one.phase is Phase.PREPARED for one in view.generations)
    if active is None or not active.given_by or active.due is None or waiting or under_way:
        return lines
    if active.rotate or active.due <= now:
        lines.append(
            f"The CA was given to the operator and is to be replaced: give the next one in a Secret of the operator's "
            f"namespace with the label {names.ISSUING_CA_LABEL}."
        )
    return lines


def _source(one: Generation) -> str:
    """Return where a CA comes from; what only the namespace shows does not tell."""
    if not one.name:
        return "?"
    return f"Secret {one.given_by}" if one.given_by else "operator"


def _cells(one: Generation) -> list[str]:
    due = format_timestamp(one.due) if one.due is not None else ""
    if one.rotate and one.phase is Phase.ACTIVE:
        due = "now"
    return [
        str(one.generation or "?"),
        one.phase.value if one.phase is not None else "?",
        _source(one),
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
        "source": _source(one) if one.name else None,
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
