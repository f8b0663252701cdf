"""Rules for pipes: from a stream, through a filter and a template, to a target."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, cast

from pulumi_policy import Severity

from policy.documents import json_document
from policy.props import MISSING, UNKNOWN, spell, whole
from policy.rule import Control, Group, Rule, Whole
from policy.rules.routing import restricts
from policy.templates import IN_A_PIPE, read, unsafe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from policy.subject import Subject

# A DynamoDB stream keeps a record for 24 hours, and nothing changes that.
_DYNAMODB_SECONDS = 24 * 3600
# What PutEvents takes, and so the largest batch of a pipe to a bus.
_BUS_BATCH = 10


class _Names(NamedTuple):
    """How a provider spells what the other one spells otherwise."""

    dynamodb: str
    kinesis: str
    bus: str
    execution_data: str


PIPES = {
    "aws:pipes/pipe:Pipe": _Names(
        dynamodb="sourceParameters.dynamodbStreamParameters",
        kinesis="sourceParameters.kinesisStreamParameters",
        bus="targetParameters.eventbridgeEventBusParameters",
        execution_data="logConfiguration.includeExecutionDatas",
    ),
    "aws-native:pipes:Pipe": _Names(
        dynamodb="sourceParameters.dynamoDbStreamParameters",
        kinesis="sourceParameters.kinesisStreamParameters",
        bus="targetParameters.eventBridgeEventBusParameters",
        execution_data="logConfiguration.includeExecutionData",
    ),
}


def _is(pipe: Subject, end: str, service: str, parameters: str) -> bool | None:
    """Whether the source or target is of this service, by its ARN or its parameters; None while neither tells."""
    arn, said = pipe.get(end), pipe.get(parameters)
    if (isinstance(arn, str) and service in arn) or said not in (MISSING, UNKNOWN):
        return True
    return None if arn is UNKNOWN else False


def _reads_dynamodb(pipe: Subject) -> bool | None:
    return _is(pipe, "source", ":dynamodb:", PIPES[pipe.type].dynamodb)


def _reads_kinesis(pipe: Subject) -> bool | None:
    return _is(pipe, "source", ":kinesis:", PIPES[pipe.type].kinesis)


def stream_bounded(pipe: Subject) -> Iterator[str]:
    """A record that keeps failing is given up before the stream drops it, alone, and leaves a dead letter."""
    names = PIPES[pipe.type]
    streams = (
        (names.dynamodb, _reads_dynamodb(pipe), _DYNAMODB_SECONDS),
        (names.kinesis, _reads_kinesis(pipe), pipe.settings["kinesisRetentionSeconds"]),
    )
    known = any(reads for _, reads, _ in streams)
    for parameters, reads, retention in streams:
        if reads:
            yield from _bounded(pipe, parameters, retention)
            yield from _complete(pipe, parameters)
        elif reads is None and not known:
            pipe.deferred(parameters)


def _bounded(pipe: Subject, at: str, retention: int) -> Iterator[str]:
    if not pipe.given(f"{at}.deadLetterConfig.arn"):
        yield f"set {at}.deadLetterConfig.arn to a queue: without it nothing tells which records failed for good"
    ends = pipe.get(f"{at}.maximumRecordAgeInSeconds")
    most = pipe.settings["maximumRetryAttempts"]
    # Retries without a number end with the record's age.
    counted = pipe.get(f"{at}.maximumRetryAttempts") not in (MISSING, -1)
    endless = ends is not UNKNOWN and not _within(ends, 1, retention - 1)
    if (counted or endless) and _outside(pipe, f"{at}.maximumRetryAttempts", 0, most):
        yield f"set {at}.maximumRetryAttempts to {most} or less: -1, the default, blocks the shard without end"
    if _outside(pipe, f"{at}.maximumRecordAgeInSeconds", 1, retention - 1):
        yield (
            f"set {at}.maximumRecordAgeInSeconds below {retention}: the stream drops a record then, "
            "and the dead letter points to nothing"
        )
    yield from _bisected(pipe, at)
    to_bus = _is(pipe, "target", ":event-bus/", PIPES[pipe.type].bus)
    if to_bus is None:
        pipe.deferred(f"{at}.batchSize")
    elif to_bus and _outside(pipe, f"{at}.batchSize", 1, _BUS_BATCH):
        yield f"set {at}.batchSize to {_BUS_BATCH} or less: a bus takes no more at once, and the default is 100"


def _bisected(pipe: Subject, at: str) -> Iterator[str]:
    """A batch of one record has nothing to bisect."""
    if pipe.judge(f"{at}.onPartialBatchItemFailure") in (UNKNOWN, "AUTOMATIC_BISECT"):
        return
    size = pipe.get(f"{at}.batchSize")
    if size is UNKNOWN:
        pipe.deferred(f"{at}.batchSize")
    elif whole(size) != 1:
        yield f"set {at}.onPartialBatchItemFailure to AUTOMATIC_BISECT: else one bad record fails its whole batch"


def _outside(pipe: Subject, where: str, lowest: int, highest: int) -> bool:
    value = pipe.judge(where)
    return value is not UNKNOWN and not _within(value, lowest, highest)


def _within(value: Any, lowest: int, highest: int) -> bool:
    number = whole(value)
    return number is not None and lowest <= number <= highest


def _complete(pipe: Subject, at: str) -> Iterator[str]:
    if pipe.judge(f"{at}.startingPosition") not in (UNKNOWN, "TRIM_HORIZON", "AT_TIMESTAMP"):
        yield f"set {at}.startingPosition to TRIM_HORIZON: LATEST misses what is written until the pipe runs"
    if pipe.judge("desiredState") == "STOPPED":
        yield "set desiredState to RUNNING: the stream drops what a stopped pipe does not read"


# Documents of EventBridge's own making. Its other variables are names, ARNs and times, in which there is no quote.
_WHOLE_EVENT = frozenset({"aws.pipes.event", "aws.pipes.event.json"})
_FILTERS = "sourceParameters.filterCriteria.filters"


def filtered(pipe: Subject) -> Iterator[str]:
    """A pipe from a table's stream selects its records, and each filter of any pipe selects something."""
    filters = pipe.judge(_FILTERS)
    if filters is UNKNOWN:
        return
    if not isinstance(filters, list) or not filters:
        # Whoever reads a queue or a Kinesis stream may want everything. A table's stream has every update and removal.
        reads = _reads_dynamodb(pipe)
        if reads is None:
            pipe.deferred(_FILTERS)
        elif reads:
            yield f"set {_FILTERS}: without it every update and removal in the table passes too"
        return
    always = _IN_EACH_CHANGE if _reads_dynamodb(pipe) else frozenset[str]()
    for index in range(len(cast("list[Any]", filters))):
        where = (*_FILTERS.split("."), index, "pattern")
        pattern = pipe.judge(where)
        if pattern is UNKNOWN:
            continue
        parsed = json_document(pattern) if isinstance(pattern, str) else None
        selects = _selects(cast("dict[str, Any]", parsed), always) if isinstance(parsed, dict) else None
        if selects is None:
            yield f"write {spell(where)} as an event pattern: JSON text of an object whose fields hold lists of values"
        elif not selects:
            yield f"have {spell(where)} select something: as it is, every record passes"


# What each record of a table's stream has, all of it text, by the API reference of Amazon DynamoDB Streams.
_IN_EACH_CHANGE = frozenset({"awsRegion", "eventID", "eventName", "eventSource", "eventSourceARN", "eventVersion"})


def _selects(pattern: dict[str, Any], always: frozenset[str]) -> bool | None:
    """Whether some record without one of the fields, or with another value, is refused; None for no event pattern.

    `always` are the fields that each record has, of which only a value can be refused.
    """
    found = [_field_selects(name, value, always) for name, value in pattern.items()]
    return None if None in found else True in found


def _field_selects(name: str, value: Any, always: frozenset[str]) -> bool | None:
    if isinstance(value, dict):
        return _selects(cast("dict[str, Any]", value), frozenset())
    if not isinstance(value, list) or not value:
        return None
    matchers = cast("list[Any]", value)
    if name == "$or":
        branches = [
            _selects(cast("dict[str, Any]", one), always) if isinstance(one, dict) else None for one in matchers
        ]
        return None if None in branches else False not in branches
    return name not in always or bool(restricts(matchers))


def template_safe(pipe: Subject) -> Iterator[str]:
    """What a template makes is JSON, whatever the data. Templates of plain text are left alone."""
    for where in ("targetParameters.inputTemplate", "enrichmentParameters.inputTemplate"):
        text = pipe.judge(where)
        template = read(text, IN_A_PIPE) if isinstance(text, str) else None
        if template:
            yield from unsafe(template, where, lambda name: name.startswith("$") or name in _WHOLE_EVENT)


def log_safe(pipe: Subject) -> Iterator[str]:
    """Records are not logged, and failures to deliver them are where nothing else keeps them.

    Of a stream's record a dead letter tells only where it was, and the stream soon drops it. A queue, or its own
    dead-letter queue, has the message itself.
    """
    level = "logConfiguration.level"
    if pipe.judge(level) not in (UNKNOWN, "ERROR", "INFO", "TRACE"):
        reads = [_reads_dynamodb(pipe), _reads_kinesis(pipe)]
        if True in reads:
            yield f"set {level} to ERROR, with a destination: without it nothing tells why a record failed"
        elif None in reads:
            pipe.deferred(level)
    payloads = PIPES[pipe.type].execution_data
    if pipe.judge(payloads) not in (MISSING, UNKNOWN, []):
        yield f"remove {payloads}: it writes whole records and answers into the log"


RULES = (
    Rule(
        name="pipe-stream-bounded",
        why="A record that a pipe can't deliver holds up those behind it for a limited time, and isn't lost silently.",
        fix="Say the stream's dead-letter queue, retries, record age, bisection, batch size and starting position.",
        severity=Severity.CRITICAL,
        group=Group.GATEWAY,
        frameworks=(
            Control(framework="CWE", reference="755"),
            Control(framework="CWE", reference="770"),
        ),
        types=frozenset(PIPES),
        check=stream_bounded,
        settings={
            "maximumRetryAttempts": Whole(
                default=185,
                minimum=0,
                why="The most retries that are accepted, by default those of a rule's target; -1 leaves it to the age.",
            ),
            "kinesisRetentionSeconds": Whole(
                default=_DYNAMODB_SECONDS, minimum=_DYNAMODB_SECONDS, why="How long the Kinesis streams keep a record."
            ),
        },
        url="https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-pipes-error-troubleshooting.html",
    ),
    Rule(
        name="pipe-filter",
        why="A pipe passes on what it is for, and not every change of a table.",
        fix="Give the pipe filters, each an event pattern that selects the records the target is for.",
        severity=Severity.HIGH,
        group=Group.GATEWAY,
        frameworks=(Control(framework="CWE", reference="183"),),
        types=frozenset(PIPES),
        check=filtered,
        url="https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-pipes-event-filtering.html",
    ),
    Rule(
        name="pipe-template-safe",
        why="No data can break, or add to, the JSON that a pipe makes of it.",
        fix="Write the template as JSON with placeholders in the place of whole values, outside quotes.",
        severity=Severity.HIGH,
        group=Group.GATEWAY,
        frameworks=(Control(framework="CWE", reference="116"),),
        types=frozenset(PIPES),
        check=template_safe,
        url="https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-pipes-input-transformation.html",
    ),
    Rule(
        name="pipe-log-safe",
        why="Whoever looks for a lost record finds why it failed, and no customer's data.",
        fix="Leave execution data out of logConfiguration, and of a stream's pipe set a level and a destination.",
        severity=Severity.MEDIUM,
        group=Group.GATEWAY,
        frameworks=(
            Control(framework="CWE", reference="532"),
            Control(framework="CWE", reference="778"),
        ),
        types=frozenset(PIPES),
        check=log_safe,
        url="https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-pipes-logs.html",
    ),
)
