"""The definitions on a real API server: what it accepts, what it refuses, and with which words."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
CRDS = ROOT / "crds"
EXAMPLES = CRDS / "examples"

Kubectl = Callable[..., "subprocess.CompletedProcess[str]"]

pytestmark = pytest.mark.cluster


def examples(folder: str) -> list[Any]:
    return [pytest.param(path, id=path.stem) for path in sorted((EXAMPLES / folder).glob("*.yaml"))]


def headline(path: Path) -> str:
    """Return the first line of an example, which says what is expected."""
    return path.read_text().partition("\n")[0].removeprefix("# ")


@pytest.fixture(scope="module")
def installed(kubectl: Kubectl) -> None:
    """Install the definitions and wait until the API server serves them."""
    definitions = [f"--filename={path}" for path in sorted(CRDS.glob("*.yaml"))]
    # In the name of Helm: an upgrade of the chart would else find fields that belong to somebody else.
    applied = kubectl("apply", "--server-side", "--force-conflicts", "--field-manager=helm", *definitions)
    assert applied.returncode == 0, applied.stderr
    waited = kubectl("wait", "--for=condition=Established", "--timeout=30s", *definitions)
    assert waited.returncode == 0, waited.stderr


@pytest.fixture
def before(
    request: pytest.FixtureRequest, installed: None, kubectl: Kubectl, tmp_path: Path
) -> Iterator[Path]:
    """Store the first document of an update for real, and return a file with the second one."""
    assert installed is None
    first, second = yaml.safe_load_all(request.param.read_text())
    old, new = tmp_path / "old.yaml", tmp_path / "new.yaml"
    old.write_text(yaml.safe_dump(first))
    new.write_text(yaml.safe_dump(second))
    created = kubectl("create", "-f", str(old))
    assert created.returncode == 0, created.stderr
    yield new
    deleted = kubectl("delete", "-f", str(old))
    assert deleted.returncode == 0, deleted.stderr


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("path", examples("valid"))
def test_a_valid_example_is_accepted(kubectl: Kubectl, path: Path) -> None:
    applied = kubectl("apply", "--dry-run=server", "-f", str(path))
    assert applied.returncode == 0, applied.stderr


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("path", examples("invalid"))
def test_an_invalid_example_is_refused_with_words_that_help(kubectl: Kubectl, path: Path) -> None:
    applied = kubectl("apply", "--dry-run=server", "-f", str(path))
    assert applied.returncode != 0
    assert headline(path).removeprefix("error: ") in applied.stderr


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        pytest.param(path, headline(path), id=path.stem)
        for path in sorted((EXAMPLES / "updates").glob("*.yaml"))
    ],
    indirect=["before"],
)
def test_an_update_is_accepted_or_refused_as_it_says(kubectl: Kubectl, before: Path, expected: str) -> None:
    applied = kubectl("replace", "--dry-run=server", "-f", str(before))
    if expected == "accepted":
        assert applied.returncode == 0, applied.stderr
    else:
        assert applied.returncode != 0
        assert expected.removeprefix("error: ") in applied.stderr


@pytest.mark.usefixtures("installed")
def test_the_api_server_stores_the_defaults(kubectl: Kubectl) -> None:
    path = EXAMPLES / "valid" / "host-minimal.yaml"
    applied = kubectl("apply", "--dry-run=server", "-o", "json", "-f", str(path))
    assert json.loads(applied.stdout)["spec"] == {
        "hostnames": ["api.example.com"],
        "workload": {"port": 8080, "protocol": "HTTP1"},
        "tls": {"minVersion": "1.2"},
        "clientCAs": {"managed": True},
        "forwardedHeaders": ["XForwardedClientCert"],
        "clientAddress": {"from": "Connection"},
        "connections": {"maxAge": "1h"},
        "isolation": {"networkPolicy": True, "allowedPorts": []},
    }


CONDITION = {
    "type": "Ready",
    "status": "True",
    "reason": "Ready",
    "message": "Everything is in force.",
    "observedGeneration": 1,
    "lastTransitionTime": "2027-01-31T08:00:00Z",
}
MOMENT = "2027-01-31T08:00:00Z"
STATUSES: list[tuple[str, dict[str, Any], list[str]]] = [
    (
        "host-minimal",
        {
            "conditions": [CONDITION],
            "proxies": {"pods": 3, "injected": 3, "connected": 3, "current": 3, "summary": "3/3"},
            "epoch": {"rules": 1_801_382_400_000, "revocation": 1_801_382_400_001},
            "clientCAs": [
                {
                    "subject": "CN=shop",
                    "ski": "AB",
                    "notAfter": MOMENT,
                    "source": "managed",
                    "phase": "Active",
                }
            ],
            "rules": [{"name": "admin", "action": "Block", "priority": 1000}],
            "ruleCount": 1,
        },
        ["True", "3/3", "1", "1801382400000", "in", "force."],
    ),
    (
        "certificate-minimal",
        {
            "state": "Active",
            "serialNumber": "2A",
            "fingerprintSha256": "ab" * 32,
            "subject": "CN=gateway-7",
            "issuer": {"subject": "CN=shop", "ski": "AB"},
            "notBefore": MOMENT,
            "notAfter": MOMENT,
            "renewalTime": MOMENT,
            "revokedAt": MOMENT,
            "revokedThrough": "kubectl-mtls",
            "previous": [{"serialNumber": "2B", "notAfter": MOMENT}],
            "certificate": "-----BEGIN CERTIFICATE-----",
            "conditions": [CONDITION],
        },
        ["Active", "2A", MOMENT, "CN=gateway-7", "ab" * 32],
    ),
    (
        "rule-minimal",
        {
            "expression": "(ssl)",
            "warnings": ["This is always true."],
            "hosts": [{"name": "api", "deployed": True}],
            "hostSummary": "1/1",
            "conditions": [CONDITION],
        },
        ["Block", "1000", "1/1", "True", "(ssl)"],
    ),
]


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(("example", "status", "shown"), STATUSES)
def test_a_whole_status_is_stored_as_written_and_shown_in_the_columns(
    kubectl: Kubectl, example: str, status: dict[str, Any], shown: list[str]
) -> None:
    path = str(EXAMPLES / "valid" / f"{example}.yaml")
    assert kubectl("create", "-f", path).returncode == 0
    try:
        patch = json.dumps({"status": status})
        patched = kubectl("patch", "-f", path, "--subresource=status", "--type=merge", "-p", patch)
        assert patched.returncode == 0, patched.stderr
        assert json.loads(kubectl("get", "-f", path, "-o", "json").stdout)["status"] == status
        columns = kubectl("get", "-f", path, "-o", "wide", "--no-headers").stdout.split()
        assert [cell for cell in shown if cell not in columns] == []
    finally:
        kubectl("delete", "-f", path)


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("resource", ["mh", "cc", "mr", "mtls"])
def test_the_kinds_answer_to_their_short_names_and_their_category(kubectl: Kubectl, resource: str) -> None:
    listed = kubectl("get", resource, "--all-namespaces")
    assert listed.returncode == 0, listed.stderr


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("plural", ["mtlshosts", "clientcertificates", "mtlsrules"])
def test_the_api_server_finds_nothing_wrong_with_the_schema(kubectl: Kubectl, plural: str) -> None:
    read = kubectl("get", "crd", f"{plural}.mtls-operator.dev", "-o", "json")
    conditions = {item["type"]: item["status"] for item in json.loads(read.stdout)["status"]["conditions"]}
    assert conditions["Established"] == "True"
    assert conditions.get("NonStructuralSchema", "False") == "False"
