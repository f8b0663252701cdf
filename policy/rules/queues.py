"""Rules for queues: how those keep dead letters that are there for it, and who may reach any of them."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from pulumi_policy import Severity

from policy.documents import ARN_PARTS, SOURCE_KEYS, UNREADABLE, Statement, json_document, statements
from policy.props import MISSING, UNKNOWN, Path, whole
from policy.rule import Control, Group, Rule, StackRule, Whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from policy.subject import Member, Stack, Subject

NATIVE_RULE = "aws-native:events:Rule"
BUSES = frozenset({"aws:cloudwatch/eventBus:EventBus", "aws-native:events:EventBus"})


class _Names(NamedTuple):
    """How a provider spells what the other one spells otherwise."""

    name: str
    retention: str


QUEUES = {
    "aws:sqs/queue:Queue": _Names(name="name", retention="messageRetentionSeconds"),
    "aws-native:sqs:Queue": _Names(name="queueName", retention="messageRetentionPeriod"),
}
# Where each type has the policy of a queue, and where it names the queue, if it is not the queue itself.
POLICIES = {
    "aws:sqs/queue:Queue": ("policy", None),
    "aws:sqs/queuePolicy:QueuePolicy": ("policy", "queueUrl"),
    "aws-native:sqs:QueueInlinePolicy": ("policyDocument", "queue"),
}


class _Sender(NamedTuple):
    """Where a type names the queue that gets what it could not deliver."""

    places: tuple[str, ...]
    as_service: bool = False
    """Whether EventBridge sends there as itself and not in a role."""
    redrives: bool = False
    """Whether it passes on what came from a queue, a topic or a stream, which has its own kind of queue and time."""


_ON_FAILURE = _Sender(places=("destinationConfig.onFailure.destination",))
_REDRIVES = _Sender(places=("redrivePolicy",), redrives=True)
_STREAM = "sourceParameters.{}StreamParameters.deadLetterConfig.arn"
SENDERS = {
    "aws:cloudwatch/eventBus:EventBus": _Sender(places=("deadLetterConfig.arn",), as_service=True),
    "aws:cloudwatch/eventTarget:EventTarget": _Sender(places=("deadLetterConfig.arn",), as_service=True),
    "aws:lambda/eventSourceMapping:EventSourceMapping": _Sender(
        places=("destinationConfig.onFailure.destinationArn",), redrives=True
    ),
    "aws:lambda/function:Function": _Sender(places=("deadLetterConfig.targetArn",)),
    "aws:lambda/functionEventInvokeConfig:FunctionEventInvokeConfig": _ON_FAILURE,
    "aws:pipes/pipe:Pipe": _Sender(places=(_STREAM.format("dynamodb"), _STREAM.format("kinesis"))),
    "aws:scheduler/schedule:Schedule": _Sender(places=("target.deadLetterConfig.arn",)),
    "aws:sns/topicSubscription:TopicSubscription": _REDRIVES,
    "aws:sqs/queue:Queue": _REDRIVES,
    "aws:sqs/redrivePolicy:RedrivePolicy": _REDRIVES,
    "aws-native:events:EventBus": _Sender(places=("deadLetterConfig.arn",), as_service=True),
    NATIVE_RULE: _Sender(places=("targets[].deadLetterConfig.arn",), as_service=True),
    "aws-native:lambda:EventInvokeConfig": _ON_FAILURE,
    "aws-native:lambda:EventSourceMapping": _ON_FAILURE._replace(redrives=True),
    "aws-native:lambda:Function": _Sender(places=("deadLetterConfig.targetArn",)),
    "aws-native:pipes:Pipe": _Sender(places=(_STREAM.format("dynamoDb"), _STREAM.format("kinesis"))),
    "aws-native:scheduler:Schedule": _Sender(places=("target.deadLetterConfig.arn",)),
    "aws-native:sns:Subscription": _REDRIVES,
    "aws-native:sqs:Queue": _REDRIVES,
}
_EVERYBODY = ("*", "AWS")  # the kinds of principal whose "*" is everybody
_EVERYTHING = ("*", "sqs:*")
_WORST = ("sqs:purgequeue", "sqs:setqueueattributes")  # the second lets one rewrite the policy
_SEND = "sqs:sendmessage"
_TRUTH = frozenset({"Bool", "BoolIfExists"})


# --- one queue, one policy


def encrypted(queue: Subject) -> Iterator[str]:
    """The program says how the queue is encrypted: the classic provider notices a change only of what is said."""
    if not queue.given("kmsMasterKeyId") and queue.judge("sqsManagedSseEnabled") not in (UNKNOWN, True):
        yield "set sqsManagedSseEnabled to true, or kmsMasterKeyId to a key"


def policy_closed(resource: Subject) -> Iterator[str]:
    """Nobody is admitted but who is named, and a service only on behalf of what is named.

    All actions may be the owner's, as in the policy that SQS writes by default: it only lets IAM decide.
    """
    where, _ = POLICIES[resource.type]
    document = json_document(resource.judge(where))
    if document is UNREADABLE:
        yield f"write {where} as a JSON object: nobody can read whom it admits"
    for statement in statements(document) if isinstance(document, dict) else ():
        at = f"{where}.Statement[{statement.index}]"
        if statement.public:
            yield f"name in {at} whom it admits, or the source in a condition: as it is, anybody"
        elif statement.allows is True and _all_actions(statement) and not _to_owner(statement):
            yield f"list in {at} the actions that are needed: as it is, the queue can be purged and its policy replaced"
        elif statement.allows is True and _any_source(statement):
            yield f"add ArnEquals with aws:SourceArn to {at}: as it is, the service sends on behalf of any account"


def _all_actions(statement: Statement) -> bool:
    """Whether it allows all but some, or the worst, by a wildcard and not by their names."""
    actions = [action.lower() for action in statement.actions if isinstance(action, str)]
    worst = [action for action in actions if any(fnmatchcase(one, action) for one in _WORST)]
    covered = all(any(fnmatchcase(one, action) for action in worst) for one in _WORST)
    return bool(statement.not_actions) or (covered and any({"*", "?"} & set(action) for action in worst))


# An account as a principal: its number, or the ARN of its root, which mean the same.
_ACCOUNT = re.compile(r"(?:arn:[\w-]+:iam::)?(\d{12})(?::root)?")


def _to_owner(statement: Statement) -> bool:
    """Whether it admits the account of the queue and nobody else. A resource that names no account leaves it open."""
    accounts = {found[1] if (found := _ACCOUNT.fullmatch(str(name))) else None for _, name in statement.principals}
    arns = [resource.split(":") for resource in statement.resources if isinstance(resource, str)]
    owners = {arn[4] for arn in arns if len(arn) == ARN_PARTS and not {"*", "?"} & set(arn[4])}
    return len(accounts) == 1 and None not in accounts and (not owners or owners == accounts)


def _any_source(statement: Statement) -> bool:
    by_service = any(kind == "Service" for kind, _ in statement.principals)
    return by_service and not statement.restricted(SOURCE_KEYS)


def _lower(action: Any) -> Any:
    return action.lower() if isinstance(action, str) else action


# --- queues and what belongs to them


def _statements(queue: Member, stack: Stack) -> list[Any]:
    """What the policies of a queue say; UNKNOWN for a policy that nobody can read yet, or that may be its."""
    found: list[Any] = []
    for member in stack.of(frozenset(POLICIES)):
        where, queue_at = POLICIES[member.type]
        of_it = member is queue if queue_at is None else member.refers_to(queue_at, queue)
        document = json_document(member.get(where))
        if of_it is None or (of_it and document in (UNKNOWN, UNREADABLE)):
            found.append(UNKNOWN)
        elif of_it and isinstance(document, dict):
            found += statements(cast("dict[str, Any]", document))
    return found


def _all(*parts: Any) -> Any:
    return False if False in parts else UNKNOWN if UNKNOWN in parts else True


def _some(values: Iterable[Any], wanted: Callable[[Any], bool]) -> Any:
    """Whether any value is wanted; UNKNOWN if only one that is not known yet may be."""
    values = list(values)
    return True if any(wanted(value) for value in values) else UNKNOWN if UNKNOWN in values else False


def _decided(queue: Member, where: str, verdicts: Iterable[Any]) -> bool:
    """Whether one of the verdicts is True, or may be one day; counts what is decided."""
    verdict = _some(verdicts, lambda verdict: verdict is True)
    if verdict is UNKNOWN:
        queue.deferred(where)
    else:
        queue.decided(where)
    return verdict is not False


def transport_encrypted(stack: Stack) -> Iterator[tuple[Member, str]]:
    """Each queue refuses what comes without TLS."""
    for queue in stack.of(frozenset(QUEUES)):
        if not _decided(queue, "policy", map(_refuses_plaintext, _statements(queue, stack))):
            yield queue, "give the queue a policy that denies sqs:* to everybody where aws:SecureTransport is false"


def _refuses_plaintext(statement: Any) -> Any:
    if statement is UNKNOWN:
        return UNKNOWN
    return _all(
        UNKNOWN if statement.allows is UNKNOWN else not statement.allows,
        _some((name for kind, name in statement.principals if kind in _EVERYBODY), lambda name: name == "*"),
        _some(statement.actions, lambda action: _lower(action) in _EVERYTHING),
        _some(statement.condition("aws:SecureTransport", operators=_TRUTH), lambda said: said in ("false", False)),
    )


def dead_letters_kept(stack: Stack) -> Iterator[tuple[Member, str]]:
    """Dead letters stay as long as SQS keeps any message, in queues that their senders can send to."""
    queues, senders = stack.of(frozenset(QUEUES)), _senders(stack)
    for queue in queues:
        if queue.urn in senders:
            for finding in _kept(queue, senders[queue.urn], stack):
                yield queue, finding


def _senders(stack: Stack) -> dict[str, list[Member]]:
    """What sends events that it could not deliver to a queue, by the queue's URN."""
    queues = stack.of(frozenset(QUEUES))
    found: dict[str, list[Member]] = {}
    for sender in stack.of(frozenset(type_ for type_, sender in SENDERS.items() if not sender.redrives)):
        for place in SENDERS[sender.type].places:
            for path, value in sender.each(place):
                queue = _queue_at(sender, path, value, queues)
                if queue is not None:
                    found.setdefault(queue.urn, []).append(sender)
    return found


def _queue_at(sender: Member, path: Path, value: Any, queues: list[Member]) -> Member | None:
    """The queue that a place names. A property that was computed from several leaves it open until ARNs are known."""
    origins = [origin for origin in sender.uses.get(str(path[0]), ()) if origin in queues]
    if value is not UNKNOWN:
        origins = [queue for queue in origins if _named(queue, value)]
    return origins[0] if len(origins) == 1 else None


def _named(queue: Member, value: Any) -> bool:
    """Whether the value can be the ARN of the queue, as far as its ARN or its name is known."""
    arn, name = queue.get("arn"), queue.get(QUEUES[queue.type].name)
    if isinstance(arn, str):
        return value == arn
    return isinstance(value, str) and (not isinstance(name, str) or value.rpartition(":")[2] == name)


def _kept(queue: Member, senders: list[Member], stack: Stack) -> Iterator[str]:
    retention, least = QUEUES[queue.type].retention, queue.settings["minimumRetentionSeconds"]
    seconds = queue.judge(retention)
    if seconds is not UNKNOWN and ((kept := whole(seconds)) is None or kept < least):
        yield f"set {retention} to {least} or more: a dead letter that nobody has looked at by then is gone"
    if queue.judge("fifoQueue") is True:
        yield "remove fifoQueue: AWS sends dead letters to standard queues only"
    said = _statements(queue, stack)
    sources = {_source(sender) for sender in senders if SENDERS[sender.type].as_service}
    admitted = [_decided(queue, "policy", [_admits(statement, source) for statement in said]) for source in sources]
    if not all(admitted):
        yield (
            "allow events.amazonaws.com sqs:SendMessage in the queue's policy, with ArnEquals of aws:SourceArn and the "
            "rule: without it the dead letters are dropped"
        )


def _admits(statement: Any, source: str | None) -> Any:
    """Whether a statement lets EventBridge send on behalf of the source, which is None while nothing tells it."""
    if statement is UNKNOWN:
        return UNKNOWN
    arns = statement.condition("aws:SourceArn")
    return _all(
        statement.allows,
        _some(
            (name for kind, name in statement.principals if kind in ("Service", *_EVERYBODY)),
            lambda name: name in ("events.amazonaws.com", "*"),
        ),
        bool(statement.not_actions)
        or _some(statement.actions, lambda action: isinstance(action, str) and fnmatchcase(_SEND, action.lower())),
        not arns or source is None or _some(arns, lambda arn: _is_of(arn, source)),
    )


def _is_of(arn: Any, source: str) -> bool:
    """Whether the value of a condition, which may have wildcards, is of the source."""
    if not isinstance(arn, str):
        return False
    return fnmatchcase(source, arn if source.startswith("arn:") else arn.split(":", 5)[-1])


def _source(sender: Member) -> str | None:
    """On whose behalf EventBridge sends: the ARN once it is known; the end of it as far as names are; or None."""
    source = sender if sender.type in (*BUSES, NATIVE_RULE) else _origin(sender, "rule")
    if source is None or isinstance(source.get("arn"), str):
        return source and source.get("arn")
    name = source.get("name")
    if source.type in BUSES:
        return _path("event-bus", name)
    bus = source.get("eventBusName")
    if bus is UNKNOWN:
        origin = _origin(source, "eventBusName")
        bus = UNKNOWN if origin is None else origin.get("name")
    if isinstance(bus, str):
        bus = bus.rpartition("/")[2]
    return _path("rule", name) if bus in (MISSING, "default") else _path("rule", bus, name)


def _path(*parts: Any) -> str | None:
    return "/".join(parts) if all(isinstance(part, str) for part in parts) else None


def _origin(member: Member, where: str) -> Member | None:
    origins = member.uses.get(where, ())
    return origins[0] if len(origins) == 1 else None


RULES = (
    Rule(
        name="queue-encrypted",
        why="What lies in a queue is encrypted, and a change of that is seen.",
        fix="Set sqsManagedSseEnabled to true, or kmsMasterKeyId to a key that the senders may use.",
        severity=Severity.MEDIUM,
        group=Group.BASELINE,
        frameworks=(
            Control(framework="AWS Foundational Security Best Practices", reference="SQS.1"),
            Control(framework="cdk-nag", reference="AwsSolutions-SQS2"),
            Control(framework="checkov", reference="CKV_AWS_27"),
        ),
        types=frozenset(QUEUES),
        check=encrypted,
        url="https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-server-side-encryption.html",
    ),
    Rule(
        name="queue-policy-closed",
        why="Nobody sends to, reads or empties a queue but whom its policy names.",
        fix="Name principals and actions in each statement, and the source on whose behalf a service sends.",
        severity=Severity.CRITICAL,
        group=Group.GATEWAY,
        frameworks=(
            Control(framework="checkov", reference="CKV_AWS_168"),
            Control(framework="checkov", reference="CKV_AWS_387"),
            Control(framework="checkov", reference="CKV_AWS_72"),
        ),
        types=frozenset(POLICIES),
        check=policy_closed,
        url="https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-security-best-practices.html",
    ),
    StackRule(
        name="queue-transport-encrypted",
        why="Messages cross the network encrypted.",
        fix="Deny sqs:* to everybody where aws:SecureTransport is false, in the policy of the queue.",
        severity=Severity.MEDIUM,
        group=Group.BASELINE,
        frameworks=(Control(framework="cdk-nag", reference="AwsSolutions-SQS4"),),
        types=frozenset(QUEUES),
        check=transport_encrypted,
        url="https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-security-best-practices.html",
    ),
    StackRule(
        name="dead-letter-queue-kept",
        why="What could not be delivered is there until somebody has looked at it.",
        fix="Keep messages for 14 days in a standard queue whose policy admits the rules that send there.",
        severity=Severity.HIGH,
        group=Group.GATEWAY,
        frameworks=(
            Control(framework="cdk-nag", reference="Serverless-EventBusDLQ"),
            Control(framework="CWE", reference="755"),
        ),
        types=frozenset(QUEUES),
        check=dead_letters_kept,
        settings={
            "minimumRetentionSeconds": Whole(
                default=14 * 24 * 3600,
                minimum=60,
                why="How long a dead-letter queue keeps a message at least; SQS keeps none for longer than 14 days.",
            ),
        },
        url="https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-event-delivery.html",
    ),
)
