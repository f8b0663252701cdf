"""Property values, between the engine's wire format and Python.

An object is a dict, a list a list, a whole number an int; null is absent. The engine marks what JSON can't say by
signatures, which are classes here: `Secret`, `UNKNOWN` and `Asset`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from google.protobuf.struct_pb2 import ListValue, NullValue, Struct, Value

# Pulumi's wire protocol: the key that marks an object as something else, and what it can be marked as.
_SIGNATURE = "4dabf18193072939515e22adb298388d"
_SECRET = "1b47061264138c4ac30d75fd1eb44270"  # noqa: S105 - a mark, known to everybody
_ASSET = "c44067f5952c0a294b673a41bacd8c17"
_ARCHIVE = "0def7320c3a5731c473e5ecbe6d01bc7"
# An unknown text, and an unknown of each other kind.
_UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
_UNKNOWNS = {
    _UNKNOWN,
    "1c4a061d-8072-4f0a-a4cb-0ff528b18fe7",
    "3eeb2bf0-c639-47a8-9e75-3b44932eb421",
    "6a19a0b0-7e62-4c92-b797-7f8e31da9cc2",
    "030794c1-ac77-496b-92df-f27374a8bd58",
    "e48ece36-62e2-4504-bad9-02848725956a",
    "dd056dcd-154b-4c76-9bd3-c8f88648b5ff",
}

# Where the classic provider notes which members of an object it has filled in. The engine shows it to nobody.
DEFAULTS = "__defaults"

Path = tuple[str | int, ...]
"""Names and list positions, from the resource inwards."""


@dataclass(frozen=True, repr=False)
class Secret:
    """A value that is shown to nobody; its own representation keeps to that."""

    value: Any

    def __repr__(self) -> str:
        return "Secret(...)"


class Unknown:
    """The value that a preview can't know yet."""

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN: Final = Unknown()


@dataclass(frozen=True)
class Asset:
    """A file or an archive, the same as another one with the same content."""

    hash: str
    wire: dict[str, Any] = field(compare=False)


def read(struct: Struct) -> dict[str, Any]:
    """The properties of a message."""
    return {key: item for key, value in struct.fields.items() if (item := _read(value)) is not None}


def write(properties: Mapping[str, Any]) -> Struct:
    """Properties as a message; every mark survives, at any depth."""
    struct = Struct()
    for key, value in properties.items():
        _write(value, struct.fields[key])
    return struct


def public(value: Any) -> Any:
    """The value without the notes of what was filled in."""
    match value:
        case Secret():
            return Secret(public(value.value))
        case dict():
            return {key: public(item) for key, item in value.items() if key != DEFAULTS}
        case list():
            return [public(item) for item in value]
        case _:
            return value


def plain(value: Any) -> Any:
    """The value without the marks of secrets."""
    match value:
        case Secret():
            return plain(value.value)
        case dict():
            return {key: plain(item) for key, item in value.items()}
        case list():
            return [plain(item) for item in value]
        case _:
            return value


def has_unknown(value: Any) -> bool:
    """Whether something within the value is not known yet."""
    match value:
        case Unknown():
            return True
        case Secret():
            return has_unknown(value.value)
        case dict():
            return any(map(has_unknown, value.values()))
        case list():
            return any(map(has_unknown, value))
        case _:
            return False


def has_secret(value: Any) -> bool:
    """Whether something within the value is secret."""
    match value:
        case Secret():
            return True
        case dict():
            return any(map(has_secret, value.values()))
        case list():
            return any(map(has_secret, value))
        case _:
            return False


def shown(path: Path) -> str:
    """A path as the engine writes it: `targets[0].headers["X-Key"]`."""
    return "".join(_steps(path)).removeprefix(".")


def _steps(path: Path) -> Iterator[str]:
    for step in path:
        if isinstance(step, int):
            yield f"[{step}]"
        elif step.isidentifier():
            yield f".{step}"
        else:
            escaped = step.replace("\\", "\\\\").replace('"', '\\"')
            yield f'["{escaped}"]'


def _read(value: Value) -> Any:
    match value.WhichOneof("kind"):
        case "string_value":
            return UNKNOWN if value.string_value in _UNKNOWNS else value.string_value
        case "number_value":
            number = value.number_value
            return int(number) if number.is_integer() else number
        case "bool_value":
            return value.bool_value
        case "list_value":
            return [_read(item) for item in value.list_value.values]
        case "struct_value":
            return _read_object(read(value.struct_value))
        case _:
            return None


def _read_object(properties: dict[str, Any]) -> Any:
    signature = properties.get(_SIGNATURE)
    if signature == _SECRET:
        return Secret(properties.get("value"))
    if signature in (_ASSET, _ARCHIVE):
        return Asset(properties.get("hash", ""), properties)
    return properties


def _write(value: Any, into: Value) -> None:
    match value:
        case Secret():
            _write({_SIGNATURE: _SECRET, "value": value.value}, into)
        case Asset():
            _write(value.wire, into)
        case Unknown():
            _write(_UNKNOWN, into)
        case dict():
            into.struct_value.CopyFrom(write(value))
        case list():
            into.list_value.CopyFrom(ListValue())
            for item in value:
                _write(item, into.list_value.values.add())
        case _:
            _write_scalar(value, into)


def _write_scalar(value: str | float | bool | None, into: Value) -> None:  # noqa: FBT001 - a property value
    match value:
        case str():
            into.string_value = value
        case bool():
            into.bool_value = value
        case int() | float():
            into.number_value = value
        case None:
            into.null_value = NullValue.NULL_VALUE
