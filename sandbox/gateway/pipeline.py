"""Every step of a request, in API Gateway's order.

Stage, resource and method, payload limit, signature and policies, throttling, request validator, integration. AWS
documents the order of authorization ("Control and manage access to REST APIs in API Gateway") and that validation comes
before the integration; that a throttled request has been authorized, and that the payload limit comes early, is not
documented.
"""

from __future__ import annotations

import json
import logging
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar
from urllib.parse import parse_qsl

from sandbox import iam, sigv4
from sandbox.gateway import proxy, refusals, routing, service
from sandbox.gateway.deployments import Stage
from sandbox.gateway.document import LambdaProxy, Method, ServiceAction
from sandbox.gateway.exchange import (
    Answer,
    Incoming,
    Where,
    identity_of,
    new_context,
    substitute,
    with_headers,
)
from sandbox.gateway.ports import (
    Authority,
    CallService,
    IntegrationRefusedError,
    IntegrationThrottledError,
    InvokeFunction,
)
from sandbox.gateway.refusals import RefusalError, internal
from sandbox.gateway.throttle import Buckets
from sandbox.gateway.validation import check_body, check_parameters
from sandbox.vtl import TemplateError

_Result = TypeVar("_Result")

_logger = logging.getLogger(__name__)

# "Quotas for configuring and running a REST API in API Gateway".
PAYLOAD_LIMIT = 10 * 1024 * 1024

_FAULTS = {
    sigv4.Fault.MISSING_AUTHENTICATION_TOKEN: "MISSING_AUTHENTICATION_TOKEN",
    sigv4.Fault.EXPIRED_TOKEN: "EXPIRED_TOKEN",
}


def _utc_now() -> datetime:
    return datetime.now(UTC)


def _nowhere(_destination_arn: str, _line: str) -> None:
    pass


@dataclass
class _Exchange:
    """What becomes known of one request, step by step."""

    request: Incoming
    stage: Stage
    path: str
    """Below the stage's."""
    route: routing.Route | None
    context: dict[str, Any]
    integration: dict[str, Any] = field(default_factory=dict[str, Any])


class Pipeline:
    """Answers requests for `/{stage}/...` as API Gateway answers those for the stage's own address.

    `stages` finds a stage by its name, `access_log` takes the ARN of a log group and a line for it. `domain` is the
    partition's. `clock` decides about signatures, throttling and `$context`; it is for tests. `skipped_since` says how
    many seconds older than by that clock a signature is.
    """

    def __init__(
        self,
        stages: Callable[[str], Stage | None],
        *,
        authority: Authority,
        invoke: InvokeFunction,
        call_service: CallService,
        access_log: Callable[[str, str], None] = _nowhere,
        domain: str = "amazonaws.com",
        clock: Callable[[], datetime] = _utc_now,
        skipped_since: Callable[[float], float] = lambda _: 0.0,
    ) -> None:
        self._stages = stages
        self._authority = authority
        self._invoke = invoke
        self._call_service = call_service
        self._access_log = access_log
        self._domain = domain
        self._clock = clock
        self._skipped_since = skipped_since
        self._buckets = Buckets()

    def answer(self, request: Incoming) -> Answer:
        """The response to one request; blocks as long as its integration does."""
        started = time.monotonic()
        name, slash, rest = request.path.removeprefix("/").partition("/")
        stage = self._stages(name)
        if stage is None:
            # Of no API, so no gateway response of one applies.
            headers = (("Content-Type", refusals.JSON), ("x-amzn-ErrorType", "ForbiddenException"))
            return Answer(403, headers, b'{"message":"Forbidden"}')
        exchange = self._exchange(request, stage, slash + rest)
        context = exchange.context
        try:
            answer, error = self._serve(exchange), None
        except RefusalError as refusal:
            error = refusal.variables()
            answer = refusals.answer(refusal, stage.api.gateway_responses, context)
        answer = with_headers(
            answer,
            (("x-amzn-RequestId", context["requestId"]), ("x-amz-apigw-id", context["extendedRequestId"])),
        )
        if stage.access_log is not None:
            known = {
                **context,
                "error": error,
                "status": answer.status,
                "responseLength": len(answer.body),
                "responseLatency": _milliseconds(started),
                "integration": exchange.integration,
                "integrationLatency": exchange.integration.get("latency"),
            }
            line = substitute(stage.access_log.format, known, absent="-", quoted=True)
            self._access_log(stage.access_log.destination_arn, line)
        return answer

    def _exchange(self, request: Incoming, stage: Stage, path: str) -> _Exchange:
        route = routing.find(path, stage.api.methods)
        where = Where(
            execution_arn=stage.execution_arn,
            stage=stage.name,
            deployment_id=stage.deployment_id,
            resource=route.resource if route else "",
            domain=self._domain,
        )
        return _Exchange(request, stage, path or "/", route, new_context(request, where, self._clock()))

    def _serve(self, exchange: _Exchange) -> Answer:
        request, stage, route = exchange.request, exchange.stage, exchange.route
        methods: Mapping[str, Method] = stage.api.methods[route.resource] if route else {}
        method = methods.get(request.method) or methods.get("ANY")
        if route is None or method is None:
            raise _missing_token()
        if len(request.body) > PAYLOAD_LIMIT:
            raise RefusalError(
                "REQUEST_TOO_LARGE",
                f"HTTP content length exceeded {PAYLOAD_LIMIT} bytes.",
                "RequestEntityTooLargeException",
            )
        self._authorize(exchange, method)
        key = (stage.execution_arn, stage.name, method.resource, method.name)
        if not self._buckets.take(key, stage.limits(method), self._clock().timestamp()):
            raise RefusalError("THROTTLED", "Too Many Requests", "TooManyRequestsException")
        check_parameters(method.required, request, route.parameters)
        check_body(method.models, request)
        match method.integration:
            case LambdaProxy():
                return self._lambda_proxy(exchange, route, method.integration)
            case ServiceAction():
                return self._service_action(exchange, route, method.integration)

    # --- authorization ------------------------------------------------------------------------------------------------

    def _authorize(self, exchange: _Exchange, method: Method) -> None:
        request, stage = exchange.request, exchange.stage
        principal: iam.Principal = iam.Anonymous()
        if method.signed:
            principal, access_key_id = self._sender(request, stage)
            exchange.context["identity"] |= identity_of(principal, access_key_id)
        elif stage.api.policy is None:
            return
        # The path as sent, which is what the resource was found by.
        resource = f"{stage.execution_arn}/{stage.name}/{request.method}{exchange.path}"
        context = {"aws:SourceIp": request.source_ip}
        decision = self._authority.decide(principal, "execute-api:Invoke", resource, context)
        if not decision.allowed:
            _logger.info("%s: %s", exchange.context["requestId"], decision.reason)
            # AWS hides most of the account, and says no more than this of the reason.
            account = resource.split(":")[4]
            hidden = resource.replace(f":{account}:", f":{'*' * (len(account) - 4)}{account[-4:]}:", 1)
            message = f"User: {principal.name} is not authorized to perform: execute-api:Invoke on resource: {hidden}"
            message += " with an explicit deny" if decision.explicit else ""
            raise RefusalError("ACCESS_DENIED", message, "AccessDeniedException")

    def _sender(self, request: Incoming, stage: Stage) -> tuple[iam.Principal, str]:
        used: list[str] = []

        def keys(access_key_id: str) -> sigv4.AccessKey[iam.Principal] | None:
            used.append(access_key_id)
            return self._authority.keys(access_key_id)

        sender = sigv4.verify(
            request.method,
            request.target,
            request.headers,
            request.body,
            service="execute-api",
            region=stage.execution_arn.split(":")[3],
            keys=keys,
            now=self._clock(),
            skipped_since=self._skipped_since,
        )
        if isinstance(sender, sigv4.Refusal):
            # Which type an unknown key or an incomplete signature has is not documented.
            kind = _FAULTS.get(sender.fault, "INVALID_SIGNATURE")
            raise RefusalError(kind, sender.message, sender.fault.json_name)
        return sender, used[-1]

    # --- integrations -------------------------------------------------------------------------------------------------

    def _lambda_proxy(self, exchange: _Exchange, route: routing.Route, integration: LambdaProxy) -> Answer:
        request, stage, context = exchange.request, exchange.stage, exchange.context
        event = proxy.event(
            request,
            resource=route.resource,
            path=exchange.path,
            path_parameters=route.parameters,
            stage_variables=stage.variables,
            context=context,
            binary=stage.api.binary_media_types,
            trace_id=f"Root=1-{context['requestTimeEpoch'] // 1000:08x}-{secrets.token_hex(12)}",
        )
        # AWS doesn't document what stands for a parameter; grants end in a wildcard there.
        source_arn = f"{stage.execution_arn}/{stage.name}/{request.method}{route.resource}"
        payload = json.dumps(event).encode()
        invocation = self._timed(
            exchange,
            lambda: self._invoke(integration.function_arn, payload, source_arn=source_arn, timeout=integration.timeout),
        )
        if invocation.function_error is not None:
            raise self._failed(exchange, f"the function failed: {invocation.function_error}", status=502)
        try:
            answer = proxy.response(
                invocation.payload, accept=request.header("accept"), binary=stage.api.binary_media_types
            )
        except proxy.MalformedError as error:
            raise self._failed(exchange, f"malformed Lambda proxy response: {error}", status=502) from error
        exchange.integration["status"] = answer.status
        return answer

    def _service_action(self, exchange: _Exchange, route: routing.Route, integration: ServiceAction) -> Answer:
        request = exchange.request
        inputs = service.Inputs(
            context=exchange.context,
            path=route.parameters,
            querystring=dict(parse_qsl(request.query, keep_blank_values=True)),
            headers={name: values[-1] for name, values in request.multi_headers().items()},
            stage_variables=exchange.stage.variables,
        )
        try:
            body = service.service_body(integration, request, inputs)
        except TemplateError as error:
            raise self._failed(exchange, f"the request template: {error}") from error
        answered = self._timed(exchange, lambda: self._call_service(integration.role_arn, integration.target, body))
        exchange.integration["status"] = answered.status
        chosen = service.selected(integration, answered.status)
        try:
            return service.response(chosen, answered, inputs)
        except TemplateError as error:
            pattern = chosen.pattern.pattern if chosen.pattern else "default"
            raise self._failed(exchange, f"the template of the response {pattern}: {error}") from error

    def _timed(self, exchange: _Exchange, call: Callable[[], _Result]) -> _Result:
        """What the integration gives, or the refusal that its failure means."""
        started = time.monotonic()
        try:
            return call()
        except IntegrationRefusedError as error:
            raise self._failed(exchange, str(error), kind="API_CONFIGURATION_ERROR") from error
        except IntegrationThrottledError as error:
            # Staff of AWS said so: always 500, and nothing that could be mapped.
            raise self._failed(exchange, str(error), status=500) from error
        except TimeoutError as error:
            message = "Endpoint request timed out"
            raise self._failed(exchange, "timed out", kind="INTEGRATION_TIMEOUT", message=message) from error
        except ConnectionError as error:
            message = "Network error communicating with endpoint"
            raise self._failed(exchange, str(error), kind="INTEGRATION_FAILURE", message=message) from error
        finally:
            exchange.integration["latency"] = _milliseconds(started)

    def _failed(
        self,
        exchange: _Exchange,
        reason: str,
        *,
        kind: str = "DEFAULT_5XX",
        status: int | None = None,
        message: str = "Internal server error",
    ) -> RefusalError:
        """A failure of the integration, whose reason is for the log only."""
        context = exchange.context
        method = f"{context['httpMethod']} {context['resourcePath']}"
        _logger.error("%s: %s: %s", context["requestId"], method, reason)
        exchange.integration["error"] = reason
        return internal(kind, status=status, message=message)


def _missing_token() -> RefusalError:
    """What API Gateway says of a resource or method that isn't there."""
    return RefusalError(
        "MISSING_AUTHENTICATION_TOKEN", "Missing Authentication Token", "MissingAuthenticationTokenException"
    )


def _milliseconds(started: float) -> int:
    return round((time.monotonic() - started) * 1000)
