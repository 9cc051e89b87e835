"""What we sign, as the ``openssl`` command judges it at its strictest."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.chains import Story
from tests.support.forge import Forged, authority_key
from tests.support.issued import Shop

from mtls_operator.pki import Issued

OpenSsl = Callable[..., subprocess.CompletedProcess[str]]
STRICT = ("verify", "-x509_strict", "-check_ss_sig")


@pytest.fixture
def openssl(tmp_path: Path, shop: Shop) -> OpenSsl:
    """Run ``openssl`` in a folder with ``ca`` and the files given by name."""
    (tmp_path / "ca").write_text(shop.authority.certificate_pem)

    def run(*arguments: str, **files: str) -> subprocess.CompletedProcess[str]:
        for name, content in files.items():
            (tmp_path / name).write_text(content)
        return subprocess.run(
            ["openssl", *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False
        )

    return run


def test_openssl_reads_every_certificate_to_its_end(openssl: OpenSsl, client: Issued) -> None:
    done = openssl("x509", "-in", "leaf", "-noout", "-text", "-serial", leaf=client.certificate_pem)
    assert done.returncode == 0, done.stderr
    assert f"serial={client.facts.serial}" in done.stdout
    assert "<INVALID" not in done.stdout
    assert "TLS Web Client Authentication" in done.stdout


def test_a_client_certificate_is_one_for_openssl_and_no_server_certificate(
    openssl: OpenSsl, client: Issued
) -> None:
    command = (*STRICT, "-CAfile", "ca", "-purpose")
    assert openssl(*command, "sslclient", "leaf", leaf=client.certificate_pem).returncode == 0
    assert openssl(*command, "sslserver", "leaf").returncode != 0


def test_a_server_certificate_is_one_for_openssl_and_no_client_certificate(
    openssl: OpenSsl, server: tuple[str, Issued]
) -> None:
    host, issued = server
    command = (*STRICT, "-CAfile", "ca", "-verify_hostname", host, "-purpose")
    done = openssl(*command, "sslserver", "leaf", leaf=issued.certificate_pem)
    assert done.returncode == 0, done.stderr
    assert openssl(*command, "sslclient", "leaf").returncode != 0


def test_the_authority_is_one_for_openssl_and_verifies_itself(openssl: OpenSsl) -> None:
    done = openssl(*STRICT, "-CAfile", "ca", "ca")
    assert done.returncode == 0, done.stderr
    purposes = openssl("x509", "-in", "ca", "-noout", "-purpose").stdout
    assert "SSL client : No" in purposes
    assert "SSL client CA : Yes" in purposes


def test_openssl_refuses_an_authority_below_ours(openssl: OpenSsl, shop: Shop) -> None:
    """Who gets our key to sign one cannot hand it on: the path length is 0."""
    signer = shop.authority.signer
    ours = Forged(b"", signer.key, signer.name.public_bytes())
    story = Story("below")
    below = story.authority("below", ours, authority_key(signer.key_identifier.key_identifier or b""))
    leaf = story.leaf(below)
    command = (*STRICT, "-CAfile", "ca", "-purpose", "sslclient", "-untrusted", "below", "leaf")
    done = openssl(*command, below=below.pem, leaf=leaf.pem)
    assert "path length constraint exceeded" in done.stderr


def test_openssl_reads_every_list_and_its_signature(openssl: OpenSsl, crl: str) -> None:
    done = openssl("crl", "-in", "crl", "-noout", "-text", "-CAfile", "ca", "-verify", crl=crl)
    assert done.returncode == 0, done.stderr
    assert "verify OK" in done.stdout + done.stderr
    assert "<INVALID" not in done.stdout


def test_openssl_accepts_what_is_not_on_the_list_and_refuses_what_is(openssl: OpenSsl, shop: Shop) -> None:
    good, bad = shop.client(1), shop.client(2)
    openssl("version", good=good.certificate_pem, bad=bad.certificate_pem, crl=shop.crl(bad))
    command = (*STRICT, "-purpose", "sslclient", "-crl_check", "-CAfile", "ca", "-CRLfile", "crl")
    assert openssl(*command, "good").returncode == 0
    refused = openssl(*command, "bad")
    assert refused.returncode != 0
    assert "certificate revoked" in refused.stderr


def test_a_list_of_another_authority_says_nothing_of_ours(openssl: OpenSsl, shop: Shop) -> None:
    """Of the same name: with one key, anybody could clear everybody."""
    good = shop.client(1)
    openssl("version", good=good.certificate_pem, crl=Shop.open().crl())
    command = (*STRICT, "-purpose", "sslclient", "-crl_check", "-CAfile", "ca", "-CRLfile", "crl")
    assert openssl(*command, "good").returncode != 0
