"""One order, followed by its id alone through the logs of every function that it passes, as an operator would."""

from __future__ import annotations

import json
from datetime import datetime

import pytest

from tests import emf
from tests.sandbox.conftest import FUNCTION, NAME, SILENT, until

ALARM = "aws:cloudwatch/metricAlarm:MetricAlarm"


def names(cloud):
    """The deployed functions, within the stack."""
    return sorted(known["name"].removeprefix(NAME) for known in cloud.resources(FUNCTION, "name").values())


def logged(cloud, function):
    """Every line that a function has written itself, with what Lambda writes left out."""
    return [message.strip() for message in cloud.messages(function) if message.startswith("{")]


def records(cloud, function):
    return [record for record in map(json.loads, logged(cloud, function)) if "function_request_id" in record]


def story(cloud, order_id):
    """The functions' lines that bear the id, as (function, message), in the order of their times."""
    found = [
        (datetime.fromisoformat(record["timestamp"]), function, record["message"])
        for function in names(cloud)
        for record in records(cloud, function)
        if record.get("order_id") == order_id
    ]
    return [(function, message) for _, function, message in sorted(found)]


@pytest.fixture(scope="module")
def told(cloud):
    """The id of an order that was placed and shipped, and its story."""
    order_id = cloud.client().place(carrier="acme")
    cloud.shipped(order_id)
    # A function's lines come when its run is over.
    complete = ("carrier-acme-confirm", "Order shipped"), ("carrier-acme-mock", "Confirmation sent")
    found = until(
        lambda: set(complete) <= set(lines := story(cloud, order_id)) and lines, f"the whole story of {order_id}"
    )
    return order_id, found


def test_the_id_leads_from_the_request_to_the_shipment(told):
    _, lines = told
    assert lines[0] == ("orders-api", "Order placed")
    assert lines[-1] == ("carrier-acme-confirm", "Order shipped") or lines[-1][0] == "carrier-acme-mock"
    passed = list(dict.fromkeys(function for function, _ in lines))
    assert sorted(passed) == ["carrier-acme-confirm", "carrier-acme-mock", "orders-api"]


def test_no_line_about_the_order_is_without_its_id(cloud, told):
    """By invocation: each handles one order, and says which in everything that it says."""
    order_id, lines = told
    for function in {function for function, _ in lines}:
        about = [record for record in records(cloud, function) if record.get("order_id") == order_id]
        invocations = {record["function_request_id"] for record in about}
        everything = [r for r in records(cloud, function) if r["function_request_id"] in invocations]
        assert everything
        assert [record["message"] for record in everything if record.get("order_id") != order_id] == []


def test_an_order_that_is_sent_again_says_so_under_the_same_id(cloud):
    order_id = cloud.client().place(carrier=SILENT)
    request = {"action": "reemit", "order_ids": [order_id]}
    answer = cloud.aws("lambda").invoke(FunctionName=f"{NAME}reconcile", Payload=json.dumps(request))
    assert json.load(answer["Payload"])["emitted"] == [order_id]
    lines = until(lambda: len(found := story(cloud, order_id)) > 1 and found, "the line of the reconciliation")
    assert lines == [("orders-api", "Order placed"), ("reconcile", "Order emitted again")]


def test_the_logs_hold_the_metrics_that_alarms_wait_for(cloud, told):
    """What the deployed functions write is, as a series, what the deployed alarms name."""
    written = {series for function in names(cloud) for series in emf.evaluate(logged(cloud, function))}
    assert ("event-gateway", "OrderPlaced", frozenset({("service", f"{NAME}orders-api")})) in written
    assert ("event-gateway", "OrderShipped", frozenset({("service", f"{NAME}carrier-acme-confirm")})) in written
    properties = cloud.resources(ALARM, "namespace", "metricName", "dimensions", "metricQueries").values()
    watched = [
        query["metric"] for known in properties for query in known.get("metricQueries") or [] if "metric" in query
    ]
    watched += [known for known in properties if known.get("metricName")]
    waited_for = {
        (metric["namespace"], metric["metricName"], frozenset(metric["dimensions"].items()))
        for metric in watched
        if not metric["namespace"].startswith("AWS/")
    }
    assert len(waited_for) > 3
    assert {series for series in written if series.name == "OrderPlaced"} <= waited_for
    assert {dict(dimensions)["service"] for _, _, dimensions in waited_for} <= {NAME + name for name in names(cloud)}
