"""What is written down of the rules is what they are, and the configurations are ones that the pack takes."""

from __future__ import annotations

import importlib
import json
import pkgutil
from pathlib import Path
from typing import Any

import pytest

from policy import pack, reference, rules
from policy.rule import Group, Rule
from tests.graph import ROOT
from tests.policy.engine import MANDATORY, Engine
from tests.policy.programs import Program, own, run

OURS: dict[str, Any] = json.loads((ROOT / "policy" / "config.json").read_text())
EXAMPLE: dict[str, Any] = json.loads((ROOT / "policy" / "policy-config.example.json").read_text())
DOCUMENT = (ROOT / "docs" / "policies.md").read_text()
NAMES = [rule.name for rule in pack.RULES]


@pytest.mark.parametrize("path", reference.FILES)
def test_what_is_generated_is_current(path: str):
    assert (ROOT / path).read_text() == reference.FILES[path](), "run `make docs`"


def test_all_of_it_is_written_where_it_is_kept(tmp_path: Path):
    for folder in ("docs", "policy"):
        (tmp_path / folder).mkdir()
    reference.write(tmp_path)
    written = {path.relative_to(tmp_path).as_posix(): path.read_text() for path in tmp_path.rglob("*.*")}
    assert written == {path: text() for path, text in reference.FILES.items()}


def test_every_module_of_rules_is_in_the_pack():
    modules = [importlib.import_module(f"policy.rules.{found.name}") for found in pkgutil.iter_modules(rules.__path__)]
    written = {rule.name for module in modules for rule in getattr(module, "RULES", ())}
    assert len(written) > 10
    assert written == set(NAMES)


def section(name: str) -> str:
    """What the document says of one rule."""
    _, heading, after = DOCUMENT.partition(f"\n### {name}\n")
    assert heading
    return after.partition("\n### ")[0].partition("\n## ")[0]


@pytest.mark.parametrize("rule", pack.RULES, ids=NAMES)
def test_the_document_says_all_of_a_rule(rule: Any):
    text = section(rule.name)
    assert f"\n{rule.why}\n" in text
    assert f"- Fix: {rule.fix}\n" in text
    assert f"- Severity: {rule.severity.value}\n" in text
    assert f"- Group: {rule.group.value}; level: " in text
    assert ("an update only reports it" in text) is not isinstance(rule, Rule)
    assert all(f"`{type_}`" in text for type_ in rule.types)
    assert all(control.framework in text and control.reference in text for control in rule.frameworks)
    assert f"<{rule.url}>" in text
    for name, setting in rule.settings.items():
        schema = setting.schema()
        (row,) = (line for line in text.splitlines() if line.startswith(f"| `{name}` |"))
        assert f"`{json.dumps(schema['default'])}`" in row
        assert schema["description"] in row


def test_the_contents_list_each_rule_once_under_its_group():
    gateway, baseline = DOCUMENT.partition("\n## baseline\n")[::2]
    contents = {Group.GATEWAY: gateway, Group.BASELINE: baseline.partition("\n## ")[0]}
    for rule in pack.RULES:
        listed = [
            group for group, text in contents.items() for _ in range(text.count(f"| [{rule.name}](#{rule.name}) |"))
        ]
        assert listed == [rule.group], rule.name


def test_a_setting_with_choices_or_a_minimum_says_so():
    assert "`AWS/Lambda Errors`" in section("failures-alarmed")
    assert "integer, 1 or more" in section("log-group-retention")


def test_the_example_has_every_rule_as_it_is_by_default():
    assert list(EXAMPLE) == NAMES
    levels = {policy.name: policy.enforcement_level.value for policy in Engine().rules}
    for rule in pack.RULES:
        configured = {key: value for key, value in EXAMPLE[rule.name].items() if key != "waivers"}
        assert configured.pop("enforcementLevel") == levels[rule.name]
        assert rule.configure(configured) == rule.configure({}), rule.name
        assert configured.keys() == rule.settings.keys()


def test_the_example_has_a_waiver_with_its_reason():
    waived = [reason for configured in EXAMPLE.values() for reason in configured.get("waivers", {}).values()]
    assert len(waived) == 1
    assert waived[0].endswith(".")


@pytest.mark.parametrize("configuration", [OURS, EXAMPLE], ids=["ours", "example"])
def test_a_configuration_is_one_that_the_pack_takes(configuration: dict[str, Any]):
    assert configuration
    for rule in pack.RULES:
        given = {key: value for key, value in configuration.get(rule.name, {}).items() if key != "enforcementLevel"}
        assert list(rule.misconfigured(given)) == []


def test_ours_makes_mandatory_whatever_is_advisory_and_changes_no_other_level():
    advisory = [policy.name for policy in Engine().rules if policy.enforcement_level.value == "advisory"]
    assert len(advisory) > 5
    assert list(OURS) == advisory
    assert {configured["enforcementLevel"] for configured in OURS.values()} == {"mandatory"}


@pytest.mark.parametrize("stack", ["local", "dev", "prod"])
def test_our_stacks_violate_nothing_under_our_configuration(stack: str):
    assert run(Program(list(own(stack, preview=True))), config=OURS).violations == {}


def test_under_our_configuration_a_table_that_cannot_be_restored_is_refused():
    outcome = Engine().configure(OURS).register("aws:dynamodb/table:Table", {"billingMode": "PAY_PER_REQUEST"})
    assert "set pointInTimeRecovery.enabled to true" in outcome.violations["table-restorable"]
    assert set(outcome.levels) == {MANDATORY}


def test_under_our_configuration_a_stack_without_any_alarm_is_refused():
    program = Program([thing for thing in own("prod") if thing.type != "aws:cloudwatch/metricAlarm:MetricAlarm"])
    found = [rule for by_rule in run(program, config=OURS).violations.values() for rule in by_rule]
    assert "failures-alarmed" in found
    assert "failures-alarmed" not in [rule for by_rule in run(program).violations.values() for rule in by_rule]
