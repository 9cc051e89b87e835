"""Who issued whom among CA certificates, and which of them may have others below (RFC 5280, 4.2.1.9 and 6.1.4).

Only signatures count; of two CAs with one name the one whose key fits is the issuer. The search takes no longer
than certificates times certificates, whatever is signed by whom.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from cryptography import x509

from mtls_operator.pki.certificate import find_extension
from mtls_operator.pki.trusted import TrustedCa, is_issuer

Issuers = Mapping[str, tuple[TrustedCa, ...]]


@dataclass(frozen=True, slots=True)
class _Step:
    """A certificate on the way up, with how many intermediates are below it."""

    ca: TrustedCa
    below: int
    path: tuple[str, ...]


def issuers_among(cas: Iterable[TrustedCa]) -> Issuers:
    """Return for each digest the other certificates whose key signed it, in their order."""
    listed = tuple(cas)
    return {
        ca.digest: tuple(
            other
            for other in listed
            if other is not ca
            and other.certificate.subject == ca.certificate.issuer
            and is_issuer(other.certificate, ca.certificate)
        )
        for ca in listed
    }


def with_path(ca: TrustedCa, issuers: Issuers) -> TrustedCa | None:
    """Return a CA with the shortest path to a root, or the longest one to be had; None where lengths forbid all.

    The path is one that every path length constraint on it allows.
    """
    if ca.self_signed:
        return replace(ca, path=(), rooted=True)
    farthest: tuple[str, ...] = ()
    queue, seen = deque([_Step(ca, 0, ())]), {(ca.digest, 0)}
    while queue:
        step = queue.popleft()
        for issuer in issuers.get(step.ca.digest, ()):
            below = step.below + (0 if _self_issued(step.ca) else 1)
            if not _may_have(issuer, below) or (issuer.digest, below) in seen or issuer.digest in step.path:
                continue
            path = (*step.path, issuer.digest)
            if issuer.self_signed:
                return replace(ca, path=path, rooted=True)
            farthest = max(farthest, path, key=len)
            seen.add((issuer.digest, below))
            queue.append(_Step(issuer, below, path))
    if issuers.get(ca.digest) and not farthest:
        return None
    return replace(ca, path=farthest, rooted=False)


def _self_issued(ca: TrustedCa) -> bool:
    return ca.certificate.subject == ca.certificate.issuer


def _may_have(issuer: TrustedCa, below: int) -> bool:
    constraints = find_extension(issuer.certificate, x509.BasicConstraints)
    return constraints is not None and (constraints.path_length is None or constraints.path_length >= below)
