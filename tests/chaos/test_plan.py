"""A storm can be replayed, and has something of everything."""

from __future__ import annotations

from collections import Counter
from uuid import UUID

import pytest

from sandbox.control import MODES
from sandbox.faults import Fault, Kind
from tests.chaos.plan import CARRIERS, CONFLICT, FORGERIES, LEAST, UPDATES, Plan

IDS = [str(UUID(int=number)) for number in range(400)]


def told(plan):
    chosen = [(plan.mode(one, 1), plan.mode(one, 2), plan.delay(one, 2.0)) for one in IDS]
    return plan.orders, plan.faults, plan.updates, chosen, [plan.mood(tick) for tick in range(50)]


def test_a_seed_is_a_storm():
    assert told(Plan(seed=7, count=60)) == told(Plan(seed=7, count=60))


def test_another_seed_is_another_storm():
    for one, other in zip(told(Plan(seed=7, count=200)), told(Plan(seed=8, count=200)), strict=True):
        # The order of three deployments is one of six.
        assert one != other or len(one) == len(UPDATES)


@pytest.mark.parametrize("count", [LEAST, 60, 1000])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_every_kind_of_fault_and_of_change_happens(count, seed):
    plan = Plan(seed=seed, count=count)
    assert {Fault.of(one.fault).kind for one in plan.faults} == set(Kind)
    assert all(0 <= one.at <= 1 for one in plan.faults)
    assert [one.at for one in plan.faults] == sorted(one.at for one in plan.faults)
    assert sorted(change for changes in plan.updates for change in changes) == sorted(UPDATES)


def test_carriers_misbehave_for_three_in_ten_and_in_every_way():
    plan = Plan(seed=7, count=LEAST)
    modes = Counter(plan.mode(one, time) for one in IDS for time in range(1, 6))
    assert set(modes) == set(MODES)
    # And a few never confirm, however often they are asked.
    assert 0.27 < 1 - modes["ok"] / modes.total() < 0.38
    assert any({plan.mode(one, time) for time in range(1, 30)} == {"never-confirm"} for one in IDS)
    assert {plan.mood(tick) for tick in range(400)} == set(MODES)


def test_orders_are_of_every_kind():
    orders = Plan(seed=7, count=200).orders
    assert len({one.key for one in orders if one.key}) == sum(one.key is not None for one in orders) > 100
    assert {one.carrier for one in orders} == set(CARRIERS)
    assert {one.times for one in orders} == {1, 2, 3}
    assert {one.times for one in orders if one.key is None} == {1}
    assert {"items" in one.body for one in orders} == {True, False}


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_each_kind_is_forged_before_one_comes_again(seed):
    forged = [one.forgery for one in Plan(seed=seed, count=200).orders]
    kinds = [kind for kind in forged if kind]
    assert 0.2 < len(kinds) / len(forged) < 0.4
    rounds = [set(kinds[start : start + 8]) for start in range(0, len(kinds) - 7, 8)]
    assert rounds == [{CONFLICT, *FORGERIES}] * len(rounds)
    assert len(rounds) > 3
