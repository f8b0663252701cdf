"""What happens to the local cloud while it runs: changes of the program, processes that are killed, and its end."""

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sandbox import session
from sandbox.cli import app
from tests import graph
from tests.sandbox.conftest import DEADLINE, REGION, until

_COMMAND_WITHIN = 120  # seconds; an `up` takes 20


# --- changes of the program


def test_a_second_deployment_changes_nothing(cloud):
    with cloud.opened() as stack:
        run = stack.up("--skip-preview")
    assert run.code == 0, run.output
    assert re.search(r"^Resources:\n +\d{3} unchanged$", run.output, re.MULTILINE), run.output


def test_no_order_is_lost_while_the_pipe_is_replaced(cloud, tmp_path):
    program = changed(cloud.program, tmp_path / "program")
    client = cloud.client()
    placed: list[str] = []
    replaced = threading.Event()

    def place(count):
        """One order after the other; the last ones once the pipe is another one."""
        while len(placed) < count:
            if len(placed) == count - 10:
                replaced.wait(DEADLINE)
            placed.append(client.place(carrier="acme"))
            time.sleep(0.05)

    with ThreadPoolExecutor(1) as pool:
        writer = pool.submit(place, 200)
        until(lambda: len(placed) >= 10 or writer.done(), "the first orders")
        before = len(placed)
        try:
            with cloud.opened(program) as stack:
                run = stack.up("--skip-preview")
        finally:
            meanwhile = len(placed) - before
            replaced.set()
        writer.result()
    assert run.code == 0, run.output
    cloud.program = program
    assert re.search(r"aws-native:pipes:Pipe \S+ created replacement", run.output), run.output
    assert re.search(r"aws-native:pipes:Pipe \S+ deleted original", run.output), run.output
    assert meanwhile > 0, "no order was placed while the pipe was replaced"
    assert len(set(placed)) == 200

    def lost():
        states = cloud.orders()
        return [order_id for order_id in placed if states[order_id] != "shipped"]

    until(lambda: not lost(), "200 orders are shipped")


def changed(program, folder):
    """A copy of the program with another batch size, which no pipe takes in place."""
    for name in ("components", "contracts", "handlers", "build/handlers"):
        shutil.copytree(program / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("__main__.py", "requirements.txt", "Pulumi.yaml"):
        shutil.copy(program / file, folder)
    source = folder / "components" / "stream_pipe.py"
    text = source.read_text()
    assert text.count("_BATCH_SIZE = 10") == 1
    source.write_text(text.replace("_BATCH_SIZE = 10", "_BATCH_SIZE = 9"))
    return folder


# --- what is killed, and what is ended


def processes_of(state):
    """The processes that have been started for a state, or by those that were: all know its folder."""
    found = []
    for environment in Path("/proc").glob("[0-9]*/environ"):
        process = environment.parent
        try:
            told = environment.read_bytes() + (process / "cmdline").read_bytes()
        except OSError:  # ended meanwhile, or somebody else's
            continue
        if str(state).encode() in told and int(process.name) != os.getpid():
            found.append((int(process.name), (process / "cmdline").read_bytes()))
    return found


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """Where programs are told to put temporary files."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


@contextmanager
def ended(state):
    """At the end nothing runs on the state, whatever happened."""
    try:
        yield
    finally:
        if running := session.found(state):
            running.stop()


def run(state, *arguments):
    """A command as a person runs it: its exit code, and what it printed."""
    result = subprocess.run(
        [sys.executable, "-m", "sandbox", *arguments, "--state", state],
        cwd=graph.ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_COMMAND_WITHIN,
        check=False,
    )
    return result.returncode, result.stdout


LOST = "The local cloud of the last `up` ended without `down`: its resources and all orders on it are lost."


def test_after_a_kill_up_says_what_is_lost_and_works_and_down_leaves_nothing(tmp_path, temporary):
    state = tmp_path / "state"
    tracked = graph.ROOT / "Pulumi.local.yaml"
    before = tracked.read_bytes()
    with ended(state):
        # The first cloud with the least that an `up` leaves behind, since what was on it is lost either way.
        first = session.start(state, region=REGION)
        (state / "instance").write_text(first.instance)
        (state / "outputs.json").write_text("{}")
        (state / "backend").mkdir()
        os.kill(first.about["pid"], signal.SIGKILL)
        until(lambda: first.killed, "the cloud is dead")
        code, said = run(state, "up")
        assert code == 0, said
        assert LOST in said
        assert re.search(r"^Resources:\n +\+ \d{3} created$", said, re.MULTILINE), said
        assert re.search(r"^  shipped: Shipped at 2", said, re.MULTILINE), said
        assert "curl --aws-sigv4 " in said
        assert [pid for pid, _ in processes_of(state) if pid == first.about["ministack"]["pid"]] == []
        second = session.found(state)
        assert second.instance != first.instance
        ports = [*second.about["urls"].values(), second.about["ministack"]["url"]]
        assert tracked.read_bytes() == before

        code, said = run(state, "down")
        assert code == 0, said
        assert re.search(r"^Resources:\n +- \d{3} deleted$", said, re.MULTILINE), said
        assert processes_of(state) == []
        assert listened_on(ports) == []
        assert not {"cloud.json", "cloud.log", "instance", "journal", "outputs.json", "tmp"} & {
            path.name for path in state.iterdir()
        }
        assert list(temporary.iterdir()) == []
        assert run(state, "down") == (0, "nothing runs\n")


def test_without_its_ministack_a_cloud_ends_and_the_next_one_is_new(tmp_path):
    state = tmp_path / "state"
    with ended(state):
        first = session.start(state, region=REGION)
        (state / "outputs.json").write_text("{}")
        (state / "instance").write_text(first.instance)
        (state / "backend").mkdir()
        os.kill(first.about["ministack"]["pid"], signal.SIGKILL)
        result = CliRunner().invoke(app, ["status", "--state", str(state)])
        assert (result.exit_code, result.output) == (1, "nothing runs: start it with `make up`\n")
        assert processes_of(state) == []
        assert not (state / "tmp").exists()
        second = session.start(state, region=REGION)
        assert second.instance != first.instance
        assert second.ask("decisions") == {"denied": [], "unused": []}
        second.stop()
        assert processes_of(state) == []


# A cloud that hangs in its shutdown, when it removes for the second time what it removed when it began.
SLOW_TO_END = """
import shutil, sys, time
from pathlib import Path
import sandbox.cloud
state = Path(sys.argv[1])
remove = shutil.rmtree
removed = []
def slowly(path, **options):
    if removed.count(path) == 1:
        (state / "hangs").touch()
        time.sleep(600)
    removed.append(path)
    remove(path, **options)
shutil.rmtree = slowly
sandbox.cloud.main()
"""


def test_up_while_the_old_cloud_shuts_down_without_its_ministack_is_a_new_cloud(tmp_path):
    state = tmp_path / "state"
    state.mkdir()
    command = [sys.executable, "-c", SLOW_TO_END, str(state), "--region", REGION, "--program", str(graph.ROOT)]
    with ended(state), subprocess.Popen(command, cwd=graph.ROOT, start_new_session=True) as old:
        try:
            about = until(lambda: session.found(state), "the old cloud serves").about
            os.kill(about["ministack"]["pid"], signal.SIGKILL)
            until((state / "hangs").exists, "the old cloud shuts down")
            assert old.poll() is None
            new = session.start(state, region=REGION)
            assert old.wait(DEADLINE) == -signal.SIGKILL
            assert new.instance != about["instance"]
            assert session.found(state).instance == new.instance
            assert (state / "tmp").is_dir()
            pids = {pid for pid, command in processes_of(state) if b"sandbox.cloud" in command}
            assert pids == {new.about["pid"]}
        finally:
            old.kill()


def test_two_starts_at_once_are_one_cloud(tmp_path):
    state = tmp_path / "state"
    with ended(state), ThreadPoolExecutor(2) as pool:
        starts = [pool.submit(session.start, state, region=REGION) for _ in range(2)]
        assert len({start.result().instance for start in starts}) == 1
        clouds = [pid for pid, command in processes_of(state) if b"sandbox.cloud" in command]
        assert len(clouds) == 1


@contextmanager
def starting(state):
    """Someone who starts a cloud: the process, and the id of the cloud's own."""
    program = f"""
import sys
from pathlib import Path
from sandbox import session
session.start(Path(sys.argv[1]), region={REGION!r})
"""
    with subprocess.Popen([sys.executable, "-c", program, str(state)], cwd=graph.ROOT, start_new_session=True) as one:
        try:

            def cloud():
                return [pid for pid, command in processes_of(state) if b"sandbox.cloud" in command and pid != one.pid]

            yield one, until(cloud, "the cloud's process")[0]
        finally:
            one.kill()


def test_a_cloud_whose_starter_is_killed_is_found_by_the_next_one(tmp_path):
    state = tmp_path / "state"
    with ended(state):
        with starting(state) as (one, cloud):
            one.kill()
            one.wait(DEADLINE)
        again = session.start(state, region=REGION)
        assert again.about["pid"] == cloud
        again.stop()
        assert processes_of(state) == []


def test_a_cloud_whose_starter_is_killed_is_ended_by_down(tmp_path):
    state = tmp_path / "state"
    with ended(state):
        with starting(state) as (one, _):
            one.kill()
            one.wait(DEADLINE)
        code, said = run(state, "down")
        assert code == 0, said
        assert "nothing runs" not in said
        assert processes_of(state) == []


def test_a_start_that_is_interrupted_leaves_no_cloud(tmp_path):
    state = tmp_path / "state"
    with ended(state):
        with starting(state) as (one, _):
            one.send_signal(signal.SIGINT)
            assert one.wait(DEADLINE) != 0
        assert processes_of(state) == []
        assert not (state / "cloud.json").exists()


def test_a_cloud_that_does_not_start_says_why_and_leaves_nothing(tmp_path):
    state = tmp_path / "state"
    with pytest.raises(
        session.SessionError, match=r"(?s)the local cloud does not start: .*invalid float value: 'soon'"
    ):
        session.start(state, region=REGION, time_factor="soon")
    assert processes_of(state) == []
    assert not (state / "cloud.json").exists()


def listened_on(urls):
    ports = {int(url.rpartition(":")[2]) for url in urls}
    rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return [row[1] for row in rows if row[3] == "0A" and int(row[1].partition(":")[2], 16) in ports]
