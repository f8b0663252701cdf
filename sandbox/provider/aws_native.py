"""The types of the `aws-native` provider that the local providers know, by the CloudFormation schemas of cfn-lint."""

from __future__ import annotations

import datetime as dt
import functools
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import regex
from jsonschema import Draft7Validator, ValidationError
from jsonschema.validators import extend

from sandbox.provider.documents import EVENT_PATTERN, PIPE_TEMPLATE, Check
from sandbox.provider.kind import Added, Failure, Kind, Made, Naming
from sandbox.provider.values import Path, Secret, has_unknown

# A schema is the same in every region, except for what a region does not have.
_REGION = "us-east-1"


@dataclass(frozen=True)
class SchemaRules:
    """`type_name` is CloudFormation's; `checks` are for documents inside, by their paths without list positions."""

    type_name: str
    checks: Mapping[tuple[str, ...], Check] = field(default_factory=dict[tuple[str, ...], Check])

    @property
    def create_only(self) -> frozenset[tuple[str, ...]]:
        return frozenset(self._names("createOnlyProperties"))

    @property
    def read_only(self) -> frozenset[tuple[str, ...]]:
        """What AWS tells and does not take."""
        return frozenset(self._names("readOnlyProperties"))

    def failures(self, inputs: Mapping[str, Any]) -> Iterator[Failure]:
        schema = _schema(self.type_name)
        translation = _Translation(schema, self.type_name)
        properties = translation.object(inputs, schema, (), ())
        found = [*translation.failures, *self._refused(inputs, translation, properties)]
        yield from found
        if not found:
            yield from self._documents(inputs, ())

    def completed(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        return dict(inputs)

    def _names(self, group: str) -> Iterator[tuple[str, ...]]:
        for pointer in _schema(self.type_name).get(group, []):
            yield tuple(sdk_name(name) for name in pointer.removeprefix("/properties/").split("/") if name != "*")

    def _refused(
        self, inputs: Mapping[str, Any], translation: _Translation, properties: dict[str, Any]
    ) -> Iterator[Failure]:
        for name in inputs:
            if (name,) in self.read_only:
                yield Failure((name,), f"can only be read (read-only property of {self.type_name})")
        validator = _Validator(_schema(self.type_name))
        for error in validator.iter_errors(properties):
            if not has_unknown(error.instance):
                yield from self._failures_of(error, translation)

    def _failures_of(self, error: ValidationError, translation: _Translation) -> Iterator[Failure]:
        where = tuple(error.absolute_path)
        path = translation.paths[where]
        constraint: Any = error.validator_value
        if error.validator == "required":
            for name in constraint:
                if name not in cast("dict[str, Any]", error.instance):
                    yield Failure((*path, sdk_name(name)), f"is missing (required by {self.type_name})")
        else:
            words = _WORDS.get(str(error.validator), "satisfy `{keyword}: {value}`")
            value = ", ".join(map(str, constraint)) if isinstance(constraint, list) else constraint
            must = words.format(keyword=error.validator, value=value)
            yield Failure(path, f"must {must} (schema of {self.type_name})")

    def _documents(self, value: Any, path: Path) -> Iterator[Failure]:
        check = self.checks.get(tuple(step for step in path if isinstance(step, str)))
        if check and not isinstance(value, list) and not has_unknown(value):
            yield from check.failures(value, path)
        inner = value.value if isinstance(value, Secret) else value
        steps: Iterable[tuple[str | int, Any]] = ()
        if isinstance(inner, Mapping):
            steps = cast("Mapping[str, Any]", inner).items()
        elif isinstance(inner, list):
            steps = enumerate(cast("list[Any]", inner))
        for step, item in steps:
            yield from self._documents(item, (*path, step))


def sdk_name(name: str) -> str:
    """A property's name in Pulumi: camel case with abbreviations as words, `DynamoDBStream` -> `dynamoDbStream`."""
    words = re.findall(r"[A-Z]+(?![a-z])\d*|[A-Z]?[a-z0-9]+", name)
    first, *others = (word.lower() for word in words)
    return first + "".join(word.capitalize() for word in others)


_WORDS = {
    "type": "be of type {value}",
    "enum": "be one of {value}",
    "pattern": "match {value}",
    "minimum": "be at least {value}",
    "maximum": "be at most {value}",
    "minLength": "be at least {value} long",
    "maxLength": "be at most {value} long",
    "minItems": "have at least {value} items",
    "maxItems": "have at most {value} items",
}


def _pattern(_: Any, pattern: str, value: Any, __: Any) -> Iterator[ValidationError]:
    # CloudFormation's patterns are Java's, of which `re` does not know all.
    if isinstance(value, str) and not regex.search(pattern, value):
        yield ValidationError("pattern")


_Validator = extend(Draft7Validator, {"pattern": _pattern})


@functools.cache
def _schema(type_name: str) -> dict[str, Any]:
    # Loading cfn-lint takes a second, and many programs have no type of this provider.
    from cfnlint.schema import manager  # noqa: PLC0415  # pyright: ignore[reportMissingTypeStubs]

    return manager.PROVIDER_SCHEMA_MANAGER.get_resource_schema(_REGION, type_name).schema


class _Translation:
    """Turns Pulumi's names into CloudFormation's, and remembers where everything came from."""

    def __init__(self, schema: dict[str, Any], type_name: str) -> None:
        self._root = schema
        self._type_name = type_name
        self.paths: dict[tuple[str | int, ...], Path] = {(): ()}
        self.failures: list[Failure] = []

    def object(
        self, value: Mapping[str, Any], schema: dict[str, Any], path: Path, there: tuple[str | int, ...]
    ) -> dict[str, Any]:
        properties: dict[str, Any] = {}
        for part in (schema, *schema.get("oneOf", []), *schema.get("anyOf", [])):
            properties |= part.get("properties", {})
        names = {sdk_name(name): name for name in properties}
        translated: dict[str, Any] = {}
        for key, item in value.items():
            if key in names:
                name, inner = names[key], properties[names[key]]
            elif properties or schema.get("additionalProperties") is False:
                self.failures.append(Failure((*path, key), f"is not a property of {self._type_name} here"))
                continue
            else:  # a map: its keys are the program's own
                name, inner = key, next(iter(schema.get("patternProperties", {}).values()), {})
            translated[name] = self._value(item, inner, (*path, key), (*there, name))
        return translated

    def _value(self, value: Any, schema: dict[str, Any], path: Path, there: tuple[str | int, ...]) -> Any:
        self.paths[there] = path
        schema = self._resolved(schema)
        match value:
            case Secret():
                return self._value(value.value, schema, path, there)
            case dict():
                return self.object(value, schema, path, there)
            case list():
                items = schema.get("items", {})
                return [self._value(item, items, (*path, i), (*there, i)) for i, item in enumerate(value)]
            case _:
                return value

    def _resolved(self, schema: dict[str, Any]) -> dict[str, Any]:
        reference = schema.get("$ref")
        if not isinstance(reference, str):
            return schema
        found: Any = self._root
        for step in reference.removeprefix("#/").split("/"):
            found = found[step]
        return self._resolved(found)


def _now(_: Made) -> str:
    return dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


KINDS: dict[str, Kind] = {
    "aws-native:pipes:Pipe": Kind(
        id=lambda made: made["name"],
        naming=Naming("name"),
        adds={
            "arn": Added(lambda made: made.place.arn("pipes", f"pipe/{made['name']}")),
            "creationTime": Added(_now),
            "currentState": Added(lambda made: made.get("desiredState", "RUNNING"), ("desiredState",)),
            "lastModifiedTime": Added(_now),
            "stateReason": Added(lambda _: "USER_INITIATED"),
        },
        rules=SchemaRules(
            "AWS::Pipes::Pipe",
            checks={
                ("sourceParameters", "filterCriteria", "filters", "pattern"): EVENT_PATTERN,
                ("targetParameters", "inputTemplate"): PIPE_TEMPLATE,
            },
        ),
    ),
}
