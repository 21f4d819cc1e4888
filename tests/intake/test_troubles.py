"""What keeps feeds from being read, and what that means for the whole."""

from forwarder.errors import SourceError, SourceRefused, SourceUnavailable
from forwarder.health import Health
from forwarder.intake.troubles import PART, Troubles
from forwarder.model import Feed, State
from tests.clocks import QuickClock

A, B, C = Feed("a"), Feed("b"), Feed("c")
LATE = SourceUnavailable("it did not answer in time", hint="wait")
BROKEN = SourceUnavailable("it broke off")
REFUSED = SourceRefused("it refuses the key", hint="set it")


class Watched:
    """Three feeds that are watched."""

    def __init__(self) -> None:
        self.health = Health(QuickClock().now)
        self.troubles = Troubles(self.health)

    def told(self) -> tuple[State, str]:
        self.troubles.report(3)
        part = self.health.parts[PART]
        return part.state, part.why


def test_all_is_well_while_every_feed_can_be_read() -> None:
    watched = Watched()
    assert watched.told() == (State.HEALTHY, "")
    watched.troubles.cut_short(A, LATE)
    watched.troubles.read(A)
    assert watched.told() == (State.HEALTHY, "")


def test_a_feed_that_cannot_be_read_is_a_loss_of_comfort_and_all_of_them_a_failure() -> None:
    watched = Watched()
    watched.troubles.cut_short(A, LATE)
    assert watched.told() == (State.DEGRADED, f"not all of 3 feeds can be read: {LATE.message}")
    watched.troubles.cut_short(B, LATE)
    watched.troubles.discovery = LATE
    assert watched.told() == (State.FAILED, LATE.message)


def test_a_refused_key_is_a_failure_however_many_can_be_read() -> None:
    for refuse in (lambda troubles: troubles.cut_short(B, REFUSED), _refuse_discovery):
        watched = Watched()
        watched.troubles.cut_short(A, LATE)
        refuse(watched.troubles)
        assert watched.told() == (State.FAILED, REFUSED.message)
        assert watched.health.parts[PART].mend == REFUSED.hint


def test_the_reason_stays_the_same_for_as_long_as_it_lasts() -> None:
    watched = Watched()
    errors: list[tuple[Feed, SourceError]] = [(A, LATE), (B, BROKEN), (A, LATE), (B, BROKEN)]
    reasons = set()
    for feed, error in errors:
        watched.troubles.cut_short(feed, error)
        reasons.add(watched.told())
    assert reasons == {(State.DEGRADED, f"not all of 3 feeds can be read: {LATE.message}")}


def test_a_feed_whose_error_becomes_another_has_one() -> None:
    watched = Watched()
    watched.troubles.cut_short(A, REFUSED)
    watched.troubles.cut_short(A, LATE)
    assert watched.told() == (State.DEGRADED, f"not all of 3 feeds can be read: {LATE.message}")


def test_what_is_watched_no_more_troubles_nobody() -> None:
    watched = Watched()
    watched.troubles.cut_short(A, REFUSED)
    watched.troubles.watch([B, C])
    assert watched.told() == (State.HEALTHY, "")


def _refuse_discovery(troubles: Troubles) -> None:
    troubles.discovery = REFUSED
