"""Who is told when an order might not arrive, and where to look."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_aws as aws

from components import alarms
from components.alarms import Alarm, Metric
from components.carrier_integration import CarrierIntegration
from components.dashboard import Graph, Line, Search, body
from components.function import Function
from components.grants import Statement, document, encrypted_transport_only
from components.orders_api import OrdersApi
from components.orders_bus import OrdersBus
from components.orders_store import OrdersStore
from components.queue import DeadLetterQueue
from components.reconcile import Reconcile
from components.scope import Scope
from components.stream_pipe import StreamPipe
from contracts import PENDING_INDEX

_RUNBOOK = "docs/operations.md"
# CloudWatch's own limit of an alarm's and of a dashboard's name.
_MAX_NAME = 255


@dataclass(frozen=True, kw_only=True)
class ObservabilityArgs:
    scope: Scope
    store: OrdersStore
    api: OrdersApi
    pipe: StreamPipe
    bus: OrdersBus
    carriers: list[CarrierIntegration]
    reconcile: Reconcile
    functions: list[Function]
    """Further ones, which somebody who waits for the answer calls."""
    email: str | None
    """Gets each change of an alarm, once whoever reads it has followed the link in the first message."""


class Observability(pulumi.ComponentResource):
    """Raises an alarm for whatever keeps an order from arriving, and shows the way of all orders on one page.

    Alarms go to the topic of `topic_arn` when they are raised and when they are over; each names the section of
    `docs/operations.md` that says what to do. They hold names and numbers, nothing of an order.
    """

    topic_arn: pulumi.Output[str]
    alarm_names: list[str]

    def __init__(self, name: str, args: ObservabilityArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("event-gateway:components:Observability", name, None, opts)
        self._name, self._args, self._scope = name, args, args.scope
        topic, admitted = self._topic()
        self.topic_arn = topic.arn
        raised = [*self._alarms()]
        self.alarm_names = [self._name_of(alarm) for alarm in raised]
        for alarm in raised:
            self._raise(alarm, after=admitted)
        self._dashboard()
        self.register_outputs({"topic_arn": self.topic_arn})

    def _topic(self) -> tuple[aws.sns.Topic, pulumi.Resource]:
        """The topic, and what lets alarms publish to it.

        It is not encrypted at rest: what passes holds no order, and leaves as a mail in the end.
        CloudWatch may not use the AWS managed key of SNS, and a key of our own that is disabled or scheduled for
        deletion would silence every alarm.
        """
        child = pulumi.ResourceOptions(parent=self)
        topic = aws.sns.Topic(
            self._name,
            name=self._scope.name("alarms", limit=_MAX_NAME),
            opts=pulumi.ResourceOptions(parent=self, delete_before_replace=True),
        )
        admitted = aws.sns.TopicPolicy(
            self._name, arn=topic.arn, policy=json.dumps(document(*_admit_alarms(self._scope))), opts=child
        )
        if self._args.email:
            aws.sns.TopicSubscription(
                self._name, topic=topic.arn, protocol="email", endpoint=self._args.email, opts=child
            )
        return topic, admitted

    def _alarms(self) -> Iterator[Alarm]:
        args, namespace = self._args, self._scope.project
        api, pipe, bus, reconcile = args.api, args.pipe, args.bus.known_name, args.reconcile
        yield from alarms.of_api(api.known_name, api.stage_name)
        yield from alarms.of_function(api.known_name)
        yield from alarms.of_table(args.store.known_name, PENDING_INDEX)
        yield from alarms.of_pipe(self._scope.name("orders-pipe"), pipe.name, self._placed)
        yield from alarms.of_queue(
            pipe.dead_letters.known_name, "pipe-dead-letters", "The pipe has given up on new orders."
        )
        for carrier in args.carriers:
            for rule in (carrier.orders_rule, carrier.confirm_rule):
                yield from alarms.of_rule(bus, rule)
            yield from alarms.of_delivery(bus, carrier.orders_rule)
            yield from alarms.of_function(carrier.confirm.known_name)
            yield from alarms.of_events_to_function(carrier.confirm.known_name)
            yield from alarms.of_confirmations(namespace, carrier.confirm.known_name)
            for queue, section, says in _queues_of(carrier):
                yield from alarms.of_queue(queue.known_name, section, says)
        for function in args.functions:
            yield from alarms.of_function(function.known_name)
        # Events for it come again every quarter of an hour, so that none is worth a word of its own.
        yield from alarms.of_function(reconcile.function.known_name)
        yield from alarms.of_reconcile(namespace, reconcile.function.known_name)
        yield from alarms.of_queue(
            reconcile.overdue.known_name, "orders-unconfirmed", "Orders wait for somebody to ask their carrier."
        )

    def _name_of(self, alarm: Alarm) -> str:
        return self._scope.name(f"{self._scope.role(alarm.subject)}-{alarm.condition}", limit=_MAX_NAME)

    def _raise(self, alarm: Alarm, *, after: pulumi.Resource) -> None:
        name = self._name_of(alarm)
        aws.cloudwatch.MetricAlarm(
            f"{self._name}-{self._scope.role(name)}",
            name=name,
            alarm_description=f"{alarm.says} What to do: {_RUNBOOK}#{alarm.section}",
            **_watched(alarm),
            comparison_operator=alarm.comparison,
            threshold=alarm.threshold,
            evaluation_periods=alarm.periods,
            datapoints_to_alarm=alarm.alarming or alarm.periods,
            treat_missing_data=alarm.missing,
            alarm_actions=[self.topic_arn],
            ok_actions=[self.topic_arn],
            opts=pulumi.ResourceOptions(parent=self, delete_before_replace=True, depends_on=[after]),
        )

    @property
    def _placed(self) -> Metric:
        return alarms.own_metric(self._scope.project, "OrderPlaced", self._args.api.known_name)

    def _dashboard(self) -> None:
        scope = self._scope
        aws.cloudwatch.Dashboard(
            self._name,
            dashboard_name=scope.name("orders", limit=_MAX_NAME),
            dashboard_body=json.dumps(
                body(
                    scope.region,
                    "An order goes from left to right; below it, what waits for somebody and what works on it. "
                    f"Each alarm has its section in `{_RUNBOOK}`.",
                    [scope.arn("cloudwatch", f"alarm:{name}") for name in self.alarm_names],
                    [self._story(), self._waiting(), self._work()],
                )
            ),
            opts=pulumi.ResourceOptions(parent=self, delete_before_replace=True),
        )

    def _story(self) -> tuple[Graph, ...]:
        args, api = self._args, self._args.api
        bus, carriers = args.bus.known_name, args.carriers
        return (
            Graph(
                title="1. API",
                lines=tuple(
                    Line(label=label, metric=alarms.api_metric(name, api.known_name, api.stage_name))
                    for label, name in (("requests", "Count"), ("4xx", "4XXError"), ("5xx", "5XXError"))
                ),
            ),
            Graph(
                title="2. Placed",
                lines=(
                    Line(label="placed", metric=self._placed),
                    Line(label="replayed", metric=self._own("OrderReplayed", api.known_name)),
                ),
            ),
            Graph(
                title="3. Pipe",
                lines=tuple(
                    Search(
                        label=label,
                        namespace="AWS/EventBridge/Pipes",
                        dimension="PipeName",
                        begins=args.pipe.name_prefix,
                        metric=name,
                    )
                    for label, name in (("taken", "EventCount"), ("failed", "ExecutionFailed"))
                ),
            ),
            Graph(
                title="4. To the carrier",
                lines=tuple(
                    Line(label=f"{carrier.carrier} {label}", metric=alarms.rule_metric(name, bus, carrier.orders_rule))
                    for carrier in carriers
                    for label, name in (("orders", "TriggeredRules"), ("retries", "RetryInvocationAttempts"))
                ),
            ),
            Graph(
                title="5. Confirmations",
                lines=tuple(
                    Line(label=carrier.carrier, metric=alarms.rule_metric("TriggeredRules", bus, carrier.confirm_rule))
                    for carrier in carriers
                ),
            ),
            Graph(
                title="6. Shipped",
                lines=tuple(
                    Line(label=f"{carrier.carrier} {label}", metric=self._own(name, carrier.confirm.known_name))
                    for carrier in carriers
                    for label, name in (("shipped", "OrderShipped"), ("rejected", "ConfirmationRejected"))
                ),
            ),
        )

    def _waiting(self) -> tuple[Graph, ...]:
        args = self._args
        queues = [
            args.pipe.dead_letters,
            *(queue for carrier in args.carriers for queue, _, _ in _queues_of(carrier)),
            args.reconcile.overdue,
        ]
        return (
            Graph(
                title="Messages in dead-letter queues",
                lines=tuple(
                    Line(label=self._scope.role(queue.known_name), metric=alarms.queue_depth(queue.known_name))
                    for queue in queues
                ),
            ),
            Graph(
                title="Reconcile",
                lines=tuple(
                    Line(label=label, metric=self._own(name, args.reconcile.function.known_name))
                    for label, name in (
                        ("overdue", "OrderOverdue"),
                        ("sent again", "OrderReemitted"),
                        ("not sent again", "OrderNotReemitted"),
                        ("given up", "OrderUnconfirmed"),
                        ("sweeps cut short", "SweepCutShort"),
                    )
                ),
            ),
        )

    def _work(self) -> tuple[Graph, ...]:
        args, table = self._args, self._args.store.known_name
        functions = [
            args.api.known_name,
            *(carrier.confirm.known_name for carrier in args.carriers),
            args.reconcile.function.known_name,
            *(function.known_name for function in args.functions),
        ]
        return (
            *(
                Graph(
                    title=title,
                    lines=tuple(
                        Line(label=self._scope.role(function), metric=alarms.function_metric(name, function, statistic))
                        for function in functions
                    ),
                )
                for title, name, statistic in (
                    ("Function errors", "Errors", "Sum"),
                    ("Function duration, p90", "Duration", "p90"),
                )
            ),
            Graph(
                title="Table",
                lines=(
                    Line(label="reads refused", metric=alarms.table_metric("ReadThrottleEvents", table)),
                    Line(label="writes refused", metric=alarms.table_metric("WriteThrottleEvents", table)),
                ),
            ),
        )

    def _own(self, name: str, function: str) -> Metric:
        return alarms.own_metric(self._scope.project, name, function)


def _queues_of(carrier: CarrierIntegration) -> tuple[tuple[DeadLetterQueue, str, str], ...]:
    """The carrier's queues, each with the section about it and what a message in it means."""
    return (
        (carrier.dead_letters, "carrier-dead-letters", "The carrier was not told of orders."),
        (carrier.undelivered, "undelivered-confirmations", "Confirmations did not reach the function."),
        (carrier.failures, "failed-confirmations", "Confirmations could not be applied."),
    )


def _watched(alarm: Alarm) -> dict[str, Any]:
    """The inputs that say what an alarm watches: one metric, or an expression over several."""
    if isinstance(alarm.metric, Metric):
        metric = alarm.metric
        percentile = metric.statistic.startswith("p")
        return {
            "namespace": metric.namespace,
            "metric_name": metric.name,
            "dimensions": metric.dimensions,
            "extended_statistic" if percentile else "statistic": metric.statistic,
            "period": alarm.period,
        }
    series = [
        {
            "id": id_,
            "metric": {
                "namespace": metric.namespace,
                "metric_name": metric.name,
                "dimensions": metric.dimensions,
                "stat": metric.statistic,
                "period": alarm.period,
            },
        }
        for id_, metric in alarm.metric.items()
    ]
    result = {"id": "result", "expression": alarm.expression, "label": alarm.condition, "return_data": True}
    return {"metric_queries": [*series, result]}


def _admit_alarms(scope: Scope) -> tuple[Statement, ...]:
    """Alarms of this stack may publish, over TLS, and nobody else, whatever their own policies say.

    Of another stack of the account may those whose name continues this one's, as dev-2 does dev: alarms are told apart
    by how their names begin.
    """
    topic = scope.arn("sns", scope.name("alarms", limit=_MAX_NAME))
    ours = scope.arn("cloudwatch", f"alarm:{scope.name('', limit=_MAX_NAME)}*")
    return (
        encrypted_transport_only("sns:Publish", on=topic),
        {
            "Sid": "AlarmsOnly",
            "Effect": "Deny",
            "Principal": "*",
            "Action": "sns:Publish",
            "Resource": topic,
            "Condition": {"ArnNotLike": {"aws:SourceArn": ours}},
        },
        {
            "Sid": "Alarms",
            "Effect": "Allow",
            "Principal": {"Service": "cloudwatch.amazonaws.com"},
            "Action": "sns:Publish",
            "Resource": topic,
            "Condition": {
                "StringEquals": {"aws:SourceAccount": scope.account},
                "ArnLike": {"aws:SourceArn": ours},
            },
        },
    )
