"""Compiles rules before they are needed, beside the event loop.

An expression may have twenty large regular expressions and take a fifth of a second. On the loop, with all workers at
such rules, a revocation in another namespace would wait for seconds; in a thread it waits for milliseconds.
"""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from mtls_operator.api.rule import Rule
from mtls_operator.controller.aside import Aside
from mtls_operator.plan.hostrules import REMEMBERED, BrokenRule, compile_rule
from mtls_operator.plan.lists import Lists
from mtls_operator.rules import RuleError

#: Those that were compiled last are still remembered by ``compile_rule``.
_KNOWN: Final = REMEMBERED // 2


@dataclass(slots=True)
class Compiling:
    """Remembers which rules have been compiled."""

    aside: Aside
    _known: OrderedDict[tuple[str, str], tuple[object, ...]] = field(default_factory=OrderedDict)

    async def compile(self, rule: Rule | BrokenRule, lists: Lists) -> None:
        """See to it that ``compile_rule`` has its answer at hand, be it a mistake."""
        if isinstance(rule, BrokenRule):
            return
        key, made_of = rule.meta.key, (rule.match, rule.expression, lists)
        if self._known.get(key) == made_of:
            self._known.move_to_end(key)
            return
        await self.aside(partial(_compile, rule, lists))
        self._known[key] = made_of
        self._known.move_to_end(key)
        while len(self._known) > _KNOWN:
            self._known.popitem(last=False)


def _compile(rule: Rule, lists: Lists) -> None:
    with contextlib.suppress(RuleError):
        compile_rule(rule, lists)
