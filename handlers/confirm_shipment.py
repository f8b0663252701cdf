"""Applies one carrier's confirmations, which the rule of that carrier hands over as whole events.

Environment: TABLE_NAME; CARRIER, its name; CARRIER_PRINCIPAL, the ARN of the IAM role or user that may confirm for it;
FAILURE_QUEUE_URL.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import BotoCoreError, ClientError

from contracts import REJECTED
from contracts.principals import caller_of, stable_caller
from handlers import orders
from handlers.orders import (
    AlreadyShipped,
    Confirmation,
    InvalidTimestampError,
    OtherCarriersOrder,
    ShipmentConflict,
    Shipped,
    UnknownOrder,
)
from handlers.records import failure_record
from handlers.repository import Repository
from handlers.runtime import aws_client, setting
from handlers.telemetry import Count, count, invocation, logger

_CARRIER = setting("CARRIER")
_CALLER = caller_of(setting("CARRIER_PRINCIPAL"))
_FAILURE_QUEUE_URL = setting("FAILURE_QUEUE_URL")
_store = Repository(setting("TABLE_NAME"))


@functools.cache
def _sqs() -> Any:
    """Made for the first rejection, which is rare."""
    return aws_client("sqs")


class UnknownOrderError(Exception):
    """Raised so that Lambda tries again: the confirmation may have come before its order is visible."""


@dataclass(frozen=True)
class MalformedConfirmation:
    reason: str


@dataclass(frozen=True)
class UntrustedCaller:
    reason: str = "The caller may not confirm for this carrier"


@invocation
def handler(event: dict[str, Any], context: LambdaContext) -> None:
    """Ships the order once.

    What no retry can mend goes to the failure queue at once, with its reason, and counts as handled. An order that is
    not there, and any failure of AWS, raises: Lambda tries again and then sends the event to the same queue.
    """
    try:
        _confirm(event, context)
    except (UnknownOrderError, ClientError, BotoCoreError):
        # Lambda writes the error as well, but not which order it is about.
        logger.exception("Confirmation failed")
        raise


def _confirm(event: dict[str, Any], context: LambdaContext) -> None:
    match _apply(event):
        case Shipped():
            count(Count.SHIPPED)
            logger.info("Order shipped")
        case AlreadyShipped():
            logger.info("Order was shipped already")
        case UnknownOrder(reason):
            raise UnknownOrderError(reason)
        case rejection:
            _reject(event, context, rejection)


def _apply(event: dict[str, Any]) -> Confirmation | MalformedConfirmation | UntrustedCaller:
    match event:
        case {"detail": {"order_id": str(order_id), "shipped_at": str(shipped_at), "caller": str(caller)}}:
            pass
        case _:
            return MalformedConfirmation("detail must hold order_id, shipped_at and caller as text")
    if not orders.is_order_id(order_id):
        return MalformedConfirmation("order_id is not the id of an order")
    logger.append_keys(order_id=order_id)
    if stable_caller(caller) != _CALLER:
        return UntrustedCaller()
    try:
        return _store.ship(order_id, carrier=_CARRIER, shipped_at=orders.utc(shipped_at))
    except InvalidTimestampError as error:
        return MalformedConfirmation(f"shipped_at {error}")


def _reject(
    event: dict[str, Any],
    context: LambdaContext,
    rejection: ShipmentConflict | OtherCarriersOrder | MalformedConfirmation | UntrustedCaller,
) -> None:
    """Put the event into the failure queue, with the reason."""
    error_type = type(rejection).__name__
    _sqs().send_message(
        QueueUrl=_FAILURE_QUEUE_URL,
        MessageBody=failure_record(event, context, condition=REJECTED, error_type=error_type, reason=rejection.reason),
    )
    count(Count.REJECTED)
    logger.warning("Confirmation rejected", rejection=error_type, reason=rejection.reason)
