"""A storm over the deployed program: orders are placed while all misbehaves, then what is left is brought home."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any
from unittest.mock import patch

import urllib3

import ops.stack
from contracts import ORDER_CREATED, ORDER_SHIPPED
from contracts.principals import caller_of, stable_caller
from handlers.orders import InvalidTimestampError, utc
from ops import mailbox
from ops.letters import Letter as Read
from ops.letters import StreamPosition, Unreadable
from ops.mailbox import Mailbox
from ops.redrive import Outcome, Redriver
from ops.stream import orders_at
from sandbox.client import Client, Saboteur
from sandbox.faults import Kind
from tests.chaos.audit import Call, Change, Confirmation, Facts, Forgery, Letter, Placement, Snapshot, Stored
from tests.chaos.carrier import Carrier, Ledger, basic
from tests.chaos.deployment import CHANGES, USER, deployed, secrets, update
from tests.chaos.plan import CONFLICT, MOCK, OWN, Plan, Wanted
from tests.handlers.server import serving
from tests.sandbox.conftest import NAME, ROLE, Deployed

_CLIENTS = 8
_FORGERS = 4
# The deployed carrier's mood changes so often.
_MOOD = 0.5
_TICK = 0.05
# A client without an answer asks again so often, if it has a key: without one it might place two orders.
_ASKS, _PAUSE = 60, 0.3
# A signature that was made before the clock went a day forward has expired when it arrives.
_TRY_AGAIN = {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.FORBIDDEN}
_CONNECTIONS = 3
# The last orders are placed once the last deployment is over, so that none happens in a calm.
_LAST = 0.9
_UPDATED_WITHIN = 600.0
# Nobody waits for a retry: at each look after which something still waits, the cloud's clock goes forward. All of it
# together is far less than a day, after which a retry would be given up.
_RESTS_WITHIN = 300.0
_LOOK = 0.4
_LOOKS = 3
_SKIPPED = 15.0
# Three re-emissions, one more sweep that gives up, and as many again for those that were struck.
_SWEEPS = 8
_REDRIVES = 4
# Times by which what was forged can be told.
_FORGED_AT = "1999-12-31T23:59:{:02d}.{}Z"
_IMPOSSIBLE = "2026-02-30T12:00:00Z"


@dataclass(frozen=True, kw_only=True)
class Storm:
    """What happened, with what the facts do not say."""

    facts: Facts
    seconds: float
    turned_away: dict[str, int]
    """Calls that a carrier refused for their credentials, by carrier."""
    outcomes: dict[str, int]
    """What became of the messages in the queues, by the words of a redrive."""


def rage(plan: Plan, folder: Path, tell: Callable[[str], None]) -> Storm:
    """Let the storm happen on a cloud of its own in `folder`, which nothing outlives; `tell` takes its progress."""
    started = time.monotonic()

    def said(what: str) -> None:
        tell(f"{time.monotonic() - started:6.1f} s  {what}")

    # This SQS, of one server, needs no waiting to give all that it has.
    with patch.object(mailbox, "_WAIT", 0), ExitStack() as stack:
        weather = _Weather(plan, stack)
        said("deploying")
        cloud = stack.enter_context(deployed(folder, weather.endpoints))
        scene = _Scene(plan, cloud, weather, said)
        said(f"{plan.count} orders in {plan.seconds:.0f} s and {len(plan.faults)} faults")
        scene.blow()
        storm = scene.snapshot("storm")
        scene.sweep(storm)
        swept = scene.snapshot("swept")
        scene.heal()
        outcomes, redriven = scene.redrive()
        end = scene.snapshot("end")
        facts = Facts(
            planned=plan.count,
            struck=scene.struck,
            updates=tuple(scene.updates),
            placements=tuple(scene.placements),
            changes=tuple(_changes(cloud)),
            calls=(*weather.ledger.calls, *_calls_of_the_mock(cloud)),
            acts=tuple(weather.ledger.acts),
            confirmations=tuple(scene.confirmations()),
            forgeries=tuple(scene.forgeries),
            contradictions=frozenset(scene.contradictions),
            accountable=frozenset(OWN),
            redriven=redriven,
            mistakes=tuple(_mistakes(cloud)),
            storm=storm,
            swept=swept,
            end=end,
        )
        return Storm(
            facts=facts,
            seconds=time.monotonic() - started,
            turned_away=dict(weather.ledger.turned_away),
            outcomes=outcomes,
        )


class _EndedError(RuntimeError):
    """The storm has ended before its time: it failed elsewhere, or somebody has stopped it."""


class _Weather:
    """The carriers that the storm plays, served before there is a cloud that calls them."""

    def __init__(self, plan: Plan, stack: ExitStack) -> None:
        self.calm = False
        self.ledger = Ledger()
        self.confirm: Callable[[str, str, str], bool] = lambda *_: False
        background = stack.enter_context(ThreadPoolExecutor(16, thread_name_prefix="confirms"))
        self.carriers = {
            name: Carrier(
                name,
                ledger=self.ledger,
                mode=lambda order_id, number: "ok" if self.calm else plan.mode(order_id, number),
                delay=plan.delay,
                confirm=lambda order_id, shipped_at, name=name: self.confirm(name, order_id, shipped_at),
                background=background,
            )
            for name in OWN
        }
        self.endpoints = {name: stack.enter_context(serving(one)).url for name, one in self.carriers.items()}

    def admit(self, *known: dict[str, str]) -> None:
        """Take these secrets and no others."""
        with_user, with_key = (self.carriers[name] for name in OWN)
        with_user.admitted = {basic(USER, secrets[with_user.name]) for secrets in known}
        with_key.admitted = {secrets[with_key.name] for secrets in known}


class _Scene:
    """The deployed program in its storm."""

    def __init__(self, plan: Plan, cloud: Deployed, weather: _Weather, said: Callable[[str], None]) -> None:
        self.placements: list[Placement] = []
        self.forgeries: list[Forgery] = []
        self.contradictions: set[tuple[str, str]] = set()
        self.updates: list[str] = []
        self.struck: dict[str, int] = {}
        self.saboteur = Saboteur(cloud.session)
        self._plan = plan
        self._cloud = cloud
        self._weather = weather
        self._said = said
        self._client = cloud.client()
        self._stranger = cloud.client("nobody")
        self._principals = {name: cloud.client(name) for name in OWN} | {MOCK: cloud.carrier(MOCK)}
        self._callers = {caller_of(f"{ROLE}{name}"): name for name in OWN}
        self._callers[caller_of(f"{ROLE}{NAME}carrier-{MOCK}-mock")] = MOCK
        self._at = 0.0
        """How far the storm is; see `Wanted.at`."""
        self._updated = threading.Event()
        self._ended = threading.Event()
        self._skips = 0
        self._under_way: list[Future[Any]] = []
        self._emitted: set[str] = set()
        self._witnessed = 0
        self._http = urllib3.PoolManager(retries=False, timeout=35)
        weather.admit(secrets(cloud))
        weather.confirm = self._confirm

    # --- the storm

    def blow(self) -> None:
        """Place the orders while everything misbehaves, until all are placed and the last deployment is over."""
        self._started = time.monotonic()
        over = threading.Event()
        with (
            ThreadPoolExecutor(_FORGERS) as forgers,
            ThreadPoolExecutor(_CLIENTS) as clients,
            ThreadPoolExecutor(3) as others,
        ):
            self._forgers = forgers
            busy = [others.submit(self._update), others.submit(self._sabotage)]
            mood = others.submit(self._change_moods, over)
            placed = [clients.submit(self._place, wanted, clients) for wanted in self._plan.orders]
            try:
                _done([*placed, *busy])
            except BaseException:
                self._ended.set()
                raise
            finally:
                self._updated.set()
                over.set()
            _done([mood])
        # One that fails for as long as it is asked would never let anything come to rest.
        self._set_mood("ok")
        _done(self._under_way)
        self._said(f"{len(self.placements)} requests, {len(self.forgeries)} forgeries")

    def _place(self, wanted: Wanted, clients: ThreadPoolExecutor) -> None:
        self._pause(self._started + wanted.at * self._plan.seconds - time.monotonic())
        self._at = max(self._at, wanted.at)
        if wanted.at >= _LAST:
            self._updated.wait(_UPDATED_WITHIN)
        # A client that is impatient: the same request several times at once.
        for _ in range(wanted.times - 1):
            self._under_way.append(clients.submit(self._ask, wanted))
        order_id = self._ask(wanted)
        if order_id and wanted.forgery:
            forged = self._forgers.submit(self._forge, wanted.forgery, order_id, wanted.carrier)
            self._under_way.append(forged)

    def _ask(self, wanted: Wanted) -> str | None:
        """Place the order; its id, unless no answer told it."""
        headers = {"Idempotency-Key": wanted.key} if wanted.key else {}
        for _ in range(_ASKS if wanted.key else 1):
            try:
                status, answer = self._client.request("POST", "/orders", wanted.body, headers)
            except (urllib3.exceptions.HTTPError, ValueError):
                status, answer = 0, None
            accepted = status in {HTTPStatus.CREATED, HTTPStatus.OK}
            order_id = answer["order_id"] if accepted else None
            self.placements.append(Placement(wanted.key, wanted.carrier, status, order_id))
            if HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR and status not in _TRY_AGAIN:
                raise RuntimeError(f"an order of the plan is refused: {status} {answer}")
            if order_id:
                return order_id
            self._pause(_PAUSE)
        return None

    def _sabotage(self) -> None:
        for number, disturbance in enumerate(self._plan.faults):
            self._wait(disturbance.at)
            self.saboteur.fault(**disturbance.fault, seed=self._plan.seed + number)
        # In a short storm a fault may have met nothing that it could strike: it stays until it does.
        for kind, times in self.saboteur.faults().items():
            if not times:
                self.saboteur.fault(kind, times=1)

    def _change_moods(self, over: threading.Event) -> None:
        tick = 0
        while not over.wait(_MOOD):
            self._set_mood(self._plan.mood(tick))
            tick += 1

    def _set_mood(self, mode: str) -> None:
        self._cloud.session.ask("mode", function=f"{NAME}carrier-{MOCK}-mock", mode=mode)

    def _update(self) -> None:
        try:
            for number, changes in enumerate(self._plan.updates):
                self._wait((number + 0.3) / (len(self._plan.updates) + 0.5))
                old = secrets(self._cloud)
                for change in changes:
                    CHANGES[change](self._cloud)
                # While it is deployed, carriers take the old secret and the new one; then the new one only.
                said = update(self._cloud, lambda old=old: self._weather.admit(old, secrets(self._cloud)))
                self._weather.admit(secrets(self._cloud))
                self._said(f"deployed: {', '.join(changes)}")
                self.updates += changes
                if "pipe replaced" in changes and "created replacement" not in said:
                    raise RuntimeError(f"the pipe was not replaced: {said}")
        finally:
            self._updated.set()

    def _wait(self, at: float) -> None:
        """Until so much of the orders is placed, which on a slow machine takes longer."""
        while self._at < min(at, self._plan.orders[-1].at):
            self._pause(_TICK)

    def _pause(self, seconds: float) -> None:
        if self._ended.wait(max(0.0, seconds)):
            raise _EndedError

    # --- confirmations, true and forged

    def _confirm(self, carrier: str, order_id: str, shipped_at: str) -> bool:
        body = {"order_id": order_id, "shipped_at": shipped_at}
        return self._answered(self._principals[carrier], body) == HTTPStatus.ACCEPTED

    def _forge(self, kind: str, order_id: str, carrier: str) -> None:
        self._pause(self._plan.delay(order_id, 2.0))
        chance = uuid.UUID(order_id).int
        # It ends in no zero, which would be dropped when it is stored.
        shipped_at = _FORGED_AT.format(chance % 60, 1 + 10 * (chance % 10**5))
        own = self._principals[carrier]
        other = self._principals[next(name for name in OWN if name != carrier)]
        # What the bus may answer besides, while it is struck; and the gateway, to a signature that has expired.
        taken = frozenset({202, 403, 500, 502, 503, 504, 0})
        match kind:
            case "client":
                self._tell(kind, self._client, order_id, shipped_at, {403})
            case "stranger":
                self._tell(kind, self._stranger, order_id, shipped_at, {403})
            case "unsigned":
                self._tell(kind, None, order_id, shipped_at, {403})
            case "malformed":
                self._tell(kind, own, order_id, shipped_at.replace("T", " "), {400, 403})
            case "impossible-time":
                self._tell(kind, own, order_id, _IMPOSSIBLE, taken)
            case "unknown-order":
                self._tell(kind, own, str(uuid.uuid5(uuid.NAMESPACE_OID, order_id)), shipped_at, taken)
            case "other-carrier":
                self._tell(kind, other, order_id, shipped_at, taken)
            case _:
                if kind != CONFLICT:
                    raise LookupError(f"nobody forges {kind}")
                self._contradict(carrier, order_id, shipped_at)

    def _contradict(self, carrier: str, order_id: str, shipped_at: str) -> None:
        """Say another time in the carrier's name, if it has shipped the order: no other carrier would confirm it."""
        shipped = _calls_of_the_mock(self._cloud) if carrier == MOCK else tuple(self._weather.ledger.acts)
        if any((one.carrier, one.order_id) == (carrier, order_id) for one in shipped):
            self.contradictions.add((order_id, shipped_at))
            self._answered(self._principals[carrier], {"order_id": order_id, "shipped_at": shipped_at})

    def _tell(self, kind: str, caller: Client | None, order_id: str, shipped_at: str, expected: Any) -> None:
        status = self._answered(caller, {"order_id": order_id, "shipped_at": shipped_at})
        self.forgeries.append(Forgery(kind, order_id, shipped_at, status, frozenset(expected)))

    def _answered(self, caller: Client | None, body: dict[str, str]) -> int:
        # A connection that was kept may have been closed meanwhile; who confirms twice has confirmed once.
        for _ in range(_CONNECTIONS):
            with suppress(urllib3.exceptions.HTTPError, ValueError):
                if caller is None:
                    url = f"{self._client.url}/confirm-shipment"
                    return self._http.request("POST", url, json=body).status
                return caller.request("POST", "/confirm-shipment", body)[0]
        return 0

    # --- what comes after

    def sweep(self, storm: Snapshot) -> None:
        """Let every order that waits, and lies in no queue, have waited for too long, until it is shipped or given up.

        What lies in a queue is for a redrive, which would find nothing to do if a sweep had been there first.
        """
        for _ in range(_SWEEPS):
            waiting = [
                order_id
                for order_id, stored in self._table().items()
                if stored.waiting and not storm.of_order(order_id)
            ]
            if not waiting:
                return
            self._said(f"{len(waiting)} orders are overdue")
            for order_id in waiting:
                # It may have shipped meanwhile.
                with suppress(self._cloud.aws("dynamodb").exceptions.ConditionalCheckFailedException):
                    self._cloud.overdue(order_id)
            self._cloud.sweep()
            self._rests()

    def heal(self) -> None:
        """From now on everybody does what they should."""
        self._weather.calm = True
        struck = self.saboteur.faults()
        self.struck = struck | {str(Kind.CLOCK_JUMP): struck[Kind.CLOCK_JUMP] - self._skips}
        self.saboteur.clear_faults()

    def redrive(self) -> tuple[dict[str, int], set[str]]:
        """Redrive all queues until that changes nothing; how often which outcome, and which orders were redriven."""
        outcomes: Counter[str] = Counter(dict.fromkeys(Outcome, 0))
        redriven: set[str] = set()
        for _ in range(_REDRIVES):
            stack = self._operated()
            redriver = Redriver(stack)
            results = [result for queue in self._filled(stack) for result in redriver.run(queue)]
            counted = Counter(result.outcome.value for result in results if result.outcome is not Outcome.KEPT)
            outcomes += counted
            redriven |= {order for result in results if result.outcome is Outcome.REDRIVEN for order in result.orders}
            self._rests()
            if not counted:
                break
        return dict(outcomes), redriven

    def snapshot(self, name: str) -> Snapshot:
        """The table and the queues once nothing moves."""
        settled = self._rests()
        stack = self._operated()
        letters = [_letter(stack, queue.name, read) for queue in self._filled(stack) for read in _all(stack, queue)]
        snapshot = Snapshot(settled=settled, table=self._table(), letters=tuple(letters))
        states = Counter(stored.state for stored in snapshot.table.values())
        self._said(f"{name}: {dict(states)}, {len(letters)} messages{'' if settled else '; it still moves'}")
        return snapshot

    def confirmations(self) -> Iterator[Confirmation]:
        """Those that were on the bus, with a time that is one."""
        for event, _ in self._cloud.letters("witness"):
            if (event["source"], event["detail-type"]) == ORDER_SHIPPED:
                detail = event["detail"]
                with suppress(InvalidTimestampError):
                    sender = self._callers.get(stable_caller(detail["caller"]))
                    yield Confirmation(sender, detail["order_id"], utc(detail["shipped_at"]))

    def _rests(self) -> bool:
        """Whether everything came to rest in time."""
        given_up = time.monotonic() + _RESTS_WITHIN
        quiet = 0
        while time.monotonic() < given_up:
            quiet = quiet + 1 if self._quiet() else 0
            if quiet >= _LOOKS:
                return True
            if not quiet:
                self.saboteur.fault(Kind.CLOCK_JUMP, seconds=_SKIPPED)
                self._skips += 1
            time.sleep(_LOOK)
        return False

    def _quiet(self) -> bool:
        if any(carrier.busy for carrier in self._weather.carriers.values()):
            return False
        sqs = self._cloud.aws("sqs")
        for url in sqs.list_queues(QueueNamePrefix="rule-target-")["QueueUrls"]:
            names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
            found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
            if any(int(found[name]) for name in names):
                return False
        return self._all_emitted()

    def _all_emitted(self) -> bool:
        """Whether the pipe has brought every order onto the bus, or has said that it can't."""
        witnessed = self._cloud.letters("witness")
        for event, _ in witnessed[self._witnessed :]:
            if (event["source"], event["detail-type"]) == ORDER_CREATED:
                self._emitted.add(event["detail"]["order"]["id"])
        self._witnessed = len(witnessed)
        left = self._table().keys() - self._emitted
        if left:
            stack = self._operated()
            letters = [_letter(stack, "pipe", read) for read in _all(stack, stack.exports.queue("pipe"))]
            left -= {order_id for letter in letters for order_id in letter.orders}
        return not left

    def _table(self) -> dict[str, Stored]:
        pages = self._cloud.aws("dynamodb").get_paginator("scan").paginate(TableName=self._cloud.outputs["tableName"])
        return {
            item["PK"]["S"]: Stored(
                item["carrier"]["S"],
                item["state"]["S"],
                item.get("shipped_at", {}).get("S"),
                waiting="pending_shard" in item,
            )
            for page in pages
            for item in page["Items"]
        }

    def _operated(self) -> ops.stack.Stack:
        return ops.stack.opened(ops.stack.LOCAL, state=self._cloud.state)

    def _filled(self, stack: ops.stack.Stack) -> list[ops.stack.Queue]:
        return [queue for queue in stack.exports.queues if Mailbox(queue, stack.client("sqs")).depth().messages]


def _done(futures: list[Future[Any]]) -> None:
    for future in as_completed(futures):
        future.result()


def _all(stack: ops.stack.Stack, queue: ops.stack.Queue) -> list[Read]:
    box = Mailbox(queue, stack.client("sqs"))
    if not box.depth().messages:
        return []
    with box.opened() as messages:
        return [letter for batch in messages.batches() for letter in batch]


def _letter(stack: ops.stack.Stack, queue: str, read: Read) -> Letter:
    if isinstance(read.subject, StreamPosition):
        orders = tuple(orders_at(stack, read.subject) or ())
    else:
        orders = (read.order_id,) if read.order_id else ()
    return Letter(queue, orders, read.why, final=read.rejected or isinstance(read.subject, Unreadable))


def _changes(cloud: Deployed) -> Iterator[Change]:
    """Every record of the table's stream, from its first one on."""
    streams = cloud.aws("dynamodbstreams")
    arn = cloud.aws("dynamodb").describe_table(TableName=cloud.outputs["tableName"])["Table"]["LatestStreamArn"]
    for shard in streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]:
        iterator = streams.get_shard_iterator(
            StreamArn=arn, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        while iterator:
            page = streams.get_records(ShardIterator=iterator)
            if not page["Records"]:
                break
            for record in page["Records"]:
                image = record["dynamodb"].get("NewImage", {})
                state, shipped_at = (image.get(name, {}).get("S") for name in ("state", "shipped_at"))
                yield Change(record["dynamodb"]["Keys"]["PK"]["S"], record["eventName"], state, shipped_at)
            iterator = page.get("NextShardIterator")


def _mistakes(cloud: Deployed) -> Iterator[str]:
    """What the local cloud's workers could not explain to themselves: no fault that was asked for ends like this."""
    for line in (cloud.state / "cloud.log").read_text(errors="replace").splitlines():
        if "mistake of the sandbox" in line or "Exception in " in line:
            yield line


def _calls_of_the_mock(cloud: Deployed) -> Iterator[Call]:
    """Its log tells of the orders that it confirmed, and of no other."""
    group = f"/aws/lambda/{NAME}carrier-{MOCK}-mock"
    for page in cloud.aws("logs").get_paginator("filter_log_events").paginate(logGroupName=group):
        for event in page["events"]:
            with suppress(ValueError):
                record = json.loads(event["message"])
                if isinstance(record, dict) and record.get("message") == "Confirmation sent":
                    yield Call(MOCK, record["order_id"], record["order_id"], "ok", HTTPStatus.ACCEPTED)
