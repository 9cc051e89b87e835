"""The managed CAs of two namespaces behind one host: each has its list, and both travel in one script."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from cryptography import x509
from tests.support.certs import Pair, authority, leaf
from tests.support.envoy import eventually
from tests.support.lab import HOST, NO_GOOD_CERTIFICATE, Lab

from mtls_operator.api.names import CLIENT_CA_SDS_KEY, REVOCATION_KEY
from mtls_operator.envoy import IN_POD, IssuerRevocations, IssuerTrust, RuleScript, client_ca_sds, version_of
from mtls_operator.pki import bitmap
from mtls_operator.plan.published import Listing, Publication, publish

XFCC = "x-forwarded-client-cert"
#: The scripts look at their file every two seconds.
PATIENCE = 6.0


class Shop:
    """A proxy that trusts the managed CA of its own namespace and that of another one."""

    def __init__(self, lab: Lab, partners: Pair) -> None:
        self.lab, self.partners = lab, partners
        self.publication: Publication | None = None
        for name, index in (("agent", 1), ("other", 2)):
            lab.people.add(name, leaf(partners, name, index=index))

    def trust(self, *, both: bool = True) -> None:
        issuers = [IssuerTrust(self.lab.people.ca.digest, listed=True)]
        if both:
            issuers.append(IssuerTrust(self.partners.digest, listed=True))
        self.lab.push_rules(replace(self.lab.rules, issuers=tuple(issuers)))

    def text(self, own: tuple[int, ...], others: dict[str, tuple[int, ...]]) -> str:
        """Return the script that the operator publishes, above the one before."""
        before = self.publication
        self.publication = publish(
            _listing(self.lab.people.ca, own),
            {name: _listing(self.partners, indices) for name, indices in others.items()},
            previous=before.script if before is not None else "",
            seen=[before.epoch] if before is not None else [],
            now=datetime.now(UTC),
        )
        return self.publication.script.replace(
            IN_POD.revocation_file, self.lab.site.placement.revocation_file
        )

    def ask(self, person: str) -> int:
        with self.lab.http1(person) as client:
            return client.get("/admin", HOST).status


def _listing(ca: Pair, indices: tuple[int, ...]) -> Listing:
    issuers = (IssuerRevocations(ca.digest, bitmap(indices)),)
    return Listing(issuers, frozenset(), datetime.now(UTC), None)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    partners = authority("partners")
    lab = Lab(tmp_path_factory.mktemp("granted"), client_ca_pem=partners.certificate_pem)
    bundle = client_ca_sds(lab.people.ca.certificate_pem + partners.certificate_pem)
    lab.site.change("host", {CLIENT_CA_SDS_KEY: bundle})
    eventually(lambda: lab.proxy.stats().client_ca == version_of(bundle), "the bundle of both")
    yield Shop(lab, partners)
    lab.close()


@pytest.fixture
def shop(shared: Shop) -> Shop:
    shared.lab.reset()
    shared.trust()
    shared.lab.push_revocation(shared.text((2,), {"partners": ()}))
    return shared


def test_certificates_of_both_are_let_in_and_passed_on(shop: Shop) -> None:
    assert [shop.ask(person) for person in ("good", "agent", "other")] == [200, 200, 200]
    shop.lab.upstream.inbox.clear()
    shop.ask("agent")
    assert len(shop.lab.upstream.inbox.all()[-1].values(XFCC)) == 1


def test_the_same_index_is_another_certificate_under_another_ca(shop: Shop) -> None:
    """``revoked`` and ``other`` have the index 2, ``good`` and ``agent`` the index 1."""
    assert [shop.ask(person) for person in ("revoked", "other")] == [403, 200]
    shop.lab.push_revocation(shop.text((), {"partners": (2,)}))
    assert [shop.ask(person) for person in ("good", "revoked", "agent", "other")] == [200, 200, 200, 403]


def test_a_revocation_of_the_other_namespace_is_in_force_on_open_connections(shop: Shop) -> None:
    with shop.lab.http1("agent") as one, shop.lab.http1("good") as two:
        assert [client.get("/admin", HOST).status for client in (one, two)] == [200, 200]
        shop.lab.push_revocation(shop.text((2,), {"partners": (1,)}))
        assert [client.get("/admin", HOST).status for client in (one, two)] == [403, 200]


def test_without_a_list_of_the_other_ca_its_certificates_are_of_unknown_state_and_refused(shop: Shop) -> None:
    """G1: what a withdrawn grant leaves, also where the rules of the host cannot be written anew."""
    with shop.lab.http1("agent") as client:
        assert client.get("/admin", HOST).status == 200
        shop.lab.push_revocation(shop.text((2,), {}))
        assert client.get("/admin", HOST).status == 403
        assert client.get("/free", HOST).status == 403
    assert shop.ask("good") == 200


def test_a_ca_that_is_trusted_no_more_is_refused_at_once_although_the_file_still_has_it(shop: Shop) -> None:
    with shop.lab.http1("agent") as client:
        assert client.get("/admin", HOST).status == 200
        shop.trust(both=False)
        assert client.get("/admin", HOST).status == 403
        shop.lab.upstream.inbox.clear()
        assert client.get("/free", HOST).status == 200
    assert shop.lab.upstream.inbox.all()[-1].values(XFCC) == []


def test_a_newer_file_with_the_revocation_of_either_takes_over_and_an_older_one_takes_nothing_back(
    shop: Shop,
) -> None:
    """A restarted proxy starts from the file; one that the operator cannot reach follows it."""
    older = shop.text((2,), {"partners": ()})
    newer = shop.text((2,), {"partners": (1,)})
    with shop.lab.http1("agent") as client:
        shop.lab.site.change("revocation", {REVOCATION_KEY: newer})
        eventually(lambda: client.get("/admin", HOST).status == 403, "the newer file", seconds=PATIENCE)
        shop.lab.site.change("revocation", {REVOCATION_KEY: older})
        shop.lab.push_revocation(shop.text((1, 2), {"partners": (1,)}))
        assert client.get("/admin", HOST).status == 403
    assert shop.ask("good") == 403


def test_rules_can_tell_both_apart_by_the_key_identifier_of_the_issuer(shop: Shop) -> None:
    ski = (
        shop.partners.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
        .value.digest.hex()
        .upper()
    )
    of_partners = f'f["cf.tls_client_auth.cert_issuer_ski"] == "{ski}"'
    rule = RuleScript("partners", "block", (), f"{NO_GOOD_CERTIFICATE} or not ({of_partners})")
    issuers = tuple(IssuerTrust(ca.digest, listed=True) for ca in (shop.lab.people.ca, shop.partners))
    shop.lab.push_rules(replace(shop.lab.rules, issuers=issuers, rules=(rule,)))
    assert [shop.ask(person) for person in ("agent", "good", "foreign")] == [200, 403, 403]


def test_a_ca_with_the_name_of_the_other_one_is_nobody(shop: Shop) -> None:
    shop.lab.people.add("look-alike", leaf(authority("partners"), "agent", index=1))
    assert shop.ask("look-alike") == 403
