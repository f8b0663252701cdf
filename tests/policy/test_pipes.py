"""Pipes: which of them are judged, by what of them is known, and what may be configured."""

from __future__ import annotations

from typing import Any

import pytest

from tests.policy.cases.pipes import (
    ARN,
    BOUNDED,
    BUS_PARAMETERS,
    CLASSIC,
    EXECUTION_DATA,
    FILTER,
    FILTERS,
    LOG,
    NATIVE,
    NO_LOG,
    NO_PATTERN,
    NOTHING_SELECTED,
    PARAMETERS,
    TARGET,
    TEMPLATE,
    age,
    attempts,
    batch,
    bisect,
    dead_letters,
    good,
    payload,
    position,
)
from tests.policy.engine import NOT_YET, Engine
from tests.policy.programs import Thing, drop, places, put
from tests.policy.suite import said

STREAMS = [pytest.param(type_, stream, id=f"{type_}-{stream}") for type_, stream in PARAMETERS]
TYPES = [CLASSIC, NATIVE]


def pipe(type_: str, inputs: dict[str, Any]) -> Thing:
    return Thing(type=type_, name="thing", inputs=inputs)


def verdict(rule: str, type_: str, inputs: dict[str, Any]) -> Any:
    engine = Engine()
    engine.register(type_, inputs)
    return engine.verdict(rule, type_)


@pytest.mark.parametrize(("type_", "stream"), STREAMS)
def test_a_stream_is_known_by_its_arn_when_nothing_is_said_of_it(type_: str, stream: str):
    inputs = put(drop(good(type_, stream), "sourceParameters"), "target", NOT_YET)
    at = f"sourceParameters.{PARAMETERS[type_, stream]}"
    wrong = [dead_letters(at), attempts(at), age(at), bisect(at), batch(at), position(at)]
    assert said(BOUNDED, pipe(type_, inputs)) == sorted(wrong)
    inputs = put(inputs, "source", NOT_YET)
    assert said(BOUNDED, pipe(type_, inputs)) == []
    assert {f"sourceParameters.{PARAMETERS[type_, one]}" for one in ("dynamodb", "kinesis")} <= verdict(
        BOUNDED, type_, inputs
    ).deferred


@pytest.mark.parametrize(("type_", "stream"), STREAMS)
def test_a_stream_is_known_by_its_parameters_when_its_arn_is_not_known(type_: str, stream: str):
    at = f"sourceParameters.{PARAMETERS[type_, stream]}"
    inputs = put(drop(good(type_, stream), f"{at}.deadLetterConfig"), "source", NOT_YET)
    assert said(BOUNDED, pipe(type_, inputs)) == [dead_letters(at)]
    assert not verdict(BOUNDED, type_, inputs).deferred


@pytest.mark.parametrize("type_", TYPES)
def test_a_queue_is_no_stream_and_may_be_passed_on_as_it_is(type_: str):
    inputs = {**good(type_), "source": ARN.format("sqs", "orders"), "desiredState": "STOPPED"}
    inputs["sourceParameters"] = {"sqsQueueParameters": {"batchSize": 10}}
    thing = pipe(type_, inputs)
    assert said(BOUNDED, thing) == said(FILTER, thing) == []
    assert not verdict(BOUNDED, type_, inputs).deferred
    for pattern in ("{}", "eventName"):
        inputs["sourceParameters"] = {"filterCriteria": {"filters": [{"pattern": pattern}]}}
        assert len(said(FILTER, pipe(type_, inputs))) == 1


@pytest.mark.parametrize("type_", TYPES)
def test_a_kinesis_stream_may_be_passed_on_as_it_is_and_kept_for_longer(type_: str):
    inputs = drop(good(type_, "kinesis"), "sourceParameters.filterCriteria")
    assert said(FILTER, pipe(type_, inputs)) == []
    at = "sourceParameters.kinesisStreamParameters"
    inputs = put(put(inputs, f"{at}.maximumRecordAgeInSeconds", 604799), f"{at}.startingPosition", "AT_TIMESTAMP")
    assert said(BOUNDED, pipe(type_, inputs)) == [age(at)]
    assert said(BOUNDED, pipe(type_, inputs), config={"kinesisRetentionSeconds": 604800}) == []


@pytest.mark.parametrize("type_", TYPES)
def test_the_retention_of_kinesis_says_nothing_of_a_table(type_: str):
    at = f"sourceParameters.{PARAMETERS[type_, 'dynamodb']}"
    inputs = put(good(type_), f"{at}.maximumRecordAgeInSeconds", 604799)
    assert said(BOUNDED, pipe(type_, inputs), config={"kinesisRetentionSeconds": 604800}) == [age(at)]


@pytest.mark.parametrize("seconds", [1, 60, 86399.0, NOT_YET], ids=["1", "60", "86399.0", "unknown"])
@pytest.mark.parametrize(("type_", "stream"), STREAMS)
def test_every_age_below_the_streams_is_accepted(type_: str, stream: str, seconds: Any):
    at = f"sourceParameters.{PARAMETERS[type_, stream]}"
    assert said(BOUNDED, pipe(type_, put(good(type_, stream), f"{at}.maximumRecordAgeInSeconds", seconds))) == []


@pytest.mark.parametrize("size", [1, 10, NOT_YET], ids=["1", "10", "unknown"])
@pytest.mark.parametrize(("type_", "stream"), STREAMS)
def test_every_batch_that_a_bus_takes_is_accepted(type_: str, stream: str, size: Any):
    at = f"sourceParameters.{PARAMETERS[type_, stream]}"
    assert said(BOUNDED, pipe(type_, put(good(type_, stream), f"{at}.batchSize", size))) == []


@pytest.mark.parametrize("type_", TYPES)
@pytest.mark.parametrize(("retries", "accepted"), [(0, True), (5, True), (6, False)])
def test_the_retries_that_are_accepted_are_configured(type_: str, retries: int, *, accepted: bool):
    at = f"sourceParameters.{PARAMETERS[type_, 'dynamodb']}"
    inputs = put(good(type_), f"{at}.maximumRetryAttempts", retries)
    lower = attempts(at).replace("185", "5")
    assert said(BOUNDED, pipe(type_, inputs), config={"maximumRetryAttempts": 5}) == ([] if accepted else [lower])


@pytest.mark.parametrize("type_", TYPES)
def test_a_bus_is_known_by_its_arn_or_its_parameters_and_other_targets_take_larger_batches(type_: str):
    at = f"sourceParameters.{PARAMETERS[type_, 'dynamodb']}"
    inputs = put(good(type_), f"{at}.batchSize", 100)
    parameters = f"targetParameters.{BUS_PARAMETERS[type_]}"
    for known in (put(inputs, "target", NOT_YET), drop(inputs, parameters), put(inputs, "targetParameters", NOT_YET)):
        assert said(BOUNDED, pipe(type_, known)) == [batch(at)]
    function = put(drop(inputs, parameters), "target", ARN.format("lambda", "function:orders"))
    for other in (function, put(function, "targetParameters", NOT_YET)):
        assert said(BOUNDED, pipe(type_, other)) == []
        assert not verdict(BOUNDED, type_, other).deferred
    for said_of_it in (drop(inputs, parameters), put(inputs, "targetParameters", NOT_YET)):
        unknown = put(said_of_it, "target", NOT_YET)
        assert said(BOUNDED, pipe(type_, unknown)) == []
        assert verdict(BOUNDED, type_, unknown).deferred == {f"{at}.batchSize"}


@pytest.mark.parametrize(
    ("retries", "seconds", "messages"),
    [
        (-1, 3600, []),
        (None, 3600, []),
        (-1, NOT_YET, []),
        (NOT_YET, -1, [age]),
        (-1, -1, [attempts, age]),
        (None, None, [attempts, age]),
        (-1, 86400, [attempts, age]),
        (-1, 0, [attempts, age]),
        (-2, 3600, [attempts]),
        ("-1", 3600, [attempts]),
        (186, 3600, [attempts]),
        (186, NOT_YET, [attempts]),
    ],
    ids=range(12),
)
@pytest.mark.parametrize(("type_", "stream"), STREAMS)
def test_retries_without_a_number_end_with_the_records_age(
    type_: str, stream: str, retries: Any, seconds: Any, messages: list[Any]
):
    at = f"sourceParameters.{PARAMETERS[type_, stream]}"
    inputs = put(good(type_, stream), f"{at}.maximumRetryAttempts", retries)
    inputs = put(inputs, f"{at}.maximumRecordAgeInSeconds", seconds)
    assert said(BOUNDED, pipe(type_, inputs)) == sorted(message(at) for message in messages)


@pytest.mark.parametrize(
    ("size", "expected", "deferred"), [(1, False, False), (2, True, False), (None, True, False), (NOT_YET, False, True)]
)
@pytest.mark.parametrize(("type_", "stream"), STREAMS)
def test_a_batch_of_one_record_needs_no_bisection(
    type_: str, stream: str, size: Any, *, expected: bool, deferred: bool
):
    at = f"sourceParameters.{PARAMETERS[type_, stream]}"
    inputs = put(drop(good(type_, stream), f"{at}.onPartialBatchItemFailure"), f"{at}.batchSize", size)
    inputs = {**drop(inputs, "targetParameters"), "target": ARN.format("sqs", "orders")}
    assert said(BOUNDED, pipe(type_, inputs)) == ([bisect(at)] if expected else [])
    assert (f"{at}.batchSize" in verdict(BOUNDED, type_, inputs).deferred) == deferred
    unknown = put(put(inputs, f"{at}.batchSize", 10), f"{at}.onPartialBatchItemFailure", NOT_YET)
    assert said(BOUNDED, pipe(type_, unknown)) == []


@pytest.mark.parametrize(
    ("pattern", "selects"),
    [
        ('{"eventName": [{"exists": true}]}', False),
        ('{"eventName": [{"prefix": ""}]}', False),
        ('{"eventName": [{"suffix": ""}]}', False),
        ('{"eventName": [{"wildcard": "*"}]}', False),
        ('{"eventName": ["INSERT", {"wildcard": "*"}]}', False),
        ('{"eventID": [{"exists": true}], "eventName": [{"prefix": ""}]}', False),
        ('{"eventID": [{"exists": true}], "eventName": ["INSERT"]}', True),
        ('{"eventName": [{"prefix": "IN"}]}', True),
        ('{"eventName": [{"exists": false}]}', True),
        ('{"$or": [{"eventName": ["INSERT"]}, {"eventName": [{"prefix": "M"}]}]}', True),
        ('{"$or": [{"eventName": ["INSERT"]}, {"eventName": [{"exists": true}]}]}', False),
        ('{"$or": [{"eventName": ["INSERT"]}, {}]}', False),
        ('{"$or": [{}], "eventName": ["INSERT"]}', True),
        ('{"dynamodb": {"NewImage": {"state": {"S": [{"exists": true}]}}}}', True),
        ('{"dynamodb": {"eventName": [{"prefix": ""}]}}', True),
    ],
    ids=range(15),
)
def test_a_filter_of_a_tables_stream_refuses_some_record(pattern: str, *, selects: bool):
    """Whatever each record has, with any value, is nothing to select it by."""
    for type_ in TYPES:
        inputs = put(good(type_), f"{FILTERS}[0].pattern", pattern)
        assert said(FILTER, pipe(type_, inputs)) == ([] if selects else [NOTHING_SELECTED])


@pytest.mark.parametrize("pattern", ['{"$or": [7]}', '{"$or": [{"a": "b"}]}', '{"$or": []}', '{"a": {"b": []}}'])
def test_a_filter_of_another_shape_is_no_event_pattern(pattern: str):
    for type_ in TYPES:
        assert said(FILTER, pipe(type_, put(good(type_), f"{FILTERS}[0].pattern", pattern))) == [NO_PATTERN]


def test_a_record_of_kinesis_need_not_have_what_a_table_has():
    for type_ in TYPES:
        inputs = put(good(type_, "kinesis"), f"{FILTERS}[0].pattern", '{"eventName": [{"exists": true}]}')
        assert said(FILTER, pipe(type_, inputs)) == []


@pytest.mark.parametrize("type_", TYPES)
def test_what_is_not_known_of_a_source_leaves_open_whether_it_needs_a_filter(type_: str):
    inputs = put(drop(good(type_), "sourceParameters"), "source", NOT_YET)
    assert said(FILTER, pipe(type_, inputs)) == []
    assert verdict(FILTER, type_, inputs).deferred == {FILTERS}


@pytest.mark.parametrize("type_", TYPES)
def test_each_of_several_filters_selects_something(type_: str):
    patterns: list[Any] = ['{"a": ["b"], "$or": [{"c": [1]}]}', "{}", NOT_YET, '{"a": {"b": [{"exists": true}]}}']
    inputs = put(good(type_), FILTERS, [{"pattern": pattern} for pattern in patterns])
    assert said(FILTER, pipe(type_, inputs)) == [
        f"have {FILTERS}[1].pattern select something: as it is, every record passes"
    ]


@pytest.mark.parametrize("type_", TYPES)
@pytest.mark.parametrize(
    "template",
    ["<$.body>", "order <$.id>", '"Hello, <$.name>"', '{"at": "<aws.pipes.event.ingestion-time>"}', "[<$.a>, <$.b>]"],
)
def test_templates_of_text_and_of_aws_own_names_are_accepted(type_: str, template: str):
    assert said(TEMPLATE, pipe(type_, put(good(type_), TARGET, template))) == []


@pytest.mark.parametrize("type_", TYPES)
@pytest.mark.parametrize("level", ["ERROR", "INFO", "TRACE"])
def test_every_level_that_logs_failures_is_accepted(type_: str, level: str):
    assert said(LOG, pipe(type_, put(good(type_), "logConfiguration.level", level))) == []


@pytest.mark.parametrize("type_", TYPES)
@pytest.mark.parametrize("log", [None, {}, {"level": "OFF"}])
def test_what_reads_a_queue_need_not_log_as_the_queue_keeps_what_failed(type_: str, log: dict[str, Any] | None):
    queue = {**put(good(type_), "source", ARN.format("sqs", "orders")), "sourceParameters": {}, "logConfiguration": log}
    assert said(LOG, pipe(type_, queue)) == []
    for stream in ("dynamodb", "kinesis"):
        assert said(LOG, pipe(type_, {**good(type_, stream), "logConfiguration": log})) == [NO_LOG]
    unknown = {**queue, "source": NOT_YET}
    assert said(LOG, pipe(type_, unknown)) == []
    assert verdict(LOG, type_, unknown).deferred == {"logConfiguration.level"}
    assert not verdict(LOG, type_, queue).deferred


@pytest.mark.parametrize("type_", TYPES)
def test_records_are_not_logged_whatever_the_pipe_reads(type_: str):
    data = {"level": "ERROR", EXECUTION_DATA[type_]: ["ALL"]}
    for source in (ARN.format("sqs", "orders"), NOT_YET):
        inputs = {**put(good(type_), "source", source), "sourceParameters": {}, "logConfiguration": data}
        assert said(LOG, pipe(type_, inputs)) == [payload(type_)]


@pytest.mark.parametrize("shape", ["text", 7, True, [], {}, [None], [[]], {"filters": [7]}, [{"pattern": 7}]])
@pytest.mark.parametrize(("type_", "stream"), STREAMS)
def test_inputs_of_another_shape_are_read_without_an_error(type_: str, stream: str, shape: Any):
    inputs = good(type_, stream)
    assert places(inputs)
    for place in places(inputs):
        Engine().register(type_, put(inputs, place, shape))
