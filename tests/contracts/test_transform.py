"""Input transformers of rules, HTTP parameters and pipe templates, by the rules that AWS documents."""

import json

import pytest

from sandbox import transform

EVENT = {
    "version": "0",
    "id": "event-1",
    "source": "orders",
    "detail-type": "created",
    "account": "111122223333",
    "time": "2026-01-01T00:00:00Z",
    "detail": {
        "text": 'a "quoted" \\ text\n😀',
        "plain": "plain",
        "empty": "",
        "number": 5,
        "fraction": 1.5,
        "flag": True,
        "nothing": None,
        "object": {"k": ["v", 1]},
        "items": [{"sku": "first"}, {"sku": "second"}],
        "instance-id": "i-1",
    },
}
RULE = "arn:aws:events:eu-central-1:111122223333:rule/orders/carrier"


def transformed(template, event=EVENT, **paths):
    return transform.rule_input(
        event, paths=paths, template=template, rule_arn=RULE, ingestion_time="2026-01-01T00:00:01Z"
    )


@pytest.mark.parametrize("name", sorted(EVENT["detail"]))
def test_an_unquoted_placeholder_becomes_its_value(name):
    output = transformed('{"before": 1, "value": <value>, "list": [<value>]}', value=f"$.detail.{name}")

    value = EVENT["detail"][name]
    assert json.loads(output) == {"before": 1, "value": value, "list": [value]}


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("$.detail.plain", "plain"),
        ("$.detail.empty", ""),
        ("$.detail.number", "5"),
        ("$.detail.flag", "true"),
        ("$.detail.nothing", "null"),
        ("$.detail.object", "{k:[v,1]}"),
        ("$.detail.items[1].sku", "second"),
        ("$.detail.instance-id", "i-1"),
        ("$.detail-type", "created"),
        ("$.detail.nowhere", ""),
        ("$.detail.items[2].sku", ""),
    ],
)
def test_a_quoted_placeholder_becomes_text(path, text):
    assert json.loads(transformed('{"value": "is <value>!"}', value=path)) == {"value": f"is {text}!"}


def test_a_quoted_placeholder_is_not_escaped_so_a_value_can_add_fields():
    # AWS documents it; our own templates have no quoted placeholder.
    event = {"detail": {"name": 'x", "admin": "yes'}}

    assert json.loads(transformed('{"name": "<name>"}', event, name="$.detail.name")) == {"name": "x", "admin": "yes"}
    assert json.loads(transformed('{"name": <name>}', event, name="$.detail.name")) == {"name": event["detail"]["name"]}


def test_escaped_quotes_around_a_placeholder_stay_in_the_string():
    assert json.loads(transformed(r'"<id> is \"<plain>\""', id="$.id", plain="$.detail.plain")) == 'event-1 is "plain"'


def test_reserved_variables():
    template = (
        '{"rule": <aws.events.rule-name>, "arn": "<aws.events.rule-arn>", "at": <aws.events.event.ingestion-time>,'
        ' "all": <aws.events.event.json>, "head": <aws.events.event>}'
    )

    assert json.loads(transformed(template)) == {
        "rule": "carrier",
        "arn": RULE,
        "at": "2026-01-01T00:00:01Z",
        "all": EVENT,
        "head": {name: value for name, value in EVENT.items() if name != "detail"},
    }


def test_the_output_is_minified_json():
    assert transformed('{\n  "a" : [ 1, <plain> ]\n}', plain="$.detail.plain") == '{"a":[1,"plain"]}'


@pytest.mark.parametrize(
    ("template", "paths", "named"),
    [
        ('{"a": <nowhere>}', {"nowhere": "$.detail.nowhere"}, "<nowhere>"),
        ('{"a": "<text>"}', {"text": "$.detail.text"}, '"<text>"'),
        ("id <id>", {"id": "$.id"}, "id <id>"),
        ("", {}, "''"),
        ('{"a": 1e999}', {}, "1e999"),
        ('{"a": NaN}', {}, "NaN"),
        ('{"a": <other>}', {"id": "$.id"}, "<other>"),
        ('"<aws.events.event>"', {}, "<aws.events.event>"),
        ('"<aws.events.event.json>"', {}, "<aws.events.event.json>"),
        ('{"a": <aws.events.event.id>}', {}, "<aws.events.event.id>"),
        ('{"a": <a>}', {"a": "detail.plain"}, "'detail.plain'"),
        ('{"a": <a>}', {"a": "$.detail.items[*].sku"}, "'$.detail.items[*].sku'"),
        ("{}", {"aws.events.rule-name": "$.id"}, "aws.events.rule-name"),
    ],
)
def test_what_aws_refuses_or_cannot_deliver_is_an_error_that_names_it(template, paths, named):
    with pytest.raises(transform.TransformError) as error:
        transformed(template, **paths)

    assert named in str(error.value)


RECORD = {"eventSource": "aws:dynamodb", "eventName": "INSERT", "dynamodb": {"NewImage": {"PK": {"S": 'a"b'}}}}
PIPE = {
    "pipe_arn": "arn:aws:pipes:eu-central-1:111122223333:pipe/orders-abc",
    "source_arn": "arn:aws:dynamodb:eu-central-1:111122223333:table/orders/stream/1",
    "target_arn": "arn:aws:events:eu-central-1:111122223333:event-bus/orders",
    "ingestion_time": "2026-01-01T00:00:01Z",
}


def test_a_pipe_template_reads_the_record_and_the_pipe():
    template = (
        '{"id": <$.dynamodb.NewImage.PK.S>, "pipe": <aws.pipes.pipe-name>, "is": "of <aws.pipes.pipe-arn>",'
        ' "from": <aws.pipes.source-arn>, "to": <aws.pipes.target-arn>, "at": <aws.pipes.event.ingestion-time>,'
        ' "event": <aws.pipes.event>, "json": <aws.pipes.event.json>, "none": "<b>", "a": "<$.eventName>!"}'
    )

    assert json.loads(transform.pipe_input(RECORD, template=template, **PIPE)) == {
        "id": 'a"b',
        "pipe": "orders-abc",
        "is": f"of {PIPE['pipe_arn']}",
        "from": PIPE["source_arn"],
        "to": PIPE["target_arn"],
        "at": PIPE["ingestion_time"],
        "event": RECORD,
        "json": RECORD,
        "none": "<b>",
        "a": "INSERT!",
    }


@pytest.mark.parametrize(
    ("template", "named"),
    [
        ('{"a": <$.dynamodb.OldImage.PK.S>}', "<$.dynamodb.OldImage.PK.S>"),
        ('{"a": <aws.pipes.enrichment-arn>}', "<aws.pipes.enrichment-arn>"),
        ('"<aws.pipes.event>"', "<aws.pipes.event>"),
        ('{"a": <$..PK>}', "'$..PK'"),
    ],
)
def test_a_pipe_template_that_yields_no_json_is_an_error_that_names_it(template, named):
    with pytest.raises(transform.TransformError) as error:
        transform.pipe_input(RECORD, template=template, **PIPE)

    assert named in str(error.value)


def test_records_whose_bodies_a_pipe_would_decode_are_refused():
    with pytest.raises(transform.TransformError, match="aws:sqs"):
        transform.pipe_input({"eventSource": "aws:sqs", "body": "{}"}, template="{}", **PIPE)


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        ("$.detail.plain", "plain"),
        ("$.detail.number", "5"),
        ("$.detail.object", "{k:[v,1]}"),
        ("$.detail.nowhere", ""),
        ("static", "static"),
        ("$5", "$5"),
        ("id $.id", "id $.id"),
    ],
)
def test_an_http_parameter_is_a_path_into_the_original_event_or_itself(value, sent):
    assert transform.http_parameter(value, EVENT) == sent
