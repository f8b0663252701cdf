"""Buses, rules and targets: what is accepted, what settings change, and what is only known later."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.policy.cases.routing import (
    BACKLOG,
    BASES,
    BOUNDED,
    BUS,
    BUS_POLICY,
    CLOSED,
    HAS_POLICY,
    KEPT,
    NATIVE,
    NATIVE_BUS,
    NATIVE_BUS_POLICY,
    NATIVE_RULE,
    PERMISSION,
    RULE,
    TARGET,
    TRANSFORMER,
    backlog,
    policy,
    statement,
)
from tests.policy.engine import NOT_YET, Engine
from tests.policy.programs import Program, Thing, own, put, run

LETTERS = "arn:aws:sqs:eu-west-1:111122223333:letters"
GOOD = {
    "rule": "orders",
    "eventBusName": "orders",
    "arn": "arn:aws:lambda:eu-west-1:111122223333:function:one",
    "retryPolicy": {"maximumEventAgeInSeconds": 3600, "maximumRetryAttempts": 1},
    "deadLetterConfig": {"arn": LETTERS},
}


def said(rule: str, type_: str, inputs: dict[str, Any], config: dict[str, Any] | None = None) -> list[str]:
    """What one rule says to a resource."""
    engine = Engine().configure({rule: config or {}})
    return engine.register(type_, inputs).violations.get(rule, [])


def decided(rule: str, type_: str, inputs: dict[str, Any]) -> tuple[set[str], set[str]]:
    """The places that it decided, and those it left to the update."""
    engine = Engine()
    assert rule not in engine.register(type_, inputs).violations
    verdict = engine.verdict(rule, type_)
    return verdict.decided, verdict.deferred


# --- targets


@pytest.mark.parametrize(("age", "attempts"), [(3600, 1), (86400, 185), (7200.0, 10.0)])
def test_every_number_within_the_bounds_is_accepted(age: float, attempts: float):
    retry = {"maximumEventAgeInSeconds": age, "maximumRetryAttempts": attempts}
    assert said(KEPT, TARGET, {**GOOD, "retryPolicy": retry}) == []


def test_the_lowest_numbers_are_configured():
    assert said(KEPT, TARGET, GOOD, {"minimumAge": 7200, "minimumAttempts": 5}) == [
        "set retryPolicy.maximumEventAgeInSeconds to a whole number from 7200 to 86400",
        "set retryPolicy.maximumRetryAttempts to a whole number from 5 to 185",
    ]
    retry = {"maximumEventAgeInSeconds": 60, "maximumRetryAttempts": 0}
    assert said(KEPT, TARGET, {**GOOD, "retryPolicy": retry}, {"minimumAge": 60, "minimumAttempts": 0}) == []


def test_a_queue_that_is_not_known_yet_is_one():
    assert decided(KEPT, TARGET, {**GOOD, "deadLetterConfig": NOT_YET}) == (
        {
            "eventBusName",
            "deadLetterConfig.arn",
            "retryPolicy.maximumEventAgeInSeconds",
            "retryPolicy.maximumRetryAttempts",
        },
        set(),
    )


def test_numbers_that_are_not_known_yet_are_left_to_the_update():
    places = {"retryPolicy.maximumEventAgeInSeconds", "retryPolicy.maximumRetryAttempts"}
    assert decided(KEPT, TARGET, {**GOOD, "retryPolicy": NOT_YET}) == ({"eventBusName", "deadLetterConfig.arn"}, places)


def test_a_native_target_that_is_not_known_yet_is_left_to_the_update():
    pattern = {"source": ["aws.s3"]}
    one = {name: value for name, value in GOOD.items() if name != "rule"}
    inputs = {"name": "orders", "eventPattern": pattern, "targets": [one, NOT_YET]}
    places, deferred = decided(KEPT, NATIVE_RULE, inputs)
    assert "targets[0].deadLetterConfig.arn" in places
    assert deferred == {"targets[1]"}
    assert decided(KEPT, NATIVE_RULE, {**inputs, "targets": NOT_YET}) == (set(), {"targets"})


@pytest.mark.parametrize("shape", ["text", 7, [], {}, [None], {"arn": {}}])
def test_targets_of_another_shape_are_read_without_an_error(shape: Any):
    for place in ("deadLetterConfig", "retryPolicy", "inputTransformer", "arn", "rule"):
        run(Program([Thing(type=TARGET, name="thing", inputs={**GOOD, place: shape})]))
    run(Program([Thing(type=NATIVE_RULE, name="thing", inputs={"targets": shape})]))
    run(Program([Thing(type=NATIVE_RULE, name="thing", inputs={"targets": [shape]})]))


@pytest.mark.parametrize("bus", [None, "default"])
def test_a_classic_target_on_the_default_bus_may_be_of_a_schedule(bus: str | None):
    inputs = {"rule": "nightly", "arn": GOOD["arn"], "eventBusName": bus}
    assert said(KEPT, TARGET, inputs) == []
    assert len(said(KEPT, TARGET, inputs, {"defaultBus": True})) == 3
    assert len(said(KEPT, TARGET, {**inputs, "eventBusName": NOT_YET})) == 3


@pytest.mark.parametrize("expression", ["rate(1 hour)", NOT_YET])
def test_a_native_schedule_needs_no_queue(expression: Any):
    inputs = {"scheduleExpression": expression, "targets": [{"arn": GOOD["arn"]}]}
    assert said(KEPT, NATIVE_RULE, inputs) == []
    assert len(said(KEPT, NATIVE_RULE, {**inputs, "eventPattern": NOT_YET})) == 3
    assert len(said(KEPT, NATIVE_RULE, {"targets": inputs["targets"]})) == 3


# --- transformers


def transformed(template: Any, paths: Any = None, type_: str = TARGET) -> list[str]:
    """What the rule says to a template."""
    name = "inputPaths" if type_ == TARGET else "inputPathsMap"
    transformer = {"inputTemplate": template} | ({} if paths is None else {name: paths})
    target = {**GOOD, "inputTransformer": transformer}
    return said(TRANSFORMER, type_, target if type_ == TARGET else {"targets": [target]})


@pytest.mark.parametrize("type_", [TARGET, NATIVE_RULE])
@pytest.mark.parametrize(
    "template",
    [
        '{"id": <id>, "all": [<id>, <state>]}',
        "[<id>]",
        "<id>",
        '"Order <id> is \\"<state>\\""',
        "Order <id> is <state>",
        '{"at": "<time>, in <region>", "by": "<aws.events.rule-arn> (<aws.events.rule-name>)"}',
        '{"in": "<aws.events.event.ingestion-time>", "event": <aws.events.event>, "all": <aws.events.event.json>}',
        '{"html": "<b>bold</b>", "less": "1 < 2"}',
        '{"id": "a \\" quote", "state": <state>}',
        "",
        7,
        None,
    ],
)
def test_a_template_that_is_json_whatever_the_event_says_is_accepted(template: Any, type_: str):
    paths = {"id": "$.detail.id", "state": "$.detail.state", "time": "$.time", "region": "$.region"}
    assert transformed(template, paths, type_) == []


@pytest.mark.parametrize("path", ["$.source", "$.detail-type", "$.detail.id", "$.resources[0]", "$.identity", "$", 7])
def test_what_the_emitter_chooses_may_hold_a_quote(path: Any):
    assert len(transformed('{"id": "<id>"}', {"id": path})) == 1


@pytest.mark.parametrize("path", ["$.account", "$.id", "$.region", "$.time", "$.version"])
def test_what_eventbridge_checks_holds_no_quote(path: str):
    assert transformed('{"id": "<id>"}', {"id": path}) == []


@pytest.mark.parametrize("paths", [NOT_YET, {"id": NOT_YET}])
def test_paths_that_are_not_known_yet_leave_quotes_to_the_update(paths: Any):
    transformer = {"inputTemplate": '{"id": "<id>"}', "inputPaths": paths}
    _, deferred = decided(TRANSFORMER, TARGET, {**GOOD, "inputTransformer": transformer})
    assert deferred == {"inputTransformer.inputPaths"}


def test_paths_that_nothing_asks_for_leave_nothing_to_the_update():
    transformer = {"inputTemplate": '{"by": "<aws.events.rule-name>", "text": "none"}', "inputPaths": NOT_YET}
    assert decided(TRANSFORMER, TARGET, {**GOOD, "inputTransformer": transformer})[1] == set()


def test_paths_that_are_not_known_yet_may_declare_a_placeholder():
    transformer: dict[str, Any] = {"inputTemplate": '{"id": <id>}', "inputPaths": NOT_YET}
    _, deferred = decided(TRANSFORMER, TARGET, {**GOOD, "inputTransformer": transformer})
    assert deferred == {"inputTransformer.inputPaths"}
    transformer["inputPaths"] = {"id": NOT_YET}
    assert decided(TRANSFORMER, TARGET, {**GOOD, "inputTransformer": transformer})[1] == set()


def test_without_paths_only_variables_of_eventbridge_are_declared():
    assert transformed('{"rule": <aws.events.rule-name>}') == []
    assert transformed('{"id": <id>}') == [
        "declare in inputTransformer.inputPaths each placeholder of inputTransformer.inputTemplate"
    ]


def test_all_flaws_of_a_template_are_told_at_once():
    assert len(transformed('{"id": "<id>", <state>', {"id": "$.detail.id"})) == 3


# --- rules


@pytest.mark.parametrize(
    "pattern",
    [
        {"source": ["shop"]},
        {"detail-type": ["order.created"]},
        {"source": [{"prefix": "shop."}]},
        {"source": [{"suffix": ".shop"}]},
        {"source": [{"wildcard": "shop.*"}]},
        {"source": [{"wildcard": ["*"]}]},
        {"source": [{"anything-but": "aws.health"}]},
        {"source": [{"exists": False}], "detail-type": ["order.created"]},
        {"source": [{"prefix": ""}], "detail-type": ["order.created"]},
        {"$or": [{"source": ["shop"]}, {"detail-type": ["order.created"]}]},
        {"$or": [{"account": ["1"]}, {"account": ["2"]}], "source": ["shop"]},
    ],
)
def test_a_pattern_that_names_events_is_accepted(pattern: dict[str, Any]):
    assert said(BOUNDED, RULE, {"eventBusName": "orders", "eventPattern": json.dumps(pattern)}) == []
    assert said(BOUNDED, NATIVE_RULE, {"eventBusName": "orders", "eventPattern": pattern}) == []


@pytest.mark.parametrize(
    "pattern",
    [
        {"source": NOT_YET},
        {"source": [NOT_YET]},
        {"source": ["shop", NOT_YET]},
        {"$or": [NOT_YET, {"source": ["shop"]}]},
        {"$or": NOT_YET},
    ],
)
def test_a_pattern_that_is_not_known_yet_is_left_to_the_update(pattern: dict[str, Any]):
    assert decided(BOUNDED, NATIVE_RULE, {"eventBusName": "orders", "eventPattern": pattern})[1] == {"eventPattern"}


def test_one_alternative_that_takes_everything_decides_it():
    pattern = {"source": [NOT_YET, {"prefix": ""}]}
    assert len(said(BOUNDED, NATIVE_RULE, {"eventBusName": "orders", "eventPattern": pattern})) == 1


@pytest.mark.parametrize("type_", [RULE, NATIVE_RULE])
@pytest.mark.parametrize("expression", ["rate(1 hour)", NOT_YET])
def test_a_schedule_needs_no_pattern(type_: str, expression: Any):
    assert said(BOUNDED, type_, {"scheduleExpression": expression}) == []
    assert len(said(BOUNDED, type_, {"scheduleExpression": expression, "eventPattern": "{}"})) == 1


@pytest.mark.parametrize("bus", ["default", "arn:aws:events:eu-west-1:111122223333:event-bus/default", None])
def test_custom_events_cross_the_default_bus_if_the_configuration_says_so(bus: str | None):
    inputs = {"eventPattern": '{"source": ["shop"]}', "eventBusName": bus}
    assert len(said(BOUNDED, RULE, inputs)) == 1
    assert said(BOUNDED, RULE, inputs, {"defaultBus": True}) == []
    assert said(BOUNDED, RULE, {**inputs, "eventBusName": NOT_YET}) == []


@pytest.mark.parametrize(
    "pattern",
    [
        {"source": ["aws.s3", "aws.partner/example.com/orders"]},
        {"detail-type": ["Object Created"]},
        {"source": [{"prefix": "shop"}]},
    ],
)
def test_events_that_need_not_be_custom_cross_the_default_bus(pattern: dict[str, Any]):
    assert said(BOUNDED, RULE, {"eventPattern": json.dumps(pattern)}) == []


# --- buses


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"Effect": "Deny", "Principal": "*"},
        {"Principal": {"Service": "s3.amazonaws.com"}},
        {"Principal": "*", "Condition": {"StringEquals": {"aws:PrincipalOrgID": "o-a1b2c3d4e5"}}},
        {"Principal": "*", "Condition": {"StringEquals": {"aws:SourceAccount": "111122223333"}}},
    ],
)
def test_a_policy_for_somebody_in_particular_is_accepted(changes: dict[str, Any]):
    assert said(CLOSED, BUS_POLICY, {"policy": json.dumps(policy(**changes))}) == []
    assert said(CLOSED, NATIVE_BUS, {"policy": policy(**changes)}) == []
    assert said(CLOSED, NATIVE_BUS_POLICY, {"statement": statement(**changes)}) == []


def test_a_policy_that_is_not_known_yet_is_left_to_the_update():
    assert decided(CLOSED, BUS_POLICY, {"policy": NOT_YET}) == (set(), {"policy"})
    assert decided(CLOSED, PERMISSION, {"principal": NOT_YET})[1] == {"principal"}


def test_a_condition_that_is_not_known_yet_may_name_an_organization():
    condition = {"type": "StringEquals", "key": "aws:PrincipalOrgID", "value": NOT_YET}
    for open_ in (NOT_YET, condition):
        assert said(CLOSED, PERMISSION, {"principal": "*", "condition": open_}) == []
    assert len(said(CLOSED, PERMISSION, {"principal": "*", "condition": {**condition, "value": "*"}})) == 1


def test_a_bus_without_a_policy_of_its_own_may_have_it_elsewhere_or_be_a_partners():
    partner = {"name": "aws.partner/example.com/orders", "eventSourceName": "aws.partner/example.com/orders"}
    bus = Thing(type=BUS, name="orders", inputs={"name": "orders"})
    attached = {"eventBusName": NOT_YET, "policy": json.dumps(policy())}
    elsewhere = Thing(type=BUS_POLICY, name="orders", inputs=attached, uses={"eventBusName": (bus.urn,)})
    for things in ([Thing(type=BUS, name="partner", inputs=partner)], [bus, elsewhere]):
        assert run(Program(things)).stack.violations.get(HAS_POLICY, []) == []
    assert len(run(Program([bus])).stack.violations[HAS_POLICY]) == 1


# --- rate against age


def held(program: Program, config: dict[str, Any] | None = None, *, update: bool = False) -> list[str]:
    """What the rule says of a whole program."""
    return run(program, config={BACKLOG: config or {}}, update=update).stack.violations.get(BACKLOG, [])


@pytest.mark.parametrize("preview", [True, False])
def test_the_largest_burst_is_configured(*, preview: bool):
    program = Program(list(own("prod", preview=preview)))
    # 20 requests per second for a day, and 50.
    assert held(program, {"backlog": 1_728_000}, update=not preview) == []
    assert len(held(program, {"backlog": 1_728_001}, update=not preview)) == 1
    assert len(held(program, {"backlog": 4_320_001}, update=not preview)) == 2


def test_a_number_that_another_rule_refuses_is_left_to_it():
    for place, value in (("retryPolicy", {}), ("retryPolicy", NOT_YET), ("retryPolicy.maximumEventAgeInSeconds", "7")):
        program = Program(list(own("prod")))
        program.put(TARGET, "acme-orders", place, value)
        assert len(held(program, {"backlog": 10**9})) == 1


def test_of_several_native_targets_only_one_that_is_known_to_be_the_destination_is_judged():
    program = Program(BASES[NATIVE])
    destination = program.only("aws-native:events:ApiDestination")
    rule = program.only(NATIVE_RULE)
    program.put(NATIVE_RULE, None, "targets[0].retryPolicy.maximumEventAgeInSeconds", 60)
    assert held(program) == []
    program.put(NATIVE_RULE, None, "targets[1].retryPolicy.maximumEventAgeInSeconds", 60)
    assert held(program) == [backlog("targets[1].")]

    def wired(targets: list[Any]) -> Thing:
        uses = {"targets": (destination.urn,)}
        return Thing(type=NATIVE_RULE, name="orders", inputs=put(rule.inputs, "targets", targets), uses=uses)

    unknown = {"arn": NOT_YET, "retryPolicy": {"maximumEventAgeInSeconds": 60}}
    assert held(Program([destination, wired([unknown, unknown])])) == []
    assert held(Program([destination, wired([unknown])])) == [backlog("targets[0].")]
    alone = Thing(type=NATIVE_RULE, name="orders", inputs=put(rule.inputs, "targets", [unknown]))
    assert held(Program([destination, alone])) == []
