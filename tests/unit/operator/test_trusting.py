"""Who wants the CA of which namespace, as it is seen: found by that namespace, without a look at all hosts."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.builders import grant, host

from mtls_operator.cluster import Kind
from mtls_operator.controller.grants import Grants
from mtls_operator.controller.world import World


@pytest.fixture
def world() -> World:
    return World()


def seen(world: World, version: int, *granters: str, status: tuple[str, ...] = (), port: Any = 8080) -> None:
    body = host(
        clientCAs={"managedFrom": [{"namespace": name} for name in granters]}, workload={"port": port}
    )
    body["metadata"] |= {"uid": "uid-1", "resourceVersion": str(version), "generation": 1}
    body["metadata"]["creationTimestamp"] = "2026-03-01T12:00:00Z"
    body["status"] = {"clientCAs": [{"subject": "", "source": f"managedFrom/{name}"} for name in status]}
    world.observe(Kind.HOST, body)


def gone(world: World, version: int) -> None:
    body = host()
    body["metadata"] |= {"uid": "uid-1", "resourceVersion": str(version)}
    world.forget(Kind.HOST, body)


def test_a_host_is_found_by_each_namespace_that_it_names(world: World) -> None:
    seen(world, 1, "partners", "fleet")
    assert world.trusting("partners") == world.trusting("fleet") == [("shop", "api")]
    assert world.trusting("shop") == []


def test_one_that_names_it_no_more_is_found_until_its_status_says_so_too(world: World) -> None:
    seen(world, 1, "partners")
    seen(world, 2, status=("partners",))
    assert world.trusting("partners") == [("shop", "api")]
    seen(world, 3)
    assert world.trusting("partners") == []


def test_one_that_cannot_be_read_is_found_by_its_status(world: World) -> None:
    seen(world, 1, "partners")
    seen(world, 2, "partners", status=("partners",), port="nonsense")
    assert world.trusting("partners") == [("shop", "api")]


def test_one_that_is_gone_is_not_found(world: World) -> None:
    seen(world, 1, "partners", status=("fleet",))
    gone(world, 2)
    assert world.trusting("partners") == world.trusting("fleet") == []


def test_an_older_view_changes_nothing(world: World) -> None:
    seen(world, 5, "partners")
    seen(world, 4, "fleet")
    gone(world, 3)
    assert world.trusting("partners") == [("shop", "api")]
    assert world.trusting("fleet") == []


# Grants


def namespace(world: World, name: str, made: str, *, version: int = 1, **metadata: Any) -> None:
    body = {"metadata": {"name": name, "uid": f"uid-{made}", "resourceVersion": str(version), **metadata}}
    body["metadata"]["creationTimestamp"] = made
    world.observe(Kind.NAMESPACE, body)


def granting(made: str, *consumers: str, name: str = "client-ca") -> Any:
    body = grant(*consumers, name=name)
    body["metadata"]["creationTimestamp"] = made
    return body


NOON, LATER = "2026-03-01T12:00:00Z", "2026-03-01T12:00:01Z"


def test_a_grant_is_news_when_it_says_something_else(world: World) -> None:
    grants = Grants(world)
    assert grants.seen(granting(NOON, "shop"))
    assert not grants.seen(granting(NOON, "shop"))
    assert grants.seen(granting(NOON, "shop", "web"))


def test_a_namespace_that_was_not_seen_or_is_ending_lets_nobody(world: World) -> None:
    grants = Grants(world)
    grants.seen(granting(NOON, "shop"))
    assert not grants.allows("partners", "shop")
    namespace(world, "partners", NOON)
    assert grants.allows("partners", "shop")
    namespace(world, "partners", NOON, version=2, deletionTimestamp=LATER)
    assert not grants.allows("partners", "shop")


def test_a_namespace_that_was_made_again_lets_nobody_by_what_its_former_life_said(world: World) -> None:
    grants = Grants(world)
    namespace(world, "partners", NOON)
    grants.seen(granting(NOON, "shop"))
    namespace(world, "partners", LATER, version=2)
    assert not grants.allows("partners", "shop")
    assert not grants.has_any("partners")
    grants.seen(granting(LATER, "shop"))
    assert grants.allows("partners", "shop")
    assert grants.has_any("partners")


def test_a_grant_that_is_gone_lets_nobody_and_another_one_still_does(world: World) -> None:
    grants = Grants(world)
    namespace(world, "partners", NOON)
    grants.seen(granting(NOON, "shop"))
    grants.seen(granting(NOON, "shop", "web", name="second"))
    grants.gone("partners", "client-ca")
    assert grants.allows("partners", "shop")
    grants.gone("partners", "second")
    grants.gone("partners", "never-there")
    assert not grants.allows("partners", "shop")
