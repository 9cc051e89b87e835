"""Reviews of our kinds over real HTTPS: what is answered, and what happens when there is too much to answer."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from typing import Any

import aiohttp
import pytest
from structlog.testing import capture_logs
from tests.support.builders import certificate, rule

from mtls_operator.webhook import server
from mtls_operator.webhook.decision import Decision
from mtls_operator.webhook.review import Review
from mtls_operator.webhook.server import Webhook, running
from mtls_operator.webhook.settings import WebhookSettings
from mtls_operator.webhook.validation import validate

Build = Callable[..., dict[str, Any]]
BROKEN = 'http.request.uri.path eq "/a" und ssl'
PLURALS = {"MTLSRule": "mtlsrules", "ClientCertificate": "clientcertificates"}


@pytest.fixture
def of(review: Build) -> Build:
    def build(body: dict[str, Any], **request: Any) -> dict[str, Any]:
        resource = {
            "group": "mtls-operator.dev",
            "version": "v1alpha1",
            "resource": PLURALS[body["kind"]],
        }
        return review(body, resource=resource, name=body["metadata"]["name"], **request)

    return build


@pytest.fixture
async def narrow(settings: WebhookSettings) -> AsyncIterator[Webhook]:
    """A webhook where a single review of a rule may wait, and not for long."""
    async with running(replace(settings, validation_backlog=1, validation_seconds=0.1)) as webhook:
        yield webhook


async def posted(
    http: aiohttp.ClientSession, webhook: Webhook, review: dict[str, Any], path: str = "/validate"
) -> tuple[int, Any]:
    async with http.post(f"https://127.0.0.1:{webhook.port}{path}", json=review) as response:
        is_json = response.content_type == "application/json"
        return response.status, await (response.json() if is_json else response.text())


async def test_a_rule_is_refused_with_its_caret(
    webhook: Webhook, http: aiohttp.ClientSession, of: Build
) -> None:
    status, answer = await posted(http, webhook, of(rule(expression=BROKEN)))
    assert status == 200
    assert answer["response"]["allowed"] is False
    assert f"\n{BROKEN}\n" in answer["response"]["status"]["message"]


async def test_a_rule_in_order_passes(webhook: Webhook, http: aiohttp.ClientSession, of: Build) -> None:
    status, answer = await posted(http, webhook, of(rule()))
    assert (status, answer["response"]["allowed"]) == (200, True)


async def test_pods_are_not_let_through_here(
    webhook: Webhook, http: aiohttp.ClientSession, review: Build
) -> None:
    """G1: a configuration that mixes up the paths injects nothing, so it must not allow either."""
    _, answer = await posted(http, webhook, review())
    assert answer["response"]["allowed"] is False


async def test_a_malformed_review_is_a_400(webhook: Webhook, http: aiohttp.ClientSession) -> None:
    assert (await posted(http, webhook, {"kind": "AdmissionReview"}))[0] == 400


async def test_a_body_that_is_too_large_is_a_413(
    small_webhook: Webhook, http: aiohttp.ClientSession, of: Build
) -> None:
    assert (await posted(http, small_webhook, of(rule("x" * 2000))))[0] == 413


class Held:
    """A compiler that takes as long as the test likes."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.leave = threading.Event()

    def __call__(self, review: Review) -> Decision:
        if review.resource[2] == "mtlsrules":
            self.entered.set()
            self.leave.wait(30)
        return validate(review)


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[Held]:
    made = Held()
    monkeypatch.setattr(server, "validate", made)
    yield made
    made.leave.set()


async def test_a_slow_rule_holds_up_no_pod_and_no_certificate(
    narrow: Webhook, http: aiohttp.ClientSession, of: Build, review: Build, held: Held
) -> None:
    with capture_logs() as logged:
        slow = asyncio.create_task(posted(http, narrow, of(rule())))
        assert await asyncio.to_thread(held.entered.wait, 10)
        assert (await posted(http, narrow, review(), "/mutate-pods"))[1]["response"]["allowed"] is True
        assert (await posted(http, narrow, of(certificate())))[1]["response"]["allowed"] is True
        status, text = await posted(http, narrow, of(rule()))
        assert status == 503, "one too many: the API server lets the object pass unchecked"
        assert "waiting already" in text
        assert (await slow)[0] == 503
    assert "validation_skipped" in [entry["event"] for entry in logged]


async def test_a_defect_is_a_500_and_the_next_review_is_answered(
    webhook: Webhook,
    http: aiohttp.ClientSession,
    of: Build,
    monkeypatch: pytest.MonkeyPatch,
    captured_logs: list[dict[str, Any]],
) -> None:
    def stumble(_review: Review) -> Decision:
        raise KeyError("x")

    with monkeypatch.context() as patched:
        patched.setattr(server, "validate", stumble)
        status, text = await posted(http, webhook, of(rule()))
    assert status == 500
    assert "log" in text
    assert "validation_failed" in [entry["event"] for entry in captured_logs]
    assert (await posted(http, webhook, of(rule())))[1]["response"]["allowed"] is True


async def test_the_log_says_what_was_decided_about_what(
    webhook: Webhook, http: aiohttp.ClientSession, of: Build, captured_logs: list[dict[str, Any]]
) -> None:
    await posted(http, webhook, of(rule("admin", expression=BROKEN), dryRun=True))
    await posted(http, webhook, of(certificate("gateway")))
    refused = next(entry for entry in captured_logs if entry["event"] == "object_refused")
    assert (refused["resource"], refused["namespace"], refused["name"]) == ("mtlsrules", "shop", "admin")
    assert (refused["operation"], refused["dry_run"]) == ("CREATE", True)
    assert refused["reason"].startswith("line 1, column 31")
    accepted = next(entry for entry in captured_logs if entry["event"] == "object_accepted")
    assert accepted["name"] == "gateway"
