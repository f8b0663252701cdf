"""Where the program deploys: names and ARNs that are known before anything exists.

A document (an API body, a policy, a pattern) with one unknown ARN is unknown as a whole, and neither a person nor a
policy can read it in a preview. So everything a document refers to has the name `{project}-{stack}-{role}`.
"""

from __future__ import annotations

from dataclasses import dataclass

import pulumi

_PARTITIONS = {
    "cn-": "aws-cn",
    "us-gov-": "aws-us-gov",
    "us-iso-": "aws-iso",
    "us-isob-": "aws-iso-b",
    "us-isof-": "aws-iso-f",
    "eu-isoe-": "aws-iso-e",
    "eusc-": "aws-eusc",
}
# Of IAM roles, functions, rules, connections and API destinations; queues, tables and buses may have longer names.
_MAX_NAME = 64


@dataclass(frozen=True, kw_only=True)
class Scope:
    """One stack in one account and region."""

    project: str
    stack: str
    region: str
    account: str

    def name(self, role: str, limit: int = _MAX_NAME) -> str:
        """The physical name of `role`; two stacks of one account never share one.

        Raises pulumi.RunError for a name that is longer than AWS allows.
        """
        name = f"{self.project}-{self.stack}-{role}"
        if len(name) > limit:
            raise pulumi.RunError(
                f"the name {name!r} has {len(name)} characters where AWS allows {limit}: "
                f"choose a shorter stack name with `pulumi stack rename`"
            )
        return name

    def role(self, name: str) -> str:
        """The role that has this physical name."""
        return name.removeprefix(self.name(""))

    @property
    def partition(self) -> str:
        """The ARN partition of the region."""
        return next((partition for prefix, partition in _PARTITIONS.items() if self.region.startswith(prefix)), "aws")

    def arn(self, service: str, resource: str) -> str:
        """The ARN of a regional resource of this account."""
        return f"arn:{self.partition}:{service}:{self.region}:{self.account}:{resource}"

    def principal_arn(self, resource: str) -> str:
        """The ARN of a role or user of this account, given as `role/name` or `user/name`."""
        return f"arn:{self.partition}:iam::{self.account}:{resource}"

    def role_arn(self, role: str) -> str:
        return self.principal_arn(f"role/{self.name(role)}")

    def function_arn(self, role: str) -> str:
        return self.arn("lambda", f"function:{self.name(role)}")

    def queue_arn(self, role: str) -> str:
        return self.arn("sqs", self.name(role))

    def table_arn(self, role: str) -> str:
        return self.arn("dynamodb", f"table/{self.name(role)}")

    def bus_arn(self, role: str) -> str:
        return self.arn("events", f"event-bus/{self.name(role)}")

    def rule_arn(self, bus_role: str, role: str) -> str:
        """A rule on a custom bus; on the default bus the ARN would lack the bus's name."""
        return self.arn("events", f"rule/{self.name(bus_role)}/{self.name(role)}")
