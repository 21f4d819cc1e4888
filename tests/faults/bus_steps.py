"""Steps that strike the bus."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Final

from tests.fakes import bus_faults
from tests.fakes.bus_faults import CHAOS, Fault
from tests.faults.simulation_environment import SimulationEnvironment

HANG: Final = 4.0
"""Seconds. Longer than the forwarder's patience, and no longer than needed: it is real time."""

RATES: Final = {name: 0.0 if name == "hang" else 0.02 for name in CHAOS}

LOOKS: Final[tuple[Callable[[], Fault], ...]] = (
    bus_faults.throttled,
    bus_faults.internal_failure,
    bus_faults.unavailable,
    bus_faults.reset_before,
    lambda: bus_faults.reset_after(delivered=False),
    lambda: bus_faults.html(delivered=False),
)
"""What may become of a look whether the bus exists."""


def fault(environment: SimulationEnvironment, draw: Random, _: str) -> None:
    """The next few requests fail, each in its own way."""
    if draw.random() < 0.1:
        environment.bridge.next(draw.choice(LOOKS)(), operation="DescribeEventBus")
    environment.bridge.next(*[_some_fault(draw) for _ in range(draw.choice([1, 1, 2, 3]))])


def chaos(environment: SimulationEnvironment, draw: Random, _: str) -> None:
    """Every request may fail in any way, until all is mended."""
    environment.bridge.chaos(Random(draw.random()), RATES)  # noqa: S311 - a seed is the point


def missing(environment: SimulationEnvironment, _: Random, __: str) -> None:
    """The bus is deleted. AWS goes on answering that it accepted every event, and drops them."""
    environment.lose_bus()


def moves(environment: SimulationEnvironment, _: Random, __: str) -> None:
    """The settings name another bus."""
    environment.move_bus()


def refuses(environment: SimulationEnvironment, draw: Random, _: str) -> None:
    """The keys, or what they may do, are taken away until all is mended."""
    if draw.random() < 0.5:
        environment.bridge.keys.clear()
    else:
        environment.bridge.denied.add("PutEvents")


def _some_fault(draw: Random) -> Fault:
    draws = draw.random()
    if draws < 0.03:
        return bus_faults.hang(HANG, delivered=bus_faults.coin(draw))
    if draws < 0.1:
        return bus_faults.access_denied()
    if draws < 0.3:
        return draw.choice([bus_faults.reset_after, bus_faults.closed_after, bus_faults.empty])(delivered=True)
    return CHAOS[draw.choice([name for name in CHAOS if name != "hang"])](draw)


ACTS: Final[dict[str, Callable[[SimulationEnvironment, Random, str], None]]] = {
    "bus fault": fault,
    "bus chaos": chaos,
    "bus missing": missing,
    "another bus": moves,
    "bus refuses": refuses,
}
