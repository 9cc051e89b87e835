"""The explanation of a decision: for people and for tools."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from mtls_operator.api.rule import Rule
from mtls_operator.cli.rule.because import Row, reason_text, reasons, rows, value_text
from mtls_operator.cli.rule.certificate import Worth
from mtls_operator.cli.rule.decision import Decision, Outcome, Step, full_request
from mtls_operator.cli.rule.request import Described
from mtls_operator.cli.rule.scene import HostInForce
from mtls_operator.cli.screen import Screen, Style
from mtls_operator.rules.request import field_value
from mtls_operator.rules.tree import Field, walk

_STYLES = {
    Outcome.REFUSED: Style.BAD,
    Outcome.LET_THROUGH: Style.GOOD,
    Outcome.REDIRECTED: Style.WARNING,
    Outcome.ANSWERED: Style.WARNING,
}


@dataclass(frozen=True, slots=True)
class Answer:
    """Everything that an explanation shows."""

    namespace: str
    at_host: HostInForce
    described: Described
    worth: Worth
    decision: Decision
    notes: tuple[str, ...]


def because(decision: Decision) -> list[str]:
    """Return the parts of the deciding rule's expression that decide."""
    deciding = [step for step in decision.steps if step.rule is decision.rule and step.matches]
    return [reason_text(each) for each in reasons(deciding[-1].traced)] if deciding else []


def assumptions(answer: Answer) -> list[str]:
    """Return what was assumed about fields that a rule reads and that nobody gave a value."""
    read = {
        node.name
        for step in answer.decision.steps
        for node in walk(step.traced.node)
        if isinstance(node, Field)
    }
    request = full_request(answer.described, answer.worth)
    return [
        f"{name} was not given: {value_text(field_value(request, name))} is assumed"
        for name in sorted(read & answer.described.assumed)
    ]


def remarks(answer: Answer) -> list[str]:
    """Return what a person should know besides."""
    dropped = [f"the header {name} does not arrive: the proxy drops it" for name in answer.described.dropped]
    return [*answer.notes, *answer.worth.notes, *dropped, *assumptions(answer)]


# For people


def show(answer: Answer, screen: Screen) -> None:
    """Print an explanation."""
    described, worth, decision = answer.described, answer.worth, answer.decision
    screen.pairs(
        [
            ("request", f"{described.method} https://{described.host}{described.target}"),
            *_path_pairs(described),
            ("certificate", f"{worth.title}: {_states(worth)}"),
            ("", f"because {worth.why}" if worth.presented else worth.why),
            ("host", _host_text(answer)),
        ]
    )
    readings = {step.reading for step in decision.steps}
    for step in decision.steps:
        screen.line()
        _show_step(step, screen, several=len(readings) > 1)
    if any(not row.looked_at for step in decision.steps for row in rows(step.traced)):
        screen.line()
        screen.line("In parentheses: not looked at, what stands before has decided.", Style.FAINT)
    for rule in decision.not_reached:
        screen.line()
        screen.line(f"rule {_rule_text(rule)}: not reached", Style.FAINT)
    screen.line()
    _show_decision(decision, screen)
    notes = remarks(answer)
    if notes:
        screen.line()
    for note in notes:
        screen.line(f"note: {note}", Style.WARNING)


def _host_text(answer: Answer) -> str:
    if answer.at_host.host is None:
        return "no MTLSHost in the files: every rule applies, and any host is taken for ours"
    return f"MTLSHost {answer.at_host.name} in namespace {answer.namespace}"


def _path_pairs(described: Described) -> Iterator[tuple[str, str]]:
    path = described.path
    if path.malformed or path.redirect is not None:
        return
    if path.path != described.target.partition("?")[0]:
        yield ("", f"the path is normalised: {path.path}")
    for reading in path.readings:
        yield ("", f"an application may also read it as {reading}: a Block for that counts too")


def _states(worth: Worth) -> str:
    if not worth.presented:
        return "not presented"
    verified = "verified" if worth.verified else "not verified"
    return f"presented, {verified}, {'revoked' if worth.revoked else 'not revoked'}"


def _show_step(step: Step, screen: Screen, *, several: bool) -> None:
    matches = ("matches", Style.HEAD) if step.matches else ("does not match", Style.PLAIN)
    reading = f" for the path {step.reading}" if several else ""
    screen.pieces([(f"rule {_rule_text(step.rule)}: ", Style.PLAIN), matches, (reading, Style.PLAIN)])
    for row in rows(step.traced):
        truth = _truth(row)
        text = row.text if row.boolean else f"{row.text} = {value_text(row.value)}"
        style = Style.PLAIN if row.looked_at else Style.FAINT
        screen.pieces(
            [(f"{truth:<8}", _truth_style(row)), (_branch(row, draws=screen.draws) + text, style)], indent=2
        )


def _truth(row: Row) -> str:
    if not row.boolean:
        return ""
    text = "missing" if row.value is None else str(row.value is True).lower()
    return text if row.looked_at else f"({text})"


def _truth_style(row: Row) -> Style:
    if not row.looked_at:
        return Style.FAINT
    return Style.GOOD if row.value is True else Style.WARNING


def _branch(row: Row, *, draws: bool) -> str:
    if not row.follows:
        return ""
    through, fork, end = ("│  ", "├─ ", "└─ ") if draws else ("|  ", "|- ", "`- ")
    above = "".join(through if more else "   " for more in row.follows[:-1])
    return above + (fork if row.follows[-1] else end)


def _rule_text(rule: Rule) -> str:
    return f"{rule.meta.name} ({rule.action.value}, priority {rule.priority})"


def _show_decision(decision: Decision, screen: Screen) -> None:
    status = f" with status {decision.status}" if decision.outcome is not Outcome.LET_THROUGH else ""
    screen.pieces(
        [(f"{decision.outcome.value}{status}", _STYLES[decision.outcome]), (f": {decision.why}", Style.PLAIN)]
    )
    for position, reason in enumerate(because(decision)):
        screen.line(f"{'because' if position == 0 else '    and'} {reason}", indent=2)
    if decision.response is not None:
        own = f"{decision.response.content_type}: {decision.response.body}"
        screen.line(f"the client gets {_DEFAULT if decision.response.body is None else own}", indent=2)
    if decision.location:
        screen.line(f"to {decision.location}: explain that path", indent=2)


_DEFAULT: Final = 'the default answer: "client certificate required" and an id, in JSON or text as it accepts'


# For tools


def document(answer: Answer) -> dict[str, Any]:
    """Return an explanation as JSON data."""
    described, worth, decision = answer.described, answer.worth, answer.decision
    result: dict[str, Any] = {
        "namespace": answer.namespace,
        "host": answer.at_host.name,
        "request": {
            "method": described.method,
            "host": described.host,
            "target": described.target,
            "path": described.path.path,
            "readings": list(described.path.readings),
        },
        "certificate": {
            "title": worth.title,
            "presented": worth.presented,
            "verified": worth.verified,
            "revoked": worth.revoked,
            "why": worth.why,
        },
        "rules": [_step_document(step) for step in decision.steps],
        "notReached": [rule.meta.name for rule in decision.not_reached],
        "decision": {
            "outcome": decision.outcome.name.lower(),
            "status": decision.status,
            "why": decision.why,
            "rule": decision.rule.meta.name if decision.rule is not None else None,
            "because": because(decision),
        },
        "notes": remarks(answer),
    }
    if decision.response is not None and decision.response.body is not None:
        result["decision"] |= {
            "contentType": decision.response.content_type,
            "body": decision.response.body,
        }
    if decision.location:
        result["decision"]["location"] = decision.location
    return result


def _step_document(step: Step) -> dict[str, Any]:
    rule = step.rule
    return {
        "name": rule.meta.name,
        "action": rule.action.value,
        "priority": rule.priority,
        "path": step.reading,
        "matches": step.matches,
        "values": [
            {
                "depth": len(row.follows),
                "text": row.text,
                "value": value_text(row.value),
                "lookedAt": row.looked_at,
            }
            for row in rows(step.traced)
        ],
    }
