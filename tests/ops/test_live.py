"""The commands on the deployed program: real faults fill each queue, it is read, and a redrive empties it and ships."""

from __future__ import annotations

import json
import time
from contextlib import contextmanager

import boto3
import pytest

from ops import mailbox
from sandbox.iam import DecisionLog, Request, RoleSession, identity_policy
from tests.ops.conftest import command
from tests.sandbox.conftest import ACCOUNT, NAME, REGION, SILENT, until

SHIPPED_AT = "2026-03-01T08:00:00Z"
UNKNOWN = "00000000-0000-4000-8000-000000000000"
PERMISSION = "aws:lambda/permission:Permission"
SINKS = ("redriven", "rejected", "discarded", "kept")


def confirm(cloud, carrier, order_id, shipped_at=SHIPPED_AT):
    body = {"order_id": order_id, "shipped_at": shipped_at}
    assert cloud.carrier(carrier).request("POST", "/confirm-shipment", body)[0] == 202


def about(ops, queue, order_id):
    """The message about an order, once it lies in a queue."""

    def found():
        listed = ops("dlq", "list", queue).document
        return [one for one in listed if one["order_id"] == order_id]

    [one] = until(found, f"a message about {order_id} in {queue}")
    return one


def counts(said):
    return {name: said.document[name] for name in SINKS if said.document[name]}


@pytest.fixture(autouse=True)
def emptied(cloud, monkeypatch):
    """No test leaves a message to the next; and this SQS, of one server, needs no waiting to give all that it has."""
    monkeypatch.setattr(mailbox, "_WAIT", 0)
    yield
    for queue in cloud.outputs["deadLetters"].values():
        cloud.aws("sqs").purge_queue(QueueUrl=queue["url"])


# --- faults


@contextmanager
def uninvokable(cloud, carrier):
    """While EventBridge may not invoke a carrier's confirm function."""
    names = ("action", "function", "principal", "sourceArn", "statementId")
    [(id_, known)] = [
        (id_, known)
        for id_, known in cloud.resources(PERMISSION, *names).items()
        if known["function"] == f"{NAME}carrier-{carrier}-confirm"
    ]
    changed = {**known, "sourceArn": f"{known['sourceArn']}-else"}
    cloud.change(PERMISSION, id_, known, changed)
    try:
        yield
    finally:
        cloud.change(PERMISSION, id_, changed, known)


def untold(cloud, ops, carrier="acme"):
    """An order that its carrier was not told of."""
    with cloud.without(f"carrier-{carrier}-orders", "calls-the-carrier", "events:InvokeApiDestination"):
        order_id = cloud.client().place(carrier=carrier)
        about(ops, f"{carrier}-dead-letters", order_id)
    return order_id


def undelivered(cloud, ops):
    """An order whose confirmation was not handed to the function."""
    with uninvokable(cloud, "acme"):
        order_id = cloud.client().place(carrier="acme")
        about(ops, "acme-undelivered", order_id)
    return order_id


def unapplied(cloud, ops):
    """An order whose confirmation the function could not apply."""
    with cloud.without("carrier-acme-confirm", "ships-orders", "dynamodb:UpdateItem"):
        order_id = cloud.client().place(carrier="acme")
        about(ops, "acme-failures", order_id)
    return order_id


def given_up(cloud, ops):
    """An order that was emitted as often as it may be, and that its carrier was never told of."""
    order_id = untold(cloud, ops)
    cloud.aws("sqs").purge_queue(QueueUrl=cloud.outputs["deadLetters"]["acme-dead-letters"]["url"])
    cloud.overdue(order_id, reemissions=3)
    cloud.sweep()
    about(ops, "overdue", order_id)
    return order_id


def unsent(cloud, ops):
    """An order that the pipe has given up on."""
    before = len(ops("dlq", "list", "pipe").document)
    with cloud.without("orders-pipe", "emits-orders", "events:PutEvents"), cloud.pipe(maximumRetryAttempts=0):
        order_id = cloud.client().place(carrier="acme")
        until(lambda: len(ops("dlq", "list", "pipe").document) > before, "a dead letter of the pipe")
    return order_id


def unsent_a_day_ago(cloud, ops):
    """The same, of whose dead letter the shard is gone."""
    order_id = unsent(cloud, ops)
    [letter] = ops("dlq", "show", "pipe").document
    body = letter["body"]
    body["DDBStreamBatchInfo"]["shardId"] = "shardId-00000000000000000000-00000000"
    url = cloud.outputs["deadLetters"]["pipe"]["url"]
    cloud.aws("sqs").purge_queue(QueueUrl=url)
    cloud.aws("sqs").send_message(QueueUrl=url, MessageBody=json.dumps(body))
    return order_id


FAULTS = {
    "acme-dead-letters": (untold, "NO_PERMISSIONS"),
    "acme-undelivered": (undelivered, "NO_PERMISSIONS"),
    "acme-failures": (unapplied, "RetriesExhausted"),
    "overdue": (given_up, "Unconfirmed"),
    "pipe": (unsent, "RetryAttemptsExhausted"),
}


@pytest.mark.parametrize("queue", FAULTS)
def test_what_a_fault_left_behind_is_seen_redriven_and_shipped(cloud, ops, queue):
    fault, why = FAULTS[queue]
    order_id = fault(cloud, ops)
    [row] = [row for row in ops("dlq", "list").document if row["queue"] == queue]
    assert row["messages"] == 1
    [listed] = ops("dlq", "list", queue).document
    assert why in listed["why"]
    [shown] = ops("dlq", "show", queue, listed["id"]).document
    assert shown["orders"] == [order_id]
    life = ops("order", order_id)
    assert life.code == 1
    assert [(one["queue"], one["id"]) for one in life.document["queues"]] == [(queue, listed["id"])]
    assert life.document["order"]["state"] == "pending"
    assert "Order placed" in [line["message"] for line in life.document["log"]]
    status = ops("status")
    assert (status.code, f"queue {queue} holds 1" in status.document["to_do"]) == (1, True)

    dry = ops("dlq", "redrive", queue, "--dry-run")
    assert (dry.code, dry.document["dry_run"], counts(dry)) == (0, True, {"redriven": 1})
    assert cloud.item(order_id)["state"] == {"S": "pending"}
    assert [one["id"] for one in ops("dlq", "list", queue).document] == [listed["id"]]

    real = ops("dlq", "redrive", queue)
    assert (real.code, counts(real)) == (0, {"redriven": 1})
    [message] = real.document["messages"]
    assert (message["queue"], message["id"], message["orders"]) == (queue, listed["id"], [order_id])
    cloud.shipped(order_id)
    again = ops("dlq", "redrive", queue)
    assert (again.code, counts(again), again.document["messages"]) == (0, {}, [])
    after = ops("order", order_id)
    assert (after.code, after.document["queues"], after.document["order"]["state"]) == (0, [], "shipped")


def test_the_orders_of_a_pipe_are_found_in_the_table_once_the_stream_is_past(cloud, ops):
    order_id = unsent_a_day_ago(cloud, ops)
    said = ops("dlq", "redrive", "pipe")
    assert (said.code, counts(said)) == (0, {"redriven": 1}), said
    assert order_id in said.document["messages"][0]["orders"]
    cloud.shipped(order_id)


def test_past_the_stream_a_message_stays_until_the_bus_has_taken_its_order(cloud, ops):
    order_id = unsent_a_day_ago(cloud, ops)
    with cloud.without("reconcile", "emits-orders-again", "events:PutEvents"):
        for _ in range(2):
            said = ops("dlq", "redrive", "pipe")
            assert (said.code, counts(said)) == (1, {"kept": 1}), said
            assert f"{order_id}: " in said.document["messages"][0]["reason"]
    said = ops("dlq", "redrive", "pipe")
    assert (said.code, counts(said)) == (0, {"redriven": 1}), said
    cloud.shipped(order_id)


def test_what_another_reader_holds_is_no_empty_queue(cloud, ops):
    order_id = untold(cloud, ops)
    sqs, url = cloud.aws("sqs"), cloud.outputs["deadLetters"]["acme-dead-letters"]["url"]
    # As a redrive that was killed leaves it.
    [message] = sqs.receive_message(QueueUrl=url, VisibilityTimeout=1800)["Messages"]
    status = ops("status")
    held = "queue acme-dead-letters: 1 message is with another reader: again in up to 30 minutes"
    assert (status.code, held in status.document["to_do"]) == (1, True)
    said = ops("dlq", "redrive", "--all")
    assert (said.code, counts(said), said.document["in_flight"]) == (1, {}, {"acme-dead-letters": 1})
    sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0)
    assert counts(ops("dlq", "redrive", "--all")) == {"redriven": 1}
    cloud.shipped(order_id)


def test_what_is_rejected_stays_with_its_reason_until_it_is_discarded(cloud, ops):
    order_id = cloud.client().place(carrier=SILENT)
    confirm(cloud, "acme", order_id)
    about(ops, "acme-failures", order_id)
    for _ in range(2):
        said = ops("dlq", "redrive", "acme-failures")
        assert (said.code, counts(said)) == (1, {"kept": 1})
        assert "OtherCarriersOrder" in said.document["messages"][0]["reason"]
    said = ops("dlq", "redrive", "acme-failures", "--discard")
    assert (said.code, counts(said)) == (0, {"discarded": 1})
    assert cloud.item(order_id)["state"] == {"S": "pending"}


def test_the_confirmation_of_an_order_that_is_not_there_stays(cloud, ops):
    confirm(cloud, SILENT, UNKNOWN)
    about(ops, f"{SILENT}-failures", UNKNOWN)
    said = ops("dlq", "redrive", f"{SILENT}-failures")
    assert (said.code, counts(said)) == (1, {"kept": 1})
    assert said.document["messages"][0]["reason"] == f"there is no order {UNKNOWN}"


def test_a_contradicting_confirmation_ends_among_the_failures(cloud, ops):
    with uninvokable(cloud, SILENT):
        order_id = cloud.client().place(carrier=SILENT)
        confirm(cloud, SILENT, order_id)
        about(ops, f"{SILENT}-undelivered", order_id)
    confirm(cloud, SILENT, order_id, "2026-03-02T08:00:00Z")
    cloud.shipped(order_id)
    said = ops("dlq", "redrive", f"{SILENT}-undelivered")
    assert (said.code, counts(said)) == (1, {"rejected": 1})
    assert about(ops, f"{SILENT}-failures", order_id)["rejected"]
    assert ops("dlq", "list", f"{SILENT}-undelivered").document == []


def test_a_redrive_whose_function_fails_keeps_the_message(cloud, ops):
    order_id = unapplied(cloud, ops)
    with cloud.without("carrier-acme-confirm", "ships-orders", "dynamodb:UpdateItem"):
        said = ops("dlq", "redrive", "acme-failures")
    assert (said.code, counts(said)) == (1, {"kept": 1})
    assert "dynamodb:UpdateItem" in said.document["messages"][0]["reason"]
    assert counts(ops("dlq", "redrive", "acme-failures")) == {"redriven": 1}
    cloud.shipped(order_id)


def test_a_limit_is_kept_and_all_queues_can_be_redriven_at_once(cloud, ops):
    orders = [untold(cloud, ops) for _ in range(3)]
    assert counts(ops("dlq", "redrive", "acme-dead-letters", "--limit", 2)) == {"redriven": 2}
    assert len(ops("dlq", "list", "acme-dead-letters").document) == 1
    assert counts(ops("dlq", "redrive", "--all")) == {"redriven": 1}
    for order_id in orders:
        cloud.shipped(order_id)


def test_an_order_that_shipped_meanwhile_is_discarded(cloud, ops):
    order_id = untold(cloud, ops)
    confirm(cloud, "acme", order_id)
    cloud.shipped(order_id)
    said = ops("dlq", "redrive", "acme-dead-letters")
    assert (said.code, counts(said)) == (0, {"discarded": 1})


# --- the rest


def test_all_that_was_deployed_and_needs_an_operator_is_exported(cloud):
    def names(type_):
        return {known["name"] for known in cloud.resources(type_, "name").values()}

    exports = cloud.outputs
    queues = {queue["url"].rpartition("/")[2] for queue in exports["deadLetters"].values()}
    functions = {group.removeprefix("/aws/lambda/") for group in exports["logGroups"]}
    assert queues == names("aws:sqs/queue:Queue")
    assert functions == names("aws:lambda/function:Function")
    assert {q["redriveWith"] for q in exports["deadLetters"].values()} | {exports["reconcileFunction"]} < functions
    rules = {rule for carrier in exports["carriers"].values() for rule in carrier["rules"]}
    assert rules == names("aws:cloudwatch/eventRule:EventRule")
    assert set(exports["alarms"]) == names("aws:cloudwatch/metricAlarm:MetricAlarm")
    assert {exports["pipeName"]} == names("aws-native:pipes:Pipe")
    assert all((queues, functions, rules, exports["alarms"]))


def test_a_stack_that_is_well_has_nothing_to_do_and_shows_all_of_it(cloud, ops):
    said = ops("status")
    assert (said.code, said.document["to_do"], said.document["unreadable"]) == (0, [], {})
    assert said.document["pipe"] == {"state": "RUNNING", "reason": ""}
    assert set(said.document["rules"].values()) == {"ENABLED"}
    assert said.document["queues"].keys() == cloud.outputs["deadLetters"].keys()
    assert said.document["alarms"] == []


def test_orders_that_wait_are_counted_and_those_past_their_time_are_to_do(cloud, ops):
    before = ops("status").document["orders"]
    order_id = cloud.client().place(carrier=SILENT)
    assert ops("status").document["orders"] == {**before, "pending": before["pending"] + 1}
    confirm(cloud, SILENT, order_id)
    cloud.shipped(order_id)
    assert ops("status").document["orders"] == before


def test_a_rule_that_somebody_has_switched_off_is_to_do(cloud, ops):
    rule, bus = f"{NAME}carrier-{SILENT}-confirm", cloud.outputs["busName"]
    cloud.aws("events").disable_rule(Name=rule, EventBusName=bus)
    try:
        said = ops("status")
    finally:
        cloud.aws("events").enable_rule(Name=rule, EventBusName=bus)
    assert (said.code, said.document["to_do"]) == (1, [f"rule {rule} is DISABLED"])


def test_an_orders_life_has_its_times_in_order(cloud, ops):
    order_id = cloud.client().place(carrier="acme")
    cloud.shipped(order_id)

    def life():
        lines = ops("order", order_id).document["log"]
        return lines if "Order shipped" in [line["message"] for line in lines] else None

    lines = until(life, "the last log line")
    assert [line["message"] for line in lines] == ["Order placed", "Confirmation sent", "Order shipped"]
    assert [line["service"] for line in lines] == [
        f"{NAME}{role}" for role in ("orders-api", "carrier-acme-mock", "carrier-acme-confirm")
    ]
    assert lines == sorted(lines, key=lambda line: line["at"])


def test_the_articles_session_passes(cloud, ops):
    said = ops("smoke")
    assert (said.code, said.document["passed"]) == (0, True), said.document
    assert len(said.document["steps"]) == 6
    order_id = said.document["steps"][0]["seen"].split()[1]
    assert cloud.item(order_id)["state"] == {"S": "shipped"}


def test_a_session_whose_order_is_not_shipped_fails_within_its_time(cloud, ops):
    started = time.monotonic()
    said = ops("smoke", "--carrier", SILENT, "--within", 1)
    assert time.monotonic() - started < 30
    failed = [step["what"] for step in said.document["steps"] if not step["passed"]]
    assert (said.code, said.document["passed"], failed) == (1, False, ["it is shipped"])


def test_a_session_of_who_may_not_place_orders_ends_at_once(cloud, ops):
    said = ops("smoke", "--client-role", f"arn:aws:iam::{ACCOUNT}:role/nobody")
    assert said.code == 1
    assert [(step["what"], step["passed"]) for step in said.document["steps"]] == [("an order is taken", False)]


def test_for_people_there_is_a_line_of_each(cloud, ops):
    order_id = untold(cloud, ops)
    said = command("dlq", "list", "acme-dead-letters", "--state", cloud.state)
    [line] = said.out.splitlines()
    assert order_id in line
    assert "acme-dead-letters" in command("dlq", "list", "--state", cloud.state).out
    assert json.loads(command("dlq", "show", "acme-dead-letters", "--state", cloud.state).out)["order_id"] == order_id
    lines = command("status", "--state", cloud.state).out.splitlines()
    assert "to do: queue acme-dead-letters holds 1" in lines
    lines = command("order", order_id, "--state", cloud.state).out.splitlines()
    assert [order_id in line for line in (lines[0], lines[-1])] == [True, True]
    dry = command("dlq", "redrive", "--all", "--dry-run", "--state", cloud.state).out.splitlines()
    assert dry[-1] == "1 would be redriven, 0 would be rejected, 0 would be discarded, 0 would be kept"
    assert command("smoke", "--state", cloud.state).out.count("ok ") == 6


# --- who may


def test_no_credential_is_ever_printed(cloud, ops):
    order_id = untold(cloud, ops)
    secrets = json.loads((cloud.state / "secrets.json").read_text()).values()
    issued = cloud.client().credentials
    said = [
        command(*arguments, "--state", cloud.state, *mode)
        for mode in ([], ["--json"])
        for arguments in (
            ["status"],
            ["dlq", "list"],
            ["dlq", "show", "acme-dead-letters"],
            ["order", order_id],
            ["smoke"],
            ["dlq", "redrive", "--all"],
        )
    ]
    printed = "".join(one.out + one.err for one in said)
    assert order_id in printed
    token = cloud.session.about["token"]
    assert [
        secret for secret in (*secrets, token, issued.secret_key, "X-Amz-Security-Token") if secret in printed
    ] == []


@pytest.fixture
def elsewhere(cloud, tmp_path, monkeypatch):
    """The same deployment as a stack on AWS: its exports in a file, and AWS where boto3 finds it."""
    file = tmp_path / "outputs.json"
    file.write_text(json.dumps(cloud.outputs))
    for name in ("AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ENDPOINT_URL", cloud.session.about["ministack"]["url"])
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")

    def run(*arguments):
        return command(*arguments, "--stack", "dev", "--outputs", file, "--json")

    run.file = file
    return run


def test_a_stack_on_aws_is_operated_with_the_credentials_at_hand(cloud, ops, elsewhere):
    order_id = untold(cloud, ops)
    assert counts(elsewhere("dlq", "redrive", "acme-dead-letters")) == {"redriven": 1}
    cloud.shipped(order_id)
    assert elsewhere("order", order_id).document["order"]["state"] == "shipped"


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("AWS_REGION", "us-east-1", "stack dev is in eu-west-1, your settings say us-east-1"),
        ("AWS_ACCESS_KEY_ID", "111122223333", f"stack dev is in account {ACCOUNT}, your credentials are of account"),
    ],
)
def test_the_wrong_account_or_region_is_refused(cloud, ops, elsewhere, monkeypatch, variable, value, said):
    order_id = untold(cloud, ops)
    if variable == "AWS_REGION":
        variable = "AWS_DEFAULT_REGION"
    monkeypatch.setenv(variable, value)
    for arguments in (["dlq", "redrive", "--all"], ["status"], ["smoke"], ["order", order_id]):
        refused = elsewhere(*arguments)
        assert (refused.code, refused.out) == (2, "")
        assert said in refused.err
        assert len(refused.err.splitlines()) == 1
    assert len(ops("dlq", "list", "acme-dead-letters").document) == 1


def arn(service, resource):
    return f"arn:aws:{service}:{REGION}:{ACCOUNT}:{resource}"


# By service, what a call needs and on what, as the service authorization reference has it.
NEEDS = {
    "sqs": lambda call, asked: ("sqs:" + call.removesuffix("Batch"), arn("sqs", asked["QueueUrl"].rpartition("/")[2])),
    "lambda": lambda call, asked: ("lambda:InvokeFunction", arn("lambda", f"function:{asked['FunctionName']}")),
    "dynamodb": lambda call, asked: (
        f"dynamodb:{call}",
        arn(
            "dynamodb", f"table/{asked['TableName']}" + (f"/index/{asked['IndexName']}" if "IndexName" in asked else "")
        ),
    ),
    "dynamodbstreams": lambda call, asked: (
        f"dynamodb:{call}",
        asked.get("StreamArn", arn("dynamodb", f"table/{NAME}orders/stream/2026-03-01T00:00:00.000")),
    ),
    "logs": lambda call, asked: (f"logs:{call}", arn("logs", f"log-group:{asked['logGroupName']}:log-stream:")),
    "events": lambda call, asked: (f"events:{call}", arn("events", f"rule/{asked['EventBusName']}/{asked['Name']}")),
    "cloudwatch": lambda call, asked: (f"cloudwatch:{call}", arn("cloudwatch", "alarm:*")),
    # Everybody may know who they are.
    "sts": lambda call, asked: None,
}


def test_an_operator_needs_what_the_policy_says_and_nothing_else(cloud, ops, monkeypatch):
    """Each call of each command is decided by the printed policy, and each grant of it is used."""
    document = json.loads(command("policy", "--state", cloud.state).out)
    made = boto3.Session.client
    calls = set()

    def recorded(session, service, **options):
        client = made(session, service, **options)

        def note(params, model, **_):
            calls.add(NEEDS[service](model.name, params))

        client.meta.events.register("provide-client-params.*.*", note)
        return client

    with monkeypatch.context() as patched:
        patched.setattr(boto3.Session, "client", recorded)
        for queue in ("acme-undelivered", "pipe"):
            fault, _ = FAULTS[queue]
            ops("order", fault(cloud, ops))
        ops("dlq", "redrive", "--all")
        ops("status")
    log = DecisionLog()
    operator = RoleSession(role_arn=f"arn:aws:iam::{ACCOUNT}:role/operator", session="one")
    policy = identity_policy("operator", json.dumps(document))
    for action, resource in sorted(filter(None, calls)):
        request = Request(principal=operator, action=action, resource=resource, context={})
        assert log.decide(request, identity=[policy], resource=None).allowed, (action, resource)
    # The pipe is asked for at the local cloud itself.
    assert {clause.action for clause in log.unused([policy])} == {"pipes:DescribePipe"}
