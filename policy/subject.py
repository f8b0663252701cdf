"""What a rule looks at: one resource, or all of a stack, read without raising and counted as decided or deferred."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from policy.props import MISSING, UNKNOWN, Examination, Path, Where, find, plain, read, spell, steps


@dataclass(kw_only=True)
class Verdict:
    """What a rule came to at one resource: the places it decided, and those it left to the update as unknown."""

    decided: set[str] = field(default_factory=set[str])
    deferred: set[str] = field(default_factory=set[str])


class Subject:
    """A resource as a rule sees it. Reading never raises; only what a rule judges or decides counts."""

    def __init__(
        self,
        type_: str,
        props: Mapping[str, Any],
        settings: Mapping[str, Any],
        examination: Examination | None = None,
        *,
        urn: str = "",
        protect: bool = False,
    ) -> None:
        self.type, self.settings = type_, settings
        self.urn, self.name = urn, urn.rpartition("::")[2]
        self.stack = urn.partition("::")[0].rpartition(":")[2]
        self.protect = protect
        """Whether Pulumi refuses to delete it."""
        self.verdict = Verdict()
        self._raw = props
        self.examined = examination is not None
        self._examination = examination or Examination()

    @cached_property
    def _props(self) -> Any:
        # Of a stack of hundreds, a rule reads a few.
        return plain(self._raw)

    def get(self, where: Where) -> Any:
        """The value at one place, MISSING, or UNKNOWN when it or anything above it is unknown."""
        return read(self._props, where)

    def each(self, where: Where) -> Iterator[tuple[Path, Any]]:
        """Every existing place of a path such as "rules[].name" with its value; UNKNOWN stands for all below it."""
        return find(self._props, where)

    def judge(self, where: Where) -> Any:
        """The same as `get`, for what the rule is about: counts as decided, or as deferred when it is unknown."""
        value = self.get(where)
        if value is UNKNOWN:
            self.deferred(where)
        else:
            self.decided(where)
        return value

    def given(self, where: Where) -> bool:
        """Whether the program says anything here, be it unknown yet: a reference to another resource is one. Counts."""
        self.decided(where)
        return self.get(where) is not MISSING

    def decided(self, where: Where) -> None:
        """Count the place as decided, for or against."""
        self.verdict.decided.add(spell(steps(where)))

    def deferred(self, where: Where) -> None:
        """Count the place as one that only the update can decide."""
        self.verdict.deferred.add(spell(steps(where)))

    def secret(self, where: Where) -> bool:
        """Whether the place or anything it is part of is a Pulumi secret; False when it was not examined."""
        return self._examination.is_secret(steps(where))

    def quotable(self, where: Where) -> bool:
        """Whether messages may name what the program named there: it was examined, and nothing of it is a secret."""
        return self.examined and not self._examination.holds_secret(steps(where))

    def defaulted(self, where: Where) -> bool:
        """Whether the provider filled in the value as the program gave none; False when it was not examined."""
        return steps(where) in self._examination.defaulted


class Member(Subject):
    """A resource among all of its stack. In a preview `props` are its inputs, in an update what AWS made of them."""

    origins: Callable[[], Mapping[str, Sequence[Member]]]
    _identifiers = ("arn", "name", "id", "url", "bucket")

    @cached_property
    def uses(self) -> Mapping[str, Sequence[Member]]:
        """Per property, the resources whose outputs it was computed from: known even where the value is not."""
        return self.origins()

    def refers_to(self, where: Where, other: Member) -> bool | None:
        """Whether the place names `other`: by Pulumi's record of what it was computed from, or by an equal identifier.

        None when neither tells, since the place is unknown and was computed from something else as well or instead.
        """
        value = self.get(where)
        if value is MISSING:
            return False
        origins = self.uses.get(str(steps(where)[0]), ())
        if any(origin.urn == other.urn for origin in origins):
            return True
        if value is UNKNOWN:
            return None if not origins else False
        return isinstance(value, str) and any(other.get(name) == value for name in self._identifiers)


class Stack(NamedTuple):
    """All resources of a stack, in the order in which the program registered them."""

    members: Sequence[Member]
    settings: Mapping[str, Any]

    def of(self, types: frozenset[str]) -> list[Member]:
        """The resources of any of the types."""
        return [member for member in self.members if member.type in types]
