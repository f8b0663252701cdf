"""What a mapping template of API Gateway puts of the request into the JSON that it renders, and how it escapes that.

A reading of Velocity, not an execution: both branches of an `#if` count, a loop counts as run again, what an object was
given by a call or an assignment to a part of it is in all of it, and what cannot be followed is a flaw of its own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

# What decides where an event goes and what it is taken for; an entry as a whole does.
ROUTING = ("Entries", "Source", "DetailType", "EventBusName", "Resources")
# What a template may set of the call itself.
OVERRIDE = "$context.requestOverride"

_COMMENT = re.compile(r"##[^\n]*|#\*.*?\*#", re.DOTALL)
_DIRECTIVE = re.compile(r"#\{?(?:(set|foreach|if|elseif)\}?\s*\(|(else|end|break|stop)\}?)")
# Macros, other files, text as it is: nothing that AWS's reference of mapping templates knows.
_UNREAD_DIRECTIVE = re.compile(
    r"\\#\{?\w+\}?\s*\(|#(?:\[\[|@|\{?(?:define|evaluate|include|macro|parse)\b|\{?[A-Za-z_]\w*\}?\()"
)
_REFERENCE = re.compile(r"\$!?\{?([A-Za-z_][\w-]*)")
_MEMBER = re.compile(r"\.([A-Za-z_][\w-]*)")
_ASSIGNS = re.compile(r"\}?\s*(?:=|\bin\b)")
_LITERAL = re.compile(r"'[^']*'")
_NAME = re.compile(r"\s*(?:'([^'$]*)'|\"([^\"$]*)\")\s*")
_STRUCTURE = re.compile(r"\s*[\[{]")
# escapeJavaScript escapes apostrophes too, which JSON does not know; AWS documents the first way to undo it.
_APOSTROPHES = {
    "replaceAll": re.compile(r"""\s*"\\\\'"\s*,\s*"'"\s*"""),
    "replace": re.compile(r"""\s*"\\'"\s*,\s*"'"\s*"""),
}
_ENCODING = frozenset({"base64Encode", "urlEncode"})
_TELLING = frozenset({"contains", "endsWith", "equals", "indexOf", "isEmpty", "length", "size", "startsWith"})
_KEEPING = frozenset({"toLowerCase", "toString", "toUpperCase", "trim"})
# Calls of lists and maps that give a flag, or what was there before.
_ADDING = frozenset({"add", "addAll", "put", "putAll"})
# Calls that change nothing of what they are called on.
_READING = (
    _TELLING | _KEEPING | {"concat", "containsKey", "get", "matches", "replace", "replaceAll", "split", "substring"}
)
# Calls that put none of their arguments into a text.
_SELECTING = _TELLING | _KEEPING | {"containsKey", "get", "matches", "split", "substring"}
# What of the context the caller chooses.
_CALLERS = (("authorizer",), ("identity", "clientCert"), ("identity", "userAgent"), ("path",))
# What stands between two parts of one text in an expression.
_JOINING = frozenset("+() \t\r\n")


class Flaw(Enum):
    """What is wrong with how a template treats the request."""

    UNESCAPED = "unescaped"
    APOSTROPHE = "apostrophe"
    UNREAD = "unread"


class _Data(NamedTuple):
    """Something of the request on its way into the output."""

    is_json: bool = False  # a whole JSON value, as `$input.json` gives
    escapes: int = 0
    unfixed: bool = False  # the last escape left its apostrophes escaped
    broken: bool = False  # so did one before it, which cannot be undone any more
    encoded: bool = False  # of an alphabet that JSON never escapes


_RAW = _Data()
_ENCODED = _Data(escapes=2, encoded=True)  # as good as an escape for every string around it


def without_comments(template: str) -> str:
    """The template without what Velocity drops."""
    return _COMMENT.sub("", template)


def reads_body(template: str) -> bool:
    """Whether it takes anything of the request but parameters."""
    return bool(re.search(r"\$!?\{?input\b(?!\.params\()", without_comments(template)))


def flaws(template: str) -> set[Flaw | str]:
    """What is wrong with the JSON that it renders: a `Flaw`, or the member of `ROUTING` or `OVERRIDE` that the caller
    chooses.
    """
    reading = _Reading()
    try:
        reading.over(list(_pieces(template)))
    except RecursionError:
        return {Flaw.UNREAD}
    return reading.found


class _Directive(NamedTuple):
    """One of `_DIRECTIVE`, or "" for what is not read."""

    name: str
    arguments: str = ""


class _Reference(NamedTuple):
    name: str
    chain: tuple[tuple[str, str | None], ...]
    """Members from left to right, each with the text of its arguments if it is called; "[]" with that of an index."""
    closed: bool = True


_UNREAD = _Directive(name="")
_BRACKETS = {"(": ")", "[": "]", "{": "}"}


def _pieces(text: str) -> Iterator[_Directive | _Reference | str]:
    """Directives, references and the literal text between them."""
    at = 0
    while at < len(text):
        if comment := _COMMENT.match(text, at):
            at = comment.end()
        elif unread := _unread(text, at):
            yield _UNREAD
            at = unread.end()
        elif directive := _DIRECTIVE.match(text, at):
            at = directive.end()
            if directive[1]:
                end = _closing(text, at - 1)
                yield _Directive(name=directive[1], arguments=text[at : (end or len(text) + 1) - 1])
                if end is None:
                    yield _UNREAD
                at = end or len(text)
            else:
                yield _Directive(name=directive[2])
        elif start := _REFERENCE.match(text, at):
            reference, at = _reference(text, start)
            yield reference
        else:
            following = re.compile(r"[#$]|\\#").search(text, at + 1)
            end = following.start() if following else len(text)
            yield text[at:end]
            at = end


def _unread(text: str, at: int) -> re.Match[str] | None:
    return None if _DIRECTIVE.match(text, at) else _UNREAD_DIRECTIVE.match(text, at)


def _reference(text: str, start: re.Match[str]) -> tuple[_Reference, int]:
    """The reference that starts so, and where it ends."""
    at, closed = start.end(), True
    chain: list[tuple[str, str | None]] = []
    while True:
        member = _MEMBER.match(text, at)
        at = member.end() if member else at
        opening = text[at : at + 1]
        if opening == "[" or (member and opening == "("):
            end = _closing(text, at)
            closed = closed and end is not None
            arguments, at = text[at + 1 : (end or len(text) + 1) - 1], end or len(text)
            if opening == "(" and member:
                chain.append((member[1], arguments))
            else:
                chain += [*([(member[1], None)] if member else []), ("[]", arguments)]
        elif member:
            chain.append((member[1], None))
        else:
            break
    at += opening == "}" and text[start.start(1) - 1] == "{"
    return _Reference(name=start[1], chain=tuple(chain), closed=closed), at


def _closing(text: str, at: int) -> int | None:
    """Behind the bracket that closes the one here, if any does. Velocity's strings have no escapes."""
    opened, quote = "", ""
    for index in range(at, len(text)):
        character = text[index]
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'":
            quote = character
        elif character in _BRACKETS:
            opened += _BRACKETS[character]
        elif opened.endswith(character):
            opened = opened[:-1]
            if not opened:
                return index + 1
        elif character in _BRACKETS.values():
            return None
    return None


def _references(expression: str) -> list[_Reference]:
    return [piece for piece in _pieces(expression) if isinstance(piece, _Reference)]


def _texts(expression: str) -> list[list[str | _Reference]]:
    """The values that an expression has, each as the texts and references that it is put together from."""
    values: list[list[str | _Reference]] = [[]]
    quote = ""
    for piece in _pieces(expression):
        if isinstance(piece, _Reference):
            values[-1].append(piece)
        # A quote that is written twice is one of the text.
        for found in re.findall(r"\"\"|''|.", piece, re.DOTALL) if isinstance(piece, str) else ():
            if quote:
                values[-1] += [found[0]] if found[0] != quote or found == quote * 2 else []
                quote = "" if found == quote else quote
            elif found in {"'", '"'}:
                quote = found
            elif found not in _JOINING and found not in {"''", '""'}:
                values.append([])
    return values


def _written(value: list[str | _Reference]) -> str:
    """A value's text, with a mark for each reference."""
    return "".join(part if isinstance(part, str) else "$" for part in value)


def _is_structured(text: str) -> bool:
    """Whether a text is JSON with a structure, or a part of that."""
    return '"' in text or bool(_STRUCTURE.match(text))


def _named(name: str) -> list[str]:
    """The variables that a name may mean: a hyphen is a part of it, or of the text behind it."""
    parts = name.split("-")
    return ["-".join(parts[:length]) for length in range(1, len(parts) + 1)]


_Variables = dict[str, "_Data | None"]


def _worse(one: _Data | None, other: _Data | None) -> _Data | None:
    """What is as dangerous as either."""
    if one is None or other is None:
        return one or other
    return _Data(
        is_json=one.is_json and other.is_json,
        escapes=min(one.escapes, other.escapes),
        unfixed=one.unfixed or other.unfixed,
        broken=one.broken or other.broken,
        encoded=one.encoded and other.encoded,
    )


def _either(one: _Variables, other: _Variables) -> _Variables:
    return {name: _worse(one.get(name), other.get(name)) for name in {**one, **other}}


@dataclass
class _Block:
    """An `#if` or `#foreach` that is being read."""

    before: _Variables
    start: int
    loop: str | None
    """The arguments of a `#foreach`."""
    left: _Variables = field(default_factory=dict[str, "_Data | None"])
    """What the branches so far, or a `#break`, leave behind."""
    complete: bool = False  # whether one of its branches runs whatever happens


# What API Gateway gives to a template.
_GIVEN = frozenset({"context", "input", "stageVariables", "util"})


class _Reading:
    """Goes over the pieces of a template in the order in which they are run."""

    def __init__(self) -> None:
        self.found: set[Flaw | str] = set()
        self._position = _Position()
        self._variables: _Variables = {}
        self._sharing: dict[str, set[str]] = {}  # variables that may be one object, or parts of one
        self._structured: set[str] = set()  # variables with a text that may be a part of JSON
        self._blocks: list[_Block] = []

    def over(self, pieces: list[_Directive | _Reference | str]) -> None:
        at = 0
        while at < len(pieces):
            piece = pieces[at]
            at += 1
            if isinstance(piece, str):
                self._position.read(piece)
            elif isinstance(piece, _Reference):
                self._render(piece)
            else:
                at = self._run(piece, at)

    def _render(self, reference: _Reference) -> None:
        data, position = self._read(reference), self._position
        position.reference()
        if data is None:
            return
        if position.key in ROUTING:
            self.found.add(position.key)
        elif not position.key:
            self.found.add("Entries")
        elif set(position.key) & set("$\\"):
            self.found.add(Flaw.UNREAD)
        elif data.unfixed or data.broken:
            self.found.add(Flaw.APOSTROPHE)
        elif not position.safe_for(data):
            self.found.add(Flaw.UNESCAPED)

    def _run(self, directive: _Directive, at: int) -> int:
        """Do what it says; where to go on."""
        name, blocks = directive.name, self._blocks
        if not name:
            self.found.add(Flaw.UNREAD)
        elif name == "set":
            self._assign(directive.arguments)
        elif name in {"if", "foreach"}:
            loop = directive.arguments if name == "foreach" else None
            blocks.append(_Block(before=dict(self._variables), start=at, loop=loop))
            self._enter(directive)
        elif name == "break":
            for block in [block for block in blocks if block.loop is not None][-1:]:
                block.left = _either(block.left, self._variables)
        elif name == "end" and blocks:
            return self._end(blocks.pop(), at)
        elif name in {"else", "elseif"} and blocks:
            block = blocks[-1]
            block.left, block.complete = _either(block.left, self._variables), name == "else"
            self._variables = dict(block.before)
            self._enter(directive)
        return at

    def _enter(self, directive: _Directive) -> None:
        if directive.name == "foreach":
            self._assign(directive.arguments)
        else:
            self._value(directive.arguments)

    def _end(self, block: _Block, at: int) -> int:
        after = _either(block.left, self._variables)
        self._variables = after if block.complete else _either(after, block.before)
        if block.loop is None or self._variables == block.before:
            return at
        # What a round of the loop leaves behind is there in the next one.
        self._blocks.append(_Block(before=dict(self._variables), start=block.start, loop=block.loop))
        self._assign(block.loop)
        return block.start

    def _assign(self, arguments: str) -> None:
        """What a `#set`, or a `#foreach` for each of its rounds, does."""
        start = _REFERENCE.match(arguments.lstrip())
        target, at = _reference(arguments.lstrip(), start) if start else (None, 0)
        assigns = _ASSIGNS.match(arguments.lstrip(), at)
        if target is None or assigns is None:
            self.found.add(Flaw.UNREAD)
            return
        expression = arguments.lstrip()[assigns.end() :]
        data = self._value(expression)
        if target.name in _GIVEN:
            self.found |= {OVERRIDE} if data and target.name == "context" else set()
            self.found |= set() if target.name == "context" else {Flaw.UNREAD}
            return
        self._share(target.name, expression)
        if any(self._is_part_of_json(value) for value in _texts(expression)):
            self._structured |= {target.name}
        inner = [self._value(said or "") for _, said in target.chain]
        if not target.chain:
            self._variables[target.name] = data
        elif data or any(inner):
            self._taint(target.name)

    def _share(self, name: str, expression: str) -> None:
        """Take note that a change of the variables in an expression may be one of the variable, and the other way."""
        group = {name}
        for other in (name, *(one for reference in _references(expression) for one in _named(reference.name))):
            group |= self._sharing.get(other, {other})
        self._sharing.update(dict.fromkeys(group - _GIVEN, group - _GIVEN))

    def _taint(self, name: str) -> None:
        """Take note that an object has got something of the request."""
        for variable in (one for named in _named(name) for one in self._sharing.get(named, {named})):
            self._variables[variable] = _RAW

    def _value(self, expression: str) -> _Data | None:
        """What an expression holds of the request, the least escaped part of it if there are several."""
        expression = expression.strip()
        if _LITERAL.fullmatch(expression):
            return None
        pieces = list(_pieces(expression))
        if len(pieces) == 1 and isinstance(pieces[0], _Reference):
            return self._read(pieces[0])
        if any(isinstance(piece, _Directive) for piece in pieces):
            self.found.add(Flaw.UNREAD)
        held: _Data | None = None
        for value in _texts(expression):
            held = _worse(held, self._joined(value))
        # Beside other text a JSON value is no JSON value any more.
        return held and held._replace(is_json=False)

    def _joined(self, value: list[str | _Reference]) -> _Data | None:
        """What a text that is put together holds. In JSON, data needs an escape for each string that it is inside of,
        and what is escaped later makes up for none of them.
        """
        held: _Data | None = None
        position, structured = _Position(), _is_structured(_written(value))
        for part in value:
            if isinstance(part, str):
                position.read(part)
                continue
            data = self._read(part)
            position.reference()
            if data is None or data.encoded or len(value) == 1:
                held = _worse(held, data)
                continue
            if any(isinstance(other, _Reference) and self._is_part_of_json([other]) for other in value):
                self.found.add(Flaw.UNREAD)
            elif structured and not position.safe_for(data):
                self.found.add(Flaw.UNESCAPED)
            elif structured:
                data = data._replace(escapes=data.escapes - position.strings)
            held = _worse(held, data)
        return held

    def _is_part_of_json(self, value: list[str | _Reference]) -> bool:
        names = {name for part in value if isinstance(part, _Reference) for name in _named(part.name)}
        return _is_structured(_written(value)) or bool(names & self._structured)

    def _read(self, reference: _Reference) -> _Data | None:
        """What a reference holds of the request."""
        if not reference.closed:
            self.found.add(Flaw.UNREAD)
        chain = [(name, arguments, self._value(arguments or "")) for name, arguments in reference.chain]
        names = _named(reference.name)
        if "input" in names:
            is_json = bool(chain) and chain[0][0] == "json"
            return _followed(_Data(is_json=is_json), chain[1:])
        if reference.name == "context":
            return self._context(chain)
        if reference.name == "util" and chain:
            return _followed(_utility(chain[0][0], chain[0][2]), chain[1:])
        held: _Data | None = None
        for name in names:
            held = _worse(held, self._variables.get(name))
        for name, arguments, inner in chain:
            if name == "[]" or arguments is None:
                continue
            self._write(reference.name, name, arguments, held=held or inner)
            if name not in _READING:
                self._share(reference.name, arguments)
                if inner:
                    self._taint(reference.name)
        return _followed(held, chain)

    def _write(self, variable: str, call: str, arguments: str, *, held: _Data | None) -> None:
        """Take note of what a call puts into a text, or an object, beside what is there."""
        if call in _SELECTING:
            return
        # The first argument of these is what goes.
        written = _texts(arguments)[call.startswith("replace") :]
        if any(self._is_part_of_json(value) for value in written):
            self._structured.add(variable)
        if held and not held.encoded and call in _READING and variable in self._structured:
            self.found.add(Flaw.UNREAD)

    def _context(self, chain: list[_Step]) -> _Data | None:
        names: list[str] = []
        for name, arguments, inner in chain:
            if inner:
                self.found.add(OVERRIDE)
            literal = _NAME.fullmatch(arguments or "") if name in {"[]", "get"} else None
            if arguments is not None and not literal:
                break
            names.append((literal[1] or literal[2] or "") if literal else name.partition("-")[0])
        if names[:1] in ([], ["requestOverride"]):
            # Whoever has the object itself can set what is called.
            self.found.add(Flaw.UNREAD)
        chosen = (tuple(names[: len(part)]) == part[: len(names)] for part in _CALLERS)
        return _RAW if any(chosen) or any(inner for _, _, inner in chain) else None


# A member with the text of its arguments, and what they hold.
_Step = tuple[str, "str | None", "_Data | None"]


def _utility(name: str, inner: _Data | None) -> _Data | None:
    if inner is None:
        return None
    if name == "escapeJavaScript":
        return inner._replace(escapes=inner.escapes + 1, unfixed=True, broken=inner.broken or inner.unfixed)
    return _ENCODED if name in _ENCODING else _RAW


def _followed(data: _Data | None, chain: list[_Step]) -> _Data | None:
    """What is left of it once the members are called on it."""
    for name, arguments, inner in chain:
        # The request may have a member of that name.
        called = name if arguments is not None else ""
        undone = _APOSTROPHES.get(called)
        if called in _TELLING:
            data = None
        elif data and undone and undone.fullmatch(arguments or ""):
            data = data._replace(unfixed=False)
        elif called in _ADDING:
            data = data and _RAW
        elif inner or (data and called not in _KEEPING and not data.encoded):
            data = _RAW
    return data


@dataclass
class _Position:
    """Where in the JSON that is rendered the next piece lands."""

    _members: list[str] = field(default_factory=lambda: [""])  # of each object or list around it, the one that it is in
    _lists: list[bool] = field(default_factory=lambda: [False])
    strings: int = 0
    """How many it is inside of: 2 is a string of JSON that is written in a string."""
    _structured: bool = False  # whether the string around it is written as JSON
    _content: str = field(default="")

    @property
    def key(self) -> str:
        """The member whose value it is part of."""
        return self._members[-1]

    def reference(self) -> None:
        """Take note of a value in between."""
        self._content += "$"

    def safe_for(self, data: _Data) -> bool:
        """Whether the data can neither leave its place nor become another kind of value there."""
        if data.encoded:
            return True
        token = not self.strings or (self.strings == 1 and self._structured)
        return data.escapes >= self.strings and (data.is_json or not token)

    def read(self, text: str) -> None:
        """Go over literal text."""
        for piece in re.findall(r'\\\\\\"|\\.|[^\\]', text, re.DOTALL):
            if self.strings:
                self._inside(piece)
            elif piece == '"':
                self.strings, self._content = 1, ""
            elif piece == ":":
                self._members[-1] = self._content
            elif piece in "{[":
                self._members.append(self.key if piece == "[" else "")
                self._lists.append(piece == "[")
            elif piece in "}]" and len(self._members) > 1:
                self._members.pop()
                self._lists.pop()
            elif piece == "," and not self._lists[-1]:
                self._members[-1] = ""

    def _inside(self, piece: str) -> None:
        if piece == '"':
            self.strings, self._structured = 0, False
        elif piece == '\\"':
            self.strings = 3 - self.strings
        else:
            self._content += piece
            self._structured = bool(_STRUCTURE.match(self._content))
