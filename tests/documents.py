"""Reading the documents: their tables, links, and the names of tests in them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from tests.graph import ROOT

LINK = re.compile(r"\[([^\]]*)\]\(([^)\s]+)\)")
NAME = re.compile(r"(?<![\w/])test_\w+(?!\w)(?!\.py|\*)")
_RULER = re.compile(r"[|:\- ]+")


class Row(NamedTuple):
    """A row of a table, with the heading that the table is under and the names of its columns."""

    heading: str
    columns: tuple[str, ...]
    cells: tuple[str, ...]

    def under(self, column: str) -> str:
        """The cell of a column."""
        return self.cells[self.columns.index(column)]


@cache
def functions_of(path: Path) -> frozenset[str]:
    """The names of the test functions of a file."""
    return frozenset(
        node.name
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    )


@cache
def all_functions() -> frozenset[str]:
    return frozenset().union(*map(functions_of, (ROOT / "tests").rglob("test_*.py")))


def rows(text: str) -> Iterator[Row]:
    """Each row of each table. The first line of a table names its columns, the second is a ruler."""
    heading, columns = "", None
    for line in text.splitlines():
        if line.startswith("#"):
            heading = line.lstrip("# ")
        if not line.startswith("|"):
            columns = None
            continue
        cells = tuple(cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1])
        if columns is None:
            columns = cells
        elif not _RULER.fullmatch(line):
            yield Row(heading, columns, cells)
