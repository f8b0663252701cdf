"""From a bus to a Lambda function: EventBridge hands the event over, Lambda then runs the function until it succeeds.

The rules are those of "Asynchronous invocation", "How Lambda handles errors and retries with asynchronous invocation"
and "Capturing records of Lambda asynchronous invocations" in the Lambda developer guide. Lambda invokes the function
asynchronously on AWS; here it is invoked synchronously each time, so that the retries and what they wait for are ours.

Not modelled: destinations other than queues, on-success destinations, a function's own dead-letter queue, and that a
reserved concurrency of zero discards events without a retry.
"""

from __future__ import annotations

import json
import logging
import random
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any, Protocol
from uuid import uuid4

from sandbox import retry
from sandbox.delivery import Failure, Outcome, Rule, RuleTarget, Tries
from sandbox.jobs import Chance, Clock, Count, Job, Later, Outbox, ignore
from sandbox.retry import AWS_ERRORS, AwsError, Backoff

_log = logging.getLogger(__name__)

# --- Lambda's waits ---------------------------------------------------------------------------------------------------


class Ended(StrEnum):
    """Why Lambda gave up: the condition of a failure record."""

    RETRIES = "RetriesExhausted"
    AGE = "EventAgeExceeded"


@dataclass(frozen=True, kw_only=True)
class AsyncPolicy:
    """FunctionEventInvokeConfig with Lambda's defaults, and the waits that can't be configured.

    The waits, and that only function errors use up retries, are Lambda's. That an event is given up as soon as its next
    run would come too late, and not when it is too old, was recorded on AWS by others.
    """

    retries: int = 2
    """MaximumRetryAttempts, which counts function errors only."""
    age: float = 21_600
    after_errors: tuple[float, ...] = (60, 120)
    otherwise: Backoff = field(default_factory=lambda: Backoff(first=1, longest=300, jitter=0))
    """After throttling and errors of Lambda's own."""

    def scaled(self, factor: float) -> AsyncPolicy:
        """The same retries and age with waits of `factor` the length."""
        waits = tuple(wait * factor for wait in self.after_errors)
        return replace(self, after_errors=waits, otherwise=self.otherwise.scaled(factor))

    def expired(self, *, since: float, now: float) -> bool:
        """Whether an event that Lambda took at `since` is not to be run any more."""
        return now - since >= self.age

    def after_error(self, *, since: float, errors: int, now: float) -> float | Ended:
        """When to run the function again after it failed for the time with this number, from 1."""
        if errors > self.retries:
            return Ended.RETRIES
        return self._in_time(since, now + self.after_errors[errors - 1])

    def after_refusal(self, *, since: float, refusals: int, now: float) -> float | Ended:
        """When to try again after Lambda could not run the function for the time with this number, from 1."""
        return self._in_time(since, now + self.otherwise.wait(refusals))

    def _in_time(self, since: float, at: float) -> float | Ended:
        return Ended.AGE if self.expired(since=since, now=at) else at


# --- the function as a target -----------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class FunctionTarget(RuleTarget):
    """A function, by its ARN without a version, as the target of a rule. It receives the whole event."""

    policy: AsyncPolicy = field(default_factory=AsyncPolicy)
    on_failure: str | None = None
    """URL of the queue that is the on-failure destination."""
    timeout: float = 900.0
    """The function's own."""


class Functions(Protocol):
    """The call of boto3's Lambda client."""

    def invoke(self, **request: Any) -> Any: ...


@dataclass(frozen=True, kw_only=True)
class _Run:
    """What is left of an event that Lambda has taken."""

    since: float
    request_id: str
    errors: int = 0
    refusals: int = 0
    response: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """What the function answered last, as in a failure record."""
    ended: str | None = None
    records: int = 0
    """How often its failure record could not be written for a reason that passes."""


# Nothing is documented about a destination that is out of reach for a moment.
_RECORD_BACKOFF = Backoff(first=1, longest=60)
_HANDOVER_FAILURES = {
    "AccessDenied": "NO_PERMISSIONS",
    "AccessDeniedException": "NO_PERMISSIONS",
    "ResourceNotFoundException": "NO_RESOURCE",
}


class ToFunction:
    """Hands each event over to a function and runs it: a `Hop`.

    The rule's retries and dead letters cover the handing over only: from there on the event is Lambda's, with the
    retries, the age and the failure record of the function's own configuration.
    """

    def __init__(
        self,
        target: FunctionTarget,
        *,
        handover: Functions,
        functions: Functions,
        outbox: Outbox,
        records: Outbox,
        parallel: int = 4,
        count: Count = ignore,
        count_runs: Count = ignore,
        clock: Clock = time.time,
        chance: Chance = random.random,
    ) -> None:
        """What the hop acts through.

        Args:
            target: The target of the rule.
            handover: A client that may invoke what EventBridge may, on behalf of the rule; it makes dry runs only.
            functions: A client that may invoke any function, as Lambda itself, and waits for the longest timeout.
            outbox: Writes to the rule's dead-letter queue, as EventBridge on behalf of the rule.
            records: Writes to the on-failure destination, as the function's role.
            parallel: How many invocations may run at once: each takes a process of its own on MiniStack.
            count: Takes the rule's metrics.
            count_runs: Takes the function's metrics.
            clock: Seconds since 1970.
            chance: Draws the jitter.

        """
        self.parallel = parallel
        self.longest = target.timeout
        self._target = target
        self._handover = handover
        self._functions = functions
        self._records = records
        self._count_runs = count_runs
        self._clock = clock
        self._chance = chance
        self._rule = Rule(target, outbox=outbox, count=count, clock=clock, chance=chance)

    def slot(self, job: Job, now: float) -> float:  # noqa: ARG002 - a function has no rate
        return now

    def attempt(self, job: Job) -> Later | None:
        if "run" not in job.state:
            result = self._rule.attempt(job, Tries.of(job.state.get("tries", {})), self._hand_over)
            if result is Outcome.DISCARDED:
                return None
            if isinstance(result, tuple):
                due, tries = result
                return Later(due, {"tries": asdict(tries)})
            self._count_runs("AsyncEventsReceived", 1)
        run = _Run(**job.state.get("run", {"since": self._clock(), "request_id": str(uuid4())}))
        result = self._step(job, run)
        if result is None:
            return None
        due, run = result
        return Later(due, {"run": asdict(run)})

    def _hand_over(self, _event: Mapping[str, Any]) -> Failure | None:
        """On AWS this is the invocation of type Event, which tells that the function is there and may be invoked."""
        try:
            self._handover.invoke(FunctionName=self._target.arn, InvocationType="DryRun")
        except AWS_ERRORS as error:
            return Failure(
                code=_HANDOVER_FAILURES.get(retry.code(error), "SDK_CLIENT_ERROR"),
                message=str(error),
                retried=retry.passes(error),
            )
        return None

    def _step(self, job: Job, run: _Run) -> tuple[float, _Run] | None:
        policy = self._target.policy
        if run.ended is None and policy.expired(since=run.since, now=self._clock()):
            run = replace(run, ended=Ended.AGE)
        if run.ended is None:
            try:
                answer = self._functions.invoke(FunctionName=self._target.arn, Payload=job.body.encode())
            except AWS_ERRORS as error:
                run, due = self._refused(run, error)
            else:
                self._count_runs("Invocations", 1)
                if "FunctionError" not in answer:
                    return None
                run, due = self._failed(run, answer)
            if not isinstance(due, Ended):
                return due, run
            run = replace(run, ended=due)
        return self._give_up(job, run)

    def _refused(self, run: _Run, error: AwsError) -> tuple[_Run, float | Ended]:
        """Whatever the reason: the event was accepted, so what is missing now may have to be mended first."""
        _log.warning("%s: not run: %s", self._target.arn, error)
        if retry.code(error) == "TooManyRequestsException":
            self._count_runs("Throttles", 1)
        run = replace(run, refusals=run.refusals + 1)
        return run, self._target.policy.after_refusal(since=run.since, refusals=run.refusals, now=self._clock())

    def _failed(self, run: _Run, answer: Mapping[str, Any]) -> tuple[_Run, float | Ended]:
        self._count_runs("Errors", 1)
        text = answer["Payload"].read().decode()
        response = {
            "responseContext": {
                "statusCode": answer["StatusCode"],
                "executedVersion": answer.get("ExecutedVersion", "$LATEST"),
                "functionError": answer["FunctionError"],
            },
            "responsePayload": _parsed(text),
        }
        run = replace(run, errors=run.errors + 1, refusals=0, response=response)
        return run, self._target.policy.after_error(since=run.since, errors=run.errors, now=self._clock())

    def _give_up(self, job: Job, run: _Run) -> tuple[float, _Run] | None:
        if run.records == 0:
            self._count_runs("AsyncEventsDropped", 1)
        if self._target.on_failure is None:
            _log.warning("%s: an event was dropped: there is no on-failure destination", self._target.arn)
            return None
        try:
            self._records.send_message(QueueUrl=self._target.on_failure, MessageBody=json.dumps(self._record(job, run)))
        except AWS_ERRORS as error:
            if retry.passes(error):
                wait = _RECORD_BACKOFF.wait(run.records + 1, self._chance())
                return self._clock() + wait, replace(run, records=run.records + 1)
            _log.error("%s: an event was dropped: %s", self._target.arn, error)
            self._count_runs("DestinationDeliveryFailures", 1)
        return None

    def _record(self, job: Job, run: _Run) -> dict[str, Any]:
        """The record of a function that never ran has no response: no example of one is documented."""
        return {
            "version": "1.0",
            "timestamp": retry.iso(self._clock()),
            "requestContext": {
                # On AWS this is the id that the function sees each time; MiniStack gives each run another.
                "requestId": run.request_id,
                "functionArn": f"{self._target.arn}:$LATEST",
                "condition": run.ended,
                "approximateInvokeCount": run.errors,
            },
            "requestPayload": json.loads(job.body),
            **run.response,
        }


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
