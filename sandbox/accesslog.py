"""The access logs of APIs: lines are kept for a moment, and then written to their log group together.

On AWS, too, they come after the answers that they are about ("Set up CloudWatch logging for REST APIs in API Gateway"
promises no time), and what becomes of a line changes no answer.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Self

_log = logging.getLogger(__name__)

_KEPT = 0.2  # seconds
_BATCH = 1_000  # lines in one call, of which CloudWatch Logs takes 10,000


class AccessLog:
    """Takes lines from any number of threads. As a context manager it has written them all at the end."""

    def __init__(self, logs: Any) -> None:
        """`logs` is a boto3 client for CloudWatch Logs."""
        self._logs = logs
        self._lock = threading.Lock()
        self._lines: dict[str, list[dict[str, Any]]] = defaultdict(list)
        """By the name of the log group."""
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="access log")

    def write(self, group_arn: str, line: str) -> None:
        """Take a line for the log group with this ARN."""
        group = group_arn.partition(":log-group:")[2].removesuffix(":*")
        with self._lock:
            self._lines[group].append({"timestamp": int(time.time() * 1000), "message": line})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._closing.wait(_KEPT):
            self._flush()
        self._flush()

    def _flush(self) -> None:
        with self._lock:
            lines, self._lines = self._lines, defaultdict(list)
        for group, events in lines.items():
            try:
                for first in range(0, len(events), _BATCH):
                    self._put(group, events[first : first + _BATCH])
            except Exception as error:  # noqa: BLE001 - whatever one group's problem is, the others have their lines
                _log.warning("%s: %d lines of the access log may be lost: %s", group, len(events), error)

    def _put(self, group: str, events: list[dict[str, Any]]) -> None:
        stream = f"{datetime.now(UTC):%Y/%m/%d}"
        try:
            self._logs.put_log_events(logGroupName=group, logStreamName=stream, logEvents=events)
        except self._logs.exceptions.ResourceNotFoundException:
            # The first lines of the day.
            with suppress(self._logs.exceptions.ResourceAlreadyExistsException):
                self._logs.create_log_stream(logGroupName=group, logStreamName=stream)
            self._logs.put_log_events(logGroupName=group, logStreamName=stream, logEvents=events)
