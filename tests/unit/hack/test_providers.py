"""Which provider runs a cluster, and which contexts are never touched unasked."""

from __future__ import annotations

import pytest
from testcluster.current import choose_context
from testcluster.errors import ClusterError
from testcluster.providers import Provider, choose

OWN = "mtls-operator-mtls"


def chosen(
    asked: Provider | None = None, recorded: Provider | None = None, kind: str = "", local: str = ""
) -> Provider:
    return choose(asked, recorded=recorded, kind_missing=kind, local_missing=local)


def test_kind_is_first_where_it_works() -> None:
    assert chosen() is Provider.KIND


def test_without_docker_the_cluster_is_built_here() -> None:
    assert chosen(kind="no Docker") is Provider.LOCAL


def test_when_nothing_works_the_message_says_why_for_each() -> None:
    with pytest.raises(ClusterError, match=r"no Docker.*no Go.*--provider current"):
        chosen(kind="no Docker", local="no Go")


def test_a_cluster_of_somebody_else_is_never_chosen_unasked() -> None:
    with pytest.raises(ClusterError):
        chosen(kind="x", local="y")
    assert chosen(asked=Provider.CURRENT) is Provider.CURRENT


def test_a_cluster_stays_with_the_provider_that_made_it() -> None:
    assert chosen(recorded=Provider.LOCAL) is Provider.LOCAL


def test_asking_for_another_provider_than_the_recorded_one_is_refused() -> None:
    with pytest.raises(ClusterError, match="made with --provider local"):
        chosen(asked=Provider.KIND, recorded=Provider.LOCAL)


def context(named: str | None, current: str, contexts: tuple[str, ...] = ("prod", OWN)) -> str:
    return choose_context(named, contexts=contexts, current=current, own=OWN)


@pytest.mark.parametrize("current", ["prod", "", f"{OWN}x", f"x-{OWN}", "kind-other", "kind-"])
def test_a_current_context_that_this_tool_did_not_make_is_refused(current: str) -> None:
    with pytest.raises(ClusterError, match="did not create"):
        context(None, current)


@pytest.mark.parametrize("current", [OWN, f"kind-{OWN}"])
def test_a_current_context_of_our_own_needs_no_name(current: str) -> None:
    assert context(None, current) == current


def test_a_context_that_is_named_is_used_whatever_is_current() -> None:
    assert context("prod", "other") == "prod"


def test_a_named_context_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ClusterError, match="no context 'prdo'"):
        context("prdo", "prod")
