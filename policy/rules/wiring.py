"""That what is emitted has a rule, and that what a rule takes is emitted."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from pulumi_policy import Severity

from policy.documents import Statement, items, json_document, statements
from policy.mapping_templates import without_comments
from policy.props import MISSING, UNKNOWN
from policy.rest_api import Integration, body, operations, resource
from policy.rule import Control, Group, StackRule, Texts
from policy.rules import http_api
from policy.rules.api import BODIES
from policy.rules.routing import BUS_POLICY, BUSES, EVENT_RULES, TARGET, bus_named, bus_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from policy.subject import Member, Stack

PIPE = "aws:pipes/pipe:Pipe"
NATIVE_PIPE = "aws-native:pipes:Pipe"
INTEGRATION = "aws:apigateway/integration:Integration"
NATIVE_METHOD = "aws-native:apigateway:Method"
ROLE = "aws:iam/role:Role"
ROLE_POLICY = "aws:iam/rolePolicy:RolePolicy"
# What gives a role more than its own resource and its role policies tell.
ATTACHMENTS = frozenset(
    {"aws:iam/rolePolicyAttachment:RolePolicyAttachment", "aws:iam/policyAttachment:PolicyAttachment"}
)


# A rule, and the bus that it is on as `bus_of` says it.
PlacedRule = tuple["Member", "Member | str | None"]


class Emission(NamedTuple):
    """Events that some part of the stack puts on a bus. What is not known, or differs by event, is None."""

    member: Member
    where: str
    bus: Member | str | None = None
    source: str | None = None
    detail_type: str | None = None


def wired(stack: Stack) -> Iterator[tuple[Member, str]]:
    """What is emitted has a rule, a rule has an emitter and a target, and a target is on the bus of its rule.

    A rule that is disabled needs no target, and takes nothing.

    Says nothing of buses that others share: rules elsewhere may take what is emitted here when this stack has none on
    that bus or the bus is one of `sharedBuses`, and anybody may emit what a rule takes unless the bus refuses all but
    roles whose events are known.
    """
    buses = stack.of(BUSES)
    emissions = list(_emissions(stack, buses))
    rules = [(rule, bus_of(rule, "eventBusName", buses)) for rule in stack.of(EVENT_RULES)]
    for bus in buses:
        lost = [] if _is_shared(bus) else list(_lost(bus, emissions, rules))
        yield from lost
        # A rule that waits in vain for what is lost needs no word of its own.
        by_code = None if lost else _emitted_by_code(bus, stack, buses)
        if by_code is not None:
            here = [emission for emission in emissions if emission.bus in (bus, None)]
            yield from _idle([rule for rule, on in rules if on is bus], here + by_code)
    yield from _targeted(stack, rules, buses)


def _is_shared(bus: Member) -> bool:
    """Whether the configuration says that rules of other stacks take events from it, or may mean this one."""
    shared = bus.settings["sharedBuses"]
    return bool(shared) and bus.get("name") in (UNKNOWN, *shared)


def _lost(bus: Member, emissions: list[Emission], rules: list[PlacedRule]) -> Iterator[tuple[Member, str]]:
    """What is emitted on the bus, if the stack has rules there, and taken by none of them nor by one placed later."""
    if not any(on is bus for _, on in rules):
        return
    for emission in emissions:
        if emission.bus is not bus:
            continue
        here = [rule for rule, on in rules if on in (bus, None) and _is_enabled(rule) is not False]
        if not any(_may_take(rule, emission) for rule in here):
            where = f"name a source and a detail-type in {emission.where}"
            yield emission.member, f"{where} that an enabled rule on the bus takes, or add that rule"


def _is_enabled(rule: Member) -> bool | None:
    """Whether the rule takes events at all; None while only the update tells."""
    state, enabled = rule.get("state"), rule.get("isEnabled")
    if state == "DISABLED" or enabled is False:
        return False
    return None if UNKNOWN in (state, enabled) else True


def _idle(rules: list[Member], emissions: list[Emission]) -> Iterator[tuple[Member, str]]:
    """The rules that take nothing of all that is emitted. One without a readable pattern is another rule's concern."""
    for rule in rules:
        pattern = json_document(rule.get("eventPattern"))
        if isinstance(pattern, dict) and not any(_may_take(rule, emission) for emission in emissions):
            yield rule, "name a source and a detail-type in eventPattern that somebody emits whom the bus admits"


def _targeted(stack: Stack, rules: list[PlacedRule], buses: list[Member]) -> Iterator[tuple[Member, str]]:
    targets = stack.of(frozenset({TARGET}))
    for rule, _ in rules:
        inside = rule.judge("targets")
        if inside not in (MISSING, []) or any(target.refers_to("rule", rule) is not False for target in targets):
            continue
        if _is_enabled(rule):
            yield rule, "give the rule a target: nobody gets the events that it takes"
    for target in targets:
        target.decided("rule")
        on = bus_of(target, "eventBusName", buses)
        named = [bus for rule, bus in rules if target.refers_to("rule", rule)]
        if named and on is not None and not any(bus in (on, None) for bus in named):
            yield target, "set eventBusName to that of the rule: AWS looks for the rule on that bus only"


def _may_take(rule: Member, emission: Emission) -> bool:
    """Whether the rule takes some such event, as far as its source and detail-type tell."""
    pattern = json_document(rule.get("eventPattern"))
    if pattern is UNKNOWN:
        return True
    return isinstance(pattern, dict) and _may_match(cast("dict[str, Any]", pattern), emission)


def _may_match(pattern: Mapping[str, Any], emission: Emission) -> bool:
    for key, value in (("source", emission.source), ("detail-type", emission.detail_type)):
        matchers = pattern.get(key)
        # What is no list, or an empty one, AWS refuses.
        listed = cast("list[Any]", matchers) if isinstance(matchers, list) else []
        if value is not None and listed and not any(_may_equal(matcher, value) for matcher in listed):
            return False
    branches = [cast("dict[str, Any]", branch) for branch in items(pattern.get("$or")) if isinstance(branch, dict)]
    return not branches or any(_may_match(branch, emission) for branch in branches)


def _may_equal(matcher: Any, value: str) -> bool:
    """Whether a matcher takes the text. One of a kind that only numbers and addresses have is passed over."""
    if matcher is UNKNOWN:
        return True
    if not isinstance(matcher, dict):
        return matcher == value
    for kind, wanted in cast("dict[str, Any]", matcher).items():
        texts = [text for text in items(wanted) if isinstance(text, str)]
        if kind == "exists":
            return wanted is not False
        if kind == "anything-but":
            return value not in texts
        if kind in _COMPARE and texts:
            return any(_COMPARE[kind](value, text) for text in texts)
    return True


_COMPARE: Mapping[str, Callable[[str, str], bool]] = {
    "prefix": str.startswith,
    "suffix": str.endswith,
    "equals-ignore-case": lambda value, text: value.casefold() == text.casefold(),
    "wildcard": lambda value, text: bool(re.fullmatch(".*".join(map(re.escape, text.split("*"))), value, re.DOTALL)),
}


# --- emitters


def _emissions(stack: Stack, buses: list[Member]) -> Iterator[Emission]:
    """What pipes and the integrations of APIs emit."""
    for pipe in stack.of(frozenset({PIPE, NATIVE_PIPE})):
        yield from _pipe_emissions(pipe, buses)
    for api in stack.of(BODIES):
        api.decided("body")
        for operation in operations(body(api)):
            yield from _integration_emissions(api, operation.integration, buses)
    for integration in stack.of(frozenset({INTEGRATION})):
        integration.decided("uri")
        yield from _integration_emissions(integration, Integration(node=resource(integration)), buses)
    for method in stack.of(frozenset({NATIVE_METHOD})):
        method.decided("integration")
        yield from _integration_emissions(method, Integration(node=resource(method).at("integration")), buses)
    for other in stack.of(http_api.INTEGRATIONS):
        if other.get("integrationSubtype") in ("EventBridge-PutEvents", UNKNOWN):
            yield Emission(member=other, where="requestParameters")


def _pipe_emissions(pipe: Member, buses: list[Member]) -> Iterator[Emission]:
    name = "eventBridgeEventBusParameters" if pipe.type == NATIVE_PIPE else "eventbridgeEventBusParameters"
    where = f"targetParameters.{name}"
    pipe.decided("target")
    target = pipe.get("target")
    if isinstance(target, str) and ":event-bus/" not in target:
        return
    bus = bus_of(pipe, "target", buses)
    if bus is not None or pipe.get(where) is not MISSING:
        source, detail_type = (_literal(pipe.get(f"{where}.{part}")) for part in ("source", "detailType"))
        yield Emission(member=pipe, where=where, bus=bus, source=source, detail_type=detail_type)


def _literal(value: Any) -> str | None:
    """A text that is the same for every event: no path of a pipe, no reference of a mapping template."""
    return value if isinstance(value, str) and "$" not in value else None


def _integration_emissions(member: Member, integration: Integration, buses: list[Member]) -> Iterator[Emission]:
    untold = Emission(member=member, where=str(integration.templates))
    texts = [template.value for _, template in integration.templates.members()]
    if integration.puts_events and texts:
        yield from (_entry(untold, text, buses) if isinstance(text, str) else untold for text in texts)
    elif integration.puts_events or (integration.node.at("uri").unknown and integration.templates.unknown):
        yield untold


# A member of an entry of PutEvents in a mapping template, which is no JSON as a whole.
_MEMBER = re.compile(r'"(EventBusName|Source|DetailType)"\s*:\s*"([^"]*)"')


def _entry(untold: Emission, template: str, buses: list[Member]) -> Emission:
    said: dict[str, set[str | None]] = {}
    for name, text in _MEMBER.findall(without_comments(template)):
        said.setdefault(name, set()).add(_literal(text))

    def one(name: str) -> str | None:
        return next(iter(said[name])) if len(said.get(name, ())) == 1 else None

    bus = one("EventBusName") if "EventBusName" in said else "default"
    return untold._replace(bus=bus and bus_named(bus, buses), source=one("Source"), detail_type=one("DetailType"))


# --- publishers that run code: what they may emit, by the bus policy and their own


_TRUSTED_TO_EMIT_AS_DECLARED = frozenset({"apigateway.amazonaws.com", "pipes.amazonaws.com"})
_NEGATIVE = frozenset({"ArnNotEquals", "ArnNotLike", "StringNotEquals", "StringNotLike"})
_POSITIVE = frozenset({"StringEquals", "ForAllValues:StringEquals", "ForAnyValue:StringEquals"})


def _emitted_by_code(bus: Member, stack: Stack, buses: list[Member]) -> list[Emission] | None:
    """What may come from the roles that the bus admits, other than from pipes and APIs; None if it can be anything."""
    admitted = _admitted(bus, stack, buses)
    if admitted is None:
        return None
    found: list[Emission] = []
    for role in admitted:
        if _services(role) <= _TRUSTED_TO_EMIT_AS_DECLARED:
            continue
        allowed = _allowed(role, stack)
        if allowed is None:
            return None
        found += [Emission(member=role, where="", bus=bus, source=source) for source in allowed]
    return found


def _admitted(bus: Member, stack: Stack, buses: list[Member]) -> list[Member] | None:
    """The roles without which the bus refuses PutEvents, when all are of this stack."""
    roles = {role.get("name"): role for role in stack.of(frozenset({ROLE}))}
    for policy in stack.of(frozenset({BUS_POLICY})):
        found = json_document(policy.get("policy"))
        if bus_of(policy, "eventBusName", buses) is not bus or not isinstance(found, dict):
            continue
        for statement in statements(cast("dict[str, Any]", found)):
            names = _refuses_all_but(statement)
            if names and all(name in roles for name in names):
                return [roles[name] for name in names]
    return None


def _refuses_all_but(statement: Statement) -> list[Any]:
    """The names of the roles that a statement spares when it denies everybody else to put events."""
    everybody = ("*", "*") in statement.principals or ("AWS", "*") in statement.principals
    if statement.allows is not False or not everybody or not _is_about_put_events(statement):
        return []
    conditions = cast("dict[str, Any]", statement.conditions)
    if len(conditions) != 1 or not conditions.keys() <= _NEGATIVE:
        return []
    keys = next(iter(conditions.values()))
    if not isinstance(keys, dict) or list(cast("dict[str, Any]", keys)) != ["aws:principalarn"]:
        return []
    return [str(arn).rpartition("/")[2] for arn in statement.condition("aws:PrincipalArn")]


def _is_about_put_events(statement: Statement) -> bool:
    return any(fnmatchcase("events:putevents", str(action).lower()) for action in statement.actions)


def _services(role: Member) -> set[Any]:
    """Whoever may assume the role, services by their names."""
    trust = json_document(role.get("assumeRolePolicy"))
    if not isinstance(trust, dict):
        return {UNKNOWN}
    return {
        name if kind == "Service" else UNKNOWN
        for statement in statements(cast("dict[str, Any]", trust))
        for kind, name in statement.principals
    }


def _allowed(role: Member, stack: Stack) -> list[str] | None:
    """The sources to which all policies of a role hold what it emits; None if they don't, or some are unseen."""
    if any(role.get(more) not in (MISSING, []) for more in ("managedPolicyArns", "inlinePolicies")):
        return None
    if any(attached.refers_to("role", role) is not False for attached in stack.of(ATTACHMENTS)):
        return None
    sources: list[str] = []
    for policy in stack.of(frozenset({ROLE_POLICY})):
        if policy.refers_to("role", role) is False:
            continue
        found = json_document(policy.get("policy"))
        if not isinstance(found, dict):
            return None
        for statement in statements(cast("dict[str, Any]", found)):
            if statement.allows is False or not (statement.not_actions or _is_about_put_events(statement)):
                continue
            held_to = statement.condition("events:source", operators=_POSITIVE)
            if not held_to or not all(isinstance(source, str) for source in held_to):
                return None
            sources += held_to
    return sources


RULES = (
    StackRule(
        name="event-wiring",
        why="PutEvents takes what no rule matches, and says so to nobody: the event is gone.",
        fix="Spell bus, source and detail-type in the same way where an event is emitted and where a rule takes it.",
        severity=Severity.HIGH,
        group=Group.GATEWAY,
        frameworks=(Control(framework="CWE", reference="440"),),
        types=EVENT_RULES | BODIES | {TARGET, PIPE, NATIVE_PIPE, INTEGRATION, NATIVE_METHOD},
        check=wired,
        settings={
            "sharedBuses": Texts(default=(), why="Names of buses from which rules of other stacks take events too.")
        },
        url="https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-putevents.html",
    ),
)
