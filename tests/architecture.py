"""What is written down of the program, made of what it registers: docs/architecture.md, and the numbers elsewhere."""

from __future__ import annotations

import inspect
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

import components
from policy.pack import RULES
from tests.graph import OUTPUTS, ROOT, Graph, Node, program

STACKS = ("local", "dev", "prod")
# The stack that is drawn, with the first of its carriers.
DRAWN = "prod"

API, FUNCTION, TABLE = "aws:apigateway/restApi:RestApi", "aws:lambda/function:Function", "aws:dynamodb/table:Table"
PIPE, BUS, QUEUE = "aws-native:pipes:Pipe", "aws:cloudwatch/eventBus:EventBus", "aws:sqs/queue:Queue"
RULE, DESTINATION = "aws:cloudwatch/eventRule:EventRule", "aws:cloudwatch/eventApiDestination:EventApiDestination"
TARGET, SCHEDULE = "aws:cloudwatch/eventTarget:EventTarget", "aws:scheduler/schedule:Schedule"
ROLE, ROLE_POLICY = "aws:iam/role:Role", "aws:iam/rolePolicy:RolePolicy"
ALARM = "aws:cloudwatch/metricAlarm:MetricAlarm"
COMPONENT = "event-gateway:components:"
CARRIERS = "carriers"


class Kind(NamedTuple):
    """What a drawn resource is called, and the brackets that are Mermaid's for its shape."""

    title: str
    opens: str = '["'
    closes: str = '"]'


KINDS: Mapping[str, Kind] = {
    API: Kind("REST API"),
    FUNCTION: Kind("Lambda function"),
    TABLE: Kind("DynamoDB table", '[("', '")]'),
    PIPE: Kind("EventBridge pipe"),
    BUS: Kind("event bus"),
    RULE: Kind("rule"),
    DESTINATION: Kind("API destination"),
    QUEUE: Kind("SQS queue", '[["', '"]]'),
    SCHEDULE: Kind("schedule"),
}


class Edge(NamedTuple):
    """Something goes from one to the other: URNs, or who is outside. `aside` is what could not be delivered."""

    source: str
    target: str
    label: str = ""
    aside: bool = False


def drawn_program() -> Graph:
    """The program that is drawn: one part for carriers says what there is to say of them."""
    config = yaml.safe_load((ROOT / f"Pulumi.{DRAWN}.yaml").read_text())["config"]
    return program(DRAWN, {"event-gateway:carriers": config["event-gateway:carriers"][:1]})


def part_of(graph: Graph, node: Node) -> Node:
    """The component of the program that a resource belongs to."""
    return [node, *graph.ancestors(node)][-1]


def edges(graph: Graph) -> list[Edge]:
    """What goes from where to where, sorted; each read from the resource or document that lets it."""
    found = {*_requests(graph), *_events(graph), *_streams(graph), *_sweeps(graph), *_abilities(graph)}
    return sorted(found)


def _used(graph: Graph, node: Node, prop: str, *kinds: str) -> Iterator[str]:
    """What of these kinds an input was computed from."""
    yield from (urn for urn in node.uses.get(prop, ()) if graph.nodes[urn].type in kinds)


def _requests(graph: Graph) -> Iterator[Edge]:
    """Each route of an API: who may call it, and what is behind it."""
    for api in graph.of(API):
        body = json.loads(api.inputs["body"])
        for path, methods in body["paths"].items():
            for method, operation in methods.items():
                route = f"{method.upper()} {path}"
                integration = operation["x-amazon-apigateway-integration"]
                yield from (Edge(caller, api.urn, route) for caller in _callers(body, method.upper(), path))
                yield from (Edge(api.urn, behind, route) for behind in _behind(graph, integration))


def _callers(body: dict[str, Any], method: str, path: str) -> Iterator[str]:
    """Whom the resource policy admits, under the name that its statement has for them."""
    wanted = f"/{method}{re.sub(r'{[^}]*}', '*', path)}"
    for statement in body["x-amazon-apigateway-policy"]["Statement"]:
        if statement["Effect"] == "Allow" and any(resource.endswith(wanted) for resource in statement["Resource"]):
            yield statement["Sid"].removesuffix("May").lower()


def _behind(graph: Graph, integration: dict[str, Any]) -> Iterator[str]:
    text = json.dumps([integration["uri"], integration.get("requestTemplates", {})])
    for node in (*graph.of(FUNCTION), *graph.of(BUS)):
        if f":{node.inputs['name']}/invocations" in text or f'EventBusName\\": \\"{node.inputs["name"]}\\"' in text:
            yield node.urn


def _events(graph: Graph) -> Iterator[Edge]:
    for rule in graph.of(RULE):
        pattern = json.loads(rule.inputs["eventPattern"])
        for bus in _used(graph, rule, "eventBusName", BUS):
            yield Edge(bus, rule.urn, ", ".join(pattern["detail-type"]))
    for target in graph.of(TARGET):
        for rule in _used(graph, target, "rule", RULE):
            yield from (Edge(rule, urn) for urn in _used(graph, target, "arn", FUNCTION, DESTINATION))
            yield from (Edge(rule, urn, aside=True) for urn in _used(graph, target, "deadLetterConfig", QUEUE))
    for destination in graph.of(DESTINATION):
        yield Edge(destination.urn, CARRIERS, f"{destination.inputs['httpMethod']} /orders")


def _streams(graph: Graph) -> Iterator[Edge]:
    for pipe in graph.of(PIPE):
        yield from (Edge(urn, pipe.urn, "stream") for urn in _used(graph, pipe, "source", TABLE))
        yield from (Edge(pipe.urn, urn) for urn in _used(graph, pipe, "target", BUS))
        yield from (Edge(pipe.urn, urn, aside=True) for urn in _used(graph, pipe, "sourceParameters", QUEUE))


def _sweeps(graph: Graph) -> Iterator[Edge]:
    for schedule in graph.of(SCHEDULE):
        every = re.sub(r"rate\((.*)\)", r"every \1", schedule.inputs["scheduleExpression"])
        yield from (Edge(schedule.urn, urn, every) for urn in _used(graph, schedule, "target", FUNCTION))


class Ability(NamedTuple):
    """One inline policy of a role."""

    role: Node
    name: str
    actions: tuple[str, ...]
    resources: tuple[str, ...]


def abilities(graph: Graph) -> list[Ability]:
    """What every role may do, by role and name."""
    found: list[Ability] = []
    for policy in graph.of(ROLE_POLICY):
        (role,) = _used(graph, policy, "role", ROLE)
        for statement in json.loads(policy.inputs["policy"])["Statement"]:
            on = statement["Resource"]
            resources = (on,) if isinstance(on, str) else tuple(on)
            found.append(Ability(graph.nodes[role], policy.inputs["name"], tuple(statement["Action"]), resources))
    return sorted(found, key=lambda ability: (ability.role.name, ability.name))


def _abilities(graph: Graph) -> Iterator[Edge]:
    """What a function does to others is in its code; that it may is in its role."""
    arns = {
        node.urn: OUTPUTS[kind](node.name, node.inputs)["arn"]
        for kind in (TABLE, BUS, QUEUE)
        for node in graph.of(kind)
    }
    for ability in abilities(graph):
        for function in graph.of(FUNCTION):
            if ability.role.urn in function.uses["role"]:
                for urn, arn in arns.items():
                    if any(resource == arn or resource.startswith(f"{arn}/") for resource in ability.resources):
                        yield Edge(
                            function.urn, urn, ability.name.replace("-", " "), aside=graph.nodes[urn].type == QUEUE
                        )


def picture(graph: Graph) -> str:
    """The parts with what is in them and what goes between, as a flowchart of Mermaid."""
    lines = ["flowchart LR"]
    shown = sorted((node for kind in KINDS for node in graph.of(kind)), key=lambda node: node.urn)
    parts = sorted({part_of(graph, node).urn for node in shown})
    for part in map(graph.nodes.__getitem__, parts):
        lines.append(f'  subgraph {_id(graph, part.urn)}["{part.name}: {_class(part)}"]')
        for node in shown:
            if part_of(graph, node) is part:
                kind = KINDS[node.type]
                lines.append(f"    {_id(graph, node.urn)}{kind.opens}{node.name}<br/>{kind.title}{kind.closes}")
        lines.append("  end")
    found = edges(graph)
    outside = sorted({end for edge in found for end in (edge.source, edge.target)} - graph.nodes.keys())
    lines += [f'  {name}(["{name}"])' for name in outside]
    for edge in found:
        arrow = "-.->" if edge.aside else "-->"
        label = f'|"{edge.label}"|' if edge.label else ""
        lines.append(f"  {_id(graph, edge.source)} {arrow}{label} {_id(graph, edge.target)}")
    return "\n".join(lines)


def _id(graph: Graph, end: str) -> str:
    """Unique in the picture; who is outside has no URN."""
    node = graph.nodes.get(end)
    return re.sub(r"\W", "_", f"{_class(node)}_{node.name}") if node else end


def _class(node: Node) -> str:
    return "Provider" if node.type.startswith("pulumi:providers:") else node.type.rpartition(":")[2]


def document(graphs: Mapping[str, Graph], drawn: Graph) -> str:
    """docs/architecture.md, of the program of every stack and the one that is drawn."""
    return "\n".join(
        [
            _INTRODUCTION,
            "```mermaid",
            picture(drawn),
            "```",
            "",
            *_parts(drawn),
            *_who_may(drawn),
            *_stacks(graphs),
        ]
    )


_INTRODUCTION = f"""# Architecture

Generated from what the program registers, by `make docs`; do not edit.

## The picture

The program with the settings of `Pulumi.{DRAWN}.yaml` and the first of its carriers; each further carrier adds that
part once more. A line is the way of an order or a confirmation, or what a function's role lets it do to it; a dotted
one leads to where it waits for a person when the other way is closed. Roles, grants, log groups, alarms and the
dashboard are left out: they are in the tables below.
"""


def _parts(graph: Graph) -> Iterator[str]:
    yield from ("## The parts", "", "| part | component | what it promises | what it is made of |", "|---|---|---|---|")
    parts = [
        node for node in graph.nodes.values() if node.type.startswith(COMPONENT) and node.parent not in graph.nodes
    ]
    for part in sorted(parts, key=lambda node: node.urn):
        made = getattr(components, _class(part))
        promise = " ".join(inspect.getdoc(made).partition("\n\n")[0].split())
        of = Counter(
            _class(node)
            for node in graph.nodes.values()
            if not node.type.startswith(COMPONENT) and part_of(graph, node) is part
        )
        file = f"../{made.__module__.replace('.', '/')}.py"
        counted = ", ".join(f"{count} {name}" for name, count in sorted(of.items()))
        yield f"| {part.name} | [{made.__name__}]({file}) | {promise} | {counted} |"
    yield ""


def _who_may(graph: Graph) -> Iterator[str]:
    yield from (
        "## Who may do what",
        "",
        "Every statement of every role that the program makes, and the one service that may assume the role.",
        "",
        "| role | assumed by | ability | actions | on |",
        "|---|---|---|---|---|",
    )
    for ability in abilities(graph):
        (trust,) = json.loads(ability.role.inputs["assumeRolePolicy"])["Statement"]
        actions = ", ".join(f"`{action}`" for action in ability.actions)
        resources = ", ".join(f"`{arn.split(':', 5)[-1]}`" for arn in ability.resources)
        yield f"| {ability.role.name} | {trust['Principal']['Service']} | {ability.name} | {actions} | {resources} |"
    yield ""


def _stacks(graphs: Mapping[str, Graph]) -> Iterator[str]:
    yield from (
        "## The stacks",
        "",
        "Resources as Pulumi counts them, with components and the stack itself.",
        "",
        "| stack | carriers | resources | alarms |",
        "|---|---|---|---|",
    )
    for stack, graph in graphs.items():
        carriers = ", ".join(sorted(node.name for node in graph.of(f"{COMPONENT}CarrierIntegration")))
        yield f"| `{stack}` | {carriers} | {_resources(graph)} | {len(graph.of(ALARM))} |"
    yield ""


def _resources(graph: Graph) -> int:
    return len(graph.nodes) + 1


class Numbers(NamedTuple):
    """A sentence of a document whose numbers are counted: each group of `pattern` is one of `numbers`, in turn."""

    path: str
    pattern: re.Pattern[str]
    count: Callable[[Mapping[str, Graph]], tuple[int, ...]]


NUMBERS = (
    Numbers(
        "README.md", re.compile(r"^    \+ (\d+) created$", re.MULTILINE), lambda graphs: (_resources(graphs["local"]),)
    ),
    Numbers("README.md", re.compile(r"^(\d+) rules in two groups", re.MULTILINE), lambda graphs: (len(RULES),)),
    Numbers(
        "docs/deploying.md",
        re.compile(r"(\d+) alarms in `dev` and (\d+) in `prod`"),
        lambda graphs: tuple(len(graphs[stack].of(ALARM)) for stack in ("dev", "prod")),
    ),
)


def counted(path: str, text: str, graphs: Mapping[str, Graph]) -> str:
    """The text of a document with its numbers as they are; raises ValueError for a sentence that it lost."""
    for numbers in NUMBERS:
        if numbers.path == path:
            found = numbers.pattern.search(text)
            if not found:
                raise ValueError(f"{path} has no sentence like {numbers.pattern.pattern}: mend tests/architecture.py")
            said = numbers.count(graphs)
            for group in range(len(said), 0, -1):
                text = text[: found.start(group)] + str(said[group - 1]) + text[found.end(group) :]
    return text


def files(root: Path, graphs: Mapping[str, Graph], drawn: Graph) -> dict[str, str]:
    """What is made of the program, by its path in a checkout."""
    documents = {numbers.path for numbers in NUMBERS}
    return {
        "docs/architecture.md": document(graphs, drawn),
        **{path: counted(path, (root / path).read_text(encoding="utf-8"), graphs) for path in sorted(documents)},
    }


def write(root: Path, graphs: Mapping[str, Graph], drawn: Graph) -> None:
    """Write all of it below the root of a checkout."""
    for path, text in files(root, graphs, drawn).items():
        (root / path).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write(ROOT, {stack: program(stack) for stack in STACKS}, drawn_program())
