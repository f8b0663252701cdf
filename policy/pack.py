"""All rules of the pack."""

from __future__ import annotations

from typing import TYPE_CHECKING

from policy import events
from policy.rule import RulePolicy

if TYPE_CHECKING:
    from pulumi_policy import Policy

RULES = (*events.RULES,)


def policies() -> list[Policy]:
    """One policy per rule, none of which has seen a resource yet."""
    return [RulePolicy(rule) for rule in RULES]
