"""What ``rule explain`` says is what the real proxy does: the same rules, requests and certificates through both."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.support import builders
from tests.support.lab import HOST, Lab, next_epoch

from mtls_operator.cli.manifests import Manifest
from mtls_operator.cli.rule.explain import explain
from mtls_operator.cli.rule.presented import Claim
from mtls_operator.cli.rule.request import Flags
from mtls_operator.cli.rule.scene import Scene, host_in_force, scene_of_files
from mtls_operator.envoy import rules_script
from mtls_operator.rules import RUNTIME

ADMIN = builders.rule("admin", match={"paths": ["/admin"], "pathPrefixes": ["/admin/"]})
DEVICES = builders.rule(
    "devices",
    expression='not cf.tls_client_auth.cert_verified or cf.tls_client_auth.cert_subject_dn ne "CN=good"',
    response={"statusCode": 401, "contentType": "text/plain", "body": "no"},
)
HEALTH = builders.rule("health", expression='http.request.uri.path eq "/health"', action="Skip", priority=1)
NOTED = builders.rule("noted", expression="ssl", action="Log", priority=2)
ROLE = builders.rule("role", expression='not any(http.request.headers["x-role"][*] eq "admin")', priority=3)
SCENES = {
    "admin": [ADMIN],
    "devices": [HEALTH, NOTED, DEVICES],
    "role": [ROLE, HEALTH],
    "none": [NOTED],
}
PEOPLE = [None, "good", "revoked", "foreign", "expired", "server-usage"]
TARGETS = [
    "/",
    "/admin",
    "/admin/x",
    "/admin;x",
    "/x/..;/admin",
    "/x%2fadmin",
    "/health",
    "/health;x",
    "/a%00",
    "/%61dmin",
]
PATHS_WITH_HEADER = [("/", "X-Role: admin"), ("/", "x-role:user"), ("/health", "X_Role: admin")]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    lab = Lab(tmp_path_factory.mktemp("explain"))
    (lab.people.folder / "ca.pem").write_text(lab.people.ca.certificate_pem)
    yield lab
    lab.close()


@pytest.fixture(params=list(SCENES))
def scene(shared: Lab, request: pytest.FixtureRequest) -> Scene:
    """Objects whose rules the proxy runs."""
    bodies: list[dict[str, Any]] = [builders.host("api", hostnames=(HOST,)), *SCENES[request.param]]
    found = scene_of_files([Manifest("test", body) for body in bodies], None)
    rules = host_in_force(found, name="api", hostname="").rules
    script = rules_script(
        epoch=next_epoch(),
        hostnames=[HOST],
        issuers=shared.rules.issuers,
        rules=rules.scripts,
        reads_certificate=rules.reads_certificate,
        forward=["xfcc"],
        runtime=RUNTIME,
        mounted=shared.site.placement.rules_file,
    )
    shared.push_rules(script)
    return found


def said(scene: Scene, folder: Path, person: str | None, flags: Flags) -> tuple[int, str]:
    """Return status and body that are explained; a revocation is what the flags say."""
    claim = Claim(nobody=True)
    if person is not None:
        claim = Claim(file=str(folder / f"{person}.crt"), ca_file=str(folder / "ca.pem"))
    if person == "revoked":
        claim = replace(claim, revoked=True)
    decision = explain(scene, flags, claim, mtls_host="", now=datetime.now(UTC)).decision
    return decision.status, decision.response.body if decision.response is not None else ""


@pytest.mark.parametrize("person", PEOPLE)
def test_the_proxy_does_what_is_explained(shared: Lab, scene: Scene, person: str | None) -> None:
    folder = shared.people.folder
    cases = [(target, "") for target in TARGETS] + PATHS_WITH_HEADER
    for target, header in cases:
        status, body = said(
            scene, folder, person, Flags(path=target, headers=[header] if header else [], http_version="1.1")
        )
        name, _, value = header.partition(":")
        with shared.http1(person) as client:
            answer = client.get(target, HOST, [(name, value.strip())] if header else [])
        assert answer.status == status, (target, header)
        assert not body or answer.body.decode() == body, (target, header)


@pytest.mark.parametrize(
    ("sni", "host"),
    [(HOST, "other.example.com"), ("other.example.com", "other.example.com"), ("x.example.com", HOST)],
)
def test_a_misdirected_request_is_explained(shared: Lab, scene: Scene, sni: str, host: str) -> None:
    status, _ = said(scene, shared.people.folder, None, Flags(host=host, sni=sni, path="/"))
    with shared.http1(None, sni) as client:
        assert client.get("/", host).status == status == 421
