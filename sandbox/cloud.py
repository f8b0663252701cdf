"""The local cloud: one process that holds what is deployed and runs it, until it is told to stop.

`python -m sandbox.cloud STATE` starts MiniStack, the providers that the engine attaches to, the gateway, function URLs
and the workers; everything listens on 127.0.0.1. Once all of it serves, `STATE/cloud.json` says where.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import secrets
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import urllib3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as Keys
from botocore.exceptions import ClientError, ReadTimeoutError

from sandbox import ministack, retry
from sandbox.accesslog import AccessLog
from sandbox.authority import Authority, Credentials, DeniedError
from sandbox.clock import CloudClock
from sandbox.control import control
from sandbox.faults import Faults
from sandbox.front import front
from sandbox.gateway import (
    Deployments,
    Gateway,
    IntegrationRefusedError,
    IntegrationThrottledError,
    Invocation,
    Pipeline,
    ServiceAnswer,
    UnsupportedError,
)
from sandbox.iam import DecisionLog, Service
from sandbox.live import Live, NotLiveError
from sandbox.ministack import MiniStack, MiniStackError
from sandbox.private import write_private
from sandbox.provider.kind import Place
from sandbox.provider.server import World, WorldError, serve
from sandbox.provider.values import plain
from sandbox.registry import Registry
from sandbox.services import THROTTLED, Lambda
from sandbox.serving import served
from sandbox.urls import URL_TYPE, function_urls
from sandbox.wiring import Wiring

STATE_FILE = "cloud.json"
TEMPORARY = "tmp"
"""The folder, within the state, of what a cloud must not leave behind however it ends."""
JOURNAL = "journal"
"""The folder, within the state, of what the workers have to remember."""
_GATEWAY_TIMEOUT = 29.0  # seconds that API Gateway waits for an integration
_STAGE = "aws:apigateway/stage:Stage"


class Cloud(World):
    """What the providers deploy to. Makes and runs each resource; the engine may call from several threads."""

    def __init__(self, emulator: MiniStack, place: Place, state: Path, program: Path, time_factor: float) -> None:
        self.place = place
        self.registry = Registry()
        self.log = DecisionLog()
        self._deployments = Deployments()
        self.authority = Authority(self.registry, self.log, apis=self._deployments.policy)
        self.ministack = emulator
        self.modes: dict[str, str] = {}
        """What the mock carrier with this function's name does instead of its work."""
        self.faults = Faults()
        self.clock = CloudClock()
        self.urls: dict[str, str] = {}
        """Where what is served: front, gateway, functions, control."""
        self._state = state
        self._program = program
        self._time_factor = time_factor
        self._lock = threading.Lock()
        self._functions = Lambda(self.authority, emulator, timeout=_GATEWAY_TIMEOUT, faults=self.faults)
        self._http = urllib3.PoolManager(maxsize=64, timeout=_GATEWAY_TIMEOUT, retries=False)
        self._roles: dict[str, Credentials] = {}
        self._roles_lock = threading.Lock()

    def serve(self, stack: ExitStack) -> None:
        """Start the servers and workers; they end with `stack`."""
        apis = front(
            self.authority,
            ministack=self.ministack.endpoint_url,
            place=self.place,
            faults=self.faults,
            clock=self.clock,
        )
        self.urls["front"] = stack.enter_context(served(apis))
        pipeline = Pipeline(
            self._deployments.stage,
            authority=self.authority,
            invoke=self._invoke,
            call_service=self._call_service,
            access_log=stack.enter_context(AccessLog(self.ministack.client("logs"))).write,
            skipped_since=self.clock.skipped_since,
        )
        self.urls["gateway"] = stack.enter_context(served(Gateway(pipeline)))
        urls = function_urls(self.registry, self._functions, headers=self._headers)
        self.urls["functions"] = stack.enter_context(served(urls))
        self._live = Live(self.ministack, function_endpoint=self.urls["front"], program=self._program)
        self._wiring = Wiring(
            registry=self.registry,
            authority=self.authority,
            ministack=self.ministack,
            front=self.urls["front"],
            place=self.place,
            state=self._state / JOURNAL,
            time_factor=self._time_factor,
            faults=self.faults,
            clock=self.clock,
        )
        stack.callback(self._wiring.close)

    def put(
        self, type_: str, id_: str, properties: Mapping[str, Any], old: Mapping[str, Any] | None
    ) -> Mapping[str, Any]:
        with self._lock:
            known = plain(properties)
            try:
                decided = {
                    **self._live.put(type_, known, plain(old) if old else None),
                    **self._addresses(type_, id_, known),
                }
                known |= decided
                self._deployments.put(type_, id_, known)
                self.registry.put(type_, id_, known)
                self._wiring.put(type_, id_, known)
            except (ClientError, DeniedError, LookupError, NotLiveError, UnsupportedError) as error:
                raise WorldError(str(error)) from error
            return decided

    def remove(self, type_: str, id_: str, properties: Mapping[str, Any]) -> None:
        with self._lock:
            known = plain(properties)
            try:
                self._wiring.remove(type_, id_, known)
                self._live.remove(type_, known)
                self._deployments.remove(type_, id_)
            except (ClientError, UnsupportedError) as error:
                raise WorldError(str(error)) from error
            self.registry.remove(type_, id_)

    def _addresses(self, type_: str, id_: str, properties: Mapping[str, Any]) -> dict[str, str]:
        """Where a resource is reached on this machine, instead of on AWS."""
        if type_ == _STAGE:
            return {"invokeUrl": f"{self.urls['gateway']}/{properties['stageName']}"}
        if type_ == URL_TYPE:
            return {"functionUrl": f"{self.urls['functions']}/{id_}/"}
        return {}

    def _headers(self, function: str) -> Mapping[str, str]:
        mode = self.modes.get(function)
        return {"x-carrier-mode": mode} if mode else {}

    def _invoke(self, function_arn: str, payload: bytes, *, source_arn: str, timeout: float) -> Invocation:  # noqa: ARG002 - the client's own, which is the gateway's
        caller = Service(name="apigateway.amazonaws.com", source_arn=source_arn, source_account=self.place.account)
        if reason := self._functions.refusal(caller, function_arn):
            raise IntegrationRefusedError(reason)
        try:
            answer = self._functions.invoke(function_arn, payload)
        except ReadTimeoutError as error:
            raise TimeoutError from error
        except retry.AWS_ERRORS as error:
            if retry.code(error) == THROTTLED:
                raise IntegrationThrottledError(str(error)) from error
            raise ConnectionError(str(error)) from error
        return Invocation(answer["Payload"].read(), answer.get("FunctionError"))

    def _call_service(self, role_arn: str, target: str, body: bytes) -> ServiceAnswer:
        url = self.urls["front"] + "/"
        request = AWSRequest(
            "POST",
            url,
            data=body,
            headers={"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": target},
        )
        keys = self._in_role(role_arn)
        signed = Keys(keys.access_key_id, keys.secret, keys.token)
        SigV4Auth(signed, "events", self.place.region).add_auth(request)
        try:
            answer = self._http.request("POST", url, body=body, headers=dict(request.headers.items()))
        except urllib3.exceptions.TimeoutError as error:
            raise TimeoutError from error
        except urllib3.exceptions.HTTPError as error:
            raise ConnectionError(str(error)) from error
        return ServiceAnswer(answer.status, answer.data, tuple(answer.headers.items()))

    def _in_role(self, role_arn: str) -> Credentials:
        # Another lock than that of changes, which may wait for a delivery that ends in a request to the gateway.
        with self._roles_lock:
            keys = self._roles.get(role_arn)
            if keys is None or (keys.expires and keys.expires.timestamp() < time.time() + 60):
                try:
                    keys = self.authority.assume(
                        role_arn, by=Service(name="apigateway.amazonaws.com"), session="BackplaneAssumeRoleSession"
                    )
                except DeniedError as error:
                    raise IntegrationRefusedError(str(error)) from error
                self._roles[role_arn] = keys
            return keys


def _stop(_: int, __: object) -> None:
    raise SystemExit(0)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m sandbox.cloud", description="Run the local cloud.")
    parser.add_argument("state", type=Path)
    parser.add_argument("--region", required=True)
    parser.add_argument("--program", type=Path, required=True)
    parser.add_argument("--time-factor", type=float, default=1.0)
    parser.add_argument("--lock", type=int, help="descriptor of a lock to hold until everything serves")
    arguments = parser.parse_args()
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s %(message)s", level=logging.WARNING)
    signal.signal(signal.SIGTERM, _stop)
    place = Place(region=arguments.region)
    file = arguments.state / STATE_FILE
    # Of a cloud that is gone: what it was about, is gone too.
    for leftover in (TEMPORARY, JOURNAL):
        shutil.rmtree(arguments.state / leftover, ignore_errors=True)
    temporary = arguments.state.absolute() / TEMPORARY
    temporary.mkdir(mode=0o700)
    tempfile.tempdir = str(temporary)
    with ExitStack() as stack:
        # The last to go: whoever finds no file may start another cloud on this folder at once.
        stack.callback(file.unlink, missing_ok=True)
        stack.callback(shutil.rmtree, temporary, ignore_errors=True)
        try:
            emulator = stack.enter_context(ministack.start(region=place.region, environment={"AUTH": "true"}))
        except MiniStackError as error:
            sys.exit(str(error))
        cloud = Cloud(emulator, place, arguments.state, arguments.program, arguments.time_factor)
        cloud.serve(stack)
        ports = stack.enter_context(serve(cloud))
        token = secrets.token_urlsafe(32)
        cloud.urls["control"] = stack.enter_context(served(control(cloud, token)))
        about = {
            "instance": secrets.token_hex(8),
            "pid": os.getpid(),
            "ministack": {"pid": emulator.pid, "url": emulator.endpoint_url},
            "providers": ",".join(f"{package}:{port}" for package, port in ports.items()),
            "urls": cloud.urls,
            "token": token,
        }
        write_private(file, json.dumps(about, indent=2))
        if arguments.lock is not None:
            os.close(arguments.lock)
        while emulator.runs():
            time.sleep(0.2)
        sys.exit("MiniStack has ended, and with it everything that was on it")


if __name__ == "__main__":
    main()
