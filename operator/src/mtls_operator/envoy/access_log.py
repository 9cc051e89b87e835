"""The access log: one JSON line per request that was refused or that a rule wants logged.

Requests that simply pass are not logged: the application does that, and a line costs more than the decision.
Logged are

* requests that the rules script marked: Block and Log rules, and 400, 403 and 421 of its own;
* requests without any decision: a script failed, or Envoy itself refused the request;
* failures to reach the application.

No line holds a secret: certificates by serial number, fingerprint and subject, no query, of the headers only the
request's id. What a client chooses is escaped by Envoy and bounded in length: a header that HTTP/2 sends again for
a byte must not become a line of kilobytes.
"""

from __future__ import annotations

from typing import Final

from mtls_operator.envoy.document import Json, extension

#: Namespace of the dynamic metadata that the rules script writes (``record.lua``).
METADATA: Final = "mtls"

_STDOUT: Final = "envoy.extensions.access_loggers.stream.v3.StdoutAccessLog"
_CEL: Final = "envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter"

#: Envoy's word for an answer of a script, and how that for an answer of the gate begins.
SCRIPT_DETAILS: Final = "lua_response"
GATE_DETAILS: Final = "rbac_access_denied_matched_policy"

_UNDECIDED: Final = "!('mtls.decision' in filter_state)"
#: Below stand informational and successful answers.
_FIRST_OF_OTHERS: Final = 300
#: No connection, no healthy one, reset, by Envoy's response flags.
_UNREACHABLE: Final = ("UF", "UH", "UC")
#: A request that Envoy refused before any filter still has what the client calls its id: that is left out.
_OWN_ID: Final = (
    f"('mtls.decision' in filter_state || response.code_details == '{SCRIPT_DETAILS}'"
    f" || response.code_details.startsWith('{GATE_DETAILS}')) ? request.id : ''"
)


def _noted(field: str) -> str:
    return f"%DYNAMIC_METADATA({METADATA}:log:{field})%"


_LINE: Final[Json] = {
    "time": "%START_TIME%",
    "event": "request",
    "action": _noted("action"),
    "rule": _noted("rule"),
    "log_rules": _noted("log_rules"),
    "status": "%RESPONSE_CODE%",
    "grpc_status": "%GRPC_STATUS_NUMBER%",
    "details": "%RESPONSE_CODE_DETAILS%",
    "flags": "%RESPONSE_FLAGS%",
    "method": "%REQ(:METHOD):32%",
    "host": "%REQ(:AUTHORITY):256%",
    "path": "%PATH(NQ):1024%",
    "protocol": "%PROTOCOL%",
    "sni": "%REQUESTED_SERVER_NAME%",
    "client": "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS%",
    "request_id": f"%CEL({_OWN_ID}):64%",
    "tls": "%DOWNSTREAM_TLS_VERSION%",
    "presented": _noted("presented"),
    "verified": _noted("verified"),
    "revoked": _noted("revoked"),
    "unknown": _noted("unknown"),
    "serial": _noted("serial"),
    "fingerprint": "%DOWNSTREAM_PEER_FINGERPRINT_256%",
    "subject": _noted("subject"),
    "rules_epoch": _noted("rules_epoch"),
    "revocation_epoch": _noted("revocation_epoch"),
    "duration_ms": "%DURATION%",
}
#: Names of the fields of a line, in the order in which the documentation explains them.
FIELDS: Final = tuple(_LINE)


def request_lines() -> Json:
    """Return the logger that writes the lines."""
    logger = extension("stdout", _STDOUT, {"log_format": {"json_format": _LINE}})
    return {**logger, "filter": {"or_filter": {"filters": [marked("logged"), _undecided(), _unreachable()]}}}


def marked(mark: str) -> Json:
    """Return the filter of requests on which the rules script set a mark."""
    matcher = {"filter": METADATA, "path": [{"key": mark}], "value": {"bool_match": True}}
    return {"metadata_filter": {"matcher": matcher, "match_if_key_not_found": False}}


def expression(name: str, text: str) -> Json:
    """Return the filter of requests for which an expression of the Common Expression Language holds."""
    return {"extension_filter": extension(name, _CEL, {"expression": text})}


def _undecided() -> Json:
    return {"and_filter": {"filters": [_not_from_the_application(), expression("undecided", _UNDECIDED)]}}


def _not_from_the_application() -> Json:
    """Return a filter that is cheap, and passes whatever the application may not have answered.

    The expression costs as much as a rule. A request without a decision never reached the application: it has an
    error or a redirect of Envoy's own, or no answer at all (status 0). To gRPC clients Envoy's own errors go with the
    status 200, so that all of theirs are looked at.
    """
    content_type = {"prefix": "application/grpc"}
    grpc = {"header_filter": {"header": {"name": "content-type", "string_match": content_type}}}
    return {"or_filter": {"filters": [_status("GE", _FIRST_OF_OTHERS), _status("LE", 0), grpc]}}


def _status(operator: str, value: int) -> Json:
    # No runtime layer has this key: the value stays as it is.
    compared = {"default_value": value, "runtime_key": "mtls.access_log.status"}
    return {"status_code_filter": {"comparison": {"op": operator, "value": compared}}}


def _unreachable() -> Json:
    return {"response_flag_filter": {"flags": list(_UNREACHABLE)}}
