"""API destinations and connections: what is accepted, and the smallest changes that must be refused."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from tests.policy.engine import NOT_YET, Secret
from tests.policy.programs import Mutant, Program, Thing, drop, put

CANARY = "canary-7d1f0b6c52"

CLASSIC_DESTINATION = "aws:cloudwatch/eventApiDestination:EventApiDestination"
NATIVE_DESTINATION = "aws-native:events:ApiDestination"
CLASSIC_CONNECTION = "aws:cloudwatch/eventConnection:EventConnection"
NATIVE_CONNECTION = "aws-native:events:Connection"

RATE = "api-destination-rate-limit"
SECRET = "connection-credentials-secret"
ENDPOINT = "api-destination-endpoint-safe"
AUTHORIZATION = "connection-authorization-allowed"
STRONG = "connection-credentials-strong"

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
            "authorizationType": "API_KEY",
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
            "authorizationType": "API_KEY",
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
ENDPOINTS = {
    CLASSIC_DESTINATION: "invocationEndpoint",
    NATIVE_DESTINATION: "invocationEndpoint",
    CLASSIC_CONNECTION: "authParameters.oauth.authorizationEndpoint",
    NATIVE_CONNECTION: "authParameters.oAuthParameters.authorizationEndpoint",
}
AS_A_SECRET = "as a secret, for example from config.require_secret(...)"


def plaintext(place: str) -> str:
    """What the rule says to a credential that is no secret."""
    escape = ", or say isValueSecret=False if anybody may read it" if place.endswith("].value") else ""
    return f"pass {place} {AS_A_SECRET}{escape}"


def credential(place: str, by: str = "key") -> str:
    """What it says to a parameter that is told openly and is one by its key or its value."""
    return f"pass {place} {AS_A_SECRET}, and leave out isValueSecret: by its {by} it is a credential"


@dataclass(frozen=True)
class Wrong:
    """Inputs of one resource that one rule refuses with one message."""

    rule: str
    claim: str
    type: str
    inputs: dict[str, Any]
    message: str
    hinges: tuple[str, ...] = ()


def _flag(place: str) -> tuple[str, ...]:
    """What decides whether a parameter has to be a secret at all."""
    return (f"{place.removesuffix('value')}isValueSecret",) if place.endswith("].value") else ()


def _rates() -> list[Wrong]:
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
    mutants: list[Wrong] = []
    for type_, good in GOOD[RATE].items():
        filled_in = {**good, RATE_LIMIT: 300, "__defaults": [RATE_LIMIT]}
        mutants += [
            Wrong(RATE, "no limit", type_, drop(good, RATE_LIMIT), missing),
            Wrong(RATE, "a limit that the provider filled in", type_, filled_in, missing),
            *(Wrong(RATE, claim, type_, put(good, RATE_LIMIT, limit), says) for claim, (limit, says) in limits.items()),
        ]
    return mutants


def _credentials() -> list[Wrong]:
    mutants: list[Wrong] = []
    for type_, good in GOOD[SECRET].items():
        for place in (*CREDENTIALS[type_].values(), *PARAMETERS[type_]):
            for claim, literal in {"text": CANARY, "empty": "", "a number": 12345, "part": f"Bearer {CANARY}"}.items():
                mutants.append(
                    Wrong(
                        SECRET, f"{claim} at {place}", type_, put(good, place, literal), plaintext(place), _flag(place)
                    )
                )
        for authorization, place in CREDENTIALS[type_].items():
            if authorization == "BASIC":  # which another rule refuses as well
                continue
            mutants.append(
                Wrong(
                    SECRET,
                    f"{authorization} without {place}",
                    type_,
                    put(drop(good, place), "authorizationType", authorization),
                    f"give the connection its {place}, {AS_A_SECRET}",
                    ("authorizationType",),
                )
            )
        for place in PARAMETERS[type_]:
            parameter = place.removesuffix(".value")
            inputs = put(good, parameter, {"key": "Authorization", "value": CANARY, "isValueSecret": False})
            hinges = (*_flag(place), f"{parameter}.key")
            mutants.append(Wrong(SECRET, f"an open credential at {place}", type_, inputs, credential(place), hinges))
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
            mutants.append(Wrong(SECRET, f"isValueSecret {claim}", type_, inputs, plaintext(place), _flag(place)))
    return mutants


def _endpoints() -> list[Wrong]:
    insecure = "begin {} with https://"
    userinfo = "take the credentials out of {}: they belong into {}"
    named = "name the host in {} as others know it: no certificate vouches for an address or for localhost"
    endpoints: dict[str, tuple[Any, str]] = {
        "plain HTTP": ("http://carrier.example/orders", insecure),
        "no scheme": ("carrier.example/orders", insecure),
        "no text": (7, insecure),
        "a user": ("https://gateway@carrier.example/orders", userinfo),
        "a user and a password": (f"https://gateway:{CANARY}@carrier.example/orders", userinfo),
        "a token": (f"https://carrier.example/orders?version=2&token={CANARY}", userinfo),
        "a key": (f"https://carrier.example/orders?apiKey={CANARY}#top", userinfo),
        "a token in other words": (f"https://carrier.example/orders?acc%65ss_token={CANARY}", userinfo),
        "a signature": (f"https://carrier.example/orders?sig={CANARY}", userinfo),
        "the key of a function of Azure": (f"https://carrier.azurewebsites.net/api/orders?code={CANARY}", userinfo),
        "a key that shows": ("https://carrier.example/orders?key=AIzaSyC4n4ryC4n4ry", userinfo),
        "an address": ("https://192.0.2.7/orders", named),
        "an address in short": ("https://127.1/orders", named),
        "an address as a number": ("https://2130706433/orders", named),
        "an address in hexadecimal": ("https://0x7F000001/orders", named),
        "an address of several bases": ("https://127.0.0.0x/orders", named),
        "an address in octal": ("https://0177.0.0.01/orders", named),
        "an address with the root's dot": ("https://127.0.0.1./orders", named),
        "an address in escapes": ("https://127%2e0.0.%31/orders", named),
        "the address of this very machine": ("https://[::1]/orders", named),
        "an address of IPv6": ("https://[2001:db8::7]:8443/orders", named),
        "this very machine": ("https://localhost:8443/orders", named),
        "this very machine with the root's dot": ("https://localhost./orders", named),
        "this very machine by another name": ("https://carrier.LocalHost/orders", named),
        "no URL": ("https://[carrier.example/orders", "set {} to a URL"),
    }
    return [
        Wrong(
            ENDPOINT, claim, type_, put(good, ENDPOINTS[type_], endpoint), message.format(ENDPOINTS[type_], elsewhere)
        )
        for goods, elsewhere in ((GOOD[RATE], "the connection"), (GOOD[SECRET], "its HTTP parameters"))
        for type_, good in goods.items()
        for claim, (endpoint, message) in endpoints.items()
    ]


def _authorizations() -> list[Wrong]:
    message = "set authorizationType to one that is allowed: API_KEY, OAUTH_CLIENT_CREDENTIALS"
    return [
        Wrong(AUTHORIZATION, f"{authorization!r}", type_, put(good, "authorizationType", authorization), message)
        for type_, good in GOOD[SECRET].items()
        for authorization in ("BASIC", "basic", 7, ["API_KEY"])
    ]


WEAK: dict[str, Any] = {
    "15 characters": "k7Qw2ZpX9mL4vB8",
    "nothing": "",
    "a well-known text": "passwordpassword",
    "a well-known text in capitals": "CHANGEMECHANGEME",
    "three characters over and over": "abcabcabcabcabcabc",
    "a number": 1234567890123456,
}


def weak(place: str) -> str:
    """What the rule says of a credential that can be guessed."""
    return f"replace {place} by a random text of 16 characters or more"


def _weak_credentials() -> list[Wrong]:
    return [
        Wrong(STRONG, f"{claim} at {place}", type_, put(good, place, Secret(value)), weak(place))
        for type_, good in GOOD[SECRET].items()
        for place in CREDENTIALS[type_].values()
        for claim, value in WEAK.items()
    ]


WRONG = [*_rates(), *_credentials(), *_endpoints(), *_authorizations(), *_weak_credentials()]

BASES = {
    type_: [Thing(type=type_, name="thing", inputs=good)] for goods in GOOD.values() for type_, good in goods.items()
}
MUTANTS = [
    Mutant(
        rule=wrong.rule,
        claim=wrong.claim,
        base=wrong.type,
        change=partial(Program.replace, type_=wrong.type, name="thing", inputs=wrong.inputs),
        message=wrong.message,
        hinges=wrong.hinges,
    )
    for wrong in WRONG
]
_BASIC = {
    "name": "carrier",
    "authorizationType": "BASIC",
    "authParameters": {"basic": {"username": "gateway", "password": Secret(CANARY)}},
}
MUTANTS.append(
    Mutant(
        rule=AUTHORIZATION,
        claim="BASIC for a carrier that is no mock",
        change=partial(Program.replace, type_=CLASSIC_CONNECTION, name="globex-orders", inputs=_BASIC),
        message="set authorizationType to one that is allowed: API_KEY, OAUTH_CLIENT_CREDENTIALS",
    )
)
