"""How far a rotation is, read from the CA's Secrets, the hosts and the certificates; nothing is assumed."""

from __future__ import annotations

from collections.abc import Sequence

from mtls_operator.api.certificate import CertificateState
from mtls_operator.api.conditions import conditions_of
from mtls_operator.api.reason import ConditionType, Reason
from mtls_operator.cli.ca.generations import Generation, read_kept
from mtls_operator.cli.cert.objects import state_of, status_of
from mtls_operator.cluster import Body, Cluster, Kind
from mtls_operator.plan.authority import Phase

_MOST = 3
#: Hosts of other namespaces are not looked at: whoever asks may not be allowed to see them.
_OTHERS = "it is about to sign, or waits for hosts of namespaces that its grants name"


async def missing_on_hosts(cluster: Cluster, namespace: str, ski: str) -> list[str]:
    """Return the hosts whose proxies do not all trust a CA yet, each with what its status says."""
    return [
        f"host {host['metadata']['name']}: {problem}"
        for host in await cluster.list(Kind.HOST, namespace)
        if (problem := _missing(host, ski))
    ]


def _missing(host: Body, ski: str) -> str:
    if ((host["spec"].get("clientCAs") or {}).get("managed")) is False:
        return ""
    status = status_of(host)
    said = {str(one.get("type")): one for one in conditions_of(status)}
    accepted = said.get(ConditionType.ACCEPTED.value, {})
    if accepted.get("reason") == Reason.INVALID_SPEC.value:
        return f"cannot be read: {accepted.get('message')}"
    if ski not in {one.get("ski") for one in status.get("clientCAs") or ()}:
        return "does not trust the new CA yet"
    confirmed = said.get(ConditionType.CA_CONFIRMED.value)
    if confirmed is not None:
        return "" if confirmed.get("status") == "True" else str(confirmed.get("message"))
    deployed = said.get(ConditionType.DEPLOYED.value, {})
    if deployed.get("status") == "True" or deployed.get("reason") == Reason.NO_PODS.value:
        return ""
    return str(deployed.get("message") or "its proxies are not known yet")


async def missing_to_sign(cluster: Cluster, namespace: str, operator: str, *, after: int) -> str:
    """Return what is missing until a later generation than ``after`` signs; empty: one does."""
    kept = await read_kept(cluster, namespace, operator)
    newer = [one for one in kept if one.generation > after]
    if any(one.phase is Phase.ACTIVE for one in newer):
        return ""
    if not newer:
        return "a new CA to be made"
    new = newer[-1]
    hosts = await missing_on_hosts(cluster, namespace, new.facts.ski)
    return f"generation {new.generation} is {_phase(new)}; {_some(hosts) or _OTHERS}"


async def missing_to_reissue(cluster: Cluster, namespace: str, operator: str) -> str:
    """Return what is missing until every valid ClientCertificate has a certificate of the CA that signs."""
    kept = await read_kept(cluster, namespace, operator)
    active = next((one for one in kept if one.phase is Phase.ACTIVE), None)
    if active is None:
        return "a CA that signs"
    late = [
        str(body["metadata"]["name"])
        for body in await cluster.list(Kind.CERTIFICATE, namespace)
        if status_of(body).get("serialNumber")
        and state_of(body) not in (CertificateState.REVOKED, CertificateState.EXPIRED)
        and (status_of(body).get("issuer") or {}).get("ski") != active.facts.ski
    ]
    if not late:
        return ""
    return f"{len(late)} certificates of the former CA, such as ClientCertificate {min(late)}"


async def missing_to_retire(cluster: Cluster, namespace: str, operator: str, *, generation: int) -> str:
    """Return what is missing until a generation counts no more; empty: nothing."""
    kept = await read_kept(cluster, namespace, operator)
    old = next((one for one in kept if one.generation == generation), None)
    if old is None or old.phase is Phase.RETIRED:
        return ""
    if old.phase is Phase.RETIRING:
        return f"the last certificate of generation {generation} to end (see 'kubectl mtls ca show')"
    return await missing_to_sign(cluster, namespace, operator, after=generation) or f"it is {_phase(old)}"


def _phase(one: Generation) -> str:
    return one.phase.value if one.phase is not None else "unknown"


def _some(lines: Sequence[str]) -> str:
    more = f" and {len(lines) - _MOST} more" if len(lines) > _MOST else ""
    return "; ".join(lines[:_MOST]) + more
