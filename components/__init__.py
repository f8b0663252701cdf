"""The event gateway as components; each works alone in another program."""

from components.carrier_integration import CarrierIntegration, CarrierIntegrationArgs, Credential
from components.function import Compute
from components.mock_carrier import MockCarrier, MockCarrierArgs
from components.observability import Observability, ObservabilityArgs
from components.orders_api import OrdersApi, OrdersApiArgs, Throttle
from components.orders_bus import OrdersBus, OrdersBusArgs
from components.orders_store import OrdersStore, OrdersStoreArgs
from components.reconcile import Reconcile, ReconcileArgs
from components.scope import Scope
from components.stream_pipe import StreamPipe, StreamPipeArgs

__all__ = [
    "CarrierIntegration",
    "CarrierIntegrationArgs",
    "Compute",
    "Credential",
    "MockCarrier",
    "MockCarrierArgs",
    "Observability",
    "ObservabilityArgs",
    "OrdersApi",
    "OrdersApiArgs",
    "OrdersBus",
    "OrdersBusArgs",
    "OrdersStore",
    "OrdersStoreArgs",
    "Reconcile",
    "ReconcileArgs",
    "Scope",
    "StreamPipe",
    "StreamPipeArgs",
    "Throttle",
]
