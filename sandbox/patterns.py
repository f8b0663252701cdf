"""Whether an event matches an event pattern, for EventBridge rules and for the filters of a pipe.

MiniStack's own matcher decides, in this process and without its server, so what is proven here of a pattern is what its
bus does with it. It follows AWS's open-source Event Ruler: objects and empty arrays have no value of their own,
`exists: false` is true where the parent is absent, `anything-but` needs a value, 5 equals 5.0, and true is not 1.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

# Private names of a pinned package: a release that renames them fails here, at import.
from ministack.services.eventbridge import (  # pyright: ignore[reportMissingTypeStubs]
    _UNSATISFIABLE,  # pyright: ignore[reportPrivateUsage]
    _matches_detail,  # pyright: ignore[reportPrivateUsage]
    _parse_pattern_text,  # pyright: ignore[reportPrivateUsage]
)

if TYPE_CHECKING:
    from collections.abc import Mapping


class PatternError(ValueError):
    """AWS would refuse this pattern, for the reason in the message (Event Ruler's words), or it can't be decided."""


def check(pattern: str) -> None:
    """Raise `PatternError` for a pattern (JSON text) that PutRule or CreatePipe would refuse."""
    _alternatives(pattern)


def matches(pattern: str, event: Mapping[str, Any]) -> bool:
    """Whether a rule with this pattern (JSON text) takes `event`, or a pipe with this filter the stream record `event`.

    A pipe's filter is the same language over the record as the stream yields it. DynamoDB writes every number as a text
    (`{"N": "5"}`), so `numeric` never matches one and `["5"]` does ("Event filtering in Amazon EventBridge Pipes").
    """
    return any(_matches_detail(event, alternative) for alternative in _alternatives(pattern))


@lru_cache(maxsize=256)
def _alternatives(pattern: str) -> list[Any]:
    """The `$or`-free patterns of which one has to match."""
    alternatives, reason = _parse_pattern_text(pattern)
    if alternatives is None:
        raise PatternError(f"{reason}: {pattern}")
    # `$or` can ask for a value and for members at one path. Event Ruler decides that, MiniStack says no to every event.
    if any(_UNSATISFIABLE in alternative for alternative in alternatives):
        raise PatternError(f"a field has values in one place and members in another: {pattern}")
    return alternatives
