"""What is alarming of each kind of resource, as data; `Observability` makes the alarms.

Metric names and dimensions are those of CloudWatch's list of metrics per resource type and, for the pipe's throttling
and the rules' retries, of the EventBridge user guide. Metrics of our own are those that `handlers/telemetry.py` counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import pulumi

_MINUTES = 60
# What DynamoDB is asked for here; it counts its own failures per operation.
_OPERATIONS = ("GetItem", "PutItem", "Query", "UpdateItem")


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One time series of CloudWatch, and how a period of it becomes one number."""

    namespace: str
    name: str
    dimensions: Mapping[str, pulumi.Input[str]]
    statistic: str = "Sum"


@dataclass(frozen=True, kw_only=True)
class Alarm:
    """Raised when a period of `metric` is above `threshold`, and over when none is.

    `metric` is one, or several by the names under which `expression` combines them.
    """

    subject: str
    """The physical name of what it watches."""
    condition: str
    """What the alarm's name adds to its subject's."""
    section: str
    """The heading of `docs/operations.md` that says what to do."""
    says: str
    """One sentence for whom it wakes."""
    metric: Metric | Mapping[str, Metric]
    expression: str = ""
    threshold: float = 0
    comparison: Literal["GreaterThanThreshold", "LessThanThreshold"] = "GreaterThanThreshold"
    period: int = 5 * _MINUTES
    """Seconds."""
    periods: int = 1
    """How many are looked at."""
    alarming: int | None = None
    """How many of them are enough; None: all."""
    missing: Literal["notBreaching", "breaching"] = "notBreaching"
    """What a period without data is. What counts failures writes nothing while all is well."""


def own_metric(namespace: str, name: str, function: str) -> Metric:
    """A metric that the handler of `function` counts."""
    return Metric(namespace=namespace, name=name, dimensions={"service": function})


def queue_depth(queue: str) -> Metric:
    return Metric(
        namespace="AWS/SQS",
        name="ApproximateNumberOfMessagesVisible",
        dimensions={"QueueName": queue},
        statistic="Maximum",
    )


def rule_metric(name: str, bus: str, rule: str) -> Metric:
    """With the bus: RuleName alone means a rule on the default bus."""
    return Metric(namespace="AWS/Events", name=name, dimensions={"EventBusName": bus, "RuleName": rule})


def pipe_metric(name: str, pipe: pulumi.Input[str]) -> Metric:
    return Metric(namespace="AWS/EventBridge/Pipes", name=name, dimensions={"PipeName": pipe})


def function_metric(name: str, function: str, statistic: str = "Sum") -> Metric:
    return Metric(namespace="AWS/Lambda", name=name, dimensions={"FunctionName": function}, statistic=statistic)


def api_metric(name: str, api: str, stage: str, statistic: str = "Sum") -> Metric:
    return Metric(
        namespace="AWS/ApiGateway", name=name, dimensions={"ApiName": api, "Stage": stage}, statistic=statistic
    )


def table_metric(name: str, table: str, **dimensions: str) -> Metric:
    return Metric(namespace="AWS/DynamoDB", name=name, dimensions={"TableName": table, **dimensions})


def of_queue(queue: str, section: str, says: str) -> Iterator[Alarm]:
    # SQS stops counting a queue that nobody uses, which is an empty one.
    yield Alarm(subject=queue, condition="not-empty", section=section, says=says, metric=queue_depth(queue))


def of_rule(bus: str, rule: str) -> Iterator[Alarm]:
    """What went to the dead-letter queue instead is the queue's alarm."""
    yield Alarm(
        subject=rule,
        condition="failed-invocations",
        section="rule-gave-up",
        says="The rule has given up on an event.",
        metric=rule_metric("FailedInvocations", bus, rule),
    )
    yield Alarm(
        subject=rule,
        condition="lost-events",
        section="event-lost",
        says="The rule could put an event neither to its target nor into its dead-letter queue.",
        metric=rule_metric("InvocationsFailedToBeSentToDlq", bus, rule),
    )
    yield Alarm(
        subject=rule,
        condition="throttled",
        section="rule-throttled",
        says="EventBridge has held the rule back for a quarter of an hour.",
        metric=rule_metric("ThrottledRules", bus, rule),
        periods=3,
    )


def of_delivery(bus: str, rule: str) -> Iterator[Alarm]:
    """Of the rule that sends orders to a carrier: what fails is tried for a day before anything else tells of it."""
    yield Alarm(
        subject=rule,
        condition="retries",
        section="carrier-retries",
        says="The carrier has not taken orders at the first try for half an hour.",
        metric=rule_metric("RetryInvocationAttempts", bus, rule),
        period=15 * _MINUTES,
        periods=2,
    )


def of_pipe(subject: str, pipe: pulumi.Input[str], placed: Metric) -> Iterator[Alarm]:
    """`placed` counts the orders that the pipe has to see. A pipe tells nothing of how far behind the stream it is."""
    for condition, name in (
        ("failed", "ExecutionFailed"),
        ("partly-failed", "ExecutionPartiallyFailed"),
        ("timed-out", "ExecutionTimeout"),
    ):
        yield Alarm(
            subject=subject,
            condition=condition,
            section="pipe-failed",
            says="The pipe could not put new orders onto the bus, and tries again.",
            metric=pipe_metric(name, pipe),
        )
    yield Alarm(
        subject=subject,
        condition="throttled",
        section="pipe-throttled",
        says="The pipe has been held back for a quarter of an hour.",
        metric=pipe_metric("ExecutionThrottled", pipe),
        periods=3,
    )
    # An order at the end of a period is an event in the next one, which three of four periods outlast. With fewer
    # orders than that, the alarm of orders past their time tells.
    yield Alarm(
        subject=subject,
        condition="stalled",
        section="pipe-stalled",
        says="Orders are placed, and the pipe takes none of them from the stream.",
        metric={"placed": placed, "taken": pipe_metric("EventCount", pipe)},
        expression="IF(FILL(placed, 0) > 0 AND FILL(taken, 0) == 0, 1, 0)",
        period=15 * _MINUTES,
        periods=4,
        alarming=3,
    )


def of_function(function: str) -> Iterator[Alarm]:
    yield Alarm(
        subject=function,
        condition="errors",
        section="function-errors",
        says="The function has failed.",
        metric=function_metric("Errors", function),
    )
    yield Alarm(
        subject=function,
        condition="throttles",
        section="function-throttled",
        says="The function was not run for want of concurrency.",
        metric=function_metric("Throttles", function),
    )


def of_events_to_function(function: str) -> Iterator[Alarm]:
    """Of a function that is handed events which come only once, and puts into a queue what it could not work on."""
    yield Alarm(
        subject=function,
        condition="dropped-events",
        section="function-dropped-events",
        says="Lambda has given up on an event for the function.",
        metric=function_metric("AsyncEventsDropped", function),
    )
    yield Alarm(
        subject=function,
        condition="lost-failures",
        section="event-lost",
        says="Lambda could not put a failed event into the function's queue.",
        metric=function_metric("DestinationDeliveryFailures", function),
    )


def of_api(api: str, stage: str) -> Iterator[Alarm]:
    yield Alarm(
        subject=api,
        condition="5xx",
        section="api-errors",
        says="The API has answered a request with 5xx.",
        metric=api_metric("5XXError", api, stage),
    )
    yield Alarm(
        subject=api,
        condition="slow",
        section="api-slow",
        says="One in ten requests has taken more than 3 seconds for a quarter of an hour.",
        metric=api_metric("Latency", api, stage, statistic="p90"),
        # Milliseconds: beyond a cold start, short of the 10 seconds that the function has.
        threshold=3000,
        periods=3,
    )


def of_table(table: str, index: str) -> Iterator[Alarm]:
    """Alarms on DynamoDB's metrics keep their state while there are no data, whatever they say; hence FILL."""
    in_index = {"GlobalSecondaryIndexName": index}
    throttles = {
        "reads": table_metric("ReadThrottleEvents", table),
        "writes": table_metric("WriteThrottleEvents", table),
        "index_reads": table_metric("ReadThrottleEvents", table, **in_index),
        "index_writes": table_metric("WriteThrottleEvents", table, **in_index),
    }
    errors = {
        f"of_{operation.lower()}": table_metric("SystemErrors", table, Operation=operation) for operation in _OPERATIONS
    }
    yield Alarm(
        subject=table,
        condition="table-throttled",
        section="table-throttled",
        says="DynamoDB has refused reads or writes for want of throughput.",
        metric=throttles,
        expression=_sum(throttles),
    )
    yield Alarm(
        subject=table,
        condition="table-errors",
        section="table-errors",
        says="DynamoDB has failed to answer.",
        metric=errors,
        expression=_sum(errors),
    )


def of_confirmations(namespace: str, function: str) -> Iterator[Alarm]:
    yield Alarm(
        subject=function,
        condition="rejections",
        section="confirmation-rejected",
        says="A carrier has confirmed what cannot be applied.",
        metric=own_metric(namespace, "ConfirmationRejected", function),
    )


def of_reconcile(namespace: str, function: str) -> Iterator[Alarm]:
    yield Alarm(
        subject=function,
        condition="overdue-orders",
        section="orders-overdue",
        says="Orders are past their carrier's time, and are sent again.",
        metric=own_metric(namespace, "OrderOverdue", function),
        period=15 * _MINUTES,
    )
    yield Alarm(
        subject=function,
        condition="unconfirmed-orders",
        section="orders-unconfirmed",
        says="Orders were sent again as often as it is useful, and are not confirmed.",
        metric=own_metric(namespace, "OrderUnconfirmed", function),
        period=15 * _MINUTES,
    )
    yield Alarm(
        subject=function,
        condition="failed-reemissions",
        section="orders-not-reemitted",
        says="The bus has not taken orders that were to be sent again.",
        metric=own_metric(namespace, "OrderNotReemitted", function),
        period=15 * _MINUTES,
    )
    # It runs once in each period; the two more are for a schedule that is late.
    yield Alarm(
        subject=function,
        condition="not-running",
        section="reconcile-not-running",
        says="Nothing has looked for overdue orders for three quarters of an hour.",
        metric=function_metric("Invocations", function),
        threshold=1,
        comparison="LessThanThreshold",
        period=15 * _MINUTES,
        periods=3,
        missing="breaching",
    )


def _sum(metrics: Mapping[str, Metric]) -> str:
    return " + ".join(f"FILL({name}, 0)" for name in metrics)
