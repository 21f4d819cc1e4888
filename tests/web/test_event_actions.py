"""The page of one event over a socket: send again, retry, rerun in Alloy, and the texts to copy."""

import asyncio
import json
import re
import shlex
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from html import unescape
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from forwarder.demo.sample_data import execution
from forwarder.event.idempotency import idempotency_key
from forwarder.ledger import Counters, Dead, Sent
from forwarder.model import Checkpoint, Feed
from forwarder.vault import ALLOY_API_KEY
from tests.factories import add_feed, entry
from tests.fakes.alloy import FakeAlloy
from tests.vault.vault_folder import SECRETS
from tests.virtual_clock import NOON
from tests.web.client import WebClient, web_client

HOSTILE_ID = "-e'\"<b>$(x) \u202e"
FEED = Feed("w-1", "u-1")
IDS = ("sent", "dead", "pending", HOSTILE_ID)


@asynccontextmanager
async def event_client(folder: Path, alloy: str = "http://127.0.0.1:1") -> AsyncIterator[WebClient]:
    """Yield a client with a session and three events: one was sent, one was rejected, and one is pending."""
    async with web_client(folder, source={"base_url": alloy}) as client:
        ledger = client.context.ledger
        await add_feed(ledger, FEED, Checkpoint())
        details = {
            each: json.dumps({"executionId": each, "workflowId": "w-1", "forwarder": {}}).encode() for each in IDS
        }
        await ledger.record(FEED, [entry(each, feed=FEED, detail=details[each]) for each in IDS], now=NOON)
        token = {claimed.entry.execution_id: claimed.token for claimed in await ledger.claim(9, now=NOON)}
        await ledger.settle([Sent(token["sent"], "event-1"), Dead(token["dead"], "X", "")], now=NOON)
        ledger.release([token["pending"], token[HOSTILE_ID]])
        await client.log_in()
        yield client


async def load(client: WebClient, path: str) -> str:
    response = await client.get(path)
    assert response.status == 200
    return await response.text()


async def rerun_form(client: WebClient, execution_id: str) -> dict[str, str]:
    page = await load(client, f"/event?id={execution_id}")
    (key,) = re.findall(r'name="key" value="([^"]*)"', page)
    return {"key": key, "id": execution_id}


def copied(page: str, id_: str) -> str:
    (text,) = re.findall(rf'id="copy-{id_}"[^>]*>([^<]*)<', page)
    return unescape(text)


async def test_event_sent_again_is_a_pending_replay(tmp_path: Path) -> None:
    async with event_client(tmp_path) as client:
        with capture_logs() as log:
            answers = [await client.change("/event/send-again", data={"id": "sent"}) for _ in range(2)]
        assert {(each.status, each.headers["Location"]) for each in answers} == {(303, "/event?id=sent")}
        assert log[0]["fields"] == ["send_again", "sent"]
        assert "It will be sent again, marked as a replay." in await load(client, "/event?id=sent")
        shown = json.loads(await load(client, "/event/detail?id=sent"))
        assert shown["forwarder"] == {"idempotencyKey": idempotency_key("sent", 2), "replay": True}
        assert shown["forwarder"]["idempotencyKey"] in await load(client, "/event?id=sent")
        (claimed,) = [each for each in await client.context.ledger.claim(9, now=NOON) if each.replay]
        assert claimed.entry.execution_id == "sent"
        assert await client.context.ledger.audit() == Counters(recorded=4, pending=3, dead=1)


@pytest.mark.parametrize("execution_id", ["dead", "pending"])
async def test_only_sent_events_are_sent_again(tmp_path: Path, execution_id: str) -> None:
    async with event_client(tmp_path) as client:
        assert "Send again" not in await load(client, f"/event?id={execution_id}")
        assert (await client.change("/event/send-again", data={"id": execution_id})).status == 303
        assert await client.context.ledger.audit() == Counters(recorded=4, pending=2, sent=1, dead=1)


@pytest.mark.parametrize("path", ["/event/send-again", "/event/rerun"])
@pytest.mark.parametrize("execution_id", ["", "unknown", "x" * 5000, "<script>"])
async def test_action_on_an_unknown_event_is_not_found(tmp_path: Path, path: str, execution_id: str) -> None:
    async with event_client(tmp_path) as client:
        with capture_logs() as log:
            assert (await client.change(path, data={"id": execution_id})).status == 404
        assert [line["fields"] for line in log if line["event"] == "changed in web UI"] == [[]]


async def test_dead_letter_action_returns_to_the_event(tmp_path: Path) -> None:
    async with event_client(tmp_path) as client:
        page = await load(client, "/event?id=dead")
        assert 'action="/dead"><input type="hidden" name="page" value="event">' in page
        for button, location in (("retry", "/event?id=dead"), ("purge", "/events?state=dead")):
            answer = await client.change("/dead", data={"page": "event", button: "dead"})
            assert answer.headers["Location"] == location


async def test_rerun_shows_the_response_of_alloy(tmp_path: Path) -> None:
    with FakeAlloy(api_key=SECRETS[ALLOY_API_KEY]) as alloy:
        alloy.api.add("w-1", execution("failed-error-object", id="sent", started=NOON), user_id="u-1")
        async with event_client(tmp_path, alloy.url) as client:
            with capture_logs() as log:
                answer = await client.change("/event/rerun", data=await rerun_form(client, "sent"))
            page = await load(client, answer.headers["Location"])
            assert 'Alloy runs it again: <span class="code">37e974f0-00000001</span>' in page
            assert alloy.api.reruns == [("w-1", "sent")]
            assert [line["fields"] for line in log if line["event"] == "changed in web UI"] == [["rerun", "sent"]]
            assert "Alloy runs it again" not in await load(client, answer.headers["Location"].replace("=sent", "=dead"))


async def test_rerun_form_sent_twice_runs_once(tmp_path: Path) -> None:
    with FakeAlloy(api_key=SECRETS[ALLOY_API_KEY]) as alloy:
        alloy.api.add("w-1", execution("failed-error-object", id="sent", started=NOON), user_id="u-1")
        async with event_client(tmp_path, alloy.url) as client:
            form = await rerun_form(client, "sent")
            answers = await asyncio.gather(*(client.change("/event/rerun", data=form) for _ in range(3)))
            assert {each.status for each in answers} == {303}
            assert len(alloy.api.reruns) == 1
            await client.change("/event/rerun", data=await rerun_form(client, "sent"))
            assert len(alloy.api.reruns) == 2


async def test_refused_rerun_shows_the_reason(tmp_path: Path) -> None:
    with FakeAlloy(api_key=SECRETS[ALLOY_API_KEY]) as alloy:
        async with event_client(tmp_path, alloy.url) as client:
            answer = await client.change("/event/rerun", data=await rerun_form(client, "dead"))
            page = await load(client, answer.headers["Location"])
            assert "Alloy did not accept the rerun: " in page
            assert 'role="alert"' in page
            assert SECRETS[ALLOY_API_KEY] not in page


async def test_rerun_without_a_connection_shows_the_reason(tmp_path: Path) -> None:
    async with event_client(tmp_path) as client:
        answer = await client.change("/event/rerun", data=await rerun_form(client, "sent"))
        assert "Alloy did not accept the rerun: " in await load(client, answer.headers["Location"])


@pytest.mark.parametrize("key", ["", "x", "<script>alert(1)", "../" * 9])
async def test_rerun_without_the_key_of_a_form_is_refused(tmp_path: Path, key: str) -> None:
    with FakeAlloy(api_key=SECRETS[ALLOY_API_KEY]) as alloy:
        async with event_client(tmp_path, alloy.url) as client:
            assert (await client.change("/event/rerun", data={"id": "sent", "key": key})).status == 400
            assert alloy.api.reruns == []
            assert (await client.get(f"/event?id=sent&rerun={key}")).status == 200


async def test_texts_to_copy_match_the_event(tmp_path: Path) -> None:
    async with event_client(tmp_path) as client:
        page = await load(client, "/event?id=sent")
        assert copied(page, "execution-id") == "sent"
        assert copied(page, "command") == "forwarder events show sent"
        assert json.loads(copied(page, "detail")) == {"executionId": "sent", "workflowId": "w-1", "forwarder": {}}
        assert json.loads(copied(page, "rule-pattern")) == {
            "source": ["alloy.embedded"],
            "detail-type": ["Workflow Execution Failed"],
            "detail": {"workflowId": ["w-1"]},
        }
        assert page.count('role="status"') == 4


async def test_command_with_a_hostile_id_is_quoted(tmp_path: Path) -> None:
    async with event_client(tmp_path) as client:
        response = await client.get("/event", params={"id": HOSTILE_ID})
        page = await response.text()
        assert shlex.split(copied(page, "command")) == ["forwarder", "events", "show", "--", HOSTILE_ID]
        assert "<b>" not in page
