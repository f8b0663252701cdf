"""From a table's stream to a bus: what a pipe of EventBridge does with the records it reads.

The rules are those of the EventBridge user guide: "Amazon DynamoDB stream as a source", "Event filtering", "Input
transformation", "Batching and concurrency" and "Error handling and troubleshooting" of EventBridge Pipes, and of
PipeSourceDynamoDBStreamParameters in its reference. Not documented, and so decided here:

- The wait before a retry: AWS says that polling "will gradually back off".
- What AUTOMATIC_BISECT counts: halving a batch uses up no retry, and each half goes on with the count of the whole.
- The dead letter: its shape is that of messages that others published, all of them with RetryAttemptsExhausted. For a
  record that grew too old the condition is the one that Lambda documents for streams, RecordAgeExceeded.
- A record that the stream itself drops after 24 hours is dead-lettered like one that reached MaximumRecordAgeInSeconds.
- A pipe that fails all the time is never stopped, while AWS "can" disable it.

Not modelled: starting at LATEST, and more than one batch of a shard at a time.
"""

from __future__ import annotations

import base64
import json
import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Protocol

from sandbox import patterns, retry
from sandbox.clock import waited
from sandbox.faults import KilledError
from sandbox.jobs import Chance, Clock, Count, Killed, Outbox, Stamped, as_stamped, ignore, never
from sandbox.putevents import put_events
from sandbox.retry import AWS_ERRORS, AwsError, Backoff, Journal
from sandbox.transform import TransformError, pipe_input

_log = logging.getLogger(__name__)

_RETENTION = 86_400  # seconds that a stream keeps a record
_PAGE = 1000  # records, the most that GetRecords returns
_BACKOFF = Backoff(first=0.5, longest=60)
# An empty GetRecords takes 2 ms, so an idle pipe takes a twentieth of a core at this rate.
_IDLE = Backoff(first=0.005, longest=0.05, jitter=0)


@dataclass(frozen=True, kw_only=True)
class PipeSettings:
    """A pipe from a DynamoDB stream to a bus, with AWS's defaults where it has any."""

    arn: str
    stream_arn: str
    bus_arn: str
    source: str
    detail_type: str
    template: str | None = None
    """Without one, the record itself is the event's detail."""
    filters: tuple[str, ...] = ()
    """Patterns of which one has to match; without any, every record passes."""
    batch_size: int = 100
    """So many records are one call of PutEvents, which takes ten entries and refuses more."""
    attempts: int = -1
    """MaximumRetryAttempts, after the first try; -1 is no limit."""
    age: float = -1
    """MaximumRecordAgeInSeconds; -1 is the 24 hours that the stream keeps a record."""
    bisect: bool = False
    dead_letters: str | None = None
    """URL of the queue in DeadLetterConfig."""

    @property
    def max_age(self) -> float:
        return _RETENTION if self.age < 0 else min(self.age, _RETENTION)


# --- batches, without input or output ---------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Record:
    """A record that passed the filter."""

    sequence: str
    previous: str | None
    """The sequence number before it in the shard: where a reader resumes to get it first. None: at the start."""
    created: float
    event: Mapping[str, Any]
    """As the pipe sees it: JSON, with the stream's ARN."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Records that are sent together, in order, and how often they were in vain."""

    records: tuple[Record, ...]
    attempts: int = 0
    """Tries that failed by an error of the customer's."""
    waits: int = 0
    """Tries that failed, for whatever reason, of it or of the batch it was part of: the backoff follows them."""
    dead: str | None = None
    """The condition for which it is to be dead-lettered."""


@dataclass(frozen=True, kw_only=True)
class Failed:
    """Why a record was not taken; `counts` if it was by an error of the customer's, who has to mend something."""

    reason: str
    counts: bool


def expire(batch: Batch, *, max_age: float, now: float) -> list[Batch]:
    """The batch, without what is too old: that is a batch of its own before it, to be dead-lettered."""
    if batch.dead:
        return [batch]
    old = tuple(record for record in batch.records if now - record.created >= max_age)
    if not old:
        return [batch]
    young = tuple(record for record in batch.records if now - record.created < max_age)
    expired = replace(batch, records=old, dead="RecordAgeExceeded")
    return [expired, replace(batch, records=young)] if young else [expired]


def after_failure(batch: Batch, failed: Mapping[str, Failed], *, attempts: int, bisect: bool) -> list[Batch]:
    """What replaces a batch of which the records with these sequence numbers were not taken: they alone are kept."""
    left = tuple(record for record in batch.records if record.sequence in failed)
    rest = replace(batch, records=left, waits=batch.waits + 1)
    if not any(failure.counts for failure in failed.values()):
        return [rest]
    if bisect and len(left) > 1:
        half = len(left) // 2
        return [replace(rest, records=part) for part in (left[:half], left[half:])]
    rest = replace(rest, attempts=batch.attempts + 1)
    if 0 <= attempts < rest.attempts:
        rest = replace(rest, dead="RetryAttemptsExhausted", waits=0)
    return [rest]


# --- the worker -------------------------------------------------------------------------------------------------------


class Streams(Protocol):
    """The calls of boto3's client for DynamoDB streams."""

    def describe_stream(self, **request: Any) -> Any: ...
    def get_shard_iterator(self, **request: Any) -> Any: ...
    def get_records(self, **request: Any) -> Any: ...


class Bus(Protocol):
    """The call of boto3's client for EventBridge."""

    def put_events(self, **request: Any) -> Any: ...


class Pipe:
    """Brings each record that passes the filter to the bus at least once, in its shard's order, or dead-letters it.

    How far it came is in the journal, per shard, and moves only past what was delivered, dead-lettered or filtered out:
    a pipe that is started on the journal of another one goes on there, and counts the retries of what it meets first
    from zero. A pipe with an empty journal begins with the oldest record, at TRIM_HORIZON.
    """

    def __init__(
        self,
        settings: PipeSettings,
        *,
        streams: Streams,
        bus: Bus,
        outbox: Outbox,
        journal: Journal,
        count: Count = ignore,
        clock: Clock = time.time,
        stamped: Stamped = as_stamped,
        killed: Killed = never,
        chance: Chance = random.random,
    ) -> None:
        """What the pipe acts through: `streams`, `bus` and `outbox` are clients in the pipe's role.

        `killed` is asked each time that records were sent, before that is noted.
        """
        self._settings = settings
        self._streams = streams
        self._put_events = bus.put_events
        self._outbox = outbox
        self._journal = journal
        self._count = count
        self._clock = clock
        self._stamped = stamped
        self._killed = killed
        self._chance = chance
        self._shards: list[_Shard] = []
        self._failures = 0

    def run(self, stopping: threading.Event) -> None:
        """Work until `stopping` is set; what is under way then is finished, what waits is not.

        Raises:
            KilledError: It was killed; another one has to go on.

        """
        while waited(stopping, self.step(), self._clock):
            pass

    def step(self) -> float:
        """Do what is next, and return after how many seconds there may be more to do."""
        try:
            # Listed once: MiniStack has one shard per stream and never splits it.
            self._shards = self._shards or self._list_shards()
        except AWS_ERRORS as error:
            self._failures += 1
            _log.warning("%s: %s", self._settings.arn, error)
            return _BACKOFF.wait(self._failures, self._chance())
        return min((shard.step() for shard in self._shards), default=_IDLE.longest)

    def _list_shards(self) -> list[_Shard]:
        stream = self._streams.describe_stream(StreamArn=self._settings.stream_arn)["StreamDescription"]
        return [self._shard(shard["ShardId"]) for shard in stream["Shards"]]

    def _shard(self, shard_id: str) -> _Shard:
        return _Shard(
            shard_id,
            self._settings,
            streams=self._streams,
            put=self._put,
            bury=self._bury,
            journal=self._journal,
            clock=self._clock,
            stamped=self._stamped,
            killed=self._killed,
            chance=self._chance,
        )

    def _put(self, batch: Batch) -> dict[str, Failed]:
        """Why which records were not taken, by sequence number."""
        failed: dict[str, Failed] = {}
        entries: dict[str, dict[str, str]] = {}
        for record in batch.records:
            try:
                entries[record.sequence] = self._entry(record)
            except TransformError:
                # Not its message, which quotes the record.
                failed[record.sequence] = Failed(reason="the input template makes no JSON of it", counts=True)
        self._count("Invocations", 1)
        if batch.waits == 0:
            self._count("EventCount", len(batch.records))
        failed |= self._sent(entries) if entries else {}
        if failed:
            complete = len(failed) == len(batch.records)
            self._count("ExecutionFailed" if complete else "ExecutionPartiallyFailed", 1)
            for sequence, failure in failed.items():
                _log.warning("%s: record %s: %s", self._settings.arn, sequence, failure.reason)
        return failed

    def _entry(self, record: Record) -> dict[str, str]:
        settings = self._settings
        detail = (
            json.dumps(record.event)
            if settings.template is None
            else pipe_input(
                record.event,
                template=settings.template,
                pipe_arn=settings.arn,
                source_arn=settings.stream_arn,
                target_arn=settings.bus_arn,
                ingestion_time=retry.iso(record.created),
            )
        )
        return {
            "EventBusName": settings.bus_arn,
            "Source": settings.source,
            "DetailType": settings.detail_type,
            "Detail": detail,
        }

    def _sent(self, entries: Mapping[str, dict[str, str]]) -> dict[str, Failed]:
        try:
            results = put_events(list(entries.values()), self._put_events)["Entries"]
        except AWS_ERRORS as error:
            return dict.fromkeys(entries, Failed(reason=str(error), counts=not retry.passes(error)))
        return {
            sequence: Failed(
                reason=f"{result['ErrorCode']}: {result.get('ErrorMessage', '')}",
                counts=not retry.is_passing(result["ErrorCode"]),
            )
            for sequence, result in zip(entries, results, strict=True)
            if "ErrorCode" in result
        }

    def _bury(self, shard_id: str, batch: Batch) -> bool:
        """Dead-letter a batch; False if that has to be tried again, since its records are still in the stream."""
        if self._settings.dead_letters is None:
            _log.warning("%s: %d records were dropped: %s", self._settings.arn, len(batch.records), batch.dead)
            return True
        letter = dead_letter(
            batch,
            pipe_arn=self._settings.arn,
            stream_arn=self._settings.stream_arn,
            shard_id=shard_id,
            now=self._clock(),
        )
        try:
            self._outbox.send_message(QueueUrl=self._settings.dead_letters, MessageBody=json.dumps(letter))
        except AWS_ERRORS as error:
            _log.warning("%s: a dead letter could not be written: %s", self._settings.arn, error)
            return False
        return True


def dead_letter(batch: Batch, *, pipe_arn: str, stream_arn: str, shard_id: str, now: float) -> dict[str, Any]:
    """What a pipe writes to its dead-letter queue: where the records are, and not what is in them.

    Records between the first and the last may have been delivered: `batchSize` says how many were not.
    """
    first, last = batch.records[0], batch.records[-1]
    return {
        "context": {"partnerResourceArn": pipe_arn, "condition": batch.dead},
        "version": "1.0",
        "timestamp": retry.iso(now),
        "DDBStreamBatchInfo": {
            "shardId": shard_id,
            "startSequenceNumber": first.sequence,
            "endSequenceNumber": last.sequence,
            "approximateArrivalOfFirstRecord": retry.iso(first.created, timespec="seconds"),
            "approximateArrivalOfLastRecord": retry.iso(last.created, timespec="seconds"),
            "batchSize": len(batch.records),
            "streamArn": stream_arn,
        },
    }


class _Shard:
    """One shard: the records that were read of it and are not done, and where to go on reading."""

    def __init__(
        self,
        shard_id: str,
        settings: PipeSettings,
        *,
        streams: Streams,
        put: Callable[[Batch], Mapping[str, Failed]],
        bury: Callable[[str, Batch], bool],
        journal: Journal,
        clock: Clock,
        stamped: Stamped,
        killed: Killed,
        chance: Chance,
    ) -> None:
        self._id = shard_id
        self._settings = settings
        self._streams = streams
        self._put = put
        self._bury = bury
        self._journal = journal
        self._clock = clock
        self._stamped = stamped
        self._killed = killed
        self._chance = chance
        self._done: str | None = (journal.read(shard_id) or {}).get("sequence")
        """The last sequence number before which nothing is left to do."""
        self._read = self._done
        self._iterator: str | None = None
        self._batches: deque[Batch] = deque()
        self._due = 0.0
        self._empty = 0
        self._failures = 0

    def step(self) -> float:
        if not self._batches:
            try:
                records = self._poll()
            except AWS_ERRORS as error:
                return self._without_records(error)
            self._failures = 0
            if not records:
                self._empty += 1
                return _IDLE.wait(self._empty)
            self._empty = 0
            self._plan(records)
        elif (wait := self._due - self._clock()) > 0:
            return wait
        else:
            self._work()
            if self._killed():
                raise KilledError
        self._checkpoint()
        return max(0.0, self._due - self._clock()) if self._batches else 0.0

    def _poll(self) -> Sequence[Mapping[str, Any]]:
        if self._iterator is None:
            position = {"ShardIteratorType": "TRIM_HORIZON"}
            if self._read is not None:
                position = {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": self._read}
            self._iterator = self._streams.get_shard_iterator(
                StreamArn=self._settings.stream_arn, ShardId=self._id, **position
            )["ShardIterator"]
        page = self._streams.get_records(ShardIterator=self._iterator, Limit=_PAGE)
        self._iterator = page.get("NextShardIterator")
        return page["Records"]

    def _without_records(self, error: AwsError) -> float:
        """Nothing is lost by an error of the stream: what was not read is read later."""
        self._iterator = None
        self._failures += 1
        _log.warning("%s: %s", self._settings.arn, error)
        if retry.code(error) == "TrimmedDataAccessException":
            # The stream has dropped what comes after the checkpoint, or after what was read: on with the oldest it has.
            self._read = None
        return _BACKOFF.wait(self._failures, self._chance())

    def _plan(self, page: Sequence[Mapping[str, Any]]) -> None:
        """Put what passes the filter into batches."""
        wanted: list[Record] = []
        for raw in page:
            event = stream_event(raw, self._settings.stream_arn)
            sequence = raw["dynamodb"]["SequenceNumber"]
            if not self._settings.filters or any(patterns.matches(one, event) for one in self._settings.filters):
                created = self._stamped(raw["dynamodb"]["ApproximateCreationDateTime"].timestamp())
                wanted.append(Record(sequence=sequence, previous=self._read, created=created, event=event))
            self._read = sequence
        size = self._settings.batch_size
        for first in range(0, len(wanted), size):
            self._batches.append(Batch(records=tuple(wanted[first : first + size])))

    def _work(self) -> None:
        settings = self._settings
        batch, *young = expire(self._batches.popleft(), max_age=settings.max_age, now=self._clock())
        self._batches.extendleft(young)
        left: list[Batch] = []
        if batch.dead:
            if not self._bury(self._id, batch):
                left = [replace(batch, waits=batch.waits + 1)]
        elif failed := self._put(batch):
            left = after_failure(batch, failed, attempts=settings.attempts, bisect=settings.bisect)
        self._batches.extendleft(reversed(left))
        if left and left[0].waits:
            self._due = self._clock() + _BACKOFF.wait(left[0].waits, self._chance())

    def _checkpoint(self) -> None:
        done = self._batches[0].records[0].previous if self._batches else self._read
        if done != self._done:
            self._journal.write(self._id, {"sequence": done})
            self._done = done


def stream_event(raw: Mapping[str, Any], stream_arn: str) -> dict[str, Any]:
    """A record as boto3 reads it from a stream, in the JSON that a pipe works on."""
    return {**json.loads(json.dumps(raw, default=_as_json)), "eventSourceARN": stream_arn}


def _as_json(value: object) -> Any:
    match value:
        case datetime():
            return value.timestamp()
        case bytes():
            return base64.b64encode(value).decode()
        case _:
            raise TypeError(f"a stream record holds a {type(value).__name__}")
