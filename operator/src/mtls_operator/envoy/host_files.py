"""The files of the folder that the host's ConfigMap becomes in a pod: file name to content."""

from __future__ import annotations

from mtls_operator.api import names
from mtls_operator.envoy.bootstrap import bootstrap
from mtls_operator.envoy.config import IN_POD, Placement, ProxyConfig
from mtls_operator.envoy.listener import listener
from mtls_operator.envoy.sds import (
    IDENTITY_SDS_KEY,
    OPERATOR_CA_SDS_KEY,
    client_ca_sds,
    identity_sds,
    operator_ca_sds,
)


def host_files(
    config: ProxyConfig, *, client_ca_pem: str, rules: str, placement: Placement = IN_POD
) -> dict[str, str]:
    """Return every file that a proxy reads from its host's folder: a missing one keeps it from starting."""
    return {
        names.BOOTSTRAP_KEY: bootstrap(config, placement),
        names.LISTENER_KEY: listener(config, placement),
        names.CLIENT_CA_SDS_KEY: client_ca_sds(client_ca_pem),
        IDENTITY_SDS_KEY: identity_sds(placement),
        OPERATOR_CA_SDS_KEY: operator_ca_sds(config.discovery_server_name, placement),
        names.RULES_KEY: rules,
    }
