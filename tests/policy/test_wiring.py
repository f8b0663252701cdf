"""Emitters and rules: what the pack can vouch for, and what it says nothing of because others may have a part in it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

import contracts
from tests.policy.cases.routing import BUS_POLICY, NATIVE_RULE, RULE, TARGET
from tests.policy.cases.wiring import (
    BASES,
    CALL,
    CLASSIC_PIPE_AT,
    CLASSIC_PIPED,
    IMPORT,
    INTEGRATION,
    METHOD,
    NATIVE_METHOD,
    NATIVE_PIPE,
    NATIVE_REST_API,
    NO_TARGET,
    NOBODY,
    OPENAPI,
    OPENAPI_AT,
    OTHER_BUS,
    PIPE,
    REST_API,
    WIRING,
    body,
    lost,
    respelled,
)
from tests.policy.engine import NOT_YET
from tests.policy.programs import Program, Thing, own, places, put, run
from tests.policy.suite import said as alone_said

ROLE, ROLE_POLICY = "aws:iam/role:Role", "aws:iam/rolePolicy:RolePolicy"
MISSPELT = ["dynamodb.order"]


def said(program: Program, *, update: bool = False) -> list[str]:
    """What the rule says of a whole program."""
    return run(program, only=[], update=update).stack.violations.get(WIRING, [])


def changed(base: str, *changes: Callable[[Program], Any]) -> Program:
    program = Program(BASES[base]) if base in BASES else Program(list(own(base)))
    for change in changes:
        change(program)
    return program


def misspelt(program: Program) -> None:
    """A source that nobody emits, in one of the rules that take orders."""
    program.edit(RULE, "acme-orders", "eventPattern", lambda pattern: pattern.update(source=MISSPELT))


@pytest.mark.parametrize("preview", [True, False])
def test_our_own_bus_is_vouched_for(*, preview: bool):
    program = Program(list(own("prod", preview=preview)))
    assert said(program, update=not preview) == []
    misspelt(program)
    assert said(program, update=not preview) == [NOBODY]


@pytest.mark.parametrize("preview", [True, False])
def test_a_body_that_is_imported_is_read_like_one_of_the_api(*, preview: bool):
    program = Program(list(own("prod", preview=preview)))
    api = program.only(REST_API)
    program.drop(REST_API, None, "body")
    inputs = {"restApi": NOT_YET, "body": api.inputs["body"]}
    program.add(Thing(type=IMPORT, name="body", inputs=inputs, uses={"restApi": (api.urn,)}))
    assert said(program, update=not preview) == []
    misspelt(program)
    assert said(program, update=not preview) == [NOBODY]


# --- what others may emit


def _statement(type_: str, name: str, change: Callable[[dict[str, Any]], Any]) -> Callable[[Program], None]:
    def edited(document: dict[str, Any]) -> None:
        change(document["Statement"][0])

    return lambda program: program.edit(type_, name, "policy", edited)


def _policy(change: Callable[[dict[str, Any]], Any]) -> Callable[[Program], None]:
    return _statement(BUS_POLICY, "orders", change)


def _reconcile(change: Callable[[dict[str, Any]], Any]) -> Callable[[Program], None]:
    """Change what the one function that emits may emit."""
    return _statement(ROLE_POLICY, "reconcile-emits-orders-again", change)


def _of_another_bus(program: Program) -> None:
    inputs = program.remove(BUS_POLICY, "orders").inputs
    program.add(Thing(type=BUS_POLICY, name="orders", inputs={**inputs, "eventBusName": "other"}))


def _add(type_: str, inputs: dict[str, Any], **uses: tuple[str, str]) -> Callable[[Program], None]:
    def add(program: Program) -> None:
        of = {name: (program.only(*thing).urn,) for name, thing in uses.items()}
        program.add(Thing(type=type_, name="added", inputs=inputs, uses=of))

    return add


SHARED: dict[str, Callable[[Program], Any]] = {
    "no bus policy": lambda p: p.remove(BUS_POLICY, "orders"),
    "a bus policy of another bus": _of_another_bus,
    "a bus policy that is not known yet": lambda p: p.put(BUS_POLICY, "orders", "policy", NOT_YET),
    "a bus policy that refuses other actions": _policy(lambda s: s.update(Action="events:PutRule")),
    "a bus policy that refuses an account": _policy(lambda s: s.update(Principal={"AWS": "111122223333"})),
    "a bus policy that admits more under another condition": _policy(
        lambda s: s["Condition"].update(StringNotEquals={"aws:PrincipalAccount": "111122223333"})
    ),
    "a bus policy about another key": _policy(
        lambda s: s.update(
            Condition={"ArnNotEquals": {"aws:SourceArn": s["Condition"]["ArnNotEquals"]["aws:PrincipalArn"]}}
        )
    ),
    "a bus policy about two keys": _policy(lambda s: s["Condition"]["ArnNotEquals"].update({"aws:SourceArn": "x"})),
    "a bus policy that refuses those that it names": _policy(
        lambda s: s.update(Condition={"ArnEquals": s["Condition"]["ArnNotEquals"]})
    ),
    "a bus policy that only allows": _policy(lambda s: s.update(Effect="Allow", Principal={"AWS": "111122223333"})),
    "a bus policy without a condition": _policy(lambda s: s.pop("Condition")),
    "a bus policy with a condition of another shape": _policy(lambda s: s.update(Condition={"ArnNotEquals": "x"})),
    "a publisher of another stack": _policy(
        lambda s: s["Condition"]["ArnNotEquals"]["aws:PrincipalArn"].append("arn:aws:iam::111122223333:role/other")
    ),
    "code that may emit any source": _reconcile(lambda s: s.pop("Condition")),
    "code that may emit a range of sources": _reconcile(
        lambda s: s.update(Condition={"StringLike": {"events:source": "dynamodb.*"}})
    ),
    "code that may emit what is not known yet": lambda p: p.put(
        ROLE_POLICY, "reconcile-emits-orders-again", "policy", NOT_YET
    ),
    "code with all of EventBridge": _reconcile(lambda s: (s.update(Action="events:*"), s.pop("Condition"))),
    "code with all but some": _reconcile(lambda s: (s.pop("Action"), s.update(NotAction="s3:*"), s.pop("Condition"))),
    "code with a managed policy": lambda p: p.put(
        ROLE, "reconcile", "managedPolicyArns", ["arn:aws:iam::aws:policy/x"]
    ),
    "code with a policy inside of its role": lambda p: p.put(ROLE, "reconcile", "inlinePolicies", [{"name": "x"}]),
    "code with an attached policy": _add(
        "aws:iam/rolePolicyAttachment:RolePolicyAttachment", {"role": NOT_YET}, role=(ROLE, "reconcile")
    ),
    "a policy that is attached to what is not known yet": _add(
        "aws:iam/rolePolicyAttachment:RolePolicyAttachment", {"role": NOT_YET}
    ),
    "a role that anybody may assume": lambda p: p.edit(
        ROLE, "orders-pipe", "assumeRolePolicy", lambda d: d["Statement"][0].update(Principal={"AWS": "*"})
    ),
    "a role whose trust is not known yet": lambda p: p.put(ROLE, "orders-pipe", "assumeRolePolicy", NOT_YET),
    "a pipe whose source is not known yet": lambda p: p.put(NATIVE_PIPE, None, "targetParameters", NOT_YET),
    "a pipe whose source differs by record": lambda p: p.put(
        NATIVE_PIPE, None, "targetParameters.eventBridgeEventBusParameters.source", "$.dynamodb.NewImage.source.S"
    ),
    "an API that is not known yet": lambda p: p.put(REST_API, None, "body", NOT_YET),
    "an HTTP API that puts events": _add(
        "aws:apigatewayv2/integration:Integration", {"integrationSubtype": "EventBridge-PutEvents"}
    ),
    "an HTTP API of AWS Cloud Control that puts events": _add(
        "aws-native:apigatewayv2:Integration", {"integrationSubtype": "EventBridge-PutEvents"}
    ),
    "an integration with another template": _add(
        INTEGRATION, {"type": "AWS", "uri": "arn:aws:apigateway:eu-west-1:events:action/PutEvents"}
    ),
    "an integration that is not known yet": _add(
        INTEGRATION, {"type": "AWS", "uri": NOT_YET, "requestTemplates": NOT_YET}
    ),
}


@pytest.mark.parametrize("what", SHARED)
def test_of_a_bus_that_others_may_put_events_on_it_says_nothing(what: str):
    assert said(changed("prod", misspelt)) == [NOBODY]
    assert said(changed("prod", misspelt, SHARED[what])) == []


@pytest.mark.parametrize(
    "change",
    [
        _policy(lambda s: s.update(Action="events:*")),
        _policy(lambda s: s.update(Principal={"AWS": "*"})),
        _policy(lambda s: s.update(Condition={"StringNotLike": s["Condition"]["ArnNotEquals"]})),
        _reconcile(lambda s: s.update(Condition={"StringEquals": {"events:source": "dynamodb.orders"}})),
        _add("aws:iam/rolePolicyAttachment:RolePolicyAttachment", {"role": "orders-api"}),
        _add("aws:apigatewayv2/integration:Integration", {"integrationType": "AWS_PROXY"}),
        _add(INTEGRATION, {"type": "AWS", "uri": "arn:aws:apigateway:eu-west-1:sqs:action/SendMessage"}),
    ],
)
def test_a_bus_that_is_closed_in_other_words_is_vouched_for(change: Callable[[Program], Any]):
    assert said(changed("prod", change)) == []
    assert said(changed("prod", misspelt, change)) == [NOBODY]


def test_what_code_may_emit_is_emitted():
    on = "event-gateway-prod-orders"

    def audited(*changes: Callable[[Program], Any]) -> Program:
        program = changed("prod", *changes)
        rule = {"name": "audit", "eventBusName": on, "eventPattern": '{"source": ["audit"]}'}
        program.add(Thing(type=RULE, name="audit", inputs=rule))
        program.add(Thing(type=TARGET, name="audit", inputs={"rule": "audit", "eventBusName": on}))
        return program

    both = {"ForAnyValue:StringEquals": {"events:source": ["audit", "dynamodb.orders"]}}
    assert said(audited()) == [NOBODY]
    assert said(audited(_reconcile(lambda s: s.update(Condition=both)))) == []


# --- what others may take


def test_of_a_bus_whose_rules_are_elsewhere_it_says_nothing():
    program = changed(CLASSIC_PIPED, lambda p: p.put(PIPE, None, f"{CLASSIC_PIPE_AT}.source", "other"))
    assert said(program) == [lost(CLASSIC_PIPE_AT)]
    program.remove(NATIVE_RULE)
    assert said(program) == []


def test_of_a_bus_that_is_said_to_be_shared_it_says_nothing():
    program = changed(CLASSIC_PIPED, lambda p: p.put(PIPE, None, f"{CLASSIC_PIPE_AT}.source", "other"))
    bus = "aws-native:events:EventBus"
    named = program.only(bus).inputs["name"]
    for shared, messages in (([], 1), (["another"], 1), ([named], 0), (["another", named], 0)):
        assert len(alone_said(WIRING, *program.things, config={"sharedBuses": shared})) == messages


def test_a_bus_whose_name_is_not_known_yet_may_be_a_shared_one():
    program = changed(CLASSIC_PIPED, lambda p: p.put(PIPE, None, f"{CLASSIC_PIPE_AT}.source", "other"))
    program.put("aws-native:events:EventBus", None, "name", NOT_YET)
    bus = program.only("aws-native:events:EventBus").urn
    for type_, place in ((PIPE, "target"), (NATIVE_RULE, "eventBusName")):
        thing = program.remove(type_)
        program.add(dataclasses.replace(thing, inputs={**thing.inputs, place: NOT_YET}, uses={place: (bus,)}))
    assert alone_said(WIRING, *program.things) == [lost(CLASSIC_PIPE_AT)]
    assert alone_said(WIRING, *program.things, config={"sharedBuses": ["another"]}) == []


def test_a_shared_bus_does_not_hide_a_rule_that_waits_in_vain():
    program = changed("prod", misspelt)
    named = program.only("aws:cloudwatch/eventBus:EventBus").inputs["name"]
    assert alone_said(WIRING, *program.things, config={"sharedBuses": [named]}) == [NOBODY]


@pytest.mark.parametrize(
    ("source", "detail_type", "taken"),
    [
        ("$.body.source", contracts.ORDER_CREATED.detail_type, True),
        ("$.body.source", "order.placd", False),
        (contracts.ORDER_CREATED.source, "$.body.type", True),
        ("other", "$.body.type", False),
        ("$.body.source", "$.body.type", True),
        (NOT_YET, NOT_YET, True),
        (None, None, True),
    ],
    ids=range(7),
)
def test_what_is_known_of_an_emission_is_enough_to_tell_that_no_rule_takes_it(
    source: Any, detail_type: Any, *, taken: bool
):
    program = changed(CLASSIC_PIPED)
    program.put(PIPE, None, f"{CLASSIC_PIPE_AT}.source", source)
    program.put(PIPE, None, f"{CLASSIC_PIPE_AT}.detailType", detail_type)
    assert said(program) == ([] if taken else [lost(CLASSIC_PIPE_AT)])


@pytest.mark.parametrize(
    ("inputs", "taken"),
    [
        ({"state": "ENABLED", "isEnabled": True}, True),
        ({"state": "DISABLED"}, False),
        ({"state": "DISABLED", "isEnabled": NOT_YET}, False),
        ({"isEnabled": False}, False),
        ({"isEnabled": False, "state": NOT_YET}, False),
        ({"state": NOT_YET}, True),
        ({"isEnabled": NOT_YET}, True),
    ],
    ids=range(7),
)
def test_a_rule_that_is_disabled_takes_nothing(inputs: dict[str, Any], *, taken: bool):
    program = changed(CLASSIC_PIPED)
    for name, value in inputs.items():
        program.put(NATIVE_RULE, None, name, value)
    assert said(program) == ([] if taken else [lost(CLASSIC_PIPE_AT)])
    program.put(PIPE, None, f"{CLASSIC_PIPE_AT}.source", "$.body.source")
    program.put(PIPE, None, f"{CLASSIC_PIPE_AT}.detailType", "$.body.type")
    assert said(program) == ([] if taken else [lost(CLASSIC_PIPE_AT)])


def test_a_rule_that_may_be_on_the_bus_may_take_what_is_emitted():
    program = changed(CLASSIC_PIPED, lambda p: p.put(PIPE, None, f"{CLASSIC_PIPE_AT}.source", "other"))
    elsewhere = {"name": "x", "eventBusName": NOT_YET, "eventPattern": {"source": ["other"]}, "targets": NOT_YET}
    program.add(Thing(type=NATIVE_RULE, name="x", inputs=elsewhere))
    assert said(program) == []
    program.put(NATIVE_RULE, "x", "eventPattern", NOT_YET)
    assert said(program) == []
    program.put(NATIVE_RULE, "x", "eventBusName", "another")
    assert said(program) == [lost(CLASSIC_PIPE_AT)]


@pytest.mark.parametrize(
    "target",
    [
        NOT_YET,
        "arn:aws:lambda:eu-west-1:111122223333:function:orders",
        "arn:aws:kinesis:eu-west-1:111122223333:stream/orders",
    ],
)
def test_of_a_pipe_to_something_else_it_says_nothing(target: Any):
    program = changed(CLASSIC_PIPED, lambda p: p.put(PIPE, None, f"{CLASSIC_PIPE_AT}.source", "other"))
    program.put(PIPE, None, "target", target)
    assert said(program) == []
    program.put(PIPE, None, "targetParameters", {})
    assert said(program) == []


@pytest.mark.parametrize(
    ("matchers", "taken"),
    [
        (["carrier"], True),
        (["other", "carrier"], True),
        (["carriers"], False),
        ([{"prefix": "car"}], True),
        ([{"prefix": "cars"}], False),
        ([{"prefix": {"equals-ignore-case": "CAR"}}], True),
        ([{"suffix": "ier"}], True),
        ([{"suffix": "car"}], False),
        ([{"equals-ignore-case": "CARRIER"}], True),
        ([{"equals-ignore-case": "CARRIERS"}], False),
        ([{"wildcard": "c*r"}], True),
        ([{"wildcard": "c*s"}], False),
        ([{"wildcard": "c.*r"}], False),
        ([{"anything-but": "carrier"}], False),
        ([{"anything-but": ["other", "carrier"]}], False),
        ([{"anything-but": ["other"]}], True),
        ([{"anything-but": {"prefix": "car"}}], True),
        ([{"exists": True}], True),
        ([{"exists": False}], False),
        ([{"numeric": [">", 1]}], True),
        ([7, None, {}], True),
        ([7, None], False),
        ([NOT_YET], True),
        ("carrier", True),
        (NOT_YET, True),
    ],
)
@pytest.mark.parametrize("field", ["source", "$or"])
def test_a_rule_takes_what_its_pattern_may_match(matchers: Any, field: str, *, taken: bool):
    pattern = {"source": matchers} if field == "source" else {"$or": [{"source": matchers}, {"source": ["x"]}]}
    program = changed(METHOD, lambda p: p.put(NATIVE_RULE, None, "eventPattern", pattern))
    assert said(program) == ([] if taken else [lost("integration.requestTemplates")])


@pytest.mark.parametrize("pattern", ["[]", "{", 7])
def test_a_pattern_that_cannot_be_read_takes_nothing_and_is_another_rules_concern(pattern: Any):
    program = changed(METHOD, lambda p: p.put(NATIVE_RULE, None, "eventPattern", pattern))
    assert said(program) == [lost("integration.requestTemplates")]
    program = changed("prod", lambda p: p.put(RULE, "acme-orders", "eventPattern", pattern))
    assert said(program) == []


# --- templates


@pytest.mark.parametrize(
    "template",
    [
        '{"Entries": [{"Source": "$input.path(\'$.source\')", "EventBusName": "orders"}]}',
        '{"Entries": [{"Source": "one", "EventBusName": "orders"}, {"Source": "two", "EventBusName": "orders"}]}',
        f'{{"Entries": [{{"DetailType": "{contracts.ORDER_SHIPPED.detail_type}", "EventBusName": "orders"}}]}}',
        '{"Entries": [{"Source": "one", "DetailType": "x", "EventBusName": "$stageVariables.bus"}]}',
        '{"Entries": [{"Source": "one", "DetailType": "x", "EventBusName": "orders"}, {"EventBusName": "other"}]}',
        '{"Entries": [{"Source": "one", "DetailType": "x", "EventBusName": "other"}]}',
        '{"Entries": [{"Source": "one", "DetailType": "x"}]}',
        NOT_YET,
        7,
    ],
)
def test_what_a_template_does_not_tell_is_not_held_against_it(template: Any):
    place = "integration.requestTemplates.application/json"
    assert said(changed(METHOD, lambda p: p.put(NATIVE_METHOD, None, place, respelled))) != []
    assert said(changed(METHOD, lambda p: p.put(NATIVE_METHOD, None, place, template))) == []


def test_a_template_may_name_its_bus_by_arn_and_have_comments():
    template = (
        '## "Source": "another"\n{"Entries": [{"Source": "one", "DetailType": "x", '
        '"EventBusName": "arn:aws:events:eu-west-1:111122223333:event-bus/orders"}]}'
    )
    place = "requestTemplates.application/json"
    program = changed(CALL, lambda p: p.put(INTEGRATION, None, place, template))
    assert said(program) == [lost("requestTemplates")]
    program.put(NATIVE_RULE, None, "eventPattern", {"source": ["one"]})
    assert said(program) == []


def test_a_native_body_may_be_an_object():
    program = changed(OPENAPI, lambda p: p.put(NATIVE_REST_API, None, "body", body()))
    assert said(program) == []
    program.put(NATIVE_RULE, None, "eventPattern", {"source": ["other"]})
    assert said(program) == [lost(OPENAPI_AT.replace("paths[2]", "paths[0]"))]


def test_a_bus_whose_name_is_not_known_yet_may_be_the_one_that_is_meant():
    program = changed(CALL, lambda p: p.put(NATIVE_RULE, None, "eventPattern", {"source": ["other"]}))
    assert said(program) == [lost("requestTemplates")]
    program.put("aws-native:events:EventBus", None, "name", NOT_YET)
    assert said(program) == []


# --- targets


@pytest.mark.parametrize("type_", [RULE, NATIVE_RULE])
@pytest.mark.parametrize(
    ("inputs", "needs"),
    [
        ({}, True),
        ({"state": "ENABLED", "isEnabled": True}, True),
        ({"state": "ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS"}, True),
        ({"state": "DISABLED"}, False),
        ({"isEnabled": False}, False),
        ({"state": NOT_YET}, False),
        ({"isEnabled": NOT_YET}, False),
    ],
    ids=range(7),
)
def test_a_rule_that_takes_events_needs_a_target(type_: str, inputs: dict[str, Any], *, needs: bool):
    rule = Thing(type=type_, name="rule", inputs={"name": "rule", "eventPattern": '{"source": ["x"]}', **inputs})
    assert said(Program([rule])) == ([NO_TARGET] if needs else [])


def test_a_target_that_may_be_of_the_rule_is_one():
    program = changed("prod", lambda p: p.put(TARGET, "acme-confirm", "rule", "another"))
    assert said(program) == []  # Pulumi's record says that it is computed from the rule
    thing = program.remove(TARGET, "acme-confirm")
    program.add(Thing(type=TARGET, name="acme-confirm", inputs=thing.inputs))
    assert said(program) == [NO_TARGET]
    program.put(TARGET, "acme-confirm", "rule", NOT_YET)
    assert said(program) == []


def test_a_target_of_rules_of_one_name_on_two_buses_is_on_either():
    rules = [
        Thing(type=RULE, name=bus, inputs={"name": "same", "eventBusName": bus, "eventPattern": '{"source": ["x"]}'})
        for bus in ("one", "two", "three")
    ]
    for bus, messages in (("one", []), ("three", []), ("four", [OTHER_BUS]), (NOT_YET, [])):
        target = Thing(type=TARGET, name="target", inputs={"rule": "same", "eventBusName": bus})
        assert said(Program([*rules, target])) == messages


@pytest.mark.parametrize(("bus", "messages"), [("two", [OTHER_BUS]), (NOT_YET, [])], ids=["known", "unknown"])
def test_the_bus_of_another_rule_is_not_that_of_the_target(bus: Any, messages: list[str]):
    rules = [
        Thing(type=RULE, name=name, inputs={"name": name, "eventBusName": on, "eventPattern": '{"source": ["x"]}'})
        for name, on in (("first", "one"), ("second", bus))
    ]
    targets = [Thing(type=TARGET, name=rule.name, inputs={"rule": rule.name, "eventBusName": "one"}) for rule in rules]
    assert said(Program([*rules, *targets])) == messages


def test_a_target_names_its_bus_by_arn_too():
    arn = "arn:aws:events:eu-west-1:111122223333:event-bus/event-gateway-prod-orders"
    assert said(changed("prod", lambda p: p.put(TARGET, "acme-orders", "eventBusName", arn))) == []


def test_a_target_of_a_rule_elsewhere_is_not_held_against_it():
    target = Thing(type=TARGET, name="target", inputs={"rule": "elsewhere"})
    assert said(Program([target])) == []


@pytest.mark.parametrize("base", [CLASSIC_PIPED, OPENAPI, METHOD, CALL])
@pytest.mark.parametrize("shape", ["text", 7, [], {}, [None], [[]]])
def test_inputs_of_another_shape_are_read_without_an_error(base: str, shape: Any):
    for thing in BASES[base]:
        for place in places({name: thing.inputs[name] for name in thing.inputs if name != "body"}):
            program = Program(BASES[base])
            program.things[program.things.index(thing)] = Thing(
                type=thing.type, name=thing.name, inputs=put(thing.inputs, place, shape)
            )
            said(program)


def test_documents_of_another_shape_are_read_without_an_error():
    for document in ("[]", "7", "{}", '{"Statement": [7]}', '{"Statement": {"Effect": "Deny", "Principal": "*"}}'):
        for type_, name, place in (
            (BUS_POLICY, "orders", "policy"),
            (ROLE_POLICY, "reconcile-emits-orders-again", "policy"),
            (ROLE, "reconcile", "assumeRolePolicy"),
        ):
            said(changed("prod", lambda p: p.put(type_, name, place, document)))  # noqa: B023 - called at once
