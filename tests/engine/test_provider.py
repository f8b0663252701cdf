"""What the local providers take, refuse, replace and answer: over gRPC, as the engine asks."""

import json
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

import grpc
import pulumi_aws
import pytest
from google.protobuf import empty_pb2, json_format, struct_pb2
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc
from pulumi_aws_native import pipes

from sandbox.provider import Providers, aws, aws_native, server
from sandbox.provider.aws_native import sdk_name
from sandbox.provider.calls import CallRules
from sandbox.provider.values import UNKNOWN, Asset, Secret, plain, read, shown, write
from tests import graph

DEADLINE = 30  # seconds: far more than any of these waits takes
CANARY = graph.CANARY
KINDS = aws.KINDS | aws_native.KINDS
PIPE = "aws-native:pipes:Pipe"
CONNECTION = "aws:cloudwatch/eventConnection:EventConnection"
TARGET = "aws:cloudwatch/eventTarget:EventTarget"
FUNCTION = "aws:lambda/function:Function"
TABLE = "aws:dynamodb/table:Table"
SCHEDULE = "aws:scheduler/schedule:Schedule"
GROUP = "aws:cloudwatch/logGroup:LogGroup"
ALARM = "aws:cloudwatch/metricAlarm:MetricAlarm"
DASHBOARD = "aws:cloudwatch/dashboard:Dashboard"
TOPIC = "aws:sns/topic:Topic"
WIDGET = {"type": "text", "properties": {"markdown": ""}}
QUERIES = [
    {"id": "reads", "metric": {"namespace": "N", "metricName": "Reads", "stat": "Sum", "period": 60}},
    {"id": "result", "expression": "FILL(reads, 0)", "returnData": True},
]
SECRET_ARN = "arn:aws:secretsmanager:eu-west-1:000000000000:secret:a"


class Client:
    """One connection to one package, as an engine has for each provider of a program."""

    def __init__(self, port, region="eu-west-1"):
        self._channel = grpc.insecure_channel(f"{server.HOST}:{port}", [("grpc.use_local_subchannel_pool", 1)])
        self.stub = provider_pb2_grpc.ResourceProviderStub(self._channel)
        self.stub.Configure(provider_pb2.ConfigureRequest(args=write({"region": region})))

    def close(self):
        self._channel.close()

    def check(self, type_, inputs, olds=None, *, seed=b"seed", **options):
        answer = self.stub.Check(
            provider_pb2.CheckRequest(
                type=type_, name="thing", news=struct(inputs), olds=struct(olds or {}), randomSeed=seed, **options
            )
        )
        reasons = {}
        for failure in answer.failures:
            reasons.setdefault(failure.property, []).append(failure.reason)
        return read(answer.inputs), {path: ", ".join(all_of_it) for path, all_of_it in reasons.items()}

    def create(self, type_, inputs, *, preview=False):
        answer = self.stub.Create(
            provider_pb2.CreateRequest(type=type_, name="thing", properties=struct(inputs), preview=preview)
        )
        return answer.id, read(answer.properties)

    def update(self, type_, inputs, state, *, preview=False):
        answer = self.stub.Update(
            provider_pb2.UpdateRequest(
                type=type_, name="thing", id="id", news=struct(inputs), olds=write(state), preview=preview
            )
        )
        return read(answer.properties)

    def diff(self, type_, old, new):
        """Each changed property with the name of its kind of change, and the inputs that replace."""
        answer = self.stub.Diff(
            provider_pb2.DiffRequest(type=type_, name="thing", id="id", old_inputs=struct(old), news=struct(new))
        )
        assert answer.hasDetailedDiff
        assert (answer.changes == provider_pb2.DiffResponse.DIFF_SOME) == bool(answer.detailedDiff)
        kinds = provider_pb2.PropertyDiff.Kind
        return {path: kinds.Name(change.kind) for path, change in answer.detailedDiff.items()}, list(answer.replaces)


def struct(inputs):
    """Inputs as a message, whether they hold marks of ours or, recorded from the program, those of the wire."""
    return json_format.ParseDict(json_format.MessageToDict(write(inputs)), struct_pb2.Struct())


@pytest.fixture(scope="module")
def ports():
    with server.serve() as ports:
        yield ports


@pytest.fixture(scope="module")
def clients(ports):
    clients = {package: Client(port) for package, port in ports.items()}
    yield clients
    for client in clients.values():
        client.close()


@pytest.fixture
def of(clients):
    """The client for a type."""
    return lambda type_: clients[type_.partition(":")[0]]


@pytest.fixture
def an_input(programs):
    """What the program gives to one of its resources of a type, always the same: complete, and accepted."""

    def inputs(type_, **changed):
        # Registration has no order that a test could rely on.
        node = min(programs["local"].of(type_), key=lambda node: node.name)
        inputs = read(json_format.ParseDict(node.inputs, struct_pb2.Struct()))
        named = KINDS[type_].naming
        return {**({named.input: node.name} if named else {}), **inputs, **changed}

    return inputs


def resources(program):
    return [node for node in program.nodes.values() if node.type in KINDS]


# --- what is taken


def test_everything_that_the_program_makes_is_known(program):
    unknown = {node.type for node in program.nodes.values()} - KINDS.keys()
    assert {type_ for type_ in unknown if not type_.startswith(("event-gateway:", "pulumi:"))} == set()
    assert len(resources(program)) > 50


def test_everything_that_the_program_sends_is_accepted(program, of):
    refused = {node.urn: of(node.type).check(node.type, node.inputs)[1] for node in resources(program)}
    assert {urn: failures for urn, failures in refused.items() if failures} == {}


def test_a_first_preview_is_accepted(preview, of):
    refused = {node.urn: of(node.type).check(node.type, node.inputs)[1] for node in resources(preview)}
    assert any("04da6b54" in str(node.inputs) for node in resources(preview))
    assert {urn: failures for urn, failures in refused.items() if failures} == {}


def test_every_output_that_the_components_use_is_given(program, of):
    for node in resources(program):
        inputs, _ = of(node.type).check(node.type, node.inputs)
        _, outputs = of(node.type).create(node.type, inputs)
        for name, recorded in graph.OUTPUTS[node.type](node.name, node.inputs).items():
            form = re.escape(recorded).replace(graph.ACCOUNT, "000000000000")
            form = re.sub(r"0f1e2d3c|a1b2c3|u1v2w3|1234567|2026\\-.*", ".+", form)
            if node.type == PIPE:
                form = form.replace(re.escape(node.name), "thing")
            assert re.fullmatch(form, outputs[name]), f"{node.urn} {name}"


# --- what is refused


def at(value, path):
    for step in path:
        value = value[step]
    return value


GONE = object()
# The type, the input that becomes wrong, its value, where in it the failure is (None: in the inputs as a whole), and
# what the reason says.
MUTANTS = [
    ("aws:apigateway/account:Account", "cloudwatchRoleArn", 5, "", "must be a text"),
    ("aws:apigateway/deployment:Deployment", "restApi", GONE, "", "is missing"),
    ("aws:apigateway/methodSettings:MethodSettings", "settings.loggingLevel", "DEBUG", "", "must be one of OFF, ERROR"),
    ("aws:apigateway/methodSettings:MethodSettings", "settings.throttlingRateLimit", "50", "", "must be a number"),
    ("aws:apigateway/methodSettings:MethodSettings", "methodPath", "orders", "", "must match"),
    ("aws:apigateway/restApi:RestApi", "body", "{", "", "must be an OpenAPI document in JSON: Expecting"),
    ("aws:apigateway/restApi:RestApi", "body", '{"openapi": "3.1.0", "paths": {"/": {}}}', "", "neither OpenAPI 3.0"),
    ("aws:apigateway/restApi:RestApi", "putRestApiMode", "replace", "", "must be one of merge, overwrite"),
    ("aws:apigateway/restApi:RestApi", "endpointConfiguration.types", "LOCAL", "", "must be one of REGIONAL, EDGE"),
    ("aws:apigateway/stage:Stage", "stageName", "v.1", "", "must match"),
    ("aws:apigateway/stage:Stage", "accessLogSettings.format", '{"status": "$context.status"}', "", "requestId"),
    ("aws:apigateway/stage:Stage", "accessLogSettings.format", '{"id": "$context.requestId"', "", "Expecting"),
    ("aws:apigateway/stage:Stage", "accessLogSettings.destinationArn", GONE, "", "is missing"),
    (DASHBOARD, "dashboardName", "or.ders", "", "must match"),
    (DASHBOARD, "dashboardBody", "{", "", "must be a dashboard's body in JSON: Expecting"),
    (DASHBOARD, "dashboardBody", "[]", "", "it has no list of widgets"),
    (DASHBOARD, "dashboardBody", '{"widgets": [{"type": "clock"}]}', "", "widgets[0] is none of text, alarm, metric"),
    (DASHBOARD, "dashboardBody", '{"widgets": [5]}', "", "widgets[0] is none of text, alarm, metric"),
    (
        DASHBOARD,
        "dashboardBody",
        '{"widgets": [{"type": "text", "properties": {}}]}',
        "",
        "widgets[0] lacks one of mark",
    ),
    (DASHBOARD, "dashboardBody", '{"widgets": [{"type": "metric"}]}', "", "widgets[0] lacks one of metrics, region"),
    (
        DASHBOARD,
        "dashboardBody",
        json.dumps({"widgets": [{**WIDGET, "x": 19}]}),
        "",
        "widgets[0] reaches beyond the 24",
    ),
    (DASHBOARD, "dashboardBody", json.dumps({"widgets": [WIDGET] * 501}), "", "it has more than 500 widgets"),
    (ALARM, "comparisonOperator", ">", "", "must be one of GreaterThanOrEqualToThreshold"),
    (ALARM, "evaluationPeriods", 0, "", "must be at least 1"),
    (ALARM, "treatMissingData", "good", "", "must be one of breaching, notBreaching"),
    (ALARM, "statistic", "Total", "", "must be one of SampleCount"),
    (ALARM, "period", 90, "", "must be 10, 20, 30 or a multiple of 60"),
    (ALARM, "dimensions", {"ApiName": ""}, "", "must be names with texts"),
    (ALARM, "dimensions", {f"D{number}": "a" for number in range(31)}, "", "must be names with texts, at most 30"),
    (ALARM, "alarmActions", ["arn:aws:sns:::a"] * 6, "", "must be at most 5 long"),
    (ALARM, "metricName", GONE, None, "must watch one metric, or one expression over several"),
    (ALARM, "statistic", GONE, None, "must watch one metric, or one expression over several"),
    (ALARM, "extendedStatistic", "p90", None, "must watch one metric, or one expression over several"),
    (ALARM, "extendedStatistic", "median", "", "must match"),
    (ALARM, "metricQueries", QUERIES, None, "must watch one metric, or one expression over several"),
    (ALARM, "metricQueries", [{**QUERIES[0], "id": "Reads"}], "[0].id", "must match"),
    (
        ALARM,
        "metricQueries",
        [{"id": "a", "metric": {"stat": "Sum", "period": 60}}],
        "[0].metric.metricName",
        "is missing",
    ),
    ("aws:cloudwatch/eventApiDestination:EventApiDestination", "httpMethod", "FETCH", "", "must be one of POST, GET"),
    ("aws:cloudwatch/eventApiDestination:EventApiDestination", "invocationRateLimitPerSecond", 0, "", "at least 1"),
    (
        "aws:cloudwatch/eventApiDestination:EventApiDestination",
        "invocationRateLimitPerSecond",
        "20",
        "",
        "a whole number",
    ),
    (
        "aws:cloudwatch/eventApiDestination:EventApiDestination",
        "invocationRateLimitPerSecond",
        1.5,
        "",
        "a whole number",
    ),
    (
        "aws:cloudwatch/eventApiDestination:EventApiDestination",
        "invocationRateLimitPerSecond",
        True,
        "",
        "a whole number",
    ),
    ("aws:cloudwatch/eventApiDestination:EventApiDestination", "invocationEndpoint", "https://a b", "", "must match"),
    ("aws:cloudwatch/eventArchive:EventArchive", "name", "a" * 49, "", "must be at most 48 long"),
    ("aws:cloudwatch/eventArchive:EventArchive", "eventSourceArn", "orders", "", "must match"),
    ("aws:cloudwatch/eventBus:EventBus", "name", "or ders", "", "must match"),
    ("aws:cloudwatch/eventBusPolicy:EventBusPolicy", "policy", "{}", "", "Statement[0] is not an object"),
    (CONNECTION, "authorizationType", "DIGEST", "", "must be one of BASIC, OAUTH_CLIENT_CREDENTIALS, API_KEY"),
    (CONNECTION, "authParameters", GONE, "", "is missing"),
    (CONNECTION, "authParameters.basic.password", GONE, "", "is missing"),
    (CONNECTION, "authParameters.basic.password", Secret(""), "", "must be at least 1 long"),
    (CONNECTION, "authParameters.basic", {"username": "u", "password": "p", "realm": "r"}, ".realm", "is not an input"),
    ("aws:cloudwatch/eventRule:EventRule", "name", "a" * 65, "", "must be at most 64 long"),
    ("aws:cloudwatch/eventRule:EventRule", "state", "ON", "", "must be one of ENABLED, DISABLED"),
    ("aws:cloudwatch/eventRule:EventRule", "eventPattern", '{"source": "orders"}', "", "must be an event pattern: "),
    ("aws:cloudwatch/eventRule:EventRule", "eventPattern", GONE, None, "must have an eventPattern"),
    (TARGET, "arn", GONE, "", "is missing"),
    (TARGET, "retryPolicy.maximumRetryAttempts", 186, "", "must be at most 185 (events PutTargets)"),
    (TARGET, "retryPolicy.maximumEventAgeInSeconds", 59, "", "must be at least 60"),
    (TARGET, "httpTarget", {"headerParameters": {"X-Key": 5}}, '.headerParameters["X-Key"]', "must be a text"),
    (
        TARGET,
        "inputTransformer",
        {"inputTemplate": '{"id": <id>}'},
        "",
        "define every placeholder of the template in the",
    ),
    (TARGET, "inputTransformer", {"inputTemplate": '{"id": }'}, ".inputTemplate", "must be JSON with <placeholders>"),
    (
        TARGET,
        "inputTransformer",
        {"inputTemplate": '"' + "a" * 8191 + '"'},
        ".inputTemplate",
        "must be at most 8192 long",
    ),
    (TARGET, "deadLetterConfig", [], "", "must be an object"),
    (GROUP, "retentionInDays", 2, "", "must be one of 0, 1, 3"),
    (GROUP, "name", "a group", "", "must match"),
    (TABLE, "streamViewType", "NEW", "", "must be one of NEW_IMAGE"),
    (
        TABLE,
        "hashKey",
        "id",
        None,
        "must declare in `attributes` exactly what keys are made of: id is missing, PK is no",
    ),
    (TABLE, "attributes", [{"name": "PK", "type": "X"}], "[0].type", "must be one of S, N, B"),
    (TABLE, "globalSecondaryIndexes", [{"name": "by-date"}], "[0].projectionType", "is missing"),
    (TABLE, "globalSecondaryIndexes", [{"name": "by!", "projectionType": "ALL"}], "[0].name", "must match"),
    (
        TABLE,
        "pointInTimeRecovery",
        {"enabled": True, "recoveryPeriodInDays": 36},
        ".recoveryPeriodInDays",
        "must be at",
    ),
    ("aws:iam/role:Role", "assumeRolePolicy", "{", "", "must be an IAM policy document: Expecting"),
    ("aws:iam/role:Role", "assumeRolePolicy", '{"Statement": {"Effect": "Maybe"}}', "", "neither Allow nor Deny"),
    ("aws:iam/role:Role", "name", "a" * 65, "", "must be at most 64 long"),
    ("aws:iam/rolePolicy:RolePolicy", "policy", '{"Statement": [{"Effect": "Allow"}]}', "", "has no Action"),
    ("aws:iam/rolePolicy:RolePolicy", "policy", '{"Version": "2025", "Statement": []}', "", "Version is none of"),
    (FUNCTION, "memorySize", 64, "", "must be at least 128"),
    (FUNCTION, "runtime", "python2.0", "", "must be one of nodejs"),
    (FUNCTION, "handler", GONE, "", "is missing"),
    (FUNCTION, "architectures", ["arm64", "x86_64"], "", "must be at most 1 long"),
    (FUNCTION, "architectures", ["arm"], "[0]", "must be one of x86_64, arm64"),
    (FUNCTION, "environment", {"variables": {"1ST": "a"}}, '.variables["1ST"]', "must match"),
    (FUNCTION, "code", 5, "", "must be a text, a file or an archive"),
    ("aws:lambda/functionEventInvokeConfig:FunctionEventInvokeConfig", "maximumRetryAttempts", 3, "", "at most 2"),
    ("aws:lambda/functionUrl:FunctionUrl", "authorizationType", "BASIC", "", "must be one of NONE, AWS_IAM"),
    ("aws:lambda/permission:Permission", "action", "invoke", "", "must match"),
    ("aws:lambda/permission:Permission", "invokedViaFunctionUrl", "true", "", "must be true or false"),
    (SCHEDULE, "scheduleExpression", "rate(0 minutes)", "", "must be rate(number minutes|hours|days)"),
    (SCHEDULE, "scheduleExpression", "cron(0 12 * * ? *)", "", "must be rate(number minutes|hours|days)"),
    (SCHEDULE, "state", "ON", "", "must be one of ENABLED, DISABLED"),
    (SCHEDULE, "flexibleTimeWindow.mode", "FLEXIBLE", "", "must be one of OFF"),
    (SCHEDULE, "target.input", "{", "", "must be JSON: Expecting"),
    (SCHEDULE, "target.roleArn", GONE, "", "is missing"),
    (SCHEDULE, "target.arn", "arn:aws:sqs:eu-west-1:000000000000:queue", "", "must match arn:[^:]+:lambda"),
    (SCHEDULE, "target.retryPolicy.maximumRetryAttempts", 186, "", "must be at most 185"),
    (SCHEDULE, "groupName", GONE, "", "is missing"),
    ("aws:scheduler/scheduleGroup:ScheduleGroup", "name", "a" * 65, "", "must be at most 64 long"),
    (TOPIC, "name", "a topic", "", "must match"),
    (TOPIC, "tracingConfig", "Always", "", "must be one of PassThrough, Active"),
    (TOPIC, "policy", "{}", "", "Statement[0] is not an object"),
    ("aws:sns/topicPolicy:TopicPolicy", "policy", "{}", "", "must be an IAM policy document"),
    ("aws:sns/topicPolicy:TopicPolicy", "policy", GONE, "", "is missing"),
    ("aws:sns/topicSubscription:TopicSubscription", "protocol", "pigeon", "", "must be one of http"),
    ("aws:sns/topicSubscription:TopicSubscription", "endpoint", GONE, "", "is missing"),
    ("aws:sqs/queue:Queue", "messageRetentionSeconds", 59, "", "must be from 60 to 1209600"),
    ("aws:sqs/queue:Queue", "sqsManagedSseEnabled", "yes", "", "must be true or false"),
    ("aws:sqs/queue:Queue", "name", "a" * 81, "", "must match"),
    ("aws:sqs/queuePolicy:QueuePolicy", "policy", "[]", "", "it is not an object"),
    (PIPE, "sourceParameters.dynamoDbStreamParameters.startingPosition", "EARLIEST", "", "one of TRIM_HORIZON, LATEST"),
    (PIPE, "sourceParameters.dynamoDbStreamParameters.batchSize", 100000, "", "must be at most 10000"),
    (PIPE, "sourceParameters.dynamoDbStreamParameters.batchSize", "10", "", "must be of type integer"),
    (PIPE, "sourceParameters", {"dynamoDBStreamParameters": {}}, ".dynamoDBStreamParameters", "is not a property of"),
    (
        PIPE,
        "sourceParameters",
        {"filterCriteria": {"filters": [{"pattern": "[]"}]}},
        ".filterCriteria.filters[0].pattern",
        "must be an ev",
    ),
    (
        PIPE,
        "sourceParameters",
        {"activeMqBrokerParameters": {"queueName": "q", "credentials": {"basicAuth": SECRET_ARN, "user": "b"}}},
        ".activeMqBrokerParameters.credentials.user",
        "is not a property",
    ),
    (PIPE, "roleArn", GONE, "", "is missing"),
    (PIPE, "arn", "arn:aws:pipes:eu-west-1:000000000000:pipe/a", "", "can only be read"),
    (PIPE, "name", "a b", "", "must match"),
    (PIPE, "target", "a" * 1601, "", "must be at most 1600 long"),
    (PIPE, "targetParameters.inputTemplate", '{"id": <$.id>', "", "must be JSON with <$.placeholders>"),
    (PIPE, "targetParameters.inputTemplate", "a" * 8193, "", "must be at most 8192 long"),
]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: f"{mutant[0].rpartition(':')[2]}-{mutant[1]}")
def test_what_aws_would_refuse_is_refused_at_its_place(mutant, of, an_input):
    type_, where, value, within, reason = mutant
    inputs = plain(an_input(type_))
    *parents, last = where.split(".")
    target = at(inputs, parents)
    if value is GONE:
        target.pop(last, None)
    else:
        target[last] = value

    _, failures = of(type_).check(type_, inputs)

    place = "" if within is None else where + within
    assert list(failures) == [place]
    assert reason in failures[place]


def test_an_alarm_watches_one_metric_or_one_expression_over_several(of, an_input):
    """`Metrics` of PutMetricAlarm: exactly one of them is what the alarm looks at."""
    single = ("namespace", "metricName", "dimensions", "period", "statistic", "metricQueries")
    others = {name: value for name, value in plain(an_input(ALARM)).items() if name not in single}
    both = {"metric": QUERIES[0]["metric"], "expression": "1"}
    for queries, accepted in (
        (QUERIES, True),
        ([QUERIES[0]], False),
        ([{**query, "returnData": True} for query in QUERIES], False),
        ([{"id": "neither", "returnData": True}], False),
        ([{"id": "both", "returnData": True, **both}], False),
    ):
        _, failures = of(ALARM).check(ALARM, {**others, "metricQueries": queries})
        assert (failures == {}) is accepted, queries


def test_every_type_has_a_mutant():
    assert {mutant[0] for mutant in MUTANTS} == KINDS.keys()


@pytest.mark.parametrize("type_", KINDS)
def test_an_input_that_is_not_in_the_table_is_refused_by_its_name(type_, of, an_input):
    _, failures = of(type_).check(type_, an_input(type_, colour="red"))
    assert list(failures) == ["colour"]
    assert "is not a" in failures["colour"]


def test_an_unknown_type_is_refused_by_its_name(of):
    _, failures = of("aws:").check("aws:s3/bucket:Bucket", {})
    assert failures == {"": "the local providers do not know the type aws:s3/bucket:Bucket"}


@pytest.mark.parametrize("method", ["Diff", "Create", "Read", "Update", "Delete"])
def test_an_unknown_type_of_an_old_state_is_refused_by_its_name(method, of):
    request = getattr(provider_pb2, f"{method}Request")(type="aws:s3/bucket:Bucket")
    with pytest.raises(grpc.RpcError, match="do not know the type aws:s3/bucket:Bucket"):
        getattr(of("aws:").stub, method)(request)


def test_the_reason_tells_nothing_of_a_secret(of, an_input):
    long = f"{CANARY}:" + "a" * 600
    for type_, where, value in [
        (CONNECTION, ["authParameters", "basic", "password"], Secret(long)),
        (CONNECTION, ["authParameters"], Secret({"basic": {"username": "u", "password": long}})),
        ("aws:cloudwatch/eventRule:EventRule", ["eventPattern"], Secret(f'{{"{CANARY}": 5}}')),
        ("aws:iam/role:Role", ["assumeRolePolicy"], Secret(f'{CANARY}: "')),
        (PIPE, ["targetParameters", "inputTemplate"], Secret(f'{{"{CANARY}"')),
        (PIPE, ["desiredState"], Secret(CANARY)),
    ]:
        inputs = plain(an_input(type_))
        at(inputs, where[:-1])[where[-1]] = value
        _, failures = of(type_).check(type_, inputs)
        assert failures, where
        assert CANARY not in str(failures)


def test_a_secret_does_not_show_itself():
    assert CANARY not in f"{Secret(CANARY)} {[Secret({'a': CANARY})]}"


def test_what_is_not_known_yet_is_let_through_and_nothing_else(of, an_input):
    inputs = plain(an_input(TARGET, arn=UNKNOWN, retryPolicy={"maximumRetryAttempts": UNKNOWN}))
    assert of(TARGET).check(TARGET, inputs)[1] == {}
    inputs["retryPolicy"]["maximumEventAgeInSeconds"] = 1
    assert list(of(TARGET).check(TARGET, inputs)[1]) == ["retryPolicy.maximumEventAgeInSeconds"]

    inputs = plain(an_input(PIPE, roleArn=UNKNOWN, targetParameters=UNKNOWN))
    assert of(PIPE).check(PIPE, inputs)[1] == {}
    inputs["desiredState"] = "ASLEEP"
    assert list(of(PIPE).check(PIPE, inputs)[1]) == ["desiredState"]


def test_every_row_is_an_input_of_the_sdk_and_a_member_of_its_call(of):
    modules = {"lambda": "lambda_"}
    for type_, kind in aws.KINDS.items():
        _, path, name = type_.split(":")
        module = path.partition("/")[0]
        arguments = getattr(getattr(pulumi_aws, modules.get(module, module)), f"{name}Args")
        known = sdk_inputs(arguments)
        assert isinstance(kind.rules, CallRules)
        assert kind.rules.inputs.keys() - known == set(), type_
        for row, described in kind.rules.inputs.items():
            # An empty object makes the provider look up every member that could be required.
            for empty in ({}, [{}]) if described.fields else ():
                of(type_).check(type_, {row: empty})


def test_every_row_says_what_its_input_is_for():
    def rows(inputs, path):
        for name, row in inputs.items():
            yield f"{path}.{name}", row
            yield from rows(row.fields, f"{path}.{name}")

    all_of_them = [pair for type_, kind in aws.KINDS.items() for pair in rows(kind.rules.inputs, type_)]
    assert [name for name, row in all_of_them if not (row.to or row.check or row.unused)] == []
    assert len(all_of_them) > 150


def sdk_inputs(arguments):
    """The names, as they are sent, of what one of the SDK's argument classes takes."""
    getters = [value.fget for value in vars(arguments).values() if isinstance(value, property)]
    return {getattr(getter, "_pulumi_name", getter.__name__) for getter in getters}


def test_every_property_of_a_pipe_has_the_name_that_the_sdk_gives_it():
    schema = aws_native._schema("AWS::Pipes::Pipe")
    objects = [schema, *schema["definitions"].values()]
    objects += [variant for part in objects for variant in part.get("oneOf", [])]
    ours = {sdk_name(name) for part in objects for name in part.get("properties", {})}
    sdk = set()
    for class_ in [pipes.PipeArgs, *(value for name, value in vars(pipes).items() if re.fullmatch("Pipe.*Args", name))]:
        sdk |= sdk_inputs(class_)
    assert len(sdk) > 100
    assert sdk <= ours


# --- names


def test_a_pipe_without_a_name_gets_one_that_stays(of, an_input):
    inputs = plain(an_input(PIPE))
    del inputs["name"]
    first, _ = of(PIPE).check(PIPE, inputs, seed=b"one")
    again, _ = of(PIPE).check(PIPE, inputs, seed=b"one")
    other, _ = of(PIPE).check(PIPE, inputs, seed=b"two")
    later, _ = of(PIPE).check(PIPE, inputs, first, seed=b"two")
    assert re.fullmatch(r"thing-[0-9a-f]{7}", first["name"])
    assert again == first
    assert other["name"] != first["name"]
    assert later == first


def test_a_name_of_the_program_counts_more_than_the_one_it_had(of):
    checked, _ = of(GROUP).check(GROUP, {"name": "new"}, {"name": "old"})
    assert checked["name"] == "new"


def test_the_engine_may_propose_a_name_or_forbid_to_make_one_up(of):
    options = provider_pb2.CheckRequest.AutonamingOptions
    proposed, _ = of(GROUP).check(GROUP, {}, autonaming=options(proposed_name="proposal"))
    _, failures = of(GROUP).check(GROUP, {}, autonaming=options(mode=options.DISABLE))
    assert proposed["name"] == "proposal"
    assert failures == {"name": "is missing"}


# --- what is filled in


def test_what_the_provider_fills_in_is_noted_where_it_is(of):
    header = {"key": "X-Key", "value": Secret(CANARY)}
    parameters = Secret({"invocationHttpParameters": {"headers": [header]}})
    given = {"authorizationType": "BASIC", "authParameters": parameters}
    inputs, failures = of(CONNECTION).check(CONNECTION, given)
    assert failures == {}
    assert inputs["__defaults"] == ["name"]
    (header,) = inputs["authParameters"].value["invocationHttpParameters"]["headers"]
    assert header == {"key": "X-Key", "value": Secret(CANARY), "isValueSecret": False, "__defaults": ["isValueSecret"]}


def test_the_notes_are_no_change_and_no_output(of, an_input):
    type_ = "aws:cloudwatch/eventApiDestination:EventApiDestination"
    given = _without(plain(an_input(type_)), "invocationRateLimitPerSecond")
    filled_in, _ = of(type_).check(type_, given)
    said, _ = of(type_).check(type_, {**given, "invocationRateLimitPerSecond": 300})
    assert (filled_in["__defaults"], said["__defaults"]) == (["invocationRateLimitPerSecond"], [])
    assert of(type_).diff(type_, filled_in, said) == ({}, [])
    assert "__defaults" not in of(type_).create(type_, filled_in)[1]
    assert "__defaults" not in of(type_).update(type_, filled_in, {})


# --- what changes and what replaces


def test_nothing_differs_from_itself(program, of):
    for node in resources(program):
        assert of(node.type).diff(node.type, node.inputs, node.inputs) == ({}, [])


@pytest.mark.parametrize(
    "case",
    [
        (GROUP, {"name": "a"}, {"name": "b"}, {"name": "UPDATE_REPLACE"}, ["name"]),
        (GROUP, {"retentionInDays": 1}, {"retentionInDays": 3}, {"retentionInDays": "UPDATE"}, []),
        (GROUP, {"retentionInDays": 1}, {}, {"retentionInDays": "DELETE"}, []),
        (GROUP, {}, {"retentionInDays": 1}, {"retentionInDays": "ADD"}, []),
        (GROUP, {"name": "a"}, {"name": UNKNOWN}, {"name": "UPDATE_REPLACE"}, ["name"]),
        (
            TARGET,
            {"httpTarget": {"headerParameters": {"X-Key": "a"}}},
            {"httpTarget": {"headerParameters": {"X-Key": "b", "Y": "c"}}},
            {'httpTarget.headerParameters["X-Key"]': "UPDATE", "httpTarget.headerParameters.Y": "ADD"},
            [],
        ),
        (FUNCTION, {"layers": ["a", "b"]}, {"layers": ["a"]}, {"layers[1]": "DELETE"}, []),
        (FUNCTION, {"layers": ["a"]}, {"layers": ["b", "c"]}, {"layers[0]": "UPDATE", "layers[1]": "ADD"}, []),
        (
            CONNECTION,
            {"authParameters": {"basic": {"password": Secret("old")}}},
            {"authParameters": {"basic": {"password": Secret("new")}}},
            {"authParameters.basic.password": "UPDATE"},
            [],
        ),
        (
            CONNECTION,
            {"authParameters": {"basic": {"password": "same"}}},
            {"authParameters": {"basic": {"password": Secret("same")}}},
            {"authParameters.basic.password": "UPDATE"},
            [],
        ),
        (
            "aws:apigateway/deployment:Deployment",
            {"triggers": {"body": "a"}},
            {"triggers": {"body": "b"}},
            {"triggers.body": "UPDATE_REPLACE"},
            ["triggers"],
        ),
        (PIPE, {"source": "a"}, {"source": "b"}, {"source": "UPDATE_REPLACE"}, ["source"]),
        (PIPE, {"description": "a"}, {"description": "b"}, {"description": "UPDATE"}, []),
        (
            PIPE,
            {"sourceParameters": {"dynamoDbStreamParameters": {"startingPosition": "LATEST", "batchSize": 1}}},
            {"sourceParameters": {"dynamoDbStreamParameters": {"startingPosition": "TRIM_HORIZON", "batchSize": 2}}},
            {
                "sourceParameters.dynamoDbStreamParameters.startingPosition": "UPDATE_REPLACE",
                "sourceParameters.dynamoDbStreamParameters.batchSize": "UPDATE",
            },
            ["sourceParameters"],
        ),
        (
            PIPE,
            {"sourceParameters": {"dynamoDbStreamParameters": {"startingPosition": "LATEST"}}},
            {"sourceParameters": {}},
            {"sourceParameters.dynamoDbStreamParameters": "DELETE_REPLACE"},
            ["sourceParameters"],
        ),
    ],
)
def test_a_change_is_told_by_its_place_and_kind(case, of):
    type_, old, new, changes, replaces = case
    assert of(type_).diff(type_, old, new) == (changes, replaces)


def test_an_archive_has_changed_when_its_content_has(of):
    def code(path, digest):
        return {
            "code": Asset(
                digest,
                {"4dabf18193072939515e22adb298388d": "0def7320c3a5731c473e5ecbe6d01bc7", "hash": digest, "path": path},
            )
        }

    assert of(FUNCTION).diff(FUNCTION, code("a.zip", "1"), code("b.zip", "1")) == ({}, [])
    assert of(FUNCTION).diff(FUNCTION, code("a.zip", "1"), code("a.zip", "2")) == ({"code": "UPDATE"}, [])


# What AWS, or the provider in its name, cannot change on what exists.
CREATE_ONLY = {
    "aws:apigateway/account:Account": set(),
    "aws:apigateway/deployment:Deployment": {"restApi", "triggers", "variables"},
    "aws:apigateway/methodSettings:MethodSettings": {"restApi", "stageName", "methodPath"},
    "aws:apigateway/restApi:RestApi": set(),
    "aws:apigateway/stage:Stage": {"restApi", "stageName"},
    DASHBOARD: {"dashboardName"},
    ALARM: {"name"},
    "aws:cloudwatch/eventApiDestination:EventApiDestination": {"name"},
    "aws:cloudwatch/eventArchive:EventArchive": {"name", "eventSourceArn"},
    "aws:cloudwatch/eventBus:EventBus": {"name"},
    "aws:cloudwatch/eventBusPolicy:EventBusPolicy": {"eventBusName"},
    CONNECTION: {"name"},
    "aws:cloudwatch/eventRule:EventRule": {"name", "eventBusName"},
    TARGET: {"rule", "eventBusName", "targetId"},
    GROUP: {"name"},
    TABLE: {"name", "hashKey"},
    "aws:iam/role:Role": {"name"},
    "aws:iam/rolePolicy:RolePolicy": {"name", "role"},
    FUNCTION: {"name"},
    "aws:lambda/functionEventInvokeConfig:FunctionEventInvokeConfig": {"functionName"},
    "aws:lambda/functionUrl:FunctionUrl": {"functionName"},
    SCHEDULE: {"name", "groupName"},
    "aws:scheduler/scheduleGroup:ScheduleGroup": {"name"},
    TOPIC: {"name"},
    "aws:sns/topicPolicy:TopicPolicy": {"arn"},
    "aws:sns/topicSubscription:TopicSubscription": {"topic", "protocol", "endpoint"},
    "aws:sqs/queue:Queue": {"name"},
    "aws:sqs/queuePolicy:QueuePolicy": {"queueUrl"},
    PIPE: {"name", "source"},
}


def test_each_input_of_the_program_replaces_or_not(programs, of):
    """By the first resource of each type; what a permission is made of can't be changed at all."""
    seen = set()
    for node in resources(programs["local"]):
        if node.type in seen:
            continue
        seen.add(node.type)
        inputs = {"name": "x", "targetId": "x", "statementId": "x", **node.inputs}
        inputs = {name: value for name, value in inputs.items() if name in _taken(node.type) or name in node.inputs}
        # Without an input nested ones are gone too, hence the pipe's stream parameters.
        replacing = {name for name in inputs if of(node.type).diff(node.type, inputs, _without(inputs, name))[1]}
        expected = (
            set(inputs) if node.type == "aws:lambda/permission:Permission" else CREATE_ONLY[node.type] & set(inputs)
        )
        assert replacing - {"sourceParameters"} == expected, node.type
    assert seen == KINDS.keys()


def _taken(type_):
    naming = KINDS[type_].naming
    return {naming.input} if naming else set()


def _without(inputs, name):
    return {key: value for key, value in inputs.items() if key != name}


def test_another_region_is_another_provider(clients):
    request = provider_pb2.DiffRequest(old_inputs=write({"region": "eu-west-1"}), news=write({"region": "eu-west-2"}))
    assert list(clients["aws"].stub.DiffConfig(request).replaces) == ["region"]
    request.news.CopyFrom(write({"region": "eu-west-1"}))
    assert clients["aws"].stub.DiffConfig(request).changes == provider_pb2.DiffResponse.DIFF_NONE


# --- what exists


def test_a_preview_leaves_open_what_aws_decides(of, an_input):
    inputs = an_input(TABLE)
    id_, outputs = of(TABLE).create(TABLE, inputs, preview=True)
    assert id_ == ""
    assert outputs == {**inputs, "arn": UNKNOWN, "streamArn": UNKNOWN, "streamLabel": UNKNOWN}


def test_secrets_stay_secret_at_any_depth(of, an_input):
    parameters = {
        "basic": {"username": "u", "password": Secret(CANARY)},
        "invocationHttpParameters": Secret({"a": [CANARY]}),
    }
    inputs = an_input(CONNECTION, authParameters=parameters)
    for outputs in (
        of(CONNECTION).create(CONNECTION, inputs, preview=True)[1],
        of(CONNECTION).create(CONNECTION, inputs)[1],
        of(CONNECTION).update(CONNECTION, inputs, {}),
    ):
        assert outputs["authParameters"] == parameters


def test_what_tells_a_secret_is_secret(of):
    _, outputs = of(GROUP).create(GROUP, {"name": Secret(CANARY)})
    assert outputs["arn"] == Secret(f"arn:aws:logs:eu-west-1:000000000000:log-group:{CANARY}")


def test_an_update_keeps_what_aws_has_decided(of, an_input):
    inputs = an_input("aws:apigateway/restApi:RestApi")
    _, state = of("aws:").create("aws:apigateway/restApi:RestApi", inputs)
    for preview in (True, False):
        changed = {**inputs, "description": "new"}
        outputs = of("aws:").update("aws:apigateway/restApi:RestApi", changed, state, preview=preview)
        assert outputs == {**state, "description": "new"}


def test_another_view_is_another_stream(of, an_input):
    inputs = an_input(TABLE)
    _, state = of(TABLE).create(TABLE, inputs)
    changed = {**inputs, "streamViewType": "KEYS_ONLY"}
    planned = of(TABLE).update(TABLE, changed, state, preview=True)
    assert (planned["streamArn"], planned["arn"]) == (UNKNOWN, state["arn"])
    updated = of(TABLE).update(TABLE, changed, {**state, "streamArn": "old"})
    assert updated["streamArn"].startswith(f"{state['arn']}/stream/")
    assert of(TABLE).update(TABLE, inputs, {**state, "streamArn": "old"})["streamArn"] == "old"
    assert "streamArn" not in of(TABLE).create(TABLE, _without(inputs, "streamEnabled"))[1]


def test_two_apis_are_two(of, an_input):
    inputs = an_input("aws:apigateway/restApi:RestApi")
    first, second = (of("aws:").create("aws:apigateway/restApi:RestApi", inputs)[0] for _ in range(2))
    assert re.fullmatch("[a-z0-9]{10}", first)
    assert first != second


def test_a_resource_is_where_its_provider_is(ports):
    elsewhere, here = Client(ports["aws"], "cn-north-1"), Client(ports["aws"], "eu-west-1")
    arns = [client.create(GROUP, {"name": "a"})[1]["arn"] for client in (elsewhere, here)]
    elsewhere.close()
    here.close()
    assert arns == [
        "arn:aws-cn:logs:cn-north-1:000000000000:log-group:a",
        "arn:aws:logs:eu-west-1:000000000000:log-group:a",
    ]


def test_a_refresh_finds_what_was_made_and_an_import_finds_nothing(of):
    state = write({"name": Secret("a")})
    found = of(GROUP).stub.Read(provider_pb2.ReadRequest(type=GROUP, id="a", properties=state, inputs=state))
    assert (found.id, found.properties, found.inputs) == ("a", state, state)
    with pytest.raises(grpc.RpcError, match="LogGroup a is not in the stack"):
        of(GROUP).stub.Read(provider_pb2.ReadRequest(type=GROUP, id="a"))


# --- settings and functions


@pytest.mark.parametrize(
    ("settings", "where", "reason"),
    [
        ({}, "region", "is missing: `pulumi config set aws:region <region>`"),
        ({"region": "here"}, "region", "must be the name of a region"),
        ({"region": "eu-west-1", "forbiddenAccountIds": "mine"}, "forbiddenAccountIds", "is not a setting of aws"),
    ],
)
def test_a_provider_is_configured_by_what_it_knows(settings, where, reason, clients):
    answer = clients["aws"].stub.CheckConfig(provider_pb2.CheckRequest(news=write(settings)))
    (failure,) = answer.failures
    assert failure.property == where
    assert reason in failure.reason


def test_the_account_is_the_local_one(clients):
    request = provider_pb2.InvokeRequest(tok="aws:index/getCallerIdentity:getCallerIdentity")
    answer = read(getattr(clients["aws"].stub.Invoke(request), "return"))
    assert answer["accountId"] == "000000000000"


def test_an_unknown_function_or_argument_is_refused_by_its_name(clients):
    for token, arguments, reason in [
        ("aws:index/getRegion:getRegion", {}, "do not know the function aws:index/getRegion:getRegion"),
        ("aws:index/getCallerIdentity:getCallerIdentity", {"id": "a"}, "getCallerIdentity takes no id here"),
    ]:
        with pytest.raises(grpc.RpcError, match=reason):
            clients["aws"].stub.Invoke(provider_pb2.InvokeRequest(tok=token, args=write(arguments)))


def test_the_engine_is_told_what_the_providers_can_do(clients):
    stub = clients["aws"].stub
    assert stub.Handshake(provider_pb2.ProviderHandshakeRequest()).accept_secrets
    assert stub.GetPluginInfo(empty_pb2.Empty()).version == metadata.version("pulumi-aws")


def test_a_path_is_written_as_the_engine_reads_it():
    assert shown(("a", 0, "b-c", 'd"e')) == 'a[0]["b-c"]["d\\"e"]'


# --- the process


def until(happened, what):
    given_up = time.monotonic() + DEADLINE
    while not happened():
        assert time.monotonic() < given_up, f"waited {DEADLINE} s for this: {what}"
        time.sleep(0.01)


@contextmanager
def started():
    with subprocess.Popen(
        [sys.executable, "-m", "sandbox.provider"],
        cwd=graph.ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("end", ["input", "signal"])
def test_the_process_tells_its_ports_and_ends_when_told(end):
    with started() as process:
        line = process.stdout.readline()
        assert re.fullmatch(r"aws:\d+,aws-native:\d+\n", line)
        if end == "input":
            process.stdin.close()
        else:
            process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE) == 0
        assert process.stdout.read() == ""
        assert process.stderr.read() == ""


@pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc")
def test_the_process_does_not_outlive_the_one_that_started_it():
    program = "import time; from sandbox.provider import Providers; print(Providers().pid, flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", program], cwd=graph.ROOT, stdout=subprocess.PIPE, text=True) as parent:
        pid = int(parent.stdout.readline())
        parent.kill()
    until(lambda: not Path(f"/proc/{pid}").exists(), "the end of the providers")


@pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc")
def test_only_this_machine_is_served():
    with Providers() as providers:
        ports = {int(port) for port in re.findall(r":(\d+)", providers.attach)}
        listening = [
            line.split()[1].split(":")
            for table in ("tcp", "tcp6")
            for line in Path(f"/proc/{providers.pid}/net/{table}").read_text().splitlines()
            if line.split()[3] == "0A"
        ]
        addresses = [address for address, port in listening if int(port, 16) in ports]
        assert len(addresses) == 2
        assert set(addresses) <= {"0100007F", "0000000000000000FFFF00000100007F"}
