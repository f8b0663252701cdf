"""docs/capacity.md: its figures are those of the recorded program and of the quotas that it names."""

from __future__ import annotations

import ast
import json
import re

import pytest

from components.bounds import MOST_CARRIERS, RATE_LIMITS
from components.orders_api import _resource_policy
from handlers.repository import PENDING_SHARDS
from tests.documents import rows
from tests.graph import ROOT, Graph, plain

TEXT = (ROOT / "docs" / "capacity.md").read_text()
DAY = 86_400
# AWS's: requests that one environment serves, unreserved executions, write units of one key, shards of a new table.
REQUESTS_OF_AN_ENVIRONMENT = 10
UNRESERVED = 100
UNITS_OF_A_KEY = 1_000
SHARDS_OF_A_NEW_TABLE = 4
# Ours: batches or calls in a second, at the document's 100 ms.
CALLS_IN_A_SECOND = 10

FUNCTION = "aws:lambda/function:Function"


def section(heading: str) -> str:
    found = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL)
    assert found, f"no section {heading}"
    return " ".join(found[1].split())


def constant(handler: str, name: str) -> int:
    """A constant of a handler, which loads in its own environment only."""
    [value] = [
        node.value
        for node in ast.parse((ROOT / "handlers" / f"{handler}.py").read_text()).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name
    ]
    return ast.literal_eval(value)


def settings(program: Graph) -> dict[str, tuple[str, str]]:
    """By hop, what a stack has set, and the orders that this lets through in a day."""
    throttle = program.only("aws:apigateway/methodSettings:MethodSettings").inputs["settings"]
    rate, burst = int(throttle["throttlingRateLimit"]), int(throttle["throttlingBurstLimit"])
    stream = plain(program.only("aws-native:pipes:Pipe").inputs["sourceParameters"])["dynamoDbStreamParameters"]
    assert stream.get("parallelizationFactor", 1) == 1
    batch = int(stream["batchSize"])
    every = program.only("aws:scheduler/schedule:Schedule").inputs["scheduleExpression"]
    minutes = int(re.fullmatch(r"rate\((\d+) minutes\)", every)[1])
    assert minutes * 60 == constant("reconcile", "_EVERY_SECONDS"), "a sweep begins with the shard after the last one's"
    sweep = constant("reconcile", "_MOST_OF_A_SHARD") * PENDING_SHARDS
    carriers = {
        node.name.removesuffix("-orders"): int(node.inputs["invocationRateLimitPerSecond"])
        for node in program.of("aws:cloudwatch/eventApiDestination:EventApiDestination")
    }
    reserved = {f.name: f.inputs.get("reservedConcurrentExecutions") for f in program.of(FUNCTION)}
    confirming = {reserved[f"{carrier}-confirm"] for carrier in carriers}
    assert len(confirming) == 1
    return {
        "API": (f"{rate}, {burst}", day(rate)),
        "orders function": concurrent(reserved["orders-api"], REQUESTS_OF_AN_ENVIRONMENT),
        "pipe": (f"{batch}", day(batch * CALLS_IN_A_SECOND * SHARDS_OF_A_NEW_TABLE)),
        "carrier acme": (f"{carriers['acme']}", day(carriers["acme"])),
        "carrier globex": (f"{carriers['globex']}", day(carriers["globex"])) if "globex" in carriers else ("none",) * 2,
        "confirm function": concurrent(confirming.pop(), CALLS_IN_A_SECOND),
        "reconciliation": (f"{sweep:,}", f"{sweep * 24 * 60 // minutes:,}"),
    }


def day(a_second: int) -> str:
    return f"{a_second * DAY:,}"


def concurrent(reserved: float | None, each: int) -> tuple[str, str]:
    return ("unset", "quota") if reserved is None else (f"{int(reserved)}", day(int(reserved) * each))


def number(text: str) -> int:
    return int(text.replace(",", ""))


@pytest.mark.parametrize("stack", ["dev", "prod"])
def test_what_is_said_of_a_stack_is_what_it_sets(programs, stack):
    said = {
        row.under("hop"): (row.under(stack), row.under(f"orders a day in {stack}"))
        for row in rows(TEXT)
        if stack in row.columns
    }
    assert said == settings(programs[stack])


def test_every_hop_says_what_happens_above_it():
    hops = {row.under("hop") for row in rows(TEXT) if "setting" in row.columns}
    above = {row.under("hop") for row in rows(TEXT) if "above it" in row.columns and all(row.cells)}
    assert {"carrier" if hop.startswith("carrier ") else hop for hop in hops} == above


def test_the_figures_of_the_quotas_follow_from_them():
    quotas = [row for row in rows(TEXT) if "a second" in row.columns]
    assert len(quotas) == 8
    for row in quotas:
        a_second, of_an_order = number(row.under("a second")), number(row.under("of an order"))
        assert row.under("orders a day") == day(a_second // of_an_order), row.under("hop")
        assert re.search(r"\(https://docs\.aws\.amazon\.com/\S+\)$", row.under("source"))
    assert re.search(r"read on 20\d\d-\d\d-\d\d", section("Quotas"))


def test_quotas_of_several_are_that_many():
    """Where a quota is so many of something, the rate is their product with what each does."""
    quotas = {row.under("hop"): row for row in rows(TEXT) if "a second" in row.columns}

    def rate(hop: str) -> int:
        return number(quotas[hop].under("a second"))

    def many(hop: str) -> list[int]:
        return [number(found) for found in re.findall(r"\d[\d,]*", quotas[hop].under("quota"))]

    executions, each = many("functions")
    assert (rate("functions"), each) == (executions * each, REQUESTS_OF_AN_ENVIRONMENT)
    executions, _, batch = many("pipe")
    assert rate("pipe") == executions * batch * CALLS_IN_A_SECOND
    assert many("index") == [UNITS_OF_A_KEY, PENDING_SHARDS]
    assert rate("index") == UNITS_OF_A_KEY * PENDING_SHARDS
    assert rate("carrier") == RATE_LIMITS[-1]


@pytest.mark.parametrize("stack", ["dev", "prod"])
def test_no_setting_is_above_its_quota_and_the_carrier_is_the_limit(programs, stack):
    found = settings(programs[stack])
    quotas = {row.under("hop"): number(row.under("orders a day")) for row in rows(TEXT) if "a second" in row.columns}
    orders = {hop: number(count) for hop, (_, count) in found.items() if count[0].isdigit() and hop != "reconciliation"}
    by_quota = {"API": "API", "orders function": "functions", "pipe": "pipe"}
    assert [hop for hop, quota in by_quota.items() if hop in orders and orders[hop] > quotas[quota]] == []
    carriers = {hop: count for hop, count in orders.items() if hop.startswith("carrier ")}
    assert [hop for hop, count in carriers.items() if count > quotas["carrier"]] == []
    assert min(orders.values()) == min(carriers.values()) == 20 * DAY
    others = {hop: count for hop, count in orders.items() if hop not in carriers}
    assert all(count >= max(carriers.values()) for count in others.values())


def test_small_regions_are_computed_from_their_quotas():
    said = section("Quotas")
    for a_second, orders in re.findall(r"(?:has|targets) (\d+)(?: a second)? \(([\d,]+)", said):
        assert orders == day(int(a_second) // 2)
    assert len(re.findall(r"(?:has|targets) \d+(?: a second)? \(", said)) == 2


def test_the_account_that_production_needs_is_the_sum_of_its_functions(programs):
    reserved = [int(node.inputs["reservedConcurrentExecutions"]) for node in programs["prod"].of(FUNCTION)]
    (each,) = set(reserved)
    said = section("Lambda")
    assert f"`prod` has {len(reserved)} functions of {each} each" in said
    assert f"an account of {sum(reserved) + UNRESERVED} or more" in said
    assert f"keeps {UNRESERVED} unreserved" in said
    assert f"One function of {each} serves {each * REQUESTS_OF_AN_ENVIRONMENT} synchronous requests" in said


def test_throttling_and_concurrency_of_production_belong_together(programs):
    throttle = programs["prod"].only("aws:apigateway/methodSettings:MethodSettings").inputs["settings"]
    orders = programs["prod"].only(FUNCTION, "orders-api").inputs["reservedConcurrentExecutions"]
    assert throttle["throttlingRateLimit"] == orders * REQUESTS_OF_AN_ENVIRONMENT


def test_a_peak_at_the_carrier_takes_as_long_as_is_said(programs):
    found = settings(programs["prod"])
    rate = int(found["API"][0].split(",")[0])
    acme, globex = (int(found[f"carrier {name}"][0]) for name in ("acme", "globex"))
    peak = rate * 3600
    assert (
        f"{peak:,} orders, takes acme {peak // acme // 3600} hours at {acme} a second, "
        f"and globex {peak // globex // 3600} at {globex}." in section("A backlog at the carrier")
    )


def test_so_many_carriers_fit_into_what_aws_takes():
    said = section("How many carriers")
    characters, carriers, length = map(
        number, re.search(r"takes ([\d,]+) characters: room for (\d+) carriers with ARNs of (\d+) char", said).groups()
    )
    arn = f"arn:aws:iam::{'1' * 12}:role/".ljust(length, "a")

    def policy(count):
        return len(json.dumps(_resource_policy([arn], [arn] * count)))

    assert policy(carriers) <= characters < policy(carriers + 5)
    assert f"With more than {MOST_CARRIERS}, disabled ones included, a stack is refused" in said


def test_so_many_carriers_fit_into_the_concurrency_of_an_account(programs):
    said = section("How many carriers")
    reserved, carriers, executions = map(
        number,
        re.search(r"each reserves (\d+), as in `prod`, (\d+) carriers are all that ([\d,]+) conc", said).groups(),
    )
    functions = programs["prod"].of(FUNCTION)
    assert {function.inputs["reservedConcurrentExecutions"] for function in functions} == {reserved}
    others = len(functions) - len([function for function in functions if function.name.endswith("-confirm")])
    assert (others + carriers) * reserved <= executions - UNRESERVED < (others + carriers + 1) * reserved


def test_a_carrier_has_two_rules_on_the_bus(programs):
    program = programs["prod"]
    carriers = len(program.of("aws:cloudwatch/eventApiDestination:EventApiDestination"))
    rules = [rule.name for rule in program.of("aws:cloudwatch/eventRule:EventRule")]
    assert len([name for name in rules if re.search("-(orders|confirm)", name)]) == 2 * carriers > 0
