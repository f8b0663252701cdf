"""The published article's session on a deployed stack: an order is placed, a forger is turned away, it is shipped."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from uuid import uuid4

import urllib3

from sandbox.client import Client

# A time at which nobody ships.
_FORGED = "1999-12-31T23:59:59Z"
_POLL = 0.5  # seconds; an order is usually shipped after 1
_http = urllib3.PoolManager(timeout=35, retries=False)


@dataclass(frozen=True, kw_only=True)
class Step:
    """What was tried, and whether it went as it should; `seen` says what happened."""

    what: str
    passed: bool
    seen: str


def session(client: Client, *, carrier: str | None, within: float) -> Iterator[Step]:
    """Each step once it is done; ends after the first without which the rest makes no sense.

    `client` may place orders and confirm none. One real order is placed, with `carrier` or the default one, and has to
    be shipped `within` that many seconds.
    """
    key = {"Idempotency-Key": str(uuid4())}
    body = {"reference": "smoke", **({"carrier": carrier} if carrier else {})}
    status, order = _asked(client, "POST", "/orders", body, key)
    taken = (status, order.get("state")) == (HTTPStatus.CREATED, "pending")
    yield Step(what="an order is taken", passed=taken, seen=_seen(status, order))
    if not taken:
        return
    order_id = str(order["order_id"])
    status, again = _asked(client, "POST", "/orders", body, key)
    same = status == HTTPStatus.OK and again.get("order_id") == order_id
    yield Step(what="the same request again is the same order", passed=same, seen=_seen(status, again))
    yield _refused("an unsigned request is refused", HTTPStatus.FORBIDDEN, *_unsigned(client))
    wrong = _asked(client, "POST", "/orders", {**body, "state": "shipped"})
    yield _refused("an order that says it is shipped is refused", HTTPStatus.BAD_REQUEST, *wrong)
    forged = _asked(client, "POST", "/confirm-shipment", {"order_id": order_id, "shipped_at": _FORGED})
    yield _refused("a confirmation by who is no carrier is refused", HTTPStatus.FORBIDDEN, *forged)
    yield _shipped(client, order_id, within)


def _shipped(client: Client, order_id: str, within: float) -> Step:
    deadline = time.monotonic() + within
    while True:
        status, order = _asked(client, "GET", f"/orders/{order_id}")
        if order.get("state") == "shipped":
            truly = _FORGED not in str(order.get("reason"))
            return Step(what="it is shipped", passed=truly, seen=_seen(status, order))
        if time.monotonic() > deadline:
            seen = f"{_seen(status, order)}; not within {within:g} s"
            return Step(what="it is shipped", passed=False, seen=seen)
        time.sleep(_POLL)


def _refused(what: str, how: HTTPStatus, status: int, answer: dict[str, Any]) -> Step:
    return Step(what=what, passed=status == how, seen=_seen(status, answer))


def _asked(
    client: Client, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
) -> tuple[int, dict[str, Any]]:
    """The answer; status 0 and what is wrong where there is none that can be read."""
    try:
        status, document = client.request(method, path, body, headers)
    except urllib3.exceptions.HTTPError as error:
        return 0, {"message": f"the API can't be reached: {type(error).__name__}"}
    except ValueError:
        return 0, {"message": "the answer is not JSON"}
    return status, document if isinstance(document, dict) else {"message": str(document)}


def _unsigned(client: Client) -> tuple[int, dict[str, Any]]:
    try:
        answer = _http.request("POST", f"{client.url}/orders", json={"reference": "smoke"})
    except urllib3.exceptions.HTTPError as error:
        return 0, {"message": f"the API can't be reached: {type(error).__name__}"}
    return answer.status, {}


def _seen(status: int, answer: dict[str, Any]) -> str:
    said = " ".join(str(answer[name]) for name in ("order_id", "state", "reason", "message") if answer.get(name))
    return f"{status or 'no answer'} {said}".strip()
