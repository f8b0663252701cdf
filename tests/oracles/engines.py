"""AWS's Event Ruler and two versions of Apache Velocity, in one Java process that is asked line by line.

`Oracle.java` and the archives of `pom.xml` are built once per version of these files, into the user's cache beside the
Pulumi engine. Whoever finds no build makes it; others wait for it.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Self

from engine import toolchain
from sandbox.vtl import Rendered

VELOCITIES = ("velocity-1.7", "velocity-2.4.1")

_HERE = Path(__file__).resolve().parent
_JAVA = 17
_ARCHIVES = "velocity-1.7.jar", "velocity-engine-core-2.4.1.jar"
_COPY = "org.apache.maven.plugins:maven-dependency-plugin:copy-dependencies"
_FETCHED_WITHIN = 300.0  # seconds; 6 MB of archives and Maven's own plugins, from a repository that answers
# What Maven says where it reaches no repository. Whatever else it says is a mistake of ours.
_OUT_OF_REACH = ("Could not transfer", "in offline mode")


class UnavailableError(Exception):
    """This machine can't have the engines; the message says why, and what to do."""


class BuildError(Exception):
    """The engines can't be built as these files say."""


class Refused(NamedTuple):
    """An engine can't do what it was asked."""

    why: str


class Build(NamedTuple):
    """What runs the engines."""

    java: Path
    home: Path

    @property
    def command(self) -> list[str]:
        jars = self.home / "jars"
        # The Velocities have the same names of classes: each is an argument and gets a class loader of its own.
        shared = [str(jar) for jar in sorted(jars.iterdir()) if jar.name not in _ARCHIVES]
        paths = os.pathsep.join([str(self.home / "classes"), *shared])
        velocities = [str(jars / name) for name in _ARCHIVES]
        return [str(self.java), "-Xmx512m", "-XX:+UseSerialGC", "-cp", paths, "Oracle", *velocities]


class Oracle:
    """The running engines. Each answers with what it makes of a case, or with `Refused`."""

    def __init__(self, build: Build) -> None:
        self._process = subprocess.Popen(
            build.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="ascii"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def matches(self, pattern: str, event: Any) -> bool | Refused:
        """Whether Event Ruler takes `event` for `pattern`, a JSON text."""
        answer = self._ask(engine="ruler", pattern=pattern, event=json.dumps(event))
        return Refused(answer["refused"]) if "refused" in answer else answer["matches"]

    def render(
        self,
        velocity: str,
        template: str,
        *,
        body: str,
        context: Any = None,
        parameters: dict[str, dict[str, str]] | None = None,
        stage_variables: dict[str, str] | None = None,
    ) -> Rendered | Refused:
        """What one of `VELOCITIES` makes of a mapping template."""
        places = {"path": {}, "querystring": {}, "header": {}}
        answer = self._ask(
            engine=velocity,
            template=template,
            body=body,
            context=context or {},
            parameters=places | (parameters or {}),
            stageVariables=stage_variables or {},
        )
        return Refused(answer["refused"]) if "refused" in answer else Rendered(**answer)

    def _ask(self, **question: Any) -> dict[str, Any]:
        line = json.dumps(question)
        try:
            self._process.stdin.write(f"{line}\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            raise RuntimeError(f"the engines ended with status {self._process.wait()} at this question: {line}")
        return json.loads(answer)


def build(sources: Path = _HERE) -> Build:
    """The engines of these sources, from the cache or built now.

    Raises:
        UnavailableError: There is no Java or no Maven here, or nowhere to fetch the archives from.
        BuildError: An archive is not the one that is pinned, or the program doesn't compile.

    """
    javac = _javac()
    cache = toolchain._cache().parent / "oracles"
    home = cache / _key(sources)
    found = Build(java=javac.with_name("java"), home=home)
    if _is_complete(home, sources):
        return found
    cache.mkdir(parents=True, exist_ok=True)
    with _alone(cache):
        if not _is_complete(home, sources):
            _make(home, javac, sources)
    return found


def _javac() -> Path:
    needed = f"Java {_JAVA} or newer is needed, as a JDK"
    found = shutil.which("javac")
    if not found:
        raise UnavailableError(f"{needed}: there is no javac on PATH")
    javac = Path(found).resolve()
    answer = subprocess.run(
        [javac, "-version"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    version = re.match(r"javac (\d+)", answer.stdout)
    if not version or int(version[1]) < _JAVA:
        raise UnavailableError(f"{needed}: {found} says {answer.stdout.strip()!r}")
    return javac


def _key(sources: Path) -> str:
    """Names a build by all that decides what comes out of it."""
    digest = hashlib.sha256()
    for name in ("Oracle.java", "jars.sha256", "pom.xml"):
        digest.update((sources / name).read_bytes())
    return digest.hexdigest()[:16]


def _pinned(sources: Path) -> dict[str, str]:
    """The SHA-256 of each archive by its name."""
    pairs = (line.split() for line in (sources / "jars.sha256").read_text().splitlines())
    return {name: digest for digest, name in pairs}


def _present(home: Path) -> dict[str, str]:
    return {jar.name: hashlib.sha256(jar.read_bytes()).hexdigest() for jar in (home / "jars").glob("*")}


def _is_complete(home: Path, sources: Path) -> bool:
    return (home / "classes" / "Oracle.class").exists() and _present(home) == _pinned(sources)


@contextmanager
def _alone(cache: Path):
    """Holds the lock of all builds; the kernel drops it however the process ends."""
    with (cache / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _make(home: Path, javac: Path, sources: Path) -> None:
    """Builds in a folder of its own and renames that to `home` when all is there. The caller holds the lock."""
    staging = Path(tempfile.mkdtemp(prefix=f"{home.name}.building-", dir=home.parent))
    try:
        _fetch(staging / "jars", sources)
        present, pinned = _present(staging), _pinned(sources)
        if others := sorted(name for name in present | pinned if present.get(name) != pinned.get(name)):
            raise BuildError(f"not the archives that jars.sha256 pins: {', '.join(others)}")
        command = [javac, "--release", str(_JAVA), "-cp", staging / "jars" / "*", "-d", staging / "classes"]
        compiled = subprocess.run(
            [*command, sources / "Oracle.java"], capture_output=True, text=True, errors="replace", check=False
        )
        if compiled.returncode:
            raise BuildError(f"Oracle.java doesn't compile:\n{compiled.stderr}")
        shutil.rmtree(home, ignore_errors=True)
        staging.rename(home)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _fetch(jars: Path, sources: Path) -> None:
    maven = shutil.which("mvn")
    if not maven:
        raise UnavailableError("Maven is needed to fetch the engines: there is no mvn on PATH")
    options = ["--batch-mode", "--quiet", "--strict-checksums", "--file", sources / "pom.xml"]
    try:
        fetched = subprocess.run(
            [maven, *options, _COPY, f"-DoutputDirectory={jars}"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=_FETCHED_WITHIN,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise UnavailableError(f"Maven has not fetched the engines within {_FETCHED_WITHIN:.0f} s") from error
    if fetched.returncode and any(words in fetched.stdout for words in _OUT_OF_REACH):
        raise UnavailableError("Maven reaches no repository, and has not kept all of the engines from earlier")
    if fetched.returncode:
        raise BuildError(f"mvn ended with status {fetched.returncode}:\n{fetched.stdout}")
