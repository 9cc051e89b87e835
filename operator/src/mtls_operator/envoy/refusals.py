"""What the gate answers: as a Block without an answer of its own does (``answer.lua``), as far as Envoy can.

The gate denies when no script has decided. From outside that looks like any other refusal: the same text, with the
request's id. Envoy's own refusals of malformed requests come before a request has an id of ours, and stay as Envoy
writes them.

Source: https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_conn_man/local_reply
"""

from __future__ import annotations

from typing import Final

from mtls_operator.envoy.access_log import GATE_DETAILS, expression
from mtls_operator.envoy.document import Json

DENIED: Final = "client certificate required"
_ID: Final = "%REQ(X-REQUEST-ID):64%"
_JSON: Final[Json] = {"json_format": {"error": DENIED, "request_id": _ID}}
_TEXT: Final[Json] = {"text_format_source": {"inline_string": f"{DENIED}\nrequest id: {_ID}\n"}}
#: Envoy makes it the grpc-message.
_GRPC: Final[Json] = {"text_format_source": {"inline_string": DENIED}}

_FROM_GATE: Final = f"response.code_details.startsWith('{GATE_DETAILS}')"
_IS_GRPC: Final = f"{_FROM_GATE} && request.headers['content-type'].matches('^application/grpc([+].*)?$')"
#: Without weights, which an expression cannot read: JSON for whoever names it or a range with it.
_WANTS_TEXT: Final = (
    f"{_FROM_GATE} && 'accept' in request.headers"
    " && !request.headers['accept'].matches('(?i)application/json|application/[*]|[*]/[*]')"
)


def local_replies() -> Json:
    """Return the rewriting of Envoy's own answers; the first mapper that fits counts."""
    return {
        "mappers": [
            _mapper("grpc", _IS_GRPC, _GRPC),
            _mapper("text", _WANTS_TEXT, _TEXT),
            _mapper("json", _FROM_GATE, _JSON),
        ]
    }


def _mapper(name: str, holds: str, body: Json) -> Json:
    headers = [_header("x-request-id", _ID), _header("cache-control", "no-store")]
    return {
        "filter": expression(name, holds),
        "headers_to_add": headers,
        "body_format_override": body,
    }


def _header(name: str, value: str) -> Json:
    return {"header": {"key": name, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
