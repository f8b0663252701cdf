"""The types and invokes of the classic `aws` provider that the local providers know.

What replaces a resource, the form of its id and what is filled in are those of the provider's own documentation.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from sandbox.provider.calls import CallRules, Input
from sandbox.provider.documents import (
    ACCESS_LOG,
    DASHBOARD,
    DIMENSIONS,
    EVENT_PATTERN,
    FLAG,
    JSON,
    OPENAPI,
    POLICY,
    RATE,
    RULE_TEMPLATE,
    RULE_TRANSFORMER,
    Check,
    matching,
    one_of,
    whole,
)
from sandbox.provider.kind import Added, Kind, Made, Naming, Place, random_id

_TAGS = Input(None, unused="nothing here reads tags")
_NAMED = Naming("name")


def _arn(service: str, resource: str) -> Added:
    """An ARN that ends in `resource`, filled with the resource's inputs."""
    return Added(lambda made: made.place.arn(service, resource.format_map(made)))


def _given(template: str) -> Callable[[Made], str]:
    """An id that is made of inputs."""
    return template.format_map


def _random(_: Made) -> str:
    return random_id(10)


def _bus(made: Made) -> str:
    """The name of the bus of a rule or target, which may be given by its ARN."""
    return made["eventBusName"].rpartition("/")[2]


def _rule_arn(made: Made) -> str:
    bus = _bus(made)
    return made.place.arn("events", f"rule/{made['name']}" if bus == "default" else f"rule/{bus}/{made['name']}")


def _with_uuid(service: str, kind: str) -> Added:
    return Added(lambda made: made.place.arn(service, f"{kind}/{made['name']}/{uuid.uuid4()}"))


def _execution_arn(made: Made) -> str:
    return made.place.arn("execute-api", made.id)


def _invoke_url(made: Made) -> str:
    place = made.place
    return f"https://{made['restApi']}.execute-api.{place.region}.{place.domain}/{made['stageName']}"


def _function_url_id(made: Made) -> str:
    return hashlib.sha256(made["functionName"].encode()).hexdigest()[:32]


def _function_url(made: Made) -> str:
    return f"https://{_function_url_id(made)}.lambda-url.{made.place.region}.on.aws/"


def _function_arn(made: Made) -> str:
    return made.place.arn("lambda", f"function:{made['name']}")


def _lambda_invocation(made: Made) -> str:
    place, function = made.place, _function_arn(made)
    return f"arn:{place.partition}:apigateway:{place.region}:lambda:path/2015-03-31/functions/{function}/invocations"


def _queue_url(made: Made) -> str:
    return f"https://sqs.{made.place.region}.{made.place.domain}/{made.place.account}/{made['name']}"


def _stream(made: Made, stream: str) -> str | None:
    return stream if made.get("streamEnabled") else None


def _stream_label(_: Made) -> str:
    now = dt.datetime.now(dt.UTC)
    return now.strftime("%Y-%m-%dT%H:%M:%S.") + f"{now.microsecond // 1000:03}"


def _key_attributes(table: Mapping[str, Any]) -> str | None:
    """Whether `attributes` declares exactly the attributes that keys are made of, as CreateTable demands."""
    keys: set[str] = set()
    for keyed in (table, *table.get("globalSecondaryIndexes", []), *table.get("localSecondaryIndexes", [])):
        keys |= {keyed[name] for name in ("hashKey", "rangeKey") if name in keyed}
        keys |= {key["attributeName"] for key in keyed.get("keySchemas", [])}
    declared: set[str] = {attribute["name"] for attribute in table["attributes"]}
    problems = [f"{name} is missing" for name in sorted(keys - declared)]
    problems += [f"{name} is no key" for name in sorted(declared - keys)]
    return ", ".join(problems) or None


def _topic_arn(made: Made) -> str:
    return made.place.arn("sns", made["name"])


def _watches(alarm: Mapping[str, Any]) -> str | None:
    """Whether an alarm says what it watches in exactly one of the two ways, and completely."""
    single = {"namespace", "metricName", "period"} <= alarm.keys() and ("statistic" in alarm) != (
        "extendedStatistic" in alarm
    )
    queries = alarm.get("metricQueries")
    if queries is None:
        return None if single else ""
    returned = [query for query in queries if query.get("returnData")]
    one_result = len(returned) == 1 and all(("metric" in query) != ("expression" in query) for query in queries)
    return None if one_result and not {"metricName", "statistic", "extendedStatistic", "period"} & alarm.keys() else ""


# Seconds that PutMetricAlarm documents for a period.
_ALARM_PERIOD = Check(
    "must be 10, 20, 30 or a multiple of 60",
    lambda seconds: None if seconds in (10, 20, 30) or seconds % 60 == 0 else "",
)
_PERCENTILE = matching(r"p(\d{1,2}(\.\d{1,10})?|100)|(tm|tc|ts|wm)\d.*|(IQM|TM|TC|TS|WM|PR)\(.*\)|IQM")
# Of Subscribe.
_PROTOCOLS = ("http", "https", "email", "email-json", "sms", "sqs", "application", "lambda", "firehose")
_INDEX = {
    "name": Input("IndexName"),
    "hashKey": Input("KeySchema[].AttributeName", required=False),
    "rangeKey": Input("KeySchema[].AttributeName", required=False),
    "projectionType": Input("Projection.ProjectionType", required=True),
    "nonKeyAttributes": Input("Projection.NonKeyAttributes"),
}
_PARAMETER = {"key": Input("Key"), "value": Input("Value"), "isValueSecret": Input("IsValueSecret", default=False)}
_HTTP_PARAMETERS = {
    "bodies": Input("BodyParameters", fields=_PARAMETER),
    "headers": Input("HeaderParameters", fields=_PARAMETER),
    "queryStrings": Input("QueryStringParameters", fields=_PARAMETER),
}

KINDS: dict[str, Kind] = {
    "aws:apigateway/account:Account": Kind(
        id=lambda _: "api-gateway-account",
        adds={
            "apiKeyVersion": Added(lambda _: "4"),
            "features": Added(lambda _: ["UsagePlans"]),
            "throttleSettings": Added(lambda _: [{"burstLimit": 5000, "rateLimit": 10000}]),
        },
        rules=CallRules("apigateway.Account", {"cloudwatchRoleArn": Input("cloudwatchRoleArn")}),
    ),
    "aws:apigateway/deployment:Deployment": Kind(
        id=lambda _: random_id(6),
        rules=CallRules(
            "apigateway.CreateDeployment",
            {
                "restApi": Input("restApiId", replaces=True),
                "description": Input("description"),
                "triggers": Input(None, replaces=True, unused="only says when to deploy again"),
                "variables": Input("variables", replaces=True),
            },
        ),
    ),
    "aws:apigateway/methodSettings:MethodSettings": Kind(
        id=_given("{restApi}-{stageName}-{methodPath}"),
        rules=CallRules(
            "apigateway.UpdateStage",
            {
                "restApi": Input("restApiId", replaces=True),
                "stageName": Input("stageName", replaces=True),
                "methodPath": Input(None, replaces=True, required=True, check=matching(r"\*/\*|[^/].*/[A-Z*]+")),
                "settings": Input(
                    "Stage:methodSettings[]",
                    required=True,
                    fields={
                        "loggingLevel": Input("loggingLevel", check=one_of("OFF", "ERROR", "INFO")),
                        "dataTraceEnabled": Input("dataTraceEnabled"),
                        "metricsEnabled": Input("metricsEnabled"),
                        "throttlingBurstLimit": Input("throttlingBurstLimit"),
                        "throttlingRateLimit": Input("throttlingRateLimit"),
                    },
                ),
            },
        ),
    ),
    "aws:apigateway/restApi:RestApi": Kind(
        id=_random,
        naming=_NAMED,
        adds={
            "arn": Added(
                lambda made: f"arn:{made.place.partition}:apigateway:{made.place.region}::/restapis/{made.id}"
            ),
            "executionArn": Added(_execution_arn),
            "rootResourceId": Added(_random),
        },
        rules=CallRules(
            "apigateway.CreateRestApi",
            {
                "name": Input("name"),
                "description": Input("description"),
                "body": Input("PutRestApi:body", check=OPENAPI),
                "putRestApiMode": Input("PutRestApi:mode"),
                "failOnWarnings": Input("PutRestApi:failOnWarnings"),
                "parameters": Input("PutRestApi:parameters"),
                "policy": Input("policy", check=POLICY),
                "binaryMediaTypes": Input("binaryMediaTypes"),
                "disableExecuteApiEndpoint": Input("disableExecuteApiEndpoint"),
                "endpointConfiguration": Input(
                    "endpointConfiguration",
                    fields={
                        "types": Input("types[]", required=True),
                        "ipAddressType": Input("ipAddressType"),
                        "vpcEndpointIds": Input("vpcEndpointIds"),
                    },
                ),
                "tags": _TAGS,
            },
        ),
    ),
    "aws:apigateway/stage:Stage": Kind(
        id=_given("ags-{restApi}-{stageName}"),
        adds={
            "arn": Added(
                lambda made: (
                    f"arn:{made.place.partition}:apigateway:{made.place.region}::"
                    f"/restapis/{made['restApi']}/stages/{made['stageName']}"
                )
            ),
            "executionArn": _arn("execute-api", "{restApi}/{stageName}"),
            "invokeUrl": Added(_invoke_url),
        },
        rules=CallRules(
            "apigateway.CreateStage",
            {
                "restApi": Input("restApiId", replaces=True),
                "stageName": Input("stageName", replaces=True, check=matching(r"[A-Za-z0-9_-]{1,128}")),
                "deployment": Input("deploymentId"),
                "description": Input("description"),
                "variables": Input("variables"),
                "xrayTracingEnabled": Input("tracingEnabled"),
                "accessLogSettings": Input(
                    "Stage:accessLogSettings",
                    fields={
                        "destinationArn": Input("destinationArn", required=True),
                        "format": Input("format", required=True, check=ACCESS_LOG),
                    },
                ),
                "tags": _TAGS,
            },
        ),
    ),
    "aws:cloudwatch/dashboard:Dashboard": Kind(
        id=_given("{dashboardName}"),
        naming=Naming("dashboardName"),
        adds={
            # A dashboard belongs to no region.
            "dashboardArn": Added(
                lambda made: made.place.global_arn("cloudwatch", f"dashboard/{made['dashboardName']}")
            )
        },
        rules=CallRules(
            "cloudwatch.PutDashboard",
            {
                "dashboardName": Input("DashboardName", replaces=True, check=matching(r"[A-Za-z0-9_-]{1,255}")),
                "dashboardBody": Input("DashboardBody", check=DASHBOARD),
            },
        ),
    ),
    "aws:cloudwatch/eventApiDestination:EventApiDestination": Kind(
        id=_given("{name}"),
        naming=_NAMED,
        adds={"arn": _with_uuid("events", "api-destination")},
        rules=CallRules(
            "events.CreateApiDestination",
            {
                "name": Input("Name", replaces=True),
                "description": Input("Description"),
                "connectionArn": Input("ConnectionArn"),
                "httpMethod": Input("HttpMethod"),
                "invocationEndpoint": Input("InvocationEndpoint"),
                "invocationRateLimitPerSecond": Input("InvocationRateLimitPerSecond", default=300),
            },
        ),
    ),
    "aws:cloudwatch/eventArchive:EventArchive": Kind(
        id=_given("{name}"),
        naming=_NAMED,
        adds={"arn": _arn("events", "archive/{name}")},
        rules=CallRules(
            "events.CreateArchive",
            {
                "name": Input("ArchiveName", replaces=True),
                "description": Input("Description"),
                "eventSourceArn": Input("EventSourceArn", replaces=True),
                "eventPattern": Input("EventPattern", check=EVENT_PATTERN),
                "retentionDays": Input("RetentionDays"),
                "kmsKeyIdentifier": Input("KmsKeyIdentifier"),
            },
        ),
    ),
    "aws:cloudwatch/eventBus:EventBus": Kind(
        id=_given("{name}"),
        naming=_NAMED,
        adds={"arn": _arn("events", "event-bus/{name}")},
        rules=CallRules(
            "events.CreateEventBus",
            {
                "name": Input("Name", replaces=True),
                "description": Input("Description"),
                "deadLetterConfig": Input("DeadLetterConfig"),
                "logConfig": Input("LogConfig"),
                "kmsKeyIdentifier": Input("KmsKeyIdentifier"),
                "tags": _TAGS,
            },
        ),
    ),
    "aws:cloudwatch/eventBusPolicy:EventBusPolicy": Kind(
        id=_given("{eventBusName}"),
        rules=CallRules(
            "events.PutPermission",
            {
                "eventBusName": Input("EventBusName", replaces=True, default="default"),
                "policy": Input("Policy", required=True, check=POLICY),
            },
        ),
    ),
    "aws:cloudwatch/eventConnection:EventConnection": Kind(
        id=_given("{name}"),
        naming=_NAMED,
        adds={
            "arn": _with_uuid("events", "connection"),
            "secretArn": Added(
                lambda made: made.place.arn(
                    "secretsmanager", f"secret:events!connection/{made['name']}/{uuid.uuid4()}-{random_id(6)}"
                )
            ),
        },
        rules=CallRules(
            "events.CreateConnection",
            {
                "name": Input("Name", replaces=True),
                "description": Input("Description"),
                "authorizationType": Input("AuthorizationType"),
                "authParameters": Input(
                    "AuthParameters",
                    fields={
                        "basic": Input(
                            "BasicAuthParameters",
                            fields={"username": Input("Username"), "password": Input("Password")},
                        ),
                        "apiKey": Input(
                            "ApiKeyAuthParameters",
                            fields={"key": Input("ApiKeyName"), "value": Input("ApiKeyValue")},
                        ),
                        "oauth": Input(
                            "OAuthParameters",
                            fields={
                                "authorizationEndpoint": Input("AuthorizationEndpoint"),
                                "httpMethod": Input("HttpMethod"),
                                "clientParameters": Input(
                                    "ClientParameters",
                                    fields={"clientId": Input("ClientID"), "clientSecret": Input("ClientSecret")},
                                ),
                                "oauthHttpParameters": Input("OAuthHttpParameters", fields=_HTTP_PARAMETERS),
                            },
                        ),
                        "invocationHttpParameters": Input("InvocationHttpParameters", fields=_HTTP_PARAMETERS),
                    },
                ),
                "kmsKeyIdentifier": Input("KmsKeyIdentifier"),
            },
        ),
    ),
    "aws:cloudwatch/eventRule:EventRule": Kind(
        id=lambda made: made["name"] if _bus(made) == "default" else f"{made['eventBusName']}/{made['name']}",
        naming=_NAMED,
        adds={"arn": Added(_rule_arn)},
        rules=CallRules(
            "events.PutRule",
            {
                "name": Input("Name", replaces=True),
                "description": Input("Description"),
                "eventBusName": Input("EventBusName", replaces=True, default="default"),
                "eventPattern": Input("EventPattern", check=EVENT_PATTERN),
                "scheduleExpression": Input("ScheduleExpression", check=matching(r"(rate|cron)\(.+\)")),
                "state": Input("State"),
                "roleArn": Input("RoleArn"),
                "tags": _TAGS,
            },
            check=Check(
                "must have an eventPattern or a scheduleExpression",
                lambda rule: None if {"eventPattern", "scheduleExpression"} & rule.keys() else "",
            ),
        ),
    ),
    "aws:cloudwatch/eventTarget:EventTarget": Kind(
        id=lambda made: f"{_bus(made)}-{made['rule']}-{made['targetId']}",
        naming=Naming("targetId"),
        rules=CallRules(
            "events.PutTargets",
            {
                "rule": Input("Rule", replaces=True),
                "eventBusName": Input("EventBusName", replaces=True, default="default"),
                "targetId": Input("Targets[].Id", replaces=True),
                "arn": Input("Targets[].Arn"),
                "roleArn": Input("Targets[].RoleArn"),
                "input": Input("Targets[].Input", check=JSON),
                "inputPath": Input("Targets[].InputPath"),
                "inputTransformer": Input(
                    "Targets[].InputTransformer",
                    check=RULE_TRANSFORMER,
                    fields={
                        "inputPaths": Input("InputPathsMap"),
                        "inputTemplate": Input("InputTemplate", check=RULE_TEMPLATE),
                    },
                ),
                "httpTarget": Input("Targets[].HttpParameters"),
                "sqsTarget": Input("Targets[].SqsParameters"),
                "retryPolicy": Input("Targets[].RetryPolicy"),
                "deadLetterConfig": Input("Targets[].DeadLetterConfig"),
            },
        ),
    ),
    "aws:cloudwatch/logGroup:LogGroup": Kind(
        id=_given("{name}"),
        naming=_NAMED,
        adds={"arn": _arn("logs", "log-group:{name}")},
        rules=CallRules(
            "logs.CreateLogGroup",
            {
                "name": Input("logGroupName", replaces=True),
                "retentionInDays": Input(
                    "PutRetentionPolicy:retentionInDays",
                    # The values that PutRetentionPolicy documents; 0 is the provider's word for "for ever".
                    check=one_of(
                        *(0, 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731),
                        *(1096, 1827, 2192, 2557, 2922, 3288, 3653),
                    ),
                ),
                "kmsKeyId": Input("kmsKeyId"),
                "logGroupClass": Input("logGroupClass", replaces=True),
                "tags": Input("tags"),
            },
        ),
    ),
    "aws:cloudwatch/metricAlarm:MetricAlarm": Kind(
        id=_given("{name}"),
        naming=_NAMED,
        adds={"arn": _arn("cloudwatch", "alarm:{name}")},
        rules=CallRules(
            "cloudwatch.PutMetricAlarm",
            {
                "name": Input("AlarmName", replaces=True),
                "alarmDescription": Input("AlarmDescription"),
                "actionsEnabled": Input("ActionsEnabled", default=True),
                "alarmActions": Input("AlarmActions"),
                "okActions": Input("OKActions"),
                "insufficientDataActions": Input("InsufficientDataActions"),
                "namespace": Input("Namespace"),
                "metricName": Input("MetricName"),
                "dimensions": Input(None, check=DIMENSIONS),
                "statistic": Input("Statistic"),
                "extendedStatistic": Input("ExtendedStatistic", check=_PERCENTILE),
                "period": Input("Period", check=_ALARM_PERIOD),
                "unit": Input("Unit"),
                "metricQueries": Input(
                    "Metrics",
                    fields={
                        "id": Input("Id", check=matching(r"[a-z]\w*")),
                        "expression": Input("Expression"),
                        "label": Input("Label"),
                        "returnData": Input("ReturnData"),
                        "metric": Input(
                            "MetricStat",
                            fields={
                                "namespace": Input("Metric.Namespace", required=False),
                                "metricName": Input("Metric.MetricName", required=True),
                                "dimensions": Input(None, check=DIMENSIONS),
                                "stat": Input("Stat"),
                                "period": Input("Period", check=_ALARM_PERIOD),
                                "unit": Input("Unit"),
                            },
                        ),
                    },
                ),
                "comparisonOperator": Input("ComparisonOperator", required=True),
                "threshold": Input("Threshold"),
                "evaluationPeriods": Input("EvaluationPeriods", required=True),
                "datapointsToAlarm": Input("DatapointsToAlarm"),
                "treatMissingData": Input(
                    "TreatMissingData",
                    check=one_of("breaching", "notBreaching", "ignore", "missing"),
                    default="missing",
                ),
                "evaluateLowSampleCountPercentiles": Input(
                    "EvaluateLowSampleCountPercentile", check=one_of("evaluate", "ignore")
                ),
                "tags": _TAGS,
            },
            check=Check("must watch one metric, or one expression over several", _watches),
        ),
    ),
    "aws:dynamodb/table:Table": Kind(
        id=_given("{name}"),
        naming=_NAMED,
        adds={
            "arn": _arn("dynamodb", "table/{name}"),
            # Another view is another stream.
            "streamLabel": Added(lambda made: _stream(made, _stream_label(made)), ("streamEnabled", "streamViewType")),
            "streamArn": Added(
                lambda made: _stream(
                    made, made.place.arn("dynamodb", f"table/{made['name']}/stream/{_stream_label(made)}")
                ),
                ("streamEnabled", "streamViewType"),
            ),
        },
        rules=CallRules(
            "dynamodb.CreateTable",
            {
                "name": Input("TableName", replaces=True, check=matching(r"[a-zA-Z0-9_.-]{3,255}")),
                "attributes": Input(
                    "AttributeDefinitions",
                    required=True,
                    fields={"name": Input("AttributeName"), "type": Input("AttributeType")},
                ),
                "hashKey": Input("KeySchema[].AttributeName", replaces=True, required=True),
                "rangeKey": Input("KeySchema[].AttributeName", replaces=True, required=False),
                "billingMode": Input("BillingMode", default="PROVISIONED"),
                "readCapacity": Input("ProvisionedThroughput.ReadCapacityUnits"),
                "writeCapacity": Input("ProvisionedThroughput.WriteCapacityUnits"),
                "globalSecondaryIndexes": Input(
                    "GlobalSecondaryIndexes", fields={**_INDEX, "keySchemas": Input("KeySchema", required=False)}
                ),
                "localSecondaryIndexes": Input("LocalSecondaryIndexes", replaces=True, fields=_INDEX),
                "streamEnabled": Input("StreamSpecification.StreamEnabled"),
                "streamViewType": Input("StreamSpecification.StreamViewType"),
                "pointInTimeRecovery": Input(
                    "UpdateContinuousBackups:PointInTimeRecoverySpecification",
                    fields={
                        "enabled": Input("PointInTimeRecoveryEnabled"),
                        "recoveryPeriodInDays": Input("RecoveryPeriodInDays"),
                    },
                ),
                "serverSideEncryption": Input(
                    "SSESpecification",
                    fields={"enabled": Input("Enabled", required=True), "kmsKeyArn": Input("KMSMasterKeyId")},
                ),
                "ttl": Input("UpdateTimeToLive:TimeToLiveSpecification"),
                "tableClass": Input("TableClass"),
                "deletionProtectionEnabled": Input("DeletionProtectionEnabled"),
                "tags": _TAGS,
            },
            check=Check("must declare in `attributes` exactly what keys are made of", _key_attributes),
        ),
    ),
    "aws:iam/role:Role": Kind(
        id=_given("{name}"),
        naming=_NAMED,
        adds={
            "arn": Added(lambda made: made.place.global_arn("iam", f"role{made['path']}{made['name']}")),
            "uniqueId": Added(lambda _: f"AROA{random_id(17).upper()}"),
        },
        rules=CallRules(
            "iam.CreateRole",
            {
                "name": Input("RoleName", replaces=True),
                "path": Input("Path", replaces=True, default="/"),
                "description": Input("Description"),
                "assumeRolePolicy": Input("AssumeRolePolicyDocument", check=POLICY),
                "maxSessionDuration": Input("MaxSessionDuration", default=3600),
                "permissionsBoundary": Input("PermissionsBoundary"),
                "tags": _TAGS,
            },
        ),
    ),
    "aws:iam/rolePolicy:RolePolicy": Kind(
        id=_given("{role}:{name}"),
        naming=_NAMED,
        rules=CallRules(
            "iam.PutRolePolicy",
            {
                "name": Input("PolicyName", replaces=True),
                "role": Input("RoleName", replaces=True),
                "policy": Input("PolicyDocument", check=POLICY),
            },
        ),
    ),
    "aws:lambda/function:Function": Kind(
        id=_given("{name}"),
        naming=_NAMED,
        adds={
            "arn": Added(_function_arn),
            "invokeArn": Added(_lambda_invocation),
            "qualifiedArn": Added(lambda made: f"{_function_arn(made)}:$LATEST"),
            "version": Added(lambda _: "$LATEST"),
        },
        rules=CallRules(
            "lambda.CreateFunction",
            {
                "name": Input("FunctionName", replaces=True),
                "description": Input("Description"),
                "role": Input("Role"),
                "runtime": Input("Runtime", required=True),
                "architectures": Input("Architectures"),
                "handler": Input("Handler", required=True),
                "code": Input("Code.ZipFile", required=True),
                "sourceCodeHash": Input(None, unused="the archive itself tells whether it changed"),
                "memorySize": Input("MemorySize", default=128),
                "timeout": Input("Timeout", default=3),
                "ephemeralStorage": Input("EphemeralStorage"),
                "reservedConcurrentExecutions": Input("PutFunctionConcurrency:ReservedConcurrentExecutions"),
                "environment": Input("Environment"),
                "layers": Input("Layers"),
                "deadLetterConfig": Input("DeadLetterConfig"),
                "kmsKeyArn": Input("KMSKeyArn"),
                "tracingConfig": Input("TracingConfig"),
                "loggingConfig": Input("LoggingConfig"),
                "publish": Input("Publish", default=False),
                "tags": Input("Tags"),
            },
        ),
    ),
    "aws:lambda/functionEventInvokeConfig:FunctionEventInvokeConfig": Kind(
        id=_given("{functionName}"),
        rules=CallRules(
            "lambda.PutFunctionEventInvokeConfig",
            {
                "functionName": Input("FunctionName", replaces=True),
                "maximumRetryAttempts": Input("MaximumRetryAttempts"),
                "maximumEventAgeInSeconds": Input("MaximumEventAgeInSeconds"),
                "destinationConfig": Input("DestinationConfig"),
            },
        ),
    ),
    "aws:lambda/functionUrl:FunctionUrl": Kind(
        id=_given("{functionName}"),
        adds={
            "functionArn": _arn("lambda", "function:{functionName}"),
            "functionUrl": Added(_function_url),
            "urlId": Added(_function_url_id),
        },
        rules=CallRules(
            "lambda.CreateFunctionUrlConfig",
            {
                "functionName": Input("FunctionName", replaces=True),
                "authorizationType": Input("AuthType"),
                "cors": Input("Cors"),
                "invokeMode": Input("InvokeMode"),
            },
        ),
    ),
    "aws:lambda/permission:Permission": Kind(
        id=_given("{statementId}"),
        naming=Naming("statementId"),
        rules=CallRules(
            "lambda.AddPermission",
            {
                "statementId": Input("StatementId", replaces=True),
                "action": Input("Action", replaces=True),
                "function": Input("FunctionName", replaces=True),
                "principal": Input("Principal", replaces=True),
                "sourceArn": Input("SourceArn", replaces=True),
                "sourceAccount": Input("SourceAccount", replaces=True),
                "functionUrlAuthType": Input("FunctionUrlAuthType", replaces=True),
                "invokedViaFunctionUrl": Input("InvokedViaFunctionUrl", replaces=True),
                "qualifier": Input("Qualifier", replaces=True),
            },
        ),
    ),
    "aws:sns/topic:Topic": Kind(
        id=_topic_arn,
        naming=_NAMED,
        adds={"arn": Added(_topic_arn), "owner": Added(lambda made: made.place.account)},
        # CreateTopic takes any text for an attribute; the forms are those that it documents.
        rules=CallRules(
            "sns.CreateTopic",
            {
                "name": Input("Name", replaces=True, check=matching(r"[A-Za-z0-9_-]{1,256}")),
                "displayName": Input("Attributes[]"),
                "policy": Input("Attributes[]", check=POLICY),
                "deliveryPolicy": Input("Attributes[]", check=JSON),
                "kmsMasterKeyId": Input(None, unused="nothing here encrypts what it does not even keep"),
                "tracingConfig": Input("Attributes[]", check=one_of("PassThrough", "Active")),
                "tags": _TAGS,
            },
        ),
    ),
    "aws:sns/topicPolicy:TopicPolicy": Kind(
        id=_given("{arn}"),
        adds={"owner": Added(lambda made: made.place.account)},
        rules=CallRules(
            "sns.SetTopicAttributes",
            {
                "arn": Input("TopicArn", replaces=True),
                "policy": Input("AttributeValue", required=True, check=POLICY),
            },
        ),
    ),
    "aws:sns/topicSubscription:TopicSubscription": Kind(
        id=lambda made: f"{made['topic']}:{uuid.uuid4()}",
        adds={
            # Whoever reads the mail has not confirmed it, as there is no mail.
            "pendingConfirmation": Added(lambda _: True),
            "confirmationWasAuthenticated": Added(lambda _: False),
            "ownerId": Added(lambda made: made.place.account),
        },
        rules=CallRules(
            "sns.Subscribe",
            {
                "topic": Input("TopicArn", replaces=True),
                "protocol": Input("Protocol", replaces=True, check=one_of(*_PROTOCOLS)),
                "endpoint": Input("Endpoint", replaces=True, required=True),
                "filterPolicy": Input("Attributes[]", check=JSON),
            },
        ),
    ),
    "aws:scheduler/schedule:Schedule": Kind(
        id=_given("{groupName}/{name}"),
        naming=_NAMED,
        adds={"arn": _arn("scheduler", "schedule/{groupName}/{name}")},
        rules=CallRules(
            "scheduler.CreateSchedule",
            {
                "name": Input("Name", replaces=True),
                # The provider learns it from AWS, and not before a policy sees the inputs.
                "groupName": Input("GroupName", replaces=True, required=True),
                "description": Input("Description"),
                # AWS has cron and at as well; the worker has not.
                "scheduleExpression": Input("ScheduleExpression", check=RATE),
                "scheduleExpressionTimezone": Input("ScheduleExpressionTimezone", default="UTC"),
                "flexibleTimeWindow": Input(
                    "FlexibleTimeWindow",
                    fields={"mode": Input("Mode", check=one_of("OFF"))},
                ),
                "state": Input("State", default="ENABLED"),
                "target": Input(
                    "Target",
                    fields={
                        "arn": Input("Arn", check=matching(r"arn:[^:]+:lambda:[^:]+:[0-9]+:function:[A-Za-z0-9_-]+")),
                        "roleArn": Input("RoleArn"),
                        "input": Input("Input", check=JSON),
                        "retryPolicy": Input("RetryPolicy"),
                    },
                ),
                "kmsKeyArn": Input("KmsKeyArn"),
            },
        ),
    ),
    "aws:scheduler/scheduleGroup:ScheduleGroup": Kind(
        id=_given("{name}"),
        naming=_NAMED,
        adds={"arn": _arn("scheduler", "schedule-group/{name}"), "state": Added(lambda _: "ACTIVE")},
        rules=CallRules("scheduler.CreateScheduleGroup", {"name": Input("Name", replaces=True), "tags": _TAGS}),
    ),
    "aws:sqs/queue:Queue": Kind(
        id=_queue_url,
        naming=_NAMED,
        adds={"arn": _arn("sqs", "{name}"), "url": Added(_queue_url)},
        # SetQueueAttributes takes any text; the bounds are those that it documents.
        rules=CallRules(
            "sqs.CreateQueue",
            {
                "name": Input("QueueName", replaces=True, check=matching(r"[A-Za-z0-9_-]{1,80}")),
                "messageRetentionSeconds": Input(None, check=whole(60, 14 * 24 * 3600), default=4 * 24 * 3600),
                "visibilityTimeoutSeconds": Input(None, check=whole(0, 12 * 3600), default=30),
                "delaySeconds": Input(None, check=whole(0, 900), default=0),
                "receiveWaitTimeSeconds": Input(None, check=whole(0, 20), default=0),
                "maxMessageSize": Input(None, check=whole(1024, 1024 * 1024), default=256 * 1024),
                "sqsManagedSseEnabled": Input(None, check=FLAG),
                "kmsMasterKeyId": Input(None, unused="nothing here encrypts what it keeps in memory"),
                "redrivePolicy": Input(None, check=JSON),
                "redriveAllowPolicy": Input(None, check=JSON),
                "tags": Input("tags"),
            },
        ),
    ),
    "aws:sqs/queuePolicy:QueuePolicy": Kind(
        id=_given("{queueUrl}"),
        rules=CallRules(
            "sqs.SetQueueAttributes",
            {
                "queueUrl": Input("QueueUrl", replaces=True),
                "policy": Input("Attributes[]", required=True, check=POLICY),
            },
        ),
    ),
}


def _caller_identity(_: Mapping[str, Any], place: Place) -> dict[str, Any]:
    return {
        "accountId": place.account,
        "arn": place.global_arn("iam", "root"),
        "id": place.account,
        "userId": place.account,
    }


INVOKES: dict[str, Callable[[Mapping[str, Any], Place], dict[str, Any]]] = {
    "aws:index/getCallerIdentity:getCallerIdentity": _caller_identity,
}
