"""Rules for what leaves the bus: API destinations, and the credentials that their connections hold."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

from pulumi_policy import Severity

from policy.props import MISSING, UNKNOWN, Path, spell, whole
from policy.rule import Control, Examined, Group, Rule, Texts, Whole
from policy.rules.secrets import is_no_secret, names_a_secret, shows_a_secret

if TYPE_CHECKING:
    from collections.abc import Iterator

    from policy.subject import Subject

RATE_LIMIT = "invocationRateLimitPerSecond"
# What a provider puts in place of no limit, before the pack sees the inputs. AWS does the same later, on its own.
FILLED_IN = {"aws:cloudwatch/eventApiDestination:EventApiDestination": 300}


def rate_limited(destination: Subject) -> Iterator[str]:
    """The limit is chosen, not the 300 that AWS and the classic provider put in place of none, and within bounds."""
    lowest, highest = destination.settings["minimum"], destination.settings["maximum"]
    if lowest > highest:
        yield "configure 'minimum' of api-destination-rate-limit no higher than its 'maximum'"
        return
    limit = destination.judge(RATE_LIMIT)
    if limit is UNKNOWN:
        return
    if limit is MISSING or destination.defaulted(RATE_LIMIT):
        yield "set invocationRateLimitPerSecond: without it the endpoint is called up to 300 times a second"
    elif (rate := whole(limit)) is None:
        yield "set invocationRateLimitPerSecond to a whole number"
    elif rate < lowest:
        yield f"raise invocationRateLimitPerSecond to {lowest} or more"
    elif rate > highest:
        yield f"lower invocationRateLimitPerSecond to {highest} or less"
    elif rate == FILLED_IN.get(destination.type) and not destination.examined:
        yield (
            f"choose another limit than {rate}, or run api-destination-rate-limit at level 'remediate': "
            "only there it shows whether the program chose this limit or the provider"
        )


class Credentials(NamedTuple):
    """Where a provider's connection resource holds them."""

    by_authorization: dict[str, str]
    parameters: tuple[str, ...]  # lists of {key, value, isValueSecret}


CONNECTIONS = {
    "aws:cloudwatch/eventConnection:EventConnection": Credentials(
        by_authorization={
            "BASIC": "authParameters.basic.password",
            "API_KEY": "authParameters.apiKey.value",
            "OAUTH_CLIENT_CREDENTIALS": "authParameters.oauth.clientParameters.clientSecret",
        },
        parameters=(
            "authParameters.oauth.oauthHttpParameters.headers",
            "authParameters.oauth.oauthHttpParameters.queryStrings",
            "authParameters.oauth.oauthHttpParameters.bodies",
            "authParameters.invocationHttpParameters.headers",
            "authParameters.invocationHttpParameters.queryStrings",
            "authParameters.invocationHttpParameters.bodies",
        ),
    ),
    "aws-native:events:Connection": Credentials(
        by_authorization={
            "BASIC": "authParameters.basicAuthParameters.password",
            "API_KEY": "authParameters.apiKeyAuthParameters.apiKeyValue",
            "OAUTH_CLIENT_CREDENTIALS": "authParameters.oAuthParameters.clientParameters.clientSecret",
        },
        parameters=(
            "authParameters.oAuthParameters.oAuthHttpParameters.headerParameters",
            "authParameters.oAuthParameters.oAuthHttpParameters.queryStringParameters",
            "authParameters.oAuthParameters.oAuthHttpParameters.bodyParameters",
            "authParameters.invocationHttpParameters.headerParameters",
            "authParameters.invocationHttpParameters.queryStringParameters",
            "authParameters.invocationHttpParameters.bodyParameters",
        ),
    ),
}


# Where each type has a URL that EventBridge calls: a connection has the one that it sends its client secret to.
ENDPOINTS = {
    "aws:cloudwatch/eventApiDestination:EventApiDestination": "invocationEndpoint",
    "aws:cloudwatch/eventConnection:EventConnection": "authParameters.oauth.authorizationEndpoint",
    "aws-native:events:ApiDestination": "invocationEndpoint",
    "aws-native:events:Connection": "authParameters.oAuthParameters.authorizationEndpoint",
}


def endpoint_safe(resource: Subject) -> Iterator[str]:
    """Events and credentials go to a host by its name, over TLS. The providers refuse a destination without one."""
    where = ENDPOINTS[resource.type]
    endpoint = resource.judge(where)
    if endpoint is UNKNOWN or endpoint is MISSING:
        return
    try:
        url = urlsplit(endpoint if isinstance(endpoint, str) else "")
        host = unquote(url.hostname or "").casefold()
    except ValueError:  # brackets around what is no address
        yield f"set {where} to a URL"
        return
    if url.scheme != "https":
        yield f"begin {where} with https://"
    if url.username is not None or any(_authorises(host, name, value) for name, value in parse_qsl(url.query)):
        yield f"take the credentials out of {where}: they belong into {_ELSEWHERE[resource.type in CONNECTIONS]}"
    if _NOT_NAMED.fullmatch(host):
        yield f"name the host in {where} as others know it: no certificate vouches for an address or for localhost"


_ELSEWHERE = ("the connection", "its HTTP parameters")


def _authorises(host: str, name: str, value: str) -> bool:
    """Whether a parameter of a URL is a credential; a function of Azure has its key as `code`."""
    return _is_credential(name, value) or (name.casefold() == "code" and host.endswith(".azurewebsites.net"))


# By the URL standard a host is an address of IPv4, in any of its spellings, if its last part is a number, be it in
# hexadecimal, and one of IPv6 if it has colons.
_NOT_NAMED = re.compile(r"(?:.*\.)?(?:localhost|\d+|0x[\da-f]*)\.?|.*:.*", re.DOTALL)


# Headers that authorise or carry a session, of Azure and Cloudflare too, and what signs a URL.
_CREDENTIALS = frozenset(
    {
        "authorization",
        "cookie",
        "ocp-apim-subscription-key",
        "proxy-authorization",
        "sig",
        "signature",
        "x-amz-signature",
        "x-auth-key",
        "x-functions-key",
    }
)


def _is_credential(name: Any, value: Any) -> bool:
    """Whether a header, a parameter or a field authorises: by its value, or by its name unless the value can't."""
    if shows_a_secret(value):
        return True
    if not isinstance(name, str) or not (name.casefold() in _CREDENTIALS or names_a_secret(name)):
        return False
    return not is_no_secret(name, value)


AUTHORIZATIONS = ("API_KEY", "BASIC", "OAUTH_CLIENT_CREDENTIALS")


def authorization_allowed(connection: Subject) -> Iterator[str]:
    """The authorization type is one that is allowed. The providers refuse a connection without a type."""
    authorization = connection.judge("authorizationType")
    allowed = connection.settings["allowed"]
    if authorization is not UNKNOWN and authorization is not MISSING and authorization not in allowed:
        yield f"set authorizationType to one that is allowed: {', '.join(allowed) or 'none'}"


# SHA-256 of what is long enough and yet on every list, after `casefold`: from the top of the lists of leaked passwords,
# and the placeholders of manuals.
DENIED = tuple(
    hashlib.sha256(text.encode()).hexdigest()
    for text in ("passwordpassword", "changemechangeme", "1234567890123456", "correcthorsebatterystaple")
)


def credentials_strong(connection: Subject) -> Iterator[str]:
    """Each credential that one authorises with is long and no well-known one.

    What is known to be no secret is left to `connection-credentials-secret`.
    """
    shortest, denied = connection.settings["minimumLength"], frozenset(connection.settings["denied"])
    for own in CONNECTIONS[connection.type].by_authorization.values():
        for path, credential in connection.each(own):
            if credential is UNKNOWN:
                connection.deferred(path)
                continue
            connection.decided(path)
            if connection.examined and not connection.secret(path):
                continue
            if _weak(credential, shortest, denied):
                yield f"replace {spell(path)} by a random text of {shortest} characters or more"


# A random text of 16 hexadecimal digits has fewer different ones once in a thousand million.
FEWEST_DIFFERENT = 4


def _weak(credential: Any, shortest: int, denied: frozenset[str]) -> bool:
    if not isinstance(credential, str) or len(credential) < shortest:
        return True
    digest = hashlib.sha256(credential.casefold().encode(errors="surrogatepass")).hexdigest()
    return digest in denied or len(set(credential)) < FEWEST_DIFFERENT


def credentials_secret(connection: Subject) -> Iterator[str]:
    """Every credential is a Pulumi secret, whatever the authorization type; the type's own one is there."""
    where = CONNECTIONS[connection.type]
    authorization = connection.get("authorizationType")
    for type_, own in where.by_authorization.items():
        found = list(connection.each(own))
        for path, credential in found:
            if _plaintext(connection, path, credential):
                yield f"pass {spell(path)} as a secret, for example from config.require_secret(...)"
        if not found and authorization == type_:
            # AWS would refuse this as well; to pass it would be to vouch for a credential that nobody has seen.
            connection.decided(own)
            yield f"give the connection its {own}, as a secret, for example from config.require_secret(...)"
        elif not found and authorization is UNKNOWN:
            connection.deferred(own)
    for parameters in where.parameters:
        for path, value in connection.each(f"{parameters}[].value"):
            flag: Path = (*path[:-1], "isValueSecret")
            # AWS takes a parameter without the flag for a secret one; False counts only if the program says it.
            secret = MISSING if connection.defaulted(flag) else connection.get(flag)
            if secret is False:
                yield from _open(connection, path, value)
            elif _plaintext(connection, path, UNKNOWN if secret is UNKNOWN else value):
                yield (
                    f"pass {spell(path)} as a secret, for example from config.require_secret(...), "
                    "or say isValueSecret=False if anybody may read it"
                )


def _open(connection: Subject, path: Path, value: Any) -> Iterator[str]:
    """Anybody may read a parameter that the program says is no secret, if its key says no other."""
    key = connection.get((*path[:-1], "key"))
    if key is UNKNOWN or (value is UNKNOWN and _is_credential(key, value)):
        connection.deferred(path)
        return
    connection.decided(path)
    if _is_credential(key, value):
        yield (
            f"pass {spell(path)} as a secret, for example from config.require_secret(...), "
            f"and leave out isValueSecret: by its {'value' if shows_a_secret(value) else 'key'} it is a credential"
        )


def _plaintext(connection: Subject, path: Path, credential: Any) -> bool:
    if connection.secret(path):
        connection.decided(path)
        return False
    if credential is UNKNOWN:
        connection.deferred(path)
        return False
    connection.decided(path)
    return True


RULES = (
    Rule(
        name="api-destination-rate-limit",
        why="Whoever is called by an API destination is called no faster than was agreed.",
        fix="Set invocationRateLimitPerSecond of the API destination to what the endpoint can take.",
        severity=Severity.HIGH,
        group=Group.GATEWAY,
        frameworks=(
            Control(framework="CWE", reference="770"),
            Control(framework="OWASP API Security Top 10", version="2023", reference="API4"),
        ),
        types=frozenset({"aws:cloudwatch/eventApiDestination:EventApiDestination", "aws-native:events:ApiDestination"}),
        check=rate_limited,
        settings={
            "minimum": Whole(default=1, minimum=1, why="The lowest limit that is accepted."),
            "maximum": Whole(default=300, minimum=1, why="The highest limit; above 300 AWS has to raise a quota."),
        },
        examined=Examined.IF_POSSIBLE,
        url="https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-api-destinations.html",
    ),
    Rule(
        name="connection-credentials-secret",
        why="The credentials of an EventBridge connection are encrypted wherever Pulumi keeps or shows them.",
        fix="Pass the credential as a secret output, for example from config.require_secret(...).",
        severity=Severity.CRITICAL,
        group=Group.GATEWAY,
        frameworks=(
            Control(framework="CWE", reference="312"),
            Control(framework="NIST SP 800-53", version="5", reference="IA-5(7)"),
        ),
        types=frozenset(CONNECTIONS),
        check=credentials_secret,
        examined=Examined.REQUIRED,
        url="https://www.pulumi.com/docs/iac/concepts/secrets/",
    ),
    Rule(
        name="api-destination-endpoint-safe",
        why="What an API destination sends, and a connection to get a token, is read by the host that was meant alone.",
        fix="Set invocationEndpoint, or authorizationEndpoint, to an https URL of a named host, without credentials.",
        severity=Severity.HIGH,
        group=Group.GATEWAY,
        frameworks=(Control(framework="CWE", reference="319"), Control(framework="CWE", reference="522")),
        types=frozenset(ENDPOINTS),
        check=endpoint_safe,
        url="https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_CreateApiDestination.html",
    ),
    Rule(
        name="connection-authorization-allowed",
        why="A password that is sent with each request and seldom changed is the weakest way to authorise.",
        fix="Let the endpoint take an API key or OAuth, and set authorizationType to it.",
        severity=Severity.LOW,
        group=Group.BASELINE,
        frameworks=(Control(framework="CWE", reference="1390"),),
        types=frozenset(CONNECTIONS),
        check=authorization_allowed,
        settings={
            "allowed": Texts(
                default=("API_KEY", "OAUTH_CLIENT_CREDENTIALS"),
                choices=AUTHORIZATIONS,
                why="The authorization types that a connection may have.",
            ),
        },
        url="https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-target-connection-auth.html",
    ),
    Rule(
        name="connection-credentials-strong",
        why="Nobody gets at the endpoint by trying what others use.",
        fix="Replace the credential by a long random text, for example from random.RandomPassword.",
        severity=Severity.HIGH,
        group=Group.GATEWAY,
        frameworks=(Control(framework="CWE", reference="1391"), Control(framework="CWE", reference="521")),
        types=frozenset(CONNECTIONS),
        check=credentials_strong,
        settings={
            "minimumLength": Whole(default=16, minimum=1, why="How many characters a credential has at least."),
            "denied": Texts(
                default=DENIED, why="Credentials to refuse: the SHA-256, in hexadecimal, of each in lower case."
            ),
        },
        examined=Examined.IF_POSSIBLE,
        url="https://cheatsheetseries.owasp.org/cheatsheets/Secrets_Management_Cheat_Sheet.html",
    ),
)
