"""Reads the status port of a sidecar: what Envoy itself says it is running.

Whoever owns a pod decides what answers there: nothing is followed elsewhere, and nothing large is read.
"""

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
        try:
            async with self._session.get(url_of(address, path), allow_redirects=False) as response:
                if response.status != 200:  # noqa: PLR2004 - OK
                    return None
                text = await _whole(response.content)
        except (aiohttp.ClientError, TimeoutError, OSError):
            return None
        return text.decode("utf-8", "replace") if text is not None else None

    async def close(self) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()


def url_of(address: str, path: str) -> str:
    """Return the URL of a path on the status port of a pod IP address, IPv4 or IPv6."""
    host = f"[{address}]" if ":" in address else address
    return f"http://{host}:{names.STATUS_PORT}{path}"


async def _whole(content: aiohttp.StreamReader) -> bytes | None:
    """Return everything that is sent; None when it is more than a status can be."""
    text = bytearray()
    async for part in content.iter_any():
        text += part
        if len(text) > _LIMIT:
            return None
    return bytes(text)
