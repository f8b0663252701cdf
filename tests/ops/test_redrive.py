"""What a redrive does about each message: nothing is deleted before it succeeded, and nothing is done twice."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from handlers.orders import timestamp
from ops.redrive import Outcome, Redriver
from tests.ops.deployment import ORDER, OTHER, SHIPPED_AT, confirmed, created, failure, position
from tests.ops.fakes import PLACED_AT, Aws, record, refusal

LATER = "2026-03-02T08:00:00Z"
REEMIT = ("reconcile", {"action": "reemit", "order_ids": [ORDER]})


@pytest.fixture
def aws():
    return Aws()


def redriven(aws, queue, **options):
    """What became of each message, as (id, outcome, reason)."""
    results = list(Redriver(aws.stack).run(aws.stack.exports.queue(queue), **options))
    return [(result.letter.id, result.outcome, result.reason) for result in results]


def outcomes(aws, queue, **options):
    return [outcome for _, outcome, _ in redriven(aws, queue, **options)]


# --- orders


NEW_ORDERS = {"acme-dead-letters": created(), "overdue": failure(created(), condition="Unconfirmed")}


@pytest.mark.parametrize("queue", NEW_ORDERS)
def test_a_pending_order_is_emitted_again_and_its_message_is_gone(aws, queue):
    aws.dynamodb.place(ORDER)
    aws.sqs.put(queue, NEW_ORDERS[queue])
    assert outcomes(aws, queue) == [Outcome.REDRIVEN]
    assert aws.functions.invoked == [REEMIT]
    assert aws.sqs.ids(queue) == []
    assert redriven(aws, queue) == []
    assert aws.functions.invoked == [REEMIT]


@pytest.mark.parametrize("queue", NEW_ORDERS)
def test_a_shipped_order_is_discarded(aws, queue):
    aws.dynamodb.place(ORDER, shipped_at=SHIPPED_AT)
    aws.sqs.put(queue, NEW_ORDERS[queue])
    assert redriven(aws, queue) == [("m", Outcome.DISCARDED, "shipped already")]
    assert (aws.functions.invoked, aws.sqs.ids(queue)) == ([], [])


def test_an_order_that_ships_meanwhile_is_discarded(aws):
    aws.dynamodb.place(ORDER)
    aws.sqs.put("acme-dead-letters", created())
    aws.functions.reemitted = lambda ids: {"emitted": [], "shipped": ids, "unknown": [], "failed": {}}
    assert redriven(aws, "acme-dead-letters") == [("m", Outcome.DISCARDED, "shipped already")]
    assert aws.sqs.ids("acme-dead-letters") == []


def test_an_order_that_is_not_there_stays_with_the_reason(aws):
    aws.sqs.put("acme-dead-letters", created())
    assert redriven(aws, "acme-dead-letters") == [("m", Outcome.KEPT, f"there is no order {ORDER}")]
    assert aws.functions.invoked == []
    assert aws.sqs.ids("acme-dead-letters") == ["m"]
    assert aws.sqs.hidden == set()


def test_an_order_that_vanishes_meanwhile_stays(aws):
    aws.dynamodb.place(ORDER)
    aws.sqs.put("acme-dead-letters", created())
    aws.functions.reemitted = lambda ids: {"emitted": [], "shipped": [], "unknown": ids, "failed": {}}
    assert outcomes(aws, "acme-dead-letters") == [Outcome.KEPT]
    assert aws.sqs.ids("acme-dead-letters") == ["m"]


def test_what_fails_stays_and_what_does_not_goes(aws):
    for id_, order_id in (("m", ORDER), ("n", OTHER)):
        aws.dynamodb.place(order_id)
        aws.sqs.put("acme-dead-letters", created(order_id), id_)
    aws.functions.failing = {ORDER: "The carrier acme is disabled"}
    assert redriven(aws, "acme-dead-letters") == [
        ("m", Outcome.KEPT, f"{ORDER}: The carrier acme is disabled"),
        ("n", Outcome.REDRIVEN, "sent to its carrier again"),
    ]
    assert aws.sqs.ids("acme-dead-letters") == ["m"]
    assert aws.sqs.hidden == {"receipt of n"}


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        ({"errorType": "ClientError", "errorMessage": "no table"}, "failed: ClientError: no table"),
        ("text", "failed: Unhandled"),
    ],
)
@pytest.mark.parametrize("queue", ["acme-dead-letters", "acme-undelivered"])
def test_a_function_that_fails_keeps_the_message(aws, queue, error, reason):
    aws.dynamodb.place(ORDER)
    aws.sqs.put(queue, created() if queue == "acme-dead-letters" else confirmed())
    aws.functions.error = error
    [(_, outcome, said)] = redriven(aws, queue)
    assert outcome is Outcome.KEPT
    assert said.endswith(reason)
    assert aws.sqs.ids(queue) == ["m"]
    aws.functions.error = None
    assert outcomes(aws, queue) == [Outcome.REDRIVEN]
    assert aws.sqs.ids(queue) == []


def test_a_function_that_can_not_be_invoked_keeps_the_message(aws):
    aws.dynamodb.place(ORDER)
    aws.sqs.put("acme-dead-letters", created())

    def refuse(**_):
        raise refusal("AccessDeniedException", "Invoke")

    aws.functions.invoke = refuse
    [(_, outcome, said)] = redriven(aws, "acme-dead-letters")
    assert (outcome, "AccessDeniedException" in said) == (Outcome.KEPT, True)


def test_one_order_in_several_messages_is_emitted_once(aws):
    aws.dynamodb.place(ORDER)
    for number in range(12):
        aws.sqs.put("acme-dead-letters", created(), f"m{number}")
    assert outcomes(aws, "acme-dead-letters") == [Outcome.REDRIVEN] * 12
    assert aws.functions.invoked == [REEMIT]
    assert aws.sqs.ids("acme-dead-letters") == []


def test_a_message_that_can_not_be_deleted_stays_and_says_so(aws):
    aws.dynamodb.place(ORDER)
    aws.sqs.put("acme-dead-letters", created())
    aws.sqs.undeletable = {"receipt of m"}
    [(_, outcome, said)] = redriven(aws, "acme-dead-letters")
    assert outcome is Outcome.KEPT
    assert said.startswith("redriven, but the message can't be deleted: ")
    assert aws.sqs.hidden == set()


# --- confirmations


CONFIRMATIONS = {"acme-undelivered": confirmed(), "acme-failures": failure(confirmed())}
CONFIRM = ("carrier-acme-confirm", confirmed())


@pytest.mark.parametrize("queue", CONFIRMATIONS)
def test_a_confirmation_is_applied_by_its_carriers_function(aws, queue):
    aws.dynamodb.place(ORDER)
    aws.sqs.put(queue, CONFIRMATIONS[queue])
    assert redriven(aws, queue) == [("m", Outcome.REDRIVEN, f"shipped at {SHIPPED_AT}")]
    assert (aws.functions.invoked, aws.sqs.ids(queue)) == ([CONFIRM], [])


@pytest.mark.parametrize("queue", CONFIRMATIONS)
def test_a_confirmation_that_was_applied_is_discarded(aws, queue):
    aws.dynamodb.place(ORDER, shipped_at=SHIPPED_AT)
    aws.sqs.put(queue, CONFIRMATIONS[queue])
    assert redriven(aws, queue) == [("m", Outcome.DISCARDED, "shipped already")]
    assert (aws.functions.invoked, aws.sqs.ids(queue)) == ([], [])


def test_a_confirmation_that_the_function_refuses_is_filed_there_and_gone_here(aws):
    aws.dynamodb.place(ORDER, shipped_at=LATER)
    aws.sqs.put("acme-undelivered", confirmed())
    aws.functions.rejects = True
    assert outcomes(aws, "acme-undelivered", dry=True) == [Outcome.REJECTED]
    assert redriven(aws, "acme-undelivered") == [("m", Outcome.REJECTED, "it is among the failures of acme")]
    assert (aws.functions.invoked, aws.sqs.ids("acme-undelivered")) == ([CONFIRM], [])


def test_a_confirmation_of_an_unknown_order_stays(aws):
    aws.sqs.put("acme-failures", failure(confirmed()))
    assert redriven(aws, "acme-failures") == [("m", Outcome.KEPT, f"there is no order {ORDER}")]
    assert aws.functions.invoked == []


@pytest.mark.parametrize(
    "error", ["ShipmentConflict", "UntrustedCaller", "OtherCarriersOrder", "MalformedConfirmation"]
)
@pytest.mark.parametrize("shipped_at", [None, SHIPPED_AT, LATER])
def test_what_was_rejected_stays_until_somebody_says_otherwise(aws, error, shipped_at):
    aws.dynamodb.place(ORDER, shipped_at=shipped_at)
    aws.sqs.put("acme-failures", failure(confirmed(), condition="Rejected", error=error, message="text"))
    reason = f"it is rejected for good: Rejected: {error}: text"
    assert redriven(aws, "acme-failures") == [("m", Outcome.KEPT, reason)]
    assert redriven(aws, "acme-failures", discard=True) == [("m", Outcome.DISCARDED, f"as you say: {reason}")]
    assert (aws.functions.invoked, aws.sqs.ids("acme-failures")) == ([], [])


def test_to_discard_does_not_delete_what_can_be_redriven_or_only_fails(aws):
    aws.dynamodb.place(ORDER)
    aws.sqs.put("acme-dead-letters", created())
    aws.functions.error = {"errorType": "E", "errorMessage": "m"}
    assert outcomes(aws, "acme-dead-letters", discard=True) == [Outcome.KEPT]
    aws.functions.error = None
    assert outcomes(aws, "acme-dead-letters", discard=True) == [Outcome.REDRIVEN]


def test_what_can_not_be_read_stays(aws):
    aws.sqs.put("acme-undelivered", "<html>")
    assert redriven(aws, "acme-undelivered") == [("m", Outcome.KEPT, "it holds no event of ours")]
    assert aws.sqs.ids("acme-undelivered") == ["m"]


# --- positions of the stream


def test_the_orders_at_a_position_are_emitted_again(aws):
    aws.dynamodb.place(ORDER)
    aws.dynamodb.place(OTHER, shipped_at=SHIPPED_AT)
    third = str(UUID(int=3))
    aws.dynamodb.place(third)
    # Sequence numbers as texts would sort otherwise.
    aws.dynamodbstreams.pages = [
        [record("99", OTHER)],
        [],
        [record("100", third, "MODIFY"), record("1000", ORDER), record("1001", third)],
    ]
    aws.sqs.put("pipe", position(first="99", last="1000"))
    assert outcomes(aws, "pipe") == [Outcome.REDRIVEN]
    assert aws.functions.invoked == [REEMIT]
    assert aws.sqs.ids("pipe") == []
    asked = aws.dynamodbstreams.asked
    assert (asked["ShardIteratorType"], asked["SequenceNumber"], asked["ShardId"]) == (
        "AT_SEQUENCE_NUMBER",
        "99",
        "shardId-1",
    )


def test_a_position_ends_where_the_next_record_is_beyond_it(aws):
    aws.dynamodb.place(ORDER)
    aws.dynamodbstreams.pages = [[record("100", ORDER), record("1001", OTHER)]]
    aws.sqs.put("pipe", position(first="100", last="1000"))
    assert outcomes(aws, "pipe") == [Outcome.REDRIVEN]
    assert aws.functions.invoked == [REEMIT]


def test_a_position_whose_orders_are_shipped_is_discarded(aws):
    aws.dynamodb.place(ORDER, shipped_at=SHIPPED_AT)
    aws.dynamodbstreams.pages = [[record("100", ORDER)]]
    aws.sqs.put("pipe", position(last="100"))
    assert redriven(aws, "pipe") == [("m", Outcome.DISCARDED, "shipped already")]


def test_a_position_of_which_one_order_fails_stays(aws):
    for order_id in (ORDER, OTHER):
        aws.dynamodb.place(order_id)
    aws.dynamodbstreams.pages = [[record("100", ORDER), record("200", OTHER)]]
    aws.sqs.put("pipe", position(last="200"))
    aws.functions.failing = {OTHER: "throttled"}
    assert redriven(aws, "pipe") == [("m", Outcome.KEPT, f"{OTHER}: throttled")]
    assert aws.sqs.ids("pipe") == ["m"]


def test_a_position_without_orders_stays(aws):
    aws.dynamodbstreams.pages = [[record("100", ORDER, "MODIFY"), record("300", ORDER, "REMOVE")]]
    aws.sqs.put("pipe", position())
    assert redriven(aws, "pipe") == [("m", Outcome.KEPT, "there is no new order at this position of the stream")]


@pytest.mark.parametrize("closed", [True, False])
def test_a_position_whose_end_is_not_found_is_past(aws, closed):
    aws.dynamodb.place(ORDER)
    aws.dynamodbstreams.pages = [[record("100", ORDER)]]
    aws.dynamodbstreams.closed = closed
    aws.sqs.put("pipe", position(last="200"))
    assert outcomes(aws, "pipe") == [Outcome.REDRIVEN]
    [(_, request)] = aws.functions.invoked
    assert request["action"] == "reemit_pending"


def test_a_position_in_somebody_elses_stream_stays(aws):
    foreign = position(stream="arn:aws:dynamodb:eu-west-1:111122223333:table/else/stream/1")
    aws.sqs.put("pipe", foreign)
    [(_, outcome, said)] = redriven(aws, "pipe")
    assert outcome is Outcome.KEPT
    assert "table/else/stream/1, which is no stream of table event-gateway-dev-orders" in said


PAST = ["TrimmedDataAccessException", "ResourceNotFoundException"]
NOTHING = {"emitted": [], "shipped": [], "unknown": [], "failed": {}}


@pytest.mark.parametrize("past", PAST)
def test_past_the_stream_the_table_says_which_orders_were_placed_then(aws, past):
    aws.dynamodbstreams.past = past
    orders = [str(UUID(int=number)) for number in range(101)]
    for number, order_id in enumerate(orders):
        aws.dynamodb.place(order_id, at=f"2026-03-01T08:00:00.000{number:03}Z")
    aws.dynamodb.place(OTHER, shipped_at=SHIPPED_AT)
    # Before and after the time of the position, and its minute before and behind.
    aws.dynamodb.place(str(UUID(int=500)), at="2026-03-01T07:58:59.999999Z")
    aws.dynamodb.place(str(UUID(int=501)), at="2026-03-01T08:01:05.000001Z")
    aws.sqs.put("pipe", position())
    [result] = Redriver(aws.stack).run(aws.stack.exports.queue("pipe"))
    assert (result.outcome, result.orders) == (Outcome.REDRIVEN, tuple(orders))
    request = {
        "action": "reemit_pending",
        "created_after": "2026-03-01T07:59:00.000Z",
        "created_before": "2026-03-01T08:01:05.000Z",
        "limit": 100,
    }
    assert aws.functions.invoked == [("reconcile", request)] * 2
    assert aws.sqs.ids("pipe") == []


def test_past_the_stream_nothing_is_asked_for_that_is_emitted_only_now(aws):
    aws.dynamodbstreams.past = PAST[0]
    now = timestamp(datetime.now(UTC))
    letter = position()
    letter["DDBStreamBatchInfo"]["approximateArrivalOfLastRecord"] = now
    aws.sqs.put("pipe", letter)
    [(_, outcome, _)] = redriven(aws, "pipe")
    assert outcome is Outcome.DISCARDED
    [(_, request)] = aws.functions.invoked
    assert now <= request["created_before"] <= timestamp(datetime.now(UTC))


def test_past_the_stream_what_fails_keeps_the_message_and_ends_the_asking(aws):
    aws.dynamodbstreams.past = PAST[0]
    orders = [str(UUID(int=number)) for number in range(101)]
    for order_id in orders:
        aws.dynamodb.place(order_id)
    aws.functions.failing = dict.fromkeys(orders, "throttled")
    aws.sqs.put("pipe", position())
    [(_, outcome, said)] = redriven(aws, "pipe")
    assert (outcome, f"{orders[0]}: throttled" in said) == (Outcome.KEPT, True)
    assert (aws.sqs.ids("pipe"), len(aws.functions.invoked)) == (["m"], 1)


def test_past_the_stream_a_message_stays_as_long_as_one_of_its_orders_fails(aws):
    aws.dynamodbstreams.past = PAST[0]
    for order_id in (ORDER, OTHER):
        aws.dynamodb.place(order_id)
    aws.functions.failing = {ORDER: "InternalFailure"}
    aws.sqs.put("pipe", position())
    for _ in range(2):
        assert redriven(aws, "pipe") == [("m", Outcome.KEPT, f"{ORDER}: InternalFailure")]
        assert aws.sqs.ids("pipe") == ["m"]
    aws.functions.failing = {}
    [result] = Redriver(aws.stack).run(aws.stack.exports.queue("pipe"))
    assert (result.outcome, result.orders) == (Outcome.REDRIVEN, (ORDER,))
    assert aws.sqs.ids("pipe") == []


def test_past_the_stream_what_fails_only_once_is_asked_for_again(aws):
    aws.dynamodbstreams.past = PAST[0]
    orders = [str(UUID(int=number)) for number in range(100)]
    for order_id in orders:
        aws.dynamodb.place(order_id)
    aws.functions.hiccups = {orders[7]: "There was no time left: ask again"}
    aws.sqs.put("pipe", position())
    [result] = Redriver(aws.stack).run(aws.stack.exports.queue("pipe"))
    assert (result.outcome, sorted(result.orders)) == (Outcome.REDRIVEN, orders)
    assert aws.sqs.ids("pipe") == []


def test_past_the_stream_an_order_of_a_disabled_carrier_keeps_the_message(aws):
    aws.dynamodbstreams.past = PAST[0]
    aws.dynamodb.place(ORDER)
    aws.dynamodb.place(OTHER, carrier="globex")
    aws.sqs.put("pipe", position())
    for _ in range(2):
        assert redriven(aws, "pipe") == [("m", Outcome.KEPT, f"{OTHER}: The carrier globex is disabled")]
        assert aws.sqs.ids("pipe") == ["m"]
    assert aws.dynamodb.items[ORDER]["pending_since"]["S"] > PLACED_AT
    aws.dynamodb.place(OTHER, carrier="globex", shipped_at=SHIPPED_AT)
    nothing = "every order of its time is shipped, or was sent again since"
    assert redriven(aws, "pipe") == [("m", Outcome.DISCARDED, nothing)]
    assert aws.sqs.ids("pipe") == []


def test_past_the_stream_an_order_that_the_function_overlooks_keeps_the_message(aws):
    aws.dynamodbstreams.past = PAST[0]
    aws.dynamodb.place(ORDER)
    aws.functions.listed = lambda request: []
    aws.sqs.put("pipe", position())
    assert redriven(aws, "pipe") == [("m", Outcome.KEPT, f"{ORDER}: it still waits, and was not sent again")]
    assert aws.sqs.ids("pipe") == ["m"]


@pytest.mark.parametrize("shipped_at", [None, SHIPPED_AT])
def test_past_the_stream_what_the_index_does_not_know_yet_is_seen_in_the_table(aws, shipped_at):
    aws.dynamodbstreams.past = PAST[0]
    aws.dynamodb.place(ORDER, shipped_at=shipped_at, at=LATER)
    aws.dynamodb.lagging = {ORDER: PLACED_AT}
    aws.functions.listed = lambda request: []
    aws.sqs.put("pipe", position())
    assert outcomes(aws, "pipe", dry=True) == [Outcome.DISCARDED]
    assert outcomes(aws, "pipe") == [Outcome.DISCARDED]
    assert aws.sqs.ids("pipe") == []


@pytest.mark.parametrize("count", [1, 100])
def test_what_was_emitted_is_not_taken_for_waiting_by_a_clock_that_is_behind(aws, count):
    aws.dynamodbstreams.past = PAST[0]
    aws.functions.behind = timedelta(seconds=30)
    now = datetime.now(UTC)
    orders = [str(UUID(int=number)) for number in range(count)]
    for order_id in orders:
        aws.dynamodb.place(order_id, at=timestamp(now - timedelta(seconds=50), "microseconds"))
    letter = position()
    letter["DDBStreamBatchInfo"]["approximateArrivalOfFirstRecord"] = timestamp(now)
    letter["DDBStreamBatchInfo"]["approximateArrivalOfLastRecord"] = timestamp(now)
    aws.sqs.put("pipe", letter)
    [result] = Redriver(aws.stack).run(aws.stack.exports.queue("pipe"))
    assert (result.outcome, result.orders) == (Outcome.REDRIVEN, tuple(orders))
    assert aws.sqs.ids("pipe") == []


def test_an_order_of_which_the_function_says_nothing_keeps_its_message(aws):
    aws.dynamodb.place(ORDER)
    aws.sqs.put("acme-dead-letters", created())
    aws.functions.reemitted = lambda ids: NOTHING
    assert redriven(aws, "acme-dead-letters") == [("m", Outcome.KEPT, f"{ORDER}: reconcile says nothing of it")]
    assert aws.sqs.ids("acme-dead-letters") == ["m"]


def test_another_error_of_the_stream_is_no_end_of_it(aws):
    aws.dynamodbstreams.past = "AccessDeniedException"
    aws.sqs.put("pipe", position())
    with pytest.raises(Exception, match="AccessDenied"):
        redriven(aws, "pipe")
    assert (aws.sqs.ids("pipe"), aws.sqs.hidden, aws.functions.invoked) == (["m"], set(), [])


# --- runs


def test_a_dry_run_tells_and_changes_nothing(aws):
    aws.dynamodb.place(ORDER)
    aws.dynamodb.place(OTHER, shipped_at=SHIPPED_AT)
    unknown = str(UUID(int=9))
    for id_, order_id in (("m", ORDER), ("n", OTHER), ("o", unknown)):
        aws.sqs.put("acme-dead-letters", created(order_id), id_)
    assert outcomes(aws, "acme-dead-letters", dry=True) == [Outcome.REDRIVEN, Outcome.DISCARDED, Outcome.KEPT]
    aws.dynamodbstreams.past = PAST[0]
    aws.sqs.put("pipe", position())
    assert outcomes(aws, "pipe", dry=True) == [Outcome.REDRIVEN]
    assert aws.dynamodb.items[ORDER]["pending_since"]["S"] == PLACED_AT
    aws.sqs.put("acme-undelivered", confirmed())
    assert outcomes(aws, "acme-undelivered", dry=True) == [Outcome.REDRIVEN]
    assert aws.functions.invoked == []
    assert aws.sqs.hidden == set()
    kept = [aws.sqs.ids(queue) for queue in ("acme-dead-letters", "pipe", "acme-undelivered")]
    assert kept == [["m", "n", "o"], ["m"], ["m"]]


def test_a_dry_run_tells_what_would_be_kept_for_a_disabled_carrier(aws):
    reason = f"{OTHER}: The carrier globex is disabled"
    aws.dynamodb.place(ORDER)
    aws.dynamodb.place(OTHER, carrier="globex")
    aws.sqs.put("overdue", failure(created(OTHER), condition="Unconfirmed"))
    assert redriven(aws, "overdue", dry=True, discard=True) == [("m", Outcome.KEPT, reason)]
    aws.dynamodbstreams.pages = [[record("100", ORDER), record("300", OTHER)]]
    aws.sqs.put("pipe", position())
    assert redriven(aws, "pipe", dry=True) == [("m", Outcome.KEPT, reason)]
    aws.dynamodbstreams.past = PAST[0]
    assert redriven(aws, "pipe", dry=True) == [("m", Outcome.KEPT, reason)]
    assert aws.functions.invoked == []
    # To discard is for what can never be redriven.
    aws.functions.failing = {OTHER: "The carrier globex is disabled"}
    assert redriven(aws, "overdue", discard=True) == [("m", Outcome.KEPT, reason)]


def test_a_dry_run_tells_that_no_order_of_a_time_is_left(aws):
    aws.dynamodbstreams.past = PAST[0]
    aws.dynamodb.place(ORDER, shipped_at=SHIPPED_AT)
    aws.sqs.put("pipe", position())
    assert outcomes(aws, "pipe", dry=True) == [Outcome.DISCARDED]
    aws.dynamodb.place(ORDER)
    assert outcomes(aws, "pipe", dry=True) == [Outcome.REDRIVEN]
    assert (aws.sqs.ids("pipe"), aws.functions.invoked) == (["m"], [])


@pytest.mark.parametrize("limit", [1, 9, 10, 11, 25])
def test_a_run_takes_no_more_than_its_limit(aws, limit):
    orders = [str(UUID(int=number)) for number in range(25)]
    for order_id in orders:
        aws.dynamodb.place(order_id)
        aws.sqs.put("acme-dead-letters", created(order_id), order_id)
    assert len(redriven(aws, "acme-dead-letters", limit=limit)) == limit
    assert aws.sqs.ids("acme-dead-letters") == orders[limit:]
    assert len(aws.sqs.hidden) == limit
    assert len(redriven(aws, "acme-dead-letters")) == 25 - limit


def test_one_message_can_be_chosen_and_the_others_are_put_back(aws):
    for number in range(15):
        order_id = str(UUID(int=number))
        aws.dynamodb.place(order_id)
        aws.sqs.put("acme-dead-letters", created(order_id), f"m{number}")
    assert redriven(aws, "acme-dead-letters", only="m12") == [("m12", Outcome.REDRIVEN, "sent to its carrier again")]
    assert len(aws.sqs.ids("acme-dead-letters")) == 14
    assert aws.sqs.hidden == {"receipt of m12"}
    assert aws.functions.invoked == [("reconcile", {"action": "reemit", "order_ids": [str(UUID(int=12))]})]


def test_a_run_that_is_broken_off_puts_back_what_it_has_not_done(aws):
    for number in range(15):
        order_id = str(UUID(int=number))
        aws.dynamodb.place(order_id)
        aws.sqs.put("acme-dead-letters", created(order_id), f"m{number}")
    run = Redriver(aws.stack).run(aws.stack.exports.queue("acme-dead-letters"))
    next(run)
    run.close()
    assert aws.sqs.ids("acme-dead-letters") == [f"m{number}" for number in range(1, 15)]
    assert aws.sqs.hidden == {"receipt of m0"}


def test_a_message_that_comes_again_within_a_run_ends_it(aws):
    aws.sqs.put("acme-dead-letters", created())
    results = Redriver(aws.stack).run(aws.stack.exports.queue("acme-dead-letters"))
    next(results)
    aws.sqs.hidden.clear()
    assert list(results) == []


def test_behind_a_message_that_comes_again_the_others_are_read(aws):
    for number in range(25):
        order_id = str(UUID(int=number))
        aws.dynamodb.place(order_id)
        aws.sqs.put("acme-dead-letters", created(order_id), f"m{number}")
    given = aws.sqs.receive_message
    url = aws.stack.exports.queue("acme-dead-letters").url
    first, second = (given(QueueUrl=url, MaxNumberOfMessages=10) for _ in range(2))
    answers = iter([first] * 15 + [second] * 15)
    aws.sqs.receive_message = lambda **request: next(answers, None) or given(**request)
    said = redriven(aws, "acme-dead-letters", dry=True)
    assert [id_ for id_, _, _ in said] == [f"m{number}" for number in range(25)]
    assert aws.sqs.hidden == set()


def test_a_queue_that_only_repeats_itself_is_left_at_last(aws):
    aws.dynamodb.place(ORDER)
    aws.sqs.put("acme-dead-letters", created())
    given = aws.sqs.receive_message

    def again(**request):
        assert len(aws.sqs.calls) < 100
        aws.sqs.hidden.clear()
        return given(**request)

    aws.sqs.receive_message = again
    assert outcomes(aws, "acme-dead-letters", dry=True) == [Outcome.REDRIVEN]
    assert len(aws.sqs.calls) > 10


def test_messages_are_asked_for_so_that_none_is_overlooked_and_all_is_known(aws):
    redriven(aws, "acme-dead-letters")
    [(_, count, request)] = aws.sqs.calls
    assert count == 10
    assert request["WaitTimeSeconds"] > 0
    assert request["MessageAttributeNames"] == ["All"]
    assert request["MessageSystemAttributeNames"] == ["SentTimestamp"]
    # Ten invocations of the longest of our functions, which has three minutes, fit in.
    assert request["VisibilityTimeout"] == 10 * 180
