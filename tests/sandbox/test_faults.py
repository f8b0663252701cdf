"""Faults: which are struck and how often, without a cloud; then, on the deployed program, that none loses an order."""

from __future__ import annotations

import json
import threading
import uuid
from collections import Counter
from datetime import UTC, datetime, timedelta

import botocore.auth
import pytest
import urllib3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from typer.testing import CliRunner

from sandbox.cli import app
from sandbox.client import Saboteur
from sandbox.clock import CloudClock, waited
from sandbox.faults import Fault, FaultError, Faults, Kind, Worker
from sandbox.live import target_queue
from tests.sandbox.conftest import NAME, SILENT, until
from tests.sandbox.test_reconcile import PLACED, SHIPPED_AT, emitted, without_sweeps

ACME = "acme"
CONFIRM = f"carrier-{ACME}-confirm"
MOCK = f"carrier-{ACME}-mock"
THROTTLED = Kind.TABLE_THROTTLED
HOUR = 3600.0

http = urllib3.PoolManager(timeout=30, retries=False)


# --- which are struck


class Time:
    def __init__(self, now=1_795_000_000.25):
        self.now = now

    def __call__(self):
        return self.now


def strikes(faults, count=200, kind=THROTTLED, **about):
    return [faults.strike(kind, **about) is not None for _ in range(count)]


def with_faults(*wanted, seed=7, clock=None):
    faults = Faults(clock=clock or Time())
    faults.seed(seed)
    for fault in wanted:
        faults.inject(fault)
    return faults


def test_a_seed_chooses_the_same_again_and_another_seed_others():
    fault = Fault(kind=THROTTLED, rate=0.3)
    chosen = strikes(with_faults(fault))
    assert 30 <= sum(chosen) <= 90
    assert strikes(with_faults(fault)) == chosen
    assert strikes(with_faults(fault, seed=8)) != chosen


def test_a_seed_that_is_set_again_starts_its_choices_anew():
    faults = with_faults(Fault(kind=THROTTLED, rate=0.3))
    chosen = strikes(faults)
    faults.seed(7)
    assert strikes(faults) == chosen
    assert faults.report()["seed"] == 7


def test_a_seed_that_nobody_sets_is_another_each_time_and_is_told():
    assert len({Faults().report()["seed"] for _ in range(4)}) > 1


@pytest.mark.parametrize(("rate", "struck"), [(0, 0), (1, 200)])
def test_a_rate_of_nothing_or_all_leaves_nothing_to_chance(rate, struck):
    assert sum(strikes(with_faults(Fault(kind=THROTTLED, rate=rate)))) == struck


def test_without_a_fault_nothing_is_struck():
    faults = with_faults()
    assert not any(strikes(faults))
    assert set(faults.struck().values()) == {0}
    assert set(faults.struck()) == set(Kind)


def test_a_fault_strikes_its_kind_only():
    faults = with_faults(Fault(kind=THROTTLED))
    assert not any(strikes(faults, kind=Kind.ENTRIES_FAILED))
    assert all(strikes(faults))


def test_a_fault_ends_after_its_strikes():
    faults = with_faults(Fault(kind=THROTTLED, times=3))
    assert [faults.strike(THROTTLED) for _ in range(5)] == [1, 2, 3, None, None]
    assert faults.report()["active"] == []


def test_a_fault_ends_after_its_time():
    clock = Time()
    faults = with_faults(Fault(kind=THROTTLED, seconds=10), clock=clock)
    clock.now += 9.5
    assert faults.strike(THROTTLED) == 1
    assert faults.report()["active"][0]["seconds_left"] == pytest.approx(0.5)
    clock.now += 0.5
    assert faults.strike(THROTTLED) is None
    assert faults.report()["active"] == []


def test_a_fault_about_a_function_leaves_the_others_alone():
    faults = with_faults(Fault(kind=THROTTLED, function="one"))
    assert not any(strikes(faults, function="another"))
    assert not any(strikes(faults))
    assert all(strikes(faults, function="one"))


def test_a_fault_about_a_worker_leaves_the_others_alone():
    faults = with_faults(Fault(kind=Kind.WORKER_KILLED, worker=Worker.PIPE))
    assert not any(strikes(faults, kind=Kind.WORKER_KILLED, worker=Worker.SCHEDULES))
    assert all(strikes(faults, kind=Kind.WORKER_KILLED, worker=Worker.PIPE))


def test_of_two_faults_the_first_that_strikes_does():
    faults = with_faults(Fault(kind=THROTTLED, times=1), Fault(kind=THROTTLED, times=2))
    assert [faults.strike(THROTTLED) for _ in range(4)] == [1, 1, 2, None]
    assert faults.struck()[THROTTLED] == 3


def test_what_was_struck_is_remembered_after_the_faults_are_cleared():
    faults = with_faults(Fault(kind=THROTTLED), Fault(kind=Kind.ENTRIES_FAILED))
    assert all(strikes(faults, 4))
    faults.clear()
    assert not any(strikes(faults, 4))
    assert faults.struck() == {**dict.fromkeys(Kind, 0), THROTTLED: 4}
    assert faults.report()["active"] == []


def test_every_strike_of_several_threads_is_counted_once():
    faults = with_faults(Fault(kind=THROTTLED, times=500))
    counted: list[int] = []
    threads = [threading.Thread(target=lambda: counted.append(sum(strikes(faults)))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(counted) == faults.struck()[THROTTLED] == 500


def test_every_kind_says_in_one_line_what_it_does():
    assert len(Kind) == 7
    assert len({kind.description for kind in Kind}) == 7
    assert all(kind.description and "\n" not in kind.description for kind in Kind)


WRONG = {
    "kind": ({"kind": "table-gone"}, "there is no kind 'table-gone': it is one of table-throttled, "),
    "no kind": ({}, "there is no kind None: "),
    "rate above": ({"kind": THROTTLED, "rate": 1.1}, "the rate 1.1 is not between 0 and 1"),
    "rate below": ({"kind": THROTTLED, "rate": -0.1}, "the rate -0.1 is not between 0 and 1"),
    "no rate": ({"kind": THROTTLED, "rate": float("nan")}, "the rate nan is not between 0 and 1"),
    "no time": ({"kind": THROTTLED, "seconds": 0}, "0 is no positive number of seconds"),
    "all time": ({"kind": THROTTLED, "seconds": float("inf")}, "inf is no positive number of seconds"),
    "no strike": ({"kind": THROTTLED, "times": 0}, "a fault can't strike 0 times: 1 is the least"),
    "function": (
        {"kind": "worker-killed", "function": "f"},
        "worker-killed strikes no functions: leave --function out",
    ),
    "a worker": ({"kind": THROTTLED, "worker": "pipe"}, "table-throttled strikes no workers: leave --worker out"),
    "no worker": ({"kind": "worker-killed", "worker": "bus"}, "there is no worker 'bus': it is one of pipe, "),
    "no jump": ({"kind": "clock-jump"}, "clock-jump needs --for SECONDS: how far the clock goes forward"),
    "a rate of jumps": (
        {"kind": "clock-jump", "seconds": 1, "rate": 0.5},
        "clock-jump happens once and at once: leave --rate and --times out",
    ),
    "several jumps": (
        {"kind": "clock-jump", "seconds": 1, "times": 2},
        "clock-jump happens once and at once: leave --rate and --times out",
    ),
}


@pytest.mark.parametrize(("wanted", "reason"), WRONG.values(), ids=WRONG)
def test_what_is_no_fault_is_refused_with_what_would_be_one(wanted, reason):
    with pytest.raises(FaultError) as refused:
        Fault.of(wanted)
    assert str(refused.value).startswith(reason)


# --- the clock


def test_a_jump_makes_older_what_was_before_it_and_nothing_else():
    machine = Time(1000.4)
    clock = CloudClock(machine)
    clock.forward(HOUR)
    assert clock() == 1000.4 + HOUR
    machine.now = 1010.0
    assert clock() - clock.of(990.0) == 20 + HOUR
    assert clock() - clock.of(1005.0) == 5
    assert clock.skipped_since(990.0) == HOUR
    assert clock.skipped_since(1005.0) == 0
    clock.forward(60)
    assert clock.skipped_since(990.0) == HOUR + 60
    assert clock.skipped_since(1005.0) == 60
    assert clock() - clock.of(1005.0) == 65


def test_what_is_stamped_with_the_second_of_a_jump_counts_as_after_it():
    clock = CloudClock(Time(1000.4))
    clock.forward(HOUR)
    assert clock.skipped_since(1000.0) == 0
    assert clock.skipped_since(999.0) == HOUR


def test_who_waits_for_an_hour_is_done_after_a_jump():
    clock = CloudClock()
    results: list[bool] = []
    waits = threading.Thread(target=lambda: results.append(waited(threading.Event(), HOUR, clock)), daemon=True)
    waits.start()
    clock.forward(HOUR)
    waits.join(30)
    assert results == [True]


def test_who_is_told_to_stop_waits_no_longer():
    stopping = threading.Event()
    stopping.set()
    assert not waited(stopping, HOUR, CloudClock())
    assert not waited(stopping, 0, CloudClock())


# --- on the deployed program


@pytest.fixture
def saboteur(cloud):
    """Injects faults that are over when the test is."""
    saboteur = Saboteur(cloud.session)
    yield saboteur
    saboteur.clear_faults()


@pytest.fixture
def struck(saboteur):
    """Waits until a kind of fault has struck so often since the test began."""
    before = saboteur.faults()

    def wait(kind, times=1):
        until(lambda: saboteur.faults()[kind] - before[kind] >= times, f"{kind} strikes {times} times")
        return saboteur.faults()[kind] - before[kind]

    return wait


def answered(client, method, path, body=None, **headers):
    """Status, document and headers of an answer."""
    data = b"" if body is None else json.dumps(body).encode()
    request = AWSRequest(method, client.url + path, data=data, headers={"Content-Type": "application/json", **headers})
    SigV4Auth(client.credentials, "execute-api", client.region).add_auth(request)
    answer = http.request(method, request.url, body=data, headers=dict(request.headers.items()))
    return answer.status, answer.json(), answer.headers


def confirmation(order_id):
    return {"order_id": order_id, "shipped_at": SHIPPED_AT}


def placed_and_emitted(cloud):
    """An order of the silent carrier that is on the bus, so that no further PutEvents is the pipe's."""
    order_id = cloud.client().place(carrier=SILENT)
    emitted(cloud, order_id, 1)
    return order_id


def messages(cloud, function, order_id):
    return Counter(line["message"] for line in cloud.lines(function, order_id))


@pytest.mark.parametrize("function", ["orders-api", CONFIRM])
def test_a_table_that_is_throttled_for_a_moment_delays_an_order(cloud, saboteur, struck, function):
    saboteur.fault("table-throttled", times=2, function=function)
    cloud.shipped(cloud.client().place(carrier=ACME))
    assert struck("table-throttled") == 2


def test_a_client_is_told_that_a_throttled_table_has_not_taken_its_order(cloud, saboteur, struck):
    key = str(uuid.uuid4())
    saboteur.fault("table-throttled", function="orders-api")
    status, _, _ = answered(cloud.client(), "POST", "/orders", {"carrier": ACME}, **{"Idempotency-Key": key})
    assert status == 500
    assert struck("table-throttled") == 3
    saboteur.clear_faults()
    status, order, _ = answered(cloud.client(), "POST", "/orders", {"carrier": ACME}, **{"Idempotency-Key": key})
    assert status == 201
    cloud.shipped(order["order_id"])


def test_a_confirmation_that_a_throttled_table_never_took_is_in_the_queue(cloud, saboteur, struck):
    saboteur.fault("table-throttled", function=CONFIRM)
    order_id = cloud.client().place(carrier=ACME)
    [(record, _)] = cloud.letters_about(f"carrier-{ACME}-failures", order_id)
    assert record["requestContext"]["condition"] == "RetriesExhausted"
    assert "ThrottlingException" in record["responsePayload"]["errorMessage"]
    assert struck("table-throttled") >= 9
    assert cloud.item(order_id)["state"] == {"S": "pending"}


PUT_EVENTS = ["entries-failed", "bus-unavailable"]


@pytest.mark.parametrize("kind", PUT_EVENTS)
def test_the_pipe_sends_again_what_the_bus_did_not_take(cloud, saboteur, struck, kind):
    saboteur.fault(kind, times=2)
    cloud.shipped(cloud.client().place(carrier=ACME))
    assert struck(kind) == 2


@pytest.mark.parametrize("kind", PUT_EVENTS)
def test_a_carrier_is_told_when_to_confirm_again(cloud, saboteur, struck, kind):
    order_id = placed_and_emitted(cloud)
    saboteur.fault(kind)
    # Either way to fail.
    for _ in range(2):
        status, answer, headers = answered(cloud.carrier(SILENT), "POST", "/confirm-shipment", confirmation(order_id))
        assert (status, headers["Retry-After"]) == (503, "5")
        assert answer["message"] == "The confirmation was not taken; send it again"
    assert struck(kind) >= 2
    saboteur.clear_faults()
    assert answered(cloud.carrier(SILENT), "POST", "/confirm-shipment", confirmation(order_id))[0] == 202
    cloud.shipped(order_id)


@pytest.mark.parametrize(("kind", "times"), [("entries-failed", 1), ("bus-unavailable", 6)])
def test_what_reconcile_could_not_emit_comes_again_at_the_next_time(cloud, saboteur, struck, kind, times):
    with without_sweeps(cloud):
        order_id = placed_and_emitted(cloud)
        cloud.overdue(order_id)
        saboteur.fault(kind, times=times, function="reconcile")
        told = cloud.reconcile(action="reemit", order_ids=[order_id])
        assert struck(kind)
        saboteur.clear_faults()
        assert (told["emitted"], list(told["failed"])) == ([], [order_id])
        cloud.overdue(order_id)
        assert cloud.reconcile(action="sweep")["emitted"] == 1
    emitted(cloud, order_id, 2)


def test_a_function_that_crashes_before_and_after_its_effect_has_it_once(cloud, saboteur, struck):
    saboteur.fault("function-crashes", times=2, function=CONFIRM)
    order_id = cloud.client().place(carrier=ACME)
    cloud.shipped(order_id)
    assert struck("function-crashes", 2) == 2
    until(
        lambda: messages(cloud, CONFIRM, order_id) == {"Order shipped": 1, "Order was shipped already": 1},
        "the order is shipped once, and once more nothing is done",
    )


def test_an_order_whose_answer_was_lost_in_a_crash_is_met_again_by_its_key(cloud, saboteur, struck):
    key = str(uuid.uuid4())
    saboteur.fault("function-crashes", times=2, function="orders-api")
    statuses = []
    for _ in range(3):
        status, order, _ = answered(cloud.client(), "POST", "/orders", {"carrier": ACME}, **{"Idempotency-Key": key})
        statuses.append(status)
    assert statuses == [502, 502, 200]
    assert struck("function-crashes") == 2
    until(
        lambda: messages(cloud, "orders-api", order["order_id"]) == {"Order placed": 1, "Order replayed": 1},
        "the lines of the second try and of the third",
    )
    cloud.shipped(order["order_id"])


def test_a_function_that_crashes_each_time_ends_in_the_queue_with_the_reason(cloud, saboteur, struck):
    saboteur.fault("function-crashes", function=CONFIRM)
    order_id = cloud.client().place(carrier=ACME)
    [(record, _)] = cloud.letters_about(f"carrier-{ACME}-failures", order_id)
    assert record["responseContext"]["functionError"] == "Unhandled"
    assert record["responsePayload"]["errorType"] == "Runtime.ExitError"
    assert struck("function-crashes") >= 3


@pytest.mark.parametrize("function", [CONFIRM, MOCK])
def test_a_function_that_is_throttled_runs_later(cloud, saboteur, struck, function):
    saboteur.fault("function-throttled", times=2, function=function)
    cloud.shipped(cloud.client().place(carrier=ACME))
    assert struck("function-throttled") == 2


def test_a_client_is_told_that_a_throttled_function_has_not_taken_its_order(cloud, saboteur, struck):
    saboteur.fault("function-throttled", times=1, function="orders-api")
    status, answer, _ = answered(cloud.client(), "POST", "/orders", {"carrier": ACME})
    assert (status, answer["message"]) == (500, "Internal server error")
    assert struck("function-throttled") == 1
    cloud.shipped(cloud.client().place(carrier=ACME))


def test_a_function_url_says_that_its_function_is_throttled(cloud, saboteur, struck):
    saboteur.fault("function-throttled", function=MOCK)
    [url] = [
        known["functionUrl"]
        for known in cloud.resources("aws:lambda/functionUrl:FunctionUrl", "functionName", "functionUrl").values()
        if known["functionName"] == f"{NAME}{MOCK}"
    ]
    assert http.request("POST", f"{url}orders", body=b"{}").status == 429
    assert struck("function-throttled") == 1


def test_a_pipe_that_is_killed_before_its_checkpoint_sends_again(cloud, saboteur, struck):
    saboteur.fault("worker-killed", worker="pipe")
    order_id = cloud.client().place(carrier=ACME)
    until(lambda: cloud.events(order_id).count(PLACED) >= 2, "the order is on the bus twice")
    saboteur.clear_faults()
    assert struck("worker-killed")
    cloud.shipped(order_id)


def drained(cloud, arn):
    """Wait until a rule's target has no event left: a worker that always dies finishes none, and starts a few only."""
    names = ("eventBusName", "rule", "targetId", "arn")
    targets = cloud.resources("aws:cloudwatch/eventTarget:EventTarget", *names).values()
    [target] = [target for target in targets if arn in target["arn"]]
    sqs, waiting = cloud.aws("sqs"), ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
    url = sqs.get_queue_url(QueueName=target_queue(target))["QueueUrl"]

    def is_empty():
        counted = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=list(waiting))["Attributes"]
        return [counted[name] for name in waiting] == ["0", "0"]

    until(is_empty, f"nothing is left for {arn}")


def test_a_delivery_that_is_killed_before_it_is_noted_is_made_again(cloud, saboteur, struck):
    drained(cloud, f":api-destination/{NAME}carrier-{ACME}-orders")
    before = cloud.runs(MOCK)
    saboteur.fault("worker-killed", worker="deliveries")
    order_id = cloud.client().place(carrier=ACME)
    until(lambda: cloud.runs(MOCK) >= before + 2, "the carrier is called twice")
    saboteur.clear_faults()
    assert struck("worker-killed")
    cloud.shipped(order_id)


def test_an_invocation_that_is_killed_before_it_is_noted_runs_again(cloud, saboteur, struck):
    drained(cloud, CONFIRM)
    saboteur.fault("worker-killed", worker="invocations")
    order_id = cloud.client().place(carrier=ACME)
    until(lambda: messages(cloud, CONFIRM, order_id)["Order was shipped already"], "the function runs twice")
    saboteur.clear_faults()
    assert struck("worker-killed")
    assert messages(cloud, CONFIRM, order_id)["Order shipped"] == 1


def test_a_schedule_that_is_killed_begins_anew(cloud, saboteur, struck):
    order_id = placed_and_emitted(cloud)
    saboteur.fault("worker-killed", times=1, worker="schedules")
    struck("worker-killed")
    for times in (2, 3):
        cloud.overdue(order_id)
        emitted(cloud, order_id, times)


def test_workers_that_are_killed_again_and_again_lose_no_order(cloud, saboteur, struck):
    saboteur.fault("worker-killed", rate=0.3, seed=11)
    client = cloud.client()
    placed = [client.place(carrier=ACME) for _ in range(10)]
    struck("worker-killed", 3)
    for order_id in placed:
        cloud.shipped(order_id)


# --- the clock of the deployed cloud


def signed_before(client, age, method, path, monkeypatch):
    """The status that a request signed so long ago gets."""
    with monkeypatch.context() as patch:
        moment = datetime.now(UTC) - timedelta(seconds=age)
        patch.setattr(botocore.auth, "get_current_datetime", lambda **_: moment.replace(tzinfo=None))
        status, answer, _ = answered(client, method, path)
    return status, answer["message"]


def test_a_signature_ages_by_a_jump_that_it_was_made_before(cloud, saboteur, struck, monkeypatch):
    client, path = cloud.client(), f"/orders/{uuid.uuid4()}"
    assert answered(client, "GET", path)[0] == 404
    saboteur.fault("clock-jump", seconds=200)
    assert struck("clock-jump") == 1
    status, message = signed_before(client, 200, "GET", path, monkeypatch)
    assert status == 403
    assert message.startswith("Signature expired: ")
    assert answered(client, "GET", path)[0] == 404


def test_an_event_that_waits_for_a_day_is_given_up_after_a_jump_and_later_ones_are_not(cloud, saboteur, struck):
    old = placed_and_emitted(cloud)
    sent_at = cloud.item(old)["created_at"]["S"]
    until(lambda: f"{datetime.now(UTC) - timedelta(seconds=2):%Y-%m-%dT%H:%M:%S}" > sent_at, "the second is over")
    saboteur.fault("clock-jump", seconds=25 * HOUR)
    [(event, attributes)] = cloud.letters_about(f"carrier-{SILENT}-dead-letters", old)
    assert event["detail"]["order"]["id"] == old
    assert attributes["EXHAUSTED_RETRY_CONDITION"] == "MaximumEventAgeInSeconds"
    assert struck("clock-jump") == 1
    cloud.shipped(cloud.client().place(carrier=ACME))


# --- by command


@pytest.fixture
def command(cloud, saboteur):
    """Runs `python -m sandbox fault` on the deployed cloud: exit code, and what it printed."""

    def run(*arguments):
        result = CliRunner().invoke(app, ["fault", *arguments, "--state", str(cloud.state)])
        return result.exit_code, result.output

    return run


def test_a_fault_is_injected_listed_and_cleared_by_command(cloud, command, struck):
    code, said = command(
        "entries-failed", "--rate", "1", "--times", "2", "--for", "600", "--function", "reconcile", "--seed", "42"
    )
    assert (code, said) == (0, "seed 42\n")
    with without_sweeps(cloud):
        order_id = placed_and_emitted(cloud)
        told = cloud.reconcile(action="reemit", order_ids=[order_id])
        assert list(told["failed"]) == [order_id]
    assert struck("entries-failed") == 1
    code, said = command("list")
    assert code == 0
    for kind in Kind:
        assert [line for line in said.splitlines() if line.startswith(f"{kind} ") and line.endswith(kind.description)]
    assert "\nseed 42; active: 1\n" in said
    left = f"  entries-failed: rate 1, only {NAME}reconcile, "
    [line] = [line for line in said.splitlines() if line.startswith(left)]
    assert line.endswith(" s left, 1 times left; struck 1 times")
    assert command("clear") == (0, "")
    assert "active: 0\n" in command("list")[1]


def test_without_a_seed_the_one_in_use_is_printed(command, saboteur):
    code, said = command("clock-jump", "--for", "1")
    assert (code, said) == (0, f"seed {saboteur.fault_report()['seed']}\n")


MISTAKES = {
    "kind": (["flood"], "there is no kind 'flood': it is one of "),
    "rate": (["table-throttled", "--rate", "2"], "the rate 2 is not between 0 and 1"),
    "function": (["table-throttled", "--function", "nobody"], "no function is called nobody: name one of "),
    "functions": (["table-throttled", "--function", "mock"], "several functions are called mock: name one of "),
}


@pytest.mark.parametrize(("arguments", "reason"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_told_in_one_line_and_injects_nothing(command, saboteur, arguments, reason):
    code, said = command(*arguments)
    assert code == 2
    assert said.startswith(reason)
    assert said.count("\n") == 1
    assert saboteur.fault_report()["active"] == []


@pytest.mark.parametrize("path", ["fault", "faults", "clear-faults"])
def test_nobody_injects_faults_without_the_token(cloud, saboteur, path):
    url = f"{cloud.session.about['urls']['control']}/{path}"
    body = json.dumps({"kind": "table-throttled", "times": 1})
    assert http.request("POST", url, body=body).status == 403
    assert http.request("POST", url, body=body, headers={"Authorization": "Bearer guess"}).status == 403
    assert saboteur.fault_report()["active"] == []
