"""Every permission of every deployed role is needed: without it, something fails and says which; and all are used."""

import json
from contextlib import contextmanager

import pytest

from tests.sandbox.conftest import ACCOUNT, CARRIERS, NAME, REGION, SILENT, until

SHIPPED_AT = "2026-03-01T08:00:00Z"
_LOGS_AND_TRACES = {
    "writes-its-logs": {
        "logs:CreateLogStream": "logs:{region}:{account}:log-group:/aws/lambda/{role}:",
        "logs:PutLogEvents": "logs:{region}:{account}:log-group:/aws/lambda/{role}:",
    },
    "traces": {"xray:PutTraceSegments": "*", "xray:PutTelemetryRecords": "*"},
}
# By role and ability, each action with what a refusal of it names at least.
PERMISSIONS = {
    "orders-api": {
        **_LOGS_AND_TRACES,
        "creates-orders": {"dynamodb:PutItem": "table/{name}orders"},
        "reads-orders": {"dynamodb:GetItem": "table/{name}orders"},
    },
    "orders-api-put-events": {"emits-confirmations": {"events:PutEvents": "event-bus/{name}orders"}},
    "orders-pipe": {
        "reads-the-stream": {
            "dynamodb:DescribeStream": "table/{name}orders/stream/",
            "dynamodb:GetRecords": "table/{name}orders/stream/",
            "dynamodb:GetShardIterator": "table/{name}orders/stream/",
        },
        "emits-orders": {"events:PutEvents": "event-bus/{name}orders"},
        "keeps-dead-letters": {"sqs:SendMessage": "{name}orders-pipe-dead-letters"},
    },
    **{
        f"carrier-{carrier}-orders": {
            "calls-the-carrier": {
                "events:InvokeApiDestination": f"api-destination/{{name}}carrier-{carrier}-orders/",
            }
        }
        for carrier in CARRIERS
    },
    **{
        f"carrier-{carrier}-confirm": {
            **_LOGS_AND_TRACES,
            "ships-orders": {"dynamodb:UpdateItem": "table/{name}orders"},
            "reports-its-failures": {"sqs:SendMessage": f"{{name}}carrier-{carrier}-failures"},
        }
        for carrier in CARRIERS
    },
    "reconcile": {
        **_LOGS_AND_TRACES,
        "lists-pending-orders": {"dynamodb:Query": "table/{name}orders/index/pending"},
        "lets-orders-wait-anew": {"dynamodb:UpdateItem": "table/{name}orders"},
        "emits-orders-again": {"events:PutEvents": "event-bus/{name}orders"},
        "gives-orders-up": {"sqs:SendMessage": "{name}overdue"},
    },
    "reconcile-schedule": {"starts-sweeps": {"lambda:InvokeFunction": "function:{name}reconcile"}},
    **{f"carrier-{carrier}-mock": _LOGS_AND_TRACES for carrier in CARRIERS if carrier != SILENT},
}
# What nobody on the local cloud does, or what is allowed otherwise as well: by role and action, each with its reason.
EXCEPTIONS = {
    ("orders-pipe", "dynamodb:ListStreams"): "AWS lists it among what a pipe needs; ours is given the stream's ARN",
    **{
        (
            "api-gateway-logs",
            f"logs:{action}",
        ): "the region's role of API Gateway, for execution logs, which nothing here writes"
        for action in (
            "CreateLogGroup",
            "CreateLogStream",
            "DescribeLogGroups",
            "DescribeLogStreams",
            "FilterLogEvents",
            "GetLogEvents",
            "PutLogEvents",
        )
    },
}
CASES = [
    (role, ability, action, names)
    for role, abilities in PERMISSIONS.items()
    for ability, actions in abilities.items()
    for action, names in actions.items()
]


def confirm(cloud, carrier, order_id):
    return cloud.carrier(carrier).request("POST", "/confirm-shipment", {"order_id": order_id, "shipped_at": SHIPPED_AT})


class Flows:
    """What uses a permission: `use` is done without it, and returns what must be seen once it is there again."""

    def __init__(self, cloud):
        self.cloud = cloud

    def use(self, role, ability):
        if role.endswith("-confirm"):
            return self.confirm(role.split("-")[1], ability)
        if role.endswith("-orders"):
            return self.deliver(role.split("-")[1])
        if role.endswith("-mock"):
            self.cloud.client().place(carrier=role.split("-")[1])
            return nothing
        return getattr(self, role.replace("-", "_"))(ability)

    def orders_api(self, ability):
        client = self.cloud.client()
        if ability == "creates-orders":
            status, answer = client.request("POST", "/orders", {})
            assert (status, answer["message"]) == (500, "The request could not be served")
            return nothing
        # What a function can't log or trace, it does all the same.
        order_id = client.place(carrier=SILENT)
        if ability == "reads-orders":
            status, answer = client.request("GET", f"/orders/{order_id}")
            assert (status, answer["message"]) == (500, "The request could not be served")
        return lambda: client.read(order_id)["state"] == "pending"

    def orders_api_put_events(self, _):
        order_id = self.cloud.client().place(carrier=SILENT)
        status, _ = confirm(self.cloud, SILENT, order_id)
        assert status == 502
        return lambda: self.cloud.item(order_id)["state"] == {"S": "pending"}

    def orders_pipe(self, ability):
        order_id = self.cloud.client().place()
        assert self.cloud.item(order_id)["state"] == {"S": "pending"}
        return lambda: self.cloud.item(order_id)["state"] == {"S": "shipped"}

    def reconcile(self, ability):
        """By a sweep, the schedule's next one where it is about what only that does."""
        order_id = self.cloud.client().place(carrier=SILENT)
        if ability == "gives-orders-up":
            self.cloud.overdue(order_id, reemissions=3)
            self.cloud.sweep()

            def given_up():
                self.cloud.sweep()
                return any(order_id in json.dumps(letter) for letter, _ in self.cloud.letters("overdue"))

            return given_up
        self.cloud.overdue(order_id)
        if ability in _LOGS_AND_TRACES:
            return nothing
        self.cloud.sweep()

        def emitted_again():
            if self.cloud.events(order_id)[1:]:
                return True
            # Where it was claimed, and the bus refused it, it waits until it is late once more.
            self.cloud.overdue(order_id)
            self.cloud.sweep()
            return False

        return emitted_again

    def reconcile_schedule(self, _):
        order_id = self.cloud.client().place(carrier=SILENT)
        self.cloud.overdue(order_id)
        return lambda: self.cloud.events(order_id)[1:]

    def deliver(self, carrier):
        order_id = self.cloud.client().place(carrier=carrier)
        [(event, why)] = self.cloud.letters_about(f"carrier-{carrier}-dead-letters", order_id)
        assert event["detail"]["order"]["id"] == order_id
        assert why["ERROR_CODE"] == "NO_PERMISSIONS"
        assert "events:InvokeApiDestination" in why["ERROR_MESSAGE"]
        return lambda: self.cloud.item(order_id)["state"] == {"S": "pending"}

    def confirm(self, carrier, ability):
        client = self.cloud.client()
        if ability == "reports-its-failures":
            other = next(name for name in CARRIERS if name != carrier)
            order_id = client.place(carrier=other)
            before = len(self.cloud.denied())
            assert confirm(self.cloud, carrier, order_id)[0] == 202
            # A second refusal comes from a second try: the first one was a failure.
            until(
                lambda: [e for e in self.cloud.denied()[before:] if e["action"] == "sqs:SendMessage"][1:],
                "the function is run again",
            )
            return nothing
        order_id = client.place(carrier=carrier)
        if carrier == SILENT:
            assert confirm(self.cloud, carrier, order_id)[0] == 202
        if ability != "ships-orders":
            return lambda: self.cloud.item(order_id)["state"] == {"S": "shipped"}
        letters = self.cloud.letters_about(f"carrier-{carrier}-failures", order_id)
        assert all("dynamodb:UpdateItem" in record["responsePayload"]["errorMessage"] for record, _ in letters)
        return lambda: self.cloud.item(order_id)["state"] == {"S": "pending"}


def nothing():
    return True


@contextmanager
def started_anew(cloud, role, ability, action):
    """What has to be so that a role does what it needs the permission for: a pipe that starts, or one that gives up."""
    if action in {"dynamodb:DescribeStream", "dynamodb:GetShardIterator"}:
        with cloud.pipe():
            yield
    elif (role, ability) == ("orders-pipe", "keeps-dead-letters"):
        with cloud.without(role, "emits-orders", "events:PutEvents"), cloud.pipe(maximumRetryAttempts=0):
            yield
    else:
        yield


@pytest.mark.parametrize(
    ("role", "ability", "action", "names"), CASES, ids=[f"{role} {action}" for role, _, action, _ in CASES]
)
def test_without_a_permission_something_fails_and_says_which(cloud, role, ability, action, names):
    arn = names.format(name=NAME, role=NAME + role, region=REGION, account=ACCOUNT)
    before = len(cloud.denied())
    with cloud.without(role, ability, action), started_anew(cloud, role, ability, action):
        mended = Flows(cloud).use(role, ability)
        refused = until(
            lambda: [
                entry
                for entry in cloud.denied()[before:]
                if entry["action"] == action and f":assumed-role/{NAME}{role}/" in entry["who"]
            ],
            f"{action} of {role} is refused",
        )
    for entry in refused:
        assert f"is not authorized to perform: {action} on resource: " in entry["reason"]
        assert arn in entry["reason"].partition(" on resource: ")[2]
    until(mended, f"what {role} needs {action} for works again")


def test_every_permission_of_every_role_has_a_case(cloud):
    granted = {
        (role, action)
        for (role, _), (_, known) in cloud.grants().items()
        for statement in json.loads(known["policy"])["Statement"]
        for action in statement["Action"]
    }
    assert granted == {(role, action) for role, _, action, _ in CASES} | EXCEPTIONS.keys()


def test_no_permission_is_granted_that_nobody_uses(cloud):
    client = cloud.client()
    for carrier in CARRIERS:
        order_id = client.place(carrier=carrier)
        if carrier == SILENT:
            assert confirm(cloud, carrier, order_id)[0] == 202
        cloud.shipped(order_id)
        assert client.read(order_id)["state"] == "shipped"
        other = next(name for name in CARRIERS if name != carrier)
        assert confirm(cloud, other, order_id)[0] == 202
        cloud.letters_about(f"carrier-{other}-failures", order_id)
        another = client.place(carrier=other)
        assert confirm(cloud, carrier, another)[0] == 202
        cloud.letters_about(f"carrier-{carrier}-failures", another)
    order_id = client.place(carrier=SILENT)
    cloud.overdue(order_id)
    until(lambda: cloud.events(order_id)[1:], "a sweep emits an order again")
    cloud.overdue(order_id, reemissions=3)
    cloud.letters_about("overdue", order_id)
    letters = len(cloud.letters("orders-pipe-dead-letters"))
    with cloud.without("orders-pipe", "emits-orders", "events:PutEvents"), cloud.pipe(maximumRetryAttempts=0):
        client.place()
        until(lambda: len(cloud.letters("orders-pipe-dead-letters")) > letters, "a dead letter of the pipe")
    unused = cloud.decisions()["unused"]
    assert {
        (clause["document"].partition(f" of role {NAME}")[2], clause["action"]) for clause in unused
    } == EXCEPTIONS.keys()
