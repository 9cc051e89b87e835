"""The rules language: text to typed tree to Lua, with a reference evaluator and diagnostics.

A subset of Cloudflare's Rules language for filters, with its names and semantics
(``docs/rules-language.md``). Pure: it knows nothing of clusters or proxies.
"""

from mtls_operator.rules.diagnostics import Code, Lint, RuleError, Span
from mtls_operator.rules.expression import (
    GENERATED_LIMITS,
    PRODUCT_LIMITS,
    Expression,
    check_supported,
    evaluate,
    parse,
    to_lua,
)
from mtls_operator.rules.guards import Guard
from mtls_operator.rules.lists import BrokenList, ListError, NamedList, Shapes, read_list
from mtls_operator.rules.lua import RUNTIME, LuaCode
from mtls_operator.rules.lua_text import lua_string
from mtls_operator.rules.request import RequestError
from mtls_operator.rules.simple import SimpleFormError, simple_form
from mtls_operator.rules.trace import Traced, trace
from mtls_operator.rules.types import Kind
from mtls_operator.rules.values import Limits

__all__ = [
    "GENERATED_LIMITS",
    "PRODUCT_LIMITS",
    "RUNTIME",
    "BrokenList",
    "Code",
    "Expression",
    "Guard",
    "Kind",
    "Limits",
    "Lint",
    "ListError",
    "LuaCode",
    "NamedList",
    "RequestError",
    "RuleError",
    "Shapes",
    "SimpleFormError",
    "Span",
    "Traced",
    "check_supported",
    "evaluate",
    "lua_string",
    "parse",
    "read_list",
    "simple_form",
    "to_lua",
    "trace",
]
