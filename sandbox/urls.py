"""Function URLs: serves `/{url id}/...` as Lambda serves the address of the function with that URL.

The events are those of "Invoking Lambda function URLs", payload format 2.0. Only URLs of type NONE are served: whoever
reaches them is let in as far as the function's policy says.
"""

from __future__ import annotations

import base64
import json
import secrets
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import anyio
from anyio.to_thread import run_sync
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox import retry
from sandbox.iam import Anonymous
from sandbox.registry import Registry
from sandbox.services import THROTTLED, Lambda

URL_TYPE = "aws:lambda/functionUrl:FunctionUrl"
_THREADS = 64
_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


def function_urls(registry: Registry, functions: Lambda, *, headers: Callable[[str], Mapping[str, str]]) -> Starlette:
    """The ASGI application; `headers` are added to each request for the function with a name."""
    threads = anyio.CapacityLimiter(_THREADS)

    async def answer(request: Request) -> Response:
        url = registry.of(URL_TYPE).get(request.path_params["url_id"])
        if url is None:
            return _message(403, "Forbidden")
        body = await request.body()
        event = _event(request, body, dict(headers(url["functionName"])))
        return await run_sync(_invoke, functions, url["functionArn"], event, limiter=threads)

    return Starlette(routes=[Route("/{url_id}/{path:path}", answer, methods=_METHODS)])


def _invoke(functions: Lambda, function_arn: str, event: dict[str, Any]) -> Response:
    context = {"lambda:FunctionUrlAuthType": "NONE", "lambda:InvokedViaFunctionUrl": "true"}
    if functions.refusal(Anonymous(), function_arn, context):
        return _message(403, "Forbidden")
    try:
        result = functions.invoke(function_arn, json.dumps(event).encode())
    except retry.AWS_ERRORS as error:
        if retry.code(error) == THROTTLED:
            return _message(429, "Rate Exceeded.")
        return _message(502, "Internal Server Error")
    payload = json.loads(result["Payload"].read())
    if "FunctionError" in result:
        return _message(502, "Internal Server Error")
    if not isinstance(payload, dict) or "statusCode" not in payload:
        return JSONResponse(payload)
    content = payload.get("body") or ""
    return Response(
        base64.b64decode(content) if payload.get("isBase64Encoded") else content,
        payload["statusCode"],
        payload.get("headers") or {},
    )


def _message(status: int, text: str) -> Response:
    return JSONResponse({"Message": text}, status)


def _event(request: Request, body: bytes, added: dict[str, str]) -> dict[str, Any]:
    now = time.time()
    path = "/" + request.path_params["path"]
    try:
        text, encoded = body.decode(), False
    except UnicodeDecodeError:
        text, encoded = base64.b64encode(body).decode(), True
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": request.url.query,
        "headers": {**dict(request.headers), **added},
        "requestContext": {
            "accountId": "anonymous",
            "apiId": request.path_params["url_id"],
            "domainName": request.url.netloc,
            "http": {
                "method": request.method,
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": request.client.host if request.client else "127.0.0.1",
                "userAgent": request.headers.get("user-agent", ""),
            },
            "requestId": secrets.token_hex(16),
            "routeKey": "$default",
            "stage": "$default",
            "time": datetime.fromtimestamp(now, UTC).strftime("%d/%b/%Y:%H:%M:%S +0000"),
            "timeEpoch": int(now * 1000),
        },
        **({"body": text} if body else {}),
        "isBase64Encoded": encoded,
    }
