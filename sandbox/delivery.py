"""From a bus to the targets of its rules: what a rule does around a target, and API destinations.

On MiniStack's bus the target of such a rule is a queue of SQS that receives the whole original event, and each message
is a job: it is done once the event was delivered or dead-lettered.
"""

from __future__ import annotations

import base64
import json
import logging
import random
import re
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from enum import Enum, auto
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPSConnection, IncompleteRead
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from sandbox import retry
from sandbox.jobs import Chance, Clock, Count, Job, Later, Outbox, ignore
from sandbox.retry import AWS_ERRORS, Backoff, Exhausted, Limiter, RetryPolicy
from sandbox.transform import TransformError, http_parameter, rule_input

_log = logging.getLogger(__name__)


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
