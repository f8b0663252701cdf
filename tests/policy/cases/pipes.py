"""Pipes: what our own lacks (a Kinesis stream, an enrichment, the classic provider), and the changes to be refused."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from tests.policy.programs import Mutant, Program, Thing

CLASSIC, NATIVE = "aws:pipes/pipe:Pipe", "aws-native:pipes:Pipe"
BOUNDED, FILTER, TEMPLATE, LOG = "pipe-stream-bounded", "pipe-filter", "pipe-template-safe", "pipe-log-safe"

ARN = "arn:aws:{}:eu-west-1:111122223333:{}"
BUS = ARN.format("events", "event-bus/orders")
SOURCES = {
    "dynamodb": ARN.format("dynamodb", "table/orders/stream/2026-01-01T00:00:00.000"),
    "kinesis": ARN.format("kinesis", "stream/orders"),
}
PARAMETERS = {
    (CLASSIC, "dynamodb"): "dynamodbStreamParameters",
    (NATIVE, "dynamodb"): "dynamoDbStreamParameters",
    (CLASSIC, "kinesis"): "kinesisStreamParameters",
    (NATIVE, "kinesis"): "kinesisStreamParameters",
}
BUS_PARAMETERS = {CLASSIC: "eventbridgeEventBusParameters", NATIVE: "eventBridgeEventBusParameters"}
EXECUTION_DATA = {CLASSIC: "includeExecutionDatas", NATIVE: "includeExecutionData"}
FILTERS = "sourceParameters.filterCriteria.filters"


def good(type_: str, stream: str = "dynamodb") -> dict[str, Any]:
    """A pipe to a bus, with all that any pipe may have."""
    return {
        "roleArn": "arn:aws:iam::111122223333:role/pipe",
        "source": SOURCES[stream],
        "sourceParameters": {
            "filterCriteria": {"filters": [{"pattern": '{"eventName": ["INSERT"]}'}]},
            PARAMETERS[type_, stream]: {
                "startingPosition": "TRIM_HORIZON",
                "batchSize": 10,
                "maximumRetryAttempts": 185,
                "maximumRecordAgeInSeconds": 86399,
                "onPartialBatchItemFailure": "AUTOMATIC_BISECT",
                "deadLetterConfig": {"arn": ARN.format("sqs", "dead-letters")},
            },
        },
        "enrichment": ARN.format("lambda", "function:enrich"),
        "enrichmentParameters": {"inputTemplate": '{"id": <$.eventID>, "from": "<aws.pipes.source-arn>"}'},
        "target": BUS,
        "targetParameters": {
            BUS_PARAMETERS[type_]: {"source": "orders", "detailType": "created"},
            "inputTemplate": '{"id": <$.id>}',
        },
        "logConfiguration": {
            "level": "ERROR",
            "cloudwatchLogsLogDestination": {"logGroupArn": ARN.format("logs", "log-group:pipe")},
        },
        "desiredState": "RUNNING",
    }


def base(type_: str, stream: str) -> str:
    return f"a pipe of {type_} from {stream}"


def attempts(at: str) -> str:
    return f"set {at}.maximumRetryAttempts to 185 or less: -1, the default, blocks the shard without end"


def age(at: str) -> str:
    return (
        f"set {at}.maximumRecordAgeInSeconds below 86400: the stream drops a record then, "
        "and the dead letter points to nothing"
    )


def batch(at: str) -> str:
    return f"set {at}.batchSize to 10 or less: a bus takes no more at once, and the default is 100"


def position(at: str) -> str:
    return f"set {at}.startingPosition to TRIM_HORIZON: LATEST misses what is written until the pipe runs"


def dead_letters(at: str) -> str:
    return f"set {at}.deadLetterConfig.arn to a queue: without it nothing tells which records failed for good"


def bisect(at: str) -> str:
    return f"set {at}.onPartialBatchItemFailure to AUTOMATIC_BISECT: else one bad record fails its whole batch"


NO_FILTER = f"set {FILTERS}: without it every update and removal in the table passes too"
NO_PATTERN = f"write {FILTERS}[0].pattern as an event pattern: JSON text of an object whose fields hold lists of values"
NOTHING_SELECTED = f"have {FILTERS}[0].pattern select something: as it is, every record passes"
STOPPED = "set desiredState to RUNNING: the stream drops what a stopped pipe does not read"
NO_LOG = "set logConfiguration.level to ERROR, with a destination: without it nothing tells why a record failed"


def quoted(place: str) -> str:
    return f"take the quotes from around the placeholders in {place}: EventBridge escapes nothing there"


def no_json(place: str) -> str:
    return f"make {place} JSON, with each placeholder where a value may stand"


def payload(type_: str) -> str:
    return f"remove logConfiguration.{EXECUTION_DATA[type_]}: it writes whole records and answers into the log"


def _mutants(type_: str, stream: str, *, name: str = "thing", base: str) -> Iterator[Mutant]:
    """Every clause at one pipe. Only what is said of its stream differs by the stream."""
    parameters = f"sourceParameters.{PARAMETERS[type_, stream]}"

    def put(rule: str, claim: str, place: str, value: Any, message: str, *hinges: str) -> Mutant:
        change = partial(Program.put, type_=type_, name=name, place=place, value=value)
        return Mutant(rule=rule, claim=claim, change=change, message=message, base=base, hinges=hinges)

    def drop(rule: str, claim: str, place: str, message: str, *hinges: str) -> Mutant:
        change = partial(Program.drop, type_=type_, name=name, place=place)
        return Mutant(rule=rule, claim=claim, change=change, message=message, base=base, hinges=hinges)

    for claim, field, message in (
        ("no dead letters", "deadLetterConfig", dead_letters),
        ("AWS's age", "maximumRecordAgeInSeconds", age),
        ("whole batches fail", "onPartialBatchItemFailure", bisect),
        ("AWS's batch size", "batchSize", batch),
        ("no starting position", "startingPosition", position),
    ):
        hinges = (f"{parameters}.batchSize",) if message is bisect else ()
        yield drop(BOUNDED, claim, f"{parameters}.{field}", message(parameters), *hinges)
    for claim, field, value, message in (
        ("dead letters to nowhere", "deadLetterConfig", {}, dead_letters),
        ("too many retries", "maximumRetryAttempts", 186, attempts),
        ("endless age", "maximumRecordAgeInSeconds", -1, age),
        ("no time at all", "maximumRecordAgeInSeconds", 0, age),
        ("the age at which the stream drops a record", "maximumRecordAgeInSeconds", 86400, age),
        ("bisection by another name", "onPartialBatchItemFailure", "BISECT", bisect),
        ("a batch too large for a bus", "batchSize", 11, batch),
        ("no batch", "batchSize", 0, batch),
        ("from now on", "startingPosition", "LATEST", position),
    ):
        hinges = (f"{parameters}.batchSize",) if message is bisect else ()
        yield put(BOUNDED, claim, f"{parameters}.{field}", value, message(parameters), *hinges)
    yield put(BOUNDED, "stopped", "desiredState", "STOPPED", STOPPED)
    yield drop(LOG, "none", "logConfiguration", NO_LOG)
    if stream == "kinesis":
        return
    yield drop(FILTER, "none", "sourceParameters.filterCriteria", NO_FILTER)
    yield put(FILTER, "an empty list", FILTERS, [], NO_FILTER)
    yield put(FILTER, "of nothing", f"{FILTERS}[0].pattern", "{}", NOTHING_SELECTED)
    yield put(TEMPLATE, "quotes", TARGET, '{"id": "<$.eventID>"}', quoted(TARGET))
    yield put(LOG, "off", "logConfiguration.level", "OFF", NO_LOG)
    data = EXECUTION_DATA[type_]
    yield put(LOG, "no level", "logConfiguration", {data: []}, NO_LOG)
    yield put(LOG, "records in the log", f"logConfiguration.{data}", ["ALL"], payload(type_))


TARGET, ENRICHMENT = "targetParameters.inputTemplate", "enrichmentParameters.inputTemplate"
_CLASSIC = base(CLASSIC, "dynamodb")
BASES = {
    base(type_, stream): [Thing(type=type_, name="thing", inputs=good(type_, stream))] for type_, stream in PARAMETERS
}
MUTANTS = [
    *_mutants(NATIVE, "dynamodb", name="event-gateway-prod-orders", base="prod"),
    *(mutant for type_, stream in PARAMETERS for mutant in _mutants(type_, stream, base=base(type_, stream))),
    *(
        Mutant(
            rule=FILTER,
            claim=claim,
            change=partial(Program.put, type_=CLASSIC, name=None, place=place, value=value),
            message=message,
            base=_CLASSIC,
            hinges=tuple(hinges),
        )
        for claim, place, value, message, *hinges in (
            (
                "any name",
                f"{FILTERS}[0].pattern",
                '{"eventName": [{"exists": true}]}',
                NOTHING_SELECTED,
                "source",
            ),
            ("of an object without fields", f"{FILTERS}[0].pattern", '{"dynamodb": {}}', NOTHING_SELECTED),
            ("of a text", f"{FILTERS}[0].pattern", '{"eventName": "INSERT"}', NO_PATTERN),
            ("of a text beside", f"{FILTERS}[0].pattern", '{"eventName": ["INSERT"], "a": {"b": 1}}', NO_PATTERN),
            ("of an empty list", f"{FILTERS}[0].pattern", '{"eventName": []}', NO_PATTERN),
            ("of a list", f"{FILTERS}[0].pattern", '["INSERT"]', NO_PATTERN),
            ("no JSON", f"{FILTERS}[0].pattern", "eventName = INSERT", NO_PATTERN),
            ("an object", f"{FILTERS}[0].pattern", {"eventName": ["INSERT"]}, NO_PATTERN),
            ("without a pattern", f"{FILTERS}[0]", {}, NO_PATTERN),
        )
    ),
    *(
        Mutant(
            rule=TEMPLATE,
            claim=f"{claim} in {place}",
            change=partial(Program.put, type_=CLASSIC, name=None, place=place, value=template),
            message=message(place),
            base=_CLASSIC,
        )
        for place in (TARGET, ENRICHMENT)
        for claim, template, message in (
            ("a part of a text", '{"id": "order <$.eventID>"}', quoted),
            ("the record in quotes", '["<aws.pipes.event.json>"]', quoted),
            ("a comma too many", '{"id": <$.eventID>,}', no_json),
            ("a placeholder as a key", "{<$.eventID>: 1}", no_json),
            ("no placeholder of a pipe", '{"id": <id>}', no_json),
        )
    ),
]
