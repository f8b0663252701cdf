"""The deployed event patterns take the same events in the local cloud and in AWS's Event Ruler."""

from __future__ import annotations

import copy
import itertools
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox import patterns
from tests import graph
from tests.contracts import test_patterns
from tests.oracles.differences import PATTERNS, decided
from tests.oracles.engines import Refused

pytestmark = pytest.mark.oracle

VALUES = [
    *("", " ", "x", "INSERT", "insert", "MODIFY", "pending", "shipped", "acme", "ACME", "acme ", "globex"),
    *("it's", '"', "\\", "*", "😀", "e\u0301", "\u00e9", "\u0000", "arn:aws:iam::1:role/x", graph.ACCOUNT),
    *(None, True, False, 0, 1, -1, 5, 5.0, 1e300, 111122223333),
    *([], {}, [[]], [{}], {"S": "pending"}, {"S": ["pending"]}, [{"S": "pending"}], ["acme"], ["x", "acme"]),
]
# Twelve sorts of a rule's values, with what may stand in them.
TEXTS = st.sampled_from(["", "a", "b", "ab", "5", "x*y", "ä", "A", "1.2.3.4", "INSERT"])
NUMBERS = st.sampled_from([-1, 0, 1, 1.5, 5, 5.0, 300])
MATCHES = st.one_of(
    TEXTS,
    NUMBERS,
    st.sampled_from([None, True, False]),
    st.booleans().map(lambda there: {"exists": there}),
    TEXTS.map(lambda text: {"prefix": text}),
    TEXTS.map(lambda text: {"suffix": text}),
    TEXTS.map(lambda text: {"equals-ignore-case": text}),
    (TEXTS | NUMBERS | st.lists(TEXTS, min_size=1, max_size=2)).map(lambda value: {"anything-but": value}),
    TEXTS.map(lambda text: {"anything-but": {"prefix": text}}),
    NUMBERS.map(lambda number: {"numeric": ["=", number]}),
    NUMBERS.map(lambda number: {"numeric": [">", number, "<=", number + 3]}),
    st.sampled_from(["*", "a*", "*b", "a*b", "x\\*y"]).map(lambda text: {"wildcard": text}),
)
NAMES = st.sampled_from(["a", "b", "c"])
PATTERN = st.recursive(
    st.lists(MATCHES, min_size=1, max_size=2),
    lambda inner: st.dictionaries(NAMES, inner, min_size=1, max_size=2),
    max_leaves=4,
)
EVENT = st.recursive(
    TEXTS | NUMBERS | st.sampled_from([None, True, False]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def deployed(programs):
    """The different patterns of every stack's rules and pipe, each with an event that it is meant to take."""
    found = set()
    for program in programs.values():
        rules = program.of("aws:cloudwatch/eventRule:EventRule")
        found |= {graph.plain(rule.inputs)["eventPattern"] for rule in rules}
        pipe = graph.plain(program.only("aws-native:pipes:Pipe").inputs)
        found |= {each["pattern"] for each in pipe["sourceParameters"]["filterCriteria"]["filters"]}
    assert len(found) > len(programs) + 1  # the pipes' filter is one for all, rules differ by stack and carrier
    return [(pattern, meant(json.loads(pattern))) for pattern in sorted(found)]


def meant(pattern):
    """An event with the first value that each field of the pattern asks for."""
    if isinstance(pattern, dict):
        return {name: meant(value) for name, value in pattern.items()}
    first = pattern[0]
    if not isinstance(first, dict):
        return first
    [(kind, value)] = first.items()
    return {"prefix": f"{value}x", "exists": "x"}[kind]


def places(event, at=()):
    """The paths to everything in an event but itself."""
    inside = event.items() if isinstance(event, dict) else enumerate(event) if isinstance(event, list) else ()
    for name, value in inside:
        yield (*at, name)
        yield from places(value, (*at, name))


def changed(event, place, change):
    """A copy of an event with what `change` makes of the value at a place: nothing, if that is `gone`."""
    copied = copy.deepcopy(event)
    holder = copied
    for name in place[:-1]:
        holder = holder[name]
    became = change(holder[place[-1]])
    if became is gone:
        del holder[place[-1]]
    else:
        holder[place[-1]] = became
    return copied


def gone(_value):
    """The change that takes a value away, and its mark."""
    return gone


CHANGES = [
    gone,
    lambda value: [value],
    lambda value: ["x", value],
    lambda value: [["x"], [value]],
    lambda value: {"x": value},
    lambda value: [{"x": 1}, value],
    lambda value: f"{value}x" if isinstance(value, str) else value,
    lambda value: f" {value}" if isinstance(value, str) else value,
    lambda value: value[:-1] if isinstance(value, str) else value,
    lambda value: value.swapcase() if isinstance(value, str) else value,
    lambda value: {**value, "x": "y"} if isinstance(value, dict) else value,
    *((lambda _value, other=other: other) for other in VALUES),
]


@st.composite
def near(draw, event):
    """An event in which up to three things are different."""
    for _ in range(draw(st.integers(1, 3))):
        if not (there := list(places(event))):
            break
        event = changed(event, draw(st.sampled_from(there)), draw(st.sampled_from(CHANGES)))
    return event


def test_each_deployed_pattern_takes_what_it_is_meant_to(oracle, deployed):
    for pattern, event in deployed:
        assert patterns.matches(pattern, event) is True
        assert oracle.matches(pattern, event) is True


def test_hard_events_are_taken_by_the_same_patterns(oracle, deployed):
    compared = []
    for pattern, event in deployed:
        events = [changed(event, place, change) for place in places(event) for change in CHANGES]
        events += [{}, *(other for _, other in deployed)]
        compared += [(decided(pattern, each), oracle.matches(pattern, each), pattern, each) for each in events]

    assert [each for each in compared if each[0] is not each[1]] == []
    assert {here for here, *_ in compared} == {True, False}


@settings(max_examples=500)
@given(data=st.data())
def test_events_are_taken_by_the_same_deployed_patterns(oracle, deployed, data):
    pattern, event = data.draw(st.sampled_from(deployed))
    event = data.draw(near(event))

    assert patterns.matches(pattern, event) is oracle.matches(pattern, event)


# What the local cloud's language claims to be

FIELDS = test_patterns.test_a_field_matches_its_values_and_nothing_else.pytestmark[0].args[1]
MIXED = PATTERNS[0].ours
INVALID = test_patterns.test_a_pattern_that_aws_refuses_is_refused_with_its_reason.pytestmark[0].args[1]


@pytest.mark.parametrize(("values", "taken", "refused"), FIELDS)
def test_event_ruler_takes_what_the_tests_of_the_language_expect(oracle, values, taken, refused):
    pattern = json.dumps({"a": {"b": values}})

    assert [value for value in taken if oracle.matches(pattern, {"a": {"b": value}}) is not True] == []
    assert [value for value in refused if oracle.matches(pattern, {"a": {"b": value}}) is not False] == []


@pytest.mark.parametrize(("pattern", "reason"), INVALID)
def test_event_ruler_refuses_what_the_tests_of_the_language_expect(oracle, pattern, reason):
    refused = oracle.matches(pattern, {"a": "b"})

    # Of what is no JSON, the parser speaks.
    assert reason == "Invalid JSON" or reason in refused.why
    assert isinstance(refused, Refused)


@pytest.mark.parametrize(
    "pattern",
    [
        {"x": ["s"], "$or": [{"a": [1]}, {"b": [1]}]},
        {"$or": [{"x": ["s"], "a": [1]}, {"b": [{"exists": False}]}]},
        {"$or": [{"$or": [{"a": [1]}, {"b": [1]}]}, {"x": ["s"], "b": [{"anything-but": 1}]}]},
    ],
    ids=["beside a field", "of two fields", "in another"],
)
def test_one_of_an_or_has_to_match(oracle, pattern):
    text = json.dumps(pattern)
    fields = itertools.product(("s", "t", None), (1, 2, None), (1, 2, None))
    events = [{name: value for name, value in zip("xab", each, strict=True) if value is not None} for each in fields]
    compared = [(decided(text, event), oracle.matches(text, event), event) for event in events]

    assert [each for each in compared if each[0] is not each[1]] == []
    assert {here for here, *_ in compared} == {True, False}


@settings(max_examples=500)
@given(
    pattern=st.dictionaries(NAMES, PATTERN, min_size=1, max_size=2),
    either=st.none() | st.lists(st.dictionaries(NAMES, PATTERN, min_size=1, max_size=2), min_size=1, max_size=3),
    event=st.dictionaries(NAMES, EVENT, max_size=4),
)
def test_any_pattern_takes_the_same_events(oracle, pattern, either, event):
    text = json.dumps({**pattern, **({"$or": either} if either else {})})
    here, there = decided(text, event), oracle.matches(text, event)

    if isinstance(here, Refused):
        assert isinstance(there, Refused) or MIXED in here.why
    else:
        assert here is there
