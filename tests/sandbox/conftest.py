"""Our program, deployed once onto a local cloud of its own: what the tests of the whole system share."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import boto3
import grpc
import pytest
import yaml
from botocore.config import Config
from botocore.credentials import Credentials
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc

from sandbox import authority, ministack, session
from sandbox.client import Client
from sandbox.jobs import Dispatcher
from sandbox.provider.kind import ACCOUNT
from sandbox.provider.values import write
from sandbox.stack import opened
from tests import graph
from tests.sandbox.queues import Brisk

DEADLINE = 45  # seconds: far more than any of these waits takes
REGION = graph.REGION
NAME = "event-gateway-local-"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/"
FUNCTION = "aws:lambda/function:Function"
GRANT = "aws:iam/rolePolicy:RolePolicy"
PIPE = "aws-native:pipes:Pipe"
# A carrier that nobody is behind: its orders stay pending until a test confirms them in its role.
SILENT = "initech"
CARRIERS = ("acme", "globex", SILENT)
# Lambda's waits of one and two minutes between its tries are 0.6 and 1.2 seconds, the quarter of an hour between two
# sweeps is 9.
_TIME_FACTOR = 0.01


def until(happened, what):
    """What `happened` returns, once that is something."""
    given_up = time.monotonic() + DEADLINE
    while not (result := happened()):
        assert time.monotonic() < given_up, f"waited {DEADLINE} s for this: {what}"
        time.sleep(0.02)
    return result


def settings(file):
    """The tracked settings of the local stack, with a second client and the silent carrier, and nothing that waits."""
    document = yaml.safe_load((graph.ROOT / "Pulumi.local.yaml").read_text())
    config = document["config"]
    config["event-gateway:clients"].append("role/another-client")
    config["event-gateway:throttle"] = {"rate": 10_000, "burst": 5000}
    # As many as two cores can run functions for: each that runs at once takes a process, and a second to start it.
    for carrier in config["event-gateway:carriers"]:
        carrier["rateLimit"] = 20
    config["event-gateway:carriers"].append(
        {
            "name": SILENT,
            "auth": "apiKey",
            "keyName": "x-api-key",
            "endpoint": "https://127.0.0.1:9",
            "principal": f"role/{SILENT}",
        }
    )
    file.write_text(yaml.safe_dump(document))
    return file


class Deployed:
    """A local cloud with our program on it, from outside: its API, what its services keep, and its deployment."""

    def __init__(self, state, running, settings, outputs):
        self.state = state
        self.session = running
        self.outputs = outputs
        self.settings = settings
        self.program = graph.ROOT
        """What was deployed last."""
        self._letters = defaultdict(list)
        self._events = []
        self._clients = {}
        self._watch_the_bus()

    # --- who calls the API

    def client(self, name="orders-client"):
        """Somebody whom the settings name by a role."""
        keys = self.session.ask("credentials", principal=f"{ROLE}{name}")
        return self.signing(Credentials(keys["access_key_id"], keys["secret"], keys["token"]))

    def carrier(self, name):
        """A carrier: in its own role, or in the one of the function that plays it."""
        if name == SILENT:
            return self.client(SILENT)
        function = f"{NAME}carrier-{name}-mock"
        arn = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{function}"
        key_id, key = authority._key({"arn": arn, "role": f"{ROLE}{function}", "name": function})
        return self.signing(Credentials(key_id, key.secret, key.session_token))

    def signing(self, credentials):
        return Client(url=self.outputs["apiUrl"], region=REGION, credentials=credentials)

    # --- who operates it

    def reconcile(self, **request):
        """What the function that reconciles answers to an operator."""
        answer = self.aws("lambda").invoke(FunctionName=f"{NAME}reconcile", Payload=json.dumps(request).encode())
        result = json.loads(answer["Payload"].read())
        assert "FunctionError" not in answer, result
        return result

    def sweep(self):
        """Let the function sweep now, whatever comes of it."""
        self.aws("lambda").invoke(FunctionName=f"{NAME}reconcile", Payload=json.dumps({"action": "sweep"}).encode())

    def overdue(self, order_id, *, reemissions=None):
        """Let a pending order have waited for longer than any carrier has, after so many re-emissions."""
        since = datetime.now(UTC) - timedelta(days=30)
        count = "" if reemissions is None else ", reemissions = :count"
        self.aws("dynamodb").update_item(
            TableName=self.outputs["tableName"],
            Key={"PK": {"S": order_id}},
            UpdateExpression=f"SET pending_since = :since{count}",
            ConditionExpression="attribute_exists(pending_since)",
            ExpressionAttributeValues={
                ":since": {"S": f"{since:%Y-%m-%dT%H:%M:%S.%f}Z"},
                **({} if reemissions is None else {":count": {"N": str(reemissions)}}),
            },
        )

    # --- what the services keep

    def aws(self, service):
        """A client that may do everything: MiniStack's root."""
        if service not in self._clients:
            self._clients[service] = boto3.Session("test", "test", region_name=REGION).client(
                service, endpoint_url=self.session.about["ministack"]["url"], config=Config(proxies={})
            )
        return self._clients[service]

    def item(self, order_id):
        """The order as it is in the table, or None."""
        found = self.aws("dynamodb").get_item(TableName=self.outputs["tableName"], Key={"PK": {"S": order_id}})
        return found.get("Item")

    def orders(self):
        """Every order's state, by id."""
        pages = self.aws("dynamodb").get_paginator("scan").paginate(TableName=self.outputs["tableName"])
        return {item["PK"]["S"]: item["state"]["S"] for page in pages for item in page["Items"]}

    def shipped(self, order_id):
        """The order in the table, once it has been shipped."""
        return until(
            lambda: (item := self.item(order_id)) and item["state"] == {"S": "shipped"} and item,
            f"order {order_id} is shipped",
        )

    def letters(self, queue):
        """Every message that has come into a queue so far, as (body, attributes)."""
        sqs = self.aws("sqs")
        url = f"{self.session.about['ministack']['url']}/{ACCOUNT}/{NAME}{queue}"
        while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["All"]).get(
            "Messages"
        ):
            for message in messages:
                attributes = {
                    name: value["StringValue"] for name, value in message.get("MessageAttributes", {}).items()
                }
                self._letters[queue].append((json.loads(message["Body"]), attributes))
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return self._letters[queue]

    def letters_about(self, queue, order_id):
        """Those of the messages that name an order; at least one has to come."""
        return until(
            lambda: [letter for letter in self.letters(queue) if order_id in json.dumps(letter[0])],
            f"a message about {order_id} in {queue}",
        )

    def events(self, order_id):
        """The events on the bus that name an order so far, as (source, detail-type)."""
        self._events += [body for body, _ in self.letters("witness")[len(self._events) :]]
        found = [event for event in self._events if order_id in json.dumps(event["detail"])]
        return [(event["source"], event["detail-type"]) for event in found]

    def lines(self, function, order_id):
        """What a function has logged about an order."""
        records = [json.loads(message) for message in self.messages(function) if order_id in message]
        return [record for record in records if record.get("order_id") == order_id]

    def messages(self, function):
        """Every line in a function's log, with those that Lambda writes."""
        pages = (
            self.aws("logs").get_paginator("filter_log_events").paginate(logGroupName=f"/aws/lambda/{NAME}{function}")
        )
        return [event["message"] for page in pages for event in page["events"]]

    def runs(self, function):
        """How often a function has run so far."""
        return sum(message.startswith("REPORT ") for message in self.messages(function))

    def _watch_the_bus(self):
        sqs, events, bus = self.aws("sqs"), self.aws("events"), self.outputs["busName"]
        url = sqs.create_queue(QueueName=f"{NAME}witness")["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        events.put_rule(Name="witness", EventBusName=bus, EventPattern=json.dumps({"account": [ACCOUNT]}))
        events.put_targets(Rule="witness", EventBusName=bus, Targets=[{"Id": "witness", "Arn": arn}])

    # --- what is deployed, and what was decided about it

    @contextmanager
    def opened(self, program=None):
        """The engine on this deployment, without the policies."""
        with opened(
            "local",
            program=program or self.program,
            settings=self.settings,
            state=self.state,
            pack=None,
            providers=self.session,
        ) as stack:
            yield stack

    def decisions(self):
        return self.session.ask("decisions")

    def denied(self):
        return self.decisions()["denied"]

    def resources(self, type_, *properties):
        return self.session.ask("resources", type=type_, properties=list(properties))

    def grants(self):
        """Every policy of a role, by (role, ability), each with its id."""
        return {
            (known["role"].removeprefix(NAME), known["name"]): (id_, known)
            for id_, known in self.resources(GRANT, "name", "role", "policy").items()
        }

    def change(self, type_, id_, old, new):
        """Change one resource as the engine would, without an engine."""
        package = type_.partition(":")[0]
        port = dict(one.split(":") for one in self.session.attach.split(","))[package]
        with grpc.insecure_channel(f"127.0.0.1:{port}", [("grpc.use_local_subchannel_pool", 1)]) as channel:
            provider = provider_pb2_grpc.ResourceProviderStub(channel)
            provider.Configure(provider_pb2.ConfigureRequest(args=write({"region": REGION})))
            provider.Update(provider_pb2.UpdateRequest(type=type_, id=id_, olds=write(old), news=write(new)))

    @contextmanager
    def without(self, role, ability, action):
        """While a role lacks one action that it is granted."""
        id_, known = self.grants()[role, ability]
        document = json.loads(known["policy"])
        [statement] = document["Statement"]
        granted = statement["Action"]
        assert action in granted
        statement["Action"] = [name for name in granted if name != action]
        if not statement["Action"]:
            document["Statement"] = []
        changed = {**known, "policy": json.dumps(document)}
        self.change(GRANT, id_, known, changed)
        try:
            yield
        finally:
            self.change(GRANT, id_, changed, known)

    @contextmanager
    def pipe(self, **stream_parameters):
        """While the pipe, started anew, has other parameters for its source."""
        names = ("name", "arn", "roleArn", "source", "sourceParameters", "target", "targetParameters", "desiredState")
        [(id_, known)] = self.resources(PIPE, *names).items()
        source = known["sourceParameters"]
        stream = {**source["dynamoDbStreamParameters"], **stream_parameters}
        changed = {**known, "sourceParameters": {**source, "dynamoDbStreamParameters": stream}}
        self.change(PIPE, id_, known, changed)
        try:
            yield
        finally:
            self.change(PIPE, id_, changed, known)


@pytest.fixture(scope="module")
def running():
    """A MiniStack of its own for a file's tests."""
    with ministack.start() as started:
        yield started


@pytest.fixture
def dispatcher_on(tmp_path):
    """Makes a dispatcher on the queues of a client, always with the same state."""
    return lambda sqs: Dispatcher(Brisk(sqs), state=tmp_path)


@pytest.fixture(scope="session")
def cloud(tmp_path_factory, _at_the_root):
    """Our program on a cloud that ends with the tests."""
    state = tmp_path_factory.mktemp("cloud") / "state"
    configured = settings(tmp_path_factory.mktemp("settings") / "Pulumi.local.yaml")
    running = session.start(state, region=REGION, time_factor=_TIME_FACTOR)
    try:
        # Under the pack, as `make up` does: what AWS makes of the inputs is known here and nowhere else.
        with opened("local", program=graph.ROOT, settings=configured, state=state, providers=running) as stack:
            run = stack.up("--skip-preview")
            assert run.code == 0, run.output
            outputs = stack.outputs()
        # As `up` leaves it for the other commands.
        (state / "outputs.json").write_text(json.dumps(outputs))
        (state / "instance").write_text(running.instance)
        yield Deployed(state, running, configured, outputs)
    finally:
        running.stop()
    # What the workers could not explain to themselves is here.
    assert "mistake of the sandbox" not in Path(state / "cloud.log").read_text(errors="replace")
