"""Who is outside of the local cloud: who places orders, by signed requests to the deployed API; who injects faults."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Protocol

import urllib3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

_http = urllib3.PoolManager(maxsize=16, timeout=35, retries=False)


class NotTakenError(RuntimeError):
    """The API did not take an order."""


@dataclass(frozen=True, kw_only=True)
class Client:
    """Calls one API with one principal's credentials."""

    url: str
    region: str
    credentials: Credentials

    def request(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Any]:
        """The status and the document of the answer."""
        given = {**({"Content-Type": "application/json"} if body is not None else {}), **(headers or {})}
        data = b"" if body is None else json.dumps(body).encode()
        signed = AWSRequest(method, self.url + path, data=data, headers=given)
        SigV4Auth(self.credentials, "execute-api", self.region).add_auth(signed)
        answer = _http.request(method, self.url + path, body=data, headers=dict(signed.headers.items()))
        return answer.status, answer.json() if answer.data else None

    def place(self, **fields: Any) -> str:
        """The id of a new order; waits where the API says that there are too many.

        Raises:
            NotTakenError: The API refuses it.

        """
        while (placed := self.request("POST", "/orders", fields))[0] == HTTPStatus.TOO_MANY_REQUESTS:
            time.sleep(1)  # what the deployed answer says in Retry-After
        status, answer = placed
        if status != HTTPStatus.CREATED:
            raise NotTakenError(f"the order was not taken: {status} {answer}")
        return answer["order_id"]

    def read(self, order_id: str) -> dict[str, str]:
        """The order as it is now."""
        return self.request("GET", f"/orders/{order_id}")[1]

    def wait(self, order_id: str, *, within: float) -> dict[str, str]:
        """The order once it is shipped, or as it is when the time is over."""
        deadline = time.monotonic() + within
        while (order := self.read(order_id)).get("state") != "shipped" and time.monotonic() < deadline:
            time.sleep(0.05)
        return order

    def curl(self) -> str:
        """A command line that places an order as this principal."""
        parts = [
            *("curl", "--aws-sigv4", f"aws:amz:{self.region}:execute-api"),
            *("--user", f"{self.credentials.access_key}:{self.credentials.secret_key}"),
            *(("--header", f"X-Amz-Security-Token: {self.credentials.token}") if self.credentials.token else ()),
            *("--header", "Content-Type: application/json"),
            *("--data", '{"reference": "from-curl"}', f"{self.url}/orders"),
        ]
        return shlex.join(parts)


class Controlled(Protocol):
    """A local cloud that answers at its control address, such as a `Session`."""

    def ask(self, what: str, **wanted: Any) -> Any: ...


@dataclass(frozen=True)
class Saboteur:
    """Injects faults into a local cloud; `sandbox.faults` says which there are, and what each does."""

    cloud: Controlled

    def fault(
        self,
        kind: str,
        *,
        rate: float = 1.0,
        seconds: float | None = None,
        times: int | None = None,
        function: str | None = None,
        worker: str | None = None,
        seed: int | None = None,
    ) -> int:
        """Let a fault strike from now on; one that has neither `seconds` nor `times` until `clear_faults`.

        Returns the seed by which it is chosen who is struck.

        Args:
            kind: Its name, such as `table-throttled`.
            rate: The share, from 0 to 1, of what it could strike that it does strike.
            seconds: After how many it ends; for `clock-jump`, how far the clock goes forward.
            times: After how many strikes it ends.
            function: Only what this function does, or what is done to it: its name, or the end of it after a hyphen.
            worker: For `worker-killed`: only `pipe`, `deliveries`, `invocations` or `schedules`.
            seed: Choose by this seed from now on, whatever the fault.

        Raises:
            Exception: The cloud refuses it, as it does a kind that there is not: RefusedError, of a `Session`.

        """
        wanted = {
            "kind": kind,
            "rate": rate,
            "seconds": seconds,
            "times": times,
            "function": function,
            "worker": worker,
        }
        return self.cloud.ask("fault", **wanted, seed=seed)["seed"]

    def faults(self) -> dict[str, int]:
        """How often each kind of fault struck since the cloud was started, by its name; 0 for one that never did."""
        return self.fault_report()["struck"]

    def fault_report(self) -> dict[str, Any]:
        """`seed`, `struck` as of `faults`, and `active`: each fault that is, with what is left of it."""
        return self.cloud.ask("faults")

    def clear_faults(self) -> None:
        """End all faults; a clock that has jumped stays where it is, and so do the counts."""
        self.cloud.ask("clear-faults")
