"""The pack over the recorded program: nothing to refuse, something decided by each rule, and flaws put into it seen."""

from __future__ import annotations

from typing import Any

import pytest

from policy import pack
from policy.rule import Rule
from policy.waivers import OURS
from tests import graph
from tests.conftest import STACKS
from tests.policy.cases.destinations import (
    CLASSIC_CONNECTION,
    CLASSIC_DESTINATION,
    CREDENTIALS,
    ENDPOINT,
    RATE,
    SECRET,
    plaintext,
)
from tests.policy.engine import Engine, Outcome
from tests.policy.programs import Program, Thing, drop, own, run

# Where the update alone can decide: the address of a mock carrier, which AWS makes.
LATER = {"local": {ENDPOINT}, "dev": {ENDPOINT}, "prod": set[str]()}


def over(nodes: graph.Graph) -> tuple[Engine, dict[str, Outcome]]:
    """What the engine shows of each resource, and under "" of the stack."""
    engine = Engine()
    outcomes = {node.urn: _registered(engine, node) for node in nodes.nodes.values()}
    things = [
        Thing(type=node.type, name=node.name, inputs=node.inputs, uses=node.uses, protect=node.protect, urn=node.urn)
        for node in nodes.nodes.values()
    ]
    stack = engine.analyze_stack(things)
    stack.violations.pop("waivers", None)
    return engine, outcomes | {"": stack}


def _registered(engine: Engine, node: graph.Node, inputs: dict[str, Any] | None = None) -> Outcome:
    return engine.register(node.type, inputs or node.inputs, node.name, urn=node.urn, protect=node.protect)


def refused(outcomes: dict[str, Outcome]) -> dict[str, dict[str, list[str]]]:
    return {urn: outcome.violations for urn, outcome in outcomes.items() if outcome.violations}


def decided(engine: Engine) -> dict[str, int]:
    return {policy.name: sum(len(verdict.decided) for verdict in policy.report.values()) for policy in engine.rules}


def test_the_program_is_accepted_and_each_rule_has_decided_something(program: graph.Graph):
    engine, outcomes = over(program)
    assert refused(outcomes) == {}
    assert set(decided(engine)) == {rule.name for rule in pack.RULES}
    types = {node.type for node in program.nodes.values()}
    about = {rule.name for rule in pack.RULES if rule.types & types}
    assert {rule for rule, places in decided(engine).items() if places} == about


def test_each_rule_has_decided_every_resource_that_it_is_about(program: graph.Graph):
    engine, _ = over(program)
    for policy in engine.rules:
        about = {node.urn for node in program.nodes.values() if node.type in policy.rule.types}
        judged = {urn for urn, verdict in policy.report.items() if verdict.decided}
        # A rule about the stack may find that it has to do with some of its types' resources only.
        assert judged == about if isinstance(policy.rule, Rule) else judged <= about, policy.name


def test_the_first_preview_decides_all_that_the_update_decides(
    programs: dict[str, graph.Graph], previews: dict[str, graph.Graph]
):
    for stack, recorded in programs.items():
        update, _ = over(recorded)
        first, outcomes = over(previews[stack])
        assert refused(outcomes) == {}
        verdicts = [(policy.name, verdict) for policy in first.rules for verdict in policy.report.values()]
        left = {rule for rule, verdict in verdicts if verdict.deferred and not verdict.decided}
        assert left == LATER[stack]
        assert {rule: n for rule, n in decided(first).items() if rule not in left} == {
            rule: n for rule, n in decided(update).items() if rule not in left
        }


def test_no_secret_of_the_program_is_in_what_the_pack_says(program: graph.Graph):
    engine, outcomes = over(program)
    assert graph.CANARY in repr(program.nodes)
    assert graph.CANARY not in "".join(outcome.raw for outcome in outcomes.values())
    assert graph.CANARY not in repr([vars(policy) for policy in engine.rules])


def test_each_connection_is_refused_once_its_secret_is_taken_for_plaintext(program: graph.Graph):
    connections = program.of(CLASSIC_CONNECTION)
    assert connections
    for node in connections:
        outcome = _registered(Engine(), node, graph.plain(node.inputs))
        place = CREDENTIALS[CLASSIC_CONNECTION][node.inputs["authorizationType"]]
        assert outcome.violations == {SECRET: [plaintext(place)]}


def test_each_api_destination_is_refused_once_its_rate_limit_is_gone(program: graph.Graph):
    destinations = program.of(CLASSIC_DESTINATION)
    assert destinations
    for node in destinations:
        outcome = _registered(Engine(), node, drop(node.inputs, "invocationRateLimitPerSecond"))
        assert outcome.violations.keys() == {RATE}


@pytest.mark.parametrize("stack", STACKS)
def test_what_is_waived_is_the_mock_carrier_and_no_carrier_of_a_real_one(stack: str):
    waived = run(Program(list(own(stack)))).waived
    assert bool(waived) == (stack != "prod")
    assert {message.split(" is waived: ")[0] for message in waived} <= OURS.keys()


@pytest.mark.parametrize("update", [False, True], ids=["preview", "update"])
@pytest.mark.parametrize("stack", STACKS)
def test_reading_a_stack_once_for_all_rules_says_what_pulumi_policy_says(stack: str, *, update: bool):
    program = Program(list(own(stack)))
    carrier = program.of("aws:cloudwatch/eventApiDestination:EventApiDestination")[0]
    program.put(carrier.type, carrier.name, "invocationRateLimitPerSecond", 1)
    program.put("aws:sqs/queue:Queue", f"{carrier.name.removesuffix('-orders')}-dead-letters", "fifoQueue", value=True)
    once, fully = Engine(), Engine()
    for engine in (once, fully):
        for thing in program.things:
            engine.register(thing.type, thing.inputs, thing.name, urn=thing.urn, protect=thing.protect)
    said = once.analyze_stack(program.things, update=update)
    assert set(said.violations) > {"waivers"} if stack != "prod" else said.violations
    assert said.diagnostics == fully.analyze_stack_fully(program.things, update=update).diagnostics
