"""The JSON Schemas are valid draft 4, closed, and bound the size of all they admit."""

import json
from pathlib import Path

import pytest
from jsonschema import Draft4Validator

import contracts

FOLDER = Path(contracts.__file__).parent / "schemas"
CARRIERS = ["acme", "globex"]
SCHEMAS = {
    path.stem: contracts.new_order_schema(CARRIERS)
    if path.stem == "new_order"
    else contracts._document(f"schemas/{path.name}")
    for path in sorted(FOLDER.glob("*.json"))
}
# What an event may have by the older of AWS's documents, and less than what a request or an item may.
MOST_BYTES = 256 * 1024
ORDER = {"order_id": "5c2f1f2e-0d0a-4b57-9d76-0a5b5d1c9b11", "state": "pending", "reason": "Waiting for shipping"}


def parts(schema):
    yield schema
    for part in [*schema.get("properties", {}).values(), *([schema["items"]] if "items" in schema else [])]:
        yield from parts(part)


def most_bytes(schema) -> int:
    """An upper bound of the JSON of any value that `schema` admits; a missing bound is a KeyError."""
    if "enum" in schema:
        return max(len(json.dumps(value)) for value in schema["enum"])
    match schema["type"]:
        case "string":
            return 2 + 12 * schema["maxLength"]  # two escaped surrogates for a character
        case "integer":
            return max(len(str(schema["minimum"])), len(str(schema["maximum"])))
        case "array":
            return 2 + schema["maxItems"] * (1 + most_bytes(schema["items"]))
        case "object":
            assert schema["additionalProperties"] is False
            return 2 + sum(len(json.dumps(name)) + 2 + most_bytes(part) for name, part in schema["properties"].items())
        case other:
            pytest.fail(f"no bound is known for {other}")


def test_all_schemas_are_here():
    assert list(SCHEMAS) == ["accepted", "message", "new_order", "order", "shipment_confirmation"]


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_is_draft_4(name):
    Draft4Validator.check_schema(SCHEMAS[name])

    assert SCHEMAS[name]["$schema"] == "http://json-schema.org/draft-04/schema#"
    assert SCHEMAS[name]["title"].isalnum()
    assert SCHEMAS[name]["description"]


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_says_the_type_of_every_part_and_closes_every_object(name):
    seen = list(parts(SCHEMAS[name]))
    objects = [part for part in seen if part.get("type") == "object"]

    assert objects
    assert [part for part in seen if "type" not in part] == []
    assert [part for part in objects if part.get("additionalProperties") is not False] == []
    assert [part for part in objects if not set(part.get("required", [])) <= part["properties"].keys()] == []


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_bounds_what_it_admits(name):
    assert 0 < most_bytes(SCHEMAS[name]) < MOST_BYTES


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("new_order", {}),
        ("new_order", {"reference": "it's 😀", "carrier": "globex", "items": [{"sku": "A-1.b_c", "quantity": 1}]}),
        ("new_order", {"reference": "x" * 128, "items": [{"sku": "a" * 64, "quantity": 10000}] * 100}),
        ("order", ORDER),
        ("order", {**ORDER, "state": "shipped", "reason": "Shipped at 2026-01-01T00:00:00.123456789+00:00"}),
        ("accepted", {"event_id": "1"}),
        ("message", {"message": "", "request_id": "1"}),
    ],
)
def test_a_schema_admits(name, value):
    Draft4Validator(SCHEMAS[name]).validate(value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("new_order", value) for value in (None, [], "", 5)],
        ("new_order", {"carrier": "nobody"}),
        ("new_order", {"carrier": None}),
        ("new_order", {"carrier": ["acme"]}),
        ("new_order", {"reference": ""}),
        ("new_order", {"reference": "x" * 129}),
        ("new_order", {"state": "shipped"}),
        ("new_order", {"items": []}),
        ("new_order", {"items": [{"sku": "a", "quantity": 1}] * 101}),
        *[("new_order", {"items": [item]}) for item in ({}, {"sku": "a"}, {"quantity": 1}, "a", None)],
        *[("new_order", {"items": [{"sku": "a", "quantity": n}]}) for n in (0, -1, 10001, 1.5, "1", True, None)],
        *[
            ("new_order", {"items": [{"sku": sku, "quantity": 1}]})
            for sku in ("", "-a", "a b", "a'", "a\n", "a\u2028", "é", "a" * 65, 5, None)
        ],
        ("new_order", {"items": [{"sku": "a", "quantity": 1, "price": 0}]}),
        ("order", {**ORDER, "state": "lost"}),
        ("order", {**ORDER, "client": "arn"}),
        ("order", {**ORDER, "order_id": f"{ORDER['order_id']}\n"}),
        *[("order", {key: value for key, value in ORDER.items() if key != missing}) for missing in ORDER],
        ("accepted", {}),
        ("accepted", {"event_id": ""}),
        ("accepted", {"event_id": None}),
        ("message", {"message": "x"}),
        ("message", {"message": "x", "request_id": "1", "stack": "trace"}),
    ],
)
def test_a_schema_refuses(name, value):
    assert not Draft4Validator(SCHEMAS[name]).is_valid(value)


def test_an_order_chooses_among_the_carriers_it_is_given():
    for carrier in CARRIERS:
        assert Draft4Validator(contracts.new_order_schema([carrier])).is_valid({"carrier": carrier})
    assert not Draft4Validator(contracts.new_order_schema(["acme"])).is_valid({"carrier": "globex"})
