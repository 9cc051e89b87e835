"""Certificates as discovery files."""

from __future__ import annotations

import hashlib
import json

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec

from mtls_operator.api.secret import Secret
from mtls_operator.envoy import Placement, client_ca_sds, identity_sds, operator_ca_sds, server_sds
from mtls_operator.envoy.sds import NOBODY_CA


def resource(document: str) -> dict[str, object]:
    (only,) = json.loads(document)["resources"]
    assert isinstance(only, dict)
    return only


def test_client_cas_stand_inline_and_untrusted_certificates_are_let_through_to_the_rules() -> None:
    context = resource(client_ca_sds("PEM"))["validation_context"]
    assert context == {
        "trusted_ca": {"inline_string": "PEM"},
        "trust_chain_verification": "ACCEPT_UNTRUSTED",
        "max_verify_depth": 4,
    }


def test_an_empty_bundle_becomes_the_ca_that_nobody_has() -> None:
    assert client_ca_sds("") == client_ca_sds(" \n") == client_ca_sds(NOBODY_CA)


def test_nobody_can_have_the_key_of_that_ca() -> None:
    """Its public key is a point whose x is a hash of a text: nobody started from a private key."""
    certificate = x509.load_pem_x509_certificate(NOBODY_CA.encode())
    key = certificate.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    text = b"mtls-operator: a certificate authority that nobody has, 1"
    assert key.public_numbers().x == int.from_bytes(hashlib.sha256(text).digest(), "big")


def test_that_ca_is_long_expired_and_did_not_even_sign_itself() -> None:
    certificate = x509.load_pem_x509_certificate(NOBODY_CA.encode())
    assert certificate.not_valid_after_utc.year == 1970
    try:
        certificate.verify_directly_issued_by(certificate)
    except InvalidSignature:
        return
    raise AssertionError("it is signed by its own key: then somebody has it")


def test_the_serving_certificate_stands_inline_with_its_key() -> None:
    document = server_sds("CERT", Secret(b"KEY")).reveal().decode()
    assert resource(document)["tls_certificate"] == {
        "certificate_chain": {"inline_string": "CERT"},
        "private_key": {"inline_string": "KEY"},
    }


def test_the_identity_is_read_from_its_watched_folder() -> None:
    certificate = resource(identity_sds(Placement(proxy_folder="/p")))["tls_certificate"]
    assert certificate == {
        "certificate_chain": {"filename": "/p/tls.crt"},
        "private_key": {"filename": "/p/tls.key"},
        "watched_directory": {"path": "/p"},
    }


def test_the_operator_must_carry_exactly_its_name() -> None:
    context = resource(operator_ca_sds("mtls-operator.mtls-system.svc"))["validation_context"]
    assert isinstance(context, dict)
    assert context["match_typed_subject_alt_names"] == [
        {"san_type": "DNS", "matcher": {"exact": "mtls-operator.mtls-system.svc"}}
    ]
