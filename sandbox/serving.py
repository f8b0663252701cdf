"""Serves an ASGI application on this machine, to programs of this machine."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import NamedTuple

import uvicorn
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

_HOST = "127.0.0.1"
_FINISH_WITHIN = 2  # seconds for requests that are under way when the server is stopped


class Received(NamedTuple):
    """A request as it arrived: `target` is path and query as sent, header values are bytes read as Latin-1."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    source_ip: str = _HOST
    protocol: str = "HTTP/1.1"


class Blocking:
    """An ASGI application that calls `answer` for each request, in one of its own `threads`.

    Nothing is between the server and these threads, as a framework's routes and tasks take longer than most answers.
    Of a body of more than `most` bytes so many are kept: it is read to its end so that the client comes to read the
    answer.
    """

    def __init__(self, answer: Callable[[Received], Response], *, threads: int, most: int | None = None) -> None:
        self._answer = answer
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="answers")
        self._most = most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise NotImplementedError(f"served is HTTP, not {scope['type']}")
        if (body := await self._body(receive)) is None:
            return
        query, client = scope["query_string"], scope["client"]
        received = Received(
            method=scope["method"],
            target=(scope["raw_path"] + (b"?" + query if query else b"")).decode("latin-1"),
            headers=tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]),
            body=body,
            source_ip=client[0] if client else _HOST,
            protocol=f"HTTP/{scope['http_version']}",
        )
        response = await asyncio.get_running_loop().run_in_executor(self._pool, self._answer, received)
        await response(scope, receive, send)

    async def _body(self, receive: Receive) -> bytes | None:
        """None if the client has gone before it had sent all."""
        body, more = bytearray(), True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            chunk = message.get("body", b"")
            body += chunk if self._most is None else chunk[: self._most - len(body)]
            more = message.get("more_body", False)
        return bytes(body)


class LocalOnly:
    """Answers only requests that were meant for this server, with 421 otherwise.

    A page in a browser can make its own name point here (DNS rebinding); the Host header then has that name.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            port = scope["server"][1]
            hosts = [value.lower() for name, value in scope["headers"] if name == b"host"]
            if hosts not in ([f"{_HOST}:{port}".encode()], [f"localhost:{port}".encode()]):
                await PlainTextResponse("This server is not known under that name.", 421)(scope, receive, send)
                return
        await self._app(scope, receive, send)


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.settled = threading.Event()
        """It serves, or it has ended."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.settled.set()

    def serve_on(self, listener: socket.socket) -> None:
        try:
            # uvicorn's way to say that the application did not start.
            with suppress(SystemExit):
                self.run(sockets=[listener])
        finally:
            self.settled.set()


@contextmanager
def served(app: ASGIApp, *, port: int = 0) -> Generator[str]:
    """Serve `app` on 127.0.0.1 from a thread, `LocalOnly`, and give its URL; without a `port` on a free one.

    At the end, requests that are under way get two seconds to finish.

    Raises:
        OSError: The port is taken.
        RuntimeError: The application did not start.

    """
    config = uvicorn.Config(
        LocalOnly(app),
        log_level="warning",
        access_log=False,
        # Who connects is who asks: nobody is in between who could say otherwise.
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=_FINISH_WITHIN,
    )
    server = _Server(config)
    # asyncio turns Nagle's algorithm off where a socket says that it is TCP's; else each answer takes 40 ms.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((_HOST, port))
        thread = threading.Thread(target=server.serve_on, args=(listener,), name="serving", daemon=True)
        thread.start()
        server.settled.wait()
        try:
            if not server.started:
                raise RuntimeError("the application did not start")
            yield f"http://{_HOST}:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()
