"""What each stage serves: a deployment, which is its API as it was when the deployment was made.

"Deploy REST APIs in API Gateway": a change of the API is served once it is deployed again, one of the stage at once.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sandbox.gateway.document import Api, Method, UnsupportedError, read
from sandbox.gateway.exchange import OF_ERROR, OF_REQUEST, OF_RESPONSE, variables
from sandbox.gateway.throttle import ACCOUNT_LIMITS, Limits
from sandbox.iam import Policy, api_policy

_API = "aws:apigateway/restApi:RestApi"
_DEPLOYMENT = "aws:apigateway/deployment:Deployment"
_STAGE = "aws:apigateway/stage:Stage"
_SETTINGS = "aws:apigateway/methodSettings:MethodSettings"
# What other inputs say, a document can say too; here it has to.
_ONLY_IN_THE_BODY = ("binaryMediaTypes", "disableExecuteApiEndpoint", "parameters", "policy")
_EVERY_METHOD = "*/*"


class AccessLog(NamedTuple):
    destination_arn: str
    format: str


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A stage as it is now, with the API as it was deployed."""

    name: str
    deployment_id: str
    execution_arn: str
    """Of the API: `arn:aws:execute-api:{region}:{account}:{api}`."""
    api: Api
    variables: Mapping[str, str] = field(default_factory=dict[str, str])
    access_log: AccessLog | None = None
    throttling: Mapping[str, Limits] = field(default_factory=dict[str, Limits])
    """By method path: `resource/METHOD` without the first slash, or `*/*`."""

    def limits(self, method: Method) -> Limits:
        """How often one method may be called, over all callers."""
        own = self.throttling.get(f"{method.resource.removeprefix('/')}/{method.name}")
        return own or self.throttling.get(_EVERY_METHOD) or ACCOUNT_LIMITS

    @property
    def policy(self) -> Policy | None:
        """The API's resource policy, of which a change has to be deployed like any other."""
        if self.api.policy is None:
            return None
        return api_policy(f"policy of {self.execution_arn}", self.api.policy, execution_arn=self.execution_arn)


class Deployments:
    """Follows the resources of API Gateway; `put` and `remove` take what the registry takes, types of others too.

    An error of either is the deployment's: AWS would refuse it, or this gateway would serve something else. Only who
    saw a deployment being made knows what is in it, so one object has to see everything.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._apis: dict[str, tuple[str, Api]] = {}
        self._deployments: dict[str, tuple[str, Api]] = {}
        self._stages: dict[str, Mapping[str, Any]] = {}
        self._settings: dict[str, Mapping[str, Any]] = {}

    def put(self, type_: str, id_: str, properties: Mapping[str, Any]) -> None:
        with self._lock:
            if type_ == _API:
                self._apis[id_] = (properties["executionArn"], self._imported(id_, properties))
            elif type_ == _DEPLOYMENT:
                if properties.get("variables"):
                    raise UnsupportedError(f"deployment {id_}: variables are a stage's here")
                if properties["restApi"] not in self._apis:
                    raise UnsupportedError(f"deployment {id_}: there is no API {properties['restApi']!r}")
                # Whatever changes later, the deployment doesn't.
                self._deployments.setdefault(id_, self._apis[properties["restApi"]])
            elif type_ == _STAGE:
                self._check_stage(id_, properties)
                self._stages[id_] = properties
            elif type_ == _SETTINGS:
                _check_method_path(properties["methodPath"])
                self._settings[id_] = properties

    def remove(self, type_: str, id_: str) -> None:
        with self._lock:
            if type_ == _DEPLOYMENT and any(stage["deployment"] == id_ for stage in self._stages.values()):
                raise UnsupportedError(f"deployment {id_}: active stages pointing to it must be moved or deleted first")
            of_type: dict[str, dict[str, Any]] = {
                _API: self._apis,
                _DEPLOYMENT: self._deployments,
                _STAGE: self._stages,
                _SETTINGS: self._settings,
            }
            of_type.get(type_, {}).pop(id_, None)

    def stage(self, name: str) -> Stage | None:
        """The stage of this name, of whichever API: the gateway has one address for all."""
        with self._lock:
            for stage in self._stages.values():
                if stage["stageName"] == name:
                    return self._stage(stage)
        return None

    def policy(self, resource_arn: str) -> Policy | None:
        """The resource policy that decides about `arn:aws:execute-api:{region}:{account}:{api}/{stage}/...`."""
        api, _, rest = resource_arn.partition("/")
        stage = self.stage(rest.partition("/")[0])
        return stage.policy if stage is not None and stage.execution_arn == api else None

    def _imported(self, id_: str, properties: Mapping[str, Any]) -> Api:
        if unsupported := [name for name in _ONLY_IN_THE_BODY if properties.get(name)]:
            raise UnsupportedError(f"API {id_}: {', '.join(unsupported)} is not supported beside a body")
        if id_ in self._apis and properties.get("putRestApiMode", "merge") != "overwrite":
            raise UnsupportedError(f"API {id_}: an update merges into what is there; only overwrite is supported")
        if not properties.get("body"):
            raise UnsupportedError(f"API {id_}: only APIs with an OpenAPI body are supported")
        return read(properties["body"])

    def _check_stage(self, id_: str, properties: Mapping[str, Any]) -> None:
        if properties.get("deployment") not in self._deployments:
            raise UnsupportedError(f"stage {id_}: there is no deployment {properties.get('deployment')!r}")
        for other, stage in self._stages.items():
            if other != id_ and stage["stageName"] == properties["stageName"]:
                raise UnsupportedError(f"stage {id_}: {other} has this name, and the local gateway has one address")
        log = properties.get("accessLogSettings") or {}
        if ":log-group:" not in (destination := log.get("destinationArn", ":log-group:")):
            raise UnsupportedError(f"stage {id_}: access log: only log groups are supported, not {destination}")
        known = OF_REQUEST | OF_ERROR | OF_RESPONSE
        if unknown := variables(log.get("format", "")) - known:
            raise UnsupportedError(f"stage {id_}: access log: $context.{', $context.'.join(sorted(unknown))}")

    def _stage(self, properties: Mapping[str, Any]) -> Stage:
        execution_arn, api = self._deployments[properties["deployment"]]
        log = properties.get("accessLogSettings")
        settings = [
            setting
            for setting in self._settings.values()
            if (setting["restApi"], setting["stageName"]) == (properties["restApi"], properties["stageName"])
        ]
        return Stage(
            name=properties["stageName"],
            deployment_id=properties["deployment"],
            execution_arn=execution_arn,
            api=api,
            variables=properties.get("variables") or {},
            access_log=AccessLog(log["destinationArn"], log["format"]) if log else None,
            throttling={s["methodPath"]: limits for s in settings if (limits := _limits(s["settings"]))},
        )


def _limits(settings: Mapping[str, Any]) -> Limits | None:
    rate, burst = settings.get("throttlingRateLimit"), settings.get("throttlingBurstLimit")
    if rate is None and burst is None:
        return None
    return Limits(
        ACCOUNT_LIMITS.rate if rate is None else float(rate), ACCOUNT_LIMITS.burst if burst is None else int(burst)
    )


def _check_method_path(path: str) -> None:
    if path != _EVERY_METHOD and (not re.fullmatch(r".*/[A-Z]+", path) or "~1" in path):
        raise UnsupportedError(f"method settings: the path {path!r} is neither */* nor one method of one resource")
