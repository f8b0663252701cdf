"""All rules of the pack."""

from __future__ import annotations

from typing import TYPE_CHECKING

from policy.rule import Rule, StackRule
from policy.rules import (
    api,
    compute,
    data,
    destinations,
    http_api,
    identity,
    observability,
    pipes,
    queues,
    routing,
    secrets,
    stages,
    wiring,
)
from policy.runner import RulePolicy, StackRulePolicy, WaiversPolicy
from policy.waivers import Ledger

if TYPE_CHECKING:
    from pulumi_policy import Policy

RULES: tuple[Rule | StackRule, ...] = (
    *api.RULES,
    *compute.RULES,
    *data.RULES,
    *destinations.RULES,
    *http_api.RULES,
    *identity.RULES,
    *observability.RULES,
    *pipes.RULES,
    *queues.RULES,
    *routing.RULES,
    *secrets.RULES,
    *stages.RULES,
    *wiring.RULES,
)


def policies() -> list[Policy]:
    """One policy per rule, none of which has seen a resource yet, and the one that reports what they waived."""
    ledger = Ledger()
    return [
        *(RulePolicy(rule, ledger) if isinstance(rule, Rule) else StackRulePolicy(rule, ledger) for rule in RULES),
        WaiversPolicy(ledger),
    ]
