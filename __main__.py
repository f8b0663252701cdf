"""The serverless event gateway: orders come in over HTTP, a carrier takes part by HTTP alone, and events do the rest.

POST /orders -> OrdersApi -> OrdersStore -> (stream) -> StreamPipe -> OrdersBus -> CarrierIntegration -> carrier
carrier -> POST /confirm-shipment -> OrdersApi -> OrdersBus -> CarrierIntegration -> OrdersStore
OrdersStore -> Reconcile -> OrdersBus: again, what no carrier has confirmed in time
"""

import pulumi

from components import (
    CarrierIntegration,
    CarrierIntegrationArgs,
    MockCarrier,
    MockCarrierArgs,
    Observability,
    ObservabilityArgs,
    OrdersApi,
    OrdersApiArgs,
    OrdersBus,
    OrdersBusArgs,
    OrdersStore,
    OrdersStoreArgs,
    Reconcile,
    ReconcileArgs,
    StreamPipe,
    StreamPipeArgs,
)
from components.exports import exports
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

mocks = {
    carrier.name: MockCarrier(
        f"{carrier.name}-mock",
        MockCarrierArgs(scope=scope, compute=compute, carrier=carrier.name, api=api, credential=carrier.credential),
    )
    for carrier in settings.carriers
    if carrier.endpoint is None
}

carriers = {
    carrier.name: CarrierIntegration(
        carrier.name,
        CarrierIntegrationArgs(
            scope=scope,
            compute=compute,
            store=store,
            bus=bus,
            carrier=carrier.name,
            endpoint=carrier.endpoint or mocks[carrier.name].endpoint,
            rate_limit=carrier.rate_limit,
            credential=carrier.credential,
            principal_arn=carrier.principal_arn,
            enabled=carrier.enabled,
            protect=settings.protect,
        ),
    )
    for carrier in settings.carriers
}

deliveries = [integration.delivery for integration in carriers.values()]
api.take_orders(after=deliveries)

reconcile = Reconcile(
    "reconcile",
    ReconcileArgs(
        scope=scope,
        compute=compute,
        store=store,
        bus=bus,
        confirm_within=settings.confirm_within,
        after=tuple(deliveries),
        protect=settings.protect,
    ),
)

bus.admit_only(pipe.role, api.role, reconcile.function.role)

observability = Observability(
    "observability",
    ObservabilityArgs(
        scope=scope,
        store=store,
        api=api,
        pipe=pipe,
        bus=bus,
        carriers=list(carriers.values()),
        reconcile=reconcile,
        functions=[mock.function for mock in mocks.values()],
        email=settings.alarm_email,
    ),
)

for name, value in exports(
    settings,
    store=store,
    bus=bus,
    api=api,
    pipe=pipe,
    reconcile=reconcile,
    observability=observability,
    carriers=carriers,
    mocks=mocks,
).items():
    pulumi.export(name, value)
