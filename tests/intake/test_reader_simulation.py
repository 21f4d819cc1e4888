"""A property of polls: whatever happens while pages are read, every failure is recorded once."""

import asyncio
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any, cast

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from forwarder.alloy.client import LogsClient
from forwarder.errors import SourceError
from forwarder.intake.reader import PollSummary, Reader
from forwarder.intake.transform import EventBuilder
from forwarder.ledger import SqliteLedger
from forwarder.metrics import Metrics
from forwarder.model import Checkpoint
from tests.factories import FEED, examples, some_settings
from tests.intake.simulated_api import WORKFLOW, Crash, SimulatedApi, Traits
from tests.virtual_clock import QuickClock

JUMPS = [timedelta(), timedelta(seconds=5), timedelta(minutes=9), timedelta(hours=2), timedelta(hours=10)]

traits = st.builds(
    Traits,
    sorted_by=st.sampled_from(["startedAt", "stoppedAt"]),
    first_pages_same=st.booleans(),
    max_page_records=st.sampled_from([1, 2, 3, 10, 30]),
    skew=st.sampled_from([timedelta(), timedelta(hours=3), timedelta(hours=-3)]),
    lists_running=st.booleans(),
    poisoned=st.booleans(),
    fault_rate=st.sampled_from([0.0, 0.05, 0.3]),
)


class Simulation:
    """Polls of one simulated API, one after the other, over restarts."""

    def __init__(self, simulated_api: SimulatedApi, file: Path, **source: Any) -> None:
        self.simulated_api, self.file = simulated_api, file
        self.settings = some_settings(source={"workflows": [WORKFLOW], "page_size": 30, **source})
        self.initial = Checkpoint(local_floor=simulated_api.clock.now())
        self.recorded: list[str] = []

    async def read(self, *, full_scan: bool = False) -> PollSummary | None:
        """Poll in a new process. Return None if the poll was aborted or the process was killed."""
        simulated_api = self.simulated_api
        async with SqliteLedger(self.file, create=True) as ledger:
            await ledger.add_feeds({FEED: self.initial})
            reader = Reader(
                cast("LogsClient", simulated_api),
                ledger,
                self.settings.source,
                EventBuilder.from_settings(self.settings),
                simulated_api.clock,
                Metrics(),
                lambda: None,
            )
            summary = None
            with suppress(SourceError, Crash):
                summary = await reader.read(FEED, full_scan=full_scan)
            self.recorded += [
                claimed.entry.execution_id for claimed in await ledger.claim(10_000, now=simulated_api.clock.now())
            ]
            for status in await ledger.feeds():
                self.checkpoint = status.checkpoint
            counters = await ledger.audit()
        # Another process claims all pending entries once more, and none is pending twice.
        assert counters.recorded == counters.pending == len(set(self.recorded))
        return summary


simulations = given(st.randoms(use_true_random=False), traits, st.lists(st.sampled_from(JUMPS), max_size=8))


@simulations
@examples(40, short=20)
def test_every_listed_failure_is_recorded_once(random: Random, traits: Traits, jumps: list[timedelta]) -> None:
    asyncio.run(run_simulation(random, traits, jumps))


@pytest.mark.long
@simulations
@examples(200)
def test_every_listed_failure_is_recorded_once_long(random: Random, traits: Traits, jumps: list[timedelta]) -> None:
    asyncio.run(run_simulation(random, traits, jumps))


async def run_simulation(random: Random, traits: Traits, jumps: list[timedelta]) -> None:
    simulated_api = SimulatedApi(random, QuickClock(), traits)
    started_at = simulated_api.api_now()
    with TemporaryDirectory() as folder:
        simulation = Simulation(simulated_api, Path(folder) / "ledger.db")
        for jump in jumps:
            summary = await simulation.read()
            assert simulation.checkpoint.watermark is None or simulation.checkpoint.watermark <= simulated_api.api_now()
            event("complete" if summary else "aborted")
            simulated_api.clock.advance(jump.total_seconds())
        simulated_api.is_quiet = True
        assert await simulation.read(full_scan=True) is not None
    floor = simulation.checkpoint.floor
    assert floor is not None
    # The API sends whole seconds, and a response takes time. A floor that is a little too low is harmless.
    assert started_at - timedelta(minutes=5) <= floor <= started_at
    assert set(simulation.recorded) == {
        execution_id for execution_id, stop in simulated_api.stops.items() if stop > floor
    }
