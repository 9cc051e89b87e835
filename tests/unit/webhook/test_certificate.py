"""The serving certificate while it is rotated, without a server: contexts and files."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.certs import Pair
from tests.unit.webhook.mounted_secret import SERVER_NAME, MountedSecret

from mtls_operator.webhook.certificate import ServingCertificate, ServingCertificateError

Issue = Callable[[], Pair]


def served(
    certificate: ServingCertificate, client: ssl.SSLContext, *, server_name: str | None = SERVER_NAME
) -> bytes:
    """Shake hands in memory and return the certificate that the server showed."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_hostname=server_name),
        certificate.context.wrap_bio(to_server, to_client, server_side=True),
    ]
    pending = set(ends)
    for _ in range(10):
        for end in [end for end in ends if end in pending]:
            try:
                end.do_handshake()
                pending.discard(end)
            except ssl.SSLWantReadError:
                continue
    assert not pending
    return ends[0].getpeercert(binary_form=True) or b""


def der(pair: Pair) -> bytes:
    return ssl.PEM_cert_to_DER_cert(pair.certificate_pem)


@pytest.fixture
def trusting() -> ssl.SSLContext:
    """A client that does not look, to see what is shown to it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def test_without_files_it_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(ServingCertificateError, match=str(tmp_path)):
        ServingCertificate(tmp_path)


def test_with_a_key_of_another_certificate_it_does_not_start(mounted: MountedSecret, issue: Issue) -> None:
    mounted.publish(issue().certificate_pem, issue().key_pem)
    with pytest.raises(ServingCertificateError, match="no usable pair"):
        ServingCertificate(mounted.folder)


def test_files_that_did_not_move_are_not_loaded_again(mounted: MountedSecret) -> None:
    assert ServingCertificate(mounted.folder).refresh() is False


def test_a_new_certificate_is_shown_from_the_next_handshake_on(
    mounted: MountedSecret, issue: Issue, trusting: ssl.SSLContext
) -> None:
    certificate, following = ServingCertificate(mounted.folder), issue()
    mounted.publish_pair(following)
    assert certificate.refresh() is True
    assert served(certificate, trusting) == der(following)


def test_a_client_that_names_no_server_is_shown_the_new_certificate_too(
    mounted: MountedSecret, issue: Issue, trusting: ssl.SSLContext
) -> None:
    certificate, following = ServingCertificate(mounted.folder), issue()
    mounted.publish_pair(following)
    certificate.refresh()
    assert served(certificate, trusting, server_name=None) == der(following)


def test_plain_files_are_followed_as_well_as_a_mounted_secret(
    tmp_path: Path, issue: Issue, trusting: ssl.SSLContext
) -> None:
    issue().write(tmp_path)
    certificate, following = ServingCertificate(tmp_path), issue()
    following.write(tmp_path)
    assert certificate.refresh() is True
    assert served(certificate, trusting) == der(following)


@pytest.mark.parametrize("damage", ["other key", "no key", "not a certificate", "no files"])
def test_files_that_cannot_be_used_leave_the_last_good_certificate(
    damage: str, mounted: MountedSecret, issue: Issue, trusting: ssl.SSLContext
) -> None:
    good = issue()
    mounted.publish_pair(good)
    certificate = ServingCertificate(mounted.folder)
    if damage == "no files":
        (mounted.folder / f"..{mounted.generation}" / "tls.crt").unlink()
    else:
        mounted.publish(
            "nonsense" if damage == "not a certificate" else issue().certificate_pem,
            b"" if damage == "no key" else issue().key_pem,
        )
    assert certificate.refresh() is False
    assert served(certificate, trusting) == der(good)


def test_after_unusable_files_a_good_certificate_is_taken_over(
    mounted: MountedSecret, issue: Issue, trusting: ssl.SSLContext
) -> None:
    certificate, following = ServingCertificate(mounted.folder), issue()
    mounted.publish(issue().certificate_pem, issue().key_pem)
    certificate.refresh()
    mounted.publish_pair(following)
    assert certificate.refresh() is True
    assert served(certificate, trusting) == der(following)


def test_unusable_files_are_logged_once_and_without_their_content(
    mounted: MountedSecret, issue: Issue, captured_logs: list[dict[str, object]]
) -> None:
    certificate = ServingCertificate(mounted.folder)
    mounted.publish("nonsense", issue().key_pem)
    for _ in range(3):
        certificate.refresh()
    assert [entry["event"] for entry in captured_logs] == ["serving_certificate_unusable"]
    assert "PRIVATE" not in str(captured_logs)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tls_1_2_and_1_3_are_spoken(
    version: ssl.TLSVersion, mounted: MountedSecret, trusting: ssl.SSLContext
) -> None:
    trusting.minimum_version = trusting.maximum_version = version
    assert served(ServingCertificate(mounted.folder), trusting)


def test_nothing_older_is_spoken(mounted: MountedSecret) -> None:
    assert ServingCertificate(mounted.folder).context.minimum_version is ssl.TLSVersion.TLSv1_2
