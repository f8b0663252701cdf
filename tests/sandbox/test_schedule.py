"""A schedule in virtual time: when it starts its target, and what it does with what is not done at once."""

import threading

import pytest

from sandbox.clock import CloudClock
from sandbox.faults import KilledError
from sandbox.jobs import Later
from sandbox.schedule import Schedule, seconds
from tests.sandbox.conftest import until


class Target:
    """A hop that notes its jobs, and answers what the test says."""

    longest = 1.0
    parallel = 1

    def __init__(self, *answers):
        self.jobs = []
        self._answers = list(answers)

    def slot(self, job, now):
        raise AssertionError("a schedule has no rate limit")

    def attempt(self, job):
        self.jobs.append(job)
        return self._answers.pop(0) if self._answers else None


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.mark.parametrize(
    ("rate", "expected"),
    [("rate(1 minute)", 60), ("rate(15 minutes)", 900), ("rate(1 hour)", 3600), ("rate(2 days)", 172_800)],
)
def test_a_rate_has_a_number_and_a_unit(rate, expected):
    assert seconds(rate) == expected


@pytest.mark.parametrize(
    "rate", ["rate(0 minutes)", "rate(15)", "rate(1.5 hours)", "rate(1 week)", "cron(0 * * * ? *)", ""]
)
def test_what_is_no_rate_is_refused(rate):
    with pytest.raises(ValueError, match="is not a rate"):
        seconds(rate)


def test_it_starts_at_once_and_then_at_its_rate(clock):
    target = Target()
    schedule = Schedule(lambda: target, body='{"a": 1}', every=900, clock=clock)
    assert schedule.step() == 900
    assert [(job.body, job.since) for job in target.jobs] == [('{"a": 1}', 1000)]
    clock.now += 899
    assert schedule.step() == 1
    assert len(target.jobs) == 1
    clock.now += 1
    assert schedule.step() == 900
    assert [job.since for job in target.jobs] == [1000, 1900]


def test_what_was_missed_is_not_made_up_for(clock):
    target = Target()
    schedule = Schedule(lambda: target, body="{}", every=900, clock=clock)
    schedule.step()
    clock.now += 900 * 3 + 100
    assert schedule.step() == 800
    assert len(target.jobs) == 2


def test_what_is_not_done_goes_on_beside_what_is_started_later(clock):
    target = Target(Later(1950.0, {"tried": 1}), None, None)
    schedule = Schedule(lambda: target, body="{}", every=900, clock=clock)
    assert schedule.step() == 900
    clock.now = 1900
    assert schedule.step() == 50
    clock.now = 1950
    assert schedule.step() == 850
    assert [(job.since, dict(job.state)) for job in target.jobs] == [(1000, {}), (1900, {}), (1000, {"tried": 1})]


def test_the_target_is_the_one_of_that_moment(clock):
    targets = [Target(), Target()]
    deployed = iter(targets)
    schedule = Schedule(lambda: next(deployed), body="{}", every=900, clock=clock)
    for _ in targets:
        schedule.step()
        clock.now += 900
    assert [len(target.jobs) for target in targets] == [1, 1]


def test_without_a_target_nothing_is_started_and_the_next_time_comes(clock):
    target = Target()

    def missing():
        if clock.now < 1900:
            raise LookupError("the function is not deployed")
        return target

    schedule = Schedule(missing, body="{}", every=900, clock=clock)
    assert schedule.step() == 900
    clock.now += 900
    schedule.step()
    assert len(target.jobs) == 1


def test_it_ends_when_it_is_told():
    target, stopping = Target(), threading.Event()
    schedule = Schedule(lambda: target, body="{}", every=900)
    thread = threading.Thread(target=schedule.run, args=(stopping,))
    thread.start()
    stopping.set()
    thread.join(30)
    assert not thread.is_alive()


def test_a_jump_of_the_clock_starts_what_is_due_then():
    clock, target, stopping = CloudClock(), Target(), threading.Event()
    schedule = Schedule(lambda: target, body="{}", every=3600, clock=clock)
    thread = threading.Thread(target=schedule.run, args=(stopping,))
    thread.start()
    try:
        until(lambda: len(target.jobs) == 1, "it starts at once")
        clock.forward(3600)
        until(lambda: len(target.jobs) == 2, "it starts once more")
    finally:
        stopping.set()
        thread.join(30)


def test_one_that_is_killed_loses_what_it_had_started_and_the_next_begins_at_once(clock):
    target = Target(Later(1950.0, {"tried": 1}), None)
    with pytest.raises(KilledError):
        Schedule(lambda: target, body="{}", every=900, clock=clock, killed=lambda: True).step()
    clock.now = 1100
    assert Schedule(lambda: target, body="{}", every=900, clock=clock).step() == 900
    assert [(job.since, dict(job.state)) for job in target.jobs] == [(1000, {}), (1100, {})]
