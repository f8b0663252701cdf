"""Rules for DynamoDB tables: what is in them can be restored, is not deleted by mistake, and leaves them whole."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from pulumi_policy import Severity

from policy.props import MISSING, UNKNOWN, Path, spell, steps
from policy.rule import Control, Flag, Group, Rule, StackRule
from policy.rules import stacks

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from policy.subject import Member, Stack, Subject

_CLASSIC, _REPLICA = "aws:dynamodb/table:Table", "aws:dynamodb/tableReplica:TableReplica"
_NATIVE, _GLOBAL = "aws-native:dynamodb:Table", "aws-native:dynamodb:GlobalTable"
# Where each type says what, of the table itself or of each replica.
RESTORABLE = {
    _CLASSIC: ("pointInTimeRecovery.enabled", "replicas[].pointInTimeRecovery"),
    _REPLICA: ("pointInTimeRecovery",),
    _NATIVE: ("pointInTimeRecoverySpecification.pointInTimeRecoveryEnabled",),
    _GLOBAL: ("replicas[].pointInTimeRecoverySpecification.pointInTimeRecoveryEnabled",),
}
PROTECTED = {
    _CLASSIC: ("deletionProtectionEnabled", "replicas[].deletionProtectionEnabled"),
    _REPLICA: ("deletionProtectionEnabled",),
    _NATIVE: ("deletionProtectionEnabled",),
    _GLOBAL: ("replicas[].deletionProtectionEnabled",),
}
ENCRYPTED = {
    _CLASSIC: ("serverSideEncryption.enabled",),
    _NATIVE: ("sseSpecification.sseEnabled",),
    _GLOBAL: ("sseSpecification.sseEnabled",),
}
VIEWS = {
    _CLASSIC: "streamViewType",
    _NATIVE: "streamSpecification.streamViewType",
    _GLOBAL: "streamSpecification.streamViewType",
}
BILLED = frozenset(VIEWS)
PIPES = frozenset({"aws:pipes/pipe:Pipe", "aws-native:pipes:Pipe"})
_CARRYING = ("NEW_IMAGE", "OLD_IMAGE", "NEW_AND_OLD_IMAGES")


def _places(table: Subject, where: str) -> list[Path]:
    """The place, be it there or not: one, or one in each replica there is."""
    replicas, of_each, below = where.partition("[].")
    if not of_each:
        return [steps(where)]
    return [(*path, *steps(below)) for path, _ in table.each(f"{replicas}[]")]


def switched_on(switches: Mapping[str, tuple[str, ...]], table: Subject) -> Iterator[str]:
    """What the program has to turn on is on."""
    for where in switches[table.type]:
        for place in _places(table, where):
            on = table.judge(place)
            if on is not UNKNOWN and on is not True:
                yield f"set {spell(place)} to true"


def deletion_protected(table: Subject) -> Iterator[str]:
    """AWS itself refuses to delete the table: Pulumi's own `protect` says nothing to whoever uses a console."""
    findings = list(switched_on(PROTECTED, table))
    yield from findings if stacks.is_kept(table) else ()


def scales(table: Subject) -> Iterator[str]:
    """Nobody has to foresee how much is read and written."""
    mode = table.judge("billingMode")
    if mode not in (UNKNOWN, "PAY_PER_REQUEST") and not table.settings["provisioned"]:
        yield "set billingMode to PAY_PER_REQUEST"


def stream_carries_items(stack: Stack) -> Iterator[tuple[Member, str]]:
    """A pipe reads items, and not only their keys, unless it has an enrichment that may read the rest."""
    pipes = [pipe for pipe in stack.of(PIPES) if pipe.get("enrichment") is MISSING]
    for table in stack.of(frozenset(VIEWS)):
        if any(pipe.refers_to("source", table) for pipe in pipes):
            view = VIEWS[table.type]
            if table.judge(view) not in (UNKNOWN, *_CARRYING):
                yield table, f"set {view} to NEW_IMAGE or NEW_AND_OLD_IMAGES: a pipe reads the stream"


RULES = (
    Rule(
        name="table-restorable",
        why="What a mistake has overwritten or deleted can be restored, to any second of the last 35 days.",
        fix="Turn point-in-time recovery on for the table and for each of its replicas.",
        severity=Severity.HIGH,
        group=Group.BASELINE,
        frameworks=(
            Control(framework="AWS Foundational Security Best Practices", reference="DynamoDB.2"),
            Control(framework="cdk-nag", reference="AwsSolutions-DDB3"),
            Control(framework="checkov", reference="CKV_AWS_28"),
            Control(framework="trivy", reference="AWS-0024"),
        ),
        types=frozenset(RESTORABLE),
        check=partial(switched_on, RESTORABLE),
        url="https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Point-in-time-recovery.html",
    ),
    Rule(
        name="table-deletion-protected",
        why="No update, no console and no script deletes a table that matters without a decision of its own.",
        fix="Set deletionProtectionEnabled to true, or name the stack among the ones that are thrown away.",
        severity=Severity.HIGH,
        group=Group.BASELINE,
        frameworks=(Control(framework="AWS Foundational Security Best Practices", reference="DynamoDB.6"),),
        types=frozenset(PROTECTED),
        check=deletion_protected,
        settings={stacks.THROWAWAY: stacks.SETTING},
        url="https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/WorkingWithTables.Basics.html",
    ),
    Rule(
        name="table-encryption-chosen",
        why="A table is encrypted with a key of KMS, whose uses CloudTrail records, and not with one that nobody sees.",
        fix="Turn server-side encryption on; DynamoDB then uses the key of KMS that is named, or its managed one.",
        severity=Severity.LOW,
        group=Group.BASELINE,
        frameworks=(
            Control(framework="checkov", reference="CKV_AWS_119"),
            Control(framework="trivy", reference="AWS-0025"),
        ),
        types=frozenset(ENCRYPTED),
        check=partial(switched_on, ENCRYPTED),
        url="https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/EncryptionAtRest.html",
    ),
    Rule(
        name="table-scales",
        why="Reads and writes are not refused because somebody has foreseen fewer.",
        fix="Set billingMode to PAY_PER_REQUEST, or configure `provisioned` where something scales the capacity.",
        severity=Severity.MEDIUM,
        group=Group.BASELINE,
        frameworks=(
            Control(framework="AWS Foundational Security Best Practices", reference="DynamoDB.1"),
            Control(framework="checkov", reference="CKV2_AWS_16"),
        ),
        types=BILLED,
        check=scales,
        settings={"provisioned": Flag(default=False, why="Whether tables may have a capacity that something scales.")},
        url="https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/capacity-mode.html",
    ),
    StackRule(
        name="table-stream-carries-items",
        why="What a pipe makes of a change is made of the item, and a stream of keys has nothing of it.",
        fix="Choose a view of the stream with images of the item, or give the pipe an enrichment that reads it.",
        severity=Severity.HIGH,
        group=Group.GATEWAY,
        frameworks=(Control(framework="CWE", reference="221"),),
        types=frozenset(VIEWS),
        check=stream_carries_items,
        url="https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-pipes-dynamodb.html",
    ),
)
