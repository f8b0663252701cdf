"""The pack over programs that aren't ours: silent where nothing is wrong, and not fooled by what articles show."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from policy import pack
from policy.rule import Group
from tests.policy.programs import Program, Verdicts, others, run

MANDATORY = {rule.name for rule in pack.RULES if rule.group is Group.GATEWAY}
FOREIGN = ["foreign/static_site.py", "foreign/http_api.py", "foreign/queue_worker.py"]
PUBLISHED = "as_published/__main__.py"
MODES = pytest.mark.parametrize("preview", [True, False], ids=["preview", "update"])


def over(path: str, *, preview: bool) -> Verdicts:
    program = Program(list(others(path, preview=preview)))
    assert len(program.things) > 10
    return run(program, update=not preview)


def found(verdicts: Verdicts) -> Iterator[tuple[str, str, str]]:
    """Rule, name of the resource and message of each violation."""
    for urn, by_rule in verdicts.violations.items():
        for rule, messages in by_rule.items():
            yield from ((rule, urn.rpartition("::")[2], message) for message in messages)


@MODES
@pytest.mark.parametrize("path", FOREIGN)
def test_a_sound_program_of_another_kind_violates_nothing_mandatory(path: str, *, preview: bool):
    assert [violation for violation in found(over(path, preview=preview)) if violation[0] in MANDATORY] == []
