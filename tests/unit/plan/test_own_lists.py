"""Imported lists: what proxies are told of each CA, and that no mistake ever makes a certificate good (G1, G2)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from tests.support.certs import Pair, authority
from tests.support.partner import crl, pem_of

from mtls_operator.api.client_cas import CrlSource, Source, SourceKind, WhenStale
from mtls_operator.api.reason import Reason
from mtls_operator.api.secret import Secret
from mtls_operator.envoy import SerialSet, Unlisted, pack_serials
from mtls_operator.pki import describe_ca
from mtls_operator.plan import own_lists as module
from mtls_operator.plan.held import Held, HeldCas, HeldCrls, read_held
from mtls_operator.plan.own_cas import File, OwnCas, own_cas
from mtls_operator.plan.own_lists import OwnLists, Reading, own_lists, read_lists
from mtls_operator.plan.trust import Trust

NOW = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
DAY = timedelta(days=1)
CAS = Source(SourceKind.CONFIG_MAP, "partner-ca", "ca.crt")
FILE, OTHER_FILE = (Source(SourceKind.CONFIG_MAP, "partner-ca", key) for key in ("ca.crl", "other.crl"))
PARTNER, FLEET = authority("Partner CA", now=NOW), authority("Fleet CA", now=NOW)
GONE = File(None, exists=False)
UNKNOWN = Unlisted.UNKNOWN
CLOSED, OPEN = WhenStale.FAIL_CLOSED, WhenStale.FAIL_OPEN


def trust(*pairs: Pair, at: datetime = NOW) -> OwnCas:
    return own_cas({CAS: File(pem_of(*pairs or (PARTNER, FLEET)).encode())}, {}, managed=(), now=at)


def told(
    *files: tuple[Source, WhenStale, bytes | File],
    held: dict[str, HeldCrls] | None = None,
    cas: OwnCas | None = None,
    at: datetime = NOW,
) -> OwnLists:
    cas = cas or trust(at=at)
    readings: dict[Source, Reading | File] = {
        source: content
        if isinstance(content, File)
        else read_lists(content, [own.ca for own in cas.trusted], now=at)
        for source, _, content in files
    }
    return own_lists(
        [CrlSource(source, when) for source, when, _ in files], readings, held or {}, cas, now=at
    )


def ends(moment: datetime) -> int:
    return int(moment.timestamp())


def list_of(*serials: int, until: timedelta = DAY, closed: bool = True) -> SerialSet:
    keys = pack_serials(f"{serial:02X}" for serial in serials)
    return SerialSet(keys, ends(NOW + until) if closed else None)


def test_a_list_speaks_of_its_ca_and_of_no_other() -> None:
    lists = told((FILE, CLOSED, crl(PARTNER, 10, 11, now=NOW)))
    assert lists.told == {PARTNER.digest: list_of(10, 11)}
    assert lists.troubles == ()
    assert lists.look_again == NOW + DAY


def test_a_list_in_der_is_read_too() -> None:
    lists = told((FILE, CLOSED, crl(PARTNER, 10, now=NOW, form=Encoding.DER)))
    assert lists.told == {PARTNER.digest: list_of(10)}


def test_lists_of_two_cas_in_one_file_and_in_two() -> None:
    one, two = crl(PARTNER, 10, now=NOW), crl(FLEET, 20, now=NOW)
    expected = {PARTNER.digest: list_of(10), FLEET.digest: list_of(20)}
    assert told((FILE, CLOSED, one + two)).told == expected
    assert told((FILE, CLOSED, one), (OTHER_FILE, CLOSED, two)).told == expected


@pytest.mark.parametrize(
    "content",
    [
        GONE,
        File(None),
        b"nonsense",
        b"",
        crl(PARTNER, 10, now=NOW, signer=FLEET),
        crl(authority("Stranger", now=NOW), 10, now=NOW),
        crl(PARTNER, 10, now=NOW, at=2 * DAY, until=3 * DAY),
    ],
    ids=["gone", "no key", "nonsense", "empty", "bad signature", "wrong issuer", "from the future"],
)
def test_where_no_list_can_be_had_every_ca_without_one_is_unknown_or_not_as_the_author_wants(
    content: bytes | File,
) -> None:
    closed = told((FILE, CLOSED, content))
    assert closed.told == {PARTNER.digest: UNKNOWN, FLEET.digest: UNKNOWN}
    assert len(closed.troubles) == 1
    assert "FailClosed" in closed.troubles[0].message
    opened = told((FILE, OPEN, content))
    assert opened.told == {}
    assert "FailOpen" in opened.troubles[0].message


def test_a_ca_with_a_list_of_its_own_does_not_suffer_from_another_file() -> None:
    lists = told((FILE, CLOSED, crl(PARTNER, 10, now=NOW)), (OTHER_FILE, CLOSED, b"nonsense"))
    assert lists.told == {PARTNER.digest: list_of(10), FLEET.digest: UNKNOWN}


@pytest.mark.parametrize("broken", [GONE, b"nonsense", crl(PARTNER, now=NOW, signer=FLEET)])
def test_a_file_that_breaks_keeps_what_it_said(broken: bytes | File) -> None:
    """G2: and a CA of which it said nothing stays one without a list."""
    before = told((FILE, CLOSED, crl(PARTNER, 10, now=NOW)))
    after = told((FILE, CLOSED, broken), held=dict(before.held))
    assert after.told == before.told
    assert after.held == before.held
    assert len(after.troubles) == 1
    assert "stays in force" in after.troubles[0].message


def test_a_ca_that_joins_while_a_file_is_broken_is_unknown() -> None:
    """The list in that file may have been meant for it."""
    before = told((FILE, CLOSED, crl(PARTNER, 10, now=NOW)), cas=trust(PARTNER))
    after = told((FILE, CLOSED, GONE), held=dict(before.held))
    assert after.told == {PARTNER.digest: list_of(10), FLEET.digest: UNKNOWN}


def test_a_list_that_is_good_counts_although_another_one_of_the_file_is_not() -> None:
    before = told((FILE, CLOSED, crl(PARTNER, 10, now=NOW) + crl(FLEET, 20, now=NOW)))
    newer = crl(PARTNER, 10, 11, now=NOW, at=timedelta(0)) + crl(FLEET, now=NOW, signer=PARTNER)
    after = told((FILE, CLOSED, newer), held=dict(before.held))
    assert after.told == {PARTNER.digest: list_of(10, 11), FLEET.digest: list_of(20)}
    assert [trouble.reason for trouble in after.troubles] == [Reason.INVALID_CRL]


def test_an_older_list_takes_nothing_back() -> None:
    """It is genuine and within its time: whoever can write the ConfigMap would restore what was revoked since."""
    before = told((FILE, CLOSED, crl(PARTNER, 10, 11, now=NOW)))
    older = crl(PARTNER, 10, now=NOW, at=-DAY)
    after = told((FILE, CLOSED, older), held=dict(before.held))
    assert after.told == before.told
    assert "is older than" in after.troubles[0].message


def test_a_list_that_vanishes_out_of_its_file_stays_in_force_and_is_missed() -> None:
    """Everything that it revoked would be good again, and nobody would be told."""
    one, two = crl(PARTNER, 10, now=NOW), crl(FLEET, 20, now=NOW)
    before = told((FILE, CLOSED, one + two))
    after = told((FILE, CLOSED, two), held=dict(before.held))
    assert after.told == before.told
    assert [trouble.reason for trouble in after.troubles] == [Reason.INVALID_CRL]
    assert "no list of CN=Partner CA any more" in after.troubles[0].message
    assert told((FILE, CLOSED, two), held=dict(after.held)) == after


def test_a_list_can_move_from_one_file_to_another() -> None:
    one, two = crl(PARTNER, 10, now=NOW), crl(FLEET, 20, now=NOW)
    before = told((FILE, CLOSED, one + two), (OTHER_FILE, CLOSED, two))
    after = told((FILE, CLOSED, two), (OTHER_FILE, CLOSED, one), held=dict(before.held))
    assert (after.told, after.troubles) == (before.told, ())


def test_the_list_of_a_ca_that_is_no_longer_trusted_goes_with_it() -> None:
    one, two = crl(PARTNER, 10, now=NOW), crl(FLEET, 20, now=NOW)
    before = told((FILE, CLOSED, one + two))
    after = told((FILE, CLOSED, two), held=dict(before.held), cas=trust(FLEET))
    assert (after.told, after.troubles) == ({FLEET.digest: list_of(20)}, ())


def test_of_lists_of_one_instant_the_number_decides() -> None:
    before = told((FILE, CLOSED, crl(PARTNER, 10, 11, now=NOW, number=2)))
    assert (
        told((FILE, CLOSED, crl(PARTNER, 10, now=NOW, number=1)), held=dict(before.held)).told == before.told
    )
    after = told((FILE, CLOSED, crl(PARTNER, 10, now=NOW, number=3)), held=dict(before.held))
    assert after.told == {PARTNER.digest: list_of(10)}


def test_of_two_files_about_one_ca_the_newer_list_counts_with_its_own_end() -> None:
    old, new = crl(PARTNER, 10, now=NOW), crl(PARTNER, 11, now=NOW, at=timedelta(0))
    lists = told((FILE, CLOSED, old), (OTHER_FILE, OPEN, new))
    assert lists.told == {PARTNER.digest: list_of(11, closed=False)}


def test_a_stale_list_ends_for_the_proxies_or_goes_on_and_is_reported_in_both_cases() -> None:
    stale = crl(PARTNER, 10, now=NOW)
    later = NOW + 2 * DAY
    closed, opened = (told((FILE, when, stale), at=later) for when in (CLOSED, OPEN))
    assert closed.told == {PARTNER.digest: list_of(10)}
    assert opened.told == {PARTNER.digest: list_of(10, closed=False)}
    for lists in (closed, opened):
        assert [trouble.reason for trouble in lists.troubles] == [Reason.CRL_STALE]
        assert "2030-01-03T03:04:05Z" in lists.troubles[0].message


def test_the_list_of_an_expired_ca_is_no_mistake() -> None:
    later = NOW + timedelta(days=3660)
    fresh = authority("Fresh CA", now=later)
    cas = trust(PARTNER, fresh, at=later)
    assert [own.ca.digest for own in cas.trusted] == [fresh.digest]
    lists = told((FILE, CLOSED, crl(PARTNER, 10, now=later)), cas=cas, at=later)
    assert (lists.told, lists.troubles) == ({}, ())


def test_a_list_counts_for_every_certificate_of_a_ca_that_was_renewed_with_its_key() -> None:
    renewed = authority("Partner CA", now=NOW, key_of=PARTNER)
    lists = told((FILE, CLOSED, crl(PARTNER, 10, now=NOW)), cas=trust(PARTNER, renewed))
    assert lists.told == {PARTNER.digest: list_of(10), renewed.digest: list_of(10)}


def test_a_file_that_is_no_longer_named_is_forgotten() -> None:
    before = told((FILE, CLOSED, crl(PARTNER, 10, now=NOW)))
    after = told((OTHER_FILE, CLOSED, crl(FLEET, 20, now=NOW)), held=dict(before.held))
    assert after.told == {FLEET.digest: list_of(20)}
    assert set(after.held) == {str(OTHER_FILE)}


def test_more_revoked_certificates_than_fit_are_refused_and_the_state_is_unknown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MAX_SERIALS", 3)
    lists = told((FILE, CLOSED, crl(PARTNER, 1, 2, 3, 4, now=NOW)))
    assert lists.told == {PARTNER.digest: UNKNOWN, FLEET.digest: UNKNOWN}
    assert "too many" in lists.troubles[0].message


SEAL, OWNER = Secret(b"seal"), "uid-1"


def copies() -> Held:
    lists = told((FILE, CLOSED, crl(PARTNER, 10, now=NOW, number=2**80) + crl(FLEET, now=NOW)))
    return Held({str(CAS): pem_of(PARTNER)}, lists.held)


def test_the_copies_survive_being_written_and_read() -> None:
    assert read_held(copies().document(SEAL, OWNER), SEAL, OWNER) == copies()


@pytest.mark.parametrize("text", ["", "\n", "{}", "null\n00\n", "[" * 100_000])
def test_copies_that_are_damaged_are_none(text: str) -> None:
    assert read_held(text, SEAL, OWNER) == Held()


def test_copies_with_one_character_changed_are_none() -> None:
    document = copies().document(SEAL, OWNER)
    for place in (2, len(document) // 2, len(document) - 2):
        changed = "1" if document[place] == "0" else "0"
        assert read_held(document[:place] + changed + document[place + 1 :], SEAL, OWNER) == Held()


def test_copies_of_another_host_or_of_another_operator_are_none() -> None:
    document = copies().document(SEAL, OWNER)
    assert read_held(document, SEAL, "uid-2") == Held()
    assert read_held(document, Secret(b"another"), OWNER) == Held()


def granted(*cas: Pair, phase: str = "Active") -> HeldCas:
    described = [describe_ca(ca.certificate_pem) for ca in cas]
    trusts = [
        Trust(ca.digest, ca.certificate_pem, ca.subject, ca.ski, ca.not_after, "managedFrom/partners", phase)
        for ca in described
    ]
    return HeldCas("uid-7", tuple(trusts))


def test_copies_of_the_cas_of_another_namespace_survive_being_written_and_read() -> None:
    held = Held(granted={"partners": granted(PARTNER, FLEET)})
    assert read_held(held.document(SEAL, OWNER), SEAL, OWNER) == held
    assert all(trust.listed for trust in held.granted["partners"].trusts)


def test_a_host_that_trusts_nobody_elses_ca_has_the_same_text_as_ever() -> None:
    """G6: an operator that learnt something new writes nothing anew."""
    assert "granted" not in copies().document(SEAL, OWNER)
