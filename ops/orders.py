"""What is known of orders: the table's items, the log lines about one, and how many wait."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from contracts import PENDING_INDEX
from handlers.orders import State, timestamp
from handlers.repository import PENDING_SHARDS, pending_key
from ops.stack import Carrier, Stack

# Clocks of functions and of whoever asks may differ by some seconds.
_BEFORE = timedelta(minutes=1)
# Sorts behind every timestamp.
_NEVER = "9999"
# That somebody looked at an order is no part of its life.
_READ = "Order read"


@dataclass(frozen=True, kw_only=True)
class Order:
    """An order as it is in the table, without what its client put into it."""

    order_id: str
    state: str
    carrier: str
    created_at: str
    shipped_at: str | None
    pending_since: str | None
    """When it was last handed on its way; none when it is shipped, or given up into the queue `overdue`."""
    reemissions: int

    @property
    def shipped(self) -> bool:
        return self.state == State.SHIPPED


@dataclass(frozen=True, kw_only=True)
class Line:
    """What a function has logged about an order; `at` is RFC 3339 in UTC."""

    at: str
    service: str
    level: str
    message: str


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """How many orders are pending, and how many of these for longer than their carriers have time."""

    pending: int
    overdue: int


class Orders:
    """The orders of one stack. Needs GetItem on the table, Query on its index `pending`, and FilterLogEvents."""

    def __init__(self, stack: Stack) -> None:
        self._exports = stack.exports
        self._dynamodb = stack.client("dynamodb")
        self._logs = stack.client("logs")

    def read(self, order_id: str) -> Order | None:
        """The order as its last write left it."""
        found = self._dynamodb.get_item(TableName=self._exports.table, Key={"PK": {"S": order_id}}, ConsistentRead=True)
        return _order(found["Item"]) if "Item" in found else None

    def lines(self, order: Order) -> list[Line]:
        """Every function's log lines that bear the order's id, oldest first, but for those about reading it.

        Raises:
            ClientError: One of the log groups can't be read.

        """
        with ThreadPoolExecutor(len(self._exports.log_groups)) as pool:
            groups = pool.map(partial(self._lines, order), self._exports.log_groups)
            return sorted((line for lines in groups for line in lines), key=lambda line: line.at)

    def _lines(self, order: Order, group: str) -> list[Line]:
        since = datetime.fromisoformat(order.created_at) - _BEFORE
        pages = self._logs.get_paginator("filter_log_events").paginate(
            logGroupName=group, filterPattern=f'"{order.order_id}"', startTime=int(since.timestamp() * 1000)
        )
        try:
            events = [event for page in pages for event in page["events"]]
        except self._logs.exceptions.ResourceNotFoundException:
            return []  # a function that has not run yet
        records = [(event["timestamp"], _record(event["message"])) for event in events]
        return [
            Line(
                at=timestamp(datetime.fromtimestamp(at / 1000, UTC)),
                service=str(record.get("service", group)),
                level=str(record.get("level", "")),
                message=str(record.get("message", "")),
            )
            for at, record in records
            if record.get("order_id") == order.order_id and record.get("message") != _READ
        ]

    def waiting(self, now: datetime) -> Waiting:
        """How many are pending in the index at this moment; those given up into `overdue` are not in it.

        Orders of disabled carriers wait on purpose, and are past no time: reconcile leaves them alone too.
        """
        carriers = self._exports.carriers
        return Waiting(
            pending=sum(self._count(carrier) for carrier in carriers),
            overdue=sum(self._count(carrier, now=now) for carrier in carriers if carrier.enabled),
        )

    def placed(self, after: str, before: str, *, carriers: Iterable[str]) -> Iterator[Order]:
        """The pending orders of carriers that wait since a moment between two (RFC 3339, both included).

        As the table has each when it is read: what was shipped or sent again before that is none of them.
        """
        since, until = (timestamp(datetime.fromisoformat(moment), "microseconds") for moment in (after, before))
        bounds = {":since": {"S": since}, ":until": {"S": until}}
        for carrier in carriers:
            for page in self._index(carrier, "pending_since BETWEEN :since AND :until", bounds):
                found = (self.read(item["PK"]["S"]) for item in page["Items"])
                yield from (order for order in found if order and since <= (order.pending_since or "") <= until)

    def _count(self, carrier: Carrier, *, now: datetime | None = None) -> int:
        """The pending orders of a carrier; with `now`, those that are past its time then."""
        until = timestamp(now - timedelta(hours=carrier.confirm_within_hours), "microseconds") if now else _NEVER
        pages = self._index(carrier.name, "pending_since < :until", {":until": {"S": until}}, Select="COUNT")
        return sum(page["Count"] for page in pages)

    def _index(self, carrier: str, condition: str, values: dict[str, Any], **request: Any) -> Iterator[Any]:
        for shard in range(PENDING_SHARDS):
            yield from self._dynamodb.get_paginator("query").paginate(
                TableName=self._exports.table,
                IndexName=PENDING_INDEX,
                KeyConditionExpression=f"pending_shard = :shard AND {condition}",
                ExpressionAttributeValues={":shard": {"S": pending_key(carrier, shard)}, **values},
                **request,
            )


def _order(item: Any) -> Order:
    return Order(
        order_id=item["PK"]["S"],
        state=item["state"]["S"],
        carrier=item["carrier"]["S"],
        created_at=item["created_at"]["S"],
        shipped_at=item["shipped_at"]["S"] if "shipped_at" in item else None,
        pending_since=item["pending_since"]["S"] if "pending_since" in item else None,
        reemissions=int(item["reemissions"]["N"]) if "reemissions" in item else 0,
    )


def _record(text: str) -> dict[str, Any]:
    try:
        record = json.loads(text)
    except ValueError:
        return {}
    return record if isinstance(record, dict) else {}
