"""Carriers outside of the cloud: HTTP servers that misbehave by plan, and remember every call and every act.

Unlike the deployed mock carrier, whose memory is that of one process, these tell afterwards whether they acted once.
"""

from __future__ import annotations

import base64
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus

from handlers.orders import timestamp
from tests.chaos.audit import Act, Call
from tests.handlers.server import Answer, Received

# EventBridge waits for 5 seconds.
_SLOW = 5.2
# How long a confirmation is held, so that others overtake it; and how often and when it is tried again.
_HELD = 2.0
_AGAIN, _PAUSE = 20, 0.5
_LOST = 0
_REFUSING = {
    "500": HTTPStatus.INTERNAL_SERVER_ERROR,
    "429": HTTPStatus.TOO_MANY_REQUESTS,
    "wrong-credentials": HTTPStatus.UNAUTHORIZED,
}


@dataclass
class Ledger:
    """What carriers did, kept for as long as the storm."""

    calls: list[Call] = field(default_factory=list)
    acts: list[Act] = field(default_factory=list)
    turned_away: Counter[str] = field(default_factory=Counter)
    """Calls with other credentials than those of the moment, by carrier: who they were about is not read."""


class Carrier:
    """One carrier. Called with a request, it answers; None for a connection that it drops."""

    def __init__(
        self,
        name: str,
        *,
        ledger: Ledger,
        mode: Callable[[str, int], str],
        delay: Callable[[str, float], float],
        confirm: Callable[[str, str], bool],
        background: ThreadPoolExecutor,
    ) -> None:
        """What the carrier acts by.

        Args:
            name: Its name in the settings.
            ledger: Takes what it does.
            mode: How it treats an order when it comes for the time with this number, from 1.
            delay: How long it holds a confirmation, up to so many seconds.
            confirm: Sends a confirmation; whether the gateway took it.
            background: Sends the confirmations that come after the answer.

        """
        self.name = name
        self.admitted: Collection[str] = ()
        """The values of `Authorization` or of the key's header that it takes."""
        self._ledger = ledger
        self._mode = mode
        self._delay = delay
        self._confirm = confirm
        self._background = background
        self._lock = threading.Lock()
        self._times: Counter[str] = Counter()
        self._shipped: dict[str, str] = {}
        self._confirming = 0

    @property
    def busy(self) -> bool:
        """Whether it has something to say by itself yet."""
        return self._confirming > 0

    def __call__(self, received: Received) -> Answer | None:
        if not {received.headers.get("authorization"), received.headers.get("x-api-key")} & set(self.admitted):
            self._ledger.turned_away[self.name] += 1
            return _answer(HTTPStatus.UNAUTHORIZED)
        order_id, key = json.loads(received.body)["order_id"], received.headers["idempotency-key"]
        with self._lock:
            self._times[key] += 1
            mode = self._mode(order_id, self._times[key])
        status = self._treat(order_id, key, mode)
        self._ledger.calls.append(Call(self.name, key, order_id, mode, status))
        return None if status == _LOST else _answer(HTTPStatus(status))

    def _treat(self, order_id: str, key: str, mode: str) -> int:
        started = time.monotonic()
        if mode in _REFUSING:
            return _REFUSING[mode]
        shipped_at = self._act(order_id, key)
        if mode == "reorder":
            with self._lock:
                self._confirming += 1
            self._background.submit(self._confirm_later, order_id, shipped_at)
        elif mode != "never-confirm":
            times = 2 if mode == "duplicate" else 1
            if not all(self._confirm(order_id, shipped_at) for _ in range(times)):
                return HTTPStatus.SERVICE_UNAVAILABLE
        if mode == "slow":
            time.sleep(max(0.0, started + _SLOW - time.monotonic()))
        return _LOST if mode == "drop" else HTTPStatus.ACCEPTED

    def _act(self, order_id: str, key: str) -> str:
        """Ship the goods, unless that is done."""
        with self._lock:
            if key not in self._shipped:
                self._shipped[key] = timestamp(datetime.now(UTC))
                self._ledger.acts.append(Act(self.name, key, order_id))
            return self._shipped[key]

    def _confirm_later(self, order_id: str, shipped_at: str) -> None:
        try:
            time.sleep(self._delay(order_id, _HELD))
            for _ in range(_AGAIN):
                if self._confirm(order_id, shipped_at):
                    return
                time.sleep(_PAUSE)
        finally:
            with self._lock:
                self._confirming -= 1


def basic(user: str, password: str) -> str:
    """The value of `Authorization`."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def _answer(status: HTTPStatus) -> Answer:
    headers = {"Retry-After": "1"} if status is HTTPStatus.TOO_MANY_REQUESTS else {}
    return Answer(status, b"{}", "application/json", headers)
