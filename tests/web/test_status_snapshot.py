"""The headline and the summary, derived from the components and the counters."""

from dataclasses import replace

import pytest

from forwarder.health import ComponentStatus
from forwarder.ledger import Counters, StoredEntry
from forwarder.model import State
from forwarder.web.status_snapshot import StatusSnapshot
from tests.factories import entry, some_settings
from tests.virtual_clock import NOON


def snapshot(*, counters: Counters = Counters(), enabled: bool = True, **components: State) -> StatusSnapshot:  # noqa: B008  # frozen
    settings = some_settings().model_copy(update={"enabled": enabled})
    return replace(
        StatusSnapshot.empty(settings, NOON),
        counters=counters,
        components={name: ComponentStatus(state, NOON) for name, state in components.items()},
    )


@pytest.mark.parametrize(
    ("counters", "summary"),
    [
        (Counters(), "Failures will be sent to the bus failures as they are found."),
        (Counters(recorded=3, sent=3), "Every failure that was found has been sent to the bus failures."),
        (
            Counters(recorded=3, pending=1, sent=2),
            "1 failure waits to be sent to the bus failures. Nothing is lost meanwhile.",
        ),
        (
            Counters(recorded=3, dead=1, sent=2),
            "1 dead letter needs attention; every other failure has been sent to the bus failures.",
        ),
        (Counters(recorded=3, purged=1, sent=2), "1 dead letter was purged; all else has been sent."),
        (
            Counters(recorded=3, dead=2, sent=1),
            "2 dead letters need attention; every other failure has been sent to the bus failures.",
        ),
    ],
)
def test_summary_names_everything_not_sent(counters: Counters, summary: str) -> None:
    assert snapshot(counters=counters, source=State.HEALTHY, bus=State.HEALTHY).summary == summary


def test_headline_names_the_worst_component() -> None:
    assert snapshot(source=State.HEALTHY, bus=State.HEALTHY).headline == "All is well"
    assert snapshot(source=State.DEGRADED, bus=State.HEALTHY).headline == "The logs API works with difficulty"
    assert snapshot(source=State.DEGRADED, bus=State.FAILED).headline == "The event bus needs attention"
    assert snapshot(source=State.FAILED, bus=State.FAILED).headline == "The logs API and the event bus need attention"


def test_headline_is_switched_off_unless_a_component_failed() -> None:
    assert snapshot(enabled=False, source=State.PAUSED, bus=State.PAUSED).headline == "Switched off"
    assert snapshot(enabled=False, ledger=State.FAILED).headline == "The ledger needs attention"


def test_headline_names_rejections_unless_a_component_is_worse() -> None:
    counters = Counters(recorded=3, sent=1, dead=2)
    rejected = "2 events were rejected by the bus"
    assert snapshot(counters=counters, bus=State.HEALTHY).headline == rejected
    assert snapshot(counters=counters, bus=State.STARTING).headline == rejected
    assert snapshot(counters=counters, enabled=False, bus=State.PAUSED).headline == f"Switched off, and {rejected}"
    assert snapshot(counters=counters, bus=State.DEGRADED).headline == "The event bus works with difficulty"
    assert snapshot(counters=counters, bus=State.FAILED).headline == "The event bus needs attention"


def test_main_rejection_is_the_most_frequent_reason() -> None:
    dead = [StoredEntry(entry(each), "dead", NOON, NOON, result=each, reason="why.") for each in ("A", "B", "B")]
    taken = replace(snapshot(counters=Counters(recorded=3, dead=3), bus=State.HEALTHY), dead=dead)
    assert taken.main_rejection == "Most frequent reason: B: why."
    assert replace(taken, dead=dead[1:], counters=Counters(recorded=2, dead=2)).main_rejection == "Reason: B: why."
    assert replace(taken, dead=[]).main_rejection == ""
