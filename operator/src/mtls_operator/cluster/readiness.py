"""Asks a server of ours inside the cluster whether it is ready: over HTTPS, verified with our own CA."""

from __future__ import annotations

import ssl

import aiohttp


class ReadinessProbe:
    """A question to one URL; every answer but 200, and none in time, is a no."""

    def __init__(self, url: str, ca_pem: str, *, timeout_seconds: float = 2.0) -> None:
        self._url = url
        self._context = ssl.create_default_context(cadata=ca_pem)
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds)

    async def answers(self) -> bool:
        """Say whether the server answers that it is ready."""
        connector = aiohttp.TCPConnector(ssl=self._context)
        try:
            async with (
                aiohttp.ClientSession(connector=connector, timeout=self._timeout) as session,
                session.get(self._url, allow_redirects=False) as response,
            ):
                return response.status == 200  # noqa: PLR2004 - OK
        except (aiohttp.ClientError, TimeoutError, OSError):
            return False
