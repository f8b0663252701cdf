"""Whole programs as the pack gets them, to change one thing in and run every rule over."""

from __future__ import annotations

import copy
import dataclasses
import functools
import json
import runpy
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from tests import graph
from tests.policy.engine import Engine, Outcome, urn


@dataclass(frozen=True, kw_only=True, eq=False)
class Thing:
    """A resource: its inputs as a program gives them (with `Secret` and `NOT_YET`) or as the recorder keeps them."""

    type: str
    name: str
    inputs: dict[str, Any]
    uses: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Per property, the URNs of the resources it was computed from."""
    outputs: dict[str, Any] = field(default_factory=dict)
    """What AWS adds, as a stack rule gets it in an update."""
    protect: bool = False
    urn: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "urn", self.urn or urn(self.type, self.name))


def steps(place: str) -> list[str | int]:
    """`a.b[0].c` as the keys and indices it stands for."""
    return [int(step) if step.isdigit() else step for step in place.replace("[", ".").replace("]", "").split(".")]


def put(inputs: dict[str, Any], place: str, value: Any) -> dict[str, Any]:
    """A copy with another value at the place; a function makes it of the old one."""
    inputs = copy.deepcopy(inputs)
    node, last = _holder(inputs, place)
    node[last] = value(node[last]) if callable(value) else value
    return inputs


def _holder(inputs: dict[str, Any], place: str) -> tuple[Any, str | int]:
    """What holds the place, and its key or index there; a key may be a number, as that of a response is."""
    *way, last = steps(place)
    node: Any = inputs
    for step in way:
        node = node[step if isinstance(node, list) else str(step)]
    return node, last if isinstance(node, list) else str(last)


def drop(inputs: dict[str, Any], place: str) -> dict[str, Any]:
    """A copy without the place, which has to be there."""
    inputs = copy.deepcopy(inputs)
    node, last = _holder(inputs, place)
    del node[last]
    return inputs


def places(value: Any, at: str = "") -> list[str]:
    """Every place in the inputs, from the root down; a secret or an archive is one place.

    A name with a dot cannot be spelled: it is part of what holds it.
    """
    if isinstance(value, dict) and not graph.is_special(value):
        below = [(f"{at}.{name}".removeprefix("."), item) for name, item in value.items() if "." not in name]
    elif isinstance(value, list):
        below = [(f"{at}[{index}]", item) for index, item in enumerate(value)]
    else:
        return []
    return [place for here, item in below for place in (here, *places(item, here))]


class Program:
    """The resources of one run. Changing one replaces it; `base` stays what it was."""

    def __init__(self, things: list[Thing]) -> None:
        self.things = list(things)
        self._base = {id(thing) for thing in things}

    @property
    def changed(self) -> list[Thing]:
        """What is new or was replaced since the program was made."""
        return [thing for thing in self.things if id(thing) not in self._base]

    def of(self, type_: str) -> list[Thing]:
        return [thing for thing in self.things if thing.type == type_]

    def only(self, type_: str, name: str | None = None) -> Thing:
        """The one resource of this type (and logical name); fails when there are none or several."""
        found = [thing for thing in self.of(type_) if name in (None, thing.name)]
        assert len(found) == 1, f"{len(found)} of {type_} named {name}: {[thing.name for thing in self.of(type_)]}"
        return found[0]

    def put(self, type_: str, name: str | None, place: str, value: Any) -> None:
        """Another value at a place of the one resource; a function makes it of the old value."""
        self._change(type_, name, lambda inputs: put(inputs, place, value))

    def drop(self, type_: str, name: str | None, place: str) -> None:
        """The one resource without the place; what it was computed from is forgotten if the place is a property."""
        thing = self.only(type_, name)
        uses = {prop: urns for prop, urns in thing.uses.items() if prop != place}
        self._swap(thing, dataclasses.replace(thing, inputs=drop(thing.inputs, place), uses=uses))

    def replace(self, type_: str, name: str | None, inputs: dict[str, Any]) -> None:
        """Other inputs altogether."""
        self._change(type_, name, lambda _: inputs)

    def edit(self, type_: str, name: str | None, place: str, change: Callable[[Any], Any]) -> None:
        """Change the JSON document that is text at the place. `change` mutates it, or returns another one."""

        def edited(text: str) -> str:
            document = json.loads(text)
            other = change(document)
            return json.dumps(document if other is None else other)

        self.put(type_, name, place, edited)

    def remove(self, type_: str, name: str | None = None) -> Thing:
        """Take the one resource out of the program."""
        thing = self.only(type_, name)
        self.things.remove(thing)
        return thing

    def add(self, thing: Thing) -> None:
        self.things.append(thing)

    def protect(self, type_: str, name: str | None, *, on: bool) -> None:
        """Set the resource option."""
        thing = self.only(type_, name)
        self._swap(thing, dataclasses.replace(thing, protect=on))

    def _change(self, type_: str, name: str | None, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        thing = self.only(type_, name)
        self._swap(thing, dataclasses.replace(thing, inputs=change(thing.inputs)))

    def _swap(self, old: Thing, new: Thing) -> None:
        self.things[self.things.index(old)] = new


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """A change to an accepted program that one rule refuses with one message."""

    rule: str
    claim: str
    """What is wrong, in a few words; with rule and base, the id of the test."""
    change: Callable[[Program], Any]
    message: str
    at: tuple[str, str] | None = None
    """Type and name of the resource that is to be changed back; the one changed resource when it isn't said."""
    base: str = "prod"
    """A stack of ours, or a key of `BASES` of any module of cases: what our own program doesn't have."""
    hinges: tuple[str, ...] = ()
    """Places of the changed resource that, once unknown, rightly leave open what is wrong."""

    def __str__(self) -> str:
        return f"{self.rule}: {self.claim} ({self.base})"


@dataclass
class Verdicts:
    """What came of a program: per resource (URN), and what the stack rules said."""

    engine: Engine
    resources: dict[str, Outcome]
    stack: Outcome

    @property
    def violations(self) -> dict[str, dict[str, list[str]]]:
        """URN -> rule -> messages; what was waived is in `waived`."""
        found: dict[str, dict[str, list[str]]] = {}
        for where, outcome in self.resources.items():
            for rule, messages in outcome.violations.items():
                found.setdefault(where, {}).setdefault(rule, []).extend(messages)
        for diagnostic in self.stack.diagnostics:
            if diagnostic.rule != "waivers":
                found.setdefault(diagnostic.urn, {}).setdefault(diagnostic.rule, []).append(diagnostic.message)
        return found

    @property
    def waived(self) -> list[str]:
        return self.stack.violations.get("waivers", [])

    @property
    def decided(self) -> dict[str, int]:
        """How many places each rule decided."""
        return {
            policy.name: sum(len(verdict.decided) for verdict in policy.report.values()) for policy in self.engine.rules
        }


def run(
    program: Program,
    *,
    only: list[Thing] | None = None,
    engine: Engine | None = None,
    config: dict[str, Any] | None = None,
    update: bool = False,
) -> Verdicts:
    """Every resource (or `only` these) through the rules about resources, then all through those about the stack.

    Without an `engine`, all of the pack.
    """
    engine = engine or Engine()
    if config is not None:
        engine.configure(config)
    outcomes = {
        thing.urn: engine.register(thing.type, thing.inputs, thing.name, urn=thing.urn, protect=thing.protect)
        for thing in (program.things if only is None else only)
    }
    return Verdicts(engine, outcomes, engine.analyze_stack(program.things, update=update))


@cache
def own(stack: str, *, preview: bool = False) -> tuple[Thing, ...]:
    """The recorded program of a stack of ours."""
    return _things(graph.program(stack, preview=preview), lambda node: graph.OUTPUTS[node.type](node.name, node.inputs))


@cache
def others(program: str, *, preview: bool = False) -> tuple[Thing, ...]:
    """A program that isn't ours, by its path below this folder. AWS names and locates whatever it makes."""
    path = str(Path(__file__).parent / program)
    build = functools.partial(runpy.run_path, path, run_name="__main__")
    recorded = graph.record(lambda: build() and None, preview=preview, outputs=_anything)
    return _things(recorded, lambda node: _anything(node.type, node.name, node.inputs))


def _anything(kind: str, name: str, inputs: dict[str, Any]) -> dict[str, Any]:
    unique = f"{name}-1a2b3c4"
    arn = f"arn:aws:{kind.split(':')[1].partition('/')[0]}:{graph.REGION}:{graph.ACCOUNT}:{unique}"
    return {
        "arn": arn,
        "executionArn": arn,
        "invokeArn": arn,
        "streamArn": f"arn:aws:dynamodb:{graph.REGION}:{graph.ACCOUNT}:table/{unique}/stream/2026-01-01T00:00:00.000",
        **dict.fromkeys(("url", "functionUrl", "invokeUrl", "apiEndpoint"), f"https://{unique}.example.com"),
        "name": unique,
        **inputs,
    }


def _things(recorded: graph.Graph, outputs: Callable[[graph.Node], dict[str, Any]]) -> tuple[Thing, ...]:
    return tuple(
        Thing(
            type=node.type,
            name=node.name,
            inputs=node.inputs,
            uses=node.uses,
            # A component has none, nor has the stack's own resource; a provider is not asked about.
            outputs=outputs(node) if node.type.startswith(("aws:", "aws-native:")) else {},
            protect=node.protect,
            urn=node.urn,
        )
        for node in recorded.nodes.values()
    )
