"""Sections of docs/operations.md, followed word for word while what raises their alarm is there, until it is over."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from typing import NamedTuple

import pytest

from tests.graph import ROOT
from tests.ops.conftest import command
from tests.ops.test_live import about, confirm, emptied, given_up, undelivered, unsent, untold
from tests.sandbox.conftest import SILENT

__all__ = ["emptied"]

RUNBOOK = (ROOT / "docs" / "operations.md").read_text()
COMMAND = re.compile(r"`python -m ops ([^`]+)`")
CARRIER = "acme"


class Section(NamedTuple):
    """What a section says, paragraph by paragraph."""

    look: str
    do: str
    over: str

    @classmethod
    def of(cls, heading: str) -> Section:
        text = re.search(rf"^### {heading}\n(.*?)(?=^### |\Z)", RUNBOOK, re.MULTILINE | re.DOTALL)
        assert text, f"no section {heading}"
        said = dict(re.findall(r"^\*\*([\w ]+)\.\*\* (.*?)(?=\n\n|\Z)", text[1], re.MULTILINE | re.DOTALL))
        return cls(*(" ".join(said[name].split()) for name in ("Look at", "Do", "Over")))


def commands(paragraph: str, **filled: str) -> list[list[str]]:
    """The commands of a paragraph in their order, with the carrier and whatever else filled in."""
    found = [
        [filled.get(word, word) for word in shlex.split(one.replace("<carrier>", CARRIER))]
        for one in COMMAND.findall(paragraph)
    ]
    assert not any(re.search("[<>A-Z]", word) for one in found for word in one), f"something to fill in: {found}"
    return found


class Situation(NamedTuple):
    """What raises an alarm: a fault that leaves an order in a queue, how often, and what the section says one sees."""

    fault: Callable[..., str]
    queue: str
    orders: int
    shown: str


SITUATIONS = {
    # Two, since the section redrives one at first, and then the rest.
    "Carrier dead letters": Situation(untold, "acme-dead-letters", 2, "ERROR_CODE"),
    "Orders unconfirmed": Situation(given_up, "overdue", 1, "Unconfirmed"),
    "Pipe dead letters": Situation(unsent, "pipe", 1, "RetryAttemptsExhausted"),
    "Undelivered confirmations": Situation(undelivered, "acme-undelivered", 1, "NO_PERMISSIONS"),
}


@pytest.mark.parametrize("heading", SITUATIONS)
def test_a_section_followed_word_for_word_ends_its_alarm(cloud, ops, heading):
    section, situation = Section.of(heading), SITUATIONS[heading]
    orders = [situation.fault(cloud, ops) for _ in range(situation.orders)]
    assert f"queue {situation.queue} holds {situation.orders}" in ops("status").document["to_do"]

    [looked] = commands(section.look)
    said = command(*looked, "--state", cloud.state)
    assert (said.code, situation.shown in said.out) == (0, True)
    assert [order for order in orders if order not in said.out] == []

    steps = commands(section.do)
    for number, step in enumerate(steps, 1):
        assert step[:3] == ["dlq", "redrive", situation.queue]
        done = command(*step, "--state", cloud.state)
        assert (done.code, done.out.splitlines()[-1].split(",")[0]) == (0, "1 redriven"), done
        assert len(ops("dlq", "list", situation.queue).document) == len(steps) - number

    assert section.over.startswith("The queue is empty")
    assert situation.queue not in " ".join(ops("status").document["to_do"])
    for order in orders:
        cloud.shipped(order)


def test_what_is_settled_with_the_carrier_is_discarded_as_the_section_says(cloud, ops):
    section, queue = Section.of("Failed confirmations"), f"{CARRIER}-failures"
    order = cloud.client().place(carrier=SILENT)
    confirm(cloud, CARRIER, order)
    about(ops, queue, order)

    [looked] = commands(section.look)
    assert "Rejected" in command(*looked, "--state", cloud.state).out
    again, settled = commands(section.do)
    assert command(*again, "--state", cloud.state).code == 1
    assert len(ops("dlq", "list", queue).document) == 1
    assert command(*settled, "--state", cloud.state).code == 0

    assert section.over.startswith("The queue is empty")
    assert ops("dlq", "list", queue).document == []


def test_a_rejected_confirmation_is_settled_through_the_api_and_only_its_message_is_discarded(cloud, ops):
    section, queue = Section.of("Confirmation rejected"), f"{CARRIER}-failures"
    orders = [cloud.client().place(carrier=SILENT) for _ in range(2)]
    for order in orders:
        confirm(cloud, CARRIER, order)
    messages = [about(ops, queue, order)["id"] for order in orders]

    [looked] = commands(section.look)
    assert "OtherCarriersOrder" in command(*looked, "--state", cloud.state).out
    shown, settled = commands(section.do, ID=orders[0], MESSAGE=messages[0])
    assert "pending" in command(*shown, "--state", cloud.state).out
    confirm(cloud, SILENT, orders[0])
    cloud.shipped(orders[0])

    # As the section says: the message stays rejected, though the order is shipped.
    again = ops("dlq", "redrive", queue)
    assert (again.code, again.document["kept"]) == (1, 2)
    assert command(*settled, "--state", cloud.state).code == 0
    assert [one["id"] for one in ops("dlq", "list", queue).document] == messages[1:]
