"""The sidecar in a pod: what is injected, into which pods, and which pods are refused. Pure.

It deliberately does not know the API server, the webhook or the MTLSHost's content.
"""

from mtls_operator.inject.errors import InjectRefused
from mtls_operator.inject.pod import Injection, has_sidecar, inject
from mtls_operator.inject.settings import InjectSettings, InvalidInjectSettings, PullPolicy
from mtls_operator.inject.sidecar import INJECTED_ANNOTATION

__all__ = [
    "INJECTED_ANNOTATION",
    "InjectRefused",
    "InjectSettings",
    "Injection",
    "InvalidInjectSettings",
    "PullPolicy",
    "has_sidecar",
    "inject",
]
