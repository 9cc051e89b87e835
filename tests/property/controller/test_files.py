"""Hostile files in the whole operator: none stops it, none gets more trust or rights than what stood there before."""

from __future__ import annotations

import asyncio
import contextlib
import re
from base64 import b64decode, b64encode
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta

import structlog
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.feature.harness import START, Lab
from tests.property.pki.hostile import MUTATIONS, Mutation, mutate
from tests.support.builders import NAMESPACE, certificate, host, pod, rule, tls_secret
from tests.support.certs import SERVER, authority, leaf
from tests.support.partner import crl, file_of, pem_of, reference
from tests.support.requests import request_pem
from tests.support.virtual_time import VirtualLoop

from mtls_operator.api import names
from mtls_operator.api.secret import Secret
from mtls_operator.cluster import Kind
from mtls_operator.envoy import pack_serials
from mtls_operator.pki import PkiError, format_serial, is_pair
from mtls_operator.push import Scope

PARTNER = authority("Partner CA", now=START)
BAD = leaf(PARTNER, "bad", index=1)
LIST = crl(PARTNER, BAD.certificate.serial_number, now=START, until=timedelta(days=30))
CORPORATE = authority("corporate", now=START)
#: Not valid yet in the time of the tests, so that it is served and reported: what goes wrong comes on top.
PAIR = leaf(CORPORATE, "api", usage=SERVER, dns=("api.example.com",), now=START + timedelta(days=365))
SYSTEM = names.OPERATOR_NAMESPACE


@dataclass(frozen=True, slots=True)
class Place:
    """A part of an object that somebody fills with what he likes."""

    kind: Kind
    namespace: str
    name: str
    key: str


USERS = (
    Place(Kind.CONFIG_MAP, NAMESPACE, "partner-ca", "ca.crt"),
    Place(Kind.CONFIG_MAP, NAMESPACE, "partner-ca", "ca.crl"),
    Place(Kind.SECRET, NAMESPACE, "api-tls", names.TLS_CERT_KEY),
    Place(Kind.SECRET, NAMESPACE, "api-tls", names.TLS_KEY_KEY),
)
#: What comes into a place: what stood there, changed; or something else; or nothing at all.
CONTENTS = MUTATIONS | st.binary(max_size=60) | st.none()
Content = Mutation | bytes | None


def _ours(lab: Lab) -> list[Place]:
    """Return every part of every Secret and ConfigMap that the operator wrote, in both namespaces."""
    return [
        Place(kind, body["metadata"]["namespace"], body["metadata"]["name"], key)
        for kind in (Kind.SECRET, Kind.CONFIG_MAP)
        for body in lab.cluster.all(kind, None, f"{names.MANAGED_BY_LABEL}={names.MANAGED_BY}")
        for key in sorted(body.get("data") or {})
    ]


def _fill(lab: Lab, place: Place, content: Content) -> None:
    """Do what an editor of the object does: the API server sees to it that a Secret is base64, a ConfigMap UTF-8."""
    data = lab.cluster.read(place.kind, place.namespace, place.name).get("data") or {}
    secret = place.kind is Kind.SECRET
    stood = b64decode(data.get(place.key, "")) if secret else data.get(place.key, "").encode()
    new = mutate(stood, content) if isinstance(content, tuple) else content
    written = None if new is None else b64encode(new).decode() if secret else new.decode("utf-8", "replace")
    lab.cluster.edit(place.kind, place.namespace, place.name, {"data": {place.key: written}})
    if place in USERS:
        lab.source_changed(place.name, place.kind)


async def _world(lab: Lab) -> None:
    """Two hosts, one with everything that users can bring; certificates of every kind, one of them revoked."""
    lab.cluster.make(file_of("partner-ca", ca_crt=pem_of(PARTNER), ca_crl=LIST.decode()))
    lab.cluster.make(tls_secret("api-tls", PAIR.certificate_pem, PAIR.key_pem))
    client_cas = {"trusted": [reference()], "crls": [reference(key="ca.crl")]}
    lab.cluster.make(host(clientCAs=client_cas, tls={"secretName": "api-tls"}))
    lab.cluster.make(host("web"))
    lab.cluster.make(rule())
    lab.cluster.make(certificate("gateway", keystore={"pkcs12": {}}))
    lab.cluster.make(certificate("device", request=request_pem("device")))
    lab.cluster.make(certificate("lost"))
    await lab.start()
    lab.run_pod(pod())
    lab.run_pod(pod("web-1", host_name="web", address="10.0.0.2"))
    await lab.settle()
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "lost", {"spec": {"revoked": True}})
    await lab.settle()


def _run(check: Callable[[Lab], Awaitable[None]]) -> None:
    async def run() -> None:
        with structlog.testing.capture_logs() as lines:
            lab = Lab(lines)
            await _world(lab)
            await check(lab)
            await lab.close()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(run())


def _check_certificates(lab: Lab) -> None:
    """Whatever our CA has signed is for clients alone."""
    for body in lab.cluster.all(Kind.CERTIFICATE, NAMESPACE):
        status, name = body["status"], body["metadata"]["name"]
        if status["state"] != "Active":
            continue
        pem = status.get("certificate")
        if pem is None:
            data = lab.cluster.read(Kind.SECRET, NAMESPACE, name)["data"]
            pem = b64decode(data[names.TLS_CERT_KEY]).decode()
            assert is_pair(pem, Secret(b64decode(data[names.TLS_KEY_KEY])))
        extensions = x509.load_pem_x509_certificate(pem.encode()).extensions
        assert not extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        assert not extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
        usage = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]


@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(st.lists(st.tuples(st.sampled_from(USERS), CONTENTS), min_size=1, max_size=4), st.booleans())
def test_files_of_users_stop_nobody_trust_nobody_else_and_take_no_revocation_back(
    changes: list[tuple[Place, Content]],
    restarted: bool,  # noqa: FBT001 - drawn
) -> None:
    async def check(lab: Lab) -> None:
        for place, content in changes:
            _fill(lab, place, content)
            await lab.settle()
        if restarted:
            await lab.restart()
        await lab.pass_time(seconds=10)
        issuers = {stored.authority.digest for stored in lab.process.tenant().generations} | {PARTNER.digest}
        rules = lab.process.discovery.published[Scope(NAMESPACE, "api"), names.RULES_FILTER].text
        trusted = set(re.findall(r'\["([0-9a-f]{64})"\] = (?:true|false)', rules))
        assert trusted <= issuers
        if PARTNER.digest in trusted:
            assert pack_serials([format_serial(BAD.certificate.serial_number)]) in rules
        served = lab.cluster.read(Kind.SECRET, NAMESPACE, "mtls-server-api")["data"]
        assert is_pair(
            b64decode(served[names.TLS_CERT_KEY]).decode(), Secret(b64decode(served[names.TLS_KEY_KEY]))
        )
        assert lab.condition(Kind.HOST, "web", "Ready")[0] == "True"
        _check_certificates(lab)

    _run(check)


@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), CONTENTS), min_size=1, max_size=4), st.booleans()
)
def test_edits_of_what_the_operator_wrote_stop_nobody_and_take_no_revocation_back(
    changes: list[tuple[float, Content]],
    restarted: bool,  # noqa: FBT001 - drawn
) -> None:
    async def check(lab: Lab) -> None:
        lost = lab.serial("lost")
        whole, touched = True, set()
        for pick, content in changes:
            places = _ours(lab)
            place = places[int(pick * len(places))]
            whole = whole and (place.namespace != names.OPERATOR_NAMESPACE or place.kind is not Kind.SECRET)
            touched.add(place.name)
            _fill(lab, place, content)
            await lab.settle(failures=True)
        if restarted:
            await lab.stop()
            started = False
            with contextlib.suppress(PkiError):
                await lab.start()
                started = True
            if (
                not started
            ):  # the operator's own CA is damaged: it says so, and does not start with another one
                assert names.INTERNAL_CA_SECRET in touched
                return
        lab.cluster.make(certificate("later"))
        await lab.pass_time_with_failures(seconds=10)
        _check_certificates(lab)
        if whole:
            assert lab.is_refused(lost)
            assert lab.state("later") == "Active"

    _run(check)
