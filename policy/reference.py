"""What is written down of the rules, made of the rules: their reference, an example configuration, and our own."""

from __future__ import annotations

import importlib
import json
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pulumi_policy import EnforcementLevel

from policy import pack, rules
from policy.rule import WAIVERS, Control, Group, Rule, Setting, StackRule

AnyRule = Rule | StackRule

_GROUPS = {
    Group.GATEWAY: "The parts of an event gateway, on anybody's stack: mandatory.",
    Group.BASELINE: "What any stack on AWS may have: advisory, and mandatory on this project's own stacks.",
}
# What this project asks of its stacks beyond the defaults.
_OURS: Mapping[str, Mapping[str, Any]] = {"failures-alarmed": {"required": True}}
_WAIVED = {"urn:pulumi:dev::event-gateway::*::orders": "A throwaway stack, until the end of the trial in March."}


def _levels() -> dict[str, EnforcementLevel]:
    return {policy.name: policy.enforcement_level for policy in pack.policies() if policy.enforcement_level}


def configuration() -> dict[str, Any]:
    """This project's own configuration: what is advisory by default is mandatory here."""
    return {
        name: {"enforcementLevel": EnforcementLevel.MANDATORY.value, **_OURS.get(name, {})}
        for name, level in _levels().items()
        if level is EnforcementLevel.ADVISORY and name != WAIVERS
    }


def example() -> dict[str, Any]:
    """Every rule with its level and its settings as they are when nothing is configured, and one waiver."""
    levels = _levels()
    configured = {
        rule.name: {
            "enforcementLevel": levels[rule.name].value,
            **{name: setting.default for name, setting in rule.settings.items()},
        }
        for rule in pack.RULES
    }
    configured["table-restorable"][WAIVERS] = _WAIVED
    return configured


def _concerns() -> dict[str, tuple[str, list[AnyRule]]]:
    """The modules of rules, each with the first line of its docstring and its rules."""
    modules = [
        importlib.import_module(f"{rules.__name__}.{found.name}") for found in pkgutil.iter_modules(rules.__path__)
    ]
    return {
        module.__name__.rpartition(".")[2]: (
            _about(module.__doc__ or ""),
            [rule for rule in module.RULES if rule in pack.RULES],
        )
        for module in modules
        if hasattr(module, "RULES")
    }


def _about(docstring: str) -> str:
    what = docstring.partition("\n")[0].removeprefix("Rules for ")
    return what[:1].upper() + what[1:]


def document() -> str:
    """The reference, as Markdown."""
    return "\n".join([_INTRODUCTION, *_contents(), *_rules()]) + "\n"


_INTRODUCTION = """# Policies

Generated from [`policy/rules`](../policy/rules) by `make docs`; do not edit.

A rule is about single resources, and stops a preview and an update alike; or it is about how resources stand to one
another, which the engine asks once all are known: it stops a preview, and in an update it is only told. What is
unknown in a preview is decided by what the program refers to, or by the update.

Levels and settings are configured by name, in a file for `--policy-pack-config`.
[`policy-config.example.json`](../policy/policy-config.example.json) has all of them with their defaults, and a waiver;
[`config.json`](../policy/config.json) is what this project's own stacks run with. Every rule takes `waivers`: the URN,
a pattern of URNs with `*`, or the name of a resource, and why the rule passes over it. There is no waiver without a
reason, and the policy `waivers` lists each one that was used. The engine refuses a level or a value that is none, the
rule a setting that it does not know; the name of no rule is ignored by the engine, and no pack is told.
"""


def _contents() -> Iterator[str]:
    levels = _levels()
    for group, says in _GROUPS.items():
        yield from (f"## {group.value}", "", says, "", "| rule | severity | level | what holds |", "|---|---|---|---|")
        for _, of_concern in _concerns().values():
            for rule in of_concern:
                if rule.group is group:
                    cells = (f"[{rule.name}](#{rule.name})", rule.severity.value, levels[rule.name].value, rule.why)
                    yield f"| {' | '.join(cells)} |"
        yield ""


def _rules() -> Iterator[str]:
    levels = _levels()
    for name, (about, of_concern) in _concerns().items():
        yield from (f"## Rules: {name}", "", about, "")
        for rule in of_concern:
            yield from _rule(rule, levels[rule.name])


def _rule(rule: AnyRule, level: EnforcementLevel) -> Iterator[str]:
    stops = (
        "a preview and an update"
        if isinstance(rule, Rule)
        else "a preview; an update only reports it, as it is asked after all is done"
    )
    yield from (
        f"### {rule.name}",
        "",
        rule.why,
        "",
        f"- Fix: {rule.fix}",
        f"- Severity: {rule.severity.value}",
        f"- Group: {rule.group.value}; level: {_LEVELS.get(level, level.value)}",
        f"- Stops: {stops}",
        f"- About: {', '.join(f'`{type_}`' for type_ in sorted(rule.types))}",
        f"- Serves: {', '.join(map(_control, rule.frameworks))}",
        f"- Background: <{rule.url}>",
        "",
    )
    if rule.settings:
        yield from ("| setting | type | default | what it is |", "|---|---|---|---|")
        for name, setting in rule.settings.items():
            yield _setting(name, setting)
        yield ""


_LEVELS = {
    EnforcementLevel.REMEDIATE: "remediate, at which it changes nothing and sees what is secret; stops like mandatory"
}


def _control(control: Control) -> str:
    return " ".join(part for part in (control.framework, control.version, control.reference) if part)


def _setting(name: str, setting: Setting) -> str:
    schema = setting.schema()
    default = json.dumps(schema["default"]).replace("|", "\\|")
    return f"| `{name}` | {_type(schema)} | `{default}` | {schema['description']} |"


def _type(schema: Mapping[str, Any]) -> str:
    if "minimum" in schema:
        return f"{schema['type']}, {schema['minimum']} or more"
    choices = schema["items"].get("enum") if "items" in schema else None
    of = f" of {', '.join(f'`{choice}`' for choice in choices)}" if choices else ""
    return f"{schema['type']}{of}"


def _json(made: Callable[[], dict[str, Any]]) -> Callable[[], str]:
    return lambda: json.dumps(made(), indent=2) + "\n"


# What is generated, and where it is kept in a checkout.
FILES: Mapping[str, Callable[[], str]] = {
    "docs/policies.md": document,
    "policy/policy-config.example.json": _json(example),
    "policy/config.json": _json(configuration),
}


def write(root: Path) -> None:
    """Write all of them below the root of a checkout."""
    for path, text in FILES.items():
        (root / path).write_text(text(), encoding="utf-8")
