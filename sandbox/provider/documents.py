"""Texts that hold a document in another language: AWS reads them when a resource is made, and refuses what it can't."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from sandbox.gateway.exchange import VARIABLE
from sandbox.patterns import PatternError, check
from sandbox.provider.kind import Failure
from sandbox.provider.values import Path, has_secret, plain
from sandbox.schedule import seconds
from sandbox.transform import PIPE_PLACEHOLDER, RULE_PLACEHOLDER

# What a rule's template may name without a path of its own ("Input transformation", EventBridge user guide).
_RESERVED = re.compile(r"aws\.events\.(rule-arn|rule-name|event|event\.json|event\.ingestion-time)")
_POLICY_VERSIONS = ("2012-10-17", "2008-10-17")
# "Dashboard body structure and syntax" of the CloudWatch API reference: what a dashboard and its kinds of widget need.
_MOST_WIDGETS = 500
_GRID, _WIDGET_WIDTH = 24, 6
_WIDGETS = {"text": ("markdown",), "alarm": ("alarms", "title"), "metric": ("metrics", "region")}
# Of PutMetricAlarm's Dimensions.
_MOST_DIMENSIONS = 30


@dataclass(frozen=True)
class Check:
    """What must be true of a value; `must` tells nothing of the value itself.

    `problem` is None if all is well, else what is wrong, or nothing more to say.
    """

    must: str
    problem: Callable[[Any], str | None]

    def failures(self, value: Any, path: Path) -> Iterator[Failure]:
        """What is wrong with a known value; of a secret one no details, since they may quote it."""
        problem = self.problem(plain(value))
        if problem is not None:
            details = f": {problem}" if problem and not has_secret(value) else ""
            yield Failure(path, f"{self.must}{details}")


def _rate(expression: str) -> str | None:
    try:
        seconds(expression)
    except ValueError:
        return ""
    return None


def _json(text: str) -> str | None:
    try:
        json.loads(text)
    except ValueError as error:
        return str(error)
    return None


def _policy(text: str) -> str | None:
    return _json(text) or next(_policy_problems(json.loads(text)), None)


def _policy_problems(document: Any) -> Iterator[str]:
    if not isinstance(document, dict):
        yield "it is not an object"
        return
    if document.get("Version", _POLICY_VERSIONS[1]) not in _POLICY_VERSIONS:
        yield f"Version is none of {', '.join(_POLICY_VERSIONS)}"
    statements = document.get("Statement")
    statements = statements if isinstance(statements, list) else [statements]
    if not statements:
        yield "it has no Statement"
    for number, statement in enumerate(statements):
        if not isinstance(statement, dict):
            yield f"Statement[{number}] is not an object"
        elif statement.get("Effect") not in ("Allow", "Deny"):
            yield f"Statement[{number}].Effect is neither Allow nor Deny"
        elif not {"Action", "NotAction"} & statement.keys():
            yield f"Statement[{number}] has no Action"


def _event_pattern(text: str) -> str | None:
    try:
        check(text)
    except PatternError as error:
        return str(error)
    return None


def _rule_template(text: str) -> str | None:
    # Several quoted lines are several texts.
    lines = text.strip().splitlines() if text.lstrip().startswith('"') else [text]
    return next(filter(None, (_json(re.sub(RULE_PLACEHOLDER, "0", line)) for line in lines)), None)


def _rule_transformer(transformer: dict[str, Any]) -> str | None:
    """Whether a rule's transformer defines what its template names."""
    named: set[str] = set(re.findall(RULE_PLACEHOLDER, transformer["inputTemplate"]))
    undefined = sorted(named - transformer.get("inputPaths", {}).keys())
    undefined = [name for name in undefined if not _RESERVED.fullmatch(name)]
    return f"not so {', '.join(undefined)}" if undefined else None


def _pipe_template(text: str) -> str | None:
    return _json(re.sub(PIPE_PLACEHOLDER, "0", text)) if text.lstrip().startswith(("{", "[")) else None


def _access_log(text: str) -> str | None:
    if not re.search(r"\$context\.(requestId|extendedRequestId)\b", text):
        return "it names neither $context.requestId nor $context.extendedRequestId"
    if "\n" in text.rstrip("\n"):
        return "it has several lines"
    return _json(VARIABLE.sub("0", text)) if text.lstrip().startswith("{") else None


def _openapi(text: str) -> str | None:
    return _json(text) or _openapi_problem(json.loads(text))


def _openapi_problem(document: Any) -> str | None:
    if not isinstance(document, dict):
        return "it is not an object"
    # API Gateway imports nothing newer ("OpenAPI known issues", developer guide).
    if not re.fullmatch(r"3\.0\.\d+", str(document.get("openapi"))) and document.get("swagger") != "2.0":
        return "it is neither OpenAPI 3.0 nor Swagger 2.0"
    paths = document.get("paths")
    return None if isinstance(paths, dict) and paths else "it has no paths"


def _dashboard(text: str) -> str | None:
    return _json(text) or next(_dashboard_problems(json.loads(text)), None)


def _dashboard_problems(document: Any) -> Iterator[str]:
    widgets = document.get("widgets") if isinstance(document, dict) else None
    if not isinstance(widgets, list):
        yield "it has no list of widgets"
        return
    if len(widgets) > _MOST_WIDGETS:
        yield f"it has more than {_MOST_WIDGETS} widgets"
    for number, widget in enumerate(widgets):
        yield from (f"widgets[{number}] {problem}" for problem in _widget_problems(widget))


def _widget_problems(widget: Any) -> Iterator[str]:
    if not isinstance(widget, dict) or widget.get("type") not in _WIDGETS:
        yield f"is none of {', '.join(_WIDGETS)}"
        return
    properties = widget.get("properties")
    needed = _WIDGETS[widget["type"]]
    if not isinstance(properties, dict) or any(name not in properties for name in needed):
        yield f"lacks one of {', '.join(needed)} in its properties"
    if widget.get("x", 0) + widget.get("width", _WIDGET_WIDTH) > _GRID:
        yield f"reaches beyond the {_GRID} columns"


def _series(dimensions: Any) -> str | None:
    named = isinstance(dimensions, dict) and all(isinstance(value, str) and value for value in dimensions.values())
    return None if named and len(dimensions) <= _MOST_DIMENSIONS else ""


POLICY = Check("must be an IAM policy document", _policy)
EVENT_PATTERN = Check("must be an event pattern", _event_pattern)
FLAG = Check("must be true or false", lambda value: None if isinstance(value, bool) else "")
JSON = Check("must be JSON", _json)
RULE_TEMPLATE = Check("must be JSON with <placeholders>", _rule_template)
RULE_TRANSFORMER = Check("must define every placeholder of the template in the paths", _rule_transformer)
RATE = Check("must be rate(number minutes|hours|days)", _rate)
PIPE_TEMPLATE = Check("must be JSON with <$.placeholders>", _pipe_template)
ACCESS_LOG = Check("must be one line with $context variables, among them the request's id", _access_log)
OPENAPI = Check("must be an OpenAPI document in JSON", _openapi)
DASHBOARD = Check("must be a dashboard's body in JSON", _dashboard)
DIMENSIONS = Check("must be names with texts, at most 30", _series)


def whole(least: int, most: int) -> Check:
    """A number within bounds that AWS documents and its API's model does not know."""
    return Check(
        f"must be from {least} to {most}",
        lambda value: None if isinstance(value, int) and least <= value <= most else "",
    )


def one_of(*values: Any) -> Check:
    """One of some values that AWS documents and its API's model does not know."""
    return Check(f"must be one of {', '.join(map(str, values))}", lambda value: None if value in values else "")


def matching(pattern: str) -> Check:
    """A form that AWS documents and its API's model does not know."""
    return Check(f"must match {pattern}", lambda value: None if re.fullmatch(pattern, value) else "")
