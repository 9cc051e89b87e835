"""Chains: name constraints on URIs, mailboxes, addresses and directory names (RFC 5280, 4.2.1.10)."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_network

from tests.support import der, forge
from tests.support.chains import Difference, Outcome, Story, case
from tests.support.forge import Forged

V, U, R = Outcome.VERIFIED, Outcome.UNVERIFIED, Outcome.REFUSED


@case(V)
def uri_permitted(story: Story) -> Sequence[Forged]:
    """[root] -> middle: URI .acme.example (sent) -> leaf: spiffe://a.acme.example/x."""
    return story.permitted(forge.uri(".acme.example"), forge.uri("spiffe://a.acme.example/x"))


@case(U)
def uri_not_permitted(story: Story) -> Sequence[Forged]:
    """[root] -> middle: URI .acme.example (sent) -> leaf: spiffe://other.example/x."""
    return story.permitted(forge.uri(".acme.example"), forge.uri("spiffe://other.example/x"))


@case(U)
def uri_excluded(story: Story) -> Sequence[Forged]:
    """[root] -> middle: not URI acme.example (sent) -> leaf: spiffe://acme.example/x."""
    return story.excluded(forge.uri("acme.example"), forge.uri("spiffe://acme.example/x"))


@case(U)
def uri_that_hides_its_host(story: Story) -> Sequence[Forged]:
    """[root] -> middle: URI acme.example (sent) -> leaf: spiffe://acme.example@evil.example/x."""
    return story.permitted(forge.uri("acme.example"), forge.uri("spiffe://acme.example@evil.example/x"))


@case(U)
def uri_without_a_host(story: Story) -> Sequence[Forged]:
    """[root] -> middle: URI acme.example (sent) -> leaf: urn:uuid:1: refused (RFC 5280, 4.2.1.10)."""
    return story.permitted(forge.uri("acme.example"), forge.uri("urn:uuid:1"))


@case(V)
def email_host_permitted(story: Story) -> Sequence[Forged]:
    """[root] -> middle: email acme.example (sent) -> leaf: a@acme.example."""
    return story.permitted(forge.email("acme.example"), forge.email("a@acme.example"))


@case(U)
def email_host_not_permitted(story: Story) -> Sequence[Forged]:
    """[root] -> middle: email acme.example (sent) -> leaf: a@sub.acme.example, another host."""
    return story.permitted(forge.email("acme.example"), forge.email("a@sub.acme.example"))


@case(U)
def email_mailbox_excluded(story: Story) -> Sequence[Forged]:
    """[root] -> middle: not email root@acme.example (sent) -> leaf: root@ACME.example."""
    return story.excluded(forge.email("root@acme.example"), forge.email("root@ACME.example"))


@case(U)
def email_in_the_subject_not_permitted(story: Story) -> Sequence[Forged]:
    """[root] -> middle: email acme.example (sent) -> leaf: emailAddress a@other.example in the subject alone."""
    subject = der.sequence(
        der.element(
            der.SET,
            der.sequence(der.oid("1.2.840.113549.1.9.1"), der.element(der.IA5, b"a@other.example")),
        )
    )
    return story.permitted(forge.email("acme.example"), subject=subject)


@case(U, but=Difference.ADDRESSES)
def address_permitted(story: Story) -> Sequence[Forged]:
    """[root] -> middle: IP 10.0.0.0/8 (sent) -> leaf: 10.1.2.3."""
    return story.permitted(forge.network(ip_network("10.0.0.0/8")), forge.address("10.1.2.3"))


@case(U)
def address_not_permitted(story: Story) -> Sequence[Forged]:
    """[root] -> middle: IP 10.0.0.0/8 (sent) -> leaf: 192.0.2.1."""
    return story.permitted(forge.network(ip_network("10.0.0.0/8")), forge.address("192.0.2.1"))


@case(U, but=Difference.ADDRESSES)
def address_not_excluded(story: Story) -> Sequence[Forged]:
    """[root] -> middle: not IP 2001:db8::/32 (sent) -> leaf: 2001:db9::1."""
    return story.excluded(forge.network(ip_network("2001:db8::/32")), forge.address("2001:db9::1"))


@case(U)
def address_excluded(story: Story) -> Sequence[Forged]:
    """[root] -> middle: not IP 2001:db8::/32 (sent) -> leaf: 2001:db8::1."""
    return story.excluded(forge.network(ip_network("2001:db8::/32")), forge.address("2001:db8::1"))


@case(V)
def address_constraint_without_an_address(story: Story) -> Sequence[Forged]:
    """[root] -> middle: IP 10.0.0.0/8 (sent) -> leaf: a.acme.example."""
    return story.permitted(forge.network(ip_network("10.0.0.0/8")), forge.dns("a.acme.example"))


def _organization(story: Story) -> bytes:
    return forge.directory(der.name((forge.ORGANIZATION, story.title)))


@case(V)
def directory_permitted(story: Story) -> Sequence[Forged]:
    """[root] -> middle: names below O=… (sent) -> leaf: O=…, CN=a client."""
    return story.permitted(_organization(story))


@case(U)
def directory_not_permitted(story: Story) -> Sequence[Forged]:
    """[root] -> middle: names below O=… (sent) -> leaf: O=other, CN=a client."""
    other = der.name((forge.ORGANIZATION, "other"), (forge.COMMON_NAME, "a client"))
    return story.permitted(_organization(story), subject=other)


@case(U)
def directory_excluded(story: Story) -> Sequence[Forged]:
    """[root] -> middle: not names below O=… (sent) -> leaf: O=…, CN=a client."""
    return story.excluded(_organization(story))


@case(U)
def directory_excluded_in_another_case(story: Story) -> Sequence[Forged]:
    """[root] -> middle: not names below O=… (sent) -> leaf: the same O in capitals."""
    shouted = der.name((forge.ORGANIZATION, story.title.upper()), (forge.COMMON_NAME, "a client"))
    return story.excluded(_organization(story), subject=shouted)


@case(U)
def directory_not_permitted_as_alternative_name(story: Story) -> Sequence[Forged]:
    """[root] -> middle: names below O=… (sent) -> leaf: also the alternative name O=other."""
    other = forge.directory(der.name((forge.ORGANIZATION, "other")))
    return story.permitted(_organization(story), other)


@case(V)
def registered_constraint_without_such_a_name(story: Story) -> Sequence[Forged]:
    """[root] -> middle: registered ID 1.2.3 (sent) -> leaf without one: nothing is constrained."""
    return story.permitted(forge.registered("1.2.3"), forge.dns("a.acme.example"))


@case(U)
def registered_constraint(story: Story) -> Sequence[Forged]:
    """[root] -> middle: registered ID 1.2.3 (sent) -> leaf: registered ID 1.2.4."""
    return story.permitted(forge.registered("1.2.3"), forge.registered("1.2.4"))
