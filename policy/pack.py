"""All rules of the pack."""

from __future__ import annotations

from typing import TYPE_CHECKING

from policy.rule import Rule, StackRule
from policy.rules import destinations
from policy.runner import RulePolicy, StackRulePolicy, WaiversPolicy
from policy.waivers import Ledger

if TYPE_CHECKING:
    from pulumi_policy import Policy

RULES: tuple[Rule | StackRule, ...] = (*destinations.RULES,)


def policies() -> list[Policy]:
    """One policy per rule, none of which has seen a resource yet, and the one that reports what they waived."""
    ledger = Ledger()
    return [
        *(RulePolicy(rule, ledger) if isinstance(rule, Rule) else StackRulePolicy(rule, ledger) for rule in RULES),
        WaiversPolicy(ledger),
    ]
