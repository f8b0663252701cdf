"""From deployed resources to workers: pipes, rule targets and schedules run as they are deployed at that moment."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

from sandbox.authority import Authority
from sandbox.clock import CloudClock
from sandbox.delivery import ApiDestination, ApiDestinationTarget, ApiKey, Basic, Parameters, ToApiDestination
from sandbox.faults import Faults, KilledError, Kind, Worker
from sandbox.iam import RoleSession, Service
from sandbox.invocation import AsyncPolicy, Functions, FunctionTarget, ToFunction
from sandbox.jobs import REVIVAL, Dispatcher, Hop, Killed, queue_url
from sandbox.live import bus_name, target_queue
from sandbox.ministack import MiniStack, Queues, Root
from sandbox.pipe import Pipe, PipeSettings
from sandbox.provider.kind import Place
from sandbox.registry import Registry
from sandbox.retry import Journal, Limiter, RetryPolicy
from sandbox.schedule import Schedule, seconds
from sandbox.services import Handover, Lambda, Runs, ScheduledHandover, ServiceOutbox

_log = logging.getLogger(__name__)

Properties = Mapping[str, Any]

PIPE = "aws-native:pipes:Pipe"
TARGET = "aws:cloudwatch/eventTarget:EventTarget"
SCHEDULE = "aws:scheduler/schedule:Schedule"
_DESTINATION = "aws:cloudwatch/eventApiDestination:EventApiDestination"
_CONNECTION = "aws:cloudwatch/eventConnection:EventConnection"
_FUNCTION = "aws:lambda/function:Function"
_INVOKE_CONFIG = "aws:lambda/functionEventInvokeConfig:FunctionEventInvokeConfig"


# Two of each queue, of which each of a hundred carriers has two; they are opened when they are needed.
_QUEUE_CONNECTIONS = 400


class _MissingError(LookupError):
    """No resource with this ARN is deployed."""


class Wiring:
    """Starts, changes and stops what works on events. For one thread at a time."""

    def __init__(
        self,
        *,
        registry: Registry,
        authority: Authority,
        ministack: MiniStack,
        front: str,
        place: Place,
        state: Path,
        time_factor: float,
        faults: Faults,
        clock: CloudClock,
    ) -> None:
        """`front` is where roles find AWS.

        Waits of Lambda's retries, and those between the starts of a schedule, last `time_factor` of what they last on
        AWS.
        """
        self._registry = registry
        self._authority = authority
        self._ministack = ministack
        self._front = front
        self._place = place
        self._state = state
        self._time_factor = time_factor
        self._faults = faults
        self._clock = clock
        self._lambda = Lambda(authority, ministack, timeout=910, faults=faults)
        self._dispatcher = Dispatcher(
            Queues(
                Root(ministack.endpoint_url, region=place.region, account=place.account, connections=_QUEUE_CONNECTIONS)
            ),
            state=state / "deliveries",
            clock=clock,
            stamped=clock.of,
        )
        self._limiters: dict[tuple[str, int], Limiter] = {}
        self._running: dict[tuple[str, str], _Running] = {}
        """Pipes and schedules, by type and id."""

    def put(self, type_: str, id_: str, properties: Properties) -> None:
        """A resource is there, or has changed."""
        if type_ == PIPE:
            self._start(type_, id_, self._pipe(id_, properties))
        if type_ == SCHEDULE:
            self._stop(type_, id_)
            if properties.get("state", "ENABLED") == "ENABLED":
                self._start(type_, id_, self._schedule(properties))
        for target in self._affected(type_, properties):
            # While what another target is about is being replaced, that one stays as it was.
            with nullcontext() if type_ == TARGET else suppress(_MissingError):
                self._dispatcher.attach(
                    self._url(target_queue(target)),
                    self._hop(target),
                    killed=self._killed(Worker.DELIVERIES if _calls_destination(target) else Worker.INVOCATIONS),
                )

    def remove(self, type_: str, id_: str, properties: Properties) -> None:
        """A resource is about to go."""
        self._stop(type_, id_)
        if type_ == TARGET:
            self._dispatcher.detach(self._url(target_queue(properties)))

    def close(self) -> None:
        for running in self._running.values():
            running.stop()
        self._dispatcher.close()

    def _affected(self, type_: str, properties: Properties) -> list[Properties]:
        """The targets whose deliveries depend on this resource."""
        if type_ == TARGET:
            return [properties]
        arns: set[str] = set()
        if type_ in (_DESTINATION, _FUNCTION):
            arns = {properties["arn"]}
        elif type_ == _CONNECTION:
            destinations = self._registry.of(_DESTINATION).values()
            arns = {found["arn"] for found in destinations if found["connectionArn"] == properties["arn"]}
        elif type_ == _INVOKE_CONFIG:
            arns = {self._place.arn("lambda", f"function:{properties['functionName']}")}
        return [target for target in self._registry.of(TARGET).values() if target["arn"] in arns]

    def _start(self, type_: str, id_: str, make: Callable[[], Pipe | Schedule]) -> None:
        self._stop(type_, id_)
        self._running[type_, id_] = _Running(make, id_)

    def _stop(self, type_: str, id_: str) -> None:
        if running := self._running.pop((type_, id_), None):
            running.stop()

    def _killed(self, worker: Worker) -> Killed:
        return lambda: self._faults.strike(Kind.WORKER_KILLED, worker=worker) is not None

    def _pipe(self, id_: str, pipe: Properties) -> Callable[[], Pipe]:
        stream = pipe["sourceParameters"]["dynamoDbStreamParameters"]
        target = pipe["targetParameters"]
        emitted = target["eventBridgeEventBusParameters"]
        dead_letters = stream.get("deadLetterConfig", {}).get("arn")
        session = self._authority.session(
            pipe["roleArn"],
            by=Service(name="pipes.amazonaws.com", source_arn=pipe["arn"], source_account=self._place.account),
            session=pipe["name"],
            region=self._place.region,
        )

        def client(service: str) -> Any:
            make: Any = session.client
            return make(service, endpoint_url=self._front)

        settings = PipeSettings(
            arn=pipe["arn"],
            stream_arn=pipe["source"],
            bus_arn=pipe["target"],
            source=emitted["source"],
            detail_type=emitted["detailType"],
            template=target.get("inputTemplate"),
            filters=tuple(f["pattern"] for f in pipe["sourceParameters"].get("filterCriteria", {}).get("filters", [])),
            **_given(stream, batch_size="batchSize", attempts="maximumRetryAttempts", age="maximumRecordAgeInSeconds"),
            bisect=stream.get("onPartialBatchItemFailure") == "AUTOMATIC_BISECT",
            dead_letters=self._url_of(dead_letters) if dead_letters else None,
        )
        streams, bus, outbox = client("dynamodbstreams"), client("events"), client("sqs")
        journal = Journal(self._state / "pipes" / id_)
        return lambda: Pipe(
            settings,
            streams=streams,
            bus=bus,
            outbox=outbox,
            journal=journal,
            clock=self._clock,
            stamped=self._clock.of,
            killed=self._killed(Worker.PIPE),
        )

    def _hop(self, target: Properties) -> Hop:
        rule: dict[str, Any] = {
            "rule_arn": self._place.arn("events", f"rule/{bus_name(target)}/{target['rule']}"),
            "arn": target["arn"],
            "retry": _retry_policy(target),
            "dead_letters": self._url_of(target["deadLetterConfig"]["arn"]) if "deadLetterConfig" in target else None,
        }
        on_behalf = Service(
            name="events.amazonaws.com", source_arn=rule["rule_arn"], source_account=self._place.account
        )
        if _calls_destination(target):
            return self._to_destination(target, rule, on_behalf)
        return self._to_function(rule, Handover(self._lambda, on_behalf), on_behalf)

    def _schedule(self, schedule: Properties) -> Callable[[], Schedule]:
        target = schedule["target"]
        started: dict[str, Any] = {
            "rule_arn": schedule["arn"],
            "arn": target["arn"],
            "retry": _retry_policy(target),
        }
        group = self._place.arn("scheduler", f"schedule-group/{schedule['groupName']}")
        scheduler = Service(name="scheduler.amazonaws.com", source_arn=group, source_account=self._place.account)
        role = RoleSession(role_arn=target["roleArn"], session=schedule["name"])
        handover = ScheduledHandover(self._authority, self._lambda, scheduler, role)
        every = seconds(schedule["scheduleExpression"]) * self._time_factor
        return lambda: Schedule(
            # Anew each time: the function and its configuration are those of that moment.
            lambda: self._to_function(started, handover, scheduler),
            body=target["input"],
            every=every,
            clock=self._clock,
            killed=self._killed(Worker.SCHEDULES),
        )

    def _to_destination(self, target: Properties, rule: dict[str, Any], on_behalf: Service) -> Hop:
        destination = self._by_arn(_DESTINATION, target["arn"])
        connection = self._by_arn(_CONNECTION, destination["connectionArn"])
        transformer = target.get("inputTransformer", {})
        added = target.get("httpTarget", {})
        rate = destination["invocationRateLimitPerSecond"]
        role = RoleSession(role_arn=target["roleArn"], session="EventBridge")

        def denied() -> str | None:
            # No credentials: there is no service to show them to.
            for decision in (
                self._authority.decide(on_behalf, "sts:AssumeRole", role.role_arn),
                self._authority.decide(role, "events:InvokeApiDestination", target["arn"]),
            ):
                if not decision.allowed:
                    return decision.reason
            return None

        return ToApiDestination(
            ApiDestinationTarget(
                **rule,
                destination=ApiDestination(
                    endpoint=destination["invocationEndpoint"],
                    method=destination["httpMethod"],
                    authorization=_authorization(connection["authParameters"]),
                ),
                paths=transformer.get("inputPaths", {}),
                template=transformer.get("inputTemplate"),
                parameters=Parameters(
                    headers=added.get("headerParameters", {}), query=added.get("queryStringParameters", {})
                ),
            ),
            rate=self._limiters.setdefault((target["arn"], rate), Limiter(rate)),
            outbox=ServiceOutbox(self._authority, self._ministack, self._place, on_behalf),
            denied=denied,
            clock=self._clock,
        )

    def _to_function(self, target: dict[str, Any], handover: Functions, on_behalf: Service) -> Hop:
        function = self._by_arn(_FUNCTION, target["arn"])
        config: Properties = next(
            (c for c in self._registry.of(_INVOKE_CONFIG).values() if c["functionName"] == function["name"]), {}
        )
        on_failure = config.get("destinationConfig", {}).get("onFailure", {}).get("destination")
        records = self._authority.session(
            function["role"],
            by=Service(name="lambda.amazonaws.com", source_account=self._place.account),
            session=function["name"],
            region=self._place.region,
        )
        return ToFunction(
            FunctionTarget(
                **target,
                policy=AsyncPolicy(
                    **_given(config, retries="maximumRetryAttempts", age="maximumEventAgeInSeconds")
                ).scaled(self._time_factor),
                on_failure=self._url_of(on_failure) if on_failure else None,
                timeout=float(function.get("timeout", 3)),
            ),
            handover=handover,
            functions=Runs(self._lambda),
            outbox=ServiceOutbox(self._authority, self._ministack, self._place, on_behalf),
            records=records.client("sqs", endpoint_url=self._front),
            clock=self._clock,
        )

    def _by_arn(self, type_: str, arn: str) -> Properties:
        for found in self._registry.of(type_).values():
            if found["arn"] == arn:
                return found
        raise _MissingError(f"{arn} is not deployed")

    def _url(self, queue: str) -> str:
        return self._url_of(self._place.arn("sqs", queue))

    def _url_of(self, queue_arn: str) -> str:
        return queue_url(self._ministack.endpoint_url, queue_arn)


def _given(properties: Properties, **names: str) -> dict[str, Any]:
    """The properties that are there, by other names: for what isn't, whoever takes these has AWS's default."""
    return {name: properties[given] for name, given in names.items() if given in properties}


def _retry_policy(target: Properties) -> RetryPolicy:
    limits = target.get("retryPolicy", {})
    return RetryPolicy(**_given(limits, attempts="maximumRetryAttempts", age="maximumEventAgeInSeconds"))


def _calls_destination(target: Properties) -> bool:
    return ":api-destination/" in target["arn"]


class _Running:
    """A worker with its thread; one that was killed is followed by another one."""

    def __init__(self, make: Callable[[], Pipe | Schedule], name: str) -> None:
        self._make = make
        self._name = name
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def _work(self) -> None:
        while not self._stopping.is_set():
            try:
                self._make().run(self._stopping)
            except KilledError:
                _log.warning("%s: the worker was killed: another one takes over", self._name)
                self._stopping.wait(REVIVAL)

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()


def _authorization(parameters: Properties) -> Basic | ApiKey:
    if basic := parameters.get("basic"):
        return Basic(basic["username"], basic["password"])
    return ApiKey(parameters["apiKey"]["key"], parameters["apiKey"]["value"])
