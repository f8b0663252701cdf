"""Rules as the engine runs them: each one a policy of pulumi_policy, and one policy that reports what was waived."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pulumi_policy import (
    EnforcementLevel,
    PolicyComplianceFramework,
    PolicyConfigSchema,
    ResourceValidationPolicy,
    Severity,
    StackValidationPolicy,
)

from policy.props import Examination, examine
from policy.rule import WAIVERS, Examined, Group, Rule, Settings, StackRule
from policy.subject import Member, Stack, Subject, Verdict

if TYPE_CHECKING:
    from pulumi_policy import ReportViolation, ResourceValidationArgs, StackValidationArgs
    from pulumi_policy.policy import PolicyResource

    from policy.waivers import Ledger

AnyRule = TypeVar("AnyRule", Rule, StackRule)


class NotExaminedError(RuntimeError):
    """A rule that must see what is secret was run without it. The engine stops; a violation could be advisory."""


def _level(rule: Rule | StackRule) -> EnforcementLevel:
    if isinstance(rule, Rule) and rule.examined is not Examined.NO:
        return EnforcementLevel.REMEDIATE
    return EnforcementLevel.MANDATORY if rule.group is Group.GATEWAY else EnforcementLevel.ADVISORY


def _description(rule: Rule | StackRule) -> dict[str, Any]:
    """What a policy tells the engine of its rule."""
    first = rule.frameworks[0]
    return {
        "name": rule.name,
        "description": rule.why,
        "enforcement_level": _level(rule),
        "config_schema": PolicyConfigSchema({name: setting.schema() for name, setting in rule.all_settings.items()}),
        "severity": rule.severity,
        "framework": PolicyComplianceFramework(first.framework, first.version, first.reference),
        "tags": [rule.group.value, *(f"{control.framework} {control.reference}" for control in rule.frameworks)],
        "remediation_steps": rule.fix,
        "url": rule.url,
    }


class _Runs(Generic[AnyRule]):
    """What both kinds of policies do: take a configuration or refuse it, and report what nobody waived."""

    rule: AnyRule
    report: dict[str, Verdict]
    """What the rule came to, per URN."""
    _ledger: Ledger

    def _configured(self, config: Mapping[str, Any], report_violation: ReportViolation) -> Settings | None:
        """The settings; None when the configuration is refused."""
        refusals = list(self.rule.misconfigured(config))
        for refusal in refusals:
            report_violation(refusal, None)
        if refusals:
            return None
        settings = self.rule.configure(config)
        self._ledger.configure(self.rule.name, settings[WAIVERS])
        return settings

    def _tell(self, subject: Subject, finding: str, report_violation: ReportViolation, urn: str | None = None) -> None:
        if not self._ledger.waive(self.rule.name, subject.urn, finding, subject.settings[WAIVERS]):
            report_violation(finding, urn)


class RulePolicy(_Runs[Rule], ResourceValidationPolicy):
    """A rule about single resources."""

    def __init__(self, rule: Rule, ledger: Ledger) -> None:
        super().__init__(**_description(rule))
        self.rule, self.report, self._ledger = rule, {}, ledger
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
        settings = self._configured(args.get_config(), report_violation)
        if settings is None:
            return
        subject = Subject(
            args.resource_type, args.props, settings, examination, urn=args.urn, protect=args.opts.protect
        )
        try:
            findings = list(rule.check(subject))
        except Exception as error:  # noqa: BLE001 - see _unread
            findings = [_unread(rule, error)]
        self.report[args.urn] = subject.verdict
        for finding in findings:
            self._tell(subject, finding, report_violation)
        if subject.verdict.deferred and not subject.verdict.decided:
            args.not_applicable(f"the update decides, when it knows {', '.join(sorted(subject.verdict.deferred))}")


class StackRulePolicy(_Runs[StackRule], StackValidationPolicy):
    """A rule about how resources stand to one another."""

    def __init__(self, rule: StackRule, ledger: Ledger) -> None:
        super().__init__(**_description(rule))
        self.rule, self.report, self._ledger = rule, {}, ledger

    def validate(self, args: StackValidationArgs, report_violation: ReportViolation) -> None:
        """Report what the rule has against the stack, at the resource to change."""
        settings = self._configured(args.get_config(), report_violation)
        if settings is None:
            return
        stack = Stack(members=_members(args.resources, settings), settings=settings)
        try:
            findings = list(self.rule.check(stack))
        except Exception as error:  # noqa: BLE001 - see _unread
            report_violation(_unread(self.rule, error), None)
            findings = []
        self.report.update({member.urn: member.verdict for member in stack.of(self.rule.types)})
        for member, finding in findings:
            self._tell(member, finding, report_violation, member.urn)


def _unread(rule: Rule | StackRule, error: Exception) -> str:
    """An error of a rule would stop the engine with a traceback, or hide what is wrong: it is a violation by name.

    The error's own text may quote a value, so only its kind is told.
    """
    return f"report that {rule.name} cannot read these inputs ({type(error).__name__}), and waive it here until it can"


def _members(resources: list[PolicyResource], settings: Settings) -> list[Member]:
    members = {
        resource.urn: Member(
            resource.resource_type, resource.props, settings, urn=resource.urn, protect=resource.opts.protect
        )
        for resource in resources
    }
    for resource in resources:
        member = members[resource.urn]
        member.origins = partial(_origins, resource, members)
    return list(members.values())


def _origins(resource: PolicyResource, members: Mapping[str, Member]) -> dict[str, list[Member]]:
    return {
        name: [members[origin.urn] for origin in origins if origin.urn in members]
        for name, origins in resource.property_dependencies.items()
    }


class WaiversPolicy(StackValidationPolicy):
    """Tells what was waived, where and why, so that a waiver is never silent. Runs after all others."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(
            name="waivers",
            description="Whatever is waived is said, with its reason.",
            enforcement_level=EnforcementLevel.ADVISORY,
            severity=Severity.LOW,
            remediation_steps="Mend what is waived, and remove the waiver.",
        )
        self.ledger = ledger

    def validate(self, args: StackValidationArgs, report_violation: ReportViolation) -> None:  # noqa: ARG002 - pulumi_policy's
        """List the waivers in use at their resources, and the configured ones that are of no use."""
        for waived in sorted(self.ledger.used):
            report_violation(f"{waived.rule} is waived: {waived.reason} (It says: {waived.finding}.)", waived.urn)
        for rule, resource in self.ledger.idle:
            report_violation(f"remove the waiver of {rule} for '{resource}': nothing needs it", None)
