"""Secrets outside of connections: what is one, and what only looks like one."""

from __future__ import annotations

from typing import Any

import pytest

from policy.runner import NotExaminedError
from tests.policy.cases.secrets import CANARY, FUNCTION, HELD, NAMES, NATIVE_FUNCTION, PLAINTEXT, message
from tests.policy.engine import NOT_YET, Engine, Outcome, Secret
from tests.policy.programs import places, put

FUNCTIONS = [FUNCTION, NATIVE_FUNCTION]
TYPES = [*HELD, *FUNCTIONS]


def told(variables: Any, type_: str = FUNCTION) -> tuple[list[str], Engine]:
    """What the rule says to a function with this environment."""
    engine = Engine()
    outcome = engine.register(type_, {"environment": {"variables": variables}})
    return outcome.violations.get(PLAINTEXT, []), engine


def said(outcome: Outcome) -> list[str]:
    return outcome.violations.get(PLAINTEXT, [])


@pytest.mark.parametrize("type_", FUNCTIONS)
def test_each_secret_that_a_function_is_told_is_one_of_pulumi(type_: str):
    messages, _ = told(dict.fromkeys(NAMES, CANARY), type_)
    assert sorted(messages) == sorted(message(f"environment.variables.{name}") for name in NAMES)
    assert told(dict.fromkeys(NAMES, Secret(CANARY)), type_)[0] == []
    assert told(Secret(dict.fromkeys(NAMES, CANARY)), type_)[0] == []


@pytest.mark.parametrize(
    "name",
    [
        "TABLE_NAME",
        "DB_PASSWORD_ARN",
        "SECRET_NAME",
        "TOKEN_URL",
        "MAX_TOKENS",
        "API_KEY_ID",
        "API_KEY_HEADER",
        "tokenTtl",
        "TOKEN_TTL",
        "TOKEN_COUNT",
        "DB_SECRET_NAME",
        "DB_SECRET_ARN",
        "DB_PASSWORD_PARAMETER",
        "PRIVATE_KEY_PATH",
        "PASSWORD_FILE",
        "PASSWORDLESS",
        "MONKEY",
        "PWD",
        "BYPASS",
        "SECOND_PASS",
        # Tokens that authorise nobody.
        "EOS_TOKEN",
        "padToken",
        "STOP_TOKEN",
        "PAGE_TOKEN",
        "NEXT_PAGE_TOKEN",
        "nextToken",
        "PAGINATION_TOKEN",
        "IDEMPOTENCY_TOKEN",
        # Either the secret or what it is called.
        "SECRET",
        "DB_SECRET",
        "CREDENTIALS",
        "GOOGLE_APPLICATION_CREDENTIALS",
    ],
)
def test_what_a_function_may_be_told_openly_is_no_secret(name: str):
    assert told({name: CANARY, NAMES[0]: CANARY})[0] == [message(f"environment.variables.{NAMES[0]}")]


@pytest.mark.parametrize(
    "value",
    [
        "arn:aws:secretsmanager:eu-west-1:111122223333:secret:carrier-AbCdEf",
        "arn:aws-cn:ssm:cn-north-1:111122223333:parameter/carrier",
        "{{resolve:secretsmanager:carrier}}",
        "/prod/carrier/password",
        "/prod/carrier",
        "/Prod/Orders/DbPassword",
        "/PROD/DB_PASSWORD",
        "/111122223333/orders2/v1.2/github-pat",
        "/app/orders_db/x509Cert2",
        "prod/db/password",
        "orders/githubToken",
        "team-a/orders.v2/CLIENT_SECRET",
        "prod/db",
        "staging/orders/carrier",
        "/Prod/Orders/Carrier",
        "prod/passwords",
        "op://vault/github/token",
        "ssm:/prod/stripe/api-key",
        "ssm-secure:/prod/stripe",
        "secretsmanager:prod/stripe/client",
        "vault:secret/data/stripe#token",
        "projects/orders-1/secrets/stripe",
        "projects/orders-1/secrets/stripe/versions/latest",
        "true",
        "False",
        "",
    ],
)
def test_a_reference_to_a_secret_or_a_switch_is_no_secret(value: str):
    assert told({"DB_PASSWORD": value})[0] == []


@pytest.mark.parametrize(
    "value",
    [
        "/s3cr3t",
        "/secret",
        "password",
        "/s3cr3t/with a space",
        "/s3cr3t/carrier",
        "/abcd/efghSECRET",
        "/abcd/EFGHsecret",
        "/abcd/",
        "//password",
        "/prod/password\n",
        "/prod/1234",
        "x/prod/carrier",
        "prod/db/password?",
        "orders/passwords",
        "product/db",
        "/Winter/Summer",
        "/winter/Summer",
        "Winter/Summer",
        "op:hunter",
        "ssm:",
        "ssm:/prod/stripe api",
        "ssm:/prod\n",
        "projects/orders-1/secrets",
        "projects/orders-1/secrets/stripe\n",
        "none",
        "fetch",
        "v2",
        "alias/orders",
        # After AWS's own example of a secret access key.
        "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        "/wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        "untrue",
        "(arn:aws)",
        "arn:awsome",
        "arn:aws:",
        "{resolve}",
        "100",
        "3.5",
    ],
)
def test_what_only_looks_like_a_reference_is_a_secret(value: str):
    assert told({"DB_PASSWORD": value})[0] == [message("environment.variables.DB_PASSWORD")]


@pytest.mark.parametrize("name", ["MAX_TOKEN", "maxToken", "SESSION_SECRET", "RETRIES_PER_API_KEY"])
@pytest.mark.parametrize(
    ("value", "counts"),
    [("100", True), (100.0, True), ("0", True), ("1234567", True), ("12345678", False), ("-1", False), ("10x", False)],
)
def test_a_number_of_tokens_or_keys_is_no_secret(name: str, value: Any, *, counts: bool):
    assert told({name: value})[0] == ([] if counts else [message(f"environment.variables.{name}")])


@pytest.mark.parametrize("name", ["DB_PASSWORD", "PASSWD", "keyPassphrase"])
@pytest.mark.parametrize("value", ["100", 100.0])
def test_a_number_may_well_be_a_password(name: str, value: Any):
    assert told({name: value})[0] == [message(f"environment.variables.{name}")]


@pytest.mark.parametrize("value", ["no-check", "NoCheck", "Fetch", "required", "v2", "v10"])
def test_a_token_may_be_a_word_that_takes_its_place(value: str):
    assert told({"X_ATLASSIAN_TOKEN": value})[0] == []
    assert told({"X_ATLASSIAN_PASSWORD": value})[0] != []


KMS = "1a2b3c4d-0000-4000-8000-00000000abcd"


@pytest.mark.parametrize("value", ["alias/orders", KMS, f"mrk-{KMS.replace('-', '')}"])
def test_a_key_to_encrypt_with_may_be_one_of_kms(value: str):
    assert told({"ENCRYPTION_KEY": value, "ordersEncryptionKey": value})[0] == []
    assert told({"PRIVATE_KEY": value})[0] == [message("environment.variables.PRIVATE_KEY")]
    assert told({"ENCRYPTION_KEY": f"{value}!"})[0] == [message("environment.variables.ENCRYPTION_KEY")]


# Parts that only together look like keys, to those as well who look for them in repositories.
SHOWN = [
    "sk_" + "live_51C4n4ry",
    "rk_" + "test_51C4n4ry",
    "Bearer " + "gh" + "p_C4n4ryC4n4ry",
    "github" + "_pat_C4n4ry",
    "gl" + "pat-C4n4ry",
    "xox" + "b-C4n4ry",
    "AK" + "IAIOSFODNN7EXAMPLE",
    "AI" + "zaSyC4n4ry",
    "npm" + "_" + "C4n4ry" * 6,
    "SG" + ".C4n4ryC4n4ryC4n4ry",
    "-----BEGIN " + "RSA PRIVATE KEY-----",
    "postgres://orders:hunter2@db.example/orders",
    "redis://:hunter2@cache.example",
    "AMQPS://orders:{hunter2@queue.example",
]


@pytest.mark.parametrize("name", ["STRIPE_SK", "DATABASE_URL", "PAGE_TOKEN"])
@pytest.mark.parametrize("value", SHOWN)
def test_a_value_that_shows_a_secret_is_one_whatever_its_name(name: str, value: str):
    assert told({name: value})[0] == [message(f"environment.variables.{name}")]
    assert told({name: Secret(value)})[0] == []


@pytest.mark.parametrize(
    "value",
    [
        "postgres://db.example:5432/orders",
        "postgres://orders@db.example/orders",
        "postgres://orders:${PASSWORD}@db.example/orders",
        "postgres://orders:{password}@db.example/orders",
        "postgres://orders:{{resolve:secretsmanager:orders}}@db.example/orders",
        "postgres://orders:<password>@db.example/orders",
        "postgres://orders:$PASSWORD@db.example/orders",
        "postgres://orders:%s@db.example/orders",
        "postgres://orders:***@db.example/orders",
        "https://db.example:8443/orders@home",
        "https://db.example/a:b@c",
        "task_sk_live_orders",
        "xsk_live_orders",
        "AKIA",
        "orders",
        7,
        NOT_YET,
    ],
    ids=range(17),
)
def test_a_value_that_shows_none_is_judged_by_its_name(value: Any):
    messages, engine = told({"DATABASE_URL": value})
    assert messages == []
    assert engine.verdict(PLAINTEXT, FUNCTION).deferred == set()


@pytest.mark.parametrize("value", [7, ["a"], {"a": "b"}, True])
def test_a_secret_of_another_shape_is_one(value: Any):
    assert told({"DB_PASSWORD": value})[0] == [message("environment.variables.DB_PASSWORD")]


@pytest.mark.parametrize("variables", [None, [], "text", 7, {}])
def test_an_environment_without_variables_holds_no_secret(variables: Any):
    assert told(variables)[0] == []


@pytest.mark.parametrize("value", [CANARY, Secret(CANARY)], ids=["told", "secret"])
def test_each_secret_of_a_function_is_decided(value: Any):
    _, engine = told({"DB_PASSWORD": value, "TABLE_NAME": "orders"})
    decided = {"environment.variables", "environment.variables.DB_PASSWORD"}
    assert engine.verdict(PLAINTEXT, FUNCTION).decided == decided


def test_a_variable_that_is_not_known_yet_is_left_to_the_update():
    messages, engine = told({"DB_PASSWORD": NOT_YET, "GITHUB_TOKEN": CANARY})
    assert messages == [message("environment.variables.GITHUB_TOKEN")]
    assert engine.verdict(PLAINTEXT, FUNCTION).deferred == {"environment.variables.DB_PASSWORD"}
    assert told(NOT_YET)[0] == []
    assert told({"DB_PASSWORD": Secret(NOT_YET)})[1].verdict(PLAINTEXT, FUNCTION).deferred == set()


@pytest.mark.parametrize("type_", ["String", "StringList", None, 7, NOT_YET])
def test_only_a_secure_parameter_is_a_secret(type_: Any):
    parameter = "aws:ssm/parameter:Parameter"
    inputs = {"name": "greeting", "type": type_, "value": CANARY}
    assert said(Engine().register(parameter, inputs)) == []
    assert said(Engine().register(parameter, {**inputs, "type": "SecureString"})) == [message("value")]


@pytest.mark.parametrize("type_", HELD)
def test_what_is_not_known_yet_is_left_to_the_update(type_: str):
    good, secret = HELD[type_]
    for place in secret:
        engine = Engine()
        assert said(engine.register(type_, put(good, place, NOT_YET))) == []
        assert engine.verdict(PLAINTEXT, type_).deferred == {place}


@pytest.mark.parametrize("type_", HELD)
def test_what_aws_makes_itself_or_keeps_without_telling_is_no_plaintext(type_: str):
    good, secret = HELD[type_]
    bare = {name: value for name, value in good.items() if name not in secret}
    engine = Engine()
    assert said(engine.register(type_, bare)) == []
    assert engine.verdict(PLAINTEXT, type_).decided >= set(secret)


@pytest.mark.parametrize("type_", TYPES)
def test_a_rule_that_cannot_see_secrets_stops_the_engine(type_: str):
    with pytest.raises(NotExaminedError, match=f"^{PLAINTEXT} cannot see"):
        Engine().configure({PLAINTEXT: "mandatory"}).register(type_, {})


@pytest.mark.parametrize("type_", TYPES)
def test_a_canary_at_every_place_is_in_no_message(type_: str):
    good = HELD[type_][0] if type_ in HELD else {"environment": {"variables": dict.fromkeys(NAMES, CANARY)}}
    for place in places(good):
        for value in (CANARY, [CANARY], {"value": CANARY}):
            assert CANARY not in Engine().register(type_, put(good, place, value)).raw
