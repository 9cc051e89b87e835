"""Whatever stands in files of users: no exception, nobody trusted by chance, nothing revoked becomes good."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st
from tests.support.certs import authority
from tests.support.partner import crl, pem_of

from mtls_operator.api.client_cas import CrlSource, Source, SourceKind, WhenStale
from mtls_operator.envoy import SerialSet, Unlisted
from mtls_operator.plan.held import HeldCrls
from mtls_operator.plan.own_cas import File, own_cas
from mtls_operator.plan.own_lists import OwnLists, own_lists, read_lists

NOW = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
PARTNER, OTHER = authority("Partner CA", now=NOW), authority("Other CA", now=NOW)
CAS, FILE = (Source(SourceKind.CONFIG_MAP, "partner-ca", key) for key in ("ca.crt", "ca.crl"))
TRUSTED = own_cas({CAS: File(pem_of(PARTNER).encode())}, {}, managed=(), now=NOW)
GENUINE_KEYS = {
    own.ca.key_digest
    for own in own_cas({CAS: File(pem_of(PARTNER, OTHER).encode())}, {}, managed=(), now=NOW).trusted
}
LISTS = [
    crl(PARTNER, *range(1, 3 + hours), now=NOW, at=timedelta(hours=hours - 10), number=number)
    for hours in range(5)
    for number in (None, hours)
]
GENUINE = LISTS[4]


@st.composite
def damaged(draw: st.DrawFn, text: bytes) -> bytes:
    """Change, drop or add some bytes."""
    data = bytearray(text)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, max(len(data) - 1, 0)))
        data[place : place + draw(st.integers(0, 3))] = draw(st.binary(max_size=3))
    return bytes(data)


def told(content: bytes, held: dict[str, HeldCrls], when: WhenStale = WhenStale.FAIL_CLOSED) -> OwnLists:
    reading = read_lists(content, [own.ca for own in TRUSTED.trusted], now=NOW)
    return own_lists([CrlSource(FILE, when)], {FILE: reading}, held, TRUSTED, now=NOW)


@given(damaged(pem_of(PARTNER, OTHER).encode()) | st.binary(max_size=200))
def test_a_damaged_file_of_cas_trusts_nobody_else_and_takes_nobody_away(content: bytes) -> None:
    """Who is trusted has a genuine key. What else stands in a CA's certificate, nothing protects: nobody signed it.

    A byte changed elsewhere in it leaves the same CA, or one whose name no certificate has as its issuer.
    """
    first = own_cas({CAS: File(content)}, {}, managed=(), now=NOW)
    assert {own.ca.key_digest for own in first.trusted} <= GENUINE_KEYS
    after = own_cas({CAS: File(content)}, {str(CAS): pem_of(PARTNER)}, managed=(), now=NOW)
    if any(own.last_good for own in after.trusted):
        assert {own.ca.digest for own in after.trusted} == {PARTNER.digest}
        assert after.troubles


@given(damaged(GENUINE) | st.binary(max_size=200))
def test_a_damaged_list_never_says_less_than_what_is_in_force(content: bytes) -> None:
    before = told(GENUINE, {})
    after = told(content, dict(before.held))
    assert after.told == before.told
    alone = told(content, {}).told[PARTNER.digest]
    assert alone is Unlisted.UNKNOWN or alone == before.told[PARTNER.digest]


@given(st.lists(st.sampled_from(LISTS) | st.binary(max_size=20), max_size=8))
def test_whatever_comes_one_after_the_other_the_list_in_force_only_gets_younger(
    contents: list[bytes],
) -> None:
    held: dict[str, HeldCrls] = {}
    age = None
    for content in contents:
        lists = told(content, held)
        held = dict(lists.held)
        (one,) = held[str(FILE)].lists or (None,)
        if age is not None:
            assert one is not None
            assert one.age >= age
        age = None if one is None else one.age
        assert isinstance(lists.told[PARTNER.digest], SerialSet if one else Unlisted)
