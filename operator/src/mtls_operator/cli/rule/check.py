"""``kubectl mtls rule check``: is a rule accepted, and does it mean what its author thinks?"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from mtls_operator.api import names
from mtls_operator.api.rule import Rule
from mtls_operator.cli.command import Commands, Help, add_form, command
from mtls_operator.cli.errors import Exit, Unanswered
from mtls_operator.cli.manifests import is_manifest, parse, read_manifests, read_text
from mtls_operator.cli.rule.verdict import (
    Accepted,
    Refused,
    Verdict,
    judge_object,
    judge_text,
    placed,
    result,
    types,
    usage,
)
from mtls_operator.cli.screen import Form, Screen, Style

_HELP = Help(
    line="check an expression or the MTLSRules in files",
    text=(
        "Check rules as the operator does, without a cluster. Shows whether a rule is accepted, what it means with\n"
        "every grouping in parentheses, the fields that it reads with their types, warnings about what was probably\n"
        "not meant, and how much of the limits it uses. A mistake is shown with its place and a hint."
    ),
    examples=(
        "  kubectl mtls rule check 'not cf.tls_client_auth.cert_verified and http.request.uri.path eq \"/admin\"'\n"
        "  kubectl mtls rule check -f rule.yaml        # MTLSRules, or an expression as plain text\n"
        "  kubectl mtls rule check -f examples/quickstart -o json\n"
        "  kubectl -n shop get mtlsrules -o yaml | kubectl mtls rule check -f -\n"
        "\n"
        "Exit codes: 0 accepted (warnings or not), 1 at least one rule is refused, 2 the command was not understood\n"
        "or a file could not be read."
    ),
)


def add(commands: Commands) -> None:
    """Add the command."""
    check = command(commands, "check", _HELP, _run)
    check.add_argument(
        "expression", nargs="?", metavar="EXPRESSION", help="an expression; put it in single quotes"
    )
    check.add_argument(
        "-f",
        "--filename",
        action="append",
        default=[],
        metavar="FILE",
        help="a file or folder of manifests, a file with one expression, or - for standard input; can be repeated",
    )
    add_form(check)


def _run(parsed: argparse.Namespace, screen: Screen) -> Exit:
    verdicts = _verdicts(parsed.expression, parsed.filename)
    refused = [verdict for verdict in verdicts if isinstance(verdict.outcome, Refused)]
    if parsed.output is Form.TEXT:
        for position, verdict in enumerate(verdicts):
            if position:
                screen.line()
            _show(verdict, screen)
        if len(verdicts) > 1:
            screen.line()
            screen.line(f"{len(verdicts) - len(refused)} accepted, {len(refused)} refused", Style.HEAD)
    else:
        rules = [_document(verdict) for verdict in verdicts]
        screen.data(parsed.output, {"accepted": not refused, "rules": rules})
    return Exit.REFUSED if refused else Exit.FINE


def _verdicts(expression: str | None, files: list[str]) -> list[Verdict]:
    if (expression is None) == (not files):
        raise Unanswered("give either an expression or -f FILE\nSee 'kubectl mtls rule check --help'.")
    if expression is not None:
        return [judge_text(expression)]
    verdicts = [verdict for file in files for verdict in _of_file(file)]
    if not verdicts:
        raise Unanswered(f"no {names.RULE_KIND} in {', '.join(files)}")
    return verdicts


def _of_file(file: str) -> list[Verdict]:
    if Path(file).is_dir():
        manifests = read_manifests([file])
    else:
        text = read_text(file)
        if not is_manifest(text):
            return [judge_text(text.rstrip("\r\n"), file=file)]
        manifests = parse(text, file=file)
    return [judge_object(each) for each in manifests if each.kind == names.RULE_KIND]


# For people


def _show(verdict: Verdict, screen: Screen) -> None:
    outcome = verdict.outcome
    where = f" ({verdict.file})" if verdict.file else ""
    if isinstance(outcome, Refused):
        screen.pieces([(f"{verdict.title}{where}: ", Style.HEAD), ("refused", Style.BAD)])
        screen.line(outcome.message, indent=2)
        return
    found = len(outcome.expression.warnings)
    warned = f", with {found} warning{'s' if found > 1 else ''}" if found else ""
    screen.pieces(
        [(f"{verdict.title}{where}: ", Style.HEAD), ("accepted", Style.GOOD), (warned, Style.WARNING)]
    )
    if verdict.rule is not None:
        screen.line(_effect(verdict.rule), indent=2)
    _section(screen, "means")
    screen.line(outcome.expression.preview, indent=4)
    _section(screen, f"yields {result(outcome.expression)}, reads")
    screen.pairs(list(types(outcome.expression).items()), indent=4)
    for position, warning in enumerate(outcome.expression.warnings):
        if position == 0:
            _section(screen, "warnings")
        screen.line(placed(warning.message, warning.span, outcome.source).display(), Style.WARNING, indent=4)
    if verdict.rule is None or verdict.rule.expression is not None:
        used = usage(outcome.source, outcome.expression)
        _section(screen, "uses")
        screen.line(", ".join(f"{here} of {most} {name}" for name, (here, most) in used.items()), indent=4)


def _section(screen: Screen, title: str) -> None:
    screen.line(title, Style.FAINT, indent=2)


def _effect(rule: Rule) -> str:
    hosts = ", ".join(rule.host_names) or "every host of its namespace"
    off = "" if rule.enabled else "; disabled: it decides nothing"
    return f"{rule.action.value} on {hosts}, priority {rule.priority}{off}"


# For tools


def _document(verdict: Verdict) -> dict[str, Any]:
    outcome = verdict.outcome
    document: dict[str, Any] = {"file": verdict.file} if verdict.file else {}
    if verdict.rule is not None:
        meta = verdict.rule.meta
        document |= {"namespace": meta.namespace, "name": meta.name, "action": verdict.rule.action.value}
    document["accepted"] = isinstance(outcome, Accepted)
    if isinstance(outcome, Refused):
        return document | {"error": _error(outcome)}
    expression = outcome.expression
    document |= {
        "expression": outcome.source,
        "preview": expression.preview,
        "type": result(expression),
        "fields": types(expression),
        "warnings": [
            {"code": each.code, "message": each.message, "span": [each.span.start, each.span.end]}
            for each in expression.warnings
        ],
    }
    if verdict.rule is None or verdict.rule.expression is not None:
        used = usage(outcome.source, expression)
        document["limits"] = {name: {"used": here, "limit": most} for name, (here, most) in used.items()}
    return document


def _error(refused: Refused) -> dict[str, Any]:
    error = refused.error
    if error is None:
        return {"message": refused.message}
    line, column = error.line_column()
    return {
        "code": error.code.value,
        "message": error.message,
        "hint": error.hint,
        "line": line,
        "column": column,
        "span": [error.span.start, error.span.end],
        "display": refused.message,
    }
