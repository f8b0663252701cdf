"""Every difference between stacks, read from `Pulumi.<stack>.yaml` and checked before anything is registered.

| key | value | default |
|---|---|---|
| `aws:region` | where everything lives; the pipe's provider follows | required |
| `clients` | IAM roles and users that may place orders: ARNs, or `role/name` of this account | required |
| `carriers` | list, the first enabled one is the default of an order; keys below | required |
| `<name>Secret` | the password or key of the carrier of that name; must be a secret | required |
| `throttle` | `rate` and `burst` per route, in requests per second | 50, 100 |
| `logRetentionDays` | a period that CloudWatch Logs knows | 365 |
| `protect` | refuse to delete or replace what holds orders | true |
| `reservedConcurrency` | per function | none: the account's shared pool |
| `alarmEmail` | one address that gets every alarm | none: the topic has no subscriber |
| `manageApiGatewayAccount` | own the region's one API Gateway logging role | false |
| `runtime` | Lambda's Python | python3.13 |
| `mockCarrier` | play each carrier that has no endpoint; not with `protect` | false |

A carrier has `name`, `endpoint` (https, without `/orders`), `auth` (`basic` or `apiKey`), `user` or `keyName`,
`principal` (who may confirm; the mock's own role without an endpoint), `rateLimit` (1 to 300 a second, 20 by default),
`confirmWithin` (1 to 336 hours, 24 by default: what is not confirmed by then is sent again) and `enabled` (true).
All bounds of numbers and choices are in `components/bounds.py`.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple, NoReturn
from urllib.parse import urlsplit

import pulumi
import pulumi_aws as aws
from pulumi.runtime.config import CONFIG, is_config_secret

from components import bounds
from components.carrier_integration import Credential
from components.function import Compute
from components.mock_carrier import mock_carrier_role
from components.orders_api import Throttle
from components.scope import Scope
from contracts.principals import caller_of

_KEYS = (
    "clients",
    "carriers",
    "throttle",
    "logRetentionDays",
    "protect",
    "reservedConcurrency",
    "alarmEmail",
    "manageApiGatewayAccount",
    "runtime",
    "mockCarrier",
)
_CARRIER_KEYS = ("name", "endpoint", "auth", "user", "keyName", "principal", "rateLimit", "confirmWithin", "enabled")
_THROTTLE_KEYS = ("rate", "burst")
# Keys whose value is a list or an object.
_STRUCTURED = ("clients", "carriers", "throttle")


class _Form(NamedTuple):
    """What a text must look like, in a pattern and in words, and an example for the command that sets it."""

    pattern: re.Pattern[str]
    words: str
    example: str


_PRINCIPAL = _Form(
    re.compile(r"(?:arn:aws[a-z-]*:iam::[0-9]{12}:)?(?:role|user)/[\w+=,.@/-]{0,511}[\w+=,.@-]", re.ASCII),
    "the ARN of an IAM role or user, or role/name in this account",
    "role/name",
)
_CARRIER_NAME = _Form(bounds.CARRIER_NAME, bounds.CARRIER_NAME_WORDS, "acme")
_CREDENTIAL_NAME = _Form(re.compile(r"[A-Za-z0-9._@-]{1,128}"), "1 to 128 letters, digits and ._@-", "event-gateway")
# The length leaves room for /orders within the 2,048 characters of an API destination.
_URL = _Form(
    re.compile(r"https://[!-~]{1,2000}"),
    "an https address without user, query and fragment",
    "https://api.carrier.example",
)
# What mail servers take of RFC 5321, which has more; SNS itself only tries.
_EMAIL = _Form(
    re.compile(
        r"(?=.{6,254}\Z)[\w.+=~-]{1,64}@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,63}", re.ASCII
    ),
    "one mail address",
    "on-call@example.com",
)


class SettingsError(pulumi.RunError):
    """A setting is missing or wrong; the message is one sentence that names the key and the command."""


@dataclass(frozen=True, kw_only=True)
class Carrier:
    name: str
    endpoint: str | None
    """None where the mock carrier plays this one."""
    credential: Credential
    principal_arn: str
    rate_limit: int
    confirm_within: int
    """Hours that the carrier has to confirm an order."""
    enabled: bool


@dataclass(frozen=True, kw_only=True)
class Settings:
    scope: Scope
    compute: Compute
    clients: list[str]
    carriers: list[Carrier]
    throttle: Throttle
    protect: bool
    alarm_email: str | None
    manage_account: bool

    @property
    def open_carriers(self) -> list[str]:
        """The carriers that an order may choose, the default first."""
        return [carrier.name for carrier in self.carriers if carrier.enabled]

    @property
    def confirm_within(self) -> dict[str, int]:
        """The hours that each enabled carrier has to confirm an order."""
        return {carrier.name: carrier.confirm_within for carrier in self.carriers if carrier.enabled}

    @property
    def confirmers(self) -> list[str]:
        """Who may confirm: a disabled carrier still does, for what it was sent before."""
        return [carrier.principal_arn for carrier in self.carriers]


def load_settings() -> Settings:
    """The settings of the current stack; raises SettingsError for the first one that is missing, unknown or wrong."""
    # Once without an account, so that a wrong setting is refused before AWS is asked anything.
    _read(account="")
    return _read(account=aws.get_caller_identity().account_id)


def _read(account: str) -> Settings:
    project = pulumi.get_project()
    scope = Scope(project=project, stack=pulumi.get_stack(), region=_region(), account=account)
    top = _Section(project, _configured(project))
    items = top.sections("carriers", first="name", example="acme")
    if len(items) > bounds.MOST_CARRIERS:
        top.refuse(
            f"carriers[{bounds.MOST_CARRIERS}]", f"is one too many, a stack has {bounds.MOST_CARRIERS} at most", None
        )
    names = [item.text("name", _CARRIER_NAME) for item in items]
    top.refuse_unknown([*_KEYS, *(f"{name}Secret" for name in names)])
    protect = top.flag("protect", default=True)
    mocked = top.flag("mockCarrier", default=False)
    if mocked and protect:
        top.refuse("mockCarrier", "would open a URL to everybody, which no stack with protect may have", "false")
    carriers = [_carrier(scope, top, item, mocked=mocked) for item in items]
    _refuse_repeats(items, "name", names)
    _refuse_repeats(items, "principal", [caller_of(carrier.principal_arn) for carrier in carriers])
    if not any(carrier.enabled for carrier in carriers):
        items[0].refuse("enabled", "leaves no carrier that an order could go to", "true")
    throttle = top.section("throttle", _THROTTLE_KEYS)
    return Settings(
        scope=scope,
        compute=Compute(
            runtime=top.choice("runtime", bounds.RUNTIMES, default="python3.13"),
            log_retention_days=top.number("logRetentionDays", bounds.RETENTIONS, default=365),
            reserved_concurrency=top.number("reservedConcurrency", bounds.CONCURRENCY, default=None),
        ),
        clients=[_principal_arn(scope, client) for client in top.texts("clients", _PRINCIPAL)],
        carriers=carriers,
        throttle=Throttle(
            rate=throttle.number("rate", bounds.RATES, default=50),
            burst=throttle.number("burst", bounds.BURSTS, default=100),
        ),
        protect=protect,
        alarm_email=top.text("alarmEmail", _EMAIL) if top.has("alarmEmail") else None,
        manage_account=top.flag("manageApiGatewayAccount", default=False),
    )


def _carrier(scope: Scope, top: _Section, item: _Section, *, mocked: bool) -> Carrier:
    item.refuse_unknown(_CARRIER_KEYS)
    name = item.text("name", _CARRIER_NAME)
    kind = item.choice("auth", ("apiKey", "basic"))
    wanted, other = ("user", "keyName") if kind == "basic" else ("keyName", "user")
    if item.has(other):
        item.refuse(other, f"does not go with auth {kind}, which has {wanted}", None)
    if mocked and not item.has("endpoint"):
        if kind != "basic":
            item.refuse("auth", "must be basic for the mock carrier", "basic")
        if item.has("principal"):
            item.refuse("principal", "is the mock carrier's own role where there is no endpoint", None)
        endpoint, principal_arn = None, scope.role_arn(mock_carrier_role(name))
    else:
        endpoint, principal_arn = item.url("endpoint"), _principal_arn(scope, item.text("principal", _PRINCIPAL))
    return Carrier(
        name=name,
        endpoint=endpoint,
        credential=Credential(
            type="basic" if kind == "basic" else "apiKey",
            name=item.text(wanted, _CREDENTIAL_NAME),
            secret=top.secret(f"{name}Secret"),
        ),
        principal_arn=principal_arn,
        rate_limit=item.number("rateLimit", bounds.RATE_LIMITS, default=20),
        confirm_within=item.number("confirmWithin", bounds.CONFIRM_HOURS, default=24),
        enabled=item.flag("enabled", default=True),
    )


def _principal_arn(scope: Scope, principal: str) -> str:
    return principal if principal.startswith("arn:") else scope.principal_arn(principal)


def _refuse_repeats(items: list[_Section], key: str, values: list[str]) -> None:
    for index, value in enumerate(values):
        if value in values[:index]:
            first = values.index(value)
            items[index].refuse(key, f"is also that of carriers[{first}], and has to tell them apart", f"another-{key}")


def _region() -> str:
    region, native = pulumi.Config("aws").get("region"), pulumi.Config("aws-native").get("region")
    if not region or not re.fullmatch(r"[a-z]{2}(-[a-z]+)+-[0-9]", region):
        raise SettingsError("aws:region must be the name of a region: `pulumi config set aws:region eu-west-1`")
    if native and native != region:
        raise SettingsError(
            f"aws-native:region is {native} while aws:region is {region}, and a stack lives in one region: "
            f"`pulumi config rm aws-native:region`"
        )
    return region


def _configured(project: str) -> dict[str, Any]:
    """What the stack says under the project's name; the engine hands lists and objects over as JSON."""
    values: dict[str, Any] = {}
    for key, text in CONFIG.get().items():
        namespace, _, name = key.partition(":")
        if namespace == project:
            values[name] = _parsed(text) if name in _STRUCTURED else text
    return values


def _parsed(text: str) -> Any:
    """A list or an object; what is neither stays the text it is, and is refused as such."""
    try:
        return json.loads(text)
    except ValueError:
        return text


_REQUIRED: Any = object()


class _Section:
    """One object of the configuration; every refusal says which key it is about."""

    def __init__(self, project: str, values: dict[str, Any], path: str = "") -> None:
        self._project, self._values, self._path = project, values, path

    def refuse(self, key: str, problem: str, example: str | None) -> NoReturn:
        """One sentence: the key, what is wrong, and the command that mends it; without an example, the key goes."""
        where = f"{self._project}:{self._path}{key}"
        name = f"--path '{where}'" if {"[", "."} & set(where) else where
        command = f"pulumi config rm {name}" if example is None else f"pulumi config set {name} {example}"
        file = f"Pulumi.{pulumi.get_stack()}.yaml"
        raise SettingsError(f"{where} {problem}: edit {file}, or `{command}`")

    def refuse_unknown(self, known: Iterable[str]) -> None:
        names = list(known)
        for key in self._values:
            if key not in names:
                near = difflib.get_close_matches(key, names, n=1)
                known_are = f"the nearest is {near[0]}" if near else f"there are {', '.join(names)}"
                self.refuse(key, f"is no setting, {known_are}", None)

    def has(self, key: str) -> bool:
        return self._values.get(key) is not None

    def section(self, key: str, known: tuple[str, ...]) -> _Section:
        """An object within this one; an absent one has no keys."""
        value = self._values.get(key, {})
        if not isinstance(value, dict):
            self.refuse(key, f"must be an object of {' and '.join(known)}", None)
        section = _Section(self._project, value, f"{self._path}{key}.")
        section.refuse_unknown(known)
        return section

    def sections(self, key: str, *, first: str, example: str) -> list[_Section]:
        """The objects of a list that has at least one."""
        found: list[_Section] = []
        for index, value in enumerate(self._list(key, f"[0].{first}", example)):
            if not isinstance(value, dict):
                self.refuse(f"{key}[{index}]", "must be an object", None)
            found.append(_Section(self._project, value, f"{self._path}{key}[{index}]."))
        return found

    def texts(self, key: str, form: _Form) -> list[str]:
        """The texts of a list that has at least one."""
        values = self._list(key, "[0]", form.example)
        items = _Section(self._project, {f"{key}[{index}]": value for index, value in enumerate(values)}, self._path)
        return [items.text(f"{key}[{index}]", form) for index in range(len(values))]

    def text(self, key: str, form: _Form) -> str:
        value = self._get(key, form.example, _REQUIRED)
        if not isinstance(value, str) or not form.pattern.fullmatch(value):
            self.refuse(key, f"must be {form.words}", form.example)
        return value

    def choice(self, key: str, choices: tuple[str, ...], default: str = _REQUIRED) -> str:
        value = self._get(key, choices[-1], default)
        if value not in choices:
            self.refuse(key, f"must be {' or '.join(choices)}", choices[-1])
        return value

    def flag(self, key: str, *, default: bool) -> bool:
        value = self._get(key, "true", default)
        if not isinstance(value, bool) and value not in ("true", "false"):
            self.refuse(key, "must be true or false", str(default).lower())
        return value in (True, "true")

    def number(self, key: str, allowed: bounds.Numbers, default: Any) -> Any:
        """A whole number, or the default; one on the top level arrives as text."""
        value = self._get(key, str(allowed[0]), default)
        if value is default:
            return value
        number = int(value) if isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}", value) else value
        if not bounds.number_within(number, allowed):
            self.refuse(key, f"must be {bounds.words(allowed)}", str(default or allowed[0]))
        return number

    def url(self, key: str) -> str:
        value = self._get(key, _URL.example, _REQUIRED)
        try:
            parts = urlsplit(value if isinstance(value, str) else "")
            usable = parts.scheme == "https" and parts.hostname and parts.port != 0
        except ValueError:  # an impossible port, or half an IPv6 address
            self.refuse(key, f"must be {_URL.words}", _URL.example)
        if not usable or {"@", "?", "#"} & set(value) or not _URL.pattern.fullmatch(value):
            self.refuse(key, f"must be {_URL.words}", _URL.example)
        return value.rstrip("/")

    def secret(self, key: str) -> pulumi.Output[str]:
        """A value that the stack's file holds encrypted."""
        where = f"{self._project}:{key}"
        command = f"enter it with `pulumi config set --secret {where}`"
        if not self._values.get(key):
            raise SettingsError(f"{where} is missing: {command}")
        if not is_config_secret(where):
            raise SettingsError(f"{where} is not encrypted, so change it and {command}")
        return pulumi.Config(self._project).require_secret(key)

    def _list(self, key: str, first: str, example: str) -> list[Any]:
        value = self._get(key, example, [])
        if not isinstance(value, list):
            self.refuse(f"{key}{first}", "must be an item of a list", example)
        if not value:
            self.refuse(f"{key}{first}", "is missing, there has to be one at least", example)
        return value

    def _get(self, key: str, example: str, default: Any) -> Any:
        value = self._values.get(key)
        if value is None:
            value = default
        if value is _REQUIRED:
            self.refuse(key, "is missing", example)
        return value
