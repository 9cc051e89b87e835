"""Which server certificate a host serves: issued, or the user's own; what is broken never replaces what works."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from tests.support import builders
from tests.support.certs import SERVER, Pair, authority, leaf
from tests.support.fake_cluster import Fault
from tests.unit.operator.context import Place

from mtls_operator.api import names
from mtls_operator.api.host import Host, parse_host
from mtls_operator.api.reason import Reason
from mtls_operator.cluster import Kind, UnavailableError
from mtls_operator.controller.serving import LIFETIME, ServingCertificates
from mtls_operator.pki import read_certificate
from mtls_operator.plan.host import Serving
from mtls_operator.plan.objects import Owner, metadata, secret
from mtls_operator.plan.trouble import Trouble

HOME = names.OPERATOR_NAMESPACE
SERVING_CA = names.serving_ca_secret("shop")
CREATE_CA = f"create Secret {HOME}/{SERVING_CA}"


def host(*hostnames: str, secret_name: str | None = None) -> Host:
    tls = {"tls": {"secretName": secret_name}} if secret_name else {}
    body = builders.host(hostnames=hostnames or ("api.example.com",), **tls)
    body["metadata"]["uid"] = "host-1"
    return parse_host(body)


def uid(place: Place) -> str:
    return str(place.server.read(Kind.NAMESPACE, "", "shop")["metadata"]["uid"])


async def served(certificates: ServingCertificates, place: Place, wanted: Host) -> Serving:
    serving, troubles = await certificates.of(wanted, uid(place))
    assert troubles == ()
    assert serving is not None
    return serving


def own_secret(place: Place, pair: Pair, name: str = "api-tls") -> None:
    """Write the user's own Secret."""
    body = builders.tls_secret(name, pair.certificate_pem, pair.key_pem)
    if place.server.find(Kind.SECRET, "shop", name) is None:
        place.server.make(body)
    else:
        place.server.edit(Kind.SECRET, "shop", name, {"data": body["data"]})


def store(place: Place, serving: Serving, owner_uid: str = "host-1") -> None:
    """Write the Secret that the pods mount, as the host's reconciler does."""
    owner = Owner(names.API_VERSION, names.HOST_KIND, "api", owner_uid)
    place.server.make(
        secret(
            metadata("shop", names.server_secret("api"), role="server", owner=owner),
            {
                names.TLS_CERT_KEY: serving.certificate_pem,
                names.TLS_KEY_KEY: serving.key_pem,
                names.CA_KEY: serving.ca_pem,
            },
        )
    )


@pytest.fixture
def pair(place: Place) -> Callable[..., Pair]:
    """Make the user's certificates, valid by the clock of the test."""
    ca = authority("user's CA", now=place.clock.now())

    def make(*hostnames: str, **wishes: Any) -> Pair:
        names_of = hostnames or ("api.example.com",)
        return leaf(ca, names_of[0], usage=SERVER, dns=names_of, now=place.clock.now(), **wishes)

    return make


@pytest.fixture
async def certificates(place: Place) -> ServingCertificates:
    return ServingCertificates(place.context())


async def test_without_a_secret_of_the_user_one_is_issued_for_exactly_its_names(
    certificates: ServingCertificates, place: Place
) -> None:
    serving = await served(certificates, place, host("api.example.com", "*.api.example.com"))
    facts = read_certificate(serving.certificate_pem)
    assert set(facts.dns_names) == {"api.example.com", "*.api.example.com"}
    assert facts.not_after - place.clock.now() <= LIFETIME
    assert place.writes() == [CREATE_CA]


async def test_its_ca_is_handed_out_with_it(certificates: ServingCertificates, place: Place) -> None:
    serving = await served(certificates, place, host())
    stored = place.server.read(Kind.SECRET, HOME, SERVING_CA)
    assert serving.ca_pem == b64decode(stored["data"][names.TLS_CERT_KEY]).decode()


async def test_the_hosts_of_a_namespace_share_one_ca(certificates: ServingCertificates, place: Place) -> None:
    first = await served(certificates, place, host("a.example.com"))
    second = await served(certificates, place, host("b.example.com"))
    assert first.ca_pem == second.ca_pem
    assert place.writes() == [CREATE_CA]


async def test_what_fits_is_not_issued_again(certificates: ServingCertificates, place: Place) -> None:
    first = await served(certificates, place, host())
    assert await served(certificates, place, host()) == first


async def test_after_a_restart_the_stored_one_goes_on(
    certificates: ServingCertificates, place: Place
) -> None:
    first = await served(certificates, place, host())
    store(place, first)
    assert await served(ServingCertificates(place.context(seed=2)), place, host()) == first


async def test_a_stored_one_of_a_former_host_of_that_name_is_not_used(
    certificates: ServingCertificates, place: Place
) -> None:
    first = await served(certificates, place, host())
    store(place, first, owner_uid="former")
    assert await served(ServingCertificates(place.context(seed=2)), place, host()) != first


async def test_a_stored_one_that_a_tenant_signed_is_replaced(
    place: Place, certificates: ServingCertificates, pair: Callable[..., Pair]
) -> None:
    """Whoever may write Secrets of the namespace must not have the operator vouch for a certificate."""
    forged = pair()
    ca = await served(certificates, place, host())
    store(place, Serving(forged.certificate_pem, ca.key_pem, ca.ca_pem))
    serving = await served(ServingCertificates(place.context(seed=2)), place, host())
    assert serving.certificate_pem != forged.certificate_pem
    assert serving.ca_pem == ca.ca_pem


async def test_a_new_name_needs_a_new_certificate(certificates: ServingCertificates, place: Place) -> None:
    await served(certificates, place, host())
    serving = await served(certificates, place, host("api.example.com", "www.example.com"))
    assert set(read_certificate(serving.certificate_pem).dns_names) == {"api.example.com", "www.example.com"}


async def test_it_is_renewed_when_a_third_of_its_life_is_left(
    certificates: ServingCertificates, place: Place
) -> None:
    first = await served(certificates, place, host())
    place.clock.moment += LIFETIME * 2 / 3 - timedelta(hours=1)
    assert await served(certificates, place, host()) == first
    place.clock.add(hours=2)
    assert await served(certificates, place, host()) != first


async def test_the_next_look_is_when_it_is_due(certificates: ServingCertificates, place: Place) -> None:
    assert certificates.renewal(host()) is None
    await served(certificates, place, host())
    due = certificates.renewal(host())
    assert due == pytest.approx((LIFETIME * 2 / 3).total_seconds(), abs=600)
    place.clock.moment += LIFETIME * 2
    assert certificates.renewal(host()) == 60


async def test_a_host_that_is_gone_is_forgotten(certificates: ServingCertificates, place: Place) -> None:
    await served(certificates, place, host())
    certificates.forget("host-1")
    assert certificates.renewal(host()) is None


async def test_a_namespace_made_again_gets_a_new_ca(certificates: ServingCertificates, place: Place) -> None:
    first = await served(certificates, place, host())
    place.server.remove_namespace("shop")
    place.server.make_namespace("shop")
    second = await served(ServingCertificates(place.context(seed=2)), place, host())
    assert second.ca_pem != first.ca_pem


async def test_two_that_make_the_ca_at_once_end_up_with_one(place: Place) -> None:
    both = [ServingCertificates(place.context(seed=seed)) for seed in (1, 2)]
    place.server.faults.append(
        Fault("create", Kind.SECRET, UnavailableError("cut"), name=SERVING_CA, answer_lost=True)
    )
    with pytest.raises(UnavailableError):
        await served(both[0], place, host())
    first, second = [await served(certificates, place, host()) for certificates in both]
    assert first.ca_pem == second.ca_pem


@pytest.mark.parametrize("labels", [None, {names.NAMESPACE_UID_LABEL: None}, {names.NAMESPACE_UID_LABEL: ""}])
async def test_a_ca_that_does_not_say_whose_it_is_is_neither_used_nor_replaced(
    certificates: ServingCertificates, place: Place, labels: dict[str, str | None] | None
) -> None:
    """A Secret restored without its labels: clients trust that CA, so nothing is guessed."""
    first = await served(certificates, place, host())
    store(place, first)
    place.server.edit(Kind.SECRET, HOME, SERVING_CA, {"metadata": {"labels": labels}})
    place.writes()
    serving, troubles = await ServingCertificates(place.context(seed=2)).of(host(), uid(place))
    assert serving == first
    assert [trouble.reason for trouble in troubles] == [Reason.INVALID_CA]
    assert SERVING_CA in troubles[0].message
    assert place.writes() == []


async def test_a_users_certificate_is_served_as_it_is(
    certificates: ServingCertificates, place: Place, pair: Callable[..., Pair]
) -> None:
    mine = pair()
    own_secret(place, mine)
    serving = await served(certificates, place, host(secret_name="api-tls"))
    assert (serving.certificate_pem, serving.key_pem.reveal()) == (mine.certificate_pem, mine.key_pem)
    assert serving.ca_pem == ""
    assert place.writes() == []


async def test_a_users_new_certificate_is_served_once_its_secret_changed(
    certificates: ServingCertificates, place: Place, pair: Callable[..., Pair]
) -> None:
    own_secret(place, pair())
    await served(certificates, place, host(secret_name="api-tls"))
    renewed = pair()
    own_secret(place, renewed)
    certificates.source_changed("shop", "api-tls")
    serving = await served(certificates, place, host(secret_name="api-tls"))
    assert serving.certificate_pem == renewed.certificate_pem


def _reasons(troubles: tuple[Trouble, ...]) -> list[Reason]:
    return [trouble.reason for trouble in troubles]


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (None, Reason.SECRET_NOT_FOUND),
        ({names.TLS_KEY_KEY: None}, Reason.INVALID_SECRET),
        ({names.TLS_CERT_KEY: None}, Reason.INVALID_SECRET),
        ({names.TLS_CERT_KEY: "bm8gcGVt"}, Reason.INVALID_SERVING_CERTIFICATE),
        ({names.TLS_KEY_KEY: "bm8gcGVt"}, Reason.INVALID_SERVING_CERTIFICATE),
    ],
    ids=["gone", "no key", "no certificate", "damaged certificate", "damaged key"],
)
async def test_what_breaks_is_said_and_the_last_good_one_stays(
    certificates: ServingCertificates,
    place: Place,
    pair: Callable[..., Pair],
    harm: dict[str, str | None] | None,
    reason: Reason,
) -> None:
    """G2."""
    own_secret(place, pair())
    good = await served(certificates, place, host(secret_name="api-tls"))
    if harm is None:
        place.server.remove(Kind.SECRET, "shop", "api-tls")
    else:
        place.server.edit(Kind.SECRET, "shop", "api-tls", {"data": harm})
    certificates.source_changed("shop", "api-tls")
    serving, troubles = await certificates.of(host(secret_name="api-tls"), uid(place))
    assert serving == good
    assert _reasons(troubles) == [reason]


async def test_a_key_of_another_certificate_is_never_served(
    certificates: ServingCertificates, place: Place, pair: Callable[..., Pair]
) -> None:
    one, other = pair(), pair()
    place.server.make(builders.tls_secret("api-tls", one.certificate_pem, other.key_pem))
    serving, troubles = await certificates.of(host(secret_name="api-tls"), uid(place))
    assert serving is None
    assert _reasons(troubles) == [Reason.KEY_MISMATCH]


@pytest.mark.parametrize(
    ("start", "reason"),
    [
        (timedelta(days=-10), Reason.SERVING_CERTIFICATE_EXPIRED),
        (timedelta(days=10), Reason.SERVING_CERTIFICATE_NOT_YET_VALID),
    ],
)
async def test_a_certificate_outside_its_time_is_served_and_reported(
    certificates: ServingCertificates,
    place: Place,
    pair: Callable[..., Pair],
    start: timedelta,
    reason: Reason,
) -> None:
    """Refusing it would help nobody: clients decide, and the status says it."""
    mine = pair(start=start)
    own_secret(place, mine)
    serving, troubles = await certificates.of(host(secret_name="api-tls"), uid(place))
    assert serving is not None
    assert serving.certificate_pem == mine.certificate_pem
    assert _reasons(troubles) == [reason]


async def test_a_certificate_that_lacks_a_name_is_served_and_the_name_reported(
    certificates: ServingCertificates, place: Place, pair: Callable[..., Pair]
) -> None:
    own_secret(place, pair("api.example.com"))
    wanted = host("api.example.com", "www.example.com", secret_name="api-tls")
    serving, troubles = await certificates.of(wanted, uid(place))
    assert serving is not None
    assert _reasons(troubles) == [Reason.HOSTNAME_NOT_IN_CERTIFICATE]
    assert "www.example.com" in troubles[0].message


async def test_no_trouble_repeats_a_key(
    certificates: ServingCertificates, place: Place, pair: Callable[..., Pair]
) -> None:
    """G5: a key in the place of the certificate is a likely mistake."""
    mine = pair()
    place.server.make(builders.tls_secret("api-tls", mine.key_pem.decode(), mine.key_pem))
    _, troubles = await certificates.of(host(secret_name="api-tls"), uid(place))
    line = mine.key_pem.decode().splitlines()[1]
    assert troubles
    assert all(line not in trouble.message for trouble in troubles)
    assert line not in repr(certificates)


async def test_the_users_secret_is_read_once_until_it_changes(
    certificates: ServingCertificates, place: Place, pair: Callable[..., Pair]
) -> None:
    own_secret(place, pair())
    await served(certificates, place, host(secret_name="api-tls"))
    place.server.faults.append(Fault("get", Kind.SECRET, UnavailableError("away"), name="api-tls"))
    await served(certificates, place, host(secret_name="api-tls"))
    certificates.source_changed("shop", "api-tls")
    with pytest.raises(UnavailableError):
        await certificates.of(host(secret_name="api-tls"), uid(place))
