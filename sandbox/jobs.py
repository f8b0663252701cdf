"""Jobs that wait in queues: who takes them, when each is attempted, and what survives a worker that dies.

Each message of a queue of SQS is a job. It is deleted only after the job is done, one way or the other, so a worker may
die anywhere.

A job that waits stays with the worker that took it, and its message stays invisible for as long: hundreds of them cost
a heap entry each, and wait to the millisecond, where SQS counts seconds. What a retry depends on (how often and how it
failed, when it is due) lies in a `Journal` beside the queue, because the message itself can't hold it: SQS counts
receptions, which are not tries, and neither a rate limit nor a crash is to use up a try. A worker that starts makes the
messages of its predecessor visible again, by the receipts in the journal; without the journal they come back when their
time is up, and their retries are counted anew.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import math
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol, Self

from botocore.exceptions import ClientError

from sandbox import retry
from sandbox.retry import AWS_ERRORS, Journal

_log = logging.getLogger(__name__)

Clock = Callable[[], float]
Chance = Callable[[], float]
Count = Callable[[str, int], None]
"""Takes a metric by AWS's name and what to add to it; called from several threads."""
Start = Callable[[Callable[[], None]], object]
Stamped = Callable[[float], float]
"""The time by a worker's `Clock` at a moment that a service has stamped with the machine's."""
Killed = Callable[[], bool]
"""Whether a worker dies now."""


def ignore(_metric: str, _amount: int) -> None:
    """Counts nothing."""


def as_stamped(moment: float) -> float:
    """The two clocks are one."""
    return moment


def never() -> bool:
    """Nobody dies."""
    return False


def queue_url(endpoint_url: str, arn: str) -> str:
    """The URL by which a client with this endpoint names the queue."""
    account, name = arn.split(":")[4:6]
    return f"{endpoint_url}/{account}/{name}"


@dataclass(frozen=True, kw_only=True)
class Job:
    """One message: the text of an event that the bus received at `since`."""

    body: str
    since: float
    state: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """What the last attempt left behind; empty before the first."""


class Later(NamedTuple):
    """A job that is not done: attempt it again at `at`, with `state`, which is JSON."""

    at: float
    state: Mapping[str, Any]


class Hop(Protocol):
    """What is to be done with each job of a queue; called from several threads."""

    @property
    def longest(self) -> float:
        """The seconds within which an attempt ends."""
        ...

    @property
    def parallel(self) -> int:
        """How many attempts may run at once."""
        ...

    def slot(self, job: Job, now: float) -> float:
        """When a job that is due now may start, if there is a rate limit; a slot is given once."""
        ...

    def attempt(self, job: Job) -> Later | None:
        """Do it now; None if the job is done, one way or the other."""
        ...


class Queues(Protocol):
    """The calls of boto3's SQS client by which jobs are taken from a queue."""

    def receive_message(self, **request: Any) -> Any: ...
    def change_message_visibility(self, **request: Any) -> Any: ...
    def delete_message(self, **request: Any) -> Any: ...


class Outbox(Protocol):
    """The call of boto3's SQS client by which dead letters and failure records are written."""

    def send_message(self, **request: Any) -> Any: ...


_BATCH = 10  # messages, the most that SQS hands out at once
_LONGEST_INVISIBILITY = 43_200  # seconds, SQS's own limit
# Seconds that a message stays invisible beyond what is planned for it; also what it costs at least if a worker dies
# after it took a message and before it noted that.
_MARGIN = 5
_MOST_HELD = 10_000  # jobs; more wait in the queue


@dataclass(kw_only=True)
class _Held:
    id: str
    receipt: str
    job: Job
    due: float
    invisible_until: float
    fresh: bool
    """Counts as work at hand, rather than as a retry that waits."""
    has_slot: bool = False


class Line:
    """The jobs of one queue, for one worker.

    `receive` takes jobs from the queue and `run_due` starts what is due, through `start`, which takes a function to
    call once. Neither waits for a job's time to come: whoever calls them does.
    """

    def __init__(
        self,
        *,
        queue_url: str,
        queues: Queues,
        hop: Hop,
        journal: Journal,
        start: Start,
        clock: Clock = time.time,
        stamped: Stamped = as_stamped,
        killed: Killed = never,
    ) -> None:
        """`killed` is asked after each attempt, before its end is noted."""
        self.hop = hop
        """May be replaced: the next attempt is made by the new one."""
        self.killed = False
        """Whether its worker has died: no attempt begins any more, and the end of none is noted."""
        self.changed = threading.Condition()
        """Notified when there may be something to receive or to run; held while either is done."""
        self._url = queue_url
        self._queues = queues
        self._journal = journal
        self._start = start
        self._clock = clock
        self._stamped = stamped
        self._is_killed = killed
        self._held: dict[str, _Held] = {}
        self._wakes: list[tuple[float, int, _Held]] = []
        self._order = itertools.count()
        self._running = 0

    def recover(self) -> None:
        """Make visible what a worker before this one had taken and not finished."""
        for key in self._journal:
            if (kept := self._journal.read(key)) is None:
                # A last attempt of that worker has finished it meanwhile.
                continue
            receipt = kept["receipt"]
            try:
                self._queues.change_message_visibility(QueueUrl=self._url, ReceiptHandle=receipt, VisibilityTimeout=0)
            except ClientError as error:
                if retry.passes(error):
                    raise
                _log.info("%s: nothing to recover of %s: %s", self._url, key, error)
                if retry.code(error) == "ReceiptHandleIsInvalid":
                    # The message was deleted, and its note should have been.
                    self._journal.remove(key)

    @property
    def room(self) -> int:
        """How many jobs it would take now: those that can start soon, since the others are safer in the queue."""
        with self.changed:
            at_hand = sum(held.fresh for held in self._held.values())
            return min(self.hop.parallel - at_hand, _MOST_HELD - len(self._held), _BATCH)

    def receive(self, wait: int = 0) -> None:
        """Take jobs from the queue, waiting up to `wait` seconds for the first."""
        if (room := self.room) < 1:
            return
        invisible = math.ceil(self.hop.longest) + _MARGIN
        answer = self._queues.receive_message(
            QueueUrl=self._url,
            MaxNumberOfMessages=room,
            WaitTimeSeconds=wait,
            VisibilityTimeout=invisible,
            MessageSystemAttributeNames=["SentTimestamp"],
        )
        with self.changed:
            for message in answer.get("Messages", []):
                self._take(message, self._clock() + invisible)
            self.changed.notify_all()

    def run_due(self) -> float:
        """Start what is due, and return when the next is: infinity while it depends on those that run."""
        with self.changed:
            while self._wakes and self._wakes[0][0] <= self._clock():
                if self._running >= self.hop.parallel:
                    return math.inf
                held = heapq.heappop(self._wakes)[2]
                if self._is_ready(held):
                    held.fresh = True
                    self._running += 1
                    self._start(lambda held=held: self._attempt(held))
                elif held.id in self._held:
                    self._push(held)
            return self._wakes[0][0] if self._wakes else math.inf

    def _take(self, message: Mapping[str, Any], invisible_until: float) -> None:
        key, receipt = message["MessageId"], message["ReceiptHandle"]
        if held := self._held.get(key):
            # It was invisible for too short a time. The old receipt is worth nothing now.
            held.receipt, held.invisible_until = receipt, invisible_until
            self._note(held)
            return
        now, kept = self._clock(), self._journal.read(key) or {}
        since = self._stamped(int(message["Attributes"]["SentTimestamp"]) / 1000)
        job = Job(body=message["Body"], since=since, state=kept.get("state", {}))
        due = kept.get("due", now)
        held = _Held(id=key, receipt=receipt, job=job, due=due, invisible_until=invisible_until, fresh=due <= now)
        self._held[key] = held
        self._note(held)
        self._push(held)

    def _is_ready(self, held: _Held) -> bool:
        """Whether to start it now; if not, its time and its message's are extended."""
        now = self._clock()
        if held.due <= now and not held.has_slot:
            held.due = self.hop.slot(held.job, now)
            held.has_slot = True
        needed = max(held.due, now) + self.hop.longest
        return (held.invisible_until >= needed or self._extended(held, needed)) and held.due <= now

    def _extended(self, held: _Held, until: float) -> bool:
        """Keep the message invisible until then; False if it is gone, and the job with it."""
        now = self._clock()
        invisible = min(math.ceil(until - now) + _MARGIN, _LONGEST_INVISIBILITY)
        try:
            self._queues.change_message_visibility(
                QueueUrl=self._url, ReceiptHandle=held.receipt, VisibilityTimeout=invisible
            )
        except AWS_ERRORS as error:
            _log.warning("%s: a message could not be kept invisible: %s", self._url, error)
            if not retry.passes(error):
                # Deleted, or with another worker by now.
                del self._held[held.id]
                return False
        held.invisible_until = now + invisible
        return True

    def _push(self, held: _Held) -> None:
        # Earlier than due where the message would not stay invisible for long enough.
        covered = held.invisible_until >= held.due + self.hop.longest
        wake = held.due if covered else min(held.due, held.invisible_until - _MARGIN / 2)
        heapq.heappush(self._wakes, (wake, next(self._order), held))

    def _note(self, held: _Held) -> None:
        self._journal.write(held.id, {"receipt": held.receipt, "due": held.due, "state": held.job.state})

    def _attempt(self, held: _Held) -> None:
        try:
            if self.killed:
                return
            later = self.hop.attempt(held.job)
            if self._dies():
                return
            if later is None:
                self._finish(held)
            else:
                self._postpone(held, later)
        except BaseException:
            # A mistake of ours: the message comes back when its time is up.
            with self.changed:
                self._held.pop(held.id, None)
            raise
        finally:
            with self.changed:
                self._running -= 1
                self.changed.notify_all()

    def _dies(self) -> bool:
        with self.changed:
            self.killed = self.killed or self._is_killed()
            return self.killed

    def _postpone(self, held: _Held, later: Later) -> None:
        with self.changed:
            held.job = replace(held.job, state=later.state)
            held.due, held.has_slot, held.fresh = later.at, False, False
            self._note(held)
            self._push(held)

    def _finish(self, held: _Held) -> None:
        try:
            self._queues.delete_message(QueueUrl=self._url, ReceiptHandle=held.receipt)
        except AWS_ERRORS as error:
            _log.warning("%s: a job is done, but its message will come again: %s", self._url, error)
        self._journal.remove(held.id)
        with self.changed:
            del self._held[held.id]


_POLL = 1  # seconds: how long a receiver waits for a message, and so how long it takes to stop
_PAUSE = 1.0  # seconds after an error of SQS
REVIVAL = 0.1
"""Seconds until another worker takes over from one that died: one that dies all the time leaves others some."""


class Dispatcher:
    """Works on the jobs of queues in the background, each with its own threads, until it is closed."""

    def __init__(self, queues: Queues, *, state: Path, clock: Clock = time.time, stamped: Stamped = as_stamped) -> None:
        """`queues` has two connections per queue; `state` a folder for what must survive."""
        self._queues = queues
        self._state = state
        self._clock = clock
        self._stamped = stamped
        self._servers: dict[str, _Server] = {}

    def attach(self, queue_url: str, hop: Hop, *, killed: Killed = never) -> None:
        """Serve a queue by `hop`, or by this one from now on; `killed` is for workers that begin after this call."""
        if server := self._servers.get(queue_url):
            server.use(hop, killed)
            return
        journal = Journal(self._state / f"{queue_url.rpartition('/')[2]}.journal")

        def line(hop: Hop, killed: Killed, start: Start) -> Line:
            return Line(
                queue_url=queue_url,
                queues=self._queues,
                hop=hop,
                journal=journal,
                start=start,
                clock=self._clock,
                stamped=self._stamped,
                killed=killed,
            )

        name = queue_url.rpartition("/")[2]
        self._servers[queue_url] = _Server(name, line, hop, killed=killed, journal=journal, clock=self._clock)

    def detach(self, queue_url: str) -> None:
        """Serve it no more; waits for the attempts that are under way. Its messages stay."""
        if server := self._servers.pop(queue_url, None):
            server.stop()

    def close(self) -> None:
        """Stop all at once, after the attempts that are under way."""
        for server in self._servers.values():
            server.stopping.set()
        for url in list(self._servers):
            self.detach(url)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Server:
    """A line with its threads: one receives, one keeps the time, up to `parallel` attempt.

    A line that was killed is followed by another one, to which only the journal tells of it.
    """

    def __init__(
        self,
        name: str,
        line: Callable[[Hop, Killed, Start], Line],
        hop: Hop,
        *,
        killed: Killed,
        journal: Journal,
        clock: Clock,
    ) -> None:
        self.stopping = threading.Event()
        self._name = name
        self._make = line
        self._killed = killed
        self._journal = journal
        self._clock = clock
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(hop.parallel, thread_name_prefix=name)
        self._line = line(hop, killed, self._start_attempt)
        self._thread = threading.Thread(target=self._serve, name=f"{name} runs")
        self._thread.start()

    def use(self, hop: Hop, killed: Killed) -> None:
        """Go on with this hop."""
        with self._lock:
            self._line.hop, self._killed = hop, killed

    def stop(self) -> None:
        self.stopping.set()
        with self._lock:
            line = self._line
        with line.changed:
            line.changed.notify_all()
        self._thread.join()
        self._pool.shutdown()
        self._journal.close()

    def _start_attempt(self, attempt: Callable[[], None]) -> None:
        self._pool.submit(attempt).add_done_callback(_report)

    def _serve(self) -> None:
        while not self.stopping.is_set():
            line = self._line
            receives = threading.Thread(target=self._receive, args=(line,), name=f"{self._name} receives")
            receives.start()
            self._run(line)
            receives.join()
            if line.killed and not self.stopping.wait(REVIVAL):
                _log.warning("%s: the worker was killed: another one takes over", self._name)
                with self._lock:
                    self._line = self._make(line.hop, self._killed, self._start_attempt)

    def _works(self, line: Line) -> bool:
        return not (line.killed or self.stopping.is_set())

    def _receive(self, line: Line) -> None:
        self._until_it_works(line.recover)
        while self._works(line):
            with line.changed:
                if line.room < 1:
                    line.changed.wait(_PAUSE)
                    continue
            self._until_it_works(lambda: line.receive(_POLL))

    def _run(self, line: Line) -> None:
        while self._works(line):
            with line.changed:
                wait = line.run_due() - self._clock()
                line.changed.wait(min(max(0.0, wait), _PAUSE))

    def _until_it_works(self, step: Callable[[], None]) -> None:
        while not self.stopping.is_set():
            try:
                return step()
            except AWS_ERRORS as error:
                _log.warning("%s: %s", threading.current_thread().name, error)
                self.stopping.wait(_PAUSE)
        return None


def _report(attempt: Future[None]) -> None:
    if error := attempt.exception():
        _log.error("an attempt ended in a mistake of the sandbox", exc_info=error)
