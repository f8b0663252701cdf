"""What PutEvents refuses, which MiniStack takes.

The rules are those of "PutEvents", "PutEventsRequestEntry" and "PutEventsResultEntry" in the EventBridge API reference
and of "Calculating PutEvents event entry size" in the user guide; the words of the errors are AWS's, where they are
public. A bus that does not exist is none of them: its events are accepted, and lost.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, cast

from botocore.exceptions import ClientError

_MOST_ENTRIES = 10
# 256 KB until January 2026, which some pages still say. "Less than 1 MB" is what AWS writes; exactly 1 MB is reported
# to be taken, and one byte more to be refused.
_MOST_BYTES = 1024 * 1024
_TIME_BYTES = 14
_LONGEST_DETAIL_TYPE = 128
_LONGEST = {"Source": None, "DetailType": None, "Detail": None, "EventBusName": 1600, "TraceHeader": 500}
_MEMBERS = {*_LONGEST, "Resources", "Time"}
_BUS = re.compile(r"(arn:aws[\w-]*:events:[a-z]+-[a-z]+-[\w-]+:[0-9]{12}:event-bus/)?[.\-_A-Za-z0-9]+", re.ASCII)
_LONGEST_RESOURCE = 2048

Entry = Mapping[str, Any]


def put_events(entries: Sequence[Entry], forward: Callable[..., Mapping[str, Any]]) -> dict[str, Any]:
    """PutEvents as AWS answers it: the valid entries go to `forward`, which is `put_events` of a boto3 client.

    An entry that fails leaves the others alone: it has an ErrorCode in its place of `Entries`, is counted in
    FailedEntryCount, and the call succeeds all the same.

    Raises:
        ClientError: The request as a whole is refused (no entry or more than ten, more than 1 MB, a wrong type or
            length), or `forward` raised it. Nothing was sent in the first case.

    """
    _check_request(entries)
    results: list[dict[str, Any] | None] = [_failure(entry) for entry in entries]
    valid = [_known(entry) for entry, failed in zip(entries, results, strict=True) if failed is None]
    if valid:
        answers = iter(forward(Entries=valid)["Entries"])
        results = [next(answers) if result is None else result for result in results]
    return {"FailedEntryCount": sum("ErrorCode" in (result or {}) for result in results), "Entries": results}


def size(entry: Entry) -> int:
    """The bytes of an entry that count towards the limit of a request."""
    texts = [entry.get("Source"), entry.get("DetailType"), entry.get("Detail"), *(entry.get("Resources") or [])]
    # JSON can carry halves of surrogate pairs, which have no UTF-8.
    counted = sum(len(text.encode("utf-8", "surrogatepass")) for text in texts if text)
    return counted + (_TIME_BYTES if entry.get("Time") is not None else 0)


def _check_request(entries: Sequence[Entry]) -> None:
    if not 1 <= len(entries) <= _MOST_ENTRIES:
        limit = f"less than or equal to {_MOST_ENTRIES}" if entries else "greater than or equal to 1"
        raise _invalid_value("entries", f"Member must have length {limit}")
    for position, entry in enumerate(cast("Sequence[Any]", entries), 1):
        where = f"entries.{position}.member"
        if not isinstance(entry, Mapping):
            raise _refusal("SerializationException", f"{where} is not an object")
        for member, value in _known(cast("Entry", entry)).items():
            _check_member(where, member, value)
    if sum(map(size, entries)) > _MOST_BYTES:
        raise _refusal("ValidationException", "Total size of the entries in the request is over the limit.")


def _known(entry: Entry) -> dict[str, Any]:
    """What the API knows and is there: like AWS, without members that it doesn't know; a null counts as absent."""
    return {member: value for member, value in entry.items() if member in _MEMBERS and value is not None}


def _check_member(where: str, member: str, value: Any) -> None:
    """Refuse what the API's model excludes, which fails the request before any entry is looked at."""
    if member == "Time":
        if not _is_time(value):
            raise _refusal("SerializationException", f"{where}.Time is not a time")
    elif member == "Resources":
        if not isinstance(value, list):
            raise _refusal("SerializationException", f"{where}.Resources is not a list")
        for resource in cast("list[Any]", value):
            _checked_text(f"{where}.Resources", resource, longest=_LONGEST_RESOURCE)
    else:
        text = _checked_text(f"{where}.{member}", value, longest=_LONGEST[member])
        if member == "EventBusName" and not _BUS.fullmatch(text):
            raise _invalid_value(where, f"Member must satisfy regular expression pattern: {_BUS.pattern}")


def _checked_text(where: str, value: Any, *, longest: int | None) -> str:
    if not isinstance(value, str):
        raise _refusal("SerializationException", f"{where} is not a text")
    if longest and len(value) > longest:
        raise _invalid_value(where, f"Member must have length less than or equal to {longest}")
    return value


def _is_time(value: Any) -> bool:
    """What JSON clients send (a number) and boto3 is given (a datetime), or a date in ISO 8601."""
    if isinstance(value, str):
        try:
            return bool(datetime.fromisoformat(value))
        except ValueError:
            return False
    return isinstance(value, int | float | datetime) and not isinstance(value, bool)


def _failure(entry: Entry) -> dict[str, Any] | None:
    for member in ("Source", "DetailType", "Detail"):
        if not entry.get(member):
            return _invalid(member, f"{member} is a required argument.")
    if len(entry["DetailType"]) > _LONGEST_DETAIL_TYPE:
        # That AWS fails such an entry is reported; its words are not.
        return _invalid("DetailType", f"DetailType is longer than {_LONGEST_DETAIL_TYPE} characters.")
    if entry["Source"].startswith("aws."):
        return {"ErrorCode": "NotAuthorizedForSourceException", "ErrorMessage": "Not authorized for the source."}
    if not _is_object(entry["Detail"]):
        return {"ErrorCode": "MalformedDetail", "ErrorMessage": "Detail is malformed."}
    return None


def _invalid(member: str, reason: str) -> dict[str, Any]:
    return {"ErrorCode": "InvalidArgument", "ErrorMessage": f"Parameter {member} is not valid. Reason: {reason}"}


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text, parse_constant=_refuse_constant), dict)
    # Nested deeper than Python reads, which is about 1,000 levels; what AWS reads is not documented.
    except (ValueError, RecursionError):
        return False


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _invalid_value(where: str, constraint: str) -> ClientError:
    message = f"1 validation error detected: Value at '{where}' failed to satisfy constraint: {constraint}"
    return _refusal("ValidationException", message)


def _refusal(code: str, message: str) -> ClientError:
    return ClientError(
        {"Error": {"Code": code, "Message": message}, "ResponseMetadata": cast("Any", {"HTTPStatusCode": 400})},
        "PutEvents",
    )
