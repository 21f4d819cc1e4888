"""The doors for machines, on the page's address and on one of their own."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientResponse
from prometheus_client.parser import text_string_to_metric_families

from forwarder.ledger import Sent
from forwarder.model import Checkpoint, State
from tests.loops import looped
from tests.samples import FEED, entry
from tests.web.visit import Visit, visit


async def told(at: Visit, path: str) -> tuple[int, Any]:
    answer = await at.get(path)
    return answer.status, await answer.json()


@looped
async def test_alive_is_what_gets_on(tmp_path: Path) -> None:
    async with visit(tmp_path) as at:
        assert await told(at, "/livez") == (200, {"live": True, "late": []})


@looped
async def test_a_loop_that_hangs_is_named(tmp_path: Path) -> None:
    async with visit(tmp_path) as at:
        at.desk.beats.longest_work = 0.0
        task = at.desk.beats.begin("source", asyncio.Event().wait)  # type: ignore[arg-type]  # what it returns is no matter
        await asyncio.sleep(0.001)
        assert await told(at, "/livez") == (503, {"live": False, "late": ["source"]})
        task.cancel()


READY = [State.HEALTHY, State.DEGRADED, State.PAUSED]


@pytest.mark.parametrize("part", ["source", "ledger", "bus"])
@pytest.mark.parametrize("state", State)
@looped
async def test_ready_is_where_each_part_works_or_is_switched_off(tmp_path: Path, part: str, state: State) -> None:
    async with visit(tmp_path) as at:
        at.desk.health.report(part, state, "planted-reason-with-an-id")
        status, said = await told(at, "/readyz")
        assert (status, said["ready"]) == ((200, True) if state in READY else (503, False))
        assert said["parts"][part] == state
        assert "planted" not in str(said)


@looped
async def test_a_part_that_was_not_heard_of_yet_is_not_ready(tmp_path: Path) -> None:
    async with visit(tmp_path) as at:
        at.desk.health._parts.clear()  # noqa: SLF001  # as it is before the loops begin
        assert (await told(at, "/readyz"))[0] == 503


@looped
async def test_draining_is_not_ready_and_still_alive(tmp_path: Path) -> None:
    async with visit(tmp_path) as at:
        at.desk.stopping.set()
        assert (await told(at, "/readyz"))[0] == 503
        assert (await told(at, "/livez"))[0] == 200


async def samples(answer: ClientResponse) -> dict[tuple[str, ...], float]:
    families = text_string_to_metric_families(await answer.text())
    return {(each.name, *each.labels.values()): each.value for family in families for each in family.samples}


@looped
async def test_the_metrics_tell_what_the_ledger_holds_now(tmp_path: Path) -> None:
    async with visit(tmp_path) as at:
        await at.desk.ledger.begin({FEED: Checkpoint()})
        await at.desk.ledger.record(FEED, [entry("e-1"), entry("e-2")], now=at.clock.now())
        at.clock.advance(90)
        answer = await at.get("/metrics")
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        found = await samples(answer)
        assert (found["forwarder_owed",], found["forwarder_oldest_owed_seconds",]) == (2, 90)
        taken = await at.desk.ledger.take(2, now=at.clock.now())
        await at.desk.ledger.settle([Sent(owed.token, "event") for owed in taken], now=at.clock.now())
        found = await samples(await at.get("/metrics"))
        assert (found["forwarder_owed",], found["forwarder_oldest_owed_seconds",]) == (0, 0)


@looped
async def test_the_metrics_tell_the_switch_and_whether_the_settings_are_valid(tmp_path: Path) -> None:
    async with visit(tmp_path) as at:
        found = await samples(await at.get("/metrics"))
        assert (found["forwarder_enabled",], found["forwarder_settings_valid",]) == (1, 1)
        at.desk.health.report("settings", State.FAILED, "broken")
        found = await samples(await at.get("/metrics"))
        assert (found["forwarder_enabled",], found["forwarder_settings_valid",]) == (1, 0)


@looped
async def test_the_doors_have_an_address_of_their_own_and_nothing_else_is_there(tmp_path: Path) -> None:
    async with visit(tmp_path, listen="", health_listen="127.0.0.1:0") as at:
        assert (at.served.page, bool(at.served.doors)) == ("", True)
        for path in ("/livez", "/readyz", "/metrics"):
            assert (await at.get(path, headers={"Host": "any.example"})).status == 200
        for path in ("/", "/login", "/static/x/page.css", "/hooks/alloy/x"):
            assert (await at.get(path)).status == 404
