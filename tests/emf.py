"""What CloudWatch makes of log lines in the embedded metric format, by its specification.

"Specification: Embedded metric format" of the CloudWatch user guide: `_aws.CloudWatchMetrics` says which members of the
line are metrics, and which are the dimensions that they are kept under.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

_UNITS = {"Count", "Milliseconds", "Seconds", "Bytes", "Percent", "None"}


class Series(NamedTuple):
    namespace: str
    name: str
    dimensions: frozenset[tuple[str, str]]


def evaluate(lines: Iterable[str]) -> Counter[Series]:
    """The sum of each metric; what CloudWatch would drop without a word fails."""
    sums: Counter[Series] = Counter()
    for line in lines:
        if '"_aws"' in line:
            _add(json.loads(line), sums)
    return sums


def _add(document: dict[str, object], sums: Counter[Series]) -> None:
    metadata = document["_aws"]
    assert isinstance(metadata, dict)
    # Milliseconds; a time in seconds would be in 1970, further back than CloudWatch takes any.
    assert isinstance(metadata["Timestamp"], int)
    assert metadata["Timestamp"] > 1_600_000_000_000
    assert metadata["CloudWatchMetrics"]
    for directive in metadata["CloudWatchMetrics"]:
        assert directive["Dimensions"], "a metric without a set of dimensions is kept under none"
        for names in directive["Dimensions"]:
            dimensions = frozenset((name, _text(document[name])) for name in names)
            for metric in directive["Metrics"]:
                assert metric["Unit"] in _UNITS
                sums[Series(directive["Namespace"], metric["Name"], dimensions)] += _total(document[metric["Name"]])


def _text(value: object) -> str:
    assert isinstance(value, str)
    assert value
    return value


def _total(value: object) -> int:
    values = value if isinstance(value, list) else [value]
    assert values
    return sum(_number(number) for number in values)


def _number(value: object) -> int:
    """A count; whatever else CloudWatch would take, nobody here writes."""
    assert isinstance(value, int | float)
    assert value == int(value)
    return int(value)
