"""Keystores beside the PEM files: they open with the password that their owner knows, and follow it."""

from __future__ import annotations

import contextlib
from base64 import b64decode, b64encode
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key, pkcs12
from tests.feature.harness import Lab
from tests.support.builders import NAMESPACE, certificate
from tests.support.fake_cluster import Crash

from mtls_operator.api import names
from mtls_operator.cluster import Body, Kind
from mtls_operator.pki import read_certificate

OWN_PASSWORD: dict[str, Any] = {"pkcs12": {}}
GIVEN: dict[str, Any] = {"pkcs12": {"passwordSecretRef": {"name": "phone", "key": "password"}}}


def _data(lab: Lab) -> dict[str, bytes]:
    data = lab.cluster.read(Kind.SECRET, NAMESPACE, "gateway")["data"]
    return {key: b64decode(value) for key, value in data.items()}


def _password(text: bytes, *, key: str = "password") -> Body:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"namespace": NAMESPACE, "name": "phone"},
        "data": {key: b64encode(text).decode()},
    }


def _opens(lab: Lab, password: bytes) -> bool:
    """Say whether the keystore opens, and then holds exactly what stands beside it."""
    data = _data(lab)
    try:
        found = pkcs12.load_pkcs12(data[names.PKCS12_KEY], password)
    except ValueError:
        return False
    assert found.cert is not None
    assert found.key is not None
    assert read_certificate(data[names.TLS_CERT_KEY]).serial == f"{found.cert.certificate.serial_number:038X}"
    beside = load_pem_private_key(data[names.TLS_KEY_KEY], None)
    assert found.key.public_key() == beside.public_key()  # type: ignore[union-attr]  # both are ECDSA keys
    assert [one.certificate.subject.rfc4514_string() for one in found.additional_certs] == [
        read_certificate(data[names.CA_KEY]).subject
    ]
    assert found.cert.friendly_name == b"gateway"
    return True


async def _issued(lab: Lab, keystore: dict[str, Any], **spec: Any) -> str:
    lab.cluster.make(certificate("gateway", keystore=keystore, **spec))
    await lab.start()
    await lab.settle()
    return lab.serial()


def _set_password(lab: Lab, text: bytes | None) -> None:
    if text is None:
        lab.cluster.remove(Kind.SECRET, NAMESPACE, "phone")
    elif lab.cluster.find(Kind.SECRET, NAMESPACE, "phone") is None:
        lab.cluster.make(_password(text))
    else:
        lab.cluster.edit(Kind.SECRET, NAMESPACE, "phone", {"data": _password(text)["data"]})
    lab.password_changed("phone")


async def test_a_keystore_opens_with_the_password_that_is_made_for_it(lab: Lab) -> None:
    await _issued(lab, OWN_PASSWORD)
    password = _data(lab)[names.PASSWORD_KEY]
    assert len(password) == 32
    assert _opens(lab, password)
    assert not _opens(lab, b"another")
    assert lab.condition(Kind.CERTIFICATE, "gateway", "Ready")[:2] == ("True", "Ready")


async def test_a_keystore_opens_with_the_password_of_a_secret(lab: Lab) -> None:
    lab.cluster.make(_password(b"correct horse"))
    await _issued(lab, GIVEN)
    assert _opens(lab, b"correct horse")
    assert names.PASSWORD_KEY not in _data(lab)


async def test_it_takes_no_write_more_than_a_certificate_without(lab: Lab) -> None:
    await lab.start()
    await lab.settle()
    lab.writes()
    lab.cluster.make(certificate("plain"))
    await lab.settle()
    plain = [(write.method, write.kind) for write in lab.writes() if write.name.startswith("plain")]
    lab.cluster.make(certificate("stored", keystore=OWN_PASSWORD))
    await lab.settle()
    stored = [(write.method, write.kind) for write in lab.writes() if write.name.startswith("stored")]
    assert plain == stored
    assert len(plain) == 4


async def test_an_unchanged_keystore_is_not_written_again(lab: Lab) -> None:
    """G6: also after a restart, and although no two keystores are alike."""
    lab.cluster.make(_password(b"correct horse"))
    await _issued(lab, {**GIVEN, "combinedPEM": True})
    lab.writes()
    lab.resync()
    lab.password_changed("phone")
    await lab.settle()
    await lab.restart()
    await lab.settle()
    assert [str(write) for write in lab.writes()] == []


async def test_the_profile_for_old_devices_is_another_encryption(lab: Lab) -> None:
    await _issued(lab, {"pkcs12": {"profile": "Legacy"}})
    data = _data(lab)
    assert _opens(lab, data[names.PASSWORD_KEY])
    assert bytes.fromhex("060a2a864886f70d010c0103") in data[names.PKCS12_KEY]
    change = {"spec": {"keystore": {"pkcs12": {"profile": "Modern"}}}}
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "gateway", change)
    await lab.settle()
    assert bytes.fromhex("060a2a864886f70d010c0103") not in _data(lab)[names.PKCS12_KEY]
    assert _data(lab)[names.PASSWORD_KEY] == data[names.PASSWORD_KEY]
    assert _data(lab)[names.TLS_CERT_KEY] == data[names.TLS_CERT_KEY]


async def test_a_combined_file_has_key_and_certificate_and_comes_only_when_asked_for(lab: Lab) -> None:
    await _issued(lab, {"combinedPEM": True})
    data = _data(lab)
    assert data[names.COMBINED_KEY] == data[names.TLS_KEY_KEY] + data[names.TLS_CERT_KEY]
    assert names.PKCS12_KEY not in data
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "gateway", {"spec": {"keystore": None}})
    await lab.settle()
    assert set(_data(lab)) == {names.TLS_CERT_KEY, names.TLS_KEY_KEY, names.CA_KEY}


async def test_a_keystore_that_is_asked_for_later_is_made_without_issuing_again(lab: Lab) -> None:
    serial = await _issued(lab, {})
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "gateway", {"spec": {"keystore": OWN_PASSWORD}})
    await lab.settle()
    assert _opens(lab, _data(lab)[names.PASSWORD_KEY])
    assert lab.serial() == serial


async def test_a_changed_password_is_followed_without_issuing_again(lab: Lab) -> None:
    lab.cluster.make(_password(b"correct horse"))
    serial = await _issued(lab, GIVEN)
    _set_password(lab, b"battery staple")
    await lab.settle()
    assert _opens(lab, b"battery staple")
    assert lab.serial() == serial


async def test_a_password_that_was_changed_while_the_operator_was_away_is_followed(lab: Lab) -> None:
    lab.cluster.make(_password(b"correct horse"))
    await _issued(lab, GIVEN)
    await lab.stop()
    lab.cluster.edit(Kind.SECRET, NAMESPACE, "phone", {"data": _password(b"battery staple")["data"]})
    await lab.start()
    await lab.settle()
    assert _opens(lab, b"battery staple")


async def test_every_certificate_with_this_password_follows_it(lab: Lab) -> None:
    lab.cluster.make(_password(b"correct horse"))
    for name in ("gateway", "other", "third"):
        lab.cluster.make(certificate(name, keystore=GIVEN))
    await lab.start()
    await lab.settle()
    _set_password(lab, b"battery staple")
    await lab.settle()
    for name in ("gateway", "other", "third"):
        stored = b64decode(lab.cluster.read(Kind.SECRET, NAMESPACE, name)["data"][names.PKCS12_KEY])
        assert pkcs12.load_pkcs12(stored, b"battery staple").key is not None


async def test_a_missing_password_keeps_the_keystore_back_and_not_the_certificate(lab: Lab) -> None:
    serial = await _issued(lab, GIVEN)
    assert names.PKCS12_KEY not in _data(lab)
    status, reason, message = lab.condition(Kind.CERTIFICATE, "gateway", "Ready")
    assert (status, reason) == ("False", "SecretNotFound")
    assert "Secret phone" in message
    assert lab.condition(Kind.CERTIFICATE, "gateway", "Issued")[0] == "True"
    assert ("Warning", "SecretNotFound", message) in lab.events()
    _set_password(lab, b"correct horse")
    await lab.settle()
    assert _opens(lab, b"correct horse")
    assert (lab.serial(), lab.condition(Kind.CERTIFICATE, "gateway", "Ready")[0]) == (serial, "True")


async def test_a_password_that_is_taken_away_leaves_the_keystore_as_it_is(lab: Lab) -> None:
    """G2."""
    lab.cluster.make(_password(b"correct horse"))
    await _issued(lab, GIVEN)
    before = _data(lab)
    _set_password(lab, None)
    await lab.settle()
    assert _data(lab) == before
    assert lab.condition(Kind.CERTIFICATE, "gateway", "Ready")[:2] == ("False", "SecretNotFound")


@pytest.mark.parametrize(
    ("text", "reason"),
    [(b"", "InvalidKeystore"), (b"line\n", "InvalidKeystore"), ("schön".encode(), "InvalidKeystore")],
    ids=["empty", "line break", "no ASCII"],
)
async def test_a_password_that_programs_read_differently_is_refused_and_not_repeated(
    lab: Lab, text: bytes, reason: str
) -> None:
    """G5."""
    lab.cluster.make(_password(text))
    await _issued(lab, GIVEN)
    status, found, message = lab.condition(Kind.CERTIFICATE, "gateway", "Ready")
    assert (status, found) == ("False", reason)
    assert "Secret phone, key password" in message
    assert "schön" not in message
    lab.writes()
    lab.resync()
    await lab.pass_time(minutes=10)
    assert [str(write) for write in lab.writes() if "gateway" in str(write)] == []
    _set_password(lab, b"correct horse")
    await lab.settle()
    assert _opens(lab, b"correct horse")


async def test_a_key_that_the_secret_does_not_have_is_named(lab: Lab) -> None:
    lab.cluster.make(_password(b"correct horse", key="other"))
    await _issued(lab, GIVEN)
    message = lab.condition(Kind.CERTIFICATE, "gateway", "Ready")[2]
    assert "has no key password" in message


@pytest.mark.parametrize("key", [names.PKCS12_KEY, names.COMBINED_KEY])
@pytest.mark.parametrize("text", ["cnViYmlzaA==", None], ids=["edited", "gone"])
async def test_a_keystore_that_somebody_edits_is_put_back(lab: Lab, key: str, text: str | None) -> None:
    serial = await _issued(lab, {**OWN_PASSWORD, "combinedPEM": True})
    before = _data(lab)
    lab.cluster.edit(Kind.SECRET, NAMESPACE, "gateway", {"data": {key: text}})
    await lab.settle()
    after = _data(lab)
    assert _opens(lab, before[names.PASSWORD_KEY])
    assert after[names.COMBINED_KEY] == before[names.COMBINED_KEY]
    assert lab.serial() == serial


async def test_a_keystore_that_is_stored_is_never_opened(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """It could ask for billions of rounds of key derivation, during which no revocation would be looked at."""
    await _issued(lab, OWN_PASSWORD)

    def never(*_: object) -> None:
        pytest.fail("a stored keystore was opened")

    with monkeypatch.context() as patched:
        patched.setattr(pkcs12, "load_pkcs12", never)
        patched.setattr(pkcs12, "load_key_and_certificates", never)
        planted = {"data": {names.PKCS12_KEY: b64encode(b"somebody else's").decode()}}
        lab.cluster.edit(Kind.SECRET, NAMESPACE, "gateway", planted)
        await lab.settle()
        await lab.restart()
        lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "gateway", {"spec": {"renewal": {"before": "70%"}}})
        await lab.settle()
    assert _opens(lab, _data(lab)[names.PASSWORD_KEY])


async def test_a_password_of_our_own_that_is_lost_is_replaced_with_the_keystore(lab: Lab) -> None:
    await _issued(lab, OWN_PASSWORD)
    lab.cluster.edit(Kind.SECRET, NAMESPACE, "gateway", {"data": {names.PASSWORD_KEY: None}})
    await lab.settle()
    assert _opens(lab, _data(lab)[names.PASSWORD_KEY])


async def test_a_renewal_keeps_the_password_and_makes_a_new_keystore(lab: Lab) -> None:
    first = await _issued(lab, OWN_PASSWORD, validity="3h")
    password = _data(lab)[names.PASSWORD_KEY]
    await lab.pass_time(hours=2, minutes=30)
    assert lab.serial() != first
    assert _data(lab)[names.PASSWORD_KEY] == password
    assert _opens(lab, password)


async def test_neither_key_nor_password_is_seen_anywhere_else(lab: Lab) -> None:
    """G5."""
    lab.cluster.make(_password(b"correct horse"))
    await _issued(lab, {**GIVEN, "combinedPEM": True})
    _set_password(lab, b"battery staple")
    await lab.settle()
    secret = lab.cluster.read(Kind.SECRET, NAMESPACE, "gateway")
    key = b64decode(secret["data"][names.TLS_KEY_KEY]).splitlines()[1].decode()
    elsewhere = [
        str(body)
        for (kind, _, name), body in lab.cluster.objects.items()
        if not (kind is Kind.SECRET and name in ("gateway", "phone"))
    ]
    everything = [*elsewhere, str(secret["metadata"]), str(lab.log_lines), repr(lab.process.keystores)]
    for text in ("correct horse", "battery staple", key):
        assert all(text not in one for one in everything)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("position", range(1, 6))
async def test_a_kill_at_any_write_leaves_a_keystore_that_opens(
    lab: Lab, position: int, *, after: bool
) -> None:
    lab.cluster.make(_password(b"correct horse"))
    serial = await _issued(lab, {})
    await lab.stop()
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "gateway", {"spec": {"keystore": GIVEN}})
    await lab.start(crash_at=position, crash_after=after)
    with contextlib.suppress(Crash):
        await lab.settle(failures=True)
    await lab.restart()
    await lab.settle()
    assert _opens(lab, b"correct horse")
    assert lab.serial() == serial
