"""What Lambda answers to whoever runs a function or hands an event over to one."""

from __future__ import annotations

import socket
from types import SimpleNamespace

import pytest
import urllib3
from botocore.exceptions import ClientError, ReadTimeoutError
from starlette.responses import JSONResponse, Response

from sandbox.authority import Authority
from sandbox.cloud import Cloud
from sandbox.faults import Faults
from sandbox.iam import DecisionLog, Service
from sandbox.provider.kind import Place
from sandbox.registry import Registry
from sandbox.services import THROTTLED, Handover, Lambda
from sandbox.serving import Blocking, served
from sandbox.urls import URL_TYPE, function_urls

ROLE = "arn:aws:iam::000000000000:role/confirm"
FUNCTION = "arn:aws:lambda:eu-west-1:000000000000:function:confirm"
RULES = Service(name="events.amazonaws.com", source_arn="arn:aws:events:eu-west-1:000000000000:rule/bus/rule")


def deployed():
    """The authority over one function, which rules may invoke."""
    registry = Registry()
    trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    role = {"name": "confirm", "arn": ROLE, "assumeRolePolicy": {"Version": "2012-10-17", "Statement": [trust]}}
    registry.put("aws:iam/role:Role", "role", role)
    registry.put("aws:lambda/function:Function", "function", {"name": "confirm", "arn": FUNCTION, "role": ROLE})
    permission = {
        "function": "confirm",
        "statementId": "rules",
        "action": "lambda:InvokeFunction",
        "principal": "events.amazonaws.com",
    }
    registry.put("aws:lambda/permission:Permission", "permission", permission)
    return registry, Authority(registry, DecisionLog(), apis=lambda _: None)


def lambda_at(url, authority, timeout=5):
    return Lambda(authority, SimpleNamespace(endpoint_url=url, region="eu-west-1"), timeout=timeout, faults=Faults())


@pytest.fixture
def invoked():
    """What a stand-in for MiniStack was asked, and what it answers."""
    world = SimpleNamespace(asked=[], answer=Response(b"{}"))

    def answer(received):
        world.asked.append((received.method, received.target, received.body))
        return world.answer

    with served(Blocking(answer, threads=1)) as url:
        world.functions = lambda_at(url, deployed()[1])
        yield world


def test_a_function_is_invoked_with_the_payload_as_it_is(invoked):
    invoked.answer = Response(b'{"a": 1}', headers={"X-Amz-Executed-Version": "$LATEST"})
    answer = invoked.functions.invoke(FUNCTION, b'{"b":  2}')
    assert invoked.asked == [("POST", "/2015-03-31/functions/confirm/invocations", b'{"b":  2}')]
    assert answer["Payload"].read() == b'{"a": 1}'
    assert (answer["StatusCode"], answer["ExecutedVersion"]) == (200, "$LATEST")
    assert "FunctionError" not in answer


def test_an_error_of_the_function_is_told(invoked):
    invoked.answer = Response(b"{}", headers={"X-Amz-Function-Error": "Unhandled"})
    assert invoked.functions.invoke(FUNCTION, b"{}")["FunctionError"] == "Unhandled"


@pytest.mark.parametrize(
    ("answer", "code", "message"),
    [
        (JSONResponse({"message": "m"}, 429, {"x-amzn-ErrorType": THROTTLED}), THROTTLED, "m"),
        (JSONResponse({"__type": "com.amazon#ServiceException", "Message": "m"}, 500), "ServiceException", "m"),
        (Response("no JSON", 502), "502", ""),
        (JSONResponse(["no", "object"], 503), "503", ""),
    ],
    ids=["header", "body", "text", "list"],
)
def test_an_error_of_lambda_is_that_of_boto3(invoked, answer, code, message):
    invoked.answer = answer
    with pytest.raises(ClientError) as raised:
        invoked.functions.invoke(FUNCTION, b"{}")
    assert raised.value.response["Error"] == {"Code": code, "Message": message}
    assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == answer.status_code


GONE = "http://127.0.0.1:1"


def test_an_emulator_that_is_gone_is_a_bad_gateway_to_whoever_calls_a_url():
    registry, authority = deployed()
    url = {"functionName": "confirm", "functionArn": FUNCTION}
    registry.put(URL_TYPE, "url", url)
    for action in ("InvokeFunctionUrl", "InvokeFunction"):
        permission = {"function": "confirm", "statementId": action, "action": f"lambda:{action}", "principal": "*"}
        registry.put("aws:lambda/permission:Permission", action, permission)
    with served(function_urls(registry, lambda_at(GONE, authority), headers=lambda _: {})) as urls:
        answer = urllib3.request("POST", f"{urls}/url/", retries=False)
    assert (answer.status, answer.json()) == (502, {"Message": "Internal Server Error"})


def test_an_emulator_that_is_gone_is_a_network_error_to_an_api():
    api = Service(name="apigateway.amazonaws.com")
    registry, authority = deployed()
    permission = {
        "function": "confirm",
        "statementId": "api",
        "action": "lambda:InvokeFunction",
        "principal": api.name,
    }
    registry.put("aws:lambda/permission:Permission", "api", permission)
    cloud = SimpleNamespace(
        place=Place(account="000000000000", region="eu-west-1"), _functions=lambda_at(GONE, authority)
    )
    with pytest.raises(ConnectionError):
        Cloud._invoke(cloud, FUNCTION, b"{}", source_arn="arn:aws:execute-api:eu-west-1:000000000000:a", timeout=1)


def test_a_function_that_takes_too_long_is_given_up():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        functions = lambda_at(f"http://127.0.0.1:{silent.getsockname()[1]}", deployed()[1], timeout=0.1)
        with pytest.raises(ReadTimeoutError):
            functions.invoke(FUNCTION, b"{}")


def test_an_event_is_handed_over_to_a_function_that_is_deployed_and_lets_its_sender():
    _, authority = deployed()
    functions = lambda_at("http://127.0.0.1:1", authority)
    handed = Handover(functions, RULES)
    assert handed.invoke(FunctionName=FUNCTION, InvocationType="DryRun")["StatusCode"] == 204
    with pytest.raises(ClientError, match="AccessDenied"):
        Handover(functions, Service(name="sns.amazonaws.com")).invoke(FunctionName=FUNCTION)


def test_a_function_that_is_gone_is_not_there():
    registry, authority = deployed()
    functions = lambda_at("http://127.0.0.1:1", authority)
    assert functions.is_deployed(FUNCTION)
    registry.remove("aws:lambda/function:Function", "function")
    assert not functions.is_deployed(FUNCTION)
    with pytest.raises(ClientError) as raised:
        functions.invoke(FUNCTION, b"{}")
    assert raised.value.response["Error"]["Code"] == "ResourceNotFoundException"


def test_an_event_for_a_function_that_is_gone_finds_none_and_is_not_denied():
    registry, authority = deployed()
    registry.remove("aws:lambda/function:Function", "function")
    functions = lambda_at("http://127.0.0.1:1", authority)
    with pytest.raises(ClientError) as raised:
        Handover(functions, RULES).invoke(FunctionName=FUNCTION)
    assert raised.value.response["Error"]["Code"] == "ResourceNotFoundException"
