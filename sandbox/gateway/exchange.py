"""One request on its way through the gateway: what came, what goes back, and what `$context` says of both."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import secrets
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sandbox.iam import Principal, RoleSession, User
from sandbox.serving import Received

# "$context Variables for data models, authorizers, mapping templates, and CloudWatch access logging" in the API Gateway
# developer guide: those that are known here, of the request ...
OF_REQUEST = frozenset(
    {
        *("accountId", "apiId", "deploymentId", "domainName", "domainPrefix", "extendedRequestId", "httpMethod"),
        *("identity.accessKey", "identity.accountId", "identity.caller", "identity.sourceIp", "identity.user"),
        *("identity.userAgent", "identity.userArn", "path", "protocol", "requestId", "requestTime"),
        *("requestTimeEpoch", "resourceId", "resourcePath", "stage"),
    }
)
# ... of a refusal by the gateway itself ...
OF_ERROR = frozenset({"error.message", "error.messageString", "error.responseType", "error.validationErrorString"})
# ... and of what only an access log can know.
OF_RESPONSE = frozenset(
    {"status", "responseLength", "responseLatency", "integrationLatency"}
    | {"integration.status", "integration.latency", "integration.error"}
)

VARIABLE = re.compile(r"\$context((?:\.[A-Za-z0-9_-]+)+)")


class Incoming(Received):
    """A request, as the pipeline reads it."""

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        return self.target.partition("?")[2]

    def header(self, name: str) -> str | None:
        """The last value of a header, as integrations that take one value see it."""
        return self.multi_headers().get(name, [None])[-1]

    def multi_headers(self) -> dict[str, list[str]]:
        """The values of each header by its name in lower case, as text."""
        found: dict[str, list[str]] = {}
        for name, value in self.headers:
            text = value.encode("latin-1").decode(errors="replace")
            found.setdefault(name.lower(), []).append(text)
        return found


class Answer(NamedTuple):
    """A response: `headers` are in order, and a name may be there several times."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str | None:
        values = [value for key, value in self.headers if key.lower() == name.lower()]
        return values[-1] if values else None


@dataclass(frozen=True, kw_only=True)
class Where:
    """The method of a deployed API that a request is for."""

    execution_arn: str
    """Ends in the API's id."""
    stage: str
    deployment_id: str
    resource: str
    """Its path with `{parameters}`; empty if there is no such resource."""
    domain: str

    @property
    def api_id(self) -> str:
        return self.execution_arn.rpartition(":")[2]

    @property
    def account(self) -> str:
        return self.execution_arn.split(":")[4]

    @property
    def region(self) -> str:
        return self.execution_arn.split(":")[3]


def media_type(content_type: str | None) -> str:
    """The type without its parameters; a request that names none has JSON ("Method request behavior ...")."""
    return (content_type or "application/json").partition(";")[0].strip().lower()


def new_context(request: Incoming, where: Where, now: datetime) -> dict[str, Any]:
    """`$context` of a request whose sender is not known yet."""
    return {
        "accountId": where.account,
        "apiId": where.api_id,
        "deploymentId": where.deployment_id,
        "domainName": f"{where.api_id}.execute-api.{where.region}.{where.domain}",
        "domainPrefix": where.api_id,
        # Eleven bytes make sixteen characters of which the last is "=", as AWS's have it.
        "extendedRequestId": base64.urlsafe_b64encode(secrets.token_bytes(11)).decode(),
        "httpMethod": request.method,
        "identity": {
            "accessKey": None,
            "accountId": None,
            "caller": None,
            "cognitoAuthenticationProvider": None,
            "cognitoAuthenticationType": None,
            "cognitoIdentityId": None,
            "cognitoIdentityPoolId": None,
            "principalOrgId": None,
            "sourceIp": request.source_ip,
            "user": None,
            "userAgent": request.header("user-agent"),
            "userArn": None,
        },
        "path": request.path,
        "protocol": request.protocol,
        "requestId": str(uuid.uuid4()),
        "requestTime": f"{now:%d/%b/%Y:%H:%M:%S +0000}",
        "requestTimeEpoch": int(now.timestamp() * 1000),
        "resourceId": _short_id(where.resource) if where.resource else None,
        "resourcePath": where.resource or None,
        "stage": where.stage,
    }


def identity_of(principal: Principal, access_key_id: str) -> dict[str, str]:
    """What `$context.identity` says of whoever signed the request.

    Roles and users have unique ids on AWS, which nothing here gives them: theirs are made of the ARN.
    """
    match principal:
        case RoleSession():
            caller = f"AROA{_unique_id(principal.role_arn)}:{principal.session}"
        case User():
            caller = f"AIDA{_unique_id(principal.arn)}"
        case _:
            raise TypeError(f"{principal.name} has no access key")
    return {
        "accessKey": access_key_id,
        "accountId": principal.account,
        "caller": caller,
        "user": caller,
        "userArn": principal.name,
    }


def variables(text: str) -> set[str]:
    """The `$context` variables that a text names, without `$context.`."""
    return {found[1][1:] for found in VARIABLE.finditer(text)}


def substitute(text: str, context: Mapping[str, Any], *, absent: str, quoted: bool) -> str:
    """The text with its variables' values; with `quoted` they are escaped for the JSON strings that they stand in.

    A gateway response has them as they are, by its documentation; of access logs it isn't documented.
    """

    def value(found: re.Match[str]) -> str:
        node: Any = context
        for name in found[1][1:].split("."):
            node = node.get(name) if isinstance(node, Mapping) else None
        shown = absent if node is None else str(node)
        # messageString brings its own quotes.
        return json.dumps(shown)[1:-1] if quoted and not found[1].endswith(".messageString") else shown

    return VARIABLE.sub(value, text)


def with_headers(answer: Answer, headers: Iterable[tuple[str, str]]) -> Answer:
    return answer._replace(headers=(*answer.headers, *headers))


def _unique_id(arn: str) -> str:
    return base64.b32encode(hashlib.sha256(arn.encode()).digest()).decode()[:17]


def _short_id(text: str) -> str:
    return base64.b32encode(hashlib.sha256(text.encode()).digest()).decode()[:6].lower()
