"""Chains: keys and signatures, weak ones and broken ones."""

from __future__ import annotations

from collections.abc import Sequence

from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from tests.support import forge
from tests.support.chains import Difference, Outcome, Story, case
from tests.support.forge import Forged

V, U, R = Outcome.VERIFIED, Outcome.UNVERIFIED, Outcome.REFUSED

RSA, OLD_RSA = forge.rsa_key(2048), forge.rsa_key(1024)
S = forge.Signature


def _signed(story: Story, signer: forge.Key, **form: object) -> Sequence[Forged]:
    root = story.authority("root", key=signer)
    story.trust(root)
    return [story.leaf(root, **form)]


@case(V)
def rsa_2048(story: Story) -> Sequence[Forged]:
    """[root: RSA 2048] -> leaf: RSA 2048, signed with SHA-256."""
    return _signed(story, RSA, key=RSA)


@case(V)
def rsa_pss_signature(story: Story) -> Sequence[Forged]:
    """[root: RSA 2048] -> leaf, signed with RSASSA-PSS and SHA-256."""
    return _signed(story, RSA, signature=S.RSA_PSS)


@case(V, but=Difference.WEAK)
def rsa_1024_authority(story: Story) -> Sequence[Forged]:
    """[root: RSA 1024] -> leaf."""
    return _signed(story, OLD_RSA)


@case(V, but=Difference.WEAK)
def rsa_1024_leaf(story: Story) -> Sequence[Forged]:
    """[root] -> leaf: RSA 1024."""
    return story.direct(key=OLD_RSA)


@case(V)
def p384(story: Story) -> Sequence[Forged]:
    """[root: P-384] -> leaf: P-384, signed with SHA-384."""
    key = ec.generate_private_key(ec.SECP384R1())
    return _signed(story, key, key=key, signature=S.ECDSA_SHA384)


@case(V, but=Difference.CLIENT_KEYS, tls_1_3=Outcome.ABSENT)
def p521(story: Story) -> Sequence[Forged]:
    """[root: P-521] -> leaf: P-521, signed with SHA-512."""
    key = ec.generate_private_key(ec.SECP521R1())
    return _signed(story, key, key=key, signature=S.ECDSA_SHA512)


@case(V)
def p521_authority(story: Story) -> Sequence[Forged]:
    """[root: P-521] -> leaf: P-256, signed with SHA-512."""
    return _signed(story, ec.generate_private_key(ec.SECP521R1()), signature=S.ECDSA_SHA512)


@case(V, but=Difference.WEAK)
def p224_authority(story: Story) -> Sequence[Forged]:
    """[root: P-224] -> leaf."""
    return _signed(story, ec.generate_private_key(ec.SECP224R1()))


@case(R, but=Difference.CLIENT_KEYS, tls_1_3=Outcome.ABSENT)
def p224_leaf(story: Story) -> Sequence[Forged]:
    """[root] -> leaf: P-224."""
    return story.direct(key=ec.generate_private_key(ec.SECP224R1()))


@case(R, but=Difference.CLIENT_KEYS, tls_1_3=Outcome.ABSENT)
def secp256k1_leaf(story: Story) -> Sequence[Forged]:
    """[root] -> leaf: secp256k1."""
    return story.direct(key=ec.generate_private_key(ec.SECP256K1()))


@case(V)
def ed25519_authority(story: Story) -> Sequence[Forged]:
    """[root: Ed25519] -> leaf: P-256."""
    return _signed(story, ed25519.Ed25519PrivateKey.generate())


@case(Outcome.ABSENT, but=Difference.CLIENT_KEYS)
def ed25519_leaf(story: Story) -> Sequence[Forged]:
    """[root] -> leaf: Ed25519."""
    return story.direct(key=ed25519.Ed25519PrivateKey.generate())


@case(U)
def md5_signature(story: Story) -> Sequence[Forged]:
    """[root: RSA 2048] -> leaf, signed with MD5."""
    return _signed(story, RSA, signature=S.RSA_MD5)


@case(V, but=Difference.WEAK)
def sha1_signature_rsa(story: Story) -> Sequence[Forged]:
    """[root: RSA 2048] -> leaf, signed with SHA-1."""
    return _signed(story, RSA, signature=S.RSA_SHA1)


@case(V, but=Difference.WEAK)
def sha1_signature_ecdsa(story: Story) -> Sequence[Forged]:
    """[root] -> leaf, signed with SHA-1."""
    return story.direct(signature=S.ECDSA_SHA1)


@case(V, but=Difference.WEAK)
def sha1_signature_of_the_middle(story: Story) -> Sequence[Forged]:
    """[root] -> middle, signed with SHA-1 (sent) -> leaf."""
    return story.through(signature=S.ECDSA_SHA1)


@case(V)
def sha1_signature_of_the_root(story: Story) -> Sequence[Forged]:
    """[root, signed by itself with SHA-1] -> leaf: the signature of an anchor says nothing."""
    return story.rooted(signature=S.ECDSA_SHA1)


@case(V)
def signature_of_the_root_broken(story: Story) -> Sequence[Forged]:
    """[root, whose own signature is wrong] -> leaf: the signature of an anchor says nothing."""
    return story.rooted(broken=True)


@case(U)
def signature_broken(story: Story) -> Sequence[Forged]:
    """[root] -> leaf: one bit of the signature is wrong."""
    return story.direct(broken=True)


@case(U)
def signature_of_the_middle_broken(story: Story) -> Sequence[Forged]:
    """[root] -> middle: one bit of the signature is wrong (sent) -> leaf."""
    return story.through(broken=True)


@case(U)
def signature_algorithm_ambiguous(story: Story) -> Sequence[Forged]:
    """[root] -> leaf: signed as SHA-256, and named SHA-384 outside (RFC 5280, 4.1.1.2)."""
    return story.direct(claimed=S.ECDSA_SHA384)


@case(U)
def signed_with_another_key(story: Story) -> Sequence[Forged]:
    """[root] -> leaf: in the root's name, signed by its own key."""
    key = ec.generate_private_key(ec.SECP256R1())
    return story.direct(key=key, signer=key)
