"""An order from the stream to its carrier and a confirmation back: filter, input templates and patterns as deployed."""

import copy
import json

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

import contracts
from sandbox import patterns, transform, vtl
from tests.contracts.deployed import ACCOUNT, BUS, confirm_integration

ORDER_ID = "5c2f1f2e-0d0a-4b57-9d76-0a5b5d1c9b11"
NOW = "2026-01-01T00:00:00Z"

texts = st.text() | st.sampled_from(
    ["it's", '"', "\\", '","state":"shipped', "<$.eventName>", "<order_id>", "\u0000", "😀 שלום"]
)


def record(**attributes: object) -> dict:
    """The stream record of a new order, with these attributes changed; None takes one away."""
    image = {
        "PK": {"S": ORDER_ID},
        "state": {"S": "pending"},
        "carrier": {"S": "acme"},
        "items": {"L": []},
        "n": {"N": "1"},
    }
    return {
        "eventID": "1",
        "eventName": "INSERT",
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": "eu-central-1",
        "dynamodb": {
            "ApproximateCreationDateTime": 1700000000,
            "Keys": {"PK": {"S": ORDER_ID}},
            "NewImage": {name: value for name, value in (image | attributes).items() if value is not None},
            "SequenceNumber": "111",
            "SizeBytes": 26,
            "StreamViewType": "NEW_IMAGE",
        },
        "eventSourceARN": f"arn:aws:dynamodb:eu-central-1:{ACCOUNT}:table/orders/stream/1",
    }


def admitted(stream_record: dict) -> bool:
    return patterns.matches(contracts.pipe_filter(), stream_record)


def created(stream_record: dict) -> dict:
    """The event that the pipe puts on the bus for this record."""
    detail = transform.pipe_input(
        stream_record,
        template=contracts.pipe_input_template(),
        pipe_arn=f"arn:aws:pipes:eu-central-1:{ACCOUNT}:pipe/orders",
        source_arn=stream_record["eventSourceARN"],
        target_arn=f"arn:aws:events:eu-central-1:{ACCOUNT}:event-bus/{BUS}",
        ingestion_time=NOW,
    )
    return event(*contracts.ORDER_CREATED, json.loads(detail))


def event(source: str, detail_type: str, detail: object, account: str = ACCOUNT) -> dict:
    return {
        "version": "0",
        "id": "event-1",
        "source": source,
        "detail-type": detail_type,
        "account": account,
        "time": NOW,
        "region": "eu-central-1",
        "resources": [],
        "detail": detail,
    }


def carrier_input(order_event: dict) -> object:
    """What the carrier's API destination is called with."""
    paths, template = contracts.carrier_request()
    rule = f"arn:aws:events:eu-central-1:{ACCOUNT}:rule/{BUS}/acme"
    return json.loads(
        transform.rule_input(order_event, paths=paths, template=template, rule_arn=rule, ingestion_time=NOW)
    )


# --- pipe ---


def test_the_pipe_takes_a_new_pending_order():
    assert admitted(record())


@pytest.mark.parametrize(
    "attributes",
    [
        {"PK": None},
        {"PK": {"N": "5"}},
        {"PK": {"S": {}}},
        {"state": None},
        {"state": {"S": "shipped"}},
        {"state": {"S": "Pending"}},
        {"state": {"NULL": True}},
        {"carrier": None},
        {"carrier": {"NULL": True}},
        {"carrier": {"N": "5"}},
        {"carrier": {"M": {"S": {"S": "acme"}}}},
        {"carrier": {"L": [{"S": "acme"}]}},
    ],
)
def test_the_pipe_passes_by_what_it_could_not_render(attributes):
    assert not admitted(record(**attributes))


@pytest.mark.parametrize("name", ["MODIFY", "REMOVE", "insert", None])
def test_the_pipe_passes_by_every_change_but_an_insert(name):
    assert not admitted({**record(), "eventName": name})


@pytest.mark.parametrize("part", ["eventName", "dynamodb"])
def test_the_pipe_passes_by_a_record_without_its_parts(part):
    assert not admitted({name: value for name, value in record().items() if name != part})


@pytest.mark.parametrize("image", [None, {}, []])
def test_the_pipe_passes_by_a_record_without_an_image(image):
    removed = record()
    removed["dynamodb"]["NewImage"] = image
    absent = copy.deepcopy(removed)
    del absent["dynamodb"]["NewImage"]

    assert not admitted(removed)
    assert not admitted(absent)


@settings(max_examples=200)
@given(order_id=texts, carrier=texts, extra=st.dictionaries(texts, texts.map(lambda text: {"S": text}), max_size=2))
def test_what_the_pipe_takes_becomes_the_event_of_that_order(order_id, carrier, extra):
    taken = record(**extra | {"PK": {"S": order_id}, "carrier": {"S": carrier}, "state": {"S": "pending"}})
    assert admitted(taken)

    assert created(taken)["detail"] == {
        "eventName": "INSERT",
        "order": {"id": order_id, "state": "pending", "carrier": carrier},
    }


@settings(max_examples=200)
@given(order_id=texts, carrier=texts)
def test_an_order_without_a_record_has_the_event_that_the_pipe_made_of_it(order_id, carrier):
    piped = created(record(PK={"S": order_id}, carrier={"S": carrier}))

    again = contracts.order_created_detail(order_id=order_id, state="pending", carrier=carrier)

    assert json.loads(again) == piped["detail"]


# --- to the carrier ---


@settings(max_examples=200)
@given(carrier=texts, other=texts)
@example(carrier="acme", other="acme2")
@example(carrier="acme", other="Acme")
@example(carrier="acme", other="")
@example(carrier='"},{"exists":true', other="acme")
def test_a_carriers_rule_takes_its_orders_and_no_others(carrier, other):
    assume(carrier != other)
    pattern = contracts.carrier_orders_pattern(account=ACCOUNT, carrier=carrier)

    assert patterns.matches(pattern, created(record(carrier={"S": carrier})))
    assert not patterns.matches(pattern, created(record(carrier={"S": other})))


@pytest.mark.parametrize(
    "change",
    [
        {"account": "444455556666"},
        {"source": "dynamodb.orders2"},
        {"source": "carrier"},
        {"detail-type": "carrier.order_shipped"},
        {"detail": {}},
        {"detail": {"eventName": "MODIFY", "order": {"id": ORDER_ID, "state": "pending", "carrier": "acme"}}},
        {"detail": {"order": {"id": ORDER_ID, "state": "pending", "carrier": "acme"}}},
        {"detail": {"eventName": "INSERT", "order": {"id": ORDER_ID, "state": "pending"}}},
        {"detail": {"eventName": "INSERT", "order": "acme"}},
        {"detail": {"eventName": "INSERT", "carrier": "acme"}},
    ],
)
def test_a_carriers_rule_takes_no_other_event(change):
    pattern = contracts.carrier_orders_pattern(account=ACCOUNT, carrier="acme")
    order = created(record())
    assert patterns.matches(pattern, order)

    assert not patterns.matches(pattern, {**order, **change})


@settings(max_examples=200)
@given(order_id=texts)
def test_a_carrier_receives_the_order_and_its_state_and_nothing_else(order_id):
    order = created(record(PK={"S": order_id}))

    assert carrier_input(order) == {"order_id": order_id, "state": "pending"}
    assert transform.http_parameter("$.detail.order.id", order) == order_id


def test_a_field_missing_from_the_event_is_an_error_and_no_half_request():
    order = created(record())
    assert carrier_input(order)
    del order["detail"]["order"]["id"]

    with pytest.raises(transform.TransformError, match="order_id"):
        carrier_input(order)


# --- back from the carrier ---

CARRIER = f"arn:aws:iam::{ACCOUNT}:role/partners/carrier"


def confirmed(user_arn: str, account: str = ACCOUNT) -> dict:
    """The event of a confirmation that API Gateway took from this caller."""
    rendered = vtl.render(
        confirm_integration()["requestTemplates"]["application/json"],
        body=json.dumps({"order_id": ORDER_ID, "shipped_at": NOW}),
        context={"identity": {"userArn": user_arn}, "requestTimeEpoch": 1700000000000},
    )
    (entry,) = json.loads(rendered.text)["Entries"]
    return event(entry["Source"], entry["DetailType"], json.loads(entry["Detail"]), account)


@pytest.mark.parametrize(
    "user_arn",
    [
        f"arn:aws:sts::{ACCOUNT}:assumed-role/carrier/session-7",
        f"arn:aws:sts::{ACCOUNT}:assumed-role/carrier/a@b.c,d=e+f",
    ],
)
def test_confirmations_of_any_session_of_the_carriers_role_are_taken(user_arn):
    pattern = contracts.carrier_confirmations_pattern(account=ACCOUNT, principal_arn=CARRIER)

    assert patterns.matches(pattern, confirmed(user_arn))


@pytest.mark.parametrize(
    "user_arn",
    [
        f"arn:aws:sts::{ACCOUNT}:assumed-role/other/session-7",
        f"arn:aws:sts::{ACCOUNT}:assumed-role/carrier2/session-7",
        f"arn:aws:sts::{ACCOUNT}:assumed-role/carrie/session-7",
        f"arn:aws:sts::{ACCOUNT}:assumed-role/Carrier/session-7",
        f"arn:aws:sts::{ACCOUNT}:assumed-role/other/carrier",
        f"arn:aws:sts::{ACCOUNT}:assumed-role/carrier",
        "arn:aws:sts::444455556666:assumed-role/carrier/session-7",
        f"arn:aws-cn:sts::{ACCOUNT}:assumed-role/carrier/session-7",
        f"arn:aws:iam::{ACCOUNT}:user/carrier",
        f"arn:aws:iam::{ACCOUNT}:role/partners/carrier",
        f"arn:aws:iam::{ACCOUNT}:root",
        f"x arn:aws:sts::{ACCOUNT}:assumed-role/carrier/session-7",
        "",
    ],
)
def test_confirmations_of_anybody_else_are_not(user_arn):
    pattern = contracts.carrier_confirmations_pattern(account=ACCOUNT, principal_arn=CARRIER)

    assert not patterns.matches(pattern, confirmed(user_arn))


def test_a_user_confirms_as_itself_only():
    user = f"arn:aws:iam::{ACCOUNT}:user/partners/carrier"
    pattern = contracts.carrier_confirmations_pattern(account=ACCOUNT, principal_arn=user)

    assert patterns.matches(pattern, confirmed(user))
    for other in (f"{user}2", f"{user}/x", user.lower().replace("user", "User"), CARRIER):
        assert not patterns.matches(pattern, confirmed(other))


def test_confirmations_that_other_accounts_or_sources_put_on_the_bus_are_not_taken():
    pattern = contracts.carrier_confirmations_pattern(account=ACCOUNT, principal_arn=CARRIER)
    confirmation = confirmed(f"arn:aws:sts::{ACCOUNT}:assumed-role/carrier/session-7")
    assert patterns.matches(pattern, confirmation)

    for change in (
        {"account": "444455556666"},
        {"source": contracts.ORDER_CREATED.source},
        {"detail-type": contracts.ORDER_CREATED.detail_type},
        {"detail": {}},
        {"detail": {**confirmation["detail"], "caller": None}},
        {"detail": {**confirmation["detail"], "caller": {"arn": confirmation["detail"]["caller"]}}},
    ):
        assert not patterns.matches(pattern, {**confirmation, **change})


def test_no_event_is_taken_both_ways():
    order = created(record())
    confirmation = confirmed(f"arn:aws:sts::{ACCOUNT}:assumed-role/carrier/session-7")

    assert not patterns.matches(contracts.carrier_confirmations_pattern(account=ACCOUNT, principal_arn=CARRIER), order)
    assert not patterns.matches(contracts.carrier_orders_pattern(account=ACCOUNT, carrier="acme"), confirmation)


@pytest.mark.parametrize(
    "pattern",
    [
        contracts.pipe_filter(),
        contracts.carrier_orders_pattern(account=ACCOUNT, carrier="acme"),
        contracts.carrier_confirmations_pattern(account=ACCOUNT, principal_arn=CARRIER),
        contracts.carrier_confirmations_pattern(account=ACCOUNT, principal_arn=f"arn:aws:iam::{ACCOUNT}:user/x"),
    ],
)
def test_aws_accepts_the_patterns(pattern):
    patterns.check(pattern)
    assert len(pattern) <= 2048  # PutRule's limit
