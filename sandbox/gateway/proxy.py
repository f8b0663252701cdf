"""Lambda proxy integrations: the event that a function gets, and the response that its result means.

The rules are those of "Lambda proxy integrations in API Gateway" and "Amazon API Gateway important notes" (dropped and
remapped headers). Where these are silent:

- No field of a result is mandatory, and a field of another name makes it malformed (LocalStack's tests on AWS).
- A status code may be a text of digits. Header values may be texts, booleans or numbers.
- Header names arrive in lower case, as over HTTP/2; on AWS those of HTTP/1.1 keep the sender's case.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Collection, Mapping
from typing import Any, cast
from urllib.parse import parse_qsl

from sandbox.gateway.exchange import Answer, Incoming, media_type
from sandbox.gateway.refusals import JSON, internal

_DROPPED = frozenset(
    {"connection", "content-length", "content-md5", "expect", "max-forwards", "proxy-authenticate", "server", "te"}
    | {"transfer-encoding", "trailer", "upgrade", "www-authenticate"}
)
_REMAPPED = frozenset(
    {"authorization", "connection", "content-length", "content-md5", "date", "expect", "host", "max-forwards"}
    | {"proxy-authenticate", "server", "te", "trailer", "upgrade", "user-agent", "www-authenticate"}
    | {"x-amzn-requestid"}
)
_FIELDS = {"isBase64Encoded", "statusCode", "headers", "multiValueHeaders", "body"}
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_HEADER_VALUE = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*")
_STATUS = re.compile(r"[2-5]\d\d")


class MalformedError(ValueError):
    """The function's result is not a response; says why."""


def event(
    request: Incoming,
    *,
    resource: str,
    path: str,
    path_parameters: Mapping[str, str],
    stage_variables: Mapping[str, str],
    context: Mapping[str, Any],
    binary: Collection[str],
    trace_id: str,
) -> dict[str, Any]:
    """The event for a function; `path` is below the stage's, `binary` the API's binary media types.

    A body of another type is text to API Gateway, whatever its bytes: what isn't UTF-8 in it is lost.
    """
    headers = {name: values for name, values in request.multi_headers().items() if name not in _DROPPED}
    if context["identity"]["userArn"] is not None:
        # A signature is for the gateway only.
        headers.pop("authorization", None)
    headers |= {
        "X-Amzn-Trace-Id": [trace_id],
        "X-Forwarded-For": [", ".join([*headers.pop("x-forwarded-for", []), request.source_ip])],
        "X-Forwarded-Port": ["443"],
        "X-Forwarded-Proto": ["https"],
    }
    query: dict[str, list[str]] = {}
    for name, value in parse_qsl(request.query, keep_blank_values=True):
        query.setdefault(name, []).append(value)
    encoded = _is_binary(request.header("content-type"), binary)
    text = base64.b64encode(request.body).decode() if encoded else request.body.decode(errors="replace")
    return {
        "resource": resource,
        "path": path,
        "httpMethod": request.method,
        "headers": {name: values[-1] for name, values in headers.items()},
        "multiValueHeaders": headers,
        "queryStringParameters": {name: values[-1] for name, values in query.items()} or None,
        "multiValueQueryStringParameters": query or None,
        "pathParameters": dict(path_parameters) or None,
        "stageVariables": dict(stage_variables) or None,
        "requestContext": {**context, "resourcePath": resource},
        "body": text or None,
        "isBase64Encoded": encoded and bool(request.body),
    }


def response(payload: bytes, *, accept: str | None, binary: Collection[str]) -> Answer:
    """The response that a function's result means; `accept` is the request's header, which asks for binary content.

    Raises:
        MalformedError: The result is none, which API Gateway answers with a 502.
        RefusalError: The body can't be decoded, although the client asked for binary content.

    """
    result = _result(payload)
    status = str(result.get("statusCode") if result.get("statusCode") is not None else 200)
    if isinstance(result.get("statusCode"), bool) or not _STATUS.fullmatch(status):
        raise MalformedError("statusCode is no status")
    body = result.get("body")
    if body is not None and not isinstance(body, str):
        raise MalformedError("body is no text")
    encoded = result.get("isBase64Encoded")
    if encoded is not None and not isinstance(encoded, bool):
        raise MalformedError("isBase64Encoded is neither true nor false")
    headers = _headers(result)
    if not any(name.lower() == "content-type" for name, _ in headers):
        headers = [("Content-Type", JSON), *headers]
    content = (body or "").encode(errors="replace")
    # Only the first type of Accept counts ("Return binary media from a Lambda proxy integration").
    if encoded and accept is not None and _is_binary(accept.partition(",")[0], binary):
        content = _decoded(content)
    return Answer(int(status), tuple(headers), content)


def _result(payload: bytes) -> dict[str, Any]:
    try:
        result = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise MalformedError("no JSON") from error
    if not isinstance(result, dict):
        raise MalformedError("no object")
    if unknown := cast("dict[str, Any]", result).keys() - _FIELDS:
        raise MalformedError(f"unknown fields: {', '.join(sorted(unknown))}")
    return cast("dict[str, Any]", result)


def _headers(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The response's headers; a name in both groups has the values of multiValueHeaders."""
    several: dict[str, list[tuple[str, str]]] = {}
    for group in ("headers", "multiValueHeaders"):
        values = result.get(group)
        if values is not None and not isinstance(values, dict):
            raise MalformedError(f"{group} is no object")
        for name, value in cast("dict[str, Any]", values or {}).items():
            if isinstance(value, list) != (group == "multiValueHeaders"):
                raise MalformedError(f"{group} has the wrong kind of value")
            items = cast("list[Any]", value) if isinstance(value, list) else [value]
            several[name.lower()] = [_header(name, item) for item in items]
    return [header for name, headers in several.items() if name != "transfer-encoding" for header in headers]


def _header(name: str, value: Any) -> tuple[str, str]:
    if not isinstance(value, str | bool | int | float):
        raise MalformedError("a header's value is no text")
    text = value if isinstance(value, str) else json.dumps(value)
    if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(text):
        raise MalformedError("a header that HTTP doesn't know")
    return (f"x-amzn-Remapped-{name}" if name.lower() in _REMAPPED else name), text


def _is_binary(content_type: str | None, binary: Collection[str]) -> bool:
    return "*/*" in binary or media_type(content_type) in binary


def _decoded(content: bytes) -> bytes:
    try:
        return base64.b64decode(content, validate=True)
    except binascii.Error as error:
        raise internal("API_CONFIGURATION_ERROR") from error
