"""Queues and their policies: what our own stacks lack (aws-native, a policy inside the queue), and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

from tests.policy.engine import urn
from tests.policy.programs import Mutant, Program, Thing

QUEUE, NATIVE_QUEUE = "aws:sqs/queue:Queue", "aws-native:sqs:Queue"
POLICY, NATIVE_POLICY = "aws:sqs/queuePolicy:QueuePolicy", "aws-native:sqs:QueueInlinePolicy"
NATIVE_RULE = "aws-native:events:Rule"
RULE, TARGET = "aws:cloudwatch/eventRule:EventRule", "aws:cloudwatch/eventTarget:EventTarget"
ENCRYPTED, CLOSED = "queue-encrypted", "queue-policy-closed"
TRANSPORT, KEPT = "queue-transport-encrypted", "dead-letter-queue-kept"

ARN = "arn:aws:{}:eu-west-1:111122223333:{}"
TARGETED, DEAD = "jobs", "dead-letters"
NATIVE, INLINE = "a rule of aws-native with its queues", "a target with a queue that has its policy inside"

NOT_SAID = "set sqsManagedSseEnabled to true, or kmsMasterKeyId to a key"
PLAINTEXT = "give the queue a policy that denies sqs:* to everybody where aws:SecureTransport is false"
ADMIT = (
    "allow events.amazonaws.com sqs:SendMessage in the queue's policy, with ArnEquals of aws:SourceArn and the "
    "rule: without it the dead letters are dropped"
)
FIFO = "remove fifoQueue: AWS sends dead letters to standard queues only"


def retention(place: str) -> str:
    return f"set {place} to 1209600 or more: a dead letter that nobody has looked at by then is gone"


def anybody(at: str) -> str:
    return f"name in {at} whom it admits, or the source in a condition: as it is, anybody"


def every_action(at: str) -> str:
    return f"list in {at} the actions that are needed: as it is, the queue can be purged and its policy replaced"


def any_source(at: str) -> str:
    return f"add ArnEquals with aws:SourceArn to {at}: as it is, the service sends on behalf of any account"


def document(queue: str, *senders: str) -> dict[str, Any]:
    """A policy that refuses plaintext, and admits EventBridge on behalf of the senders (ends of ARNs)."""
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Deny",
                "Principal": {"AWS": "*"},
                "Action": "sqs:*",
                "Resource": ARN.format("sqs", queue),
                "Condition": {"Bool": {"aws:SecureTransport": "false"}},
            },
            *(
                {
                    "Effect": "Allow",
                    "Principal": {"Service": "events.amazonaws.com"},
                    "Action": "sqs:SendMessage",
                    "Resource": ARN.format("sqs", queue),
                    "Condition": {"ArnEquals": {"aws:SourceArn": ARN.format("events", sender)}},
                }
                for sender in senders
            ),
        ],
    }


def _native() -> list[Thing]:
    """A rule that sends jobs to one queue, and what it could not send to another one."""
    queues = [
        Thing(
            type=NATIVE_QUEUE,
            name=name,
            inputs={"queueName": name, "sqsManagedSseEnabled": True, "messageRetentionPeriod": seconds},
        )
        for name, seconds in ((TARGETED, 3600), (DEAD, 1209600))
    ]
    rule = Thing(
        type=NATIVE_RULE,
        name="orders",
        inputs={
            "name": "shipped",
            "eventBusName": "orders",
            "eventPattern": {"source": ["orders"], "detail-type": ["shipped"]},
            "targets": [
                {
                    "id": "jobs",
                    "arn": ARN.format("sqs", TARGETED),
                    "deadLetterConfig": {"arn": ARN.format("sqs", DEAD)},
                    "retryPolicy": {"maximumEventAgeInSeconds": 86400, "maximumRetryAttempts": 185},
                }
            ],
        },
        uses={"targets": tuple(queue.urn for queue in queues)},
    )
    policies = [
        Thing(
            type=NATIVE_POLICY,
            name=queue.name,
            inputs={
                "queue": f"https://sqs.eu-west-1.amazonaws.com/111122223333/{queue.name}",
                "policyDocument": document(queue.name, "rule/orders/shipped"),
            },
            uses={"queue": (queue.urn,)},
        )
        for queue in queues
    ]
    return [*queues, *policies, rule]


def inline(*senders: str) -> list[Thing]:
    """A target of the default bus with a dead-letter queue that has its policy inside."""
    queue = Thing(
        type=QUEUE,
        name=DEAD,
        inputs={
            "name": DEAD,
            "kmsMasterKeyId": "alias/queues",
            "messageRetentionSeconds": 1209600,
            "policy": json.dumps(document(DEAD, *senders)),
        },
    )
    rule = Thing(
        type=RULE,
        name="deployed",
        inputs={"name": "deployed", "eventPattern": '{"source": ["aws.codepipeline"]}'},
    )
    target = Thing(
        type=TARGET,
        name="deployed",
        inputs={
            "rule": "deployed",
            "arn": ARN.format("sns", "deployed"),
            "deadLetterConfig": {"arn": ARN.format("sqs", DEAD)},
            "retryPolicy": {"maximumEventAgeInSeconds": 86400, "maximumRetryAttempts": 185},
        },
        uses={"rule": (rule.urn,), "deadLetterConfig": (urn(QUEUE, DEAD),)},
    )
    return [queue, rule, target]


BASES = {NATIVE: _native(), INLINE: inline("rule/deployed")}


def _change(statement: int, **parts: Any) -> Callable[[Any], Any]:
    """Other parts of one statement; None takes a part away."""

    def change(policy: Any) -> None:
        changed = {**policy["Statement"][statement], **parts}
        policy["Statement"][statement] = {key: value for key, value in changed.items() if value is not None}

    return change


def _without(statement: int) -> Callable[[Any], Any]:
    def change(policy: Any) -> None:
        del policy["Statement"][statement]

    return change


_AS_OBJECT = (NATIVE_POLICY, DEAD, "policyDocument", NATIVE)
_AS_TEXT = ((POLICY, "acme-dead-letters", "policy", "prod"), (QUEUE, DEAD, "policy", INLINE))


def _applied(change: Callable[[Any], Any], policy: Any) -> Any:
    return change(policy) or policy


def _edited(
    rule: str,
    claim: str,
    where: tuple[str, str, str, str],
    change: Callable[[Any], Any],
    message: str,
    at: tuple[str, str] | None = None,
    hinges: tuple[str, ...] = (),
) -> Mutant:
    type_, name, place, base = where

    def mutate(program: Program) -> None:
        if where is _AS_OBJECT:
            program.put(type_, name, place, partial(_applied, change))
        else:
            program.edit(type_, name, place, change)

    return Mutant(rule=rule, claim=claim, change=mutate, message=message, base=base, at=at, hinges=hinges)


def _policies() -> list[Mutant]:
    mutants: list[Mutant] = []
    for where in (*_AS_TEXT, _AS_OBJECT):
        type_, name, place, _ = where
        last = 2 if type_ == POLICY else 1  # ours has a statement more
        at = f"{place}.Statement[{last}]"
        queue = (NATIVE_QUEUE, DEAD) if type_ == NATIVE_POLICY else (QUEUE, name)
        for claim, change, message in (
            ("anybody", _change(last, Principal="*", Condition=None), anybody(at)),
            ("any action", _change(last, Action="SQS:*"), every_action(at)),
            ("all but one action", _change(last, Action=None, NotAction="sqs:PurgeQueue"), every_action(at)),
            ("any source", _change(last, Condition=None), any_source(at)),
            ("a source that is any", _change(last, Condition={"ArnLike": {"aws:SourceArn": "*"}}), any_source(at)),
        ):
            # Text is known as a whole. Of an object, parts may not be, and whether it admits anybody hangs on two.
            hinges = (f"{at}.Effect", f"{at}.Principal") if where is _AS_OBJECT else ()
            mutants.append(_edited(CLOSED, claim, where, change, message, hinges=hinges))
        unreadable = f"write {place} as a JSON object: nobody can read whom it admits"
        mutants.append(_edited(CLOSED, "no policy document", where, lambda policy: [policy], unreadable))
        for claim, statement in (
            ("no refusal of plaintext", _without(0)),
            ("a refusal of TLS", _change(0, Condition={"Bool": {"aws:SecureTransport": "true"}})),
            ("a refusal of everything", _change(0, Condition={"Bool": {"aws:ViaAWSService": "false"}})),
            ("a refusal of plaintext for some", _change(0, Principal={"AWS": "111122223333"})),
            ("a refusal of plaintext for a service", _change(0, Principal={"Service": "*"})),
            ("a refusal of sending in plaintext", _change(0, Action="sqs:SendMessage")),
        ):
            mutants.append(_edited(TRANSPORT, claim, where, statement, PLAINTEXT, queue))
        wrong_source = {"ArnEquals": {"aws:SourceArn": ARN.format("events", "rule/orders/other")}}
        for claim, statement in (
            ("not admitted", _without(last)),
            ("another service", _change(last, Principal={"Service": "sns.amazonaws.com"})),
            ("an account", _change(last, Principal={"AWS": "111122223333"})),
            ("another action", _change(last, Action="sqs:ReceiveMessage")),
            ("another rule", _change(last, Condition=wrong_source)),
            ("refused", _change(last, Effect="Deny")),
        ):
            mutants.append(_edited(KEPT, claim, where, statement, ADMIT, queue))
    return mutants


def _queues() -> list[Mutant]:
    mutants: list[Mutant] = []

    def put(rule: str, claim: str, where: tuple[str, str, str], message: str, **wrong: Any) -> None:
        type_, name, base = where
        ((place, value),) = wrong.items()
        change = partial(Program.put, type_=type_, name=name, place=place, value=value)
        mutants.append(Mutant(rule=rule, claim=f"{claim} of {name}", change=change, message=message, base=base))

    def drop(rule: str, claim: str, where: tuple[str, str, str], place: str, message: str) -> None:
        type_, name, base = where
        change = partial(Program.drop, type_=type_, name=name, place=place)
        mutants.append(Mutant(rule=rule, claim=f"{claim} of {name}", change=change, message=message, base=base))

    ours = [(QUEUE, name, "prod") for name in ("acme-dead-letters", "acme-failures", "orders-pipe-dead-letters")]
    for where in (*ours, (NATIVE_QUEUE, DEAD, NATIVE)):
        place = "messageRetentionSeconds" if where[0] == QUEUE else "messageRetentionPeriod"
        drop(KEPT, "AWS's four days", where, place, retention(place))
        put(KEPT, "a second too few", where, retention(place), **{place: 1209599})
        put(KEPT, "a text as time", where, retention(place), **{place: "1209600"})
        put(KEPT, "an order", where, FIFO, fifoQueue=True)
        drop(ENCRYPTED, "AWS's encryption", where, "sqsManagedSseEnabled", NOT_SAID)
        put(ENCRYPTED, "no encryption", where, NOT_SAID, sqsManagedSseEnabled=False)
    drop(ENCRYPTED, "no key", (QUEUE, DEAD, INLINE), "kmsMasterKeyId", NOT_SAID)
    return mutants


MUTANTS = [
    *_policies(),
    *_queues(),
    Mutant(
        rule=TRANSPORT,
        claim="no policy at all",
        change=lambda program: program.remove(POLICY, "orders-pipe-dead-letters"),
        message=PLAINTEXT,
        at=(QUEUE, "orders-pipe-dead-letters"),
    ),
]
