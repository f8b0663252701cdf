"""REST APIs: what is accepted in either spelling, what settings change, and what is only known later."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
import yaml

from policy.rules import api
from tests.conftest import STACKS
from tests.policy.cases.api import (
    ALLOWED,
    API,
    API_POLICY,
    AUTHORISED,
    BASES,
    BY_TARGET,
    CLOSED,
    COMPLETE,
    IMPORT,
    INTEGRATION,
    MAPPED,
    METHOD,
    MODEL,
    NATIVE,
    NATIVE_API,
    NATIVE_METHOD,
    NATIVE_MODEL,
    NATIVE_VALIDATOR,
    OBJECT,
    OPEN,
    POLICY,
    REQUEST,
    RESPONSE,
    SAFE,
    SCHEMA,
    SINGLE,
    TARGET,
    VALIDATED,
    VALIDATOR,
    failure,
    literally,
    look,
    never,
    open_policy,
    openapi,
    swagger,
    unescaped,
    untold,
)
from tests.policy.engine import NOT_YET, Engine
from tests.policy.programs import Program, Thing, own, places, put, run
from tests.policy.suite import said as stack_said

RULES = [rule.name for rule in api.RULES]
PLACE = "body.paths./confirm.post"
DIRECT = f"{PLACE}.x-amazon-apigateway-integration"
PATH = ("paths", "/confirm", "post")
DYNAMODB = "arn:aws:apigateway:eu-west-1:dynamodb:action/GetItem"
LAMBDA = (
    "arn:aws:apigateway:eu-west-1:lambda:path/2015-03-31/functions/arn:aws:lambda:eu-west-1:1:function:f/invocations"
)


def changed(document: dict[str, Any], *keys: str, to: Any) -> dict[str, Any]:
    """A copy with another value at the place; None leaves it out."""
    document = json.loads(json.dumps(document))
    node = document
    for key in keys[:-1]:
        node = node.setdefault(key, {})
    if to is None:
        del node[keys[-1]]
    else:
        node[keys[-1]] = to
    return document


def said(type_: str, inputs: dict[str, Any], config: dict[str, Any] | None = None) -> dict[str, list[str]]:
    """What the rules about APIs say to a resource."""
    engine = Engine([policy for policy in Engine().rules if policy.name in RULES]).configure(config or {})
    return engine.register(type_, inputs).violations


def of(document: dict[str, Any] | str, config: dict[str, Any] | None = None) -> dict[str, list[str]]:
    """What they say to an API with this body; as text, and as an object if it is one."""
    text = document if isinstance(document, str) else json.dumps(document)
    found = said(API, {"body": text}, config)
    if isinstance(document, dict):
        assert said(NATIVE_API, {"body": document}, config) == found
    return found


def decided(type_: str, inputs: dict[str, Any], rule: str) -> tuple[set[str], set[str]]:
    engine = Engine()
    engine.register(type_, inputs)
    verdict = engine.verdict(rule, type_)
    return verdict.decided, verdict.deferred


def open_method(allowed: str) -> str:
    return (
        f"set {PLACE}.security to a scheme of {allowed}: without it, or with one at the root of the document, "
        "everybody may call"
    )


def within(*keys: str, to: Any) -> dict[str, list[str]]:
    """What they say once another value is at a place of the operation."""
    return of(changed(openapi(), *PATH, *keys, to=to))


# --- our own stacks


@pytest.mark.parametrize("stack", STACKS)
def test_all_methods_and_integrations_of_ours_are_decided_on_a_first_preview(stack: str):
    counted = run(Program(list(own(stack, preview=True)))).decided
    assert {rule: counted[rule] for rule in RULES} == {
        AUTHORISED: 3,  # methods
        VALIDATED: 1,  # direct integrations
        CLOSED: 3,  # schemas: the confirmation and its two fields
        SAFE: 3,  # passthrough, role and template of the one integration
        MAPPED: 3,  # its responses
        COMPLETE: 1,  # its answer to success
        POLICY: 1,
    }


# --- authorisation


@pytest.mark.parametrize(
    ("scheme", "accepted"),
    [
        ({"type": "apiKey", "x-amazon-apigateway-authtype": "awsSigv4"}, True),
        ({"x-amazon-apigateway-authorizer": {"type": "request", "authorizerUri": LAMBDA}}, True),
        ({"x-amazon-apigateway-authorizer": {"type": "cognito_user_pools", "providerARNs": ["arn"]}}, True),
        ({"x-amazon-apigateway-authtype": "custom"}, False),
        ({"type": "apiKey", "name": "x-api-key"}, False),
        ({"type": "oauth2"}, False),
        ({"x-amazon-apigateway-authorizer": {}}, False),
        ("text", False),
    ],
    ids=range(8),
)
def test_a_scheme_authorises_if_api_gateway_does(scheme: Any, *, accepted: bool):
    for base in (
        changed(openapi(), "components", "securitySchemes", "signature", to=scheme),
        changed(
            changed(changed(openapi(), "components", to=None), "securityDefinitions", "signature", to=scheme),
            "swagger",
            to="2.0",
        ),
    ):
        assert (of(base) == {}) is accepted


@pytest.mark.parametrize(
    ("scheme", "kind"),
    [
        ({"x-amazon-apigateway-authtype": "awsSigv4"}, "AWS_IAM"),
        ({"x-amazon-apigateway-authorizer": {"type": "token"}}, "CUSTOM"),
        ({"x-amazon-apigateway-authorizer": {"type": "COGNITO_USER_POOLS"}}, "COGNITO_USER_POOLS"),
        ({"type": "apiKey"}, "API_KEY"),
    ],
    ids=range(4),
)
def test_what_authorises_is_a_setting(scheme: dict[str, Any], kind: str):
    document = changed(openapi(), "components", "securitySchemes", "signature", to=scheme)
    for allowed in ("AWS_IAM", "CUSTOM", "COGNITO_USER_POOLS", "API_KEY"):
        found = of(document, {AUTHORISED: {"authorizations": [allowed]}})
        assert found == (
            {}
            if allowed == kind
            else {
                AUTHORISED: [open_method(allowed)],
            }
        )


@pytest.mark.parametrize(
    ("verb", "exempt"), [("options", True), ("get", False), ("x-amazon-apigateway-any-method", False)]
)
def test_a_browser_may_ask_before_it_can_prove_anything(verb: str, *, exempt: bool):
    document = {"paths": {"/orders": {verb: {}, "parameters": [], "summary": "Orders"}}}
    assert (of(document) == {}) is exempt
    assert set(of(document, {AUTHORISED: {"exemptMethods": []}})) == {AUTHORISED}
    assert (of(document, {AUTHORISED: {"exemptMethods": ["GET"]}}) == {}) is (verb == "get")
    for type_, name in ((METHOD, "authorization"), (NATIVE_METHOD, "authorizationType")):
        method = {"httpMethod": "ANY" if verb.startswith("x-") else verb.upper(), name: "NONE"}
        assert (said(type_, method) == {}) is exempt


PUT_EVENTS = {"type": "AWS", "uri": "arn:aws:apigateway:eu-west-1:events:action/PutEvents", "credentials": "arn"}


@pytest.mark.parametrize(
    ("integration", "refused"),
    [
        (PUT_EVENTS, True),
        ({"type": "AWS", "uri": DYNAMODB}, True),
        ({"type": "AWS", "uri": LAMBDA}, False),
        ({"type": "MOCK"}, False),
        ({"type": "AWS", "uri": NOT_YET}, None),
        ({}, False),
    ],
    ids=range(6),
)
def test_whoever_asks_by_an_exempt_method_gets_to_no_service(integration: Any, *, refused: bool | None):
    body = {"paths": {"/orders": {"options": {"x-amazon-apigateway-integration": integration}}}}
    method = {"httpMethod": "OPTIONS", "authorizationType": "NONE", "integration": integration}
    for type_, inputs, place in (
        (NATIVE_API, {"body": body}, "body.paths./orders.options.security"),
        (NATIVE_METHOD, method, "authorizationType"),
    ):
        assert (AUTHORISED in said(type_, inputs)) is (refused is True)
        if refused is None:
            assert decided(type_, inputs, AUTHORISED) == (set(), {place})
    signed = {**method, "authorizationType": "AWS_IAM"}
    assert AUTHORISED not in said(NATIVE_METHOD, signed)


@pytest.mark.parametrize(
    ("changes", "refused"),
    [
        ({}, True),
        ({"uri": LAMBDA}, False),
        ({"uri": NOT_YET}, True),  # its template tells
        ({"authorization": "AWS_IAM"}, False),
        ({"httpMethod": NOT_YET}, False),
        ({"httpMethod": "GET"}, False),
    ],
    ids=range(6),
)
def test_an_exempt_method_whose_integration_is_a_resource_gets_to_no_service(changes: dict[str, Any], *, refused: bool):
    program = Program(list(BASES[SINGLE]))
    program.put(METHOD, "confirm", "httpMethod", "OPTIONS")
    program.put(METHOD, "confirm", "authorization", "NONE")
    for place, value in changes.items():
        program.put(INTEGRATION if place == "uri" else METHOD, "confirm", place, value)
    found = [message for rules in run(program).violations.values() for message in rules.get(COMPLETE, [])]
    assert found == ([f"set authorization to {ALLOWED}: its integration calls an AWS service"] if refused else [])
    config = {COMPLETE: {"exemptMethods": []}}
    assert COMPLETE not in {rule for rules in run(program, config=config).violations.values() for rule in rules}


def test_a_body_that_lies_elsewhere_is_refused_even_beside_one_that_does_not():
    for name in ("bodyS3Location", "cloneFrom"):
        elsewhere = [f"give the document as body instead of {name}: what lies elsewhere, nobody can check here"]
        for value in ({"bucket": "documents", "key": "openapi.yaml"}, "id", NOT_YET):
            assert said(NATIVE_API, {name: value}) == {AUTHORISED: elsewhere}
            assert said(NATIVE_API, {name: value, "body": openapi()}) == {AUTHORISED: elsewhere}
        assert said(API, {name: "id"}) == {}


VPC_ONLY = {"Statement": [{**OPEN, "Condition": {"StringEquals": {"aws:SourceVpce": "vpce-0a1b2c"}}}]}
TO_ALL = {"Statement": [OPEN]}


def reached(endpoint: Any, policy: Any, own: Any = None) -> tuple[bool, bool]:
    """Whether the open method of an API is refused, and whether it is decided; `own` is the policy in its document."""
    document = changed(openapi(), *PATH, "security", to=[])
    if own is not None:
        document["x-amazon-apigateway-policy"] = own
    inputs = {"body": document, "endpointConfiguration": endpoint, **({} if policy is None else {"policy": policy})}
    engine = Engine()
    refused = engine.register(NATIVE_API, inputs).violations.get(AUTHORISED, [])
    assert refused in ([], [open_method(ALLOWED)])
    return bool(refused), f"{PLACE}.security" in engine.verdict(AUTHORISED, NATIVE_API).decided


@pytest.mark.parametrize(
    ("endpoint", "policy", "own"),
    [
        ({"types": ["PRIVATE"]}, VPC_ONLY, None),
        ({"types": "PRIVATE"}, json.dumps(VPC_ONLY), None),
        ({"types": ["PRIVATE"]}, None, VPC_ONLY),
        ({"types": ["PRIVATE"]}, None, None),
        ({"types": ["PRIVATE"]}, {"Statement": []}, VPC_ONLY),
    ],
    ids=range(5),
)
def test_a_private_api_asks_nothing_of_those_whom_its_policy_names(endpoint: Any, policy: Any, own: Any):
    assert reached(endpoint, policy, own) == (False, True)


@pytest.mark.parametrize(
    ("endpoint", "policy", "own"),
    [
        ({"types": ["REGIONAL"]}, VPC_ONLY, None),
        ({"types": ["PRIVATE", "REGIONAL"]}, VPC_ONLY, None),
        ({}, VPC_ONLY, None),
        ({"types": ["PRIVATE"]}, TO_ALL, None),
        ({"types": ["PRIVATE"]}, "everybody", None),
        ({"types": ["PRIVATE"]}, VPC_ONLY, TO_ALL),
        ({"types": ["PRIVATE"]}, NOT_YET, TO_ALL),
    ],
    ids=range(7),
)
def test_any_other_api_asks_whoever_it_is(endpoint: Any, policy: Any, own: Any):
    assert reached(endpoint, policy, own) == (True, True)


@pytest.mark.parametrize(
    ("endpoint", "policy"),
    [({"types": ["PRIVATE"]}, NOT_YET), ({"types": NOT_YET}, None), ({"types": [NOT_YET]}, None), (NOT_YET, None)],
    ids=range(4),
)
def test_who_reaches_an_api_may_be_left_to_the_update(endpoint: Any, policy: Any):
    assert reached(endpoint, policy) == (False, False)


@pytest.mark.parametrize("type_", [METHOD, NATIVE_METHOD])
def test_a_key_counts_where_somebody_says_so(type_: str):
    config = {AUTHORISED: {"authorizations": ["API_KEY"]}}
    method = {"httpMethod": "GET", "authorization": "NONE", "authorizationType": "NONE"}
    assert said(type_, {**method, "apiKeyRequired": True}, config) == {}
    assert said(type_, {**method, "apiKeyRequired": NOT_YET}, config) == {}
    assert set(said(type_, {**method, "apiKeyRequired": False}, config)) == {AUTHORISED}
    assert set(said(type_, {**method, "apiKeyRequired": NOT_YET})) == {AUTHORISED}


@pytest.mark.parametrize("type_", [METHOD, NATIVE_METHOD])
def test_what_a_method_does_not_say_yet_is_left_to_the_update(type_: str):
    name = api.AUTHORIZATION[type_]
    for method in ({"httpMethod": "GET", name: NOT_YET}, {"httpMethod": NOT_YET, name: "NONE"}):
        assert decided(type_, method, AUTHORISED) == (set(), {name})
    for kind in ("CUSTOM", "COGNITO_USER_POOLS"):
        assert said(type_, {"httpMethod": "GET", name: kind, "authorizerId": NOT_YET}) == {}
        assert set(said(type_, {"httpMethod": "GET", name: kind})) == {AUTHORISED}
    assert set(said(type_, {"httpMethod": "GET"})) == {AUTHORISED}


@pytest.mark.parametrize(
    "place",
    [
        "security",
        "security[0]",
        "x-amazon-apigateway-auth",
        "x-amazon-apigateway-auth.type",
    ],
)
def test_a_security_that_is_not_known_yet_is_left_to_the_update(place: str):
    document = openapi()
    operation = document["paths"]["/confirm"]["post"]
    operation["security"] = [{}]
    operation.setdefault(place.partition(".")[0].partition("[")[0], {})
    inputs = put({"body": document}, f"body.paths./confirm.post.{place}", NOT_YET)
    if place == "security[0]":
        inputs = put(inputs, "body.paths./confirm.post.security", [NOT_YET])
    assert decided(NATIVE_API, inputs, AUTHORISED) == (set(), {f"{PLACE}.security"})


def test_a_scheme_that_is_not_known_yet_is_left_to_the_update():
    for place in ("x-amazon-apigateway-authtype", "x-amazon-apigateway-authorizer"):
        document = changed(openapi(), "components", "securitySchemes", "signature", to={"type": "apiKey", place: ""})
        inputs = put({"body": document}, f"body.components.securitySchemes.signature.{place}", NOT_YET)
        assert decided(NATIVE_API, inputs, AUTHORISED) == (set(), {f"{PLACE}.security"})


@pytest.mark.parametrize(
    ("place", "deferred"), [("body", "body.paths"), ("body.paths", "body.paths"), ("body.paths./confirm",) * 2]
)
def test_a_document_that_is_not_known_yet_is_left_to_the_update(place: str, deferred: str):
    inputs = put({"body": openapi()}, place, NOT_YET)
    for rule in (AUTHORISED, SAFE):
        found = decided(NATIVE_API, inputs, rule)
        assert found == (set(), {deferred})
    assert said(NATIVE_API, inputs) == {}


@pytest.mark.parametrize("text", ["", "[", "nothing", "- 1", "[" * 3_000, "a: 2026-13-45", "a: [", "&a [*a]"])
def test_a_body_that_is_no_document_is_refused_once(text: str):
    assert said(API, {"body": text}) == {
        AUTHORISED: ["write body as an OpenAPI document in JSON or YAML: what nobody can read, nobody can check"]
    }


# --- reading documents


def test_yaml_is_read_with_its_numbers():
    document = changed(openapi(), *PATH, "x-amazon-apigateway-integration", "responses", to={})
    text = yaml.safe_dump(document).replace("responses: {}", "responses: {200: {statusCode: 202}}")
    assert of(text) == {MAPPED: [look(f"{DIRECT}.responses.200.responseTemplates")]}


def test_references_are_followed_to_where_the_thing_is():
    document = openapi()
    document["paths"]["/confirm"] = {"$ref": "#/x-paths/confirm~1it~0"}
    document["x-paths"] = {"confirm/it~": openapi()["paths"]["/confirm"]}
    assert of(document) == {}
    document["x-paths"]["confirm/it~"]["post"]["x-amazon-apigateway-integration"]["passthroughBehavior"] = "x"
    where = "body.x-paths.confirm/it~.post.x-amazon-apigateway-integration"
    assert of(document) == {SAFE: [never(f"{where}.passthroughBehavior")]}


@pytest.mark.parametrize("reference", ["#/paths/~1confirm", "#/nowhere/at/all", 7, None])
def test_a_reference_to_nothing_is_nothing(reference: Any):
    document = openapi()
    document["paths"] = {"/confirm": {"$ref": reference}}
    assert of(document) == {}
    document["paths"]["/other"] = {"post": {}}
    assert set(of(document)) == {AUTHORISED}


@pytest.mark.parametrize("reference", ["https://apigateway.amazonaws.com/restapis/a/models/Shipment", NOT_YET])
def test_a_reference_to_elsewhere_is_left_to_the_update(reference: Any):
    inputs = {"body": openapi()}
    content = f"{PLACE}.requestBody.content"
    inputs = put(inputs, content, {"application/json": {"schema": {"$ref": reference}}})
    assert said(NATIVE_API, inputs) == {}
    assert decided(NATIVE_API, inputs, CLOSED) == (set(), {f"{content}.application/json.schema"})


# --- validation


@pytest.mark.parametrize(
    "integration",
    [
        {"type": "aws_proxy", "uri": LAMBDA},
        {"type": "aws", "uri": LAMBDA},
        {"type": "AWS", "uri": "arn:aws:apigateway:eu-west-1:s3:path/bucket/key"},
        {"type": "http", "uri": "https://orders.example"},
        {"type": "mock"},
        {"type": "aws", "uri": "nothing"},
        {"type": "aws"},
        "text",
        {},
    ],
    ids=range(9),
)
def test_nothing_is_asked_of_an_integration_that_does_not_call_a_service_itself(integration: Any):
    document = {
        "paths": {
            "/orders": {"post": {"x-amazon-apigateway-integration": integration, "x-amazon-apigateway-auth": IAM}}
        }
    }
    assert of(document) == {}


IAM = {"type": "AWS_IAM"}
PUT_RULE = "arn:aws:apigateway:eu-west-1:events:action/PutRule"
TEMPLATE = "requestTemplates.application/json"
SUBDOMAIN = "arn:aws-cn:apigateway:cn-north-1:id.iot:path/things"


@pytest.mark.parametrize("uri", [DYNAMODB, SUBDOMAIN])
@pytest.mark.parametrize(
    ("verb", "templates", "asked"),
    [
        ("post", {"application/json": "$input.body"}, True),
        ("get", {"application/json": "$input.body"}, True),
        ("post", {"application/json": "$input.params('id')"}, False),
        ("post", {}, True),
        ("put", {}, True),
        ("patch", {}, True),
        ("x-amazon-apigateway-any-method", {}, True),
        ("get", {}, False),
        ("delete", {}, False),
    ],
    ids=range(9),
)
def test_what_reaches_another_service_is_validated_too(uri: str, verb: str, templates: Any, *, asked: bool):
    integration = {"type": "aws", "uri": uri, "requestTemplates": templates}
    operation = {"x-amazon-apigateway-integration": integration, "x-amazon-apigateway-auth": IAM}
    found = of({"paths": {"/orders": {verb: operation}}})
    assert {rule: len(messages) for rule, messages in found.items()} == ({VALIDATED: 2} if asked else {})


@pytest.mark.parametrize("place", ["uri", "requestTemplates", "requestTemplates.a/b"])
def test_a_direct_integration_that_is_not_known_yet_is_left_to_the_update(place: str):
    integration = put({"type": "AWS", "uri": DYNAMODB, "requestTemplates": {"a/b": "$input.body"}}, place, NOT_YET)
    method = {"httpMethod": "POST", "authorizationType": "AWS_IAM", "integration": integration}
    assert said(NATIVE_METHOD, method) == {}
    assert decided(NATIVE_METHOD, method, VALIDATED) == (set(), {"requestValidatorId"})
    valid = {**method, "requestValidatorId": NOT_YET, "requestModels": NOT_YET}
    assert decided(NATIVE_METHOD, valid, VALIDATED) == ({"requestValidatorId"}, set())


def test_the_validator_of_the_document_holds_where_no_other_is_named():
    name = "x-amazon-apigateway-request-validator"
    document = changed(changed(openapi(), *PATH, name, to=None), name, to="body")
    assert of(document) == {}
    assert set(of(changed(document, *PATH, name, to="nowhere"))) == {VALIDATED}
    inputs = put({"body": changed(openapi(), *PATH, name, to="")}, f"body.paths./confirm.post.{name}", NOT_YET)
    assert said(NATIVE_API, inputs) == {}


def test_swagger_says_in_consumes_what_a_model_is_for():
    document = swagger()
    for consumed, accepted in ((["application/json"], True), (["text/plain"], False), ([], True)):
        assert (of(changed(document, "consumes", to=consumed)) == {}) is accepted
        assert (of(changed(document, *PATH, "consumes", to=consumed)) == {}) is accepted
    assert (
        of(changed(changed(document, "consumes", to=["text/plain"]), *PATH, "consumes", to=["application/json"])) == {}
    )
    inside = changed(document, *PATH, "parameters", to=[{"in": "header", "schema": SCHEMA}])
    assert set(of(inside)) == {VALIDATED}


@pytest.mark.parametrize("place", ["parameters", "parameters[0]", "parameters[0].in"])
def test_parameters_that_are_not_known_yet_are_left_to_the_update(place: str):
    document = changed(openapi(), *PATH, "requestBody", to=None)
    document["paths"]["/confirm"]["post"]["parameters"] = [{"in": "header"}]
    inputs = put({"body": document}, f"{PLACE}.{place}", NOT_YET)
    assert said(NATIVE_API, inputs) == {}
    assert decided(NATIVE_API, inputs, CLOSED) == (set(), {f"{PLACE}.requestBody"})


@pytest.mark.parametrize("type_", [VALIDATOR, NATIVE_VALIDATOR])
@pytest.mark.parametrize(
    ("flags", "accepted"),
    [
        ({"validateRequestParameters": True}, True),
        ({"validateRequestBody": True}, True),
        ({"validateRequestBody": NOT_YET}, True),
        ({"validateRequestBody": "true"}, False),
        ({}, False),
    ],
    ids=range(5),
)
def test_a_validator_checks_something(type_: str, flags: dict[str, Any], *, accepted: bool):
    assert (said(type_, flags) == {}) is accepted


@pytest.mark.parametrize(
    "field",
    [
        {"type": "string", "enum": ["acme"]},
        {"enum": [1, "two"]},
        {"type": "integer"},
        {"type": ["string", "null"], "maxLength": 5},
        {"type": "string", "maxLength": 65536},
        {"type": "string", "pattern": r"^\d{4}-[a-z\]|+*]{1,3}$"},
        {"type": "array", "items": {"type": "boolean"}},
        {"type": "object", "additionalProperties": False},
        {"anyOf": [{"type": "integer"}, {"type": "string", "maxLength": 3}]},
        {"$ref": "#/components/schemas/Self"},
        {"type": "string", "maxLength": NOT_YET},
        {"type": "string", "pattern": NOT_YET},
        {"type": "object", "additionalProperties": NOT_YET},
        NOT_YET,
    ],
    ids=range(14),
)
def test_a_bounded_field_is_accepted(field: Any):
    document = openapi()
    document["components"]["schemas"] = {
        "Self": {**SCHEMA, "properties": {"again": {"$ref": "#/components/schemas/Self"}}}
    }
    place = f"{PLACE}.requestBody.content"
    schema = {**SCHEMA, "properties": {"field": field}}
    assert said(NATIVE_API, put({"body": document}, place, {"application/json": {"schema": schema}})) == {}


@pytest.mark.parametrize(
    "field",
    [
        {"type": "string", "pattern": "^a|b$"},
        {"type": "string", "pattern": "a{3}$"},
        {"type": "string", "pattern": "^a*$"},
        {"type": "string", "pattern": 7},
        {"type": "string", "maxLength": "5"},
        {"type": "string", "maxLength": True},
        {"type": ["null", "string"]},
    ],
    ids=range(7),
)
def test_an_unbounded_field_is_refused(field: Any):
    schema = {**SCHEMA, "properties": {"field": field}}
    where = (*PATH, "requestBody", "content", "application/json", "schema")
    assert of(changed(openapi(), *where, to=schema)) == {
        CLOSED: [f"set {PLACE}.requestBody.content.application/json.schema.properties.field.maxLength to 65536 or less"]
    }


def test_how_long_a_string_may_be_is_a_setting():
    config = {CLOSED: {"maxLength": 34}, COMPLETE: {"maxLength": 34}}
    place = "properties.shipped_at.maxLength to 34 or less"
    assert of(openapi(), config) == {CLOSED: [f"set {PLACE}.requestBody.content.application/json.schema.{place}"]}
    found = run(Program(BASES[SINGLE]), config=config).violations
    assert [list(rules.values()) for rules in found.values()] == [
        [["set schema.properties[1].maxLength to 34 or less"]]
    ]


def test_a_schema_of_two_methods_is_named_once():
    document = openapi()
    document["components"]["schemas"] = {"Shipment": {**SCHEMA, "additionalProperties": True}}
    operation = document["paths"]["/confirm"]["post"]
    operation["requestBody"]["content"]["application/json"]["schema"] = {"$ref": "#/components/schemas/Shipment"}
    document["paths"]["/again"] = {"post": operation}
    assert of(document) == {CLOSED: ["set body.components.schemas.Shipment.additionalProperties to false"]}


# --- direct integrations


def test_templates_are_enough_to_refuse_other_content_types():
    where = ("x-amazon-apigateway-integration", "passthroughBehavior")
    assert within(*where, to="when_no_templates") == {}
    assert within(*where, to="Never") == {}
    assert within(*where, to=7) == {SAFE: [never(f"{DIRECT}.passthroughBehavior")]}


@pytest.mark.parametrize(
    ("uri", "parameters", "judged"),
    [
        ("arn:aws:apigateway:eu-west-1:events:action/PutEvents", {}, True),
        ("arn:aws:apigateway:eu-west-1:events:action/PutEvents&Version=1", {}, True),
        ("arn:aws:apigateway:eu-west-1:events:action/PutEventsLater", {}, False),
        (BY_TARGET, {TARGET: "'AWSEvents.PutEvents'"}, True),
        (BY_TARGET, {TARGET.lower(): "'AWSEvents.PutEvents'"}, True),
        (BY_TARGET, {TARGET: "method.request.querystring.action"}, True),
        (BY_TARGET, {TARGET: "'AWSEvents.PutRule'"}, False),
        (BY_TARGET, {}, True),
        (BY_TARGET, {TARGET: "stageVariables.action"}, True),
        (BY_TARGET, {TARGET: 7}, True),
        (BY_TARGET, NOT_YET, True),
        ("arn:aws:apigateway:eu-west-1:events:action/putevents", {}, True),
        ("arn:aws:apigateway:eu-west-1:events:action/", {}, True),
        ("arn:aws:apigateway:eu-west-1:events:action/PutRule", {TARGET: "'AWSEvents.PutEvents'"}, False),
        ("arn:aws:apigateway:eu-west-1:sqs:action/SendMessage", {TARGET: "'AWSEvents.PutEvents'"}, False),
        ("arn:aws:apigateway:eu-west-1:sqs:path//", {}, False),
    ],
    ids=range(16),
)
def test_put_events_is_known_by_its_uri_or_its_target(uri: str, parameters: Any, *, judged: bool):
    inputs = {"type": "AWS", "uri": uri, "requestParameters": parameters, "credentials": "arn"}
    assert (SAFE in said(INTEGRATION, inputs)) is judged


@pytest.mark.parametrize("uri", [BY_TARGET, PUT_RULE])
def test_put_events_may_be_what_a_template_makes_of_another_action(uri: str):
    inputs = {
        "type": "AWS",
        "uri": uri,
        "requestParameters": {TARGET: "'AWSEvents.PutRule'"},
        "credentials": "arn",
        "passthroughBehavior": "NEVER",
    }
    for name, action, expected in (
        ("X-Amz-Target", "'AWSEvents.PutEvents'", None),
        ("x-amz-target", "$input.params('action')", literally("$context.requestOverride", TEMPLATE)),
        ("Accept", "$input.params('action')", None),
    ):
        templates = {"application/json": f"#set($context.requestOverride.header.{name} = {action}){REQUEST}"}
        found = said(INTEGRATION, {**inputs, "requestTemplates": templates})
        assert found == ({SAFE: [expected]} if expected else {})
        counted = decided(INTEGRATION, {**inputs, "requestTemplates": templates}, SAFE)[0]
        assert bool(counted) is (name != "Accept")


def test_an_integration_whose_uri_is_not_known_yet_is_known_by_its_template():
    unsafe = {"type": "AWS", "uri": NOT_YET, "credentials": "arn", "passthroughBehavior": "NEVER"}
    template = REQUEST.replace("$input.json('$.order_id')", "$input.path('$.order_id')")
    templates = {"application/json": template}
    expected = {SAFE: [unescaped("requestTemplates.application/json")]}
    assert said(INTEGRATION, {**unsafe, "requestTemplates": templates}) == expected
    assert said(INTEGRATION, {**unsafe, "type": NOT_YET, "requestTemplates": templates}) == expected
    for other in (
        {"application/json": NOT_YET},
        NOT_YET,
        {"application/json": "{}"},
        {"application/json": '"Entries"'},
    ):
        assert decided(INTEGRATION, {**unsafe, "requestTemplates": other}, SAFE) == (set(), {"uri"})


def test_an_action_that_is_not_known_yet_may_be_put_events():
    inputs = {"type": "AWS", "uri": BY_TARGET, "requestParameters": NOT_YET, "credentials": "arn"}
    assert said(INTEGRATION, inputs) == {SAFE: [never("passthroughBehavior")]}


def test_an_integration_type_that_is_not_known_yet_is_left_to_the_update():
    inputs = {"type": NOT_YET, "uri": DYNAMODB, "credentials": "arn"}
    assert decided(INTEGRATION, inputs, SAFE) == (set(), {"uri"})


def test_what_an_integration_does_not_say_yet_is_left_to_the_update():
    base = {"type": "AWS", "uri": "arn:aws:apigateway:eu-west-1:events:action/PutEvents"}
    said_later = {"credentials": NOT_YET, "passthroughBehavior": NOT_YET}
    both = {"passthroughBehavior", "credentials"}
    for templates, deferred in ((NOT_YET, "requestTemplates"), ({"a/b": NOT_YET}, "requestTemplates.a/b")):
        found = decided(INTEGRATION, {**base, **said_later, "requestTemplates": templates}, SAFE)
        assert found == (both, {deferred})
    when_none = {**base, "credentials": NOT_YET, "passthroughBehavior": "WHEN_NO_TEMPLATES"}
    assert said(INTEGRATION, {**when_none, "requestTemplates": NOT_YET}) == {}
    assert said(INTEGRATION, when_none) == {SAFE: [never("passthroughBehavior")]}


# --- what a caller is told


@pytest.mark.parametrize(
    ("answers", "flaw"),
    [
        ({}, None),
        ({"200": {"statusCode": "502"}}, None),
        ({"default": {"statusCode": 301}}, None),
        ({"default": {}}, None),
        ({"201": {"statusCode": "201"}}, None),
        ({"(": {"statusCode": "200"}}, failure(f"{DIRECT}.responses.(.statusCode")),
        ({"a{99999999999999999999}": {"statusCode": "502"}}, None),
        (
            {".*": {"statusCode": "200"}},
            failure(f"{DIRECT}.responses.*.statusCode").replace("responses.*", "responses..*"),
        ),
        ({"5..": {"statusCode": 200.0}}, failure(f"{DIRECT}.responses.5...statusCode")),
        (
            {"200": {"statusCode": "200", "responseTemplates": {"a/b": 7}}},
            look(f"{DIRECT}.responses.200.responseTemplates"),
        ),
        ("text", None),
    ],
    ids=range(11),
)
def test_which_answers_hide_a_failure(answers: Any, flaw: str | None):
    assert within("x-amazon-apigateway-integration", "responses", to=answers) == ({MAPPED: [flaw]} if flaw else {})


@pytest.mark.parametrize(
    "place", ["", "[0]", "[0].statusCode", "[0].selectionPattern", "[0].responseTemplates", "[0].responseTemplates.a/b"]
)
def test_an_answer_that_is_not_known_yet_is_left_to_the_update(place: str):
    (method,) = [thing for thing in BASES[NATIVE] if thing.type == NATIVE_METHOD]
    answer = {"statusCode": "200", "selectionPattern": "200", "responseTemplates": {"a/b": ""}}
    inputs = put(method.inputs, "integration.integrationResponses", [answer])
    inputs = put(inputs, f"integration.integrationResponses{place}", NOT_YET)
    found, deferred = decided(NATIVE_METHOD, inputs, MAPPED)
    assert not found
    assert len(deferred) == 1


@pytest.mark.parametrize(
    ("answers", "accepted"),
    [
        ({"200": {"statusCode": "202"}}, True),
        ({"2..": {}, "default": {}}, True),
        ({"default": {"statusCode": "502"}}, False),
        ({"201": {"statusCode": "201"}, "default": {"statusCode": "502"}}, False),
        ({}, True),
        (NOT_YET, True),
    ],
    ids=range(6),
)
def test_success_has_an_answer(answers: Any, *, accepted: bool):
    inputs = put({"body": openapi()}, f"{DIRECT}.responses", answers)
    unanswered = [untold("body.paths[0].post.x-amazon-apigateway-integration.responses")]
    assert stack_said(COMPLETE, Thing(type=NATIVE_API, name="api", inputs=inputs)) == ([] if accepted else unanswered)


@pytest.mark.parametrize("pattern", [NOT_YET, "200", "502"])
def test_an_answer_whose_pattern_is_not_known_yet_may_be_that_to_success(pattern: Any):
    (method,) = [thing for thing in BASES[NATIVE] if thing.type == NATIVE_METHOD]
    answers = [{"statusCode": "502", "selectionPattern": pattern}]
    inputs = put(method.inputs, "integration.integrationResponses", answers)
    found = stack_said(COMPLETE, dataclasses.replace(method, inputs=inputs))
    assert found == ([untold("integration.integrationResponses")] if pattern == "502" else [])


def test_an_answer_that_is_wrong_is_refused_whatever_else_is_not_known_yet():
    answer = {"statusCode": "200", "responseTemplates": {"a/b": NOT_YET, "c/d": "{}"}}
    document = put({"body": openapi()}, f"{DIRECT}.responses", {"200": answer})
    assert said(NATIVE_API, document) == {MAPPED: [look(f"{DIRECT}.responses.200.responseTemplates")]}


# --- resources that only together are an integration


def discrete(*changes: tuple[str, str, str, Any], base: str = SINGLE, update: bool = False) -> list[str]:
    """What the rule says of the resources with these changes: type, name, place and value."""
    program = Program(list(BASES[base]))
    for type_, name, place, value in changes:
        program.put(type_, name, place, value)
    found = run(program, update=update).violations.values()
    return sorted(message for rules in found for message in rules.get(COMPLETE, []))


def known(program: list[Thing]) -> list[Thing]:
    """The same resources once AWS has made them: every reference is a value, and nothing says where it is from."""
    ids = {"restApi": "api", "resourceId": "path", "httpMethod": "POST", "requestValidatorId": "body-id"}
    return [
        Thing(
            type=thing.type,
            name=thing.name,
            inputs={name: ids.get(name, "x") if value is NOT_YET else value for name, value in thing.inputs.items()}
            | {"id": f"{thing.name}-id"},
        )
        for thing in program
    ]


def test_resources_are_joined_by_their_values_too():
    things = known(BASES[SINGLE])
    assert run(Program(things), update=True).violations == {}
    for type_, place, value, message in (
        (RESPONSE, "statusCode", "200", failure("statusCode")),
        (MODEL, "schema", json.dumps({**SCHEMA, "required": []}), "list in schema.required what the template needs"),
    ):
        program = Program(list(things))
        program.put(type_, "refused" if type_ == RESPONSE else "shipment", place, value)
        assert list(run(program).violations.values()) == [{COMPLETE: [message]}]
    program = Program(list(things))
    program.put(VALIDATOR, "body", "validateRequestBody", value=False)
    program.put(VALIDATOR, "body", "validateRequestParameters", value=True)
    assert list(run(program).violations.values()) == [{COMPLETE: ["set validateRequestBody to true"]}]


@pytest.mark.parametrize("name", ["restApi", "resourceId", "httpMethod"])
def test_the_answers_of_another_method_are_none_of_its_business(name: str):
    program = Program(known(BASES[SINGLE]))
    program.put(RESPONSE, "refused", "statusCode", "200")
    assert len(run(program).violations) == 1
    program.put(RESPONSE, "refused", name, "another")
    assert run(program).violations == {}


@pytest.mark.parametrize("uri", [LAMBDA, NOT_YET])
def test_only_the_parts_of_a_direct_integration_are_judged(uri: Any):
    templates = (INTEGRATION, "confirm", "requestTemplates", {"application/json": "{}"})
    wrong = (
        (INTEGRATION, "confirm", "uri", uri),
        templates,
        (VALIDATOR, "body", "validateRequestBody", False),
        (MODEL, "shipment", "schema", "{}"),
        (RESPONSE, "refused", "statusCode", "200"),
    )
    assert len(discrete(*wrong[2:])) == 3
    assert discrete(*wrong) == []


def test_a_response_of_a_service_that_is_not_the_bus_may_be_what_it_likes():
    assert discrete((INTEGRATION, "confirm", "uri", DYNAMODB), (RESPONSE, "refused", "statusCode", "200")) == []


def test_an_integration_without_its_method_is_judged_by_its_answers():
    program = Program(list(BASES[SINGLE]))
    program.remove(METHOD)
    program.put(INTEGRATION, "confirm", "httpMethod", "POST")
    for name in ("taken", "refused"):
        program.put(RESPONSE, name, "httpMethod", "POST")
    assert run(program).violations == {}
    program.put(RESPONSE, "refused", "statusCode", "200")
    assert list(run(program).violations.values()) == [{COMPLETE: [failure("statusCode")]}]


def test_a_validator_and_a_model_of_two_methods_are_named_once():
    program = Program(list(BASES[NATIVE]))
    method = program.only(NATIVE_METHOD)
    program.add(Thing(type=NATIVE_METHOD, name="again", inputs=method.inputs, uses=method.uses))
    program.put(NATIVE_VALIDATOR, "body", "validateRequestBody", value=False)
    program.put(NATIVE_VALIDATOR, "body", "validateRequestParameters", value=True)
    program.put(NATIVE_MODEL, "shipment", "schema", {})
    found = sorted(message for rules in run(program).violations.values() for message in rules[COMPLETE])
    assert found == ["set schema.type", "set validateRequestBody to true"]


def test_an_answer_of_a_resource_that_is_not_known_yet_is_left_to_the_update():
    program = Program(list(BASES[SINGLE]))
    program.put(RESPONSE, "refused", "statusCode", NOT_YET)
    verdicts = run(program)
    policy = next(policy for policy in verdicts.engine.rules if policy.name == COMPLETE)
    assert policy.report[program.only(RESPONSE, "refused").urn].deferred == {"statusCode"}


# --- resource policies


@pytest.mark.parametrize(
    ("statements", "refused"),
    [
        ([OPEN], [0]),
        ([{**OPEN, "Principal": {"AWS": "*"}}], [0]),
        ([{**OPEN, "Principal": {"AWS": "*"}}, OPEN], [0, 1]),
        ([{**OPEN, "Condition": {"StringEquals": {"aws:SourceVpce": "vpce-1"}}}], []),
        ([{**OPEN, "Condition": {"IpAddress": {"aws:VpcSourceIp": "10.0.0.0/8"}}}], []),
        ([{**OPEN, "Condition": {"Bool": {"aws:SecureTransport": "true"}}}], [0]),
        ([OPEN, {**OPEN, "Effect": "Deny", "Condition": {"StringNotEquals": {"aws:SourceVpc": "vpc-1"}}}], []),
        ([OPEN, {**OPEN, "Effect": "Deny", "Principal": {"AWS": "*"}, "Condition": {"Null": {"a:b": "1"}}}], []),
        ([OPEN, {**OPEN, "Effect": "Deny"}], [0]),
        ([OPEN, {**OPEN, "Effect": "Deny", "Principal": {"AWS": "1"}, "Condition": {"Null": {"a:b": "1"}}}], [0]),
        ([OPEN, {**OPEN, "Condition": {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}}], [0]),
        (
            [OPEN, {**OPEN, "Effect": "Deny", "Resource": "execute-api:/v1", "Condition": {"Null": {"a:b": "1"}}}],
            [0],
        ),
        (
            [
                {**OPEN, "Resource": ["execute-api:/v1/GET/a", "execute-api:/v1/GET/b"]},
                {**OPEN, "Effect": "Deny", "Resource": "execute-api:/v1/*", "Condition": {"Null": {"a:b": "1"}}},
            ],
            [],
        ),
        ([{**OPEN, "Principal": {"AWS": "arn:aws:iam::111122223333:root"}}], []),
        ([], []),
    ],
    ids=range(15),
)
def test_whom_a_policy_lets_in(statements: list[Any], refused: list[int]):
    policy = {"Version": "2012-10-17", "Statement": statements}
    for type_, inputs, place in (
        (API, {"policy": json.dumps(policy)}, "policy"),
        (NATIVE_API, {"policy": policy}, "policy"),
        (API_POLICY, {"policy": json.dumps(policy)}, "policy"),
        (IMPORT, {"body": json.dumps({"x-amazon-apigateway-policy": policy})}, "body.x-amazon-apigateway-policy"),
    ):
        expected = {POLICY: [open_policy(place, index) for index in refused]} if refused else {}
        assert said(type_, inputs) == expected, type_


def test_a_policy_that_is_not_known_yet_is_left_to_the_update():
    assert decided(API, {"policy": NOT_YET}, POLICY) == (set(), {"policy"})
    deny = {**OPEN, "Effect": "Deny", "Resource": NOT_YET, "Condition": {"Null": {"aws:PrincipalArn": "true"}}}
    assert said(NATIVE_API, {"policy": {"Statement": [OPEN, deny]}}) == {}
    assert said(NATIVE_API, {"policy": {"Statement": [{**OPEN, "Resource": NOT_YET}, {**deny, "Resource": "a"}]}}) == {}


# --- whatever there is


@pytest.mark.parametrize("shape", ["text", 7, True, [], {}, [None], [[]], [{}], {"a": {"b": [1]}}])
@pytest.mark.parametrize("name", [OBJECT, NATIVE])
def test_inputs_of_another_shape_are_read_without_an_error(name: str, shape: Any):
    seen = 0
    for thing in BASES[name]:
        for place in places(thing.inputs):
            odd = dataclasses.replace(thing, inputs=put(thing.inputs, place, shape))
            engine = Engine([policy for policy in Engine().rules if policy.name in RULES])
            engine.register(odd.type, odd.inputs)
            engine.analyze_stack([odd if other is thing else other for other in BASES[name]])
            seen += 1
    assert seen > 20
