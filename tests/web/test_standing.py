"""What the page says of the whole, in a headline and a sentence, is what the parts and the books say."""

from dataclasses import replace

import pytest

from forwarder.health import Part
from forwarder.ledger import Books
from forwarder.model import State
from forwarder.web.standing import Standing, blank
from tests.clocks import NOON
from tests.samples import some_settings


def standing(*, books: Books = Books(), enabled: bool = True, **parts: State) -> Standing:  # noqa: B008  # frozen
    settings = some_settings().model_copy(update={"enabled": enabled})
    return replace(blank(settings, NOON), books=books, parts={name: Part(state, NOON) for name, state in parts.items()})


@pytest.mark.parametrize(
    ("books", "says"),
    [
        (Books(), "Failures will be sent to failures as they are found."),
        (Books(recorded=3, sent=3), "Every failure that was found has been sent to failures."),
        (Books(recorded=3, owed=1, sent=2), "1 failure waits to be sent to failures. Nothing is lost meanwhile."),
        (
            Books(recorded=3, dead=1, sent=2),
            "1 dead letter needs a look; every other failure has been sent to failures.",
        ),
        (Books(recorded=3, purged=1, sent=2), "1 dead letter was dropped; all else has been sent."),
        (
            Books(recorded=3, dead=2, sent=1),
            "2 dead letters need a look; every other failure has been sent to failures.",
        ),
    ],
)
def test_the_sentence_leaves_nothing_out_that_was_not_sent(books: Books, says: str) -> None:
    assert standing(books=books, source=State.HEALTHY, bus=State.HEALTHY).sentence == says


def test_the_headline_names_the_worst_part() -> None:
    assert standing(source=State.HEALTHY, bus=State.HEALTHY).headline == "All is well"
    assert standing(source=State.DEGRADED, bus=State.HEALTHY).headline == "The logs API works with difficulty"
    assert standing(source=State.DEGRADED, bus=State.FAILED).headline == "The event bus needs attention"
    assert standing(source=State.FAILED, bus=State.FAILED).headline == "The logs API and the event bus need attention"


def test_switched_off_is_said_before_all_else_but_a_failure() -> None:
    assert standing(enabled=False, source=State.PAUSED, bus=State.PAUSED).headline == "Switched off"
    assert standing(enabled=False, ledger=State.FAILED).headline == "The ledger needs attention"
