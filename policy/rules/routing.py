"""Rules for what crosses a bus: who may put it there, which rule takes it, and what becomes of it at a target."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from pulumi_policy import Severity

from policy.documents import UNREADABLE, Statement, items, json_document, statements
from policy.props import MISSING, UNKNOWN, Path, spell, whole
from policy.rule import Control, Flag, Group, Rule, StackRule, Whole
from policy.templates import IN_A_RULE, Template, read, unsafe

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from policy.subject import Member, Stack, Subject

BUS = "aws:cloudwatch/eventBus:EventBus"
NATIVE_BUS = "aws-native:events:EventBus"
BUS_POLICY = "aws:cloudwatch/eventBusPolicy:EventBusPolicy"
NATIVE_BUS_POLICY = "aws-native:events:EventBusPolicy"
PERMISSION = "aws:cloudwatch/eventPermission:EventPermission"
RULE = "aws:cloudwatch/eventRule:EventRule"
NATIVE_RULE = "aws-native:events:Rule"
TARGET = "aws:cloudwatch/eventTarget:EventTarget"
DESTINATIONS = frozenset({"aws:cloudwatch/eventApiDestination:EventApiDestination", "aws-native:events:ApiDestination"})

BUSES = frozenset({BUS, NATIVE_BUS})
EVENT_RULES = frozenset({RULE, NATIVE_RULE})
# A classic target is a resource of its own, a native one an item of its rule.
TARGETS = frozenset({TARGET, NATIVE_RULE})

# What a target may be given at most, by the EventBridge API reference of RetryPolicy.
MAXIMUM_AGE, MAXIMUM_ATTEMPTS = 24 * 3600, 185


def _targets(resource: Subject) -> Iterator[Path]:
    """Where the targets of a resource are."""
    if resource.type == TARGET:
        yield ()
        return
    for at, target in resource.each("targets[]"):
        if target is UNKNOWN:
            resource.deferred(at)
        else:
            yield at


# --- what a target cannot take


def failures_kept(resource: Subject) -> Iterator[str]:
    """Each target keeps what it cannot take in a standard queue, after a time and a number of tries that are chosen.

    What a schedule sends comes again by itself.
    """
    if _may_be_scheduled(resource):
        return
    for at in _targets(resource):
        yield from _dead_letters(resource, (*at, "deadLetterConfig", "arn"))
        retry = (*at, "retryPolicy")
        lowest_age, fewest = resource.settings["minimumAge"], resource.settings["minimumAttempts"]
        yield from _within(resource, (*retry, "maximumEventAgeInSeconds"), lowest_age, MAXIMUM_AGE)
        yield from _within(resource, (*retry, "maximumRetryAttempts"), fewest, MAXIMUM_ATTEMPTS)


def _may_be_scheduled(resource: Subject) -> bool:
    """Whether targets are of a schedule, which a classic one does not tell: all schedules are on the default bus."""
    if resource.type == TARGET:
        resource.given("eventBusName")
        return _on_default_bus(resource) and not resource.settings["defaultBus"]
    return resource.get("eventPattern") is MISSING and resource.given("scheduleExpression")


def _dead_letters(resource: Subject, where: Path) -> Iterator[str]:
    if not resource.given(where):
        yield f"set {spell(where)} to the ARN of a standard queue: without one, what cannot be delivered is dropped"
        return
    arn = resource.get(where)
    if arn is not UNKNOWN and (not isinstance(arn, str) or ":sqs:" not in arn or arn.endswith(".fifo")):
        yield f"set {spell(where)} to the ARN of a standard SQS queue: EventBridge takes no other"


def _within(resource: Subject, where: Path, lowest: int, highest: int) -> Iterator[str]:
    number = resource.judge(where)
    if number is UNKNOWN:
        return
    chosen = whole(number)
    if chosen is None or not lowest <= chosen <= highest:
        yield f"set {spell(where)} to a whole number from {lowest} to {highest}"


# --- what a target is sent


# What EventBridge itself fills in: texts that need no escape, and documents that are no text.
_RESERVED_TEXTS = frozenset({"aws.events.rule-arn", "aws.events.rule-name", "aws.events.event.ingestion-time"})
_RESERVED = _RESERVED_TEXTS | {"aws.events.event", "aws.events.event.json"}
# Where an event holds what EventBridge has checked or written, in which no quote can be.
_CHECKED = frozenset({"$.account", "$.id", "$.region", "$.time", "$.version"})


def transformer_safe(resource: Subject) -> Iterator[str]:
    """A template of JSON is JSON whatever the event says: its placeholders are declared, and stand where a value may.

    EventBridge does not escape what it puts between quotes, and quotes by itself what it puts elsewhere. Templates of
    plain text are left alone.
    """
    paths_name = "inputPathsMap" if resource.type == NATIVE_RULE else "inputPaths"
    for at in _targets(resource):
        transformer = (*at, "inputTransformer")
        if not resource.given(transformer):
            continue
        where = (*transformer, "inputTemplate")
        text = resource.judge(where)
        template = read(text, IN_A_RULE) if isinstance(text, str) else None
        if template:
            yield from _json_template(resource, template, where, (*transformer, paths_name))


def _json_template(resource: Subject, template: Template, where: Path, paths_at: Path) -> Iterator[str]:
    declared = resource.get(paths_at)
    paths: Mapping[str, Any] = cast("dict[str, Any]", declared) if isinstance(declared, dict) else {}
    unknown = declared is UNKNOWN
    yield from unsafe(template, spell(where), lambda name: _breaks_quotes(name, paths))
    if any(unknown or paths.get(name) is UNKNOWN for name in template.quoted - _RESERVED):
        resource.deferred(paths_at)
    if template.bare - _RESERVED - paths.keys():
        if unknown:
            resource.deferred(paths_at)
        else:
            yield f"declare in {spell(paths_at)} each placeholder of {spell(where)}"


def _breaks_quotes(name: str, paths: Mapping[str, Any]) -> bool:
    """Whether what the placeholder stands for can hold a quote. Text in angle brackets need not be a placeholder."""
    if name in _RESERVED:
        return name not in _RESERVED_TEXTS
    return name in paths and paths[name] is not UNKNOWN and paths[name] not in _CHECKED


# --- which events a rule takes


def rule_bounded(rule: Subject) -> Iterator[str]:
    """A rule names its events by source or detail-type, and takes those of your own from a custom bus."""
    if rule.get("eventPattern") is MISSING and rule.given("scheduleExpression"):
        return
    pattern = json_document(rule.judge("eventPattern"))
    if pattern is UNKNOWN:
        return
    if pattern is MISSING:
        yield "set eventPattern to one that names a source or a detail-type"
    elif pattern is UNREADABLE:
        yield "set eventPattern to a JSON object"
    elif not (bounded := _names_events(pattern)):
        yield "name a source or a detail-type in eventPattern: it takes what everybody puts on the bus"
    elif bounded is UNKNOWN:
        rule.deferred("eventPattern")
    elif not rule.settings["defaultBus"] and _on_default_bus(rule) and _custom_sources(pattern):
        yield "set eventBusName to a custom bus: the default bus takes the events of everything in the account"


def _names_events(pattern: Any) -> Any:
    """True, False, or UNKNOWN: whether the pattern takes less than every source and every detail-type."""
    if not isinstance(pattern, dict):
        return False
    pattern = cast("dict[str, Any]", pattern)
    found = [restricts(pattern.get(key)) for key in ("source", "detail-type")]
    if branches := items(pattern.get("$or")):
        found.append(_all(UNKNOWN if branch is UNKNOWN else _names_events(branch) for branch in branches))
    return True if True in found else UNKNOWN if UNKNOWN in found else False


def _all(found: Iterable[Any]) -> Any:
    answers = list(found)
    return False if False in answers else UNKNOWN if UNKNOWN in answers else True


def restricts(matchers: Any) -> Any:
    """Whether a field's matchers, of which one has to match, refuse anything."""
    if matchers is UNKNOWN:
        return UNKNOWN
    if not isinstance(matchers, list) or not matchers:
        return False
    return _all(_refuses_something(matcher) for matcher in cast("list[Any]", matchers))


def _refuses_something(matcher: Any) -> Any:
    if matcher is UNKNOWN or not isinstance(matcher, dict):
        return matcher if matcher is UNKNOWN else True
    for kind, value in cast("dict[str, Any]", matcher).items():
        if kind in ("prefix", "suffix") and value == "":
            return False
        if kind == "wildcard" and isinstance(value, str) and not value.strip("*"):
            return False
        if kind == "exists" and value is True:
            return False
    return True


def _on_default_bus(rule: Subject) -> bool:
    bus = rule.get("eventBusName")
    return bus is MISSING or (isinstance(bus, str) and bus.rpartition("/")[2] == "default")


def _custom_sources(pattern: Mapping[str, Any]) -> bool:
    """Whether the pattern names a source that is no service of AWS; those of partners begin with aws.partner."""
    return any(isinstance(source, str) and not source.startswith("aws.") for source in items(pattern.get("source")))


# --- who may put events on a bus


def bus_policy_closed(policy: Subject) -> Iterator[str]:
    """Nothing is allowed to everybody, unless a condition says who that is."""
    own = policy.type == NATIVE_BUS_POLICY
    if policy.type == PERMISSION or (own and not policy.given("statement")):
        if _permission(policy).public:
            yield "name an account in principal, or set condition to an organization's aws:PrincipalOrgID"
        return
    where = "statement" if own else "policy"
    found = json_document(policy.judge(where))
    if found is UNREADABLE:
        yield f"set {where} to a JSON object"
    elif isinstance(found, dict):
        said = {"Statement": found} if own else cast("dict[str, Any]", found)
        if any(statement.public for statement in statements(said)):
            yield f"name the principals in {where}, or add a condition on aws:PrincipalOrgID"


def _permission(policy: Subject) -> Statement:
    """What a permission says in properties of its own, as a statement."""
    operator, key, value = (policy.get(f"condition.{name}") for name in ("type", "key", "value"))
    condition = UNKNOWN if UNKNOWN in (operator, key, value) else {operator: {key: value}}
    said = {"Effect": "Allow", "Principal": policy.judge("principal")}
    if policy.given("condition"):
        said["Condition"] = condition
    return next(statements({"Statement": said}))


def bus_has_policy(stack: Stack) -> Iterator[tuple[Member, str]]:
    """Each custom bus has a policy. One that a partner fills takes events from that partner."""
    buses = stack.of(BUSES)
    policies = stack.of(frozenset({BUS_POLICY, NATIVE_BUS_POLICY, PERMISSION}))
    for bus in buses:
        bus.decided("policy")
        attached = any(bus_of(policy, "eventBusName", buses) in (bus, None) for policy in policies)
        if not attached and not bus.given("policy") and not bus.given("eventSourceName"):
            yield bus, "attach an EventBusPolicy that says who may put events on the bus"


def bus_of(member: Member, where: str, buses: list[Member]) -> Member | str | None:
    """The bus that a place names: one of the stack, the name of another, or None when that is not known yet."""
    value = member.get(where)
    if value is MISSING:
        return "default"
    named = bus_named(value, buses) if isinstance(value, str) else None
    return next((bus for bus in buses if member.refers_to(where, bus)), named)


def bus_named(name: str, buses: list[Member]) -> Member | str | None:
    """The bus of the stack that a name or an ARN is of, the name of another, or None when it may be either."""
    last = name.rpartition("/")[2]
    untold = last != "default" and any(bus.get("name") is UNKNOWN for bus in buses)
    return next((bus for bus in buses if bus.get("name") == last), None if untold else last)


# --- rate against age


def backlog_held(stack: Stack) -> Iterator[tuple[Member, str]]:
    """What waits for an API destination is called off in time before it is too old.

    Calls over the rate limit wait and age: of a burst of more than rate times age, the rest ends as dead letters.
    """
    destinations = stack.of(DESTINATIONS)
    wanted = stack.settings["backlog"]
    for target in stack.of(TARGETS):
        target.decided("arn")
        places = list(_targets(target))
        for at in places:
            age_at = (*at, "retryPolicy", "maximumEventAgeInSeconds")
            age = whole(target.get(age_at))
            for destination in destinations:
                rate = whole(destination.get("invocationRateLimitPerSecond"))
                if age is None or rate is None or not _calls(target, (*at, "arn"), destination, alone=len(places) == 1):
                    continue
                if rate * age < wanted:
                    lowest = f"their product, which is what can wait without a loss, to {wanted} or more"
                    yield target, f"raise {spell(age_at)} or invocationRateLimitPerSecond: {lowest}"


def _calls(target: Member, where: Path, destination: Member, *, alone: bool) -> bool:
    """Whether a target is the destination. Pulumi keeps what a property was computed from, not which item of a list."""
    arn = target.get(where)
    if isinstance(arn, str):
        return f":api-destination/{destination.get('name')}/" in arn
    return arn is UNKNOWN and alone and target.refers_to(where, destination) is True


_USER_GUIDE = "https://docs.aws.amazon.com/eventbridge/latest/userguide"

RULES = (
    Rule(
        name="event-target-failure-kept",
        why="What a target does not take is tried again for as long as was chosen, and then kept for a person.",
        fix="Give each target a deadLetterConfig and a retryPolicy with both its maxima.",
        severity=Severity.HIGH,
        group=Group.GATEWAY,
        frameworks=(Control(framework="cdk-nag", reference="Serverless-EventBusDLQ"),),
        types=TARGETS,
        check=failures_kept,
        settings={
            "minimumAge": Whole(default=3600, minimum=60, why="The seconds for which an event is tried at least."),
            "minimumAttempts": Whole(default=1, minimum=0, why="How often an event is tried again at least."),
            "defaultBus": Flag(
                default=False,
                why="Whether classic targets on the default bus are judged too, among them those of schedules.",
            ),
        },
        url=f"{_USER_GUIDE}/eb-rule-dlq.html",
    ),
    Rule(
        name="event-target-transformer-safe",
        why="What a target is sent is JSON, whatever is in the event.",
        fix="Write each placeholder without quotes, in the place of a JSON value, and declare it.",
        severity=Severity.HIGH,
        group=Group.GATEWAY,
        frameworks=(Control(framework="CWE", reference="116"),),
        types=TARGETS,
        check=transformer_safe,
        url=f"{_USER_GUIDE}/eb-transform-target-input.html",
    ),
    Rule(
        name="event-rule-bounded",
        why="A rule takes the events that it was made for, and no others that come to cross the bus.",
        fix="Name a source or a detail-type in eventPattern, and put rules for events of your own on a custom bus.",
        severity=Severity.MEDIUM,
        group=Group.GATEWAY,
        frameworks=(Control(framework="CWE", reference="183"),),
        types=EVENT_RULES,
        check=rule_bounded,
        settings={
            "defaultBus": Flag(default=False, why="Whether events of custom sources may cross the default bus."),
        },
        url=f"{_USER_GUIDE}/eb-event-patterns.html",
    ),
    Rule(
        name="event-bus-policy-closed",
        why="Not everybody on AWS may put events on a bus.",
        fix="Name the principals that a bus policy allows, or hold it to an organization by a condition.",
        severity=Severity.CRITICAL,
        group=Group.GATEWAY,
        frameworks=(
            Control(framework="cdk-nag", reference="AwsSolutions-EVB1"),
            Control(framework="prowler", reference="eventbridge_bus_exposed"),
        ),
        types=frozenset({BUS_POLICY, NATIVE_BUS_POLICY, PERMISSION, NATIVE_BUS}),
        check=bus_policy_closed,
        url=f"{_USER_GUIDE}/eb-event-bus-perms.html",
    ),
    StackRule(
        name="event-bus-has-policy",
        why="Who may put events on a custom bus is said at the bus, not only at whoever does.",
        fix="Attach an EventBusPolicy to the bus.",
        severity=Severity.MEDIUM,
        group=Group.GATEWAY,
        frameworks=(Control(framework="AWS Foundational Security Best Practices", reference="EventBridge.3"),),
        types=BUSES,
        check=bus_has_policy,
        url="https://docs.aws.amazon.com/securityhub/latest/userguide/eventbridge-controls.html",
    ),
    StackRule(
        name="api-destination-backlog-held",
        why="What waits for an API destination because of its rate limit does not become too old meanwhile.",
        fix="Raise the rate limit or the maximum age until their product is the largest burst that you expect.",
        severity=Severity.MEDIUM,
        group=Group.GATEWAY,
        frameworks=(Control(framework="CWE", reference="410"),),
        types=TARGETS,
        check=backlog_held,
        settings={
            "backlog": Whole(default=10_000, minimum=1, why="How many events may come at once without a loss."),
        },
        url=f"{_USER_GUIDE}/eb-api-destinations.html",
    ),
)
