"""Messages that another reader holds, or a command that was killed: no command takes their queue for an empty one."""

from __future__ import annotations

import pytest

from tests.ops.conftest import command
from tests.ops.deployment import ORDER, OTHER, created
from tests.ops.fakes import Aws

QUEUE = "acme-dead-letters"
HELD = "1 message is with another reader: again in up to 30 minutes"


@pytest.fixture
def aws(monkeypatch):
    aws = Aws()
    monkeypatch.setattr("ops.cli.opened", lambda name, **_: aws.stack)
    return aws


@pytest.fixture
def held(aws):
    """Two messages, of which somebody reads the first."""
    for id_, order_id in (("m", ORDER), ("n", OTHER)):
        aws.dynamodb.place(order_id)
        aws.sqs.put(QUEUE, created(order_id), id_)
    aws.sqs.hidden = {"receipt of m"}
    return aws


def test_the_list_of_queues_says_so(held):
    lines = command("dlq", "list").out.splitlines()
    assert [line for line in lines if HELD in line] == [f"{QUEUE:<30} {1:>6}  undelivered; {HELD}"]
    rows = {row["queue"]: (row["messages"], row["in_flight"]) for row in command("dlq", "list", "--json").document}
    assert {queue: row for queue, row in rows.items() if row != (0, 0)} == {QUEUE: (1, 1)}


def test_several_are_counted(held):
    held.sqs.hidden |= {"receipt of n"}
    assert "2 messages are with another reader: again in up to 30 minutes" in command("dlq", "list").out


@pytest.mark.parametrize("options", [[QUEUE], ["--all"], [QUEUE, "--dry-run"]], ids=" ".join)
def test_a_redrive_says_so_and_something_is_left(held, options):
    said = command("dlq", "redrive", *options)
    assert (said.code, said.out.splitlines()[-2]) == (1, f"{QUEUE} {HELD}")
    assert said.out.splitlines()[-1].startswith("1 would be redriven" if "--dry-run" in options else "1 redriven")
    assert (held.sqs.ids(QUEUE)[0], "receipt of m" in held.sqs.hidden) == ("m", True)


def test_a_redrive_of_nothing_else_says_so_too(held):
    held.sqs.hidden |= {"receipt of n"}
    said = command("dlq", "redrive", QUEUE, "--json")
    assert (said.code, said.document["in_flight"], said.document["messages"]) == (1, {QUEUE: 2}, [])


def test_a_redrive_of_one_message_is_not_about_the_others(held):
    said = command("dlq", "redrive", QUEUE, "--message", "n", "--json")
    assert (said.code, said.document["in_flight"], said.document["redriven"]) == (0, {}, 1)


def test_what_somebody_gives_back_meanwhile_is_redriven_and_not_said(held):
    given = held.sqs.receive_message

    def back(**request):
        held.sqs.hidden -= {"receipt of m"}
        return given(**request)

    held.sqs.receive_message = back
    said = command("dlq", "redrive", QUEUE, "--json")
    assert (said.code, said.document["in_flight"], said.document["redriven"]) == (0, {}, 2)


def test_the_messages_of_the_command_itself_are_not_meant(held):
    """SQS counts them as in flight for a while after they were put back."""
    held.sqs.hidden.clear()
    held.functions.failing = {ORDER: "throttled"}
    held.sqs.change_message_visibility_batch = lambda **_: {}
    said = command("dlq", "redrive", QUEUE, "--json")
    assert held.sqs.hidden == {"receipt of m", "receipt of n"}
    assert (said.code, said.document["in_flight"], said.document["kept"]) == (1, {}, 1)


def test_where_nobody_reads_nothing_is_said(held):
    held.sqs.hidden.clear()
    assert "reader" not in command("dlq", "list").out
    said = command("dlq", "redrive", QUEUE)
    assert (said.code, "reader" in said.out) == (0, False)


def test_a_message_without_a_reason_is_listed_with_words_for_it(held):
    assert command("dlq", "list", QUEUE).out.splitlines()[0].endswith(f"{OTHER} no reason is given")
    [listed] = command("dlq", "list", QUEUE, "--json").document
    assert listed["why"] == ""
