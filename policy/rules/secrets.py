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
    "aws:secretsmanager/secretVersion:SecretVersion": ("secretString", "secretStringWo", "secretBinary"),
    "aws-native:secretsmanager:Secret": ("secretString",),
    PARAMETER: ("value", "valueWo", "insecureValue"),
}
FUNCTIONS = frozenset({"aws:lambda/function:Function", "aws-native:lambda:Function"})

# Names that end in the secret itself. Those of what is said of one (_NAME, _ARN, _ID, _PATH, _TTL, _URL ...) end in
# something else, and SECRET, PASS or CREDENTIALS alone may be either. PWD alone is where a process runs.
_NAMES_A_SECRET = re.compile(
    r"(PASSWORD|PASSWD|PASSPHRASE|_PWD|(?:ADMIN|DB|FTP|LDAP|MAIL|MONGO|MYSQL|PG|REDIS|ROOT|SMTP|USER)_?PASS)$"
    r"|(?:^|_)(?:TOKEN|(?:API|ENCRYPTION|PRIVATE|SECRET)_?KEY|SECRET_ACCESS_KEY"
    r"|(?:API|APP|AUTH|CLIENT|COOKIE|HMAC|JWT|SESSION|SHARED|SIGNING|WEBHOOK)_?SECRET)$"
)
# Tokens that authorise nobody: marks in a text, places in a list, and what tells one request from its repetition.
_OPEN_TOKEN = re.compile(
    r"(?:^|_)(?:BOS|CLS|CONTINUATION|EOS|IDEMPOTENCY|MASK|NEXT|PAD|PAGE|PAGINATION|SEP|STOP|UNK)_?TOKEN$"
)
# Keys that their issuers mark as such, whatever they are called here.
_KEY = re.compile(
    r"(?<!\w)(?:[rs]k_(?:live|test)_\w{4}|gh[opsu]_\w{4}|github_pat_\w{4}|glpat-\w{4}|xox[abeoprs]-\w{4}"
    r"|A[KS]IA[0-9A-Z]{12}|AIza[\w-]{4}|npm_\w{30}|SG\.[\w-]{16}|-----BEGIN [A-Z ]*PRIVATE KEY)"
)
# The password of a URL, unless it is a place to put one into: ${PASSWORD}, {password}, <password>, $PASSWORD, %s, ***.
_IN_A_URL = re.compile(
    r"(?<![a-z0-9+.-])[a-z][a-z0-9+.-]*://[^/?#\s:@]*:(?!(?:\$?\{[^@]*\}|<[^@]*>|\$[A-Z_]+|%s|\*+)@)[^/?#\s@]+@",
    re.IGNORECASE,
)
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
# An ARN, a CloudFormation reference, or one of those that tools resolve: where the secret is, not what it is.
_REFERENCE = re.compile(
    r"arn:aws[\w-]*:[a-z0-9-]+:|\{\{resolve:|(?:op://|(?:secretsmanager|ssm|ssm-secure|vault):)[\w./#@-]+\Z"
    r"|projects/[\w-]+/secrets/[\w-]+(?:/versions/\w+)?\Z"
)
# A key of KMS by its alias or its id, which a function is told to encrypt with.
_KMS_KEY = re.compile(r"alias/[\w/-]+|mrk-[\da-f]{32}|[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12}")
# Names in the way of Parameter Store and Secrets Manager, made of words. A slash alone tells nothing: random text in
# Base64 has it too, but hardly ever keeps to words of one case with digits at their ends.
_WORD = r"(?:[A-Z]?[a-z]+\d*(?:[A-Z][a-z]+\d*)*|[A-Z]+\d*)"
_SEGMENT = rf"{_WORD}(?:[._-](?:{_WORD}|\d+))*"
_PATH = re.compile(rf"(?P<root>/)?(?P<first>{_SEGMENT}|\d+)/(?:(?:{_SEGMENT}|\d+)/)*(?P<last>{_SEGMENT})")
_STAGES = frozenset({"dev", "development", "live", "prd", "prod", "production", "qa", "staging", "stg", "test", "uat"})
_CAPITALISED = re.compile(r"/[A-Z]")
# How many, for how long or which version: no token and no key has so few digits. A password may.
_NUMBER = re.compile(r"v?\d{1,7}")
# What some headers for tokens take in place of one: a password may be any word, but hardly one of the others.
_IN_PLACE = frozenset({"fetch", "no-check", "nocheck", "required"})
_SWITCHES = frozenset({"", "true", "false"})


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
        for path, value in function.each(("environment", "variables", name)):
            if shows_a_secret(value) or (names_a_secret(name) and not _told_openly(name, value)):
                yield path, value


def names_a_secret(name: str) -> bool:
    """Whether what has this name, of words in whatever case, is a secret itself and not what is said of one."""
    return _named(name) is not None


def _named(name: str) -> re.Match[str] | None:
    words = _words(name)
    return None if _OPEN_TOKEN.search(words) else _NAMES_A_SECRET.search(words)


def _words(name: str) -> str:
    return _CAMEL.sub("_", name).replace("-", "_").upper()


def shows_a_secret(value: Any) -> bool:
    """Whether a value is, by its looks and whatever its name, a key of a well-known issuer or a URL with a password."""
    return isinstance(value, str) and bool(_KEY.search(value) or _IN_A_URL.search(value))


def is_no_secret(name: str, value: Any) -> bool:
    """Whether the value of what is named like a secret can't be one: a number of them, a switch, or nothing."""
    number = whole(value)
    text = value if number is None else str(number)
    if not isinstance(text, str):
        return False
    named = _named(name)
    is_password = named is not None and named[1] is not None
    of_a_token = text.lower() in _IN_PLACE or _NUMBER.fullmatch(text)
    return text.lower() in _SWITCHES or bool(of_a_token and not is_password)


def _told_openly(name: str, value: Any) -> bool:
    """Whether a function may be told the value as it is: no secret, or where one is kept."""
    if is_no_secret(name, value):
        return True
    if not isinstance(value, str):
        return False
    of_kms = _words(name).endswith(("ENCRYPTION_KEY", "ENCRYPTIONKEY")) and _KMS_KEY.fullmatch(value)
    return bool(of_kms) or _is_reference(value)


def _is_reference(text: str) -> bool:
    """An ARN and the like, or a path: from a stage, to something that is called like a secret, or from the root.

    From the root all words begin small: capitalised ones may be a passphrase.
    """
    if _REFERENCE.match(text):
        return True
    path = _PATH.fullmatch(text)
    if path is None:
        return False
    staged = path["first"].lower() in _STAGES
    return staged or names_a_secret(path["last"]) or bool(path["root"] and not _CAPITALISED.search(text))


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
