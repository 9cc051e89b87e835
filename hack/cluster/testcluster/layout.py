"""Addresses and names of the local single-node cluster.

Everything is in 198.18.0.0/15, the range of RFC 2544 for benchmarks, which no real network routes: a mistake cannot
reach anything. The host has one route to it; the cluster's network namespace has no route out.
"""

from __future__ import annotations

from typing import Final

RANGE: Final = "198.18.0.0/15"
POD_RANGE: Final = "198.18.0.0/17"
SERVICE_RANGE: Final = "198.19.0.0/16"
HOST_ADDRESS: Final = "198.18.255.1"
NODE_ADDRESS: Final = "198.18.255.2"
LINK_PREFIX: Final = 30
API_SERVICE_ADDRESS: Final = "198.19.0.1"
DNS_SERVICE_ADDRESS: Final = "198.19.0.10"
API_PORT: Final = 6443
API_URL: Final = f"https://{NODE_ADDRESS}:{API_PORT}"
ETCD_URL: Final = "http://127.0.0.1:2379"
ETCD_PEER_URL: Final = "http://127.0.0.1:2380"
CLUSTER_DOMAIN: Final = "cluster.local"
NODE_NAME: Final = "mtls-node"

#: The host's end of the link; one name, because two clusters cannot be up at the same time.
HOST_LINK: Final = "mtlsop0"
PAUSE_IMAGE: Final = "mtls-operator.dev/pause:dev"


def namespace(name: str) -> str:
    """Return the name of the network namespace, also of the root control group, of a cluster."""
    return f"mtls-operator-{name}"
