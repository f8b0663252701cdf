"""What each rule accepts, and one mutant per claim: the smallest change to accepted inputs that it must refuse."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

from tests.policy.engine import NOT_YET, Secret

CANARY = "canary-7d1f0b6c52"

CLASSIC_DESTINATION = "aws:cloudwatch/eventApiDestination:EventApiDestination"
NATIVE_DESTINATION = "aws-native:events:ApiDestination"
CLASSIC_CONNECTION = "aws:cloudwatch/eventConnection:EventConnection"
NATIVE_CONNECTION = "aws-native:events:Connection"

RATE = "api-destination-rate-limit"
SECRET = "connection-credentials-secret"

RATE_LIMIT = "invocationRateLimitPerSecond"


def _parameter(*, said: bool | None = None) -> dict[str, Any]:
    flag = {} if said is None else {"isValueSecret": said}
    return {"key": "x-tenant", "value": Secret(CANARY), **flag}


def _parameters(names: tuple[str, str, str]) -> dict[str, Any]:
    return {name: [_parameter(), _parameter(said=True)] for name in names}


_CLASSIC_LISTS = ("headers", "queryStrings", "bodies")
_NATIVE_LISTS = ("headerParameters", "queryStringParameters", "bodyParameters")

# Every way to pass a credential at once. AWS takes one authorization type each; a rule must not rely on that.
GOOD: dict[str, dict[str, dict[str, Any]]] = {
    RATE: {
        type_: {
            "name": "carrier",
            "connectionArn": NOT_YET,
            "httpMethod": "POST",
            "invocationEndpoint": "https://carrier.example/orders",
            "invocationRateLimitPerSecond": 20,
        }
        for type_ in (CLASSIC_DESTINATION, NATIVE_DESTINATION)
    },
    SECRET: {
        CLASSIC_CONNECTION: {
            "name": "carrier",
            "authorizationType": "BASIC",
            "authParameters": {
                "basic": {"username": "gateway", "password": Secret(CANARY)},
                "apiKey": {"key": "x-api-key", "value": Secret(CANARY)},
                "oauth": {
                    "authorizationEndpoint": "https://carrier.example/token",
                    "httpMethod": "POST",
                    "clientParameters": {"clientId": "gateway", "clientSecret": Secret(CANARY)},
                    "oauthHttpParameters": _parameters(_CLASSIC_LISTS),
                },
                "invocationHttpParameters": _parameters(_CLASSIC_LISTS),
            },
        },
        NATIVE_CONNECTION: {
            "name": "carrier",
            "authorizationType": "BASIC",
            "authParameters": {
                "basicAuthParameters": {"username": "gateway", "password": Secret(CANARY)},
                "apiKeyAuthParameters": {"apiKeyName": "x-api-key", "apiKeyValue": Secret(CANARY)},
                "oAuthParameters": {
                    "authorizationEndpoint": "https://carrier.example/token",
                    "httpMethod": "POST",
                    "clientParameters": {"clientId": "gateway", "clientSecret": Secret(CANARY)},
                    "oAuthHttpParameters": _parameters(_NATIVE_LISTS),
                },
                "invocationHttpParameters": _parameters(_NATIVE_LISTS),
            },
        },
    },
}

# Where `GOOD` passes credentials: those that an authorization type needs, and the parameters that may be secret.
CREDENTIALS = {
    CLASSIC_CONNECTION: {
        "BASIC": "authParameters.basic.password",
        "API_KEY": "authParameters.apiKey.value",
        "OAUTH_CLIENT_CREDENTIALS": "authParameters.oauth.clientParameters.clientSecret",
    },
    NATIVE_CONNECTION: {
        "BASIC": "authParameters.basicAuthParameters.password",
        "API_KEY": "authParameters.apiKeyAuthParameters.apiKeyValue",
        "OAUTH_CLIENT_CREDENTIALS": "authParameters.oAuthParameters.clientParameters.clientSecret",
    },
}
PARAMETERS = {
    CLASSIC_CONNECTION: [
        f"authParameters.{of}.{name}[{index}].value"
        for of in ("oauth.oauthHttpParameters", "invocationHttpParameters")
        for name in _CLASSIC_LISTS
        for index in (0, 1)
    ],
    NATIVE_CONNECTION: [
        f"authParameters.{of}.{name}[{index}].value"
        for of in ("oAuthParameters.oAuthHttpParameters", "invocationHttpParameters")
        for name in _NATIVE_LISTS
        for index in (0, 1)
    ],
}
AS_A_SECRET = "as a secret, for example from config.require_secret(...)"


def plaintext(place: str) -> str:
    """What the rule says to a credential that is no secret."""
    escape = ", or say isValueSecret=False if anybody may read it" if place.endswith("].value") else ""
    return f"pass {place} {AS_A_SECRET}{escape}"


def _steps(place: str) -> list[str | int]:
    return [int(step) if step.isdigit() else step for step in place.replace("[", ".").replace("]", "").split(".")]


def put(inputs: dict[str, Any], place: str, value: Any) -> dict[str, Any]:
    """A copy with another value at the place, secrets on the way left as they are."""
    inputs = copy.deepcopy(inputs)
    *way, last = _steps(place)
    node: Any = inputs
    for step in way:
        node = node[step]
    node[last] = value(node[last]) if callable(value) else value
    return inputs


def drop(inputs: dict[str, Any], place: str) -> dict[str, Any]:
    """A copy without the place."""
    inputs = copy.deepcopy(inputs)
    *way, last = _steps(place)
    node: Any = inputs
    for step in way:
        node = node[step]
    del node[last]
    return inputs


def places(value: Any, at: str = "") -> list[str]:
    """Every place in the inputs, from the root down."""
    if isinstance(value, dict):
        below = [(f"{at}.{name}".removeprefix("."), item) for name, item in value.items()]
    elif isinstance(value, list):
        below = [(f"{at}[{index}]", item) for index, item in enumerate(value)]
    else:
        return []
    return [place for here, item in below for place in (here, *places(item, here))]


@dataclass(frozen=True)
class Mutant:
    """A change that one rule refuses with one message."""

    rule: str
    claim: str
    type: str
    inputs: dict[str, Any]
    message: str


def _rates() -> list[Mutant]:
    missing = "set invocationRateLimitPerSecond: without it the endpoint is called up to 300 times a second"
    not_whole = "set invocationRateLimitPerSecond to a whole number"
    too_low = "raise invocationRateLimitPerSecond to 1 or more"
    too_high = "lower invocationRateLimitPerSecond to 300 or less"
    limits: dict[str, tuple[Any, str]] = {
        "null": (None, missing),
        "zero": (0, too_low),
        "negative": (-20, too_low),
        "too fast": (301, too_high),
        "a fraction": (0.5, not_whole),
        "a word": (CANARY, not_whole),
        "a number as text": ("20", not_whole),
        "yes": (True, not_whole),
        "a list": ([20], not_whole),
        "a structure": ({"limit": 20}, not_whole),
    }
    mutants: list[Mutant] = []
    for type_, good in GOOD[RATE].items():
        filled_in = {**good, RATE_LIMIT: 300, "__defaults": [RATE_LIMIT]}
        mutants += [
            Mutant(RATE, "no limit", type_, drop(good, RATE_LIMIT), missing),
            Mutant(RATE, "a limit that the provider filled in", type_, filled_in, missing),
            *(
                Mutant(RATE, claim, type_, put(good, RATE_LIMIT, limit), says)
                for claim, (limit, says) in limits.items()
            ),
        ]
    return mutants


def _credentials() -> list[Mutant]:
    mutants: list[Mutant] = []
    for type_, good in GOOD[SECRET].items():
        for place in (*CREDENTIALS[type_].values(), *PARAMETERS[type_]):
            for claim, literal in {"text": CANARY, "empty": "", "a number": 12345, "part": f"Bearer {CANARY}"}.items():
                mutants.append(
                    Mutant(SECRET, f"{claim} at {place}", type_, put(good, place, literal), plaintext(place))
                )
        for authorization, place in CREDENTIALS[type_].items():
            mutants.append(
                Mutant(
                    SECRET,
                    f"{authorization} without {place}",
                    type_,
                    put(drop(good, place), "authorizationType", authorization),
                    f"give the connection its {place}, {AS_A_SECRET}",
                )
            )
        place = PARAMETERS[type_][0]
        flags = {
            "as text": {"isValueSecret": "false"},
            "as a number": {"isValueSecret": 0},
            "null": {"isValueSecret": None},
            "from the provider": {"isValueSecret": False, "__defaults": ["isValueSecret"]},
        }
        for claim, flag in flags.items():
            parameter = {"key": "x-tenant", "value": CANARY, **flag}
            inputs = put(good, place.removesuffix(".value"), parameter)
            mutants.append(Mutant(SECRET, f"isValueSecret {claim}", type_, inputs, plaintext(place)))
    return mutants


MUTANTS = [*_rates(), *_credentials()]
