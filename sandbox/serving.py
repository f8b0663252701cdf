"""Serves an ASGI application on this machine, to programs of this machine."""

from __future__ import annotations

import socket
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress

import uvicorn
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

_HOST = "127.0.0.1"
_FINISH_WITHIN = 2  # seconds for requests that are under way when the server is stopped


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
        LocalOnly(app), log_level="warning", access_log=False, timeout_graceful_shutdown=_FINISH_WITHIN
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
