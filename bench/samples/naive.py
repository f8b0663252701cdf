"""The create handler as tutorials put it together: everything that Powertools has, switched on."""

import os
from typing import Any
from uuid import uuid4

import boto3
from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.event_handler import APIGatewayRestResolver
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.idempotency import DynamoDBPersistenceLayer, IdempotencyConfig, idempotent
from aws_lambda_powertools.utilities.typing import LambdaContext
from pydantic import BaseModel, Field


class NewOrder(BaseModel):
    """The body of a request."""

    carrier: str = "acme"
    reference: str | None = Field(default=None, max_length=64)


logger = Logger()
# Patches every library that it knows and finds, boto3 among them.
tracer = Tracer()
metrics = Metrics()
app = APIGatewayRestResolver(enable_validation=True)
table = boto3.resource("dynamodb").Table(os.environ["TABLE_NAME"])
keys = DynamoDBPersistenceLayer(table_name=f"{os.environ['TABLE_NAME']}-idempotency")
config = IdempotencyConfig(event_key_jmespath='headers."Idempotency-Key"')


@app.post("/orders")
@tracer.capture_method
def place_order(order: NewOrder) -> dict[str, str]:
    """Store the order."""
    order_id = str(uuid4())
    item = {"PK": order_id, "state": "pending", **order.model_dump(exclude_none=True)}
    table.put_item(Item=item, ConditionExpression="attribute_not_exists(PK)")
    metrics.add_metric(name="OrderPlaced", unit=MetricUnit.Count, value=1)
    return {"order_id": order_id}


@logger.inject_lambda_context
@tracer.capture_lambda_handler
@metrics.log_metrics(capture_cold_start_metric=True)
@idempotent(persistence_store=keys, config=config)
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Answer a request."""
    return app.resolve(event, context)
