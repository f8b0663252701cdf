"""Rules for alarms and logs: their bounds, what counts as watched, and which queues hold dead letters."""

from __future__ import annotations

import dataclasses
import importlib
import json
from typing import Any

import pytest

from policy import pack
from policy.rules.queues import SENDERS
from tests.policy.cases.observability import (
    ACCOUNT,
    ACTS,
    ALARM,
    ALARMED,
    BASES,
    COMPOSITES,
    DELIVERED,
    FUNCTION,
    LOG_GROUP,
    NATIVE_ALARM,
    NATIVE_FUNCTION,
    QUEUE,
    RETENTION,
    RULE,
    TELLS,
    TOPIC,
    TOPIC_POLICY,
    watched,
    watching,
)
from tests.policy.engine import NOT_YET, Engine
from tests.policy.programs import Thing, own, places, put
from tests.policy.test_start import _leaves

RULES = {RETENTION, ACTS, TOPIC, ALARMED}
ERRORS = "add an alarm on AWS/Lambda Errors with its FunctionName"
DEPTH = "add an alarm on AWS/SQS ApproximateNumberOfMessagesVisible with its QueueName"


def kept(days: Any, stack: str = "prod", config: dict[str, Any] | None = None) -> list[str]:
    engine = Engine().configure({RETENTION: config or {}})
    urn = f"urn:pulumi:{stack}::event-gateway::{LOG_GROUP}::logs"
    return engine.register(LOG_GROUP, {"retentionInDays": days}, urn=urn).messages


def alone(rule: str, config: dict[str, Any] | None = None) -> Engine:
    """An engine that asks one rule."""
    engine = Engine([policy for policy in pack.policies() if policy.name == rule])
    return engine.configure({rule: config or {}})


def alarmed(*things: Thing, update: bool = False, config: dict[str, Any] | None = None) -> dict[str, list[str]]:
    """The names of the resources that need an alarm, with what is said of them."""
    found: dict[str, list[str]] = {}
    for diagnostic in alone(ALARMED, config).analyze_stack(things, update=update).diagnostics:
        found.setdefault(diagnostic.urn.rpartition("::")[2], []).append(diagnostic.message)
    return found


@pytest.mark.parametrize(
    ("days", "messages"),
    [
        (29, ["raise retentionInDays to 30 or more"]),
        (30, []),
        (400, []),
        (401, ["lower retentionInDays to 400 or less"]),
    ],
)
def test_logs_are_kept_between_two_bounds(days: int, messages: list[str]):
    assert kept(days) == messages


def test_logs_of_a_stack_that_is_thrown_away_are_kept_for_a_day_and_not_forever():
    assert kept(1, "dev") == []
    assert kept(0, "dev") == ["set retentionInDays to 30 or more: without it the logs are kept forever"]
    assert kept(401, "dev") == ["lower retentionInDays to 400 or less"]
    assert kept(1, "dev", {"throwawayStacks": []}) == ["raise retentionInDays to 30 or more"]


def test_the_bounds_are_configured():
    assert kept(7, config={"minimumDays": 7}) == []
    assert kept(8, config={"minimumDays": 7, "maximumDays": 7}) == ["lower retentionInDays to 7 or less"]
    assert kept(30, config={"minimumDays": 31, "maximumDays": 30}) == [
        "configure 'minimumDays' of log-group-retention no higher than its 'maximumDays'"
    ]


def test_a_group_whose_retention_nobody_chooses_is_accepted():
    (thing,) = BASES[DELIVERED]
    assert Engine().register(thing.type, thing.inputs).violations == {}
    assert Engine().register(thing.type, {**thing.inputs, "logGroupClass": "STANDARD"}).violations.keys() == {RETENTION}


@pytest.mark.parametrize("type_", [ALARM, NATIVE_ALARM, *COMPOSITES])
def test_what_is_not_said_of_actions_is_that_they_are_enabled(type_: str):
    assert Engine().register(type_, {"alarmActions": [NOT_YET]}).violations == {}
    assert Engine().register(type_, {"alarmActions": NOT_YET, "actionsEnabled": NOT_YET}).violations == {}
    assert Engine().register(type_, {"actionsEnabled": "yes"}).violations == {
        ACTS: ["set alarmActions to whom the alarm tells", "set actionsEnabled to true"]
    }


@pytest.mark.parametrize("policy", [NOT_YET, "text", 7, None, [], {}])
def test_a_topic_policy_that_cannot_be_read_is_no_violation(policy: Any):
    assert Engine().register(TOPIC_POLICY, {"policy": policy}).violations == {}


def test_everything_that_has_an_alarm_is_accepted():
    assert alarmed(*watched()) == {}


def test_a_stack_without_any_alarm_is_refused_only_if_that_is_configured():
    bare = [thing for thing in watched() if thing.type != NATIVE_ALARM]
    assert alarmed(*bare) == {}
    assert set(alarmed(*bare, config={"required": True})) == {"dead-letters", "orders", "place"}


def test_the_metrics_can_be_configured():
    only_errors = [thing for thing in watched() if thing.type != NATIVE_ALARM or thing.name == "Errors"]
    assert set(alarmed(*only_errors)) == {"dead-letters", "orders"}
    assert alarmed(*only_errors, config={"metrics": ["AWS/Lambda Errors"]}) == {}
    assert alarmed(*only_errors, config={"metrics": ["AWS/SQS ApproximateNumberOfMessagesVisible"]}) == {
        "dead-letters": [DEPTH]
    }


FUNCTIONS = [
    Thing(type=FUNCTION, name=name, inputs={"name": f"shop-{name}"}, outputs={"arn": "arn"}) for name in ("one", "two")
]
ONE, TWO = FUNCTIONS


def metric(**dimensions: Any) -> dict[str, Any]:
    return {"namespace": "AWS/Lambda", "metricName": "Errors", "dimensions": dimensions}


def alarm(uses: dict[str, tuple[str, ...]] | None = None, **inputs: Any) -> Thing:
    return Thing(type=ALARM, name="alarm", inputs={"alarmActions": [TELLS], **inputs}, uses=uses or {})


@pytest.mark.parametrize("update", [False, True], ids=["preview", "update"])
def test_an_alarm_watches_whom_its_dimension_names(*, update: bool):
    assert alarmed(*FUNCTIONS, alarm(**metric(FunctionName="shop-one")), update=update) == {"two": [ERRORS]}
    assert alarmed(*FUNCTIONS, alarm(**metric(FunctionName="shop-three")), update=update).keys() == {"one", "two"}


def test_an_alarm_watches_whom_its_dimension_is_computed_from():
    by_output = alarm({"dimensions": (TWO.urn,)}, **metric(FunctionName=NOT_YET))
    assert alarmed(*FUNCTIONS, by_output) == {"one": [ERRORS]}


@pytest.mark.parametrize(
    "inputs",
    [
        {**metric(FunctionName="shop-one"), "namespace": "AWS/SQS"},
        {**metric(FunctionName="shop-one"), "metricName": "Throttles"},
        metric(Resource="shop-one"),
        metric(FunctionName=["shop-one"]),
        metric(FunctionName={}),
    ],
)
def test_an_alarm_on_something_else_watches_nobody(inputs: dict[str, Any]):
    assert alarmed(*FUNCTIONS, alarm(**inputs)).keys() == {"one", "two"}


@pytest.mark.parametrize(
    "inputs",
    [
        {**metric(FunctionName=NOT_YET)},
        {**metric(), "dimensions": NOT_YET},
        {**metric(FunctionName="shop-one"), "namespace": NOT_YET},
        {**metric(FunctionName="shop-one"), "metricName": NOT_YET},
        metric(),
    ],
)
def test_an_alarm_that_may_turn_out_to_watch_is_left_to_the_update(inputs: dict[str, Any]):
    assert alarmed(ONE, alarm(**inputs)) == {}


def test_a_function_whose_name_is_not_known_may_be_the_one_that_is_named():
    unnamed = dataclasses.replace(ONE, inputs={"name": NOT_YET})
    assert alarmed(unnamed, TWO, alarm(**metric(FunctionName="shop-one"))) == {"two": [ERRORS]}
    assert alarmed(unnamed, TWO, alarm(**metric(FunctionName="shop-two"))) == {"one": [ERRORS]}


def test_one_alarm_over_all_functions_watches_each():
    assert alarmed(*FUNCTIONS, alarm(**metric())) == {}
    assert alarmed(*FUNCTIONS, alarm(namespace="AWS/Lambda", metricName="Errors")) == {}


def test_only_functions_have_a_metric_over_all_of_them():
    rule = Thing(type=RULE, name="rule", inputs={"name": "rule"})
    over_all = alarm(namespace="AWS/Events", metricName="FailedInvocations")
    assert alarmed(rule, over_all) == {"rule": ["add an alarm on AWS/Events FailedInvocations with its RuleName"]}


@pytest.mark.parametrize("where", ["metricQueries", "metrics"])
def test_an_alarm_on_a_query_of_metrics_insights_watches_each(where: str):
    query = 'SELECT SUM("Errors") FROM SCHEMA("AWS/Lambda", FunctionName)'
    assert alarmed(*FUNCTIONS, alarm(**{where: [{"id": "all", "expression": query}]})) == {}
    other = query.replace("Errors", "Throttles")
    assert alarmed(*FUNCTIONS, alarm(**{where: [{"id": "all", "expression": other}]})).keys() == {"one", "two"}
    other = query.replace("AWS/Lambda", "AWS/Edge")
    assert alarmed(*FUNCTIONS, alarm(**{where: [{"id": "all", "expression": other}]})).keys() == {"one", "two"}


def test_an_alarm_on_an_expression_watches_whatever_it_combines():
    queries = [
        {"id": "sum", "expression": "a + b"},
        {"id": "a", "metric": {**metric(FunctionName="shop-one"), "stat": "Sum"}},
        {"id": "b", "metric": {**metric(FunctionName="shop-two"), "stat": "Sum"}},
    ]
    assert alarmed(*FUNCTIONS, alarm(metricQueries=queries)) == {}
    assert alarmed(*FUNCTIONS, alarm(metricQueries=queries[:2])) == {"two": [ERRORS]}


def test_so_does_one_of_aws_native():
    native = Thing(type=NATIVE_FUNCTION, name="one", inputs={"functionName": "shop-one"})
    stat = {
        "metric": {
            "namespace": "AWS/Lambda",
            "metricName": "Errors",
            "dimensions": [{"name": "Resource", "value": "x"}, {"name": "FunctionName", "value": "shop-one"}],
        }
    }
    watch = Thing(type=NATIVE_ALARM, name="alarm", inputs={"metrics": [{"id": "a", "metricStat": stat}]})
    assert alarmed(native, watch) == {}
    elsewhere = put(watch.inputs, "metrics[0].metricStat.metric.dimensions[1].name", "Resource")
    assert alarmed(native, dataclasses.replace(watch, inputs=elsewhere)) == {"one": [ERRORS]}
    unnamed = put(watch.inputs, "metrics[0].metricStat.metric.dimensions[1].name", NOT_YET)
    assert alarmed(native, dataclasses.replace(watch, inputs=unnamed)) == {}


# Queues of dead letters

FAILED = Thing(
    type=QUEUE,
    name="failed",
    inputs={"name": "failed"},
    outputs={"arn": f"arn:aws:sqs:eu-west-1:{ACCOUNT}:failed", "url": "https://sqs/failed"},
)
JOBS = Thing(
    type=QUEUE,
    name="jobs",
    inputs={"name": "jobs"},
    outputs={"arn": f"arn:aws:sqs:eu-west-1:{ACCOUNT}:jobs", "url": "https://sqs/jobs"},
)
OTHERWISE = watching("AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", "elsewhere")


def nested(place: str, value: Any) -> dict[str, Any]:
    """The inputs that have the value at the place."""
    first, _, rest = place.partition(".")
    inner = nested(rest, value) if rest else value
    return {first.removesuffix("[]"): [inner] if first.endswith("[]") else inner}


PLACES = [(type_, place) for type_, there in sorted(SENDERS.items()) for place in there.places]


def test_the_places_of_dead_letter_queues_are_those_of_the_sdks_types():
    for type_, there in SENDERS.items():
        package, module, name = type_.split(":")
        module = {"lambda": "lambda_"}.get(module.partition("/")[0], module.partition("/")[0])
        sdk = importlib.import_module(f"pulumi_{package.replace('-', '_')}.{module}")
        names = set(_leaves(getattr(sdk, f"{name}Args")))
        assert {place for place in names if place.endswith(ENDS) and "onSuccess" not in place} == set(there.places), (
            type_
        )


ENDS = (
    "deadLetterConfig.arn",
    "deadLetterConfig.targetArn",
    "onFailure.destination",
    "onFailure.destinationArn",
    "redrivePolicy",
)


@pytest.mark.parametrize("update", [False, True], ids=["preview", "update"])
@pytest.mark.parametrize(("type_", "place"), PLACES)
def test_a_queue_that_gets_what_something_could_not_deliver_needs_an_alarm(type_: str, place: str, *, update: bool):
    arn = FAILED.outputs["arn"]
    text = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 5}) if place == "redrivePolicy" else arn
    prop = place.partition(".")[0].removesuffix("[]")
    sender = Thing(
        type=type_,
        name="sender",
        inputs=nested(place, text if update else NOT_YET),
        uses={prop: (FAILED.urn,)},
    )
    found = alarmed(FAILED, JOBS, sender, OTHERWISE, update=update)
    assert found["failed"] == [DEPTH]
    assert "jobs" not in found


def test_of_the_target_and_its_queue_the_update_tells_which_is_which():
    target = {"arn": NOT_YET, "deadLetterConfig": {"arn": NOT_YET}}
    schedule = Thing(
        type="aws:scheduler/schedule:Schedule",
        name="nightly",
        inputs={"target": target},
        uses={"target": (JOBS.urn, FAILED.urn)},
    )
    assert alarmed(FAILED, JOBS, schedule, OTHERWISE) == {}
    alone = dataclasses.replace(schedule, uses={"target": (FAILED.urn, ONE.urn)})
    assert alarmed(FAILED, JOBS, ONE, alone, OTHERWISE)["failed"] == [DEPTH]
    made = {"arn": JOBS.outputs["arn"], "deadLetterConfig": {"arn": FAILED.outputs["arn"]}}
    known = dataclasses.replace(schedule, inputs={"target": made})
    assert alarmed(FAILED, JOBS, known, OTHERWISE, update=True) == {"failed": [DEPTH]}


def test_a_queue_whose_name_begins_like_anothers_is_another():
    longer = dataclasses.replace(
        FAILED,
        name="failed-jobs",
        urn=f"{FAILED.urn}-jobs",
        inputs={"name": "failed-jobs"},
        outputs={"arn": f"{FAILED.outputs['arn']}-jobs"},
    )
    text = json.dumps({"deadLetterTargetArn": longer.outputs["arn"]})
    sender = dataclasses.replace(JOBS, inputs={"name": "jobs", "redrivePolicy": text})
    assert alarmed(FAILED, longer, sender, OTHERWISE, update=True) == {"failed-jobs": [DEPTH]}


def test_every_sender_of_dead_letters_of_ours_is_known():
    queues = {thing.urn for thing in own("prod") if thing.type == QUEUE}
    found = {
        diagnostic.urn
        for diagnostic in alone(ALARMED)
        .analyze_stack([thing for thing in own("prod") if thing.inputs.get("namespace") != "AWS/SQS"])
        .diagnostics
    }
    # What the reconcile function puts there by itself is no dead letter.
    assert {urn.rpartition("::")[2] for urn in queues - found} == {"reconcile-overdue"}


@pytest.mark.parametrize("shape", ["text", 7, True, [], {}, [None], [[]], [{}], {"name": 7}, [{"name": ["x"]}]])
def test_inputs_of_another_shape_are_read_without_an_error(shape: Any):
    things = [*watched(), *FUNCTIONS, alarm(**metric(FunctionName="shop-one")), FAILED]
    for thing in things:
        for place in places(thing.inputs):
            changed = dataclasses.replace(thing, inputs=put(thing.inputs, place, shape))
            alarmed(*(changed if other is thing else other for other in things))
