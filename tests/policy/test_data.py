"""Rules for tables: which stacks may lose them, what can be configured, and whom a stream serves."""

from __future__ import annotations

from typing import Any

import pytest

from policy import pack
from tests.policy.cases.data import (
    CLASSIC,
    CLASSIC_PIPE,
    ENCRYPTED,
    GLOBAL,
    GOOD,
    NATIVE,
    NATIVE_PIPE,
    PROTECTED,
    RESTORABLE,
    SCALES,
    STREAM,
    VIEWS,
    reader,
)
from tests.policy.engine import NOT_YET, Engine
from tests.policy.programs import Thing, own, places, put

RULES = {RESTORABLE, PROTECTED, ENCRYPTED, SCALES, STREAM}
UNPROTECTED = {**GOOD[CLASSIC], "deletionProtectionEnabled": False}


def in_stack(stack: str) -> str:
    return f"urn:pulumi:{stack}::event-gateway::{CLASSIC}::orders"


@pytest.mark.parametrize("stack", ["prod", "production", "staging", "test", "developers", "localhost", "", "demo"])
def test_a_table_is_protected_in_a_stack_of_any_name(stack: str):
    outcome = Engine().register(CLASSIC, UNPROTECTED, urn=in_stack(stack))
    assert outcome.violations == {PROTECTED: ["set deletionProtectionEnabled to true"]}


@pytest.mark.parametrize("stack", ["dev", "dev-anna", "local", "pr-17"])
def test_but_in_one_that_is_thrown_away(stack: str):
    engine = Engine()
    assert engine.register(CLASSIC, UNPROTECTED, urn=in_stack(stack)).violations == {}
    (policy,) = (policy for policy in engine.rules if policy.name == PROTECTED)
    assert policy.report[in_stack(stack)].decided


def test_the_stacks_that_are_thrown_away_can_be_configured():
    config = {PROTECTED: {"throwawayStacks": ["demo-*"]}}
    assert Engine().configure(config).register(CLASSIC, UNPROTECTED, urn=in_stack("demo-1")).violations == {}
    assert Engine().configure(config).register(CLASSIC, UNPROTECTED, urn=in_stack("dev")).violations.keys() == {
        PROTECTED
    }


def test_pulumis_own_protection_is_not_that_of_aws():
    outcome = Engine().register(CLASSIC, UNPROTECTED, urn=in_stack("prod"), protect=True)
    assert outcome.violations.keys() == {PROTECTED}


def test_our_production_is_protected_and_what_is_thrown_away_is_not():
    protected = {
        stack: [thing.inputs["deletionProtectionEnabled"] for thing in own(stack) if thing.type == CLASSIC]
        for stack in ("prod", "dev", "local")
    }
    assert protected == {"prod": [True], "dev": [False], "local": [False]}


def test_each_replica_is_told_by_its_place():
    inputs: dict[str, Any] = {**GOOD[GLOBAL], "replicas": [{"region": "a"}, NOT_YET, {"region": "b"}]}
    assert Engine().register(GLOBAL, inputs, urn=f"urn:pulumi:prod::p::{GLOBAL}::t").violations == {
        RESTORABLE: [
            f"set replicas[{index}].pointInTimeRecoverySpecification.pointInTimeRecoveryEnabled to true"
            for index in (0, 2)
        ],
        PROTECTED: [f"set replicas[{index}].deletionProtectionEnabled to true" for index in (0, 2)],
    }


def test_replicas_that_are_not_known_yet_are_left_to_the_update():
    engine = Engine()
    assert engine.register(GLOBAL, {**GOOD[GLOBAL], "replicas": NOT_YET}).violations == {}
    assert engine.verdict(PROTECTED, GLOBAL).deferred == {"replicas.deletionProtectionEnabled"}


@pytest.mark.parametrize("type_", [CLASSIC, NATIVE, GLOBAL])
def test_a_capacity_that_something_scales_can_be_allowed(type_: str):
    inputs = {**GOOD[type_], "billingMode": "PROVISIONED"}
    assert Engine().register(type_, inputs).violations.keys() == {SCALES}
    assert Engine().configure({SCALES: {"provisioned": True}}).register(type_, inputs).violations == {}


@pytest.mark.parametrize("said", ["true", 1, None, [True], {}])
def test_only_true_is_on(said: Any):
    inputs = put(GOOD[CLASSIC], "serverSideEncryption.enabled", said)
    assert Engine().register(CLASSIC, inputs).violations.keys() == {ENCRYPTED}


@pytest.mark.parametrize("pipe", [CLASSIC_PIPE, NATIVE_PIPE])
@pytest.mark.parametrize("type_", VIEWS)
def test_a_stream_of_keys_is_enough_where_no_pipe_needs_more(type_: str, pipe: str):
    table = Thing(type=type_, name="orders", inputs=put(GOOD[type_], VIEWS[type_], "KEYS_ONLY"))
    other = Thing(type=type_, name="others", inputs=GOOD[type_])
    reads = reader(pipe, table)
    assert STREAM in refused(table, other, reads)
    assert STREAM not in refused(table, other)
    assert STREAM not in refused(table, other, reader(pipe, other))
    assert STREAM not in refused(table, other, reader(pipe, table, enrichment=NOT_YET))
    assert STREAM in refused(table, other, reader(pipe, table, enrichment=NOT_YET), reads)


@pytest.mark.parametrize("view", ["NEW_IMAGE", "OLD_IMAGE", "NEW_AND_OLD_IMAGES", NOT_YET])
@pytest.mark.parametrize("type_", VIEWS)
def test_any_image_of_the_item_will_do(type_: str, view: Any):
    table = Thing(type=type_, name="orders", inputs=put(GOOD[type_], VIEWS[type_], view))
    assert STREAM not in refused(table, reader(NATIVE_PIPE, table))


def refused(*things: Thing) -> set[str]:
    """The rules about tables that something violates."""
    engine = Engine([policy for policy in pack.policies() if policy.name in RULES])
    outcomes = [engine.register(thing.type, thing.inputs, thing.name, urn=thing.urn) for thing in things]
    return {rule for outcome in (*outcomes, engine.analyze_stack(things)) for rule in outcome.violations}


@pytest.mark.parametrize("shape", ["text", 7, True, [], {}, [None], [[]], [{}]])
@pytest.mark.parametrize("type_", GOOD)
def test_inputs_of_another_shape_are_read_without_an_error(type_: str, shape: Any):
    for place in places(GOOD[type_]):
        table = Thing(type=type_, name="orders", inputs=put(GOOD[type_], place, shape))
        refused(table, reader(NATIVE_PIPE, table))
