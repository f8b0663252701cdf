"""What the functions load, and how they start: in fresh interpreters, as on Lambda."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ENTRIES = {
    "orders_api": {"TABLE_NAME": "t", "CARRIERS": '["alpha"]'},
    "confirm_shipment": {
        "TABLE_NAME": "t",
        "CARRIER": "alpha",
        "CARRIER_PRINCIPAL": "arn:aws:iam::111122223333:role/alpha",
        "FAILURE_QUEUE_URL": "https://queue",
    },
    "reconcile": {
        "TABLE_NAME": "t",
        "BUS_NAME": "b",
        "OVERDUE_QUEUE_URL": "https://queue",
        "CONFIRM_WITHIN": '{"alpha": 24}',
    },
    "mock_carrier": {"CREDENTIAL_DIGEST": hashlib.sha256(b"u:p").hexdigest(), "CONFIRM_URL": "https://api/confirm"},
}
RUNTIME = {
    "AWS_REGION": "eu-west-1",
    "AWS_DEFAULT_REGION": "eu-west-1",
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "POWERTOOLS_SERVICE_NAME": "gateway-dev-orders",
    "POWERTOOLS_METRICS_NAMESPACE": "gateway",
    "PYTHONWARNINGS": "error",
}
SCRIPT = """
import json, sys
import handlers.{entry} as entry
from handlers import telemetry
telemetry.logger.info("line")
telemetry.count(telemetry.Count.PLACED)
print(json.dumps(dict(modules=sorted(sys.modules), handler=callable(entry.handler))))
"""


def start(entry, **environment):
    return subprocess.run(
        [sys.executable, "-c", SCRIPT.format(entry=entry)],
        cwd=ROOT,
        env={**RUNTIME, **ENTRIES[entry], **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module", params=ENTRIES)
def started(request):
    """What an entry printed when it started: a log line, a metric, and its modules."""
    done = start(request.param)
    assert done.returncode == 0, done.stderr
    return request.param, [json.loads(line) for line in done.stdout.splitlines()]


def test_nothing_heavy_is_loaded(started):
    entry, (_, _, end) = started
    loaded = {name.partition(".")[0] for name in end["modules"]}
    assert end["handler"]
    assert {"aws_lambda_powertools", "botocore", "handlers"} <= loaded
    assert not loaded & {
        "boto3",
        "s3transfer",
        "pydantic",
        "aws_xray_sdk",
        "yaml",
        "jsonschema",
        "pulumi",
        "pulumi_aws",
    }
    assert not loaded & {"components", "policy", "sandbox"}
    assert ("fastjsonschema" in loaded) == (entry == "orders_api")
    assert ("aws_lambda_powertools.event_handler" in end["modules"]) == (entry == "orders_api")


@pytest.mark.parametrize("name", ["POWERTOOLS_SERVICE_NAME", "POWERTOOLS_METRICS_NAMESPACE"])
def test_a_function_without_a_name_for_its_metrics_does_not_start(name):
    done = start("orders_api", **{name: ""})
    assert done.returncode != 0
    assert f"the environment variable {name} is not set" in done.stderr


def test_lines_and_metrics_bear_the_functions_name(started):
    _, (line, metric, _) = started
    assert line["service"] == "gateway-dev-orders"
    assert line["timestamp"].endswith(("Z", "+00:00"))
    assert metric["service"] == "gateway-dev-orders"
    assert metric["OrderPlaced"] == [1.0]
    (directive,) = metric["_aws"]["CloudWatchMetrics"]
    assert (directive["Namespace"], directive["Dimensions"]) == ("gateway", [["service"]])
