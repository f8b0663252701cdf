"""The differences that docs/fidelity.md explains: every one is still there, and there is a row for every one."""

from __future__ import annotations

import pytest

from tests.documents import rows
from tests.oracles.differences import PATTERNS, TEMPLATES, Case, decided, ours, theirs, unexplained
from tests.oracles.engines import VELOCITIES, Refused
from tests.test_docs import FIDELITY

HEADING = "Differences from other engines"


def text(rendered):
    return None if isinstance(rendered, Refused) else rendered.text


def test_fidelity_has_a_row_for_each_difference_and_no_other():
    explained = [row.cells[0] for row in rows(FIDELITY.read_text()) if row.heading == HEADING]

    assert explained == [difference.name for difference in (*TEMPLATES, *PATTERNS)]


@pytest.mark.oracle
@pytest.mark.parametrize("difference", TEMPLATES, ids=lambda difference: difference.name)
def test_an_explained_difference_of_templates_is_still_one(oracle, difference):
    assert difference.theirs.keys() <= set(VELOCITIES)
    assert text(ours(difference.example)) == difference.ours
    for velocity in VELOCITIES:
        expected = difference.theirs.get(velocity, difference.ours)
        assert text(theirs(difference.example, oracle, velocity)) == expected, velocity
    assert difference.ours not in difference.theirs.values()
    assert unexplained(difference.example, oracle) == []


@pytest.mark.oracle
@pytest.mark.parametrize("difference", TEMPLATES, ids=lambda difference: difference.name)
def test_a_difference_explains_nothing_that_is_the_same_or_another_matter(oracle, difference):
    plain = Case("$input.json('$.a')", '{"a": "x"}')

    assert unexplained(plain, oracle) == []
    assert [velocity for velocity in VELOCITIES if difference.explains(plain, oracle, velocity)] == []


@pytest.mark.oracle
@pytest.mark.parametrize("difference", PATTERNS, ids=lambda difference: difference.name)
def test_an_explained_difference_of_patterns_is_still_one(oracle, difference):
    here = decided(difference.pattern, difference.event)

    assert difference.ours in here.why if isinstance(here, Refused) else here is difference.ours is False
    assert oracle.matches(difference.pattern, difference.event) is True
