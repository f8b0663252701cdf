"""Times of retries, limits and rates, over days that take no time; and what outlives a worker."""

from __future__ import annotations

import itertools
import random
import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError

from sandbox import retry
from sandbox.retry import Backoff, Bucket, Exhausted, Journal, Limiter, RetryPolicy

DAY = 86_400
NOON = 1_795_000_000.0


def seeded(seed):
    return random.Random(seed)  # noqa: S311 - chance that repeats


def failing(policy, *, since=NOON, chance=lambda: 0.0, took=0.0, retry_after=0.0):
    """The times of all tries of an event whose target never takes it, when it was given up, and by which limit."""
    tries, now = [since], since
    while True:
        due = policy.after_failure(
            since=since, retries=len(tries) - 1, now=now + took, chance=chance(), retry_after=retry_after
        )
        if isinstance(due, Exhausted):
            return tries, now + took, due
        now = due
        if policy.expired(since=since, now=now):
            return tries, now, Exhausted.AGE
        tries.append(now)


def test_waits_double_up_to_the_longest():
    assert [Backoff(first=1, longest=300, jitter=0).wait(retry) for retry in range(1, 12)] == [
        *(1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300)
    ]
    assert Backoff(first=1, longest=300, jitter=0).wait(5000) == 300


def test_chance_shortens_a_wait_by_up_to_half():
    waits = [Backoff(first=4, longest=4).wait(1, seeded(seed).random()) for seed in range(500)]
    assert 2 < min(waits) < 2.1
    assert 3.9 < max(waits) <= 4
    assert Backoff(first=4, longest=4).wait(1, 0) == 4


def test_a_scaled_backoff_keeps_its_shape():
    scaled = Backoff(first=1, longest=300, jitter=0).scaled(0.01)
    assert [scaled.wait(retry) for retry in (1, 2, 20)] == [0.01, 0.02, 3]


@pytest.mark.parametrize("seed", range(5))
def test_a_day_of_failures_ends_by_age_after_about_130_retries(seed):
    tries, ended, limit = failing(RetryPolicy(), chance=seeded(seed).random, took=5)
    assert limit is Exhausted.AGE
    assert 120 < len(tries) - 1 < 140
    assert ended == NOON + DAY
    gaps = [later - earlier for earlier, later in itertools.pairwise(tries)]
    assert 0.5 <= gaps[0] - 5 <= 1
    assert max(gaps) <= 960 + 5


def test_the_number_of_retries_ends_it_when_that_limit_comes_first():
    quick = Backoff(first=1, longest=60)
    tries, ended, limit = failing(RetryPolicy(backoff=quick))
    assert limit is Exhausted.ATTEMPTS
    assert len(tries) == 186, "the first try and 185 retries"
    assert ended < NOON + DAY


@pytest.mark.parametrize(("attempts", "tries"), [(0, 1), (1, 2), (3, 4)])
def test_retries_do_not_count_the_first_try(attempts, tries):
    assert len(failing(RetryPolicy(attempts=attempts))[0]) == tries


def test_no_try_is_made_at_the_maximum_age_or_later():
    policy = RetryPolicy(age=60)
    tries, ended, limit = failing(policy)
    assert limit is Exhausted.AGE
    assert max(tries) < NOON + 60 == ended
    assert not policy.expired(since=NOON, now=NOON + 59.9)
    assert policy.expired(since=NOON, now=NOON + 60)


def test_a_try_that_outlasts_the_age_is_the_last():
    assert RetryPolicy(age=60).after_failure(since=NOON, retries=0, now=NOON + 61, chance=0) is Exhausted.AGE


@pytest.mark.parametrize(("asked", "waits"), [(0, 1), (0.5, 1), (30, 30), (3 * DAY, DAY - 10)])
def test_the_longer_of_both_waits_holds_but_not_beyond_the_age(asked, waits):
    due = RetryPolicy().after_failure(since=NOON, retries=0, now=NOON + 10, chance=0, retry_after=asked)
    assert due == NOON + 10 + waits


def test_a_target_that_asks_for_more_time_each_time_gets_it():
    tries, _, limit = failing(RetryPolicy(), retry_after=3600)
    assert limit is Exhausted.AGE
    assert len(tries) == 24


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, 0),
        ("120", 120),
        (" 2.5 ", 2.5),
        ("0", 0),
        ("-1", -1),
        ("soon", 0),
        ("", 0),
        ("1e3", 0),
        ("٣", 0),
        (format_datetime(datetime.fromtimestamp(NOON + 90, UTC), usegmt=True), 90),
        (format_datetime(datetime.fromtimestamp(NOON + 90, UTC)).replace("+0000", "-0000"), 90),
        (format_datetime(datetime.fromtimestamp(NOON - 90, UTC), usegmt=True), 0),
    ],
)
def test_retry_after_is_seconds_or_a_date(header, seconds):
    assert retry.retry_after(header, NOON) == seconds


def test_tokens_come_back_evenly():
    bucket, starts = Bucket(rate=4), []
    for _ in range(6):
        bucket, start = bucket.take(NOON)
        starts.append(start - NOON)
    assert starts == pytest.approx([0, 0.25, 0.5, 0.75, 1, 1.25])
    assert bucket.take(NOON + 10)[1] == NOON + 10, "one that waited gets its token at once"
    _, again = bucket.take(NOON + 10)[0].take(NOON + 10)
    assert again == NOON + 10.25, "but a long rest saves up no second one"


@pytest.mark.parametrize("seed", range(3))
def test_no_second_sees_more_than_the_rate(seed):
    chance, bucket, now, starts = seeded(seed), Bucket(rate=20), NOON, []
    for _ in range(2000):
        now += chance.expovariate(25)
        bucket, start = bucket.take(now)
        starts.append(start)
    assert starts == sorted(starts)
    for first, start in enumerate(starts):
        assert sum(start <= other < start + 1 - 1e-6 for other in starts[first : first + 30]) <= 20
    assert len(starts) / (starts[-1] - starts[0]) == pytest.approx(20, rel=0.02), "and none is wasted"


def test_a_clock_that_steps_back_costs_no_token():
    bucket, _ = Bucket(rate=1, at=NOON).take(NOON)
    assert bucket.take(NOON - 100)[1] == NOON - 99


def test_a_slot_is_given_once():
    limiter = Limiter(10)
    assert [limiter.slot(NOON) - NOON for _ in range(3)] == pytest.approx([0, 0.1, 0.2])
    assert [limiter.slot(NOON, before=NOON + 0.25) for _ in range(3)] == [None] * 3, "not to one who can't wait so long"
    assert limiter.slot(NOON) == pytest.approx(NOON + 0.3)


def refused(code, status):
    return ClientError({"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}, "Call")


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (refused("AccessDeniedException", 400), False),
        (refused("ResourceNotFoundException", 404), False),
        (refused("ValidationException", 400), False),
        (refused("ThrottlingException", 400), True),
        (refused("TooManyRequestsException", 429), True),
        (refused("InternalFailure", 500), True),
        (refused("Something", 503), True),
        (ClientError({}, "Call"), False),
        (EndpointConnectionError(endpoint_url="http://127.0.0.1:1"), True),
        (ReadTimeoutError(endpoint_url="http://127.0.0.1:1"), True),
    ],
)
def test_throttling_and_failures_of_the_service_pass(error, passes):
    assert isinstance(error, retry.AWS_ERRORS)
    assert retry.passes(error) is passes


@pytest.fixture
def journal(tmp_path):
    opened = []

    def open_it():
        opened.append(Journal(tmp_path / "made" / "here.journal"))
        return opened[-1]

    yield open_it
    for one in opened:
        one.close()


def test_a_journal_outlives_its_reader(journal):
    journal().write("a/b c", {"tries": 1})
    journal().write("a/b c", {"tries": 2, "text": "ü\ud800"})
    journal().write("shard.1", {})
    again = journal()
    assert again.read("a/b c") == {"tries": 2, "text": "ü\ud800"}
    assert list(again) == ["a/b c", "shard.1"]
    again.remove("a/b c")
    again.remove("a/b c")
    assert again.read("a/b c") is None
    assert list(journal()) == ["shard.1"]


def test_a_journal_survives_a_process_that_is_killed(journal, tmp_path):
    code = (
        "import os, pathlib, signal; from sandbox.retry import Journal\n"
        f"journal = Journal(pathlib.Path({str(tmp_path / 'made' / 'here.journal')!r}))\n"
        "for number in range(1000): journal.write(str(number % 10), {'number': number})\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run([sys.executable, "-c", code], check=False, timeout=30)
    assert killed.returncode == -signal.SIGKILL
    left = journal()
    assert {key: left.read(key) for key in left} == {
        str(number % 10): {"number": number} for number in range(990, 1000)
    }


def test_a_journal_is_for_several_threads(journal):
    shared = journal()

    def write(thread):
        for number in range(50):
            shared.write(f"{thread}-{number}", {})

    threads = [threading.Thread(target=write, args=(thread,)) for thread in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(list(shared)) == 200


def test_times_are_written_as_aws_does():
    assert retry.iso(1573755365.568) == "2019-11-14T18:16:05.568Z"
    assert retry.iso(1573755365.568, timespec="seconds") == "2019-11-14T18:16:05Z"
