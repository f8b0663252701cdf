"""What a tool of an operator may know of the local cloud that runs: where its AWS is, and what is deployed there.

The only module of the local cloud, with `client`, that `ops` may use: to it, the local cloud is one more account.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.credentials import Credentials

from sandbox import session
from sandbox.session import Session, SessionError

__all__ = ["Access", "SessionError", "accessed", "client_principal", "credentials_of"]

_STATE = Path(__file__).resolve().parents[1] / "build" / "state" / "local"
_API = "aws:apigateway/restApi:RestApi"
_PIPE = "aws-native:pipes:Pipe"


@dataclass(frozen=True, kw_only=True)
class Access:
    """A local cloud with a deployment on it."""

    outputs: Mapping[str, Any]
    """What the program exports."""
    running: Session

    def client(self, service: str) -> Any:
        """A boto3 client in the deployment's region, whatever the environment says of AWS and of proxies.

        It acts as the root of the account, whom no policy restricts: `python -m ops policy` prints what an operator
        needs on AWS.
        """
        if service == "pipes":
            return _Pipes(self.running)
        make: Any = _root(self.outputs["region"]).client
        url = self.running.about["ministack"]["url"]
        # A function may run for 15 minutes.
        config = Config(proxies={}, read_timeout=910, retries={"total_max_attempts": 1})
        return make(service, endpoint_url=url, config=config)

    def client_credentials(self, role: str | None = None) -> Credentials:
        """Credentials of the role with this ARN that the deployed API admits as a client; of the first by default."""
        return credentials_of(self.running, role or client_principal(self.running))


@cache
def _root(region: str) -> boto3.Session:
    """One session, since each reads the services' models anew."""
    return boto3.Session("test", "test", region_name=region)


class _Pipes:
    """Pipes are run by the local cloud itself, and not by the emulator that has its other services."""

    def __init__(self, running: Session) -> None:
        self._running = running

    def describe_pipe(self, *, Name: str) -> dict[str, str]:  # noqa: N803 - the parameter of AWS's API
        """As boto3's, of what is deployed: a pipe here runs if it should."""
        deployed = self._running.ask("resources", type=_PIPE, properties=["name", "desiredState"]).values()
        wanted = next((pipe["desiredState"] for pipe in deployed if pipe["name"] == Name), "DELETED")
        return {"Name": Name, "DesiredState": wanted, "CurrentState": wanted}


def accessed(state: Path | None = None) -> Access:
    """The cloud that runs on the folder `state`, and what was deployed on it last.

    Raises:
        SessionError: Nothing runs, or nothing is deployed; the message says what to do.

    """
    folder = (state or _STATE).absolute()
    running = session.found(folder)
    outputs = folder / "outputs.json"
    if running is None or not outputs.exists():
        raise SessionError("nothing runs: start it with `make up`")
    return Access(outputs=json.loads(outputs.read_text(encoding="utf-8")), running=running)


def client_principal(running: Session) -> str:
    """The ARN of the first principal that may place orders, as the deployed API says."""
    (api,) = running.ask("resources", type=_API, properties=["body"]).values()
    policy = json.loads(api["body"])["x-amazon-apigateway-policy"]
    statement = next(s for s in policy["Statement"] if any("/POST/orders" in r for r in s["Resource"]))
    return statement["Condition"]["StringEquals"]["aws:PrincipalArn"][0]


def credentials_of(running: Session, principal: str) -> Credentials:
    """Credentials of a role or user that the settings name and the program does not deploy."""
    keys = running.ask("credentials", principal=principal)
    return Credentials(keys["access_key_id"], keys["secret"], keys["token"] or None)
