"""The AWS APIs of the local cloud: who asks is verified, whether they may is decided, and MiniStack does it.

Served is what the deployed program and its workers use, over the protocols of their SDKs; what is not served is refused
by name. Requests and answers pass unchanged, but for PutEvents, whose entries MiniStack doesn't check, and for the
faults of DynamoDB and EventBridge that are injected.

Which action on which resource a request is follows the service authorization reference. Errors have the codes and the
places that SDKs read.
"""

from __future__ import annotations

import json
import re
import threading
import uuid
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, NamedTuple, cast
from urllib.parse import parse_qsl, quote, unquote
from xml.sax.saxutils import escape

import urllib3
from botocore.exceptions import ClientError
from starlette.responses import Response

from sandbox import sigv4
from sandbox.authority import Authority
from sandbox.clock import CloudClock
from sandbox.faults import Faults, Kind
from sandbox.iam import Principal, RoleSession, User
from sandbox.ministack import Root
from sandbox.provider.kind import Place
from sandbox.putevents import put_events
from sandbox.serving import Blocking, Received

# Each call holds a thread while MiniStack works on it. A function that is invoked through here calls back through here,
# so there must be more threads than functions can run at once.
_THREADS = 256
# The longest that a function may run, and some more.
_TIMEOUT = 910
_ITERATORS = 10_000
_FORWARDED = {"content-type", "x-amz-target", "x-amz-invocation-type", "x-amz-log-type", "x-amz-client-context"}
_UNKNOWN = "UnknownOperationException"
_THROTTLING = "ThrottlingException"
# What DynamoDB says of an on-demand table, as many have published it; of a provisioned one it would say
# ProvisionedThroughputExceededException. SDKs try both again.
_TABLE_THROTTLED = (
    "Throughput exceeds the current capacity of your table or index. DynamoDB is automatically scaling your table or "
    "index so please try again shortly."
)
_BUS_FAILURES = (
    ("InternalException", "An internal error occurred.", HTTPStatus.INTERNAL_SERVER_ERROR),
    (_THROTTLING, "Rate exceeded", HTTPStatus.BAD_REQUEST),
)
_ENTRY_FAILURES = (
    {"ErrorCode": "InternalFailure", "ErrorMessage": "An internal error occurred."},
    {"ErrorCode": _THROTTLING, "ErrorMessage": "Rate exceeded"},
)


def front(
    authority: Authority, *, ministack: str, place: Place, faults: Faults | None = None, clock: CloudClock | None = None
) -> Blocking:
    """The ASGI application in front of the MiniStack at this URL, which is to serve nobody else.

    MiniStack is asked as the root of the account. Under AUTH=true it lets root do everything, except what a queue's
    policy forbids: so the policies of queues are for the registry only, and MiniStack must not have them.

    Without `faults` nothing fails by itself, and without `clock` the time is the machine's.
    """
    calls = _Front(authority, ministack, place, faults or Faults(), clock or CloudClock())
    return Blocking(calls.answer, threads=_THREADS)


@dataclass(frozen=True, kw_only=True)
class _Call:
    """A request whose sender is known."""

    received: Received
    service: str
    principal: RoleSession | User

    @property
    def function(self) -> str | None:
        """The function that sent it, if one did: it has its name for a session."""
        return self.principal.session if isinstance(self.principal, RoleSession) else None

    @property
    def operation(self) -> str:
        """What is asked for, as the service's protocol says it: in a header, in a form, or by method and path."""
        if self.received.method != "POST" or self.received.target != "/":
            return f"{self.received.method} {self.received.target}"
        if self.service == "sts":
            return dict(parse_qsl(self.received.body.decode("latin-1"))).get("Action", "")
        return _header(self.received, "x-amz-target")

    def document(self) -> dict[str, Any]:
        try:
            document = json.loads(self.received.body)
        except (ValueError, RecursionError) as error:
            raise _RefusedError("SerializationException", "The body is not JSON") from error
        if not isinstance(document, dict):
            raise _RefusedError("SerializationException", "The body is not a JSON object")
        return cast("dict[str, Any]", document)


class _RefusedError(Exception):
    """The request is answered with this error; `query_code` is what the query protocol calls it."""

    def __init__(
        self, code: str, message: str, status: int = HTTPStatus.BAD_REQUEST, *, query_code: str | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.query_code = query_code or code
        self.message = message
        self.status = status


class _RelayedError(Exception):
    """MiniStack refused a part of the request; its answer is the answer."""

    def __init__(self, answer: Response) -> None:
        super().__init__(f"MiniStack answered {answer.status_code}")
        self.answer = answer


class _Operation(NamedTuple):
    action: str
    resource: Callable[[_Front, Mapping[str, Any]], str]


class _Front:
    def __init__(self, authority: Authority, ministack: str, place: Place, faults: Faults, clock: CloudClock) -> None:
        self._authority = authority
        self._place = place
        self._faults = faults
        self._clock = clock
        self._ministack = Root(
            ministack, region=place.region, account=place.account, timeout=_TIMEOUT, connections=_THREADS
        )
        self._iterators = _Iterators()
        self._services: dict[str, Callable[[_Call], Response]] = {
            "dynamodb": self._dynamodb,
            "events": self._events,
            "lambda": self._lambda,
            "sqs": self._sqs,
            "sts": self._sts,
        }

    def answer(self, received: Received) -> Response:
        service = _signed_for(received)
        try:
            principal = self._sender(received, service)
            return self._services[service](_Call(received=received, service=service, principal=principal))
        except _RefusedError as error:
            return _error(received, service, error)
        except _RelayedError as relayed:
            return relayed.answer

    # --- services ---

    def _dynamodb(self, call: _Call) -> Response:
        stream = self._allowed(call)
        if call.operation.startswith(_TABLES) and self._faults.strike(Kind.TABLE_THROTTLED, function=call.function):
            raise _RefusedError(_THROTTLING, _TABLE_THROTTLED)
        answer = self._forward(call)
        if call.operation in _GIVES_ITERATOR and answer.status_code == HTTPStatus.OK:
            given = json.loads(bytes(answer.body))
            if iterator := given.get("ShardIterator") or given.get("NextShardIterator"):
                self._iterators.keep(iterator, stream)
        return answer

    def _sqs(self, call: _Call) -> Response:
        self._allowed(call)
        return self._forward(call)

    def _allowed(self, call: _Call) -> str:
        """The resource, for a request that one decision is about."""
        operation = _OPERATIONS.get((call.service, call.operation))
        if operation is None:
            raise _not_served(call)
        resource = operation.resource(self, call.document())
        self._allow(call.principal, operation.action, resource)
        return resource

    def _events(self, call: _Call) -> Response:
        if call.operation != "AWSEvents.PutEvents":
            raise _not_served(call)
        document = call.document()
        entries = document.get("Entries")
        if not isinstance(entries, list):
            raise _RefusedError("SerializationException", "Entries is not a list")
        # EventBridge documents codes for single entries that are not authorized, and services that answer a whole
        # request with AccessDeniedException where one bus or source is not: as the safer of both, nothing is sent.
        for entry in cast("list[Any]", entries):
            self._allow_entry(call.principal, entry)
        if strike := self._faults.strike(Kind.BUS_UNAVAILABLE, function=call.function):
            raise _RefusedError(*_BUS_FAILURES[(strike - 1) % len(_BUS_FAILURES)])

        def taken(*, Entries: Sequence[Any]) -> Mapping[str, Any]:  # noqa: N803 - the parameter of AWS's API
            strikes = [self._faults.strike(Kind.ENTRIES_FAILED, function=call.function) for _ in Entries]
            left = [entry for entry, strike in zip(Entries, strikes, strict=True) if strike is None]
            results = iter(forward(left)["Entries"] if left else ())
            return {
                "Entries": [
                    _ENTRY_FAILURES[(strike - 1) % len(_ENTRY_FAILURES)] if strike else next(results)
                    for strike in strikes
                ]
            }

        def forward(entries: Sequence[Any]) -> Mapping[str, Any]:
            answer = self._forward(call, json.dumps({"Entries": entries}).encode())
            if answer.status_code != HTTPStatus.OK:
                raise _RelayedError(answer)
            return json.loads(bytes(answer.body))

        try:
            return _json(put_events(cast("list[Any]", entries), taken))
        except ClientError as error:
            details = error.response.get("Error", {})
            raise _RefusedError(details.get("Code", ""), details.get("Message", "")) from error

    def _allow_entry(self, principal: Principal, entry: Any) -> None:
        if not isinstance(entry, dict):
            raise _RefusedError("SerializationException", "An entry is not an object")
        fields = {name: entry.get(name) for name in ("EventBusName", "Source", "DetailType")}
        if not all(isinstance(value, str | None) for value in fields.values()):
            raise _RefusedError("SerializationException", f"One of {', '.join(fields)} is not a text")
        bus = self._named("events", "event-bus/", fields["EventBusName"] or "default", "EventBusName")
        # The service authorization reference has the source as a multivalued key.
        context: dict[str, str | Sequence[str]] = {}
        if source := fields["Source"]:
            context["events:source"] = [source]
        if detail_type := fields["DetailType"]:
            context["events:detail-type"] = detail_type
        self._allow(principal, "events:PutEvents", bus, context)

    def _lambda(self, call: _Call) -> Response:
        path = re.fullmatch(r"POST /2015-03-31/functions/([^/?]+)/invocations", call.operation)
        if path is None:
            raise _not_served(call)
        function = self._named("lambda", "function:", unquote(path[1]), "FunctionName")
        self._allow(call.principal, "lambda:InvokeFunction", function)
        # By the name that was decided about, however it was written.
        name = quote(function.rpartition(":")[2], safe="")
        return self._forward(call, target=f"/2015-03-31/functions/{name}/invocations")

    def _sts(self, call: _Call) -> Response:
        """GetCallerIdentity, which needs no permission, and can't be asked as root."""
        if call.operation != "GetCallerIdentity":
            raise _not_served(call)
        principal, arn = call.principal, call.principal.name
        # AWS has the unique id of the role or user here, which one that is not deployed lacks.
        user_id = ":".join(arn.split("/")[1:])
        result = f"<Arn>{escape(arn)}</Arn><UserId>{escape(user_id)}</UserId><Account>{principal.account}</Account>"
        return _xml("GetCallerIdentityResponse", f"<GetCallerIdentityResult>{result}</GetCallerIdentityResult>")

    # --- who, whether, and what ---

    def _sender(self, received: Received, service: str) -> RoleSession | User:
        if service and service not in self._services:
            raise _RefusedError(_UNKNOWN, f"The local cloud does not serve the service '{service}'")
        sender = sigv4.verify(
            received.method,
            received.target,
            received.headers,
            received.body,
            service=service,
            region=self._place.region,
            keys=self._authority.keys,
            skipped_since=self._clock.skipped_since,
        )
        if isinstance(sender, sigv4.Refusal):
            status = sender.status if service in {"lambda", "sqs", "sts"} else HTTPStatus.BAD_REQUEST
            code, query_code = sender.fault.json_name, sender.fault.query_name
            raise _RefusedError(code, sender.message, status, query_code=query_code)
        if not isinstance(sender, RoleSession | User):
            raise TypeError(f"{sender.name} has no access key")
        return sender

    def _allow(
        self,
        principal: Principal,
        action: str,
        resource: str,
        context: Mapping[str, str | Sequence[str]] | None = None,
    ) -> None:
        decision = self._authority.decide(principal, action, resource, context)
        if not decision.allowed:
            rest = action.startswith(("lambda:", "sqs:"))
            status = HTTPStatus.FORBIDDEN if rest else HTTPStatus.BAD_REQUEST
            raise _RefusedError("AccessDeniedException", decision.reason, status, query_code="AccessDenied")

    def _named(self, service: str, kind: str, name: Any, parameter: str) -> str:
        """The ARN of the resource with this name or ARN; one elsewhere is refused, as nothing is deployed there."""
        prefix = self._place.arn(service, kind)
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9_.-]+", name.removeprefix(prefix)):
            raise _RefusedError("ValidationException", f"{parameter} is not a name or an ARN of this place: {name!r}")
        return prefix + name.removeprefix(prefix)

    def table(self, document: Mapping[str, Any]) -> str:
        return self._named("dynamodb", "table/", document.get("TableName"), "TableName")

    def table_or_index(self, document: Mapping[str, Any]) -> str:
        if (index := document.get("IndexName")) is None:
            return self.table(document)
        return self._named("dynamodb", f"{self.table(document).rpartition(':')[2]}/index/", index, "IndexName")

    def stream(self, document: Mapping[str, Any]) -> str:
        arn = document.get("StreamArn")
        pattern = re.escape(self._place.arn("dynamodb", "table/")) + r"[A-Za-z0-9_.-]+/stream/[0-9A-Z:.-]+"
        if not isinstance(arn, str) or not re.fullmatch(pattern, arn, re.IGNORECASE):
            raise _RefusedError("ValidationException", f"StreamArn is not the ARN of a stream of this place: {arn!r}")
        return arn

    def stream_of(self, document: Mapping[str, Any]) -> str:
        """The stream in the document, or the one whose iterator is in it."""
        if "ShardIterator" not in document:
            return self.stream(document)
        if (stream := self._iterators.stream(document["ShardIterator"])) is None:
            raise _RefusedError("ExpiredIteratorException", "The shard iterator is unknown here or has expired")
        return stream

    def every_stream(self, _: Mapping[str, Any]) -> str:
        """ListStreams knows no resources, even where it is asked about one table."""
        return "*"

    def queue(self, document: Mapping[str, Any]) -> str:
        url = document.get("QueueUrl")
        path = re.fullmatch(rf"https?://[^/?#]+/{self._place.account}/([A-Za-z0-9_-]{{1,80}})", str(url))
        if path is None:
            raise _RefusedError("InvalidAddress", f"QueueUrl is not the URL of a queue of this account: {url!r}")
        return self._place.arn("sqs", path[1])

    def named_queue(self, document: Mapping[str, Any]) -> str:
        return self._named("sqs", "", document.get("QueueName"), "QueueName")

    def _forward(self, call: _Call, body: bytes | None = None, *, target: str = "/") -> Response:
        """What MiniStack answers to the account's root."""
        headers = {name: value for name, value in call.received.headers if name.lower() in _FORWARDED}
        sent = call.received.body if body is None else body
        try:
            answer = self._ministack.post(call.service, sent, headers=headers, target=target)
        except urllib3.exceptions.HTTPError as error:
            message = f"MiniStack does not answer: {type(error).__name__}"
            raise _RefusedError("ServiceUnavailable", message, HTTPStatus.SERVICE_UNAVAILABLE) from error
        kept = {k: v for k, v in answer.headers.items() if k.lower() == "content-type" or k.lower().startswith("x-amz")}
        return Response(answer.data, answer.status, kept)


class _Iterators:
    """Which stream a shard iterator belongs to; the oldest are forgotten, as iterators expire."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._streams: OrderedDict[str, str] = OrderedDict()

    def keep(self, iterator: str, stream: str) -> None:
        with self._lock:
            self._streams[iterator] = stream
            if len(self._streams) > _ITERATORS:
                self._streams.popitem(last=False)

    def stream(self, iterator: Any) -> str | None:
        with self._lock:
            return self._streams.get(iterator) if isinstance(iterator, str) else None


_TABLES, _STREAMS = "DynamoDB_20120810", "DynamoDBStreams_20120810"
_GIVES_ITERATOR = {f"{_STREAMS}.GetShardIterator", f"{_STREAMS}.GetRecords"}
_OPERATIONS: dict[tuple[str, str], _Operation] = {
    **{
        ("dynamodb", f"{_TABLES}.{name}"): _Operation(f"dynamodb:{name}", _Front.table)
        for name in ("DeleteItem", "GetItem", "PutItem", "UpdateItem")
    },
    ("dynamodb", f"{_TABLES}.Query"): _Operation("dynamodb:Query", _Front.table_or_index),
    ("dynamodb", f"{_TABLES}.Scan"): _Operation("dynamodb:Scan", _Front.table_or_index),
    ("dynamodb", f"{_STREAMS}.DescribeStream"): _Operation("dynamodb:DescribeStream", _Front.stream),
    ("dynamodb", f"{_STREAMS}.GetRecords"): _Operation("dynamodb:GetRecords", _Front.stream_of),
    ("dynamodb", f"{_STREAMS}.GetShardIterator"): _Operation("dynamodb:GetShardIterator", _Front.stream),
    ("dynamodb", f"{_STREAMS}.ListStreams"): _Operation("dynamodb:ListStreams", _Front.every_stream),
    **{
        ("sqs", f"AmazonSQS.{name}"): _Operation(f"sqs:{name.removesuffix('Batch')}", _Front.queue)
        for name in (
            "ChangeMessageVisibility",
            "DeleteMessage",
            "DeleteMessageBatch",
            "GetQueueAttributes",
            "ReceiveMessage",
            "SendMessage",
            "SendMessageBatch",
        )
    },
    ("sqs", "AmazonSQS.GetQueueUrl"): _Operation("sqs:GetQueueUrl", _Front.named_queue),
}


def _header(received: Received, name: str) -> str:
    """The first value of the header with this name in lower case, or nothing."""
    return next((value for known, value in received.headers if known.lower() == name), "")


def _signed_for(received: Received) -> str:
    """The service in the scope of the signature; nothing where there is none."""
    scope = re.search(r"Credential=[^/,\s]+/[^/,\s]+/[^/,\s]+/([^/,\s]+)/", _header(received, "authorization"))
    return scope[1] if scope else ""


def _not_served(call: _Call) -> _RefusedError:
    return _RefusedError(_UNKNOWN, f"The local cloud does not serve '{call.operation}' of '{call.service}'")


def _error(received: Received, service: str, error: _RefusedError) -> Response:
    """The error in the protocol of the request: JSON, or else XML."""
    headers = {"x-amzn-ErrorType": error.code}
    if service != "lambda" and not _header(received, "x-amz-target"):
        text = f"<Type>Sender</Type><Code>{error.query_code}</Code><Message>{escape(error.message)}</Message>"
        return _xml("ErrorResponse", f"<Error>{text}</Error>", error.status, headers)
    if service == "sqs":
        # SQS was a query service once, and SDKs still tell its errors by their names of that time.
        headers["x-amzn-query-error"] = f"{error.query_code};Sender"
    return _json({"__type": error.code, "message": error.message}, error.status, headers)


def _json(document: Any, status: int = HTTPStatus.OK, headers: Mapping[str, str] | None = None) -> Response:
    own = {"Content-Type": "application/x-amz-json-1.1", "x-amzn-RequestId": str(uuid.uuid4()), **(headers or {})}
    return Response(json.dumps(document), status, own)


def _xml(root: str, text: str, status: int = HTTPStatus.OK, headers: Mapping[str, str] | None = None) -> Response:
    request = f"<ResponseMetadata><RequestId>{uuid.uuid4()}</RequestId></ResponseMetadata>"
    content = f"<{root}>{text}{request}</{root}>"
    return Response(content, status, {"Content-Type": "text/xml", **(headers or {})})
