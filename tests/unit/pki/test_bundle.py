"""Bundles that users bring: each certificate is trusted, or named with its place and the reason."""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Callable
from math import gcd, lcm
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID
from tests.unit.pki.made import DAY, NOW, Ca, limited, make_ca, usage

from mtls_operator.pki import (
    MAX_CERTIFICATES,
    MAX_OF_ONE_NAME,
    Authority,
    Bundle,
    Issued,
    PkiError,
    Reason,
    Refusal,
    chains,
    describe_ca,
    read_bundle,
    trusted,
)
from mtls_operator.pki.trusted import is_issuer

OpenSsl = Callable[..., subprocess.CompletedProcess[str]]


def read(*cas: Ca | str, **options: Any) -> Bundle:
    return read_bundle("".join(ca if isinstance(ca, str) else ca.pem for ca in cas), now=NOW, **options)


def refusal_of(*cas: Ca | str, **options: Any) -> tuple[int, Refusal, str]:
    """Return place, reason and sentence of the one certificate that is refused."""
    (refused,) = read(*cas, **options).refused
    return refused.index, refused.reason, str(refused)


def accepted(bundle: Bundle) -> list[str]:
    return [ca.digest for ca in bundle.accepted]


def test_several_cas_are_trusted_in_the_order_of_the_file() -> None:
    first, second = make_ca("First"), make_ca("Second")
    bundle = read(second, first)
    assert accepted(bundle) == [second.digest, first.digest]
    assert [ca.index for ca in bundle.accepted] == [1, 2]
    assert bundle.pem == second.pem + first.pem
    assert (bundle.refused, bundle.notes) == ((), ())


def test_what_is_worth_knowing_of_a_ca_is_told() -> None:
    made = make_ca("Partner CA")
    (ca,) = read(made).accepted
    assert (ca.subject, ca.digest, ca.not_after) == ("CN=Partner CA", made.digest, NOW + 365 * DAY)
    assert ca.ski == x509.SubjectKeyIdentifier.from_public_key(made.key.public_key()).digest.hex().upper()
    assert (ca.self_signed, ca.rooted, ca.path) == (True, True, ())


def test_comments_between_certificates_do_not_matter_and_are_not_passed_on() -> None:
    made = make_ca()
    bundle = read("# Partner, fetched 2029\n" + made.pem + "\nthe end\n")
    assert bundle.pem == made.pem


GOOD_KEYS = {
    "P-256": ec.generate_private_key(ec.SECP256R1()),
    "P-384": ec.generate_private_key(ec.SECP384R1()),
    "P-521": ec.generate_private_key(ec.SECP521R1()),
    "RSA-2048": rsa.generate_private_key(public_exponent=65537, key_size=2048),
    "Ed25519": ed25519.Ed25519PrivateKey.generate(),
}
WEAK_KEYS = {
    "RSA-1024": rsa.generate_private_key(public_exponent=65537, key_size=1024),  # noqa: S505 - it is refused
    "ECDSA-secp224r1": ec.generate_private_key(ec.SECP224R1()),
    "ECDSA-secp256k1": ec.generate_private_key(ec.SECP256K1()),
}


@pytest.mark.parametrize("kind", GOOD_KEYS)
def test_strong_keys_are_trusted(kind: str) -> None:
    assert len(read(make_ca(key=GOOD_KEYS[kind])).accepted) == 1


@pytest.mark.parametrize("kind", WEAK_KEYS)
def test_a_weak_key_is_refused(kind: str) -> None:
    _, reason, message = refusal_of(make_ca(key=WEAK_KEYS[kind]))
    assert reason is Refusal.WEAK_KEY
    assert kind in message


def oddity() -> x509.UnrecognizedExtension:
    return x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")


def purposes(*oids: x509.ObjectIdentifier) -> tuple[tuple[x509.ExtensionType, bool], ...]:
    return ((x509.ExtendedKeyUsage(oids), False),)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"basic": None}, Refusal.NOT_A_CA),
        ({"basic": x509.BasicConstraints(ca=False, path_length=None)}, Refusal.NOT_A_CA),
        ({"key_usage": None}, Refusal.NO_CERT_SIGN),
        ({"key_usage": usage(sign=False)}, Refusal.NO_CERT_SIGN),
        ({"more": purposes(ExtendedKeyUsageOID.SERVER_AUTH)}, Refusal.NOT_FOR_CLIENTS),
        ({"more": ((oddity(), True),)}, Refusal.UNKNOWN_CRITICAL_EXTENSION),
        ({"start": NOW - 9 * DAY, "end": NOW}, Refusal.EXPIRED),
        ({"start": NOW + DAY}, Refusal.NOT_YET_VALID),
    ],
    ids=lambda value: value.value if isinstance(value, Refusal) else "",
)
def test_a_certificate_that_may_not_be_a_ca_now_is_refused_and_the_others_are_not(
    options: dict[str, Any], reason: Refusal
) -> None:
    good, bad = make_ca("Good"), make_ca("Bad", **options)
    bundle = read(good, bad)
    assert accepted(bundle) == [good.digest]
    (refused,) = bundle.refused
    assert (refused.index, refused.subject, refused.reason) == (2, "CN=Bad", reason)
    assert str(refused).startswith("certificate 2 (CN=Bad) ")


@pytest.mark.parametrize(
    "more",
    [
        ((oddity(), False),),
        purposes(ExtendedKeyUsageOID.CLIENT_AUTH),
        purposes(ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE),
        ((x509.NameConstraints([x509.DNSName("example.com")], None), True),),
    ],
    ids=["unknown, not critical", "clientAuth", "anyExtendedKeyUsage", "name constraints"],
)
def test_extensions_that_the_proxy_understands_are_trusted(
    more: tuple[tuple[x509.ExtensionType, bool], ...],
) -> None:
    assert len(read(make_ca(more=more)).accepted) == 1


def test_a_leaf_is_refused(issue: Callable[..., Issued]) -> None:
    index, reason, message = refusal_of(issue().certificate_pem)
    assert (index, reason) == (1, Refusal.NOT_A_CA)
    assert "trust its issuer" in message


def test_a_certificate_of_version_1_is_refused(openssl: OpenSsl) -> None:
    openssl(
        "req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", "key", "-subj", "/CN=old", "-out", "csr"
    )
    made = openssl("x509", "-req", "-in", "csr", "-signkey", "key", "-days", "9999")
    assert refusal_of(made.stdout)[1] is Refusal.VERSION_1


def signed_weakly(openssl: OpenSsl, digest: str, *below: str) -> str:
    """Return the PEM of a root, or of an intermediate below the file ``root``, with signatures of an old kind."""
    extensions = ("-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign")
    new = ("req", "-x509", "-newkey", "rsa:2048", "-nodes", f"-{digest}", "-days", "9999", *extensions)
    return openssl(*new, "-keyout", "key", "-subj", "/CN=old", *below).stdout


@pytest.mark.parametrize("digest", ["sha1", "md5"])
def test_the_old_signature_of_a_root_on_itself_means_nothing(digest: str, openssl: OpenSsl) -> None:
    (ca,) = read(signed_weakly(openssl, digest)).accepted
    assert ca.rooted


def test_an_old_signature_that_is_not_of_the_root_itself_is_refused(openssl: OpenSsl) -> None:
    text = signed_weakly(openssl, "sha1")
    der = bytearray(base64.b64decode("".join(text.splitlines()[1:-1])))
    der[-1] ^= 1
    forged = base64.encodebytes(der).decode()
    reason = refusal_of(f"-----BEGIN CERTIFICATE-----\n{forged}-----END CERTIFICATE-----\n")[1]
    assert reason is Refusal.WEAK_SIGNATURE


def test_a_sha1_signature_on_an_intermediate_is_refused(openssl: OpenSsl) -> None:
    root = make_ca("Root", key=GOOD_KEYS["RSA-2048"])
    files = {"root": root.pem, "root.key": root.key_pem.reveal()}
    openssl("version", **files)
    made = signed_weakly(openssl, "sha1", "-CA", "root", "-CAkey", "root.key")
    _, reason, message = refusal_of(made)
    assert reason is Refusal.WEAK_SIGNATURE
    assert "SHA1" in message


def test_the_same_certificate_twice_is_trusted_once() -> None:
    made = make_ca()
    bundle = read(made, made)
    assert accepted(bundle) == [made.digest]
    assert [(one.index, one.reason) for one in bundle.refused] == [(2, Refusal.DUPLICATE)]


def test_two_keys_with_one_key_identifier_are_both_refused() -> None:
    bundle = read(make_ca("A", ski=b"same"), make_ca("B", ski=b"same"), good := make_ca("C"))
    assert accepted(bundle) == [good.digest]
    assert [(one.index, one.reason) for one in bundle.refused] == [
        (1, Refusal.SAME_KEY_IDENTIFIER),
        (2, Refusal.SAME_KEY_IDENTIFIER),
    ]


def test_a_key_identifier_of_a_ca_that_is_trusted_beside_is_refused(authority: Authority) -> None:
    imitation = make_ca("Imitation", ski=bytes.fromhex(authority.facts.ski))
    ours = describe_ca(authority.certificate_pem)
    assert refusal_of(imitation, beside=[ours])[1] is Refusal.SAME_KEY_IDENTIFIER


def test_an_expired_imitation_does_not_drag_the_genuine_one_down() -> None:
    genuine = make_ca("A", ski=b"same")
    bundle = read(genuine, make_ca("B", ski=b"same", start=NOW - 2 * DAY, end=NOW - DAY))
    assert accepted(bundle) == [genuine.digest]


def test_a_renewed_ca_with_its_old_key_is_trusted_beside_the_old_one() -> None:
    old = make_ca("Partner CA", end=NOW + DAY)
    new = make_ca("Partner CA", key=old.key)
    bundle = read(old, new)
    assert accepted(bundle) == [old.digest, new.digest]
    assert bundle.notes == ()
    assert bundle.accepted[0].key_digest == bundle.accepted[1].key_digest


def test_cas_without_key_identifiers_are_trusted_side_by_side() -> None:
    assert len(read(make_ca("A", ski=None), make_ca("B", ski=None)).accepted) == 2


def test_one_name_with_two_keys_is_trusted_and_noted() -> None:
    bundle = read(make_ca("Same"), make_ca("Same"))
    assert len(bundle.accepted) == 2
    assert bundle.notes == (
        "certificates 1, 2 have one name (CN=Same) and different keys: they are told apart by their digests.",
    )


def test_a_managed_ca_is_refused_by_its_key_whatever_its_certificate_says(authority: Authority) -> None:
    managed = {describe_ca(authority.certificate_pem).key_digest}
    disguised = make_ca("Innocent", key=authority.signer.key)
    for pem in (authority.certificate_pem, disguised.pem):
        _, reason, message = refusal_of(pem, managed=managed)
        assert reason is Refusal.MANAGED
        assert "managedFrom" in message


def test_an_intermediate_has_its_path_to_the_root_of_the_file() -> None:
    root = make_ca("Root")
    middle = make_ca("Middle", issuer=root)
    issuing = make_ca("Issuing", issuer=middle, basic=limited(0))
    found = {ca.subject: ca for ca in read(issuing, root, middle).accepted}
    assert found["CN=Issuing"].path == (middle.digest, root.digest)
    assert found["CN=Middle"].path == (root.digest,)
    assert all(ca.rooted for ca in found.values())


def test_an_intermediate_without_its_root_is_trusted_by_itself() -> None:
    (ca,) = read(make_ca("Issuing", issuer=make_ca("Root"))).accepted
    assert (ca.rooted, ca.self_signed, ca.path) == (False, False, ())


def test_an_intermediate_stays_trusted_when_its_root_is_refused() -> None:
    root = make_ca("Root", start=NOW - 2 * DAY, end=NOW - DAY)
    bundle = read(root, issuing := make_ca("Issuing", issuer=root))
    assert accepted(bundle) == [issuing.digest]
    assert not bundle.accepted[0].rooted


def test_of_two_issuers_with_one_name_the_one_that_signed_is_on_the_path() -> None:
    genuine, imitation = make_ca("Root"), make_ca("Root")
    found = read(imitation, genuine, make_ca("Issuing", issuer=genuine)).accepted
    assert found[2].path == (genuine.digest,)


def test_a_cross_signed_ca_takes_the_shortest_path_to_a_root() -> None:
    other = make_ca("Other root")
    old = make_ca("Old root")
    cross = make_ca("Old root", key=old.key, issuer=other)
    issuing = make_ca("Issuing", issuer=old)
    found = {ca.digest: ca for ca in read(other, cross, issuing, old).accepted}
    assert found[issuing.digest].path == (old.digest,)
    assert found[cross.digest].path == (other.digest,)


def test_two_cas_that_signed_each_other_have_no_root_and_an_end() -> None:
    first = make_ca("First")
    second = make_ca("Second", issuer=first)
    again = make_ca("First", key=first.key, issuer=second)
    found = read(second, again).accepted
    assert [ca.rooted for ca in found] == [False, False]


@pytest.mark.parametrize(("length", "allowed"), [(0, False), (1, True), (None, True)])
def test_a_ca_below_one_that_may_have_none_below_is_refused(length: int | None, *, allowed: bool) -> None:
    root = make_ca("Root", basic=limited(length))
    bundle = read(root, make_ca("Issuing", issuer=root))
    assert [one.reason for one in bundle.refused] == ([] if allowed else [Refusal.PATH_LENGTH])


def test_the_length_of_a_path_counts_from_every_ca_on_it() -> None:
    root = make_ca("Root", basic=limited(1))
    middle = make_ca("Middle", issuer=root)
    issuing = make_ca("Issuing", issuer=middle)
    bundle = read(root, middle, issuing)
    found = {ca.subject: ca for ca in bundle.accepted}
    assert found["CN=Middle"].rooted
    assert not found["CN=Issuing"].rooted
    assert found["CN=Issuing"].path == (middle.digest,)


def test_a_self_issued_certificate_on_the_path_does_not_count() -> None:
    root = make_ca("Root", basic=limited(1))
    rollover = make_ca("Root", issuer=root)
    issuing = make_ca("Issuing", issuer=rollover)
    found = {ca.digest: ca for ca in read(root, rollover, issuing).accepted}
    assert found[issuing.digest].path == (rollover.digest, root.digest)


def test_a_private_key_in_a_bundle_is_refused_and_not_shown() -> None:
    made = make_ca()
    index, reason, message = refusal_of(made, made.key_pem.reveal().decode())
    assert (index, reason) == (2, Refusal.NOT_A_CERTIFICATE)
    assert "private key" in message
    assert made.key_pem.reveal().decode().splitlines()[1] not in message


@pytest.mark.parametrize(
    ("text", "reason", "why"),
    [
        ("", Refusal.NOT_A_CERTIFICATE, "no PEM block"),
        ("nonsense", Refusal.NOT_A_CERTIFICATE, "no PEM block"),
        ("\ud800", Refusal.NOT_A_CERTIFICATE, "no PEM block"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n", Refusal.UNREADABLE, "no line -----END CERTIFICATE-----"),
        (
            "-----BEGIN CERTIFICATE-----\nA!\n-----END CERTIFICATE-----\n",
            Refusal.UNREADABLE,
            "not valid base64",
        ),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", Refusal.UNREADABLE, "cannot be"),
        (
            make_ca().pem.replace("CERTIFICATE", "TRUSTED CERTIFICATE"),
            Refusal.NOT_A_CERTIFICATE,
            "TRUSTED CERTIFICATE",
        ),
        ("-----BEGIN ", Refusal.NOT_A_CERTIFICATE, "without a name"),
    ],
)
def test_what_is_no_certificate_is_named_and_refused(text: str, reason: Refusal, why: str) -> None:
    index, found, message = refusal_of(text)
    assert (index, found) == (1, reason)
    assert why in message


def test_a_damaged_certificate_takes_no_other_one_with_it() -> None:
    first, second = make_ca("First"), make_ca("Second")
    damaged = make_ca("Damaged").pem.replace("-----END CERTIFICATE-----\n", "")
    bundle = read(first, damaged, second)
    assert accepted(bundle) == [first.digest, second.digest]
    assert [one.index for one in bundle.refused] == [2]


def test_a_bundle_is_bounded() -> None:
    made = make_ca()
    bundle = read(*[made] * (MAX_CERTIFICATES + 1))
    assert bundle.refused[-1].index == MAX_CERTIFICATES + 1
    assert bundle.refused[-1].reason is Refusal.TOO_MANY


def test_a_bundle_has_few_cas_of_one_name() -> None:
    """Whom they all may have issued is checked against each."""
    cas = [make_ca() for _ in range(MAX_OF_ONE_NAME + 1)]
    bundle = read(*cas, make_ca("Another CA"))
    assert len(bundle.accepted) == MAX_OF_ONE_NAME + 1
    ((index, reason),) = [(one.index, one.reason) for one in bundle.refused]
    assert (index, reason) == (MAX_OF_ONE_NAME + 1, Refusal.TOO_MANY)


def _with_exponent(key: rsa.RSAPrivateKey, e: int) -> rsa.RSAPrivateKey:
    numbers = key.private_numbers()
    p, q = numbers.p, numbers.q
    while gcd(e, (p - 1) * (q - 1)) != 1:
        e += 2
    d = pow(e, -1, lcm(p - 1, q - 1))
    public = rsa.RSAPublicNumbers(e, p * q)
    return rsa.RSAPrivateNumbers(p, q, d, d % (p - 1), d % (q - 1), pow(q, -1, p), public).private_key()


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[x509.Certificate, x509.Certificate]]:
    """Return whose signature was checked on what, once for each time."""
    made: list[tuple[x509.Certificate, x509.Certificate]] = []

    def counting(issuer: x509.Certificate, certificate: x509.Certificate) -> bool:
        made.append((issuer, certificate))
        return is_issuer(issuer, certificate)

    for module in (chains, trusted):
        monkeypatch.setattr(module, "is_issuer", counting)
    return made


def test_no_signature_is_checked_with_a_key_that_takes_long(
    checked: list[tuple[x509.Certificate, x509.Certificate]],
) -> None:
    """With an exponent as long as the modulus each takes 10 ms; the proxy refuses one of more than 33 bits."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    _, reason, sentence = refusal_of(make_ca(key=_with_exponent(key, 2**33 + 1)))
    assert reason is Refusal.WEAK_KEY
    assert "a public exponent of more than 33 bits" in sentence
    assert checked == []
    assert read(make_ca(key=_with_exponent(key, 2**32 + 1))).refused == ()


def test_no_signature_is_checked_twice_however_many_are_refused_one_after_the_other(
    checked: list[tuple[x509.Certificate, x509.Certificate]],
) -> None:
    """Each that is refused for its depth can leave another one without an issuer."""
    root = make_ca("Root", basic=limited(0))
    cas = [root]
    for number in range(6):
        cas.append(make_ca(f"Below {number}", issuer=cas[-1]))
    read(*cas)
    between = [(one, other) for one, other in checked if one is not other]
    assert len(between) == len(set(between)) == len(cas) - 1


def test_a_bundle_says_when_time_alone_will_change_it() -> None:
    soon = make_ca("Soon", start=NOW + DAY)
    assert read(make_ca("A", end=NOW + 3 * DAY), soon).look_again == NOW + DAY
    assert read(make_ca("A", end=NOW + 3 * DAY)).look_again == NOW + 3 * DAY
    assert read("").look_again is None


def test_the_serial_number_of_a_root_does_not_matter(openssl: OpenSsl) -> None:
    extensions = ("-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign")
    made = openssl(
        *("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "key", "-subj", "/CN=root"),
        *("-set_serial", "0", "-days", "9999", *extensions),
    )
    assert len(read(made.stdout).accepted) == 1


def test_the_facts_of_our_own_ca_are_those_of_its_certificate(authority: Authority) -> None:
    ours = describe_ca(authority.certificate_pem)
    assert (ours.digest, ours.ski, ours.subject) == (
        authority.digest,
        authority.facts.ski,
        authority.facts.subject,
    )


def test_what_is_no_ca_certificate_of_ours_is_an_error() -> None:
    with pytest.raises(PkiError) as caught:
        describe_ca("nonsense")
    assert caught.value.reason is Reason.INVALID_CA_CERTIFICATE
