"""API destinations and connections: all that can be decided is, and only that."""

from __future__ import annotations

from typing import Any

import pulumi_policy.proxy as sentinels
import pytest

from tests.policy.cases.destinations import (
    AS_A_SECRET,
    CANARY,
    CREDENTIALS,
    ENDPOINT,
    ENDPOINTS,
    GOOD,
    PARAMETERS,
    RATE,
    SECRET,
    credential,
    plaintext,
)
from tests.policy.engine import NOT_YET, Engine, Secret
from tests.policy.programs import drop, places, put

ACCEPTED = [
    pytest.param(rule, type_, good, id=f"{rule}-{type_}")
    for rule, goods in GOOD.items()
    for type_, good in goods.items()
]
CONNECTIONS = [pytest.param(type_, good, id=type_) for type_, good in GOOD[SECRET].items()]
DESTINATIONS = [pytest.param(type_, good, id=type_) for type_, good in GOOD[RATE].items()]
UNKNOWNS = sorted(value for name, value in vars(sentinels).items() if name.startswith("UNKNOWN_"))


def below(place: str, prefix: str) -> bool:
    """Whether the place is the prefix or a part of it."""
    return place == prefix or place.startswith((f"{prefix}.", f"{prefix}["))


@pytest.mark.parametrize(("rule", "type_", "good"), ACCEPTED)
def test_what_is_right_is_accepted_and_decided(rule: str, type_: str, good: dict[str, Any]):
    engine = Engine()
    outcome = engine.register(type_, good)
    assert outcome.violations == {}
    verdict = engine.verdict(rule, type_)
    assert verdict.decided
    assert not verdict.deferred
    assert rule not in outcome.not_applicable


@pytest.mark.parametrize("rate", [1, 20, 300, 20.0])
@pytest.mark.parametrize(("type_", "good"), DESTINATIONS)
def test_every_limit_within_the_bounds_is_accepted(type_: str, good: dict[str, Any], rate: float):
    assert Engine().register(type_, put(good, "invocationRateLimitPerSecond", rate)).violations == {}


@pytest.mark.parametrize(("type_", "good"), DESTINATIONS)
def test_a_secret_limit_is_a_limit(type_: str, good: dict[str, Any]):
    outcome = Engine().register(type_, put(good, "invocationRateLimitPerSecond", Secret(301)))
    assert outcome.messages == ["lower invocationRateLimitPerSecond to 300 or less"]


@pytest.mark.parametrize("sentinel", UNKNOWNS)
@pytest.mark.parametrize(("type_", "good"), DESTINATIONS)
def test_a_limit_that_is_not_known_yet_is_left_to_the_update(type_: str, good: dict[str, Any], sentinel: str):
    engine = Engine()
    outcome = engine.register(type_, put(good, "invocationRateLimitPerSecond", sentinel))
    assert outcome.violations == {}
    assert outcome.not_applicable[RATE] == "the update decides, when it knows invocationRateLimitPerSecond"
    assert engine.verdict(RATE, type_).deferred == {"invocationRateLimitPerSecond"}
    assert not engine.verdict(RATE, type_).decided


@pytest.mark.parametrize(("type_", "good"), CONNECTIONS)
def test_every_credential_is_decided(type_: str, good: dict[str, Any]):
    engine = Engine()
    engine.register(type_, good)
    assert engine.verdict(SECRET, type_).decided == {*CREDENTIALS[type_].values(), *PARAMETERS[type_]}


@pytest.mark.parametrize(("type_", "good"), CONNECTIONS)
def test_all_plaintext_credentials_are_named_at_once(type_: str, good: dict[str, Any]):
    everything = [*CREDENTIALS[type_].values(), *PARAMETERS[type_]]
    outcome = Engine().register(type_, _bare(good))
    assert sorted(outcome.messages) == sorted(map(plaintext, everything))


@pytest.mark.parametrize("sentinel", [NOT_YET, *UNKNOWNS])
@pytest.mark.parametrize(("type_", "good"), CONNECTIONS)
def test_an_unknown_anywhere_hides_what_is_below_it_and_nothing_else(type_: str, good: dict[str, Any], sentinel: Any):
    everything = [*CREDENTIALS[type_].values(), *PARAMETERS[type_]]
    bare = _bare(good)
    for place in places(bare):
        engine = Engine()
        outcome = engine.register(type_, put(bare, place, sentinel))
        hidden = {leaf for leaf in everything if below(leaf, place) or place == _flag(leaf)}
        assert sorted(outcome.messages) == sorted(plaintext(leaf) for leaf in everything if leaf not in hidden), place
        verdict = engine.verdict(SECRET, type_)
        assert verdict.decided == {leaf for leaf in everything if leaf not in hidden}
        assert bool(verdict.deferred) == bool(hidden), place
        assert all(below(deferred, place) or deferred in hidden for deferred in verdict.deferred)


@pytest.mark.parametrize(("type_", "good"), CONNECTIONS)
def test_an_unknown_elsewhere_does_not_hide_that_the_credential_is_missing(type_: str, good: dict[str, Any]):
    own = CREDENTIALS[type_]["API_KEY"]
    bare = {"name": "carrier", "authorizationType": "API_KEY", "authParameters": _bare(good)["authParameters"]}
    bare = drop(bare, own)
    message = f"give the connection its {own}, {AS_A_SECRET}"
    for place in places(bare):
        outcome = Engine().register(type_, put(bare, place, NOT_YET))
        assert (message in outcome.messages) == (not below(own, place) and place != "authorizationType"), place


@pytest.mark.parametrize(("type_", "good"), CONNECTIONS)
def test_an_unknown_authorization_leaves_open_which_credential_is_missing(type_: str, good: dict[str, Any]):
    engine = Engine()
    outcome = engine.register(type_, {**good, "authorizationType": NOT_YET, "authParameters": {}})
    assert outcome.violations == {}
    assert engine.verdict(SECRET, type_).deferred == set(CREDENTIALS[type_].values())
    assert SECRET in outcome.not_applicable


@pytest.mark.parametrize(("type_", "good"), CONNECTIONS)
def test_a_rule_that_decides_a_part_is_applicable(type_: str, good: dict[str, Any]):
    unknown = CREDENTIALS[type_]["API_KEY"]
    engine = Engine()
    outcome = engine.register(type_, put(good, unknown, NOT_YET))
    assert outcome.violations == {}
    assert engine.verdict(SECRET, type_).deferred == {unknown}
    assert SECRET not in outcome.not_applicable


@pytest.mark.parametrize("authorization", ["SOMETHING_NEW", None, ["BASIC"]])
@pytest.mark.parametrize(("type_", "good"), CONNECTIONS)
def test_an_authorization_that_aws_does_not_have_today_asks_for_no_credential(
    type_: str, good: dict[str, Any], authorization: Any
):
    outcome = Engine().register(type_, {**good, "authorizationType": authorization, "authParameters": {}})
    assert SECRET not in outcome.violations


@pytest.mark.parametrize("value", [NOT_YET, CANARY], ids=["unknown", "known"])
@pytest.mark.parametrize(("type_", "good"), CONNECTIONS)
def test_a_secret_covers_all_that_is_part_of_it(type_: str, good: dict[str, Any], value: Any):
    everything = [*CREDENTIALS[type_].values(), *PARAMETERS[type_]]
    bare = _bare(good, value)
    for place in places(bare):
        engine = Engine()
        outcome = engine.register(type_, put(bare, place, Secret))
        covered = {leaf for leaf in everything if below(leaf, place)}
        exposed = {leaf for leaf in everything if leaf not in covered} if value == CANARY else set()
        assert sorted(outcome.messages) == sorted(map(plaintext, exposed)), place
        assert not engine.verdict(SECRET, type_).deferred & covered, place


@pytest.mark.parametrize(("type_", "good"), CONNECTIONS)
def test_a_secret_that_is_not_known_yet_is_decided(type_: str, good: dict[str, Any]):
    engine = Engine()
    outcome = engine.register(type_, {**good, "authParameters": Secret(NOT_YET)})
    assert outcome.violations == {}
    assert engine.verdict(SECRET, type_).decided == {"authParameters"}
    assert not engine.verdict(SECRET, type_).deferred


@pytest.mark.parametrize(("type_", "good"), CONNECTIONS)
def test_a_parameter_may_be_public_if_the_program_says_so(type_: str, good: dict[str, Any]):
    for place in PARAMETERS[type_]:
        engine = Engine()
        parameter = {"key": "accept", "value": "application/json", "isValueSecret": False}
        outcome = engine.register(type_, put(good, place.removesuffix(".value"), parameter))
        assert outcome.violations == {}, place
        assert place in engine.verdict(SECRET, type_).decided


CREDENTIAL_KEYS = [
    "Authorization",
    "proxy-authorization",
    "Cookie",
    "X-Api-Key",
    "apikey",
    "x-auth-token",
    "access_token",
    "clientSecret",
    "password",
    "sig",
    "X-Functions-Key",
    "Ocp-Apim-Subscription-Key",
    "X-Auth-Key",
]


@pytest.mark.parametrize("key", CREDENTIAL_KEYS)
@pytest.mark.parametrize(("type_", "good"), CONNECTIONS)
def test_a_parameter_that_is_called_like_a_credential_is_not_public(type_: str, good: dict[str, Any], key: str):
    for place in PARAMETERS[type_]:
        parameter = place.removesuffix(".value")
        for value in (CANARY, Secret(CANARY), "prod/db/password", 12345678, [CANARY]):
            open_ = {"key": key, "value": value, "isValueSecret": False}
            assert Engine().register(type_, put(good, parameter, open_)).messages == [credential(place)]
        kept = {"key": key, "value": Secret(CANARY)}
        assert Engine().register(type_, put(good, parameter, kept)).violations == {}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("accept", CANARY),
        ("x-tenant", CANARY),
        ("authorization-type", CANARY),
        ("token_type", "Bearer"),
        ("max_token", "100"),
        ("with_token", "true"),
        ("token", ""),
        ("cookie", ""),
        ("X-Atlassian-Token", "no-check"),
        ("X-CSRF-Token", "Fetch"),
        ("Idempotency-Token", CANARY),
        ("page_token", "first"),
        (7, CANARY),
        (None, CANARY),
    ],
    ids=range(14),
)
@pytest.mark.parametrize(("type_", "good"), CONNECTIONS)
def test_a_parameter_that_can_be_no_credential_may_be_public(type_: str, good: dict[str, Any], key: Any, value: Any):
    place = PARAMETERS[type_][0]
    parameter = {"key": key, "value": value, "isValueSecret": False}
    engine = Engine()
    assert engine.register(type_, put(good, place.removesuffix(".value"), parameter)).violations == {}
    assert place in engine.verdict(SECRET, type_).decided


@pytest.mark.parametrize("key", ["accept", "authorization", 7])
@pytest.mark.parametrize(("type_", "good"), CONNECTIONS)
def test_a_parameter_whose_value_shows_a_credential_is_not_public(type_: str, good: dict[str, Any], key: Any):
    place = PARAMETERS[type_][0]
    open_ = {"key": key, "value": "Bearer ghp_C4n4ryC4n4ry", "isValueSecret": False}
    outcome = Engine().register(type_, put(good, place.removesuffix(".value"), open_))
    assert outcome.messages == [credential(place, by="value")]


@pytest.mark.parametrize(
    ("key", "value", "deferred"),
    [("Authorization", NOT_YET, True), (NOT_YET, CANARY, True), ("accept", NOT_YET, False)],
    ids=["value", "key", "value of another"],
)
@pytest.mark.parametrize(("type_", "good"), CONNECTIONS)
def test_whether_a_public_parameter_is_a_credential_may_be_decided_by_the_update(
    type_: str, good: dict[str, Any], key: Any, value: Any, *, deferred: bool
):
    place = PARAMETERS[type_][0]
    parameter = {"key": key, "value": value, "isValueSecret": False}
    engine = Engine()
    assert engine.register(type_, put(good, place.removesuffix(".value"), parameter)).violations == {}
    assert (place in engine.verdict(SECRET, type_).deferred) is deferred
    assert (place in engine.verdict(SECRET, type_).decided) is not deferred


@pytest.mark.parametrize(
    "endpoint",
    [
        "https://carrier.example/orders?token_type=bearer&version=2",
        "https://carrier.example/orders/*?token=&cookie=&api_key=false",
        "https://carrier.example/token/authorization",
        "https://127.0.0.1.carrier.example/orders",
        "https://0x7f.example./orders",
        "https://localhost.carrier.example/orders",
        "https://mylocalhost/orders",
        "https://carrier.example:8443/orders",
        "https://1password.com/orders",
        "https://carrier.example/orders?pageToken=first&signature=v2&code=EUR&key=orders",
        "https://carrier.azurewebsites.net/api/orders?zip=1000",
        "https://azurewebsites.net.carrier.example/orders?code=EUR",
        "https://dead.beef/orders",
    ],
)
@pytest.mark.parametrize(("type_", "good"), [*DESTINATIONS, *CONNECTIONS])
def test_an_endpoint_of_a_named_host_is_accepted(type_: str, good: dict[str, Any], endpoint: str):
    assert Engine().register(type_, put(good, ENDPOINTS[type_], endpoint)).violations == {}


@pytest.mark.parametrize("shape", ["text", 7, True, [], {}, [None], [[]], {"headers": {}}])
@pytest.mark.parametrize(("type_", "good"), CONNECTIONS)
def test_inputs_of_another_shape_are_read_without_an_error(type_: str, good: dict[str, Any], shape: Any):
    bare = _bare(good)
    for place in places(bare):
        violations = Engine().register(type_, put(bare, place, shape)).violations
        read = {"authorizationType": None, ENDPOINTS[type_]: {SECRET, ENDPOINT}}.get(place, {SECRET})
        assert read is None or violations.keys() <= read, place
        assert set(violations.get(SECRET, ())) <= {*map(plaintext, places(bare)), *_needs(type_)}, place


def test_a_rule_says_nothing_about_other_types_and_keeps_nothing_of_them():
    engine = Engine()
    outcome = engine.register(
        "random:index/randomId:RandomId", {"name": "q", "authParameters": {"basic": {"password": Secret(CANARY)}}}
    )
    assert outcome.violations == {}
    destinations = [policy for policy in engine.rules if policy.name in {RATE, SECRET}]
    assert len(destinations) == 2
    assert not any(policy.report or policy._examinations for policy in destinations)
    assert {RATE, SECRET} <= set(outcome.not_applicable)


def _bare(good: dict[str, Any], value: Any = CANARY) -> dict[str, Any]:
    """The same inputs with every secret as plaintext."""

    def strip(node: Any) -> Any:
        if isinstance(node, Secret):
            return value
        if isinstance(node, dict):
            return {name: strip(item) for name, item in node.items()}
        return [strip(item) for item in node] if isinstance(node, list) else node

    return strip(good)


def _flag(place: str) -> str | None:
    return f"{place.removesuffix('value')}isValueSecret" if place.endswith("].value") else None


def _needs(type_: str) -> list[str]:
    return [f"give the connection its {place}, {AS_A_SECRET}" for place in CREDENTIALS[type_].values()]
