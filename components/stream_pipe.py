"""From the table's stream to the bus: the part of the gateway that one never edits.

AWS cannot update a pipe that reads a stream: any change replaces it, and the new pipe reads the last 24 hours again. So
it carries nothing that is likely to change: routing and payloads live in rules and their transformers.
"""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_aws as aws
import pulumi_aws_native as aws_native
from pulumi_aws_native import pipes

import contracts
from components import bounds
from components.grants import ServiceRole
from components.orders_bus import OrdersBus
from components.orders_store import OrdersStore
from components.queue import DeadLetterQueue, DeadLetterQueueArgs
from components.scope import Scope

# PutEvents takes ten entries.
_BATCH_SIZE = 10
# As often as a rule tries its target. Only errors of ours count, such as a missing right; the filter admits no record
# that cannot be rendered, so it is better to wait for the mend than to fill the dead-letter queue.
_ATTEMPTS = 185
# Leaves 4 hours of the stream's 24 to redrive a dead letter, which holds the record's position and not the record.
_MAX_AGE_SECONDS = 20 * 3600
# A pipe's name has 64 characters, of which the provider takes eight.
_MAX_PREFIX = 56


@dataclass(frozen=True, kw_only=True)
class StreamPipeArgs:
    scope: Scope
    source: OrdersStore
    target: OrdersBus
    log_retention_days: int
    protect: bool

    def __post_init__(self) -> None:
        bounds.demand_number("StreamPipeArgs.log_retention_days", self.log_retention_days, bounds.RETENTIONS)


class StreamPipe(pulumi.ComponentResource):
    """Emits `ORDER_CREATED` at least once for each new order, or keeps the record's position as a dead letter."""

    arn: pulumi.Output[str]
    name: pulumi.Output[str]
    name_prefix: str
    """What the name of each pipe begins with; seven characters follow, which change with a replacement."""
    dead_letters: DeadLetterQueue
    dead_letters_url: pulumi.Output[str]
    role: ServiceRole

    def __init__(self, name: str, args: StreamPipeArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("event-gateway:components:StreamPipe", name, None, opts)
        scope = args.scope
        child = pulumi.ResourceOptions(parent=self)
        # The one resource with a generated name: it is created before its predecessor is deleted.
        name_prefix = self.name_prefix = scope.name("orders", limit=_MAX_PREFIX)
        self.role = ServiceRole(
            name,
            service="pipes.amazonaws.com",
            physical_name=scope.name("orders-pipe"),
            known_arn=scope.role_arn("orders-pipe"),
            when={
                "StringEquals": {"aws:SourceAccount": scope.account},
                "ArnLike": {"aws:SourceArn": scope.arn("pipes", f"pipe/{name_prefix}-*")},
            },
            opts=child,
        )
        dead_letters = self.dead_letters = DeadLetterQueue(
            f"{name}-dead-letters",
            DeadLetterQueueArgs(
                scope=scope, role="orders-pipe-dead-letters", sender=self.role.known_arn, protect=args.protect
            ),
            child,
        )
        args.source.grant_stream(self.role)
        dead_letters.grant_send(self.role, "keeps-dead-letters")
        # Nothing documents whether a pipe's PutEvents carries events:source and events:detail-type. A condition on keys
        # that are absent would stop every order, so this grant has none, and the bus admits this role by its name.
        args.target.grant_put(self.role, "emits-orders")
        # Delivered logs need this prefix, or each group takes a place in the account's log resource policy.
        log_group = aws.cloudwatch.LogGroup(
            name,
            name=f"/aws/vendedlogs/pipes/{scope.name('orders-pipe')}",
            retention_in_days=args.log_retention_days,
            opts=pulumi.ResourceOptions(parent=self, delete_before_replace=True),
        )
        # The classic provider's settings are not this one's: it gets what names the account, or what the caller passes.
        provider = self.get_provider("aws-native:pipes:Pipe") or aws_native.Provider(
            name,
            region=scope.region,
            profile=pulumi.Config("aws").get("profile"),
            allowed_account_ids=[scope.account],
            opts=child,
        )
        pipe = pipes.Pipe(
            name_prefix,
            role_arn=self.role.arn,
            source=args.source.stream_arn,
            source_parameters={
                # Without the filter, the update that ships an order would go through the pipe and onto the bus too.
                "filter_criteria": {"filters": [{"pattern": contracts.pipe_filter()}]},
                "dynamo_db_stream_parameters": {
                    # LATEST would miss what is written while a pipe is created or replaced.
                    "starting_position": pipes.PipeDynamoDbStreamStartPosition.TRIM_HORIZON,
                    "batch_size": _BATCH_SIZE,
                    "maximum_retry_attempts": _ATTEMPTS,
                    "maximum_record_age_in_seconds": _MAX_AGE_SECONDS,
                    "on_partial_batch_item_failure": pipes.PipeOnPartialBatchItemFailureStreams.AUTOMATIC_BISECT,
                    "dead_letter_config": {"arn": dead_letters.arn},
                },
            },
            target=args.target.arn,
            target_parameters={
                "input_template": contracts.pipe_input_template(),
                "event_bridge_event_bus_parameters": {
                    "source": contracts.ORDER_CREATED.source,
                    "detail_type": contracts.ORDER_CREATED.detail_type,
                },
            },
            # Not the execution data: it would put orders into the log.
            log_configuration={
                "level": pipes.PipeLogLevel.ERROR,
                "cloudwatch_logs_log_destination": {"log_group_arn": log_group.arn},
            },
            desired_state=pipes.PipeRequestedPipeState.RUNNING,
            opts=pulumi.ResourceOptions(
                parent=self,
                provider=provider,
                replace_on_changes=["*"],
                # A pipe whose role lacks a right reads its first records in vain, and may be stopped for it.
                depends_on=[*self.role.grants, dead_letters.policy],
            ),
        )
        self.arn, self.dead_letters_url = pipe.arn, dead_letters.url
        self.name = pipe.arn.apply(lambda arn: arn.rpartition("/")[2])
        self.register_outputs({"arn": self.arn, "dead_letters_url": self.dead_letters_url, "name": self.name})
