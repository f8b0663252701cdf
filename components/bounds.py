"""What a number, a choice or a name may be: the settings of a stack and the arguments of a component, alike."""

from __future__ import annotations

import re
from collections.abc import Sized

import pulumi

Numbers = range | tuple[int, ...]

# EventBridge's quota for an API destination, per second, which AWS raises on request.
RATE_LIMITS = range(1, 301)
# A fortnight at most: four times of it, and a dead letter's fortnight, end within three months.
CONFIRM_HOURS = range(1, 14 * 24 + 1)
# What DynamoDB's IN compares with at most, where a redrive asks for a carrier that still takes orders.
MOST_CARRIERS = 100
# API Gateway's quotas for all routes of an account in a region: requests per second, which AWS raises on request, and
# burst, which follows.
RATES = range(1, 10_001)
BURSTS = range(1, 5_001)
# The documented values of PutRetentionPolicy.
RETENTIONS = (1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653)
RUNTIMES = ("python3.11", "python3.12", "python3.13", "python3.14")
# Lambda's quota for all functions of an account, which AWS raises on request; 0 would stop a function.
CONCURRENCY = range(1, 1_001)
# Short enough that every name made of it stays within AWS's 64 characters.
CARRIER_NAME = re.compile(r"[a-z][a-z0-9-]{0,15}")
CARRIER_NAME_WORDS = "1 to 16 small letters, digits and hyphens, the first a letter"


class ArgumentError(pulumi.RunError):
    """An argument of a component is out of bounds; the message names it. The engine shows it without a traceback."""


def number_within(value: object, allowed: Numbers) -> bool:
    """Whether it is a whole number, and one of these."""
    return isinstance(value, int) and not isinstance(value, bool) and value in allowed


def words(allowed: Numbers) -> str:
    """The numbers, as a sentence has them after "must be"."""
    if isinstance(allowed, range):
        return f"a whole number from {allowed[0]} to {allowed[-1]}"
    return f"one of {', '.join(map(str, allowed))}"


def demand_number(name: str, value: object, allowed: Numbers) -> None:
    """Raise ArgumentError unless it is one of these."""
    if not number_within(value, allowed):
        raise ArgumentError(f"{name} must be {words(allowed)}, and is {value!r}")


def demand_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Raise ArgumentError unless it is one of these."""
    if value not in choices:
        raise ArgumentError(f"{name} must be {' or '.join(choices)}, and is {value!r}")


def demand_carrier(name: str, value: object) -> None:
    """Raise ArgumentError unless names of resources can be made of it."""
    if not isinstance(value, str) or not CARRIER_NAME.fullmatch(value):
        raise ArgumentError(f"{name} must be {CARRIER_NAME_WORDS}, and is {value!r}")


def demand_some(name: str, values: Sized, most: int | None = None) -> None:
    """Raise ArgumentError for an empty collection, and for one of more than `most`."""
    if not len(values):
        raise ArgumentError(f"{name} is empty, and needs one at least")
    if most is not None and len(values) > most:
        raise ArgumentError(f"{name} has {len(values)}, and may have {most} at most")
