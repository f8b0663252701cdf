"""The metrics that handlers write, as CloudWatch would read them from the lines of their log."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from handlers import orders
from tests import emf
from tests.handlers.conftest import CARRIERS, PRINCIPAL
from tests.handlers.server import Answer
from tests.handlers.test_confirm_shipment import event
from tests.handlers.test_orders_api import Api


@pytest.fixture
def written(capsys):
    """The sums of what was written since the last look, by name; each is one series in the function's namespace."""

    def sums():
        found = emf.evaluate(capsys.readouterr().out.splitlines())
        assert {series.namespace for series in found} <= {"namespace"}
        assert {series.dimensions for series in found} <= {frozenset({("service", "service")})}
        return {series.name: total for series, total in found.items()}

    return sums


@pytest.fixture(scope="module")
def api(load, context, table):
    return Api(load("orders_api", TABLE_NAME=table, CARRIERS=json.dumps(CARRIERS)).handler, context)


@pytest.fixture(scope="module")
def confirm(load, aws, context, table, failures):
    environment = {
        "TABLE_NAME": table,
        "CARRIER": "alpha",
        "CARRIER_PRINCIPAL": PRINCIPAL,
        "FAILURE_QUEUE_URL": failures.url,
    }
    handler = load("confirm_shipment", **environment).handler
    return lambda confirmation: aws(lambda: handler(confirmation, context), **environment)


@pytest.fixture(scope="module")
def sweep(load, context, table, ministack):
    """One run of the reconciliation, in which a carrier has an hour, under further environment variables."""
    bus, queue = ministack.client("events"), ministack.client("sqs")
    bus.create_event_bus(Name="metrics")
    url = queue.create_queue(QueueName="metrics-overdue")["QueueUrl"]
    patient = SimpleNamespace(**vars(context), get_remaining_time_in_millis=lambda: 180_000)

    def run(**environment):
        handler = load(
            "reconcile",
            TABLE_NAME=table,
            BUS_NAME="metrics",
            OVERDUE_QUEUE_URL=url,
            CONFIRM_WITHIN=json.dumps({"alpha": 1}),
            **environment,
        ).handler
        return handler({"action": "sweep"}, patient)

    return run


@pytest.fixture
def overdue(store, client):
    """An order that nobody has confirmed for two hours."""
    return store.create(
        orders.place(
            client=client,
            key=None,
            body={},
            default_carrier="alpha",
            placed_at=datetime.now(UTC) - timedelta(hours=2),
            random_id=uuid.uuid4(),
        )
    )


def test_an_order_is_counted_where_it_is_placed_and_where_it_is_shipped(api, confirm, client, written):
    _, order = api.post(client, key="k")
    assert written() == {"OrderPlaced": 1}
    api.post(client, key="k")
    assert written() == {"OrderReplayed": 1}
    confirm(event(order["order_id"]))
    assert written() == {"OrderShipped": 1}


def test_a_confirmation_that_cannot_be_applied_is_counted(confirm, written):
    confirm({"detail": {}})
    assert written() == {"ConfirmationRejected": 1}


def full(received):
    """A bus that takes no entry."""
    entries = [
        {"ErrorCode": "ThrottlingException", "ErrorMessage": "slow down"} for _ in json.loads(received.body)["Entries"]
    ]
    body = json.dumps({"FailedEntryCount": len(entries), "Entries": entries}).encode()
    return Answer(200, body, "application/x-amz-json-1.1")


def test_an_order_past_its_time_is_counted_with_what_became_of_it(sweep, overdue, written, serve, ministack, table):
    sweep()
    found = written()
    assert found["OrderOverdue"] == found["OrderReemitted"] + found.get("OrderUnconfirmed", 0) > 0

    as_before = "SET pending_since = :then, reemissions = :often"
    then = orders.timestamp(datetime.now(UTC) - timedelta(hours=2))
    values = {":then": {"S": then}, ":often": {"N": "1"}}
    key = {"PK": {"S": overdue.order_id}}
    dynamodb = ministack.client("dynamodb")
    dynamodb.update_item(TableName=table, Key=key, UpdateExpression=as_before, ExpressionAttributeValues=values)
    sweep(AWS_ENDPOINT_URL_EVENTBRIDGE=serve(full).url)
    found = written()
    assert found["OrderOverdue"] == found["OrderNotReemitted"] + found.get("OrderUnconfirmed", 0) > 0

    values[":often"] = {"N": "3"}
    dynamodb.update_item(TableName=table, Key=key, UpdateExpression=as_before, ExpressionAttributeValues=values)
    sweep()
    assert written()["OrderUnconfirmed"] >= 1


# --- what the evaluation itself notices


LINE = {
    "_aws": {
        "Timestamp": 1_795_000_000_000,
        "CloudWatchMetrics": [
            {"Namespace": "n", "Dimensions": [["service"]], "Metrics": [{"Name": "m", "Unit": "Count"}]}
        ],
    },
    "service": "s",
    "m": [1.0, 2.0],
}


def test_the_values_of_a_line_are_added_up_under_its_dimensions():
    lines = [json.dumps(LINE), json.dumps({**LINE, "m": 4}), json.dumps({**LINE, "service": "t"}), '{"m": 5}']
    assert emf.evaluate(lines) == {
        ("n", "m", frozenset({("service", "s")})): 7,
        ("n", "m", frozenset({("service", "t")})): 3,
    }


@pytest.mark.parametrize(
    "flaw",
    [
        {"_aws": {**LINE["_aws"], "Timestamp": 1_795_000_000}},
        {"_aws": {**LINE["_aws"], "CloudWatchMetrics": []}},
        {"service": None},
        {"m": "1"},
        {"m": []},
    ],
    ids=["seconds", "no directive", "no dimension", "a text", "no value"],
)
def test_a_line_that_cloudwatch_would_drop_is_noticed(flaw):
    with pytest.raises(AssertionError):
        emf.evaluate([json.dumps({**LINE, **flaw})])
