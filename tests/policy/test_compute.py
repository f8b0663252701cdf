"""Functions: which are handed events, which are behind an API, and what a stack of ours waives."""

from __future__ import annotations

from typing import Any

import pytest

from tests.policy.cases.compute import (
    ANY_ACCOUNT,
    ANYBODY,
    ARN,
    BOUNDED,
    CLASSIC_CONFIG,
    CLASSIC_FUNCTION,
    CLASSIC_GROUP,
    CLASSIC_PERMISSION,
    CLASSIC_URL,
    DROPPED,
    IN_TIME,
    KEPT,
    LOG_GROUP,
    NATIVE_CONFIG,
    NATIVE_FUNCTION,
    NATIVE_GROUP,
    NATIVE_PERMISSION,
    NATIVE_URL,
    NO_LOG_GROUP,
    PERMISSION,
    RUNTIME,
    SIZED,
    TOO_LATE,
    TRACED,
    UNSUPPORTED,
    URL,
    function,
    not_chosen,
)
from tests.policy.engine import NOT_YET, Engine
from tests.policy.programs import Program, Thing, drop, own, places, put, run
from tests.policy.suite import said

TYPES = [CLASSIC_FUNCTION, NATIVE_FUNCTION]
RULE, NATIVE_RULE = "aws:cloudwatch/eventRule:EventRule", "aws-native:events:Rule"
TARGET = "aws:cloudwatch/eventTarget:EventTarget"
SCHEDULE, PATTERN = {"scheduleExpression": "rate(1 hour)"}, {"eventPattern": '{"source": ["orders"]}'}


def about(type_: str, prop: str, *subjects: Thing, **inputs: Any) -> Thing:
    """A resource with a property that was computed from others, and is not known yet unless it is given."""
    uses = {prop: tuple(subject.urn for subject in subjects)}
    return Thing(type=type_, name="other", inputs={prop: NOT_YET, **inputs}, uses=uses)


SOURCES: list[tuple[str, str, Any]] = [
    ("aws:s3/bucketNotification:BucketNotification", "lambdaFunctions", [{"lambdaFunctionArn": NOT_YET}]),
    ("aws:sns/topicSubscription:TopicSubscription", "endpoint", NOT_YET),
    ("aws-native:s3:Bucket", "notificationConfiguration", {"lambdaConfigurations": [{"function": NOT_YET}]}),
    ("aws-native:sns:Subscription", "endpoint", NOT_YET),
    (TARGET, "arn", NOT_YET),
    (NATIVE_RULE, "targets", [{"arn": NOT_YET}]),
]


@pytest.mark.parametrize(("type_", "prop", "value"), SOURCES, ids=range(len(SOURCES)))
@pytest.mark.parametrize("kind", TYPES)
def test_whoever_is_handed_events_keeps_those_it_fails_on(kind: str, type_: str, prop: str, value: Any):
    place = function(kind)
    on_a_bus = {"eventBusName": "orders", **PATTERN} if type_ in (TARGET, NATIVE_RULE) else {}
    assert said(KEPT, place, about(type_, prop, place, **{prop: value}, **on_a_bus)) == [DROPPED]
    another = Thing(type=kind, name="another", inputs={"deadLetterConfig": {"targetArn": NOT_YET}})
    assert said(KEPT, place, another, about(type_, prop, another, **{prop: value}, **on_a_bus)) == []
    assert said(KEPT, place, about(type_, prop, **{prop: value}, **on_a_bus)) == []
    assert said(KEPT, place) == []


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("config", [CLASSIC_CONFIG, NATIVE_CONFIG])
def test_they_are_kept_by_a_destination_or_a_queue_of_the_function(kind: str, config: str):
    place = function(kind)
    topic = about("aws-native:sns:Subscription", "endpoint", place)
    destination = {"destinationConfig": {"onFailure": {"destination": NOT_YET}}}
    success = {"destinationConfig": {"onSuccess": {"destination": NOT_YET}}}
    assert said(KEPT, place, topic, about(config, "functionName", place, **destination)) == []
    assert said(KEPT, place, topic, about(config, "functionName", **destination)) == []
    assert said(KEPT, place, topic, about(config, "functionName", place, destinationConfig=NOT_YET)) == []
    assert said(KEPT, place, topic, about(config, "functionName", place, **success)) == [DROPPED]
    assert said(KEPT, place, topic, about(config, "functionName", place)) == [DROPPED]
    another = Thing(type=kind, name="another", inputs=place.inputs)
    assert said(KEPT, place, another, topic, about(config, "functionName", another, **destination)) == [DROPPED]
    assert said(KEPT, function(kind, deadLetterConfig={"targetArn": NOT_YET}), topic) == []
    assert said(KEPT, function(kind, deadLetterConfig={}), topic) == [DROPPED]


@pytest.mark.parametrize(
    ("rule", "of_target", "expected"),
    [
        (PATTERN, {}, [DROPPED]),
        (SCHEDULE, {}, []),
        ({**SCHEDULE, **PATTERN}, {}, [DROPPED]),
        ({**SCHEDULE, "eventPattern": ""}, {}, []),
        ({**SCHEDULE, "eventPattern": NOT_YET}, {}, [DROPPED]),
        (None, {}, []),
        (None, {"eventBusName": "default"}, []),
        (None, {"eventBusName": NOT_YET}, []),
        (None, {"eventBusName": "orders"}, [DROPPED]),
    ],
    ids=range(9),
)
def test_the_ticks_of_a_schedule_are_no_events(
    rule: dict[str, Any] | None, of_target: dict[str, Any], expected: list[str]
):
    place = function()
    rules = [] if rule is None else [Thing(type=RULE, name="rule", inputs={"name": "nightly", **rule})]
    target = Thing(
        type=TARGET,
        name="target",
        inputs={"arn": NOT_YET, "rule": "nightly", **of_target},
        uses={"arn": (place.urn,)},
    )
    assert said(KEPT, place, target, *rules) == expected


def test_the_rule_of_a_target_may_be_one_of_the_other_provider_or_hold_the_target_itself():
    place = function()
    by_name = Thing(type=TARGET, name="target", inputs={"arn": NOT_YET, "rule": "n"}, uses={"arn": (place.urn,)})
    for said_of_it, expected in ((SCHEDULE, []), (PATTERN, [DROPPED])):
        native = Thing(type=NATIVE_RULE, name="rule", inputs={"name": "n", **said_of_it})
        assert said(KEPT, place, by_name, native) == expected
        assert (
            said(KEPT, place, about(NATIVE_RULE, "targets", place, targets=[{"arn": NOT_YET}], **said_of_it))
            == expected
        )


LAMBDA = "arn:aws:lambda:eu-west-1:111122223333:function:place"


@pytest.mark.parametrize("config", [CLASSIC_CONFIG, NATIVE_CONFIG])
@pytest.mark.parametrize("source", ["aws:sns/topicSubscription:TopicSubscription", "aws-native:sns:Subscription"])
def test_what_is_said_of_an_alias_says_nothing_of_the_function(source: str, config: str):
    place = function()
    subscribed = about(source, "endpoint", place)
    kept = {"destinationConfig": {"onFailure": {"destination": ARN.format("sqs", "letters")}}}
    assert said(KEPT, place, subscribed) == [DROPPED]
    for qualifier, expected in ((None, []), ("$LATEST", []), (NOT_YET, []), ("live", [DROPPED]), ("3", [DROPPED])):
        of_it = about(config, "functionName", place, qualifier=qualifier, **kept)
        assert said(KEPT, place, subscribed, of_it) == expected
        unknown = about(config, "functionName", qualifier=qualifier, **kept)
        assert said(KEPT, place, subscribed, unknown) == expected
    live = about(config, "functionName", place, qualifier="live", **kept)
    own = Thing(type=config, name="own", inputs={"functionName": NOT_YET, **kept}, uses={"functionName": (place.urn,)})
    assert said(KEPT, place, subscribed, live, own) == []


@pytest.mark.parametrize(
    ("arn", "expected"),
    [
        (LAMBDA, [DROPPED]),
        (f"{LAMBDA}:$LATEST", [DROPPED]),
        (f"{LAMBDA}:live", []),
        (f"{LAMBDA}:3", []),
        (7, [DROPPED]),
    ],
    ids=range(5),
)
def test_what_is_handed_over_through_a_version_is_not_asked_of_the_function(arn: Any, expected: list[str]):
    place = function()
    subscribed = about("aws:sns/topicSubscription:TopicSubscription", "endpoint", place)
    named = Thing(type=subscribed.type, name="named", inputs={"endpoint": arn}, uses=subscribed.uses)
    assert said(KEPT, place, named) == expected


@pytest.mark.parametrize("type_", [CLASSIC_CONFIG, NATIVE_CONFIG])
def test_what_the_provider_fills_in_is_not_chosen(type_: str):
    inputs = {"functionName": "place", "maximumRetryAttempts": 2, "maximumEventAgeInSeconds": 21600}
    assert said(BOUNDED, Thing(type=type_, name="config", inputs=inputs)) == []
    filled_in = {**inputs, "__defaults": ["maximumRetryAttempts", "maximumEventAgeInSeconds"]}
    assert said(BOUNDED, Thing(type=type_, name="config", inputs=filled_in)) == [
        not_chosen("maximumEventAgeInSeconds"),
        not_chosen("maximumRetryAttempts"),
    ]
    unknown = {**inputs, "maximumRetryAttempts": NOT_YET, "maximumEventAgeInSeconds": 0}
    assert said(BOUNDED, Thing(type=type_, name="config", inputs=unknown)) == []


@pytest.mark.parametrize("type_", TYPES)
def test_a_container_image_has_no_runtime(type_: str):
    bare = drop(function(type_).inputs, "runtime")
    assert said(RUNTIME, Thing(type=type_, name="place", inputs=bare)) == [UNSUPPORTED]
    image = {"imageUri": NOT_YET} if type_ == CLASSIC_FUNCTION else {"code": {"imageUri": NOT_YET}}
    for said_of_it in (image, {"packageType": "Image"}, {"packageType": NOT_YET}):
        assert said(RUNTIME, Thing(type=type_, name="place", inputs={**bare, **said_of_it})) == []
    assert said(RUNTIME, Thing(type=type_, name="place", inputs={**bare, "packageType": "Zip"})) == [UNSUPPORTED]
    assert said(RUNTIME, function(type_, runtime="python3.8", **image)) == [UNSUPPORTED]
    assert said(RUNTIME, function(type_, runtime=NOT_YET)) == []


@pytest.mark.parametrize("type_", TYPES)
def test_the_runtimes_that_are_accepted_are_configured(type_: str):
    assert said(RUNTIME, function(type_, runtime="go1.x"), config={"runtimes": ["go1.x"]}) == []
    assert said(RUNTIME, function(type_), config={"runtimes": ["go1.x"]}) == [UNSUPPORTED]


def test_what_is_not_known_of_a_function_is_chosen():
    for type_ in TYPES:
        unknown = function(type_, timeout=NOT_YET, memorySize=NOT_YET, tracingConfig=NOT_YET)
        assert said(SIZED, unknown) == said(TRACED, unknown) == []
    assert said(SIZED, function(NATIVE_FUNCTION, timeout=3, memorySize=128)) == []


@pytest.mark.parametrize(("type_", "name"), [(CLASSIC_GROUP, "name"), (NATIVE_GROUP, "logGroupName")])
@pytest.mark.parametrize("kind", TYPES)
def test_a_log_group_is_the_functions_by_either_of_two_ways(kind: str, type_: str, name: str):
    place, called = function(kind), {name: "/aws/lambda/place"}
    assert said(LOG_GROUP, place) == [NO_LOG_GROUP]
    assert said(LOG_GROUP, place, about(type_, "logs", **called)) == []
    assert said(LOG_GROUP, place, about(type_, name, place)) == []
    assert said(LOG_GROUP, place, about(type_, name)) == []
    another = Thing(type=kind, name="another", inputs=function(kind, loggingConfig={"logGroup": "logs"}).inputs)
    assert said(LOG_GROUP, place, another, about(type_, name, another)) == [NO_LOG_GROUP]
    assert said(LOG_GROUP, function(kind, loggingConfig={"logGroup": NOT_YET})) == []
    assert said(LOG_GROUP, function(kind, loggingConfig={"logFormat": "JSON"})) == [NO_LOG_GROUP]
    named = "name" if kind == CLASSIC_FUNCTION else "functionName"
    assert said(LOG_GROUP, function(kind, **{named: NOT_YET}), about(type_, "logs", **called)) == []
    assert said(LOG_GROUP, function(kind, **{named: NOT_YET})) == [NO_LOG_GROUP]
    unnamed = Thing(type=kind, name="place", inputs={})
    assert said(LOG_GROUP, unnamed, about(type_, "logs", **called)) == [NO_LOG_GROUP]
    assert said(LOG_GROUP, unnamed, about(type_, name, unnamed)) == []


@pytest.mark.parametrize(("type_", "prop"), [(CLASSIC_PERMISSION, "function"), (NATIVE_PERMISSION, "functionName")])
@pytest.mark.parametrize("kind", TYPES)
def test_only_who_is_behind_an_api_has_to_hurry(kind: str, type_: str, prop: str):
    slow = function(kind, timeout=29)
    api = "apigateway.amazonaws.com"
    assert said(IN_TIME, slow) == []
    assert said(IN_TIME, slow, about(type_, prop, slow, principal=api)) == [TOO_LATE]
    assert said(IN_TIME, slow, about(type_, prop, slow, principal="events.amazonaws.com")) == []
    assert said(IN_TIME, slow, about(type_, prop, principal=api)) == []
    assert said(IN_TIME, function(kind, timeout=28), about(type_, prop, slow, principal=api)) == []
    assert said(IN_TIME, function(kind, timeout=NOT_YET), about(type_, prop, slow, principal=api)) == []
    patient = {"apiTimeoutSeconds": 30}
    assert said(IN_TIME, slow, about(type_, prop, slow, principal=api), config=patient) == []


@pytest.mark.parametrize("type_", [CLASSIC_PERMISSION, NATIVE_PERMISSION])
@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        ({"principal": "s3.amazonaws.com", "sourceArn": NOT_YET}, []),
        ({"principal": "s3.amazonaws.com", "sourceAccount": "111122223333"}, []),
        ({"principal": "alexa-appkit.amazon.com"}, []),
        ({"principal": "alexa-connectedhome.amazonaws.com", "eventSourceToken": "amzn1.ask.skill.1"}, []),
        ({"principal": "events.amazonaws.com.cn"}, [ANY_ACCOUNT]),
        ({"principal": "arn:aws:iam::111122223333:role/caller"}, []),
        ({"principal": "*", "principalOrgId": "o-1"}, []),
        ({"principal": "*", "sourceArn": ARN.format("s3", "bucket")}, [ANYBODY]),
        ({"principal": "*", "functionUrlAuthType": "AWS_IAM"}, [ANYBODY]),
        ({"principal": "*", "principalOrgId": NOT_YET}, []),
        ({"principal": "*", "principalOrgId": ""}, [ANYBODY]),
        ({"principal": "*", "principalOrgId": "*"}, [ANYBODY]),
        ({"principal": NOT_YET}, []),
        ({"principal": ["*"]}, []),
    ],
    ids=range(14),
)
def test_who_may_invoke(type_: str, inputs: dict[str, Any], expected: list[str]):
    assert said(PERMISSION, Thing(type=type_, name="permission", inputs=inputs)) == expected


@pytest.mark.parametrize("type_", [CLASSIC_PERMISSION, NATIVE_PERMISSION])
@pytest.mark.parametrize(
    ("source", "named"),
    [
        ({"sourceArn": ARN.format("events", "rule/orders/*")}, True),
        ({"sourceArn": ARN.format("execute-api", "*/*/*/*")}, True),
        ({"sourceArn": "arn:aws:events:*:111122223333:rule/*"}, True),
        ({"sourceArn": "arn:aws:s3:::bucket"}, True),
        ({"sourceArn": "*", "sourceAccount": "111122223333"}, True),
        ({"sourceArn": "*"}, False),
        ({"sourceArn": ""}, False),
        ({"sourceArn": "arn:*"}, False),
        ({"sourceArn": "arn:aws:events:*:*:rule/*"}, False),
        ({"sourceArn": "arn:aws:events:eu-west-1:*:rule/orders/placed"}, False),
        ({"sourceArn": "arn:aws:s3:::*"}, False),
        ({"sourceAccount": "*"}, False),
        ({"sourceAccount": ""}, False),
        ({"eventSourceToken": ""}, False),
    ],
    ids=range(14),
)
def test_a_service_invokes_on_behalf_of_somebody(type_: str, source: dict[str, Any], *, named: bool):
    permission = Thing(type=type_, name="permission", inputs={"principal": "events.amazonaws.com", **source})
    assert said(PERMISSION, permission) == ([] if named else [ANY_ACCOUNT])


@pytest.mark.parametrize(("type_", "place"), [(CLASSIC_URL, "authorizationType"), (NATIVE_URL, "authType")])
def test_a_url_may_be_decided_by_the_update(type_: str, place: str):
    assert said(URL, Thing(type=type_, name="url", inputs={place: NOT_YET})) == []
    assert len(said(URL, Thing(type=type_, name="url", inputs={place: "aws_iam"}))) == 1


@pytest.mark.parametrize("stack", ["local", "dev"])
def test_only_the_url_of_the_mock_carrier_is_open_and_it_is_said_why(stack: str):
    program = Program(list(own(stack)))
    urls, mocks = program.of(CLASSIC_URL), program.of("event-gateway:components:MockCarrier")
    assert len(urls) == len(mocks) > 0
    waived = run(program).waived
    for rule, each in ((URL, 1), (PERMISSION, 2)):
        assert sum(line.startswith(f"{rule} is waived: ") for line in waived) == each * len(mocks)
    elsewhere = [Thing(type=url.type, name=url.name, inputs=url.inputs) for url in urls]
    assert said(URL, *elsewhere) == ["set authorizationType to AWS_IAM: as it is, anybody can call the function"] * len(
        urls
    )


@pytest.mark.parametrize("shape", ["text", 7, True, [], {}, [None], [[]], {"onFailure": 7}])
def test_inputs_of_another_shape_are_read_without_an_error(shape: Any):
    place = function(CLASSIC_FUNCTION, loggingConfig={"logFormat": "JSON"}, deadLetterConfig={"targetArn": NOT_YET})
    others = [
        about(TARGET, "arn", place, rule="nightly", eventBusName="orders"),
        about(CLASSIC_CONFIG, "functionName", place, destinationConfig={"onFailure": {"destination": NOT_YET}}),
        about(CLASSIC_GROUP, "name", place),
        about(CLASSIC_PERMISSION, "function", place, principal="apigateway.amazonaws.com", sourceArn=NOT_YET),
        about(NATIVE_URL, "targetFunctionArn", place, authType="AWS_IAM"),
    ]
    things = [place, *others]
    for thing in things:
        assert places(thing.inputs)
        for where in places(thing.inputs):
            changed = Thing(type=thing.type, name=thing.name, inputs=put(thing.inputs, where, shape), uses=thing.uses)
            Engine().analyze_stack([changed if other is thing else other for other in things])
            Engine().register(changed.type, changed.inputs)
