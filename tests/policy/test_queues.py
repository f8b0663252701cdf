"""Queues: which of them keep dead letters, for whom, and what is left open while names are not known."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.policy.cases.queues import (
    ADMIT,
    ARN,
    CLOSED,
    DEAD,
    ENCRYPTED,
    KEPT,
    NATIVE_POLICY,
    NATIVE_QUEUE,
    NATIVE_RULE,
    PLAINTEXT,
    POLICY,
    QUEUE,
    RULE,
    TARGET,
    TRANSPORT,
    anybody,
    document,
    every_action,
    inline,
    retention,
)
from tests.policy.engine import NOT_YET, Engine
from tests.policy.programs import Thing, places, put
from tests.policy.suite import said

BUSES = ("aws:cloudwatch/eventBus:EventBus", "aws-native:events:EventBus")
TOO_SHORT = retention("messageRetentionSeconds")


def queue(type_: str = QUEUE, name: str = DEAD, **inputs: Any) -> Thing:
    return Thing(type=type_, name=name, inputs=inputs)


def sender(type_: str, place: str, *queues: Thing, arn: Any = NOT_YET, **inputs: Any) -> Thing:
    """A resource that names a queue at the place."""
    names = place.split(".")
    value: Any = arn
    for name in reversed(names):
        value = [{name: value}] if name == "deadLetterConfig" and names[0] == "targets" else {name: value}
    return Thing(
        type=type_, name="sender", inputs={**inputs, **value}, uses={names[0]: tuple(one.urn for one in queues)}
    )


PLACES = [
    *((bus, "deadLetterConfig.arn") for bus in BUSES),
    (TARGET, "deadLetterConfig.arn"),
    (NATIVE_RULE, "targets.deadLetterConfig.arn"),
    *(
        (type_, f"sourceParameters.{name}StreamParameters.deadLetterConfig.arn")
        for type_, table in (("aws:pipes/pipe:Pipe", "dynamodb"), ("aws-native:pipes:Pipe", "dynamoDb"))
        for name in (table, "kinesis")
    ),
    *(
        (type_, "target.deadLetterConfig.arn")
        for type_ in ("aws:scheduler/schedule:Schedule", "aws-native:scheduler:Schedule")
    ),
    *(
        (type_, "deadLetterConfig.targetArn")
        for type_ in ("aws:lambda/function:Function", "aws-native:lambda:Function")
    ),
    *(
        (type_, "destinationConfig.onFailure.destination")
        for type_ in (
            "aws:lambda/functionEventInvokeConfig:FunctionEventInvokeConfig",
            "aws-native:lambda:EventInvokeConfig",
        )
    ),
]
AS_SERVICE = {*BUSES, TARGET, NATIVE_RULE}


@pytest.mark.parametrize(("type_", "place"), PLACES, ids=range(len(PLACES)))
@pytest.mark.parametrize("kind", [QUEUE, NATIVE_QUEUE])
def test_every_sender_makes_a_queue_one_of_dead_letters(type_: str, place: str, kind: str):
    dead = queue(kind)
    too_short = retention("messageRetentionSeconds" if kind == QUEUE else "messageRetentionPeriod")
    expected = [ADMIT, too_short] if type_ in AS_SERVICE else [too_short]
    assert said(KEPT, dead, sender(type_, place, dead)) == expected
    assert said(KEPT, dead, sender(type_, f"{place}s", dead)) == []


@pytest.mark.parametrize(
    ("type_", "place"),
    [
        ("aws:sqs/queue:Queue", "redrivePolicy"),
        ("aws:sqs/redrivePolicy:RedrivePolicy", "redrivePolicy"),
        ("aws-native:sqs:Queue", "redrivePolicy"),
        ("aws:sns/topicSubscription:TopicSubscription", "redrivePolicy"),
        ("aws-native:sns:Subscription", "redrivePolicy"),
        ("aws:lambda/eventSourceMapping:EventSourceMapping", "destinationConfig.onFailure.destinationArn"),
        ("aws-native:lambda:EventSourceMapping", "destinationConfig.onFailure.destination"),
    ],
)
def test_where_a_queue_a_topic_or_a_stream_redrives_to_is_another_concern(type_: str, place: str):
    dead = queue(fifoQueue=True)
    assert said(KEPT, dead, sender(type_, place, dead)) == []


def test_a_queue_that_nobody_sends_dead_letters_to_may_forget_them():
    assert said(KEPT, queue(messageRetentionSeconds=60, fifoQueue=True)) == []


@pytest.mark.parametrize(("seconds", "accepted"), [(59, False), (60, True), (NOT_YET, True)], ids=range(3))
def test_the_time_that_is_accepted_is_configured(seconds: Any, *, accepted: bool):
    dead = queue(messageRetentionSeconds=seconds)
    by_role = sender("aws:lambda/function:Function", "deadLetterConfig.targetArn", dead)
    lower = TOO_SHORT.replace("1209600", "60")
    assert said(KEPT, dead, by_role, config={"minimumRetentionSeconds": 60}) == ([] if accepted else [lower])


@pytest.mark.parametrize(
    ("arn", "outputs", "found"),
    [
        (NOT_YET, {}, False),  # either of the two
        (ARN.format("sqs", DEAD), {}, True),
        (ARN.format("sqs", "others"), {}, False),
        (ARN.format("sqs", DEAD), {"arn": ARN.format("sqs", DEAD)}, True),
        (ARN.format("sqs", DEAD), {"arn": f"{ARN.format('sqs', DEAD)}-2"}, False),
        ({"text": 1}, {}, False),
    ],
    ids=range(6),
)
def test_a_queue_among_several_is_told_by_its_arn(arn: Any, outputs: dict[str, Any], *, found: bool):
    dead = Thing(type=QUEUE, name=DEAD, inputs={"name": DEAD, **outputs})
    jobs = Thing(type=QUEUE, name="jobs", inputs={"name": "jobs"})
    config = sender(
        "aws:lambda/functionEventInvokeConfig:FunctionEventInvokeConfig",
        "destinationConfig.onFailure.destination",
        dead,
        jobs,
        arn=arn,
    )
    assert said(KEPT, dead, jobs, config) == ([TOO_SHORT] if found else [])


def test_a_topic_is_no_queue():
    topic = Thing(type="aws:sns/topic:Topic", name="failures", inputs={})
    config = sender("aws:lambda/function:Function", "deadLetterConfig.targetArn", topic)
    assert said(KEPT, queue(), topic, config) == []


def admitted(source: Any, *, rule: dict[str, Any], bus: Thing | None = None) -> list[str]:
    """What is said when the queue admits this source and the rule is like that."""
    queue_, rule_, target = inline("rule/deployed")
    policy = document(DEAD)
    policy["Statement"].append(
        {
            "Effect": "Allow",
            "Principal": {"Service": "events.amazonaws.com"},
            "Action": "sqs:*Message",
            "Condition": {"ArnLike": {"aws:SourceArn": source}},
        }
    )
    queue_ = Thing(type=QUEUE, name=DEAD, inputs={**queue_.inputs, "policy": policy})
    uses = {"eventBusName": (bus.urn,)} if bus else {}
    changed = Thing(type=RULE, name=rule_.name, inputs=rule, uses=uses)
    return said(KEPT, queue_, changed, target, *([bus] if bus else []))


ORDERS, DEFAULT = ARN.format("events", "rule/orders/deployed"), ARN.format("events", "rule/deployed")
BUS = Thing(type=BUSES[0], name="orders", inputs={"name": "orders"})
UNNAMED = Thing(type=BUSES[0], name="orders", inputs={"name": NOT_YET})
ON_ORDERS: dict[str, Any] = {"name": "deployed", "eventBusName": "orders"}


@pytest.mark.parametrize(
    ("source", "rule", "bus", "accepted"),
    [
        (ORDERS, ON_ORDERS, None, True),
        (DEFAULT, ON_ORDERS, None, False),
        (ORDERS, {**ON_ORDERS, "eventBusName": ARN.format("events", "event-bus/orders")}, None, True),
        (DEFAULT, {**ON_ORDERS, "eventBusName": "default"}, None, True),
        (ORDERS, {**ON_ORDERS, "eventBusName": "default"}, None, False),
        (ORDERS, {"name": "deployed"}, None, False),
        (ORDERS, {**ON_ORDERS, "eventBusName": NOT_YET}, BUS, True),
        (DEFAULT, {**ON_ORDERS, "eventBusName": NOT_YET}, BUS, False),
        (DEFAULT, {**ON_ORDERS, "eventBusName": NOT_YET}, UNNAMED, True),
        (DEFAULT, {**ON_ORDERS, "eventBusName": NOT_YET}, None, True),
        (DEFAULT, {**ON_ORDERS, "name": NOT_YET}, None, True),
        (DEFAULT, {**ON_ORDERS, "arn": DEFAULT}, None, True),
        (DEFAULT, {**ON_ORDERS, "arn": ORDERS}, None, False),
        (ARN.format("events", "rule/*/deployed"), {**ON_ORDERS, "arn": ORDERS}, None, True),
        (ARN.format("events", "rule/or*"), ON_ORDERS, None, True),
        ([DEFAULT, ORDERS], ON_ORDERS, None, True),
        (NOT_YET, ON_ORDERS, None, True),
        (7, ON_ORDERS, None, False),
    ],
    ids=range(18),
)
def test_the_rule_that_is_admitted_is_the_one_that_sends(
    source: Any, rule: dict[str, Any], bus: Thing | None, *, accepted: bool
):
    assert admitted(source, rule=rule, bus=bus) == ([] if accepted else [ADMIT])


@pytest.mark.parametrize("type_", BUSES)
@pytest.mark.parametrize(("name", "accepted"), [("orders", True), ("others", False)])
def test_a_bus_sends_on_its_own_behalf(type_: str, name: str, *, accepted: bool):
    dead = Thing(
        type=QUEUE,
        name=DEAD,
        inputs={"messageRetentionSeconds": 1209600, "policy": json.dumps(document(DEAD, "event-bus/orders"))},
    )
    bus = sender(type_, "deadLetterConfig.arn", dead, name=name)
    assert said(KEPT, dead, bus) == ([] if accepted else [ADMIT])


def test_each_rule_that_sends_has_to_be_admitted():
    queue_, rule, target = inline("rule/deployed")
    other = Thing(type=RULE, name="other", inputs={"name": "other"})
    second = Thing(type=TARGET, name="other", inputs=target.inputs, uses={**target.uses, "rule": (other.urn,)})
    assert said(KEPT, queue_, rule, target) == []
    assert said(KEPT, queue_, rule, target, other, second) == [ADMIT]
    queue_, *_ = inline("rule/deployed", "rule/other")
    assert said(KEPT, queue_, rule, target, other, second) == []


def test_a_target_of_a_rule_that_is_not_in_the_stack_is_admitted_by_any_source():
    queue_, _, target = inline("rule/elsewhere")
    apart = Thing(
        type=TARGET, name=target.name, inputs=target.inputs, uses={"deadLetterConfig": target.uses["deadLetterConfig"]}
    )
    assert said(KEPT, queue_, apart) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"Principal": "*"},
        {"Principal": NOT_YET},
        {"Principal": {"Service": ["sns.amazonaws.com", NOT_YET]}},
        {"Action": NOT_YET},
        {"Action": ["sqs:GetQueueUrl", "SQS:SendMessage"]},
        {"Action": "*"},
        {"Effect": NOT_YET},
        {"Condition": NOT_YET},
        {"Condition": {"StringEquals": {"aws:SourceAccount": "111122223333"}}},
    ],
    ids=range(9),
)
def test_a_statement_that_admits_the_rule_or_may_do_so_is_accepted(changes: dict[str, Any]):
    queue_, rule, target = inline()
    policy = document(DEAD, "rule/deployed")
    policy["Statement"][1] |= changes
    changed = Thing(type=QUEUE, name=DEAD, inputs={**queue_.inputs, "policy": policy})
    assert said(KEPT, queue_, rule, target) == [ADMIT]
    assert said(KEPT, changed, rule, target) == []


@pytest.mark.parametrize(
    ("type_", "where", "at"), [(POLICY, "policy", "queueUrl"), (NATIVE_POLICY, "policyDocument", "queue")]
)
def test_a_policy_is_of_the_queue_that_it_names(type_: str, where: str, at: str):
    dead, other = queue(), queue(name="other")

    def attached(*to: Thing, policy: Any = None, url: Any = NOT_YET) -> Thing:
        inputs = {where: document(DEAD) if policy is None else policy, at: url}
        return Thing(type=type_, name="policy", inputs=inputs, uses={at: tuple(one.urn for one in to)})

    assert said(TRANSPORT, dead) == [PLAINTEXT]
    assert said(TRANSPORT, dead, attached(dead)) == []
    assert said(TRANSPORT, dead, attached(dead, policy=NOT_YET)) == []
    assert said(TRANSPORT, dead, attached(dead, policy="nothing")) == []
    assert said(TRANSPORT, dead, attached(dead, policy={"Statement": []})) == [PLAINTEXT]
    assert said(TRANSPORT, dead, attached()) == []
    assert said(TRANSPORT, dead, other, attached(other)) == [PLAINTEXT]


def test_policies_of_a_queue_count_together():
    text = json.dumps(document(DEAD))
    dead = queue(policy=json.dumps({"Statement": []}))
    policy = Thing(
        type=POLICY, name="policy", inputs={"policy": text, "queueUrl": NOT_YET}, uses={"queueUrl": (dead.urn,)}
    )
    assert said(TRANSPORT, dead) == [PLAINTEXT]
    assert said(TRANSPORT, dead, policy) == []
    assert said(TRANSPORT, queue(policy=NOT_YET)) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"Principal": "*"},
        {"Principal": NOT_YET},
        {"Action": "*"},
        {"Action": "SQS:*"},
        {"Action": ["sqs:SendMessage", NOT_YET]},
        {"Effect": NOT_YET},
        {"Condition": NOT_YET},
        {"Condition": {"Bool": {"aws:SecureTransport": False}}},
        {"Condition": {"BoolIfExists": {"AWS:SecureTransport": ["false"]}}},
        {"Condition": {"Bool": {"aws:SecureTransport": NOT_YET}}},
    ],
    ids=range(10),
)
def test_a_statement_that_refuses_plaintext_or_may_do_so_is_accepted(changes: dict[str, Any]):
    policy = document(DEAD)
    policy["Statement"][0] |= changes
    assert said(TRANSPORT, queue(policy=policy)) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"Principal": {"AWS": "111122223333"}, "Condition": {}},
        {"Principal": {"AWS": "*"}, "Condition": {"StringEquals": {"aws:PrincipalOrgID": "o-1"}}},
        {"Condition": {"StringEquals": {"aws:SourceAccount": "111122223333"}}},
        {"Condition": {"StringEquals": {"aws:SourceOrgID": "o-1"}}},
        {"Condition": {"StringEquals": {"aws:SourceOrgPaths": "o-1/r-1/ou-1/"}}},
        {"Condition": {"StringEquals": {"aws:SourceOwner": "111122223333"}}},
        {"Condition": {"ArnLike": {"aws:SourceArn": "arn:aws:s3:*:*:orders"}}},
        {"Principal": "*", "Condition": {"ArnEquals": {"aws:SourceVpcArn": ARN.format("ec2", "vpc/vpc-0a1b2c")}}},
        {"Principal": {"Service": NOT_YET}},
        {"Action": NOT_YET},
        {"Effect": "Deny", "Principal": "*", "Action": "*", "Condition": {}},
        {"Effect": "Deny", "Principal": {"Service": "sns.amazonaws.com"}, "Condition": {}},
    ],
    ids=range(12),
)
def test_a_statement_that_names_whom_it_admits_is_accepted(changes: dict[str, Any]):
    policy = document(DEAD, "rule/deployed")
    policy["Statement"][1] |= changes
    assert said(CLOSED, queue(policy=policy)) == []


ROOT = "arn:aws:iam::111122223333:root"
HERE = ARN.format("sqs", DEAD)
EVERYTHING = [
    {"Action": "SQS:*"},
    {"Action": ["*"]},
    {"Action": "sqs:**"},
    {"Action": ["sqs:S*", "sqs:D*", "sqs:P*", "sqs:R*", "sqs:A*"]},
    {"Action": ["sqs:PurgeQueue", "sqs:SetQueue*"]},
    {"Action": ["sqs:PurgeQueue", "sqs:SetQueueAttributes", NOT_YET, "sqs:?*"]},
    {"NotAction": "sqs:DeleteQueue"},
]


@pytest.mark.parametrize("actions", EVERYTHING)
@pytest.mark.parametrize(
    ("principals", "resources"),
    [
        (ROOT, HERE),
        ("111122223333", [HERE]),
        ([ROOT, "111122223333"], HERE),
        (ROOT.replace("aws", "aws-us-gov"), HERE.replace("aws", "aws-us-gov")),
        (ROOT, "*"),
        (ROOT, HERE.replace("111122223333", "*")),
        (ROOT, HERE.replace("111122223333", "11112222333?")),
        (ROOT, "arn:aws:sqs"),
        (ROOT, [NOT_YET, HERE]),
        (ROOT, NOT_YET),
    ],
    ids=range(10),
)
def test_the_owner_of_a_queue_may_be_allowed_everything(actions: dict[str, Any], principals: Any, resources: Any):
    owner = {"Effect": "Allow", "Principal": {"AWS": principals}, "Resource": resources, **actions}
    assert said(CLOSED, queue(policy={"Statement": [owner]})) == []


@pytest.mark.parametrize("actions", EVERYTHING)
@pytest.mark.parametrize(
    ("principals", "resources"),
    [
        ({"AWS": ROOT}, HERE.replace("111122223333", "444455556666")),
        ({"AWS": [ROOT, "444455556666"]}, HERE),
        ({"AWS": [ROOT, "444455556666"]}, "*"),
        ({"AWS": ROOT}, [HERE, HERE.replace("111122223333", "444455556666")]),
        ({"AWS": ROOT, "Service": "sns.amazonaws.com"}, HERE),
        ({"AWS": ROOT.replace("root", "role/orders")}, HERE),
        ({"AWS": f"{ROOT}/x"}, HERE),
        ({"AWS": "arn:aws:iam::1111:root"}, HERE),
        ({"AWS": [ROOT, NOT_YET]}, HERE),
        ({"Service": "sns.amazonaws.com"}, "*"),
    ],
    ids=range(10),
)
def test_nobody_else_may_be_allowed_everything(actions: dict[str, Any], principals: Any, resources: Any):
    other = {"Effect": "Allow", "Principal": principals, "Resource": resources, **actions}
    assert said(CLOSED, queue(policy={"Statement": [other]})) == [every_action("policy.Statement[0]")]


@pytest.mark.parametrize(
    "actions",
    ["sqs:Get*", ["sqs:Send*", "sqs:Purge*"], ["sqs:Set*"], ["sqs:PurgeQueue", "sqs:SetQueueAttributes", "sqs:Get*"]],
    ids=range(4),
)
def test_a_wildcard_that_does_not_cover_the_worst_names_actions(actions: Any):
    other = {"Effect": "Allow", "Principal": {"AWS": "444455556666"}, "Resource": HERE, "Action": actions}
    assert said(CLOSED, queue(policy={"Statement": [other]})) == []


@pytest.mark.parametrize(
    "condition",
    [
        {"StringLike": {"aws:PrincipalOrgID": "o-*"}},
        {"StringLike": {"aws:PrincipalAccount": "1*"}},
        {"StringLike": {"aws:SourceVpce": "vpce-*"}},
        {"StringLike": {"aws:userid": "A*"}},
        {"IpAddress": {"aws:SourceIp": ["0.0.0.0/1", "128.0.0.0/1"]}},
        {"StringEquals": {"aws:SourceAccount": "${aws:PrincipalAccount}"}},
    ],
    ids=range(6),
)
def test_a_condition_that_names_nobody_admits_anybody(condition: dict[str, Any]):
    policy = document(DEAD, "rule/deployed")
    policy["Statement"][1] |= {"Principal": "*", "Condition": condition}
    assert said(CLOSED, queue(policy=policy)) == [anybody("policy.Statement[1]")]


def test_a_queue_is_encrypted_by_either_kind_of_key():
    assert said(ENCRYPTED, queue()) != []
    assert said(ENCRYPTED, queue(kmsMasterKeyId="alias/queues", sqsManagedSseEnabled=False)) == []
    assert said(ENCRYPTED, queue(kmsMasterKeyId=NOT_YET)) == []
    assert said(ENCRYPTED, queue(sqsManagedSseEnabled=NOT_YET)) == []


@pytest.mark.parametrize("shape", ["text", 7, True, [], {}, [None], [[]], {"Statement": [7, "text"]}])
def test_inputs_of_another_shape_are_read_without_an_error(shape: Any):
    things = inline("rule/deployed")
    assert sum(len(places(thing.inputs)) for thing in things) > len(things)
    for thing in things:
        for place in places(thing.inputs):
            changed = Thing(type=thing.type, name=thing.name, inputs=put(thing.inputs, place, shape), uses=thing.uses)
            Engine().analyze_stack([changed if other is thing else other for other in things])
            Engine().register(changed.type, changed.inputs)
