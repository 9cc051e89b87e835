"""A CA of the user's own as the managed one: its certificate, its key, and what is above it.

What it must be is stricter than for a CA that is only trusted: whatever it signs must be accepted by every strict
verifier, and its lists too. A limit that our leaves could break (names, policies) is therefore refused, not checked
for each leaf.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Final

from cryptography import x509

from mtls_operator.api.secret import Secret
from mtls_operator.pki.authority import Authority, assemble, key_belongs, require_authority
from mtls_operator.pki.bundle import Bundle, read_bundle
from mtls_operator.pki.certificate import facts_of, find_extension, parse_certificate, to_bytes
from mtls_operator.pki.errors import PkiError, Reason, refusing
from mtls_operator.pki.instants import rfc3339
from mtls_operator.pki.keys import load_key
from mtls_operator.pki.trusted import Refusal, TrustedCa, is_issuer, trusted_ca

_REASONS: Final = MappingProxyType(
    {
        Refusal.EXPIRED: Reason.AUTHORITY_EXPIRED,
        Refusal.NOT_YET_VALID: Reason.AUTHORITY_NOT_YET_VALID,
        Refusal.NOT_A_CA: Reason.NOT_AN_AUTHORITY,
        Refusal.NO_CERT_SIGN: Reason.NOT_AN_AUTHORITY,
    }
)
#: More is above no issuing CA: with a leaf these are the five certificates that a proxy looks at.
MAX_ABOVE: Final = 3
#: Limits of a CA on what is below it that leaves of ours could break (RFC 5280, 4.2.1.10 and 4.2.1.11).
_LIMITS: Final = (x509.NameConstraints, x509.PolicyConstraints)


@dataclass(frozen=True, slots=True)
class IssuingAuthority:
    """An `Authority`, and the certificates above it from its issuer to the root; none for a root itself.

    Leaves are handed out with the authority's certificate and ``intermediates_pem``; what verifies them is
    ``bundle_pem``. ``key_digest`` is what makes two certificates one CA to everybody who checks a signature;
    ``look_again`` is when time alone makes it unusable.
    """

    authority: Authority
    chain_pem: tuple[str, ...]
    key_digest: str = ""
    look_again: datetime | None = None

    @property
    def intermediates_pem(self) -> tuple[str, ...]:
        """What goes after a leaf in ``tls.crt``: the authority and what is above it, without the root."""
        return (self.authority.certificate_pem, *self.chain_pem)[:-1]

    @property
    def bundle_pem(self) -> str:
        """What a leaf chains to: the authority and everything above it, the root last."""
        return "".join((self.authority.certificate_pem, *self.chain_pem))


def load_issuing_authority(
    certificate_pem: bytes | str, key_pem: Secret, *, now: datetime
) -> IssuingAuthority:
    """Return the CA whose certificate stands first in a PEM, followed by those above it up to its root.

    Required: everything that `read_bundle` requires of every certificate in it, the key of the first one,
    ``cRLSign``, a key identifier, a path to a root that its length constraints allow, no limits on names and policies,
    and that the CA ends with those above it at the latest. Raises `PkiError` that names the certificate.
    """
    key = load_key(key_pem)
    bundle = read_bundle(certificate_pem, now=now)
    for refused in bundle.refused:
        if refused.reason is Refusal.DUPLICATE:
            continue
        raise PkiError(_REASONS.get(refused.reason, Reason.INVALID_CA_CERTIFICATE), f"the CA: {refused}")
    first = bundle.accepted[0]
    if not key_belongs(first.certificate, key):
        raise PkiError(Reason.KEY_MISMATCH, "the key of the CA does not belong to its certificate.")
    usage = find_extension(first.certificate, x509.KeyUsage)
    if usage is None or not usage.crl_sign:
        raise _refuse(first, "may not sign revocation lists (keyUsage cRLSign is missing)")
    if not first.ski:
        raise _refuse(first, "has no subject key identifier (RFC 5280, 4.2.1.2), by which it is told apart")
    path = _path(first, bundle)
    for ca in (first, *path):
        _require_no_limits(ca)
        if ca.not_after < first.not_after:
            raise _refuse(
                first,
                f"ends at {rfc3339(first.not_after)}, after its issuer {ca.subject} does: renew that first",
            )
    facts_of(first.certificate)
    return IssuingAuthority(
        authority=assemble(first.certificate, key, key_pem),
        chain_pem=tuple(ca.certificate_pem for ca in path),
        key_digest=first.key_digest,
        look_again=bundle.look_again,
    )


def load_kept_authority(
    certificate_pem: bytes | str, key_pem: Secret, chain_pem: bytes | str
) -> IssuingAuthority:
    """Return a CA that `load_issuing_authority` accepted before, with the certificates above it, from where it is kept.

    Every certificate has to bear the signature of the next one, and the last one its own, so that what is kept says
    what it said. As in `load_authority` nothing is asked of the time. Raises `PkiError` for anything else.
    """
    certificate = parse_certificate(certificate_pem)
    facts_of(certificate)
    key = load_key(key_pem)
    if not key_belongs(certificate, key):
        raise PkiError(Reason.KEY_MISMATCH, "the key of the CA does not belong to its certificate.")
    require_authority(certificate)
    line = (certificate, *_certificates(to_bytes(chain_pem)))
    linked = all(is_issuer(upper, lower) for lower, upper in itertools.pairwise(line))
    if not linked or not trusted_ca(line[-1]).self_signed:
        raise PkiError(Reason.INVALID_CA_CERTIFICATE, "the certificates above the CA do not lead to a root.")
    cas = [trusted_ca(one) for one in line]
    return IssuingAuthority(
        authority=assemble(certificate, key, key_pem),
        chain_pem=tuple(ca.certificate_pem for ca in cas[1:]),
        key_digest=cas[0].key_digest,
    )


def _certificates(pem: bytes) -> list[x509.Certificate]:
    if not pem.strip():
        return []
    with refusing(Reason.INVALID_CA_CERTIFICATE, "the certificates above the CA cannot be read"):
        return x509.load_pem_x509_certificates(pem)


def _path(first: TrustedCa, bundle: Bundle) -> tuple[TrustedCa, ...]:
    if not first.rooted:
        raise _refuse(
            first, "has no path to a root in this file: add the certificates of its issuers up to the root"
        )
    if len(first.path) > MAX_ABOVE:
        raise _refuse(first, f"has {len(first.path)} CAs above it, at most {MAX_ABOVE} are looked at")
    by_digest = {ca.digest: ca for ca in bundle.accepted}
    return tuple(by_digest[digest] for digest in first.path)


def _require_no_limits(ca: TrustedCa) -> None:
    for kind in _LIMITS:
        if find_extension(ca.certificate, kind) is not None:
            raise _refuse(ca, f"limits what may be issued ({kind.__name__}), which is not supported yet")


def _refuse(ca: TrustedCa, what: str) -> PkiError:
    return PkiError(Reason.INVALID_CA_CERTIFICATE, f"the CA: certificate {ca.index} ({ca.subject}) {what}.")
