"""Where orders are kept: of what the functions do, all that uses DynamoDB.

Needs PutItem, GetItem and UpdateItem on one table, and Query on its index `pending`; a function only what it calls.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any
from uuid import UUID

from contracts import PENDING_INDEX
from handlers import orders
from handlers.orders import Claim, Claimed, Confirmation, Exhausted, Item, Order, Settled, Shipped, State, Waiting
from handlers.runtime import aws_client

# Pending orders lie in the index by carrier, so that those past their time are listed without a look at any other, and
# under a few keys of each: a partition takes 1,000 writes a second, so 4 carry 4,000 new orders a second of a carrier,
# and whoever lists these asks 4 times.
PENDING_SHARDS = 4
# Sorts before every timestamp.
_EVER = "0"


class Repository:
    """The orders of one table. Each write is one conditional call, so that no two callers can undo one another."""

    def __init__(self, table_name: str) -> None:
        self._table = table_name
        self._dynamodb = aws_client("dynamodb")

    def create(self, order: Order) -> Order:
        """Store a new order, and return what is stored under its id: this order, or the one that was there first.

        A call whose answer was lost and that was tried again finds its own order and returns it.
        """
        try:
            self._dynamodb.put_item(
                TableName=self._table,
                Item=_to_item(order),
                ConditionExpression="attribute_not_exists(PK)",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except self._dynamodb.exceptions.ConditionalCheckFailedException as error:
            return _from_item(_old(error.response))
        return order

    def read(self, order_id: str) -> Order | None:
        """The order as its last write left it."""
        found = self._dynamodb.get_item(TableName=self._table, Key={"PK": {"S": order_id}}, ConsistentRead=True)
        return _from_item(found["Item"]) if "Item" in found else None

    def ship(self, order_id: str, *, carrier: str, shipped_at: str) -> Confirmation:
        """Let a carrier ship an order, if `orders.confirm` allows it; an order that isn't there is never made."""
        try:
            shipped = self._dynamodb.update_item(
                TableName=self._table,
                Key={"PK": {"S": order_id}},
                ConditionExpression="attribute_exists(PK) AND carrier = :carrier AND #state = :pending",
                UpdateExpression="SET #state = :shipped, shipped_at = :shipped_at REMOVE pending_shard, pending_since",
                ExpressionAttributeNames={"#state": "state"},
                ExpressionAttributeValues={
                    ":carrier": {"S": carrier},
                    ":pending": {"S": State.PENDING},
                    ":shipped": {"S": State.SHIPPED},
                    ":shipped_at": {"S": shipped_at},
                },
                ReturnValues="ALL_NEW",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except self._dynamodb.exceptions.ConditionalCheckFailedException as error:
            old = _old(error.response)
            return orders.confirm(_from_item(old) if old else None, carrier=carrier, shipped_at=shipped_at)
        return Shipped(_from_item(shipped["Attributes"]))

    def waiting(self, carrier: str, shard: int, *, until: str, since: str = _EVER) -> Iterator[Waiting]:
        """The pending orders of one shard of a carrier that wait `since` then or later and `until` then, oldest first.

        Both are timestamps with microseconds, and included. Pages are read as they are needed.
        """
        pages = self._dynamodb.get_paginator("query").paginate(
            TableName=self._table,
            IndexName=PENDING_INDEX,
            KeyConditionExpression="pending_shard = :shard AND pending_since BETWEEN :since AND :until",
            ExpressionAttributeValues={
                ":shard": {"S": pending_key(carrier, shard)},
                ":since": {"S": since},
                ":until": {"S": until},
            },
        )
        for page in pages:
            yield from map(_waiting, page["Items"])

    def claim(self, waiting: Waiting, *, most: int, now: str) -> Claim:
        """Take an order for one more emission, of at most `most` since it was placed or reopened.

        From `now` on it waits anew. A claim whose answer was lost and that was tried again finds itself.
        """
        try:
            claimed = self._dynamodb.update_item(
                TableName=self._table,
                Key={"PK": {"S": waiting.order_id}},
                ConditionExpression=(
                    "#state = :pending AND pending_since = :since"
                    " AND (attribute_not_exists(reemissions) OR reemissions < :most)"
                ),
                UpdateExpression="SET pending_since = :now, reemissions = if_not_exists(reemissions, :none) + :one",
                ExpressionAttributeNames={"#state": "state"},
                ExpressionAttributeValues={
                    ":pending": {"S": State.PENDING},
                    ":since": {"S": waiting.since},
                    ":most": {"N": str(most)},
                    ":now": {"S": now},
                    ":none": {"N": "0"},
                    ":one": {"N": "1"},
                },
                ReturnValues="ALL_NEW",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except self._dynamodb.exceptions.ConditionalCheckFailedException as error:
            old = _old(error.response)
            match old.get("pending_since"):
                case {"S": since} if since == now:
                    return Claimed(_from_item(old))
                case {"S": since} if since == waiting.since:
                    return Exhausted(_from_item(old))
                case _:
                    return Settled()
        return Claimed(_from_item(claimed["Attributes"]))

    def set_aside(self, waiting: Waiting) -> None:
        """Take a pending order out of the index, so that it is listed no more; one that has changed meanwhile stays."""
        try:
            self._dynamodb.update_item(
                TableName=self._table,
                Key={"PK": {"S": waiting.order_id}},
                ConditionExpression="pending_since = :since",
                UpdateExpression="REMOVE pending_shard, pending_since",
                ExpressionAttributeValues={":since": {"S": waiting.since}},
            )
        except self._dynamodb.exceptions.ConditionalCheckFailedException:
            return

    def reopen(self, order_id: str, *, carriers: Collection[str]) -> Order | None:
        """Let a pending order of one of these carriers, 100 at most, be as if it had never been emitted again.

        Whether and since when it waits stays as it is, for `wait_anew` to say once it was emitted. Returns the order;
        one that has shipped, or is another carrier's, is not changed. None: there is no such order.
        """
        allowed = {f":carrier{number}": {"S": carrier} for number, carrier in enumerate(carriers)}
        try:
            reopened = self._dynamodb.update_item(
                TableName=self._table,
                Key={"PK": {"S": order_id}},
                ConditionExpression=f"#state = :pending AND carrier IN ({', '.join(allowed)})",
                UpdateExpression="REMOVE reemissions",
                ExpressionAttributeNames={"#state": "state"},
                ExpressionAttributeValues={":pending": {"S": State.PENDING}, **allowed},
                ReturnValues="ALL_NEW",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except self._dynamodb.exceptions.ConditionalCheckFailedException as error:
            old = _old(error.response)
            return _from_item(old) if old else None
        return _from_item(reopened["Attributes"])

    def wait_anew(self, order: Order, *, now: str) -> None:
        """Let an order wait from `now` on, in the index or not before; one that has shipped meanwhile is left alone."""
        try:
            self._dynamodb.update_item(
                TableName=self._table,
                Key={"PK": {"S": order.order_id}},
                ConditionExpression="#state = :pending",
                UpdateExpression="SET pending_shard = :shard, pending_since = :now",
                ExpressionAttributeNames={"#state": "state"},
                ExpressionAttributeValues={
                    ":pending": {"S": State.PENDING},
                    ":shard": {"S": _key(order)},
                    ":now": {"S": now},
                },
            )
        except self._dynamodb.exceptions.ConditionalCheckFailedException:
            return


def pending_key(carrier: str, shard: int) -> str:
    """The key of the index under which a carrier's orders of one shard wait."""
    return f"{carrier}#{shard}"


def _key(order: Order) -> str:
    return pending_key(order.carrier, UUID(order.order_id).int % PENDING_SHARDS)


def _old(response: Any) -> dict[str, Any]:
    """The item that a condition refused; none at all when there was no item."""
    return response.get("Item", {})


def _to_item(order: Order) -> dict[str, Any]:
    item: dict[str, Any] = {
        "PK": {"S": order.order_id},
        "state": {"S": order.state},
        "carrier": {"S": order.carrier},
        "client": {"S": order.client},
        "request_hash": {"S": order.request_hash},
        "created_at": {"S": order.created_at},
        # The keys of the index, which so holds pending orders and nothing else.
        "pending_shard": {"S": _key(order)},
        "pending_since": {"S": order.created_at},
    }
    if order.reference is not None:
        item["reference"] = {"S": order.reference}
    if order.items:
        item["items"] = {"L": [{"M": {"sku": {"S": i.sku}, "quantity": {"N": str(i.quantity)}}} for i in order.items]}
    return item


def _waiting(item: Any) -> Waiting:
    return Waiting(order_id=item["PK"]["S"], since=item["pending_since"]["S"])


def _from_item(item: Any) -> Order:
    return Order(
        order_id=item["PK"]["S"],
        client=item["client"]["S"],
        carrier=item["carrier"]["S"],
        request_hash=item["request_hash"]["S"],
        created_at=item["created_at"]["S"],
        reference=item["reference"]["S"] if "reference" in item else None,
        items=tuple(
            Item(sku=entry["M"]["sku"]["S"], quantity=int(entry["M"]["quantity"]["N"]))
            for entry in item.get("items", {"L": []})["L"]
        ),
        shipped_at=item["shipped_at"]["S"] if "shipped_at" in item else None,
    )
