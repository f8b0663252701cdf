"""Rules for secrets that are no credential of a connection: what AWS keeps, and what functions are told."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from pulumi_policy import Severity

from policy.props import UNKNOWN, Path, spell
from policy.rule import Control, Examined, Group, Rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from policy.subject import Subject

PARAMETER = "aws:ssm/parameter:Parameter"
# Where a resource holds what is a secret by its nature.
HELD = {
    "aws:apigateway/apiKey:ApiKey": ("value",),
    "aws-native:apigateway:ApiKey": ("value",),
    "aws:secretsmanager/secretVersion:SecretVersion": ("secretString", "secretBinary"),
    "aws-native:secretsmanager:Secret": ("secretString",),
    PARAMETER: ("value", "insecureValue"),
}
FUNCTIONS = frozenset({"aws:lambda/function:Function", "aws-native:lambda:Function"})

# Names that end in the secret itself. Those of references to one end in something else, and SECRET or CREDENTIALS alone
# may be either.
_NAMES_A_SECRET = re.compile(
    r"(?:^|[_-])(?:PASSWORD|PASSWD|PASSPHRASE|TOKEN|API_?KEY|PRIVATE_?KEY|SECRET_?KEY|SECRET_ACCESS_KEY"
    r"|(?:API|AUTH|CLIENT|COOKIE|HMAC|JWT|SESSION|SHARED|SIGNING|WEBHOOK)_?SECRET)$"
)
# An ARN, a CloudFormation reference, or the path of a parameter: where the secret is, not what it is.
_REFERENCE = re.compile(r"arn:aws|\{\{resolve:|(?:/[\w.-]+){2,}$")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def plaintext_secrets(resource: Subject) -> Iterator[str]:
    """What is a secret, by what it is for or by the name that a function has for it, is a Pulumi secret."""
    for path, value in _secrets(resource):
        if resource.secret(path):
            resource.decided(path)
        elif value is UNKNOWN:
            resource.deferred(path)
        else:
            resource.decided(path)
            yield f"pass {spell(path)} as a secret, for example from config.require_secret(...)"


def _secrets(resource: Subject) -> Iterator[tuple[Path, Any]]:
    if resource.type in FUNCTIONS:
        yield from _in_environment(resource)
    elif resource.type != PARAMETER or resource.judge("type") == "SecureString":
        for place in HELD[resource.type]:
            resource.given(place)
            yield from resource.each(place)


def _in_environment(function: Subject) -> Iterator[tuple[Path, Any]]:
    function.given("environment.variables")
    variables = function.get("environment.variables")
    for name in variables if isinstance(variables, dict) else ():
        path = ("environment", "variables", name)
        if _NAMES_A_SECRET.search(_CAMEL.sub("_", name).upper()):
            yield from ((path, value) for path, value in function.each(path) if not _told_openly(value))


def _told_openly(value: Any) -> bool:
    """Whether a value can be no secret: a reference to one, a switch, or nothing."""
    return isinstance(value, str) and (value.lower() in ("", "true", "false") or bool(_REFERENCE.match(value)))


RULES = (
    Rule(
        name="plaintext-secrets",
        why="Keys, parameters and what functions are told in secret are encrypted wherever Pulumi keeps or shows them.",
        fix="Pass the value as a secret output, or pass the ARN of where it is kept and read it from there.",
        severity=Severity.CRITICAL,
        group=Group.GATEWAY,
        frameworks=(
            Control(framework="CWE", reference="312"),
            Control(framework="checkov", reference="CKV_AWS_45"),
            Control(framework="prowler", reference="awslambda_function_no_secrets_in_variables"),
        ),
        types=frozenset(HELD) | FUNCTIONS,
        check=plaintext_secrets,
        examined=Examined.REQUIRED,
        url="https://www.pulumi.com/docs/iac/concepts/secrets/",
    ),
)
