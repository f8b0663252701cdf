"""Rules for secrets that are no credential of a connection: what AWS keeps, and what functions are told."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from pulumi_policy import Severity

from policy.props import UNKNOWN, Path, spell, whole
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

# Names that end in the secret itself. Those of what is said of one (_NAME, _ARN, _ID, _PATH, _TTL, _URL ...) end in
# something else, and SECRET or CREDENTIALS alone may be either.
_NAMES_A_SECRET = re.compile(
    r"(?:^|_)(?:(PASSWORD|PASSWD|PASSPHRASE)|TOKEN|API_?KEY|PRIVATE_?KEY|SECRET_?KEY|SECRET_ACCESS_KEY"
    r"|(?:API|AUTH|CLIENT|COOKIE|HMAC|JWT|SESSION|SHARED|SIGNING|WEBHOOK)_?SECRET)$"
)
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
# An ARN or a CloudFormation reference: where the secret is, not what it is.
_REFERENCE = re.compile(r"arn:aws[\w-]*:[a-z0-9-]+:|\{\{resolve:")
# Names in the way of Parameter Store and Secrets Manager, made of words. A slash alone tells nothing: random text in
# Base64 has it too, but hardly ever keeps to words of one case with digits at their ends.
_WORD = r"(?:[A-Z]?[a-z]+\d*(?:[A-Z][a-z]+\d*)*|[A-Z]+\d*)"
_SEGMENT = rf"{_WORD}(?:[._-](?:{_WORD}|\d+))*"
_PATH = re.compile(rf"(?P<root>/)?(?:(?:{_SEGMENT}|\d+)/)+(?P<last>{_SEGMENT})")
# How many, or for how long: no token and no key has so few digits. A password may.
_NUMBER = re.compile(r"\d{1,7}")


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
        if names_a_secret(name):
            yield from ((path, value) for path, value in function.each(path) if not _told_openly(name, value))


def names_a_secret(name: str) -> bool:
    """Whether what has this name, of words in whatever case, is a secret itself and not what is said of one."""
    return _named(name) is not None


def _named(name: str) -> re.Match[str] | None:
    return _NAMES_A_SECRET.search(_CAMEL.sub("_", name).replace("-", "_").upper())


def is_no_secret(name: str, value: Any) -> bool:
    """Whether the value of what is named like a secret can't be one: a number of them, a switch, or nothing."""
    number = whole(value)
    text = value if number is None else str(number)
    if not isinstance(text, str):
        return False
    named = _named(name)
    is_password = named is not None and named[1] is not None
    return text.lower() in ("", "true", "false") or bool(_NUMBER.fullmatch(text) and not is_password)


def _told_openly(name: str, value: Any) -> bool:
    """Whether a function may be told the value as it is: no secret, or where one is kept."""
    return is_no_secret(name, value) or (isinstance(value, str) and _is_reference(value))


def _is_reference(text: str) -> bool:
    """An ARN and the like, a path from the root, or one to something that is called like a secret."""
    path = _PATH.fullmatch(text)
    return bool(_REFERENCE.match(text)) or bool(path and (path["root"] or names_a_secret(path["last"])))


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
