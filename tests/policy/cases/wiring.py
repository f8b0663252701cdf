"""Emitters, rules and targets: what fits together, and the smallest changes after which it doesn't."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import contracts
from tests.graph import ACCOUNT, REGION
from tests.policy.cases import routing
from tests.policy.cases.routing import NATIVE_RULE, RULE, TARGET
from tests.policy.engine import NOT_YET
from tests.policy.programs import Mutant, Program, Thing, put

WIRING = "event-wiring"
PIPE, NATIVE_PIPE = "aws:pipes/pipe:Pipe", "aws-native:pipes:Pipe"
REST_API, NATIVE_REST_API = "aws:apigateway/restApi:RestApi", "aws-native:apigateway:RestApi"
IMPORT = "aws:apigateway/restApiPut:RestApiPut"
INTEGRATION, NATIVE_METHOD = "aws:apigateway/integration:Integration", "aws-native:apigateway:Method"

_ROLE = f"arn:aws:iam::{ACCOUNT}:role/emitter"
_CONTENT = {"application/json": contracts.confirm_request_template("orders")}
_FAILED = '#set($context.responseOverride.status = 502){"message": "The confirmation was not taken"}'
_TAKEN = f'#if($input.path(\'$.FailedEntryCount\') == 0){{"status": "accepted"}}#else{_FAILED}#end'
_MODEL = {
    "type": "object",
    "additionalProperties": False,
    "required": ["order_id"],
    "properties": {"order_id": {"type": "string", "maxLength": 36}},
}


def body() -> dict[str, Any]:
    """Our own API, for this bus."""
    return contracts.openapi(
        title="orders",
        region=REGION,
        partition="aws",
        bus_name="orders",
        orders_function_arn=f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:orders",
        put_events_role_arn=_ROLE,
        carriers=["acme"],
        resource_policy={"Version": "2012-10-17", "Statement": []},
    )


def _call() -> dict[str, Any]:
    """The same integration as a resource has it."""
    return {
        "type": "AWS",
        "integrationHttpMethod": "POST",
        "uri": f"arn:aws:apigateway:{REGION}:events:action/PutEvents",
        "credentials": _ROLE,
        "passthroughBehavior": "NEVER",
        "requestTemplates": dict(_CONTENT),
    }


def _responses() -> list[dict[str, Any]]:
    failed = {"application/json": _FAILED}
    return [
        {"statusCode": "202", "selectionPattern": "200", "responseTemplates": {"application/json": _TAKEN}},
        {"statusCode": "503", "responseTemplates": failed},
    ]


def _method() -> dict[str, Any]:
    return {
        "restApiId": "a1b2c3",
        "resourceId": "d4e5f6",
        "httpMethod": "POST",
        "requestValidatorId": "g7h8i9",
        "requestModels": {"application/json": "Confirmation"},
    }


def _pipe(template: str, *, classic: bool) -> dict[str, Any]:
    """A pipe from a table's stream to the bus."""
    stream = "dynamodbStreamParameters" if classic else "dynamoDbStreamParameters"
    bus = "eventbridgeEventBusParameters" if classic else "eventBridgeEventBusParameters"
    return {
        "name": "orders",
        "roleArn": _ROLE,
        "source": f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/orders/stream/2026-01-01T00:00:00.000",
        "sourceParameters": {
            "filterCriteria": {"filters": [{"pattern": contracts.pipe_filter()}]},
            stream: {
                "startingPosition": "TRIM_HORIZON",
                "batchSize": 10,
                "maximumRetryAttempts": 185,
                "maximumRecordAgeInSeconds": 72000,
                "onPartialBatchItemFailure": "AUTOMATIC_BISECT",
                "deadLetterConfig": {"arn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:letters"},
            },
        },
        "target": f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus/orders",
        "targetParameters": {
            "inputTemplate": template,
            bus: {
                "source": contracts.ORDER_CREATED.source,
                "detailType": contracts.ORDER_CREATED.detail_type,
            },
        },
        "desiredState": "RUNNING",
        "logConfiguration": {
            "level": "ERROR",
            "cloudwatchLogsLogDestination": {"logGroupArn": f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:pipe"},
        },
    }


def _taking(*types: contracts.EventType) -> list[Thing]:
    """The native bus, and its rule for these events."""
    things = routing.BASES[routing.NATIVE]
    pattern = {"source": [one.source for one in types], "detail-type": [one.detail_type for one in types]}
    return [
        Thing(type=thing.type, name=thing.name, inputs=put(thing.inputs, "eventPattern", pattern))
        if thing.type == NATIVE_RULE
        else thing
        for thing in things
    ]


CLASSIC_PIPED, PIPED = "a classic pipe", "a pipe"
OPENAPI, METHOD, CALL = "a native API of one body", "a native method", "an integration"
IMPORTED = "an API whose body is imported"

BASES: dict[str, list[Thing]] = {
    CLASSIC_PIPED: [
        *_taking(contracts.ORDER_CREATED),
        Thing(type=PIPE, name="orders", inputs=_pipe(contracts.pipe_input_template(), classic=True)),
    ],
    OPENAPI: [
        *_taking(contracts.ORDER_SHIPPED),
        Thing(type=NATIVE_REST_API, name="api", inputs={"name": "orders", "body": json.dumps(body())}),
    ],
    IMPORTED: [
        *_taking(contracts.ORDER_SHIPPED),
        Thing(type=IMPORT, name="api", inputs={"restApi": NOT_YET, "body": json.dumps(body())}),
    ],
    METHOD: [
        *_taking(contracts.ORDER_SHIPPED),
        Thing(
            type=NATIVE_METHOD,
            name="confirm",
            inputs={
                **_method(),
                "authorizationType": "AWS_IAM",
                "integration": {**_call(), "integrationResponses": _responses()},
            },
        ),
    ],
    CALL: [
        *_taking(contracts.ORDER_SHIPPED),
        Thing(
            type="aws:apigateway/method:Method",
            name="confirm",
            inputs={
                **{name.replace("restApiId", "restApi"): value for name, value in _method().items()},
                "authorization": "AWS_IAM",
            },
        ),
        Thing(
            type=INTEGRATION,
            name="confirm",
            inputs={"restApi": "a1b2c3", "resourceId": "d4e5f6", "httpMethod": "POST", **_call()},
        ),
        *(
            Thing(
                type="aws:apigateway/integrationResponse:IntegrationResponse",
                name=response["statusCode"],
                inputs={"restApi": "a1b2c3", "resourceId": "d4e5f6", "httpMethod": "POST", **response},
            )
            for response in _responses()
        ),
    ],
}

NOBODY = "name a source and a detail-type in eventPattern that somebody emits whom the bus admits"
NO_TARGET = "give the rule a target: nobody gets the events that it takes"
OTHER_BUS = "set eventBusName to that of the rule: AWS looks for the rule on that bus only"


def lost(where: str) -> str:
    """What the rule says to an emitter."""
    return f"name a source and a detail-type in {where} that an enabled rule on the bus takes, or add that rule"


def respelled(text: str) -> str:
    """A template whose events are spelled in another way."""
    return text.replace(json.dumps(contracts.ORDER_SHIPPED.source), '"carriers"')


def _other_source(document: dict[str, Any]) -> None:
    templates = document["paths"]["/confirm-shipment"]["post"]["x-amazon-apigateway-integration"]["requestTemplates"]
    templates["application/json"] = respelled(templates["application/json"])


def _other_detail_type(document: dict[str, Any]) -> None:
    templates = document["paths"]["/confirm-shipment"]["post"]["x-amazon-apigateway-integration"]["requestTemplates"]
    text = templates["application/json"].replace(json.dumps(contracts.ORDER_SHIPPED.detail_type), '"shiped"')
    templates["application/json"] = text.replace(json.dumps(contracts.ORDER_SHIPPED.source), '"$stageVariables.source"')


def _other_bus(document: dict[str, Any]) -> None:
    templates = document["paths"]["/confirm-shipment"]["post"]["x-amazon-apigateway-integration"]["requestTemplates"]
    text = templates["application/json"]
    templates["application/json"] = text.replace("-orders", "-order")


def _pattern(field: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda pattern: pattern.update({field: value})


OPENAPI_AT = "body.paths[2].post.x-amazon-apigateway-integration.requestTemplates"
CLASSIC_PIPE_AT = "targetParameters.eventbridgeEventBusParameters"
NATIVE_PIPE_AT = "targetParameters.eventBridgeEventBusParameters"

MUTANTS = [
    Mutant(
        rule=WIRING,
        claim="a pipe's detail-type that no rule takes",
        change=lambda p: p.put(NATIVE_PIPE, None, f"{NATIVE_PIPE_AT}.detailType", "dynamodb-order-stream"),
        message=lost(NATIVE_PIPE_AT),
    ),
    Mutant(
        rule=WIRING,
        claim="an imported detail-type that no rule takes, of whatever source",
        base=IMPORTED,
        change=lambda p: p.edit(IMPORT, None, "body", _other_detail_type),
        message=lost(OPENAPI_AT),
    ),
    Mutant(
        rule=WIRING,
        claim="a rule that is disabled",
        base=METHOD,
        change=lambda p: p.put(NATIVE_RULE, None, "state", "DISABLED"),
        message=lost("integration.requestTemplates"),
        at=(NATIVE_METHOD, "confirm"),
        hinges=("integration",),
    ),
    Mutant(
        rule=WIRING,
        claim="a classic pipe's source that no rule takes",
        base=CLASSIC_PIPED,
        change=lambda p: p.put(PIPE, None, f"{CLASSIC_PIPE_AT}.source", "dynamodb.order"),
        message=lost(CLASSIC_PIPE_AT),
        hinges=("target",),
    ),
    Mutant(
        rule=WIRING,
        claim="an API's source that no rule takes",
        change=lambda p: p.edit(REST_API, None, "body", _other_source),
        message=lost(OPENAPI_AT),
    ),
    Mutant(
        rule=WIRING,
        claim="a native API's source that no rule takes",
        base=OPENAPI,
        change=lambda p: p.edit(NATIVE_REST_API, None, "body", _other_source),
        message=lost(OPENAPI_AT),
    ),
    Mutant(
        rule=WIRING,
        claim="an imported source that no rule takes",
        base=IMPORTED,
        change=lambda p: p.edit(IMPORT, None, "body", _other_source),
        message=lost(OPENAPI_AT),
    ),
    Mutant(
        rule=WIRING,
        claim="a native method's source that no rule takes",
        base=METHOD,
        change=lambda p: p.put(NATIVE_METHOD, None, "integration.requestTemplates.application/json", respelled),
        message=lost("integration.requestTemplates"),
    ),
    Mutant(
        rule=WIRING,
        claim="an integration's source that no rule takes",
        base=CALL,
        change=lambda p: p.put(INTEGRATION, None, "requestTemplates.application/json", respelled),
        message=lost("requestTemplates"),
    ),
    Mutant(
        rule=WIRING,
        claim="a source that nobody emits",
        change=lambda p: p.edit(RULE, "acme-orders", "eventPattern", _pattern("source", ["dynamodb.order"])),
        message=NOBODY,
        hinges=("eventBusName",),
    ),
    Mutant(
        rule=WIRING,
        claim="a detail-type that nobody emits",
        change=lambda p: p.edit(RULE, "acme-confirm", "eventPattern", _pattern("detail-type", ["order_shipped"])),
        message=NOBODY,
        hinges=("eventBusName",),
    ),
    Mutant(
        rule=WIRING,
        claim="a misspelt bus, so that its rule waits in vain",
        base="dev",
        change=lambda p: p.edit(REST_API, None, "body", _other_bus),
        message=NOBODY,
        at=(RULE, "acme-confirm"),
        hinges=("eventPattern", "eventBusName"),
    ),
    Mutant(
        rule=WIRING,
        claim="a rule without a target",
        change=partial(Program.remove, type_=TARGET, name="acme-confirm"),
        message=NO_TARGET,
        at=(RULE, "acme-confirm"),
        hinges=("state",),
    ),
    Mutant(
        rule=WIRING,
        claim="a native rule without targets",
        base=routing.NATIVE,
        change=lambda p: p.drop(NATIVE_RULE, "orders", "targets"),
        message=NO_TARGET,
    ),
    Mutant(
        rule=WIRING,
        claim="a native rule with no target",
        base=routing.NATIVE,
        change=lambda p: p.put(NATIVE_RULE, "orders", "targets", []),
        message=NO_TARGET,
    ),
    Mutant(
        rule=WIRING,
        claim="a target on the default bus",
        change=lambda p: p.drop(TARGET, "acme-orders", "eventBusName"),
        message=OTHER_BUS,
    ),
    Mutant(
        rule=WIRING,
        claim="a target on another bus",
        base=routing.DEFAULT,
        change=lambda p: p.put(TARGET, "uploads", "eventBusName", "orders"),
        message=OTHER_BUS,
        hinges=("rule",),
    ),
]
