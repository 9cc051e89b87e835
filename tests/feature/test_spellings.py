"""Nobody gets ``CN=admin`` past a policy that allows gateways, in whatever spelling a request writes it."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import NameOID
from tests.feature.harness import Lab
from tests.support.builders import NAMESPACE, certificate
from tests.support.requests import key_of, request_pem

from mtls_operator.cluster import Kind
from mtls_operator.pki import read_certificate
from mtls_operator.plan.policy import POLICY_ANNOTATION

POLICY = 'commonNames: ["gateway-*"]\norganizations: ["ACME"]'
Attribute = x509.NameAttribute


def common_name(text: str, form: _ASN1Type = _ASN1Type.UTF8String) -> Attribute[str]:
    return Attribute(NameOID.COMMON_NAME, text, form)


def named(*parts: list[Attribute[str]]) -> x509.Name:
    """Return a name of relative names, each of one or more attributes."""
    return x509.Name([x509.RelativeDistinguishedName(part) for part in parts])


def request(subject: x509.Name, *alternative: x509.GeneralName) -> str:
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    if alternative:
        builder = builder.add_extension(x509.SubjectAlternativeName(alternative), critical=False)
    made = builder.sign(key_of("attacker"), hashes.SHA256())
    return made.public_bytes(serialization.Encoding.PEM).decode()


GATEWAY = common_name("gateway-7")
SUBJECTS = {
    "plainly": named([common_name("admin")]),
    "in another case": named([common_name("ADMIN")]),
    "as a PrintableString": named([common_name("admin", _ASN1Type.PrintableString)]),
    "as a T61String": named([common_name("admin", _ASN1Type.T61String)]),
    "as a BMPString": named([common_name("admin", _ASN1Type.BMPString)]),
    "as a UniversalString": named([common_name("admin", _ASN1Type.UniversalString)]),
    "with a blank before it": named([common_name(" admin")]),
    "with a byte of no width": named([common_name("gateway-\u200badmin")]),
    "with a zero byte": named([common_name("admin\x00")]),
    "with letters that look like it": named([common_name("\u0430dmin")]),
    "beside a good one in one relative name": named([GATEWAY, common_name("admin")]),
    "after a good one": named([GATEWAY], [common_name("admin")]),
    "before a good one": named([common_name("admin")], [GATEWAY]),
    "inside of a good one": named([common_name("gateway-7,CN=admin")]),
    "behind a slash of a good one": named([common_name("gateway-7/CN=admin")]),
    "joined to a good one": named([common_name("gateway-7+CN=admin")]),
    "as an organization that reads so": named(
        [GATEWAY], [Attribute(NameOID.ORGANIZATION_NAME, "x,CN=admin")]
    ),
    "as an organization beside it": named([GATEWAY], [Attribute(NameOID.ORGANIZATION_NAME, "admins")]),
    "as a unit that nobody allowed": named([GATEWAY], [Attribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "admin")]),
    "as an attribute that is not judged": named([GATEWAY], [Attribute(NameOID.USER_ID, "admin")]),
    "as an email address of the subject": named(
        [GATEWAY], [Attribute(NameOID.EMAIL_ADDRESS, "admin@example.com")]
    ),
    "as a domain component": named([GATEWAY], [Attribute(NameOID.DOMAIN_COMPONENT, "admin")]),
    "as a serial number of the subject": named([GATEWAY], [Attribute(NameOID.SERIAL_NUMBER, "admin")]),
}
OTHERS: dict[str, x509.GeneralName] = {
    "an email address": x509.RFC822Name("admin@example.com"),
    "a URI": x509.UniformResourceIdentifier("spiffe://example.com/admin"),
    "a host name": x509.DNSName("admin.example.com"),
    "an address": x509.IPAddress(ip_address("10.0.0.1")),
    "a directory name": x509.DirectoryName(named([common_name("admin")])),
    "another name": x509.OtherName(x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.3"), b"\x0c\x05admin"),
    "a registered number": x509.RegisteredID(x509.ObjectIdentifier("1.2.3.4")),
}


async def _asked(lab: Lab, **spec: Any) -> str:
    """Ask for a certificate in a namespace with the policy; return the state."""
    lab.cluster.edit(
        Kind.NAMESPACE, "", NAMESPACE, {"metadata": {"annotations": {POLICY_ANNOTATION: POLICY}}}
    )
    body = certificate("gateway", **spec)
    if "subject" not in spec:
        body["spec"].pop("subject")
    lab.cluster.make(body)
    await lab.start()
    await lab.settle()
    return lab.state()


def _is_refused(lab: Lab) -> bool:
    status, reason, _ = lab.condition(Kind.CERTIFICATE, "gateway", "Issued")
    assert "certificate" not in lab.status(Kind.CERTIFICATE, "gateway")
    return status == "False" and reason in ("PolicyViolation", "InvalidRequest")


@pytest.mark.parametrize("spelling", SUBJECTS)
async def test_a_request_spells_it(lab: Lab, spelling: str) -> None:
    assert await _asked(lab, request=request(SUBJECTS[spelling])) == "Failed"
    assert _is_refused(lab)


@pytest.mark.parametrize("kind", OTHERS)
async def test_a_request_writes_it_into(lab: Lab, kind: str) -> None:
    assert await _asked(lab, request=request(named([GATEWAY]), OTHERS[kind])) == "Failed"
    assert _is_refused(lab)


@pytest.mark.parametrize(
    "names",
    [
        {"subject": {"commonName": "admin"}},
        {"subject": {"commonName": "gateway-7", "organizationalUnits": ["admin"]}},
        {"subject": {"commonName": "gateway-7", "organizations": ["ACME", "admins"]}},
        {"subject": {"commonName": "gateway-7"}, "dnsNames": ["admin.example.com"]},
        {"subject": {"commonName": "gateway-7"}, "emails": ["admin@example.com"]},
        {"subject": {"commonName": "gateway-7"}, "uris": ["spiffe://example.com/admin"]},
        {"subject": {"commonName": "gateway-7"}, "ipAddresses": ["10.0.0.1"]},
        {"dnsNames": ["admin.example.com"]},
    ],
    ids=str,
)
async def test_an_object_asks_for_it(lab: Lab, names: dict[str, Any]) -> None:
    assert await _asked(lab, **names) == "Failed"
    assert _is_refused(lab)


async def test_a_name_of_the_object_stands_in_the_place_of_all_names_of_its_request(lab: Lab) -> None:
    """What the request says is in nobody's certificate then, so that it does not matter what it is."""
    state = await _asked(lab, request=request_pem("admin"), subject={"commonName": "gateway-7"})
    assert state == "Active"
    facts = read_certificate(str(lab.status(Kind.CERTIFICATE, "gateway")["certificate"]))
    assert facts.subject == "CN=gateway-7"


async def test_a_good_name_of_the_object_does_not_cover_up_a_bad_alternative_one_of_its_request(
    lab: Lab,
) -> None:
    asked = request(named([common_name("admin")]), OTHERS["a host name"])
    state = await _asked(lab, request=asked, subject={"commonName": "gateway-7"})
    if state == "Active":
        facts = read_certificate(str(lab.status(Kind.CERTIFICATE, "gateway")["certificate"]))
        assert (facts.subject, facts.dns_names) == ("CN=gateway-7", ())
    else:
        assert _is_refused(lab)


async def test_what_the_policy_allows_is_issued_as_it_was_asked_for(lab: Lab) -> None:
    subject = named([GATEWAY], [Attribute(NameOID.ORGANIZATION_NAME, "ACME")])
    assert await _asked(lab, request=request(subject)) == "Active"
