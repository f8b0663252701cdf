"""What is not confirmed in time is given to its carrier again, and in the end to a person."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

import contracts
from components import bounds
from components.function import Compute, Function, FunctionArgs
from components.grants import ServiceRole
from components.orders_bus import OrdersBus
from components.orders_store import OrdersStore
from components.queue import DeadLetterQueue, DeadLetterQueueArgs
from components.scope import Scope

# Times are whole hours, so a quarter is soon enough, and an idle sweep costs four empty queries of each carrier.
# The handler begins with another shard at each quarter.
_EVERY_MINUTES = 15
# A sweep takes up to 1,000 orders of each carrier, one after the other. The handler begins no order that it may not be
# able to end in time, however slow AWS is.
_TIMEOUT_SECONDS = 180


@dataclass(frozen=True, kw_only=True)
class ReconcileArgs:
    scope: Scope
    compute: Compute
    store: OrdersStore
    bus: OrdersBus
    confirm_within: Mapping[str, int]
    """Hours, by enabled carrier. Orders of every other carrier wait until it is enabled."""
    after: tuple[pulumi.Resource, ...]
    """Through what orders reach their carriers: one that is emitted earlier would reach none."""
    protect: bool

    def __post_init__(self) -> None:
        bounds.demand_some("ReconcileArgs.confirm_within", self.confirm_within, bounds.MOST_CARRIERS)
        for carrier, hours in self.confirm_within.items():
            bounds.demand_carrier("a carrier of ReconcileArgs.confirm_within", carrier)
            bounds.demand_number(f"ReconcileArgs.confirm_within[{carrier!r}]", hours, bounds.CONFIRM_HOURS)


class Reconcile(pulumi.ComponentResource):
    """Every quarter of an hour, emits the orders again whose carrier has not confirmed within its time.

    Three times per order; then the order lies in the queue `overdue`, as the failure record of its event, and is
    emitted only when an operator asks for it. Operators invoke the function: `handlers/reconcile.py` says with what.
    """

    function: Function
    """Its role is one that the bus has to admit."""
    overdue: DeadLetterQueue
    function_name: pulumi.Output[str]
    overdue_url: pulumi.Output[str]

    def __init__(self, name: str, args: ReconcileArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("event-gateway:components:Reconcile", name, None, opts)
        self._name, self._args = name, args
        self.overdue = self._queue()
        self.function = self._function()
        self._schedule()
        self.function_name, self.overdue_url = self.function.name, self.overdue.url
        self.register_outputs({"function_name": self.function_name, "overdue_url": self.overdue_url})

    def _queue(self) -> DeadLetterQueue:
        scope = self._args.scope
        return DeadLetterQueue(
            f"{self._name}-overdue",
            DeadLetterQueueArgs(
                scope=scope, role="overdue", sender=scope.role_arn("reconcile"), protect=self._args.protect
            ),
            pulumi.ResourceOptions(parent=self),
        )

    def _function(self) -> Function:
        args, scope = self._args, self._args.scope
        function = Function(
            self._name,
            FunctionArgs(
                scope=scope,
                compute=args.compute,
                entry="reconcile",
                role="reconcile",
                environment={
                    "TABLE_NAME": args.store.table_name,
                    "BUS_NAME": args.bus.name,
                    "OVERDUE_QUEUE_URL": self.overdue.url,
                    "CONFIRM_WITHIN": json.dumps(dict(args.confirm_within)),
                },
                after=args.after,
                timeout_seconds=_TIMEOUT_SECONDS,
            ),
            pulumi.ResourceOptions(parent=self),
        )
        args.store.grant_list_pending(function.role)
        args.store.grant_reconcile(function.role)
        args.bus.grant_put(function.role, "emits-orders-again", only=contracts.ORDER_CREATED)
        self.overdue.grant_send(function.role, "gives-orders-up")
        return function

    def _schedule(self) -> None:
        scope, function = self._args.scope, self.function
        fixed_name = pulumi.ResourceOptions(parent=self, delete_before_replace=True)
        # A group of its own: a role's trust can name the group that a schedule is in, and not the schedule.
        group = aws.scheduler.ScheduleGroup(self._name, name=scope.name("reconcile"), opts=fixed_name)
        role = ServiceRole(
            f"{self._name}-schedule",
            service="scheduler.amazonaws.com",
            physical_name=scope.name("reconcile-schedule"),
            known_arn=scope.role_arn("reconcile-schedule"),
            when={
                "StringEquals": {"aws:SourceAccount": scope.account},
                "ArnEquals": {"aws:SourceArn": scope.arn("scheduler", f"schedule-group/{scope.name('reconcile')}")},
            },
            opts=pulumi.ResourceOptions(parent=self),
        )
        function.grant_call(role, "starts-sweeps")
        # The next sweep finds whatever this one left: to start or run one again would only have two at once.
        once = function.run_once(within_seconds=_EVERY_MINUTES * 60)
        aws.scheduler.Schedule(
            self._name,
            name=scope.name("reconcile"),
            group_name=group.name,
            description="Orders that are not confirmed in time",
            schedule_expression=f"rate({_EVERY_MINUTES} minutes)",
            flexible_time_window={"mode": "OFF"},
            target={
                "arn": function.arn,
                "role_arn": role.arn,
                "input": json.dumps({"action": "sweep"}),
                "retry_policy": {
                    "maximum_retry_attempts": 0,
                    "maximum_event_age_in_seconds": _EVERY_MINUTES * 60,
                },
            },
            opts=pulumi.ResourceOptions(
                parent=self, delete_before_replace=True, depends_on=[*role.grants, *function.role.grants, once]
            ),
        )
