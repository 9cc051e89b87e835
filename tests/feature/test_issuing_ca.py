"""An issuing CA of the user's own: taken once, from the operator's namespace alone, replaced by none unasked for."""

from __future__ import annotations

import asyncio
import contextlib
from base64 import b64decode, b64encode
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.serialization import pkcs12
from tests.feature.harness import START, Lab
from tests.support.builders import NAMESPACE, certificate, host, pod, rule, tls_secret
from tests.support.fake_cluster import Crash, Fault
from tests.unit.pki.made import Ca, limited, make_ca

from mtls_operator.api import names
from mtls_operator.cluster import Body, Kind, UnavailableError
from mtls_operator.pki import (
    KeySpec,
    Subject,
    SubjectAltNames,
    is_signed_by,
    issue_client,
    load_issuing_authority,
    make_serial,
)

SYSTEM = names.OPERATOR_NAMESPACE
OTHER = "other"
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
#: A CA that is due to be replaced after three hours, and ends after five.
SHORT = {"start": START - HOUR, "end": START + 5 * HOUR}
FIRST, LAST = START - 30 * DAY, START + 3000 * DAY


def own_ca(name: str = "Corp issuing", *, issuer: Ca | None = None, **options: Any) -> Ca:
    return make_ca(name, issuer=issuer, **{"start": FIRST, "end": LAST, **options})


def line(name: str = "Corp issuing") -> tuple[Ca, Ca, Ca]:
    """Return an issuing CA, the one above it, and the root."""
    root = own_ca("Corp root", basic=limited(2))
    middle = own_ca("Corp middle", issuer=root, basic=limited(1))
    return own_ca(name, issuer=middle, basic=limited(0)), middle, root


def secret_of(ca: Ca, *above: Ca, name: str = "corp-ca", namespace: str = NAMESPACE) -> Body:
    """Return the Secret in which an administrator gives a CA for a namespace."""
    body = tls_secret(name, ca.pem, ca.key_pem.reveal(), namespace=SYSTEM)
    body["metadata"]["labels"] = {names.ISSUING_CA_LABEL: namespace}
    if above:
        body["data"][names.CA_KEY] = b64encode("".join(one.pem for one in above).encode()).decode()
    return body


def given(lab: Lab, name: str = "corp-ca") -> dict[str, str]:
    """Return the annotations of such a Secret."""
    annotations: dict[str, str] = (
        lab.cluster.read(Kind.SECRET, SYSTEM, name)["metadata"].get("annotations") or {}
    )
    return annotations


def replace_ca(lab: Lab, ca: Ca, *above: Ca, name: str = "corp-ca") -> None:
    lab.cluster.edit(Kind.SECRET, SYSTEM, name, {"data": secret_of(ca, *above)["data"]})


def generations(lab: Lab, namespace: str = NAMESPACE) -> list[tuple[str, str]]:
    """Return phase and source of each generation."""
    secrets = sorted(
        lab.authority_secrets(namespace), key=lambda body: int(body["metadata"]["name"].split("-")[-1])
    )
    notes = [secret["metadata"]["annotations"] for secret in secrets]
    return [(one[names.PHASE_ANNOTATION], one.get(names.GIVEN_BY_ANNOTATION, "")) for one in notes]


def bundle(lab: Lab) -> str:
    data: dict[str, str] = lab.cluster.read(Kind.CONFIG_MAP, NAMESPACE, names.CLIENT_CA_CONFIGMAP)["data"]
    return data[names.CA_KEY]


def content(lab: Lab, name: str = "gateway", key: str = names.TLS_CERT_KEY) -> str:
    return b64decode(lab.cluster.read(Kind.SECRET, NAMESPACE, name)["data"][key]).decode()


def resolved(lab: Lab) -> tuple[str, str, str]:
    return lab.condition(Kind.HOST, "api", "ResolvedRefs")


async def running(lab: Lab, **spec: Any) -> None:
    lab.cluster.make(host())
    lab.cluster.make(rule())
    lab.cluster.make(certificate("gateway", **spec))
    await lab.start()
    lab.run_pod(pod())
    await lab.settle(failures=True)
    await lab.pass_time(seconds=10)


# Taking it


async def test_a_ca_that_is_there_first_is_the_first_one_of_its_namespace(lab: Lab) -> None:
    issuing, middle, root = line()
    lab.cluster.make(secret_of(issuing, middle, root))
    await running(lab)
    assert generations(lab) == [("Active", "corp-ca")]
    assert is_signed_by(issuing.pem, content(lab))
    assert lab.condition(Kind.HOST, "api", "Ready")[0] == "True"
    assert resolved(lab)[1] == "Resolved"


async def test_what_is_sent_leads_to_the_root_and_what_is_trusted_is_the_issuing_ca_alone(lab: Lab) -> None:
    """Whatever else the root or the CA between has signed must not get in."""
    issuing, middle, root = line()
    lab.cluster.make(secret_of(issuing, middle, root))
    await running(lab)
    chain = x509.load_pem_x509_certificates(content(lab).encode())
    assert chain[1:] == [issuing.certificate, middle.certificate]
    assert content(lab, key=names.CA_KEY) == issuing.pem
    assert bundle(lab) == issuing.pem
    sds = lab.cluster.read(Kind.CONFIG_MAP, NAMESPACE, names.host_config("api"))["data"][
        names.CLIENT_CA_SDS_KEY
    ]
    assert issuing.pem.splitlines()[3] in sds
    assert not any(ca.pem.splitlines()[3] in sds for ca in (middle, root))


async def test_a_root_that_issues_by_itself_is_not_sent_along(lab: Lab) -> None:
    root = own_ca("Corp root")
    lab.cluster.make(secret_of(root, root))
    await running(lab)
    assert len(x509.load_pem_x509_certificates(content(lab).encode())) == 1
    assert generations(lab) == [("Active", "corp-ca")]


async def test_a_keystore_and_a_combined_file_hold_the_chain(lab: Lab) -> None:
    issuing, middle, root = line()
    lab.cluster.make(secret_of(issuing, middle, root))
    await running(lab, keystore={"pkcs12": {}, "combinedPEM": True})
    data = lab.cluster.read(Kind.SECRET, NAMESPACE, "gateway")["data"]
    opened = pkcs12.load_pkcs12(b64decode(data[names.PKCS12_KEY]), b64decode(data[names.PASSWORD_KEY]))
    assert [one.certificate for one in opened.additional_certs] == [issuing.certificate, middle.certificate]
    combined = x509.load_pem_x509_certificates(b64decode(data[names.COMBINED_KEY]))
    assert combined[1:] == [issuing.certificate, middle.certificate]


async def test_a_certificate_for_a_request_comes_with_the_chain(lab: Lab) -> None:
    issuing, middle, root = line()
    lab.cluster.make(secret_of(issuing, middle, root))
    key = make_ca().key
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "gateway")])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    pem = request.public_bytes(serialization.Encoding.PEM).decode()
    lab.cluster.make(certificate("device", subject={}, request=pem))
    await running(lab)
    said = lab.status(Kind.CERTIFICATE, "device")["certificate"]
    assert x509.load_pem_x509_certificates(said.encode())[1:] == [issuing.certificate, middle.certificate]
    lab.writes()
    lab.resync()
    await lab.pass_time(minutes=5)
    assert [str(write) for write in lab.writes()] == []


async def test_one_that_is_given_later_follows_once_every_proxy_trusts_it(lab: Lab) -> None:
    await running(lab)
    proxy = next(iter(lab.proxies.values()))
    proxy.fresh = False
    issuing, middle, root = line()
    lab.cluster.make(secret_of(issuing, middle, root))
    await lab.pass_time(minutes=5)
    assert generations(lab) == [("Active", ""), ("Prepared", "corp-ca")]
    assert issuing.pem in bundle(lab)
    lab.cluster.make(certificate("early"))
    await lab.settle()
    assert not is_signed_by(issuing.pem, content(lab, "early"))
    proxy.fresh = True
    await lab.pass_time(minutes=1)
    assert generations(lab) == [("Retiring", ""), ("Active", "corp-ca")]
    lab.cluster.make(certificate("late"))
    await lab.settle()
    assert is_signed_by(issuing.pem, content(lab, "late"))
    assert int(lab.serial("late")[-8:], 16) > int(lab.serial("early")[-8:], 16)
    assert any("The CA of Secret corp-ca was taken over" in message for _, _, message in lab.events())


async def test_certificates_are_issued_anew_spread_over_the_window_however_old_the_ca_is(lab: Lab) -> None:
    for number in range(12):
        lab.cluster.make(certificate(f"client-{number}"))
    await running(lab)
    issuing, middle, root = line()
    lab.cluster.make(secret_of(issuing, middle, root))
    await lab.pass_time(minutes=20)
    signed = [is_signed_by(issuing.pem, content(lab, f"client-{number}")) for number in range(12)]
    assert 0 < sum(signed) < len(signed)
    await lab.pass_time(minutes=45)
    assert all(is_signed_by(issuing.pem, content(lab, f"client-{number}")) for number in range(12))


async def test_a_secret_whose_content_changes_starts_a_rotation(lab: Lab) -> None:
    lab.cluster.make(secret_of(*line()))
    await running(lab)
    second = line("Corp issuing 2")
    replace_ca(lab, *second)
    await lab.pass_time(minutes=1)
    assert generations(lab) == [("Retiring", "corp-ca"), ("Active", "corp-ca")]
    lab.cluster.make(certificate("late"))
    await lab.settle()
    assert is_signed_by(second[0].pem, content(lab, "late"))


async def test_a_revocation_is_in_force_under_the_ca_that_was_given(lab: Lab) -> None:
    lab.cluster.make(secret_of(*line()))
    lab.cluster.make(certificate("bad"))
    await running(lab)
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "bad", {"spec": {"revoked": True}})
    await lab.settle()
    assert lab.is_refused(lab.serial("bad"))
    assert not lab.is_refused(lab.serial("gateway"))
    crl = lab.cluster.read(Kind.CONFIG_MAP, NAMESPACE, names.REVOCATION_CONFIGMAP)["data"][names.CRL_KEY]
    assert "BEGIN X509 CRL" in crl


async def test_a_ca_in_use_is_quiet(lab: Lab) -> None:
    """G6."""
    lab.cluster.make(secret_of(*line()))
    await running(lab)
    lab.writes()
    lab.resync()
    await lab.pass_time(minutes=30)
    await lab.restart()
    await lab.pass_time(minutes=5)
    assert [str(write) for write in lab.writes()] == []


async def test_its_key_is_in_secrets_alone(lab: Lab) -> None:
    """G5."""
    issuing, *above = line()
    lab.cluster.make(secret_of(issuing, *above))
    await running(lab)
    replace_ca(lab, own_ca("Broken", ski=None))
    await lab.settle()
    piece = issuing.key_pem.reveal().decode().splitlines()[1][:40]
    places = [
        str(lab.log_lines),
        repr(lab.process.authorities.tenants),
        repr(lab.process.context.world.written),
    ]
    places += [
        str(lab.cluster.all(kind)) for kind in (Kind.CONFIG_MAP, Kind.EVENT, Kind.HOST, Kind.CERTIFICATE)
    ]
    assert not any(piece in place for place in places)


# What is gone, what is missing


async def test_a_secret_that_goes_changes_nothing_and_that_is_said(lab: Lab) -> None:
    lab.cluster.make(secret_of(*line()))
    await running(lab)
    before = bundle(lab)
    lab.cluster.remove(Kind.SECRET, SYSTEM, "corp-ca")
    lab.cluster.make(certificate("late"))
    await lab.pass_time(minutes=1)
    await lab.restart()
    await lab.pass_time(minutes=1)
    assert bundle(lab) == before
    assert is_signed_by(before, content(lab, "late"))
    said = [message for _, reason, message in lab.events() if reason == "CARotation"]
    assert len(said) == 1
    assert "ca-shop-1" in said[0]


async def test_no_ca_of_the_operators_follows_by_age_and_the_next_one_is_asked_for(lab: Lab) -> None:
    lab.cluster.make(secret_of(own_ca("Short", **SHORT)))
    await running(lab)
    await lab.pass_time(hours=4)
    assert generations(lab) == [("Active", "corp-ca")]
    status, reason, message = resolved(lab)
    assert (status, reason) == ("True", "IssuingCARequired")
    assert names.ISSUING_CA_LABEL in message
    assert lab.process.tenant().notice is not None
    told = [one for one in lab.events() if one[1] == "IssuingCARequired"]
    assert [one[0] for one in told] == ["Warning"]
    second = own_ca("Next")
    replace_ca(lab, second)
    await lab.pass_time(minutes=1)
    assert generations(lab)[1] == ("Active", "corp-ca")
    assert resolved(lab)[1] == "Resolved"


async def test_a_restart_does_not_ask_again(lab: Lab) -> None:
    """G6."""
    lab.cluster.make(secret_of(own_ca("Short", **SHORT)))
    await running(lab, renewal={"policy": "Never"})
    await lab.pass_time(hours=4)
    lab.writes()
    await lab.restart()
    await lab.pass_time(minutes=2)
    assert [str(write) for write in lab.writes()] == []


async def test_a_restart_does_not_take_the_word_back_on_a_host_without_pods(lab: Lab) -> None:
    """G6: its status is written at once after a start, whoever else was not looked at yet."""
    lab.cluster.make(secret_of(own_ca("Short", **SHORT)))
    lab.cluster.make(host())
    await lab.start()
    await lab.pass_time(hours=4)
    assert resolved(lab)[1] == "IssuingCARequired"
    lab.writes()
    await lab.restart()
    await lab.pass_time(minutes=2)
    assert [str(write) for write in lab.writes()] == []


async def test_a_revocation_does_not_wait_for_a_word_that_cannot_be_written(lab: Lab) -> None:
    await running(lab)
    lab.cluster.faults += [Fault("patch", Kind.SECRET, UnavailableError("down"), name="corp-ca")] * 100
    lab.cluster.make(secret_of(own_ca("Wrong", basic=None)))
    await lab.pass_time(minutes=1)
    await lab.restart()
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "gateway", {"spec": {"revoked": True}})
    await lab.pass_time(minutes=1)
    assert lab.is_refused(lab.serial())
    assert resolved(lab)[1] == "IssuingCARefused"


async def test_nothing_is_issued_beyond_its_end_and_nothing_by_anybody_else(lab: Lab) -> None:
    lab.cluster.make(secret_of(own_ca("Short", **SHORT)))
    await running(lab)
    await lab.pass_time(hours=6)
    lab.cluster.make(certificate("late"))
    await lab.pass_time(minutes=1)
    assert lab.condition(Kind.CERTIFICATE, "late", "Issued")[:2] == ("False", "AuthorityExpired")
    assert generations(lab) == [("Active", "corp-ca")]


@pytest.mark.parametrize("how", ["2026-03-01", names.ROTATE_MADE])
async def test_only_who_says_so_gets_a_ca_of_the_operators_after_one_that_was_given(
    lab: Lab, how: str
) -> None:
    lab.cluster.make(secret_of(*line()))
    await running(lab)
    lab.cluster.remove(Kind.SECRET, SYSTEM, "corp-ca")
    patch = {"metadata": {"annotations": {names.ROTATE_ANNOTATION: how}}}
    lab.cluster.edit(Kind.SECRET, SYSTEM, "ca-shop-1", patch)
    await lab.pass_time(minutes=1)
    if how == names.ROTATE_MADE:
        assert generations(lab) == [("Retiring", "corp-ca"), ("Active", "")]
    else:
        assert generations(lab) == [("Active", "corp-ca")]
        assert resolved(lab)[1] == "IssuingCARequired"


async def test_a_compromised_one_is_dropped_at_once_and_never_taken_again(lab: Lab) -> None:
    issuing, *above = line()
    lab.cluster.make(secret_of(issuing, *above))
    await running(lab)
    next(iter(lab.proxies.values())).fresh = False
    patch = {"metadata": {"annotations": {names.ROTATE_ANNOTATION: names.ROTATE_COMPROMISED}}}
    lab.cluster.edit(Kind.SECRET, SYSTEM, "ca-shop-1", patch)
    await lab.settle()
    assert generations(lab) == [("Retired", "corp-ca"), ("Active", "")]
    assert issuing.pem not in bundle(lab)
    lab.cluster.remove(Kind.SECRET, SYSTEM, "ca-shop-1")
    await lab.pass_time(minutes=1)
    await lab.restart()
    await lab.pass_time(minutes=5)
    assert generations(lab) == [("Active", "")]
    assert "generation 1" in given(lab)[names.REFUSED_ANNOTATION]
    assert resolved(lab)[1] == "IssuingCARefused"


async def test_a_compromised_one_is_followed_by_the_one_that_is_given(lab: Lab) -> None:
    lab.cluster.make(secret_of(*line()))
    await running(lab)
    proxy = next(iter(lab.proxies.values()))
    proxy.fresh = False
    lab.cluster.make(secret_of(*line("Corp issuing 2"), name="corp-ca-2"))
    await lab.settle()
    patch = {"metadata": {"annotations": {names.ROTATE_ANNOTATION: names.ROTATE_COMPROMISED}}}
    lab.cluster.edit(Kind.SECRET, SYSTEM, "ca-shop-1", patch)
    await lab.settle()
    assert generations(lab) == [("Retired", "corp-ca"), ("Active", "corp-ca-2")]


# What is refused


async def test_a_ca_that_cannot_issue_is_refused_and_none_is_made_in_its_place(lab: Lab) -> None:
    issuing, _, root = line()
    lab.cluster.make(secret_of(issuing, root))
    lab.cluster.make(host())
    lab.cluster.make(certificate("gateway"))
    await lab.start()
    await lab.pass_time(minutes=2)
    assert generations(lab) == []
    status, reason, message = lab.condition(Kind.CERTIFICATE, "gateway", "Issued")
    assert (status, reason) == ("False", "IssuingCARefused")
    assert "up to the root" in message
    assert lab.condition(Kind.HOST, "api", "Programmed")[1] == "IssuingCARefused"
    assert "up to the root" in given(lab)[names.REFUSED_ANNOTATION]


async def test_it_is_taken_once_it_is_mended(lab: Lab) -> None:
    issuing, middle, root = line()
    lab.cluster.make(secret_of(issuing, root))
    lab.cluster.make(host())
    lab.cluster.make(certificate("gateway"))
    await lab.start()
    await lab.pass_time(minutes=2)
    replace_ca(lab, issuing, middle, root)
    await lab.pass_time(minutes=1)
    assert generations(lab) == [("Active", "corp-ca")]
    assert lab.state() == "Active"
    assert names.REFUSED_ANNOTATION not in given(lab)


async def test_without_the_label_the_operator_makes_one_again(lab: Lab) -> None:
    issuing, _, root = line()
    lab.cluster.make(secret_of(issuing, root))
    lab.cluster.make(certificate("gateway"))
    await lab.start()
    await lab.pass_time(minutes=2)
    lab.cluster.edit(Kind.SECRET, SYSTEM, "corp-ca", {"metadata": {"labels": {names.ISSUING_CA_LABEL: None}}})
    await lab.pass_time(minutes=1)
    assert generations(lab) == [("Active", "")]


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"basic": None}, "CA:TRUE"),
        ({"start": START + DAY}, "valid from"),
        ({"end": START - DAY}, "expired"),
        ({"ski": None}, "subject key identifier"),
        ({"more": ((x509.NameConstraints([x509.DNSName("corp.example")], None), True),)}, "NameConstraints"),
    ],
    ids=["no CA", "future", "expired", "no identifier", "names"],
)
async def test_one_that_is_refused_later_changes_nothing_and_the_hosts_say_why(
    lab: Lab, options: dict[str, Any], why: str
) -> None:
    """G2."""
    await running(lab)
    lab.cluster.make(secret_of(own_ca("Wrong", **options)))
    await lab.pass_time(minutes=2)
    assert generations(lab) == [("Active", "")]
    status, reason, message = resolved(lab)
    assert (status, reason) == ("True", "IssuingCARefused")
    assert why in message
    assert lab.condition(Kind.HOST, "api", "Ready")[0] == "True"
    assert why in given(lab)[names.REFUSED_ANNOTATION]
    lab.cluster.remove(Kind.SECRET, SYSTEM, "corp-ca")
    await lab.pass_time(minutes=1)
    assert resolved(lab)[1] == "Resolved"


async def test_one_that_is_not_valid_yet_is_taken_by_the_clock_alone(lab: Lab) -> None:
    await running(lab)
    lab.cluster.make(secret_of(own_ca("Future", start=START + 2 * HOUR)))
    await lab.pass_time(hours=1)
    assert generations(lab) == [("Active", "")]
    await lab.pass_time(hours=1, minutes=5)
    assert generations(lab) == [("Retiring", ""), ("Active", "corp-ca")]


async def test_a_secret_without_key_is_refused(lab: Lab) -> None:
    await running(lab)
    body = secret_of(own_ca())
    del body["data"][names.TLS_KEY_KEY]
    lab.cluster.make(body)
    await lab.settle()
    assert "has no tls.key" in given(lab)[names.REFUSED_ANNOTATION]


async def test_of_two_nobody_knows_which_one_was_meant(lab: Lab) -> None:
    await running(lab)
    lab.cluster.make(secret_of(own_ca("One"), name="one"))
    lab.cluster.edit(Kind.SECRET, SYSTEM, "one", {"metadata": {"labels": {names.ISSUING_CA_LABEL: OTHER}}})
    lab.cluster.make(secret_of(own_ca("Two"), name="two", namespace=OTHER))
    lab.cluster.make_namespace(OTHER)
    lab.cluster.make(host(namespace=OTHER))
    await lab.pass_time(minutes=1)
    assert generations(lab, OTHER) == []
    assert all("one and two" in given(lab, name)[names.REFUSED_ANNOTATION] for name in ("one", "two"))
    lab.cluster.remove(Kind.SECRET, SYSTEM, "two")
    await lab.pass_time(minutes=1)
    assert generations(lab, OTHER) == [("Active", "one")]


# Attacks


async def test_a_secret_in_the_namespace_of_a_tenant_gives_nothing(lab: Lab) -> None:
    await running(lab)
    for target in (NAMESPACE, OTHER):
        body = secret_of(own_ca(), name=f"for-{target}", namespace=target)
        body["metadata"]["namespace"] = NAMESPACE
        lab.cluster.make(body)
    await lab.pass_time(minutes=2)
    await lab.restart()
    await lab.pass_time(minutes=2)
    assert generations(lab) == [("Active", "")]
    assert resolved(lab)[1] == "Resolved"


async def test_one_ca_cannot_be_given_for_two_namespaces(lab: Lab) -> None:
    """Each would have a list of its own about the same issuer."""
    issuing, *above = line()
    lab.cluster.make(secret_of(issuing, *above))
    lab.cluster.make(secret_of(issuing, *above, name="again", namespace=OTHER))
    lab.cluster.make_namespace(OTHER)
    lab.cluster.make(host(namespace=OTHER))
    await running(lab)
    await lab.pass_time(minutes=2)
    found = generations(lab) + generations(lab, OTHER)
    assert len(found) == 1
    refused = "again" if generations(lab) else "corp-ca"
    assert "key of another CA" in given(lab, refused)[names.REFUSED_ANNOTATION]


async def test_a_renewed_certificate_with_the_same_key_is_refused(lab: Lab) -> None:
    """Proxies may build the chain over either certificate, and then look at the wrong list."""
    first = own_ca()
    lab.cluster.make(secret_of(first))
    await running(lab)
    replace_ca(lab, own_ca(key=first.key, end=LAST + DAY))
    await lab.pass_time(minutes=1)
    assert generations(lab) == [("Active", "corp-ca")]
    assert "key of another CA" in resolved(lab)[2]


async def test_one_with_the_key_identifier_of_another_ca_is_refused(lab: Lab) -> None:
    await running(lab)
    ours = x509.load_pem_x509_certificate(bundle(lab).encode())
    identifier = ours.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    lab.cluster.make(secret_of(own_ca(ski=identifier)))
    await lab.pass_time(minutes=1)
    assert generations(lab) == [("Active", "")]
    assert "subject key identifier of another CA" in resolved(lab)[2]


async def test_a_namespace_that_is_made_again_does_not_get_the_ca_of_its_former_life(lab: Lab) -> None:
    """What was issued then is in no ledger any more, and must not count again."""
    lab.cluster.make(secret_of(*line()))
    await running(lab)
    lab.cluster.remove_namespace(NAMESPACE)
    await lab.pass_time_with_failures(hours=3)
    assert lab.authority_secrets() == []
    lab.cluster.make_namespace(NAMESPACE)
    lab.cluster.make(certificate("gateway"))
    await lab.pass_time(minutes=2)
    assert generations(lab) == []
    assert lab.condition(Kind.CERTIFICATE, "gateway", "Issued")[1] == "IssuingCARefused"
    assert "former namespace" in given(lab)[names.REFUSED_ANNOTATION]


async def test_a_certificate_that_somebody_else_signed_with_the_ca_is_not_taken_for_one_of_ours(
    lab: Lab,
) -> None:
    """No list of ours could name it."""
    issuing = own_ca()
    lab.cluster.make(secret_of(issuing))
    await running(lab)
    loaded = load_issuing_authority(issuing.pem, issuing.key_pem, now=lab.now())
    made = issue_client(
        loaded.authority,
        subject=Subject(common_name="gateway"),
        sans=SubjectAltNames(),
        key=KeySpec(),
        validity=300 * DAY,
        serial=make_serial(7, bytes(15)),
        now=lab.now(),
    )
    foreign = (
        x509.CertificateBuilder(
            extensions=list(x509.load_pem_x509_certificate(made.certificate_pem.encode()).extensions)
        )
        .subject_name(issuing.certificate.subject)
        .issuer_name(issuing.certificate.subject)
        .public_key(x509.load_pem_x509_certificate(made.certificate_pem.encode()).public_key())
        .serial_number(0x1234)
        .not_valid_before(START - DAY)
        .not_valid_after(START + 300 * DAY)
        .sign(issuing.key, issuing.certificate.signature_hash_algorithm)
    )
    before = lab.serial()
    data = {
        names.TLS_CERT_KEY: b64encode(foreign.public_bytes(serialization.Encoding.PEM)).decode(),
        names.TLS_KEY_KEY: b64encode(made.key_pem.reveal()).decode(),
    }
    lab.cluster.edit(Kind.SECRET, NAMESPACE, "gateway", {"data": data})
    await lab.pass_time(minutes=1)
    assert lab.serial() not in (before, "1234")
    assert lab.status(Kind.CERTIFICATE, "gateway")["serialNumber"] == lab.serial()


async def test_a_certificate_that_somebody_else_signed_cannot_use_up_the_serial_numbers(lab: Lab) -> None:
    """One index at the end of its range would make every list half a gigabyte."""
    issuing = own_ca()
    lab.cluster.make(secret_of(issuing))
    await running(lab)
    loaded = load_issuing_authority(issuing.pem, issuing.key_pem, now=lab.now())
    made = issue_client(
        loaded.authority,
        subject=Subject(common_name="x"),
        sans=SubjectAltNames(),
        key=KeySpec(),
        validity=300 * DAY,
        serial=make_serial(2**32 - 1, bytes(15)),
        now=lab.now(),
    )
    data = {
        names.TLS_CERT_KEY: b64encode(made.certificate_pem.encode()).decode(),
        names.TLS_KEY_KEY: b64encode(made.key_pem.reveal()).decode(),
    }
    lab.cluster.edit(Kind.SECRET, NAMESPACE, "gateway", {"data": data})
    await lab.pass_time(minutes=1)
    await lab.restart()
    lab.cluster.make(certificate("late"))
    await lab.pass_time(minutes=1)
    assert int(lab.serial("late")[-8:], 16) < 10_000


async def test_what_is_kept_is_not_used_when_its_chain_was_changed(lab: Lab) -> None:
    issuing, middle, root = line()
    lab.cluster.make(secret_of(issuing, middle, root))
    await running(lab)
    other = b64encode((own_ca("Corp middle").pem + root.pem).encode()).decode()
    lab.cluster.edit(Kind.SECRET, SYSTEM, "ca-shop-1", {"data": {names.CA_KEY: other}})
    lab.cluster.make(certificate("late"))
    await lab.pass_time_with_failures(minutes=1)
    assert lab.condition(Kind.CERTIFICATE, "late", "Issued")[:2] == ("False", "CAMissing")
    assert lab.state() == "Active"


# Crashes


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("position", range(12))
async def test_a_kill_at_any_write_while_the_first_one_is_taken_goes_on_where_it_stopped(
    lab: Lab, position: int, *, after: bool
) -> None:
    """G3: the CA is used once, and nothing is issued by another one meanwhile."""
    await lab.start()
    await lab.settle()
    await lab.stop()
    issuing, *above = line()
    lab.cluster.make(secret_of(issuing, *above))
    lab.cluster.make(host())
    lab.cluster.make(rule())
    lab.cluster.make(certificate("gateway"))
    await lab.start(crash_at=position, crash_after=after)
    with contextlib.suppress(Crash):
        await lab.pass_time_with_failures(minutes=1)
    await lab.restart()
    await lab.pass_time(minutes=1)
    assert generations(lab) == [("Active", "corp-ca")]
    assert is_signed_by(issuing.pem, content(lab))
    assert names.REFUSED_ANNOTATION not in given(lab)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("position", range(10))
async def test_a_kill_at_any_write_of_a_rotation_to_it_goes_on_where_it_stopped(
    lab: Lab, position: int, *, after: bool
) -> None:
    """G3: no phase goes back, and the CA becomes one generation."""
    lab.cluster.make(host())
    lab.cluster.make(rule())
    lab.cluster.make(certificate("gateway"))
    await lab.start()
    await lab.settle()
    first = lab.serial()
    await lab.stop()
    issuing, *above = line()
    lab.cluster.make(secret_of(issuing, *above))
    await lab.start(crash_at=position, crash_after=after)
    with contextlib.suppress(Crash):
        await lab.pass_time_with_failures(hours=2)
    await lab.restart()
    await lab.pass_time(hours=2)
    assert generations(lab) == [("Retiring", ""), ("Active", "corp-ca")]
    assert is_signed_by(issuing.pem, content(lab))
    assert int(lab.serial()[-8:], 16) > int(first[-8:], 16)
    assert names.REFUSED_ANNOTATION not in given(lab)


async def test_two_operators_take_it_once(lab: Lab) -> None:
    """One that was paused and wakes up beside its successor makes no second generation of it."""
    gate = asyncio.Event()
    gate.set()
    lab.cluster.make(certificate("gateway"))
    stale = await lab.start(paused=gate)
    await lab.settle()
    gate.clear()
    lab.cluster.make(secret_of(*line()))
    await lab.start()
    await asyncio.sleep(0.05)
    gate.set()
    stale.client.paused = None
    await lab.pass_time_with_failures(seconds=20)
    assert generations(lab) == [("Retiring", ""), ("Active", "corp-ca")]
