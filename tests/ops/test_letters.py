"""What each kind of message says, and that whatever else may lie in a queue is told and never fails the reading."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.letters import Confirmation, NewOrder, StreamPosition, Unreadable, read
from ops.stack import read_exports
from tests.ops.deployment import ORDER, SHIPPED_AT, STREAM, confirmed, created, failure, message, outputs, position

EXPORTS = read_exports(outputs())


def letter(queue, body, **attributes):
    return read(EXPORTS.queue(queue), message(body, **attributes))


def test_a_rules_dead_letter_is_the_event_and_says_why_in_its_attributes():
    found = letter(
        "acme-dead-letters",
        created(),
        ERROR_CODE="THROTTLING",
        ERROR_MESSAGE="429",
        EXHAUSTED_RETRY_CONDITION="MaximumRetryAttempts",
        RETRY_ATTEMPTS="185",
    )
    assert found.subject == NewOrder(order_id=ORDER)
    assert found.order_id == ORDER
    assert found.why == "THROTTLING: 429 (after 185 retries: MaximumRetryAttempts)"
    assert (found.id, found.sent_at, found.rejected) == ("m", "2026-03-01T08:00:00.123Z", False)
    assert found.attributes["RETRY_ATTEMPTS"] == "185"


def test_what_was_not_retried_has_no_limit():
    found = letter("acme-dead-letters", created(), ERROR_CODE="NO_PERMISSIONS", ERROR_MESSAGE="no", RETRY_ATTEMPTS="0")
    assert found.why == "NO_PERMISSIONS: no"


def test_a_confirmation_has_the_time_as_it_is_stored():
    event = confirmed(shipped_at="2026-03-01T09:00:00.500+01:00")
    found = letter("acme-undelivered", event)
    assert found.subject == Confirmation(order_id=ORDER, shipped_at="2026-03-01T08:00:00.5Z", event=event)


@pytest.mark.parametrize(
    ("condition", "error", "why", "rejected"),
    [
        ("RetriesExhausted", "UnknownOrderError", "RetriesExhausted: UnknownOrderError: text", False),
        ("Rejected", "ShipmentConflict", "Rejected: ShipmentConflict: text", True),
        ("Unconfirmed", "Unconfirmed", "Unconfirmed: text", False),
    ],
)
def test_a_failure_record_holds_the_event_and_the_error(condition, error, why, rejected):
    event = created() if condition == "Unconfirmed" else confirmed()
    found = letter("acme-failures", failure(event, condition=condition, error=error, message="text"))
    assert found.order_id == ORDER
    assert (found.why, found.rejected) == (why, rejected)


def test_the_record_of_a_function_that_never_ran_has_no_error():
    record = failure(confirmed(), condition="EventAgeExceeded")
    del record["responsePayload"], record["responseContext"]
    found = letter("acme-failures", record)
    assert (found.why, found.subject) == (
        "EventAgeExceeded",
        Confirmation(order_id=ORDER, shipped_at=SHIPPED_AT, event=confirmed()),
    )


def test_a_pipes_dead_letter_is_a_position():
    found = letter("pipe", position())
    assert found.subject == StreamPosition(
        stream_arn=STREAM,
        shard_id="shardId-1",
        first="100",
        last="300",
        arrived_first="2026-03-01T08:00:00Z",
        arrived_last="2026-03-01T08:00:05Z",
    )
    assert (found.why, found.order_id) == ("RetryAttemptsExhausted", None)


@pytest.mark.parametrize(
    ("queue", "body"),
    [("acme-dead-letters", created()), ("acme-undelivered", confirmed()), ("acme-failures", {}), ("pipe", {})],
)
def test_a_message_that_gives_no_reason_has_none(queue, body):
    assert letter(queue, body).why == ""


NO_ORDER = "the event names no order"
NO_EVENT = "it holds no event of ours"
UNREADABLE = {
    "no JSON": ("acme-dead-letters", "<html>", NO_EVENT),
    "no object": ("acme-dead-letters", [1], NO_EVENT),
    "another source": ("acme-dead-letters", {**created(), "source": "carrier"}, NO_EVENT),
    "another type": ("acme-undelivered", {**confirmed(), "detail-type": "x"}, NO_EVENT),
    "no order": ("acme-dead-letters", {**created(), "detail": {"order": "x"}}, NO_ORDER),
    "no order's id": ("acme-dead-letters", created("../" + ORDER), NO_ORDER),
    "an id that is no text": ("acme-dead-letters", created(7), NO_ORDER),
    "a confirmation of nothing": ("acme-undelivered", confirmed(None), "the confirmation names no order"),
    "no time": ("acme-undelivered", confirmed(shipped_at=None), "the confirmation has no shipped_at"),
    "a wrong time": (
        "acme-undelivered",
        confirmed(shipped_at="yesterday"),
        "shipped_at is not an RFC 3339 timestamp",
    ),
    "a record of nothing": ("acme-failures", {"requestContext": []}, NO_EVENT),
    "a record of text": ("acme-failures", failure("text"), NO_EVENT),
    "no position": ("pipe", {}, "it names no position in a stream"),
    "a position that is no number": ("pipe", position(first="x"), "it names no position in a stream"),
    "a position without a time": (
        "pipe",
        {"DDBStreamBatchInfo": {**position()["DDBStreamBatchInfo"], "approximateArrivalOfLastRecord": "today"}},
        "it names no position in a stream",
    ),
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_what_is_none_of_these_is_told(case):
    queue, body, reason = UNREADABLE[case]
    found = letter(queue, body)
    assert found.subject == Unreadable(reason)
    assert found.order_id is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(
                [*created(), *failure(created()), *position(), "order", "order_id", "shipped_at", "condition"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)


@given(queue=st.sampled_from([queue.name for queue in EXPORTS.queues]), body=JSON | st.text())
def test_nothing_fails_the_reading(queue, body):
    assert isinstance(letter(queue, body).subject, Unreadable)
