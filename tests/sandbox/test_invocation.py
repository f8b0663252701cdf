"""Events on their way to a function: handed over by the rule, run by Lambda, over hours in virtual time."""

from __future__ import annotations

import io
import json
import zipfile

import pytest
from botocore.exceptions import EndpointConnectionError, ReadTimeoutError

from sandbox.invocation import AsyncPolicy, Ended, FunctionTarget, ToFunction
from sandbox.retry import RetryPolicy
from tests.sandbox.queues import DAY, DEAD, JOBS, NOON, Crash, World, aws_error, eventually, visible

FAILED = "http://queues/000000000000/failed"
RULE = "arn:aws:events:eu-west-1:000000000000:rule/orders/acme-confirm"
FUNCTION = "arn:aws:lambda:eu-west-1:000000000000:function:confirm"
EVENT = {"version": "0", "id": "event-1", "source": "carrier", "detail": {"order_id": "order-1"}}
HOUR = 3600


class Lambda:
    """A function that does one thing after the other, and the last from then on: None is success, a text an error."""

    def __init__(self, world, *results):
        self._world = world
        self._results = list(results)
        self.times = []
        self.payloads = []

    def invoke(self, **request):
        assert request.pop("FunctionName") == FUNCTION
        result = self._results.pop(0) if len(self._results) > 1 else self._results[0]
        self.times.append(self._world.clock.now - NOON)

        def effect():
            if isinstance(result, Exception):
                raise result
            if request.get("InvocationType") == "DryRun":
                return {"StatusCode": 204}
            self.payloads.append(json.loads(request.pop("Payload")))
            assert request == {}, "synchronous"
            answer = {
                "StatusCode": 200,
                "ExecutedVersion": "$LATEST",
                "Payload": io.BytesIO((result or "null").encode()),
            }
            return answer if result is None else answer | {"FunctionError": "Unhandled"}

        return self._world.steps(effect)


ERROR = json.dumps({"errorMessage": "no such order", "errorType": "UnknownOrderError"})
THROTTLED = aws_error("TooManyRequestsException", 429)
BROKEN = aws_error("ServiceException", 500)
AWAY = EndpointConnectionError(endpoint_url="http://lambda")


@pytest.fixture
def worlds(tmp_path):
    made = []

    def make():
        made.append(World(tmp_path / str(len(made))))
        made[-1].runs = type(made[-1].metrics)()
        return made[-1]

    yield make
    for one in made:
        one.journal.close()


@pytest.fixture
def world(worlds):
    return worlds()


def hop_to(world, handover, functions, **changes):
    target = FunctionTarget(
        **{
            "rule_arn": RULE,
            "arn": FUNCTION,
            "dead_letters": DEAD,
            "on_failure": FAILED,
            "timeout": 10.0,
            "retry": RetryPolicy(),
        }
        | changes
    )
    return ToFunction(
        target,
        handover=handover,
        functions=functions,
        outbox=world.sqs,
        records=world.sqs,
        count=world.count,
        count_runs=lambda metric, amount: world.runs.update({metric: amount}),
        clock=world.clock,
        chance=lambda: 0.0,
    )


def confirm(world, *results, handover=(None,), **changes):
    """Send one event to a function that does so, until the queue is empty."""
    function, door = Lambda(world, *results), Lambda(world, *handover)
    world.sqs.put(json.dumps(EVENT))
    world.start(hop_to(world, door, function, **changes))
    world.run()
    assert world.notes == []
    return function


def records(world):
    return [json.loads(message["body"]) for message in world.sqs.messages(FAILED).values()]


# --- Lambda's waits ---------------------------------------------------------------------------------------------------


def test_waits_after_errors_are_one_and_two_minutes():
    policy = AsyncPolicy()
    assert policy.after_error(since=NOON, errors=1, now=NOON) == NOON + 60
    assert policy.after_error(since=NOON, errors=2, now=NOON + 60) == NOON + 180
    assert policy.after_error(since=NOON, errors=3, now=NOON + 180) is Ended.RETRIES
    assert AsyncPolicy(retries=0).after_error(since=NOON, errors=1, now=NOON) is Ended.RETRIES


def test_waits_after_refusals_grow_from_a_second_to_five_minutes():
    policy = AsyncPolicy()
    waits = [policy.after_refusal(since=NOON, refusals=refusals, now=NOON) - NOON for refusals in range(1, 12)]
    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]


@pytest.mark.parametrize(("age", "ended"), [(60, True), (61, False)])
def test_a_run_that_would_come_too_late_is_given_up_at_once(age, ended):
    due = AsyncPolicy(age=age).after_error(since=NOON, errors=1, now=NOON)
    assert due is Ended.AGE if ended else due == NOON + 60


def test_scaled_waits_keep_limits():
    scaled = AsyncPolicy(retries=1, age=600).scaled(0.01)
    assert (scaled.retries, scaled.age, scaled.after_errors) == (1, 600, (0.6, 1.2))
    assert scaled.after_refusal(since=NOON, refusals=100, now=NOON) == NOON + 3


# --- handing over -----------------------------------------------------------------------------------------------------


def test_an_event_runs_once(world):
    function = confirm(world, None)
    assert function.payloads == [EVENT]
    assert world.letters == records(world) == []
    assert world.metrics == {"InvocationAttempts": 1, "SuccessfulInvocationAttempts": 1, "Invocations": 1}
    assert world.runs == {"AsyncEventsReceived": 1, "Invocations": 1}


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (aws_error("ResourceNotFoundException", 404), "NO_RESOURCE"),
        (aws_error("AccessDeniedException", 403), "NO_PERMISSIONS"),
        (aws_error("AccessDenied", 403), "NO_PERMISSIONS"),
        (aws_error("ResourceConflictException", 409), "SDK_CLIENT_ERROR"),
    ],
)
def test_a_function_that_is_not_there_or_not_allowed_is_the_rules_failure(world, error, code):
    function = confirm(world, None, handover=[error])
    assert function.times == []
    ((event, attributes),) = world.letters
    assert event == EVENT
    assert attributes == {
        "RULE_ARN": RULE,
        "TARGET_ARN": FUNCTION,
        "ERROR_CODE": code,
        "ERROR_MESSAGE": str(error),
        "RETRY_ATTEMPTS": "0",
    }
    assert records(world) == []
    assert world.runs == {}


@pytest.mark.parametrize("error", [THROTTLED, BROKEN, AWAY])
def test_trouble_with_the_handing_over_is_retried_by_the_rule(world, error):
    function = confirm(world, None, handover=[error, error, None])
    assert function.times == pytest.approx([3], abs=0.01)
    assert world.letters == []
    assert world.metrics["RetryInvocationAttempts"] == 2


def test_the_rules_limits_end_the_handing_over(world):
    function = confirm(world, None, handover=[BROKEN], retry=RetryPolicy(attempts=4))
    assert function.times == []
    ((_, attributes),) = world.letters
    assert attributes["EXHAUSTED_RETRY_CONDITION"] == "MaximumRetryAttempts"
    assert attributes["RETRY_ATTEMPTS"] == "4"


def test_an_event_that_cannot_be_handed_over_for_a_day_is_the_rules(world):
    confirm(world, None, handover=[AWAY])
    assert world.clock.now == NOON + DAY
    assert world.letters[0][1]["EXHAUSTED_RETRY_CONDITION"] == "MaximumEventAgeInSeconds"


# --- running ----------------------------------------------------------------------------------------------------------


def test_three_errors_end_in_a_record_of_the_failure(world):
    function = confirm(world, ERROR)
    assert function.times == pytest.approx([0, 60, 180], abs=0.01)
    assert world.letters == []
    (record,) = records(world)
    request_id = record["requestContext"].pop("requestId")
    assert len(request_id) == 36
    assert record == {
        "version": "1.0",
        "timestamp": "2026-11-18T11:09:40.000Z",
        "requestContext": {
            "functionArn": f"{FUNCTION}:$LATEST",
            "condition": "RetriesExhausted",
            "approximateInvokeCount": 3,
        },
        "requestPayload": EVENT,
        "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
        "responsePayload": {"errorMessage": "no such order", "errorType": "UnknownOrderError"},
    }
    assert world.runs == {"AsyncEventsReceived": 1, "Invocations": 3, "Errors": 3, "AsyncEventsDropped": 1}
    assert world.metrics["Invocations"] == 1, "for the rule it was a success"


def test_the_last_error_is_the_one_in_the_record(world):
    confirm(world, ERROR, "Task timed out", "not JSON")
    assert records(world)[0]["responsePayload"] == "not JSON"


def test_a_retry_that_succeeds_leaves_no_record(world):
    function = confirm(world, ERROR, ERROR, None)
    assert function.times == pytest.approx([0, 60, 180], abs=0.01)
    assert records(world) == []


@pytest.mark.parametrize("retries", [0, 1])
def test_fewer_retries_can_be_set(world, retries):
    function = confirm(world, ERROR, policy=AsyncPolicy(retries=retries))
    assert len(function.times) == retries + 1
    assert records(world)[0]["requestContext"]["approximateInvokeCount"] == retries + 1


@pytest.mark.parametrize("error", [THROTTLED, BROKEN, AWAY, ReadTimeoutError(endpoint_url="http://lambda")])
def test_what_lambda_cannot_run_waits_for_up_to_six_hours(world, error):
    function = confirm(world, error)
    assert function.times[:5] == pytest.approx([0, 1, 3, 7, 15], abs=0.01)
    assert max(function.times) < 6 * HOUR
    assert 6 * HOUR - max(function.times) <= 300
    (record,) = records(world)
    assert record["requestContext"]["condition"] == "EventAgeExceeded"
    assert record["requestContext"]["approximateInvokeCount"] == 0
    assert "responsePayload" not in record
    assert world.runs["Throttles"] == (len(function.times) if error is THROTTLED else 0)


def test_throttling_uses_up_no_retry(world):
    function = confirm(world, THROTTLED, ERROR, THROTTLED, THROTTLED, ERROR, THROTTLED, ERROR)
    assert function.times == pytest.approx([0, 1, 61, 62, 64, 184, 185], abs=0.01)
    assert records(world)[0]["requestContext"]["condition"] == "RetriesExhausted"


def test_an_event_too_old_for_its_next_run_is_given_up(world):
    function = confirm(world, ERROR, policy=AsyncPolicy(age=60))
    assert len(function.times) == 1
    (record,) = records(world)
    assert record["requestContext"]["condition"] == "EventAgeExceeded"
    assert record["responsePayload"]["errorType"] == "UnknownOrderError"
    assert world.clock.now == NOON


def test_lambdas_age_starts_when_it_takes_the_event(world):
    away = [BROKEN] * 40
    function = confirm(world, THROTTLED, THROTTLED, None, handover=[*away, None])
    assert function.times[0] > 6 * HOUR
    assert records(world) == []


def test_a_function_removed_after_the_handing_over_does_not_lose_the_event(world):
    gone = aws_error("ResourceNotFoundException", 404)
    assert confirm(world, gone, gone, None).payloads == [EVENT]
    confirm(world, gone)
    assert records(world)[0]["requestPayload"] == EVENT
    assert world.letters == []


def test_an_event_that_comes_too_late_is_not_run(world):
    function, door = Lambda(world, THROTTLED), Lambda(world, None)
    world.sqs.put(json.dumps(EVENT))
    world.start(hop_to(world, door, function))
    world.run(until=NOON + 100)
    world.clock.now = NOON + 7 * HOUR
    before = len(function.times)
    world.start(hop_to(world, door, function))
    world.run()
    assert len(function.times) == before
    assert records(world)[0]["requestContext"]["condition"] == "EventAgeExceeded"


def test_a_destination_that_refuses_is_counted(world):
    world.sqs.errors["send_message"] = [aws_error("AccessDenied", 403)]
    confirm(world, ERROR)
    assert records(world) == []
    assert world.runs["DestinationDeliveryFailures"] == 1


def test_a_destination_out_of_reach_is_waited_for(world):
    world.sqs.errors["send_message"] = [AWAY, aws_error("InternalFailure", 500)]
    function = confirm(world, ERROR)
    assert len(function.times) == 3, "the function does not run again"
    assert len(records(world)) == 1
    assert world.clock.now == pytest.approx(NOON + 183, abs=0.1)
    assert world.runs["AsyncEventsDropped"] == 1


def test_without_a_destination_the_event_is_dropped_and_counted(world, caplog):
    confirm(world, ERROR, on_failure=None)
    assert world.runs["AsyncEventsDropped"] == 1
    assert "there is no on-failure destination" in caplog.text


# --- crashes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("results", "handover", "records_left", "letters"),
    [
        ((None,), (None,), 0, 0),
        ((ERROR, THROTTLED, None), (BROKEN, None), 0, 0),
        ((ERROR,), (None,), 1, 0),
        ((None,), (BROKEN, aws_error("AccessDeniedException", 403)), 0, 1),
    ],
    ids=["success", "after retries", "failure", "not handed over"],
)
def test_a_worker_may_die_anywhere(worlds, results, handover, records_left, letters):
    model = worlds()
    runs = len(confirm(model, *results, handover=handover).times)
    points = [(moment, number) for moment in ("dies_before", "dies_after") for number in range(model.steps.taken)]
    assert len(points) > 8
    for moment, number in points:
        world = worlds()
        setattr(world.steps, moment, number)
        function, door = Lambda(world, *results), Lambda(world, *handover)
        world.sqs.put(json.dumps(EVENT))
        make = lambda w=world, d=door, f=function: hop_to(w, d, f)  # noqa: E731 - only here
        assert world.run_through_crashes(make) == 1, (moment, number)
        assert len(records(world)) in {records_left, 2 * records_left}, (moment, number)
        assert len(world.letters) in {letters, 2 * letters}, (moment, number)
        assert runs <= len(function.times) <= runs + 1, (moment, number)
        assert world.sqs.messages(JOBS) == {}


def test_errors_are_not_counted_anew_by_each_worker(world):
    function, door = Lambda(world, ERROR), Lambda(world, None)
    world.sqs.put(json.dumps(EVENT))
    for _ in range(20):
        world.start(hop_to(world, door, function))
        world.run(until=world.clock.now + 25)
    assert function.times == pytest.approx([0, 60, 180], abs=1)
    assert len(door.times) == 1
    assert records(world)[0]["requestContext"]["approximateInvokeCount"] == 3


def test_a_worker_that_dies_while_the_function_runs_runs_it_again(world):
    function, door = Lambda(world, None), Lambda(world, None)
    world.sqs.put(json.dumps(EVENT))
    world.start(hop_to(world, door, function))
    world.steps.dies_after = world.steps.taken + 3
    with pytest.raises(Crash):
        world.run()
    assert len(function.times) == 1
    world.start(hop_to(world, door, function))
    world.run()
    assert len(function.times) == 2


# --- on MiniStack -----------------------------------------------------------------------------------------------------

CODE = """
def handler(event, context):
    if event["detail"]["order_id"].endswith("x"):
        raise ValueError("no such order")
"""


def zipped(code):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("confirm.py", code)
    return content.getvalue()


def test_a_function_runs_and_its_failures_are_recorded(running, dispatcher_on):
    sqs, functions = running.client("sqs"), running.client("lambda")
    jobs, dead, failed = (sqs.create_queue(QueueName=name)["QueueUrl"] for name in ("confirm-jobs", "dead", "failed"))
    arn = functions.create_function(
        FunctionName="confirm",
        Runtime="python3.11",
        Role="arn:aws:iam::000000000000:role/confirm",
        Handler="confirm.handler",
        Code={"ZipFile": zipped(CODE)},
    )["FunctionArn"]

    def hop(arn):
        target = FunctionTarget(
            rule_arn=RULE,
            arn=arn,
            dead_letters=dead,
            on_failure=failed,
            timeout=10.0,
            policy=AsyncPolicy(retries=1).scaled(0.001),
        )
        return ToFunction(target, handover=functions, functions=functions, outbox=sqs, records=sqs)

    def send(*order_ids):
        for order_id in order_ids:
            sqs.send_message(QueueUrl=jobs, MessageBody=json.dumps({"detail": {"order_id": order_id}}))

    def received(url):
        answer = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["All"])
        return answer.get("Messages", [])

    with dispatcher_on(sqs) as dispatcher:
        dispatcher.attach(jobs, hop(arn))
        send("order-1", "order-2", "order-x")
        eventually(lambda: visible(sqs, jobs) == (0, 0))
        assert received(dead) == []
        (record,) = received(failed)
        content = json.loads(record["Body"])
        assert content["requestPayload"] == {"detail": {"order_id": "order-x"}}
        assert content["requestContext"]["condition"] == "RetriesExhausted"
        assert content["requestContext"]["approximateInvokeCount"] == 2
        assert content["responsePayload"]["errorMessage"] == "no such order"
        dispatcher.attach(jobs, hop(f"{arn}-of-another-name"))
        send("order-3")
        eventually(lambda: visible(sqs, jobs) == (0, 0))
        (letter,) = received(dead)
        assert letter["MessageAttributes"]["ERROR_CODE"]["StringValue"] == "NO_RESOURCE"
        assert json.loads(letter["Body"]) == {"detail": {"order_id": "order-3"}}
