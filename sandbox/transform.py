"""What EventBridge makes of a target's input: a rule's input transformer, its HTTP parameters, a pipe's input template.

The rules are those of "Amazon EventBridge input transformation", "Amazon EventBridge Pipes input transformation" and
"API destinations as targets" in the EventBridge user guide. There is no open implementation of AWS's to compare with.

- A placeholder in the place of a JSON value becomes that value as JSON: a text with its quotes and escapes.
- A placeholder inside a JSON string becomes text that is *not escaped*: a quote in it ends the string. Of other values
  than text, the JSON is put in without its quotes.
- A path that leads nowhere puts nothing in, not even `null`.
- What comes out is minified JSON. A template that yields anything else is an error here: no target of ours takes it.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from sandbox.jsonpaths import PathError, find

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# These stand for the whole event and can only be values: nothing would escape their quotes inside a string.
_WHOLE_EVENT = frozenset(f"aws.{service}.event{form}" for service in ("events", "pipes") for form in ("", ".json"))
_JSON_STRING = r'"(?:[^"\\]|\\.)*"'
RULE_PLACEHOLDER = r"<([\w.-]+)>"
"""What a rule's template is filled in at, in Python's syntax of patterns, as the other."""
PIPE_PLACEHOLDER = r"<(\$[^<>]*|aws\.pipes\.[\w.-]+)>"


class TransformError(ValueError):
    """This template does not make JSON of this event, or says what AWS would refuse."""


def rule_input(
    event: Mapping[str, Any], *, paths: Mapping[str, str], template: str, rule_arn: str, ingestion_time: str
) -> str:
    """The input of a rule's target, as JSON text: `paths` and `template` are InputPathsMap and InputTemplate.

    `ingestion_time` is when EventBridge received the event (ISO 8601), which is not the event's own `time`.
    """
    reserved = {
        "aws.events.rule-arn": rule_arn,
        "aws.events.rule-name": rule_arn.rpartition("/")[2],
        "aws.events.event.ingestion-time": ingestion_time,
        "aws.events.event": {name: value for name, value in event.items() if name != "detail"},
        "aws.events.event.json": dict(event),
    }
    if taken := reserved.keys() & paths.keys():
        raise TransformError(f"reserved by EventBridge, so not for InputPathsMap: {', '.join(sorted(taken))}")

    def value_of(name: str) -> list[Any]:
        if name in reserved:
            return [reserved[name]]
        if name in paths:
            return _found(event, paths[name])
        raise TransformError(f"<{name}> is neither in InputPathsMap nor reserved: {template!r}")

    return _filled(template, RULE_PLACEHOLDER, value_of)


def pipe_input(
    record: Mapping[str, Any], *, template: str, pipe_arn: str, source_arn: str, target_arn: str, ingestion_time: str
) -> str:
    """The input of a pipe's target, as JSON text, from one record of a DynamoDB stream and the pipe's InputTemplate.

    A DynamoDB record is JSON throughout. The encoded bodies of other sources, which a pipe parses before it fills a
    template, are not modelled: their records are refused.
    """
    if (source := record.get("eventSource")) != "aws:dynamodb":
        raise TransformError(f"a record of {source!r}: only DynamoDB streams are modelled")
    reserved = {
        "aws.pipes.pipe-arn": pipe_arn,
        "aws.pipes.pipe-name": pipe_arn.rpartition("/")[2],
        "aws.pipes.source-arn": source_arn,
        "aws.pipes.target-arn": target_arn,
        "aws.pipes.event.ingestion-time": ingestion_time,
        "aws.pipes.event": dict(record),
        "aws.pipes.event.json": dict(record),
    }

    def value_of(name: str) -> list[Any]:
        if name.startswith("$"):
            return _found(record, name)
        if name in reserved:
            return [reserved[name]]
        raise TransformError(f"<{name}> is no variable of a pipe without enrichment: {template!r}")

    return _filled(template, PIPE_PLACEHOLDER, value_of)


def http_parameter(value: str, event: Mapping[str, Any]) -> str:
    """The value of a header, query or path parameter of a target: `value` itself, or what it points to in `event`.

    The path reads the original event, not the transformed one; a path that leads nowhere yields an empty text.
    """
    if value != "$" and not value.startswith("$."):
        return value
    return "".join(map(_unquoted, _found(event, value)))


def _filled(template: str, placeholder: str, value_of: Callable[[str], list[Any]]) -> str:
    def in_string(found: re.Match[str]) -> str:
        if found[1] in _WHOLE_EVENT:
            raise TransformError(f"{found[0]} can't stand inside a string: {template!r}")
        return "".join(map(_unquoted, value_of(found[1])))

    def token(found: re.Match[str]) -> str:
        if found[1] is None:
            return re.sub(placeholder, in_string, found[0])
        return "".join(map(json.dumps, value_of(found[1])))

    text = re.sub(f"{_JSON_STRING}|{placeholder}", token, template, flags=re.DOTALL)
    try:
        return json.dumps(json.loads(text), separators=(",", ":"), allow_nan=False)
    except ValueError as error:
        raise TransformError(f"the input template {template!r} does not yield JSON, but {text!r}: {error}") from error


def _found(document: Mapping[str, Any], path: str) -> list[Any]:
    try:
        return find(document, path)
    except PathError as error:
        raise TransformError(str(error)) from error


def _unquoted(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":")).replace('"', "")
