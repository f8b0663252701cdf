"""A waiver needs a reason, is never silent, and covers nothing but what it names."""

from __future__ import annotations

from typing import Any

import pytest

from policy.rule import Texts, Waivers
from policy.waivers import OURS, Ledger
from tests.policy.cases.destinations import CLASSIC_DESTINATION, RATE
from tests.policy.engine import ADVISORY, Engine
from tests.policy.programs import Program, Thing, own, run

FAST = Thing(type=CLASSIC_DESTINATION, name="fast", inputs={"invocationRateLimitPerSecond": 301})
TOO_FAST = "lower invocationRateLimitPerSecond to 300 or less"
WHY = "The carrier asked for it"
STACK_RULE = "event-bus-has-policy"
BUS = Thing(type="aws:cloudwatch/eventBus:EventBus", name="orders", inputs={"name": "orders"})
ENDPOINT = "api-destination-endpoint-safe"


def refused(thing: Thing, rule: str, waivers: Any) -> tuple[list[str], list[str]]:
    """What the rule says of a resource under these waivers, and what is said to be waived."""
    verdicts = run(Program([thing]), config={rule: {"waivers": waivers}})
    return [said for found in verdicts.violations.values() for said in found.get(rule, [])], verdicts.waived


@pytest.mark.parametrize("key", ["fast", FAST.urn, "urn:pulumi:*::fast"])
def test_what_is_waived_is_reported_with_its_reason_and_not_refused(key: str):
    assert refused(FAST, RATE, {key: WHY}) == ([], [f"{RATE} is waived: {WHY} (It says: {TOO_FAST}.)"])


def test_a_name_with_brackets_is_waived_as_it_is():
    thing = Thing(type=CLASSIC_DESTINATION, name="fast[0]", inputs=FAST.inputs)
    for key in (thing.urn, "fast[0]"):
        assert refused(thing, RATE, {key: WHY}) == ([], [f"{RATE} is waived: {WHY} (It says: {TOO_FAST}.)"])


@pytest.mark.parametrize("key", ["fas", "FAST", "urn:pulumi:other::*"])
def test_a_waiver_covers_only_what_it_names_and_says_when_it_is_idle(key: str):
    assert refused(FAST, RATE, {key: WHY}) == (
        [TOO_FAST],
        [f"remove the waiver of {RATE} for '{key}': nothing needs it"],
    )


def test_a_rule_about_the_stack_is_waived_at_its_resource():
    said, _ = refused(BUS, STACK_RULE, {})
    assert len(said) == 1
    assert refused(BUS, STACK_RULE, {"orders": WHY}) == ([], [f"{STACK_RULE} is waived: {WHY} (It says: {said[0]}.)"])


@pytest.mark.parametrize(("rule", "thing"), [(RATE, FAST), (STACK_RULE, BUS)], ids=["resource", "stack"])
@pytest.mark.parametrize("reason", ["", "  ", None, 7])
def test_a_waiver_without_a_reason_is_refused_by_name_and_waives_nothing(rule: str, thing: Thing, reason: Any):
    said, waived = refused(thing, rule, {thing.name: reason})
    assert said == [f"configure 'waivers' of {rule} as an object that says why it waives '{thing.name}'"]
    assert waived == []


def test_waivers_that_are_no_object_are_refused():
    said, _ = refused(FAST, RATE, ["fast"])
    assert said == [
        f"configure 'waivers' of {RATE} as an object of the URN or name of a resource and the reason to waive it"
    ]


def test_what_is_waived_is_advice_whatever_the_rule_is():
    engine = Engine().configure({RATE: {"waivers": {"fast": WHY}}})
    engine.register(FAST.type, FAST.inputs, FAST.name)
    assert engine.analyze_stack_fully([FAST]).levels == {ADVISORY: 1}


def test_two_waivers_of_one_thing_are_one():
    ledger = Ledger()
    for _ in range(2):
        assert ledger.waive(RATE, FAST.urn, TOO_FAST, {"fast": WHY})
    assert len(ledger.used) == 1


def test_each_waiver_of_ours_says_why_and_names_components_of_ours():
    assert OURS
    for rule, waived in OURS.items():
        assert Waivers().refusal(waived) is None, rule
        assert all("::event-gateway::event-gateway:components:" in resource for resource in waived)


@pytest.mark.parametrize(("stack", "waived"), [("local", True), ("dev", False), ("prod", False)])
def test_only_the_local_clouds_carriers_may_be_on_127_0_0_1(stack: str, *, waived: bool):
    program = Program(list(own(stack)))
    destination = program.of(CLASSIC_DESTINATION)[0]
    program.put(destination.type, destination.name, "invocationEndpoint", "http://127.0.0.1:9000/orders")
    verdicts = run(program, only=program.changed)
    assert (ENDPOINT not in verdicts.violations.get(destination.urn, {})) == waived
    assert any(said.startswith(f"{ENDPOINT} is waived") for said in verdicts.waived) == waived


@pytest.mark.parametrize(
    ("texts", "value", "refusal"),
    [
        (Texts(default=(), why=""), ["anything"], None),
        (Texts(default=(), why=""), "anything", "a list of texts"),
        (Texts(default=(), why=""), [7], "a list of texts"),
        (Texts(default=(), why="", choices=("a", "b")), ["b"], None),
        (Texts(default=(), why="", choices=("a", "b")), ["c"], "a list of a, b"),
    ],
)
def test_a_list_of_texts_is_one(texts: Texts, value: Any, refusal: str | None):
    assert texts.refusal(value) == refusal
