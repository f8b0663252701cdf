"""Starts the providers as a process, for as long as a `with` block lasts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

_ROOT = Path(__file__).resolve().parents[2]
_STOP_WITHIN = 5.0  # seconds; as soon as its input ends is usual


class ProvidersError(RuntimeError):
    """The providers did not start; why, they have said on standard error."""


class Providers:
    """A running process that serves both packages. It ends with the block, and with this process however that ends."""

    def __init__(self) -> None:
        # The paths of assets are relative to where the program runs, and are the engine's affair: it sends hashes.
        self._process = subprocess.Popen(
            [sys.executable, "-m", "sandbox.provider"],
            cwd=_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            # Ctrl-C is for the engine, which winds up what it has begun, and needs its providers for that.
            start_new_session=True,
        )
        assert self._process.stdout  # noqa: S101 - asked for above
        self.attach = self._process.stdout.readline().strip()
        """What PULUMI_DEBUG_PROVIDERS has to be for an engine to use these."""
        if not self.attach:
            self.stop()
            raise ProvidersError(f"the local providers ended with {self._process.returncode} before they served")

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def killed(self) -> bool:
        """Whether it has ended before it was told to."""
        return self._process.poll() is not None

    def stop(self) -> None:
        """End the process. Once stopped, does nothing."""
        assert self._process.stdin and self._process.stdout  # noqa: S101, PT018 - asked for above
        self._process.stdin.close()
        self._process.stdout.close()
        try:
            self._process.wait(_STOP_WITHIN)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
