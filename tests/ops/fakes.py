"""AWS as the redrive sees it, in memory: what it holds can be set, and what was asked for can be read."""

from __future__ import annotations

import io
import json

from botocore.exceptions import ClientError

from ops.stack import Stack, read_exports
from tests.ops.deployment import OTHER, message, outputs


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
        return {"Attributes": dict.fromkeys(AttributeNames, "0")}


def _name(url):
    return next(name for name, queue in outputs()["deadLetters"].items() if queue["url"] == url)


class Table:
    """DynamoDB, with the orders that were placed."""

    def __init__(self):
        self.items = {}

    def place(self, order_id, *, carrier="acme", shipped_at=None):
        self.items[order_id] = {
            "PK": {"S": order_id},
            "state": {"S": "shipped" if shipped_at else "pending"},
            "carrier": {"S": carrier},
            "created_at": {"S": "2026-03-01T08:00:00.000000Z"},
            **({"shipped_at": {"S": shipped_at}} if shipped_at else {}),
        }

    def get_item(self, *, Key, **_):
        item = self.items.get(Key["PK"]["S"])
        return {"Item": item} if item else {}


class Functions:
    """Lambda: `reconcile` answers for what is in the table, a confirmation is applied to it."""

    def __init__(self, table):
        self.table = table
        self.invoked = []
        self.error = None
        """What every function raises."""
        self.failing = {}
        """Why which orders can't be emitted."""
        self.placed = []
        """The answers to `reemit_pending`, one after the other."""
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
            return self.placed.pop(0)
        if not self.rejects:
            detail = event["detail"]
            self.table.place(detail["order_id"], shipped_at=detail["shipped_at"])
        return None

    def reemitted(self, order_ids):
        assert 1 <= len(order_ids) <= 100
        states = {order_id: self.table.items.get(order_id, {}).get("state", {}).get("S") for order_id in order_ids}
        return {
            "emitted": [id_ for id_, state in states.items() if state == "pending" and id_ not in self.failing],
            "shipped": [id_ for id_, state in states.items() if state == "shipped"],
            "unknown": [id_ for id_, state in states.items() if state is None],
            "failed": {id_: self.failing[id_] for id_ in order_ids if id_ in self.failing},
        }


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
