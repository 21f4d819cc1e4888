"""The health of the source, which follows from the errors of its feeds."""

from forwarder.errors import SourceError, SourceRefused, SourceUnavailable
from forwarder.health import Health
from forwarder.intake.source_health import COMPONENT, SourceHealth
from forwarder.model import Feed, State
from tests.virtual_clock import QuickClock

A, B, C = Feed("a"), Feed("b"), Feed("c")
LATE = SourceUnavailable("no response in time", hint="wait")
BROKEN = SourceUnavailable("the response was cut")
REFUSED = SourceRefused("the key was refused", hint="set it")


class SourceHealthHarness:
    """The health of three feeds."""

    def __init__(self) -> None:
        self.health = Health(QuickClock().now)
        self.source_health = SourceHealth(self.health)

    def reported_status(self) -> tuple[State, str]:
        self.source_health.report(3)
        component = self.health.components[COMPONENT]
        return component.state, component.reason


def test_source_is_healthy_while_every_feed_can_be_polled() -> None:
    harness = SourceHealthHarness()
    assert harness.reported_status() == (State.HEALTHY, "")
    harness.source_health.record_failure(A, LATE)
    harness.source_health.record_success(A)
    assert harness.reported_status() == (State.HEALTHY, "")


def test_failing_feed_degrades_and_failing_feeds_fail_the_source() -> None:
    harness = SourceHealthHarness()
    harness.source_health.record_failure(A, LATE)
    assert harness.reported_status() == (State.DEGRADED, f"not all of 3 feeds can be read: {LATE.message}")
    harness.source_health.record_failure(B, LATE)
    harness.source_health.record_failure(C, LATE)
    assert harness.reported_status() == (State.FAILED, LATE.message)


def test_failed_discovery_degrades_the_source() -> None:
    """All known feeds can be read. Without any, nothing is watched."""
    harness = SourceHealthHarness()
    harness.source_health.discovery_error = LATE
    reason = f"the discovery of workflows is incomplete: {LATE.message}"
    assert harness.reported_status() == (State.DEGRADED, reason)
    harness.source_health.report(1)
    assert harness.health.components[COMPONENT].state is State.DEGRADED
    harness.source_health.report(0)
    assert harness.health.components[COMPONENT].state is State.FAILED


def test_refused_key_fails_the_source_whatever_else_works() -> None:
    for refuse in (lambda source_health: source_health.record_failure(B, REFUSED), _refuse_discovery):
        harness = SourceHealthHarness()
        harness.source_health.record_failure(A, LATE)
        refuse(harness.source_health)
        assert harness.reported_status() == (State.FAILED, REFUSED.message)
        assert harness.health.components[COMPONENT].hint == REFUSED.hint


def test_reason_stays_the_same_while_the_error_lasts() -> None:
    harness = SourceHealthHarness()
    errors: list[tuple[Feed, SourceError]] = [(A, LATE), (B, BROKEN), (A, LATE), (B, BROKEN)]
    reasons = set()
    for feed, error in errors:
        harness.source_health.record_failure(feed, error)
        reasons.add(harness.reported_status())
    assert reasons == {(State.DEGRADED, f"not all of 3 feeds can be read: {LATE.message}")}


def test_latest_error_of_a_feed_replaces_the_previous() -> None:
    harness = SourceHealthHarness()
    harness.source_health.record_failure(A, REFUSED)
    harness.source_health.record_failure(A, LATE)
    assert harness.reported_status() == (State.DEGRADED, f"not all of 3 feeds can be read: {LATE.message}")


def test_error_of_removed_feed_is_dropped() -> None:
    harness = SourceHealthHarness()
    harness.source_health.record_failure(A, REFUSED)
    harness.source_health.watch([B, C])
    assert harness.reported_status() == (State.HEALTHY, "")


def _refuse_discovery(source_health: SourceHealth) -> None:
    source_health.discovery_error = REFUSED
