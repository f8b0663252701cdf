"""The evaluator follows AWS's documentation, and the deployed documents let in whom they should and nobody else.

Tests name the page of the IAM user guide that they take their expectation from.
"""

import json
import sys
import threading
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox import iam
from sandbox.iam import Anonymous, Clause, DecisionLog, Permission, Request, RoleSession, Service, User
from tests.graph import ACCOUNT, REGION
from tests.test_program import API, FUNCTION, PERMISSION, QUEUE_POLICY, ROLE_POLICY, RULE, senders
from tests.test_program import ROLE as ROLE_TYPE

OTHER = "999988887777"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/partners/eu/worker"
WORKER = RoleSession(role_arn=ROLE, session="s-1")
USER = User(arn=f"arn:aws:iam::{ACCOUNT}:user/alice")
STRANGER = RoleSession(role_arn=f"arn:aws:iam::{OTHER}:role/worker", session="s-1")
RULE_ARN = f"arn:aws:events:{REGION}:{ACCOUNT}:rule/bus/rule"
EVENTS = Service(name="events.amazonaws.com", source_arn=RULE_ARN, source_account=ACCOUNT)
QUEUE = f"arn:aws:sqs:{REGION}:{ACCOUNT}:queue"
ADMINISTRATOR = {"Effect": "Allow", "Action": "*", "Resource": "*"}


def document(*statements):
    return {"Version": "2012-10-17", "Statement": list(statements)}


def statement(effect="Allow", *, action="sqs:SendMessage", resource=QUEUE, **elements):
    return {"Effect": effect, "Action": action, "Resource": resource, **elements}


def asked(principal=WORKER, action="sqs:SendMessage", resource=QUEUE, **context):
    return Request(principal=principal, action=action, resource=resource, context=context)


def decide(request, *, identity=(), resource=(), trust=()):
    """By statements."""
    return iam.evaluate(
        request,
        identity=[iam.identity_policy(f"identity {i}", document(s)) for i, s in enumerate(identity)],
        resource=(
            iam.resource_policy("the resource's", document(*resource))
            if resource
            else iam.trust_policy("the trust", document(*trust), role_arn=ROLE)
            if trust
            else None
        ),
    )


# --- who decides: "Policy evaluation logic", "Cross-account policy evaluation logic" ----------------------------------

ALLOW, DENY = statement(), statement("Deny")
BY_ANYBODY = statement(Principal="*")
BY_ROLE = statement(Principal={"AWS": ROLE})
BY_SESSION = statement(Principal={"AWS": f"arn:aws:sts::{ACCOUNT}:assumed-role/worker/s-1"})
BY_ACCOUNT = statement(Principal={"AWS": ACCOUNT})
BY_SERVICE = statement(Principal={"Service": "events.amazonaws.com"})
FROM_OTHER = statement(Principal={"AWS": STRANGER.role_arn})


@pytest.mark.parametrize(
    ("principal", "identity", "resource", "allowed"),
    [
        # Within one account an Allow on either side is enough.
        (WORKER, [], [], False),
        (WORKER, [ALLOW], [], True),
        (WORKER, [], [BY_ROLE], True),
        (WORKER, [], [BY_SESSION], True),
        (WORKER, [], [BY_ANYBODY], True),
        (WORKER, [ALLOW], [BY_ROLE], True),
        (USER, [], [statement(Principal={"AWS": [USER.arn, STRANGER.role_arn]})], True),
        (USER, [], [BY_ROLE, BY_SERVICE], False),
        # An explicit Deny wins, on whichever side it is.
        (WORKER, [ALLOW, DENY], [BY_ROLE], False),
        (WORKER, [ALLOW], [statement("Deny", Principal="*"), BY_ROLE], False),
        (WORKER, [ALLOW], [statement("Deny", Principal={"AWS": ROLE})], False),
        (WORKER, [ALLOW], [statement("Deny", Principal={"AWS": f"arn:aws:iam::{ACCOUNT}:root"})], False),
        (WORKER, [ALLOW], [statement("Deny", Principal={"AWS": USER.arn})], True),
        # "Principal": an account delegates to its administrators, who allow it in an identity policy.
        (WORKER, [], [BY_ACCOUNT], False),
        (WORKER, [ALLOW], [BY_ACCOUNT], True),
        # Across accounts both sides have to allow it.
        (STRANGER, [ALLOW], [], False),
        (STRANGER, [], [FROM_OTHER], False),
        (STRANGER, [ALLOW], [FROM_OTHER], True),
        (STRANGER, [ALLOW], [BY_ANYBODY], True),
        (STRANGER, [], [BY_ANYBODY], False),
        (STRANGER, [ALLOW], [statement(Principal={"AWS": f"arn:aws:iam::{OTHER}:root"})], True),
        (STRANGER, [ALLOW], [BY_ROLE, BY_ACCOUNT], False),
        # A service, and an anonymous caller, have no policies of their own.
        (EVENTS, [], [], False),
        (EVENTS, [], [BY_SERVICE], True),
        (EVENTS, [], [BY_ANYBODY], True),
        (EVENTS, [], [BY_ROLE, BY_ACCOUNT], False),
        (EVENTS, [], [statement(Principal={"Service": ["sns.amazonaws.com", "pipes.amazonaws.com"]})], False),
        (EVENTS, [], [BY_SERVICE, statement("Deny", Principal="*")], False),
        (Anonymous(), [], [BY_ANYBODY], True),
        (Anonymous(), [], [statement(Principal={"AWS": "*"})], True),
        (Anonymous(), [], [BY_ROLE, BY_ACCOUNT, BY_SERVICE], False),
    ],
)
def test_who_has_to_allow_a_call(principal, identity, resource, allowed):
    assert decide(asked(principal), identity=identity, resource=resource).allowed is allowed


@pytest.mark.parametrize(
    ("principal", "identity", "trusted", "allowed"),
    [
        # "For most resources [either is enough]. IAM role trust policies ... are exceptions".
        (WORKER, [ADMINISTRATOR], {"AWS": USER.arn}, False),
        (WORKER, [], {"AWS": ROLE}, True),
        (WORKER, [], {"AWS": ACCOUNT}, False),
        (WORKER, [ADMINISTRATOR], {"AWS": ACCOUNT}, True),
        (STRANGER, [], {"AWS": STRANGER.role_arn}, False),
        (STRANGER, [ADMINISTRATOR], {"AWS": STRANGER.role_arn}, True),
        (EVENTS, [], {"Service": "events.amazonaws.com"}, True),
        (EVENTS, [], {"Service": "pipes.amazonaws.com"}, False),
    ],
)
def test_a_role_is_assumed_only_where_its_trust_says_so(principal, identity, trusted, allowed):
    trust = {"Effect": "Allow", "Principal": trusted, "Action": "sts:AssumeRole"}

    decision = decide(asked(principal, "sts:AssumeRole", ROLE), identity=identity, trust=[trust])

    assert decision.allowed is allowed


def test_nobody_assumes_a_role_without_trust():
    decision = decide(asked(WORKER, "sts:AssumeRole", ROLE), identity=[ADMINISTRATOR])

    assert not decision.allowed
    assert decision.reason.endswith("no statement of the resource's policy allows it")


@pytest.mark.parametrize("principal", [EVENTS, Anonymous()])
def test_who_has_no_identity_is_given_no_identity_policies(principal):
    with pytest.raises(ValueError, match="has no identity policies"):
        decide(asked(principal), identity=[ALLOW], resource=[BY_ANYBODY])


def test_a_session_shows_its_role_without_the_path():
    assert WORKER.name == f"arn:aws:sts::{ACCOUNT}:assumed-role/worker/s-1"
    assert not decide(asked(), resource=[statement(Principal={"AWS": f"arn:aws:iam::{ACCOUNT}:role/worker"})]).allowed


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RoleSession(role_arn=USER.arn, session="s"), "is not the ARN of a role"),
        (lambda: User(arn=ROLE), "is not the ARN of a user"),
        (lambda: asked(action="SendMessage"), "'SendMessage' is not an action"),
        (lambda: asked(action="sqs:*"), "is not an action"),
        (lambda: asked(resource="queue"), "'queue' is not an ARN"),
        (lambda: asked(**{"AWS:PrincipalArn": ROLE}), "the principal decides about aws:principalarn"),
    ],
)
def test_a_request_that_makes_no_sense_is_an_error(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# --- what a statement is about: "Action", "Resource" ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "matches"),
    [
        ("sqs:SendMessage", True),
        ("SQS:sendmessage", True),
        ("sqs:*", True),
        ("sqs:Send*", True),
        ("sqs:SendMessag?", True),
        ("*", True),
        (["sqs:ReceiveMessage", "sqs:S*e"], True),
        ("sqs:SendMessage?", False),
        ("sqs:Receive*", False),
        ("sns:*", False),
    ],
)
def test_an_action_ignores_case_and_takes_wildcards(action, matches):
    assert decide(asked(), identity=[statement(action=action)]).allowed is matches


STREAM = f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/orders/stream/2026-01-01T00:00:00.000"


@pytest.mark.parametrize(
    ("pattern", "resource", "matches"),
    [
        ("*", QUEUE, True),
        (QUEUE, QUEUE, True),
        (QUEUE, QUEUE.replace("queue", "Queue"), False),
        (QUEUE, f"{QUEUE}-2", False),
        (f"{QUEUE}*", f"{QUEUE}-2", True),
        (f"arn:aws:sqs:*:{ACCOUNT}:queue", QUEUE, True),
        (f"arn:aws:sqs:{REGION}:{ACCOUNT}:qu?ue", QUEUE, True),
        (f"arn:aws:sqs:{REGION}:{ACCOUNT}:?ueu", QUEUE, False),
        # "can expand to replace everything within a segment, including characters like a forward slash"
        (f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/*/stream/*", STREAM, True),
        # "If the * wildcard is the last character of a resource ARN segment, it can expand ... beyond the colon"
        (f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/orders/stream/*", STREAM, True),
        ("arn:aws:dynamodb:*:*:*", STREAM, True),
        (f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/*0.000", STREAM, False),
        (f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/other/stream/*", STREAM, False),
        (f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/orders", STREAM, False),
        (["arn:aws:sns:*:*:*", QUEUE], QUEUE, True),
        (QUEUE, "*", False),
    ],
)
def test_a_resource_is_case_sensitive_and_takes_wildcards(pattern, resource, matches):
    request = asked(WORKER, "any:Action", resource)

    assert decide(request, identity=[statement(action="any:Action", resource=pattern)]).allowed is matches


def test_an_api_policy_is_completed_with_the_apis_arn():
    execution_arn = f"arn:aws:execute-api:{REGION}:{ACCOUNT}:a1b2c3"
    policy = iam.api_policy(
        "the API's",
        document(
            statement(action="execute-api:Invoke", resource=["execute-api:/v1/GET/orders/*"], Principal="*"),
            statement("Deny", action="execute-api:Invoke", resource="execute-api:/v1/*/orders/9", Principal="*"),
        ),
        execution_arn=execution_arn,
    )

    def may(path):
        return iam.evaluate(asked(WORKER, "execute-api:Invoke", f"{execution_arn}/v1/{path}"), resource=policy).allowed

    assert [may(path) for path in ("GET/orders/7", "GET/orders/9", "POST/orders", "GET/orders")] == [
        True,
        False,
        False,
        False,
    ]


# --- conditions: "Condition operators", "Single-valued vs. multivalued context keys" ----------------------------------

ABSENT = None


@pytest.mark.parametrize(
    ("operator", "wanted", "value", "holds"),
    [
        ("StringEquals", "a", "a", True),
        ("StringEquals", "a", "A", False),
        ("StringEquals", "a*", "ab", False),
        ("StringEquals", ["a", "b"], "b", True),
        ("StringEquals", "a", ABSENT, False),
        ("StringNotEquals", "a", "b", True),
        ("StringNotEquals", ["a", "b"], "b", False),
        ("StringNotEquals", "a", ABSENT, True),
        ("StringEqualsIgnoreCase", "a", "A", True),
        ("StringNotEqualsIgnoreCase", "a", "A", False),
        ("StringNotEqualsIgnoreCase", "a", ABSENT, True),
        ("StringLike", "a*c", "abc", True),
        ("StringLike", "a?c", "ac", False),
        ("StringLike", "a*", "A", False),
        ("StringLike", "a*", ABSENT, False),
        ("StringNotLike", "a*", "abc", False),
        ("StringNotLike", "a*", ABSENT, True),
        ("Bool", "true", "True", True),
        ("Bool", True, "true", True),
        ("Bool", "false", "true", False),
        ("Bool", "false", ABSENT, False),
        ("Null", "true", ABSENT, True),
        ("Null", "true", "a", False),
        ("Null", "false", "a", True),
        ("Null", False, ABSENT, False),
        ("Null", "false", [], False),
        # With IfExists, a key that is absent makes the condition true.
        ("StringEqualsIfExists", "a", ABSENT, True),
        ("StringEqualsIfExists", "a", "a", True),
        ("StringEqualsIfExists", "a", "b", False),
        ("StringNotEqualsIfExists", "a", ABSENT, True),
        ("StringNotEqualsIfExists", "a", "a", False),
        ("BoolIfExists", "false", ABSENT, True),
        # Set operators; without a key, or with "a null dataset", all values match and no value does.
        ("ForAllValues:StringEquals", ["a", "b"], ["a", "b", "a"], True),
        ("ForAllValues:StringEquals", ["a", "b"], ["a", "c"], False),
        ("ForAllValues:StringEquals", "a", ABSENT, True),
        ("ForAllValues:StringEquals", "a", [], True),
        ("ForAllValues:StringEquals", "a", [""], True),
        ("ForAllValues:StringEquals", "a", "a", True),
        ("ForAllValues:StringEquals", "a", "b", False),
        ("ForAllValues:StringNotEquals", ["a", "b"], ["c", "d"], True),
        ("ForAllValues:StringNotEquals", ["a", "b"], ["c", "a"], False),
        ("ForAnyValue:StringEquals", ["a", "b"], ["c", "b"], True),
        ("ForAnyValue:StringEquals", ["a", "b"], ["c"], False),
        ("ForAnyValue:StringEquals", "a", ABSENT, False),
        ("ForAnyValue:StringEquals", "a", [], False),
        ("ForAnyValue:StringLike", "a*", ["b", "ab"], True),
        ("ForAnyValue:StringNotEquals", "a", ["a", "b"], True),
        ("ForAnyValue:StringNotEquals", "a", ["a"], False),
        ("ForAnyValue:StringNotEquals", "a", ABSENT, False),
    ],
)
def test_a_condition_on_a_key_of_the_request(operator, wanted, value, holds):
    context = {} if value is ABSENT else {"events:source": value}
    conditional = statement(Condition={operator: {"Events:Source": wanted}})

    assert decide(asked(**context), identity=[conditional]).allowed is holds


@pytest.mark.parametrize("operator", ["ArnEquals", "ArnLike"])
@pytest.mark.parametrize(
    ("pattern", "source_arn", "matches"),
    [
        (RULE_ARN, RULE_ARN, True),
        (RULE_ARN, RULE_ARN.upper(), False),
        (f"arn:aws:events:*:{ACCOUNT}:rule/*", RULE_ARN, True),
        (f"arn:aws:events:{REGION}:{ACCOUNT}:rule/bus/rul?", RULE_ARN, True),
        # The guide's own example: "With an ArnLike condition, which matches elements between colons, the match fails."
        (
            "arn:aws:someservice:*:111122223333:finance/*",
            "arn:aws:someservice:us-east-2:999999999999:store/abc:111122223333:finance/document.txt",
            False,
        ),
        ("arn:aws:someservice:*:*:*finance/*", "arn:aws:someservice:us-east-2:1:store/abc:finance/x", True),
        (RULE_ARN, None, False),
    ],
)
def test_a_condition_on_an_arn(operator, pattern, source_arn, matches):
    service = Service(name="events.amazonaws.com", source_arn=source_arn, source_account=ACCOUNT)
    admits = {**BY_SERVICE, "Condition": {operator: {"aws:SourceArn": pattern}}}
    refuses = {**BY_SERVICE, "Condition": {operator.replace("Arn", "ArnNot"): {"aws:SourceArn": pattern}}}

    assert decide(asked(service), resource=[admits]).allowed is matches
    assert decide(asked(service), resource=[refuses]).allowed is not matches


@pytest.mark.parametrize(
    ("principal", "stated"),
    [
        (
            WORKER,
            {"aws:PrincipalArn": ROLE, "aws:PrincipalAccount": ACCOUNT, "aws:PrincipalIsAWSService": "false"},
        ),
        (USER, {"aws:PrincipalArn": USER.arn, "aws:PrincipalAccount": ACCOUNT, "aws:PrincipalIsAWSService": "false"}),
        (EVENTS, {"aws:SourceArn": RULE_ARN, "aws:SourceAccount": ACCOUNT, "aws:PrincipalIsAWSService": "true"}),
        (Service(name="lambda.amazonaws.com"), {"aws:PrincipalIsAWSService": "true"}),
        (Anonymous(), {"aws:PrincipalIsAWSService": "false"}),
    ],
)
def test_a_principal_states_who_it_is(principal, stated):
    """ "AWS global condition context keys": for a session, aws:PrincipalArn is the role's."""
    keys = {
        "aws:PrincipalArn",
        "aws:PrincipalAccount",
        "aws:PrincipalIsAWSService",
        "aws:SourceArn",
        "aws:SourceAccount",
    }
    equals = {"StringEquals": stated, "Null": dict.fromkeys(keys - stated.keys(), "true")}

    assert decide(asked(principal), resource=[{**BY_ANYBODY, "Condition": equals}]).allowed
    for key in stated:
        other = {"StringEquals": {**stated, key: "another"}}
        assert not decide(asked(principal), resource=[{**BY_ANYBODY, "Condition": other}]).allowed


def test_all_operators_and_keys_of_a_condition_have_to_hold():
    both = {"StringEquals": {"aws:PrincipalAccount": ACCOUNT, "events:source": "s"}, "Null": {"aws:SourceArn": "true"}}
    for operator, key, wrong in [
        ("StringEquals", "aws:PrincipalAccount", OTHER),
        ("StringEquals", "events:source", "t"),
        ("Null", "aws:SourceArn", "false"),
    ]:
        changed = {**both, operator: {**both[operator], key: wrong}}
        request = asked(**{"events:source": "s"})
        assert decide(request, identity=[statement(Condition=both)]).allowed
        assert not decide(request, identity=[statement(Condition=changed)]).allowed


# --- what is not supported --------------------------------------------------------------------------------------------


def without(element):
    return {key: value for key, value in ALLOW.items() if key != element}


@pytest.mark.parametrize(
    ("unsupported", "named"),
    [
        ({**without("Action"), "NotAction": "sns:*"}, "NotAction"),
        ({**without("Resource"), "NotResource": f"{QUEUE}-2"}, "NotResource"),
        ({**ALLOW, "NotPrincipal": {"AWS": ACCOUNT}}, "NotPrincipal"),
        ({**ALLOW, "Principal": "*"}, "Principal"),
        ({**ALLOW, "Sid": "Named", "Remark": "none"}, "statement Named: unsupported element Remark"),
        (without("Resource"), "Resource"),
        ({**ALLOW, "Effect": "allow"}, "Effect 'allow'"),
        ({**ALLOW, "Action": "SendMessage"}, "Action 'SendMessage'"),
        ({**ALLOW, "Action": []}, "Action is empty"),
        ({**ALLOW, "Action": {"sqs": "*"}}, "Action is neither a text nor a list of texts"),
        ({**ALLOW, "Resource": "queue"}, "Resource 'queue'"),
        ({**ALLOW, "Resource": "execute-api:/v1/*"}, "Resource 'execute-api:/v1/*'"),
        ({**ALLOW, "Resource": f"arn:aws:*:{REGION}:{ACCOUNT}:queue"}, "wildcard for the service"),
        ({**ALLOW, "Resource": QUEUE.replace("queue", "${aws:username}")}, "policy variable in Resource"),
        ({**ALLOW, "Condition": []}, "Condition is not an object"),
        ({**ALLOW, "Condition": {"StringEquals": "a"}}, "StringEquals is not an object"),
        ({**ALLOW, "Condition": {"StringEquals": {"events:source": []}}}, "events:source is empty"),
        ({**ALLOW, "Condition": {"StringEquals": {"events:source": "${aws:username}"}}}, "policy variable"),
        ({**ALLOW, "Condition": {"ArnLike": {"aws:PrincipalArn": "*"}}}, "aws:PrincipalArn '*'"),
        ({**ALLOW, "Condition": {"Bool": {"aws:SecureTransport": "yes"}}}, "neither true nor false"),
        *(
            ({**ALLOW, "Condition": {operator: {"events:source": "true"}}}, f"unsupported operator {operator}")
            for operator in (
                "NumericEquals",
                "DateGreaterThan",
                "IpAddress",
                "BinaryEquals",
                "stringEquals",
                "NullIfExists",
                "ForAllValues:Null",
                "ForSomeValues:StringEquals",
                "ForAnyValue:StringEqualsIfExists",
                "ForAllValues:StringNotEqualsIfExists",
            )
        ),
    ],
)
@pytest.mark.parametrize("effect", ["Allow", "Deny"])
def test_what_is_not_supported_denies_and_is_named(effect, unsupported, named):
    changed = unsupported if unsupported["Effect"] != "Allow" else {**unsupported, "Effect": effect}
    decision = decide(asked(), identity=[ADMINISTRATOR, changed], resource=[BY_ROLE])

    assert not decision.allowed
    assert not decision.explicit
    assert "identity 1 can't be decided: " in decision.reason
    assert named in decision.reason


@pytest.mark.parametrize(
    ("principal", "named"),
    [
        ({"Federated": "accounts.google.com"}, "Principal Federated"),
        ({"AWS": f"arn:aws:iam::{ACCOUNT}:role/*"}, "Principal AWS"),
        ({"AWS": f"arn:aws:sts::{ACCOUNT}:assumed-role/worker/*"}, "Principal AWS"),
        ({"AWS": f"arn:aws:iam::{ACCOUNT}:role/${{aws:username}}"}, "policy variable"),
        ({"Service": "*"}, "Principal Service '*'"),
        (ROLE, "Principal is not an object"),
    ],
)
def test_a_principal_that_is_not_supported_denies_and_is_named(principal, named):
    decision = decide(asked(), identity=[ALLOW], resource=[statement(Principal=principal)])

    assert not decision.allowed
    assert named in decision.reason


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("{", "not JSON"),
        ("[]", "the document is not an object"),
        ('{"Statement": [1]}', "statement #0 is not an object"),
        ('{"Version": "2012-10-17"}', "statement #0 is not an object"),
        (json.dumps({**document(ALLOW), "Version": "2026-01-01"}), "Version '2026-01-01'"),
        (json.dumps({**document(ALLOW), "Comment": ""}), "element Comment"),
        (json.dumps(document({**ALLOW, "Sid": "A"}, {**ALLOW, "Sid": "A"})), "two statements have one Sid"),
        (json.dumps(document(ALLOW)).replace('"Action"', '"Effect": "Allow", "Action"'), "repeated element"),
    ],
)
def test_a_document_that_cannot_be_read_denies_and_says_why(text, named):
    decision = iam.evaluate(asked(), identity=[iam.identity_policy("broken", text)])

    assert not decision.allowed
    assert "because broken can't be decided: " in decision.reason
    assert named in decision.reason


@pytest.mark.parametrize("operator", ["StringEquals", "StringNotEquals", "StringNotEqualsIfExists", "Null"])
@pytest.mark.parametrize("effect", ["Allow", "Deny"])
def test_a_key_that_the_request_does_not_state_is_not_taken_for_absent(operator, effect):
    """aws:SecureTransport is "always present in the request context": without it here, nobody knows."""
    conditional = {**statement(effect), "Condition": {operator: {"aws:SecureTransport": "true"}}}

    decision = decide(asked(), identity=[ADMINISTRATOR, conditional])

    assert not decision.allowed
    assert "#0 of identity 1 can't be decided: the request does not state aws:SecureTransport" in decision.reason
    assert decide(asked(WORKER, "sqs:ReceiveMessage"), identity=[ADMINISTRATOR, conditional]).allowed


def test_a_multivalued_key_needs_a_set_operator():
    conditional = statement("Deny", Condition={"StringEquals": {"events:source": "a"}})

    decision = decide(asked(**{"events:source": ["b"]}), identity=[ALLOW, conditional])

    assert not decision.allowed
    assert "events:source is multivalued" in decision.reason


# --- what a decision says ---------------------------------------------------------------------------------------------


def test_a_denial_names_who_what_and_why():
    call = f"User: {WORKER.name} is not authorized to perform: sqs:SendMessage on resource: {QUEUE} "
    named = {**BY_ROLE, "Effect": "Deny", "Sid": "OneSenderOnly"}

    implicit = decide(asked())
    explicit = decide(asked(), identity=[ALLOW, DENY], resource=[named])

    assert implicit == iam.Decision(allowed=False, reason=f"{call}because no statement allows it")
    assert not implicit.explicit
    assert explicit.reason == (f"{call}with an explicit deny: #0 of identity 1, OneSenderOnly of the resource's")
    assert explicit.explicit
    assert explicit.clauses == (
        Clause("identity 1", "#0", "sqs:SendMessage"),
        Clause("the resource's", "OneSenderOnly", "sqs:SendMessage"),
    )


def test_an_allowance_names_every_statement_that_gives_it():
    wide = statement(action=["sqs:*", "sqs:SendMessage", "sns:Publish"])
    decision = decide(asked(), identity=[wide], resource=[{**BY_ROLE, "Sid": "Sender"}])

    assert decision.allowed
    assert not decision.explicit
    assert decision.clauses == (
        Clause("identity 0", "#0", "sqs:*"),
        Clause("identity 0", "#0", "sqs:SendMessage"),
        Clause("the resource's", "Sender", "sqs:SendMessage"),
    )
    assert decision.reason == (
        f"{WORKER.name} may perform sqs:SendMessage on {QUEUE}: #0 of identity 0, Sender of the resource's"
    )


@pytest.mark.parametrize(
    ("principal", "identity", "resource", "reason"),
    [
        (STRANGER, [ALLOW], [], "no statement of the resource's policy allows it"),
        (STRANGER, [], [FROM_OTHER], "no statement of an identity policy allows it, which a call into another account"),
        (WORKER, [], [BY_ACCOUNT], "the resource's policy leaves it to the identity policies"),
        (EVENTS, [], [BY_ROLE], "no statement of the resource's policy allows it"),
    ],
)
def test_a_denial_says_which_side_is_missing(principal, identity, resource, reason):
    assert f"because {reason}" in decide(asked(principal), identity=identity, resource=resource).reason


def test_the_log_is_bounded_and_forgets_neither_denials_nor_uses(monkeypatch):
    monkeypatch.setattr(iam, "_REMEMBERED", 3)
    own = iam.identity_policy("own", document(statement(action=["sqs:SendMessage", "sqs:DeleteMessage"])))
    log = DecisionLog()
    log.decide(asked(WORKER, "sqs:DeleteMessage"), identity=[own])
    log.decide(asked(WORKER, "sqs:PurgeQueue"), identity=[own])
    for _ in range(5):
        log.decide(asked(), identity=[own])
    assert [entry.action for entry in log.entries()] == ["sqs:SendMessage"] * 3
    assert [entry.action for entry in log.denied()] == ["sqs:PurgeQueue"]
    assert log.unused([own]) == []


def test_the_log_keeps_every_decision_and_what_was_granted_for_nothing():
    own = iam.identity_policy(
        "own", document(statement(action=["sqs:SendMessage", "sqs:DeleteMessage"]), DENY | {"Action": "sqs:PurgeQueue"})
    )
    queues = iam.resource_policy("queue's", document({**BY_SERVICE, "Sid": "TheRule"}, {**BY_ROLE, "Sid": "Role"}))
    log = DecisionLog()

    allowed = log.decide(asked(), identity=[own], resource=queues)
    denied = log.decide(asked(WORKER, "sqs:PurgeQueue"), identity=[own], resource=queues)

    assert [(e.who, e.action, e.resource, e.allowed) for e in log.entries()] == [
        (WORKER.name, "sqs:SendMessage", QUEUE, True),
        (WORKER.name, "sqs:PurgeQueue", QUEUE, False),
    ]
    assert [(e.reason, e.clauses) for e in log.entries()] == [(d.reason, d.clauses) for d in (allowed, denied)]
    assert [entry.action for entry in log.denied()] == ["sqs:PurgeQueue"]
    assert log.unused([own, queues]) == [
        Clause("own", "#0", "sqs:DeleteMessage"),
        Clause("queue's", "TheRule", "sqs:SendMessage"),
    ]
    log.decide(asked(EVENTS), resource=queues)
    log.decide(asked(WORKER, "sqs:DeleteMessage"), identity=[own], resource=queues)
    assert log.unused([own, queues]) == []


def test_a_denied_call_uses_no_grant():
    own = iam.identity_policy("own", document(ALLOW, DENY))
    log = DecisionLog()

    assert log.decide(asked(), identity=[own]).explicit
    assert log.unused([own]) == [Clause("own", "#0", "sqs:SendMessage")]


def test_what_is_unused_cannot_be_told_of_documents_that_are_mixed_up():
    with pytest.raises(ValueError, match="two documents have one name"):
        DecisionLog().unused([iam.identity_policy("p", document(ALLOW)), iam.identity_policy("p", document(DENY))])
    with pytest.raises(ValueError, match="broken can't be decided: not JSON"):
        DecisionLog().unused([iam.identity_policy("broken", "{")])


@pytest.fixture
def _restless():
    """Threads take turns after a microsecond, so that what is not safe goes wrong."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("_restless")
def test_the_log_takes_decisions_from_many_threads():
    own = iam.identity_policy("own", document(ALLOW))
    log = DecisionLog()
    together = threading.Barrier(8)

    def decide_often():
        together.wait()
        for _ in range(500):
            log.decide(asked(), identity=[own])

    threads = [threading.Thread(target=decide_often) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(log.entries()) == 4000


# --- for any documents ------------------------------------------------------------------------------------------------

principals = st.sampled_from([WORKER, USER, STRANGER, EVENTS, Anonymous()])
some_statements = st.fixed_dictionaries(
    {
        "Effect": st.sampled_from(["Allow", "Allow", "Deny"]),
        "Action": st.sampled_from(["*", "sqs:*", "sqs:SendMessage", "sqs:ReceiveMessage", "sns:Publish"]),
        "Resource": st.sampled_from(["*", QUEUE, f"{QUEUE}*", f"{QUEUE}-2", STREAM]),
    },
    optional={
        "Condition": st.sampled_from(
            [
                {"StringEquals": {"aws:PrincipalAccount": ACCOUNT}},
                {"ArnNotEquals": {"aws:PrincipalArn": ROLE}},
                {"ForAllValues:StringEquals": {"events:source": "a"}},
                {"Null": {"aws:SourceArn": "true"}},
            ]
        )
    },
)
named = st.sampled_from(
    ["*", *({"AWS": name} for name in (ROLE, USER.arn, STRANGER.role_arn, ACCOUNT)), {"Service": EVENTS.name}]
)
with_principals = st.builds(lambda s, principal: {**s, "Principal": principal}, some_statements, named)
requests = st.builds(
    Request,
    principal=principals,
    action=st.sampled_from(["sqs:SendMessage", "sqs:ReceiveMessage", "sns:Publish"]),
    resource=st.sampled_from([QUEUE, f"{QUEUE}-2", STREAM]),
    context=st.sampled_from([{}, {"events:source": ["a"]}, {"events:source": ["b", "a"]}]),
)
own_statements = st.lists(some_statements, max_size=3)


def identity_of(request, statements):
    return [] if isinstance(request.principal, Service | Anonymous) else statements


@settings(deadline=None, max_examples=300)
@given(requests, own_statements, st.lists(with_principals, max_size=3), with_principals, some_statements)
def test_one_more_deny_never_allows(request, own, of_resource, other_of_resource, other):
    own = identity_of(request, own)
    before = decide(request, identity=own, resource=of_resource)
    after = (
        decide(request, identity=own, resource=[*of_resource, {**other_of_resource, "Effect": "Deny"}]),
        decide(request, identity=identity_of(request, [*own, {**other, "Effect": "Deny"}]), resource=of_resource),
    )

    assert before.allowed or not any(decision.allowed for decision in after)


@settings(deadline=None, max_examples=300)
@given(requests, own_statements, st.lists(with_principals, max_size=3), with_principals, some_statements)
def test_one_more_allow_never_denies(request, own, of_resource, other_of_resource, other):
    own = identity_of(request, own)
    before = decide(request, identity=own, resource=of_resource)
    after = (
        decide(request, identity=own, resource=[*of_resource, {**other_of_resource, "Effect": "Allow"}]),
        decide(request, identity=identity_of(request, [*own, {**other, "Effect": "Allow"}]), resource=of_resource),
    )

    assert not before.allowed or all(decision.allowed for decision in after)
    assert not before.explicit or all(decision.explicit for decision in after)


@settings(deadline=None, max_examples=300)
@given(requests, own_statements, st.lists(with_principals, min_size=1, max_size=3), with_principals, st.booleans())
def test_a_statement_about_something_else_changes_nothing(request, own, of_resource, other, elsewhere):
    own = identity_of(request, own)
    about = {"Resource": f"{QUEUE}-elsewhere"} if elsewhere else {"Action": "sqs:PurgeQueue"}
    before = decide(request, identity=own, resource=of_resource)
    after = decide(request, identity=own, resource=[*of_resource, {**other, **about}])

    assert after == before


# --- the deployed documents -------------------------------------------------------------------------------------------

TLS = {"aws:SecureTransport": "true"}
API_ARN = f"arn:aws:execute-api:{REGION}:{ACCOUNT}:a1b2c3"
STRANGERS_RULE = f"arn:aws:events:{REGION}:{OTHER}:rule/bus/rule"


def arn(service, resource):
    return f"arn:aws:{service}:{REGION}:{ACCOUNT}:{resource}"


def session(role):
    return RoleSession(role_arn=f"arn:aws:iam::{ACCOUNT}:role/{role}", session="s-1")


class Deployed:
    """The documents of one recorded program, by what they are attached to."""

    def __init__(self, recorded):
        self.recorded = recorded
        self.roles = {node.inputs["name"]: [] for node in recorded.of(ROLE_TYPE)}
        for node in recorded.of(ROLE_POLICY):
            self.roles[node.inputs["role"]].append(iam.identity_policy(node.name, node.inputs["policy"]))
        self.trusts = {
            node.inputs["name"]: iam.trust_policy(
                f"{node.name} trust",
                node.inputs["assumeRolePolicy"],
                role_arn=f"arn:aws:iam::{ACCOUNT}:role/{node.inputs['name']}",
            )
            for node in recorded.of(ROLE_TYPE)
        }
        self.queues = {
            arn("sqs", node.inputs["queueUrl"].rpartition("/")[2]): iam.resource_policy(
                f"{node.name} queue", node.inputs["policy"]
            )
            for node in recorded.of(QUEUE_POLICY)
        }
        bus = recorded.only("aws:cloudwatch/eventBusPolicy:EventBusPolicy").inputs
        self.bus_arn, self.bus = (
            arn("events", f"event-bus/{bus['eventBusName']}"),
            iam.resource_policy("bus", bus["policy"]),
        )
        self.api_document = json.loads(recorded.only(API).inputs["body"])["x-amazon-apigateway-policy"]
        self.api = iam.api_policy("api", self.api_document, execution_arn=API_ARN)
        self.functions = {
            name: iam.function_policy(
                f"{name} function",
                [
                    Permission(
                        statement_id=node.name,
                        action=node.inputs["action"],
                        principal=node.inputs["principal"],
                        source_arn=node.inputs.get("sourceArn"),
                        source_account=node.inputs.get("sourceAccount"),
                        function_url_auth_type=node.inputs.get("functionUrlAuthType"),
                        invoked_via_function_url=node.inputs.get("invokedViaFunctionUrl", False),
                    )
                    for node in recorded.of(PERMISSION)
                    if node.inputs["function"] == name
                ],
                function_arn=arn("lambda", f"function:{name}"),
            )
            for name in (node.inputs["name"] for node in recorded.of(FUNCTION))
        }

    def policies(self):
        own = [policy for policies in self.roles.values() for policy in policies]
        # The policy of a function consists of its permissions, so one without any has none.
        functions = [policy for policy in self.functions.values() if policy.statements]
        return [*own, *self.trusts.values(), *self.queues.values(), *functions, self.bus, self.api]

    def listed(self, sid):
        """The principals that a statement of the API's policy lists."""
        (found,) = (s for s in self.api_document["Statement"] if s["Sid"] == sid)
        return found["Condition"]["StringEquals"]["aws:PrincipalArn"]

    def may(self, role, action, resource, context=TLS, policy=None):
        """What a role of the program may do with its own policies."""
        request = Request(principal=session(role), action=action, resource=resource, context=context)
        return iam.evaluate(request, identity=self.roles[role], resource=policy)

    def put_events(self, role, context, bus_arn=None):
        return self.may(role, "events:PutEvents", bus_arn or self.bus_arn, {**TLS, **context}, self.bus)

    def call(self, principal, route, identity=()):
        request = Request(
            principal=principal, action="execute-api:Invoke", resource=f"{API_ARN}/v1/{route}", context=TLS
        )
        return iam.evaluate(request, identity=identity, resource=self.api)

    def rules(self):
        return [
            Service(
                name="events.amazonaws.com",
                source_arn=arn("events", f"rule/{node.inputs['eventBusName']}/{node.inputs['name']}"),
                source_account=ACCOUNT,
            )
            for node in self.recorded.of(RULE)
        ]


@pytest.fixture
def deployed(program):
    """The documents of every stack."""
    return Deployed(program)


@pytest.fixture
def dev(programs):
    return Deployed(programs["dev"])


PIPE_ROLE, PUT_ROLE = "event-gateway-dev-orders-pipe", "event-gateway-dev-orders-api-put-events"
API_ROLE, CONFIRM_ROLE = "event-gateway-dev-orders-api", "event-gateway-dev-carrier-acme-confirm"
RECONCILE_ROLE, SCHEDULE_ROLE = "event-gateway-dev-reconcile", "event-gateway-dev-reconcile-schedule"
ORDERS = arn("dynamodb", "table/event-gateway-dev-orders")
PLACED = {"events:source": ["dynamodb.orders"], "events:detail-type": ["dynamodb-orders-stream"]}
CONFIRMATION = {"events:source": ["carrier"], "events:detail-type": ["carrier.order_shipped"]}
SCHEDULER = Service(
    name="scheduler.amazonaws.com",
    source_arn=arn("scheduler", "schedule-group/event-gateway-dev-reconcile"),
    source_account=ACCOUNT,
)
ADMINISTRATORS = iam.identity_policy("AdministratorAccess", document(ADMINISTRATOR))


def test_every_deployed_document_can_be_decided(deployed):
    assert len(deployed.policies()) >= 25
    assert {policy.name: policy.flaw for policy in deployed.policies() if policy.flaw} == {}
    assert all(policy.statements for policy in deployed.policies())
    assert len(deployed.roles) >= 5
    assert all(deployed.roles.values())


def test_the_pipe_reads_its_stream_and_nothing_else(dev):
    stream = f"{ORDERS}/stream/2026-01-01T00:00:00.000"
    reading = [f"dynamodb:{action}" for action in ("DescribeStream", "GetRecords", "GetShardIterator", "ListStreams")]
    for action in reading:
        assert dev.may(PIPE_ROLE, action, stream).allowed
        assert not dev.may(PIPE_ROLE, action, stream.replace("-orders/", "-orders2/")).allowed
    for action in ("GetItem", "PutItem", "Query", "Scan", "UpdateItem", "DeleteItem"):
        assert not dev.may(PIPE_ROLE, f"dynamodb:{action}", ORDERS).allowed


@pytest.mark.parametrize(
    ("action", "who"),
    [
        ("PutItem", {API_ROLE}),
        ("GetItem", {API_ROLE}),
        ("UpdateItem", {CONFIRM_ROLE, RECONCILE_ROLE}),
        ("Query", set()),
        ("Scan", set()),
        ("DeleteItem", set()),
    ],
)
def test_a_function_does_one_thing_to_orders(dev, action, who):
    allowed = {role for role in dev.roles if dev.may(role, f"dynamodb:{action}", ORDERS).allowed}

    assert allowed == who
    assert not [role for role in who if dev.may(role, f"dynamodb:{action}", f"{ORDERS}-2").allowed]


def test_reconcile_alone_lists_orders_and_only_pending_ones(dev):
    index = f"{ORDERS}/index/pending"
    assert {role for role in dev.roles if dev.may(role, "dynamodb:Query", index).allowed} == {RECONCILE_ROLE}
    assert not dev.may(RECONCILE_ROLE, "dynamodb:Scan", index).allowed
    assert not dev.may(RECONCILE_ROLE, "dynamodb:Query", f"{ORDERS}/index/another").allowed


@pytest.mark.parametrize(
    ("context", "allowed"),
    [
        (CONFIRMATION, True),
        ({key: values[0] for key, values in CONFIRMATION.items()}, True),
        ({**CONFIRMATION, "events:source": ["dynamodb.orders"]}, False),
        ({**CONFIRMATION, "events:source": ["carrier", "dynamodb.orders"]}, False),
        ({**CONFIRMATION, "events:detail-type": ["dynamodb-orders-stream"]}, False),
        ({"events:source": ["carrier"]}, False),
        ({"events:detail-type": ["carrier.order_shipped"]}, False),
        ({**CONFIRMATION, "events:source": [""]}, False),
        ({}, False),
    ],
)
def test_the_api_puts_confirmations_and_nothing_else(dev, context, allowed):
    assert dev.put_events(PUT_ROLE, context).allowed is allowed
    assert not dev.put_events(PUT_ROLE, context, f"{dev.bus_arn}-2").allowed


def test_the_pipe_puts_events_whether_or_not_they_carry_keys(dev):
    for context in ({}, PLACED):
        assert dev.put_events(PIPE_ROLE, context).allowed


def test_nobody_else_puts_events(deployed):
    publishers = {role for role in deployed.roles if deployed.put_events(role, CONFIRMATION).allowed}

    assert {role.rpartition("orders-")[2] for role in publishers} == {"pipe", "api-put-events"}


def test_reconcile_puts_new_orders_and_nothing_else(dev):
    assert dev.put_events(RECONCILE_ROLE, PLACED).allowed
    for context in ({}, CONFIRMATION, {**PLACED, "events:source": ["dynamodb.orders", "carrier"]}):
        assert not dev.put_events(RECONCILE_ROLE, context).allowed
    assert not dev.put_events(RECONCILE_ROLE, PLACED, f"{dev.bus_arn}-2").allowed


def test_an_administrator_neither_orders_nor_confirms_nor_emits_nor_dead_letters(deployed):
    administrator = session("administrator")

    def decided(action, resource, policy):
        request = Request(principal=administrator, action=action, resource=resource, context={**TLS, **CONFIRMATION})
        return iam.evaluate(request, identity=[ADMINISTRATORS], resource=policy)

    refused = [
        *(deployed.call(administrator, r, [ADMINISTRATORS]) for r in ("POST/orders", "GET/orders/7")),
        deployed.call(administrator, "POST/confirm-shipment", [ADMINISTRATORS]),
        decided("events:PutEvents", deployed.bus_arn, deployed.bus),
        *(decided("sqs:SendMessage", queue, policy) for queue, policy in deployed.queues.items()),
    ]
    assert len(refused) >= 8
    assert all(decision.explicit for decision in refused)
    # It is not for want of an Allow: what an operator has to do works.
    assert all(decided("sqs:ReceiveMessage", queue, policy).allowed for queue, policy in deployed.queues.items())


def test_each_caller_has_its_own_routes(deployed):
    clients, carriers = deployed.listed("ClientsMay"), deployed.listed("CarriersMay")
    assert clients
    assert carriers
    routes = ("POST/orders", "GET/orders/7", "POST/confirm-shipment")
    for callers, expected in ((clients, [True, True, False]), (carriers, [False, False, True])):
        for caller in callers:
            principal = RoleSession(role_arn=caller, session="s-7")
            # In this account the API's policy is enough, and an administrator's policy gives no more.
            for identity in ([], [ADMINISTRATORS]):
                decisions = [deployed.call(principal, route, identity) for route in routes]
                assert [decision.allowed for decision in decisions] == expected
                assert all(decision.allowed or decision.explicit for decision in decisions)


def test_a_caller_of_another_account_needs_its_own_allow(dev):
    outside = RoleSession(role_arn=f"arn:aws:iam::{OTHER}:role/client", session="s")
    changed = json.loads(json.dumps(dev.api_document).replace(dev.listed("ClientsMay")[0], outside.role_arn))
    dev.api = iam.api_policy("api", changed, execution_arn=API_ARN)

    assert not dev.call(outside, "POST/orders").allowed
    assert dev.call(outside, "POST/orders", [ADMINISTRATORS]).allowed


def test_a_route_that_is_not_there_is_nobodys(dev):
    client = RoleSession(role_arn=dev.listed("ClientsMay")[0], session="s")

    assert not dev.call(client, "DELETE/orders/7").allowed
    assert not dev.call(client, "POST/orders/").allowed


def test_each_queue_admits_exactly_its_sender(deployed):
    rules = {rule.source_arn: (rule, []) for rule in deployed.rules()}
    roles = {f"arn:aws:iam::{ACCOUNT}:role/{r}": (session(r), own) for r, own in deployed.roles.items()}
    stranger = Service(name="events.amazonaws.com", source_arn=STRANGERS_RULE, source_account=OTHER)
    candidates = {**rules, **roles, STRANGERS_RULE: (stranger, [])}
    wired = senders(deployed.recorded)
    assert wired.keys() == deployed.queues.keys()

    def admitted(queue, context):
        decisions = {
            name: iam.evaluate(
                Request(principal=principal, action="sqs:SendMessage", resource=queue, context=context),
                identity=own,
                resource=deployed.queues[queue],
            )
            for name, (principal, own) in candidates.items()
        }
        return {name for name, decision in decisions.items() if decision.allowed}

    for queue, (sender,) in wired.items():
        assert admitted(queue, TLS) == {sender}
        assert admitted(queue, {"aws:SecureTransport": "false"}) == set()


def test_only_the_service_of_rules_reaches_a_rules_queue(dev):
    (queue,) = (arn for arn in dev.queues if arn.endswith("acme-dead-letters"))
    (rule,) = (rule for rule in dev.rules() if rule.source_arn.endswith("acme-orders"))

    def sends(service):
        request = Request(principal=service, action="sqs:SendMessage", resource=queue, context=TLS)
        return iam.evaluate(request, resource=dev.queues[queue]).allowed

    assert sends(rule)
    assert not sends(Service(name="sns.amazonaws.com", source_arn=rule.source_arn, source_account=ACCOUNT))


def test_a_function_is_invoked_by_its_own_caller_only(dev):
    api = [
        Service(name="apigateway.amazonaws.com", source_arn=f"{API_ARN}/v1/{route}", source_account=ACCOUNT)
        for route in ("POST/orders", "GET/orders/7", "POST/confirm-shipment")
    ]
    callers = {caller.source_arn.removeprefix(API_ARN): caller for caller in (*api, *dev.rules())}
    invoked = {
        function: {
            name
            for name, caller in callers.items()
            if iam.evaluate(
                Request(
                    principal=caller,
                    action="lambda:InvokeFunction",
                    resource=arn("lambda", f"function:{function}"),
                ),
                resource=policy,
            ).allowed
        }
        for function, policy in dev.functions.items()
    }

    assert invoked == {
        API_ROLE: {"/v1/POST/orders", "/v1/GET/orders/7"},
        CONFIRM_ROLE: {arn("events", "rule/event-gateway-dev-orders/event-gateway-dev-carrier-acme-confirm")},
        "event-gateway-dev-carrier-acme-mock": set(),
        # By its schedule, which has a role for it.
        RECONCILE_ROLE: set(),
    }
    function = arn("lambda", f"function:{RECONCILE_ROLE}")
    invoking = {role for role in dev.roles if dev.may(role, "lambda:InvokeFunction", function).allowed}
    assert invoking == {SCHEDULE_ROLE}
    assert not dev.may(SCHEDULE_ROLE, "lambda:InvokeFunction", arn("lambda", f"function:{API_ROLE}")).allowed


@pytest.mark.parametrize(
    ("action", "context", "allowed"),
    [
        ("lambda:InvokeFunctionUrl", {"lambda:FunctionUrlAuthType": "NONE"}, True),
        ("lambda:InvokeFunctionUrl", {"lambda:FunctionUrlAuthType": "AWS_IAM"}, False),
        ("lambda:InvokeFunctionUrl", {}, False),
        ("lambda:InvokeFunction", {"lambda:InvokedViaFunctionUrl": "true"}, True),
        ("lambda:InvokeFunction", {}, False),
    ],
)
def test_the_mock_carrier_is_called_through_its_url(dev, action, context, allowed):
    mock = "event-gateway-dev-carrier-acme-mock"
    request = Request(principal=Anonymous(), action=action, resource=arn("lambda", f"function:{mock}"), context=context)

    assert iam.evaluate(request, resource=dev.functions[mock]).allowed is allowed


@pytest.mark.parametrize(
    ("role", "service", "allowed"),
    [
        (PIPE_ROLE, Service(name="pipes.amazonaws.com"), False),
        (
            PIPE_ROLE,
            Service(
                name="pipes.amazonaws.com",
                source_arn=arn("pipes", "pipe/event-gateway-dev-orders-1a2b3c4"),
                source_account=ACCOUNT,
            ),
            True,
        ),
        (
            PIPE_ROLE,
            Service(
                name="pipes.amazonaws.com", source_arn=arn("pipes", "pipe/another-1a2b3c4"), source_account=ACCOUNT
            ),
            False,
        ),
        (
            PIPE_ROLE,
            Service(
                name="pipes.amazonaws.com",
                source_arn=arn("pipes", "pipe/event-gateway-dev-orders-1a2b3c4"),
                source_account=OTHER,
            ),
            False,
        ),
        (API_ROLE, Service(name="lambda.amazonaws.com"), True),
        (API_ROLE, Service(name="apigateway.amazonaws.com"), False),
        (PUT_ROLE, Service(name="apigateway.amazonaws.com"), True),
        (PUT_ROLE, Service(name="lambda.amazonaws.com"), False),
        (SCHEDULE_ROLE, SCHEDULER, True),
        (SCHEDULE_ROLE, replace(SCHEDULER, source_arn=arn("scheduler", "schedule-group/default")), False),
        (SCHEDULE_ROLE, replace(SCHEDULER, source_account=OTHER), False),
        (SCHEDULE_ROLE, Service(name="scheduler.amazonaws.com"), False),
        (RECONCILE_ROLE, SCHEDULER, False),
    ],
)
def test_a_service_assumes_its_own_role_only(dev, role, service, allowed):
    request = Request(principal=service, action="sts:AssumeRole", resource=f"arn:aws:iam::{ACCOUNT}:role/{role}")

    assert iam.evaluate(request, resource=dev.trusts[role]).allowed is allowed


def test_a_carriers_role_is_assumed_for_its_own_rule_only(deployed):
    rules = deployed.rules()
    roles = [role for role in deployed.roles if "-carrier-" in role and role.endswith("-orders")]
    assert roles
    for role in roles:
        request_of = {
            rule.source_arn.rpartition("/")[2]: Request(
                principal=rule, action="sts:AssumeRole", resource=f"arn:aws:iam::{ACCOUNT}:role/{role}"
            )
            for rule in rules
        }
        assert {name for name, r in request_of.items() if iam.evaluate(r, resource=deployed.trusts[role]).allowed} == {
            role
        }


def test_what_the_pipe_does_takes_everything_it_was_granted(dev):
    log, own = DecisionLog(), dev.roles[PIPE_ROLE]
    (queue,) = (arn for arn in dev.queues if arn.endswith("pipe-dead-letters"))
    stream = f"{ORDERS}/stream/2026-01-01T00:00:00.000"
    for action, resource, policy in (
        *((f"dynamodb:{a}", stream, None) for a in ("DescribeStream", "GetShardIterator", "GetRecords")),
        ("events:PutEvents", dev.bus_arn, dev.bus),
        ("sqs:SendMessage", queue, dev.queues[queue]),
    ):
        request = Request(principal=session(PIPE_ROLE), action=action, resource=resource, context=TLS)
        log.decide(request, identity=own, resource=policy)

    assert log.denied() == []
    assert log.unused(own) == [Clause("orders-pipe-reads-the-stream", "#0", "dynamodb:ListStreams")]
