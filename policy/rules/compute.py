"""Rules for functions: what they run on, who may invoke them, and what becomes of events that they can't take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pulumi_policy import Severity

from policy.documents import anybody
from policy.props import MISSING, UNKNOWN, whole
from policy.rule import Control, Examined, Group, Rule, StackRule, Texts, Whole

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from policy.subject import Member, Stack, Subject

FUNCTION, NATIVE_FUNCTION = "aws:lambda/function:Function", "aws-native:lambda:Function"
# The property that holds a function's name.
FUNCTIONS = {FUNCTION: "name", NATIVE_FUNCTION: "functionName"}
# The property that holds the container image of a function that has no runtime.
_IMAGES = {FUNCTION: "imageUri", NATIVE_FUNCTION: "code.imageUri"}
# Where each type names the function that it is about.
PERMISSIONS = {"aws:lambda/permission:Permission": "function", "aws-native:lambda:Permission": "functionName"}
INVOKE_CONFIGS = {
    "aws:lambda/functionEventInvokeConfig:FunctionEventInvokeConfig": "functionName",
    "aws-native:lambda:EventInvokeConfig": "functionName",
}
# Where each type says how a URL tells its callers apart.
URLS = {"aws:lambda/functionUrl:FunctionUrl": "authorizationType", "aws-native:lambda:Url": "authType"}
LOG_GROUPS = {"aws:cloudwatch/logGroup:LogGroup": "name", "aws-native:logs:LogGroup": "logGroupName"}
TARGET, NATIVE_RULE = "aws:cloudwatch/eventTarget:EventTarget", "aws-native:events:Rule"
# Where each type hands events over to a function and doesn't wait for it.
EVENT_SOURCES = {
    TARGET: "arn",
    "aws:s3/bucketNotification:BucketNotification": "lambdaFunctions[].lambdaFunctionArn",
    "aws:sns/topicSubscription:TopicSubscription": "endpoint",
    NATIVE_RULE: "targets[].arn",
    "aws-native:s3:Bucket": "notificationConfiguration.lambdaConfigurations[].function",
    "aws-native:sns:Subscription": "endpoint",
}
EVENT_RULES = frozenset({"aws:cloudwatch/eventRule:EventRule", NATIVE_RULE})
# What the classic provider puts in place of nothing, before the pack sees the inputs. AWS does the same later.
_FILLED_IN = {FUNCTION: {"timeout": 3, "memorySize": 128}}
# By the table in "Lambda runtimes" of the developer guide: not deprecated at the end of November 2026.
_RUNTIMES = (
    "dotnet10",
    "java11",
    "java17",
    "java21",
    "java25",
    "java8.al2",
    "nodejs22.x",
    "nodejs24.x",
    "provided.al2023",
    "python3.11",
    "python3.12",
    "python3.13",
    "python3.14",
    "ruby3.3",
    "ruby3.4",
)


# --- one function


def runtime_supported(function: Subject) -> Iterator[str]:
    """AWS patches the runtime. A container image brings its own."""
    runtime = function.judge("runtime")
    if runtime is MISSING and _is_image(function):
        return
    if runtime is not UNKNOWN and runtime not in function.settings["runtimes"]:
        yield "set runtime to one that AWS supports, or add it to the 'runtimes' of function-runtime-supported"


def _is_image(function: Subject) -> bool:
    return function.get("packageType") in ("Image", UNKNOWN) or function.get(_IMAGES[function.type]) is not MISSING


def traced(function: Subject) -> Iterator[str]:
    """X-Ray samples its invocations."""
    if function.judge("tracingConfig.mode") not in (UNKNOWN, "Active"):
        yield "set tracingConfig.mode to Active"


def sized(function: Subject) -> Iterator[str]:
    """Timeout and memory are chosen, and not what stands in place of nothing."""
    for place, wanted in (("timeout", "the seconds"), ("memorySize", "the MiB")):
        value = function.judge(place)
        if value is MISSING or value == _FILLED_IN.get(function.type, {}).get(place):
            yield f"set {place} to {wanted} that the handler needs: it has what AWS gives to any"


# --- who may invoke a function


def url_authorised(url: Subject) -> Iterator[str]:
    """AWS lets only those call the URL whom IAM knows."""
    where = URLS[url.type]
    if url.judge(where) not in (UNKNOWN, "AWS_IAM"):
        yield f"set {where} to AWS_IAM: as it is, anybody can call the function"


def permission_scoped(permission: Subject) -> Iterator[str]:
    """Nobody may invoke but who is named, and a service only on behalf of what is named."""
    principal = permission.judge("principal")
    if principal == "*" and not _names(permission, "principalOrgId"):
        yield "set principal to whoever invokes the function, or principalOrgId: as it is, anybody may"
    elif isinstance(principal, str) and ".amazonaws.com" in principal and not _names(permission, *_SOURCES):
        yield "set sourceArn to what invokes the function: as it is, the service may on behalf of any account"


# A skill of Alexa has no ARN, but a token.
_SOURCES = ("sourceArn", "sourceAccount", "eventSourceToken")


def _names(permission: Subject, *places: str) -> bool:
    """Whether one of the places says whom it is about: of an ARN its account does, whatever else is a wildcard."""
    return any(permission.given(where) and not anybody(permission.get(where)) for where in places)


# --- events that a function can't take


def async_bounded(config: Subject) -> Iterator[str]:
    """How often and how long Lambda tries is chosen."""
    for place in ("maximumRetryAttempts", "maximumEventAgeInSeconds"):
        if config.judge(place) is MISSING or config.defaulted(place):
            yield f"set {place} to what the events are worth: it has what AWS gives to any"


_DROPPED = (
    "make a FunctionEventInvokeConfig with destinationConfig.onFailure, or set deadLetterConfig: as it is, "
    "events that the function fails on are dropped"
)


def async_failures_kept(stack: Stack) -> Iterator[tuple[Member, str]]:
    """A function that is handed events passes those that it fails on to somewhere.

    Not so for schedules, whose next event comes anyway, and for what is handed over through a version or an alias.
    """
    place = "deadLetterConfig.targetArn"
    for function in stack.of(frozenset(FUNCTIONS)):
        takes = _takes_events(function, stack)
        if takes is False:
            continue
        configs = [
            _is_of_latest(config) and of_it
            for config, _, of_it in _of(function, INVOKE_CONFIGS, stack)
            if config.get("destinationConfig.onFailure.destination") is not MISSING
        ]
        if function.get(place) is not MISSING or True in configs:
            function.decided(place)
        elif takes is None or None in configs:
            function.deferred(place)
        else:
            function.decided(place)
            yield function, _DROPPED


def _is_of_latest(config: Member) -> bool | None:
    """Whether it is about the function itself, and not about a version or an alias; None when that isn't known."""
    qualifier = config.get("qualifier")
    return None if qualifier is UNKNOWN else qualifier in (MISSING, _LATEST)


_LATEST = "$LATEST"


def _of(function: Member, types: Mapping[str, str], stack: Stack) -> Iterator[tuple[Member, Any, bool | None]]:
    """The resources that name the function where `types` says, or, with None, may turn out to, with what they say."""
    for member in stack.of(frozenset(types)):
        for path, value in member.each(types[member.type]):
            of_it = member.refers_to(path, function)
            if of_it is not False:
                yield member, value, of_it


def _takes_events(function: Member, stack: Stack) -> bool | None:
    answers = [
        None if of_it is None else _hands_events(source, stack)
        for source, value, of_it in _of(function, EVENT_SOURCES, stack)
        if not _is_qualified(value)
    ]
    return _any(answers)


def _is_qualified(arn: Any) -> bool:
    """Whether an ARN is known to be that of a version or an alias: arn:<...>:function:<name>:<qualifier>."""
    parts = arn.split(":") if isinstance(arn, str) else []
    return len(parts) > _FUNCTION_PARTS and parts[_FUNCTION_PARTS] != _LATEST


_FUNCTION_PARTS = 7


def _hands_events(source: Member, stack: Stack) -> bool | None:
    """Whether what comes from here are events, and not the ticks of a schedule; None when the rule isn't known."""
    if source.type not in (TARGET, NATIVE_RULE):
        return True
    rules = [source] if source.type == NATIVE_RULE else []
    rules += [rule for rule in stack.of(EVENT_RULES) if source.refers_to("rule", rule)]
    # Schedules are on the default bus only.
    if not rules:
        return True if source.get("eventBusName") not in (MISSING, UNKNOWN, "default") else None
    return any(rule.get("eventPattern") not in (MISSING, "") for rule in rules)


# --- functions and what belongs to them


_NO_LOG_GROUP = (
    "set loggingConfig.logGroup to a log group, or make one called /aws/lambda/ and the function's name: as it is, "
    "Lambda makes one that is kept forever"
)


def log_group(stack: Stack) -> Iterator[tuple[Member, str]]:
    """Its log group is one of the program's, which says how long the log is kept."""
    place = "loggingConfig.logGroup"
    for function in stack.of(frozenset(FUNCTIONS)):
        has = function.get(place) is not MISSING or _has_log_group(function, stack)
        if has is None:
            function.deferred(place)
            continue
        function.decided(place)
        if not has:
            yield function, _NO_LOG_GROUP


def _has_log_group(function: Member, stack: Stack) -> bool | None:
    name = function.get(FUNCTIONS[function.type])
    answers: list[bool | None] = []
    for group in stack.of(frozenset(LOG_GROUPS)):
        where = LOG_GROUPS[group.type]
        if isinstance(name, str) and group.get(where) == f"/aws/lambda/{name}":
            return True
        answers.append(None if name is UNKNOWN else group.refers_to(where, function))
    return _any(answers)


def answers_in_time(stack: Stack) -> Iterator[tuple[Member, str]]:
    """A function behind an API is done before the API gives its caller up."""
    for function in stack.of(frozenset(FUNCTIONS)):
        permissions = [permission for permission, _, of_it in _of(function, PERMISSIONS, stack) if of_it]
        if not any(permission.get("principal") == "apigateway.amazonaws.com" for permission in permissions):
            continue
        gives_up = function.settings["apiTimeoutSeconds"]
        seconds = whole(function.judge("timeout"))
        if seconds is not None and seconds >= gives_up:
            yield (
                function,
                f"lower timeout to {gives_up - 1} or less: the API waits for {gives_up} seconds",
            )


def _any(answers: list[bool | None]) -> bool | None:
    return True if True in answers else None if None in answers else False


_GUIDE = "https://docs.aws.amazon.com/lambda/latest/dg/"
RULES = (
    Rule(
        name="function-runtime-supported",
        why="What a function runs on gets security patches.",
        fix="Set runtime to a runtime that AWS supports.",
        severity=Severity.MEDIUM,
        group=Group.BASELINE,
        frameworks=(
            Control(framework="AWS Foundational Security Best Practices", reference="Lambda.2"),
            Control(framework="cdk-nag", reference="AwsSolutions-L1"),
            Control(framework="checkov", reference="CKV_AWS_363"),
        ),
        types=frozenset(FUNCTIONS),
        check=runtime_supported,
        settings={"runtimes": Texts(default=_RUNTIMES, why="The runtimes that are accepted.")},
        url=f"{_GUIDE}lambda-runtimes.html",
    ),
    Rule(
        name="function-traced",
        why="What happened to a request can be followed from service to service.",
        fix="Set tracingConfig.mode to Active.",
        severity=Severity.LOW,
        group=Group.BASELINE,
        frameworks=(
            Control(framework="cdk-nag", reference="Serverless-LambdaTracing"),
            Control(framework="checkov", reference="CKV_AWS_50"),
            Control(framework="trivy", reference="AWS-0066"),
        ),
        types=frozenset(FUNCTIONS),
        check=traced,
        url=f"{_GUIDE}services-xray.html",
    ),
    Rule(
        name="function-sized",
        why="A function has the time and the memory that its handler needs, as somebody has thought about it.",
        fix="Set timeout and memorySize to what the handler needs.",
        severity=Severity.LOW,
        group=Group.BASELINE,
        frameworks=(
            Control(framework="cdk-nag", reference="Serverless-LambdaDefaultMemorySize"),
            Control(framework="cdk-nag", reference="Serverless-LambdaDefaultTimeout"),
        ),
        types=frozenset(FUNCTIONS),
        check=sized,
        url=f"{_GUIDE}configuration-timeout.html",
    ),
    Rule(
        name="function-url-authorised",
        why="Nobody calls a function from the internet whom IAM does not know.",
        fix="Set the authorization type of the function URL to AWS_IAM.",
        severity=Severity.CRITICAL,
        group=Group.GATEWAY,
        frameworks=(
            Control(framework="OWASP API Security Top 10", version="2023", reference="API2"),
            Control(framework="CWE", reference="306"),
            Control(framework="checkov", reference="CKV_AWS_258"),
        ),
        types=frozenset(URLS),
        check=url_authorised,
        url=f"{_GUIDE}urls-auth.html",
    ),
    Rule(
        name="function-permission-scoped",
        why="A function is invoked by those it is for, and by a service only on their behalf.",
        fix="Set sourceArn of the permission to the rule, API or topic that invokes the function.",
        severity=Severity.CRITICAL,
        group=Group.GATEWAY,
        frameworks=(
            Control(framework="AWS Foundational Security Best Practices", reference="Lambda.1"),
            Control(framework="checkov", reference="CKV_AWS_301"),
            Control(framework="checkov", reference="CKV_AWS_364"),
            Control(framework="trivy", reference="AWS-0067"),
        ),
        types=frozenset(PERMISSIONS),
        check=permission_scoped,
        url=f"{_GUIDE}access-control-resource-based.html",
    ),
    Rule(
        name="function-async-bounded",
        why="How often and how long an event is tried is a decision.",
        fix="Set maximumRetryAttempts and maximumEventAgeInSeconds.",
        severity=Severity.MEDIUM,
        group=Group.GATEWAY,
        frameworks=(Control(framework="CWE", reference="770"),),
        types=frozenset(INVOKE_CONFIGS),
        check=async_bounded,
        examined=Examined.IF_POSSIBLE,
        url=f"{_GUIDE}invocation-async-error-handling.html",
    ),
    StackRule(
        name="function-async-failures-kept",
        why="An event that a function fails on is there until somebody has looked at it.",
        fix="Send the failures of the function to a queue, by destinationConfig.onFailure or deadLetterConfig.",
        severity=Severity.HIGH,
        group=Group.GATEWAY,
        frameworks=(
            Control(framework="cdk-nag", reference="Serverless-LambdaAsyncFailureDestination"),
            Control(framework="cdk-nag", reference="Serverless-LambdaDLQ"),
            Control(framework="checkov", reference="CKV_AWS_116"),
        ),
        types=frozenset(FUNCTIONS),
        check=async_failures_kept,
        url=f"{_GUIDE}invocation-async-retain-records.html",
    ),
    StackRule(
        name="function-log-group",
        why="The log of a function has an end, and is deleted with it.",
        fix="Make a log group with a retention, and name it in loggingConfig.logGroup.",
        severity=Severity.LOW,
        group=Group.BASELINE,
        frameworks=(Control(framework="CWE", reference="779"),),
        types=frozenset(FUNCTIONS),
        check=log_group,
        url=f"{_GUIDE}monitoring-cloudwatchlogs-loggroups.html",
    ),
    StackRule(
        name="function-answers-in-time",
        why="A caller who is told that it failed is not charged, shipped or stored after all.",
        fix="Set timeout of functions behind an API below what the API waits.",
        severity=Severity.MEDIUM,
        group=Group.BASELINE,
        frameworks=(Control(framework="OWASP API Security Top 10", version="2023", reference="API4"),),
        types=frozenset(FUNCTIONS),
        check=answers_in_time,
        settings={"apiTimeoutSeconds": Whole(default=29, minimum=2, why="How long the APIs wait for an integration.")},
        url="https://docs.aws.amazon.com/apigateway/latest/developerguide/limits.html",
    ),
)
