"""Rules are compiled beside the event loop, one at a time, and once."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import pytest
from tests.support.builders import rule

from mtls_operator.api.rule import Rule, parse_rule
from mtls_operator.controller import compiling as module
from mtls_operator.controller.aside import OneThread
from mtls_operator.controller.compiling import Compiling
from mtls_operator.plan.hostrules import BrokenRule, compile_rule
from mtls_operator.plan.lists import Lists
from mtls_operator.rules import Kind, RuleError, read_list

NO_LISTS: Lists = {}


def made(name: str = "admin", expression: str = 'http.host eq "a"') -> Rule:
    body = rule(name, expression=expression)
    body["metadata"] |= {"uid": f"uid-{name}", "generation": 1, "creationTimestamp": "2026-01-01T00:00:00Z"}
    return parse_rule(body)


@dataclass
class Watched:
    """``compile_rule``, and who called it."""

    threads: list[int] = field(default_factory=list)
    running: int = 0
    most: int = 0

    def __call__(self, of: Rule, lists: Lists) -> object:
        self.threads.append(threading.get_ident())
        self.running += 1
        self.most = max(self.most, self.running)
        time.sleep(0.01)
        try:
            return compile_rule(of, lists)
        finally:
            self.running -= 1


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    watched = Watched()
    monkeypatch.setattr(module, "compile_rule", watched)
    return watched


def run(use: Callable[[Compiling], Coroutine[Any, Any, None]]) -> None:
    """Run with a real loop: the others of these tests have no threads."""

    async def inner() -> None:
        await use(Compiling(OneThread()))

    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        runner.run(inner())


def test_rules_are_compiled_beside_the_loop_and_one_at_a_time(watched: Watched) -> None:
    async def use(compiling: Compiling) -> None:
        rules = [made(f"rule-{number}") for number in range(8)]
        await asyncio.gather(*(compiling.compile(each, NO_LISTS) for each in rules))

    run(use)
    assert len(watched.threads) == 8
    assert threading.get_ident() not in watched.threads
    assert watched.most == 1


def test_a_rule_is_compiled_again_when_it_or_a_list_changes_and_only_then(watched: Watched) -> None:
    counts: list[int] = []
    lists = {"office": read_list(Kind.IP, "192.0.2.1")}
    steps: list[tuple[Rule | BrokenRule, Lists]] = [
        (made(), NO_LISTS),
        (made(), NO_LISTS),
        (made(expression='http.host eq "b"'), NO_LISTS),
        (made(expression='http.host eq "b"'), lists),
        (made(expression='http.host eq "b"'), dict(lists)),
        (made("other"), NO_LISTS),
        (BrokenRule(made().meta, (), "it cannot be read"), NO_LISTS),
    ]

    async def use(compiling: Compiling) -> None:
        for each, known in steps:
            await compiling.compile(each, known)
            counts.append(len(watched.threads))

    run(use)
    assert counts == [1, 1, 2, 3, 3, 4, 4]


def test_what_does_not_compile_stops_nobody(watched: Watched) -> None:
    broken = made(expression="http.host eq")

    async def use(compiling: Compiling) -> None:
        await compiling.compile(broken, NO_LISTS)
        await compiling.compile(broken, NO_LISTS)
        await compiling.compile(made("other"), NO_LISTS)

    run(use)
    assert len(watched.threads) == 2
    with pytest.raises(RuleError):
        compile_rule(broken, NO_LISTS)


def test_a_rule_that_may_be_forgotten_is_compiled_again(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_KNOWN", 2)

    async def use(compiling: Compiling) -> None:
        for name in ("a", "b", "a", "c", "a", "b"):
            await compiling.compile(made(name), NO_LISTS)

    run(use)
    assert len(watched.threads) == 4  # a, b, c, and b again, which was looked at longest ago
