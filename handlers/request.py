"""What the HTTP entries ask of a request alike: its headers' grammar, and JSON as RFC 8259 means it."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

_KEY = re.compile(r"[\x21-\x7e]{1,255}")
KEY_RULE = "Idempotency-Key must be 1 to 255 visible ASCII characters"


class MalformedBodyError(ValueError):
    """Says what is wrong with a body without repeating any of it; completes the sentence `The body ...`."""


def is_key(text: str) -> bool:
    """Whether this is an Idempotency-Key."""
    return _KEY.fullmatch(text) is not None


def is_json(content_type: str | None) -> bool:
    """Whether a Content-Type header announces JSON, with whatever parameters."""
    return (content_type or "").partition(";")[0].strip().lower() == "application/json"


def content(body: str | None, *, base64_encoded: bool) -> bytes:
    """The bytes that were sent, of which Lambda shows a text.

    Raises:
        MalformedBodyError: The text stands for no bytes.

    """
    try:
        return base64.b64decode(body or "", validate=True) if base64_encoded else (body or "").encode()
    except ValueError as error:
        raise MalformedBodyError("can't be decoded") from error


def parse(body: bytes) -> Any:
    """The JSON document, whose strings can all be encoded again.

    Raises:
        MalformedBodyError: Not UTF-8, not JSON, a name twice in one object, NaN or Infinity, half a surrogate pair, or
            an integer or a nesting beyond what Python reads.

    """
    try:
        document = json.loads(body.decode(), object_pairs_hook=_unique, parse_constant=_refuse_constant)
        json.dumps(document, ensure_ascii=False).encode()  # an escape such as \ud800 reads well and fails only here
    except MalformedBodyError:
        raise
    except RecursionError as error:
        raise MalformedBodyError("is nested too deeply") from error
    except UnicodeError as error:
        raise MalformedBodyError("is not Unicode text") from error
    except ValueError as error:
        raise MalformedBodyError("is not valid JSON") from error
    return document


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise MalformedBodyError("names a field twice")
    return document


def _refuse_constant(_name: str) -> Any:
    raise MalformedBodyError("holds a number that JSON does not know")
