"""Whether an object of ours is refused for what it says alone, and what its author should be warned of.

The webhook asks this before an object is stored, the operator once more afterwards; both get the same answer in
the same words, because both read with the same parsers and the same compiler. What only the rest of the world can
tell (a hostname that another host has already, a Secret that is not there) is left to the conditions of the status.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from mtls_operator.api import names
from mtls_operator.api.certificate import ClientCertificate, asks_for_revocation, parse_certificate
from mtls_operator.api.errors import InvalidSpec
from mtls_operator.api.host import parse_host
from mtls_operator.api.keystore import KeystoreProfile
from mtls_operator.api.rule import Rule, parse_rule
from mtls_operator.pki import PkiError
from mtls_operator.plan.holder import names_of
from mtls_operator.plan.hostrules import try_rule
from mtls_operator.plan.renewal import LARGEST_PART
from mtls_operator.rules import Expression, RuleError


@dataclass(frozen=True, slots=True)
class Verdict:
    """``refusal`` is empty for an object that may be stored; it can have several lines. A warning has one."""

    refusal: str = ""
    warnings: tuple[str, ...] = ()


def judge(
    kind: str, body: Mapping[str, Any], *, compiled: Callable[[Rule], Expression] = try_rule
) -> Verdict:
    """Return what is wrong with an object of one of our kinds, and what its author should know.

    ``compiled`` compiles a rule: whoever compiles the same ones anyway has a place for them.

    Raises:
        KeyError: it is no kind of ours.
    """
    try:
        if kind == names.RULE_KIND:
            expression = compiled(parse_rule(body))
            return Verdict(warnings=tuple(warning.message for warning in expression.warnings))
        return Verdict(warnings=_CHECKS[kind](body))
    except (InvalidSpec, PkiError) as error:
        return Verdict(str(error))
    except RuleError as error:
        return Verdict(error.display())


def judge_update(kind: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Verdict:
    """Return what is wrong with a change: only what was not wrong before.

    An object may have been stored while the webhook was away, or by a version that allowed more. It must stay possible
    to revoke it, to finish its deletion and to change its labels; what is wrong with it anyway is a warning then.
    """
    if _is_ending(new) or old.get("spec") == new.get("spec"):
        return Verdict()
    verdict = judge(kind, new)
    if verdict.refusal and (_begins_to_revoke(old, new) or judge(kind, old).refusal == verdict.refusal):
        return Verdict(warnings=(" ".join(verdict.refusal.split()),))
    return verdict


def is_plain(spec: object) -> bool:
    """Say whether the API server's schema alone decides about the spec of a ClientCertificate.

    The webhook is not asked about these, so that many can be made at once. Its configuration says the same in CEL.
    """
    if not isinstance(spec, Mapping):
        return False
    subject = spec.get("subject") or {}
    return (
        set(spec) <= _PLAIN_FIELDS
        and not any(spec.get(field) for field in ("uris", "emails", "ipAddresses"))
        and isinstance(subject, Mapping)
        and all(_is_plain_part(part) for part in subject.values())
    )


def _is_plain_part(part: object) -> bool:
    texts = part if isinstance(part, list) else [part]
    return all(isinstance(text, str) and _PLAIN_TEXT.fullmatch(text) for text in texts)


_PLAIN_FIELDS: Final = frozenset(
    (
        *("subject", "dnsNames", "uris", "emails", "ipAddresses", "validity", "privateKey", "secretName"),
        *("revoked", "revocationReason", "deletionPolicy"),
    )
)
_PLAIN_TEXT: Final = re.compile("[ -~]*")


def _is_ending(body: Mapping[str, Any]) -> bool:
    return bool((body.get("metadata") or {}).get("deletionTimestamp"))


def _begins_to_revoke(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    return asks_for_revocation(new) and not asks_for_revocation(old)


def _check_host(body: Mapping[str, Any]) -> tuple[str, ...]:
    parse_host(body)
    return ()


def _check_certificate(body: Mapping[str, Any]) -> tuple[str, ...]:
    certificate = parse_certificate(body)
    names_of(certificate)  # reads the request, too
    return tuple(_doubts(certificate))


def _doubts(certificate: ClientCertificate) -> Iterator[str]:
    """Return what is allowed and probably not what its author wants."""
    renewal = certificate.renewal
    if renewal.before is not None and renewal.before > certificate.validity * LARGEST_PART:
        yield (
            "spec.renewal.before is more than four fifths of spec.validity: each new certificate would be due at once, "
            "so a third of the validity is used instead."
        )
    if certificate.request is not None and renewal.revoke_old_after is not None:
        yield (
            "spec.renewal.revokeOldAfter counts from a change of the spec only: a certificate for a request is not "
            "renewed without its owner."
        )
    pkcs12 = certificate.keystore.pkcs12
    if pkcs12 is not None and pkcs12.profile is KeystoreProfile.LEGACY:
        yield "spec.keystore.pkcs12.profile Legacy is weak encryption: treat keystore.p12 as if it had none."


_CHECKS: Final[Mapping[str, Callable[[Mapping[str, Any]], tuple[str, ...]]]] = {
    names.HOST_KIND: _check_host,
    names.CERTIFICATE_KIND: _check_certificate,
}
