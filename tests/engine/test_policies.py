"""The pack in the real engine, over our own program: one line changed stops it, by name; mended, it goes on."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from sandbox.provider import Providers
from sandbox.stack import Stack, opened
from tests import graph

PACK = graph.ROOT / "policy"
# A line of ours, what it becomes, and the rule that stops the engine then. Per group, of either kind where it has both.
FLAWS = {
    "gateway": (
        "components/carrier_integration.py",
        'dead_letter_config={"arn": dead_letters.arn},',
        "",
        "event-target-failure-kept",
    ),
    "gateway, between resources": (
        "components/orders_bus.py",
        "aws.cloudwatch.EventBusPolicy(",
        "pulumi.log.info if True else aws.cloudwatch.EventBusPolicy(",
        "event-bus-has-policy",
    ),
    "baseline": ("components/queue.py", "sqs_managed_sse_enabled=True,", "", "queue-encrypted"),
    "baseline, between resources": (
        "components/queue.py",
        'encrypted_transport_only("sqs:*", ',
        'encrypted_transport_only("sqs:PurgeQueue", ',
        "queue-transport-encrypted",
    ),
}


@pytest.fixture(scope="module")
def providers() -> Iterator[Providers]:
    with Providers() as running:
        yield running


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """Our program in a folder of the test's own."""
    copy = tmp_path / "program"
    for name in ("components", "contracts", "handlers", "build/handlers"):
        if (graph.ROOT / name).exists():
            shutil.copytree(graph.ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", "tmp*"))
    for file in ("__main__.py", "requirements.txt", *(path.name for path in graph.ROOT.glob("Pulumi*.yaml"))):
        shutil.copy(graph.ROOT / file, copy)
    return copy


@pytest.fixture
def open_stack(program: Path, providers: Providers, tmp_path: Path) -> Callable[[], AbstractContextManager[Stack]]:
    return lambda: opened("dev", program=program, state=tmp_path / "state", pack=PACK, providers=providers)


@pytest.mark.parametrize("group", FLAWS)
def test_one_changed_line_stops_a_preview_by_name_and_mended_it_passes(
    group: str, program: Path, open_stack: Callable[[], AbstractContextManager[Stack]]
):
    name, line, other, rule = FLAWS[group]
    file = program / name
    sound = file.read_text()
    assert line in sound
    with open_stack() as stack:
        file.write_text(sound.replace(line, other, 1))
        stopped = stack.preview()
        file.write_text(sound)
        mended = stack.preview()
    assert stopped.code != 0
    assert set(re.findall(r"\[mandatory\] +\[severity: \w+\] +(\S+) ", stopped.output)) == {rule}, stopped.output
    assert mended.code == 0, mended.output
    assert "[mandatory]" not in mended.output


def test_an_update_is_accepted_with_its_waivers_listed_and_nothing_left_undecided(
    open_stack: Callable[[], AbstractContextManager[Stack]],
):
    with open_stack() as stack:
        done = stack.up("--skip-preview")
        assert done.code == 0, done.output
    assert "can't run policy" not in done.output
    assert "[mandatory]" not in done.output
    assert "function-url-authorised is waived: " in done.output


def test_an_update_stops_before_the_resource_that_is_wrong(
    program: Path, open_stack: Callable[[], AbstractContextManager[Stack]]
):
    name, line, other, rule = FLAWS["gateway"]
    file = program / name
    file.write_text(file.read_text().replace(line, other, 1))
    with open_stack() as stack:
        stopped = stack.up("--skip-preview")
        made = {resource["urn"].partition("$")[2] for resource in stack.export()["resources"]}
    assert stopped.code != 0
    assert f"  {rule} " in stopped.output
    assert "aws:cloudwatch/eventRule:EventRule::acme-orders" in made
    assert "aws:cloudwatch/eventTarget:EventTarget::acme-orders" not in made
