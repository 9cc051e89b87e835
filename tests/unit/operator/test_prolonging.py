"""The CAs for servers and for the operator itself get a later end in time, with their name and key."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from tests.support.fake_cluster import FakeClient, Fault
from tests.unit.operator.context import Place

from mtls_operator.api import names
from mtls_operator.cluster import ConflictError, Kind
from mtls_operator.controller import internal
from mtls_operator.controller.prolonging import CA_LIFETIME
from mtls_operator.pki import PkiError, is_issued_by, load_authority, read_certificate

HOME, NAME = names.OPERATOR_NAMESPACE, names.INTERNAL_CA_SECRET
REPLACE = f"replace Secret {HOME}/{NAME}"
URI = names.proxy_identity("shop", "uid-1")


async def test_in_the_first_two_thirds_of_its_life_a_ca_stays_as_it_is(place: Place) -> None:
    first = await internal.load(place.context())
    place.writes()
    place.clock.moment = first.authority.facts.not_before + CA_LIFETIME * 0.66
    again = await internal.load(place.context(seed=2))
    assert again.ca_pem == first.ca_pem
    assert place.writes() == []


async def test_then_it_gets_a_later_end_and_both_certificates_verify_what_either_signed(place: Place) -> None:
    first = await internal.load(place.context())
    old_leaf = first.proxy_certificate(URI, lifetime=timedelta(days=30)).certificate_pem
    place.writes()
    place.clock.add(days=2500)
    second = await internal.load(place.context(seed=2))
    assert place.writes() == [REPLACE]
    before, after = first.authority.facts, second.authority.facts
    assert (after.subject, after.ski, after.not_before) == (before.subject, before.ski, before.not_before)
    assert after.not_after == place.clock.now() + CA_LIFETIME
    assert second.authority.digest != first.authority.digest
    new_leaf = second.proxy_certificate(URI, lifetime=timedelta(days=30)).certificate_pem
    for one in (first, second):
        assert is_issued_by(one.authority, old_leaf)
        assert is_issued_by(one.authority, new_leaf)
    assert second.seal.reveal() == first.seal.reveal(), "copies that were sealed before still count"
    third = await internal.load(place.context(seed=3))
    assert third.ca_pem == second.ca_pem
    assert place.writes() == []


async def test_a_running_operator_takes_the_later_end_without_a_restart(place: Place) -> None:
    own = await internal.load(place.context())
    place.clock.add(days=2500)
    await own.reconcile()
    assert own.authority.facts.not_after == place.clock.now() + CA_LIFETIME
    place.writes()
    await own.reconcile()
    assert place.writes() == []


async def test_a_ca_that_ended_while_nobody_looked_works_again(place: Place) -> None:
    await internal.load(place.context())
    place.clock.add(days=4000)
    own = await internal.load(place.context(seed=2))
    issued = read_certificate(own.proxy_certificate(URI, lifetime=timedelta(days=30)).certificate_pem)
    assert issued.not_after == place.clock.now() + timedelta(days=30)


async def test_a_clock_that_was_far_ahead_makes_no_ca_that_nobody_accepts_yet(place: Place) -> None:
    first = await internal.load(place.context())
    place.clock.add(days=3000)
    await internal.load(place.context(seed=2))
    place.clock.add(days=-3000)
    own = await internal.load(place.context(seed=3))
    assert own.authority.facts.not_before == first.authority.facts.not_before
    assert own.proxy_certificate(URI, lifetime=timedelta(days=30))


async def test_of_two_operators_at_once_one_writes_and_both_use_what_is_written(place: Place) -> None:
    await internal.load(place.context())
    place.clock.add(days=2500)
    client = FakeClient(place.server, latency=0.01)
    both = await asyncio.gather(
        internal.load(place.context(seed=2, client=client)),
        internal.load(place.context(seed=3, client=client)),
    )
    assert both[0].ca_pem == both[1].ca_pem


async def test_where_somebody_else_wrote_it_meanwhile_what_stands_there_is_used(place: Place) -> None:
    first = await internal.load(place.context())
    place.clock.add(days=2500)
    place.server.faults.append(Fault("replace", Kind.SECRET, ConflictError("changed")))
    own = await internal.load(place.context(seed=2))
    assert own.ca_pem == first.ca_pem


async def test_a_damaged_ca_is_an_error_and_not_prolonged(place: Place) -> None:
    await internal.load(place.context())
    place.clock.add(days=2500)
    place.server.edit(Kind.SECRET, HOME, NAME, {"data": {names.TLS_CERT_KEY: "cnViYmlzaA=="}})
    place.writes()
    with pytest.raises(PkiError, match=NAME):
        await internal.load(place.context(seed=2))
    assert place.writes() == []


async def test_what_is_written_is_loaded_as_the_same_authority(place: Place) -> None:
    own = await internal.load(place.context())
    place.clock.add(days=2500)
    await own.reconcile()
    assert load_authority(own.ca_pem, own.authority.key_pem) == own.authority
