"""Which Pulumi engine runs here: the user's own, the one built before, or one built now.

The versions stand in `cli/go.mod` and `language/go.mod` and nowhere else.
"""

import fcntl
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, Self, TextIO

_HERE = Path(__file__).resolve().parent

# Stripped and without local paths; the CLI learns its version only from the linker.
_LINK = "-s -w -X github.com/pulumi/pulumi/sdk/v3/go/common/version.Version=v{version}"
_HOST = "pulumi-language-python"
_HOST_SCRIPT = "pulumi-language-python-exec"  # not Go: the host looks for it in its own folder
_EXECUTABLES = ("pulumi", _HOST, _HOST_SCRIPT)

_HEARTBEAT = 30.0  # seconds between signs of life where lines can't be rewritten
_TAIL = 10  # lines of Go's output that an error shows: its own errors rarely need more
_NEEDED = "It needs a Go module proxy (the public one, or that of GOPROXY) and room on the disk; then run it again."
_ANSWER_WITHIN = 60.0  # seconds; a `--version` that takes longer hangs


class EngineError(Exception):
    """There is no engine; the message says why and what to do, and needs no traceback."""


class _UnfitError(Exception):
    """Something found on PATH is not used; the message completes "because ..."."""


class Version(NamedTuple):
    """Compares by number: 3.100 is newer than 3.99."""

    major: int
    minor: int
    patch: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads `v3.1.0`, `go1.25`, `3.1.0-alpha.1` (suffixes are dropped)."""
        found = re.match(r"(?:v|go)?(\d+)\.(\d+)(?:\.(\d+))?", text.strip())
        if not found:
            raise ValueError(f"not a version: {text.strip()!r}")
        return cls(int(found[1]), int(found[2]), int(found[3] or 0))

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"


@dataclass(frozen=True, kw_only=True)
class Engine:
    """An engine that is ready to run."""

    pulumi: Path
    version: Version
    origin: Literal["installed", "cached", "built"]

    @property
    def bin(self) -> Path:
        """The folder to put on PATH; only a virtual environment may stand before it."""
        return self.pulumi.parent

    @property
    def executable_pack(self) -> bool:
        """Whether `--policy-pack` must name `policy/run`: the language host we build can't start a pack's folder."""
        return self.origin != "installed"


@dataclass(frozen=True, kw_only=True)
class Pin:
    """A Go module of ours that pins one executable of the engine."""

    folder: Path
    go: Version  # the oldest Go that can build it
    package: str
    module: str
    version: Version

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Reads the pin from the folder's `go.mod`."""
        text = (folder / "go.mod").read_text()
        go = re.search(r"^go (\S+)$", text, re.MULTILINE)
        tool = re.search(r"^tool (\S+)$", text, re.MULTILINE)
        required = re.findall(r"^(?:require)?\s+(\S+) v(\S+)", text, re.MULTILINE)
        pinned = [(module, version) for module, version in required if tool and tool[1].startswith(f"{module}/")]
        if not go or not tool or len(pinned) != 1:
            raise ValueError(f"{folder / 'go.mod'} must name one Go version, one tool and the module that has it")
        (module, version), *_ = pinned
        return cls(
            folder=folder, go=Version.parse(go[1]), package=tool[1], module=module, version=Version.parse(version)
        )

    @property
    def executable(self) -> str:
        return self.package.rpartition("/")[2]


class Progress:
    """Tells what is being done and for how long: one line rewritten on a terminal, else a line now and then."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._start = self._told = clock()
        self._stage = ""
        self._rewrites = stream.isatty() and os.environ.get("TERM") != "dumb"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end_line()

    def stage(self, text: str) -> None:
        """A new stage begins."""
        self._end_line()
        self._stage = text
        self._tell()

    def tick(self) -> None:
        """The stage goes on; call it about once a second."""
        if self._rewrites or self._clock() - self._told >= _HEARTBEAT:
            self._tell()

    def _end_line(self) -> None:
        if self._rewrites and self._stage:
            self._stream.write("\n")

    def _tell(self) -> None:
        self._told = self._clock()
        line = f"[{self._told - self._start:4.0f} s] {self._stage}"
        self._stream.write(f"\r\x1b[K{line}" if self._rewrites else f"{line}\n")
        self._stream.flush()


def locate(stream: TextIO | None = None) -> Engine:
    """Finds the engine, or builds it, which takes minutes and is told on `stream` (standard error).

    Raises EngineError when there is none and none can be built.
    """
    tell: TextIO = sys.stderr if stream is None else stream
    cli, language = Pin.read(_HERE / "cli"), Pin.read(_HERE / "language")
    cache = _cache()
    home = cache / _key(cli, language)
    no_pulumi, unfit = "pulumi is not on PATH", False
    try:
        if installed := _installed(cli.version, cache):
            return installed
    except _UnfitError as refused:
        no_pulumi, unfit = str(refused), True

    go = None
    if not _is_complete(home):
        needed = max(cli.go, language.go)
        try:
            go = _usable_go(cli.folder, needed)
        except _UnfitError as refused:
            raise EngineError(
                f"There is no Pulumi engine here, because {no_pulumi}, and none can be built, because {refused}: "
                f"install Pulumi {cli.version.major}.{cli.version.minor} or newer, or Go {needed} or newer."
            ) from refused
    if unfit:
        print(f"not using the installed Pulumi, because {no_pulumi}", file=tell, flush=True)
    if go is None:
        return _engine(home, cli.version, "cached")
    with Progress(tell) as progress:
        return _build_once(home, go, cli, language, progress)


def _cache() -> Path:
    configured = Path(os.environ.get("XDG_CACHE_HOME", ""))
    # The XDG specification says that a relative path is to be ignored.
    base = configured if configured.is_absolute() else _home() / ".cache"
    return base / "event-gateway" / "engine"


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError as error:
        raise EngineError("There is no home folder to keep the Pulumi engine in: set HOME.") from error


def _key(*pins: Pin) -> str:
    """Names a build by all that decides what comes out of it, so that a changed pin is never served from the cache."""
    digest = hashlib.sha256(_LINK.encode())
    for pin in pins:
        for file in ("go.mod", "go.sum"):
            digest.update((pin.folder / file).read_bytes())
    goos, goarch = _target()
    return "-".join([*(f"v{pin.version}" for pin in pins), goos, goarch, digest.hexdigest()[:12]])


def _target() -> tuple[str, str]:
    """GOOS and GOARCH of this machine, told without Go: a cached engine must be found where Go is not installed."""
    machine = platform.machine().lower()
    return platform.system().lower(), {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)


def _installed(wanted: Version, cache: Path) -> Engine | None:
    """The user's own Pulumi; None if there is none, _UnfitError if it is not fit."""
    # Our own build on PATH is not an installation: its language host is an old one.
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    path = os.pathsep.join(folder for folder in folders if not Path(folder).resolve().is_relative_to(cache.resolve()))
    found = shutil.which("pulumi", path=path)
    if not found:
        return None
    pulumi = Path(found).absolute()
    version = _version_of(pulumi)
    if version[:2] < wanted[:2]:
        raise _UnfitError(f"{pulumi} is {version}")
    # A link in another folder leaves the host behind, but Pulumi itself looks beside the link's target.
    for candidate in (pulumi, pulumi.resolve()):
        if os.access(candidate.parent / _HOST, os.X_OK):
            return Engine(pulumi=candidate, version=version, origin="installed")
    if not shutil.which(_HOST, path=path):
        raise _UnfitError(f"{pulumi} has no {_HOST} beside it or on PATH")
    return Engine(pulumi=pulumi, version=version, origin="installed")


def _version_of(pulumi: Path) -> Version:
    try:
        answer = subprocess.run(
            [pulumi, "version"],
            env=os.environ | {"PULUMI_SKIP_UPDATE_CHECK": "true"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_ANSWER_WITHIN,
            check=True,
        )
        return Version.parse(answer.stdout)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise _UnfitError(f"{pulumi} does not tell its version ({error})") from error


def _is_complete(home: Path) -> bool:
    """A build gets to `home` by one rename, so only someone's later hand can have made it incomplete."""
    return all(os.access(home / "bin" / name, os.X_OK) for name in _EXECUTABLES)


def _engine(home: Path, version: Version, origin: Literal["cached", "built"]) -> Engine:
    return Engine(pulumi=home / "bin" / "pulumi", version=version, origin=origin)


def _usable_go(module: Path, needed: Version) -> Path:
    """The user's Go, or _UnfitError."""
    found = shutil.which("go")
    if not found:
        raise _UnfitError("go is not on PATH")
    go = Path(found).absolute()
    try:
        # Asked in the module's folder, where a Go that may fetch a newer one of itself does so.
        answer = subprocess.run(
            [go, "env", "GOVERSION"], cwd=module, env=_go_environment(), capture_output=True, text=True, check=True
        )
        version = Version.parse(answer.stdout)
    except subprocess.CalledProcessError as error:
        raise _UnfitError(f"{go} fails ({' '.join(_tail(error.stderr)[-1:]) or error})") from error
    except (OSError, ValueError) as error:
        raise _UnfitError(f"{go} does not tell its version ({error})") from error
    if version < needed:
        raise _UnfitError(f"{go} is {version}")
    return go


def _go_environment() -> dict[str, str]:
    """The caller's environment, without the settings of his that would build something else."""
    goos, goarch = _target()
    return {
        "HOME": str(_home()),  # where it is not set: Go does not look it up, and has no cache without it
        **os.environ,
        "GO111MODULE": "on",
        "GOFLAGS": "-mod=readonly",  # go.sum decides; nothing rewrites it
        "GOWORK": "off",
        "GOOS": goos,
        "GOARCH": goarch,
        "CGO_ENABLED": "0",  # no C compiler needed, and the result runs on any libc
    }


@contextmanager
def _only_build(cache: Path, progress: Progress) -> Generator[None]:
    """Holds the one lock of all builds; waits for it, saying so. The kernel drops it however the process ends."""
    with (cache / "lock").open("a") as lock:
        waiting = False
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not waiting:
                    progress.stage("waiting for another build of the engine")
                waiting = True
                progress.tick()
                time.sleep(0.2)
        yield


def _build_once(home: Path, go: Path, cli: Pin, language: Pin, progress: Progress) -> Engine:
    """Builds, unless another process has built the same while this one waited for the lock."""
    cache = home.parent
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with _only_build(cache, progress):
            if _is_complete(home):
                return _engine(home, cli.version, "cached")
            _build(home, go, cli, language, progress)
            return _engine(home, cli.version, "built")
    except OSError as error:
        raise EngineError(
            f"The Pulumi engine can't be kept in {cache} ({error}): make room there and make it writable, "
            "or set XDG_CACHE_HOME to another folder."
        ) from error


def _build(home: Path, go: Path, cli: Pin, language: Pin, progress: Progress) -> None:
    """Builds in a folder of its own and renames that to `home` when all is there. The caller holds the lock."""
    progress.stage(f"building the Pulumi engine v{cli.version}, once per version (several minutes)")
    for leftover in home.parent.glob("*.building-*"):
        # A compiler that outlived its parent may still be writing there: what stays is removed the next time.
        shutil.rmtree(leftover, ignore_errors=True)
    staging = Path(tempfile.mkdtemp(prefix=f"{home.name}.building-", dir=home.parent))
    try:
        built, scratch = staging / "bin", staging / "tmp"
        built.mkdir()
        scratch.mkdir()
        for pin in (cli, language):
            # Listing fetches exactly what the build needs, so that a slow network is not taken for a slow compiler.
            progress.stage(f"fetching the modules of {pin.executable} v{pin.version}")
            _run_go(go, pin, ["list", "-deps", pin.package], scratch, progress)
            progress.stage(f"compiling {pin.executable} v{pin.version}")
            link = _LINK.format(version=pin.version)
            _run_go(
                go, pin, ["build", "-trimpath", "-ldflags", link, "-o", f"{built}/", pin.package], scratch, progress
            )
        progress.stage("checking what was built")
        source = _run_go(go, language, ["list", "-m", "-f", "{{.Dir}}", language.module], scratch, progress).strip()
        shutil.copyfile(Path(source, "python", "cmd", _HOST_SCRIPT), built / _HOST_SCRIPT)
        (built / _HOST_SCRIPT).chmod(0o755)
        try:
            version = _version_of(built / "pulumi")
        except _UnfitError as refused:
            raise EngineError(f"The Pulumi engine was built but does not run, because {refused}.") from refused
        if version != cli.version:
            raise EngineError(f"The Pulumi engine was built as {version}, though its go.mod says {cli.version}.")
        for name in _EXECUTABLES:
            _flush(built / name)
        shutil.rmtree(scratch)
        shutil.rmtree(home, ignore_errors=True)
        staging.rename(home)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    progress.stage("the engine is ready")


def _run_go(go: Path, pin: Pin, arguments: list[str], scratch: Path, progress: Progress) -> str:
    """Go's standard output, or EngineError with the end of its standard error."""
    with subprocess.Popen(
        [go, *arguments],
        cwd=pin.folder,
        env=_go_environment() | {"GOTMPDIR": str(scratch)},  # so that a killed build leaves nothing elsewhere
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    ) as process:
        try:
            while True:
                try:
                    output, errors = process.communicate(timeout=1)
                    break
                except subprocess.TimeoutExpired:
                    progress.tick()
        finally:
            process.terminate()
    if process.returncode == 0:
        return output
    ending = f"by signal {-process.returncode}" if process.returncode < 0 else f"with status {process.returncode}"
    said = [f"  {line}\n" for line in _tail(errors)]
    raise EngineError(
        f"{''.join(said)}The Pulumi engine could not be built: "
        f"`go {arguments[0]}` of {pin.executable} v{pin.version} ended {ending}"
        f"{', with the last words above.' if said else ' and said nothing.'} {_NEEDED}"
    )


def _tail(errors: str) -> list[str]:
    return [line for line in errors.splitlines() if line.strip() and not line.startswith("go: downloading")][-_TAIL:]


def _flush(file: Path) -> None:
    """To the disk, before the rename that declares it good: a power cut must not leave an empty file behind it."""
    with file.open("rb") as handle:
        os.fsync(handle.fileno())
