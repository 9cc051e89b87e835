"""The application behind the proxy of the cases: answers every request with 200 and nothing."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_ANSWER: Final = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class _Handler(socketserver.StreamRequestHandler):
    timeout = 10

    def handle(self) -> None:
        while self.rfile.readline(65_536).rstrip(b"\r\n"):
            pass
        self.wfile.write(_ANSWER)


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 32


@contextmanager
def application() -> Iterator[int]:
    """Run the application on a free port of 127.0.0.1, and yield the port."""
    with _Server(("127.0.0.1", 0), _Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield int(server.server_address[1])
        server.shutdown()
        thread.join(5)
