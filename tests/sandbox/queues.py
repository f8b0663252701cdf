"""Queues for tests: a world in virtual time whose worker can die, and what is asked of those of a MiniStack."""

from __future__ import annotations

import itertools
import json
import math
import time
from collections import Counter

from botocore.exceptions import ClientError

from sandbox.jobs import Line
from sandbox.retry import Journal

NOON = 1_795_000_000.0
DAY = 86_400
JOBS = "http://queues/000000000000/jobs"
DEAD = "http://queues/000000000000/dead"


# --- in virtual time --------------------------------------------------------------------------------------------------


class Clock:
    def __init__(self):
        self.now = NOON

    def __call__(self):
        return self.now


class Crash(Exception):  # noqa: N818 - no error: the worker dies
    pass


class Steps:
    """Counts what a worker does outside of itself, and lets it die before or after the step with a certain number."""

    def __init__(self):
        self.taken = 0
        self.dies_before = self.dies_after = None

    def __call__(self, effect):
        number = self.taken
        self.taken += 1
        if number == self.dies_before:
            raise Crash
        try:
            return effect()
        finally:
            if number == self.dies_after:
                raise Crash


def aws_error(code, status=400):
    return ClientError(
        {"Error": {"Code": code, "Message": code}, "ResponseMetadata": {"HTTPStatusCode": status}}, "Call"
    )


class Sqs:
    """SQS in virtual time. `errors` raises the next of its errors at each call of that name."""

    def __init__(self, clock, steps):
        self._clock = clock
        self._steps = steps
        self._receipts = itertools.count()
        self.queues = {}
        self.errors = {}
        self.calls = Counter()
        self.receptions = Counter()

    def messages(self, url):
        return self.queues.setdefault(url, {})

    def next_visible(self, url):
        return min((message["visible"] for message in self.messages(url).values()), default=math.inf)

    def put(self, body, url=JOBS):
        key = f"message-{len(self.messages(url))}-{next(self._receipts)}"
        self.messages(url)[key] = {"body": body, "sent": self._clock.now, "visible": self._clock.now, "receipt": None}

    def _do(self, call, effect):
        self.calls[call] += 1
        if self.errors.get(call):
            raise self.errors[call].pop(0)
        return self._steps(effect)

    def send_message(self, **request):
        def effect():
            self.messages(request["QueueUrl"])[f"letter-{next(self._receipts)}"] = {
                "body": request["MessageBody"],
                "attributes": {
                    name: value["StringValue"] for name, value in request.get("MessageAttributes", {}).items()
                },
                "visible": self._clock.now,
            }

        return self._do("send_message", effect)

    def receive_message(self, **request):
        def effect():
            found = []
            for key, message in self.messages(request["QueueUrl"]).items():
                if message["visible"] <= self._clock.now and len(found) < request["MaxNumberOfMessages"]:
                    message["receipt"] = f"receipt-{next(self._receipts)}"
                    self.receptions[key] += 1
                    message["visible"] = self._clock.now + request["VisibilityTimeout"]
                    found.append(
                        {
                            "MessageId": key,
                            "ReceiptHandle": message["receipt"],
                            "Body": message["body"],
                            "Attributes": {"SentTimestamp": str(int(message["sent"] * 1000))},
                        }
                    )
            return {"Messages": found} if found else {}

        assert request["MessageSystemAttributeNames"] == ["SentTimestamp"]
        return self._do("receive_message", effect)

    def _by_receipt(self, request):
        for key, message in self.messages(request["QueueUrl"]).items():
            if message["receipt"] == request["ReceiptHandle"]:
                return key, message
        raise aws_error("ReceiptHandleIsInvalid")

    def change_message_visibility(self, **request):
        def effect():
            assert 0 <= request["VisibilityTimeout"] <= 43_200
            self._by_receipt(request)[1]["visible"] = self._clock.now + request["VisibilityTimeout"]

        return self._do("change_message_visibility", effect)

    def delete_message(self, **request):
        def effect():
            key, message = self._by_receipt(request)
            assert message["visible"] > self._clock.now, "someone else may have it"
            del self.messages(request["QueueUrl"])[key]

        return self._do("delete_message", effect)


class SteppedJournal(Journal):
    def __init__(self, file, steps):
        super().__init__(file)
        self._steps = steps

    def write(self, key, document):
        self._steps(lambda: super(SteppedJournal, self).write(key, document))

    def remove(self, key):
        self._steps(lambda: super(SteppedJournal, self).remove(key))


class World:
    """One queue of jobs, whose worker can die, in virtual time."""

    def __init__(self, folder):
        self.clock = Clock()
        self.steps = Steps()
        self.sqs = Sqs(self.clock, self.steps)
        self.journal = SteppedJournal(folder / "jobs.journal", self.steps)
        self.metrics = Counter()
        self.line = None

    def count(self, metric, amount):
        self.metrics[metric] += amount

    def start(self, hop):
        """A new worker, whatever became of the old one."""
        self.line = Line(
            queue_url=JOBS,
            queues=self.sqs,
            hop=hop,
            journal=self.journal,
            start=lambda attempt: attempt(),
            clock=self.clock,
        )
        self.line.recover()

    def run(self, until=math.inf):
        """Let the worker do all it can, moving on to whatever comes next."""
        for _ in range(20_000):
            self.line.receive()
            wake, visible = self.line.run_due(), self.sqs.next_visible(JOBS)
            if not self.sqs.messages(JOBS):
                return
            if visible <= self.clock.now and self.line.room > 0:
                continue
            then = min(wake, visible if visible > self.clock.now else math.inf)
            if then > until:
                self.clock.now = until
                return
            assert then < NOON + 30 * DAY, "nothing will ever happen"
            self.clock.now = then
        raise AssertionError("it goes on forever")

    def run_through_crashes(self, make_hop):
        """As `run`, with a new worker for each that dies. How many did."""
        crashes = 0
        while True:
            try:
                self.start(make_hop())
                self.run()
            except Crash:
                crashes += 1
                assert crashes < 3
                self.steps.dies_before = self.steps.dies_after = None
            else:
                return crashes

    @property
    def letters(self):
        return [(json.loads(message["body"]), message["attributes"]) for message in self.sqs.messages(DEAD).values()]

    @property
    def notes(self):
        return list(self.journal)


# --- on MiniStack -----------------------------------------------------------------------------------------------------


def eventually(condition, within=10.0):
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


class Brisk:
    """SQS that is asked often instead of waiting inside of it, so that a worker stops at once."""

    def __init__(self, sqs):
        self._sqs = sqs

    def receive_message(self, **request):
        answer = self._sqs.receive_message(**request | {"WaitTimeSeconds": 0})
        if not answer.get("Messages"):
            time.sleep(0.02)
        return answer

    def __getattr__(self, name):
        return getattr(self._sqs, name)


def visible(sqs, url):
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    return tuple(int(attributes[name]) for name in names)


def jobs_in(running, name, *bodies):
    sqs = running.client("sqs")
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    for body in bodies:
        sqs.send_message(QueueUrl=url, MessageBody=body)
    return sqs, url
