"""A mistake is named where it was made and changes nothing else (guarantee G2)."""

from __future__ import annotations

from tests.support.cluster import condition, eventually
from tests.support.tenant import Tenant
from tests.support.webhook import absent_webhook


def test_a_rule_that_stops_compiling_stays_in_force_and_says_where_the_mistake_is(shop: Tenant) -> None:
    shop.rule("other", expression='http.request.uri.path eq "/other"')
    shop.wait_ready("mtlsrules", "other")
    expression = 'http.request.uri.path eq "/other" und ssl'
    with absent_webhook(shop.api):
        shop.patch("mtlsrules", "other", {"expression": expression})
    body = eventually(
        lambda: shop.see("mtlsrules", "other"),
        lambda seen: condition(seen, "Accepted").get("status") == "False",
    )
    message = condition(body, "Accepted")["message"]
    assert "line 1, column" in message
    assert expression in message
    assert "^" in message
    assert "last good version" in message
    assert shop.status("good", "/other") == 403
    assert shop.status(None, "/admin") == 403
    assert shop.status("good", "/admin") == 200


def test_a_block_rule_that_never_compiled_keeps_its_host_from_being_ready(shop: Tenant) -> None:
    with absent_webhook(shop.api):
        shop.rule("broken", expression="http.hosst eq 1")
    body = eventually(
        lambda: shop.see("mtlshosts", "api"),
        lambda seen: condition(seen, "Ready").get("reason") == "RuleNeverCompiled",
    )
    assert "broken" in condition(body, "Enforced")["message"]
    assert shop.status(None, "/admin") == 403, "the other rules are in force"
    shop.delete("mtlsrules", "broken")
    shop.wait_ready("mtlshosts", "api")


def test_a_missing_server_certificate_leaves_the_running_one_in_force(shop: Tenant) -> None:
    shop.patch("mtlshosts", "api", {"tls": {"secretName": "not-there"}})
    body = eventually(
        lambda: shop.see("mtlshosts", "api"),
        lambda seen: condition(seen, "ResolvedRefs").get("reason") == "SecretNotFound",
    )
    assert "not-there" in condition(body, "ResolvedRefs")["message"]
    assert shop.status("good", "/admin") == 200
    assert shop.status(None, "/admin") == 403


def test_what_the_operator_wrote_is_restored_when_it_is_edited_or_deleted(shop: Tenant) -> None:
    path = f"/api/v1/namespaces/{shop.namespace}/configmaps/mtls-host-api"
    before = shop.api.get(path)["data"]
    shop.api.patch(path, {"data": {"rules.lua": "-- mtls-rules 1\nfunction envoy_on_request(h) end\n"}})
    eventually(
        lambda: shop.api.get(path)["data"]["rules.lua"],
        lambda text: text.split("\n")[1:] == before["rules.lua"].split("\n")[1:] or "Generated" in text,
    )
    shop.api.delete(path)
    eventually(lambda: shop.api.find(path) is not None, what="the ConfigMap is back")
    policy = f"/apis/networking.k8s.io/v1/namespaces/{shop.namespace}/networkpolicies/mtls-host-api"
    assert shop.api.find(policy) is not None
    shop.patch("mtlshosts", "api", {"isolation": {"networkPolicy": False}})
    eventually(lambda: shop.api.find(policy) is None, what="the policy is gone")
