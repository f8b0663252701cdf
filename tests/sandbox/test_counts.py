"""What one order costs in what AWS bills by the event, counted on the deployed program: the model's own numbers."""

from __future__ import annotations

from bench.costs import OURS, Counts
from tests.sandbox.conftest import FUNCTION, NAME, until

PLACED = ("dynamodb.orders", "dynamodb-orders-stream")
# Carriers are not ours, though mocks play them.
MOCK = "-mock"


def invocations(cloud, order_id):
    """The invocations of our functions that said something about an order."""
    names = [known["name"].removeprefix(NAME) for known in cloud.resources(FUNCTION, "name").values()]
    ours = [name for name in names if not name.endswith(MOCK)]
    return {
        (name, line["function_request_id"])
        for name in ours
        for line in cloud.lines(name, order_id)
        if "function_request_id" in line
    }


def test_an_order_is_billed_as_modelled(cloud):
    order_id = cloud.client().place(carrier="acme")
    cloud.shipped(order_id)
    # The stream is in order: once an order that was placed later is on the bus, the shipment of this one has passed.
    later = cloud.client().place(carrier="acme")
    until(lambda: PLACED in cloud.events(later), f"order {later} is emitted")
    until(lambda: len(invocations(cloud, order_id)) >= OURS.invocations, "both functions have logged")
    events = cloud.events(order_id)
    assert Counts(pipe=events.count(PLACED), bus=len(events), invocations=len(invocations(cloud, order_id))) == OURS
