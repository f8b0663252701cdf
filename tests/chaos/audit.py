"""What must hold of every order after a storm, decided over what was observed. No AWS, no clock, no chance.

Each promise is a function of the facts that yields what broke it. A promise about orders that were not observed at all
is broken as well: `nothing was observed` is never `all is well`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

from sandbox.control import MODES
from sandbox.faults import Kind
from tests.chaos.plan import FORGERIES, UPDATES

PENDING, SHIPPED = "pending", "shipped"
LARGE = 500
"""Orders of a plan from which on nothing of what it is about stays out by chance."""


# --- facts ------------------------------------------------------------------------------------------------------------


class Placement(NamedTuple):
    """One request for an order, and its answer; `order_id` is None unless the API accepted it."""

    key: str | None
    carrier: str
    status: int
    order_id: str | None


class Change(NamedTuple):
    """One record of the table's stream, in the stream's order."""

    order_id: str
    event: str
    state: str | None
    shipped_at: str | None


class Call(NamedTuple):
    """One request that a carrier took notice of, and what it answered; 0 for an answer that it lost."""

    carrier: str
    key: str
    order_id: str
    mode: str
    status: int


class Act(NamedTuple):
    """A carrier has sent goods on their way."""

    carrier: str
    key: str
    order_id: str


class Confirmation(NamedTuple):
    """A confirmation on the bus; `sender` is the carrier whose principal sent it, None for anybody else's."""

    sender: str | None
    order_id: str
    shipped_at: str


class Forgery(NamedTuple):
    """A confirmation that must change nothing; `expected` are the statuses that it may be answered with."""

    kind: str
    order_id: str
    shipped_at: str
    status: int
    expected: AbstractSet[int]


class Letter(NamedTuple):
    """A message in a dead-letter queue. `final`: it is refused for good, or nobody can read it; no redrive takes it."""

    queue: str
    orders: tuple[str, ...]
    why: str
    final: bool


class Stored(NamedTuple):
    """An order in the table; `waiting` if the index of pending orders lists it, so that a sweep finds it."""

    carrier: str
    state: str
    shipped_at: str | None
    waiting: bool


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """The table and the queues at one moment; `settled` if nothing moved any more."""

    settled: bool
    table: Mapping[str, Stored]
    letters: tuple[Letter, ...]

    def of_order(self, order_id: str) -> list[Letter]:
        """The messages that a redrive would do something about."""
        return [letter for letter in self.letters if order_id in letter.orders and not letter.final]


@dataclass(frozen=True, kw_only=True)
class Facts:
    """All that was observed, in three moments: after the storm, after the sweeps, and at the end."""

    planned: int
    """How many orders were to be placed."""
    struck: Mapping[str, int]
    """How often each kind of fault did, by its name."""
    updates: tuple[str, ...]
    """What was changed while orders were placed."""
    placements: tuple[Placement, ...]
    changes: tuple[Change, ...]
    calls: tuple[Call, ...]
    acts: tuple[Act, ...]
    confirmations: tuple[Confirmation, ...]
    forgeries: tuple[Forgery, ...]
    contradictions: AbstractSet[tuple[str, str]]
    """What the storm itself said in the name of an order's own carrier: the order, and another time."""
    accountable: AbstractSet[str]
    """The carriers whose acts are known."""
    redriven: AbstractSet[str]
    """The orders that a redrive took up again."""
    mistakes: tuple[str, ...]
    """What went wrong in the local cloud itself, rather than in what it plays."""
    storm: Snapshot
    swept: Snapshot
    end: Snapshot

    @cached_property
    def accepted(self) -> dict[str, Placement]:
        """The first answer that promised an order, by the order's id."""
        found: dict[str, Placement] = {}
        for placement in self.placements:
            if placement.order_id is not None:
                found.setdefault(placement.order_id, placement)
        return found

    @cached_property
    def said(self) -> dict[tuple[str | None, str], set[str]]:
        """The times that were said, by sender and order, without those that the storm made up."""
        made_up = self.contradictions | {(forgery.order_id, forgery.shipped_at) for forgery in self.forgeries}
        found = defaultdict[tuple[str | None, str], set[str]](set)
        for one in self.confirmations:
            if (one.order_id, one.shipped_at) not in made_up:
                found[one.sender, one.order_id].add(one.shipped_at)
        return dict(found)

    @cached_property
    def accounted(self) -> list[Call]:
        """The calls of the carriers whose acts are known: all of them are."""
        return [call for call in self.calls if call.carrier in self.accountable]

    @cached_property
    def duplicates(self) -> int:
        """How many of these calls were about an order that its carrier had been called about before."""
        return len(self.accounted) - len({(call.carrier, call.key) for call in self.accounted})

    @cached_property
    def dead_lettered(self) -> set[str]:
        """The accepted orders that only a redrive could bring on."""
        return {order_id for order_id in self.accepted if self.swept.of_order(order_id)}

    @cached_property
    def lost(self) -> list[str]:
        """The accepted orders of which the end knows nothing good: neither shipped, nor in a queue to be redriven."""
        return [
            order_id
            for order_id in self.accepted
            if not _is_shipped(self.end, order_id) and not self.end.of_order(order_id)
        ]


class Violation(NamedTuple):
    """A promise that was not kept, and the order that it is about, if it is about one."""

    promise: str
    order_id: str | None
    said: str


# --- promises ---------------------------------------------------------------------------------------------------------

Broken = Iterator[tuple[str | None, str]]
_PROMISES: list[Callable[[Facts], Broken]] = []


def _promise(check: Callable[[Facts], Broken]) -> Callable[[Facts], Broken]:
    _PROMISES.append(check)
    return check


def audit(facts: Facts) -> list[Violation]:
    """Every promise that was not kept."""
    return [
        Violation(check.__name__.lstrip("_").replace("_", " "), order_id, said)
        for check in _PROMISES
        for order_id, said in check(facts)
    ]


@_promise
def _there_was_a_storm(facts: Facts) -> Broken:
    observed = {
        "order was accepted": facts.accepted,
        "change was streamed": facts.changes,
        "call of a carrier was seen": facts.calls,
        "act of a carrier was seen": facts.acts,
        "confirmation was seen": facts.confirmations,
        "confirmation was forged": facts.forgeries,
        **{f"fault of kind {kind} struck": facts.struck.get(kind) for kind in Kind},
        **{f"update was made of kind {update}": update in facts.updates for update in UPDATES},
    }
    if facts.planned >= LARGE:
        observed |= _of_a_large_storm(facts)
    yield from ((None, f"no {what}") for what, seen in observed.items() if not seen)


def _of_a_large_storm(facts: Facts) -> dict[str, object]:
    forged = {forgery.kind for forgery in facts.forgeries}
    misbehaved = {call.mode for call in facts.accounted}
    return {
        "call came again": facts.duplicates,
        "order was dead-lettered": facts.dead_lettered,
        "order was redriven": facts.redriven,
        "carrier contradicted itself": facts.contradictions,
        **{f"confirmation was forged of kind {kind}": kind in forged for kind in FORGERIES},
        **{f"carrier was called in mode {mode}": mode in misbehaved for mode in MODES},
    }


@_promise
def _everything_came_to_rest(facts: Facts) -> Broken:
    for name in ("storm", "swept", "end"):
        if not getattr(facts, name).settled:
            yield None, f"something still moved at the moment `{name}` when its time was over"


@_promise
def _the_local_cloud_made_no_mistake_of_its_own(facts: Facts) -> Broken:
    yield from ((None, mistake) for mistake in facts.mistakes)


@_promise
def _after_the_storm_each_order_is_shipped_or_waits_or_lies_in_a_queue(facts: Facts) -> Broken:
    for order_id in facts.accepted:
        stored = facts.storm.table.get(order_id)
        waits = stored is not None and stored.waiting
        if not (_is_shipped(facts.storm, order_id) or waits or facts.storm.of_order(order_id)):
            yield order_id, f"it is {_told(stored)}, in no queue, and no sweep would find it"


@_promise
def _after_the_sweeps_each_order_is_shipped_or_lies_in_a_queue(facts: Facts) -> Broken:
    for order_id in facts.accepted:
        if not (_is_shipped(facts.swept, order_id) or facts.swept.of_order(order_id)):
            yield order_id, f"it is {_told(facts.swept.table.get(order_id))}, and in no queue that can be redriven"


@_promise
def _at_the_end_each_order_is_shipped(facts: Facts) -> Broken:
    for order_id in facts.accepted:
        if not _is_shipped(facts.end, order_id):
            yield order_id, f"it is {_told(facts.end.table.get(order_id))}"


@_promise
def _each_message_has_its_reason(facts: Facts) -> Broken:
    for snapshot in (facts.storm, facts.swept, facts.end):
        for letter in snapshot.letters:
            if not letter.why.strip():
                yield (*letter.orders, None)[0], f"a message in {letter.queue} says no reason"


@_promise
def _redrive_leaves_only_what_is_refused_for_good(facts: Facts) -> Broken:
    for letter in facts.end.letters:
        about = [order_id for order_id in letter.orders if order_id in facts.end.table]
        if not letter.final and (about or not letter.orders):
            yield (*letter.orders, None)[0], f"{letter.queue} still holds a message: {letter.why}"


@_promise
def _an_order_is_stored_once_and_ships_once(facts: Facts) -> Broken:
    for order_id, changes in _by_order(facts.changes).items():
        events = [change.event for change in changes]
        if events[0] != "INSERT" or events.count("INSERT") != 1 or "REMOVE" in events:
            yield order_id, f"its records are {', '.join(events)}"
        lives = [(change.state, change.shipped_at) for change in changes if change.event != "REMOVE"]
        steps = [(old, new) for old, new in pairwise(lives) if old != new]
        wrong = [step for step in steps if not _ships(*step)]
        if lives[0] != (PENDING, None) or wrong or len(steps) > 1:
            yield order_id, "it went " + ", ".join(_told(Stored("", *life, waiting=False)) for life in _runs(lives))


@_promise
def _the_stream_ends_with_what_is_stored(facts: Facts) -> Broken:
    last = {change.order_id: (change.state, change.shipped_at) for change in facts.changes}
    for order_id, stored in facts.end.table.items():
        if last.get(order_id) != (stored.state, stored.shipped_at):
            yield order_id, f"it is {_told(stored)}, and its last record says {last.get(order_id)}"


@_promise
def _an_order_ships_at_a_time_that_its_own_carrier_said(facts: Facts) -> Broken:
    said = defaultdict[str, set[tuple[str | None, str]]](set)
    for confirmation in facts.confirmations:
        said[confirmation.order_id].add((confirmation.sender, confirmation.shipped_at))
    for order_id, stored in facts.end.table.items():
        if stored.state == SHIPPED and (stored.carrier, stored.shipped_at) not in said[order_id]:
            yield order_id, f"it is {_told(stored)}, which {stored.carrier} never said"


@_promise
def _a_forgery_is_turned_away_and_leaves_no_trace(facts: Facts) -> Broken:
    traces = {(change.order_id, change.shipped_at) for change in facts.changes}
    for forgery in facts.forgeries:
        if forgery.status not in forgery.expected:
            yield forgery.order_id, f"a confirmation of kind {forgery.kind} was answered with {forgery.status}"
        if (forgery.order_id, forgery.shipped_at) in traces:
            yield forgery.order_id, f"it bears the time of a confirmation of kind {forgery.kind}"


@_promise
def _nobody_has_an_order_that_nobody_asked_for(facts: Facts) -> Broken:
    """An order whose answer was lost may be there: one for each request without a key, and for each key, at most."""
    served = {placement.key for placement in facts.placements if placement.order_id is not None}
    lost = [placement.key for placement in facts.placements if placement.order_id is None]
    unanswered = lost.count(None) + len({key for key in lost if key is not None} - served)
    strange = [order_id for order_id in facts.end.table if order_id not in facts.accepted]
    if len(strange) > unanswered:
        yield from ((order_id, f"only {unanswered} such answers were lost") for order_id in strange)


@_promise
def _a_key_is_one_order(facts: Facts) -> Broken:
    orders = defaultdict[str, set[str]](set)
    keys = defaultdict[str, set[str | None]](set)
    made = Counter[str]()
    for placement in facts.placements:
        if placement.order_id is not None:
            keys[placement.order_id].add(placement.key)
            made[placement.order_id] += placement.status == 201
            if placement.key is not None:
                orders[placement.key].add(placement.order_id)
    yield from ((min(ids), f"key {key} has {len(ids)} orders") for key, ids in orders.items() if len(ids) > 1)
    yield from ((order_id, f"keys {sorted(map(str, of))} have it") for order_id, of in keys.items() if len(of) > 1)
    yield from ((order_id, f"it was created {times} times") for order_id, times in made.items() if times > 1)


@_promise
def _a_carrier_sees_each_of_its_orders_and_no_other(facts: Facts) -> Broken:
    seen = {(call.carrier, call.order_id) for call in facts.calls}
    # The mock's calls are known from its log, and a function that crashes after its effect has written none.
    confirmed = {(carrier, order_id) for carrier, order_id in facts.said if carrier not in facts.accountable}
    for order_id, placement in facts.accepted.items():
        if (placement.carrier, order_id) not in seen | confirmed:
            yield order_id, f"{placement.carrier} never saw it"
    for carrier, order_id in sorted(seen):
        if order_id not in facts.end.table or facts.end.table[order_id].carrier != carrier:
            yield order_id, f"{carrier} saw it, and it is not an order of that carrier"


@_promise
def _a_carrier_acts_once_for_each_order(facts: Facts) -> Broken:
    """Of the carriers whose acts are known; the report names the others, which forget what they did."""
    acts = Counter((act.carrier, act.order_id) for act in facts.acts)
    keys = {act.order_id: act.key for act in facts.acts}
    yield from (
        (order_id, f"{carrier} acted {times} times") for (carrier, order_id), times in acts.items() if times > 1
    )
    yield from ((order_id, f"its key was {key}") for order_id, key in keys.items() if key != order_id)
    for order_id, placement in facts.accepted.items():
        if placement.carrier in facts.accountable and not acts[placement.carrier, order_id]:
            yield order_id, f"{placement.carrier} never acted"


# --- histories --------------------------------------------------------------------------------------------------------


def history(facts: Facts, order_id: str) -> list[str]:
    """All that is known of an order, one fact a line."""
    lines = [f"placed: {p}" for p in facts.placements if p.order_id == order_id]
    lines += [f"streamed: {c}" for c in facts.changes if c.order_id == order_id]
    lines += [f"called: {c}" for c in facts.calls if c.order_id == order_id]
    lines += [f"acted: {a}" for a in facts.acts if a.order_id == order_id]
    lines += [f"on the bus: {c}" for c in facts.confirmations if c.order_id == order_id]
    lines += [f"forged: {f}" for f in facts.forgeries if f.order_id == order_id]
    for name in ("storm", "swept", "end"):
        snapshot: Snapshot = getattr(facts, name)
        lines.append(f"{name}: {snapshot.table.get(order_id)}")
        lines += [f"{name}: {letter}" for letter in snapshot.letters if order_id in letter.orders]
    return lines


def _is_shipped(snapshot: Snapshot, order_id: str) -> bool:
    stored = snapshot.table.get(order_id)
    return stored is not None and stored.state == SHIPPED


def _ships(old: tuple[str | None, str | None], new: tuple[str | None, str | None]) -> bool:
    return old == (PENDING, None) and new[0] == SHIPPED and new[1] is not None


def _runs(lives: Iterable[tuple[str, str | None]]) -> list[tuple[str, str | None]]:
    """Without what follows its like."""
    found: list[tuple[str, str | None]] = []
    for life in lives:
        if found[-1:] != [life]:
            found.append(life)
    return found


def _by_order(changes: Iterable[Change]) -> dict[str, list[Change]]:
    found = defaultdict[str, list[Change]](list)
    for change in changes:
        found[change.order_id].append(change)
    return found


def _told(stored: Stored | None) -> str:
    if stored is None:
        return "not stored"
    return stored.state if stored.shipped_at is None else f"{stored.state} at {stored.shipped_at}"
