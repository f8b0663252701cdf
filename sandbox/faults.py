"""Faults that are injected into the local cloud: which are active, whom they strike, and how often they did.

Nothing here acts: who would meet the real failure (the front of AWS's APIs, Lambda, the workers) asks whether a fault
strikes it now, and fails as it would on AWS.
"""

from __future__ import annotations

import math
import random
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Self


class Kind(StrEnum):
    """A kind of fault; those with several ways to fail take them in turn."""

    description: str

    def __new__(cls, name: str, description: str) -> Self:
        kind = str.__new__(cls, name)
        kind._value_ = name
        kind.description = description
        return kind

    TABLE_THROTTLED = "table-throttled", "DynamoDB refuses requests about the table: 400 ThrottlingException"
    ENTRIES_FAILED = "entries-failed", "PutEvents answers 200 with failed entries: InternalFailure, ThrottlingException"
    BUS_UNAVAILABLE = "bus-unavailable", "PutEvents answers an error: 500 InternalException, 400 ThrottlingException"
    FUNCTION_CRASHES = "function-crashes", "An invocation ends as Unhandled: before the function's effect, after it"
    FUNCTION_THROTTLED = "function-throttled", "Lambda refuses invocations: 429 TooManyRequestsException"
    WORKER_KILLED = "worker-killed", "A worker dies after an effect, before it notes it; another one takes over"
    CLOCK_JUMP = "clock-jump", "The cloud's clock goes forward by --for SECONDS, at once and for good"


class Worker(StrEnum):
    """What WORKER_KILLED may strike."""

    PIPE = "pipe"
    DELIVERIES = "deliveries"
    """From a rule to an API destination."""
    INVOCATIONS = "invocations"
    """From a rule to a function."""
    SCHEDULES = "schedules"


_ABOUT_NO_FUNCTION = frozenset({Kind.WORKER_KILLED, Kind.CLOCK_JUMP})


class KilledError(Exception):
    """A worker has died, as far as the local cloud can let it: what it had in memory is gone."""


class FaultError(ValueError):
    """There is no such fault; the message says what would be one."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A fault as it was asked for. Without `seconds` and `times` it lasts until the faults are cleared."""

    kind: Kind
    rate: float = 1.0
    """The share, from 0 to 1, of what it could strike that it does strike."""
    seconds: float | None = None
    """After how many it ends; of a CLOCK_JUMP, how far it goes."""
    times: int | None = None
    """After how many strikes it ends."""
    function: str | None = None
    """Only what this function does, or what is done to it, by its deployed name."""
    worker: Worker | None = None
    """Only workers of this kind."""

    def __post_init__(self) -> None:
        """Raise FaultError for what fits no fault."""
        if not 0 <= self.rate <= 1:
            raise FaultError(f"the rate {self.rate:g} is not between 0 and 1")
        if self.seconds is not None and not (self.seconds > 0 and math.isfinite(self.seconds)):
            raise FaultError(f"{self.seconds:g} is no positive number of seconds")
        if self.times is not None and self.times < 1:
            raise FaultError(f"a fault can't strike {self.times} times: 1 is the least")
        if self.function is not None and self.kind in _ABOUT_NO_FUNCTION:
            raise FaultError(f"{self.kind} strikes no functions: leave --function out")
        if self.worker is not None and self.kind is not Kind.WORKER_KILLED:
            raise FaultError(f"{self.kind} strikes no workers: leave --worker out")
        if self.kind is Kind.CLOCK_JUMP:
            self._check_jump()

    def _check_jump(self) -> None:
        if self.seconds is None:
            raise FaultError(f"{self.kind} needs --for SECONDS: how far the clock goes forward")
        if (self.rate, self.times) != (1.0, None):
            raise FaultError(f"{self.kind} happens once and at once: leave --rate and --times out")

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Fault:
        """The fault that a request asks for by the names of these fields.

        Raises:
            FaultError: It asks for none that there is.

        """
        known = {**document, "kind": _one_of(Kind, "kind", document.get("kind"))}
        if document.get("worker") is not None:
            known["worker"] = _one_of(Worker, "worker", document["worker"])
        return cls(**known)


def _one_of(names: type[Kind | Worker], what: str, name: object) -> Any:
    try:
        return names(str(name))
    except ValueError as error:
        raise FaultError(f"there is no {what} {name!r}: it is one of {', '.join(names)}") from error


@dataclass(kw_only=True)
class _Active:
    fault: Fault
    ends: float
    struck: int = 0

    def over(self, now: float) -> bool:
        spent = self.fault.times is not None and self.struck >= self.fault.times
        return spent or now >= self.ends


class Faults:
    """The faults of one local cloud. For any number of threads.

    What is struck is chosen by one seed: the same requests in the same order are struck in the same way. The order of
    what happens at once is nobody's to fix.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` says in seconds how much time has passed."""
        self._clock = clock
        self._lock = threading.Lock()
        self._active: list[_Active] = []
        self._struck = dict.fromkeys(Kind, 0)
        self._seed = 0
        self.seed(secrets.randbelow(2**32))

    def seed(self, seed: int) -> None:
        """Choose from now on by this seed."""
        with self._lock:
            self._seed = seed
            self._random = random.Random(seed)  # noqa: S311 - a choice that can be made again, and no secret

    def inject(self, fault: Fault) -> None:
        """Let it strike from now on, beside those that are active; the first of several that would strike does."""
        lasts = math.inf if fault.seconds is None else fault.seconds
        with self._lock:
            self._active.append(_Active(fault=fault, ends=self._clock() + lasts))

    def jumped(self, fault: Fault) -> None:
        """Count a CLOCK_JUMP, which is over as soon as it has happened."""
        with self._lock:
            self._struck[fault.kind] += 1

    def clear(self) -> None:
        """End all. How often they struck stays, and so does the seed."""
        with self._lock:
            self._active.clear()

    def strike(self, kind: Kind, *, function: str | None = None, worker: Worker | None = None) -> int | None:
        """The number, from 1, of this strike among those of the fault that strikes; None if none does.

        `function` is the deployed name of the function that this is about, if it is about one.
        """
        with self._lock:
            for active in self._current():
                fault = active.fault
                if fault.kind is not kind or fault.function not in {None, function}:
                    continue
                if fault.worker not in {None, worker} or self._random.random() >= fault.rate:
                    continue
                active.struck += 1
                self._struck[kind] += 1
                return active.struck
        return None

    def struck(self) -> dict[str, int]:
        """How often each kind struck so far, by its name; 0 for one that never did."""
        with self._lock:
            return {str(kind): times for kind, times in self._struck.items()}

    def report(self) -> dict[str, Any]:
        """The seed, how often each kind struck, and each active fault with what is left of it; JSON."""
        struck = self.struck()
        with self._lock:
            now = self._clock()
            active = [
                {
                    **asdict(one.fault),
                    "struck": one.struck,
                    "seconds_left": None if math.isinf(one.ends) else one.ends - now,
                }
                for one in self._current()
            ]
            return {"seed": self._seed, "struck": struck, "active": active}

    def _current(self) -> list[_Active]:
        now = self._clock()
        self._active = [active for active in self._active if not active.over(now)]
        return self._active
