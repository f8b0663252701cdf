"""What a stack exports, as `pulumi stack output --json` shows it; and messages as AWS writes them."""

from __future__ import annotations

import json

ACCOUNT = "111122223333"
REGION = "eu-west-1"
NAME = "event-gateway-dev-"
ORDER = "00000000-0000-4000-8000-000000000001"
OTHER = "00000000-0000-4000-8000-000000000002"
SHIPPED_AT = "2026-03-01T08:00:00Z"
STREAM = f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{NAME}orders/stream/2026-03-01T00:00:00.000"
SENT = 1_772_352_000_123  # 2026-03-01T08:00:00.123Z


def queue(role, holds, redrive_with, carrier=None):
    return {
        "url": f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/{NAME}{role}",
        "holds": holds,
        "redriveWith": f"{NAME}{redrive_with}",
        "carrier": carrier,
    }


def outputs():
    return {
        "account": ACCOUNT,
        "partition": "aws",
        "region": REGION,
        "apiUrl": "https://a1b2c3.execute-api.eu-west-1.amazonaws.com/v1",
        "busName": f"{NAME}orders",
        "tableName": f"{NAME}orders",
        "pipeName": f"{NAME}orders-1a2b3c4",
        "reconcileFunction": f"{NAME}reconcile",
        "alarms": [f"{NAME}{number}" for number in range(150)],
        "logGroups": [f"/aws/lambda/{NAME}orders-api"],
        "carriers": {
            # Pulumi writes whole numbers like this.
            "acme": {"enabled": True, "confirmWithinHours": 24.0, "rules": {f"{NAME}acme-orders": "ENABLED"}},
            "globex": {"enabled": False, "confirmWithinHours": 1.0, "rules": {f"{NAME}globex-orders": "DISABLED"}},
            "umbrella": {"enabled": True, "confirmWithinHours": 1.0, "rules": {}},
        },
        "deadLetters": {
            "pipe": queue("orders-pipe-dead-letters", "streamPositions", "reconcile"),
            "overdue": queue("overdue", "failures", "reconcile"),
            "acme-dead-letters": queue("carrier-acme-dead-letters", "undelivered", "reconcile", "acme"),
            "acme-undelivered": queue("carrier-acme-undelivered", "undelivered", "carrier-acme-confirm", "acme"),
            "acme-failures": queue("carrier-acme-failures", "failures", "carrier-acme-confirm", "acme"),
        },
    }


def created(order_id=ORDER):
    """The event of a new order."""
    return {
        "source": "dynamodb.orders",
        "detail-type": "dynamodb-orders-stream",
        "detail": {"eventName": "INSERT", "order": {"id": order_id, "state": "pending", "carrier": "acme"}},
    }


def confirmed(order_id=ORDER, shipped_at=SHIPPED_AT):
    """The event of a confirmation."""
    caller = f"arn:aws:sts::{ACCOUNT}:assumed-role/acme/one"
    return {
        "source": "carrier",
        "detail-type": "carrier.order_shipped",
        "detail": {"order_id": order_id, "shipped_at": shipped_at, "caller": caller, "received_at": 1},
    }


def failure(event, *, condition="RetriesExhausted", error="UnknownOrderError", message="There is no such order"):
    """The record of an invocation that failed."""
    return {
        "version": "1.0",
        "timestamp": "2026-03-01T08:00:00.000Z",
        "requestContext": {"requestId": "r", "functionArn": "f", "condition": condition, "approximateInvokeCount": 3},
        "requestPayload": event,
        "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
        "responsePayload": {"errorType": error, "errorMessage": message},
    }


def position(first="100", last="300", stream=STREAM):
    """A dead letter of a pipe."""
    return {
        "context": {"partnerResourceArn": "pipe", "condition": "RetryAttemptsExhausted"},
        "version": "1.0",
        "timestamp": "2026-03-01T08:00:00.000Z",
        "DDBStreamBatchInfo": {
            "shardId": "shardId-1",
            "startSequenceNumber": first,
            "endSequenceNumber": last,
            "approximateArrivalOfFirstRecord": "2026-03-01T08:00:00Z",
            "approximateArrivalOfLastRecord": "2026-03-01T08:00:05Z",
            "batchSize": 2,
            "streamArn": stream,
        },
    }


def message(body, id_="m", **attributes):
    """A message as SQS gives it."""
    return {
        "MessageId": id_,
        "ReceiptHandle": f"receipt of {id_}",
        "Body": body if isinstance(body, str) else json.dumps(body),
        "Attributes": {"SentTimestamp": str(SENT)},
        "MessageAttributes": {name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()},
    }
