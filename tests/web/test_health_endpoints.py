"""The health endpoints, on the address of the web UI and on a separate one."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientResponse
from prometheus_client.parser import text_string_to_metric_families

from forwarder.health import SLOW_START_SECONDS
from forwarder.ledger import Sent
from forwarder.model import Checkpoint, State
from tests.factories import FEED, entry
from tests.web.client import WebClient, web_client


async def get_json(client: WebClient, path: str) -> tuple[int, Any]:
    response = await client.get(path)
    return response.status, await response.json()


async def test_livez_without_a_stalled_loop_is_live(tmp_path: Path) -> None:
    async with web_client(tmp_path) as client:
        assert await get_json(client, "/livez") == (200, {"live": True, "stalled": []})


async def test_livez_with_a_stalled_loop_names_it(tmp_path: Path) -> None:
    async with web_client(tmp_path) as client:
        client.context.heartbeats.max_work_seconds = 0.0
        task = client.context.heartbeats.start("source", asyncio.Event().wait)  # type: ignore[arg-type]  # the result does not matter
        await asyncio.sleep(0.001)
        assert await get_json(client, "/livez") == (503, {"live": False, "stalled": ["source"]})
        task.cancel()


READY_STATES = [State.HEALTHY, State.DEGRADED, State.PAUSED]


@pytest.mark.parametrize("component", ["source", "ledger", "bus"])
@pytest.mark.parametrize("state", State)
async def test_readyz_is_ready_if_each_component_works_or_is_paused(
    tmp_path: Path, component: str, state: State
) -> None:
    async with web_client(tmp_path) as client:
        client.context.health.report(component, state, "planted-reason-with-an-id")
        status, body = await get_json(client, "/readyz")
        assert (status, body["ready"]) == ((200, True) if state in READY_STATES else (503, False))
        assert body["components"][component] == state
        assert "planted" not in str(body)


async def test_readyz_without_component_states_is_not_ready(tmp_path: Path) -> None:
    async with web_client(tmp_path) as client:
        client.context.health._components.clear()  # noqa: SLF001  # as it is before the loops begin
        assert (await get_json(client, "/readyz"))[0] == 503


@pytest.mark.parametrize("component", ["source", "ledger", "bus"])
@pytest.mark.parametrize("state", State)
async def test_startupz_waits_until_each_component_was_ready(tmp_path: Path, component: str, state: State) -> None:
    async with web_client(tmp_path) as client:
        health = client.context.health
        health._started.remove(component)  # noqa: SLF001  # as it is before the loops begin
        health._components.pop(component)  # noqa: SLF001  # as above
        assert (await get_json(client, "/startupz"))[1]["components"] == {component: "STARTING"}
        health.report(component, state, "planted-reason-with-an-id")
        status, body = await get_json(client, "/startupz")
        is_started = state in READY_STATES
        assert (status, body["started"]) == ((200, True) if is_started else (503, False))
        assert body["components"] == ({} if is_started else {component: state})
        assert "planted" not in str(body)


@pytest.mark.parametrize(("component", "expected"), [("source", 200), ("bus", 503)])
async def test_startupz_accepts_a_long_first_poll(tmp_path: Path, component: str, expected: int) -> None:
    """A discovery of thousands of users takes longer than ECS waits. A later error does not undo the start."""
    async with web_client(tmp_path) as client:
        health = client.context.health
        health._started.remove(component)  # noqa: SLF001  # as it is before the loops begin
        health.report(component, State.STARTING)
        client.clock.advance(SLOW_START_SECONDS - 1)
        assert (await get_json(client, "/startupz"))[0] == 503
        client.clock.advance(1)
        assert (await get_json(client, "/startupz"))[0] == expected
        health.report(component, State.FAILED)
        assert (await get_json(client, "/startupz"))[0] == expected


@pytest.mark.parametrize("component", ["source", "ledger", "bus"])
@pytest.mark.parametrize("state", State)
async def test_startupz_equals_livez_after_the_start(tmp_path: Path, component: str, state: State) -> None:
    """An outage of the bus must not end the processes that wait for its end; a stalled loop must."""
    async with web_client(tmp_path) as client:
        client.context.health.report(component, state)
        assert (await get_json(client, "/startupz"))[0] == 200
        client.context.heartbeats.max_work_seconds = 0.0
        task = client.context.heartbeats.start("source", asyncio.Event().wait)  # type: ignore[arg-type]  # the result does not matter
        await asyncio.sleep(0.001)
        status, body = await get_json(client, "/startupz")
        assert (status, body["started"], body["stalled"]) == (503, True, ["source"])
        task.cancel()


async def test_draining_web_ui_is_live_but_not_ready(tmp_path: Path) -> None:
    async with web_client(tmp_path) as client:
        client.context.stopping.set()
        assert (await get_json(client, "/readyz"))[0] == 503
        assert (await get_json(client, "/livez"))[0] == 200


async def metric_values(response: ClientResponse) -> dict[tuple[str, ...], float]:
    families = text_string_to_metric_families(await response.text())
    return {(each.name, *each.labels.values()): each.value for family in families for each in family.samples}


async def test_metrics_show_the_pending_entries(tmp_path: Path) -> None:
    async with web_client(tmp_path) as client:
        await client.context.ledger.add_feeds({FEED: Checkpoint()})
        await client.context.ledger.record(FEED, [entry("e-1"), entry("e-2")], now=client.clock.now())
        client.clock.advance(90)
        response = await client.get("/metrics")
        assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        found = await metric_values(response)
        assert (found["forwarder_events_pending",], found["forwarder_oldest_pending_event_age_seconds",]) == (2, 90)
        claimed = await client.context.ledger.claim(2, now=client.clock.now())
        await client.context.ledger.settle([Sent(each.token, "event") for each in claimed], now=client.clock.now())
        found = await metric_values(await client.get("/metrics"))
        assert (found["forwarder_events_pending",], found["forwarder_oldest_pending_event_age_seconds",]) == (0, 0)


async def test_metrics_show_the_switch_and_valid_settings(tmp_path: Path) -> None:
    async with web_client(tmp_path) as client:
        found = await metric_values(await client.get("/metrics"))
        assert (found["forwarder_enabled",], found["forwarder_settings_valid",]) == (1, 1)
        client.context.health.report("settings", State.FAILED, "broken")
        found = await metric_values(await client.get("/metrics"))
        assert (found["forwarder_enabled",], found["forwarder_settings_valid",]) == (1, 0)


async def test_health_listener_serves_nothing_else(tmp_path: Path) -> None:
    async with web_client(tmp_path, listen="", health_listen="127.0.0.1:0") as client:
        assert (client.addresses.web_ui, bool(client.addresses.health)) == ("", True)
        for path in ("/livez", "/startupz", "/readyz", "/metrics"):
            assert (await client.get(path, headers={"Host": "any.example"})).status == 200
        for path in ("/", "/login", "/static/x/page.css", "/hooks/alloy/x"):
            assert (await client.get(path)).status == 404
