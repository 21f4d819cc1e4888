"""The bus takes nothing: delivery stops and says why, the watching goes on, and it resumes by itself."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from tests.e2e.harness import fail, numbered, polls, publishing, sent
from tests.fakes.alloy import FakeAlloy
from tests.fakes.bus_faults import access_denied, bare, entry_codes, html, refused, unavailable
from tests.fakes.eventbridge import BUS, CROSS_REGION, KEY, StrictEventBridge, operation_of
from tests.fakes.signing import Key
from tests.fakes.wire import utc_now
from tests.harness.installation import Installation

pytestmark = pytest.mark.usefixtures("either_client")

Change = Callable[[StrictEventBridge], None]


def no_bus(bus: StrictEventBridge) -> None:
    bus.buses.discard(BUS)


def bus_again(bus: StrictEventBridge) -> None:
    bus.buses.add(BUS)


def unknown_key(bus: StrictEventBridge) -> None:
    bus.keys = {}


def expired_token(bus: StrictEventBridge) -> None:
    bus.keys = {KEY.id: Key(KEY.id, KEY.secret, expires_at=utc_now() - timedelta(hours=1))}


def keys_again(bus: StrictEventBridge) -> None:
    bus.keys = {KEY.id: KEY}


def clock_ahead(bus: StrictEventBridge) -> None:
    bus.now = lambda: utc_now() + timedelta(minutes=20)


def clock_right(bus: StrictEventBridge) -> None:
    bus.now = utc_now


def may_not_publish(bus: StrictEventBridge) -> None:
    bus.denied.add("PutEvents")


def may_publish(bus: StrictEventBridge) -> None:
    bus.denied.clear()


def each_denied(bus: StrictEventBridge) -> None:
    bus.always(publishing(entry_codes(dict.fromkeys(range(10), "AccessDeniedException"))))


def source_denied(bus: StrictEventBridge) -> None:
    bus.always(publishing(entry_codes(dict.fromkeys(range(10), "NotAuthorizedForSourceException"))))


def not_described(bus: StrictEventBridge) -> None:
    fault = refused(400, "ValidationException", CROSS_REGION)
    bus.always(lambda request: fault if operation_of(request) == "DescribeEventBus" else None)


def name_refused(bus: StrictEventBridge) -> None:
    message = "1 validation error detected: Value at 'entries.1.member.eventBusName' failed to satisfy constraint"
    bus.always(publishing(refused(400, "ValidationException", message)))


def all_too_large(bus: StrictEventBridge) -> None:
    bus.always(publishing(bare(413)))


def always_503(bus: StrictEventBridge) -> None:
    bus.always(lambda _: unavailable())


def proxy_page(bus: StrictEventBridge) -> None:
    bus.always(lambda _: html(502, delivered=False))


def all_well(bus: StrictEventBridge) -> None:
    bus.clear()


# What breaks it, the exit code of `once` then, a word that its report must have, what corrects it.
OUTAGES: list[tuple[Change, int, str, Change]] = [
    (no_bus, 69, "event_bus", bus_again),
    (unknown_key, 77, "keys", keys_again),
    (expired_token, 77, "keys", keys_again),
    (clock_ahead, 77, "clock", clock_right),
    (may_not_publish, 77, "PutEvents", may_publish),
    (each_denied, 77, "AccessDeniedException", all_well),
    (source_denied, 77, "NotAuthorizedForSourceException", all_well),
    (not_described, 69, "Cross-region", all_well),
    (name_refused, 69, "eventBusName", all_well),
    (all_too_large, 69, "413", all_well),
]


@pytest.mark.parametrize(("break_it", "word", "correct_it"), [(row[0], row[2], row[3]) for row in OUTAGES])
def test_delivery_stops_says_why_keeps_what_is_owed_and_resumes_by_itself(
    installation: Installation,
    alloy: FakeAlloy,
    bus: StrictEventBridge,
    break_it: Change,
    word: str,
    correct_it: Change,
) -> None:
    break_it(bus)
    fail(alloy, *numbered(12))
    with installation.start() as daemon:
        daemon.wait_for_log('"bus"', "FAILED", word)
        assert (sent(bus), "event dead-lettered" in daemon.log) == ([], False)
        correct_it(bus)
        daemon.wait_until(lambda: sent(bus) == numbered(12))
    assert bus.dropped == []


@pytest.mark.parametrize(("break_it", "code", "word"), [row[:3] for row in [*OUTAGES[:5:2], *OUTAGES[7:]]])
def test_a_once_gives_up_with_the_code_of_the_outage(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge, break_it: Change, code: int, word: str
) -> None:
    break_it(bus)
    fail(alloy, "a")
    done = installation.run_command("once", "--timeout", "5s")
    assert (done.code, bus.dropped, installation.dead_letters()) == (code, [], [])
    assert word in done.err


def test_status_tells_that_the_bus_is_failed_and_why(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    no_bus(bus)
    fail(alloy, "a")
    with installation.start() as daemon:
        daemon.wait_for_log('"bus"', "FAILED")
        daemon.wait_until(lambda: "bus" in installation.run_command("status", "--json").json()["components"])
        report = installation.run_command("status", "--json").json()["components"]["bus"]
    assert report["state"] == "FAILED"
    assert "does not exist" in report["reason"]


@pytest.mark.parametrize("break_it", [always_503, proxy_page])
def test_a_bus_that_is_down_is_tried_until_it_is_up(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge, break_it: Change
) -> None:
    break_it(bus)
    fail(alloy, *numbered(12))
    with installation.start() as daemon:
        daemon.wait_until(lambda: len(bus.served) > 1)
        bus.clear()
        daemon.wait_until(lambda: sent(bus) == numbered(12))


def test_a_bus_that_nobody_answers_for_is_tried_until_it_is_up(installation: Installation, alloy: FakeAlloy) -> None:
    fail(alloy, "a")
    with StrictEventBridge() as down:
        installation.change("destination", endpoint_url=down.url)
    with installation.start() as daemon:
        daemon.wait_for_log('"bus"', "FAILED", "reached")
        with down:
            daemon.wait_until(lambda: sent(down) == ["a"])


def test_the_watching_goes_on_while_the_bus_is_missing(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    no_bus(bus)
    fail(alloy, "a")
    with installation.start() as daemon:
        daemon.wait_for_log('"bus"', "FAILED")
        fail(alloy, "b", ago=5)
        before = polls(alloy)
        daemon.wait_until(lambda: polls(alloy) > before + 3)
        daemon.wait_until(lambda: installation.counters()["pending"] == 2)


def test_a_missing_bus_is_not_asked_about_all_the_time(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    no_bus(bus)
    fail(alloy, "a")
    with installation.start() as daemon:
        daemon.wait_for_log('"bus"', "FAILED")
        before = polls(alloy)
        daemon.wait_until(lambda: polls(alloy) > before + 6)
    assert len(bus.served) < 6


def test_a_bus_removed_since_the_last_pass_swallows_nothing(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    """AWS answers 200 with an id for each event, and drops them: only looking first tells."""
    fail(alloy, "a")
    installation.run_command("once")
    no_bus(bus)
    fail(alloy, "b")
    assert installation.run_command("once", "--timeout", "5s").code == 69
    assert (sent(bus), bus.dropped) == (["a"], [])


def test_what_is_owed_goes_to_the_bus_that_the_settings_name_now(
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


def test_a_caller_who_may_not_describe_the_bus_is_told_once_and_publishes(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    bus.denied.add("DescribeEventBus")
    with installation.start() as daemon:
        for id_ in ("a", "b", "c"):
            fail(alloy, id_)
            daemon.wait_until(lambda id_=id_: id_ in sent(bus))  # type: ignore[misc]
        assert daemon.log.count("events:DescribeEventBus on the bus") == 1


def test_a_request_denied_whole_is_no_dead_letter(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    bus.always(publishing(access_denied()))
    fail(alloy, *numbered(3))
    assert installation.run_command("once", "--timeout", "5s").code == 77
    assert installation.dead_letters() == []


def test_once_names_both_regions_of_a_bus_elsewhere(installation: Installation, alloy: FakeAlloy) -> None:
    installation.change("destination", event_bus=f"arn:aws:events:us-east-1:123456789012:event-bus/{BUS}")
    fail(alloy, "a")
    done = installation.run_command("once", "--timeout", "5s")
    assert done.code == 78
    assert all(word in done.err for word in ("us-east-1", "eu-central-1", "region"))


def test_unverified_bus_is_not_described_and_warned_of_once(
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
