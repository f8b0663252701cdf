"""docs/architecture.md, the README's picture and the numbers in documents are of the program as it is."""

from __future__ import annotations

import json
import re

import pytest

from tests import architecture, graph
from tests.architecture import API, BUS, CARRIERS, DESTINATION, FUNCTION, KINDS, PIPE, QUEUE, RULE, SCHEDULE, TABLE
from tests.documents import rows
from tests.graph import ROOT

DOCUMENT = ROOT / "docs" / "architecture.md"
# What the README's picture calls them.
CALLED = {
    "client": "clients",
    "carrier": CARRIERS,
    "schedule": SCHEDULE,
    "API Gateway": API,
    "Lambda": FUNCTION,
    "DynamoDB": TABLE,
    "EventBridge Pipe": PIPE,
    "bus": BUS,
    "rule": RULE,
    "API destination": DESTINATION,
    "queue": QUEUE,
}


@pytest.fixture(scope="module")
def drawn(_at_the_root):
    return architecture.drawn_program()


@pytest.fixture(scope="module")
def edges(drawn):
    return architecture.edges(drawn)


def test_what_is_made_of_the_program_is_current(programs, drawn):
    made = architecture.files(ROOT, programs, drawn)
    assert {"docs/architecture.md", "README.md", "docs/deploying.md"} == made.keys()
    assert [path for path, text in made.items() if (ROOT / path).read_text() != text] == [], "run `make docs`"


def test_all_of_it_is_written_where_it_is_kept(tmp_path, programs, drawn):
    (tmp_path / "docs").mkdir()
    for path in ("README.md", "docs/deploying.md"):
        text = (ROOT / path).read_text()
        for numbers in architecture.NUMBERS:
            text = numbers.pattern.sub(lambda found: re.sub(r"\d+", "7", found[0]), text)
        (tmp_path / path).write_text(text)
        assert text != (ROOT / path).read_text()
    architecture.write(tmp_path, programs, drawn)
    for path in ("README.md", "docs/deploying.md", "docs/architecture.md"):
        assert (tmp_path / path).read_text() == (ROOT / path).read_text()


def test_a_number_whose_sentence_was_lost_is_missed(programs):
    with pytest.raises(ValueError, match=r"README\.md has no sentence like .* created"):
        architecture.counted("README.md", "Nothing of the kind.", programs)


# --- the picture ------------------------------------------------------------------------------------------------------

NODE = re.compile(r'    (\w+)(?:\["|\[\("|\[\[")([\w-]+)<br/>[\w ]+(?:"\]|"\)\]|"\]\])')
EDGE = re.compile(r'  (\w+) (?:-->|-\.->)(?:\|"[^"|]+"\|)? (\w+)')
OTHER = re.compile(r'flowchart LR|  subgraph \w+\["[\w-]+: \w+"\]|  end|  \w+\(\["\w+"\]\)')


def test_the_picture_is_a_flowchart_whose_every_line_mermaid_reads(drawn):
    lines = architecture.picture(drawn).splitlines()
    assert lines[0] == "flowchart LR"
    assert [line for line in lines if not any(form.fullmatch(line) for form in (NODE, EDGE, OTHER))] == []
    assert sum(line.startswith("  subgraph ") for line in lines) == lines.count("  end") > 5


def test_the_picture_has_each_of_its_nodes_once_and_no_line_without_both_ends(drawn):
    text = architecture.picture(drawn)
    nodes = [found[1] for found in map(NODE.fullmatch, text.splitlines()) if found]
    outside = re.findall(r"^  (\w+)\(\[", text, re.MULTILINE)
    assert len(nodes) == len(set(nodes)) == sum(len(drawn.of(kind)) for kind in KINDS) > 15
    ends = {end for found in map(EDGE.fullmatch, text.splitlines()) if found for end in found.groups()}
    assert ends == {*nodes, *outside}, "what nothing leads to or from is not understood"


def test_whatever_keeps_or_moves_an_order_is_drawn(drawn, edges):
    """A new type of resource is either drawn or said to be beside the way of an order."""
    beside = {
        "Account", "Deployment", "MethodSettings", "Stage", "Dashboard", "EventArchive", "EventBusPolicy",
        "EventConnection", "EventTarget", "LogGroup", "MetricAlarm", "Role", "RolePolicy", "FunctionEventInvokeConfig",
        "FunctionUrl", "Permission", "Topic", "TopicPolicy", "TopicSubscription", "ScheduleGroup", "QueuePolicy",
        "aws-native",
    }  # fmt: skip
    known = {kind for kind in graph.OUTPUTS if kind.rpartition(":")[2] not in beside}
    assert known == KINDS.keys()


def ends(edges, source, target, **labels):
    return [edge for edge in edges if (edge.source, edge.target) == (source, target)]


def named(drawn, kind, name=None):
    return drawn.only(kind, name).urn


def test_every_dead_letter_queue_is_where_something_aside_leads(drawn, edges):
    aside = [edge for edge in edges if edge.aside]
    assert {edge.target for edge in aside} == {queue.urn for queue in drawn.of(QUEUE)}
    assert all(drawn.nodes[edge.target].type == QUEUE for edge in aside)


def test_who_may_call_which_route_is_read_from_the_resource_policy(drawn, edges):
    api = named(drawn, API)
    callers = {(edge.source, edge.label) for edge in edges if edge.target == api}
    assert {("clients", "POST /orders"), ("clients", "GET /orders/{order_id}")} <= callers
    assert {label for caller, label in callers if caller == CARRIERS} == {"POST /confirm-shipment"}


def test_a_confirmation_meets_no_function_before_the_bus(drawn, edges):
    (confirm,) = (edge for edge in edges if edge.source == named(drawn, API) and "confirm" in edge.label)
    assert confirm.target == named(drawn, BUS)


def test_the_picture_is_read_from_the_resources_and_not_known(drawn):
    """Another target of the pipe is another line, and a right that is taken away one less."""
    before = set(architecture.edges(drawn))
    queue, pipe = drawn.of(QUEUE)[0], drawn.only(PIPE)
    nodes = {**drawn.nodes, pipe.urn: pipe.__class__(**{**vars(pipe), "uses": {**pipe.uses, "source": (queue.urn,)}})}
    assert before - set(architecture.edges(graph.Graph(nodes))) == {
        architecture.Edge(named(drawn, TABLE), pipe.urn, "stream")
    }
    without = {urn: node for urn, node in drawn.nodes.items() if node.inputs.get("name") != "ships-orders"}
    lost = before - set(architecture.edges(graph.Graph(without)))
    assert {(drawn.nodes[edge.source].name, edge.label) for edge in lost} == {("acme-confirm", "ships orders")}


def test_each_further_carrier_adds_the_same_part_once_more(programs):
    recorded = programs["prod"]
    names = sorted(node.name for node in recorded.of("event-gateway:components:CarrierIntegration"))
    assert len(names) > 1

    def around(carrier):
        found = [edge for edge in architecture.edges(recorded) if f"::{carrier}-" in edge.source + edge.target]
        return {(s.replace(carrier, "x"), t.replace(carrier, "x"), label) for s, t, label, _ in found}

    first, *others = map(around, names)
    assert len(first) > 5
    assert all(other == first for other in others)


# --- the tables -------------------------------------------------------------------------------------------------------


def test_the_parts_are_the_components_of_the_program(drawn):
    said = [row for row in rows(DOCUMENT.read_text()) if "component" in row.columns]
    parts = [node for node in drawn.nodes.values() if not list(drawn.ancestors(node))]
    assert {row.under("part") for row in said} == {part.name for part in parts}
    made = sum(int(count) for row in said for count in re.findall(r"(\d+) \w+", row.under("what it is made of")))
    assert made == sum(not node.type.startswith("event-gateway:") for node in drawn.nodes.values())
    assert all(row.under("what it promises").endswith(".") for row in said)


def test_every_statement_of_every_role_is_in_the_table(drawn):
    said = [row for row in rows(DOCUMENT.read_text()) if "ability" in row.columns]
    statements = [
        (node, statement)
        for node in drawn.of(architecture.ROLE_POLICY)
        for statement in json.loads(node.inputs["policy"])["Statement"]
    ]
    assert len(said) == len(statements) > 15
    for node, statement in statements:
        (row,) = (row for row in said if f"{row.under('role')}-{row.under('ability')}" == node.name)
        assert [action.strip("`") for action in row.under("actions").split(", ")] == statement["Action"]
        assert str(statement["Resource"]).endswith(row.under("on").strip("`"))


def test_no_role_gets_rights_from_elsewhere(programs):
    for recorded in programs.values():
        assert recorded.of(architecture.ROLE)
        for role in recorded.of(architecture.ROLE):
            assert {"managedPolicyArns", "inlinePolicies"}.isdisjoint(role.inputs)


# --- the README's picture ---------------------------------------------------------------------------------------------


def hops(text):
    """Who hands what to whom in a picture of lines like `a ── what ──▶ b ─▶ c`."""
    for line in text.splitlines():
        nodes = re.split(r" ─[^▶]*▶ ", line)
        labels = [label.strip("─ ") for label in re.findall(r" (─[^▶]*)▶ ", line)]
        yield from zip(nodes, labels, nodes[1:], strict=False)


def readme_picture():
    (text,) = re.findall(r"^```\n(client .*?)^```$", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    return list(hops(text))


def test_each_hop_of_the_readmes_picture_is_one_of_the_program(drawn, edges):
    def kind(end):
        return drawn.nodes[end].type if end in drawn.nodes else end

    found = {(kind(edge.source), kind(edge.target)): set() for edge in edges}
    for edge in edges:
        found[kind(edge.source), kind(edge.target)].add(edge.label)
    said = readme_picture()
    assert len(said) > 12
    for source, label, target in said:
        labels = found.get((CALLED[source], CALLED[target]), set())
        assert labels, f"{source} ─▶ {target}"
        if re.match("(GET|POST) |every ", label):
            assert label in labels, f"{source} ─ {label} ─▶ {target}"


def test_the_readmes_picture_shows_every_kind_of_what_is_drawn():
    said = {CALLED[end] for source, _, target in readme_picture() for end in (source, target)}
    assert said == {*CALLED.values()}
    assert KINDS.keys() <= said


def test_a_picture_is_read_hop_by_hop():
    text = "a ── POST /x ──▶ b c ─▶ d\ne ───── no b ───▶ a"
    assert list(hops(text)) == [("a", "POST /x", "b c"), ("b c", "", "d"), ("e", "no b", "a")]
