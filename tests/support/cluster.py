"""The test cluster as tests see it: kubectl, and a client of the API server that is quick enough to measure with."""

from __future__ import annotations

import os
import shlex
import ssl
import subprocess
import sys
import time
from base64 import b64decode
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
import yaml

ROOT = Path(__file__).parents[2]
GROUP = "/apis/mtls-operator.dev/v1alpha1"
OPERATOR_NAMESPACE = "mtls-system"

Kubectl = Callable[..., "subprocess.CompletedProcess[str]"]
Body = dict[str, Any]
T = TypeVar("T")


def cluster_environment() -> dict[str, str]:
    """Return the environment of the cluster that is up; fail the test when there is none."""
    done = subprocess.run(
        [sys.executable, "hack/cluster", "env"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        pytest.fail(f"no test cluster is up (make local-cluster-up): {done.stderr.strip()}")
    environment = dict(os.environ)
    for line in done.stdout.splitlines():
        words = shlex.split(line)
        if words[:1] == ["export"]:
            name, _, value = words[1].partition("=")
            environment[name] = value.replace("$PATH", os.environ.get("PATH", ""))
    return environment


@pytest.fixture(scope="session")
def kubectl() -> Kubectl:
    """Run kubectl against the test cluster; the arguments are its own, ``stdin`` is text."""
    environment = cluster_environment()

    def run(*arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["kubectl", *arguments],
            env=environment,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            cwd=ROOT,
        )

    return run


def eventually(
    look: Callable[[], T], holds: Callable[[T], bool] = bool, *, within: float = 60.0, what: str = ""
) -> T:
    """Look until something holds, and return it; fail with what was seen last when the time is over."""
    deadline = time.monotonic() + within
    while True:
        seen = look()
        if holds(seen):
            return seen
        if time.monotonic() > deadline:
            pytest.fail(f"not within {within:.0f} s{': ' + what if what else ''}; last seen: {seen!r}")
        time.sleep(0.05)


def process_of(*words: str) -> int:
    """Return the process of this machine that has, for each word, an argument which ends with it.

    Processes of the local cluster's containers are processes of this machine.
    """
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                arguments = (entry / "cmdline").read_bytes().decode().split("\0")
            except OSError:
                continue
            if all(any(part.endswith(word) for part in arguments) for word in words):
                return int(entry.name)
    pytest.fail(f"no process found for {' '.join(words)}: this test needs the local cluster")


class Api:
    """A client of the API server with the rights of the cluster's administrator."""

    def __init__(self, kubeconfig: Path) -> None:
        config = yaml.safe_load(kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        context = ssl.create_default_context(cadata=b64decode(cluster["certificate-authority-data"]).decode())
        pair = kubeconfig.parent / "tests-pair.pem"
        pair.touch(mode=0o600)
        pair.write_bytes(b64decode(user["client-certificate-data"]) + b64decode(user["client-key-data"]))
        context.load_cert_chain(pair)
        pair.unlink()
        self.http = httpx.Client(base_url=cluster["server"], verify=context, timeout=60)

    def get(self, path: str, **query: str) -> Body:
        """Return an object or a list; fail when there is none."""
        return self._answer(self.http.get(path, params=query))

    def find(self, path: str) -> Body | None:
        """Return an object, or None."""
        response = self.http.get(path)
        return None if response.status_code == httpx.codes.NOT_FOUND else self._answer(response)

    def items(self, path: str, **query: str) -> list[Body]:
        """Return the objects of a list."""
        return list(self.get(path, **query)["items"])

    def create(self, path: str, body: Mapping[str, Any]) -> Body:
        """Create an object in a collection."""
        return self._answer(self.http.post(path, json=body))

    def patch(self, path: str, body: Mapping[str, Any]) -> Body:
        """Merge-patch an object."""
        headers = {"Content-Type": "application/merge-patch+json"}
        return self._answer(self.http.patch(path, json=body, headers=headers))

    def replace(self, path: str, body: Mapping[str, Any]) -> Body:
        """Replace an object."""
        return self._answer(self.http.put(path, json=body))

    def delete(self, path: str, **options: Any) -> None:
        """Delete an object; one that is gone is no error."""
        response = self.http.request("DELETE", path, json=options)
        if response.status_code != httpx.codes.NOT_FOUND:
            self._answer(response)

    def is_alive(self) -> bool:
        """Say whether the API server answers."""
        try:
            return self.http.get("/readyz").is_success
        except httpx.TransportError:
            return False

    @staticmethod
    def _answer(response: httpx.Response) -> Body:
        if response.is_error:
            pytest.fail(f"{response.request.method} {response.url.path}: {response.text[:500]}")
        return dict(response.json())


@pytest.fixture(scope="session")
def api() -> Api:
    """Return a client of the test cluster's API server."""
    return Api(Path(cluster_environment()["KUBECONFIG"]))


def condition(body: Mapping[str, Any], kind: str) -> Mapping[str, str]:
    """Return a condition of an object's status for its present generation; empty when there is none yet."""
    for found in (body.get("status") or {}).get("conditions") or ():
        if found["type"] == kind and found["observedGeneration"] == body["metadata"]["generation"]:
            return dict(found)
    return {}


def is_ready(body: Mapping[str, Any]) -> bool:
    """Say whether an object is Ready at its present generation."""
    return condition(body, "Ready").get("status") == "True"
