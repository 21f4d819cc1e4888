"""`forwarder dead list | show | retry | purge`"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

import msgspec
import typer

from forwarder.cli.output import AsJson, echo, print_json, print_table, shown
from forwarder.errors import UsageError
from forwarder.ledger import DeadLetter, Ledger, open_ledger
from forwarder.settings import Place, load_local

app = typer.Typer(
    name="dead", no_args_is_help=True, help="The dead letters: entries that the bus will not accept as they are."
    "\n\nExample: forwarder dead list",
)  # fmt: skip

T = TypeVar("T")
Ids = Annotated[list[str] | None, typer.Argument(metavar="ID…", help="Their executionIds.")]
All = Annotated[bool, typer.Option("--all", help="All of them.")]


@app.command("list")
def list_(context: typer.Context, *, as_json: AsJson = False) -> None:
    """All dead letters, oldest first.

    Example: forwarder dead list --json
    """
    letters = _with_ledger(context, lambda ledger: ledger.dead_letters())
    if as_json:
        print_json([_summary(letter) for letter in letters])
        return
    if not letters:
        echo("no dead letters")
        return
    print_table(
        ("execution", "workflow", "died at", "code", "reason"),
        [
            (
                letter.entry.execution_id,
                str(letter.entry.feed),
                shown(letter.died_at),
                letter.code,
                letter.reason,
            )
            for letter in letters
        ],
        texts=("reason",),
    )


@app.command()
def show(context: typer.Context, execution_id: Annotated[str, typer.Argument(metavar="ID")]) -> None:
    """One dead letter whole, as JSON: its reason, the code and time of each attempt, and the event's detail.

    Of very many attempts the first and the last are kept, and those between them counted.

    Example: forwarder dead show 6daaa0cf1a3daa6c41b5-ef
    """
    letter = _with_ledger(context, lambda ledger: ledger.dead_letter(execution_id))
    if letter is None:
        raise UsageError(f"no dead letter has the executionId {execution_id}", hint="`forwarder dead list`")
    print_json(
        {
            **_summary(letter),
            "attempts": letter.attempts,
            "attempts_left_out": letter.left_out,
            "time": letter.entry.time,
            "detail": msgspec.Raw(letter.entry.detail),
        }
    )


@app.command()
def retry(context: typer.Context, execution_ids: Ids = None, *, all_: All = False) -> None:
    """Owe them to the bus again. A running forwarder notices within a second.

    Example: forwarder dead retry --all
    """
    chosen = _chosen(execution_ids, all_=all_)
    missing = _missing(context, chosen)
    count = _with_ledger(context, lambda ledger: ledger.retry_dead(chosen, now=datetime.now(UTC)))
    _tell(count, missing, "owed again")


@app.command()
def purge(context: typer.Context, execution_ids: Ids = None, *, all_: All = False) -> None:
    """Drop them for good. Their executionIds stay known, so they are not sent again.

    Example: forwarder dead purge 6daaa0cf1a3daa6c41b5-ef
    """
    chosen = _chosen(execution_ids, all_=all_)
    missing = _missing(context, chosen)
    _tell(_with_ledger(context, lambda ledger: ledger.purge_dead(chosen)), missing, "purged")


def _with_ledger(context: typer.Context, work: Callable[[Ledger], Awaitable[T]]) -> T:
    place: Place = context.obj

    async def open_and_work() -> T:
        async with open_ledger(place, load_local(place)) as ledger:
            return await work(ledger)

    return asyncio.run(open_and_work())


def _chosen(execution_ids: list[str] | None, *, all_: bool) -> list[str] | None:
    if bool(execution_ids) == all_:
        raise UsageError("name the executionIds, or say --all")
    return None if all_ else execution_ids


def _missing(context: typer.Context, chosen: list[str] | None) -> list[str]:
    dead = {letter.entry.execution_id for letter in _with_ledger(context, lambda ledger: ledger.dead_letters())}
    return [execution_id for execution_id in dict.fromkeys(chosen or []) if execution_id not in dead]


def _tell(count: int, missing: list[str], what: str) -> None:
    echo(f"{count} {what}")
    if missing:
        raise UsageError(f"no dead letter has the executionId {', '.join(missing)}", hint="`forwarder dead list`")


def _summary(letter: DeadLetter) -> dict[str, Any]:
    return {
        "execution_id": letter.entry.execution_id,
        "workflow_id": letter.entry.feed.workflow_id,
        "user_id": letter.entry.feed.user_id,
        "code": letter.code,
        "reason": letter.reason,
        "recorded_at": letter.recorded_at,
        "died_at": letter.died_at,
        "attempted": letter.attempted,
    }
