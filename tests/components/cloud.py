"""What every component needs around it to be recorded alone."""

from __future__ import annotations

import pulumi

from components import (
    Compute,
    Credential,
    OrdersApi,
    OrdersApiArgs,
    OrdersBus,
    OrdersBusArgs,
    OrdersStore,
    OrdersStoreArgs,
    Scope,
    Throttle,
)
from tests import graph

SCOPE = Scope(project="shop", stack="test", region=graph.REGION, account=graph.ACCOUNT)
COMPUTE = Compute(runtime="python3.13", log_retention_days=30, reserved_concurrency=None)
ACME_ROLE = f"arn:aws:iam::{graph.ACCOUNT}:role/acme"


def store(**changes):
    return OrdersStore("orders", OrdersStoreArgs(**{"scope": SCOPE, "protect": False, **changes}))


def bus(**changes):
    return OrdersBus("orders", OrdersBusArgs(**{"scope": SCOPE, "protect": False, **changes}))


def api(**changes):
    defaults = {
        "scope": SCOPE,
        "compute": COMPUTE,
        "clients": [f"arn:aws:iam::{graph.ACCOUNT}:role/client"],
        "carriers": ["acme"],
        "confirmers": [ACME_ROLE],
        "throttle": Throttle(rate=10, burst=20),
        "manage_account": False,
    }
    around = {"store": store(), "bus": bus()} if not {"store", "bus"} <= changes.keys() else {}
    return OrdersApi("api", OrdersApiArgs(**{**defaults, **around, **changes}))


def credential(kind="basic", name="gateway"):
    return Credential(type=kind, name=name, secret=pulumi.Output.secret(graph.CANARY))
