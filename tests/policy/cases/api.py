"""Methods and integrations of REST APIs: what is accepted, and the smallest changes that must be refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import contracts
from tests.policy.engine import NOT_YET, urn
from tests.policy.programs import Mutant, Program, Thing, put

AUTHORISED = "api-method-authorised"
VALIDATED = "api-request-validated"
CLOSED = "api-model-closed"
SAFE = "api-direct-integration-safe"
MAPPED = "api-putevents-failure-mapped"
COMPLETE = "api-direct-integration-complete"
POLICY = "api-policy-closed"

API, NATIVE_API = "aws:apigateway/restApi:RestApi", "aws-native:apigateway:RestApi"
IMPORT = "aws:apigateway/restApiPut:RestApiPut"
METHOD, NATIVE_METHOD = "aws:apigateway/method:Method", "aws-native:apigateway:Method"
INTEGRATION = "aws:apigateway/integration:Integration"
RESPONSE = "aws:apigateway/integrationResponse:IntegrationResponse"
VALIDATOR = "aws:apigateway/requestValidator:RequestValidator"
NATIVE_VALIDATOR = "aws-native:apigateway:RequestValidator"
MODEL, NATIVE_MODEL = "aws:apigateway/model:Model", "aws-native:apigateway:Model"
API_POLICY = "aws:apigateway/restApiPolicy:RestApiPolicy"

ALLOWED = "AWS_IAM or COGNITO_USER_POOLS or CUSTOM"
FIXED = r""".replaceAll("\\'","'")"""
PUT_EVENTS = "arn:aws:apigateway:eu-west-1:events:action/PutEvents"
BY_TARGET = "arn:aws:apigateway:eu-west-1:events:path//"
TARGET = "integration.request.header.X-Amz-Target"

REQUEST = contracts.confirm_request_template("orders")
ANSWER = """\
#set($failed = $input.json('$.FailedEntryCount'))
#if($failed != "0")#set($context.responseOverride.status = 502)#end
{"taken": "$context.requestId"}
"""
SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["order_id", "shipped_at"],
    "properties": {
        "order_id": {"type": "string", "pattern": "^[0-9a-f-]{36}$"},
        "shipped_at": {"type": "string", "maxLength": 35},
    },
}
ONE_ACCOUNT = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"AWS": "arn:aws:iam::111122223333:root"},
            "Action": "execute-api:Invoke",
            "Resource": "execute-api:/*",
        }
    ],
}
OPEN = {"Effect": "Allow", "Principal": "*", "Action": "execute-api:Invoke", "Resource": "execute-api:/*"}


def integration(**changes: Any) -> dict[str, Any]:
    """A PutEvents integration as a document or a provider spells it; its responses are added by the caller."""
    return {
        "type": "AWS",
        "uri": PUT_EVENTS,
        "credentials": "arn:aws:iam::111122223333:role/put-events",
        "passthroughBehavior": "NEVER",
        "requestTemplates": {"application/json": REQUEST},
        **changes,
    }


def responses() -> dict[str, Any]:
    return {
        r"2\d{2}": {"statusCode": "202", "responseTemplates": {"application/json": ANSWER}},
        "default": {"statusCode": "502"},
    }


def openapi() -> dict[str, Any]:
    """An API with one direct integration, in OpenAPI 3."""
    return {
        "openapi": "3.0.1",
        "paths": {
            "/confirm": {
                "post": {
                    "security": [{"signature": []}],
                    "x-amazon-apigateway-request-validator": "body",
                    "requestBody": {"content": {"application/json": {"schema": SCHEMA}}},
                    "x-amazon-apigateway-integration": {**integration(), "responses": responses()},
                }
            }
        },
        "components": {
            "securitySchemes": {"signature": {"type": "apiKey", "x-amazon-apigateway-authtype": "awsSigv4"}}
        },
        "x-amazon-apigateway-request-validators": {"body": {"validateRequestBody": True}},
    }


def swagger() -> dict[str, Any]:
    """The same in Swagger 2.0."""
    operation = openapi()["paths"]["/confirm"]["post"]
    del operation["requestBody"], operation["security"]
    return {
        "swagger": "2.0",
        "paths": {
            "/confirm": {
                "post": {
                    **operation,
                    "x-amazon-apigateway-auth": {"type": "aws_iam"},
                    "parameters": [{"name": "shipment", "in": "body", "schema": {"$ref": "#/definitions/Shipment"}}],
                }
            }
        },
        "definitions": {"Shipment": SCHEMA},
        "x-amazon-apigateway-request-validators": {"body": {"validateRequestBody": True}},
    }


def _of(type_: str, name: str, inputs: dict[str, Any], **uses: str) -> Thing:
    return Thing(type=type_, name=name, inputs=inputs, uses={prop: (other,) for prop, other in uses.items()})


def single() -> list[Thing]:
    """The direct integration as resources, of which nothing exists yet."""
    api, path = urn(API, "gateway"), urn("aws:apigateway/resource:Resource", "confirm")
    method, body = urn(METHOD, "confirm"), urn(VALIDATOR, "body")
    place = {"restApi": NOT_YET, "resourceId": NOT_YET, "httpMethod": NOT_YET}
    at = {"restApi": api, "resourceId": path}
    said = {
        "restApi": NOT_YET,
        "resourceId": NOT_YET,
        "httpMethod": "POST",
        "authorization": "AWS_IAM",
        "requestValidatorId": NOT_YET,
        "requestModels": {"application/json": "Shipment"},
    }
    taken = {"statusCode": "202", "selectionPattern": "200", "responseTemplates": {"application/json": ANSWER}}
    return [
        _of(API, "gateway", {"name": "gateway"}),
        _of("aws:apigateway/resource:Resource", "confirm", {"restApi": NOT_YET, "pathPart": "confirm"}, restApi=api),
        _of(METHOD, "confirm", said, **at, requestValidatorId=body, requestModels=urn(MODEL, "shipment")),
        _of(INTEGRATION, "confirm", {**place, **integration()}, **at, httpMethod=method),
        _of(RESPONSE, "taken", {**place, **taken}, **at, httpMethod=method),
        _of(RESPONSE, "refused", {**place, "statusCode": "502"}, **at, httpMethod=method),
        _of(VALIDATOR, "body", {"restApi": NOT_YET, "validateRequestBody": True}, restApi=api),
        _of(MODEL, "shipment", {"restApi": NOT_YET, "name": "Shipment", "schema": json.dumps(SCHEMA)}, restApi=api),
        _of(API_POLICY, "gateway", {"restApiId": NOT_YET, "policy": json.dumps(ONE_ACCOUNT)}, restApiId=api),
    ]


def native() -> list[Thing]:
    """The same of aws-native."""
    api, body = urn(NATIVE_API, "gateway"), urn(NATIVE_VALIDATOR, "body")
    answers = [
        {"statusCode": "202", "selectionPattern": "200", "responseTemplates": {"application/json": ANSWER}},
        {"statusCode": "502"},
    ]
    said = {
        "restApiId": NOT_YET,
        "resourceId": NOT_YET,
        "httpMethod": "POST",
        "authorizationType": "AWS_IAM",
        "requestValidatorId": NOT_YET,
        "requestModels": {"application/json": NOT_YET},
        "integration": integration(integrationResponses=answers),
    }
    uses = {"restApiId": api, "requestValidatorId": body, "requestModels": urn(NATIVE_MODEL, "shipment")}
    return [
        _of(NATIVE_API, "gateway", {"name": "gateway", "policy": ONE_ACCOUNT}),
        _of(NATIVE_METHOD, "confirm", said, **uses),
        _of(NATIVE_VALIDATOR, "body", {"restApiId": NOT_YET, "validateRequestBody": True}, restApiId=api),
        _of(NATIVE_MODEL, "shipment", {"restApiId": NOT_YET, "schema": SCHEMA}, restApiId=api),
    ]


OBJECT = "an OpenAPI object of aws-native"
SWAGGER = "an imported Swagger 2.0"
SINGLE = "a direct integration as resources"
NATIVE = "a direct integration as resources of aws-native"
FUNCTION = "a method with a Lambda authorizer"

BASES: dict[str, list[Thing]] = {
    OBJECT: [_of(NATIVE_API, "gateway", {"name": "gateway", "policy": ONE_ACCOUNT, "body": openapi()})],
    SWAGGER: [
        _of(
            IMPORT,
            "gateway",
            {"restApiId": NOT_YET, "body": json.dumps({**swagger(), "x-amazon-apigateway-policy": ONE_ACCOUNT})},
        )
    ],
    SINGLE: single(),
    NATIVE: native(),
    FUNCTION: [
        _of(METHOD, "read", {"httpMethod": "GET", "authorization": "CUSTOM", "authorizerId": NOT_YET}),
        _of(NATIVE_METHOD, "read", {"httpMethod": "GET", "authorizationType": "CUSTOM", "authorizerId": NOT_YET}),
    ],
}


def _open_method(place: str) -> str:
    return (
        f"set {place}.security to a scheme of {ALLOWED}: without it, or with one at the root of the document, "
        "everybody may call"
    )


FOR_EACH = "for each content type of the integration's requestTemplates: a body of another type is not validated"
VALIDATOR_NAMED = "x-amazon-apigateway-request-validator"
NO_VALIDATOR = "set requestValidatorId to a validator of the body"
NO_MODEL = f"give requestModels a model {FOR_EACH}"
CHECKS_NOTHING = "set validateRequestBody or validateRequestParameters to true: the validator checks nothing"


def never(place: str) -> str:
    return f"set {place} to NEVER (never in OpenAPI): a body of another type would be the call itself"


def unescaped(template: str) -> str:
    return (
        f"in {template}, put $util.escapeJavaScript(...){FIXED} around what comes from the request, once for each "
        "string around it, and take JSON inside a string from $input.json"
    )


def apostrophe(template: str) -> str:
    return f"in {template}, append {FIXED} to each escapeJavaScript(...): JSON knows no escaped apostrophe"


def literally(name: str, template: str) -> str:
    return f"write {name} literally in {template}: the caller would choose it"


def unread(template: str) -> str:
    return (
        f"write {template} with literal names, closed brackets, and no directives but #set, #if and #foreach: what "
        "cannot be followed, nobody can check"
    )


def failure(place: str) -> str:
    return f"set {place} to that of a failure: the response also answers when PutEvents refuses"


def untold(place: str) -> str:
    return f"add to {place} one for 200: a caller hears of a failure though the event is on the bus"


def look(place: str) -> str:
    return (
        f"look at FailedEntryCount in each of {place}, and set $context.responseOverride.status unless it is 0: "
        "PutEvents answers 200 even then"
    )


def open_policy(place: str, index: int = 0) -> str:
    return (
        f"say in Statement[{index}] of {place} whom it allows, or deny everybody else: "
        "as it is, every principal of the account is let in"
    )


CONFIRM = ("paths", "/confirm-shipment", "post")
ORDERS = ("paths", "/orders", "post")
INTEGRATED = "x-amazon-apigateway-integration"
DIRECT = (*CONFIRM, INTEGRATED)
SHIPMENT = ("paths", "/confirm", "post")


def at(*keys: str) -> str:
    """The place of the body of our own API, as messages spell it."""
    return ".".join(("body", *keys))


def _set(*keys: str, to: Any, type_: str = API) -> Callable[[Program], None]:
    """Put a value into the body of the one API of the type; a function makes it of the old one."""

    def change(document: dict[str, Any]) -> None:
        node = _parent(document, keys)
        node[keys[-1]] = to(node[keys[-1]]) if callable(to) else to

    return lambda program: program.edit(type_, None, "body", change)


def _drop(*keys: str, type_: str = API) -> Callable[[Program], None]:
    def change(document: dict[str, Any]) -> None:
        del _parent(document, keys)[keys[-1]]

    return lambda program: program.edit(type_, None, "body", change)


def _parent(node: dict[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    for key in keys[:-1]:
        node = node[key]
    return node


def _replaced(old: str, new: str) -> Callable[[str], str]:
    def change(text: str) -> str:
        assert old in text, old
        return text.replace(old, new)

    return change


TEMPLATE = (*DIRECT, "requestTemplates", "application/json")
# What a template must not do, by what is wrong with it, and what it does instead of ours.
TEMPLATES: dict[str, tuple[str, str, Callable[[str], str]]] = {
    "a field as it comes": (
        r"$util.escapeJavaScript($input.json('$.order_id')).replaceAll(" + r""""\\'","'")""",
        "$input.json('$.order_id')",
        unescaped,
    ),
    "text where JSON is written": ("$input.json('$.order_id')", "$input.path('$.order_id')", unescaped),
    "one escape in two strings": ("$util.escapeJavaScript($caller)", "$input.params('caller')", unescaped),
    "an apostrophe in the outer string": (
        "$util.escapeJavaScript($input.json('$.shipped_at'))" + FIXED,
        "$util.escapeJavaScript($input.json('$.shipped_at'))",
        apostrophe,
    ),
    "an apostrophe in the inner string": (
        "$util.escapeJavaScript($context.identity.userArn)" + FIXED,
        "$util.escapeJavaScript($context.identity.userAgent)",
        apostrophe,
    ),
    "a source of the caller's": (
        '"Source": "carrier"',
        """"Source": "$input.params('source')\"""",
        partial(literally, "Source"),
    ),
    "a source of the caller's in a map": (
        '"Source": "carrier"',
        """#set($e = {})#set($e.s = $input.params('source'))"Source": "$e.s\"""",
        partial(literally, "Source"),
    ),
    "a macro": ("#set($caller", "#macro(m)#end#set($caller", unread),
    "a detail-type of the caller's": (
        '"DetailType": "carrier.order_shipped"',
        """"DetailType": $input.json('$.type')""",
        partial(literally, "DetailType"),
    ),
}


def _templates() -> Iterator[Mutant]:
    for claim, (old, new, message) in TEMPLATES.items():
        place = at(*TEMPLATE)
        yield Mutant(rule=SAFE, claim=claim, change=_set(*TEMPLATE, to=_replaced(old, new)), message=message(place))
    classic = "requestTemplates.application/json"
    for type_, base, prefix in ((INTEGRATION, SINGLE, ""), (NATIVE_METHOD, NATIVE, "integration.")):
        yield Mutant(
            rule=SAFE,
            claim=f"text where JSON is written, at {type_}",
            base=base,
            change=partial(
                Program.put,
                type_=type_,
                name="confirm",
                place=f"{prefix}requestTemplates",
                value={
                    "application/json": _replaced("$input.json('$.order_id')", "$input.path('$.order_id')")(REQUEST)
                },
            ),
            message=unescaped(f"{prefix}{classic}"),
        )


def _integrations() -> Iterator[Mutant]:
    """The parts of a direct integration, in our body and as resources."""
    for claim, change, message in (
        ("passthrough", partial(_set, to="when_no_match"), never(at(*DIRECT, "passthroughBehavior"))),
        ("no passthrough said", _drop, never(at(*DIRECT, "passthroughBehavior"))),
    ):
        yield Mutant(rule=SAFE, claim=claim, change=change(*DIRECT, "passthroughBehavior"), message=message)
    role = "to the ARN of a role that may put events onto the bus and no more"
    yield Mutant(
        rule=SAFE,
        claim="no role",
        change=_drop(*DIRECT, "credentials"),
        message=f"set {at(*DIRECT, 'credentials')} {role}",
    )
    target = f"requestParameters.{TARGET}"
    yield Mutant(
        rule=SAFE,
        claim="an action of the caller's",
        change=_set(*DIRECT, "requestParameters", TARGET, to="method.request.header.action"),
        message=f"set {at(*DIRECT)}.{target} to a literal action: the caller would choose it",
    )
    for type_, base, prefix in ((INTEGRATION, SINGLE, ""), (NATIVE_METHOD, NATIVE, "integration.")):
        place = f"{prefix}passthroughBehavior"
        yield Mutant(
            rule=SAFE,
            claim=f"passthrough of {type_}",
            base=base,
            change=partial(Program.put, type_=type_, name="confirm", place=place, value="WHEN_NO_MATCH"),
            message=never(place),
        )
        yield Mutant(
            rule=SAFE,
            claim=f"no role of {type_}",
            base=base,
            change=partial(Program.drop, type_=type_, name="confirm", place=f"{prefix}credentials"),
            message=f"set {prefix}credentials {role}",
        )
    yield Mutant(
        rule=SAFE,
        claim="passthrough, with the action in a header",
        change=_set(
            *DIRECT,
            to=_by_target,
        ),
        message=never(at(*DIRECT, "passthroughBehavior")),
    )


def _by_target(old: dict[str, Any]) -> dict[str, Any]:
    return {**old, "uri": BY_TARGET, "passthroughBehavior": "when_no_templates", "requestTemplates": {}}


def _twice(templates: dict[str, Any]) -> dict[str, Any]:
    return {**templates, "text/plain": templates["application/json"]}


def _keyed(program: Program, *, type_: str, name: str) -> None:
    """Ask for an API key instead."""
    program.put(type_, "confirm", name, "NONE")
    program.put(type_, "confirm", "apiKeyRequired", value=True)


def _given(program: Program, *, type_: str, name: str, inputs: dict[str, Any]) -> None:
    """Other values of some properties."""
    program.replace(type_, name, {**program.only(type_, name).inputs, **inputs})


def _by_options(document: dict[str, Any]) -> None:
    path = document["paths"]["/confirm-shipment"]
    path["options"] = {**path.pop("post"), "security": []}


# What decides whether anybody reaches the API: a private one is called by those whom its policy names.
_REACH = ("endpointConfiguration",)


def _authorisation() -> Iterator[Mutant]:
    place = at(*ORDERS)
    for claim, change in (
        ("no security", _drop(*ORDERS, "security")),
        ("an empty list", _set(*ORDERS, "security", to=[])),
        ("or nothing at all", _set(*ORDERS, "security", to=[{"sigv4": []}, {}])),
        ("a scheme that is nowhere", _set(*ORDERS, "security", to=[{"signature": []}])),
        ("open by the extension", _set(*ORDERS, "x-amazon-apigateway-auth", to={"type": "none"})),
    ):
        yield Mutant(rule=AUTHORISED, claim=claim, change=change, message=_open_method(place), hinges=_REACH)

    def key(document: dict[str, Any]) -> None:
        document["components"]["securitySchemes"]["key"] = {"type": "apiKey", "in": "header", "name": "x-api-key"}
        document["paths"]["/orders"]["post"]["security"] = [{"key": []}]

    def root(document: dict[str, Any]) -> None:
        document["security"] = document["paths"]["/orders"]["post"].pop("security")

    yield Mutant(
        rule=AUTHORISED,
        claim="an API key alone",
        change=lambda program: program.edit(API, None, "body", key),
        message=_open_method(place),
        hinges=_REACH,
    )
    yield Mutant(
        rule=AUTHORISED,
        claim="security at the root",
        change=lambda program: program.edit(API, None, "body", root),
        message=_open_method(place),
        hinges=_REACH,
    )
    yield Mutant(
        rule=AUTHORISED,
        claim="a body that is no document",
        base=SWAGGER,
        change=partial(Program.put, type_=IMPORT, name=None, place="body", value="nothing"),
        message="write body as an OpenAPI document in JSON or YAML: what nobody can read, nobody can check",
    )
    for name, value in (("bodyS3Location", {"bucket": "documents", "key": "openapi.yaml"}), ("cloneFrom", "api")):
        yield Mutant(
            rule=AUTHORISED,
            claim=f"a document by {name}",
            base=NATIVE,
            change=partial(_given, type_=NATIVE_API, name="gateway", inputs={name: value}),
            message=f"give the document as body instead of {name}: what lies elsewhere, nobody can check here",
        )
    yield Mutant(
        rule=AUTHORISED,
        claim="a direct integration under OPTIONS",
        change=lambda program: program.edit(API, None, "body", _by_options),
        message=_open_method(at("paths", "/confirm-shipment", "options")),
        hinges=_REACH,
    )
    yield Mutant(
        rule=COMPLETE,
        claim="an exempt verb",
        base=SINGLE,
        change=partial(_given, type_=METHOD, name="confirm", inputs={"httpMethod": "OPTIONS", "authorization": "NONE"}),
        message=f"set authorization to {ALLOWED}: its integration calls an AWS service",
        hinges=("restApi", "resourceId", "apiKeyRequired"),
    )
    yield Mutant(
        rule=AUTHORISED,
        claim="a native object without security",
        base=OBJECT,
        change=partial(Program.drop, type_=NATIVE_API, name=None, place="body.paths./confirm.post.security"),
        message=_open_method("body.paths./confirm.post"),
        hinges=("body.paths./confirm",),
    )
    for type_, base, name in ((METHOD, SINGLE, "authorization"), (NATIVE_METHOD, NATIVE, "authorizationType")):
        yield Mutant(
            rule=AUTHORISED,
            claim=f"NONE at {type_}",
            base=base,
            change=partial(Program.put, type_=type_, name="confirm", place=name, value="NONE"),
            message=f"set {name} to {ALLOWED}",
            hinges=("httpMethod",),
        )
        yield Mutant(
            rule=AUTHORISED,
            claim=f"a key at {type_}",
            base=base,
            change=partial(_keyed, type_=type_, name=name),
            message=f"set {name} to {ALLOWED}",
            hinges=("httpMethod",),
        )
        yield Mutant(
            rule=AUTHORISED,
            claim=f"an authorizer that is nobody at {type_}",
            base=FUNCTION,
            change=partial(Program.drop, type_=type_, name="read", place="authorizerId"),
            message=f"set authorizerId: without it {name} names nobody who authorises",
            hinges=(name,),
        )


def _validation() -> Iterator[Mutant]:
    yield Mutant(
        rule=VALIDATED,
        claim="no validator",
        change=_drop(*CONFIRM, VALIDATOR_NAMED),
        message=f"name a validator of the body in {at(*CONFIRM, VALIDATOR_NAMED)}",
    )
    yield Mutant(
        rule=VALIDATED,
        claim="a validator of nothing that is in the body",
        change=_set(*CONFIRM, VALIDATOR_NAMED, to="parameters"),
        message="set body.x-amazon-apigateway-request-validators.parameters.validateRequestBody to true",
    )
    body = f"give the request body of {at(*CONFIRM)} a schema {FOR_EACH}"
    yield Mutant(rule=VALIDATED, claim="no body", change=_drop(*CONFIRM, "requestBody"), message=body)
    yield Mutant(
        rule=VALIDATED,
        claim="a second content type",
        change=_set(*DIRECT, "requestTemplates", to=_twice),
        message=body,
    )
    yield Mutant(
        rule=VALIDATED,
        claim="a model of Swagger that is not there",
        base=SWAGGER,
        change=_drop(*SHIPMENT, "parameters", type_=IMPORT),
        message=f"give the request body of body.paths./confirm.post a schema {FOR_EACH}",
    )
    yield Mutant(
        rule=VALIDATED,
        claim="a native object without a validator",
        base=OBJECT,
        change=partial(Program.drop, type_=NATIVE_API, name=None, place=f"body.paths./confirm.post.{VALIDATOR_NAMED}"),
        message=f"name a validator of the body in body.paths./confirm.post.{VALIDATOR_NAMED}",
        hinges=(f"body.paths./confirm.post.{INTEGRATED}.requestTemplates",),
    )
    for place, message in (("requestValidatorId", NO_VALIDATOR), ("requestModels", NO_MODEL)):
        yield Mutant(
            rule=VALIDATED,
            claim=f"no {place}",
            base=NATIVE,
            change=partial(Program.drop, type_=NATIVE_METHOD, name="confirm", place=place),
            message=message,
            hinges=("integration.requestTemplates",),
        )
        yield Mutant(
            rule=COMPLETE,
            claim=f"no {place}",
            base=SINGLE,
            change=partial(Program.drop, type_=METHOD, name="confirm", place=place),
            message=message,
            hinges=("restApi", "resourceId", "httpMethod"),
        )
    for type_, base, properties in ((VALIDATOR, SINGLE, "restApi"), (NATIVE_VALIDATOR, NATIVE, "restApiId")):
        yield Mutant(
            rule=VALIDATED,
            claim=f"{type_} that checks nothing",
            base=base,
            change=partial(
                Program.add, thing=_of(type_, "nothing", {properties: NOT_YET, "validateRequestBody": False})
            ),
            message=CHECKS_NOTHING,
        )
        yield Mutant(
            rule=COMPLETE,
            claim=f"{type_} of parameters alone",
            base=base,
            change=partial(
                Program.replace,
                type_=type_,
                name="body",
                inputs={properties: NOT_YET, "validateRequestBody": False, "validateRequestParameters": True},
            ),
            message="set validateRequestBody to true",
        )


# What a model must not let through: the place in it, what is there, and what to do there.
MODELS: dict[str, tuple[str, Any, str]] = {
    "more than it names": ("additionalProperties", True, "set {}.additionalProperties to false"),
    "nothing": ("required", [], "list in {}.required what the template needs"),
    "anything": ("type", None, "set {}.type"),
    "a string without an end": (
        "properties.order_id",
        {"type": "string"},
        "set {}.properties.order_id.maxLength to 65536 or less",
    ),
    "a string that is too long": (
        "properties.order_id.maxLength",
        65537,
        "set {}.properties.order_id.maxLength to 65536 or less",
    ),
    "a pattern that repeats": (
        "properties.order_id",
        {"type": "string", "pattern": "^[a-z]+$"},
        "set {}.properties.order_id.maxLength to 65536 or less",
    ),
    "a pattern without an anchor": (
        "properties.order_id",
        {"type": "string", "pattern": "^[a-z]{3}"},
        "set {}.properties.order_id.maxLength to 65536 or less",
    ),
    "a pattern of three or more": (
        "properties.order_id",
        {"type": "string", "pattern": "^[a-z]{3,}$"},
        "set {}.properties.order_id.maxLength to 65536 or less",
    ),
    "an object in it": (
        "properties.order_id",
        {"type": "object"},
        "set {}.properties.order_id.additionalProperties to false",
    ),
    "a list of anything": ("properties.order_id", {"type": "array"}, "set {}.properties.order_id.items.type"),
    "one of two": (
        "properties.order_id",
        {"oneOf": [{"type": "integer"}, {"type": "string"}]},
        "set {}.properties.order_id.oneOf[1].maxLength to 65536 or less",
    ),
}


def _models() -> Iterator[Mutant]:
    for claim, (place, value, message) in MODELS.items():
        wrong = put(SCHEMA, place, value)
        yield Mutant(
            rule=CLOSED,
            claim=claim,
            change=_set("components", "schemas", "ShipmentConfirmation", to=wrong),
            message=message.format("body.components.schemas.ShipmentConfirmation"),
        )
        yield Mutant(
            rule=COMPLETE,
            claim=claim,
            base=SINGLE,
            change=partial(Program.put, type_=MODEL, name="shipment", place="schema", value=json.dumps(wrong)),
            # A rule about several resources is not shown what is secret: it counts out what a document names.
            message=message.format("schema").replace("properties.order_id", "properties[0]"),
        )
    yield Mutant(
        rule=CLOSED,
        claim="more than a definition names",
        base=SWAGGER,
        change=_drop("definitions", "Shipment", "additionalProperties", type_=IMPORT),
        message="set body.definitions.Shipment.additionalProperties to false",
    )
    schema = "body.paths./confirm.post.requestBody.content.application/json.schema"
    yield Mutant(
        rule=CLOSED,
        claim="more than a native object names",
        base=OBJECT,
        change=lambda program: program.put(NATIVE_API, None, "body.paths./confirm.post.requestBody.content", _opened),
        message=f"set {schema}.additionalProperties to false",
        hinges=(f"{schema}.type", f"body.paths./confirm.post.{INTEGRATED}.requestTemplates"),
    )
    yield Mutant(
        rule=COMPLETE,
        claim="more than a native model names",
        base=NATIVE,
        change=partial(Program.drop, type_=NATIVE_MODEL, name="shipment", place="schema.additionalProperties"),
        message="set schema.additionalProperties to false",
        hinges=("schema.type",),
    )


def _opened(content: dict[str, Any]) -> dict[str, Any]:
    return {kind: {"schema": {**said["schema"], "additionalProperties": True}} for kind, said in content.items()}


def _failures_alone(responses: dict[str, Any]) -> dict[str, Any]:
    return {"default": responses["default"]}


def _failures() -> Iterator[Mutant]:
    answers = (*DIRECT, "responses")
    for claim, keys, to, message in (
        ("default is success", ("default", "statusCode"), 202, failure(at(*answers, "default", "statusCode"))),
        ("4xx is success", (r"4\d{2}", "statusCode"), "200", failure(at(*answers, r"4\d{2}", "statusCode"))),
        (
            "nothing of the answer is read",
            ("200", "responseTemplates"),
            {},
            look(at(*answers, "200", "responseTemplates")),
        ),
        (
            "only the status is set",
            ("200", "responseTemplates"),
            {"application/json": "## FailedEntryCount\n#set($context.responseOverride.status = 202)"},
            look(at(*answers, "200", "responseTemplates")),
        ),
        (
            "the count is told",
            ("200", "responseTemplates"),
            {"application/json": "{\"failed\": $input.json('$.FailedEntryCount')}"},
            look(at(*answers, "200", "responseTemplates")),
        ),
    ):
        yield Mutant(rule=MAPPED, claim=claim, change=_set(*answers, *keys, to=to), message=message)
    direct = "body.paths./confirm.post.x-amazon-apigateway-integration.responses"
    yield Mutant(
        rule=MAPPED,
        claim="default of a native object",
        base=OBJECT,
        change=partial(Program.put, type_=NATIVE_API, name=None, place=f"{direct}.default.statusCode", value="200"),
        message=failure(f"{direct}.default.statusCode"),
    )
    yield Mutant(
        rule=MAPPED,
        claim="default of Swagger",
        base=SWAGGER,
        change=_set(*SHIPMENT, INTEGRATED, "responses", "default", "statusCode", to=200, type_=IMPORT),
        message=failure(f"{direct}.default.statusCode"),
    )
    yield Mutant(
        rule=MAPPED,
        claim="default of a native method",
        base=NATIVE,
        change=partial(
            Program.put,
            type_=NATIVE_METHOD,
            name="confirm",
            place="integration.integrationResponses[1].statusCode",
            value="200",
        ),
        message=failure("integration.integrationResponses[1].statusCode"),
    )
    for type_, base, keys, index in (
        (API, "prod", DIRECT, 2),
        (IMPORT, SWAGGER, (*SHIPMENT, INTEGRATED), 0),
    ):
        yield Mutant(
            rule=COMPLETE,
            claim="no answer to success",
            base=base,
            change=_set(*keys, "responses", to=_failures_alone, type_=type_),
            message=untold(f"body.paths[{index}].post.{INTEGRATED}.responses"),
        )
    yield Mutant(
        rule=COMPLETE,
        claim="no answer of an object to success",
        base=OBJECT,
        change=partial(
            Program.put, type_=NATIVE_API, name=None, place=direct, value={"default": {"statusCode": "502"}}
        ),
        message=untold(f"body.paths[0].post.{INTEGRATED}.responses"),
    )
    yield Mutant(
        rule=COMPLETE,
        claim="no answer of a method to success",
        base=NATIVE,
        change=partial(
            Program.put,
            type_=NATIVE_METHOD,
            name="confirm",
            place="integration.integrationResponses",
            value=[{"statusCode": "502"}],
        ),
        message=untold("integration.integrationResponses"),
        hinges=("integration.type",),
    )
    hinges = ("restApi", "resourceId", "httpMethod")
    yield Mutant(
        rule=COMPLETE,
        claim="default is success",
        base=SINGLE,
        change=partial(Program.put, type_=RESPONSE, name="refused", place="statusCode", value="200"),
        message=failure("statusCode"),
        hinges=hinges,
    )
    yield Mutant(
        rule=COMPLETE,
        claim="nothing of the answer is read",
        base=SINGLE,
        change=partial(Program.drop, type_=RESPONSE, name="taken", place="responseTemplates"),
        message=look("responseTemplates"),
        hinges=(*hinges, "selectionPattern", "statusCode"),
    )


def _policies() -> Iterator[Mutant]:
    place = ("x-amazon-apigateway-policy",)

    def opened(policy: dict[str, Any]) -> dict[str, Any]:
        return {**policy, "Statement": [OPEN, *policy["Statement"][:1]]}

    def added(policy: dict[str, Any]) -> dict[str, Any]:
        return {**policy, "Statement": [*policy["Statement"], OPEN]}

    yield Mutant(rule=POLICY, claim="anybody", change=_set(*place, to=opened), message=open_policy(at(*place)))
    yield Mutant(
        rule=POLICY,
        claim="anybody but of some routes",
        change=_set(*place, to=added),
        message=open_policy(at(*place), 4),
    )
    everybody = {"Version": "2012-10-17", "Statement": [OPEN]}
    for type_, base, value in (
        (API_POLICY, SINGLE, json.dumps(everybody)),
        (NATIVE_API, NATIVE, everybody),
        (API, SINGLE, json.dumps(everybody)),
    ):
        yield Mutant(
            rule=POLICY,
            claim=f"anybody, in the policy of {type_}",
            base=base,
            change=partial(Program.put, type_=type_, name="gateway", place="policy", value=value),
            message=open_policy("policy"),
            hinges=("policy.Statement[0].Effect",) if type_ == NATIVE_API else (),
        )
    yield Mutant(
        rule=POLICY,
        claim="no policy",
        base=SINGLE,
        change=partial(Program.put, type_=API_POLICY, name="gateway", place="policy", value="nothing"),
        message="write policy as a policy document in JSON",
    )
    yield Mutant(
        rule=POLICY,
        claim="anybody, in Swagger",
        base=SWAGGER,
        change=_set(*place, to=everybody, type_=IMPORT),
        message=open_policy(at(*place)),
    )


def _elsewhere() -> Iterator[Mutant]:
    """The rules about integrations in Swagger and in native objects."""
    direct = "body.paths./confirm.post.x-amazon-apigateway-integration"
    yield Mutant(
        rule=SAFE,
        claim="passthrough of a native object",
        base=OBJECT,
        change=partial(Program.put, type_=NATIVE_API, name=None, place=f"{direct}.passthroughBehavior", value="x"),
        message=never(f"{direct}.passthroughBehavior"),
    )
    yield Mutant(
        rule=SAFE,
        claim="passthrough of Swagger",
        base=SWAGGER,
        change=_drop(*SHIPMENT, INTEGRATED, "passthroughBehavior", type_=IMPORT),
        message=never(f"{direct}.passthroughBehavior"),
    )


MUTANTS = [
    *_authorisation(),
    *_validation(),
    *_models(),
    *_integrations(),
    *_templates(),
    *_elsewhere(),
    *_failures(),
    *_policies(),
]
