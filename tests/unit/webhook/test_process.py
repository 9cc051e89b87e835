"""The whole process: signals and exit codes."""

from __future__ import annotations

import asyncio
import signal
import ssl
import sys
from pathlib import Path

from tests.unit.webhook.mounted_secret import MountedSecret

PROGRAM = """
import asyncio, os
from mtls_operator.webhook import serve
from mtls_operator.webhook.settings import from_environ
asyncio.run(serve(from_environ(os.environ)))
"""


async def start(folder: Path, port: int) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        PROGRAM,
        env={
            "MTLS_PROXY_IMAGE": "proxy:1",
            "MTLS_WEBHOOK_ADDRESS": "127.0.0.1",
            "MTLS_WEBHOOK_PORT": str(port),
            "MTLS_WEBHOOK_TLS_DIRECTORY": str(folder),
            "MTLS_WEBHOOK_DRAIN_SECONDS": "1",
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )


async def get(port: int, path: str, context: ssl.SSLContext) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    writer.write(f"GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    return answer.split(b"\r\n", 1)[0]


async def until_listening(port: int, context: ssl.SSLContext) -> None:
    while True:
        try:
            await get(port, "/healthz", context)
        except ConnectionRefusedError:
            await asyncio.sleep(0.05)
        else:
            return


async def free_port() -> int:
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
    port: int = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    return port


async def test_sigterm_ends_it_with_success_after_a_time_in_which_it_still_answers(
    mounted: MountedSecret, client_context: ssl.SSLContext
) -> None:
    port = await free_port()
    process = await start(mounted.folder, port)
    async with asyncio.timeout(30):
        await until_listening(port, client_context)
        assert await get(port, "/readyz", client_context) == b"HTTP/1.1 200 OK"
        process.send_signal(signal.SIGTERM)
        while (line := await get(port, "/readyz", client_context)) == b"HTTP/1.1 200 OK":
            pass
        assert line == b"HTTP/1.1 503 Service Unavailable"
        assert await process.wait() == 0


async def test_without_a_certificate_it_ends_with_an_error_that_names_the_folder(tmp_path: Path) -> None:
    process = await start(tmp_path, await free_port())
    async with asyncio.timeout(30):
        output, _ = await process.communicate()
    assert process.returncode != 0
    assert str(tmp_path).encode() in output
