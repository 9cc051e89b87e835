"""Reads the status port of a sidecar: what Envoy itself says it is running."""

from __future__ import annotations

import aiohttp

from mtls_operator.api import names

_LIMIT = 1 << 20


class ProxyStatus:
    """A small HTTP client for the status ports of sidecars."""

    def __init__(self, *, timeout_seconds: float = 3.0) -> None:
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds, connect=1)
        self._session: aiohttp.ClientSession | None = None

    async def read(self, address: str, path: str) -> str | None:
        """Return the text at ``path`` of the sidecar at a pod IP address; None when it cannot be had."""
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=self._timeout)
        host = f"[{address}]" if ":" in address else address
        try:
            async with self._session.get(f"http://{host}:{names.STATUS_PORT}{path}") as response:
                if response.status != 200:  # noqa: PLR2004 - OK
                    return None
                return (await response.content.read(_LIMIT)).decode("utf-8", "replace")
        except (aiohttp.ClientError, TimeoutError, OSError):
            return None

    async def close(self) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()
