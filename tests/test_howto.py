"""docs/howto: whoever follows one word for word has what it promises, and touches no more files than it says."""

from __future__ import annotations

import subprocess
import sys
from typing import NamedTuple

import pytest

from tests.graph import ROOT
from tests.howto import Hunk, follow, hunks, patched

HOWTO = ROOT / "docs" / "howto"


class Case(NamedTuple):
    """What a how-to touches, and the tests that tell whether what it changed works."""

    touched: list[str]
    tests: list[str]


CASES = {
    "add-a-carrier": Case(
        ["Pulumi.local.yaml", "Pulumi.prod.yaml"],
        ["tests/test_program.py", "tests/test_settings.py"],
    ),
    "add-a-route": Case(
        ["contracts/openapi.yaml", "handlers/orders_api.py", "tests/handlers/test_orders_api.py"],
        [
            "tests/handlers/test_orders_api.py::test_a_client_sees_the_carriers_that_an_order_may_choose",
            "tests/contracts/test_openapi.py",
            "tests/test_program.py",
        ],
    ),
    "add-a-policy": Case(
        ["policy/rules/data.py", "tests/policy/cases/data.py", "docs/checks.md"],
        [
            "tests/policy/test_cases.py",
            "-k",
            "table-keeps-items or no_rule_is_without or demand or claims",
            "tests/test_checks.py",
        ],
    ),
    "add-an-alarm": Case(
        ["components/alarms.py", "docs/operations.md", "tests/test_observability.py"],
        ["tests/test_observability.py"],
    ),
}


def run(folder, *arguments):
    answer = subprocess.run(
        [sys.executable, *arguments], cwd=folder, capture_output=True, text=True, check=False, timeout=900
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return answer.stdout


def make_docs(folder):
    """What `make docs` runs, in the interpreter of the tests."""
    (target,) = (part for part in (folder / "Makefile").read_text().split("\n\n") if part.startswith("docs: "))
    commands = [line.removeprefix("\t@$(BIN)/python ") for line in target.splitlines()[1:]]
    assert commands
    for command in commands:
        option, _, rest = command.partition(" ")
        run(folder, option, rest.strip("'"))


@pytest.mark.parametrize("name", CASES)
def test_what_a_howto_changes_works_as_it_says(name, tmp_path):
    folder = tmp_path / "copy"
    touched = follow(HOWTO / f"{name}.md", folder)
    assert touched == CASES[name].touched
    make_docs(folder)
    said = run(folder, "-m", "pytest", "-n0", "-q", "-p", "no:cacheprovider", *CASES[name].tests)
    assert " passed" in said


def test_every_howto_that_changes_something_is_followed():
    changing = {path.stem for path in HOWTO.glob("*.md") if list(hunks(path.read_text()))}
    assert changing == CASES.keys()


# What the following itself notices

PATCH = """```diff
--- a/x.py
+++ b/x.py
@@
 a
-b
+c
@@ def f
 d
+e
```
"""


def test_a_patch_is_read_as_what_it_replaces():
    assert list(hunks(PATCH)) == [Hunk("x.py", "a\nb\n", "a\nc\n"), Hunk("x.py", "d\n", "d\ne\n")]


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ("a\nb\nd\n", "a\nc\nd\n"),
        ("x\na\nb\n", "x\na\nc\n"),
        ("xa\nb\n", None),
        ("a\nb\na\nb\n", None),
        ("b\na\n", None),
    ],
)
def test_a_patch_is_applied_where_its_lines_are_and_nowhere_else(text, after):
    hunk = next(hunks(PATCH))
    if after is None:
        with pytest.raises(ValueError, match=r"x\.py has these lines [02] times"):
            patched(text, hunk)
    else:
        assert patched(text, hunk) == after


@pytest.mark.parametrize("wrong", [PATCH.replace("b/x", "b/y"), PATCH.replace(" d\n", "d\n")])
def test_a_patch_that_is_none_is_refused(wrong):
    with pytest.raises(ValueError, match=r"a patch is about one file|begins with a space"):
        list(hunks(wrong))
