"""What a carrier hears of PutEvents' answer: the integration responses and their templates as deployed."""

import json
import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jsonschema import Draft4Validator

import contracts
from sandbox import vtl
from tests.contracts.deployed import confirm_integration

RESPONSES = confirm_integration()["responses"]
ACCEPTED = Draft4Validator(contracts._document("schemas/accepted.json"))
MESSAGE = Draft4Validator(contracts._document("schemas/message.json"))

RETRYABLE = [
    "ThrottlingException",
    "ThrottledException",
    "InternalFailure",
    "InternalException",
    "InternalServerError",
    "ServiceUnavailable",
]
PERMANENT = [
    "AccessDeniedException",
    "MalformedDetail",
    "InvalidArgument",
    "NotAuthorizedForSource",
    "SerializationException",
    "ValidationException",
    "UnknownOperationException",
    "throttlingexception",
    "ThrottlingException ",
    "xThrottlingException",
    "ThrottlingExceptionx",
    "ThrottlingException#Other",
    "#",
    'it\'s "quoted" \\ and\nmore',
]
TAKEN = {"FailedEntryCount": 0, "Entries": [{"EventId": "11710aed-b79e-4468-a20b-bb3c0c3b4860"}]}


def answer(status: int, body: str) -> tuple[int, dict, dict]:
    """Status, headers and body that API Gateway makes of PutEvents' answer; the body has been checked."""
    selected = next((key for key in RESPONSES if re.fullmatch(key, str(status))), "default")
    response = RESPONSES[selected]
    headers = {
        name.removeprefix("method.response.header."): value.strip("'")
        for name, value in response.get("responseParameters", {}).items()
    }
    template = response["responseTemplates"]["application/json"]
    rendered = vtl.render(template, body=body, context={"requestId": "request-1"})
    said = json.loads(rendered.text)
    final = rendered.status or int(response["statusCode"])
    schema = ACCEPTED if final == 202 else MESSAGE
    schema.validate(said)
    assert final == 202 or said["request_id"] == "request-1"
    return final, {**headers, **rendered.headers}, said


def failed_entry(code: object) -> str:
    return json.dumps({"FailedEntryCount": 1, "Entries": [{"ErrorCode": code, "ErrorMessage": 'it\'s "why"'}]})


def test_an_event_that_was_taken_is_accepted_under_its_id():
    assert answer(200, json.dumps(TAKEN)) == (202, {}, {"event_id": "11710aed-b79e-4468-a20b-bb3c0c3b4860"})


@pytest.mark.parametrize("code", RETRYABLE)
def test_what_may_work_later_is_503_with_retry_after(code):
    for prefix in ("", "com.amazon.coral.service#", "a#b#"):
        for status, body in (
            (200, failed_entry(prefix + code)),
            (400, json.dumps({"__type": prefix + code, "message": "slow down"})),
            (429, json.dumps({"__type": prefix + code})),
        ):
            assert answer(status, body)[:2] == (503, {"Retry-After": "5"})


@pytest.mark.parametrize("code", PERMANENT)
def test_what_never_will_is_502_without_retry_after(code):
    for status, body in (
        (200, failed_entry(code)),
        (400, json.dumps({"__type": code})),
        (403, json.dumps({"__type": f"com.amazon.coral.service#{code}"})),
    ):
        assert answer(status, body)[:2] == (502, {})


@pytest.mark.parametrize("body", ["", "{}", json.dumps(TAKEN), "<html>Service Unavailable</html>"])
@pytest.mark.parametrize("status", [500, 503, 301])
def test_any_other_status_is_503_with_retry_after_whatever_the_body(status, body):
    assert answer(status, body)[:2] == (503, {"Retry-After": "5"})


@pytest.mark.parametrize(
    "change",
    [
        {"FailedEntryCount": "0"},
        {"FailedEntryCount": None},
        {"FailedEntryCount": False},
        {"FailedEntryCount": 0.5},
        {"FailedEntryCount": -1},
        {"FailedEntryCount": 1},
        {"FailedEntryCount": []},
        {"FailedEntryCount": ""},
        {"Entries": []},
        {"Entries": None},
        {"Entries": {}},
        {"Entries": {"0": {"EventId": "x"}}},
        {"Entries": {"EventId": "x"}},
        {"Entries": "x"},
        {"Entries": [None]},
        {"Entries": [[]]},
        {"Entries": [{}]},
        {"Entries": [{"EventId": None}]},
        {"Entries": [{"EventId": ""}]},
        {"Entries": [{"EventId": 5}]},
        {"Entries": [{"EventId": {"a": "b"}}]},
        {"Entries": [{"EventId": ["x"]}]},
        {"Entries": [{"EventId": "x", "ErrorCode": "MalformedDetail"}]},
        {"Entries": [{"EventId": "x", "ErrorCode": {"a": "b"}}]},
        {"Entries": [{"EventId": "x", "ErrorCode": ["x"]}]},
        {"__type": "AccessDeniedException"},
    ],
)
def test_an_odd_answer_is_never_a_success(change):
    assert answer(200, json.dumps(TAKEN))[0] == 202

    assert answer(200, json.dumps({**TAKEN, **change}))[:2] == (502, {})


@pytest.mark.parametrize("missing", ["FailedEntryCount", "Entries"])
def test_an_answer_without_a_field_is_never_a_success(missing):
    body = {name: value for name, value in TAKEN.items() if name != missing}

    assert answer(200, json.dumps(body))[0] == 502


@pytest.mark.parametrize(
    "body", ["", "null", "[]", "5", '"text"', "{}", json.dumps([TAKEN]), json.dumps(json.dumps(TAKEN))]
)
@pytest.mark.parametrize("status", [200, 400, 413])
def test_an_answer_of_another_shape_is_never_a_success(status, body):
    assert answer(status, body)[0] == 502


@pytest.mark.parametrize("body", ["<html>", "{", "NaN", json.dumps(TAKEN) + "x"])
def test_an_answer_that_is_not_json_fails_the_template_and_with_it_the_request(body):
    with pytest.raises(vtl.TemplateError):
        answer(200, body)


names = st.sampled_from(["FailedEntryCount", "Entries", "EventId", "ErrorCode", "__type", "x"])
leaves = st.one_of(
    st.sampled_from([0, 1, "0", "", None, True, *RETRYABLE, *PERMANENT]),
    st.integers(),
    st.text(max_size=60),
)
documents = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(names, inner, max_size=4), max_leaves=10
)
entries = st.fixed_dictionaries(
    {}, optional={"EventId": leaves, "ErrorCode": st.sampled_from(["", None, *RETRYABLE, *PERMANENT])}
)
answers = documents | st.fixed_dictionaries(
    {},
    optional={
        "FailedEntryCount": leaves,
        "Entries": st.lists(entries, max_size=2),
        "__type": st.sampled_from(["", None, *RETRYABLE, *PERMANENT]),
    },
)


@settings(max_examples=500)
@given(status=st.sampled_from([200, 400]), body=answers)
@example(status=200, body=TAKEN)
@example(status=400, body=TAKEN)
@example(status=200, body={**TAKEN, "__type": "#"})
@example(status=200, body={**TAKEN, "Entries": [{"EventId": 'it\'s "x" \\ 😀\n'}]})
def test_a_success_says_so_in_every_respect_and_a_refusal_is_an_answer_too(status, body):
    status, headers, said = answer(status, json.dumps(body))

    assert status in {202, 502, 503}
    assert headers == ({"Retry-After": "5"} if status == 503 else {})
    if status == 202:
        entry = body["Entries"][0]
        assert said == {"event_id": entry["EventId"]}
        assert body["FailedEntryCount"] == 0
        assert type(body["FailedEntryCount"]) is int
        assert not entry.get("ErrorCode")
        assert not body.get("__type")
