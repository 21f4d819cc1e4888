"""Shaping in turns: it is what keeps the event loop busiest, and a storm brings the pages of many feeds at once."""

import asyncio
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Protocol

from forwarder.model import Entry, Execution, Feed

SHORT_WORK = 16_384
"""Bytes of results that are shaped in one turn of the event loop, for all feeds together."""

LONG_WORK = 100_000
"""Bytes of results; one execution with more is worth a thread of its own."""

BESIDE_RESULTS = 512
"""Bytes of results that take as long as the rest of an execution does."""


class Shapes(Protocol):
    def shape_anything(self, execution: Execution, feed: Feed, now: datetime) -> Entry: ...


class Turns:
    """Between two portions of what readers want shaped, everybody else gets on."""

    def __init__(self, shaper: Shapes) -> None:
        self._shaper = shaper
        self._turn = asyncio.Lock()

    async def shape(self, executions: Sequence[Execution], feed: Feed, now: datetime) -> list[Entry]:
        """Entries in the order of their executions."""
        entries: list[Entry] = []
        for portion in _portions(executions):
            # A thread is for the largest only: two that compute take turns of milliseconds, and so would the ledger's
            # between them.
            if len(portion[0].results) > LONG_WORK:
                entries.append(await asyncio.to_thread(self._shaper.shape_anything, portion[0], feed, now))
                continue
            async with self._turn:
                entries += [self._shaper.shape_anything(execution, feed, now) for execution in portion]
                # Kept until the loop turns, or each feed would have a portion shaped before it does.
                await asyncio.sleep(0)
        return entries


def _portions(executions: Sequence[Execution]) -> Iterator[list[Execution]]:
    """None is of more than SHORT_WORK; an execution that is larger than that is alone."""
    portion: list[Execution] = []
    left = SHORT_WORK
    for execution in executions:
        size = BESIDE_RESULTS + len(execution.results)
        if portion and size > left:
            yield portion
            portion, left = [], SHORT_WORK
        portion.append(execution)
        left -= size
    if portion:
        yield portion
