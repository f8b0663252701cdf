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
from pathlib import Path
from typing import Any, Self

import boto3
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
