"""`forwarder rerun`"""

import asyncio
from typing import Annotated

import typer

from forwarder.cli.output import echo
from forwarder.cli.source import ask
from forwarder.errors import LedgerError, UsageError
from forwarder.ledger import open_ledger
from forwarder.model import Feed
from forwarder.settings import Place, load_local


def rerun(
    context: typer.Context,
    execution_id: Annotated[str, typer.Argument(metavar="EXECUTION_ID")],
    workflow: Annotated[str | None, typer.Option(help="Its workflow, where the ledger does not know it.")] = None,
    user: Annotated[str | None, typer.Option(help="The user it ran for.")] = None,
) -> None:
    """Ask Alloy to run an execution again.

    Example: forwarder rerun 6daaa0cf1a3daa6c41b5-ef
    """
    feed = Feed(workflow, user) if workflow else _known(context.obj, execution_id, user)
    said = ask(context, lambda client, _: client.rerun(feed, execution_id))
    echo(f"asked for another run of {execution_id} of workflow {feed}: {said}")


def _known(place: Place, execution_id: str, user: str | None) -> Feed:
    try:
        feed = asyncio.run(_find(place, execution_id))
    except LedgerError:
        feed = None
    if feed is None:
        raise UsageError(f"the ledger does not know {execution_id}", hint="name its workflow with --workflow")
    return Feed(feed.workflow_id, user or feed.user_id)


async def _find(place: Place, execution_id: str) -> Feed | None:
    async with open_ledger(place, load_local(place)) as ledger:
        return await ledger.find(execution_id)
