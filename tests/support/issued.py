"""One of everything that the product signs: client certificates of every kind, servers, authorities, lists."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from mtls_operator.api.certificate import RevocationReason
from mtls_operator.pki import (
    Authority,
    Issued,
    KeyAlgorithm,
    KeySpec,
    Revocation,
    Subject,
    SubjectAltNames,
    format_serial,
    issue_client,
    issue_internal_client,
    issue_internal_server,
    issue_server,
    make_serial,
    new_authority,
    random_serial,
    sign_crl,
)

DAY = timedelta(days=1)
HOST = "api.example.com"
LONG_HOST = f"{'a' * 60}.{'b' * 60}.example.com"
NAMES = SubjectAltNames(
    dns_names=("gateway-7.example.com",),
    uris=("spiffe://example.com/ns/shop/gateway-7", "urn:uuid:4f1c9b50-31a7-4b0f-9a4d-8a6d3a2a0f11"),
    emails=("ops@example.com",),
    ip_addresses=("192.0.2.7", "2001:db8::7"),
)
FULL_SUBJECT = Subject(
    common_name="gateway-7",
    organizations=("ACME", "Übergröße & Söhne"),
    organizational_units=("Shop",),
    countries=("DE",),
    localities=("München",),
    provinces=("Bayern",),
)


@dataclass(frozen=True, slots=True)
class Shop:
    """An authority, and certificates of it by the name of what is particular about them."""

    now: datetime
    authority: Authority

    @classmethod
    def open(cls) -> Shop:
        now = datetime.now(UTC).replace(microsecond=0)
        authority = new_authority("Shop CA", now=now - DAY, lifetime=3650 * DAY, entropy=bytes(range(16)))
        return cls(now, authority)

    def client(
        self,
        index: int = 7,
        *,
        subject: Subject = FULL_SUBJECT,
        sans: SubjectAltNames = NAMES,
        key: KeySpec | None = None,
    ) -> Issued:
        return issue_client(
            self.authority,
            subject=subject,
            sans=sans,
            key=key or KeySpec(),
            validity=365 * DAY,
            serial=make_serial(index, bytes(range(15))),
            now=self.now,
        )

    def server(self, *hostnames: str) -> Issued:
        return issue_server(
            self.authority,
            hostnames=hostnames,
            validity=90 * DAY,
            serial=random_serial(bytes(range(20, 36))),
            now=self.now,
        )

    def crl(self, *revoked: Issued, number: int = 1, lifetime: timedelta = 7 * DAY) -> str:
        return sign_crl(
            self.authority,
            [self.revocation(one.facts.serial) for one in revoked],
            number=number,
            now=self.now,
            lifetime=lifetime,
        )

    def crl_of_every_reason(self) -> str:
        """Return a list with one entry for each reason."""
        revoked = [
            self.revocation(format_serial(make_serial(index, bytes(range(15)))), reason)
            for index, reason in enumerate(RevocationReason)
        ]
        return sign_crl(self.authority, revoked, number=2**64, now=self.now, lifetime=7 * DAY)

    def revocation(
        self, serial: str, reason: RevocationReason = RevocationReason.KEY_COMPROMISE
    ) -> Revocation:
        return Revocation(
            serial=serial, revoked_at=self.now, reason=reason, not_after=self.now + 365 * DAY, source="shop/a"
        )


def _rsa(size: int) -> Callable[[Shop], Issued]:
    return lambda shop: shop.client(key=KeySpec(KeyAlgorithm.RSA, size))


#: Client certificates by what is particular about them.
CLIENTS: Mapping[str, Callable[[Shop], Issued]] = {
    "ECDSA-256": Shop.client,
    "ECDSA-384": lambda shop: shop.client(key=KeySpec(KeyAlgorithm.ECDSA, 384)),
    "RSA-2048": _rsa(2048),
    "RSA-3072": _rsa(3072),
    "RSA-4096": _rsa(4096),
    "common name alone": lambda shop: shop.client(
        subject=Subject(common_name="gateway-7"), sans=SubjectAltNames()
    ),
    "alternative names alone": lambda shop: shop.client(subject=Subject()),
    "first index": lambda shop: shop.client(0),
    "last index": lambda shop: shop.client(2**32 - 1),
    "proxy": lambda shop: issue_internal_client(
        shop.authority,
        uri="spiffe://mtls-operator.dev/ns/shop/0b1c",
        validity=90 * DAY,
        serial=random_serial(bytes(range(40, 56))),
        now=shop.now,
    ),
}
#: Server certificates, each with a host name that it is for.
SERVERS: Mapping[str, tuple[str, Callable[[Shop], Issued]]] = {
    "exact and wildcard": (HOST, lambda shop: shop.server(HOST, f"*.{HOST}")),
    "wildcard alone": (f"a.{HOST}", lambda shop: shop.server(f"*.{HOST}")),
    "name too long for a common name": (LONG_HOST, lambda shop: shop.server(LONG_HOST)),
    "operator": (
        "mtls-operator.mtls-system.svc",
        lambda shop: issue_internal_server(
            shop.authority,
            dns_names=("mtls-operator.mtls-system.svc",),
            validity=90 * DAY,
            serial=random_serial(bytes(range(60, 76))),
            now=shop.now,
        ),
    ),
}
#: Revocation lists.
LISTS: Mapping[str, Callable[[Shop], str]] = {
    "empty": lambda shop: shop.crl(),
    "one entry": lambda shop: shop.crl(shop.client()),
    "every reason": Shop.crl_of_every_reason,
}
