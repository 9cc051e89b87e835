from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from structlog.testing import capture_logs
from tests.support.certs import SERVER, Pair, authority, leaf
from tests.unit.webhook.mounted_secret import SERVER_NAME, MountedSecret

from mtls_operator.inject import InjectSettings
from mtls_operator.webhook.server import Webhook, running
from mtls_operator.webhook.settings import WebhookSettings


@pytest.fixture(scope="session")
def serving_ca() -> Pair:
    return authority("webhook CA")


@pytest.fixture
def issue(serving_ca: Pair) -> Callable[[], Pair]:
    return lambda: leaf(serving_ca, SERVER_NAME, usage=SERVER, dns=(SERVER_NAME,), addresses=("127.0.0.1",))


@pytest.fixture
def mounted(tmp_path: Path, issue: Callable[[], Pair]) -> MountedSecret:
    secret = MountedSecret(tmp_path)
    secret.publish_pair(issue())
    return secret


@pytest.fixture
def settings(mounted: MountedSecret) -> WebhookSettings:
    return WebhookSettings(
        inject=InjectSettings(image="proxy:1", version="1.0.0"),
        address="127.0.0.1",
        port=0,
        tls_directory=mounted.folder,
        tls_poll_seconds=0.02,
        drain_seconds=0,
    )


@pytest.fixture
def client_context(serving_ca: Pair) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=serving_ca.certificate_pem)


@pytest.fixture
async def webhook(settings: WebhookSettings) -> AsyncIterator[Webhook]:
    async with running(settings) as server:
        yield server


@pytest.fixture
async def small_webhook(settings: WebhookSettings) -> AsyncIterator[Webhook]:
    """A webhook that takes small bodies only, and not for long."""
    async with running(replace(settings, body_bytes=1024, body_seconds=0.1)) as server:
        yield server


@pytest.fixture
async def http(client_context: ssl.SSLContext) -> AsyncIterator[aiohttp.ClientSession]:
    connector = aiohttp.TCPConnector(ssl=client_context)
    async with aiohttp.ClientSession(connector=connector) as session:
        yield session


def admission_review(pod: dict[str, Any] | None = None, **request: Any) -> dict[str, Any]:
    plain = {
        "metadata": {"generateName": "api-", "labels": {"mtls-operator.dev/host": "api"}},
        "spec": {"containers": [{"name": "app", "image": "shop/api"}]},
    }
    return {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
            "operation": "CREATE",
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "namespace": "shop",
            "object": pod if pod is not None else plain,
        }
        | request,
    }


@pytest.fixture
def review() -> Callable[..., dict[str, Any]]:
    return admission_review


@pytest.fixture
def review_body() -> Callable[..., bytes]:
    return lambda *args, **request: json.dumps(admission_review(*args, **request)).encode()


@pytest.fixture(autouse=True)
def captured_logs() -> Iterator[list[Any]]:
    with capture_logs() as entries:
        yield entries
