"""An issuing CA of the user's own in front of the real proxy: its leaves get in, those of its relatives do not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from tests.support.clients import Http1, tls_context
from tests.support.lab import HOST, Lab, next_epoch
from tests.unit.pki.made import Ca, limited, make_ca

from mtls_operator.envoy import IssuerRevocations, IssuerTrust, host_files, revocation_script
from mtls_operator.pki import (
    Issued,
    IssuingAuthority,
    KeySpec,
    Subject,
    SubjectAltNames,
    issue_client,
    load_issuing_authority,
    make_serial,
)

ADMIN = "/admin"
NOW = datetime.now(UTC)
DAY = timedelta(days=1)
REVOKED = 2


def own(name: str, issuer: Ca | None = None, length: int | None = None, **options: Any) -> Ca:
    return make_ca(name, issuer=issuer, basic=limited(length), start=NOW - DAY, end=NOW + 90 * DAY, **options)


def load(*line: Ca) -> IssuingAuthority:
    return load_issuing_authority("".join(ca.pem for ca in line), line[0].key_pem, now=NOW)


def leaf(authority: IssuingAuthority, index: int = 1, name: str = "client") -> Issued:
    return issue_client(
        authority.authority,
        subject=Subject(common_name=name),
        sans=SubjectAltNames(),
        key=KeySpec(),
        validity=DAY,
        serial=make_serial(index, bytes(15)),
        now=NOW,
    )


def with_serial(issued: Issued, ca: Ca, serial: int) -> str:
    """Return a certificate as issued, signed by the same CA elsewhere: with a number of somebody else's."""
    before = x509.load_pem_x509_certificate(issued.certificate_pem.encode())
    builder = (
        x509.CertificateBuilder(extensions=list(before.extensions))
        .subject_name(before.subject)
        .issuer_name(before.issuer)
        .public_key(before.public_key())
        .serial_number(serial)
        .not_valid_before(before.not_valid_before_utc)
        .not_valid_after(before.not_valid_after_utc)
    )
    return builder.sign(ca.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


@dataclass(slots=True)
class Corp:
    """A proxy that trusts an issuing CA below a root of the user's own, and nothing else of it."""

    lab: Lab
    root: Ca
    middle: Ca
    issuing: Ca

    def use(self, authority: IssuingAuthority) -> None:
        """Trust an issuing CA as the operator does."""
        lab, digest = self.lab, authority.authority.digest
        lab.rules = replace(lab.rules, issuers=(IssuerTrust(digest, listed=True),))
        files = host_files(
            lab.config,
            client_ca_pem=authority.authority.certificate_pem,
            rules=lab.rules_text(lab.rules),
            placement=lab.site.placement,
        )
        lab.site.mount("host", files)
        lab.push_rules(lab.rules)
        script = revocation_script(
            epoch=next_epoch(),
            issuers=[IssuerRevocations(digest, bytes([1 << REVOKED]))],
            mounted=lab.site.placement.revocation_file,
        )
        lab.push_revocation(script)

    def answer(self, issued: Issued, *sent: str, pem: str = "") -> int:
        """Return what the protected path answers to a certificate with what is sent behind it."""
        folder = self.lab.people.folder
        (folder / "own.crt").write_text("".join((pem or issued.certificate_pem, *sent)))
        (folder / "own.key").write_bytes(issued.key_pem.reveal())
        context = tls_context(identity=(folder / "own.crt", folder / "own.key"))
        with Http1(self.lab.site.placement.tls_port, context, HOST) as client:
            return client.get(ADMIN, HOST).status


@pytest.fixture(scope="module")
def corp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Corp]:
    root = own("Corp root", length=3)
    middle = own("Corp middle", root, 2)
    issuing = own("Corp issuing", middle, 0)
    lab = Lab(tmp_path_factory.mktemp("corp"), client_ca_pem=issuing.pem)
    made = Corp(lab, root, middle, issuing)
    made.use(load(issuing, middle, root))
    yield made
    lab.close()


@pytest.mark.parametrize("sent", ["nothing", "as issued", "everything", "the wrong way round"])
def test_its_leaf_gets_in_whatever_is_sent_behind_it(corp: Corp, sent: str) -> None:
    loaded = load(corp.issuing, corp.middle, corp.root)
    behind = {
        "nothing": (),
        "as issued": loaded.intermediates_pem,
        "everything": (corp.issuing.pem, corp.middle.pem, corp.root.pem),
        "the wrong way round": (corp.root.pem, corp.middle.pem, corp.issuing.pem),
    }
    assert corp.answer(leaf(loaded), *behind[sent]) == 200


def test_a_revoked_leaf_does_not(corp: Corp) -> None:
    loaded = load(corp.issuing, corp.middle, corp.root)
    assert corp.answer(leaf(loaded, REVOKED), *loaded.intermediates_pem) == 403


@pytest.mark.parametrize("with_root", [False, True])
def test_a_leaf_of_a_sibling_does_not(corp: Corp, *, with_root: bool) -> None:
    for name in ("Corp sibling", "Corp issuing"):
        sibling = own(name, corp.middle, 0)
        loaded = load(sibling, corp.middle, corp.root)
        behind = (*loaded.intermediates_pem, *((corp.root.pem,) if with_root else ()))
        assert corp.answer(leaf(loaded), *behind) == 403
        assert corp.answer(leaf(loaded), *behind, corp.issuing.pem) == 403


def test_a_leaf_of_what_is_above_it_does_not(corp: Corp) -> None:
    assert corp.answer(leaf(load(corp.root))) == 403
    above = load(corp.middle, corp.root)
    assert corp.answer(leaf(above), *above.intermediates_pem, corp.root.pem) == 403


def test_a_leaf_of_a_ca_below_it_does_not(corp: Corp) -> None:
    below = own("Corp below", corp.issuing)
    other = load(own("Corp below"))
    issued = leaf(other)
    forged = with_serial(issued, below, make_serial(1, bytes(15)))
    assert corp.answer(issued, below.pem, corp.issuing.pem, pem=forged) == 403


def test_another_certificate_of_the_same_key_does_not_open_the_door(corp: Corp) -> None:
    """The list goes by the digest of the issuing certificate; a renewed or cross-signed one is another issuer."""
    again = own("Corp issuing", corp.root, 0, key=corp.issuing.key)
    loaded = load(corp.issuing, corp.middle, corp.root)
    assert corp.answer(leaf(loaded, REVOKED), again.pem, corp.root.pem) == 403


@pytest.mark.parametrize("size", [1, 8, 16, 18, 20])
def test_a_leaf_that_somebody_else_signed_with_its_key_does_not_get_in(corp: Corp, size: int) -> None:
    """No list of ours could name it, so nobody knows whether it is revoked."""
    issued = leaf(load(corp.issuing, corp.middle, corp.root))
    serial = int.from_bytes(b"\x0a" + bytes(size - 1), "big")
    assert corp.answer(issued, pem=with_serial(issued, corp.issuing, serial)) == 403


def test_the_longest_line_that_is_taken_gets_in(corp: Corp) -> None:
    second = own("Corp second", corp.middle, 1)
    issuing = own("Corp deep", second, 0)
    loaded = load(issuing, second, corp.middle, corp.root)
    try:
        corp.use(loaded)
        assert corp.answer(leaf(loaded), *loaded.intermediates_pem) == 200
        assert corp.answer(leaf(loaded), *loaded.intermediates_pem, corp.root.pem) == 200
    finally:
        corp.use(load(corp.issuing, corp.middle, corp.root))


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP384R1()),
        ec.generate_private_key(ec.SECP521R1()),
        rsa.generate_private_key(public_exponent=65537, key_size=2048),
    ],
    ids=["P-384", "P-521", "RSA"],
)
def test_every_kind_of_key_that_is_taken_is_one_that_the_proxy_verifies(corp: Corp, key: Any) -> None:
    issuing = own("Corp issuing", corp.middle, 0, key=key)
    loaded = load(issuing, corp.middle, corp.root)
    try:
        corp.use(loaded)
        assert corp.answer(leaf(loaded), *loaded.intermediates_pem) == 200
    finally:
        corp.use(load(corp.issuing, corp.middle, corp.root))
