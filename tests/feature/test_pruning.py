"""The ledger does not grow for ever, and loses nothing by that (G3)."""

from __future__ import annotations

import contextlib
from datetime import timedelta

import pytest
from tests.feature.harness import Lab
from tests.support.builders import NAMESPACE, certificate, host
from tests.support.fake_cluster import Crash

from mtls_operator.api import names
from mtls_operator.cluster import Kind
from mtls_operator.plan import ledger
from mtls_operator.plan.ledger import RECORDS_KEY, decode

SYSTEM = names.OPERATOR_NAMESPACE
OLD = 6


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page holds some two records."""
    monkeypatch.setattr(ledger, "PAGE_BYTES", 500)


async def _deleted(lab: Lab, *, long_lived: int = 2) -> tuple[set[str], set[str]]:
    """Issue and delete certificates; return the serial numbers of those that end soon, and of the others."""
    short = [f"short-{number}" for number in range(OLD)]
    living = [f"long-{number}" for number in range(long_lived)]
    for name in short:
        lab.cluster.make(certificate(name, validity="24h"))
    for name in living:
        lab.cluster.make(certificate(name))
    await lab.start()
    await lab.settle()
    serials = {name: lab.serial(name) for name in (*short, *living)}
    for first, second in zip(short, [*living, *short[len(living) :]], strict=True):
        for name in {first, second} & {
            body["metadata"]["name"] for body in lab.cluster.all(Kind.CERTIFICATE)
        }:
            lab.cluster.remove(Kind.CERTIFICATE, NAMESPACE, name)
            await lab.settle()
    return {serials[name] for name in short}, {serials[name] for name in living}


async def _a_month_later(lab: Lab) -> None:
    """Let a new process work for a day, a month later."""
    await lab.stop()
    lab.skew += timedelta(days=32)
    await lab.start()
    await lab.settle()
    await lab.pass_time(hours=32)


def _serials(lab: Lab) -> set[str]:
    return set(lab.ledger())


async def test_records_go_a_month_after_the_end_of_their_certificates(lab: Lab) -> None:
    short, living = await _deleted(lab)
    pages = len(lab.ledger_pages())
    lab.skew += timedelta(days=28) - timedelta(days=32)
    await _a_month_later(lab)
    assert _serials(lab) == short | living
    lab.skew += timedelta(days=4) - timedelta(days=32)
    await _a_month_later(lab)
    assert _serials(lab) == living
    assert len(lab.ledger_pages()) < pages
    assert all(lab.is_refused(serial) for serial in living)


async def test_what_was_pruned_is_not_taken_for_a_ledger_that_was_set_back(lab: Lab) -> None:
    lab.cluster.make(host())
    _, living = await _deleted(lab)
    await _a_month_later(lab)
    lab.resync()
    await lab.settle()
    await lab.restart()
    await lab.settle()
    assert _serials(lab) == living
    assert lab.condition(Kind.HOST, "api", "ResolvedRefs")[1] == "Resolved"
    assert not any(line["event"] == "ledger.rollback" for line in lab.log_lines)


async def test_an_unchanged_ledger_is_pruned_once(lab: Lab) -> None:
    await _deleted(lab)
    await _a_month_later(lab)
    lab.writes()
    await lab.pass_time(hours=20)
    assert [write for write in lab.writes() if write.namespace == SYSTEM] == []


async def test_a_clock_that_jumped_prunes_nothing_and_back_everything_is_refused_again(lab: Lab) -> None:
    short, living = await _deleted(lab)
    lab.skew += timedelta(days=365)
    lab.resync()
    await lab.pass_time(hours=20)
    assert _serials(lab) >= short | living
    lab.skew -= timedelta(days=365)
    lab.resync()
    await lab.settle(failures=True)
    await lab.pass_time(minutes=1)
    assert all(lab.is_refused(serial) for serial in living)


async def test_a_process_that_has_just_started_prunes_nothing(lab: Lab) -> None:
    """Its clock may have been wrong before it could be compared with anything."""
    short, living = await _deleted(lab)
    await lab.stop()
    lab.skew += timedelta(days=365)
    await lab.start()
    await lab.settle()
    await lab.pass_time(hours=23)
    assert _serials(lab) >= short | living


async def test_the_last_page_stays_when_nothing_is_in_it(lab: Lab) -> None:
    """It shows that the namespace had an authority and a ledger."""
    await _deleted(lab, long_lived=0)
    await _a_month_later(lab)
    (page,) = lab.ledger_pages()
    assert page["data"][RECORDS_KEY] == ""


async def test_a_certificate_that_has_ended_and_still_has_its_object_keeps_its_record(lab: Lab) -> None:
    policy = {"policy": "Never"}
    lab.cluster.make(certificate("gateway", validity="24h", renewal=policy))
    await lab.start()
    await lab.settle()
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "gateway", {"spec": {"revoked": True}})
    await lab.settle()
    state = lab.state()
    await _a_month_later(lab)
    assert lab.serial() in lab.ledger()
    assert lab.state() in (state, "Expired")


async def test_a_damaged_line_stays_for_whoever_mends_it(lab: Lab) -> None:
    await _deleted(lab)
    page = lab.ledger_pages()[0]
    text = "{damaged\n" + page["data"][RECORDS_KEY]
    lab.cluster.edit(Kind.CONFIG_MAP, SYSTEM, page["metadata"]["name"], {"data": {RECORDS_KEY: text}})
    await lab.settle(failures=True)
    await _a_month_later(lab)
    assert any(decode(page["data"][RECORDS_KEY])[1] for page in lab.ledger_pages())


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("position", range(1, 10))
async def test_a_crash_between_any_two_writes_of_pruning_loses_nothing(
    lab: Lab, position: int, *, after: bool
) -> None:
    _, living = await _deleted(lab)
    await lab.stop()
    lab.skew += timedelta(days=32)
    await lab.start(crash_at=position, crash_after=after)
    with contextlib.suppress(Crash):
        await lab.settle()
        await lab.pass_time(hours=32)
    await lab.stop()
    await lab.start()
    await lab.settle()
    assert living <= lab.revoked_in_ledger()
    assert all(lab.is_refused(serial) for serial in living)
    assert not any(line["event"] == "ledger.rollback" for line in lab.log_lines)
    await lab.pass_time(hours=32)
    assert _serials(lab) == living
