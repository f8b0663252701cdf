"""The zips that functions run: complete, minimal, reproducible."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pulumi
import pytest

from components import bundle as bundling
from tests.graph import ROOT

ENTRIES = ("orders_api", "confirm_shipment", "reconcile", "mock_carrier")
HERE = f"python{sys.version_info.major}.{sys.version_info.minor}"
ELSEWHERE = "python3.14" if HERE != "python3.14" else "python3.13"


@pytest.fixture(autouse=True)
def _fresh():
    bundling.bundle.cache_clear()
    yield
    bundling.bundle.cache_clear()


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """A copy of what goes into a zip, somewhere else on the machine."""
    for name in ("handlers", "contracts"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "requirements.txt", tmp_path)
    monkeypatch.setattr(bundling, "_ROOT", tmp_path)
    return tmp_path


def names(package):
    return zipfile.ZipFile(package.path).namelist()


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize("runtime", [HERE, ELSEWHERE])
def test_two_clones_make_the_same_bytes(entry, runtime, clone):
    package = bundling.bundle(entry, runtime)
    there = Path(package.path).read_bytes()
    assert {member.date_time for member in zipfile.ZipFile(package.path).infolist()} == {(1980, 1, 1, 0, 0, 0)}
    bundling.bundle.cache_clear()
    shutil.rmtree(clone / "build")
    for path in clone.rglob("*.py"):
        os.utime(path, (0, 0))
    again = Path(bundling.bundle(entry, runtime).path).read_bytes()
    assert there == again


def test_a_zip_is_made_once_until_an_input_changes(clone):
    first = bundling.bundle("orders_api", HERE)
    made = Path(first.path).stat().st_mtime_ns
    bundling.bundle.cache_clear()
    assert bundling.bundle("orders_api", HERE) == first
    assert Path(first.path).stat().st_mtime_ns == made
    bundling.bundle.cache_clear()
    (clone / "contracts" / "schemas" / "new_order.json").write_text('{"changed": "yes"}')
    assert bundling.bundle("orders_api", HERE).sha256 != first.sha256


def test_a_zip_holds_the_template_of_the_event_that_it_emits():
    assert "contracts/templates/order_created.pipe.txt" in names(bundling.bundle("reconcile", ELSEWHERE))


def test_a_cut_off_zip_is_made_again(clone):
    first = bundling.bundle("orders_api", HERE)
    bundling.bundle.cache_clear()
    Path(first.path).with_suffix(".inputs").unlink()
    Path(first.path).write_bytes(b"half")
    assert bundling.bundle("orders_api", HERE) == first


@pytest.mark.parametrize("entry", ENTRIES)
def test_a_zip_holds_what_the_entry_needs_and_nothing_of_the_runtime(entry):
    found = names(bundling.bundle(entry, ELSEWHERE))
    assert f"handlers/{entry}.py" in found
    assert "aws_lambda_powertools/logging/logger.py" in found
    others = {f"handlers/{other}.py" for other in ENTRIES} - {f"handlers/{entry}.py"}
    assert others.isdisjoint(found)
    assert not [
        name for name in found if name.split("/")[0] in {"boto3", "botocore", "pydantic", "tests", "components"}
    ]
    assert not [name for name in found if name.endswith((".pyc", "RECORD", "INSTALLER", "direct_url.json"))]


def test_byte_code_is_inside_for_the_runtime_that_made_it():
    here, elsewhere = names(bundling.bundle("orders_api", HERE)), names(bundling.bundle("orders_api", ELSEWHERE))
    modules = [name for name in here if name.endswith(".py")]
    assert len(modules) > 50
    assert len([name for name in here if name.endswith(".pyc")]) == len(modules)
    assert set(here) - set(elsewhere) == {name for name in here if name.endswith(".pyc")}


@pytest.mark.parametrize("entry", ENTRIES)
def test_the_entry_loads_from_the_zip_alone(entry, tmp_path):
    """In a process that has boto3, as Lambda does, and nothing else of ours."""
    zipfile.ZipFile(bundling.bundle(entry, HERE).path).extractall(tmp_path / "task")
    runtime = tmp_path / "runtime"
    runtime.mkdir()
    for package in ("boto3", "botocore", "s3transfer", "jmespath", "dateutil", "urllib3", "six.py"):
        (runtime / package).symlink_to(Path(bundling.metadata.distribution("boto3").locate_file(package)))
    environment = {
        "TABLE_NAME": "orders",
        "CARRIERS": '["acme"]',
        "CARRIER": "acme",
        "CARRIER_PRINCIPAL": "arn:aws:iam::111122223333:role/acme",
        "FAILURE_QUEUE_URL": "https://sqs.eu-west-1.amazonaws.com/111122223333/failures",
        "BUS_NAME": "orders",
        "OVERDUE_QUEUE_URL": "https://sqs.eu-west-1.amazonaws.com/111122223333/overdue",
        "CONFIRM_WITHIN": '{"acme": 24}',
        "CREDENTIAL_DIGEST": "0" * 64,
        "CONFIRM_URL": "https://a1b2c3.execute-api.eu-west-1.amazonaws.com/v1/confirm-shipment",
        "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "example",
        "AWS_REGION": "eu-west-1",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "POWERTOOLS_SERVICE_NAME": "test",
        "POWERTOOLS_METRICS_NAMESPACE": "test",
    }
    code = f"""
import sys; sys.path[:0] = [{str(tmp_path / "task")!r}, {str(runtime)!r}]
import json, handlers.{entry} as entry
ours = [m.__file__ or "" for n, m in sys.modules.items() if n.split(".")[0] in ("handlers", "aws_lambda_powertools")]
print(json.dumps([callable(entry.handler), len(ours) > 5, [f for f in ours if "/task/" not in f]]))
"""
    ran = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout) == [True, True, []]


def test_an_entry_that_does_not_exist_is_named():
    with pytest.raises(pulumi.RunError, match=r"there is no handlers/nothing\.py to bundle"):
        bundling.bundle("nothing", HERE)


def test_a_distribution_that_is_not_the_locked_one_is_refused(clone):
    lock = clone / "requirements.txt"
    lock.write_text(
        re.sub(r"^aws-lambda-powertools==\S+", "aws-lambda-powertools==1.0.0", lock.read_text(), flags=re.MULTILINE)
    )
    with pytest.raises(
        pulumi.RunError, match=r"aws-lambda-powertools 3\S+ is installed, .* pins 1\.0\.0: run `pulumi install`"
    ):
        bundling.bundle("orders_api", HERE)


def test_a_distribution_built_for_this_machine_is_refused(clone):
    (clone / "handlers" / "native.py").write_text("import grpc\n")
    with pytest.raises(pulumi.RunError, match=r"grpcio holds \S+\.so, which is built for this machine"):
        bundling.bundle("native", HERE)
