"""The local cloud as seen from the command line: finds it, starts it, ends it, asks it."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import urllib3

from sandbox.cloud import STATE_FILE, TEMPORARY
from sandbox.private import kept_in, make_folder

_ROOT = Path(__file__).resolve().parents[1]
_START_WITHIN = 60.0  # seconds; 2 are usual
_STOP_WITHIN = 120.0  # 5 are usual; what the functions' processes leave behind may take its time to be removed
_LOCK = "start.lock"
_http = urllib3.PoolManager(timeout=30, retries=False)
# Those that this process has started, by id: who ends one of them takes its exit status.
_started: dict[int, subprocess.Popen[bytes]] = {}


class SessionError(RuntimeError):
    """The local cloud does not start, or does not answer; the message says what to do."""


class RefusedError(SessionError):
    """The local cloud answers, and does not do what it was asked for: `reason` says why."""

    def __init__(self, what: str, reason: str) -> None:
        super().__init__(f"the local cloud refuses {what}: {reason}")
        self.reason = reason


@dataclass(frozen=True, kw_only=True)
class Session:
    """A local cloud that runs."""

    state: Path
    about: dict[str, Any]

    @property
    def instance(self) -> str:
        """Another one each time a cloud starts: what was on one is not on another."""
        return self.about["instance"]

    @property
    def attach(self) -> str:
        """The providers, as PULUMI_DEBUG_PROVIDERS takes them."""
        return self.about["providers"]

    @property
    def killed(self) -> bool:
        """Whether it has ended meanwhile."""
        return not _alive(self.about["pid"])

    def ask(self, what: str, **wanted: Any) -> Any:
        """An answer of the control address."""
        try:
            answer = _http.request(
                "POST",
                f"{self.about['urls']['control']}/{what}",
                headers={"Authorization": f"Bearer {self.about['token']}"},
                body=json.dumps(wanted),
            )
        except urllib3.exceptions.HTTPError as error:
            raise SessionError("the local cloud does not answer: has it ended? `make up` starts it anew") from error
        if answer.status != 200:  # noqa: PLR2004 - HTTP's word for yes
            raise RefusedError(what, _reason(answer.data.decode()))
        return answer.json()

    def stop(self) -> None:
        """End it, with everything that is on it."""
        _end(self.about["pid"], signal.SIGTERM, self.state)
        shutil.rmtree(self.state / TEMPORARY, ignore_errors=True)


def found(state: Path) -> Session | None:
    """The cloud that runs on this folder, if it is whole. What is left of one that isn't, is ended."""
    file = state / STATE_FILE
    if not file.exists():
        return None
    about = json.loads(file.read_text(encoding="utf-8"))
    session = Session(state=state, about=about)
    if not session.killed and _answers(about["ministack"]["url"]):
        with suppress(SessionError):
            session.ask("decisions")
            return session
    for pid in (about["pid"], about["ministack"]["pid"]):
        _end(pid, signal.SIGKILL, state)
    file.unlink(missing_ok=True)
    shutil.rmtree(state / TEMPORARY, ignore_errors=True)
    return None


def settled(state: Path) -> Session | None:
    """Like `found`, once no cloud starts on this folder: what is interrupted leaves one that soon serves."""
    if not (state / _LOCK).exists():
        return found(state)
    with _alone(state):
        return found(state)


def start(state: Path, *, region: str, program: Path = _ROOT, time_factor: float = 1.0) -> Session:
    """Start a cloud on this folder, as a process that outlives this one; or find the one that someone else started.

    Raises:
        SessionError: The folder can't be kept, or the cloud ended early, or does not serve in time; the message ends
            with its own last words.

    """
    make_folder(state, SessionError)
    with kept_in(state, SessionError), _alone(state) as lock:
        return found(state) or _start(state, region, program, time_factor, lock)


@contextmanager
def _alone(state: Path) -> Generator[int]:
    """Holds the lock of starts, and yields it for the cloud that is started.

    That one holds it too until it serves: whoever is killed meanwhile leaves no cloud that nobody knows.
    """
    with (state / _LOCK).open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock.fileno()


def _start(state: Path, region: str, program: Path, time_factor: float, lock: int) -> Session:
    log = state / "cloud.log"
    options = ["--region", region, "--program", str(program), "--time-factor", str(time_factor)]
    options += ["--lock", str(lock)]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "sandbox.cloud", str(state), *options],
            cwd=_ROOT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=[lock],
        )
    _started[process.pid] = process
    session = None
    try:
        session = _serving(process, state)
    finally:
        if session is None:
            # Not at once with SIGKILL: it ends what it has started.
            for how in (signal.SIGTERM, signal.SIGKILL):
                with suppress(SessionError):
                    _end(process.pid, how, state)
    if session is None:
        raise SessionError(f"the local cloud does not start: {log.read_text(errors='replace')[-2000:].strip()}")
    return session


def _serving(process: subprocess.Popen[bytes], state: Path) -> Session | None:
    """The cloud once it serves; None if it has ended, or its time is over."""
    deadline = time.monotonic() + _START_WITHIN
    while time.monotonic() < deadline and process.poll() is None:
        if (state / STATE_FILE).exists() and (session := found(state)):
            return session
        time.sleep(0.05)
    return None


def _reason(answer: str) -> str:
    try:
        return json.loads(answer)["message"]
    except (ValueError, KeyError):
        return answer


def _answers(url: str) -> bool:
    try:
        return _http.request("GET", f"{url}/_ministack/ready").status == 200  # noqa: PLR2004 - HTTP's word for yes
    except urllib3.exceptions.HTTPError:
        return False


def _alive(pid: int) -> bool:
    """Whether a process of ours has this id: a recycled id would run something else."""
    with suppress(OSError):
        return b"sandbox.cloud" in (command := Path(f"/proc/{pid}/cmdline").read_bytes()) or b"ministack" in command
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        return not Path("/proc").exists()
    return False


def _end(pid: int, how: signal.Signals, state: Path) -> None:
    """End a process; by force, also those of its group: what a MiniStack runs ends with it."""
    if _alive(pid):
        (os.killpg if how is signal.SIGKILL else os.kill)(pid, how)
    deadline = time.monotonic() + _STOP_WITHIN
    while _alive(pid):
        if time.monotonic() > deadline:
            raise SessionError(f"process {pid} does not end: see {state / 'cloud.log'}")
        time.sleep(0.02)
    if process := _started.pop(pid, None):
        process.wait(_STOP_WITHIN)
