"""HTTP and WebSocket APIs with direct integrations: what is accepted, and the smallest changes that must be refused."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from functools import partial
from typing import Any

from tests.policy.engine import NOT_YET, urn
from tests.policy.programs import Mutant, Program, Thing

TOLD = "http-api-putevents-told"
GUARDED = "http-api-direct-guarded"

API, NATIVE_API = "aws:apigatewayv2/api:Api", "aws-native:apigatewayv2:Api"
INTEGRATION, NATIVE_INTEGRATION = "aws:apigatewayv2/integration:Integration", "aws-native:apigatewayv2:Integration"
ROUTE, NATIVE_ROUTE = "aws:apigatewayv2/route:Route", "aws-native:apigatewayv2:Route"
STAGE, NATIVE_STAGE = "aws:apigatewayv2/stage:Stage", "aws-native:apigatewayv2:Stage"

LIMITS = {"throttlingRateLimit": 50, "throttlingBurstLimit": 100}


def openapi(subtype: str = "SQS-SendMessage") -> dict[str, Any]:
    """An HTTP API with a route to a queue and one to a function."""
    direct = {
        "type": "aws_proxy",
        "integrationSubtype": subtype,
        "credentials": "arn:aws:iam::111122223333:role/send",
        "payloadFormatVersion": "1.0",
        "requestParameters": {"QueueUrl": "https://sqs.example", "MessageBody": "$request.body"},
    }
    return {
        "openapi": "3.0.1",
        "paths": {
            "/confirm": {"post": {"security": [{"login": []}], "x-amazon-apigateway-integration": direct}},
            "/orders": {"get": {"x-amazon-apigateway-integration": {"type": "aws_proxy", "uri": "arn:function"}}},
        },
        "components": {
            "securitySchemes": {
                "login": {"type": "oauth2", "x-amazon-apigateway-authorizer": {"type": "jwt", "jwtConfiguration": {}}}
            }
        },
    }


def _of(type_: str, name: str, inputs: dict[str, Any], **uses: str) -> Thing:
    return Thing(type=type_, name=name, inputs=inputs, uses={prop: (other,) for prop, other in uses.items()})


def single(*, native: bool) -> list[Thing]:
    """The same as resources, of which nothing exists yet."""
    api_type, integration, route, stage = (
        (NATIVE_API, NATIVE_INTEGRATION, NATIVE_ROUTE, NATIVE_STAGE) if native else (API, INTEGRATION, ROUTE, STAGE)
    )
    api = urn(api_type, "gateway")
    direct = {
        "apiId": NOT_YET,
        "integrationType": "AWS_PROXY",
        "integrationSubtype": "SQS-SendMessage",
        "credentialsArn": "arn:aws:iam::111122223333:role/send",
        "requestParameters": {"QueueUrl": "https://sqs.example", "MessageBody": "$request.body"},
    }
    called = {"apiId": NOT_YET, "integrationType": "AWS_PROXY", "integrationUri": NOT_YET}
    confirm = {"apiId": NOT_YET, "routeKey": "POST /confirm", "authorizationType": "JWT", "target": NOT_YET}
    read = {"apiId": NOT_YET, "routeKey": "GET /orders", "target": NOT_YET}
    return [
        _of(api_type, "gateway", {"name": "gateway", "protocolType": "HTTP"}),
        _of(integration, "confirm", direct, apiId=api),
        _of(integration, "read", called, apiId=api),
        _of(route, "confirm", confirm, apiId=api, target=urn(integration, "confirm")),
        _of(route, "read", read, apiId=api, target=urn(integration, "read")),
        _of(stage, "all", {"apiId": NOT_YET, "defaultRouteSettings": LIMITS}, apiId=api),
        _of(stage, "another", {"apiId": NOT_YET}, apiId=urn(api_type, "another")),
        _of(api_type, "another", {"name": "another", "protocolType": "HTTP"}),
    ]


def websocket() -> list[Thing]:
    """A WebSocket API whose messages go into a queue; only connecting asks who calls."""
    api = urn(API, "socket")
    sent = {
        "apiId": NOT_YET,
        "integrationType": "AWS",
        "integrationUri": "arn:aws:apigateway:eu-west-1:sqs:action/SendMessage",
        "requestTemplates": {"$default": "Action=SendMessage&MessageBody=$util.urlEncode($input.body)"},
    }
    return [
        _of(API, "socket", {"name": "socket", "protocolType": "WEBSOCKET"}),
        _of(INTEGRATION, "send", sent, apiId=api),
        _of(ROUTE, "connect", {"apiId": NOT_YET, "routeKey": "$connect", "authorizationType": "AWS_IAM"}, apiId=api),
        _of(
            ROUTE,
            "send",
            {"apiId": NOT_YET, "routeKey": "$default", "target": NOT_YET},
            apiId=api,
            target=urn(INTEGRATION, "send"),
        ),
        _of(STAGE, "all", {"apiId": NOT_YET, "defaultRouteSettings": LIMITS}, apiId=api),
    ]


def limited_by_route(*, native: bool) -> list[Thing]:
    """An HTTP API whose one direct route has limits of its own."""
    stage, key = (NATIVE_STAGE if native else STAGE), "POST /confirm"
    own: Any = {key: {name[0].upper() + name[1:]: value for name, value in LIMITS.items()}}
    settings = own if native else [{"routeKey": "GET /orders"}, {"routeKey": key, **LIMITS}]
    return [
        dataclasses.replace(thing, inputs={"apiId": NOT_YET, "routeSettings": settings})
        if thing.type == stage and thing.name == "all"
        else thing
        for thing in single(native=native)
    ]


SINGLE, NATIVE = "an HTTP API with a queue as resources", "an HTTP API with a queue as resources of aws-native"
TEXT, OBJECT = "an HTTP API with a queue in a document", "an HTTP API with a queue in an object of aws-native"
SOCKET = "a WebSocket API with a queue"
BY_ROUTE, NATIVE_BY_ROUTE = "an HTTP API with limits by route", "an HTTP API of aws-native with limits by route"

BASES: dict[str, list[Thing]] = {
    SINGLE: single(native=False),
    NATIVE: single(native=True),
    TEXT: [
        _of(API, "gateway", {"name": "gateway", "protocolType": "HTTP", "body": json.dumps(openapi())}),
        _of(STAGE, "all", {"apiId": NOT_YET, "defaultRouteSettings": LIMITS}, apiId=urn(API, "gateway")),
    ],
    OBJECT: [
        _of(NATIVE_API, "gateway", {"body": openapi()}),
        _of(NATIVE_STAGE, "all", {"apiId": NOT_YET, "defaultRouteSettings": LIMITS}, apiId=urn(NATIVE_API, "gateway")),
    ],
    SOCKET: websocket(),
    BY_ROUTE: limited_by_route(native=False),
    NATIVE_BY_ROUTE: limited_by_route(native=True),
}

UNTOLD = "PutEvents answers 200 for an entry that it did not take, and nothing here looks at it"
BY_FUNCTION = f"set integrationType to AWS_PROXY and integrationUri to a function that puts the event: {UNTOLD}"
OPEN = "set authorizationType to AWS_IAM or CUSTOM or JWT: its integration calls an AWS service"
NOT_CONNECTED = "add a route to the API with $connect as routeKey that asks who calls: as it is, anybody may"
ELSEWHERE = "give the document as body instead of bodyS3Location: what lies elsewhere, nobody can check here"
NO_DOCUMENT = "write body as an OpenAPI document in JSON or YAML: what nobody can read, nobody can check"
DIRECT = "body.paths./confirm.post.x-amazon-apigateway-integration"


def by_function(place: str) -> str:
    return f"let {place} call a function that puts the event: {UNTOLD}"


def unlimited(name: str) -> str:
    return f"set defaultRouteSettings.{name}: without it only the limit that the account's APIs share is left"


def _putting() -> Iterator[Mutant]:
    for type_, base in ((INTEGRATION, SINGLE), (NATIVE_INTEGRATION, NATIVE)):
        yield Mutant(
            rule=TOLD,
            claim=f"an event of {type_}",
            base=base,
            change=partial(
                Program.put, type_=type_, name="confirm", place="integrationSubtype", value="EventBridge-PutEvents"
            ),
            message=BY_FUNCTION,
        )
    yield Mutant(
        rule=TOLD,
        claim="an event of a document",
        base=TEXT,
        change=partial(
            Program.put, type_=API, name=None, place="body", value=json.dumps(openapi("EventBridge-PutEvents"))
        ),
        message=by_function(DIRECT),
    )
    yield Mutant(
        rule=TOLD,
        claim="an event of an object",
        base=OBJECT,
        change=partial(
            Program.put,
            type_=NATIVE_API,
            name=None,
            place=f"{DIRECT}.integrationSubtype",
            value="eventbridge-putevents",
        ),
        message=by_function(DIRECT),
    )
    yield Mutant(
        rule=TOLD,
        claim="a document that is none",
        base=TEXT,
        change=partial(Program.put, type_=API, name=None, place="body", value="nothing"),
        message=NO_DOCUMENT,
    )
    yield Mutant(
        rule=TOLD,
        claim="a document in S3",
        base=OBJECT,
        change=partial(Program.replace, type_=NATIVE_API, name=None, inputs={"bodyS3Location": {"bucket": "b"}}),
        message=ELSEWHERE,
    )


def _open(document: dict[str, Any]) -> None:
    del document["paths"]["/confirm"]["post"]["security"]


def _guarded() -> Iterator[Mutant]:
    for type_, base in ((ROUTE, SINGLE), (NATIVE_ROUTE, NATIVE)):
        for claim, value in (("no proof", "NONE"), ("nothing said", None)):
            yield Mutant(
                rule=GUARDED,
                claim=f"{claim} at {type_}",
                base=base,
                change=partial(Program.put, type_=type_, name="confirm", place="authorizationType", value=value),
                message=OPEN,
            )
    yield Mutant(
        rule=GUARDED,
        claim="anybody may connect",
        base=SOCKET,
        change=partial(Program.drop, type_=ROUTE, name="connect", place="authorizationType"),
        message=OPEN,
        hinges=("routeKey",),
    )
    yield Mutant(
        rule=GUARDED,
        claim="a WebSocket API to which everybody connects unasked",
        base=SOCKET,
        change=partial(Program.remove, type_=ROUTE, name="connect"),
        message=NOT_CONNECTED,
        at=(ROUTE, "send"),
        hinges=("apiId", "routeKey", "target"),
    )
    place = "body.paths[0].post.security"
    message = f"set {place} to a scheme that authorises: it calls an AWS service"
    yield Mutant(
        rule=GUARDED,
        claim="an open route of a document",
        base=TEXT,
        change=lambda program: program.edit(API, None, "body", _open),
        message=message,
    )
    yield Mutant(
        rule=GUARDED,
        claim="an open route of an object",
        base=OBJECT,
        change=partial(Program.put, type_=NATIVE_API, name=None, place="body.paths./confirm.post.security", value=[{}]),
        message=message,
        hinges=(f"{DIRECT}.integrationSubtype",),
    )
    for type_, base in (
        (STAGE, SINGLE),
        (NATIVE_STAGE, NATIVE),
        (STAGE, TEXT),
        (NATIVE_STAGE, OBJECT),
        (STAGE, SOCKET),
    ):
        for name in LIMITS:
            yield Mutant(
                rule=GUARDED,
                claim=f"no {name}",
                base=base,
                change=partial(Program.drop, type_=type_, name="all", place=f"defaultRouteSettings.{name}"),
                message=unlimited(name),
            )
    yield Mutant(
        rule=GUARDED,
        claim="a rate beyond the account's",
        base=SINGLE,
        change=partial(
            Program.put, type_=STAGE, name="all", place="defaultRouteSettings.throttlingRateLimit", value=10001
        ),
        message="lower defaultRouteSettings.throttlingRateLimit to 10000 or less",
    )


def _limited() -> Iterator[Mutant]:
    for base, type_, own, at in (
        (BY_ROUTE, STAGE, "routeSettings[1].throttlingRateLimit", "routeSettings[1].throttlingRateLimit"),
        (
            NATIVE_BY_ROUTE,
            NATIVE_STAGE,
            "routeSettings.POST /confirm.ThrottlingRateLimit",
            "routeSettings[0].ThrottlingRateLimit",
        ),
    ):
        yield Mutant(
            rule=GUARDED,
            claim="a route's rate beyond the account's",
            base=base,
            change=partial(Program.put, type_=type_, name="all", place=own, value=10001),
            message=f"lower {at} to 10000 or less",
            hinges=("routeSettings[1].routeKey",),
        )
        yield Mutant(
            rule=GUARDED,
            claim="a route without a rate, in a stage without one",
            base=base,
            change=partial(Program.drop, type_=type_, name="all", place=own),
            message=unlimited("throttlingRateLimit"),
            hinges=("routeSettings[0]",),
        )


MUTANTS = [*_putting(), *_guarded(), *_limited()]
