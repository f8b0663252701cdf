"""The article's session on what is deployed, over HTTP: what clients and carriers may do, what they may not, and what
each of it leads to.
"""

import json
import os
import re
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import botocore.auth
import pytest
import urllib3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from typer.testing import CliRunner

from sandbox.cli import app
from tests.sandbox.conftest import NAME, SILENT, until

UNKNOWN_ORDER = "00000000-0000-4000-8000-000000000000"
SHIPPED_AT = "2026-03-01T08:00:00Z"
LATER = "2026-03-02T08:00:00Z"
LIMIT = 65_536
# 127.0.0.1 as the kernel writes it, of either family.
LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F"}

http = urllib3.PoolManager(timeout=30, retries=False)


def sent(client, method, path, body=b"", *, content_type="application/json", sent_body=None):
    """The status and the document of the answer to these bytes, signed; `sent_body` is what goes out in their place."""
    request = AWSRequest(method, client.url + path, data=body, headers={"Content-Type": content_type})
    SigV4Auth(client.credentials, "execute-api", client.region).add_auth(request)
    headers = dict(request.headers.items())
    answer = http.request(method, client.url + path, body=body if sent_body is None else sent_body, headers=headers)
    return answer.status, answer.json()


def confirmation(order_id, shipped_at=SHIPPED_AT):
    return {"order_id": order_id, "shipped_at": shipped_at}


def confirmed(client, order_id, shipped_at=SHIPPED_AT):
    """Nothing but that the confirmation is on the bus."""
    status, answer = client.request("POST", "/confirm-shipment", confirmation(order_id, shipped_at))
    assert (status, answer.keys()) == (202, {"event_id"})


# --- what is meant to happen


@pytest.mark.parametrize("carrier", ["acme", "globex"])
def test_an_order_goes_from_pending_to_shipped(cloud, carrier):
    client = cloud.client()
    status, order = client.request("POST", "/orders", {"carrier": carrier})
    assert (status, order["state"], order["reason"]) == (201, "pending", "Waiting for shipping")
    shipped = client.wait(order["order_id"], within=30)
    assert shipped["state"] == "shipped"
    assert re.fullmatch(r"Shipped at 20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", shipped["reason"])


def test_the_curl_line_works_as_it_is_printed(cloud):
    curl = shutil.which("curl")
    if (
        curl is None
        or "--aws-sigv4"
        not in subprocess.run([curl, "--help", "all"], capture_output=True, text=True, timeout=10, check=True).stdout
    ):
        pytest.skip("there is no curl with --aws-sigv4")
    shell = subprocess.run(
        ["/bin/sh", "-c", cloud.client().curl()], capture_output=True, text=True, timeout=30, check=False
    )
    assert shell.returncode == 0, shell.stderr
    order = json.loads(shell.stdout)
    assert order["state"] == "pending"
    cloud.shipped(order["order_id"])


def test_an_order_is_one_event_of_the_pipe_one_of_the_api_and_two_invocations_of_ours(cloud):
    order_id = cloud.client().place()
    cloud.shipped(order_id)
    # Its line is the last thing that is written about the order.
    until(lambda: cloud.lines("carrier-acme-confirm", order_id), "the function's log")
    assert sorted(cloud.events(order_id)) == [
        ("carrier", "carrier.order_shipped"),
        ("dynamodb.orders", "dynamodb-orders-stream"),
    ]
    invocations = {
        function: {line["function_request_id"] for line in cloud.lines(function, order_id)}
        for function in ("orders-api", "carrier-acme-confirm", "carrier-globex-confirm")
    }
    assert [len(ids) for ids in invocations.values()] == [1, 1, 0]


def test_a_carrier_of_ones_own_confirms_with_its_own_role(cloud):
    client = cloud.client()
    order_id = client.place(carrier=SILENT)
    confirmed(cloud.carrier(SILENT), order_id)
    cloud.shipped(order_id)
    assert client.read(order_id)["reason"] == f"Shipped at {SHIPPED_AT}"


def test_one_key_is_one_order(cloud):
    client = cloud.client()
    key = {"Idempotency-Key": os.urandom(8).hex()}
    status, order = client.request("POST", "/orders", {"carrier": SILENT}, key)
    assert status == 201, order
    assert client.request("POST", "/orders", {"carrier": SILENT}, key) == (200, order)
    assert client.request("POST", "/orders", {"carrier": "acme"}, key)[0] == 409


# --- who is turned away: 403, and nothing has changed


@pytest.fixture
def unchanged(cloud):
    """An order of nobody's carrier, which is as it was at the end, like the number of orders."""
    order_id = cloud.client().place(carrier=SILENT)
    before, item = cloud.orders().keys(), cloud.item(order_id)
    yield order_id
    assert cloud.orders().keys() == before
    assert cloud.item(order_id) == item
    assert ("carrier", "carrier.order_shipped") not in cloud.events(order_id)


ROUTES = {
    "placing": ("POST", "/orders", lambda _: {"reference": "forged"}),
    "reading": ("GET", "/orders/{}", lambda _: None),
    "confirming": ("POST", "/confirm-shipment", confirmation),
}


@pytest.fixture(params=ROUTES)
def route(request, unchanged):
    """What each route would take, were it not for who asks: the one who may, method, path and body."""
    method, path, body = ROUTES[request.param]
    document = body(unchanged)
    return request.param, method, path.format(unchanged), b"" if document is None else json.dumps(document).encode()


def entitled(cloud, name):
    return cloud.carrier(SILENT) if name == "confirming" else cloud.client()


def test_the_unsigned_are_refused(cloud, route):
    _, method, path, body = route
    answer = http.request(
        method, cloud.outputs["apiUrl"] + path, body=body, headers={"Content-Type": "application/json"}
    )
    assert (answer.status, answer.json()["message"]) == (403, "Missing Authentication Token")


@pytest.mark.parametrize("wrong", ["access_key", "secret_key", "token"])
def test_wrong_keys_are_refused(cloud, route, wrong):
    name, method, path, body = route
    right = entitled(cloud, name).credentials
    keys = {part: getattr(right, part) for part in ("access_key", "secret_key", "token")}
    keys[wrong] = keys[wrong][:-1] + ("A" if keys[wrong][-1] != "A" else "B")
    assert sent(cloud.signing(Credentials(**keys)), method, path, body)[0] == 403


@pytest.mark.parametrize("role", ["the other side's", "a stranger's"])
def test_who_is_not_on_a_routes_list_is_refused(cloud, route, role):
    name, method, path, body = route
    if role == "a stranger's":
        client = cloud.client("stranger")
    else:
        client = cloud.client() if name == "confirming" else cloud.carrier("acme")
    status, answer = sent(client, method, path, body)
    assert status == 403
    assert "is not authorized" in answer["message"]


def test_a_tampered_body_is_refused(cloud, unchanged):
    client, carrier = cloud.client(), cloud.carrier(SILENT)
    assert sent(client, "POST", "/orders", b"{}", sent_body=b'{"reference": "forged"}')[0] == 403
    signed, other = (json.dumps(confirmation(unchanged, at)).encode() for at in (LATER, SHIPPED_AT))
    assert sent(carrier, "POST", "/confirm-shipment", signed, sent_body=other)[0] == 403


@pytest.mark.parametrize("minutes", [-6, 6], ids=["stale", "early"])
def test_a_date_out_of_the_five_minutes_is_refused(cloud, route, monkeypatch, minutes):
    name, method, path, body = route
    client = entitled(cloud, name)
    moment = datetime.now(UTC) + timedelta(minutes=minutes)
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda *_, **__: moment.replace(tzinfo=None))
    assert sent(client, method, path, body)[0] == 403


# --- what is not taken


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b'{"reference": ', "application/json", 400),
        (b'"text"', "application/json", 400),
        (b'{"reference": 1}', "application/json", 400),
        (b'{"carrier": "nobody"}', "application/json", 400),
        (b'{"items": [{"sku": "a", "quantity": "1"}]}', "application/json", 400),
        (b'{"reference": "a", "state": "shipped"}', "application/json", 400),
        (json.dumps({"reference": "a" * (LIMIT - 17)}).encode(), "application/json", 400),
        (json.dumps({"reference": "a" * LIMIT}).encode(), "application/json", 413),
        (b"{}", "text/plain", 415),
        (b"reference=a", "application/x-www-form-urlencoded", 415),
    ],
)
def test_an_order_that_the_contract_does_not_know_is_refused(cloud, unchanged, body, content_type, status):
    answer = sent(cloud.client(), "POST", "/orders", body, content_type=content_type)
    assert answer[0] == status
    assert answer[1].keys() == {"message", "request_id"}


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        ('{"order_id": "%s", ', "application/json", 400),
        ('["%s"]', "application/json", 400),
        ('{"order_id": "%s"}', "application/json", 400),
        ('{"order_id": "%s", "shipped_at": 1}', "application/json", 400),
        ('{"order_id": {"S": "%s"}, "shipped_at": "' + SHIPPED_AT + '"}', "application/json", 400),
        ('{"order_id": "%s", "shipped_at": "yesterday"}', "application/json", 400),
        ('{"order_id": "%s", "shipped_at": "' + SHIPPED_AT + '", "state": "shipped"}', "application/json", 400),
        ('{"order_id": "%s", "shipped_at": "' + "1" * LIMIT + '"}', "application/json", 400),
        ('{"order_id": "%s", "shipped_at": "' + SHIPPED_AT + '"}', "text/plain", 415),
        ('{"order_id": "%s", "shipped_at": "' + SHIPPED_AT + '"}' + " " * 10 * 2**20, "application/json", 413),
    ],
)
def test_a_confirmation_that_the_contract_does_not_know_is_refused(cloud, unchanged, body, content_type, status):
    answer = sent(
        cloud.carrier(SILENT), "POST", "/confirm-shipment", (body % unchanged).encode(), content_type=content_type
    )
    assert answer[0] == status
    assert "message" in answer[1]


def test_who_did_not_place_an_order_sees_none(cloud):
    order_id = cloud.client().place(carrier=SILENT)
    for client, path in [
        (cloud.client(), UNKNOWN_ORDER),
        (cloud.client(), "no-id"),
        (cloud.client("another-client"), order_id),
    ]:
        status, answer = client.request("GET", f"/orders/{path}")
        assert (status, answer["message"]) == (404, "There is no such order")


# --- confirmations that are taken, and can't be applied


def rejection(cloud, carrier, order_id):
    """The one record in the carrier's failures queue about an order."""
    [(record, _)] = cloud.letters_about(f"carrier-{carrier}-failures", order_id)
    assert record["requestPayload"]["detail"]["order_id"] == order_id
    return record


def test_another_carriers_order_is_refused_with_its_reason_and_stays_as_it_is(cloud):
    order_id = cloud.client().place(carrier=SILENT)
    before = cloud.item(order_id)
    confirmed(cloud.carrier("acme"), order_id)
    record = rejection(cloud, "acme", order_id)
    assert record["requestContext"]["condition"] == "Rejected"
    assert record["responsePayload"] == {
        "errorType": "OtherCarriersOrder",
        "errorMessage": "The order belongs to another carrier",
    }
    assert cloud.item(order_id) == before


def test_the_same_confirmation_again_is_a_success(cloud):
    order_id = cloud.client().place(carrier=SILENT)
    for said in ("Order shipped", "Order was shipped already"):
        confirmed(cloud.carrier(SILENT), order_id)
        until(
            lambda said=said: said in [line["message"] for line in cloud.lines("carrier-initech-confirm", order_id)],
            f"the function says {said!r}",
        )
    assert cloud.item(order_id)["shipped_at"] == {"S": SHIPPED_AT}
    assert order_id not in json.dumps(cloud.letters("carrier-initech-failures"))


def test_another_time_for_a_shipped_order_is_a_conflict_and_the_first_stays(cloud):
    order_id = cloud.client().place(carrier=SILENT)
    confirmed(cloud.carrier(SILENT), order_id)
    before = cloud.shipped(order_id)
    confirmed(cloud.carrier(SILENT), order_id, LATER)
    assert rejection(cloud, SILENT, order_id)["responsePayload"] == {
        "errorType": "ShipmentConflict",
        "errorMessage": f"The order shipped at {SHIPPED_AT} already, not at {LATER}",
    }
    assert cloud.item(order_id) == before


def test_an_order_that_never_comes_is_tried_three_times_and_then_kept(cloud):
    order_id = UNKNOWN_ORDER.replace("8000", os.urandom(2).hex())
    confirmed(cloud.carrier(SILENT), order_id)
    record = rejection(cloud, SILENT, order_id)
    assert record["requestContext"]["condition"] == "RetriesExhausted"
    assert record["requestContext"]["approximateInvokeCount"] == 3
    assert "There is no such order" in record["responsePayload"]["errorMessage"]
    assert cloud.item(order_id) is None


# --- who reaches the local cloud


def test_whoever_means_another_machine_is_turned_away(cloud):
    for name, url in cloud.session.about["urls"].items():
        answer = http.request("GET", url, headers={"Host": "rebound.example"})
        assert answer.status == 421, name


def test_everything_listens_on_this_machine_only(cloud):
    ours = descendants(cloud.session.about["pid"])
    assert cloud.session.about["ministack"]["pid"] in ours
    addresses = listening(ours)
    # Front, gateway, functions, control, two providers, and MiniStack.
    assert len(addresses) >= 7
    assert {address.partition(":")[0] for address in addresses} <= LOOPBACK


def descendants(pid):
    """A process with all that it has started, and those have."""
    parents = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(status.parent.name)] = int(status.read_text().rpartition(")")[2].split()[1])
        except OSError:  # ended meanwhile
            continue
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def listening(pids):
    """The addresses that these processes listen on, as the kernel writes them."""
    inodes = set()
    for pid in pids:
        for handle in Path(f"/proc/{pid}/fd").glob("*"):
            try:
                inodes.add(re.sub(r"socket:\[(\d+)\]", r"\1", str(handle.readlink())))
            except OSError:  # closed meanwhile
                continue
    rows = [row.split() for kind in ("tcp", "tcp6") for row in Path(f"/proc/net/{kind}").read_text().splitlines()[1:]]
    return [row[1] for row in rows if row[3] == "0A" and row[9] in inodes]


# --- the command line


@pytest.fixture
def command(cloud):
    """Runs a command on the deployed cloud in this process: its exit code and what it printed."""

    def run(*arguments):
        result = CliRunner().invoke(app, [*arguments, "--state", str(cloud.state)])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result.exit_code, result.output

    return run


def test_an_order_from_the_command_line_is_watched_until_it_is_shipped(command):
    code, said = command("order", "--watch")
    assert code == 0, said
    steps = re.findall(r"^  \d\d:\d\d:\d\d\.\d{3} (\S+) +(.+)$", said, re.MULTILINE)
    assert [step for step in steps if step[1] != "Order read"] == [
        ("orders-api", "Order placed"),
        ("carrier-acme-mock", "Confirmation sent"),
        ("carrier-acme-confirm", "Order shipped"),
    ]
    assert "  shipped: Shipped at 2" in said


def test_several_orders_are_placed_at_once(command, cloud):
    code, said = command("order", "--count", "3", "--carrier", "globex")
    assert code == 0, said
    ids = said.split()
    assert len(set(ids)) == 3
    for order_id in ids:
        assert cloud.shipped(order_id)["carrier"] == {"S": "globex"}


def test_the_status_names_the_instance_and_what_was_refused(command, cloud):
    cloud.client("stranger").request("POST", "/orders", {})
    code, said = command("status")
    assert code == 0
    assert f"instance {cloud.session.instance}, process {cloud.session.about['pid']}" in said
    assert re.search(r"User: \S+stranger\S* is not authorized to perform: execute-api:Invoke on resource: arn:", said)


def test_the_logs_show_what_the_functions_said(command, cloud):
    order_id = cloud.client().place()
    cloud.shipped(order_id)
    code, said = command("logs")
    assert code == 0
    assert any(order_id in line and "Order placed" in line and f"{NAME}orders-api" in line for line in said.split("\n"))


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["carrier", "--mode", "ok", "--name", "nobody"], "no mock carrier is called nobody: there are acme, globex"),
        (["order", "--carrier", "nobody"], "the order was not taken: 400"),
    ],
)
def test_what_the_command_line_cannot_do_it_says_in_one_line(command, arguments, reason):
    code, said = command(*arguments)
    assert code == 1
    assert reason in said
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize("arguments", [["status"], ["order"], ["logs"], ["carrier", "--mode", "ok"]])
def test_where_nothing_runs_the_command_line_says_how_to_start(tmp_path, arguments):
    result = CliRunner().invoke(app, [*arguments, "--state", str(tmp_path)])
    assert (result.exit_code, result.output) == (1, "nothing runs: start it with `make up`\n")
    assert list(tmp_path.iterdir()) == []
