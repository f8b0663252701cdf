"""A carrier's confirmation on its way into PutEvents: the model that lets it in, and the template as deployed."""

import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jsonschema import Draft4Validator

import contracts
from sandbox import vtl
from tests.contracts.deployed import BUS, confirm_integration

MODEL = contracts._document("schemas/shipment_confirmation.json")
ADMITS = Draft4Validator(MODEL).is_valid
TEMPLATE = confirm_integration()["requestTemplates"]["application/json"]
NOW = 1700000000000

VALID = {"order_id": "5c2f1f2e-0d0a-4b57-9d76-0a5b5d1c9b11", "shipped_at": "2026-01-31T23:59:59.5+02:00"}
CARRIER = "arn:aws:sts::111122223333:assumed-role/carrier/session-7"
HARD = [
    "it's",
    'say "hi"',
    "back\\slash",
    "\\'",
    '\\"',
    "\\\\'\\'",
    "new\nline\r\ttab",
    "😀 é \U0010ffff",
    "שלום \u202e left",
    "\u0000\u0001\u007f\u0080\u2028\u2029",
    "</script><b>&amp;",
    "$context.requestId ${x} $!{x}",
    "#set($context.responseOverride.status = 200) ## #* *# #end",
    "{{x}} @{bus_name} <x>",
    "\\u0022 %22",
    '","order_id":"evil',
    '\\","order_id\\":\\"evil',
    '"}]}',
    '"},{"EventBusName":"other","Source":"evil","DetailType":"evil","Detail":"{}"},{"x":"',
    "",
]

confirmations = st.fixed_dictionaries(
    {name: st.from_regex(schema["pattern"], fullmatch=True) for name, schema in MODEL["properties"].items()}
).filter(ADMITS)
texts = st.sampled_from(HARD) | st.text() | st.lists(st.sampled_from(HARD)).map("".join)
# An IAM path may hold any printable ASCII character.
callers = st.one_of(
    st.just(CARRIER),
    st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E)).map("arn:aws:iam::111122223333:user/{}/bob".format),
    texts,
)
documents = st.recursive(
    st.none() | st.booleans() | st.integers() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)


def put_events(body: str, caller: str = CARRIER) -> dict:
    context = {"identity": {"userArn": caller}, "requestTimeEpoch": NOW}
    rendered = vtl.render(TEMPLATE, body=body, context=context)
    assert (rendered.status, rendered.headers) == (None, {})
    return json.loads(rendered.text)


def only_entry(request: dict) -> dict:
    """The one entry, after all that no caller may influence has been taken for granted."""
    assert request.keys() == {"Entries"}
    (entry,) = request["Entries"]
    assert entry.keys() == {"EventBusName", "Source", "DetailType", "Detail"}
    assert entry["EventBusName"] == BUS
    assert entry["Source"] == "carrier"
    assert entry["DetailType"] == "carrier.order_shipped"
    return entry


@settings(max_examples=200)
@given(confirmation=confirmations, caller=callers)
@example(confirmation=VALID, caller='arn:aws:iam::111122223333:user/o\'brien/"quoted"\\/bob')
def test_an_admitted_confirmation_is_one_entry_with_its_fields_the_caller_and_the_time(confirmation, caller):
    entry = only_entry(put_events(json.dumps(confirmation), caller))

    assert json.loads(entry["Detail"]) == {**confirmation, "caller": caller, "received_at": NOW}


@settings(max_examples=300)
@given(order_id=texts, shipped_at=texts, caller=callers, ascii_only=st.booleans())
@example(order_id="\\'", shipped_at="'\\", caller="'", ascii_only=False)
def test_even_a_text_the_model_refuses_stays_in_its_field(order_id, shipped_at, caller, ascii_only):
    fields = {"order_id": order_id, "shipped_at": shipped_at}

    entry = only_entry(put_events(json.dumps(fields, ensure_ascii=ascii_only), caller))

    assert json.loads(entry["Detail"]) == {**fields, "caller": caller, "received_at": NOW}


@settings(max_examples=200)
@given(body=documents)
@example(body={})
@example(body={**VALID, "source": "evil", "EventBusName": "evil", "caller": "evil", "received_at": 0})
@example(body={"order_id": {"a": "it's"}, "shipped_at": [['"']]})
def test_no_body_at_all_adds_an_entry_or_a_field(body):
    entry = only_entry(put_events(json.dumps(body)))

    detail = json.loads(entry["Detail"])
    assert detail.keys() == {"order_id", "shipped_at", "caller", "received_at"}
    assert (detail["caller"], detail["received_at"]) == (CARRIER, NOW)


@pytest.mark.parametrize("name", ["order_id", "shipped_at"])
@pytest.mark.parametrize("value", [*HARD, None, 5, True, [], ["x"], {}, {"x": 1}])
def test_the_model_refuses_any_other_value(name, value):
    assert ADMITS(VALID)
    assert not ADMITS({**VALID, name: value})


@pytest.mark.parametrize("name", ["order_id", "shipped_at"])
@pytest.mark.parametrize("change", ["{}\n", "\n{}", " {}", "{} ", "{}'", "{}\u2028", "{}\u0000", "x{}", "{}\r\n"])
def test_the_model_refuses_anything_around_a_value(name, change):
    # Python's and Java's $ would let a line end pass, ECMAScript's doesn't, and API Gateway doesn't say which it has.
    assert not ADMITS({**VALID, name: change.format(VALID[name])})


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        [VALID],
        None,
        "text",
        {"order_id": VALID["order_id"]},
        {"shipped_at": VALID["shipped_at"]},
        {**VALID, "caller": "evil"},
        {**VALID, "": ""},
        {**VALID, "Source": "evil"},
        {**VALID, "order_id": VALID["order_id"].upper()},
        {**VALID, "order_id": VALID["order_id"].replace("-", "")},
        {**VALID, "order_id": VALID["order_id"][:-1]},
    ],
)
def test_the_model_refuses_any_other_body(body):
    assert not ADMITS(body)


@pytest.mark.parametrize(
    ("shipped_at", "admitted"),
    [
        ("2026-01-31T23:59:59Z", True),
        ("2026-01-31T23:59:59.1Z", True),
        ("2026-01-31T23:59:59-11:30", True),
        ("2026-01-31T23:59:59.1234567890Z", False),
        ("2026-01-31T23:59:59.Z", False),
        ("2026-01-31T23:59:59", False),
        ("2026-01-31 23:59:59Z", False),
        ("2026-01-31t23:59:59z", False),
        ("2026-01-31", False),
        ("2026-13-01T00:00:00Z", False),
        ("2026-01-32T00:00:00Z", False),
        ("2026-01-31T24:00:00Z", False),
        ("2026-01-31T00:60:00Z", False),
        ("2026-01-31T00:00:00+24:00", False),
        ("\u0662026-01-31T00:00:00Z", False),
        ("1767225599", False),
    ],
)
def test_shipped_at_is_a_time_with_its_zone(shipped_at, admitted):
    assert ADMITS({**VALID, "shipped_at": shipped_at}) == admitted


@pytest.mark.parametrize("bus", ["orders-prod", "a.b_c-1", "x" * 256])
def test_the_bus_is_the_one_the_template_was_made_for(bus):
    rendered = vtl.render(
        contracts.confirm_request_template(bus),
        body=json.dumps(VALID),
        context={"identity": {"userArn": CARRIER}, "requestTimeEpoch": NOW},
    )

    assert json.loads(rendered.text)["Entries"][0]["EventBusName"] == bus
