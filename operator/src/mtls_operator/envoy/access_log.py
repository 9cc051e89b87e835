"""The access log: one JSON line per request that was refused or that a rule wants logged.

Requests that simply pass are not logged: the application does that, and a line costs more than the decision.
Logged are

* requests for which the rules script set ``logged``: Block and Log rules, and 400, 403 and 421 of its own;
* requests without any decision: a script failed, or Envoy itself refused the request;
* failures to reach the application.

No line holds a secret: certificates by serial number and fingerprint, no query, of the headers only the
request's id.
"""

from __future__ import annotations

from typing import Final

from mtls_operator.envoy.document import Json, extension

#: Namespace of the dynamic metadata that the rules script writes.
METADATA: Final = "mtls"

_STDOUT: Final = "envoy.extensions.access_loggers.stream.v3.StdoutAccessLog"
_CEL: Final = "envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter"

_UNDECIDED: Final = "!('mtls.decision' in filter_state)"
#: Below stand informational and successful answers.
_FIRST_OF_OTHERS: Final = 300
#: No connection, no healthy one, reset, by Envoy's response flags.
_UNREACHABLE: Final = ("UF", "UH", "UC")

_LINE: Final[Json] = {
    "time": "%START_TIME%",
    "event": "request",
    "action": "%DYNAMIC_METADATA(mtls:action)%",
    "rule": "%DYNAMIC_METADATA(mtls:rule)%",
    "status": "%RESPONSE_CODE%",
    "details": "%RESPONSE_CODE_DETAILS%",
    "flags": "%RESPONSE_FLAGS%",
    "method": "%REQ(:METHOD)%",
    "host": "%REQ(:AUTHORITY)%",
    "path": "%PATH(NQ)%",
    "protocol": "%PROTOCOL%",
    "sni": "%REQUESTED_SERVER_NAME%",
    "client": "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS%",
    "request_id": "%REQ(X-REQUEST-ID)%",
    "tls": "%DOWNSTREAM_TLS_VERSION%",
    "serial": "%DOWNSTREAM_PEER_SERIAL%",
    "fingerprint": "%DOWNSTREAM_PEER_FINGERPRINT_256%",
    "revoked": "%FILTER_STATE(mtls.revoked:PLAIN)%",
    "duration_ms": "%DURATION%",
}


def access_log() -> list[Json]:
    """Return the loggers of the listener."""
    logger = extension("stdout", _STDOUT, {"log_format": {"json_format": _LINE}})
    return [{**logger, "filter": {"or_filter": {"filters": [_marked(), _undecided(), _unreachable()]}}}]


def _marked() -> Json:
    matcher = {"filter": METADATA, "path": [{"key": "logged"}], "value": {"bool_match": True}}
    return {"metadata_filter": {"matcher": matcher, "match_if_key_not_found": False}}


def _undecided() -> Json:
    expression = {"extension_filter": extension("undecided", _CEL, {"expression": _UNDECIDED})}
    return {"and_filter": {"filters": [_not_from_the_application(), expression]}}


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
