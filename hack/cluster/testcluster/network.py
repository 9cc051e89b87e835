"""The network of the local cluster: a namespace with one link to the host and no way out.

It does not enforce NetworkPolicy objects: the bridge plugin has no policy engine.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from testcluster import layout
from testcluster.commands import run, succeeds
from testcluster.errors import ClusterError

NAMESPACES: Final = Path("/run/netns")
_BRIDGE_SYSCTL: Final = "net.bridge.bridge-nf-call-iptables"


def path(name: str) -> Path:
    """Return the file that names the cluster's network namespace."""
    return NAMESPACES / layout.namespace(name)


def exists(name: str) -> bool:
    """Tell whether the whole network of this cluster is there."""
    return path(name).exists() and owner() == name


def owner() -> str | None:
    """Return the name of the cluster whose link the host has: None without a link, empty for a link made by half."""
    if not succeeds(["ip", "link", "show", "dev", layout.HOST_LINK]):
        return None
    links: list[dict[str, Any]] = json.loads(run(["ip", "-json", "link", "show", "dev", layout.HOST_LINK]))
    alias = str(links[0].get("ifalias", ""))
    return alias.removeprefix("mtls-operator/")


def require_free(name: str) -> None:
    """Refuse when another cluster, or anything else, uses the addresses.

    Raises:
        ClusterError: names who uses them.
    """
    holder = owner()
    if holder not in (None, "", name):
        raise ClusterError(
            f"the local cluster {holder!r} is up, and two cannot be at the same time: end it first with "
            f"'python hack/cluster down --name {holder}'"
        )
    routes: list[dict[str, Any]] = json.loads(run(["ip", "-json", "route", "show", "table", "all"]) or "[]")
    for route in routes:
        if conflicts(route):
            raise ClusterError(
                f"this machine already routes {route['dst']} to {route.get('dev')}: {layout.RANGE} must be free"
            )


def conflicts(route: dict[str, Any]) -> bool:
    """Tell whether a route of the machine is not ours and leads into our range."""
    destination = str(route.get("dst", ""))
    return destination.startswith(("198.18.", "198.19.")) and route.get("dev") != layout.HOST_LINK


def create(name: str) -> None:
    """Make the namespace, the link, the addresses and the routes; what a crash left of them is removed first."""
    delete(name)
    space = layout.namespace(name)
    inside = ["ip", "-netns", space]
    peer = "eth0"
    run(["ip", "netns", "add", space])
    run(["ip", "link", "add", layout.HOST_LINK, "type", "veth", "peer", "name", peer, "netns", space])
    run(["ip", "link", "set", layout.HOST_LINK, "alias", f"mtls-operator/{name}"])
    run(["ip", "address", "add", f"{layout.HOST_ADDRESS}/{layout.LINK_PREFIX}", "dev", layout.HOST_LINK])
    run(["ip", "link", "set", layout.HOST_LINK, "up"])
    run([*inside, "address", "add", f"{layout.NODE_ADDRESS}/{layout.LINK_PREFIX}", "dev", peer])
    run([*inside, "link", "set", "lo", "up"])
    run([*inside, "link", "set", peer, "up"])
    # Without any route to a Service address connect() fails before kube-proxy's rules see the packet. What they do not
    # translate dies on the link: the host answers no ARP question for these addresses.
    run([*inside, "route", "add", layout.SERVICE_RANGE, "dev", peer, "src", layout.NODE_ADDRESS])
    run(["ip", "route", "add", layout.RANGE, "via", layout.NODE_ADDRESS, "dev", layout.HOST_LINK])
    _sysctl(name, "net.ipv4.ip_forward=1")
    _bridge_filter(name)


def delete(name: str) -> None:
    """Remove the namespace and the link; the routes and addresses go with the link. Safe to call twice."""
    if owner() in (name, ""):
        run(["ip", "link", "delete", layout.HOST_LINK])
    if path(name).exists():
        run(["ip", "netns", "delete", layout.namespace(name)])


def _bridge_filter(name: str) -> None:
    """Let kube-proxy's rules see packets between two pods: else a Service's answers are not translated back."""
    if not Path("/proc/sys/net/bridge").exists():
        succeeds(["modprobe", "br_netfilter"])
    if not Path("/proc/sys/net/bridge").exists():
        raise ClusterError("the kernel module br_netfilter is missing: pods could not reach Services")
    _sysctl(name, f"{_BRIDGE_SYSCTL}=1")


def _sysctl(name: str, setting: str) -> None:
    key, _, value = setting.partition("=")
    file = Path("/proc/sys") / key.replace(".", "/")
    run(["nsenter", f"--net={path(name)}", "sh", "-c", f"echo {value} > {file}"])
