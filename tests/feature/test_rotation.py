"""A namespace's CA is replaced: nothing is trusted too late, nothing signs too early, nothing is dropped too soon."""

from __future__ import annotations

import contextlib
from base64 import b64decode
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.feature.harness import Lab
from tests.support.builders import NAMESPACE, certificate, host, pod, rule
from tests.support.fake_cluster import Crash

from mtls_operator.api import names
from mtls_operator.cluster import Kind
from mtls_operator.controller.limits import observe_limits
from mtls_operator.pki import is_signed_by


def _rotate(lab: Lab, how: str = "2026-03-01", generation: int = 1) -> None:
    patch = {"metadata": {"annotations": {names.ROTATE_ANNOTATION: how}}}
    lab.cluster.edit(
        Kind.SECRET, names.OPERATOR_NAMESPACE, names.authority_secret(NAMESPACE, generation), patch
    )


def _phases(lab: Lab) -> list[str]:
    secrets = sorted(lab.authority_secrets(), key=lambda body: body["metadata"]["name"])
    return [secret["metadata"]["annotations"][names.PHASE_ANNOTATION] for secret in secrets]


def _ca(lab: Lab, generation: int) -> str:
    name = names.authority_secret(NAMESPACE, generation)
    body = lab.cluster.read(Kind.SECRET, names.OPERATOR_NAMESPACE, name)
    return b64decode(body["data"][names.TLS_CERT_KEY]).decode()


def _leaf(lab: Lab, name: str = "gateway") -> str:
    body = lab.cluster.read(Kind.SECRET, NAMESPACE, name)
    return b64decode(body["data"][names.TLS_CERT_KEY]).decode()


def _bundle(lab: Lab) -> str:
    data: dict[str, str] = lab.cluster.read(Kind.CONFIG_MAP, NAMESPACE, names.CLIENT_CA_CONFIGMAP)["data"]
    return data[names.CA_KEY]


async def _running(lab: Lab, **spec: Any) -> None:
    lab.cluster.make(host())
    lab.cluster.make(rule())
    lab.cluster.make(certificate("gateway", **spec))
    await lab.start()
    lab.run_pod(pod())
    await lab.settle()
    await lab.pass_time(seconds=10)
    assert lab.condition(Kind.HOST, "api", "Ready")[0] == "True"


async def test_the_new_ca_is_in_every_bundle_before_it_signs(lab: Lab) -> None:
    await _running(lab)
    next(iter(lab.proxies.values())).fresh = False
    _rotate(lab)
    await lab.pass_time(minutes=5)
    assert _phases(lab) == ["Active", "Prepared"]
    assert _ca(lab, 2) in _bundle(lab)
    phases = [ca["phase"] for ca in lab.status(Kind.HOST, "api")["clientCAs"]]
    assert phases == ["Prepared", "Active"]
    lab.cluster.make(certificate("late"))
    await lab.settle()
    assert is_signed_by(_ca(lab, 1), _leaf(lab, "late"))


async def test_a_host_whose_configuration_is_not_written_any_more_has_not_confirmed(lab: Lab) -> None:
    """Its proxies acknowledge what was written before, without the new CA."""
    lab.cluster.make(host("aaa"))
    await _running(lab)
    names_of = {"spec": {"hostnames": ["aaa.example.com"]}}
    lab.cluster.edit(Kind.HOST, NAMESPACE, "api", names_of)
    await lab.settle()
    before = lab.cluster.read(Kind.CONFIG_MAP, NAMESPACE, names.host_config("api"))["data"]
    _rotate(lab)
    await lab.pass_time(minutes=6)
    assert lab.cluster.read(Kind.CONFIG_MAP, NAMESPACE, names.host_config("api"))["data"] == before
    assert _phases(lab) == ["Active", "Prepared"]
    assert lab.condition(Kind.HOST, "api", "CAConfirmed")[0] == "False"
    lab.cluster.edit(Kind.HOST, NAMESPACE, "api", {"spec": {"hostnames": ["api.example.com"]}})
    await lab.pass_time(seconds=30)
    assert _phases(lab) == ["Retiring", "Active"]


async def test_it_signs_once_every_proxy_has_confirmed(lab: Lab) -> None:
    await _running(lab)
    _rotate(lab)
    await lab.pass_time(seconds=30)
    assert _phases(lab) == ["Retiring", "Active"]
    lab.cluster.make(certificate("late"))
    await lab.settle()
    assert is_signed_by(_ca(lab, 2), _leaf(lab, "late"))
    assert int(lab.serial("late")[-8:], 16) > int(lab.serial("gateway")[-8:], 16)


async def test_certificates_are_issued_anew_within_the_window(lab: Lab) -> None:
    await _running(lab)
    first = lab.serial()
    _rotate(lab)
    await lab.pass_time(hours=1, minutes=1)
    assert is_signed_by(_ca(lab, 2), _leaf(lab))
    assert not lab.is_refused(first)
    assert _ca(lab, 1) in _bundle(lab)


async def test_after_a_long_wait_for_a_host_certificates_are_spread_over_the_window_all_the_same(
    lab: Lab,
) -> None:
    lab.settings = replace(lab.settings, reissue_seconds=120)
    for number in range(10):
        lab.cluster.make(certificate(f"one-{number}"))
    await _running(lab)
    (proxy,) = lab.proxies.values()
    proxy.fresh = False
    _rotate(lab)
    await lab.pass_time(minutes=4)
    assert _phases(lab) == ["Active", "Prepared"]
    proxy.fresh = True
    counts = []
    for _ in range(3):
        await lab.pass_time(seconds=50)
        counts.append(sum(is_signed_by(_ca(lab, 2), _leaf(lab, f"one-{number}")) for number in range(10)))
    assert 0 < counts[0] < counts[1] < 10
    assert counts[2] == 10


async def test_the_old_ca_is_retired_when_its_last_certificate_has_ended(lab: Lab) -> None:
    await _running(lab, validity="30h", renewal={"before": "10h"})
    _rotate(lab)
    await lab.pass_time(hours=31)
    assert _phases(lab) == ["Retired", "Active"]
    assert _ca(lab, 1) not in _bundle(lab)
    await lab.pass_time(seconds=30)
    assert [ca["phase"] for ca in lab.status(Kind.HOST, "api")["clientCAs"]] == ["Active"]
    assert lab.state() == "Active"


async def test_it_is_retired_when_all_of_its_certificates_are_revoked(lab: Lab) -> None:
    await _running(lab, renewal={"revokeOldAfter": "1h"})
    _rotate(lab)
    await lab.pass_time(hours=4)
    assert _phases(lab) == ["Retired", "Active"]


async def test_a_certificate_that_was_retained_keeps_the_old_ca_in_force(lab: Lab) -> None:
    """G3: nobody but its holder knows it any more, and it was promised to stay valid."""
    await _running(lab, validity="30h", renewal={"before": "10h"}, deletionPolicy="Retain")
    lab.cluster.remove(Kind.CERTIFICATE, NAMESPACE, "gateway")
    await lab.settle()
    _rotate(lab)
    await lab.pass_time(hours=25)
    assert _phases(lab) == ["Retiring", "Active"]
    await lab.pass_time(hours=6)
    assert _phases(lab) == ["Retired", "Active"]


async def test_a_revocation_of_an_old_certificate_is_in_force_in_every_phase(lab: Lab) -> None:
    lab.cluster.make(certificate("other", renewal={"policy": "Never"}))
    await _running(lab)
    _rotate(lab)
    await lab.pass_time(seconds=30)
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "other", {"spec": {"revoked": True}})
    await lab.settle()
    assert lab.is_refused(lab.serial("other"))
    assert not lab.is_refused(lab.serial("gateway"))


async def test_a_ca_is_rotated_at_two_thirds_of_its_life(lab: Lab) -> None:
    await _running(lab, validity="8760h")
    await lab.stop()
    lab.skew += timedelta(days=2430)
    await lab.start()
    lab.run_pod(pod("api-2"))
    await lab.pass_time(hours=2)
    assert _phases(lab)[-1] == "Prepared" or _phases(lab)[-1] == "Active"
    assert len(_phases(lab)) == 1
    await lab.pass_time(days=5)
    assert len(_phases(lab)) == 2


async def test_a_compromised_ca_is_dropped_at_once(lab: Lab) -> None:
    await _running(lab)
    next(iter(lab.proxies.values())).fresh = False
    _rotate(lab, names.ROTATE_COMPROMISED)
    await lab.settle()
    assert _phases(lab) == ["Retired", "Active"]
    assert _ca(lab, 1) not in _bundle(lab)
    assert is_signed_by(_ca(lab, 2), _leaf(lab))


async def test_certificates_are_not_ready_before_every_proxy_trusts_a_ca_that_took_over_at_once(
    lab: Lab,
) -> None:
    await _running(lab)
    proxy = next(iter(lab.proxies.values()))
    proxy.fresh = False
    _rotate(lab, names.ROTATE_COMPROMISED)
    await lab.settle()
    assert is_signed_by(_ca(lab, 2), _leaf(lab))
    status, reason, message = lab.condition(Kind.CERTIFICATE, "gateway", "Ready")
    assert (status, reason) == ("False", "ProxyPending")
    assert message.startswith("Not every proxy trusts the CA that signed it yet")
    proxy.fresh = True
    await lab.pass_time(seconds=30)
    assert lab.condition(Kind.CERTIFICATE, "gateway", "Ready")[0] == "True"


async def test_a_proxy_that_comes_later_does_not_make_certificates_unready(lab: Lab) -> None:
    await _running(lab)
    _rotate(lab, names.ROTATE_COMPROMISED)
    await lab.pass_time(seconds=30)
    assert lab.condition(Kind.CERTIFICATE, "gateway", "Ready")[0] == "True"
    next(iter(lab.proxies.values())).fresh = False
    await lab.pass_time(seconds=30)
    assert lab.condition(Kind.CERTIFICATE, "gateway", "Ready")[0] == "True"


async def test_certificates_are_ready_again_when_the_patience_for_a_host_ends(lab: Lab) -> None:
    await _running(lab)
    next(iter(lab.proxies.values())).fresh = False
    _rotate(lab, names.ROTATE_COMPROMISED)
    await lab.settle()
    await lab.restart()
    await lab.pass_time(seconds=10)
    assert lab.condition(Kind.CERTIFICATE, "gateway", "Ready")[1] == "ProxyPending"
    await lab.pass_time(minutes=6)
    assert lab.condition(Kind.CERTIFICATE, "gateway", "Ready")[0] == "True"
    assert lab.condition(Kind.HOST, "api", "Deployed")[0] == "False"


async def test_a_ca_found_compromised_while_it_retires_is_dropped_at_once(lab: Lab) -> None:
    await _running(lab)
    _rotate(lab)
    await lab.pass_time(seconds=30)
    assert _phases(lab) == ["Retiring", "Active"]
    _rotate(lab, names.ROTATE_COMPROMISED)
    await lab.settle()
    assert _phases(lab) == ["Retired", "Active"]


async def test_a_host_that_cannot_be_read_holds_the_rotation_up(lab: Lab) -> None:
    """Its proxies run the last good configuration: nobody knows that they trust the new CA."""
    await _running(lab)
    lab.cluster.edit(Kind.HOST, NAMESPACE, "api", {"spec": {"workload": {"port": "nonsense"}}})
    await lab.settle()
    _rotate(lab)
    await lab.pass_time(minutes=5)
    assert _phases(lab) == ["Active", "Prepared"]


async def test_the_active_ca_that_is_gone_is_an_obstacle_and_never_replaced_by_the_prepared_one(
    lab: Lab,
) -> None:
    await _running(lab)
    next(iter(lab.proxies.values())).fresh = False
    _rotate(lab)
    await lab.pass_time(seconds=10)
    lab.cluster.remove(Kind.SECRET, names.OPERATOR_NAMESPACE, names.authority_secret(NAMESPACE, 1))
    lab.cluster.make(certificate("late"))
    await lab.pass_time_with_failures(minutes=2)
    assert _phases(lab) == ["Prepared"]
    assert lab.condition(Kind.CERTIFICATE, "late", "Issued")[:2] == ("False", "CAMissing")
    assert names.authority_secret(NAMESPACE, 1) in lab.condition(Kind.CERTIFICATE, "late", "Issued")[2]


async def test_a_rotation_that_is_done_is_quiet(lab: Lab) -> None:
    """G6."""
    await _running(lab)
    _rotate(lab)
    await lab.pass_time(hours=2)
    lab.writes()
    lab.resync()
    await lab.pass_time(minutes=30)
    assert [str(write) for write in lab.writes()] == []


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("position", range(14))
async def test_a_kill_at_any_write_of_a_rotation_goes_on_where_it_stopped(
    lab: Lab, position: int, *, after: bool
) -> None:
    """G3: no phase goes back, no index is used twice, no certificate is lost."""
    lab.cluster.make(host())
    lab.cluster.make(rule())
    lab.cluster.make(certificate("gateway"))
    lab.cluster.make(certificate("bad", revoked=False))
    await lab.start()
    await lab.settle()
    first = {lab.serial("gateway"), lab.serial("bad")}
    await lab.stop()
    _rotate(lab)
    await lab.start(crash_at=position, crash_after=after)
    with contextlib.suppress(Crash):
        await lab.pass_time_with_failures(hours=2)
    between = _phases(lab)
    await lab.restart()
    await lab.pass_time(hours=2)
    assert _phases(lab) == ["Retiring", "Active"], between
    second = {lab.serial("gateway"), lab.serial("bad")}
    assert not first & second
    indices = [serial[-8:] for serial in first | second]
    assert len(set(indices)) == len(indices)
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "bad", {"spec": {"revoked": True}})
    await lab.settle()
    revoked = lab.revoked_in_ledger()
    assert len(revoked & first) == 1
    assert len(revoked & second) == 1
    assert all(lab.is_refused(serial) for serial in revoked)


async def _held_up(lab: Lab) -> None:
    await _running(lab)
    next(iter(lab.proxies.values())).fresh = False
    _rotate(lab)
    await lab.pass_time(minutes=1)
    assert _phases(lab) == ["Active", "Prepared"]


async def test_a_host_that_holds_a_rotation_up_says_so_and_why(lab: Lab) -> None:
    await _held_up(lab)
    status, reason, message = lab.condition(Kind.HOST, "api", "CAConfirmed")
    assert (status, reason) == ("False", "CARotation")
    assert lab.condition(Kind.HOST, "api", "Deployed")[2] in message


async def test_it_is_said_once_in_an_event_after_some_minutes(lab: Lab) -> None:
    await _held_up(lab)
    warning = ("Warning", "CARotation")
    assert warning not in [event[:2] for event in lab.events()], "files take up to two minutes"
    await lab.pass_time(minutes=30)
    assert [event[:2] for event in lab.events()].count(warning) == 1


async def test_a_rotation_that_waits_writes_nothing(lab: Lab) -> None:
    """G6."""
    await _held_up(lab)
    await lab.pass_time(minutes=6)
    lab.writes()
    await lab.pass_time(hours=1)
    assert lab.writes() == []


async def test_a_host_that_has_confirmed_says_so_while_another_one_is_waited_for(lab: Lab) -> None:
    lab.cluster.make(host("web", hostnames=["web.example.com"]))
    await _held_up(lab)
    assert lab.condition(Kind.HOST, "web", "CAConfirmed")[0] == "True"
    assert lab.process.authorities.waiting[NAMESPACE] == (f"{NAMESPACE}/api",)


async def test_nothing_is_said_of_it_when_no_rotation_waits(lab: Lab) -> None:
    await _held_up(lab)
    next(iter(lab.proxies.values())).fresh = True
    await lab.pass_time(minutes=6)
    assert _phases(lab) == ["Retiring", "Active"]
    kinds = {condition["type"] for condition in lab.status(Kind.HOST, "api")["conditions"]}
    assert "CAConfirmed" not in kinds
    assert lab.process.authorities.waiting[NAMESPACE] == ()


async def test_a_host_that_cannot_be_read_says_that_it_holds_the_rotation_up(lab: Lab) -> None:
    await _running(lab)
    lab.cluster.edit(Kind.HOST, NAMESPACE, "api", {"spec": {"hostnames": []}})
    await lab.settle()
    _rotate(lab)
    await lab.pass_time(minutes=10)
    assert _phases(lab) == ["Active", "Prepared"]
    status, _, message = lab.condition(Kind.HOST, "api", "CAConfirmed")
    assert status == "False"
    assert "cannot be read" in message


async def test_hosts_that_hold_rotations_up_are_counted(lab: Lab) -> None:
    await _held_up(lab)
    observe_limits(lab.process.metrics, lab.process.context.world, lab.process.authorities)
    assert "mtls_operator_rotation_waiting_hosts 1.0" in lab.process.metrics.text().decode()
