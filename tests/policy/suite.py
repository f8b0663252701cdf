"""All cases of all concerns, and how to run one rule over one of them."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import pkgutil
from typing import Any

from policy import pack
from policy.rule import StackRule
from policy.runner import RulePolicy, StackRulePolicy
from policy.waivers import Ledger
from tests.conftest import STACKS
from tests.policy import cases
from tests.policy.engine import Engine, Outcome
from tests.policy.programs import Mutant, Program, Thing, own, put, run

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


def policy_of(rule: str) -> Any:
    """The policy that runs one rule."""
    found = RULES[rule]
    return StackRulePolicy(found, Ledger()) if isinstance(found, StackRule) else RulePolicy(found, Ledger())


def alone(rule: str, program: Program, thing: Thing, place: str, value: Any) -> Outcome:
    """What one rule says once another value is at a place of a resource of the program."""
    changed = dataclasses.replace(thing, inputs=put(thing.inputs, place, value))
    engine = Engine([policy_of(rule)])
    if isinstance(RULES[rule], StackRule):
        return engine.analyze_stack([changed if other is thing else other for other in program.things])
    return engine.register(changed.type, changed.inputs, changed.name, urn=changed.urn, protect=changed.protect)


def said(rule: str, *things: Thing, config: dict[str, Any] | None = None, update: bool = False) -> list[str]:
    """What one rule says to these resources, as all there are."""
    engine = Engine([policy_of(rule)])
    verdicts = run(Program(list(things)), engine=engine, config=config and {rule: config}, update=update)
    return sorted(message for found in verdicts.violations.values() for message in found.get(rule, []))


@functools.cache
def examples() -> dict[tuple[str, str], tuple[Program, Thing]]:
    """One accepted resource per rule and type that it is about, with its program."""
    found: dict[tuple[str, str], tuple[Program, Thing]] = {}
    for name in [*STACKS, *BASES]:
        program = base(name)
        for rule in pack.RULES:
            for thing in program.things:
                if thing.type in rule.types:
                    found.setdefault((rule.name, thing.type), (program, thing))
    return found
