"""No value of a property leaves the pack, whatever a rule thinks of it."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from policy import pack
from policy.runner import NotExaminedError
from tests.policy.cases.destinations import CANARY, GOOD, SECRET, WRONG
from tests.policy.engine import Engine, Secret, serialised
from tests.policy.programs import places
from tests.policy.suite import alone, examples


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
