"""Checking a server certificate that a user brings, before it reaches a proxy: all that is wrong with it.

Whether clients trust its CA is their business and not checked.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from mtls_operator.api.secret import Secret
from mtls_operator.pki.authority import key_belongs
from mtls_operator.pki.certificate import facts_of, find_extension, to_bytes
from mtls_operator.pki.errors import PkiError, Reason, refusing
from mtls_operator.pki.hostname import covers
from mtls_operator.pki.instants import rfc3339, utc
from mtls_operator.pki.keys import key_to_pem, load_key

#: A server sends its whole chain in every handshake; nobody's is as long.
LONGEST_CHAIN: Final = 16


@dataclass(frozen=True, slots=True)
class Problem:
    """One reason why a pair cannot serve, in the form of a condition."""

    reason: Reason
    message: str


def check_server_pair(
    certificate_pem: bytes | str, key_pem: Secret, hostnames: Iterable[str], *, now: datetime
) -> tuple[Problem, ...]:
    """Return all problems of a server certificate, its chain and its key for these host names.

    An empty answer means that it can serve. Checked: everything parses (a proxy refuses the whole file
    otherwise), there are at most 16 certificates, the key belongs to the first one and is of a kind that Envoy
    serves with, the time, ``serverAuth`` where usages are limited, and that each host name is among the alternative
    names (RFC 9525: never the common name; a wildcard stands for one label).
    """
    try:
        chain = _parse_chain(certificate_pem)
        key = load_key(key_pem)
        matches = key_belongs(chain[0], key)
    except PkiError as error:
        return (Problem(Reason.INVALID_SERVING_CERTIFICATE, str(error)),)
    problems = _problems(chain[0], tuple(hostnames), now=now)
    if matches:
        return tuple(problems)
    mismatch = "tls.key does not belong to the first certificate of tls.crt."
    return (Problem(Reason.KEY_MISMATCH, mismatch), *problems)


def plain_server_pair(certificate_pem: bytes | str, key_pem: Secret) -> tuple[str, Secret]:
    """Return the certificates and the key of two PEM texts, written anew: nothing else that stood there.

    Text around the blocks, further blocks and other forms of a key (PKCS#1, SEC 1) are read by some programs and not by
    others; a proxy that refuses a file keeps what it had. Raises `PkiError` if either cannot be read.
    """
    chain = _parse_chain(certificate_pem)
    return "".join(one.public_bytes(Encoding.PEM).decode() for one in chain), key_to_pem(load_key(key_pem))


def _parse_chain(pem: bytes | str) -> list[x509.Certificate]:
    data = to_bytes(pem)
    if data.count(b"-----BEGIN CERTIFICATE-----") > LONGEST_CHAIN:
        raise PkiError(
            Reason.INVALID_SERVING_CERTIFICATE,
            f"tls.crt has more than {LONGEST_CHAIN} certificates: leave the server's and those between it and its "
            "root.",
        )
    with refusing(Reason.INVALID_SERVING_CERTIFICATE, "tls.crt cannot be read"):
        chain = x509.load_pem_x509_certificates(data)
    for certificate in chain:
        facts_of(certificate)
    return chain


def _problems(leaf: x509.Certificate, hostnames: tuple[str, ...], *, now: datetime) -> Iterable[Problem]:
    facts, moment = facts_of(leaf), utc(now)
    if moment >= facts.not_after:
        yield Problem(
            Reason.SERVING_CERTIFICATE_EXPIRED,
            f"the server certificate expired at {rfc3339(facts.not_after)}.",
        )
    if moment < facts.not_before:
        yield Problem(
            Reason.SERVING_CERTIFICATE_NOT_YET_VALID,
            f"the server certificate is valid from {rfc3339(facts.not_before)} on.",
        )
    usage = find_extension(leaf, x509.ExtendedKeyUsage)
    if usage is not None and not {
        ExtendedKeyUsageOID.SERVER_AUTH,
        ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
    } & set(usage):
        yield Problem(
            Reason.INVALID_SERVING_CERTIFICATE,
            "the certificate is not for servers: extendedKeyUsage serverAuth is missing.",
        )
    for hostname in hostnames:
        if not any(covers(name, hostname) for name in facts.dns_names):
            yield Problem(
                Reason.HOSTNAME_NOT_IN_CERTIFICATE,
                f"the certificate has no alternative name for {hostname}.",
            )
