"""The operator's own CA, the webhook's certificate, and the bundle that verifies it."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from tests.support.fake_cluster import FakeClient, Fault
from tests.unit.operator.context import Place

from mtls_operator.api import names
from mtls_operator.cluster import Body, Kind, UnavailableError
from mtls_operator.controller import internal
from mtls_operator.controller.internal import SERVER_LIFETIME, Internal
from mtls_operator.pki import PkiError, is_issued_by, read_certificate

HOME = names.OPERATOR_NAMESPACE
SERVICE = "mtls-operator-webhook.mtls-system.svc"
APPLY_CERTIFICATE = f"apply Secret {HOME}/{names.WEBHOOK_SECRET}"
KINDS = (Kind.MUTATING_WEBHOOK, Kind.VALIDATING_WEBHOOK)
PATCHES = [f"patch {kind.kind} /{names.WEBHOOK_CONFIGURATION}" for kind in KINDS]


@pytest.fixture
async def own(place: Place) -> Internal:
    for kind, hooks in zip(KINDS, (("pods",), ("mtlsrules", "mtlshosts")), strict=True):
        place.server.make(
            {
                "apiVersion": kind.api_version,
                "kind": kind.kind,
                "metadata": {"name": names.WEBHOOK_CONFIGURATION},
                "webhooks": [
                    {
                        "name": f"{hook}.mtls-operator.dev",
                        "failurePolicy": "Fail",
                        "clientConfig": {"service": {"name": names.WEBHOOK_SERVICE, "port": 443}},
                    }
                    for hook in hooks
                ],
            }
        )
    made = await internal.load(place.context())
    place.writes()
    return made


def webhook_secret(place: Place) -> dict[str, bytes]:
    data = place.server.read(Kind.SECRET, HOME, names.WEBHOOK_SECRET)["data"]
    return {key: b64decode(value) for key, value in data.items()}


def webhooks(place: Place, kind: Kind) -> list[Body]:
    entries: list[Body] = place.server.read(kind, "", names.WEBHOOK_CONFIGURATION)["webhooks"]
    return entries


def trusted(place: Place, kind: Kind) -> set[str]:
    """Return what the API server verifies the webhooks of a configuration with."""
    return {b64decode(entry["clientConfig"]["caBundle"]).decode() for entry in webhooks(place, kind)}


async def test_the_ca_is_made_on_first_use(place: Place) -> None:
    own = await internal.load(place.context())
    assert place.writes() == [f"create Secret {HOME}/{names.INTERNAL_CA_SECRET}"]
    assert own.ca_pem.startswith("-----BEGIN CERTIFICATE-----")


async def test_a_restart_finds_the_same_ca(place: Place) -> None:
    first = await internal.load(place.context(seed=1))
    place.writes()
    second = await internal.load(place.context(seed=2))
    assert second.ca_pem == first.ca_pem
    assert place.writes() == []


class Late(FakeClient):
    """Reads that there is nothing yet, just before somebody else makes it."""

    overtaken: Callable[[], Awaitable[object]] | None = None

    async def get(self, kind: Kind, namespace: str | None, name: str) -> Body | None:
        answer = await super().get(kind, namespace, name)
        if self.overtaken is not None:
            overtake, self.overtaken = self.overtaken, None
            await overtake()
        return answer


async def test_of_two_that_start_at_once_one_makes_the_ca_and_both_use_it(place: Place) -> None:
    late = Late(place.server, latency=0)
    late.overtaken = lambda: internal.load(place.context(seed=1))
    own = await internal.load(place.context(seed=2, client=late))
    stored = place.server.read(Kind.SECRET, HOME, names.INTERNAL_CA_SECRET)
    assert own.ca_pem == b64decode(stored["data"][names.TLS_CERT_KEY]).decode()
    assert late.overtaken is None


@pytest.mark.parametrize("key", [names.TLS_CERT_KEY, names.TLS_KEY_KEY])
@pytest.mark.parametrize("value", [None, "", b64encode(b"no pem").decode(), "%%%"])
async def test_a_damaged_ca_is_an_error_and_never_replaced(place: Place, key: str, value: str | None) -> None:
    """A new one would cut off every sidecar that runs, without a word."""
    await internal.load(place.context())
    place.writes()
    place.server.edit(Kind.SECRET, HOME, names.INTERNAL_CA_SECRET, {"data": {key: value}})
    with pytest.raises(
        PkiError, match=r"^Secret internal-ca in namespace mtls-system is no usable CA: .*Restore"
    ):
        await internal.load(place.context())
    assert place.writes() == []


async def test_its_key_comes_out_of_nothing_that_is_printed(own: Internal, place: Place) -> None:
    stored = place.server.read(Kind.SECRET, HOME, names.INTERNAL_CA_SECRET)
    key = b64decode(stored["data"][names.TLS_KEY_KEY]).decode().splitlines()[1]
    assert key not in repr(own)


async def test_the_webhook_gets_a_certificate_for_its_service(own: Internal, place: Place) -> None:
    await own.reconcile()
    secret = webhook_secret(place)
    facts = read_certificate(secret[names.TLS_CERT_KEY])
    assert set(facts.dns_names) == {SERVICE, f"{SERVICE}.cluster.local"}
    assert is_issued_by(own.authority, secret[names.TLS_CERT_KEY].decode())
    assert secret[names.CA_KEY].decode() == own.ca_pem


@pytest.mark.parametrize("kind", KINDS)
async def test_the_api_server_is_told_which_ca_verifies_the_webhook(
    own: Internal, place: Place, kind: Kind
) -> None:
    await own.reconcile()
    assert trusted(place, kind) == {own.ca_pem}


@pytest.mark.parametrize("kind", KINDS)
async def test_the_rest_of_the_configuration_stays_as_it_is(own: Internal, place: Place, kind: Kind) -> None:
    before = webhooks(place, kind)
    await own.reconcile()
    after = webhooks(place, kind)
    for entry in after:
        del entry["clientConfig"]["caBundle"]
    assert after == before


async def test_a_second_look_writes_nothing(own: Internal, place: Place) -> None:
    """G6, also after a restart."""
    await own.reconcile()
    assert place.writes() == [APPLY_CERTIFICATE, *PATCHES]
    await own.reconcile()
    await (await internal.load(place.context(seed=5))).reconcile()
    assert place.writes() == []


async def test_it_is_renewed_at_two_thirds_of_its_life(own: Internal, place: Place) -> None:
    await own.reconcile()
    first = webhook_secret(place)[names.TLS_CERT_KEY]
    place.clock.moment += SERVER_LIFETIME * 2 / 3 - timedelta(hours=1)
    await own.reconcile()
    assert webhook_secret(place)[names.TLS_CERT_KEY] == first
    place.clock.add(hours=2)
    await own.reconcile()
    assert webhook_secret(place)[names.TLS_CERT_KEY] != first


@pytest.mark.parametrize(
    "harm",
    [
        {names.TLS_CERT_KEY: b64encode(b"no pem").decode()},
        {names.TLS_CERT_KEY: None},
        {names.TLS_KEY_KEY: None},
        {names.TLS_KEY_KEY: ""},
    ],
    ids=["damaged", "no certificate", "no key", "empty key"],
)
async def test_a_harmed_certificate_is_made_again(own: Internal, place: Place, harm: dict[str, Any]) -> None:
    await own.reconcile()
    place.server.edit(Kind.SECRET, HOME, names.WEBHOOK_SECRET, {"data": harm})
    place.writes()
    await own.reconcile()
    assert place.writes() == [APPLY_CERTIFICATE]
    assert webhook_secret(place)[names.TLS_KEY_KEY]


async def test_a_certificate_of_another_ca_is_replaced(own: Internal, place: Place) -> None:
    await own.reconcile()
    place.server.remove(Kind.SECRET, HOME, names.INTERNAL_CA_SECRET)
    other = await internal.load(place.context(seed=9))
    await other.reconcile()
    assert is_issued_by(other.authority, webhook_secret(place)[names.TLS_CERT_KEY].decode())
    for kind in KINDS:
        assert trusted(place, kind) == {other.ca_pem}


@pytest.mark.parametrize("kind", KINDS)
async def test_a_bundle_that_somebody_changes_is_restored(own: Internal, place: Place, kind: Kind) -> None:
    """With another CA in it somebody else could answer for the webhook."""
    await own.reconcile()
    harmed = webhooks(place, kind)
    harmed[-1]["clientConfig"]["caBundle"] = b64encode(b"somebody else's").decode()
    place.server.edit(kind, "", names.WEBHOOK_CONFIGURATION, {"webhooks": harmed})
    await own.reconcile()
    assert trusted(place, kind) == {own.ca_pem}


@pytest.mark.parametrize(("missing", "other"), [KINDS, KINDS[::-1]])
async def test_without_a_configuration_it_says_so_sees_to_the_other_and_looks_again(
    own: Internal, place: Place, logged: list[Any], missing: Kind, other: Kind
) -> None:
    place.server.remove(missing, "", names.WEBHOOK_CONFIGURATION)
    again = await own.reconcile()
    assert 0 < again <= 60
    said = [line["kind"] for line in logged if line["event"] == "webhook.configuration.missing"]
    assert said == [missing.kind]
    assert trusted(place, other) == {own.ca_pem}


async def test_it_is_looked_at_often_enough(own: Internal) -> None:
    """While the bundle is wrong no labelled pod can be created."""
    assert 0 < await own.reconcile() <= 60


async def test_proxies_and_servers_get_different_kinds_of_certificates(own: Internal) -> None:
    """A proxy's certificate, which tenants can read, must not serve as the operator's."""
    uri = names.proxy_identity("shop", "u-1")
    proxy = read_certificate(own.proxy_certificate(uri, lifetime=timedelta(days=1)).certificate_pem)
    server = read_certificate(own.server_certificate("mtls-operator.mtls-system.svc").certificate_pem)
    assert (proxy.uris, proxy.dns_names) == ((uri,), ())
    assert (server.uris, server.dns_names) == ((), ("mtls-operator.mtls-system.svc",))


async def test_a_create_whose_answer_gets_lost_leads_to_the_ca_that_it_made(place: Place) -> None:
    place.server.faults.append(Fault("create", Kind.SECRET, UnavailableError("cut"), answer_lost=True))
    with pytest.raises(UnavailableError):
        await internal.load(place.context(seed=1))
    stored = place.server.read(Kind.SECRET, HOME, names.INTERNAL_CA_SECRET)
    own = await internal.load(place.context(seed=2))
    assert own.ca_pem == b64decode(stored["data"][names.TLS_CERT_KEY]).decode()
