"""DynamoDB tables: kept, encrypted, elastic and with a stream that says what has changed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.policy.cases import pipes
from tests.policy.engine import NOT_YET
from tests.policy.programs import Mutant, Thing

RESTORABLE = "table-restorable"
PROTECTED = "table-deletion-protected"
ENCRYPTED = "table-encryption-chosen"
SCALES = "table-scales"
STREAM = "table-stream-carries-items"

CLASSIC, REPLICA = "aws:dynamodb/table:Table", "aws:dynamodb/tableReplica:TableReplica"
NATIVE, GLOBAL = "aws-native:dynamodb:Table", "aws-native:dynamodb:GlobalTable"
CLASSIC_PIPE, NATIVE_PIPE = "aws:pipes/pipe:Pipe", "aws-native:pipes:Pipe"


def _kept() -> dict[str, Any]:
    return {
        "pointInTimeRecoverySpecification": {"pointInTimeRecoveryEnabled": True},
        "deletionProtectionEnabled": True,
    }


GOOD: dict[str, dict[str, Any]] = {
    CLASSIC: {
        "name": "orders",
        "billingMode": "PAY_PER_REQUEST",
        "pointInTimeRecovery": {"enabled": True},
        "deletionProtectionEnabled": True,
        "serverSideEncryption": {"enabled": True},
        "streamEnabled": True,
        "streamViewType": "OLD_IMAGE",
        "replicas": [
            {"regionName": "eu-west-3", "pointInTimeRecovery": True, "deletionProtectionEnabled": True},
            {"regionName": "eu-north-1", "pointInTimeRecovery": True, "deletionProtectionEnabled": True},
        ],
    },
    REPLICA: {"globalTableArn": NOT_YET, "pointInTimeRecovery": True, "deletionProtectionEnabled": True},
    NATIVE: {
        "tableName": "orders",
        "billingMode": "PAY_PER_REQUEST",
        **_kept(),
        "sseSpecification": {"sseEnabled": True},
        "streamSpecification": {"streamViewType": "NEW_AND_OLD_IMAGES"},
    },
    GLOBAL: {
        "tableName": "orders",
        "billingMode": "PAY_PER_REQUEST",
        "sseSpecification": {"sseEnabled": True},
        "streamSpecification": {"streamViewType": "NEW_IMAGE"},
        "replicas": [
            {"region": "eu-west-1", **_kept()},
            {"region": "eu-west-3", **_kept()},
        ],
    },
}
# Each with a pipe, of the other provider where there is a choice, that reads its stream.
READERS = {CLASSIC: CLASSIC_PIPE, NATIVE: CLASSIC_PIPE, GLOBAL: NATIVE_PIPE}
SWITCHES = {
    RESTORABLE: [
        (CLASSIC, "pointInTimeRecovery.enabled"),
        (CLASSIC, "replicas[1].pointInTimeRecovery"),
        (REPLICA, "pointInTimeRecovery"),
        (NATIVE, "pointInTimeRecoverySpecification.pointInTimeRecoveryEnabled"),
        (GLOBAL, "replicas[1].pointInTimeRecoverySpecification.pointInTimeRecoveryEnabled"),
    ],
    PROTECTED: [
        (CLASSIC, "deletionProtectionEnabled"),
        (CLASSIC, "replicas[0].deletionProtectionEnabled"),
        (REPLICA, "deletionProtectionEnabled"),
        (NATIVE, "deletionProtectionEnabled"),
        (GLOBAL, "replicas[1].deletionProtectionEnabled"),
    ],
    ENCRYPTED: [
        (CLASSIC, "serverSideEncryption.enabled"),
        (NATIVE, "sseSpecification.sseEnabled"),
        (GLOBAL, "sseSpecification.sseEnabled"),
    ],
}
VIEWS = {
    CLASSIC: "streamViewType",
    NATIVE: "streamSpecification.streamViewType",
    GLOBAL: "streamSpecification.streamViewType",
}


def base(type_: str) -> str:
    return f"{type_} with all it needs"


def reader(type_: str, table: Thing, **inputs: Any) -> Thing:
    """A pipe whose source is the stream of the table, and which has no enrichment."""
    pipe = {name: value for name, value in pipes.good(type_).items() if not name.startswith("enrichment")}
    return Thing(type=type_, name="reader", inputs={**pipe, "source": NOT_YET, **inputs}, uses={"source": (table.urn,)})


def things(type_: str) -> list[Thing]:
    table = Thing(type=type_, name="orders", inputs=GOOD[type_])
    return [table, reader(READERS[type_], table)] if type_ in READERS else [table]


def _off(rule: str, type_: str, place: str, base: str) -> Iterator[Mutant]:
    about: dict[str, Any] = {"rule": rule, "message": f"set {place} to true", "base": base}
    yield Mutant(
        claim=f"{place} false", change=lambda program: program.put(type_, "orders", place, value=False), **about
    )
    yield Mutant(claim=f"{place} not said", change=lambda program: program.drop(type_, "orders", place), **about)


def _bills(type_: str, base: str) -> Iterator[Mutant]:
    about: dict[str, Any] = {"rule": SCALES, "message": "set billingMode to PAY_PER_REQUEST", "base": base}
    yield Mutant(
        claim="provisioned", change=lambda program: program.put(type_, "orders", "billingMode", "PROVISIONED"), **about
    )
    yield Mutant(claim="AWS's default", change=lambda program: program.drop(type_, "orders", "billingMode"), **about)


def _streams(type_: str, base: str) -> Iterator[Mutant]:
    view = VIEWS[type_]
    about: dict[str, Any] = {
        "rule": STREAM,
        "message": f"set {view} to NEW_IMAGE or NEW_AND_OLD_IMAGES: a pipe reads the stream",
        "base": base,
    }
    yield Mutant(claim="keys", change=lambda program: program.put(type_, "orders", view, "KEYS_ONLY"), **about)
    yield Mutant(claim="no stream", change=lambda program: program.drop(type_, "orders", view), **about)


BASES = {base(type_): things(type_) for type_ in GOOD}
MUTANTS = [
    *(
        mutant
        for rule, at in SWITCHES.items()
        for type_, place in at
        for mutant in _off(rule, type_, place, base(type_))
    ),
    *(mutant for type_ in VIEWS for mutant in _bills(type_, base(type_))),
    *(mutant for type_ in VIEWS for mutant in _streams(type_, base(type_))),
    *(mutant for rule, at in SWITCHES.items() for mutant in _off(rule, *at[0], "prod")),
    *_bills(CLASSIC, "prod"),
    *_streams(CLASSIC, "prod"),
    *_off(RESTORABLE, CLASSIC, "pointInTimeRecovery.enabled", "dev"),
]
