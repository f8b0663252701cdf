"""A schedule of EventBridge Scheduler: hands one event to its target again and again, at a rate.

The rules are those of "Schedule types in EventBridge Scheduler": a rate without a start date begins at once. AWS starts
within the minute that is due; here it is the moment, or as soon as what was started before has ended, as a schedule
does one thing at a time.

Not modelled: cron and one-time schedules, flexible time windows, dead letters.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from sandbox.clock import waited
from sandbox.faults import KilledError
from sandbox.jobs import Clock, Hop, Job, Killed, never

_log = logging.getLogger(__name__)
_RATE = re.compile(r"rate\(([1-9][0-9]{0,5}) (minute|hour|day)s?\)")
_SECONDS = {"minute": 60, "hour": 3600, "day": 86_400}


def seconds(rate: str) -> int:
    """How long a rate waits.

    Raises:
        ValueError: It is none.

    """
    match = _RATE.fullmatch(rate)
    if match is None:
        raise ValueError(f"{rate!r} is not a rate")
    return int(match[1]) * _SECONDS[match[2]]


@dataclass(frozen=True, kw_only=True)
class _Started:
    """An event that is on its way to the target."""

    due: float
    job: Job
    hop: Hop


class Schedule:
    """Starts `body` every `every` seconds, from its own start on; what is missed meanwhile is not made up for."""

    def __init__(
        self,
        target: Callable[[], Hop],
        *,
        body: str,
        every: float,
        clock: Clock = time.time,
        killed: Killed = never,
    ) -> None:
        """`target` is asked at each start for what brings the event on its way, and raises LookupError without one.

        `killed` is asked each time that an event was on its way, before that is noted.
        """
        self._target = target
        self._body = body
        self._every = every
        self._clock = clock
        self._killed = killed
        self._next = clock()
        self._started: list[_Started] = []

    def run(self, stopping: threading.Event) -> None:
        """Work until `stopping` is set; what is under way then is finished, what waits is not.

        Raises:
            KilledError: It was killed; what it had started is lost, and another one begins at once.

        """
        while waited(stopping, self.step(), self._clock):
            pass

    def step(self) -> float:
        """Do what is due, and return after how many seconds there is more to do."""
        if (now := self._clock()) >= self._next:
            self._next += self._every * (1 + (now - self._next) // self._every)
            self._start(now)
        for started in [started for started in self._started if started.due <= now]:
            self._started.remove(started)
            later = started.hop.attempt(started.job)
            if self._killed():
                raise KilledError
            if later is not None:
                job = replace(started.job, state=later.state)
                self._started.append(replace(started, due=later.at, job=job))
        return max(0.0, min([self._next, *(started.due for started in self._started)]) - self._clock())

    def _start(self, now: float) -> None:
        try:
            hop = self._target()
        except LookupError as error:
            _log.warning("nothing is started: %s", error)
        else:
            self._started.append(_Started(due=now, job=Job(body=self._body, since=now), hop=hop))
