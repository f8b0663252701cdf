"""The local cloud's clock: the machine's, which a fault may put forward.

A jump is as if its seconds had passed for everybody at once. Nobody's clock can be put forward for them, so what
happened before a jump, by the machine's clock, is older by it; what happens after is not.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable


class CloudClock:
    """What time it is, in seconds since 1970, when called. For any number of threads."""

    def __init__(self, machine: Callable[[], float] = time.time) -> None:
        self._machine = machine
        self._lock = threading.Lock()
        self._jumps: list[tuple[float, float]] = []
        """When, by the machine, and how far."""

    def __call__(self) -> float:
        return self.of(self._machine())

    def forward(self, seconds: float) -> None:
        """Put it forward."""
        with self._lock:
            # Many stamps are whole seconds: what is of the second of a jump counts as after it.
            self._jumps.append((math.floor(self._machine()), seconds))

    def of(self, moment: float) -> float:
        """The cloud's time at a moment by the machine's clock."""
        with self._lock:
            return moment + sum(seconds for at, seconds in self._jumps if at <= moment)

    def skipped_since(self, moment: float) -> float:
        """How far it jumped after a moment by the machine's clock."""
        with self._lock:
            return sum(seconds for at, seconds in self._jumps if at > moment)


_LOOK = 0.5  # seconds: how long a jump of the clock may go unnoticed by who waits


def waited(stopping: threading.Event, seconds: float, clock: Callable[[], float]) -> bool:
    """Whether so many seconds of `clock` have passed without `stopping` being set; returns as soon as it is."""
    until = clock() + seconds
    while (left := until - clock()) > 0 and not stopping.wait(min(left, _LOOK)):
        pass
    return not stopping.is_set()
