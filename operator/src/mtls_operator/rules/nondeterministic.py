"""The nondeterministic automaton of a regular expression (Thompson's construction), and what its states reach freely.

Sets of states are integers, a bit for each state that waits for a byte or for what follows: whole sets are joined in
one step of the processor for every 64 states, not one by one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from mtls_operator.rules.regex_tree import Alternatives, Assertion, OneOf, RegexNode, Repetition, Sequence

#: A set of so many states takes as long to join as to look at one state.
_WORDS: Final = 4096
#: The bit of the end: whatever holds it is a match.
ACCEPTED: Final = 1


class Side(Enum):
    """What stands on one side of a place."""

    NOTHING = "nothing"
    WORD = "word"
    NEWLINE = "newline"
    OTHER = "other"


@dataclass(slots=True)
class Graph:
    """States by number: where a byte leads to, where an assertion leads to, and where nothing is needed.

    All ways that need nothing lead to higher numbers, but for those that close a loop.
    """

    spend: Callable[[int], None]
    members: list[frozenset[int] | None] = field(default_factory=list)
    targets: list[int] = field(default_factory=list)
    assertions: list[Assertion | None] = field(default_factory=list)
    free: list[list[int]] = field(default_factory=list)
    start: int = 0
    end: int = 0
    loops: bool = False

    @classmethod
    def of(cls, tree: RegexNode, spend: Callable[[int], None]) -> Graph:
        """Return the graph of a tree; ``spend`` is told how much work it is."""
        graph = cls(spend)
        graph.start = graph.state()
        graph.end = graph.add(tree, graph.start)
        return graph

    def state(self) -> int:
        """Add a state that leads nowhere yet."""
        self.spend(3)
        self.members.append(None)
        self.targets.append(-1)
        self.assertions.append(None)
        self.free.append([])
        return len(self.free) - 1

    def add(self, node: RegexNode, start: int) -> int:
        """Add a part that begins in a state; return the state in which it ends."""
        match node:
            case OneOf():
                self.members[start], self.targets[start] = node.members, self.state()
                return self.targets[start]
            case Assertion():
                self.assertions[start], self.targets[start] = node, self.state()
                return self.targets[start]
            case Sequence():
                for part in node.parts:
                    start = self.add(part, self.after([start]))
                return start
            case Alternatives():
                return self.after([self.add(branch, self.after([start])) for branch in node.branches])
            case Repetition():
                return self.repeat(node, start)

    def after(self, states: list[int]) -> int:
        """Return a fresh state that needs nothing to be reached from these."""
        fresh = self.state()
        for state in states:
            self.free[state].append(fresh)
        return fresh

    def repeat(self, node: Repetition, start: int) -> int:
        """Add a repetition, written out as often as it must and can be."""
        for _ in range(node.low):
            start = self.add(node.part, self.after([start]))
        if node.high is None:
            self.loops = True
            loop = self.after([start])
            self.free[self.add(node.part, self.after([loop]))].append(loop)
            return self.after([loop])
        exits = [start]
        for _ in range(node.high - node.low):
            exits.append(self.add(node.part, self.after([exits[-1]])))
        return self.after(exits)


class Reach:
    """What each state of a graph reaches without a byte, as sets of the states where something is waited for."""

    __slots__ = ("_between", "_by_truth", "asked", "bits", "graph")

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.asked = [each for each in Assertion if each in set(graph.assertions)]
        self.bits = [0] * len(graph.free)
        bit = ACCEPTED
        for state, members in enumerate(graph.members):
            if state == graph.end:
                self.bits[state] = ACCEPTED
            elif members or graph.assertions[state] is not None:
                bit <<= 1
                self.bits[state] = bit
        self._between: dict[tuple[Side, Side | None], list[int]] = {}
        self._by_truth: dict[tuple[bool | None, ...], list[int]] = {}

    def between(self, before: Side, following: Side | None) -> list[int]:
        """Return the set for each state, at a place between these; None: what follows is not known yet."""
        place = (before, following)
        if place not in self._between:
            truth = tuple(_holds(assertion, before, following) for assertion in self.asked)
            if truth not in self._by_truth:
                self._by_truth[truth] = self._sets(dict(zip(self.asked, truth, strict=True)))
            self._between[place] = self._by_truth[truth]
        return self._between[place]

    def _sets(self, truth: dict[Assertion, bool | None]) -> list[int]:
        graph, sets = self.graph, list(self.bits)
        ways = list(graph.free)
        for state, assertion in enumerate(graph.assertions):
            holds = None if assertion is None else truth[assertion]
            if holds is not None:
                sets[state] = 0
                ways[state] = [graph.targets[state]] if holds else []
        changed = True
        while changed:
            # From the last state to the first: once, and again for what comes round a loop.
            changed = False
            graph.spend(len(sets) // 2 * (1 + len(sets) // _WORDS))
            for state in range(len(sets) - 1, -1, -1):
                reached = sets[state]
                for following in ways[state]:
                    reached |= sets[following]
                if reached != sets[state]:
                    sets[state], changed = reached, graph.loops
        return sets


def _holds(assertion: Assertion, before: Side, following: Side | None) -> bool | None:
    """Return whether an assertion holds; None when that depends on what follows and it is not known."""
    if assertion is Assertion.START:
        return before is Side.NOTHING
    if assertion is Assertion.LINE_START:
        return before in {Side.NOTHING, Side.NEWLINE}
    if following is None:
        return None
    if assertion is Assertion.END:
        return following is Side.NOTHING
    if assertion is Assertion.LINE_END:
        return following in {Side.NOTHING, Side.NEWLINE}
    edge = (before is Side.WORD) != (following is Side.WORD)
    return edge is (assertion is Assertion.WORD_EDGE)
