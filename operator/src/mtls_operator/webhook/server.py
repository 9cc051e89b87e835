"""The HTTPS server: sockets, signals and logs around ``decision`` and ``validation``.

``POST /mutate-pods`` and ``POST /validate`` answer reviews; ``GET /healthz`` says that the process answers at all,
``GET /readyz`` that it should be asked: not while it is stopping. It logs what was decided about which object, never
the object.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Final

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

from mtls_operator.api import names
from mtls_operator.webhook.backlog import Backlog, Overloaded
from mtls_operator.webhook.certificate import ServingCertificate, follow
from mtls_operator.webhook.decision import Decision, decide, failed
from mtls_operator.webhook.review import MalformedReview, Review, parse
from mtls_operator.webhook.settings import WebhookSettings
from mtls_operator.webhook.validation import validate

log: Final = structlog.get_logger(__name__)

MUTATE_PATH: Final = "/mutate-pods"
VALIDATE_PATH: Final = "/validate"
HEALTH_PATH: Final = "/healthz"
READY_PATH: Final = "/readyz"


@dataclass(slots=True)
class Webhook:
    """A server that runs: where it listens, and whether it is about to stop."""

    settings: WebhookSettings
    port: int = 0
    draining: asyncio.Event = field(default_factory=asyncio.Event)
    backlog: Backlog = field(init=False)

    def __post_init__(self) -> None:
        self.backlog = Backlog(
            length=self.settings.validation_backlog, seconds=self.settings.validation_seconds
        )

    async def mutate(self, request: web.Request) -> web.Response:
        """Answer a review of a pod; a body that is none is a 400, 408, 413 or 415, never an answer that allows."""
        review = await self._review(request)
        if isinstance(review, web.Response):
            return review
        return web.json_response(self._decide(review).answer)

    async def validate(self, request: web.Request) -> web.Response:
        """Answer a review of one of our kinds.

        Where this cannot be done in time it is a 503, and a defect of ours is a 500: the API server then lets the
        object pass, and the operator is the first to look at it.
        """
        review = await self._review(request)
        if isinstance(review, web.Response):
            return review
        started = time.perf_counter()
        try:
            decision = await self._validated(review)
        except Overloaded as error:
            log.warning("validation_skipped", problem=str(error), **_subject(review))
            return web.Response(status=503, text=f"{error}\n")
        except Exception:
            log.exception("validation_failed", **_subject(review))
            return web.Response(status=500, text="the webhook failed on this object; its log says why\n")
        log.info(
            "object_accepted" if decision.admitted else "object_refused",
            reason=decision.reason,
            milliseconds=round((time.perf_counter() - started) * 1000, 2),
            **_subject(review),
        )
        return web.json_response(decision.answer)

    async def _validated(self, review: Review) -> Decision:
        """Compile rules beside the event loop, one at a time: no pod waits for somebody's large expression."""
        if review.resource[2] != names.RULE_PLURAL:
            return validate(review)
        return await self.backlog.run(lambda: validate(review))

    async def _review(self, request: web.Request) -> Review | web.Response:
        """Read a review, or say what is wrong with the request."""
        if request.content_type != "application/json":
            return web.Response(status=415, text="application/json only\n")
        try:
            async with asyncio.timeout(self.settings.body_seconds):
                body = await request.read()
            return parse(body)
        except TimeoutError:
            return web.Response(status=408, text="the body took too long\n")
        except MalformedReview as error:
            log.warning("review_malformed", problem=str(error), peer=request.remote)
            return web.Response(status=400, text=f"{error}\n")

    async def healthy(self, _request: web.Request) -> web.Response:
        """Answer that the process and its event loop work."""
        return web.Response(text="ok\n")

    async def ready(self, _request: web.Request) -> web.Response:
        """Answer whether reviews should be sent here."""
        if self.draining.is_set():
            return web.Response(status=503, text="stopping\n")
        return web.Response(text="ok\n")

    def _decide(self, review: Review) -> Decision:
        started = time.perf_counter()
        try:
            decision = decide(review, settings=self.settings.inject)
        except Exception:
            # Whatever a pod makes us stumble over, this pod is refused and the next one is answered.
            log.exception("review_failed", namespace=review.namespace, pod=review.name)
            decision = failed(review)
        log.info(
            "pod_admitted" if decision.admitted else "pod_refused",
            namespace=review.namespace,
            pod=review.name,
            host=_host_label(review),
            changed=decision.changed,
            reason=decision.reason,
            dry_run=review.dry_run,
            milliseconds=round((time.perf_counter() - started) * 1000, 2),
        )
        return decision

    @web.middleware
    async def _close_when_draining(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """End kept-alive connections while stopping, so that the API server opens its next one elsewhere."""
        response = await handler(request)
        if self.draining.is_set():
            response.force_close()
        return response

    def application(self) -> web.Application:
        """Return the routes; a path or method that is not here is a 404 or 405."""
        application = web.Application(
            client_max_size=self.settings.body_bytes, middlewares=[self._close_when_draining]
        )
        application.router.add_post(MUTATE_PATH, self.mutate)
        application.router.add_post(VALIDATE_PATH, self.validate)
        application.router.add_get(HEALTH_PATH, self.healthy)
        application.router.add_get(READY_PATH, self.ready)
        return application


@contextlib.asynccontextmanager
async def running(settings: WebhookSettings) -> AsyncIterator[Webhook]:
    """Listen until the block is left; requests that are being answered are finished first.

    Raises:
        ServingCertificateError: there is no certificate to start with.
        OSError: the port is taken.
    """
    webhook = Webhook(settings)
    certificate = ServingCertificate(settings.tls_directory)
    runner = web.AppRunner(webhook.application(), access_log=None, shutdown_timeout=settings.shutdown_seconds)
    await runner.setup()
    try:
        site = web.TCPSite(runner, settings.address, settings.port, ssl_context=certificate.context)
        await site.start()
        webhook.port = runner.addresses[0][1]
        async with asyncio.TaskGroup() as tasks:
            follower = tasks.create_task(follow(certificate, every=settings.tls_poll_seconds))
            log.info("webhook_listening", port=webhook.port)
            yield webhook
            follower.cancel()
    finally:
        await runner.cleanup()
        webhook.backlog.close()


async def serve(settings: WebhookSettings) -> None:
    """Run the webhook until SIGTERM or SIGINT, then stop without refusing anybody.

    After the signal ``/readyz`` fails and reviews are still answered for ``drain_seconds``: it takes the
    cluster a moment to send them to the other replica. Raises what ``running`` raises.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with running(settings) as webhook:
        await stop.wait()
        log.info("webhook_stopping", drain_seconds=settings.drain_seconds)
        webhook.draining.set()
        await asyncio.sleep(settings.drain_seconds)
    log.info("webhook_stopped")


def _subject(review: Review) -> dict[str, object]:
    """Return which object a line of the log is about."""
    return {
        "resource": review.resource[2],
        "namespace": review.namespace,
        "name": review.name,
        "operation": review.operation,
        "dry_run": review.dry_run,
    }


def _host_label(review: Review) -> str:
    metadata = review.object.get("metadata")
    labels = metadata.get("labels") if isinstance(metadata, dict) else None
    return str(labels.get(names.HOST_LABEL, "")) if isinstance(labels, dict) else ""
