"""The demo's own parts: its clients' certificates, and how it ends; no cluster is touched here."""

from __future__ import annotations

import importlib.util
import sys
from base64 import b64encode
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from tests.support.certs import Pair, authority

FOLDER = Path(__file__).resolve().parents[3] / "hack" / "demo"
MODULES = ("clients", "release", "quickstart")


@pytest.fixture
def demo(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The program, imported the way ``python hack/demo`` does: its folder is on the path."""
    monkeypatch.syspath_prepend(str(FOLDER))
    spec = importlib.util.spec_from_file_location("demo_main", FOLDER / "__main__.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    for name in MODULES:
        sys.modules.pop(name, None)


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


def _run(demo: ModuleType, monkeypatch: pytest.MonkeyPatch, verb: str) -> int:
    monkeypatch.setattr(sys, "argv", ["hack/demo", verb])
    code: int = demo.main()
    return code


def test_it_installs_before_it_plays(demo: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    monkeypatch.setattr(demo, "Shell", lambda: "shell")
    monkeypatch.setattr(demo, "up", lambda: steps.append("up"))
    monkeypatch.setattr(demo, "install", lambda _: steps.append("install"))
    monkeypatch.setattr(demo, "run", lambda _: steps.append("run"))
    assert _run(demo, monkeypatch, "run") == 0
    assert steps == ["up", "install", "run"]


def test_an_answer_that_was_not_expected_fails_it(
    demo: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def mismatch(_: object) -> None:
        raise demo.MismatchError("expected 403, got 200")

    monkeypatch.setattr(demo, "Shell", lambda: "shell")
    monkeypatch.setattr(demo, "up", lambda: None)
    monkeypatch.setattr(demo, "install", lambda _: None)
    monkeypatch.setattr(demo, "run", mismatch)
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
