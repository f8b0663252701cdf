"""What a person or a machine gets wrong before anything has begun: one sentence, and nothing half done."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from bench.cli import app
from tests import graph
from tests.chaos import __main__ as chaos

_WITHIN = 60  # seconds

# --- make


@pytest.fixture
def made(tmp_path):
    """Runs `make` in a folder that has nothing but a Makefile and requirements: its exit code and all that is said."""
    make = shutil.which("make")
    if make is None:
        pytest.skip("there is no make")
    shutil.copy(graph.ROOT / "Makefile", tmp_path)
    for name in ("requirements.txt", "requirements-dev.txt"):
        (tmp_path / name).write_text(f"nothing==1 --hash=sha256:{'0' * 64}\n")

    def run(*arguments, **environment):
        result = subprocess.run(
            [make, *arguments],
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "LC_ALL": "C", **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_WITHIN,
            check=False,
        )
        return result.returncode, result.stdout

    return run


@pytest.mark.parametrize("version", [(2, 7, 18), (3, 10, 13)], ids=str)
def test_a_python_that_is_too_old_is_named_with_the_remedy(made, tmp_path, version):
    old = tmp_path / "old-python"
    run = f"import sys; sys.version_info = {version!r}; exec(sys.argv[2])"
    old.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{run}" "$@"\n')
    old.chmod(0o755)
    code, said = made("up", f"PYTHON={old}")
    assert code != 0
    assert f"Python 3.11 or newer is needed, {sys.executable} is {version[0]}.{version[1]}: name another" in said
    assert "Traceback" not in said
    assert not (tmp_path / ".venv").exists()


def test_a_python_that_there_is_not_is_named_with_the_remedy(made, tmp_path):
    code, said = made("up", "PYTHON=nonsense")
    assert code != 0
    assert "there is no nonsense: name a Python of 3.11 or newer with `make PYTHON=" in said
    assert not (tmp_path / ".venv").exists()


def test_without_a_package_index_the_set_up_says_what_it_needs_and_is_repeated(made, tmp_path):
    nobody = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "0", "PIP_CONFIG_FILE": os.devnull}
    for _ in range(2):
        code, said = made("setup", f"PYTHON={sys.executable}", **nobody)
        assert code != 0
        assert "setting up .venv (once)" in said
        assert ".venv is not complete, for the reason above: it needs" in said
        assert "a package index (PyPI, or the one of PIP_INDEX_URL)" in said
        assert not (tmp_path / ".venv" / ".ready").exists()


@pytest.mark.parametrize(
    ("target", "variables", "expected"),
    [
        ("preview", ["STACK=local; echo broken"], ["-m", "sandbox", "preview", "--stack=local; echo broken"]),
        ("preview", ["STACK="], ["-m", "sandbox", "preview", "--stack="]),
        ("chaos", ["ORDERS=-1"], ["-m", "tests.chaos", "--orders=-1"]),
        ("chaos", ["SEED=1 2", "ORDERS="], ["-m", "tests.chaos", "--orders=", "--seed=1 2"]),
        ("chaos", ["REPORT=a b.json"], ["-m", "tests.chaos", "--orders=1000", "--json=a b.json"]),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else value,
)
def test_a_variable_is_handed_on_as_it_is(made, tmp_path, target, variables, expected):
    (tmp_path / "bin").mkdir()
    python = tmp_path / "bin" / "python"
    python.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    python.chmod(0o755)
    (tmp_path / "ready").touch()
    assert made(target, *variables, "BIN=bin", "READY=ready") == (0, "".join(f"{one}\n" for one in expected))


# --- what would be found out only after minutes


def test_a_storm_whose_report_can_not_be_written_does_not_begin(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(chaos, "rage", lambda *_: pytest.fail("the storm began"))
    for file in (tmp_path, tmp_path / "nowhere" / "report.json"):
        monkeypatch.setattr(sys, "argv", ["chaos", "--json", str(file)])
        with pytest.raises(SystemExit) as refused:
            chaos.main()
        assert refused.value.code == 2
        assert f"no file can be written at '{file}'" in capsys.readouterr().err


def test_a_measurement_whose_results_can_not_be_written_does_not_begin(tmp_path, monkeypatch):
    monkeypatch.setattr("bench.cli.measure", lambda *_, **__: pytest.fail("the measurement began"))
    (tmp_path / "a-file").write_text("mine")
    for file in (tmp_path, tmp_path / "a-file" / "results.json"):
        result = CliRunner().invoke(app, ["--output", str(file)])
        assert result.exit_code == 1
        assert result.output.startswith(f"--output {file} can't be written: ")


@pytest.mark.parametrize("written", ["", "{", "[]", "{}", json.dumps({"machine": {}})])
def test_results_that_are_none_are_named_and_the_document_stays(tmp_path, written):
    results, document = tmp_path / "results.json", tmp_path / "document.md"
    results.write_text(written)
    document.write_text("as it was")
    result = CliRunner().invoke(app, ["report", "--results", str(results), "--output", str(document)])
    assert (result.exit_code, result.output) == (
        1,
        "results.json is not what `python -m bench` writes: let it write another\n",
    )
    assert document.read_text() == "as it was"
