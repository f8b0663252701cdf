"""The pack over the recorded program: nothing to refuse, something decided by each rule, and flaws put into it seen."""

from __future__ import annotations

from typing import Any

from policy import pack
from tests import graph
from tests.policy.cases.destinations import (
    CLASSIC_CONNECTION,
    CLASSIC_DESTINATION,
    CREDENTIALS,
    RATE,
    SECRET,
    plaintext,
)
from tests.policy.engine import Engine, Outcome
from tests.policy.programs import drop


def over(nodes: graph.Graph) -> tuple[Engine, dict[str, Outcome]]:
    engine = Engine()
    return engine, {node.urn: _registered(engine, node) for node in nodes.nodes.values()}


def _registered(engine: Engine, node: graph.Node, inputs: dict[str, Any] | None = None) -> Outcome:
    return engine.register(node.type, inputs or node.inputs, node.name)


def decided(engine: Engine) -> dict[str, int]:
    return {policy.name: sum(len(verdict.decided) for verdict in policy.report.values()) for policy in engine.rules}


def test_the_program_is_accepted_and_each_rule_has_decided_something(program: graph.Graph):
    engine, outcomes = over(program)
    assert {urn: outcome.violations for urn, outcome in outcomes.items() if outcome.violations} == {}
    assert set(decided(engine)) == {rule.name for rule in pack.RULES}
    assert all(decided(engine).values()), decided(engine)


def test_each_rule_has_decided_every_resource_that_it_is_about(program: graph.Graph):
    engine, _ = over(program)
    for policy in engine.rules:
        about = {node.urn for node in program.nodes.values() if node.type in policy.rule.types}
        assert about
        assert {urn.rpartition("::")[2] for urn, verdict in policy.report.items() if verdict.decided} == {
            urn.rpartition("::")[2] for urn in about
        }


def test_the_first_preview_decides_all_that_the_update_decides(
    programs: dict[str, graph.Graph], previews: dict[str, graph.Graph]
):
    for stack, recorded in programs.items():
        update, _ = over(recorded)
        first, outcomes = over(previews[stack])
        assert {urn: outcome.violations for urn, outcome in outcomes.items() if outcome.violations} == {}
        assert decided(first) == decided(update), stack
        assert not [verdict for policy in first.rules for verdict in policy.report.values() if verdict.deferred]


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
