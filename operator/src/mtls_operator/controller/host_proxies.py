"""How far the proxies of an MTLSHost are: their acknowledgements, and what their status ports say of files (G4)."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from mtls_operator.api.host import Host
from mtls_operator.api.reason import Reason
from mtls_operator.cluster.proxies import ProxyStatus
from mtls_operator.controller.context import Context
from mtls_operator.controller.host_state import HostState
from mtls_operator.controller.tenant import Tenant
from mtls_operator.envoy import STATS_QUERY, StatsError, parse_proxy_stats
from mtls_operator.plan.rollout import Files, Pod, Proxy, Rollout, Wanted, roll_out, rules_in_force

#: When everything is current, a status port is still read this often: what is reported is what is there (G4).
RECHECK_SECONDS: Final = 300.0
_NOTHING: Final = Files("", "", "")


@dataclass(slots=True)
class HostProxies:
    """Asks status ports, no more often than is needed."""

    context: Context
    status_port: ProxyStatus

    async def of(self, host: Host, state: HostState) -> list[Proxy]:
        """Return the host's proxies; status ports are read where the files are not known to be current."""
        reports = self.context.reports
        pods = [
            pod
            for pod in self.context.world.pods.of(host.meta.namespace).values()
            if pod.host == host.meta.name
        ]
        now = self.context.now().timestamp()
        due = [
            pod
            for pod in pods
            if pod.running
            and pod.injected
            and pod.address
            and (
                reports.files.get(pod.uid) != state.files
                or now - state.polled.get(pod.uid, 0.0) >= RECHECK_SECONDS
            )
        ]
        await asyncio.gather(*(self._read_files(pod) for pod in due))
        state.polled = {pod.uid: now if pod in due else state.polled.get(pod.uid, 0.0) for pod in pods}
        return reports.proxies(pods)

    async def _read_files(self, pod: Pod) -> None:
        text = await self.status_port.read(pod.address, STATS_QUERY)
        try:
            stats = parse_proxy_stats(text or "")
        except StatsError:
            self.context.reports.files.pop(pod.uid, None)
            return
        self.context.reports.files[pod.uid] = Files(
            listener=stats.listener, client_ca=stats.client_ca, server=stats.server_certificate
        )


def rollout_of(state: HostState, tenant: Tenant, proxies: list[Proxy]) -> tuple[Rollout, bool]:
    """Return how far a host has come, and whether its rules are in force on every proxy."""
    wanted = Wanted(
        rules=state.configuration.version if state.configuration is not None else "",
        revocation=tenant.publication.version if tenant.publication is not None else "",
        files=state.files if state.files is not None else _NOTHING,
    )
    rollout = roll_out(wanted, proxies)
    if rollout.reason is None and (state.configuration is None or tenant.publication is None):
        rollout = Rollout(
            rollout.pods,
            rollout.injected,
            rollout.connected,
            0,
            Reason.PENDING,
            "The configuration is not written yet.",
        )
    return rollout, rules_in_force(wanted, proxies)
