"""Secrets that AWS keeps or functions are told: what is accepted, and the smallest changes that must be refused."""

from __future__ import annotations

from functools import partial
from typing import Any

from tests.policy.engine import Secret
from tests.policy.programs import Mutant, Program, Thing, put

PLAINTEXT = "plaintext-secrets"
CANARY = "canary-58b2e0c94d"

# Type -> what is right, with every secret place of it, and the places.
HELD: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "aws:apigateway/apiKey:ApiKey": ({"name": "carrier", "value": Secret(CANARY)}, ("value",)),
    "aws-native:apigateway:ApiKey": ({"name": "carrier", "value": Secret(CANARY)}, ("value",)),
    "aws:secretsmanager/secretVersion:SecretVersion": (
        {
            "secretId": "carrier",
            "secretString": Secret(CANARY),
            "secretStringWo": Secret(CANARY),
            "secretBinary": Secret(CANARY),
        },
        ("secretString", "secretStringWo", "secretBinary"),
    ),
    "aws-native:secretsmanager:Secret": ({"name": "carrier", "secretString": Secret(CANARY)}, ("secretString",)),
    "aws:ssm/parameter:Parameter": (
        {
            "name": "carrier",
            "type": "SecureString",
            "value": Secret(CANARY),
            "valueWo": Secret(CANARY),
            "insecureValue": Secret(CANARY),
        },
        ("value", "valueWo", "insecureValue"),
    ),
}
FUNCTION = "aws:lambda/function:Function"
NATIVE_FUNCTION = "aws-native:lambda:Function"
FUNCTION_NAME = "orders-api"
# One by each way to name a secret.
NAMES = (
    "DB_PASSWORD",
    "passwd",
    "signingPassphrase",
    "GITHUB_TOKEN",
    "CARRIER_API_KEY",
    "carrierApiKey",
    "privateKey",
    "STRIPE_SECRET_KEY",
    "AWS_SECRET_ACCESS_KEY",
    "CLIENT_SECRET",
    "webhookSecret",
    "X-AUTH-TOKEN",
    "X-Api-Key",
    "PGPASSWORD",
    "MYSQL_PWD",
    "dbpassword",
    "DBPassword",
    "DB_PASS",
    "smtpPass",
    "MONGODB_PASS",
    "APP_SECRET",
    "ENCRYPTION_KEY",
)


def message(place: str) -> str:
    """What the rule says to a secret that is none of Pulumi's."""
    return f"pass {place} as a secret, for example from config.require_secret(...)"


_NATIVE = "a native function"
BASES = {
    _NATIVE: [
        Thing(
            type=NATIVE_FUNCTION,
            name=FUNCTION_NAME,
            inputs={
                "functionName": "orders-api",
                "role": "arn:aws:iam::111122223333:role/orders-api",
                "runtime": "python3.13",
                "handler": "handlers.orders.handler",
                "code": {"s3Bucket": "releases", "s3Key": "orders.zip"},
                "timeout": 10,
                "memorySize": 256,
                "tracingConfig": {"mode": "Active"},
                "loggingConfig": {"logGroup": "orders-api"},
                "environment": {"variables": {"TABLE_NAME": "orders"}},
            },
        )
    ],
    **{f"{PLAINTEXT} of {type_}": [Thing(type=type_, name="thing", inputs=good)] for type_, (good, _) in HELD.items()},
}

_OF_WHAT_AWS_KEEPS = [
    Mutant(
        rule=PLAINTEXT,
        claim=f"{claim} in {place} of {type_}",
        base=f"{PLAINTEXT} of {type_}",
        change=partial(Program.replace, type_=type_, name="thing", inputs=put(good, place, value)),
        message=message(place),
        hinges=("type",) if type_ == "aws:ssm/parameter:Parameter" else (),
    )
    for type_, (good, places) in HELD.items()
    for place in places
    for claim, value in (("plaintext", CANARY), ("nothing", ""), ("a number", 7))
]
_OF_FUNCTIONS = [
    Mutant(
        rule=PLAINTEXT,
        claim=f"{name} in plaintext",
        base=base,
        change=partial(
            Program.put, type_=type_, name=FUNCTION_NAME, place=f"environment.variables.{name}", value=CANARY
        ),
        message=message(f"environment.variables.{name}"),
    )
    for base, type_, names in (("prod", FUNCTION, NAMES), (_NATIVE, NATIVE_FUNCTION, NAMES[:1]))
    for name in names
]
MUTANTS = [*_OF_WHAT_AWS_KEEPS, *_OF_FUNCTIONS]
