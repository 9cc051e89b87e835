"""An MTLSHost from its objects to its proxies: G1, G2, G4 and G7."""

from __future__ import annotations

from base64 import b64decode, b64encode
from datetime import timedelta
from typing import Any

import pytest
from tests.feature.harness import Lab
from tests.support.builders import NAMESPACE, certificate, host, pod, rule, tls_secret

from mtls_operator.api import names
from mtls_operator.api.timestamp import format_timestamp
from mtls_operator.cluster import Kind
from mtls_operator.pki import AUTHORITY_ENTROPY, issue_server, new_authority, random_serial, read_certificate
from mtls_operator.push import Scope

CONFIG, SERVER = "mtls-host-api", "mtls-server-api"


async def _in_force(lab: Lab, **spec: Any) -> None:
    lab.cluster.make(host(**spec))
    lab.cluster.make(rule())
    await lab.start()
    lab.run_pod(pod())
    await lab.settle()
    await lab.pass_time(seconds=3)


def _conditions(lab: Lab, name: str = "api") -> dict[str, tuple[str, str]]:
    return {c["type"]: (c["status"], c["reason"]) for c in lab.status(Kind.HOST, name)["conditions"]}


def _pair(lab: Lab, *hostnames: str, validity: timedelta = timedelta(days=30)) -> tuple[str, bytes]:
    authority = new_authority(
        "corporate", now=lab.now(), lifetime=timedelta(days=3650), entropy=b"x" * AUTHORITY_ENTROPY
    )
    issued = issue_server(
        authority,
        hostnames=hostnames,
        validity=validity,
        serial=random_serial(lab.random.randbytes(AUTHORITY_ENTROPY)),
        now=lab.now(),
    )
    return issued.certificate_pem, issued.key_pem.reveal()


async def test_a_host_gets_every_object_that_its_pods_mount(lab: Lab) -> None:
    await _in_force(lab)
    config = lab.cluster.read(Kind.CONFIG_MAP, NAMESPACE, CONFIG)["data"]
    assert {names.BOOTSTRAP_KEY, names.LISTENER_KEY, names.CLIENT_CA_SDS_KEY, names.RULES_KEY} <= set(config)
    assert names.SERVER_SDS_KEY in lab.cluster.read(Kind.SECRET, NAMESPACE, SERVER)["data"]
    assert lab.cluster.find(Kind.SECRET, NAMESPACE, names.PROXY_SECRET)
    assert lab.cluster.find(Kind.CONFIG_MAP, NAMESPACE, names.REVOCATION_CONFIGMAP)
    assert lab.cluster.find(Kind.NETWORK_POLICY, NAMESPACE, CONFIG)
    assert (
        lab.process.discovery.published[Scope(NAMESPACE, "api"), names.RULES_FILTER].text
        == config[names.RULES_KEY]
    )


async def test_every_condition_is_true_when_every_proxy_reports_the_wanted_versions(lab: Lab) -> None:
    await _in_force(lab)
    assert {status for status, _ in _conditions(lab).values()} == {"True"}
    proxies = lab.status(Kind.HOST, "api")["proxies"]
    assert (proxies["pods"], proxies["connected"], proxies["current"]) == (1, 1, 1)


async def test_without_pods_a_host_is_not_deployed(lab: Lab) -> None:
    lab.cluster.make(host())
    await lab.start()
    await lab.settle()
    assert _conditions(lab)["Deployed"] == ("False", "NoPods")
    assert _conditions(lab)["Programmed"] == ("True", "Programmed")


async def test_a_host_without_rules_says_that_everybody_gets_in(lab: Lab) -> None:
    lab.cluster.make(host())
    await lab.start()
    await lab.settle()
    assert _conditions(lab)["Enforced"] == ("False", "NoRules")


async def test_a_pod_without_the_sidecar_is_named(lab: Lab) -> None:
    await _in_force(lab)
    lab.cluster.make(pod("bare", injected=False, address="10.0.0.9"))
    await lab.settle()
    assert _conditions(lab)["Deployed"] == ("False", "PodsWithoutProxy")
    assert "bare" in lab.condition(Kind.HOST, "api", "Deployed")[2]


async def test_a_proxy_that_is_cut_off_is_reported_with_the_time(lab: Lab) -> None:
    await _in_force(lab)
    await lab.pass_time(seconds=10)
    lab.disconnect(next(iter(lab.proxies.values())))
    await lab.settle()
    assert _conditions(lab)["Deployed"] == ("False", "ProxyDisconnected")
    assert "2026-03-01T12:00:1" in lab.condition(Kind.HOST, "api", "Deployed")[2]
    assert _conditions(lab)["Ready"][0] == "False"


async def test_a_proxy_that_never_comes_back_after_a_restart_is_reported(lab: Lab) -> None:
    """G4: the grace for proxies on their way back ends."""
    await _in_force(lab)
    await lab.stop()
    next(iter(lab.proxies.values())).connected = False
    await lab.start()
    await lab.settle()
    assert _conditions(lab)["Deployed"][0] == "True"
    await lab.pass_time(seconds=15)
    assert _conditions(lab)["Deployed"] == ("False", "ProxyPending")
    assert "api-1" in lab.condition(Kind.HOST, "api", "Deployed")[2]
    assert lab.condition(Kind.RULE, "admin", "Deployed")[0] == "False"


async def test_a_refusal_is_reported_in_the_proxys_own_words(lab: Lab) -> None:
    await _in_force(lab)
    proxy = next(iter(lab.proxies.values()))
    proxy.obedient = False
    lab.cluster.edit(Kind.RULE, NAMESPACE, "admin", {"spec": {"match": {"paths": ["/other"]}}})
    await lab.settle()
    lab.refuse(proxy, names.RULES_FILTER, "script load error: unexpected symbol")
    await lab.settle()
    status, reason, message = lab.condition(Kind.HOST, "api", "Deployed")
    assert (status, reason) == ("False", "ProxyRejected")
    assert "script load error: unexpected symbol" in message
    assert lab.condition(Kind.RULE, "admin", "Deployed")[0] == "False"


async def test_files_that_are_on_their_way_are_waited_for(lab: Lab) -> None:
    lab.cluster.make(host())
    await lab.start()
    proxy = lab.run_pod(pod())
    proxy.fresh = False
    await lab.settle()
    assert _conditions(lab)["Deployed"] == ("False", "ProxyPending")
    proxy.fresh = True
    await lab.pass_time(seconds=5)
    assert _conditions(lab)["Deployed"][0] == "True"


async def test_a_hostile_status_port_harms_only_its_own_host(lab: Lab) -> None:
    """G2: a pod's own answer is a tenant's text."""
    await _in_force(lab)
    proxy = next(iter(lab.proxies.values()))
    proxy.stats = "<html>\0not statistics"
    lab.cluster.edit(Kind.RULE, NAMESPACE, "admin", {"spec": {"match": {"paths": ["/other"]}}})
    await lab.settle()
    await lab.pass_time(minutes=6)
    assert _conditions(lab)["Deployed"][0] == "False"


@pytest.mark.parametrize(
    ("kind", "name", "patch"),
    [
        (Kind.CONFIG_MAP, CONFIG, {"data": {names.RULES_KEY: "function envoy_on_request(h) end"}}),
        (Kind.CONFIG_MAP, CONFIG, {"data": {names.RULES_KEY: "-- mtls-rules 0\n"}}),
        (Kind.CONFIG_MAP, CONFIG, {"data": {names.RULES_KEY: "-- mtls-rules 9007199254740991\n"}}),
        (Kind.CONFIG_MAP, CONFIG, {"data": {names.LISTENER_KEY: "{}"}}),
        (Kind.CONFIG_MAP, CONFIG, {"data": None}),
        (Kind.SECRET, SERVER, {"data": {names.TLS_KEY_KEY: "cnViYmlzaA=="}}),
        (Kind.CONFIG_MAP, names.CLIENT_CA_CONFIGMAP, {"data": {names.CA_KEY: "rubbish"}}),
        (
            Kind.CONFIG_MAP,
            names.REVOCATION_CONFIGMAP,
            {"data": {names.REVOCATION_KEY: "-- mtls-revocation 0\n"}},
        ),
        (
            Kind.CONFIG_MAP,
            names.REVOCATION_CONFIGMAP,
            {"data": {names.REVOCATION_KEY: "-- x 9999999999999999\n"}},
        ),
        (Kind.NETWORK_POLICY, CONFIG, {"spec": {"ingress": [{}]}}),
    ],
)
@pytest.mark.parametrize("running", [True, False], ids=["running", "stopped"])
async def test_what_tenants_edit_is_restored(
    lab: Lab,
    kind: Kind,
    name: str,
    patch: dict[str, Any],
    running: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    await _in_force(lab)
    lab.cluster.make(certificate("gateway"))
    await lab.settle()
    if not running:
        await lab.stop()
    lab.cluster.edit(kind, NAMESPACE, name, patch)
    edited = lab.cluster.read(kind, NAMESPACE, name)
    if not running:
        await lab.start()
    await lab.pass_time(seconds=15)
    found = lab.cluster.read(kind, NAMESPACE, name)
    assert (found.get("data"), found.get("spec")) != (edited.get("data"), edited.get("spec"))
    assert _conditions(lab)["Ready"] == ("True", "Ready")
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "gateway", {"spec": {"revoked": True}})
    await lab.settle()
    assert lab.is_refused(lab.serial("gateway"))
    assert lab.state() == "Revoked"


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (Kind.CONFIG_MAP, CONFIG),
        (Kind.SECRET, SERVER),
        (Kind.SECRET, names.PROXY_SECRET),
        (Kind.CONFIG_MAP, names.CLIENT_CA_CONFIGMAP),
        (Kind.NETWORK_POLICY, CONFIG),
    ],
)
async def test_what_tenants_delete_comes_back(lab: Lab, kind: Kind, name: str) -> None:
    await _in_force(lab)
    lab.cluster.remove(kind, NAMESPACE, name)
    await lab.pass_time(seconds=3)
    assert lab.cluster.find(kind, NAMESPACE, name) is not None
    assert _conditions(lab)["Ready"] == ("True", "Ready")


async def test_the_network_policy_goes_when_it_is_switched_off(lab: Lab) -> None:
    await _in_force(lab)
    lab.cluster.edit(Kind.HOST, NAMESPACE, "api", {"spec": {"isolation": {"networkPolicy": False}}})
    await lab.settle()
    assert lab.cluster.find(Kind.NETWORK_POLICY, NAMESPACE, CONFIG) is None


async def test_the_younger_of_two_hosts_with_one_hostname_is_refused(lab: Lab) -> None:
    await _in_force(lab)
    await lab.pass_time(seconds=2)
    lab.cluster.make(host("other", hostnames=("api.example.com",)))
    await lab.settle()
    assert _conditions(lab, "other")["Accepted"] == ("False", "HostnameConflict")
    assert lab.cluster.find(Kind.CONFIG_MAP, NAMESPACE, "mtls-host-other") is None
    assert _conditions(lab)["Ready"] == ("True", "Ready")


async def test_the_younger_host_gets_the_hostname_when_the_older_one_goes(lab: Lab) -> None:
    await _in_force(lab)
    await lab.pass_time(seconds=2)
    lab.cluster.make(host("other", hostnames=("api.example.com",)))
    await lab.settle()
    lab.cluster.remove(Kind.HOST, NAMESPACE, "api")
    await lab.settle()
    assert _conditions(lab, "other")["Accepted"] == ("True", "Accepted")
    assert lab.cluster.find(Kind.CONFIG_MAP, NAMESPACE, CONFIG) is None
    assert (Scope(NAMESPACE, "api"), names.RULES_FILTER) not in lab.process.discovery.published


async def test_a_users_own_certificate_is_served(lab: Lab) -> None:
    pem, key = _pair(lab, "api.example.com")
    lab.cluster.make(tls_secret("api-tls", pem, key))
    await _in_force(lab, tls={"secretName": "api-tls"})
    served = lab.cluster.read(Kind.SECRET, NAMESPACE, SERVER)["data"]
    assert b64decode(served[names.TLS_CERT_KEY]).decode() == pem
    assert _conditions(lab)["ResolvedRefs"] == ("True", "Resolved")
    assert (Kind.SECRET, NAMESPACE, "api-tls") in lab.process.hosts.watches.targets


@pytest.mark.parametrize("restarted", [False, True])
async def test_a_users_certificate_that_disappears_stays_in_force(lab: Lab, restarted: bool) -> None:  # noqa: FBT001
    """G2."""
    pem, key = _pair(lab, "api.example.com")
    lab.cluster.make(tls_secret("api-tls", pem, key))
    await _in_force(lab, tls={"secretName": "api-tls"})
    if restarted:
        await lab.stop()
    lab.cluster.remove(Kind.SECRET, NAMESPACE, "api-tls")
    if restarted:
        await lab.start()
    else:
        lab.source_changed("api-tls")
    await lab.pass_time(seconds=15)
    served = lab.cluster.read(Kind.SECRET, NAMESPACE, SERVER)["data"]
    assert b64decode(served[names.TLS_CERT_KEY]).decode() == pem
    assert _conditions(lab)["ResolvedRefs"] == ("False", "SecretNotFound")
    assert _conditions(lab)["Deployed"][0] == "True"


async def test_an_expired_certificate_whose_secret_disappears_does_not_hold_rules_back_after_a_restart(
    lab: Lab,
) -> None:
    """G2: what is served although it has ended is the last good one as well."""
    pem, key = _pair(lab, "api.example.com", validity=timedelta(minutes=5))
    lab.cluster.make(tls_secret("api-tls", pem, key))
    await _in_force(lab, tls={"secretName": "api-tls"})
    await lab.stop()
    lab.skew += timedelta(hours=1)
    lab.cluster.remove(Kind.SECRET, NAMESPACE, "api-tls")
    lab.cluster.edit(Kind.RULE, NAMESPACE, "admin", {"spec": {"match": {"paths": ["/other"]}}})
    await lab.start()
    await lab.pass_time(seconds=15)
    assert "/other" in lab.process.discovery.published[Scope(NAMESPACE, "api"), names.RULES_FILTER].text
    assert _conditions(lab)["ResolvedRefs"] == ("False", "SecretNotFound")
    assert _conditions(lab)["Deployed"][0] == "True"


@pytest.mark.parametrize("key", [names.TLS_CERT_KEY, names.TLS_KEY_KEY])
async def test_text_around_a_certificate_or_a_key_reaches_no_proxy_and_stops_nothing(
    lab: Lab, key: str
) -> None:
    pem, key_pem = _pair(lab, "api.example.com")
    body = tls_secret("api-tls", pem, key_pem)
    body["data"][key] = b64encode(b"Subject: Z\xfcrich \x80\n" + b64decode(body["data"][key])).decode()
    lab.cluster.make(body)
    await _in_force(lab, tls={"secretName": "api-tls"})
    served = lab.cluster.read(Kind.SECRET, NAMESPACE, SERVER)["data"]
    assert b64decode(served[names.TLS_CERT_KEY]).decode() == pem
    assert b64decode(served[names.TLS_KEY_KEY]) == key_pem
    assert b"rich" not in b64decode(served[names.SERVER_SDS_KEY])
    assert _conditions(lab)["Ready"] == ("True", "Ready")


async def test_a_users_certificate_that_is_missing_from_the_start_programs_nothing(lab: Lab) -> None:
    lab.cluster.make(host(tls={"secretName": "api-tls"}))
    await lab.start()
    await lab.settle()
    assert _conditions(lab)["ResolvedRefs"] == ("False", "SecretNotFound")
    assert _conditions(lab)["Programmed"][0] == "False"


async def test_a_key_that_does_not_fit_is_never_served(lab: Lab) -> None:
    pem, key = _pair(lab, "api.example.com")
    lab.cluster.make(tls_secret("api-tls", pem, key))
    await _in_force(lab, tls={"secretName": "api-tls"})
    _, other = _pair(lab, "api.example.com")
    lab.cluster.edit(
        Kind.SECRET, NAMESPACE, "api-tls", {"data": {names.TLS_KEY_KEY: b64encode(other).decode()}}
    )
    lab.source_changed("api-tls")
    await lab.settle()
    assert b64decode(lab.cluster.read(Kind.SECRET, NAMESPACE, SERVER)["data"][names.TLS_KEY_KEY]) == key
    assert _conditions(lab)["ResolvedRefs"] == ("False", "KeyMismatch")


async def test_a_users_certificate_is_reported_two_weeks_before_its_end_with_no_event_to_trigger_it(
    lab: Lab,
) -> None:
    pem, key = _pair(lab, "api.example.com", validity=timedelta(days=14, minutes=10))
    end = read_certificate(pem).not_after
    lab.cluster.make(tls_secret("api-tls", pem, key))
    await _in_force(lab, tls={"secretName": "api-tls"})
    assert _conditions(lab)["ResolvedRefs"] == ("True", "Resolved")
    await lab.pass_time(minutes=11)
    assert lab.condition(Kind.HOST, "api", "ResolvedRefs") == (
        "True",
        "ServingCertificateExpiring",
        f"The server certificate in Secret api-tls expires at {format_timestamp(end)}: renew it.",
    )
    assert _conditions(lab)["Ready"] == ("True", "Ready")
    lab.writes()
    await lab.pass_time(minutes=11)
    assert lab.writes() == []
    assert [e[:2] for e in lab.events()].count(("Warning", "ServingCertificateExpiring")) == 1


async def test_a_new_certificate_takes_the_warning_away(lab: Lab) -> None:
    pem, key = _pair(lab, "api.example.com", validity=timedelta(days=7))
    lab.cluster.make(tls_secret("api-tls", pem, key))
    await _in_force(lab, tls={"secretName": "api-tls"})
    assert _conditions(lab)["ResolvedRefs"] == ("True", "ServingCertificateExpiring")
    pem, key = _pair(lab, "api.example.com")
    lab.cluster.overwrite(tls_secret("api-tls", pem, key))
    lab.source_changed("api-tls")
    await lab.settle()
    assert _conditions(lab)["ResolvedRefs"] == ("True", "Resolved")


async def test_a_host_name_that_the_users_certificate_does_not_cover_is_reported_and_the_others_are_served(
    lab: Lab,
) -> None:
    pem, key = _pair(lab, "api.example.com", "*.shop.example.com")
    lab.cluster.make(tls_secret("api-tls", pem, key))
    named = ["api.example.com", "a.shop.example.com", "b.a.shop.example.com", "www.example.com"]
    await _in_force(lab, hostnames=named, tls={"secretName": "api-tls"})
    status, reason, message = lab.condition(Kind.HOST, "api", "ResolvedRefs")
    assert (status, reason) == ("False", "HostnameNotInCertificate")
    assert "www.example.com" in message
    assert "b.a.shop.example.com" in message
    served = lab.cluster.read(Kind.SECRET, NAMESPACE, SERVER)["data"]
    assert b64decode(served[names.TLS_CERT_KEY]).decode() == pem
    assert _conditions(lab)["Deployed"][0] == "True"
    lab.cluster.edit(Kind.HOST, NAMESPACE, "api", {"spec": {"hostnames": named[:2]}})
    await lab.settle()
    assert _conditions(lab)["ResolvedRefs"] == ("True", "Resolved")


async def test_a_certificate_of_the_user_that_has_ended_is_reported_as_such(lab: Lab) -> None:
    pem, key = _pair(lab, "api.example.com", validity=timedelta(minutes=5))
    lab.cluster.make(tls_secret("api-tls", pem, key))
    await _in_force(lab, tls={"secretName": "api-tls"})
    await lab.pass_time(minutes=11)
    assert _conditions(lab)["ResolvedRefs"] == ("False", "ServingCertificateExpired")


async def test_a_certificate_that_we_issue_is_renewed_and_never_reported(lab: Lab) -> None:
    await _in_force(lab)
    first = lab.cluster.read(Kind.SECRET, NAMESPACE, SERVER)["data"][names.TLS_CERT_KEY]
    await lab.stop()
    lab.skew += timedelta(days=89)
    await lab.start()
    await lab.settle()
    second = lab.cluster.read(Kind.SECRET, NAMESPACE, SERVER)["data"][names.TLS_CERT_KEY]
    assert first != second
    assert "ServingCertificateExpiring" not in {reason for _, reason, _ in lab.events()}


async def test_a_host_that_does_not_trust_the_managed_ca_lists_no_issuer(lab: Lab) -> None:
    await _in_force(lab, clientCAs={"managed": False})
    assert "clientCAs" not in lab.status(Kind.HOST, "api") or lab.status(Kind.HOST, "api")["clientCAs"] == []


async def test_what_is_forwarded_changes_with_the_pushed_script_and_not_with_the_listener(lab: Lab) -> None:
    await _in_force(lab)
    before = lab.cluster.read(Kind.CONFIG_MAP, NAMESPACE, CONFIG)["data"]
    assert '["xfcc"] = true' in before[names.RULES_KEY]
    lab.cluster.edit(Kind.HOST, NAMESPACE, "api", {"spec": {"forwardedHeaders": ["RFC9440", "Cloudflare"]}})
    await lab.settle()
    after = lab.cluster.read(Kind.CONFIG_MAP, NAMESPACE, CONFIG)["data"]
    assert {key for key in before if before[key] != after[key]} == {names.RULES_KEY}
    pushed = lab.process.discovery.published[Scope(NAMESPACE, "api"), names.RULES_FILTER].text
    assert pushed == after[names.RULES_KEY]
    for family, wanted in (("xfcc", "false"), ("rfc9440", "true"), ("cloudflare", "true")):
        assert f'["{family}"] = {wanted}' in pushed


async def test_a_configuration_of_that_name_that_is_not_ours_is_left_alone(lab: Lab) -> None:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": NAMESPACE, "name": CONFIG}}
    labels = {names.MANAGED_BY_LABEL: names.MANAGED_BY}
    before = lab.cluster.make(
        {**body, "metadata": {**body["metadata"], "labels": labels}, "data": {"a": "b"}}
    )
    lab.cluster.make(host())
    await lab.start()
    await lab.settle()
    assert lab.cluster.read(Kind.CONFIG_MAP, NAMESPACE, CONFIG) == before
    assert _conditions(lab)["Programmed"] == ("False", "ConfigConflict")


async def test_a_damaged_serving_ca_leaves_the_host_as_it_is(lab: Lab) -> None:
    """G2: rules still follow, the certificate that works is still served, the status says what is wrong."""
    await _in_force(lab)
    served = lab.cluster.read(Kind.SECRET, NAMESPACE, SERVER)["data"]
    await lab.stop()
    lab.cluster.edit(
        Kind.SECRET,
        names.OPERATOR_NAMESPACE,
        "serving-ca-shop",
        {"data": {names.TLS_KEY_KEY: "cnViYmlzaA=="}},
    )
    lab.cluster.edit(Kind.RULE, NAMESPACE, "admin", {"spec": {"match": {"paths": ["/other"]}}})
    await lab.start()
    await lab.settle()
    assert (
        lab.cluster.read(Kind.SECRET, NAMESPACE, SERVER)["data"][names.TLS_CERT_KEY]
        == served[names.TLS_CERT_KEY]
    )
    assert "/other" in lab.cluster.read(Kind.CONFIG_MAP, NAMESPACE, CONFIG)["data"][names.RULES_KEY]
    assert _conditions(lab)["ResolvedRefs"] == ("False", "InvalidCA")
