"""The gateway as an ASGI application."""

from __future__ import annotations

from starlette.responses import Response

from sandbox.gateway.exchange import Answer, Incoming
from sandbox.gateway.pipeline import PAYLOAD_LIMIT, Pipeline
from sandbox.serving import Blocking, Received

# Requests that wait for their integrations at once; further ones wait for a thread.
_THREADS = 128
_WITHOUT_BODY = {204, 304}


class Gateway(Blocking):
    """Serves what the pipeline answers; integrations block threads of its own.

    It answers whoever reaches it: `sandbox.serving.served` lets in only those who mean this machine.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        def answer(received: Received) -> Response:
            return _response(pipeline.answer(Incoming(*received)))

        # One byte too many is enough to know.
        super().__init__(answer, threads=_THREADS, most=PAYLOAD_LIMIT + 1)


def _response(answer: Answer) -> Response:
    without_body = answer.status in _WITHOUT_BODY
    response = Response(b"" if without_body else answer.body, answer.status)
    length = [] if without_body else [(b"content-length", str(len(answer.body)).encode())]
    response.raw_headers = [*((name.encode(), value.encode()) for name, value in answer.headers), *length]
    return response
