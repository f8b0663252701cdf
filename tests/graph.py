"""Records what the program registers, as plain data to assert on.

Mocks are strict: a resource type without a row in `OUTPUTS`, an invoke without an answer and a URN registered twice
fail the recording.
"""

from __future__ import annotations

import asyncio
import json
import runpy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pulumi
import yaml
from google.protobuf import json_format
from pulumi.runtime import mocks

ROOT = Path(__file__).parent.parent
ACCOUNT = "111122223333"
REGION = "eu-west-1"
# A canary: wherever it turns up unencrypted, something leaks.
CANARY = "canary-3f9c1d7e5a"

# Pulumi's futures want the thread's loop; of one that asyncio has to make by itself, it warns from Python 3.12 on.
asyncio.set_event_loop(asyncio.new_event_loop())

_SIG = "4dabf18193072939515e22adb298388d"
_SECRET = "1b47061264138c4ac30d75fd1eb44270"
_UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"


@dataclass(frozen=True)
class Node:
    """One registered resource. `inputs` are as the engine would get them: camelCase, secrets and unknowns marked."""

    urn: str
    type: str
    name: str
    parent: str
    inputs: dict[str, Any]
    uses: dict[str, tuple[str, ...]]
    depends_on: tuple[str, ...]
    protect: bool
    delete_before_replace: bool
    replace_on_changes: tuple[str, ...]
    provider: str


@dataclass
class Graph:
    """Everything one run of a program registered."""

    nodes: dict[str, Node] = field(default_factory=dict)

    def of(self, kind: type | str) -> list[Node]:
        token = kind if isinstance(kind, str) else kind.pulumi_type  # type: ignore[attr-defined]
        return [node for node in self.nodes.values() if node.type == token]

    def only(self, kind: type | str, name: str | None = None) -> Node:
        """The one resource of this kind (and logical name); fails when there are none or several."""
        found = [node for node in self.of(kind) if name in (None, node.name)]
        assert len(found) == 1, f"{len(found)} of {kind} named {name}: {[node.name for node in self.of(kind)]}"
        return found[0]

    def feeds(self, source: Node, target: Node, prop: str) -> bool:
        """Whether `target.prop` was computed from an output of `source`."""
        return source.urn in target.uses.get(prop, ())

    def ancestors(self, node: Node) -> Iterator[Node]:
        while node.parent in self.nodes:
            node = self.nodes[node.parent]
            yield node


def plain(value: Any) -> Any:
    """The value without the marks of secrets; an unknown stays its mark, `unknown` tells."""
    if isinstance(value, dict):
        if value.get(_SIG) == _SECRET:
            return plain(value["value"])
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value


def is_secret(value: Any) -> bool:
    return isinstance(value, dict) and value.get(_SIG) == _SECRET


def is_special(value: Any) -> bool:
    """Whether it stands for something that JSON has no way to say: a secret, an asset or an archive."""
    return isinstance(value, dict) and _SIG in value


def is_unknown(value: Any) -> bool:
    return value == _UNKNOWN


def leaves(value: Any, path: str = "", *, secret: bool = False) -> Iterator[tuple[str, Any, bool]]:
    """Every leaf with its path, and whether it or something around it is marked secret."""
    if is_secret(value):
        yield from leaves(value["value"], path, secret=True)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, f"{path}.{key}" if path else key, secret=secret)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from leaves(item, f"{path}[{index}]", secret=secret)
    else:
        yield path, value, secret


def _arn(service: str, resource: str) -> str:
    return f"arn:aws:{service}:{REGION}:{ACCOUNT}:{resource}"


def _nothing(name: str, inputs: dict[str, Any]) -> dict[str, Any]:
    return {}


# What AWS adds to the inputs of each type; a physical name is the input `name`.
OUTPUTS: dict[str, Callable[[str, dict[str, Any]], dict[str, Any]]] = {
    "aws:apigateway/account:Account": _nothing,
    "aws:apigateway/deployment:Deployment": _nothing,
    "aws:apigateway/methodSettings:MethodSettings": _nothing,
    "aws:apigateway/restApi:RestApi": lambda name, inputs: {"executionArn": _arn("execute-api", "a1b2c3")},
    "aws:apigateway/stage:Stage": lambda name, inputs: {
        "invokeUrl": f"https://a1b2c3.execute-api.{REGION}.amazonaws.com/{inputs['stageName']}"
    },
    "aws:cloudwatch/dashboard:Dashboard": _nothing,
    "aws:cloudwatch/eventApiDestination:EventApiDestination": lambda name, inputs: {
        "arn": _arn("events", f"api-destination/{inputs['name']}/0f1e2d3c")
    },
    "aws:cloudwatch/eventArchive:EventArchive": lambda name, inputs: {
        "arn": _arn("events", f"archive/{inputs['name']}")
    },
    "aws:cloudwatch/eventBus:EventBus": lambda name, inputs: {"arn": _arn("events", f"event-bus/{inputs['name']}")},
    "aws:cloudwatch/eventBusPolicy:EventBusPolicy": _nothing,
    "aws:cloudwatch/eventConnection:EventConnection": lambda name, inputs: {
        "arn": _arn("events", f"connection/{inputs['name']}/0f1e2d3c")
    },
    "aws:cloudwatch/eventRule:EventRule": lambda name, inputs: {
        "arn": _arn("events", f"rule/{inputs['eventBusName']}/{inputs['name']}")
    },
    "aws:cloudwatch/eventTarget:EventTarget": _nothing,
    "aws:cloudwatch/logGroup:LogGroup": lambda name, inputs: {"arn": _arn("logs", f"log-group:{inputs['name']}")},
    "aws:cloudwatch/metricAlarm:MetricAlarm": _nothing,
    "aws:dynamodb/table:Table": lambda name, inputs: {
        "arn": _arn("dynamodb", f"table/{inputs['name']}"),
        "streamArn": _arn("dynamodb", f"table/{inputs['name']}/stream/2026-01-01T00:00:00.000"),
    },
    "aws:iam/role:Role": lambda name, inputs: {"arn": f"arn:aws:iam::{ACCOUNT}:role/{inputs['name']}"},
    "aws:iam/rolePolicy:RolePolicy": _nothing,
    "aws:lambda/function:Function": lambda name, inputs: {"arn": _arn("lambda", f"function:{inputs['name']}")},
    "aws:lambda/functionEventInvokeConfig:FunctionEventInvokeConfig": _nothing,
    "aws:lambda/functionUrl:FunctionUrl": lambda name, inputs: {
        "functionUrl": f"https://u1v2w3.lambda-url.{REGION}.on.aws/"
    },
    "aws:lambda/permission:Permission": _nothing,
    "aws:sns/topic:Topic": lambda name, inputs: {"arn": _arn("sns", inputs["name"])},
    "aws:sns/topicPolicy:TopicPolicy": _nothing,
    "aws:sns/topicSubscription:TopicSubscription": _nothing,
    "aws:scheduler/schedule:Schedule": lambda name, inputs: {
        "arn": _arn("scheduler", f"schedule/{inputs['groupName']}/{inputs['name']}")
    },
    "aws:scheduler/scheduleGroup:ScheduleGroup": lambda name, inputs: {
        "arn": _arn("scheduler", f"schedule-group/{inputs['name']}")
    },
    "aws:sqs/queue:Queue": lambda name, inputs: {
        "arn": _arn("sqs", inputs["name"]),
        "url": f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/{inputs['name']}",
    },
    "aws:sqs/queuePolicy:QueuePolicy": _nothing,
    "aws-native:pipes:Pipe": lambda name, inputs: {"arn": _arn("pipes", f"pipe/{name}-1234567")},
    "pulumi:providers:aws-native": _nothing,
}


Outputs = Callable[[str, str, dict[str, Any]], dict[str, Any]]


def _ours(kind: str, name: str, inputs: dict[str, Any]) -> dict[str, Any]:
    assert kind in OUTPUTS, f"no row in OUTPUTS for {kind}"
    return OUTPUTS[kind](name, inputs)


class _Cloud(mocks.Mocks):
    def __init__(self, outputs: Outputs, *, preview: bool) -> None:
        self._outputs, self._preview = outputs, preview

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        if not args.custom:
            return None, {}
        outputs = self._outputs(args.typ, args.name, args.inputs)
        if self._preview:  # nothing exists yet, so AWS has added nothing
            return None, dict(args.inputs)
        return args.inputs.get("name", f"{args.name}-id"), {**args.inputs, **outputs}

    def call(self, args: mocks.MockCallArgs) -> dict[str, Any]:
        if args.token == "aws:index/getCallerIdentity:getCallerIdentity":
            return {"accountId": ACCOUNT, "arn": f"arn:aws:iam::{ACCOUNT}:user/deployer", "id": ACCOUNT, "userId": "A"}
        raise NotImplementedError(args.token)


class _Monitor(mocks.MockMonitor):
    def __init__(self, cloud: _Cloud, graph: Graph) -> None:
        super().__init__(cloud)
        self._graph = graph

    def RegisterResource(self, request: Any) -> Any:  # noqa: N802 - the engine's name
        response = super().RegisterResource(request)
        assert response.urn not in self._graph.nodes, f"registered twice: {response.urn}"
        if request.type == "pulumi:pulumi:Stack":
            return response
        self._graph.nodes[response.urn] = Node(
            urn=response.urn,
            type=request.type,
            name=request.name,
            parent=request.parent,
            inputs=json_format.MessageToDict(request.object),
            uses={key: tuple(value.urns) for key, value in request.propertyDependencies.items()},
            depends_on=tuple(request.dependencies),
            protect=request.protect,
            delete_before_replace=request.deleteBeforeReplace,
            replace_on_changes=tuple(request.replaceOnChanges),
            provider=request.provider,
        )
        return response


def record(
    build: Callable[[], Any],
    *,
    project: str = "event-gateway",
    stack: str = "dev",
    preview: bool = False,
    outputs: Outputs = _ours,
) -> Graph:
    """Run `build` under mocks and return what it registered; an error in any output fails the recording.

    `outputs` says what AWS adds to a resource of a type, with a name and inputs.
    """
    graph = Graph()
    cloud = _Cloud(outputs, preview=preview)
    mocks.set_mocks(cloud, project=project, stack=stack, preview=preview, monitor=_Monitor(cloud, graph))
    pulumi.runtime.test(build)()
    return graph


def configure(stack: str, changes: dict[str, Any] | None = None, *, plaintext: tuple[str, ...] = ()) -> None:
    """Set the configuration as the engine does for `Pulumi.<stack>.yaml`: everything is text, lists are JSON.

    Carriers get a canary as their secret. `changes` overrides keys; None removes one; `plaintext` are not secret.
    """
    config: dict[str, Any] = yaml.safe_load((ROOT / f"Pulumi.{stack}.yaml").read_text())["config"]
    carriers = {**config, **(changes or {})}["event-gateway:carriers"]
    names = [carrier["name"] for carrier in carriers or () if isinstance(carrier, dict) and "name" in carrier]
    config |= {f"event-gateway:{name}Secret": f"{CANARY}-{name}" for name in names}
    config |= changes or {}
    texts = {
        key: json.dumps(value) if not isinstance(value, str) else value
        for key, value in config.items()
        if value is not None
    }
    secrets = [key for key in texts if key.endswith("Secret") and key not in plaintext]
    pulumi.runtime.set_all_config(texts, secrets)


def program(stack: str, changes: dict[str, Any] | None = None, *, preview: bool = False) -> Graph:
    """The whole program's graph for the settings of `Pulumi.<stack>.yaml`."""
    configure(stack, changes)
    return record(lambda: runpy.run_path(str(ROOT / "__main__.py")) and None, stack=stack, preview=preview)
