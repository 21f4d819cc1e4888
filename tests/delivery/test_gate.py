"""How many requests may be in flight."""

import asyncio

import pytest

from forwarder.delivery.gate import WAITS, Gate, Ticket, Trouble
from tests.clocks import QuickClock
from tests.loops import looped


async def entered(gate: Gate, most: int = 100) -> list[Ticket]:
    """Everyone who may enter without any time going by."""
    tickets: list[Ticket] = []
    while len(tickets) < most:
        waiting = asyncio.create_task(gate.enter())
        for _ in range(5):
            await asyncio.sleep(0)
        if not waiting.done():
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            break
        tickets.append(waiting.result())
    return tickets


async def tried(gate: Gate, clock: QuickClock) -> tuple[Ticket, float]:
    """The next one, and how long it had to wait."""
    before = clock.monotonic()
    return await gate.enter(), clock.monotonic() - before


@looped
async def test_as_many_as_the_width_are_in_flight_and_no_more() -> None:
    gate = Gate(4, QuickClock())
    assert len(await entered(gate)) == 4
    gate.leave()
    assert len(await entered(gate)) == 1


@pytest.mark.parametrize(
    ("kind", "longest"), [(Trouble.OUTAGE, 30), (Trouble.SILENCE, 30), (Trouble.REFUSAL, 60), (Trouble.UNKNOWN, 300)]
)
@looped
async def test_in_trouble_one_is_tried_at_a_time_ever_more_rarely_up_to_a_limit(kind: Trouble, longest: float) -> None:
    clock = QuickClock()
    gate = Gate(8, clock)
    waits = []
    ticket = await gate.enter()
    for _ in range(40):
        told = gate.trouble(ticket, kind)
        gate.leave()
        assert await entered(gate) == []
        ticket, waited = await tried(gate, clock)
        assert waited == pytest.approx(told, abs=1e-6)
        assert await entered(gate) == []
        waits.append(waited)
    assert max(waits) <= longest
    assert waits[0] <= WAITS[kind][0]
    assert sum(waits[-20:]) > 20 * longest / 5 > sum(waits[:3])


@looped
async def test_an_answer_that_is_understood_opens_the_gate_step_by_step() -> None:
    clock = QuickClock()
    gate = Gate(3, clock)
    gate.trouble(await gate.enter(), Trouble.OUTAGE)
    gate.leave()
    ticket, _ = await tried(gate, clock)
    for width in (2, 3, 3):
        gate.understood(ticket)
        gate.leave()
        tickets = await entered(gate)
        assert len(tickets) == width
        ticket = tickets[0]
        for _ in tickets[1:]:
            gate.leave()


@looped
async def test_requests_that_failed_together_are_one_step() -> None:
    gate = Gate(8, QuickClock())
    first, *others = [gate.trouble(ticket, Trouble.OUTAGE) for ticket in await entered(gate)]
    assert first is not None
    assert others == [None] * 7


@looped
async def test_a_late_success_from_before_the_trouble_does_not_end_it() -> None:
    gate = Gate(8, QuickClock())
    first, second = await entered(gate, 2)
    gate.trouble(first, Trouble.UNKNOWN)
    gate.understood(second)
    assert gate.uncertain
    gate.leave()
    gate.leave()
    assert await entered(gate) == []


@pytest.mark.parametrize("kind", [Trouble.OUTAGE, Trouble.REFUSAL, Trouble.SILENCE])
@looped
async def test_a_late_refusal_from_before_the_uncertainty_does_not_end_it(kind: Trouble) -> None:
    gate = Gate(8, QuickClock())
    first, second = await entered(gate, 2)
    gate.trouble(first, Trouble.UNKNOWN)
    gate.trouble(second, kind)
    assert gate.uncertain


@looped
async def test_a_late_unknown_from_before_another_trouble_makes_it_uncertain_all_the_same() -> None:
    gate = Gate(8, QuickClock())
    first, second = await entered(gate, 2)
    gate.trouble(first, Trouble.OUTAGE)
    gate.trouble(second, Trouble.UNKNOWN)
    assert gate.uncertain


@pytest.mark.parametrize(("kind", "ends"), [(Trouble.SILENCE, False), (Trouble.OUTAGE, True), (Trouble.REFUSAL, True)])
@looped
async def test_uncertainty_lasts_until_the_bus_itself_has_answered(kind: Trouble, ends: bool) -> None:
    clock = QuickClock()
    gate = Gate(8, clock)
    gate.trouble(await gate.enter(), Trouble.UNKNOWN)
    gate.leave()
    gate.trouble((await tried(gate, clock))[0], kind)
    gate.leave()
    assert gate.uncertain != ends
    gate.understood((await tried(gate, clock))[0])
    assert not gate.uncertain


@looped
async def test_a_success_begins_the_waits_anew() -> None:
    clock = QuickClock()
    gate = Gate(2, clock)
    for _ in range(12):
        gate.trouble((await tried(gate, clock))[0], Trouble.OUTAGE)
        gate.leave()
    ticket, _ = await tried(gate, clock)
    gate.understood(ticket)
    assert (gate.trouble(ticket, Trouble.OUTAGE) or 99) <= WAITS[Trouble.OUTAGE][0]
