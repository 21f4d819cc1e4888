"""The steps that cause faults of the bus."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Final

from tests.fakes import bus_faults
from tests.fakes.bus_faults import CHAOS, Fault
from tests.faults.simulation_environment import SimulationEnvironment

HANG_SECONDS: Final = 4.0
"""Longer than the forwarder's timeout, and no longer than needed, because it is real time."""

RATES: Final = {name: 0.0 if name == "hang" else 0.02 for name in CHAOS}

DESCRIBE_FAULTS: Final[tuple[Callable[[], Fault], ...]] = (
    bus_faults.throttled,
    bus_faults.internal_failure,
    bus_faults.unavailable,
    bus_faults.reset_before,
    lambda: bus_faults.reset_after(delivered=False),
    lambda: bus_faults.html(delivered=False),
)
"""The faults of a DescribeEventBus request."""


def fault(environment: SimulationEnvironment, draw: Random, _: str) -> None:
    """Make the next few requests fail, each with its own fault."""
    if draw.random() < 0.1:
        environment.bridge.next(draw.choice(DESCRIBE_FAULTS)(), operation="DescribeEventBus")
    environment.bridge.next(*[_some_fault(draw) for _ in range(draw.choice([1, 1, 2, 3]))])


def chaos(environment: SimulationEnvironment, draw: Random, _: str) -> None:
    """Let every request fail at random, with any fault, until the repair."""
    environment.bridge.chaos(Random(draw.random()), RATES)  # noqa: S311 - a seed is the point


def delete_bus(environment: SimulationEnvironment, _: Random, __: str) -> None:
    """Delete the bus. AWS still responds that it accepted every event, and drops them."""
    environment.delete_bus()


def change_bus(environment: SimulationEnvironment, _: Random, __: str) -> None:
    """Name another bus in the settings."""
    environment.change_bus()


def revoke_keys(environment: SimulationEnvironment, draw: Random, _: str) -> None:
    """Revoke the keys or their permissions until the repair."""
    if draw.random() < 0.5:
        environment.bridge.keys.clear()
    else:
        environment.bridge.denied.add("PutEvents")


def _some_fault(draw: Random) -> Fault:
    draws = draw.random()
    if draws < 0.03:
        return bus_faults.hang(HANG_SECONDS, delivered=bus_faults.coin(draw))
    if draws < 0.1:
        return bus_faults.access_denied()
    if draws < 0.3:
        return draw.choice([bus_faults.reset_after, bus_faults.closed_after, bus_faults.empty])(delivered=True)
    return CHAOS[draw.choice([name for name in CHAOS if name != "hang"])](draw)


ACTIONS: Final[dict[str, Callable[[SimulationEnvironment, Random, str], None]]] = {
    "bus fault": fault,
    "bus chaos": chaos,
    "bus missing": delete_bus,
    "another bus": change_bus,
    "bus refuses": revoke_keys,
}
