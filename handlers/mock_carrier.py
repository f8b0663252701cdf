"""A carrier to develop against, behind a function URL: takes orders and confirms each at once.

Its memory is that of one process: run it with one concurrent execution, and expect it to act again after a cold start.

Environment: CREDENTIAL_DIGEST, the SHA-256 of `user:password` in hex, so that the password itself is nowhere here;
CONFIRM_URL, where a shipment is confirmed, signed with the function's own credentials.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import boto3
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import HTTPClientError, NoCredentialsError
from botocore.httpsession import URLLib3Session

from handlers.orders import State, is_order_id, timestamp
from handlers.request import KEY_RULE, MalformedBodyError, content, is_json, is_key, parse
from handlers.runtime import setting
from handlers.telemetry import invocation, logger


def _credential_digest() -> str:
    digest = setting("CREDENTIAL_DIGEST").lower()
    if not re.fullmatch("[0-9a-f]{64}", digest):
        raise RuntimeError("the environment variable CREDENTIAL_DIGEST must be a SHA-256 in hex")
    return digest


def _confirm_url() -> str:
    url = setting("CONFIRM_URL")
    if urlsplit(url).scheme not in {"https", "http"}:
        raise RuntimeError("the environment variable CONFIRM_URL must be an http or https URL")
    return url


def _own_credentials() -> Credentials:
    credentials = boto3.Session().get_credentials()
    if credentials is None:
        raise NoCredentialsError
    return credentials


class RefusedError(Exception):
    """The request is answered with this status and its text."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass
class _Shipment:
    order_id: str
    shipped_at: str
    confirmed: bool = False


class Carrier:
    """Ships each order once per key. How it confirms and what time it is comes from outside."""

    def __init__(self, *, confirm: Callable[[str, str], bool], now: Callable[[], datetime]) -> None:
        self._confirm = confirm
        self._now = now
        self._shipments: dict[str, _Shipment] = {}

    def take(self, *, key: str, order_id: str) -> None:
        """Ship and confirm the order, or do nothing if that is done.

        A failed confirmation is sent again, unchanged, when the order comes again: it may have arrived after all.
        """
        shipped_at = timestamp(self._now())
        shipment = self._shipments.setdefault(key, _Shipment(order_id, shipped_at))
        if shipment.order_id != order_id:
            raise RefusedError(HTTPStatus.UNPROCESSABLE_ENTITY, "Idempotency-Key was used for another order")
        if shipment.confirmed:
            return
        if not self._confirm(order_id, shipment.shipped_at):
            raise RefusedError(
                HTTPStatus.SERVICE_UNAVAILABLE, "The shipment could not be confirmed; send the order again"
            )
        shipment.confirmed = True


_CREDENTIAL_DIGEST = _credential_digest()
_CONFIRM_URL = _confirm_url()
_REGION = setting("AWS_REGION")
_credentials = _own_credentials()
# EventBridge waits 5 s and tries again itself: so one attempt, with at most 2 s to connect and 2 s to answer.
_http = URLLib3Session(timeout=2)


def _send_confirmation(order_id: str, shipped_at: str) -> bool:
    request = AWSRequest(
        method="POST",
        url=_CONFIRM_URL,
        data=json.dumps({"order_id": order_id, "shipped_at": shipped_at}),
        headers={"Content-Type": "application/json"},
    )
    SigV4Auth(_credentials.get_frozen_credentials(), "execute-api", _REGION).add_auth(request)
    try:
        response = _http.send(request.prepare())
    except HTTPClientError as error:
        logger.warning("Confirmation failed", error=type(error).__name__)
        return False
    logger.info("Confirmation sent", status=response.status_code)
    return response.status_code == HTTPStatus.ACCEPTED


_carrier = Carrier(confirm=_send_confirmation, now=lambda: datetime.now(UTC))


@invocation
def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    """Takes `POST /orders` with Basic credentials and an Idempotency-Key; 202 means shipped and confirmed."""
    try:
        _take(event)
    except RefusedError as error:
        logger.info("Order refused", status=int(error.status), reason=str(error))
        return _answer(error.status, str(error))
    return _answer(HTTPStatus.ACCEPTED, "The order is on its way")


def _take(event: dict[str, Any]) -> None:
    headers = {name.lower(): value for name, value in event["headers"].items()}
    if not _is_known(headers.get("authorization", "")):
        raise RefusedError(HTTPStatus.UNAUTHORIZED, "The credentials are missing or wrong")
    if (event["requestContext"]["http"]["method"], event["rawPath"]) != ("POST", "/orders"):
        raise RefusedError(HTTPStatus.NOT_FOUND, "There is only POST /orders")
    if not is_json(headers.get("content-type")):
        raise RefusedError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Content-Type must be application/json")
    key = headers.get("idempotency-key", "")
    if not is_key(key):
        raise RefusedError(HTTPStatus.BAD_REQUEST, KEY_RULE)
    order_id = _order_id(event)
    logger.append_keys(order_id=order_id)
    _carrier.take(key=key, order_id=order_id)


def _is_known(authorization: str) -> bool:
    scheme, _, credentials = authorization.partition(" ")
    try:
        digest = hashlib.sha256(base64.b64decode(credentials, validate=True)).hexdigest()
    except ValueError:
        return False
    return scheme.lower() == "basic" and hmac.compare_digest(digest, _CREDENTIAL_DIGEST)


def _order_id(event: dict[str, Any]) -> str:
    try:
        document = parse(content(event.get("body"), base64_encoded=event["isBase64Encoded"]))
    except MalformedBodyError as error:
        raise RefusedError(HTTPStatus.BAD_REQUEST, f"The body {error}") from error
    match document:
        # Nothing but these two: what else would come is a change of the contract that a test should notice.
        case {"order_id": str(order_id), "state": State.PENDING, **rest} if not rest and is_order_id(order_id):
            return order_id
        case _:
            raise RefusedError(HTTPStatus.BAD_REQUEST, 'The body must be {"order_id": <its id>, "state": "pending"}')


def _answer(status: HTTPStatus, message: str) -> dict[str, Any]:
    headers = {"Content-Type": "application/json"}
    if status is HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = 'Basic realm="carrier"'
    return {"statusCode": int(status), "headers": headers, "body": json.dumps({"message": message})}
