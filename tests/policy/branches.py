"""Every branch of the pack is taken by its tests: measured while they run, judged when all of them have.

A pytest plugin and not a test, since with several processes no test sees what the others do.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Generator
from pathlib import Path

import coverage
import pytest

from tests import graph

FOLDER = graph.ROOT / "build" / "coverage"
# Run by the engine, or by `make docs`, in processes of their own: tests/policy/test_start.py, test_reference.py.
ELSEWHERE = ("*/policy/__main__.py",)


def pytest_sessionstart(session: pytest.Session) -> None:
    if not hasattr(session.config, "workerinput"):
        shutil.rmtree(FOLDER, ignore_errors=True)
        FOLDER.mkdir(parents=True)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Measure the tests of the pack, and none of the others: it slows them down."""
    if not _of_the_pack(item):
        return (yield)
    measured = _measured(item.config)
    measured.start()
    try:
        return (yield)
    finally:
        measured.stop()


@pytest.hookimpl(wrapper=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> Generator[None, object, object]:
    if _KEY in session.config.stash:
        session.config.stash[_KEY].save()
    result = yield
    if not hasattr(session.config, "workerinput") and exitstatus == pytest.ExitCode.OK and _all_ran(session.config):
        missing = _missing()
        if missing:
            reporter = session.config.pluginmanager.get_plugin("terminalreporter")
            reporter.section("branches of policy/ that no test takes", red=True)
            for file, branches in missing.items():
                reporter.line(f"{file}: {', '.join(f'{line}->{to}' for line, to in branches)}")
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
    return result


_KEY = pytest.StashKey[coverage.Coverage]()


def _of_the_pack(item: pytest.Item) -> bool:
    return item.path.is_relative_to(Path(__file__).parent)


def _measured(config: pytest.Config) -> coverage.Coverage:
    if _KEY not in config.stash:
        config.stash[_KEY] = coverage.Coverage(
            data_file=str(FOLDER / "data"),
            data_suffix=True,
            branch=True,
            source=[str(graph.ROOT / "policy")],
            omit=ELSEWHERE,
            config_file=False,
            messages=False,
        )
    return config.stash[_KEY]


def _all_ran(config: pytest.Config) -> bool:
    """Whether nothing of the pack's tests was left out by arguments."""
    chosen = config.option.keyword or config.option.markexpr or config.option.deselect or config.option.ignore
    whole = {graph.ROOT, graph.ROOT / "tests", Path(__file__).parent}
    return not chosen and any(Path(argument).resolve() in whole for argument in config.args)


def _missing() -> dict[str, list[list[int]]]:
    """Branches that were not taken, by file; lines that run on import are no branches."""
    total = coverage.Coverage(data_file=str(FOLDER / "data"), branch=True, config_file=False, messages=False)
    total.exclude("if TYPE_CHECKING:")
    total.combine([str(FOLDER)])
    report = FOLDER / "report.json"
    total.json_report(outfile=str(report), ignore_errors=False)
    files = json.loads(report.read_text())["files"]
    assert files, "nothing of policy/ was measured"
    return {file: found["missing_branches"] for file, found in files.items() if found["missing_branches"]}
