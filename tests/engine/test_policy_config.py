"""What the real engine makes of a configuration of the pack: our own, one with waivers, and ones that are wrong."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox.provider import Providers
from sandbox.stack import Run, Stack, opened
from tests import graph

PACK = graph.ROOT / "policy"
RULE = "log-group-retention"
FINDING = "raise retentionInDays to 30 or more"
# A stack that nobody throws away, with logs that are there for a week.
PROGRAM = """
import pulumi
import pulumi_aws as aws

aws.cloudwatch.LogGroup("short", name="short", retention_in_days=pulumi.Config().require_int("days"))
"""


@pytest.fixture(scope="module")
def providers() -> Iterator[Providers]:
    with Providers() as providers:
        yield providers


@pytest.fixture
def preview(tmp_path: Path, providers: Providers) -> Callable[..., Run]:
    """Asks the engine about the program, with the pack configured as its `config.json` says, or without one."""
    folder, pack = tmp_path / "program", tmp_path / "policy"
    folder.mkdir()
    (folder / "Pulumi.yaml").write_text("{name: short-lived, runtime: python}")
    (folder / "__main__.py").write_text(PROGRAM)
    shutil.copytree(PACK, pack, ignore=shutil.ignore_patterns("__pycache__", "config.json"))

    def ask(
        config: dict[str, Any] | None = None,
        *flags: str,
        days: int = 7,
        pack: Path = pack,
        operation: Callable[..., Run] = Stack.preview,
    ) -> Run:
        settings = {"config": {"aws:region": "eu-west-1", "short-lived:days": str(days)}}
        (folder / "Pulumi.test.yaml").write_text(json.dumps(settings))
        if config is not None:
            (pack / "config.json").write_text(json.dumps(config))
        with opened("test", program=folder, state=tmp_path / "state", pack=pack, providers=providers) as stack:
            return operation(stack, *flags)

    return ask


def level_of_finding(run: Run) -> list[str]:
    """The level at which the rule has reported, from the engine's own lines."""
    return [line.split("[")[1].partition("]")[0] for line in run.output.splitlines() if f" {RULE}  (" in line]


def test_ours_refuses_what_is_advisory_elsewhere(preview: Callable[..., Run]):
    refused = preview(pack=PACK)
    assert (refused.code != 0, level_of_finding(refused)) == (True, ["mandatory"])
    assert FINDING in refused.output
    advised = preview()
    assert (advised.code, level_of_finding(advised)) == (0, ["advisory"])
    assert FINDING in advised.output


def test_what_ours_refuses_is_deployed_once_it_is_mended(preview: Callable[..., Run]):
    assert preview(pack=PACK, operation=Stack.up).code != 0
    mended = preview(pack=PACK, operation=Stack.up, days=30)
    assert mended.code == 0, mended.output
    assert level_of_finding(mended) == []


def test_a_flag_names_another_configuration(preview: Callable[..., Run], tmp_path: Path):
    other = tmp_path / "other.json"
    other.write_text(json.dumps({RULE: {"minimumDays": 7}}))
    run = preview(None, "--policy-pack-config", str(other), pack=PACK)
    assert (run.code, level_of_finding(run)) == (0, [])


@pytest.mark.parametrize("resource", ["short", "urn:pulumi:test::short-lived::*LogGroup::short"])
def test_what_is_waived_passes_and_is_listed_with_its_reason(preview: Callable[..., Run], resource: str):
    waivers = {resource: "Read by nobody.", "gone": "No longer."}
    run = preview({RULE: {"enforcementLevel": "mandatory", "waivers": waivers}})
    assert run.code == 0, run.output
    assert level_of_finding(run) == []
    assert f"{RULE} is waived: Read by nobody. (It says: {FINDING}.)" in run.output
    assert f"remove the waiver of {RULE} for 'gone': nothing needs it" in run.output


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({RULE: {"enforcementLevel": "forbidden"}}, f'"{RULE}": "forbidden" is not a valid enforcement level'),
        ({RULE: "forbidden"}, f'"{RULE}": "forbidden" is not a valid enforcement level'),
        ({RULE: {"minimumDays": "many"}}, f"{RULE}: minimumDays: Invalid type. Expected: integer, given: string"),
        ({RULE: {"waivers": {"short": ""}}}, f"{RULE}: waivers.short: String length must be greater"),
        ({RULE: {"waivers": ["short"]}}, f"{RULE}: waivers: Invalid type. Expected: object, given: array"),
    ],
)
def test_the_engine_refuses_a_value_that_is_none(preview: Callable[..., Run], config: dict[str, Any], says: str):
    run = preview(config)
    assert run.code != 0
    assert says in run.output


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"minimumDys": 5}, f"remove 'minimumDys' from the configuration of {RULE}: it knows minimumDays"),
        ({"waivers": {"short": "  "}}, f"configure 'waivers' of {RULE} as an object that says why it waives 'short'"),
    ],
)
def test_the_rule_refuses_what_the_engine_lets_through(
    preview: Callable[..., Run], settings: dict[str, Any], says: str
):
    run = preview({RULE: {"enforcementLevel": "mandatory", **settings}})
    assert run.code != 0
    assert says in run.output


def test_the_name_of_no_rule_is_ignored_by_the_engine_and_changes_nothing(preview: Callable[..., Run]):
    run = preview({"log-group-retentoin": "disabled"})
    assert (run.code, level_of_finding(run)) == (0, ["advisory"])
