"""Each component works alone, with no settings and no `__main__`, in a program of another name."""

from __future__ import annotations

import json

import pytest

from components import (
    CarrierIntegration,
    CarrierIntegrationArgs,
    MockCarrier,
    MockCarrierArgs,
    Reconcile,
    ReconcileArgs,
    StreamPipe,
    StreamPipeArgs,
)
from components.grants import ServiceRole
from tests import graph
from tests.components import cloud

POLICY = "aws:iam/rolePolicy:RolePolicy"


def carrier(kind="basic", **changes):
    defaults = {
        "scope": cloud.SCOPE,
        "compute": cloud.COMPUTE,
        "carrier": "acme",
        "endpoint": "https://api.acme.example",
        "rate_limit": 5,
        "credential": cloud.credential(kind),
        "principal_arn": cloud.ACME_ROLE,
        "enabled": True,
        "protect": False,
    }
    around = {"store": cloud.store(), "bus": cloud.bus()}
    return CarrierIntegration("acme", CarrierIntegrationArgs(**{**defaults, **around, **changes}))


def role():
    return ServiceRole(
        "reader",
        service="lambda.amazonaws.com",
        physical_name="reader",
        known_arn=f"arn:aws:iam::{graph.ACCOUNT}:role/reader",
    )


def granted(recorded, name):
    (statement,) = json.loads(recorded.only(POLICY, name).inputs["policy"])["Statement"]
    return statement["Action"], statement["Resource"]


def test_the_store_grants_one_action_for_each_ability():
    def build():
        store, holder = cloud.store(), role()
        store.grant_create(holder)
        store.grant_read(holder)
        store.grant_ship(holder)
        store.grant_stream(holder)
        store.grant_list_pending(holder)
        store.grant_reconcile(holder)

    recorded = graph.record(build)
    table = f"arn:aws:dynamodb:{graph.REGION}:{graph.ACCOUNT}:table/shop-test-orders"
    assert granted(recorded, "reader-creates-orders") == (["dynamodb:PutItem"], table)
    assert granted(recorded, "reader-reads-orders") == (["dynamodb:GetItem"], table)
    assert granted(recorded, "reader-ships-orders") == (["dynamodb:UpdateItem"], table)
    assert granted(recorded, "reader-lists-pending-orders") == (["dynamodb:Query"], f"{table}/index/pending")
    assert granted(recorded, "reader-lets-orders-wait-anew") == (["dynamodb:UpdateItem"], table)
    actions, resource = granted(recorded, "reader-reads-the-stream")
    assert resource == f"{table}/stream/*"
    assert set(actions) == {
        f"dynamodb:{a}" for a in ("DescribeStream", "GetRecords", "GetShardIterator", "ListStreams")
    }


def test_the_index_of_pending_orders_is_spread_over_shards():
    table = graph.record(cloud.store).only("aws:dynamodb/table:Table").inputs
    (index,) = table["globalSecondaryIndexes"]
    assert [key["attributeName"] for key in index["keySchemas"]] == ["pending_shard", "pending_since"]
    types = {attribute["name"]: attribute["type"] for attribute in table["attributes"]}
    assert types["pending_shard"] == types["pending_since"] == "S"


@pytest.mark.parametrize("protect", [True, False])
def test_protection_is_one_switch_for_aws_and_pulumi(protect):
    def build():
        cloud.store(protect=protect)
        cloud.bus(protect=protect)

    recorded = graph.record(build)
    table = recorded.only("aws:dynamodb/table:Table")
    assert (table.protect, table.inputs["deletionProtectionEnabled"]) == (protect, protect)
    assert recorded.only("aws:cloudwatch/eventArchive:EventArchive").protect == protect


def test_a_bus_that_was_told_of_no_publisher_has_no_policy_yet():
    def build():
        cloud.bus()

    recorded = graph.record(build)
    assert recorded.of("aws:cloudwatch/eventBus:EventBus")
    assert recorded.of("aws:cloudwatch/eventBusPolicy:EventBusPolicy") == []


@pytest.mark.parametrize("managed", [True, False])
def test_the_regions_logging_role_is_touched_only_when_told(managed):
    recorded = graph.record(lambda: cloud.api(manage_account=managed) and None)
    accounts = recorded.of("aws:apigateway/account:Account")
    stage = recorded.only("aws:apigateway/stage:Stage")
    assert len(accounts) == (1 if managed else 0)
    assert {account.urn for account in accounts} <= set(stage.depends_on)


def test_the_api_throttles_each_route_as_told():
    recorded = graph.record(lambda: cloud.api() and None)
    settings = recorded.only("aws:apigateway/methodSettings:MethodSettings").inputs
    assert settings["methodPath"] == "*/*"
    assert settings["settings"]["throttlingRateLimit"] == 10
    assert settings["settings"]["throttlingBurstLimit"] == 20


def test_the_function_is_called_for_its_own_routes_only():
    recorded = graph.record(lambda: cloud.api().take_orders(after=[]))
    sources = {
        node.inputs["sourceArn"].partition(":a1b2c3")[2] for node in recorded.of("aws:lambda/permission:Permission")
    }
    paths = json.loads(recorded.only("aws:apigateway/restApi:RestApi").inputs["body"])["paths"]
    own = {
        f"/v1/{method.upper()}{path.replace('{order_id}', '*')}"
        for path, operations in paths.items()
        for method, operation in operations.items()
        if ":function:shop-test-orders-api/" in operation["x-amazon-apigateway-integration"]["uri"]
    }
    assert {"/v1/POST/orders", "/v1/GET/orders/*"} <= sources == own
    assert not any("confirm" in source for source in sources)


def test_the_pipe_runs_in_the_region_of_its_scope():
    def build():
        store, bus = cloud.store(), cloud.bus()
        StreamPipe(
            "pipe", StreamPipeArgs(scope=cloud.SCOPE, source=store, target=bus, log_retention_days=30, protect=False)
        )

    recorded = graph.record(build)
    provider = recorded.only("pulumi:providers:aws-native")
    assert provider.inputs["region"] == graph.REGION
    assert recorded.only("aws-native:pipes:Pipe").provider.startswith(provider.urn)


@pytest.mark.parametrize(
    ("kind", "authorization", "path"),
    [("basic", "BASIC", "authParameters.basic.password"), ("apiKey", "API_KEY", "authParameters.apiKey.value")],
)
def test_a_credential_stays_secret_whatever_its_kind(kind, authorization, path):
    recorded = graph.record(lambda: carrier(kind) and None)
    connection = recorded.only("aws:cloudwatch/eventConnection:EventConnection")
    assert connection.inputs["authorizationType"] == authorization
    assert [(p, s) for p, value, s in graph.leaves(connection.inputs) if value == graph.CANARY] == [(path, True)]


def test_orders_go_to_the_carriers_own_path_at_its_own_rate():
    destination = graph.record(lambda: carrier() and None).only(
        "aws:cloudwatch/eventApiDestination:EventApiDestination"
    )
    assert destination.inputs["invocationEndpoint"] == "https://api.acme.example/orders"
    assert destination.inputs["invocationRateLimitPerSecond"] == 5
    assert destination.inputs["httpMethod"] == "POST"


def test_a_user_may_confirm_as_well_as_a_role():
    user = f"arn:aws:iam::{graph.ACCOUNT}:user/partners/acme"
    recorded = graph.record(lambda: carrier(principal_arn=user) and None)
    pattern = json.loads(recorded.only("aws:cloudwatch/eventRule:EventRule", "acme-confirm").inputs["eventPattern"])
    assert pattern["detail"] == {"caller": [user]}


@pytest.mark.parametrize("protect", [True, False])
def test_reconcile_works_with_a_table_and_a_bus(protect):
    def build():
        reconcile = Reconcile(
            "reconcile",
            ReconcileArgs(
                scope=cloud.SCOPE,
                compute=cloud.COMPUTE,
                store=cloud.store(),
                bus=cloud.bus(),
                confirm_within={"acme": 3},
                after=(),
                protect=protect,
            ),
        )
        reconcile.function_name.apply(lambda name: named.update(function=name))
        reconcile.overdue_url.apply(lambda url: named.update(overdue=url))

    named = {}
    recorded = graph.record(build)
    variables = recorded.only("aws:lambda/function:Function").inputs["environment"]["variables"]
    assert json.loads(variables["CONFIRM_WITHIN"]) == {"acme": 3}
    assert variables["BUS_NAME"] == variables["TABLE_NAME"] == "shop-test-orders"
    assert named == {"function": "shop-test-reconcile", "overdue": variables["OVERDUE_QUEUE_URL"]}
    assert recorded.only("aws:sqs/queue:Queue").protect is protect
    assert {node.inputs["name"] for node in recorded.of("aws:scheduler/schedule:Schedule")} == {"shop-test-reconcile"}


def test_the_mock_carrier_knows_its_credential_only_by_digest():
    def build():
        MockCarrier(
            "acme-mock",
            MockCarrierArgs(
                scope=cloud.SCOPE, compute=cloud.COMPUTE, carrier="acme", api=cloud.api(), credential=cloud.credential()
            ),
        )

    recorded = graph.record(build)
    variables = recorded.only("aws:lambda/function:Function", "acme-mock").inputs["environment"]["variables"]
    assert graph.is_secret(variables["CREDENTIAL_DIGEST"])
    assert len(variables["CREDENTIAL_DIGEST"]["value"]) == 64
    assert variables["CONFIRM_URL"].endswith("/v1/confirm-shipment")
    assert graph.CANARY not in json.dumps(graph.plain(dict(variables)))
