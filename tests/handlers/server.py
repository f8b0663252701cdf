"""A server on 127.0.0.1 that answers what a test says, for what MiniStack can't be made to do."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType
from typing import Any, NamedTuple
from urllib.parse import urlsplit


class Received(NamedTuple):
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Answer(NamedTuple):
    status: int
    body: bytes = b"{}"
    content_type: str = "application/x-amz-json-1.0"
    headers: Mapping[str, str] = MappingProxyType({})


@dataclass
class Server:
    """A server that answers what the test says; None drops the connection."""

    answer: Callable[[Received], Answer | None]
    received: list[Received] = field(default_factory=list)
    url: str = ""


@contextmanager
def serving(answer: Callable[[Received], Answer | None]) -> Iterator[Server]:
    server = Server(answer)
    http_server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(server))
    server.url = f"http://127.0.0.1:{http_server.server_address[1]}"
    thread = threading.Thread(target=http_server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        http_server.shutdown()
        thread.join()
        http_server.server_close()


def _handler(server: Server) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            received = Received("POST", self.path, headers, body)
            server.received.append(received)
            answer = server.answer(received)
            if answer is None:
                self.close_connection = True
                return
            # Who asked may have given up waiting.
            with suppress(ConnectionError):
                self._send(answer)

        def _send(self, answer: Answer) -> None:
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.content_type)
            self.send_header("Content-Length", str(len(answer.body)))
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, *args: Any) -> None:
            pass

    return Handler


def forward(endpoint_url: str, received: Received) -> Answer:
    """What the endpoint answers to the same request."""
    connection = http.client.HTTPConnection(urlsplit(endpoint_url).netloc, timeout=5)
    try:
        connection.request(received.method, received.path, received.body, received.headers)
        response = connection.getresponse()
        return Answer(response.status, response.read(), response.headers["Content-Type"])
    finally:
        connection.close()


def aws_error(code: str, status: int = 400) -> Answer:
    """An error as DynamoDB and SQS write it."""
    return Answer(status, json.dumps({"__type": f"com.amazonaws#{code}", "message": code}).encode())
