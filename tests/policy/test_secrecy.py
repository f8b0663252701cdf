"""No value of a property leaves the pack, whatever a rule thinks of it."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from policy import pack
from policy.runner import NotExaminedError
from tests.conftest import STACKS
from tests.policy.cases import api
from tests.policy.cases.destinations import CANARY, GOOD, SECRET, WRONG
from tests.policy.engine import Engine, Secret, serialised
from tests.policy.programs import Mutant, places
from tests.policy.suite import MUTANTS, alone, examples, mutated, refused_at


@pytest.mark.parametrize(("rule", "type_"), sorted((rule.name, type_) for rule in pack.RULES for type_ in rule.types))
def test_a_canary_at_every_place_is_in_no_message_no_log_and_no_output(
    rule: str, type_: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
):
    caplog.set_level(logging.DEBUG)
    program, thing = examples()[rule, type_]
    for place in places(thing.inputs):
        for value in (CANARY, Secret(CANARY), [CANARY], {"of": CANARY}):
            assert CANARY not in alone(rule, program, thing, place, value).raw, place
    assert CANARY not in caplog.text
    assert CANARY not in "".join(capfd.readouterr())


def named(value: Any) -> set[str]:
    """All names of members in a document."""
    if isinstance(value, dict):
        return set(value).union(*map(named, value.values()))
    return set[str]().union(*map(named, value)) if isinstance(value, list) else set[str]()


def documents(inputs: dict[str, Any]) -> Iterator[tuple[str, str, bool]]:
    """Property, JSON, and whether it is given as text, of each document that is known."""
    for name, value in inputs.items():
        try:
            text = value if isinstance(value, str) else json.dumps(value)
            document = json.loads(text)
        except (ValueError, TypeError):
            continue
        if named(document):
            yield name, text, isinstance(value, str)


# All mutants that are not of our own large program; those about credentials have the canary for one, or are right once
# the document is a secret.
INSIDE = [
    mutant
    for mutant in MUTANTS
    if mutant.base not in STACKS
    and mutant.rule != "plaintext-secrets"
    and CANARY not in json.dumps(refused_at(mutant, mutated(mutant)).inputs, default=str)
]


@pytest.mark.parametrize("mutant", [pytest.param(mutant, id=str(mutant)) for mutant in INSIDE])
def test_no_name_of_a_document_that_is_a_secret_is_in_a_message(mutant: Mutant):
    program = mutated(mutant)
    wrong = refused_at(mutant, program)
    assert CANARY not in json.dumps(wrong.inputs, default=str)
    for name, text, as_text in documents(wrong.inputs):
        for known in sorted(named(json.loads(text))):
            # Wherever the document has the name: references to it, and texts that have it in them.
            renamed = text.replace(json.dumps(known)[1:-1], CANARY)
            value = Secret(renamed if as_text else json.loads(renamed))
            said = alone(mutant.rule, program, wrong, name, value)
            assert CANARY not in said.raw, known
        value = Secret(text if as_text else json.loads(text))
        assert alone(mutant.rule, program, wrong, name, value).messages, "what is secret is judged all the same"


def test_names_of_a_document_are_told_unless_it_is_a_secret_or_nobody_looked():
    document = json.dumps({"paths": {"/orders": {"get": {}}}})
    place = {"known": "body.paths./orders.get.security", "counted": "body.paths[0].get.security"}
    for body, config, told in (
        (document, {}, "known"),
        (Secret(document), {}, "counted"),
        ({"paths": {"/orders": {"get": {"summary": Secret("Orders")}}}}, {}, "counted"),
        (document, {"all": "mandatory", SECRET: "disabled"}, "counted"),
    ):
        (message,) = Engine().configure(config).register("aws-native:apigateway:RestApi", {"body": body}).messages
        assert message.startswith(f"set {place[told]} to a scheme of ")


def test_what_a_secret_document_refers_to_in_vain_is_counted_out_too():
    schema = {"type": "array", "items": {"$ref": f"#/{CANARY}/{CANARY}"}}
    document = api.openapi()
    document["paths"]["/confirm"]["post"]["requestBody"] = {"content": {"application/json": {"schema": schema}}}
    said = Engine().register("aws-native:apigateway:RestApi", {"body": Secret(document)})
    assert said.violations == {"api-model-closed": ["set body[4][0].type"]}


def test_a_canary_that_is_refused_is_in_no_message_and_not_kept():
    for wrong in WRONG:
        engine = Engine()
        outcome = engine.register(wrong.type, wrong.inputs)
        assert outcome.messages
        assert CANARY not in outcome.raw
        assert CANARY not in repr([vars(policy) for policy in engine.rules])


def test_a_canary_is_not_in_the_error_of_a_rule_that_cannot_see_secrets():
    for type_, good in GOOD[SECRET].items():
        engine = Engine().configure({"all": "mandatory"})
        with pytest.raises(NotExaminedError) as stopped:
            engine.register(type_, good)
        shown: list[Any] = [stopped.value, *stopped.value.args, stopped.value.__cause__, stopped.value.__context__]
        assert CANARY not in repr(shown)


def test_what_is_kept_between_the_two_halves_holds_no_value():
    for type_, good in GOOD[SECRET].items():
        engine = Engine()
        engine.remediate(type_, serialised(good))
        kept = repr([vars(policy) for policy in engine.rules if hasattr(policy, "_examinations")])
        assert "password" in kept
        assert CANARY not in kept
