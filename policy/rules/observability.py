"""Rules for who notices a failure, and how long it can be looked into: alarms, their topics, and log groups."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, cast

from pulumi_policy import Severity

from policy.documents import json_document, statements
from policy.props import MISSING, UNKNOWN, Path, whole
from policy.rule import Control, Flag, Group, Rule, StackRule, Texts, Whole
from policy.rules import stacks
from policy.rules.queues import SENDERS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from policy.subject import Member, Stack, Subject

LOG_GROUPS = frozenset({"aws:cloudwatch/logGroup:LogGroup", "aws-native:logs:LogGroup"})
METRIC_ALARMS = frozenset({"aws:cloudwatch/metricAlarm:MetricAlarm", "aws-native:cloudwatch:Alarm"})
ALARMS = METRIC_ALARMS | {"aws:cloudwatch/compositeAlarm:CompositeAlarm", "aws-native:cloudwatch:CompositeAlarm"}
TOPIC_POLICIES = {
    "aws:sns/topic:Topic": "policy",
    "aws:sns/topicPolicy:TopicPolicy": "policy",
    "aws-native:sns:TopicInlinePolicy": "policyDocument",
    "aws-native:sns:TopicPolicy": "policyDocument",
}


def retention_bounded(group: Subject) -> Iterator[str]:
    """Logs are kept long enough to be read, and not forever."""
    lowest, highest = group.settings["minimumDays"], group.settings["maximumDays"]
    if lowest > highest:
        yield "configure 'minimumDays' of log-group-retention no higher than its 'maximumDays'"
        return
    days = group.judge("retentionInDays")
    # CloudWatch keeps a group of this class for two days, and takes no other number.
    if days is UNKNOWN or group.get("logGroupClass") == "DELIVERY":
        return
    kept = whole(days)
    if not kept:
        yield f"set retentionInDays to {lowest} or more: without it the logs are kept forever"
    elif kept > highest:
        yield f"lower retentionInDays to {highest} or less"
    elif kept < lowest and stacks.is_kept(group):
        yield f"raise retentionInDays to {lowest} or more"


def alarm_acts(alarm: Subject) -> Iterator[str]:
    """Somebody or something is told when it is raised."""
    told = alarm.judge("alarmActions")
    if told is MISSING or told == []:
        yield "set alarmActions to whom the alarm tells"
    enabled = alarm.judge("actionsEnabled")
    # AWS takes what is not said for true.
    if enabled not in (MISSING, UNKNOWN, True):
        yield "set actionsEnabled to true"


def topic_not_public(policy: Subject) -> Iterator[str]:
    """Not everybody may publish or subscribe to a topic."""
    where = TOPIC_POLICIES[policy.type]
    read = json_document(policy.judge(where))
    for statement in statements(read) if isinstance(read, dict) else ():
        if statement.public:
            yield f"name in {where}.Statement[{statement.index}].Principal whom it admits, or say it in a condition"


class Kind(NamedTuple):
    """What resources of a kind fail with, and how an alarm says which of them it watches."""

    types: frozenset[str]
    namespace: str
    metrics: tuple[str, ...]
    """Any of them will do."""
    dimension: str
    names: tuple[str, ...]
    """The properties that hold the dimension's value."""
    totals: bool = False
    """Whether CloudWatch also has the metric without a dimension, over all resources of the account."""

    @property
    def metric(self) -> str:
        """The one that a finding proposes."""
        return f"{self.namespace} {self.metrics[0]}"


QUEUES = Kind(
    types=frozenset({"aws:sqs/queue:Queue", "aws-native:sqs:Queue"}),
    namespace="AWS/SQS",
    metrics=("ApproximateNumberOfMessagesVisible", "ApproximateAgeOfOldestMessage"),
    dimension="QueueName",
    names=("name", "queueName"),
)
KINDS = (
    QUEUES,
    Kind(
        types=frozenset({"aws:cloudwatch/eventRule:EventRule", "aws-native:events:Rule"}),
        namespace="AWS/Events",
        metrics=("FailedInvocations",),
        dimension="RuleName",
        names=("name",),
    ),
    Kind(
        types=frozenset({"aws:pipes/pipe:Pipe", "aws-native:pipes:Pipe"}),
        namespace="AWS/EventBridge/Pipes",
        metrics=("ExecutionFailed",),
        dimension="PipeName",
        names=("name",),
    ),
    Kind(
        types=frozenset({"aws:lambda/function:Function", "aws-native:lambda:Function"}),
        namespace="AWS/Lambda",
        metrics=("Errors",),
        dimension="FunctionName",
        names=("name", "functionName"),
        totals=True,
    ),
    Kind(
        types=frozenset({"aws:apigateway/restApi:RestApi", "aws-native:apigateway:RestApi"}),
        namespace="AWS/ApiGateway",
        metrics=("5XXError",),
        dimension="ApiName",
        names=("name",),
    ),
)


class Watch(NamedTuple):
    """A metric that an alarm looks at, and where it says of which resource."""

    alarm: Member
    namespace: Any
    metric: Any
    dimensions: Mapping[Any, Path]
    """Name, or UNKNOWN, and the place of the value."""

    def is_on(self, kind: Kind) -> bool:
        """Whether it is one of the kind's metrics, or may turn out to be."""
        return self.namespace in (UNKNOWN, kind.namespace) and self.metric in (UNKNOWN, *kind.metrics)


def _watches(alarm: Member) -> Iterator[Watch]:
    """The one metric of an alarm, or those that its expression combines; the lists have a name per provider."""
    places = [(), *(path for where in _COMBINED for path, _ in alarm.each(where))]
    for at in places:
        yield Watch(
            alarm=alarm,
            namespace=alarm.get((*at, "namespace")),
            metric=alarm.get((*at, "metricName")),
            dimensions=dict(_dimensions(alarm, (*at, "dimensions"))),
        )


_COMBINED = ("metricQueries[].metric", "metrics[].metricStat.metric")


def _dimensions(alarm: Member, where: Path) -> Iterator[tuple[Any, Path]]:
    """An object in `aws`, a list of names and values in `aws-native`."""
    found = alarm.get(where)
    if isinstance(found, dict):
        yield from ((name, (*where, name)) for name in cast("dict[str, Any]", found))
    elif found is UNKNOWN:
        yield UNKNOWN, where
    for path, name in alarm.each((*where, "[]", "name")):
        if isinstance(found, list) and (name is UNKNOWN or isinstance(name, str)):
            yield name, (*path[: len(where) + 1], "value")


def _selects(alarm: Member, kind: Kind) -> bool:
    """Whether a query of Metrics Insights asks for the metric, of whatever resources there are."""
    queries = [
        text for where in ("metricQueries[].expression", "metrics[].expression") for _, text in alarm.each(where)
    ]
    return any(
        isinstance(text, str) and kind.namespace in text and any(metric in text for metric in kind.metrics)
        for text in queries
    )


def _watched(resource: Member, kind: Kind, watches: Sequence[Watch], others: frozenset[Any]) -> bool | None:
    """Whether one of them looks at the resource; None if only the update can tell. `others` are names of others."""
    answers = [_is_of(watch, resource, kind, others) for watch in watches]
    return True if True in answers else None if None in answers else False


def _is_of(watch: Watch, resource: Member, kind: Kind, others: frozenset[Any]) -> bool | None:
    place = watch.dimensions.get(kind.dimension)
    if place is None:
        return None if UNKNOWN in watch.dimensions else kind.totals and not watch.dimensions
    named = watch.alarm.get(place)
    own = [resource.get(name) for name in kind.names]
    if isinstance(named, str):
        if named in own:
            return True
        if UNKNOWN in own and named not in others:
            return None
    return watch.alarm.refers_to(place, resource)


def failures_alarmed(stack: Stack) -> Iterator[tuple[Member, str]]:
    """What fails, or lies in a dead-letter queue, raises an alarm. A stack that has none may be watched otherwise."""
    alarms = stack.of(METRIC_ALARMS)
    if not alarms and not stack.settings["required"]:
        return
    watches = [watch for alarm in alarms for watch in _watches(alarm)]
    senders = list(_senders(stack))
    for kind in KINDS:
        if kind.metric not in stack.settings["metrics"] or any(_selects(alarm, kind) for alarm in alarms):
            continue
        resources = stack.of(kind.types)
        named = frozenset(name for one in resources for where in kind.names if isinstance(name := one.get(where), str))
        on_kind = [watch for watch in watches if watch.is_on(kind)]
        for resource in resources:
            passes = kind is QUEUES and not any(_goes_to(sender, path, resource) for sender, path in senders)
            watched = passes or _watched(resource, kind, on_kind, named)
            (resource.deferred if watched is None else resource.decided)(kind.dimension)
            if watched is False:
                yield resource, f"add an alarm on {kind.metric} with its {kind.dimension}"


def _senders(stack: Stack) -> Iterator[tuple[Member, Path]]:
    """The places that name a dead-letter queue."""
    for sender in stack.of(frozenset(SENDERS)):
        for where in SENDERS[sender.type].places:
            yield from ((sender, path) for path, _ in sender.each(where))


def _goes_to(sender: Member, path: Path, queue: Member) -> bool:
    """Whether the place holds the ARN of the queue, which ends with its name, be it in a redrive policy.

    Where it is unknown, Pulumi tells of which queues the whole property was computed: of two, one may be the target.
    """
    value = sender.get(path)
    policy = json_document(value)
    arn = cast("dict[str, Any]", policy).get("deadLetterTargetArn") if isinstance(policy, dict) else value
    if isinstance(arn, str) and arn.rpartition(":")[2] in [queue.get(name) for name in QUEUES.names]:
        return True
    queues = [origin for origin in sender.uses.get(str(path[0]), ()) if origin.type in QUEUES.types]
    return [origin.urn for origin in queues] == [queue.urn]


_AWS_DOCS = "https://docs.aws.amazon.com"
RULES = (
    Rule(
        name="log-group-retention",
        why="Logs are there when a failure is looked into, and are not kept and paid for without end.",
        fix="Set retentionInDays of the log group to a number between the two bounds.",
        severity=Severity.LOW,
        group=Group.BASELINE,
        frameworks=(
            Control(framework="checkov", reference="CKV_AWS_66"),
            Control(framework="checkov", reference="CKV_AWS_338"),
        ),
        types=LOG_GROUPS,
        check=retention_bounded,
        settings={
            "minimumDays": Whole(default=30, minimum=1, why="The shortest time in a stack that matters."),
            "maximumDays": Whole(default=400, minimum=1, why="The longest time that is accepted."),
            stacks.THROWAWAY: stacks.SETTING,
        },
        url=f"{_AWS_DOCS}/AmazonCloudWatch/latest/logs/Working-with-log-groups-and-streams.html",
    ),
    Rule(
        name="alarm-acts",
        why="An alarm that is raised reaches whoever has to know.",
        fix="Give the alarm an action, such as a topic of SNS, and leave its actions enabled.",
        severity=Severity.MEDIUM,
        group=Group.BASELINE,
        frameworks=(
            Control(framework="checkov", reference="CKV_AWS_319"),
            Control(framework="prowler", reference="cloudwatch_alarm_actions_enabled"),
        ),
        types=ALARMS,
        check=alarm_acts,
        url=f"{_AWS_DOCS}/AmazonCloudWatch/latest/monitoring/alarm-actions.html",
    ),
    Rule(
        name="topic-not-public",
        why="Nobody from outside sends false alarms, or reads the true ones.",
        fix="Name the principals of the topic's policy, or state in a condition whose they have to be.",
        severity=Severity.HIGH,
        group=Group.BASELINE,
        frameworks=(
            Control(framework="AWS Config", reference="SNS_TOPIC_NO_PUBLIC_ACCESS"),
            Control(framework="CWE", reference="284"),
        ),
        types=frozenset(TOPIC_POLICIES),
        check=topic_not_public,
        url=f"{_AWS_DOCS}/sns/latest/dg/sns-access-policy-use-cases.html",
    ),
    StackRule(
        name="failures-alarmed",
        why="What fails or waits in a dead-letter queue is noticed before a customer asks.",
        fix="Add an alarm on the metric for the resource, or one over all of its kind.",
        severity=Severity.MEDIUM,
        group=Group.BASELINE,
        frameworks=(Control(framework="CWE", reference="778"),),
        types=frozenset().union(*(kind.types for kind in KINDS)),
        check=failures_alarmed,
        settings={
            "required": Flag(default=False, why="Whether a stack that has no alarm at all is refused too."),
            "metrics": Texts(
                default=tuple(kind.metric for kind in KINDS),
                choices=tuple(kind.metric for kind in KINDS),
                why="The metrics of which every resource that has one needs an alarm; of queues, dead-letter queues.",
            ),
        },
        url=f"{_AWS_DOCS}/AmazonCloudWatch/latest/monitoring/Best_Practice_Recommended_Alarms_AWS_Services.html",
    ),
)
