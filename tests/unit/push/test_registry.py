"""The whole server without its wire, in virtual time: gates, isolation, refusals, life and death of streams."""

from __future__ import annotations

import pytest
from tests.unit.push.builders import (
    ALL,
    HOST,
    NAMESPACE,
    NAMESPACE_UID,
    OTHER_POD,
    POD,
    Proxy,
    World,
    node_of,
    revocation,
    rules,
)

from mtls_operator.api import names
from mtls_operator.push import Limits, Pod, Report, ReportKind, Scope
from mtls_operator.push.errors import Code, StreamEnded
from mtls_operator.push.identity import Identity
from mtls_operator.push.registry import Registry

IDENTITY = Identity(NAMESPACE, NAMESPACE_UID)


def opened(*pods: Pod, limits: Limits | None = None) -> World:
    """Return an open server that knows the namespace and these pods."""
    world = World(limits or Limits())
    world.registry.set_namespace(NAMESPACE, NAMESPACE_UID)
    for each in pods:
        world.registry.set_pod(each)
    world.registry.open()
    return world


def running(world: World, pod: Pod = POD, version: str = "v1") -> Proxy:
    """Return a proxy that acknowledged what it was pushed."""
    proxy = world.connect(pod)
    push = proxy.take()
    assert push.version == version
    proxy.acknowledge(push)
    return proxy


class TestGates:
    def test_nothing_is_said_before_the_server_is_open(self) -> None:
        world = World()
        world.registry.set_namespace(NAMESPACE, NAMESPACE_UID)
        world.registry.set_pod(POD)
        world.registry.publish(HOST, rules("v1"))
        proxy = world.connect()
        assert proxy.receive() is None
        assert not world.reports
        world.registry.open()
        assert proxy.take().version == "v1"

    def test_opening_ends_the_streams_of_namespaces_that_turned_out_to_be_unknown(self) -> None:
        world = World()
        proxy = world.connect(uid="ns-uid-0")
        world.registry.set_namespace(NAMESPACE, NAMESPACE_UID)
        assert proxy.ended is None
        world.registry.open()
        assert proxy.ended == "PERMISSION_DENIED"

    @pytest.mark.parametrize(
        "identity", [None, Identity("unknown", "x"), Identity(NAMESPACE, "ns-uid-0"), Identity(NAMESPACE, "")]
    )
    def test_a_certificate_of_no_present_namespace_is_refused(self, identity: Identity | None) -> None:
        with pytest.raises(StreamEnded) as ended:
            opened(POD).registry.admit(identity, lambda: None, now=0)
        assert ended.value.close.code is Code.NOT_ALLOWED

    def test_a_node_of_another_namespace_is_refused(self) -> None:
        world = opened(POD)
        proxy = Proxy(world, world.registry.admit(IDENTITY, lambda: None, now=0))
        proxy.say(node=node_of(Pod("other", "web-1", "pod-uid-1", "api")))
        assert proxy.ended == "PERMISSION_DENIED"

    def test_a_known_uid_under_another_name_is_refused(self) -> None:
        proxy = opened(POD).connect(Pod(NAMESPACE, "web-9", POD.uid, "api"))
        assert proxy.ended == "PERMISSION_DENIED"

    def test_an_unknown_pod_waits_and_is_served_when_it_is_known(self) -> None:
        world = opened()
        world.registry.publish(HOST, rules("v1"))
        proxy = world.connect()
        assert (proxy.receive(), world.registry.snapshot().pending) == (None, 1)
        world.registry.set_pod(POD)
        assert proxy.take().version == "v1"
        assert world.registry.snapshot().pending == 0

    def test_an_unknown_pod_does_not_wait_for_ever(self) -> None:
        world = opened()
        proxy = world.connect()
        world.now += Limits().pending_seconds
        world.registry.expire(proxy.session, now=world.now)
        assert proxy.ended == "UNAVAILABLE"

    def test_a_stream_that_waits_may_not_talk(self) -> None:
        proxy = opened().connect()
        proxy.say(node=node_of(POD))
        assert proxy.ended == "INVALID_ARGUMENT"

    def test_a_stream_that_says_nothing_is_ended(self) -> None:
        world = opened(POD)
        session = world.registry.admit(IDENTITY, lambda: None, now=world.now)
        world.registry.expire(session, now=world.now + Limits().first_request_seconds)
        assert session.close is not None
        assert session.close.code is Code.TOO_SLOW

    def test_bytes_that_are_no_request_end_the_stream(self) -> None:
        world = opened(POD)
        session = world.registry.admit(IDENTITY, lambda: None, now=world.now)
        world.registry.receive(session, b"\xff", now=world.now)
        assert session.close is not None
        assert session.close.code is Code.INVALID

    def test_a_namespace_has_as_many_streams_as_its_pods_need_and_a_few_more(self) -> None:
        world = opened(POD, limits=Limits(pending=2, streams_per_pod=4))
        for _ in range(6):
            world.registry.admit(IDENTITY, lambda: None, now=0)
        with pytest.raises(StreamEnded) as ended:
            world.registry.admit(IDENTITY, lambda: None, now=0)
        assert ended.value.close.code is Code.TOO_MANY
        world.registry.set_namespace("other", "ns-uid-2")
        world.registry.admit(Identity("other", "ns-uid-2"), lambda: None, now=0)

    def test_a_stream_counts_until_its_end_was_delivered(self) -> None:
        world = opened(limits=Limits(pending=1))
        session = world.registry.admit(IDENTITY, lambda: None, now=0)
        world.registry.detach(session)
        with pytest.raises(StreamEnded):
            world.registry.admit(IDENTITY, lambda: None, now=0)
        world.registry.release(session)
        world.registry.admit(IDENTITY, lambda: None, now=0)


class TestIsolation:
    def test_a_pod_gets_the_rules_of_its_host_and_the_revocations_of_its_namespace(self) -> None:
        world = opened(POD)
        world.registry.publish(Scope(NAMESPACE, "other"), rules("other host"))
        world.registry.publish(Scope("other"), revocation("other namespace"))
        proxies = [world.connect(), world.connect(resource=names.REVOCATION_FILTER)]
        assert [each.receive() for each in proxies] == [None, None]
        world.registry.publish(HOST, rules("v1"))
        world.registry.publish(ALL, revocation("r1"))
        assert [each.take().version for each in proxies] == ["v1", "r1"]

    def test_only_the_streams_that_a_publication_concerns_are_woken(self) -> None:
        other_host = Pod(NAMESPACE, "db-1", "pod-uid-3", "database")
        world = opened(POD, other_host)
        woken: list[str] = []
        for name, pod, resource in (
            ("rules", POD, names.RULES_FILTER),
            ("revocation", POD, names.REVOCATION_FILTER),
            ("other rules", other_host, names.RULES_FILTER),
        ):
            world.connect(pod, resource=resource, wake=lambda name=name: woken.append(name))
        woken.clear()
        world.registry.publish(HOST, rules("v1"))
        assert woken == ["rules"]

    def test_a_namespace_of_the_same_name_gets_nothing_of_the_former_one(self) -> None:
        world = opened(POD)
        world.registry.publish(HOST, rules("v1"))
        old = running(world)
        world.registry.set_namespace(NAMESPACE, "ns-uid-2")
        assert old.ended == "PERMISSION_DENIED"
        old.leave()
        with pytest.raises(StreamEnded):
            world.connect(uid=NAMESPACE_UID)
        new = world.connect(uid="ns-uid-2")
        assert new.receive() is None
        world.registry.set_pod(POD)
        assert new.receive() is None

    def test_a_namespace_that_is_gone_ends_all_its_streams(self) -> None:
        world = opened(POD)
        attached, waiting = world.connect(POD), world.connect(OTHER_POD)
        world.registry.set_namespace(NAMESPACE, None)
        assert (attached.ended, waiting.ended) == ("PERMISSION_DENIED",) * 2

    def test_what_was_published_before_the_namespace_is_known_is_served(self) -> None:
        world = World()
        world.registry.open()
        world.registry.publish(HOST, rules("v1"))
        world.registry.set_pod(POD)
        world.registry.set_namespace(NAMESPACE, NAMESPACE_UID)
        assert world.connect().take().version == "v1"

    def test_a_pod_whose_host_changed_starts_over_with_the_other_rules(self) -> None:
        world = opened(POD)
        world.registry.publish(HOST, rules("v1"))
        world.registry.publish(Scope(NAMESPACE, "other"), rules("v2"))
        proxy = running(world)
        moved = Pod(NAMESPACE, POD.name, POD.uid, "other")
        world.registry.set_pod(moved)
        assert proxy.ended == "UNAVAILABLE"
        assert world.connect(moved, version="v1").take().version == "v2"


class TestReports:
    def test_the_version_in_force_is_known_when_a_proxy_connects_and_nothing_is_pushed(self) -> None:
        world = opened(POD)
        world.registry.publish(HOST, rules("v1"))
        proxy = world.connect(version="v1")
        assert proxy.receive() is None
        assert world.reports == [
            Report(POD, names.RULES_FILTER, ReportKind.CONNECTED, "v1", "", world.now),
        ]
        assert world.registry.snapshot().pushes == 0

    def test_an_acknowledgement_is_reported_with_its_version(self) -> None:
        world = opened(POD)
        world.registry.publish(HOST, rules("v1"))
        running(world)
        assert [each.version for each in world.told(ReportKind.ACKNOWLEDGED)] == ["v1"]

    def test_a_refusal_is_reported_with_both_versions_and_followed_by_the_last_good_one(self) -> None:
        world = opened(POD)
        world.registry.publish(HOST, rules("v1", 1))
        proxy = running(world)
        world.registry.publish(HOST, rules("v2", 2))
        proxy.refuse(proxy.take(), keeping="v1", error="line 2:\n unexpected 'then'")
        repair = proxy.take()
        proxy.acknowledge(repair)
        assert repair.version == "v1"
        (refused,) = world.told(ReportKind.REFUSED)
        assert (refused.version, refused.refused) == ("v1", "v2")
        assert refused.error == "line 2: unexpected 'then'"
        assert [each.version for each in world.told(ReportKind.ACKNOWLEDGED)] == ["v1", "v1"]
        assert proxy.receive() is None

    def test_a_refused_version_is_offered_to_no_other_proxy_and_all_are_reported(self) -> None:
        world = opened(POD, OTHER_POD)
        world.registry.publish(HOST, rules("v1", 1))
        first, second = running(world, POD), running(world, OTHER_POD)
        world.registry.publish(HOST, rules("v2", 2))
        first.refuse(first.take(), keeping="v1")
        assert second.receive() is None
        newcomer = world.connect(OTHER_POD)
        assert newcomer.take().version == "v1"
        assert {(each.pod.name, each.refused) for each in world.told(ReportKind.REFUSED)} == {
            ("web-1", "v2"),
            ("web-2", "v2"),
        }

    def test_a_hostile_proxy_cannot_keep_a_revocation_from_the_others(self) -> None:
        """It refuses on purpose what the others run: they, and newcomers, get it all the same."""
        world = opened(POD, OTHER_POD)
        world.registry.publish(ALL, revocation("r1"))
        honest = world.connect(OTHER_POD, resource=names.REVOCATION_FILTER)
        hostile = world.connect(POD, resource=names.REVOCATION_FILTER)
        push, other = honest.take(), hostile.take()
        hostile.say(resource=(names.REVOCATION_FILTER,), nonce=other.nonce, error="no")
        honest.say(resource=(names.REVOCATION_FILTER,), nonce=push.nonce, version="r1")
        newcomer = world.connect(OTHER_POD, resource=names.REVOCATION_FILTER)
        assert newcomer.take().version == "r1"

    def test_the_end_of_a_stream_is_reported_with_the_last_version_known(self) -> None:
        world = opened(POD)
        world.registry.publish(HOST, rules("v1"))
        running(world).leave()
        assert [each.version for each in world.told(ReportKind.DISCONNECTED)] == ["v1"]

    def test_a_stream_that_a_newer_one_replaced_is_not_reported_as_an_end(self) -> None:
        world = opened(POD)
        older = world.connect()
        newer = world.connect()
        older.leave()
        assert older.ended == "ABORTED"
        assert not world.told(ReportKind.DISCONNECTED)
        newer.leave()
        assert len(world.told(ReportKind.DISCONNECTED)) == 1

    def test_a_stream_that_never_was_a_pod_is_not_reported(self) -> None:
        world = opened()
        world.connect().leave()
        assert not world.reports

    def test_nothing_is_reported_when_the_server_stops(self) -> None:
        world = opened(POD)
        proxy = world.connect()
        world.reports.clear()
        world.registry.stop()
        proxy.leave()
        assert proxy.ended == "UNAVAILABLE"
        assert not world.reports
        with pytest.raises(StreamEnded):
            world.connect()

    def test_a_receiver_of_reports_that_fails_harms_nobody(self) -> None:
        def fail(_: Report) -> None:
            raise RuntimeError("bug in the controller")

        world = opened(POD)
        world.registry = Registry(limits=Limits(), on_report=fail, clock=lambda: 0.0)
        world.registry.set_namespace(NAMESPACE, NAMESPACE_UID)
        world.registry.set_pod(POD)
        world.registry.open()
        world.registry.publish(HOST, rules("v1"))
        assert world.connect().take().version == "v1"


class TestLostAnswers:
    """Envoy acknowledges, without running them, bytes that equal the last ones it refused."""

    def test_a_push_whose_answer_was_lost_is_repeated_with_other_bytes(self) -> None:
        world = opened(POD)
        world.registry.publish(HOST, rules("v1"))
        proxy = world.connect()
        lost = proxy.take()
        proxy.leave()
        again = world.connect().take()
        assert again.version == lost.version
        assert again.data != lost.data

    def test_also_when_the_new_stream_comes_before_the_old_one_is_noticed_to_be_gone(self) -> None:
        world = opened(POD)
        world.registry.publish(HOST, rules("v1"))
        lost = world.connect().take()
        assert world.connect().take().data != lost.data

    def test_a_push_that_was_answered_is_shared_by_all_proxies(self) -> None:
        world = opened(POD, OTHER_POD)
        world.registry.publish(HOST, rules("v1"))
        first = world.connect(POD).take()
        assert first.data == world.connect(OTHER_POD).take().data

    def test_a_proxy_that_does_not_answer_in_time_is_ended(self) -> None:
        world = opened(POD)
        world.registry.publish(HOST, rules("v1"))
        proxy = world.connect()
        proxy.take()
        world.now += Limits().answer_seconds
        world.registry.expire(proxy.session, now=world.now)
        assert proxy.ended == "DEADLINE_EXCEEDED"

    def test_a_proxy_that_answered_has_all_the_time(self) -> None:
        world = opened(POD)
        world.registry.publish(HOST, rules("v1"))
        proxy = running(world)
        world.registry.expire(proxy.session, now=world.now + 1e6)
        assert proxy.ended is None


class TestPublishing:
    def test_the_same_script_again_is_pushed_to_nobody(self) -> None:
        world = opened(POD)
        world.registry.publish(HOST, rules("v1", 1))
        proxy = running(world)
        world.registry.publish(HOST, rules("v1", 2))
        assert proxy.receive() is None

    def test_a_withdrawn_script_is_not_pushed_to_newcomers_and_stays_where_it_is(self) -> None:
        world = opened(POD, OTHER_POD)
        world.registry.publish(HOST, rules("v1"))
        proxy = running(world)
        world.registry.withdraw(HOST, names.RULES_FILTER)
        assert proxy.receive() is None
        assert world.connect(OTHER_POD).receive() is None

    def test_an_older_script_that_is_published_again_is_pushed_again(self) -> None:
        world = opened(POD)
        world.registry.publish(HOST, rules("v1", 1))
        proxy = running(world)
        world.registry.publish(HOST, rules("v2", 2))
        proxy.acknowledge(proxy.take())
        world.registry.publish(HOST, rules("v1", 3))
        assert proxy.take().version == "v1"

    def test_a_removed_pod_loses_its_streams_and_comes_back_as_an_unknown_one(self) -> None:
        world = opened(POD)
        proxy = world.connect()
        world.registry.remove_pod(NAMESPACE, POD.uid)
        assert proxy.ended == "UNAVAILABLE"
        proxy.leave()
        assert world.connect().receive() is None
        assert world.registry.snapshot().pending == 1

    def test_the_counts_are_those_of_what_happened(self) -> None:
        world = opened(POD, OTHER_POD)
        world.registry.publish(HOST, rules("v1"))
        running(world)
        other = world.connect(OTHER_POD)
        other.refuse(other.take())
        world.connect(Pod(NAMESPACE, "new", "pod-uid-9", "api"))
        counts = world.registry.snapshot()
        assert (counts.streams, counts.pending, counts.pushes, counts.refusals) == (3, 1, 2, 1)

    def test_a_namespace_without_anything_leaves_nothing_behind(self) -> None:
        world = opened(POD)
        world.registry.publish(HOST, rules("v1"))
        proxy = world.connect()
        world.registry.set_namespace(NAMESPACE, None)
        proxy.leave()
        assert not world.registry._tenants
