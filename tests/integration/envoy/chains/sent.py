"""Chains: what is in the bundle, what the client sends, and how long a chain may be."""

from __future__ import annotations

from collections.abc import Sequence

from tests.support.chains import Difference, Outcome, Story, case
from tests.support.forge import Forged

V, U, R = Outcome.VERIFIED, Outcome.UNVERIFIED, Outcome.REFUSED


def _line(story: Story, count: int) -> list[Forged]:
    """Return a root and ``count`` authorities below it, each signed by the one before."""
    line = [story.authority("root")]
    for number in range(count):
        line.append(story.authority(f"middle {number}", line[-1]))
    return line


def _deep(story: Story, count: int) -> Sequence[Forged]:
    line = _line(story, count)
    story.known(line[0])
    story.may_issue(line[-1])
    return [story.leaf(line[-1]), *reversed(line[1:])]


@case(V)
def middle_sent(story: Story) -> Sequence[Forged]:
    """[root] -> middle (sent) -> leaf; the host names the middle one as an issuer."""
    return story.through()


@case(U, but=Difference.ISSUER_UNNAMED)
def middle_sent_but_not_named(story: Story) -> Sequence[Forged]:
    """[root] -> middle (sent) -> leaf; the host names the root alone as an issuer."""
    root, middle = _line(story, 1)
    story.trust(root)
    return [story.leaf(middle), middle]


@case(V)
def middle_in_bundle(story: Story) -> Sequence[Forged]:
    """[root] -> [middle] -> leaf, sent alone."""
    root, middle = _line(story, 1)
    story.trust(root, middle)
    return [story.leaf(middle)]


@case(V)
def middle_in_bundle_and_sent(story: Story) -> Sequence[Forged]:
    """[root] -> [middle] (sent too) -> leaf."""
    root, middle = _line(story, 1)
    story.trust(root, middle)
    return [story.leaf(middle), middle]


@case(V)
def middle_without_its_root(story: Story) -> Sequence[Forged]:
    """Root -> [middle] -> leaf: a trust anchor need not be self-signed (RFC 5280, 6.1)."""
    middle = _line(story, 1)[-1]
    story.trust(middle)
    return [story.leaf(middle)]


@case(V)
def middle_without_its_root_which_is_sent(story: Story) -> Sequence[Forged]:
    """Root (sent) -> [middle] (sent too) -> leaf."""
    root, middle = _line(story, 1)
    story.trust(middle)
    return [story.leaf(middle), middle, root]


@case(U)
def middle_missing(story: Story) -> Sequence[Forged]:
    """[root] -> middle (nowhere) -> leaf."""
    root, middle = _line(story, 1)
    story.trust(root)
    story.may_issue(middle)
    return [story.leaf(middle)]


@case(U)
def root_not_in_bundle(story: Story) -> Sequence[Forged]:
    """Root (sent) -> middle (sent) -> leaf; the bundle has neither, and both are named as issuers."""
    root, middle = _line(story, 1)
    story.may_issue(root, middle)
    return [story.leaf(middle), middle, root]


@case(V)
def root_sent(story: Story) -> Sequence[Forged]:
    """[root] (sent too) -> middle (sent) -> leaf."""
    return [*story.through(), story.bundle[0]]


@case(V)
def two_middles_in_the_wrong_order(story: Story) -> Sequence[Forged]:
    """[root] -> middle 0 (sent second) -> middle 1 (sent last) -> leaf."""
    leaf, inner, outer = _deep(story, 2)
    return [leaf, outer, inner]


@case(V)
def strangers_sent(story: Story) -> Sequence[Forged]:
    """[root] -> middle (sent last) -> leaf, with a foreign root and a foreign leaf between."""
    leaf, middle = story.through()
    foreign = story.authority("foreign")
    return [leaf, story.leaf(foreign), foreign, middle]


@case(V)
def leaf_sent_twice(story: Story) -> Sequence[Forged]:
    """[root] -> leaf (sent twice)."""
    return [*story.direct()] * 2


@case(V)
def three_authorities_sent(story: Story) -> Sequence[Forged]:
    """[root] -> 0 -> 1 -> 2 (all sent) -> leaf: five certificates."""
    return _deep(story, 3)


@case(U, but=Difference.DEPTH)
def four_authorities_sent(story: Story) -> Sequence[Forged]:
    """[root] -> 0 -> 1 -> 2 -> 3 (all sent) -> leaf."""
    return _deep(story, 4)


@case(U, but=Difference.DEPTH)
def thirty_authorities_sent(story: Story) -> Sequence[Forged]:
    """[root] -> 0 -> ... -> 29 (all sent) -> leaf."""
    return _deep(story, 30)


@case(V)
def thirty_strangers_sent(story: Story) -> Sequence[Forged]:
    """[root] -> leaf, sent with thirty authorities that have nothing to do with it."""
    return [*story.direct(), *(story.authority(f"stranger {number}") for number in range(30))]


@case(U)
def thirty_of_one_name_sent(story: Story) -> Sequence[Forged]:
    """[root] -> middle (nowhere) -> leaf, sent with thirty authorities of the middle one's name."""
    root = story.authority("root")
    middle = story.authority("middle", root)
    story.trust(root)
    story.may_issue(middle)
    return [story.leaf(middle), *(story.authority("middle", root) for _ in range(30))]


@case(U)
def self_signed(story: Story) -> Sequence[Forged]:
    """leaf, signed by itself, beside a [root] that does not know it."""
    story.trust(story.authority("root"))
    return [story.leaf(None)]


@case(U, but=Difference.LEAF_IS_NO_ANCHOR)
def self_signed_in_the_bundle(story: Story) -> Sequence[Forged]:
    """[leaf], signed by itself and named as an issuer."""
    leaf = story.leaf(None)
    story.trust(leaf)
    return [leaf]


@case(U, but=Difference.LEAF_IS_NO_ANCHOR)
def self_signed_in_the_bundle_but_not_named(story: Story) -> Sequence[Forged]:
    """[leaf], signed by itself; the bundle alone lets nobody in."""
    leaf = story.leaf(None)
    story.known(leaf)
    return [leaf]


@case(U)
def leaf_in_the_bundle(story: Story) -> Sequence[Forged]:
    """Root -> [leaf], named as an issuer."""
    leaf = story.leaf(story.authority("root"))
    story.trust(leaf)
    return [leaf]


@case(V)
def leaf_in_the_bundle_with_its_root(story: Story) -> Sequence[Forged]:
    """[root] -> [leaf]; the root is named as an issuer."""
    root = story.authority("root")
    leaf = story.leaf(root)
    story.trust(root)
    story.known(leaf)
    return [leaf]


@case(R)
def root_sent_as_leaf(story: Story) -> Sequence[Forged]:
    """[root] (sent as the client's own): an authority without digitalSignature."""
    root = story.authority("root")
    story.trust(root)
    return [root]
