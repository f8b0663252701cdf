"""API Gateway's mapping templates: Velocity with `$input`, `$util`, `$context` and `$stageVariables`.

airspeed-ext parses, this module evaluates: airspeed's own evaluation differs from Velocity's where it matters (an
absent reference is true, `equals` and `isEmpty` silently yield nothing, `replaceAll` takes Python's patterns). What is
supported here means the same in Velocity 1.7 and 2.4; everything else is a `TemplateError` that names it, not a guess.
Only a hyphen in the name of an overridden header needs 1.7 or a setting of 2.4: API Gateway takes it.

The rules are those of "Variables for data transformations for API Gateway" and "Override your API's request and
response parameters and status codes" in the API Gateway developer guide. Where these are silent:

- A path that leads nowhere yields null from `$input.path` and `""` (two quotes) from `$input.json`; a template can't
  tell an absent field from a null one. LocalStack's authors found this in the console (their pull request 12774).
- An empty body has no value at any path and reads as `{}` in `$input.body` (their tests on AWS, pull request 12413).
- A list prints as JSON and a map as `{key=value}`, as json-smart's collections do (their pull request 12379).
- A reference to nothing prints its own text, as in Velocity; API Gateway is reported to print nothing. A quiet one
  (`$!name`) prints nothing in both, so that is what a template should use where a value can be absent.
"""

from __future__ import annotations

import base64
import json
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple, cast
from urllib.parse import quote_plus, unquote_plus

from airspeed import operators as tree  # pyright: ignore[reportMissingTypeStubs]

from sandbox.jsonpaths import find

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


class TemplateError(ValueError):
    """The template can't be parsed, uses something unsupported, or fails on this input.

    API Gateway answers 500 where a template fails, for a request as for a response.
    """


class Rendered(NamedTuple):
    """What a template yields: its text, and what it put into `$context.responseOverride`."""

    text: str
    status: int | None
    headers: dict[str, str]


def render(
    template: str,
    *,
    body: str,
    context: Mapping[str, Any],
    path: Mapping[str, str] | None = None,
    querystring: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    stage_variables: Mapping[str, str] | None = None,
) -> Rendered:
    """Evaluate `template` on a request's or an integration's `body`.

    `context` is what `$context` refers to, nested as its names are (`{"identity": {"userArn": ...}}`). `path`,
    `querystring` and `headers` are the parameters that `$input.params` searches, in this order.
    """
    parameters = {"path": dict(path or {}), "querystring": dict(querystring or {}), "header": dict(headers or {})}
    roots = {"context": dict(context), "stageVariables": dict(stage_variables or {})}
    evaluation = _Evaluation({**roots, "input": _Input(body, parameters), "util": _Util()})
    text = evaluation.block(_parsed(template))
    # As Java does on the way out: a lone surrogate has no UTF-8.
    return Rendered(text.encode(errors="replace").decode(), evaluation.status, evaluation.headers)


@lru_cache(maxsize=64)
def _parsed(template: str) -> Any:
    try:
        return tree.TemplateBody("template", template).block
    except tree.TemplateSyntaxError as error:
        raise TemplateError(f"a template can't be parsed: {error}") from error


class _Evaluation:
    """One run of one template; `status` and `headers` are the overrides it made."""

    def __init__(self, variables: dict[str, Any]) -> None:
        self._reserved = frozenset(variables)
        self._variables = variables
        self.status: int | None = None
        self.headers: dict[str, str] = {}

    def block(self, block: Any) -> str:
        return "".join(self._element(child) for child in block.children)

    def _element(self, node: Any) -> str:
        match node:
            case tree.Text():
                if node.text != node.my_text():
                    raise TemplateError(f"{node.my_text()!r}: escaped directives and references are not supported")
                return node.text
            case tree.Comment():
                return ""
            case tree.FormalReference():
                return self._printed(node)
            case tree.SetDirective():
                self._assign(node.assignment)
                return ""
            case tree.IfDirective():
                for branch in (node, *node.elseifs):
                    if _truth(self._grouped(branch.condition.expression), branch.condition):
                        return self.block(branch.block)
                return self.block(node.else_block.block) if isinstance(node.else_block, tree.ElseBlock) else ""
            case _:
                raise TemplateError(f"{_shown(node)}: not supported")

    def _printed(self, node: Any) -> str:
        if node.alternate is not None:
            raise TemplateError(f"{_shown(node)}: alternate values are not supported")
        if node.expression is None:  # a dollar sign that starts no reference
            return node.my_text()
        value = self._reference(node)
        if value is None:
            return "" if node.my_text().startswith("$!") else node.my_text()
        return _text(value, node)

    def _assign(self, assignment: Any) -> None:
        value = self._expression(assignment.value.expression)
        target = ".".join([assignment.root_term, *(str(self._term(term.term)) for term in assignment.terms)])
        if value is None:
            raise TemplateError(f"#set(${target}) to nothing: Velocity 1.7 keeps the old value, 2.4 doesn't")
        if target == "context.responseOverride.status":
            if self.status is not None or not isinstance(value, int) or isinstance(value, bool):
                raise TemplateError(f"${target} is set once, to a number: {_shown(assignment)}")
            self.status = value
        elif target.startswith("context.responseOverride.header."):
            name = target.removeprefix("context.responseOverride.header.")
            if name in self.headers or not isinstance(value, str):
                raise TemplateError(f"${target} is set once, to a text: {_shown(assignment)}")
            self.headers[name] = value
        elif target in self._reserved or assignment.terms:
            raise TemplateError(f"#set(${target}) is not supported")
        else:
            self._variables[target] = value

    def _term(self, term: Any) -> Any:
        return term.value if isinstance(term, tree.DotDictAccessTerm) else self._value(term.value)

    def _grouped(self, node: Any) -> Any:
        # The parser keeps a parenthesized expression only as the owner of the method that it borrows from it.
        return self._expression(node.calculate.__self__.expression)

    def _expression(self, terms: Sequence[Any]) -> Any:
        """Operands and the operators between them, the loosest operator first."""
        for symbols in (("||",), ("&&",), ("==", "!=")):
            for position in range(len(terms) - 2, 0, -2):
                symbol = terms[position].my_text().strip()
                if symbol in symbols:
                    return self._operation(terms[:position], symbol, terms[position + 1 :], terms[position])
        if len(terms) > 1:
            raise TemplateError(f"{terms[1].my_text().strip()!r}: not supported in an expression")
        return self._value(terms[0])

    def _operation(self, left: Sequence[Any], symbol: str, right: Sequence[Any], node: Any) -> bool:
        match symbol:
            case "||":
                return _truth(self._expression(left), node) or _truth(self._expression(right), node)
            case "&&":
                return _truth(self._expression(left), node) and _truth(self._expression(right), node)
            case _:
                return _equal(self._expression(left), self._expression(right), node) == (symbol == "==")

    def _value(self, node: Any) -> Any:
        match node:
            case tree.Value():
                return self._value(node.expression)
            case tree.FormalReference() if node.expression is not None and node.alternate is None:
                return self._reference(node)
            case tree.InterpolatedStringLiteral():
                return self.block(node.block)
            case tree.StringLiteral() | tree.IntegerLiteral() | tree.BooleanLiteral():
                return node.value
            case tree.ParenthesizedExpression():
                return self._grouped(node)
            case tree.UnaryOperatorValue():
                return not _truth(self._value(node.value), node)
            case _:
                raise TemplateError(f"{_shown(node)}: not supported in an expression")

    def _reference(self, node: Any) -> Any:
        """Follow a reference from its variable; nothing comes of nothing, as in Velocity."""
        part, rest = node.expression.part, node.expression.subexpression
        if "-" in part.name or part.parameters is not None:
            raise TemplateError(f"{_shown(node)}: not a variable")
        value = self._indexed(self._variables.get(part.name), part.index, node)
        while rest is not None and value is not None:
            if isinstance(rest.expression, tree.ArrayIndex):
                value, rest = self._indexed(value, rest.expression, node), rest.subexpression
            else:
                part, rest = rest.expression.part, rest.expression.subexpression
                value = self._indexed(self._member(value, part, node), part.index, node)
        return value

    def _member(self, owner: Any, part: Any, node: Any) -> Any:
        if part.parameters is not None:
            # An empty list of parameters has no `values` of its own.
            arguments = [self._value(value) for value in getattr(part.parameters.values, "values", [])]
            return _call(owner, part.name, arguments, node)
        if isinstance(owner, _Input) and part.name == "body":
            return owner.body or "{}"
        # A hyphen ends a name in Velocity 2; `.class` is Java's, whatever the map holds.
        if not isinstance(owner, dict) or "-" in part.name or part.name == "class":
            raise TemplateError(f"{_shown(node)}: .{part.name} is not supported on {_kind(owner)}")
        return cast("dict[str, Any]", owner).get(part.name)

    def _indexed(self, owner: Any, index: Any, node: Any) -> Any:
        if index is None or owner is None:
            return owner
        key = self._value(index.index)
        if isinstance(owner, dict) and isinstance(key, str):
            return cast("dict[str, Any]", owner).get(key)
        if isinstance(owner, list) and isinstance(key, int) and 0 <= key < len(cast("list[Any]", owner)):
            return cast("list[Any]", owner)[key]
        raise TemplateError(f"{_shown(node)}: {_kind(owner)} has no [{key!r}]")


class _Input(NamedTuple):
    body: str
    parameters: dict[str, dict[str, str]]

    def json(self, path: str) -> str:
        found = self.path(path)
        return _json("" if found is None else found)

    def path(self, path: str) -> Any:
        found = find(_parsed_json(self.body), path) if self.body else []
        return found[0] if found else None

    def all_params(self) -> dict[str, dict[str, str]]:
        return self.parameters

    def params(self, name: str) -> str:
        return next((group[name] for group in self.parameters.values() if name in group), "")


class _Util:
    def escape_java_script(self, text: str) -> str:
        return _UNPRINTABLE.sub(_code_units, text.translate(_ESCAPES))

    def parse_json(self, text: str) -> Any:
        return _parsed_json(text)

    def base64_encode(self, text: str) -> str:
        return base64.b64encode(text.encode(errors="replace")).decode()

    def base64_decode(self, text: str) -> str:
        return base64.b64decode(text, validate=True).decode(errors="replace")

    def url_encode(self, text: str) -> str:
        # Python leaves a tilde as it is, Java's URLEncoder an asterisk.
        return quote_plus(text, safe="*", errors="replace").replace("~", "%7E")

    def url_decode(self, text: str) -> str:
        return unquote_plus(text)


def _call(owner: Any, name: str, arguments: list[Any], node: Any) -> Any:
    method = _METHODS.get((type(owner), name, len(arguments)))
    if method is None:
        raise TemplateError(f"{_shown(node)}: .{name}() is not supported on {_kind(owner)}")
    if None in arguments:  # in Java, nothing comes of nothing here too
        return None
    if wrong := [argument for argument in arguments if not isinstance(argument, str)]:
        raise TemplateError(f"{_shown(node)}: .{name}() takes text, not {_kind(wrong[0])}")
    try:
        return method(owner, *arguments)
    except ValueError as error:
        raise TemplateError(f"{_shown(node)}: {error}") from error


# Apache Commons Text, EscapeUtils.ESCAPE_ECMASCRIPT.
_ESCAPES = str.maketrans(
    {
        "'": "\\'",
        '"': '\\"',
        "\\": "\\\\",
        "/": "\\/",
        "\b": "\\b",
        "\f": "\\f",
        "\n": "\\n",
        "\r": "\\r",
        "\t": "\\t",
    }
)
_UNPRINTABLE = re.compile(r"[^ -\x7f]")


def _code_units(found: re.Match[str]) -> str:
    units = found[0].encode("utf-16-be", "surrogatepass").hex().upper()
    return "".join(f"\\u{units[start : start + 4]}" for start in range(0, len(units), 4))


# What Java's and Python's patterns have in common: escaped punctuation, and characters without brackets, groups or `$`.
_COMMON_PATTERN = re.compile(r"(?:\\[!-/:-@[-`{-~]|[^\\()\[\]{}|$])*")
# Java's dot stops at more line ends than Python's.
_DOT = re.compile(r"(\\.)|\.")
_JAVA_DOT = r"[^\n\r\u0085\u2028\u2029]"


def _replace_all(text: str, pattern: str, replacement: str) -> str:
    if not _COMMON_PATTERN.fullmatch(pattern) or re.search(r"[\\$]", replacement):
        raise TemplateError(f"replaceAll({pattern!r}, {replacement!r}) may mean something else in Java")
    java = re.compile(_DOT.sub(lambda found: found[1] or _JAVA_DOT, pattern))
    return java.sub(lambda _: replacement, text)


_METHODS: dict[tuple[type, str, int], Callable[..., Any]] = {
    (_Input, "json", 1): _Input.json,
    (_Input, "path", 1): _Input.path,
    (_Input, "params", 0): _Input.all_params,
    (_Input, "params", 1): _Input.params,
    (_Util, "escapeJavaScript", 1): _Util.escape_java_script,
    (_Util, "parseJson", 1): _Util.parse_json,
    (_Util, "base64Encode", 1): _Util.base64_encode,
    (_Util, "base64Decode", 1): _Util.base64_decode,
    (_Util, "urlEncode", 1): _Util.url_encode,
    (_Util, "urlDecode", 1): _Util.url_decode,
    (str, "replaceAll", 2): _replace_all,
    (str, "startsWith", 1): str.startswith,
}

# Java prints numbers below and from these with an exponent.
_LEAST_PLAIN, _LEAST_EXPONENT = 1e-3, 1e7


def _parsed_json(text: str) -> Any:
    return json.loads(text, parse_float=_fraction, parse_constant=_fraction)


def _fraction(text: str) -> float:
    """A number that Java prints as Python does."""
    number = float(text)
    if number != 0 and not _LEAST_PLAIN <= abs(number) < _LEAST_EXPONENT:
        raise TemplateError(f"{text}: Java may print this number in another form")
    return number


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _text(value: Any, node: Any) -> str:
    match value:
        case str():
            return value
        case None | bool() | int() | float() | list():
            return _json(value)
        case dict():
            members = cast("dict[str, Any]", value).items()
            return f"{{{', '.join(f'{name}={_text(member, node)}' for name, member in members)}}}"
        case _:
            raise TemplateError(f"{_shown(node)}: has no text")


def _truth(value: Any, node: Any) -> bool:
    if value is None or isinstance(value, bool):
        return bool(value)
    raise TemplateError(f"{_shown(node)}: {_kind(value)} as a condition is true in one Velocity, false in another")


def _equal(left: Any, right: Any, node: Any) -> bool:
    if left is not None and right is not None and _kind(left) != _kind(right):
        raise TemplateError(
            f"{_shown(node)}: compares {_kind(left)} with {_kind(right)}; Velocity compares their texts"
        )
    return left == right


def _kind(value: Any) -> str:
    match value:
        case str():
            return "text"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case _Input():
            return "$input"
        case _Util():
            return "$util"
        case _:
            return "a list" if isinstance(value, list) else "a map"


def _shown(node: Any) -> str:
    return repr(node.my_text().strip())
