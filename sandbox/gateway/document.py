"""The OpenAPI document that a REST API is made of, read as API Gateway imports it.

The rules are those of "OpenAPI extensions for API Gateway" and "Amazon API Gateway important notes" in the API Gateway
developer guide. Everything in the document is acted on, or is known to mean nothing to API Gateway, or is an
`UnsupportedError` that names it: nothing is left out silently.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from sandbox.gateway.exchange import OF_ERROR, OF_REQUEST, variables
from sandbox.gateway.refusals import JSON, STATUS, GatewayResponse
from sandbox.gateway.validation import Model, ModelError, Parameter, resolved

Object = Mapping[str, Any]

_METHODS = ("delete", "get", "head", "options", "patch", "post", "put")
_ANY = "x-amazon-apigateway-any-method"
_INTEGRATION = "x-amazon-apigateway-integration"
_VALIDATOR = "x-amazon-apigateway-request-validator"
_DEFAULT_TIMEOUT = 29_000
_RESOURCE = re.compile(r"/|(?:/(?:[A-Za-z0-9._:$-]+|\{[A-Za-z0-9._-]+\}))*(?:/\{[A-Za-z0-9._-]+\+\})?")
_POLICY = "x-amazon-apigateway-policy"
_VALIDATORS = "x-amazon-apigateway-request-validators"
_GATEWAY_RESPONSES = "x-amazon-apigateway-gateway-responses"
_BINARY = "x-amazon-apigateway-binary-media-types"
_AUTHTYPE = "x-amazon-apigateway-authtype"
_OF_DOCUMENT = {_POLICY, _VALIDATORS, _VALIDATOR, _GATEWAY_RESPONSES, _BINARY}
_EXTENSIONS = _OF_DOCUMENT | {_AUTHTYPE, _INTEGRATION, _ANY}
_LAMBDA_URI = re.compile(
    r"arn:[a-z-]+:apigateway:[a-z0-9-]+:lambda:path/2015-03-31/functions/"
    r"(arn:[a-z-]+:lambda:[a-z0-9-]+:\d{12}:function:[A-Za-z0-9_-]+(?::[A-Za-z0-9$_-]+)?)/invocations"
)
_ACTION_URI = re.compile(r"arn:[a-z-]+:apigateway:[a-z0-9-]+:([a-z0-9-]+):action/([A-Za-z]+)")
_ROLE = re.compile(r"arn:[a-z-]+:iam::\d{12}:role/.+")
# How a service's actions are named in X-Amz-Target, and the content type of its protocol.
_SERVICES = {"events": ("AWSEvents", "application/x-amz-json-1.1")}
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_STATIC = re.compile(r"'([\t -~]*)'")


class UnsupportedError(ValueError):
    """Says where the document uses what API Gateway would refuse, or what the local gateway does not emulate."""


@dataclass(frozen=True, kw_only=True)
class LambdaProxy:
    """A function that gets the whole request, and whose result is the response."""

    function_arn: str
    timeout: float


@dataclass(frozen=True, kw_only=True)
class IntegrationResponse:
    """What becomes of a service's answer; without a pattern it is the default."""

    pattern: re.Pattern[str] | None
    status: int
    headers: Mapping[str, str]
    copied_headers: Mapping[str, str]
    """By the response's header, the one of the service's answer."""
    content_type: str = JSON
    template: str | None = None


@dataclass(frozen=True, kw_only=True)
class ServiceAction:
    """An action of an AWS service, called in a role of its own with a body that a template makes."""

    target: str
    role_arn: str
    passthrough: str
    templates: Mapping[str, str]
    responses: tuple[IntegrationResponse, ...]


@dataclass(frozen=True, kw_only=True)
class Method:
    """One method of one resource; `name` is ANY for the one that takes all methods without their own."""

    resource: str
    name: str
    signed: bool
    """AWS_IAM: only for whoever signs, and is allowed to."""
    required: tuple[Parameter, ...]
    """Empty unless the method's validator looks at parameters."""
    models: Mapping[str, Model]
    """By content type; empty unless the method's validator looks at bodies."""
    integration: LambdaProxy | ServiceAction


@dataclass(frozen=True, kw_only=True)
class Api:
    """A REST API as imported."""

    methods: Mapping[str, Mapping[str, Method]]
    """By resource and name."""
    gateway_responses: Mapping[str, GatewayResponse] = field(default_factory=dict[str, GatewayResponse])
    binary_media_types: frozenset[str] = frozenset()
    policy: Object | None = None


def read(body: str) -> Api:
    """The API of an OpenAPI document."""
    document = _object(json.loads(body), "the document")
    _known(
        document,
        "the document",
        {"openapi", "paths", "components"} | _OF_DOCUMENT,
        ignored={"info", "tags", "externalDocs"},
    )
    if not str(document.get("openapi")).startswith("3.0."):
        raise UnsupportedError(f"the document: only OpenAPI 3.0 is supported, not {document.get('openapi')}")
    _check_extensions(document, "the document")
    paths = dict(_items(document, "paths", "paths"))
    _check_resources(paths)
    return Api(
        methods={resource: dict(_methods(resource, item, document)) for resource, item in paths.items()},
        gateway_responses=dict(_gateway_responses(document)),
        binary_media_types=frozenset(_binary_media_types(document)),
        policy=_optional(document, _POLICY, "the document"),
    )


def _binary_media_types(document: Object) -> Iterator[str]:
    for media_type in document.get(_BINARY, []):
        if "*" in media_type and media_type != "*/*":
            raise UnsupportedError(f"the binary media type {media_type!r}: no wildcard but */*")
        yield media_type.lower()


# --- methods ----------------------------------------------------------------------------------------------------------


def _check_resources(resources: Iterable[str]) -> None:
    variables: dict[str, str] = {}
    for resource in resources:
        if not _RESOURCE.fullmatch(resource):
            raise UnsupportedError(f"paths: {resource!r} is no path of a resource")
        for variable in re.finditer(r"\{[^/]+", resource):
            # A level has one variable: which of two would take a request?
            other = variables.setdefault(resource[: variable.start()], variable[0])
            if other != variable[0]:
                raise UnsupportedError(f"paths: {resource}: {other} is a sibling of {variable[0]}")


def _methods(resource: str, item: Object, document: Object) -> Iterator[tuple[str, Method]]:
    _known(item, resource, {*_METHODS, _ANY, "parameters"}, ignored={"summary", "description"})
    for key in (*_METHODS, _ANY):
        if key in item:
            name = "ANY" if key == _ANY else key.upper()
            where = f"{name} {resource}"
            operation = _object(item[key], where)
            yield name, _method(resource, name, operation, _list(item, "parameters"), document)


def _method(resource: str, name: str, operation: Object, shared: list[Any], document: Object) -> Method:
    where = f"{name} {resource}"
    _known(
        operation,
        where,
        {"security", "parameters", "requestBody", "responses", _VALIDATOR, _INTEGRATION},
        ignored={"operationId", "summary", "description", "tags", "deprecated", "externalDocs"},
    )
    if _INTEGRATION not in operation:
        raise UnsupportedError(f"{where}: no integration")
    validator = _validator(operation, where, document)
    parameters = [_deref(parameter, where, document) for parameter in (*shared, *_list(operation, "parameters"))]
    required = tuple(_required(parameters, where))
    models = dict(_models(operation, where, document))
    return Method(
        resource=resource,
        name=name,
        signed=_signed(operation, where, document),
        required=required if validator.get("validateRequestParameters") else (),
        models=models if validator.get("validateRequestBody") else {},
        integration=_integration(operation, where, document),
    )


def _signed(operation: Object, where: str, document: Object) -> bool:
    """Whether the one security requirement of the operation is a signature; without any, everybody may call it."""
    schemes = _object(document.get("components", {}), "components").get("securitySchemes", {})
    names = [name for requirement in _list(operation, "security") for name in requirement]
    for name in names:
        scheme = _object(schemes.get(name), f"{where}: security scheme {name}")
        _known(scheme, f"security scheme {name}", {"type", "name", "in", _AUTHTYPE}, ignored=set())
        if scheme.get(_AUTHTYPE) != "awsSigv4":
            raise UnsupportedError(f"{where}: security scheme {name}: only x-amazon-apigateway-authtype awsSigv4")
    return bool(names)


def _validator(operation: Object, where: str, document: Object) -> Object:
    name = operation.get(_VALIDATOR, document.get(_VALIDATOR))
    if name is None:
        return {}
    validators = _object(document.get(_VALIDATORS, {}), "request validators")
    if name not in validators:
        raise UnsupportedError(f"{where}: there is no request validator {name!r}")
    validator = _object(validators[name], f"request validator {name!r}")
    _known(
        validator, f"request validator {name!r}", {"validateRequestParameters", "validateRequestBody"}, ignored=set()
    )
    return validator


def _required(parameters: Iterable[Object], where: str) -> Iterator[Parameter]:
    for parameter in parameters:
        if parameter.get("in") not in {"path", "query", "header"}:
            raise UnsupportedError(f"{where}: a parameter in {parameter.get('in')!r}")
        if parameter.get("required"):
            yield Parameter(parameter["in"], parameter["name"])


def _models(operation: Object, where: str, document: Object) -> Iterator[tuple[str, Model]]:
    body = _deref(operation.get("requestBody", {}), where, document)
    for content_type, content in _items(body, "content", f"{where}: requestBody"):
        if "schema" not in content:
            continue
        try:
            yield content_type.lower(), Model(_object(content["schema"], f"{where}: schema"), document)
        except ModelError as error:
            raise UnsupportedError(f"{where}: the model of {content_type}: {error}") from error


# --- integrations -----------------------------------------------------------------------------------------------------


def _integration(operation: Object, where: str, document: Object) -> LambdaProxy | ServiceAction:
    integration = _object(operation[_INTEGRATION], f"{where}: integration")
    where = f"{where}: integration"
    if integration.get("httpMethod") != "POST":
        raise UnsupportedError(f"{where}: httpMethod must be POST, not {integration.get('httpMethod')!r}")
    match str(integration.get("type")).lower():
        case "aws_proxy":
            return _lambda_proxy(integration, where)
        case "aws":
            return _service_action(integration, where, _declared_headers(operation, where, document))
        case kind:
            raise UnsupportedError(f"{where}: the type {kind!r} is not supported")


def _lambda_proxy(integration: Object, where: str) -> LambdaProxy:
    # A proxy has no templates for passthroughBehavior to choose from.
    _known(integration, where, {"type", "httpMethod", "uri", "timeoutInMillis"}, ignored={"passthroughBehavior"})
    uri = _LAMBDA_URI.fullmatch(str(integration.get("uri")))
    if uri is None:
        raise UnsupportedError(f"{where}: the uri {integration.get('uri')!r} is no invocation of a function")
    timeout = integration.get("timeoutInMillis", _DEFAULT_TIMEOUT)
    if not isinstance(timeout, int) or not 50 <= timeout <= _DEFAULT_TIMEOUT:  # noqa: PLR2004 - AWS's bounds
        raise UnsupportedError(f"{where}: timeoutInMillis must be from 50 to {_DEFAULT_TIMEOUT}")
    return LambdaProxy(function_arn=uri[1], timeout=timeout / 1000)


def _service_action(integration: Object, where: str, declared: Mapping[str, set[str]]) -> ServiceAction:
    _known(
        integration,
        where,
        {"type", "httpMethod", "uri", "credentials", "passthroughBehavior", "requestParameters", "requestTemplates"}
        | {"responses"},
        ignored=set(),
    )
    uri = _ACTION_URI.fullmatch(str(integration.get("uri")))
    if uri is None or uri[1] not in _SERVICES:
        raise UnsupportedError(f"{where}: the uri {integration.get('uri')!r} is not supported")
    prefix, protocol = _SERVICES[uri[1]]
    role = str(integration.get("credentials"))
    if not _ROLE.fullmatch(role):
        raise UnsupportedError(f"{where}: credentials must be the ARN of a role, not {role!r}")
    target = f"{prefix}.{uri[2]}"
    # API Gateway sets neither for this service: without them it would get a request that it doesn't understand.
    if (headers := _request_headers(integration, where)) != {"content-type": protocol, "x-amz-target": target}:
        raise UnsupportedError(
            f"{where}: requestParameters must set Content-Type to {protocol} and X-Amz-Target to {target}, "
            f"and nothing else, not {headers}"
        )
    passthrough = str(integration.get("passthroughBehavior", "when_no_match")).lower()
    if passthrough not in {"never", "when_no_match", "when_no_templates"}:
        raise UnsupportedError(f"{where}: the passthroughBehavior {passthrough!r}")
    responses = [
        _integration_response(pattern, response, f"{where}: response {pattern!r}", declared)
        for pattern, response in _items(integration, "responses", where)
    ]
    return ServiceAction(
        target=target,
        role_arn=role,
        passthrough=passthrough,
        templates=_templates(integration, "requestTemplates", where),
        responses=tuple(responses),
    )


def _request_headers(integration: Object, where: str) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name, value in _object(integration.get("requestParameters", {}), f"{where}: requestParameters").items():
        header = name.removeprefix("integration.request.header.")
        if header == name:
            raise UnsupportedError(f"{where}: the request parameter {name!r} is not supported")
        headers[header.lower()] = _static(value, f"{where}: request parameter {name!r}")
    return headers


def _integration_response(
    pattern: str, response: Object, where: str, declared: Mapping[str, set[str]]
) -> IntegrationResponse:
    _known(response, where, {"statusCode", "responseParameters", "responseTemplates"}, ignored=set())
    status = str(response.get("statusCode"))
    if status not in declared or not re.fullmatch(r"[1-5]\d\d", status):
        raise UnsupportedError(f"{where}: the method has no response {status}")
    headers: dict[str, str] = {}
    copied: dict[str, str] = {}
    for name, value in _object(response.get("responseParameters", {}), where).items():
        header = name.removeprefix("method.response.header.")
        if header == name or header.lower() not in declared[status]:
            raise UnsupportedError(f"{where}: {name!r} is no header of the method's response {status}")
        source = str(value).removeprefix("integration.response.header.")
        if source != value:
            copied[header] = source.lower()
        else:
            headers[header] = _static(value, f"{where}: {name!r}")
    templates = _templates(response, "responseTemplates", where)
    if len(templates) > 1:
        raise UnsupportedError(f"{where}: which of several templates is taken is not documented")
    content_type, template = next(iter(templates.items()), (JSON, None))
    try:
        selects = None if pattern == "default" else re.compile(pattern)
    except re.error as error:
        raise UnsupportedError(f"{where}: no regular expression: {error}") from error
    return IntegrationResponse(
        pattern=selects,
        status=int(status),
        headers=headers,
        copied_headers=copied,
        content_type=content_type,
        template=template,
    )


def _declared_headers(operation: Object, where: str, document: Object) -> dict[str, set[str]]:
    """The headers, in lower case, of each response that the method has."""
    found: dict[str, set[str]] = {}
    for status, response in _items(operation, "responses", where):
        headers = _deref(response, where, document).get("headers", {})
        found[status] = {name.lower() for name in _object(headers, f"{where}: headers of {status}")}
    return found


def _templates(owner: Object, key: str, where: str) -> dict[str, str]:
    templates = _object(owner.get(key, {}), f"{where}: {key}")
    return {content_type.lower(): str(template) for content_type, template in templates.items()}


def _static(value: Any, where: str) -> str:
    """A value in single quotes, which is the only kind of mapping that needs no request."""
    quoted = _STATIC.fullmatch(str(value))
    if quoted is None:
        raise UnsupportedError(f"{where}: only a static value in single quotes is supported, not {value!r}")
    return quoted[1]


# --- gateway responses ------------------------------------------------------------------------------------------------


def _gateway_responses(document: Object) -> Iterator[tuple[str, GatewayResponse]]:
    for kind, response in _items(document, _GATEWAY_RESPONSES, "gateway responses"):
        where = f"gateway response {kind}"
        if kind not in STATUS:
            raise UnsupportedError(f"{where}: there is no such type")
        _known(response, where, {"statusCode", "responseParameters", "responseTemplates"}, ignored=set())
        status = response.get("statusCode")
        if status is not None and not re.fullmatch(r"[2-5]\d\d", str(status)):
            raise UnsupportedError(f"{where}: the statusCode {status!r}")
        headers: dict[str, str] = {}
        for name, value in _object(response.get("responseParameters", {}), where).items():
            header = name.removeprefix("gatewayresponse.header.")
            if header == name or not _HEADER.fullmatch(header):
                raise UnsupportedError(f"{where}: the response parameter {name!r} is not supported")
            headers[header] = _static(value, f"{where}: {name!r}")
        templates = _templates(response, "responseTemplates", where)
        if other := templates.keys() - {JSON}:
            raise UnsupportedError(f"{where}: a template for {', '.join(sorted(other))}")
        template = templates.get(JSON)
        if unknown := variables(template or "") - OF_REQUEST - OF_ERROR:
            raise UnsupportedError(f"{where}: $context.{', $context.'.join(sorted(unknown))} is not supported")
        yield kind, GatewayResponse(status=int(status) if status else None, headers=headers, template=template)


# --- reading ----------------------------------------------------------------------------------------------------------


def _check_extensions(node: Any, where: str) -> None:
    """Refuse API Gateway's extensions that aren't known here, wherever they stand."""
    if isinstance(node, list):
        for position, item in enumerate(cast("list[Any]", node)):
            _check_extensions(item, f"{where}[{position}]")
    elif isinstance(node, Mapping):
        for key, value in cast("Object", node).items():
            if key.startswith("x-amazon-") and key not in _EXTENSIONS:
                raise UnsupportedError(f"{where}: {key} is not supported")
            _check_extensions(value, f"{where}: {key}")


def _known(owner: Object, where: str, acted_on: set[str], *, ignored: set[str]) -> None:
    """Refuse keys that mean something to API Gateway, or to OpenAPI, and nothing here; others' extensions do not."""
    unknown = [
        key
        for key in owner
        if key not in acted_on | ignored and (key.startswith("x-amazon-") or not key.startswith("x-"))
    ]
    if unknown:
        raise UnsupportedError(f"{where}: {', '.join(sorted(unknown))} is not supported")


def _object(value: Any, where: str) -> Object:
    if not isinstance(value, Mapping):
        raise UnsupportedError(f"{where}: not an object")
    return cast("Object", value)


def _optional(owner: Object, key: str, where: str) -> Object | None:
    return None if owner.get(key) is None else _object(owner[key], f"{where}: {key}")


def _items(owner: Object, key: str, where: str) -> Iterator[tuple[str, Object]]:
    for name, value in _object(owner.get(key, {}), where).items():
        yield name, _object(value, f"{where}: {name}")


def _list(owner: Object, key: str) -> list[Any]:
    return cast("list[Any]", owner.get(key, []))


def _deref(value: Any, where: str, document: Object) -> Object:
    node = _object(value, where)
    try:
        while "$ref" in node:
            node = resolved(node["$ref"], document)
    except ModelError as error:
        raise UnsupportedError(f"{where}: {error}") from error
    return node
