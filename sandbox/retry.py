"""When to try again and when to give up, as functions of what is known and of the time; what of it outlives a worker.

Times are seconds since 1970, chances lie in [0, 1): both come from the caller, so a day takes a test milliseconds.
"""

from __future__ import annotations

import json
import math
import re
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from http import HTTPStatus
from pathlib import Path
from typing import Any

from botocore import exceptions

# --- policies ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Backoff:
    """Waits that double from `first` to `longest` seconds, each shortened by chance by up to the share `jitter`."""

    first: float
    longest: float
    jitter: float = 0.5

    def wait(self, retry: int, chance: float = 0.0) -> float:
        """Seconds before the retry with this number, which starts at 1."""
        # The exponent is bounded because a float is.
        whole = min(self.longest, self.first * 2.0 ** min(retry - 1, 100))
        return whole * (1 - self.jitter * chance)

    def scaled(self, factor: float) -> Backoff:
        """The same curve in `factor` of the time."""
        return replace(self, first=self.first * factor, longest=self.longest * factor)


class Exhausted(StrEnum):
    """EXHAUSTED_RETRY_CONDITION of a dead letter ("Using dead-letter queues to process undelivered events")."""

    ATTEMPTS = "MaximumRetryAttempts"
    AGE = "MaximumEventAgeInSeconds"


# AWS documents 24 hours, 185 retries, "exponential back off and jitter" and no curve. With this one about 130 retries
# fit into 24 hours; the one dead letter of a day of timeouts that is public had 129.
RULE_BACKOFF = Backoff(first=1, longest=960)


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """RetryPolicy of a rule's target, with EventBridge's defaults ("How EventBridge retries delivering events")."""

    attempts: int = 185
    """Retries, not counting the first try."""
    age: float = 86_400
    backoff: Backoff = RULE_BACKOFF

    def expired(self, *, since: float, now: float) -> bool:
        """Whether an event that EventBridge received at `since` is too old for another try."""
        return now - since >= self.age

    def after_failure(
        self, *, since: float, retries: int, now: float, chance: float, retry_after: float = 0.0
    ) -> float | Exhausted:
        """When to try again after a try that failed, the first or one of `retries`; or the limit that came first.

        `retry_after` is what the target asked for: the longer of its wait and the policy's holds. A wait that would
        outlast the event's age ends with it, and the event is `expired` then.
        """
        if retries >= self.attempts:
            return Exhausted.ATTEMPTS
        if self.expired(since=since, now=now):
            return Exhausted.AGE
        wait = max(self.backoff.wait(retries + 1, chance), retry_after)
        return min(now + wait, since + self.age)


def retry_after(header: str | None, now: float) -> float:
    """The seconds that an HTTP header Retry-After asks to wait; 0 if it is absent or unintelligible.

    Negative only for a negative number, on which EventBridge stops retrying ("API destination error codes"): a date in
    the past asks for nothing.
    """
    if header is None:
        return 0.0
    header = header.strip()
    if re.fullmatch(r"[+-]?[0-9]+(\.[0-9]+)?", header):
        return float(header)
    try:
        date = parsedate_to_datetime(header)
    except ValueError:
        return 0.0
    return max(0.0, (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - now)


# --- rate limits ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Bucket:
    """A token bucket that holds one token, so that starts are evenly spaced and no second sees more than `rate`.

    AWS documents the rate and not how bursts are smoothed.
    """

    rate: float
    tokens: float = 1.0
    """Negative for tokens that are lent."""
    at: float = 0.0

    def take(self, now: float) -> tuple[Bucket, float]:
        """The bucket less one token, and when that token is there: now, or later if it had to be lent."""
        tokens = min(1.0, self.tokens + max(0.0, now - self.at) * self.rate) - 1
        return replace(self, tokens=tokens, at=now), now + max(0.0, -tokens) / self.rate


class Limiter:
    """One bucket for all threads that call the same target."""

    def __init__(self, per_second: float) -> None:
        self._bucket = Bucket(rate=per_second)
        self._lock = threading.Lock()

    def slot(self, now: float, *, before: float = math.inf) -> float | None:
        """When a call that asks now may start; None, and no slot is used, if its turn would not come in time."""
        with self._lock:
            bucket, start = self._bucket.take(now)
            if start >= before:
                return None
            self._bucket = bucket
        return start


# --- errors of AWS ----------------------------------------------------------------------------------------------------

AWS_ERRORS = (exceptions.ClientError, exceptions.HTTPClientError, exceptions.ConnectionError)
"""What a call through boto3 raises when AWS refuses it or can't be reached; anything else is a mistake of ours."""

AwsError = exceptions.ClientError | exceptions.HTTPClientError | exceptions.ConnectionError

# "Common Errors" of the EventBridge API reference and PutEventsResultEntry, Lambda's Invoke, DynamoDB and SQS.
_PASSING = frozenset(
    {
        "InternalException",
        "InternalFailure",
        "InternalServerError",
        "LimitExceededException",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "ServiceException",
        "ServiceUnavailable",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)


def code(error: AwsError) -> str:
    """AWS's code of the error, or the name of what kept the call from reaching AWS."""
    if isinstance(error, exceptions.ClientError):
        return error.response.get("Error", {}).get("Code", "")
    return type(error).__name__


def passes(error: AwsError) -> bool:
    """Whether the same call may succeed later without anyone mending anything: throttling, 5xx, no connection."""
    if not isinstance(error, exceptions.ClientError):
        return True
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return is_passing(code(error)) or status >= HTTPStatus.INTERNAL_SERVER_ERROR


def is_passing(error_code: str) -> bool:
    """The same for a code alone, such as that of one entry of PutEvents."""
    return error_code in _PASSING


# --- what survives ----------------------------------------------------------------------------------------------------


class Journal:
    """JSON documents by key, in one file, that outlive the process however it ends. For several threads.

    Each write is there whole or not at all. None is synced to the disk, as what they describe lives in a MiniStack that
    would not survive the machine either: a write takes 30 microseconds, where a file that replaces another takes 1,000.
    """

    def __init__(self, file: Path) -> None:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._database = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
        self._do("PRAGMA journal_mode = WAL")
        self._do("PRAGMA synchronous = OFF")
        self._do("CREATE TABLE IF NOT EXISTS journal (key TEXT PRIMARY KEY, document TEXT) WITHOUT ROWID")

    def read(self, key: str) -> dict[str, Any] | None:
        found = self._do("SELECT document FROM journal WHERE key = ?", key)
        return json.loads(found[0][0]) if found else None

    def write(self, key: str, document: Mapping[str, Any]) -> None:
        self._do("INSERT OR REPLACE INTO journal VALUES (?, ?)", key, json.dumps(document))

    def remove(self, key: str) -> None:
        self._do("DELETE FROM journal WHERE key = ?", key)

    def __iter__(self) -> Iterator[str]:
        """The keys, as they are now."""
        return iter([key for (key,) in self._do("SELECT key FROM journal ORDER BY key")])

    def close(self) -> None:
        with self._lock:
            self._database.close()

    def _do(self, statement: str, *values: str) -> list[Any]:
        with self._lock:
            return self._database.execute(statement, values).fetchall()


def iso(time: float, *, timespec: str = "milliseconds") -> str:
    """A time as AWS writes it in messages, in UTC."""
    return datetime.fromtimestamp(time, UTC).isoformat(timespec=timespec).replace("+00:00", "Z")
