"""The real engine previews our program on the local providers: `CARRIERS pack|alone`."""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path

from bench.measure import ROOT, say, stoppable
from bench.samples.usage import of_children
from bench.settings import carriers, written
from sandbox.stack import opened


def main(count: int, pack: Path | None) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder)
        settings = written(state / "settings.yaml", {"event-gateway:carriers": carriers(count)})
        with opened("local", settings=settings, state=state / "stack", pack=pack) as stack:
            before = of_children()
            run = stack.preview()
            cpu = of_children() - before
    if run.code:
        sys.exit(run.output)
    (created,) = re.findall(r"\+ (\d+) to create", run.output)
    return {"cpu": cpu, "resources": int(created), "per_resource": cpu / int(created)}


if __name__ == "__main__":
    stoppable()
    say(main(int(sys.argv[1]), ROOT / "policy" if sys.argv[2] == "pack" else None))
