"""MiniStack, an emulator of AWS in pure Python, as a process of its own on 127.0.0.1."""

from __future__ import annotations

import http.client
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self, cast
from urllib.parse import urlsplit

import boto3
import urllib3
from botocore import exceptions
from botocore.config import Config

_HOST = "127.0.0.1"
_READY_WITHIN = 30.0  # seconds; 0.3 are usual
_STOP_WITHIN = 5.0


class MiniStackError(RuntimeError):
    """MiniStack did not come up; the message ends with what it printed last."""


class MiniStack:
    """A running MiniStack with nothing in it. As a context manager it stops at the end."""

    def __init__(self, process: subprocess.Popen[bytes], *, folder: Path, port: int, region: str) -> None:
        self._process = process
        self._folder = folder
        self._lock = threading.Lock()
        self._clients: dict[tuple[Any, ...], Any] = {}
        self.endpoint_url = f"http://{_HOST}:{port}"
        self.region = region

    @property
    def pid(self) -> int:
        return self._process.pid

    def runs(self) -> bool:
        """Whether the process is still there."""
        return self._process.poll() is None

    def client(self, service: str, **config: Any) -> Any:
        """A boto3 client that talks to this MiniStack only, whatever the environment says of AWS and of proxies.

        It acts as the root of the account, and never tries again: on one machine that hides errors and mends none.
        `config` are further arguments of botocore's Config.
        """
        with self._lock:
            # A client takes a tenth of a second to make, and serves any number of threads.
            key = (service, *sorted(config.items()))
            if key not in self._clients:
                self._clients[key] = self._make_client(service, config)
            return self._clients[key]

    def _make_client(self, service: str, given: Mapping[str, Any]) -> Any:
        make: Any = boto3.Session("test", "test", region_name=self.region).client
        config: dict[str, Any] = {"proxies": {}, "retries": {"total_max_attempts": 1}, **given}
        return make(service, endpoint_url=self.endpoint_url, config=Config(**config))

    def stop(self) -> None:
        """End the process and those it started, and remove its files. Once stopped, does nothing."""
        _end(self._process)
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class Root:
    """Calls MiniStack's services as the root of the account, without an SDK: a third of the CPU time of a boto3 client.

    Nothing is checked that an SDK would check before it sends. For any number of threads.
    """

    def __init__(
        self,
        endpoint_url: str,
        *,
        region: str,
        account: str = "000000000000",
        timeout: float = 60,
        connections: int = 64,
    ) -> None:
        """`timeout` is how many seconds an answer is waited for."""
        url = urlsplit(endpoint_url)
        # An attempt that failed may have had its effect: to try again is for the caller to decide.
        self._http = urllib3.HTTPConnectionPool(
            cast("str", url.hostname),
            url.port,
            maxsize=connections,
            retries=False,
            timeout=urllib3.Timeout(connect=2, read=timeout),
        )
        self._account = account
        self._region = region

    def post(
        self, service: str, body: bytes, *, headers: Mapping[str, str], target: str = "/"
    ) -> urllib3.BaseHTTPResponse:
        """What the service answers.

        Raises:
            urllib3.exceptions.HTTPError: It doesn't.

        """
        # MiniStack takes the account and the region from the signature's scope, and doesn't check root's signature.
        scope = f"{self._account}/{datetime.now(UTC):%Y%m%d}/{self._region}/{service}/aws4_request"
        signature = f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=root"
        return self._http.urlopen(
            "POST",
            target,
            body=body,
            headers={**headers, "Authorization": signature},
            redirect=False,
            decode_content=False,
        )

    def call(
        self, service: str, operation: str, body: bytes, *, headers: Mapping[str, str], target: str = "/"
    ) -> urllib3.BaseHTTPResponse:
        """The same with the errors of boto3, where the service answers with one or doesn't answer."""
        try:
            answer = self.post(service, body, headers=headers, target=target)
        except urllib3.exceptions.ReadTimeoutError as error:
            raise exceptions.ReadTimeoutError(endpoint_url=target, error=error) from error
        except urllib3.exceptions.HTTPError as error:
            raise exceptions.ConnectionError(error=error) from error
        if answer.status >= http.HTTPStatus.BAD_REQUEST:
            raise _client_error(answer, operation)
        return answer


def _client_error(answer: urllib3.BaseHTTPResponse, operation: str) -> exceptions.ClientError:
    """An error of the JSON and REST protocols, with the code by which boto3 knows it."""
    try:
        content = answer.json()
    except ValueError:
        content = None
    document = cast("dict[str, Any]", content) if isinstance(content, dict) else {}
    code = str(answer.headers.get("x-amzn-ErrorType") or document.get("__type", answer.status))
    # Of a service that was a query service once.
    if legacy := answer.headers.get("x-amzn-query-error"):
        code = legacy.partition(";")[0]
    error: Any = {
        "Error": {
            "Code": code.partition(":")[0].rpartition("#")[2],
            "Message": str(document.get("message") or document.get("Message") or ""),
        },
        "ResponseMetadata": {"HTTPStatusCode": answer.status},
    }
    return exceptions.ClientError(error, operation)


class Queues:
    """SQS as boto3 has it, as far as those need it who take jobs from queues."""

    def __init__(self, root: Root) -> None:
        self._root = root

    def receive_message(self, **request: Any) -> Any:
        return self._call("ReceiveMessage", request)

    def change_message_visibility(self, **request: Any) -> Any:
        return self._call("ChangeMessageVisibility", request)

    def delete_message(self, **request: Any) -> Any:
        return self._call("DeleteMessage", request)

    def _call(self, operation: str, request: Mapping[str, Any]) -> Any:
        headers = {"Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": f"AmazonSQS.{operation}"}
        answer = self._root.call("sqs", operation, json.dumps(request).encode(), headers=headers)
        try:
            return json.loads(answer.data or b"{}")
        except ValueError as error:
            raise exceptions.HTTPClientError(error=error) from error


def start(*, region: str = "eu-west-1", environment: Mapping[str, str] | None = None) -> MiniStack:
    """Start MiniStack on a free port and wait until it serves.

    It inherits nothing of this process's environment, since it hands its own to every function it runs; `environment`
    is what it gets on top.

    Raises:
        MiniStackError: It ended early or did not answer in time.

    """
    folder = Path(tempfile.mkdtemp(prefix="ministack-"))
    port = _free_port()
    # Shows in its health report: proof that who answers on the port is the process started here.
    identity = secrets.token_hex(8)
    settings = {
        "BIND_HOST": _HOST,
        "GATEWAY_PORT": str(port),
        "MINISTACK_REGION": region,
        "MINISTACK_EDITION": identity,
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        "DOCKER_HOST": "unix:///nonexistent.sock",
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "S3_DATA_DIR": str(folder / "s3"),
        "STATE_DIR": str(folder / "state"),
        "PERSIST_STATE": "0",
        **(environment or {}),
    }
    log = folder / "ministack.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "ministack"],
            cwd=folder,
            env=settings,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    ministack = MiniStack(process, folder=folder, port=port, region=region)
    try:
        _wait(process, port, identity, log)
    except BaseException:
        ministack.stop()
        raise
    return ministack


def _wait(process: subprocess.Popen[bytes], port: int, identity: str, log: Path) -> None:
    deadline = time.monotonic() + _READY_WITHIN
    while not _serves(port, identity):
        if process.poll() is not None:
            raise MiniStackError(f"MiniStack ended with {process.returncode}:\n{_tail(log)}")
        if time.monotonic() > deadline:
            raise MiniStackError(f"MiniStack does not answer on port {port} after {_READY_WITHIN:g} s:\n{_tail(log)}")
        time.sleep(0.02)


def _serves(port: int, identity: str) -> bool:
    connection = http.client.HTTPConnection(_HOST, port, timeout=1)
    try:
        connection.request("GET", "/_ministack/health")
        if json.loads(connection.getresponse().read()).get("edition") != identity:
            return False
        connection.request("GET", "/_ministack/ready")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException, ValueError):
        return False
    finally:
        connection.close()


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    # The process leads a group of its own with the functions it runs; its id can't be another's before wait() returns.
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(_STOP_WITHIN)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        return probe.getsockname()[1]


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-2000:]
