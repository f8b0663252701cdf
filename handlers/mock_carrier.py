"""A carrier to develop against, behind a function URL: takes orders and confirms each at once.

Its memory is that of one process: an order that comes again to another process, or after a cold start, is confirmed
again, at another time.

It misbehaves on request: the header `x-carrier-mode` says how, for that request alone, and is read only of a caller
with the right credentials. The local cloud adds it. On AWS nobody sends it, and whoever knows the credentials may: this
is a mock, on throwaway stacks. The modes are those of `Mode`.

Environment: CREDENTIAL_DIGEST, the SHA-256 of `user:password` in hex, so that the password itself is nowhere here;
CONFIRM_URL, where a shipment is confirmed, signed with the function's own credentials.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import HTTPClientError, NoCredentialsError
from botocore.httpsession import URLLib3Session

from handlers.orders import State, is_order_id, timestamp
from handlers.request import KEY_RULE, MalformedBodyError, content, is_json, is_key, parse
from handlers.runtime import aws_session, setting
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
    credentials = aws_session().get_credentials()
    if credentials is None:
        raise NoCredentialsError
    return credentials


class Mode(StrEnum):
    """What the carrier does with a request, once the caller is known."""

    OK = "ok"
    """Takes the order and confirms it."""
    FAILING = "500"
    """Answers 500, and does nothing."""
    BUSY = "429"
    """Answers 429 with Retry-After, and does nothing."""
    SLOW = "slow"
    """Takes and confirms the order, and answers when EventBridge no longer waits."""
    DROP = "drop"
    """Takes and confirms the order, and loses the answer: 502, since a function can't close a connection.

    It does not raise, which would look the same from outside: where that ends the process, the carrier would forget
    what it did, and the repeated order would meet another failure than a lost answer.
    """
    DUPLICATE = "duplicate"
    """Confirms twice, in the same words."""
    REORDER = "reorder"
    """Confirms the orders of a second in the reverse of the order in which they came: see `held_for`.

    Each is held within its own request, so none is forgotten, and one that comes alone is confirmed late. It takes as
    many processes as orders come in that time.
    """
    NEVER_CONFIRM = "never-confirm"
    """Takes the order and does not confirm it, unless it comes again in another mode."""
    WRONG_CREDENTIALS = "wrong-credentials"
    """Treats the caller's credentials as wrong."""


class RefusedError(Exception):
    """The request is answered with this status and its text; `sent` is of the caller's, for the answer and no log."""

    def __init__(self, status: HTTPStatus, message: str, *, sent: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.sent = sent


@dataclass
class _Shipment:
    order_id: str
    shipped_at: str
    confirmed: bool = False


def held_for(moment: datetime) -> float:
    """Seconds to hold a confirmation of this moment: later ones of the same second come before it.

    What comes at the start of a second is sent two seconds later, what comes at its end at once: the next second
    mirrors this one, in however many processes. Two seconds leave EventBridge no reason to send the order again.
    """
    return 2 * (1 - moment.microsecond / 1_000_000)


class Carrier:
    """Ships each order once per key. How it confirms, what time it is and how time passes comes from outside."""

    def __init__(
        self,
        *,
        confirm: Callable[[str, str], bool],
        now: Callable[[], datetime],
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._confirm = confirm
        self._now = now
        self._sleep = sleep
        self._shipments: dict[str, _Shipment] = {}

    def take(self, *, key: str, order_id: str, mode: Mode = Mode.OK) -> None:
        """Ship and confirm the order, or do nothing if that is done.

        A failed confirmation is sent again, unchanged, when the order comes again: it may have arrived after all.
        """
        came_at = self._now()
        shipment = self._shipments.setdefault(key, _Shipment(order_id, timestamp(came_at)))
        if shipment.order_id != order_id:
            raise RefusedError(HTTPStatus.UNPROCESSABLE_ENTITY, "Idempotency-Key was used for another order")
        if shipment.confirmed or mode is Mode.NEVER_CONFIRM:
            return
        if mode is Mode.REORDER:
            self._sleep(held_for(came_at))
        times = 2 if mode is Mode.DUPLICATE else 1
        if not all(self._confirm(order_id, shipment.shipped_at) for _ in range(times)):
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
_MODE_HEADER = "x-carrier-mode"
# A little longer than EventBridge waits, and no more: the order comes again soon after, and is to find this process
# free, which remembers it.
_SLOW_SECONDS = 5.1
_WRONG_CREDENTIALS = (HTTPStatus.UNAUTHORIZED, "The credentials are missing or wrong")
_REFUSING = {
    Mode.FAILING: (HTTPStatus.INTERNAL_SERVER_ERROR, "The carrier fails, as it was told to"),
    Mode.BUSY: (HTTPStatus.TOO_MANY_REQUESTS, "The carrier is busy, as it was told to be"),
    Mode.WRONG_CREDENTIALS: _WRONG_CREDENTIALS,
}
_HEADERS = {
    HTTPStatus.UNAUTHORIZED: {"WWW-Authenticate": 'Basic realm="carrier"'},
    HTTPStatus.TOO_MANY_REQUESTS: {"Retry-After": "1"},
}


@invocation
def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    """Takes `POST /orders` with Basic credentials and an Idempotency-Key; 202 means shipped and confirmed.

    In another mode than ok it means what the mode says.
    """
    try:
        _take(event)
    except RefusedError as error:
        logger.info("Order refused", status=int(error.status), reason=str(error))
        return _answer(error.status, f"{error}: {error.sent}" if error.sent else str(error))
    return _answer(HTTPStatus.ACCEPTED, "The order is on its way")


def _take(event: dict[str, Any]) -> None:
    started = time.monotonic()
    headers = {name.lower(): value for name, value in event["headers"].items()}
    if not _is_known(headers.get("authorization", "")):
        raise RefusedError(*_WRONG_CREDENTIALS)
    mode = _mode(headers)
    if mode in _REFUSING:
        raise RefusedError(*_REFUSING[mode])
    if (event["requestContext"]["http"]["method"], event["rawPath"]) != ("POST", "/orders"):
        raise RefusedError(HTTPStatus.NOT_FOUND, "There is only POST /orders")
    if not is_json(headers.get("content-type")):
        raise RefusedError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Content-Type must be application/json")
    key = headers.get("idempotency-key", "")
    if not is_key(key):
        raise RefusedError(HTTPStatus.BAD_REQUEST, KEY_RULE)
    order_id = _order_id(event)
    logger.append_keys(order_id=order_id)
    _carrier.take(key=key, order_id=order_id, mode=mode)
    if mode is Mode.SLOW:
        time.sleep(max(0.0, started + _SLOW_SECONDS - time.monotonic()))
    if mode is Mode.DROP:
        raise RefusedError(HTTPStatus.BAD_GATEWAY, "The order was taken, and the answer is lost")


def _mode(headers: dict[str, str]) -> Mode:
    name = headers.get(_MODE_HEADER, Mode.OK)
    try:
        return Mode(name)
    except ValueError as error:
        raise RefusedError(HTTPStatus.BAD_REQUEST, f"{_MODE_HEADER} names no mode", sent=repr(name)) from error


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
    headers = {"Content-Type": "application/json", **_HEADERS.get(status, {})}
    return {"statusCode": int(status), "headers": headers, "body": json.dumps({"message": message})}
