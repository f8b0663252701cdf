"""The AWS APIs of the local cloud: SDKs reach MiniStack through them, as far as the deployed documents allow."""

from __future__ import annotations

import io
import json
import zipfile
from datetime import UTC, datetime, timedelta
from functools import cache, cached_property, partial

import boto3
import botocore.auth
import botocore.session
import pytest
import urllib3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from sandbox import ministack
from sandbox.authority import Authority
from sandbox.clock import CloudClock
from sandbox.faults import Fault, Faults, Kind
from sandbox.front import front
from sandbox.iam import DecisionLog, RoleSession, User
from sandbox.provider.kind import Place
from sandbox.serving import served
from tests.sandbox.deployed import (
    ACCOUNT,
    API,
    LAMBDA,
    NAME,
    PIPE,
    REGION,
    apis,
    arn,
    deploy,
    grant,
    granted,
    role,
    without,
)

PLACE = Place(region=REGION, account=ACCOUNT)
# Reads the services' models, which are large, once.
LOADER = botocore.session.Session().get_component("data_loader")
CONFIG = Config(proxies={}, retries={"total_max_attempts": 1})
TABLE = f"{NAME}orders"
BUS = f"{NAME}orders"
FUNCTION = f"{NAME}orders-api"
ONE = {"PK": {"S": "1"}}

# Tells who it is, and reads an order.
HANDLER = """
import os, boto3

def handler(event, context):
    if event.get("fails"):
        raise RuntimeError("as told")
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
    if event.get("keys"):
        return [os.environ[name] for name in names]
    return boto3.client("dynamodb").get_item(TableName=event["table"], Key={"PK": {"S": "1"}})["Item"]
"""


ROLE_POLICY = {"Version": "2012-10-17", "Statement": []}


class Cloud:
    """MiniStack with the program's table, queues, bus and one function, behind a front with the program's documents."""

    def __init__(self, running, url, registry, authority, *, faults, clock):
        self.ministack, self.url, self.registry, self.authority = running, url, registry, authority
        self.faults, self.clock = faults, clock
        session = boto3.Session(ACCOUNT, "test", region_name=REGION)
        self.root = cache(partial(session.client, endpoint_url=running.endpoint_url, config=CONFIG))
        self.root("dynamodb").create_table(
            TableName=TABLE,
            BillingMode="PAY_PER_REQUEST",
            KeySchema=[{"AttributeName": "PK", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "PK", "AttributeType": "S"}],
            StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"},
        )
        self.root("dynamodb").put_item(TableName=TABLE, Item=ONE)
        self.queues = {
            name: self.root("sqs").create_queue(QueueName=f"{NAME}{name}")["QueueUrl"]
            for name in ("orders-pipe-dead-letters", "carrier-acme-failures", "carrier-acme-undelivered")
        }
        self.root("events").create_event_bus(Name=BUS)
        # MiniStack refuses a function whose role it doesn't know.
        self.root("iam").create_role(RoleName=FUNCTION, AssumeRolePolicyDocument=json.dumps(ROLE_POLICY))
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as zipped:
            zipped.writestr("index.py", HANDLER)
        self.root("lambda").create_function(
            FunctionName=FUNCTION,
            Role=role("orders-api"),
            Runtime="python3.13",
            Handler="index.handler",
            Code={"ZipFile": archive.getvalue()},
            Timeout=10,
            Environment={"Variables": {"AWS_ENDPOINT_URL": url}},
        )

    @cache  # noqa: B019 - there is one cloud, and it takes long to make a client
    def of(self, name, by=LAMBDA):
        """Makes clients in a deployed role."""
        session = self.authority.session(role(name), by=by, session="test", region=REGION)
        return cache(partial(session.client, endpoint_url=self.url, config=CONFIG))

    def with_keys(self, key, secret, token, region=REGION):
        """Makes clients with these credentials."""
        inner = botocore.session.Session()
        inner.register_component("data_loader", LOADER)
        session = boto3.Session(key, secret, token, region_name=region, botocore_session=inner)
        return partial(session.client, endpoint_url=self.url, config=CONFIG)

    def as_(self, credentials):
        return self.with_keys(credentials.access_key_id, credentials.secret, credentials.token)

    @cached_property
    def stream(self):
        return self.root("dynamodb").describe_table(TableName=TABLE)["Table"]["LatestStreamArn"]

    @cached_property
    def shard(self):
        described = self.root("dynamodbstreams").describe_stream(StreamArn=self.stream)
        return described["StreamDescription"]["Shards"][0]["ShardId"]

    def iterator(self, client):
        start = {"StreamArn": self.stream, "ShardId": self.shard, "ShardIteratorType": "TRIM_HORIZON"}
        return client("dynamodbstreams").get_shard_iterator(**start)["ShardIterator"]

    @cached_property
    def kept_iterator(self):
        return self.iterator(self.of("orders-pipe", PIPE))

    def count(self, queue):
        answer = self.root("sqs").get_queue_attributes(
            QueueUrl=self.queues[queue], AttributeNames=["ApproximateNumberOfMessages"]
        )
        return int(answer["Attributes"]["ApproximateNumberOfMessages"])

    def entries(self):
        return self.authority._log.entries()


@pytest.fixture(scope="module")
def cloud(programs):
    registry = deploy(programs["local"])
    authority = Authority(registry, DecisionLog(), apis=apis(registry))
    more = {"faults": Faults(), "clock": CloudClock()}
    with (
        ministack.start(region=REGION, environment={"AUTH": "true"}) as running,
        served(front(authority, ministack=running.endpoint_url, place=PLACE, **more)) as url,
    ):
        yield Cloud(running, url, registry, authority, **more)


@pytest.fixture
def client(cloud):
    """Somebody whose key is good and who may do nothing."""
    return cloud.authority.issue(RoleSession(role_arn=f"arn:aws:iam::{ACCOUNT}:role/orders-client", session="test"))


def event(source="carrier", detail_type="carrier.order_shipped", **more):
    return {"Source": source, "DetailType": detail_type, "Detail": "{}", "EventBusName": BUS, **more}


def put(client, *entries):
    return client("events").put_events(Entries=list(entries))


# --- what the program does, each with the one grant that lets it ------------------------------------------------------

CALLS = {
    "GetItem": ("orders-api", LAMBDA, "reads-orders", "dynamodb:GetItem", arn("dynamodb", f"table/{TABLE}")),
    "PutItem": ("orders-api", LAMBDA, "creates-orders", "dynamodb:PutItem", arn("dynamodb", f"table/{TABLE}")),
    "UpdateItem": (
        "carrier-acme-confirm",
        LAMBDA,
        "ships-orders",
        "dynamodb:UpdateItem",
        arn("dynamodb", f"table/{TABLE}"),
    ),
    "SendMessage": (
        "carrier-acme-confirm",
        LAMBDA,
        "reports-its-failures",
        "sqs:SendMessage",
        arn("sqs", f"{NAME}carrier-acme-failures"),
    ),
    "SendMessageBatch": (
        "orders-pipe",
        PIPE,
        "keeps-dead-letters",
        "sqs:SendMessage",
        arn("sqs", f"{NAME}orders-pipe-dead-letters"),
    ),
    "PutEvents": ("orders-pipe", PIPE, "emits-orders", "events:PutEvents", arn("events", f"event-bus/{BUS}")),
    "PutEvents of one kind": (
        "orders-api-put-events",
        API,
        "emits-confirmations",
        "events:PutEvents",
        arn("events", f"event-bus/{BUS}"),
    ),
    "DescribeStream": ("orders-pipe", PIPE, "reads-the-stream", "dynamodb:DescribeStream", None),
    "GetShardIterator": ("orders-pipe", PIPE, "reads-the-stream", "dynamodb:GetShardIterator", None),
    "GetRecords": ("orders-pipe", PIPE, "reads-the-stream", "dynamodb:GetRecords", None),
}


def call(cloud, name, client):
    """Something that is true, if the call did what it should."""
    shard = {"ShardId": cloud.shard, "StreamArn": cloud.stream}
    failures, dead_letters = cloud.queues["carrier-acme-failures"], cloud.queues["orders-pipe-dead-letters"]
    calls = {
        "GetItem": lambda: client("dynamodb").get_item(TableName=TABLE, Key=ONE, ConsistentRead=True)["Item"] == ONE,
        "PutItem": lambda: client("dynamodb").put_item(TableName=TABLE, Item={"PK": {"S": "2"}}),
        "UpdateItem": lambda: client("dynamodb").update_item(TableName=TABLE, Key={"PK": {"S": "2"}}),
        "SendMessage": lambda: client("sqs").send_message(QueueUrl=failures, MessageBody="x")["MessageId"],
        "SendMessageBatch": lambda: client("sqs").send_message_batch(
            QueueUrl=dead_letters, Entries=[{"Id": "1", "MessageBody": "x"}]
        )["Successful"],
        "PutEvents": lambda: put(client, event())["Entries"][0]["EventId"],
        "PutEvents of one kind": lambda: put(client, event())["Entries"][0]["EventId"],
        "DescribeStream": lambda: client("dynamodbstreams").describe_stream(StreamArn=cloud.stream)[
            "StreamDescription"
        ]["Shards"],
        "GetShardIterator": lambda: client("dynamodbstreams").get_shard_iterator(ShardIteratorType="LATEST", **shard)[
            "ShardIterator"
        ],
        "GetRecords": lambda: client("dynamodbstreams").get_records(ShardIterator=cloud.kept_iterator)["Records"],
    }
    return calls[name]()


@pytest.mark.parametrize("name", CALLS)
def test_each_call_of_the_program_works_and_fails_without_its_grant(cloud, name):
    of, by, ability, action, resource = CALLS[name]
    resource = resource or cloud.stream
    client = cloud.of(of, by)
    assert call(cloud, name, client)
    session = f"arn:aws:sts::{ACCOUNT}:assumed-role/{NAME}{of}/test"
    before = len(cloud.entries())
    with (
        without(cloud.registry, "aws:iam/rolePolicy:RolePolicy", grant(ability, of)),
        pytest.raises(ClientError) as error,
    ):
        call(cloud, name, client)
    assert error.value.response["Error"]["Code"] == (
        "AccessDenied" if action.startswith("sqs:") else "AccessDeniedException"
    )
    assert f"User: {session} is not authorized to perform: {action} on resource: {resource}" in str(error.value)
    assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == (403 if action.startswith("sqs:") else 400)
    [entry] = cloud.entries()[before:]
    assert (entry.who, entry.action, entry.resource, entry.allowed) == (session, action, resource, False)
    assert call(cloud, name, client)
    assert [(clause.document, clause.action) for clause in cloud.entries()[-1].clauses] == [
        (f"{ability} of role {NAME}{of}", action)
    ]


@pytest.mark.parametrize(
    ("name", "of", "by"),
    [
        ("GetItem", "carrier-acme-confirm", LAMBDA),
        ("PutItem", "carrier-acme-confirm", LAMBDA),
        ("UpdateItem", "orders-api", LAMBDA),
        ("SendMessage", "orders-api", LAMBDA),
        ("PutEvents", "orders-api", LAMBDA),
        ("GetRecords", "orders-api", LAMBDA),
    ],
)
def test_what_one_role_may_another_may_not(cloud, name, of, by):
    assert cloud.kept_iterator
    with pytest.raises(ClientError, match="not authorized"):
        call(cloud, name, cloud.of(of, by))


def test_a_queue_refuses_whom_it_does_not_know_whatever_they_may(cloud):
    anything = {"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": "*"}
    with granted(cloud.registry, "orders-api", anything), pytest.raises(ClientError, match="OneSenderOnly of policy"):
        call(cloud, "SendMessage", cloud.of("orders-api"))


def test_an_index_is_a_resource_of_its_own(cloud):
    client = cloud.of("orders-api")("dynamodb")
    with pytest.raises(
        ClientError, match=rf"dynamodb:Query on resource: {arn('dynamodb', f'table/{TABLE}')}/index/pending "
    ):
        client.query(TableName=TABLE, IndexName="pending", KeyConditionExpression="pending_shard = :s")
    with pytest.raises(ClientError, match=rf"dynamodb:Scan on resource: {arn('dynamodb', f'table/{TABLE}')} "):
        client.scan(TableName=TABLE)


def test_streams_are_listed_by_whom_may_list_all(cloud):
    """ListStreams supports no resources, says the service authorization reference: a grant on one stream is none."""
    with pytest.raises(ClientError, match=r"dynamodb:ListStreams on resource: \* "):
        cloud.of("orders-pipe", PIPE)("dynamodbstreams").list_streams(TableName=TABLE)
    everything = {"Effect": "Allow", "Action": "dynamodb:ListStreams", "Resource": "*"}
    with granted(cloud.registry, "orders-pipe", everything):
        listed = cloud.of("orders-pipe", PIPE)("dynamodbstreams").list_streams(TableName=TABLE)
    assert [stream["StreamArn"] for stream in listed["Streams"]] == [cloud.stream]


def test_a_stream_can_be_read_from_record_to_record(cloud):
    client = cloud.of("orders-pipe", PIPE)
    iterator = cloud.iterator(client)
    first = client("dynamodbstreams").get_records(ShardIterator=iterator, Limit=1)
    assert [record["dynamodb"]["Keys"] for record in first["Records"]] == [ONE]
    cloud.root("dynamodb").put_item(TableName=TABLE, Item={"PK": {"S": "later"}})
    rest = client("dynamodbstreams").get_records(ShardIterator=first["NextShardIterator"])
    assert {"PK": {"S": "later"}} in [record["dynamodb"]["Keys"] for record in rest["Records"]]


def test_an_iterator_that_was_not_given_here_reads_nothing(cloud):
    """It holds no right: what it is an iterator of can't be told."""
    foreign = cloud.iterator(cloud.root)
    with pytest.raises(ClientError) as error:
        cloud.of("orders-pipe", PIPE)("dynamodbstreams").get_records(ShardIterator=foreign)
    assert error.value.response["Error"]["Code"] == "ExpiredIteratorException"


# --- events -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def received(cloud):
    """The events that came through the bus, in the order of their detail's `n`."""
    queue = "carrier-acme-undelivered"
    events, sqs = cloud.root("events"), cloud.root("sqs")
    events.put_rule(Name="all", EventBusName=BUS, EventPattern=json.dumps({"account": [ACCOUNT]}))
    target = {"Id": "q", "Arn": arn("sqs", f"{NAME}{queue}")}
    events.put_targets(Rule="all", EventBusName=BUS, Targets=[target])

    def read():
        answer = sqs.receive_message(QueueUrl=cloud.queues[queue], MaxNumberOfMessages=10)
        found = [json.loads(message["Body"]) for message in answer.get("Messages", [])]
        return sorted(found, key=lambda one: one["detail"].get("n", 0))

    yield read
    events.remove_targets(Rule="all", EventBusName=BUS, Ids=["q"])
    events.delete_rule(Name="all", EventBusName=BUS)
    sqs.purge_queue(QueueUrl=cloud.queues[queue])


def test_events_arrive_as_they_were_sent(cloud, received):
    detail = {"n": 1, "text": 'it\'s "ü" 🚚 \\ </x>', "deep": [{"a": None}]}
    sent = put(cloud.of("orders-pipe", PIPE), event(Detail=json.dumps(detail), Resources=["arn:x"]))
    [arrived] = received()
    assert (arrived["id"], arrived["detail"], arrived["resources"]) == (
        sent["Entries"][0]["EventId"],
        detail,
        ["arn:x"],
    )
    assert (arrived["source"], arrived["detail-type"], arrived["account"]) == (
        "carrier",
        "carrier.order_shipped",
        ACCOUNT,
    )


def test_entries_are_refused_one_by_one_and_answered_in_order(cloud, received):
    entries = [event(Detail='{"n": 1}'), event(Detail="no object"), event(Detail='{"n": 3}')]
    answer = put(cloud.of("orders-pipe", PIPE), *entries)
    assert answer["FailedEntryCount"] == 1
    assert [entry.get("ErrorCode") for entry in answer["Entries"]] == [None, "MalformedDetail", None]
    arrived = received()
    assert [one["detail"]["n"] for one in arrived] == [1, 3]
    assert [one["id"] for one in arrived] == [answer["Entries"][0]["EventId"], answer["Entries"][2]["EventId"]]


def test_the_bus_may_be_given_by_its_arn(cloud, received):
    put(cloud.of("orders-pipe", PIPE), event(EventBusName=arn("events", f"event-bus/{BUS}")))
    assert len(received()) == 1


@pytest.mark.parametrize("forged", [{"source": "dynamodb.orders"}, {"detail_type": "other"}, {"source": ""}])
def test_who_may_send_one_kind_of_event_sends_no_other_and_nothing_beside_it(cloud, received, forged):
    client = cloud.of("orders-api-put-events", API)
    with pytest.raises(ClientError) as error:
        put(client, event(), event(**forged))
    assert error.value.response["Error"]["Code"] == "AccessDeniedException"
    assert f"events:PutEvents on resource: {arn('events', f'event-bus/{BUS}')}" in str(error.value)
    assert received() == []
    put(client, event())
    assert len(received()) == 1


def test_each_entry_is_decided_for_its_own_bus(cloud, received):
    with pytest.raises(ClientError, match=rf"on resource: {arn('events', 'event-bus/default')} "):
        put(cloud.of("orders-pipe", PIPE), event(), {**event(), "EventBusName": "default"})
    without_bus = event()
    del without_bus["EventBusName"]
    with pytest.raises(ClientError, match=rf"on resource: {arn('events', 'event-bus/default')} "):
        put(cloud.of("orders-pipe", PIPE), without_bus)
    assert received() == []


def test_a_bus_that_is_not_there_takes_events_and_loses_them(cloud):
    anywhere = {"Effect": "Allow", "Action": "events:PutEvents", "Resource": "*"}
    with granted(cloud.registry, "orders-api", anywhere):
        answer = put(cloud.of("orders-api"), event(EventBusName="nowhere"))
    assert answer["FailedEntryCount"] == 0
    assert answer["Entries"][0]["EventId"]


def test_a_request_that_is_too_large_is_refused_as_a_whole(cloud):
    with pytest.raises(ClientError) as error:
        put(cloud.of("orders-pipe", PIPE), event(Detail=json.dumps({"text": "x" * 1024 * 1024})))
    assert error.value.response["Error"]["Code"] == "ValidationException"


# --- functions --------------------------------------------------------------------------------------------------------

MAY_INVOKE = {"Effect": "Allow", "Action": "lambda:InvokeFunction", "Resource": arn("lambda", f"function:{FUNCTION}")}


def invoke(client, payload, function=FUNCTION, **more):
    answer = client("lambda").invoke(FunctionName=function, Payload=json.dumps(payload), **more)
    return answer, json.loads(answer["Payload"].read())


def test_a_function_has_the_keys_by_which_it_is_known_here(cloud):
    """They are MiniStack's to make: this fails when another version of it makes others."""
    _, (key, secret, token) = invoke(cloud.root, {"keys": True})
    known = cloud.authority.keys(key)
    assert (known.secret, known.session_token) == (secret, token)
    assert known.identity == RoleSession(role_arn=role("orders-api"), session=FUNCTION)


def test_a_function_acts_in_its_role(cloud):
    """Through here and back through here, as when the API invokes it."""
    with granted(cloud.registry, "carrier-acme-mock", MAY_INVOKE):
        client = cloud.of("carrier-acme-mock")
        _, item = invoke(client, {"table": TABLE})
        assert item == ONE
        entry = cloud.entries()[-1]
        assert entry.who == f"arn:aws:sts::{ACCOUNT}:assumed-role/{FUNCTION}/{FUNCTION}"
        assert (entry.action, entry.allowed) == ("dynamodb:GetItem", True)
        with without(cloud.registry, "aws:iam/rolePolicy:RolePolicy", grant("reads-orders", "orders-api")):
            answer, failure = invoke(client, {"table": TABLE})
    assert answer["FunctionError"] == "Unhandled"
    assert f"dynamodb:GetItem on resource: {arn('dynamodb', f'table/{TABLE}')}" in failure["errorMessage"]


def test_who_may_not_invoke_does_not(cloud):
    with pytest.raises(ClientError) as error:
        invoke(cloud.of("carrier-acme-mock"), {"keys": True})
    assert error.value.response["Error"]["Code"] == "AccessDeniedException"
    assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
    assert f"lambda:InvokeFunction on resource: {arn('lambda', f'function:{FUNCTION}')}" in str(error.value)


def test_a_function_may_be_given_by_its_arn_and_only_as_the_latest(cloud):
    with granted(cloud.registry, "carrier-acme-mock", MAY_INVOKE):
        client = cloud.of("carrier-acme-mock")
        answer, _ = invoke(client, {"fails": True}, arn("lambda", f"function:{FUNCTION}"))
        assert answer["FunctionError"] == "Unhandled"
        answer = client("lambda").invoke(FunctionName=FUNCTION, InvocationType="DryRun")
        assert answer["StatusCode"] == 204
        for other in ({"function": f"{FUNCTION}:1"}, {"Qualifier": "live"}):
            with pytest.raises(ClientError, match=r"not serve|not a name"):
                invoke(client, {}, **other)


# --- who it is --------------------------------------------------------------------------------------------------------


def test_everybody_may_know_who_they_are(cloud, client):
    assert cloud.as_(client)("sts").get_caller_identity()["Arn"] == (
        f"arn:aws:sts::{ACCOUNT}:assumed-role/orders-client/test"
    )
    user = cloud.authority.issue(User(arn=f"arn:aws:iam::{ACCOUNT}:user/someone"))
    identity = cloud.as_(user)("sts").get_caller_identity()
    assert (identity["Account"], identity["Arn"], identity["UserId"]) == (
        ACCOUNT,
        f"arn:aws:iam::{ACCOUNT}:user/someone",
        "someone",
    )


def ask(client, service):
    if service == "dynamodb":
        return client("dynamodb").get_item(TableName=TABLE, Key=ONE)
    if service == "events":
        return client("events").put_events(Entries=[event()])
    if service == "lambda":
        return client("lambda").invoke(FunctionName=FUNCTION)
    if service == "sqs":
        return client("sqs").receive_message(QueueUrl=f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/{NAME}orders")
    return client("sts").get_caller_identity()


REFUSED = {
    "wrong secret": ("InvalidSignatureException", "SignatureDoesNotMatch"),
    "unknown key": ("UnrecognizedClientException", "InvalidClientTokenId"),
    "wrong token": ("UnrecognizedClientException", "InvalidClientTokenId"),
    "expired": ("ExpiredTokenException", "ExpiredToken"),
    "another region": ("InvalidSignatureException", "SignatureDoesNotMatch"),
}


@pytest.mark.parametrize("service", ["dynamodb", "events", "lambda", "sqs", "sts"])
@pytest.mark.parametrize("case", REFUSED)
def test_who_can_not_prove_who_they_are_is_refused(cloud, client, case, service):
    region = "us-east-1" if case == "another region" else REGION
    if case == "expired":
        who = RoleSession(role_arn=f"arn:aws:iam::{ACCOUNT}:role/orders-client", session="test")
        client = cloud.authority.issue(who, lifetime=timedelta(seconds=-1))
    make = cloud.with_keys(
        "ASIA0000000000000000" if case == "unknown key" else client.access_key_id,
        f"{client.secret}x" if case == "wrong secret" else client.secret,
        f"{client.token}x" if case == "wrong token" else client.token,
        region,
    )
    before = len(cloud.entries())
    with pytest.raises(ClientError) as error:
        ask(make, service)
    codes = REFUSED[case]
    assert error.value.response["Error"]["Code"] == codes[service in {"sqs", "sts"}]
    expected = 400 if service in {"dynamodb", "events"} else 403
    assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == expected
    assert client.secret not in str(error.value)
    assert len(cloud.entries()) == before, "nothing is decided about somebody unknown"


# --- what is asked ----------------------------------------------------------------------------------------------------


def send(cloud, credentials, *, service="dynamodb", target="", method="POST", path="/", body=b"{}", headers=None):
    """A signed request as no SDK sends it."""
    request = AWSRequest(
        method=method,
        url=cloud.url + path,
        data=body,
        headers={"Content-Type": "application/x-amz-json-1.0", **({"X-Amz-Target": target} if target else {})},
    )
    keys = Credentials(credentials.access_key_id, credentials.secret, credentials.token)
    SigV4Auth(keys, service, REGION).add_auth(request)
    return urllib3.request(
        method, cloud.url + path, body=body, headers={**request.headers, **(headers or {})}, retries=False
    )


@pytest.fixture
def pipe(cloud):
    return cloud.authority.assume(role("orders-pipe"), by=PIPE, session="raw")


@pytest.mark.parametrize(
    ("service", "ask_for", "what"),
    [
        ("s3", lambda client: client.list_buckets(), "the service 's3'"),
        ("kinesis", lambda client: client.list_streams(), "the service 'kinesis'"),
        ("sns", lambda client: client.list_topics(), "the service 'sns'"),
        ("dynamodb", lambda client: client.list_tables(), "DynamoDB_20120810.ListTables"),
        ("sqs", lambda client: client.list_queues(), "AmazonSQS.ListQueues"),
        ("events", lambda client: client.list_rules(), "AWSEvents.ListRules"),
        ("lambda", lambda client: client.list_functions(), "GET /2015-03-31/functions"),
        ("sts", lambda client: client.get_session_token(), "GetSessionToken"),
    ],
)
def test_what_is_not_served_is_named(cloud, client, service, ask_for, what):
    with pytest.raises(ClientError) as error:
        ask_for(cloud.as_(client)(service))
    assert error.value.response["Error"]["Code"] == "UnknownOperationException"
    assert f"does not serve {what}" in str(error.value).replace("serve '", "serve ")


@pytest.mark.parametrize("service", ["dynamodb", "sqs", "events", "lambda"])
@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/_ministack/reset"), ("GET", "/_ministack/health"), ("PUT", "/bucket"), ("POST", "//")],
)
def test_nothing_else_of_ministack_is_reached(cloud, client, service, method, path):
    answer = send(cloud, client, service=service, target="DynamoDB_20120810.GetItem", method=method, path=path)
    assert answer.status == 400
    assert "does not serve" in answer.json()["message"]


def test_a_signature_for_one_service_is_none_for_another(cloud, pipe):
    url = cloud.queues["orders-pipe-dead-letters"]
    body = json.dumps({"QueueUrl": url, "MessageBody": "x"}).encode()
    assert send(cloud, pipe, service="sqs", target="AmazonSQS.SendMessage", body=body).status == 200
    before = cloud.count("orders-pipe-dead-letters")
    answer = send(cloud, pipe, service="dynamodb", target="AmazonSQS.SendMessage", body=body)
    assert (answer.status, answer.json()["__type"]) == (400, "UnknownOperationException")
    assert cloud.count("orders-pipe-dead-letters") == before


@pytest.mark.parametrize(
    "url",
    [
        f"http://127.0.0.1/999999999999/{NAME}orders-pipe-dead-letters",
        f"http://127.0.0.1/{ACCOUNT}/a/../{NAME}orders-pipe-dead-letters",
        f"{NAME}orders-pipe-dead-letters",
        None,
        ["x"],
    ],
)
def test_a_queue_has_one_address(cloud, pipe, url):
    body = json.dumps({"QueueUrl": url, "MessageBody": "x"}).encode()
    answer = send(cloud, pipe, service="sqs", target="AmazonSQS.SendMessage", body=body)
    assert (answer.status, answer.json()["__type"]) == (400, "InvalidAddress")


def test_the_address_may_be_the_one_on_aws(cloud):
    url = f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/{NAME}carrier-acme-failures"
    before = cloud.count("carrier-acme-failures")
    cloud.of("carrier-acme-confirm")("sqs").send_message(QueueUrl=url, MessageBody="x")
    assert cloud.count("carrier-acme-failures") == before + 1


@pytest.mark.parametrize(
    ("target", "body", "code"),
    [
        ("DynamoDB_20120810.GetItem", b"", "SerializationException"),
        ("DynamoDB_20120810.GetItem", b"[]", "SerializationException"),
        ("DynamoDB_20120810.GetItem", b"[" * 100_000, "SerializationException"),
        ("DynamoDB_20120810.GetItem", b"{}", "ValidationException"),
        ("DynamoDB_20120810.GetItem", b'{"TableName": "a/b"}', "ValidationException"),
        ("DynamoDB_20120810.GetItem", b'{"TableName": {"S": "x"}}', "ValidationException"),
        ("DynamoDBStreams_20120810.DescribeStream", b'{"StreamArn": "arn:aws:x"}', "ValidationException"),
        ("DynamoDBStreams_20120810.GetRecords", b'{"ShardIterator": ["x"]}', "ExpiredIteratorException"),
        ("AWSEvents.PutEvents", b"{}", "SerializationException"),
        ("AWSEvents.PutEvents", b'{"Entries": ["x"]}', "SerializationException"),
        ("AWSEvents.PutEvents", b'{"Entries": [{"Source": 1}]}', "SerializationException"),
        ("AWSEvents.PutEvents", b'{"Entries": [{"EventBusName": "a/b"}]}', "ValidationException"),
        ("AWSEvents.PutEvents", b'{"Entries": []}', "ValidationException"),
    ],
)
def test_what_can_not_be_read_is_refused(cloud, pipe, target, body, code):
    service = "events" if target.startswith("AWSEvents") else "dynamodb"
    answer = send(cloud, pipe, service=service, target=target, body=body)
    assert (answer.status, answer.json()["__type"], answer.headers["x-amzn-ErrorType"]) == (400, code, code)


def test_a_request_without_a_signature_is_refused(cloud):
    answer = urllib3.request("POST", cloud.url, headers={"X-Amz-Target": "DynamoDB_20120810.GetItem"}, retries=False)
    assert (answer.status, answer.json()["__type"]) == (400, "MissingAuthenticationTokenException")


def test_a_browser_that_was_led_here_is_refused(cloud, client):
    answer = send(cloud, client, target="DynamoDB_20120810.GetItem", headers={"Host": "evil.example"})
    assert answer.status == 421


# --- what is answered -------------------------------------------------------------------------------------------------


def test_answers_are_ministacks_byte_for_byte(cloud):
    body = b'{ "TableName":"%s", "Key":{"PK":{"S":"1"}} }' % TABLE.encode()
    credentials = cloud.authority.assume(role("orders-api"), by=LAMBDA, session="raw")
    through = send(cloud, credentials, target="DynamoDB_20120810.GetItem", body=body)
    scope = f"{ACCOUNT}/20260101/{REGION}/dynamodb/aws4_request"
    directly = urllib3.request(
        "POST",
        cloud.ministack.endpoint_url,
        body=body,
        headers={
            "X-Amz-Target": "DynamoDB_20120810.GetItem",
            "Authorization": f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=x",
        },
    )
    assert (through.status, through.data) == (directly.status, directly.data)
    for name in ("content-type", "x-amz-crc32"):
        assert through.headers[name] == directly.headers[name]
    assert through.headers["x-amzn-requestid"]


def test_a_refused_condition_comes_with_the_item_that_is_there(cloud):
    client = cloud.of("orders-api")("dynamodb")
    with pytest.raises(client.exceptions.ConditionalCheckFailedException) as error:
        client.put_item(
            TableName=TABLE,
            Item=ONE,
            ConditionExpression="attribute_not_exists(PK)",
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
        )
    assert error.value.response["Item"] == ONE


def test_a_ministack_that_is_gone_is_an_error_that_can_be_tried_again(programs):
    registry = deploy(programs["local"])
    authority = Authority(registry, DecisionLog(), apis=apis(registry))
    with ministack.start(region=REGION) as gone:
        pass
    with served(front(authority, ministack=gone.endpoint_url, place=PLACE)) as url:
        session = authority.session(role("orders-api"), by=LAMBDA, session="test", region=REGION)
        client = session.client("dynamodb", endpoint_url=url, config=CONFIG)
        with pytest.raises(ClientError, match="MiniStack does not answer") as error:
            client.get_item(TableName=TABLE, Key=ONE)
    assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == 503


# --- faults that are injected


@pytest.fixture
def faults(cloud):
    yield cloud.faults
    cloud.faults.clear()


def refused(call, *arguments, **parameters):
    """Code and status of the error that a call ends in."""
    with pytest.raises(ClientError) as error:
        call(*arguments, **parameters)
    answer = error.value.response
    return answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]


def test_a_throttled_table_is_refused_as_an_on_demand_table_and_its_stream_is_read(cloud, faults):
    faults.inject(Fault(kind=Kind.TABLE_THROTTLED, times=1, function="test"))
    table = cloud.of("orders-api")("dynamodb")
    cloud.iterator(cloud.of("orders-pipe", PIPE))
    assert refused(table.get_item, TableName=TABLE, Key=ONE) == ("ThrottlingException", 400)
    assert table.get_item(TableName=TABLE, Key=ONE)["Item"] == ONE


def test_a_fault_about_another_function_leaves_a_role_alone(cloud, faults):
    faults.inject(Fault(kind=Kind.TABLE_THROTTLED, function="another"))
    before = faults.struck()
    assert cloud.of("orders-api")("dynamodb").get_item(TableName=TABLE, Key=ONE)["Item"] == ONE
    assert faults.struck() == before


def placed(number):
    return event("dynamodb.orders", "dynamodb-orders-stream", Detail=json.dumps({"number": number}))


def test_entries_fail_each_for_itself_and_in_turn_for_either_reason(cloud, faults):
    pipe = cloud.of("orders-pipe", PIPE)
    faults.inject(Fault(kind=Kind.ENTRIES_FAILED, times=2))
    answer = put(pipe, placed(1), {**placed(2), "Detail": "no JSON"}, placed(3), placed(4))
    assert answer["FailedEntryCount"] == 3
    codes = [entry.get("ErrorCode") for entry in answer["Entries"]]
    assert codes == ["InternalFailure", "MalformedDetail", "ThrottlingException", None]
    assert answer["Entries"][3]["EventId"]
    assert put(pipe, placed(1))["FailedEntryCount"] == 0


def test_entries_that_all_fail_are_none_for_the_bus(cloud, faults):
    faults.inject(Fault(kind=Kind.ENTRIES_FAILED))
    answer = put(cloud.of("orders-pipe", PIPE), placed(1), placed(2))
    assert answer["FailedEntryCount"] == 2
    assert not any("EventId" in entry for entry in answer["Entries"])


def test_the_bus_fails_in_turn_with_an_error_of_its_own_and_by_throttling(cloud, faults):
    pipe = cloud.of("orders-pipe", PIPE)
    faults.inject(Fault(kind=Kind.BUS_UNAVAILABLE, times=3))
    failures = [refused(put, pipe, placed(1)) for _ in range(3)]
    assert failures == [("InternalException", 500), ("ThrottlingException", 400), ("InternalException", 500)]
    assert put(pipe, placed(1))["FailedEntryCount"] == 0


def test_a_signature_is_older_by_a_jump_of_the_clock_that_came_after_it(cloud, client, monkeypatch):
    identity = cloud.as_(client)("sts").get_caller_identity
    before = datetime.now(UTC).replace(tzinfo=None) - timedelta(seconds=200)
    with monkeypatch.context() as patch:
        patch.setattr(botocore.auth, "get_current_datetime", lambda **_: before)
        assert identity()["Account"] == ACCOUNT
        cloud.clock.forward(200)
        assert refused(identity) == ("SignatureDoesNotMatch", 403)
    assert identity()["Account"] == ACCOUNT
