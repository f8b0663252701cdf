"""The records of orders that a pipe's dead letter points to, while the stream keeps them: 24 hours."""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ClientError

from ops.letters import StreamPosition
from ops.stack import Stack

# The stream, the shard or the record is not there any more.
_PAST = {"ResourceNotFoundException", "TrimmedDataAccessException"}
_INSERT = "INSERT"
# Pages in a row. A stream may give some before a record, and gives nothing else once there is none.
_EMPTY = 20


class ForeignStreamError(ValueError):
    """The position is in the stream of another table, so whoever wrote it was not the pipe of this stack."""


def orders_at(stack: Stack, position: StreamPosition) -> list[str] | None:
    """The ids of the orders that were new from the first to the last record of a position; None if these are past.

    Needs GetShardIterator and GetRecords on the streams of the table. Some of the orders may have been brought to the
    bus: a pipe names the first and the last record of what it could not send, and nothing between.

    Raises:
        ForeignStreamError: The stream is not one of the stack's table.
        ClientError: AWS refuses, or is out of order.

    """
    table, account = stack.exports.table, stack.exports.account
    if f":{account}:table/{table}/stream/" not in position.stream_arn:
        raise ForeignStreamError(f"it points to {position.stream_arn}, which is no stream of table {table}")
    try:
        found = _new_orders(position, stack.client("dynamodbstreams"))
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") in _PAST:
            return None
        raise
    return None if found is None else list(dict.fromkeys(found))


def _new_orders(position: StreamPosition, streams: Any) -> list[str] | None:
    """None where the end of the position is not found."""
    # Sequence numbers are decimal numbers without a fixed length.
    last = int(position.last)
    iterator = streams.get_shard_iterator(
        StreamArn=position.stream_arn,
        ShardId=position.shard_id,
        ShardIteratorType="AT_SEQUENCE_NUMBER",
        SequenceNumber=position.first,
    )["ShardIterator"]
    found: list[str] = []
    empty = 0
    # A shard that is written to never ends.
    while iterator and empty < _EMPTY:
        page = streams.get_records(ShardIterator=iterator)
        for record in page["Records"]:
            number = int(record["dynamodb"]["SequenceNumber"])
            if number <= last and record["eventName"] == _INSERT:
                found.append(record["dynamodb"]["Keys"]["PK"]["S"])
            if number >= last:
                return found
        empty = 0 if page["Records"] else empty + 1
        iterator = page.get("NextShardIterator")
    return None
