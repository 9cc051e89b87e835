"""Chains: authorities that look like others, and authorities that are known in several ways."""

from __future__ import annotations

from collections.abc import Sequence

from cryptography.hazmat.primitives.asymmetric import ec
from tests.support import der, forge
from tests.support.chains import DAY, Difference, Outcome, Story, case
from tests.support.forge import Forged

V, U, R = Outcome.VERIFIED, Outcome.UNVERIFIED, Outcome.REFUSED

AUTHORITY_KEY, SUBJECT_KEY = "2.5.29.35", "2.5.29.14"


def _new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@case(U)
def same_name_other_key(story: Story) -> Sequence[Forged]:
    """[root]; another root of the same name -> leaf, sent alone."""
    story.trust(story.authority("root"))
    return [story.leaf(story.authority("root"))]


@case(U)
def same_name_other_key_sent(story: Story) -> Sequence[Forged]:
    """[root]; another root of the same name (sent) -> leaf."""
    story.trust(story.authority("root"))
    other = story.authority("root")
    return [story.leaf(other), other]


@case(U)
def same_name_and_identifier_other_key(story: Story) -> Sequence[Forged]:
    """[root]; another root of the same name, key identifier and serial number (sent) -> leaf with that identifier."""
    root = story.authority("root")
    story.trust(root)
    identifier = forge.key_identifier(root.key)
    copied = (forge.subject_key(identifier), forge.authority_key(identifier))
    other = story.authority("root", None, *copied)
    return [story.leaf(other, copied[1]), other]


@case(U, but=Difference.ISSUER_UNNAMED)
def same_name_other_key_both_in_bundle_one_named(story: Story) -> Sequence[Forged]:
    """[root], [another root of the same name, not named as an issuer] -> leaf: a bundle is not trust."""
    root, other = story.authority("root"), story.authority("root")
    story.trust(root)
    story.known(other)
    return [story.leaf(other)]


@case(V)
def same_name_other_key_both_named(story: Story) -> Sequence[Forged]:
    """[root], [another root of the same name] -> leaf."""
    root, other = story.authority("root"), story.authority("root")
    story.trust(root, other)
    return [story.leaf(other)]


@case(V)
def same_name_other_key_both_named_first(story: Story) -> Sequence[Forged]:
    """[another root of the same name], [root] -> leaf: the order in the bundle does not matter."""
    other, root = story.authority("root"), story.authority("root")
    story.trust(other, root)
    return [story.leaf(other)]


@case(U, but=Difference.FIRST_PATH)
def same_name_other_key_without_identifiers(story: Story) -> Sequence[Forged]:
    """[root], [another root of the same name] -> leaf, none with a key identifier: the signature alone tells."""
    without = [AUTHORITY_KEY, SUBJECT_KEY]
    roots = [story.authority("root", without=without) for _ in range(3)]
    story.trust(*roots)
    return [story.leaf(roots[1], without=without)]


@case(U)
def same_key_other_name(story: Story) -> Sequence[Forged]:
    """[root under a new name], root -> leaf: names have to chain, whatever the key."""
    root = story.authority("root")
    story.trust(story.authority("new name", key=root.key))
    return [story.leaf(root)]


@case(V)
def same_key_and_name(story: Story) -> Sequence[Forged]:
    """[root made again, same name and key]; root -> leaf."""
    root = story.authority("root")
    story.trust(story.authority("root", key=root.key, serial=2))
    return [story.leaf(root)]


@case(V)
def same_key_and_name_both_named(story: Story) -> Sequence[Forged]:
    """[root], [root made again, same name and key] -> leaf."""
    root = story.authority("root")
    story.trust(root, story.authority("root", key=root.key, serial=2))
    return [story.leaf(root)]


@case(U, but=Difference.FIRST_PATH)
def same_key_and_name_the_first_expired(story: Story) -> Sequence[Forged]:
    """[root: ended yesterday], [root made again] -> leaf."""
    root = story.authority("root", period=(-3 * DAY, -DAY))
    story.trust(root, story.authority("root", key=root.key, serial=2))
    return [story.leaf(root)]


@case(V)
def same_key_and_name_the_second_expired(story: Story) -> Sequence[Forged]:
    """[root made again], [root: ended yesterday] -> leaf."""
    root = story.authority("root", period=(-3 * DAY, -DAY))
    story.trust(story.authority("root", key=root.key, serial=2), root)
    return [story.leaf(root)]


@case(U)
def issued_in_another_name(story: Story) -> Sequence[Forged]:
    """[root] -> leaf: signed by the root, in the name of somebody else."""
    return story.direct(issuer=story.name("somebody else"))


@case(V)
def issuer_in_another_case(story: Story) -> Sequence[Forged]:
    """[root: CN root] -> leaf, whose issuer is CN ROOT with other blanks: equal names (RFC 5280, 7.1)."""
    root = story.authority("root of  all")
    story.trust(root)
    return [story.leaf(root, issuer=story.name(" ROOT OF ALL "))]


@case(V)
def issuer_in_another_string_type(story: Story) -> Sequence[Forged]:
    """[root: names in UTF8String] -> leaf, whose issuer is written in PrintableString: equal names."""
    root = story.authority("root")
    story.trust(root)
    return [story.leaf(root, issuer=story.name("root", der.PRINTABLE))]


@case(V)
def identifier_of_the_leaf_missing(story: Story) -> Sequence[Forged]:
    """[root] -> leaf: no authority key identifier."""
    return story.direct(without=[AUTHORITY_KEY])


@case(V)
def identifier_of_the_root_missing(story: Story) -> Sequence[Forged]:
    """[root: no subject key identifier] -> leaf."""
    return story.rooted(without=[SUBJECT_KEY])


@case(U, but=Difference.IDENTIFIERS)
def identifier_of_another_key(story: Story) -> Sequence[Forged]:
    """[root] -> leaf: its authority key identifier is that of another key; identifiers only help to search."""
    return story.direct(forge.authority_key(forge.key_identifier(_new_key())))


@case(V)
def identifier_by_serial(story: Story) -> Sequence[Forged]:
    """[root: serial number 1] -> leaf: its authority key identifier names issuer and serial number 1."""
    return story.direct(forge.authority_serial(story.name("root"), 1))


@case(U, but=Difference.IDENTIFIERS)
def identifier_by_another_serial(story: Story) -> Sequence[Forged]:
    """[root: serial number 1] -> leaf: its authority key identifier names serial number 2."""
    return story.direct(forge.authority_serial(story.name("root"), 2))


def _crossed(story: Story) -> tuple[Forged, Forged, Forged, Forged]:
    """Return two roots, and one authority as each of them has signed it."""
    one, two = story.authority("one"), story.authority("two")
    mine = story.authority("middle", one)
    theirs = story.authority("middle", two, key=mine.key)
    return one, two, mine, theirs


@case(V)
def cross_signed_by_the_root_that_is_known(story: Story) -> Sequence[Forged]:
    """[one] -> middle (sent) -> leaf; two -> middle (not sent)."""
    one, _, mine, _ = _crossed(story)
    story.known(one)
    story.may_issue(mine)
    return [story.leaf(mine), mine]


@case(U)
def cross_signed_by_a_root_that_is_not(story: Story) -> Sequence[Forged]:
    """[one] -> middle (not sent); two -> middle (sent) -> leaf."""
    one, _, mine, theirs = _crossed(story)
    story.known(one)
    story.may_issue(mine, theirs)
    return [story.leaf(mine), theirs]


@case(V)
def cross_signed_sent_both_known_first(story: Story) -> Sequence[Forged]:
    """[one] -> middle (sent first) -> leaf; two -> middle (sent last)."""
    one, _, mine, theirs = _crossed(story)
    story.known(one)
    story.may_issue(mine)
    return [story.leaf(mine), mine, theirs]


@case(U, but=Difference.FIRST_PATH)
def cross_signed_sent_both_known_last(story: Story) -> Sequence[Forged]:
    """Two -> middle (sent first); [one] -> middle (sent last) -> leaf."""
    one, _, mine, theirs = _crossed(story)
    story.known(one)
    story.may_issue(mine)
    return [story.leaf(mine), theirs, mine]


@case(V)
def cross_signed_and_in_the_bundle(story: Story) -> Sequence[Forged]:
    """[one] -> [middle] -> leaf; two -> middle (sent)."""
    one, _, mine, theirs = _crossed(story)
    story.trust(one, mine)
    return [story.leaf(mine), theirs]


@case(U, but=Difference.ISSUER_UNNAMED)
def cross_signed_but_not_named(story: Story) -> Sequence[Forged]:
    """[one] -> middle (named, not sent); [two] -> middle (sent, not named) -> leaf."""
    one, two, mine, theirs = _crossed(story)
    story.known(one, two)
    story.may_issue(mine)
    return [story.leaf(mine), theirs]


@case(V)
def root_cross_signed_by_a_stranger(story: Story) -> Sequence[Forged]:
    """[root] -> leaf; stranger -> the same root (sent)."""
    root, stranger = story.authority("root"), story.authority("stranger")
    story.trust(root)
    return [story.leaf(root), story.authority("root", stranger, key=root.key), stranger]


@case(U)
def empty_name_of_a_stranger(story: Story) -> Sequence[Forged]:
    """[root]; an authority without any name (sent) -> leaf."""
    story.trust(story.authority("root"))
    nameless = story.authority("", subject=der.sequence())
    return [story.leaf(nameless), nameless]


@case(V, but=Difference.PROFILE)
def empty_name_of_a_middle(story: Story) -> Sequence[Forged]:
    """[root] -> an authority without any name (sent) -> leaf; RFC 5280, 4.1.2.4 wants a name."""
    return story.through(subject=der.sequence())
