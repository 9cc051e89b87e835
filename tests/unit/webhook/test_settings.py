from __future__ import annotations

import argparse
from pathlib import Path

import pytest

import mtls_operator
from mtls_operator.inject import PullPolicy
from mtls_operator.webhook.settings import InvalidWebhookSettings, add_arguments, from_environ, settings_from

IMAGE = {"MTLS_PROXY_IMAGE": "proxy:1"}


def parsed(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(arguments)


def test_the_image_is_all_that_must_be_said() -> None:
    settings = from_environ(IMAGE)
    assert settings.inject.image == "proxy:1"
    assert settings.inject.version == mtls_operator.__version__
    assert settings.inject.pull_policy is PullPolicy.IF_NOT_PRESENT
    assert settings.inject.cpu_limit is None
    assert settings.port == 9443
    assert settings.tls_directory == Path("/etc/mtls/webhook")


def test_without_an_image_it_does_not_start() -> None:
    with pytest.raises(InvalidWebhookSettings, match="MTLS_PROXY_IMAGE"):
        from_environ({})


def test_every_variable_reaches_its_setting() -> None:
    settings = from_environ(
        IMAGE
        | {
            "MTLS_PROXY_PULL_POLICY": "Never",
            "MTLS_PROXY_CONCURRENCY": "2",
            "MTLS_PROXY_CPU_REQUEST": "20m",
            "MTLS_PROXY_MEMORY_REQUEST": "64Mi",
            "MTLS_PROXY_MEMORY_LIMIT": "1Gi",
            "MTLS_PROXY_CPU_LIMIT": "2",
            "MTLS_WEBHOOK_PORT": "8444",
            "MTLS_WEBHOOK_ADDRESS": "127.0.0.1",
            "MTLS_WEBHOOK_TLS_DIRECTORY": "/tls",
            "MTLS_WEBHOOK_TLS_POLL_SECONDS": "0.5",
            "MTLS_WEBHOOK_DRAIN_SECONDS": "0",
        }
    )
    inject = settings.inject
    assert (inject.pull_policy, inject.concurrency) == (PullPolicy.NEVER, 2)
    assert (inject.cpu_request, inject.memory_request) == ("20m", "64Mi")
    assert (inject.memory_limit, inject.cpu_limit) == ("1Gi", "2")
    assert (settings.port, settings.address) == (8444, "127.0.0.1")
    assert settings.tls_directory == Path("/tls")
    assert (settings.tls_poll_seconds, settings.drain_seconds) == (0.5, 0)


def test_a_flag_wins_over_its_variable() -> None:
    settings = settings_from(
        parsed("--port", "1", "--proxy-image", "other:2"), IMAGE | {"MTLS_WEBHOOK_PORT": "2"}
    )
    assert (settings.port, settings.inject.image) == (1, "other:2")


def test_an_empty_variable_counts_as_not_set() -> None:
    assert from_environ(IMAGE | {"MTLS_PROXY_CPU_LIMIT": "", "MTLS_WEBHOOK_PORT": ""}).port == 9443


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("MTLS_WEBHOOK_PORT", "https"),
        ("MTLS_WEBHOOK_PORT", "65536"),
        ("MTLS_WEBHOOK_PORT", "-1"),
        ("MTLS_WEBHOOK_DRAIN_SECONDS", "-1"),
        ("MTLS_WEBHOOK_DRAIN_SECONDS", "nan"),
        ("MTLS_WEBHOOK_TLS_POLL_SECONDS", "inf"),
        ("MTLS_WEBHOOK_TLS_POLL_SECONDS", "0"),
        ("MTLS_PROXY_PULL_POLICY", "Sometimes"),
        ("MTLS_PROXY_CONCURRENCY", "many"),
        ("MTLS_PROXY_CONCURRENCY", "0"),
        ("MTLS_PROXY_CPU_REQUEST", "much"),
        ("MTLS_PROXY_MEMORY_LIMIT", "1 GB"),
        ("MTLS_PROXY_IMAGE", "two words"),
    ],
)
def test_a_value_that_does_not_fit_is_named(variable: str, value: str) -> None:
    with pytest.raises(InvalidWebhookSettings, match=f"^{variable}"):
        from_environ(IMAGE | {variable: value})


def test_every_flag_says_its_variable_in_the_help() -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    for action in parser._actions[1:]:
        assert "[MTLS_" in str(action.help)
