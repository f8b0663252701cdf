"""Gives orders to their carriers again: those that are not confirmed in time, and those that an operator names.

Environment: TABLE_NAME; BUS_NAME; OVERDUE_QUEUE_URL; CONFIRM_WITHIN, a JSON object with the hours within which each
enabled carrier confirms.

The function is invoked with one of:

- `{"action": "sweep"}`: every order past its carrier's time, oldest first, at most 250 of each shard that a carrier has
  in the index. It is emitted again, up to three times and once per time that its carrier has, and then goes into the
  queue of overdue orders, with its event. The answer says how many there were, `{"overdue", "emitted", "unconfirmed"}`.
  A sweep that runs out of time says so in the log, and counts it; the next one begins with another shard. An order that
  can't be given up stops no other, and is raised at the end.
- `{"action": "reemit", "order_ids": [...]}`: 1 to 100 orders, at once.
- `{"action": "reemit_pending", "created_after": ..., "created_before": ..., "carrier": ..., "limit": ...}`: the oldest
  pending orders that were placed between two moments (RFC 3339, both included) and not emitted again since; 1 to 1,000,
  of the carrier if it is given, and else of all enabled ones.

The last two answer `{"emitted": [id], "shipped": [id], "unknown": [id], "failed": {id: reason}}`, and let what was
emitted wait as if it had just been placed. What has failed waits as before, and is listed again; to ask for an order
twice does no harm. An order of a disabled carrier is never emitted, as no rule would match it: it is left as it is
until its carrier is enabled, and then is past its time.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import chain, islice, product
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import BotoCoreError, ClientError

from contracts import MOST_NAMED, ORDER_CREATED, UNCONFIRMED, order_created_detail
from handlers import orders
from handlers.orders import Claimed, Exhausted, InvalidTimestampError, Order, State, Waiting
from handlers.records import failure_record
from handlers.repository import PENDING_SHARDS, Repository
from handlers.runtime import aws_client, setting
from handlers.telemetry import Count, count, invocation, logger

# With the first emission a carrier is told four times over four of its times. What it has not confirmed then is for a
# person to ask about: a fifth time would tell it nothing new.
_REEMISSIONS = 3
# So that a shard with many orders leaves the others time for theirs. What is left waits for the next sweep.
_MOST_OF_A_SHARD = 250
# How often the schedule starts a sweep.
_EVERY_SECONDS = 900
_MOST_LISTED = 1000
# PutEvents takes ten entries.
_BATCH = 10
# A call ends within 9 seconds, three attempts and their pauses (`handlers.runtime`); one more for what is around it.
_CALL_MILLISECONDS = 10_000
# Of one more order in a sweep: a page of the index, the claim, and the message and the update of an order that is given
# up, or the event of those that are claimed.
_CALLS_OF_AN_ORDER = 5


class InvalidRequestError(ValueError):
    """The function was invoked with what it does not know; the message says what it knows."""


class NotGivenUpError(RuntimeError):
    """Orders of the sweep are neither in the queue of overdue orders nor emitted again; the next one tries anew."""


def _confirm_within() -> dict[str, timedelta]:
    try:
        hours = json.loads(setting("CONFIRM_WITHIN"))
    except ValueError as error:
        raise RuntimeError("the environment variable CONFIRM_WITHIN is not JSON") from error
    if (
        not isinstance(hours, dict)
        or not hours
        or not all(type(number) is int and number > 0 for number in hours.values())
    ):
        raise RuntimeError("the environment variable CONFIRM_WITHIN must be a JSON object of whole hours by carrier")
    return {carrier: timedelta(hours=number) for carrier, number in hours.items()}


_CONFIRM_WITHIN = _confirm_within()
_BUS_NAME = setting("BUS_NAME")
_OVERDUE_QUEUE_URL = setting("OVERDUE_QUEUE_URL")
_store = Repository(setting("TABLE_NAME"))
_events = aws_client("events")
_sqs = aws_client("sqs")


@invocation
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Does what the event asks for; a request that it does not know, and any failure of AWS, raises."""
    try:
        match event:
            case {"action": "sweep"}:
                return _sweep(context)
            case {"action": "reemit", "order_ids": [*order_ids]}:
                return _reemit(_named(order_ids), context)
            case {"action": "reemit_pending"}:
                return _reemit(_listed(event), context)
            case _:
                raise InvalidRequestError("action must be sweep, reemit with order_ids, or reemit_pending")
    except (ClientError, BotoCoreError):
        logger.exception("Reconciliation failed")
        raise


def _sweep(context: LambdaContext) -> dict[str, int]:
    done = Counter(overdue=0, emitted=0, unconfirmed=0)
    stuck: list[Exception] = []
    late = _late(datetime.now(UTC), context)
    for first in late:
        done.update(_take_up(chain([first], islice(late, _BATCH - 1)), stuck, context))
    logger.info("Sweep done", orders=done)
    if stuck:
        raise NotGivenUpError(f"orders that can't be given up: {len(stuck)}; the first: {stuck[0]}") from stuck[0]
    return done


def _late(now: datetime, context: LambdaContext) -> Iterator[Waiting]:
    """Yield the orders that are past their carriers' times, for as long as there is time to take one more up."""
    turns = _turns(now)
    for number, (carrier, shard) in enumerate(turns):
        waiting = _store.waiting(carrier, shard, until=_moment(now - _CONFIRM_WITHIN[carrier]))
        late = islice(waiting, _MOST_OF_A_SHARD)
        while _has_time(context, calls=_CALLS_OF_AN_ORDER):
            if (order := next(late, None)) is None:
                break
            yield order
        else:
            count(Count.CUT_SHORT)
            logger.warning("Sweep cut short", shards=len(turns), shards_left=len(turns) - number)
            return


def _turns(now: datetime) -> list[tuple[str, int]]:
    """Each shard of each carrier, with another one first in the next sweep, so that none is always the last."""
    turns = list(product(_CONFIRM_WITHIN, range(PENDING_SHARDS)))
    first = int(now.timestamp()) // _EVERY_SECONDS % len(turns)
    return turns[first:] + turns[:first]


def _take_up(batch: Iterable[Waiting], stuck: list[Exception], context: LambdaContext) -> dict[str, int]:
    """Emit or give up each order, and add to `stuck` why one could not be given up: it must not stop those after it."""
    claimed: list[Order] = []
    done = Counter(overdue=0, unconfirmed=0)
    try:
        for waiting in batch:
            # First the claim: should the event fail then, it counts all the same, and comes again at its time.
            claim = _store.claim(waiting, most=_REEMISSIONS, now=_moment(datetime.now(UTC)))
            match claim:
                case Claimed(order):
                    claimed.append(order)
                case Exhausted(order):
                    try:
                        _give_up(waiting, order, context)
                        done["unconfirmed"] += 1
                    except (ClientError, BotoCoreError) as error:
                        logger.exception("Order not given up", order_id=order.order_id, carrier=order.carrier)
                        stuck.append(error)
                case _:
                    continue
            done["overdue"] += 1
            count(Count.OVERDUE)
    finally:
        failed = _emit(claimed)
    return {**done, "emitted": len(claimed) - len(failed)}


def _give_up(waiting: Waiting, order: Order, context: LambdaContext) -> None:
    """First the message, then out of the index: interrupted in between, the order is given up twice and never lost."""
    reason = f"{order.carrier} has not confirmed the order, which was emitted again {_REEMISSIONS} times"
    event = {
        "source": ORDER_CREATED.source,
        "detail-type": ORDER_CREATED.detail_type,
        "detail": json.loads(_detail(order)),
    }
    _sqs.send_message(
        QueueUrl=_OVERDUE_QUEUE_URL,
        MessageBody=failure_record(event, context, condition=UNCONFIRMED, error_type=UNCONFIRMED, reason=reason),
    )
    _store.set_aside(waiting)
    count(Count.UNCONFIRMED)
    logger.warning("Order unconfirmed", order_id=order.order_id, carrier=order.carrier)


def _named(order_ids: list[Any]) -> list[str]:
    if not 1 <= len(order_ids) <= MOST_NAMED or not all(isinstance(order_id, str) for order_id in order_ids):
        raise InvalidRequestError(f"order_ids must be a list of 1 to {MOST_NAMED} texts")
    return order_ids


def _listed(request: Mapping[str, Any]) -> list[str]:
    carrier, limit = request.get("carrier"), request.get("limit")
    if not isinstance(carrier, str | None):
        raise InvalidRequestError("carrier must be the name of a carrier")
    if type(limit) is not int or not 1 <= limit <= _MOST_LISTED:
        raise InvalidRequestError(f"limit must be a whole number from 1 to {_MOST_LISTED}")
    since, until = (_requested_moment(request, name) for name in ("created_after", "created_before"))
    found: list[Waiting] = []
    for name, shard in product(_CONFIRM_WITHIN if carrier is None else [carrier], range(PENDING_SHARDS)):
        found += islice(_store.waiting(name, shard, since=since, until=until), limit)
    return [order.order_id for order in sorted(found, key=lambda order: order.since)[:limit]]


def _requested_moment(request: Mapping[str, Any], name: str) -> str:
    value = request.get(name)
    try:
        return _moment(datetime.fromisoformat(orders.utc(value if isinstance(value, str) else "")))
    except InvalidTimestampError as error:
        raise InvalidRequestError(f"{name} {error}") from error


def _reemit(order_ids: Iterable[str], context: LambdaContext) -> dict[str, Any]:
    emitted: list[str] = []
    shipped: list[str] = []
    unknown: list[str] = []
    failed: dict[str, str] = {}
    left = iter(dict.fromkeys(order_ids))
    while batch := list(islice(left, _BATCH)):
        pending: list[Order] = []
        for order_id in batch:
            # The order, the event, and that each order of the batch waits anew.
            if not _has_time(context, calls=2 + len(pending) + 1):
                failed[order_id] = "There was no time left: ask again"
                continue
            order = _store.reopen(order_id, carriers=_CONFIRM_WITHIN) if orders.is_order_id(order_id) else None
            if order is None:
                unknown.append(order_id)
            elif order.state is State.SHIPPED:
                shipped.append(order_id)
            elif order.carrier not in _CONFIRM_WITHIN:
                failed[order_id] = f"The carrier {order.carrier} is disabled"
            else:
                pending.append(order)
        try:
            refused = _emit(pending)
        except (ClientError, BotoCoreError) as error:
            logger.exception("Orders not emitted")
            refused = dict.fromkeys((order.order_id for order in pending), str(error))
        failed |= refused
        taken = [order for order in pending if order.order_id not in refused]
        for order in taken:
            # Not before the bus has it: an order that waits anew is not listed for whoever repeats the request.
            _store.wait_anew(order, now=_moment(datetime.now(UTC)))
        emitted += (order.order_id for order in taken)
    return {"emitted": emitted, "shipped": shipped, "unknown": unknown, "failed": failed}


def _emit(batch: list[Order]) -> dict[str, str]:
    """Put the event of each order on the bus, as the pipe does; returns by id why an event was not taken."""
    failed: dict[str, str] = {}
    if not batch:
        return failed
    answer = _events.put_events(
        Entries=[
            {
                "EventBusName": _BUS_NAME,
                "Source": ORDER_CREATED.source,
                "DetailType": ORDER_CREATED.detail_type,
                "Detail": _detail(order),
            }
            for order in batch
        ]
    )
    for order, entry in zip(batch, answer["Entries"], strict=True):
        if code := entry.get("ErrorCode"):
            failed[order.order_id] = f"{code}: {entry.get('ErrorMessage', '')}"
            count(Count.NOT_REEMITTED)
            logger.error("Order not emitted", order_id=order.order_id, reason=failed[order.order_id])
        else:
            count(Count.REEMITTED)
            logger.info("Order emitted again", order_id=order.order_id, carrier=order.carrier)
    return failed


def _detail(order: Order) -> str:
    return order_created_detail(order_id=order.order_id, state=order.state, carrier=order.carrier)


def _moment(moment: datetime) -> str:
    """A time as the index holds it."""
    return orders.timestamp(moment, "microseconds")


def _has_time(context: LambdaContext, *, calls: int) -> bool:
    """Whether so many more calls of AWS end before the function is ended, however slow they are."""
    return context.get_remaining_time_in_millis() > calls * _CALL_MILLISECONDS
