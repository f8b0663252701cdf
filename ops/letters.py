"""What the messages of the queues say, in their three shapes. No AWS, no clock.

A rule's dead letter is the event, with the error in the attributes ("Using dead-letter queues to process undelivered
events" of the EventBridge user guide). A pipe's says where the records are ("Error handling and troubleshooting" of
EventBridge Pipes). A failed invocation's record holds the event and the error ("Capturing records of Lambda
asynchronous invocations"); our functions write the same shape, under the conditions `Rejected` and `Unconfirmed`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from contracts import ORDER_CREATED, ORDER_SHIPPED, REJECTED
from handlers.orders import InvalidTimestampError, is_order_id, timestamp, utc
from ops.stack import Holds, Queue


@dataclass(frozen=True, kw_only=True)
class NewOrder:
    """An order that its carrier was not told of, or did not confirm."""

    order_id: str


@dataclass(frozen=True, kw_only=True)
class Confirmation:
    """A carrier's confirmation that was not applied; `shipped_at` as `handlers.orders.utc` writes it."""

    order_id: str
    shipped_at: str
    event: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class StreamPosition:
    """Where in a table's stream the records of orders lie that were not brought to the bus; times are RFC 3339."""

    stream_arn: str
    shard_id: str
    first: str
    last: str
    arrived_first: str
    arrived_last: str


@dataclass(frozen=True)
class Unreadable:
    reason: str


Subject = NewOrder | Confirmation | StreamPosition | Unreadable


@dataclass(frozen=True, kw_only=True)
class Letter:
    """One message of a queue."""

    id: str
    sent_at: str
    """RFC 3339, in UTC."""
    why: str
    """What its sender says about the failure, in one line; empty where it gives no reason."""
    rejected: bool
    """A function of ours has refused it for good: another try would end in the same way."""
    subject: Subject
    body: Any
    """The document, or the text where it is none."""
    attributes: Mapping[str, str]

    @property
    def order_id(self) -> str | None:
        """The order that it is about, where the message itself says so."""
        match self.subject:
            case NewOrder(order_id=order_id) | Confirmation(order_id=order_id):
                return order_id
            case _:
                return None


def read(queue: Queue, message: Mapping[str, Any]) -> Letter:
    """What a message of this queue says; `message` is as SQS gives it, with `SentTimestamp` and its own attributes."""
    attributes = {
        name: str(value.get("StringValue", "")) for name, value in message.get("MessageAttributes", {}).items()
    }
    try:
        body = json.loads(message["Body"])
    except ValueError:
        body = message["Body"]
    document: dict[str, Any] = body if isinstance(body, dict) else {}
    match queue.holds:
        case Holds.STREAM_POSITIONS:
            why, subject = _inner(document, "context").get("condition"), _position(document)
        case Holds.UNDELIVERED:
            why, subject = _delivery_error(attributes), _event(document)
        case Holds.FAILURES:
            why, subject = _invocation_error(document), _event(_inner(document, "requestPayload"))
    return Letter(
        id=message["MessageId"],
        sent_at=timestamp(datetime.fromtimestamp(int(message["Attributes"]["SentTimestamp"]) / 1000, UTC)),
        why=str(why or ""),
        rejected=_inner(document, "requestContext").get("condition") == REJECTED,
        subject=subject,
        body=body,
        attributes=attributes,
    )


def _delivery_error(attributes: Mapping[str, str]) -> str:
    error = _joined(attributes.get("ERROR_CODE"), attributes.get("ERROR_MESSAGE"))
    limit = attributes.get("EXHAUSTED_RETRY_CONDITION")
    return f"{error} (after {attributes.get('RETRY_ATTEMPTS')} retries: {limit})" if limit else error


def _invocation_error(document: Mapping[str, Any]) -> str:
    error = _inner(document, "responsePayload")
    # Ours have their condition's name as the type too.
    parts = (_inner(document, "requestContext").get("condition"), error.get("errorType"), error.get("errorMessage"))
    return _joined(*dict.fromkeys(parts))


def _joined(*parts: Any) -> str:
    return ": ".join(str(part) for part in parts if part)


def _event(event: Mapping[str, Any]) -> Subject:
    kind, detail = (event.get("source"), event.get("detail-type")), _inner(event, "detail")
    if kind == ORDER_CREATED:
        order_id = _order_id(_inner(detail, "order").get("id"))
        return NewOrder(order_id=order_id) if order_id else Unreadable("the event names no order")
    if kind == ORDER_SHIPPED:
        return _confirmation(event, detail)
    return Unreadable("it holds no event of ours")


def _confirmation(event: Mapping[str, Any], detail: Mapping[str, Any]) -> Subject:
    order_id, shipped_at = _order_id(detail.get("order_id")), detail.get("shipped_at")
    if order_id is None:
        return Unreadable("the confirmation names no order")
    if not isinstance(shipped_at, str):
        return Unreadable("the confirmation has no shipped_at")
    try:
        return Confirmation(order_id=order_id, shipped_at=utc(shipped_at), event=event)
    except InvalidTimestampError as error:
        return Unreadable(f"shipped_at {error}")


def _order_id(value: Any) -> str | None:
    return value if isinstance(value, str) and is_order_id(value) else None


def _position(document: Mapping[str, Any]) -> Subject:
    match document.get("DDBStreamBatchInfo"):
        case {
            "streamArn": str(stream_arn),
            "shardId": str(shard_id),
            "startSequenceNumber": str(first),
            "endSequenceNumber": str(last),
            "approximateArrivalOfFirstRecord": str(arrived_first),
            "approximateArrivalOfLastRecord": str(arrived_last),
        } if first.isdecimal() and last.isdecimal() and _is_moment(arrived_first) and _is_moment(arrived_last):
            return StreamPosition(
                stream_arn=stream_arn,
                shard_id=shard_id,
                first=first,
                last=last,
                arrived_first=arrived_first,
                arrived_last=arrived_last,
            )
        case _:
            return Unreadable("it names no position in a stream")


def _is_moment(text: str) -> bool:
    try:
        return datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False


def _inner(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The object under this name; an empty one where there is something else, or nothing."""
    value = document.get(name)
    return value if isinstance(value, dict) else {}
