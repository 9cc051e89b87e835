"""The kopf side: which objects are watched, and what is done with each of their events.

Event handlers are unfiltered, since an object that loses a label must be noticed too. Kopf's change handlers, timers
and daemons are not used: they would copy Secrets into annotations and add finalizers of their own. Nor are its
indices: ``first_lists`` says why, and when work begins.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import kopf

from mtls_operator.api import names
from mtls_operator.cluster import Kind
from mtls_operator.controller.dispatch import Dispatch
from mtls_operator.controller.first_lists import FirstLists

#: What is watched, and with which label selector.
WATCHED: Mapping[Kind, str] = {
    Kind.NAMESPACE: "",
    Kind.HOST: "",
    Kind.CERTIFICATE: "",
    Kind.RULE: "",
    Kind.POD: names.HOST_LABEL,
    Kind.SECRET: f"{names.MANAGED_BY_LABEL}={names.MANAGED_BY}",
    Kind.CONFIG_MAP: f"{names.MANAGED_BY_LABEL}={names.MANAGED_BY}",
    Kind.NETWORK_POLICY: f"{names.MANAGED_BY_LABEL}={names.MANAGED_BY}",
}


class _NoDiffs(kopf.DiffBaseStorage):
    """Keeps kopf from copying every body for a comparison that nothing here needs."""

    def build(self, **_: Any) -> Any:
        """Return an empty essence."""
        return {}

    def fetch(self, **_: Any) -> None:
        """Return nothing: no earlier essence is kept."""

    def store(self, **_: Any) -> None:
        """Keep nothing."""


def registry_for(dispatch: Dispatch, first: FirstLists) -> kopf.OperatorRegistry:
    """Return the handlers of everything that is watched; ``first`` is told of each object."""
    registry = kopf.OperatorRegistry()
    kopf.on.login(registry=registry, id="service-account", errors=kopf.ErrorsMode.IGNORED)(
        kopf.login_with_service_account
    )
    kopf.on.login(registry=registry, id="kubeconfig", errors=kopf.ErrorsMode.IGNORED)(
        kopf.login_with_kubeconfig
    )
    for kind in WATCHED:
        _register(registry, kind, dispatch, first)
    return registry


def settings_for(settings: kopf.OperatorSettings) -> kopf.OperatorSettings:
    """Set what the operator needs of kopf, and switch off what it must not do."""
    settings.posting.enabled = False
    settings.peering.standalone = True
    settings.scanning.disabled = True
    settings.watching.chunk_size = 500
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 5
    settings.queueing.idle_timeout = 1.0
    settings.persistence.finalizer = f"{names.GROUP}/never-used"
    settings.persistence.diffbase_storage = _NoDiffs()
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=names.GROUP)
    for kind, selector in WATCHED.items():
        if selector:
            settings.watching.label_selectors[_selector_key(kind)] = selector
    return settings


def _selector_key(kind: Kind) -> tuple[str, str, str]:
    group, _, version = kind.api_version.rpartition("/")
    return (group, version, kind.plural)


def _register(registry: kopf.OperatorRegistry, kind: Kind, dispatch: Dispatch, first: FirstLists) -> None:
    resource = _selector_key(kind)

    async def event(event: Mapping[str, Any], **_: Any) -> None:
        type_, body = event["type"], event["object"]
        gone = type_ == "DELETED"
        if not gone:
            dispatch.observe(kind, body)
        dispatch.changed(kind, body, gone=gone, listed=type_ is None)
        first.saw(kind, body)

    kopf.on.event(*resource, registry=registry, id=f"queue-{kind.plural}")(event)
