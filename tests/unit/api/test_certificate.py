"""ClientCertificate: what its parser makes of a body."""

from __future__ import annotations

from datetime import timedelta

import pytest

from mtls_operator.api.certificate import (
    FINAL_REASONS,
    CertificateSubject,
    ClientCertificate,
    DeletionPolicy,
    KeyAlgorithm,
    Renewal,
    RenewalPolicy,
    RevocationReason,
    RotationPolicy,
    asks_for_revocation,
    parse_certificate,
)
from mtls_operator.api.errors import InvalidSpec
from mtls_operator.api.keystore import Keystore, KeystoreProfile, PasswordRef, Pkcs12
from mtls_operator.api.meta import Meta


def body(*, name: object = "gateway-7", **spec: object) -> dict[str, object]:
    return {
        "metadata": {"namespace": "shop", "name": name},
        "spec": {"subject": {"commonName": "gateway-7"}, **spec},
    }


def parsed(**spec: object) -> ClientCertificate:
    return parse_certificate(body(**spec))


def refusal(**spec: object) -> InvalidSpec:
    with pytest.raises(InvalidSpec) as refused:
        parse_certificate(body(**spec))
    return refused.value


def test_the_least_certificate_gets_every_default() -> None:
    assert parse_certificate(body()) == ClientCertificate(
        meta=Meta("shop", "gateway-7"),
        subject=CertificateSubject(common_name="gateway-7"),
        secret_name="gateway-7",
        validity=timedelta(days=365),
        algorithm=KeyAlgorithm.ECDSA,
        key_size=256,
        revoked=False,
        revocation_reason=RevocationReason.UNSPECIFIED,
        deletion_policy=DeletionPolicy.REVOKE,
        status={},
    )


def test_every_field_is_read() -> None:
    certificate = parse_certificate(
        body(
            subject={
                "commonName": "gateway 7",
                "organizations": ["ACME"],
                "organizationalUnits": ["Devices"],
                "countries": ["DE"],
                "localities": ["Köln"],
                "provinces": ["NRW"],
            },
            dnsNames=["gateway-7.example.com"],
            uris=["spiffe://example.com/gateway/7"],
            emails=["ops@example.com"],
            ipAddresses=["192.0.2.7", "2001:db8::7"],
            validity="30d",
            privateKey={"algorithm": "RSA", "size": 3072, "rotationPolicy": "Always"},
            secretName="gateway-7-tls",
            revoked=True,
            revocationReason="KeyCompromise",
            deletionPolicy="Retain",
        )
    )
    assert certificate == ClientCertificate(
        meta=Meta("shop", "gateway-7"),
        subject=CertificateSubject("gateway 7", ("ACME",), ("Devices",), ("DE",), ("Köln",), ("NRW",)),
        secret_name="gateway-7-tls",
        dns_names=("gateway-7.example.com",),
        uris=("spiffe://example.com/gateway/7",),
        emails=("ops@example.com",),
        ip_addresses=("192.0.2.7", "2001:db8::7"),
        validity=timedelta(days=30),
        algorithm=KeyAlgorithm.RSA,
        key_size=3072,
        revoked=True,
        revocation_reason=RevocationReason.KEY_COMPROMISE,
        deletion_policy=DeletionPolicy.RETAIN,
        status={},
    )


def test_a_request_needs_no_names_in_the_object() -> None:
    request = "-----BEGIN CERTIFICATE REQUEST-----\nMII=\n-----END CERTIFICATE REQUEST-----\n"
    certificate = parsed(subject={}, request=request)
    assert (certificate.request, certificate.secret_name) == (request, "gateway-7")


@pytest.mark.parametrize(
    ("field", "value"),
    [("privateKey", {"size": 256}), ("secretName", "other"), ("keystore", {})],
)
def test_what_is_about_a_secret_is_refused_beside_a_request(field: str, value: object) -> None:
    refused = refusal(request="x", **{field: value})
    assert refused.path == f"spec.{field}"
    assert "must not be given with request" in refused.message


def test_a_private_key_is_refused_where_a_request_belongs_and_not_repeated() -> None:
    """G5."""
    refused = refusal(request="-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----")
    assert refused.path == "spec.request"
    assert "c2VjcmV0" not in str(refused)


def test_the_name_of_an_object_with_a_request_leaves_room_for_that_of_its_config_map() -> None:
    assert parse_certificate(body(name="g" * 236, request="x")).request == "x"
    with pytest.raises(InvalidSpec) as caught:
        parse_certificate(body(name="g" * 237, request="x"))
    assert caught.value.path == "metadata.name"


def test_a_request_is_at_most_32_kilobytes() -> None:
    assert refusal(request="x" * 32_769).path == "spec.request"


def test_a_keystore_is_read() -> None:
    reference = {"name": "phone", "key": "password"}
    keystore = parsed(keystore={"pkcs12": {"passwordSecretRef": reference, "profile": "Legacy"}}).keystore
    assert keystore == Keystore(Pkcs12(PasswordRef("phone", "password"), KeystoreProfile.LEGACY))
    assert parsed(keystore={"pkcs12": {}}).keystore == Keystore(Pkcs12())
    assert parsed(keystore={"combinedPEM": True}).keystore == Keystore(combined_pem=True)
    assert not parsed(keystore={}).keystore.wanted


@pytest.mark.parametrize(
    ("reference", "path"),
    [
        ({"name": "gateway-7", "key": "password"}, "spec.keystore.pkcs12.passwordSecretRef.name"),
        ({"name": "mtls-proxy", "key": "tls.key"}, "spec.keystore.pkcs12.passwordSecretRef.name"),
        ({"name": "phone", "key": "a/b"}, "spec.keystore.pkcs12.passwordSecretRef.key"),
        ({"name": "phone"}, "spec.keystore.pkcs12.passwordSecretRef"),
        ({"key": "password"}, "spec.keystore.pkcs12.passwordSecretRef"),
    ],
)
def test_a_password_that_can_come_from_nowhere_is_refused(reference: dict[str, str], path: str) -> None:
    assert refusal(keystore={"pkcs12": {"passwordSecretRef": reference}}).path == path


def test_a_renewal_window_that_is_no_shorter_than_the_validity_is_refused() -> None:
    assert refusal(validity="48h", renewal={"before": "48h"}).path == "spec.renewal.before"


def test_a_renewal_is_read() -> None:
    renewal = parsed(renewal={"policy": "Never", "before": "720h", "revokeOldAfter": "0s"}).renewal
    assert renewal == Renewal(RenewalPolicy.NEVER, timedelta(days=30), timedelta(0))
    assert parsed(privateKey={"rotationPolicy": "Never"}).rotation_policy is RotationPolicy.NEVER


def test_a_certificate_that_names_nobody_is_refused() -> None:
    assert refusal(subject={"organizations": ["ACME"]}).path == "spec"


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ({"size": 521}, "must be one of 256, 384 for ECDSA"),
        ({"algorithm": "RSA"}, "must be one of 2048, 3072, 4096 for RSA"),
        ({"algorithm": "RSA", "size": 1024}, "must be one of 2048, 3072, 4096 for RSA"),
    ],
)
def test_a_key_that_is_weak_or_unknown_is_refused(key: dict[str, object], message: str) -> None:
    assert refusal(privateKey=key).message == message


@pytest.mark.parametrize("validity", ["59m", "3651d", "87601h", "forever", "", 3600])
def test_a_validity_out_of_bounds_is_refused(validity: object) -> None:
    assert refusal(validity=validity).path == "spec.validity"


def test_a_secret_of_the_operator_itself_cannot_be_asked_for() -> None:
    assert refusal(secretName="mtls-proxy").path == "spec.secretName"


def test_nor_by_leaving_out_the_secret_of_an_object_with_such_a_name() -> None:
    with pytest.raises(InvalidSpec) as refused:
        parse_certificate(body(name="mtls-proxy"))
    assert refused.value.path == "metadata.name"


@pytest.mark.parametrize(
    "name", ["gateway\n7", "good\0.evil.example", " gateway", "gateway ", "", "x" * 65, "\x7f", "\udc80"]
)
def test_a_common_name_that_reads_like_another_one_is_refused(name: str) -> None:
    assert refusal(subject={"commonName": name}).path == "spec.subject.commonName"


@pytest.mark.parametrize(
    "address", ["192.0.2.0/24", "fe80::1%eth0", "::ffff:192.0.2.7", "192.0.2.007", "1.2.3", "a"]
)
def test_what_is_no_plain_address_is_refused(address: str) -> None:
    assert refusal(ipAddresses=[address]).path == "spec.ipAddresses[0]"


@pytest.mark.parametrize("uri", ["/gateway", "gateway", "spiffe://a b", "spiffe:", "https://exämple.com", ""])
def test_a_relative_or_unwritable_uri_is_refused(uri: str) -> None:
    assert refusal(uris=[uri]).path == "spec.uris[0]"


@pytest.mark.parametrize(
    "spec",
    [
        {"revoked": True},
        {"revoked": True, "validity": "nonsense"},
        {"revoked": "true"},
        {"revoked": 1},
        {"revoked": []},
    ],
)
def test_a_revocation_counts_even_when_the_rest_cannot_be_read(spec: dict[str, object]) -> None:
    assert asks_for_revocation({"spec": spec})


@pytest.mark.parametrize("spec", [{}, {"revoked": False}, {"revoked": None}, None, "x"])
def test_without_a_word_about_it_nothing_is_revoked(spec: object) -> None:
    assert not asks_for_revocation({"spec": spec})


def test_a_compromised_key_is_a_final_reason() -> None:
    assert {RevocationReason.KEY_COMPROMISE, RevocationReason.CA_COMPROMISE} == FINAL_REASONS
