"""The short form of `make chaos`: one storm of few orders, always the same one, on a cloud of its own."""

from __future__ import annotations

import pytest

from sandbox.faults import Kind
from tests.chaos.audit import audit
from tests.chaos.plan import FORGERIES, UPDATES, Plan
from tests.chaos.report import document, text
from tests.chaos.storm import rage

PLAN = Plan(seed=7, count=60)


@pytest.fixture(scope="module")
def storm(tmp_path_factory, _at_the_root):
    said: list[str] = []
    storm = rage(PLAN, tmp_path_factory.mktemp("chaos"), said.append)
    print("\n".join(said))  # noqa: T201 - shown if a test fails
    return storm


@pytest.fixture(scope="module")
def told(storm):
    return document(PLAN, storm, audit(storm.facts))


def test_every_promise_is_kept_in_a_storm(told):
    assert told["violations"] == [], text(told)
    assert told["lost"] == 0


def test_it_was_a_storm(told):
    assert told["accepted"] > PLAN.count / 2
    assert sorted(told["updates"]) == sorted(UPDATES)
    assert {kind for kind, times in told["faults"].items() if times} == set(Kind)
    assert told["faults"]["clock-jump"] >= 2
    assert told["carriers"]["duplicates"] > 0
    assert len(told["carriers"]["misbehaved"]) > 3
    assert told["forged"].keys() == set(FORGERIES)
    assert told["dead_lettered"] > 0
    assert told["redriven"] > 0
    assert told["redrive"]["redriven"] > 0


def test_its_report_says_so(told):
    said = text(told)
    assert said.startswith(f"seed 7: 60 orders, {told['accepted']} accepted, in ")
    assert "  lost           0\n" in said
    assert said.endswith("every promise was kept")
