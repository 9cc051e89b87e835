"""Revocation is felt on connections that are open, costs nobody else anything, and is never lost."""

from __future__ import annotations

import threading
import time
from collections import Counter

from tests.support.clients import Http1
from tests.support.cluster import OPERATOR_NAMESPACE, eventually
from tests.support.tenant import HOSTNAME, Tenant


def test_a_revoked_certificate_is_refused_on_open_connections_and_on_new_ones(shop: Tenant) -> None:
    addresses = shop.addresses()
    open_ones = [shop.http1("bad", address) for address in addresses]
    open_ones += [shop.http2("bad", address) for address in addresses]
    assert [c.get("/admin", HOSTNAME).status for c in open_ones] == [200] * len(open_ones)

    shop.patch("clientcertificates", "bad", {"revoked": True})

    for connection in open_ones:
        eventually(
            lambda connection=connection: connection.get("/admin", HOSTNAME).status,
            lambda status: status == 403,
            within=5,
        )
        assert connection.get("/", HOSTNAME).status == 200, "the connection itself goes on"
        connection.close()
    body = shop.wait_state("bad", "Revoked")
    assert body["status"]["revokedAt"]
    assert [shop.status("bad", "/admin", address) for address in addresses] == [403] * len(addresses)
    assert shop.status("good", "/admin") == 200


def test_a_restored_certificate_gets_in_again_but_not_after_a_key_compromise(shop: Tenant) -> None:
    shop.patch("clientcertificates", "bad", {"revoked": True, "revocationReason": "CertificateHold"})
    shop.wait_state("bad", "Revoked")
    assert shop.status("bad", "/admin") == 403
    shop.patch("clientcertificates", "bad", {"revoked": False})
    shop.wait_state("bad", "Active")
    assert shop.status("bad", "/admin") == 200


def test_deleting_an_object_revokes_its_certificate(shop: Tenant) -> None:
    context = shop.context("bad")
    with Http1(8443, context, HOSTNAME, address=shop.addresses()[0]) as connection:
        assert connection.get("/admin", HOSTNAME).status == 200
        shop.delete("clientcertificates", "bad")
        eventually(lambda: connection.get("/admin", HOSTNAME).status, lambda seen: seen == 403, within=10)
    eventually(lambda: shop.secret("bad") is None, within=20, what="the Secret goes with its object")


def test_no_good_request_fails_during_twenty_revocations_and_twenty_rule_changes(shop: Tenant) -> None:
    for number in range(20):
        shop.certificate(f"client-{number}")
    for number in range(20):
        shop.wait_ready("clientcertificates", f"client-{number}")
    answers: Counter[int] = Counter()
    stop = threading.Event()

    def ask(opener: object, address: str) -> None:
        with opener("good", address) as connection:  # type: ignore[operator]  # http1 or http2
            while not stop.is_set():
                answers[connection.get("/admin", HOSTNAME).status] += 1
                time.sleep(0.002)

    threads = [
        threading.Thread(target=ask, args=(opener, address))
        for address in shop.addresses()
        for opener in (shop.http1, shop.http2)
    ]
    for thread in threads:
        thread.start()
    try:
        for number in range(20):
            shop.patch("clientcertificates", f"client-{number}", {"revoked": True})
            shop.patch("mtlsrules", "admin", {"match": {"paths": ["/admin", f"/extra-{number}"]}})
            shop.wait_state(f"client-{number}", "Revoked")
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert set(answers) == {200}, answers
    assert answers[200] > 500
    shop.wait_ready("mtlsrules", "admin")
    assert shop.status(None, "/extra-19") == 403


def test_the_ledger_has_the_revocation_before_anybody_is_told_that_it_is_in_force(shop: Tenant) -> None:
    serial = shop.see("clientcertificates", "bad")["status"]["serialNumber"]
    shop.patch("clientcertificates", "bad", {"revoked": True, "revocationReason": "KeyCompromise"})
    shop.wait_state("bad", "Revoked")
    pages = shop.in_operator_namespace("configmaps", "ledger")
    assert any(serial in text for page in pages for text in page["data"].values())
    published = shop.config_map("mtls-revocation")
    assert published is not None
    assert serial in published["data"]["revoked.json"]


def test_a_lost_ledger_page_and_an_edited_list_let_nobody_in_again(shop: Tenant) -> None:
    context = shop.context("bad")
    shop.delete("clientcertificates", "bad")
    with Http1(8443, context, HOSTNAME, address=shop.addresses()[0]) as connection:
        eventually(lambda: connection.get("/admin", HOSTNAME).status, lambda seen: seen == 403, within=10)
        eventually(lambda: shop.secret("bad") is None, within=20)
        for page in shop.in_operator_namespace("configmaps", "ledger"):
            shop.api.delete(f"/api/v1/namespaces/{OPERATOR_NAMESPACE}/configmaps/{page['metadata']['name']}")
        eventually(
            lambda: shop.in_operator_namespace("configmaps", "ledger"), within=20, what="the ledger is back"
        )
        path = f"/api/v1/namespaces/{shop.namespace}/configmaps/mtls-revocation"
        before = shop.api.get(path)["data"]
        shop.api.patch(path, {"data": {"revocation.lua": "-- mtls-revocation 1\n", "revoked.json": "{}"}})
        eventually(
            lambda: shop.api.get(path)["data"]["revoked.json"],
            lambda text: text != "{}",
            within=20,
            what="the edit is taken back",
        )
        assert shop.api.get(path)["data"]["ca.crl"] == before["ca.crl"]
        assert connection.get("/admin", HOSTNAME).status == 403
