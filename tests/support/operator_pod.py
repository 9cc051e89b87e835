"""The running operator of the test cluster: its pods, its process, and how it is stopped, killed and paused."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

from tests.support.cluster import OPERATOR_NAMESPACE, Api, Body, eventually, process_of

DEPLOYMENT = f"/apis/apps/v1/namespaces/{OPERATOR_NAMESPACE}/deployments/mtls-operator"
_PODS = f"/api/v1/namespaces/{OPERATOR_NAMESPACE}/pods"
_PROGRAM = ("/bin/mtls-operator", "run")


def scale(api: Api, replicas: int) -> None:
    """Run so many operators."""
    api.patch(DEPLOYMENT, {"spec": {"replicas": replicas}})


def operator_pods(api: Api) -> list[Body]:
    """Return the pods of the operator, also those that end."""
    labels = "app.kubernetes.io/name=mtls-operator,app.kubernetes.io/component=operator"
    return api.items(_PODS, labelSelector=labels)


def is_running(api: Api) -> bool:
    """Say whether an operator is ready."""
    return bool(api.get(DEPLOYMENT)["status"].get("readyReplicas"))


@contextlib.contextmanager
def stopped_operator(api: Api) -> Iterator[None]:
    """Stop the operator for a while."""
    scale(api, 0)
    eventually(lambda: not operator_pods(api), within=60, what="the operator is gone")
    try:
        yield
    finally:
        scale(api, 1)
        eventually(lambda: is_running(api), within=90, what="the operator is back")


def restarts(api: Api) -> int:
    """Return how often the container of the running operator was started anew; -1 while there is none."""
    statuses = (pod["status"].get("containerStatuses") or [] for pod in operator_pods(api))
    return max((status["restartCount"] for each in statuses for status in each), default=-1)


def fresh_operator(api: Api) -> None:
    """Replace a pod that has restarted: the kubelet waits longer before each further restart of a container."""
    if restarts(api) == 0 and is_running(api):
        return
    for pod in operator_pods(api):
        api.delete(f"{_PODS}/{pod['metadata']['name']}", gracePeriodSeconds=1)
    eventually(lambda: restarts(api) == 0 and is_running(api), within=90, what="a fresh pod of the operator")


def kill_operator(api: Api) -> None:
    """Kill the operator's process without any warning; the kubelet starts it again.

    From outside its container: in its own process namespace, the first process cannot be killed.
    """
    end_operator(api, signal.SIGKILL)


def end_operator(api: Api, how: signal.Signals) -> None:
    """Send the operator's process a signal, and wait until its container was started anew."""
    fresh_operator(api)
    os.kill(process_of(*_PROGRAM), how)
    eventually(lambda: restarts(api), lambda count: count == 1, within=60, what="the operator is restarted")


def operator_processes() -> dict[int, str]:
    """Return the processes of all running operators, each with the path of its cgroup, which names its pod."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            arguments = (entry / "cmdline").read_bytes().decode().split("\0")
            if all(any(part.endswith(word) for part in arguments) for word in _PROGRAM):
                found[int(entry.name)] = (entry / "cgroup").read_text()
    return found


def process_in(pod: Body) -> int:
    """Return the operator's process in a pod, once there is one."""
    uid = str(pod["metadata"]["uid"])

    def look() -> int | None:
        named = (pid for pid, cgroup in operator_processes().items() if uid in cgroup.replace("_", "-"))
        return next(named, None)

    return int(eventually(look, within=60, what="a process of the operator") or 0)
