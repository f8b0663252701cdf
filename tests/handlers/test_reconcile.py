"""Orders that are not confirmed in time, and those that an operator names; carrier `alpha` has 24 hours, `beta` one."""

from __future__ import annotations

import json
import socket
import uuid
from datetime import UTC, datetime, timedelta
from itertools import chain, repeat
from types import SimpleNamespace

import pytest
from botocore.exceptions import ClientError

from handlers import orders
from handlers.repository import PENDING_SHARDS
from handlers.runtime import BOUNDED
from tests.handlers.server import Answer, aws_error, forward

BUS = "orders"
CONFIRM_WITHIN = {"alpha": 24, "beta": 1}
SHIPPED_AT = "2026-02-03T12:00:00Z"
SWEEP = {"action": "sweep"}
QUARTER = timedelta(minutes=15)
# Each shard of each carrier.
TURNS = len(CONFIRM_WITHIN) * PENDING_SHARDS


def moment(hours_ago):
    return orders.timestamp(datetime.now(UTC) - timedelta(hours=hours_ago), "microseconds")


def of_shard(shard):
    """The id of an order that waits in this shard of its carrier."""
    return uuid.UUID(int=uuid.uuid4().int // PENDING_SHARDS * PENDING_SHARDS + shard)


def event_of(order):
    return {
        "source": "dynamodb.orders",
        "detail-type": "dynamodb-orders-stream",
        "detail": {
            "eventName": "INSERT",
            "order": {"id": order.order_id, "state": "pending", "carrier": order.carrier},
        },
    }


@pytest.fixture(scope="session")
def bus(ministack, failures):
    """A bus of which a queue keeps every event."""
    events, sqs = ministack.client("events"), ministack.client("sqs")
    events.create_event_bus(Name=BUS)
    url = sqs.create_queue(QueueName="emitted")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    events.put_rule(Name="all", EventBusName=BUS, EventPattern=json.dumps({"source": [{"exists": True}]}))
    events.put_targets(Rule="all", EventBusName=BUS, Targets=[{"Id": "queue", "Arn": arn}])
    return type(failures)(sqs, url)


@pytest.fixture(scope="session")
def overdue_queue(ministack, failures):
    sqs = ministack.client("sqs")
    return type(failures)(sqs, sqs.create_queue(QueueName="overdue")["QueueUrl"])


@pytest.fixture
def emitted(bus):
    """The events on the bus since the last look."""
    bus.take()
    return lambda: [
        {name: event[name] for name in ("source", "detail-type", "detail")}
        for event in sorted(bus.take(), key=lambda event: event["time"])
    ]


@pytest.fixture
def overdue(overdue_queue):
    """The queue of overdue orders, empty."""
    overdue_queue.take()
    return overdue_queue


@pytest.fixture(scope="session")
def reconcile_with(load, context, table, bus, overdue_queue):
    """The function, under further environment variables, with this much time left at each look, and at this time."""

    def made(left=(), now=None, **further):
        environment = {
            "TABLE_NAME": table,
            "BUS_NAME": BUS,
            "OVERDUE_QUEUE_URL": overdue_queue.url,
            "CONFIRM_WITHIN": json.dumps(CONFIRM_WITHIN),
            **further,
        }
        module = load("reconcile", **environment)
        handler = module.handler
        if now is not None:
            module.datetime = type("Clock", (datetime,), {"now": staticmethod(now.astimezone)})
        times = iter(left)
        timed = SimpleNamespace(**vars(context), get_remaining_time_in_millis=lambda: next(times, 180_000))
        return lambda event: handler(event, timed)

    return made


@pytest.fixture(scope="session")
def reconcile(reconcile_with):
    return reconcile_with()


@pytest.fixture(autouse=True)
def _nothing_waits(ministack, table):
    """A sweep takes up whatever is in the table, so each test begins with an empty index."""
    dynamodb = ministack.client("dynamodb")
    pages = dynamodb.get_paginator("scan").paginate(TableName=table, IndexName="pending")
    for item in [item for page in pages for item in page["Items"]]:
        dynamodb.delete_item(TableName=table, Key={"PK": item["PK"]})


@pytest.fixture
def place(store, client, ministack, table):
    """Store an order that has waited for some hours, after so many re-emissions."""

    def place(hours=0.0, carrier="alpha", *, reemissions=None, order_id=None):
        order = store.create(
            orders.place(
                client=client,
                key=None,
                body={"carrier": carrier},
                default_carrier="unused",
                placed_at=datetime.now(UTC) - timedelta(hours=hours),
                random_id=order_id or uuid.uuid4(),
            )
        )
        if reemissions is not None:
            ministack.client("dynamodb").update_item(
                TableName=table,
                Key={"PK": {"S": order.order_id}},
                UpdateExpression="SET reemissions = :count",
                ExpressionAttributeValues={":count": {"N": str(reemissions)}},
            )
        return order

    return place


@pytest.fixture
def age(ministack, table):
    """Let a pending order have waited for some hours more."""

    def age(order, hours):
        ministack.client("dynamodb").update_item(
            TableName=table,
            Key={"PK": {"S": order.order_id}},
            UpdateExpression="SET pending_since = :since",
            ConditionExpression="attribute_exists(pending_since)",
            ExpressionAttributeValues={":since": {"S": moment(hours)}},
        )

    return age


# The sweep


def test_what_is_past_its_carriers_time_is_emitted_again_as_the_pipe_did(reconcile, place, emitted, overdue, counted):
    late = [place(24.1), place(1.1, "beta")]
    for hours, carrier in [(23.9, "alpha"), (0.9, "beta")]:
        place(hours, carrier)
    assert reconcile(SWEEP) == {"overdue": 2, "emitted": 2, "unconfirmed": 0}
    assert sorted(emitted(), key=str) == sorted(map(event_of, late), key=str)
    assert sorted(counted()) == ["OrderOverdue"] * 2 + ["OrderReemitted"] * 2
    assert overdue.take() == []


def test_an_order_that_was_emitted_again_waits_its_whole_time_anew(reconcile, place, emitted, age):
    order = place(30)
    reconcile(SWEEP)
    assert reconcile(SWEEP)["overdue"] == 0
    age(order, 23.9)
    assert reconcile(SWEEP)["overdue"] == 0
    age(order, 24.1)
    assert reconcile(SWEEP)["emitted"] == 1
    assert emitted() == [event_of(order)] * 2


def test_after_three_times_an_order_goes_to_a_person_once(reconcile, place, emitted, overdue, age, item, counted):
    order = place(30)
    for _ in range(3):
        assert reconcile(SWEEP) == {"overdue": 1, "emitted": 1, "unconfirmed": 0}
        age(order, 30)
    counted()
    assert reconcile(SWEEP) == {"overdue": 1, "emitted": 0, "unconfirmed": 1}
    assert counted() == ["OrderUnconfirmed", "OrderOverdue"]
    assert reconcile(SWEEP) == {"overdue": 0, "emitted": 0, "unconfirmed": 0}
    assert len(emitted()) == 3
    assert [record["requestPayload"] for record in overdue.take()] == [event_of(order)]
    assert item(order.order_id)["state"] == {"S": "pending"}


def test_an_order_that_was_given_up_still_ships(reconcile, place, store, overdue):
    order = place(30, reemissions=3)
    assert reconcile(SWEEP)["unconfirmed"] == 1
    store.ship(order.order_id, carrier="alpha", shipped_at=SHIPPED_AT)
    assert store.read(order.order_id).state == "shipped"


def test_the_record_of_an_overdue_order_is_one_of_lambdas(reconcile, place, overdue, context):
    order = place(30, reemissions=3)
    before = datetime.now(UTC).replace(microsecond=0)
    reconcile(SWEEP)
    (record,) = overdue.take()
    assert before <= datetime.fromisoformat(record.pop("timestamp")) <= datetime.now(UTC)
    assert record == {
        "version": "1.0",
        "requestContext": {
            "requestId": "invocation-1",
            "functionArn": context.invoked_function_arn,
            "condition": "Unconfirmed",
            "approximateInvokeCount": 1,
        },
        "requestPayload": event_of(order),
        "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Handled"},
        "responsePayload": {
            "errorType": "Unconfirmed",
            "errorMessage": "alpha has not confirmed the order, which was emitted again 3 times",
        },
    }


@pytest.mark.parametrize("reemissions", [None, 3])
def test_orders_of_a_disabled_carrier_wait_until_it_is_enabled(
    reconcile, reconcile_with, place, emitted, overdue, item, reemissions
):
    order = place(1000, "gamma", reemissions=reemissions)
    before = item(order.order_id)
    assert reconcile(SWEEP) == {"overdue": 0, "emitted": 0, "unconfirmed": 0}
    assert item(order.order_id) == before
    enabled = reconcile_with(CONFIRM_WITHIN=json.dumps({**CONFIRM_WITHIN, "gamma": 24}))
    assert enabled(SWEEP)["overdue"] == 1
    assert (emitted(), len(overdue.take())) == (([event_of(order)], 0) if reemissions is None else ([], 1))


def test_a_shipped_order_is_left_alone(reconcile, place, store, emitted):
    order = place(30)
    store.ship(order.order_id, carrier="alpha", shipped_at=SHIPPED_AT)
    assert reconcile(SWEEP)["overdue"] == 0
    assert emitted() == []


def test_a_sweep_takes_250_of_a_carriers_shard_and_the_oldest_first(reconcile, place, emitted):
    crowd = [place(300 - number, order_id=of_shard(0)) for number in range(252)]
    others = [place(25, order_id=of_shard(3)), place(25, "beta", order_id=of_shard(0))]
    assert reconcile(SWEEP)["emitted"] == 252
    taken = {event["detail"]["order"]["id"] for event in emitted()}
    assert taken == {order.order_id for order in (*crowd[:250], *others)}
    assert reconcile(SWEEP)["emitted"] == 2


def test_a_sweep_reads_nothing_that_is_not_past_its_time(reconcile_with, serve, ministack, place, emitted):
    for number in range(30):
        place(1000, "gamma", order_id=of_shard(0))
        place(20 - number / 10, "alpha", order_id=of_shard(0))
    late = [place(25, "alpha", order_id=of_shard(0)), place(2, "beta", order_id=of_shard(0))]
    read = []

    def answer(received):
        found = forward(ministack.endpoint_url, received)
        if received.headers["x-amz-target"].endswith(".Query"):
            read.extend(item["PK"]["S"] for item in json.loads(found.body)["Items"])
        return found

    assert reconcile_with(AWS_ENDPOINT_URL_DYNAMODB=serve(answer).url)(SWEEP)["emitted"] == 2
    assert set(read) == {order.order_id for order in late}
    assert sorted(emitted(), key=str) == sorted(map(event_of, late), key=str)


# The sweep and the time it has


def first_turn():
    """A time to come at which a sweep begins with the first shard of carrier alpha."""
    cycle = QUARTER.total_seconds() * TURNS
    return datetime.fromtimestamp((datetime.now(UTC).timestamp() // cycle + 1) * cycle, UTC)


def cut_short(log):
    return [line["shards_left"] for line in log.lines if line["message"] == "Sweep cut short"]


def test_no_order_is_begun_without_the_time_to_end_it(reconcile_with, place, emitted, counted, log):
    late = [place(30 - number, order_id=of_shard(0)) for number in range(3)]
    counted()
    reconcile = reconcile_with(left=chain([50_001] * 2, repeat(50_000)), now=first_turn())
    assert reconcile(SWEEP) == {"overdue": 2, "emitted": 2, "unconfirmed": 0}
    assert {event["detail"]["order"]["id"] for event in emitted()} == {order.order_id for order in late[:2]}
    assert cut_short(log) == [TURNS]
    assert counted().count("SweepCutShort") == 1


def test_a_sweep_says_how_many_shards_it_has_not_seen_the_end_of(reconcile_with, place, log):
    place(30, order_id=of_shard(0))
    # The order, the end of its shard, the end of the next one.
    reconcile_with(left=chain([180_000] * 3, repeat(0)), now=first_turn())(SWEEP)
    assert cut_short(log) == [TURNS - 2]


def test_a_sweep_that_has_looked_at_all_says_nothing(reconcile, place, counted, log):
    place(30)
    reconcile(SWEEP)
    assert cut_short(log) == []
    assert counted() == ["OrderOverdue", "OrderReemitted"]


def test_no_shard_is_always_the_last(reconcile_with, place, emitted):
    late = [place(100, carrier, order_id=of_shard(n)) for carrier in CONFIRM_WITHIN for n in range(PENDING_SHARDS)]
    start = first_turn()
    for number in range(TURNS):
        hurried = reconcile_with(left=chain([180_000], repeat(0)), now=start + number * QUARTER)
        assert hurried(SWEEP)["emitted"] == 1
    assert {event["detail"]["order"]["id"] for event in emitted()} == {order.order_id for order in late}


# What the slowest call takes that succeeds, with the longest pauses of botocore's standard mode.
_ATTEMPTS = BOUNDED.retries["total_max_attempts"]
SLOWEST = 1000 * (
    _ATTEMPTS * (BOUNDED.connect_timeout + BOUNDED.read_timeout) + sum(2**n for n in range(_ATTEMPTS - 1))
)


@pytest.mark.parametrize("reemissions", [None, 3], ids=["emitted again", "given up"])
@pytest.mark.parametrize("action", ["sweep", "reemit"])
def test_the_function_ends_in_time_however_slow_aws_is(
    reconcile_with, serve, ministack, place, overdue, action, reemissions
):
    named = [place(30, reemissions=reemissions).order_id for _ in range(45)]
    aws = serve(lambda received: forward(ministack.endpoint_url, received))

    def left():
        return 180_000 - SLOWEST * len(aws.received)

    reconcile = reconcile_with(left=iter(left, None), AWS_ENDPOINT_URL=aws.url)
    told = reconcile(SWEEP if action == "sweep" else {"action": "reemit", "order_ids": named})
    assert left() >= 0
    done = told["overdue"] if action == "sweep" else len(told["emitted"])
    assert 0 < done < len(named), "there was too little time for all"


def test_the_slowest_order_of_a_sweep_ends_in_time(reconcile_with, serve, ministack, place, overdue):
    """It has a page of its own and is given up, after others were claimed whose event is still to be put."""
    for number in range(18):
        place(50 - number, reemissions=None if number < 8 else 3, order_id=of_shard(0))

    def one_a_page(received):
        if received.headers.get("x-amz-target", "").endswith(".Query"):
            body = json.dumps({**json.loads(received.body), "Limit": 1}).encode()
            headers = {**received.headers, "content-length": str(len(body))}
            received = received._replace(body=body, headers=headers)
        return forward(ministack.endpoint_url, received)

    aws = serve(one_a_page)

    def left():
        return 180_000 - SLOWEST * len(aws.received)

    reconcile = reconcile_with(left=iter(left, None), now=first_turn(), AWS_ENDPOINT_URL=aws.url)
    assert 0 < reconcile(SWEEP)["overdue"] < 18
    assert left() >= 0


# The sweep under failures


def entries(*codes):
    """A bus that takes each entry whose code is None."""
    results = [{"EventId": "1"} if code is None else {"ErrorCode": code, "ErrorMessage": "Sorry"} for code in codes]
    body = {"FailedEntryCount": sum(code is not None for code in codes), "Entries": results}
    return Answer(200, json.dumps(body).encode(), "application/x-amz-json-1.1")


def test_an_event_that_is_not_taken_counts_and_comes_again_at_its_time(
    reconcile_with, reconcile, serve, place, age, emitted, item, counted, log
):
    order = place(30)
    refusing = reconcile_with(AWS_ENDPOINT_URL_EVENTBRIDGE=serve(lambda _: entries("ThrottlingException")).url)
    assert refusing(SWEEP) == {"overdue": 1, "emitted": 0, "unconfirmed": 0}
    assert counted() == ["OrderOverdue", "OrderNotReemitted"]
    assert [line["reason"] for line in log.lines if line.get("order_id") == order.order_id] == [
        "ThrottlingException: Sorry"
    ]
    assert item(order.order_id)["reemissions"] == {"N": "1"}
    age(order, 30)
    assert reconcile(SWEEP)["emitted"] == 1
    assert emitted() == [event_of(order)]


def test_a_bus_that_refuses_everything_costs_ten_orders_one_time_each(
    reconcile_with, failing, place, item, counted, log
):
    shard = [of_shard(0) for _ in range(12)]
    late = [place(30, order_id=order_id) for order_id in shard]
    refused = reconcile_with(AWS_ENDPOINT_URL_EVENTBRIDGE=failing(aws_error("AccessDeniedException")))
    with pytest.raises(ClientError, match="AccessDenied"):
        refused(SWEEP)
    assert [("reemissions" in item(order.order_id)) for order in late].count(True) == 10
    assert set(counted()) == {"OrderOverdue"}
    assert [line["message"] for line in log.lines] == ["Reconciliation failed"]


def test_what_was_claimed_before_the_table_failed_is_emitted(reconcile_with, serve, ministack, place, emitted):
    shard = [of_shard(0) for _ in range(2)]
    first, _ = (place(30 - number, order_id=order_id) for number, order_id in enumerate(shard))

    def answer(received):
        updates = [r for r in dynamodb.received if r.headers["x-amz-target"].endswith(".UpdateItem")]
        if len(updates) > 1:
            return aws_error("AccessDeniedException")
        return forward(ministack.endpoint_url, received)

    dynamodb = serve(answer)
    with pytest.raises(ClientError, match="AccessDenied"):
        reconcile_with(AWS_ENDPOINT_URL_DYNAMODB=dynamodb.url)(SWEEP)
    assert emitted() == [event_of(first)]


@pytest.fixture(params=["refuses", "is gone"])
def no_queue(request, failing):
    """The URL of an SQS that does not take a message."""
    if request.param == "refuses":
        return failing(aws_error("AccessDenied", 403))
    with socket.create_server(("127.0.0.1", 0)) as closed:
        return f"http://127.0.0.1:{closed.getsockname()[1]}"


def test_an_order_that_cannot_be_given_up_stops_no_other_and_is_raised(
    reconcile_with, reconcile, no_queue, pauses, place, emitted, overdue, item, counted, log
):
    stuck = [place(30, reemissions=3, order_id=of_shard(0)), place(30, reemissions=3, order_id=of_shard(1))]
    late = [place(25, order_id=of_shard(shard)) for shard in (0, 1, 3)]
    before = [item(order.order_id) for order in stuck]
    counted()
    with pytest.raises(RuntimeError, match="orders that can't be given up: 2; the first: ") as raised:
        reconcile_with(AWS_ENDPOINT_URL_SQS=no_queue)(SWEEP)
    assert raised.type.__name__ == "NotGivenUpError"
    assert sorted(emitted(), key=str) == sorted(map(event_of, late), key=str)
    assert sorted(counted()) == ["OrderOverdue"] * 5 + ["OrderReemitted"] * 3
    assert {line["order_id"] for line in log.lines if line["message"] == "Order not given up"} == {
        order.order_id for order in stuck
    }
    assert [item(order.order_id) for order in stuck] == before
    assert reconcile(SWEEP) == {"overdue": 2, "emitted": 0, "unconfirmed": 2}
    assert sorted((r["requestPayload"] for r in overdue.take()), key=str) == sorted(map(event_of, stuck), key=str)


# What an operator asks for


def answer(**changes):
    return {"emitted": [], "shipped": [], "unknown": [], "failed": {}, **changes}


def test_named_orders_are_emitted_and_everything_else_is_told(reconcile, place, store, emitted, counted, item):
    pending, shipped, disabled = place(), place(), place(carrier="gamma", reemissions=2)
    store.ship(shipped.order_id, carrier="alpha", shipped_at=SHIPPED_AT)
    nobody, untouched = str(uuid.uuid4()), item(disabled.order_id)
    named = [pending.order_id, shipped.order_id, nobody, "no id", disabled.order_id, pending.order_id]
    assert reconcile({"action": "reemit", "order_ids": named}) == answer(
        emitted=[pending.order_id],
        shipped=[shipped.order_id],
        unknown=[nobody, "no id"],
        failed={disabled.order_id: "The carrier gamma is disabled"},
    )
    assert emitted() == [event_of(pending)]
    assert counted() == ["OrderReemitted"]
    assert item(pending.order_id)["pending_since"]["S"] > pending.created_at
    assert item(disabled.order_id) == untouched


def test_an_order_that_was_given_up_and_is_named_has_its_three_times_again(
    reconcile, place, age, emitted, overdue, item
):
    order = place(30, reemissions=3)
    reconcile(SWEEP)
    assert "pending_since" not in item(order.order_id)
    assert reconcile({"action": "reemit", "order_ids": [order.order_id]}) == answer(emitted=[order.order_id])
    assert reconcile(SWEEP)["overdue"] == 0
    for _ in range(3):
        age(order, 30)
        assert reconcile(SWEEP)["emitted"] == 1
    age(order, 30)
    assert reconcile(SWEEP)["unconfirmed"] == 1
    assert emitted() == [event_of(order)] * 4
    assert len(overdue.take()) == 2


def test_a_hundred_orders_go_in_requests_of_ten(reconcile_with, serve, place):
    bus = serve(lambda received: entries(*[None] * len(json.loads(received.body)["Entries"])))
    named = [place().order_id for _ in range(100)]
    reconcile = reconcile_with(AWS_ENDPOINT_URL_EVENTBRIDGE=bus.url)
    assert reconcile({"action": "reemit", "order_ids": named}) == answer(emitted=named)
    assert len(bus.received) == 10


def test_of_a_partly_refused_request_each_order_has_its_own_fate(reconcile_with, serve, place, item):
    first, second = place(30, reemissions=3), place(30, reemissions=3)
    bus = serve(lambda _: entries("InternalFailure", None))
    named = [first.order_id, second.order_id]
    assert reconcile_with(AWS_ENDPOINT_URL_EVENTBRIDGE=bus.url)({"action": "reemit", "order_ids": named}) == answer(
        emitted=[second.order_id], failed={first.order_id: "InternalFailure: Sorry"}
    )
    assert item(first.order_id)["pending_since"]["S"] == first.created_at, "it is listed again"
    assert item(second.order_id)["pending_since"]["S"] > moment(1)
    assert not any("reemissions" in item(order.order_id) for order in (first, second))


def test_a_bus_that_refuses_is_told_of_each_order(reconcile_with, failing, place, log):
    named = [place().order_id for _ in range(2)]
    refused = reconcile_with(AWS_ENDPOINT_URL_EVENTBRIDGE=failing(aws_error("AccessDeniedException")))
    told = refused({"action": "reemit", "order_ids": named})
    assert told["failed"].keys() == set(named)
    assert all("AccessDeniedException" in reason for reason in told["failed"].values())
    assert told["emitted"] == []
    assert [line["message"] for line in log.lines] == ["Orders not emitted"]


def test_what_there_was_no_time_for_is_told(reconcile_with, place, emitted, item):
    named = [place(1).order_id for _ in range(12)]
    # Of a batch, each order needs time for a call more than the one before it: a fifth has none, the next batch has.
    told = reconcile_with(left=[180_000] * 3 + [60_001] + [60_000] * 8)({"action": "reemit", "order_ids": named})
    late = "There was no time left: ask again"
    assert told == answer(emitted=[*named[:4], *named[10:]], failed=dict.fromkeys(named[4:10], late))
    assert len(emitted()) == 6


def test_pending_orders_of_a_time_are_emitted_oldest_first_up_to_the_limit(reconcile, place, store, emitted):
    found = [place(hours) for hours in (5, 4, 3)]
    place(6)
    place(1)
    place(4.5, "beta")
    shipped = place(4.6)
    store.ship(shipped.order_id, carrier="alpha", shipped_at=SHIPPED_AT)
    asked = {
        "action": "reemit_pending",
        "created_after": found[0].created_at,
        "created_before": found[-1].created_at,
        "carrier": "alpha",
        "limit": 2,
    }
    assert reconcile(asked) == answer(emitted=[order.order_id for order in found[:2]])
    assert reconcile(asked) == answer(emitted=[found[2].order_id])
    assert reconcile(asked) == answer()
    assert len(reconcile({**asked, "carrier": None})["emitted"]) == 1
    assert len(emitted()) == 4


def of_five_hours_ago(**changes):
    bounds = {"created_after": moment(6), "created_before": moment(4)}
    return {"action": "reemit_pending", **bounds, "limit": 1, **changes}


@pytest.mark.parametrize(
    ("refusal", "reason"),
    [
        (lambda: aws_error("AccessDeniedException"), "AccessDeniedException"),
        (lambda: entries("InternalFailure"), "InternalFailure: Sorry"),
    ],
    ids=["the request", "the entry"],
)
def test_what_the_bus_refused_is_found_again_by_whoever_repeats_the_request(
    reconcile_with, reconcile, failing, place, emitted, item, refusal, reason
):
    order, asked = place(5), of_five_hours_ago()
    before = item(order.order_id)
    refusing = reconcile_with(AWS_ENDPOINT_URL_EVENTBRIDGE=failing(refusal()))
    for _ in range(2):
        told = refusing(asked)
        assert told == answer(failed={order.order_id: told["failed"][order.order_id]})
        assert reason in told["failed"][order.order_id]
        assert item(order.order_id) == before
    assert reconcile(asked) == answer(emitted=[order.order_id])
    assert reconcile(asked) == answer()
    assert emitted() == [event_of(order)]


def test_what_is_emitted_and_not_noted_is_found_again(reconcile_with, reconcile, serve, ministack, place, emitted):
    order, asked = place(5), of_five_hours_ago()

    def answer_until_emitted(received):
        if "SET pending_shard" in json.loads(received.body).get("UpdateExpression", ""):
            return aws_error("AccessDeniedException")
        return forward(ministack.endpoint_url, received)

    with pytest.raises(ClientError, match="AccessDenied"):
        reconcile_with(AWS_ENDPOINT_URL_DYNAMODB=serve(answer_until_emitted).url)(asked)
    assert reconcile(asked) == answer(emitted=[order.order_id])
    assert emitted() == [event_of(order)] * 2


def test_orders_of_a_disabled_carrier_do_not_stand_before_the_others(reconcile, place, emitted, item):
    disabled = [place(5.5, "gamma") for _ in range(3)]
    before = [item(order.order_id) for order in disabled]
    order = place(5)
    assert reconcile(of_five_hours_ago()) == answer(emitted=[order.order_id])
    assert reconcile(of_five_hours_ago(carrier="gamma", limit=3)) == answer(
        failed={order.order_id: "The carrier gamma is disabled" for order in disabled}
    )
    assert [item(order.order_id) for order in disabled] == before
    assert emitted() == [event_of(order)]


@pytest.mark.parametrize(
    ("request_", "problem"),
    [
        ({}, "action must be sweep, reemit with order_ids, or reemit_pending"),
        ({"action": "swipe"}, "action must be sweep"),
        ({"action": "reemit"}, "action must be sweep, reemit with order_ids"),
        ({"action": "reemit", "order_ids": "x"}, "action must be sweep, reemit with order_ids"),
        ({"action": "reemit", "order_ids": []}, "order_ids must be a list of 1 to 100 texts"),
        ({"action": "reemit", "order_ids": ["x"] * 101}, "order_ids must be a list of 1 to 100 texts"),
        ({"action": "reemit", "order_ids": [5]}, "order_ids must be a list of 1 to 100 texts"),
        ({"limit": 0}, "limit must be a whole number from 1 to 1000"),
        ({"limit": 1001}, "limit must be a whole number from 1 to 1000"),
        ({"limit": True}, "limit must be a whole number from 1 to 1000"),
        ({"limit": None}, "limit must be a whole number from 1 to 1000"),
        ({"carrier": 5}, "carrier must be the name of a carrier"),
        ({"created_after": None}, "created_after is not an RFC 3339 timestamp"),
        ({"created_before": "2026-02-30T00:00:00Z"}, "created_before is not a time of the calendar"),
    ],
    ids=range(14),
)
def test_a_request_that_is_none_is_refused_in_words(reconcile, place, emitted, request_, problem):
    place(30)
    listed = {
        "action": "reemit_pending",
        "created_after": "2020-01-01T00:00:00Z",
        "created_before": "2030-01-01T00:00:00Z",
        "limit": 1,
    }
    asked = request_ if "action" in request_ or not request_ else {**listed, **request_}
    with pytest.raises(ValueError, match=problem) as refused:
        reconcile(asked)
    assert refused.type.__name__ == "InvalidRequestError"
    assert emitted() == []


def test_bounds_may_be_written_in_any_way(reconcile, place):
    order = place(1)
    at = datetime.fromisoformat(order.created_at)
    nearby = at.replace(microsecond=0)
    asked = {"action": "reemit_pending", "created_after": f"{nearby:%Y-%m-%dT%H:%M:%S}Z", "limit": 5}
    later = f"{nearby + timedelta(hours=2, seconds=1):%Y-%m-%dT%H:%M:%S}.000000001+02:00"
    assert reconcile({**asked, "created_before": later}) == answer(emitted=[order.order_id])


# What is written about it


def test_each_order_has_its_lines(reconcile, place, log):
    late, given_up = place(30), place(30, reemissions=3)
    reconcile(SWEEP)
    told = {line["order_id"]: line["message"] for line in log.lines if "order_id" in line}
    assert told == {late.order_id: "Order emitted again", given_up.order_id: "Order unconfirmed"}
    (end,) = (line for line in log.lines if line["message"] == "Sweep done")
    assert end["orders"] == {"overdue": 2, "emitted": 1, "unconfirmed": 1}


@pytest.mark.parametrize("name", ["TABLE_NAME", "BUS_NAME", "OVERDUE_QUEUE_URL", "CONFIRM_WITHIN"])
def test_a_missing_setting_stops_the_function_before_its_first_event(reconcile_with, name):
    with pytest.raises(RuntimeError, match=f"the environment variable {name} is not set"):
        reconcile_with(**{name: ""})


@pytest.mark.parametrize("value", ["{", "[]", "{}", '{"alpha": 0}', '{"alpha": "24"}', '{"alpha": true}'])
def test_times_that_are_none_stop_the_function(reconcile_with, value):
    with pytest.raises(RuntimeError, match="the environment variable CONFIRM_WITHIN"):
        reconcile_with(CONFIRM_WITHIN=value)
