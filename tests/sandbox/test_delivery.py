"""Events on their way to API destinations: over a day in virtual time, through crashes, and on a real MiniStack."""

from __future__ import annotations

import base64
import dataclasses
import http.server
import itertools
import json
import math
import socket
import subprocess
import sys
import threading
import time
from collections import Counter

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from sandbox.delivery import (
    ApiDestination,
    ApiDestinationTarget,
    ApiKey,
    Basic,
    CallError,
    Parameters,
    Request,
    Response,
    ToApiDestination,
    http_request,
    http_send,
)
from sandbox.jobs import Job, queue_url
from sandbox.retry import Backoff, Journal, Limiter, RetryPolicy
from sandbox.transform import TransformError
from tests.sandbox.queues import DAY, DEAD, JOBS, NOON, Crash, World, aws_error, eventually, jobs_in, visible

RULE = "arn:aws:events:eu-west-1:000000000000:rule/orders/acme"
DESTINATION = "arn:aws:events:eu-west-1:000000000000:api-destination/acme/1"
BASIC = Basic("gateway", "s3cret")


def order(number=1):
    return {
        "version": "0",
        "id": f"event-{number}",
        "source": "dynamodb.orders",
        "detail": {"eventName": "INSERT", "order": {"id": f"order-{number}", "state": "pending"}},
    }


def a_target(**changes):
    return ApiDestinationTarget(
        **{
            "rule_arn": RULE,
            "arn": DESTINATION,
            "dead_letters": DEAD,
            "destination": ApiDestination(endpoint="http://carrier/orders", authorization=BASIC),
            "paths": {"order_id": "$.detail.order.id"},
            "template": '{"order_id": <order_id>}',
            "parameters": Parameters(headers={"Idempotency-Key": "$.detail.order.id"}),
        }
        | changes
    )


@pytest.fixture
def worlds(tmp_path):
    """Makes worlds."""
    made = []

    def make():
        made.append(World(tmp_path / str(len(made))))
        return made[-1]

    yield make
    for one in made:
        one.journal.close()


@pytest.fixture
def world(worlds):
    return worlds()


class Carrier:
    """Answers with one thing after the other (a status, a Response or an exception), and with the last from then on."""

    def __init__(self, world, *answers):
        self._world = world
        self._answers = list(answers)
        self.calls = []

    def __call__(self, request):
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        self.calls.append((self._world.clock.now - NOON, request))

        def effect():
            if isinstance(answer, Exception):
                raise answer
            return answer if isinstance(answer, Response) else Response(answer, None)

        return self._world.steps(effect)

    @property
    def times(self):
        return [when for when, _ in self.calls]

    @property
    def orders(self):
        return [json.loads(request.body)["order_id"] for _, request in self.calls]


def hop_to(world, carrier, *, rate=300, denied=lambda: None, parallel=16, **changes):
    return ToApiDestination(
        a_target(**changes),
        rate=Limiter(rate),
        outbox=world.sqs,
        denied=denied,
        send=carrier,
        parallel=parallel,
        count=world.count,
        clock=world.clock,
        chance=lambda: 0.0,
    )


def deliver(world, *answers, events=1, **options):
    """Send events to a carrier that answers so, until the queue is empty."""
    carrier = Carrier(world, *answers)
    for number in range(1, events + 1):
        world.sqs.put(json.dumps(order(number)))
    world.start(hop_to(world, carrier, **options))
    world.run()
    assert world.notes == []
    return carrier


# --- what the rule does -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 202, 204, 299])
def test_an_event_that_is_taken_is_done(world, status):
    carrier = deliver(world, status)
    assert carrier.orders == ["order-1"]
    assert world.letters == []
    assert world.metrics == {"InvocationAttempts": 1, "SuccessfulInvocationAttempts": 1, "Invocations": 1}


@pytest.mark.parametrize("status", [401, 407, 409, 429, 500, 502, 503, 599])
def test_these_statuses_are_tried_again(world, status):
    carrier = deliver(world, status, status, 200)
    assert carrier.times == pytest.approx([0, 1, 3], abs=0.01)
    assert world.letters == []
    assert world.metrics["RetryInvocationAttempts"] == 2
    assert world.metrics["FailedInvocations"] == 0


@pytest.mark.parametrize("status", [101, 300, 301, 302, 307, 308, 400, 403, 404, 405, 408, 410, 413, 422, 499])
def test_other_statuses_are_dead_lettered_at_once(world, status):
    carrier = deliver(world, status)
    assert len(carrier.calls) == 1
    assert world.letters == [
        (
            order(),
            {
                "RULE_ARN": RULE,
                "TARGET_ARN": DESTINATION,
                "ERROR_CODE": "ERROR_FROM_TARGET",
                "ERROR_MESSAGE": f"Unable to invoke ApiDestination endpoint: it answered with HTTP status {status}.",
                "RETRY_ATTEMPTS": "0",
            },
        )
    ]
    assert world.metrics == {
        "InvocationAttempts": 1,
        "Invocations": 1,
        "FailedInvocations": 1,
        "InvocationsSentToDlq": 1,
    }


@pytest.mark.parametrize("code", ["TIMEOUT", "SDK_CLIENT_ERROR"])
def test_no_answer_is_tried_again(world, code):
    carrier = deliver(world, CallError(code, "Nothing came."), 200)
    assert len(carrier.calls) == 2
    assert world.letters == []


def test_a_name_that_is_not_found_is_dead_lettered_at_once(world):
    deliver(world, CallError("SDK_CLIENT_ERROR", "No such name.", retried=False))
    ((_, attributes),) = world.letters
    assert attributes["ERROR_CODE"] == "SDK_CLIENT_ERROR"
    assert attributes["ERROR_MESSAGE"] == "Unable to invoke ApiDestination endpoint: No such name."


def test_a_day_of_failures_ends_in_the_original_event_and_what_happened(world):
    carrier = deliver(world, 503)
    assert len(carrier.calls) == 99
    assert world.clock.now == NOON + DAY
    ((event, attributes),) = world.letters
    assert event == order(), "not what the transformer made of it"
    assert attributes["EXHAUSTED_RETRY_CONDITION"] == "MaximumEventAgeInSeconds"
    assert attributes["RETRY_ATTEMPTS"] == "98"
    assert attributes["ERROR_CODE"] == "ERROR_FROM_TARGET"


def test_retries_run_out(world):
    policy = RetryPolicy(attempts=3)
    carrier = deliver(world, 500, retry=policy)
    assert carrier.times == pytest.approx([0, 1, 3, 7], abs=0.01)
    ((_, attributes),) = world.letters
    assert attributes["EXHAUSTED_RETRY_CONDITION"] == "MaximumRetryAttempts"
    assert attributes["RETRY_ATTEMPTS"] == "3"


def test_the_last_failure_is_the_one_reported(world):
    deliver(world, 500, 403)
    ((_, attributes),) = world.letters
    assert "status 403" in attributes["ERROR_MESSAGE"]
    assert attributes["RETRY_ATTEMPTS"] == "1"
    assert "EXHAUSTED_RETRY_CONDITION" not in attributes


def test_retry_after_is_waited_for(world):
    carrier = deliver(world, Response(429, "3600"), Response(503, "0"), 200)
    assert carrier.times == pytest.approx([0, 3600, 3602], abs=0.01)


def test_a_wait_longer_than_sqs_knows_is_kept(world):
    carrier = deliver(world, Response(503, str(20 * 3600)), 200)
    assert carrier.times == pytest.approx([0, 72_000], abs=0.01)
    assert list(world.sqs.receptions.values()) == [1], "invisible all the time"


def test_retry_after_does_not_outlast_the_age(world):
    carrier = deliver(world, Response(503, str(3 * DAY)))
    assert len(carrier.calls) == 1
    assert world.clock.now == NOON + DAY
    assert world.letters[0][1]["EXHAUSTED_RETRY_CONDITION"] == "MaximumEventAgeInSeconds"


def test_a_negative_retry_after_ends_it(world):
    carrier = deliver(world, Response(503, "-1"))
    assert len(carrier.calls) == 1
    ((_, attributes),) = world.letters
    assert "EXHAUSTED_RETRY_CONDITION" not in attributes


def test_without_a_dead_letter_queue_the_event_is_dropped_and_counted(world, caplog):
    deliver(world, 404, dead_letters=None)
    assert world.letters == []
    assert world.metrics["FailedInvocations"] == 1
    assert world.metrics["InvocationsSentToDlq"] == 0
    assert "there is no dead-letter queue" in caplog.text


@pytest.mark.parametrize("code", ["AccessDenied", "AWS.SimpleQueueService.NonExistentQueue"])
def test_a_dead_letter_queue_that_refuses_is_counted(world, code):
    world.sqs.errors["send_message"] = [aws_error(code)]
    deliver(world, 404)
    assert world.letters == []
    assert world.metrics["InvocationsFailedToBeSentToDlq"] == 1
    assert world.metrics["InvocationsSentToDlq"] == 0


def test_a_dead_letter_queue_out_of_reach_is_waited_for(world):
    away = [EndpointConnectionError(endpoint_url="http://queues"), aws_error("InternalFailure", 500)]
    world.sqs.errors["send_message"] = away
    carrier = deliver(world, 404, rate=0.01)
    assert len(carrier.calls) == 1, "the target is not called again, and its rate is nothing to wait for"
    assert len(world.letters) == 1
    assert world.metrics["FailedInvocations"] == 1
    assert world.metrics["InvocationsSentToDlq"] == 1
    assert world.clock.now == pytest.approx(NOON + 3, abs=0.1)


def test_a_role_that_may_not_call_dead_letters_at_once(world):
    reason = "no identity-based policy allows the events:InvokeApiDestination action"
    carrier = deliver(world, 200, denied=lambda: reason)
    assert carrier.calls == []
    ((_, attributes),) = world.letters
    assert (attributes["ERROR_CODE"], attributes["ERROR_MESSAGE"]) == ("NO_PERMISSIONS", reason)
    assert attributes["RETRY_ATTEMPTS"] == "0"


def test_an_event_that_cannot_be_transformed_is_dead_lettered_without_its_content_in_the_log(world, caplog):
    carrier = deliver(world, 200, template='{"order_id": "<order_id>}')
    assert carrier.calls == []
    ((event, attributes),) = world.letters
    assert attributes["ERROR_CODE"] == "INVALID_JSON"
    assert event == order()
    assert "order-1" not in caplog.text + attributes["ERROR_MESSAGE"]


def test_what_is_no_event_is_dead_lettered_as_it_is(world):
    world.sqs.put("{not json")
    world.start(hop_to(world, Carrier(world, 200)))
    world.run()
    ((letter),) = world.sqs.messages(DEAD).values()
    assert (letter["body"], letter["attributes"]["ERROR_CODE"]) == ("{not json", "INVALID_JSON")


# --- rates and numbers ------------------------------------------------------------------------------------------------


def test_calls_above_the_rate_wait_and_none_is_dropped(world):
    carrier = deliver(world, 200, events=100, rate=20)
    assert sorted(carrier.orders) == sorted(f"order-{number}" for number in range(1, 101))
    assert carrier.times == pytest.approx([number / 20 for number in range(100)], abs=0.01)


def test_what_waits_for_its_turn_stays_in_the_queue(world):
    for number in range(100):
        world.sqs.put(json.dumps(order(number)))
    world.start(hop_to(world, Carrier(world, 200), rate=1, parallel=4))
    world.run(until=NOON + 10)
    assert 4 <= len(world.notes) <= 5
    assert world.sqs.next_visible(JOBS) <= world.clock.now


def test_a_backlog_ages_while_it_waits(world):
    carrier = deliver(world, 200, events=100, rate=1, retry=RetryPolicy(age=60))
    assert len(carrier.calls) == 60
    assert len(world.letters) == 40
    for _, attributes in world.letters:
        assert attributes["EXHAUSTED_RETRY_CONDITION"] == "MaximumEventAgeInSeconds"
        assert attributes["RETRY_ATTEMPTS"] == "0"
    assert world.clock.now == pytest.approx(NOON + 60, abs=2)


def test_what_is_too_old_takes_no_turn(world):
    carrier = Carrier(world, 200)
    for number in range(100):
        world.sqs.put(json.dumps(order(number)))
    world.start(hop_to(world, carrier, rate=1, retry=RetryPolicy(age=60)))
    world.run(until=NOON + 59)
    world.sqs.put(json.dumps(order(9999)))
    world.run()
    assert carrier.orders[-1] == "order-9999"
    assert carrier.times[-1] < 64


def test_targets_of_one_destination_share_its_rate(world):
    limiter, carrier = Limiter(10), Carrier(world, 200)
    hops = [
        ToApiDestination(a_target(), rate=limiter, outbox=world.sqs, send=carrier, clock=world.clock) for _ in range(2)
    ]
    job = Job(body="{}", since=NOON)
    assert [hop.slot(job, NOON) - NOON for hop in (*hops, *hops)] == pytest.approx([0, 0.1, 0.2, 0.3])


def test_of_many_retries_no_more_start_than_may_run(world):
    carrier, started = Carrier(world, 503, 503, 503, 503, 200), []
    for number in range(4):
        world.sqs.put(json.dumps(order(number)))
    world.start(hop_to(world, carrier, parallel=2, retry=RetryPolicy(backoff=Backoff(first=100, longest=100))))
    world.run(until=NOON + 99)
    assert len(carrier.calls) == 4
    world.line._start = started.append

    def look():
        world.clock.now += 1
        return world.line.run_due()

    assert [look() for _ in range(3)][-1] == math.inf
    assert len(started) == 2
    started.pop(0)()
    look()
    assert len(started) == 2, "and the next starts when one ends"


def test_hundreds_wait_at_once_and_new_events_pass_them(world):
    class Moody(Carrier):
        well = False

        def __call__(self, request):
            self._answers = [200 if self.well or json.loads(request.body)["order_id"] == "order-9999" else 503]
            return super().__call__(request)

    carrier = Moody(world, 503)
    for number in range(200):
        world.sqs.put(json.dumps(order(number)))
    world.start(hop_to(world, carrier))
    world.run(until=NOON + 600)
    assert len(world.notes) == 200
    world.sqs.put(json.dumps(order(9999)))
    world.run(until=NOON + 601)
    assert len(world.notes) == 200
    assert carrier.orders.count("order-9999") == 1
    carrier.well, before = True, len(carrier.calls)
    world.run()
    assert sorted(carrier.orders[before:]) == sorted(f"order-{number}" for number in range(200))
    assert world.letters == []


# --- crashes ----------------------------------------------------------------------------------------------------------


def crash_points(world, *answers):
    """Every step of a delivery, with a worker that dies before it and one that dies after it."""
    deliver(world, *answers)
    return [(moment, number) for moment in ("dies_before", "dies_after") for number in range(world.steps.taken)]


@pytest.mark.parametrize(
    ("answers", "delivered", "letters"),
    [((200,), 1, 0), ((500, 503, 200), 1, 0), ((500, 404), 0, 1)],
    ids=["delivered", "after retries", "dead-lettered"],
)
def test_a_worker_may_die_anywhere(worlds, answers, delivered, letters):
    points = crash_points(worlds(), *answers)
    assert len(points) > 8
    for moment, number in points:
        world = worlds()
        setattr(world.steps, moment, number)
        carrier = Carrier(world, *answers)
        world.sqs.put(json.dumps(order()))
        assert world.run_through_crashes(lambda w=world, c=carrier: hop_to(w, c)) == 1, (moment, number)
        assert len(world.letters) in {letters, 2 * letters}, (moment, number)
        assert len(carrier.calls) in {len(answers), len(answers) + 1}, "at least once, and once more at most"
        assert world.sqs.messages(JOBS) == {}
        world.start(hop_to(world, carrier))
        assert world.notes == [], (moment, number)
        assert bool(delivered) == (not world.letters)


def test_retries_are_not_counted_anew_by_each_worker(world):
    carrier = Carrier(world, 503)
    world.sqs.put(json.dumps(order()))
    policy = RetryPolicy(attempts=20, backoff=Backoff(first=600, longest=600))
    for _ in range(100):
        if not world.sqs.messages(JOBS):
            break
        world.start(hop_to(world, carrier, retry=policy))
        world.run(until=world.clock.now + 250)
    assert len(carrier.calls) == 21
    gaps = [later - earlier for earlier, later in itertools.pairwise(carrier.times)]
    assert gaps == pytest.approx([600] * 20, abs=1), "and a restart neither hastens nor delays a retry"
    assert world.letters[0][1]["RETRY_ATTEMPTS"] == "20"


def test_a_new_worker_goes_on_at_once(world):
    world.sqs.put(json.dumps(order()))
    world.steps.dies_after = 2
    with pytest.raises(Crash):
        deliver(world, 200, events=0)
    assert world.sqs.next_visible(JOBS) == NOON + 10
    deliver(world, 200, events=0)
    assert world.clock.now < NOON + 2


def test_without_its_journal_a_message_comes_back_by_itself(world):
    world.sqs.put(json.dumps(order()))
    world.steps.dies_after = 2
    with pytest.raises(Crash):
        deliver(world, 200, events=0)
    world.journal.remove(*world.notes)
    carrier = deliver(world, 200, events=0)
    assert carrier.times == pytest.approx([10], abs=1)


def test_what_the_last_worker_finished_while_another_recovers_is_passed_over(world, monkeypatch):
    """What it had begun ends after its death, between the look at the journal's keys and the look at each."""
    world.journal.write("finished", {"receipt": "gone"})
    world.journal.write("waiting", {"receipt": "known"})
    read, asked = world.journal.read, []
    monkeypatch.setattr(world.journal, "read", lambda key: None if key == "finished" else read(key))
    monkeypatch.setattr(world.sqs, "change_message_visibility", lambda **call: asked.append(call["ReceiptHandle"]))
    world.start(hop=None)
    assert asked == ["known"]


def test_an_error_of_sqs_while_recovering_is_no_reason_to_forget(world):
    carrier = Carrier(world, 503, 200)
    world.sqs.put(json.dumps(order()))
    world.start(hop_to(world, carrier))
    world.run(until=NOON + 0.5)
    world.sqs.errors["change_message_visibility"] = [aws_error("InternalFailure", 500)]
    with pytest.raises(ClientError):
        world.start(hop_to(world, carrier))
    assert len(world.notes) == 1


def test_a_message_that_could_not_be_deleted_comes_again(world):
    world.sqs.errors["delete_message"] = [EndpointConnectionError(endpoint_url="http://queues")]
    carrier = deliver(world, 200)
    assert carrier.orders == ["order-1", "order-1"]


def test_a_message_that_became_visible_too_early_is_not_delivered_twice_at_once(world):
    carrier = Carrier(world, 503, 200)
    world.sqs.put(json.dumps(order()))
    world.start(hop_to(world, carrier, retry=RetryPolicy(backoff=Backoff(first=100, longest=100))))
    world.run(until=NOON + 5)
    (message,) = world.sqs.messages(JOBS).values()
    message["visible"] = world.clock.now
    world.run()
    assert carrier.times == pytest.approx([0, 100], abs=0.01)
    assert world.notes == []


def test_a_job_whose_message_is_gone_is_forgotten(world, caplog):
    carrier = Carrier(world, 503)
    world.sqs.put(json.dumps(order()))
    world.start(hop_to(world, carrier, retry=RetryPolicy(backoff=Backoff(first=100, longest=100))))
    world.run(until=NOON + 5)
    world.sqs.messages(JOBS).clear()
    world.clock.now += 1000
    assert world.line.run_due() == math.inf
    assert len(carrier.calls) == 1
    assert "could not be kept invisible" in caplog.text


def test_trouble_with_sqs_does_not_stop_a_retry(world):
    world.sqs.errors["change_message_visibility"] = [EndpointConnectionError(endpoint_url="http://queues")] * 2
    carrier = deliver(world, 503, 503, 503, 503, 503, 503, 200)
    assert len(carrier.calls) == 7


def test_a_mistake_of_ours_costs_the_job_time_and_nothing_else(world):
    class Flawed:
        longest, parallel = 5.0, 2

        def __init__(self):
            self.attempts = 0

        def slot(self, job, now):
            return now

        def attempt(self, job):
            self.attempts += 1
            if self.attempts == 1:
                raise ZeroDivisionError

    world.sqs.put("{}")
    world.start(flawed := Flawed())
    with pytest.raises(ZeroDivisionError):
        world.run()
    world.run()
    assert flawed.attempts == 2
    assert world.sqs.messages(JOBS) == {}
    assert world.clock.now == NOON + 10


# --- the request ------------------------------------------------------------------------------------------------------


def request_for(event=None, **changes):
    return http_request(a_target(**changes), event or order(), NOON)


def connection(authorization=BASIC, endpoint="http://carrier/orders", **parameters):
    return ApiDestination(endpoint=endpoint, authorization=authorization, parameters=Parameters(**parameters))


def test_a_request_is_what_event_bridge_sends():
    assert request_for() == Request(
        method="POST",
        url="http://carrier/orders",
        headers={
            "Content-Type": "application/json; charset=utf-8",
            "Idempotency-Key": "order-1",
            "Authorization": "Basic " + base64.b64encode(b"gateway:s3cret").decode(),
            "User-Agent": "Amazon/EventBridge/ApiDestinations",
            "Range": "bytes=0-1048575",
            "Accept-Encoding": "gzip,deflate",
            "Connection": "close",
        },
        body=b'{"order_id":"order-1"}',
    )


def test_without_a_template_the_whole_event_is_sent():
    assert json.loads(request_for(template=None).body) == order()


def test_the_time_of_ingestion_is_when_the_bus_received_the_event():
    body = request_for(template='{"at": <aws.events.event.ingestion-time>, "rule": <aws.events.rule-name>}').body
    assert json.loads(body) == {"at": "2026-11-18T11:06:40.000Z", "rule": "acme"}


def test_an_api_key_goes_into_its_header():
    headers = request_for(destination=connection(ApiKey("X-Key", "k3y"))).headers
    assert headers["X-Key"] == "k3y"
    assert "Authorization" not in headers


def test_the_connection_wins_over_the_target_and_its_credential_over_both():
    ours = Parameters(
        headers={"x-tenant": "ours", "authorization": "none", "Content-Type": "application/vnd.order+json"},
        query={"a": "ours", "b": "$.id"},
    )
    theirs = connection(headers={"X-Tenant": "theirs"}, query={"a": "theirs"}, body={"tenant": "theirs"})
    request = request_for(parameters=ours, destination=theirs)
    assert request.headers["X-Tenant"] == "theirs"
    assert request.headers["Authorization"].startswith("Basic ")
    assert request.headers["Content-Type"] == "application/vnd.order+json"
    assert {name.lower() for name in request.headers} == {
        *("x-tenant", "authorization", "content-type", "user-agent", "range", "accept-encoding", "connection")
    }
    assert request.url == "http://carrier/orders?a=theirs&b=event-1"
    assert json.loads(request.body) == {"order_id": "order-1", "tenant": "theirs"}


@pytest.mark.parametrize("name", ["User-Agent", "range", "Host", "Content-Length", "FROM", " Transfer-Encoding "])
def test_some_headers_are_not_for_others(name):
    headers = request_for(parameters=Parameters(headers={name: "mine"})).headers
    assert "mine" not in headers.values()
    assert headers["User-Agent"] == "Amazon/EventBridge/ApiDestinations"


def test_values_of_parameters_come_from_the_original_event():
    event = order() | {"note": 'a "quoted" ümlaut'}
    parameters = Parameters(
        headers={"X-Note": "$.note", "X-Missing": "$.no.such", "X-Literal": "note"},
        query={"note": "$.note", "empty": "$.no.such"},
        path=("$.detail.order.id", "a/b"),
    )
    destination = connection(endpoint="http://carrier/orders/*/of/*?v=1")
    request = request_for(event, parameters=parameters, destination=destination)
    assert request.headers["X-Note"] == 'a "quoted" ümlaut'
    assert (request.headers["X-Missing"], request.headers["X-Literal"]) == ("", "note")
    assert request.url == ("http://carrier/orders/order-1/of/a%2Fb?v=1&note=a+%22quoted%22+%C3%BCmlaut&empty=")


@pytest.mark.parametrize(
    ("name", "value"),
    [("X-Note", "a\r\nX-Evil: 1"), ("X-Note", "\x00"), ("X-Note", "\ud800"), ("X Note", "a"), ("", "a")],
)
def test_a_header_that_cannot_be_sent_is_dead_lettered_without_its_value(world, name, value):
    carrier = deliver(world, 200, parameters=Parameters(headers={name: value}))
    assert carrier.calls == []
    ((_, attributes),) = world.letters
    assert attributes["ERROR_CODE"] == "INVALID_PARAMETER"
    assert "Evil" not in attributes["ERROR_MESSAGE"]


def test_a_path_that_is_none_is_an_error_of_the_target():
    with pytest.raises(TransformError):
        request_for(parameters=Parameters(headers={"X-All": "$..id"}))


def test_no_credential_shows():
    target = a_target(destination=connection(ApiKey("X-Key", "k3y"), headers={"X-Other": "0ther"}))
    shown = repr((target, BASIC, request_for(destination=target.destination)))
    assert not any(
        secret in shown for secret in ("s3cret", "k3y", "0ther", base64.b64encode(b"gateway:s3cret").decode())
    )


# --- over HTTP --------------------------------------------------------------------------------------------------------


class CarrierServer(http.server.ThreadingHTTPServer):
    """Remembers requests and answers as `answer` says, which gets the handler."""

    daemon_threads = True

    def __init__(self, answer):
        self.requests = []
        self.answer = answer

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            server: CarrierServer

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                self.server.requests.append((self.path, dict(self.headers), body))
                self.server.answer(self)

            def reply(self, status, **headers):
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name.replace("_", "-"), value)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def handle_error(self, request, client_address):
        """A client that hangs up is what some tests are about."""

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/orders"


@pytest.fixture
def carrier_server():
    servers = []

    def start(answer):
        servers.append(CarrierServer(answer))
        return servers[-1]

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def to(url):
    return Request(method="POST", url=url, headers={"X-Note": "ü", "Connection": "close"}, body=b'{"a":"\xc3\xbc"}')


def test_a_call_is_made_as_asked(carrier_server):
    server = carrier_server(lambda handler: handler.reply(202, Retry_After="7"))
    assert http_send(to(server.url + "?a=b")) == Response(202, "7")
    ((path, headers, body),) = server.requests
    assert path == "/orders?a=b"
    assert headers == {
        "Host": f"127.0.0.1:{server.server_port}",
        "Content-Length": "10",
        "Connection": "close",
        "X-Note": "ü".encode().decode("latin-1"),
        "Accept-Encoding": "identity",
    }
    assert body == b'{"a":"\xc3\xbc"}'


def test_a_redirect_is_not_followed(carrier_server):
    server = carrier_server(lambda handler: handler.reply(307, Location="/elsewhere"))
    assert http_send(to(server.url)).status == 307
    assert len(server.requests) == 1


def unreachable(url, timeout=1.0):
    begun = time.monotonic()
    with pytest.raises(CallError) as raised:
        http_send(to(url), timeout=timeout)
    return raised.value.code, raised.value.retried, time.monotonic() - begun


def test_a_slow_answer_times_out(carrier_server):
    answered = threading.Event()
    server = carrier_server(lambda _: answered.wait(10))
    code, retried, took = unreachable(server.url, timeout=0.2)
    answered.set()
    assert (code, retried) == ("TIMEOUT", True)
    assert 0.15 < took < 5


@pytest.mark.parametrize("part", [b"HTTP/1.1 200 OK\r\nX-Drip: ", b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"])
def test_an_answer_that_drips_times_out_as_well(carrier_server, part):
    stopped = threading.Event()

    def drip(handler):
        handler.wfile.write(part)
        while not stopped.wait(0.02):
            handler.wfile.write(b"x")

    code, retried, took = unreachable(carrier_server(drip).url, timeout=0.3)
    stopped.set()
    assert (code, retried) == ("TIMEOUT", True)
    assert 0.25 < took < 5


def test_a_server_that_is_not_there_is_tried_again():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        assert unreachable(f"http://127.0.0.1:{port}/")[:2] == ("SDK_CLIENT_ERROR", True)


@pytest.mark.parametrize("answer", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab"])
def test_an_answer_that_is_none_is_tried_again(carrier_server, answer):
    def half(handler):
        handler.wfile.write(answer)
        handler.close_connection = True

    assert unreachable(carrier_server(half).url)[:2] == ("SDK_CLIENT_ERROR", True)


def test_a_name_that_is_not_found_is_not_tried_again(monkeypatch):
    def not_found(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr("socket.getaddrinfo", not_found)
    assert unreachable("http://carrier.invalid/")[:2] == ("SDK_CLIENT_ERROR", False)


def test_an_answer_without_a_header_asks_for_no_wait(carrier_server):
    assert http_send(to(carrier_server(lambda handler: handler.reply(503)).url)) == Response(503, None)


# --- on MiniStack -----------------------------------------------------------------------------------------------------


def test_an_order_goes_from_the_bus_to_the_carrier(running, carrier_server, dispatcher_on, tmp_path):
    events, sqs = running.client("events"), running.client("sqs")
    jobs = sqs.create_queue(QueueName="delivery-jobs")["QueueUrl"]
    dead = sqs.create_queue(QueueName="delivery-dead")["QueueUrl"]
    arn = "arn:aws:sqs:eu-west-1:000000000000:delivery-jobs"
    assert queue_url(running.endpoint_url, arn) == jobs
    events.create_event_bus(Name="delivery")
    events.put_rule(Name="acme", EventBusName="delivery", EventPattern='{"source": ["dynamodb.orders"]}')
    events.put_targets(Rule="acme", EventBusName="delivery", Targets=[{"Id": "carrier", "Arn": arn}])

    def answer(handler):
        key = handler.headers["Idempotency-Key"]
        first = [headers["Idempotency-Key"] for _, headers, _ in handler.server.requests].count(key) == 1
        if key.endswith("7"):
            handler.reply(422)
        else:
            handler.reply(503 if first and key.endswith("3") else 202)

    server = carrier_server(answer)
    hop = ToApiDestination(
        a_target(
            destination=connection(endpoint=server.url),
            dead_letters=dead,
            retry=RetryPolicy(backoff=Backoff(first=0.2, longest=0.2)),
        ),
        rate=Limiter(300),
        outbox=sqs,
    )
    with dispatcher_on(sqs) as dispatcher:
        dispatcher.attach(jobs, hop)
        for number in range(20):
            detail = json.dumps(order(number)["detail"])
            events.put_events(
                Entries=[{"EventBusName": "delivery", "Source": "dynamodb.orders", "DetailType": "t", "Detail": detail}]
            )
        eventually(lambda: visible(sqs, jobs) == (0, 0))
    taken = Counter(json.loads(body)["order_id"] for _, _, body in server.requests)
    assert taken == {f"order-{number}": 2 if number in {3, 13} else 1 for number in range(20)}
    letters = sqs.receive_message(QueueUrl=dead, MaxNumberOfMessages=10, MessageAttributeNames=["All"])["Messages"]
    bodies = [json.loads(letter["Body"]) for letter in letters]
    assert {body["detail"]["order"]["id"] for body in bodies} == {"order-7", "order-17"}
    assert {body["source"] for body in bodies} == {"dynamodb.orders"}
    for letter in letters:
        assert letter["MessageAttributes"]["ERROR_CODE"]["StringValue"] == "ERROR_FROM_TARGET"
        assert letter["MessageAttributes"]["RULE_ARN"]["StringValue"] == RULE
    journal = Journal(tmp_path / "delivery-jobs.journal")
    assert list(journal) == []
    journal.close()


WORKER = """
import sys, time, pathlib, boto3
from sandbox.jobs import Dispatcher
from tests.sandbox.test_delivery import *
endpoint, jobs, carrier, state = sys.argv[1:]
sqs = boto3.Session("a", "b", region_name="eu-west-1").client("sqs", endpoint_url=endpoint)
hop = ToApiDestination(a_target(destination=connection(endpoint=carrier)), rate=Limiter(100), outbox=sqs)
hop.longest = 0.5
Dispatcher(sqs, state=pathlib.Path(state)).attach(jobs, hop)
time.sleep(60)
"""


def test_a_worker_that_is_killed_loses_nothing(running, carrier_server, dispatcher_on, tmp_path):
    sqs, jobs = jobs_in(running, "killed", *(json.dumps(order(number)) for number in range(60)))
    server = carrier_server(lambda handler: time.sleep(0.05) or handler.reply(202))
    arguments = [running.endpoint_url, jobs, server.url, str(tmp_path)]
    with subprocess.Popen([sys.executable, "-c", WORKER, *arguments]) as worker:
        eventually(lambda: len(server.requests) >= 15)
        worker.kill()
    assert visible(sqs, jobs)[0] > 0
    assert visible(sqs, jobs)[1] > 0
    with dispatcher_on(sqs) as dispatcher:
        hop = ToApiDestination(a_target(destination=connection(endpoint=server.url)), rate=Limiter(300), outbox=sqs)
        dispatcher.attach(jobs, hop)
        # What the dead worker had taken and not noted comes back by itself, after 6 seconds.
        eventually(lambda: visible(sqs, jobs) == (0, 0), within=30)
    taken = Counter(json.loads(body)["order_id"] for _, _, body in server.requests)
    assert set(taken) == {f"order-{number}" for number in range(60)}
    assert taken.total() <= 60 + hop.parallel


def test_dataclasses_of_targets_are_values():
    assert dataclasses.replace(a_target(), dead_letters=None) == a_target(dead_letters=None)
