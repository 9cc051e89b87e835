"""``kubectl mtls ca rotate``: sets the annotation that the operator goes by, and follows what becomes of it."""

from __future__ import annotations

import argparse
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from mtls_operator.api import names
from mtls_operator.api.timestamp import format_timestamp
from mtls_operator.cli import clock
from mtls_operator.cli.access import Access, on_cluster, operator_namespace
from mtls_operator.cli.ca.generations import (
    Generation,
    GivenSecret,
    none_kept,
    read_given,
    read_kept,
    signs_nothing,
)
from mtls_operator.cli.ca.progress import missing_to_reissue, missing_to_retire, missing_to_sign
from mtls_operator.cli.errors import Exit, Refused, Unanswered
from mtls_operator.cli.screen import Screen
from mtls_operator.cli.waiting import wait
from mtls_operator.cluster import Cluster, Kind
from mtls_operator.plan.authority import Phase

_GIVE = (
    "the CA that signs was given to the operator (Secret {secret}): give the next one in a Secret of the operator's "
    f"namespace with the label {names.ISSUING_CA_LABEL}={{namespace}}, and it follows by itself. With "
    "--made-by-operator the operator makes it"
)


def run(parsed: argparse.Namespace, screen: Screen) -> Exit:
    """Replace the CA."""
    if parsed.compromised and parsed.made_by_operator:
        raise Unanswered("--compromised does not wait for anything: leave --made-by-operator out")
    if parsed.generation is not None and not parsed.compromised:
        raise Unanswered("--generation is for --compromised: any other rotation is of the CA that signs")

    async def work(cluster: Cluster, namespace: str) -> None:
        operator = operator_namespace(parsed)
        kept = await read_kept(cluster, namespace, operator)
        if not kept:
            raise Refused(await none_kept(cluster, namespace, operator))
        old = _chosen(kept, parsed.generation, namespace)
        given = await next_given(cluster, namespace, operator, kept) if old.given_by else None
        if parsed.compromised and not parsed.yes:
            _confirm(screen, old, namespace, given=given)
        if old.given_by and given is None and not parsed.compromised and not parsed.made_by_operator:
            raise Refused(_GIVE.format(secret=old.given_by, namespace=namespace))
        how = _how(parsed)
        await rotate(cluster, operator, old, how, screen)
        goal = parsed.wait_for or ("signs" if parsed.wait else None)
        if goal is not None:
            await follow(cluster, namespace, operator, old, screen, goal=goal, timeout=parsed.timeout)

    on_cluster(Access.of(parsed), work)
    return Exit.FINE


def _how(parsed: argparse.Namespace) -> str:
    """Return what the annotation says."""
    if parsed.compromised:
        return names.ROTATE_COMPROMISED
    return names.ROTATE_MADE if parsed.made_by_operator else format_timestamp(clock.utc_now())


async def next_given(
    cluster: Cluster, namespace: str, operator: str, kept: Sequence[Generation]
) -> GivenSecret | None:
    """Return the Secret whose CA comes next: one that is not refused, and is no generation yet."""
    known = {one.facts.fingerprint_sha256 for one in kept}
    given = await read_given(cluster, namespace, operator)
    return next((one for one in given if one.digest and not one.refused and one.digest not in known), None)


async def rotate(cluster: Cluster, operator: str, old: Generation, how: str, screen: Screen) -> None:
    """Ask for the rotation, unless the very same is under way."""
    if old.rotate == names.ROTATE_COMPROMISED or (old.rotate and how != names.ROTATE_COMPROMISED):
        screen.line(f"the rotation of generation {old.generation} is under way already")
        return
    patch = {"metadata": {"annotations": {names.ROTATE_ANNOTATION: how}}}
    await cluster.patch(Kind.SECRET, operator, old.name, patch)
    screen.line(f"generation {old.generation} of the CA is asked to be replaced")


async def follow(  # noqa: PLR0913 - the parts of one wait
    cluster: Cluster,
    namespace: str,
    operator: str,
    old: Generation,
    screen: Screen,
    *,
    goal: str,
    timeout: float,  # noqa: ASYNC109 - of the whole wait, with a message of its own
) -> None:
    """Wait until the new CA signs, and until certificates are reissued or the old one is retired where wanted."""
    steps: dict[str, tuple[Callable[[], Awaitable[str]], str]] = {
        "signs": (
            partial(missing_to_sign, cluster, namespace, operator, after=old.generation),
            "the new CA signs",
        ),
        "reissued": (
            partial(missing_to_reissue, cluster, namespace, operator),
            "every ClientCertificate has a certificate of the new CA",
        ),
        "retired": (
            partial(missing_to_retire, cluster, namespace, operator, generation=old.generation),
            f"generation {old.generation} counts no more",
        ),
    }
    wanted = {"signs": ("signs",), "reissued": ("signs", "reissued"), "retired": ("signs", "retired")}[goal]
    left, total = timeout, 0.0
    for step in wanted:
        if step == "signs" and old.phase in (Phase.RETIRING, Phase.RETIRED):
            continue
        look, done = steps[step]
        took = await wait(look, screen, timeout=left)
        total, left = total + took, left - took
        screen.line(f"{done}, after {total:.1f} s")


def _chosen(kept: Sequence[Generation], generation: int | None, namespace: str) -> Generation:
    """Return the generation to replace.

    Raises:
        Refused: there is none, or a rotation is between two steps.
    """
    if generation is None:
        found = next((one for one in kept if one.phase is Phase.ACTIVE), None)
        if found is None:
            raise Refused(
                signs_nothing(kept)
                or f"namespace {namespace} has no CA that signs now: the next one follows within seconds"
            )
        return found
    found = next((one for one in kept if one.generation == generation), None)
    if found is None or found.phase in (Phase.PREPARED, Phase.RETIRED):
        raise Refused(f"no generation {generation} of the CA of namespace {namespace} counts now")
    return found


def _confirm(screen: Screen, old: Generation, namespace: str, *, given: GivenSecret | None) -> None:
    screen.note(
        f"Every certificate of generation {old.generation} ({old.facts.subject}) in namespace {namespace} will be\n"
        "refused at once. Certificates with a key of ours get new ones; everybody has to fetch them."
    )
    if old.given_by and given is None:
        screen.note(
            "This CA was given to the operator, and no other one is: the operator makes the next one itself, since\n"
            "nothing may wait. Give one of your own afterwards, and it follows."
        )
    if not screen.ask("Drop this CA now?"):
        raise Refused("nothing was changed; say yes on a terminal, or use --yes")
