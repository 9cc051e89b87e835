"""Secret discovery files: client CAs, serving certificate, and the proxy's own identity.

Client CAs and the serving certificate stand inline, so that the version of the file is the hash of what is in
force and the status port can prove it. The proxy's identity towards the operator is read from its mounted
folder, which Envoy watches: a rotated certificate takes effect without a restart.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Final

from mtls_operator.api import names
from mtls_operator.api.secret import Secret
from mtls_operator.envoy.config import IN_POD, Placement
from mtls_operator.envoy.document import Json, discovery_response, typed

#: Names of the secrets, also the middle part of their statistics (``sds.<name>.version_text``).
SERVER_SECRET: Final = "mtls-server"  # noqa: S105 - the name of a resource
CLIENT_CA_SECRET: Final = "mtls-client-ca"  # noqa: S105 - the name of a resource
IDENTITY_SECRET: Final = "mtls-identity"  # noqa: S105 - the name of a resource
OPERATOR_CA_SECRET: Final = "mtls-operator-ca"  # noqa: S105 - the name of a resource

#: Files of the host's folder that point to the mounted identity of the proxy.
IDENTITY_SDS_KEY: Final = "sds-identity.json"
OPERATOR_CA_SDS_KEY: Final = "sds-operator-ca.json"

_SECRET: Final = "envoy.extensions.transport_sockets.tls.v3.Secret"  # noqa: S105 - the name of a message
#: Longest chain from a client's certificate up to a trusted CA, intermediates included.
_MAX_CHAIN_DEPTH: Final = 4

#: A CA certificate whose private key does not exist; see docs/data-plane.md. Envoy asks clients for a
#: certificate only when it has some CA, and "presented" must be a fact also where no CA is trusted.
NOBODY_CA: Final = files(__package__).joinpath("nobody.pem").read_text("ascii")


def client_ca_sds(ca_pem: str) -> str:
    """Return the file with the CAs that client certificates are validated against.

    An empty bundle becomes a CA that nobody has: certificates are still asked for, and none validates.
    """
    bundle = ca_pem if ca_pem.strip() else NOBODY_CA
    return discovery_response(
        [_secret(CLIENT_CA_SECRET, {"validation_context": validation({"inline_string": bundle})})]
    )


def validation(trusted_ca: Json | None = None) -> Json:
    """Return how client certificates are judged: never refused in the handshake, only marked.

    Envoy: ``CertificateValidationContext.trust_chain_verification``.
    """
    context: Json = {"trust_chain_verification": "ACCEPT_UNTRUSTED", "max_verify_depth": _MAX_CHAIN_DEPTH}
    return context if trusted_ca is None else {**context, "trusted_ca": trusted_ca}


def server_sds(certificate_pem: str, key_pem: Secret) -> Secret:
    """Return the file with the serving certificate and its key."""
    certificate = {
        "certificate_chain": {"inline_string": certificate_pem},
        "private_key": {"inline_string": key_pem.reveal().decode("ascii")},
    }
    return Secret(discovery_response([_secret(SERVER_SECRET, {"tls_certificate": certificate})]).encode())


def identity_sds(placement: Placement = IN_POD) -> str:
    """Return the file that names the proxy's own certificate and key in its mounted folder."""
    folder = placement.proxy_folder
    certificate = {
        "certificate_chain": {"filename": f"{folder}/{names.TLS_CERT_KEY}"},
        "private_key": {"filename": f"{folder}/{names.TLS_KEY_KEY}"},
        "watched_directory": {"path": folder},
    }
    return discovery_response([_secret(IDENTITY_SECRET, {"tls_certificate": certificate})])


def operator_ca_sds(server_name: str, placement: Placement = IN_POD) -> str:
    """Return the file that says what the operator's certificate must be: its CA and its exact DNS name."""
    folder = placement.proxy_folder
    context = {
        "trusted_ca": {"filename": f"{folder}/{names.CA_KEY}"},
        "watched_directory": {"path": folder},
        "match_typed_subject_alt_names": [{"san_type": "DNS", "matcher": {"exact": server_name}}],
    }
    return discovery_response([_secret(OPERATOR_CA_SECRET, {"validation_context": context})])


def reference(secret: str, folder: str, key: str) -> Json:
    """Return a reference to a secret in a discovery file whose folder is watched, as the kubelet swaps it."""
    source = {"path": f"{folder}/{key}", "watched_directory": {"path": folder}}
    return {"name": secret, "sds_config": {"path_config_source": source, "resource_api_version": "V3"}}


def _secret(name: str, content: Json) -> Json:
    return typed(_SECRET, {"name": name, **content})
