from __future__ import annotations

import pytest

from mtls_operator.inject import InjectSettings, InvalidInjectSettings


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("image", ""),
        ("image", "two words"),
        ("image", "-c"),
        ("version", ""),
        ("concurrency", 0),
        ("concurrency", 65),
        ("cpu_request", "much"),
        ("memory_limit", "256 MB"),
        ("memory_request", ""),
        ("cpu_limit", "-1"),
    ],
)
def test_a_setting_that_does_not_fit_is_named(field: str, value: object) -> None:
    with pytest.raises(InvalidInjectSettings) as caught:
        InjectSettings(**{"image": "proxy:1", "version": "1", field: value})  # type: ignore[arg-type]  # any field
    assert caught.value.field == field


@pytest.mark.parametrize("image", ["proxy", "registry:5000/a/proxy:1", "proxy:1@sha256:00ff"])
def test_image_references_fit(image: str) -> None:
    assert InjectSettings(image=image, version="1").image == image
