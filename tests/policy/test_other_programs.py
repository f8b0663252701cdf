"""The pack over programs that aren't ours: silent where nothing is wrong, and not fooled by what articles show."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import pytest

from policy import pack
from policy.rule import Group
from tests.policy.programs import Program, Verdicts, others, run

MANDATORY = {rule.name for rule in pack.RULES if rule.group is Group.GATEWAY}
FOREIGN = ["foreign/static_site.py", "foreign/http_api.py", "foreign/queue_worker.py"]
PUBLISHED = "as_published/__main__.py"
MODES = pytest.mark.parametrize("preview", [True, False], ids=["preview", "update"])


@cache
def over(path: str, *, preview: bool) -> Verdicts:
    program = Program(list(others(path, preview=preview)))
    assert len(program.things) > 10
    return run(program, update=not preview)


def found(verdicts: Verdicts) -> Iterator[tuple[str, str, str]]:
    """Rule, name of the resource and message of each violation."""
    for urn, by_rule in verdicts.violations.items():
        for rule, messages in by_rule.items():
            yield from ((rule, urn.rpartition("::")[2], message) for message in messages)


@MODES
@pytest.mark.parametrize("path", FOREIGN)
def test_a_sound_program_of_another_kind_violates_nothing_mandatory(path: str, *, preview: bool):
    assert [violation for violation in found(over(path, preview=preview)) if violation[0] in MANDATORY] == []


# What is wrong with the pattern as articles show it, and which rule says so at which resource.
FLAWS = {
    "the carrier's password is in the program": ("connection-credentials-secret", "carrier"),
    "and in a function's environment": ("plaintext-secrets", "carrier"),
    "it is a password at all, for every request": ("connection-authorization-allowed", "carrier"),
    "the carrier is called as fast as AWS can": ("api-destination-rate-limit", "carrier"),
    "an order that the carrier does not take is dropped": ("event-target-failure-kept", "carrier"),
    "a confirmation that is not handed over is dropped": ("event-target-failure-kept", "ship-order"),
    "a confirmation that the function fails on is dropped": ("function-async-failures-kept", "ship-order"),
    "the transformer quotes its placeholders": ("event-target-transformer-safe", "carrier"),
    "and so does the pipe's template": ("pipe-template-safe", "orders"),
    "the pipe has no bounds and no dead-letter queue": ("pipe-stream-bounded", "orders"),
    "the pipe has no filter": ("pipe-filter", "orders"),
    "the pipe's failures leave no trace": ("pipe-log-safe", "orders"),
    "anybody may place orders": ("api-method-authorised", "place-order"),
    "anybody may confirm": ("api-method-authorised", "confirm"),
    "the template takes the caller's text as it is": ("api-direct-integration-safe", "confirm"),
    "whatever PutEvents answers is a 200": ("api-direct-integration-complete", "confirm"),
    "the stage has no limits": ("api-stage-limited", "gateway"),
    "the stage has no log": ("api-stage-observable", "gateway"),
    "the bus takes events from the whole account": ("event-bus-has-policy", "orders"),
    "the pipe may put events anywhere": ("iam-put-events-bus-named", "pipe-put"),
    "and so may the API": ("iam-put-events-bus-named", "put-events"),
    "anybody's pipe may act as the pipe": ("iam-trust-confused-deputy", "pipe"),
    "anybody's rule may call the carrier": ("iam-trust-confused-deputy", "call-carrier"),
    "anybody's API may invoke the function": ("function-permission-scoped", "api"),
    "anybody's rule may invoke the other one": ("function-permission-scoped", "rule"),
    "anybody may call the carrier's function": ("function-url-authorised", "carrier"),
    "a function may do everything with every table": ("iam-actions-named", "create-order"),
    "on every resource": ("iam-resources-named", "create-order"),
    "roles have AWS's own policies": ("iam-managed-policies-allowed", "create-order"),
    "a role may call every API destination": ("iam-resources-named", "call-carrier"),
    "Python 3.8": ("function-runtime-supported", "create-order"),
    "memory and time are AWS's defaults": ("function-sized", "create-order"),
    "no traces": ("function-traced", "create-order"),
    "logs that never end": ("function-log-group", "create-order"),
    "a table that can't be restored": ("table-restorable", "orders"),
    "a table of whatever encryption": ("table-encryption-chosen", "orders"),
}


@MODES
@pytest.mark.parametrize("flaw", FLAWS)
def test_each_flaw_of_the_published_pattern_is_refused_by_name(flaw: str, *, preview: bool):
    assert FLAWS[flaw] in {(rule, resource) for rule, resource, _ in found(over(PUBLISHED, preview=preview))}


@MODES
def test_nothing_else_of_the_published_pattern_is_refused(*, preview: bool):
    refused = {(rule, resource) for rule, resource, _ in found(over(PUBLISHED, preview=preview))}
    # Three functions have the same flaws; the table names them once.
    again = {(rule, resource) for rule, _ in FLAWS.values() for resource in ("carrier", "ship-order")}
    assert refused - again == set(FLAWS.values()) - again


def test_what_the_published_pattern_has_for_a_password_is_in_no_message():
    verdicts = over(PUBLISHED, preview=True)
    assert "Pass1234!" in repr([thing.inputs for thing in others(PUBLISHED, preview=True)])
    assert "Pass1234!" not in "".join(outcome.raw for outcome in (*verdicts.resources.values(), verdicts.stack))
