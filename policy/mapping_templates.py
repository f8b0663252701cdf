"""What a mapping template of API Gateway puts of the request into the JSON that it renders, and how it escapes that.

A reading of Velocity, not an execution: both branches of an `#if` count, and what cannot be followed counts as raw.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# What decides where an event goes and what it is taken for.
ROUTING = ("Source", "DetailType", "EventBusName")

_COMMENT = re.compile(r"##[^\n]*|#\*.*?\*#", re.DOTALL)
_DIRECTIVE = re.compile(r"#\{?(set|foreach|if|elseif|else|end|break|stop)\}?[ \t]*(?=(\()?)")
_REFERENCE = re.compile(r"\$!?\{?([A-Za-z_]\w*)")
_MEMBER = re.compile(r"\.([A-Za-z_]\w*)")
_ASSIGNED = re.compile(r"\s*\$!?\{?(\w+)\}?\s*(?:=|\bin\b)(.*)", re.DOTALL)
_LITERAL = re.compile(r"'[^']*'")
_STRUCTURE = re.compile(r"\s*[\[{]")
# escapeJavaScript escapes apostrophes too, which JSON does not know; AWS documents the first way to undo it.
_APOSTROPHES = {
    "replaceAll": re.compile(r"""\s*"\\\\'"\s*,\s*"'"\s*"""),
    "replace": re.compile(r"""\s*"\\'"\s*,\s*"'"\s*"""),
}
_ENCODING = frozenset({"base64Encode", "urlEncode"})
_TELLING = frozenset({"contains", "endsWith", "equals", "indexOf", "isEmpty", "length", "size", "startsWith"})
_KEEPING = frozenset({"toLowerCase", "toString", "toUpperCase", "trim"})
# What of the context the caller chooses.
_CALLERS = (("authorizer",), ("identity", "userAgent"), ("path",))


class Flaw(Enum):
    """What is wrong with how a template treats the request."""

    UNESCAPED = "unescaped"
    APOSTROPHE = "apostrophe"


@dataclass(frozen=True, kw_only=True)
class _Data:
    """Something of the request on its way into the output."""

    is_json: bool = False  # a whole JSON value, as `$input.json` gives
    escapes: int = 0
    unfixed: bool = False  # the last escape left its apostrophes escaped
    broken: bool = False  # so did one before it, which cannot be undone any more
    encoded: bool = False  # of an alphabet that JSON never escapes


_RAW = _Data()


def without_comments(template: str) -> str:
    """The template without what Velocity drops."""
    return _COMMENT.sub("", template)


def reads_body(template: str) -> bool:
    """Whether it takes anything of the request but parameters."""
    return bool(re.search(r"\$!?\{?input\b(?!\.params\()", without_comments(template)))


def flaws(template: str) -> set[Flaw | str]:
    """What is wrong with the JSON that it renders: a `Flaw`, or the member of `ROUTING` that the caller chooses."""
    found: set[Flaw | str] = set()
    position, variables = _Position(), dict[str, _Data | None]()
    for piece in _pieces(without_comments(template)):
        if isinstance(piece, _Assignment):
            variables[piece.name] = _value(piece.expression, variables)
        elif isinstance(piece, _Reference):
            data = _read(piece, variables)
            position.reference()
            if data is None:
                continue
            if position.key in ROUTING:
                found.add(position.key)
            elif data.unfixed or data.broken:
                found.add(Flaw.APOSTROPHE)
            elif not position.safe_for(data):
                found.add(Flaw.UNESCAPED)
        else:
            position.read(piece)
    return found


@dataclass(frozen=True, kw_only=True)
class _Assignment:
    """A `#set`, or what a `#foreach` sets."""

    name: str
    expression: str


@dataclass(frozen=True, kw_only=True)
class _Reference:
    name: str
    chain: tuple[tuple[str, str | None], ...]
    """Members from left to right, each with the text of its arguments if it is called."""


def _pieces(text: str) -> Iterator[_Assignment | _Reference | str]:
    """Assignments, references and the literal text between them; conditions render nothing."""
    at = 0
    while at < len(text):
        if directive := _DIRECTIVE.match(text, at):
            at = directive.end()
            if directive[2]:
                end = _closing(text, at)
                if assigned := _ASSIGNED.fullmatch(text[at + 1 : end - 1]):
                    yield _Assignment(name=assigned[1], expression=assigned[2])
                at = end
        elif start := _REFERENCE.match(text, at):
            reference, at = _reference(text, start)
            yield reference
        else:
            following = re.compile(r"[#$]").search(text, at + 1)
            end = following.start() if following else len(text)
            yield text[at:end]
            at = end


def _reference(text: str, start: re.Match[str]) -> tuple[_Reference, int]:
    """The reference that starts so, and where it ends."""
    at = start.end()
    chain: list[tuple[str, str | None]] = []
    while True:
        if member := _MEMBER.match(text, at):
            at = member.end()
            arguments = None
            if text[at : at + 1] == "(":
                end = _closing(text, at)
                arguments, at = text[at + 1 : end - 1], end
            chain.append((member[1], arguments))
        elif text[at : at + 1] == "[":
            at = _closing(text, at)
            chain.append(("[]", None))
        else:
            break
    return _Reference(name=start[1], chain=tuple(chain)), at


def _closing(text: str, at: int) -> int:
    """Behind the bracket that closes the one here, or the end of the text. Velocity's strings have no escapes."""
    depth, quote = 0, ""
    for index in range(at, len(text)):
        character = text[index]
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'":
            quote = character
        elif character in "([{":
            depth += 1
        elif character in ")]}":
            depth -= 1
            if not depth:
                return index + 1
    return len(text)


def _value(expression: str, variables: dict[str, _Data | None]) -> _Data | None:
    """What an expression holds of the request, the least escaped part of it if there are several."""
    expression = expression.strip()
    if _LITERAL.fullmatch(expression):
        return None
    parts = [piece for piece in _pieces(expression) if isinstance(piece, _Reference)]
    data = [found for part in parts if (found := _read(part, variables))]
    if len(parts) == 1 and expression.startswith("$"):
        return data[0] if data else None
    # Beside other text a JSON value is no JSON value any more.
    return replace(min(data, key=lambda found: found.escapes), is_json=False) if data else None


def _read(reference: _Reference, variables: dict[str, _Data | None]) -> _Data | None:
    """What a reference holds of the request."""
    chain = reference.chain
    if reference.name == "input":
        is_json = bool(chain) and chain[0][0] == "json"
        return _followed(_Data(is_json=is_json), chain[1:], variables)
    if reference.name == "context":
        names = tuple(name for name, _ in chain)
        return _RAW if any(names[: len(chosen)] == chosen for chosen in _CALLERS) else None
    if reference.name == "util" and chain:
        (name, arguments), *rest = chain
        inner = _value(arguments or "", variables)
        return _followed(_utility(name, inner), rest, variables)
    return _followed(variables.get(reference.name), chain, variables)


def _utility(name: str, inner: _Data | None) -> _Data | None:
    if inner is None:
        return None
    if name == "escapeJavaScript":
        return replace(inner, escapes=inner.escapes + 1, unfixed=True, broken=inner.broken or inner.unfixed)
    return replace(_RAW, encoded=name in _ENCODING)


def _followed(
    data: _Data | None,
    chain: tuple[tuple[str, str | None], ...] | list[tuple[str, str | None]],
    variables: dict[str, _Data | None],
) -> _Data | None:
    """What is left of it once the members are called on it."""
    for name, arguments in chain:
        undone = _APOSTROPHES.get(name)
        if name in _TELLING:
            data = None
        elif data and undone and undone.fullmatch(arguments or ""):
            data = replace(data, unfixed=False)
        elif _value(arguments or "", variables) or (data and name not in _KEEPING and not data.encoded):
            data = _RAW
    return data


@dataclass
class _Position:
    """Where in the JSON that is rendered the next piece lands."""

    key: str = ""
    """The member whose value it is part of."""
    _strings: int = 0  # how many it is inside of: 2 is a string of JSON that is written in a string
    _structured: bool = False  # whether the string around it is written as JSON
    _content: str = field(default="")

    def reference(self) -> None:
        """Take note of a value in between."""
        self._content += "$"

    def safe_for(self, data: _Data) -> bool:
        """Whether the data can neither leave its place nor become another kind of value there."""
        if data.encoded:
            return True
        token = not self._strings or (self._strings == 1 and self._structured)
        return data.escapes >= self._strings and (data.is_json or not token)

    def read(self, text: str) -> None:
        """Go over literal text."""
        for piece in re.findall(r'\\\\\\"|\\.|[^\\]', text, re.DOTALL):
            if self._strings:
                self._inside(piece)
            elif piece == '"':
                self._strings, self._content = 1, ""
            elif piece == ":":
                self.key = self._content
            elif piece in ",{":
                self.key = ""

    def _inside(self, piece: str) -> None:
        if piece == '"':
            self._strings, self._structured = 0, False
        elif piece == '\\"':
            self._strings = 3 - self._strings
        else:
            self._content += piece
            self._structured = bool(_STRUCTURE.match(self._content))
