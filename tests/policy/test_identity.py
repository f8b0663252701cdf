"""IAM rules: what they accept, what can be configured, and what they read without an error."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cfnlint.data import AdditionalSpecs
from cfnlint.helpers import load_resource

from policy import pack
from policy.rules import identity
from tests.policy.cases.identity import (
    ACCOUNT,
    ACTIONS,
    AWS_MANAGED,
    BUS,
    BUSES,
    DEPUTY,
    MANAGED,
    ORDERS,
    PUBLIC,
    RESOURCES,
    ROLE,
    ROLE_POLICY,
    TYPES,
    good,
)
from tests.policy.engine import NOT_YET, Engine, Outcome
from tests.policy.programs import places, put

RULES = {ACTIONS, RESOURCES, BUSES, MANAGED, PUBLIC, DEPUTY}
NATIVE_ROLE = "aws-native:iam:Role"


def granted(rules: dict[str, Any] | None = None, /, **statement: Any) -> dict[str, list[str]]:
    """What is said of a role's policy with one statement."""
    policy = json.dumps({"Statement": {"Effect": "Allow", **statement}})
    return _said(Engine().configure(rules or {}).register(ROLE_POLICY, {"role": "orders", "policy": policy}))


def trusted(rules: dict[str, Any] | None = None, /, **statement: Any) -> dict[str, list[str]]:
    """The same of a role with such a trust."""
    policy = json.dumps({"Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", **statement}]})
    return _said(Engine().configure(rules or {}).register(ROLE, {"assumeRolePolicy": policy}))


def _said(outcome: Outcome) -> dict[str, list[str]]:
    return {rule: messages for rule, messages in outcome.violations.items() if rule in RULES}


def test_the_actions_without_a_resource_are_those_of_the_service_authorization_reference():
    reference: dict[str, Any] = load_resource(AdditionalSpecs, "Policies.json")
    assert reference["dynamodb"]["Actions"]["getitem"]["Resources"]
    known = {
        action
        for action in identity.WITHOUT_RESOURCE
        if reference[action.partition(":")[0]]["Actions"][action.partition(":")[2].lower()].get("Resources")
    }
    # Its data sets are optional: the CloudWatch user guide grants it on "*", under a condition on the namespace.
    assert known == {"cloudwatch:PutMetricData"}


@pytest.mark.parametrize("action", ["dynamodb:Get*", "s3:*Object", "*:GetItem", "dynamodb:", "dynamodb:?"])
def test_a_wildcard_within_a_name_is_no_whole_service(action: str):
    assert granted(Action=action, Resource=ORDERS) == {}


@pytest.mark.parametrize("action", ["*", "*:*", "dynamodb:**", "iam:?*"])
def test_a_wildcard_for_all_names_is(action: str):
    assert granted(Action=[action], Resource=ORDERS).keys() == {ACTIONS}


@pytest.mark.parametrize(
    "resource",
    [
        f"arn:aws:logs:eu-west-1:{ACCOUNT}:*",
        "arn:aws:s3:::orders/*",
        "arn:aws:dynamodb:*:*:table/orders",
        "arn:aws:logs:*:*:log-group:/aws/lambda/orders:*",
        "",
    ],
)
def test_a_resource_that_says_something_is_named(resource: str):
    assert granted(Action="dynamodb:GetItem", Resource=resource) == {}


@pytest.mark.parametrize("resource", ["*", "**", "arn:*", "arn:aws:*", "arn:aws:s3:::*", "arn:aws-cn:s3:::*/*"])
def test_one_that_says_nothing_is_not(resource: str):
    assert granted(Action="s3:GetObject", Resource=[ORDERS, resource]).keys() == {RESOURCES}


def test_actions_without_a_resource_are_free_however_they_are_spelt():
    assert granted(Action=["XRay:putTraceSegments"], Resource="*") == {}
    assert granted(Action=["xray:PutTraceSegments", "s3:GetObject"], Resource="*").keys() == {RESOURCES}


def test_the_actions_without_a_resource_can_be_configured():
    config = {RESOURCES: {"actionsWithoutResource": ["polly:DescribeVoices"]}}
    assert granted(config, Action="polly:DescribeVoices", Resource="*") == {}
    assert granted(Action="polly:DescribeVoices", Resource="*").keys() == {RESOURCES}
    assert granted(config, Action="xray:PutTraceSegments", Resource="*").keys() == {RESOURCES}


def test_roles_that_are_named_may_be_passed():
    assert granted(Action="iam:PassRole", Resource=f"arn:aws:iam::{ACCOUNT}:role/orders-*") == {}
    assert granted(Action="iam:GetRole", Resource=f"arn:aws:iam::{ACCOUNT}:role/*") == {}


ON_ANY_BUS = [
    "*",
    "?*",
    "arn:*",
    "arn:aws:events:*",
    "arn:aws:ev?nts:eu-*",
    f"arn:aws:events:eu-west-1:{ACCOUNT}:*",
    "arn:aws:events:*:*:event-bus*",
    *(BUS.replace("orders", wildcards) for wildcards in ("*", "?*", "*?", "??", "**")),
    "arn:*:*:*:*:*/*",
]
ON_NO_OTHER_BUS = [
    BUS,
    BUS.replace("orders", "orders-*"),
    BUS.replace("orders", "*-orders"),
    "arn:aws:events:*:*:event-bus/orders",
    f"arn:aws:events:eu-west-1:{ACCOUNT}:rule/*",
    "arn:aws:s3:::*",
    "arn:aws:events",
    "orders",
]


@pytest.mark.parametrize("action", ["events:PutEvents", "EVENTS:putE*", "events:Put???nts"])
@pytest.mark.parametrize("resource", ON_ANY_BUS)
def test_events_are_not_put_on_a_bus_of_whatever_name(action: str, resource: str):
    assert granted(Action=[action], Resource=[BUS, resource]) == {
        BUSES: ["name the bus in policy.Statement[0].Resource on which events may be put"]
    }


@pytest.mark.parametrize("resource", ON_NO_OTHER_BUS)
def test_events_may_be_put_on_a_bus_that_is_named_in_part(resource: str):
    assert BUSES not in granted(Action=["events:PutEvents", "events:*", "*"], Resource=[resource, ORDERS])


def beside(**denial: Any) -> bool:
    """Whether a statement that allows everything is told of buses, with another one that denies something."""
    allowed = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    document = {"Statement": [allowed, {"Effect": "Deny", **denial}]}
    outcome = Engine().register("aws-native:iam:RolePolicy", {"roleName": "orders", "policyDocument": document})
    assert {ACTIONS, RESOURCES} <= outcome.violations.keys()
    return BUSES in outcome.violations


@pytest.mark.parametrize(
    "denial",
    [
        {"Action": "events:PutEvents", "Resource": "*"},
        {"Action": ["sqs:*", "events:Put*"], "Resource": [BUS, "arn:aws:events:*:*:event-bus/*"]},
        {"Action": "*", "Resource": "arn:aws-cn:events:*"},
        {"Action": "events:PutEvents", "NotResource": BUS},
        {"Action": "events:PutEvents", "NotResource": [NOT_YET, ORDERS]},
        {"NotAction": ["sqs:*", NOT_YET], "Resource": "*"},
        {"Action": NOT_YET, "Resource": "*"},
        {"Action": "events:*", "Resource": [NOT_YET]},
    ],
    ids=range(8),
)
def test_what_is_denied_on_all_buses_but_some_is_not_allowed_on_any(denial: dict[str, Any]):
    assert not beside(**denial)


@pytest.mark.parametrize(
    "denial",
    [
        {"Action": "events:PutRule", "Resource": "*"},
        {"Action": [7], "Resource": "*"},
        {"Action": "events:PutEvents", "Resource": BUS},
        {"Action": "events:PutEvents", "Resource": f"arn:aws:events:*:{ACCOUNT}:event-bus/*"},
        {"Action": "events:PutEvents", "Resource": "arn:aws:events:eu-west-1:*:event-bus/*"},
        {"Action": "events:PutEvents", "Resource": "arn:aws:events:*:*:event-bus/orders-*"},
        {"Action": "events:PutEvents", "Resource": [7]},
        {"Action": "events:PutEvents", "NotResource": [BUS, BUS.replace("orders", "*")]},
        {"NotAction": "events:*", "Resource": "*"},
        {"Action": "events:PutEvents", "Resource": "*", "Condition": {"Bool": {"aws:SecureTransport": "false"}}},
        {"Action": "events:PutEvents", "Resource": "*", "Condition": NOT_YET},
        {"Action": "events:PutEvents", "Resource": "*", "Effect": "Allow"},
        {"Action": "events:PutEvents", "Resource": "*", "Effect": NOT_YET},
    ],
    ids=range(13),
)
def test_what_is_denied_in_part_is_allowed_on_any_other(denial: dict[str, Any]):
    assert beside(**denial)


def test_a_denial_counts_for_all_documents_of_a_role():
    allowed = {"policy": json.dumps({"Statement": {"Effect": "Allow", "Action": "events:Put*", "Resource": "*"}})}
    denied = {"policy": json.dumps({"Statement": {"Effect": "Deny", "Action": "events:PutEvents", "Resource": "*"}})}
    assert BUSES in Engine().register(ROLE, {"inlinePolicies": [allowed]}).violations
    assert BUSES not in Engine().register(ROLE, {"inlinePolicies": [allowed, denied]}).violations


@pytest.mark.parametrize("action", ["events:DescribeEventBus", "events:PutRule", "eventsx:PutEvents"])
def test_who_may_not_put_events_is_not_told_of_buses(action: str):
    assert BUSES not in granted(Action=[action], Resource=BUS.replace("orders", "*"))
    assert BUSES not in granted(Action=[action], Resource="*")


def test_who_may_do_all_there_is_may_put_events():
    assert granted(Action="events:*", Resource="*").keys() == {ACTIONS, BUSES}
    assert granted(Action="*", Resource="*").keys() == {ACTIONS, RESOURCES, BUSES}
    assert granted(Action=["events:PutEvents", "s3:GetObject"], Resource="*").keys() == {RESOURCES, BUSES}
    assert granted(Action=["events:PutEvents", "events:ListRules"], Resource="*").keys() == {RESOURCES, BUSES}
    assert granted(Action=["events:PutEvents", "xray:PutTraceSegments"], Resource="*").keys() == {BUSES}


@pytest.mark.parametrize(
    ("excepted", "puts"),
    [("iam:*", True), (["iam:*", "events:PutRule"], True), ("events:*", False), (["s3:*", "Events:Put*"], False)],
)
def test_who_may_do_all_but_a_few_actions_may_put_events_unless_they_are_among_them(excepted: Any, *, puts: bool):
    assert granted(NotAction=excepted, Resource="*").keys() == {ACTIONS, *([BUSES] if puts else [])}
    assert granted(NotAction=excepted, Resource=BUS).keys() == {ACTIONS}
    assert granted(NotAction=excepted, NotResource=BUS).keys() == {ACTIONS, BUSES if puts else RESOURCES}


def test_what_is_not_the_resource_leaves_all_buses_but_those():
    assert granted(Action="events:PutEvents", NotResource=BUS).keys() == {BUSES}
    assert granted(Action="events:PutEvents", NotResource=ORDERS).keys() == {BUSES}
    assert granted(Action="events:PutEvents", NotResource=[ORDERS, BUS.replace("orders", "*")]).keys() == {RESOURCES}
    assert granted(Action=["events:PutEvents", "s3:*"], NotResource=BUS).keys() == {ACTIONS, RESOURCES, BUSES}


@pytest.mark.parametrize(
    "statement",
    [
        {"NotAction": ["iam:*", NOT_YET], "Resource": ["*"]},
        {"Action": ["events:PutEvents"], "NotResource": [ORDERS, NOT_YET]},
        {"Action": ["events:PutEvents"], "Resource": [NOT_YET, 7]},
        {"Action": [NOT_YET, 7], "Resource": ["*"]},
    ],
)
def test_what_is_not_known_of_a_statement_is_not_held_to_allow_any_bus(statement: dict[str, Any]):
    document = {"Statement": [{"Effect": "Allow", **statement}]}
    outcome = Engine().register("aws-native:iam:RolePolicy", {"roleName": "orders", "policyDocument": document})
    assert BUSES not in outcome.violations


@pytest.mark.parametrize("arn", [AWS_MANAGED, AWS_MANAGED.replace("arn:aws:", "arn:aws-us-gov:")])
def test_a_managed_policy_can_be_allowed(arn: str):
    inputs = {"role": "orders", "policyArn": arn}
    attachment = "aws:iam/rolePolicyAttachment:RolePolicyAttachment"
    assert MANAGED in Engine().register(attachment, inputs).violations
    allowing = Engine().configure({MANAGED: {"allowed": [arn]}})
    assert allowing.register(attachment, inputs).violations == {}


@pytest.mark.parametrize("arn", [f"arn:aws:iam::{ACCOUNT}:policy/AdministratorAccess", NOT_YET, 7, ["x"], {}])
def test_any_other_policy_may_be_attached(arn: Any):
    inputs = {"role": "orders", "policyArn": arn}
    assert Engine().register("aws:iam/rolePolicyAttachment:RolePolicyAttachment", inputs).violations == {}


def test_each_of_several_policies_is_told_by_its_place():
    inputs = {"managedPolicyArns": [AWS_MANAGED, NOT_YET, AWS_MANAGED], "inlinePolicies": []}
    assert Engine().register(ROLE, inputs).violations[MANAGED] == [
        f"replace the AWS managed policy at managedPolicyArns[{index}] by one that names actions and resources"
        for index in (0, 2)
    ]


@pytest.mark.parametrize("service", ["lambda.amazonaws.com", "apigateway.amazonaws.com", "ec2.amazonaws.com"])
def test_a_service_that_states_no_source_is_trusted_without_a_condition(service: str):
    assert trusted(Principal={"Service": service}) == {}


@pytest.mark.parametrize("service", ["events.amazonaws.com", "pipes.amazonaws.com", "scheduler.amazonaws.com"])
@pytest.mark.parametrize(
    "condition",
    [
        {"StringEquals": {"aws:SourceAccount": ACCOUNT}},
        {"StringEquals": {"AWS:SourceOrgID": "o-a1b2c3d4e5"}},
        {"ForAnyValue:StringLike": {"aws:SourceOrgPaths": "o-a1b2c3d4e5/*"}},
        {"StringEquals": {"aws:SourceAccount": "${aws:ResourceAccount}"}},
        {"ArnLike": {"aws:SourceArn": f"arn:aws:pipes:eu-west-1:{ACCOUNT}:pipe/orders-*"}},
        {
            "StringEquals": {"aws:SourceAccount": ACCOUNT},
            "ArnLike": {"aws:SourceArn": "arn:aws:pipes:*:*:*"},
        },
    ],
)
def test_a_service_that_acts_for_this_account_is_trusted(service: str, condition: dict[str, Any]):
    assert trusted(Principal={"Service": [service]}, Condition=condition) == {}


def test_the_services_can_be_configured():
    config = {DEPUTY: {"services": ["states.amazonaws.com"]}}
    assert trusted(config, Principal={"Service": "states.amazonaws.com"}).keys() == {DEPUTY}
    assert trusted(config, Principal={"Service": "pipes.amazonaws.com"}) == {}
    assert trusted(Principal={"Service": "states.amazonaws.com"}) == {}


def test_a_role_of_another_account_or_of_a_provider_is_no_service():
    assert trusted(Principal={"AWS": "pipes.amazonaws.com"}) == {}
    assert trusted(Principal={"Federated": "cognito-identity.amazonaws.com"}) == {}


@pytest.mark.parametrize("type_", TYPES)
def test_a_resource_that_grants_nothing_is_decided(type_: str):
    engine = Engine()
    assert engine.register(type_, {"name": "thing"}).violations == {}
    about = [policy for policy in engine.rules if type_ in policy.rule.types and policy.name in RULES]
    assert about
    assert all(verdict.decided for policy in about for verdict in policy.report.values())


@pytest.mark.parametrize("shape", ["text", 7, True, [], {}, [None], [[]], [{"Action": 7}], {"Statement": "x"}])
@pytest.mark.parametrize("type_", TYPES)
def test_inputs_of_another_shape_are_read_without_an_error(type_: str, shape: Any):
    engine = Engine([policy for policy in pack.policies() if policy.name in RULES])
    for place in places(good(type_)):
        engine.register(type_, put(good(type_), place, shape))


def test_a_document_that_is_not_known_yet_is_left_to_the_update():
    engine = Engine()
    outcome = engine.register(ROLE, {"assumeRolePolicy": NOT_YET, "inlinePolicies": [{"policy": NOT_YET}]})
    assert outcome.violations == {}
    assert engine.verdict(PUBLIC, ROLE).deferred == {"assumeRolePolicy"}
    assert engine.verdict(ACTIONS, ROLE).deferred == {"inlinePolicies[0].policy"}
    assert {PUBLIC, DEPUTY, ACTIONS, RESOURCES, BUSES} <= set(outcome.not_applicable)
