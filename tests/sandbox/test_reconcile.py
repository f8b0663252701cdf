"""Orders that their carrier swallows, on the deployed program: emitted again, given up in the end, and none lost."""

from __future__ import annotations

import json
import uuid
from contextlib import contextmanager

import pytest

from tests.sandbox.conftest import CARRIERS, NAME, SILENT, until

ACME = "acme"
SHIPPED_AT = "2026-03-01T08:00:00Z"
PLACED = ("dynamodb.orders", "dynamodb-orders-stream")
SCHEDULE = "aws:scheduler/schedule:Schedule"


@pytest.fixture
def swallowed(cloud):
    """Places an order that carrier acme takes and does not confirm; what comes to acme afterwards, it confirms."""
    mock = f"carrier-{ACME}-mock"

    def mode(name):
        cloud.session.ask("mode", function=f"{NAME}{mock}", mode=name)

    def place():
        before = cloud.runs(mock)
        mode("never-confirm")
        try:
            order_id = cloud.client().place(carrier=ACME)
            until(lambda: cloud.runs(mock) > before, "the carrier has taken the order")
        finally:
            mode("ok")
        assert cloud.item(order_id)["state"] == {"S": "pending"}
        return order_id

    return place


def emissions(cloud, order_id):
    return cloud.events(order_id).count(PLACED)


def emitted(cloud, order_id, times):
    return until(lambda: emissions(cloud, order_id) >= times, f"order {order_id} is emitted {times} times")


def confirm(cloud, order_id):
    answer = {"order_id": order_id, "shipped_at": SHIPPED_AT}
    assert cloud.carrier(SILENT).request("POST", "/confirm-shipment", answer)[0] == 202
    cloud.shipped(order_id)


@contextmanager
def without_sweeps(cloud):
    """While the schedule does not start any, so that the test alone says when one runs."""
    names = ("name", "groupName", "arn", "scheduleExpression", "flexibleTimeWindow", "target", "state")
    [(id_, known)] = cloud.resources(SCHEDULE, *names).items()
    paused = {**known, "state": "DISABLED"}
    cloud.change(SCHEDULE, id_, known, paused)
    try:
        yield
    finally:
        cloud.change(SCHEDULE, id_, paused, known)


def test_an_order_that_its_carrier_swallowed_is_sent_again_and_ships(cloud, swallowed):
    order_id = swallowed()
    cloud.overdue(order_id)
    shipped = cloud.shipped(order_id)
    assert shipped["reemissions"] == {"N": "1"}
    assert emissions(cloud, order_id) == 2
    until(
        lambda: [line["message"] for line in cloud.lines("reconcile", order_id)] == ["Order emitted again"],
        "the sweep's line about the order",
    )


def test_the_event_of_a_sweep_is_the_one_of_the_pipe(cloud):
    order_id = cloud.client().place(carrier=SILENT)
    emitted(cloud, order_id, 1)
    cloud.overdue(order_id)
    emitted(cloud, order_id, 2)
    piped, swept = (event for event in cloud._events if order_id in json.dumps(event["detail"]))
    for event in (piped, swept):
        assert event.pop("id")
        assert event.pop("time")
    assert swept == piped
    confirm(cloud, order_id)


def test_a_schedule_acts_in_a_role_that_trusts_its_group(cloud):
    role = "aws:iam/role:Role"
    [(id_, known)] = (
        (id_, known)
        for id_, known in cloud.resources(role, "name", "path", "arn", "uniqueId", "assumeRolePolicy").items()
        if known["name"] == f"{NAME}reconcile-schedule"
    )
    group = f"schedule-group/{NAME}reconcile"
    assert group in known["assumeRolePolicy"]
    another = {**known, "assumeRolePolicy": known["assumeRolePolicy"].replace(group, "schedule-group/default")}
    order_id = cloud.client().place(carrier=SILENT)
    before = len(cloud.denied())
    cloud.change(role, id_, known, another)
    try:
        cloud.overdue(order_id)
        [refused] = until(
            lambda: [entry for entry in cloud.denied()[before:] if entry["action"] == "sts:AssumeRole"][:1],
            "the schedule may not assume its role",
        )
    finally:
        cloud.change(role, id_, another, known)
    assert refused["who"] == "scheduler.amazonaws.com"
    assert refused["resource"] == known["arn"]
    emitted(cloud, order_id, 2)
    confirm(cloud, order_id)


def test_after_three_times_an_order_waits_in_the_queue_and_still_ships(cloud):
    with without_sweeps(cloud):
        order_id = cloud.client().place(carrier=SILENT)
        emitted(cloud, order_id, 1)
        for times in (2, 3, 4):
            cloud.overdue(order_id)
            assert cloud.reconcile(action="sweep") == {"overdue": 1, "emitted": 1, "unconfirmed": 0}
            emitted(cloud, order_id, times)
        cloud.overdue(order_id)
        assert cloud.reconcile(action="sweep") == {"overdue": 1, "emitted": 0, "unconfirmed": 1}
        assert cloud.reconcile(action="sweep") == {"overdue": 0, "emitted": 0, "unconfirmed": 0}
    [(record, _)] = cloud.letters_about("overdue", order_id)
    assert record["requestPayload"]["detail"]["order"] == {"id": order_id, "state": "pending", "carrier": SILENT}
    assert record["responsePayload"]["errorType"] == "Unconfirmed"
    assert emissions(cloud, order_id) == 4
    confirm(cloud, order_id)


def test_an_operator_sends_an_order_that_was_given_up_once_more(cloud, swallowed):
    order_id = swallowed()
    cloud.overdue(order_id, reemissions=3)
    cloud.letters_about("overdue", order_id)
    until(lambda: "pending_since" not in cloud.item(order_id), "the order is out of the index")
    nobody = str(uuid.uuid4())
    told = cloud.reconcile(action="reemit", order_ids=[order_id, nobody])
    assert told == {"emitted": [order_id], "shipped": [], "unknown": [nobody], "failed": {}}
    cloud.shipped(order_id)
    told = cloud.reconcile(action="reemit", order_ids=[order_id])
    assert told == {"emitted": [], "shipped": [order_id], "unknown": [], "failed": {}}


def test_an_operator_sends_what_was_placed_in_a_time(cloud):
    order_id = cloud.client().place(carrier=SILENT)
    emitted(cloud, order_id, 1)
    placed_at = cloud.item(order_id)["created_at"]["S"]
    request = {"created_after": placed_at, "created_before": placed_at, "carrier": SILENT, "limit": 10}
    told = cloud.reconcile(action="reemit_pending", **request)
    assert told == {"emitted": [order_id], "shipped": [], "unknown": [], "failed": {}}
    emitted(cloud, order_id, 2)
    confirm(cloud, order_id)


@contextmanager
def disabled(cloud, carrier):
    """While the function believes a carrier to be disabled."""
    function, lambda_ = f"{NAME}reconcile", cloud.aws("lambda")
    variables = lambda_.get_function_configuration(FunctionName=function)["Environment"]["Variables"]
    enabled = json.loads(variables["CONFIRM_WITHIN"])
    assert set(enabled) == set(CARRIERS)
    others = json.dumps({name: hours for name, hours in enabled.items() if name != carrier})
    changed = {**variables, "CONFIRM_WITHIN": others}
    lambda_.update_function_configuration(FunctionName=function, Environment={"Variables": changed})
    try:
        yield
    finally:
        lambda_.update_function_configuration(FunctionName=function, Environment={"Variables": variables})


def test_an_order_of_a_disabled_carrier_waits_and_goes_out_once_it_is_enabled(cloud):
    order_id = cloud.client().place(carrier=SILENT)
    emitted(cloud, order_id, 1)
    with disabled(cloud, SILENT):
        cloud.overdue(order_id)
        before = cloud.item(order_id)
        assert cloud.reconcile(action="sweep")["overdue"] == 0
        assert cloud.item(order_id) == before
        told = cloud.reconcile(action="reemit", order_ids=[order_id])
        assert told["failed"] == {order_id: f"The carrier {SILENT} is disabled"}
        cloud.overdue(order_id)
    emitted(cloud, order_id, 2)
    confirm(cloud, order_id)
