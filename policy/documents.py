"""JSON documents inside inputs: OpenAPI bodies, event patterns and, read statement by statement, IAM policies."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from policy.props import MISSING, UNKNOWN

# What is there, but no document: neither a JSON object nor text that holds one.
UNREADABLE = object()

# Keys that say who asks, or for whom a service does. After "The meaning of public" in the Amazon S3 user guide, with
# the keys for accounts and organizations of the IAM user guide.
IDENTITY_KEYS = (
    "aws:PrincipalAccount",
    "aws:PrincipalArn",
    "aws:PrincipalOrgID",
    "aws:PrincipalOrgPaths",
    "aws:SourceAccount",
    "aws:SourceArn",
    "aws:SourceIp",
    "aws:SourceOrgID",
    "aws:SourceOrgPaths",
    "aws:SourceOwner",
    "aws:SourceVpc",
    "aws:SourceVpcArn",
    "aws:SourceVpce",
    "aws:userid",
)
# Those of them that say for whom a service does: keys against the confused deputy, after the IAM user guide.
SOURCE_KEYS = ("aws:SourceAccount", "aws:SourceArn", "aws:SourceOrgID", "aws:SourceOrgPaths", "aws:SourceOwner")
_POSITIVE = ("StringEquals", "StringEqualsIgnoreCase", "StringLike", "ArnEquals", "ArnLike", "IpAddress")
# Without ...IfExists and ForAllValues:, which are true of a request that lacks the key.
_RESTRICTING = frozenset(f"{quantifier}{name}" for quantifier in ("", "ForAnyValue:") for name in _POSITIVE)
# arn:partition:service:region:account:resource.
ARN_PARTS = 6
_ADDRESSES = re.compile(r"[\da-f.:]+/(\d{1,3})", re.IGNORECASE)
# Broader ranges of addresses, of IPv4 and IPv6, are public to Amazon S3.
_NARROW_ENOUGH = (8, 32)
# Variables that stand for whoever owns the resource; what others stand for is up to who asks.
_OWNER = re.compile(r"\$\{aws:Resource(?:Account|OrgID|OrgPaths)\}", re.IGNORECASE)


def document(value: Any) -> Any:
    """The object that an input holds, as text or as it is; MISSING, UNKNOWN, or UNREADABLE.

    YAML is read too, as API Gateway takes OpenAPI in both.
    """
    found = json_document(value)
    if found is not UNREADABLE or not isinstance(value, str):
        return found
    parsed = _yaml(value)
    return cast("Any", parsed) if isinstance(parsed, dict) else UNREADABLE


def json_document(value: Any) -> Any:
    """The same where AWS takes JSON alone: event patterns and policies."""
    if value is MISSING or value is UNKNOWN or isinstance(value, dict):
        return cast("Any", value)
    if not isinstance(value, str):
        return UNREADABLE
    try:
        parsed = json.loads(value)
    except (ValueError, RecursionError):
        return UNREADABLE
    return cast("Any", parsed) if isinstance(parsed, dict) else UNREADABLE


def _yaml(text: str) -> Any:
    import yaml  # noqa: PLC0415 - a tenth of the pack's start, for stacks that need it

    try:
        return yaml.safe_load(text)
    except Exception:  # noqa: BLE001 - tags that don't fit their text raise whatever their constructor does
        return None


def anybody(value: Any) -> bool:
    """Whether a source, as a condition or a permission states it, is nobody in particular. What is unknown is not.

    A wildcard or a variable leaves open who, unless it follows what says who: `o-a1b2c3d4e5/*`, `AROAEXAMPLE:*`.
    """
    if not isinstance(value, str):
        return value is None
    value = _OWNER.sub("owner", value)
    if addresses := _ADDRESSES.fullmatch(value):
        return int(addresses[1]) < _NARROW_ENOUGH[":" in value]
    who = _owner_of(value) if value.startswith("arn:") else re.split("[/:]", value, maxsplit=1)[0]
    return not who or bool({"*", "?", "$"} & set(who))


def _owner_of(arn: str) -> str:
    """What of an ARN says who: the account; a bucket's has none, and is somebody's by its name."""
    *_, service, _, account, resource = [*arn.split(":", ARN_PARTS - 1), *[""] * ARN_PARTS][:ARN_PARTS]
    by_name = not account or (service == "s3" and account == "*")  # as AWS wrote buckets once: arn:aws:s3:*:*:orders
    return resource.partition("/")[0] if by_name else account


def items(value: Any) -> list[Any]:
    """IAM's way to write a list: one item may stand for itself; nothing is no item. An UNKNOWN is an item."""
    if value is MISSING or value is None:
        return []
    return cast("list[Any]", value) if isinstance(value, list) else [value]


@dataclass(frozen=True, kw_only=True)
class Statement:
    """One statement of a policy. Whatever is not known yet is UNKNOWN in its place."""

    index: int
    allows: Any
    """True, False, or UNKNOWN."""
    actions: list[Any]
    not_actions: list[Any]
    resources: list[Any]
    not_resources: list[Any]
    principals: list[tuple[str, Any]]
    """Kind and name: ("Service", "events.amazonaws.com"); a bare `*` is ("*", "*")."""
    not_principals: bool
    conditions: dict[str, dict[str, list[Any]]] | Any
    """Operator -> key in lower case -> values; UNKNOWN when it is."""

    def condition(self, key: str, *, operators: frozenset[str] | None = None) -> list[Any]:
        """The values that the key is compared with, in any of the operators; UNKNOWN stands for unknown conditions."""
        if self.conditions is UNKNOWN:
            return [UNKNOWN]
        found: list[Any] = []
        for operator, keys in self.conditions.items():
            if operators is None or operator in operators:
                found += [UNKNOWN] if keys is UNKNOWN else keys.get(key.lower(), [])
        return found

    def restricted(self, keys: Iterable[str]) -> bool:
        """Whether one of the keys has to be there and to be somebody in particular; what is unknown yet is."""
        said = (self.condition(key, operators=_RESTRICTING) for key in keys)
        return any(values and not any(anybody(value) for value in values) for values in said)

    @property
    def public(self) -> bool:
        """Whether it allows something to everybody, or to everybody but a few. What is unknown yet allows nothing."""
        everybody = self.not_principals or ("*", "*") in self.principals or ("AWS", "*") in self.principals
        return self.allows is True and everybody and not self.restricted(IDENTITY_KEYS)


def statements(policy: Mapping[str, Any]) -> Iterator[Statement]:
    """The statements of a policy document as `document` returns it. What is no object is none."""
    for index, raw in enumerate(items(policy.get("Statement"))):
        if raw is UNKNOWN:
            yield Statement(
                index=index,
                allows=UNKNOWN,
                actions=[UNKNOWN],
                not_actions=[],
                resources=[UNKNOWN],
                not_resources=[],
                principals=[("*", UNKNOWN)],
                not_principals=False,
                conditions=UNKNOWN,
            )
        elif isinstance(raw, dict):
            yield _statement(index, cast("dict[str, Any]", raw))


def _statement(index: int, raw: dict[str, Any]) -> Statement:
    effect = raw.get("Effect")
    return Statement(
        index=index,
        allows=UNKNOWN if effect is UNKNOWN else effect == "Allow",
        actions=items(raw.get("Action")),
        not_actions=items(raw.get("NotAction")),
        resources=items(raw.get("Resource")),
        not_resources=items(raw.get("NotResource")),
        principals=list(_principals(raw.get("Principal"))),
        not_principals="NotPrincipal" in raw,
        conditions=_conditions(raw.get("Condition")),
    )


def _principals(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for kind, names in cast("dict[str, Any]", value).items():
            yield from ((kind, _named(name)) for name in items(names))
    else:
        yield from (("*", _named(name)) for name in items(value))


def _named(principal: Any) -> Any:
    """The principal; what is no text is nobody that could be known."""
    return principal if isinstance(principal, str) else UNKNOWN


def _conditions(value: Any) -> Any:
    if value is UNKNOWN:
        return UNKNOWN
    conditions: dict[str, Any] = {}
    for operator, keys in cast("dict[str, Any]", value).items() if isinstance(value, dict) else ():
        conditions[operator] = (
            {str(key).lower(): items(values) for key, values in cast("dict[Any, Any]", keys).items()}
            if isinstance(keys, dict)
            else UNKNOWN
        )
    return conditions
