"""What differs between two sets of inputs, and whether an update in place is enough."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any

from sandbox.provider.values import Path, Secret, shown


class How(Enum):
    """The way in which a property changed."""

    ADDED = "ADD"
    DELETED = "DELETE"
    UPDATED = "UPDATE"


@dataclass(frozen=True)
class Change:
    """One property that changed."""

    path: Path
    how: How

    @property
    def where(self) -> str:
        return shown(self.path)

    @property
    def input(self) -> str:
        """The resource's input that the change is in."""
        return str(self.path[0])

    def replaces(self, create_only: Collection[tuple[str, ...]]) -> bool:
        """Whether it is at, within or around one of the properties that can only be set on creation.

        Those are named without list positions.
        """
        names = tuple(step for step in self.path if isinstance(step, str))
        return any(names[: len(fixed)] == fixed[: len(names)] for fixed in create_only)


def changes(old: Any, new: Any, path: Path = ()) -> Iterator[Change]:
    """The innermost differences; a value that becomes secret, or stops being one, has changed."""
    if type(old) is not type(new):
        yield Change(path, How.UPDATED)
    elif isinstance(old, Secret):
        yield from changes(old.value, new.value, path)
    elif isinstance(old, dict | list):
        before, after = _parts(old), _parts(new)
        for step in {**before, **after}:
            if step not in after:
                yield Change((*path, step), How.DELETED)
            elif step not in before:
                yield Change((*path, step), How.ADDED)
            else:
                yield from changes(before[step], after[step], (*path, step))
    elif old != new:
        yield Change(path, How.UPDATED)


def _parts(value: dict[str, Any] | list[Any]) -> dict[str | int, Any]:
    return dict(enumerate(value) if isinstance(value, list) else value.items())
