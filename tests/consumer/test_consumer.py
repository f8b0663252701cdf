"""`components` in another team's program, which runs in a folder of its own with only this repository on its path."""

from __future__ import annotations

import json
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pulumi
import pytest

from components.grants import ServiceRole
from tests import graph
from tests.graph import CANARY, ROOT, leaves

PROGRAM = Path(__file__).parent / "__main__.py"
DOCUMENT = ROOT / "docs" / "howto" / "use-the-components.md"
PROJECT = "returns-desk"
POLICY = "aws:iam/rolePolicy:RolePolicy"
TABLE, BUS, PIPE = "aws:dynamodb/table:Table", "aws:cloudwatch/eventBus:EventBus", "aws-native:pipes:Pipe"
# What its interpreter does: nothing of ours is imported before, and nothing of its folder is ours.
ALONE = """
import json, sys
sys.path.insert(0, {root!r})
from tests.consumer.test_consumer import build
told = {{
    "types": sorted(node.type for node in build().nodes.values()),
    "modules": [name for name in sys.modules if name.startswith("components")],
}}
json.dump(told, sys.stdout)
"""


def build():
    """What the program registers, with settings of its own."""
    pulumi.runtime.set_all_config(
        {"aws:region": graph.REGION, f"{PROJECT}:courierKey": CANARY}, [f"{PROJECT}:courierKey"]
    )
    return graph.record(lambda: runpy.run_path(str(PROGRAM)) and None, project=PROJECT, stack="test")


@pytest.fixture(scope="module")
def recorded(_at_the_root):
    return build()


def test_a_program_of_another_team_gets_what_it_asks_for(recorded):
    table, bus, pipe = recorded.only(TABLE), recorded.only(BUS), recorded.only(PIPE)
    assert table.protect
    assert recorded.feeds(table, pipe, "source")
    assert recorded.feeds(bus, pipe, "target")
    destination = recorded.only("aws:cloudwatch/eventApiDestination:EventApiDestination")
    assert destination.inputs["invocationEndpoint"] == "https://pickups.courier.example/orders"
    rules = recorded.of("aws:cloudwatch/eventRule:EventRule")
    assert len(rules) == 2
    assert all(recorded.feeds(bus, rule, "eventBusName") for rule in rules)


def test_whatever_it_makes_has_its_own_name(recorded):
    named = [node for node in recorded.nodes.values() if "name" in node.inputs and node.type != POLICY]
    names = [node.inputs["name"] for node in named]
    assert len(names) > 15
    assert [name for name in names if f"{PROJECT}-test-" not in name] == []


def test_its_secret_stays_one(recorded):
    every = [leaf for node in recorded.nodes.values() for leaf in leaves(node.inputs)]
    found = [(path, secret) for path, value, secret in every if value == CANARY]
    assert found == [("authParameters.apiKey.value", True)]


def test_nobody_is_admitted_whom_it_did_not_name(recorded):
    policy = json.loads(recorded.only("aws:cloudwatch/eventBusPolicy:EventBusPolicy").inputs["policy"])
    (statement,) = policy["Statement"]
    assert statement["Condition"] == {
        "ArnNotEquals": {"aws:PrincipalArn": [f"arn:aws:iam::{graph.ACCOUNT}:role/{PROJECT}-test-orders-pipe"]}
    }


def test_it_runs_in_a_folder_of_its_own(tmp_path, recorded):
    answer = subprocess.run(
        [sys.executable, "-I", "-c", ALONE.format(root=str(ROOT))],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert answer.returncode == 0, answer.stderr
    told = json.loads(answer.stdout)
    assert told["types"] == sorted(node.type for node in recorded.nodes.values())
    assert "components.stream_pipe" in told["modules"]
    assert "components.settings" not in told["modules"]


def test_the_document_shows_what_works():
    (example,) = re.findall(r"^```python\n(.*?)^```$", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)

    def run():
        arn = f"arn:aws:iam::{graph.ACCOUNT}:role/reader"
        reader = ServiceRole("reader", service="lambda.amazonaws.com", physical_name="reader", known_arn=arn)
        exec(compile(example, str(DOCUMENT), "exec"), {"reader": reader})  # noqa: S102 - ours

    shown = graph.record(run, project="another")
    assert shown.only(TABLE).inputs["name"] == "shop-dev-orders"
    assert shown.only(POLICY).name == "reader-reads-orders"


def test_no_component_reads_a_setting_of_the_gateway():
    """They are told what they need. Of a stack's configuration, one reads what the provider itself reads."""
    reading = {
        (path.name, line.strip())
        for path in (ROOT / "components").glob("*.py")
        for line in path.read_text().splitlines()
        if re.search(r"\bConfig\(|get_stack\(|get_project\(|CONFIG\b|environ\b", line)
    }
    settings = {found for found in reading if found[0] == "settings.py"}
    assert settings
    assert reading - settings == {("stream_pipe.py", 'profile=pulumi.Config("aws").get("profile"),')}
