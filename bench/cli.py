"""The commands of `python -m bench`: measure, and write down what was measured."""

from __future__ import annotations

import json
import os
import platform
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Never

import typer

from bench.aws import answering
from bench.measure import ROOT, Measured, SampleError, measure, stoppable
from bench.report import document
from bench.rows import EXACT, NAMES, ROWS, cases

RESULTS = ROOT / "build" / "bench.json"
DOCUMENT = ROOT / "docs" / "performance.md"
_ROUNDS, _QUICK_ROUNDS = 7, 3

app = typer.Typer(help="Measure, and write down what was measured.", add_completion=False)


@app.callback(invoke_without_command=True)
def run(
    context: typer.Context,
    *,
    only: Annotated[str | None, typer.Option(help="Rows such as P1,L1; all of them by default.")] = None,
    quick: Annotated[bool, typer.Option(help="Fewer rounds and smaller sizes: what runs, not what holds.")] = False,
    rounds: Annotated[int | None, typer.Option(min=1, help="How many; 7, or 3 of a quick run.")] = None,
    seed: Annotated[int | None, typer.Option(help="For the order of the samples; drawn by default.")] = None,
    output: Annotated[Path, typer.Option(help="Where the results go.")] = RESULTS,
) -> None:
    """Measure; about 17 minutes, or 2 with --quick."""
    if context.invoked_subcommand:
        return
    if sys.platform != "linux":
        _refuse("the benchmark needs Linux, whose /proc says what other processes use")
    names = set(only.split(",")) if only else set(NAMES)
    if unknown := sorted(names - set(NAMES)):
        _refuse(f"there is no row {unknown[0]}: --only takes {', '.join(NAMES)}, separated by commas")
    needed = set[str]().union(*(row.cases for row in ROWS if row.name in names))
    chosen = seed if seed is not None else time.time_ns() % 1_000_000
    count = rounds or (_QUICK_ROUNDS if quick else _ROUNDS)
    if reason := _unwritable(output):
        _refuse(f"--output {output} can't be written: {reason}")
    stoppable()
    began = time.monotonic()
    try:
        with tempfile.TemporaryDirectory() as folder, answering() as aws:
            wanted = [case for case in cases(quick=quick, aws=aws, folder=Path(folder)) if case.name in needed]
            measured = measure(wanted, rounds=count, quick=quick, seed=chosen, tell=_tell)
    except SampleError as error:
        _refuse(str(error))
    rows = [*_measured(measured, names), *_exact(names)]
    results = {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "seconds": round(time.monotonic() - began),
        "machine": _machine(),
        "quick": quick,
        "rounds": count,
        "seed": chosen,
        "rows": rows,
        "samples": measured.samples,
    }
    output.write_text(json.dumps(results, indent=1), encoding="utf-8")
    for row in rows:
        _tell(f"{row['name']} {row['what']}: {row['value']:.3g}, {'met' if row['met'] else 'missed'}")


@app.command()
def report(
    results: Annotated[Path, typer.Option(help="What a run has written.")] = RESULTS,
    output: Annotated[Path, typer.Option(help="The document.")] = DOCUMENT,
) -> None:
    """Write docs/performance.md from the results of the last run."""
    if not results.exists():
        _refuse(f"there is no {results.name}: `python -m bench` writes it")
    try:
        written = document(json.loads(results.read_text(encoding="utf-8")))
    except (ValueError, TypeError, KeyError):
        _refuse(f"{results.name} is not what `python -m bench` writes: let it write another")
    output.write_text(written, encoding="utf-8")


def _unwritable(file: Path) -> str | None:
    """Why nothing can be written there, if so: to find out after the measurement would be late."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return error.strerror
    if file.is_dir():
        return "it is a folder"
    return None if os.access(file if file.exists() else file.parent, os.W_OK) else "permission denied"


def _measured(measured: Measured, names: set[str]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for row in ROWS:
        if row.name in names:
            estimate = row.estimate(measured)
            parts = {f"{case}.{figure}": value for (case, figure), value in zip(row.parts, estimate.parts, strict=True)}
            found.append(
                {
                    "name": row.name,
                    "what": row.what,
                    "value": estimate.value,
                    "goal": row.goal,
                    "at_least": row.at_least,
                    "met": row.met(estimate.value),
                    "by": estimate.by,
                    "parts": parts,
                }
            )
    return found


def _exact(names: set[str]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for row in EXACT:
        if row.name in names:
            value = row.value()
            met = round(value, 6) <= row.goal
            found.append(
                {"name": row.name, "what": row.what, "value": value, "goal": row.goal, "at_least": False, "met": met}
            )
    return found


def _machine() -> dict[str, Any]:
    """What class of machine it is; not which one."""
    return {
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30),
        "architecture": platform.machine(),
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 1),
    }


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _refuse(why: str) -> Never:
    _tell(why)
    raise typer.Exit(1)
