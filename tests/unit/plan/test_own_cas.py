"""The CAs of a host's users: a file with a mistake changes nothing, and time takes out what has expired."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from tests.support.certs import Pair, authority, leaf
from tests.support.partner import pem_of

from mtls_operator.api.client_cas import Source, SourceKind
from mtls_operator.api.reason import Reason
from mtls_operator.pki import describe_ca
from mtls_operator.plan.own_cas import MAX_CAS, File, OwnCas, own_cas

NOW = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
FIRST = Source(SourceKind.CONFIG_MAP, "partner-ca", "ca.crt")
SECOND = Source(SourceKind.SECRET, "fleet-ca", "ca.crt")
PARTNER, FLEET = authority("Partner CA", now=NOW), authority("Fleet CA", now=NOW)


def found(
    *files: tuple[Source, str | None], held: dict[str, str] | None = None, at: datetime = NOW
) -> OwnCas:
    named = {source: File(None if text is None else text.encode(), exists=False) for source, text in files}
    return own_cas(named, held or {}, managed=(), now=at)


def digests(cas: OwnCas) -> list[str]:
    return [own.ca.digest for own in cas.trusted]


def reasons(cas: OwnCas) -> list[Reason]:
    return [trouble.reason for trouble in cas.troubles]


def test_every_ca_of_every_file_counts_in_their_order() -> None:
    other = authority("Other CA", now=NOW)
    cas = found((FIRST, pem_of(PARTNER, other)), (SECOND, pem_of(FLEET)))
    assert digests(cas) == [PARTNER.digest, other.digest, FLEET.digest]
    assert cas.troubles == ()
    assert cas.held == {str(FIRST): pem_of(PARTNER, other), str(SECOND): pem_of(FLEET)}


def test_a_file_that_is_gone_keeps_its_last_good_copy_and_says_so() -> None:
    cas = found((FIRST, None), held={str(FIRST): pem_of(PARTNER)})
    assert digests(cas) == [PARTNER.digest]
    assert [own.last_good for own in cas.trusted] == [True]
    assert cas.held == {str(FIRST): pem_of(PARTNER)}
    assert reasons(cas) == [Reason.CONFIG_MAP_NOT_FOUND]
    assert "last good copy stays in force" in cas.troubles[0].message


def test_a_secret_that_never_was_there_trusts_nobody() -> None:
    cas = found((SECOND, None))
    assert (cas.trusted, cas.held) == ((), {})
    assert reasons(cas) == [Reason.SECRET_NOT_FOUND]


def test_a_key_that_is_missing_is_told_from_an_object_that_is() -> None:
    cas = own_cas({FIRST: File(None)}, {}, managed=(), now=NOW)
    assert reasons(cas) == [Reason.INVALID_CA_CERTIFICATE]
    assert "has no key ca.crt" in cas.troubles[0].message


LEAF = leaf(PARTNER, "client", now=NOW)


@pytest.mark.parametrize(
    "mistake", ["-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n", LEAF.certificate_pem, ""]
)
def test_a_file_with_a_mistake_changes_nothing(mistake: str) -> None:
    """G2: neither does what is missing from it vanish, nor does what is new in it count."""
    new = "" if mistake == "" else pem_of(FLEET)
    cas = found((FIRST, new + mistake), held={str(FIRST): pem_of(PARTNER)})
    assert digests(cas) == [PARTNER.digest]
    assert reasons(cas) == [Reason.INVALID_CA_CERTIFICATE]


def test_a_refused_certificate_is_named_with_its_place_and_reason() -> None:
    cas = found((FIRST, pem_of(FLEET) + LEAF.certificate_pem), held={str(FIRST): pem_of(PARTNER)})
    message = cas.troubles[0].message
    assert message.startswith("ConfigMap partner-ca, key ca.crt: certificate 2 (CN=client) is not a CA")


def test_without_a_last_good_copy_the_certificates_without_mistakes_count() -> None:
    cas = found((FIRST, pem_of(FLEET) + LEAF.certificate_pem))
    assert digests(cas) == [FLEET.digest]
    assert [own.last_good for own in cas.trusted] == [False]
    assert "The others count" in cas.troubles[0].message


def test_a_mistake_in_one_file_leaves_the_others_alone() -> None:
    cas = found((FIRST, "nonsense"), (SECOND, pem_of(FLEET)))
    assert digests(cas) == [FLEET.digest]


def test_a_ca_that_is_taken_out_of_a_good_file_is_gone_at_once() -> None:
    cas = found((FIRST, pem_of(FLEET)), held={str(FIRST): pem_of(PARTNER, FLEET)})
    assert digests(cas) == [FLEET.digest]
    assert cas.held == {str(FIRST): pem_of(FLEET)}


def test_an_expired_ca_leaves_by_the_clock_also_out_of_a_last_good_copy() -> None:
    later = NOW + timedelta(days=4000)
    fresh = authority("Fresh CA", now=later)
    for text, held in ((pem_of(PARTNER, fresh), {}), (None, {str(FIRST): pem_of(PARTNER, fresh)})):
        cas = found((FIRST, text), held=held, at=later)
        assert digests(cas) == [fresh.digest]
        assert "CN=Partner CA" in cas.expired


def test_expiry_is_no_mistake_the_rest_of_the_file_counts_although_there_is_a_copy() -> None:
    later = NOW + timedelta(days=4000)
    fresh = authority("Fresh CA", now=later)
    cas = found((FIRST, pem_of(PARTNER, fresh)), held={str(FIRST): pem_of(PARTNER)}, at=later)
    assert digests(cas) == [fresh.digest]
    assert cas.trusted[0].last_good is False
    assert "expired at" in cas.troubles[0].message


def test_the_next_look_is_when_the_first_ca_expires() -> None:
    cas = found((FIRST, pem_of(PARTNER)))
    assert cas.look_again == PARTNER.certificate.not_valid_after_utc


def test_a_managed_ca_is_refused_wherever_it_is_copied_from() -> None:
    key = describe_ca(PARTNER.certificate_pem).key_digest
    cas = own_cas(
        {FIRST: File(pem_of(PARTNER).encode())}, {str(FIRST): pem_of(PARTNER)}, managed={key}, now=NOW
    )
    assert cas.trusted == ()
    assert "clientCAs.managed" in cas.troubles[0].message


def test_the_same_certificate_in_two_files_is_trusted_once_by_the_first() -> None:
    cas = found((FIRST, pem_of(PARTNER)), (SECOND, pem_of(PARTNER)))
    assert [(own.source, own.ca.digest) for own in cas.trusted] == [(FIRST, PARTNER.digest)]
    assert cas.troubles == ()


def lookalike(of: Pair) -> Pair:
    """Make a CA with the name and key identifier of another one, and another key."""
    made = authority("Partner CA", now=NOW)
    identifier = x509.SubjectKeyIdentifier.from_public_key(of.key.public_key())
    builder = (
        x509.CertificateBuilder()
        .subject_name(made.certificate.subject)
        .issuer_name(made.certificate.subject)
        .public_key(made.key.public_key())
        .serial_number(7)
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(
            made.certificate.extensions.get_extension_for_class(x509.KeyUsage).value, critical=True
        )
        .add_extension(identifier, critical=False)
    )
    return Pair(builder.sign(made.key, hashes.SHA256()), made.key)


def test_a_lookalike_in_another_file_is_refused_and_takes_nothing_from_the_first() -> None:
    cas = found((FIRST, pem_of(PARTNER)), (SECOND, pem_of(lookalike(PARTNER))))
    assert digests(cas) == [PARTNER.digest]
    assert "key identifier" in cas.troubles[0].message


def test_a_lookalike_of_a_managed_ca_that_the_host_trusts_is_refused_also_as_the_last_good_copy() -> None:
    """A rule that compares the key identifier of the issuer would take one for the other."""
    forged = pem_of(lookalike(PARTNER))
    files = {FIRST: File(forged.encode()), SECOND: File(pem_of(FLEET).encode())}
    held = {str(FIRST): forged}
    cas = own_cas(files, held, managed=(), now=NOW, others=[describe_ca(PARTNER.certificate_pem)])
    assert digests(cas) == [FLEET.digest]
    assert "key identifier" in cas.troubles[0].message


def test_more_cas_than_a_host_can_have_do_not_count_and_are_not_silent() -> None:
    half = [authority(f"CA {number}", now=NOW) for number in range(MAX_CAS // 2 + 1)]
    others = [authority(f"Other CA {number}", now=NOW) for number in range(MAX_CAS // 2)]
    cas = found((FIRST, pem_of(*half)), (SECOND, pem_of(*others)))
    assert len(cas.trusted) == MAX_CAS
    assert "more than 64" in cas.troubles[0].message


def test_a_file_full_of_mistakes_does_not_fill_the_status() -> None:
    cas = found((FIRST, LEAF.certificate_pem * 60))
    assert len(cas.troubles[0].message) < 4000
    assert "And" in cas.troubles[0].message


def test_the_same_files_give_the_same_copies() -> None:
    first = found((FIRST, pem_of(PARTNER)), (SECOND, None))
    assert found((FIRST, pem_of(PARTNER)), (SECOND, None), held=dict(first.held or {})) == first
