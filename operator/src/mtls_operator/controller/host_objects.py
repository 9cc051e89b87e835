"""Writes what the pods of an MTLSHost mount, and pushes its rules; what cannot be built leaves everything as it is."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial

from mtls_operator.api import names
from mtls_operator.api.host import Host
from mtls_operator.api.reason import Reason
from mtls_operator.cluster import Kind
from mtls_operator.controller.claims import claim
from mtls_operator.controller.context import Context
from mtls_operator.controller.host_state import HostState
from mtls_operator.controller.trust import Trusts
from mtls_operator.plan.host import (
    Discovery,
    Serving,
    configure,
    host_objects,
    server_document,
    trust_document,
    wanted_files,
)
from mtls_operator.plan.objects import Document
from mtls_operator.plan.trouble import Trouble
from mtls_operator.plan.trust import Trust
from mtls_operator.push import Scope, Script


@dataclass(slots=True)
class HostObjects:
    """The objects of all hosts."""

    context: Context
    trusts: Trusts

    @property
    def discovery(self) -> Discovery:
        """Where proxies find us."""
        settings = self.context.settings
        return Discovery(
            settings.discovery_host,
            settings.discovery_port,
            settings.operator_namespace,
            settings.proxy_metrics_from,
        )

    async def write(
        self, host: Host, state: HostState, trusts: tuple[Trust, ...], serving: Serving | None
    ) -> Trouble | None:
        """Write the objects and push the rules; what cannot be built leaves everything as it is."""
        context = self.context
        namespace, name = host.meta.key
        claimed = await claim(context, host)
        if isinstance(claimed, Trouble):
            return claimed
        state.foreign_epochs |= claimed
        seen = context.world.written[Kind.CONFIG_MAP].get(namespace, names.host_config(name))
        assert state.rules is not None  # noqa: S101 - for the type checker; set by the caller
        epochs = [seen.epoch] if seen is not None and seen.epoch is not None else []
        if state.configuration is not None:
            epochs.append(state.configuration.epoch)
        epochs += state.foreign_epochs
        # With thousands of names in rules or lists it takes a few tenths of a second.
        configuring = partial(
            configure,
            host,
            state.rules,
            trusts,
            self.discovery,
            previous_script=seen.script if seen is not None else "",
            seen=epochs,
            now=context.now(),
            former=state.configuration,
        )
        built = await context.aside(configuring)
        if isinstance(built, Trouble):
            return built
        if serving is None:
            return Trouble(
                Reason.SECRET_NOT_FOUND, "There is no server certificate yet: see condition ResolvedRefs."
            )
        copies = self._last_good(host, state)
        if isinstance(copies, Trouble):
            return copies
        documents = [server_document(host, serving), *host_objects(host, built, self.discovery), *copies]
        state.take(built, wanted_files(built, serving))
        context.push.publish(Scope(namespace, name), Script(names.RULES_FILTER, built.version, built.script))
        await asyncio.gather(*(context.ensure(document) for document in documents))
        if not copies:
            await context.remove(
                Kind.CONFIG_MAP, namespace, names.trust_config(name), owner_uid=host.meta.uid
            )
        if not host.network_policy:
            await context.remove(
                Kind.NETWORK_POLICY, namespace, names.host_config(name), owner_uid=host.meta.uid
            )
        return None

    def _last_good(self, host: Host, state: HostState) -> list[Document] | Trouble:
        """Return the object with the last good copies; none for a host that trusts its namespace's CA alone."""
        if not host.client_cas.copied or state.held is None:
            return []
        document = trust_document(host, state.held, self.trusts.copies.seal)
        return document if isinstance(document, Trouble) else [document]
