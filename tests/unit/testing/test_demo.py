"""The demo's own parts: its clients' certificates, and how it ends; no cluster is touched here."""

from __future__ import annotations

import sys
from base64 import b64encode
from datetime import UTC, datetime
from types import ModuleType

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from tests.support.certs import Pair, authority


@pytest.fixture
def clients(demo: ModuleType) -> ModuleType:
    assert demo is not None
    return sys.modules["clients"]


@pytest.fixture
def ca() -> Pair:
    return authority("managed CA")


def _identity(clients: ModuleType, pair: Pair) -> object:
    data = {"tls.crt": pair.certificate_pem.encode(), "tls.key": pair.key_pem}
    return clients.from_secret({"data": {key: b64encode(value).decode() for key, value in data.items()}})


def test_the_expired_certificate_is_really_of_our_ca_and_really_over(clients: ModuleType, ca: Pair) -> None:
    """Otherwise its refusal would show nothing."""
    certificate = x509.load_pem_x509_certificate(clients.expired(_identity(clients, ca)).certificate)
    certificate.verify_directly_issued_by(ca.certificate)
    assert certificate.not_valid_after_utc < datetime.now(UTC)


def test_the_foreign_certificate_is_valid_and_only_of_another_ca(clients: ModuleType, ca: Pair) -> None:
    certificate = x509.load_pem_x509_certificate(clients.foreign().certificate)
    assert certificate.not_valid_before_utc < datetime.now(UTC) < certificate.not_valid_after_utc
    with pytest.raises((ValueError, InvalidSignature)):
        certificate.verify_directly_issued_by(ca.certificate)


def _run(demo: ModuleType, monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["hack/demo", *words])
    code: int = demo.main()
    return code


def _without_cluster(demo: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    steps: list[tuple[str, ...]] = []
    monkeypatch.setattr(demo, "Shell", lambda: "shell")
    monkeypatch.setattr(demo, "up", lambda: steps.append(("up",)))
    monkeypatch.setattr(demo, "install", lambda _, *values: steps.append(("install", *values)))
    for name, (_, values) in dict(demo.DEMOS).items():
        monkeypatch.setitem(demo.DEMOS, name, (lambda _, name=name: steps.append((name,)), values))
    return steps


def test_it_installs_before_it_plays_the_quickstart(
    demo: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = _without_cluster(demo, monkeypatch)
    assert _run(demo, monkeypatch, "run") == 0
    assert steps == [("up",), ("install",), ("quickstart",)]


def test_the_demo_of_certificates_does_not_wait_an_hour(
    demo: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = _without_cluster(demo, monkeypatch)
    assert _run(demo, monkeypatch, "run", "certificates") == 0
    assert steps == [("up",), ("install", "rotation.reissueSeconds=15"), ("certificates",)]


@pytest.mark.parametrize("name", ["certificate", "", "down"])
def test_a_demo_that_does_not_exist_names_those_that_do_and_touches_nothing(
    demo: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    steps = _without_cluster(demo, monkeypatch)
    with pytest.raises(SystemExit) as ended:
        _run(demo, monkeypatch, "run", name)
    assert ended.value.code == 2
    assert f"there is no demo {name!r}: DEMO is one of quickstart, certificates" in capsys.readouterr().err
    assert steps == []


def test_an_answer_that_was_not_expected_fails_it(
    demo: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def mismatch(_: object) -> None:
        raise demo.MismatchError("expected 403, got 200")

    _without_cluster(demo, monkeypatch)
    monkeypatch.setitem(demo.DEMOS, "quickstart", (mismatch, ()))
    assert _run(demo, monkeypatch, "run") == 1
    assert "expected 403, got 200" in capsys.readouterr().err


def test_a_command_that_fails_fails_it(
    demo: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails() -> None:
        raise demo.CommandError("hack/cluster down ended with 3")

    monkeypatch.setattr(demo, "down", fails)
    assert _run(demo, monkeypatch, "down") == 1
    assert "ended with 3" in capsys.readouterr().err


def test_a_verb_that_does_not_exist_is_a_usage_error(
    demo: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SystemExit) as ended:
        _run(demo, monkeypatch, "up")
    assert ended.value.code == 2
