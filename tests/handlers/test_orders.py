"""The domain alone: what is decided, without anything that stores it."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from uuid import UUID

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers import orders
from handlers.orders import (
    AlreadyShipped,
    KeyReused,
    OtherCarriersOrder,
    Placed,
    Replayed,
    ShipmentConflict,
    Shipped,
    State,
    UnknownOrder,
)

SCHEMAS = Path(__file__).parents[2] / "contracts" / "schemas"
ORDER = json.loads((SCHEMAS / "order.json").read_text())
SHIPPED_AT = json.loads((SCHEMAS / "shipment_confirmation.json").read_text())["properties"]["shipped_at"]
RANDOM = UUID("00000000-0000-4000-8000-000000000001")
NOON = datetime(2026, 2, 3, 12, tzinfo=UTC)


def place(body=None, *, client="client", key=None, random_id=RANDOM, placed_at=NOON):
    return orders.place(
        client=client, key=key, body=body or {}, default_carrier="alpha", placed_at=placed_at, random_id=random_id
    )


# Placing


def test_a_new_order_waits_for_its_carrier():
    order = place({"reference": "R", "carrier": "beta", "items": [{"sku": "A-1", "quantity": 2}]})
    assert (order.state, order.carrier, order.reference) == (State.PENDING, "beta", "R")
    assert [(item.sku, item.quantity) for item in order.items] == [("A-1", 2)]
    assert order.view() == {"order_id": str(RANDOM), "state": "pending", "reason": "Waiting for shipping"}


def test_an_empty_order_goes_to_the_default_carrier():
    order = place({})
    assert (order.carrier, order.reference, order.items) == ("alpha", None, ())


def test_without_a_key_each_order_has_the_id_it_was_given():
    assert place().order_id == str(RANDOM)


def test_with_a_key_the_id_is_never_another():
    # Ids that exist in tables: whoever changes how they are made must notice here.
    assert place(key="k", client="c").order_id == "30e848ec-a890-578c-9148-84029f3a87c4"
    assert place(key="k", client="c", body={"reference": "other"}).order_id == place(key="k", client="c").order_id


@given(st.lists(st.tuples(st.text(max_size=4), st.text(max_size=4)), min_size=2, max_size=8, unique=True))
def test_no_two_pairs_of_client_and_key_share_an_order(pairs):
    assert len({place(client=client, key=key).order_id for client, key in pairs}) == len(pairs)


@pytest.mark.parametrize(
    ("one", "other"), [(("a", "b,c"), ("a,b", "c")), (('a"', "b"), ("a", '"b')), (("", "a"), ("a", ""))]
)
def test_client_and_key_do_not_run_into_each_other(one, other):
    assert place(client=one[0], key=one[1]).order_id != place(client=other[0], key=other[1]).order_id


def test_the_hash_is_of_what_was_said_not_of_how_it_was_written():
    said = json.loads('{"reference": "x", "items": [{"sku": "A", "quantity": 1}]}')
    again = json.loads('{"items":[{"quantity":1,"sku":"A"}],"reference":"\\u0078"}')
    assert place(said).request_hash == place(again).request_hash
    assert place({}).request_hash != place({"carrier": "alpha"}).request_hash, "the default is not part of the request"


@given(st.datetimes(timezones=st.timezones()))
def test_orders_sort_by_the_instant_at_which_they_were_placed(moment):
    later = moment.astimezone(UTC) + timedelta(microseconds=1)
    first, second = place(placed_at=moment).created_at, place(placed_at=later).created_at
    assert first < second
    assert len(first) == len(second)
    assert first.endswith("Z")


def test_a_request_meets_its_own_order():
    order = place(key="k")
    assert orders.placement(wanted=order, stored=order) == Placed(order)


def test_a_repeated_request_gets_the_order_as_it_is_now():
    wanted = place({"reference": "x"}, key="k", placed_at=NOON + timedelta(seconds=9))
    stored = orders.confirm(place({"reference": "x"}, key="k"), carrier="alpha", shipped_at="2026-02-03T12:00:01Z")
    assert isinstance(stored, Shipped)
    assert orders.placement(wanted=wanted, stored=stored.order) == Replayed(stored.order)


def test_a_key_is_good_for_one_request():
    assert (
        orders.placement(wanted=place({"reference": "y"}, key="k"), stored=place({"reference": "x"}, key="k"))
        == KeyReused()
    )


def test_an_order_is_never_replayed_to_another_client():
    assert orders.placement(wanted=place(client="b"), stored=place(client="a")) == KeyReused()


# Confirming; the rules as a whole are in test_shipping.py


@pytest.mark.parametrize(
    ("order", "carrier", "shipped_at", "outcome"),
    [
        (None, "alpha", "T1", UnknownOrder),
        (place(), "beta", "T1", OtherCarriersOrder),
        (place(), "alpha", "T1", Shipped),
    ],
)
def test_a_confirmation_is_judged_by_order_and_carrier(order, carrier, shipped_at, outcome):
    assert isinstance(orders.confirm(order, carrier=carrier, shipped_at=shipped_at), outcome)


@pytest.mark.parametrize(
    ("carrier", "shipped_at", "outcome"),
    [
        ("alpha", "2026-02-03T12:00:00Z", AlreadyShipped),
        ("alpha", "2026-02-03T12:00:01Z", ShipmentConflict),
        ("beta", "2026-02-03T12:00:00Z", OtherCarriersOrder),
    ],
)
def test_a_shipped_order_stays_as_it_is(carrier, shipped_at, outcome):
    shipped = orders.confirm(place(), carrier="alpha", shipped_at="2026-02-03T12:00:00Z")
    assert isinstance(shipped, Shipped)
    assert isinstance(orders.confirm(shipped.order, carrier=carrier, shipped_at=shipped_at), outcome)


def test_a_conflict_says_which_time_was_kept():
    shipped = orders.confirm(place(), carrier="alpha", shipped_at="2026-02-03T12:00:00Z")
    assert isinstance(shipped, Shipped)
    conflict = orders.confirm(shipped.order, carrier="alpha", shipped_at="2026-02-04T12:00:00Z")
    assert conflict == ShipmentConflict(
        "The order shipped at 2026-02-03T12:00:00Z already, not at 2026-02-04T12:00:00Z"
    )


@given(st.from_regex(SHIPPED_AT["pattern"], fullmatch=True))
def test_every_view_keeps_the_contract(timestamp):
    try:
        shipped_at = orders.utc(timestamp)
    except orders.InvalidTimestampError:
        return
    shipped = orders.confirm(place(), carrier="alpha", shipped_at=shipped_at)
    assert isinstance(shipped, Shipped)
    jsonschema.validate(shipped.order.view(), ORDER)
    jsonschema.validate(place().view(), ORDER)


# Ids and timestamps


@pytest.mark.parametrize(
    "text",
    [
        "",
        str(RANDOM).upper().replace("8", "A"),
        f"{RANDOM}\n",
        str(RANDOM)[:-1],
        f"{{{RANDOM}}}",
        str(RANDOM).replace("0", "\u0660"),
    ],
)
def test_what_is_no_order_id(text):
    assert orders.is_order_id(str(RANDOM))
    assert not orders.is_order_id(text)


@pytest.mark.parametrize(
    ("timestamp", "instant"),
    [
        ("2026-02-03T04:05:06Z", "2026-02-03T04:05:06Z"),
        ("2026-02-03T04:05:06.000Z", "2026-02-03T04:05:06Z"),
        ("2026-02-03T04:05:06.120Z", "2026-02-03T04:05:06.12Z"),
        ("2026-02-03T04:05:06.123456789Z", "2026-02-03T04:05:06.123456789Z"),
        ("2026-02-03T04:05:06+05:30", "2026-02-02T22:35:06Z"),
        ("2026-02-03T04:05:06-00:00", "2026-02-03T04:05:06Z"),
        ("2026-12-31T23:30:00.5-01:00", "2027-01-01T00:30:00.5Z"),
        ("2024-02-29T00:00:00Z", "2024-02-29T00:00:00Z"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
    ],
)
def test_an_instant_has_one_spelling(timestamp, instant):
    assert orders.utc(timestamp) == instant


@pytest.mark.parametrize(
    "timestamp",
    [
        "2026-02-30T00:00:00Z",
        "2025-02-29T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "2026-02-03T24:00:00Z",
        "2026-06-30T23:59:60Z",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+00:01",
        "9999-12-31T23:59:59-00:01",
    ],
)
def test_a_time_that_no_calendar_has_is_refused_with_the_reason(timestamp):
    with pytest.raises(orders.InvalidTimestampError, match=r"^is not a time of the calendar: .*(range|must be in)"):
        orders.utc(timestamp)


@pytest.mark.parametrize(
    "timestamp",
    [
        "",
        "yesterday",
        "2026-02-03",
        "2026-02-03T04:05:06",
        "2026-02-03 04:05:06Z",
        "2026-02-03T04:05:06z",
        "2026-02-03T04:05:06.Z",
        "2026-02-03T04:05:06.1234567890Z",
        "2026-02-03T04:05:06+24:00",
        "2026-02-03T04:05:06Z\n",
        "20\u06626-02-03T04:05:06Z",
        "2026-02-03T04:05:06Z' OR '1'='1",
    ],
)
def test_what_is_no_timestamp_is_refused_without_repeating_it(timestamp):
    with pytest.raises(orders.InvalidTimestampError, match=r"^is not an RFC 3339 timestamp$"):
        orders.utc(timestamp)


@given(st.integers(-(10**15), 10**15), st.integers(-23 * 60 - 59, 23 * 60 + 59))
def test_the_offset_does_not_matter_but_the_instant_does(microseconds, offset):
    moment = (NOON + timedelta(microseconds=microseconds)).astimezone(timezone(timedelta(minutes=offset)))
    normal = orders.utc(moment.isoformat())
    assert datetime.fromisoformat(normal) == moment
    assert orders.utc(normal) == normal


@given(st.from_regex(SHIPPED_AT["pattern"], fullmatch=True))
def test_what_the_contract_lets_pass_is_a_timestamp_or_no_time_of_the_calendar(timestamp):
    try:
        reading = orders.utc(timestamp)
    except orders.InvalidTimestampError as error:
        reading = str(error)
    assert re.search(SHIPPED_AT["pattern"], reading) or "calendar" in reading
