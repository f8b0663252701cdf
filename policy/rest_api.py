"""REST APIs as rules read them: the OpenAPI body of an API, or the same things as single resources.

Swagger 2.0 and OpenAPI 3 are read, as JSON or YAML, with `$ref`s followed. A place is UNKNOWN or MISSING as everywhere.
What a document calls its own things (paths, models, content types) may be secret like all of it: messages name it only
where that is known not to be so, and count it out elsewhere.
"""

from __future__ import annotations

import re
import warnings
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from policy.documents import UNREADABLE, document
from policy.mapping_templates import reads_body
from policy.props import MISSING, UNKNOWN, Path, spell, whole

if TYPE_CHECKING:
    from collections.abc import Iterator

    from policy.subject import Subject

_VERBS = ("get", "put", "post", "delete", "options", "head", "patch")
_ANY = "x-amazon-apigateway-any-method"
_WITH_BODY = frozenset({"POST", "PUT", "PATCH", "ANY"})
# arn:<partition>:apigateway:<region>:<service, maybe behind a subdomain>:<action/which or path/where>
_URI = re.compile(r"arn:[^:]*:apigateway:[^:]*:(?:[^:]*\.)?([^:.]+):(?:action/([A-Za-z]*).*|path/.*)", re.DOTALL)
# Names that are no document's own.
_WORDS = frozenset(
    {"application/json", "components", "default", "definitions", "parameters", "paths", "properties", "schemas"}
)
_TARGET = "integration.request.header.X-Amz-Target"
_HEADER = "x-amz-target"


class Node(NamedTuple):
    """A value in a document and the path that messages name: where it stands, behind the `$ref` that led to it."""

    path: Path
    value: Any
    root: Node | None = None
    """What `$ref`s of the document point into; the node itself when it is None."""
    quotable: bool = False
    """Whether the path may have names of the document's own in it; else it has their positions."""

    def __str__(self) -> str:
        return spell(self.path)

    @property
    def unknown(self) -> bool:
        """Whether only the update tells what is here."""
        return self.value is UNKNOWN

    @property
    def missing(self) -> bool:
        return self.value is MISSING

    @property
    def word(self) -> str:
        """The text in capitals, as API Gateway takes its words in either; "" of anything that is no text."""
        return self.value.upper() if isinstance(self.value, str) else ""

    def at(self, *keys: str | int) -> Node:
        """The place below, MISSING if there is none; the keys are words of the format."""
        node = self
        for key in keys:
            node = _followed(_below(node, key, shown=key))
        return node

    def member(self, key: str | int) -> Node:
        """The same of a name of the document's own."""
        return _followed(_below(self, key, shown=self.shown(key)))

    def shown(self, key: str | int) -> str | int:
        """The name of a member as paths have it."""
        if self.quotable or key in _WORDS or isinstance(key, int):
            return key
        names = [_name(name) for name in cast("dict[Any, Any]", self.value)] if isinstance(self.value, dict) else []
        return names.index(key) if key in names else len(names)  # where it would be added

    def members(self) -> list[tuple[str | int, Node]]:
        """What an object or a list holds; nothing of anything else."""
        if isinstance(self.value, dict):
            return [(name, self.member(name)) for name in map(_name, cast("dict[Any, Any]", self.value))]
        if isinstance(self.value, list):
            return [(index, self.member(index)) for index in range(len(cast("list[Any]", self.value)))]
        return []


def _name(key: Any) -> str:
    """The name of a member: YAML reads a status as a number. Of a number that has too many digits to write, ""."""
    try:
        return str(key)
    except ValueError:
        return ""


def _below(node: Node, key: str | int, *, shown: str | int) -> Node:
    value = node.value
    if isinstance(value, dict):
        members = {_name(name): member for name, member in cast("dict[Any, Any]", value).items()}
        value = members.get(str(key), MISSING)
    elif isinstance(value, list) and isinstance(key, int):
        value = cast("list[Any]", value)[key]
    elif value is not UNKNOWN:
        value = MISSING
    return Node((*node.path, shown), MISSING if value is None else value, node.root or node, node.quotable)


def _followed(node: Node) -> Node:
    met = set[str]()
    while isinstance(node.value, dict):
        reference = cast("dict[Any, Any]", node.value).get("$ref", MISSING)
        if isinstance(reference, str) and reference in met:
            return node._replace(value=MISSING)
        if not isinstance(reference, str) and reference is not UNKNOWN:
            break
        if reference is UNKNOWN or not reference.startswith("#/"):  # a model of API Gateway's, by its address
            return node._replace(value=UNKNOWN)
        met.add(reference)
        node = node.root or node
        for step in reference.removeprefix("#/").split("/"):
            name = step.replace("~1", "/").replace("~0", "~")
            node = _below(node, name, shown=node.shown(name))
    return node


def body(api: Subject) -> Node:
    """The OpenAPI document of an API: an object, MISSING, UNKNOWN or `documents.UNREADABLE`.

    An object that is a part of itself, as YAML can say, is no document: in JSON it has no end.
    """
    found = document(api.get("body"))
    return Node(("body",), UNREADABLE if _is_endless(found) else found, quotable=api.quotable("body"))


def _is_endless(value: Any) -> bool:
    """Whether a value is a part of itself."""
    around, ended = set[int](), set[int]()
    ahead: list[tuple[Any, bool]] = [(value, False)]
    while ahead:
        part, is_left = ahead.pop()
        if is_left:
            around.discard(id(part))
            ended.add(id(part))
        elif isinstance(part, dict | list) and id(part) not in ended:
            if id(part) in around:
                return True
            around.add(id(part))
            within = cast("dict[Any, Any]", part).values() if isinstance(part, dict) else cast("list[Any]", part)
            ahead += [(part, True), *((below, False) for below in within)]
    return False


def resource(subject: Subject) -> Node:
    """The inputs of a resource as a document."""
    return Node((), subject.get(()), quotable=subject.quotable(()))


def status(node: Node) -> str:
    """An HTTP status that is written as text or as a number; "" of anything else."""
    number = whole(node.value)
    return node.word if number is None else _name(number)


class Response(NamedTuple):
    """An integration response. Without a pattern it answers whatever no pattern matches."""

    node: Node
    pattern: Node

    @property
    def is_default(self) -> bool:
        return self.pattern.missing or self.pattern.value == ""

    @property
    def status(self) -> Node:
        return self.node.at("statusCode")

    @property
    def templates(self) -> Node:
        return self.node.at("responseTemplates")

    def answers(self, backend: str) -> bool:
        """Whether its pattern matches this status of the backend; a pattern that cannot be read here may match."""
        if not isinstance(self.pattern.value, str):
            return False
        with warnings.catch_warnings():
            # Python warns of sets in sets, which Java has.
            warnings.simplefilter("error", FutureWarning)
            try:
                return bool(re.fullmatch(self.pattern.value, backend))
            except (re.error, OverflowError, RecursionError, FutureWarning):  # Java's syntax has more than Python's
                return True


class Integration(NamedTuple):
    """What a method does with a request."""

    node: Node

    @property
    def _service(self) -> tuple[str, str]:
        """The AWS service and the action that is called there, as the URI says; "" where it says none."""
        uri = self.node.at("uri").value
        found = _URI.fullmatch(uri) if isinstance(uri, str) else None
        return (found[1], found[2] or "") if found else ("", "")

    @property
    def target(self) -> Node:
        """What the X-Amz-Target header is mapped from; names of parameters differ in case."""
        parameters = self.node.at("requestParameters")
        for name, mapped in parameters.members():
            if str(name).casefold() == _TARGET.casefold():
                return mapped
        return Node((*parameters.path, _TARGET), UNKNOWN if parameters.unknown else MISSING)

    @property
    def puts_events(self) -> bool:
        """Whether it calls EventBridge itself, unless it is clear that it calls something else than PutEvents there;
        while the URI is unknown, by its template.
        """
        if not self._calls_aws:
            return False
        if self.node.at("uri").unknown:
            return any("Entries" in text and "DetailType" in text for text in self._texts)
        service, action = self._service
        if service != "events":
            return False
        target = self.target.value
        if not action and isinstance(target, str) and target.startswith("'"):
            action = target.strip("'").rpartition(".")[2]
        return self._retargets or action.casefold() in {"", "putevents"}

    @property
    def _texts(self) -> list[str]:
        return [template.value for _, template in self.templates.members() if isinstance(template.value, str)]

    @property
    def _retargets(self) -> bool:
        """Whether a template chooses the action, whatever the URI or a parameter says."""
        return any("requestOverride" in text and _HEADER in text.casefold() for text in self._texts)

    @property
    def direct(self) -> bool | Any:
        """Whether it calls an AWS service other than Lambda with a request that it makes itself; maybe UNKNOWN.

        A path of S3 takes the body as the object: there is no request to make.
        """
        if not self._calls_aws:
            return False
        if self.puts_events:
            return True
        if self.node.at("type").unknown or self.node.at("uri").unknown:
            return UNKNOWN
        return self._service[0] not in {"", "lambda", "s3"}

    @property
    def _calls_aws(self) -> bool:
        kind = self.node.at("type")
        return kind.unknown or kind.word == "AWS"

    @property
    def caller_targets(self) -> bool:
        """Whether the request says which action is called."""
        return self.target.word.startswith("METHOD.REQUEST.")

    @property
    def templates(self) -> Node:
        """Content type -> mapping template of the request."""
        return self.node.at("requestTemplates")

    def reads_body(self, verb: str) -> bool | Any:
        """Whether something of the body reaches the service; maybe UNKNOWN. Without a template the body itself does."""
        if self.templates.unknown:
            return UNKNOWN
        templates = [template.value for _, template in self.templates.members()]
        if any(isinstance(template, str) and reads_body(template) for template in templates):
            return True
        if UNKNOWN in templates:
            return UNKNOWN
        return not templates and verb in _WITH_BODY

    @property
    def responses(self) -> list[Response]:
        """The integration responses that are said at the integration itself; none when they are unknown."""
        listed = self.node.at("integrationResponses")  # aws-native
        if not listed.missing:
            return [Response(node=node, pattern=node.at("selectionPattern")) for _, node in listed.members()]
        return [
            Response(node=node, pattern=Node(node.path, MISSING if key == "default" else key))
            for key, node in self.node.at("responses").members()
        ]


class Operation(NamedTuple):
    """A method of an API in its OpenAPI body, or as a resource whose integration is a part of it."""

    node: Node
    verb: str
    """In capitals; ANY for all, "" when only the update tells."""
    document: Node
    route: str = ""
    """Verb and path, as HTTP APIs name their routes; "" of a resource. The document's own: not for messages."""

    @property
    def integration(self) -> Integration:
        """What it does; of no type when it is said elsewhere."""
        inside = self.node.at("integration")  # aws-native
        return Integration(node=inside if not inside.missing else self.node.at("x-amazon-apigateway-integration"))

    @property
    def authorizations(self) -> set[Any]:
        """What a caller is asked for, in the words of a method's authorization, with API_KEY; UNKNOWN among them if any
        is. API Gateway takes no account of `security` at the root of the document.
        """
        extension = self.node.at("x-amazon-apigateway-auth", "type")
        if not extension.missing:
            return {UNKNOWN if extension.unknown else extension.word}
        security = self.node.at("security")
        if security.unknown:
            return {UNKNOWN}
        found: set[Any] = set()
        for _, requirement in security.members():
            if requirement.unknown:
                found.add(UNKNOWN)
            elif not requirement.members():
                return {"NONE"}  # OpenAPI's way to let in whoever shows nothing
            found |= {self._authorization(name) for name, _ in requirement.members()}
        return found or {"NONE"}

    def _authorization(self, scheme: str | int) -> Any:
        described = self.document.at("components", "securitySchemes").member(scheme)
        if described.missing:
            described = self.document.at("securityDefinitions").member(scheme)
        kind, authorizer = described.at("x-amazon-apigateway-authtype"), described.at("x-amazon-apigateway-authorizer")
        if kind.word == "AWSSIGV4":
            return "AWS_IAM"
        if authorizer.members():
            return "COGNITO_USER_POOLS" if authorizer.at("type").word == "COGNITO_USER_POOLS" else "CUSTOM"
        if kind.unknown or authorizer.unknown:
            return UNKNOWN
        return "API_KEY" if described.at("type").word == "APIKEY" else "NONE"

    @property
    def validator(self) -> Node:
        """The request validator that applies, defined in the document; MISSING when none is named or defined."""
        named = self.node.at("x-amazon-apigateway-request-validator")
        if named.missing:
            named = self.document.at("x-amazon-apigateway-request-validator")
        if isinstance(named.value, str):
            return self.document.at("x-amazon-apigateway-request-validators").member(named.value)
        return Node(named.path, UNKNOWN if named.unknown else MISSING)

    @property
    def models(self) -> dict[str, Node] | Any:
        """Content type -> schema of the request body; UNKNOWN when only the update tells."""
        contents = self.node.at("requestBody", "content")
        if contents.unknown or self.node.at("parameters").unknown:
            return UNKNOWN
        models = {str(kind): content.at("schema") for kind, content in contents.members()}
        for _, parameter in self.node.at("parameters").members():
            if parameter.unknown or parameter.at("in").unknown:
                return UNKNOWN
            if parameter.at("in").word == "BODY":
                models |= dict.fromkeys(self._consumed, parameter.at("schema"))
        return {kind: schema for kind, schema in models.items() if not schema.missing}

    @property
    def _consumed(self) -> list[str]:
        own = self.node.at("consumes")
        listed = self.document.at("consumes") if own.missing else own
        return [str(kind.value) for _, kind in listed.members()] or ["application/json"]


def operations(api: Node) -> Iterator[Operation]:
    """Every method of an OpenAPI document, OPTIONS too. One whose node is unknown stands for all that may be there."""
    paths = api.at("paths")
    if paths.unknown:
        yield Operation(node=paths, verb="", document=api)
    for name_of_path, path in paths.members():
        if path.unknown:
            yield Operation(node=path, verb="", document=api)
            continue
        for name in (*_VERBS, _ANY):
            operation = path.at(name)
            if not operation.missing:
                verb = "ANY" if name == _ANY else name.upper()
                route = "$default" if name_of_path == "/$default" else f"{verb} {name_of_path}"
                yield Operation(node=operation, verb=verb, document=api, route=route)
