"""A namespace trusts the managed CA of another one that lets it, and not a moment longer."""

from __future__ import annotations

from typing import Any

import pytest
from tests.feature.granted import (
    PARTNERS,
    TRUSTING,
    agent,
    ca_pem,
    prepare,
    resolved,
    revoke,
    sources,
    trusting,
    verdict,
    withdraw,
)
from tests.feature.harness import Lab
from tests.support.builders import NAMESPACE, certificate, grant, host, pod, rule
from tests.support.fake_cluster import Fault

from mtls_operator.api import names
from mtls_operator.cluster import Kind, UnavailableError
from mtls_operator.controller.authorities import Authorities
from mtls_operator.controller.tenant import Tenant
from mtls_operator.plan import published


async def test_a_certificate_of_a_namespace_that_lets_us_is_accepted(lab: Lab) -> None:
    await trusting(lab)
    assert verdict(lab, agent(lab)) == "accepted"
    assert sources(lab) == [("managed", "Active"), ("managedFrom/partners", "Active")]
    assert resolved(lab)[:2] == ("True", "Resolved")
    assert lab.condition(Kind.HOST, "api", "Ready")[0] == "True"
    bundle = lab.cluster.read(Kind.CONFIG_MAP, NAMESPACE, names.host_config("api"))["data"]
    assert ca_pem(lab).splitlines()[1] in bundle[names.CLIENT_CA_SDS_KEY]


async def test_the_own_ca_need_not_be_trusted(lab: Lab) -> None:
    await trusting(lab, managed=False)
    assert sources(lab) == [("managedFrom/partners", "Active")]
    assert verdict(lab, agent(lab)) == "accepted"


async def test_without_a_grant_nobody_is_trusted_and_the_rest_is_in_force(lab: Lab) -> None:
    await trusting(lab, granted=False)
    assert verdict(lab, agent(lab)) == "not trusted"
    status, reason, message = resolved(lab)
    assert (status, reason) == ("False", "NotGranted")
    assert names.GRANT_LABEL in message
    assert lab.condition(Kind.HOST, "api", "Programmed")[0] == "True"
    assert sources(lab) == [("managed", "Active")]


async def test_a_namespace_that_does_not_exist_looks_like_one_that_does_not_let_us(lab: Lab) -> None:
    """Nobody learns which namespaces there are."""
    await trusting(lab, granted=False)
    existing = resolved(lab)
    lab.cluster.remove_namespace(PARTNERS)
    await lab.settle()
    assert resolved(lab) == existing


@pytest.mark.parametrize(
    "body",
    [
        grant("web"),
        grant(f"{NAMESPACE}-2", f"my-{NAMESPACE}", "*"),
        grant(NAMESPACE, namespace=NAMESPACE),
        grant(NAMESPACE, namespace=names.OPERATOR_NAMESPACE),
        {
            **grant(NAMESPACE),
            "metadata": {
                "namespace": PARTNERS,
                "name": "client-ca",
                "labels": {"mtls-operator.dev/grants": "client-ca"},
            },
        },
    ],
    ids=[
        "for another namespace",
        "for look-alikes",
        "by ourselves",
        "by the operator's namespace",
        "another label",
    ],
)
async def test_a_grant_that_is_not_theirs_or_not_for_us_changes_nothing(
    lab: Lab, body: dict[str, Any]
) -> None:
    """What a tenant would write who wants to get at the CA of another one."""
    await trusting(lab, granted=False)
    lab.cluster.make(body)
    await lab.settle()
    assert verdict(lab, agent(lab)) == "not trusted"


async def test_a_grant_that_comes_later_is_in_force_without_any_other_event(lab: Lab) -> None:
    await trusting(lab, granted=False)
    lab.cluster.make(grant(NAMESPACE))
    await lab.settle()
    assert verdict(lab, agent(lab)) == "accepted"


async def test_who_may_issue_here_may_not_there(lab: Lab) -> None:
    """Trust goes one way: a grant is not a bridge back."""
    await trusting(lab)
    lab.cluster.make(host(namespace=PARTNERS))
    lab.cluster.make(certificate("gateway"))
    await lab.settle()
    own = lab.cluster.read(Kind.CONFIG_MAP, NAMESPACE, names.CLIENT_CA_CONFIGMAP)["data"][names.CA_KEY]
    assert verdict(lab, lab.serial("gateway"), ca=own, namespace=PARTNERS) == "not trusted"
    assert verdict(lab, lab.serial("gateway"), ca=own) == "accepted"


# Withdrawn


@pytest.mark.parametrize(
    "patch",
    [
        {"data": {names.GRANT_KEY: "web\n"}},
        {"data": {names.GRANT_KEY: None}},
        {"data": {names.GRANT_KEY: f"# {NAMESPACE}\n"}},
        {"metadata": {"labels": {names.GRANT_LABEL: None}}},
        {"metadata": {"labels": {names.GRANT_LABEL: "no"}}},
    ],
    ids=["another line", "no key", "commented out", "no label", "another label"],
)
async def test_a_grant_that_is_edited_away_ends_trust_at_once(lab: Lab, patch: dict[str, Any]) -> None:
    await trusting(lab)
    lab.cluster.edit(Kind.CONFIG_MAP, PARTNERS, "client-ca", patch)
    await lab.settle()
    assert verdict(lab, agent(lab)) == "not trusted"
    assert resolved(lab)[:2] == ("False", "NotGranted")


async def test_a_grant_that_is_deleted_ends_trust_at_once_and_leaves_no_copy(lab: Lab) -> None:
    """It is the granter's decision: there is no last good copy of it, also not after a restart."""
    await trusting(lab)
    withdraw(lab)
    await lab.settle()
    assert verdict(lab, agent(lab)) == "not trusted"
    assert lab.condition(Kind.HOST, "api", "Ready")[:2] == ("False", "NotGranted")
    name = names.authority_secret(PARTNERS, 1)
    lab.cluster.remove(Kind.SECRET, names.OPERATOR_NAMESPACE, name)
    ca = lab.cluster.read(Kind.CONFIG_MAP, PARTNERS, names.CLIENT_CA_CONFIGMAP)["data"][names.CA_KEY]
    await lab.restart()
    await lab.pass_time(seconds=15)
    assert verdict(lab, agent(lab), ca=ca) == "not trusted"


async def test_a_grant_withdrawn_while_the_operator_is_away_ends_trust_when_it_is_back(lab: Lab) -> None:
    await trusting(lab)
    await lab.stop()
    withdraw(lab)
    await lab.start()
    await lab.pass_time(seconds=15)
    assert verdict(lab, agent(lab)) == "not trusted"


async def test_a_grant_withdrawn_while_their_list_is_read_ends_trust_all_the_same(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    await trusting(lab)
    load, process = Authorities.load, lab.process

    async def withdrawn_meanwhile(self: Authorities, namespace: str) -> Tenant | None:
        found = await load(self, namespace)
        if namespace == PARTNERS:
            process.hosts.trusts.granting.grants.gone(PARTNERS, "client-ca")
        return found

    monkeypatch.setattr(Authorities, "load", withdrawn_meanwhile)
    assert await process.hosts.trusts.granting.listings(process.tenant()) == {}


async def test_a_second_grant_keeps_what_the_first_gave(lab: Lab) -> None:
    await trusting(lab)
    lab.cluster.make(grant(NAMESPACE, name="another"))
    withdraw(lab)
    await lab.settle()
    assert verdict(lab, agent(lab)) == "accepted"


async def test_a_host_that_cannot_be_read_keeps_its_trust_and_loses_it_with_the_grant(lab: Lab) -> None:
    """G2, and G1: its rules stay as they are, so that the missing list must refuse."""
    await trusting(lab)
    lab.cluster.edit(Kind.HOST, NAMESPACE, "api", {"spec": {"workload": {"port": "nonsense"}}})
    await lab.settle()
    revoke(lab)
    await lab.settle()
    assert verdict(lab, agent(lab)) == "revoked"
    withdraw(lab)
    await lab.settle()
    assert verdict(lab, agent(lab)) == "unknown"


async def test_a_host_whose_own_ca_is_missing_loses_its_trust_with_the_grant(lab: Lab) -> None:
    """Nothing of it can be written anew; its lists can."""
    await trusting(lab)
    lab.cluster.remove(Kind.SECRET, names.OPERATOR_NAMESPACE, names.authority_secret(NAMESPACE, 1))
    lab.cluster.make(rule("more"))
    await lab.settle()
    assert lab.condition(Kind.HOST, "api", "Programmed")[1] == "CAMissing"
    assert verdict(lab, agent(lab)) == "accepted"
    withdraw(lab)
    await lab.settle()
    assert verdict(lab, agent(lab)) == "unknown"


async def test_a_start_without_the_own_ca_follows_the_other_namespace(lab: Lab) -> None:
    """Its revocations, and its grant: a list that is withdrawn must not stay because it was once published."""
    await trusting(lab)
    lab.cluster.make(certificate("other", namespace=PARTNERS))
    await lab.settle()
    await lab.stop()
    lab.cluster.remove(Kind.SECRET, names.OPERATOR_NAMESPACE, names.authority_secret(NAMESPACE, 1))
    await lab.start()
    await lab.settle()
    revoke(lab)
    await lab.settle()
    assert verdict(lab, agent(lab)) == "revoked"
    assert verdict(lab, lab.serial("other", PARTNERS)) == "accepted"
    withdraw(lab)
    await lab.settle()
    assert verdict(lab, lab.serial("other", PARTNERS)) == "unknown"


async def test_a_grant_that_is_withdrawn_while_the_operator_is_away_and_the_own_ca_is_lost_ends(
    lab: Lab,
) -> None:
    await trusting(lab)
    await lab.stop()
    lab.cluster.remove(Kind.SECRET, names.OPERATOR_NAMESPACE, names.authority_secret(NAMESPACE, 1))
    withdraw(lab)
    await lab.start()
    await lab.settle()
    assert verdict(lab, agent(lab)) == "unknown"


async def test_what_is_revoked_while_their_ca_is_missing_is_refused_at_once(lab: Lab) -> None:
    await trusting(lab)
    ca = _lose_ca(lab)
    await lab.settle()
    revoke(lab)
    await lab.settle()
    assert verdict(lab, agent(lab), ca=ca) == "revoked"


# Hiccups


@pytest.mark.parametrize("kind", [Kind.SECRET, Kind.CONFIG_MAP], ids=["the CA", "the ledger"])
async def test_what_cannot_be_read_for_a_moment_stays_trusted(lab: Lab, kind: Kind) -> None:
    await trusting(lab)
    tenant = lab.process.tenant(PARTNERS)
    tenant.ready, tenant.pages_stale = kind is not Kind.SECRET, True
    lab.cluster.faults += [Fault("list", kind, UnavailableError("down")) for _ in range(3)]
    lab.cluster.make(rule("other"))
    lab.cluster.make(certificate("gateway"))
    seen: set[str] = set()
    lab.cluster.watch({Kind.CONFIG_MAP: ""}, lambda *_: seen.add(verdict(lab, agent(lab))))
    await lab.pass_time_with_failures(seconds=20)
    assert verdict(lab, agent(lab)) == "accepted"
    assert seen <= {"accepted"}
    assert not lab.cluster.faults


async def test_own_revocations_do_not_wait_for_the_other_namespace(lab: Lab) -> None:
    await trusting(lab)
    lab.cluster.make(certificate("gateway"))
    await lab.settle()
    tenant = lab.process.tenant(PARTNERS)
    tenant.ready, tenant.pages_stale = False, True
    lab.cluster.faults += [Fault("list", Kind.SECRET, UnavailableError("down")) for _ in range(30)]
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "gateway", {"spec": {"revoked": True}})
    await lab.pass_time_with_failures(seconds=1)
    assert lab.is_refused(lab.serial("gateway"))
    assert verdict(lab, agent(lab)) == "accepted"
    lab.cluster.faults.clear()


async def test_a_start_with_an_api_server_that_fails_drops_nothing(lab: Lab) -> None:
    await trusting(lab)
    await lab.stop()
    lab.cluster.faults += [Fault("list", Kind.SECRET, UnavailableError("down")) for _ in range(6)]
    files: set[str] = set()

    def look(*_: object) -> None:
        data = lab.cluster.read(Kind.CONFIG_MAP, NAMESPACE, names.REVOCATION_CONFIGMAP)["data"]
        files.add(data[names.REVOCATION_KEY])

    lab.cluster.watch({Kind.CONFIG_MAP: ""}, look)
    await lab.start()
    await lab.pass_time_with_failures(seconds=20)
    assert verdict(lab, agent(lab)) == "accepted"
    assert len(files) <= 1


# Their CA is missing


def _lose_ca(lab: Lab) -> str:
    ca = ca_pem(lab)
    lab.cluster.remove(Kind.SECRET, names.OPERATOR_NAMESPACE, names.authority_secret(PARTNERS, 1))
    return ca


async def test_a_ca_that_is_missing_stays_as_it_was_last_known_and_the_host_says_so(lab: Lab) -> None:
    """G2: unlike a grant that is withdrawn, this is a mishap."""
    await trusting(lab)
    revoke(lab)
    lab.cluster.make(certificate("other", namespace=PARTNERS))
    await lab.settle()
    ca = _lose_ca(lab)
    await lab.settle()
    assert verdict(lab, agent(lab), ca=ca) == "revoked"
    assert verdict(lab, lab.serial("other", PARTNERS), ca=ca) == "accepted"
    status, reason, message = resolved(lab)
    assert (status, reason) == ("False", "CAMissing")
    assert "last good copy" in message
    assert sources(lab) == [("managed", "Active"), ("managedFrom/partners", "LastGood")]
    lab.cluster.make(rule("more", match={"paths": ["/more"]}))
    await lab.settle()
    assert (
        "/more"
        in lab.cluster.read(Kind.CONFIG_MAP, NAMESPACE, names.host_config("api"))["data"][names.RULES_KEY]
    )


async def test_a_ca_that_is_missing_at_a_start_is_trusted_by_the_copy_and_its_revocations_by_the_ledger(
    lab: Lab,
) -> None:
    await trusting(lab)
    revoke(lab)
    lab.cluster.make(certificate("other", namespace=PARTNERS))
    await lab.settle()
    await lab.stop()
    ca = _lose_ca(lab)
    await lab.start()
    await lab.pass_time_with_failures(seconds=15)
    assert verdict(lab, agent(lab), ca=ca) == "revoked"
    assert verdict(lab, lab.serial("other", PARTNERS), ca=ca) == "accepted"
    assert resolved(lab)[:2] == ("False", "CAMissing")


async def test_a_copy_that_is_edited_says_nothing(lab: Lab) -> None:
    """Whoever writes in the namespace could put a CA of his own there, or an older one."""
    await trusting(lab)
    await lab.stop()
    ca = _lose_ca(lab)
    name = names.trust_config("api")
    text = lab.cluster.read(Kind.CONFIG_MAP, NAMESPACE, name)["data"][names.TRUST_KEY]
    forged = text.replace('"phase"', '"fase"').replace("Active", "Prepared")
    assert forged != text
    lab.cluster.edit(Kind.CONFIG_MAP, NAMESPACE, name, {"data": {names.TRUST_KEY: forged}})
    await lab.start()
    await lab.pass_time_with_failures(seconds=15)
    assert verdict(lab, agent(lab), ca=ca) == "not trusted"


async def test_a_ca_that_is_back_is_as_before(lab: Lab) -> None:
    await trusting(lab)
    name = names.authority_secret(PARTNERS, 1)
    body = lab.cluster.read(Kind.SECRET, names.OPERATOR_NAMESPACE, name)
    lab.cluster.remove(Kind.SECRET, names.OPERATOR_NAMESPACE, name)
    await lab.settle()
    lab.cluster.make(body)
    await lab.pass_time(seconds=15)
    assert resolved(lab)[:2] == ("True", "Resolved")
    revoke(lab)
    await lab.settle()
    assert verdict(lab, agent(lab)) == "revoked"


# Look-alikes


async def test_their_ca_copied_in_as_a_file_is_refused_also_beside_the_grant(lab: Lab) -> None:
    prepare(lab, trusted=[{"configMapRef": {"name": "partner-ca", "key": "ca.crt"}}])
    await lab.start()
    await lab.settle()
    lab.cluster.make(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"namespace": NAMESPACE, "name": "partner-ca"},
            "data": {"ca.crt": ca_pem(lab)},
        }
    )
    lab.source_changed("partner-ca", Kind.CONFIG_MAP)
    await lab.settle()
    assert sources(lab) == [("managed", "Active"), ("managedFrom/partners", "Active")]
    assert resolved(lab)[1] == "InvalidCACertificate"
    withdraw(lab)
    await lab.settle()
    assert verdict(lab, agent(lab)) == "not trusted"


# Lives of namespaces


async def test_a_namespace_that_is_deleted_is_trusted_no_more(lab: Lab) -> None:
    await trusting(lab)
    ca, serial = ca_pem(lab), agent(lab)
    lab.cluster.remove_namespace(PARTNERS)
    await lab.settle()
    assert verdict(lab, serial, ca=ca) == "not trusted"


async def test_a_namespace_that_is_made_again_has_neither_ca_nor_grant_of_its_former_life(lab: Lab) -> None:
    await trusting(lab)
    ca, serial = ca_pem(lab), agent(lab)
    lab.process.grants.held.add(Kind.CONFIG_MAP)  # the end of the former grant is not seen
    await lab.pass_time(seconds=2)
    lab.cluster.remove_namespace(PARTNERS)
    await lab.settle()
    lab.cluster.make_namespace(PARTNERS)
    lab.cluster.make(certificate("agent", namespace=PARTNERS))
    await lab.settle()
    new = ca_pem(lab, 2)
    assert verdict(lab, serial, ca=ca) == "not trusted"
    assert verdict(lab, agent(lab), ca=new) == "not trusted"
    assert resolved(lab)[1] == "NotGranted"
    lab.process.grants.release(Kind.CONFIG_MAP)
    lab.cluster.make(grant(NAMESPACE))
    await lab.settle()
    assert verdict(lab, serial, ca=ca) == "not trusted"
    assert verdict(lab, agent(lab), ca=new) == "accepted"


async def test_a_copy_of_a_former_life_counts_for_nothing(lab: Lab) -> None:
    await trusting(lab)
    ca, serial = ca_pem(lab), agent(lab)
    await lab.stop()
    lab.cluster.edit(Kind.CERTIFICATE, PARTNERS, "agent", {"metadata": {"finalizers": None}})
    lab.cluster.remove_namespace(PARTNERS)
    lab.cluster.make_namespace(PARTNERS)
    lab.cluster.make(grant(NAMESPACE))
    for body in lab.authority_secrets(PARTNERS):
        lab.cluster.remove(Kind.SECRET, names.OPERATOR_NAMESPACE, body["metadata"]["name"])
    # Somebody makes it look as if the CA of the new life were missing.
    lab.cluster.make(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "namespace": PARTNERS,
                "name": names.CLIENT_CA_CONFIGMAP,
                "labels": {names.MANAGED_BY_LABEL: names.MANAGED_BY, names.ROLE_LABEL: "bundle"},
            },
            "data": {names.CA_KEY: ca},
        }
    )
    await lab.start()
    await lab.pass_time_with_failures(seconds=15)
    assert verdict(lab, serial, ca=ca) == "not trusted"


async def test_a_host_in_front_of_nothing_gives_the_other_namespace_its_ca(lab: Lab) -> None:
    """A grant is reason enough for a CA: its first certificate is accepted without a pause."""
    lab.cluster.make_namespace(PARTNERS)
    lab.cluster.make(grant(NAMESPACE))
    lab.cluster.make(host(clientCAs=TRUSTING))
    await lab.start()
    lab.run_pod(pod())
    await lab.settle()
    assert sources(lab) == [("managed", "Active"), ("managedFrom/partners", "Active")]
    lab.cluster.make(certificate("agent", namespace=PARTNERS))
    await lab.settle()
    assert verdict(lab, agent(lab)) == "accepted"


# Size and quiet


async def test_lists_that_do_not_fit_refuse_and_the_host_says_so(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """G1: of unknown state, and never taken for not revoked."""
    monkeypatch.setattr(published, "SCRIPT_BYTES", 150)
    await trusting(lab)
    assert verdict(lab, agent(lab)) == "unknown"
    status, reason, message = resolved(lab)
    assert (status, reason) == ("False", "ConfigTooLarge")
    assert PARTNERS in message
    lab.cluster.make(certificate("gateway", revoked=False))
    await lab.settle()
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "gateway", {"spec": {"revoked": True}})
    await lab.settle()
    assert lab.is_refused(lab.serial("gateway"))
    revoke(lab)
    await lab.settle()
    assert lab.state("agent", PARTNERS) == "Revoked"


async def test_an_unchanged_world_stays_as_it_is(lab: Lab) -> None:
    """G6."""
    await trusting(lab)
    lab.writes()
    lab.resync()
    await lab.pass_time(minutes=10)
    await lab.restart()
    await lab.pass_time(minutes=1)
    assert [str(write) for write in lab.writes()] == []


async def test_only_namespaces_that_trust_it_are_written_when_something_is_revoked(lab: Lab) -> None:
    await trusting(lab)
    for other in ("web", "fleet"):
        lab.cluster.make_namespace(other)
        lab.cluster.make(host(namespace=other))
    lab.cluster.make_namespace("curious")
    lab.cluster.make(host(namespace="curious", clientCAs=TRUSTING))  # named, and not allowed
    await lab.settle()
    await lab.pass_time(seconds=10)
    lab.writes()
    revoke(lab)
    await lab.settle()
    assert {write.namespace for write in lab.writes()} <= {PARTNERS, NAMESPACE, names.OPERATOR_NAMESPACE}
