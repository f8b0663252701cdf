"""Alarms, their topics and log groups: who is told of a failure, and what there is to read about it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from tests.policy.cases import compute, pipes, queues
from tests.policy.engine import NOT_YET
from tests.policy.programs import Mutant, Thing

RETENTION = "log-group-retention"
ACTS = "alarm-acts"
TOPIC = "topic-not-public"
ALARMED = "failures-alarmed"

LOG_GROUP, NATIVE_LOG_GROUP = "aws:cloudwatch/logGroup:LogGroup", "aws-native:logs:LogGroup"
ALARM, NATIVE_ALARM = "aws:cloudwatch/metricAlarm:MetricAlarm", "aws-native:cloudwatch:Alarm"
COMPOSITES = ("aws:cloudwatch/compositeAlarm:CompositeAlarm", "aws-native:cloudwatch:CompositeAlarm")
SNS_TOPIC, TOPIC_POLICY = "aws:sns/topic:Topic", "aws:sns/topicPolicy:TopicPolicy"
NATIVE_TOPIC_POLICIES = ("aws-native:sns:TopicPolicy", "aws-native:sns:TopicInlinePolicy")
QUEUE, NATIVE_QUEUE = "aws:sqs/queue:Queue", "aws-native:sqs:Queue"
RULE, NATIVE_RULE = "aws:cloudwatch/eventRule:EventRule", "aws-native:events:Rule"
PIPE, NATIVE_PIPE = "aws:pipes/pipe:Pipe", "aws-native:pipes:Pipe"
FUNCTION, NATIVE_FUNCTION = "aws:lambda/function:Function", "aws-native:lambda:Function"
REST_API, NATIVE_REST_API = "aws:apigateway/restApi:RestApi", "aws-native:apigateway:RestApi"

ACCOUNT = "111122223333"
TELLS = f"arn:aws:sns:eu-west-1:{ACCOUNT}:alarms"
ADMITTED = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Deny", "Principal": "*", "Action": "sns:Publish", "Resource": TELLS},
        {
            # What SNS gives a topic of its own.
            "Effect": "Allow",
            "Principal": {"AWS": "*"},
            "Action": "sns:Publish",
            "Resource": TELLS,
            "Condition": {"StringEquals": {"AWS:SourceOwner": ACCOUNT}},
        },
    ],
}
DELIVERED = "log group of two days"


def watching(namespace: str, metric: str, dimension: str, value: Any, *, uses: Thing | None = None) -> Thing:
    """An alarm of `aws-native` on one metric of one resource."""
    return Thing(
        type=NATIVE_ALARM,
        name=metric,
        inputs={
            "namespace": namespace,
            "metricName": metric,
            "dimensions": [{"name": dimension, "value": value}],
            "alarmActions": [TELLS],
        },
        uses={"dimensions": (uses.urn,)} if uses else {},
    )


def watched() -> list[Thing]:
    """One resource of each kind, by the provider that our own stacks don't use for it, and its alarm."""
    function = compute.function()
    return [
        *queues.BASES[queues.NATIVE],
        function,
        Thing(type=NATIVE_LOG_GROUP, name="log", inputs={"logGroupName": "/aws/lambda/place", "retentionInDays": 90}),
        Thing(type=PIPE, name="orders", inputs={**pipes.good(PIPE), "name": "orders"}),
        Thing(type=NATIVE_REST_API, name="orders", inputs={"name": "orders"}),
        watching("AWS/SQS", "ApproximateAgeOfOldestMessage", "QueueName", queues.DEAD),
        watching("AWS/Events", "FailedInvocations", "RuleName", "shipped"),
        watching("AWS/EventBridge/Pipes", "ExecutionFailed", "PipeName", "orders"),
        watching("AWS/Lambda", "Errors", "FunctionName", NOT_YET, uses=function),
        watching("AWS/ApiGateway", "5XXError", "ApiName", "orders"),
    ]


BASES = {
    f"{type_} for a year": [Thing(type=type_, name="logs", inputs={"name": "logs", "retentionInDays": 365})]
    for type_ in (LOG_GROUP, NATIVE_LOG_GROUP)
}
BASES |= {
    f"{type_} that tells": [Thing(type=type_, name="told", inputs={"alarmActions": [TELLS], "actionsEnabled": True})]
    for type_ in (ALARM, NATIVE_ALARM, *COMPOSITES)
}
BASES |= {
    f"{type_} of the account": [Thing(type=type_, name="admits", inputs={"policy": json.dumps(ADMITTED)})]
    for type_ in (SNS_TOPIC, TOPIC_POLICY)
}
BASES |= {
    f"{type_} of the account": [Thing(type=type_, name="admits", inputs={"policyDocument": ADMITTED})]
    for type_ in NATIVE_TOPIC_POLICIES
}
BASES |= {
    "watched by aws-native": watched(),
    DELIVERED: [
        Thing(type=LOG_GROUP, name="logs", inputs={"logGroupClass": "DELIVERY", "retentionInDays": 2, "name": "logs"})
    ],
}


def _logs(type_: str) -> Iterator[Mutant]:
    base = f"{type_} for a year"
    endless = "set retentionInDays to 30 or more: without it the logs are kept forever"
    about: dict[str, Any] = {"rule": RETENTION, "base": base}
    yield Mutant(
        claim="not said",
        change=lambda program: program.drop(type_, "logs", "retentionInDays"),
        message=endless,
        **about,
    )
    for claim, days, message in (
        ("forever", 0, endless),
        ("in words", "a year", endless),
        ("for a week", 7, "raise retentionInDays to 30 or more"),
        ("for ten years", 3653, "lower retentionInDays to 400 or less"),
    ):
        yield Mutant(
            claim=claim,
            change=lambda program, days=days: program.put(type_, "logs", "retentionInDays", days),
            message=message,
            **about,
        )


def _silent(type_: str) -> Iterator[Mutant]:
    about: dict[str, Any] = {"rule": ACTS, "base": f"{type_} that tells"}
    nobody = "set alarmActions to whom the alarm tells"
    yield Mutant(
        claim="no actions",
        change=lambda program: program.drop(type_, "told", "alarmActions"),
        message=nobody,
        **about,
    )
    yield Mutant(
        claim="an empty list of actions",
        change=lambda program: program.put(type_, "told", "alarmActions", []),
        message=nobody,
        **about,
    )
    yield Mutant(
        claim="actions off",
        change=lambda program: program.put(type_, "told", "actionsEnabled", value=False),
        message="set actionsEnabled to true",
        **about,
    )


def _open(document: dict[str, Any], statement: int) -> dict[str, Any]:
    return {
        **document,
        "Statement": [
            {key: value for key, value in one.items() if index != statement or key != "Condition"}
            for index, one in enumerate(document["Statement"])
        ],
    }


def _public(type_: str) -> Mutant:
    native = type_ in NATIVE_TOPIC_POLICIES
    where = "policyDocument" if native else "policy"
    at = f"{where}.Statement[1]"
    return Mutant(
        rule=TOPIC,
        claim="everybody",
        base=f"{type_} of the account",
        change=lambda program: (program.put if native else program.edit)(
            type_, "admits", where, lambda document: _open(document, 1)
        ),
        message=f"name in {at}.Principal whom it admits, or say it in a condition",
        hinges=(f"{at}.Effect", f"{at}.Principal", f"{at}.Condition"),
    )


def _unwatched(base: str, alarm: tuple[str, str], at: tuple[str, str], asks: str, *hinges: str) -> Mutant:
    return Mutant(
        rule=ALARMED,
        claim=f"no {alarm[1]}",
        base=base,
        change=lambda program: program.remove(*alarm),
        message=f"add an alarm on {asks}",
        at=at,
        hinges=hinges,
    )


_NATIVE = "watched by aws-native"
_DEPTH = "AWS/SQS ApproximateNumberOfMessagesVisible with its QueueName"
_FAILED_INVOCATIONS = "AWS/Events FailedInvocations with its RuleName"
_EXECUTION_FAILED = "AWS/EventBridge/Pipes ExecutionFailed with its PipeName"
_ERRORS = "AWS/Lambda Errors with its FunctionName"
_5XX = "AWS/ApiGateway 5XXError with its ApiName"
MUTANTS = [
    *(mutant for type_ in (LOG_GROUP, NATIVE_LOG_GROUP) for mutant in _logs(type_)),
    *(mutant for type_ in (ALARM, NATIVE_ALARM, *COMPOSITES) for mutant in _silent(type_)),
    *map(_public, (SNS_TOPIC, TOPIC_POLICY, *NATIVE_TOPIC_POLICIES)),
    _unwatched(
        _NATIVE, (NATIVE_ALARM, "ApproximateAgeOfOldestMessage"), (NATIVE_QUEUE, queues.DEAD), _DEPTH, "queueName"
    ),
    _unwatched(_NATIVE, (NATIVE_ALARM, "FailedInvocations"), (NATIVE_RULE, "orders"), _FAILED_INVOCATIONS),
    _unwatched(_NATIVE, (NATIVE_ALARM, "ExecutionFailed"), (PIPE, "orders"), _EXECUTION_FAILED),
    _unwatched(_NATIVE, (NATIVE_ALARM, "Errors"), (NATIVE_FUNCTION, "place"), _ERRORS),
    _unwatched(_NATIVE, (NATIVE_ALARM, "5XXError"), (NATIVE_REST_API, "orders"), _5XX),
    Mutant(
        rule=RETENTION,
        claim="logs of a function forever",
        change=lambda program: program.drop(LOG_GROUP, "acme-confirm", "retentionInDays"),
        message="set retentionInDays to 30 or more: without it the logs are kept forever",
    ),
    Mutant(
        rule=ACTS,
        claim="nobody is told of dead letters",
        change=lambda program: program.drop(ALARM, "observability-orders-pipe-dead-letters-not-empty", "alarmActions"),
        message="set alarmActions to whom the alarm tells",
    ),
    Mutant(
        rule=TOPIC,
        claim="everybody may raise alarms",
        change=lambda program: program.edit(TOPIC_POLICY, None, "policy", _raised_by_anybody),
        message="name in policy.Statement[2].Principal whom it admits, or say it in a condition",
    ),
    *(
        _unwatched("prod", (ALARM, f"observability-{alarm}"), at, asks)
        for alarm, at, asks in (
            ("orders-pipe-dead-letters-not-empty", (QUEUE, "orders-pipe-dead-letters"), _DEPTH),
            ("carrier-acme-failures-not-empty", (QUEUE, "acme-failures"), _DEPTH),
            ("carrier-acme-undelivered-not-empty", (QUEUE, "acme-undelivered"), _DEPTH),
            ("carrier-acme-orders-failed-invocations", (RULE, "acme-orders"), _FAILED_INVOCATIONS),
            ("orders-pipe-failed", (NATIVE_PIPE, "event-gateway-prod-orders"), _EXECUTION_FAILED),
            ("orders-api-errors", (FUNCTION, "orders-api"), _ERRORS),
            ("orders-api-5xx", (REST_API, "orders-api"), _5XX),
        )
    ),
]


def _raised_by_anybody(document: dict[str, Any]) -> None:
    document["Statement"][2] |= {"Principal": "*", "Condition": {}}
