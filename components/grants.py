"""Who may do what: roles that services assume, and the statements that the resources they use hand out.

A resource grants access to itself (`store.grant_create(role)`), so that every action on it stands beside it.
"""

from __future__ import annotations

import json
from typing import Any, NotRequired, TypedDict

import pulumi
import pulumi_aws as aws

Condition = dict[str, dict[str, str | list[str]]]


class Statement(TypedDict):
    """One statement of an IAM document, with IAM's own keys."""

    Sid: NotRequired[str]
    Effect: str
    Principal: NotRequired[Any]
    Action: str | list[str]
    Resource: NotRequired[str | list[str]]
    Condition: NotRequired[Condition]


def allow(*actions: str, on: str | list[str], when: Condition | None = None) -> Statement:
    """A statement that allows `actions` on the ARNs `on`."""
    statement: Statement = {"Effect": "Allow", "Action": list(actions), "Resource": on}
    if when:
        statement["Condition"] = when
    return statement


def encrypted_transport_only(action: str, *, on: str) -> Statement:
    """A statement that denies everybody `action` on the ARN `on` over plain HTTP."""
    return {
        "Sid": "EncryptedTransportOnly",
        "Effect": "Deny",
        "Principal": "*",
        "Action": action,
        "Resource": on,
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }


def document(*statements: Statement) -> dict[str, Any]:
    """An IAM policy document."""
    return {"Version": "2012-10-17", "Statement": list(statements)}


class ServiceRole(pulumi.ComponentResource):
    """A role that one AWS service assumes; it can do only what resources grant it."""

    arn: pulumi.Output[str]
    known_arn: str
    grants: list[pulumi.Resource]
    """Every grant so far: depend on them where a missing permission would fail the first use."""

    def __init__(
        self,
        name: str,
        *,
        service: str,
        physical_name: str,
        known_arn: str,
        when: Condition | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("event-gateway:components:ServiceRole", name, None, opts)
        trust: Statement = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
        if when:
            trust["Condition"] = when
        self._name = name
        self._role = aws.iam.Role(
            name,
            name=physical_name,
            assume_role_policy=json.dumps(document(trust)),
            opts=pulumi.ResourceOptions(parent=self, delete_before_replace=True),
        )
        self.arn = self._role.arn
        self.known_arn = known_arn
        self.grants = []
        self.register_outputs({"arn": self.arn})

    def may(self, ability: str, *statements: Statement) -> None:
        """Attach one ability; `ability` completes the sentence that starts with the role's name."""
        self.grants.append(
            aws.iam.RolePolicy(
                f"{self._name}-{ability}",
                name=ability,
                role=self._role.name,
                policy=json.dumps(document(*statements)),
                opts=pulumi.ResourceOptions(parent=self, delete_before_replace=True),
            )
        )
