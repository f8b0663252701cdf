"""The JSON paths that API Gateway, rules and pipes have in common: from `$` down to one value."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, cast

import jsonpath
from jsonpath.selectors import IndexSelector, NameSelector


class PathError(ValueError):
    """The path can't be parsed, doesn't start at `$`, or could yield more than one value."""


def find(document: Any, path: str) -> list[Any]:
    """The value at `path`, in a list that is empty where there is none: a JSON null is a value.

    Names may have dashes and underscores (`$.detail-type`). Wildcards, slices and filters are refused: what AWS makes
    of several values isn't documented.
    """
    value = document
    # python-jsonpath reads the path and not the document: it takes a text for JSON, and an index for a member's name.
    for segment in _query(path).segments:
        match segment.selectors[0]:
            case NameSelector(name=name) if isinstance(value, dict) and name in value:
                value = cast("dict[str, Any]", value)[name]
            case IndexSelector(index=index) if isinstance(value, list) and -len(value) <= index < len(value):
                value = cast("list[Any]", value)[index]
            case _:
                return []
    return [value]


@lru_cache(maxsize=256)
def _query(path: str) -> jsonpath.JSONPath:
    try:
        query = jsonpath.compile(path)
    except jsonpath.JSONPathError as error:
        raise PathError(f"{path!r} is not a JSON path: {error.args[0]}") from error
    if not path.startswith("$") or not isinstance(query, jsonpath.JSONPath) or not query.singular_query():
        raise PathError(f"{path!r} is not a path from $ to one value")
    return query
