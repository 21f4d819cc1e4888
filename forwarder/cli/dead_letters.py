"""The commands `forwarder dead-letters list | show | retry | purge`."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

import msgspec
import typer

from forwarder.cli.output import JsonOption, echo, format_time, print_json, print_table
from forwarder.errors import UsageError
from forwarder.event_search import MAX_SEARCHED_ENTRIES, search
from forwarder.ledger import DeadLetter, EntryFilter, Ledger, open_ledger
from forwarder.settings import ConfigSource, load_local

app = typer.Typer(
    name="dead-letters",
    no_args_is_help=True,
    help="The dead letters: entries that the bus has refused for good.\n\nExample: forwarder dead-letters list",
)

T = TypeVar("T")
IdsArgument = Annotated[list[str] | None, typer.Argument(metavar="ID…", help="executionIds of dead letters.")]
AllOption = Annotated[bool, typer.Option("--all", help="All dead letters.")]
WorkflowOption = Annotated[str | None, typer.Option(help="Only dead letters of this workflow.")]
TextOption = Annotated[
    str | None, typer.Option("--text", help="Only dead letters with this text in the error, the reason or an id.")
]


@app.command("list")
def list_(
    context: typer.Context, workflow: WorkflowOption = None, text: TextOption = None, *, as_json: JsonOption = False
) -> None:
    """List the dead letters, oldest first. A text is searched in the newest 1,000.

    Example: forwarder dead-letters list --workflow 64f1a2 --text timeout
    """
    dead_letters = _with_ledger(context, lambda ledger: _matching(ledger, workflow, text))
    if as_json:
        print_json([_summary(dead_letter) for dead_letter in dead_letters])
        return
    if not dead_letters:
        echo("no dead letters" if workflow is None and text is None else "no dead letter matches")
        return
    print_table(
        ("execution", "workflow", "died at", "code", "reason"),
        [
            (
                dead_letter.entry.execution_id,
                str(dead_letter.entry.feed),
                format_time(dead_letter.died_at),
                dead_letter.code,
                dead_letter.reason,
            )
            for dead_letter in dead_letters
        ],
        texts=("reason",),
    )


@app.command()
def show(context: typer.Context, execution_id: Annotated[str, typer.Argument(metavar="ID")]) -> None:
    """Print a dead letter as JSON: its reason, the code and time of each attempt, and the event's detail.

    If there were very many attempts, the first and the last are kept and the others are counted.

    Example: forwarder dead-letters show 6daaa0cf1a3daa6c41b5-ef
    """
    dead_letter = _with_ledger(context, lambda ledger: ledger.dead_letter(execution_id))
    if dead_letter is None:
        raise UsageError(f"no dead letter has the executionId {execution_id}", hint="`forwarder dead-letters list`")
    print_json(
        {
            **_summary(dead_letter),
            "attempts": dead_letter.attempts,
            "omitted_attempts": dead_letter.omitted_attempts,
            "time": dead_letter.entry.time,
            "detail": msgspec.Raw(dead_letter.entry.detail),
        }
    )


@app.command()
def retry(
    context: typer.Context,
    execution_ids: IdsArgument = None,
    workflow: WorkflowOption = None,
    text: TextOption = None,
    *,
    all_: AllOption = False,
) -> None:
    """Make dead letters pending again. A running daemon notices them within a second.

    --workflow and --text select those that `dead-letters list` lists with the same options.

    Example: forwarder dead-letters retry --workflow 64f1a2
    """
    if workflow is not None or text is not None:
        if execution_ids or all_:
            raise UsageError("--workflow and --text exclude --all and executionIds")
        found = _with_ledger(context, lambda ledger: _matching(ledger, workflow, text))
        execution_ids, all_ = [each.entry.execution_id for each in found], False
        if not execution_ids:
            echo("no dead letter matches")
            return
    selected_ids = _selected_ids(execution_ids, all_=all_)
    missing_ids = _missing_ids(context, selected_ids)
    count = _with_ledger(context, lambda ledger: ledger.retry_dead_letters(selected_ids, now=datetime.now(UTC)))
    _print_result(count, missing_ids, "pending again")


@app.command()
def purge(
    context: typer.Context,
    execution_ids: IdsArgument = None,
    *,
    all_: AllOption = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
) -> None:
    """Delete dead letters. Their executionIds stay recorded, so they are not sent again. --all asks first.

    Example: forwarder dead-letters purge 6daaa0cf1a3daa6c41b5-ef
    """
    selected_ids = _selected_ids(execution_ids, all_=all_)
    missing_ids = _missing_ids(context, selected_ids)
    if selected_ids is None and not yes:
        # Only the letters that are counted here are purged: others may be added while the question waits.
        selected_ids = [each.entry.execution_id for each in _with_ledger(context, lambda ledger: ledger.dead_letters())]
        _confirm_purge(len(selected_ids))
    _print_result(_with_ledger(context, lambda ledger: ledger.purge_dead_letters(selected_ids)), missing_ids, "purged")


async def _matching(ledger: Ledger, workflow: str | None, text: str | None) -> list[DeadLetter]:
    """Return the dead letters of a workflow that contain a text, oldest first; without both, all."""
    dead_letters = await ledger.dead_letters()
    if workflow is not None:
        dead_letters = [each for each in dead_letters if each.entry.feed.workflow_id == workflow]
    if text is None:
        return dead_letters
    found = await search(ledger, EntryFilter("dead", workflow), text)
    if found.is_truncated:
        echo(f"older ones than the newest {MAX_SEARCHED_ENTRIES:,} were not searched", err=True)
    found_ids = {each.entry.execution_id for each in found.entries}
    return [each for each in dead_letters if each.entry.execution_id in found_ids]


def _confirm_purge(count: int) -> None:
    if count and not sys.stdin.isatty():
        raise UsageError("standard input is no terminal, so nobody can confirm", hint="give --yes")
    if count:
        typer.confirm(f"purge {count} dead letter{'' if count == 1 else 's'} for good?", abort=True)


def _with_ledger(context: typer.Context, operation: Callable[[Ledger], Awaitable[T]]) -> T:
    config_source: ConfigSource = context.obj

    async def open_and_run() -> T:
        async with open_ledger(config_source, load_local(config_source)) as ledger:
            return await operation(ledger)

    return asyncio.run(open_and_run())


def _selected_ids(execution_ids: list[str] | None, *, all_: bool) -> list[str] | None:
    if execution_ids and all_:
        raise UsageError("--all excludes executionIds")
    if not execution_ids and not all_:
        raise UsageError("name the executionIds, or give --all")
    return None if all_ else execution_ids


def _missing_ids(context: typer.Context, selected_ids: list[str] | None) -> list[str]:
    known_ids = {
        dead_letter.entry.execution_id for dead_letter in _with_ledger(context, lambda ledger: ledger.dead_letters())
    }
    return [execution_id for execution_id in dict.fromkeys(selected_ids or []) if execution_id not in known_ids]


def _print_result(count: int, missing_ids: list[str], new_state: str) -> None:
    echo(f"{count} {new_state}")
    if missing_ids:
        raise UsageError(
            f"no dead letter has the executionId {', '.join(missing_ids)}", hint="`forwarder dead-letters list`"
        )


def _summary(dead_letter: DeadLetter) -> dict[str, Any]:
    return {
        "execution_id": dead_letter.entry.execution_id,
        "workflow_id": dead_letter.entry.feed.workflow_id,
        "user_id": dead_letter.entry.feed.user_id,
        "code": dead_letter.code,
        "reason": dead_letter.reason,
        "recorded_at": dead_letter.recorded_at,
        "died_at": dead_letter.died_at,
        "attempt_count": dead_letter.attempt_count,
    }
