"""The queue that keeps what one sender could not deliver."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components.grants import Condition, ServiceRole, Statement, allow, document, encrypted_transport_only
from components.scope import Scope

# SQS's maximum. What lies here is an accepted order: a fortnight leaves room for a holiday before it is gone.
_RETENTION_SECONDS = 14 * 24 * 3600


@dataclass(frozen=True, kw_only=True)
class DeadLetterQueueArgs:
    """`sender` is the ARN of the rule or of the role that alone may send."""

    scope: Scope
    role: str
    sender: str
    protect: bool


class DeadLetterQueue(pulumi.ComponentResource):
    """Keeps undelivered messages for 14 days, encrypted, and admits exactly one sender."""

    arn: pulumi.Output[str]
    url: pulumi.Output[str]
    known_name: str
    policy: aws.sqs.QueuePolicy
    """Depend on it where a sender could meet the queue before it is admitted."""

    def __init__(self, name: str, args: DeadLetterQueueArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("event-gateway:components:DeadLetterQueue", name, None, opts)
        self.known_name, self._known_arn = args.scope.name(args.role), args.scope.queue_arn(args.role)
        queue = aws.sqs.Queue(
            name,
            name=self.known_name,
            message_retention_seconds=_RETENTION_SECONDS,
            sqs_managed_sse_enabled=True,
            opts=pulumi.ResourceOptions(parent=self, protect=args.protect),
        )
        self.policy = aws.sqs.QueuePolicy(
            name,
            queue_url=queue.url,
            policy=json.dumps(document(*_admit(args.sender, self._known_arn))),
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.arn, self.url = queue.arn, queue.url
        self.register_outputs({"arn": self.arn, "url": self.url})

    def grant_send(self, role: ServiceRole, ability: str) -> None:
        """May put messages into this queue; cannot read or delete them."""
        role.may(ability, allow("sqs:SendMessage", on=self._known_arn))


def _admit(sender: str, queue_arn: str) -> list[Statement]:
    """Refuse everybody but the sender, whatever their own policies say.

    A rule reaches the queue as the service and needs the queue's permission; a role brings its own.
    """
    is_rule = ":events:" in sender
    others: Condition = (
        {"ArnNotEquals": {"aws:SourceArn": sender}} if is_rule else {"ArnNotEquals": {"aws:PrincipalArn": sender}}
    )
    statements: list[Statement] = [
        encrypted_transport_only("sqs:*", on=queue_arn),
        {
            "Sid": "OneSenderOnly",
            "Effect": "Deny",
            "Principal": "*",
            "Action": "sqs:SendMessage",
            "Resource": queue_arn,
            "Condition": others,
        },
    ]
    if is_rule:
        statements.append(
            {
                "Sid": "TheRule",
                "Effect": "Allow",
                "Principal": {"Service": "events.amazonaws.com"},
                "Action": "sqs:SendMessage",
                "Resource": queue_arn,
                "Condition": {"ArnEquals": {"aws:SourceArn": sender}},
            }
        )
    return statements
