"""Outages of the bus: delivery pauses with a logged reason, polling continues, and delivery resumes automatically."""

from __future__ import annotations

import pytest

from tests.e2e.bus_outages import OUTAGES, Change, remove_bus, respond_with_503, respond_with_proxy_page
from tests.e2e.harness import fail, numbered, polls, publishing, sent
from tests.fakes.alloy import FakeAlloy
from tests.fakes.bus_faults import access_denied
from tests.fakes.eventbridge import BUS, StrictEventBridge
from tests.harness.installation import Installation

pytestmark = pytest.mark.usefixtures("either_client")


@pytest.mark.parametrize(("break_bus", "word", "repair_bus"), [(row[0], row[2], row[3]) for row in OUTAGES])
def test_bus_outage_pauses_delivery_until_it_is_corrected(
    installation: Installation,
    alloy: FakeAlloy,
    bus: StrictEventBridge,
    break_bus: Change,
    word: str,
    repair_bus: Change,
) -> None:
    """Delivery logs the reason, keeps the pending entries, and resumes without a restart."""
    break_bus(bus)
    fail(alloy, *numbered(12))
    with installation.start() as daemon:
        daemon.wait_for_log('"bus"', "FAILED", word)
        assert (sent(bus), "event dead-lettered" in daemon.log) == ([], False)
        repair_bus(bus)
        daemon.wait_until(lambda: sent(bus) == numbered(12))
    assert bus.dropped == []


@pytest.mark.parametrize(("break_bus", "code", "word"), [row[:3] for row in [*OUTAGES[:5:2], *OUTAGES[7:]]])
def test_once_during_an_outage_exits_with_its_code(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge, break_bus: Change, code: int, word: str
) -> None:
    break_bus(bus)
    fail(alloy, "a")
    done = installation.run_command("once", "--timeout", "5s")
    assert (done.code, bus.dropped, installation.dead_letters()) == (code, [], [])
    assert word in done.err


def component_of(installation: Installation) -> dict[str, str]:
    """Return the state of the bus in `status`. It is empty before the daemon has saved it."""
    components: dict[str, dict[str, str]] = installation.run_command("status", "--json").json()["components"]
    return components.get("bus", {})


def test_status_of_a_missing_bus_is_failed_with_a_reason(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    remove_bus(bus)
    fail(alloy, "a")
    with installation.start() as daemon:
        daemon.wait_until(lambda: component_of(installation).get("state") == "FAILED")
        assert "does not exist" in component_of(installation)["reason"]


@pytest.mark.parametrize("break_bus", [respond_with_503, respond_with_proxy_page])
def test_unavailable_bus_is_retried_until_it_recovers(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge, break_bus: Change
) -> None:
    break_bus(bus)
    fail(alloy, *numbered(12))
    with installation.start() as daemon:
        daemon.wait_until(lambda: len(bus.served) > 1)
        bus.clear()
        daemon.wait_until(lambda: sent(bus) == numbered(12))


def test_unreachable_bus_is_retried_until_it_recovers(installation: Installation, alloy: FakeAlloy) -> None:
    fail(alloy, "a")
    with StrictEventBridge() as down:
        installation.change("destination", endpoint_url=down.url)
    with installation.start() as daemon:
        daemon.wait_for_log('"bus"', "FAILED", "reached")
        with down:
            daemon.wait_until(lambda: sent(down) == ["a"])


def test_polling_continues_while_the_bus_is_missing(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    remove_bus(bus)
    fail(alloy, "a")
    with installation.start() as daemon:
        daemon.wait_for_log('"bus"', "FAILED")
        fail(alloy, "b", ago=5)
        before = polls(alloy)
        daemon.wait_until(lambda: polls(alloy) > before + 3)
        daemon.wait_until(lambda: installation.counters()["pending"] == 2)


def test_requests_to_a_missing_bus_are_limited(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    remove_bus(bus)
    fail(alloy, "a")
    with installation.start() as daemon:
        daemon.wait_for_log('"bus"', "FAILED")
        before = polls(alloy)
        daemon.wait_until(lambda: polls(alloy) > before + 6)
    assert len(bus.served) < 6


def test_bus_removed_between_passes_loses_no_event(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    """AWS responds with 200 and an ID for each event and drops them. Only a check before the request detects this."""
    fail(alloy, "a")
    installation.run_command("once")
    remove_bus(bus)
    fail(alloy, "b")
    assert installation.run_command("once", "--timeout", "5s").code == 69
    assert (sent(bus), bus.dropped) == (["a"], [])


def test_pending_entries_go_to_the_newly_configured_bus(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    installation.change("destination", event_bus="misspelt")
    fail(alloy, "a")
    with installation.start() as daemon:
        daemon.wait_for_log('"bus"', "FAILED")
        installation.change("destination", event_bus=bus.bus_arn())
        installation.change("event", source="new.source", detail_type="New Type")
        daemon.wait_until(lambda: sent(bus) == ["a"])
    (event,) = bus.delivered
    assert (event.entry["Source"], event.entry["DetailType"]) == ("new.source", "New Type")


def test_denied_describe_is_logged_once_and_delivery_continues(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    bus.denied.add("DescribeEventBus")
    with installation.start() as daemon:
        for id_ in ("a", "b", "c"):
            fail(alloy, id_)
            daemon.wait_until(lambda id_=id_: id_ in sent(bus))  # type: ignore[misc]
        assert daemon.log.count("events:DescribeEventBus on the bus") == 1


def test_denied_request_creates_no_dead_letter(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    bus.always(publishing(access_denied()))
    fail(alloy, *numbered(3))
    assert installation.run_command("once", "--timeout", "5s").code == 77
    assert installation.dead_letters() == []


def test_once_with_a_bus_in_another_region_names_both(installation: Installation, alloy: FakeAlloy) -> None:
    installation.change("destination", event_bus=f"arn:aws:events:us-east-1:123456789012:event-bus/{BUS}")
    fail(alloy, "a")
    done = installation.run_command("once", "--timeout", "5s")
    assert done.code == 78
    assert all(word in done.err for word in ("us-east-1", "eu-central-1", "region"))


def test_unverified_bus_is_refuse_describe_and_logged_once(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    installation.change("destination", verify=False)
    with installation.start() as daemon:
        for id_ in ("a", "b"):
            fail(alloy, id_)
            daemon.wait_until(lambda id_=id_: id_ in sent(bus))  # type: ignore[misc]
        assert daemon.log.count("bus not verified") == 1
        assert daemon.stop() == 0
    assert [served.operation for served in bus.served] == ["PutEvents"] * 2
