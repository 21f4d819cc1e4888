"""Shaping in turns: it is what keeps the event loop busiest, and a storm brings the pages of many feeds at once."""

import asyncio
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Protocol

from forwarder.model import Entry, Execution, Feed

MAX_PORTION_BYTES = 16_384
"""Bytes of results that are shaped in one turn of the event loop, for all feeds together."""

THREAD_RESULT_BYTES = 100_000
"""Bytes of results; one execution with more is worth a thread of its own."""

EXECUTION_OVERHEAD_BYTES = 512
"""Bytes of results that take as long as the rest of an execution does."""


class EntryBuilder(Protocol):
    def build_or_minimal(self, execution: Execution, feed: Feed, now: datetime) -> Entry: ...


class TransformQueue:
    """Between two portions of what readers want shaped, everybody else gets on."""

    def __init__(self, builder: EntryBuilder) -> None:
        self._builder = builder
        self._lock = asyncio.Lock()

    async def build_all(self, executions: Sequence[Execution], feed: Feed, now: datetime) -> list[Entry]:
        """Entries in the order of their executions."""
        entries: list[Entry] = []
        for portion in _portions(executions):
            # A thread is for the largest only: two that compute take turns of milliseconds, and so would the ledger's
            # between them.
            if len(portion[0].results) > THREAD_RESULT_BYTES:
                entries.append(await asyncio.to_thread(self._builder.build_or_minimal, portion[0], feed, now))
                continue
            async with self._lock:
                entries += [self._builder.build_or_minimal(execution, feed, now) for execution in portion]
                # Kept until the loop turns, or each feed would have a portion shaped before it does.
                await asyncio.sleep(0)
        return entries


def _portions(executions: Sequence[Execution]) -> Iterator[list[Execution]]:
    """None is of more than MAX_PORTION_BYTES; an execution that is larger than that is alone."""
    portion: list[Execution] = []
    left = MAX_PORTION_BYTES
    for execution in executions:
        size = EXECUTION_OVERHEAD_BYTES + len(execution.results)
        if portion and size > left:
            yield portion
            portion, left = [], MAX_PORTION_BYTES
        portion.append(execution)
        left -= size
    if portion:
        yield portion
