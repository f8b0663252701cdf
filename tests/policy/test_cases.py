"""Every rule, by the cases of its concern: what is right passes, each mutant is refused, no unknown hides a flaw."""

from __future__ import annotations

from collections import Counter

import pytest

from policy import pack
from tests.conftest import STACKS
from tests.policy.engine import NOT_YET
from tests.policy.programs import Mutant, Program, own, places, run
from tests.policy.suite import BASES, MUTANTS, alone, base, differing, examples, mutated, refused_at, related


@pytest.mark.parametrize("name", [*STACKS, *BASES])
@pytest.mark.parametrize("update", [False, True], ids=["preview", "update"])
def test_what_is_right_is_accepted(name: str, *, update: bool):
    program = Program(list(own(name, preview=not update)) if name in STACKS else BASES[name])
    assert run(program, update=update).violations == {}


@pytest.mark.parametrize("mutant", [pytest.param(mutant, id=str(mutant)) for mutant in MUTANTS])
def test_each_mutant_is_refused_with_one_message_by_its_rule_alone(mutant: Mutant):
    program = mutated(mutant)
    where = refused_at(mutant, program).urn
    verdicts = run(program, only=program.changed)
    assert verdicts.violations == {where: {mutant.rule: [mutant.message]}}
    policy = next(policy for policy in verdicts.engine.rules if policy.name == mutant.rule)
    assert policy.report[where].decided


def test_no_rule_is_without_a_mutant_and_every_type_of_it_has_one():
    mutants = {(mutant.rule, refused_at(mutant, mutated(mutant)).type) for mutant in MUTANTS}
    assert mutants == {(rule.name, type_) for rule in pack.RULES for type_ in rule.types}


def test_no_two_mutants_make_the_same_claim():
    assert not [claim for claim, times in Counter(map(str, MUTANTS)).items() if times > 1]


@pytest.mark.parametrize("mutant", [pytest.param(mutant, id=str(mutant)) for mutant in MUTANTS])
def test_an_unknown_elsewhere_does_not_hide_what_is_wrong(mutant: Mutant):
    program = mutated(mutant)
    wrong = refused_at(mutant, program)
    before = next((thing.inputs for thing in base(mutant.base).things if thing.urn == wrong.urn), {})
    about = [*differing(before, wrong.inputs), *mutant.hinges]
    hidden = [
        place
        for place in places(wrong.inputs)
        if not any(related(place, other) for other in about)
        and mutant.message not in alone(mutant.rule, program, wrong, place, NOT_YET).messages
    ]
    assert hidden == [], f"say in `hinges` which of these rightly leave it open: {hidden}"


@pytest.mark.parametrize(("rule", "type_"), sorted((rule.name, type_) for rule in pack.RULES for type_ in rule.types))
def test_an_unknown_anywhere_is_no_violation_and_no_error(rule: str, type_: str):
    assert (rule, type_) in examples(), "some case has to show this type accepted"
    program, thing = examples()[rule, type_]
    assert places(thing.inputs)
    for place in places(thing.inputs):
        assert alone(rule, program, thing, place, NOT_YET).messages == [], place


# What our own program gives no occasion for, and why; their own cases show that they decide.
NOT_OURS = {
    "http-api-direct-guarded": "our one API is a REST API, as an HTTP API cannot look into what PutEvents answers",
    "http-api-putevents-told": "our one API is a REST API, as an HTTP API cannot look into what PutEvents answers",
}


def test_each_rule_decides_something_on_our_own_stacks_at_the_first_preview():
    decided: Counter[str] = Counter()
    for stack in STACKS:
        decided.update(run(Program(list(own(stack, preview=True)))).decided)
    assert {rule.name for rule in pack.RULES if not decided[rule.name]} == NOT_OURS.keys()
