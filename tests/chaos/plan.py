"""What a storm consists of, from a seed: the same seed makes the same orders, misbehaviour, faults and changes.

What is not fixed is who is faster: the ids of orders without a key, and which order a fault happens to strike.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

from sandbox.control import MODES
from sandbox.faults import Kind

MOCK = "acme"
"""The carrier that the deployed function plays: its memory is that of a process, which faults end."""
OWN = ("globex", "initech")
"""The carriers that a storm plays itself, and that remember what they did."""
CARRIERS = (MOCK, *OWN)
FORGERIES = ("other-carrier", "client", "unsigned", "stranger", "unknown-order", "impossible-time", "malformed")
CONFLICT = "conflicting-time"
"""Not a forgery: the order's own carrier says another time, and the first one that arrives wins."""
UPDATES = ("pipe replaced", "template changed", "secret rotated")

LEAST = 20
"""Orders that a storm has at least: with fewer of them most of what it is about would not happen."""

_MISBEHAVES = 0.3
_STUBBORN = 0.04
_BAD_MODES = tuple(mode for mode in MODES if mode != "ok")
# Seconds per order, and the least that all kinds of faults need.
_PACE, _SHORTEST = 0.35, 14.0
# How long a fault lasts, and how much of what it could strike it strikes: enough that retries meet it again.
_FAULT_SECONDS = (2.0, 5.0)
_EVERY = 1.5
_RATES = {
    Kind.TABLE_THROTTLED: 0.5,
    Kind.ENTRIES_FAILED: 0.6,
    Kind.BUS_UNAVAILABLE: 0.6,
    Kind.FUNCTION_CRASHES: 0.4,
    Kind.FUNCTION_THROTTLED: 0.5,
    Kind.WORKER_KILLED: 0.3,
}
_JUMP_SECONDS = (5.0, 90.0)
# More than a rule, a function and a pipe may retry: what waits at that moment is given up.
_DAY, _DAY_AT = 25 * 3600.0, 0.8


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """An order that a client places at `at`, a share of the storm, `times` times at once if it has a key."""

    at: float
    key: str | None
    body: Mapping[str, Any]
    times: int
    forgery: str | None
    """What somebody sends about it, once it is accepted, beside what its carrier does."""

    @property
    def carrier(self) -> str:
        return self.body["carrier"]


@dataclass(frozen=True, kw_only=True)
class Disturbance:
    """A fault at `at`, a share of the storm."""

    at: float
    fault: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A storm of `count` orders."""

    seed: int
    count: int
    orders: tuple[Wanted, ...] = field(init=False)
    faults: tuple[Disturbance, ...] = field(init=False)
    updates: tuple[tuple[str, ...], ...] = field(init=False)
    """Deployments one after the other, each with what it changes."""

    def __post_init__(self) -> None:
        orders = tuple(self._order(number, forgery) for number, forgery in enumerate(self._forgeries()))
        object.__setattr__(self, "orders", orders)
        object.__setattr__(self, "faults", tuple(self._faults()))
        # A deployment takes ten seconds: a short storm has time for one.
        changes = list(UPDATES)
        self._chance("updates").shuffle(changes)
        short = self.seconds < 60
        object.__setattr__(self, "updates", (tuple(changes),) if short else tuple((change,) for change in changes))

    @property
    def seconds(self) -> float:
        """How long orders are placed."""
        return max(_SHORTEST, self.count * _PACE)

    def mode(self, order_id: str, time: int) -> str:
        """How its carrier treats an order that it is asked for the time with this number, from 1."""
        if self._chance("stubborn", order_id).random() < _STUBBORN:
            return "never-confirm"
        chance = self._chance("mode", order_id, time)
        return chance.choice(_BAD_MODES) if chance.random() < _MISBEHAVES else "ok"

    def mood(self, tick: int) -> str:
        """How the deployed carrier treats every order, for the tick with this number."""
        chance = self._chance("mood", tick)
        return chance.choice(_BAD_MODES) if chance.random() < _MISBEHAVES else "ok"

    def delay(self, order_id: str, longest: float) -> float:
        """Seconds, up to `longest`."""
        return self._chance("delay", order_id).uniform(0, longest)

    def _forgeries(self) -> Iterator[str | None]:
        """Of each order: every kind happens once before one of them happens again."""
        chance = self._chance("forgeries")
        kinds = (*FORGERIES, CONFLICT)
        queue: list[str] = []
        for _ in range(self.count):
            if chance.random() >= _MISBEHAVES:
                yield None
                continue
            if not queue:
                queue = chance.sample(kinds, len(kinds))
            yield queue.pop()

    def _order(self, number: int, forgery: str | None) -> Wanted:
        chance = self._chance("order", number)
        keyed = chance.random() < 0.8
        body = {"carrier": chance.choice(CARRIERS), "reference": f"O'Neill {number}"}
        if chance.random() < 0.5:
            body["items"] = [{"sku": "chaos-1", "quantity": chance.randint(1, 9)}]
        return Wanted(
            at=number / self.count,
            key=f"{self.seed}-{number}" if keyed else None,
            body=body,
            times=chance.choice((1, 1, 2, 3)) if keyed else 1,
            forgery=forgery,
        )

    def _faults(self) -> list[Disturbance]:
        chance = self._chance("faults")
        kinds = [*_RATES, Kind.CLOCK_JUMP]
        found: list[Disturbance] = []
        queue: list[Kind] = []
        at = 0.5
        while at < self.seconds - 1 or len(found) < len(kinds):
            if not queue:
                queue = chance.sample(kinds, len(kinds))
            kind = queue.pop()
            fault: dict[str, Any] = {"kind": str(kind)}
            if kind is Kind.CLOCK_JUMP:
                fault["seconds"] = round(chance.uniform(*_JUMP_SECONDS), 1)
            else:
                fault |= {"rate": _RATES[kind], "seconds": round(chance.uniform(*_FAULT_SECONDS), 1)}
            found.append(Disturbance(at=min(at / self.seconds, 1.0), fault=fault))
            at += chance.uniform(0.5, 1.5) * _EVERY
        # So that a pipe has something to give up when a day has passed.
        outage = {"kind": str(Kind.BUS_UNAVAILABLE), "rate": 1.0, "seconds": 2.5}
        found.append(Disturbance(at=_DAY_AT - 1.5 / self.seconds, fault=outage))
        found.append(Disturbance(at=_DAY_AT, fault={"kind": str(Kind.CLOCK_JUMP), "seconds": _DAY}))
        return sorted(found, key=lambda disturbance: disturbance.at)

    def _chance(self, *what: object) -> Random:
        return Random("/".join(map(str, (self.seed, *what))))  # noqa: S311 - a storm that can be made again, and no secret
