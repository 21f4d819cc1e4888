"""What keeps feeds from being read, and what that means for the whole."""

from forwarder.errors import SourceError, SourceRefused, SourceUnavailable
from forwarder.health import Health
from forwarder.intake.source_health import COMPONENT, SourceHealth
from forwarder.model import Feed, State
from tests.virtual_clock import QuickClock

A, B, C = Feed("a"), Feed("b"), Feed("c")
LATE = SourceUnavailable("it did not answer in time", hint="wait")
BROKEN = SourceUnavailable("it broke off")
REFUSED = SourceRefused("it refuses the key", hint="set it")


class SourceHealthHarness:
    """The health of three feeds."""

    def __init__(self) -> None:
        self.health = Health(QuickClock().now)
        self.source_health = SourceHealth(self.health)

    def reported_status(self) -> tuple[State, str]:
        self.source_health.report(3)
        part = self.health.components[COMPONENT]
        return part.state, part.reason


def test_all_is_well_while_every_feed_can_be_read() -> None:
    harness = SourceHealthHarness()
    assert harness.reported_status() == (State.HEALTHY, "")
    harness.source_health.record_failure(A, LATE)
    harness.source_health.record_success(A)
    assert harness.reported_status() == (State.HEALTHY, "")


def test_a_feed_that_cannot_be_read_is_a_loss_of_comfort_and_all_of_them_a_failure() -> None:
    harness = SourceHealthHarness()
    harness.source_health.record_failure(A, LATE)
    assert harness.reported_status() == (State.DEGRADED, f"not all of 3 feeds can be read: {LATE.message}")
    harness.source_health.record_failure(B, LATE)
    harness.source_health.discovery_error = LATE
    assert harness.reported_status() == (State.FAILED, LATE.message)


def test_a_refused_key_is_a_failure_however_many_can_be_read() -> None:
    for refuse in (lambda source_health: source_health.record_failure(B, REFUSED), _refuse_discovery):
        harness = SourceHealthHarness()
        harness.source_health.record_failure(A, LATE)
        refuse(harness.source_health)
        assert harness.reported_status() == (State.FAILED, REFUSED.message)
        assert harness.health.components[COMPONENT].hint == REFUSED.hint


def test_the_reason_stays_the_same_for_as_long_as_it_lasts() -> None:
    harness = SourceHealthHarness()
    errors: list[tuple[Feed, SourceError]] = [(A, LATE), (B, BROKEN), (A, LATE), (B, BROKEN)]
    reasons = set()
    for feed, error in errors:
        harness.source_health.record_failure(feed, error)
        reasons.add(harness.reported_status())
    assert reasons == {(State.DEGRADED, f"not all of 3 feeds can be read: {LATE.message}")}


def test_a_feed_whose_error_becomes_another_has_one() -> None:
    harness = SourceHealthHarness()
    harness.source_health.record_failure(A, REFUSED)
    harness.source_health.record_failure(A, LATE)
    assert harness.reported_status() == (State.DEGRADED, f"not all of 3 feeds can be read: {LATE.message}")


def test_what_is_watched_no_more_troubles_nobody() -> None:
    harness = SourceHealthHarness()
    harness.source_health.record_failure(A, REFUSED)
    harness.source_health.watch([B, C])
    assert harness.reported_status() == (State.HEALTHY, "")


def _refuse_discovery(source_health: SourceHealth) -> None:
    source_health.discovery_error = REFUSED
