"""Rules as data, and the pulumi_policy policy that a rule becomes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from enum import Enum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from pulumi_policy import (
    EnforcementLevel,
    PolicyComplianceFramework,
    PolicyConfigSchema,
    ResourceValidationPolicy,
    Severity,
)

from policy.props import UNKNOWN, Examination, Path, Where, examine, find, plain, read, spell, steps, whole

if TYPE_CHECKING:
    from pulumi_policy import ReportViolation, ResourceValidationArgs

Settings = Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class Control:
    """An entry of a public catalogue that a rule serves."""

    framework: str
    reference: str
    version: str | None = None


@dataclass(frozen=True, kw_only=True)
class Whole:
    """A setting of a rule: a whole number, `minimum` or more."""

    default: int
    minimum: int
    why: str

    def schema(self) -> dict[str, Any]:
        """What the engine checks a configuration against, and fills in from."""
        return {"type": "integer", "minimum": self.minimum, "default": self.default, "description": self.why}

    def refusal(self, value: object) -> str | None:
        """What the value has to become, if it cannot stay."""
        number = whole(value)
        return None if number is not None and number >= self.minimum else f"a whole number, {self.minimum} or more"


class Examined(Enum):
    """Whether a rule asks for what only a remediation is shown: what is secret, what the provider filled in.

    Such a rule is a policy at level `remediate`: the engine calls `remediate`, which changes nothing, then `validate`,
    whose violations stop it like mandatory ones. Configured to another level, the engine calls `validate` alone.
    """

    NO = "no"
    IF_POSSIBLE = "if possible"  # decides by the values alone when it was not examined
    REQUIRED = "required"  # fails when it was not examined, at whatever level


class NotExaminedError(RuntimeError):
    """A rule that must see what is secret was run without it. The engine stops; a violation could be advisory."""


@dataclass(kw_only=True)
class Verdict:
    """What a rule came to at one resource: the places it decided, and those it left to the update as unknown."""

    decided: set[str] = field(default_factory=set[str])
    deferred: set[str] = field(default_factory=set[str])


class Subject:
    """A resource as a rule sees it. Reading never raises; only what a rule judges or decides counts."""

    def __init__(
        self, type_: str, props: Mapping[str, Any], settings: Settings, examination: Examination | None
    ) -> None:
        self.type = type_
        self.settings = settings
        self.verdict = Verdict()
        self._props = plain(props)
        self.examined = examination is not None
        self._examination = examination or Examination()

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

    def decided(self, where: Where) -> None:
        """Count the place as decided, for or against."""
        self.verdict.decided.add(spell(steps(where)))

    def deferred(self, where: Where) -> None:
        """Count the place as one that only the update can decide."""
        self.verdict.deferred.add(spell(steps(where)))

    def secret(self, where: Where) -> bool:
        """Whether the place or anything it is part of is a Pulumi secret; False when it was not examined."""
        return self._examination.is_secret(steps(where))

    def defaulted(self, where: Where) -> bool:
        """Whether the provider filled in the value as the program gave none; False when it was not examined."""
        return steps(where) in self._examination.defaulted


Check = Callable[[Subject], Iterator[str]]


@dataclass(frozen=True, kw_only=True)
class Rule:
    """What must hold of a resource of one of `types`. `check` yields what to do, in the imperative, if it doesn't.

    A check never quotes a property's value: it may be a secret.
    """

    name: str
    why: str
    fix: str
    severity: Severity
    frameworks: tuple[Control, ...]
    types: frozenset[str]
    check: Check
    settings: Mapping[str, Whole] = field(default_factory=lambda: MappingProxyType({}))
    examined: Examined = Examined.NO
    url: str

    def configure(self, given: Mapping[str, Any]) -> Settings:
        """The settings with their defaults."""
        return {name: int(given.get(name, setting.default)) for name, setting in self.settings.items()}

    def misconfigured(self, given: Mapping[str, Any]) -> Iterator[str]:
        """What to mend in a configuration, naming the rule and the setting. The engine itself ignores unknown names."""
        for name, value in given.items():
            if name not in self.settings:
                known = get_close_matches(name, self.settings, n=1) or sorted(self.settings) or ["nothing"]
                yield f"remove '{name}' from the configuration of {self.name}: it knows {', '.join(known)}"
            elif refusal := self.settings[name].refusal(value):
                yield f"configure '{name}' of {self.name} as {refusal}"


class RulePolicy(ResourceValidationPolicy):
    """A rule as the engine runs it. `report` tells what it came to, per URN."""

    def __init__(self, rule: Rule) -> None:
        first = rule.frameworks[0]
        super().__init__(
            name=rule.name,
            description=rule.why,
            enforcement_level=(
                EnforcementLevel.MANDATORY if rule.examined is Examined.NO else EnforcementLevel.REMEDIATE
            ),
            config_schema=PolicyConfigSchema({name: setting.schema() for name, setting in rule.settings.items()}),
            severity=rule.severity,
            framework=PolicyComplianceFramework(first.framework, first.version, first.reference),
            tags=[f"{control.framework} {control.reference}" for control in rule.frameworks],
            remediation_steps=rule.fix,
            url=rule.url,
        )
        self.rule = rule
        self.report: dict[str, Verdict] = {}
        self._examinations: dict[str, Examination] = {}

    def remediate(self, args: ResourceValidationArgs) -> None:
        """Change nothing; keep for `validate` what it will not be shown."""
        if args.resource_type in self.rule.types:
            self._examinations[args.urn] = examine(args.props)

    def validate(self, args: ResourceValidationArgs, report_violation: ReportViolation) -> None:
        """Report what the rule has against the resource."""
        rule = self.rule
        if args.resource_type not in rule.types:
            args.not_applicable("the rule is about other types")
        # One examination vouches for one validation: what the resource was before says nothing about what it is now.
        examination = self._examinations.pop(args.urn, None)
        if examination is None and rule.examined is Examined.REQUIRED:
            raise NotExaminedError(
                f"{rule.name} cannot see what is secret in {args.urn}: run it at level 'remediate', at which it "
                "changes nothing, or 'disabled'"
            )
        config = args.get_config()
        if refusals := list(rule.misconfigured(config)):
            for refusal in refusals:
                report_violation(refusal, None)
            return
        subject = Subject(args.resource_type, args.props, rule.configure(config), examination)
        refusals = list(rule.check(subject))
        self.report[args.urn] = subject.verdict
        for refusal in refusals:
            report_violation(refusal, None)
        if subject.verdict.deferred and not subject.verdict.decided:
            args.not_applicable(f"the update decides, when it knows {', '.join(sorted(subject.verdict.deferred))}")
