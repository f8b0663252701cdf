"""Where an engine that others wrote does something else than the local cloud, and why that is so.

Each is a row under "Differences from other engines" in docs/fidelity.md. A comparison that finds another one fails.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from sandbox import patterns, vtl
from tests.oracles.engines import VELOCITIES, Oracle, Refused

OLD, NEW = VELOCITIES
CONTEXT = {
    "requestId": "request-1",
    "identity": {"userArn": "arn:aws:sts::111122223333:assumed-role/carrier/session-7"},
    "requestTimeEpoch": 1700000000000,
}


class Case(NamedTuple):
    """What a template is rendered with."""

    template: str
    body: str
    context: dict[str, Any] = CONTEXT


class Difference(NamedTuple):
    """One that is known: what both sides make of an example, and which other cases it explains."""

    name: str
    example: Case
    ours: str | None
    theirs: dict[str, str | None]
    """What each Velocity that differs prints; None where a template fails."""
    explains: Callable[[Case, Oracle, str], bool]


def ours(case: Case) -> vtl.Rendered | Refused:
    """What the local cloud makes of a case."""
    try:
        return vtl.render(case.template, body=case.body, context=case.context)
    except vtl.TemplateError as error:
        return Refused(str(error))


def theirs(case: Case, oracle: Oracle, velocity: str) -> vtl.Rendered | Refused:
    return oracle.render(velocity, case.template, body=case.body, context=case.context)


def decided(pattern: str, event: Any) -> bool | Refused:
    """Whether the local cloud takes an event for a pattern."""
    try:
        return patterns.matches(pattern, event)
    except patterns.PatternError as error:
        return Refused(str(error))


def meaning(rendered: vtl.Rendered | Refused) -> Any:
    """What the next reader gets: JSON has many texts for one document, and one refusal is like another."""
    if isinstance(rendered, Refused):
        return "refused"
    try:
        document = json.loads(rendered.text)
    except ValueError:
        return rendered
    if isinstance(document, dict):
        for entry in document.get("Entries", []):
            entry["Detail"] = json.loads(entry["Detail"])
    return rendered._replace(text=document)


def unexplained(case: Case, oracle: Oracle) -> list[Any]:
    """The case, as each Velocity that differs for no known reason renders it."""
    here = ours(case)
    found = {velocity: theirs(case, oracle, velocity) for velocity in VELOCITIES}
    return [
        {"case": case, "ours": here, velocity: there}
        for velocity, there in found.items()
        if meaning(here) != meaning(there)
        and not any(known.explains(case, oracle, velocity) for known in TEMPLATES if velocity in known.theirs)
    ]


def _is_null(case: Case, _oracle: Oracle, _velocity: str) -> bool:
    return case.body.strip() == "null"


def _is_only_that_it_is_dropped(case: Case, oracle: Oracle, velocity: str) -> bool:
    here, there = repr(meaning(ours(case))), repr(meaning(theirs(case, oracle, velocity)))
    return r"\x7f" in here and here.replace(r"\x7f", "") == there.replace(r"\x7f", "")


def _is_no_json(case: Case, _oracle: Oracle, _velocity: str) -> bool:
    try:
        json.loads(case.body, parse_constant=_no_number)
    except ValueError:
        return bool(case.body)
    return False


def _no_number(constant: str) -> Any:
    raise ValueError(constant)


def _is_about_a_number(case: Case, _oracle: Oracle, _velocity: str) -> bool:
    return "Java may print this number" in str(ours(case))


def _prints_a_list(case: Case, _oracle: Oracle, _velocity: str) -> bool:
    printed = getattr(ours(case), "text", "")
    return re.fullmatch(r"\$input\.path\('[^']*'\)", case.template) is not None and printed.startswith("[")


TEMPLATES = [
    Difference(
        "A body of `null`",
        Case("$input.json('$.a')", "null"),
        '""',
        dict.fromkeys(VELOCITIES),
        _is_null,
    ),
    Difference(
        "U+007F in a text that has escapes",
        Case("$input.json('$.a')", '{"a": "\\"\x7fy"}'),
        '"\\"\x7fy"',
        {OLD: '"\\"y"'},
        _is_only_that_it_is_dropped,
    ),
    Difference(
        "A body that is not JSON",
        Case("$input.json('$.a')", '{"a": 1} or so'),
        None,
        dict.fromkeys(VELOCITIES, "1"),
        _is_no_json,
    ),
    Difference(
        "A very large or very small number",
        Case("$input.json('$.a')", '{"a": 1e22}'),
        None,
        dict.fromkeys(VELOCITIES, "1.0E22"),
        _is_about_a_number,
    ),
    Difference(
        "A list that is printed as a whole",
        Case("$input.path('$.a')", '{"a": [1, "x"]}'),
        '[1,"x"]',
        {NEW: "[1, x]"},
        _prints_a_list,
    ),
]


class PatternDifference(NamedTuple):
    """One of the matchers: Event Ruler takes the event for the pattern."""

    name: str
    pattern: str
    event: Any
    ours: bool | str
    """What the local cloud decides, or why it doesn't."""


PATTERNS = [
    PatternDifference(
        "A field with values in one place and members in another",
        '{"a": [1], "$or": [{"b": [1]}, {"a": {"c": [{"exists": false}]}}]}',
        {"a": 1},
        "a field has values in one place and members in another",
    ),
    PatternDifference(
        "A field whose name has a dot",
        '{"a": {"b": ["x"]}}',
        {"a.b": "x"},
        ours=False,
    ),
]
