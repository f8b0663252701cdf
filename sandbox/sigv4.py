"""Whose request it is: verifies AWS Signature Version 4 in the Authorization header, as AWS's services do.

The signature is made again by botocore over exactly the headers that the sender signed, so whatever the SDKs and the
AWS CLI send is understood. What botocore would take on trust is checked first. The rules are those of "Create a signed
AWS API request" and "Troubleshoot signed requests for AWS APIs" in the IAM user guide, the words of the refusals those
that services are known to use; which of two faults is named first is not documented.

Not supported: presigned requests, a Date header instead of X-Amz-Date, signatures by SigV4A, unsigned or chunked
payloads, and S3, which canonicalises paths differently.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum
from http.client import HTTPMessage
from typing import Any, Generic, NamedTuple, TypeVar
from urllib.parse import parse_qsl

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

Identity = TypeVar("Identity")

_ALGORITHM = "AWS4-HMAC-SHA256"
_SKEW = timedelta(minutes=5)
_TIME_FORMAT = "%Y%m%dT%H%M%SZ"
# What a request line can hold. urlsplit would drop tabs and line ends silently, and a fragment belongs to no request.
_TARGET = re.compile(r"/[!-~]*")
_METHOD = re.compile(r"[A-Z]+", re.ASCII)


class Fault(Enum):
    """Why a request is refused: the error's name in services with JSON or REST protocols, and in the query protocol."""

    MISSING_AUTHENTICATION_TOKEN = ("MissingAuthenticationTokenException", "MissingAuthenticationToken")
    INCOMPLETE_SIGNATURE = ("IncompleteSignatureException", "IncompleteSignature")
    UNRECOGNIZED_CLIENT = ("UnrecognizedClientException", "InvalidClientTokenId")
    EXPIRED_TOKEN = ("ExpiredTokenException", "ExpiredToken")
    SIGNATURE_DOES_NOT_MATCH = ("InvalidSignatureException", "SignatureDoesNotMatch")

    @property
    def json_name(self) -> str:
        """As in `x-amzn-ErrorType` and `__type`."""
        return self.value[0]

    @property
    def query_name(self) -> str:
        """As in `<Code>`."""
        return self.value[1]


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """The request proves no identity. The message is AWS's where AWS has one, and never tells the right signature."""

    fault: Fault
    message: str
    status: int = 403
    """API Gateway's; services with a JSON protocol answer 400."""


@dataclass(frozen=True, kw_only=True)
class AccessKey(Generic[Identity]):
    """The secret of an access key id, and whose it is; a temporary one comes with a session token and expires."""

    secret: str = field(repr=False)
    identity: Identity
    session_token: str | None = field(default=None, repr=False)
    expires: datetime | None = None


def verify(
    method: str,
    target: str,
    headers: Iterable[tuple[str, str]],
    body: bytes,
    *,
    service: str,
    region: str,
    keys: Callable[[str], AccessKey[Identity] | None],
    now: datetime | None = None,
    skipped_since: Callable[[float], float] = lambda _: 0.0,
) -> Identity | Refusal:
    """Whose signature the request carries, if it is valid for `service` in `region` at this time.

    `target` is the request's path and query as received, `headers` are all of them with their values decoded as
    Latin-1, as `http.server` has them. Targets with one canonical form have one signature (`/a//b?y&x` and
    `/a/b?x=&y=`), so whoever decides about a request does so by its own target. `keys` finds an access key by its id;
    `now` is for tests. `skipped_since` says how many seconds older than by `now` a signature of that time is.
    """
    try:
        return _verified(
            _Received(method, target, _by_name(headers), body),
            scope=_Scope(region, service),
            keys=keys,
            now=now or datetime.now(UTC),
            skipped_since=skipped_since,
        )
    except _RefusedError as refused:
        return refused.refusal


class _RefusedError(Exception):
    def __init__(self, fault: Fault, message: str) -> None:
        super().__init__(message)
        self.refusal = Refusal(fault=fault, message=message)


class _Received(NamedTuple):
    method: str
    target: str
    headers: dict[str, list[str]]
    body: bytes

    def only(self, name: str) -> str | None:
        """The one value of a header; two would let the check see another than whoever reads the request next."""
        values = self.headers.get(name, [])
        if len(values) > 1:
            raise _RefusedError(Fault.INCOMPLETE_SIGNATURE, f"The header '{name}' is there more than once.")
        return values[0].strip() if values else None


class _Scope(NamedTuple):
    region: str
    service: str


class _Authorization(NamedTuple):
    access_key_id: str
    date: str
    region: str
    service: str
    terminator: str
    signed_headers: list[str]
    signature: str


def _verified(
    received: _Received,
    *,
    scope: _Scope,
    keys: Callable[[str], AccessKey[Identity] | None],
    now: datetime,
    skipped_since: Callable[[float], float],
) -> Identity:
    authorization = _authorization(received)
    timestamp = _timestamp(received, now, skipped_since)
    _check_signed_headers(received, authorization.signed_headers)
    _check_content(received)
    _check_scope(authorization, scope, timestamp)
    key = keys(authorization.access_key_id)
    if key is None:
        raise _RefusedError(Fault.UNRECOGNIZED_CLIENT, "The security token included in the request is invalid.")
    _check_session(received, key, now)
    right = _signature(received, authorization, timestamp, key.secret)
    if not hmac.compare_digest(right.encode(), authorization.signature.encode()):
        raise _RefusedError(
            Fault.SIGNATURE_DOES_NOT_MATCH,
            "The request signature we calculated does not match the signature you provided. "
            "Check your AWS Secret Access Key and signing method. Consult the service documentation for details.",
        )
    return key.identity


def _by_name(headers: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for name, value in headers:
        found[name.lower()].append(value)
    return dict(found)


def _authorization(received: _Received) -> _Authorization:
    """The parts of the Authorization header, each of which is there exactly once."""
    header = received.only("authorization")
    _, _, query = received.target.partition("?")
    if any(name.lower().startswith("x-amz-") for name, _ in parse_qsl(query, keep_blank_values=True)):
        raise _RefusedError(
            Fault.INCOMPLETE_SIGNATURE,
            "A signature in the query string is not supported here: sign with the Authorization header.",
        )
    if not header:
        raise _RefusedError(Fault.MISSING_AUTHENTICATION_TOKEN, "Missing Authentication Token")
    algorithm, _, parameters = header.partition(" ")
    pairs = [parameter.strip().partition("=") for parameter in parameters.split(",")]
    values = {name: value for name, _, value in pairs}
    names = ("Credential", "Signature", "SignedHeaders")
    absent = [f"Authorization header requires '{name}' parameter." for name in names if not values.get(name)]
    if absent or len(pairs) != len(names):
        raise _RefusedError(
            Fault.INCOMPLETE_SIGNATURE, " ".join(absent) or "Authorization header has a parameter too many."
        )
    if algorithm != _ALGORITHM:
        raise _RefusedError(
            Fault.INCOMPLETE_SIGNATURE, f"Unsupported AWS 'algorithm': '{algorithm}' (only {_ALGORITHM} for now)."
        )
    match values["Credential"].split("/"):
        case [access_key_id, date, region, service, terminator]:
            signed_headers = values["SignedHeaders"].split(";")
            return _Authorization(access_key_id, date, region, service, terminator, signed_headers, values["Signature"])
        case _:
            raise _RefusedError(
                Fault.INCOMPLETE_SIGNATURE,
                "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, "
                f"got '{values['Credential']}'",
            )


def _timestamp(received: _Received, now: datetime, skipped_since: Callable[[float], float]) -> str:
    """The request's time, which is at most five minutes from now."""
    timestamp = received.only("x-amz-date")
    if timestamp is None:
        raise _RefusedError(
            Fault.INCOMPLETE_SIGNATURE, "Authorization header requires existence of a 'X-Amz-Date' header."
        )
    try:
        time = datetime.strptime(timestamp, _TIME_FORMAT).replace(tzinfo=UTC)
    except ValueError:
        time = None
    # strptime takes a date whose parts have too few digits.
    if time is None or f"{time:{_TIME_FORMAT}}" != timestamp:
        raise _RefusedError(Fault.INCOMPLETE_SIGNATURE, f"Date must be in ISO-8601 'basic format'. Got '{timestamp}'.")
    now += timedelta(seconds=skipped_since(time.timestamp()))
    earliest, latest = now - _SKEW, now + _SKEW
    if time < earliest:
        raise _RefusedError(
            Fault.SIGNATURE_DOES_NOT_MATCH,
            f"Signature expired: {timestamp} is now earlier than {earliest:{_TIME_FORMAT}} "
            f"({now:{_TIME_FORMAT}} - 5 min.)",
        )
    if time > latest:
        raise _RefusedError(
            Fault.SIGNATURE_DOES_NOT_MATCH,
            f"Signature not yet current: {timestamp} is still later than {latest:{_TIME_FORMAT}} "
            f"({now:{_TIME_FORMAT}} + 5 min.)",
        )
    return timestamp


def _check_signed_headers(received: _Received, signed: list[str]) -> None:
    """`host` and every `x-amz-*` is signed, and nothing that isn't there."""
    if "host" not in signed or received.only("host") is None:
        raise _RefusedError(
            Fault.SIGNATURE_DOES_NOT_MATCH, "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization."
        )
    unsigned = sorted(name for name in received.headers if name.startswith("x-amz-") and name not in signed)
    absent = [name for name in signed if name not in received.headers]
    if unsigned or absent or signed != sorted(set(signed)):
        raise _RefusedError(
            Fault.SIGNATURE_DOES_NOT_MATCH,
            "SignedHeaders must name every 'x-amz-' header, and only headers that are there, each once and in order: "
            f"'{';'.join(signed)}'.",
        )


def _check_content(received: _Received) -> None:
    """Of the request line and the body, what a signature would be silent about."""
    # The canonical form has the method in capitals.
    if not _METHOD.fullmatch(received.method) or not _TARGET.fullmatch(received.target) or "#" in received.target:
        raise _RefusedError(Fault.INCOMPLETE_SIGNATURE, "The request line holds what no client sends.")
    digest = hashlib.sha256(received.body).hexdigest()
    if received.only("x-amz-content-sha256") not in {None, digest}:
        raise _RefusedError(
            Fault.SIGNATURE_DOES_NOT_MATCH, "The value of 'x-amz-content-sha256' is not the SHA-256 of the body."
        )


def _check_scope(authorization: _Authorization, scope: _Scope, timestamp: str) -> None:
    wrong: list[str] = []
    if authorization.region != scope.region:
        wrong.append(f"Credential should be scoped to a valid region, not '{authorization.region}'.")
    if authorization.service != scope.service:
        wrong.append(f"Credential should be scoped to correct service: '{scope.service}'.")
    if authorization.terminator != "aws4_request":
        wrong.append(
            f"Credential should be scoped with a valid terminator: 'aws4_request', not '{authorization.terminator}'."
        )
    if authorization.date != (today := timestamp[:8]):
        wrong.append(
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: "
            f"'{authorization.date}' != '{today}', from '{timestamp}'."
        )
    if wrong:
        raise _RefusedError(Fault.SIGNATURE_DOES_NOT_MATCH, " ".join(wrong))


def _check_session(received: _Received, key: AccessKey[Any], now: datetime) -> None:
    """The session token is the key's; that it is signed has been checked, being an `x-amz-` header."""
    token = received.only("x-amz-security-token")
    if not hmac.compare_digest((token or "").encode(), (key.session_token or "").encode()):
        raise _RefusedError(Fault.UNRECOGNIZED_CLIENT, "The security token included in the request is invalid.")
    if key.expires is not None and key.expires <= now:
        raise _RefusedError(Fault.EXPIRED_TOKEN, "The security token included in the request is expired")


class _Resigner(SigV4Auth):
    """Signs with the headers it is given, all of them and no others."""

    def __init__(self, credentials: Credentials, service: str, region: str, signed: HTTPMessage) -> None:
        super().__init__(credentials, service, region)
        self._signed = signed

    def headers_to_sign(self, request: AWSRequest) -> HTTPMessage:  # noqa: ARG002 - overridden
        return self._signed


def _signature(received: _Received, authorization: _Authorization, timestamp: str, secret: str) -> str:
    """The right signature of this request."""
    signed = HTTPMessage()
    for name in authorization.signed_headers:
        for value in received.headers[name]:
            signed[name] = _text(name, value)
    # The host is among the headers; in the URL it would only be a way to smuggle a path.
    request = AWSRequest(method=received.method, url=f"http://localhost{received.target}", data=received.body)
    request.context["timestamp"] = timestamp
    signer = _Resigner(
        Credentials(authorization.access_key_id, secret), authorization.service, authorization.region, signed
    )
    return signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request)


def _text(name: str, value: str) -> str:
    """A header's bytes as the text whose UTF-8 they are: what is signed is bytes."""
    try:
        return value.encode("latin-1").decode()
    except UnicodeError as error:
        raise _RefusedError(Fault.SIGNATURE_DOES_NOT_MATCH, f"The header '{name}' is not UTF-8.") from error
