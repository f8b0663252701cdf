"""How many orders wait and which of them too long; and what of a stack is a reason to act."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from handlers.orders import timestamp
from handlers.repository import PENDING_SHARDS, pending_key
from ops.health import health
from ops.orders import Orders, Waiting
from tests.ops.deployment import NAME
from tests.ops.fakes import Aws, refusal

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
ALL_WELL = {f"{NAME}acme-orders": "ENABLED", f"{NAME}globex-orders": "DISABLED"}


class Index:
    """The index of pending orders, a page for each order."""

    def __init__(self, *waiting):
        self.waiting = waiting

    def __call__(self, operation):
        assert operation == "query"
        return self

    def paginate(self, *, IndexName, KeyConditionExpression, ExpressionAttributeValues, Select, **_):
        assert (IndexName, Select) == ("pending", "COUNT")
        assert KeyConditionExpression == "pending_shard = :shard AND pending_since < :until"
        shard, until = (ExpressionAttributeValues[name]["S"] for name in (":shard", ":until"))
        for number, (carrier, since) in enumerate(self.waiting):
            if pending_key(carrier, number % PENDING_SHARDS) == shard and since < until:
                yield {"Count": 1}


def ago(**age):
    return timestamp(NOON - timedelta(**age), "microseconds")


class Watch:
    """EventBridge, its pipes and CloudWatch."""

    exceptions = SimpleNamespace(ResourceNotFoundException=LookupError)

    def __init__(self):
        self.states = dict(ALL_WELL)
        self.pipe = {"CurrentState": "RUNNING"}
        self.alarms = []
        self.asked = []
        self.refused = set()

    def _ask(self, what):
        if what in self.refused:
            raise refusal("AccessDenied", what)

    def describe_rule(self, *, Name, EventBusName):
        self._ask("rules")
        if Name not in self.states:
            raise self.exceptions.ResourceNotFoundException
        return {"State": self.states[Name]}

    def describe_pipe(self, *, Name):
        self._ask("pipe")
        return self.pipe

    def describe_alarms(self, *, AlarmNames, StateValue, MaxRecords):
        assert len(AlarmNames) <= MaxRecords == 100
        self._ask("alarms")
        self.asked += AlarmNames
        return {"MetricAlarms": [{"AlarmName": name} for name in AlarmNames if name in self.alarms]}


@pytest.fixture
def aws():
    aws = Aws()
    aws.dynamodb.get_paginator = Index()
    aws.watch = aws.events = aws.pipes = aws.cloudwatch = Watch()
    return aws


@pytest.mark.parametrize(
    ("waiting", "pending", "overdue"),
    [
        ([], 0, 0),
        ([("acme", ago(hours=23)), ("acme", ago(hours=25))] * 5, 10, 5),
        ([("acme", ago(hours=24)), ("acme", ago(hours=24, microseconds=1))], 2, 1),
        ([("umbrella", ago(hours=2)), ("acme", ago(hours=2))], 2, 1),
        # Disabled: they wait on purpose, however long.
        ([("globex", ago(days=30)), ("globex", ago(hours=2))], 2, 0),
        ([("acme", ago(hours=25)), ("globex", ago(hours=25)), ("umbrella", ago(hours=25))], 3, 2),
    ],
)
def test_an_order_is_past_its_time_when_its_enabled_carrier_has_had_it(aws, waiting, pending, overdue):
    aws.dynamodb.get_paginator = Index(*waiting)
    assert Orders(aws.stack).waiting(NOON) == Waiting(pending=pending, overdue=overdue)


def test_where_all_is_well_nothing_is_to_do(aws):
    aws.dynamodb.get_paginator = Index(("acme", ago(hours=1)))
    found = health(aws.stack, NOON)
    assert (found.to_do, found.unreadable, found.rules) == ([], {}, ALL_WELL)
    assert aws.watch.asked == [*aws.stack.exports.alarms]
    assert len(aws.watch.asked) > 100


def test_each_reason_to_act_is_said(aws):
    aws.dynamodb.get_paginator = Index(("acme", ago(days=2)))
    for number in range(5):
        aws.sqs.put("overdue", "x", f"m{number}")
    aws.sqs.put("pipe", "x")
    aws.sqs.hidden = {"receipt of m", "receipt of m1", "receipt of m2"}
    aws.watch.pipe = {"CurrentState": "STOPPED", "StateReason": "no right"}
    aws.watch.states = {f"{NAME}globex-orders": "ENABLED"}
    aws.watch.alarms = [f"{NAME}149", f"{NAME}7"]
    assert health(aws.stack, NOON).to_do == [
        "queue overdue holds 3",
        "queue pipe: 1 message is with another reader: again in up to 30 minutes",
        "queue overdue: 2 messages are with another reader: again in up to 30 minutes",
        "the pipe is STOPPED no right",
        f"rule {NAME}acme-orders is MISSING",
        f"rule {NAME}globex-orders is ENABLED",
        f"alarm {NAME}149",
        f"alarm {NAME}7",
        "orders past their time: 1",
    ]


@pytest.mark.parametrize("what", ["rules", "pipe", "alarms"])
def test_what_may_not_be_seen_is_said_and_the_rest_is_seen(aws, what):
    aws.watch.refused = {what}
    found = health(aws.stack, NOON)
    assert found.unreadable.keys() == {what}
    assert "AccessDenied" in found.unreadable[what]
    assert getattr(found, what) is None
    assert found.orders == Waiting(pending=0, overdue=0)
    assert found.to_do == []
