"""Input templates of EventBridge's rules and pipes: which placeholders stand where, and whether that makes JSON.

The rules are those of "Amazon EventBridge input transformation" and "Amazon EventBridge Pipes input transformation" in
the EventBridge user guide: in the place of a JSON value a placeholder becomes that value as JSON, and inside a JSON
string it becomes text that nothing escapes, so that a quote in it ends the string.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# What may stand in the angle brackets: a key of the transformer's paths or a variable of EventBridge's own, in a rule;
# a path or such a variable, in a pipe.
IN_A_RULE = r"[\w.-]+"
IN_A_PIPE = r"\$[^<>]*|aws\.pipes\.[\w.-]+"
_STRING = r'"(?:[^"\\]|\\.)*"'


class Template(NamedTuple):
    """A template that begins like a JSON object or array. Placeholders are without their brackets."""

    quoted: frozenset[str]
    """Those inside strings."""
    bare: frozenset[str]
    """Those in the place of values."""
    is_json: bool
    """Whether it is JSON once the bare ones are values."""


def read(text: str, placeholder: str) -> Template | None:
    """The template; None for text that may be meant as text. `placeholder` is `IN_A_RULE` or `IN_A_PIPE`."""
    if not text.lstrip().startswith(("{", "[")):
        return None
    quoted: set[str] = set()
    bare: set[str] = set()

    def value(found: re.Match[str]) -> str:
        if found[1] is None:
            quoted.update(re.findall(f"<({placeholder})>", found[0]))
            return found[0]
        bare.add(found[1])
        return "null"

    filled = re.sub(f"{_STRING}|<({placeholder})>", value, text, flags=re.DOTALL)
    try:
        json.loads(filled)
    except (ValueError, RecursionError):
        return Template(quoted=frozenset(quoted), bare=frozenset(bare), is_json=False)
    return Template(quoted=frozenset(quoted), bare=frozenset(bare), is_json=True)


def unsafe(template: Template, where: str, breaks_quotes: Callable[[str], bool]) -> Iterator[str]:
    """What to mend in the template at the place, given which placeholders may stand for a text with a quote."""
    if any(map(breaks_quotes, template.quoted)):
        yield f"take the quotes from around the placeholders in {where}: EventBridge escapes nothing there"
    if not template.is_json:
        yield f"make {where} JSON, with each placeholder where a value may stand"
