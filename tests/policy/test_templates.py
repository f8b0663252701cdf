"""What an input template is read as."""

from __future__ import annotations

import pytest

from policy.templates import IN_A_PIPE, IN_A_RULE, Template, read


def template(*, quoted: set[str] | None = None, bare: set[str] | None = None, is_json: bool = True) -> Template:
    return Template(quoted=frozenset(quoted or ()), bare=frozenset(bare or ()), is_json=is_json)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"id": <$.id>}', template(bare={"$.id"})),
        ('  [<$.a["b"]>, <$.c>]', template(bare={'$.a["b"]', "$.c"})),
        ('{"id": "<$.id> of <aws.pipes.pipe-name>"}', template(quoted={"$.id", "aws.pipes.pipe-name"})),
        ('{"a": "say \\"<$.a>\\"", "b": <$.b>}', template(quoted={"$.a"}, bare={"$.b"})),
        ('{"a": "<b>bold</b>"}', template()),
        ('{"a": <b>}', template(is_json=False)),
        ('{"a": <aws.events.event>}', template(is_json=False)),
        ('{"a": <$.a><$.b>}', template(bare={"$.a", "$.b"}, is_json=False)),
        ("{<$.a>: 1}", template(bare={"$.a"}, is_json=False)),
        ('{"a": "<$.a>}', template(bare={"$.a"}, is_json=False)),
        ("[" * 100_000, template(is_json=False)),
        ('"Hello, <$.name>"', None),
        ("<$.body>", None),
        ("", None),
    ],
    ids=range(14),
)
def test_a_pipes_template(text: str, expected: Template | None):
    assert read(text, IN_A_PIPE) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"id": <id>, "by": "<aws.events.rule-name>"}', template(quoted={"aws.events.rule-name"}, bare={"id"})),
        ('{"a": "<b>bold</b>"}', template(quoted={"b"})),
        ('{"a": <$.a>}', template(is_json=False)),
    ],
    ids=range(3),
)
def test_a_rules_template(text: str, expected: Template):
    assert read(text, IN_A_RULE) == expected
