"""The logs API: what is asked of it, and what each answer means."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx
import msgspec
import structlog
from pydantic import SecretStr

from forwarder.alloy.asking import Asker
from forwarder.alloy.dialect import Records, decode_page
from forwarder.alloy.reported_errors import reported_error
from forwarder.alloy.responses import OK, Answer, not_found, require_ok
from forwarder.clock import Clock
from forwarder.errors import PageUnreadable, WorkflowNotFound
from forwarder.metrics import Metrics
from forwarder.model import Feed, is_id
from forwarder.settings.fields import SourceSettings

log = structlog.get_logger("source")

NOUNS = ("workflow", "workflows")

PAGE_REFUSED = (httpx.codes.BAD_REQUEST, httpx.codes.UNPROCESSABLE_ENTITY)
"""How a page number is refused of a workflow that is there."""

RERUN_ACCEPTED = (httpx.codes.CREATED, httpx.codes.ACCEPTED)


@dataclass(frozen=True, slots=True)
class Page:
    """`api_now` is the API's own clock when it answered (whole seconds), or None where it named none.

    `as_asked` is False for one that was put together from records that were asked for alone; `ends` is whether the
    listing was found to end with it.
    """

    records: Records
    api_now: datetime | None = None
    body: bytes = field(default=b"", repr=False)
    as_asked: bool = True
    ends: bool = False

    @property
    def is_last(self) -> bool:
        return self.ends or self.records.empty


class LogsClient:
    """Reads and reruns executions. Every method raises SourceError."""

    def __init__(self, settings: SourceSettings, key: SecretStr, clock: Clock, metrics: Metrics | None = None) -> None:
        self._api = Asker(settings, key, clock, metrics or Metrics())
        self._noun: str = settings.path_noun
        self._tried_both: set[Feed] = set()
        self._first_page: dict[Feed, int] = {}

    async def __aenter__(self) -> Self:
        """Raises SourceUnavailable where the environment names certificates or proxies that cannot be used."""
        await self._api.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._api.__aexit__(kind, error, trace)

    async def page(self, feed: Feed, number: int, limit: int) -> Page:
        """The `number`-th page, counted from 0 whatever the API counts from, newest executions first."""
        if number == 0:
            # Anew for each reading: were it remembered, one stray refusal would hide the first page for good.
            self._first_page.pop(feed, None)
            self._tried_both.discard(feed)
        query = {"page": number + self._first_page.get(feed, 0), "limit": limit, "order": "desc"}
        try:
            answer = await self._logs(feed, query)
        except WorkflowNotFound:
            if number == 0:
                raise
            return await self._end(feed, query)
        if answer.status in PAGE_REFUSED and query["page"] == 0:
            answer = await self._logs(feed, {**query, "page": 1})
            if answer.status in OK:
                self._first_page[feed] = 1
        if answer.status == httpx.codes.NO_CONTENT:  # no executions: as an empty list of them
            return Page(Records([], []), answer.date)
        if answer.status == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE and number > 0:
            return await self._end(feed, query)
        require_ok(answer)
        try:
            records = decode_page(answer.body)
        except PageUnreadable as unreadable:
            raise reported_error(answer.body) or unreadable from None
        if records.empty and (error := reported_error(answer.body)):
            raise error
        return Page(records, answer.date, answer.body)

    async def _end(self, feed: Feed, query: Mapping[str, Any]) -> Page:
        """Return an empty page if the first page is still there. Raise WorkflowNotFound if the workflow is not.

        Many frameworks answer 404 for a page behind the last one, as they do for a workflow that was removed.
        """
        first = await self._logs(feed, {**query, "page": self._first_page.get(feed, 0)})
        require_ok(first)
        log.info("the page behind the last one is not found", feed=str(feed), page=query["page"])
        return Page(Records([], []), first.date, ends=True)

    async def users(self) -> list[str]:
        """The ids of all users."""
        return _ids(await self._get("users", {}), "userId")

    async def workflows(self, user_id: str) -> list[str]:
        """The ids of a user's workflows: none where the API does not know the user any more."""
        try:
            return _ids(await self._get("workflows/", {"userId": user_id}), "workflowId")
        except WorkflowNotFound:
            return []

    async def rerun(self, feed: Feed, execution_id: str) -> str:
        """Ask for another run of an execution; the id of the new one, or what the API said instead."""
        path = f"workflows/{_segment(feed.workflow_id)}/rerun/{_segment(execution_id)}"
        answer = await self._api.ask("POST", path, _user(feed))
        if answer.status == httpx.codes.NOT_FOUND:
            raise not_found(answer) or WorkflowNotFound(
                f"the logs API knows no execution {execution_id} of workflow {feed}"
            )
        if httpx.codes.is_success(answer.status) and not answer.body.strip():
            return "accepted"  # to ask again would run it again
        if answer.status not in RERUN_ACCEPTED:
            require_ok(answer)
        said = _json(answer.body)
        return str(said.get("executionUuid") or said.get("message") or "accepted")

    async def _logs(self, feed: Feed, query: Mapping[str, Any]) -> Answer:
        """Under the noun that answered last; on 404 under the other, once for each feed."""
        answer = await self._api.ask("GET", f"{self._noun}/{_segment(feed.workflow_id)}/logs", {**query, **_user(feed)})
        if answer.status == httpx.codes.NOT_FOUND and feed not in self._tried_both:
            self._tried_both.add(feed)
            other = next(noun for noun in NOUNS if noun != self._noun)
            answer = await self._api.ask("GET", f"{other}/{_segment(feed.workflow_id)}/logs", {**query, **_user(feed)})
            if answer.status in (*OK, httpx.codes.NO_CONTENT, *PAGE_REFUSED):
                self._noun = other
        if answer.status == httpx.codes.NOT_FOUND:
            raise not_found(answer) or WorkflowNotFound(
                f"the logs API knows no workflow {feed}", hint="check its id and the user's"
            )
        return answer

    async def _get(self, path: str, query: Mapping[str, Any]) -> dict[str, Any]:
        answer = await self._api.ask("GET", path, query)
        if answer.status == httpx.codes.NOT_FOUND:
            raise not_found(answer) or WorkflowNotFound(f"the logs API knows nothing under {path}")
        require_ok(answer)
        if error := reported_error(answer.body):
            raise error
        return _json(answer.body)


def _segment(text: str) -> str:
    """Quote an id as one segment of a path. Raise WorkflowNotFound for `.` and `..`.

    No quoting protects these: a client, a proxy or a server removes them, quoted or not, and another path is asked for.
    """
    if text in {".", ".."}:
        raise WorkflowNotFound(f"{text!r} is no id that can be asked for", hint="check the ids of the workflows")
    return quote(text, safe="")


def _user(feed: Feed) -> dict[str, str]:
    return {} if feed.user_id is None else {"userId": feed.user_id}


def _json(body: bytes) -> dict[str, Any]:
    try:
        said = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        said = None
    if not isinstance(said, dict):
        raise PageUnreadable("the logs API answered with something that is not a JSON object")
    return said


def _ids(said: Mapping[str, Any], name: str) -> list[str]:
    items = said.get("data")
    if not isinstance(items, list):
        raise PageUnreadable(f"the logs API answered without a list of {name}s")
    ids = [item.get(name) for item in items if isinstance(item, dict)]
    return list(dict.fromkeys(text for text in ids if isinstance(text, str) and is_id(text)))
