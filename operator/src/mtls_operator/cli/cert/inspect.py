"""``kubectl mtls cert inspect``: a certificate as rules see it."""

from __future__ import annotations

import argparse
from base64 import b64decode
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from mtls_operator.api import names
from mtls_operator.cli.access import Access, is_forbidden, on_cluster
from mtls_operator.cli.cert.objects import data_of, read_object, secret_name_of, status_of
from mtls_operator.cli.errors import Exit, Unanswered
from mtls_operator.cli.manifests import STANDARD_INPUT, read_text
from mtls_operator.cli.rule.certificate import read_pem
from mtls_operator.cli.rule.presented import of_object_status
from mtls_operator.cli.screen import Form, Screen
from mtls_operator.cluster import Cluster, Kind, RejectedError
from mtls_operator.pki import PkiError, judge_client
from mtls_operator.rules.schema import CERTIFICATE_PREFIX, FIELDS, NAMES_PREFIX

_CERT = CERTIFICATE_PREFIX + "cert_"
_FACTS = (_CERT + "presented", _CERT + "verified", _CERT + "revoked")
_READABLE = sorted(name for name in FIELDS if name.startswith((CERTIFICATE_PREFIX, NAMES_PREFIX)))


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known of a certificate: fields by name, and remarks. What is in no field is not known."""

    title: str
    fields: dict[str, object]
    notes: tuple[str, ...] = ()

    @property
    def unknown(self) -> list[str]:
        """The fields that a rule can read and that are not known here."""
        return [name for name in _READABLE if name not in self.fields]


def run(parsed: argparse.Namespace, screen: Screen) -> Exit:
    """Show the fields."""
    now = datetime.now(UTC)
    what = str(parsed.what)
    if what == STANDARD_INPUT or "/" in what or "." in what:
        seen = of_file(what, parsed.ca, now=now)
    elif parsed.ca:
        raise Unanswered("--ca is for files: what a ClientCertificate is worth stands in its status")
    else:

        async def read(cluster: Cluster, namespace: str) -> Seen:
            return await of_object(cluster, namespace, what, now=now)

        seen = on_cluster(Access.of(parsed), read)
    _show(seen, parsed.output, screen)
    return Exit.FINE


def of_file(file: str, ca_file: str | None, *, now: datetime) -> Seen:
    """Return what a file and the CAs of another one tell.

    Raises:
        Unanswered: one cannot be read.
    """
    pem = read_text(file)
    facts, fields = read_pem(pem, file=file)
    fields[_FACTS[0]] = True
    title = f"{facts.subject or facts.serial} ({file})"
    if ca_file is None:
        return Seen(title, fields, ("whether it is valid is not known: give its CA with --ca FILE",))
    try:
        judged = judge_client(pem, read_text(ca_file), now=now)
    except PkiError as error:
        raise Unanswered(f"{file}: {error}") from error
    fields[_FACTS[1]] = judged.issuer is not None
    if judged.issuer is None:
        # A certificate that is not valid is never looked up in a list.
        fields[_FACTS[2]] = False
        return Seen(title, fields, (judged.problem,))
    fields[_CERT + "issuer_serial"] = judged.issuer.serial
    return Seen(title, fields, ("whether it is revoked is not known here",))


async def of_object(cluster: Cluster, namespace: str, name: str, *, now: datetime) -> Seen:
    """Return what a ClientCertificate, and its Secret where it may be read, tell.

    Raises:
        Unanswered: there is no such object, or no certificate yet.
    """
    body = await read_object(cluster, namespace, name)
    title = f"ClientCertificate {name}"
    worth = of_object_status(title, body, now)
    seen = Seen(title, dict(worth.request), (worth.why, *worth.notes))
    pem = str(status_of(body).get("certificate") or "")
    if not pem:
        try:
            pem = await _from_secret(cluster, namespace, body)
        except RejectedError as error:
            if not is_forbidden(error):
                raise
            note = (
                f"you may not read Secret {secret_name_of(body)}: the other fields stand in its certificate"
            )
            return replace(seen, notes=(*seen.notes, note))
    facts, fields = read_pem(pem, file=f"Secret {secret_name_of(body)}")
    if facts.serial != status_of(body).get("serialNumber"):
        raise Unanswered(f"{title} is being renewed: its Secret holds {facts.serial} already; try again")
    fields |= {fact: seen.fields[fact] for fact in _FACTS}
    return replace(seen, fields=fields)


async def _from_secret(cluster: Cluster, namespace: str, owner: dict[str, Any]) -> str:
    secret = await cluster.get(Kind.SECRET, namespace, secret_name_of(owner))
    if secret is None:
        raise Unanswered(f"there is no Secret {secret_name_of(owner)} in namespace {namespace}")
    encoded = data_of(secret, owner).get(names.TLS_CERT_KEY, "")
    return b64decode(encoded).decode("ascii", "replace")


def _show(seen: Seen, form: Form, screen: Screen) -> None:
    known = {name: seen.fields[name] for name in _READABLE if name in seen.fields}
    if form is not Form.TEXT:
        screen.data(
            form,
            {"title": seen.title, "fields": known, "unknown": seen.unknown, "notes": list(seen.notes)},
        )
        return
    screen.line(seen.title)
    for note in seen.notes:
        screen.line(note, indent=2)
    screen.line()
    screen.pairs([(name, _text(value)) for name, value in known.items()])
    if seen.unknown:
        screen.line()
        screen.line("not known: " + ", ".join(seen.unknown))


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return str(value)
