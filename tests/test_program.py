"""What holds for the whole program on every stack: claims about the graph, not lists of properties."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from contracts.principals import caller_of
from tests import graph
from tests.graph import CANARY, Graph, Node, is_unknown, leaves, plain

OWN = "event-gateway:components:"
RULE, TARGET = "aws:cloudwatch/eventRule:EventRule", "aws:cloudwatch/eventTarget:EventTarget"
QUEUE, QUEUE_POLICY = "aws:sqs/queue:Queue", "aws:sqs/queuePolicy:QueuePolicy"
FUNCTION, PERMISSION = "aws:lambda/function:Function", "aws:lambda/permission:Permission"
ROLE, ROLE_POLICY = "aws:iam/role:Role", "aws:iam/rolePolicy:RolePolicy"
PIPE, API = "aws-native:pipes:Pipe", "aws:apigateway/restApi:RestApi"
SCHEDULE = "aws:scheduler/schedule:Schedule"
TABLE, ARCHIVE = "aws:dynamodb/table:Table", "aws:cloudwatch/eventArchive:EventArchive"

# Properties that hold a document: a preview that can't read them shows nothing to a person or a policy.
DOCUMENTS = {
    "accessLogSettings.format",
    "assumeRolePolicy",
    "body",
    "eventPattern",
    "inputTransformer.inputTemplate",
    "policy",
    "sourceParameters.filterCriteria.filters[0].pattern",
    "targetParameters.inputTemplate",
}


def documents(recorded: Graph) -> list[tuple[Node, str, Any]]:
    return [
        (node, path, value)
        for node in recorded.nodes.values()
        for path, value, _ in leaves(node.inputs)
        if path in DOCUMENTS
    ]


def statements(node: Node, path: str) -> list[dict[str, Any]]:
    return json.loads(node.inputs[path])["Statement"]


def grants(recorded: Graph) -> list[tuple[Node, dict[str, Any]]]:
    """Every allowed (role policy, statement) of every role."""
    return [(node, statement) for node in recorded.of(ROLE_POLICY) for statement in statements(node, "policy")]


def body(recorded: Graph) -> dict[str, Any]:
    return json.loads(recorded.only(API).inputs["body"])


def operations(recorded: Graph) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (method, path, operation)
        for path, methods in body(recorded)["paths"].items()
        for method, operation in methods.items()
    ]


def rule_of(recorded: Graph, target: Node) -> Node:
    rules = [rule for rule in recorded.of(RULE) if rule.inputs["name"] == target.inputs["rule"]]
    assert len(rules) == 1, target.name
    return rules[0]


def arn_of(service: str, node: Node) -> str:
    prefix = {"sqs": "", "rule": f"rule/{node.inputs.get('eventBusName')}/"}[service]
    name = "events" if service == "rule" else service
    return f"arn:aws:{name}:eu-west-1:111122223333:{prefix}{node.inputs['name']}"


def senders(recorded: Graph) -> dict[str, set[str]]:
    """By queue: who puts undelivered messages there, as the wiring says."""
    found: dict[str, set[str]] = {}
    for target in recorded.of(TARGET):
        queue = target.inputs["deadLetterConfig"]["arn"]
        found.setdefault(queue, set()).add(arn_of("rule", rule_of(recorded, target)))
    for pipe in recorded.of(PIPE):
        stream = pipe.inputs["sourceParameters"]["dynamoDbStreamParameters"]
        found.setdefault(stream["deadLetterConfig"]["arn"], set()).add(pipe.inputs["roleArn"])
    for config in recorded.of("aws:lambda/functionEventInvokeConfig:FunctionEventInvokeConfig"):
        (function,) = (f for f in recorded.of(FUNCTION) if f.inputs["name"] == config.inputs["functionName"])
        if "destinationConfig" not in config.inputs:
            continue
        queue = config.inputs["destinationConfig"]["onFailure"]["destination"]
        found.setdefault(queue, set()).add(function.inputs["role"])
    for function in recorded.of(FUNCTION):
        if url := function.inputs["environment"]["variables"].get("OVERDUE_QUEUE_URL"):
            queue = f"arn:aws:sqs:eu-west-1:111122223333:{url.rpartition('/')[2]}"
            found.setdefault(queue, set()).add(function.inputs["role"])
    return found


def scheduled(recorded: Graph) -> set[str]:
    """The names of the functions that a schedule starts."""
    return {schedule.inputs["target"]["arn"].rpartition(":")[2] for schedule in recorded.of(SCHEDULE)}


# --- what a first preview shows ---------------------------------------------------------------------------------------


def test_every_document_is_a_known_string_on_a_first_preview(preview):
    found = documents(preview)
    assert {path for _, path, _ in found} == DOCUMENTS
    assert [node.name for node, _, value in found if is_unknown(value)] == [], "an unknown ARN is in a document"


def test_a_first_preview_and_a_deployment_show_the_same_documents(programs, previews):
    for stack, recorded in programs.items():
        deployed = {(node.urn, path): value for node, path, value in documents(recorded)}
        shown = {(node.urn, path): value for node, path, value in documents(previews[stack]) if not is_unknown(value)}
        assert len(shown) >= 35
        assert shown == {key: deployed[key] for key in shown}


def test_two_stacks_share_no_name(programs):
    found = {
        stack: {
            (node.type, node.inputs["name"])
            for node in recorded.nodes.values()
            if "name" in node.inputs and node.type != ROLE_POLICY  # a role's own namespace
        }
        for stack, recorded in programs.items()
    }
    assert all(len(names) >= 25 for names in found.values())
    assert found["dev"] & found["prod"] == found["dev"] & found["local"] == found["local"] & found["prod"] == set()


# --- nothing is lost --------------------------------------------------------------------------------------------------


def test_every_target_retries_for_a_day_and_then_keeps_the_event(program):
    assert program.of(TARGET)
    for target in program.of(TARGET):
        assert target.inputs["retryPolicy"] == {"maximumEventAgeInSeconds": 86400, "maximumRetryAttempts": 185}
        assert target.inputs["deadLetterConfig"]["arn"], target.name


def test_every_function_that_events_invoke_reports_what_it_could_not_process(program):
    asynchronous = {p.inputs["function"] for p in program.of(PERMISSION) if "events." in p.inputs["principal"]}
    configs = {
        config.inputs["functionName"]: config.inputs
        for config in program.of("aws:lambda/functionEventInvokeConfig:FunctionEventInvokeConfig")
    }
    assert asynchronous
    assert asynchronous == configs.keys() - scheduled(program)
    for config in (configs[name] for name in asynchronous):
        assert config["destinationConfig"]["onFailure"]["destination"]
        assert (config["maximumRetryAttempts"], config["maximumEventAgeInSeconds"]) == (2, 21600)


def test_every_other_function_is_called_by_somebody_who_waits_for_the_answer(program):
    asynchronous = {p.inputs["function"] for p in program.of(PERMISSION) if "events." in p.inputs["principal"]}
    waited_for = {p.inputs["function"] for p in program.of(PERMISSION)} - asynchronous
    assert waited_for
    assert {f.inputs["name"] for f in program.of(FUNCTION)} == asynchronous | waited_for | scheduled(program)
    for permission in program.of(PERMISSION):
        if permission.inputs["function"] in waited_for:
            assert permission.inputs["principal"] in {"apigateway.amazonaws.com", "*"}


def test_every_queue_admits_exactly_its_sender(program):
    wired = senders(program)
    assert {arn_of("sqs", queue) for queue in program.of(QUEUE)} == wired.keys()
    policies = {policy.inputs["queueUrl"].rpartition("/")[2]: policy for policy in program.of(QUEUE_POLICY)}
    for queue in program.of(QUEUE):
        (sender,) = wired[arn_of("sqs", queue)]
        by_sid = {s["Sid"]: s for s in statements(policies[queue.inputs["name"]], "policy")}
        key = "aws:SourceArn" if ":rule/" in sender else "aws:PrincipalArn"
        assert by_sid["OneSenderOnly"]["Effect"] == "Deny"
        assert by_sid["OneSenderOnly"]["Principal"] == "*"
        assert by_sid["OneSenderOnly"]["Condition"] == {"ArnNotEquals": {key: sender}}, queue.name
        assert by_sid["EncryptedTransportOnly"]["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
        if ":rule/" in sender:
            assert by_sid["TheRule"]["Condition"]["ArnEquals"] == {"aws:SourceArn": sender}
        else:
            allowed = [
                policy
                for policy, statement in grants(program)
                if statement["Action"] == ["sqs:SendMessage"] and statement["Resource"] == arn_of("sqs", queue)
            ]
            assert [f"role/{policy.inputs['role']}" for policy in allowed] == [sender.rpartition(":")[2]]


def test_every_queue_keeps_its_messages_as_long_as_sqs_can(program):
    assert program.of(QUEUE)
    for queue in program.of(QUEUE):
        assert queue.inputs["messageRetentionSeconds"] == 1209600
        assert queue.inputs["sqsManagedSseEnabled"] is True


def test_every_event_that_is_emitted_has_a_rule_and_every_rule_a_producer(program):
    produced: set[tuple[str, str]] = set()
    for pipe in program.of(PIPE):
        target = pipe.inputs["targetParameters"]["eventBridgeEventBusParameters"]
        produced.add((target["source"], target["detailType"]))
    for _, _, operation in operations(program):
        integration = operation["x-amazon-apigateway-integration"]
        if integration["type"] == "aws":
            template = integration["requestTemplates"]["application/json"]
            (source,), (detail_type,) = (
                re.findall(rf'"{key}": "([^"]+)"', template) for key in ("Source", "DetailType")
            )
            produced.add((source, detail_type))
    patterns = [json.loads(rule.inputs["eventPattern"]) for rule in program.of(RULE)]
    routed = {(p["source"][0], p["detail-type"][0]) for p in patterns}
    assert all(len(p["source"]) == len(p["detail-type"]) == 1 for p in patterns)
    assert produced == routed == {("dynamodb.orders", "dynamodb-orders-stream"), ("carrier", "carrier.order_shipped")}
    assert {p["account"][0] for p in patterns} == {"111122223333"}


def test_confirmations_go_onto_the_bus_that_the_rules_are_on(program):
    bus = program.only("aws:cloudwatch/eventBus:EventBus").inputs["name"]
    template = body(program)["paths"]["/confirm-shipment"]["post"]["x-amazon-apigateway-integration"]
    assert re.findall(r'"EventBusName": "([^"]+)"', template["requestTemplates"]["application/json"]) == [bus]
    assert {rule.inputs["eventBusName"] for rule in program.of(RULE)} == {bus}


def test_the_pipe_reads_the_stream_and_is_bounded(program):
    pipe, table = program.only(PIPE), program.only(TABLE)
    assert program.feeds(table, pipe, "source")
    stream = pipe.inputs["sourceParameters"]["dynamoDbStreamParameters"]
    assert stream["startingPosition"] == "TRIM_HORIZON"
    assert stream["batchSize"] <= 10, "PutEvents takes ten entries"
    assert 0 < stream["maximumRetryAttempts"] <= 185
    assert 0 < stream["maximumRecordAgeInSeconds"] < 86400, "no time is left to read a dead record from the stream"
    assert stream["onPartialBatchItemFailure"] == "AUTOMATIC_BISECT"


def test_any_change_of_the_pipe_replaces_it_before_the_old_one_goes(program):
    pipe = program.only(PIPE)
    assert "*" in pipe.replace_on_changes
    assert not pipe.delete_before_replace
    assert "name" not in pipe.inputs
    (trust,) = statements(program.only(ROLE, "orders-pipe"), "assumeRolePolicy")
    assert trust["Condition"]["ArnLike"] == {
        "aws:SourceArn": f"arn:aws:pipes:eu-west-1:111122223333:pipe/{pipe.name}-*"
    }


def test_the_pipe_starts_only_when_its_role_may_do_everything(program):
    pipe = program.only(PIPE)
    policies = {node.urn for node in program.of(ROLE_POLICY) if node.name.startswith("orders-pipe-")}
    assert len(policies) == 3
    assert policies <= set(pipe.depends_on)


def test_a_carrier_can_tell_a_repeated_order(program):
    targets = [t for t in program.of(TARGET) if "httpTarget" in t.inputs]
    assert len(targets) == len(program.of("aws:cloudwatch/eventApiDestination:EventApiDestination")) > 0
    for target in targets:
        assert target.inputs["httpTarget"]["headerParameters"] == {"Idempotency-Key": "$.detail.order.id"}


def test_a_new_api_body_is_a_new_deployment():
    changed = {"event-gateway:clients": ["role/another-client"]}
    before, after = graph.program("dev"), graph.program("dev", changed)
    deployments = [found.only("aws:apigateway/deployment:Deployment") for found in (before, after)]
    assert body(before) != body(after)
    assert deployments[0].inputs["triggers"] != deployments[1].inputs["triggers"]


def test_no_order_is_taken_for_a_carrier_that_is_not_told_of_it_yet(program):
    (orders,) = (f for f in program.of(FUNCTION) if f.name == "orders-api")
    deliveries = {t.urn for t in program.of(TARGET) if "httpTarget" in t.inputs}
    assert len(deliveries) == len(program.of(f"{OWN}CarrierIntegration"))
    assert deliveries <= set(orders.depends_on)


def test_orders_are_looked_for_every_quarter_of_an_hour_by_one_sweep_at_a_time(program):
    schedule, table = program.only(SCHEDULE), program.only(TABLE)
    function = program.only(FUNCTION, "reconcile")
    assert schedule.inputs["scheduleExpression"] == "rate(15 minutes)"
    assert schedule.inputs.get("state", "ENABLED") == "ENABLED"
    assert program.feeds(function, schedule, "target")
    assert program.feeds(table, function, "environment")
    assert json.loads(schedule.inputs["target"]["input"]) == {"action": "sweep"}
    assert schedule.inputs["target"]["retryPolicy"]["maximumRetryAttempts"] == 0
    (config,) = (
        config.inputs
        for config in program.of("aws:lambda/functionEventInvokeConfig:FunctionEventInvokeConfig")
        if config.inputs["functionName"] == function.inputs["name"]
    )
    assert config["maximumRetryAttempts"] == 0
    assert config["maximumEventAgeInSeconds"] == 900
    assert function.inputs["timeout"] < 900


def test_a_sweep_starts_only_when_its_roles_may_do_everything(program):
    schedule = program.only(SCHEDULE)
    policies = {node.urn for node in program.of(ROLE_POLICY) if node.name.startswith("reconcile-")}
    assert len(policies) == 7
    assert policies <= set(schedule.depends_on)


def test_no_order_is_emitted_again_for_a_carrier_that_is_not_told_of_it_yet(program):
    deliveries = {t.urn for t in program.of(TARGET) if "httpTarget" in t.inputs}
    assert deliveries
    assert deliveries <= set(program.only(FUNCTION, "reconcile").depends_on)


def test_each_enabled_carrier_has_its_own_time_to_confirm():
    def hours(recorded):
        return json.loads(recorded.only(FUNCTION, "reconcile").inputs["environment"]["variables"]["CONFIRM_WITHIN"])

    carriers = [
        {"name": "acme", "auth": "basic", "user": "u", "enabled": False},
        {"name": "globex", "auth": "basic", "user": "u", "confirmWithin": 1},
        {"name": "initech", "auth": "basic", "user": "u"},
    ]
    assert hours(graph.program("local", {"event-gateway:carriers": carriers})) == {"globex": 1, "initech": 24}


# --- security ---------------------------------------------------------------------------------------------------------


def test_no_credential_is_in_plain_text(program):
    found = [
        (node.name, path, secret)
        for node in program.nodes.values()
        for path, value, secret in leaves(node.inputs)
        if isinstance(value, str) and CANARY in value
    ]
    assert len(found) == len(program.of("aws:cloudwatch/eventConnection:EventConnection")) > 0
    assert [(name, path) for name, path, secret in found if not secret] == []


def test_no_action_is_a_wildcard_and_no_resource_but_where_aws_knows_no_other(program):
    found = grants(program)
    assert len(found) > 10
    assert [a for _, s in found for a in s["Action"] if "*" in a] == []
    everywhere = {action for _, s in found if s["Resource"] == "*" for action in s["Action"]}
    assert everywhere == {"xray:PutTraceSegments", "xray:PutTelemetryRecords"}


def test_a_role_is_assumed_by_one_service_for_this_account(program):
    assert program.of(ROLE)
    unconditional: set[str] = set()
    for role in program.of(ROLE):
        (trust,) = statements(role, "assumeRolePolicy")
        service = trust["Principal"]["Service"]
        if "Condition" in trust:
            assert trust["Condition"]["StringEquals"] == {"aws:SourceAccount": "111122223333"}
        else:
            unconditional.add(service)
    # Neither service documents a condition key for this trust.
    assert unconditional == {"lambda.amazonaws.com", "apigateway.amazonaws.com"}


def test_only_the_pipe_the_api_and_reconcile_may_put_events(program):
    (statement,) = statements(program.only("aws:cloudwatch/eventBusPolicy:EventBusPolicy"), "policy")
    publishers = {policy.inputs["role"] for policy, s in grants(program) if s["Action"] == ["events:PutEvents"]}
    assert len(publishers) == 3
    assert statement["Effect"] == "Deny"
    assert statement["Principal"] == "*"
    assert {arn.rpartition("/")[2] for arn in statement["Condition"]["ArnNotEquals"]["aws:PrincipalArn"]} == publishers


def test_the_api_may_put_confirmations_and_no_other_event(program):
    (grant,) = (s for p, s in grants(program) if p.name == "orders-api-put-events-emits-confirmations")
    assert grant["Condition"] == {
        "ForAllValues:StringEquals": {"events:source": "carrier", "events:detail-type": "carrier.order_shipped"},
        "Null": {"events:source": "false", "events:detail-type": "false"},
    }
    assert (
        grant["Resource"]
        == "arn:aws:events:eu-west-1:111122223333:event-bus/"
        + program.only("aws:cloudwatch/eventBus:EventBus").inputs["name"]
    )


def test_reconcile_may_put_new_orders_and_no_other_event(program):
    (grant,) = (s for p, s in grants(program) if p.name == "reconcile-emits-orders-again")
    assert grant["Condition"] == {
        "ForAllValues:StringEquals": {
            "events:source": "dynamodb.orders",
            "events:detail-type": "dynamodb-orders-stream",
        },
        "Null": {"events:source": "false", "events:detail-type": "false"},
    }


def test_the_schedules_role_starts_one_function_and_is_assumed_for_its_own_group(program):
    schedule, function = program.only(SCHEDULE), program.only(FUNCTION, "reconcile")
    group = program.only("aws:scheduler/scheduleGroup:ScheduleGroup")
    role = program.only(ROLE, "reconcile-schedule")
    assert program.feeds(role, schedule, "target")
    assert program.feeds(group, schedule, "groupName")
    own = [s for p, s in grants(program) if p.inputs["role"] == role.inputs["name"]]
    assert [(s["Action"], s["Resource"]) for s in own] == [
        (["lambda:InvokeFunction"], f"arn:aws:lambda:eu-west-1:111122223333:function:{function.inputs['name']}")
    ]
    (trust,) = statements(role, "assumeRolePolicy")
    assert trust["Condition"]["ArnEquals"] == {
        "aws:SourceArn": f"arn:aws:scheduler:eu-west-1:111122223333:schedule-group/{group.inputs['name']}"
    }


def test_every_route_demands_a_signature_and_refuses_who_is_not_on_its_list(program):
    routes = {f"execute-api:/v1/{m.upper()}{re.sub('{.*}', '*', p)}" for m, p, _ in operations(program)}
    assert len(routes) > 2
    assert all(operation["security"] == [{"sigv4": []}] for _, _, operation in operations(program))
    denied: dict[str, Any] = {}
    for statement in body(program)["x-amazon-apigateway-policy"]["Statement"]:
        if statement["Effect"] == "Deny":
            assert statement["Principal"] == "*"
            denied |= dict.fromkeys(statement["Resource"], statement["Condition"]["StringNotEquals"])
    assert denied.keys() == routes | {f"{route}/*" for route in routes}, "a slash at the end is the same route"
    assert all(condition["aws:PrincipalArn"] for condition in denied.values())
    clients = denied["execute-api:/v1/POST/orders"]
    assert clients == denied["execute-api:/v1/GET/orders/*"] != denied["execute-api:/v1/POST/confirm-shipment"]


def test_each_principal_that_may_confirm_has_exactly_one_rule(program):
    (statement,) = (
        s for s in body(program)["x-amazon-apigateway-policy"]["Statement"] if s["Sid"] == "OnlyCarriersMay"
    )
    principals = statement["Condition"]["StringNotEquals"]["aws:PrincipalArn"]
    patterns = [json.loads(rule.inputs["eventPattern"])["detail"].get("caller") for rule in program.of(RULE)]
    assert len(principals) == len(program.of(f"{OWN}CarrierIntegration"))
    for principal in principals:
        assert patterns.count([{"prefix": f"{caller_of(principal)}/"}]) == 1


def test_the_direct_integration_takes_nothing_unmapped_or_unvalidated(program):
    (operation,) = (o for _, _, o in operations(program) if o["x-amazon-apigateway-integration"]["type"] == "aws")
    integration = operation["x-amazon-apigateway-integration"]
    validators = body(program)["x-amazon-apigateway-request-validators"]
    assert integration["passthroughBehavior"] == "never"
    assert validators[operation["x-amazon-apigateway-request-validator"]]["validateRequestBody"] is True
    assert {code: r["statusCode"] for code, r in integration["responses"].items()} == {
        "200": "202",
        r"4\d{2}": "502",
        "default": "503",
    }


def test_logs_hold_no_orders_and_end_some_day(program):
    assert program.of("aws:cloudwatch/logGroup:LogGroup")
    assert all(group.inputs["retentionInDays"] for group in program.of("aws:cloudwatch/logGroup:LogGroup"))
    assert "includeExecutionData" not in program.only(PIPE).inputs["logConfiguration"]
    settings = program.only("aws:apigateway/methodSettings:MethodSettings").inputs["settings"]
    assert settings["dataTraceEnabled"] is False
    log_format = program.only("aws:apigateway/stage:Stage").inputs["accessLogSettings"]["format"]
    assert not {"$input", "$context.requestOverride"} & set(re.findall(r"\$\w+(?:\.requestOverride)?", log_format))
    assert "$context.identity.userArn" in json.loads(log_format).values()


def test_only_a_throwaway_stack_opens_a_url(programs):
    opened = {stack: len(recorded.of("aws:lambda/functionUrl:FunctionUrl")) for stack, recorded in programs.items()}
    mocked = {stack: len(recorded.of(f"{OWN}MockCarrier")) for stack, recorded in programs.items()}
    assert opened == mocked
    assert [stack for stack, count in opened.items() if count] == ["local", "dev"]
    assert not any(table.protect for stack in ("local", "dev") for table in programs[stack].of(TABLE))


# --- what is kept -----------------------------------------------------------------------------------------------------


def test_what_holds_orders_is_protected_in_production(programs):
    held = [node for kind in (TABLE, QUEUE, ARCHIVE) for node in programs["prod"].of(kind)]
    assert len(held) >= 9
    assert all(node.protect for node in held)
    assert programs["prod"].only(TABLE).inputs["deletionProtectionEnabled"] is True
    assert not any(node.protect for node in programs["dev"].nodes.values())


def test_the_table_can_be_restored_and_streams_what_the_pipe_reads(program):
    table = program.only(TABLE).inputs
    assert table["pointInTimeRecovery"] == {"enabled": True}
    assert table["serverSideEncryption"] == {"enabled": True}
    assert (table["streamEnabled"], table["streamViewType"]) == (True, "NEW_IMAGE")


def test_a_replacement_never_meets_its_own_name(program):
    named = [node for node in program.nodes.values() if "name" in node.inputs and node.type != API]
    assert len(named) > 20
    kept = {TABLE, QUEUE, ARCHIVE}
    wrong = [node.name for node in named if not node.delete_before_replace and node.type not in kept]
    assert wrong == []


# --- structure --------------------------------------------------------------------------------------------------------


def test_every_resource_belongs_to_a_component(program):
    resources = [node for node in program.nodes.values() if not node.type.startswith(OWN)]
    assert len(resources) > 40
    orphans = [n.urn for n in resources if not any(a.type.startswith(OWN) for a in program.ancestors(n))]
    assert orphans == []


def test_the_four_components_are_wired(program):
    top = {node.type.removeprefix(OWN) for node in program.nodes.values() if not list(program.ancestors(node))}
    assert {"OrdersStore", "OrdersApi", "StreamPipe", "CarrierIntegration"} <= top


@pytest.mark.parametrize("enabled", [True, False])
def test_a_disabled_carrier_is_sent_nothing_but_may_still_confirm(enabled):
    carriers = [
        {"name": "acme", "auth": "basic", "user": "u", "enabled": enabled},
        {"name": "globex", "auth": "basic", "user": "u"},
    ]
    changed = graph.program("local", {"event-gateway:carriers": carriers})
    states = {rule.name: rule.inputs.get("state", "ENABLED") for rule in changed.of(RULE)}
    assert states["acme-orders"] == ("ENABLED" if enabled else "DISABLED")
    assert states["acme-confirm"] == states["globex-orders"] == "ENABLED"
    offered = body(changed)["components"]["schemas"]["NewOrder"]["properties"]["carrier"]["enum"]
    assert offered == (["acme", "globex"] if enabled else ["globex"])
    assert "acme-mock" in json.dumps(body(changed)["x-amazon-apigateway-policy"])


def test_plain_removes_the_marks_of_secrets(program):
    connection = program.of("aws:cloudwatch/eventConnection:EventConnection")[0]
    assert CANARY in json.dumps(plain(connection.inputs))
