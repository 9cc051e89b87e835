"""``kubectl mtls rule corpus --engine envoy``: the project's own cases in the real Envoy."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from tests.unit.cli.terminal import run

CORPUS = Path(__file__).parents[2] / "unit/rules/corpus.jsonl"


def test_every_case_of_our_own_passes_in_envoy_and_most_are_sent_over_https() -> None:
    ended = run("rule", "corpus", str(CORPUS), "--engine", "envoy")
    count = len(CORPUS.read_text("utf-8").rstrip("\n").split("\n"))
    assert ended.out.splitlines()[-1] == f"{count} passed, 0 failed"
    assert (ended.code, ended.err) == (0, "")
    numbers = re.search(r"(\d+) sent to Envoy over HTTPS, (\d+) given to the generated Lua", ended.out)
    assert numbers is not None
    assert int(numbers[1]) >= 200
    assert int(numbers[1]) > int(numbers[2])


def test_a_wrong_expectation_is_found_on_the_wire_and_in_lua(tmp_path: Path) -> None:
    cases = [
        {"id": "good", "expr": "cf.tls_client_auth.cert_verified", "request": {
            "cf.tls_client_auth.cert_presented": True, "cf.tls_client_auth.cert_verified": True}, "result": True},
        {"id": "revoked", "expr": "cf.tls_client_auth.cert_revoked", "request": {
            "cf.tls_client_auth.cert_presented": True, "cf.tls_client_auth.cert_verified": True,
            "cf.tls_client_auth.cert_revoked": True}, "result": True},
        {"id": "version", "expr": 'cf.tls_version eq "TLSv1.2"', "request": {"cf.tls_version": "TLSv1.2"},
         "result": True},
        {"id": "sent", "expr": 'http.request.method eq "PUT"', "request": {"http.request.method": "PUT"},
         "result": False},
        {"id": "lua", "expr": "ip.src eq 192.0.2.1", "request": {"ip.src": "192.0.2.1"}, "result": False},
    ]  # fmt: skip
    file = tmp_path / "cases.jsonl"
    file.write_text("\n".join(map(json.dumps, cases)))
    ended = run("rule", "corpus", str(file), "--engine", "envoy", "-o", "json")
    assert ended.code == 1
    assert ended.document["passed"] == 3
    assert [(each["id"], each["got"]) for each in ended.document["failed"]] == [
        ("sent", "true"),
        ("lua", "true"),
    ]
    assert ended.document["summary"] == "4 sent to Envoy over HTTPS, 1 given to the generated Lua"


@pytest.mark.parametrize(
    ("program", "message"),
    [("/none/envoy", "there is no program /none/envoy"), ("false", "envoy exited with 1")],
)
def test_without_an_envoy_that_runs_there_is_no_answer(tmp_path: Path, program: str, message: str) -> None:
    file = tmp_path / "cases.jsonl"
    file.write_text('{"expr": "ssl", "result": true}\n')
    ended = run("rule", "corpus", str(file), "--engine", "envoy", "--envoy", program)
    assert (ended.code, ended.out) == (2, "")
    assert message in ended.err
