"""CAs and revocation lists that users bring, from their ConfigMaps to the proxies and the status: G1, G2, G4 and G6."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from tests.feature.harness import Lab
from tests.support.builders import NAMESPACE, certificate, host, pod, rule
from tests.support.certs import Pair, authority
from tests.support.partner import crl, file_of, pem_of, reference

from mtls_operator.api import names
from mtls_operator.api.secret import Secret
from mtls_operator.cluster import Kind
from mtls_operator.envoy import pack_serials
from mtls_operator.plan.held import Held
from mtls_operator.plan.own_cas import own_cas
from mtls_operator.push import Scope

CONFIG, COPIES = "mtls-host-api", "mtls-trust-api"
SOURCE = "ConfigMap/partner-ca/ca.crt"
TRUSTED = {"trusted": [reference()]}
LISTED = {"trusted": [reference()], "crls": [reference(key="ca.crl")]}
OPEN = {"trusted": [reference()], "crls": [reference(key="ca.crl", whenStale="FailOpen")]}


def partner(lab: Lab, name: str = "Partner CA") -> Pair:
    return authority(name, now=lab.now())


async def in_force(lab: Lab, client_cas: dict[str, Any], **files: str | bytes) -> None:
    if files:
        lab.cluster.make(file_of("partner-ca", **files))
    lab.cluster.make(host(clientCAs=client_cas))
    lab.cluster.make(rule())
    await lab.start()
    lab.run_pod(pod())
    await lab.settle()
    await lab.pass_time(seconds=3)


async def change(lab: Lab, **files: str | bytes) -> None:
    body = file_of("partner-ca", **files)
    lab.cluster.edit(
        Kind.CONFIG_MAP, NAMESPACE, "partner-ca", {"data": body["data"], "binaryData": body["binaryData"]}
    )
    lab.source_changed("partner-ca", Kind.CONFIG_MAP)
    await lab.settle()


async def remove(lab: Lab) -> None:
    lab.cluster.remove(Kind.CONFIG_MAP, NAMESPACE, "partner-ca")
    lab.source_changed("partner-ca", Kind.CONFIG_MAP)
    await lab.settle()


def script(lab: Lab, name: str = "api") -> str:
    return lab.process.discovery.published[Scope(NAMESPACE, name), names.RULES_FILTER].text


def bundle(lab: Lab, name: str = "api") -> str:
    files = lab.cluster.read(Kind.CONFIG_MAP, NAMESPACE, names.host_config(name))["data"]
    found = json.loads(files[names.CLIENT_CA_SDS_KEY])["resources"][0]
    return str(found["validation_context"]["trusted_ca"]["inline_string"])


def trusts(lab: Lab, ca: Pair, name: str = "api") -> bool:
    """Say whether proxies trust a CA: in the bundle, and named as an issuer that users brought."""
    named = f'["{ca.digest}"] = false,' in script(lab, name)
    assert (ca.certificate_pem in bundle(lab, name)) is named
    return named


def condition(lab: Lab, kind: str = "ResolvedRefs", name: str = "api") -> dict[str, Any]:
    found = lab.status(Kind.HOST, name)["conditions"]
    return dict(next(one for one in found if one["type"] == kind))


def forged(ca: Pair) -> str:
    """Return copies that say that a CA is trusted, with a seal of somebody else."""
    return Held({SOURCE: pem_of(ca)}).document(Secret(b"not the operator's"), "uid")


def standing(lab: Lab) -> list[tuple[str, str]]:
    return [(one["source"], one["phase"]) for one in lab.status(Kind.HOST, "api")["clientCAs"]]


async def test_a_partners_ca_is_trusted_beside_the_managed_one_and_shown(lab: Lab) -> None:
    ca = partner(lab)
    await in_force(lab, TRUSTED, ca_crt=pem_of(ca))
    assert trusts(lab, ca)
    assert standing(lab) == [("managed", "Active"), (SOURCE, "Trusted")]
    shown = lab.status(Kind.HOST, "api")["clientCAs"][1]
    assert shown["subject"] == "CN=Partner CA"
    assert len(shown["ski"]) == 40
    assert condition(lab)["status"] == "True"
    assert condition(lab, "Ready")["status"] == "True"


async def test_a_host_can_trust_a_partner_alone(lab: Lab) -> None:
    ca = partner(lab)
    await in_force(lab, {"managed": False, **TRUSTED}, ca_crt=pem_of(ca))
    assert trusts(lab, ca)
    assert bundle(lab) == ca.certificate_pem
    assert standing(lab) == [(SOURCE, "Trusted")]


async def test_a_second_look_at_an_unchanged_world_writes_nothing(lab: Lab) -> None:
    """G6."""
    ca = partner(lab)
    lists = crl(ca, 10, now=lab.now(), until=timedelta(days=30))
    await in_force(lab, LISTED, ca_crt=pem_of(ca), ca_crl=lists)
    lab.writes()
    lab.resync()
    lab.source_changed("partner-ca", Kind.CONFIG_MAP)
    await lab.settle()
    await lab.pass_time(minutes=20)
    assert lab.writes() == []
    await lab.restart()
    await lab.settle()
    await lab.pass_time(seconds=20)
    assert lab.writes() == []


async def test_the_objects_that_a_host_names_are_watched_and_no_others(lab: Lab) -> None:
    await in_force(lab, LISTED)
    assert lab.process.hosts.watches.targets == {(Kind.CONFIG_MAP, NAMESPACE, "partner-ca")}
    lab.cluster.edit(Kind.HOST, NAMESPACE, "api", {"spec": {"clientCAs": {"trusted": None, "crls": None}}})
    await lab.settle()
    lab.cluster.remove(Kind.HOST, NAMESPACE, "api")
    await lab.settle()
    assert lab.process.hosts.watches.targets == set()


async def test_a_ca_that_comes_later_counts_when_it_comes(lab: Lab) -> None:
    ca = partner(lab)
    await in_force(lab, TRUSTED)
    assert (condition(lab)["status"], condition(lab)["reason"]) == ("False", "ConfigMapNotFound")
    lab.cluster.make(file_of("partner-ca", ca_crt=pem_of(ca)))
    lab.source_changed("partner-ca", Kind.CONFIG_MAP)
    await lab.settle()
    assert trusts(lab, ca)
    assert condition(lab)["status"] == "True"


async def test_a_ca_taken_out_of_its_file_counts_no_more(lab: Lab) -> None:
    old, new = partner(lab), partner(lab, "New CA")
    await in_force(lab, TRUSTED, ca_crt=pem_of(old, new))
    await change(lab, ca_crt=pem_of(new))
    assert (trusts(lab, old), trusts(lab, new)) == (False, True)


@pytest.mark.parametrize("restarted", [False, True])
async def test_a_ca_whose_object_is_deleted_stays_in_force_and_the_host_says_so(
    lab: Lab,
    restarted: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """G2, also for an operator that has never seen the object."""
    ca = partner(lab)
    await in_force(lab, TRUSTED, ca_crt=pem_of(ca))
    if restarted:
        await lab.stop()
        lab.cluster.remove(Kind.CONFIG_MAP, NAMESPACE, "partner-ca")
        await lab.start()
        await lab.settle()
        await lab.pass_time(seconds=15)
    else:
        await remove(lab)
    assert trusts(lab, ca)
    assert standing(lab) == [("managed", "Active"), (SOURCE, "LastGood")]
    assert condition(lab)["reason"] == "ConfigMapNotFound"
    assert "last good copy stays in force" in condition(lab)["message"]
    assert condition(lab, "Ready")["status"] == "False"
    assert condition(lab, "Deployed")["status"] == "True"


@pytest.mark.parametrize("restarted", [False, True])
async def test_a_file_with_a_mistake_changes_nothing_and_names_it(
    lab: Lab,
    restarted: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    old, new = partner(lab), partner(lab, "New CA")
    await in_force(lab, TRUSTED, ca_crt=pem_of(old))
    before = script(lab), bundle(lab)
    wrong = pem_of(new) + "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    await change(lab, ca_crt=wrong)
    if restarted:
        await lab.restart()
        await lab.settle()
    assert (script(lab), bundle(lab)) == before
    assert condition(lab)["reason"] == "InvalidCACertificate"
    assert "certificate 2 cannot be used" in condition(lab)["message"]


async def test_a_key_in_the_place_of_a_ca_reaches_neither_status_nor_any_object(lab: Lab) -> None:
    """G5."""
    ca = partner(lab)
    await in_force(lab, TRUSTED, ca_crt=pem_of(ca) + ca.key_pem.decode())
    assert "private key" in condition(lab)["message"]
    secret_line = ca.key_pem.decode().splitlines()[1]
    for kind in (Kind.CONFIG_MAP, Kind.SECRET, Kind.HOST):
        for body in lab.cluster.all(kind, None, ""):
            if body["metadata"]["name"] != "partner-ca":
                assert secret_line not in json.dumps(body)


async def test_the_managed_ca_of_another_namespace_copied_in_is_refused(lab: Lab) -> None:
    """It would come without its revocations."""
    lab.cluster.make_namespace("partners")
    await in_force(lab, TRUSTED, ca_crt="")
    lab.cluster.make(certificate("gateway", namespace="partners"))
    await lab.settle()
    copied = lab.cluster.read(Kind.CONFIG_MAP, "partners", names.CLIENT_CA_CONFIGMAP)["data"][names.CA_KEY]
    await change(lab, ca_crt=copied)
    assert standing(lab) == [("managed", "Active")]
    assert "managedFrom" in condition(lab)["message"]


async def test_a_ca_leaves_the_bundle_when_it_expires_without_any_event(lab: Lab) -> None:
    ca = authority("Short CA", now=lab.now() - timedelta(days=3650) + timedelta(hours=1))
    other = partner(lab)
    await in_force(lab, TRUSTED, ca_crt=pem_of(ca, other))
    assert trusts(lab, ca)
    await lab.pass_time(hours=1)
    assert (trusts(lab, ca), trusts(lab, other)) == (False, True)
    assert condition(lab)["reason"] == "InvalidCACertificate"
    assert "expired at" in condition(lab)["message"]


async def test_an_imported_list_reaches_the_proxies_of_its_host_alone(lab: Lab) -> None:
    ca = partner(lab)
    lab.cluster.make(file_of("other-crl", ca_crl=crl(ca, 11, now=lab.now())))
    lab.cluster.make(
        host("web", clientCAs={"trusted": [reference()], "crls": [reference("other-crl", "ca.crl")]})
    )
    await in_force(lab, LISTED, ca_crt=pem_of(ca), ca_crl=crl(ca, 10, now=lab.now()))
    mine, other = pack_serials(["0A"]), pack_serials(["0B"])
    assert mine in script(lab)
    assert other not in script(lab)
    assert other in script(lab, "web")
    assert mine not in script(lab, "web")


async def test_a_new_list_is_in_force_as_soon_as_its_object_changes(lab: Lab) -> None:
    ca = partner(lab)
    await in_force(lab, LISTED, ca_crt=pem_of(ca), ca_crl=crl(ca, 10, now=lab.now()))
    await change(lab, ca_crl=crl(ca, 10, 11, now=lab.now()))
    assert pack_serials(["0A", "0B"]) in script(lab)


@pytest.mark.parametrize("broken", [b"nonsense", b""])
async def test_a_list_that_never_was_there_makes_every_certificate_of_the_ca_unknown(
    lab: Lab, broken: bytes
) -> None:
    """G1."""
    ca = partner(lab)
    await in_force(lab, LISTED, ca_crt=pem_of(ca), ca_crl=broken)
    assert f'local imported = {{\n  ["{ca.digest}"] = false,\n}}' in script(lab)
    assert condition(lab)["reason"] == "InvalidCRL"
    lab.cluster.edit(Kind.HOST, NAMESPACE, "api", {"spec": {"clientCAs": OPEN}})
    await lab.settle()
    assert "local imported = {}" in script(lab)
    assert condition(lab)["reason"] == "InvalidCRL"


@pytest.mark.parametrize("restarted", [False, True])
async def test_a_list_that_breaks_or_goes_back_keeps_what_it_said(
    lab: Lab,
    restarted: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    ca = partner(lab)
    older = crl(ca, 10, now=lab.now(), at=-timedelta(hours=2))
    await in_force(lab, LISTED, ca_crt=pem_of(ca), ca_crl=crl(ca, 10, 11, now=lab.now()))
    before = script(lab)
    for wrong in (older, b"nonsense", crl(ca, now=lab.now(), signer=partner(lab))):
        await change(lab, ca_crl=wrong)
        if restarted:
            await lab.restart()
            await lab.settle()
        assert script(lab) == before
        assert condition(lab)["reason"] == "InvalidCRL"
    await remove(lab)
    assert script(lab) == before


async def test_a_list_becomes_stale_by_the_clock_and_a_new_one_mends_it(lab: Lab) -> None:
    ca = partner(lab)
    end = int((lab.now() + timedelta(hours=1)).timestamp())
    first = crl(ca, 10, now=lab.now(), until=timedelta(hours=1))
    await in_force(lab, LISTED, ca_crt=pem_of(ca), ca_crl=first)
    assert f", ends = {end} }}" in script(lab)
    assert condition(lab)["status"] == "True"
    await lab.pass_time(hours=1)
    assert condition(lab)["reason"] == "CRLStale"
    await change(lab, ca_crl=crl(ca, 10, now=lab.now()))
    assert condition(lab)["status"] == "True"


async def test_a_stale_list_that_may_fail_open_has_no_end_for_the_proxies(lab: Lab) -> None:
    ca = partner(lab)
    await in_force(
        lab, OPEN, ca_crt=pem_of(ca), ca_crl=crl(ca, 10, now=lab.now(), until=timedelta(minutes=5))
    )
    assert ", ends =" not in script(lab)
    await lab.pass_time(minutes=6)
    assert condition(lab)["reason"] == "CRLStale"
    assert pack_serials(["0A"]) in script(lab)


async def test_copies_that_somebody_edits_are_restored_and_never_weaken_what_is_in_force(lab: Lab) -> None:
    ca, evil = partner(lab), partner(lab, "Evil CA")
    await in_force(lab, LISTED, ca_crt=pem_of(ca), ca_crl=crl(ca, 10, now=lab.now()))
    before = lab.cluster.read(Kind.CONFIG_MAP, NAMESPACE, COPIES)["data"]
    lab.cluster.edit(Kind.CONFIG_MAP, NAMESPACE, COPIES, {"data": {names.TRUST_KEY: forged(evil)}})
    await lab.settle()
    assert lab.cluster.read(Kind.CONFIG_MAP, NAMESPACE, COPIES)["data"] == before
    await lab.stop()
    lab.cluster.edit(Kind.CONFIG_MAP, NAMESPACE, COPIES, {"data": {names.TRUST_KEY: forged(evil)}})
    await lab.start()
    await lab.settle()
    assert lab.cluster.read(Kind.CONFIG_MAP, NAMESPACE, COPIES)["data"] == before
    assert (trusts(lab, ca), trusts(lab, evil)) == (True, False)


async def test_copies_that_somebody_forged_while_the_operator_was_gone_trust_nobody(lab: Lab) -> None:
    """Whoever may write ConfigMaps but not the Secret with the CA could else make one up."""
    evil = partner(lab, "Evil CA")
    await in_force(lab, TRUSTED, ca_crt=pem_of(partner(lab)))
    await lab.stop()
    lab.cluster.edit(Kind.CONFIG_MAP, NAMESPACE, COPIES, {"data": {names.TRUST_KEY: forged(evil)}})
    lab.cluster.remove(Kind.CONFIG_MAP, NAMESPACE, "partner-ca")
    await lab.start()
    await lab.settle()
    await lab.pass_time(seconds=15)
    assert not trusts(lab, evil)
    assert standing(lab) == [("managed", "Active")]


async def test_copies_of_another_owner_are_neither_taken_nor_overwritten(lab: Lab) -> None:
    ca, evil = partner(lab), partner(lab, "Evil CA")
    body = file_of(COPIES)
    body["metadata"]["labels"] = {names.MANAGED_BY_LABEL: names.MANAGED_BY}
    body["data"] = {names.TRUST_KEY: forged(evil)}
    lab.cluster.make(body)
    await in_force(lab, TRUSTED)
    assert condition(lab, "Programmed")["reason"] == "ConfigConflict"
    assert lab.cluster.read(Kind.CONFIG_MAP, NAMESPACE, COPIES)["data"] == {names.TRUST_KEY: forged(evil)}
    assert standing(lab) == [], "nothing was written, so that nobody is trusted"
    lab.cluster.remove(Kind.CONFIG_MAP, NAMESPACE, COPIES)
    await lab.settle()
    await lab.pass_time(seconds=10)
    lab.cluster.make(file_of("partner-ca", ca_crt=pem_of(ca)))
    lab.source_changed("partner-ca", Kind.CONFIG_MAP)
    await lab.settle()
    assert trusts(lab, ca)


async def test_copies_go_when_nothing_is_brought_any_more(lab: Lab) -> None:
    await in_force(lab, TRUSTED, ca_crt=pem_of(partner(lab)))
    assert lab.cluster.find(Kind.CONFIG_MAP, NAMESPACE, COPIES)
    lab.cluster.edit(Kind.HOST, NAMESPACE, "api", {"spec": {"clientCAs": {"trusted": None}}})
    await lab.settle()
    assert lab.cluster.find(Kind.CONFIG_MAP, NAMESPACE, COPIES) is None
    assert standing(lab) == [("managed", "Active")]


async def test_files_in_a_secret_are_read_as_well(lab: Lab) -> None:
    ca = partner(lab)
    listed = crl(ca, 10, now=lab.now())
    lab.cluster.make(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "Opaque",
            "metadata": {"namespace": NAMESPACE, "name": "fleet-ca"},
            "data": {"ca": b64encode(pem_of(ca).encode()).decode(), "crl": b64encode(listed).decode()},
        }
    )
    await in_force(
        lab,
        {
            "trusted": [{"secretRef": {"name": "fleet-ca", "key": "ca"}}],
            "crls": [{"secretRef": {"name": "fleet-ca", "key": "crl"}}],
        },
    )
    assert trusts(lab, ca)
    assert pack_serials(["0A"]) in script(lab)
    assert (Kind.SECRET, NAMESPACE, "fleet-ca") in lab.process.hosts.watches.targets


async def test_forty_thousand_revoked_certificates_of_a_partner_fit(lab: Lab) -> None:
    ca = partner(lab)
    listed = crl(ca, *range(1, 40_001), now=lab.now(), until=timedelta(days=30))
    await in_force(lab, LISTED, ca_crt=pem_of(ca), ca_crl=listed)
    config = lab.cluster.read(Kind.CONFIG_MAP, NAMESPACE, CONFIG)["data"]
    assert sum(len(text) for text in config.values()) < 500_000
    assert condition(lab, "Programmed")["status"] == "True"
    assert pack_serials(["9C40"]) in script(lab)


async def test_cas_with_one_name_and_different_keys_are_named_although_both_count(lab: Lab) -> None:
    """Who reads names takes one for the other."""
    one, other = partner(lab), partner(lab)
    await in_force(lab, TRUSTED, ca_crt=pem_of(one) + pem_of(other))
    assert trusts(lab, one)
    assert trusts(lab, other)
    resolved = condition(lab, "ResolvedRefs")
    assert resolved["status"] == "True"
    assert (
        "different keys: certificate 1 of ConfigMap partner-ca, key ca.crt, certificate 2"
        in resolved["message"]
    )


async def test_nothing_is_said_of_cas_with_names_of_their_own(lab: Lab) -> None:
    await in_force(lab, TRUSTED, ca_crt=pem_of(partner(lab)) + pem_of(partner(lab, "Another CA")))
    assert condition(lab, "ResolvedRefs")["message"] == "Everything that the spec names was found."


async def test_a_file_is_judged_once_however_often_its_host_is_looked_at(lab: Lab) -> None:
    """Its users choose how many signatures are checked, and with which keys."""
    await in_force(lab, TRUSTED, ca_crt=pem_of(partner(lab)))
    work = list[Callable[[], Any]]()

    async def aside(judge: Callable[[], Any]) -> Any:
        if getattr(judge, "func", None) is own_cas:
            work.append(judge)
        return judge()

    lab.process.context.aside = aside
    lab.cluster.make(rule("another"))
    await lab.settle()
    await lab.pass_time(seconds=600)
    assert work == []
    new = partner(lab, "New CA")
    await change(lab, ca_crt=pem_of(new))
    assert trusts(lab, new)
    judged = len(work)
    await lab.pass_time(seconds=600)
    assert 0 < judged == len(work)


async def test_a_certificate_that_begins_counts_in_a_file_that_was_judged_before(lab: Lab) -> None:
    old, new = partner(lab, "Old CA"), authority("New CA", now=lab.now() + timedelta(days=3))
    await in_force(lab, TRUSTED, ca_crt=pem_of(old) + pem_of(new))
    assert not trusts(lab, new)
    await lab.pass_time(days=4)
    assert trusts(lab, new)
