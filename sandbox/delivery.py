"""From a bus to the targets of its rules: jobs that wait in queues, what a rule does around a target, API destinations.

On MiniStack's bus the target of such a rule is a queue of SQS that receives the whole original event: each message is a
job. It is deleted only after the event was delivered or dead-lettered, so a worker may die anywhere.

A job that waits stays with the worker that took it, and its message stays invisible for as long: hundreds of them cost
a heap entry each, and wait to the millisecond, where SQS counts seconds. What a retry depends on (how often and how it
failed, when it is due) lies in a `Journal` beside the queue, because the message itself can't hold it: SQS counts
receptions, which are not tries, and neither a rate limit nor a crash is to use up a try. A worker that starts makes the
messages of its predecessor visible again, by the receipts in the journal; without the journal they come back when their
time is up, and their retries are counted anew.
"""

from __future__ import annotations

import base64
import heapq
import itertools
import json
import logging
import math
import random
import re
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from enum import Enum, auto
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPSConnection, IncompleteRead
from pathlib import Path
from typing import Any, NamedTuple, Protocol, Self
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from botocore.exceptions import ClientError

from sandbox import retry
from sandbox.retry import AWS_ERRORS, Backoff, Exhausted, Journal, Limiter, RetryPolicy
from sandbox.transform import TransformError, http_parameter, rule_input

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


# --- jobs -------------------------------------------------------------------------------------------------------------


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
        """`queues` is a boto3 client for SQS with two connections per queue; `state` a folder for what must survive."""
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


# --- rules ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class RuleTarget:
    """A target of a rule, whatever it is."""

    rule_arn: str
    arn: str
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    dead_letters: str | None = None
    """URL of the queue in DeadLetterConfig; without one, what can't be delivered is dropped."""


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why a target could not be called, by ERROR_CODE and ERROR_MESSAGE of a dead letter.

    AWS documents the codes, but not which failure has which.
    """

    code: str
    message: str
    retried: bool = True
    retry_after: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Tries:
    """How far the delivery of one event to one target has come."""

    count: int = 0
    failure: Failure | None = None
    """The last."""
    over: bool = False
    """Only the dead letter is left to write."""
    exhausted: str | None = None
    letters: int = 0
    """How often its dead letter could not be written for a reason that passes."""

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> Tries:
        """What `asdict` made of it."""
        known: dict[str, Any] = dict(state)
        if known.get("failure"):
            known["failure"] = Failure(**known["failure"])
        return cls(**known)


class Outcome(Enum):
    DELIVERED = auto()
    DISCARDED = auto()
    """Dead-lettered, or dropped and counted."""


# Nothing is documented about a dead-letter queue that is out of reach for a moment.
_LETTER_BACKOFF = Backoff(first=1, longest=60)
_TOO_OLD = Failure(code="UNKNOWN", message="The event reached its maximum age before its target was called.")


class Rule:
    """What EventBridge does around the calls of a target: retries, limits, dead letters and metrics.

    The rules are those of "How EventBridge retries delivering events", "Using dead-letter queues to process undelivered
    events" and "Monitoring Amazon EventBridge".
    """

    def __init__(self, target: RuleTarget, *, outbox: Outbox, count: Count, clock: Clock, chance: Chance) -> None:
        self._target = target
        self._outbox = outbox
        self._count = count
        self._clock = clock
        self._chance = chance

    def attempt(
        self, job: Job, tries: Tries, call: Callable[[Mapping[str, Any]], Failure | None]
    ) -> tuple[float, Tries] | Outcome:
        """One step: how it ended, or when to go on and from where.

        `call` takes the event and returns how the target failed, if it did.
        """
        if not tries.over and self._target.retry.expired(since=job.since, now=self._clock()):
            tries = replace(tries, over=True, exhausted=Exhausted.AGE, failure=tries.failure or _TOO_OLD)
        if not tries.over:
            self._count("InvocationAttempts", 1)
            if tries.count:
                self._count("RetryInvocationAttempts", 1)
            if (failure := _called(job, call)) is None:
                self._count("SuccessfulInvocationAttempts", 1)
                self._count("Invocations", 1)
                return Outcome.DELIVERED
            _log.warning("%s: %s: %s", self._target.rule_arn, failure.code, failure.message)
            following = self._following(job, tries.count, failure)
            tries = replace(tries, count=tries.count + 1, failure=failure)
            if following is not None and not isinstance(following, Exhausted):
                return following, tries
            tries = replace(tries, over=True, exhausted=following)
        if tries.letters == 0:
            self._count("Invocations", 1)
            self._count("FailedInvocations", 1)
        return self._discard(job, tries)

    def _following(self, job: Job, retries: int, failure: Failure) -> float | Exhausted | None:
        """When to try again; or the limit that ends the tries, None if it is the failure itself that does."""
        if not failure.retried or failure.retry_after < 0:
            return None
        return self._target.retry.after_failure(
            since=job.since,
            retries=retries,
            now=self._clock(),
            chance=self._chance(),
            retry_after=failure.retry_after,
        )

    def _discard(self, job: Job, tries: Tries) -> tuple[float, Tries] | Outcome:
        if self._target.dead_letters is None:
            _log.warning("%s: an event was dropped: there is no dead-letter queue", self._target.rule_arn)
            return Outcome.DISCARDED
        try:
            self._outbox.send_message(
                QueueUrl=self._target.dead_letters, MessageBody=job.body, MessageAttributes=self._attributes(tries)
            )
        except AWS_ERRORS as error:
            if retry.passes(error):
                wait = _LETTER_BACKOFF.wait(tries.letters + 1, self._chance())
                return self._clock() + wait, replace(tries, letters=tries.letters + 1)
            _log.error("%s: an event was dropped: %s", self._target.rule_arn, error)
            self._count("InvocationsFailedToBeSentToDlq", 1)
            return Outcome.DISCARDED
        self._count("InvocationsSentToDlq", 1)
        return Outcome.DISCARDED

    def _attributes(self, tries: Tries) -> dict[str, Any]:
        failure = tries.failure or _TOO_OLD
        attributes = {
            "RULE_ARN": self._target.rule_arn,
            "TARGET_ARN": self._target.arn,
            "ERROR_CODE": failure.code,
            "ERROR_MESSAGE": failure.message,
            "RETRY_ATTEMPTS": str(max(0, tries.count - 1)),
        }
        if tries.exhausted:
            attributes["EXHAUSTED_RETRY_CONDITION"] = tries.exhausted
        return {name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()}


def _called(job: Job, call: Callable[[Mapping[str, Any]], Failure | None]) -> Failure | None:
    try:
        event = json.loads(job.body)
    except ValueError:
        return Failure(code="INVALID_JSON", message="The event is not JSON.", retried=False)
    return call(event)


# --- API destinations -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Basic:
    """BASIC authorization."""

    username: str
    password: str = field(repr=False)

    @property
    def header(self) -> tuple[str, str]:
        credentials = base64.b64encode(f"{self.username}:{self.password}".encode()).decode()
        return "Authorization", f"Basic {credentials}"


@dataclass(frozen=True)
class ApiKey:
    """API_KEY authorization: `name` is the header."""

    name: str
    value: str = field(repr=False)

    @property
    def header(self) -> tuple[str, str]:
        return self.name, self.value


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """Headers, query and body members that a connection or a target adds to each request."""

    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    query: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    body: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    """Of a connection only."""
    path: tuple[str, ...] = ()
    """Of a target only: what replaces the asterisks of the endpoint, in their order."""


@dataclass(frozen=True, kw_only=True)
class ApiDestination:
    """An API destination with its connection; OAuth connections are not modelled."""

    endpoint: str
    method: str = "POST"
    authorization: Basic | ApiKey
    parameters: Parameters = Parameters()


@dataclass(frozen=True, kw_only=True)
class ApiDestinationTarget(RuleTarget):
    """An API destination as the target of a rule. Without a template it receives the whole event."""

    destination: ApiDestination
    paths: Mapping[str, str] = field(default_factory=dict[str, str])
    template: str | None = None
    parameters: Parameters = Parameters()
    """Their values may be paths into the original event."""


@dataclass(frozen=True, kw_only=True)
class Request:
    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes


class Response(NamedTuple):
    status: int
    retry_after: str | None


class CallError(Exception):
    """There is no answer, for a reason that is an ERROR_CODE and an ERROR_MESSAGE."""

    def __init__(self, code: str, message: str, *, retried: bool = True) -> None:
        super().__init__(message)
        self.code = code
        self.retried = retried


Sender = Callable[[Request], Response]

TIMEOUT = 5.0
"""Seconds from the start of a call to the end of its answer, which can't be changed ("API destinations as targets")."""
_LONGEST_ANSWER = 1024 * 1024  # bytes, as the Range header says

# "Headers included in requests to API destinations".
_OWN_HEADERS = {
    "User-Agent": "Amazon/EventBridge/ApiDestinations",
    "Range": f"bytes=0-{_LONGEST_ANSWER - 1}",
    "Accept-Encoding": "gzip,deflate",
    "Connection": "close",
}
_CONTENT_TYPE = ("Content-Type", "application/json; charset=utf-8")
# The same section lists them: EventBridge removes these from what a connection or a target adds.
_REMOVED_HEADERS = {
    *("a-im", "accept-charset", "accept-datetime", "accept-encoding", "cache-control", "connection"),
    *("content-encoding", "content-length", "content-md5", "date", "expect", "forwarded", "from", "host"),
    *("http2-settings", "if-match", "if-modified-since", "if-none-match", "if-range", "if-unmodified-since"),
    *("max-forwards", "origin", "pragma", "proxy-authorization", "range", "referer", "te", "trailer"),
    *("transfer-encoding", "user-agent", "upgrade", "via", "warning"),
}
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# "API destination error codes".
_RETRIED_STATUSES = frozenset(
    {
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.PROXY_AUTHENTICATION_REQUIRED,
        HTTPStatus.CONFLICT,
        HTTPStatus.TOO_MANY_REQUESTS,
    }
)
_CALL = "Unable to invoke ApiDestination endpoint: "


class ToApiDestination:
    """Calls an API destination for each event: a `Hop`.

    The rules are those of "API destinations as targets in Amazon EventBridge" and of HttpParameters in the API
    reference. A rate limit delays calls and drops none, while the events' age runs.
    """

    longest = TIMEOUT

    def __init__(
        self,
        target: ApiDestinationTarget,
        *,
        rate: Limiter,
        outbox: Outbox,
        denied: Callable[[], str | None] = lambda: None,
        send: Sender | None = None,
        parallel: int = 16,
        count: Count = ignore,
        clock: Clock = time.time,
        chance: Chance = random.random,
    ) -> None:
        """What the hop acts through.

        Args:
            target: The target of the rule.
            rate: The destination's InvocationRateLimitPerSecond, one for all targets that share the destination.
            outbox: Writes to the dead-letter queue, as EventBridge on behalf of the rule.
            denied: Why the target's role may not call `events:InvokeApiDestination`, or None.
            send: Makes the HTTP call; by default the real one.
            parallel: How many calls may be open at once; AWS documents no limit.
            count: Takes the rule's metrics.
            clock: Seconds since 1970.
            chance: Draws the jitter.

        """
        self.parallel = parallel
        self._target = target
        self._rate = rate
        self._denied = denied
        self._send = send or http_send
        self._clock = clock
        self._rule = Rule(target, outbox=outbox, count=count, clock=clock, chance=chance)

    def slot(self, job: Job, now: float) -> float:
        if Tries.of(job.state).over:
            return now
        too_old = job.since + self._target.retry.age
        slot = self._rate.slot(now, before=too_old)
        return too_old if slot is None else slot

    def attempt(self, job: Job) -> Later | None:
        result = self._rule.attempt(job, Tries.of(job.state), lambda event: self._call(event, job.since))
        if isinstance(result, Outcome):
            return None
        due, tries = result
        return Later(due, asdict(tries))

    def _call(self, event: Mapping[str, Any], since: float) -> Failure | None:
        if reason := self._denied():
            return Failure(code="NO_PERMISSIONS", message=reason, retried=False)
        try:
            response = self._send(http_request(self._target, event, since))
        except TransformError:
            # Not its message, which quotes the event.
            return Failure(
                code="INVALID_JSON", message="The input transformer makes no JSON of the event.", retried=False
            )
        except CallError as error:
            return Failure(code=error.code, message=f"{_CALL}{error}", retried=error.retried)
        if HTTPStatus.OK <= response.status < HTTPStatus.MULTIPLE_CHOICES:
            return None
        return Failure(
            code="ERROR_FROM_TARGET",
            message=f"{_CALL}it answered with HTTP status {response.status}.",
            retried=response.status in _RETRIED_STATUSES or response.status >= HTTPStatus.INTERNAL_SERVER_ERROR,
            retry_after=retry.retry_after(response.retry_after, self._clock()),
        )


def http_request(target: ApiDestinationTarget, event: Mapping[str, Any], since: float) -> Request:
    """The call that EventBridge makes for an event that it received at `since`.

    Raises:
        TransformError: The template does not make JSON of the event, or a path can't be read.
        CallError: A header can't be sent.

    """
    ours, theirs = target.parameters, target.destination.parameters
    body = _body(target, event, since)
    if theirs.body and isinstance(content := json.loads(body), dict):
        body = json.dumps({**content, **theirs.body}, separators=(",", ":"))
    headers = _headers(
        [
            _CONTENT_TYPE,
            *((name, http_parameter(value, event)) for name, value in ours.headers.items()),
            *theirs.headers.items(),
            target.destination.authorization.header,
        ]
    )
    query = {name: http_parameter(value, event) for name, value in ours.query.items()} | dict(theirs.query)
    path = [http_parameter(value, event) for value in ours.path]
    return Request(
        method=target.destination.method,
        url=_url(target.destination.endpoint, path, query),
        headers=headers,
        body=body.encode(),
    )


def _body(target: ApiDestinationTarget, event: Mapping[str, Any], since: float) -> str:
    if target.template is None:
        return json.dumps(event, separators=(",", ":"))
    return rule_input(
        event,
        paths=target.paths,
        template=target.template,
        rule_arn=target.rule_arn,
        ingestion_time=retry.iso(since),
    )


def _headers(additions: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The last of several additions wins, whatever its case; EventBridge's own win over all."""
    named = {name.strip().lower(): (name.strip(), value) for name, value in additions}
    headers = {name: value for key, (name, value) in named.items() if key not in _REMOVED_HEADERS}
    for name, value in headers.items():
        # What AWS makes of these is not documented. Not the value: it may be secret.
        if not _HEADER_NAME.fullmatch(name) or not value.isprintable():
            raise CallError("INVALID_PARAMETER", f"The header {name!r} can't be sent.", retried=False)
    return headers | _OWN_HEADERS


def _url(endpoint: str, path: Iterable[str], query: Mapping[str, str]) -> str:
    for value in path:
        endpoint = endpoint.replace("*", quote(value, safe=""), 1)
    parts = urlsplit(endpoint)
    merged = dict(parse_qsl(parts.query, keep_blank_values=True)) | dict(query)
    return parts._replace(query=urlencode(merged)).geturl()


def http_send(request: Request, *, timeout: float = TIMEOUT) -> Response:
    """Make one call over a connection of its own; redirects are answers like others.

    `http` is taken as well, which AWS refuses in an endpoint: it is what servers on this machine speak.

    Raises:
        CallError: The whole answer did not come within `timeout` seconds, or there is no connection. A name that
            can't be resolved is not tried again.

    """
    parts = urlsplit(request.url)
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=timeout)
    alarm = _Alarm(timeout)
    try:
        with alarm:
            connection.connect()
            alarm.watch(connection.sock)
            headers = {name: value.encode() for name, value in request.headers.items()}
            target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            connection.request(request.method, target, request.body, headers)
            with connection.getresponse() as response:
                content = response.read(_LONGEST_ANSWER)
                if response.length and len(content) < _LONGEST_ANSWER:
                    raise IncompleteRead(content)
            answer = Response(response.status, response.headers["Retry-After"])
    except socket.gaierror as error:
        raise CallError("SDK_CLIENT_ERROR", "API destination endpoint cannot be resolved.", retried=False) from error
    except (OSError, HTTPException) as error:
        if alarm.rang or isinstance(error, TimeoutError):
            raise _timeout() from error
        # Code and words of a dead letter that someone published.
        raise CallError("SDK_CLIENT_ERROR", "API destination endpoint cannot be reached.") from error
    finally:
        connection.close()
    if alarm.rang:
        raise _timeout()
    return answer


def _timeout() -> CallError:
    # Words of a dead letter that someone published, whose code was UNKNOWN; TIMEOUT is among those that are documented.
    return CallError("TIMEOUT", "Timeout calling endpoint for API Destination.")


class _Alarm:
    """Ends an exchange at its deadline, which the timeout of a socket is not: that starts anew with each byte."""

    def __init__(self, seconds: float) -> None:
        self.rang = False
        self._timer = threading.Timer(seconds, self._ring)
        self._timer.daemon = True
        self._socket: socket.socket | None = None

    def watch(self, sock: socket.socket) -> None:
        self._socket = sock
        if self.rang:
            self._ring()

    def _ring(self) -> None:
        self.rang = True
        if self._socket:
            with suppress(OSError):
                # The plain shutdown, since the one of TLS is not for another thread to call.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def __enter__(self) -> None:
        self._timer.start()

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
