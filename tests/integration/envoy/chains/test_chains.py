"""The table of chains against the real proxy: what it makes of each, and where that is not what RFC 5280 says."""

from __future__ import annotations

import inspect
import re
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.envoy.chains import (
    algorithms,
    constraints,
    constraints_of_others,
    depth,
    encoding,
    extensions,
    lifetime,
    lists,
    lookalikes,
    sent,
    usage,
)
from tests.support.chain_table import DENIED, REACHED, Table
from tests.support.chains import Case, Difference, Leaning, Outcome, cases_of

CASES = cases_of(
    usage,
    sent,
    depth,
    lifetime,
    algorithms,
    lookalikes,
    constraints,
    constraints_of_others,
    extensions,
    encoding,
    lists,
)
#: The proxy verifies them and does not look closer; a rule that reads the field fails, and a failed rule denies (G1).
UNREADABLE = {"unknown_extension_twice", "alternative_name_of_five_bytes"}
SECURITY = Path(__file__).parents[4] / "docs" / "security.md"


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Table]:
    table = Table(CASES, tmp_path_factory.mktemp("table"))
    yield table
    table.lab.close()


@pytest.mark.parametrize("case", CASES, ids=[case.title for case in CASES])
def test_the_proxy_makes_of_this_chain_what_the_table_says(table: Table, case: Case) -> None:
    for version, outcome in (
        (ssl.TLSVersion.TLSv1_2, case.outcome),
        (ssl.TLSVersion.TLSv1_3, case.tls_1_3),
    ):
        seen = table.send(case, version)
        assert seen.outcome is outcome
        expected = {Outcome.REFUSED: None, Outcome.VERIFIED: case.answer}
        assert seen.admin == expected.get(outcome, DENIED)


def test_the_proxy_still_serves_and_knows_a_good_certificate_after_all_of_them(table: Table) -> None:
    good = next(case for case in CASES if case.build is usage.client_usage.build)
    assert table.send(good, ssl.TLSVersion.TLSv1_3).admin == REACHED


VERIFIED = [case for case in CASES if case.outcome is Outcome.VERIFIED]


@pytest.mark.parametrize("case", VERIFIED, ids=[case.title for case in VERIFIED])
def test_rules_can_read_what_this_verified_certificate_says_or_the_request_is_denied(
    table: Table, case: Case
) -> None:
    seen = table.send(case, ssl.TLSVersion.TLSv1_2)
    assert seen.fields == (DENIED if case.title in UNREADABLE else case.answer)


def test_control_characters_of_a_name_never_become_headers(table: Table) -> None:
    """Signed by an authority that is trusted: only the forwarding of the names stands in the way (G1)."""
    inbox = table.lab.upstream.inbox
    inbox.clear()
    for case in CASES:
        if case.difference is Difference.CONTROL:
            assert table.send(case, ssl.TLSVersion.TLSv1_3).admin == 503
    assert inbox.all() == []


def test_every_chain_is_drawn() -> None:
    drawings = [inspect.getdoc(case.build) or "" for case in CASES]
    assert [drawing for drawing in drawings if not re.search(r"\[.+\]|leaf", drawing)] == []


def test_no_two_cases_share_a_title() -> None:
    titles = [case.title for case in CASES]
    assert sorted(set(titles)) == sorted(titles)


def test_a_stricter_proxy_refuses_and_a_looser_one_accepts() -> None:
    """What is stricter lets nobody in, so it is the looser ones that have to be read with care."""
    for case in CASES:
        if case.difference is not None:
            accepted = Outcome.VERIFIED in {case.outcome, case.tls_1_3}
            partly = case.outcome is not case.tls_1_3
            assert partly or accepted is (case.difference.leaning is not Leaning.STRICTER), case.title


def test_every_difference_occurs_and_is_explained_under_its_side() -> None:
    assert {case.difference for case in CASES} - {None} == set(Difference)
    section = SECURITY.read_text("utf-8").partition("\n## How chains are judged\n")[2].partition("\n## ")[0]
    explained = re.findall(r"^\| (\w[^|]*) \| (\w[^|]*) \|", section, flags=re.MULTILINE)[1:]
    assert sorted(explained) == sorted((one.words, one.leaning.value) for one in Difference)
