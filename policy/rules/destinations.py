"""Rules for what leaves the bus: API destinations, and the credentials that their connections hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pulumi_policy import Severity

from policy.props import MISSING, UNKNOWN, Path, spell, whole
from policy.rule import Control, Examined, Group, Rule, Whole

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


@dataclass(frozen=True, kw_only=True)
class Credentials:
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
                connection.decided(path)
            elif _plaintext(connection, path, UNKNOWN if secret is UNKNOWN else value):
                yield (
                    f"pass {spell(path)} as a secret, for example from config.require_secret(...), "
                    "or say isValueSecret=False if anybody may read it"
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
)
