"""What the command line answers."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.main.process import completed

from mtls_operator import __version__
from mtls_operator.main import main


def test_help_names_both_commands_and_where_settings_come_from(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert "run " in text
    assert "webhook " in text
    assert "MTLS_" in text


def test_help_of_the_webhook_names_each_flag_with_its_variable(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["webhook", "--help"])
    assert ended.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "--proxy-image" in text
    assert "[MTLS_PROXY_IMAGE]" in text


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"mtls-operator {__version__}\n"


@pytest.mark.parametrize("arguments", [[], ["walk"], ["run", "fast"], ["webhook", "--speed", "1"]])
def test_a_command_that_does_not_exist_is_a_usage_error(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "usage: mtls-operator" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "variable", "value"),
    [
        ("run", "MTLS_WORKERS", "many"),
        ("run", "MTLS_HEALTH_PORT", "https"),
        ("run", "MTLS_LOG_FORMAT", "xml"),
        ("run", "MTLS_LOG_LEVEL", "chatty"),
        ("webhook", "MTLS_WEBHOOK_PORT", "70000"),
        ("webhook", "MTLS_PROXY_IMAGE", ""),
    ],
)
def test_a_setting_that_does_not_fit_is_named_in_one_line(command: str, variable: str, value: str) -> None:
    variables = {"MTLS_PROXY_IMAGE": "proxy:1", variable: value}
    ended = completed(command, **variables)
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr.startswith("mtls-operator: ")
    assert variable in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_without_a_way_to_a_cluster_it_says_so_and_ends(tmp_path: Path) -> None:
    ended = completed("run", KUBECONFIG=str(tmp_path / "none"))
    assert ended.returncode == 2
    assert "mtls-operator: no way to an API server" in ended.stderr
    assert "Traceback" not in ended.stderr
