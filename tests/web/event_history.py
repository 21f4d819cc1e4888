"""Recorded events for the tests of the list, and what a browser shows of it."""

import json
import re
from datetime import timedelta
from html import unescape

from forwarder.ledger import Dead, Sent
from forwarder.model import Checkpoint
from tests.factories import FEED, add_feed, entry
from tests.virtual_clock import NOON
from tests.web.client import WebClient

HOSTILE = '<script>alert("x")</script>'

MESSAGES = {"a-1": HOSTILE, "b-2": "Timeout of 30 s", "c-3": "timeout OF 30 s", "d-4": "Timeout of 30 s"}
MINUTE = timedelta(minutes=1)


def detail(execution_id: str, message: str) -> bytes:
    return json.dumps({"executionId": execution_id, "error": {"message": message}}).encode()


async def record_history(client: WebClient) -> None:
    """Record four events, one a minute, and log in: one was sent, two were rejected, and one is pending."""
    ledger = client.context.ledger
    await add_feed(ledger, FEED, Checkpoint())
    for minute, (each, message) in enumerate(MESSAGES.items()):
        await ledger.record(FEED, [entry(each, detail=detail(each, message))], now=NOON + minute * MINUTE)
    token = {claimed.entry.execution_id: claimed.token for claimed in await ledger.claim(9, now=NOON + 9 * MINUTE)}
    dead = [Dead(token[each], "MalformedDetail", "") for each in ("b-2", "d-4")]
    await ledger.settle([Sent(token["a-1"], "event-1"), *dead], now=NOON + 9 * MINUTE)
    ledger.release([token["c-3"]])
    await client.log_in()


async def record_dead(client: WebClient, *ids: str, reason: str = "") -> None:
    ledger = client.context.ledger
    await add_feed(ledger, FEED, Checkpoint())
    await ledger.record(FEED, [entry(each) for each in ids], now=NOON)
    claimed = [each for each in await ledger.claim(2000, now=NOON) if each.entry.execution_id in ids]
    await ledger.settle([Dead(each.token, "MalformedDetail", reason) for each in claimed], now=NOON)


async def load(client: WebClient, query: str) -> str:
    response = await client.get(f"/events?{query}")
    assert response.status == 200
    return await response.text()


async def listed(client: WebClient, query: str) -> list[str]:
    """Return the ids of the events in the list, newest first."""
    return re.findall(r'href="/event\?id=([^"]*)"', await load(client, query))


async def next_page(client: WebClient, query: str) -> str:
    """Return the query of the link to the next page."""
    (found,) = re.findall(r'href="/events\?([^"]*)" rel="next"', await load(client, query))
    return unescape(found)


def pressed(page: str, button: str) -> dict[str, str]:
    """Return the form of the list as a browser submits it with a button."""
    hidden = re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)">', page)
    (value,) = re.findall(rf'name="{button}" value="([^"]*)"', page)
    return {name: unescape(text) for name, text in hidden} | {button: value}
