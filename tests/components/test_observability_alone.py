"""Alarms and dashboard of a program of another name, which has more carriers than any stack of ours."""

from __future__ import annotations

import json

import pytest

from components import (
    CarrierIntegration,
    CarrierIntegrationArgs,
    Observability,
    ObservabilityArgs,
    Reconcile,
    ReconcileArgs,
    StreamPipe,
    StreamPipeArgs,
)
from tests import graph
from tests.components import cloud
from tests.test_observability import ALARM, DASHBOARD, RUNBOOK, section, shown, watched

CARRIERS = [f"carrier-{number}" for number in range(8)]


def build():
    store, bus = cloud.store(), cloud.bus()
    common = {"scope": cloud.SCOPE, "store": store, "bus": bus}
    pipe = StreamPipe(
        "pipe", StreamPipeArgs(scope=cloud.SCOPE, source=store, target=bus, log_retention_days=30, protect=False)
    )
    carriers = [
        CarrierIntegration(
            name,
            CarrierIntegrationArgs(
                **common,
                compute=cloud.COMPUTE,
                carrier=name,
                endpoint="https://api.acme.example",
                rate_limit=5,
                credential=cloud.credential(),
                principal_arn=f"arn:aws:iam::{graph.ACCOUNT}:role/{name}",
                enabled=True,
                protect=False,
            ),
        )
        for name in CARRIERS
    ]
    reconcile = Reconcile(
        "reconcile",
        ReconcileArgs(
            **common, compute=cloud.COMPUTE, confirm_within=dict.fromkeys(CARRIERS, 24), after=(), protect=False
        ),
    )
    Observability(
        "alarms",
        ObservabilityArgs(
            **common,
            api=cloud.api(store=store, bus=bus),
            pipe=pipe,
            carriers=carriers,
            reconcile=reconcile,
            functions=[],
            email=None,
        ),
    )


@pytest.fixture(scope="module")
def recorded():
    return graph.record(build)


def test_every_series_is_about_this_program_and_no_other(recorded):
    found = [series for alarm in recorded.of(ALARM) for series in watched(alarm)] + shown(recorded)
    assert len(recorded.of(ALARM)) > 100
    assert {s.namespace for s in found if not s.namespace.startswith("AWS/")} == {"shop"}
    names = {
        value for series in found for name, value in series.dimensions.items() if name not in ("Operation", "Stage")
    }
    assert {name for name in names if not name.startswith("shop-test-")} == {"pending"}
    assert all(alarm.inputs["name"].startswith("shop-test-") for alarm in recorded.of(ALARM))


def test_each_carrier_has_the_same_alarms(recorded):
    conditions = [
        {a.inputs["name"].partition(f"-{name}-")[2] for a in recorded.of(ALARM) if f"-{name}-" in a.inputs["name"]}
        for name in CARRIERS
    ]
    assert len(conditions[0]) > 10
    assert all(of_one == conditions[0] for of_one in conditions)


def test_all_of_them_are_on_the_dashboard(recorded):
    dashboard = json.loads(recorded.only(DASHBOARD).inputs["dashboardBody"])
    listed = [arn for widget in dashboard["widgets"] for arn in widget["properties"].get("alarms", [])]
    assert len(listed) == len(set(listed)) == len(recorded.of(ALARM))


def test_none_says_more_than_cloudwatch_takes(recorded):
    for alarm in recorded.of(ALARM):
        assert len(alarm.inputs["alarmDescription"]) <= 1024
        assert f"{RUNBOOK.parent.name}/{RUNBOOK.name}#{section(alarm)}" in alarm.inputs["alarmDescription"]
