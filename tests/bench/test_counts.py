"""What is counted and not timed: what a process loads, and how many bytes a function is deployed as."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from bench import bundles
from bench.samples import program as sample
from tests.graph import ROOT

HANDLERS = sorted(path.stem for path in (ROOT / "handlers").glob("*.py") if "\ndef handler(" in path.read_text())
SETTINGS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_DEFAULT_REGION": "eu-west-1",
    "AWS_REGION": "eu-west-1",
    "AWS_SECRET_ACCESS_KEY": "test",
    "BUS_NAME": "bus",
    "CARRIER": "acme",
    "CARRIERS": '["acme"]',
    "CARRIER_PRINCIPAL": "arn:aws:iam::111122223333:role/acme",
    "CONFIRM_URL": "https://api.example/confirm-shipment",
    "CONFIRM_WITHIN": '{"acme": 24}',
    "CREDENTIAL_DIGEST": "0" * 64,
    "FAILURE_QUEUE_URL": "https://queue.example/failures",
    "OVERDUE_QUEUE_URL": "https://queue.example/overdue",
    "POWERTOOLS_METRICS_NAMESPACE": "namespace",
    "POWERTOOLS_SERVICE_NAME": "service",
    "TABLE_NAME": "orders",
}
# What Powertools has for those who want it, and what costs a cold start.
UNUSED = {"pydantic", "aws_xray_sdk"}


def modules_after(code, **environment):
    """The modules that an interpreter has after it has run this code."""
    found = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", f"{code}\nimport json, sys; print(json.dumps(sorted(sys.modules)))"],
        cwd=ROOT,
        env={"PATH": "", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    return set(json.loads(found.stdout.splitlines()[-1]))


def executed(modules, package):
    """The subpackages of a provider's SDK of which something was executed: a lazy one has no modules of its own."""
    return {name.split(".")[1] for name in modules if name.startswith(f"{package}.") and name.count(".") > 1}


def test_there_is_something_that_loads_what_handlers_do_not():
    assert "pydantic" in modules_after("import pydantic")
    assert {"orders_api", "confirm_shipment", "reconcile", "mock_carrier"} == set(HANDLERS)


@pytest.mark.parametrize("handler", HANDLERS)
def test_a_handler_loads_nothing_that_it_does_not_use(handler):
    loaded = modules_after(f"import handlers.{handler}", **SETTINGS)
    assert "aws_lambda_powertools" in loaded
    assert loaded.isdisjoint(UNUSED)


@pytest.fixture(scope="module")
def loaded():
    """The modules that the program has loaded once all of its graph is registered."""
    return modules_after('from tests import graph\ngraph.program("local")')


def test_the_program_executes_eight_modules_of_the_sdk(loaded):
    assert executed(loaded, "pulumi_aws") == {
        *("apigateway", "cloudwatch", "dynamodb", "iam", "lambda_", "scheduler", "sns", "sqs")
    }
    assert executed(loaded, "pulumi_aws_native") == {"pipes"}


def test_what_is_measured_as_the_programs_imports_is_what_the_program_imports(loaded):
    measured = modules_after('import runpy; runpy.run_module("bench.samples.program", run_name="__main__")')
    assert set(sample.used()) == executed(loaded, "pulumi_aws")
    ours = {name for name in loaded if name.startswith(("components", "contracts", "pulumi_aws"))}
    assert ours - measured == set()


def test_all_of_the_sdk_is_many_times_what_the_program_executes(loaded):
    everything = modules_after('import runpy; runpy.run_module("bench.samples.whole_sdk", run_name="__main__")')
    assert len(executed(everything, "pulumi_aws")) > 20 * len(executed(loaded, "pulumi_aws"))


def test_a_zip_is_a_small_part_of_the_naive_bundle():
    assert bundles.ratio("orders_api") <= 0.15


def test_the_naive_bundle_holds_what_our_zip_leaves_to_the_runtime():
    files = bundles._files()
    assert {"boto3/__init__.py", "botocore/client.py", "s3transfer/manager.py", "urllib3/__init__.py"} <= set(files)
    assert {"aws_lambda_powertools/__init__.py", "fastjsonschema/__init__.py", "handlers/orders_api.py"} <= set(files)
    assert not [name for name in files if name.endswith(".pyc") or name.startswith("..")]


def test_a_zip_is_measured_with_its_byte_code_and_without(tmp_path):
    with_it = bundles.unpacked("orders_api", tmp_path / "with", byte_code=True)
    without = bundles.unpacked("orders_api", tmp_path / "without", byte_code=False)
    assert list(with_it.rglob("*.pyc"))
    assert not list(without.rglob("*.pyc"))
    assert {path.name for path in with_it.rglob("*.py")} == {path.name for path in without.rglob("*.py")}
