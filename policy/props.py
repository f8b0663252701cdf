"""Three-valued reading of a resource's inputs: a value, MISSING, or UNKNOWN until the update.

pulumi_policy raises when a policy touches an unknown value, and the engine then lets the resource pass with a remark
("can't run policy ... during preview"). Here unknowns are values, so that a rule decides all that can be decided.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from pulumi_policy import Secret
from pulumi_policy.proxy import UnknownValueError

if TYPE_CHECKING:
    from collections.abc import Iterator

# A place in the inputs: property names and list indices from the root.
Path = tuple[str | int, ...]
# The same as people write it: "authParameters.basic.password"; "headers[].value" is the value of every header.
Where = str | Path


class Mark(Enum):
    """What stands where a value would."""

    MISSING = "missing"
    UNKNOWN = "unknown"


MISSING: Final = Mark.MISSING
UNKNOWN: Final = Mark.UNKNOWN


def plain(value: object) -> Any:
    """The same data in dicts and lists, with UNKNOWN wherever pulumi_policy's proxies would raise."""
    if isinstance(value, Mapping):
        members = cast("Mapping[str, object]", value)
        return {name: _member(members, name) for name in members}
    if isinstance(value, Sequence) and not isinstance(value, str):
        items = cast("Sequence[object]", value)
        return [_member(items, index) for index in range(len(items))]
    return value


def _member(container: Any, key: str | int) -> Any:
    try:
        member = container[key]
    except UnknownValueError:
        return UNKNOWN
    return plain(member)


def steps(where: Where) -> Path:
    """The path that is written as text."""
    return tuple(where.replace("[]", ".[]").split(".")) if isinstance(where, str) else where


def spell(path: Path) -> str:
    """The path as text, with the indices of lists."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).removeprefix(".")


def find(props: Any, where: Where) -> Iterator[tuple[Path, Any]]:
    """The places that exist, each with its value. What is null or of another shape does not exist.

    An unknown on the way is a place, and stands for all that may be below it.
    """
    return _walk(props, steps(where), ())


def read(props: Any, where: Where) -> Any:
    """The value at one place, MISSING, or UNKNOWN when it or anything above it is unknown."""
    return next((value for _, value in find(props, where)), MISSING)


def _walk(value: Any, ahead: Path, at: Path) -> Iterator[tuple[Path, Any]]:
    if value is None:
        return
    if value is UNKNOWN or not ahead:
        yield at, value
        return
    step, rest = ahead[0], ahead[1:]
    if isinstance(value, dict):
        yield from _walk(cast("dict[str | int, Any]", value).get(step), rest, (*at, step))
    elif isinstance(value, list):
        for index, item in enumerate(cast("list[Any]", value)):
            if step in ("[]", index):
                yield from _walk(item, rest, (*at, index))


def whole(value: Any) -> int | None:
    """The whole number that `value` is, if it is one. All numbers of the engine arrive as floats."""
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value // 1:
        return None
    return int(value)


class Examination(NamedTuple):
    """What only a remediation is shown of a resource: no values, only where they are and where they come from."""

    secret: frozenset[Path] = frozenset()
    defaulted: frozenset[Path] = frozenset()

    def is_secret(self, path: Path) -> bool:
        """Whether the place, or anything it is part of, is a Pulumi secret."""
        return any(path[:depth] in self.secret for depth in range(1, len(path) + 1))

    def holds_secret(self, path: Path) -> bool:
        """Whether anything at or below the place is a secret, or the place itself is a part of one."""
        return self.is_secret(path) or any(place[: len(path)] == path for place in self.secret)


def examine(props: Mapping[str, Any]) -> Examination:
    """Read the inputs that pulumi_policy passes to a remediation; its proxies give out the marks under "__target"."""
    secret: set[Path] = set()
    defaulted: set[Path] = set()

    def visit(value: Any, at: Path) -> None:
        if isinstance(value, Secret):
            secret.add(at)
            visit(value.value, at)
        elif isinstance(value, list):
            for index, item in enumerate(cast("list[Any]", value)):
                visit(item, (*at, index))
        elif isinstance(value, Mapping):
            members = cast("dict[str, Any]", value["__target"])
            # The Terraform bridge lists here what it filled in because the program did not say it.
            defaulted.update((*at, name) for name in members.get("__defaults", ()))
            for name, member in members.items():
                visit(member, (*at, name))

    visit(props, ())
    return Examination(frozenset(secret), frozenset(defaulted))
