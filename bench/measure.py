"""Samples: one fresh process each, one at a time, in a random order that mixes what is compared.

A figure of one run says little on a machine that does other things as well; ratios of figures from the same run do.
"""

from __future__ import annotations

import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Literal

ROOT = Path(__file__).resolve().parents[1]
# A median that lies further above the minimum than this, is that of a machine that did other things as well.
_QUIET = 1.2
# A short process is measured this often in a round: what else the machine does weighs more on it.
_SHORT = 3
_FIGURES = "figures: "
_LAUNCH = Path(__file__).with_name("launch.py")


class SampleError(RuntimeError):
    """A process that was measured failed; the message ends with what it said."""


class NothingMeasuredError(LookupError):
    """A figure that is asked for was not measured."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """Something to measure: the arguments of a Python interpreter.

    Each process yields `cpu` (seconds, its own and of the processes that it has waited for) and `rss` (its peak, MiB);
    what it says with `say` adds to these, or replaces them.
    """

    name: str
    arguments: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    slow: bool = False
    """Takes so long that a quick run has one round of it, a round one sample, and that nothing is run to warm up."""
    once: bool = False
    """Measures its own repetitions: one round is enough."""

    def rounds(self, wanted: int, *, quick: bool) -> int:
        """How many of so many rounds it takes part in."""
        return 1 if self.once or (self.slow and quick) else wanted

    @property
    def samples(self) -> int:
        """How many are taken of it in each of these."""
        return 1 if self.once or self.slow else _SHORT


Figures = Mapping[str, float]


def sample(case: Case) -> Figures:
    """Run the case once.

    Raises:
        SampleError: It did not end with 0.

    """
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result.json"
        said = _output(
            [sys.executable, "-I", "-S", str(_LAUNCH), str(result), sys.executable, "-W", "ignore", *case.arguments],
            # A set of strings is laid out by their hashes, which differ between processes unless told not to.
            {**_inherited(), "PYTHONHASHSEED": "0", **case.environment},
        )
        ended = json.loads(result.read_text(encoding="utf-8"))
    if ended["code"]:
        raise SampleError(f"{case.name} ended with {ended['code']}: {said.rstrip()[-2000:]}")
    return {**ended["used"], **_said(said)}


def _output(command: Sequence[str], environment: Mapping[str, str]) -> str:
    """What a process says until all of its group have ended, which are told to if this process is."""
    with subprocess.Popen(  # noqa: S603 - this interpreter, on a program of this package
        command,
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        process_group=0,
    ) as process:
        try:
            said, _ = process.communicate()
        except BaseException:
            os.killpg(process.pid, signal.SIGTERM)
            process.communicate()
            raise
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command, said)
    return said


def stoppable() -> None:
    """From now on SIGTERM ends this process by SystemExit, so that it takes with it what it has started."""
    signal.signal(signal.SIGTERM, _stop)


def _stop(number: int, _: FrameType | None) -> None:
    sys.exit(128 + number)


def _inherited() -> dict[str, str]:
    """What a process needs of the environment; the rest could make it do something else than on another machine."""
    return {name: os.environ[name] for name in ("PATH", "HOME", "XDG_CACHE_HOME", "TMPDIR") if name in os.environ}


def say(figures: Figures) -> None:
    """Hand figures to who runs this process as a sample."""
    print(_FIGURES + json.dumps(figures))  # noqa: T201 - how they get there


def _said(said: str) -> Figures:
    for line in reversed(said.splitlines()):
        if line.startswith(_FIGURES):
            return json.loads(line.removeprefix(_FIGURES))
    return {}


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Every sample of a run, by case, in the order of the rounds."""

    samples: Mapping[str, Sequence[Figures]]

    def values(self, case: str, figure: str) -> list[float]:
        """All values of one figure of a case.

        Raises:
            NothingMeasuredError: There are none.

        """
        found = [figures[figure] for figures in self.samples.get(case, ()) if figure in figures]
        if not found:
            raise NothingMeasuredError(f"{figure} of {case} was not measured")
        return found


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A value with what it was made of: one figure per part."""

    value: float
    by: Literal["median", "minimum"]
    parts: Sequence[float]


def estimate(parts: Iterable[Sequence[float]], formula: Callable[..., float]) -> Estimate:
    """The formula on the medians; on the minima where one of the medians is that of a machine that was not quiet."""
    every = list(parts)
    quiet = all(statistics.median(values) <= _QUIET * min(values) for values in every)
    chosen = [statistics.median(values) if quiet else min(values) for values in every]
    return Estimate(value=formula(*chosen), by="median" if quiet else "minimum", parts=chosen)


def measure(
    cases: Sequence[Case],
    *,
    rounds: int,
    quick: bool,
    seed: int,
    tell: Callable[[str], None],
    take: Callable[[Case], Figures] = sample,
    clock: Callable[[], float] = time.monotonic,
) -> Measured:
    """Samples of all cases, round by round; the order within a round is drawn anew each time.

    What is not slow is run once before and not counted, so that byte code and files are where they will be.
    """
    began = clock()
    chance = random.Random(seed)  # noqa: S311 - an order, not a secret
    samples: dict[str, list[Figures]] = {case.name: [] for case in cases}
    for case in cases:
        if not (case.slow or case.once):
            tell(f"[{clock() - began:4.0f} s] warming up: {case.name}")
            take(case)
    for number in range(1, rounds + 1):
        due = [case for case in cases if number <= case.rounds(rounds, quick=quick) for _ in range(case.samples)]
        chance.shuffle(due)
        for case in due:
            figures = take(case)
            samples[case.name].append(figures)
            said = ", ".join(f"{name} {value:.4g}" for name, value in figures.items())
            tell(f"[{clock() - began:4.0f} s] round {number} of {rounds}: {case.name}: {said}")
    return Measured(samples=samples)
