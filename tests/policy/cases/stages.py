"""Stages and usage plans of REST APIs: what is accepted, and the smallest changes that must be refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from typing import Any

from tests.policy.engine import NOT_YET, urn
from tests.policy.programs import Mutant, Program, Thing

THROTTLED = "api-throttled"
LIMITED = "api-stage-limited"
OBSERVABLE = "api-stage-observable"

STAGE, NATIVE_STAGE = "aws:apigateway/stage:Stage", "aws-native:apigateway:Stage"
SETTINGS = "aws:apigateway/methodSettings:MethodSettings"
PLAN, NATIVE_PLAN = "aws:apigateway/usagePlan:UsagePlan", "aws-native:apigateway:UsagePlan"

FORMAT = json.dumps(
    {
        name: f"$context.{name}"
        for name in ("requestId", "requestTime", "httpMethod", "resourcePath", "status", "error.message")
    }
)


def native_stage() -> dict[str, Any]:
    return {
        "restApiId": NOT_YET,
        "stageName": "v1",
        "tracingEnabled": True,
        "accessLogSetting": {"destinationArn": NOT_YET, "format": FORMAT},
        "methodSettings": [
            {
                "resourcePath": "/*",
                "httpMethod": "*",
                "loggingLevel": "ERROR",
                "throttlingRateLimit": 0.5,
                "throttlingBurstLimit": 20,
            }
        ],
    }


NATIVE = "a stage of aws-native"
PLANS = "usage plans"

BASES: dict[str, list[Thing]] = {
    NATIVE: [Thing(type=NATIVE_STAGE, name="gateway", inputs=native_stage())],
    PLANS: [
        Thing(
            type=PLAN,
            name="partners",
            inputs={
                "throttleSettings": {"rateLimit": 10, "burstLimit": 20},
                "apiStages": [
                    {
                        "apiId": NOT_YET,
                        "stage": "v1",
                        "throttles": [{"path": "/orders/POST", "rateLimit": 1, "burstLimit": 2}],
                    }
                ],
            },
        ),
        Thing(
            type=NATIVE_PLAN,
            name="partners",
            inputs={
                "throttle": {"rateLimit": 10, "burstLimit": 20},
                "apiStages": [{"apiId": NOT_YET, "throttle": {"/orders/POST": {"rateLimit": 5, "burstLimit": 5}}}],
            },
        ),
        Thing(type=PLAN, name="counted", inputs={"quotaSettings": {"limit": 1000, "period": "DAY"}}),
    ],
}


# Limits that are none, and what is said of them.
LIMITS: dict[str, tuple[Any, str]] = {
    "none": (None, "set {}: without it only the limit that the account's APIs share is left"),
    "off": (-1, "raise {} above 0"),
    "zero": (0, "raise {} above 0"),
    "text": ("20", "set {} to a number"),
    "yes": (True, "set {} to a number"),
}


# A route's name is its own: messages count it out.
ROUTE = "apiStages[0].throttle./orders/POST.rateLimit"


def _limits() -> Iterator[Mutant]:
    places = (
        (SETTINGS, "prod", None, "settings.throttlingRateLimit", 10001, 10000),
        (SETTINGS, "prod", None, "settings.throttlingBurstLimit", 5001, 5000),
        (NATIVE_STAGE, NATIVE, None, "methodSettings[0].throttlingRateLimit", 10001, 10000),
        (NATIVE_STAGE, NATIVE, None, "methodSettings[0].throttlingBurstLimit", 5001, 5000),
        (PLAN, PLANS, "partners", "throttleSettings.rateLimit", 10001, 10000),
        (PLAN, PLANS, "partners", "apiStages[0].throttles[0].burstLimit", 5001, 5000),
        (NATIVE_PLAN, PLANS, "partners", "throttle.burstLimit", 5001, 5000),
        (NATIVE_PLAN, PLANS, "partners", ROUTE, 10001, 10000),
    )
    for type_, base, name, place, beyond, most in places:
        for claim, (value, message) in {**LIMITS, "beyond": (beyond, f"lower {{}} to {most} or less")}.items():
            yield Mutant(
                rule=THROTTLED,
                claim=f"{claim} as {place}",
                base=base,
                change=partial(Program.put, type_=type_, name=name, place=place, value=value),
                message=message.format(place.replace("./orders/POST", "[0]")),
            )
    for place, value in (("resourcePath", "/orders"), ("httpMethod", "POST")):
        yield Mutant(
            rule=THROTTLED,
            claim=f"not every {place}",
            base=NATIVE,
            change=partial(Program.put, type_=NATIVE_STAGE, name=None, place=f"methodSettings[0].{place}", value=value),
            message=ALL_METHODS,
            hinges=("methodSettings",),
        )


ALL_METHODS = "add to methodSettings what holds for resourcePath /* and httpMethod *: limits and a logging level"


def _settings() -> Iterator[Mutant]:
    message = "add MethodSettings with methodPath */* for the stage: limits and a logging level"
    yield Mutant(
        rule=LIMITED,
        claim="no settings",
        change=partial(Program.remove, type_=SETTINGS),
        message=message,
        at=(STAGE, "orders-api"),
    )
    yield Mutant(
        rule=LIMITED,
        claim="settings of one method",
        change=partial(Program.put, type_=SETTINGS, name=None, place="methodPath", value="orders/POST"),
        message=message,
        at=(STAGE, "orders-api"),
    )
    yield Mutant(
        rule=LIMITED,
        claim="a second stage",
        change=lambda program: program.add(
            Thing(
                type=STAGE,
                name="second",
                inputs={**program.only(STAGE).inputs, "stageName": "v2"},
                urn=urn(STAGE, "second"),
            )
        ),
        message=message,
    )


def _shown() -> Iterator[Mutant]:
    for type_, base, log, tracing in (
        (STAGE, "prod", "accessLogSettings", "xrayTracingEnabled"),
        (NATIVE_STAGE, NATIVE, "accessLogSetting", "tracingEnabled"),
    ):
        for claim, place, value, message in (
            ("no X-Ray", tracing, False, f"set {tracing} to true"),
            ("no access log", log, None, f"set {log} to a log group and a format"),
            ("no log group", f"{log}.destinationArn", None, f"set {log}.destinationArn to the ARN of a log group"),
            ("no format", f"{log}.format", None, f"write {log}.format as a JSON object"),
            ("lines", f"{log}.format", "$context.requestId $context.status", f"write {log}.format as a JSON object"),
            ("a list", f"{log}.format", '["$context.requestId"]', f"write {log}.format as a JSON object"),
            (
                "an access log without a time",
                f"{log}.format",
                FORMAT.replace("$context.requestTime", "$context.requestTimeEpoch").replace("$context.status", "200"),
                f"log $context.requestTime, $context.status in {log}.format",
            ),
        ):
            yield Mutant(
                rule=OBSERVABLE,
                claim=f"{claim} of {type_}",
                base=base,
                change=partial(Program.put, type_=type_, name=None, place=place, value=value),
                message=message,
            )
    for type_, base, at in ((SETTINGS, "prod", "settings"), (NATIVE_STAGE, NATIVE, "methodSettings[0]")):
        for claim, place, value, message in (
            ("no level", "loggingLevel", None, f"set {at}.loggingLevel to ERROR or INFO"),
            ("the level OFF", "loggingLevel", "OFF", f"set {at}.loggingLevel to ERROR or INFO"),
            (
                "a data trace",
                "dataTraceEnabled",
                True,
                f"set {at}.dataTraceEnabled to false: it writes whole requests and responses into the log",
            ),
        ):
            yield Mutant(
                rule=OBSERVABLE,
                claim=f"{claim} of {type_}",
                base=base,
                change=partial(Program.put, type_=type_, name=None, place=f"{at}.{place}", value=value),
                message=message,
            )


MUTANTS = [*_limits(), *_settings(), *_shown()]
