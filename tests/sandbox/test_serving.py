"""Applications are served on this machine, to this machine, and end when they are told to."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from urllib.parse import urlsplit

import pytest
import urllib3
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from sandbox.serving import Blocking, served


async def hello(_request):
    return PlainTextResponse("hello")


HELLO = Starlette(routes=[Route("/", hello)])


def status(url, host=None):
    return urllib3.request("GET", url, headers={"Host": host} if host else {}, retries=False).status


def port_of(url):
    return urlsplit(url).port


def test_it_serves_this_machine_and_stops():
    before = threading.active_count()
    with served(HELLO) as url:
        assert urlsplit(url).hostname == "127.0.0.1"
        assert status(url) == 200
    with pytest.raises(urllib3.exceptions.NewConnectionError):
        status(url)
    assert not [thread for thread in threading.enumerate() if thread.name == "serving"]
    assert threading.active_count() <= before


def test_it_serves_again_where_it_served_before():
    with served(HELLO) as url:
        assert status(url) == 200
    with served(HELLO, port=port_of(url)) as again:
        assert again == url
        assert status(url) == 200


def test_a_port_that_is_taken_is_an_error():
    with (
        served(HELLO) as url,
        pytest.raises(OSError, match="already in use"),
        served(HELLO, port=port_of(url)),
    ):
        pass


def test_an_application_that_does_not_start_is_an_error():
    async def broken(scope, _receive, send):
        assert scope["type"] == "lifespan"
        await send({"type": "lifespan.startup.failed", "message": "no"})

    with pytest.raises(RuntimeError, match="did not start"), served(broken):
        pass


@pytest.mark.parametrize(
    ("host", "answer"),
    [
        ("127.0.0.1:{port}", 200),
        ("localhost:{port}", 200),
        ("LocalHost:{port}", 200),
        ("127.0.0.1", 421),
        ("localhost:1", 421),
        ("evil.example:{port}", 421),
        ("127.0.0.1.evil.example:{port}", 421),
    ],
)
def test_only_its_own_names_are_answered(host, answer):
    with served(HELLO) as url:
        assert status(url, host.format(port=port_of(url))) == answer


@pytest.mark.parametrize("hosts", ["", "Host: 127.0.0.1:{port}\r\nHost: evil.example\r\n"], ids=["none", "two"])
def test_a_request_without_one_clear_name_is_not(hosts):
    with served(HELLO) as url, socket.create_connection(("127.0.0.1", port_of(url)), timeout=5) as connection:
        request = f"GET / HTTP/1.0\r\n{hosts.format(port=port_of(url))}\r\n"
        connection.sendall(request.encode())
        answer = connection.makefile("rb").readline()
    assert answer.split()[1] in {b"421", b"400"}


def test_answers_are_not_held_back():
    """A kernel that waits for more to send, or to acknowledge, waits 40 ms each time."""
    with served(HELLO) as url, urllib3.HTTPConnectionPool("127.0.0.1", port_of(url)) as pool:
        took = []
        for _ in range(10):
            begun = time.perf_counter()
            assert pool.request("GET", "/").status == 200
            took.append(time.perf_counter() - begun)
    assert sorted(took)[2] < 0.035


def test_what_is_under_way_at_the_end_is_waited_for():
    begun = threading.Event()
    answers = []

    async def slow(_request):
        begun.set()
        await asyncio.sleep(0.3)
        return PlainTextResponse("done")

    with served(Starlette(routes=[Route("/", slow)])) as url:
        client = threading.Thread(target=lambda: answers.append(status(url)))
        client.start()
        assert begun.wait(5)
    client.join()
    assert answers == [200]


def told(received):
    return PlainTextResponse("|".join((received.method, received.target, str(len(received.body)), received.source_ip)))


def test_a_function_is_told_what_came_and_by_whom():
    with served(Blocking(told, threads=1, most=4)) as url:
        # Nobody is in between whose word would count.
        headers = {"X-Forwarded-For": "192.0.2.1", "X-Forwarded-Proto": "https"}
        small = urllib3.request("PUT", f"{url}/a%20b/?c=%2F", body=b"123", headers=headers, retries=False)
        large = urllib3.request("POST", f"{url}/", body=bytes(1_000_000), retries=False)
    assert small.data == b"PUT|/a%20b/?c=%2F|3|127.0.0.1"
    assert large.data == b"POST|/|4|127.0.0.1"
    assert "server" not in small.headers


def test_functions_answer_side_by_side_as_far_as_there_are_threads():
    together = threading.Barrier(2, timeout=10)
    answers = []

    def answer(_received):
        together.wait()
        return Response()

    with served(Blocking(answer, threads=2)) as url:
        clients = [threading.Thread(target=lambda: answers.append(status(url))) for _ in range(2)]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
    assert answers == [200, 200]


def test_who_hangs_up_before_all_is_sent_asks_nothing():
    asked = []

    def answer(received):
        asked.append(received.body)
        return Response()

    with served(Blocking(answer, threads=1)) as url:
        with socket.create_connection(("127.0.0.1", port_of(url)), timeout=5) as connection:
            connection.sendall(
                f"POST / HTTP/1.1\r\nHost: 127.0.0.1:{port_of(url)}\r\nContent-Length: 9\r\n\r\nha".encode()
            )
        assert urllib3.request("POST", url, body=b"whole", retries=False).status == 200
    assert asked == [b"whole"]
