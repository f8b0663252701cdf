"""The rules of shipping as a state machine, first for the domain alone and then for the table.

The model knows three things: which orders there are, whose carrier each has, and which instant was confirmed first.
"""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta, timezone

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from handlers import orders
from handlers.orders import (
    AlreadyShipped,
    KeyReused,
    OtherCarriersOrder,
    Placed,
    Replayed,
    ShipmentConflict,
    Shipped,
    UnknownOrder,
)

START = datetime(2026, 1, 1, tzinfo=UTC)
CARRIERS = st.sampled_from(["alpha", "beta"])
# Few clients, keys, bodies and instants, so that they meet again and again.
CLIENTS, KEYS = st.sampled_from(["a", "b"]), st.sampled_from([None, "1", "2"])
BODIES = st.sampled_from([{}, {"reference": "x"}, {"items": [{"sku": "A", "quantity": 1}]}])
INSTANTS = st.integers(0, 2).map(lambda seconds: START + timedelta(seconds=seconds, microseconds=500_000))
OFFSETS = st.integers(-720, 720).map(lambda minutes: timezone(timedelta(minutes=minutes)))


class DictStore:
    """The decisions of the domain over a dictionary."""

    def __init__(self):
        self._orders = {}

    def create(self, order):
        return self._orders.setdefault(order.order_id, order)

    def read(self, order_id):
        return self._orders.get(order_id)

    def ship(self, order_id, *, carrier, shipped_at):
        outcome = orders.confirm(self._orders.get(order_id), carrier=carrier, shipped_at=shipped_at)
        if isinstance(outcome, Shipped):
            self._orders[order_id] = outcome.order
        return outcome


class Shipping(RuleBasedStateMachine):
    placed = Bundle("placed")

    def __init__(self, store):
        super().__init__()
        self.store = store
        self.run = str(uuid.uuid4())  # a table outlives the run, so its clients are not those of the next
        self.moment = START
        self.carriers = {}
        self.bodies = {}
        self.first_shipped = {}
        self.ids = {}

    @rule(target=placed, client=CLIENTS, key=KEYS, body=BODIES, carrier=CARRIERS)
    def place(self, client, key, body, carrier):
        self.moment += timedelta(milliseconds=1)
        wanted = orders.place(
            client=f"{self.run}{client}",
            key=key,
            body={**body, "carrier": carrier},
            default_carrier="unused",
            placed_at=self.moment,
            random_id=uuid.uuid4(),
        )
        outcome = orders.placement(wanted=wanted, stored=self.store.create(wanted))
        asked = {**body, "carrier": carrier}
        known = key is not None and self.ids.get((client, key))
        if not known:
            assert outcome == Placed(wanted)
            self.ids[client, key] = wanted.order_id
            self.carriers[wanted.order_id], self.bodies[wanted.order_id] = carrier, asked
            return wanted.order_id
        if self.bodies[known] == asked:
            assert outcome == Replayed(self.store.read(known))
        else:
            assert outcome == KeyReused()
        return known

    @rule(order_id=placed, carrier=CARRIERS, instant=INSTANTS, offset=OFFSETS)
    def confirm(self, order_id, carrier, instant, offset):
        outcome = self.store.ship(
            order_id, carrier=carrier, shipped_at=orders.utc(instant.astimezone(offset).isoformat())
        )
        if carrier != self.carriers[order_id]:
            expected = OtherCarriersOrder
        elif order_id not in self.first_shipped:
            expected = Shipped
            self.first_shipped[order_id] = instant
        else:
            expected = AlreadyShipped if self.first_shipped[order_id] == instant else ShipmentConflict
        assert type(outcome) is expected
        if isinstance(outcome, Shipped | AlreadyShipped):
            assert outcome.order == self.store.read(order_id)

    @rule(carrier=CARRIERS, instant=INSTANTS)
    def confirm_what_is_not_there(self, carrier, instant):
        order_id = str(uuid.uuid4())
        assert self.store.ship(order_id, carrier=carrier, shipped_at=orders.utc(instant.isoformat())) == UnknownOrder()
        assert self.store.read(order_id) is None

    @invariant()
    def only_the_first_confirmation_changed_an_order(self):
        for order_id, carrier in self.carriers.items():
            order = self.store.read(order_id)
            assert (order.order_id, order.carrier) == (order_id, carrier)
            shipped = self.first_shipped.get(order_id)
            assert order.view()["state"] == ("shipped" if shipped else "pending")
            assert (datetime.fromisoformat(order.shipped_at) if order.shipped_at else None) == shipped


def test_the_domain_ships_each_order_once():
    run_state_machine_as_test(lambda: Shipping(DictStore()), settings=settings(max_examples=60, stateful_step_count=30))


def test_the_table_ships_each_order_once(store):
    run_state_machine_as_test(lambda: Shipping(store), settings=settings(max_examples=15, stateful_step_count=15))
