"""The commands of `python -m ops`: dead letters, orders, and how a deployed stack is, on AWS or on this machine."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict
from datetime import UTC, datetime
from enum import IntEnum
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer
from botocore.exceptions import BotoCoreError, ClientError

from handlers.orders import is_order_id
from ops.health import Gaps, Health, health
from ops.letters import Letter, StreamPosition, Unreadable
from ops.mailbox import Mailbox, with_others
from ops.orders import Order, Orders
from ops.policy import operator_policy
from ops.redrive import Outcome, Redriver, Result
from ops.smoke import Step, session
from ops.stack import Queue, RefusedError, Stack, opened
from ops.stream import ForeignStreamError, orders_at
from sandbox.client import Client

_EXIT_CODES = """
Exit codes: 0 all is well or done; 1 something is left to do, or AWS has failed; 2 the command is wrong or does not fit
the stack, the account or the region, and nothing was done.
"""


class Exit(IntEnum):
    LEFT = 1
    """Something is left to do, or AWS has failed."""
    REFUSED = 2
    """Nothing was done. Typer uses the same number for a wrong command line."""


app = typer.Typer(help="Operate a deployed stack.", epilog=_EXIT_CODES, no_args_is_help=True, add_completion=False)
dlq = typer.Typer(help="What could not be delivered or applied.", epilog=_EXIT_CODES, no_args_is_help=True)
app.add_typer(dlq, name="dlq")

Name = Annotated[str, typer.Option("--stack", help="The stack: local is the one of `make up`.")]
Outputs = Annotated[
    Path | None, typer.Option(help="A file with its `pulumi stack output --json`, instead of asking pulumi.")
]
State = Annotated[Path | None, typer.Option(help="Folder of the local cloud; build/state/local.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]
OneQueue = Annotated[str, typer.Argument(metavar="QUEUE", help="Its name, as `dlq list` shows it.")]


@contextmanager
def _explained() -> Generator[None]:
    """What a person can mend is said in one line, without a traceback."""
    try:
        yield
    except RefusedError as error:
        print(_plain(str(error)), file=sys.stderr)
        raise typer.Exit(Exit.REFUSED) from error
    except (BotoCoreError, ClientError) as error:
        print(_plain(f"AWS: {error}"), file=sys.stderr)
        raise typer.Exit(Exit.LEFT) from error


# --- dead letters -----------------------------------------------------------------------------------------------------


@dlq.command(name="list")
def list_queues(
    *,
    queue: Annotated[str | None, typer.Argument(help="List the messages of this queue.")] = None,
    stack: Name = "local",
    outputs: Outputs = None,
    state: State = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many messages.")] = 100,
    as_json: AsJson = False,
) -> None:
    """List the queues and how many messages they hold, or the messages of one."""
    with _explained():
        chosen = opened(stack, outputs=outputs, state=state)
        if queue is None:
            rows = [_depth(chosen, one) for one in chosen.exports.queues]
            _tell(rows, map(_depth_line, rows), as_json=as_json)
            return
        letters = _letters(chosen, chosen.exports.queue(queue), limit)
        _tell([_summary(letter) for letter in letters], map(_line, letters), as_json=as_json)


@dlq.command()
def show(
    *,
    queue: OneQueue,
    message: Annotated[str | None, typer.Argument(help="The id of one message.")] = None,
    stack: Name = "local",
    outputs: Outputs = None,
    state: State = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many messages.")] = 10,
    as_json: AsJson = False,
) -> None:
    """Show messages as a whole; of a pipe's, also the orders at their position of the stream."""
    with _explained():
        chosen = opened(stack, outputs=outputs, state=state)
        letters = _letters(chosen, chosen.exports.queue(queue), None if message else limit, only=message)
        shown = [{**_summary(letter), **_whole(letter), "orders": _orders_of(chosen, letter)} for letter in letters]
        _tell(shown, (json.dumps(one, indent=2) for one in shown), as_json=as_json)


@dlq.command()
def redrive(
    *,
    queue: Annotated[str | None, typer.Argument(help="Its name, as `dlq list` shows it.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Redrive all queues.")] = False,
    message: Annotated[str | None, typer.Option(help="Only the message with this id.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done; change nothing.")] = False,
    discard: Annotated[bool, typer.Option("--discard", help="Delete what can't be redriven.")] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many messages of each queue.")] = None,
    stack: Name = "local",
    outputs: Outputs = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Give messages another try, and delete each once it succeeded.

    What is shipped already is deleted, what can't be redriven stays with the reason. Exits with 1 if anything stays, is
    rejected into another queue, or is with another reader.
    """
    with _explained():
        if (queue is None) is not every:
            raise RefusedError("name a queue, or say --all")
        if queue is None and (message or discard):
            raise RefusedError("--message and --discard need the name of a queue")
        chosen = opened(stack, outputs=outputs, state=state)
        queues = [chosen.exports.queue(queue)] if queue else list(chosen.exports.queues)
        redriver = Redriver(chosen)
        results: list[tuple[Queue, Result]] = []
        error, elsewhere = None, Counter[str]()
        try:
            others = _in_flight(chosen, queues)
            for one in queues:
                for result in redriver.run(one, limit=limit, only=message, dry=dry_run, discard=discard):
                    results.append((one, result))
                    _tell_now(_result_line(one, result, dry=dry_run), as_json=as_json)
            # What was in flight before and is now: SQS counts this command's own messages for a while.
            elsewhere = Counter[str]() if message else others & _in_flight(chosen, queues)
        except (BotoCoreError, ClientError) as failure:
            error = f"AWS: {failure}"
        if message and not results and not error:
            raise RefusedError(_not_there(message, queue or ""))
        counts = Counter(result.outcome for _, result in results)
        totals = {outcome.value: counts[outcome] for outcome in Outcome}
        listed = [{"queue": one.name, **_result(result)} for one, result in results]
        said = ", ".join(f"{count} {'would be ' if dry_run else ''}{name}" for name, count in totals.items())
        document = {"dry_run": dry_run, **totals, "in_flight": elsewhere, "error": error, "messages": listed}
        held = (f"{name} {with_others(count)}" for name, count in elsewhere.items())
        _tell(document, [*held, said], as_json=as_json)
        if error:
            print(_plain(error), file=sys.stderr)
        if error or elsewhere or counts[Outcome.KEPT] or counts[Outcome.REJECTED]:
            raise typer.Exit(Exit.LEFT)


# --- the rest ---------------------------------------------------------------------------------------------------------


@app.command(name="order")
def show_order(
    *,
    order_id: Annotated[str, typer.Argument(metavar="ID", help="The id of an order.")],
    stack: Name = "local",
    outputs: Outputs = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Show an order's life with its times: the table, the functions' logs, and the queues it lies in.

    Exits with 1 if there is no such order, or if it lies in a queue.
    """
    with _explained():
        chosen = opened(stack, outputs=outputs, state=state)
        if not is_order_id(order_id):
            raise RefusedError(f"{order_id} is not the id of an order")
        unreadable = Gaps()
        orders = Orders(chosen)
        order = orders.read(order_id)
        log = (unreadable.unless("logs", lambda: orders.lines(order)) if order else None) or []
        found = _lying(chosen, order_id)
        document = {
            "order": asdict(order) if order else None,
            "log": [asdict(line) for line in log],
            "queues": [{"queue": one.name, **_summary(letter)} for one, letter in found],
            "unreadable": unreadable,
        }
        said = [
            _order_line(order, order_id),
            *(f"  {line.at} {line.service:<42} {line.message}" for line in log),
            *(f"  in {one.name}: {_line(letter)}" for one, letter in found),
            *_unread(unreadable),
        ]
        _tell(document, said, as_json=as_json)
        if order is None or found:
            raise typer.Exit(Exit.LEFT)


@app.command()
def status(
    *,
    stack: Name = "local",
    outputs: Outputs = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Show queues, pipe, rules, alarms and how many orders wait. What the credentials can't see is said.

    Exits with 1 if anything is to do: a message in a queue, a pipe or a rule in another state than it was deployed in,
    an alarm, an order past its time.
    """
    with _explained():
        chosen = opened(stack, outputs=outputs, state=state)
        found = health(chosen, datetime.now(UTC))
        where = {"stack": chosen.name, "account": chosen.exports.account, "region": chosen.exports.region}
        _tell({**where, **asdict(found)}, _health_lines(chosen, found), as_json=as_json)
        if found.to_do:
            raise typer.Exit(Exit.LEFT)


@app.command()
def smoke(
    *,
    stack: Name = "local",
    outputs: Outputs = None,
    state: State = None,
    carrier: Annotated[str | None, typer.Option(help="Which carrier; the first by default.")] = None,
    client_role: Annotated[str | None, typer.Option(help="ARN of a role to assume that may place orders.")] = None,
    within: Annotated[float, typer.Option(min=0, help="Seconds until it has to be shipped.")] = 60,
    as_json: AsJson = False,
) -> None:
    """Place one real order as a client, see forgers turned away, and wait until it is shipped; 1 if a step fails."""
    with _explained():
        chosen = opened(stack, outputs=outputs, state=state)
        client = Client(
            url=chosen.exports.api_url,
            region=chosen.exports.region,
            credentials=chosen.client_credentials(client_role),
        )
        steps: list[Step] = []
        for step in session(client, carrier=carrier, within=within):
            steps.append(step)
            _tell_now(f"{'ok    ' if step.passed else 'FAILED'} {step.what}: {step.seen}", as_json=as_json)
        passed = all(step.passed for step in steps)
        _tell({"passed": passed, "steps": [asdict(step) for step in steps]}, [], as_json=as_json)
        if not passed:
            raise typer.Exit(Exit.LEFT)


@app.command()
def policy(*, stack: Name = "local", outputs: Outputs = None, state: State = None) -> None:
    """Print the IAM policy with the least that an operator of this stack needs, as JSON."""
    with _explained():
        print(json.dumps(operator_policy(opened(stack, outputs=outputs, state=state).exports), indent=2))


# --- what is read -----------------------------------------------------------------------------------------------------


def _depth(stack: Stack, queue: Queue) -> dict[str, Any]:
    depth = Mailbox(queue, stack.client("sqs")).depth()
    return {"queue": queue.name, "holds": queue.holds.value, **asdict(depth)}


def _in_flight(stack: Stack, queues: Iterable[Queue]) -> Counter[str]:
    """By queue, how many messages are with a reader."""
    sqs = stack.client("sqs")
    return Counter({queue.name: Mailbox(queue, sqs).depth().in_flight for queue in queues})


def _letters(stack: Stack, queue: Queue, limit: int | None, *, only: str | None = None) -> list[Letter]:
    with Mailbox(queue, stack.client("sqs")).opened() as messages:
        letters = (letter for batch in messages.batches(limit) for letter in batch)
        if only is None:
            return list(letters)
        found = list(islice((letter for letter in letters if letter.id == only), 1))
    if not found:
        raise RefusedError(_not_there(only, queue.name))
    return found


def _lying(stack: Stack, order_id: str) -> list[tuple[Queue, Letter]]:
    """The messages about an order, wherever they lie."""

    def of(queue: Queue) -> list[tuple[Queue, Letter]]:
        letters = _letters(stack, queue, None)
        return [(queue, letter) for letter in letters if order_id in _orders_of(stack, letter)]

    stack.client("dynamodbstreams")
    with ThreadPoolExecutor(len(stack.exports.queues)) as pool:
        return [one for found in pool.map(of, stack.exports.queues) for one in found]


def _orders_of(stack: Stack, letter: Letter) -> list[str]:
    if isinstance(letter.subject, StreamPosition):
        with suppress(ForeignStreamError):
            return orders_at(stack, letter.subject) or []
    return [letter.order_id] if letter.order_id else []


def _not_there(message: str, queue: str) -> str:
    return f"there is no message {message} in {queue}, or somebody else reads it right now"


# --- what is said -----------------------------------------------------------------------------------------------------


def _tell(document: Any, lines: Iterable[str], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(document, indent=2))
    else:
        for line in lines:
            print("\n".join(map(_plain, line.split("\n"))))


def _tell_now(line: str, *, as_json: bool) -> None:
    """A line before the whole is known; a document comes at the end."""
    if not as_json:
        print(_plain(line))


def _summary(letter: Letter) -> dict[str, Any]:
    return {
        "id": letter.id,
        "sent_at": letter.sent_at,
        "order_id": letter.order_id,
        "rejected": letter.rejected,
        "why": letter.why,
    }


def _whole(letter: Letter) -> dict[str, Any]:
    unread = letter.subject.reason if isinstance(letter.subject, Unreadable) else None
    return {"unreadable": unread, "attributes": dict(letter.attributes), "body": letter.body}


def _result(result: Result) -> dict[str, Any]:
    return {
        "id": result.letter.id,
        "orders": list(result.orders),
        "outcome": result.outcome.value,
        "reason": result.reason,
    }


def _depth_line(row: Mapping[str, Any]) -> str:
    elsewhere = f"; {with_others(row['in_flight'])}" if row["in_flight"] else ""
    return f"{row['queue']:<30} {row['messages']:>6}  {row['holds']}{elsewhere}"


def _line(letter: Letter) -> str:
    return f"{letter.sent_at} {letter.id} {letter.order_id or '-':<36} {letter.why or 'no reason is given'}"


def _result_line(queue: Queue, result: Result, *, dry: bool) -> str:
    would = "would be " if dry else ""
    orders = ", ".join(result.orders)
    return f"{queue.name} {result.letter.id} {would}{result.outcome}: {' '.join(filter(None, (orders, result.reason)))}"


def _order_line(order: Order | None, order_id: str) -> str:
    if order is None:
        return f"there is no order {order_id}"
    since = f", waiting since {order.pending_since}" if order.pending_since else ", given up on"
    again = f", sent again {order.reemissions} times" if order.reemissions else ""
    now = f"shipped at {order.shipped_at}" if order.shipped_at else f"{order.state}{since}{again}"
    return f"order {order_id} of {order.carrier}, placed at {order.created_at}: {now}"


def _health_lines(stack: Stack, found: Health) -> Iterator[str]:
    yield f"stack {stack.name} in account {stack.exports.account}, {stack.exports.region}"
    if found.orders:
        yield f"  orders  {found.orders.pending} pending, {found.orders.overdue} past their time"
    for name, depth in (found.queues or {}).items():
        yield f"  queue   {name:<32} {depth.messages}"
    if found.pipe:
        yield f"  pipe    {found.pipe.state}"
    for rule, now in (found.rules or {}).items():
        yield f"  rule    {rule:<56} {now}"
    yield from _unread(found.unreadable)
    yield from (f"to do: {what}" for what in found.to_do)


def _unread(unreadable: Mapping[str, str]) -> Iterator[str]:
    return (f"  {what} can't be read: {why}" for what, why in unreadable.items())


def _plain(text: str) -> str:
    """Without what would steer a terminal: a part of it was written by others."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
