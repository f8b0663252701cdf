"""What the gateway asks of the rest of the local cloud."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from sandbox import iam, sigv4
from sandbox.gateway.service import ServiceAnswer


class IntegrationRefusedError(Exception):
    """API Gateway itself may not call the integration: no permission on the function, or no trust of the role."""


class IntegrationThrottledError(Exception):
    """Lambda takes no more invocations of the function now."""


class Authority(Protocol):
    """Knows access keys, and decides by the deployed policies: the resource policy of a stage's API among them."""

    def keys(self, access_key_id: str) -> sigv4.AccessKey[iam.Principal] | None: ...

    def decide(
        self,
        principal: iam.Principal,
        action: str,
        resource: str,
        context: Mapping[str, str | Sequence[str]] | None = None,
    ) -> iam.Decision: ...


class Invocation(NamedTuple):
    """How a synchronous invocation ended; `function_error` is as in Lambda's header, None if there was none."""

    payload: bytes
    function_error: str | None = None


class InvokeFunction(Protocol):
    """Invokes a function as API Gateway's service principal, on behalf of `source_arn`.

    Raises:
        TimeoutError: It takes longer than `timeout` seconds.
        IntegrationRefusedError: The function's policy doesn't allow it.
        IntegrationThrottledError: It can't be invoked now.
        ConnectionError: There is no function, or it can't be reached.

    """

    def __call__(self, function_arn: str, payload: bytes, *, source_arn: str, timeout: float) -> Invocation: ...


class CallService(Protocol):
    """Calls an action, named as in X-Amz-Target, in a role; a refusal by the service is an answer like any other.

    Raises:
        TimeoutError: It takes longer than API Gateway waits.
        IntegrationRefusedError: API Gateway may not assume the role.
        ConnectionError: There is no answer.

    """

    def __call__(self, role_arn: str, target: str, body: bytes) -> ServiceAnswer: ...
