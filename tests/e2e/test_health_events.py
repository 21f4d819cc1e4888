"""Health events of a whole daemon: failures, the switch and the stop are on the bus, and forwarding is not affected."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.e2e.harness import fail, numbered
from tests.fakes.alloy import FakeAlloy, unauthorized
from tests.fakes.bus_faults import Fault, hang, unavailable
from tests.fakes.eventbridge import StrictEventBridge
from tests.harness.installation import Installation

HEALTH = "Forwarder Health Changed"


def states(bus: StrictEventBridge, component: str) -> list[str]:
    return [each["state"] for each in health_details(bus) if each["component"] == component]


def health_details(bus: StrictEventBridge) -> list[Any]:
    return [event.detail for event in list(bus.delivered) if event.entry["DetailType"] == HEALTH]


def failures(bus: StrictEventBridge) -> list[str]:
    return sorted(event.detail["executionId"] for event in list(bus.delivered) if event.entry["DetailType"] != HEALTH)


@pytest.fixture
def health_installation(installation: Installation) -> Installation:
    installation.change("event", health=True)
    return installation


def test_refused_source_is_reported_on_the_bus(
    health_installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    fail(alloy, "a")
    with health_installation.start() as daemon:
        daemon.wait_until(lambda: states(bus, "source") == ["HEALTHY"] and failures(bus) == ["a"])
        alloy.always(lambda _: unauthorized())
        daemon.wait_until(lambda: states(bus, "source") == ["HEALTHY", "FAILED"])
        alloy.clear()
        fail(alloy, "b")
        daemon.wait_until(lambda: states(bus, "source") == ["HEALTHY", "FAILED", "HEALTHY"])
        daemon.wait_until(lambda: failures(bus) == ["a", "b"])
        assert daemon.stop() == 0
    assert states(bus, "forwarder") == ["RUNNING", "STOPPED"]
    assert health_installation.counters()["recorded"] == 2
    secrets = ("PLANTED", "planted/secret")
    assert not any(secret in str(each) for each in health_details(bus) for secret in secrets)


def test_switch_is_reported_while_forwarding_is_off(health_installation: Installation, bus: StrictEventBridge) -> None:
    with health_installation.start() as daemon:
        daemon.wait_until(lambda: states(bus, "switch") == ["ENABLED"])
        health_installation.change(enabled=False)
        daemon.wait_until(lambda: states(bus, "switch") == ["ENABLED", "DISABLED"])
        assert daemon.stop() == 0
    with health_installation.start() as second:
        second.wait_until(lambda: states(bus, "switch") == ["ENABLED", "DISABLED", "DISABLED"])


@pytest.mark.parametrize("fault", [unavailable, lambda: hang(60, delivered=False)])
def test_refused_health_events_delay_no_failure(
    health_installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge, fault: Callable[[], Fault]
) -> None:
    """The first request, of health events alone, fails or hangs. Failures are sent meanwhile, and none is dead."""
    bus.next(fault())
    with health_installation.start() as daemon:
        daemon.wait_until(lambda: "PutEvents" in [each.operation for each in list(bus.served)])
        assert next(each.delivered for each in bus.served if each.operation == "PutEvents") == 0
        fail(alloy, *numbered(30))
        daemon.wait_until(lambda: failures(bus) == numbered(30))
        daemon.wait_until(lambda: health_installation.counters()["sent"] == 30)
        assert not daemon.has_logged("component state changed", '"bus"', "FAILED")
        assert daemon.stop(within=15) == 0
    counters = health_installation.counters()
    assert (counters["recorded"], counters["dead"], counters["pending"]) == (30, 0, 0)


def test_health_events_are_off_by_default(installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge) -> None:
    fail(alloy, "a")
    with installation.start() as daemon:
        daemon.wait_until(lambda: failures(bus) == ["a"])
        assert daemon.stop() == 0
    assert health_details(bus) == []


def test_schema_health_prints_an_open_schema(installation: Installation) -> None:
    schema = installation.run_command("schema", "--health").json()
    assert schema["title"] == HEALTH
    assert "additionalProperties" not in str(schema)
