"""HTTP and WebSocket APIs: what is accepted, what is only known later, and what is left to functions."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from tests.policy.cases.http_api import (
    API,
    BASES,
    BY_FUNCTION,
    BY_ROUTE,
    ELSEWHERE,
    GUARDED,
    INTEGRATION,
    LIMITS,
    NATIVE_API,
    NATIVE_BY_ROUTE,
    NATIVE_STAGE,
    NOT_CONNECTED,
    OBJECT,
    OPEN,
    ROUTE,
    SINGLE,
    SOCKET,
    STAGE,
    TEXT,
    TOLD,
    by_function,
    openapi,
    unlimited,
)
from tests.policy.engine import NOT_YET, Engine
from tests.policy.programs import Program, Thing, places, put, run
from tests.policy.suite import policy_of
from tests.policy.suite import said as stack_said

PUT_EVENTS = "arn:aws:apigateway:eu-west-1:events:action/PutEvents"


def said(type_: str, inputs: dict[str, Any]) -> list[str]:
    return Engine([policy_of(TOLD)]).register(type_, inputs).messages


def decided(type_: str, inputs: dict[str, Any]) -> tuple[set[str], set[str]]:
    engine = Engine([policy_of(TOLD)])
    assert engine.register(type_, inputs).messages == []
    verdict = engine.verdict(TOLD, type_)
    return verdict.decided, verdict.deferred


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        ({"integrationType": "AWS_PROXY", "integrationSubtype": "eventbridge-PUTEVENTS"}, [BY_FUNCTION]),
        ({"integrationType": "AWS_PROXY", "integrationSubtype": "EventBridge-PutEvents-Later"}, []),
        ({"integrationType": "AWS_PROXY", "integrationSubtype": 7}, []),
        ({"integrationType": "AWS_PROXY", "integrationUri": PUT_EVENTS}, []),
        ({"integrationType": "AWS", "integrationUri": PUT_EVENTS}, []),
    ],
    ids=range(5),
)
def test_an_integration_of_an_http_api_puts_events_by_its_subtype(inputs: dict[str, Any], expected: list[str]):
    """A WebSocket API calls AWS by a URI, and can look into the answer."""
    assert said(INTEGRATION, inputs) == expected


def test_an_integration_that_is_not_known_yet_is_left_to_the_update():
    unknown = {"integrationType": "AWS_PROXY", "integrationSubtype": NOT_YET}
    assert decided(INTEGRATION, unknown) == (set(), {"integrationSubtype"})


def test_a_function_that_is_not_known_yet_is_a_function():
    function = {"integrationType": "AWS_PROXY", "integrationUri": NOT_YET}
    assert decided(INTEGRATION, function) == ({"integrationSubtype"}, set())


def test_documents_name_the_action_in_either_way_and_behind_references():
    document = openapi()
    integration = document["paths"]["/confirm"]["post"].pop("x-amazon-apigateway-integration")
    del integration["integrationSubtype"]
    integration["subtype"] = "EventBridge-PutEvents"
    document["components"]["integrations"] = {"put": integration}
    document["paths"]["/confirm"]["post"]["x-amazon-apigateway-integration"] = {"$ref": "#/components/integrations/put"}
    assert said(NATIVE_API, {"body": document}) == [by_function("body.components.integrations.put")]
    integration["subtype"] = "SQS-SendMessage"
    assert said(NATIVE_API, {"body": document}) == []


@pytest.mark.parametrize("name", ["bodyS3Location"])
def test_a_document_elsewhere_is_refused_even_if_it_is_not_known_yet_where(name: str):
    assert said(NATIVE_API, {name: NOT_YET}) == [ELSEWHERE]
    assert said(NATIVE_API, {name: {"bucket": "b"}, "body": openapi()}) == [ELSEWHERE]


@pytest.mark.parametrize(
    ("place", "deferred"),
    [
        ("body", "body.paths.x-amazon-apigateway-integration.subtype"),
        (
            "body.paths./confirm.post.x-amazon-apigateway-integration.integrationSubtype",
            "body.paths./confirm.post.x-amazon-apigateway-integration.integrationSubtype",
        ),
    ],
    ids=range(2),
)
def test_a_document_that_is_not_known_yet_is_left_to_the_update(place: str, deferred: str):
    inputs = put({"body": openapi("EventBridge-PutEvents")}, place, NOT_YET)
    assert deferred.rpartition(".")[2] in {found.rpartition(".")[2] for found in decided(NATIVE_API, inputs)[1]} | {
        "subtype"
    }
    assert said(NATIVE_API, inputs) == []


# --- what guards a direct integration


def changed(base: str, *changes: tuple[str, str, str, Any]) -> list[str]:
    """What the rule says of a base with these changes: type, name, place and value."""
    program = Program(list(BASES[base]))
    for type_, name, place, value in changes:
        program.put(type_, name, place, value)
    return stack_said(GUARDED, *program.things)


@pytest.mark.parametrize(
    ("authorization", "accepted"),
    [("AWS_IAM", True), ("CUSTOM", True), ("JWT", True), ("jwt", True), (NOT_YET, True), ("NONE", False), (7, False)],
    ids=range(7),
)
def test_what_a_route_may_ask_for(authorization: Any, *, accepted: bool):
    found = changed(SINGLE, (ROUTE, "confirm", "authorizationType", authorization))
    assert found == ([] if accepted else [OPEN])


def test_a_route_to_a_function_may_be_open_and_a_stage_of_functions_without_limits():
    assert changed(SINGLE, (INTEGRATION, "confirm", "integrationSubtype", None)) == []
    opened = (ROUTE, "confirm", "authorizationType", "NONE")
    unlimited_ = (STAGE, "all", "defaultRouteSettings", None)
    assert changed(SINGLE, (INTEGRATION, "confirm", "integrationSubtype", None), opened, unlimited_) == []
    assert len(changed(SINGLE, opened, unlimited_)) == 3


def known(base: str) -> list[Thing]:
    """The resources once AWS has made them: every reference is a value, and nothing says where it is from."""
    ids = {"apiId": "api"}
    things: list[Thing] = []
    for thing in BASES[base]:
        inputs = {name: ids.get(name, f"integrations/{thing.name}") for name in thing.inputs}
        kept = {name: inputs[name] if value is NOT_YET else value for name, value in thing.inputs.items()}
        things.append(Thing(type=thing.type, name=thing.name, inputs={**kept, "id": thing.name}))
    return things


def test_resources_are_joined_by_their_values_too():
    program = Program([thing for thing in known(SINGLE) if thing.name != "another"])
    assert stack_said(GUARDED, *program.things) == []
    program.put(ROUTE, "confirm", "authorizationType", "NONE")
    program.put(STAGE, "all", "defaultRouteSettings", {})
    limits = [unlimited("throttlingBurstLimit"), unlimited("throttlingRateLimit")]
    assert stack_said(GUARDED, *program.things) == sorted([OPEN, *limits])
    program.put(ROUTE, "confirm", "target", "integrations/read")
    assert stack_said(GUARDED, *program.things) == limits
    program.put(STAGE, "all", "apiId", "other")
    assert stack_said(GUARDED, *program.things) == []


def test_a_target_of_another_shape_leads_nowhere():
    opened = (ROUTE, "confirm", "authorizationType", "NONE")
    program = Program(known(SINGLE))
    program.put(*opened)
    for target in (7, {}, "confirm-id", "integrations/"):
        program.put(ROUTE, "confirm", "target", target)
        assert OPEN not in stack_said(GUARDED, *program.things)


def test_a_websocket_api_asks_when_somebody_connects():
    assert changed(SOCKET, (ROUTE, "send", "authorizationType", "NONE")) == []
    assert changed(SOCKET, (ROUTE, "connect", "authorizationType", "NONE")) == [OPEN]
    opened = (ROUTE, "connect", "authorizationType", "NONE")
    assert changed(SOCKET, opened, (INTEGRATION, "send", "integrationType", "AWS_PROXY")) == []
    assert changed(SOCKET, opened, (INTEGRATION, "send", "integrationType", NOT_YET)) == []


def test_a_websocket_api_without_a_route_for_connecting_is_open():
    without = Program(list(BASES[SOCKET]))
    without.remove(ROUTE, "connect")
    assert stack_said(GUARDED, *without.things) == [NOT_CONNECTED]
    without.put(ROUTE, "send", "authorizationType", "NONE")
    assert stack_said(GUARDED, *without.things) == [NOT_CONNECTED]
    elsewhere = [thing for thing in without.things if thing.type != API]
    assert stack_said(GUARDED, *elsewhere) == []
    without.put(INTEGRATION, "send", "integrationType", "AWS_PROXY")
    assert stack_said(GUARDED, *without.things) == []


def test_a_route_that_may_be_the_one_for_connecting_is_left_to_the_update():
    program = Program(list(BASES[SOCKET]))
    program.put(ROUTE, "connect", "routeKey", NOT_YET)
    assert stack_said(GUARDED, *program.things) == []
    program.put(ROUTE, "connect", "routeKey", "$disconnect")
    assert stack_said(GUARDED, *program.things) == [NOT_CONNECTED]
    of_another = dataclasses.replace(program.remove(ROUTE, "connect"), inputs={"routeKey": "$connect"}, uses={})
    program.add(of_another)
    assert stack_said(GUARDED, *program.things) == [NOT_CONNECTED]


RATE, BURST = LIMITS
HIGH = {RATE: 900000, BURST: 500000}
LOWER = ["lower {0}.throttlingBurstLimit to 5000 or less", "lower {0}.throttlingRateLimit to 10000 or less"]
UNLIMITED = [unlimited(BURST), unlimited(RATE)]
OWN, OTHERS = {"routeKey": "POST /confirm"}, {"routeKey": "GET /orders"}


@pytest.mark.parametrize("base", [SINGLE, TEXT])
@pytest.mark.parametrize(
    ("default", "routes", "expected"),
    [
        (LIMITS, [], []),
        (LIMITS, [OWN], []),
        (LIMITS, [{**OTHERS, **HIGH}], []),
        (LIMITS, [{**OWN, **HIGH}], [line.format("routeSettings[0]") for line in LOWER]),
        (LIMITS, [{**OWN, RATE: 900000}], [LOWER[1].format("routeSettings[0]")]),
        (LIMITS, [{"routeKey": NOT_YET, **HIGH}], []),
        (LIMITS, NOT_YET, []),
        (HIGH, [{**OWN, **LIMITS}], []),
        (HIGH, [{**OWN, RATE: 5}], [LOWER[0].format("defaultRouteSettings")]),
        (None, [{**OWN, **LIMITS}], []),
        (None, [OTHERS, {**OWN, **LIMITS}], []),
        (None, [{**OWN, RATE: 5}], [unlimited(BURST)]),
        (None, [{**OWN, **LIMITS, RATE: NOT_YET}], []),
        (None, [{**OTHERS, **LIMITS}], UNLIMITED),
        (None, [{"routeKey": NOT_YET, **LIMITS}], []),
        (None, [{"routeKey": NOT_YET}], UNLIMITED),
        (None, [NOT_YET], []),
        (None, NOT_YET, []),
        (None, None, UNLIMITED),
        (NOT_YET, [OWN], []),
    ],
    ids=range(20),
)
def test_a_limit_is_the_routes_own_or_else_the_stages(base: str, default: Any, routes: Any, expected: list[str]):
    limits = {"defaultRouteSettings": default, "routeSettings": routes}
    assert changed(base, *((STAGE, "all", place, value) for place, value in limits.items())) == expected


def test_a_native_stage_has_the_limits_of_routes_by_their_keys():
    place = (NATIVE_STAGE, "all", "routeSettings")
    for own, expected in (
        ({"POST /confirm": LIMITS}, []),
        ({"GET /orders": LIMITS}, UNLIMITED),
        ({"GET /orders": HIGH, "POST /confirm": LIMITS}, []),
        ({"GET /orders": {}, "POST /confirm": HIGH}, [line.format("routeSettings[1]") for line in LOWER]),
    ):
        assert changed(NATIVE_BY_ROUTE, (*place, own)) == expected


def test_the_limits_of_a_route_are_no_limits_of_another_that_is_direct_too():
    assert changed(BY_ROUTE, (STAGE, "all", "routeSettings[1].routeKey", "POST /other")) == UNLIMITED
    assert changed(BY_ROUTE, (ROUTE, "confirm", "routeKey", "POST /other")) == UNLIMITED
    assert changed(BY_ROUTE, (ROUTE, "confirm", "routeKey", NOT_YET)) == UNLIMITED
    program = Program([thing for thing in BASES[BY_ROUTE] if thing.type != ROUTE])
    assert stack_said(GUARDED, *program.things) == UNLIMITED
    assert changed(BY_ROUTE, (ROUTE, "read", "target", "integrations/confirm")) == []


def test_the_default_route_of_a_document_is_named_as_it_is_in_a_stage():
    document = openapi()
    document["paths"] = {"/$default": {"x-amazon-apigateway-any-method": document["paths"]["/confirm"]["post"]}}
    program = Program(list(BASES[OBJECT]))
    program.put(NATIVE_API, None, "body", document)
    program.replace(NATIVE_STAGE, "all", {"apiId": NOT_YET, "routeSettings": {"$default": LIMITS}})
    assert stack_said(GUARDED, *program.things) == []
    program.put(NATIVE_STAGE, "all", "routeSettings", {"ANY /$default": LIMITS})
    assert stack_said(GUARDED, *program.things) == UNLIMITED


@pytest.mark.parametrize(
    "place",
    ["body", "body.paths", "body.paths./confirm", "body.paths./confirm.post", "body.paths./confirm.post.security"],
)
def test_a_guard_that_is_not_known_yet_is_left_to_the_update(place: str):
    opened = put({"body": openapi()}, "body.paths./confirm.post.security", [])
    assert len(stack_said(GUARDED, Thing(type=NATIVE_API, name="api", inputs=opened))) == 1
    assert stack_said(GUARDED, Thing(type=NATIVE_API, name="api", inputs=put(opened, place, NOT_YET))) == []


def test_a_document_with_functions_alone_asks_for_nothing():
    document = openapi()
    del document["paths"]["/confirm"]
    assert stack_said(GUARDED, Thing(type=API, name="api", inputs={"body": document})) == []
    things = [dataclasses.replace(thing, inputs={**thing.inputs}) for thing in BASES[TEXT]]
    program = Program(things)
    program.put(API, None, "body", "{}")
    program.put(STAGE, None, "defaultRouteSettings", None)
    assert run(program).violations == {}


@pytest.mark.parametrize("shape", ["text", 7, True, [], {}, [None], [[]], [{}], {"a": {"b": [1]}}])
@pytest.mark.parametrize("name", [SINGLE, OBJECT, SOCKET, BY_ROUTE, NATIVE_BY_ROUTE])
def test_inputs_of_another_shape_are_read_without_an_error(name: str, shape: Any):
    seen = 0
    for thing in BASES[name]:
        for place in places(thing.inputs):
            odd = dataclasses.replace(thing, inputs=put(thing.inputs, place, shape))
            engine = Engine([policy_of(TOLD), policy_of(GUARDED)])
            found = engine.register(odd.type, odd.inputs).messages
            found += engine.analyze_stack([odd if other is thing else other for other in BASES[name]]).messages
            assert not [message for message in found if "cannot read" in message]
            seen += 1
    assert seen > 15
