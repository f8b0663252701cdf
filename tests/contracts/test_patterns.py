"""Event patterns mean what AWS's Event Ruler says; every expectation was compared with event-ruler 2.1.0."""

import json

import pytest

from sandbox import patterns


def matches(pattern, event):
    return patterns.matches(json.dumps(pattern), event)


@pytest.mark.parametrize(
    ("values", "taken", "refused"),
    [
        (["a", "b"], ["a", "b", ["x", "b"]], ["c", "", None, [], {"a": "a"}]),
        ([5], [5, 5.0, [4, 5]], ["5", 6, True]),
        ([1], [1, 1.0], [True, "1"]),
        ([True], [True], [1, "true", False]),
        ([None], [None], ["", 0, [], {}]),
        ([{"exists": True}], ["", 0, None, False], [{}, [], {"a": 1}]),
        ([{"exists": False}], [{}, [], {"a": 1}], ["", None]),
        ([{"prefix": "ab"}], ["ab", "abc"], ["a", "cab", "AB", 5]),
        ([{"suffix": "ab"}], ["ab", "cab"], ["abc", None]),
        ([{"anything-but": "a"}], ["b", 1, None, ["a", "b"]], ["a", ["a"], [], {}]),
        ([{"anything-but": ["a", "b"]}], ["c"], ["a", "b"]),
        ([{"anything-but": {"prefix": "a"}}], ["b"], ["a", "ab"]),
        ([{"equals-ignore-case": "aB"}], ["ab", "AB"], ["a", "abc"]),
        ([{"numeric": [">", 0, "<=", 5]}], [0.1, 5], [0, 6, "3", None]),
        ([{"wildcard": "a*b"}], ["ab", "axxb"], ["abx", "a"]),
        ([{"cidr": "10.0.0.0/24"}], ["10.0.0.255"], ["10.0.1.0", "x"]),
    ],
)
def test_a_field_matches_its_values_and_nothing_else(values, taken, refused):
    assert [value for value in taken if not matches({"a": {"b": values}}, {"a": {"b": value}})] == []
    assert [value for value in refused if matches({"a": {"b": values}}, {"a": {"b": value}})] == []


def test_an_absent_field_matches_only_its_absence():
    for event in ({}, {"a": {}}, {"a": "text"}, {"a": None}):
        assert matches({"a": {"b": [{"exists": False}]}}, event)
        assert not matches({"a": {"b": [{"exists": True}]}}, event)
        assert not matches({"a": {"b": [{"anything-but": "x"}]}}, event)
        assert not matches({"a": {"b": [None]}}, event)


def test_every_field_has_to_match_and_one_of_an_or():
    pattern = {"source": ["s"], "$or": [{"detail": {"a": [1]}}, {"detail": {"b": [1]}}]}

    assert matches(pattern, {"source": "s", "detail": {"a": 1}})
    assert matches(pattern, {"source": "s", "detail": {"b": 1}})
    assert not matches(pattern, {"source": "s", "detail": {"a": 2, "b": 2}})
    assert not matches(pattern, {"source": "t", "detail": {"a": 1}})


def test_fields_of_a_list_match_in_one_element():
    pattern = {"items": {"sku": ["a"], "n": [2]}}

    assert matches(pattern, {"items": [{"sku": "b", "n": 1}, {"sku": "a", "n": 2}]})
    assert not matches(pattern, {"items": [{"sku": "a", "n": 1}, {"sku": "b", "n": 2}]})


def test_numbers_of_a_stream_record_are_texts():
    record = {"dynamodb": {"NewImage": {"n": {"N": "5"}}}}

    assert matches({"dynamodb": {"NewImage": {"n": {"N": ["5"]}}}}, record)
    assert not matches({"dynamodb": {"NewImage": {"n": {"N": [5]}}}}, record)
    assert not matches({"dynamodb": {"NewImage": {"n": {"N": [{"numeric": ["=", 5]}]}}}}, record)


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("", "Filter is not an object"),
        ("not json", "Invalid JSON"),
        ("[]", "Filter is not an object"),
        ("{}", "Empty objects are not allowed"),
        ('{"a": "b"}', "must be an object or an array"),
        ('{"a": []}', "Empty arrays are not allowed"),
        ('{"a": [["b"]]}', "Match value must be"),
        ('{"a": [{"exists": "yes"}]}', "exists match pattern must be either true or false"),
        ('{"a": [{"regex": "x"}]}', "Unrecognized match type regex"),
        ('{"a": [{"prefix": 5}]}', "prefix match pattern must be a string"),
        ('{"a": [{"anything-but": ["x", 5]}]}', "mixed type is not supported"),
        ('{"a": [{"numeric": [">", "5"]}]}', "must be numeric"),
        ('{"$or": [{"a": ["b"]}]}', '"$or"'),
    ],
)
def test_a_pattern_that_aws_refuses_is_refused_with_its_reason(pattern, reason):
    with pytest.raises(patterns.PatternError) as error:
        patterns.check(pattern)
    assert reason in str(error.value)
    with pytest.raises(patterns.PatternError):
        patterns.matches(pattern, {"a": "b"})


def test_a_field_with_values_and_members_is_refused_since_the_matchers_differ():
    # Event Ruler takes {"a": 1} for this pattern, MiniStack nothing at all.
    with pytest.raises(patterns.PatternError, match="members"):
        matches({"a": [1], "$or": [{"b": [1]}, {"a": {"c": [{"exists": False}]}}]}, {"a": 1})
