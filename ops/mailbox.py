"""A queue as an operator reads it: messages are looked at without being lost, and go only when they are told to."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from ops import letters
from ops.letters import Letter
from ops.stack import Queue

INVISIBLE = timedelta(minutes=30)
"""For how long a message is kept from others once it is received: ten times the longest that a function of ours runs.

The messages of a command that was killed come back after that time.
"""
_BATCH = 10  # the most that SQS gives at once
# A receive that waits asks all servers of a queue, so that no message is overlooked.
_WAIT = 1
# Receives in a row of nothing but what was seen before, until a queue is left as it is.
_REPEATS = 20


@dataclass(frozen=True, kw_only=True)
class Depth:
    """How many messages, approximately, as SQS says; `in_flight` are with another reader right now."""

    messages: int
    in_flight: int


def with_others(count: int) -> str:
    """In words, that so many messages of a queue are in flight."""
    messages = "1 message is" if count == 1 else f"{count} messages are"
    return f"{messages} with another reader: again in up to {int(INVISIBLE.total_seconds() / 60)} minutes"


class Mailbox:
    """One queue. Needs GetQueueAttributes, ReceiveMessage, ChangeMessageVisibility and DeleteMessage on it."""

    def __init__(self, queue: Queue, sqs: Any) -> None:
        self.queue = queue
        self._sqs = sqs

    def depth(self) -> Depth:
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self._sqs.get_queue_attributes(QueueUrl=self.queue.url, AttributeNames=names)["Attributes"]
        messages, in_flight = (int(found[name]) for name in names)
        return Depth(messages=messages, in_flight=in_flight)

    @contextmanager
    def opened(self) -> Generator[Opened]:
        """The messages, which nobody else gets meanwhile. At the end those that were not deleted are back."""
        opened = Opened(self.queue, self._sqs)
        try:
            yield opened
        finally:
            opened.put_back()


class Opened:
    """A queue whose messages are being read."""

    def __init__(self, queue: Queue, sqs: Any) -> None:
        self._queue = queue
        self._sqs = sqs
        self._receipts: dict[str, str] = {}
        self._seen: set[str] = set()

    def batches(self, limit: int | None = None) -> Generator[list[Letter]]:
        """Up to `limit` messages, or all, each once and at most ten at a time."""
        left = limit
        repeats = 0
        while (left is None or left > 0) and repeats < _REPEATS:
            received = self._receive(_BATCH if left is None else min(_BATCH, left))
            if not received:
                return
            new = [message for message in received if message["MessageId"] not in self._seen]
            # SQS may give a message twice, and behind that one there may be others.
            repeats = 0 if new else repeats + 1
            self._seen |= {message["MessageId"] for message in new}
            if left is not None:
                left -= len(new)
            yield [letters.read(self._queue, message) for message in new]

    def delete(self, letter: Letter) -> None:
        """Remove a message for good."""
        self._sqs.delete_message(QueueUrl=self._queue.url, ReceiptHandle=self._receipts[letter.id])
        del self._receipts[letter.id]

    def put_back(self) -> None:
        """Let others get what was received and not deleted."""
        for part in _parts(list(self._receipts.values())):
            entries = [
                {"Id": str(number), "ReceiptHandle": receipt, "VisibilityTimeout": 0}
                for number, receipt in enumerate(part)
            ]
            # What fails here comes back by itself.
            self._sqs.change_message_visibility_batch(QueueUrl=self._queue.url, Entries=entries)
        self._receipts.clear()

    def _receive(self, count: int) -> list[Any]:
        answer = self._sqs.receive_message(
            QueueUrl=self._queue.url,
            MaxNumberOfMessages=count,
            VisibilityTimeout=int(INVISIBLE.total_seconds()),
            WaitTimeSeconds=_WAIT,
            MessageAttributeNames=["All"],
            MessageSystemAttributeNames=["SentTimestamp"],
        )
        messages = answer.get("Messages", [])
        self._receipts |= {message["MessageId"]: message["ReceiptHandle"] for message in messages}
        return messages


def _parts(receipts: list[str]) -> Iterable[list[str]]:
    return (receipts[start : start + _BATCH] for start in range(0, len(receipts), _BATCH))
