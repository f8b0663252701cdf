"""Whatever keeps an order from arriving raises an alarm that says what to do, and the dashboard shows what there is."""

from __future__ import annotations

import ast
import json
import re
from typing import Any, NamedTuple

import pytest

from components.dashboard import body
from sandbox import iam
from sandbox.iam import Request, RoleSession, Service
from tests import graph
from tests.graph import ACCOUNT, REGION, ROOT, Graph, Node, is_unknown
from tests.test_docs import anchors
from tests.test_program import API, FUNCTION, PIPE, QUEUE, RULE, TABLE, TARGET, grants

ALARM = "aws:cloudwatch/metricAlarm:MetricAlarm"
DASHBOARD = "aws:cloudwatch/dashboard:Dashboard"
TOPIC, TOPIC_POLICY = "aws:sns/topic:Topic", "aws:sns/topicPolicy:TopicPolicy"
SUBSCRIPTION = "aws:sns/topicSubscription:TopicSubscription"
BUS, STAGE = "aws:cloudwatch/eventBus:EventBus", "aws:apigateway/stage:Stage"
INVOKE_CONFIG = "aws:lambda/functionEventInvokeConfig:FunctionEventInvokeConfig"
RUNBOOK = ROOT / "docs" / "operations.md"
OWN = "event-gateway"

# Metrics and the dimensions that they come with, as AWS lists them: "Services that publish CloudWatch metrics", and the
# user guides of EventBridge ("Monitoring Amazon EventBridge", "Monitoring EventBridge Pipes").
DOCUMENTED = {
    "AWS/ApiGateway": {name: [{"ApiName", "Stage"}] for name in ("4XXError", "5XXError", "Count", "Latency")},
    "AWS/DynamoDB": {
        "ReadThrottleEvents": [{"TableName"}, {"TableName", "GlobalSecondaryIndexName"}],
        "SystemErrors": [{"TableName", "Operation"}],
        "WriteThrottleEvents": [{"TableName"}, {"TableName", "GlobalSecondaryIndexName"}],
    },
    "AWS/EventBridge/Pipes": {
        name: [{"PipeName"}]
        for name in (
            "EventCount",
            "ExecutionFailed",
            "ExecutionPartiallyFailed",
            "ExecutionThrottled",
            "ExecutionTimeout",
        )
    },
    "AWS/Events": {
        name: [{"EventBusName", "RuleName"}]
        for name in (
            "FailedInvocations",
            "InvocationsFailedToBeSentToDlq",
            "RetryInvocationAttempts",
            "ThrottledRules",
            "TriggeredRules",
        )
    },
    "AWS/Lambda": {
        name: [{"FunctionName"}]
        for name in (
            "AsyncEventsDropped",
            "DestinationDeliveryFailures",
            "Duration",
            "Errors",
            "Invocations",
            "Throttles",
        )
    },
    "AWS/SQS": {"ApproximateNumberOfMessagesVisible": [{"QueueName"}]},
}


@pytest.fixture(scope="module")
def counted() -> set[str]:
    """What handlers count, by the source: the module itself takes its settings from a function's environment."""
    module = ast.parse((ROOT / "handlers" / "telemetry.py").read_text())
    (members,) = (node.body for node in module.body if isinstance(node, ast.ClassDef) and node.name == "Count")
    return {node.value.value for node in members if isinstance(node, ast.Assign)}  # type: ignore[attr-defined]


class Series(NamedTuple):
    namespace: str
    name: str
    dimensions: dict[str, str]
    statistic: str


def watched(alarm: Node) -> list[Series]:
    """What one alarm looks at."""
    inputs = alarm.inputs
    found = [
        (query["metric"], query["metric"]["stat"]) for query in inputs.get("metricQueries", []) if "metric" in query
    ]
    if "metricName" in inputs:
        found.append((inputs, inputs.get("statistic") or inputs["extendedStatistic"]))
    return [Series(m["namespace"], m["metricName"], m["dimensions"], statistic) for m, statistic in found]


def alarms(recorded: Graph, name: str, **dimensions: str) -> list[Node]:
    """Those on a metric of this name with these among its dimensions."""
    return [
        alarm
        for alarm in recorded.of(ALARM)
        if any(s.name == name and dimensions.items() <= s.dimensions.items() for s in watched(alarm))
    ]


def widgets(recorded: Graph) -> list[dict[str, Any]]:
    return json.loads(recorded.only(DASHBOARD).inputs["dashboardBody"])["widgets"]


def shown(recorded: Graph) -> list[Series]:
    """Every series of the dashboard that is given by its dimensions."""
    found: list[Series] = []
    for widget in widgets(recorded):
        for namespace, *rest in widget["properties"].get("metrics", []):
            if isinstance(namespace, str):
                name, *dimensions, options = rest
                pairs = dict(zip(dimensions[::2], dimensions[1::2], strict=True))
                found.append(Series(namespace, name, pairs, options["stat"]))
    return found


def searches(recorded: Graph) -> list[str]:
    series = [line for widget in widgets(recorded) for line in widget["properties"].get("metrics", [])]
    return [line[0]["expression"] for line in series if isinstance(line[0], dict)]


def existing(recorded: Graph) -> dict[str, set[str]]:
    """What each dimension may say: names of resources, and the operations on the table that somebody may do."""
    environments = [f.inputs["environment"]["variables"] for f in recorded.of(FUNCTION)]
    return {
        "ApiName": {recorded.only(API).inputs["name"]},
        "EventBusName": {recorded.only(BUS).inputs["name"]},
        "FunctionName": {f.inputs["name"] for f in recorded.of(FUNCTION)},
        "GlobalSecondaryIndexName": {index["name"] for index in recorded.only(TABLE).inputs["globalSecondaryIndexes"]},
        "Operation": {
            action.removeprefix("dynamodb:")
            for _, statement in grants(recorded)
            for action in statement["Action"]
            if "/stream/" not in statement["Resource"] and action.startswith("dynamodb:")
        },
        "PipeName": {pipe_name(recorded)},
        "QueueName": {queue.inputs["name"] for queue in recorded.of(QUEUE)},
        "RuleName": {rule.inputs["name"] for rule in recorded.of(RULE)},
        "Stage": {recorded.only(STAGE).inputs["stageName"]},
        "TableName": {recorded.only(TABLE).inputs["name"]},
        "service": {graph.plain(variables)["POWERTOOLS_SERVICE_NAME"] for variables in environments},
    }


def pipe_name(recorded: Graph) -> str:
    pipe = recorded.only(PIPE)
    return graph.OUTPUTS[PIPE](pipe.name, pipe.inputs)["arn"].rpartition("/")[2]


def section(alarm: Node) -> str:
    return alarm.inputs["alarmDescription"].rpartition(" docs/operations.md#")[2]


# --- every failure has its alarm --------------------------------------------------------------------------------------


def test_every_dead_letter_queue_is_alarming_from_its_first_message_on(program):
    assert program.of(QUEUE)
    for queue in program.of(QUEUE):
        (alarm,) = alarms(program, "ApproximateNumberOfMessagesVisible", QueueName=queue.inputs["name"])
        inputs = alarm.inputs
        assert (inputs["comparisonOperator"], inputs["threshold"]) == ("GreaterThanThreshold", 0)
        # Lost on the way of a redrive would be the last message: a sum or a mean over a period tells of none.
        assert (inputs["statistic"], inputs["evaluationPeriods"]) == ("Maximum", 1)


@pytest.mark.parametrize("metric", ["FailedInvocations", "InvocationsFailedToBeSentToDlq", "ThrottledRules"])
def test_every_rule_is_watched_on_its_own_bus(program, metric):
    assert program.of(RULE)
    for rule in program.of(RULE):
        own = {"RuleName": rule.inputs["name"], "EventBusName": rule.inputs["eventBusName"]}
        (alarm,) = alarms(program, metric, **own)
        assert alarm.inputs["statistic"] == "Sum"


def test_a_carrier_that_takes_nothing_at_the_first_try_is_noticed_before_the_day_is_over(program):
    sending = [target for target in program.of(TARGET) if "httpTarget" in target.inputs]
    assert sending
    for target in sending:
        (alarm,) = alarms(program, "RetryInvocationAttempts", RuleName=target.inputs["rule"])
        assert alarm.inputs["period"] * alarm.inputs["evaluationPeriods"] <= 3600
    assert len(alarms(program, "RetryInvocationAttempts")) == len(sending)


@pytest.mark.parametrize(
    "metric", ["ExecutionFailed", "ExecutionPartiallyFailed", "ExecutionTimeout", "ExecutionThrottled", "EventCount"]
)
def test_the_pipe_is_watched_under_the_name_that_it_was_given(program, metric):
    (alarm,) = alarms(program, metric, PipeName=pipe_name(program))
    inputs = "metricQueries" if "metricQueries" in alarm.inputs else "dimensions"
    assert program.feeds(program.only(PIPE), alarm, inputs), "after a replacement it would watch the old one"


def test_a_pipe_that_takes_nothing_while_orders_are_placed_is_noticed(program):
    (alarm,) = alarms(program, "EventCount")
    placed, taken, result = alarm.inputs["metricQueries"]
    assert (placed["metric"]["metricName"], taken["metric"]["metricName"]) == ("OrderPlaced", "EventCount")
    assert result["expression"] == "IF(FILL(placed, 0) > 0 AND FILL(taken, 0) == 0, 1, 0)"
    # The last order of a period is the next one's event.
    assert 2 <= alarm.inputs["datapointsToAlarm"] < alarm.inputs["evaluationPeriods"]


@pytest.mark.parametrize("metric", ["ThrottledRules", "ExecutionThrottled"])
def test_what_only_waits_is_no_alarm_before_it_has_waited_for_a_while(program, metric):
    found = alarms(program, metric)
    assert found
    for alarm in found:
        assert alarm.inputs["evaluationPeriods"] == alarm.inputs["datapointsToAlarm"]
        assert alarm.inputs["period"] * alarm.inputs["evaluationPeriods"] >= 900


@pytest.mark.parametrize("metric", ["Errors", "Throttles"])
def test_every_function_is_watched(program, metric):
    assert program.of(FUNCTION)
    for function in program.of(FUNCTION):
        (alarm,) = alarms(program, metric, FunctionName=function.inputs["name"])
        assert (alarm.inputs["statistic"], alarm.inputs["threshold"]) == ("Sum", 0)


@pytest.mark.parametrize("metric", ["AsyncEventsDropped", "DestinationDeliveryFailures"])
def test_an_event_that_lambda_gives_up_on_or_cannot_keep_is_noticed(program, metric):
    keeping = {c.inputs["functionName"] for c in program.of(INVOKE_CONFIG) if "destinationConfig" in c.inputs}
    assert keeping
    assert {series.dimensions["FunctionName"] for a in alarms(program, metric) for series in watched(a)} == keeping


def test_the_api_is_watched_as_its_clients_see_it(program):
    (failing,), (slow,) = alarms(program, "5XXError"), alarms(program, "Latency")
    assert (failing.inputs["statistic"], failing.inputs["threshold"]) == ("Sum", 0)
    (timeout,) = (f.inputs["timeout"] for f in program.of(FUNCTION) if f.name == "orders-api")
    assert slow.inputs["extendedStatistic"] == "p90"
    assert 0 < slow.inputs["threshold"] < timeout * 1000


def test_rejections_are_noticed_at_every_carrier(program):
    confirming = {c.inputs["functionName"] for c in program.of(INVOKE_CONFIG) if "destinationConfig" in c.inputs}
    services = {s.dimensions["service"] for a in alarms(program, "ConfirmationRejected") for s in watched(a)}
    assert services == confirming != set()


@pytest.mark.parametrize("metric", ["OrderOverdue", "OrderUnconfirmed", "OrderNotReemitted"])
def test_orders_past_their_time_are_noticed(program, metric):
    (reconcile,) = (f for f in program.of(FUNCTION) if f.inputs["handler"] == "handlers.reconcile.handler")
    (alarm,) = alarms(program, metric, service=reconcile.inputs["name"])
    assert (alarm.inputs["statistic"], alarm.inputs["threshold"]) == ("Sum", 0)


def test_a_reconciliation_that_does_not_run_is_noticed(program):
    (reconcile,) = (f for f in program.of(FUNCTION) if f.inputs["handler"] == "handlers.reconcile.handler")
    (alarm,) = alarms(program, "Invocations", FunctionName=reconcile.inputs["name"])
    schedule = program.only("aws:scheduler/schedule:Schedule").inputs["scheduleExpression"]
    (minutes,) = re.findall(r"^rate\((\d+) minutes\)$", schedule)
    inputs = alarm.inputs
    assert (inputs["comparisonOperator"], inputs["threshold"]) == ("LessThanThreshold", 1)
    assert inputs["treatMissingData"] == "breaching"
    assert inputs["period"] >= int(minutes) * 60, "a period between two runs has none"
    assert inputs["evaluationPeriods"] > 1, "one run that is late is no run that is missing"


def test_the_table_is_watched_with_its_index_and_for_all_that_is_asked_of_it(program):
    for metric in ("ReadThrottleEvents", "WriteThrottleEvents"):
        (alarm,) = alarms(program, metric)
        places = [set(series.dimensions) for series in watched(alarm) if series.name == metric]
        assert places == [{"TableName"}, {"TableName", "GlobalSecondaryIndexName"}]
    (alarm,) = alarms(program, "SystemErrors")
    assert {series.dimensions["Operation"] for series in watched(alarm)} == existing(program)["Operation"]


def test_alarms_on_dynamodb_end_although_it_writes_nothing_while_all_is_well(program):
    """PutMetricAlarm: an alarm on a metric of AWS/DynamoDB keeps its state while data are missing."""
    found = [a for a in program.of(ALARM) if any(s.namespace == "AWS/DynamoDB" for s in watched(a))]
    assert found
    for alarm in found:
        *series, result = alarm.inputs["metricQueries"]
        assert result["expression"].split(" + ") == [f"FILL({query['id']}, 0)" for query in series]
        assert result["returnData"] is True
        assert not any(query.get("returnData") for query in series)


def test_only_what_has_to_happen_is_missed(program):
    missing = {alarm.name: alarm.inputs["treatMissingData"] for alarm in program.of(ALARM)}
    assert set(missing.values()) == {"breaching", "notBreaching"}
    assert [name for name, treated in missing.items() if treated == "breaching"] == [
        "observability-reconcile-not-running"
    ]


# --- it is about what there is ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["alarms", "dashboard"])
def test_every_series_is_one_that_aws_or_a_handler_writes_about_a_resource_that_exists(program, counted, where):
    found = shown(program) if where == "dashboard" else [s for a in program.of(ALARM) for s in watched(a)]
    assert len(found) > 20
    names = existing(program)
    for series in found:
        if series.namespace == OWN:
            assert series.name in counted
            assert series.dimensions.keys() == {"service"}
        else:
            assert set(series.dimensions) in DOCUMENTED[series.namespace][series.name], series
        for dimension, value in series.dimensions.items():
            assert value in names[dimension], series


def test_own_metrics_have_the_namespace_in_which_the_functions_write(program):
    namespaces = {f.inputs["environment"]["variables"]["POWERTOOLS_METRICS_NAMESPACE"] for f in program.of(FUNCTION)}
    used = {s.namespace for a in program.of(ALARM) for s in watched(a)} | {s.namespace for s in shown(program)}
    assert namespaces == used - DOCUMENTED.keys() == {OWN}


def test_whatever_the_handlers_count_is_shown(program, counted):
    assert {series.name for series in shown(program) if series.namespace == OWN} == counted


def test_the_dashboard_finds_every_pipe_of_the_stack_and_no_other(program):
    found = [
        re.fullmatch(r"SEARCH\('\{(.+),(.+)\} MetricName=\"(.+)\" (.+)=(.+)', 'Sum'\)", s) for s in searches(program)
    ]
    assert found
    for match in found:
        assert match
        namespace, dimension, metric, term, begins = match.groups()
        assert {dimension} in DOCUMENTED[namespace][metric]
        assert dimension == term == "PipeName"
        assert re.fullmatch(f"{begins}-[0-9a-f]{{7}}", pipe_name(program))


def test_the_dashboard_is_known_before_anything_exists(previews, programs):
    for stack, preview in previews.items():
        body = preview.only(DASHBOARD).inputs["dashboardBody"]
        assert not is_unknown(body)
        assert body == programs[stack].only(DASHBOARD).inputs["dashboardBody"]


def test_the_dashboard_tells_an_orders_way_from_left_to_right(program):
    graphs = [widget for widget in widgets(program) if widget["type"] == "metric"]
    story = [widget for widget in graphs if widget["y"] == graphs[0]["y"]]
    titles = [widget["properties"]["title"] for widget in sorted(story, key=lambda widget: widget["x"])]
    assert titles == ["1. API", "2. Placed", "3. Pipe", "4. To the carrier", "5. Confirmations", "6. Shipped"]
    below = [widget["properties"]["title"] for widget in graphs if widget["y"] > graphs[0]["y"]]
    assert below[:2] == ["Messages in dead-letter queues", "Reconcile"]


def test_the_dashboards_widgets_fill_the_grid_and_do_not_overlap(program):
    cells = [
        (x, y)
        for widget in widgets(program)
        for x in range(widget["x"], widget["x"] + widget["width"])
        for y in range(widget["y"], widget["y"] + widget["height"])
    ]
    assert len(cells) == len(set(cells))
    assert {x for x, _ in cells} == set(range(24))


def test_every_queue_and_every_alarm_is_on_the_dashboard(program):
    queues = {s.dimensions["QueueName"] for s in shown(program) if "QueueName" in s.dimensions}
    assert queues == {queue.inputs["name"] for queue in program.of(QUEUE)} != set()
    listed = [arn for widget in widgets(program) for arn in widget["properties"].get("alarms", [])]
    arns = [f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:{alarm.inputs['name']}" for alarm in program.of(ALARM)]
    assert sorted(listed) == sorted(arns)
    assert len(arns) == len(set(arns)) > 30


def test_a_widget_lists_no_more_alarms_than_cloudwatch_takes():
    arns = [f"arn:{number}" for number in range(250)]
    found = [widget for widget in body(REGION, "", arns, [])["widgets"] if widget["type"] == "alarm"]
    assert [len(widget["properties"]["alarms"]) for widget in found] == [100, 100, 50]
    assert [arn for widget in found for arn in widget["properties"]["alarms"]] == arns
    assert len({widget["y"] for widget in found}) == 3


# --- somebody is told, and knows what to do ---------------------------------------------------------------------------


def test_every_alarm_tells_the_topic_when_it_is_raised_and_when_it_is_over(program):
    topic, policy = program.only(TOPIC), program.only(TOPIC_POLICY)
    arn = graph.OUTPUTS[TOPIC](topic.name, topic.inputs)["arn"]
    assert program.of(ALARM)
    for alarm in program.of(ALARM):
        assert alarm.inputs["alarmActions"] == alarm.inputs["okActions"] == [arn]
        assert alarm.inputs.get("actionsEnabled", True)
        assert policy.urn in alarm.depends_on, "the first alarm would not be let through"


def test_every_alarm_has_its_section_and_every_section_its_alarm(programs):
    used = {section(alarm) for recorded in programs.values() for alarm in recorded.of(ALARM)}
    text = RUNBOOK.read_text()
    written = anchors("\n".join(re.findall(r"^### .*$", text, re.MULTILINE)))
    assert len(used) > 15
    assert used == written


def test_every_section_says_what_to_do():
    parts = re.split(r"^### (.*)$", RUNBOOK.read_text(), flags=re.MULTILINE)[1:]
    sections = dict(zip(parts[::2], parts[1::2], strict=True))
    assert len(sections) > 15
    for heading, text in sections.items():
        labels = re.findall(r"^\*\*([A-Za-z ]+)\.\*\* \S", text, re.MULTILINE)
        assert labels == ["Means", "Look at", "Do", "Over"], heading
        assert "python -m ops" in text or "aws " in text, f"{heading}: no command"


def test_a_mail_goes_only_to_whom_the_settings_name():
    assert graph.program("dev").of(SUBSCRIPTION) == []
    recorded = graph.program("dev", {"event-gateway:alarmEmail": "on-call@shop.example"})
    topic, subscription = recorded.only(TOPIC), recorded.only(SUBSCRIPTION)
    assert recorded.feeds(topic, subscription, "topic")
    assert (subscription.inputs["protocol"], subscription.inputs["endpoint"]) == ("email", "on-call@shop.example")


def alarm_of(name: str, account: str = ACCOUNT) -> Service:
    arn = f"arn:aws:cloudwatch:{REGION}:{account}:alarm:{name}"
    return Service(name="cloudwatch.amazonaws.com", source_arn=arn, source_account=account)


EVENTS = Service(
    name="events.amazonaws.com",
    source_arn=f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:event-gateway-dev-x",
    source_account=ACCOUNT,
)
ADMINISTRATOR = RoleSession(role_arn=f"arn:aws:iam::{ACCOUNT}:role/administrator", session="s")
EVERYTHING = iam.identity_policy(
    "everything",
    {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]},
)


@pytest.mark.parametrize(
    ("principal", "secure", "admitted"),
    [
        pytest.param(alarm_of("event-gateway-dev-orders-api-5xx"), "true", True, id="an alarm of the stack"),
        pytest.param(alarm_of("event-gateway-dev-orders-api-5xx"), "false", False, id="without TLS"),
        pytest.param(alarm_of("event-gateway-prod-orders-api-5xx"), "true", False, id="another stack's"),
        pytest.param(alarm_of("event-gateway-dev-x", "999988887777"), "true", False, id="another account's"),
        pytest.param(EVENTS, "true", False, id="another service"),
        pytest.param(ADMINISTRATOR, "true", False, id="an administrator"),
    ],
)
def test_the_topic_takes_the_alarms_of_its_stack_and_nothing_else(programs, principal, secure, admitted):
    recorded = programs["dev"]
    topic = recorded.only(TOPIC)
    decision = iam.evaluate(
        Request(
            principal=principal,
            action="sns:Publish",
            resource=graph.OUTPUTS[TOPIC](topic.name, topic.inputs)["arn"],
            context={"aws:SecureTransport": secure},
        ),
        identity=[EVERYTHING] if principal is ADMINISTRATOR else [],
        resource=iam.resource_policy("topic", recorded.only(TOPIC_POLICY).inputs["policy"]),
    )
    assert decision.allowed is admitted, decision.reason


def test_who_is_let_in_is_named_with_its_account_and_everybody_else_is_denied(programs):
    by_sid = {s["Sid"]: s for s in json.loads(programs["dev"].only(TOPIC_POLICY).inputs["policy"])["Statement"]}
    allowed, denied = by_sid["Alarms"]["Condition"], by_sid["AlarmsOnly"]["Condition"]
    assert allowed["StringEquals"] == {"aws:SourceAccount": ACCOUNT}
    assert by_sid["AlarmsOnly"]["Effect"] == "Deny"
    assert denied == {"ArnNotLike": allowed["ArnLike"]}
