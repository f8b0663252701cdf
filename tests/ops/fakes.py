"""AWS as the redrive sees it, in memory: what it holds can be set, and what was asked for can be read."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime, timedelta
from uuid import UUID

from botocore.exceptions import ClientError

from handlers.orders import timestamp
from handlers.repository import PENDING_SHARDS, pending_key
from ops.stack import Stack, read_exports
from tests.ops.deployment import OTHER, message, outputs

PLACED_AT = "2026-03-01T08:00:00.000000Z"


def refusal(code, operation="Operation"):
    return ClientError({"Error": {"Code": code, "Message": "no"}}, operation)


class Queues:
    """SQS, of which one receive gets at most as many messages as are visible; nothing becomes visible by itself."""

    def __init__(self):
        self.messages = {}
        self.hidden = set()
        self.calls = []
        self.undeletable = set()

    def put(self, queue, body, id_="m", **attributes):
        self.messages.setdefault(queue, []).append(message(body, id_, **attributes))

    def ids(self, queue):
        return [message["MessageId"] for message in self.messages.get(queue, [])]

    def receive_message(self, *, QueueUrl, MaxNumberOfMessages, **request):
        self.calls.append(("receive", MaxNumberOfMessages, request))
        visible = [m for m in self.messages.get(_name(QueueUrl), []) if m["ReceiptHandle"] not in self.hidden]
        given = visible[:MaxNumberOfMessages]
        self.hidden |= {m["ReceiptHandle"] for m in given}
        return {"Messages": given} if given else {}

    def delete_message(self, *, QueueUrl, ReceiptHandle):
        if ReceiptHandle in self.undeletable:
            raise refusal("AccessDenied", "DeleteMessage")
        kept = [m for m in self.messages[_name(QueueUrl)] if m["ReceiptHandle"] != ReceiptHandle]
        self.messages[_name(QueueUrl)] = kept

    def change_message_visibility_batch(self, *, QueueUrl, Entries):
        assert 1 <= len(Entries) <= 10
        assert len({entry["Id"] for entry in Entries}) == len(Entries)
        assert all(entry["VisibilityTimeout"] == 0 for entry in Entries)
        self.hidden -= {entry["ReceiptHandle"] for entry in Entries}
        return {}

    def get_queue_attributes(self, *, QueueUrl, AttributeNames):
        receipts = {message["ReceiptHandle"] for message in self.messages.get(_name(QueueUrl), [])}
        counts = {
            "ApproximateNumberOfMessages": len(receipts - self.hidden),
            "ApproximateNumberOfMessagesNotVisible": len(receipts & self.hidden),
        }
        return {"Attributes": {name: str(counts[name]) for name in AttributeNames}}


def _name(url):
    return next(name for name, queue in outputs()["deadLetters"].items() if queue["url"] == url)


class Table:
    """DynamoDB, with the orders that were placed, and their index."""

    def __init__(self):
        self.items = {}
        self.lagging = {}
        """Since when orders wait as the index still has them, though the table knows better."""

    def place(self, order_id, *, carrier="acme", shipped_at=None, at=PLACED_AT):
        self.items[order_id] = {
            "PK": {"S": order_id},
            "state": {"S": "shipped" if shipped_at else "pending"},
            "carrier": {"S": carrier},
            "created_at": {"S": at},
            **({"shipped_at": {"S": shipped_at}} if shipped_at else {"pending_since": {"S": at}}),
        }

    def index(self, since, until):
        """The orders that wait between two moments, as (since, carrier, id), oldest first."""
        waiting = {id_: item["pending_since"]["S"] for id_, item in self.items.items() if "pending_since" in item}
        found = ((at, self.items[id_]["carrier"]["S"], id_) for id_, at in (waiting | self.lagging).items())
        return sorted(one for one in found if since <= one[0] <= until)

    def get_paginator(self, operation):
        assert operation == "query"
        return self

    def paginate(self, *, IndexName, KeyConditionExpression, ExpressionAttributeValues, **_):
        assert IndexName == "pending"
        assert KeyConditionExpression == "pending_shard = :shard AND pending_since BETWEEN :since AND :until"
        shard, since, until = (ExpressionAttributeValues[name]["S"] for name in (":shard", ":since", ":until"))
        for _, carrier, id_ in self.index(since, until):
            if pending_key(carrier, UUID(id_).int % PENDING_SHARDS) == shard:
                yield {"Items": [{"PK": {"S": id_}}]}

    def get_item(self, *, Key, **_):
        item = self.items.get(Key["PK"]["S"])
        return {"Item": item} if item else {}


class Functions:
    """Lambda: `reconcile` answers for what is in the table, a confirmation is applied to it.

    What is emitted waits from now on; what fails waits as before, and is listed again.
    """

    def __init__(self, table):
        self.table = table
        self.invoked = []
        self.error = None
        """What every function raises."""
        self.failing = {}
        """Why which orders can't be emitted."""
        self.hiccups = {}
        """The same, for one time."""
        self.behind = timedelta(0)
        """By how much its clock is."""
        self.rejects = False

    def invoke(self, *, FunctionName, Payload):
        event = json.loads(Payload)
        self.invoked.append((FunctionName.removeprefix("event-gateway-dev-"), event))
        if self.error:
            return {"FunctionError": "Unhandled", "Payload": io.BytesIO(json.dumps(self.error).encode())}
        return {"Payload": io.BytesIO(json.dumps(self.answer(event)).encode())}

    def answer(self, event):
        if event.get("action") == "reemit":
            return self.reemitted(event["order_ids"])
        if event.get("action") == "reemit_pending":
            return self.reemitted(self.listed(event))
        if not self.rejects:
            detail = event["detail"]
            self.table.place(detail["order_id"], shipped_at=detail["shipped_at"])
        return None

    def listed(self, request):
        """The oldest pending orders of enabled carriers, as many as are asked for."""
        bounds = (_in_microseconds(request[name]) for name in ("created_after", "created_before"))
        enabled = {name for name, carrier in outputs()["carriers"].items() if carrier["enabled"]}
        found = [id_ for _, carrier, id_ in self.table.index(*bounds) if carrier in enabled]
        return found[: request["limit"]]

    def reemitted(self, order_ids):
        assert len(order_ids) <= 100
        states = {order_id: self.table.items.get(order_id, {}).get("state", {}).get("S") for order_id in order_ids}
        failed = {id_: reason for id_, reason in (self.failing | self.hiccups).items() if states.get(id_) == "pending"}
        self.hiccups = {id_: reason for id_, reason in self.hiccups.items() if id_ not in failed}
        emitted = [id_ for id_, state in states.items() if state == "pending" and id_ not in failed]
        for id_ in emitted:
            self.table.items[id_]["pending_since"] = {"S": timestamp(datetime.now(UTC) - self.behind, "microseconds")}
        return {
            "emitted": emitted,
            "shipped": [id_ for id_, state in states.items() if state == "shipped"],
            "unknown": [id_ for id_, state in states.items() if state is None],
            "failed": failed,
        }


def _in_microseconds(moment):
    return timestamp(datetime.fromisoformat(moment), "microseconds")


class Streams:
    """The table's stream: one page for each list of records, and then empty ones without an end, or the end."""

    def __init__(self):
        self.pages = []
        self.closed = False
        self.past = None

    def get_shard_iterator(self, **request):
        if self.past:
            raise refusal(self.past)
        self.asked = request
        return {"ShardIterator": "0"}

    def get_records(self, *, ShardIterator):
        number = int(ShardIterator)
        assert number < 100, "an open shard has no end"
        more = number + 1 < len(self.pages) or not self.closed
        records = self.pages[number] if number < len(self.pages) else []
        return {"Records": records, **({"NextShardIterator": str(number + 1)} if more else {})}


def record(sequence, order_id=OTHER, name="INSERT"):
    return {"eventName": name, "dynamodb": {"SequenceNumber": sequence, "Keys": {"PK": {"S": order_id}}}}


class Aws:
    """A deployed stack."""

    def __init__(self):
        self.sqs, self.dynamodb, self.dynamodbstreams = Queues(), Table(), Streams()
        setattr(self, "lambda", Functions(self.dynamodb))
        self.functions = getattr(self, "lambda")
        self.logs = None
        self.stack = Stack(
            name="dev",
            exports=read_exports(outputs()),
            client=lambda service: getattr(self, service),
            client_credentials=lambda role: None,
        )
