"""Each promise can be broken: a small storm in which all is well, and what is noticed when one fact is another."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from ops.letters import read
from ops.stack import Holds, Queue
from sandbox.control import MODES
from sandbox.faults import Kind
from tests.chaos import audit as module
from tests.chaos import storm
from tests.chaos.audit import (
    LARGE,
    Act,
    Call,
    Change,
    Confirmation,
    Facts,
    Forgery,
    Letter,
    Placement,
    Snapshot,
    Stored,
    audit,
    history,
)
from tests.chaos.plan import FORGERIES, UPDATES, Plan
from tests.chaos.report import document, text

# Shipped in the storm; swallowed by its carrier until it lay among the overdue; and whose answer was lost.
ONE, LATE, LOST_ANSWER = "one", "late", "lost-answer"
AT, LATER, FORGED = "2026-03-01T08:00:00Z", "2026-03-01T09:00:00Z", "1999-12-31T23:59:59Z"
OVERDUE = Letter("overdue", (LATE,), "Unconfirmed", final=False)
REFUSED = Letter("globex-failures", (ONE,), "Rejected: OtherCarriersOrder", final=True)
UNKNOWN = Letter("acme-failures", ("never-placed",), "UnknownOrderError", final=False)


def pending(carrier="globex", *, waiting=True):
    return Stored(carrier, "pending", None, waiting)


def shipped(at=AT, carrier="globex"):
    return Stored(carrier, "shipped", at, waiting=False)


def life(order_id, *, at=AT):
    return (
        Change(order_id, "INSERT", "pending", None),
        Change(order_id, "MODIFY", "pending", None),
        Change(order_id, "MODIFY", "shipped", at),
    )


WELL = Facts(
    planned=LARGE - 1,
    struck=dict.fromkeys(map(str, Kind), 1),
    updates=UPDATES,
    placements=(
        Placement("key-1", "globex", 500, None),
        Placement("key-1", "globex", 201, ONE),
        Placement("key-1", "globex", 200, ONE),
        Placement("key-2", "globex", 201, LATE),
        Placement(None, "acme", 0, None),
    ),
    changes=(*life(ONE), *life(LATE, at=LATER), *life(LOST_ANSWER)),
    calls=(
        Call("globex", ONE, ONE, "500", 500),
        Call("globex", ONE, ONE, "ok", 202),
        Call("globex", LATE, LATE, "never-confirm", 202),
        Call("acme", LOST_ANSWER, LOST_ANSWER, "ok", 202),
    ),
    acts=(Act("globex", ONE, ONE), Act("globex", LATE, LATE)),
    confirmations=(
        Confirmation("globex", ONE, AT),
        Confirmation("globex", ONE, LATER),
        Confirmation(None, ONE, FORGED),
        Confirmation("globex", LATE, LATER),
        Confirmation("acme", LOST_ANSWER, AT),
    ),
    forgeries=(Forgery("client", ONE, FORGED, 403, frozenset({403})),),
    contradictions=frozenset(),
    accountable=frozenset({"globex"}),
    redriven=frozenset({LATE}),
    mistakes=(),
    storm=Snapshot(
        settled=True,
        table={ONE: shipped(), LATE: pending(), LOST_ANSWER: shipped(carrier="acme")},
        letters=(REFUSED, UNKNOWN),
    ),
    swept=Snapshot(
        settled=True,
        table={ONE: shipped(), LATE: pending(waiting=False), LOST_ANSWER: shipped(carrier="acme")},
        letters=(REFUSED, UNKNOWN, OVERDUE),
    ),
    end=Snapshot(
        settled=True,
        table={ONE: shipped(), LATE: shipped(LATER), LOST_ANSWER: shipped(carrier="acme")},
        letters=(REFUSED, UNKNOWN),
    ),
)


# And one in which nothing may stay out.
LARGE_ONE = replace(
    WELL,
    planned=LARGE,
    calls=(*WELL.calls, *(Call("globex", ONE, ONE, mode, 202) for mode in MODES)),
    forgeries=(*WELL.forgeries, *(Forgery(kind, ONE, FORGED, 403, frozenset({403})) for kind in FORGERIES)),
    contradictions=frozenset({(ONE, LATER)}),
)


def but(**changes):
    """The storm in which all is well, but for this."""
    return replace(WELL, **changes)


def at(moment, *, letters=None, settled=True, **table):
    """A moment of it, in which these orders are otherwise stored, None for not at all."""
    known = getattr(WELL, moment)
    stored = {key: value for key, value in {**known.table, **table}.items() if value is not None}
    return {moment: Snapshot(settled=settled, table=stored, letters=known.letters if letters is None else letters)}


def broken(facts):
    return {(violation.promise, violation.order_id) for violation in audit(facts)}


def test_where_all_is_well_nothing_is_noticed():
    assert audit(WELL) == []
    assert audit(LARGE_ONE) == []


def test_a_carrier_without_a_ledger_that_confirmed_has_seen_the_order():
    mock, unaccountable = Placement("key-3", "acme", 201, LOST_ANSWER), WELL.calls[:3]
    facts = but(placements=(*WELL.placements[:4], mock), calls=unaccountable)
    assert broken(facts) == set()
    others = tuple(one for one in facts.confirmations if one.sender != "acme")
    assert (SEES, LOST_ANSWER) in broken(replace(facts, confirmations=others))
    # What the storm said in its name is no sign of it: not by a contradiction, not by a forgery.
    assert (SEES, LOST_ANSWER) in broken(replace(facts, contradictions=frozenset({(LOST_ANSWER, AT)})))
    forged = Forgery("malformed", LOST_ANSWER, AT, 202, frozenset({202}))
    assert (SEES, LOST_ANSWER) in broken(replace(facts, forgeries=(forged,)))
    assert WELL.lost == []


STORED_ONCE = "an order is stored once and ships once"
GENUINE = "an order ships at a time that its own carrier said"
FORGERY = "a forgery is turned away and leaves no trace"
STORM = "after the storm each order is shipped or waits or lies in a queue"
SWEPT = "after the sweeps each order is shipped or lies in a queue"
END = "at the end each order is shipped"
REDRIVE = "redrive leaves only what is refused for good"
REASON = "each message has its reason"
KEY = "a key is one order"
SEES = "a carrier sees each of its orders and no other"
ACTS = "a carrier acts once for each order"
STRANGE = "nobody has an order that nobody asked for"
STREAM = "the stream ends with what is stored"
REST = "everything came to rest"
OBSERVED = "there was a storm"
MISTAKE = "the local cloud made no mistake of its own"

NO_REASON = OVERDUE._replace(why="")

CASES = {
    "it was never stored": (but(**at("storm", late=None)), STORM, LATE),
    "it is pending, and no sweep would find it": (but(**at("storm", late=pending(waiting=False))), STORM, LATE),
    "only what was refused for good is about it": (
        but(**at("storm", late=pending(waiting=False), letters=(REFUSED._replace(orders=(LATE,)),))),
        STORM,
        LATE,
    ),
    "it still waits after the sweeps": (but(**at("swept", late=pending(), letters=())), SWEPT, LATE),
    "what was given up is refused for good": (
        but(**at("swept", letters=(OVERDUE._replace(final=True),))),
        SWEPT,
        LATE,
    ),
    "a redrive did not ship it": (but(**at("end", late=pending())), END, LATE),
    "it is gone": (but(**at("end", one=None)), END, ONE),
    "a message is left that could be redriven": (but(**at("end", letters=(OVERDUE,))), REDRIVE, LATE),
    "a message is left that nobody can read": (but(**at("end", letters=(OVERDUE._replace(orders=()),))), REDRIVE, None),
    "no reason in the storm": (but(**at("storm", letters=(NO_REASON,))), REASON, LATE),
    "no reason after the sweeps": (but(**at("swept", letters=(NO_REASON,))), REASON, LATE),
    "no reason at the end": (but(**at("end", letters=(REFUSED._replace(why=""),))), REASON, ONE),
    "a worker of the local cloud broke": (but(mistakes=("Exception in thread x",)), MISTAKE, None),
    "it moved in the storm": (but(**at("storm", settled=False)), REST, None),
    "it moved after the sweeps": (but(**at("swept", settled=False)), REST, None),
    "it moved at the end": (but(**at("end", settled=False)), REST, None),
    "it was stored twice": (
        but(changes=(*WELL.changes[:1], *WELL.changes)),
        STORED_ONCE,
        ONE,
    ),
    "it was removed": (but(changes=(*WELL.changes, Change(ONE, "REMOVE", None, None))), STORED_ONCE, ONE),
    "it was never inserted": (but(changes=WELL.changes[1:]), STORED_ONCE, ONE),
    "it was shipped when it was stored": (
        but(changes=(Change(ONE, "INSERT", "shipped", AT), *WELL.changes[3:])),
        STORED_ONCE,
        ONE,
    ),
    "it was shipped twice": (
        but(changes=(*WELL.changes, Change(ONE, "MODIFY", "shipped", LATER), Change(ONE, "MODIFY", "shipped", AT))),
        STORED_ONCE,
        ONE,
    ),
    "it was pending again": (
        but(changes=(*WELL.changes, Change(ONE, "MODIFY", "pending", None), Change(ONE, "MODIFY", "shipped", AT))),
        STORED_ONCE,
        ONE,
    ),
    "it was shipped at no time": (
        but(changes=(*WELL.changes[:2], WELL.changes[2]._replace(shipped_at=None), *WELL.changes[3:])),
        STORED_ONCE,
        ONE,
    ),
    "the stream was not read to its end": (but(changes=WELL.changes[:-1]), STREAM, LOST_ANSWER),
    "another carrier said the time": (
        but(confirmations=(Confirmation("initech", ONE, AT), *WELL.confirmations[1:])),
        GENUINE,
        ONE,
    ),
    "its carrier said another time": (but(confirmations=WELL.confirmations[1:]), GENUINE, ONE),
    "it shipped at the time of a forgery": (but(**at("end", one=shipped(FORGED))), GENUINE, ONE),
    "a forgery left a trace": (
        but(changes=(*WELL.changes, Change(ONE, "MODIFY", "shipped", FORGED), Change(ONE, "MODIFY", "shipped", AT))),
        FORGERY,
        ONE,
    ),
    "a forgery was taken": (but(forgeries=(WELL.forgeries[0]._replace(status=202),)), FORGERY, ONE),
    "there is an order too many": (but(**at("end", other=pending())), STRANGE, "other"),
    "a key has two orders": (
        but(placements=(*WELL.placements, Placement("key-1", "globex", 200, LATE))),
        KEY,
        min(ONE, LATE),
    ),
    "an order has two keys": (
        but(placements=(*WELL.placements, Placement("key-3", "globex", 200, ONE))),
        KEY,
        ONE,
    ),
    "an order was created twice": (
        but(placements=(*WELL.placements, Placement("key-1", "globex", 201, ONE))),
        KEY,
        ONE,
    ),
    "its carrier never saw it": (but(calls=(*WELL.calls[:2], WELL.calls[3])), SEES, LATE),
    "another carrier saw it": (but(calls=(*WELL.calls, Call("initech", ONE, ONE, "ok", 202))), SEES, ONE),
    "a carrier saw what is not there": (but(calls=(*WELL.calls, Call("globex", "x", "x", "ok", 202))), SEES, "x"),
    "its carrier acted twice": (but(acts=(*WELL.acts, Act("globex", "other-key", ONE))), ACTS, ONE),
    "its key was another": (but(acts=(Act("globex", "key-1", ONE), WELL.acts[1])), ACTS, ONE),
    "its carrier never acted": (but(acts=WELL.acts[:1]), ACTS, LATE),
    **{
        f"no {name} observed": (but(**{name: ()}), OBSERVED, None)
        for name in ("placements", "changes", "calls", "acts", "confirmations", "forgeries")
    },
}


# What a large storm must have had, and what is observed of one that had not.
_CALLS = LARGE_ONE.calls
LEFT_OUT = {
    "call came again": {"calls": [call for call in _CALLS if (call.carrier, call.key) != ("globex", ONE)]},
    "order was dead-lettered": at("swept", letters=(REFUSED, UNKNOWN)),
    "order was redriven": {"redriven": frozenset()},
    "carrier contradicted itself": {"contradictions": frozenset()},
    **{
        f"confirmation was forged of kind {kind}": {
            "forgeries": tuple(one for one in LARGE_ONE.forgeries if one.kind != kind)
        }
        for kind in FORGERIES
    },
    **{
        f"carrier was called in mode {mode}": {"calls": tuple(call for call in _CALLS if call.mode != mode)}
        for mode in MODES
    },
}


@pytest.mark.parametrize("what", LEFT_OUT)
def test_a_large_storm_leaves_nothing_out(what):
    def said(facts):
        return [violation.said for violation in audit(facts) if violation.promise == OBSERVED]

    assert f"no {what}" in said(replace(LARGE_ONE, **LEFT_OUT[what]))
    assert f"no {what}" not in said(replace(LARGE_ONE, **LEFT_OUT[what], planned=LARGE - 1))


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("struck", [{}, {"never": 0}], ids=["unknown", "never"])
def test_each_kind_of_fault_has_struck(kind, struck):
    others = {name: times for name, times in WELL.struck.items() if name != kind}
    never = {str(kind): times for times in struck.values()}
    assert [violation.said for violation in audit(but(struck={**others, **never}))] == [
        f"no fault of kind {kind} struck"
    ]


@pytest.mark.parametrize("update", UPDATES)
def test_each_update_was_made(update):
    made = tuple(one for one in UPDATES if one != update)
    assert [violation.said for violation in audit(but(updates=made))] == [f"no update was made of kind {update}"]


@pytest.mark.parametrize("holds", Holds)
def test_a_message_that_gives_no_reason_is_noticed(holds):
    queue = Queue(name="some", url="http://localhost/some", holds=holds, redrive_with="some", carrier=None)
    body = {"detail": {}, "requestPayload": {}, "responsePayload": {}, "requestContext": {}}
    message = {"MessageId": "1", "Attributes": {"SentTimestamp": "1772352000000"}, "Body": json.dumps(body)}
    # No stack is asked: the message names no position in a stream.
    letter = storm._letter(None, queue.name, read(queue, message))
    assert (REASON, None) in broken(but(**at("storm", letters=(letter,))))


def test_the_report_names_the_carrier_of_which_it_is_not_known_whether_it_acted_once():
    facts = but(confirmations=(*WELL.confirmations, Confirmation("acme", LOST_ANSWER, LATER)))
    told = document(Plan(seed=1, count=20), storm.Storm(facts=facts, seconds=1.0, turned_away={}, outcomes={}), [])
    assert told["acted_once"]["known_of"] == ["globex"]
    assert told["acted_once"]["unknown_of"]["acme"] == {"orders confirmed": 1, "at several times": 1}
    assert "unknown of acme: orders confirmed 1, at several times 1\n" in text(told)


@pytest.mark.parametrize("case", CASES)
def test_a_broken_promise_is_noticed(case):
    facts, promise, order_id = CASES[case]
    assert (promise, order_id) in broken(facts)


def test_each_promise_is_broken_by_a_case():
    promises = {check.__name__.lstrip("_").replace("_", " ") for check in module._PROMISES}
    assert promises == {promise for _, promise, _ in CASES.values()}
    assert len(promises) == len(module._PROMISES) > 10


def test_an_answer_that_was_lost_explains_one_order():
    lost = Placement("key-3", "globex", 500, None)
    facts = but(placements=(*WELL.placements, lost, lost), **at("end", other=pending()))
    assert STRANGE not in {promise for promise, _ in broken(facts)}
    facts = but(placements=(*WELL.placements, lost, lost), **at("end", other=pending(), third=pending()))
    assert STRANGE in {promise for promise, _ in broken(facts)}


def test_an_order_of_which_nothing_is_known_is_lost_and_one_in_a_queue_is_not():
    assert but(**at("end", late=pending(waiting=True))).lost == [LATE]
    assert but(**at("end", late=None)).lost == [LATE]
    assert but(**at("end", late=pending(), letters=(OVERDUE,))).lost == []
    assert but(**at("end", late=pending(), letters=(OVERDUE._replace(final=True),))).lost == [LATE]


def test_an_orders_history_has_all_that_is_known_of_it():
    told = "\n".join(history(WELL, ONE))
    for kind in ("placed:", "streamed:", "called:", "acted:", "on the bus:", "forged:", "storm:", "swept:", "end:"):
        assert kind in told
    assert "OtherCarriersOrder" in told
    assert LATE not in told
