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

import jsonschema
import pytest

from contracts import carrier_request
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
def carrier_at(load, context):
    def carrier(url, **environment):
        handler = load(
            "mock_carrier", **{"CREDENTIAL_DIGEST": DIGEST, "CONFIRM_URL": f"{url}/dev/confirm-shipment", **environment}
        ).handler

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
