"""Chains: who is an authority, and how deep it may go."""

from __future__ import annotations

from collections.abc import Sequence

from tests.support import forge
from tests.support.chains import Difference, Outcome, Story, case
from tests.support.forge import Forged

V, U, R = Outcome.VERIFIED, Outcome.UNVERIFIED, Outcome.REFUSED

CONSTRAINTS = "2.5.29.19"


@case(V)
def path_length_kept(story: Story) -> Sequence[Forged]:
    """[root: pathlen 0] -> leaf."""
    return story.rooted(forge.basic_constraints(authority=True, depth=0))


@case(V, but=Difference.ANCHOR_IS_TRUSTED)
def path_length_of_the_root_exceeded(story: Story) -> Sequence[Forged]:
    """[root: pathlen 0] -> middle (sent) -> leaf."""
    root = story.authority("root", None, forge.basic_constraints(authority=True, depth=0))
    middle = story.authority("middle", root)
    story.trust(root)
    story.may_issue(middle)
    return [story.leaf(middle), middle]


@case(U)
def path_length_exceeded(story: Story) -> Sequence[Forged]:
    """[root] -> outer: pathlen 0 (sent) -> inner (sent) -> leaf."""
    root = story.authority("root")
    outer = story.authority("outer", root, forge.basic_constraints(authority=True, depth=0))
    inner = story.authority("inner", outer)
    story.trust(root)
    story.may_issue(inner)
    return [story.leaf(inner), inner, outer]


@case(V, but=Difference.ANCHOR_IS_TRUSTED)
def path_length_exceeded_in_the_bundle(story: Story) -> Sequence[Forged]:
    """[root: pathlen 0] -> [middle] -> leaf: an anchor is no longer one with its root beside it."""
    root = story.authority("root", None, forge.basic_constraints(authority=True, depth=0))
    middle = story.authority("middle", root)
    story.trust(root, middle)
    return [story.leaf(middle)]


@case(V, but=Difference.ANCHOR_IS_TRUSTED)
def path_length_exceeded_below_the_bundle(story: Story) -> Sequence[Forged]:
    """[root] -> [outer: pathlen 0] -> inner (sent) -> leaf."""
    root = story.authority("root")
    outer = story.authority("outer", root, forge.basic_constraints(authority=True, depth=0))
    inner = story.authority("inner", outer)
    story.trust(root, outer)
    story.may_issue(inner)
    return [story.leaf(inner), inner]


@case(V, but=Difference.ANCHOR_IS_TRUSTED)
def leaf_without_usages_in_the_bundle_signs(story: Story) -> Sequence[Forged]:
    """Root -> [leaf: not a CA, no key usage; named as an issuer] -> leaf: so the operator takes only CAs."""
    parent = story.leaf(story.authority("root"), text="parent", without=["2.5.29.15"])
    story.trust(parent)
    return [story.leaf(parent)]


@case(V)
def path_length_of_one(story: Story) -> Sequence[Forged]:
    """[root: pathlen 1] -> middle (sent) -> leaf."""
    root = story.authority("root", None, forge.basic_constraints(authority=True, depth=1))
    middle = story.authority("middle", root)
    story.known(root)
    story.may_issue(middle)
    return [story.leaf(middle), middle]


@case(V)
def path_length_and_a_new_key(story: Story) -> Sequence[Forged]:
    """[root: pathlen 0] -> root's name, new key (sent) -> leaf: self-issued, not counted (RFC 5280, 6.1.4)."""
    root = story.authority("root", None, forge.basic_constraints(authority=True, depth=0))
    fresh = story.authority("root", root)
    story.known(root)
    story.may_issue(fresh)
    return [story.leaf(fresh), fresh]


@case(U)
def path_length_negative(story: Story) -> Sequence[Forged]:
    """[root] -> middle: pathlen -1 (sent) -> leaf."""
    return story.through(forge.basic_constraints(authority=True, depth=-1))


@case(V)
def path_length_huge(story: Story) -> Sequence[Forged]:
    """[root] -> middle: pathlen 2^70 (sent) -> leaf."""
    return story.through(forge.basic_constraints(authority=True, depth=2**70))


@case(V)
def basic_constraints_uncritical(story: Story) -> Sequence[Forged]:
    """[root] -> middle: CA, not critical (sent) -> leaf."""
    return story.through(forge.basic_constraints(authority=True).uncritical())


@case(U)
def middle_is_no_authority(story: Story) -> Sequence[Forged]:
    """[root] -> middle: not a CA, with keyCertSign (sent) -> leaf."""
    return story.through(forge.basic_constraints(authority=False))


@case(U)
def middle_does_not_say_what_it_is(story: Story) -> Sequence[Forged]:
    """[root] -> middle: no basic constraints, with keyCertSign (sent) -> leaf."""
    return story.through(without=[CONSTRAINTS])


@case(V, but=Difference.ANCHOR_IS_TRUSTED)
def root_is_no_authority(story: Story) -> Sequence[Forged]:
    """[root: not a CA] -> leaf."""
    return story.rooted(forge.basic_constraints(authority=False))


@case(V, but=Difference.ANCHOR_IS_TRUSTED)
def root_does_not_say_what_it_is(story: Story) -> Sequence[Forged]:
    """[root: no basic constraints] -> leaf."""
    return story.rooted(without=[CONSTRAINTS])


@case(U)
def leaf_signed_by_a_leaf(story: Story) -> Sequence[Forged]:
    """[root] -> leaf (sent) -> leaf."""
    root = story.authority("root")
    story.trust(root)
    parent = story.leaf(root, text="parent")
    story.may_issue(parent)
    return [story.leaf(parent), parent]


@case(U, but=Difference.ANCHOR_IS_JUDGED)
def leaf_signed_by_a_leaf_in_the_bundle(story: Story) -> Sequence[Forged]:
    """[root] -> [leaf] -> leaf."""
    root = story.authority("root")
    parent = story.leaf(root, text="parent")
    story.trust(root, parent)
    return [story.leaf(parent)]


@case(V)
def leaf_is_an_authority(story: Story) -> Sequence[Forged]:
    """[root] -> leaf: CA, with digitalSignature and keyCertSign: RFC 5280 allows it."""
    return story.direct(
        forge.basic_constraints(authority=True), forge.key_usage(forge.DIGITAL_SIGNATURE, forge.KEY_CERT_SIGN)
    )


@case(V)
def leaf_does_not_say_what_it_is(story: Story) -> Sequence[Forged]:
    """[root] -> leaf: no basic constraints."""
    return story.direct(without=[CONSTRAINTS])


@case(U, but=Difference.HELD)
def leaf_with_a_path_length(story: Story) -> Sequence[Forged]:
    """[root] -> leaf: not a CA, with pathlen 0, which RFC 5280, 4.2.1.9 forbids."""
    return story.direct(forge.basic_constraints(authority=False, depth=0))
