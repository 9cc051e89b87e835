"""Tells the hosts of a namespace what an administrator has to do about its issuing CA; nothing waits for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import structlog

from mtls_operator.api import names
from mtls_operator.api.conditions import conditions_of
from mtls_operator.api.host import Host
from mtls_operator.api.reason import ConditionType, Reason
from mtls_operator.controller import keys
from mtls_operator.controller.authorities import Authorities
from mtls_operator.controller.context import Context
from mtls_operator.controller.tenant import Tenant
from mtls_operator.plan.authority import Phase
from mtls_operator.plan.given import notice_of
from mtls_operator.plan.trouble import Trouble

_log = structlog.get_logger(__name__)

_USED: Final = (Phase.PREPARED, Phase.ACTIVE)


@dataclass(slots=True)
class Notices:
    """What was said last is kept with the tenant, and stands in the status of its hosts."""

    context: Context
    authorities: Authorities

    def update(self, tenant: Tenant) -> None:
        """Say what has changed since the last look."""
        self._say_gone(tenant)
        before = tenant.notice
        tenant.notice = notice_of(tenant.namespace, tenant.generations, tenant.given, now=self.context.now())
        if tenant.notice == before:
            return
        if tenant.notice is not None:
            _log.warning(
                "authority.given.notice", namespace=tenant.namespace, reason=tenant.notice.reason.value
            )
        for name, host in self.context.world.hosts.of(tenant.namespace).items():
            self.context.queue.add(keys.host(tenant.namespace, name))
            if tenant.notice is not None and isinstance(host, Host) and not _says(host, tenant.notice):
                self._record(host, tenant.notice.reason, tenant.notice.message, warning=True)

    def _say_gone(self, tenant: Tenant) -> None:
        """Say that the Secret of a CA in use is gone, which changes nothing."""
        gone = self.authorities.given.take_gone(tenant.namespace)
        for stored in tenant.generations:
            if stored.given_by not in gone or stored.phase not in _USED:
                continue
            copy = names.authority_secret(tenant.namespace, stored.generation)
            _log.warning(
                "authority.given.gone", namespace=tenant.namespace, secret=stored.given_by, copy=copy
            )
            message = (
                f"Secret {stored.given_by} of the operator's namespace, from which the CA was taken, is gone or has no "
                f"label any more. Nothing changes: the operator uses its copy {copy}."
            )
            for host in self.context.world.hosts.of(tenant.namespace).values():
                if isinstance(host, Host):
                    self._record(host, Reason.CA_ROTATION, message, warning=False)

    def _record(self, host: Host, reason: Reason, message: str, *, warning: bool) -> None:
        if host.client_cas.managed:
            self.context.recorder.record(
                names.HOST_KIND, host.meta, reason=reason.value, message=message, warning=warning
            )


def _says(host: Host, notice: Trouble) -> bool:
    """Say whether a host has it in its status already: a restart of the operator is no news."""
    return any(
        condition.get("type") == ConditionType.RESOLVED_REFS.value
        and condition.get("reason") == notice.reason.value
        for condition in conditions_of(host.status)
    )
