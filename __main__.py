"""The serverless event gateway: orders come in over HTTP, a carrier takes part by HTTP alone, and events do the rest.

POST /orders -> OrdersApi -> OrdersStore -> (stream) -> StreamPipe -> OrdersBus -> CarrierIntegration -> carrier
carrier -> POST /confirm-shipment -> OrdersApi -> OrdersBus -> CarrierIntegration -> OrdersStore
"""

import pulumi

from components import (
    CarrierIntegration,
    CarrierIntegrationArgs,
    MockCarrier,
    MockCarrierArgs,
    OrdersApi,
    OrdersApiArgs,
    OrdersBus,
    OrdersBusArgs,
    OrdersStore,
    OrdersStoreArgs,
    StreamPipe,
    StreamPipeArgs,
)
from components.settings import load_settings

settings = load_settings()
scope, compute = settings.scope, settings.compute

store = OrdersStore("orders", OrdersStoreArgs(scope=scope, protect=settings.protect))

bus = OrdersBus("orders", OrdersBusArgs(scope=scope, protect=settings.protect))

api = OrdersApi(
    "orders-api",
    OrdersApiArgs(
        scope=scope,
        compute=compute,
        store=store,
        bus=bus,
        clients=settings.clients,
        carriers=settings.open_carriers,
        confirmers=settings.confirmers,
        throttle=settings.throttle,
        manage_account=settings.manage_account,
    ),
)

pipe = StreamPipe(
    "orders-pipe",
    StreamPipeArgs(
        scope=scope,
        source=store,
        target=bus,
        log_retention_days=compute.log_retention_days,
        protect=settings.protect,
    ),
)

bus.admit_only(pipe.role, api.role)

carriers: dict[str, CarrierIntegration] = {}
for carrier in settings.carriers:
    endpoint = carrier.endpoint or (
        MockCarrier(
            f"{carrier.name}-mock",
            MockCarrierArgs(scope=scope, compute=compute, carrier=carrier.name, api=api, credential=carrier.credential),
        ).endpoint
    )
    carriers[carrier.name] = CarrierIntegration(
        carrier.name,
        CarrierIntegrationArgs(
            scope=scope,
            compute=compute,
            store=store,
            bus=bus,
            carrier=carrier.name,
            endpoint=endpoint,
            rate_limit=carrier.rate_limit,
            credential=carrier.credential,
            principal_arn=carrier.principal_arn,
            enabled=carrier.enabled,
            protect=settings.protect,
        ),
    )

api.take_orders(after=[integration.delivery for integration in carriers.values()])

pulumi.export("apiUrl", api.url)
pulumi.export("region", scope.region)
pulumi.export("tableName", store.table_name)
pulumi.export("busName", bus.name)
pulumi.export("pipeDeadLettersUrl", pipe.dead_letters_url)
pulumi.export(
    "carriers",
    {
        name: {
            "deadLettersUrl": carrier.dead_letters_url,
            "undeliveredUrl": carrier.undelivered_url,
            "failuresUrl": carrier.failures_url,
        }
        for name, carrier in carriers.items()
    },
)
