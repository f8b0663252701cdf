"""docs/checks.md: each demand has what answers it, each claim of a rule is there, and no id is forgotten."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import pytest

from policy.pack import RULES
from policy.rule import Control
from tests.documents import LINK, NAME, Row, rows
from tests.graph import ROOT

TEXT = (ROOT / "docs" / "checks.md").read_text()
COLUMNS = ("demand", "ids", "component", "rule", "held by")
LIST = "The list"
ID = re.compile(r"`([^`]+)`")
REASON = re.compile(r"(waived|none): (.*)")
# How the document writes an entry of a catalogue; every other id stands for itself.
FORMS = {
    "CWE": "CWE-{0.reference}",
    "OWASP API Security Top 10": "{0.reference}:{0.version}",
    "NIST SP 800-53": "{0.framework} {0.reference}",
    "AWS Foundational Security Best Practices": "FSBP {0.reference}",
}
# A catalogue of weaknesses is not a check that some tool makes: the list has none of its entries.
BEYOND = "Beyond the list"


def written(control: Control) -> str:
    return FORMS.get(control.framework, "{0.reference}").format(control)


def demands(text: str = TEXT) -> list[Row]:
    return [row for row in rows(text) if row.heading != LIST]


def ids(row: Row) -> list[str]:
    return ID.findall(row.under("ids"))


def rules(row: Row) -> list[str]:
    return [label for label, _ in LINK.findall(row.under("rule"))]


def unanswered(found: Iterable[Row]) -> Iterator[str]:
    """Rows that name neither a rule, nor a test, nor a reason."""
    known = {rule.name for rule in RULES}
    for row in found:
        if row.columns != COLUMNS or len(row.cells) != len(COLUMNS) or not all(row.cells):
            yield f"not the five cells: {row.cells}"
            continue
        demand, held = row.under("demand"), row.under("held by")
        reason = REASON.fullmatch(held)
        tests = [label.strip("`") for label, _ in LINK.findall(held)]
        if unknown := set(rules(row)) - known:
            yield f"{demand}: the pack has no {', '.join(sorted(unknown))}"
        if rules(row) == [] and row.under("rule") != "none":
            yield f"{demand}: neither a rule nor none"
        if reason and len(reason[2].split()) < 4:
            yield f"{demand}: no reason"
        elif not reason and not (tests and all(NAME.fullmatch(test) for test in tests)):
            yield f"{demand}: neither a test nor a reason"


def test_every_demand_is_answered():
    assert list(unanswered(demands())) == []
    assert len(demands()) > 60


def test_what_a_rule_claims_is_in_a_row_that_names_it():
    pairs = {(rule, id_) for row in demands() for rule in rules(row) for id_ in ids(row)}
    claimed = {(rule.name, written(control)) for rule in RULES for control in rule.frameworks}
    assert len(claimed) > 100
    assert claimed - pairs == set()


def test_every_rule_answers_a_demand():
    assert {rule.name for rule in RULES} == {rule for row in demands() for rule in rules(row)}


def test_the_list_has_every_demand_and_every_demand_is_in_the_list():
    listed = [id_ for row in rows(TEXT) if row.heading == LIST for id_ in ids(row)]
    answered = {id_ for row in demands() if row.heading != BEYOND for id_ in ids(row)}
    assert len(listed) == len(set(listed)) > 200
    assert set(listed) == answered


def test_what_is_beyond_the_list_is_claimed_by_its_rule():
    claimed = {(rule.name, written(control)) for rule in RULES for control in rule.frameworks}
    beyond = {(rule, id_) for row in demands() if row.heading == BEYOND for rule in rules(row) for id_ in ids(row)}
    assert beyond
    assert beyond <= claimed


def test_every_service_of_the_stack_has_its_demands(programs):
    headings = " ".join({row.heading for row in demands()}).lower().replace(" ", "")
    services = {"apigateway", "dynamodb", "iam", "lambda", "sns", "sqs", "cloudwatch"}
    used = {node.type.split(":")[1].split("/")[0] for node in programs["prod"].nodes.values()}
    assert services <= used
    assert [service for service in services if service not in headings] == []


# What the check itself notices

RULE = "[api-throttled](policies.md#api-throttled)"
TEST = "[`test_every_demand_is_answered`](../tests/test_checks.py)"


@pytest.mark.parametrize(
    ("row", "noticed"),
    [
        (f"| it holds | `X1` | none | {RULE} | {TEST} |", False),
        (f"| it holds | `X1` | none | none | {TEST} |", False),
        ("| it holds | `X1` | none | none | waived: nothing here has an address |", False),
        ("| it holds | `X1` | none | none | none: AWS itself refuses more |", False),
        ("| it holds | `X1` | none | none | waived: no |", True),
        (f"| it holds | `X1` | none | {RULE} | surely |", True),
        ("| it holds | `X1` | none | none | [surely](../README.md) |", True),
        (f"| it holds | `X1` | none | [nobody-wrote-this](policies.md) | {TEST} |", True),
        (f"| it holds | `X1` | none | api-throttled | {TEST} |", True),
        (f"| it holds | `X1` | none | {RULE} | |", True),
        (f"| it holds | `X1` | {RULE} | {TEST} |", True),
    ],
)
def test_a_demand_that_nothing_answers_is_noticed(row, noticed):
    table = f"## Service\n\n| {' | '.join(COLUMNS)} |\n|---|---|---|---|---|\n{row}\n"
    assert bool(list(unanswered(demands(table)))) is noticed
