"""Reading what was sent: everything that is JSON, nothing that is not, and no failure in between."""

from __future__ import annotations

import base64
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.request import MalformedBodyError, content, is_json, is_key, parse

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
DOCUMENTS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**300), 10**300)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner),
)


@given(DOCUMENTS, st.booleans())
def test_json_is_read(document, ascii_only):
    assert parse(json.dumps(document, ensure_ascii=ascii_only).encode()) == document


@given(st.binary() | st.text().map(lambda text: json.dumps(text).encode()))
def test_anything_else_is_refused_and_nothing_fails(body):
    try:
        document = parse(body)
    except MalformedBodyError:
        return
    json.dumps(document, ensure_ascii=False, allow_nan=False).encode()


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "is not valid JSON"),
        (b"{", "is not valid JSON"),
        (b"{'a': 1}", "is not valid JSON"),
        (b'{"a": 1,}', "is not valid JSON"),
        (b"01", "is not valid JSON"),
        (b"1" * 5_000, "is not valid JSON"),
        (b"\xef\xbb\xbf{}", "is not valid JSON"),
        (b'"\xff"', "is not Unicode text"),
        (b'"\xed\xa0\x80"', "is not Unicode text"),
        ('"text"'.encode("utf-16"), "is not Unicode text"),
        (rb'"\ud800"', "is not Unicode text"),
        (rb'"\udc00\ud800"', "is not Unicode text"),
        (rb'[{"\ud800": 1}]', "is not Unicode text"),
        (b'{"a": 1, "a": 1}', "names a field twice"),
        (b'{"a": 1, "\\u0061": 1}', "names a field twice"),
        (b'[{"b": {"a": 1, "a": 2}}]', "names a field twice"),
        (b"NaN", "holds a number that JSON does not know"),
        (b'{"a": -Infinity}', "holds a number that JSON does not know"),
        (b"[" * 100_000, "is nested too deeply"),
        (b"[" * 100_000 + b"]" * 100_000, "is nested too deeply"),
        (b'{"a":' * 50_000 + b"1" + b"}" * 50_000, "is nested too deeply"),
    ],
)
def test_what_is_wrong_is_said_without_repeating_it(body, reason):
    with pytest.raises(MalformedBodyError) as refused:
        parse(body)
    assert str(refused.value) == reason


def test_a_pair_of_surrogates_is_a_character():
    assert parse(rb'"\ud83d\ude00"') == "😀"


def test_a_number_beyond_floats_is_still_json():
    assert parse(b"1e400") == math.inf


@given(st.binary())
def test_base64_is_undone(body):
    assert content(base64.b64encode(body).decode(), base64_encoded=True) == body


@given(TEXT)
def test_text_is_utf_8(text):
    assert content(text, base64_encoded=False) == text.encode()


@pytest.mark.parametrize("encoded", [True, False])
@pytest.mark.parametrize("body", [None, ""])
def test_no_body_is_an_empty_one(body, encoded):
    assert content(body, base64_encoded=encoded) == b""


@pytest.mark.parametrize(("body", "encoded"), [("e30", True), ("e30=\n", True), ("é", True), ("\ud800", False)])
def test_a_text_that_stands_for_no_bytes_is_refused(body, encoded):
    with pytest.raises(MalformedBodyError, match=r"^can't be decoded$"):
        content(body, base64_encoded=encoded)


@given(st.text())
def test_a_key_is_visible_ascii(text):
    assert is_key(text) == (1 <= len(text) <= 255 and all(0x21 <= ord(character) <= 0x7E for character in text))


@pytest.mark.parametrize("key", ["!", "~", "k" * 255])
def test_the_edges_of_a_key(key):
    assert is_key(key)


@pytest.mark.parametrize("text", ["", " ", "a b", "\x7f", "k" * 256, "k\n"])
def test_what_is_beyond_them(text):
    assert not is_key(text)


@pytest.mark.parametrize(
    ("header", "announced"),
    [
        ("application/json", True),
        (" APPLICATION/json ; charset=x", True),
        ("text/json", False),
        ("", False),
        (None, False),
    ],
)
def test_a_content_type_announces_json(header, announced):
    assert is_json(header) is announced
