"""Orders go through a local cloud, from the signed request to the shipment: `COUNT STEP`.

`rate` is how many of them a second ship while others are placed, `raw` how many a second one writes directly into a
table of the same emulator, with as many threads. `first` and `last` are the seconds of CPU time that an order costs
everything together, in the cheaper of the first two and of the last two batches of STEP, as what else the machine does
only adds; the memory is the cloud's own, once these had all shipped.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
from botocore.config import Config

from bench.measure import say, stoppable
from bench.samples.usage import memory_of_process, of_process
from bench.settings import carriers, written
from sandbox import session
from sandbox.access import client_principal, credentials_of
from sandbox.client import Client
from sandbox.session import Session
from sandbox.stack import opened

_REGION = "eu-west-1"
_AT_ONCE = 8
_WARM = 40  # orders, after which each function has the processes that it will have
_WITHIN = 600.0  # seconds; a fraction is usual
# Far above what two cores do, so that no limit of the deployment is measured.
_UNLIMITED = {"event-gateway:throttle": {"rate": 10_000, "burst": 5_000}}


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What some orders cost."""

    seconds: float
    cpu: float
    memory: float
    """MiB that the cloud has, without its emulator, which keeps the orders and the logs."""


class Running:
    """A cloud with our program on it."""

    def __init__(self, running: Session, outputs: dict[str, Any]) -> None:
        self._session, self._table = running, outputs["tableName"]
        self._pids = running.about["pid"], running.about["ministack"]["pid"]
        keys = credentials_of(running, client_principal(running))
        self._client = Client(url=outputs["apiUrl"], region=_REGION, credentials=keys)
        config = Config(proxies={}, max_pool_connections=_AT_ONCE)
        root: Any = boto3.Session("test", "test", region_name=_REGION)
        self._dynamodb = root.client("dynamodb", endpoint_url=running.about["ministack"]["url"], config=config)

    def ship(self, count: int) -> Batch:
        """Place so many orders, and wait until all that were ever placed are shipped."""
        cpu, began = self._cpu(), time.monotonic()
        _at_once(count, self._client.place)
        while self._pending():
            if time.monotonic() - began > _WITHIN:
                sys.exit(f"orders are still pending {_WITHIN:g} s after they were placed")
            time.sleep(0.1)
        seconds = time.monotonic() - began
        return Batch(seconds=seconds, cpu=self._cpu() - cpu, memory=memory_of_process(self._pids[0]))

    def write(self, count: int) -> float:
        """Put so many items of an order's size into a table without a stream; how many a second."""
        self._dynamodb.create_table(
            TableName="raw",
            KeySchema=[{"AttributeName": "PK", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "PK", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        began = time.monotonic()
        _at_once(count, self._put)
        return count / (time.monotonic() - began)

    def _put(self) -> None:
        self._dynamodb.put_item(TableName="raw", Item={"PK": {"S": str(uuid4())}, "order": {"S": "x" * 250}})

    def _pending(self) -> bool:
        """By the index, in which an order is for as long as it is pending."""
        return any(self._dynamodb.scan(TableName=self._table, IndexName="pending", Limit=1)["Items"])

    def _cpu(self) -> float:
        return sum(map(of_process, self._pids))


def _at_once(count: int, work: Callable[[], object]) -> None:
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for done in [pool.submit(work) for _ in range(count)]:
            done.result()


def main(folder: Path, count: int, step: int) -> dict[str, float]:
    limits = {**_UNLIMITED, "event-gateway:carriers": carriers(1, rateLimit=300)}
    settings = written(folder / "settings.yaml", limits)
    running = session.start(folder / "cloud", region=_REGION)
    try:
        state = folder / "cloud"
        with opened("local", settings=settings, state=state, pack=None, providers=running) as stack:
            run = stack.up("--skip-preview")
            if run.code:
                sys.exit(run.output)
            outputs = stack.outputs()
        deployed = Running(running, outputs)
        deployed.ship(_WARM)
        raw = deployed.write(1000)
        batches = [deployed.ship(step) for _ in range(count // step)]
    finally:
        running.stop()
    first, last = (min(pair, key=lambda batch: batch.cpu) for pair in (batches[:2], batches[-2:]))
    return {
        "raw": raw,
        "rate": count / sum(batch.seconds for batch in batches),
        "first": first.cpu / step,
        "last": last.cpu / step,
        "first_memory": first.memory,
        "last_memory": last.memory,
    }


if __name__ == "__main__":
    stoppable()
    with tempfile.TemporaryDirectory() as temporary:
        say(main(Path(temporary), int(sys.argv[1]), int(sys.argv[2])))
