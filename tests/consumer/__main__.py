"""Another team's program: its own orders and its own bus, and one of the gateway's carriers behind them.

It has settings of its own and uses nothing of the gateway but `components`; the type checker reads it in strict mode.
"""

import pulumi
import pulumi_aws as aws

from components import (
    CarrierIntegration,
    CarrierIntegrationArgs,
    Compute,
    Credential,
    OrdersBus,
    OrdersBusArgs,
    OrdersStore,
    OrdersStoreArgs,
    Scope,
    StreamPipe,
    StreamPipeArgs,
)

config = pulumi.Config()
scope = Scope(
    project=pulumi.get_project(),
    stack=pulumi.get_stack(),
    region=pulumi.Config("aws").require("region"),
    account=aws.get_caller_identity().account_id,
)

store = OrdersStore("returns", OrdersStoreArgs(scope=scope, protect=True))
bus = OrdersBus("returns", OrdersBusArgs(scope=scope, protect=True))
pipe = StreamPipe(
    "returns",
    StreamPipeArgs(scope=scope, source=store, target=bus, log_retention_days=90, protect=True),
)
courier = CarrierIntegration(
    "courier",
    CarrierIntegrationArgs(
        scope=scope,
        compute=Compute(runtime="python3.13", log_retention_days=90, reserved_concurrency=None),
        store=store,
        bus=bus,
        carrier="courier",
        endpoint="https://pickups.courier.example",
        rate_limit=10,
        credential=Credential(type="apiKey", name="X-Api-Key", secret=config.require_secret("courierKey")),
        principal_arn=scope.principal_arn("role/courier"),
        enabled=True,
        protect=True,
    ),
)
bus.admit_only(pipe.role)

pulumi.export("tableName", store.table_name)
pulumi.export("courierDeadLetters", courier.dead_letters_url)
