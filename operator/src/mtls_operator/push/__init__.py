"""The discovery server: pushes scripts to the proxies, and knows from their own answers what is in force.

The only user of grpc. It decides who may ask for what and repairs what a proxy refused; it decides nothing
about content: what is published comes from the controller, what proxies answer goes back to it.
"""

from __future__ import annotations

from mtls_operator.push.credentials import ServerCredentials
from mtls_operator.push.errors import CredentialsError, PushError, ScriptRefused, StartError
from mtls_operator.push.model import Limits, Pod, Report, ReportKind, Scope, Script, Snapshot
from mtls_operator.push.server import DiscoveryServer

__all__ = [
    "CredentialsError",
    "DiscoveryServer",
    "Limits",
    "Pod",
    "PushError",
    "Report",
    "ReportKind",
    "Scope",
    "Script",
    "ScriptRefused",
    "ServerCredentials",
    "Snapshot",
    "StartError",
]
