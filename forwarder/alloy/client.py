"""The client of the logs API: its endpoints, and the meaning of each response."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx
import structlog
from pydantic import SecretStr

from forwarder.alloy.decode import Records, decode_page
from forwarder.alloy.http_client import HttpClient
from forwarder.alloy.reported_errors import reported_error
from forwarder.alloy.responses import OK_STATUSES, ApiResponse, not_found_error, require_ok
from forwarder.clock import Clock
from forwarder.errors import PageUnreadable, WorkflowNotFound
from forwarder.metrics import Metrics
from forwarder.model import Feed, is_id
from forwarder.printable import printable
from forwarder.settings.sections import SourceSettings
from forwarder.untrusted_json import decode_or_none

log = structlog.get_logger("source")

PATH_SEGMENTS = ("workflow", "workflows")

MAX_NAME_CHARACTERS = 100
"""The length at which the name of a workflow is cut. Names are displayed only."""

PAGE_REJECTED_STATUSES = (httpx.codes.BAD_REQUEST, httpx.codes.UNPROCESSABLE_ENTITY)
"""Statuses that reject a page number of an existing workflow."""

RERUN_ACCEPTED_STATUSES = (httpx.codes.CREATED, httpx.codes.ACCEPTED)


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a listing. `api_now` is the Date of the response in whole seconds, or None without that header.

    `as_requested` is False for a page that was assembled from records requested one by one. `ends_listing` is True if
    the listing is known to end with this page. `is_last` is also True for an empty page.
    """

    records: Records
    api_now: datetime | None = None
    body: bytes = field(default=b"", repr=False)
    as_requested: bool = True
    ends_listing: bool = False

    @property
    def is_last(self) -> bool:
        return self.ends_listing or self.records.is_empty


class LogsClient:
    """The client of the logs API. Every method raises SourceError."""

    def __init__(self, settings: SourceSettings, key: SecretStr, clock: Clock, metrics: Metrics | None = None) -> None:
        self._http_client = HttpClient(settings, key, clock, metrics or Metrics())
        self._path_segment: str = settings.path_segment
        self._tried_both_segments: set[Feed] = set()
        self._first_page_number: dict[Feed, int] = {}

    def limit_requests(self, requests_per_second: float) -> None:
        """Change the limit of requests, of which several processes each have a part."""
        self._http_client.throttle.limit(requests_per_second)

    def forget_all_except(self, feeds: Collection[Feed]) -> None:
        """Remove what is stored of the other feeds. The first page of their next scans finds it out again."""
        self._tried_both_segments.intersection_update(feeds)
        for feed in self._first_page_number.keys() - feeds:
            del self._first_page_number[feed]

    @property
    def pause_seconds(self) -> float:
        """Return the time for which the API has requested no further requests, or 0."""
        return self._http_client.throttle.pause_seconds

    async def __aenter__(self) -> Self:
        """Raise SourceUnavailable if the environment names certificates or proxies that cannot be used."""
        await self._http_client.__aenter__()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._http_client.__aexit__(exc_type, error, traceback)

    async def fetch_page(self, feed: Feed, number: int, limit: int) -> Page:
        """Return page `number`, newest executions first. Pages are counted from 0, even if the API begins at 1.

        Raise WorkflowNotFound if the workflow is unknown, PageUndecodable or PageUnreadable if the body is not a valid
        page, or another SourceError.
        """
        if number == 0:
            # This is found out in each scan: if it were kept, one stray refusal would hide the first page forever.
            self._first_page_number.pop(feed, None)
            self._tried_both_segments.discard(feed)
        query = {"page": number + self._first_page_number.get(feed, 0), "limit": limit, "order": "desc"}
        try:
            response = await self._get_logs(feed, query)
        except WorkflowNotFound:
            if number == 0:
                raise
            return await self._page_after_last(feed, query)
        if response.status in PAGE_REJECTED_STATUSES and query["page"] == 0:
            response = await self._get_logs(feed, {**query, "page": 1})
            if response.status in OK_STATUSES:
                self._first_page_number[feed] = 1
        if response.status == httpx.codes.NO_CONTENT:  # equivalent to an empty list
            return Page(Records([], []), response.date)
        if response.status == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE and number > 0:
            return await self._page_after_last(feed, query)
        require_ok(response)
        try:
            records = decode_page(response.body)
        except PageUnreadable as unreadable:
            raise reported_error(response.body) or unreadable from None
        if records.is_empty and (error := reported_error(response.body)):
            raise error
        return Page(records, response.date, response.body)

    async def _page_after_last(self, feed: Feed, query: Mapping[str, Any]) -> Page:
        """Return an empty page that ends the listing, if the first page exists. Raise WorkflowNotFound otherwise.

        Many frameworks respond with 404 to a page after the last one, and also to a workflow that was removed.
        """
        first = await self._get_logs(feed, {**query, "page": self._first_page_number.get(feed, 0)})
        require_ok(first)
        log.info("page after last not found", feed=str(feed), page=query["page"])
        return Page(Records([], []), first.date, ends_listing=True)

    async def list_users(self) -> list[str]:
        """Return the ids of all users."""
        return list(_extract_names(await self._get_json("users", {}), "userId"))

    async def list_workflows(self, user_id: str) -> dict[str, str]:
        """Return the names of a user's workflows by id. It is empty if the API does not know the user any more."""
        try:
            return _extract_names(await self._get_json("workflows/", {"userId": user_id}), "workflowId")
        except WorkflowNotFound:
            return {}

    async def rerun(self, feed: Feed, execution_id: str) -> str:
        """Run an execution again. Return the id of the new one, or the message of the API if it returns no id."""
        path = f"workflows/{_quote_segment(feed.workflow_id)}/rerun/{_quote_segment(execution_id)}"
        response = await self._http_client.request("POST", path, _user_query(feed))
        if response.status == httpx.codes.NOT_FOUND:
            raise not_found_error(response) or WorkflowNotFound(
                f"the logs API knows no execution {execution_id} of workflow {feed}"
            )
        if httpx.codes.is_success(response.status) and not response.body.strip():
            return "accepted"  # a second request would run it again
        if response.status not in RERUN_ACCEPTED_STATUSES:
            require_ok(response)
        content = _decode_object(response.body)
        return str(content.get("executionUuid") or content.get("message") or "accepted")

    async def _get_logs(self, feed: Feed, query: Mapping[str, Any]) -> ApiResponse:
        """Request logs under the path segment that worked last. On 404, try the other one, once in each scan.

        Raise WorkflowNotFound, or PageUnreadable if the 404 does not come from the API.
        """
        response = await self._http_client.request(
            "GET", f"{self._path_segment}/{_quote_segment(feed.workflow_id)}/logs", {**query, **_user_query(feed)}
        )
        if response.status == httpx.codes.NOT_FOUND and feed not in self._tried_both_segments:
            self._tried_both_segments.add(feed)
            other = next(segment for segment in PATH_SEGMENTS if segment != self._path_segment)
            response = await self._http_client.request(
                "GET", f"{other}/{_quote_segment(feed.workflow_id)}/logs", {**query, **_user_query(feed)}
            )
            if response.status in (*OK_STATUSES, httpx.codes.NO_CONTENT, *PAGE_REJECTED_STATUSES):
                self._path_segment = other
        if response.status == httpx.codes.NOT_FOUND:
            raise not_found_error(response) or WorkflowNotFound(
                f"the logs API knows no workflow {feed}", hint="check its id and the user's"
            )
        return response

    async def _get_json(self, path: str, query: Mapping[str, Any]) -> dict[str, Any]:
        response = await self._http_client.request("GET", path, query)
        if response.status == httpx.codes.NOT_FOUND:
            raise not_found_error(response) or WorkflowNotFound(f"the logs API knows nothing under {path}")
        require_ok(response)
        if error := reported_error(response.body):
            raise error
        return _decode_object(response.body)


def _quote_segment(text: str) -> str:
    """Return an id percent-encoded as one segment of a path. Raise WorkflowNotFound for `.` and `..`.

    Encoding does not protect these: a client, a proxy or a server removes them even if encoded, which changes the path.
    """
    if text in {".", ".."}:
        raise WorkflowNotFound(f"{text!r} is not an id that can be requested", hint="check the ids of the workflows")
    return quote(text, safe="")


def _user_query(feed: Feed) -> dict[str, str]:
    return {} if feed.user_id is None else {"userId": feed.user_id}


def _decode_object(body: bytes) -> dict[str, Any]:
    content = decode_or_none(body)
    if not isinstance(content, dict):
        raise PageUnreadable("the logs API responded with a body that is not a JSON object")
    return content


def _extract_names(content: Mapping[str, Any], key: str) -> dict[str, str]:
    """Return the name of each listed object by its id, which is at `key`. The name is empty if it is not a text."""
    items = content.get("data")
    if not isinstance(items, list):
        raise PageUnreadable(f"the logs API responded without a list of {key}s")
    found: dict[str, str] = {}
    for item in items:
        if isinstance(item, dict) and isinstance(id_ := item.get(key), str) and is_id(id_):
            name = item.get("name")
            found.setdefault(id_, printable(name)[:MAX_NAME_CHARACTERS] if isinstance(name, str) else "")
    return found
