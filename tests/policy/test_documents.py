"""Statements of policies: whom they admit, and what a condition has to say to admit fewer."""

from __future__ import annotations

from typing import Any

import pytest

from policy.documents import IDENTITY_KEYS, UNREADABLE, document, statements
from policy.props import UNKNOWN

ACCOUNT = "111122223333"
EVERYBODY = {"Effect": "Allow", "Principal": "*", "Action": "sns:Publish"}


def statement(**changes: Any) -> Any:
    (found,) = statements({"Statement": [{**EVERYBODY, **changes}]})
    return found


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"Principal": ["*"]},
        {"Principal": {"AWS": "*"}},
        {"Principal": {"Service": "events.amazonaws.com", "AWS": [ACCOUNT, "*"]}},
        {"Principal": None, "NotPrincipal": {"AWS": ACCOUNT}},
        {"Condition": {}},
        {"Condition": "none"},
        {"Condition": {"StringEquals": {}}},
        {"Condition": {"Bool": {"aws:SecureTransport": "true"}}},
    ],
)
def test_a_statement_that_admits_everybody_is_public(changes: dict[str, Any]):
    assert statement(**changes).public


@pytest.mark.parametrize(
    "changes",
    [
        {"Effect": "Deny"},
        {"Effect": UNKNOWN},
        {"Principal": UNKNOWN},
        {"Principal": {"AWS": UNKNOWN}},
        {"Principal": {"AWS": ACCOUNT}},
        {"Principal": {"Service": "*"}},
        {"Principal": {"AWS": {"*": "*"}}},
        {"Condition": UNKNOWN},
        {"Condition": {"StringEquals": UNKNOWN}},
        {"Condition": {"StringEquals": {"AWS:SourceOwner": ACCOUNT}}},
    ],
)
def test_one_that_admits_somebody_or_is_not_known_yet_is_not(changes: dict[str, Any]):
    assert not statement(**changes).public


def test_what_is_unknown_as_a_whole_is_not_public():
    (unknown,) = statements({"Statement": UNKNOWN})
    assert not unknown.public


@pytest.mark.parametrize("key", IDENTITY_KEYS)
def test_every_key_that_says_who_asks_restricts(key: str):
    assert statement(Condition={"StringEquals": {key.upper(): "somebody"}}).restricted([key])
    assert not statement(Condition={"StringEquals": {"aws:RequestedRegion": "eu-west-1"}}).restricted([key])


@pytest.mark.parametrize("operator", ["StringEquals", "StringEqualsIgnoreCase", "StringLike", "ArnEquals", "ArnLike"])
@pytest.mark.parametrize(
    ("quantified", "restricts"),
    [("{}", True), ("ForAnyValue:{}", True), ("ForAllValues:{}", False), ("{}IfExists", False)],
)
def test_an_operator_restricts_if_it_is_false_without_the_key(operator: str, quantified: str, *, restricts: bool):
    condition = {quantified.format(operator): {"aws:SourceArn": f"arn:aws:events:eu-west-1:{ACCOUNT}:rule/*"}}
    assert statement(Condition=condition).restricted(["aws:SourceArn"]) is restricts


@pytest.mark.parametrize("operator", ["StringNotEquals", "ArnNotLike", "Null", "NotIpAddress"])
def test_an_operator_that_excludes_restricts_nothing(operator: str):
    assert not statement(Condition={operator: {"aws:SourceAccount": ACCOUNT}}).restricted(["aws:SourceAccount"])


@pytest.mark.parametrize(
    ("values", "restricts"),
    [
        (ACCOUNT, True),
        (float(ACCOUNT), True),
        ([ACCOUNT, UNKNOWN], True),
        (UNKNOWN, True),
        ([], False),
        ([None], False),
        ([ACCOUNT, None], False),
        ([ACCOUNT, "*"], False),
        ("", False),
        ("?*", False),
        ("arn:aws:events:eu-west-1:111122223333:*", True),
        ("arn:aws:execute-api:us-east-1:111122223333:abc/*/*/*", True),
        ("arn:aws:events:*:111122223333:rule/*/*", True),
        ("arn:aws:events:*:*:rule/*", False),
        ("arn:aws:sns:us-east-1:*:alerts", False),
        ("arn:aws:iam::*:role/admin", False),
        ("arn:aws:iam::11112222????:role/admin", False),
        ("arn:aws:s3:::orders", True),
        ("arn:aws:s3:::*", False),
        ("arn:aws:s3", False),
        ("arn:aws:s3:*:*:orders", True),
        ("arn:aws:s3:*:*:*", False),
        ("arn:aws:s3:*:*:orders-*", False),
        ("arn:aws:s3:eu-west-1:*:accesspoint/orders", True),
        ("arn:aws:s3::11112222????:accesspoint/orders", False),
        ("arn:aws:ec2:eu-west-1:111122223333:vpc/*", True),
        ("arn:aws:iam::${aws:PrincipalAccount}:role/admin", False),
        ("arn:aws:iam::${aws:ResourceAccount}:role/admin", True),
        ("arn:aws:s3:::orders-${aws:PrincipalAccount}", False),
        ("arn:aws:s3:::orders/${aws:PrincipalAccount}", True),
        ("arn:aws:events:*:111122223333:rule/orders-*", True),
        ("0.0.0.0/0", False),
        ("::/0", False),
        ("192.0.2.0/24", True),
        ("192.0.2.1", True),
        (["0.0.0.0/1", "128.0.0.0/1"], False),
        ("10.0.0.0/8", True),
        ("10.0.0.0/7", False),
        ("2001:DB8::/32", True),
        ("2001:DB8::/31", False),
        ("1*", False),
        ("11112222333?", False),
        ("${aws:PrincipalAccount}", False),
        ("${aws:PrincipalTag/team, 'orders'}", False),
        ("${aws:ResourceAccount}", True),
        ("${AWS:resourceOrgID}", True),
        ("${aws:ResourceOrgPaths}", True),
        ("${aws:ResourceTag/owner}", False),
        ("o-*", False),
        ("o-a1b2c3d4e5/*", True),
        ("o-a1b2c3d4e5/r-ab12/ou-ab12-*/", True),
        ("o-*/r-ab12/", False),
        ("*/r-ab12/*", False),
        ("vpce-*", False),
        ("vpc-0a1b2c", True),
        ("A*", False),
        ("AROAEXAMPLE:*", True),
        ("*:orders", False),
    ],
)
def test_a_value_restricts_if_each_of_them_is_somebody(values: Any, *, restricts: bool):
    assert (
        statement(Condition={"StringLike": {"aws:SourceAccount": values}}).restricted(["aws:SourceAccount"])
        is restricts
    )


def test_an_address_restricts():
    assert not statement(Condition={"IpAddress": {"aws:SourceIp": ["192.0.2.0/24"]}}).public


def test_one_of_several_keys_is_enough():
    condition = {"StringLike": {"aws:SourceAccount": "*", "aws:SourceOrgID": "o-a1b2c3d4e5"}}
    assert statement(Condition=condition).restricted(["aws:SourceAccount", "aws:SourceOrgID"])


def test_keys_that_are_no_text_are_read_without_an_error():
    assert statement(Condition={"StringEquals": {1: "x", None: "y"}}).public


@pytest.mark.parametrize("text", ["paths: !!bool x", "a: !!int ''", "a: !!timestamp x", "a: &s [*s]", "a: 2026-02-31"])
def test_text_that_is_hardly_yaml_is_read_without_an_error(text: str):
    assert document(text) is UNREADABLE or isinstance(document(text), dict)


@pytest.mark.parametrize("principal", [[["x"]], {"AWS": [{"Fn::GetAtt": "x"}]}, {"Service": [["x"]]}, [None]])
def test_a_principal_that_is_no_text_is_not_known(principal: Any):
    assert {name for _, name in statement(Principal=principal).principals} == {UNKNOWN}
