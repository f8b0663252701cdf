"""What handlers that are measured take for AWS: answers at once, and keeps nothing."""

from __future__ import annotations

import json
import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from bench.samples.handler import ORDER_ID

_SHIPPED: dict[str, Any] = {
    "Attributes": {
        "PK": {"S": ORDER_ID},
        "client": {"S": "arn:aws:iam::000000000000:role/orders-client"},
        "carrier": {"S": "acme"},
        "request_hash": {"S": "0"},
        "created_at": {"S": "2026-03-01T07:00:00.000000Z"},
        "shipped_at": {"S": "2026-03-01T08:00:00Z"},
    }
}


class _Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        updates = self.headers.get("X-Amz-Target", "").endswith(".UpdateItem")
        body = json.dumps(_SHIPPED if updates else {}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/x-amz-json-1.0")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name in the base class
        """Say nothing."""


@contextmanager
def answering() -> Generator[str]:
    """Serve on 127.0.0.1, and yield the URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Answers)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
