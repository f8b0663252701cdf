"""Rules from the model of the API call that a resource of the classic provider stands for, as botocore ships it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import regex
from botocore.loaders import Loader
from botocore.model import ListShape, MapShape, OperationNotFoundError, ServiceModel, Shape, StructureShape

from sandbox.provider.documents import Check
from sandbox.provider.kind import Failure
from sandbox.provider.values import DEFAULTS, UNKNOWN, Asset, Path, Secret, has_unknown, plain


@dataclass(frozen=True)
class Input:
    """One input of a type, and the member of the call's request that it becomes.

    `to` is the member's name; `A[].B` leads into a structure or a list, `Other:A` into the request of another operation
    of the service, or into another of its shapes. Without `fields`, the inputs within are the members in camel case.
    """

    to: str | None
    replaces: bool = False
    """Whether AWS can't change it on what exists."""
    required: bool | None = None
    """None: as the call says."""
    check: Check | None = None
    """What AWS checks beyond what the model says."""
    default: Any = None
    """What the provider fills in where the program says nothing, before a policy sees the inputs."""
    fields: Mapping[str, Input] = field(default_factory=dict[str, "Input"])
    unused: str = ""
    """Why it makes no difference here that it is given."""


@dataclass(frozen=True)
class CallRules:
    """`call` is `service.Operation`; `inputs` are all that the type takes, and any other one is refused."""

    call: str
    inputs: Mapping[str, Input]
    check: Check | None = None
    """What AWS checks of the inputs together."""

    @property
    def create_only(self) -> frozenset[tuple[str, ...]]:
        return frozenset((name,) for name, row in self.inputs.items() if row.replaces)

    def failures(self, inputs: Mapping[str, Any]) -> Iterator[Failure]:
        found = list(_object(inputs, self.inputs, _Model(self.call), ()))
        yield from found
        if not found and self.check and not has_unknown(inputs):
            yield from self.check.failures(inputs, ())

    def completed(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        return _completed(inputs, self.inputs)


def _completed(value: Mapping[str, Any], rows: Mapping[str, Input]) -> dict[str, Any]:
    defaults = {name: row.default for name, row in rows.items() if row.default is not None and name not in value}
    inside = {name: _completed_within(item, rows[name].fields) for name, item in value.items()}
    return {**inside, **defaults, DEFAULTS: sorted(defaults)}


def _completed_within(value: Any, rows: Mapping[str, Input]) -> Any:
    match value:
        case Secret():
            return Secret(_completed_within(value.value, rows))
        case list():
            return [_completed_within(item, rows) for item in value]
        case dict() if rows:
            return _completed(value, rows)
        case _:
            return value


class _Model:
    """A place in a service's model: one shape, and how to get to others."""

    def __init__(self, call: str, shape: Shape | None = None) -> None:
        service, _, operation = call.partition(".")
        self._service = _service(service)
        self.call = call
        self.shape = shape or self._request(operation)

    def _request(self, name: str) -> Shape:
        try:
            return cast("Shape", self._service.operation_model(name).input_shape)
        except OperationNotFoundError:
            return self._service.shape_for(name)

    def member(self, to: str) -> tuple[_Model, bool]:
        """The member that `to` names, and whether a request has to have it."""
        other, _, path = to.rpartition(":")
        shape = self._request(other) if other else self.shape
        required = True
        for step in path.split("."):
            name = step.removesuffix("[]")
            structure = cast("StructureShape", shape)
            required &= name in structure.required_members
            shape = structure.members[name]
            if name != step:
                shape = shape.value if isinstance(shape, MapShape) else cast("ListShape", shape).member
        return _Model(self.call, shape), required and not other

    def at(self, shape: Shape) -> _Model:
        return _Model(self.call, shape)

    @property
    def fields(self) -> dict[str, Input]:
        """The members of a structure by their names in camel case."""
        return {name[0].lower() + name[1:]: Input(name) for name in cast("StructureShape", self.shape).members}

    def must(self, constraint: str) -> str:
        return f"must {constraint} ({self.call.replace('.', ' ')})"


@functools.cache
def _service(name: str) -> ServiceModel:
    return ServiceModel(Loader().load_service_model(name, "service-2"))


def _object(value: Mapping[str, Any], rows: Mapping[str, Input], model: _Model, path: Path) -> Iterator[Failure]:
    for name, item in value.items():
        if name not in rows:
            yield Failure((*path, name), "is not an input that the local providers know here")
        else:
            yield from _input(item, rows[name], model, (*path, name))
    for name, row in rows.items():
        if name not in value and _is_required(row, model):
            yield Failure((*path, name), "is missing")


def _is_required(row: Input, model: _Model) -> bool:
    if row.required is not None:
        return row.required
    return row.to is not None and model.member(row.to)[1]


def _input(value: Any, row: Input, model: _Model, path: Path) -> Iterator[Failure]:
    found: Iterable[Failure] = ()
    if row.to is not None:
        found = list(_value(value, model.member(row.to)[0], path, row.fields))
    elif row.fields:
        found = list(_object(plain(value), row.fields, model, path))
    yield from found
    # A value of another type is nothing that a check could be asked about.
    if not found and row.check and not has_unknown(value):
        yield from row.check.failures(value, path)


def _value(value: Any, model: _Model, path: Path, fields: Mapping[str, Input] | None = None) -> Iterator[Failure]:
    if isinstance(value, Secret):
        yield from _value(value.value, model, path, fields)
    elif value is UNKNOWN:
        return
    else:
        type_, is_of_type, parts = _TYPES[model.shape.type_name]
        if not is_of_type(value):
            yield Failure(path, model.must(f"be {type_}"))
            return
        yield from _bounds(value, model, path)
        if parts:
            yield from parts(value, model, path, fields or {})


def _bounds(value: Any, model: _Model, path: Path) -> Iterator[Failure]:
    facts = model.shape.metadata
    size, unit = (len(value), " long") if _is_sized(value) else (value, "")
    if "min" in facts and size < facts["min"]:
        yield Failure(path, model.must(f"be at least {facts['min']}{unit}"))
    if "max" in facts and size > facts["max"]:
        yield Failure(path, model.must(f"be at most {facts['max']}{unit}"))
    if "enum" in facts and value not in facts["enum"]:
        yield Failure(path, model.must(f"be one of {', '.join(facts['enum'])}"))
    if "pattern" in facts and not _compiled(facts["pattern"]).fullmatch(value):
        yield Failure(path, model.must(f"match {facts['pattern']}"))


@functools.cache
def _compiled(pattern: str) -> regex.Pattern[str]:
    return regex.compile(pattern)


def _structure(value: dict[str, Any], model: _Model, path: Path, fields: Mapping[str, Input]) -> Iterator[Failure]:
    return _object(value, fields or model.fields, model, path)


def _list(value: list[Any], model: _Model, path: Path, fields: Mapping[str, Input]) -> Iterator[Failure]:
    member = model.at(cast("ListShape", model.shape).member)
    for index, item in enumerate(value):
        yield from _value(item, member, (*path, index), fields)


def _map(value: dict[str, Any], model: _Model, path: Path, fields: Mapping[str, Input]) -> Iterator[Failure]:
    shape = cast("MapShape", model.shape)
    for key, item in value.items():
        yield from _bounds(key, model.at(shape.key), (*path, key))
        yield from _value(item, model.at(shape.value), (*path, key), fields)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_sized(value: object) -> bool:
    return isinstance(value, str | list | dict)


def _is(*types: type) -> Callable[[object], bool]:
    return lambda value: isinstance(value, types)


_Parts = Callable[[Any, _Model, Path, Mapping[str, Input]], Iterator[Failure]]
# By the name of a shape's type: the type in words, how a value of it is told, and how to go on inside it.
_TYPES: dict[str, tuple[str, Callable[[object], bool], _Parts | None]] = {
    "string": ("a text", _is(str), None),
    "boolean": ("true or false", _is(bool), None),
    "integer": ("a whole number", _is_whole, None),
    "long": ("a whole number", _is_whole, None),
    "float": ("a number", _is_number, None),
    "double": ("a number", _is_number, None),
    "blob": ("a text, a file or an archive", _is(str, Asset), None),
    "structure": ("an object", _is(dict), _structure),
    "list": ("a list", _is(list), _list),
    "map": ("an object", _is(dict), _map),
}
