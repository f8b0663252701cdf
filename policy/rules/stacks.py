"""Stacks that are made to be thrown away, in which nothing has to be kept."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from policy.rule import Texts

if TYPE_CHECKING:
    from policy.subject import Subject

THROWAWAY = "throwawayStacks"
# A stack of any other name is taken for one that matters.
SETTING = Texts(
    default=("dev", "dev-*", "local", "pr-*"),
    why="Names of stacks, or patterns with `*`, that are deleted with all that is in them.",
)


def is_kept(subject: Subject) -> bool:
    """Whether the resource belongs to a stack that matters."""
    return not any(fnmatchcase(subject.stack, pattern) for pattern in subject.settings[THROWAWAY])
