"""Rules for IAM: what roles, users and groups may do, and who may assume a role."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from pulumi_policy import Severity

from policy.documents import ARN_PARTS, SOURCE_KEYS, UNREADABLE, Statement, json_document, statements
from policy.props import UNKNOWN, spell
from policy.rule import Control, Group, Rule, Texts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from policy.subject import Subject

# Where each type has documents that grant something.
PERMISSIONS = {
    "aws:iam/groupPolicy:GroupPolicy": "policy",
    "aws:iam/policy:Policy": "policy",
    "aws:iam/role:Role": "inlinePolicies[].policy",
    "aws:iam/rolePolicy:RolePolicy": "policy",
    "aws:iam/userPolicy:UserPolicy": "policy",
    "aws-native:iam:Group": "policies[].policyDocument",
    "aws-native:iam:GroupPolicy": "policyDocument",
    "aws-native:iam:ManagedPolicy": "policyDocument",
    "aws-native:iam:Role": "policies[].policyDocument",
    "aws-native:iam:RolePolicy": "policyDocument",
    "aws-native:iam:User": "policies[].policyDocument",
    "aws-native:iam:UserPolicy": "policyDocument",
}
# Where each type attaches policies that are managed.
ATTACHMENTS = {
    "aws:iam/groupPolicyAttachment:GroupPolicyAttachment": "policyArn",
    "aws:iam/policyAttachment:PolicyAttachment": "policyArn",
    "aws:iam/role:Role": "managedPolicyArns[]",
    "aws:iam/rolePolicyAttachment:RolePolicyAttachment": "policyArn",
    "aws:iam/userPolicyAttachment:UserPolicyAttachment": "policyArn",
    "aws-native:iam:Group": "managedPolicyArns[]",
    "aws-native:iam:Role": "managedPolicyArns[]",
    "aws-native:iam:User": "managedPolicyArns[]",
}
TRUST = {"aws:iam/role:Role": "assumeRolePolicy", "aws-native:iam:Role": "assumeRolePolicyDocument"}
# What functions, containers and deployments need of actions that, by AWS's service authorization reference, know no
# resource or need none: their statements have no choice but "*".
WITHOUT_RESOURCE = (
    "cloudwatch:GetMetricStatistics",
    "cloudwatch:PutMetricData",
    "ec2:DescribeAvailabilityZones",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSecurityGroups",
    "ec2:DescribeSubnets",
    "ec2:DescribeVpcs",
    "ecr:GetAuthorizationToken",
    "kms:GenerateRandom",
    "logs:CreateLogDelivery",
    "logs:DeleteLogDelivery",
    "logs:DescribeResourcePolicies",
    "logs:GetLogDelivery",
    "logs:ListLogDeliveries",
    "logs:PutResourcePolicy",
    "logs:UpdateLogDelivery",
    "secretsmanager:GetRandomPassword",
    "ssmmessages:CreateControlChannel",
    "ssmmessages:CreateDataChannel",
    "ssmmessages:OpenControlChannel",
    "ssmmessages:OpenDataChannel",
    "sts:GetCallerIdentity",
    "tag:GetResources",
    "xray:GetSamplingRules",
    "xray:GetSamplingStatisticSummaries",
    "xray:GetSamplingTargets",
    "xray:PutTelemetryRecords",
    "xray:PutTraceSegments",
)
_PUT_EVENTS, _PASS_ROLE = "events:putevents", "iam:passrole"
# A bus that only a wildcard can mean.
_UNHEARD_OF = "event-bus/\0"


def _read(subject: Subject, where: str) -> Iterator[tuple[str, Any]]:
    """The places of documents, each with the document or UNREADABLE. Counts; what is unknown is for the update."""
    found = list(subject.each(where))
    if not found:
        subject.decided(where)
    for path, value in found:
        read = json_document(value)
        if read is UNKNOWN:
            subject.deferred(path)
        else:
            subject.decided(path)
            yield spell(path), read


def _statements(subject: Subject, where: str) -> Iterator[tuple[str, Statement]]:
    """The place and the content of each statement that allows something."""
    for at, statement in _all_statements(subject, where):
        if statement.allows is True:
            yield at, statement


def _all_statements(subject: Subject, where: str) -> Iterator[tuple[str, Statement]]:
    for at, read in _read(subject, where):
        for statement in statements(read) if read is not UNREADABLE else ():
            yield f"{at}.Statement[{statement.index}]", statement


def _unreadable(subject: Subject, where: str) -> Iterator[str]:
    for at, read in _read(subject, where):
        if read is UNREADABLE:
            yield f"write {at} as a JSON object: nobody can read what it allows"


def actions_named(subject: Subject) -> Iterator[str]:
    """No statement allows all of a service, or all but a few actions."""
    where = PERMISSIONS[subject.type]
    yield from _unreadable(subject, where)
    for at, statement in _statements(subject, where):
        if statement.not_actions:
            yield f"list in {at}.Action what is allowed, in place of what is not in NotAction"
        elif any(_whole_service(action) for action in statement.actions):
            yield f"list the actions in {at}.Action: a wildcard allows all of a service"


def _whole_service(action: Any) -> bool:
    name = action.rpartition(":")[2] if isinstance(action, str) else ""
    return "*" in name and not name.strip("*?")


def resources_named(subject: Subject) -> Iterator[str]:
    """A statement says on what, unless its actions know no resource; roles that may be passed are named at that.

    What `buses_named` refuses of a statement is not told twice.
    """
    free = {action.lower() for action in subject.settings["actionsWithoutResource"]}
    to_any_bus = set(_putting_on_any_bus(subject))
    for at, statement in _statements(subject, PERMISSIONS[subject.type]):
        actions = {action.lower() for action in statement.actions if isinstance(action, str)}
        if at in to_any_bus:
            actions = {action for action in actions if not (_puts_events(action) and action.startswith("events:"))}
            if not actions:
                continue
        if statement.not_resources:
            yield f"name in {at}.Resource what is meant, in place of what is not in NotResource"
        elif actions - free and any(map(_everything, statement.resources)):
            yield f"name the resources in {at}.Resource: it has actions that need no wildcard"
        elif _PASS_ROLE in actions and any(_any(resource, ":role/*") for resource in statement.resources):
            yield f"name the roles in {at}.Resource that may be passed"


def buses_named(subject: Subject) -> Iterator[str]:
    """Whoever may put events, be it among all that there is to do, may do so on buses that are named.

    A name with a wildcard is one: `orders-*` is somebody's choice, `*` and `?*` are nobody's.
    """
    for at in _putting_on_any_bus(subject):
        yield f"name the bus in {at}.Resource on which events may be put"


def _putting_on_any_bus(subject: Subject) -> Iterator[str]:
    """Where a statement allows PutEvents on any bus, unless another one of the resource's refuses just that."""
    said = list(_all_statements(subject, PERMISSIONS[subject.type]))
    if not any(_refuses_any_bus(statement) for _, statement in said):
        yield from (at for at, statement in said if statement.allows is True and _puts_on_any_bus(statement))


def _puts_on_any_bus(statement: Statement) -> bool:
    """Whether it allows PutEvents whatever the bus is called. An exception that is not known yet may be just that."""
    puts = _covers(statement.actions, statement.not_actions, _puts_events)
    return puts and _covers(statement.resources, statement.not_resources, _any_bus)


def _refuses_any_bus(statement: Statement) -> bool:
    """Whether it denies PutEvents, without a condition, on every bus there is but for those that it excepts by name.

    What is not known of it yet may be just that.
    """
    if statement.allows is not False or statement.conditions:
        return False
    refuses = (
        not any(map(_puts_events, statement.not_actions))
        if statement.not_actions
        else any(action is UNKNOWN or _puts_events(action) for action in statement.actions)
    )
    everywhere = (
        not any(map(_any_bus, statement.not_resources))
        if statement.not_resources
        else any(resource is UNKNOWN or _every_bus(resource) for resource in statement.resources)
    )
    return refuses and everywhere


def _every_bus(resource: Any) -> bool:
    """Whether it stands for all buses, in every region and account."""
    buses = [f"arn:{partition}:events:\0:\0:{_UNHEARD_OF}" for partition in ("aws", "aws-cn", "aws-us-gov")]
    return isinstance(resource, str) and any(fnmatchcase(bus, resource) for bus in buses)


def _covers(named: list[Any], excepted: list[Any], is_it: Callable[[Any], bool]) -> bool:
    if excepted:
        return not any(one is UNKNOWN or is_it(one) for one in excepted)
    return any(map(is_it, named))


def _puts_events(action: Any) -> bool:
    return isinstance(action, str) and fnmatchcase(_PUT_EVENTS, action.lower())


def _any_bus(resource: Any) -> bool:
    """Whether it stands for buses whose names it says nothing of, in any region or account or in one."""
    if not isinstance(resource, str):
        return False
    # At its end a wildcard stands for the parts that would follow as well.
    parts = re.sub(r"[*?]+", "*", resource).split(":", ARN_PARTS - 1)
    if parts[-1].endswith("*"):
        parts += ["*"] * (ARN_PARTS - len(parts))
    return len(parts) == ARN_PARTS and fnmatchcase("events", parts[2]) and fnmatchcase(_UNHEARD_OF, parts[5])


def _everything(resource: Any) -> bool:
    """Whether it stands for all resources there are, or for all of a service in every region and account."""
    if not isinstance(resource, str):
        return False
    named = resource.split(":", 3)[-1] if resource.startswith("arn:") else resource
    return "*" in named and not named.strip("*?/:")


def _any(resource: Any, end: str) -> bool:
    return isinstance(resource, str) and resource.endswith(end)


def managed_policies_allowed(subject: Subject) -> Iterator[str]:
    """Policies that AWS manages are attached only if somebody decided so."""
    where = ATTACHMENTS[subject.type]
    attached = list(subject.each(where))
    if not attached:
        subject.decided(where)
    for path, arn in attached:
        if arn is UNKNOWN:
            subject.deferred(path)
            continue
        subject.decided(path)
        if isinstance(arn, str) and ":iam::aws:policy/" in arn and arn not in subject.settings["allowed"]:
            yield f"replace the AWS managed policy at {spell(path)} by one that names actions and resources"


def trust_not_public(role: Subject) -> Iterator[str]:
    """Not everybody may assume the role."""
    where = TRUST[role.type]
    yield from _unreadable(role, where)
    for at, statement in _statements(role, where):
        if statement.public:
            yield f"name in {at}.Principal who may assume the role, or say it in a condition"


def deputy_not_confused(role: Subject) -> Iterator[str]:
    """A service that acts for any customer of AWS assumes the role only for this one."""
    services = role.settings["services"]
    for at, statement in _statements(role, TRUST[role.type]):
        trusted = any(kind == "Service" and name in services for kind, name in statement.principals)
        if trusted and not statement.restricted(SOURCE_KEYS):
            yield f"compare aws:SourceAccount or aws:SourceArn in {at}.Condition with what the service acts for"


RULES = (
    Rule(
        name="iam-actions-named",
        why="A role can do what its work needs, and what AWS adds to a service later stays closed to it.",
        fix="List the actions that are needed; no statement allows a whole service, or all but some actions.",
        severity=Severity.HIGH,
        group=Group.BASELINE,
        frameworks=(
            Control(framework="AWS Foundational Security Best Practices", reference="IAM.21"),
            Control(framework="AWS Foundational Security Best Practices", reference="IAM.1"),
            Control(framework="cdk-nag", reference="AwsSolutions-IAM5"),
            Control(framework="checkov", reference="CKV_AWS_63"),
            Control(framework="checkov", reference="CKV_AWS_62"),
            Control(framework="trivy", reference="AWS-0057"),
        ),
        types=frozenset(PERMISSIONS),
        check=actions_named,
        url="https://docs.aws.amazon.com/IAM/latest/UserGuide/best-practices.html",
    ),
    Rule(
        name="iam-resources-named",
        why="A role reaches the resources of its work, and no other of the account.",
        fix="Name the resources of a statement by their ARNs, and put actions that know none into one of their own.",
        severity=Severity.HIGH,
        group=Group.BASELINE,
        frameworks=(
            Control(framework="cdk-nag", reference="AwsSolutions-IAM5"),
            Control(framework="checkov", reference="CKV_AWS_355"),
            Control(framework="trivy", reference="AWS-0342"),
        ),
        types=frozenset(PERMISSIONS),
        check=resources_named,
        settings={
            "actionsWithoutResource": Texts(
                default=WITHOUT_RESOURCE, why="Actions whose resource can be nothing but `*`."
            ),
        },
        url="https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html",
    ),
    Rule(
        name="iam-put-events-bus-named",
        why="What is on a bus is there because somebody who may put events on this one did so.",
        fix="Name the bus by its ARN in each statement that allows events:PutEvents.",
        severity=Severity.HIGH,
        group=Group.GATEWAY,
        frameworks=(
            Control(framework="cdk-nag", reference="AwsSolutions-IAM5"),
            Control(framework="checkov", reference="CKV_AWS_355"),
        ),
        types=frozenset(PERMISSIONS),
        check=buses_named,
        url="https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-use-identity-based.html",
    ),
    Rule(
        name="iam-managed-policies-allowed",
        why="What a role may do is decided here, and not by the next version of a policy of AWS.",
        fix="Write a policy with the actions and resources that are needed, or configure `allowed`.",
        severity=Severity.MEDIUM,
        group=Group.BASELINE,
        frameworks=(Control(framework="cdk-nag", reference="AwsSolutions-IAM4"),),
        types=frozenset(ATTACHMENTS),
        check=managed_policies_allowed,
        settings={"allowed": Texts(default=(), why="ARNs of AWS managed policies that may be attached.")},
        url="https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies_managed-vs-inline.html",
    ),
    Rule(
        name="iam-trust-not-public",
        why="A role is assumed by those who are meant, and not by every account of AWS.",
        fix="Name the principals of the trust policy, or state in a condition whose they have to be.",
        severity=Severity.CRITICAL,
        group=Group.BASELINE,
        frameworks=(
            Control(framework="checkov", reference="CKV_AWS_60"),
            Control(framework="checkov", reference="CKV_AWS_61"),
        ),
        types=frozenset(TRUST),
        check=trust_not_public,
        url="https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html",
    ),
    Rule(
        name="iam-trust-confused-deputy",
        why="Pipes, rules and schedules of other accounts cannot act in the role that one of ours acts in.",
        fix="Compare aws:SourceAccount or aws:SourceArn in the trust policy with the account or the resource.",
        severity=Severity.HIGH,
        group=Group.GATEWAY,
        frameworks=(
            Control(framework="prowler", reference="iam_role_cross_service_confused_deputy_prevention"),
            Control(framework="CWE", reference="441"),
        ),
        types=frozenset(TRUST),
        check=deputy_not_confused,
        settings={
            "services": Texts(
                default=("events.amazonaws.com", "pipes.amazonaws.com", "scheduler.amazonaws.com"),
                why="Services that state for whom they assume a role; of API Gateway and Lambda AWS documents no key.",
            ),
        },
        url="https://docs.aws.amazon.com/IAM/latest/UserGuide/confused-deputy.html",
    ),
)
