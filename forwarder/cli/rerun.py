"""The command `forwarder rerun`."""

import asyncio
from typing import Annotated

import typer

from forwarder.cli._logs_client import call_logs_api
from forwarder.cli.output import echo
from forwarder.errors import LedgerError, UsageError
from forwarder.ledger import open_ledger
from forwarder.model import Feed
from forwarder.settings import ConfigSource, load_local


def rerun(
    context: typer.Context,
    execution_id: Annotated[str, typer.Argument(metavar="EXECUTION_ID")],
    workflow: Annotated[
        str | None, typer.Option(help="Workflow of the execution, if the ledger does not know it.")
    ] = None,
    user: Annotated[str | None, typer.Option(help="User for whom the execution ran.")] = None,
) -> None:
    """Request another run of an execution from Alloy.

    Example: forwarder rerun 6daaa0cf1a3daa6c41b5-ef
    """
    feed = Feed(workflow, user) if workflow else _recorded_feed(context.obj, execution_id, user)
    response = call_logs_api(context, lambda client, _: client.rerun(feed, execution_id))
    echo(f"requested another run of {execution_id} of workflow {feed}: {response}")


def _recorded_feed(config_source: ConfigSource, execution_id: str, user: str | None) -> Feed:
    try:
        feed = asyncio.run(_find_feed(config_source, execution_id))
    except LedgerError:
        feed = None
    if feed is None:
        raise UsageError(f"the ledger does not know {execution_id}", hint="name its workflow with --workflow")
    return Feed(feed.workflow_id, user or feed.user_id)


async def _find_feed(config_source: ConfigSource, execution_id: str) -> Feed | None:
    async with open_ledger(config_source, load_local(config_source)) as ledger:
        return await ledger.find_feed(execution_id)
