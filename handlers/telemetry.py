"""The one logger and the one set of metrics of a function.

Log lines carry ids, states and reasons; a body, a header or a credential is never passed to the logger.

Environment: POWERTOOLS_SERVICE_NAME, which each log line and metric bears and which keeps stacks in one account apart;
POWERTOOLS_METRICS_NAMESPACE.
"""

from __future__ import annotations

from enum import StrEnum

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit

from handlers.runtime import setting

_SERVICE = setting("POWERTOOLS_SERVICE_NAME")

logger = Logger(service=_SERVICE, utc=True, use_rfc3339=True)
# Decorates an entry: the invocation's ids in each line, and no key of the invocation before. Said here so that
# POWERTOOLS_LOGGER_LOG_EVENT can't switch on the logging of whole events.
invocation = logger.inject_lambda_context(log_event=False, clear_state=True)

# Checked here, or the first metric would fail after the order is stored.
_metrics = Metrics(namespace=setting("POWERTOOLS_METRICS_NAMESPACE"), service=_SERVICE)


class Count(StrEnum):
    """The metrics; each has one dimension, `service`."""

    PLACED = "OrderPlaced"
    REPLAYED = "OrderReplayed"
    SHIPPED = "OrderShipped"
    REJECTED = "ConfirmationRejected"
    OVERDUE = "OrderOverdue"
    REEMITTED = "OrderReemitted"
    NOT_REEMITTED = "OrderNotReemitted"
    UNCONFIRMED = "OrderUnconfirmed"
    CUT_SHORT = "SweepCutShort"


def count(what: Count) -> None:
    """Add one, and write it at once: Powertools' decorator complains about each invocation that counted nothing."""
    _metrics.add_metric(name=what, unit=MetricUnit.Count, value=1)
    _metrics.flush_metrics()
