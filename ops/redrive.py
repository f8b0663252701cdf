"""Gives what lies in a queue another try: plans it from what is known of the orders, does it, and then lets it go.

Nothing here puts events onto the bus. New orders go through the function `reconcile`, which alone may emit them again;
confirmations go through the function of their carrier, which refuses the second time what it refused the first.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import partial
from itertools import islice
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from contracts import MOST_NAMED
from handlers.orders import timestamp
from ops.letters import Confirmation, Letter, NewOrder, StreamPosition, Unreadable
from ops.mailbox import Mailbox, Opened
from ops.orders import Order, Orders
from ops.stack import Queue, Stack
from ops.stream import ForeignStreamError, orders_at

# Arrival in the stream is given to the second, and an order is stored within seconds of the time that it bears. Orders
# of the same minute that did get through are told to their carriers once more, who know a repetition by its key.
_MARGIN = timedelta(minutes=1)


class Outcome(StrEnum):
    REDRIVEN = "redriven"
    """Taken again, by the function that should have had it; the message is deleted."""
    REJECTED = "rejected"
    """Refused by that function for good, which has filed it with the reason; the message is deleted here."""
    DISCARDED = "discarded"
    """There is nothing left to do, or it was asked for; the message is deleted."""
    KEPT = "kept"
    """The message is where it was."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """What became of a message, or would become of it."""

    letter: Letter
    outcome: Outcome
    reason: str
    orders: tuple[str, ...] = ()


# --- plans ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Keep:
    reason: str


@dataclass(frozen=True)
class Discard:
    reason: str


@dataclass(frozen=True, kw_only=True)
class Reemit:
    """Emit these orders again."""

    orders: tuple[Order, ...]

    @property
    def order_ids(self) -> tuple[str, ...]:
        return tuple(order.order_id for order in self.orders)


@dataclass(frozen=True, kw_only=True)
class ReemitPlaced:
    """Emit again whatever was placed between two moments (RFC 3339) and is still pending."""

    after: str
    before: str


@dataclass(frozen=True, kw_only=True)
class Confirm:
    """Apply a confirmation, or let it be filed if it `contradicts` what is stored."""

    confirmation: Confirmation
    contradicts: bool


Plan = Keep | Discard | Reemit | ReemitPlaced | Confirm


def plan(
    letter: Letter, *, order: Callable[[str], Order | None], records: Callable[[StreamPosition], list[str] | None]
) -> Plan:
    """What to do about a message. `order` reads the table, `records` the stream: None where that is past.

    What a function of ours has refused is never tried again: its queue holds the reason, and a person decides.
    """
    if letter.rejected:
        return Keep(f"it is rejected for good: {letter.why}")
    match letter.subject:
        case Unreadable(reason):
            return Keep(reason)
        case NewOrder(order_id=order_id):
            return _of_orders([order_id], order)
        case Confirmation() as confirmation:
            return _of_confirmation(confirmation, order(confirmation.order_id))
        case StreamPosition() as position:
            try:
                found = records(position)
            except ForeignStreamError as error:
                return Keep(str(error))
            return _of_time(position) if found is None else _of_orders(found, order)


def _of_orders(order_ids: list[str], read: Callable[[str], Order | None]) -> Plan:
    orders = {order_id: read(order_id) for order_id in order_ids}
    if not orders:
        return Keep("there is no new order at this position of the stream")
    if unknown := [order_id for order_id, order in orders.items() if order is None]:
        return Keep(f"there is no order {', '.join(unknown)}")
    pending = tuple(order for order in orders.values() if order and not order.shipped)
    return Reemit(orders=pending) if pending else Discard(_SHIPPED)


_SHIPPED = "shipped already"
_NONE_LEFT = "every order of its time is shipped, or was sent again since"
_WAITS = "it still waits, and was not sent again"


def _of_confirmation(confirmation: Confirmation, order: Order | None) -> Plan:
    if order is None:
        return Keep(f"there is no order {confirmation.order_id}")
    if order.shipped_at == confirmation.shipped_at:
        return Discard(_SHIPPED)
    return Confirm(confirmation=confirmation, contradicts=order.shipped)


def _of_time(position: StreamPosition) -> Plan:
    first, last = (datetime.fromisoformat(moment) for moment in (position.arrived_first, position.arrived_last))
    return ReemitPlaced(after=timestamp(first - _MARGIN), before=timestamp(last + _MARGIN))


# --- what is done -----------------------------------------------------------------------------------------------------


class InvocationFailedError(RuntimeError):
    """The function did not do it; the message is its error."""


class Redriver:
    """Redrives the queues of one stack."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._orders = Orders(stack)
        self._carriers = {carrier.name: carrier.enabled for carrier in stack.exports.carriers}
        self._lambda = stack.client("lambda")
        self._emitted: set[str] = set()
        """Within this run: an order may lie in several messages."""

    def run(
        self,
        queue: Queue,
        *,
        limit: int | None = None,
        only: str | None = None,
        dry: bool = False,
        discard: bool = False,
    ) -> Iterator[Result]:
        """Redrive up to `limit` messages of a queue, or the one with the id `only`, and tell of each.

        A message is deleted once its redrive has succeeded, so that an interrupted run repeats and never loses. `dry`
        changes nothing; `discard` deletes what can't be redriven.

        Raises:
            BotoCoreError, ClientError: AWS refuses what every message needs, or does not answer.

        """
        with Mailbox(queue, self._stack.client("sqs")).opened() as opened:
            for letters in opened.batches(None if only else limit):
                chosen = [letter for letter in letters if only in {None, letter.id}]
                plans = [(letter, self._planned(letter, discard=discard)) for letter in chosen]
                results = map(self._foreseen, plans) if dry else self._done(plans, opened, queue)
                yield from results
                if only and chosen:
                    return

    def _planned(self, letter: Letter, *, discard: bool) -> Plan:
        planned = plan(letter, order=self._orders.read, records=partial(orders_at, self._stack))
        if discard and isinstance(planned, Keep):
            return Discard(f"as you say: {planned.reason}")
        return planned

    def _done(self, plans: list[tuple[Letter, Plan]], opened: Opened, queue: Queue) -> Iterator[Result]:
        # All orders of a batch in as few invocations as possible, before each message is settled by itself.
        named = [order_id for _, planned in plans if isinstance(planned, Reemit) for order_id in planned.order_ids]
        answers = self._reemitted(named, queue)
        for letter, planned in plans:
            result = self._settled(letter, planned, answers, queue)
            yield result if result.outcome is Outcome.KEPT else _deleted(result, opened)

    def _foreseen(self, planned: tuple[Letter, Plan]) -> Result:
        letter, what = planned
        outcome, reason, orders = self._expected(what)
        return Result(letter=letter, outcome=outcome, reason=reason, orders=orders or _about(letter))

    def _expected(self, planned: Plan) -> tuple[Outcome, str, tuple[str, ...]]:
        match planned:
            case Keep(reason):
                return Outcome.KEPT, reason, ()
            case Discard(reason):
                return Outcome.DISCARDED, reason, ()
            case Reemit(orders=orders):
                waiting = {order.order_id: reason for order in orders if (reason := self._disabled(order))}
                outcome = Outcome.KEPT if waiting else Outcome.REDRIVEN
                return outcome, _reasons(waiting) or "to its carrier again", planned.order_ids
            case ReemitPlaced():
                return self._expected_of_a_time(planned)
            case Confirm(confirmation=confirmation, contradicts=contradicts):
                outcome = Outcome.REJECTED if contradicts else Outcome.REDRIVEN
                return outcome, f"to be shipped at {confirmation.shipped_at}", ()

    def _expected_of_a_time(self, wanted: ReemitPlaced) -> tuple[Outcome, str, tuple[str, ...]]:
        # Those of disabled carriers first: one of them is enough.
        carriers = sorted(self._carriers, key=lambda name: self._carriers[name])
        order = next(self._orders.placed(wanted.after, wanted.before, carriers=carriers), None)
        if order is None:
            return Outcome.DISCARDED, _NONE_LEFT, ()
        if reason := self._disabled(order):
            return Outcome.KEPT, _reasons({order.order_id: reason}), (order.order_id,)
        reason = f"the stream is past: what was placed from {wanted.after} to {wanted.before} and is pending"
        return Outcome.REDRIVEN, reason, ()

    def _settled(self, letter: Letter, planned: Plan, answers: _Answers, queue: Queue) -> Result:
        try:
            match planned:
                case Keep(reason):
                    return Result(letter=letter, outcome=Outcome.KEPT, reason=reason, orders=_about(letter))
                case Discard(reason):
                    return Result(letter=letter, outcome=Outcome.DISCARDED, reason=reason, orders=_about(letter))
                case Reemit():
                    return _reemission(letter, planned.order_ids, answers)
                case ReemitPlaced():
                    return _reemission_of_a_time(letter, self._reemitted_of(planned, queue))
                case Confirm(confirmation=confirmation):
                    return self._confirmed(letter, confirmation, queue)
        except (BotoCoreError, ClientError, InvocationFailedError) as error:
            return Result(letter=letter, outcome=Outcome.KEPT, reason=str(error), orders=_about(letter))

    def _confirmed(self, letter: Letter, confirmation: Confirmation, queue: Queue) -> Result:
        self._invoke(queue.redrive_with, confirmation.event)
        order = self._orders.read(confirmation.order_id)
        applied = order is not None and order.shipped_at == confirmation.shipped_at
        return Result(
            letter=letter,
            outcome=Outcome.REDRIVEN if applied else Outcome.REJECTED,
            reason=f"shipped at {confirmation.shipped_at}"
            if applied
            else f"it is among the failures of {queue.carrier}",
            orders=_about(letter),
        )

    def _reemitted(self, order_ids: Iterable[str], queue: Queue) -> _Answers:
        """What became of each order, in as many invocations as it takes."""
        left = [order_id for order_id in dict.fromkeys(order_ids) if order_id not in self._emitted]
        answers = _Answers(emitted=self._emitted)
        for start in range(0, len(left), MOST_NAMED):
            part = left[start : start + MOST_NAMED]
            try:
                answers.add(self._invoke(queue.redrive_with, {"action": "reemit", "order_ids": part}))
            except (BotoCoreError, ClientError, InvocationFailedError) as error:
                answers.failed |= dict.fromkeys(part, str(error))
        return answers

    def _reemitted_of(self, wanted: ReemitPlaced, queue: Queue) -> _Answers:
        # What is emitted waits from now on, and so is not listed again; what fails is.
        before = min(wanted.before, timestamp(datetime.now(UTC)))
        request = {
            "action": "reemit_pending",
            "created_after": wanted.after,
            "created_before": before,
            "limit": MOST_NAMED,
        }
        answers = _Answers(emitted=self._emitted)
        while True:
            known = len(self._emitted)
            if answers.add(self._invoke(queue.redrive_with, request)) < MOST_NAMED or len(self._emitted) == known:
                break
        if not answers.failed:
            # The function lists so many and of some carriers: that none is left only the table says.
            placed = self._orders.placed(wanted.after, before, carriers=self._carriers)
            left = (order for order in placed if order.order_id not in self._emitted)
            answers.failed |= {order.order_id: self._disabled(order) or _WAITS for order in islice(left, 1)}
        return answers

    def _disabled(self, order: Order) -> str:
        """Why the order would not be sent again, in the function's words; empty if it would be."""
        return "" if self._carriers.get(order.carrier) else f"The carrier {order.carrier} is disabled"

    def _invoke(self, function: str, event: Mapping[str, Any]) -> Any:
        """What the function returns.

        Raises:
            InvocationFailedError: It raised an error.

        """
        answer = self._lambda.invoke(FunctionName=function, Payload=json.dumps(event).encode())
        payload = json.loads(answer["Payload"].read() or b"null")
        if "FunctionError" in answer:
            error: Mapping[str, Any] = payload if isinstance(payload, dict) else {}
            said = ": ".join(str(error[name]) for name in ("errorType", "errorMessage") if error.get(name))
            raise InvocationFailedError(f"{function} failed: {said or answer['FunctionError']}")
        return payload


class _Answers:
    """What `reconcile` says of orders; `emitted` is kept by who asks."""

    def __init__(self, *, emitted: set[str]) -> None:
        self.all_emitted = emitted
        self.emitted: list[str] = []
        self.shipped: set[str] = set()
        self.failed: dict[str, str] = {}

    def add(self, answer: Mapping[str, Any]) -> int:
        """Take one more answer; returns how many orders it is about."""
        self.emitted += answer["emitted"]
        self.all_emitted.update(answer["emitted"])
        self.shipped.update(answer["shipped"])
        failed = self.failed | answer["failed"] | dict.fromkeys(answer["unknown"], "there is no such order")
        self.failed = {order_id: reason for order_id, reason in failed.items() if not self.settled(order_id)}
        return sum(len(answer[name]) for name in ("emitted", "shipped", "unknown", "failed"))

    def settled(self, order_id: str) -> bool:
        """Whether an order is on its way, or there is nothing left to do for it."""
        return order_id in self.all_emitted or order_id in self.shipped


def _reemission(letter: Letter, orders: tuple[str, ...], answers: _Answers) -> Result:
    left = (order_id for order_id in orders if not answers.settled(order_id))
    failed = {order_id: answers.failed.get(order_id, "reconcile says nothing of it") for order_id in left}
    if failed:
        return Result(letter=letter, outcome=Outcome.KEPT, reason=_reasons(failed), orders=orders)
    if answers.shipped.issuperset(orders):
        return Result(letter=letter, outcome=Outcome.DISCARDED, reason=_SHIPPED, orders=orders)
    return Result(letter=letter, outcome=Outcome.REDRIVEN, reason="sent to its carrier again", orders=orders)


def _reemission_of_a_time(letter: Letter, answers: _Answers) -> Result:
    orders = tuple(dict.fromkeys(answers.emitted))
    if answers.failed:
        return Result(letter=letter, outcome=Outcome.KEPT, reason=_reasons(answers.failed), orders=orders)
    if not orders:
        return Result(letter=letter, outcome=Outcome.DISCARDED, reason=_NONE_LEFT)
    said = "the stream is past: what was placed at its time and is pending was sent again"
    return Result(letter=letter, outcome=Outcome.REDRIVEN, reason=said, orders=orders)


def _deleted(result: Result, opened: Opened) -> Result:
    try:
        opened.delete(result.letter)
    except (BotoCoreError, ClientError) as error:
        reason = f"{result.outcome}, but the message can't be deleted: {error}"
        return Result(letter=result.letter, outcome=Outcome.KEPT, reason=reason, orders=result.orders)
    return result


def _about(letter: Letter) -> tuple[str, ...]:
    return (letter.order_id,) if letter.order_id else ()


def _reasons(failed: Mapping[str, str]) -> str:
    return "; ".join(f"{order_id}: {reason}" for order_id, reason in failed.items())
