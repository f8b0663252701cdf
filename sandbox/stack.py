"""A stack of a Pulumi program on the local providers: the real engine, with its state in one folder and no account.

The folder (mode 0700) holds a file backend, the engine's own home, a passphrase, and the configuration: a copy of the
tracked `Pulumi.<stack>.yaml` with secrets made for it. No file of the program changes.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import secrets
import subprocess
import sys
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, Protocol, TextIO

import yaml

from engine import Engine, locate
from sandbox.private import kept_in, make_folder, write_private
from sandbox.provider import Providers

ROOT = Path(__file__).resolve().parents[1]
_PACK = ROOT / "policy"
_CONFIG = "--policy-pack-config"
_ORPHAN_ENDS_WITHIN = 120.0  # seconds; an update takes 15 on an idle machine
# What would lead the engine, the program or a provider to something that is not ours.
_FOREIGN = ("AWS_", "PULUMI_", "PYTHON", "VIRTUAL_ENV")


class Attachable(Protocol):
    """Providers that are served already."""

    @property
    def attach(self) -> str: ...

    @property
    def killed(self) -> bool: ...


class StackError(RuntimeError):
    """The engine could not be prepared; the message ends with what it said."""


@dataclass(frozen=True)
class Run:
    """How a run of the engine ended: 0 is success. `output` is empty if it went to the terminal."""

    code: int
    output: str = ""


@dataclass(frozen=True, kw_only=True)
class Stack:
    """A stack that no other process runs. Flags are the engine's own, such as `--diff`."""

    name: str
    program: Path
    state: Path
    engine: Engine
    providers: Attachable
    pack: Path | None
    streams: bool

    def preview(self, *flags: str) -> Run:
        return self._run("preview", *self._policies(flags), *flags)

    def up(self, *flags: str) -> Run:
        """Preview, then deploy if nothing mandatory is violated."""
        return self._run("up", "--yes", *self._policies(flags), *flags)

    def destroy(self, *flags: str) -> Run:
        return self._run("destroy", "--yes", *flags)

    def export(self) -> dict[str, Any]:
        """The state as the engine keeps it; secrets are encrypted."""
        return json.loads(self._ask("stack", "export", "--stack", self.name))["deployment"]

    def outputs(self) -> dict[str, Any]:
        """What the program exports."""
        return json.loads(self._ask("stack", "output", "--json", "--stack", self.name))

    def _policies(self, flags: Sequence[str]) -> list[str]:
        """The pack with its own `config.json`, unless the flags name another configuration."""
        if self.pack is None:
            return []
        pack = ["--policy-pack", str(self.pack / "run" if self.engine.executable_pack else self.pack)]
        config = self.pack / "config.json"
        return [*pack, _CONFIG, str(config)] if config.exists() and _CONFIG not in flags else pack

    def _run(self, operation: str, *flags: str) -> Run:
        command = [
            *(self.engine.pulumi, operation, "--stack", self.name, "--config-file", self._config_file),
            *("--non-interactive", "--color", "never" if {"CI", "NO_COLOR"} & os.environ.keys() else "auto", *flags),
        ]
        # Into a file and not a pipe: what an engine that was killed leaves behind would keep a pipe open for minutes.
        with TemporaryFile("w+") as output:
            target = None if self.streams else output
            process = subprocess.Popen(
                command,
                cwd=self.program,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=target,
                stderr=target,
            )
            while True:
                try:
                    code = process.wait()
                except KeyboardInterrupt:
                    # The terminal has told the engine too, which ends when it has wound up what it had begun.
                    continue
                break
            output.seek(0)
            said = output.read()
        if code and self.providers.killed:
            said += self._explain("the local providers were ended from outside: run it again")
        return Run(code, said)

    def _explain(self, what: str) -> str:
        """Where the engine's own words go: to the terminal, or into the output that is returned."""
        if self.streams:
            sys.stderr.write(f"{what}\n")
            return ""
        return f"{what}\n"

    def _environment(self) -> dict[str, str]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
        path = [str(Path(sys.executable).parent), str(self.engine.bin), environment.get("PATH", os.defpath)]
        return environment | {
            "PATH": os.pathsep.join(path),
            "VIRTUAL_ENV": sys.prefix,
            "PYTHONPATH": str(Path(__file__).parent / "quiet"),
            "PULUMI_HOME": str(self.state / "home"),
            # The state is written whole after each step: without a digest beside it that nothing reads.
            "PULUMI_BACKEND_URL": f"file://{self.state / 'backend'}?metadata=skip",
            "PULUMI_CONFIG_PASSPHRASE_FILE": str(self.state / "passphrase"),
            "PULUMI_DEBUG_PROVIDERS": self.providers.attach,
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            # What it has written is garbage at once: memory for a few more copies spares it most of the collecting.
            "GOGC": "400",
        }

    @property
    def _config_file(self) -> Path:
        return self.state / f"Pulumi.{self.name}.yaml"

    def prepare(self, settings: Path, tell: TextIO) -> None:
        """Create the stack if need be, and give it the configuration of `settings` as it is now."""
        (self.state / "backend").mkdir(exist_ok=True)
        self._take_over(tell)
        passphrase = self.state / "passphrase"
        if not passphrase.exists():
            write_private(passphrase, secrets.token_urlsafe(32))
        # The engine writes the configuration of a new stack beside the project file it finds: here, not in the program.
        project = yaml.safe_load((self.program / "Pulumi.yaml").read_text(encoding="utf-8"))["name"]
        (self.state / "Pulumi.yaml").write_text(yaml.safe_dump({"name": project, "runtime": "python"}))
        if not (self.state / "backend" / ".pulumi" / "stacks" / project / f"{self.name}.json").exists():
            self._config_file.unlink(missing_ok=True)
            self._ask("stack", "init", self.name, "--no-select")
        self._configure(settings, project)

    def _take_over(self, tell: TextIO) -> None:
        """Remove the backend's locks of engines that are gone. An orphan soon is: it ends its run."""
        for file in (self.state / "backend" / ".pulumi" / "locks").rglob("*.json"):
            pid = json.loads(file.read_text())["pid"]
            if _is_running(pid):
                print(
                    f"waiting for process {pid}, which a killed run on stack {self.name} has left",
                    file=tell,
                    flush=True,
                )
            given_up = time.monotonic() + _ORPHAN_ENDS_WITHIN
            while _is_running(pid):
                if time.monotonic() > given_up:
                    raise StackError(f"process {pid} still runs on stack {self.name}: end it, or remove {file}")
                time.sleep(0.1)
            file.unlink(missing_ok=True)

    def _configure(self, settings: Path, project: str) -> None:
        # An engine that is killed while it makes a stack leaves one without; the salt is made again with a secret.
        ours = mapping(self._config_file) if self._config_file.exists() else {}
        theirs = mapping(settings) if settings.exists() else {}
        # What is encrypted there, is so with a key that is not here.
        config = {key: value for key, value in (theirs.get("config") or {}).items() if not _is_encrypted(value)}
        carriers = config.get(f"{project}:carriers")
        needed = [f"{project}:{name}Secret" for name in _names(carriers)]
        made = {key: value for key, value in (ours.get("config") or {}).items() if _is_encrypted(value)}
        config |= {key: made[key] for key in needed if key in made and key not in config}
        write_private(self._config_file, yaml.safe_dump({**ours, "config": config}, sort_keys=False))
        for key in needed:
            if key not in config:
                self._ask("config", "set", "--secret", key, "--stack", self.name, given=self._secret(key))

    def _secret(self, key: str) -> str:
        """A secret made up once, also kept in clear for who plays the carrier."""
        file = self.state / "secrets.json"
        known: dict[str, str] = json.loads(file.read_text()) if file.exists() else {}
        if key not in known:
            known[key] = secrets.token_urlsafe(24)
            write_private(file, json.dumps(known))
        return known[key]

    def _ask(self, *arguments: str, given: str = "") -> str:
        answer = subprocess.run(
            [self.engine.pulumi, "--non-interactive", "-C", self.state, *arguments],
            env=self._environment(),
            input=given,
            capture_output=True,
            text=True,
            check=False,
        )
        if answer.returncode:
            raise StackError(f"`pulumi {' '.join(arguments[:2])}` failed with {answer.returncode}: {answer.stderr}")
        return answer.stdout


@contextmanager
def opened(
    name: str = "local",
    *,
    program: Path = ROOT,
    settings: Path | None = None,
    state: Path | None = None,
    pack: Path | None = _PACK,
    providers: Attachable | None = None,
    streams: bool = False,
    tell: TextIO | None = None,
) -> Generator[Stack]:
    """The stack `name` of `program`, for this process alone; if another one has it, waits, and says so on `tell`.

    `settings` is the tracked configuration (`Pulumi.<name>.yaml` of the program), `state` the folder for everything
    that this writes (`build/state/<name>`). Without `providers`, starts them. `streams`: the engine writes to the
    terminal.

    Raises:
        StackError: There is no such stack, its settings are no YAML, or the state can't be kept.

    """
    if settings is None:
        settings = program / f"Pulumi.{name}.yaml"
        stacks = sorted(file.suffixes[0].removeprefix(".") for file in program.glob("Pulumi.*.yaml"))
        if stacks and name not in stacks:
            raise StackError(f"there is no Pulumi.{name}.yaml: the stacks of this program are {', '.join(stacks)}")
    state = (state or ROOT / "build" / "state" / name).absolute()
    make_folder(state, StackError)
    with kept_in(state, StackError):
        (state / "lock").touch()
    with _locked(state / "lock", f"stack {name}", tell or sys.stderr):
        engine = locate()
        with Providers() if providers is None else nullcontext(providers) as serving:
            stack = Stack(
                name=name,
                program=program.absolute(),
                state=state,
                engine=engine,
                providers=serving,
                pack=pack,
                streams=streams,
            )
            with kept_in(state, StackError):
                stack.prepare(settings, tell or sys.stderr)
            yield stack


@contextmanager
def _locked(file: Path, what: str, tell: TextIO) -> Generator[None]:
    """Holds the lock; the kernel drops it however the process ends."""
    with file.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"waiting for another run on {what}", file=tell, flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _is_running(pid: int) -> bool:
    """Whether an engine has this id; it may be somebody else's by now."""
    command = Path(f"/proc/{pid}/cmdline")
    if Path("/proc/self").exists():
        return command.exists() and b"pulumi" in command.read_bytes()
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def mapping(settings: Path) -> dict[str, Any]:
    """A stack's tracked configuration.

    Raises:
        StackError: It is no YAML with a mapping `config`.

    """
    try:
        document = yaml.safe_load(settings.read_text(encoding="utf-8")) or {}
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise StackError(f"{settings.name} is no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(document, dict) or not isinstance(document.get("config") or {}, dict):
        raise StackError(f"{settings.name} must hold a mapping with the mapping `config`")
    return document


def _names(carriers: Any) -> list[str]:
    """The carriers that a secret can be made for; what is no carrier, the program refuses."""
    listed: list[Any] = carriers if isinstance(carriers, list) else []
    named = [str(one["name"]) for one in listed if isinstance(one, dict) and "name" in one]
    return [name for name in named if re.fullmatch(r"[\w.-]+", name)]


def _is_encrypted(value: Any) -> bool:
    return isinstance(value, Mapping) and "secure" in value
