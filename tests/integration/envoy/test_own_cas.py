"""Certificates of CAs that users bring: what their names, keys, signatures and imported lists make of them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from tests.support import der, forge
from tests.support.certs import Pair, authority, leaf
from tests.support.clients import Http1, tls_context
from tests.support.forge import Forged, Signature
from tests.support.lab import HOST, Lab

from mtls_operator.envoy import IssuerTrust, SerialSet, Unlisted, pack_serials

XFCC = "x-forwarded-client-cert"
ADMIN, FREE = "/admin", "/free"


class Partner:
    """A proxy that trusts the managed CA and two CAs of partners, the second without any list."""

    def __init__(self, lab: Lab, first: Pair, second: Pair) -> None:
        self.lab, self.first, self.second = lab, first, second

    def trust(self, imported: SerialSet | Unlisted | None = None, *, reads_certificate: bool = True) -> None:
        issuers = (
            IssuerTrust(self.lab.people.ca.digest, listed=True),
            IssuerTrust(self.first.digest, listed=False, imported=imported),
            IssuerTrust(self.second.digest, listed=False),
        )
        self.lab.push_rules(replace(self.lab.rules, issuers=issuers, reads_certificate=reads_certificate))

    def present(self, pair: Pair) -> tuple[int, list[str]]:
        """Return what the protected path answers, and what the application is told on the other one."""
        self.lab.people.add("partner", pair)
        return self.ask("partner")

    def ask(self, person: str) -> tuple[int, list[str]]:
        with self.lab.http1(person) as client:
            return self._ask(client)

    def forged(self, one: Forged) -> tuple[int, list[str]]:
        folder = self.lab.people.folder
        (folder / "forged.crt").write_text(one.pem)
        (folder / "forged.key").write_bytes(one.key_pem)
        context = tls_context()
        # The client must not refuse what the proxy is asked about.
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.load_cert_chain(folder / "forged.crt", folder / "forged.key")
        with Http1(self.lab.site.placement.tls_port, context, HOST) as client:
            return self._ask(client)

    def _ask(self, client: Http1) -> tuple[int, list[str]]:
        self.lab.upstream.inbox.clear()
        free, admin = client.get(FREE, HOST), client.get(ADMIN, HOST)
        told = [value for one in self.lab.upstream.inbox.all()[:1] for value in one.values(XFCC)]
        return admin.status if free.status == 200 else -free.status, told

    def leaf(self, **form: Any) -> Forged:
        """Forge a leaf of the first partner."""
        key = form.pop("key", None) or ec.generate_private_key(ec.SECP256R1())
        return forge.forge(
            der.name((forge.COMMON_NAME, "client")),
            key=key,
            issuer=self.first.certificate.subject.public_bytes(),
            signer=self.first.key,
            period=(
                self.first.certificate.not_valid_before_utc,
                self.first.certificate.not_valid_after_utc,
            ),
            extensions=[
                forge.extended_key_usage(forge.CLIENT_AUTH),
                *form.pop("more", ()),
            ],
            **form,
        )


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Partner]:
    first, second = authority("partner"), authority("other partner")
    lab = Lab(
        tmp_path_factory.mktemp("own"),
        client_ca_pem=first.certificate_pem + second.certificate_pem,
    )
    yield Partner(lab, first, second)
    lab.close()


@pytest.fixture
def partner(shared: Partner) -> Partner:
    shared.lab.reset()
    shared.trust()
    return shared


def revoked(*pairs: Pair, ends: int | None = None, among: int = 0) -> SerialSet:
    """Return a list of these certificates among others."""
    others = (f"{number:040X}" for number in range(among))
    return SerialSet(pack_serials([*(pair.serial_hex.upper() for pair in pairs), *others]), ends)


def test_a_certificate_of_a_partner_is_verified_and_passed_on(partner: Partner) -> None:
    status, told = partner.present(leaf(partner.first, "client", dns=("client.example.com",)))
    assert status == 200
    assert len(told) == 1
    assert "DNS=client.example.com" in told[0]


@pytest.mark.parametrize(
    "name",
    [
        "a,Hash=1;DNS=admin",
        "a;DNS=admin.example.com",
        "a,By=spiffe",
        'a"',
        "a b",
    ],
)
def test_a_name_that_would_forge_what_the_application_is_told_makes_the_certificate_worthless(
    partner: Partner, name: str
) -> None:
    """The authority is trusted and the chain is right: only the name stands in the way (G1)."""
    for pair in (
        leaf(partner.first, "client", dns=(name,)),
        leaf(partner.first, "client", uris=(f"urn:{name}",)),
    ):
        assert partner.present(pair) == (403, [])


@pytest.mark.parametrize("name", [b"a\0", b"a\r\nx: y", b"\xff", b"a,Hash=1"])
@pytest.mark.parametrize("kind", [2, 6], ids=["DNS", "URI"])
def test_bytes_that_no_name_has_make_the_certificate_worthless(
    partner: Partner, kind: int, name: bytes
) -> None:
    names = forge.alternative_names(der.implicit(kind, name))
    status, told = partner.forged(partner.leaf(more=[names]))
    assert status in (403, -503)  # Envoy itself refuses to write some of them into a header.
    assert told == []


@pytest.mark.parametrize(
    ("form", "status"),
    [
        ({}, 200),
        ({"signature": Signature.ECDSA_SHA1}, 403),
        ({"key": forge.rsa_key(2048)}, 200),
        ({"key": forge.rsa_key(1024)}, 403),
        ({"key": ec.generate_private_key(ec.SECP384R1()), "signature": Signature.ECDSA_SHA384}, 200),
    ],
    ids=["usual", "SHA-1", "RSA 2048", "RSA 1024", "P-384"],
)
def test_weak_signatures_and_keys_do_not_count(partner: Partner, form: dict[str, Any], status: int) -> None:
    got, told = partner.forged(partner.leaf(**form))
    assert got == status
    assert bool(told) is (status == 200)


def test_a_serial_number_on_the_imported_list_is_revoked_and_its_neighbours_are_not(partner: Partner) -> None:
    pairs = [leaf(partner.first, f"client {number}") for number in range(3)]
    partner.trust(revoked(pairs[1], among=10))
    assert [partner.present(pair)[0] for pair in pairs] == [200, 403, 200]


@pytest.mark.parametrize("serial", [1, 0x7F, 0x80, 0xFF, 0x100, 0x0ABC, 2**159 + 1, 2**158, 2**64])
def test_serial_numbers_of_any_form_are_found(partner: Partner, serial: int) -> None:
    text = f"{serial:X}"
    listed = SerialSet(pack_serials([text.zfill(len(text) + len(text) % 2)]))
    client = partner.leaf(serial=serial)
    assert partner.forged(client)[0] == 200
    partner.trust(listed)
    assert partner.forged(client)[0] == 403


def test_the_list_of_one_partner_says_nothing_of_the_same_serial_numbers_of_another(partner: Partner) -> None:
    here, there = leaf(partner.first, "client", index=7), leaf(partner.second, "client", index=7)
    partner.trust(revoked(here))
    assert partner.present(here)[0] == 403
    assert partner.present(there)[0] == 200


def test_serial_numbers_of_a_partner_are_never_looked_up_in_the_bitmap_of_the_managed_ca(
    partner: Partner,
) -> None:
    """A partner may give out serial numbers of the form of ours, with an index that is revoked here."""
    client = leaf(partner.first, "client", index=2)
    partner.lab.push_revocation(partner.lab.revocation_text((2,)))
    assert partner.present(client)[0] == 200


def test_where_a_list_ought_to_be_and_is_not_every_certificate_of_that_ca_is_refused(
    partner: Partner,
) -> None:
    partner.trust(Unlisted.UNKNOWN)
    assert partner.present(leaf(partner.first, "client"))[0] == -403
    assert partner.present(leaf(partner.second, "client"))[0] == 200


def test_without_rules_that_read_certificates_an_unknown_state_stops_nobody_and_nothing_is_passed_on(
    partner: Partner,
) -> None:
    partner.trust(Unlisted.UNKNOWN, reads_certificate=False)
    assert partner.present(leaf(partner.first, "client", dns=("client.example.com",)))[1] == []


def test_a_list_ends_by_the_clock_of_the_proxy_also_on_an_open_connection_and_without_an_operator(
    partner: Partner,
) -> None:
    """G1 and G7: nobody has to push anything for a list to become stale."""
    partner.lab.people.add("partner", leaf(partner.first, "client"))
    partner.trust(revoked(ends=int(time.time()) + 2))
    with partner.lab.http1("partner") as client:
        assert client.get(ADMIN, HOST).status == 200
        deadline = time.monotonic() + 10
        while client.get(ADMIN, HOST).status == 200:
            assert time.monotonic() < deadline
        assert client.get(FREE, HOST).status == 403


@pytest.mark.parametrize("protocol", ["http1", "http2"])
def test_a_ca_ends_by_the_clock_of_the_proxy_also_on_an_open_connection_and_without_an_operator(
    partner: Partner, protocol: str
) -> None:
    """Its certificate may say that it is valid for longer; a new handshake would not believe that either."""
    partner.lab.people.add("partner", leaf(partner.first, "client"))
    end = int(time.time()) + 2
    ending = IssuerTrust(partner.first.digest, listed=False, ends=end)
    with getattr(partner.lab, protocol)("partner") as client:
        partner.lab.push_rules(replace(partner.lab.rules, issuers=(ending,)))
        assert client.get(ADMIN, HOST).status == 200
        deadline = time.monotonic() + 10
        while client.get(ADMIN, HOST).status == 200:
            assert time.monotonic() < deadline
        assert time.time() >= end
        partner.lab.upstream.inbox.clear()
        assert client.get(FREE, HOST).status == 200
        assert [value for one in partner.lab.upstream.inbox.all() for value in one.values(XFCC)] == []


def test_a_list_of_forty_thousand_is_loaded_and_asked(partner: Partner) -> None:
    bad, good = leaf(partner.first, "bad"), leaf(partner.first, "good")
    partner.trust(revoked(bad, among=40_000))
    assert partner.present(bad)[0] == 403
    assert partner.present(good)[0] == 200


def test_a_ca_that_is_taken_off_the_host_counts_no_more_whatever_its_list_says(partner: Partner) -> None:
    partner.lab.people.add("partner", leaf(partner.first, "client"))
    with partner.lab.http1("partner") as client:
        assert client.get(ADMIN, HOST).status == 200
        partner.lab.push_rules(
            replace(partner.lab.rules, issuers=(IssuerTrust(partner.second.digest, listed=False),))
        )
        assert client.get(ADMIN, HOST).status == 403
        assert client.get(FREE, HOST).status == 200


def test_an_expired_certificate_of_a_partner_is_not_verified(partner: Partner) -> None:
    assert partner.present(leaf(partner.first, "client", start=timedelta(days=-2)))[0] == 403
