"""What this project's own stacks do against a rule on purpose, and the record of what was waived in a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import NamedTuple

_CARRIER = "event-gateway::event-gateway:components:CarrierIntegration$aws:cloudwatch/"
_MOCK = "urn:pulumi:*::event-gateway::event-gateway:components:"

# Rule -> resource -> reason, as in a configuration.
OURS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "api-destination-endpoint-safe": MappingProxyType(
            {
                f"urn:pulumi:local::{_CARRIER}eventApiDestination:EventApiDestination::*": (
                    "The mock carrier's URL in the local cloud is on 127.0.0.1, which nobody else reaches."
                ),
            }
        ),
        "connection-authorization-allowed": MappingProxyType(
            {
                f"urn:pulumi:{stack}::{_CARRIER}eventConnection:EventConnection::*": (
                    "The mock carrier, whom this stack has, knows BASIC only."
                )
                for stack in ("dev", "local")
            }
        ),
        "function-permission-scoped": MappingProxyType(
            {
                f"{_MOCK}MockCarrier$aws:lambda/permission:Permission::*": (
                    "An open URL needs these two permissions for anybody."
                ),
            }
        ),
        "function-url-authorised": MappingProxyType(
            {
                f"{_MOCK}MockCarrier$aws:lambda/functionUrl:FunctionUrl::*": (
                    "An API destination cannot sign for IAM; the handler refuses whoever does not know the credential."
                ),
            }
        ),
    }
)


class Waived(NamedTuple):
    """A finding that is not a violation, as someone said why."""

    urn: str
    rule: str
    finding: str
    reason: str


@dataclass
class Ledger:
    """What the rules of one run waived, and which waivers a configuration named."""

    used: set[Waived] = field(default_factory=set[Waived])
    _configured: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])
    _met: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])

    @property
    def idle(self) -> list[tuple[str, str]]:
        """Rule and resource of each configured waiver that no finding has met."""
        return sorted(self._configured - self._met)

    def configure(self, rule: str, configured: Mapping[str, str]) -> None:
        """Note the waivers of a configuration, to tell of those that turn out to be idle."""
        self._configured |= {(rule, resource) for resource in configured}

    def waive(self, rule: str, urn: str, finding: str, configured: Mapping[str, str]) -> bool:
        """Whether somebody waived the rule for this resource; keeps it for the report."""
        for resource, reason in {**OURS.get(rule, {}), **configured}.items():
            # Equal first: to fnmatch, brackets in a name are a set of characters.
            if resource in (urn, urn.rpartition("::")[2]) or fnmatchcase(urn, resource):
                self.used.add(Waived(urn=urn, rule=rule, finding=finding, reason=reason))
                self._met.add((rule, resource))
                return True
        return False
