"""A partner's CA and revocation list on the real cluster: trusted, revoked, stale, broken and gone."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from tests.support.certs import Pair, authority, leaf
from tests.support.clients import Http1
from tests.support.cluster import condition, eventually
from tests.support.partner import crl, file_of, pem_of, reference, serials_of
from tests.support.tenant import HOSTNAME, Tenant, identity_context

HOST = {"clientCAs": {"trusted": [reference()], "crls": [reference(key="ca.crl")]}}


@pytest.fixture
def ca() -> Pair:
    return authority("Partner CA")


@pytest.fixture
def partner_shop(tenant: Tenant, ca: Pair) -> Tenant:
    """Return a namespace with two pods behind a host that trusts the partner, /admin protected."""
    write(tenant, ca_crt=pem_of(ca), ca_crl=crl(ca, now=datetime.now(UTC), at=-timedelta(hours=2)))
    tenant.host(**HOST)
    tenant.rule("admin")
    tenant.deploy()
    tenant.wait_pods(2, within=90)
    tenant.wait_ready("mtlshosts", "api")
    return tenant


def path(tenant: Tenant) -> str:
    return f"/api/v1/namespaces/{tenant.namespace}/configmaps"


def write(tenant: Tenant, **files: str | bytes) -> None:
    tenant.api.create(path(tenant), file_of("partner-ca", tenant.namespace, **files))


def change(tenant: Tenant, **files: str | bytes) -> None:
    body = file_of("partner-ca", tenant.namespace, **files)
    patch = {key: body[key] for key in ("data", "binaryData")}
    tenant.api.patch(f"{path(tenant)}/partner-ca", patch)


@contextmanager
def connected(tenant: Tenant, client: Pair) -> Iterator[Http1]:
    context = identity_context(client.certificate_pem.encode(), client.key_pem)
    with Http1(8443, context, HOSTNAME, address=tenant.addresses()[0]) as connection:
        yield connection


def asks(connection: Http1, status: int) -> None:
    eventually(lambda: connection.get("/admin", HOSTNAME).status, lambda seen: seen == status, within=10)


def resolved(tenant: Tenant, reason: str) -> dict[str, Any]:
    return dict(
        eventually(
            lambda: condition(tenant.see("mtlshosts", "api"), "ResolvedRefs"),
            lambda seen: seen.get("reason") == reason,
            within=20,
        )
    )


def test_a_partners_certificate_is_let_in_and_refused_when_it_comes_on_the_list(
    partner_shop: Tenant, ca: Pair
) -> None:
    good, bad, stranger = leaf(ca, "good"), leaf(ca, "bad"), leaf(authority("Partner CA"), "stranger")
    with (
        connected(partner_shop, good) as one,
        connected(partner_shop, bad) as two,
        connected(partner_shop, stranger) as three,
    ):
        assert [each.get("/admin", HOSTNAME).status for each in (one, two, three)] == [200, 200, 403]
        change(partner_shop, ca_crl=crl(ca, *serials_of([bad]), now=datetime.now(UTC)))
        asks(two, 403)
        assert one.get("/admin", HOSTNAME).status == 200
        # What revokes less and is older takes nothing back.
        change(partner_shop, ca_crl=crl(ca, now=datetime.now(UTC), at=-timedelta(hours=3)))
        assert "older" in resolved(partner_shop, "InvalidCRL")["message"]
        assert two.get("/admin", HOSTNAME).status == 403
        # A list that says nothing any more: nobody of this CA, on connections that are open too.
        change(
            partner_shop,
            ca_crl=crl(ca, now=datetime.now(UTC), at=-timedelta(seconds=5), until=timedelta(seconds=4)),
        )
        asks(one, 403)
        resolved(partner_shop, "CRLStale")
        change(
            partner_shop, ca_crl=crl(ca, *serials_of([bad]), now=datetime.now(UTC), at=-timedelta(seconds=1))
        )
        asks(one, 200)
        assert two.get("/admin", HOSTNAME).status == 403
        resolved(partner_shop, "Resolved")


def test_a_deleted_ca_stays_in_force_and_a_ca_taken_out_of_its_file_is_refused_at_once(
    partner_shop: Tenant, ca: Pair
) -> None:
    client = leaf(ca, "good")
    with connected(partner_shop, client) as connection:
        asks(connection, 200)
        partner_shop.api.delete(f"{path(partner_shop)}/partner-ca")
        message = resolved(partner_shop, "ConfigMapNotFound")["message"]
        assert "last good copy stays in force" in message
        assert connection.get("/admin", HOSTNAME).status == 200
        shown = partner_shop.see("mtlshosts", "api")["status"]["clientCAs"]
        assert [(one["source"], one["phase"]) for one in shown[1:]] == [
            ("ConfigMap/partner-ca/ca.crt", "LastGood")
        ]
        other = authority("Other CA")
        write(partner_shop, ca_crt=pem_of(other), ca_crl=crl(other, now=datetime.now(UTC)))
        asks(connection, 403)
        resolved(partner_shop, "Resolved")


def test_forty_thousand_revoked_certificates_in_one_config_map_are_in_force(
    partner_shop: Tenant, ca: Pair
) -> None:
    """Serial numbers of three bytes, in DER: about what fits into one object."""
    good, bad = leaf(ca, "good"), leaf(ca, "bad")
    many = crl(
        ca, *range(0x800000, 0x800000 + 39_999), *serials_of([bad]), now=datetime.now(UTC), form=Encoding.DER
    )
    assert len(b64encode(many)) > 1_000_000
    with connected(partner_shop, good) as one, connected(partner_shop, bad) as two:
        asks(two, 200)
        change(partner_shop, ca_crl=many)
        asks(two, 403)
        assert one.get("/admin", HOSTNAME).status == 200
