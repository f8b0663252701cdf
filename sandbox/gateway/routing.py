"""Which resource a path belongs to, by "Understand how API Gateway REST API resources ...": the most specific one.

Paths are compared as sent: `%6Frders` is not `orders`. AWS is reported to ignore a slash at the end; here such a path
leads nowhere, so that nobody comes to depend on it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import unquote


class Route(NamedTuple):
    resource: str
    parameters: dict[str, str]
    """Decoded, as integrations get them ("Amazon API Gateway important notes")."""


def find(path: str, resources: Iterable[str]) -> Route | None:
    """The resource of a path below the stage's. The greedy one comes last; what it takes keeps its slashes."""
    segments = (path or "/").split("/")[1:]
    found = [
        (matched[0], Route(resource, matched[1]))
        for resource in resources
        if (matched := _match(resource.split("/")[1:], segments)) is not None
    ]
    return min(found, key=lambda match: match[0])[1] if found else None


def _match(wanted: list[str], segments: list[str]) -> tuple[list[int], dict[str, str]] | None:
    """How unspecific each step of a match is, and the parameters; nothing if the resource doesn't match."""
    steps: list[int] = []
    parameters: dict[str, str] = {}
    for position, step in enumerate(wanted):
        rest = segments[position:]
        if not rest or (step.startswith("{") and not rest[0]):
            return None
        if step.endswith("+}"):
            return [*steps, 2], {**parameters, step[1:-2]: unquote("/".join(rest))}
        if step.startswith("{"):
            parameters[step[1:-1]] = unquote(rest[0])
        elif step != rest[0]:
            return None
        steps.append(int(step.startswith("{")))
    return (steps, parameters) if len(wanted) == len(segments) else None
