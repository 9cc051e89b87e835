"""Chains: when each certificate is valid."""

from __future__ import annotations

from collections.abc import Sequence

from tests.support import der
from tests.support.chains import DAY, NOW, YEARS, Difference, Outcome, Story, case
from tests.support.forge import Forged

V, U, R = Outcome.VERIFIED, Outcome.UNVERIFIED, Outcome.REFUSED

PAST, FUTURE = (-3 * DAY, -DAY), (DAY, YEARS)


@case(U)
def leaf_expired(story: Story) -> Sequence[Forged]:
    """[root] -> leaf: ended yesterday."""
    return story.direct(period=PAST)


@case(U)
def leaf_not_yet_valid(story: Story) -> Sequence[Forged]:
    """[root] -> leaf: begins tomorrow."""
    return story.direct(period=FUTURE)


@case(U)
def leaf_ends_before_it_begins(story: Story) -> Sequence[Forged]:
    """[root] -> leaf: from tomorrow until yesterday."""
    return story.direct(period=(DAY, -DAY))


@case(U)
def middle_expired(story: Story) -> Sequence[Forged]:
    """[root] -> middle: ended yesterday (sent) -> leaf."""
    return story.through(period=PAST)


@case(U)
def middle_not_yet_valid(story: Story) -> Sequence[Forged]:
    """[root] -> middle: begins tomorrow (sent) -> leaf."""
    return story.through(period=FUTURE)


@case(U, but=Difference.ANCHOR_IS_JUDGED)
def middle_expired_in_the_bundle(story: Story) -> Sequence[Forged]:
    """Root -> [middle: ended yesterday] -> leaf."""
    middle = story.authority("middle", story.authority("root"), period=PAST)
    story.trust(middle)
    return [story.leaf(middle)]


@case(U, but=Difference.ANCHOR_IS_JUDGED)
def root_expired(story: Story) -> Sequence[Forged]:
    """[root: ended yesterday] -> leaf."""
    return story.rooted(period=PAST)


@case(U, but=Difference.ANCHOR_IS_JUDGED)
def root_not_yet_valid(story: Story) -> Sequence[Forged]:
    """[root: begins tomorrow] -> leaf."""
    return story.rooted(period=FUTURE)


@case(U, but=Difference.ANCHOR_IS_JUDGED)
def root_expired_beside_its_middle(story: Story) -> Sequence[Forged]:
    """[root: ended yesterday] -> [middle] -> leaf."""
    root = story.authority("root", period=PAST)
    middle = story.authority("middle", root)
    story.trust(root, middle)
    return [story.leaf(middle)]


@case(V)
def leaf_outlives_its_issuer(story: Story) -> Sequence[Forged]:
    """[root] -> leaf: ends after the root."""
    return story.direct(period=(-DAY, 2 * YEARS))


@case(V)
def leaf_older_than_its_issuer(story: Story) -> Sequence[Forged]:
    """[root] -> leaf: began before the root."""
    return story.direct(period=(-YEARS, DAY))


@case(V)
def leaf_without_an_end(story: Story) -> Sequence[Forged]:
    """[root] -> leaf: until 99991231235959Z, which stands for no end (RFC 5280, 4.1.2.5)."""
    return story.direct(period=(-DAY, der.element(der.GENERAL_TIME, b"99991231235959Z")))


@case(V)
def leaf_from_the_fifties(story: Story) -> Sequence[Forged]:
    """[root] -> leaf: from 1950 on, before Unix time."""
    return story.direct(period=(der.element(der.UTC_TIME, b"500101000000Z"), DAY))


@case(V, but=Difference.PROFILE)
def leaf_with_the_long_form_of_a_near_time(story: Story) -> Sequence[Forged]:
    """[root] -> leaf: a GeneralizedTime before 2050, which authorities must not write (RFC 5280, 4.1.2.5)."""
    return story.direct(period=(-DAY, der.general_time(NOW + DAY)))


@case(R)
def leaf_without_seconds(story: Story) -> Sequence[Forged]:
    """[root] -> leaf: a UTCTime without seconds."""
    return story.direct(period=(-DAY, der.element(der.UTC_TIME, f"{NOW + DAY:%y%m%d%H%M}Z".encode())))


@case(U)
def leaf_with_a_time_zone(story: Story) -> Sequence[Forged]:
    """[root] -> leaf: a UTCTime with an offset instead of Z."""
    return story.direct(period=(-DAY, der.element(der.UTC_TIME, f"{NOW + DAY:%y%m%d%H%M%S}+0100".encode())))


@case(R)
def leaf_of_the_thirtieth_of_february(story: Story) -> Sequence[Forged]:
    """[root] -> leaf: until a day that does not exist."""
    return story.direct(period=(-DAY, der.element(der.UTC_TIME, b"490230000000Z")))
