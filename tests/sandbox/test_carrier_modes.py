"""How an order ends when its carrier misbehaves: in detail with what can be seen and counted, then as it is deployed.

First, EventBridge's retries are in virtual time and everything else is over HTTP: the handler of the mock carrier
answers behind the server of function URLs, and confirms to a gateway that applies what it gets by the rules of the
confirm function. What is deployed is only asked how the order ended.
"""

from __future__ import annotations

import hashlib
import importlib
import io
import json
import sys
import threading
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import boto3
import pytest

from contracts import carrier_request
from sandbox.control import MODES
from sandbox.delivery import ApiDestination, ApiDestinationTarget, Basic, Parameters, ToApiDestination
from sandbox.jobs import Job
from sandbox.registry import Registry
from sandbox.retry import Limiter
from sandbox.serving import served
from sandbox.urls import URL_TYPE, function_urls
from tests.handlers.server import Answer, serving
from tests.sandbox.conftest import NAME, until

NOON = 1_795_000_000.0
DAY = 86_400
CREDENTIAL = Basic("gateway", "s3cret")
CARRIER = "carrier-acme-mock"
RULE = "arn:aws:events:eu-west-1:000000000000:rule/orders/acme"
ORDERS = [f"00000000-0000-4000-8000-00000000000{number}" for number in range(3)]


class Gateway:
    """Takes confirmations, and keeps the orders that they are about."""

    def __init__(self, orders):
        self._orders = orders
        self._lock = threading.Lock()
        self._kept = {}
        self.told = []
        self.outcomes = Counter()

    def place(self, order_id):
        # What matters to a confirmation is whose the order is and whether it was shipped.
        self._kept[order_id] = self._orders.Order(
            order_id=order_id, client="client", carrier="acme", request_hash="", created_at=""
        )

    def __call__(self, received):
        confirmation = json.loads(received.body)
        with self._lock:
            order_id = confirmation["order_id"]
            self.told.append(order_id)
            shipped_at = self._orders.utc(confirmation["shipped_at"])
            outcome = self._orders.confirm(self._kept.get(order_id), carrier="acme", shipped_at=shipped_at)
            self.outcomes[type(outcome).__name__] += 1
            if isinstance(outcome, self._orders.Shipped):
                self._kept[order_id] = outcome.order
        return Answer(202, b'{"event_id": "e"}', "application/json")

    def state(self, order_id):
        return str(self._kept[order_id].state)


class Handler:
    """Lambda, which anybody may ask to run the one function: in threads of this process, with one memory."""

    def __init__(self, handler, gateway):
        self._handler = handler
        self._gateway = gateway
        self.statuses = []
        self.told_after = []
        """How many confirmations there were when it had answered."""

    def refusal(self, principal, function_arn, context=None):
        return None

    def invoke(self, function_arn, payload):
        answer = self._handler(json.loads(payload), SimpleNamespace(**_CONTEXT))
        self.statuses.append(answer["statusCode"])
        self.told_after.append(len(self._gateway.told))
        return {"Payload": io.BytesIO(json.dumps(answer).encode())}


_CONTEXT = {
    "function_name": CARRIER,
    "function_version": "$LATEST",
    "memory_limit_in_mb": 512,
    "invoked_function_arn": f"arn:aws:lambda:eu-west-1:000000000000:function:{CARRIER}",
    "aws_request_id": "invocation",
}


class Hop:
    """The rule's target, one event after the other; `modes` are the carrier's, the last from then on."""

    def __init__(self, functions, urls, *, modes, credential):
        self.functions = functions
        self.modes = modes
        self.now = NOON
        self.chance = 0.0
        self.letters = []
        paths, template = carrier_request()
        self._hop = ToApiDestination(
            ApiDestinationTarget(
                rule_arn=RULE,
                arn="arn:aws:events:eu-west-1:000000000000:api-destination/acme/1",
                dead_letters="http://queues/000000000000/dead",
                destination=ApiDestination(endpoint=f"{urls}/acme/orders", authorization=credential),
                paths=paths,
                template=template,
                parameters=Parameters(headers={"Idempotency-Key": "$.detail.order.id"}),
            ),
            rate=Limiter(300),
            outbox=self,
            clock=lambda: self.now,
            chance=lambda: self.chance,
        )

    def send_message(self, **message):
        attributes = message["MessageAttributes"].items()
        self.letters.append(
            {"body": json.loads(message["MessageBody"])} | {name: value["StringValue"] for name, value in attributes}
        )

    def deliver(self, order_id):
        """Try until the order is delivered or dead-lettered; returns the waits between the tries."""
        detail = {"eventName": "INSERT", "order": {"id": order_id, "state": "pending", "carrier": "acme"}}
        job, waits = Job(body=json.dumps({"id": "event", "detail": detail}), since=self.now), []
        while later := self._hop.attempt(job):
            waits.append(later.at - self.now)
            self.now = later.at
            job = replace(job, state=later.state)
            if len(self.modes) > 1:
                self.modes.pop(0)
        return waits


@pytest.fixture(scope="module")
def imported():
    """What runs on Lambda, imported under an environment like Lambda's; the carrier's module anew for each test."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test-secret",
            "AWS_REGION": "eu-west-1",
            "NO_PROXY": "127.0.0.1",
            "POWERTOOLS_SERVICE_NAME": "service",
            "POWERTOOLS_METRICS_NAMESPACE": "namespace",
            "CREDENTIAL_DIGEST": hashlib.sha256(b"gateway:s3cret").hexdigest(),
        }.items():
            patch.setenv(name, value)
        for name in ("AWS_SESSION_TOKEN", "AWS_PROFILE", "no_proxy"):
            patch.delenv(name, raising=False)
        patch.setattr(boto3, "DEFAULT_SESSION", None)
        orders = importlib.import_module("handlers.orders")

        def carrier(confirm_url):
            patch.setenv("CONFIRM_URL", confirm_url)
            sys.modules.pop("handlers.mock_carrier", None)
            try:
                return importlib.import_module("handlers.mock_carrier").handler
            finally:
                sys.modules.pop("handlers.mock_carrier", None)

        yield SimpleNamespace(orders=orders, carrier=carrier)


@pytest.fixture
def gateway(imported):
    gateway = Gateway(imported.orders)
    for order_id in ORDERS:
        gateway.place(order_id)
    return gateway


@pytest.fixture
def way(imported, gateway):
    """From a rule to its carrier, which goes through the given modes."""
    modes = ["ok"]
    registry = Registry()
    registry.put(URL_TYPE, "acme", {"functionName": CARRIER, "functionArn": _CONTEXT["invoked_function_arn"]})
    with serving(gateway) as confirm:
        functions = Handler(imported.carrier(f"{confirm.url}/dev/confirm-shipment"), gateway)
        headers = {CARRIER: "x-carrier-mode"}
        with served(function_urls(registry, functions, headers=lambda name: {headers[name]: modes[0]})) as urls:

            def made(*sequence, credential=CREDENTIAL):
                modes[:] = sequence
                return Hop(functions, urls, modes=modes, credential=credential)

            yield made


def test_an_order_is_shipped(way, gateway):
    hop = way("ok")
    assert hop.deliver(ORDERS[0]) == []
    assert gateway.state(ORDERS[0]) == "shipped"
    assert (hop.functions.statuses, hop.letters) == ([202], [])


@pytest.mark.parametrize(
    ("mode", "status", "told_after"),
    [
        ("500", 500, [0, 0, 0, 1]),
        ("429", 429, [0, 0, 0, 1]),
        ("wrong-credentials", 401, [0, 0, 0, 1]),
        ("drop", 502, [1, 1, 1, 1]),
    ],
)
def test_what_passes_is_tried_again_until_the_order_is_shipped_once(way, gateway, mode, status, told_after):
    hop = way(mode, mode, mode, "ok")
    assert len(hop.deliver(ORDERS[0])) == 3
    assert hop.functions.statuses == [status, status, status, 202]
    assert hop.functions.told_after == told_after
    assert gateway.state(ORDERS[0]) == "shipped"
    assert gateway.outcomes == {"Shipped": 1}
    assert hop.letters == []


def test_a_busy_carrier_is_given_the_time_it_asks_for(way):
    waits = []
    for mode, order_id in (("500", ORDERS[0]), ("429", ORDERS[1])):
        hop = way(mode, "ok")
        hop.chance = 0.99  # the shortest wait, which is half a second
        waits += hop.deliver(order_id)
    failing, busy = waits
    assert failing < 1 <= busy


def test_an_answer_that_comes_too_late_is_a_failure_although_the_order_is_shipped(way, gateway):
    hop = way("slow", "ok")
    started = time.monotonic()
    assert len(hop.deliver(ORDERS[0])) == 1
    assert 5 <= time.monotonic() - started < 8
    assert gateway.state(ORDERS[0]) == "shipped"
    assert gateway.outcomes == {"Shipped": 1}
    assert hop.letters == []


def test_a_confirmation_that_comes_twice_changes_nothing_the_second_time(way, gateway):
    hop = way("duplicate")
    assert hop.deliver(ORDERS[0]) == []
    assert gateway.outcomes == {"Shipped": 1, "AlreadyShipped": 1}
    assert hop.letters == []


def test_confirmations_that_overtake_each_other_ship_their_orders(way, gateway):
    hops = [way("reorder") for _ in ORDERS]
    # All of one second, each a little later than the one before.
    time.sleep(1 - time.time() % 1)
    threads = []
    for hop, order_id in zip(hops, ORDERS, strict=True):
        threads.append(threading.Thread(target=hop.deliver, args=[order_id]))
        threads[-1].start()
        time.sleep(0.2)
    for thread in threads:
        thread.join()
    assert gateway.told == ORDERS[::-1]
    assert {gateway.state(order_id) for order_id in ORDERS} == {"shipped"}
    assert gateway.outcomes == {"Shipped": 3}
    assert [hop.letters for hop in hops] == [[], [], []]


def test_an_order_that_is_never_confirmed_stays_pending_and_is_not_sent_again(way, gateway):
    hop = way("never-confirm")
    assert hop.deliver(ORDERS[0]) == []
    assert hop.functions.statuses == [202]
    assert gateway.state(ORDERS[0]) == "pending"
    assert (gateway.told, hop.letters) == ([], [])


@pytest.mark.parametrize(("mode", "status"), [("500", 500), ("wrong-credentials", 401)])
def test_a_carrier_that_fails_for_a_day_costs_no_order(way, gateway, mode, status):
    hop = way(mode)
    hop.deliver(ORDERS[0])
    assert hop.now - NOON == DAY
    (letter,) = hop.letters
    assert letter["body"]["detail"]["order"]["id"] == ORDERS[0]
    assert (letter["ERROR_CODE"], letter["EXHAUSTED_RETRY_CONDITION"]) == (
        "ERROR_FROM_TARGET",
        "MaximumEventAgeInSeconds",
    )
    assert str(status) in letter["ERROR_MESSAGE"]
    assert int(letter["RETRY_ATTEMPTS"]) == len(hop.functions.statuses) - 1
    assert set(hop.functions.statuses) == {status}
    assert gateway.state(ORDERS[0]) == "pending"


def test_credentials_that_are_wrong_end_as_those_that_are_taken_for_wrong(way, gateway):
    wrong, taken_for_wrong = way("ok", credential=Basic("gateway", "other")), way("wrong-credentials")
    wrong.modes = ["ok"]
    ends = []
    for hop in (wrong, taken_for_wrong):
        hop.deliver(ORDERS[0])
        ends.append(hop.letters)
    assert ends[0] == ends[1] != []
    assert gateway.told == []


def test_a_mode_that_is_none_costs_the_order_its_delivery_at_once(way):
    hop = way("canary")
    assert hop.deliver(ORDERS[0]) == []
    (letter,) = hop.letters
    assert "400" in letter["ERROR_MESSAGE"]
    assert "EXHAUSTED_RETRY_CONDITION" not in letter


# --- as it is deployed ------------------------------------------------------------------------------------------------

MOCK = "carrier-globex-mock"


@pytest.fixture(scope="module")
def warm(cloud):
    """Each function has run once: none of what follows is about a cold start."""
    cloud.shipped(cloud.client().place(carrier="globex"))


@pytest.fixture
def in_mode(cloud, warm):
    """Sets the mode of a deployed carrier, which is ok again at the end."""

    def told(mode):
        cloud.session.ask("mode", function=f"{NAME}{MOCK}", mode=mode)

    yield told
    told("ok")


@pytest.fixture
def refusals(cloud):
    """How many orders the deployed carrier has refused so far."""

    def count():
        return sum("Order refused" in message for message in cloud.messages(MOCK))

    return count


def confirmed(cloud, order_id):
    return [line["message"] for line in cloud.lines("carrier-globex-confirm", order_id)]


def failures(cloud, order_id):
    """What any queue says about the order."""
    queues = ("failures", "undelivered", "dead-letters")
    letters = [letter for queue in queues for letter in cloud.letters(f"carrier-globex-{queue}")]
    return [letter for letter in letters if order_id in json.dumps(letter)]


@pytest.mark.parametrize("mode", ["500", "429", "drop", "wrong-credentials"])
def test_once_the_deployed_carrier_is_well_its_order_is_shipped(cloud, in_mode, refusals, mode):
    before = refusals()
    in_mode(mode)
    order_id = cloud.client().place(carrier="globex")
    until(lambda: refusals() >= before + 2, f"the carrier refuses the order twice in mode {mode}")
    if mode != "drop":
        assert cloud.item(order_id)["state"] == {"S": "pending"}
    in_mode("ok")
    cloud.shipped(order_id)
    assert until(lambda: confirmed(cloud, order_id), "the confirmation is logged") == ["Order shipped"]
    assert failures(cloud, order_id) == []


def test_a_deployed_carrier_that_is_slow_ships_its_order_once(cloud, in_mode):
    in_mode("slow")
    order_id = cloud.client().place(carrier="globex")
    shipped_at = cloud.shipped(order_id)["shipped_at"]
    in_mode("ok")
    time.sleep(6.5)  # the answer is late, and the order comes again
    # If another process got it then, that one confirmed at its own time, and was refused.
    assert confirmed(cloud, order_id).count("Order shipped") == 1
    assert cloud.item(order_id)["shipped_at"] == shipped_at


@pytest.mark.parametrize(("mode", "told"), [("duplicate", 2), ("reorder", 1)])
def test_a_deployed_carrier_that_confirms_oddly_ships_its_orders_once(cloud, in_mode, mode, told):
    in_mode(mode)
    order_ids = [cloud.client().place(carrier="globex") for _ in range(2)]
    for order_id in order_ids:
        cloud.shipped(order_id)
        until(
            lambda order_id=order_id: len(confirmed(cloud, order_id) + failures(cloud, order_id)) >= told,
            f"each confirmation of order {order_id} has come to something",
        )
        assert failures(cloud, order_id) == []
        assert sorted(confirmed(cloud, order_id)) == ["Order shipped", "Order was shipped already"][:told]


def test_an_order_that_the_deployed_carrier_never_confirms_stays_pending(cloud, in_mode):
    in_mode("never-confirm")
    order_id = cloud.client().place(carrier="globex")
    until(lambda: cloud.events(order_id), "the order is on the bus")
    time.sleep(1)  # as long as orders take to be shipped
    assert cloud.item(order_id)["state"] == {"S": "pending"}
    assert len(cloud.events(order_id)) == 1
    assert failures(cloud, order_id) == []


def test_every_mode_is_here():
    text = Path(__file__).read_text()
    assert [mode for mode in MODES if f'"{mode}"' not in text] == []
