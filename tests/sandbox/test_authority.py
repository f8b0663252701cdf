"""Who has which key, and what the deployed documents let them do."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from sandbox.authority import Authority, DeniedError
from sandbox.iam import Anonymous, DecisionLog, RoleSession, Service, User
from tests.sandbox.deployed import (
    ACCOUNT,
    API,
    LAMBDA,
    NAME,
    PIPE,
    REGION,
    apis,
    arn,
    changed,
    deploy,
    grant,
    granted,
    named,
    role,
    without,
)

NOTHING = {"Version": "2012-10-17", "Statement": []}
CLIENT = RoleSession(role_arn=f"arn:aws:iam::{ACCOUNT}:role/orders-client", session="shell")


@pytest.fixture
def registry(programs):
    return deploy(programs["local"])


@pytest.fixture
def authority(registry):
    return Authority(registry, DecisionLog(), apis=apis(registry))


class TestKeys:
    def test_a_client_signs_in_its_own_name(self, authority):
        issued = authority.issue(CLIENT)
        key = authority.keys(issued.access_key_id)
        assert (key.identity, key.secret, key.session_token) == (CLIENT, issued.secret, issued.token)
        assert issued.access_key_id.startswith("ASIA")
        assert issued.token
        assert issued.expires is None

    def test_a_user_has_no_token(self, authority):
        issued = authority.issue(User(arn=f"arn:aws:iam::{ACCOUNT}:user/someone"))
        assert issued.access_key_id.startswith("AKIA")
        assert issued.token is None
        assert authority.keys(issued.access_key_id).session_token is None

    def test_nobody_has_an_unknown_key(self, authority):
        assert authority.keys("AKIAIOSFODNN7EXAMPLE") is None

    def test_a_deployed_role_is_not_given_away(self, authority):
        with pytest.raises(ValueError, match="orders-pipe is deployed: assume it"):
            authority.issue(RoleSession(role_arn=role("orders-pipe"), session="s"))

    def test_credentials_show_no_secret(self, authority):
        issued = authority.issue(CLIENT)
        assert issued.secret not in repr(issued)
        assert issued.token not in repr(issued)

    def test_a_function_has_the_key_that_belongs_to_its_role(self, authority, registry):
        functions = registry.of("aws:lambda/function:Function").values()
        keys = {key: authority.keys(key) for key in authority._current().functions}
        assert len(keys) == len(functions) == 6
        assert {key.identity.role_arn for key in keys.values()} == {function["role"] for function in functions}


class TestAssume:
    def test_a_service_that_the_trust_names_gets_an_hour(self, authority):
        before = datetime.now(UTC)
        credentials = authority.assume(role("orders-pipe"), by=PIPE, session="pipe")
        assert before + timedelta(hours=1) <= credentials.expires <= datetime.now(UTC) + timedelta(hours=1)
        key = authority.keys(credentials.access_key_id)
        assert key.identity == RoleSession(role_arn=role("orders-pipe"), session="pipe")
        assert key.expires == credentials.expires

    @pytest.mark.parametrize(
        "by",
        [
            LAMBDA,
            replace(PIPE, source_account="999999999999"),
            replace(PIPE, source_arn=arn("pipes", "pipe/other")),
        ],
        ids=["another service", "for another account", "for another pipe"],
    )
    def test_no_other_does(self, authority, by):
        with pytest.raises(DeniedError, match=rf"sts:AssumeRole on resource: {role('orders-pipe')}"):
            authority.assume(role("orders-pipe"), by=by, session="pipe")
        assert [entry.action for entry in authority.denied()] == ["sts:AssumeRole"]

    def test_a_role_that_is_not_deployed_is_assumed_by_nobody(self, authority):
        with pytest.raises(DeniedError):
            authority.assume(role("nobody"), by=LAMBDA, session="s")

    def test_a_session_assumes_again_before_it_expires_and_notices_that_it_may_not(self, authority, registry):
        session = authority.session(
            role("orders-pipe"), by=PIPE, session="pipe", region=REGION, lifetime=timedelta(minutes=5)
        )
        first = session.get_credentials().get_frozen_credentials().access_key
        second = session.get_credentials().get_frozen_credentials().access_key
        assert first != second
        assert {authority.keys(key).identity.session for key in (first, second)} == {"pipe"}
        with (
            changed(registry, "aws:iam/role:Role", named("orders-pipe"), assumeRolePolicy=NOTHING),
            pytest.raises(DeniedError),
        ):
            session.get_credentials().get_frozen_credentials()

    def test_a_session_that_is_refused_is_refused_at_once(self, authority):
        with pytest.raises(DeniedError):
            authority.session(role("orders-pipe"), by=LAMBDA, session="s", region=REGION)


# Who, what, on what, and the document without which they may not.
ALLOWED = {
    "a function": (
        RoleSession(role_arn=role("orders-api"), session="f"),
        "dynamodb:PutItem",
        arn("dynamodb", f"table/{NAME}orders"),
        ("aws:iam/rolePolicy:RolePolicy", grant("creates-orders", "orders-api")),
    ),
    "the API, to a function": (
        replace(API, source_arn=arn("execute-api", "a1b2c3/v1/POST/orders"), source_account=ACCOUNT),
        "lambda:InvokeFunction",
        arn("lambda", f"function:{NAME}orders-api"),
        ("aws:lambda/permission:Permission", lambda p: p.get("sourceArn", "").endswith("POST/orders")),
    ),
    "the API, to a function, for another route": (
        replace(API, source_arn=arn("execute-api", "a1b2c3/v1/GET/orders/1"), source_account=ACCOUNT),
        "lambda:InvokeFunction",
        arn("lambda", f"function:{NAME}orders-api"),
        ("aws:lambda/permission:Permission", lambda p: p.get("sourceArn", "").endswith("GET/orders/*")),
    ),
    "a rule, to its dead letters": (
        Service(
            name="events.amazonaws.com",
            source_arn=arn("events", f"rule/{NAME}orders/{NAME}carrier-acme-orders"),
            source_account=ACCOUNT,
        ),
        "sqs:SendMessage",
        arn("sqs", f"{NAME}carrier-acme-dead-letters"),
        ("aws:sqs/queuePolicy:QueuePolicy", lambda p: p["queueUrl"].endswith("carrier-acme-dead-letters")),
    ),
    "a client, to a route": (
        CLIENT,
        "execute-api:Invoke",
        arn("execute-api", "a1b2c3/v1/POST/orders"),
        ("aws:apigateway/restApi:RestApi", lambda _: True),
    ),
}


@pytest.mark.parametrize("case", ALLOWED)
def test_what_the_program_grants_is_allowed_by_exactly_that_document(authority, registry, case):
    principal, action, resource, (type_, which) = ALLOWED[case]
    decision = authority.decide(principal, action, resource)
    assert decision.allowed, decision.reason
    with without(registry, type_, which):
        decision = authority.decide(principal, action, resource)
        assert not decision.allowed
        assert f"{action} on resource: {resource}" in decision.reason
    assert authority.decide(principal, action, resource).allowed
    assert [entry.allowed for entry in authority._log.entries()] == [True, False, True]


def test_the_bus_refuses_whom_the_program_does_not_admit(authority, registry):
    asked = (
        RoleSession(role_arn=role("orders-api"), session="f"),
        "events:PutEvents",
        arn("events", f"event-bus/{NAME}orders"),
    )
    with granted(registry, "orders-api", {"Effect": "Allow", "Action": "events:PutEvents", "Resource": "*"}):
        decision = authority.decide(*asked)
        assert decision.explicit
        assert "PublishersOnly of policy of bus" in decision.reason
        with without(registry, "aws:cloudwatch/eventBusPolicy:EventBusPolicy", lambda _: True):
            assert authority.decide(*asked).allowed


def test_a_queue_that_demands_encryption_takes_what_comes_here(authority):
    decision = authority.decide(
        RoleSession(role_arn=role("orders-pipe"), session="p"),
        "sqs:SendMessage",
        arn("sqs", f"{NAME}orders-pipe-dead-letters"),
    )
    assert decision.allowed, decision.reason


def test_an_open_function_url_is_open(authority):
    resource = arn("lambda", f"function:{NAME}carrier-acme-mock")
    asked = Anonymous(), "lambda:InvokeFunctionUrl", resource
    assert authority.decide(*asked, {"lambda:FunctionUrlAuthType": "NONE"}).allowed
    assert not authority.decide(*asked, {"lambda:FunctionUrlAuthType": "AWS_IAM"}).allowed
    invoked = Anonymous(), "lambda:InvokeFunction", resource
    assert authority.decide(*invoked, {"lambda:InvokedViaFunctionUrl": "true"}).allowed
    assert not authority.decide(*invoked).allowed


def test_a_session_of_another_accounts_role_of_that_name_has_none_of_its_rights(authority):
    foreign = RoleSession(role_arn=role("orders-api").replace(ACCOUNT, "999999999999"), session="f")
    assert authority.decide(RoleSession(role_arn=role("orders-api"), session="f"), "xray:PutTraceSegments", "*").allowed
    assert not authority.decide(foreign, "xray:PutTraceSegments", "*").allowed


def test_a_role_with_a_permissions_boundary_may_do_nothing(authority, registry):
    boundary = f"arn:aws:iam::{ACCOUNT}:policy/p"
    with changed(registry, "aws:iam/role:Role", named("orders-api"), permissionsBoundary=boundary):
        function = RoleSession(role_arn=role("orders-api"), session="f")
        decision = authority.decide(function, "dynamodb:PutItem", arn("dynamodb", f"table/{NAME}orders"))
    assert not decision.allowed
    assert "permissions boundaries are not supported" in decision.reason


def test_a_permission_for_a_version_lets_nobody_in(authority, registry):
    function = f"{NAME}carrier-acme-confirm"
    rule = Service(
        name="events.amazonaws.com", source_arn=arn("events", f"rule/{NAME}orders/{function}"), source_account=ACCOUNT
    )
    asked = rule, "lambda:InvokeFunction", arn("lambda", f"function:{function}")
    assert authority.decide(*asked).allowed
    with changed(registry, "aws:lambda/permission:Permission", lambda p: p["function"] == function, qualifier="live"):
        decision = authority.decide(*asked)
    assert not decision.allowed
    assert "permissions for a version or an alias are not supported" in decision.reason


class TestInvoked:
    FUNCTION = f"{NAME}orders-api"

    def test_the_function_logs_and_traces_in_its_role(self, authority):
        decisions = authority.invoked(self.FUNCTION)
        assert all(decision.allowed for decision in decisions)
        assert [(entry.who, entry.action) for entry in authority._log.entries()] == [
            ("lambda.amazonaws.com", "sts:AssumeRole"),
            *(
                (f"arn:aws:sts::{ACCOUNT}:assumed-role/{NAME}orders-api/{self.FUNCTION}", action)
                for action in (
                    "logs:CreateLogStream",
                    "logs:PutLogEvents",
                    "xray:PutTraceSegments",
                    "xray:PutTelemetryRecords",
                )
            ),
        ]

    @pytest.mark.parametrize(
        ("ability", "refused"),
        [
            ("writes-its-logs", ["logs:CreateLogStream", "logs:PutLogEvents"]),
            ("traces", ["xray:PutTraceSegments", "xray:PutTelemetryRecords"]),
        ],
    )
    def test_without_the_grant_it_does_neither(self, authority, registry, ability, refused):
        with without(registry, "aws:iam/rolePolicy:RolePolicy", grant(ability, "orders-api")):
            authority.invoked(self.FUNCTION)
        assert [entry.action for entry in authority.denied()] == refused

    def test_lambda_makes_a_log_group_that_is_missing_if_it_may(self, authority, registry):
        group = f"/aws/lambda/{self.FUNCTION}"
        with without(registry, "aws:cloudwatch/logGroup:LogGroup", lambda p: p["name"] == group):
            authority.invoked(self.FUNCTION)
        [entry] = authority.denied()
        assert (entry.action, entry.resource) == ("logs:CreateLogGroup", arn("logs", f"log-group:{group}"))

    def test_what_does_not_trace_needs_no_right_to(self, authority, registry):
        not_active = {"mode": "PassThrough"}
        with changed(registry, "aws:lambda/function:Function", named("orders-api"), tracingConfig=not_active):
            assert len(authority.invoked(self.FUNCTION)) == 2

    def test_a_role_that_lambda_may_not_assume_runs_nothing(self, authority, registry):
        with (
            without(registry, "aws:iam/role:Role", named("orders-api")),
            pytest.raises(DeniedError, match="sts:AssumeRole"),
        ):
            authority.invoked(self.FUNCTION)

    def test_a_function_that_is_not_deployed_is_an_error(self, authority):
        with pytest.raises(LookupError, match="no function other"):
            authority.invoked("other")


def test_what_nobody_used_is_told_by_document_and_action(authority):
    unused = {(clause.document, clause.action) for clause in authority.unused()}
    assert ("creates-orders of role event-gateway-local-orders-api", "dynamodb:PutItem") in unused
    authority.decide(
        RoleSession(role_arn=role("orders-api"), session="f"),
        "dynamodb:PutItem",
        arn("dynamodb", f"table/{NAME}orders"),
    )
    now = {(clause.document, clause.action) for clause in authority.unused()}
    assert unused - now == {("creates-orders of role event-gateway-local-orders-api", "dynamodb:PutItem")}
