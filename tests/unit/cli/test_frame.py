"""What every command has in common: help, usage errors, exit codes, what reaches the terminal."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.unit.cli.terminal import run

from mtls_operator import __version__
from mtls_operator.cli.command import Parser
from mtls_operator.cli.main import build_parser
from mtls_operator.cli.screen import Form, Screen, Style

ROOT = Path(__file__).parents[3]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def commands(parser: Parser, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Return every command and group by its words."""
    found = [path]
    for action in parser._actions:
        if isinstance(action.choices, dict):
            for name, inner in action.choices.items():
                found += commands(inner, (*path, name))
    return found


COMMANDS = commands(build_parser())


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_has_help_that_says_what_it_does(words: tuple[str, ...]) -> None:
    ended = run(*words, "--help")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith(" ".join(["usage: kubectl mtls", *words]))
    assert max(map(len, ended.out.splitlines())) <= 120


def test_folders_of_this_project_in_the_examples_have_manifests_to_read() -> None:
    folders = {
        folder for words in COMMANDS for folder in re.findall(r"-f (examples\S*)", run(*words, "--help").out)
    }
    assert folders
    assert all(list((ROOT / folder).glob("*.yaml")) for folder in folders)


@pytest.mark.parametrize("words", [words for words in COMMANDS if len(words) != 1], ids=" ".join)
def test_every_command_shows_examples_that_begin_with_it(words: tuple[str, ...]) -> None:
    text = run(*words, "--help").out
    assert "examples:" in text
    assert " ".join(["  kubectl mtls", *words]) in text


@pytest.mark.parametrize("words", [(), ("rule",), ("cert",), ("ca",)], ids=" ".join)
def test_a_group_without_a_command_shows_its_help_as_an_error(words: tuple[str, ...]) -> None:
    ended = run(*words)
    assert (ended.code, ended.out) == (2, "")
    assert "a command is missing" in ended.err
    assert "commands:" in ended.err


@pytest.mark.parametrize(
    "words",
    [("walk",), ("rule", "chek"), ("version", "now"), ("rule", "check", "--file", "x"), ("-o", "json")],
)
def test_what_is_not_understood_is_an_error_that_points_to_the_help(words: tuple[str, ...]) -> None:
    ended = run(*words)
    assert (ended.code, ended.out) == (2, "")
    assert "--help' for usage" in ended.err


def test_the_version_is_that_of_the_package() -> None:
    assert run("version").out == f"kubectl-mtls {__version__}\n"
    assert run("version", "-o", "json").document == {"version": __version__}


def test_a_pipe_gets_no_colours_and_no_line_is_cut() -> None:
    text = "x" * 500
    out = io.StringIO()
    Screen(out, io.StringIO()).line(text, Style.BAD)
    assert out.getvalue() == text + "\n"


def test_a_terminal_gets_colours_unless_it_does_not_want_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    coloured = Terminal()
    Screen(coloured, io.StringIO()).line("refused", Style.BAD)
    assert "\x1b[" in coloured.getvalue()
    monkeypatch.setenv("NO_COLOR", "1")
    plain = Terminal()
    Screen(plain, io.StringIO()).line("refused", Style.BAD)
    assert "\x1b[3" not in plain.getvalue()


def test_text_of_others_cannot_steer_the_terminal() -> None:
    out, err = Terminal(), Terminal()
    screen = Screen(out, err)
    screen.line("a\x1b[2Jb\rc\u202ed")
    screen.complain("a\x1b]0;title\x07b")
    assert "\x1b[2J" not in out.getvalue()
    assert not set("\r\u202e") & set(out.getvalue())
    assert "\x1b]" not in err.getvalue()


@pytest.mark.parametrize("form", [Form.JSON, Form.YAML])
def test_documents_are_printed_as_they_are(form: Form) -> None:
    out = io.StringIO()
    Screen(out, io.StringIO()).data(form, {"text": "é\x1b[2J [bold] :smile:", "list": [1]})
    assert "\x1b" not in out.getvalue()
    assert ":smile:" in out.getvalue()
    assert "[bold]" in out.getvalue()


def program(*arguments: str, **environment: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "mtls_operator.cli.main", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **environment},
    )


def test_a_reader_that_goes_away_is_no_error() -> None:
    process = program("rule", "check", "--help")
    assert process.stdout is not None
    process.stdout.close()
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, b"")


def test_an_output_without_unicode_gets_question_marks() -> None:
    out, err = program("rule", "check", 'http.host eq "é"', PYTHONIOENCODING="ascii").communicate(timeout=60)
    assert b'"?"' in out
    assert err == b""
