"""The processes of the local cluster: command lines, and what each waits for before it starts."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from testcluster import binaries, configs, layout
from testcluster.places import Places
from testcluster.probes import Kind, Probe

_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class Daemon:
    """One supervised process."""

    name: str
    argv: tuple[str, ...]
    after: tuple[Probe, ...] = ()
    path: str = _PATH


@dataclass(frozen=True, slots=True)
class Plan:
    """All that the supervisor needs to know."""

    logs: str
    pids: str
    #: Folder of the host -> folder of the state that is mounted over it, in the cluster's mount namespace only.
    mounts: dict[str, str] = field(default_factory=dict)
    daemons: tuple[Daemon, ...] = ()

    def encode(self) -> bytes:
        """Return the plan as a file."""
        return (json.dumps(asdict(self), sort_keys=True, indent=1) + "\n").encode()


def decode(content: bytes) -> Plan:
    """Return the plan in a file that ``encode`` made."""
    document: dict[str, Any] = json.loads(content)
    daemons = tuple(
        Daemon(
            name=one["name"],
            argv=tuple(one["argv"]),
            after=tuple(
                Probe(Kind(probe["kind"]), probe["target"], probe["folder"]) for probe in one["after"]
            ),
            path=one["path"],
        )
        for one in document["daemons"]
    )
    return Plan(logs=document["logs"], pids=document["pids"], mounts=document["mounts"], daemons=daemons)


def api_ready(places: Places) -> Probe:
    """Return the probe that succeeds when the API server is ready."""
    return Probe(Kind.HTTPS, f"{layout.API_URL}/readyz", str(places.certificates))


def plan(places: Places) -> Plan:
    """Return the processes of a cluster, in the order in which they start."""
    etcd_ready = Probe(Kind.HTTP, f"{layout.ETCD_URL}/health")
    runtime_ready = Probe(Kind.UNIX, str(configs.socket(places)))
    after_api = (api_ready(places),)
    runtime = binaries.program("containerd", cache=places.cache)
    return Plan(
        logs=str(places.logs),
        pids=str(places.pids),
        mounts={
            folder: str(places.state / "mounts" / folder.strip("/").replace("/", "-"))
            for folder in configs.FIXED_FOLDERS
        },
        daemons=(
            Daemon("etcd", _etcd(places)),
            Daemon(
                "containerd",
                (str(runtime), "--config", str(places.configs / "containerd.toml")),
                path=f"{runtime.parent}:{_PATH}",  # it looks for its shim
            ),
            Daemon("kube-apiserver", _apiserver(places), (etcd_ready,)),
            Daemon("kube-controller-manager", _controller_manager(places), after_api),
            Daemon("kube-scheduler", _scheduler(places), after_api),
            Daemon("kubelet", _kubelet(places), (runtime_ready, *after_api)),
            Daemon("kube-proxy", _kube_proxy(places), after_api),
            Daemon("coredns", _coredns(places), after_api),
        ),
    )


def _etcd(places: Places) -> tuple[str, ...]:
    return _flags(
        places,
        "etcd",
        {
            "name": "default",
            "data-dir": places.state / "etcd",
            # Plain HTTP: only the network namespace of this one test cluster reaches the address.
            "listen-client-urls": layout.ETCD_URL,
            "advertise-client-urls": layout.ETCD_URL,
            "listen-peer-urls": layout.ETCD_PEER_URL,
            "initial-advertise-peer-urls": layout.ETCD_PEER_URL,
            "initial-cluster": f"default={layout.ETCD_PEER_URL}",
            "unsafe-no-fsync": "true",  # test data: lost with the machine, never with a process
            "log-level": "warn",
        },
    )


def _apiserver(places: Places) -> tuple[str, ...]:
    pki = places.certificates
    return _flags(
        places,
        "kube-apiserver",
        {
            "advertise-address": layout.NODE_ADDRESS,
            "allow-privileged": "true",
            "audit-log-maxbackup": "2",
            "audit-log-maxsize": "200",
            "audit-log-path": places.logs / "audit.log",
            "audit-policy-file": places.configs / "audit-policy.yaml",
            "authorization-mode": "Node,RBAC",
            "bind-address": layout.NODE_ADDRESS,
            "client-ca-file": pki / "ca.crt",
            "enable-admission-plugins": "NodeRestriction",
            "etcd-servers": layout.ETCD_URL,
            "kubelet-certificate-authority": pki / "ca.crt",
            "kubelet-client-certificate": pki / "apiserver-kubelet-client.crt",
            "kubelet-client-key": pki / "apiserver-kubelet-client.key",
            # Without it "kubectl exec" and "logs" look the node's name up in DNS.
            "kubelet-preferred-address-types": "InternalIP",
            "profiling": "false",
            "proxy-client-cert-file": pki / "front-proxy.crt",
            "proxy-client-key-file": pki / "front-proxy.key",
            "requestheader-allowed-names": "front-proxy",
            "requestheader-client-ca-file": pki / "front-proxy-ca.crt",
            "requestheader-extra-headers-prefix": "X-Remote-Extra-",
            "requestheader-group-headers": "X-Remote-Group",
            "requestheader-username-headers": "X-Remote-User",
            "secure-port": str(layout.API_PORT),
            "service-account-issuer": f"https://kubernetes.default.svc.{layout.CLUSTER_DOMAIN}",
            "service-account-key-file": pki / "service-account.pub",
            "service-account-signing-key-file": pki / "service-account.key",
            "service-cluster-ip-range": layout.SERVICE_RANGE,
            "tls-cert-file": pki / "apiserver.crt",
            "tls-private-key-file": pki / "apiserver.key",
        },
    )


def _controller_manager(places: Places) -> tuple[str, ...]:
    pki = places.certificates
    return _flags(
        places,
        "kube-controller-manager",
        {
            "bind-address": "127.0.0.1",
            "cluster-signing-cert-file": pki / "ca.crt",
            "cluster-signing-key-file": pki / "ca.key",
            "kubeconfig": pki / "kube-controller-manager.kubeconfig",
            "leader-elect": "false",
            "profiling": "false",
            "root-ca-file": pki / "ca.crt",
            "service-account-private-key-file": pki / "service-account.key",
            "use-service-account-credentials": "true",
        },
    )


def _scheduler(places: Places) -> tuple[str, ...]:
    return _flags(
        places,
        "kube-scheduler",
        {
            "bind-address": "127.0.0.1",
            "kubeconfig": places.certificates / "kube-scheduler.kubeconfig",
            "leader-elect": "false",
            "profiling": "false",
        },
    )


def _kubelet(places: Places) -> tuple[str, ...]:
    return _flags(
        places,
        "kubelet",
        {
            "config": places.configs / "kubelet.yaml",
            "hostname-override": layout.NODE_NAME,
            "kubeconfig": places.certificates / "kubelet.kubeconfig",
            "node-ip": layout.NODE_ADDRESS,
        },
    )


def _kube_proxy(places: Places) -> tuple[str, ...]:
    return _flags(places, "kube-proxy", {"config": places.configs / "kube-proxy.yaml"})


def _coredns(places: Places) -> tuple[str, ...]:
    return (str(binaries.program("coredns", cache=places.cache)), "-conf", str(places.configs / "coredns"))


def _flags(places: Places, name: str, values: dict[str, str | Path]) -> tuple[str, ...]:
    return (
        str(binaries.program(name, cache=places.cache)),
        *(f"--{flag}={value}" for flag, value in sorted(values.items())),
    )
