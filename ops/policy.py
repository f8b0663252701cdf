"""The least that an operator needs on AWS, as the IAM policy of one stack."""

from __future__ import annotations

from typing import Any

from contracts import PENDING_INDEX
from ops.stack import Exports


def operator_policy(exports: Exports) -> dict[str, Any]:
    """A document that allows every command but `smoke`, on this stack alone; it grants nothing on the bus.

    `smoke` acts as one of the API's clients, whom the setting `clients` names. Actions and forms of ARNs are those of
    the service authorization reference.
    """

    def arn(service: str, resource: str) -> str:
        return f"arn:{exports.partition}:{service}:{exports.region}:{exports.account}:{resource}"

    table = arn("dynamodb", f"table/{exports.table}")
    functions = sorted({queue.redrive_with for queue in exports.queues})
    return {
        "Version": "2012-10-17",
        "Statement": [
            _allow(
                "ReadsAndEmptiesTheQueues",
                ("sqs:GetQueueAttributes", "sqs:ReceiveMessage", "sqs:ChangeMessageVisibility", "sqs:DeleteMessage"),
                [arn("sqs", queue.url.rpartition("/")[2]) for queue in exports.queues],
            ),
            _allow(
                "Redrives",
                ("lambda:InvokeFunction",),
                [arn("lambda", f"function:{function}") for function in functions],
            ),
            _allow("ReadsOrders", ("dynamodb:GetItem",), [table]),
            _allow("CountsPendingOrders", ("dynamodb:Query",), [f"{table}/index/{PENDING_INDEX}"]),
            _allow("ReadsTheStream", ("dynamodb:GetShardIterator", "dynamodb:GetRecords"), [f"{table}/stream/*"]),
            # With the end that stands for the streams of a group.
            _allow(
                "ReadsLogs", ("logs:FilterLogEvents",), [arn("logs", f"log-group:{g}:*") for g in exports.log_groups]
            ),
            _allow("SeesThePipe", ("pipes:DescribePipe",), [arn("pipes", f"pipe/{exports.pipe}")]),
            _allow(
                "SeesTheRules",
                ("events:DescribeRule",),
                [arn("events", f"rule/{exports.bus}/{rule}") for carrier in exports.carriers for rule in carrier.rules],
            ),
            _allow("SeesTheAlarms", ("cloudwatch:DescribeAlarms",), [arn("cloudwatch", "alarm:*")]),
        ],
    }


def _allow(sid: str, actions: tuple[str, ...], resources: list[str]) -> dict[str, Any]:
    return {"Sid": sid, "Effect": "Allow", "Action": list(actions), "Resource": resources}
