"""Nothing is deployed with a hole in it: every placeholder is filled, in the place and form it stands in."""

import json
from pathlib import Path

import pytest
import yaml

import contracts
from tests.contracts.deployed import ACCOUNT, BUS, api, confirm_integration

FOLDER = Path(contracts.__file__).parent
FILES = sorted(
    path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*.*") if path.suffix != ".py" and path.is_file()
)
FILES = [name for name in FILES if "__pycache__" not in name]
WITH_PLACEHOLDERS = [
    name for name in FILES if contracts._PLACEHOLDER.search((FOLDER / name).read_text(encoding="utf-8"))
]
ROLE = f"arn:aws:iam::{ACCOUNT}:role/partners/carrier"

RENDERED = {
    "openapi.yaml": json.dumps(api()),
    "templates/confirm_shipment.request.vtl": contracts.confirm_request_template(BUS),
    "templates/confirm_shipment.response.vtl": json.dumps(confirm_integration()["responses"]),
    "templates/order_created.pipe.txt": contracts.pipe_input_template(),
    "templates/carrier_request.rule.txt": contracts.carrier_request()[1],
    "patterns/pipe_filter.json": contracts.pipe_filter(),
    "patterns/carrier_orders.json": contracts.carrier_orders_pattern(account=ACCOUNT, carrier="acme"),
    "patterns/carrier_confirmations.json": contracts.carrier_confirmations_pattern(account=ACCOUNT, principal_arn=ROLE),
    "schemas/new_order.json": json.dumps(contracts.new_order_schema(["acme"])),
}


def render(name: str, **values: object) -> object:
    function = contracts._document if name.endswith((".json", ".yaml")) else contracts._text
    return function(name, **values)


def placeholders(name: str) -> set[str]:
    return set(contracts._PLACEHOLDER.findall((FOLDER / name).read_text(encoding="utf-8")))


def leaves(node):
    match node:
        case dict():
            for key, value in node.items():
                yield key
                yield from leaves(value)
        case list():
            for value in node:
                yield from leaves(value)
        case _:
            yield node


def test_there_are_files_with_placeholders_and_all_of_them_are_rendered_here():
    assert WITH_PLACEHOLDERS
    assert set(WITH_PLACEHOLDERS) <= RENDERED.keys() <= set(FILES)


@pytest.mark.parametrize("name", RENDERED)
def test_no_placeholder_is_left(name):
    assert RENDERED[name]
    assert "@{" not in RENDERED[name]


@pytest.mark.parametrize("name", WITH_PLACEHOLDERS)
def test_a_missing_value_is_an_error_that_names_file_and_placeholder(name):
    every = dict.fromkeys(placeholders(name), "x")
    assert render(name, **every)

    for missing in every:
        rest = {placeholder: value for placeholder, value in every.items() if placeholder != missing}
        with pytest.raises(ValueError, match=rf"contracts/{name}: .*\b{missing}\b"):
            render(name, **rest)


@pytest.mark.parametrize("name", FILES)
def test_a_value_without_a_placeholder_is_an_error_that_names_both(name):
    values = dict.fromkeys(placeholders(name), "x")

    with pytest.raises(ValueError, match=rf"contracts/{name}: .*\bsurplus\b"):
        render(name, **values, surplus="x")


@pytest.mark.parametrize("name", [name for name in WITH_PLACEHOLDERS if name.endswith((".json", ".yaml"))])
def test_a_placeholder_in_a_document_is_a_whole_leaf(name):
    # One inside a longer text, or as a key, would pass the check of names and stay as it is.
    texts = [
        leaf for leaf in leaves(yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))) if isinstance(leaf, str)
    ]
    holes = [text for text in texts if "@{" in text]

    assert {contracts._PLACEHOLDER.fullmatch(text)[1] for text in holes} == placeholders(name)


def test_a_document_takes_values_as_they_are():
    carriers = ['it\'s "quoted"', "@{carriers}", "back\\slash"]

    assert contracts.new_order_schema(carriers)["properties"]["carrier"]["enum"] == carriers
    pattern = json.loads(contracts.carrier_orders_pattern(account=ACCOUNT, carrier=carriers[0]))
    assert pattern["detail"]["order"]["carrier"] == [carriers[0]]


def test_a_text_takes_values_as_parts_of_json_strings():
    assert '"EventBusName": "a\\"b\\\\c"' in contracts.confirm_request_template('a"b\\c')
