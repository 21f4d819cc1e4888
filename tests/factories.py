"""The factories of test data: settings, entries, and JSON of every kind."""

from collections.abc import Callable
from datetime import datetime, timedelta
from time import process_time
from typing import Any

import msgspec
from hypothesis import settings
from hypothesis import strategies as st

from forwarder.ledger import Ledger
from forwarder.model import Checkpoint, Entry, Execution, Feed
from forwarder.settings import Settings
from tests.virtual_clock import NOON

FEED = Feed("w-1")

SHORT_EXAMPLES = 60
"""The number of examples that tells the short profile from the others. A test states its own relative to 100."""

DESTINATION = {"event_bus": "failures", "region": "eu-central-1"}


def examples(number: int, *, short: int | None = None) -> settings:
    """Return settings with 60 percent of this number of examples in the short profile, and more in others.

    `short` is the number in the short profile alone, for examples that take long.
    """
    scale = settings().max_examples
    return settings(max_examples=short if short and scale == SHORT_EXAMPLES else number * scale // 100, deadline=None)


def some_settings(**sections: Any) -> Settings:
    """Return the default settings with these sections changed."""
    return Settings(**{**sections, "destination": {**DESTINATION, **sections.get("destination", {})}})


def entry(execution_id: str, *, feed: Feed = FEED, time: datetime = NOON, detail: bytes | None = None) -> Entry:
    return Entry(execution_id, feed, time, detail or msgspec.json.encode({"executionId": execution_id}))


def a_failure(execution_id: str = "e-1", **fields: Any) -> Execution:
    """Return a failed execution that ran for a second. `results` and `error` are given as values."""
    defaults: dict[str, Any] = {"status": "failed", "started_at": NOON - timedelta(seconds=1), "stopped_at": NOON}
    return Execution(id=execution_id, **(defaults | encoded(fields)))


def encoded(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of an execution, with `results` and `error` encoded as the model keeps them."""
    raw = ("results", "error")
    return {key: msgspec.Raw(msgspec.json.encode(value)) if key in raw else value for key, value in fields.items()}


# The text that a decoded page may contain: everything except halves of surrogate pairs.
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)

scalars = (
    st.none()
    | st.booleans()
    | st.integers(min_value=-(10**25), max_value=10**25)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts
)

trees = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(texts, inner, max_size=5),
    max_leaves=25,
)


def time_of(work: Callable[[], object]) -> float:
    began = process_time()
    work()
    return process_time() - began


def is_linear(work: Callable[[str], object], bit: str) -> bool:
    """Return whether eight times the input takes much less than sixty-four times as long."""
    short, long = bit * (4096 // len(bit)), bit * (32_768 // len(bit))
    return time_of(lambda: work(long)) < 0.3 + 25 * time_of(lambda: work(short))


async def add_feed(ledger: Ledger, feed: Feed, checkpoint: Checkpoint) -> Checkpoint:
    """Add a feed with this checkpoint if it is new, and return the checkpoint in the ledger."""
    await ledger.add_feeds({feed: checkpoint})
    return await ledger.checkpoint(feed)
