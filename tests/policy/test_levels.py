"""What the level that a policy is configured to, and its configuration, can and cannot change."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pulumi_policy import EnforcementLevel, Severity

from policy import pack
from policy.rule import Control, Group, Rule, StackRule
from policy.runner import NotExaminedError, RulePolicy, StackRulePolicy
from policy.waivers import Ledger
from tests.policy.cases.destinations import (
    CANARY,
    CLASSIC_CONNECTION,
    CLASSIC_DESTINATION,
    GOOD,
    NATIVE_CONNECTION,
    NATIVE_DESTINATION,
    RATE,
    SECRET,
)
from tests.policy.engine import ADVISORY, MANDATORY, Engine, serialised
from tests.policy.programs import Thing, put

FAST = {"invocationRateLimitPerSecond": 301}
LITERAL = {"authorizationType": "API_KEY", "authParameters": {"apiKey": {"key": "x-api-key", "value": CANARY}}}
UNTOLD = (
    "choose another limit than 300, or run api-destination-rate-limit at level 'remediate': "
    "only there it shows whether the program chose this limit or the provider"
)


def _rule(**changes: Any) -> Rule:
    """A rule that has something against everything."""
    return Rule(
        **{
            "name": "nothing-is-right",
            "why": "Because.",
            "fix": "Stop.",
            "severity": Severity.LOW,
            "group": Group.GATEWAY,
            "frameworks": (Control(framework="CWE", reference="0"),),
            "types": frozenset({"a:b:C"}),
            "check": lambda subject: iter(["stop"]),
            "url": "https://example.com",
            **changes,
        }
    )


@pytest.mark.parametrize("config", [{}, {"all": "remediate"}, {"all": "advisory", SECRET: "remediate"}])
def test_a_plaintext_credential_stops_the_engine(config: dict[str, Any]):
    outcome = Engine().configure(config).register(CLASSIC_CONNECTION, LITERAL)
    assert outcome.violations.keys() == {SECRET}
    assert outcome.levels == {MANDATORY: 1}


@pytest.mark.parametrize("config", [{"all": "advisory"}, {"all": "mandatory"}, {SECRET: "advisory"}])
@pytest.mark.parametrize("type_", [CLASSIC_CONNECTION, NATIVE_CONNECTION])
@pytest.mark.parametrize("secret", [True, False])
def test_a_level_at_which_secrets_cannot_be_seen_stops_the_engine(type_: str, config: dict[str, Any], *, secret: bool):
    engine = Engine().configure(config)
    with pytest.raises(NotExaminedError) as stopped:
        engine.register(type_, GOOD[SECRET][type_] if secret else LITERAL, "carrier")
    assert str(stopped.value) == (
        f"connection-credentials-secret cannot see what is secret in urn:pulumi:test::event-gateway::{type_}::carrier: "
        "run it at level 'remediate', at which it changes nothing, or 'disabled'"
    )


def test_a_level_at_which_secrets_cannot_be_seen_leaves_other_resources_alone():
    engine = Engine().configure({"all": "advisory"})
    assert engine.register("random:index/randomId:RandomId", {"name": "q"}).violations == {}


def test_only_disabling_the_rule_lets_a_plaintext_credential_pass():
    assert Engine().configure({SECRET: "disabled"}).register(CLASSIC_CONNECTION, LITERAL).violations == {}


def test_one_examination_vouches_for_one_validation():
    engine = Engine()
    engine.register(CLASSIC_CONNECTION, GOOD[SECRET][CLASSIC_CONNECTION])
    with pytest.raises(NotExaminedError):
        engine.analyze(CLASSIC_CONNECTION, serialised(LITERAL))


def test_an_examination_vouches_for_its_own_resource_only():
    engine = Engine()
    engine.register(CLASSIC_CONNECTION, GOOD[SECRET][CLASSIC_CONNECTION], "one")
    assert engine.register(CLASSIC_CONNECTION, LITERAL, "two").violations.keys() == {SECRET}


def test_a_resource_is_examined_anew_each_time():
    engine = Engine()
    assert engine.register(CLASSIC_CONNECTION, GOOD[SECRET][CLASSIC_CONNECTION]).violations == {}
    assert engine.register(CLASSIC_CONNECTION, LITERAL).violations.keys() == {SECRET}
    assert engine.register(CLASSIC_CONNECTION, GOOD[SECRET][CLASSIC_CONNECTION]).violations == {}


@pytest.mark.parametrize("rule", [RATE, SECRET])
def test_a_remediation_changes_nothing(rule: str):
    for type_, good in GOOD[rule].items():
        for inputs in (good, LITERAL, FAST):
            assert Engine().register(type_, inputs).remediations == []


@pytest.mark.parametrize(
    ("level", "reported"), [("remediate", MANDATORY), ("mandatory", MANDATORY), ("advisory", ADVISORY)]
)
@pytest.mark.parametrize("type_", [CLASSIC_DESTINATION, NATIVE_DESTINATION])
def test_a_rate_limit_is_refused_at_the_level_that_is_configured(type_: str, level: str, reported: int):
    outcome = Engine().configure({RATE: level}).register(type_, FAST)
    assert outcome.levels == {reported: 1}
    assert outcome.messages == ["lower invocationRateLimitPerSecond to 300 or less"]


@pytest.mark.parametrize("level", ["mandatory", "advisory"])
def test_where_the_providers_own_limit_cannot_be_told_it_is_refused(level: str):
    inputs = {"invocationRateLimitPerSecond": 300, "__defaults": ["invocationRateLimitPerSecond"]}
    assert Engine().configure({RATE: level}).register(CLASSIC_DESTINATION, inputs).messages == [UNTOLD]


@pytest.mark.parametrize(("type_", "rate"), [(CLASSIC_DESTINATION, 299), (NATIVE_DESTINATION, 300)])
def test_a_limit_that_no_provider_fills_in_needs_no_examination(type_: str, rate: int):
    inputs = {"invocationRateLimitPerSecond": rate}
    assert Engine().configure({RATE: "mandatory"}).register(type_, inputs).violations == {}


def test_a_rule_that_needs_no_examination_is_mandatory_of_itself():
    engine = Engine([RulePolicy(_rule(), Ledger())])
    assert engine.policies[0].enforcement_level is EnforcementLevel.MANDATORY
    outcome = engine.register("a:b:C", {})
    assert outcome.violations == {"nothing-is-right": ["stop"]}
    assert outcome.levels == {MANDATORY: 1}


@pytest.mark.parametrize(
    ("config", "rate", "message"),
    [
        ({"maximum": 10}, 11, "lower invocationRateLimitPerSecond to 10 or less"),
        ({"maximum": 10}, 10, None),
        ({"minimum": 5}, 4, "raise invocationRateLimitPerSecond to 5 or more"),
        ({"minimum": 5}, 5, None),
        ({"minimum": 5, "maximum": 5}, 6, "lower invocationRateLimitPerSecond to 5 or less"),
        ({"minimum": 5, "maximum": 5}, 5, None),
    ],
)
def test_the_bounds_are_configured(config: dict[str, Any], rate: int, message: str | None):
    for type_ in GOOD[RATE]:
        outcome = Engine().configure({RATE: config}).register(type_, {"invocationRateLimitPerSecond": rate})
        assert outcome.messages == ([message] if message else [])


def test_a_quota_that_aws_has_raised_can_be_configured():
    engine = Engine().configure({RATE: {"maximum": 1000}})
    assert engine.register(CLASSIC_DESTINATION, {"invocationRateLimitPerSecond": 1000}).messages == []


@pytest.mark.parametrize(
    ("config", "messages"),
    [
        ({"maximum": 0}, ["configure 'maximum' of api-destination-rate-limit as a whole number, 1 or more"]),
        ({"minimum": -1}, ["configure 'minimum' of api-destination-rate-limit as a whole number, 1 or more"]),
        ({"maximum": "fast"}, ["configure 'maximum' of api-destination-rate-limit as a whole number, 1 or more"]),
        ({"maximum": True}, ["configure 'maximum' of api-destination-rate-limit as a whole number, 1 or more"]),
        ({"maximum": 2.5}, ["configure 'maximum' of api-destination-rate-limit as a whole number, 1 or more"]),
        ({"maximum": None}, ["configure 'maximum' of api-destination-rate-limit as a whole number, 1 or more"]),
        ({"maxmum": 10}, ["remove 'maxmum' from the configuration of api-destination-rate-limit: it knows maximum"]),
        (
            {"burst": 10},
            ["remove 'burst' from the configuration of api-destination-rate-limit: it knows maximum, minimum, waivers"],
        ),
        (
            {"minimum": 30, "maximum": 10},
            ["configure 'minimum' of api-destination-rate-limit no higher than its 'maximum'"],
        ),
    ],
)
def test_a_wrong_configuration_is_refused_by_name_and_nothing_is_decided(config: dict[str, Any], messages: list[str]):
    for type_, good in GOOD[RATE].items():
        engine = Engine().configure({RATE: config})
        assert engine.register(type_, good).messages == messages
        assert not any(verdict.decided for verdict in engine.policies[0].report.values())


def test_a_setting_of_a_rule_that_has_none_is_refused_by_name():
    outcome = Engine().configure({SECRET: {"exempt": "all"}}).register(NATIVE_CONNECTION, LITERAL)
    assert outcome.messages == [
        "remove 'exempt' from the configuration of connection-credentials-secret: it knows waivers"
    ]


def test_the_defaults_that_the_engine_fills_in_are_those_of_the_rule():
    for rule in pack.RULES:
        for name, setting in rule.settings.items():
            filled_in = RulePolicy(rule, Ledger()).config_schema.properties[name]["default"]
            assert setting.read(filled_in) == setting.default
            assert setting.refusal(setting.default) is None


def test_a_rule_without_a_configuration_uses_its_defaults():
    engine = Engine()  # never configured, as in a program that drives the pack itself
    assert engine.register(CLASSIC_DESTINATION, FAST).messages == ["lower invocationRateLimitPerSecond to 300 or less"]
    assert engine.register(CLASSIC_DESTINATION, {"invocationRateLimitPerSecond": 300}).messages == []


def test_what_a_rule_tells_about_itself_is_complete():
    for policy in Engine().rules:
        rule = policy.rule
        assert policy.severity in Severity
        assert policy.framework.name == rule.frameworks[0].framework
        assert policy.framework.reference == rule.frameworks[0].reference
        assert policy.tags[0] == rule.group.value
        assert len(policy.tags) == 1 + len(rule.frameworks)
        assert rule.why.endswith(".")
        assert rule.fix.endswith(".")
        assert policy.url.startswith("https://")
    assert len({rule.name for rule in pack.RULES}) == len(pack.RULES)


def test_policies_of_two_runs_share_nothing():
    first, second = Engine(), Engine()
    first.register(CLASSIC_DESTINATION, put(GOOD[RATE][CLASSIC_DESTINATION], "invocationRateLimitPerSecond", 5))
    assert any(policy.report for policy in first.rules)
    assert not any(policy.report for policy in second.rules)


@pytest.mark.parametrize("stack", [False, True], ids=["resource", "stack"])
def test_a_rule_that_fails_is_a_violation_by_name_and_quotes_nothing(*, stack: bool):
    def fail(_: Any) -> Iterator[Any]:
        raise KeyError(CANARY)
        yield

    about = {"types": frozenset({"a:b:C"}), "check": fail}
    policy = (
        StackRulePolicy(
            StackRule(**{key: value for key, value in {**vars(_rule()), **about}.items() if key != "examined"}),
            Ledger(),
        )
        if stack
        else RulePolicy(_rule(**about), Ledger())
    )
    engine = Engine([policy])
    outcome = engine.register("a:b:C", {})
    said = engine.analyze_stack_fully([Thing(type="a:b:C", name="thing", inputs={})]) if stack else outcome
    assert said.messages == [
        "report that nothing-is-right cannot read these inputs (KeyError), and waive it here until it can"
    ]
    assert said.levels == {MANDATORY: 1}
