"""`make chaos`: a storm over the deployed program, and what became of every order."""

from __future__ import annotations

import argparse
import json
import os
import secrets
import signal
import sys
import tempfile
from pathlib import Path
from types import FrameType

from engine import EngineError
from sandbox.session import SessionError
from sandbox.stack import StackError
from tests import graph
from tests.chaos.audit import audit
from tests.chaos.deployment import DeploymentError
from tests.chaos.plan import LEAST, Plan
from tests.chaos.report import document, text
from tests.chaos.storm import rage

_STOPPING = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)


def main() -> int:
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--orders", type=_count, default=1000, help="how many (1000)")
    parser.add_argument("--seed", type=int, help="replays a storm; without one, another storm each time")
    parser.add_argument("--json", type=_file, metavar="FILE", help="where to write the report as a document")
    wanted = parser.parse_args()
    plan = Plan(seed=secrets.randbelow(2**31) if wanted.seed is None else wanted.seed, count=wanted.orders)
    print(f"seed {plan.seed}: replay with `make chaos SEED={plan.seed} ORDERS={plan.count}`", flush=True)
    # The engine runs the program from its folder, and paths of its archives are relative to it.
    os.chdir(graph.ROOT)
    for number in _STOPPING:
        signal.signal(number, _stop)
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        try:
            storm = rage(plan, Path(folder), lambda said: print(said, flush=True))
        except (DeploymentError, EngineError, SessionError, StackError) as error:
            print(error, file=sys.stderr)
            return 1
    told = document(plan, storm, audit(storm.facts))
    if wanted.json:
        wanted.json.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    print(text(told))
    return 1 if told["violations"] else 0


def _stop(number: int, _: FrameType | None) -> None:
    # As an exception, so that a storm that is told to stop takes its cloud with it, and is not told again meanwhile.
    for known in _STOPPING:
        signal.signal(known, signal.SIG_IGN)
    print("stopping: the cloud of this storm ends first", file=sys.stderr, flush=True)
    sys.exit(128 + number)


def _count(argument: str) -> int:
    if not argument.isdecimal() or int(argument) < LEAST:
        raise argparse.ArgumentTypeError(f"a storm has at least {LEAST} orders, and not {argument!r}")
    return int(argument)


def _file(argument: str) -> Path:
    """Where something can be written: to find out at the end would be late."""
    file = Path(argument).absolute()
    if file.is_dir() or not os.access(file if file.exists() else file.parent, os.W_OK):
        raise argparse.ArgumentTypeError(f"no file can be written at {argument!r}: name one in a folder of yours")
    return file


if __name__ == "__main__":
    sys.exit(main())
