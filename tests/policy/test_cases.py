"""Every rule, by the cases of its concern: what is right passes, each mutant is refused, no unknown hides a flaw."""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections import Counter
from typing import Any

import pytest

from policy import pack
from policy.rule import StackRule
from tests.conftest import STACKS
from tests.policy import cases
from tests.policy.engine import NOT_YET, Engine
from tests.policy.programs import Mutant, Program, Thing, own, places, put, run

MODULES = [importlib.import_module(f"{cases.__name__}.{found.name}") for found in pkgutil.iter_modules(cases.__path__)]
BASES: dict[str, list[Thing]] = {name: base for module in MODULES for name, base in module.BASES.items()}
MUTANTS: list[Mutant] = [mutant for module in MODULES for mutant in module.MUTANTS]
RULES = {rule.name: rule for rule in pack.RULES}


def base(name: str) -> Program:
    return Program(list(own(name)) if name in STACKS else BASES[name])


def mutated(mutant: Mutant) -> Program:
    program = base(mutant.base)
    mutant.change(program)
    return program


def refused_at(mutant: Mutant, program: Program) -> Thing:
    """The resource at which the mutant is to be refused."""
    if mutant.at:
        return program.only(*mutant.at)
    (changed,) = program.changed
    return changed


def differing(old: Any, new: Any, at: str = "") -> set[str]:
    """The topmost places at which two inputs differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = [(name, f"{at}.{name}".removeprefix(".")) for name in {*old, *new}]
        pairs = [(old.get(name), new.get(name), where) for name, where in keys]
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        pairs = [(one, other, f"{at}[{index}]") for index, (one, other) in enumerate(zip(old, new, strict=True))]
    else:
        return set() if old == new else {at}
    return set().union(*(differing(*pair) for pair in pairs))


def related(place: str, other: str) -> bool:
    """Whether one of the places is the other or a part of it."""
    return any(one == two or one.startswith((f"{two}.", f"{two}[")) for one, two in ((place, other), (other, place)))


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
        and mutant.message not in _messages(program, mutant.rule, wrong, place)
    ]
    assert hidden == [], f"say in `hinges` which of these rightly leave it open: {hidden}"


def _messages(program: Program, rule: str, thing: Thing, place: str) -> list[str]:
    """What one rule says once the place is unknown."""
    unknown = _unknown_at(thing, place)
    engine = Engine([policy for policy in pack.policies() if policy.name == rule])
    if isinstance(RULES[rule], StackRule):
        return engine.analyze_stack([unknown if other is thing else other for other in program.things]).messages
    return engine.register(
        unknown.type, unknown.inputs, unknown.name, urn=unknown.urn, protect=unknown.protect
    ).messages


def _unknown_at(thing: Thing, place: str) -> Thing:
    return Thing(
        type=thing.type,
        name=thing.name,
        inputs=put(thing.inputs, place, NOT_YET),
        uses=thing.uses,
        protect=thing.protect,
        urn=thing.urn,
    )


@functools.cache
def _examples() -> dict[tuple[str, str], tuple[Program, Thing]]:
    """One accepted resource per rule and type that it is about, with its program."""
    found: dict[tuple[str, str], tuple[Program, Thing]] = {}
    for name in [*STACKS, *BASES]:
        program = base(name)
        for rule in pack.RULES:
            for thing in program.things:
                if thing.type in rule.types:
                    found.setdefault((rule.name, thing.type), (program, thing))
    return found


@pytest.mark.parametrize(("rule", "type_"), sorted((rule.name, type_) for rule in pack.RULES for type_ in rule.types))
def test_an_unknown_anywhere_is_no_violation_and_no_error(rule: str, type_: str):
    assert (rule, type_) in _examples(), "some case has to show this type accepted"
    program, thing = _examples()[rule, type_]
    assert places(thing.inputs)
    for place in places(thing.inputs):
        assert _messages(program, rule, thing, place) == [], place


def test_each_rule_decides_something_on_our_own_stacks_at_the_first_preview():
    decided: Counter[str] = Counter()
    for stack in STACKS:
        decided.update(run(Program(list(own(stack, preview=True)))).decided)
    assert [rule.name for rule in pack.RULES if not decided[rule.name]] == []
