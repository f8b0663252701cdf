"""What a storm was and how it ended, in figures: as a document and as text."""

from __future__ import annotations

from collections import Counter
from typing import Any

from tests.chaos.audit import Facts, Snapshot, Violation, history
from tests.chaos.plan import CARRIERS, Plan
from tests.chaos.storm import Storm

# Histories are long; the document has all of them.
_MOST_TOLD = 10


def document(plan: Plan, storm: Storm, violations: list[Violation]) -> dict[str, Any]:
    """All figures, and of each broken promise the order's history; JSON."""
    facts = storm.facts
    statuses = Counter(str(placement.status) for placement in facts.placements)
    return {
        "seed": plan.seed,
        "seconds": round(storm.seconds, 1),
        "orders": plan.count,
        "accepted": len(facts.accepted),
        "requests": {"total": len(facts.placements), **dict(sorted(statuses.items()))},
        "faults": facts.struck,
        "updates": list(facts.updates),
        "carriers": {
            "calls": len(facts.accounted),
            "duplicates": facts.duplicates,
            "misbehaved": _counted(call.mode for call in facts.accounted if call.mode != "ok"),
            "turned_away": sum(storm.turned_away.values()),
            "acts": len(facts.acts),
        },
        "acted_once": {"known_of": sorted(facts.accountable), "unknown_of": _unaccountable(facts)},
        "confirmations": len(facts.confirmations),
        "forged": _counted(forgery.kind for forgery in facts.forgeries),
        "contradicted": len(facts.contradictions),
        "storm": _figures(facts.storm),
        "swept": _figures(facts.swept),
        "end": _figures(facts.end),
        "dead_lettered": len(facts.dead_lettered),
        "redrive": storm.outcomes,
        "redriven": len(facts.redriven),
        "lost": len(facts.lost),
        "violations": [violation._asdict() for violation in violations],
        "histories": {order_id: history(facts, order_id) for order_id in _named(violations)},
    }


def text(told: dict[str, Any]) -> str:
    """The document for people."""
    carriers = told["carriers"]
    lines = [
        f"seed {told['seed']}: {told['orders']} orders, {told['accepted']} accepted, in {told['seconds']:.0f} s",
        f"  requests       {_list(told['requests'])}",
        f"  faults         {_list(told['faults'])}",
        f"  changed        {', '.join(told['updates'])}",
        f"  own carriers   {_list({said: carriers[name] for name, said in _CARRIER_FIGURES.items()})}",
        f"  misbehaved     {_list(carriers['misbehaved'])}",
        f"  acted once     known of {', '.join(told['acted_once']['known_of'])}",
        *(
            f"                 unknown of {name}: {_list(seen)}"
            for name, seen in told["acted_once"]["unknown_of"].items()
        ),
        f"  confirmations  {told['confirmations']} on the bus, {told['contradicted']} that contradict their carrier",
        f"  forged         {_list(told['forged'])}",
        *(f"  {name:<14} {_list(told[moment])}" for name, moment in _MOMENTS.items()),
        f"  dead-lettered  {told['dead_lettered']} orders; redrive: {_list(told['redrive'])}",
        f"  redriven       {told['redriven']} orders",
        f"  lost           {told['lost']}",
    ]
    lines += [f"BROKEN {v['promise']}: {v['order_id'] or '-'}: {v['said']}" for v in told["violations"]]
    for order_id, facts in list(told["histories"].items())[:_MOST_TOLD]:
        lines += [f"order {order_id}", *(f"  {fact}" for fact in facts)]
    lines.append(f"{len(told['violations'])} promises broken" if told["violations"] else "every promise was kept")
    return "\n".join(lines)


_CARRIER_FIGURES = {"calls": "calls", "duplicates": "duplicates", "acts": "acts", "turned_away": "turned away"}
_MOMENTS = {"after it": "storm", "after sweeps": "swept", "at the end": "end"}


def _unaccountable(facts: Facts) -> dict[str, dict[str, int]]:
    """Of each carrier that forgets what it did: the orders that it confirmed, and those at more than one time."""
    found: dict[str, dict[str, int]] = {}
    for name in sorted({*CARRIERS} - facts.accountable):
        times = [len(said) for (carrier, _), said in facts.said.items() if carrier == name]
        found[name] = {"orders confirmed": len(times), "at several times": sum(count > 1 for count in times)}
    return found


def _figures(snapshot: Snapshot) -> dict[str, int]:
    states = _counted(stored.state for stored in snapshot.table.values())
    queues = _counted(f"in {letter.queue}" for letter in snapshot.letters if not letter.final)
    return {**states, **queues, "refused for good": sum(letter.final for letter in snapshot.letters)}


def _named(violations: list[Violation]) -> list[str]:
    return list(dict.fromkeys(violation.order_id for violation in violations if violation.order_id))


def _counted(names: Any) -> dict[str, int]:
    return dict(sorted(Counter(names).items()))


def _list(figures: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in figures.items()) or "none"
