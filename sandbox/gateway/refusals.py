"""What the gateway answers by itself: gateway responses, as deployed or AWS's own.

The rules are those of "Gateway responses for REST APIs in API Gateway" and "Gateway response types". A response that is
not deployed has AWS's template and its type's status, unless DEFAULT_4XX or DEFAULT_5XX is deployed; one that is
deployed takes nothing from these. The values of x-amzn-ErrorType are not documented; they are those that APIs are known
to send.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sandbox.gateway.exchange import Answer, substitute

# The status of each type that this gateway refuses with, and what a type without a deployed response falls back to.
STATUS: dict[str, int | None] = {
    "ACCESS_DENIED": 403,
    "API_CONFIGURATION_ERROR": 500,
    "AUTHORIZER_CONFIGURATION_ERROR": 500,
    "AUTHORIZER_FAILURE": 500,
    "BAD_REQUEST_BODY": 400,
    "BAD_REQUEST_PARAMETERS": 400,
    "DEFAULT_4XX": None,
    "DEFAULT_5XX": None,
    "EXPIRED_TOKEN": 403,
    "INTEGRATION_FAILURE": 504,
    "INTEGRATION_TIMEOUT": 504,
    "INVALID_API_KEY": 403,
    "INVALID_SIGNATURE": 403,
    "MISSING_AUTHENTICATION_TOKEN": 403,
    "QUOTA_EXCEEDED": 429,
    "REQUEST_TOO_LARGE": 413,
    "RESOURCE_NOT_FOUND": 404,
    "THROTTLED": 429,
    "UNAUTHORIZED": 401,
    "UNSUPPORTED_MEDIA_TYPE": 415,
    "WAF_FILTERED": 403,
}
_CLIENT_ERRORS = range(400, 500)
JSON = "application/json"
_OWN_TEMPLATE = '{"message":$context.error.messageString}'
# AWS is known to write this one with a capital, unless a template is deployed.
_OWN_DENIAL = '{"Message":$context.error.messageString}'


@dataclass(frozen=True, kw_only=True)
class GatewayResponse:
    """One entry of x-amazon-apigateway-gateway-responses; what is None or empty is AWS's own."""

    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    template: str | None = None


class RefusalError(Exception):
    """The gateway answers by itself: `kind` is the type of its response, the message tells the client why."""

    def __init__(
        self, kind: str, message: str, error_type: str, *, status: int | None = None, validation: str | None = None
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.error_type = error_type
        self.status = status or STATUS[kind] or 500
        self.validation = validation

    def variables(self) -> dict[str, Any]:
        """`$context.error`."""
        return {
            "message": self.message,
            "messageString": json.dumps(self.message),
            "responseType": self.kind,
            "validationErrorString": self.validation,
        }


def internal(kind: str, *, status: int | None = None, message: str = "Internal server error") -> RefusalError:
    """A failure that the client learns nothing about."""
    return RefusalError(kind, message, "InternalServerErrorException", status=status)


def answer(refusal: RefusalError, deployed: Mapping[str, GatewayResponse], context: Mapping[str, Any]) -> Answer:
    """The response to a refusal, but for the headers that every response has."""
    fallback = "DEFAULT_4XX" if refusal.status in _CLIENT_ERRORS else "DEFAULT_5XX"
    response = deployed.get(refusal.kind) or deployed.get(fallback) or GatewayResponse()
    own = _OWN_DENIAL if refusal.kind == "ACCESS_DENIED" else _OWN_TEMPLATE
    body = substitute(
        own if response.template is None else response.template,
        {**context, "error": refusal.variables()},
        absent="",
        quoted=False,
    )
    headers = {"Content-Type": JSON, "x-amzn-ErrorType": refusal.error_type, **response.headers}
    return Answer(response.status or refusal.status, tuple(headers.items()), body.encode())
