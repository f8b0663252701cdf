"""The gateway as an ASGI application."""

from __future__ import annotations

import anyio
from anyio.to_thread import run_sync
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from sandbox.gateway.exchange import Answer, Incoming
from sandbox.gateway.pipeline import PAYLOAD_LIMIT, Pipeline

# Requests that wait for their integrations at once; further ones wait for a thread.
_THREADS = 128
_WITHOUT_BODY = {204, 304}


class Gateway:
    """Serves what the pipeline answers; integrations block threads of its own.

    It answers whoever reaches it: `sandbox.serving.served` lets in only those who mean this machine.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._threads = anyio.CapacityLimiter(_THREADS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise NotImplementedError(f"the gateway serves HTTP, not {scope['type']}")
        try:
            request = await _incoming(Request(scope, receive))
        except ClientDisconnect:
            return
        answer = await run_sync(self._pipeline.answer, request, limiter=self._threads)
        await _response(answer)(scope, receive, send)


async def _incoming(request: Request) -> Incoming:
    body = bytearray()
    async for chunk in request.stream():
        # One byte too many is enough to know; the rest is read so that the client comes to read the answer.
        body += chunk[: PAYLOAD_LIMIT + 1 - len(body)]
    query = request.scope["query_string"].decode("latin-1")
    return Incoming(
        method=request.method,
        target=request.scope["raw_path"].decode("latin-1") + (f"?{query}" if query else ""),
        headers=tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers.raw),
        body=bytes(body),
        source_ip=request.client.host if request.client else "127.0.0.1",
        protocol=f"HTTP/{request.scope['http_version']}",
    )


def _response(answer: Answer) -> Response:
    without_body = answer.status in _WITHOUT_BODY
    response = Response(b"" if without_body else answer.body, answer.status)
    length = [] if without_body else [(b"content-length", str(len(answer.body)).encode())]
    response.raw_headers = [*((name.encode(), value.encode()) for name, value in answer.headers), *length]
    return response
