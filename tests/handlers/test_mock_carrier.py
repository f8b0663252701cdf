"""The carrier for development: who may ask, what it does once, and how it confirms."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import socket
import time
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import jsonschema
import pytest

from contracts import carrier_request
from sandbox.control import MODES
from tests.handlers.conftest import REGION
from tests.handlers.server import Answer

SCHEMAS = Path(__file__).parents[2] / "contracts" / "schemas"
CONFIRMATION = json.loads((SCHEMAS / "shipment_confirmation.json").read_text())
USER, PASSWORD = "gateway", "canary: pässword"  # a colon is allowed in it
DIGEST = hashlib.sha256(f"{USER}:{PASSWORD}".encode()).hexdigest()
ACCEPTED = Answer(202, b'{"event_id": "e"}', "application/json")


def basic(user=USER, password=PASSWORD):
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def request(order_id, *, body=None, method="POST", path="/orders", encoded=False, **headers):
    """A function URL event; a header None is left out."""
    headers = {
        "authorization": basic(),
        "content-type": "application/json",
        "idempotency-key": order_id,
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    return {
        "version": "2.0",
        "rawPath": path,
        "headers": {name: value for name, value in headers.items() if value is not None},
        "requestContext": {"http": {"method": method, "path": path}},
        "body": json.dumps({"order_id": order_id, "state": "pending"}) if body is None else body,
        "isBase64Encoded": encoded,
    }


@pytest.fixture
def gateway(serve):
    """Where the carrier confirms; accepts everything until a test says otherwise."""
    return serve(lambda _: ACCEPTED)


@pytest.fixture
def module_at(load):
    def module(url, **environment):
        return load(
            "mock_carrier", **{"CREDENTIAL_DIGEST": DIGEST, "CONFIRM_URL": f"{url}/dev/confirm-shipment", **environment}
        )

    return module


@pytest.fixture
def carrier_at(module_at, context):
    def carrier(url, **environment):
        handler = module_at(url, **environment).handler

        def take(event):
            response = handler(event, context)
            assert response["headers"]["Content-Type"] == "application/json"
            assert json.loads(response["body"]).keys() == {"message"}
            assert type(response["statusCode"]) is int
            return response

        return take

    return carrier


@pytest.fixture
def carrier(carrier_at, gateway):
    return carrier_at(gateway.url)


@pytest.fixture
def order_id():
    return str(uuid.uuid4())


def status(response):
    return response["statusCode"]


# What it does


def test_an_order_is_confirmed_at_once(carrier, gateway, order_id):
    before = datetime.now(UTC) - timedelta(milliseconds=1)
    assert status(carrier(request(order_id))) == 202
    (confirmation,) = gateway.received
    assert (confirmation.method, confirmation.path) == ("POST", "/dev/confirm-shipment")
    assert confirmation.headers["content-type"] == "application/json"
    document = json.loads(confirmation.body)
    assert document.keys() == {"order_id", "shipped_at"}
    assert document["order_id"] == order_id
    assert before <= datetime.fromisoformat(document["shipped_at"]) <= datetime.now(UTC)


def test_it_takes_the_request_that_the_rule_sends(carrier, order_id):
    paths, template = carrier_request()
    event = {"$.detail.order.id": order_id, "$.detail.order.state": "pending"}
    for name, path in paths.items():
        template = template.replace(f"<{name}>", json.dumps(event[path]))
    assert status(carrier(request(order_id, body=template))) == 202


def test_the_confirmation_is_signed_for_the_gateway(carrier, gateway, order_id):
    carrier(request(order_id))
    (received,) = gateway.received
    scheme, _, fields = received.headers["authorization"].partition(" ")
    parts = dict(field.split("=", 1) for field in fields.split(", "))
    date = received.headers["x-amz-date"]
    scope = f"{date[:8]}/{REGION}/execute-api/aws4_request"
    assert (scheme, parts["Credential"]) == ("AWS4-HMAC-SHA256", f"test/{scope}")
    names = parts["SignedHeaders"].split(";")
    assert {"host", "x-amz-date", "content-type"} <= set(names)
    canonical = "\n".join(
        [
            received.method,
            received.path,
            "",
            *(f"{name}:{received.headers[name]}" for name in names),
            "",
            parts["SignedHeaders"],
            hashlib.sha256(received.body).hexdigest(),
        ]
    )
    key = b"AWS4test-secret"
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    text = "\n".join(["AWS4-HMAC-SHA256", date, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    assert parts["Signature"] == hmac.new(key, text.encode(), "sha256").hexdigest()


def test_a_repeated_order_is_confirmed_once(carrier, gateway, order_id):
    assert [status(carrier(request(order_id))) for _ in range(3)] == [202, 202, 202]
    assert len(gateway.received) == 1


def test_each_order_is_confirmed(carrier, gateway):
    ids = [str(uuid.uuid4()) for _ in range(3)]
    for order_id in ids:
        carrier(request(order_id))
    assert [json.loads(received.body)["order_id"] for received in gateway.received] == ids


def test_a_key_belongs_to_one_order(carrier, gateway, order_id):
    carrier(request(order_id))
    assert status(carrier(request(str(uuid.uuid4()), idempotency_key=order_id))) == 422
    assert len(gateway.received) == 1


@pytest.mark.parametrize("refusal", [Answer(503), Answer(403), Answer(400), Answer(200), Answer(302), None])
def test_a_failed_confirmation_is_sent_again_unchanged(carrier, gateway, order_id, refusal):
    gateway.answer = lambda _: refusal
    assert status(carrier(request(order_id))) == 503
    gateway.answer = lambda _: ACCEPTED
    assert status(carrier(request(order_id))) == 202
    assert status(carrier(request(order_id))) == 202
    first, second = gateway.received
    assert first.body == second.body, "it may have arrived the first time"


def test_a_silent_gateway_is_given_up_before_eventbridge_gives_up(carrier_at, order_id):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        carrier = carrier_at(f"http://127.0.0.1:{silent.getsockname()[1]}")
        started = time.monotonic()
        assert status(carrier(request(order_id))) == 503
        assert time.monotonic() - started < 5


# Whom it refuses


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Basic",
        "Basic %%%",
        "Basic é",
        basic(password="wrong"),
        basic(user="other"),
        basic() + "x",
        basic().replace("Basic", "Bearer"),
        f"Basic {DIGEST}",
        "Basic " + base64.b64encode(DIGEST.encode()).decode(),
    ],
)
def test_without_the_credentials_nothing_happens(carrier, gateway, order_id, authorization):
    for event in (request(order_id, authorization=authorization), request("x", path="/", authorization=authorization)):
        response = carrier(event)
        assert status(response) == 401
        assert response["headers"]["WWW-Authenticate"] == 'Basic realm="carrier"'
    assert gateway.received == []


def test_names_of_schemes_and_headers_have_no_case(carrier, order_id):
    event = request(order_id)
    event["headers"] = {name.title(): value for name, value in event["headers"].items()}
    event["headers"]["Authorization"] = event["headers"]["Authorization"].replace("Basic", "bASIC")
    assert status(carrier(event)) == 202


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"method": "GET"}, 404),
        ({"path": "/orders/"}, 404),
        ({"path": "/"}, 404),
        ({"content_type": None}, 415),
        ({"content_type": "text/plain"}, 415),
        ({"idempotency_key": None}, 400),
        ({"idempotency_key": ""}, 400),
        ({"idempotency_key": "a b"}, 400),
        ({"idempotency_key": "k" * 256}, 400),
        ({"body": ""}, 400),
        ({"body": "{"}, 400),
        ({"body": "[]"}, 400),
        ({"body": "null"}, 400),
        ({"body": '{"order_id": "x", "state": "pending"}'}, 400),
        ({"body": '{"order_id": null, "state": "pending"}'}, 400),
        ({"body": json.dumps({"order_id": str(uuid.uuid4())})}, 400),
        ({"body": json.dumps({"order_id": str(uuid.uuid4()), "state": "shipped"})}, 400),
        ({"body": json.dumps({"order_id": str(uuid.uuid4()), "state": "pending", "x": 1})}, 400),
        ({"body": "[" * 60_000}, 400),
        ({"body": "%%%", "encoded": True}, 400),
    ],
)
def test_what_is_no_order_is_refused(carrier, gateway, order_id, change, expected):
    assert status(carrier(request(order_id, **change))) == expected
    assert gateway.received == []


def test_a_body_may_come_in_base64(carrier, order_id):
    body = base64.b64encode(json.dumps({"order_id": order_id, "state": "pending"}).encode()).decode()
    assert status(carrier(request(order_id, body=body, encoded=True))) == 202


def test_credentials_are_in_no_log(carrier, order_id, log, capsys):
    carrier(request(order_id))
    carrier(request(order_id, authorization=basic(user="canary")))
    written = log.text + capsys.readouterr().out
    assert log.lines[0]["order_id"] == order_id
    for secret in (PASSWORD, "canary", basic(), base64.b64encode(b"canary").decode()[:6], "Signature"):
        assert secret not in written


@pytest.mark.parametrize(
    ("environment", "name"),
    [
        ({"CREDENTIAL_DIGEST": ""}, "CREDENTIAL_DIGEST"),
        ({"CREDENTIAL_DIGEST": "gateway:secret"}, "CREDENTIAL_DIGEST"),
        ({"CREDENTIAL_DIGEST": DIGEST[:-1]}, "CREDENTIAL_DIGEST"),
        ({"CONFIRM_URL": ""}, "CONFIRM_URL"),
        ({"CONFIRM_URL": "confirm-shipment"}, "CONFIRM_URL"),
        ({"AWS_REGION": ""}, "AWS_REGION"),
    ],
)
def test_a_wrong_setting_stops_the_function_before_its_first_request(carrier_at, environment, name):
    with pytest.raises(RuntimeError, match=f"the environment variable {name}"):
        carrier_at("http://127.0.0.1", **environment)


def test_a_digest_may_be_in_capitals(carrier_at, gateway, order_id):
    assert status(carrier_at(gateway.url, CREDENTIAL_DIGEST=DIGEST.upper())(request(order_id))) == 202


def test_a_confirmation_keeps_the_contract(carrier, gateway, order_id):
    carrier(request(order_id))
    jsonschema.validate(json.loads(gateway.received[0].body), CONFIRMATION)


# How it misbehaves


def in_mode(mode, order_id, **changes):
    return request(order_id, x_carrier_mode=mode, **changes)


def bodies(gateway):
    return [received.body for received in gateway.received]


def test_the_local_cloud_knows_the_same_modes(module_at, gateway):
    assert tuple(module_at(gateway.url).Mode) == MODES


@pytest.mark.parametrize("mode", ["ok", None])
def test_ok_is_no_mode_at_all(carrier, gateway, order_id, mode):
    assert status(carrier(in_mode(mode, order_id))) == 202
    assert len(gateway.received) == 1


@pytest.mark.parametrize(
    ("mode", "expected", "headers"),
    [
        ("500", 500, {}),
        ("429", 429, {"Retry-After": "1"}),
        ("wrong-credentials", 401, {"WWW-Authenticate": 'Basic realm="carrier"'}),
    ],
)
def test_what_it_refuses_it_does_not_act_on(carrier, gateway, order_id, mode, expected, headers):
    response = carrier(in_mode(mode, order_id))
    assert status(response) == expected
    assert response["headers"] == {"Content-Type": "application/json", **headers}
    assert gateway.received == []
    assert status(carrier(request(order_id))) == 202
    assert len(gateway.received) == 1


def test_credentials_that_it_takes_for_wrong_look_as_wrong_ones_do(carrier, order_id):
    assert carrier(in_mode("wrong-credentials", order_id)) == carrier(request(order_id, authorization=basic("other")))


def test_a_slow_answer_comes_when_eventbridge_is_gone_and_before_it_is_back(
    module_at, gateway, context, order_id, monkeypatch
):
    module, clock, slept = module_at(gateway.url), iter((100.0, 100.3)), []
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: next(clock), sleep=slept.append))
    assert status(module.handler(in_mode("slow", order_id), context)) == 202
    assert len(gateway.received) == 1
    assert 5.0 < 0.3 + slept.pop() < 5.5
    assert slept == []


def test_a_slow_answer_that_took_too_long_already_is_not_held_back(module_at, gateway, context, order_id, monkeypatch):
    module, clock, slept = module_at(gateway.url), iter((100.0, 109.0)), []
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: next(clock), sleep=slept.append))
    assert status(module.handler(in_mode("slow", order_id), context)) == 202
    assert slept == [0.0]


def test_an_answer_is_lost_after_the_order_was_confirmed_once(carrier, gateway, order_id):
    assert [status(carrier(in_mode("drop", order_id))) for _ in range(2)] == [502, 502]
    assert status(carrier(request(order_id))) == 202
    assert len(gateway.received) == 1


def test_a_duplicate_is_the_same_confirmation(carrier, gateway, order_id):
    assert status(carrier(in_mode("duplicate", order_id))) == 202
    first, second = bodies(gateway)
    assert first == second
    assert status(carrier(in_mode("duplicate", order_id))) == 202
    assert len(gateway.received) == 2


def test_a_duplicate_that_fails_is_a_failure(carrier, gateway, order_id):
    answers = iter([ACCEPTED, Answer(503), ACCEPTED])
    gateway.answer = lambda _: next(answers)
    assert status(carrier(in_mode("duplicate", order_id))) == 503
    assert status(carrier(request(order_id))) == 202
    assert len(set(bodies(gateway))) == 1


@pytest.mark.parametrize("then", [202, 503])
def test_an_order_that_is_never_confirmed_is_taken(carrier, gateway, order_id, then):
    assert [status(carrier(in_mode("never-confirm", order_id))) for _ in range(2)] == [202, 202]
    assert gateway.received == []
    gateway.answer = lambda _: Answer(then)
    assert status(carrier(request(order_id))) == then, "it is confirmed when it comes again in another mode"
    assert len(gateway.received) == 1


def test_orders_of_a_second_are_confirmed_in_reverse(module_at, gateway):
    module = module_at(gateway.url)
    start = datetime(2026, 11, 24, 12, 0, 7, tzinfo=UTC)
    came = [start + timedelta(seconds=seconds) for seconds in (0, 0.001, 0.5, 0.999999, 1, 1.25)]
    sent = []
    for moment in came:
        now = [moment]

        def sleep(seconds, now=now):
            now[0] += timedelta(seconds=seconds)

        def confirm(order_id, shipped_at, now=now, moment=moment):
            sent.append((now[0], order_id))
            assert shipped_at == f"{moment:%FT%T.%f}"[:-3] + "Z", "it shipped when it came, whenever that is told"
            return True

        one = module.Carrier(confirm=confirm, now=lambda now=now: now[0], sleep=sleep)
        one.take(key=str(moment), order_id=f"{moment:%S.%f}", mode=module.Mode.REORDER)
    order = [order_id for _, order_id in sorted(sent)]
    assert order == ["07.999999", "07.500000", "07.001000", "07.000000", "08.250000", "08.000000"]
    held = [at - moment for moment, (at, _) in zip(came, sent, strict=True)]
    assert max(held) == timedelta(seconds=2)
    assert min(held) > timedelta(0)


@pytest.mark.parametrize("mode", ["", "OK", "5OO", "slow ", "canary"])
def test_a_mode_that_is_none_is_named(carrier, gateway, order_id, mode, log):
    response = carrier(in_mode(mode, order_id))
    assert status(response) == 400
    assert json.loads(response["body"])["message"] == f"x-carrier-mode names no mode: {mode!r}"
    assert gateway.received == []
    assert "canary" not in log.text
    assert "x-carrier-mode names no mode" in log.text


@pytest.mark.parametrize("mode", [*MODES, "canary"])
def test_a_mode_is_for_those_with_the_credentials(carrier, gateway, order_id, mode):
    response = carrier(in_mode(mode, order_id, authorization=basic(password="wrong")))
    assert response == carrier(request(order_id, authorization=None))
    assert status(response) == 401
    assert gateway.received == []


@pytest.mark.parametrize("mode", ["slow", "drop", "duplicate", "reorder", "never-confirm"])
def test_what_is_no_order_is_none_in_any_mode(carrier, gateway, order_id, mode):
    assert status(carrier(in_mode(mode, order_id, body="{}"))) == 400
    assert status(carrier(in_mode(mode, order_id, path="/"))) == 404
    assert gateway.received == []
