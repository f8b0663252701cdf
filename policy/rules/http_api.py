"""Rules for HTTP and WebSocket APIs: what goes from them to AWS services with no code in between.

HTTP APIs have no models, and cannot look into an answer. WebSocket APIs can, by integration responses, which are not
read here: what becomes of the answers is left alone there. What goes to a function is the function's to judge.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pulumi_policy import Severity

from policy.documents import UNREADABLE
from policy.props import MISSING, UNKNOWN
from policy.rest_api import Integration, Node, Operation, body, operations
from policy.rule import Control, Examined, Group, Rule, StackRule, Whole
from policy.rules.stages import within_limit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from policy.subject import Member, Stack, Subject

API, NATIVE_API = "aws:apigatewayv2/api:Api", "aws-native:apigatewayv2:Api"
INTEGRATION, NATIVE_INTEGRATION = "aws:apigatewayv2/integration:Integration", "aws-native:apigatewayv2:Integration"
ROUTE, NATIVE_ROUTE = "aws:apigatewayv2/route:Route", "aws-native:apigatewayv2:Route"
STAGE, NATIVE_STAGE = "aws:apigatewayv2/stage:Stage", "aws-native:apigatewayv2:Stage"

APIS = frozenset({API, NATIVE_API})
INTEGRATIONS = frozenset({INTEGRATION, NATIVE_INTEGRATION})
ROUTES = frozenset({ROUTE, NATIVE_ROUTE})
STAGES = frozenset({STAGE, NATIVE_STAGE})

_PUT_EVENTS = "eventbridge-putevents"
_CONNECT = "$connect"
_PROOF = frozenset({"AWS_IAM", "CUSTOM", "JWT"})


def putevents_told(subject: Subject) -> Iterator[str]:
    """No integration of an HTTP API puts events itself."""
    if subject.type in INTEGRATIONS:
        subtype = subject.judge("integrationSubtype")
        if isinstance(subtype, str) and subtype.casefold() == _PUT_EVENTS:
            yield f"set integrationType to AWS_PROXY and integrationUri to a function that puts the event: {_UNTOLD}"
        return
    described = body(subject)
    if subject.get("bodyS3Location") is not MISSING:
        subject.decided("bodyS3Location")
        yield "give the document as body instead of bodyS3Location: what lies elsewhere, nobody can check here"
    if described.value is UNREADABLE:
        subject.decided("body")
        yield "write body as an OpenAPI document in JSON or YAML: what nobody can read, nobody can check"
    for operation in operations(described):
        subtype = _subtype(operation)
        if subtype.unknown:
            subject.deferred(subtype.path)
            continue
        subject.decided(subtype.path)
        if subtype.word.casefold() == _PUT_EVENTS:
            yield f"let {operation.integration.node} call a function that puts the event: {_UNTOLD}"


_UNTOLD = "PutEvents answers 200 for an entry that it did not take, and nothing here looks at it"


def _subtype(operation: Operation) -> Node:
    """The action of AWS that an HTTP API calls; documents have it under either name."""
    node = operation.integration.node
    named = node.at("integrationSubtype")
    return node.at("subtype") if named.missing else named


def _called(integration: Subject) -> Integration:
    """What an integration of a WebSocket API calls, in the words of REST APIs."""
    words = {"type": "integrationType", "uri": "integrationUri"}
    kept = {name: integration.get(name) for name in ("requestTemplates", "requestParameters")}
    said = {**{word: integration.get(name) for word, name in words.items()}, **kept}
    return Integration(node=Node((), {word: value for word, value in said.items() if value is not MISSING}))


def direct_guarded(stack: Stack) -> Iterator[tuple[Member, str]]:
    """What goes straight to a service asks who calls, and takes only so much."""
    direct = [integration for integration in stack.of(INTEGRATIONS) if _is_direct(integration)]
    described = [(api, list(_direct_operations(api))) for api in stack.of(APIS)]
    yield from _unasked(stack, direct)
    yield from _unconnected(stack, direct)
    for api, found in described:
        for operation in found:
            security = (*operation.node.path, "security")
            asked = operation.authorizations
            if UNKNOWN in asked:
                api.deferred(security)
                continue
            api.decided(security)
            if not asked & {"AWS_IAM", "COGNITO_USER_POOLS", "CUSTOM"}:
                yield api, f"set {operation.node}.security to a scheme that authorises: it calls an AWS service"
    for stage in stack.of(STAGES):
        served: set[Any] = {
            key
            for integration in direct
            if _same_api(stage, integration)
            for key in _route_keys(stack.of(ROUTES), integration)
        }
        served |= {operation.route for api, found in described if stage.refers_to("apiId", api) for operation in found}
        yield from ((stage, finding) for finding in _unlimited(stage, served))


def _unasked(stack: Stack, direct: list[Member]) -> Iterator[tuple[Member, str]]:
    for route in stack.of(ROUTES):
        if any(_asks_for(route, integration) for integration in direct):
            authorization = Node((), route.get(())).at("authorizationType")
            if route.judge("authorizationType") is not UNKNOWN and authorization.word not in _PROOF:
                yield route, "set authorizationType to AWS_IAM or CUSTOM or JWT: its integration calls an AWS service"


def _unconnected(stack: Stack, direct: list[Member]) -> Iterator[tuple[Member, str]]:
    """The routes of a WebSocket API that has no route that asks, and so lets anybody connect."""
    routes, apis = stack.of(ROUTES), stack.of(APIS)
    sockets = [integration for integration in direct if integration.get("integrationSubtype") is MISSING]
    for route in routes:
        # Of an API elsewhere, the route may be there.
        if not any(_leads_to(route, one) for one in sockets) or not any(route.refers_to("apiId", api) for api in apis):
            continue
        keys = [other.get("routeKey") for other in routes if _same_api(other, route)]
        if UNKNOWN in keys:
            route.deferred("routeKey")
            continue
        route.decided("routeKey")
        if _CONNECT not in keys:
            yield route, "add a route to the API with $connect as routeKey that asks who calls: as it is, anybody may"


def _route_keys(routes: list[Member], integration: Member) -> Iterator[Any]:
    """The keys of the routes that lead to it; UNKNOWN where one isn't known, or none leads to it for certain."""
    leading = [route for route in routes if _leads_to(route, integration)]
    keys = [route.get("routeKey") for route in leading]
    yield from (key if isinstance(key, str) else UNKNOWN for key in keys or [UNKNOWN])


_LIMITS = {"throttlingRateLimit": "maximumRate", "throttlingBurstLimit": "maximumBurst"}


def _unlimited(stage: Member, served: set[Any]) -> Iterator[str]:
    """What to change at the limits of these routes."""
    limits = {
        str(limit): (limit, stage.settings[most])
        for key in served
        for name, most in _LIMITS.items()
        for limit in [_limit(stage, key, name)]
    }
    for _, (limit, most) in sorted(limits.items()):
        yield from within_limit(stage, limit, most)


def _limit(stage: Member, key: Any, name: str) -> Node:
    """The limit that holds for a route: its own, or else that of the whole stage; unknown while it may have its own."""
    settings = Node((), stage.get(()))
    default = settings.at("defaultRouteSettings", name)
    own = [(of, limit) for of, limit in _own_limits(settings.at("routeSettings"), name) if not limit.missing]
    for of, limit in own:
        if of == key and key is not UNKNOWN:
            return limit
    may_have_own = default.missing and any(of is UNKNOWN for of, _ in own)
    return default._replace(value=UNKNOWN) if may_have_own else default


def _own_limits(routes: Node, name: str) -> Iterator[tuple[Any, Node]]:
    """What `routeSettings` says of a limit, by route: a list, or in aws-native an object in CloudFormation's words."""
    if routes.unknown:
        yield UNKNOWN, routes
    for key, settings in routes.members():
        if isinstance(key, str):
            limit = settings.at(name)
            yield key, settings.at(name[0].upper() + name[1:]) if limit.missing else limit
        else:
            of = settings.at("routeKey")
            yield UNKNOWN if of.unknown else of.value, settings.at(name)


def _is_direct(integration: Member) -> bool:
    """Whether it is known to call an AWS service other than Lambda."""
    return integration.get("integrationSubtype") is not MISSING or _called(integration).direct is True


def _direct_operations(api: Member) -> Iterator[Operation]:
    """Those that can be read, and are known to be direct."""
    for operation in operations(body(api)):
        if not (operation.node.unknown or _subtype(operation).missing or _subtype(operation).unknown):
            yield operation


def _asks_for(route: Member, integration: Member) -> bool:
    """Whether the route is where a caller of the integration proves something: to a WebSocket API when connecting."""
    if integration.get("integrationSubtype") is MISSING:
        return route.get("routeKey") == _CONNECT and _same_api(route, integration)
    return _leads_to(route, integration)


def _leads_to(route: Member, integration: Member) -> bool:
    """Whether the route's target, which is integrations/ and an id, is this one."""
    target, made = route.get("target"), integration.get("id")
    return route.refers_to("target", integration) is True or (
        isinstance(target, str) and isinstance(made, str) and target == f"integrations/{made}"
    )


def _same_api(one: Member, integration: Member) -> bool:
    """Whether both say the same API: an equal id, or while it is unknown, one that comes from the same resource."""
    ids = [member.get("apiId") for member in (one, integration)]
    if UNKNOWN not in ids:
        return ids[0] == ids[1]
    origins = [{origin.urn for origin in member.uses.get("apiId", ())} for member in (one, integration)]
    return bool(origins[0] & origins[1])


_DOCS = "https://docs.aws.amazon.com/apigateway/latest/developerguide"

RULES = (
    Rule(
        name="http-api-putevents-told",
        why="An HTTP API does not look at what PutEvents answers: a caller hears of success though the event is lost.",
        fix="Put the event by a function behind the API, which looks at FailedEntryCount, or by a REST API.",
        severity=Severity.HIGH,
        group=Group.GATEWAY,
        frameworks=(
            Control(framework="CWE", reference="252"),
            Control(framework="CWE", reference="393"),
        ),
        types=APIS | INTEGRATIONS,
        check=putevents_told,
        examined=Examined.IF_POSSIBLE,
        url=f"{_DOCS}/http-api-develop-integrations-aws-services-reference.html",
    ),
    StackRule(
        name="http-api-direct-guarded",
        why="Nobody gets from an HTTP or WebSocket API straight to an AWS service without proof, nor without a limit.",
        fix="Give the route an authorizer or AWS_IAM, and the stage a throttlingRateLimit and a throttlingBurstLimit.",
        severity=Severity.CRITICAL,
        group=Group.GATEWAY,
        frameworks=(
            Control(framework="OWASP API Security Top 10", version="2023", reference="API2"),
            Control(framework="OWASP API Security Top 10", version="2023", reference="API4"),
            Control(framework="CWE", reference="306"),
            Control(framework="CWE", reference="770"),
        ),
        types=APIS | ROUTES | STAGES,
        check=direct_guarded,
        settings={
            "maximumRate": Whole(default=10000, minimum=1, why="The highest rate: an account's, for all its APIs."),
            "maximumBurst": Whole(default=5000, minimum=1, why="The highest burst: an account's, for all its APIs."),
        },
        url=f"{_DOCS}/http-api-access-control.html",
    ),
)
