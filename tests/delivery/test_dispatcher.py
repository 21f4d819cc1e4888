"""Pending entries reach the bus or the dead letters, whatever the bus responds."""

import asyncio
import json
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from forwarder.errors import BusMissing, DestinationRefused
from forwarder.ledger import Counters
from forwarder.model import State
from tests.delivery.harness import delivered, delivery_harness
from tests.fakes import bus_faults
from tests.fakes.bus_faults import Fault
from tests.fakes.eventbridge import BUS, StrictEventBridge, operation_of
from tests.fakes.signing import Key
from tests.waiting import until

pytestmark = pytest.mark.usefixtures("either_client")


def requests(bridge: StrictEventBridge) -> list[int]:
    """Return the number of delivered events of each request."""
    return [served.delivered for served in bridge.served if served.operation == "PutEvents"]


async def test_pending_entries_are_sent_once_in_batches_of_ten(bridge: StrictEventBridge, tmp_path: Path) -> None:
    ids = [f"e-{number}" for number in range(95)]
    async with delivery_harness(bridge, tmp_path) as harness:
        await harness.record(ids)
        assert await harness.send() == Counters(recorded=95, sent=95)
        assert harness.health.components["bus"].state is State.HEALTHY
    assert sorted(delivered(bridge)) == sorted(ids)
    assert sorted(requests(bridge)) == [5, *[10] * 9]


async def test_requests_in_flight_are_limited_by_concurrency(bridge: StrictEventBridge, tmp_path: Path) -> None:
    bridge.always(lambda _: bus_faults.slow(10_000))
    async with delivery_harness(bridge, tmp_path, concurrency=3, timeout="2s") as harness:
        await harness.record([f"e-{number}" for number in range(100)])
        assert (await harness.send()).sent == 100
    assert bridge.max_in_flight == 3


async def test_each_entry_is_settled_by_its_own_outcome(bridge: StrictEventBridge, tmp_path: Path) -> None:
    bridge.next(bus_faults.entry_codes({0: "ThrottlingException", 2: "MalformedDetail", 3: "InternalFailure"}))
    async with delivery_harness(bridge, tmp_path) as harness:
        await harness.record("abcde")
        assert await harness.send() == Counters(recorded=5, sent=4, dead=1)
        assert await harness.dead_letters() == {"c": "MalformedDetail"}
        assert harness.health.components["bus"].state is State.HEALTHY
    assert Counter(delivered(bridge)) == Counter("abde")


@pytest.mark.parametrize("code", ["ThrottlingException", "InternalFailure"])
async def test_bus_that_accepts_no_entry_is_degraded_and_spared(
    bridge: StrictEventBridge, tmp_path: Path, code: str
) -> None:
    """The bus responds with 200, and fails each entry for now. It gets no request at the full rate meanwhile."""
    bridge.always(lambda _: bus_faults.entry_codes(dict.fromkeys(range(10), code)))
    async with delivery_harness(bridge, tmp_path) as harness:
        await harness.record([f"e-{number}" for number in range(300)])
        delivery = asyncio.create_task(harness.delivery.run())
        await until(lambda: (bus := harness.health.components.get("bus")) and bus.state is State.DEGRADED)
        assert f"accepts no event for now: {code}" in harness.health.components["bus"].reason
        waited_from, requests_before = harness.clock.monotonic(), len(requests(bridge))
        await until(lambda: harness.clock.monotonic() - waited_from > 60)
        assert len(requests(bridge)) - requests_before < 60
        bridge.clear()
        await until(lambda: len(delivered(bridge)) == 300)
        assert harness.health.components["bus"].state is State.HEALTHY
        delivery.cancel()
        await asyncio.gather(delivery, return_exceptions=True)
        await harness.delivery.drain()
    assert sorted(delivered(bridge)) == sorted(f"e-{number}" for number in range(300))


async def test_entry_with_undocumented_code_is_dead_lettered(bridge: StrictEventBridge, tmp_path: Path) -> None:
    bridge.always(lambda _: bus_faults.entry_codes({0: "BrandNewException"}))
    async with delivery_harness(bridge, tmp_path) as harness:
        await harness.record("a")
        assert await harness.send() == Counters(recorded=1, dead=1)
        dead_letter = await harness.ledger.dead_letter("a")
        assert dead_letter is not None
        assert (dead_letter.code, dead_letter.attempt_count) == ("BrandNewException", 10)
        states = [harness.health.components["bus"].state]
        bridge.clear()
        await harness.record("b")
        await harness.send()
        assert [*states, harness.health.components["bus"].state] == [State.DEGRADED, State.HEALTHY]


async def test_too_large_request_is_split_down_to_the_large_entry(bridge: StrictEventBridge, tmp_path: Path) -> None:
    bridge.max_request_bytes = 5000
    async with delivery_harness(bridge, tmp_path) as harness:
        await harness.record("abc")
        await harness.record("X", detail=json.dumps({"executionId": "X", "a": "x" * 6000}).encode())
        await harness.record("def")
        assert await harness.send() == Counters(recorded=7, sent=6, dead=1)
        assert await harness.dead_letters() == {"X": "ValidationException"}
    assert sorted(delivered(bridge)) == list("abcdef")


async def test_lost_response_sends_single_entries_until_one_succeeds(bridge: StrictEventBridge, tmp_path: Path) -> None:
    bridge.next(bus_faults.reset_after(delivered=True), bus_faults.empty(delivered=True))
    ids = [f"e-{number}" for number in range(30)]
    async with delivery_harness(bridge, tmp_path, concurrency=1) as harness:
        await harness.record(ids)
        assert (await harness.send()).sent == 30
    assert requests(bridge)[:3] == [10, 1, 1]
    assert set(delivered(bridge)) == set(ids)
    assert len(delivered(bridge)) - 30 <= 11


@pytest.mark.parametrize("refused_by", ["bus", "keys", "source"])
async def test_refusal_of_everything_keeps_entries_pending(
    bridge: StrictEventBridge, tmp_path: Path, refused_by: str
) -> None:
    if refused_by == "bus":
        bridge.buses.clear()
    elif refused_by == "source":
        bridge.always(lambda _: bus_faults.entry_codes(dict.fromkeys(range(10), "NotAuthorizedForSourceException")))
    key = Key("AKIAWRONG00000000001", "planted-secret") if refused_by == "keys" else None
    async with delivery_harness(bridge, tmp_path, key) as harness:
        await harness.record("abc")
        assert await harness.send() == Counters(recorded=3, pending=3)
        assert isinstance(harness.delivery.current_error, BusMissing if refused_by == "bus" else DestinationRefused)
        component = harness.health.components["bus"]
        assert (component.state, bool(component.hint), "planted-secret" in component.reason) == (
            State.FAILED,
            True,
            False,
        )
    bridge.buses.add(BUS)
    bridge.clear()
    async with delivery_harness(bridge, tmp_path) as harness:
        assert await harness.send() == Counters(recorded=3, sent=3)
    assert sorted(delivered(bridge)) == list("abc")


async def test_delivery_resumes_when_the_bus_exists_again(bridge: StrictEventBridge, tmp_path: Path) -> None:
    bridge.buses.clear()
    async with delivery_harness(bridge, tmp_path) as harness:
        await harness.record("abc")
        running = asyncio.create_task(harness.delivery.run())
        await asyncio.to_thread(bridge.wait_until, lambda: len(bridge.served) >= 3)
        bridge.buses.add(BUS)
        assert await asyncio.to_thread(bridge.wait_until, lambda: len(bridge.delivered) == 3)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await harness.delivery.drain()
        assert await harness.ledger.audit() == Counters(recorded=3, sent=3)


CHAOS = {name: 0.03 for name in bus_faults.CHAOS if name not in ("hang", "slow")}


@pytest.mark.parametrize("seed", range(4))
async def test_chaos_loses_no_entry_and_bounds_duplicates(bridge: StrictEventBridge, tmp_path: Path, seed: int) -> None:
    bridge.chaos(Random(seed), CHAOS)  # noqa: S311  # must be repeatable
    ids = [f"e-{number}" for number in range(150)]
    async with delivery_harness(bridge, tmp_path) as harness:
        await harness.record(ids)
        counters = await harness.send()
        dead = await harness.dead_letters()
    assert (counters.pending, counters.sent + counters.dead) == (0, 150)
    counts = Counter(delivered(bridge))
    assert set(ids) == set(counts) | set(dead)
    lost = sum(
        served.delivered
        for served in bridge.served
        if served.fault and served.fault.delivered and not served.fault.codes
    )
    assert sum(counts.values()) - len(counts) <= lost


async def test_undecodable_entry_is_dead_lettered_others_are_sent(bridge: StrictEventBridge, tmp_path: Path) -> None:
    async with delivery_harness(bridge, tmp_path) as harness:
        await harness.record("a", detail=b'{"executionId": "a", "results": ' + b"[" * 300_000)
        await harness.record("bc")
        assert await harness.send() == Counters(recorded=3, sent=2, dead=1)
        assert await harness.dead_letters() == {"a": "Undecodable"}
    assert sorted(delivered(bridge)) == ["b", "c"]


async def test_invalid_utf8_entry_is_dead_lettered_others_are_sent(bridge: StrictEventBridge, tmp_path: Path) -> None:
    async with delivery_harness(bridge, tmp_path) as harness:
        await harness.record("a", detail=b'{"executionId": "a\xff"}')
        await harness.record("bc")
        assert await harness.send() == Counters(recorded=3, sent=2, dead=1)
        assert await harness.dead_letters() == {"a": "Undecodable"}
    assert sorted(delivered(bridge)) == ["b", "c"]


REFUSES_ALL = [
    bus_faults.refused(
        400, "ValidationException", "1 validation error detected: Value at 'entries.1.member.eventBusName'"
    ),
    bus_faults.refused(400, "ValidationException", "Total size of the entries in the request is over the limit."),
    bus_faults.refused(400, "ValidationException", "Cross-region API call is not allowed."),
    bus_faults.refused(400, "SerializationException"),
    bus_faults.refused(400, "BrandNewException", "of this year"),
    bus_faults.refused(404, "UnknownOperationException"),
    bus_faults.too_large(),
    bus_faults.entry_codes(dict.fromkeys(range(10), "InvalidArgument"), "Parameter Source is not valid."),
    bus_faults.entry_codes(dict.fromkeys(range(10), "InvalidArgument"), "Parameter DetailType is not valid."),
]
BISECTED = (1, 6, 7)
"""The refusals that split a request of many entries, or refuse its entries one by one. The last one is like them."""


@pytest.mark.parametrize(
    ("ids", "fault"),
    [
        pytest.param(ids, fault, marks=() if ids == "a" or number in BISECTED else pytest.mark.long)
        for ids in ("a", "abcdefghijklm")
        for number, fault in enumerate(REFUSES_ALL)
    ],
    ids=str,
)
async def test_refusal_of_every_entry_settles_none_and_pauses(
    bridge: StrictEventBridge, tmp_path: Path, fault: Fault, ids: str
) -> None:
    async with delivery_harness(bridge, tmp_path) as harness:
        await harness.record("z")
        await harness.send()
        bridge.always(lambda request: fault if operation_of(request) == "PutEvents" else None)
        await harness.record(ids)
        running = asyncio.create_task(harness.delivery.run())
        refused = len(bridge.served)
        more_than_the_attempts_of_an_entry = 12 if len(ids) == 1 else 30
        await until(lambda: len(bridge.served) > refused + more_than_the_attempts_of_an_entry)
        component = harness.health.components["bus"]
        assert (component.state, bool(component.reason), bool(component.hint)) == (State.FAILED, True, True)
        assert await harness.dead_letters() == {}
        bridge.clear()
        await until(lambda: len(bridge.delivered) == len(ids) + 1)
        await until(lambda: harness.health.components["bus"].state is State.HEALTHY)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await harness.delivery.drain()
        assert await harness.ledger.audit() == Counters(recorded=len(ids) + 1, sent=len(ids) + 1)


async def test_lone_refused_entry_is_dead_once_another_is_accepted(bridge: StrictEventBridge, tmp_path: Path) -> None:
    bridge.max_request_bytes = 5000
    async with delivery_harness(bridge, tmp_path) as harness:
        await harness.record("X", detail=json.dumps({"executionId": "X", "a": "x" * 6000}).encode())
        running = asyncio.create_task(harness.delivery.run())
        await until(
            lambda: "bus" in harness.health.components and harness.health.components["bus"].state is State.FAILED
        )
        assert await harness.dead_letters() == {}
        await harness.record("a")
        await until(lambda: bridge.delivered)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert await harness.send() == Counters(recorded=2, sent=1, dead=1)
        assert await harness.dead_letters() == {"X": "ValidationException"}
        assert harness.health.components["bus"].state is State.HEALTHY
