"""Configuration files of the local cluster's components, as text: pure functions of the folders.

What is not said here is the component's default, on purpose: tests measure what a user's cluster does. In particular
the kubelet's period for ConfigMap volumes is not tuned.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any, Final

import yaml

from testcluster import layout
from testcluster.places import Places

#: Components write here whatever they are told, so these are mounted over in the cluster's mount namespace.
FIXED_FOLDERS: Final = (
    "/run/containerd",
    "/usr/libexec/kubernetes",
    "/var/lib/cni",
    "/var/lib/kubelet",
    "/var/log/containers",
    "/var/log/pods",
)

_COMPONENTS: Final = [
    "system:apiserver",
    "system:coredns",
    "system:kube-controller-manager",
    "system:kube-proxy",
    "system:kube-scheduler",
]


def socket(places: Places) -> Path:
    """Return containerd's socket."""
    return places.run / "containerd.sock"


def files(places: Places, *, cni: Path) -> dict[str, str]:
    """Return every configuration file: name in the folder ``config`` -> text.

    Args:
        places: the cluster's folders.
        cni: the folder of the network plugins.
    """
    return {
        "audit-policy.yaml": _yaml(audit_policy()),
        "cni/10-bridge.conflist": json.dumps(bridge(), indent=2) + "\n",
        "containerd.toml": containerd(places, cni=cni),
        "coredns": coredns(places),
        "kube-proxy.yaml": _yaml(kube_proxy(places)),
        "kubelet.yaml": _yaml(kubelet(places)),
        "dns-service.yaml": "---\n".join(_yaml(document) for document in dns_objects()),
    }


def audit_policy() -> dict[str, Any]:
    """Return the audit policy: who did what, without bodies; the reads of the cluster's own parts are left out."""
    own = ["system:masters", "system:nodes", "system:serviceaccounts:kube-system"]
    reads = ["get", "list", "watch"]
    return {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [
            {"level": "None", "verbs": reads, "userGroups": own},
            {"level": "None", "verbs": reads, "users": _COMPONENTS},
            {
                "level": "None",
                "resources": [{"group": "coordination.k8s.io", "resources": ["leases"]}],
                "userGroups": own,
            },
            {
                "level": "None",
                "nonResourceURLs": ["/healthz*", "/livez*", "/readyz*", "/version", "/openapi*"],
            },
            {"level": "Metadata"},
        ],
    }


def bridge() -> dict[str, Any]:
    """Return the CNI configuration: one bridge, no masquerading, because nothing leaves the namespace."""
    addresses = {
        "type": "host-local",
        "ranges": [[{"subnet": layout.POD_RANGE}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    plugins = [
        {
            "type": "bridge",
            "bridge": "pods",
            "isGateway": True,
            "ipMasq": False,
            "hairpinMode": True,
            "ipam": addresses,
        },
        {"type": "portmap", "backend": "nftables", "capabilities": {"portMappings": True}},
    ]
    return {"cniVersion": "1.0.0", "name": "pods", "plugins": plugins}


def containerd(places: Places, *, cni: Path) -> str:
    """Return containerd's configuration (version 3)."""
    text = json.dumps  # a JSON string is a TOML basic string for every path that we use
    return f"""\
version = 3
root = {text(str(places.state / "containerd"))}
state = {text(str(places.run / "containerd"))}
disabled_plugins = ["io.containerd.internal.v1.opt"]

[grpc]
address = {text(str(socket(places)))}

[plugins.'io.containerd.nri.v1.nri']
disable = true

[plugins.'io.containerd.cri.v1.images'.pinned_images]
sandbox = {text(layout.PAUSE_IMAGE)}

[plugins.'io.containerd.cri.v1.runtime']
# Without CAP_SYS_RESOURCE, as in many containers, a negative score cannot be set and no sandbox starts.
restrict_oom_score_adj = true
netns_mounts_under_state_dir = true
enable_unprivileged_ports = true

[plugins.'io.containerd.cri.v1.runtime'.cni]
bin_dirs = [{text(str(cni))}]
conf_dir = {text(str(places.configs / "cni"))}

[plugins.'io.containerd.cri.v1.runtime'.containerd]
default_runtime_name = "runc"

[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
SystemdCgroup = false
"""


def coredns(places: Places) -> str:
    """Return CoreDNS's configuration: the cluster's names and nothing else, no forwarding."""
    return f"""\
.:53 {{
    bind {layout.NODE_ADDRESS}
    errors
    kubernetes {layout.CLUSTER_DOMAIN} in-addr.arpa {{
        kubeconfig {places.certificates / "coredns.kubeconfig"}
        ttl 5
    }}
}}
"""


def kubelet(places: Places) -> dict[str, Any]:
    """Return the kubelet's configuration."""
    pki = places.certificates
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(pki / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "address": layout.NODE_ADDRESS,
        "tlsCertFile": str(pki / "kubelet-server.crt"),
        "tlsPrivateKeyFile": str(pki / "kubelet-server.key"),
        "healthzBindAddress": "127.0.0.1",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{layout.namespace(places.name)}",
        "clusterDNS": [layout.DNS_SERVICE_ADDRESS],
        "clusterDomain": layout.CLUSTER_DOMAIN,
        "containerRuntimeEndpoint": f"unix://{socket(places)}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "makeIPTablesUtilChains": False,
        "resolvConf": "/dev/null",
        # The disk of a developer's machine is often nearly full; that is no reason to throw pods out.
        "evictionHard": {"memory.available": "50Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,
        "maxPods": 250,
    }


def kube_proxy(places: Places) -> dict[str, Any]:
    """Return kube-proxy's configuration."""
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "bindAddress": layout.NODE_ADDRESS,
        "clientConnection": {"kubeconfig": str(places.certificates / "kube-proxy.kubeconfig")},
        "clusterCIDR": layout.POD_RANGE,
        "conntrack": {"maxPerCore": 0},
        "healthzBindAddress": "127.0.0.1:10256",
        "hostnameOverride": layout.NODE_NAME,
        "metricsBindAddress": "127.0.0.1:10249",
        "mode": "nftables",
    }


def dns_objects() -> list[dict[str, Any]]:
    """Return the Service ``kube-dns`` in front of the supervised CoreDNS, and what CoreDNS may read."""
    ports = [
        {"name": "dns", "port": 53, "protocol": "UDP"},
        {"name": "dns-tcp", "port": 53, "protocol": "TCP"},
    ]
    name = {"name": "kube-dns", "namespace": "kube-system"}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:coredns"}
    return [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {**name, "labels": {"k8s-app": "kube-dns"}},
            "spec": {"clusterIP": layout.DNS_SERVICE_ADDRESS, "ports": ports},
        },
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {**name, "labels": {"kubernetes.io/service-name": "kube-dns"}},
            "addressType": "IPv4",
            "ports": ports,
            "endpoints": [{"addresses": [layout.NODE_ADDRESS], "conditions": {"ready": True}}],
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": "system:coredns"},
            "rules": [
                {
                    "apiGroups": [""],
                    "resources": ["endpoints", "services", "pods", "namespaces"],
                    "verbs": ["list", "watch"],
                },
                {
                    "apiGroups": ["discovery.k8s.io"],
                    "resources": ["endpointslices"],
                    "verbs": ["list", "watch"],
                },
            ],
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "system:coredns"},
            "roleRef": role,
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "system:coredns"}],
        },
    ]


def kubeconfig(*, context: str, authority: bytes, certificate: bytes, key: bytes) -> bytes:
    """Return a kubeconfig with the credentials inside, so that the file can be copied alone."""
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": context,
                "cluster": {"server": layout.API_URL, "certificate-authority-data": _base64(authority)},
            }
        ],
        "users": [
            {
                "name": context,
                "user": {"client-certificate-data": _base64(certificate), "client-key-data": _base64(key)},
            }
        ],
        "contexts": [{"name": context, "context": {"cluster": context, "user": context}}],
        "current-context": context,
    }
    return _yaml(document).encode()


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


def _yaml(document: dict[str, Any]) -> str:
    return yaml.safe_dump(document, sort_keys=True)
