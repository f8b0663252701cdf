"""What crosses a boundary, as files, and the one place that fills their `@{placeholders}`.

The program deploys what these functions return, the functions validate against the same schemas, and the tests execute
the same texts. A placeholder without a value, or a value without a placeholder, is an error.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Literal, NamedTuple

from contracts.principals import caller_pattern

_FOLDER = Path(__file__).parent
_PLACEHOLDER = re.compile(r"@\{([a-z_]+)\}")
_PARAMETER = re.compile(r"\{[^}]*\}")
# What a pipe fills in its template, from the record.
_PIPE_PLACEHOLDER = re.compile(r"<(\$[^>]+)>")


class EventType(NamedTuple):
    """The two strings that rules route on and IAM conditions name."""

    source: str
    detail_type: str


class Route(NamedTuple):
    """One operation of the REST API, its path as ARNs have it: with `*` for a parameter."""

    operation: str
    method: str
    path: str


ORDER_CREATED = EventType("dynamodb.orders", "dynamodb-orders-stream")
ORDER_SHIPPED = EventType("carrier", "carrier.order_shipped")
REJECTED = "Rejected"
"""The condition in the record of an event that a function has refused for good."""
UNCONFIRMED = "Unconfirmed"
"""The condition, and the error's type, in the record of an order that no carrier has confirmed."""
MOST_NAMED = 100
"""Orders that one request to `reconcile` may name."""
PENDING_INDEX = "pending"
"""The index of the orders' table that lists pending orders by carrier and age."""


def openapi(
    *,
    title: str,
    region: str,
    partition: str,
    bus_name: str,
    orders_function_arn: str,
    put_events_role_arn: str,
    carriers: list[str],
    resource_policy: dict[str, Any],
) -> dict[str, Any]:
    """The whole REST API as API Gateway imports it; every placeholder is a string known before anything exists."""
    return _document(
        "openapi.yaml",
        title=title,
        orders_integration=f"arn:{partition}:apigateway:{region}:lambda:path/2015-03-31/functions/{orders_function_arn}/invocations",
        put_events_integration=f"arn:{partition}:apigateway:{region}:events:action/PutEvents",
        put_events_role_arn=put_events_role_arn,
        confirm_request=confirm_request_template(bus_name),
        confirm_response=_text("templates/confirm_shipment.response.vtl", status="202"),
        confirm_error=_text("templates/confirm_shipment.response.vtl", status="502"),
        resource_policy=resource_policy,
        new_order=_model(new_order_schema(carriers)),
        order=_model(_document("schemas/order.json")),
        shipment_confirmation=_model(_document("schemas/shipment_confirmation.json")),
        accepted=_model(_document("schemas/accepted.json")),
        message=_model(_document("schemas/message.json")),
    )


def routes(integration: Literal["orders", "put_events"]) -> list[Route]:
    """The routes that lead to one integration: clients' to the function of `orders`, carriers' to `put_events`.

    Who may call a route, and whom the function answers, follows from this; a new route is a new operation here.
    """
    return [
        Route(operation["operationId"], method.upper(), _PARAMETER.sub("*", path))
        for path, operations in _parsed("openapi.yaml", _content("openapi.yaml"))["paths"].items()
        for method, operation in operations.items()
        if operation["x-amazon-apigateway-integration"]["uri"] == f"@{{{integration}_integration}}"
    ]


def confirm_request_template(bus_name: str) -> str:
    """VTL that turns a validated confirmation into one PutEvents entry on `bus_name`."""
    return _text(
        "templates/confirm_shipment.request.vtl",
        bus_name=bus_name,
        source=ORDER_SHIPPED.source,
        detail_type=ORDER_SHIPPED.detail_type,
    )


def new_order_schema(carriers: list[str]) -> dict[str, Any]:
    """JSON Schema (draft 4) of the body of `POST /orders`; `carriers` are the names an order may choose."""
    return _document("schemas/new_order.json", carriers=carriers)


def pipe_filter() -> str:
    """The pipe's filter: only stream records of a new order that can be rendered."""
    return json.dumps(_document("patterns/pipe_filter.json"))


def pipe_input_template() -> str:
    """The detail of `ORDER_CREATED`, from one stream record."""
    return _text("templates/order_created.pipe.txt")


def order_created_detail(*, order_id: str, state: str, carrier: str) -> str:
    """The detail that the pipe makes of a new order's record, for an order whose record is gone from the stream."""
    values = {
        "$.eventName": "INSERT",
        "$.dynamodb.NewImage.PK.S": order_id,
        "$.dynamodb.NewImage.state.S": state,
        "$.dynamodb.NewImage.carrier.S": carrier,
    }
    return _PIPE_PLACEHOLDER.sub(lambda found: json.dumps(values[found[1]]), pipe_input_template())


def carrier_orders_pattern(*, account: str, carrier: str) -> str:
    """Matches the new orders of one carrier that this account emitted."""
    return json.dumps(
        _document(
            "patterns/carrier_orders.json",
            account=account,
            carrier=carrier,
            source=ORDER_CREATED.source,
            detail_type=ORDER_CREATED.detail_type,
        )
    )


def carrier_request() -> tuple[dict[str, str], str]:
    """Input paths and input template of the request that a carrier receives."""
    paths = {"order_id": "$.detail.order.id", "state": "$.detail.order.state"}
    return paths, _text("templates/carrier_request.rule.txt")


def carrier_confirmations_pattern(*, account: str, principal_arn: str) -> str:
    """Matches the confirmations that one IAM role or user sent."""
    return json.dumps(
        _document(
            "patterns/carrier_confirmations.json",
            account=account,
            caller=caller_pattern(principal_arn),
            source=ORDER_SHIPPED.source,
            detail_type=ORDER_SHIPPED.detail_type,
        )
    )


def _text(path: str, **values: str) -> str:
    """Fill a text file whose placeholders stand inside JSON strings."""
    content = _content(path)
    _check(path, set(_PLACEHOLDER.findall(content)), values)
    return _PLACEHOLDER.sub(lambda found: json.dumps(values[found[1]])[1:-1], content)


def _document(path: str, **values: Any) -> Any:
    """Fill a YAML or JSON file; a leaf that is one placeholder takes the value as it is, lists and objects included."""
    content = _content(path)
    _check(path, set(_PLACEHOLDER.findall(content)), values)
    return _fill(_parsed(path, content), values)


def _content(path: str) -> str:
    return (_FOLDER / path).read_text(encoding="utf-8")


def _parsed(path: str, content: str) -> Any:
    if path.endswith(".json"):
        return json.loads(content)
    import yaml  # noqa: PLC0415 - functions carry this module and need its JSON only

    return yaml.safe_load(content)


def _model(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema as OpenAPI 3.0 takes it, which knows no `$schema`."""
    return {key: value for key, value in schema.items() if key != "$schema"}


def _fill(node: Any, values: dict[str, Any]) -> Any:
    if isinstance(node, dict):
        return {key: _fill(value, values) for key, value in node.items()}
    if isinstance(node, list):
        return [_fill(value, values) for value in node]
    if isinstance(node, str) and (whole := _PLACEHOLDER.fullmatch(node)):
        return values[whole[1]]
    return node


def _check(path: str, placeholders: set[str], values: dict[str, Any]) -> None:
    if wrong := placeholders ^ values.keys():
        message = f"contracts/{path}: placeholders and values differ in {', '.join(sorted(wrong))}"
        raise ValueError(message)
