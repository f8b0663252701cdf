"""What an order is and what may happen to it: no AWS, no clock, no environment."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, timezone
from enum import StrEnum
from typing import Any
from uuid import UUID, uuid5

# Never to change: the id of every order that was placed with a key follows from it.
_NAMESPACE = UUID("9e97e581-dc3a-49d2-a0ec-656722c898c9")
_ORDER_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# The grammar of contracts/schemas/shipment_confirmation.json, in groups.
_TIMESTAMP = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})(\.[0-9]{1,9})?(?:Z|([+-])([01][0-9]|2[0-3]):([0-5][0-9]))"
)


class State(StrEnum):
    PENDING = "pending"
    SHIPPED = "shipped"


@dataclass(frozen=True, kw_only=True)
class Item:
    sku: str
    quantity: int


@dataclass(frozen=True, kw_only=True)
class Order:
    """An order as it is stored; that it was shipped, and when, is one fact (`shipped_at`)."""

    order_id: str
    client: str
    carrier: str
    request_hash: str
    created_at: str
    reference: str | None = None
    items: tuple[Item, ...] = ()
    shipped_at: str | None = None

    @property
    def state(self) -> State:
        return State.PENDING if self.shipped_at is None else State.SHIPPED

    @property
    def reason(self) -> str:
        return "Waiting for shipping" if self.shipped_at is None else f"Shipped at {self.shipped_at}"

    def view(self) -> dict[str, str]:
        """The order as its client may see it (contracts/schemas/order.json)."""
        return {"order_id": self.order_id, "state": self.state, "reason": self.reason}


def place(
    *,
    client: str,
    key: str | None,
    body: Mapping[str, Any],
    default_carrier: str,
    placed_at: datetime,
    random_id: UUID,
) -> Order:
    """A new pending order from a body that the contract allows.

    With a key the id follows from client and key alone, so that a repeated request meets the order it made before;
    without one it is `random_id`.
    """
    return Order(
        order_id=str(random_id if key is None else uuid5(_NAMESPACE, _canonical([client, key]))),
        client=client,
        carrier=body.get("carrier", default_carrier),
        request_hash=hashlib.sha256(_canonical(body).encode()).hexdigest(),
        created_at=timestamp(placed_at, "microseconds"),
        reference=body.get("reference"),
        items=tuple(Item(sku=item["sku"], quantity=item["quantity"]) for item in body.get("items", ())),
    )


@dataclass(frozen=True)
class Placed:
    order: Order


@dataclass(frozen=True)
class Replayed:
    """The request was served before; this is its order as it is now."""

    order: Order


@dataclass(frozen=True)
class KeyReused:
    reason: str = "Idempotency-Key was used for another order"


def placement(*, wanted: Order, stored: Order) -> Placed | Replayed | KeyReused:
    """What became of a request for `wanted`, when `stored` is what the store holds under its id."""
    if stored == wanted:
        return Placed(stored)
    if (stored.client, stored.request_hash) == (wanted.client, wanted.request_hash):
        return Replayed(stored)
    return KeyReused()


@dataclass(frozen=True)
class Shipped:
    order: Order


@dataclass(frozen=True)
class AlreadyShipped:
    """The same confirmation came before: a success, and nothing to do."""

    order: Order


@dataclass(frozen=True)
class ShipmentConflict:
    reason: str


@dataclass(frozen=True)
class OtherCarriersOrder:
    reason: str = "The order belongs to another carrier"


@dataclass(frozen=True)
class UnknownOrder:
    reason: str = "There is no such order"


Confirmation = Shipped | AlreadyShipped | ShipmentConflict | OtherCarriersOrder | UnknownOrder


def confirm(order: Order | None, *, carrier: str, shipped_at: str) -> Confirmation:
    """What a carrier's confirmation means for an order; `shipped_at` comes from `utc`, and the first one wins."""
    if order is None:
        return UnknownOrder()
    if order.carrier != carrier:
        return OtherCarriersOrder()
    if order.shipped_at is None:
        return Shipped(replace(order, shipped_at=shipped_at))
    if order.shipped_at == shipped_at:
        return AlreadyShipped(order)
    return ShipmentConflict(f"The order shipped at {order.shipped_at} already, not at {shipped_at}")


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """An order as the index of pending orders lists it, which may be a moment behind the order itself.

    `since` is when it was placed, or last given to its carrier anew: it changes each time, and so tells one turn from
    the next.
    """

    order_id: str
    since: str


@dataclass(frozen=True)
class Claimed:
    """The order is to be emitted once more, by who claimed it and by nobody else."""

    order: Order


@dataclass(frozen=True)
class Exhausted:
    """The order was emitted as often as it may be, and is still pending."""

    order: Order


@dataclass(frozen=True)
class Settled:
    """The order shipped, or somebody else has claimed it: nothing to do."""


Claim = Claimed | Exhausted | Settled


def is_order_id(text: str) -> bool:
    return _ORDER_ID.fullmatch(text) is not None


def timestamp(moment: datetime, precision: str = "milliseconds") -> str:
    """A moment as RFC 3339 in UTC, always as long as any other, so that texts sort as moments do."""
    return moment.astimezone(UTC).isoformat(timespec=precision).replace("+00:00", "Z")


class InvalidTimestampError(ValueError):
    """Says what is wrong without repeating the text."""


def utc(text: str) -> str:
    """The instant of an RFC 3339 timestamp in its one form: UTC, `Z`, no trailing zeros in the fraction.

    Raises:
        InvalidTimestampError: The text is no timestamp, or names a time that no calendar has.

    """
    match = _TIMESTAMP.fullmatch(text)
    if match is None:
        raise InvalidTimestampError("is not an RFC 3339 timestamp")
    seconds, fraction, sign, hours, minutes = match.groups()
    offset = timedelta(hours=int(hours or 0), minutes=int(minutes or 0)) * (-1 if sign == "-" else 1)
    try:
        instant = datetime.fromisoformat(seconds).replace(tzinfo=timezone(offset)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidTimestampError(f"is not a time of the calendar: {error}") from error
    # datetime holds microseconds, the contract allows nanoseconds: the fraction stays text.
    return f"{instant.replace(tzinfo=None).isoformat()}{(fraction or '').rstrip('0').rstrip('.')}Z"


def _canonical(document: Any) -> str:
    """One text per JSON value, however it was written."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"))
