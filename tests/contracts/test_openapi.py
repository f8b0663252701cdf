"""The REST API is a document that API Gateway imports, and its parts fit together."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jsonschema import Draft4Validator
from openapi_spec_validator import validate

import contracts
from sandbox import vtl
from tests.contracts.deployed import ACCOUNT, BUS, RESOURCE_POLICY, api

METHODS = [
    (path, verb)
    for path, methods in api()["paths"].items()
    for verb in methods
    if verb in {"get", "post", "put", "any"}
]


def operation(path: str, verb: str) -> dict[str, Any]:
    return api()["paths"][path][verb]


def nodes(node: Any) -> Iterator[Any]:
    yield node
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from nodes(child)


def resolved(reference: str) -> Any:
    assert reference.startswith("#/")
    found = api()
    for part in reference.removeprefix("#/").split("/"):
        found = found[part]
    return found


def test_the_document_is_openapi_3_and_json():
    validate(api())

    assert json.loads(json.dumps(api())) == api()
    assert api()["openapi"].startswith("3.0")


def test_the_methods_of_the_design_are_there():
    assert {("/orders", "post"), ("/orders/{order_id}", "get"), ("/confirm-shipment", "post")} <= set(METHODS)


def test_every_route_is_behind_one_integration_with_its_parameters_as_arns_have_them():
    clients, carriers = contracts.routes("orders"), contracts.routes("put_events")
    assert {("placeOrder", "POST", "/orders"), ("readOrder", "GET", "/orders/*")} <= set(clients)
    assert carriers == [("confirmShipment", "POST", "/confirm-shipment")]
    routes = {(path.replace("{order_id}", "*"), verb.upper()) for path, verb in METHODS}
    assert {(route.path, route.method) for route in (*clients, *carriers)} == routes
    assert len(clients) + len(carriers) == len(METHODS)


def test_every_reference_leads_somewhere_and_every_model_is_used():
    references = {node["$ref"] for node in nodes(api()) if isinstance(node, dict) and "$ref" in node}
    models = {f"#/components/schemas/{name}" for name in api()["components"]["schemas"]}

    assert len(references) >= len(models) > 0
    for reference in references:
        assert resolved(reference)
    assert models <= references


def test_models_have_names_and_keywords_that_api_gateway_imports():
    models = api()["components"]["schemas"]

    assert {"NewOrder", "Order", "ShipmentConfirmation", "Accepted", "Message"} <= set(models)
    assert all(re.fullmatch(r"[A-Za-z0-9]+", name) for name in models)
    assert all(model["title"] == name for name, model in models.items())
    # The files do say which draft they are; OpenAPI 3.0 doesn't know the keyword.
    assert "$schema" in contracts._document("schemas/order.json")
    assert [node for node in nodes(api()) if isinstance(node, dict) and "$schema" in node] == []


def test_models_are_the_schemas_that_the_functions_check():
    models = api()["components"]["schemas"]

    assert models["NewOrder"]["properties"]["carrier"]["enum"] == ["acme", "globex"]
    for name, schema in (
        ("NewOrder", contracts.new_order_schema(["acme", "globex"])),
        ("ShipmentConfirmation", contracts._document("schemas/shipment_confirmation.json")),
    ):
        assert schema.pop("$schema")
        assert models[name] == schema


@pytest.mark.parametrize(("path", "verb"), METHODS)
def test_every_method_asks_for_a_signature_and_validates_its_request(path, verb):
    method = operation(path, verb)
    scheme = api()["components"]["securitySchemes"]["sigv4"]

    assert method["security"] == [{"sigv4": []}]
    assert scheme["x-amazon-apigateway-authtype"] == "awsSigv4"
    assert method["x-amazon-apigateway-request-validator"] in api()["x-amazon-apigateway-request-validators"]


def test_a_confirmation_reaches_put_events_only_as_validated_json():
    method = operation("/confirm-shipment", "post")
    validator = api()["x-amazon-apigateway-request-validators"][method["x-amazon-apigateway-request-validator"]]
    integration = method["x-amazon-apigateway-integration"]

    assert validator == {"validateRequestParameters": True, "validateRequestBody": True}
    assert method["requestBody"]["required"] is True
    assert method["requestBody"]["content"].keys() == integration["requestTemplates"].keys() == {"application/json"}
    assert integration["passthroughBehavior"] == "never"
    assert integration["type"] == "aws"
    assert integration["uri"] == "arn:aws:apigateway:eu-central-1:events:action/PutEvents"
    assert integration["credentials"] == f"arn:aws:iam::{ACCOUNT}:role/orders-dev-confirm"


def test_every_answer_of_the_integration_is_declared_by_the_method():
    method = operation("/confirm-shipment", "post")
    answers = method["x-amazon-apigateway-integration"]["responses"]
    declared = {
        f"method.response.header.{header}": status
        for status, response in method["responses"].items()
        for header in response.get("headers", {})
    }

    assert answers.keys() == {"200", r"4\d{2}", "default"}
    for answer in answers.values():
        assert answer["statusCode"] in method["responses"]
        for parameter in answer.get("responseParameters", {}):
            assert declared[parameter] == answer["statusCode"]
    template = answers["200"]["responseTemplates"]["application/json"]
    overridden = re.findall(r"responseOverride\.status = (\d+)", template)
    assert overridden
    assert set(overridden) <= method["responses"].keys()


@pytest.mark.parametrize(("path", "verb"), METHODS[:2])
def test_orders_go_to_the_function(path, verb):
    integration = operation(path, verb)["x-amazon-apigateway-integration"]

    assert (integration["type"], integration["httpMethod"]) == ("aws_proxy", "POST")
    assert integration["uri"] == (
        "arn:aws:apigateway:eu-central-1:lambda:path/2015-03-31/functions/"
        f"arn:aws:lambda:eu-central-1:{ACCOUNT}:function:orders-dev-api/invocations"
    )


def test_the_document_carries_the_policy_and_the_bus():
    assert api()["x-amazon-apigateway-policy"] == RESOURCE_POLICY
    assert (
        BUS
        in operation("/confirm-shipment", "post")["x-amazon-apigateway-integration"]["requestTemplates"][
            "application/json"
        ]
    )


def test_each_rendering_is_its_own_and_the_same():
    first, second = api(), api()
    first["paths"].clear()

    assert second == api()


REFUSALS = [
    response["responseTemplates"]["application/json"]
    for response in api()["x-amazon-apigateway-gateway-responses"].values()
]


@pytest.mark.parametrize("template", REFUSALS)
@settings(max_examples=50)
@given(why=st.text(max_size=300))
@example(why='it\'s "quoted" \\ and\nmore $context.requestId #end')
def test_every_refusal_of_the_gateway_is_a_message(template, why):
    context = {"requestId": "request-1", "error": {"messageString": json.dumps(why)}}

    said = json.loads(vtl.render(template, body="", context=context).text)

    Draft4Validator(contracts._document("schemas/message.json")).validate(said)
    assert said == {"message": why, "request_id": "request-1"}


def test_all_refusals_have_the_envelope():
    assert set(api()["x-amazon-apigateway-gateway-responses"]) >= {"DEFAULT_4XX", "DEFAULT_5XX", "THROTTLED"}
    assert len(REFUSALS) == len(api()["x-amazon-apigateway-gateway-responses"])
