"""`POST /orders` and `GET /orders/{order_id}`: event in, response out, each checked against the contract."""

from __future__ import annotations

import base64
import json
import uuid
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts import new_order_schema
from tests.handlers.conftest import CARRIERS
from tests.handlers.server import aws_error

SCHEMAS = Path(__file__).parents[2] / "contracts" / "schemas"
ORDER, MESSAGE = (json.loads((SCHEMAS / name).read_text()) for name in ("order.json", "message.json"))
NEW_ORDER = jsonschema.Draft4Validator(new_order_schema(CARRIERS))
JSON = {"Content-Type": "application/json"}
CANARY = "canary-c0ffee"


class Api:
    """Speaks to the handler as API Gateway does."""

    def __init__(self, handler, context):
        self._handler, self._context = handler, context

    def post(self, client, body=None, *, key=None, headers=JSON, **event):
        headers = dict(headers) if key is None else {**headers, "Idempotency-Key": key}
        body = body if body is None or isinstance(body, str) else json.dumps(body)
        return self.call("POST", "/orders", client, headers=headers, body=body, **event)

    def get(self, client, order_id):
        return self.call("GET", f"/orders/{order_id}", client, headers={})

    def call(self, method, path, client, *, headers, body=None, answers=ORDER, **event):
        request_id = str(uuid.uuid4())
        response = self._handler(
            {
                "resource": path,
                "path": path,
                "httpMethod": method,
                "headers": headers or None,
                "multiValueHeaders": {name: [value] for name, value in headers.items()} or None,
                "queryStringParameters": None,
                "multiValueQueryStringParameters": None,
                "pathParameters": None,
                "stageVariables": None,
                "requestContext": {
                    "requestId": request_id,
                    "stage": "dev",
                    "path": f"/dev{path}",
                    "identity": {"userArn": client and f"{client}/session-{uuid.uuid4()}"},
                },
                "body": body,
                "isBase64Encoded": False,
                **event,
            },
            self._context,
        )
        status, document = response["statusCode"], json.loads(response["body"])
        assert type(status) is int
        assert response["multiValueHeaders"]["Content-Type"] == ["application/json"]
        jsonschema.validate(document, answers if status in {200, 201} else MESSAGE)
        assert document.get("request_id", request_id) == request_id
        return status, document


@pytest.fixture(scope="session")
def api_with(load, context, table):
    """The API under further environment variables."""
    settings = {"TABLE_NAME": table, "CARRIERS": json.dumps(CARRIERS)}
    return lambda **environment: Api(load("orders_api", **settings, **environment).handler, context)


@pytest.fixture(scope="session")
def api(api_with):
    return api_with()


@pytest.fixture
def broken(api_with, failing):
    """The API over a table that refuses every call."""
    return api_with(AWS_ENDPOINT_URL=failing(aws_error("ProvisionedThroughputExceededException")))


def refused(answer, status, *words):
    assert answer[0] == status
    for word in words:
        assert word in answer[1]["message"]
    return True


# Placing and reading


def test_an_order_is_placed_and_read(api, client, counted):
    status, order = api.post(client, {"reference": "R-1", "items": [{"sku": "A", "quantity": 1}]})
    assert status == 201
    assert (order["state"], order["reason"]) == ("pending", "Waiting for shipping")
    assert counted() == ["OrderPlaced"]
    assert api.get(client, order["order_id"]) == (200, order)
    assert counted() == []


def test_a_shipped_order_says_when(api, client, store):
    _, order = api.post(client)
    store.ship(order["order_id"], carrier="alpha", shipped_at="2026-02-03T12:00:00Z")
    shipped = {"order_id": order["order_id"], "state": "shipped", "reason": "Shipped at 2026-02-03T12:00:00Z"}
    assert api.get(client, order["order_id"]) == (200, shipped)


def test_an_order_goes_to_the_carrier_it_names_or_the_first(api, client, item):
    for body, carrier in [(None, "alpha"), ({}, "alpha"), ({"carrier": "beta"}, "beta")]:
        _, order = api.post(client, body)
        assert item(order["order_id"])["carrier"] == {"S": carrier}


@pytest.mark.parametrize("body", [None, ""])
def test_an_order_needs_no_body_and_then_no_content_type(api, client, body):
    assert api.post(client, body, headers={})[0] == 201


def test_without_a_key_each_request_is_an_order(api, client):
    assert len({api.post(client)[1]["order_id"] for _ in range(3)}) == 3


def test_the_stored_client_is_the_role_and_not_its_session(api, client, item):
    _, order = api.post(client)
    assert item(order["order_id"])["client"] == {"S": client}


# Idempotency


def test_the_same_key_and_body_give_the_order_as_it_is_now(api, client, store, counted):
    first = api.post(client, {"reference": "x"}, key="k")
    assert first[0] == 201
    assert api.post(client, '{ "reference" : "\\u0078" }', key="k") == (200, first[1])
    store.ship(first[1]["order_id"], carrier="alpha", shipped_at="2026-02-03T12:00:00Z")
    status, now = api.post(client, {"reference": "x"}, key="k")
    assert (status, now["state"]) == (200, "shipped")
    assert counted() == ["OrderPlaced", "OrderReplayed", "OrderReplayed"]


def test_no_body_and_an_empty_one_are_the_same_request(api, client):
    first = api.post(client, None, key="k")
    assert api.post(client, {}, key="k") == (200, first[1])


def test_the_same_key_with_another_body_is_a_conflict(api, client, item):
    _, order = api.post(client, {"reference": "x"}, key="k")
    before = item(order["order_id"])
    assert refused(api.post(client, {"reference": "y"}, key="k"), 409, "Idempotency-Key")
    assert refused(api.post(client, None, key="k"), 409, "Idempotency-Key")
    assert item(order["order_id"]) == before


def test_two_clients_may_use_one_key(api, client):
    _, mine = api.post(client, key="k")
    status, theirs = api.post(f"{client}-other", key="k")
    assert status == 201
    assert mine["order_id"] != theirs["order_id"]


@pytest.mark.parametrize("name", ["idempotency-key", "IDEMPOTENCY-KEY", "Idempotency-Key"])
def test_header_names_have_no_case(api, client, name):
    _, order = api.post(client, headers={"content-TYPE": "application/json", name: "k"}, body={})
    assert api.post(client, {}, key="k") == (200, order)


@pytest.mark.parametrize("key", ["k", "k" * 255, "!~\"'\\${}", "'--", "<$.a>"])
def test_any_visible_ascii_is_a_key(api, client, key):
    first = api.post(client, key=key)
    assert first[0] == 201
    assert api.post(client, key=key) == (200, first[1])


@pytest.mark.parametrize("key", ["", " ", "a b", "k" * 256, "k\n", "\x7f", "é", "😀", "a\x00"])
def test_anything_else_is_none(api, client, key):
    assert refused(api.post(client, key=key), 400, "Idempotency-Key")


def test_a_key_is_sent_once(api, client):
    event = {"multiValueHeaders": {"Idempotency-Key": ["a", "b"]}}
    assert refused(api.post(client, key="b", **event), 400, "Idempotency-Key", "once")


def test_headers_may_come_without_their_multi_value_form(api, client):
    first = api.post(client, {}, key="k")
    assert api.post(client, {}, key="k", multiValueHeaders=None) == (200, first[1])


# Bodies


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "application/json; charset=utf-8", "Application/JSON ;charset=UTF-8"],
)
def test_json_may_be_announced_with_parameters(api, client, content_type):
    assert api.post(client, {}, headers={"Content-Type": content_type})[0] == 201


@pytest.mark.parametrize(
    "headers",
    [
        {},
        *(
            {"Content-Type": value}
            for value in ["", "text/plain", "application/json-patch+json", "application/jsonx", "x"]
        ),
    ],
)
def test_a_body_that_is_not_announced_as_json_is_refused(api, client, headers):
    assert refused(api.post(client, {}, headers=headers), 415, "application/json")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("null", "body must be object"),
        ("[]", "body must be object"),
        ('"text"', "body must be object"),
        ('{"reference": null}', "body.reference must be string"),
        ('{"reference": ""}', "body.reference"),
        (json.dumps({"reference": "😀" * 129}), "body.reference"),
        ('{"reference": 1e400}', "body.reference"),
        ('{"carrier": "gamma"}', "body.carrier must be one of"),
        ('{"carrier": "Alpha"}', "body.carrier"),
        ("{\"carrier\": \"alpha' OR '1'='1\"}", "body.carrier"),
        ('{"items": []}', "body.items"),
        ('{"items": {}}', "body.items"),
        (json.dumps({"items": [{"sku": "A", "quantity": 1}] * 101}), "body.items"),
        ('{"items": [{"sku": "A"}]}', "body.items[0] must contain ['quantity']"),
        ('{"items": [{"sku": "A", "quantity": 0}]}', "body.items[0].quantity"),
        ('{"items": [{"sku": "A", "quantity": 10001}]}', "body.items[0].quantity"),
        ('{"items": [{"sku": "A", "quantity": 1' + "0" * 4000 + "}]}", "body.items[0].quantity"),
        ('{"items": [{"sku": "A", "quantity": 1.5}]}', "body.items[0].quantity"),
        ('{"items": [{"sku": "A", "quantity": "1"}]}', "body.items[0].quantity"),
        ('{"items": [{"sku": "A", "quantity": true}]}', "body.items[0].quantity"),
        ('{"items": [{"sku": "A", "quantity": 1}, {"sku": "\\n", "quantity": 1}]}', "body.items[1].sku"),
        ('{"items": [{"sku": "A\\n", "quantity": 1}]}', "body.items[0].sku"),
        ('{"colour": "red"}', "body must not contain colour"),
        ('{"items": [{"sku": "A", "quantity": 1, "colour": "red"}]}', "body.items[0] must not contain colour"),
        ('{"\\u202e<script>": 1}', "body must not contain other fields"),
        ('{"reference": "a", "reference": "b"}', "twice"),
        ('{"items": [{"sku": "A", "quantity": 1, "quantity": 2}]}', "twice"),
        ('{"items": [{"sku": "A", "quantity": NaN}]}', "number"),
        ('{"items": [{"sku": "A", "quantity": -Infinity}]}', "number"),
        ('{"items": [{"sku": "A", "quantity": 1' + "0" * 5000 + "}]}", "not valid JSON"),
        ('{"reference": "\\ud83d"}', "Unicode"),
        ('{"\\udc00": 1}', "Unicode"),
        ('{"reference": "' + "\ud83d" + '"}', "decoded"),
        ("[" * 60_000, "nested"),
        ('{"":' * 13_000 + "1" + "}" * 13_000, "nested"),
        ("{", "not valid JSON"),
        ("{} {}", "not valid JSON"),
        ("{'reference': 'x'}", "not valid JSON"),
        ('{"reference": "\x01"}', "not valid JSON"),
        ("\ufeff{}", "not valid JSON"),
        (" ", "not valid JSON"),
    ],
)
def test_a_wrong_body_is_refused_with_the_field_and_the_rule(api, client, counted, body, words):
    assert refused(api.post(client, body), 400, words)
    assert counted() == []


@pytest.mark.parametrize(
    "reference",
    [
        "O'Brien",
        '"',
        "\\",
        "😀",
        "\u05e9\u05dc\u05d5\u05dd\u200f",
        "\x00",
        "'; DROP TABLE orders; --",
        "${jndi:ldap://x}",
        "#set($x)",
        "<$.a>",
        "a" * 128,
    ],
)
def test_any_text_is_a_reference(api, client, item, reference):
    status, order = api.post(client, {"reference": reference})
    assert status == 201
    assert item(order["order_id"])["reference"] == {"S": reference}


def test_the_limit_is_in_bytes(api, client):
    room = 65_536 - len('{"reference": ""}')
    fits = '{"reference": ' + " " * room + '""}'
    assert refused(api.post(client, fits), 400, "body.reference"), "read, and refused for another reason"
    assert refused(api.post(client, fits + " "), 413, "65536")
    assert refused(api.post(client, json.dumps({"reference": "é" * 32_768}, ensure_ascii=False)), 413, "65536")


def test_a_body_may_come_in_base64(api, client, item):
    body = base64.b64encode('{"reference": "é"}'.encode()).decode()
    status, order = api.post(client, body, isBase64Encoded=True)
    assert status == 201
    assert item(order["order_id"])["reference"] == {"S": "é"}


@pytest.mark.parametrize("body", ["%%%", "e30", "é", base64.b64encode(b'{"reference": "\xff"}').decode()])
def test_base64_that_is_none_or_no_text_is_refused(api, client, body):
    assert refused(api.post(client, body, isBase64Encoded=True), 400, "body")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from([*CARRIERS, "A-1"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["reference", "carrier", "items", "sku", "quantity", "x"]), inner, max_size=3)
    ),
    max_leaves=8,
)
LINES = st.fixed_dictionaries({"sku": st.just("A-1") | VALUES, "quantity": st.just(3) | VALUES})
BODIES = VALUES | st.fixed_dictionaries(
    {},
    optional={
        "reference": st.just("R") | VALUES,
        "carrier": st.sampled_from(CARRIERS) | VALUES,
        "items": st.lists(LINES, max_size=2) | VALUES,
    },
)


@settings(max_examples=150)
@given(BODIES)
def test_a_body_is_taken_exactly_if_the_contract_allows_it(api, body):
    text = json.dumps(body)
    # NaN and Infinity are none of JSON's, whatever the contract says of numbers.
    allowed = "NaN" not in text and "Infinity" not in text and NEW_ORDER.is_valid(body)
    assert api.post("client-of-generated-bodies", text)[0] == (201 if allowed else 400)


@settings(max_examples=100)
@given(st.binary(max_size=40), st.booleans())
def test_no_bytes_make_the_function_fail(api, body, encoded):
    text = base64.b64encode(body).decode() if encoded else body.decode("utf-8", "surrogateescape")
    assert api.post("client-of-generated-bodies", text, isBase64Encoded=encoded)[0] in {201, 400}


# Who may see what


def test_another_clients_order_looks_like_none(api, client):
    _, order = api.post(client)
    assert api.get(client, order["order_id"])[0] == 200
    theirs = api.get(f"{client}-other", order["order_id"])
    nobodys = api.get(f"{client}-other", str(uuid.uuid4()))
    assert refused(theirs, 404)
    assert theirs[1]["message"] == nobodys[1]["message"]


@pytest.mark.parametrize(
    "order_id",
    [
        "",
        "x",
        "D72604BE-2045-4C15-8D98-2BF4F79C8108A",
        "%00",
        "😀",
        "' OR '1'='1",
        "../orders",
        "a" * 5_000,
        "e6c5599e-5c98-4b21-a4ca-859f1afd8721/x",
    ],
)
def test_what_is_no_id_is_not_found(api, client, order_id):
    assert refused(api.get(client, order_id), 404)


@pytest.mark.parametrize(("method", "path"), [("PUT", "/orders"), ("GET", "/orders"), ("POST", "/"), ("DELETE", "/x")])
def test_what_is_no_route_is_not_found(api, client, method, path):
    assert refused(api.call(method, path, client, headers={}), 404)


@pytest.mark.parametrize("client", [None, ""])
def test_a_request_without_a_caller_is_a_fault_of_ours(api, log, client):
    assert refused(api.post(client), 500)
    assert refused(api.get(client, str(uuid.uuid4())), 500)
    assert "AWS_IAM" in log.text


# Failures, and what is written about them


def test_a_table_that_fails_is_a_500_without_details(broken, client, log, counted):
    answers = [broken.post(client, {"reference": CANARY}, key="k"), broken.get(client, str(uuid.uuid4()))]
    for answer in answers:
        assert refused(answer, 500)
        assert answer[1]["message"] == "The request could not be served"
    assert [line["level"] for line in log.lines] == ["ERROR", "ERROR"]
    assert all("ProvisionedThroughputExceeded" in line["exception"] for line in log.lines)
    assert all(line["order_id"] for line in log.lines)
    assert counted() == []


def test_what_a_client_sends_is_in_no_log(api_with, broken, client, log, capsys):
    # With the switches that would log whole events.
    api = api_with(POWERTOOLS_LOGGER_LOG_EVENT="true", POWERTOOLS_DEV="true")
    headers = {**JSON, "Authorization": CANARY, "Idempotency-Key": CANARY}
    bodies = [
        {"reference": CANARY},
        {"reference": CANARY},
        {"reference": CANARY + "2"},
        {"carrier": CANARY},
        f'"{CANARY}',
        {"x": CANARY},
    ]
    statuses = [api.post(client, body, headers=headers)[0] for body in bodies]
    assert statuses == [201, 200, 409, 400, 400, 400]
    assert broken.post(client, bodies[0], headers=headers)[0] == 500
    assert len(log.lines) == 7
    assert CANARY not in log.text + capsys.readouterr().out


def test_each_line_names_the_order_once_it_is_known_and_no_other(api, client, log):
    _, order = api.post(client, key="k")
    api.post(client, {"reference": "other"}, key="k")
    api.get(client, order["order_id"])
    api.get(f"{client}-other", order["order_id"])
    assert {line["order_id"] for line in log.lines} == {order["order_id"]}
    assert len(log.lines) == 4
    api.post(client, "{")
    assert "order_id" not in log.lines[-1], "left over from the request before"
    assert {line["function_request_id"] for line in log.lines} == {"invocation-1"}


# Settings


@pytest.mark.parametrize(
    ("environment", "name"),
    [
        ({"CARRIERS": '["a"]'}, "TABLE_NAME"),
        ({"CARRIERS": '["a"]', "TABLE_NAME": ""}, "TABLE_NAME"),
        ({"TABLE_NAME": "t"}, "CARRIERS"),
        *(
            ({"TABLE_NAME": "t", "CARRIERS": carriers}, "CARRIERS")
            for carriers in ["a,b", "[]", '"a"', '{"a": 1}', '["a", 1]', '["a", ""]', "null"]
        ),
    ],
)
def test_a_wrong_setting_stops_the_function_before_its_first_request(load, environment, name):
    with pytest.raises(RuntimeError, match=f"the environment variable {name}"):
        load("orders_api", **environment)
