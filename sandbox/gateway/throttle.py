"""Token buckets, by the rules of "Throttle requests to your REST APIs for better throughput in API Gateway"."""

from __future__ import annotations

import threading
from collections.abc import Hashable
from typing import NamedTuple


class Limits(NamedTuple):
    """Requests per second, and how many may come at once."""

    rate: float
    burst: int


# A region's quota of an account, which is what a method without settings of its own has.
ACCOUNT_LIMITS = Limits(10_000, 5_000)


class Bucket(NamedTuple):
    tokens: float
    at: float


def take(bucket: Bucket | None, limits: Limits, now: float) -> tuple[Bucket, bool]:
    """The bucket after one request at `now`, in seconds, and whether the request may pass; a new bucket is full."""
    tokens, at = bucket or Bucket(limits.burst, now)
    # The clock may have been set back.
    tokens = min(limits.burst, tokens + max(0.0, now - at) * limits.rate)
    return (Bucket(tokens - 1, now), True) if tokens >= 1 else (Bucket(tokens, now), False)


class Buckets:
    """One bucket for each key, for any number of threads. New limits apply to the tokens that are there."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._buckets: dict[Hashable, Bucket] = {}

    def take(self, key: Hashable, limits: Limits, now: float) -> bool:
        with self._lock:
            self._buckets[key], allowed = take(self._buckets.get(key), limits, now)
        return allowed
