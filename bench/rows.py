"""What is claimed, row by row: a figure of the run or an exact value, its goal, and why it is what it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench import bundles, costs
from bench.measure import Case, Estimate, Measured, estimate

Part = tuple[str, str]
"""A case, and the name of one of its figures."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One goal. `name` is its group in the table of goals, of which there may be several rows."""

    name: str
    what: str
    goal: float
    parts: tuple[Part, ...]
    formula: Callable[..., float]
    at_least: bool = False
    cause: str = ""
    """What decides the value, as profiles say: told where the goal is missed."""

    @property
    def cases(self) -> set[str]:
        return {case for case, _ in self.parts}

    def met(self, value: float) -> bool:
        return value >= self.goal if self.at_least else value <= self.goal

    def estimate(self, measured: Measured) -> Estimate:
        """The value of a run.

        Raises:
            NothingMeasuredError: The run had no part in it.

        """
        return estimate([measured.values(case, figure) for case, figure in self.parts], self.formula)


@dataclass(frozen=True, kw_only=True)
class Exact:
    """A goal whose value is no measurement, and which a test holds."""

    name: str
    what: str
    goal: float
    value: Callable[[], float]


def _quotient(a: float, b: float) -> float:
    return a / b


def _share(with_it: float, without: float) -> float:
    return (with_it - without) / with_it


def _model(assumed: costs.Assumptions) -> costs.Model:
    return costs.Model(prices=costs.read_prices(), assumed=assumed)


ROWS = (
    Row(
        name="P1",
        what="program's imports / all of pulumi_aws, time",
        goal=0.10,
        parts=(("program", "cpu"), ("whole-sdk", "cpu")),
        formula=_quotient,
        cause="The eight modules of pulumi_aws that it uses; pulumi itself is a third of it.",
    ),
    Row(
        name="P2",
        what="the same, peak memory",
        goal=0.18,
        parts=(("program", "rss"), ("whole-sdk", "rss")),
        formula=_quotient,
        cause="pulumi itself is more than half of it.",
    ),
    Row(
        name="P3",
        what="program's imports / `import pulumi`, time",
        goal=3.0,
        parts=(("program", "cpu"), ("pulumi", "cpu")),
        formula=_quotient,
        cause="The eight modules of pulumi_aws, each of which brings the types of a whole service, and "
        "pulumi_aws_native: they are nearly all of it.",
    ),
    Row(
        name="P5",
        what="graph under mocks, 20 carriers / 10, time",
        goal=2.2,
        parts=(("graph-20", "build"), ("graph-10", "build")),
        formula=_quotient,
        cause="Grants and alarms name every carrier.",
    ),
    Row(
        name="P5",
        what="preview per resource, 20 carriers / 1, time",
        goal=1.2,
        parts=(("preview-20", "per_resource"), ("preview-1", "per_resource")),
        formula=_quotient,
        cause="The rules about a stack see every resource.",
    ),
    Row(
        name="P6",
        what="policy pack's boot / `import pulumi`, time",
        goal=1.2,
        parts=(("pack", "cpu"), ("pulumi", "cpu")),
        formula=_quotient,
        cause="The modules of the rules, and their regular expressions.",
    ),
    Row(
        name="P6",
        what="policy pack's share of a preview, time",
        goal=0.25,
        parts=(("preview-2", "cpu"), ("preview-2-alone", "cpu")),
        formula=_share,
        cause="A pack with one rule that does nothing has 0.21 already: one more Python, and two calls for each "
        "resource. Most of the rest is pulumi_policy decoding each resource once per policy.",
    ),
    Row(
        name="E1",
        what="`up` of the whole stack / of an empty program, time",
        goal=4,
        parts=(("update", "up"), ("update", "empty")),
        formula=_quotient,
        cause="After each step the engine writes the whole state anew, which no setting spares: nearly two thirds "
        "of its time. The program runs twice, for the preview and for the update.",
    ),
    Row(
        name="E1",
        what="`up` that changes nothing / of an empty program, time",
        goal=2.5,
        parts=(("update", "again"), ("update", "empty")),
        formula=_quotient,
        cause="The program runs twice, for the preview and for the update, half of the time; the engine compares every "
        "resource in both, and the local cloud polls on meanwhile.",
    ),
    Row(
        name="L1",
        what="create handler / naive full handler, init and first call, time",
        goal=0.65,
        parts=(("create", "cpu"), ("naive", "cpu")),
        formula=_quotient,
        cause="botocore with one client is most of the import, and loads more for the first call.",
    ),
    Row(
        name="L2",
        what="confirm handler / naive full handler, init and first call, time",
        goal=0.48,
        parts=(("confirm", "cpu"), ("naive", "cpu")),
        formula=_quotient,
        cause="botocore with one client is most of the import, and loads more for the first call.",
    ),
    Row(
        name="L3",
        what="create handler / naive full handler, peak memory",
        goal=0.75,
        parts=(("create", "rss"), ("naive", "rss")),
        formula=_quotient,
        cause="What botocore loads for one client.",
    ),
    Row(
        name="L3",
        what="confirm handler / naive full handler, peak memory",
        goal=0.65,
        parts=(("confirm", "rss"), ("naive", "rss")),
        formula=_quotient,
        cause="What botocore loads for one client.",
    ),
    Row(
        name="L5",
        what="zip with byte code / without, init and first call, time",
        goal=0.75,
        parts=(("zip", "cpu"), ("zip-without", "cpu")),
        formula=_quotient,
        cause="botocore is compiled either way, and is not in the zip.",
    ),
    Row(
        name="S1",
        what="orders per second, placed to shipped / raw put_item per second of the same MiniStack",
        goal=0.15,
        parts=(("orders", "rate"), ("orders", "raw")),
        formula=_quotient,
        at_least=True,
        cause="An order takes 35 ms of CPU time of cloud, emulator and functions: three invocations, eleven calls of "
        "the emulator, six signed requests with 28 decisions of IAM. A put_item takes 1 to 2 ms.",
    ),
    Row(
        name="S2",
        what="an order's cost at the end / at the start of a long run, time",
        goal=1.1,
        parts=(("orders", "last"), ("orders", "first")),
        formula=_quotient,
        cause="MiniStack keeps every order and every log line in memory. A quarter of the growth is the measurement's "
        "own question what is pending, which MiniStack answers by going through all.",
    ),
    Row(
        name="S2",
        what="local cloud's memory once drained, at the end / at the start of a long run",
        goal=1.1,
        parts=(("orders", "last_memory"), ("orders", "first_memory")),
        formula=_quotient,
        cause="The cloud keeps something of each order.",
    ),
)

EXACT = (
    Exact(
        name="L6",
        what="zip of the create handler / naive bundle, bytes",
        goal=0.15,
        value=lambda: bundles.ratio("orders_api"),
    ),
    Exact(
        name="C2",
        what="modelled cost of the integration plane / as published",
        goal=0.65,
        value=lambda: costs.plane_ratio(_model(costs.NEUTRAL)),
    ),
    Exact(
        name="C3",
        what="modelled cost of all / with Lambda as glue, neutral assumptions",
        goal=0.82,
        value=lambda: costs.total_ratio(_model(costs.NEUTRAL)),
    ),
    Exact(
        name="C3",
        what="modelled cost of all / with Lambda as glue, assumptions that favour the glue",
        goal=0.93,
        value=lambda: costs.total_ratio(_model(costs.GLUE_FAVOURING)),
    ),
)

NAMES = tuple(dict.fromkeys(row.name for row in (*ROWS, *EXACT)))

_FUNCTION: Mapping[str, str] = {
    "TABLE_NAME": "orders",
    "CARRIERS": '["acme"]',
    "CARRIER": "acme",
    "CARRIER_PRINCIPAL": "arn:aws:iam::000000000000:role/acme",
    "FAILURE_QUEUE_URL": "https://sqs.eu-west-1.amazonaws.com/000000000000/failures",
    "POWERTOOLS_SERVICE_NAME": "measured",
    "POWERTOOLS_METRICS_NAMESPACE": "measured",
    "AWS_REGION": "eu-west-1",
    "AWS_DEFAULT_REGION": "eu-west-1",
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    # Without these, the tracer of the naive handler takes itself for a test and does nothing.
    "LAMBDA_TASK_ROOT": "/var/task",
    "_X_AMZN_TRACE_ID": "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1",
}


def cases(*, quick: bool, aws: str, folder: Path) -> list[Case]:
    """Everything that can be measured; handlers find AWS at the URL `aws`, and zips are unpacked below `folder`."""
    function = {**_FUNCTION, "AWS_ENDPOINT_URL": aws}

    def module(name: str, sample: str, *arguments: str, slow: bool = False, once: bool = False) -> Case:
        return Case(name=name, arguments=("-m", f"bench.samples.{sample}", *arguments), slow=slow, once=once)

    def handler(name: str, *arguments: str) -> Case:
        return Case(name=name, arguments=("-m", "bench.samples.handler", *arguments), environment=function)

    with_byte_code = bundles.unpacked("orders_api", folder / "with", byte_code=True)
    without = bundles.unpacked("orders_api", folder / "without", byte_code=False)
    orders = ("200", "50") if quick else ("5000", "500")
    return [
        Case(name="pulumi", arguments=("-c", "import pulumi")),
        module("program", "program"),
        module("whole-sdk", "whole_sdk", slow=True),
        Case(name="pack", arguments=("-c", "from policy.pack import policies; policies()")),
        module("graph-10", "graph", "10", slow=True),
        module("graph-20", "graph", "20", slow=True),
        handler("create", "handlers.orders_api", "create"),
        handler("confirm", "handlers.confirm_shipment", "confirm"),
        handler("naive", "bench.samples.naive", "create"),
        handler("zip", "handlers.orders_api", "create", str(with_byte_code)),
        handler("zip-without", "handlers.orders_api", "create", str(without)),
        module("preview-1", "preview", "1", "pack", slow=True),
        module("preview-2", "preview", "2", "pack", slow=True),
        module("preview-2-alone", "preview", "2", "alone", slow=True),
        module("preview-20", "preview", "20", "pack", slow=True),
        module("update", "update", slow=True),
        module("orders", "orders", *orders, once=True),
    ]
