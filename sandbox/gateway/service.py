"""Integrations with an action of an AWS service: the body it gets, and the response that its answer becomes.

The rules are those of "Integration request for REST APIs", "Integration passthrough behavior" (method request behavior
for payloads without mapping templates) and "Set up an integration response in API Gateway".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from sandbox import vtl
from sandbox.gateway.document import IntegrationResponse, ServiceAction
from sandbox.gateway.exchange import Answer, Incoming, media_type
from sandbox.gateway.refusals import RefusalError, internal

# HTTP has no final response below 200.
_STATUSES = range(200, 600)
_HEADER_VALUE = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*")


class ServiceAnswer(NamedTuple):
    """What a service answered."""

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


class Inputs(NamedTuple):
    """What templates refer to beside the body."""

    context: Mapping[str, Any]
    path: Mapping[str, str]
    querystring: Mapping[str, str]
    headers: Mapping[str, str]
    stage_variables: Mapping[str, str]

    def render(self, template: str, body: str) -> vtl.Rendered:
        return vtl.render(
            template,
            body=body,
            context=self.context,
            path=self.path,
            querystring=self.querystring,
            headers=self.headers,
            stage_variables=self.stage_variables,
        )


def service_body(action: ServiceAction, request: Incoming, inputs: Inputs) -> bytes:
    """The body for the service.

    Raises:
        RefusalError: No template is for this content type, and the integration passes nothing through.
        TemplateError: The template fails.

    """
    content_type = media_type(request.header("content-type"))
    template = action.templates.get(content_type)
    if template is not None:
        rendered = inputs.render(template, request.body.decode(errors="replace"))
        if rendered.status is not None or rendered.headers:
            raise vtl.TemplateError("$context.responseOverride is for templates of responses")
        return rendered.text.encode()
    if action.passthrough == "never" or (action.passthrough == "when_no_templates" and action.templates):
        raise RefusalError("UNSUPPORTED_MEDIA_TYPE", "Unsupported Media Type", "UnsupportedMediaTypeException")
    return request.body


def selected(action: ServiceAction, status: int) -> IntegrationResponse:
    """The response whose pattern matches the whole status, the first one if there are several, or the default.

    Which of several AWS takes is not documented.
    """
    for response in action.responses:
        if response.pattern is not None and response.pattern.fullmatch(str(status)):
            return response
    for response in action.responses:
        if response.pattern is None:
            return response
    raise internal("API_CONFIGURATION_ERROR")


def response(chosen: IntegrationResponse, answered: ServiceAnswer, inputs: Inputs) -> Answer:
    """The response to the client.

    Raises:
        TemplateError: The template fails.

    """
    own = {name.lower(): value for name, value in answered.headers}
    headers = {"Content-Type": chosen.content_type, **chosen.headers}
    headers |= {name: own[source] for name, source in chosen.copied_headers.items() if source in own}
    if chosen.template is None:
        return Answer(chosen.status, tuple(headers.items()), answered.body)
    rendered = inputs.render(chosen.template, answered.body.decode(errors="replace"))
    for name, value in rendered.headers.items():
        if not _HEADER_VALUE.fullmatch(value):
            raise vtl.TemplateError(f"$context.responseOverride.header.{name} is no value of a header")
        headers = {key: text for key, text in headers.items() if key.lower() != name.lower()} | {name: value}
    # LocalStack found on AWS that an override which is no status is ignored.
    status = rendered.status if rendered.status in _STATUSES else None
    return Answer(status or chosen.status, tuple(headers.items()), rendered.text.encode())
