"""The commands of `python -m sandbox`: the program on this machine, previewed or run, without a cloud account."""

from __future__ import annotations

import json
import re
import shutil
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import boto3
import typer
from botocore.config import Config

from engine import EngineError, locate
from sandbox import session
from sandbox.access import client_principal, credentials_of
from sandbox.client import Client, NotTakenError, Saboteur
from sandbox.control import MODES
from sandbox.faults import Fault, FaultError, Kind, Worker
from sandbox.private import kept_in, write_private
from sandbox.provider import ProvidersError
from sandbox.session import RefusedError, Session, SessionError
from sandbox.stack import ROOT, Stack, StackError, mapping, opened

STATE = ROOT / "build" / "state"
_FUNCTION = "aws:lambda/function:Function"
_SHIPPED_WITHIN = 60.0  # seconds; 1 is usual

app = typer.Typer(help="Run the program without a cloud account.", no_args_is_help=True, add_completion=False)
State = Annotated[Path | None, typer.Option(help="Folder for everything that is written; build/state/STACK.")]
_PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True}


@contextmanager
def _explained() -> Generator[None]:
    """What a person can mend is said in one line, without a traceback."""
    try:
        yield
    except (EngineError, NotTakenError, ProvidersError, StackError, SessionError) as error:
        print(error, file=sys.stderr)
        raise typer.Exit(1) from error


@app.command(context_settings=_PASS_ON)
def preview(
    context: typer.Context,
    stack: Annotated[str, typer.Option(help="local, dev or prod")] = "local",
    state: State = None,
) -> None:
    """Show what a deployment would change, and what the policies say; further flags are the engine's."""
    with _explained(), opened(stack, state=state, streams=True) as program:
        raise typer.Exit(program.preview(*context.args).code)


@app.command()
def up(state: State = None, order: Annotated[bool, typer.Option(help="Place an order at the end.")] = True) -> None:  # noqa: FBT002 - an option
    """Start the local cloud if need be, deploy onto it under the policies, and send an order through it."""
    folder = _folder(state)
    with _explained():
        region = _region()
        locate()  # where there is none, and none can be built, no cloud is to start
        running = session.start(folder, region=region)
        _forget_what_is_gone(folder, running)
        with opened("local", state=folder, providers=running, streams=True) as program:
            if code := program.up().code:
                _explain_pending(program)
                raise typer.Exit(code)
            outputs = program.outputs()
        with kept_in(folder, SessionError):
            write_private(folder / "outputs.json", json.dumps(outputs))
        client = _client(folder, running)
        principal = client_principal(running)
        print(f"\nThe API serves at {outputs['apiUrl']}. Place an order as {principal}:\n\n{client.curl()}\n")
        if order:
            _watch(running, client, client.place(reference="from-up"))


@app.command()
def down(state: State = None) -> None:
    """Destroy the stack through the engine, and end every process."""
    folder = _folder(state)
    with _explained():
        running = session.settled(folder)
        if running is None:
            print("nothing runs")
            return
        with opened("local", state=folder, providers=running, streams=True) as program:
            if code := program.destroy().code:
                raise typer.Exit(code)
            running.stop()
        shutil.rmtree(folder / "journal", ignore_errors=True)
        for name in ("instance", "outputs.json", "cloud.log"):
            (folder / name).unlink(missing_ok=True)


@app.command()
def status(state: State = None) -> None:
    """Say what runs, and what IAM refused."""
    running = _running(state)
    with _explained():
        decisions = running.ask("decisions")
        print(f"instance {running.instance}, process {running.about['pid']}")
        for name, url in running.about["urls"].items():
            print(f"  {name:<10} {url}")
        print(f"refused calls: {len(decisions['denied'])}")
        for entry in decisions["denied"][-10:]:
            print(f"  {entry['reason']}")


@app.command(name="order")
def place_orders(
    state: State = None,
    count: Annotated[int, typer.Option(min=1, help="How many.")] = 1,
    watch: Annotated[bool, typer.Option(help="Show each on its way until it is shipped.")] = False,  # noqa: FBT002 - an option
    carrier: Annotated[str | None, typer.Option(help="Which carrier; the first by default.")] = None,
) -> None:
    """Place orders as a client."""
    running = _running(state)
    with _explained():
        client = _client(_folder(state), running)
        fields = {"carrier": carrier} if carrier else {}
        for _ in range(count):
            order_id = client.place(reference="from-the-command-line", **fields)
            if watch:
                _watch(running, client, order_id)
            else:
                print(order_id)


@app.command()
def carrier(
    mode: Annotated[str, typer.Option(help=", ".join(MODES))],
    name: Annotated[str, typer.Option(help="Which mock carrier.")] = "acme",
    state: State = None,
) -> None:
    """Let a mock carrier misbehave, until it is told to be ok."""
    if mode not in MODES:
        print(f"there is no mode {mode}: it is one of {', '.join(MODES)}", file=sys.stderr)
        raise typer.Exit(2)
    running = _running(state)
    with _explained():
        function = f"event-gateway-local-carrier-{name}-mock"
        deployed = running.ask("resources", type=_FUNCTION, properties=["name"])
        mocks = sorted(known["name"] for known in deployed.values() if known["name"].endswith("-mock"))
        if function not in mocks:
            names = [mock.removeprefix("event-gateway-local-carrier-").removesuffix("-mock") for mock in mocks]
            raise SessionError(f"no mock carrier is called {name}: there are {', '.join(names)}")
        running.ask("mode", function=function, mode=mode)


@app.command()
def fault(
    kind: Annotated[str, typer.Argument(help=f"list, clear, or what fails: {', '.join(Kind)}")],
    *,
    state: State = None,
    rate: Annotated[float, typer.Option(help="The share, from 0 to 1, that is struck.")] = 1.0,
    seconds: Annotated[
        float | None, typer.Option("--for", help="It ends after so many seconds; clock-jump: how many it goes.")
    ] = None,
    times: Annotated[int | None, typer.Option(help="It ends after so many strikes.")] = None,
    function: Annotated[str | None, typer.Option(help="Only this function, such as orders-api.")] = None,
    worker: Annotated[str | None, typer.Option(help=f"Only such a worker: {', '.join(Worker)}.")] = None,
    seed: Annotated[int | None, typer.Option(help="Choose what is struck by this, from now on.")] = None,
) -> None:
    """Let a part of the local cloud fail as it does on AWS, say what does, or end it."""
    if kind in {"list", "clear"}:
        saboteur = Saboteur(_running(state))
        with _explained():
            if kind == "clear":
                saboteur.clear_faults()
            else:
                _show_faults(saboteur.fault_report())
        return
    options: dict[str, Any] = {
        "rate": rate,
        "seconds": seconds,
        "times": times,
        "function": function,
        "worker": worker,
    }
    try:
        Fault.of({"kind": kind, **options})
        saboteur = Saboteur(_running(state))
        with _explained():
            print(f"seed {_inject(saboteur, kind, options, seed)}")
    except FaultError as error:
        print(error, file=sys.stderr)
        raise typer.Exit(2) from error


def _inject(saboteur: Saboteur, kind: str, options: dict[str, Any], seed: int | None) -> int:
    try:
        return saboteur.fault(kind, **options, seed=seed)
    except RefusedError as error:
        raise FaultError(error.reason) from error


def _show_faults(report: dict[str, Any]) -> None:
    for kind in Kind:
        print(f"{kind:<20} struck {report['struck'][kind]:>6} times  {kind.description}")
    print(f"\nseed {report['seed']}; active: {len(report['active'])}")
    for one in report["active"]:
        only = "".join(f", only {one[name]}" for name in ("function", "worker") if one[name])
        left = f", {one['seconds_left']:.0f} s left" if one["seconds_left"] is not None else ""
        left += f", {one['times'] - one['struck']} times left" if one["times"] is not None else ""
        print(f"  {one['kind']}: rate {one['rate']:g}{only}{left}; struck {one['struck']} times")


@app.command()
def logs(
    state: State = None,
    follow: Annotated[bool, typer.Option(help="Go on until Ctrl-C.")] = False,  # noqa: FBT002 - an option
) -> None:
    """Print what the functions and the gateway have logged."""
    running = _running(state)
    shown: set[str] = set()
    with _explained():
        while True:
            for line in _log_lines(running):
                if line["id"] not in shown:
                    shown.add(line["id"])
                    print(f"{_clock(line['at'])} {line['from']:<42} {line['text']}")
            if not follow:
                return
            time.sleep(0.5)


def _watch(running: Session, client: Client, order_id: str) -> None:
    """Show an order's way through the system, from the log lines that bear its id."""
    print(f"order {order_id}")
    deadline = time.monotonic() + _SHIPPED_WITHIN
    shown: set[str] = set()
    order: dict[str, str] = {}
    while time.monotonic() < deadline and order.get("state") != "shipped":
        order = client.read(order_id)
        _show_steps(running, order_id, shown)
        time.sleep(0.1)
    _show_steps(running, order_id, shown)
    print(f"  {order.get('state')}: {order.get('reason')}")
    if order.get("state") != "shipped":
        raise SessionError(f"the order was not shipped within {_SHIPPED_WITHIN:g} s: see `python -m sandbox logs`")


def _show_steps(running: Session, order_id: str, shown: set[str]) -> None:
    for line in _log_lines(running):
        record = line["record"]
        if record.get("order_id") == order_id and line["id"] not in shown and record.get("message") != "Order read":
            shown.add(line["id"])
            who = record["service"].removeprefix("event-gateway-local-")
            print(f"  {_clock(line['at'])} {who:<22} {record['message']}")


def _log_lines(running: Session) -> list[dict[str, Any]]:
    """Every log line, oldest first."""
    client: Any = boto3.Session("test", "test", region_name=_region()).client(
        "logs", endpoint_url=running.about["ministack"]["url"], config=Config(proxies={})
    )
    lines: list[dict[str, Any]] = []
    for group in client.describe_log_groups()["logGroups"]:
        name = group["logGroupName"]
        for page in client.get_paginator("filter_log_events").paginate(logGroupName=name):
            for event in page["events"]:
                text = event["message"].strip()
                at = event["timestamp"]
                line = {"id": f"{name} {at} {text}", "at": at, "from": name.rpartition("/")[2], "text": text}
                lines.append({**line, "record": _record(text)})
    return sorted(lines, key=lambda line: line["at"])


def _record(text: str) -> dict[str, Any]:
    try:
        record = json.loads(text)
    except ValueError:
        return {}
    return record if isinstance(record, dict) else {}


def _clock(milliseconds: int) -> str:
    return f"{datetime.fromtimestamp(milliseconds / 1000).astimezone():%H:%M:%S.%f}"[:-3]


def _client(folder: Path, running: Session) -> Client:
    outputs = json.loads((folder / "outputs.json").read_text(encoding="utf-8"))
    credentials = credentials_of(running, client_principal(running))
    return Client(url=outputs["apiUrl"], region=outputs["region"], credentials=credentials)


def _forget_what_is_gone(folder: Path, running: Session) -> None:
    """An engine's state of another cloud describes nothing that exists."""
    known = folder / "instance"
    backend = folder / "backend"
    if known.exists() and known.read_text() != running.instance and backend.exists():
        print("The local cloud of the last `up` ended without `down`: its resources and all orders on it are lost.")
    if not known.exists() or known.read_text() != running.instance:
        shutil.rmtree(backend, ignore_errors=True)
    with kept_in(folder, SessionError):
        write_private(known, running.instance)


def _explain_pending(program: Stack) -> None:
    """What an engine was making when it was killed may exist, and another one would have to know."""
    if program.export().get("pending_operations"):
        print(
            "The last run was killed while it made something, and what of that exists is not in the engine's state: "
            "`make down` ends all of it, and `make up` starts anew.",
            file=sys.stderr,
        )


def _running(state: Path | None) -> Session:
    with _explained():
        running = session.found(_folder(state))
    if running is None or not (_folder(state) / "outputs.json").exists():
        print("nothing runs: start it with `make up`", file=sys.stderr)
        raise typer.Exit(1)
    return running


def _folder(state: Path | None) -> Path:
    return (state or STATE / "local").absolute()


def _region() -> str:
    settings = ROOT / "Pulumi.local.yaml"
    region = (mapping(settings).get("config") or {}).get("aws:region")
    if not isinstance(region, str) or not re.fullmatch(r"[a-z]{2}(-[a-z]+)+-[0-9]", region):
        raise SessionError(f"aws:region in {settings.name} must be the name of a region, such as eu-west-1")
    return region
