"""Stages of REST APIs: what is accepted, what settings change, and what is only known later."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.policy.cases.stages import (
    BASES,
    FORMAT,
    LIMITED,
    NATIVE,
    NATIVE_PLAN,
    NATIVE_STAGE,
    OBSERVABLE,
    PLAN,
    PLANS,
    SETTINGS,
    STAGE,
    THROTTLED,
    native_stage,
)
from tests.policy.engine import NOT_YET, Engine
from tests.policy.programs import Program, Thing, places, put, run

GOOD = {"methodPath": "*/*", "settings": {"throttlingRateLimit": 1, "throttlingBurstLimit": 1, "loggingLevel": "INFO"}}


def said(type_: str, inputs: dict[str, Any], config: dict[str, Any] | None = None) -> dict[str, list[str]]:
    return Engine().configure(config or {}).register(type_, inputs).violations


def decided(type_: str, inputs: dict[str, Any], rule: str) -> tuple[set[str], set[str]]:
    engine = Engine()
    assert rule not in engine.register(type_, inputs).violations
    verdict = engine.verdict(rule, type_)
    return verdict.decided, verdict.deferred


def test_the_highest_limits_are_settings():
    config = {THROTTLED: {"maximumRate": 10, "maximumBurst": 20}}
    limits = {"throttlingRateLimit": 10, "throttlingBurstLimit": 20, "loggingLevel": "INFO"}
    assert said(SETTINGS, {"settings": limits}, config) == {}
    for name, most in (("throttlingRateLimit", 10), ("throttlingBurstLimit", 20)):
        found = said(SETTINGS, {"settings": {**limits, name: most + 1}}, config)
        assert found == {THROTTLED: [f"lower settings.{name} to {most} or less"]}


def test_settings_that_are_not_there_are_no_settings():
    found = said(SETTINGS, {"methodPath": "*/*"})
    assert {rule: len(messages) for rule, messages in found.items()} == {THROTTLED: 2, OBSERVABLE: 1}


@pytest.mark.parametrize("place", ["settings", "settings.throttlingRateLimit", "settings.loggingLevel"])
def test_settings_that_are_not_known_yet_are_left_to_the_update(place: str):
    inputs = put(GOOD, place, NOT_YET)
    assert said(SETTINGS, inputs) == {}
    deferred = decided(SETTINGS, inputs, THROTTLED)[1] | decided(SETTINGS, inputs, OBSERVABLE)[1]
    assert deferred == {place}


@pytest.mark.parametrize(
    "settings", [NOT_YET, [NOT_YET], [{**native_stage()["methodSettings"][0], "httpMethod": NOT_YET}]]
)
def test_settings_of_a_native_stage_that_are_not_known_yet_may_be_for_all_methods(settings: Any):
    assert said(NATIVE_STAGE, {**native_stage(), "methodSettings": settings}) == {}


@pytest.mark.parametrize("settings", [None, [], "text", {}, [None], [{"resourcePath": "/*"}]])
def test_a_native_stage_without_settings_for_all_methods_is_refused(settings: Any):
    found = said(NATIVE_STAGE, {**native_stage(), "methodSettings": settings})
    assert found[THROTTLED][-1].startswith("add to methodSettings what holds for resourcePath /* and httpMethod *")


def test_each_of_several_settings_is_judged():
    stage = native_stage()
    stage["methodSettings"].append({"resourcePath": "/orders", "httpMethod": "POST", "loggingLevel": "INFO"})
    found = said(NATIVE_STAGE, stage)
    assert {rule: len(messages) for rule, messages in found.items()} == {THROTTLED: 2}
    assert all("methodSettings[1]" in message for message in found[THROTTLED])


def test_a_plan_that_only_counts_is_accepted_and_a_limit_that_is_not_known_yet_left_to_the_update():
    (counted,) = [thing for thing in BASES[PLANS] if thing.name == "counted"]
    assert decided(PLAN, counted.inputs, THROTTLED) == (set(), set())
    assert decided(PLAN, {"throttleSettings": NOT_YET}, THROTTLED) == (set(), {"throttleSettings"})
    later = {"apiStages": [{"throttle": NOT_YET}]}
    assert decided(NATIVE_PLAN, later, THROTTLED) == (set(), {"apiStages[0].throttle"})
    later = {"apiStages": [{"throttle": {"/orders/POST": NOT_YET}}]}
    assert decided(NATIVE_PLAN, later, THROTTLED) == (set(), {"apiStages[0].throttle[0]"})


@pytest.mark.parametrize(
    "format_",
    [
        FORMAT,
        FORMAT.replace('"$context.status"', "$context.status"),
        json.dumps({"request": json.loads(FORMAT), "path": "/$context.path/"}),
        NOT_YET,
    ],
    ids=range(4),
)
def test_a_format_may_be_nested_and_its_numbers_bare(format_: Any):
    stage = put(native_stage(), "accessLogSetting.format", format_)
    assert said(NATIVE_STAGE, stage) == {}


@pytest.mark.parametrize("format_", ["", "{", "[" * 100_000, 7, {}, '"$context.status"'], ids=range(6))
def test_what_is_no_json_object_is_no_format(format_: Any):
    found = said(NATIVE_STAGE, put(native_stage(), "accessLogSetting.format", format_))
    assert found == {OBSERVABLE: ["write accessLogSetting.format as a JSON object"]}


def test_what_a_log_has_at_least_is_a_setting():
    config = {OBSERVABLE: {"fields": ["identity.sourceIp", "error.message"]}}
    found = said(NATIVE_STAGE, native_stage(), config)
    assert found == {OBSERVABLE: ["log $context.identity.sourceIp in accessLogSetting.format"]}


def test_what_a_stage_does_not_say_yet_is_left_to_the_update():
    stage = {**native_stage(), "tracingEnabled": NOT_YET, "accessLogSetting": NOT_YET}
    assert said(NATIVE_STAGE, stage) == {}
    assert decided(NATIVE_STAGE, stage, OBSERVABLE)[1] == {"tracingEnabled", "accessLogSetting.format"}


def stages(settings: dict[str, Any], uses: dict[str, tuple[str, ...]] | None = None) -> list[str]:
    """What the rule says of a stage beside these settings."""
    stage = Thing(
        type=STAGE,
        name="gateway",
        inputs={
            "restApi": "api",
            "stageName": "v1",
            "xrayTracingEnabled": True,
            "accessLogSettings": {"destinationArn": "arn", "format": FORMAT},
        },
    )
    other = Thing(type=SETTINGS, name="gateway", inputs={**GOOD, **settings}, uses=uses or {})
    found = run(Program([stage, other])).violations
    return [message for rules in found.values() for message in rules.pop(LIMITED)]


@pytest.mark.parametrize(
    ("settings", "theirs"),
    [
        ({"restApi": "api", "stageName": "v1"}, True),
        ({"restApi": NOT_YET, "stageName": "v1"}, True),
        ({"restApi": NOT_YET, "stageName": NOT_YET}, True),
        ({"restApi": "api", "stageName": "v1", "methodPath": NOT_YET}, True),
        ({"restApi": "other", "stageName": "v1"}, False),
        ({"restApi": "other", "stageName": NOT_YET}, False),
        ({"restApi": "api", "stageName": "v2"}, False),
        ({"restApi": "api", "stageName": "v1", "methodPath": "orders/POST"}, False),
        ({"restApi": "api"}, False),
    ],
    ids=range(9),
)
def test_settings_belong_to_the_stage_that_they_name(settings: dict[str, Any], *, theirs: bool):
    assert (stages(settings) == []) is theirs


def test_settings_belong_to_the_stage_whose_name_they_were_computed_from():
    urn = Thing(type=STAGE, name="gateway", inputs={}).urn
    assert stages({"restApi": "other", "stageName": NOT_YET}, {"stageName": (urn,)}) == []


@pytest.mark.parametrize("shape", ["text", 7, True, [], {}, [None], [[]], [{}], {"a": {"b": [1]}}])
def test_inputs_of_another_shape_are_read_without_an_error(shape: Any):
    things = [*BASES[NATIVE], *BASES[PLANS]]
    for thing in things:
        for place in places(thing.inputs):
            engine = Engine([policy for policy in Engine().rules if policy.name in {THROTTLED, OBSERVABLE}])
            engine.register(thing.type, put(thing.inputs, place, shape))
    assert sum(len(places(thing.inputs)) for thing in things) > 30
