"""How the process logs: one JSON object per line, ours and the libraries', and never a key."""

from __future__ import annotations

import subprocess

import pytest
from tests.unit.main.process import completed, parsed

from mtls_operator.main import main

KEY = "hush-hush"
PROGRAM = f"""
import logging, os, structlog
from mtls_operator import main
from mtls_operator.api.secret import Secret
main._configure_logging(os.environ.get("FORM", "json"), os.environ.get("LEVEL", "info"))
log, library = structlog.get_logger("ours"), logging.getLogger("kopf.objects")
key = Secret(b"{KEY}")
log.debug("detail")
log.info("certificate.issued", serial="0A", key=key)
library.info("library detail")
library.warning("two\\nlines of %s", key)
try:
    raise ValueError(f"cannot read {{key}}")
except ValueError:
    log.exception("ours.crashed", key=key)
    library.exception("library crashed")
"""


def ran(**variables: str) -> subprocess.CompletedProcess[str]:
    ended = completed(program=PROGRAM, **variables)
    assert ended.returncode == 0, ended.stderr
    return ended


def test_every_line_is_a_json_object_with_event_level_and_time() -> None:
    lines = parsed(ran().stderr)
    assert [(line["event"], line["level"]) for line in lines] == [
        ("certificate.issued", "info"),
        ("two\nlines of [redacted]", "warning"),
        ("ours.crashed", "error"),
        ("library crashed", "error"),
    ]
    assert all(line["timestamp"].endswith("Z") for line in lines)


def test_a_crash_keeps_its_traceback_in_its_own_line() -> None:
    crashes = [line for line in parsed(ran().stderr) if line["level"] == "error"]
    assert [line["exception"].splitlines()[-1] for line in crashes] == [
        "ValueError: cannot read [redacted]"
    ] * 2


@pytest.mark.parametrize("form", ["json", "console"])
def test_key_material_never_comes_out(form: str) -> None:
    """G5, as a value, in a message, and in a traceback."""
    ended = ran(FORM=form, LEVEL="debug")
    assert KEY not in ended.stderr + ended.stdout
    assert "[redacted]" in ended.stderr


def test_the_log_goes_to_standard_error_alone() -> None:
    assert ran().stdout == ""


@pytest.mark.parametrize(
    ("level", "events"),
    [
        ("debug", {"detail", "certificate.issued", "ours.crashed"}),
        ("info", {"certificate.issued", "ours.crashed"}),
        ("error", {"ours.crashed"}),
    ],
)
def test_the_level_decides_what_of_ours_is_logged(level: str, events: set[str]) -> None:
    logged = {line["event"] for line in parsed(ran(LEVEL=level).stderr)}
    assert logged & {"detail", "certificate.issued", "ours.crashed"} == events


def test_libraries_are_heard_from_warnings_on_even_when_we_debug() -> None:
    """At their finer levels they log whole objects, Secrets included."""
    assert "library detail" not in ran(LEVEL="debug").stderr


def test_for_people_every_line_starts_with_time_and_level_and_holds_no_machinery() -> None:
    text = ran(FORM="console").stderr
    assert "certificate.issued" in text
    assert "_record" not in text


def test_asking_for_help_leaves_the_logging_of_the_process_alone(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    assert capsys.readouterr().err == ""
