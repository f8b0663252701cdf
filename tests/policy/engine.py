"""The pack as the engine drives it: pulumi_policy's own servicer, fed with what the SDK serialises.

A resource goes through Remediate and then Analyze, in which the engine leaves out internal keys ("__defaults").
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any

import pulumi
from google.protobuf import json_format, struct_pb2
from pulumi.runtime import proto, rpc, settings
from pulumi.runtime.proto import resource_pb2
from pulumi_policy import EnforcementLevel, StackValidationArgs, StackValidationPolicy
from pulumi_policy.deserialize import deserialize_properties
from pulumi_policy.policy import (
    PolicyCustomTimeouts,
    PolicyResource,
    PolicyResourceOptions,
    _PolicyAnalyzerServicer,
)
from pulumi_policy.proxy import unknown_checking_proxy

from policy import pack

MANDATORY, ADVISORY = proto.MANDATORY, proto.ADVISORY


@dataclass(frozen=True)
class Secret:
    """What `pulumi.Output.secret(value)` is in the inputs of a resource."""

    value: Any


class NotYet:
    """An output that is known only after the update."""


NOT_YET = NotYet()


def _outputs(value: Any) -> Any:
    if isinstance(value, Secret):
        return pulumi.Output.secret(_outputs(value.value))
    if isinstance(value, NotYet):
        return pulumi.Output.from_input(rpc.UNKNOWN)
    if isinstance(value, dict):
        return {key: _outputs(item) for key, item in value.items()}
    return [_outputs(item) for item in value] if isinstance(value, list) else value


def serialised(inputs: dict[str, Any]) -> dict[str, Any]:
    """The inputs as the SDK of a program sends them to the engine."""

    async def send() -> struct_pb2.Struct:
        return await rpc.serialize_properties(_outputs(inputs), {})

    # A loop of its own, because asyncio.run would leave the thread without the one that other tests count on.
    loop = asyncio.new_event_loop()
    told = settings.SETTINGS.monitor_features
    # What an engine says that understands secrets; without it the SDK sends them in plaintext.
    settings.SETTINGS.monitor_features = {resource_pb2.RESOURCE_MONITOR_FEATURE_SECRETS}
    try:
        return json_format.MessageToDict(loop.run_until_complete(send()))
    finally:
        settings.SETTINGS.monitor_features = told
        loop.close()


def _struct(inputs: dict[str, Any]) -> struct_pb2.Struct:
    struct = struct_pb2.Struct()
    json_format.ParseDict(inputs, struct)
    return struct


def _public(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _public(item) for key, item in value.items() if not key.startswith("__")}
    return [_public(item) for item in value] if isinstance(value, list) else value


@dataclass(frozen=True)
class Diagnostic:
    """One line of what the engine would show."""

    rule: str
    urn: str
    message: str


@dataclass
class Outcome:
    """What the engine would show of one resource, or of the stack, by policy."""

    violations: dict[str, list[str]] = field(default_factory=dict)
    levels: Counter[int] = field(default_factory=Counter)
    not_applicable: dict[str, str] = field(default_factory=dict)
    remediations: list[Any] = field(default_factory=list)
    diagnostics: list[Diagnostic] = field(default_factory=list)
    raw: str = ""

    @property
    def messages(self) -> list[str]:
        return [message for messages in self.violations.values() for message in messages]


class Engine:
    """One run of the engine with the pack."""

    def __init__(self, policies: list[Any] | None = None) -> None:
        self.policies = pack.policies() if policies is None else policies
        self._servicer = _PolicyAnalyzerServicer(
            "event-gateway", "0.1.0", list(self.policies), EnforcementLevel.MANDATORY
        )

    def configure(self, config: dict[str, Any]) -> Engine:
        """As `--policy-pack-config` does: a level, or settings, per policy or for "all"."""
        request = proto.ConfigureAnalyzerRequest()
        for policy in self.policies:
            given = config.get(policy.name, {})
            settings = {"enforcementLevel": given} if isinstance(given, str) else dict(given)
            level = settings.pop("enforcementLevel", config.get("all", policy.enforcement_level.value))
            schemas = policy.config_schema.properties if policy.config_schema else {}
            defaults = {name: schema["default"] for name, schema in schemas.items()}
            chosen = request.policyConfig[policy.name]
            chosen.enforcementLevel = proto.EnforcementLevel.Value(level.upper())
            chosen.properties.update({**defaults, **settings})
        self._servicer.Configure(request, None)
        return self

    @property
    def rules(self) -> list[Any]:
        """The policies that run a rule."""
        return [policy for policy in self.policies if hasattr(policy, "rule")]

    def register(
        self, type_: str, inputs: dict[str, Any], name: str = "thing", *, urn: str | None = None, protect: bool = False
    ) -> Outcome:
        """What comes of a resource; what is recorded stays as it is."""
        wire = serialised(inputs)
        remediated = self.remediate(type_, wire, name, urn=urn, protect=protect)
        outcome = self.analyze(type_, wire, name, urn=urn, protect=protect)
        outcome.remediations = list(remediated.remediations)
        outcome.raw += str(remediated)
        return outcome

    def remediate(self, type_: str, wire: dict[str, Any], name: str = "thing", **about: Any) -> Any:
        """Only the first half of `register`."""
        return self._servicer.Remediate(self._request(type_, wire, name, **about), None)

    def analyze(self, type_: str, wire: dict[str, Any], name: str = "thing", **about: Any) -> Outcome:
        """Only the second half of `register`."""
        return _outcome(self._servicer.Analyze(self._request(type_, _public(wire), name, **about), None))

    def analyze_stack(self, things: Iterable[Any], *, update: bool = False) -> Outcome:
        """What the rules about the stack say once everything is registered; `update` adds what AWS made of it.

        The servicer reads all resources anew for each policy, which is most of the time of hundreds of mutants. Here
        they are read once; `analyze_stack_fully` is what a test compares this with.
        """
        resources = _resources(things, update=update)
        outcome = Outcome()
        for policy in self.policies:
            if isinstance(policy, StackValidationPolicy):
                said = partial(self._reported, outcome, policy.name)
                policy.validate(StackValidationArgs(resources, self._servicer._get_policy_config(policy.name)), said)
        return outcome

    @staticmethod
    def _reported(outcome: Outcome, rule: str, message: str, urn: str | None = None) -> None:
        _is_read(rule, message)
        outcome.diagnostics.append(Diagnostic(rule, urn or "", message))
        outcome.violations.setdefault(rule, []).append(message)
        outcome.raw += message

    def analyze_stack_fully(self, things: Iterable[Any], *, update: bool = False) -> Outcome:
        """The same by the servicer alone."""
        request = proto.AnalyzeStackRequest(resources=[_resource(thing, update=update) for thing in things])
        return _outcome(self._servicer.AnalyzeStack(request, None))

    def verdict(self, rule: str, type_: str, name: str = "thing") -> Any:
        """What a rule decided and deferred at a resource."""
        policy = next(policy for policy in self.policies if policy.name == rule)
        return policy.report[urn(type_, name)]

    @staticmethod
    def _request(type_: str, wire: dict[str, Any], name: str, *, urn: str | None = None, protect: bool = False) -> Any:
        return proto.AnalyzeRequest(
            type=type_,
            urn=urn or _urn(type_, name),
            name=name,
            properties=_struct(wire),
            options=proto.AnalyzerResourceOptions(protect=protect),
        )


# The runner makes a violation of an error in a rule, so that no test would notice that it was one.
_RULES = frozenset(rule.name for rule in pack.RULES)


def _is_read(rule: str, message: str) -> None:
    assert rule not in _RULES or "cannot read these inputs" not in message, f"{rule} fails: {message}"


def _outcome(response: Any) -> Outcome:
    outcome = Outcome(raw=str(response))
    for diagnostic in response.diagnostics:
        message = diagnostic.message.removeprefix(f"{diagnostic.description}\n")
        _is_read(diagnostic.policyName, message)
        outcome.diagnostics.append(Diagnostic(diagnostic.policyName, diagnostic.urn, message))
        outcome.violations.setdefault(diagnostic.policyName, []).append(message)
        outcome.levels[diagnostic.enforcementLevel] += 1
    outcome.not_applicable = {entry.policy_name: entry.reason for entry in response.not_applicable}
    return outcome


@lru_cache(maxsize=4096)
def _resource(thing: Any, *, update: bool) -> Any:
    return proto.AnalyzerResource(
        type=thing.type,
        urn=thing.urn,
        name=thing.name,
        properties=_struct(_public(serialised({**thing.inputs, **(thing.outputs if update else {})}))),
        options=proto.AnalyzerResourceOptions(protect=thing.protect),
        propertyDependencies={
            prop: proto.AnalyzerPropertyDependencies(urns=list(urns)) for prop, urns in thing.uses.items()
        },
    )


@lru_cache(maxsize=4096)
def _read(thing: Any, *, update: bool) -> Any:
    return unknown_checking_proxy(
        deserialize_properties(json_format.MessageToDict(_resource(thing, update=update).properties))
    )


def _resources(things: Iterable[Any], *, update: bool) -> list[PolicyResource]:
    """What the servicer makes of them for a policy, as far as rules use it."""
    things = list(things)
    found: dict[str, PolicyResource] = {}
    for thing in things:
        options = PolicyResourceOptions(thing.protect, [], None, [], PolicyCustomTimeouts(0, 0, 0), [])
        props = _read(thing, update=update)
        found[thing.urn] = PolicyResource(thing.type, props, thing.urn, thing.name, options, None, None, [], {})
    for thing in things:
        found[thing.urn].property_dependencies = {
            prop: [found[origin] for origin in origins if origin in found] for prop, origins in thing.uses.items()
        }
    return list(found.values())


def urn(type_: str, name: str) -> str:
    return f"urn:pulumi:test::event-gateway::{type_}::{name}"


_urn = urn
