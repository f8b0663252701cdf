"""What a million orders cost on AWS, by a model: what each design asks of AWS per order, times the unit prices.

Nothing here is measured. An order is placed once and confirmed once, as an item of up to 1 KB and events of up to
64 KB; nothing fails, nobody reads orders, and the free tier is used up. Left out, since all designs have it alike:
storage, X-Ray, alarms, access logs, data transfer, and what runs by the clock and not by the order.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PRICES = Path(__file__).parent / "prices.toml"
"""The one file of unit prices."""
_MILLION = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Assumptions:
    """What the model has to take for granted of a function; seconds are billed ones of a warm invocation."""

    memory_gb: float = 0.5
    handler_seconds: float = 0.015
    """Ours, which read or write one order."""
    glue_seconds: float = 0.020
    """One that hands an event on."""
    carrier_seconds: float = 0.200
    """For which one that calls a carrier waits for the answer; an API destination waits for free."""
    log_gb: float = 1e-6
    """Per invocation."""

    stream_batch: int = 1
    """Records that a function which reads the stream is invoked with."""
    event_gb: float = 1e-6
    """Of an event that is archived."""


NEUTRAL = Assumptions()
# Half the memory is the least that starts Python in a bearable time; a carrier that answers in 100 ms is a fast one.
GLUE_FAVOURING = Assumptions(memory_gb=0.25, carrier_seconds=0.100, stream_batch=10)


@dataclass(frozen=True, kw_only=True)
class Counts:
    """How often one order passes what is billed by the event."""

    pipe: int
    bus: int
    invocations: int


# Those of ours are counted on the local cloud by tests/sandbox/test_counts.py. As published, the pipe has no filter:
# the confirmed order is emitted like a new one, and dropped by the rule.
OURS = Counts(pipe=1, bus=2, invocations=2)
AS_PUBLISHED = Counts(pipe=2, bus=3, invocations=2)

Bill = Mapping[str, float]
"""US dollars for one order, by what they are for."""


def read_prices(file: Path = PRICES) -> dict[str, float]:
    """US dollars for one unit, by the name of the price."""
    return {name: price["usd"] for name, price in documented(file).items()}


def documented(file: Path = PRICES) -> dict[str, dict[str, Any]]:
    """The prices with their units, dates and sources."""
    return tomllib.loads(file.read_text(encoding="utf-8"))


@dataclass(frozen=True, kw_only=True)
class Model:
    """The bills of one order under given prices and assumptions."""

    prices: Mapping[str, float]
    assumed: Assumptions

    def base(self, counts: Counts = OURS) -> Bill:
        """What every design has: two requests, two writes into the table and its index, and our own functions."""
        return {
            "API": 2 * self.prices["api_request"],
            "table": 2 * self.prices["table_write"],
            "index of waiting orders": 2 * self.prices["table_write"],
            "own functions": counts.invocations * self._invocation(self.assumed.handler_seconds),
        }

    def plane(self, counts: Counts) -> Bill:
        """Events by a pipe, a bus and an API destination."""
        return {
            "pipe": counts.pipe * self.prices["pipe_event"],
            "bus": counts.bus * self.prices["bus_event"],
            "API destination": self.prices["destination_call"],
        }

    def glue(self) -> Bill:
        """The same by functions: one reads the stream, one calls the carrier, one takes the confirmation."""
        hand_on = self._invocation(self.assumed.glue_seconds)
        return {
            "stream function": hand_on / self.assumed.stream_batch,
            "carrier function": self._invocation(self.assumed.carrier_seconds),
            "confirmation function": hand_on,
            "bus": 2 * self.prices["bus_event"],
        }

    def archive(self, counts: Counts = OURS) -> Bill:
        """What ours keeps and neither of the others does: every event, to be replayed."""
        return {"archive": counts.bus * self.assumed.event_gb * self.prices["archive_gb"]}

    def _invocation(self, seconds: float) -> float:
        """One invocation with its log lines."""
        duration = self.assumed.memory_gb * seconds * self.prices["function_gb_second"]
        return self.prices["function_request"] + duration + self.assumed.log_gb * self.prices["log_gb"]


def per_million(*bills: Bill) -> float:
    """US dollars for a million orders."""
    return _MILLION * sum(sum(bill.values()) for bill in bills)


def plane_ratio(model: Model) -> float:
    """C2: our integration plane against the published one."""
    return per_million(model.plane(OURS)) / per_million(model.plane(AS_PUBLISHED))


def total_ratio(model: Model) -> float:
    """C3: all of ours against functions as glue. The base is the same, so that the planes alone differ."""
    return per_million(model.base(), model.plane(OURS)) / per_million(model.base(), model.glue())
