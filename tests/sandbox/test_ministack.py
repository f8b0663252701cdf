"""MiniStack as a process: it comes up alone, says when it can't, and leaves nothing."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time

import pytest
from botocore import exceptions
from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError
from starlette.responses import Response

from sandbox import ministack
from sandbox.ministack import MiniStackError, Queues, Root
from sandbox.serving import Blocking, served


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where temporary folders are made during the test."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def test_it_serves_on_this_machine_only_and_leaves_nothing(folder, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://elsewhere.invalid")
    monkeypatch.setenv("HTTP_PROXY", "http://elsewhere.invalid")
    with ministack.start(region="eu-north-1") as running:
        assert running.endpoint_url.startswith("http://127.0.0.1:")
        assert running.client("sts").get_caller_identity()["Account"] == "000000000000"
        running.client("sqs").create_queue(QueueName="q")
        assert running.client("sqs").list_queues()["QueueUrls"]
        assert list(folder.iterdir())
    assert not alive(running.pid)
    assert list(folder.iterdir()) == []
    with pytest.raises(EndpointConnectionError):
        running.client("sts").get_caller_identity()
    running.stop()


def test_two_at_once_know_nothing_of_each_other():
    with ministack.start() as one, ministack.start() as other:
        one.client("sqs").create_queue(QueueName="q")
        assert len(one.client("sqs").list_queues()["QueueUrls"]) == 1
        assert not other.client("sqs").list_queues().get("QueueUrls")


@pytest.fixture
def started(monkeypatch):
    """The processes that were started, in order."""
    processes = []
    start = subprocess.Popen

    def popen(*args, **kwargs):
        process = start(*args, **kwargs)
        process.environment = kwargs["env"]
        processes.append(process)
        return process

    monkeypatch.setattr("sandbox.ministack.subprocess.Popen", popen)
    return processes


def test_it_inherits_no_environment(started, monkeypatch):
    monkeypatch.setenv("CANARY", "secret")
    with ministack.start(environment={"EXTRA": "given"}):
        (process,) = started
    assert process.environment["EXTRA"] == "given"
    assert "CANARY" not in process.environment


def test_a_port_that_is_taken_is_an_error_with_what_it_printed(folder, started, monkeypatch):
    with ministack.start() as running:
        port = int(running.endpoint_url.rpartition(":")[2])
        monkeypatch.setattr("sandbox.ministack._free_port", lambda: port)
        with pytest.raises(MiniStackError, match=r"(?s)ended with 1:.*already in use"):
            ministack.start()
        assert running.client("sts").get_caller_identity(), "the one that was there is left alone"
    assert [process.poll() is None for process in started] == [False, False]
    assert list(folder.iterdir()) == []


def test_one_that_does_not_come_up_in_time_is_ended(folder, started, monkeypatch):
    monkeypatch.setattr("sandbox.ministack._READY_WITHIN", 0.0)
    monkeypatch.setattr("sandbox.ministack._serves", lambda *_: False)
    with pytest.raises(MiniStackError, match="does not answer on port"):
        ministack.start()
    (process,) = started
    assert process.poll() is not None
    assert list(folder.iterdir()) == []


def test_one_that_ignores_the_request_to_end_is_killed(folder, monkeypatch):
    stubborn = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
    )
    monkeypatch.setattr("sandbox.ministack._STOP_WITHIN", 0.1)
    process = subprocess.Popen([sys.executable, "-c", stubborn], stdout=subprocess.PIPE, start_new_session=True)
    assert process.stdout
    with process.stdout:
        assert process.stdout.readline() == b"up\n"
    begun = time.monotonic()
    ministack.MiniStack(process, folder=folder, port=1, region="eu-west-1").stop()
    assert process.returncode == -9
    assert time.monotonic() - begun < 10


# --- as root ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def root(running):
    return Root(running.endpoint_url, region=running.region)


def test_queues_are_those_of_boto3(running, root):
    sqs, queues = running.client("sqs"), Queues(root)
    url = sqs.create_queue(QueueName="taken")["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody="a")
    asked = {"QueueUrl": url, "MessageSystemAttributeNames": ["SentTimestamp"], "WaitTimeSeconds": 0}
    (message,) = queues.receive_message(**asked)["Messages"]
    assert message["Body"] == "a"
    assert int(message["Attributes"]["SentTimestamp"]) > 0
    assert not queues.receive_message(**asked).get("Messages")
    queues.change_message_visibility(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0)
    (again,) = queues.receive_message(**asked)["Messages"]
    queues.delete_message(QueueUrl=url, ReceiptHandle=again["ReceiptHandle"])
    counts = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    assert set(sqs.get_queue_attributes(QueueUrl=url, AttributeNames=counts)["Attributes"].values()) == {"0"}


@pytest.mark.parametrize("queue", ["there", "gone"])
def test_errors_have_the_codes_of_boto3(running, root, queue):
    sqs = running.client("sqs")
    url = sqs.create_queue(QueueName="there")["QueueUrl"].replace("there", queue)
    request = {"QueueUrl": url, "ReceiptHandle": "none", "VisibilityTimeout": 0}
    with pytest.raises(ClientError) as known:
        sqs.change_message_visibility(**request)
    with pytest.raises(ClientError) as raised:
        Queues(root).change_message_visibility(**request)
    assert raised.value.response["Error"]["Code"] == known.value.response["Error"]["Code"]
    assert raised.value.response["Error"]["Message"] == known.value.response["Error"]["Message"]
    assert (
        raised.value.response["ResponseMetadata"]["HTTPStatusCode"]
        == known.value.response["ResponseMetadata"]["HTTPStatusCode"]
    )
    assert str(raised.value) == str(known.value)


def test_an_answer_that_is_no_json_is_an_error_of_boto3():
    with served(Blocking(lambda _: Response("<html>"), threads=1)) as url:
        queues = Queues(Root(url, region="eu-west-1"))
        with pytest.raises(exceptions.HTTPClientError):
            queues.receive_message(QueueUrl="q")


def test_no_answer_is_an_error_of_boto3():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(ReadTimeoutError):
            Queues(Root(url, region="eu-west-1", timeout=0.1)).receive_message(QueueUrl="q")
    with pytest.raises(exceptions.ConnectionError):
        Queues(Root(url, region="eu-west-1")).receive_message(QueueUrl="q")
