"""A wrong setting is refused before anything is registered, in one sentence that names the key and the command."""

from __future__ import annotations

import re
import runpy

import pulumi
import pytest

from components.settings import SettingsError, load_settings
from tests import graph

ACME = {"name": "acme", "auth": "basic", "user": "event-gateway"}
REMOTE = {**ACME, "endpoint": "https://api.acme.example", "principal": "role/acme"}


def carriers(**changes):
    """One remote carrier with changes; None leaves the key out."""
    carrier = {key: value for key, value in {**REMOTE, **changes}.items() if value is not None}
    return {"event-gateway:carriers": [carrier]}


def settings(changes, *, plaintext=()):
    found = []
    graph.configure("dev", changes, plaintext=plaintext)
    recorded = graph.record(lambda: found.append(load_settings()))
    assert recorded.nodes == {}
    return found[0]


def refusal(changes, **options):
    with pytest.raises(SettingsError) as refused:
        settings(changes, **options)
    return str(refused.value)


WRONG = [
    ("no region", {"aws:region": None}, "aws:region must", "pulumi config set aws:region eu-west-1"),
    ("odd region", {"aws:region": "Ireland"}, "aws:region must", "pulumi config set aws:region eu-west-1"),
    ("two regions", {"aws-native:region": "us-east-1"}, "us-east-1", "pulumi config rm aws-native:region"),
    (
        "no clients",
        {"event-gateway:clients": None},
        "event-gateway:clients[0] is missing",
        "--path 'event-gateway:clients[0]' role/name",
    ),
    ("empty clients", {"event-gateway:clients": []}, "event-gateway:clients[0] is missing", "role/name"),
    (
        "clients no list",
        {"event-gateway:clients": "role/a"},
        "event-gateway:clients[0] must be an item of a list",
        "role/name",
    ),
    ("everybody", {"event-gateway:clients": ["*"]}, "event-gateway:clients[0] must be the ARN", "role/name"),
    ("root", {"event-gateway:clients": ["arn:aws:iam::111122223333:root"]}, "clients[0] must be", "role/name"),
    ("wildcard", {"event-gateway:clients": ["role/ok", "role/*"]}, "clients[1] must be", "role/name"),
    ("no carriers", {"event-gateway:carriers": None}, "event-gateway:carriers[0].name is missing", "acme"),
    ("empty carriers", {"event-gateway:carriers": []}, "event-gateway:carriers[0].name is missing", "acme"),
    ("carrier no object", {"event-gateway:carriers": ["acme"]}, "event-gateway:carriers[0] must be an object", "rm"),
    ("no name", carriers(name=None), "carriers[0].name is missing", "acme"),
    ("bad name", carriers(name="Acme!"), "carriers[0].name must be 1 to 16 small letters", "acme"),
    ("long name", carriers(name="a" * 17), "carriers[0].name must be 1 to 16 small letters", "acme"),
    ("rate 0", carriers(rateLimit=0), "carriers[0].rateLimit must be a whole number from 1 to 300", "rateLimit' 20"),
    (
        "rate 301",
        carriers(rateLimit=301),
        "carriers[0].rateLimit must be a whole number from 1 to 300",
        "rateLimit' 20",
    ),
    ("rate fast", carriers(rateLimit="fast"), "rateLimit must be a whole number from 1 to 300", "rateLimit' 20"),
    ("rate 1.5", carriers(rateLimit=1.5), "rateLimit must be a whole number from 1 to 300", "rateLimit' 20"),
    (
        "confirm within 0",
        carriers(confirmWithin=0),
        "carriers[0].confirmWithin must be a whole number from 1 to 336",
        "confirmWithin' 24",
    ),
    (
        "confirm within 337",
        carriers(confirmWithin=337),
        "carriers[0].confirmWithin must be a whole number from 1 to 336",
        "confirmWithin' 24",
    ),
    (
        "confirm within a day",
        carriers(confirmWithin="1d"),
        "carriers[0].confirmWithin must be a whole number from 1 to 336",
        "confirmWithin' 24",
    ),
    ("rate true", carriers(rateLimit=True), "rateLimit must be a whole number from 1 to 300", "rateLimit' 20"),
    (
        "no endpoint",
        carriers(endpoint=None) | {"event-gateway:mockCarrier": "false"},
        "carriers[0].endpoint is missing",
        "https://",
    ),
    ("http", carriers(endpoint="http://api.acme.example"), "carriers[0].endpoint must be an https address", "https://"),
    ("user in url", carriers(endpoint="https://u:p@acme.example"), "endpoint must be an https address", "https://"),
    ("query", carriers(endpoint="https://acme.example?x=1"), "endpoint must be an https address", "https://"),
    ("port", carriers(endpoint="https://acme.example:99999"), "endpoint must be an https address", "https://"),
    ("no host", carriers(endpoint="https://"), "endpoint must be an https address", "https://"),
    ("url number", carriers(endpoint=5), "endpoint must be an https address", "https://"),
    ("no auth", carriers(auth=None), "carriers[0].auth is missing", "basic"),
    ("odd auth", carriers(auth="none"), "carriers[0].auth must be apiKey or basic", "basic"),
    ("no user", carriers(user=None), "carriers[0].user is missing", "event-gateway"),
    ("odd user", carriers(user="a:b"), "carriers[0].user must be", "event-gateway"),
    ("both", carriers(keyName="X-Key"), "carriers[0].keyName does not go with auth basic", "config rm --path"),
    ("no principal", carriers(principal=None), "carriers[0].principal is missing", "role/name"),
    ("any principal", carriers(principal="*"), "carriers[0].principal must be the ARN", "role/name"),
    (
        "101 carriers",
        {"event-gateway:carriers": [{"name": f"carrier-{number}"} for number in range(101)]},
        "carriers[100] is one too many, a stack has 100 at most",
        "config rm --path",
    ),
    ("nobody left", carriers(enabled=False), "carriers[0].enabled leaves no carrier", "enabled' true"),
    (
        "mock api key",
        {"event-gateway:carriers": [{"name": "acme", "auth": "apiKey", "keyName": "k"}]},
        "auth must be basic",
        "basic",
    ),
    (
        "mock principal",
        {"event-gateway:carriers": [{**ACME, "principal": "role/a"}]},
        "principal is the mock",
        "config rm",
    ),
    (
        "same name",
        {"event-gateway:carriers": [REMOTE, {**REMOTE, "principal": "role/b"}]},
        "carriers[1].name is also that of carriers[0]",
        "another-name",
    ),
    (
        "same principal",
        {
            "event-gateway:carriers": [
                REMOTE,
                {**REMOTE, "name": "b", "principal": "arn:aws:iam::111122223333:role/x/acme"},
            ]
        },
        "carriers[1].principal is also that of carriers[0]",
        "another-principal",
    ),
    (
        "unknown key",
        {"event-gateway:logRetentionDay": "30"},
        "nearest is logRetentionDays",
        "config rm event-gateway:logRetentionDay",
    ),
    (
        "unknown carrier key",
        carriers(rateLimits=5),
        "carriers[0].rateLimits is no setting, the nearest is rateLimit",
        "config rm --path",
    ),
    (
        "unknown throttle key",
        {"event-gateway:throttle": {"rates": 5}},
        "throttle.rates is no setting, the nearest is rate",
        "config rm --path",
    ),
    ("throttle no object", {"event-gateway:throttle": [5]}, "throttle must be an object", "config rm"),
    (
        "throttle zero",
        {"event-gateway:throttle": {"rate": 0}},
        "throttle.rate must be a whole number from 1 to 10000",
        "rate' 50",
    ),
    ("retention", {"event-gateway:logRetentionDays": "31"}, "logRetentionDays must be one of 1, 3, 5", "365"),
    ("protect", {"event-gateway:protect": "yes"}, "protect must be true or false", "protect true"),
    ("mock in prod", {"event-gateway:protect": "true"}, "mockCarrier would open a URL", "mockCarrier false"),
    ("runtime", {"event-gateway:runtime": "python3.9"}, "runtime must be python3.11 or", "python3.14"),
    (
        "concurrency",
        {"event-gateway:reservedConcurrency": "0"},
        "reservedConcurrency must be a whole number from 1",
        " 1",
    ),
    (
        "no address",
        {"event-gateway:alarmEmail": "on-call"},
        "alarmEmail must be one mail address",
        "on-call@example.com",
    ),
    ("no domain", {"event-gateway:alarmEmail": "on-call@shop"}, "alarmEmail must be one mail", "on-call@example.com"),
    ("two", {"event-gateway:alarmEmail": "a@b.example,c@d.example"}, "alarmEmail must be one", "on-call@example.com"),
    ("named", {"event-gateway:alarmEmail": "On Call <a@b.example>"}, "alarmEmail must be one", "on-call@example.com"),
    ("hyphen", {"event-gateway:alarmEmail": "a@-b.example"}, "alarmEmail must be one mail", "on-call@example.com"),
    ("long", {"event-gateway:alarmEmail": f"a@{'b.' * 125}example"}, "alarmEmail must be one", "on-call@example.com"),
    ("someone else's secret", {"event-gateway:otherSecret": "x"}, "otherSecret is no setting", "config rm"),
]


@pytest.mark.parametrize(
    ("changes", "problem", "command"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG]
)
def test_a_wrong_setting_is_named_with_the_command_that_mends_it(changes, problem, command):
    message = refusal(changes)
    assert problem in message
    assert command in re.search(r"`(pulumi config .*)`$", message)[1]
    assert "\n" not in message


def test_a_missing_secret_is_asked_for_by_the_command_that_encrypts_it():
    message = refusal({"event-gateway:acmeSecret": None})
    assert message == (
        "event-gateway:acmeSecret is missing: enter it with `pulumi config set --secret event-gateway:acmeSecret`"
    )


def test_a_secret_in_plain_text_is_refused_without_repeating_it():
    message = refusal({}, plaintext=("event-gateway:acmeSecret",))
    assert "event-gateway:acmeSecret is not encrypted" in message
    assert graph.CANARY not in message


@pytest.mark.parametrize("value", ["[1, 2", '{"a": 1}', "[]"])
def test_a_secret_may_look_like_a_document(value):
    assert settings({"event-gateway:acmeSecret": value}).carriers[0].name == "acme"


def test_the_refusal_is_an_error_that_pulumi_prints_without_a_traceback():
    assert issubclass(SettingsError, pulumi.RunError)


@pytest.mark.parametrize("address", ["on-call@shop.example", "a.b+alarms_1@x-y.shop.example"])
def test_alarms_go_to_one_address_or_to_none(address):
    assert settings({"event-gateway:alarmEmail": address}).alarm_email == address
    assert settings({"event-gateway:alarmEmail": None}).alarm_email is None


def test_principals_of_this_account_may_be_short():
    found = settings({"event-gateway:clients": ["role/a", "user/b", "arn:aws:iam::999988887777:role/c"]})
    account = f"arn:aws:iam::{graph.ACCOUNT}"
    assert found.clients == [f"{account}:role/a", f"{account}:user/b", "arn:aws:iam::999988887777:role/c"]


def test_only_enabled_carriers_have_a_time_to_confirm():
    other = {**REMOTE, "name": "globex", "principal": "role/globex"}
    found = settings(
        {"event-gateway:carriers": [{**REMOTE, "confirmWithin": 336}, {**other, "enabled": False}]}
        | {"event-gateway:globexSecret": graph.CANARY}
    )
    assert found.confirm_within == {"acme": 336}


def test_nothing_lax_is_a_default():
    needed = {"aws:region": "eu-west-1", "event-gateway:clients": ["role/a"], **carriers()}
    others = dict.fromkeys(("logRetentionDays", "protect", "manageApiGatewayAccount", "mockCarrier"))
    found = settings({f"event-gateway:{key}": None for key in others} | needed)
    assert found.protect is True
    assert found.manage_account is False
    assert found.compute.log_retention_days == 365
    assert found.carriers[0].rate_limit == 20
    assert found.carriers[0].confirm_within == 24
    assert (found.throttle.rate, found.throttle.burst) == (50, 100)


@pytest.mark.parametrize(
    ("length", "problem"),
    [(27, "has 66 characters where AWS allows 64"), (28, "has 49 characters where AWS allows 48")],
)
def test_a_name_that_aws_would_refuse_is_refused_before(length, problem):
    graph.configure("prod")
    with pytest.raises(pulumi.RunError, match=rf"{problem}: .*`pulumi stack rename`"):
        graph.record(lambda: runpy.run_path(str(graph.ROOT / "__main__.py")) and None, stack="s" * length)
