"""Buses, rules and targets: what is accepted, and the smallest changes that must be refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

from tests.policy.programs import Mutant, Program, Thing

KEPT = "event-target-failure-kept"
TRANSFORMER = "event-target-transformer-safe"
BOUNDED = "event-rule-bounded"
CLOSED = "event-bus-policy-closed"
HAS_POLICY = "event-bus-has-policy"
BACKLOG = "api-destination-backlog-held"

BUS, NATIVE_BUS = "aws:cloudwatch/eventBus:EventBus", "aws-native:events:EventBus"
BUS_POLICY, NATIVE_BUS_POLICY = "aws:cloudwatch/eventBusPolicy:EventBusPolicy", "aws-native:events:EventBusPolicy"
PERMISSION = "aws:cloudwatch/eventPermission:EventPermission"
RULE, NATIVE_RULE = "aws:cloudwatch/eventRule:EventRule", "aws-native:events:Rule"
TARGET = "aws:cloudwatch/eventTarget:EventTarget"
DESTINATION = "aws:cloudwatch/eventApiDestination:EventApiDestination"

_SQS = "arn:aws:sqs:eu-west-1:111122223333"
_ACCOUNT = {"AWS": "arn:aws:iam::111122223333:root"}


def _kept() -> dict[str, Any]:
    """What every target has, each its own."""
    return {
        "retryPolicy": {"maximumEventAgeInSeconds": 86400, "maximumRetryAttempts": 185},
        "deadLetterConfig": {"arn": f"{_SQS}:letters"},
    }


def statement(**changes: Any) -> dict[str, Any]:
    """A statement that lets one account put events; None leaves a member out."""
    said = {
        "Sid": "Partners",
        "Effect": "Allow",
        "Principal": _ACCOUNT,
        "Action": "events:PutEvents",
        "Resource": "arn:aws:events:eu-west-1:111122223333:event-bus/orders",
        **changes,
    }
    return {name: value for name, value in said.items() if value is not None}


def policy(**changes: Any) -> dict[str, Any]:
    """A bus policy of that statement."""
    return {"Version": "2012-10-17", "Statement": [statement(**changes)]}


NATIVE = "a bus of aws-native"
DEFAULT = "the default bus"
SHARED = "a bus that another account puts events on"

BASES: dict[str, list[Thing]] = {
    NATIVE: [
        Thing(type=NATIVE_BUS, name="orders", inputs={"name": "orders", "policy": policy()}),
        Thing(
            type=NATIVE_BUS_POLICY,
            name="orders",
            inputs={"eventBusName": "orders", "statementId": "Partners", "statement": statement()},
        ),
        Thing(
            type="aws-native:events:ApiDestination",
            name="carrier",
            inputs={
                "name": "carrier",
                "connectionArn": "arn:aws:events:eu-west-1:111122223333:connection/carrier/0f1e2d3c",
                "httpMethod": "POST",
                "invocationEndpoint": "https://carrier.example/orders",
                "invocationRateLimitPerSecond": 20,
            },
        ),
        Thing(
            type=NATIVE_RULE,
            name="orders",
            inputs={
                "name": "orders",
                "eventBusName": "orders",
                "eventPattern": {"source": ["shop"], "detail-type": ["order.created"]},
                "targets": [
                    {"id": "lambda", "arn": "arn:aws:lambda:eu-west-1:111122223333:function:orders", **_kept()},
                    {
                        "id": "carrier",
                        "arn": "arn:aws:events:eu-west-1:111122223333:api-destination/carrier/0f1e2d3c",
                        "inputTransformer": {
                            "inputPathsMap": {"id": "$.detail.id", "time": "$.time"},
                            "inputTemplate": '{"id": <id>, "rule": "<aws.events.rule-name>", "at": "<time>"}',
                        },
                        **_kept(),
                    },
                ],
            },
        ),
    ],
    DEFAULT: [
        Thing(
            type=RULE,
            name="uploads",
            inputs={"name": "uploads", "eventBusName": "default", "eventPattern": '{"source": ["aws.s3"]}'},
        ),
        Thing(
            type=NATIVE_RULE,
            name="uploads",
            inputs={
                "name": "native-uploads",
                "eventPattern": {"source": ["aws.s3"]},
                "targets": [{"id": "lambda", "arn": "arn:aws:lambda:eu-west-1:111122223333:function:one", **_kept()}],
            },
        ),
        Thing(
            type=TARGET,
            name="uploads",
            inputs={
                "rule": "uploads",
                "eventBusName": "default",
                "arn": "arn:aws:lambda:eu-west-1:111122223333:function:one",
                **_kept(),
            },
        ),
    ],
    SHARED: [
        Thing(type=BUS, name="shared", inputs={"name": "shared"}),
        Thing(
            type=PERMISSION,
            name="shared",
            inputs={"eventBusName": "shared", "statementId": "Partner", "principal": "444455556666"},
        ),
        Thing(
            type=NATIVE_BUS_POLICY,
            name="shared",
            inputs={
                "eventBusName": "shared",
                "statementId": "Organization",
                "action": "events:PutEvents",
                "principal": "*",
                "condition": {"type": "StringEquals", "key": "aws:PrincipalOrgID", "value": "o-a1b2c3d4e5"},
            },
        ),
    ],
}


def _changed(type_: str, name: str, place: str, value: Any) -> Callable[[Program], None]:
    return partial(Program.put, type_=type_, name=name, place=place, value=value)


def _without(type_: str, name: str, place: str) -> Callable[[Program], None]:
    return partial(Program.drop, type_=type_, name=name, place=place)


# The target of a function, in our program and in the native rule; changes of its retries concern no API destination.
_KEPT_BY = (("prod", TARGET, "acme-confirm", ""), (NATIVE, NATIVE_RULE, "orders", "targets[0]."))
_TRANSFORMED_BY = (
    ("prod", TARGET, "acme-orders", "inputTransformer", "inputPaths"),
    (NATIVE, NATIVE_RULE, "orders", "targets[1].inputTransformer", "inputPathsMap"),
)


def _failures() -> list[Mutant]:
    mutants: list[Mutant] = []
    for base, type_, name, at in _KEPT_BY:
        queue, age, attempts = (
            f"{at}{place}"
            for place in (
                "deadLetterConfig.arn",
                "retryPolicy.maximumEventAgeInSeconds",
                "retryPolicy.maximumRetryAttempts",
            )
        )
        dropped = f"set {queue} to the ARN of a standard queue: without one, what cannot be delivered is dropped"
        other = f"set {queue} to the ARN of a standard SQS queue: EventBridge takes no other"
        ages = f"set {age} to a whole number from 3600 to 86400"
        tries = f"set {attempts} to a whole number from 1 to 185"
        for claim, change, message in (
            ("no dead-letter queue", _without(type_, name, f"{at}deadLetterConfig"), dropped),
            ("a dead-letter queue without an ARN", _changed(type_, name, f"{at}deadLetterConfig", {}), dropped),
            ("a FIFO queue", _changed(type_, name, queue, f"{_SQS}:letters.fifo"), other),
            ("a topic", _changed(type_, name, queue, "arn:aws:sns:eu-west-1:111122223333:letters"), other),
            ("an ARN that is no text", _changed(type_, name, queue, 7), other),
            ("no age", _without(type_, name, age), ages),
            ("an age below an hour", _changed(type_, name, age, 3599), ages),
            ("an age above a day", _changed(type_, name, age, 86401), ages),
            ("an age as text", _changed(type_, name, age, "86400"), ages),
            ("no attempts", _without(type_, name, attempts), tries),
            ("not a second try", _changed(type_, name, attempts, 0), tries),
            ("more tries than AWS takes", _changed(type_, name, attempts, 186), tries),
            ("half a try", _changed(type_, name, attempts, 1.5), tries),
        ):
            mutants.append(Mutant(rule=KEPT, claim=claim, base=base, change=change, message=message))
    return mutants


def _transformers() -> list[Mutant]:
    mutants: list[Mutant] = []
    for base, type_, name, at, paths in _TRANSFORMED_BY:
        template = f"{at}.inputTemplate"
        quoted = f"take the quotes from around the placeholders in {template}: EventBridge escapes nothing there"
        undeclared = f"declare in {at}.{paths} each placeholder of {template}"
        no_json = f"make {template} JSON, with each placeholder where a value may stand"
        known = "order_id" if base == "prod" else "id"
        hinges = (f"{at}.{paths}", f"{at}.{paths}.{known}")
        for claim, text, message, open_ in (
            ("a placeholder in quotes", f'{{"id": "<{known}>"}}', quoted, hinges),
            ("a placeholder inside a text", f'{{"text": "Order <{known}>!"}}', quoted, hinges),
            ("a placeholder in quotes in an array", f'["<{known}>"]', quoted, hinges),
            ("the event in quotes", '{"event": "<aws.events.event>"}', quoted, ()),
            ("the whole event in quotes", '{"event": "<aws.events.event.json>"}', quoted, ()),
            ("an undeclared placeholder", '{"id": <nothing>}', undeclared, hinges[:1]),
            ("an unknown variable of EventBridge's", '{"id": <aws.events.nothing>}', undeclared, hinges[:1]),
            ("a missing brace", f'{{"id": <{known}>', no_json, ()),
            ("a placeholder as a name", f"{{<{known}>: 1}}", no_json, ()),
        ):
            mutants.append(
                Mutant(
                    rule=TRANSFORMER,
                    claim=claim,
                    base=base,
                    change=_changed(type_, name, template, text),
                    message=message,
                    hinges=open_,
                )
            )
    return mutants


_OPEN_PATTERNS: dict[str, Any] = {
    "an empty pattern": {},
    "any source by prefix": {"source": [{"prefix": ""}]},
    "any source by suffix": {"source": [{"suffix": ""}]},
    "any source by wildcard": {"source": [{"wildcard": "*"}]},
    "any detail-type, as all have one": {"detail-type": [{"exists": True}]},
    "a source or any": {"source": ["shop", {"prefix": ""}]},
    "no source at all": {"source": []},
    "a source that is no list": {"source": "shop"},
    "the account alone": {"account": ["111122223333"]},
    "the detail alone": {"detail": {"state": ["pending"]}},
    "a source or an account": {"$or": [{"source": ["shop"]}, {"account": ["111122223333"]}]},
    "nothing to choose from": {"$or": []},
    "a choice that is no pattern": {"$or": ["source"]},
}


def _rules() -> list[Mutant]:
    anything = "name a source or a detail-type in eventPattern: it takes what everybody puts on the bus"
    no_json = "set eventPattern to a JSON object"
    missing = "set eventPattern to one that names a source or a detail-type"
    default = "set eventBusName to a custom bus: the default bus takes the events of everything in the account"
    mutants: list[Mutant] = []
    for base, type_, name in (("prod", RULE, "acme-orders"), (NATIVE, NATIVE_RULE, "orders")):
        for claim, pattern in _OPEN_PATTERNS.items():
            value = json.dumps(pattern) if type_ == RULE else pattern
            change = _changed(type_, name, "eventPattern", value)
            mutants.append(Mutant(rule=BOUNDED, claim=claim, base=base, change=change, message=anything))
        for claim, value in (
            ("YAML", "source: [shop]"),
            ("half of it", '{"source": ["shop"'),
            ("a list", "[]"),
            ("7", 7),
        ):
            change = _changed(type_, name, "eventPattern", value)
            mutants.append(Mutant(rule=BOUNDED, claim=claim, base=base, change=change, message=no_json))
        change = _without(type_, name, "eventPattern")
        mutants.append(Mutant(rule=BOUNDED, claim="no pattern", base=base, change=change, message=missing))
    for type_ in (RULE, NATIVE_RULE):
        for claim, sources in (("a custom source", ["shop"]), ("a custom source too", ["aws.s3", "shop"])):
            pattern = {"source": sources}
            change = _changed(type_, "uploads", "eventPattern", json.dumps(pattern) if type_ == RULE else pattern)
            hinges = ("eventBusName",)
            mutants.append(
                Mutant(
                    rule=BOUNDED,
                    claim=f"{claim} of {type_}",
                    base=DEFAULT,
                    change=change,
                    message=default,
                    hinges=hinges,
                )
            )
    return mutants


def _bus_policies() -> list[Mutant]:
    principal = "name an account in principal, or set condition to an organization's aws:PrincipalOrgID"
    mutants: list[Mutant] = []
    for base, type_, name, place in (
        ("prod", BUS_POLICY, "orders", "policy"),
        (NATIVE, NATIVE_BUS, "orders", "policy"),
        (NATIVE, NATIVE_BUS_POLICY, "orders", "statement"),
    ):
        message = f"name the principals in {place}, or add a condition on aws:PrincipalOrgID"
        for claim, changes in {
            "everybody": {"Principal": "*"},
            "every account": {"Principal": {"AWS": "*"}},
            "everybody but one": {"Principal": None, "NotPrincipal": _ACCOUNT},
            "everybody of any organization": {
                "Principal": "*",
                "Condition": {"StringLike": {"aws:PrincipalOrgID": "o-*"}},
            },
            "everybody for himself": {
                "Principal": "*",
                "Condition": {"StringEquals": {"aws:SourceAccount": "${aws:PrincipalAccount}"}},
            },
            "everybody with some source": {
                "Principal": "*",
                "Condition": {"StringEquals": {"events:source": "carrier"}},
            },
        }.items():
            said: Any = statement(**changes) if place == "statement" else policy(**changes)
            value = json.dumps(said) if type_ == BUS_POLICY else said
            change = _changed(type_, name, place, value)
            effect = "statement.Effect" if place == "statement" else "policy.Statement[0].Effect"
            mutants.append(
                Mutant(
                    rule=CLOSED,
                    claim=f"{claim} of {type_}",
                    base=base,
                    change=change,
                    message=message,
                    hinges=(effect,),
                )
            )
        change = _changed(type_, name, place, "[]")
        claim = f"no object of {type_}"
        mutants.append(
            Mutant(rule=CLOSED, claim=claim, base=base, change=change, message=f"set {place} to a JSON object")
        )
    return [
        *mutants,
        Mutant(
            rule=CLOSED,
            claim="a permission for everybody",
            base=SHARED,
            change=_changed(PERMISSION, "shared", "principal", "*"),
            message=principal,
        ),
        Mutant(
            rule=CLOSED,
            claim="a native permission for everybody",
            base=SHARED,
            change=_without(NATIVE_BUS_POLICY, "shared", "condition"),
            message=principal,
            hinges=("principal",),
        ),
        Mutant(
            rule=CLOSED,
            claim="a native permission with another condition",
            base=SHARED,
            change=_changed(NATIVE_BUS_POLICY, "shared", "condition.key", "events:source"),
            message=principal,
            hinges=("condition", "principal"),
        ),
    ]


def _unattached(program: Program) -> None:
    program.remove(NATIVE_BUS_POLICY, "orders")
    program.drop(NATIVE_BUS, "orders", "policy")


def _nobody_named(program: Program) -> None:
    program.remove(PERMISSION, "shared")
    program.put(NATIVE_BUS_POLICY, "shared", "eventBusName", "another")


def _buses() -> list[Mutant]:
    message = "attach an EventBusPolicy that says who may put events on the bus"
    return [
        Mutant(
            rule=HAS_POLICY,
            claim="no policy",
            change=partial(Program.remove, type_=BUS_POLICY, name="orders"),
            message=message,
            at=(BUS, "orders"),
        ),
        Mutant(
            rule=HAS_POLICY,
            claim="no policy of either kind",
            base=NATIVE,
            change=_unattached,
            message=message,
            at=(NATIVE_BUS, "orders"),
        ),
        Mutant(
            rule=HAS_POLICY,
            claim="policies of other buses only",
            base=SHARED,
            change=_nobody_named,
            message=message,
            at=(BUS, "shared"),
            hinges=("name",),
        ),
    ]


def _slow(program: Program) -> None:
    program.put(TARGET, "acme-orders", "retryPolicy.maximumEventAgeInSeconds", 3600)
    program.put(DESTINATION, "acme-orders", "invocationRateLimitPerSecond", 2)


def _slow_native(program: Program) -> None:
    program.put(NATIVE_RULE, "orders", "targets[1].retryPolicy.maximumEventAgeInSeconds", 4999)
    program.put("aws-native:events:ApiDestination", "carrier", "invocationRateLimitPerSecond", 2)


def backlog(at: str = "") -> str:
    """What the rule says of a target."""
    return (
        f"raise {at}retryPolicy.maximumEventAgeInSeconds or invocationRateLimitPerSecond: "
        "their product, which is what can wait without a loss, to 10000 or more"
    )


def _backlogs() -> list[Mutant]:
    return [
        Mutant(
            rule=BACKLOG,
            claim="7200 events fill an hour",
            change=_slow,
            message=backlog(),
            at=(TARGET, "acme-orders"),
        ),
        Mutant(
            rule=BACKLOG,
            claim="9998 events fill its time",
            base=NATIVE,
            change=_slow_native,
            message=backlog("targets[1]."),
            at=(NATIVE_RULE, "orders"),
            hinges=("targets[1].arn",),
        ),
    ]


MUTANTS = [*_failures(), *_transformers(), *_rules(), *_bus_policies(), *_buses(), *_backlogs()]
