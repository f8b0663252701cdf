"""What AWS services do by themselves on the local cloud, each only as far as the deployed policies let it."""

from __future__ import annotations

import io
import json
import threading
import uuid
from collections import defaultdict
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import urllib3
from botocore.exceptions import ClientError

from sandbox.authority import Authority, DeniedError
from sandbox.faults import Faults, Kind
from sandbox.iam import Anonymous, Principal, RoleSession, Service
from sandbox.ministack import MiniStack, Root
from sandbox.provider.kind import Place

_CONNECTIONS = 128
# MiniStack starts a process for each execution that finds none idle, which takes a core for half a second.
_EXECUTIONS = 4
_INVOCATIONS = "/2015-03-31/functions/{}/invocations"
_JSON = {"Content-Type": "application/json"}
THROTTLED = "TooManyRequestsException"


def _denied(reason: str, operation: str) -> ClientError:
    return ClientError({"Error": {"Code": "AccessDeniedException", "Message": reason}}, operation)


def _not_found(reason: str) -> ClientError:
    return ClientError({"Error": {"Code": "ResourceNotFoundException", "Message": reason}}, "Invoke")


def _crashed() -> Mapping[str, Any]:
    """What Lambda answers when a function's process has ended."""
    message = f"RequestId: {uuid.uuid4()} Error: Runtime exited with error: exit status 1"
    payload = json.dumps({"errorType": "Runtime.ExitError", "errorMessage": message})
    return {"StatusCode": 200, "FunctionError": "Unhandled", "Payload": io.BytesIO(payload.encode())}


def _invocation(answer: urllib3.BaseHTTPResponse) -> Mapping[str, Any]:
    members = {"ExecutedVersion": "X-Amz-Executed-Version", "FunctionError": "X-Amz-Function-Error"}
    told = {member: answer.headers[header] for member, header in members.items() if header in answer.headers}
    return {"StatusCode": answer.status, **told, "Payload": io.BytesIO(answer.data)}


class ServiceOutbox:
    """Sends to queues as an AWS service on behalf of one resource, such as EventBridge for a rule."""

    def __init__(self, authority: Authority, ministack: MiniStack, place: Place, principal: Service) -> None:
        self._authority = authority
        self._sqs = ministack.client("sqs")
        self._place = place
        self._principal = principal

    def send_message(self, **request: Any) -> Any:
        """As boto3's; refused with AccessDeniedException where the queue's policy does not admit the service."""
        queue = str(request["QueueUrl"]).rpartition("/")[2]
        decision = self._authority.decide(self._principal, "sqs:SendMessage", self._place.arn("sqs", queue))
        if not decision.allowed:
            raise _denied(decision.reason, "SendMessage")
        return self._sqs.send_message(**request)


class Lambda:
    """Runs functions for whoever their policies let, in processes of MiniStack.

    Of each function a few executions run at once and further ones wait, where AWS would start as many as it takes.
    """

    def __init__(self, authority: Authority, ministack: MiniStack, *, timeout: float, faults: Faults) -> None:
        """`timeout` is how many seconds a caller waits for an answer."""
        self._authority = authority
        self._faults = faults
        self._root = Root(ministack.endpoint_url, region=ministack.region, timeout=timeout, connections=_CONNECTIONS)
        self._lock = threading.Lock()
        self._executions: dict[str, threading.Semaphore] = defaultdict(lambda: threading.Semaphore(_EXECUTIONS))

    def invoke(self, function_arn: str, payload: bytes) -> Mapping[str, Any]:
        """Run a function, as Lambda itself: boto3's answer.

        Raises:
            ClientError: The function is not there, is throttled, or Lambda may not assume its role.

        """
        name = function_arn.rpartition(":")[2]
        try:
            self._authority.invoked(name)
        except DeniedError as error:
            raise _denied(str(error), "Invoke") from error
        except LookupError as error:
            raise _not_found(str(error)) from error
        if self._faults.strike(Kind.FUNCTION_THROTTLED, function=name):
            raise ClientError({"Error": {"Code": THROTTLED, "Message": "Rate Exceeded."}}, "Invoke")
        crash = self._faults.strike(Kind.FUNCTION_CRASHES, function=name)
        if crash and crash % 2:
            return _crashed()
        with self._lock:
            executions = self._executions[name]
        with executions:
            target = _INVOCATIONS.format(quote(name, safe=""))
            answer = self._root.call("lambda", "Invoke", payload, headers=_JSON, target=target)
        return _crashed() if crash else _invocation(answer)

    def refusal(self, principal: Principal, function_arn: str, context: Mapping[str, str] | None = None) -> str | None:
        """Why `principal` may not invoke the function, or None."""
        actions = ["lambda:InvokeFunction"]
        if isinstance(principal, Anonymous):
            actions.append("lambda:InvokeFunctionUrl")
        decisions = [self._authority.decide(principal, action, function_arn, context) for action in actions]
        return next((decision.reason for decision in decisions if not decision.allowed), None)

    def is_deployed(self, function_arn: str) -> bool:
        return self._authority.knows(function_arn.rpartition(":")[2])


class Handover:
    """What hands events to a function, such as EventBridge for one rule: asks whether it may, and whether it is."""

    def __init__(self, functions: Lambda, principal: Service | RoleSession) -> None:
        self._functions = functions
        self._principal = principal

    def invoke(self, **request: Any) -> Any:
        """As boto3's dry run."""
        arn = str(request["FunctionName"])
        # What is gone has no policy that could let anybody.
        if not self._functions.is_deployed(arn):
            raise _not_found(f"no function {arn} is deployed")
        if reason := self._functions.refusal(self._principal, arn):
            raise _denied(reason, "Invoke")
        return {"StatusCode": HTTPStatus.NO_CONTENT}


class ScheduledHandover:
    """EventBridge Scheduler, which hands events over to a function in a role that it assumes for each."""

    def __init__(self, authority: Authority, functions: Lambda, scheduler: Service, role: RoleSession) -> None:
        self._authority = authority
        self._scheduler = scheduler
        self._role = role
        self._handover = Handover(functions, role)

    def invoke(self, **request: Any) -> Any:
        """As boto3's dry run."""
        decision = self._authority.decide(self._scheduler, "sts:AssumeRole", self._role.role_arn)
        if not decision.allowed:
            raise _denied(decision.reason, "AssumeRole")
        return self._handover.invoke(**request)


class Runs:
    """Lambda, as the one who works on the events that it has accepted."""

    def __init__(self, functions: Lambda) -> None:
        self._functions = functions

    def invoke(self, **request: Any) -> Any:
        return self._functions.invoke(request["FunctionName"], request["Payload"])
