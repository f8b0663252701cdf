"""Lines of access logs come to their log groups together, in their order, and none is lost at the end."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, ParamValidationError

from sandbox.accesslog import AccessLog
from tests.sandbox.conftest import until

ARN = "arn:aws:logs:eu-west-1:000000000000:log-group:"


def read(logs, group):
    answers = logs.get_paginator("filter_log_events").paginate(logGroupName=group)
    return [event["message"] for answer in answers for event in answer["events"]]


@pytest.fixture
def logs(running, request):
    """A client, and the name of a log group that is the test's own."""
    client, group = running.client("logs"), f"/{request.node.name}"
    client.create_log_group(logGroupName=group)
    yield client, group
    client.delete_log_group(logGroupName=group)


class Counting:
    """A client that counts what is put, and fails as often as it is told to."""

    def __init__(self, client, *failures):
        self._client = client
        self._failures = list(failures)
        self.exceptions = client.exceptions
        self.create_log_stream = client.create_log_stream
        self.puts = []

    def put_log_events(self, **request):
        if self._failures:
            raise self._failures.pop(0)
        answer = self._client.put_log_events(**request)
        self.puts.append((request["logGroupName"], len(request["logEvents"])))
        return answer


def test_lines_come_together_in_their_order(logs):
    client, group = logs
    counting = Counting(client)
    written = [f"line {number}" for number in range(50)]
    with AccessLog(counting) as log:
        for line in written:
            log.write(f"{ARN}{group}:*", line)
        assert until(lambda: read(client, group) if len(counting.puts) else None, "the lines are there")
    assert read(client, group) == written
    assert len(counting.puts) < 10


def test_what_is_kept_at_the_end_is_written(logs):
    client, group = logs
    with AccessLog(client) as log:
        log.write(f"{ARN}{group}", "the last")
    assert read(client, group) == ["the last"]


def test_more_lines_than_one_call_takes_are_several_calls(logs, monkeypatch):
    client, group = logs
    counting = Counting(client)
    monkeypatch.setattr("sandbox.accesslog._BATCH", 2)
    monkeypatch.setattr("sandbox.accesslog._KEPT", 60)
    with AccessLog(counting) as log:
        for number in range(5):
            log.write(f"{ARN}{group}", str(number))
    assert [count for _, count in counting.puts] == [2, 2, 1]
    assert read(client, group) == list("01234")


@pytest.mark.parametrize(
    "failure",
    [
        ClientError({"Error": {"Code": "ThrottlingException", "Message": "m"}}, "PutLogEvents"),
        EndpointConnectionError(endpoint_url="http://logs"),
        ParamValidationError(report="an empty name"),
    ],
    ids=["refused", "away", "senseless"],
)
def test_a_group_that_takes_no_lines_keeps_no_other_from_its_own(logs, failure, caplog):
    client, group = logs
    with AccessLog(Counting(client, failure)) as log:
        log.write(f"{ARN}/first", "lost")
        log.write(f"{ARN}{group}", "kept")
    assert read(client, group) == ["kept"]
    assert "/first: 1 lines of the access log may be lost" in caplog.text
