"""What a function writes into a queue about an event that it can't do anything about."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from handlers.orders import timestamp


def failure_record(
    event: Mapping[str, Any], context: LambdaContext, *, condition: str, error_type: str, reason: str
) -> str:
    """A message about `event` in the shape of Lambda's own record of a failure, so that one tool reads both.

    `condition` and `error_type` are words that Lambda's own records do not have.
    """
    return json.dumps(
        {
            "version": "1.0",
            "timestamp": timestamp(datetime.now(UTC)),
            "requestContext": {
                "requestId": context.aws_request_id,
                "functionArn": context.invoked_function_arn,
                "condition": condition,
                "approximateInvokeCount": 1,
            },
            "requestPayload": event,
            "responseContext": {
                "statusCode": 200,
                "executedVersion": context.function_version,
                "functionError": "Handled",
            },
            "responsePayload": {"errorType": error_type, "errorMessage": reason},
        }
    )
