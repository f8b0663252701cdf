"""Arguments that no stack can have are refused before their component registers anything."""

from __future__ import annotations

import pulumi
import pytest

from components import (
    CarrierIntegrationArgs,
    Compute,
    Credential,
    MockCarrierArgs,
    OrdersApiArgs,
    ReconcileArgs,
    StreamPipeArgs,
    Throttle,
)
from components.bounds import ArgumentError

ANY = None
COMPUTE = {"runtime": "python3.13", "log_retention_days": 365, "reserved_concurrency": None}
CREDENTIAL = {"type": "basic", "name": "gateway", "secret": ANY}
THROTTLE = {"rate": 50, "burst": 100}
API = {
    **dict.fromkeys(("scope", "compute", "store", "bus", "throttle"), ANY),
    "clients": ["a client"],
    "carriers": ["acme"],
    "confirmers": ["a carrier"],
    "manage_account": False,
}
CARRIER = {
    **dict.fromkeys(("scope", "compute", "store", "bus", "endpoint", "credential", "principal_arn"), ANY),
    "carrier": "acme",
    "rate_limit": 20,
    "enabled": True,
    "protect": True,
}
PIPE = {**dict.fromkeys(("scope", "source", "target"), ANY), "log_retention_days": 365, "protect": True}
RECONCILE = {
    **dict.fromkeys(("scope", "compute", "store", "bus"), ANY),
    "confirm_within": {"acme": 24},
    "after": (),
    "protect": True,
}
MOCK = {**dict.fromkeys(("scope", "compute", "api", "credential"), ANY), "carrier": "acme"}
HUNDRED = {f"c{number}": 24 for number in range(100)}

FROM_1_TO_300 = "CarrierIntegrationArgs.rate_limit must be a whole number from 1 to 300, and is "
WRONG = [
    (Compute, COMPUTE, {"runtime": "python3.8"}, "Compute.runtime must be python3.11 or "),
    (Compute, COMPUTE, {"log_retention_days": 8}, "Compute.log_retention_days must be one of 1, 3, 5, "),
    (Compute, COMPUTE, {"reserved_concurrency": 0}, "Compute.reserved_concurrency must be a whole number from 1 to "),
    (Credential, CREDENTIAL, {"type": "BASIC"}, "Credential.type must be basic or apiKey, and is 'BASIC'"),
    (Throttle, THROTTLE, {"rate": 0}, "Throttle.rate must be a whole number from 1 to 10000, and is 0"),
    (Throttle, THROTTLE, {"burst": 5_001}, "Throttle.burst must be a whole number from 1 to 5000, and is 5001"),
    (OrdersApiArgs, API, {"clients": []}, "OrdersApiArgs.clients is empty"),
    (OrdersApiArgs, API, {"carriers": []}, "OrdersApiArgs.carriers is empty"),
    (OrdersApiArgs, API, {"carriers": ["x"] * 101}, "OrdersApiArgs.carriers has 101, and may have 100 at most"),
    (OrdersApiArgs, API, {"confirmers": []}, "OrdersApiArgs.confirmers is empty"),
    (OrdersApiArgs, API, {"carriers": ["acme", "a/b"]}, "OrdersApiArgs.carriers[1] must be 1 to 16 small letters"),
    (MockCarrierArgs, MOCK, {"carrier": "Acme"}, "MockCarrierArgs.carrier must be 1 to 16 small letters"),
    (CarrierIntegrationArgs, CARRIER, {"carrier": "a" * 17}, "CarrierIntegrationArgs.carrier must be 1 to 16 small "),
    (CarrierIntegrationArgs, CARRIER, {"carrier": None}, "CarrierIntegrationArgs.carrier must be 1 to 16 small "),
    (CarrierIntegrationArgs, CARRIER, {"rate_limit": 301}, FROM_1_TO_300 + "301"),
    (CarrierIntegrationArgs, CARRIER, {"rate_limit": 0}, FROM_1_TO_300 + "0"),
    (CarrierIntegrationArgs, CARRIER, {"rate_limit": True}, FROM_1_TO_300 + "True"),
    (CarrierIntegrationArgs, CARRIER, {"rate_limit": "20"}, FROM_1_TO_300 + "'20'"),
    (StreamPipeArgs, PIPE, {"log_retention_days": 0}, "StreamPipeArgs.log_retention_days must be one of "),
    (ReconcileArgs, RECONCILE, {"confirm_within": {}}, "ReconcileArgs.confirm_within is empty"),
    (
        ReconcileArgs,
        RECONCILE,
        {"confirm_within": HUNDRED | {"x": 24}},
        "ReconcileArgs.confirm_within has 101, and may ",
    ),
    (
        ReconcileArgs,
        RECONCILE,
        {"confirm_within": {"A": 24}},
        "a carrier of ReconcileArgs.confirm_within must be 1 to ",
    ),
    (ReconcileArgs, RECONCILE, {"confirm_within": {"acme": 24, "bolt": 337}}, "ReconcileArgs.confirm_within['bolt'] "),
]
BOUNDS = [
    (Compute, COMPUTE, {"runtime": "python3.11", "log_retention_days": 1, "reserved_concurrency": 1}),
    (Compute, COMPUTE, {"runtime": "python3.14", "log_retention_days": 3653, "reserved_concurrency": 1000}),
    (Credential, CREDENTIAL, {"type": "apiKey"}),
    (Throttle, THROTTLE, {"rate": 1, "burst": 1}),
    (Throttle, THROTTLE, {"rate": 10_000, "burst": 5_000}),
    (OrdersApiArgs, API, {"carriers": ["x"] * 100}),
    (CarrierIntegrationArgs, CARRIER, {"carrier": "a", "rate_limit": 1}),
    (CarrierIntegrationArgs, CARRIER, {"carrier": "a" * 16, "rate_limit": 300}),
    (StreamPipeArgs, PIPE, {"log_retention_days": 3653}),
    (ReconcileArgs, RECONCILE, {"confirm_within": {"acme": 1, "bolt": 336}}),
    (ReconcileArgs, RECONCILE, {"confirm_within": HUNDRED}),
]


@pytest.mark.parametrize(("kind", "given", "wrong", "said"), WRONG)
def test_an_argument_out_of_bounds_is_refused_by_name(kind, given, wrong, said):
    kind(**given)
    with pytest.raises(ArgumentError) as refused:
        kind(**(given | wrong))
    assert str(refused.value).startswith(said)


@pytest.mark.parametrize(("kind", "given", "ends"), BOUNDS)
def test_both_ends_are_within(kind, given, ends):
    kind(**(given | ends))


def test_the_engine_shows_the_refusal_without_a_traceback():
    assert issubclass(ArgumentError, pulumi.RunError)
