"""What PutEvents refuses: entries one by one, and requests as a whole."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from botocore.exceptions import ClientError

from sandbox import putevents
from sandbox.putevents import put_events

GOOD = {"Source": "carrier", "DetailType": "carrier.order_shipped", "Detail": "{}", "EventBusName": "orders"}
MIB = 1024 * 1024


class Bus:
    """Takes what it is given, but for entries that it is told to fail."""

    def __init__(self, *failing):
        self.taken = []
        self._failing = failing

    def put_events(self, **request):
        entries = request["Entries"]
        self.taken += entries
        results = [
            {"ErrorCode": "InternalFailure"} if entry["Detail"] in self._failing else {"EventId": f"id-{number}"}
            for number, entry in enumerate(entries)
        ]
        return {"FailedEntryCount": sum("ErrorCode" in result for result in results), "Entries": results}


def put(*entries, bus=None):
    return put_events(list(entries), (bus or Bus()).put_events)


def refusal(*entries):
    bus = Bus()
    with pytest.raises(ClientError) as raised:
        put(*entries, bus=bus)
    assert bus.taken == [], "a request that is refused sends nothing"
    assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    return raised.value.response["Error"]


def test_a_valid_entry_is_taken():
    bus = Bus()
    assert put(GOOD, bus=bus) == {"FailedEntryCount": 0, "Entries": [{"EventId": "id-0"}]}
    assert bus.taken == [GOOD]


@pytest.mark.parametrize("member", ["Source", "DetailType", "Detail"])
@pytest.mark.parametrize("value", [None, "", "absent"])
def test_three_members_are_required(member, value):
    entry = {name: text for name, text in GOOD.items() if name != member} | (
        {} if value == "absent" else {member: value}
    )
    assert put(entry)["Entries"] == [
        {
            "ErrorCode": "InvalidArgument",
            "ErrorMessage": f"Parameter {member} is not valid. Reason: {member} is a required argument.",
        }
    ]


@pytest.mark.parametrize(
    "detail",
    [
        "text",
        '"text"',
        "[]",
        "1",
        "null",
        "true",
        "{",
        "{}}",
        "{'a': 1}",
        '{"a": NaN}',
        '{"a": Infinity}',
        '{"a": 1,}',
        '{"a":' * 100_000,
        '{"a": ' + "9" * 5000 + "}",
        "\ufeff{}",
    ],
)
def test_the_detail_must_be_a_json_object(detail):
    assert put(GOOD | {"Detail": detail})["Entries"] == [
        {"ErrorCode": "MalformedDetail", "ErrorMessage": "Detail is malformed."}
    ]


@pytest.mark.parametrize(
    "detail", ["{}", ' {"a": null}\n', '{"a": {"b": [1, 2.5e3, "\\ud800"]}}', '{"é": "\U0001f4e6"}']
)
def test_any_json_object_is_a_detail(detail):
    assert put(GOOD | {"Detail": detail})["FailedEntryCount"] == 0


@pytest.mark.parametrize(
    ("source", "code"), [("aws.ec2", "NotAuthorizedForSourceException"), ("aws", None), ("my.aws.x", None)]
)
def test_sources_of_aws_are_not_for_others(source, code):
    (result,) = put(GOOD | {"Source": source})["Entries"]
    assert result.get("ErrorCode") == code


def test_a_detail_type_has_up_to_128_characters():
    results = put(GOOD | {"DetailType": "é" * 128}, GOOD | {"DetailType": "é" * 129})
    assert results["FailedEntryCount"] == 1
    assert results["Entries"][1]["ErrorCode"] == "InvalidArgument"


def test_each_result_stands_in_the_place_of_its_entry():
    bus = Bus('{"fails": 1}')
    entries = [
        GOOD | {"Detail": '{"n": 0}'},
        GOOD | {"Detail": "no"},
        GOOD | {"Detail": '{"fails": 1}'},
        GOOD | {"Source": "aws.s3"},
        GOOD | {"Detail": '{"n": 4}'},
    ]
    results = put(*entries, bus=bus)
    assert results["FailedEntryCount"] == 3
    assert [result.get("ErrorCode") for result in results["Entries"]] == [
        *(None, "MalformedDetail", "InternalFailure", "NotAuthorizedForSourceException", None)
    ]
    assert [result.get("EventId") for result in results["Entries"]] == ["id-0", None, None, None, "id-2"]
    assert bus.taken == [entries[0], entries[2], entries[4]]


def test_a_request_of_bad_entries_only_sends_nothing():
    bus = Bus()
    assert put({}, {}, bus=bus)["FailedEntryCount"] == 2
    assert bus.taken == []


@pytest.mark.parametrize(("count", "words"), [(0, "greater than or equal to 1"), (11, "less than or equal to 10")])
def test_a_request_has_one_to_ten_entries(count, words):
    assert put(*[GOOD] * 10)["FailedEntryCount"] == 0
    error = refusal(*[GOOD] * count)
    assert error["Code"] == "ValidationException"
    assert words in error["Message"]


def of_size(size, **others):
    entry = GOOD | others
    rest = putevents.size(entry | {"Detail": '{"a":""}'})
    return entry | {"Detail": json.dumps({"a": "x" * (size - rest)}, separators=(",", ":"))}


def test_a_request_has_up_to_1_mib():
    assert put(of_size(MIB))["FailedEntryCount"] == 0
    assert refusal(of_size(MIB + 1)) == {
        "Code": "ValidationException",
        "Message": "Total size of the entries in the request is over the limit.",
    }


def test_the_limit_is_for_all_entries_together():
    third = MIB // 3
    assert put(of_size(third), of_size(third), of_size(third))["FailedEntryCount"] == 0
    assert refusal(of_size(third), of_size(third), of_size(third + 2))["Code"] == "ValidationException"


@pytest.mark.parametrize(
    ("addition", "bytes_"),
    [
        ({}, 29),
        ({"Time": 1_795_000_000}, 29 + 14),
        ({"Time": None}, 29),
        ({"Resources": ["é", "ab"]}, 29 + 4),
        ({"TraceHeader": "Root=1-2", "EventBusName": "another-name"}, 29),
        ({"Detail": '{"a":"\U0001f4e6"}'}, 29 + 10),
        ({"Source": "\ud800"}, 29 - 7 + 3),
    ],
)
def test_what_counts_is_text_in_utf_8_and_14_for_the_time(addition, bytes_):
    assert (
        putevents.size({"Source": "carrier", "DetailType": "order_shipped" + "1234567", "Detail": "{}"} | addition)
        == bytes_
    )


@pytest.mark.parametrize(
    "member",
    [
        {"Source": 1},
        {"Detail": {"a": 1}},
        {"Detail": ["{}"]},
        {"EventBusName": ["orders"]},
        {"Resources": "arn"},
        {"Resources": [1]},
        {"Time": "noon"},
        {"Time": True},
        {"Time": []},
    ],
)
def test_a_wrong_type_refuses_the_whole_request(member):
    assert refusal(GOOD, GOOD | member)["Code"] == "SerializationException"


def test_an_entry_is_an_object():
    assert refusal(GOOD, "entry")["Code"] == "SerializationException"


@pytest.mark.parametrize(
    "member",
    [
        {"EventBusName": ""},
        {"EventBusName": "my bus"},
        {"EventBusName": "b" * 1601},
        {"EventBusName": "arn:aws:events:eu-west-1:1:event-bus/orders"},
        {"TraceHeader": "t" * 501},
        {"Resources": ["r" * 2049]},
    ],
)
def test_a_value_that_the_model_excludes_refuses_the_whole_request(member):
    assert refusal(GOOD, GOOD | member)["Code"] == "ValidationException"


@pytest.mark.parametrize(
    "member",
    [
        {"EventBusName": "arn:aws:events:eu-west-1:000000000000:event-bus/orders"},
        {"EventBusName": "there-is-no-such-bus"},
        {"Time": 1_795_000_000.5},
        {"Time": datetime(2026, 11, 24, tzinfo=UTC)},
        {"Time": "2026-11-24T12:00:00Z"},
        {"Resources": []},
    ],
)
def test_what_the_model_allows_is_passed_on(member):
    bus = Bus()
    assert put(GOOD | member, bus=bus)["FailedEntryCount"] == 0
    assert bus.taken == [GOOD | member]


def test_what_the_api_does_not_know_is_not_passed_on():
    bus = Bus()
    put(GOOD | {"Sauce": "x", "Time": None}, bus=bus)
    assert bus.taken == [GOOD]


def test_errors_of_the_bus_are_passed_through():
    error = ClientError({"Error": {"Code": "AccessDeniedException"}}, "PutEvents")

    def denied(**_):
        raise error

    with pytest.raises(ClientError) as raised:
        put_events([GOOD], denied)
    assert raised.value is error
