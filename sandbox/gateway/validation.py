"""Request validators, by "Request validation for REST APIs in API Gateway" and "Data models for REST APIs".

Models are JSON Schema draft 4. What API Gateway makes of `format` is not documented: the formats that draft 4 defines
and this machine can check are checked, another one is refused when the API is deployed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, cast
from urllib.parse import parse_qsl

from jsonschema import Draft4Validator, FormatChecker, SchemaError

from sandbox.gateway.exchange import Incoming, media_type
from sandbox.gateway.refusals import RefusalError

_FORMATS = ("date-time", "email", "ipv4", "ipv6")
_CHECKER = FormatChecker(_FORMATS)


class ModelError(ValueError):
    """The model is not one that API Gateway takes, or uses what is not supported here."""


class Parameter(NamedTuple):
    """A required parameter of a method; `place` is path, query or header."""

    place: str
    name: str

    @property
    def known_as(self) -> str:
        return self.name.lower() if self.place == "header" else self.name


class Model:
    """A schema inside an OpenAPI document, to whose other schemas it may refer."""

    def __init__(self, schema: Mapping[str, Any], document: Mapping[str, Any]) -> None:
        # References are from the document's root, and draft 4 ignores whatever stands beside one.
        root = {"allOf": [schema], "components": document.get("components", {})}
        for node in _subschemas(schema, document, set()):
            if (name := node.get("format")) is not None and name not in _FORMATS:
                raise ModelError(f"the format {name!r} is not supported")
            try:
                Draft4Validator.check_schema({**node})
            except SchemaError as error:
                raise ModelError(f"not a schema of draft 4: {error.message}") from error
        self._validator = Draft4Validator(root, format_checker=_CHECKER)

    def problems(self, body: bytes) -> list[str]:
        """Why the body is not valid; the words are not AWS's."""
        try:
            # What is no JSON to Java is none here: NaN and its like.
            document = json.loads(body.decode(), parse_constant=_refuse)
        except (ValueError, RecursionError) as error:
            return [f"not JSON: {error}"]
        return [error.message for error in self._validator.iter_errors(document)]


def check_parameters(required: tuple[Parameter, ...], request: Incoming, path: Mapping[str, str]) -> None:
    """Refuse a request that lacks a required parameter or has it blank."""
    there = {
        "path": set(path),
        "query": {name for name, value in parse_qsl(request.query) if value.strip()},
        "header": {name for name, values in request.multi_headers().items() if values[-1].strip()},
    }
    if missing := [parameter.name for parameter in required if parameter.known_as not in there[parameter.place]]:
        message = f"Missing required request parameters: [{', '.join(missing)}]"
        raise RefusalError("BAD_REQUEST_PARAMETERS", message, "BadRequestException")


def check_body(models: Mapping[str, Model], request: Incoming) -> None:
    """Refuse a body that its content type's model doesn't take; one whose content type has no model isn't looked at."""
    model = models.get(media_type(request.header("content-type")))
    if model is not None and (problems := model.problems(request.body)):
        raise RefusalError(
            "BAD_REQUEST_BODY", "Invalid request body", "BadRequestException", validation=f"[{', '.join(problems)}]"
        )


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no number")


def _subschemas(node: Mapping[str, Any], document: Mapping[str, Any], seen: set[str]) -> Iterator[Mapping[str, Any]]:
    """The schema and all that it is made of or refers to."""
    yield node
    if (reference := node.get("$ref")) is not None:
        if reference not in seen:
            yield from _subschemas(resolved(reference, document), document, seen | {reference})
        return
    children = [node.get(key) for key in ("items", "additionalItems", "additionalProperties", "not")]
    for key in ("allOf", "anyOf", "oneOf"):
        children += node.get(key, [])
    for key in ("properties", "patternProperties", "definitions"):
        children += node.get(key, {}).values()
    if isinstance(node.get("items"), list):
        children += node["items"]
    for child in children:
        if isinstance(child, Mapping):
            yield from _subschemas(cast("Mapping[str, Any]", child), document, seen)


def resolved(reference: str, document: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a `$ref` points to in the document."""
    node: Any = document
    steps = reference.removeprefix("#/").split("/")
    for step in steps if reference.startswith("#/") else [""]:
        name = step.replace("~1", "/").replace("~0", "~")
        node = cast("Mapping[str, Any]", node).get(name) if isinstance(node, Mapping) else None
    if not isinstance(node, Mapping):
        raise ModelError(f"$ref {reference!r} leads nowhere")
    return cast("Mapping[str, Any]", node)
