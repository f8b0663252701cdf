"""The model of costs: each number that the design is chosen by, and where the prices come from."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import pytest

from bench.costs import (
    AS_PUBLISHED,
    GLUE_FAVOURING,
    NEUTRAL,
    OURS,
    Assumptions,
    Model,
    documented,
    per_million,
    plane_ratio,
    read_prices,
    total_ratio,
)
from bench.rows import EXACT

# Round prices, so that each term can be told by its digit.
PRICES = {
    "api_request": 1e-6,
    "function_request": 1e-6,
    "function_gb_second": 1e-6,
    "table_write": 1e-6,
    "bus_event": 1e-6,
    "pipe_event": 1e-6,
    "destination_call": 1e-6,
    "archive_gb": 1.0,
    "log_gb": 1.0,
}
ASSUMED = Assumptions(memory_gb=2, handler_seconds=3, glue_seconds=5, carrier_seconds=7, log_gb=11e-6, event_gb=13e-6)
MODEL = Model(prices=PRICES, assumed=ASSUMED)


def dollars(bill):
    return {name: round(price * 1e6, 9) for name, price in bill.items()}


def with_price(name, usd):
    return Model(prices={**dict.fromkeys(PRICES, 0.0), name: usd}, assumed=ASSUMED)


def test_the_base_is_two_requests_two_writes_in_table_and_index_and_two_invocations():
    # An invocation of ours: the request, 2 GB for 3 s, and 11 KB of logs.
    own = 1 + 2 * 3 + 11
    assert dollars(MODEL.base()) == {"API": 2, "table": 2, "index of waiting orders": 2, "own functions": 2 * own}
    assert dollars(MODEL.base(replace(OURS, invocations=3)))["own functions"] == pytest.approx(3 * own)


def test_events_are_billed_by_pipe_bus_and_api_destination():
    assert dollars(MODEL.plane(OURS)) == {"pipe": 1, "bus": 2, "API destination": 1}
    assert dollars(MODEL.plane(AS_PUBLISHED)) == {"pipe": 2, "bus": 3, "API destination": 1}


def test_functions_as_glue_are_three_of_which_one_waits_for_the_carrier():
    hands_on, waits = 1 + 2 * 5 + 11, 1 + 2 * 7 + 11
    assert dollars(MODEL.glue()) == {
        "stream function": hands_on,
        "carrier function": waits,
        "confirmation function": hands_on,
        "bus": 2,
    }


def test_a_batch_is_one_invocation_of_the_function_that_reads_the_stream():
    batched = Model(prices=PRICES, assumed=replace(ASSUMED, stream_batch=11))
    assert dollars(batched.glue())["stream function"] == 2
    assert dollars(batched.glue())["confirmation function"] == 22


def test_the_archive_takes_every_event_of_the_bus():
    assert dollars(MODEL.archive()) == {"archive": 26}


@pytest.mark.parametrize("name", sorted(PRICES))
def test_every_price_is_part_of_some_bill(name):
    model = with_price(name, 1.0)
    assert per_million(model.base(), model.plane(OURS), model.archive()) > 0


def test_the_ratios_divide_ours_by_the_others():
    assert plane_ratio(MODEL) == pytest.approx(4 / 6)
    ours, glue = per_million(MODEL.base(), MODEL.plane(OURS)), per_million(MODEL.base(), MODEL.glue())
    assert total_ratio(MODEL) == pytest.approx(ours / glue)
    assert ours == pytest.approx(2 + 2 + 2 + 36 + 4)


def test_the_model_has_the_numbers_that_the_design_was_chosen_by():
    """The published figures of a million orders: 4.00 dollars of events, 2.60 with a filter in the pipe."""
    model = Model(prices=read_prices(), assumed=NEUTRAL)
    assert per_million(model.plane(AS_PUBLISHED)) == pytest.approx(4.00)
    assert per_million(model.plane(OURS)) == pytest.approx(2.60)
    assert per_million(model.glue()) == pytest.approx(5.70, abs=0.005)
    assert per_million(model.base()) == pytest.approx(11.10, abs=0.005)


@pytest.mark.parametrize("row", EXACT, ids=[f"{row.name}-{number}" for number, row in enumerate(EXACT)])
def test_the_goals_of_the_model_are_met(row):
    assert round(row.value(), 6) <= row.goal


def test_what_favours_functions_makes_them_cheaper():
    neutral, favoured = (Model(prices=read_prices(), assumed=assumed) for assumed in (NEUTRAL, GLUE_FAVOURING))
    assert per_million(favoured.glue()) < per_million(neutral.glue())
    assert total_ratio(neutral) < total_ratio(favoured) < 1


def test_every_price_says_for_what_since_when_and_by_whom():
    prices = documented()
    assert prices.keys() == PRICES.keys()
    for name, price in prices.items():
        assert 0 < price["usd"] < 1, name
        assert price["unit"], name
        assert isinstance(price["read"], dt.date), name
        assert price["source"].startswith("https://"), name
