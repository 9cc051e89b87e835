"""What exists at Cloudflare and not here, and the nearest that does: for the message to somebody who asks for it.

Names from Cloudflare's "Fields reference" and "Functions" of the Ruleset Engine.
"""

from __future__ import annotations

from typing import Final

_CLIENT: Final = "here a client certificate says who the client is: cf.tls_client_auth.cert_verified"
_ADDRESS: Final = (
    "the address itself is ip.src: compare it with networks, or with a named list: ip.src in $name"
)
_HANDSHAKE: Final = "of the connection cf.tls_version and cf.tls_cipher are known"
_HOST: Final = "the host of the request is http.host"
_BEFORE_BODY: Final = (
    'rules decide before the body arrives; what the client says of it: http.request.headers["content-length"]'
)
_BEFORE_ANSWER: Final = "rules decide before the application answers"
_REQUEST_ID: Final = 'an id of the request, where a client sends one: http.request.headers["x-request-id"]'
_TIME: Final = "times: http.request.timestamp.sec and http.request.timestamp.msec"
_SAMPLE: Final = "a sample of the requests, by time: http.request.timestamp.msec in {0..99}"

#: Beginnings of fields that need something that only Cloudflare has.
FIELDS: Final[dict[str, str]] = {
    "cf.api_gateway.": _CLIENT,
    "cf.bot_management.": _CLIENT,
    "cf.client.bot": _CLIENT,
    "cf.edge.client_port": _ADDRESS,
    "cf.edge.l4.": _HANDSHAKE,
    "cf.hostname.metadata": _HOST,
    "cf.llm.": _BEFORE_BODY,
    "cf.metal.": _HOST,
    "cf.random_seed": _SAMPLE,
    "cf.ray_id": _REQUEST_ID,
    "cf.response.": _BEFORE_ANSWER,
    "cf.threat_score": _CLIENT,
    "cf.timings.": _TIME,
    "cf.tls_ciphers_": _HANDSHAKE,
    "cf.tls_client_extensions_": _HANDSHAKE,
    "cf.tls_client_hello_": _HANDSHAKE,
    "cf.tls_client_random": _HANDSHAKE,
    "cf.verified_bot_category": _CLIENT,
    "cf.waf.": _CLIENT,
    "cf.worker.": _HOST,
    "cf.zone.": _HOST,
    "http.request.accepted_languages": 'the header itself: http.request.headers["accept-language"]',
    "http.request.body.": _BEFORE_BODY,
    "http.request.jwt.": _CLIENT,
    "http.response.": _BEFORE_ANSWER,
    "ip.geoip.": _ADDRESS,
    "ip.src.": _ADDRESS,
    "raw.http.response.": _BEFORE_ANSWER,
}

#: Functions that have no meaning in a rule that decides about a request here.
FUNCTIONS: Final[dict[str, str]] = {
    "bit_slice": "a part of a string: substring(x, from, to)",
    "encode_base64": "the other way is there: decode_base64(x)",
    "hash_in_range": _SAMPLE,
    "is_jwt_present": 'a header is there: has_key(http.request.headers, "authorization")',
    "is_jwt_valid": _CLIENT,
    "is_timed_hmac_valid_v0": _CLIENT,
    "regex_replace": "compare with matches instead",
    "remove_query_args": "look at single arguments: http.request.uri.args",
    "sha256": "compare the value itself",
    "to_string": "compare the number, the address or the Boolean itself",
    "uuidv4": _REQUEST_ID,
    "wildcard_replace": "compare with wildcard instead",
}


def nearest_field(name: str) -> str | None:
    """Return what is nearest to a field of Cloudflare; None when there is no such field."""
    return next((hint for prefix, hint in FIELDS.items() if name.startswith(prefix)), None)
