"""The custom bus that every event of the gateway crosses, and its archive."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components.grants import Condition, ServiceRole, allow, document
from components.scope import Scope
from contracts import EventType

# Long enough to replay after a fortnight in a dead-letter queue, short enough not to keep orders for ever.
_ARCHIVE_DAYS = 30
# CreateArchive's own limit, shorter than that of anything else here.
_MAX_ARCHIVE_NAME = 48


@dataclass(frozen=True, kw_only=True)
class OrdersBusArgs:
    scope: Scope
    protect: bool


class OrdersBus(pulumi.ComponentResource):
    """Keeps each event for 30 days.

    Once `admit_only` was called it takes events from those roles and from nobody else; without that call, from whoever
    in the account has an identity policy that allows it.
    """

    name: pulumi.Output[str]
    arn: pulumi.Output[str]
    known_name: str
    known_arn: str

    def __init__(self, name: str, args: OrdersBusArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("event-gateway:components:OrdersBus", name, None, opts)
        self._name, self._account = name, args.scope.account
        self.known_name, self.known_arn = args.scope.name("orders"), args.scope.bus_arn("orders")
        self._bus = aws.cloudwatch.EventBus(
            name,
            name=self.known_name,
            opts=pulumi.ResourceOptions(parent=self, delete_before_replace=True),
        )
        aws.cloudwatch.EventArchive(
            name,
            name=args.scope.name("orders", limit=_MAX_ARCHIVE_NAME),
            event_source_arn=self._bus.arn,
            retention_days=_ARCHIVE_DAYS,
            opts=pulumi.ResourceOptions(parent=self, protect=args.protect),
        )
        self.name, self.arn = self._bus.name, self._bus.arn
        self.register_outputs({"name": self.name, "arn": self.arn})

    def grant_put(self, role: ServiceRole, ability: str, only: EventType | None = None) -> None:
        """May put events on this bus; with `only`, no other source and detail-type.

        The service authorization reference lists both keys for PutEvents, one of them as multi-valued. ForAllValues is
        right for either kind, and Null refuses a request without the key, which ForAllValues alone would let through.
        """
        when: Condition | None = None
        if only:
            when = {
                "ForAllValues:StringEquals": {"events:source": only.source, "events:detail-type": only.detail_type},
                "Null": {"events:source": "false", "events:detail-type": "false"},
            }
        role.may(ability, allow("events:PutEvents", on=self.known_arn, when=when))

    def admit_only(self, *roles: ServiceRole) -> None:
        """Refuse events from whoever is not one of `roles`, even where an identity policy would allow them."""
        aws.cloudwatch.EventBusPolicy(
            self._name,
            event_bus_name=self._bus.name,
            policy=json.dumps(
                document(
                    {
                        "Sid": "PublishersOnly",
                        "Effect": "Deny",
                        "Principal": "*",
                        "Action": "events:PutEvents",
                        "Resource": self.known_arn,
                        "Condition": {"ArnNotEquals": {"aws:PrincipalArn": [role.known_arn for role in roles]}},
                    }
                )
            ),
            opts=pulumi.ResourceOptions(parent=self),
        )
