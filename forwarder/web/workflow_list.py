"""The workflows that the logs API lists, to choose from. The key is the one in the form, or the stored one."""

import asyncio
from dataclasses import dataclass

from aiohttp import web

from forwarder.alloy.client import LogsClient
from forwarder.alloy.discovery import DiscoveryResult, discover
from forwarder.diagnostics.results import to_forwarder_error
from forwarder.errors import ForwarderError, SourceUnavailable
from forwarder.vault import ALLOY_API_KEY
from forwarder.vault.secret_values import missing_secret_error
from forwarder.web.connection_checks import build_candidate
from forwarder.web.context import CONTEXT, WebContext
from forwarder.web.form_body import read_form
from forwarder.web.rendering import RENDERER, render_page
from forwarder.web.settings_form import SettingsChanges
from forwarder.web.settings_page import form_values, normalize_newlines, read_changes

PART_ONLY_HEADER = "X-Part-Only"
"""The header with which the page's script requests the list alone."""

MAX_LISTING_SECONDS = 30.0
MAX_LISTED_USERS = 100
MAX_LISTED_WORKFLOWS = 500
"""The bounds of one list. The API lists the workflows of each user separately."""


@dataclass(frozen=True, slots=True)
class ListedWorkflow:
    """A workflow that the API lists."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class WorkflowList:
    """The workflows, by name, or the error in their place. The numbers say how much was left out."""

    workflows: tuple[ListedWorkflow, ...] = ()
    omitted: int = 0
    skipped_users: int = 0
    error: ForwarderError | None = None

    @classmethod
    def of(cls, found: DiscoveryResult) -> "WorkflowList":
        listed = [ListedWorkflow(id_, name) for id_, name in found.names.items()]
        listed.sort(key=lambda each: (each.name.casefold() or each.id, each.id))
        shown = tuple(listed[:MAX_LISTED_WORKFLOWS])
        return cls(shown, len(listed) - len(shown), found.skipped_users, found.problem)


async def list_workflows(request: web.Request) -> web.Response:
    """Return the list of workflows alone for the script, or within the page of the settings."""
    context, given = request.app[CONTEXT], normalize_newlines(await read_form(request))
    changes = await asyncio.to_thread(read_changes, context, given)
    listed = await find_workflows(context, changes)
    if PART_ONLY_HEADER in request.headers:
        text = request.app[RENDERER].render("workflow_list.html", workflow_list=listed)
        return web.Response(text=text, content_type="text/html")
    values = await asyncio.to_thread(form_values, request, given)
    return render_page(request, "settings.html", **(values | {"workflow_list": listed}), notice=None)


async def find_workflows(context: WebContext, given: SettingsChanges) -> WorkflowList:
    """Return the workflows that the API lists for the form's address and key, or the error that prevents it."""
    try:
        async with asyncio.timeout(MAX_LISTING_SECONDS):
            return WorkflowList.of(await _discover(context, given))
    except TimeoutError:
        message = f"the logs API did not list the workflows within {MAX_LISTING_SECONDS:.0f} s"
        return WorkflowList(error=SourceUnavailable(message, hint="enter their ids"))
    except Exception as error:  # noqa: BLE001  # the page shows any problem in place of the list
        return WorkflowList(error=to_forwarder_error(error))


async def _discover(context: WebContext, given: SettingsChanges) -> DiscoveryResult:
    candidate = await asyncio.to_thread(build_candidate, context, given)
    alloy, key = candidate.alloy_connection()
    if key is None:
        raise missing_secret_error(ALLOY_API_KEY)
    async with LogsClient(alloy.source, key, context.clock) as client:
        return await discover(client, MAX_LISTED_USERS)


ROUTES = [web.post("/settings/workflows", list_workflows, name="workflow-list")]
