"""What a provider knows of one resource type, whatever the rules are that its inputs follow."""

from __future__ import annotations

import hashlib
import secrets
import string
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from sandbox.provider.values import UNKNOWN, Path, Secret, has_secret, plain, shown

ACCOUNT = "000000000000"


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where resources are made."""

    region: str
    account: str = ACCOUNT

    @property
    def partition(self) -> str:
        if self.region.startswith("cn-"):
            return "aws-cn"
        return "aws-us-gov" if self.region.startswith("us-gov-") else "aws"

    @property
    def domain(self) -> str:
        return "amazonaws.com.cn" if self.partition == "aws-cn" else "amazonaws.com"

    def arn(self, service: str, resource: str) -> str:
        """The ARN of a regional resource of this account."""
        return f"arn:{self.partition}:{service}:{self.region}:{self.account}:{resource}"

    def global_arn(self, service: str, resource: str) -> str:
        """The ARN of a resource of this account that lives in no region."""
        return f"arn:{self.partition}:{service}::{self.account}:{resource}"


@dataclass(frozen=True)
class Failure:
    """An input that AWS would refuse. The reason never repeats a value: it may be secret."""

    path: Path
    reason: str

    @property
    def where(self) -> str:
        return shown(self.path)


class Rules(Protocol):
    """What inputs a type takes."""

    @property
    def create_only(self) -> Collection[tuple[str, ...]]:
        """What can't be changed in place, without list positions."""
        ...

    def failures(self, inputs: Mapping[str, Any]) -> Iterator[Failure]:
        """What AWS would refuse of these inputs; what is not known yet is let through."""
        ...

    def completed(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Accepted inputs with what the provider fills in."""
        ...


@dataclass(frozen=True)
class Naming:
    """The input that is made up where a program leaves it out: the logical name and seven random digits."""

    input: str

    def name(self, logical: str, seed: bytes) -> str:
        """Always the same for one seed, which the engine draws anew for each resource that it creates."""
        return f"{logical}-{hashlib.sha256(seed + logical.encode()).hexdigest()[:7]}"


class Made(Mapping[str, Any]):
    """A resource that exists: its inputs without the marks of secrets, its id and its place."""

    def __init__(self, inputs: Mapping[str, Any], place: Place, id: str = "") -> None:  # noqa: A002 - the engine's word
        self.inputs = inputs
        self.place = place
        self.id = id
        self.told_secret = False
        """Whether someone has read an input that is secret."""

    def __getitem__(self, name: str) -> Any:
        value = self.inputs[name]
        self.told_secret |= has_secret(value)
        return plain(value)

    def __iter__(self) -> Iterator[str]:
        return iter(self.inputs)

    def __len__(self) -> int:
        return len(self.inputs)


@dataclass(frozen=True)
class Added:
    """An output that AWS decides when a resource is made; later only if one of the inputs `renewed_by` changes."""

    value: Callable[[Made], Any]
    renewed_by: tuple[str, ...] = ()

    def of(self, made: Made) -> Any:
        """Secret if it tells anything that is."""
        made = Made(made.inputs, made.place, made.id)
        value = self.value(made)
        return Secret(value) if made.told_secret else value

    def stays(self, old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
        return all(old.get(name) == new.get(name) for name in self.renewed_by)


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A type whose resources are recorded: they keep their inputs, and get the id and the outputs that AWS would give.

    A preview leaves open what AWS decides.
    """

    rules: Rules
    id: Callable[[Made], str]
    adds: Mapping[str, Added] = field(default_factory=dict[str, Added])
    naming: Naming | None = None

    def plan(self, inputs: Mapping[str, Any], state: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The outputs that a preview knows, of a new resource or of one with this `state`."""
        return {**inputs, **dict.fromkeys(self.adds, UNKNOWN), **self._kept(inputs, state or {})}

    def create(self, inputs: Mapping[str, Any], place: Place) -> tuple[str, dict[str, Any]]:
        """The id and the outputs of a new resource."""
        id_ = self.id(Made(inputs, place))
        made = Made(inputs, place, id_)
        return id_, {**inputs, **{name: added.of(made) for name, added in self.adds.items()}}

    def update(self, made: Made, state: Mapping[str, Any]) -> dict[str, Any]:
        """The outputs after an update in place of a resource with this `state`."""
        kept = self._kept(made.inputs, state)
        return {**made.inputs, **{name: kept.get(name, added.of(made)) for name, added in self.adds.items()}}

    def read(self, made: Made, state: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ARG002 - what exists is in `made`
        """The outputs of a resource with this `state` as they are now: recorded ones change by updates only."""
        return dict(state)

    def delete(self, made: Made) -> None:
        """End a resource. The engine forgets it, and nobody else knows of a recorded one."""

    def _kept(self, inputs: Mapping[str, Any], state: Mapping[str, Any]) -> dict[str, Any]:
        stays = {name for name, added in self.adds.items() if added.stays(state, inputs)}
        return {name: state[name] for name in stays & state.keys()}


def random_id(length: int, alphabet: str = string.ascii_lowercase + string.digits) -> str:
    """An identifier like those that AWS makes up."""
    return "".join(secrets.choice(alphabet) for _ in range(length))
