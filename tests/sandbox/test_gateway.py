"""The deployed REST API, served: what a client gets, what integrations get, and what can't be served is refused."""

from __future__ import annotations

import base64
import json
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pytest
import urllib3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from jsonschema import Draft4Validator

import contracts
from sandbox import iam, sigv4
from sandbox.gateway import (
    Answer,
    Deployments,
    Gateway,
    Incoming,
    IntegrationRefusedError,
    IntegrationThrottledError,
    Invocation,
    Pipeline,
    ServiceAnswer,
    UnsupportedError,
)
from sandbox.gateway.app import _response
from sandbox.gateway.routing import find
from sandbox.gateway.throttle import Limits, take
from sandbox.serving import served
from tests.graph import ACCOUNT, REGION

API, DEPLOYMENT, STAGE, SETTINGS = (
    f"aws:apigateway/{name}"
    for name in ("restApi:RestApi", "deployment:Deployment", "stage:Stage", "methodSettings:MethodSettings")
)
EXECUTION_ARN = f"arn:aws:execute-api:{REGION}:{ACCOUNT}:a1b2c3"
ROLE = f"arn:aws:iam::{ACCOUNT}:role"
CLIENT = iam.RoleSession(role_arn=f"{ROLE}/orders-client", session="shop")
CARRIER = iam.RoleSession(role_arn=f"{ROLE}/event-gateway-local-carrier-acme-mock", session="truck-7")
STRANGER = iam.User(arn=f"arn:aws:iam::{ACCOUNT}:user/stranger")
KEYS = {
    "ASIACLIENT": sigv4.AccessKey[iam.Principal](secret="client-secret", identity=CLIENT, session_token="client-token"),
    "ASIACARRIER": sigv4.AccessKey[iam.Principal](secret="carrier-secret", identity=CARRIER, session_token="c-token"),
    "AKIASTRANGER": sigv4.AccessKey[iam.Principal](secret="stranger-secret", identity=STRANGER),
    "ASIAEXPIRED": sigv4.AccessKey[iam.Principal](
        secret="old-secret", identity=CLIENT, session_token="old", expires=datetime(2026, 1, 1, tzinfo=UTC)
    ),
}
ORDER = "5c2f1f2e-0d0a-4b57-9d76-0a5b5d1c9b11"
CONFIRMATION = {"order_id": ORDER, "shipped_at": "2026-01-31T23:59:59.5+02:00"}
TAKEN = ServiceAnswer(200, json.dumps({"FailedEntryCount": 0, "Entries": [{"EventId": "e-1"}]}).encode())
REFUSAL = Draft4Validator(contracts._document("schemas/message.json"))


OVERWRITE = {"putRestApiMode": "overwrite"}


class Call(NamedTuple):
    name: str
    payload: Any
    role_or_source: str


@dataclass
class World:
    """A gateway with the deployed API and everything around it at hand."""

    body: dict[str, Any]
    deployments: Deployments
    log_format: str
    deployed: int = 0
    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    result: Any = field(default_factory=lambda: {"statusCode": 201, "body": "{}"})
    function_error: str | None = None
    service: Any = TAKEN
    calls: list[Call] = field(default_factory=list)
    log: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    identity: dict[str, list[iam.Policy]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.pipeline = Pipeline(
            self.deployments.stage,
            authority=self,
            invoke=self.invoke,
            call_service=self.call_service,
            access_log=lambda arn, line: self.log.append((arn, json.loads(line))),
            clock=lambda: self.now,
        )

    def keys(self, access_key_id):
        return KEYS.get(access_key_id)

    def decide(self, principal, action, resource, context=None):
        return iam.evaluate(
            iam.Request(principal=principal, action=action, resource=resource, context=context or {}),
            identity=self.identity.get(principal.name, []),
            resource=self.deployments.policy(resource),
        )

    def invoke(self, function_arn, payload, *, source_arn, timeout):
        self.calls.append(Call(function_arn, json.loads(payload), source_arn))
        assert timeout == 29
        if isinstance(self.result, Exception):
            raise self.result
        result = self.result if isinstance(self.result, bytes) else json.dumps(self.result).encode()
        return Invocation(result, self.function_error)

    def call_service(self, role_arn, target, body):
        self.calls.append(Call(target, body, role_arn))
        if isinstance(self.service, Exception):
            raise self.service
        return self.service

    def deploy(self, body):
        """Change the API, make a deployment of it, and move the stage there."""
        self.deployed += 1
        deployment = f"d{self.deployed}"
        self.deployments.put(API, "a1b2c3", {"executionArn": EXECUTION_ARN, "body": json.dumps(body), **OVERWRITE})
        self.deployments.put(DEPLOYMENT, deployment, {"restApi": "a1b2c3"})
        self.stage(deployment)
        self.throttle(50, 100)

    def stage(self, deployment, **changes):
        log = {"destinationArn": "arn:aws:logs:x:1:log-group:api", "format": self.log_format}
        properties = {"restApi": "a1b2c3", "stageName": "v1", "deployment": deployment, "accessLogSettings": log}
        self.deployments.put(STAGE, "ags-a1b2c3-v1", properties | changes)

    def throttle(self, rate, burst, path="*/*"):
        settings = {"throttlingRateLimit": rate, "throttlingBurstLimit": burst}
        properties = {"restApi": "a1b2c3", "stageName": "v1", "methodPath": path, "settings": settings}
        self.deployments.put(SETTINGS, f"a1b2c3-v1-{path}", properties)

    def send(self, request):
        return self.pipeline.answer(request)

    def event(self):
        (call,) = self.calls
        return call.payload


@pytest.fixture(scope="session")
def deployed(programs):
    """The inputs of the resources of API Gateway, as the program makes them."""
    local = programs["local"]
    return {type_: local.only(type_).inputs for type_ in (API, DEPLOYMENT, STAGE, SETTINGS)}


@pytest.fixture
def world(deployed):
    made = World(
        body=json.loads(deployed[API]["body"]),
        deployments=Deployments(),
        log_format=deployed[STAGE]["accessLogSettings"]["format"],
    )
    made.deploy(made.body)
    return made


def sign(
    method="POST", target="/v1/orders", body=b"", *, key="ASIACLIENT", region=REGION, secret=None, at=None, **headers
):
    """A request as botocore signs it for a client of this gateway."""
    known = KEYS.get(key)
    credentials = Credentials(key, secret or (known.secret if known else "x"), known.session_token if known else None)
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    request = AWSRequest(method=method, url=f"http://localhost:4566{target}", data=body, headers=sent)
    SigV4Auth(credentials, "execute-api", region).add_auth(request)
    arriving = [("host", "localhost:4566"), *((name.lower(), value) for name, value in request.headers.items())]
    return Incoming(method, target, tuple(arriving), body)


def confirm(body=None, *, content_type="application/json", key="ASIACARRIER", target="/v1/confirm-shipment", **other):
    content = body if isinstance(body, bytes) else json.dumps(CONFIRMATION if body is None else body).encode()
    headers = {"Content_Type": content_type} if content_type else {}
    return sign("POST", target, content, key=key, **headers, **other)


def unsigned(method, target, body=b"", **headers):
    sent = tuple((name.replace("_", "-").lower(), value) for name, value in headers.items())
    return Incoming(method, target, (("host", "localhost:4566"), *sent), body)


def refused(answer, status, error_type=None):
    """A refusal by the gateway itself is a document of the contract, with the id of its own headers."""
    assert answer.status == status, answer
    document = json.loads(answer.body)
    REFUSAL.validate(document)
    assert document["request_id"] == answer.header("x-amzn-RequestId") != ""
    assert answer.header("Content-Type") == "application/json"
    if error_type is not None:
        assert answer.header("x-amzn-ErrorType") == error_type
    return document["message"]


# --- the article's session --------------------------------------------------------------------------------------------


def over_http(http, url, method, path, body, key):
    """Send a request that botocore signs for this very server."""
    known = KEYS[key]
    request = AWSRequest(method=method, url=f"{url}{path}", data=body, headers={"Content-Type": "application/json"})
    SigV4Auth(Credentials(key, known.secret, known.session_token), "execute-api", REGION).add_auth(request)
    prepared = request.prepare()
    return http.request(method, prepared.url, body=body, headers=dict(prepared.headers), retries=False)


def test_over_http_a_client_places_and_reads_and_a_carrier_confirms(world):
    world.result = {"statusCode": 201, "headers": {"X-A": "b"}, "multiValueHeaders": {"X-M": ["1", "2"]}, "body": "né"}
    confirmation = json.dumps(CONFIRMATION).encode()
    with served(Gateway(world.pipeline)) as served_at, urllib3.PoolManager() as http:
        url = served_at.rstrip("/")
        placed = over_http(http, url, "POST", "/v1/orders?a=1&b=%20x", b'{"reference": "it\'s"}', "ASIACLIENT")
        read = over_http(http, url, "GET", f"/v1/orders/{ORDER}", None, "ASIACLIENT")
        confirmed = over_http(http, url, "POST", "/v1/confirm-shipment", confirmation, "ASIACARRIER")
        wrong = over_http(http, url, "POST", "/v1/confirm-shipment", confirmation, "ASIACLIENT")
        large = over_http(http, url, "POST", "/v1/orders", bytes(10 * 1024 * 1024 + 1), "ASIACLIENT")
        world.result = {"statusCode": 204, "body": "nothing"}
        nothing = over_http(http, url, "GET", f"/v1/orders/{ORDER}", None, "ASIACLIENT")
        elsewhere = http.request("GET", f"{url}/v1/orders", headers={"Host": "evil.example"})

    assert (placed.status, placed.data.decode(), placed.headers["X-A"]) == (201, "né", "b")
    assert placed.headers.getlist("X-M") == ["1", "2"]
    assert placed.headers["x-amzn-RequestId"]
    assert placed.headers["x-amz-apigw-id"].endswith("=")
    assert read.status == 201
    assert (confirmed.status, confirmed.json()) == (202, {"event_id": "e-1"})
    assert (wrong.status, large.status, elsewhere.status) == (403, 413, 421)
    assert (nothing.status, nothing.data) == (204, b"")
    first, second, third, _ = world.calls
    assert first.payload["queryStringParameters"] == {"a": "1", "b": " x"}
    assert first.payload["body"] == '{"reference": "it\'s"}'
    assert first.payload["requestContext"]["identity"]["sourceIp"] == "127.0.0.1"
    assert second.payload["pathParameters"] == {"order_id": ORDER}
    assert (third.name, third.role_or_source) == (
        "AWSEvents.PutEvents",
        f"{ROLE}/event-gateway-local-orders-api-put-events",
    )


def test_requests_wait_for_their_integrations_side_by_side(world, monkeypatch):
    together = threading.Barrier(2, timeout=10)

    def invoke(function_arn, payload, *, source_arn, timeout):
        together.wait()
        return Invocation(b"{}")

    monkeypatch.setattr(world.pipeline, "_invoke", invoke)
    answers = []
    with served(Gateway(world.pipeline)) as url, urllib3.PoolManager() as http:

        def send():
            answers.append(over_http(http, url.rstrip("/"), "POST", "/v1/orders", b"", "ASIACLIENT"))

        threads = [threading.Thread(target=send) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert [answer.status for answer in answers] == [200, 200]


@pytest.mark.parametrize("status", [204, 304])
def test_what_has_no_body_is_sent_without_one(status):
    response = _response(Answer(status, (("X-A", "b"),), b"x"))

    assert (response.body, response.raw_headers) == (b"", [(b"X-A", b"b")])
    assert _response(Answer(200, (), b"x")).raw_headers == [(b"content-length", b"1")]


# --- who may ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "error_type"),
    [
        (lambda: unsigned("POST", "/v1/orders"), "MissingAuthenticationTokenException"),
        (lambda: sign(secret="wrong"), "InvalidSignatureException"),
        (lambda: sign(key="AKIAUNKNOWN"), "UnrecognizedClientException"),
        (lambda: sign(key="ASIAEXPIRED"), "ExpiredTokenException"),
        (lambda: sign(region="us-east-1"), "InvalidSignatureException"),
        (lambda: sign(body=b"{}")._replace(body=b"[]"), "InvalidSignatureException"),
        (lambda: sign(target="/v1/orders?a=1")._replace(target="/v1/orders?a=2"), "InvalidSignatureException"),
        (lambda: unsigned("POST", "/v1/orders", Authorization="AWS4-HMAC-SHA256 x"), "IncompleteSignatureException"),
        (lambda: sign(key="AKIASTRANGER"), "AccessDeniedException"),
        (lambda: sign(key="ASIACARRIER"), "AccessDeniedException"),
        (lambda: confirm(key="ASIACLIENT"), "AccessDeniedException"),
        (lambda: sign("GET", f"/v1/orders/{ORDER}", key="ASIACARRIER"), "AccessDeniedException"),
    ],
)
def test_nobody_else_gets_through(world, request_, error_type):
    refused(world.send(request_()), 403, error_type)

    assert world.calls == []


@pytest.mark.parametrize("shift", [timedelta(minutes=-6), timedelta(minutes=6)])
def test_a_signature_is_good_for_five_minutes(world, shift):
    request = sign()
    world.now += shift

    assert "Signature" in refused(world.send(request), 403, "InvalidSignatureException")


def test_a_refusal_names_who_what_and_where_but_not_the_whole_account(world):
    message = refused(world.send(confirm(key="ASIACLIENT")), 403)

    assert message == (
        f"User: arn:aws:sts::{ACCOUNT}:assumed-role/orders-client/shop is not authorized to perform: execute-api:Invoke"
        f" on resource: arn:aws:execute-api:{REGION}:********3333:a1b2c3/v1/POST/confirm-shipment"
        " with an explicit deny"
    )


def test_an_own_policy_helps_nobody_whom_the_api_denies(world):
    everything = {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}
    world.identity[STRANGER.name] = [iam.identity_policy("all", everything)]

    refused(world.send(sign(key="AKIASTRANGER")), 403, "AccessDeniedException")


def test_without_a_resource_policy_an_own_policy_decides(world):
    world.deploy({key: value for key, value in world.body.items() if key != POLICY})
    before = world.send(sign(key="AKIASTRANGER"))
    may = {"Effect": "Allow", "Action": "execute-api:Invoke", "Resource": f"{EXECUTION_ARN}/v1/POST/orders"}
    world.identity[STRANGER.name] = [iam.identity_policy("may", {"Version": "2012-10-17", "Statement": may})]

    assert not refused(before, 403).endswith("explicit deny")
    assert world.send(sign(key="AKIASTRANGER")).status == 201


POLICY = "x-amazon-apigateway-policy"


def test_a_method_without_a_signature_asks_only_the_resource_policy(world):
    world.body["paths"]["/orders"]["post"]["security"] = []
    world.deploy(world.body)
    denied = world.send(unsigned("POST", "/v1/orders"))
    world.deploy({key: value for key, value in world.body.items() if key != POLICY})

    assert "User: anonymous" in refused(denied, 403, "AccessDeniedException")
    assert world.send(unsigned("POST", "/v1/orders", Authorization="own")).status == 201
    assert world.event()["headers"]["authorization"] == "own"
    assert world.event()["requestContext"]["identity"]["userArn"] is None


# --- where to ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("POST", "/v1/nowhere"),
        ("DELETE", "/v1/orders"),
        ("GET", "/v1/orders"),
        ("POST", f"/v1/orders/{ORDER}"),
        ("POST", "/v1/orders/"),
        ("POST", "/v1//orders"),
        ("POST", "/v1/%6Frders"),
        ("GET", "/v1/orders/"),
        ("GET", f"/v1/orders/{ORDER}/x"),
        ("GET", "/v1"),
        ("GET", "/v1/"),
    ],
)
def test_what_is_not_there_looks_like_a_missing_token(world, method, target):
    message = refused(world.send(sign(method, target)), 403, "MissingAuthenticationTokenException")

    assert message == "Missing Authentication Token"
    assert world.calls == []


@pytest.mark.parametrize("target", ["/", "/v2/orders", "/orders", "//v1/orders", "/V1/orders"])
def test_an_unknown_stage_is_forbidden_without_any_api_having_a_say(world, target):
    answer = world.send(sign(target=target))

    assert (answer.status, json.loads(answer.body)) == (403, {"message": "Forbidden"})
    assert answer.header("x-amzn-ErrorType") == "ForbiddenException"


@pytest.mark.parametrize(
    ("path", "resource", "parameters"),
    [
        ("/", "/", {}),
        ("", "/", {}),
        ("/a", "/a", {}),
        ("/x", "/{one}", {"one": "x"}),
        ("/x%2Fy%20z", "/{one}", {"one": "x/y z"}),
        ("/a/b", "/a/{two}", {"two": "b"}),
        ("/x/b/c", "/{one}/{rest+}", {"one": "x", "rest": "b/c"}),
        ("/a/b/c", "/a/{two}/c", {"two": "b"}),
    ],
)
def test_the_most_specific_resource_takes_a_path(path, resource, parameters):
    resources = ["/{one}/{rest+}", "/{one}", "/a/{two}", "/a/{two}/c", "/a", "/"]

    assert find(path, resources) == (resource, parameters)


# --- how much and how often -------------------------------------------------------------------------------------------


def test_ten_megabytes_are_the_most(world):
    most = 10 * 1024 * 1024
    fits = world.send(sign(body=bytes(most)))

    assert fits.status == 201
    refused(world.send(sign(body=bytes(most + 1))), 413, "RequestEntityTooLargeException")


def test_a_route_is_throttled_by_the_deployed_settings_and_says_when_to_come_back(world, deployed):
    settings = deployed[SETTINGS]["settings"]
    rate, burst = settings["throttlingRateLimit"], int(settings["throttlingBurstLimit"])
    world.throttle(rate, burst)
    taken = [world.send(sign()).status for _ in range(burst)]
    answer = world.send(sign())

    assert set(taken) == {201}
    assert refused(answer, 429, "TooManyRequestsException") == "Too Many Requests"
    assert answer.header("Retry-After") == "1"
    assert len(world.calls) == burst
    # Each route has a bucket of its own, and a refused caller takes nothing out of it.
    assert world.send(confirm()).status == 202
    world.now += timedelta(seconds=1.5 / rate)
    assert [world.send(sign(key="AKIASTRANGER")).status, world.send(sign()).status] == [403, 201]
    assert world.send(sign()).status == 429


def test_the_settings_of_a_method_come_before_those_of_the_stage(world):
    world.throttle(1, 1, path="orders/POST")

    assert [world.send(sign()).status for _ in range(2)] == [201, 429]
    assert [world.send(confirm()).status for _ in range(2)] == [202, 202]


def test_a_bucket_fills_at_its_rate_up_to_its_burst():
    limits = Limits(rate=2, burst=3)
    bucket, allowed = None, []
    for now in (0, 0, 0, 0, 0.5, 0.5, 100, 100, 100, 100, 50, 50.5):
        bucket, may = take(bucket, limits, now)
        allowed.append(may)

    assert allowed == [True, True, True, False, True, False, True, True, True, False, False, True]
    assert take(None, Limits(rate=0, burst=0), 0)[1] is False


# --- what may come in -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"\xff",
        b'"text"',
        b'{"order_id": NaN}',
        b"[" * 100_000,
        {"order_id": ORDER},
        {**CONFIRMATION, "more": 1},
        {**CONFIRMATION, "order_id": 5},
        {**CONFIRMATION, "order_id": ORDER.upper()},
        {**CONFIRMATION, "shipped_at": "yesterday"},
        {**CONFIRMATION, "shipped_at": None},
        {**CONFIRMATION, "shipped_at": "x" * 65_536},
        {**CONFIRMATION, "filler": "x" * 65_536},
    ],
)
def test_a_confirmation_that_is_not_one_is_refused_before_the_bus(world, body):
    message = refused(world.send(confirm(body)), 400, "BadRequestException")

    assert message == "Invalid request body"
    assert world.calls == []


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/xml", "application/x-www-form-urlencoded", "application/json+x", "application"],
)
def test_a_confirmation_of_another_content_type_is_refused(world, content_type):
    message = refused(world.send(confirm(content_type=content_type)), 415, "UnsupportedMediaTypeException")

    assert message == "Unsupported Media Type"
    assert world.calls == []


@pytest.mark.parametrize("content_type", [None, "application/json", "application/json; charset=utf-8"])
def test_a_confirmation_is_json_unless_it_says_otherwise(world, content_type):
    assert world.send(confirm(content_type=content_type)).status == 202


def test_a_missing_or_blank_required_parameter_is_refused(world):
    post = world.body["paths"]["/orders"]["post"]
    post["parameters"] += [
        {"name": "Who", "in": "header", "required": True},
        {"name": "q", "in": "query", "required": 1},
    ]
    world.deploy(world.body)

    assert refused(world.send(sign()), 400) == "Missing required request parameters: [Who, q]"
    assert refused(world.send(sign(target="/v1/orders?q=%20", who="x")), 400).endswith("[q]")
    assert refused(world.send(sign(target="/v1/orders?q=1", Who=" ")), 400).endswith("[Who]")
    assert world.calls == []
    assert world.send(sign(target="/v1/orders?q=1", Who="x")).status == 201


def test_a_validator_looks_at_what_it_says_and_no_more(world):
    world.body["paths"]["/orders"]["post"]["parameters"] += [{"name": "Who", "in": "header", "required": True}]
    world.body["x-amazon-apigateway-request-validators"]["parameters"]["validateRequestParameters"] = False
    world.deploy(world.body)

    assert world.send(sign()).status == 201


@pytest.mark.parametrize(("weight", "status"), [("1", 202), ("NaN", 400), ("-Infinity", 400)])
def test_what_is_no_number_in_json_is_none_in_a_model(world, weight, status):
    world.body["components"]["schemas"]["ShipmentConfirmation"]["properties"]["weight"] = {"type": "number"}
    world.deploy(world.body)
    body = json.dumps(CONFIRMATION)[:-1] + f', "weight": {weight}}}'

    assert world.send(confirm(body.encode())).status == status


@pytest.mark.parametrize(("time", "status"), [(CONFIRMATION["shipped_at"], 202), ("2026-02-30T00:00:00Z", 400)])
def test_a_format_of_draft_4_is_checked(world, time, status):
    world.body["components"]["schemas"]["ShipmentConfirmation"]["properties"]["shipped_at"]["format"] = "date-time"
    world.deploy(world.body)

    assert world.send(confirm({**CONFIRMATION, "shipped_at": time})).status == status


def test_the_function_gets_bodies_that_its_model_would_refuse(world):
    # Its validator looks at parameters only, and answers itself.
    assert world.send(sign(body=b"{", Content_Type="text/plain")).status == 201
    assert world.event()["body"] == "{"


# --- the function -----------------------------------------------------------------------------------------------------


def test_the_function_gets_the_whole_request(world):
    target = "/v1/orders/a%2Fb%20c?x=1&x=2&y=%C3%A9&z="
    request = sign("GET", target, Idempotency_Key="k-1", User_Agent="test/1")
    world.send(request._replace(headers=(*request.headers, ("x-twice", "1"), ("x-twice", "2"), ("te", "trailers"))))

    (call,) = world.calls
    event = call.payload
    assert call.name == f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:event-gateway-local-orders-api"
    assert call.role_or_source == f"{EXECUTION_ARN}/v1/GET/orders/{{order_id}}"
    headers = event.pop("headers")
    several = event.pop("multiValueHeaders")
    context = event.pop("requestContext")
    assert event == {
        "resource": "/orders/{order_id}",
        "path": "/orders/a%2Fb%20c",
        "httpMethod": "GET",
        "queryStringParameters": {"x": "2", "y": "é", "z": ""},
        "multiValueQueryStringParameters": {"x": ["1", "2"], "y": ["é"], "z": [""]},
        "pathParameters": {"order_id": "a/b c"},
        "stageVariables": None,
        "body": None,
        "isBase64Encoded": False,
    }
    assert headers["idempotency-key"] == "k-1"
    assert (headers["x-twice"], several["x-twice"]) == ("2", ["1", "2"])
    assert (headers["X-Forwarded-For"], headers["X-Forwarded-Proto"]) == ("127.0.0.1", "https")
    assert headers["X-Amzn-Trace-Id"].startswith("Root=1-")
    assert headers.keys() == several.keys()
    # A signature is for the gateway only.
    assert not {"authorization", "te", "content-length"} & headers.keys()
    identity = context.pop("identity")
    assert {key: value for key, value in identity.items() if value is not None} == {
        "accessKey": "ASIACLIENT",
        "accountId": ACCOUNT,
        "caller": identity["caller"],
        "sourceIp": "127.0.0.1",
        "user": identity["caller"],
        "userAgent": "test/1",
        "userArn": f"arn:aws:sts::{ACCOUNT}:assumed-role/orders-client/shop",
    }
    assert identity["caller"].startswith("AROA")
    assert identity["caller"].endswith(":shop")
    assert context.pop("requestId").count("-") == 4
    assert len(context.pop("extendedRequestId")) == 16
    assert context.pop("resourceId")
    assert context == {
        "accountId": ACCOUNT,
        "apiId": "a1b2c3",
        "deploymentId": "d1",
        "domainName": f"a1b2c3.execute-api.{REGION}.amazonaws.com",
        "domainPrefix": "a1b2c3",
        "httpMethod": "GET",
        "path": "/v1/orders/a%2Fb%20c",
        "protocol": "HTTP/1.1",
        "requestTime": f"{world.now:%d/%b/%Y:%H:%M:%S} +0000",
        "requestTimeEpoch": int(world.now.timestamp() * 1000),
        "resourcePath": "/orders/{order_id}",
        "stage": "v1",
    }


def test_a_body_is_text_unless_the_api_says_that_its_type_is_binary(world):
    world.send(sign(body=b"\xff\x00", Content_Type="image/png"))
    assert (world.event()["body"], world.event()["isBase64Encoded"]) == ("\ufffd\x00", False)
    world.calls.clear()
    world.body["x-amazon-apigateway-binary-media-types"] = ["image/png"]
    world.deploy(world.body)
    world.send(sign(body=b"\xff\x00", Content_Type="image/png"))

    assert (world.event()["body"], world.event()["isBase64Encoded"]) == ("/wA=", True)


def test_stage_variables_reach_the_function(world):
    world.stage("d1", variables={"color": "blue"})
    world.send(sign())

    assert world.event()["stageVariables"] == {"color": "blue"}


@pytest.mark.parametrize(
    ("result", "status", "body", "content_type"),
    [
        ({"statusCode": 201, "body": "x"}, 201, b"x", "application/json"),
        ({"statusCode": "404"}, 404, b"", "application/json"),
        ({}, 200, b"", "application/json"),
        ({"body": None, "headers": None, "multiValueHeaders": None}, 200, b"", "application/json"),
        ({"body": "é", "headers": {"content-type": "text/plain"}}, 200, "é".encode(), "text/plain"),
        ({"body": "eA==", "isBase64Encoded": True}, 200, b"eA==", "application/json"),
    ],
)
def test_what_a_function_returns_is_the_response(world, result, status, body, content_type):
    world.result = result
    answer = world.send(sign())

    assert (answer.status, answer.body, answer.header("content-type")) == (status, body, content_type)


@pytest.mark.parametrize(
    "result",
    [
        b"",
        b"{",
        b"null",
        b'"text"',
        b"[]",
        b"200",
        {"statusCode": "ok"},
        {"statusCode": 99},
        {"statusCode": 600},
        {"statusCode": True},
        {"statusCode": 200.5},
        {"statusCode": 200, "body": {"a": 1}},
        {"statusCode": 200, "body": 5},
        {"statusCode": 200, "headers": []},
        {"statusCode": 200, "headers": {"a": ["b"]}},
        {"statusCode": 200, "headers": {"a": None}},
        {"statusCode": 200, "headers": {"a b": "c"}},
        {"statusCode": 200, "headers": {"a": "b\r\nSet-Cookie: c"}},
        {"statusCode": 200, "multiValueHeaders": {"a": "b"}},
        {"statusCode": 200, "isBase64Encoded": "true"},
        {"statusCode": 200, "cookies": []},
        {"errorMessage": "boom", "errorType": "KeyError"},
    ],
)
def test_a_malformed_result_is_a_bad_gateway(world, result, caplog):
    world.result = result

    assert refused(world.send(sign()), 502, "InternalServerErrorException") == "Internal server error"
    assert "malformed Lambda proxy response" in caplog.text


def test_a_failed_function_is_a_bad_gateway_that_says_nothing_of_it(world, caplog):
    world.result, world.function_error = {"errorMessage": "secret of ours"}, "Unhandled"

    assert refused(world.send(sign()), 502, "InternalServerErrorException") == "Internal server error"
    assert "Unhandled" in caplog.text


@pytest.mark.parametrize(
    ("failure", "status", "message"),
    [
        (TimeoutError(), 504, "Endpoint request timed out"),
        (ConnectionError("no such function"), 504, "Network error communicating with endpoint"),
        (IntegrationRefusedError("apigateway may not"), 500, "Internal server error"),
        (IntegrationThrottledError("Rate Exceeded."), 500, "Internal server error"),
    ],
)
@pytest.mark.parametrize("request_", [sign, confirm])
def test_an_integration_out_of_reach_fails_in_its_own_way(world, failure, status, message, request_):
    world.result = world.service = failure

    assert refused(world.send(request_()), status, "InternalServerErrorException") == message
    assert len(world.calls) == 1


def test_headers_that_are_the_gateways_come_back_under_another_name(world):
    names = {"Date": "d", "Server": "s", "WWW-Authenticate": "w", "Connection": "close", "Content-Length": 999}
    world.result = {"headers": {**names, "Transfer-Encoding": "chunked", "X-Own": True}, "body": "{}"}
    answer = world.send(sign())

    headers = dict(answer.headers)
    assert headers["X-Own"] == "true"
    assert {f"x-amzn-Remapped-{name}": str(value) for name, value in names.items()}.items() <= headers.items()
    assert not {*names, "Transfer-Encoding"} & headers.keys()


def test_a_header_in_both_groups_has_the_several_values(world):
    world.result = {"headers": {"x-a": "1", "X-B": "2"}, "multiValueHeaders": {"X-A": ["3", "4"]}}
    answer = world.send(sign())

    assert [header for header in answer.headers if header[0].lower() in {"x-a", "x-b"}] == [
        ("X-A", "3"),
        ("X-A", "4"),
        ("X-B", "2"),
    ]


def test_binary_content_is_decoded_for_who_asks_for_it(world):
    world.body["x-amazon-apigateway-binary-media-types"] = ["image/png"]
    world.deploy(world.body)
    content = b"\x89PNG\xff"
    world.result = {"body": base64.b64encode(content).decode(), "isBase64Encoded": True}

    assert world.send(sign(Accept="image/png, */*")).body == content
    assert world.send(sign(Accept="*/*")).body == base64.b64encode(content)
    world.result["body"] = "not base64"
    refused(world.send(sign(Accept="image/png")), 500, "InternalServerErrorException")


# --- the bus ----------------------------------------------------------------------------------------------------------


def test_a_confirmation_becomes_one_entry_in_the_integrations_role(world):
    world.send(confirm())

    (call,) = world.calls
    (entry,) = json.loads(call.payload)["Entries"]
    assert (call.name, call.role_or_source) == (
        "AWSEvents.PutEvents",
        f"{ROLE}/event-gateway-local-orders-api-put-events",
    )
    assert json.loads(entry.pop("Detail")) == {
        **CONFIRMATION,
        "caller": CARRIER.name,
        "received_at": int(world.now.timestamp() * 1000),
    }
    assert entry == {
        "EventBusName": "event-gateway-local-orders",
        "Source": "carrier",
        "DetailType": "carrier.order_shipped",
    }


def failed_entry(code):
    entry = {"ErrorCode": code, "ErrorMessage": "m"}
    return ServiceAnswer(200, json.dumps({"FailedEntryCount": 1, "Entries": [entry]}).encode())


def error(status, type_):
    return ServiceAnswer(status, json.dumps({"__type": type_, "message": "secret of ours"}).encode())


@pytest.mark.parametrize(
    ("answered", "status", "retry_after"),
    [
        (failed_entry("InternalFailure"), 503, "5"),
        (failed_entry("ThrottlingException"), 503, "5"),
        (failed_entry("InvalidArgument"), 502, None),
        (error(400, "ThrottlingException"), 503, "5"),
        (error(400, "com.amazonaws.events#ThrottlingException"), 503, "5"),
        (error(400, "AccessDeniedException"), 502, None),
        (error(413, "RequestEntityTooLarge"), 502, None),
        (error(500, "InternalException"), 503, "5"),
        (ServiceAnswer(500, b"<html>"), 503, "5"),
        (ServiceAnswer(503, b""), 503, "5"),
        (ServiceAnswer(302, b""), 503, "5"),
        (ServiceAnswer(200, b"{}"), 502, None),
        (ServiceAnswer(200, b""), 502, None),
    ],
)
def test_only_what_is_on_the_bus_is_accepted(world, answered, status, retry_after):
    world.service = answered
    answer = world.send(confirm())

    document = json.loads(answer.body)
    REFUSAL.validate(document)
    assert (answer.status, answer.header("Retry-After")) == (status, retry_after)
    assert document["request_id"] == answer.header("x-amzn-RequestId")
    assert answer.header("Content-Type") == "application/json"
    assert b"secret of ours" not in answer.body


@pytest.mark.parametrize("status", [200, 400])
def test_an_answer_that_the_template_cant_read_is_an_error_and_logged_with_its_template(world, status, caplog):
    world.service = ServiceAnswer(status, b"<html>")

    refused(world.send(confirm()), 500, "InternalServerErrorException")
    pattern = {200: "200", 400: r"4\d{2}"}[status]
    assert f"POST /confirm-shipment: the template of the response {pattern}: " in caplog.text


def integration(world):
    return world.body["paths"]["/confirm-shipment"]["post"]["x-amazon-apigateway-integration"]


def test_a_failing_request_template_is_an_error_and_logged(world, caplog):
    integration(world)["requestTemplates"]["application/json"] = "#set($x = $input.nothing())"
    world.deploy(world.body)

    refused(world.send(confirm()), 500, "InternalServerErrorException")
    assert "POST /confirm-shipment: the request template: " in caplog.text
    assert world.calls == []


def test_an_answer_without_a_response_for_it_is_an_error(world):
    del integration(world)["responses"]["default"]
    world.deploy(world.body)
    world.service = ServiceAnswer(500, b"{}")

    refused(world.send(confirm()), 500, "InternalServerErrorException")


def test_a_response_is_for_the_whole_status_only(world):
    responses = integration(world)["responses"]
    responses["20"] = responses.pop("200")
    world.deploy(world.body)

    assert world.send(confirm()).status == 503


@pytest.mark.parametrize(
    ("template", "status"),
    [
        ("#set($context.responseOverride.status = 299){}", 299),
        ("#set($context.responseOverride.status = 99){}", 202),
        ("#set($context.responseOverride.status = 100){}", 202),
        ("#set($context.responseOverride.header.X = $input.path('$.x')){}", 500),
    ],
)
def test_an_override_that_http_doesnt_know_is_none(world, template, status):
    integration(world)["responses"]["200"]["responseTemplates"]["application/json"] = template
    world.deploy(world.body)
    world.service = ServiceAnswer(200, b'{"x": "a\\r\\nSet-Cookie: b"}')

    assert world.send(confirm()).status == status


def test_a_request_template_has_no_say_about_the_response(world):
    integration(world)["requestTemplates"]["application/json"] = "#set($context.responseOverride.status = 299){}"
    world.deploy(world.body)

    refused(world.send(confirm()), 500, "InternalServerErrorException")


@pytest.mark.parametrize(
    ("behavior", "templates", "passes"),
    [
        ("never", True, False),
        ("when_no_templates", True, False),
        ("when_no_templates", False, True),
        ("when_no_match", True, True),
        (None, True, True),
        ("NEVER", False, False),
    ],
)
def test_what_no_template_is_for_passes_as_the_integration_says(world, behavior, templates, passes):
    changed = integration(world)
    changed.pop("passthroughBehavior")
    changed |= {"passthroughBehavior": behavior} if behavior else {}
    changed |= {} if templates else {"requestTemplates": {}}
    world.deploy(world.body)
    answer = world.send(confirm(b"raw", content_type="text/plain"))

    assert answer.status == (202 if passes else 415)
    assert [call.payload for call in world.calls] == ([b"raw"] if passes else [])


def test_headers_of_the_answer_reach_the_client_where_they_are_mapped(world):
    post = world.body["paths"]["/confirm-shipment"]["post"]
    post["responses"]["202"]["headers"] = {"X-Id": {}, "X-None": {}, "X-Static": {}}
    integration(world)["responses"]["200"]["responseParameters"] = {
        "method.response.header.X-Id": "integration.response.header.x-amzn-RequestId",
        "method.response.header.X-None": "integration.response.header.X-Nothing",
        "method.response.header.X-Static": "'s'",
    }
    world.deploy(world.body)
    world.service = TAKEN._replace(headers=(("X-Amzn-RequestId", "r-1"), ("X-More", "m")))
    answer = world.send(confirm())

    assert (answer.status, answer.header("X-Id"), answer.header("X-Static")) == (202, "r-1", "s")
    assert not {"X-None", "X-More"} & dict(answer.headers).keys()


# --- gateway responses and logs ---------------------------------------------------------------------------------------

RESPONSES = "x-amazon-apigateway-gateway-responses"


def test_without_deployed_responses_a_refusal_is_awss_own(world):
    del world.body[RESPONSES]
    world.deploy(world.body)

    assert json.loads(world.send(unsigned("POST", "/v1/orders")).body) == {"message": "Missing Authentication Token"}
    assert json.loads(world.send(sign(key="ASIACARRIER")).body).keys() == {"Message"}


def test_a_deployed_response_decides_about_status_headers_and_body(world):
    template = (
        '{"t": "$context.error.responseType", "m": "$context.error.message", "s": $context.error.messageString,'
        ' "p": "$context.resourcePath", "c": "$context.identity.userArn"}'
    )
    world.body[RESPONSES] = {
        "BAD_REQUEST_BODY": {
            "statusCode": 422,
            "responseParameters": {"gatewayresponse.header.X-Why": "'body'"},
            "responseTemplates": {"application/json": template},
        },
        "DEFAULT_4XX": {"statusCode": "418"},
    }
    world.deploy(world.body)
    answer = world.send(confirm({}))
    other = world.send(unsigned("POST", "/v1/orders"))

    assert (answer.status, answer.header("X-Why")) == (422, "body")
    assert json.loads(answer.body) == {
        "t": "BAD_REQUEST_BODY",
        "m": "Invalid request body",
        "s": "Invalid request body",
        "p": "/confirm-shipment",
        "c": CARRIER.name,
    }
    # One without a template has AWS's own, whatever the default has.
    assert (other.status, json.loads(other.body)) == (418, {"message": "Missing Authentication Token"})


def test_every_request_is_one_line_of_the_access_log(world):
    answer = world.send(confirm())
    refusal = world.send(unsigned("POST", '/v1/orders"}?secret=1'))

    (arn, taken), (_, unknown) = world.log
    assert arn == "arn:aws:logs:x:1:log-group:api"
    assert taken.pop("latencyMs").isdigit()
    assert taken == {
        "requestId": answer.header("x-amzn-RequestId"),
        "requestTime": f"{world.now:%d/%b/%Y:%H:%M:%S} +0000",
        "caller": CARRIER.name,
        "sourceIp": "127.0.0.1",
        "method": "POST",
        "resource": "/confirm-shipment",
        "path": "/v1/confirm-shipment",
        "status": "202",
        "integrationStatus": "200",
        "error": "-",
    }
    assert unknown["requestId"] == refusal.header("x-amzn-RequestId")
    assert (unknown["status"], unknown["error"]) == ("403", "Missing Authentication Token")
    assert (unknown["resource"], unknown["caller"], unknown["integrationStatus"]) == ("-", "-", "-")
    assert unknown["path"] == '/v1/orders"}'


def test_a_denial_is_logged_with_the_statement_that_denies(world, caplog):
    caplog.set_level(logging.INFO, "sandbox.gateway")
    world.send(sign(key="ASIACARRIER"))

    assert "OnlyClientsMay" in caplog.text


# --- deployments ------------------------------------------------------------------------------------------------------


def renamed(body):
    """The API with its orders elsewhere."""
    paths = {path.replace("/orders", "/purchases"): item for path, item in body["paths"].items()}
    return {key: value for key, value in {**body, "paths": paths}.items() if key != POLICY}


def test_a_changed_api_is_served_once_it_is_deployed_and_the_stage_moved(world):
    may = {"Effect": "Allow", "Action": "execute-api:Invoke", "Resource": f"{EXECUTION_ARN}/*"}
    world.identity[CLIENT.name] = [iam.identity_policy("may", {"Version": "2012-10-17", "Statement": may})]

    def served_now():
        return [world.send(sign(target=f"/v1/{name}")).status for name in ("orders", "purchases")]

    changed = json.dumps(renamed(world.body))
    world.deployments.put(API, "a1b2c3", {"executionArn": EXECUTION_ARN, "body": changed, **OVERWRITE})
    after_body = served_now()
    denied = world.send(sign(key="AKIASTRANGER")).status
    world.deployments.put(DEPLOYMENT, "d2", {"restApi": "a1b2c3"})
    after_deployment = served_now()
    world.deployments.put(DEPLOYMENT, "d1", {"restApi": "a1b2c3", "description": "new"})
    after_description = served_now()
    world.stage("d2")
    after_stage = served_now()

    assert [after_body, after_deployment, after_description] == [[201, 403]] * 3
    assert denied == 403
    assert after_stage == [403, 201]
    # The policy is part of what is deployed.
    assert world.deployments.policy(f"{EXECUTION_ARN}/v1/POST/orders") is None


def test_a_deployment_that_is_served_cant_be_removed(world):
    with pytest.raises(UnsupportedError, match="active stages pointing to it"):
        world.deployments.remove(DEPLOYMENT, "d1")
    assert world.send(sign()).status == 201
    world.deployments.remove(STAGE, "ags-a1b2c3-v1")
    world.deployments.remove(DEPLOYMENT, "d1")

    assert json.loads(world.send(sign()).body) == {"message": "Forbidden"}


def test_settings_of_a_stage_apply_at_once_and_go_with_their_resource(world):
    world.throttle(1, 1)
    limited = [world.send(sign()).status for _ in range(2)]
    world.deployments.remove(SETTINGS, "a1b2c3-v1-*/*")
    world.now += timedelta(seconds=1)

    assert limited == [201, 429]
    assert world.deployments.stage("v1").limits(world.deployments.stage("v1").api.methods["/orders"]["POST"]) == (
        10_000,
        5_000,
    )


def at(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    """A change of the document at a path with dots, where `~` stands for `x-amazon-apigateway-`."""

    def change(document: dict[str, Any]) -> None:
        *steps, last = path.replace("~", "x-amazon-apigateway-").split(">")
        for step in steps:
            document = document[step]
        document[last] = value

    return change


ORDERS = "paths>/orders>post"
CONFIRM = "paths>/confirm-shipment>post"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (at("swagger", "2.0"), "swagger"),
        (at("openapi", "3.1.0"), "3.1.0"),
        (at("servers", []), "servers"),
        (at("security", []), "security"),
        (at("~api-key-source", "HEADER"), "api-key-source"),
        (at("components>schemas>Order>~model", {}), "x-amazon-apigateway-model"),
        (at(f"{ORDERS}>callbacks", {}), "POST /orders: callbacks"),
        (at(f"{ORDERS}>~request-validator", "other"), "'other'"),
        (at(f"{ORDERS}>~auth", {"type": "AWS_IAM"}), "x-amazon-apigateway-auth"),
        (at(f"{ORDERS}>parameters", [{"name": "a", "in": "cookie"}]), "cookie"),
        (at("components>securitySchemes>sigv4>~authtype", "custom"), "sigv4"),
        (at(f"{ORDERS}>~integration>type", "http"), "'http'"),
        (at(f"{ORDERS}>~integration>type", "http_proxy"), "'http_proxy'"),
        (at(f"{ORDERS}>~integration>type", "mock"), "'mock'"),
        (at(f"{ORDERS}>~integration>type", "novel"), "'novel'"),
        (at(f"{ORDERS}>~integration>uri", "https://example.com"), "https://example.com"),
        (at(f"{ORDERS}>~integration>httpMethod", "GET"), "'GET'"),
        (at(f"{ORDERS}>~integration>timeoutInMillis", 29_001), "timeoutInMillis"),
        (at(f"{ORDERS}>~integration>cacheNamespace", "x"), "cacheNamespace"),
        (at(f"{ORDERS}>~integration", None), "POST /orders"),
        (at(f"{CONFIRM}>~integration>credentials", "arn:aws:iam::*:user/*"), "credentials"),
        (at(f"{CONFIRM}>~integration>uri", f"arn:aws:apigateway:{REGION}:sqs:action/SendMessage"), "sqs"),
        (at(f"{CONFIRM}>~integration>passthroughBehavior", "sometimes"), "sometimes"),
        (at(f"{CONFIRM}>~integration>contentHandling", "CONVERT_TO_TEXT"), "contentHandling"),
        (at(f"{CONFIRM}>~integration>requestParameters", {}), "X-Amz-Target"),
        (
            at(f"{CONFIRM}>~integration>requestParameters>integration.request.header.X", "method.request.header.Y"),
            "method.request.header.Y",
        ),
        (at(f"{CONFIRM}>~integration>requestParameters>integration.request.path.x", "'a'"), "integration.request.path"),
        (at(f"{CONFIRM}>~integration>responses>200>statusCode", "299"), "no response 299"),
        (at(f"{CONFIRM}>~integration>responses>(", {"statusCode": "202"}), "regular expression"),
        (
            at(f"{CONFIRM}>~integration>responses>200>responseParameters", {"method.response.header.X": "'1'"}),
            "method.response.header.X",
        ),
        (
            at(f"{CONFIRM}>~integration>responses>200>responseTemplates", {"application/json": "", "text/plain": ""}),
            "several templates",
        ),
        (at("components>schemas>ShipmentConfirmation>properties>order_id>format", "uuid"), "'uuid'"),
        (at("components>schemas>ShipmentConfirmation>type", "thing"), "not a schema"),
        (at(f"{CONFIRM}>requestBody>content>application/json>schema", {"$ref": "#/components/schemas/X"}), "schemas/X"),
        (at("~gateway-responses>NOVEL", {}), "NOVEL"),
        (at("~gateway-responses>THROTTLED>responseTemplates>text/xml", "<a/>"), "text/xml"),
        (at("~gateway-responses>THROTTLED>responseTemplates>application/json", "$context.novel"), "$context.novel"),
        (
            at("~gateway-responses>THROTTLED>responseParameters>gatewayresponse.header.X", "method.request.header.Y"),
            "method.request.header.Y",
        ),
        (at("~binary-media-types", ["image/*"]), "image/*"),
        (at("paths>/orders/{other}", {}), "{order_id}"),
        (at("paths>/a b", {}), "/a b"),
        (at("paths>/orders>parameters", [{"$ref": "#/components/parameters/X"}]), "parameters/X"),
    ],
)
def test_what_would_be_served_differently_is_refused_when_deployed_by_its_name(world, change, named):
    change(world.body)
    with pytest.raises(UnsupportedError) as refusal:
        world.deploy(world.body)

    assert named in str(refusal.value)
    # What was deployed before is still served.
    assert world.send(sign()).status == 201


@pytest.mark.parametrize(
    ("type_", "changes", "named"),
    [
        (API, {"policy": "{}"}, "policy"),
        (API, {"binaryMediaTypes": ["a/b"]}, "binaryMediaTypes"),
        (API, {"disableExecuteApiEndpoint": True}, "disableExecuteApiEndpoint"),
        (API, {"putRestApiMode": "merge"}, "overwrite"),
        (API, {"body": None}, "body"),
        (DEPLOYMENT, {"variables": {"a": "b"}}, "variables"),
        (DEPLOYMENT, {"restApi": "other"}, "other"),
        (STAGE, {"deployment": "other"}, "other"),
        (
            STAGE,
            {"accessLogSettings": {"destinationArn": "arn:aws:logs:a:1:log-group:b", "format": "$context.novel"}},
            "$context.novel",
        ),
        (
            STAGE,
            {"accessLogSettings": {"destinationArn": "arn:aws:firehose:a:1:deliverystream/b", "format": ""}},
            "only log groups",
        ),
        (SETTINGS, {"methodPath": "orders/*"}, "orders/*"),
    ],
)
def test_inputs_that_mean_nothing_here_are_refused_by_their_name(world, type_, changes, named):
    base = {
        API: {"executionArn": EXECUTION_ARN, "body": json.dumps(world.body), **OVERWRITE},
        DEPLOYMENT: {"restApi": "a1b2c3"},
        STAGE: {"restApi": "a1b2c3", "stageName": "v1", "deployment": "d1"},
        SETTINGS: {"restApi": "a1b2c3", "stageName": "v1", "methodPath": "*/*", "settings": {}},
    }
    ids = {API: "a1b2c3", STAGE: "ags-a1b2c3-v1"}
    with pytest.raises(UnsupportedError) as refusal:
        world.deployments.put(type_, ids.get(type_, "new"), base[type_] | changes)

    assert named in str(refusal.value)


def test_two_stages_of_one_name_have_no_two_addresses(world):
    world.deployments.put(API, "other", {"executionArn": EXECUTION_ARN, "body": json.dumps(world.body), **OVERWRITE})
    world.deployments.put(DEPLOYMENT, "d9", {"restApi": "other"})
    with pytest.raises(UnsupportedError, match="has one address"):
        world.deployments.put(STAGE, "ags-other-v1", {"restApi": "other", "stageName": "v1", "deployment": "d9"})


def test_the_whole_program_is_served_as_it_is_deployed(deployed):
    """Exactly the inputs that the program registers, in the order in which the engine makes them."""
    deployments = Deployments()
    api = deployed[DEPLOYMENT]["restApi"]
    deployments.put(API, api, {**deployed[API], "executionArn": EXECUTION_ARN})
    deployments.put(DEPLOYMENT, deployed[STAGE]["deployment"], deployed[DEPLOYMENT])
    deployments.put(STAGE, "stage", deployed[STAGE])
    deployments.put(SETTINGS, "settings", deployed[SETTINGS])

    stage = deployments.stage(deployed[STAGE]["stageName"])
    methods = [method for resource in stage.api.methods.values() for method in resource.values()]
    assert len(methods) == 3
    assert all(method.signed for method in methods)
    assert {stage.limits(method) for method in methods} == {(50, 100)}
    assert stage.policy.flaw is None
