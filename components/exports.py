"""What the program tells those who use and operate what it deployed; `ops` reads it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from components.carrier_integration import CarrierIntegration
from components.mock_carrier import MockCarrier
from components.observability import Observability
from components.orders_api import OrdersApi
from components.orders_bus import OrdersBus
from components.orders_store import OrdersStore
from components.queue import DeadLetterQueue
from components.reconcile import Reconcile
from components.settings import Settings
from components.stream_pipe import StreamPipe


def exports(
    settings: Settings,
    *,
    store: OrdersStore,
    bus: OrdersBus,
    api: OrdersApi,
    pipe: StreamPipe,
    reconcile: Reconcile,
    observability: Observability,
    carriers: Mapping[str, CarrierIntegration],
    mocks: Mapping[str, MockCarrier],
) -> dict[str, Any]:
    """The outputs of the stack, by name; nothing of them is secret.

    `deadLetters` has every queue of what could not be delivered or applied, with what its messages are (`holds`) and
    which function takes what is redriven.
    """
    functions = [
        api.function,
        *(carrier.confirm for carrier in carriers.values()),
        reconcile.function,
        *(mock.function for mock in mocks.values()),
    ]
    return {
        "account": settings.scope.account,
        "partition": settings.scope.partition,
        "region": settings.scope.region,
        "apiUrl": api.url,
        "busName": bus.name,
        "tableName": store.table_name,
        "pipeName": pipe.name,
        "reconcileFunction": reconcile.function.known_name,
        "alarms": observability.alarm_names,
        "logGroups": [function.log_group for function in functions],
        "carriers": {
            carrier.name: {
                "enabled": carrier.enabled,
                "confirmWithinHours": carrier.confirm_within,
                "rules": {
                    carriers[carrier.name].orders_rule: "ENABLED" if carrier.enabled else "DISABLED",
                    carriers[carrier.name].confirm_rule: "ENABLED",
                },
            }
            for carrier in settings.carriers
        },
        "deadLetters": _dead_letters(pipe, reconcile, carriers),
    }


def _dead_letters(
    pipe: StreamPipe, reconcile: Reconcile, carriers: Mapping[str, CarrierIntegration]
) -> dict[str, dict[str, Any]]:
    again = reconcile.function.known_name
    found = {
        "pipe": _queue(pipe.dead_letters, "streamPositions", again),
        "overdue": _queue(reconcile.overdue, "failures", again),
    }
    for name, carrier in carriers.items():
        confirm = carrier.confirm.known_name
        found |= {
            f"{name}-dead-letters": _queue(carrier.dead_letters, "undelivered", again, name),
            f"{name}-undelivered": _queue(carrier.undelivered, "undelivered", confirm, name),
            f"{name}-failures": _queue(carrier.failures, "failures", confirm, name),
        }
    return found


def _queue(queue: DeadLetterQueue, holds: str, redrive_with: str, carrier: str | None = None) -> dict[str, Any]:
    return {"url": queue.url, "holds": holds, "redriveWith": redrive_with, "carrier": carrier}
