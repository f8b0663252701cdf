"""docs/deploying.md: the deployer may do what the program takes and nothing else, and what is said of it is true."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import cfnlint
import pytest

from bench.costs import NEUTRAL, OURS, Model, per_million, read_prices
from sandbox.iam import DecisionLog, Request, RoleSession, identity_policy
from tests.documents import LINK, rows
from tests.graph import ACCOUNT, OUTPUTS, REGION, ROOT, Graph, Node, plain

# Of an inline policy of a role, without white space, as IAM's quotas have it.
LARGEST = 10_240
DEPLOYER = RoleSession(role_arn=f"arn:aws:iam::{ACCOUNT}:role/deployer", session="one")
AWS_DATA = Path(cfnlint.__file__).parent / "data" / "AdditionalSpecs" / "Policies.json"

Asks = Iterator[tuple[str, str]]


def arn(service: str, resource: str) -> str:
    return f"arn:aws:{service}:{REGION}:{ACCOUNT}:{resource}"


def named(node: Node) -> str:
    """The ARN that AWS gives to a resource of this name."""
    return OUTPUTS[node.type](node.name, node.inputs)["arn"]


def calls(service: str, *actions: str, of: Callable[[Node], str] = named) -> Callable[[Node], Asks]:
    return lambda node: ((f"{service}:{action}", of(node)) for action in actions)


def both(*parts: Callable[[Node], Asks]) -> Callable[[Node], Asks]:
    return lambda node: (ask for part in parts for ask in part(node))


def anywhere(node: Node) -> str:
    return "*"


def api(*paths: str, verbs: tuple[str, ...]) -> Callable[[Node], Asks]:
    resources = [f"arn:aws:apigateway:{REGION}::/{path}" for path in paths]
    return lambda node: ((f"apigateway:{verb}", resource) for resource in resources for verb in verbs)


def of_input(key: str, *, service: str, form: str) -> Callable[[Node], str]:
    """An ARN made of an input that is a name, or the input itself where that is an ARN."""

    def found(node: Node) -> str:
        value: str = plain(node.inputs[key])
        return value if value.startswith("arn:") else arn(service, form.format(value))

    return found


def is_input(key: str) -> Callable[[Node], str]:
    return lambda node: plain(node.inputs[key])


FUNCTION = of_input("function", service="lambda", form="function:{}")
FUNCTION_NAME = of_input("functionName", service="lambda", form="function:{}")
BUS = of_input("eventBusName", service="events", form="event-bus/{}")


def rule_of(node: Node) -> str:
    return arn("events", f"rule/{plain(node.inputs['eventBusName'])}/{plain(node.inputs['rule'])}")


def role_of(node: Node) -> str:
    return f"arn:aws:iam::{ACCOUNT}:role/{plain(node.inputs['role'])}"


def queue_of(node: Node) -> str:
    return arn("sqs", plain(node.inputs["queueUrl"]).rpartition("/")[2])


def passed(node: Node) -> Asks:
    yield "iam:PassRole", named(node)


NOTHING: Callable[[Node], Asks] = lambda node: iter(())  # noqa: E731 - a row like the others

# What the provider asks AWS for to create, read, change and delete a resource of each type. For the types of `aws`,
# the calls of the Terraform provider that it is made of; for the pipe, the permissions of its CloudFormation handlers
# that concern a stream, a bus and a log group, and Cloud Control's own.
NEEDS: dict[str, Callable[[Node], Asks]] = {
    "aws:apigateway/account:Account": api("account", verbs=("GET", "PATCH")),
    "aws:apigateway/deployment:Deployment": both(
        api("restapis/a1b2c3/deployments", verbs=("POST",)),
        api("restapis/a1b2c3/deployments/d1", verbs=("GET", "PATCH", "DELETE")),
    ),
    "aws:apigateway/methodSettings:MethodSettings": api("restapis/a1b2c3/stages/v1", verbs=("GET", "PATCH")),
    "aws:apigateway/restApi:RestApi": both(
        api("restapis", verbs=("POST",)),
        api("restapis/a1b2c3", verbs=("GET", "PATCH", "PUT", "DELETE")),
        # The body carries the resource policy.
        api("restapis", "restapis/a1b2c3", verbs=("UpdateRestApiPolicy",)),
    ),
    "aws:apigateway/stage:Stage": both(
        api("restapis/a1b2c3/stages", verbs=("POST",)),
        api("restapis/a1b2c3/stages/v1", verbs=("GET", "PATCH", "DELETE")),
    ),
    "aws:cloudwatch/dashboard:Dashboard": calls(
        "cloudwatch",
        "PutDashboard",
        "GetDashboard",
        "DeleteDashboards",
        of=lambda node: f"arn:aws:cloudwatch::{ACCOUNT}:dashboard/{plain(node.inputs['dashboardName'])}",
    ),
    "aws:cloudwatch/eventApiDestination:EventApiDestination": calls(
        "events", "CreateApiDestination", "DescribeApiDestination", "UpdateApiDestination", "DeleteApiDestination"
    ),
    "aws:cloudwatch/eventArchive:EventArchive": both(
        calls("events", "CreateArchive", "DescribeArchive", "UpdateArchive", "DeleteArchive"),
        calls("events", "CreateArchive", of=is_input("eventSourceArn")),
    ),
    "aws:cloudwatch/eventBus:EventBus": calls(
        "events", "CreateEventBus", "DescribeEventBus", "UpdateEventBus", "DeleteEventBus", "ListTagsForResource"
    ),
    "aws:cloudwatch/eventBusPolicy:EventBusPolicy": both(
        # Both know no resource.
        calls("events", "PutPermission", "RemovePermission", of=anywhere),
        calls("events", "DescribeEventBus", of=BUS),
    ),
    "aws:cloudwatch/eventConnection:EventConnection": both(
        calls("events", "CreateConnection", "DescribeConnection", "UpdateConnection", "DeleteConnection"),
        calls(
            "secretsmanager",
            "CreateSecret",
            "GetSecretValue",
            "PutSecretValue",
            "UpdateSecret",
            of=lambda node: arn("secretsmanager", f"secret:events!connection/{plain(node.inputs['name'])}/0f1e-AbCdEf"),
        ),
    ),
    "aws:cloudwatch/eventRule:EventRule": calls(
        "events", "PutRule", "DescribeRule", "DeleteRule", "EnableRule", "DisableRule", "ListTagsForResource"
    ),
    "aws:cloudwatch/eventTarget:EventTarget": calls(
        "events", "PutTargets", "ListTargetsByRule", "RemoveTargets", of=rule_of
    ),
    "aws:cloudwatch/logGroup:LogGroup": both(
        calls("logs", "CreateLogGroup", "PutRetentionPolicy", "DeleteLogGroup", "ListTagsForResource"),
        calls("logs", "DescribeLogGroups", of=anywhere),
    ),
    "aws:cloudwatch/metricAlarm:MetricAlarm": both(
        calls(
            "cloudwatch",
            "PutMetricAlarm",
            "DeleteAlarms",
            "ListTagsForResource",
            of=of_input("name", service="cloudwatch", form="alarm:{}"),
        ),
        calls("cloudwatch", "DescribeAlarms", of=lambda node: arn("cloudwatch", "alarm:*")),
    ),
    "aws:dynamodb/table:Table": calls(
        "dynamodb",
        "CreateTable",
        "DescribeTable",
        "UpdateTable",
        "DeleteTable",
        "DescribeContinuousBackups",
        "UpdateContinuousBackups",
        "DescribeTimeToLive",
        "ListTagsOfResource",
    ),
    "aws:iam/role:Role": both(
        calls(
            "iam",
            "CreateRole",
            "GetRole",
            "DeleteRole",
            "UpdateAssumeRolePolicy",
            "UpdateRole",
            "UpdateRoleDescription",
            "ListRolePolicies",
            "ListAttachedRolePolicies",
            "ListInstanceProfilesForRole",
        ),
        passed,
    ),
    "aws:iam/rolePolicy:RolePolicy": calls("iam", "PutRolePolicy", "GetRolePolicy", "DeleteRolePolicy", of=role_of),
    "aws:lambda/function:Function": calls(
        "lambda",
        "CreateFunction",
        "GetFunction",
        "GetFunctionConfiguration",
        "GetFunctionCodeSigningConfig",
        "ListVersionsByFunction",
        "UpdateFunctionCode",
        "UpdateFunctionConfiguration",
        "PutFunctionConcurrency",
        "DeleteFunctionConcurrency",
        "DeleteFunction",
    ),
    "aws:lambda/functionEventInvokeConfig:FunctionEventInvokeConfig": calls(
        "lambda",
        "PutFunctionEventInvokeConfig",
        "GetFunctionEventInvokeConfig",
        "DeleteFunctionEventInvokeConfig",
        of=FUNCTION_NAME,
    ),
    "aws:lambda/functionUrl:FunctionUrl": calls(
        "lambda",
        "CreateFunctionUrlConfig",
        "GetFunctionUrlConfig",
        "UpdateFunctionUrlConfig",
        "DeleteFunctionUrlConfig",
        of=FUNCTION_NAME,
    ),
    "aws:lambda/permission:Permission": calls("lambda", "AddPermission", "GetPolicy", "RemovePermission", of=FUNCTION),
    "aws:sns/topic:Topic": calls(
        "sns", "CreateTopic", "GetTopicAttributes", "SetTopicAttributes", "DeleteTopic", "ListTagsForResource"
    ),
    "aws:sns/topicPolicy:TopicPolicy": calls("sns", "SetTopicAttributes", "GetTopicAttributes", of=is_input("arn")),
    "aws:sns/topicSubscription:TopicSubscription": both(
        calls("sns", "Subscribe", of=is_input("topic")),
        calls(
            "sns",
            "GetSubscriptionAttributes",
            "SetSubscriptionAttributes",
            "Unsubscribe",
            of=lambda node: f"{plain(node.inputs['topic'])}:0f1e2d3c",
        ),
    ),
    "aws:scheduler/schedule:Schedule": calls(
        "scheduler", "CreateSchedule", "GetSchedule", "UpdateSchedule", "DeleteSchedule"
    ),
    "aws:scheduler/scheduleGroup:ScheduleGroup": calls(
        "scheduler", "CreateScheduleGroup", "GetScheduleGroup", "DeleteScheduleGroup", "ListTagsForResource"
    ),
    "aws:sqs/queue:Queue": calls(
        "sqs", "CreateQueue", "GetQueueAttributes", "SetQueueAttributes", "DeleteQueue", "ListQueueTags"
    ),
    "aws:sqs/queuePolicy:QueuePolicy": calls("sqs", "SetQueueAttributes", "GetQueueAttributes", of=queue_of),
    "aws-native:pipes:Pipe": both(
        calls("pipes", "CreatePipe", "DescribePipe", "DeletePipe", "TagResource", "UntagResource"),
        calls(
            "logs",
            "PutResourcePolicy",
            "DescribeResourcePolicies",
            "DescribeLogGroups",
            "CreateLogDelivery",
            "GetLogDelivery",
            "UpdateLogDelivery",
            "DeleteLogDelivery",
            "ListLogDeliveries",
            of=anywhere,
        ),
        calls(
            "cloudformation",
            "CreateResource",
            "GetResource",
            "GetResourceRequestStatus",
            "CancelResourceRequest",
            "DeleteResource",
            of=anywhere,
        ),
    ),
    "pulumi:providers:aws-native": NOTHING,
}
# The roles that AWS makes for its own services when the first API and the first connection of an account are created.
OF_SERVICES = {
    "apidestinations.events.amazonaws.com": "AWSServiceRoleForAmazonEventBridgeApiDestinations",
    "ops.apigateway.amazonaws.com": "AWSServiceRoleForAPIGateway",
}


def policy(stack: str) -> str:
    """The file as docs/deploying.md has it filled in."""
    text = (ROOT / "docs" / "deployer-policy.json").read_text()
    for placeholder, value in (("REGION", REGION), ("ACCOUNT", ACCOUNT), ("STACK", stack)):
        text = text.replace(placeholder, value)
    return text


def context_of(node: Node, action: str) -> dict[str, str]:
    if action != "iam:PassRole":
        return {}
    trust = json.loads(plain(node.inputs["assumeRolePolicy"]))
    return {"iam:PassedToService": trust["Statement"][0]["Principal"]["Service"]}


def decided(log: DecisionLog, document: str, action: str, resource: str, context: dict[str, str]) -> bool:
    request = Request(principal=DEPLOYER, action=action, resource=resource, context=context)
    return log.decide(request, identity=[identity_policy("deployer", document)], resource=None).allowed


def asked(graph: Graph) -> Iterator[tuple[str, str, dict[str, str]]]:
    """Everything that the deployer of a program asks AWS for, with what AWS states along with it."""
    for node in graph.nodes.values():
        if not node.type.startswith("event-gateway:"):
            for action, resource in NEEDS[node.type](node):
                yield action, resource, context_of(node, action)
    for service, role in OF_SERVICES.items():
        resource = f"arn:aws:iam::{ACCOUNT}:role/aws-service-role/{service}/{role}"
        yield "iam:CreateServiceLinkedRole", resource, {"iam:AWSServiceName": service}


@cache
def aws_actions() -> dict[str, Any]:
    """By service, each action that AWS publishes, in small letters, with the resources that it is about."""
    return json.loads(AWS_DATA.read_text())


def listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def statements() -> Iterator[tuple[list[str], list[str]]]:
    """The actions and the resources of each statement."""
    for statement in json.loads(policy("dev"))["Statement"]:
        yield listed(statement["Action"]), listed(statement["Resource"])


def test_each_type_that_a_stack_registers_has_its_actions(programs):
    types = {node.type for graph in programs.values() for node in graph.nodes.values()}
    assert {type_ for type_ in types if not type_.startswith("event-gateway:")} == set(NEEDS)
    assert [type_ for type_, asks in NEEDS.items() if asks is NOTHING] == ["pulumi:providers:aws-native"]


@pytest.mark.parametrize("stack", ["local", "dev", "prod"])
def test_the_deployer_may_do_all_that_a_stack_takes(programs, stack):
    log, document = DecisionLog(), policy(stack)
    refused = {
        (action, resource)
        for action, resource, context in asked(programs[stack])
        if not decided(log, document, action, resource, context)
    }
    assert refused == set()


def test_the_deployer_is_allowed_nothing_that_no_stack_takes(programs):
    log, document = DecisionLog(), policy("local")
    for action, resource, context in asked(programs["local"]):
        decided(log, document, action, resource, context)
    unused = {(clause.statement, clause.action) for clause in log.unused([identity_policy("deployer", document)])}
    assert unused == set()


def test_the_deployer_of_a_stack_touches_no_other(programs):
    log, document = DecisionLog(), policy("dev")
    theirs = [
        (action, resource, context)
        for action, resource, context in asked(programs["prod"])
        if "event-gateway-prod-" in resource
    ]
    assert len(theirs) > 200
    assert [ask for ask in theirs if decided(log, document, *ask)] == []


@pytest.mark.parametrize(
    ("deployer", "stack", "reached"),
    [("dev", "dev-2", True), ("dev", "dev2", False), ("dev-2", "dev", False)],
)
def test_the_deployer_of_a_stack_reaches_those_whose_names_go_on_with_a_hyphen(programs, deployer, stack, reached):
    """What no pattern can exclude, and the document says."""
    log, document = DecisionLog(), policy(deployer)
    theirs = [
        (action, resource.replace("event-gateway-dev-", f"event-gateway-{stack}-"), context)
        for action, resource, context in asked(programs["dev"])
        if "event-gateway-dev-" in resource
    ]
    assert len(theirs) > 200
    assert {decided(log, document, *ask) for ask in theirs} == {reached}


def test_the_document_says_which_other_stacks_a_deployer_and_a_topic_reach(programs):
    [others] = [
        row
        for row in rows(DEPLOYING.read_text())
        if "statement" in row.columns and row.under("statement") == "all with the stack's name"
    ]
    assert "with `dev` also `dev-2`" in others.under("reaches")
    [topic] = programs["dev"].of("aws:sns/topicPolicy:TopicPolicy")
    [allowed] = [one for one in json.loads(plain(topic.inputs["policy"]))["Statement"] if one["Effect"] == "Allow"]
    pattern = allowed["Condition"]["ArnLike"]["aws:SourceArn"].rpartition(":")[2]
    assert f"takes alarms of `{pattern}`" in " ".join(DEPLOYING.read_text().split())


@pytest.mark.parametrize(
    ("action", "resource", "context"),
    [
        ("iam:PassRole", "role/event-gateway-dev-orders-api", {"iam:PassedToService": "ec2.amazonaws.com"}),
        ("iam:PassRole", "role/administrator", {"iam:PassedToService": "lambda.amazonaws.com"}),
        ("iam:CreateServiceLinkedRole", "role/aws-service-role/x", {"iam:AWSServiceName": "ecs.amazonaws.com"}),
        ("iam:AttachRolePolicy", "role/event-gateway-dev-orders-api", {}),
        ("iam:PutRolePolicy", "role/deployer", {}),
    ],
)
def test_the_deployer_does_not_give_itself_more(action, resource, context):
    assert not decided(DecisionLog(), policy("dev"), action, f"arn:aws:iam::{ACCOUNT}:{resource}", context)


def test_aws_knows_each_action_and_takes_the_resource_that_it_is_allowed_on():
    checked = 0
    for actions, resources in statements():
        for action in actions:
            service, _, name = action.partition(":")
            known = aws_actions()[service]["Actions"]
            assert name.lower() in known, f"AWS has no action {action}"
            about = known[name.lower()].get("Resources")
            assert (resources == ["*"]) is not bool(about), f"{action} is about {about}, and allowed on {resources}"
            checked += 1
    assert checked > 100


def test_each_resource_is_one_that_some_action_beside_it_is_about():
    for actions, resources in statements():
        formats = {
            pattern.replace("${Partition}", "aws").replace("${Region}", REGION).replace("${Account}", ACCOUNT)
            for action in actions
            for service, _, name in [action.partition(":")]
            for about in aws_actions()[service]["Actions"][name.lower()].get("Resources", ())
            for pattern in aws_actions()[service]["Resources"][about.lower()]["ARNFormats"]
        }
        lost = [one for one in resources if one != "*" and not any(re.fullmatch(form, one) for form in formats)]
        assert lost == [], (actions, formats)


def test_the_policy_fits_into_a_role():
    document = json.loads(policy("a-stack-with-a-long-name"))
    assert 1_000 < len(json.dumps(document, separators=(",", ":"))) <= LARGEST


def test_no_action_is_a_wildcard():
    actions = [action for allowed, _ in statements() for action in allowed]
    assert len(actions) > 100
    assert [action for action in actions if "*" in action] == []


# The document

DEPLOYING = ROOT / "docs" / "deploying.md"
UNSEEN = "What nobody has seen on AWS"
UNVERIFIED = re.compile(r"verified on\s+AWS|and not verified|; not verified|unknown: ")


def marks(document: Path) -> int:
    """How many things a decision says are not verified."""
    return len(re.findall(r"verified on\s+AWS", document.read_text()))


def open_questions() -> Iterator[tuple[str, str]]:
    """What the document says nobody has seen, and the document that it says so of."""
    for row in rows(DEPLOYING.read_text()):
        if row.heading == UNSEEN:
            [(_, target)] = LINK.findall(row.under("said in"))
            assert row.under("seen by")
            yield row.under("what"), target.partition("#")[0]


def test_what_a_decision_leaves_unverified_is_listed():
    decisions = {
        f"decisions/{path.name}": marks(path) for path in (ROOT / "docs" / "decisions").glob("[0-9]*.md") if marks(path)
    }
    assert len(decisions) > 5
    listed = [target for _, target in open_questions()]
    assert {target for target in listed if target.startswith("decisions/")} == set(decisions)
    assert [target for target, count in decisions.items() if listed.count(target) < count] == []


def test_what_fidelity_leaves_unverified_is_listed():
    unverified = {
        row.under("behaviour")
        for row in rows((ROOT / "docs" / "fidelity.md").read_text())
        if UNVERIFIED.search(row.under("known from"))
    }
    assert len(unverified) > 5
    assert {what for what, target in open_questions() if target == "fidelity.md"} == unverified


def test_the_document_counts_the_alarms_as_they_are(programs):
    said = dict(re.findall(r"(\d+)(?: alarms)? in `(dev|prod)`", DEPLOYING.read_text()))
    counted = {stack: len(programs[stack].of("aws:cloudwatch/metricAlarm:MetricAlarm")) for stack in ("dev", "prod")}
    assert {stack: int(count) for count, stack in said.items()} == counted


def test_the_costs_are_those_of_the_model():
    model = Model(prices=read_prices(), assumed=NEUTRAL)
    bill = {**model.base(), **model.plane(OURS), **model.archive()}
    costs = {part: f"{per_million({part: dollars}):.2f}" for part, dollars in bill.items()}
    table = [row for row in rows(DEPLOYING.read_text()) if "part" in row.columns]
    assert {row.under("part"): row.under("dollars") for row in table} == {
        **costs,
        "together": f"{per_million(bill):.2f}",
    }


def test_the_broad_statements_are_those_that_the_document_explains():
    explained = {
        name
        for row in rows(DEPLOYING.read_text())
        if "statement" in row.columns
        for name in re.findall(r"`(\w+)`", row.under("statement"))
    }
    broad = {
        statement["Sid"]
        for statement in json.loads(policy("dev"))["Statement"]
        if not all("event-gateway-dev-" in resource for resource in listed(statement["Resource"]))
    }
    harmless = {"RolesOfServices", "SeesAlarms"}
    assert harmless < broad
    assert broad - harmless <= explained <= {s["Sid"] for s in json.loads(policy("dev"))["Statement"]}
