"""Pages of large texts: put together only when whole, and no page passes for a list."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtls_operator.api import names
from mtls_operator.api.certificate import RevocationReason
from mtls_operator.pki import (
    PkiError,
    Revocation,
    new_authority,
    read_crl,
    sign_crl,
)
from mtls_operator.plan.pages import (
    INDEX_KEY,
    PAGE_BYTES,
    Paging,
    TooLargeError,
    page_documents,
    page_number,
    paginate,
    whole,
)

NOW = datetime(2030, 1, 1, tzinfo=UTC)
TEXT = "".join(f"line {number}\n" for number in range(100))


def read(key: str, paging: Paging) -> str | None:
    return whole(key, paging.kept, paging.pages)


def test_what_fits_stays_and_has_no_index() -> None:
    paging = paginate({"a": "1", "b": "22"}, room=3)
    assert (paging.kept, paging.pages) == ({"a": "1", "b": "22"}, {})


def test_the_first_texts_stay_and_what_does_not_fit_is_split() -> None:
    paging = paginate({"a": "first", "b": TEXT}, room=20, page_bytes=100)
    assert paging.kept["a"] == "first"
    assert set(paging.kept) == {"a", INDEX_KEY}
    assert all(len(page) <= 100 for page in paging.pages.values())
    assert read("b", paging) == TEXT
    assert read("a", paging) == "first"


def test_the_same_texts_give_the_same_pages() -> None:
    assert paginate({"b": TEXT}, room=0, page_bytes=50) == paginate({"b": TEXT}, room=0, page_bytes=50)


@given(
    texts=st.dictionaries(st.sampled_from("abc"), st.text(st.sampled_from("xä\n\u2028"), max_size=60)),
    room=st.integers(0, 100),
    size=st.integers(70, 200),
)
def test_whatever_is_split_is_put_together_again(texts: dict[str, str], room: int, size: int) -> None:
    texts = {key: text for key, text in texts.items() if len(max(text.splitlines() or [""], key=len)) < 20}
    paging = paginate(texts, room=room, page_bytes=size)
    assert {key: read(key, paging) or "" for key in texts} == texts
    assert sum(len(text.encode()) for key, text in paging.kept.items() if key != INDEX_KEY) <= room
    assert all(len(page.encode()) <= size for page in paging.pages.values())


def test_a_line_longer_than_a_page_is_refused() -> None:
    with pytest.raises(TooLargeError, match="longer than a page"):
        paginate({"a": "x" * 11}, room=0, page_bytes=10)


def test_more_pages_than_any_list_needs_are_refused() -> None:
    with pytest.raises(TooLargeError, match="pages"):
        paginate({"a": "x\n" * 65}, room=0, page_bytes=2)


def test_a_missing_page_is_no_text() -> None:
    paging = paginate({"b": TEXT}, room=0, page_bytes=100)
    assert whole("b", paging.kept, {1: paging.pages[1]}) is None


def test_a_mixture_of_two_lists_is_no_text() -> None:
    old = paginate({"b": TEXT}, room=0, page_bytes=100)
    changed = TEXT.replace("line 7\n", "line x\n").replace("line 90\n", "line yy\n")
    new = paginate({"b": changed}, room=0, page_bytes=100)
    torn = {**old.pages, 1: new.pages[1]}
    assert whole("b", old.kept, torn) is None
    assert whole("b", new.kept, torn) is None


@pytest.mark.parametrize(
    "index",
    [
        "",
        "nonsense",
        "[]",
        "7",
        '{"b": 7}',
        '{"b": {"pages": "1", "sha256": ""}}',
        '{"b": {"pages": [[1]], "sha256": ""}}',
        json.dumps({"b": {"pages": [1] * 65, "sha256": ""}}),
        json.dumps({"b": {"pages": [True], "sha256": ""}}),
        json.dumps({"b": {"pages": [1000], "sha256": ""}}),
        '{"b": {"pages": [], "sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}}',
        "[" * 100_000,
    ],
    ids=lambda index: index[:20],
)
def test_an_index_that_somebody_edited_is_no_text_and_no_error(index: str) -> None:
    assert whole("b", {INDEX_KEY: index}, {1: TEXT}) is None


def test_pages_are_config_maps_of_ours_with_their_numbers() -> None:
    documents = page_documents("shop", {1: "one", 2: "two"})
    first, second = documents.values()
    assert first["metadata"]["name"] == "mtls-revocation-1"
    assert first["metadata"]["labels"][names.MANAGED_BY_LABEL] == names.MANAGED_BY
    assert second["data"] == {"part": "two"}


@given(sizes=st.lists(st.integers(1, 64), min_size=2, max_size=12))
def test_new_pages_never_take_the_numbers_of_those_in_use_and_stay_small(sizes: list[int]) -> None:
    """A crash between two writes leaves a whole list, the old or the new one (G3)."""
    present, used = "", set[int]()
    for turn, size in enumerate(sizes):
        paging = paginate(
            {"b": "".join(f"{turn} {line}\n" for line in range(size))}, room=0, page_bytes=7, present=present
        )
        assert not used & set(paging.pages)
        assert all(page_number(f"mtls-revocation-{number}") == number for number in paging.pages)
        assert max(paging.pages) <= 3 * 64
        present, used = paging.kept[INDEX_KEY], set(paging.pages)


def test_the_same_texts_keep_their_pages() -> None:
    first = paginate({"b": TEXT}, room=0, page_bytes=50)
    second = paginate({"b": TEXT + "more\n"}, room=0, page_bytes=50, present=first.kept[INDEX_KEY])
    assert paginate({"b": TEXT + "more\n"}, room=0, page_bytes=50, present=second.kept[INDEX_KEY]) == second


def test_an_index_with_numbers_that_we_never_use_is_none_of_ours() -> None:
    forged = json.dumps({"b": {"pages": [998], "sha256": ""}})
    assert min(paginate({"b": TEXT}, room=0, page_bytes=50, present=forged).pages) == 1


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("mtls-revocation-1", 1),
        ("mtls-revocation-12", 12),
        ("mtls-revocation", None),
        ("mtls-revocation-", None),
        ("mtls-revocation-0", None),
        ("mtls-revocation-01", None),
        ("mtls-revocation-x", None),
        ("mtls-revocation-٣", None),
        ("mtls-revocation-" + "9" * 5000, None),
        ("other-1", None),
    ],
)
def test_the_number_of_a_page_is_in_its_name(name: str, number: int | None) -> None:
    assert page_number(name) == number


def test_no_page_of_a_large_list_passes_for_a_list_and_all_of_them_are_it() -> None:
    authority = new_authority("CA", now=NOW, lifetime=timedelta(days=365), entropy=bytes(16))
    revocations = [
        Revocation(f"7F{number:036X}", NOW, RevocationReason.SUPERSEDED, NOW, "") for number in range(15_000)
    ]
    crl = sign_crl(authority, revocations, number=1, now=NOW, lifetime=timedelta(days=7))
    paging = paginate({names.CRL_KEY: crl}, room=PAGE_BYTES)
    assert len(paging.pages) > 1
    for page in paging.pages.values():
        with pytest.raises(PkiError):
            read_crl(page, authority)
    found = read(names.CRL_KEY, paging)
    assert found is not None
    assert len(read_crl(found, authority).revocations) == 15_000
    assert all(len(page.encode()) <= PAGE_BYTES for page in paging.pages.values())
