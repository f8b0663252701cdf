"""The API as the program renders it, and the names that the tests of its contracts share."""

from __future__ import annotations

from typing import Any

import contracts

ACCOUNT = "111122223333"
BUS = "orders-dev"
RESOURCE_POLICY = {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Principal": "*"}]}


def api() -> dict[str, Any]:
    return contracts.openapi(
        title="orders-dev",
        region="eu-central-1",
        partition="aws",
        bus_name=BUS,
        orders_function_arn=f"arn:aws:lambda:eu-central-1:{ACCOUNT}:function:orders-dev-api",
        put_events_role_arn=f"arn:aws:iam::{ACCOUNT}:role/orders-dev-confirm",
        carriers=["acme", "globex"],
        resource_policy=RESOURCE_POLICY,
    )


def confirm_integration() -> dict[str, Any]:
    """The integration of `POST /confirm-shipment`."""
    return api()["paths"]["/confirm-shipment"]["post"]["x-amazon-apigateway-integration"]
