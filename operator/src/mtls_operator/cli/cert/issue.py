"""``kubectl mtls cert issue``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from mtls_operator.api import names
from mtls_operator.api.certificate import CertificateState
from mtls_operator.api.reason import ConditionType
from mtls_operator.cli.access import Access, on_cluster
from mtls_operator.cli.cert.objects import condition_of, read_object, secret_name_of, state_of, status_of
from mtls_operator.cli.errors import Exit, Refused, Unanswered
from mtls_operator.cli.files import PUBLIC, write_all
from mtls_operator.cli.manifests import read_text
from mtls_operator.cli.screen import Screen
from mtls_operator.cli.waiting import wait
from mtls_operator.cluster import AlreadyExistsError, Body, Cluster
from mtls_operator.pki import PkiError, read_request


def run(parsed: argparse.Namespace, screen: Screen) -> Exit:
    """Issue a certificate."""
    if parsed.out and not parsed.csr:
        raise Unanswered("--out is for --csr: otherwise 'kubectl mtls cert export' writes the files")
    if parsed.out and not parsed.force and Path(parsed.out).exists():
        raise Unanswered(f"{parsed.out}: exists already; --force overwrites it")
    spec = _spec(parsed)

    async def work(cluster: Cluster, namespace: str) -> str:
        return await issue(
            cluster, namespace, parsed.name, spec, screen, wait_for=None if parsed.no_wait else parsed.timeout
        )

    pem = on_cluster(Access.of(parsed), work)
    if pem and parsed.out:
        write_all({Path(parsed.out): pem.encode()}, mode=PUBLIC, overwrite=parsed.force)
        screen.line(f"the certificate is in {parsed.out}")
    elif pem:
        screen.line(pem.rstrip("\n"))
    return Exit.FINE


async def issue(  # noqa: PLR0913 - the parts of one command
    cluster: Cluster,
    namespace: str,
    name: str,
    spec: dict[str, Any],
    screen: Screen,
    *,
    wait_for: float | None,
) -> str:
    """Create a ClientCertificate; return the certificate where it was issued for a signing request.

    Raises:
        Refused: there is one of that name, or nothing can be issued for it.
    """
    document = {
        "apiVersion": names.API_VERSION,
        "kind": names.CERTIFICATE_KIND,
        "metadata": {"namespace": namespace, "name": name},
        "spec": spec,
    }
    try:
        await cluster.create(document)
    except AlreadyExistsError as error:
        raise Refused(
            f"there is a ClientCertificate {name} already: 'kubectl mtls cert renew {name}' replaces its certificate"
        ) from error
    if wait_for is None:
        screen.line(f"ClientCertificate {name} is created")
        return ""

    async def look() -> str:
        return _missing(await read_object(cluster, namespace, name))

    await wait(look, screen, timeout=wait_for)
    body = await read_object(cluster, namespace, name)
    serial, end = (status_of(body).get(field) for field in ("serialNumber", "notAfter"))
    if "request" in spec:
        screen.note(f"issued certificate {serial}, valid until {end}")
        return str(status_of(body)["certificate"])
    where = f"Secret {secret_name_of(body)} of namespace {namespace}"
    screen.line(f"issued certificate {serial}, valid until {end}: it is with its key in {where}")
    return ""


def _missing(body: Body) -> str:
    """Return what a new certificate waits for; empty: it is there and valid."""
    issued, ready = (condition_of(body, of) for of in (ConditionType.ISSUED, ConditionType.READY))
    if state_of(body) == CertificateState.FAILED and issued is not None and issued.status == "False":
        name = body["metadata"]["name"]
        raise Refused(f"{issued.message} (ClientCertificate {name} stays, and is issued once that is mended)")
    if ready is None:
        return "the operator has not looked at it yet"
    if "request" in body["spec"] and not status_of(body).get("certificate"):
        return "the certificate"
    return "" if ready.status == "True" else ready.message


def _spec(parsed: argparse.Namespace) -> dict[str, Any]:
    subject = {
        "commonName": parsed.cn,
        "organizations": parsed.org,
        "organizationalUnits": parsed.ou,
        "countries": parsed.country,
    }
    others = {
        "dnsNames": parsed.dns,
        "uris": parsed.uri,
        "emails": parsed.email,
        "ipAddresses": parsed.ip,
    }
    own = {field: value for field, value in subject.items() if value}
    spec: dict[str, Any] = {field: value for field, value in others.items() if value}
    if parsed.csr:
        if own or spec or parsed.key or parsed.secret_name:
            raise Unanswered("with --csr the names and the key are those of the request: give no others")
        spec["request"] = _signing_request(parsed.csr)
    else:
        if not own and not spec:
            own = {"commonName": parsed.name}
        if own:
            spec["subject"] = own
        if parsed.key:
            algorithm, _, size = parsed.key.partition("-")
            spec["privateKey"] = {"algorithm": algorithm, "size": int(size)}
        if parsed.secret_name:
            spec["secretName"] = parsed.secret_name
    if parsed.validity:
        spec["validity"] = parsed.validity
    return spec


def _signing_request(file: str) -> str:
    text = read_text(file)
    try:
        read_request(text)
    except PkiError as error:
        raise Refused(f"{file}: {error}") from error
    return text
