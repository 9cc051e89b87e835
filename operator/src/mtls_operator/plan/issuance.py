"""Whether a certificate may be issued at all: by its names and key, and by the policy of its namespace.

It is asked before every signature, and never of what was signed: what was issued stays valid when the policy becomes
stricter, until somebody revokes it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from mtls_operator.api.certificate import ClientCertificate
from mtls_operator.api.reason import Reason
from mtls_operator.plan.holder import names_of, request_of
from mtls_operator.plan.policy import POLICY_ANNOTATION, Policy, Wanted, read_policy, violations
from mtls_operator.plan.trouble import Trouble

#: As many violations stand in a message; a request of 32 names could have more than anybody reads.
_SHOWN: Final = 5


def wanted_of(certificate: ClientCertificate) -> Wanted:
    """Return what is to be issued, as policies judge it.

    Raises:
        PkiError: it cannot be issued, whatever the policy.
    """
    subject, sans = names_of(certificate)
    request = request_of(certificate)
    return Wanted(
        subject=subject,
        sans=sans,
        validity=certificate.validity,
        key=request.key if request is not None else f"{certificate.algorithm.value}-{certificate.key_size}",
        from_request=request is not None,
    )


def refusal_by_policy(certificate: ClientCertificate, annotation: str | None) -> Trouble | None:
    """Return why the policy of a namespace (its annotation; None: it has none) does not allow a certificate.

    Raises:
        PkiError: it cannot be issued, whatever the policy.
    """
    policy = _policy(annotation)
    found = violations(policy, wanted_of(certificate))
    if not found:
        return None
    if policy is not None and policy.broken:
        return Trouble(
            Reason.INVALID_POLICY,
            f"{found[0]} It is the annotation {POLICY_ANNOTATION} of the Namespace: ask its administrator.",
        )
    shown = " ".join(_sentence(violation) for violation in found[:_SHOWN])
    more = f" And {len(found) - _SHOWN} more." if len(found) > _SHOWN else ""
    return Trouble(
        Reason.POLICY_VIOLATION,
        f"{shown}{more} The policy is the annotation {POLICY_ANNOTATION} of the Namespace.",
    )


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


@lru_cache(maxsize=256)
def _policy(annotation: str | None) -> Policy | None:
    return read_policy(annotation)
