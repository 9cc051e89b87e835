"""What is remembered of a connection: each is asked about once, and only what a handshake settles."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from lupa.luajit21 import LuaError, LuaRuntime

from mtls_operator.envoy.script import call

LUA = LuaRuntime()
BY_CONNECTION: Any = LUA.eval(call("connection"))
#: Envoy returns nothing at all for what is not set.
STATE: Any = LUA.eval(
    """function(number)
  return { get = function(_, name)
    assert(name == "mtls.connection")
    if number ~= nil then return number end
  end }
end"""
)
#: As many as are remembered.
MOST = 8192


class Connections:
    """The memory, and what was asked to fill it."""

    def __init__(self, answer: Callable[[str], object] = str.upper) -> None:
        self.asked: list[str] = []
        self._answer = answer
        self._memory: Any = BY_CONNECTION(self._ask)

    def _ask(self, about: str) -> object:
        self.asked.append(about)
        return self._answer(about)

    def known(self, number: str | None, about: str) -> object:
        return self._memory(about, STATE(number))


def test_a_connection_is_asked_about_at_its_first_request() -> None:
    connections = Connections()
    assert [connections.known("1", each) for each in ("a", "b", "c")] == ["A", "A", "A"]
    assert connections.asked == ["a"]


def test_what_is_known_of_one_connection_is_not_said_of_another() -> None:
    connections = Connections()
    assert [connections.known(number, number * 2) for number in ("1", "2", "1", "11")] == [
        "11",
        "22",
        "11",
        "1111",
    ]


def test_two_scripts_do_not_share_what_they_know() -> None:
    assert Connections().known("1", "a") == "A"
    assert Connections().known("1", "b") == "B"


@pytest.mark.parametrize("number", [None, "-", "0", ""])
def test_a_connection_without_a_number_is_asked_about_at_every_request(number: str | None) -> None:
    connections = Connections()
    assert [connections.known(number, each) for each in ("a", "b")] == ["A", "B"]


def test_that_there_is_nothing_to_know_is_remembered_too() -> None:
    connections = Connections(lambda _: False)
    assert [connections.known("1", "a"), connections.known("1", "b")] == [False, False]
    assert connections.asked == ["a"]


def test_an_error_is_not_remembered() -> None:
    def fail(about: str) -> str:
        if about == "bad":
            raise ValueError(about)
        return about

    connections = Connections(fail)
    with pytest.raises((LuaError, ValueError)):
        connections.known("1", "bad")
    assert connections.known("1", "good") == "good"


def test_however_many_connections_are_opened_no_more_than_a_bounded_number_is_remembered() -> None:
    connections = Connections()
    for number in range(1, MOST + 1):
        connections.known(str(number), "a")
    assert connections.known("1", "b") == "A"
    connections.known("one more", "a")
    assert connections.known("1", "b") == "B"
