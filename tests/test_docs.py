"""What the documents name exists: tests, files, modules. And of fidelity.md, that no row is a bare claim."""

from __future__ import annotations

import re
import shlex

import pytest
from typer.testing import CliRunner

from ops.cli import app
from tests.documents import LINK, NAME, all_functions, functions_of, rows
from tests.graph import ROOT

DOCUMENTS = [*sorted(ROOT.glob("*.md")), ROOT / "engine" / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FIDELITY = ROOT / "docs" / "fidelity.md"
COLUMNS = ("behaviour", "emulated by", "test", "known from")


def anchors(text):
    """What GitHub makes of the headings."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def prose(text):
    """Without its patches, which may bring a test, and whose links are those of another file."""
    return re.sub(r"^```diff\n.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def unclear_links(text, folder):
    """Links that lead nowhere, and those under the name of a test to a file that does not have it."""
    for label, target in LINK.findall(prose(text)):
        if re.match("[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (folder / path).resolve() if path else None
        if file is not None and not (file.exists() and file.is_relative_to(ROOT)):
            yield f"{target} is not there"
        elif anchor and anchor not in anchors(file.read_text() if file else text):
            yield f"{target} has no such heading"
        elif file is not None and (name := NAME.fullmatch(label.strip("`"))) and name[0] not in functions_of(file):
            yield f"{name[0]} is not in {target}"


def unknown_tests(text):
    yield from sorted(set(NAME.findall(re.sub(r"\]\([^)]*\)", "", prose(text)))) - all_functions())


def bare_claims(text):
    """Rows that name neither a test nor a reason why there is none."""
    for heading, columns, cells in rows(text):
        if columns != COLUMNS or len(cells) != len(COLUMNS) or not all(cells):
            yield f"{heading}: not the four cells: {cells}"
            continue
        behaviour, by, test, _ = cells
        named = [label.strip("`") for label, _ in LINK.findall(test)]
        reason = re.fullmatch(r"none: (.*)", test)
        if reason:
            if len(reason[1].split()) < 4:
                yield f"{heading}: {behaviour}: no reason"
        elif by.startswith("not emulated"):
            yield f"{heading}: {behaviour}: not emulated, and tested all the same"
        elif not named or not all(NAME.fullmatch(name) for name in named):
            yield f"{heading}: {behaviour}: neither a test nor a reason"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_what_a_document_names_exists(document):
    text = document.read_text()
    assert list(unclear_links(text, document.parent)) == []
    assert list(unknown_tests(text)) == []


def test_fidelity_says_of_each_behaviour_what_holds_it():
    assert list(bare_claims(FIDELITY.read_text())) == []


def test_fidelity_covers_every_hop():
    covered = {row.heading for row in rows(FIDELITY.read_text())}
    hops = ("API Gateway", "Lambda", "DynamoDB", "Pipes", "EventBridge", "SQS", "IAM", "SigV4", "Logs", "carrier")
    assert [hop for hop in hops if not any(hop in heading for heading in covered)] == []


def test_fidelity_names_no_behaviour_twice():
    named = [(row.heading, row.cells[0]) for row in rows(FIDELITY.read_text())]
    assert len(named) == len(set(named)) > 100


def is_a_command(arguments):
    """Whether ops has it, with these options; help comes after the options are read, and before anything is done."""
    return CliRunner().invoke(app, [*shlex.split(arguments, comments=True), "--help"]).exit_code == 0


@pytest.mark.parametrize(("document", "least"), [("operations", 15), ("deploying", 3)])
def test_every_command_of_a_document_is_one_of_ops(document, least):
    text = (ROOT / "docs" / f"{document}.md").read_text()
    commands = re.findall(r"python -m ops ([^`\n]*)", text)
    assert len(commands) >= least
    assert [command for command in commands if not is_a_command(command)] == []


# What the checks themselves notice


def test_a_command_that_ops_does_not_have_is_noticed():
    assert not any(map(is_a_command, ("dlq replay pipe", "dlq redrive pipe --carefully", "stat")))


GOOD = "[`test_what_a_document_names_exists`](../tests/test_docs.py)"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (f"{GOOD}, [here](#a-heading), [there](https://example.org/x)\n## A heading", []),
        ("[x](../nowhere.md)", ["../nowhere.md is not there"]),
        ("```diff\n+[x](elsewhere.md)\n```\n[x](../nowhere.md)\n```diff\n```", ["../nowhere.md is not there"]),
        ("[x](../../)", ["../../ is not there"]),
        ("[x](#nowhere)", ["#nowhere has no such heading"]),
        ("[x](fidelity.md#nowhere)", ["fidelity.md#nowhere has no such heading"]),
        ("[`test_x`](../tests/test_docs.py)", ["test_x is not in ../tests/test_docs.py"]),
        ("[`test_what_a_document_names_exists`](../tests/test_program.py)", None),
    ],
)
def test_a_link_that_misleads_is_noticed(text, found):
    noticed = list(unclear_links(text, ROOT / "docs"))
    assert noticed == found if found is not None else len(noticed) == 1


def test_a_test_that_is_not_there_is_noticed():
    text = "`test_fidelity_covers_every_hop`, `test_nobody_wrote_this`, tests/test_docs.py, [x](test_y.md)"
    assert list(unknown_tests(text)) == ["test_nobody_wrote_this"]
    patch = "```diff\n+def test_of_the_patch():\n```\n"
    assert list(unknown_tests(f"{patch}`test_nobody_wrote_this`\n{patch}")) == ["test_nobody_wrote_this"]


@pytest.mark.parametrize(
    ("row", "bare"),
    [
        (f"| it works | MiniStack | {GOOD} | documented |", False),
        ("| it works | not emulated | none: nothing of the program needs it | documented |", False),
        ("| it works | MiniStack | none: no test waits so long | documented |", False),
        ("| it works | MiniStack | none | documented |", True),
        ("| it works | MiniStack | none: | documented |", True),
        ("| it works | not emulated | none: not needed | documented |", True),
        (f"| it works | not emulated | {GOOD} | documented |", True),
        ("| it works | MiniStack | surely | documented |", True),
        ("| it works | MiniStack | [surely](../README.md) | documented |", True),
        (f"| it works | MiniStack | {GOOD} | |", True),
        (f"| it works | MiniStack | {GOOD} |", True),
        (f"| it works | | {GOOD} | documented |", True),
    ],
)
def test_a_row_without_a_test_or_a_reason_is_noticed(row, bare):
    table = f"## Hop\n\n| {' | '.join(COLUMNS)} |\n|---|---|---|---|\n{row}\n"
    assert bool(list(bare_claims(table))) is bare
