"""IAM: documents that name what they allow and whom they trust, and the smallest changes that do not."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from policy.rules.identity import ATTACHMENTS, PERMISSIONS, TRUST
from tests.policy.programs import Mutant, Program, Thing

ACTIONS = "iam-actions-named"
RESOURCES = "iam-resources-named"
BUSES = "iam-put-events-bus-named"
MANAGED = "iam-managed-policies-allowed"
PUBLIC = "iam-trust-not-public"
DEPUTY = "iam-trust-confused-deputy"

ROLE, ROLE_POLICY = "aws:iam/role:Role", "aws:iam/rolePolicy:RolePolicy"
ACCOUNT = "111122223333"
ORDERS = f"arn:aws:dynamodb:eu-west-1:{ACCOUNT}:table/orders"
BUS = f"arn:aws:events:eu-west-1:{ACCOUNT}:event-bus/orders"
AWS_MANAGED = "arn:aws:iam::aws:policy/AdministratorAccess"
OURS = f"arn:aws:iam::{ACCOUNT}:policy/reads-orders"
PERMITTED = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Action": ["dynamodb:GetItem", "dynamodb:PutItem"], "Resource": [ORDERS]},
        {"Effect": "Allow", "Action": "events:PutEvents", "Resource": BUS},
        {"Effect": "Allow", "Action": ["xray:PutTraceSegments", "cloudwatch:PutMetricData"], "Resource": "*"},
        {"Effect": "Deny", "NotAction": ["dynamodb:*", "events:*"], "Resource": ORDERS},
        {"Effect": "Deny", "Action": "*", "NotResource": [ORDERS, BUS], "Condition": {"Bool": {"aws:x": "true"}}},
    ],
}
TRUSTED = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"Service": ["pipes.amazonaws.com", "lambda.amazonaws.com"]},
            "Action": "sts:AssumeRole",
            "Condition": {"StringEquals": {"aws:SourceAccount": [ACCOUNT]}},
        },
        {
            "Effect": "Allow",
            "Principal": {"AWS": "*"},
            "Action": "sts:AssumeRole",
            "Condition": {"StringEquals": {"aws:PrincipalOrgID": "o-a1b2c3d4e5"}},
        },
        {"Effect": "Deny", "Principal": "*", "Action": "sts:AssumeRole", "Condition": {"Bool": {"aws:x": "false"}}},
    ],
}


def place(type_: str, where: str) -> str:
    """The place of the one document, or ARN, of `good`."""
    return where.replace("[]", "[0]")


def good(type_: str) -> dict[str, Any]:
    """Inputs of any of the types, with every kind of document it has: text for `aws`, objects for `aws-native`."""
    written: Callable[[Any], Any] = (lambda document: document) if type_.startswith("aws-native") else json.dumps
    inputs: dict[str, Any] = {"name": "thing"}
    if type_ in PERMISSIONS:
        inputs |= _at(PERMISSIONS[type_], written(PERMITTED))
    if type_ in ATTACHMENTS:
        inputs |= _at(ATTACHMENTS[type_], OURS)
    if type_ in TRUST:
        inputs |= _at(TRUST[type_], written(TRUSTED))
    return inputs


def _at(where: str, value: Any) -> dict[str, Any]:
    name, is_list, below = where.partition("[]")
    if not is_list:
        return {name: value}
    return {name: [{"name": "one", below.removeprefix("."): value} if below else value]}


def base(type_: str) -> str:
    return f"{type_} that grants something"


def change(type_: str, where: str, statement: int, **changes: Any) -> Callable[[Program], None]:
    """Change keys of a statement of the document at the place; None takes one out."""

    def edit(document: dict[str, Any]) -> dict[str, Any]:
        changed = {**document["Statement"][statement], **changes}
        statements = list(document["Statement"])
        statements[statement] = {key: value for key, value in changed.items() if value is not None}
        return {**document, "Statement": statements}

    def apply(program: Program) -> None:
        if type_.startswith("aws-native"):
            program.put(type_, "thing", place(type_, where), edit)
        else:
            program.edit(type_, "thing", place(type_, where), edit)

    return apply


def _mutant(
    rule: str,
    claim: str,
    type_: str,
    where: str,
    statement: int,
    changes: dict[str, Any],
    message: str,
    hinges: tuple[str, ...] = (),
) -> Mutant:
    at = f"{place(type_, where)}.Statement[{statement}]"
    return Mutant(
        rule=rule,
        claim=claim,
        base=base(type_),
        change=change(type_, where, statement, **changes),
        message=message.format(at),
        hinges=tuple(f"{at}.{key}" for key in hinges),
    )


_ACTIONS = "list the actions in {}.Action: a wildcard allows all of a service"
_NOT_ACTION = "list in {}.Action what is allowed, in place of what is not in NotAction"
_RESOURCES = "name the resources in {}.Resource: it has actions that need no wildcard"
_NOT_RESOURCE = "name in {}.Resource what is meant, in place of what is not in NotResource"
_ROLES = "name the roles in {}.Resource that may be passed"
_BUS = "name the bus in {}.Resource on which events may be put"
_PRINCIPAL = "name in {}.Principal who may assume the role, or say it in a condition"
_CONDITION = "compare aws:SourceAccount or aws:SourceArn in {}.Condition with what the service acts for"
_UNREADABLE = "write {} as a JSON object: nobody can read what it allows"
_MANAGED = "replace the AWS managed policy at {} by one that names actions and resources"


def _permissions(type_: str) -> list[Mutant]:
    where = PERMISSIONS[type_]

    def grants(rule: str, claim: str, statement: int, message: str, **changes: Any) -> Mutant:
        hinges = ("Effect",) if rule == ACTIONS else ("Effect", "Action", "Resource")
        return _mutant(rule, claim, type_, where, statement, changes, message, hinges)

    return [
        grants(ACTIONS, "everything", 0, _ACTIONS, Action="*"),
        grants(ACTIONS, "a service", 0, _ACTIONS, Action=["dynamodb:GetItem", "dynamodb:*"]),
        grants(ACTIONS, "a service in other words", 0, _ACTIONS, Action="dynamodb:?*"),
        grants(ACTIONS, "all but some", 0, _NOT_ACTION, Action=None, NotAction=["iam:*"]),
        Mutant(
            rule=ACTIONS,
            claim="no document",
            base=base(type_),
            change=lambda program: program.put(type_, "thing", place(type_, where), "allow everything"),
            message=_UNREADABLE.format(place(type_, where)),
        ),
        grants(RESOURCES, "on everything", 0, _RESOURCES, Resource="*"),
        grants(RESOURCES, "on everything besides", 0, _RESOURCES, Resource=[ORDERS, "*"]),
        grants(RESOURCES, "on all of a service", 0, _RESOURCES, Resource="arn:aws:dynamodb:*:*:*"),
        grants(RESOURCES, "on all buckets", 0, _RESOURCES, Action="s3:GetObject", Resource="arn:aws:s3:::*"),
        grants(RESOURCES, "on all but one", 0, _NOT_RESOURCE, Resource=None, NotResource=ORDERS),
        grants(RESOURCES, "with an action that knows resources", 2, _RESOURCES, Action=["xray:*Group", "xray:Put*"]),
        grants(RESOURCES, "passes anything", 0, _RESOURCES, Action="iam:PassRole", Resource="*"),
        grants(
            RESOURCES, "passes any role", 0, _ROLES, Action="iam:PassRole", Resource=f"arn:aws:iam::{ACCOUNT}:role/*"
        ),
        grants(BUSES, "on everything", 1, _BUS, Resource="*"),
        grants(BUSES, "on every bus of the account", 1, _BUS, Resource=[BUS, BUS.replace("orders", "*")]),
        grants(BUSES, "on every bus in other words", 1, _BUS, Resource=BUS.replace("orders", "?*")),
        grants(BUSES, "on all of the service", 1, _BUS, Resource="arn:aws:events:*"),
        grants(BUSES, "on all but one", 1, _BUS, Resource=None, NotResource=BUS),
        grants(BUSES, "by the start of the name", 1, _BUS, Action="events:PutE*", Resource=BUS.replace("orders", "*")),
    ]


def _attachments(type_: str) -> Mutant:
    where = place(type_, ATTACHMENTS[type_])
    return Mutant(
        rule=MANAGED,
        claim="administrator",
        base=base(type_),
        change=lambda program: program.put(type_, "thing", where, AWS_MANAGED),
        message=_MANAGED.format(where),
    )


def _trust(type_: str) -> list[Mutant]:
    where = TRUST[type_]

    def admits(claim: str, **changes: Any) -> Mutant:
        return _mutant(PUBLIC, claim, type_, where, 1, changes, _PRINCIPAL, ("Effect", "Principal", "Condition"))

    def trusts(claim: str, condition: Any) -> Mutant:
        hinges = ("Effect", "Principal")
        return _mutant(DEPUTY, claim, type_, where, 0, {"Condition": condition}, _CONDITION, hinges)

    return [
        admits("everybody", Condition=None),
        admits("everybody in short", Principal="*", Condition=None),
        admits("everybody among others", Principal={"AWS": [ACCOUNT, "*"]}, Condition=None),
        admits("all but one", Principal=None, NotPrincipal={"AWS": ACCOUNT}, Condition=None),
        admits("everybody over TLS", Condition={"Bool": {"aws:SecureTransport": "true"}}),
        admits("everybody without an organization", Condition={"Null": {"aws:PrincipalOrgID": "true"}}),
        Mutant(
            rule=PUBLIC,
            claim="no document",
            base=base(type_),
            change=lambda program: program.put(type_, "thing", where, "everybody"),
            message=_UNREADABLE.format(where),
        ),
        trusts("for anybody", None),
        trusts("for every account", {"StringLike": {"aws:SourceAccount": "*"}}),
        trusts("for every account of a kind", {"StringLike": {"aws:SourceAccount": "1*"}}),
        trusts("for whoever asks", {"StringEquals": {"aws:SourceAccount": "${aws:PrincipalAccount}"}}),
        trusts("for one account or every", {"StringLike": {"aws:SourceAccount": [ACCOUNT, "*"]}}),
        trusts("for nobody in particular", {"StringEquals": {"aws:SourceAccount": []}}),
        trusts("for no account", {"StringEquals": {"aws:SourceAccount": [None]}}),
        trusts("for all pipes", {"ArnLike": {"aws:SourceArn": "arn:aws:pipes:*:*:*/*"}}),
        trusts("for a pipe of any account", {"ArnLike": {"aws:SourceArn": "arn:aws:pipes:eu-west-1:*:pipe/orders"}}),
        trusts("for whoever does not say", {"StringEqualsIfExists": {"aws:SourceAccount": ACCOUNT}}),
        trusts("for all but one account", {"StringNotEquals": {"aws:SourceAccount": ACCOUNT}}),
        trusts("in a region", {"StringEquals": {"aws:RequestedRegion": "eu-west-1"}}),
    ]


def _first(document: dict[str, Any], **changes: Any) -> None:
    document["Statement"][0] |= changes


def _ours(rule: str, claim: str, type_: str, name: str, where: str, message: str, **changes: Any) -> Mutant:
    return Mutant(
        rule=rule,
        claim=claim,
        change=lambda program: program.edit(type_, name, where, lambda document: _first(document, **changes)),
        message=message.format(f"{where}.Statement[0]"),
    )


def _briefly(mutants: list[Mutant]) -> list[Mutant]:
    """The first mutant of each rule: how a type is read, and not again what is wrong in a document."""
    return list({mutant.rule: mutant for mutant in reversed(mutants)}.values())


# Between them: text and objects, one document and a list of them.
THOROUGHLY = (ROLE_POLICY, "aws-native:iam:Role")
TYPES = sorted({*PERMISSIONS, *ATTACHMENTS, *TRUST})
BASES = {base(type_): [Thing(type=type_, name="thing", inputs=good(type_))] for type_ in TYPES}
MUTANTS = [
    *(mutant for type_ in THOROUGHLY for mutant in _permissions(type_)),
    *(mutant for type_ in PERMISSIONS if type_ not in THOROUGHLY for mutant in _briefly(_permissions(type_))),
    *(_attachments(type_) for type_ in ATTACHMENTS),
    *(mutant for type_ in TRUST for mutant in _trust(type_)),
    _ours(
        ACTIONS, "all of the table", ROLE_POLICY, "orders-api-creates-orders", "policy", _ACTIONS, Action="dynamodb:*"
    ),
    _ours(RESOURCES, "on any table", ROLE_POLICY, "orders-api-creates-orders", "policy", _RESOURCES, Resource="*"),
    _ours(BUSES, "on any bus", ROLE_POLICY, "orders-pipe-emits-orders", "policy", _BUS, Resource="*"),
    Mutant(
        rule=MANAGED,
        claim="a managed policy beside",
        change=lambda program: program.put(ROLE, "orders-api", "managedPolicyArns", [AWS_MANAGED]),
        message=_MANAGED.format("managedPolicyArns[0]"),
    ),
    _ours(PUBLIC, "anybody", ROLE, "orders-api", "assumeRolePolicy", _PRINCIPAL, Principal={"AWS": "*"}),
    _ours(DEPUTY, "any pipe", ROLE, "orders-pipe", "assumeRolePolicy", _CONDITION, Condition={}),
    _ours(DEPUTY, "any rule", ROLE, "acme-orders", "assumeRolePolicy", _CONDITION, Condition={}),
    _ours(DEPUTY, "any schedule", ROLE, "reconcile-schedule", "assumeRolePolicy", _CONDITION, Condition={}),
]
