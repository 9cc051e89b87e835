"""Lists over HTTP, as others use them: ``openssl`` and nginx, fetched from where the certificate says."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from tests.support.clients import Http1, tls_context
from tests.support.envoy import eventually
from tests.support.nginx import Nginx

from mtls_operator.api.certificate import RevocationReason
from mtls_operator.controller.crl_server import CrlServer, path_of
from mtls_operator.controller.served import ServedLists
from mtls_operator.pki import (
    AUTHORITY_ENTROPY,
    Authority,
    KeyAlgorithm,
    KeySpec,
    Revocation,
    Subject,
    SubjectAltNames,
    issue_client,
    issue_server,
    make_serial,
    new_authority,
    random_serial,
    sign_crl,
)
from mtls_operator.plan.readable import CRL_LIFETIME, Signed

HOST = "api.example.com"


@dataclass(slots=True)
class Desk:
    """A CA whose list is served, and what ``openssl`` makes of its certificates."""

    folder: Path
    lists: ServedLists
    base: str
    now: datetime
    authority: Authority

    def issue(self, index: int) -> str:
        issued = issue_client(
            self.authority,
            subject=Subject(common_name=f"client-{index}"),
            sans=SubjectAltNames(),
            key=KeySpec(KeyAlgorithm.ECDSA, 256),
            validity=timedelta(days=1),
            serial=make_serial(index, bytes(15)),
            now=self.now,
            crl_url=self.base + path_of("shop", 1),
        )
        (self.folder / f"leaf-{index}").write_text(issued.certificate_pem)
        (self.folder / f"key-{index}").write_bytes(issued.key_pem.reveal())
        return issued.facts.serial

    def revoke(self, *serials: str, number: int) -> None:
        end = self.now + timedelta(days=1)
        revoked = [
            Revocation(serial, self.now, RevocationReason.UNSPECIFIED, end, "shop/x") for serial in serials
        ]
        pem = sign_crl(self.authority, revoked, number=number, now=self.now, lifetime=CRL_LIFETIME)
        self.lists.put("shop", [Signed(1, pem, "", self.now, number)])

    def fetch(self, form: str) -> Path:
        url = self.base + path_of("shop", 1, form)
        with urlopen(url, timeout=5) as answer:  # noqa: S310 - the server of this test
            (self.folder / f"list.{form}").write_bytes(answer.read())
        return self.folder / f"list.{form}"

    def fetch_if_changed(self, tag: str | None) -> tuple[str | None, str]:
        """Return the list in PEM, or None when it is the one with this tag; and its tag."""
        headers = {} if tag is None else {"If-None-Match": tag}
        request = Request(self.base + path_of("shop", 1, "pem"), headers=headers)  # noqa: S310 - the server of this test
        try:
            with urlopen(request, timeout=5) as answer:  # noqa: S310 - the server of this test
                return answer.read().decode(), answer.headers["ETag"]
        except HTTPError as answer:
            if answer.code != HTTPStatus.NOT_MODIFIED:
                raise
            return None, answer.headers["ETag"]

    def gateway(self, crl: str) -> Nginx:
        server = issue_server(
            self.authority,
            hostnames=[HOST],
            validity=timedelta(days=1),
            serial=random_serial(bytes(16)),
            now=self.now,
        )
        return Nginx(
            self.folder,
            server=(server.certificate_pem, server.key_pem.reveal()),
            ca=self.authority.certificate_pem,
            crl=crl,
        )

    def ask(self, nginx: Nginx, index: int) -> int:
        context = tls_context(identity=(self.folder / f"leaf-{index}", self.folder / f"key-{index}"))
        with Http1(nginx.port, context, HOST) as client:
            return client.get("/", HOST).status

    def openssl(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["openssl", *arguments], cwd=self.folder, capture_output=True, text=True, timeout=30, check=False
        )

    def verify(self, index: int, *how: str) -> subprocess.CompletedProcess[str]:
        return self.openssl("verify", "-x509_strict", "-crl_check", *how, "-CAfile", "ca", f"leaf-{index}")


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    now = datetime.now(UTC).replace(microsecond=0)
    authority = new_authority(
        "mtls-operator shop", now=now, lifetime=timedelta(days=30), entropy=b"e" * AUTHORITY_ENTROPY
    )
    (tmp_path / "ca").write_text(authority.certificate_pem)
    lists = ServedLists()
    server = CrlServer(lists, lambda: datetime.now(UTC))
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    port = asyncio.run_coroutine_threadsafe(server.start(0, address="127.0.0.1"), loop).result(5)
    yield Desk(tmp_path, lists, f"http://127.0.0.1:{port}", now, authority)
    asyncio.run_coroutine_threadsafe(server.stop(), loop).result(5)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def test_openssl_fetches_the_list_from_where_the_certificate_says(desk: Desk) -> None:
    desk.issue(1)
    revoked = desk.issue(2)
    desk.revoke(revoked, number=1)
    assert desk.verify(1, "-crl_download").returncode == 0
    refused = desk.verify(2, "-crl_download")
    assert refused.returncode != 0
    assert "certificate revoked" in refused.stderr


def test_openssl_follows_a_restore(desk: Desk) -> None:
    serial = desk.issue(1)
    desk.revoke(serial, number=1)
    assert desk.verify(1, "-crl_download").returncode != 0
    desk.revoke(number=2)
    assert desk.verify(1, "-crl_download").returncode == 0


def test_openssl_refuses_what_has_no_list(desk: Desk) -> None:
    """A CA that counts no more has none: who checks lists accepts none of its certificates."""
    desk.issue(1)
    refused = desk.verify(1, "-crl_download")
    assert refused.returncode != 0
    assert "unable to get certificate CRL" in refused.stderr


def test_openssl_reads_both_forms(desk: Desk) -> None:
    serial = desk.issue(1)
    desk.revoke(serial, number=1)
    for form, name in (("crl", "DER"), ("pem", "PEM")):
        file = desk.fetch(form)
        text = desk.openssl("crl", "-inform", name, "-in", str(file), "-noout", "-text").stdout
        assert f"Serial Number: {serial}" in text
    assert desk.verify(1, "-CRLfile", "list.pem").returncode != 0


def test_nginx_follows_the_list_that_it_fetches(desk: Desk) -> None:
    good, changing = 1, 2
    desk.issue(good)
    serial = desk.issue(changing)
    desk.revoke(number=1)
    fetched, tag = desk.fetch_if_changed(None)
    assert fetched is not None
    with contextlib.closing(desk.gateway(fetched)) as nginx:
        assert (desk.ask(nginx, good), desk.ask(nginx, changing)) == (200, 200)
        assert desk.fetch_if_changed(tag) == (None, tag)
        for number, revoked, status in ((2, [serial], 400), (3, [], 200)):
            desk.revoke(*revoked, number=number)
            fetched, tag = desk.fetch_if_changed(tag)
            assert fetched is not None
            nginx.reload(fetched)
            eventually(lambda status=status: desk.ask(nginx, changing) == status, f"nginx answers {status}")
            assert desk.ask(nginx, good) == 200
