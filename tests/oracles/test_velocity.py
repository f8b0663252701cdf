"""The deployed mapping templates mean the same in the local cloud and in two versions of Apache Velocity."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox import vtl
from tests import graph
from tests.contracts import test_confirm_request, test_confirm_response, test_vtl
from tests.contracts.test_confirm_request import HARD
from tests.oracles.differences import CONTEXT, NEW, Case, ours, unexplained
from tests.oracles.engines import VELOCITIES

pytestmark = pytest.mark.oracle

# Answers that no service gives, or that only look like one it gives.
ODD_ANSWERS = [
    "",
    " ",
    "null",
    "[]",
    "5",
    '"text"',
    "{}",
    " {}\n",
    "<html>Service Unavailable</html>",
    "{",
    "[1",
    "NaN",
    '{"FailedEntryCount": NaN}',
    '{"FailedEntryCount": 00}',
    '{"FailedEntryCount": 1e400}',
    '{"FailedEntryCount": 0.0}',
    '{"FailedEntryCount": -0}',
    '{"FailedEntryCount": 123456789012345678901234567890}',
    "{'FailedEntryCount': 0}",
    '{"FailedEntryCount": 1, "FailedEntryCount": 0, "Entries": [{"EventId": "twice"}]}',
    '{"FailedEntryCount": 0, "Entries": [{"EventId": "\\ud800"}]}',
    '{"FailedEntryCount": 0, "Entries": [{"EventId": "a\\u0000b\\u007fc"}]}',
    '{"FailedEntryCount": 0, "Entries": [{"EventId": "a\tb"}]}',
    json.dumps(test_confirm_response.TAKEN),
    json.dumps(test_confirm_response.TAKEN) + "x",
    json.dumps([test_confirm_response.TAKEN]),
    json.dumps(json.dumps(test_confirm_response.TAKEN)),
]


def deployed(programs, kind):
    """The different templates of every stack's API: what API Gateway renders for requests, or for responses."""
    integrations = []
    for program in programs.values():
        api = json.loads(graph.plain(program.only("aws:apigateway/restApi:RestApi").inputs)["body"])
        operations = [operation for path in api["paths"].values() for operation in path.values()]
        integrations += [operation["x-amazon-apigateway-integration"] for operation in operations]
    if kind == "responses":
        integrations = [response for one in integrations for response in one.get("responses", {}).values()]
    name = {"requests": "requestTemplates", "responses": "responseTemplates"}[kind]
    return sorted({template for one in integrations for template in one.get(name, {}).values()})


@pytest.fixture(scope="module")
def requests(programs):
    templates = deployed(programs, "requests")
    assert len(templates) == len(programs)  # each stack has a bus of its own
    return templates


@pytest.fixture(scope="module")
def responses(programs):
    templates = deployed(programs, "responses")
    assert len(templates) == 3  # for what was taken, for a refusal, and for anything else
    return templates


def called(caller):
    return {**CONTEXT, "identity": {"userArn": caller}}


def same(oracle, cases):
    assert len(cases) > 1
    assert [difference for case in cases for difference in unexplained(case, oracle)] == []
    # Most of what is compared is compared: two refusals are alike, whatever was to be rendered.
    assert any(isinstance(ours(case), vtl.Rendered) for case in cases)


@pytest.mark.parametrize("ascii_only", [True, False])
def test_hard_confirmations_become_the_same_entry(oracle, requests, ascii_only):
    values = [*HARD, None, 5, 1.5, True, [], ["it's"], {"a": "\"'"}]
    bodies = [
        *({"order_id": value, "shipped_at": other} for value in values for other in (value, HARD[0])),
        *({"order_id": "x", "shipped_at": "x", name: "x"} for name in HARD),
        *values,
    ]

    same(
        oracle,
        [
            Case(template, json.dumps(body, ensure_ascii=ascii_only), called(caller))
            for template in requests
            for body, caller in zip(bodies, [HARD[index % len(HARD)] for index in range(len(bodies))], strict=True)
        ],
    )


@settings(max_examples=150)
@given(
    fields=st.fixed_dictionaries({"order_id": test_confirm_request.texts, "shipped_at": test_confirm_request.texts}),
    caller=test_confirm_request.callers,
    ascii_only=st.booleans(),
)
def test_confirmations_become_the_same_entry(oracle, requests, fields, caller, ascii_only):
    body = json.dumps(fields, ensure_ascii=ascii_only)

    same(oracle, [Case(template, body, called(caller)) for template in requests])


@settings(max_examples=100)
@given(body=test_confirm_request.documents)
def test_other_documents_become_the_same_entry(oracle, requests, body):
    same(oracle, [Case(template, json.dumps(body)) for template in requests])


def test_odd_answers_of_the_bus_become_the_same_answer(oracle, responses):
    same(oracle, [Case(template, body) for template in responses for body in ODD_ANSWERS])


@settings(max_examples=250)
@given(body=test_confirm_response.answers)
def test_answers_of_the_bus_become_the_same_answer(oracle, responses, body):
    same(oracle, [Case(template, json.dumps(body)) for template in responses])


# What the local cloud's language claims to be

# A list that is printed as a whole is an explained difference.
LISTS = {"$input.path('$.list') $input.path('$.map')": "[1, x, {a=1}] {a=1, deep={b=[1, {c=2}]}}"}
TABLE = test_vtl.test_a_template_yields_what_velocity_does.pytestmark[0].args[1]


@pytest.mark.parametrize("velocity", VELOCITIES)
@pytest.mark.parametrize(("template", "text"), TABLE)
def test_velocity_yields_what_the_tests_of_the_language_expect(oracle, velocity, template, text):
    rendered = oracle.render(
        velocity,
        template,
        body=test_vtl.BODY,
        context=test_vtl.CONTEXT,
        parameters={
            "path": {"id": "from path", "both": "path wins"},
            "querystring": {"both": "querystring"},
            "header": {"X-Trace": "header"},
        },
        stage_variables={"colour": "blue"},
    )

    assert rendered.text == (LISTS.get(template, text) if velocity == NEW else text)
