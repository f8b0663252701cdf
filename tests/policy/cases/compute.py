"""Functions, who may invoke them, and what they fail on: what our own stacks lack, and the changes to be refused."""

from __future__ import annotations

from functools import partial
from typing import Any

from tests.policy.programs import Mutant, Program, Thing

RUNTIME, TRACED, SIZED = "function-runtime-supported", "function-traced", "function-sized"
URL, PERMISSION = "function-url-authorised", "function-permission-scoped"
BOUNDED, KEPT = "function-async-bounded", "function-async-failures-kept"
LOG_GROUP, IN_TIME = "function-log-group", "function-answers-in-time"

CLASSIC_FUNCTION, NATIVE_FUNCTION = "aws:lambda/function:Function", "aws-native:lambda:Function"
CLASSIC_PERMISSION, NATIVE_PERMISSION = "aws:lambda/permission:Permission", "aws-native:lambda:Permission"
CLASSIC_URL, NATIVE_URL = "aws:lambda/functionUrl:FunctionUrl", "aws-native:lambda:Url"
CLASSIC_CONFIG = "aws:lambda/functionEventInvokeConfig:FunctionEventInvokeConfig"
NATIVE_CONFIG = "aws-native:lambda:EventInvokeConfig"
CLASSIC_GROUP, NATIVE_GROUP = "aws:cloudwatch/logGroup:LogGroup", "aws-native:logs:LogGroup"
SUBSCRIPTION = "aws-native:sns:Subscription"

ARN = "arn:aws:{}:eu-west-1:111122223333:{}"
NATIVE, ADDRESSED = "a function of aws-native with all that belongs to it", "a function URL for those whom IAM knows"

UNSUPPORTED = "set runtime to one that AWS supports, or add it to the 'runtimes' of function-runtime-supported"
UNTRACED = "set tracingConfig.mode to Active"
TIMEOUT = "set timeout to the seconds that the handler needs: it has what AWS gives to any"
MEMORY = "set memorySize to the MiB that the handler needs: it has what AWS gives to any"
ANYBODY = "set principal to whoever invokes the function, or principalOrgId: as it is, anybody may"
ANY_ACCOUNT = "set sourceArn to what invokes the function: as it is, the service may on behalf of any account"
DROPPED = (
    "make a FunctionEventInvokeConfig with destinationConfig.onFailure, or set deadLetterConfig: as it is, "
    "events that the function fails on are dropped"
)
NO_LOG_GROUP = (
    "set loggingConfig.logGroup to a log group, or make one called /aws/lambda/ and the function's name: as it is, "
    "Lambda makes one that is kept forever"
)
TOO_LATE = "lower timeout to 28 or less: the API waits for 29 seconds"


def open_url(place: str) -> str:
    return f"set {place} to AWS_IAM: as it is, anybody can call the function"


def not_chosen(place: str) -> str:
    return f"set {place} to what the events are worth: it has what AWS gives to any"


def function(type_: str = NATIVE_FUNCTION, **changes: Any) -> Thing:
    """A function that any rule accepts, but for what becomes of its events and its log."""
    return Thing(
        type=type_,
        name="place",
        inputs={
            "functionName" if type_ == NATIVE_FUNCTION else "name": "place",
            "role": "arn:aws:iam::111122223333:role/place",
            "runtime": "python3.13",
            "handler": "index.handler",
            "timeout": 10,
            "memorySize": 512,
            "tracingConfig": {"mode": "Active"},
            **changes,
        },
    )


def _native() -> list[Thing]:
    """An API and a topic invoke a function whose log group has its name, and whose failures go to a queue."""
    place = function()
    return [
        place,
        Thing(
            type=NATIVE_PERMISSION,
            name="api",
            inputs={
                "action": "lambda:InvokeFunction",
                "functionName": "place",
                "principal": "apigateway.amazonaws.com",
                "sourceArn": ARN.format("execute-api", "a1b2c3/v1/POST/orders"),
            },
            uses={"functionName": (place.urn,)},
        ),
        Thing(
            type=SUBSCRIPTION,
            name="topic",
            inputs={
                "protocol": "lambda",
                "topicArn": ARN.format("sns", "orders"),
                "endpoint": ARN.format("lambda", "function:place"),
            },
            uses={"endpoint": (place.urn,)},
        ),
        Thing(
            type=NATIVE_CONFIG,
            name="failures",
            inputs={
                "functionName": "place",
                "qualifier": "$LATEST",
                "maximumRetryAttempts": 2,
                "maximumEventAgeInSeconds": 21600,
                "destinationConfig": {"onFailure": {"destination": ARN.format("sqs", "failures")}},
            },
            uses={"functionName": (place.urn,)},
        ),
        Thing(type=NATIVE_GROUP, name="log", inputs={"logGroupName": "/aws/lambda/place", "retentionInDays": 90}),
        Thing(
            type=NATIVE_URL,
            name="url",
            inputs={"authType": "AWS_IAM", "targetFunctionArn": ARN.format("lambda", "function:place")},
            uses={"targetFunctionArn": (place.urn,)},
        ),
    ]


BASES = {
    NATIVE: _native(),
    ADDRESSED: [Thing(type=CLASSIC_URL, name="url", inputs={"functionName": "place", "authorizationType": "AWS_IAM"})],
}


def _put(
    rule: str,
    claim: str,
    where: tuple[str, str, str],
    place: str,
    value: Any,
    message: str,
    hinges: tuple[str, ...] = (),
    at: tuple[str, str] | None = None,
) -> Mutant:
    type_, name, base = where
    change = partial(Program.put, type_=type_, name=name, place=place, value=value)
    return Mutant(rule=rule, claim=claim, change=change, message=message, base=base, at=at, hinges=hinges)


def _drop(
    rule: str,
    claim: str,
    where: tuple[str, str, str],
    place: str,
    message: str,
    at: tuple[str, str] | None = None,
    hinges: tuple[str, ...] = (),
) -> Mutant:
    type_, name, base = where
    change = partial(Program.drop, type_=type_, name=name, place=place)
    return Mutant(rule=rule, claim=claim, change=change, message=message, base=base, at=at, hinges=hinges)


def _functions() -> list[Mutant]:
    mutants: list[Mutant] = []
    for where in ((CLASSIC_FUNCTION, "orders-api", "prod"), (NATIVE_FUNCTION, "place", NATIVE)):
        mutants += [
            _put(RUNTIME, "out of support", where, "runtime", "python3.8", UNSUPPORTED),
            _drop(RUNTIME, "none", where, "runtime", UNSUPPORTED),
            _put(TRACED, "passing on", where, "tracingConfig.mode", "PassThrough", UNTRACED),
            _drop(TRACED, "not said", where, "tracingConfig", UNTRACED),
            _drop(SIZED, "AWS's timeout", where, "timeout", TIMEOUT),
            _drop(SIZED, "AWS's memory", where, "memorySize", MEMORY),
            _put(IN_TIME, "as long as the API", where, "timeout", 29, TOO_LATE),
            _put(IN_TIME, "longer than the API", where, "timeout", 180, TOO_LATE),
        ]
    ours = (CLASSIC_FUNCTION, "orders-api", "prod")
    mutants += [
        _put(SIZED, "the timeout that the provider fills in", ours, "timeout", 3, TIMEOUT),
        _put(SIZED, "the memory that the provider fills in", ours, "memorySize", 128, MEMORY),
        Mutant(
            rule=LOG_GROUP,
            claim="none",
            change=lambda program: program.remove(NATIVE_GROUP, "log"),
            message=NO_LOG_GROUP,
            base=NATIVE,
            at=(NATIVE_FUNCTION, "place"),
        ),
        Mutant(
            rule=LOG_GROUP,
            claim="of another function",
            change=partial(
                Program.put, type_=NATIVE_GROUP, name="log", place="logGroupName", value="/aws/lambda/places"
            ),
            message=NO_LOG_GROUP,
            base=NATIVE,
            at=(NATIVE_FUNCTION, "place"),
            hinges=("functionName",),
        ),
        Mutant(
            rule=LOG_GROUP,
            claim="of another function",
            change=_no_log_group,
            message=NO_LOG_GROUP,
            at=(CLASSIC_FUNCTION, "acme-confirm"),
            hinges=("name",),
        ),
    ]
    return mutants


def _no_log_group(program: Program) -> None:
    """Ours is named in the function, and has the name that Lambda would look for."""
    program.drop(CLASSIC_FUNCTION, "acme-confirm", "loggingConfig")
    program.put(CLASSIC_GROUP, "acme-confirm", "name", "/aws/lambda/another")


def _invocations() -> list[Mutant]:
    mutants: list[Mutant] = []
    for where in (
        (CLASSIC_PERMISSION, "acme-confirm", "prod"),
        (CLASSIC_PERMISSION, "orders-api-placeOrder", "prod"),
        (NATIVE_PERMISSION, "api", NATIVE),
    ):
        mutants += [
            _drop(PERMISSION, f"any account to {where[1]}", where, "sourceArn", ANY_ACCOUNT, hinges=("principal",)),
            _put(PERMISSION, f"any source to {where[1]}", where, "sourceArn", "*", ANY_ACCOUNT, ("principal",)),
            _put(PERMISSION, f"anybody to {where[1]}", where, "principal", "*", ANYBODY),
        ]
    for where, place in (
        ((CLASSIC_URL, "url", ADDRESSED), "authorizationType"),
        ((NATIVE_URL, "url", NATIVE), "authType"),
    ):
        mutants += [
            _put(URL, "open", where, place, "NONE", open_url(place)),
            _drop(URL, "not said", where, place, open_url(place)),
        ]
    for where, at in (
        ((CLASSIC_CONFIG, "acme-confirm", "prod"), (CLASSIC_FUNCTION, "acme-confirm")),
        ((NATIVE_CONFIG, "failures", NATIVE), (NATIVE_FUNCTION, "place")),
    ):
        type_, name, base = where
        mutants += [
            *(
                _drop(BOUNDED, f"AWS's {place}", where, place, not_chosen(place))
                for place in ("maximumRetryAttempts", "maximumEventAgeInSeconds")
            ),
            _put(
                BOUNDED,
                "the provider's retries",
                where,
                "__defaults",
                ["maximumRetryAttempts"],
                not_chosen("maximumRetryAttempts"),
            ),
            _drop(KEPT, "no destination", where, "destinationConfig", DROPPED, at),
            _put(KEPT, "a destination of an alias alone", where, "qualifier", "live", DROPPED, at=at),
            Mutant(
                rule=KEPT,
                claim="no configuration",
                change=partial(Program.remove, type_=type_, name=name),
                message=DROPPED,
                base=base,
                at=at,
            ),
        ]
    return mutants


MUTANTS = [*_functions(), *_invocations()]
