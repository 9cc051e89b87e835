"""Chains: versions, serial numbers, names and encodings as nobody should write them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tests.support import der, forge
from tests.support.chains import Difference, Outcome, Story, case
from tests.support.forge import Extension, Forged

V, U, R = Outcome.VERIFIED, Outcome.UNVERIFIED, Outcome.REFUSED

UNKNOWN = Extension("1.3.6.1.4.1.55555.1", der.octets(b"anything"))


@case(V)
def version_1_leaf(story: Story) -> Sequence[Forged]:
    """[root] -> leaf: version 1, without extensions."""
    return story.direct(version=1, bare=True)


@case(R)
def version_1_with_extensions(story: Story) -> Sequence[Forged]:
    """[root] -> leaf: version 1, with extensions all the same."""
    return story.direct(version=1)


@case(V, but=Difference.UNREAD, raw=True)
def version_1_written_out(story: Story) -> Sequence[Forged]:
    """[root] -> leaf: a version 0 that DER leaves out."""
    return story.direct(version=1, bare=True, version_field=der.explicit(0, der.integer(0)))


@case(R)
def version_2_with_extensions(story: Story) -> Sequence[Forged]:
    """[root] -> leaf: version 2, with extensions all the same."""
    return story.direct(version=2)


@case(R)
def version_4(story: Story) -> Sequence[Forged]:
    """[root] -> leaf: a version that does not exist."""
    return story.direct(version=4)


@case(U)
def version_1_middle(story: Story) -> Sequence[Forged]:
    """[root] -> middle: version 1 (sent) -> leaf: version 1 cannot say that it is a CA."""
    return story.through(version=1, bare=True)


@case(V, but=Difference.ANCHOR_IS_TRUSTED)
def version_1_root(story: Story) -> Sequence[Forged]:
    """[root: version 1] -> leaf."""
    return story.rooted(version=1, bare=True)


@case(V, but=Difference.ANCHOR_IS_TRUSTED)
def version_1_middle_in_the_bundle(story: Story) -> Sequence[Forged]:
    """Root -> [middle: version 1] -> leaf: an anchor."""
    middle = story.authority("middle", story.authority("root"), version=1, bare=True)
    story.trust(middle)
    return [story.leaf(middle)]


@case(R)
def unique_identifiers_of_version_1(story: Story) -> Sequence[Forged]:
    """[root] -> leaf: version 1 with a subject's unique identifier, which came with version 2."""
    return story.direct(version=1, bare=True, unique_ids=der.element(0x82, b"\0\1"))


@case(Outcome.UNKNOWN, but=Difference.SERIALS)
def serial_zero(story: Story) -> Sequence[Forged]:
    """[root] -> leaf: serial number 0, which RFC 5280, 4.1.2.2 tells users to handle gracefully."""
    return story.direct(serial=0)


@case(Outcome.UNKNOWN, but=Difference.SERIALS)
def serial_negative(story: Story) -> Sequence[Forged]:
    """[root] -> leaf: serial number -2^32, which RFC 5280, 4.1.2.2 tells users to handle gracefully."""
    return story.direct(serial=-(2**32))


@case(Outcome.UNKNOWN, but=Difference.SERIALS)
def serial_of_21_bytes(story: Story) -> Sequence[Forged]:
    """[root] -> leaf: a serial number of 21 bytes; users must handle 20."""
    return story.direct(serial=2**160)


@case(Outcome.UNKNOWN, but=Difference.SERIALS)
def serial_of_a_thousand_bytes(story: Story) -> Sequence[Forged]:
    """[root] -> leaf: a serial number of 1 000 bytes."""
    return story.direct(serial=2**7999)


@case(R, raw=True)
def serial_with_a_leading_zero(story: Story) -> Sequence[Forged]:
    """[root] -> leaf: serial number 1 as 00 01, which DER forbids."""
    return story.direct(serial=b"\x02\x02\0\1")


@case(R, raw=True)
def serial_empty(story: Story) -> Sequence[Forged]:
    """[root] -> leaf: a serial number of no byte."""
    return story.direct(serial=b"\x02\0")


@case(V)
def subject_empty(story: Story) -> Sequence[Forged]:
    """[root] -> leaf: no subject, and critical alternative names instead."""
    names = forge.alternative_names(forge.uri("spiffe://acme.example/x")).critical()
    return story.direct(names, subject=der.sequence())


@case(V, but=Difference.PROFILE)
def subject_empty_without_alternative_names(story: Story) -> Sequence[Forged]:
    """[root] -> leaf: no name at all, which RFC 5280, 4.1.2.6 forbids."""
    return story.direct(subject=der.sequence())


@case(V, but=Difference.PROFILE)
def root_without_a_name(story: Story) -> Sequence[Forged]:
    """[root: no subject] -> leaf, whose issuer is empty."""
    return story.rooted(subject=der.sequence())


@case(V)
def nul_in_the_common_name(story: Story) -> Sequence[Forged]:
    """[root] -> leaf: CN admin NUL .evil.example: read to its end, not to the NUL."""
    return story.direct(subject=story.name("admin\0.evil.example"))


@case(V)
def line_end_in_the_common_name(story: Story) -> Sequence[Forged]:
    """[root] -> leaf: CN with a line end and a header behind it."""
    return story.direct(subject=story.name("a\r\nx-admin: 1"))


@case(V, but=Difference.CONTROL, answer=503)
def line_end_in_a_host_name(story: Story) -> Sequence[Forged]:
    """[root] -> leaf: DNS with a line end and a header behind it."""
    return story.direct(forge.alternative_names(forge.dns("a.example\r\nx-admin: 1")))


@case(V, but=Difference.CONTROL, answer=503)
def line_end_in_a_uri(story: Story) -> Sequence[Forged]:
    """[root] -> leaf: URI with a line end and a header behind it."""
    return story.direct(forge.alternative_names(forge.uri("spiffe://a.example\r\nx-admin: 1")))


@case(V)
def large(story: Story) -> Sequence[Forged]:
    """[root] -> leaf: an extension of 50 000 bytes."""
    return story.direct(Extension(UNKNOWN.number, bytes(50_000)))


@case(R, but=Difference.LIMITS)
def too_large(story: Story) -> Sequence[Forged]:
    """[root] -> leaf: an extension of 200 000 bytes."""
    return story.direct(Extension(UNKNOWN.number, bytes(200_000)))


@case(R, raw=True)
def rubbish_behind_the_certificate(story: Story) -> Sequence[Forged]:
    """[root] -> leaf, with bytes behind its end."""
    (leaf,) = story.direct()
    return [replace(leaf, der=leaf.der + b"\0\0")]


@case(R, raw=True)
def truncated(story: Story) -> Sequence[Forged]:
    """[root] -> leaf, without its last byte."""
    (leaf,) = story.direct()
    return [replace(leaf, der=leaf.der[:-1])]


@case(R, raw=True)
def length_in_the_long_form(story: Story) -> Sequence[Forged]:
    """[root] -> leaf, whose length takes a byte more than it must."""
    (leaf,) = story.direct()
    return [replace(leaf, der=b"\x30\x83\0" + leaf.der[2:])]


@case(R, raw=True)
def rubbish_among_the_authorities(story: Story) -> Sequence[Forged]:
    """[root] -> leaf, sent with a second certificate that is none."""
    (leaf,) = story.direct()
    return [leaf, replace(leaf, der=b"\x30\x03abc")]


@case(U)
def rsa_key_with_the_exponent_one(story: Story) -> Sequence[Forged]:
    """[root: RSA with the exponent 1, so that anybody can sign] -> leaf."""
    key = forge.rsa_key(2048)
    numbers = der.sequence(der.integer(key.public_key().public_numbers().n), der.integer(1))
    spki = der.sequence(der.sequence(der.oid("1.2.840.113549.1.1.1"), der.NULL), der.bits(numbers))
    root = story.authority("root", key=key, public_key=spki)
    story.trust(root)
    return [story.leaf(root)]
