"""``kubectl mtls cert revoke``: by the object, or by a serial number that no object names."""

from __future__ import annotations

import argparse
import json
from functools import partial

from mtls_operator.api import names
from mtls_operator.api.certificate import RevocationReason
from mtls_operator.api.conditions import conditions_of
from mtls_operator.api.reason import ConditionType, Reason
from mtls_operator.cli.access import Access, on_cluster, operator_namespace
from mtls_operator.cli.cert.changes import change, revocation_missing
from mtls_operator.cli.cert.objects import status_of
from mtls_operator.cli.errors import Exit, Refused, Unanswered
from mtls_operator.cli.manifests import read_text
from mtls_operator.cli.screen import Screen
from mtls_operator.cli.waiting import wait
from mtls_operator.cluster import AlreadyExistsError, Body, Cluster, Kind
from mtls_operator.pki import PkiError, format_serial, parse_serial, read_certificate
from mtls_operator.plan.requests import Request, request_document


def run(parsed: argparse.Namespace, screen: Screen) -> Exit:
    """Revoke."""
    reason = RevocationReason(parsed.reason)
    if parsed.name is not None:

        async def by_name(cluster: Cluster, namespace: str) -> None:
            await revoke(cluster, namespace, parsed.name, reason, screen, wait_for=_time(parsed))

        on_cluster(Access.of(parsed), by_name)
        return Exit.FINE
    request = _request(parsed, reason)

    async def by_serial(cluster: Cluster, namespace: str) -> None:
        where = operator_namespace(parsed)
        await revoke_serial(cluster, namespace, where, request, screen, timeout=parsed.timeout)

    on_cluster(Access.of(parsed), by_serial)
    return Exit.FINE


async def revoke(  # noqa: PLR0913 - the parts of one command, most of them what is revoked and where
    cluster: Cluster,
    namespace: str,
    name: str,
    reason: RevocationReason,
    screen: Screen,
    *,
    wait_for: float | None,
) -> None:
    """Revoke the certificates of an object; with a time, wait until every proxy has acknowledged it."""
    patch = {"spec": {"revoked": True, "revocationReason": reason.value}}
    await change(cluster, namespace, name, patch)
    if wait_for is None:
        screen.line(f"ClientCertificate {name} is asked to be revoked ({reason.value})")
        return
    look = partial(revocation_missing, cluster, namespace, name)
    took = await wait(look, screen, timeout=wait_for)
    screen.line(f"every proxy knows that ClientCertificate {name} is revoked, after {took:.2f} s")


async def revoke_serial(  # noqa: PLR0913 - as above
    cluster: Cluster,
    namespace: str,
    operator: str,
    request: Request,
    screen: Screen,
    *,
    timeout: float,  # noqa: ASYNC109 - of the whole wait
) -> None:
    """Ask the operator to revoke a serial number, and wait until every proxy has a list that names it.

    Raises:
        Refused: an object names it, or the operator refuses.
    """
    await _require_nobodys(cluster, namespace, request.serial)
    home = await cluster.get(Kind.NAMESPACE, None, namespace)
    if home is None:
        raise Unanswered(f"there is no namespace {namespace}")
    document = request_document(operator, namespace, str(home["metadata"]["uid"]), request)
    made = await _create(cluster, document)
    granted = partial(_grant_missing, cluster, made)
    try:
        took = await wait(granted, screen, timeout=timeout)
    except _NotGrantedError as error:
        await _withdraw(cluster, made)
        raise Refused(str(error)) from error
    took += await wait(partial(_list_missing, cluster, namespace, request.serial), screen, timeout=timeout)
    screen.line(
        f"every proxy of namespace {namespace} knows that certificate {request.serial} is revoked, after {took:.2f} s"
    )


class _NotGrantedError(Exception):
    """The operator refuses a request; the message is the operator's."""


async def _create(cluster: Cluster, document: Body) -> Body:
    """Create the request in the place of one that was refused before."""
    try:
        return await cluster.create(document)
    except AlreadyExistsError:
        meta = document["metadata"]
        former = await cluster.get(Kind.CONFIG_MAP, meta["namespace"], meta["name"])
        if former is not None:
            await _withdraw(cluster, former)
        return await cluster.create(document)


async def _withdraw(cluster: Cluster, request: Body) -> None:
    meta = request["metadata"]
    await cluster.delete(Kind.CONFIG_MAP, meta["namespace"], meta["name"], uid=meta["uid"])


async def _grant_missing(cluster: Cluster, request: Body) -> str:
    meta = request["metadata"]
    body = await cluster.get(Kind.CONFIG_MAP, meta["namespace"], meta["name"])
    if body is None or body["metadata"]["uid"] != meta["uid"]:
        return ""
    refused = (body["metadata"].get("annotations") or {}).get(names.REFUSED_ANNOTATION)
    if refused:
        raise _NotGrantedError(refused)
    return f"the operator in namespace {meta['namespace']} to take ConfigMap {meta['name']}"


async def _list_missing(cluster: Cluster, namespace: str, serial: str) -> str:
    """Return what is missing until every proxy has the published list; empty: nothing."""
    body = await cluster.get(Kind.CONFIG_MAP, namespace, names.REVOCATION_CONFIGMAP)
    text = ((body or {}).get("data") or {}).get(names.REVOKED_JSON_KEY)
    try:
        document = json.loads(text or "")
        listed = {row["serial"] for row in document["revoked"]}
        epoch = int(document["epoch"])
    except (ValueError, KeyError, TypeError):
        return f"{names.REVOKED_JSON_KEY} in ConfigMap {names.REVOCATION_CONFIGMAP}"
    if serial not in listed:
        return f"ConfigMap {names.REVOCATION_CONFIGMAP} to name it"
    late = [
        str(host["metadata"]["name"])
        for host in await cluster.list(Kind.HOST, namespace)
        if not _has(host, epoch)
    ]
    return f"the proxies of MTLSHost {', '.join(sorted(late))}" if late else ""


def _has(host: Body, epoch: int) -> bool:
    """Say whether every proxy of a host has acknowledged a list, or there is none."""
    status = status_of(host)
    if int((status.get("epoch") or {}).get("revocation") or 0) < epoch:
        return False
    deployed = next(
        (one for one in conditions_of(status) if one.get("type") == ConditionType.DEPLOYED.value), {}
    )
    return deployed.get("status") == "True" or deployed.get("reason") == Reason.NO_PODS.value


async def _require_nobodys(cluster: Cluster, namespace: str, serial: str) -> None:
    """Refuse a number that an object names: revoked through it, it can be taken back and is seen in its status."""
    for body in await cluster.list(Kind.CERTIFICATE, namespace):
        status = status_of(body)
        held = {status.get("serialNumber")} | {
            one.get("serialNumber") for one in status.get("previous") or ()
        }
        if serial in held:
            name = body["metadata"]["name"]
            raise Refused(
                f"certificate {serial} belongs to ClientCertificate {name}: 'kubectl mtls cert revoke {name}'"
            )


def _request(parsed: argparse.Namespace, reason: RevocationReason) -> Request:
    try:
        if parsed.file is not None:
            pem = read_text(parsed.file)
            return Request(read_certificate(pem).serial, reason, pem)
        return Request(format_serial(parse_serial(parsed.serial)), reason)
    except PkiError as error:
        raise Unanswered(str(error)) from error


def _time(parsed: argparse.Namespace) -> float | None:
    return float(parsed.timeout) if parsed.wait else None
