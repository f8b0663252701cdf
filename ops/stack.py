"""Which deployment the commands act on: what its program exports, and AWS clients for its account and region.

Every name of a table, queue, function, rule, pipe, alarm or log group comes from the exports; nothing is guessed.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache, partial
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

ROOT = Path(__file__).resolve().parents[1]
LOCAL = "local"
"""The name of the stack that is no stack on AWS but the local cloud of `make up`."""
# No function runs for longer than 15 minutes; a throttled call is worth two more tries.
PATIENT = Config(connect_timeout=5, read_timeout=910, retries={"mode": "standard", "total_max_attempts": 3})


class RefusedError(RuntimeError):
    """The command does not fit what is there, and nothing was done; the message says what to change."""


class Holds(StrEnum):
    """What the messages of a queue are."""

    STREAM_POSITIONS = "streamPositions"
    """A pipe's dead letters, which say where in the stream the records lie."""
    UNDELIVERED = "undelivered"
    """A rule's dead letters: the event, with the error in the attributes."""
    FAILURES = "failures"
    """Records of failed invocations, as Lambda writes them and our functions too."""


@dataclass(frozen=True, kw_only=True)
class Queue:
    """A queue of what could not be delivered or applied."""

    name: str
    url: str
    holds: Holds
    redrive_with: str
    """The function that takes what lies here once more."""
    carrier: str | None


@dataclass(frozen=True, kw_only=True)
class Carrier:
    name: str
    enabled: bool
    """False: its orders wait on purpose."""
    confirm_within_hours: int
    rules: Mapping[str, str]
    """The state that each of its rules has by the settings, by the rule's name."""


@dataclass(frozen=True, kw_only=True)
class Exports:
    """What the program exports, checked."""

    account: str
    partition: str
    region: str
    api_url: str
    bus: str
    table: str
    pipe: str
    reconcile: str
    alarms: tuple[str, ...]
    log_groups: tuple[str, ...]
    carriers: tuple[Carrier, ...]
    queues: tuple[Queue, ...]

    def queue(self, name: str) -> Queue:
        """The queue with this name.

        Raises:
            RefusedError: There is none; the message lists them.

        """
        for queue in self.queues:
            if queue.name == name:
                return queue
        raise RefusedError(f"there is no queue {name!r}: this stack has {', '.join(q.name for q in self.queues)}")


@dataclass(frozen=True, kw_only=True)
class Stack:
    """A deployment whose account and region are those of the credentials at hand."""

    name: str
    exports: Exports
    client: Callable[[str], Any] = field(repr=False)
    """A boto3 client for a service, in the stack's region."""
    client_credentials: Callable[[str | None], Credentials] = field(repr=False)
    """Credentials of somebody who may place orders: those of a role that is assumed for it, or the ones at hand."""


# --- where the exports come from --------------------------------------------------------------------------------------


def opened(name: str, *, outputs: Path | None = None, state: Path | None = None) -> Stack:
    """The stack `name`, after a look at whose credentials these are.

    `local` is the local cloud, on its folder `state`; for any other stack the exports come from the file `outputs`, or
    from the `pulumi` on PATH, and the credentials from where boto3 finds them.

    Raises:
        RefusedError: There is no such stack, its exports are not those of this program, there are no credentials, or
            they are for another account or region.

    """
    if name == LOCAL and outputs is None:
        return _local(state)
    exports = read_exports(_of_file(outputs) if outputs else of_engine(name))
    session = boto3.Session()
    if session.region_name not in {None, exports.region}:
        raise RefusedError(
            f"stack {name} is in {exports.region}, your settings say {session.region_name}: "
            f"set AWS_REGION={exports.region}, or choose another stack"
        )
    session = boto3.Session(region_name=exports.region)
    make: Any = session.client
    client = cache(partial(make, config=PATIENT))
    _same_account(name, exports, client)

    def client_credentials(role: str | None) -> Credentials:
        return _assumed(client, role) if role else _own(session)

    return Stack(name=name, exports=exports, client=client, client_credentials=client_credentials)


def of_engine(name: str) -> Any:
    """What `pulumi stack output` says of the stack `name` of this program; secrets stay hidden.

    Raises:
        RefusedError: There is no pulumi on PATH, or it knows no such stack.

    """
    if (pulumi := shutil.which("pulumi")) is None:
        raise RefusedError("there is no pulumi on PATH: install it, or give what it exports with --outputs FILE")
    command = [pulumi, "stack", "output", "--json", "--non-interactive", "--stack", name, "--cwd", str(ROOT)]
    answer = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if answer.returncode:
        said = " ".join(answer.stderr.split()).removeprefix("error: ")
        raise RefusedError(f"pulumi does not know the outputs of stack {name}: {said}")
    return _json(answer.stdout, "pulumi stack output")


def _of_file(file: Path) -> Any:
    try:
        return _json(file.read_text(encoding="utf-8"), str(file))
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise RefusedError(f"{file} can't be read: {reason}") from error


def _json(text: str, origin: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise RefusedError(f"{origin} is not what `pulumi stack output --json` prints: {error}") from error


def read_exports(document: Any) -> Exports:
    """The exports of this program, as `pulumi stack output --json` shows them.

    Raises:
        RefusedError: One is missing or is something else; the message names it.

    """
    read = _Reader(document)
    return Exports(
        account=read.text("account"),
        partition=read.text("partition"),
        region=read.text("region"),
        api_url=read.text("apiUrl"),
        bus=read.text("busName"),
        table=read.text("tableName"),
        pipe=read.text("pipeName"),
        reconcile=read.text("reconcileFunction"),
        alarms=read.texts("alarms"),
        log_groups=read.texts("logGroups"),
        carriers=tuple(
            Carrier(
                name=name,
                enabled=carrier.boolean("enabled"),
                confirm_within_hours=carrier.number("confirmWithinHours"),
                rules={rule: states.text(rule) for states in [carrier.inner("rules")] for rule in states.document},
            )
            for name, carrier in read.each("carriers")
        ),
        queues=tuple(
            Queue(
                name=name,
                url=queue.text("url"),
                holds=queue.one_of("holds", Holds),
                redrive_with=queue.text("redriveWith"),
                carrier=queue.document.get("carrier"),
            )
            for name, queue in read.each("deadLetters")
        ),
    )


class _Reader:
    """One object of the exports."""

    def __init__(self, document: Any, path: str = "") -> None:
        if not isinstance(document, dict):
            raise self._wrong(path or "the document", "an object")
        self.document: dict[str, Any] = document
        self._path = path

    def text(self, name: str) -> str:
        value = self.document.get(name)
        if not isinstance(value, str) or not value:
            raise self._wrong(self._path + name, "a text")
        return value

    def number(self, name: str) -> int:
        value = self.document.get(name)
        # Pulumi keeps numbers as floats, and Python takes truth for one.
        if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value):
            raise self._wrong(self._path + name, "a whole number")
        return int(value)

    def boolean(self, name: str) -> bool:
        value = self.document.get(name)
        if not isinstance(value, bool):
            raise self._wrong(self._path + name, "true or false")
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        value = self.document.get(name)
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self._wrong(self._path + name, "a list of texts")
        return tuple(value)

    def one_of(self, name: str, kind: type[Holds]) -> Holds:
        value = self.text(name)
        if value not in set(kind):
            raise self._wrong(self._path + name, f"one of {', '.join(kind)}")
        return kind(value)

    def inner(self, name: str) -> _Reader:
        return _Reader(self.document.get(name), f"{self._path}{name}.")

    def each(self, name: str) -> list[tuple[str, _Reader]]:
        inner = self.inner(name)
        return [(key, inner.inner(key)) for key in inner.document]

    @staticmethod
    def _wrong(path: str, kind: str) -> RefusedError:
        return RefusedError(
            f"these are not the outputs of this program: {path.rstrip('.')} is not {kind}; deploy it with `pulumi up`"
        )


# --- whose credentials ------------------------------------------------------------------------------------------------


def _same_account(name: str, exports: Exports, client: Callable[[str], Any]) -> None:
    try:
        account = client("sts").get_caller_identity()["Account"]
    except NoCredentialsError as error:
        raise RefusedError("there are no AWS credentials: log in, or set AWS_PROFILE") from error
    except (BotoCoreError, ClientError) as error:
        raise RefusedError(f"AWS does not say whose credentials these are: {error}") from error
    if account != exports.account:
        raise RefusedError(
            f"stack {name} is in account {exports.account}, your credentials are of account {account}: "
            "use others, or choose another stack"
        )


def _own(session: boto3.Session) -> Credentials:
    if (credentials := session.get_credentials()) is None:
        raise NoCredentialsError
    return credentials


def _assumed(client: Callable[[str], Any], role: str) -> Credentials:
    keys = client("sts").assume_role(RoleArn=role, RoleSessionName="smoke")["Credentials"]
    return Credentials(keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"])


# --- the local cloud --------------------------------------------------------------------------------------------------


def _local(state: Path | None) -> Stack:
    # Who operates a stack on AWS has no use for the emulator, and need not wait until it is imported.
    from sandbox.access import SessionError, accessed  # noqa: PLC0415

    try:
        access = accessed(state)
    except SessionError as error:
        raise RefusedError(str(error)) from error
    exports, client = read_exports(access.outputs), cache(access.client)
    _same_account(LOCAL, exports, client)
    return Stack(name=LOCAL, exports=exports, client=client, client_credentials=access.client_credentials)
