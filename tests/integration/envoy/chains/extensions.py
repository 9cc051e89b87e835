"""Chains: extensions that are unknown, doubled or malformed."""

from __future__ import annotations

from collections.abc import Sequence

from tests.support import der, forge
from tests.support.chains import Difference, Outcome, Story, case
from tests.support.forge import Extension, Forged

V, U, R = Outcome.VERIFIED, Outcome.UNVERIFIED, Outcome.REFUSED

UNKNOWN = Extension("1.3.6.1.4.1.55555.1", der.octets(b"anything"))
POISON = Extension("1.3.6.1.4.1.11129.2.4.3", der.NULL)
NAMES, KEY_USAGE, EXTENDED, CONSTRAINTS, SUBJECT_KEY = (
    "2.5.29.17",
    "2.5.29.15",
    "2.5.29.37",
    "2.5.29.19",
    "2.5.29.14",
)


@case(V)
def unknown_extension(story: Story) -> Sequence[Forged]:
    """[root] -> leaf: an extension that nobody knows, not critical."""
    return story.direct(UNKNOWN)


@case(U)
def unknown_critical_extension(story: Story) -> Sequence[Forged]:
    """[root] -> leaf: an extension that nobody knows, critical."""
    return story.direct(UNKNOWN.critical())


@case(U)
def unknown_critical_extension_of_the_middle(story: Story) -> Sequence[Forged]:
    """[root] -> middle: an extension that nobody knows, critical (sent) -> leaf."""
    return story.through(UNKNOWN.critical())


@case(V, but=Difference.ANCHOR_IS_TRUSTED)
def unknown_critical_extension_of_the_root(story: Story) -> Sequence[Forged]:
    """[root: an extension that nobody knows, critical] -> leaf."""
    return story.rooted(UNKNOWN.critical())


@case(U)
def precertificate(story: Story) -> Sequence[Forged]:
    """[root] -> leaf: the critical poison of a precertificate (RFC 6962, 3.1)."""
    return story.direct(POISON.critical())


@case(U, raw=True)
def extension_twice(story: Story) -> Sequence[Forged]:
    """[root] -> leaf: clientAuth in one extended key usage, serverAuth in another (RFC 5280, 4.2)."""
    return story.direct(more=[forge.extended_key_usage(forge.SERVER_AUTH)])


@case(U, raw=True)
def extension_twice_the_same(story: Story) -> Sequence[Forged]:
    """[root] -> leaf: the same basic constraints twice."""
    return story.direct(more=[forge.basic_constraints(authority=False)])


@case(U)
def basic_constraints_twice(story: Story) -> Sequence[Forged]:
    """[root] -> middle: not a CA, and a CA (sent) -> leaf."""
    both = [forge.basic_constraints(authority=True)]
    return story.through(forge.basic_constraints(authority=False), more=both)


@case(U, raw=True)
def alternative_names_twice(story: Story) -> Sequence[Forged]:
    """[root] -> leaf: two extensions with alternative names."""
    one, two = (forge.alternative_names(forge.dns(f"{number}.example")) for number in (1, 2))
    return story.direct(one, more=[two])


@case(V, but=Difference.UNREAD)
def unknown_extension_twice(story: Story) -> Sequence[Forged]:
    """[root] -> leaf: an extension that nobody knows, twice."""
    return story.direct(UNKNOWN, more=[UNKNOWN])


@case(V, but=Difference.UNREAD, raw=True)
def extensions_empty(story: Story) -> Sequence[Forged]:
    """[root] -> leaf: a list of extensions with nothing in it, which the syntax forbids."""
    return story.direct(extensions=[])


@case(V)
def extensions_missing(story: Story) -> Sequence[Forged]:
    """[root] -> leaf: version 3 without any extension."""
    return story.direct(bare=True)


@case(V, but=Difference.UNREAD, raw=True)
def criticality_written_out(story: Story) -> Sequence[Forged]:
    """[root] -> leaf: an extension with an explicit FALSE, which DER leaves out."""
    return story.direct(Extension(UNKNOWN.number, UNKNOWN.value, b"\x01\x01\x00"))


@case(U, raw=True)
def criticality_of_another_value(story: Story) -> Sequence[Forged]:
    """[root] -> leaf: an unknown extension, critical with 01 instead of FF."""
    return story.direct(Extension(UNKNOWN.number, UNKNOWN.value, b"\x01\x01\x01"))


@case(U, raw=True)
def basic_constraints_malformed(story: Story) -> Sequence[Forged]:
    """[root] -> leaf: basic constraints that are no sequence."""
    return story.direct(Extension(CONSTRAINTS, b"\x04\x00", der.TRUE))


@case(U)
def basic_constraints_with_more_behind(story: Story) -> Sequence[Forged]:
    """[root] -> middle: basic constraints with a byte too many (sent) -> leaf."""
    usual = forge.basic_constraints(authority=True)
    return story.through(Extension(usual.number, usual.value + b"\0", der.TRUE))


@case(U)
def basic_constraints_truncated(story: Story) -> Sequence[Forged]:
    """[root] -> middle: basic constraints that end too early (sent) -> leaf."""
    usual = forge.basic_constraints(authority=True)
    return story.through(Extension(usual.number, usual.value[:-1], der.TRUE))


@case(R, raw=True)
def key_usage_malformed(story: Story) -> Sequence[Forged]:
    """[root] -> leaf: a key usage that is an integer."""
    return story.direct(Extension(KEY_USAGE, der.integer(1), der.TRUE))


@case(U, raw=True)
def extended_key_usage_malformed(story: Story) -> Sequence[Forged]:
    """[root] -> leaf: an extended key usage that is a single identifier."""
    return story.direct(Extension(EXTENDED, der.oid(forge.CLIENT_AUTH)))


@case(U, raw=True)
def subject_key_malformed(story: Story) -> Sequence[Forged]:
    """[root] -> leaf: a key identifier that is not encoded at all."""
    return story.direct(Extension(SUBJECT_KEY, b"0123456789"))


@case(U, raw=True)
def alternative_names_malformed(story: Story) -> Sequence[Forged]:
    """[root] -> leaf: alternative names that end too early."""
    return story.direct(Extension(NAMES, b"\x30\x10\x82\x03abc"))


@case(V, but=Difference.UNREAD)
def alternative_names_empty(story: Story) -> Sequence[Forged]:
    """[root] -> leaf: an empty list of alternative names, which the syntax forbids."""
    return story.direct(forge.alternative_names())


@case(V, but=Difference.UNREAD)
def alternative_name_of_five_bytes(story: Story) -> Sequence[Forged]:
    """[root] -> leaf: an IP address of five bytes."""
    return story.direct(forge.alternative_names(der.implicit(7, b"\x7f\0\0\0\1")))


@case(U)
def name_constraints_malformed(story: Story) -> Sequence[Forged]:
    """[root] -> middle: name constraints that are no sequence (sent) -> leaf."""
    return story.through(Extension("2.5.29.30", der.integer(1), der.TRUE))


@case(U, but=Difference.HELD)
def name_constraints_empty(story: Story) -> Sequence[Forged]:
    """[root] -> middle: name constraints that constrain nothing, which RFC 5280, 4.2.1.10 forbids (sent) -> leaf."""
    return story.through(forge.name_constraints())


@case(U)
def explicit_policy_wanted(story: Story) -> Sequence[Forged]:
    """[root] -> middle: policies must be named from here on (sent) -> leaf without one."""
    return story.through(Extension("2.5.29.36", der.sequence(der.implicit(0, b"\0")), der.TRUE))
