"""Without a cloud: a storm that is told to stop ends its cloud, one that fails ends at once, and no fault stays out."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import pytest

from sandbox.faults import Kind
from tests import graph
from tests.chaos.audit import Act, Call
from tests.chaos.carrier import Ledger
from tests.chaos.plan import CARRIERS, LEAST, Plan
from tests.chaos.storm import _Scene

# In the place of the cloud there is a file.
STOPPED = """
import sys
import time
from pathlib import Path

from tests.chaos import __main__ as chaos

cloud, sys.argv[1:] = Path(sys.argv[1]), []

def rage(plan, folder, tell):
    try:
        cloud.write_text("runs")
        time.sleep(60)
    finally:
        cloud.write_text("ended, and the folder is " + ("there" if folder.exists() else "gone"))

chaos.rage = rage
sys.exit(chaos.main())
"""


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_storm_that_is_told_to_stop_ends_its_cloud(how, tmp_path):
    cloud = tmp_path / "cloud"
    command = [sys.executable, "-c", STOPPED, cloud]
    with subprocess.Popen(command, cwd=graph.ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        given_up = time.monotonic() + 30
        while not cloud.exists():
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < given_up
            time.sleep(0.02)
        process.send_signal(how)
        _, said = process.communicate(timeout=30)
    assert (process.returncode, said) == (128 + how, b"stopping: the cloud of this storm ends first\n")
    assert cloud.read_text() == "ended, and the folder is there"


class Sabotaged:
    """A cloud on which some faults never met anything: it tells, and takes more."""

    def __init__(self, never):
        self.injected = []
        self._never = never

    def fault(self, kind, **how):
        self.injected.append((kind, how))

    def faults(self):
        return {str(kind): 0 if kind in self._never else 3 for kind in Kind}


@pytest.mark.parametrize("never", [(), (Kind.WORKER_KILLED, Kind.TABLE_THROTTLED)], ids=["none", "two"])
def test_what_never_struck_strikes_once_at_the_end(never):
    plan, saboteur = Plan(seed=7, count=LEAST), Sabotaged(never)
    _Scene._sabotage(SimpleNamespace(_plan=plan, saboteur=saboteur, _wait=lambda _at: None))
    planned = [one.fault["kind"] for one in plan.faults]
    assert [kind for kind, _ in saboteur.injected[: len(planned)]] == planned
    added = saboteur.injected[len(planned) :]
    assert sorted(added) == sorted((str(kind), {"times": 1}) for kind in never)


@pytest.mark.parametrize(
    ("carrier", "order_id", "said"),
    [("globex", "acted", True), ("globex", "refused", False), ("initech", "acted", False), ("globex", "new", False)],
)
def test_only_a_carrier_that_has_shipped_contradicts_itself(carrier, order_id, said):
    ledger = Ledger(
        calls=[Call("globex", "acted", "acted", "ok", 202), Call("globex", "refused", "refused", "500", 500)],
        acts=[Act("globex", "acted", "acted")],
    )
    sent = []
    scene = SimpleNamespace(
        _weather=SimpleNamespace(ledger=ledger),
        _principals={name: name for name in CARRIERS},
        _answered=lambda *request: sent.append(request),
        contradictions=set(),
    )
    _Scene._contradict(scene, carrier, order_id, "1999-12-31T23:59:59Z")
    body = {"order_id": order_id, "shipped_at": "1999-12-31T23:59:59Z"}
    assert sent == [(carrier, body)] * said
    assert scene.contradictions == ({tuple(body.values())} if said else set())


class Scene(_Scene):
    """A storm without a cloud, whose deployment fails."""

    def __init__(self, plan):
        self._plan = plan
        self._at = 0.0
        self._updated, self._ended = threading.Event(), threading.Event()
        self._under_way = []
        self.asked = []

    def _ask(self, wanted):
        self.asked.append(wanted)

    def _update(self):
        try:
            self._wait(0.2)
            raise RuntimeError("the engine has failed")
        finally:
            self._updated.set()

    def _sabotage(self):
        self._wait(1.0)

    def _set_mood(self, mode):
        pass


def test_a_storm_that_fails_places_no_more_orders():
    scene = Scene(Plan(seed=7, count=LEAST))
    with pytest.raises(RuntimeError, match="the engine has failed"):
        scene.blow()
    assert scene._updated.is_set()
    assert 0 < len({id(one) for one in scene.asked}) < LEAST
