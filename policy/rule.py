"""Rules as data: what must hold, why, whom it serves, and what can be set."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from enum import Enum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, cast

from policy.props import whole

if TYPE_CHECKING:
    from pulumi_policy import Severity

    from policy.subject import Member, Stack, Subject

Settings = Mapping[str, Any]


class Group(Enum):
    """How much of a stack a rule concerns, and at which level it runs when nothing else is configured."""

    GATEWAY = "gateway"  # the parts of an event gateway: mandatory
    BASELINE = "baseline"  # what any stack on AWS may have: advisory


class Control(NamedTuple):
    """An entry of a public catalogue that a rule serves."""

    framework: str
    reference: str
    version: str | None = None


class Setting(Protocol):
    """Something of a rule that a configuration may change."""

    @property
    def default(self) -> Any:
        """What holds when it is not configured."""
        ...

    def schema(self) -> dict[str, Any]:
        """What the engine checks a configuration against, and fills in from."""
        ...

    def refusal(self, value: object) -> str | None:
        """What the value has to become, if it cannot stay."""
        ...

    def read(self, value: Any) -> Any:
        """The value as rules use it, of one that need not be refused. The engine makes a float of every number."""
        ...


class Whole(NamedTuple):
    """A whole number, `minimum` or more."""

    default: int
    minimum: int
    why: str

    def schema(self) -> dict[str, Any]:
        return {"type": "integer", "minimum": self.minimum, "default": self.default, "description": self.why}

    def refusal(self, value: object) -> str | None:
        number = whole(value)
        return None if number is not None and number >= self.minimum else f"a whole number, {self.minimum} or more"

    def read(self, value: Any) -> int:
        return int(value)


class Flag(NamedTuple):
    """True or false."""

    default: bool
    why: str

    def schema(self) -> dict[str, Any]:
        return {"type": "boolean", "default": self.default, "description": self.why}

    def refusal(self, value: object) -> str | None:
        return None if isinstance(value, bool) else "true or false"

    def read(self, value: Any) -> bool:
        return value


class Texts(NamedTuple):
    """A list of texts; of `choices`, when there are any."""

    default: tuple[str, ...]
    why: str
    choices: tuple[str, ...] = ()

    def schema(self) -> dict[str, Any]:
        items = {"type": "string", **({"enum": list(self.choices)} if self.choices else {})}
        return {"type": "array", "items": items, "default": list(self.default), "description": self.why}

    def refusal(self, value: object) -> str | None:
        items = cast("list[object]", value) if isinstance(value, list | tuple) else None
        if items is not None and all(isinstance(item, str) for item in items):
            if not self.choices or set(items) <= set(self.choices):
                return None
            return f"a list of {', '.join(self.choices)}"
        return "a list of texts"

    def read(self, value: Any) -> tuple[str, ...]:
        return tuple(value)


class Waivers(NamedTuple):
    """Resources that a rule passes over, each with the reason: URN, URN pattern with `*`, or name -> reason."""

    default: Mapping[str, str] = MappingProxyType({})

    def schema(self) -> dict[str, Any]:
        return {
            "type": "object",
            "additionalProperties": {"type": "string", "minLength": 1},
            "default": {},
            "description": "Resources that the rule passes over and reports as waived: their URN or name, and why.",
        }

    def refusal(self, value: object) -> str | None:
        waived = cast("dict[object, object]", value) if isinstance(value, Mapping) else None
        if waived is None:
            return "an object of the URN or name of a resource and the reason to waive it"
        for resource, reason in waived.items():
            if not isinstance(reason, str) or not reason.strip():
                return f"an object that says why it waives '{resource}'"
        return None

    def read(self, value: Any) -> Mapping[str, str]:
        return value


WAIVERS = "waivers"


class Examined(Enum):
    """Whether a rule asks for what only a remediation is shown: what is secret, what the provider filled in.

    Such a rule is a policy at level `remediate`: the engine calls `remediate`, which changes nothing, then `validate`,
    whose violations stop it like mandatory ones. Configured to another level, the engine calls `validate` alone.
    """

    NO = "no"
    IF_POSSIBLE = "if possible"  # decides by the values alone when it was not examined
    REQUIRED = "required"  # fails when it was not examined, at whatever level


Check = Callable[["Subject"], Iterator[str]]
StackCheck = Callable[["Stack"], Iterator[tuple["Member", str]]]


@dataclass(frozen=True, kw_only=True)
class _About:
    """What every rule says of itself. A check never quotes a property's value: it may be a secret."""

    name: str
    why: str
    fix: str
    severity: Severity
    group: Group
    frameworks: tuple[Control, ...]
    types: frozenset[str]
    settings: Mapping[str, Setting] = field(default_factory=lambda: MappingProxyType({}))
    url: str

    @property
    def all_settings(self) -> dict[str, Setting]:
        """Its own settings, and the waivers that every rule takes."""
        return {**self.settings, WAIVERS: Waivers()}

    def configure(self, given: Mapping[str, Any]) -> Settings:
        """The settings with their defaults."""
        return {name: setting.read(given.get(name, setting.default)) for name, setting in self.all_settings.items()}

    def misconfigured(self, given: Mapping[str, Any]) -> Iterator[str]:
        """What to mend in a configuration, naming the rule and the setting. The engine itself ignores unknown names."""
        known = self.all_settings
        for name, value in given.items():
            if name not in known:
                near = get_close_matches(name, known, n=1) or sorted(known)
                yield f"remove '{name}' from the configuration of {self.name}: it knows {', '.join(near)}"
            elif refusal := known[name].refusal(value):
                yield f"configure '{name}' of {self.name} as {refusal}"


@dataclass(frozen=True, kw_only=True)
class Rule(_About):
    """What must hold of each resource of one of `types`: refused before AWS is asked, in a preview and in an update.

    `check` yields what to do, in the imperative, if it doesn't hold.
    """

    check: Check
    examined: Examined = Examined.NO


@dataclass(frozen=True, kw_only=True)
class StackRule(_About):
    """What must hold between resources. The engine asks after all are known: a preview stops, an update only reports.

    `types` are those that it judges. `check` yields the resource to change, and what to do in the imperative.
    """

    check: StackCheck
