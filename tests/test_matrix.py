"""Which interpreters are tested, and that what documents say of versions is said once."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib

import pytest
import yaml

from engine import toolchain
from tests import matrix
from tests.graph import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
CHANGELOG = (ROOT / "CHANGELOG.md").read_text()
WORKFLOW = yaml.safe_load((ROOT / ".github" / "workflows" / "check.yml").read_text())


def program(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!{sys.executable} -IS\n{text}\n")
    path.chmod(0o755)
    return path.parent


def test_each_minor_version_is_tested_once_and_nothing_that_is_too_old(tmp_path):
    first = program(tmp_path / "a" / "python3.13", "print(3, 13)")
    program(tmp_path / "a" / "python3.10", "print(3, 10)")
    program(tmp_path / "a" / "python3.9", "print(3, 9)")
    program(tmp_path / "a" / "python3.13-config", "print(3, 13)")
    second = program(tmp_path / "b" / "python3.13", "print(3, 13)")
    program(tmp_path / "b" / "python3.11", "print(3, 11)")
    found = matrix.interpreters([first, tmp_path / "nowhere", second])
    assert [(one.name, one.path.parent) for one in found] == [("python3.11", second), ("python3.13", first)]


@pytest.mark.parametrize("text", ["print(3, 10)", "raise ImportError('no venv')"], ids=["another version", "no venv"])
def test_what_only_has_the_name_is_passed_over_for_the_next(tmp_path, text):
    shims = program(tmp_path / "shims" / "python3.12", text)
    real = program(tmp_path / "real" / "python3.12", "print(3, 12)")
    assert [one.path.parent for one in matrix.interpreters([shims, real])] == [real]


def test_what_can_not_be_run_is_passed_over(tmp_path):
    (tmp_path / "python3.12").mkdir()
    assert matrix.interpreters([tmp_path]) == []


def test_versions_of_pyenv_and_uv_are_found_before_they_are_active(tmp_path):
    for folder in (".pyenv/versions/3.12.1", ".local/share/uv/python/cpython-3.13.0", "elsewhere/3.14.0"):
        (tmp_path / folder).mkdir(parents=True)
    home = {"HOME": str(tmp_path), "PATH": "/x::/y"}
    found = [path.as_posix().removeprefix(f"{tmp_path}/") for path in matrix.folders(home)]
    assert found == [".pyenv/versions/3.12.1/bin", ".local/share/uv/python/cpython-3.13.0/bin", "/x", "/y"]
    elsewhere = matrix.folders(
        {"HOME": "/nowhere", "PYENV_ROOT": "/", "UV_PYTHON_INSTALL_DIR": f"{tmp_path}/elsewhere"}
    )
    assert [path.parent.name for path in elsewhere] == ["3.14.0"]


# Stands for a Python and for that of the environment which it makes; fails as told.
STAND_IN = """
import pathlib, sys
here, arguments = pathlib.Path({here!r}), sys.argv[1:]
with open(here / "calls", "a") as calls:
    calls.write(" ".join(arguments[:2]) + chr(10))
if (here / ("-".join(arguments[1:2]) + "-fails")).exists():
    sys.exit(1)
if arguments[1] == "venv":
    bin = pathlib.Path(arguments[2]) / "bin"
    bin.mkdir(parents=True)
    (bin / "python").symlink_to(here / "python3.12")
"""


@pytest.fixture
def interpreter(tmp_path):
    program(tmp_path / "python3.12", STAND_IN.format(here=str(tmp_path)))
    return matrix.Interpreter(12, tmp_path / "python3.12")


def calls(folder):
    return (folder / "calls").read_text().splitlines()


def test_an_environment_is_made_once(tmp_path, interpreter):
    python = matrix.environment_of(interpreter, tmp_path / "made")
    assert python.exists()
    assert matrix.environment_of(interpreter, tmp_path / "made") == python
    assert calls(tmp_path) == ["-m venv", "-m pip"]


def test_an_environment_that_was_left_half_done_is_made_anew(tmp_path, interpreter):
    (tmp_path / "pip-fails").touch()
    with pytest.raises(subprocess.CalledProcessError):
        matrix.environment_of(interpreter, tmp_path / "made")
    (tmp_path / "pip-fails").unlink()
    assert matrix.environment_of(interpreter, tmp_path / "made").exists()
    assert calls(tmp_path) == ["-m venv", "-m pip"] * 2


def test_another_lock_is_another_environment_and_the_old_one_goes(tmp_path, interpreter, monkeypatch):
    before = matrix.environment_of(interpreter, tmp_path / "made")
    monkeypatch.setattr(matrix, "LOCK", "requirements.txt")
    assert matrix.environment_of(interpreter, tmp_path / "made") != before
    assert len(list((tmp_path / "made").iterdir())) == 1


@pytest.mark.parametrize(
    ("fails", "code", "said"),
    [("nothing", 0, ["tested: python3.12"]), ("pytest", 1, ["tested: python3.12", "failed: python3.12"])],
)
def test_what_failed_is_named(tmp_path, interpreter, monkeypatch, capsys, fails, code, said):
    (tmp_path / f"{fails}-fails").touch()
    monkeypatch.setattr(matrix, "interpreters", lambda places: [interpreter])
    monkeypatch.setattr(matrix, "environment_of", lambda found, base: found.path)
    assert matrix.main() == code
    assert capsys.readouterr().out.splitlines() == said
    assert calls(tmp_path) == ["-m pytest"]


def test_a_machine_without_any_is_no_success(monkeypatch, capsys):
    monkeypatch.setattr(matrix, "interpreters", lambda places: [])
    assert matrix.main() == 1
    assert capsys.readouterr().out == "tested: none\n"


def test_everything_that_is_tested_there_is_here():
    assert [path for path in matrix.TESTS if not (ROOT / path).exists()] == []


# --- versions ---------------------------------------------------------------------------------------------------------


def test_the_oldest_python_is_the_same_everywhere():
    oldest = ".".join(map(str, matrix.OLDEST))
    assert PROJECT["project"]["requires-python"] == f">={oldest}"
    assert PROJECT["tool"]["pyright"]["pythonVersion"] == oldest
    assert PROJECT["tool"]["ruff"]["target-version"] == f"py{oldest.replace('.', '')}"
    makefile = (ROOT / "Makefile").read_text()
    assert f"v >= {matrix.OLDEST}" in makefile
    assert f"--python-version {oldest} " in makefile
    tested = WORKFLOW["jobs"]["check"]["strategy"]["matrix"]["python"]
    assert tested[0] == oldest
    assert tested == sorted(tested, key=lambda version: int(version.partition(".")[2]))


def test_the_changelog_says_what_is_supported():
    supported = CHANGELOG.partition("\n## Supported\n")[2].partition("\n## ")[0]
    assert f"Python {'.'.join(map(str, matrix.OLDEST))} or newer" in supported
    for version in WORKFLOW["jobs"]["check"]["strategy"]["matrix"]["python"]:
        assert f"| {version} |" in supported
    cli = toolchain.Pin.read(ROOT / "engine" / "cli").version
    assert f"Pulumi CLI {cli.major}.{cli.minor} or newer" in supported
    pinned = [dependency for dependency in PROJECT["project"]["dependencies"] if dependency.startswith("pulumi")]
    assert len(pinned) == 4
    assert all(f"`{dependency}`" in supported for dependency in pinned)


def test_there_is_one_version_and_the_changelog_has_it_first():
    version = PROJECT["project"]["version"]
    assert yaml.safe_load((ROOT / "policy" / "PulumiPolicy.yaml").read_text())["version"] == version
    released = re.findall(r"^## \[(\d+\.\d+\.\d+)\] - \d{4}-\d\d-\d\d$", CHANGELOG, re.MULTILINE)
    assert released[0] == version
    assert released == sorted(released, key=lambda text: [int(part) for part in text.split(".")], reverse=True)
    said = re.findall(r"event-gateway@v(\S+)", (ROOT / "README.md").read_text())
    assert set(said) == {version}


def test_a_change_is_filed_under_one_of_the_kinds_of_keep_a_changelog():
    entries = CHANGELOG.partition("\n## [")[2]
    kinds = re.findall(r"^### (.*)$", entries, re.MULTILINE)
    assert kinds
    assert set(kinds) <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_ci_has_what_the_oracles_need():
    used = {step["uses"].partition("@")[0]: step for step in WORKFLOW["jobs"]["check"]["steps"] if "uses" in step}
    assert used["actions/setup-java"]["with"]["java-version"] == "17"
    assert all(re.search(r"@[0-9a-f]{40}$", step["uses"]) for step in used.values())
