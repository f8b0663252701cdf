"""Handlers as Lambda loads them (settings in the environment, a fresh import), on a MiniStack of their own."""

from __future__ import annotations

import importlib
import io
import json
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest

from handlers import runtime
from handlers.repository import Repository
from sandbox import ministack as ministack_process
from sandbox.ministack import MiniStack
from tests.handlers.server import Answer, Received, Server, serving

REGION = "eu-west-1"
CARRIERS = ["alpha", "beta"]
PRINCIPAL = "arn:aws:iam::111122223333:role/partners/alpha"
CALLER = "arn:aws:sts::111122223333:assumed-role/alpha/session-1"


@pytest.fixture(scope="session")
def ministack() -> Iterator[MiniStack]:
    with ministack_process.start(region=REGION) as running:
        yield running


@pytest.fixture(scope="session")
def table(ministack: MiniStack) -> str:
    ministack.client("dynamodb").create_table(
        TableName="orders",
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[
            {"AttributeName": "PK", "AttributeType": "S"},
            {"AttributeName": "pending_shard", "AttributeType": "S"},
            {"AttributeName": "pending_since", "AttributeType": "S"},
        ],
        KeySchema=[{"AttributeName": "PK", "KeyType": "HASH"}],
        GlobalSecondaryIndexes=[
            {
                "IndexName": "pending",
                "KeySchema": [
                    {"AttributeName": "pending_shard", "KeyType": "HASH"},
                    {"AttributeName": "pending_since", "KeyType": "RANGE"},
                ],
                "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["carrier", "state"]},
            }
        ],
    )
    return "orders"


@pytest.fixture(scope="session")
def aws(ministack: MiniStack) -> Callable[..., Any]:
    """Call something with the environment of a function whose AWS is MiniStack, or another endpoint."""

    def within(make: Callable[[], Any], **environment: str) -> Any:
        surroundings = {
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test-secret",
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ENDPOINT_URL": ministack.endpoint_url,
            "NO_PROXY": "127.0.0.1",
            "POWERTOOLS_SERVICE_NAME": "service",
            "POWERTOOLS_METRICS_NAMESPACE": "namespace",
            **environment,
        }
        with pytest.MonkeyPatch.context() as patch:
            for name in ("TABLE_NAME", "CARRIERS", "CARRIER", "CARRIER_PRINCIPAL", "FAILURE_QUEUE_URL"):
                patch.delenv(name, raising=False)
            for name in ("BUS_NAME", "OVERDUE_QUEUE_URL", "CONFIRM_WITHIN"):
                patch.delenv(name, raising=False)
            for name in ("CREDENTIAL_DIGEST", "CONFIRM_URL", "AWS_SESSION_TOKEN", "AWS_PROFILE", "no_proxy"):
                patch.delenv(name, raising=False)
            for name, value in surroundings.items():
                patch.setenv(name, value)
            # The session keeps the credentials that it finds first.
            runtime.aws_session.cache_clear()
            return make()

    return within


@pytest.fixture(scope="session")
def load(aws: Callable[..., Any]) -> Callable[..., Any]:
    """An entry module, imported anew under the given environment and forgotten by the import system."""

    def fresh(entry: str, **environment: str) -> Any:
        name = f"handlers.{entry}"
        sys.modules.pop(name, None)
        try:
            return aws(lambda: importlib.import_module(name), **environment)
        finally:
            sys.modules.pop(name, None)

    return fresh


@pytest.fixture(scope="session")
def store(aws: Callable[..., Any], table: str) -> Repository:
    return aws(lambda: Repository(table))


@pytest.fixture(scope="session")
def item(ministack: MiniStack, table: str) -> Callable[[str], dict[str, Any] | None]:
    """The item of an order, as DynamoDB shows it to somebody who knows nothing of the repository."""
    dynamodb = ministack.client("dynamodb")
    return lambda order_id: dynamodb.get_item(TableName=table, Key={"PK": {"S": order_id}}).get("Item")


@pytest.fixture
def client() -> str:
    """A caller that nobody else in this run is."""
    return f"arn:aws:sts::111122223333:assumed-role/client-{uuid.uuid4()}"


@pytest.fixture(scope="session")
def failures(ministack: MiniStack) -> Queue:
    sqs = ministack.client("sqs")
    return Queue(sqs, sqs.create_queue(QueueName="failures")["QueueUrl"])


@pytest.fixture
def queue(failures: Queue) -> Queue:
    """The failure queue, empty."""
    failures.take()
    return failures


class Queue(NamedTuple):
    sqs: Any
    url: str

    def take(self) -> list[dict[str, Any]]:
        """Every message there is, gone from the queue."""
        taken: list[dict[str, Any]] = []
        while messages := self.sqs.receive_message(QueueUrl=self.url, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                taken.append(json.loads(message["Body"]))
                self.sqs.delete_message(QueueUrl=self.url, ReceiptHandle=message["ReceiptHandle"])
        return taken


@pytest.fixture(scope="session")
def context() -> SimpleNamespace:
    return SimpleNamespace(
        function_name="function",
        function_version="$LATEST",
        memory_limit_in_mb=512,
        invoked_function_arn="arn:aws:lambda:eu-west-1:111122223333:function:function",
        aws_request_id="invocation-1",
    )


@pytest.fixture(scope="session", autouse=True)
def telemetry(aws: Callable[..., Any]) -> Any:
    """Imported before any test replaces the standard output that the logger then holds."""
    return aws(lambda: importlib.import_module("handlers.telemetry"))


@pytest.fixture
def log(telemetry: Any) -> Iterator[Log]:
    handler = telemetry.logger.handlers[0]
    text = io.StringIO()
    before = handler.setStream(text)
    yield Log(text)
    handler.setStream(before)


class Log(NamedTuple):
    stream: io.StringIO

    @property
    def text(self) -> str:
        return self.stream.getvalue()

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.splitlines()]


@pytest.fixture
def counted(capsys: pytest.CaptureFixture[str]) -> Callable[[], list[str]]:
    """The metrics written since the last look."""

    def names() -> list[str]:
        written = [json.loads(line) for line in capsys.readouterr().out.splitlines() if '"_aws"' in line]
        return [
            metric["Name"]
            for document in written
            for directive in document["_aws"]["CloudWatchMetrics"]
            for metric in directive["Metrics"]
        ]

    return names


@pytest.fixture
def serve() -> Iterator[Callable[[Callable[[Received], Answer | None]], Server]]:
    with ExitStack() as running:
        yield lambda answer: running.enter_context(serving(answer))


@pytest.fixture
def failing(
    serve: Callable[[Callable[[Received], Answer | None]], Server], pauses: list[float]
) -> Callable[[Answer], str]:
    """The URL of an AWS that answers every call with one error."""
    return lambda error: serve(lambda _: error).url


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long boto would have slept between attempts, without sleeping."""
    slept: list[float] = []
    monkeypatch.setattr("botocore.endpoint.time", SimpleNamespace(sleep=slept.append))
    return slept
