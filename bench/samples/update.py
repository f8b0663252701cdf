"""The real engine deploys our program onto a local cloud, does so again, and deploys an empty program beside it.

Each is a preview and an update, without the policies, whose share is measured by itself. What the cloud takes counts.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from bench.measure import say, stoppable
from bench.samples.usage import of_children, of_process
from sandbox import session
from sandbox.session import Session
from sandbox.stack import ROOT, Stack, opened

_REGION = "eu-west-1"


def _cost(stack: Stack, running: Session) -> float:
    cloud = [running.about["pid"], running.about["ministack"]["pid"]]
    before = of_children() + sum(map(of_process, cloud))
    run = stack.up()
    if run.code:
        sys.exit(run.output)
    return of_children() + sum(map(of_process, cloud)) - before


def main(folder: Path) -> dict[str, float]:
    empty = folder / "empty"
    empty.mkdir()
    (empty / "Pulumi.yaml").write_text("{name: empty, runtime: python}", encoding="utf-8")
    (empty / "Pulumi.none.yaml").write_text("config: {}", encoding="utf-8")
    (empty / "__main__.py").touch()
    running = session.start(folder / "cloud", region=_REGION)
    try:
        with opened("local", program=ROOT, state=folder / "cloud", pack=None, providers=running) as stack:
            first, again = _cost(stack, running), _cost(stack, running)
        with opened("none", program=empty, state=folder / "none", pack=None, providers=running) as stack:
            nothing = _cost(stack, running)
    finally:
        running.stop()
    return {"up": first, "again": again, "empty": nothing}


if __name__ == "__main__":
    stoppable()
    with tempfile.TemporaryDirectory() as temporary:
        say(main(Path(temporary)))
