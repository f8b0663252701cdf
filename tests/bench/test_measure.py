"""The harness: which samples are taken in which order, and what is made of them."""

from __future__ import annotations

import itertools
import signal
import subprocess
import sys
import time

import pytest

from bench.measure import ROOT, Case, Measured, NothingMeasuredError, SampleError, estimate, measure, sample


def case(name="some", code="", **about):
    return Case(name=name, arguments=("-c", code), **about)


# --- one sample


def test_a_sample_is_what_one_process_used():
    idle = sample(case(code="pass"))
    busy = sample(case(code="import time\nwhile time.process_time() < 0.5: pass"))
    assert busy["cpu"] > idle["cpu"] + 0.4


def test_a_samples_memory_is_its_own_peak_and_not_that_of_who_measures():
    ours = bytearray(b"x" * (300 * 2**20))
    idle, large = sample(case(code="pass")), sample(case(code="b = b'x' * (100 * 2**20); del b"))
    assert len(ours) > 2**28
    assert idle["rss"] < 40
    assert 90 < large["rss"] - idle["rss"] < 140


def test_what_a_sample_has_waited_for_counts():
    child = "import time\nwhile time.process_time() < 0.5: pass"
    assert sample(case(code=f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"))["cpu"] > 0.5


def test_a_sample_says_more_and_may_know_better():
    figures = sample(case(code="from bench.measure import say\nsay({'cpu': 7.5, 'orders': 3})\nprint('done')"))
    assert (figures["cpu"], figures["orders"]) == (7.5, 3)
    assert figures["rss"] > 0


def test_a_line_that_looks_like_figures_is_none():
    assert sample(case(code="print('{\"cpu\": 7.5}')"))["cpu"] < 5


def test_a_process_that_fails_ends_the_run_with_its_words():
    with pytest.raises(SampleError, match=r"some ended with 3: (?s:.*)too bad"):
        sample(case(code="import sys; print('too bad'); sys.exit(3)"))


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_who_ends_the_run_ends_the_sample_with_what_it_had_started(how, tmp_path):
    begun, ended = tmp_path / "begun", tmp_path / "ended"
    sampled = f"""
import time
from pathlib import Path
from bench.measure import stoppable
stoppable()
try:
    Path({str(begun)!r}).touch()
    time.sleep(60)
finally:
    Path({str(ended)!r}).write_text("by itself")
"""
    run = f"import bench.measure as m; m.stoppable(); m.sample(m.Case(name='some', arguments=('-c', {sampled!r})))"
    with subprocess.Popen([sys.executable, "-c", run], cwd=ROOT, stderr=subprocess.DEVNULL) as process:
        given_up = time.monotonic() + 30
        while not begun.exists():
            assert process.poll() is None
            assert time.monotonic() < given_up
            time.sleep(0.02)
        process.send_signal(how)
        assert process.wait(30) != 0
    assert ended.read_text() == "by itself"


def test_a_sample_has_its_own_environment_and_little_of_ours(monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "somebody")
    code = "import os\nassert os.environ['TABLE_NAME'] == 'orders'\nassert 'AWS_PROFILE' not in os.environ"
    assert sample(case(code=code, environment={"TABLE_NAME": "orders"}))


def test_two_samples_lay_out_their_sets_alike():
    code = "from bench.measure import say\nsay({'hash': hash('one text')})"
    assert sample(case(code=code))["hash"] == sample(case(code=code))["hash"]


# --- a run


class Taker:
    """Notes who is sampled, and answers with how often it was."""

    def __init__(self):
        self.taken = []

    def __call__(self, sampled):
        self.taken.append(sampled.name)
        return {"cpu": float(self.taken.count(sampled.name))}


def run(*cases, rounds=3, quick=False, seed=1):
    take, told = Taker(), []
    measured = measure(
        cases, rounds=rounds, quick=quick, seed=seed, tell=told.append, take=take, clock=itertools.count().__next__
    )
    return take.taken, measured, told


def test_every_round_has_what_is_slow_once_and_all_else_three_times():
    cases = [*(case(name) for name in "abcde"), case("f", slow=True)]
    taken, measured, _ = run(*cases, rounds=5)
    assert taken[:5] == list("abcde")  # warms up
    rounds = [taken[at : at + 16] for at in range(5, len(taken), 16)]
    assert [sorted(one) for one in rounds] == [sorted("abcde" * 3 + "f")] * 5
    assert {name: len(samples) for name, samples in measured.samples.items()} == dict.fromkeys("abcde", 15) | {"f": 5}


def test_the_order_of_the_rounds_differs_and_follows_from_the_seed():
    cases = [case(name) for name in "abcdefgh"]
    taken, _, _ = run(*cases, rounds=4, seed=7)
    rounds = [taken[at : at + 24] for at in range(8, len(taken), 24)]
    assert len({tuple(one) for one in rounds}) == 4
    assert run(*cases, rounds=4, seed=7)[0] == taken
    assert run(*cases, rounds=4, seed=8)[0] != taken


def test_warming_up_does_not_count():
    _, measured, _ = run(case("a"), rounds=2)
    assert measured.values("a", "cpu") == [2, 3, 4, 5, 6, 7]


def test_what_is_slow_is_not_warmed_up_and_measured_once_in_a_quick_run():
    assert run(case("a", slow=True), rounds=3)[0] == ["a"] * 3
    assert run(case("a", slow=True), rounds=3, quick=True)[0] == ["a"]


def test_what_repeats_itself_is_measured_once():
    assert run(case("a", once=True), rounds=3)[0] == ["a"]


def test_a_run_says_how_far_it_is():
    told = run(case("a"), case("b", slow=True), rounds=2)[2]
    told = [line.partition("] ")[2] for line in told]
    assert told[0] == "warming up: a"
    assert sorted(told[1:5]) == [*(f"round 1 of 2: a: cpu {count}" for count in (2, 3, 4)), "round 1 of 2: b: cpu 1"]
    assert sorted(told[5:]) == [*(f"round 2 of 2: a: cpu {count}" for count in (5, 6, 7)), "round 2 of 2: b: cpu 2"]


def test_what_was_not_measured_is_no_number():
    measured = Measured(samples={"a": [{"cpu": 1.0}]})
    assert measured.values("a", "cpu") == [1.0]
    for name, figure in (("a", "rss"), ("b", "cpu")):
        with pytest.raises(NothingMeasuredError, match=f"{figure} of {name} was not measured"):
            measured.values(name, figure)


# --- an estimate


def ratio(a, b):
    return a / b


def test_an_estimate_is_of_medians():
    found = estimate([[10.0, 11.0, 9.5], [2.0, 2.1, 2.2]], ratio)
    assert (found.value, found.by, found.parts) == (10 / 2.1, "median", [10.0, 2.1])


def test_where_one_part_was_disturbed_all_are_minima():
    found = estimate([[10.0, 10.1, 10.2], [2.0, 2.5, 2.6]], ratio)
    assert (found.value, found.by, found.parts) == (5, "minimum", [10.0, 2.0])


def test_a_few_disturbed_samples_leave_the_median_as_it_is():
    assert estimate([[2.0, 2.0, 9.0], [1.0, 1.0, 1.0]], ratio).by == "median"
