"""A CA of the user's own as the managed one: its certificate, its key, and what is above it.

What it must be is stricter than for a CA that is only trusted: whatever it signs must be accepted by every strict
verifier, and its lists too. A limit that our leaves could break (names, policies) is therefore refused, not checked
for each leaf.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Final

from cryptography import x509

from mtls_operator.api.secret import Secret
from mtls_operator.pki.authority import Authority, assemble, key_belongs
from mtls_operator.pki.bundle import Bundle, read_bundle
from mtls_operator.pki.certificate import facts_of, find_extension
from mtls_operator.pki.errors import PkiError, Reason
from mtls_operator.pki.instants import rfc3339
from mtls_operator.pki.keys import load_key
from mtls_operator.pki.trusted import Refusal, TrustedCa

_REASONS: Final = MappingProxyType(
    {
        Refusal.EXPIRED: Reason.AUTHORITY_EXPIRED,
        Refusal.NOT_YET_VALID: Reason.AUTHORITY_NOT_YET_VALID,
        Refusal.NOT_A_CA: Reason.NOT_AN_AUTHORITY,
        Refusal.NO_CERT_SIGN: Reason.NOT_AN_AUTHORITY,
    }
)
#: Limits of a CA on what is below it that leaves of ours could break (RFC 5280, 4.2.1.10 and 4.2.1.11).
_LIMITS: Final = (x509.NameConstraints, x509.PolicyConstraints)


@dataclass(frozen=True, slots=True)
class IssuingAuthority:
    """An `Authority`, and the certificates above it from its issuer to the root; none for a root itself.

    Leaves are handed out with the authority's certificate and ``intermediates_pem``; what verifies them is
    ``bundle_pem``.
    """

    authority: Authority
    chain_pem: tuple[str, ...]

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
    ``cRLSign``, a path to a root that its length constraints allow, no limits on names and policies, and
    that the CA ends with those above it at the latest. Raises `PkiError` that names the certificate.
    """
    key = load_key(key_pem)
    bundle = read_bundle(certificate_pem, now=now)
    for refused in bundle.refused:
        raise PkiError(_REASONS.get(refused.reason, Reason.INVALID_CA_CERTIFICATE), f"the CA: {refused}")
    first = bundle.accepted[0]
    if not key_belongs(first.certificate, key):
        raise PkiError(Reason.KEY_MISMATCH, "the key of the CA does not belong to its certificate.")
    usage = find_extension(first.certificate, x509.KeyUsage)
    if usage is None or not usage.crl_sign:
        raise _refuse(first, "may not sign revocation lists (keyUsage cRLSign is missing)")
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
    )


def _path(first: TrustedCa, bundle: Bundle) -> tuple[TrustedCa, ...]:
    if not first.rooted:
        raise _refuse(
            first, "has no path to a root in this file: add the certificates of its issuers up to the root"
        )
    by_digest = {ca.digest: ca for ca in bundle.accepted}
    return tuple(by_digest[digest] for digest in first.path)


def _require_no_limits(ca: TrustedCa) -> None:
    for kind in _LIMITS:
        if find_extension(ca.certificate, kind) is not None:
            raise _refuse(ca, f"limits what may be issued ({kind.__name__}), which is not supported yet")


def _refuse(ca: TrustedCa, what: str) -> PkiError:
    return PkiError(Reason.INVALID_CA_CERTIFICATE, f"the CA: certificate {ca.index} ({ca.subject}) {what}.")
