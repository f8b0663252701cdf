"""The program on a cloud of its own, from a copy that a storm may change, with carriers that the storm plays."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from sandbox import session
from sandbox.private import write_private
from sandbox.stack import Stack, opened
from tests import graph
from tests.chaos.plan import MOCK, OWN
from tests.sandbox.conftest import REGION, Deployed

PROJECT = "event-gateway"
USER = "event-gateway"
KEY_NAME = "x-api-key"
# Lambda's waits of one and two minutes are 0.6 and 1.2 seconds, the quarter of an hour between two sweeps is 9.
_TIME_FACTOR = 0.01


class DeploymentError(RuntimeError):
    """The engine failed; the message is what it said."""


@contextmanager
def deployed(folder: Path, endpoints: Mapping[str, str]) -> Generator[Deployed]:
    """A cloud with the program on it, whose own carriers are at these addresses; it ends with the context."""
    program, state = _copied(folder / "program"), folder / "state"
    settings = _settings(folder / "Pulumi.local.yaml", endpoints)
    # The engine is waited for in another thread, and last: who is told to stop meanwhile ends the cloud, and with it
    # the engine, which has nothing left to deploy onto.
    with ThreadPoolExecutor(1, thread_name_prefix="engine") as thread:
        running = session.start(state, region=REGION, program=program, time_factor=_TIME_FACTOR)
        try:
            outputs = thread.submit(_first, running, program, settings).result()
            cloud = Deployed(state, running, settings, outputs)
            cloud.program = program
            _note(cloud)
            yield cloud
        finally:
            running.stop()


def update(cloud: Deployed, prepared: Callable[[], None]) -> str:
    """Deploy the program as it is now; `prepared` is called before anything changes. Returns what the engine said."""
    with cloud.opened() as stack:
        prepared()
        said = _up(stack)
        cloud.outputs = stack.outputs()
    _note(cloud)
    return said


def secrets(cloud: Deployed) -> dict[str, str]:
    """What proves EventBridge to each carrier, in clear."""
    known = json.loads((cloud.state / "secrets.json").read_text())
    return {name: known[f"{PROJECT}:{name}Secret"] for name in (MOCK, *OWN)}


# --- changes of the program, each of what the storm began with --------------------------------------------------------


def replace_pipe(cloud: Deployed) -> None:
    """Another batch size, which no pipe takes in place."""
    _edit(cloud.program / "components" / "stream_pipe.py", "_BATCH_SIZE = 10", "_BATCH_SIZE = 9")


def change_template(cloud: Deployed) -> None:
    """The request of a carrier, and the entry of a confirmation, in another order of fields."""
    templates = cloud.program / "contracts" / "templates"
    _edit(
        templates / "carrier_request.rule.txt",
        '{"order_id": <order_id>, "state": <state>}',
        '{"state": <state>, "order_id": <order_id>}',
    )
    received = r",\"received_at\":$context.requestTimeEpoch}"
    _edit(templates / "confirm_shipment.request.vtl", received, "}")
    _edit(
        templates / "confirm_shipment.request.vtl",
        r'"Detail": "{\"order_id\"',
        r'"Detail": "{\"received_at\":$context.requestTimeEpoch,\"order_id\"',
    )


def rotate_secrets(cloud: Deployed) -> None:
    """Forget the secrets: the next deployment makes others."""
    for file, keys in (
        (cloud.state / "Pulumi.local.yaml", ("config",)),
        (cloud.state / "secrets.json", ()),
    ):
        document = yaml.safe_load(file.read_text())
        known = document
        for key in keys:
            known = known[key]
        for name in (MOCK, *OWN):
            del known[f"{PROJECT}:{name}Secret"]
        write_private(file, json.dumps(document) if file.suffix == ".json" else yaml.safe_dump(document))


CHANGES: Mapping[str, Callable[[Deployed], None]] = {
    "pipe replaced": replace_pipe,
    "template changed": change_template,
    "secret rotated": rotate_secrets,
}


def _first(running: session.Session, program: Path, settings: Path) -> dict[str, Any]:
    state = running.state
    with opened("local", program=program, settings=settings, state=state, pack=None, providers=running) as stack:
        _up(stack)
        return stack.outputs()


def _up(stack: Stack) -> str:
    run = stack.up("--skip-preview")
    if run.code:
        raise DeploymentError(run.output)
    return run.output


# --- what is deployed first -------------------------------------------------------------------------------------------


def _copied(program: Path) -> Path:
    # The zips too: to build them anew takes time, and makes the same ones.
    for name in ("components", "contracts", "handlers", "build/handlers"):
        if (graph.ROOT / name).exists():
            shutil.copytree(graph.ROOT / name, program / name, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("__main__.py", "requirements.txt", "Pulumi.yaml"):
        shutil.copy(graph.ROOT / file, program)
    # A carrier on this machine speaks HTTP, as all of the local cloud does.
    settings = program / "components" / "settings.py"
    _edit(settings, 're.compile(r"https://[!-~]', 're.compile(r"https?://[!-~]')
    _edit(settings, 'parts.scheme == "https"', 'parts.scheme in ("http", "https")')
    return program


def _settings(file: Path, endpoints: Mapping[str, str]) -> Path:
    document = yaml.safe_load((graph.ROOT / "Pulumi.local.yaml").read_text())
    config = document["config"]
    config[f"{PROJECT}:throttle"] = {"rate": 10_000, "burst": 5000}
    basic, key = ({"auth": "basic", "user": USER}, {"auth": "apiKey", "keyName": KEY_NAME})
    config[f"{PROJECT}:carriers"] = [
        {"name": MOCK, **basic, "rateLimit": 20},
        *(
            {
                "name": name,
                **authorized,
                "endpoint": endpoints[name],
                "principal": f"role/{name}",
                "rateLimit": 100,
            }
            for name, authorized in zip(OWN, (basic, key), strict=True)
        ),
    ]
    file.write_text(yaml.safe_dump(document))
    return file


def _edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    if text.count(old) != 1:
        raise DeploymentError(f"{file.name} does not hold {old!r} once: the storm's change no longer fits the program")
    file.write_text(text.replace(old, new))


def _note(cloud: Deployed) -> None:
    """As `make up` leaves it for the commands of an operator."""
    (cloud.state / "outputs.json").write_text(json.dumps(cloud.outputs))
    (cloud.state / "instance").write_text(cloud.session.instance)
