"""The threads that work on queues, on a real MiniStack; what becomes of each job is in test_delivery."""

from __future__ import annotations

import logging
import threading
import time

from sandbox import jobs
from sandbox.jobs import Later
from tests.sandbox.queues import eventually, jobs_in, visible


class Recorder:
    """A hop that remembers what it was given, and fails, waits or postpones as told."""

    longest = 1.0

    def __init__(self, result=lambda _: None, parallel=2):
        self.parallel = parallel
        self.seen = []
        self._result = result

    def slot(self, job, now):
        return now

    def attempt(self, job):
        self.seen.append(job.body)
        return self._result(job)


def test_a_queue_can_be_served_differently_and_no_more(running, dispatcher_on):
    sqs, url = jobs_in(running, "attach", "1")
    first, second = Recorder(), Recorder()
    with dispatcher_on(sqs) as dispatcher:
        dispatcher.attach(url, first)
        eventually(lambda: first.seen == ["1"])
        dispatcher.attach(url, second)
        sqs.send_message(QueueUrl=url, MessageBody="2")
        eventually(lambda: second.seen == ["2"])
        dispatcher.detach(url)
        dispatcher.detach(url)
        sqs.send_message(QueueUrl=url, MessageBody="3")
    assert (first.seen, second.seen) == (["1"], ["2"])
    assert visible(sqs, url) == (1, 0)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("attach")]


def test_a_worker_that_is_killed_is_followed_by_one_that_knows_what_was_noted_and_no_more(running, dispatcher_on):
    sqs, url = jobs_in(running, "revived", "1")
    states = []

    def result(job):
        states.append(dict(job.state))
        return Later(time.time(), {"tries": len(states)}) if len(states) < 4 else None

    # Of the attempts the second, and of those of its successor the first.
    deaths = iter([False, True, True])
    with dispatcher_on(sqs) as dispatcher:
        dispatcher.attach(url, Recorder(result), killed=lambda: next(deaths, False))
        eventually(lambda: visible(sqs, url) == (0, 0))
    assert states == [{}, {"tries": 1}, {"tries": 1}, {"tries": 1}]


def test_a_worker_that_was_stopped_while_jobs_wait_leaves_them_to_the_next(running, dispatcher_on):
    sqs, url = jobs_in(running, "restart", "1", "2")
    waiting = Recorder(lambda job: Later(job.since + 0.7, {"tries": 1}))
    with dispatcher_on(sqs) as dispatcher:
        dispatcher.attach(url, waiting)
        eventually(lambda: len(waiting.seen) == 2)
    assert visible(sqs, url) == (0, 2)
    states = []
    done = Recorder(lambda job: states.append((job.state, time.time() - job.since)))
    with dispatcher_on(sqs) as dispatcher:
        dispatcher.attach(url, done)
        eventually(lambda: visible(sqs, url) == (0, 0))
    assert [state for state, _ in states] == [{"tries": 1}] * 2
    assert min(age for _, age in states) >= 0.7


def test_no_more_run_at_once_than_may(running, dispatcher_on):
    sqs, url = jobs_in(running, "parallel", *map(str, range(8)))
    at_once, most, lock = 0, 0, threading.Lock()

    def work(_):
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        time.sleep(0.03)
        with lock:
            at_once -= 1

    hop = Recorder(work, parallel=3)
    with dispatcher_on(sqs) as dispatcher:
        dispatcher.attach(url, hop)
        eventually(lambda: visible(sqs, url) == (0, 0))
    assert sorted(hop.seen) == list(map(str, range(8)))
    assert most == 3


def test_a_mistake_is_logged_and_others_go_on(running, dispatcher_on, caplog):
    sqs, url = jobs_in(running, "mistake", "bad", "good")
    hop = Recorder(lambda job: 1 / 0 if job.body == "bad" else None)
    with dispatcher_on(sqs) as dispatcher, caplog.at_level(logging.ERROR):
        dispatcher.attach(url, hop)
        eventually(lambda: sorted(hop.seen) == ["bad", "good"] and "ZeroDivisionError" in caplog.text)
        eventually(lambda: visible(sqs, url) == (0, 1))


def test_a_queue_that_is_not_there_yet_is_waited_for(running, dispatcher_on, monkeypatch):
    monkeypatch.setattr(jobs, "_PAUSE", 0.05)
    sqs = running.client("sqs")
    hop = Recorder()
    with dispatcher_on(sqs) as dispatcher:
        dispatcher.attach(f"{running.endpoint_url}/000000000000/late", hop)
        jobs_in(running, "late", "1")
        eventually(lambda: hop.seen == ["1"])
