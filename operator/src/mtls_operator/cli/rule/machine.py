"""Runs compiled rules as the proxy does: LuaJIT, facts by field name, constants in ``K``, the runtime in ``rt``.

The facts come from a request in the form of the reference evaluator, not from Envoy: for requests that no wire carries.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address
from typing import Any, Final

from lupa import luajit21

from mtls_operator.rules import RUNTIME, LuaCode, NamedList
from mtls_operator.rules.request import Data, field_value
from mtls_operator.rules.schema import SUPPORTED_FIELDS

_RULE: Final = "return function(rt, f)\nlocal K = {%s}\nreturn %s\nend"


class Machine:
    """One LuaJIT with the runtime loaded; strings are bytes on both sides."""

    def __init__(self) -> None:
        self.lua = luajit21.LuaRuntime(encoding=None, unpack_returned_tuples=True)
        self.runtime = self.lua.execute(RUNTIME.encode())

    def load(self, code: LuaCode, lists: Mapping[str, NamedList] | None = None) -> Any:
        """Return the Lua function of a rule; raises when LuaJIT does not load it."""
        constants = code.bound(lists or {})
        return self.lua.execute((_RULE % (",".join(constants), code.expression)).encode("ascii"))

    def run(
        self, code: LuaCode, request: Mapping[str, object], lists: Mapping[str, NamedList] | None = None
    ) -> object:
        """Return what a rule yields for a request in the form of the reference evaluator."""
        return self.load(code, lists)(self.runtime, self.facts(request))

    def facts(self, request: Mapping[str, object]) -> Any:
        """Return the table of facts as the data plane provides it."""
        facts = self.lua.table()
        for name in SUPPORTED_FIELDS:
            facts[name.encode()] = self._value(field_value(request, name))
        return facts

    def _value(self, value: Data) -> Any:
        if isinstance(value, IPv4Address | IPv6Address):
            return value.packed
        if isinstance(value, list):
            return self.lua.table(*(self._value(member) for member in value))
        if isinstance(value, dict):
            return self.lua.table_from({key: self._value(member) for key, member in value.items()})
        return value
