"""What MiniStack runs of a stack: tables, queues, buses, rules, functions, roles and log groups, as they were deployed.

A rule's target is a queue of its own on MiniStack, which gets each matching event whole; who serves that queue delivers
it as EventBridge would. Everything else of a stack lives in the registry alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sandbox.ministack import MiniStack
from sandbox.provider.values import Asset

Properties = Mapping[str, Any]

# Longer than any attempt at a delivery takes; who serves the queue extends it as long as a retry waits.
_VISIBILITY_SECONDS = 60


class NotLiveError(RuntimeError):
    """MiniStack can't do in place what the engine asks for; the message names the type and the property."""


def target_queue(target: Properties) -> str:
    """The name of the queue that stands for a rule's target on MiniStack."""
    where = "/".join((bus_name(target), target["rule"], target["targetId"]))
    return f"rule-target-{hashlib.sha256(where.encode()).hexdigest()[:32]}"


def bus_name(rule_or_target: Properties) -> str:
    """A bus may be given by its name or its ARN."""
    return str(rule_or_target["eventBusName"]).rpartition("/")[2]


class Live:
    """Makes, changes and removes resources on one MiniStack.

    `function_endpoint` is where functions find AWS; `program` is the folder that paths of archives are relative to.
    """

    def __init__(self, ministack: MiniStack, *, function_endpoint: str, program: Path) -> None:
        self._client = ministack.client
        self._function_endpoint = function_endpoint
        self._program = program
        self._put: dict[str, Callable[[Properties, Properties | None], Properties]] = {
            "aws:cloudwatch/eventBus:EventBus": self._put_bus,
            "aws:cloudwatch/eventRule:EventRule": self._put_rule,
            "aws:cloudwatch/eventTarget:EventTarget": self._put_target,
            "aws:cloudwatch/logGroup:LogGroup": self._put_log_group,
            "aws:dynamodb/table:Table": self._put_table,
            "aws:iam/role:Role": self._put_role,
            "aws:lambda/function:Function": self._put_function,
            "aws:sqs/queue:Queue": self._put_queue,
        }
        self._remove: dict[str, Callable[[Properties], None]] = {
            "aws:cloudwatch/eventBus:EventBus": self._remove_bus,
            "aws:cloudwatch/eventRule:EventRule": self._remove_rule,
            "aws:cloudwatch/eventTarget:EventTarget": self._remove_target,
            "aws:cloudwatch/logGroup:LogGroup": self._remove_log_group,
            "aws:dynamodb/table:Table": self._remove_table,
            "aws:iam/role:Role": self._remove_role,
            "aws:lambda/function:Function": self._remove_function,
            "aws:sqs/queue:Queue": self._remove_queue,
        }

    def put(self, type_: str, properties: Properties, old: Properties | None) -> Properties:
        """Make a resource, or change it if it has `old` properties; returns what MiniStack decided about it."""
        put = self._put.get(type_)
        return put(properties, old) if put else {}

    def remove(self, type_: str, properties: Properties) -> None:
        remove = self._remove.get(type_)
        if remove:
            remove(properties)

    def _put_table(self, table: Properties, old: Properties | None) -> Properties:
        dynamodb, name = self._client("dynamodb"), table["name"]
        if old is None:
            dynamodb.create_table(
                TableName=name,
                BillingMode=table["billingMode"],
                AttributeDefinitions=[
                    {"AttributeName": attribute["name"], "AttributeType": attribute["type"]}
                    for attribute in table["attributes"]
                ],
                KeySchema=_key_schema(table),
                **_present("GlobalSecondaryIndexes", [_index(index) for index in table["globalSecondaryIndexes"]]),
                StreamSpecification={"StreamEnabled": True, "StreamViewType": table["streamViewType"]},
                DeletionProtectionEnabled=table.get("deletionProtectionEnabled", False),
            )
        else:
            _only_changes("aws:dynamodb/table:Table", old, table, {"deletionProtectionEnabled", "pointInTimeRecovery"})
            dynamodb.update_table(
                TableName=name, DeletionProtectionEnabled=table.get("deletionProtectionEnabled", False)
            )
        dynamodb.update_continuous_backups(
            TableName=name,
            PointInTimeRecoverySpecification={
                "PointInTimeRecoveryEnabled": table.get("pointInTimeRecovery", {}).get("enabled", False)
            },
        )
        stream = dynamodb.describe_table(TableName=name)["Table"]
        return {"streamArn": stream["LatestStreamArn"], "streamLabel": stream["LatestStreamLabel"]}

    def _remove_table(self, table: Properties) -> None:
        self._client("dynamodb").delete_table(TableName=table["name"])

    def _put_queue(self, queue: Properties, old: Properties | None) -> Properties:
        sqs = self._client("sqs")
        attributes = {"MessageRetentionPeriod": str(queue.get("messageRetentionSeconds", 345600))}
        if old is None:
            sqs.create_queue(QueueName=queue["name"], Attributes=attributes)
        else:
            sqs.set_queue_attributes(QueueUrl=self._queue_url(queue["name"]), Attributes=attributes)
        return {}

    def _remove_queue(self, queue: Properties) -> None:
        self._client("sqs").delete_queue(QueueUrl=self._queue_url(queue["name"]))

    def _put_bus(self, bus: Properties, old: Properties | None) -> Properties:
        if old is None:
            self._client("events").create_event_bus(Name=bus["name"])
        return {}

    def _remove_bus(self, bus: Properties) -> None:
        self._client("events").delete_event_bus(Name=bus["name"])

    def _put_rule(self, rule: Properties, _old: Properties | None) -> Properties:
        self._client("events").put_rule(
            Name=rule["name"],
            EventBusName=bus_name(rule),
            EventPattern=rule["eventPattern"],
            State=rule.get("state", "ENABLED"),
        )
        return {}

    def _remove_rule(self, rule: Properties) -> None:
        self._client("events").delete_rule(Name=rule["name"], EventBusName=bus_name(rule))

    def _put_target(self, target: Properties, old: Properties | None) -> Properties:
        if old is None:
            sqs, queue = self._client("sqs"), target_queue(target)
            sqs.create_queue(QueueName=queue, Attributes={"VisibilityTimeout": str(_VISIBILITY_SECONDS)})
            url = self._queue_url(queue)
            arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
            self._client("events").put_targets(
                Rule=target["rule"],
                EventBusName=bus_name(target),
                Targets=[{"Id": target["targetId"], "Arn": arn}],
            )
        return {}

    def _remove_target(self, target: Properties) -> None:
        self._client("events").remove_targets(
            Rule=target["rule"], EventBusName=bus_name(target), Ids=[target["targetId"]]
        )
        self._client("sqs").delete_queue(QueueUrl=self._queue_url(target_queue(target)))

    def _put_log_group(self, group: Properties, old: Properties | None) -> Properties:
        logs = self._client("logs")
        if old is None:
            logs.create_log_group(logGroupName=group["name"])
        if days := group.get("retentionInDays"):
            logs.put_retention_policy(logGroupName=group["name"], retentionInDays=days)
        return {}

    def _remove_log_group(self, group: Properties) -> None:
        self._client("logs").delete_log_group(logGroupName=group["name"])

    def _put_role(self, role: Properties, old: Properties | None) -> Properties:
        """Lambda asks for it; what a role may do is decided by the registry's policies, of which MiniStack has none."""
        if old is None:
            self._client("iam").create_role(RoleName=role["name"], AssumeRolePolicyDocument=role["assumeRolePolicy"])
        else:
            self._client("iam").update_assume_role_policy(
                RoleName=role["name"], PolicyDocument=role["assumeRolePolicy"]
            )
        return {}

    def _remove_role(self, role: Properties) -> None:
        self._client("iam").delete_role(RoleName=role["name"])

    def _put_function(self, function: Properties, old: Properties | None) -> Properties:
        lambda_, name, code = self._client("lambda"), function["name"], self._archive(function["code"])
        variables = function.get("environment", {}).get("variables", {})
        configuration: dict[str, Any] = {
            "FunctionName": name,
            "Role": function["role"],
            "Runtime": function["runtime"],
            "Handler": function["handler"],
            "MemorySize": function.get("memorySize", 128),
            "Timeout": function.get("timeout", 3),
            "Environment": {"Variables": {**variables, "AWS_ENDPOINT_URL": self._function_endpoint}},
        }
        if old is None:
            lambda_.create_function(**configuration, Code={"ZipFile": code}, Architectures=["arm64"])
        else:
            lambda_.update_function_code(FunctionName=name, ZipFile=code)
            lambda_.update_function_configuration(**configuration)
        reserved = function.get("reservedConcurrentExecutions")
        if reserved is not None:
            lambda_.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=reserved)
        elif old and old.get("reservedConcurrentExecutions") is not None:
            lambda_.delete_function_concurrency(FunctionName=name)
        return {}

    def _remove_function(self, function: Properties) -> None:
        self._client("lambda").delete_function(FunctionName=function["name"])

    def _archive(self, archive: Asset) -> bytes:
        return (self._program / archive.wire["path"]).read_bytes()

    def _queue_url(self, name: str) -> str:
        return self._client("sqs").get_queue_url(QueueName=name)["QueueUrl"]


def _key_schema(keyed: Properties) -> list[dict[str, str]]:
    schema = [{"AttributeName": key["attributeName"], "KeyType": key["keyType"]} for key in keyed.get("keySchemas", [])]
    if "hashKey" in keyed:
        schema.append({"AttributeName": keyed["hashKey"], "KeyType": "HASH"})
    if "rangeKey" in keyed:
        schema.append({"AttributeName": keyed["rangeKey"], "KeyType": "RANGE"})
    return schema


def _index(index: Properties) -> dict[str, Any]:
    return {
        "IndexName": index["name"],
        "KeySchema": _key_schema(index),
        "Projection": {
            "ProjectionType": index["projectionType"],
            **_present("NonKeyAttributes", index.get("nonKeyAttributes")),
        },
    }


def _present(name: str, value: Any) -> dict[str, Any]:
    return {name: value} if value else {}


def _only_changes(type_: str, old: Properties, new: Properties, able: set[str]) -> None:
    changed = {name for name in old.keys() | new.keys() if old.get(name) != new.get(name)}
    if unable := sorted(changed - able):
        raise NotLiveError(
            f"{type_}: the local cloud can't change {', '.join(unable)} in place: destroy the stack first"
        )
