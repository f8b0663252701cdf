"""API Gateway's REST APIs: serves each stage from the OpenAPI document that the engine deployed.

What API Gateway does with a request is done here in its order; `document` names what is not emulated when an API is
deployed. Not emulated, and not told by a document: quotas of an account beyond one method's rate, limits on headers and
mapping templates, response payloads over 10 MB, caching, and execution logs but for errors.
"""

from sandbox.gateway.app import Gateway
from sandbox.gateway.deployments import Deployments, Stage
from sandbox.gateway.document import UnsupportedError
from sandbox.gateway.exchange import Answer, Incoming
from sandbox.gateway.pipeline import Pipeline
from sandbox.gateway.ports import (
    Authority,
    CallService,
    IntegrationRefusedError,
    IntegrationThrottledError,
    Invocation,
    InvokeFunction,
)
from sandbox.gateway.service import ServiceAnswer

__all__ = [
    "Answer",
    "Authority",
    "CallService",
    "Deployments",
    "Gateway",
    "Incoming",
    "IntegrationRefusedError",
    "IntegrationThrottledError",
    "Invocation",
    "InvokeFunction",
    "Pipeline",
    "ServiceAnswer",
    "Stage",
    "UnsupportedError",
]
