"""What is claimed, row by row, and the document that says so."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from bench import cli
from bench.measure import Measured
from bench.report import document
from bench.rows import EXACT, NAMES, ROWS, Row, cases
from tests.graph import ROOT

TRACKED = ROOT / "docs" / "performance.md"


def row(**about):
    return Row(
        **{
            "name": "P1",
            "what": "one / other",
            "goal": 2.0,
            "parts": (("one", "cpu"), ("other", "cpu")),
            "formula": lambda a, b: a / b,
            **about,
        }
    )


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    return cases(quick=True, aws="http://127.0.0.1:9", folder=tmp_path_factory.mktemp("zips"))


def results(*rows, quick=False):
    return {
        "date": "2026-01-02",
        "seconds": 600,
        "machine": {"cores": 2, "memory_gib": 24, "architecture": "x86_64", "python": "3.11.7", "load": 0.4},
        "quick": quick,
        "rounds": 7,
        "rows": [
            {"name": "P1", "what": "this / that", "value": 0.0814, "goal": 0.1, "at_least": False, "met": True},
            *rows,
        ],
    }


(RATE,) = (one for one in ROWS if one.name == "S1")
MISSED = {
    "name": RATE.name,
    "what": RATE.what,
    "value": 0.031,
    "goal": 0.15,
    "at_least": True,
    "met": False,
}

# --- rows


def test_a_goal_is_met_up_to_its_bound():
    assert row().met(2.0)
    assert not row().met(2.01)
    assert row(at_least=True).met(2.0)
    assert not row(at_least=True).met(1.99)


def test_a_row_is_made_of_the_samples_of_its_parts():
    measured = Measured(samples={"one": [{"cpu": 3.0}], "other": [{"cpu": 2.0}]})
    assert row().estimate(measured).value == 1.5
    assert row().cases == {"one", "other"}


def test_a_share_is_what_comes_on_top():
    (share,) = (one for one in ROWS if "share" in one.what)
    measured = Measured(samples={"preview-2": [{"cpu": 5.0}], "preview-2-alone": [{"cpu": 4.0}]})
    assert share.estimate(measured).value == pytest.approx(0.2)


def test_every_case_that_a_row_is_made_of_can_be_measured(known):
    needed = set().union(*(one.cases for one in ROWS))
    assert needed == {one.name for one in known}


def test_every_row_says_what_decides_it():
    assert ROWS
    assert [one.what for one in ROWS if not one.cause] == []


def test_a_quick_run_has_fewer_orders(known, tmp_path):
    sizes = {one.name: one.arguments for one in cases(quick=False, aws="", folder=tmp_path)}
    (quick,) = (one.arguments for one in known if one.name == "orders")
    assert [int(size) for size in quick[2:]] < [int(size) for size in sizes["orders"][2:]]


# --- the document


def test_the_document_says_when_and_on_what_it_was_measured():
    text = document(results())
    assert "2026-01-02: 2 cores (x86_64), 24 GiB, Python 3.11.7, 7 rounds in 10 minutes" in text
    assert "| P1 | this / that | <= 0.1 | 0.0814 | met |" in text
    assert "quick run" not in text
    assert "miss their goals" not in text


def test_a_goal_that_is_missed_is_told_with_its_cause():
    text = document(results(MISSED))
    assert f"| S1 | {RATE.what} | >= 0.15 | 0.031 | **missed** |" in text
    assert f"- S1, {RATE.what}: {RATE.cause}\n" in text


def test_a_quick_run_is_no_claim():
    assert "A quick run" in document(results(quick=True))


def test_the_document_has_the_costs_of_all_designs_and_every_price():
    text = document(results())
    assert "| neutral | ours | 11.10 | 2.60 | 13.70 | 1.00 |" in text
    assert "| neutral | as published | 11.10 | 4.00 | 15.10 | 1.10 |" in text
    assert "| neutral | functions as glue | 11.10 | 5.70 | 16.80 | 1.23 |" in text
    assert "| favouring functions | functions as glue |" in text
    assert "| bus_event | 1e-06 |" in text


# --- the tracked document

MEASURED = pytest.mark.skipif(not TRACKED.exists(), reason="`make bench` has not written docs/performance.md yet")


@MEASURED
def test_the_tracked_document_is_a_whole_run_and_has_every_row():
    text = TRACKED.read_text()
    assert "A quick run" not in text
    rows = [(one.name, one.what) for one in (*ROWS, *EXACT)]
    assert [row for row in rows if f"| {row[0]} | {row[1]} | " not in text] == []


@MEASURED
def test_the_tracked_document_is_as_it_would_be_written_now():
    """But for what was measured."""
    text, fresh = TRACKED.read_text(), document(results())
    told, mark, kept = fresh.partition("\nCounts hold exactly")
    assert told
    assert mark
    assert text.endswith(mark + kept)
    missed = [row for row in ROWS if re.search(rf"^- {re.escape(f'{row.name}, {row.what}')}: ", text, re.MULTILINE)]
    assert [row.what for row in missed if f"{row.what}: {row.cause}\n" not in text] == []


# --- the command line


def invoke(*arguments):
    return CliRunner().invoke(cli.app, list(arguments))


def test_a_row_that_does_not_exist_is_refused_with_those_that_do():
    refused = invoke("--only", "P1,Z9")
    assert refused.exit_code == 1
    assert refused.stderr.strip() == f"there is no row Z9: --only takes {', '.join(NAMES)}, separated by commas"


def test_a_report_of_nothing_is_refused(tmp_path):
    refused = invoke("report", "--results", str(tmp_path / "none.json"))
    assert refused.exit_code == 1
    assert refused.stderr.strip() == "there is no none.json: `python -m bench` writes it"


def test_a_run_writes_its_results_and_a_report_their_document(tmp_path):
    file, text = tmp_path / "build" / "bench.json", tmp_path / "performance.md"
    assert invoke("--only", "C2,C3", "--output", str(file)).exit_code == 0
    found = json.loads(file.read_text())
    assert [(one["name"], one["met"]) for one in found["rows"]] == [("C2", True), ("C3", True), ("C3", True)]
    assert "hostname" not in json.dumps(found["machine"])
    assert invoke("report", "--results", str(file), "--output", str(text)).exit_code == 0
    assert text.read_text() == document(found)


def test_an_exact_value_beyond_its_goal_is_a_goal_that_is_missed(tmp_path, monkeypatch):
    monkeypatch.setattr(cli, "EXACT", [replace(one, goal=one.value() - 0.001) for one in EXACT if one.name == "C2"])
    file = tmp_path / "bench.json"
    assert invoke("--only", "C2", "--output", str(file)).exit_code == 0
    assert [one["met"] for one in json.loads(file.read_text())["rows"]] == [False]


def test_only_what_a_row_needs_is_measured(tmp_path, monkeypatch):
    taken = []

    def measure(cases, **about):
        taken.extend(one.name for one in cases)
        return Measured(samples={one.name: [{"cpu": 1.0, "rss": 1.0}] for one in cases})

    monkeypatch.setattr(cli, "measure", measure)
    file = tmp_path / "bench.json"
    assert invoke("--only", "P3", "--output", str(file)).exit_code == 0
    assert sorted(taken) == ["program", "pulumi"]
    (found,) = json.loads(file.read_text())["rows"]
    assert found["value"] == 1.0
    assert found["parts"] == {"program.cpu": 1.0, "pulumi.cpu": 1.0}
