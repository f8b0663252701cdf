"""OpenAPI documents that no API has: what YAML and regular expressions can say beyond them is read without an error."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

from policy.documents import UNREADABLE
from policy.props import MISSING, UNKNOWN
from policy.rest_api import Node, Response, body, operations, status
from policy.subject import Subject
from tests.policy.cases.api import API
from tests.policy.engine import Engine

SCHEMA = "{type: object, additionalProperties: false, required: [a], properties: {a: %s}}"
OPERATION = """
openapi: 3.0.1
paths:
  /x:
    post:
      x-amazon-apigateway-request-validator: v
      security: [{s: []}]
      x-amazon-apigateway-integration:
        type: aws
        uri: 'arn:aws:apigateway:eu-west-1:dynamodb:action/PutItem'
        credentials: x
        passthroughBehavior: never
        requestTemplates: {application/json: "$input.json('$')"}
        responses: {default: {statusCode: 502}, '200': {statusCode: 200}}
      requestBody: {content: {application/json: {schema: %s}}}
x-amazon-apigateway-request-validators: {v: {validateRequestBody: true}}
components: {securitySchemes: {s: {type: apiKey, x-amazon-apigateway-authtype: awsSigv4}}}
"""
NO_DOCUMENT = "write body as an OpenAPI document in JSON or YAML: what nobody can read, nobody can check"


def document(text: Any) -> Node:
    return body(Subject(API, {"body": text}, {}))


def refused(text: str) -> list[str]:
    return Engine().register(API, {"body": text}).messages


@pytest.mark.parametrize(
    "text",
    [
        OPERATION % f"&s {SCHEMA % '*s'}",
        OPERATION % f"&s {SCHEMA % '{type: array, items: [*s]}'}",
        "&d {openapi: 3.0.1, paths: *d}",
        "openapi: 3.0.1\npaths: &p\n  /x: *p\n",
        "openapi: 3.0.1\npaths: {/x: &l [1, {a: *l}]}",
    ],
    ids=range(5),
)
def test_a_document_that_is_a_part_of_itself_is_none(text: str):
    assert document(text).value is UNREADABLE
    assert list(operations(document(text))) == []
    assert NO_DOCUMENT in refused(text)
    assert not [message for message in refused(text) if message != NO_DOCUMENT]


def test_a_part_that_a_document_has_twice_is_no_part_of_itself():
    schema = SCHEMA % "&s {type: string, maxLength: 5}, b: *s"
    text = OPERATION % schema.replace("[a]", "[a, b]")
    assert [operation.route for operation in operations(document(text))] == ["POST /x"]
    assert refused(text) == []
    deep = OPERATION % f"&s {SCHEMA % '{type: string}'}"
    assert document(deep).value is not UNREADABLE


@pytest.mark.parametrize("value", [None, UNKNOWN])
def test_no_document_is_none_and_an_unknown_one_is_unknown(value: Any):
    found = document(value) if value is None else Node(("body",), value)
    assert found.value is (MISSING if value is None else UNKNOWN)


HUGE = "0x" + "f" * 5_000  # more digits than Python writes


@pytest.mark.parametrize(
    ("value", "expected"),
    [(200, "200"), ("200", "200"), (200.0, "200"), (int(HUGE, 16), ""), (True, ""), ([], "")],
    ids=range(6),
)
def test_a_status_is_text_or_a_number(value: Any, expected: str):
    assert status(Node(("statusCode",), value)) == expected


def test_numbers_of_too_many_digits_are_read_without_an_error():
    text = OPERATION % f"{{type: object, maxProperties: {HUGE}, additionalProperties: false, required: [a]}}"
    text = text.replace("dynamodb:action/PutItem", "events:action/PutEvents")
    for changed in (text, text.replace("statusCode: 502", f"statusCode: {HUGE}"), f"? {HUGE}\n: 1\n{text}"):
        assert document(changed).value is not UNREADABLE
        assert NO_DOCUMENT not in refused(changed)
    assert [name for name, _ in document(f"? {HUGE}\n: 1\n7: 2").members()] == ["", "7"]


@pytest.mark.parametrize(
    ("pattern", "answers"),
    [
        ("200", True),
        ("4\\d{2}", False),
        (r"\p{Digit}+", True),
        ("[0-9&&[2]]00", True),
        ("[[a]", True),
        ("(" * 3_000 + ")" * 3_000, True),
        (200, False),
        (MISSING, False),
    ],
    ids=range(8),
)
def test_a_pattern_that_cannot_be_read_here_may_match(pattern: Any, *, answers: bool):
    response = Response(node=Node((), {}), pattern=Node((), pattern))
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        assert response.answers("200") is answers
    assert warned == []
