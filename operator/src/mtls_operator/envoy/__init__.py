"""What one proxy runs: bootstrap, listener, certificates and the two scripts, as text.

Pure: the same input gives the same bytes. It knows neither the rules language nor certificates (digests,
bitmaps and compiled expressions come in), and does not start Envoy.
"""

from mtls_operator.envoy.bootstrap import bootstrap
from mtls_operator.envoy.config import IN_POD, MinTls, Placement, Protocol, ProxyConfig
from mtls_operator.envoy.document import version_of
from mtls_operator.envoy.headers import REMOVED_HEADERS
from mtls_operator.envoy.host_files import host_files
from mtls_operator.envoy.imported import SerialSet, Unlisted, is_packed, pack_serials
from mtls_operator.envoy.listener import listener
from mtls_operator.envoy.revocation_script import IssuerRevocations, revocation_script, revocations_in
from mtls_operator.envoy.rules_script import Action, Forwarded, IssuerTrust, RuleScript, rules_script
from mtls_operator.envoy.script import ScriptError, check_script, epoch_of, script_version
from mtls_operator.envoy.sds import client_ca_sds, identity_sds, operator_ca_sds, server_sds
from mtls_operator.envoy.stats import STATS_QUERY, ProxyStats, ScriptStats, StatsError, parse_proxy_stats

__all__ = [
    "IN_POD",
    "REMOVED_HEADERS",
    "STATS_QUERY",
    "Action",
    "Forwarded",
    "IssuerRevocations",
    "IssuerTrust",
    "MinTls",
    "Placement",
    "Protocol",
    "ProxyConfig",
    "ProxyStats",
    "RuleScript",
    "ScriptError",
    "ScriptStats",
    "SerialSet",
    "StatsError",
    "Unlisted",
    "bootstrap",
    "check_script",
    "client_ca_sds",
    "epoch_of",
    "host_files",
    "identity_sds",
    "is_packed",
    "listener",
    "operator_ca_sds",
    "pack_serials",
    "parse_proxy_stats",
    "revocation_script",
    "revocations_in",
    "rules_script",
    "script_version",
    "server_sds",
    "version_of",
]
