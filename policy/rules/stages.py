"""Rules for the stages of REST APIs: how much they take, and what they leave to see."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from pulumi_policy import Severity

from policy.props import MISSING, UNKNOWN, Path, spell
from policy.rest_api import Node
from policy.rule import Control, Group, Rule, StackRule, Texts, Whole

if TYPE_CHECKING:
    from collections.abc import Iterator

    from policy.subject import Member, Stack, Subject

STAGE = "aws:apigateway/stage:Stage"
NATIVE_STAGE = "aws-native:apigateway:Stage"
METHOD_SETTINGS = "aws:apigateway/methodSettings:MethodSettings"
USAGE_PLAN = "aws:apigateway/usagePlan:UsagePlan"
NATIVE_USAGE_PLAN = "aws-native:apigateway:UsagePlan"


class Names(NamedTuple):
    """What a provider calls what a stage shows of itself."""

    access_log: str
    tracing: str


STAGES = {
    STAGE: Names(access_log="accessLogSettings", tracing="xrayTracingEnabled"),
    NATIVE_STAGE: Names(access_log="accessLogSetting", tracing="tracingEnabled"),
}
# Where the settings of methods are; at a native stage, all of them.
SETTINGS = {METHOD_SETTINGS: "settings", NATIVE_STAGE: "methodSettings[]"}
_ALL_METHODS = {"resourcePath": "/*", "httpMethod": "*"}

_RATE, _BURST = "throttlingRateLimit", "throttlingBurstLimit"
# Places of limits, and what they are called there. A usage plan need not have any: the stage limits all its callers.
PLANS = {
    USAGE_PLAN: ("throttleSettings", "apiStages[].throttles[]"),
    NATIVE_USAGE_PLAN: ("throttle", "apiStages[].throttle.*"),
}


def throttled(subject: Subject) -> Iterator[str]:
    """Every limit is set, above zero, and no higher than what the account has anyway."""
    for at, value in _settings(subject):
        yield from limits(subject, Node(at, value), _RATE, _BURST)
    for place in PLANS.get(subject.type, ()):
        for node in _places(subject, place):
            yield from limits(subject, node, "rateLimit", "burstLimit")
    if subject.type == NATIVE_STAGE and not _covers_all(subject):
        subject.decided("methodSettings")
        yield "add to methodSettings what holds for resourcePath /* and httpMethod *: limits and a logging level"


def _settings(subject: Subject) -> Iterator[tuple[Path, Any]]:
    """The settings of methods, each with its place."""
    if subject.type == METHOD_SETTINGS and subject.get("settings") is MISSING:
        yield ("settings",), {}
    elif subject.type in SETTINGS:
        yield from subject.each(SETTINGS[subject.type])


def _places(subject: Subject, place: str) -> Iterator[Node]:
    """The places of a path, whose last step may stand for every member of an object."""
    for at, value in subject.each(place.removesuffix(".*")):
        node = Node(at, value)
        if place.endswith(".*") and isinstance(value, dict):
            yield from (member for _, member in node.members())
        else:
            yield node


def _covers_all(stage: Subject) -> bool:
    """Whether some settings are for all methods of the stage, or may turn out to be."""
    listed = stage.get("methodSettings")
    if listed is UNKNOWN:
        return True
    found = [[stage.get((*at, name)) for name in _ALL_METHODS] for at, _ in stage.each("methodSettings[]")]
    return any(
        all(value in (UNKNOWN, wanted) for value, wanted in zip(values, _ALL_METHODS.values(), strict=True))
        for values in found
    )


def limits(subject: Subject, place: Node, rate: str, burst: str) -> Iterator[str]:
    """What to change at the limits of a place, which the rule counts as decided or deferred."""
    if place.unknown:
        subject.deferred(place.path)
        return
    for name, most in ((rate, subject.settings["maximumRate"]), (burst, subject.settings["maximumBurst"])):
        yield from within_limit(subject, place.at(name), most)


def within_limit(subject: Subject, limit: Node, most: int) -> Iterator[str]:
    """What to change at one limit, which the rule counts as decided or deferred."""
    if limit.unknown:
        subject.deferred(limit.path)
        return
    subject.decided(limit.path)
    if limit.missing:
        yield f"set {limit}: without it only the limit that the account's APIs share is left"
    elif isinstance(limit.value, bool) or not isinstance(limit.value, int | float):
        yield f"set {limit} to a number"
    elif limit.value <= 0:
        yield f"raise {limit} above 0"
    elif limit.value > most:
        yield f"lower {limit} to {most} or less"


def observable(subject: Subject) -> Iterator[str]:
    """Requests are in an access log that a machine can read, errors in the execution log, and no payload in either."""
    if subject.type in STAGES:
        yield from _traced(subject, STAGES[subject.type])
    for at, value in _settings(subject):
        if value is UNKNOWN:
            subject.deferred(at)
            continue
        level, trace = (*at, "loggingLevel"), (*at, "dataTraceEnabled")
        if subject.judge(level) not in (UNKNOWN, "ERROR", "INFO"):
            yield f"set {spell(level)} to ERROR or INFO"
        if subject.judge(trace) is True:
            yield f"set {spell(trace)} to false: it writes whole requests and responses into the log"


def _traced(stage: Subject, names: Names) -> Iterator[str]:
    if stage.judge(names.tracing) not in (True, UNKNOWN):
        yield f"set {names.tracing} to true"
    if not stage.given(names.access_log):
        yield f"set {names.access_log} to a log group and a format"
        return
    if not stage.given(f"{names.access_log}.destinationArn"):
        yield f"set {names.access_log}.destinationArn to the ARN of a log group"
    where = f"{names.access_log}.format"
    pattern = stage.judge(where)
    if pattern is UNKNOWN:
        return
    logged = _variables(pattern)
    if logged is None:
        yield f"write {where} as a JSON object"
        return
    lacking = [f"$context.{name}" for name in stage.settings["fields"] if name not in logged]
    if lacking:
        yield f"log {', '.join(lacking)} in {where}"


_VARIABLE = re.compile(r"\$context\.([A-Za-z0-9_.-]*[A-Za-z0-9_-])")


def _variables(pattern: object) -> set[str] | None:
    """The context variables that a format logs; None when it is no JSON object. A number need not be quoted."""
    if not isinstance(pattern, str):
        return None
    try:
        parsed = json.loads(_VARIABLE.sub("0", pattern))
    except (ValueError, RecursionError):
        return None
    return set(_VARIABLE.findall(pattern)) if isinstance(parsed, dict) else None


def limited(stack: Stack) -> Iterator[tuple[Member, str]]:
    """Each stage has settings for all its methods; what they say is for other rules."""
    settings = stack.of(frozenset({METHOD_SETTINGS}))
    for stage in stack.of(frozenset({STAGE})):
        stage.decided("stageName")
        if not any(_holds_for(one, stage) for one in settings):
            yield stage, "add MethodSettings with methodPath */* for the stage: limits and a logging level"


def _holds_for(settings: Member, stage: Member) -> bool:
    """Whether the settings are for all methods of the stage, or may turn out to be."""
    if settings.get("methodPath") not in (UNKNOWN, "*/*"):
        return False
    if settings.refers_to("stageName", stage):
        return True
    names = [member.get("stageName") for member in (settings, stage)]
    apis = [member.get("restApi") for member in (settings, stage)]
    return (UNKNOWN in names or names[0] == names[1]) and (UNKNOWN in apis or apis[0] == apis[1])


_DOCS = "https://docs.aws.amazon.com/apigateway/latest/developerguide"
_LIMITING = (
    Control(framework="cdk-nag", reference="Serverless-APIGWDefaultThrottling"),
    Control(framework="OWASP API Security Top 10", version="2023", reference="API4"),
    Control(framework="CWE", reference="770"),
)

RULES = (
    Rule(
        name="api-throttled",
        why="One API cannot use up what all APIs of the account share, nor call what is behind it without a limit.",
        fix="Set throttlingRateLimit and throttlingBurstLimit for all methods of the stage to what is expected.",
        severity=Severity.MEDIUM,
        group=Group.GATEWAY,
        frameworks=_LIMITING,
        types=frozenset({METHOD_SETTINGS, NATIVE_STAGE, *PLANS}),
        check=throttled,
        settings={
            "maximumRate": Whole(default=10000, minimum=1, why="The highest rate: an account's, for all its APIs."),
            "maximumBurst": Whole(default=5000, minimum=1, why="The highest burst: an account's, for all its APIs."),
        },
        url=f"{_DOCS}/api-gateway-request-throttling.html",
    ),
    StackRule(
        name="api-stage-limited",
        why="A stage without method settings has neither a limit nor a log of its own.",
        fix="Add MethodSettings with methodPath */* to the stage.",
        severity=Severity.MEDIUM,
        group=Group.GATEWAY,
        frameworks=(*_LIMITING, Control(framework="checkov", reference="CKV2_AWS_4")),
        types=frozenset({STAGE}),
        check=limited,
        url=f"{_DOCS}/api-gateway-request-throttling.html",
    ),
    Rule(
        name="api-stage-observable",
        why="What an API did can be found again, without what was in the requests.",
        fix="Give the stage a JSON access log and X-Ray, its methods the logging level ERROR, and no data trace.",
        severity=Severity.MEDIUM,
        group=Group.BASELINE,
        frameworks=(
            Control(framework="cdk-nag", reference="AwsSolutions-APIG1"),
            Control(framework="cdk-nag", reference="AwsSolutions-APIG6"),
            Control(framework="cdk-nag", reference="Serverless-APIGWStructuredLogging"),
            Control(framework="checkov", reference="CKV_AWS_73"),
            Control(framework="checkov", reference="CKV_AWS_76"),
            Control(framework="checkov", reference="CKV_AWS_276"),
            Control(framework="AWS Foundational Security Best Practices", reference="APIGateway.1"),
            Control(framework="AWS Foundational Security Best Practices", reference="APIGateway.3"),
        ),
        types=frozenset({METHOD_SETTINGS, *STAGES}),
        check=observable,
        settings={
            "fields": Texts(
                default=("requestId", "requestTime", "httpMethod", "resourcePath", "status"),
                why="The $context variables that an access log has at least.",
            ),
        },
        url=f"{_DOCS}/set-up-logging.html",
    ),
)
