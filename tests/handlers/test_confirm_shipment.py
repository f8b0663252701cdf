"""Confirmations of carrier `alpha`, as its rule hands them over."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime

import pytest
from botocore.exceptions import ClientError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from handlers import orders
from tests.handlers.conftest import CALLER, PRINCIPAL
from tests.handlers.server import aws_error

CANARY = "canary-c0ffee"
SHIPPED_AT = "2026-02-03T12:00:00Z"


def event(order_id, shipped_at=SHIPPED_AT, caller=CALLER, **detail):
    return {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": "carrier.order_shipped",
        "source": "carrier",
        "account": "111122223333",
        "time": "2026-02-03T12:00:05Z",
        "region": "eu-west-1",
        "resources": [],
        "detail": {
            "order_id": order_id,
            "shipped_at": shipped_at,
            "caller": caller,
            "received_at": 1770120005000,
            **detail,
        },
    }


@pytest.fixture(scope="session")
def confirm_with(load, aws, context, table, failures):
    """The function of carrier alpha, under further environment variables."""

    def made(**further):
        environment = {
            "TABLE_NAME": table,
            "CARRIER": "alpha",
            "CARRIER_PRINCIPAL": PRINCIPAL,
            "FAILURE_QUEUE_URL": failures.url,
            **further,
        }
        handler = load("confirm_shipment", **environment).handler
        return lambda confirmation: aws(lambda: handler(confirmation, context), **environment)

    return made


@pytest.fixture(scope="session")
def confirm(confirm_with):
    return confirm_with()


@pytest.fixture
def place(store, client):
    def place(carrier="alpha"):
        order = orders.place(
            client=client,
            key=None,
            body={"carrier": carrier},
            default_carrier="unused",
            placed_at=datetime.now(UTC),
            random_id=uuid.uuid4(),
        )
        return store.create(order)

    return place


@pytest.fixture
def order(place):
    return place()


def reasons(messages):
    return [message["responsePayload"] for message in messages]


# Shipping


def test_a_confirmation_ships_the_order(confirm, order, store, queue, counted):
    confirm(event(order.order_id, "2026-02-03T13:00:00.50+01:00"))
    assert store.read(order.order_id).reason == "Shipped at 2026-02-03T12:00:00.5Z"
    assert queue.take() == []
    assert counted() == ["OrderShipped"]


def test_the_same_confirmation_again_changes_nothing(confirm, order, item, queue, counted):
    confirm(event(order.order_id, "2026-02-03T12:00:00Z"))
    before = item(order.order_id)
    confirm(event(order.order_id, "2026-02-03T13:00:00.000+01:00", caller=f"{CALLER}-another"))
    assert item(order.order_id) == before
    assert queue.take() == []
    assert counted() == ["OrderShipped"]


# Rejecting


def test_another_time_is_a_conflict_and_the_first_stays(confirm, order, item, queue, counted):
    confirm(event(order.order_id))
    before = item(order.order_id)
    confirm(event(order.order_id, "2026-02-03T12:00:01Z"))
    assert item(order.order_id) == before
    assert reasons(queue.take()) == [
        {
            "errorType": "ShipmentConflict",
            "errorMessage": "The order shipped at 2026-02-03T12:00:00Z already, not at 2026-02-03T12:00:01Z",
        }
    ]
    assert counted() == ["OrderShipped", "ConfirmationRejected"]


def test_another_carriers_order_is_refused(confirm, place, item, queue):
    order = place(carrier="beta")
    before = item(order.order_id)
    confirm(event(order.order_id))
    assert item(order.order_id) == before
    assert reasons(queue.take()) == [
        {"errorType": "OtherCarriersOrder", "errorMessage": "The order belongs to another carrier"}
    ]


@pytest.mark.parametrize(
    "caller",
    [
        "",
        PRINCIPAL,
        "arn:aws:sts::111122223333:assumed-role/alphabet/session-1",
        "arn:aws:sts::111122223333:assumed-role/alpha-2/session-1",
        "arn:aws:sts::999999999999:assumed-role/alpha/session-1",
        "arn:aws:sts::111122223333:assumed-role/beta/alpha",
        "arn:aws:iam::111122223333:user/alpha",
    ],
)
def test_a_caller_other_than_the_carrier_is_refused(confirm, order, item, queue, caller):
    before = item(order.order_id)
    confirm(event(order.order_id, caller=caller))
    assert item(order.order_id) == before
    assert [reason["errorType"] for reason in reasons(queue.take())] == ["UntrustedCaller"]


def test_a_user_may_be_the_carrier(confirm_with, order, store):
    user = "arn:aws:iam::111122223333:user/partners/alpha"
    confirm_with(CARRIER_PRINCIPAL=user)(event(order.order_id, caller=user))
    assert store.read(order.order_id).state == "shipped"


@pytest.mark.parametrize(
    "shipped_at", ["2026-02-30T00:00:00Z", "0000-01-01T00:00:00Z", "", "yesterday", "O'Clock", "😀"]
)
def test_a_time_that_is_none_is_rejected(confirm, order, store, queue, shipped_at):
    confirm(event(order.order_id, shipped_at))
    assert store.read(order.order_id) == order
    ((reason),) = reasons(queue.take())
    assert reason["errorType"] == "MalformedConfirmation"
    assert reason["errorMessage"].startswith("shipped_at is not ")


@pytest.mark.parametrize(
    "detail",
    [
        {"order_id": None},
        {"order_id": 1},
        {"order_id": {"S": "x"}},
        {"order_id": "' OR '1'='1"},
        {"order_id": "D72604BE-2045-4C15-8D98-2BF4F79C8108A"},
        {"shipped_at": None},
        {"shipped_at": 1770120000},
        {"shipped_at": ["2026-02-03T12:00:00Z"]},
        {"caller": None},
        {"caller": [CALLER]},
    ],
)
def test_a_malformed_field_is_rejected_and_named(confirm, order, store, queue, detail):
    confirm(event(**{"order_id": order.order_id, **detail}))
    assert store.read(order.order_id) == order
    ((reason),) = reasons(queue.take())
    assert reason["errorType"] == "MalformedConfirmation"
    assert next(iter(detail)) in reason["errorMessage"]


@pytest.mark.parametrize("detail", [None, [], "text", {}, {"order_id": "e6c5599e-5c98-4b21-a4ca-859f1afd8721"}])
def test_an_event_without_its_fields_is_rejected(confirm, queue, detail):
    confirm({**event("x"), "detail": detail})
    confirm({})
    assert [reason["errorType"] for reason in reasons(queue.take())] == ["MalformedConfirmation"] * 2


def test_a_rejection_has_the_shape_of_lambdas_own_record(confirm, place, context, queue):
    rejected = event(place(carrier="beta").order_id)
    before = datetime.now(UTC).replace(microsecond=0)
    confirm(rejected)
    (record,) = queue.take()
    assert before <= datetime.fromisoformat(record.pop("timestamp")) <= datetime.now(UTC)
    assert record == {
        "version": "1.0",
        "requestContext": {
            "requestId": "invocation-1",
            "functionArn": context.invoked_function_arn,
            "condition": "Rejected",
            "approximateInvokeCount": 1,
        },
        "requestPayload": rejected,
        "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Handled"},
        "responsePayload": {"errorType": "OtherCarriersOrder", "errorMessage": "The order belongs to another carrier"},
    }


TEXT = st.text(max_size=20) | st.sampled_from([CALLER, SHIPPED_AT, "\ud800", "😀'\"\\\x00"])


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.recursive(st.none() | st.integers() | TEXT, lambda v: st.dictionaries(TEXT, v) | st.lists(v), max_leaves=4), TEXT
)
def test_whatever_comes_is_kept_word_for_word(confirm, queue, detail, text):
    odd = {**event(str(uuid.uuid4()), shipped_at=text, caller=text), "detail-type": text}
    malformed = {"detail": detail, text: text}
    confirm(odd)
    confirm(malformed)
    kept = [record["requestPayload"] for record in queue.take()]
    assert sorted(kept, key=json.dumps) == sorted([odd, malformed], key=json.dumps)


# Failing, so that Lambda tries again


def test_an_order_that_is_not_there_is_an_error_each_time(confirm, store, queue, counted, log):
    order_id = str(uuid.uuid4())
    for _ in range(2):
        with pytest.raises(Exception, match="There is no such order") as raised:
            confirm(event(order_id))
        assert raised.type.__name__ == "UnknownOrderError"
    assert store.read(order_id) is None
    assert queue.take() == []
    assert counted() == []
    assert [line["order_id"] for line in log.lines] == [order_id] * 2


def test_an_order_that_comes_late_is_shipped_by_the_next_try(confirm, place, store, queue, client):
    late = orders.place(
        client=client,
        key=None,
        body={},
        default_carrier="alpha",
        placed_at=datetime.now(UTC),
        random_id=uuid.uuid4(),
    )
    with pytest.raises(Exception, match="There is no such order"):
        confirm(event(late.order_id))
    store.create(late)
    confirm(event(late.order_id))
    assert store.read(late.order_id).state == "shipped"
    assert queue.take() == []


def test_a_table_that_fails_is_an_error(confirm_with, failing, queue, counted, log):
    confirm = confirm_with(AWS_ENDPOINT_URL_DYNAMODB=failing(aws_error("ProvisionedThroughputExceededException")))
    order_id = str(uuid.uuid4())
    with pytest.raises(ClientError, match="ProvisionedThroughputExceeded"):
        confirm(event(order_id))
    assert queue.take() == []
    assert counted() == []
    assert [line["order_id"] for line in log.lines] == [order_id]


@pytest.mark.parametrize(
    ("code", "status"), [("AccessDenied", 403), ("InternalError", 500), ("QueueDoesNotExist", 400)]
)
def test_a_rejection_that_can_not_be_kept_is_an_error(confirm_with, failing, counted, code, status):
    confirm = confirm_with(AWS_ENDPOINT_URL_SQS=failing(aws_error(code, status)))
    with pytest.raises(ClientError, match=code):
        confirm(event("malformed"))
    assert counted() == [], "what is tried again is not counted yet"


# What is written about it


def test_each_line_names_the_order_and_nothing_of_the_event(confirm_with, order, place, log, capsys):
    confirm = confirm_with(POWERTOOLS_LOGGER_LOG_EVENT="true")
    other = place(carrier="beta")
    for confirmation in [
        event(order.order_id, note=CANARY),
        event(order.order_id, note=CANARY),
        event(order.order_id, "2026-02-03T12:00:01Z", note=CANARY),
        event(order.order_id, CANARY),
        event(order.order_id, caller=CANARY),
    ]:
        confirm(confirmation)
    confirm(event(other.order_id, note=CANARY))
    confirm(event(CANARY))
    *lines, last = log.lines
    assert [line["order_id"] for line in lines] == [order.order_id] * 5 + [other.order_id]
    assert "order_id" not in last
    assert CANARY not in log.text + capsys.readouterr().out


@pytest.mark.parametrize("name", ["TABLE_NAME", "CARRIER", "CARRIER_PRINCIPAL", "FAILURE_QUEUE_URL"])
def test_a_missing_setting_stops_the_function_before_its_first_event(confirm_with, name):
    with pytest.raises(RuntimeError, match=f"the environment variable {name} is not set"):
        confirm_with(**{name: ""})
