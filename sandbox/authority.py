"""Who is who on the local cloud, and who may do what there: the deployed roles and documents, applied.

Whoever acts has credentials from here, or those that MiniStack gives to a function. Whatever someone does is decided
here by the documents as they are deployed at that moment, and recorded.
"""

from __future__ import annotations

import hashlib
import secrets
import string
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import botocore.session
from botocore.credentials import CredentialProvider, CredentialResolver, RefreshableCredentials

from sandbox.iam import (
    Clause,
    Decision,
    DecisionLog,
    Entry,
    Permission,
    Policy,
    Principal,
    Request,
    RoleSession,
    Service,
    User,
    function_policy,
    identity_policy,
    resource_policy,
    trust_policy,
)
from sandbox.registry import Registry
from sandbox.sigv4 import AccessKey

_LIFETIME = timedelta(hours=1)  # AssumeRole's own default
_LAMBDA = Service(name="lambda.amazonaws.com")
_KEY_ALPHABET = string.ascii_uppercase + "234567"


class DeniedError(PermissionError):
    """A role can't be assumed; the message is the decision's reason."""


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """An access key as its owner knows it; with a token, a temporary one."""

    access_key_id: str
    secret: str = field(repr=False)
    token: str | None = field(default=None, repr=False)
    expires: datetime | None = None


class Authority:
    """Knows every access key, and decides every call. For any number of threads."""

    def __init__(self, registry: Registry, log: DecisionLog, *, apis: Callable[[str], Policy | None]) -> None:
        """`apis` finds the policy of the API that an ARN of `execute-api` is about, as the API was deployed."""
        self._registry = registry
        self._log = log
        self._apis = apis
        self._lock = threading.Lock()
        self._issued: dict[str, AccessKey[Principal]] = {}
        self._deployed = _Deployed(version=-1)

    def issue(self, principal: RoleSession | User, *, lifetime: timedelta | None = None) -> Credentials:
        """Credentials for whom the settings name and the program doesn't deploy; without `lifetime` they don't expire.

        Raises:
            ValueError: The role is deployed, so whoever may act in it is for its trust policy to say.

        """
        if isinstance(principal, RoleSession) and principal.role_arn in self._current().roles:
            raise ValueError(f"{principal.role_arn} is deployed: assume it")
        return self._credentials(principal, lifetime)

    def assume(self, role_arn: str, *, by: Service, session: str, lifetime: timedelta = _LIFETIME) -> Credentials:
        """Temporary credentials of a deployed role for a service that its trust policy admits.

        Raises:
            DeniedError: It does not, or there is no such role.

        """
        if not (decision := self.decide(by, "sts:AssumeRole", role_arn)).allowed:
            raise DeniedError(decision.reason)
        return self._credentials(RoleSession(role_arn=role_arn, session=session), lifetime)

    def session(
        self, role_arn: str, *, by: Service, session: str, region: str, lifetime: timedelta = _LIFETIME
    ) -> boto3.Session:
        """A boto3 session in a deployed role, which it assumes now and again before its credentials expire.

        Raises:
            DeniedError: As for `assume`; later from whatever call needs new credentials.

        """

        def assumed() -> dict[str, str]:
            credentials = self.assume(role_arn, by=by, session=session, lifetime=lifetime)
            return {
                "access_key": credentials.access_key_id,
                "secret_key": credentials.secret,
                "token": credentials.token or "",
                "expiry_time": f"{credentials.expires:%Y-%m-%dT%H:%M:%SZ}",
            }

        inner = botocore.session.Session()
        inner.register_component("credential_provider", CredentialResolver([_Assuming(assumed)]))
        made = boto3.Session(botocore_session=inner, region_name=region)
        made.get_credentials()  # a refusal is to show here already
        return made

    def keys(self, access_key_id: str) -> AccessKey[Principal] | None:
        """The access key with this id: one from here, or the one that MiniStack gives to a deployed function."""
        with self._lock:
            issued = self._issued.get(access_key_id)
        return issued or self._current().functions.get(access_key_id)

    def knows(self, function: str) -> bool:
        """Whether a function with this name is deployed."""
        return function in self._current().by_name

    def decide(
        self,
        principal: Principal,
        action: str,
        resource: str,
        context: Mapping[str, str | Sequence[str]] | None = None,
    ) -> Decision:
        """Whether `principal` may do that, by its own policies and by the policy of the resource; recorded."""
        deployed = self._current()
        # Everybody here talks plain HTTP, to this machine alone, where their counterparts on AWS talk TLS. Policies are
        # to decide about the latter.
        keys = {"aws:SecureTransport": "true", **(context or {})}
        return self._log.decide(
            Request(principal=principal, action=action, resource=resource, context=keys),
            identity=deployed.identity_of(principal),
            resource=self._apis(resource)
            if _owner(resource)[0] == "execute-api"
            else deployed.resources.get(_owner(resource)),
        )

    def invoked(self, function: str) -> list[Decision]:
        """Decide what Lambda itself does in the role of the function with this name, for one invocation.

        That is to assume the role, to write the log and, with active tracing, to send the trace. On AWS a function
        whose log or trace is refused runs all the same.

        Raises:
            DeniedError: Lambda may not assume the role: the function can't run.
            LookupError: There is no such function.

        """
        properties = self._current().function(function)
        role = RoleSession(role_arn=properties["role"], session=function)
        if not (decision := self.decide(_LAMBDA, "sts:AssumeRole", role.role_arn)).allowed:
            raise DeniedError(decision.reason)
        group = (properties.get("loggingConfig") or {}).get("logGroup") or f"/aws/lambda/{function}"
        group_arn = f"{properties['arn'].rpartition(':function:')[0].replace(':lambda:', ':logs:')}:log-group:{group}"
        # What CloudWatch Logs names in its refusals; the stream's name is Lambda's, and no policy can tell streams.
        stream_arn = f"{group_arn}:log-stream:{function}"
        tracing = (properties.get("tracingConfig") or {}).get("mode") == "Active"
        calls = [
            *([] if group in self._current().log_groups else [("logs:CreateLogGroup", group_arn)]),
            ("logs:CreateLogStream", stream_arn),
            ("logs:PutLogEvents", stream_arn),
            *([("xray:PutTraceSegments", "*"), ("xray:PutTelemetryRecords", "*")] if tracing else []),
        ]
        return [self.decide(role, action, resource) for action, resource in calls]

    def denied(self) -> list[Entry]:
        """Every call that was refused so far."""
        return self._log.denied()

    def unused(self) -> list[Clause]:
        """What the deployed roles are granted and nobody has made use of so far."""
        return self._log.unused(policy for policies in self._current().identities.values() for policy in policies)

    def _credentials(self, principal: RoleSession | User, lifetime: timedelta | None) -> Credentials:
        temporary = isinstance(principal, RoleSession)
        credentials = Credentials(
            access_key_id=("ASIA" if temporary else "AKIA") + "".join(secrets.choice(_KEY_ALPHABET) for _ in range(16)),
            secret=secrets.token_urlsafe(30),
            token=secrets.token_urlsafe(60) if temporary else None,
            expires=datetime.now(UTC) + lifetime if lifetime is not None else None,
        )
        key = AccessKey[Principal](
            secret=credentials.secret,
            identity=principal,
            session_token=credentials.token,
            expires=credentials.expires,
        )
        with self._lock:
            self._issued[credentials.access_key_id] = key
        return credentials

    def _current(self) -> _Deployed:
        """What is deployed now, read again after each change."""
        # Read before the resources: a change in between makes the next call read again.
        version = self._registry.version
        deployed = self._deployed
        if deployed.version != version:
            deployed = self._deployed = _read(self._registry, version)
        return deployed


class _Assuming(CredentialProvider):
    METHOD = "assumed"

    def __init__(self, assumed: Callable[[], dict[str, str]]) -> None:
        super().__init__()
        self._assumed = assumed

    def load(self) -> RefreshableCredentials:
        return RefreshableCredentials.create_from_metadata(
            self._assumed(), refresh_using=self._assumed, method=self.METHOD
        )


# --- what is deployed -------------------------------------------------------------------------------------------------

_Owner = tuple[str, str]
"""A service and the name of one of its resources, as far as a policy is attached to it."""


@dataclass(frozen=True, kw_only=True)
class _Deployed:
    version: int
    roles: frozenset[str] = frozenset()
    identities: Mapping[str, Sequence[Policy]] = field(default_factory=dict[str, Sequence[Policy]])
    """By the name of the role."""
    resources: Mapping[_Owner, Policy] = field(default_factory=dict[_Owner, Policy])
    functions: Mapping[str, AccessKey[Principal]] = field(default_factory=dict[str, AccessKey[Principal]])
    """The functions' own keys, by id."""
    by_name: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])
    """The properties of functions."""
    log_groups: frozenset[str] = frozenset()

    def identity_of(self, principal: Principal) -> Sequence[Policy]:
        if not isinstance(principal, RoleSession) or principal.role_arn not in self.roles:
            return ()
        return self.identities.get(_last(principal.role_arn), ())

    def function(self, name: str) -> Mapping[str, Any]:
        if name not in self.by_name:
            raise LookupError(f"no function {name} is deployed")
        return self.by_name[name]


def _read(registry: Registry, version: int) -> _Deployed:
    functions = {properties["name"]: properties for properties in registry.of("aws:lambda/function:Function").values()}
    roles = list(registry.of("aws:iam/role:Role").values())
    return _Deployed(
        version=version,
        roles=frozenset(role["arn"] for role in roles),
        identities=_identities(registry, roles),
        resources={
            **{_owner(role["arn"]): _trust(role) for role in roles},
            **_queue_policies(registry),
            **_bus_policies(registry),
            **_function_policies(registry, functions),
        },
        functions=dict(map(_key, functions.values())),
        by_name=functions,
        log_groups=frozenset(group["name"] for group in registry.of("aws:cloudwatch/logGroup:LogGroup").values()),
    )


def _identities(registry: Registry, roles: list[Mapping[str, Any]]) -> dict[str, list[Policy]]:
    found: dict[str, list[Policy]] = defaultdict(list)
    for policy in registry.of("aws:iam/rolePolicy:RolePolicy").values():
        role = policy["role"]
        found[role].append(identity_policy(f"{policy['name']} of role {role}", policy["policy"]))
    for role in roles:
        if role.get("permissionsBoundary"):
            name = f"permissions boundary of role {role['name']}"
            found[role["name"]].append(Policy(name=name, flaw="permissions boundaries are not supported"))
    return found


def _trust(role: Mapping[str, Any]) -> Policy:
    return trust_policy(f"trust of role {role['name']}", role["assumeRolePolicy"], role_arn=role["arn"])


def _queue_policies(registry: Registry) -> dict[_Owner, Policy]:
    policies = registry.of("aws:sqs/queuePolicy:QueuePolicy").values()
    names = [(_last(policy["queueUrl"]), policy["policy"]) for policy in policies]
    return {("sqs", name): resource_policy(f"policy of queue {name}", document) for name, document in names}


def _bus_policies(registry: Registry) -> dict[_Owner, Policy]:
    policies = registry.of("aws:cloudwatch/eventBusPolicy:EventBusPolicy").values()
    names = [(_last(policy["eventBusName"]), policy["policy"]) for policy in policies]
    return {("events", name): resource_policy(f"policy of bus {name}", document) for name, document in names}


def _function_policies(registry: Registry, functions: Mapping[str, Mapping[str, Any]]) -> dict[_Owner, Policy]:
    permissions: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for permission in registry.of("aws:lambda/permission:Permission").values():
        permissions[permission["function"].rpartition(":")[2]].append(permission)
    return {
        ("lambda", name): _function_policy(f"policy of function {name}", permissions[name], functions[name]["arn"])
        for name in permissions.keys() & functions.keys()
    }


def _function_policy(name: str, permissions: list[Mapping[str, Any]], arn: str) -> Policy:
    if any(permission.get("qualifier") for permission in permissions):
        return Policy(name=name, flaw="permissions for a version or an alias are not supported")
    return function_policy(
        name,
        [
            Permission(
                statement_id=permission["statementId"],
                action=permission["action"],
                principal=permission["principal"],
                source_arn=permission.get("sourceArn"),
                source_account=permission.get("sourceAccount"),
                function_url_auth_type=permission.get("functionUrlAuthType"),
                invoked_via_function_url=permission.get("invokedViaFunctionUrl") or False,
            )
            for permission in permissions
        ],
        function_arn=arn,
    )


def _owner(arn: str) -> _Owner:
    """Which policy is consulted for a resource: a qualified function's is the function's."""
    if arn == "*":
        return "", arn
    _, _, service, _, _, resource = arn.split(":", 5)
    match service:
        case "events":
            return service, resource.removeprefix("event-bus/")
        case "lambda":
            return service, resource.removeprefix("function:").partition(":")[0]
        case _:
            return service, resource


def _last(path: str) -> str:
    return path.rpartition("/")[2]


def _key(function: Mapping[str, Any]) -> tuple[str, AccessKey[Principal]]:
    """The id and the rest of the key that MiniStack, started with AUTH=true, makes of a function's and a role's ARN.

    Whoever knows the two ARNs knows the key. That is for MiniStack to change, and harms nobody on one machine.
    """
    digest = _sha256(f"{function['arn']}:{function['role']}")
    return f"ASIA{digest[:16].upper()}", AccessKey(
        secret=_sha256(f"secret:{digest}"),
        session_token=_sha256(f"token:{digest}"),
        identity=RoleSession(role_arn=function["role"], session=function["name"]),
    )


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
