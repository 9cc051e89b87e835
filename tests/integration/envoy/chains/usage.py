"""Chains: what a certificate and its authorities may be used for."""

from __future__ import annotations

from collections.abc import Sequence

from tests.support import forge
from tests.support.chains import Difference, Outcome, Story, case
from tests.support.forge import Forged

V, U, R = Outcome.VERIFIED, Outcome.UNVERIFIED, Outcome.REFUSED

EXTENDED, USAGE = "2.5.29.37", "2.5.29.15"


@case(V)
def client_usage(story: Story) -> Sequence[Forged]:
    """[root] -> leaf: clientAuth."""
    return story.direct()


@case(V)
def client_usage_critical(story: Story) -> Sequence[Forged]:
    """[root] -> leaf: clientAuth, critical."""
    return story.direct(forge.extended_key_usage(forge.CLIENT_AUTH).critical())


@case(V)
def client_and_server_usage(story: Story) -> Sequence[Forged]:
    """[root] -> leaf: serverAuth and clientAuth."""
    return story.direct(forge.extended_key_usage(forge.SERVER_AUTH, forge.CLIENT_AUTH))


@case(V)
def no_extended_usage(story: Story) -> Sequence[Forged]:
    """[root] -> leaf: no extended key usage, so every purpose is allowed (RFC 5280, 4.2.1.12)."""
    return story.direct(without=[EXTENDED])


@case(U, but=Difference.ANY_USAGE)
def any_usage(story: Story) -> Sequence[Forged]:
    """[root] -> leaf: anyExtendedKeyUsage."""
    return story.direct(forge.extended_key_usage(forge.ANY_USAGE))


@case(U)
def server_usage(story: Story) -> Sequence[Forged]:
    """[root] -> leaf: serverAuth alone."""
    return story.direct(forge.extended_key_usage(forge.SERVER_AUTH))


@case(U)
def code_signing_usage(story: Story) -> Sequence[Forged]:
    """[root] -> leaf: codeSigning alone."""
    return story.direct(forge.extended_key_usage(forge.CODE_SIGNING))


@case(U)
def extended_usage_empty(story: Story) -> Sequence[Forged]:
    """[root] -> leaf: an extended key usage without any purpose, which the syntax forbids."""
    return story.direct(forge.extended_key_usage())


@case(U, but=Difference.USAGE_OF_AUTHORITIES)
def authority_for_servers(story: Story) -> Sequence[Forged]:
    """[root] -> middle: serverAuth alone (sent) -> leaf: clientAuth."""
    return story.through(forge.extended_key_usage(forge.SERVER_AUTH))


@case(V)
def authority_for_clients(story: Story) -> Sequence[Forged]:
    """[root] -> middle: clientAuth (sent) -> leaf: clientAuth."""
    return story.through(forge.extended_key_usage(forge.CLIENT_AUTH))


@case(U, but=Difference.ANY_USAGE)
def authority_for_any(story: Story) -> Sequence[Forged]:
    """[root] -> middle: anyExtendedKeyUsage (sent) -> leaf: clientAuth."""
    return story.through(forge.extended_key_usage(forge.ANY_USAGE))


@case(V, but=Difference.ANCHOR_IS_TRUSTED)
def root_for_servers(story: Story) -> Sequence[Forged]:
    """[root: serverAuth alone] -> leaf: clientAuth."""
    return story.rooted(forge.extended_key_usage(forge.SERVER_AUTH))


@case(V)
def no_key_usage(story: Story) -> Sequence[Forged]:
    """[root] -> leaf: no key usage, so no use is excluded."""
    return story.direct(without=[USAGE])


@case(V)
def key_usage_uncritical(story: Story) -> Sequence[Forged]:
    """[root] -> leaf: digitalSignature, not critical (RFC 5280, 4.2.1.3: SHOULD)."""
    return story.direct(forge.key_usage(forge.DIGITAL_SIGNATURE).uncritical())


@case(R)
def key_usage_encipherment(story: Story) -> Sequence[Forged]:
    """[root] -> leaf: keyEncipherment alone, but the key signs the handshake."""
    return story.direct(forge.key_usage(forge.KEY_ENCIPHERMENT))


@case(R)
def key_usage_agreement(story: Story) -> Sequence[Forged]:
    """[root] -> leaf: keyAgreement alone, but the key signs the handshake."""
    return story.direct(forge.key_usage(forge.KEY_AGREEMENT))


@case(R)
def key_usage_certificates(story: Story) -> Sequence[Forged]:
    """[root] -> leaf: keyCertSign alone."""
    return story.direct(forge.key_usage(forge.KEY_CERT_SIGN))


@case(R, raw=True)
def key_usage_empty(story: Story) -> Sequence[Forged]:
    """[root] -> leaf: a key usage without any use, which RFC 5280, 4.2.1.3 forbids."""
    return story.direct(forge.key_usage())


@case(V)
def authority_without_key_usage(story: Story) -> Sequence[Forged]:
    """[root] -> middle: no key usage (sent) -> leaf."""
    return story.through(without=[USAGE])


@case(U)
def authority_that_signs_lists_only(story: Story) -> Sequence[Forged]:
    """[root] -> middle: cRLSign alone (sent) -> leaf."""
    return story.through(forge.key_usage(forge.CRL_SIGN))


@case(U, but=Difference.ANCHOR_IS_JUDGED)
def root_that_signs_lists_only(story: Story) -> Sequence[Forged]:
    """[root: cRLSign alone] -> leaf."""
    return story.rooted(forge.key_usage(forge.CRL_SIGN))
