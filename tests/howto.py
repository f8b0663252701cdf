"""Following a how-to: its patches, applied to a copy of the repository."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.graph import ROOT

_PATCH = re.compile(r"^```diff\n--- a/(\S+)\n\+\+\+ b/(\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LEFT_OUT = shutil.ignore_patterns(
    ".git", ".venv", "build", "__pycache__", ".pytest_cache", ".ruff_cache", ".hypothesis"
)


class Hunk(NamedTuple):
    """Lines of a file, before and after."""

    path: str
    before: str
    after: str


def hunks(text: str) -> Iterator[Hunk]:
    """What the patches of a document change, in turn; a patch is about one file that is there before."""
    for old, new, body in _PATCH.findall(text):
        if old != new:
            raise ValueError(f"a patch is about one file: {old}, {new}")
        for part in re.split(r"^@@.*\n", body, flags=re.MULTILINE)[1:]:
            lines = part.splitlines(keepends=True)
            if wrong := [line for line in lines if line[0] not in " +-"]:
                raise ValueError(f"a line of a patch begins with a space, + or -: {wrong}")
            before = "".join(line[1:] for line in lines if line[0] != "+")
            yield Hunk(old, before, "".join(line[1:] for line in lines if line[0] != "-"))


def patched(text: str, hunk: Hunk) -> str:
    """The text of a file with one hunk applied; raises ValueError unless its lines are there exactly once."""
    found = list(re.finditer(f"^{re.escape(hunk.before)}", text, re.MULTILINE))
    if len(found) != 1:
        raise ValueError(f"{hunk.path} has these lines {len(found)} times:\n{hunk.before}")
    return text[: found[0].start()] + hunk.after + text[found[0].end() :]


def follow(document: Path, folder: Path) -> list[str]:
    """Apply the patches of a how-to to a new copy of the repository, and say which files they touch."""
    shutil.copytree(ROOT, folder, ignore=_LEFT_OUT, symlinks=True)
    touched: list[str] = []
    for hunk in hunks(document.read_text()):
        path = folder / hunk.path
        path.write_text(patched(path.read_text(), hunk))
        touched += [hunk.path] if hunk.path not in touched else []
    return touched
