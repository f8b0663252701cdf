"""Imports a handler and invokes it once, as Lambda does at a cold start: `MODULE create|confirm [FOLDER]`.

The folder is one that a zip was unpacked in. AWS is what AWS_ENDPOINT_URL names.
"""

from __future__ import annotations

import importlib
import json
import sys
from dataclasses import dataclass
from typing import Any

ORDER_ID = "0f8fad5b-d9cb-469f-a165-70867728950e"


@dataclass(frozen=True)
class _Context:
    """What Lambda tells a handler of its invocation."""

    function_name: str = "measured"
    function_version: str = "$LATEST"
    memory_limit_in_mb: int = 512
    invoked_function_arn: str = "arn:aws:lambda:eu-west-1:000000000000:function:measured"
    aws_request_id: str = "11111111-2222-3333-4444-555555555555"

    def get_remaining_time_in_millis(self) -> int:
        return 10_000


_HEADERS = {"Content-Type": "application/json", "Idempotency-Key": "one-key"}
EVENTS: dict[str, dict[str, Any]] = {
    "create": {
        "resource": "/orders",
        "path": "/orders",
        "httpMethod": "POST",
        "headers": _HEADERS,
        "multiValueHeaders": {name: [value] for name, value in _HEADERS.items()},
        "queryStringParameters": None,
        "multiValueQueryStringParameters": None,
        "pathParameters": None,
        "stageVariables": None,
        "requestContext": {
            "requestId": "11111111-2222-3333-4444-555555555555",
            "path": "/v1/orders",
            "httpMethod": "POST",
            "stage": "v1",
            "identity": {"userArn": "arn:aws:sts::000000000000:assumed-role/orders-client/one"},
        },
        "body": '{"reference": "measured"}',
        "isBase64Encoded": False,
    },
    "confirm": {
        "version": "0",
        "source": "carrier",
        "detail": {
            "order_id": ORDER_ID,
            "shipped_at": "2026-03-01T08:00:00Z",
            "caller": "arn:aws:sts::000000000000:assumed-role/acme/one",
        },
    },
}


def main(module: str, event: str, folder: str | None = None) -> None:
    if folder:
        # Byte code that is not in the zip can't be kept either: what Lambda unpacks is read-only.
        sys.dont_write_bytecode = True
        sys.path.insert(0, folder)
    answer = importlib.import_module(module).handler(EVENTS[event], _Context())
    if answer is not None and answer["statusCode"] not in {200, 201}:
        sys.exit(f"{module} answered {json.dumps(answer)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
