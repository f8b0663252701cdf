"""How a stack is: its queues, pipe, rules, alarms and waiting orders, and what of it is a reason to act."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from ops.mailbox import Depth, Mailbox, with_others
from ops.orders import Orders, Waiting
from ops.stack import Exports, Stack

_RUNNING = "RUNNING"
_MISSING = "MISSING"
# DescribeAlarms takes so many names.
_NAMES = 100
_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True)
class Pipe:
    """AWS's words for its state, and AWS's reason for it or nothing."""

    state: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Health:
    """What could be seen; None for what could not, whose reason is in `unreadable`."""

    orders: Waiting | None
    queues: Mapping[str, Depth] | None
    pipe: Pipe | None
    rules: Mapping[str, str] | None
    """The state of each rule; MISSING for one that is not there."""
    alarms: list[str] | None
    """The names of those that are in ALARM."""
    unreadable: Mapping[str, str]
    to_do: list[str]
    """Each reason to act, in a few words."""


class Gaps(dict[str, str]):
    """Why what could not be read."""

    def unless(self, what: str, ask: Callable[[], _T]) -> _T | None:
        """The answer; None where AWS refuses it, which is noted under `what`."""
        try:
            return ask()
        except (BotoCoreError, ClientError) as error:
            self[what] = str(error)
            return None


def health(stack: Stack, now: datetime) -> Health:
    """How the stack is. What the credentials may not see is left out, and said."""
    unreadable = Gaps()
    orders = unreadable.unless("orders", lambda: Orders(stack).waiting(now))
    queues = unreadable.unless("queues", lambda: _depths(stack))
    pipe = unreadable.unless("pipe", lambda: _pipe(stack))
    rules = unreadable.unless("rules", lambda: _rules(stack))
    alarms = unreadable.unless("alarms", lambda: _alarms(stack))
    intended = {rule: state for carrier in stack.exports.carriers for rule, state in carrier.rules.items()}
    to_do = [
        *(f"queue {name} holds {depth.messages}" for name, depth in (queues or {}).items() if depth.messages),
        *(f"queue {name}: {with_others(depth.in_flight)}" for name, depth in (queues or {}).items() if depth.in_flight),
        *([f"the pipe is {pipe.state} {pipe.reason}".strip()] if pipe and pipe.state != _RUNNING else []),
        *(f"rule {rule} is {state}" for rule, state in (rules or {}).items() if state != intended[rule]),
        *(f"alarm {name}" for name in alarms or []),
        *([f"orders past their time: {orders.overdue}"] if orders and orders.overdue else []),
    ]
    return Health(
        orders=orders, queues=queues, pipe=pipe, rules=rules, alarms=alarms, unreadable=unreadable, to_do=to_do
    )


def _depths(stack: Stack) -> dict[str, Depth]:
    sqs = stack.client("sqs")
    return {queue.name: Mailbox(queue, sqs).depth() for queue in stack.exports.queues}


def _pipe(stack: Stack) -> Pipe:
    pipe = stack.client("pipes").describe_pipe(Name=stack.exports.pipe)
    return Pipe(state=pipe["CurrentState"], reason=pipe.get("StateReason", ""))


def _rules(stack: Stack) -> dict[str, str]:
    events, exports = stack.client("events"), stack.exports
    return {rule: _rule_state(events, exports, rule) for carrier in exports.carriers for rule in carrier.rules}


def _rule_state(events: Any, exports: Exports, rule: str) -> str:
    try:
        return events.describe_rule(Name=rule, EventBusName=exports.bus)["State"]
    except events.exceptions.ResourceNotFoundException:
        return _MISSING


def _alarms(stack: Stack) -> list[str]:
    cloudwatch, names = stack.client("cloudwatch"), stack.exports.alarms
    parts = [list(names[start : start + _NAMES]) for start in range(0, len(names), _NAMES)]
    answers = [cloudwatch.describe_alarms(AlarmNames=part, StateValue="ALARM", MaxRecords=_NAMES) for part in parts]
    return sorted(alarm["AlarmName"] for answer in answers for alarm in answer["MetricAlarms"])
