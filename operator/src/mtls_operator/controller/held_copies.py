"""Reads the last good copies of a host's CAs and lists as they are in the cluster, if they are its own."""

from __future__ import annotations

from dataclasses import dataclass

from mtls_operator.api import names
from mtls_operator.api.meta import Meta
from mtls_operator.api.secret import Secret
from mtls_operator.cluster import Kind
from mtls_operator.controller.context import Context
from mtls_operator.plan.held import Held, read_held


@dataclass(slots=True)
class HeldCopies:
    """The copies of all hosts; ``seal`` is known to the operator alone: what does not carry it is somebody else's."""

    context: Context
    seal: Secret

    async def read(self, meta: Meta) -> Held:
        """Return the copies of the host with this metadata; nothing where there are none.

        Raises:
            ClusterError: it cannot be said.
        """
        body = await self.context.cluster.get(Kind.CONFIG_MAP, meta.namespace, names.trust_config(meta.name))
        text = ((body or {}).get("data") or {}).get(names.TRUST_KEY)
        return read_held(text, self.seal, meta.uid) if isinstance(text, str) else Held()
