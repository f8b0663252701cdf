"""Records of a table's stream on their way to a bus: over a day in virtual time, through crashes, and on MiniStack."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from datetime import UTC, datetime

import pytest
from botocore.exceptions import EndpointConnectionError

import contracts
from sandbox.pipe import Batch, Failed, Pipe, PipeSettings, Record, after_failure, expire, stream_event
from sandbox.retry import Journal
from tests.sandbox.queues import DAY, DEAD, NOON, Clock, Crash, Sqs, SteppedJournal, Steps, aws_error, eventually

HOUR = 3600
PIPE = "arn:aws:pipes:eu-west-1:000000000000:pipe/orders-1"
STREAM = "arn:aws:dynamodb:eu-west-1:000000000000:table/orders/stream/2026-11-18T11:00:00.000"
BUS = "arn:aws:events:eu-west-1:000000000000:event-bus/orders"
SHARD = "shardId-00000000000000000000-00000000"


def settings(**changes):
    return PipeSettings(
        **{
            "arn": PIPE,
            "stream_arn": STREAM,
            "bus_arn": BUS,
            "source": "dynamodb.orders",
            "detail_type": "dynamodb-orders-stream",
            "template": contracts.pipe_input_template(),
            "filters": (contracts.pipe_filter(),),
            "batch_size": 10,
            "dead_letters": DEAD,
        }
        | changes
    )


class Streams:
    """One shard in virtual time, which keeps a record for a day and an iterator for 15 minutes.

    `errors` are raised once each, by the name of the call.
    """

    def __init__(self, clock, steps):
        self._clock = clock
        self._steps = steps
        self.records = []
        self.errors = {}
        self.calls = Counter()
        self.empty_polls = 0
        self.closed = False

    def put(self, number, event="INSERT", **attributes):
        image = {"PK": {"S": f"order-{number}"}, "state": {"S": "pending"}, "carrier": {"S": "acme"}} | attributes
        self.records.append(
            {
                "eventID": f"e{number}",
                "eventName": event,
                "eventVersion": "1.1",
                "eventSource": "aws:dynamodb",
                "awsRegion": "eu-west-1",
                "dynamodb": {
                    "ApproximateCreationDateTime": datetime.fromtimestamp(self._clock.now, UTC),
                    "Keys": {"PK": {"S": f"order-{number}"}},
                    "SequenceNumber": f"{len(self.records) + 1:021}",
                    "SizeBytes": 80,
                    "StreamViewType": "NEW_IMAGE",
                }
                | ({} if event == "REMOVE" else {"NewImage": image}),
            }
        )

    def _do(self, call, effect):
        self.calls[call] += 1
        if self.errors.get(call):
            raise self.errors[call].pop(0)
        return self._steps(effect)

    def _horizon(self):
        times = [record["dynamodb"]["ApproximateCreationDateTime"].timestamp() for record in self.records]
        return sum(self._clock.now - created >= DAY for created in times)

    def _iterator(self, position):
        return f"{position}@{self._clock.now}"

    def describe_stream(self, **request):
        assert request == {"StreamArn": STREAM}
        return self._do("describe_stream", lambda: {"StreamDescription": {"Shards": [{"ShardId": SHARD}]}})

    def get_shard_iterator(self, **request):
        def effect():
            assert (request["StreamArn"], request["ShardId"]) == (STREAM, SHARD)
            match request["ShardIteratorType"]:
                case "TRIM_HORIZON":
                    return {"ShardIterator": self._iterator(self._horizon())}
                case "AFTER_SEQUENCE_NUMBER":
                    position = int(request["SequenceNumber"])
                    if position <= self._horizon():
                        raise aws_error("TrimmedDataAccessException")
                    return {"ShardIterator": self._iterator(position)}

        return self._do("get_shard_iterator", effect)

    def get_records(self, **request):
        def effect():
            first, made = map(float, request["ShardIterator"].split("@"))
            first = int(first)
            if self._clock.now - made >= 15 * 60:
                raise aws_error("ExpiredIteratorException")
            if first < self._horizon():
                raise aws_error("TrimmedDataAccessException")
            page = self.records[first : first + request["Limit"]]
            self.empty_polls += not page
            following = {} if self.closed and not page else {"NextShardIterator": self._iterator(first + len(page))}
            return {"Records": page} | following

        return self._do("get_records", effect)


class Bus:
    """Takes events, but for what `refuses` says of an order: an exception for the request, or a code for the entry."""

    def __init__(self, steps, clock):
        self._steps = steps
        self._clock = clock
        self.refuses = lambda _order: None
        self.requests = []
        self.taken = []
        self.times = []

    def put_events(self, **request):
        orders = list(map(order_of, request["Entries"]))
        self.requests.append(orders)
        self.times.append(self._clock.now - NOON)

        def effect():
            refusals = [self.refuses(order) for order in orders]
            for refusal in refusals:
                if isinstance(refusal, Exception):
                    raise refusal
            self.taken += [
                entry for entry, refusal in zip(request["Entries"], refusals, strict=True) if refusal is None
            ]
            results = [{"ErrorCode": code, "ErrorMessage": "no"} if code else {"EventId": "id"} for code in refusals]
            return {"FailedEntryCount": sum(map(bool, refusals)), "Entries": results}

        return self._steps(effect)

    @property
    def orders(self):
        return list(map(order_of, self.taken))


def order_of(entry):
    detail = json.loads(entry["Detail"])
    return detail["order"]["id"] if "order" in detail else detail["dynamodb"]["Keys"]["PK"]["S"]


class World:
    def __init__(self, folder):
        self.clock = Clock()
        self.steps = Steps()
        self.streams = Streams(self.clock, self.steps)
        self.bus = Bus(self.steps, self.clock)
        self.sqs = Sqs(self.clock, self.steps)
        self.journal = SteppedJournal(folder / "pipe.journal", self.steps)
        self.metrics = Counter()
        self.pipe = None

    def start(self, **changes):
        self.pipe = Pipe(
            settings(**changes),
            streams=self.streams,
            bus=self.bus,
            outbox=self.sqs,
            journal=self.journal,
            count=lambda metric, amount: self.metrics.update({metric: amount}),
            clock=self.clock,
            chance=lambda: 0.0,
        )

    def run(self, until=float("inf")):
        """Let the pipe work until it finds nothing more in the stream."""
        polls, begun = self.streams.empty_polls, self.clock.now
        while self.streams.empty_polls == polls and self.clock.now < until:
            self.clock.now += self.pipe.step()
            assert self.clock.now < begun + 2 * DAY, "it goes on forever"

    @property
    def letters(self):
        return [json.loads(message["body"]) for message in self.sqs.messages(DEAD).values()]

    @property
    def checkpoint(self):
        return (self.journal.read(SHARD) or {}).get("sequence")


@pytest.fixture
def worlds(tmp_path):
    made = []

    def make():
        made.append(World(tmp_path / str(len(made))))
        return made[-1]

    yield make
    for one in made:
        one.journal.close()


@pytest.fixture
def world(worlds):
    return worlds()


def emit(world, count=1, refuses=None, **changes):
    """Put orders into the table and let the pipe bring them to the bus."""
    for number in range(1, count + 1):
        world.streams.put(number)
    if refuses:
        world.bus.refuses = refuses
    world.start(**changes)
    world.run()
    assert world.checkpoint == world.streams.records[-1]["dynamodb"]["SequenceNumber"]


def named(*numbers):
    return [f"order-{number}" for number in numbers]


def only(order, refusal):
    return lambda candidate: refusal if candidate == order else None


DENIED = aws_error("AccessDeniedException")
BROKEN = aws_error("InternalException", 500)
AWAY = EndpointConnectionError(endpoint_url="http://events")

# --- what goes to the bus ---------------------------------------------------------------------------------------------


def test_a_new_order_becomes_the_event_that_the_contract_says(world):
    emit(world)
    (entry,) = world.bus.taken
    detail = json.loads(entry.pop("Detail"))
    assert entry == {"EventBusName": BUS, "Source": "dynamodb.orders", "DetailType": "dynamodb-orders-stream"}
    assert detail == {"eventName": "INSERT", "order": {"id": "order-1", "state": "pending", "carrier": "acme"}}
    assert world.metrics == {"Invocations": 1, "EventCount": 1}
    assert world.letters == []


def test_what_the_filter_excludes_is_passed_over_for_good(world):
    world.streams.put(1)
    world.streams.put(1, "MODIFY", state={"S": "shipped"})
    world.streams.put(1, "REMOVE")
    world.streams.put(2)
    world.streams.put(3, "MODIFY")
    world.start()
    world.run()
    assert world.bus.orders == named(1, 2)
    assert world.checkpoint == f"{5:021}"


def test_any_of_several_filters_is_enough(world):
    emit(world, 4, filters=tuple(json.dumps({"dynamodb": {"Keys": {"PK": {"S": [order]}}}}) for order in named(1, 3)))
    assert world.bus.orders == named(1, 3)


@pytest.mark.parametrize(("size", "requests"), [(10, [10, 10, 5]), (3, [3] * 8 + [1]), (1, [1] * 25)])
def test_records_are_sent_in_batches_and_in_order(world, size, requests):
    emit(world, 25, batch_size=size)
    assert [len(request) for request in world.bus.requests] == requests
    assert world.bus.orders == named(*range(1, 26))


def test_more_records_than_a_page_holds_are_all_sent(world):
    emit(world, 2500)
    assert world.bus.orders == named(*range(1, 2501))
    assert world.metrics["EventCount"] == 2500


def test_a_record_is_json_with_the_arn_of_its_stream():
    clock = Clock()
    streams = Streams(clock, Steps())
    streams.put(1, photo={"B": b"\xff\x00"})
    event = stream_event(streams.records[0], STREAM)
    assert event["eventSourceARN"] == STREAM
    assert event["dynamodb"]["ApproximateCreationDateTime"] == NOON
    assert event["dynamodb"]["NewImage"]["photo"] == {"B": "/wA="}
    assert json.loads(json.dumps(event)) == event
    with pytest.raises(TypeError, match="set"):
        stream_event({"eventName": {"a"}}, STREAM)


def test_without_a_template_the_record_is_the_detail(world):
    emit(world, template=None)
    assert json.loads(world.bus.taken[0]["Detail"]) == stream_event(world.streams.records[0], STREAM)


# --- failures ---------------------------------------------------------------------------------------------------------


def test_only_the_entries_that_failed_are_sent_again(world):
    refusals = {"order-2": ["InternalFailure", "ThrottlingException"], "order-4": ["InternalFailure"]}

    def refuses(order):
        return refusals[order].pop(0) if refusals.get(order) else None

    emit(world, 5, refuses, attempts=0)
    assert world.bus.requests == [named(1, 2, 3, 4, 5), named(2, 4), named(2)]
    assert world.bus.orders == named(1, 3, 5, 4, 2)
    assert world.letters == []
    assert world.metrics == {"Invocations": 3, "EventCount": 5, "ExecutionPartiallyFailed": 2}


@pytest.mark.parametrize("code", ["NotAuthorizedForDetailTypeException", "InvalidArgument", "MalformedDetail"])
@pytest.mark.parametrize("bisect", [False, True])
def test_an_entry_that_is_refused_is_dead_lettered_after_its_retries_and_the_others_go_on(world, code, bisect):
    emit(world, 12, only("order-3", code), attempts=4, bisect=bisect)
    assert world.bus.requests == [named(*range(1, 11)), *[named(3)] * 4, named(11, 12)]
    assert world.bus.orders == named(1, 2, *range(4, 13))
    (letter,) = world.letters
    assert letter["DDBStreamBatchInfo"]["startSequenceNumber"] == f"{3:021}"


def test_a_dead_letter_says_where_the_records_are(world):
    world.streams.put(1)
    world.clock.now += 7
    emit(world, 2, lambda _: DENIED, attempts=0)
    assert world.letters == [
        {
            "context": {"partnerResourceArn": PIPE, "condition": "RetryAttemptsExhausted"},
            "version": "1.0",
            "timestamp": "2026-11-18T11:06:47.000Z",
            "DDBStreamBatchInfo": {
                "shardId": SHARD,
                "startSequenceNumber": f"{1:021}",
                "endSequenceNumber": f"{3:021}",
                "approximateArrivalOfFirstRecord": "2026-11-18T11:06:40Z",
                "approximateArrivalOfLastRecord": "2026-11-18T11:06:47Z",
                "batchSize": 3,
                "streamArn": STREAM,
            },
        }
    ]


def test_errors_of_the_customer_are_counted(world):
    emit(world, 3, lambda _: DENIED, attempts=5)
    assert world.bus.requests == [named(1, 2, 3)] * 6
    assert world.bus.times == pytest.approx([0, 0.5, 1.5, 3.5, 7.5, 15.5])
    assert [letter["DDBStreamBatchInfo"]["batchSize"] for letter in world.letters] == [3]
    assert world.metrics["ExecutionFailed"] == 6


@pytest.mark.parametrize("error", [BROKEN, AWAY, aws_error("ThrottlingException"), aws_error("Slow", 503)])
def test_errors_of_the_service_are_not_counted(world, error):
    emit(world, 3, lambda _: error if world.clock.now < NOON + 19 * HOUR else None, attempts=0, age=20 * HOUR)
    assert world.bus.orders == named(1, 2, 3)
    assert len(world.bus.requests) > 1000
    assert world.letters == []


def test_a_record_that_is_too_old_is_given_up_whatever_the_error(world):
    world.bus.refuses = lambda _: BROKEN if world.clock.now < NOON + 20.5 * HOUR else None
    world.streams.put(1)
    world.streams.put(2)
    world.clock.now += HOUR
    world.streams.put(3)
    world.start(age=20 * HOUR)
    world.run()
    (letter,) = world.letters
    assert letter["context"]["condition"] == "RecordAgeExceeded"
    assert letter["DDBStreamBatchInfo"]["batchSize"] == 2
    assert "2026-11-19T07:06:40" <= letter["timestamp"] <= "2026-11-19T07:07:40", "20 hours, and at most one wait"
    assert world.bus.orders == named(3)


def test_without_a_limit_a_record_is_given_up_when_the_stream_drops_it(world):
    world.bus.refuses = lambda _: DENIED
    world.streams.put(1)
    world.start()
    world.run(until=NOON + DAY + 70)
    assert world.letters[0]["context"]["condition"] == "RecordAgeExceeded"
    assert len(world.bus.requests) > 1400
    assert DAY - 61 < max(world.bus.times) < DAY


def test_a_record_that_fails_blocks_the_ones_after_it(world):
    world.bus.refuses = only("order-1", DENIED)
    world.streams.put(1)
    world.start()
    world.run(until=NOON + HOUR)
    world.streams.put(2)
    world.run(until=NOON + 2 * HOUR)
    assert world.bus.orders == []
    assert world.checkpoint is None
    world.bus.refuses = lambda _: None
    world.run()
    assert world.bus.orders == named(1, 2)


def test_halving_finds_the_one_that_spoils_a_request(world):
    emit(world, 10, only("order-7", DENIED), attempts=1, bisect=True)
    assert world.bus.orders == named(*range(1, 7), *range(8, 11))
    assert world.bus.requests == [
        named(*range(1, 11)),
        named(1, 2, 3, 4, 5),
        named(6, 7, 8, 9, 10),
        named(6, 7),
        named(6),
        named(7),
        named(7),
        named(8, 9, 10),
    ]
    (letter,) = world.letters
    assert letter["DDBStreamBatchInfo"]["startSequenceNumber"] == f"{7:021}"
    assert letter["DDBStreamBatchInfo"]["batchSize"] == 1


def test_a_request_that_is_too_large_is_sent_in_halves(world):
    for number in range(1, 5):
        world.streams.put(number, carrier={"S": "x" * 300_000})
    world.start(attempts=0, bisect=True)
    world.run()
    assert world.bus.requests == [named(1, 2), named(3, 4)]
    assert world.bus.orders == named(1, 2, 3, 4)
    assert world.letters == []


def test_a_record_that_the_template_cannot_take_is_dead_lettered_without_its_content_in_the_log(world, caplog):
    world.streams.put(1)
    world.streams.put(2, "REMOVE")
    world.streams.put(3)
    world.start(filters=(), attempts=2, bisect=True)
    world.run()
    assert world.bus.orders == named(1, 3)
    (letter,) = world.letters
    assert letter["DDBStreamBatchInfo"]["startSequenceNumber"] == f"{2:021}"
    assert "the input template makes no JSON of it" in caplog.text
    assert "order-2" not in caplog.text


@pytest.mark.parametrize("error", [aws_error("AccessDenied", 403), AWAY])
def test_what_cannot_be_dead_lettered_stays_in_the_stream(world, error, caplog):
    world.sqs.errors["send_message"] = [error] * 20
    world.streams.put(1)
    world.streams.put(2)
    world.bus.refuses = only("order-1", DENIED)
    world.start(attempts=0, batch_size=1)
    world.run(until=NOON + 300)
    assert world.letters == []
    assert world.checkpoint is None
    world.run()
    assert len(world.letters) == 1
    assert world.bus.requests == [["order-1"], ["order-2"]], "and the bus is not asked again"
    assert "a dead letter could not be written" in caplog.text


def test_without_a_dead_letter_queue_records_are_dropped_with_a_word(world, caplog):
    emit(world, 3, only("order-2", "InvalidArgument"), attempts=1, dead_letters=None)
    assert world.bus.orders == named(1, 3)
    assert "1 records were dropped: RetryAttemptsExhausted" in caplog.text


# --- batches ----------------------------------------------------------------------------------------------------------


def batch(*numbers, created=NOON, **changes):
    records = tuple(
        Record(sequence=str(number), previous=str(number - 1), created=created, event={}) for number in numbers
    )
    return Batch(records=records, **changes)


def sequences(batches):
    return [[record.sequence for record in one.records] for one in batches]


COUNTS, PASSES = Failed(reason="", counts=True), Failed(reason="", counts=False)


def test_an_error_that_passes_changes_only_the_wait():
    (left,) = after_failure(batch(1, 2, attempts=3, waits=4), {"2": PASSES}, attempts=3, bisect=True)
    assert left == batch(2, attempts=3, waits=5)


@pytest.mark.parametrize(("attempts", "so_far", "dead"), [(-1, 9999, False), (0, 0, True), (2, 1, False), (2, 2, True)])
def test_a_retry_is_counted_after_the_first_try(attempts, so_far, dead):
    (left,) = after_failure(batch(1, attempts=so_far), {"1": COUNTS}, attempts=attempts, bisect=False)
    assert left.attempts == so_far + 1
    assert (left.dead == "RetryAttemptsExhausted") is dead


def test_halving_uses_up_no_retry():
    failed = dict.fromkeys("12345", COUNTS)
    halves = after_failure(batch(1, 2, 3, 4, 5, attempts=1), failed, attempts=1, bisect=True)
    assert sequences(halves) == [["1", "2"], ["3", "4", "5"]]
    assert [half.attempts for half in halves] == [1, 1]
    assert not any(half.dead for half in halves)


def test_one_error_that_counts_is_enough():
    (left,) = after_failure(batch(1, 2), {"1": PASSES, "2": COUNTS}, attempts=0, bisect=False)
    assert left.dead
    assert sequences([left]) == [["1", "2"]]


def test_what_is_too_old_comes_first():
    mixed = Batch(records=batch(1, 2).records + batch(3, created=NOON + 50).records, attempts=2)
    old, young = expire(mixed, max_age=60, now=NOON + 60)
    assert sequences([old, young]) == [["1", "2"], ["3"]]
    assert (old.dead, young.dead, young.attempts) == ("RecordAgeExceeded", None, 2)
    assert expire(mixed, max_age=60, now=NOON + 59) == [mixed]
    assert sequences(expire(mixed, max_age=60, now=NOON + 200)) == [["1", "2", "3"]]
    exhausted = batch(1, dead="RetryAttemptsExhausted")
    assert expire(exhausted, max_age=60, now=NOON + 200) == [exhausted]


# --- reading the stream -----------------------------------------------------------------------------------------------


def test_an_idle_pipe_looks_again_within_50_milliseconds(world):
    world.start()
    waits = [world.pipe.step() for _ in range(10)]
    assert waits == pytest.approx([0.005, 0.01, 0.02, 0.04, *[0.05] * 6])
    world.streams.put(1)
    assert world.pipe.step() == 0
    assert world.pipe.step() == 0
    assert world.bus.orders == named(1)
    assert world.pipe.step() == 0.005


@pytest.mark.parametrize("call", ["describe_stream", "get_shard_iterator", "get_records"])
@pytest.mark.parametrize("error", [DENIED, BROKEN, AWAY, aws_error("LimitExceededException")])
def test_a_stream_that_cannot_be_read_is_waited_for(world, call, error, caplog):
    world.streams.errors[call] = [error] * 3
    emit(world, 3)
    assert world.bus.orders == named(1, 2, 3)
    assert world.clock.now == pytest.approx(NOON + 3.5, abs=0.1), "0.5, 1 and 2 seconds"
    assert PIPE in caplog.text


def test_an_iterator_that_expired_is_replaced(world):
    emit(world, 2)
    world.clock.now += 16 * 60
    world.streams.put(3)
    world.run()
    assert world.bus.orders == named(1, 2, 3)


def test_a_closed_shard_has_no_more_to_give(world):
    emit(world, 2)
    world.streams.closed = True
    for _ in range(5):
        world.pipe.step()
    assert world.bus.orders == named(1, 2)


def test_a_pipe_that_comes_back_after_its_position_is_gone_starts_with_the_oldest(world):
    emit(world, 3)
    world.clock.now += 10 * HOUR
    world.streams.put(4)
    world.clock.now += 15 * HOUR
    world.streams.put(5)
    world.start()
    world.run()
    assert world.bus.orders == named(1, 2, 3, 4, 5)


# --- going on ---------------------------------------------------------------------------------------------------------


def test_a_new_pipe_starts_with_the_oldest_record(world, worlds):
    emit(world, 3)
    other = worlds()
    other.streams = world.streams
    other.start()
    other.run()
    assert other.bus.orders == named(1, 2, 3)


def test_a_pipe_goes_on_where_it_was(world):
    emit(world, 3)
    world.streams.put(4)
    world.start()
    world.run()
    assert world.bus.orders == named(1, 2, 3, 4)
    calls = world.streams.calls["get_shard_iterator"]
    world.start()
    world.run()
    assert world.bus.orders == named(1, 2, 3, 4)
    assert world.streams.calls["get_shard_iterator"] == calls + 1


def test_the_checkpoint_stays_before_what_is_not_done(world):
    for number in range(1, 6):
        world.streams.put(number)
    world.bus.refuses = only("order-3", "InternalFailure")
    world.start()
    world.run(until=NOON + 5)
    assert world.bus.orders == named(1, 2, 4, 5)
    assert world.checkpoint == f"{2:021}"
    world.start()
    world.bus.refuses = lambda _: None
    world.run()
    assert world.bus.orders == named(1, 2, 4, 5, 3, 4, 5), "at least once"


@pytest.mark.parametrize(
    ("refuses", "lost_to_letters"),
    [
        (lambda _: None, set()),
        (only("order-5", "InvalidArgument"), {"order-5"}),
        (only("order-9", DENIED), {"order-9"}),
    ],
    ids=["delivered", "an entry refused", "a request refused"],
)
def test_a_pipe_may_die_anywhere(worlds, refuses, lost_to_letters):
    def prepared():
        world = worlds()
        for number in range(1, 13):
            world.streams.put(number, "MODIFY" if number == 2 else "INSERT")
        world.bus.refuses = refuses
        return world

    def run(world):
        world.start(attempts=1, bisect=True, batch_size=4)
        world.run()

    run(model := prepared())
    points = [(moment, number) for moment in ("dies_before", "dies_after") for number in range(model.steps.taken)]
    assert len(points) > 15
    for moment, number in points:
        world = prepared()
        setattr(world.steps, moment, number)
        with pytest.raises(Crash):
            run(world)
        world.steps.dies_before = world.steps.dies_after = None
        run(world)
        expected = [order for order in named(1, *range(3, 13)) if order not in lost_to_letters]
        first_times = list(dict.fromkeys(world.bus.orders))
        assert sorted(first_times) == sorted(expected), (moment, number)
        assert len(world.bus.orders) <= len(expected) + 4, "no more than one batch again"
        assert {
            f"order-{int(letter['DDBStreamBatchInfo']['startSequenceNumber'])}" for letter in world.letters
        } == lost_to_letters, (moment, number)
        assert world.checkpoint == f"{12:021}"


# --- on MiniStack -----------------------------------------------------------------------------------------------------


def test_orders_go_from_the_table_to_the_bus(running, tmp_path):
    dynamodb, events, sqs = (running.client(service) for service in ("dynamodb", "events", "sqs"))
    table = dynamodb.create_table(
        TableName="orders",
        KeySchema=[{"AttributeName": "PK", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "PK", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"},
    )["TableDescription"]
    bus_arn = events.create_event_bus(Name="orders")["EventBusArn"]
    url = sqs.create_queue(QueueName="received")["QueueUrl"]
    events.put_rule(Name="all", EventBusName="orders", EventPattern='{"source": ["dynamodb.orders"]}')
    arn = "arn:aws:sqs:eu-west-1:000000000000:received"
    events.put_targets(Rule="all", EventBusName="orders", Targets=[{"Id": "q", "Arn": arn}])
    received = []

    def receive():
        for message in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
            received.append(json.loads(message["Body"])["detail"]["order"])
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])

    def put(*numbers):
        for number in numbers:
            item = {"PK": {"S": f"order-{number}"}, "state": {"S": "pending"}, "carrier": {"S": 'it\'s "acme" \\ ü'}}
            dynamodb.put_item(TableName="orders", Item=item)

    def ship(number):
        dynamodb.update_item(
            TableName="orders",
            Key={"PK": {"S": f"order-{number}"}},
            UpdateExpression="SET #state = :shipped",
            ExpressionAttributeNames={"#state": "state"},
            ExpressionAttributeValues={":shipped": {"S": "shipped"}},
        )

    def work_until(condition):
        journal = Journal(tmp_path / "pipe.journal")
        pipe = Pipe(
            settings(stream_arn=table["LatestStreamArn"], bus_arn=bus_arn, bisect=True),
            streams=running.client("dynamodbstreams"),
            bus=running.client("events"),
            outbox=sqs,
            journal=journal,
        )
        stopping = threading.Event()
        thread = threading.Thread(target=pipe.run, args=(stopping,))
        thread.start()
        eventually(condition)
        stopping.set()
        thread.join()
        journal.close()

    def arrived(count):
        def condition():
            receive()
            return len(received) >= count

        return condition

    put(*range(25))
    ship(3)
    work_until(arrived(25))
    put(*range(25, 40))
    work_until(arrived(40))
    assert [order["id"] for order in received] == [f"order-{number}" for number in range(40)]
    assert {order["carrier"] for order in received} == {'it\'s "acme" \\ ü'}
    assert {order["state"] for order in received} == {"pending"}
    begun = time.monotonic()
    put(40)
    work_until(arrived(41))
    assert time.monotonic() - begun < 5
