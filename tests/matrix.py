"""The tests that need no cloud, under every Python of 3.11 or newer on this machine: `make matrix`."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from tests.graph import ROOT

OLDEST = (3, 11)
LOCK = "requirements-dev.txt"
# What the program, its functions and the pack do in this interpreter. The rest is the local cloud's and the engine's,
# which `make test` runs in the one that made .venv.
TESTS = (
    "tests/bench/test_counts.py",
    "tests/components",
    "tests/consumer",
    "tests/contracts",
    "tests/handlers",
    "tests/policy/test_own_program.py",
    "tests/policy/test_start.py",
    "tests/test_architecture.py",
    "tests/test_licences.py",
    "tests/test_program.py",
    "tests/test_settings.py",
)
_NAME = re.compile(r"python3\.(\d+)")
_PROBE = "import sys, venv, ensurepip; print(*sys.version_info[:2])"


class Interpreter(NamedTuple):
    minor: int
    path: Path

    @property
    def name(self) -> str:
        return f"python3.{self.minor}"


def folders(environment: Mapping[str, str]) -> list[Path]:
    """Where interpreters are: those of pyenv and uv, whether active or not, then the PATH."""
    home = Path(environment.get("HOME", "/"))
    pyenv = Path(environment.get("PYENV_ROOT") or home / ".pyenv") / "versions"
    data = Path(environment.get("XDG_DATA_HOME") or home / ".local" / "share")
    uv = Path(environment.get("UV_PYTHON_INSTALL_DIR") or data / "uv" / "python")
    installed = [folder / "bin" for root in (pyenv, uv) if root.is_dir() for folder in sorted(root.iterdir())]
    return [*installed, *map(Path, filter(None, environment.get("PATH", "").split(os.pathsep)))]


def interpreters(places: Iterable[Path]) -> list[Interpreter]:
    """One for each minor version, the first that can make a virtual environment; by version."""
    found: dict[int, Interpreter] = {}
    for place in places:
        for path in sorted(place.glob("python3.*")) if place.is_dir() else ():
            name = _NAME.fullmatch(path.name)
            if name and (3, int(name[1])) >= OLDEST and int(name[1]) not in found and _answers(path, int(name[1])):
                found[int(name[1])] = Interpreter(int(name[1]), path)
    return [found[minor] for minor in sorted(found)]


def _answers(path: Path, minor: int) -> bool:
    """A shim of pyenv may have the name of what is not active, and Debian's python3 may lack venv."""
    try:
        answer = subprocess.run([path, "-I", "-c", _PROBE], capture_output=True, text=True, check=False, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return answer.stdout.split() == ["3", str(minor)]


def environment_of(interpreter: Interpreter, base: Path) -> Path:
    """Its Python with the locked requirements, made once per interpreter and lock."""
    lock = (ROOT / LOCK).read_bytes()
    key = hashlib.sha256(lock + os.fsencode(interpreter.path.resolve())).hexdigest()[:12]
    folder = base / f"{interpreter.name}-{key}"
    ready, python = folder / ".ready", folder / "bin" / "python"
    if not ready.exists():
        print(f"{interpreter.name}: installing {LOCK} (once)", flush=True)
        for old in base.glob(f"{interpreter.name}-*"):
            shutil.rmtree(old)
        subprocess.run([interpreter.path, "-m", "venv", folder], check=True)
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "--require-hashes", "--requirement", ROOT / LOCK], check=True)
        ready.touch()
    return python


def main() -> int:
    failed: list[str] = []
    found = interpreters(folders(os.environ))
    for interpreter in found:
        try:
            python = environment_of(interpreter, ROOT / "build" / "matrix")
            subprocess.run([python, "-m", "pytest", "-q", *TESTS], cwd=ROOT, check=True)
        except subprocess.CalledProcessError:
            failed.append(interpreter.name)
    print(f"tested: {', '.join(interpreter.name for interpreter in found) or 'none'}")
    if failed:
        print(f"failed: {', '.join(failed)}")
    return 1 if failed or not found else 0


if __name__ == "__main__":
    sys.exit(main())
