"""What is owed reaches the bus or the dead letters, whatever the bus answers: the real parts, on a real socket."""

import asyncio
import json
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from forwarder.errors import BusMissing, DestinationRefused
from forwarder.ledger import Books
from forwarder.model import State
from tests.delivery.sender import a_sender, delivered
from tests.fakes import bus_faults
from tests.fakes.bus_faults import Fault
from tests.fakes.eventbridge import BUS, StrictEventBridge, operation_of
from tests.fakes.signing import Key
from tests.loops import looped, until

pytestmark = pytest.mark.usefixtures("either_client")


def requests(bridge: StrictEventBridge) -> list[int]:
    """How many events of each request were delivered."""
    return [served.delivered for served in bridge.served if served.operation == "PutEvents"]


@looped
async def test_what_is_owed_is_sent_once_ten_at_a_time(bridge: StrictEventBridge, tmp_path: Path) -> None:
    ids = [f"e-{number}" for number in range(95)]
    async with a_sender(bridge, tmp_path) as sender:
        await sender.owe(ids)
        assert await sender.send() == Books(recorded=95, sent=95)
        assert sender.health.parts["bus"].state is State.HEALTHY
    assert sorted(delivered(bridge)) == sorted(ids)
    assert sorted(requests(bridge)) == [5, *[10] * 9]


@looped
async def test_several_requests_are_in_flight_and_no_more_than_the_settings_say(
    bridge: StrictEventBridge, tmp_path: Path
) -> None:
    bridge.always(lambda _: bus_faults.slow(10_000))
    async with a_sender(bridge, tmp_path, concurrency=3, timeout="2s") as sender:
        await sender.owe([f"e-{number}" for number in range(100)])
        assert (await sender.send()).sent == 100
    assert bridge.max_in_flight == 3


@looped
async def test_each_entry_is_settled_by_its_own_outcome(bridge: StrictEventBridge, tmp_path: Path) -> None:
    bridge.next(bus_faults.entry_codes({0: "ThrottlingException", 2: "MalformedDetail", 3: "InternalFailure"}))
    async with a_sender(bridge, tmp_path) as sender:
        await sender.owe("abcde")
        assert await sender.send() == Books(recorded=5, sent=4, dead=1)
        assert await sender.letters() == {"c": "MalformedDetail"}
    assert Counter(delivered(bridge)) == Counter("abde")


@looped
async def test_a_code_that_nobody_documented_ends_in_the_dead_letters(
    bridge: StrictEventBridge, tmp_path: Path
) -> None:
    bridge.always(lambda _: bus_faults.entry_codes({0: "BrandNewException"}))
    async with a_sender(bridge, tmp_path) as sender:
        await sender.owe("a")
        assert await sender.send() == Books(recorded=1, dead=1)
        letter = await sender.ledger.dead_letter("a")
        assert letter is not None
        assert (letter.code, letter.attempted) == ("BrandNewException", 10)
        states = [sender.health.parts["bus"].state]
        bridge.clear()
        await sender.owe("b")
        await sender.send()
        assert [*states, sender.health.parts["bus"].state] == [State.DEGRADED, State.HEALTHY]


@looped
async def test_a_request_that_is_too_large_is_halved_until_one_entry_is_to_blame(
    bridge: StrictEventBridge, tmp_path: Path
) -> None:
    bridge.max_request_bytes = 5000
    async with a_sender(bridge, tmp_path) as sender:
        await sender.owe("abc")
        await sender.owe("X", detail=json.dumps({"executionId": "X", "a": "x" * 6000}).encode())
        await sender.owe("def")
        assert await sender.send() == Books(recorded=7, sent=6, dead=1)
        assert await sender.letters() == {"X": "ValidationException"}
    assert sorted(delivered(bridge)) == list("abcdef")


@looped
async def test_after_a_lost_reply_entries_go_alone_until_an_answer_is_understood(
    bridge: StrictEventBridge, tmp_path: Path
) -> None:
    bridge.next(bus_faults.reset_after(delivered=True), bus_faults.empty(delivered=True))
    ids = [f"e-{number}" for number in range(30)]
    async with a_sender(bridge, tmp_path, concurrency=1) as sender:
        await sender.owe(ids)
        assert (await sender.send()).sent == 30
    assert requests(bridge)[:3] == [10, 1, 1]
    assert set(delivered(bridge)) == set(ids)
    assert len(delivered(bridge)) - 30 <= 11


@pytest.mark.parametrize("trouble", ["bus", "keys", "source"])
@looped
async def test_a_refusal_of_everything_keeps_everything_owed_and_tells_why(
    bridge: StrictEventBridge, tmp_path: Path, trouble: str
) -> None:
    if trouble == "bus":
        bridge.buses.clear()
    elif trouble == "source":
        bridge.always(lambda _: bus_faults.entry_codes(dict.fromkeys(range(10), "NotAuthorizedForSourceException")))
    key = Key("AKIAWRONG00000000001", "planted-secret") if trouble == "keys" else None
    async with a_sender(bridge, tmp_path, key) as sender:
        await sender.owe("abc")
        assert await sender.send() == Books(recorded=3, owed=3)
        assert isinstance(sender.delivery.trouble, BusMissing if trouble == "bus" else DestinationRefused)
        part = sender.health.parts["bus"]
        assert (part.state, bool(part.mend), "planted-secret" in part.why) == (State.FAILED, True, False)
    bridge.buses.add(BUS)
    bridge.clear()
    async with a_sender(bridge, tmp_path) as sender:
        assert await sender.send() == Books(recorded=3, sent=3)
    assert sorted(delivered(bridge)) == list("abc")


@looped
async def test_delivery_resumes_by_itself_when_the_bus_is_mended(bridge: StrictEventBridge, tmp_path: Path) -> None:
    bridge.buses.clear()
    async with a_sender(bridge, tmp_path) as sender:
        await sender.owe("abc")
        running = asyncio.create_task(sender.delivery.run())
        await asyncio.to_thread(bridge.wait_until, lambda: len(bridge.served) >= 3)
        bridge.buses.add(BUS)
        assert await asyncio.to_thread(bridge.wait_until, lambda: len(bridge.delivered) == 3)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await sender.delivery.drain()
        assert await sender.ledger.audit() == Books(recorded=3, sent=3)


CHAOS = {name: 0.03 for name in bus_faults.CHAOS if name not in ("hang", "slow")}


@pytest.mark.parametrize("seed", range(4))
@looped
async def test_in_chaos_every_entry_arrives_or_is_dead_and_is_sent_twice_only_where_a_reply_was_lost(
    bridge: StrictEventBridge, tmp_path: Path, seed: int
) -> None:
    bridge.chaos(Random(seed), CHAOS)  # noqa: S311  # to be repeatable is the point
    ids = [f"e-{number}" for number in range(150)]
    async with a_sender(bridge, tmp_path) as sender:
        await sender.owe(ids)
        books = await sender.send()
        dead = await sender.letters()
    assert (books.owed, books.sent + books.dead) == (0, 150)
    counts = Counter(delivered(bridge))
    assert set(ids) == set(counts) | set(dead)
    lost = sum(
        served.delivered
        for served in bridge.served
        if served.fault and served.fault.delivered and not served.fault.codes
    )
    assert sum(counts.values()) - len(counts) <= lost


@looped
async def test_an_entry_of_which_no_event_can_be_made_is_dead_and_its_neighbours_are_sent(
    bridge: StrictEventBridge, tmp_path: Path
) -> None:
    async with a_sender(bridge, tmp_path) as sender:
        await sender.owe("a", detail=b'{"executionId": "a", "results": ' + b"[" * 300_000)
        await sender.owe("bc")
        assert await sender.send() == Books(recorded=3, sent=2, dead=1)
        assert await sender.letters() == {"a": "Undecodable"}
    assert sorted(delivered(bridge)) == ["b", "c"]


@looped
async def test_entry_that_is_no_text_is_dead_and_its_neighbours_are_sent(
    bridge: StrictEventBridge, tmp_path: Path
) -> None:
    async with a_sender(bridge, tmp_path) as sender:
        await sender.owe("a", detail=b'{"executionId": "a\xff"}')
        await sender.owe("bc")
        assert await sender.send() == Books(recorded=3, sent=2, dead=1)
        assert await sender.letters() == {"a": "Undecodable"}
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


@pytest.mark.parametrize("fault", REFUSES_ALL, ids=str)
@pytest.mark.parametrize("ids", ["a", "abcdefghijklm"])
@looped
async def test_refusal_of_every_entry_settles_none_and_pauses(
    bridge: StrictEventBridge, tmp_path: Path, fault: Fault, ids: str
) -> None:
    async with a_sender(bridge, tmp_path) as sender:
        await sender.owe("z")
        await sender.send()
        bridge.always(lambda request: fault if operation_of(request) == "PutEvents" else None)
        await sender.owe(ids)
        running = asyncio.create_task(sender.delivery.run())
        refused = len(bridge.served)
        await until(lambda: len(bridge.served) > refused + 30)
        part = sender.health.parts["bus"]
        assert (part.state, bool(part.why), bool(part.mend)) == (State.FAILED, True, True)
        assert await sender.letters() == {}
        bridge.clear()
        await until(lambda: len(bridge.delivered) == len(ids) + 1)
        await until(lambda: sender.health.parts["bus"].state is State.HEALTHY)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await sender.delivery.drain()
        assert await sender.ledger.audit() == Books(recorded=len(ids) + 1, sent=len(ids) + 1)


@looped
async def test_lone_refused_entry_is_dead_once_another_is_accepted(bridge: StrictEventBridge, tmp_path: Path) -> None:
    bridge.max_request_bytes = 5000
    async with a_sender(bridge, tmp_path) as sender:
        await sender.owe("X", detail=json.dumps({"executionId": "X", "a": "x" * 6000}).encode())
        running = asyncio.create_task(sender.delivery.run())
        await until(lambda: "bus" in sender.health.parts and sender.health.parts["bus"].state is State.FAILED)
        assert await sender.letters() == {}
        await sender.owe("a")
        await until(lambda: bridge.delivered)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert await sender.send() == Books(recorded=2, sent=1, dead=1)
        assert await sender.letters() == {"X": "ValidationException"}
        assert sender.health.parts["bus"].state is State.HEALTHY
