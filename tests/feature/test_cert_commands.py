"""``kubectl mtls cert`` in front of the running operator: what it says is what is in force."""

from __future__ import annotations

import re
import stat
from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.feature.desk import do, look
from tests.feature.harness import Lab
from tests.support.builders import NAMESPACE, certificate, host, pod, rule

from mtls_operator.api import names
from mtls_operator.cluster import Kind
from mtls_operator.pki import read_certificate
from mtls_operator.rules.schema import CERTIFICATE_PREFIX, FIELDS, NAMES_PREFIX

SYSTEM = names.OPERATOR_NAMESPACE
READABLE = {name for name in FIELDS if name.startswith((CERTIFICATE_PREFIX, NAMES_PREFIX))}


async def _running(lab: Lab, *others: str, **spec: Any) -> None:
    lab.cluster.make(host())
    lab.cluster.make(rule())
    lab.cluster.make(certificate("gateway", **spec))
    for name in others:
        lab.cluster.make(certificate(name))
    await lab.start()
    lab.run_pod(pod())
    await lab.settle()
    await lab.pass_time(seconds=10)


def _pem(lab: Lab, name: str = "gateway") -> str:
    return b64decode(lab.cluster.read(Kind.SECRET, NAMESPACE, name)["data"][names.TLS_CERT_KEY]).decode()


# issue


async def test_a_certificate_is_issued_and_the_answer_says_where_it_is(lab: Lab) -> None:
    await _running(lab)
    ended = await do(lab, "cert", "issue", "late", "--cn", "gw", "--org", "ACME", "--dns", "gw.example.com")
    assert ended.code == 0, ended.err
    assert f"issued certificate {lab.serial('late')}" in ended.out
    assert "Secret late of namespace shop" in ended.out
    facts = read_certificate(_pem(lab, "late"))
    assert (facts.subject, facts.dns_names) == ("CN=gw,O=ACME", ("gw.example.com",))


async def test_a_certificate_without_any_name_gets_that_of_its_object(lab: Lab) -> None:
    await _running(lab)
    assert (await do(lab, "cert", "issue", "late", "--key", "ECDSA-384", "--validity", "2h")).code == 0
    facts = read_certificate(_pem(lab, "late"))
    assert (facts.subject, facts.public_key) == ("CN=late", "ECDSA-384")


async def test_a_name_that_is_taken_is_refused(lab: Lab) -> None:
    await _running(lab)
    ended = await do(lab, "cert", "issue", "gateway")
    assert (ended.code, ended.out) == (1, "")
    assert "kubectl mtls cert renew gateway" in ended.err


async def test_why_nothing_can_be_issued_is_said(lab: Lab) -> None:
    await _running(lab)
    ended = await do(lab, "cert", "issue", "late", "--secret-name", "gateway")
    assert ended.code == 1
    assert "does not belong to this object" in ended.err


async def test_a_wait_that_takes_too_long_ends_with_what_it_waits_for(lab: Lab) -> None:
    await _running(lab)
    await lab.stop()
    ended = await do(lab, "cert", "issue", "late", "--timeout", "5s")
    assert ended.code == 1
    assert "not within 5 s: the operator has not looked at it yet" in ended.err


def _request(folder: Path) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "device-1")])
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    file = folder / "device.csr"
    file.write_bytes(request.public_bytes(serialization.Encoding.PEM))
    return file


async def test_a_certificate_for_a_signing_request_is_printed_and_rules_see_the_same(
    lab: Lab, tmp_path: Path
) -> None:
    await _running(lab)
    file = _request(tmp_path)
    ended = await do(lab, "cert", "issue", "device-1", "--csr", str(file), "--validity", "30d")
    assert ended.code == 0, ended.err
    facts = read_certificate(ended.out)
    assert facts.subject == "CN=device-1"
    assert lab.status(Kind.CERTIFICATE, "device-1")["serialNumber"] == facts.serial
    assert lab.cluster.find(Kind.SECRET, NAMESPACE, "device-1") is None
    shown = look(lab, "cert", "inspect", "device-1", "-o", "json", forbidden=(SYSTEM,)).document
    assert shown["fields"]["cf.tls_client_auth.cert_fingerprint_sha256"] == facts.fingerprint_sha256
    assert shown["unknown"] == ["cf.tls_client_auth.cert_issuer_serial"]


async def test_a_certificate_for_a_signing_request_has_nothing_to_renew_or_export_here(
    lab: Lab, tmp_path: Path
) -> None:
    await _running(lab)
    await do(lab, "cert", "issue", "device-1", "--csr", str(_request(tmp_path)))
    renewed = await do(lab, "cert", "renew", "device-1")
    assert renewed.code == 1
    assert "only its owner can make a new one" in renewed.err
    exported = look(lab, "cert", "export", "device-1", "--to", str(tmp_path / "out"))
    assert exported.code == 2
    assert "signing request" in exported.err


@pytest.mark.parametrize(
    "words", [["--cn", "x"], ["--dns", "x.example.com"], ["--key", "RSA-2048"], ["--secret-name", "x"]]
)
async def test_a_signing_request_goes_with_no_other_names_and_no_key(
    lab: Lab, tmp_path: Path, words: list[str]
) -> None:
    ended = await do(lab, "cert", "issue", "device-1", "--csr", str(_request(tmp_path)), *words)
    assert ended.code == 2
    assert "give no others" in ended.err


async def test_a_signing_request_that_nobody_would_sign_is_not_even_sent(lab: Lab, tmp_path: Path) -> None:
    file = tmp_path / "broken.csr"
    file.write_text("nonsense")
    ended = await do(lab, "cert", "issue", "device-1", "--csr", str(file))
    assert ended.code == 1
    assert lab.cluster.find(Kind.CERTIFICATE, NAMESPACE, "device-1") is None


# revoke and restore


async def test_a_revocation_ends_when_every_proxy_has_acknowledged_it(lab: Lab) -> None:
    await _running(lab)
    slow = lab.run_pod(pod("api-2", address="10.0.0.2"), obedient=False)
    lab.ack(slow)
    await lab.pass_time(seconds=5)
    ended = await do(lab, "cert", "revoke", "gateway", "--wait", "--timeout", "20s")
    assert ended.code == 1
    assert "api-2" in ended.err
    lab.ack(slow)
    ended = await do(lab, "cert", "revoke", "gateway", "--wait")
    assert ended.code == 0, ended.err
    assert re.search(
        r"every proxy knows that ClientCertificate gateway is revoked, after [0-9]+\.[0-9]{2} s", ended.out
    )
    assert lab.state() == "Revoked"


async def test_a_revocation_says_its_reason(lab: Lab) -> None:
    await _running(lab)
    assert (await do(lab, "cert", "revoke", "gateway", "--reason", "KeyCompromise", "--wait")).code == 0
    assert lab.ledger()[lab.serial()].reason.value == "KeyCompromise"


async def test_a_certificate_that_was_never_issued_is_revoked_all_the_same(lab: Lab) -> None:
    await _running(lab)
    lab.cluster.make(certificate("late", secretName="gateway"))
    await lab.settle()
    ended = await do(lab, "cert", "revoke", "late", "--wait", "--timeout", "20s")
    assert ended.code == 0, ended.err


async def test_a_restored_certificate_is_accepted_again(lab: Lab) -> None:
    await _running(lab)
    await do(lab, "cert", "revoke", "gateway", "--wait")
    ended = await do(lab, "cert", "restore", "gateway", "--wait")
    assert (ended.code, lab.state()) == (0, "Active"), ended.err


async def test_what_cannot_be_restored_is_refused(lab: Lab) -> None:
    await _running(lab)
    await do(lab, "cert", "revoke", "gateway", "--reason", "KeyCompromise", "--wait")
    ended = await do(lab, "cert", "restore", "gateway", "--wait")
    assert ended.code == 1
    assert "cannot be taken back" in ended.err


@pytest.mark.parametrize("verb", ["revoke", "restore", "renew"])
async def test_an_object_that_is_not_there_is_no_answer(lab: Lab, verb: str) -> None:
    await _running(lab)
    ended = await do(lab, "cert", verb, "nobody")
    assert ended.code == 2
    assert "there is no ClientCertificate nobody in namespace shop" in ended.err


# revoke by serial number


async def _lost(lab: Lab) -> tuple[str, str]:
    await _running(lab, "lost")
    serial, pem = lab.serial("lost"), _pem(lab, "lost")
    await lab.stop()
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "lost", {"metadata": {"finalizers": None}})
    lab.cluster.remove(Kind.CERTIFICATE, NAMESPACE, "lost")
    await lab.start()
    await lab.pass_time(seconds=15)
    return serial, pem


@pytest.mark.parametrize("by_file", [False, True], ids=["serial", "file"])
async def test_a_lost_certificate_is_revoked_by_its_number(
    lab: Lab, tmp_path: Path, *, by_file: bool
) -> None:
    serial, pem = await _lost(lab)
    file = tmp_path / "lost.crt"
    file.write_text(pem)
    which = ["--file", str(file)] if by_file else ["--serial", serial.lower()]
    ended = await do(lab, "cert", "revoke", *which)
    assert ended.code == 0, ended.err
    assert f"every proxy of namespace {NAMESPACE} knows that certificate {serial} is revoked" in ended.out
    assert lab.is_refused(serial)
    assert all(version for proxy in lab.proxies.values() for version in proxy.runs.values())


async def test_it_waits_for_proxies_that_are_late(lab: Lab) -> None:
    serial, _ = await _lost(lab)
    slow = lab.run_pod(pod("api-2", address="10.0.0.2"), obedient=False)
    lab.ack(slow)
    await lab.pass_time(seconds=5)
    ended = await do(lab, "cert", "revoke", "--serial", serial, "--timeout", "20s")
    assert ended.code == 1
    assert "the proxies of MTLSHost api" in ended.err


async def test_a_number_that_an_object_names_is_revoked_through_the_object(lab: Lab) -> None:
    await _running(lab)
    ended = await do(lab, "cert", "revoke", "--serial", lab.serial())
    assert ended.code == 1
    assert "kubectl mtls cert revoke gateway" in ended.err
    assert not lab.is_refused(lab.serial())


async def test_a_refused_request_is_shown_and_leaves_nothing_behind(lab: Lab) -> None:
    await _running(lab)
    ended = await do(lab, "cert", "revoke", "--serial", f"{lab.serial()[:-8]}FFFFFFFF")
    assert ended.code == 1
    assert "check the last eight digits" in ended.err
    assert lab.cluster.all(Kind.CONFIG_MAP, SYSTEM, f"{names.ROLE_LABEL}=revocation-request") == []


async def test_a_request_that_somebody_left_is_replaced(lab: Lab) -> None:
    serial, _ = await _lost(lab)
    await lab.stop()
    await do(lab, "cert", "revoke", "--serial", serial, "--timeout", "1s")
    await lab.start()
    await lab.settle()
    assert (await do(lab, "cert", "revoke", "--serial", serial)).code == 0
    assert lab.is_refused(serial)


# renew


async def test_a_renewal_ends_with_both_numbers(lab: Lab) -> None:
    await _running(lab)
    first = lab.serial()
    ended = await do(lab, "cert", "renew", "gateway", "--wait")
    assert ended.code == 0, ended.err
    assert ended.out == (f"ClientCertificate gateway has certificate {lab.serial()}, in place of {first}\n")
    assert first != lab.serial()


async def test_two_renewals_within_a_second_are_two(lab: Lab) -> None:
    await _running(lab)
    serials = {lab.serial()}
    for _ in range(2):
        assert (await do(lab, "cert", "renew", "gateway", "--wait")).code == 0
        serials.add(lab.serial())
    assert len(serials) == 3


async def test_a_revoked_certificate_is_not_renewed(lab: Lab) -> None:
    await _running(lab)
    await do(lab, "cert", "revoke", "gateway", "--wait")
    ended = await do(lab, "cert", "renew", "gateway", "--wait")
    assert ended.code == 1
    assert "revoked" in ended.err


# list and inspect


async def test_the_list_has_what_the_statuses_say(lab: Lab) -> None:
    await _running(lab, "other", validity="300h")
    ended = look(lab, "cert", "list")
    head, first, second = ended.out.splitlines()
    assert head.split() == ["NAME", "STATE", "SERIAL", "EXPIRES", "RENEWS", "SUBJECT"]
    assert first.split()[:3] == ["gateway", "Active", lab.serial()]
    assert second.split()[0] == "other"
    rows = look(lab, "cert", "list", "-o", "json").document["certificates"]
    assert [row["serialNumber"] for row in rows] == [lab.serial(), lab.serial("other")]


async def test_the_list_of_all_namespaces_names_them(lab: Lab) -> None:
    await _running(lab)
    assert look(lab, "cert", "list", "-A").out.splitlines()[1].startswith("shop ")


async def test_an_empty_list_is_said_and_is_an_empty_document(lab: Lab) -> None:
    ended = look(lab, "cert", "list")
    assert (ended.code, ended.out, ended.err) == (0, "", "no certificates\n")
    assert look(lab, "cert", "list", "-o", "json").document == {"certificates": []}


async def test_every_field_that_a_rule_can_read_is_shown(lab: Lab) -> None:
    await _running(lab)
    shown = look(lab, "cert", "inspect", "gateway", "-o", "json").document
    assert set(shown["fields"]) | set(shown["unknown"]) == READABLE
    assert shown["unknown"] == ["cf.tls_client_auth.cert_issuer_serial"]
    assert shown["fields"]["cf.tls_client_auth.cert_serial"] == lab.serial()
    assert shown["fields"]["cf.tls_client_auth.cert_verified"] is True


async def test_without_the_right_to_read_secrets_the_status_tells_what_it_can(lab: Lab) -> None:
    await _running(lab)
    shown = look(lab, "cert", "inspect", "gateway", "-o", "json", forbidden=(SYSTEM,)).document
    assert shown["fields"]["cf.tls_client_auth.cert_serial"] == lab.serial()
    assert "cf.tls_client_auth.cert_fingerprint_sha1" in shown["unknown"]
    assert any("may not read Secret gateway" in note for note in shown["notes"])


async def test_a_file_alone_says_nothing_of_validity(lab: Lab, tmp_path: Path) -> None:
    await _running(lab)
    file = tmp_path / "client.pem"
    file.write_text(_pem(lab))
    shown = look(lab, "cert", "inspect", str(file), "-o", "json").document
    assert {"cf.tls_client_auth.cert_verified", "cf.tls_client_auth.cert_revoked"} <= set(shown["unknown"])
    assert "not known: cf.tls_client_auth" in look(lab, "cert", "inspect", str(file)).out


async def test_a_file_of_another_ca_is_not_verified_and_not_revoked(lab: Lab, tmp_path: Path) -> None:
    lab.cluster.make_namespace("other")
    lab.cluster.make(certificate("foreign", namespace="other"))
    await _running(lab)
    for name, namespace in (("foreign", "other"), ("gateway", NAMESPACE)):
        data = lab.cluster.read(Kind.SECRET, namespace, name)["data"]
        (tmp_path / f"{name}.crt").write_bytes(b64decode(data["tls.crt"]))
        (tmp_path / f"{name}-ca.crt").write_bytes(b64decode(data["ca.crt"]))
    facts = "cf.tls_client_auth.cert_"
    words = ["cert", "inspect", str(tmp_path / "foreign.crt"), "-o", "json", "--ca"]
    shown = look(lab, *words, str(tmp_path / "gateway-ca.crt")).document
    assert (shown["fields"][facts + "verified"], shown["fields"][facts + "revoked"]) == (False, False)


# export


async def test_files_are_private_and_never_overwritten_unless_wanted(lab: Lab, tmp_path: Path) -> None:
    await _running(lab)
    folder = tmp_path / "out"
    words = ["cert", "export", "gateway", "--to", str(folder), "--pkcs12", "modern"]
    assert look(lab, *words).code == 0
    assert sorted(file.name for file in folder.iterdir()) == [
        "ca.crt",
        "keystore-password",
        "keystore.p12",
        "tls.crt",
        "tls.key",
    ]
    assert {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == {0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert (folder / "tls.crt").read_text() == _pem(lab)
    again = look(lab, *words)
    assert again.code == 2
    assert "--force" in again.err
    (folder / "tls.key").chmod(0o644)
    assert look(lab, *words, "--force").code == 0
    assert stat.S_IMODE((folder / "tls.key").stat().st_mode) == 0o600


async def test_a_key_is_never_printed(lab: Lab, tmp_path: Path) -> None:
    """G5."""
    await _running(lab)
    ended = look(lab, "cert", "export", "gateway", "--to", str(tmp_path / "out"), "--pkcs12", "legacy")
    password = (tmp_path / "out/keystore-password").read_text()
    assert "PRIVATE" not in ended.out + ended.err
    assert password not in ended.out + ended.err


async def test_a_link_in_the_folder_is_not_followed(lab: Lab, tmp_path: Path) -> None:
    await _running(lab)
    target = tmp_path / "target"
    target.write_text("precious")
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "tls.key").symlink_to(target)
    words = ["cert", "export", "gateway", "--to", str(folder)]
    assert look(lab, *words).code == 2
    assert look(lab, *words, "--force").code == 0
    assert target.read_text() == "precious"


async def test_a_secret_of_somebody_else_is_not_exported(lab: Lab, tmp_path: Path) -> None:
    await _running(lab)
    lab.cluster.make(certificate("thief", secretName="gateway"))
    await lab.settle()
    ended = look(lab, "cert", "export", "thief", "--to", str(tmp_path / "out"))
    assert ended.code == 2
    assert "does not belong to ClientCertificate thief" in ended.err
    assert not (tmp_path / "out").exists()
