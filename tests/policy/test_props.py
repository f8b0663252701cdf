"""The three-valued reader, on pulumi_policy's own proxies."""

from __future__ import annotations

from typing import Any

import pulumi
import pulumi_policy.proxy as sentinels
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pulumi_policy.deserialize import deserialize_properties
from pulumi_policy.proxy import UnknownValueError, unknown_checking_proxy

from policy.props import MISSING, UNKNOWN, Examination, Path, examine, find, plain, read, spell, steps, whole
from policy.subject import Subject
from tests.policy.engine import NOT_YET, Secret, serialised

UNKNOWNS = sorted(value for name, value in vars(sentinels).items() if name.startswith("UNKNOWN_"))
NAMES = st.text(alphabet="abc_$.", min_size=1, max_size=3)
SCALARS = st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=3)
TREES = st.dictionaries(
    NAMES,
    st.recursive(
        SCALARS | st.sampled_from(UNKNOWNS),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
        max_leaves=12,
    ),
    max_size=4,
)


def proxied(inputs: dict[str, Any]) -> Any:
    """What `validate` is given."""
    return unknown_checking_proxy(deserialize_properties(inputs))


def expected(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: expected(item) for key, item in value.items()}
    if isinstance(value, list):
        return [expected(item) for item in value]
    return UNKNOWN if isinstance(value, str) and value in UNKNOWNS else value


@given(TREES)
def test_proxies_become_plain_data_with_every_unknown_marked(tree: dict[str, Any]):
    assert plain(proxied(tree)) == expected(tree)


def test_the_proxies_themselves_raise_on_every_kind_of_unknown():
    assert len(UNKNOWNS) == 7
    for sentinel in UNKNOWNS:
        with pytest.raises(UnknownValueError):
            proxied({"a": sentinel})["a"]


@given(TREES)
def test_every_place_can_be_read_and_none_raises(tree: dict[str, Any]):
    data = plain(proxied(tree))

    def visit(value: Any, at: tuple[str | int, ...]) -> None:
        assert read(data, at) == (MISSING if value is None else value)
        if isinstance(value, dict):
            for name, item in value.items():
                visit(item, (*at, name))
        if isinstance(value, list):
            for index, item in enumerate(value):
                visit(item, (*at, index))
        if value is UNKNOWN:
            assert read(data, (*at, "below", 0)) is UNKNOWN

    visit(data, ())


def test_an_asset_is_a_value_like_others():
    archive = pulumi.AssetArchive({"a": pulumi.StringAsset("text")})
    data = plain(proxied(serialised({"code": archive})))
    assert isinstance(read(data, "code"), pulumi.AssetArchive)
    assert read(data, "code.assets") is MISSING


@pytest.mark.parametrize(
    ("where", "value"),
    [
        ("a", 1),
        ("b.c", "x"),
        ("b.none", MISSING),
        ("none", MISSING),
        ("none.below", MISSING),
        ("a.below", MISSING),
        ("b.null", MISSING),
        ("u", UNKNOWN),
        ("u.below", UNKNOWN),
        ("u[].below", UNKNOWN),
        ("b.u", UNKNOWN),
        (("l", 1), UNKNOWN),
        (("l", 0, "v"), 1),
        (("l", 2), MISSING),
        (("l", 9), MISSING),
        ("l.v", MISSING),
        (("b", 0), MISSING),
    ],
)
def test_a_place_has_a_value_or_is_missing_or_unknown(where: Any, value: Any):
    data = plain(
        proxied(
            {
                "a": 1,
                "b": {"c": "x", "u": UNKNOWNS[0], "null": None},
                "u": UNKNOWNS[1],
                "l": [{"v": 1}, UNKNOWNS[2], None],
            }
        )
    )
    assert read(data, where) == value


def test_a_path_through_a_list_finds_every_item_and_the_unknown_ones():
    data = plain(proxied({"l": [{"v": 1}, {"w": 2}, UNKNOWNS[0], {"v": UNKNOWNS[1]}, {"v": None}, {"v": [3]}]}))
    assert list(find(data, "l[].v")) == [
        (("l", 0, "v"), 1),
        (("l", 2), UNKNOWN),
        (("l", 3, "v"), UNKNOWN),
        (("l", 5, "v"), [3]),
    ]


@given(st.lists(st.from_regex(r"[a-zA-Z$_]+", fullmatch=True), min_size=1))
def test_a_path_of_names_reads_as_it_is_written(names: list[str]):
    assert spell(steps(".".join(names))) == ".".join(names)


def test_a_path_is_written_with_the_indices_of_lists():
    assert spell(("a", "b", 0, "c", 12)) == "a.b[0].c[12]"
    assert steps("a.b[].c") == ("a", "b", "[]", "c")


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (20, 20),
        (20.0, 20),
        (0, 0),
        (-3.0, -3),
        (2.5, None),
        (True, None),
        (False, None),
        ("20", None),
        (None, None),
        (float("nan"), None),
        (float("inf"), None),
        (MISSING, None),
        (UNKNOWN, None),
        ([1], None),
    ],
)
def test_a_whole_number_is_told_from_what_looks_like_one(value: Any, number: int | None):
    assert whole(value) == number


def examined(inputs: dict[str, Any]) -> Examination:
    """What comes of what `remediate` is given."""
    return examine(deserialize_properties(serialised(inputs), proxy_secrets=True))


def test_secrets_are_seen_wherever_they_are_and_at_their_outermost():
    examination = examined(
        {
            "top": Secret("s"),
            "open": "p",
            "nested": {"in": Secret("s"), "open": "p"},
            "list": [Secret("s"), "p", {"in": Secret(NOT_YET)}],
            "whole": Secret({"below": [{"deep": "s"}]}),
            "unknown": NOT_YET,
        }
    )
    secret = ["top", "nested.in", "whole", "whole.below", "whole.below.deep"]
    assert all(examination.is_secret(steps(where)) for where in secret)
    assert examination.is_secret(("list", 0))
    assert examination.is_secret(("list", 2, "in"))
    assert examination.is_secret(("whole", "below", 0, "deep"))
    assert not any(
        examination.is_secret(steps(where)) for where in ["open", "nested", "nested.open", "list", "unknown"]
    )
    assert not examination.is_secret(("list", 1))
    assert not examination.is_secret(())


def test_a_place_holds_a_secret_that_is_below_it_or_around_it():
    examination = examined({"a": {"b": [Secret("s"), "p"], "c": "p"}, "ab": "p", "whole": Secret({"in": "s"})})
    holding: list[Path] = [(), ("a",), ("a", "b"), ("a", "b", 0), ("whole",), ("whole", "in")]
    assert all(examination.holds_secret(path) for path in holding)
    assert not any(examination.holds_secret(path) for path in [("a", "b", 1), ("a", "c"), ("ab",), ("b",)])


def test_what_was_not_examined_or_holds_a_secret_is_not_quotable():
    inputs = {"open": {"a": "p"}, "secret": {"a": Secret("s")}}
    seen = Subject("t", inputs, {}, examined(inputs))
    assert (seen.quotable("open"), seen.quotable("secret"), seen.quotable(())) == (True, False, False)
    assert not Subject("t", inputs, {}).quotable("open")


def test_what_a_provider_filled_in_is_seen_at_every_depth():
    examination = examined(
        {
            "__defaults": ["limit"],
            "limit": 300,
            "list": [{"__defaults": ["flag"], "flag": False}, {"__defaults": [], "flag": False}],
            "hidden": Secret({"__defaults": ["flag"], "flag": False}),
        }
    )
    assert examination.defaulted == {("limit",), ("list", 0, "flag"), ("hidden", "flag")}


def test_nothing_is_known_of_what_was_not_examined():
    assert not Examination().is_secret(("a",))
    assert not Examination().defaulted
