"""Versions of discovery files are hashes of their content."""

from __future__ import annotations

import json

import pytest

from mtls_operator.api.secret import Secret
from mtls_operator.envoy import client_ca_sds, server_sds, version_of
from mtls_operator.envoy.document import discovery_response

KEY = "-----BEGIN PRIVATE KEY-----\nsecret\n-----END PRIVATE KEY-----\n"


def test_the_same_content_has_the_same_version() -> None:
    assert discovery_response([{"b": 1, "a": 2}]) == discovery_response([{"a": 2, "b": 1}])


def test_other_content_has_another_version() -> None:
    assert version_of(client_ca_sds("one")) != version_of(client_ca_sds("two"))


def test_the_version_is_what_stands_in_the_file() -> None:
    document = client_ca_sds("one")
    assert version_of(document) == json.loads(document)["version_info"]


def test_a_file_with_a_key_is_a_secret_and_has_a_version() -> None:
    document = server_sds("certificate", Secret(KEY.encode()))
    assert isinstance(document, Secret)
    assert "secret" not in repr(document)
    assert version_of(document) == json.loads(document.reveal())["version_info"]


def test_another_key_is_another_version() -> None:
    one, two = (server_sds("certificate", Secret(key)) for key in (b"one", b"two"))
    assert version_of(one) != version_of(two)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"version_info": 1}', "7"])
def test_what_is_no_discovery_file_has_no_version(text: str) -> None:
    with pytest.raises(ValueError, match="not a discovery file"):
        version_of(text)


def test_an_error_about_a_secret_file_does_not_show_it() -> None:
    with pytest.raises(ValueError, match="not a discovery file") as caught:
        version_of(Secret(KEY.encode()))
    assert "secret" not in str(caught.value)
    assert caught.value.__context__ is None
