"""The table: what is written, under which conditions, and what happens when DynamoDB is slow, full or gone."""

from __future__ import annotations

import json
import socket
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError
from hypothesis import given, settings
from hypothesis import strategies as st

from handlers import orders
from handlers.orders import (
    AlreadyShipped,
    Claimed,
    Exhausted,
    OtherCarriersOrder,
    Placed,
    Settled,
    ShipmentConflict,
    Shipped,
    UnknownOrder,
    Waiting,
)
from handlers.repository import PENDING_SHARDS, Repository
from handlers.runtime import BOUNDED
from tests.handlers.server import aws_error, forward

SHIPPED_AT = "2026-02-03T12:00:00Z"
FUNCTION_TIMEOUT = 10


def new_order(body=None, *, client="client", key=None, random_id=None):
    return orders.place(
        client=client,
        key=key,
        body=body or {},
        default_carrier="alpha",
        placed_at=datetime.now(UTC),
        random_id=random_id or uuid.uuid4(),
    )


def at_once(call, values):
    """The results of calls that all wait for one another before they start."""
    barrier = Barrier(len(values))

    def run(value):
        barrier.wait()
        return call(value)

    with ThreadPoolExecutor(len(values)) as pool:
        return list(pool.map(run, values))


@pytest.fixture
def index(ministack, table):
    """The ids in the index of pending orders."""
    dynamodb = ministack.client("dynamodb")
    pages = dynamodb.get_paginator("scan")
    return lambda: {
        found["PK"]["S"] for page in pages.paginate(TableName=table, IndexName="pending") for found in page["Items"]
    }


@pytest.fixture
def elsewhere(aws, table):
    """A repository whose DynamoDB is at another endpoint."""
    return lambda url: aws(lambda: Repository(table), AWS_ENDPOINT_URL=url)


# What is stored


def test_a_pending_order_as_the_pipe_and_the_index_need_it(store, item, index):
    last_shard = uuid.UUID(int=uuid.uuid4().int // PENDING_SHARDS * PENDING_SHARDS + PENDING_SHARDS - 1)
    order = new_order({"reference": "R", "items": [{"sku": "A", "quantity": 2}]}, random_id=last_shard)
    store.create(order)
    assert item(order.order_id) == {
        "PK": {"S": order.order_id},
        "state": {"S": "pending"},
        "carrier": {"S": "alpha"},
        "client": {"S": "client"},
        "request_hash": {"S": order.request_hash},
        "created_at": {"S": order.created_at},
        "pending_shard": {"S": f"alpha#{PENDING_SHARDS - 1}"},
        "pending_since": {"S": order.created_at},
        "reference": {"S": "R"},
        "items": {"L": [{"M": {"sku": {"S": "A"}, "quantity": {"N": "2"}}}]},
    }
    assert order.order_id in index()


def test_a_shipped_order_leaves_the_index(store, item, index):
    order = new_order()
    store.create(order)
    before = item(order.order_id)
    store.ship(order.order_id, carrier="alpha", shipped_at=SHIPPED_AT)
    after = item(order.order_id)
    assert before.keys() - after.keys() == {"pending_shard", "pending_since"}
    assert {name for name in after if after[name] != before.get(name)} == {"state", "shipped_at"}
    assert (after["state"], after["shipped_at"]) == ({"S": "shipped"}, {"S": SHIPPED_AT})
    assert order.order_id not in index()


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=128)
ITEMS = st.lists(st.fixed_dictionaries({"sku": TEXTS, "quantity": st.integers(1, 10_000)}), min_size=1, max_size=5)


@settings(max_examples=40)
@given(st.fixed_dictionaries({}, optional={"reference": TEXTS, "carrier": TEXTS, "items": ITEMS}), TEXTS)
def test_an_order_comes_back_as_it_was(store, body, client):
    order = new_order(body, client=client)
    assert store.create(order) == order
    assert store.read(order.order_id) == order


@pytest.mark.parametrize(
    "text",
    [
        "O'Brien",
        '"',
        "\\",
        "\\\"'",
        "😀👩‍👩‍👧",
        "\u05e9\u05dc\u05d5\u05dd\u200f abc",
        "\x00\x1f",
        "'; DROP TABLE orders;--",
        "${jndi:x}",
        "#set($x=1)$x",
        "<$.a>",
    ],
)
def test_hard_text_is_just_text(store, text):
    order = new_order({"reference": text, "carrier": text}, client=text, key="k" + str(uuid.uuid4()))
    assert store.create(order) == order
    shipped = store.ship(order.order_id, carrier=text, shipped_at=SHIPPED_AT)
    assert isinstance(shipped, Shipped)
    assert store.read(order.order_id) == shipped.order
    assert shipped.order.reference == text


def test_a_lookup_of_nothing_is_none(store):
    assert store.read(str(uuid.uuid4())) is None


# Who wins


@pytest.mark.parametrize("_attempt", range(5))
def test_of_requests_with_one_key_at_once_one_places_the_order(store, item, client, _attempt):
    wanted = [new_order({"reference": "x"}, client=client, key="k") for _ in range(4)]
    stored = at_once(store.create, wanted)
    outcomes = [orders.placement(wanted=w, stored=s) for w, s in zip(wanted, stored, strict=True)]
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Placed", "Replayed", "Replayed", "Replayed"]
    assert len(set(stored)) == 1
    assert item(wanted[0].order_id)["created_at"]["S"] == stored[0].created_at


@pytest.mark.parametrize("_attempt", range(5))
def test_of_confirmations_at_once_one_wins(store, _attempt):
    order = new_order()
    store.create(order)
    outcomes = at_once(
        lambda shipped_at: store.ship(order.order_id, carrier="alpha", shipped_at=shipped_at),
        [f"2026-02-03T12:00:0{second}Z" for second in range(4)],
    )
    (winner,) = [outcome for outcome in outcomes if isinstance(outcome, Shipped)]
    assert sum(isinstance(outcome, ShipmentConflict) for outcome in outcomes) == 3
    assert store.read(order.order_id) == winner.order


def test_an_order_is_confirmed_by_its_carrier_only(store):
    order = new_order()
    store.create(order)
    assert store.ship(order.order_id, carrier="beta", shipped_at=SHIPPED_AT) == OtherCarriersOrder()
    assert store.read(order.order_id) == order


def test_a_confirmation_never_makes_an_order(store, item):
    order_id = str(uuid.uuid4())
    assert store.ship(order_id, carrier="alpha", shipped_at=SHIPPED_AT) == UnknownOrder()
    assert item(order_id) is None


# What waits for its carrier


def now():
    return orders.timestamp(datetime.now(UTC), "microseconds")


@pytest.fixture
def listed(store):
    """What the index lists of one order, up to now."""

    def find(order_id, carrier="alpha", **bounds):
        waiting = [
            found
            for shard in range(PENDING_SHARDS)
            for found in store.waiting(carrier, shard, **{"until": now(), **bounds})
        ]
        return [found for found in waiting if found.order_id == order_id]

    return find


@pytest.fixture
def placed(store):
    def place(**changes):
        return store.create(new_order(**changes))

    return place


def test_a_pending_order_waits_since_it_was_placed(placed, listed):
    order = placed()
    assert listed(order.order_id) == [Waiting(order_id=order.order_id, since=order.created_at)]


def test_an_order_is_listed_among_those_of_its_carrier(placed, listed):
    order = placed(body={"carrier": "beta"})
    assert listed(order.order_id, "beta")
    assert not listed(order.order_id, "alpha")


def test_both_bounds_of_the_wait_are_included(placed, listed):
    order = placed()
    since = order.created_at
    before, after = (
        orders.timestamp(datetime.fromisoformat(since) + timedelta(microseconds=step), "microseconds")
        for step in (-1, 1)
    )
    assert listed(order.order_id, since=since, until=since)
    assert listed(order.order_id, since=before, until=after)
    assert not listed(order.order_id, until=before)
    assert not listed(order.order_id, since=after)


def test_the_oldest_of_a_shard_come_first_and_no_page_is_missed(aws, table, serve, ministack, store):
    def one_a_page(received):
        body = json.dumps({**json.loads(received.body), "Limit": 1}).encode()
        headers = {**received.headers, "content-length": str(len(body))}
        return forward(ministack.endpoint_url, received._replace(body=body, headers=headers))

    paged = aws(lambda: Repository(table), AWS_ENDPOINT_URL=serve(one_a_page).url)
    for _ in range(3):
        store.create(new_order(random_id=uuid.UUID(int=uuid.uuid4().int // PENDING_SHARDS * PENDING_SHARDS)))
    until = now()
    found = [waiting.since for waiting in paged.waiting("alpha", 0, until=until)]
    assert found == [waiting.since for waiting in store.waiting("alpha", 0, until=until)] == sorted(found)
    assert len(found) >= 3


def test_a_claimed_order_waits_anew_and_stays_what_it_was(placed, store, item, listed):
    order = placed()
    before = item(order.order_id)
    at = now()
    assert store.claim(*listed(order.order_id), most=3, now=at) == Claimed(order)
    assert item(order.order_id) == {**before, "pending_since": {"S": at}, "reemissions": {"N": "1"}}
    assert [waiting.since for waiting in listed(order.order_id)] == [at]


def test_an_order_is_claimed_as_often_as_is_allowed_and_no_more(placed, store, item, listed):
    order = placed()
    for _ in range(2):
        assert store.claim(*listed(order.order_id), most=2, now=now()) == Claimed(order)
    before = item(order.order_id)
    assert before["reemissions"] == {"N": "2"}
    assert store.claim(*listed(order.order_id), most=2, now=now()) == Exhausted(order)
    assert item(order.order_id) == before


@pytest.mark.parametrize("_attempt", range(5))
def test_of_claims_at_once_one_wins(placed, store, item, listed, _attempt):
    order = placed()
    (waiting,) = listed(order.order_id)
    moments = [f"2030-01-01T00:00:00.00000{number}Z" for number in range(4)]
    outcomes = at_once(lambda at: store.claim(waiting, most=3, now=at), moments)
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Claimed", "Settled", "Settled", "Settled"]
    assert item(order.order_id)["reemissions"] == {"N": "1"}


def test_what_has_shipped_meanwhile_is_not_claimed(placed, store, item, listed):
    order = placed()
    (waiting,) = listed(order.order_id)
    store.ship(order.order_id, carrier="alpha", shipped_at=SHIPPED_AT)
    before = item(order.order_id)
    assert store.claim(waiting, most=3, now=now()) == Settled()
    assert item(order.order_id) == before


def test_a_claim_never_makes_an_order(store, item):
    nobody = Waiting(order_id=str(uuid.uuid4()), since=now())
    assert store.claim(nobody, most=3, now=now()) == Settled()
    store.set_aside(nobody)
    assert store.reopen(nobody.order_id, carriers=["alpha"]) is None
    store.wait_anew(new_order(random_id=uuid.UUID(nobody.order_id)), now=now())
    assert item(nobody.order_id) is None


def test_an_order_set_aside_is_pending_and_listed_no_more(placed, store, item, listed):
    order = placed()
    before = item(order.order_id)
    store.set_aside(*listed(order.order_id))
    gone = {"pending_shard", "pending_since"}
    assert item(order.order_id) == {name: value for name, value in before.items() if name not in gone}
    assert listed(order.order_id) == []
    assert store.read(order.order_id) == order
    assert isinstance(store.ship(order.order_id, carrier="alpha", shipped_at=SHIPPED_AT), Shipped)


def test_an_order_that_waits_anew_is_not_set_aside_for_its_last_turn(placed, store, listed):
    order = placed()
    (waiting,) = listed(order.order_id)
    store.wait_anew(order, now=now())
    store.set_aside(waiting)
    assert listed(order.order_id)


@pytest.mark.parametrize("aside", [True, False])
def test_a_reopened_order_waits_as_before_and_has_never_been_emitted_again(placed, store, item, listed, aside):
    order = placed()
    store.claim(*listed(order.order_id), most=1, now=now())
    if aside:
        store.set_aside(*listed(order.order_id))
    before = item(order.order_id)
    assert before["reemissions"] == {"N": "1"}
    for _ in range(2):
        assert store.reopen(order.order_id, carriers=["beta", "alpha"]) == order
        assert item(order.order_id) == {name: value for name, value in before.items() if name != "reemissions"}


@pytest.mark.parametrize("aside", [True, False])
def test_an_order_that_waits_anew_waits_as_if_it_had_just_been_placed(placed, store, item, listed, aside):
    order = placed()
    before = item(order.order_id)
    if aside:
        store.set_aside(*listed(order.order_id))
    at = now()
    store.wait_anew(order, now=at)
    assert item(order.order_id) == {**before, "pending_since": {"S": at}}
    assert listed(order.order_id)


def test_an_order_that_has_shipped_is_neither_reopened_nor_waits_anew(placed, store, item):
    order = placed()
    store.ship(order.order_id, carrier="alpha", shipped_at=SHIPPED_AT)
    before = item(order.order_id)
    assert store.reopen(order.order_id, carriers=["alpha"]).reason == f"Shipped at {SHIPPED_AT}"
    store.wait_anew(order, now=now())
    assert item(order.order_id) == before


def test_an_order_of_another_carrier_is_not_reopened(placed, store, item, listed):
    order = placed()
    store.claim(*listed(order.order_id), most=1, now=now())
    before = item(order.order_id)
    assert store.reopen(order.order_id, carriers=["beta", "gamma"]) == order
    assert item(order.order_id) == before


# When DynamoDB fails


def test_four_actions_are_enough(ministack, elsewhere, serve):
    dynamodb = serve(lambda received: forward(ministack.endpoint_url, received))
    store, order = elsewhere(dynamodb.url), new_order()
    for _ in range(2):
        store.create(order)
        store.read(order.order_id)
        waiting = [found for shard in range(PENDING_SHARDS) for found in store.waiting("alpha", shard, until=now())]
        for found in waiting:
            if found.order_id == order.order_id:
                store.claim(found, most=3, now=now())
                store.set_aside(found)
        store.reopen(order.order_id, carriers=["alpha"])
        store.wait_anew(order, now=now())
        store.ship(order.order_id, carrier="alpha", shipped_at=SHIPPED_AT)
    used = {received.headers["x-amz-target"].partition(".")[2] for received in dynamodb.received}
    assert used == {"PutItem", "GetItem", "UpdateItem", "Query"}


@pytest.fixture
def forgetful(ministack, elsewhere, serve):
    """A repository of which DynamoDB does what it is told, but the first answer is lost."""
    dynamodb = serve(
        lambda received: forward(ministack.endpoint_url, received) if len(dynamodb.received) > 1 else lose(received)
    )

    def lose(received):
        forward(ministack.endpoint_url, received)

    return elsewhere(dynamodb.url)


def test_an_order_whose_answer_was_lost_is_placed_once(forgetful, pauses):
    wanted = new_order({"reference": "x"}, key=str(uuid.uuid4()))
    assert orders.placement(wanted=wanted, stored=forgetful.create(wanted)) == Placed(wanted)
    assert len(pauses) == 1, "it was tried again"


def test_a_shipment_whose_answer_was_lost_is_a_success(forgetful, store, pauses):
    order = new_order()
    store.create(order)
    assert isinstance(forgetful.ship(order.order_id, carrier="alpha", shipped_at=SHIPPED_AT), AlreadyShipped)
    assert len(pauses) == 1, "it was tried again"


def test_a_claim_whose_answer_was_lost_is_a_claim(forgetful, store, item, pauses):
    order = store.create(new_order())
    waiting = Waiting(order_id=order.order_id, since=order.created_at)
    assert forgetful.claim(waiting, most=1, now=now()) == Claimed(order)
    assert item(order.order_id)["reemissions"] == {"N": "1"}
    assert len(pauses) == 1, "it was tried again"


@pytest.mark.parametrize(
    "code", ["ProvisionedThroughputExceededException", "ThrottlingException", "InternalServerError"]
)
def test_a_full_table_is_asked_three_times(elsewhere, serve, pauses, code):
    dynamodb = serve(lambda _: aws_error(code, 500 if code == "InternalServerError" else 400))
    store = elsewhere(dynamodb.url)
    calls = [
        lambda: store.create(new_order()),
        lambda: store.read(str(uuid.uuid4())),
        lambda: store.ship(str(uuid.uuid4()), carrier="alpha", shipped_at=SHIPPED_AT),
    ]
    for call in calls:
        dynamodb.received.clear()
        pauses.clear()
        with pytest.raises(ClientError, match=code):
            call()
        assert len(dynamodb.received) == 3
        assert len(pauses) == 2
        assert pauses[0] <= 1
        assert pauses[1] <= 2


def test_what_is_not_allowed_is_asked_once(elsewhere, serve):
    dynamodb = serve(lambda _: aws_error("AccessDeniedException"))
    with pytest.raises(ClientError, match="AccessDenied"):
        elsewhere(dynamodb.url).read(str(uuid.uuid4()))
    assert len(dynamodb.received) == 1


def test_a_silent_table_ends_in_an_error_before_the_function_does(elsewhere, pauses):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        store = elsewhere(f"http://127.0.0.1:{silent.getsockname()[1]}")
        started = time.monotonic()
        with pytest.raises(ReadTimeoutError):
            store.read(str(uuid.uuid4()))
        assert time.monotonic() - started + 3 < FUNCTION_TIMEOUT, "with the longest pauses"
    assert len(pauses) == 2


def test_the_longest_call_fits_into_the_function():
    assert BOUNDED.retries["mode"] == "standard", "whose pauses end at 1 s, 2 s, 4 s ..."
    attempts = BOUNDED.retries["total_max_attempts"]
    pauses = sum(2**n for n in range(attempts - 1))
    assert attempts * (BOUNDED.connect_timeout + BOUNDED.read_timeout) + pauses < FUNCTION_TIMEOUT
