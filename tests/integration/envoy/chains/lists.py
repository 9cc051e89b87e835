"""Chains: revocation; whose list counts for which certificate."""

from __future__ import annotations

from collections.abc import Sequence

from tests.support.certs import serial_with_index
from tests.support.chains import DAY, Difference, Outcome, Story, case
from tests.support.forge import Forged

V, U, R = Outcome.VERIFIED, Outcome.UNVERIFIED, Outcome.REFUSED

REVOKED, UNKNOWN = Outcome.REVOKED, Outcome.UNKNOWN
INDEX = 9


@case(REVOKED)
def revoked_leaf(story: Story) -> Sequence[Forged]:
    """[root, which has revoked it] -> leaf."""
    root = story.authority("root")
    story.trust(root)
    story.revoke(root, INDEX)
    return [story.leaf(root, index=INDEX)]


@case(V)
def neighbour_of_a_revoked_leaf(story: Story) -> Sequence[Forged]:
    """[root, which has revoked the two beside it] -> leaf."""
    root = story.authority("root")
    story.trust(root)
    story.revoke(root, INDEX - 1, INDEX + 1)
    return [story.leaf(root, index=INDEX)]


@case(V)
def revoked_by_another_authority(story: Story) -> Sequence[Forged]:
    """[root] -> leaf; [other, which has revoked one of the same serial number]."""
    root, other = story.authority("root"), story.authority("other")
    story.trust(root, other)
    story.revoke(other, INDEX)
    return [story.leaf(root, index=INDEX)]


@case(REVOKED)
def revoked_by_its_own_of_two_authorities(story: Story) -> Sequence[Forged]:
    """[root, which has revoked it] -> leaf; [other], of the same serial number and not revoked."""
    root, other = story.authority("root"), story.authority("other")
    story.trust(other, root)
    story.revoke(root, INDEX)
    return [story.leaf(root, index=INDEX)]


@case(V)
def revoked_by_a_namesake(story: Story) -> Sequence[Forged]:
    """[root] -> leaf; [root of the same name and another key, which has revoked one of the same serial number]."""
    root, other = story.authority("root"), story.authority("root")
    story.trust(root, other)
    story.revoke(other, INDEX)
    return [story.leaf(root, index=INDEX)]


@case(REVOKED)
def revoked_by_the_right_one_of_two_namesakes(story: Story) -> Sequence[Forged]:
    """[root, which has revoked it] -> leaf; [root of the same name and another key]."""
    root, other = story.authority("root"), story.authority("root")
    story.trust(other, root)
    story.revoke(root, INDEX)
    return [story.leaf(root, index=INDEX)]


@case(REVOKED)
def revoked_in_both_certificates_of_an_authority(story: Story) -> Sequence[Forged]:
    """[root], [root made again with the same key], which have both revoked it -> leaf."""
    root = story.authority("root")
    again = story.authority("root", key=root.key, serial=2)
    story.trust(root, again)
    story.revoke(root, INDEX)
    story.revoke(again, INDEX)
    return [story.leaf(root, index=INDEX)]


@case(REVOKED)
def revoked_by_the_middle(story: Story) -> Sequence[Forged]:
    """[root] -> middle, which has revoked it (sent) -> leaf."""
    root = story.authority("root")
    middle = story.authority("middle", root)
    story.trust(root)
    story.may_issue(middle)
    story.revoke(middle, INDEX)
    return [story.leaf(middle, index=INDEX), middle]


@case(V)
def revoked_by_the_root_but_issued_by_the_middle(story: Story) -> Sequence[Forged]:
    """[root, which has revoked one of the same serial number] -> middle (sent) -> leaf."""
    root = story.authority("root")
    middle = story.authority("middle", root)
    story.trust(root)
    story.may_issue(middle)
    story.revoke(root, INDEX)
    return [story.leaf(middle, index=INDEX), middle]


@case(V, but=Difference.MIDDLE_REVOKED)
def revoked_middle(story: Story) -> Sequence[Forged]:
    """[root, which has revoked the middle one] -> middle (sent, named as an issuer) -> leaf."""
    root = story.authority("root")
    middle = story.authority("middle", root, serial=serial_with_index(INDEX))
    story.trust(root)
    story.may_issue(middle)
    story.revoke(root, INDEX)
    return [story.leaf(middle), middle]


@case(U)
def revoked_and_expired(story: Story) -> Sequence[Forged]:
    """[root, which has revoked it] -> leaf: ended yesterday."""
    root = story.authority("root")
    story.trust(root)
    story.revoke(root, INDEX)
    return [story.leaf(root, index=INDEX, period=(-3 * DAY, -DAY))]


@case(U)
def revoked_of_a_stranger(story: Story) -> Sequence[Forged]:
    """[root, which has revoked one of the same serial number]; root of the same name -> leaf."""
    root = story.authority("root")
    story.trust(root)
    story.revoke(root, INDEX)
    return [story.leaf(story.authority("root"), index=INDEX)]


@case(UNKNOWN)
def list_missing(story: Story) -> Sequence[Forged]:
    """[root, whose list is missing] -> leaf: refused by every rule that reads certificates (G1)."""
    root = story.authority("root")
    story.known(root)
    story.issuers[root.digest] = True
    return [story.leaf(root)]


@case(V)
def no_list_wanted(story: Story) -> Sequence[Forged]:
    """[root, which keeps no list] -> leaf."""
    root = story.authority("root")
    story.known(root)
    story.issuers[root.digest] = False
    return [story.leaf(root)]


@case(UNKNOWN)
def revoked_with_a_short_serial(story: Story) -> Sequence[Forged]:
    """[root, which has revoked index 9] -> leaf: serial number 9, of one byte."""
    root = story.authority("root")
    story.trust(root)
    story.revoke(root, INDEX)
    return [story.leaf(root, serial=INDEX)]


@case(UNKNOWN, but=Difference.SERIALS)
def serial_negative_of_a_listed_index(story: Story) -> Sequence[Forged]:
    """[root, which has revoked index 9] -> leaf: serial number -9."""
    root = story.authority("root")
    story.trust(root)
    story.revoke(root, INDEX)
    return [story.leaf(root, serial=-INDEX)]


@case(V)
def serial_of_the_highest_index(story: Story) -> Sequence[Forged]:
    """[root, which has revoked index 9] -> leaf: an index that is newer than the list."""
    root = story.authority("root")
    story.trust(root)
    story.revoke(root, INDEX)
    return [story.leaf(root, index=0xFFFFFFFF)]
