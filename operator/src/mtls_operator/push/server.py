"""The discovery server's front: callable from any thread, runs in a thread and an event loop of its own.

Why its own loop: writing a large script to thousands of streams takes longer than the controller's loop may
stand still. Calls only note what changed and wake the server once for many; the order of calls is kept.
"""

from __future__ import annotations

import asyncio
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Final

import grpc
import structlog

from mtls_operator.push.credentials import Rotation, ServerCredentials, check
from mtls_operator.push.errors import ScriptRefused, StartError
from mtls_operator.push.model import Limits, Pod, Report, Scope, Script, Snapshot
from mtls_operator.push.registry import Registry
from mtls_operator.push.resource import Resource, make_resource
from mtls_operator.push.serving import Streams, server_options, service

log = structlog.get_logger(__name__)

_START_SECONDS: Final = 10.0
_STOP_SECONDS: Final = 5.0


class DiscoveryServer:
    """Pushes scripts to proxies over Envoy's extension discovery and reports what they say.

    Nothing is served before ``open``. ``on_report`` is called in the server's thread and must return at once.
    All other methods may be called from any thread, before ``start`` too; ``start`` and ``stop`` block.
    """

    def __init__(
        self,
        *,
        address: str,
        on_report: Callable[[Report], None],
        clock: Callable[[], float] = time.time,
        limits: Limits | None = None,
    ) -> None:
        self._address = address
        self._clock = clock
        self._limits = limits or Limits()
        self._registry = Registry(limits=self._limits, on_report=on_report, clock=clock)
        self._mark = secrets.token_hex(8)
        self._orders = 0
        self._published: dict[Scope, Resource] = {}
        self._uids: dict[str, str] = {}
        self._calls: deque[Callable[[], None]] = deque()
        self._lock = threading.Lock()
        self._waking = False
        self._ended = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._rotation: Rotation | None = None
        self._stop: asyncio.Future[float] | None = None

    # Life

    def start(self, credentials: ServerCredentials) -> int:
        """Listen, and return the bound port.

        Raises:
            CredentialsError: the certificate, key or client CA cannot be used.
            StartError: the address cannot be bound, or the server was started before.
        """
        if self._thread is not None:
            raise StartError("the discovery server was started before")
        check(credentials, now=self._clock())
        rotation, bound = Rotation(credentials), Future[int]()
        thread = threading.Thread(
            target=lambda: asyncio.run(self._serve(rotation, bound)), name="mtls-discovery", daemon=True
        )
        thread.start()
        try:
            port = bound.result(_START_SECONDS)
        except TimeoutError as error:
            raise StartError(f"the discovery server did not start within {_START_SECONDS:.0f} s") from error
        self._rotation, self._thread = rotation, thread
        return port

    def rotate(self, credentials: ServerCredentials) -> None:
        """Use other credentials from the next handshake on; open connections stay as they are.

        Raises:
            CredentialsError: they cannot be used; those in use stay in use.
            StartError: the server was not started.
        """
        if self._rotation is None:
            raise StartError("the discovery server was not started")
        check(credentials, now=self._clock())
        self._rotation.replace(credentials)

    def stop(self, grace: float) -> None:
        """End all streams, wait up to ``grace`` seconds for them, end the thread; nothing more is reported."""
        if self._thread is None:
            return
        self._call(lambda: self._request_stop(grace))
        self._thread.join(grace + _STOP_SECONDS)

    # What is known

    def open(self) -> None:
        """Serve: to be called when all that must be enforced (the ledger) has been loaded and published."""
        self._call(self._registry.open)

    def set_namespace(self, namespace: str, uid: str | None) -> None:
        """Make a namespace known by its UID.

        ``None`` or another UID ends its streams and drops its pods and scripts: nothing of a namespace's
        former life reaches the next one of its name. Pods and scripts that came before the first UID stay.
        """
        with self._lock:
            if uid is None or self._uids.get(namespace, uid) != uid:
                for scope in [scope for scope in self._published if scope.namespace == namespace]:
                    del self._published[scope]
            if uid is None:
                self._uids.pop(namespace, None)
            else:
                self._uids[namespace] = uid
            self._enqueue(lambda: self._registry.set_namespace(namespace, uid))

    def set_pod(self, pod: Pod) -> None:
        """Make a labelled pod known: its proxy's streams are served from here on."""
        self._call(lambda: self._registry.set_pod(pod))

    def remove_pod(self, namespace: str, uid: str) -> None:
        """Forget a pod and end its streams."""
        self._call(lambda: self._registry.remove_pod(namespace, uid))

    def publish(self, scope: Scope, script: Script) -> None:
        """Want a script in force at all proxies of a scope; the latest wins, the same one again does nothing.

        Raises:
            ScriptRefused: it cannot be sent as it is, or its version does not stand for its text.
        """
        with self._lock:
            before = self._published.get(scope)
            if before is not None and before.script == script:
                return
            resource = make_resource(
                scope, script, mark=self._mark, order=self._orders + 1, limit=self._limits.script_bytes
            )
            if before is not None and before.version == script.version:
                raise ScriptRefused(f"{script.name} {script.version}: another text under the same version")
            if before is not None and before.digest == resource.digest:
                raise ScriptRefused(f"{script.name} {script.version}: the same text under another version")
            self._orders = resource.order
            self._published[scope] = resource
            self._enqueue(lambda: self._registry.publish(scope, resource))

    def withdraw(self, scope: Scope, name: str) -> None:
        """Want nothing any more in a scope: its proxies keep what they have."""
        with self._lock:
            published = self._published.get(scope)
            if published is not None and published.script.name == name:
                del self._published[scope]
                self._enqueue(lambda: self._registry.withdraw(scope, name))

    def snapshot(self) -> Snapshot:
        """Return the counts for metrics."""
        return self._registry.snapshot()

    # How

    def _call(self, change: Callable[[], None]) -> None:
        with self._lock:
            self._enqueue(change)

    def _enqueue(self, change: Callable[[], None]) -> None:
        """Note a change for the server's loop and wake it, once for all changes that it has not taken yet."""
        if self._ended:
            return
        self._calls.append(change)
        if self._loop is not None and not self._waking:
            self._waking = True
            self._loop.call_soon_threadsafe(self._take)

    def _take(self) -> None:
        with self._lock:
            self._waking = False
            changes = tuple(self._calls)
            self._calls.clear()
        for change in changes:
            try:
                change()
            except Exception:
                log.exception("discovery.change.lost")

    async def _serve(self, rotation: Rotation, bound: Future[int]) -> None:
        server = grpc.aio.server(options=server_options(self._limits))
        try:
            streams = Streams(self._registry, self._limits)
            server.add_generic_rpc_handlers((service(streams),))
            port = self._bind(server, rotation)
            await server.start()
        except Exception as error:  # noqa: BLE001 - `start` raises it in the caller's thread
            bound.set_exception(error)
            return
        await self._run(server, lambda: bound.set_result(port))
        await streams.finished(_STOP_SECONDS)

    def _bind(self, server: Any, rotation: Rotation) -> int:
        try:
            port: int = server.add_secure_port(self._address, rotation.server_credentials())
        except RuntimeError as error:
            raise StartError(f"the discovery server cannot listen on {self._address}") from error
        if port == 0:
            raise StartError(f"the discovery server cannot listen on {self._address}")
        return port

    async def _run(self, server: Any, started: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        self._stop = loop.create_future()
        with self._lock:
            self._loop = loop
        self._take()
        started()
        grace = await self._stop
        self._registry.stop()
        await server.stop(grace)
        with self._lock:
            self._loop, self._ended = None, True
            self._calls.clear()

    def _request_stop(self, grace: float) -> None:
        if self._stop is not None and not self._stop.done():
            self._stop.set_result(grace)
