"""The far end: takes events out of the queue, shows them, and counts them."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from forwarder.demo.console import ConsoleOutput
from forwarder.demo.daemon_process import DemoError, ForwarderProcess
from forwarder.demo.fake_aws import FakeAws

_POLL_INTERVAL_SECONDS = 0.03


@dataclass(slots=True)
class Consumer:
    """`arrived` counts the messages of each executionId, `bodies` are the messages whole; an event that holds `secret`
    has `leaked` it.
    """

    aws: FakeAws
    forwarder: ForwarderProcess
    output: ConsoleOutput
    secret: str = field(repr=False)
    arrived: Counter[str] = field(default_factory=Counter, init=False)
    bodies: list[str] = field(default_factory=list, init=False)
    leaked: int = field(default=0, init=False)

    @property
    def duplicates(self) -> int:
        return self.arrived.total() - len(self.arrived)

    def consume_until(self, done: Callable[[], bool], what: str, *, within: float = 30.0) -> float:
        """Show what arrives until `done`; the seconds it took. Raises DemoError when it does not happen."""
        started_at = time.monotonic()
        while not done():
            self._check(started_at + within, what, within)
            if not self.consume():
                time.sleep(_POLL_INTERVAL_SECONDS)
        return time.monotonic() - started_at

    def wait_for_queued(self, events: int, what: str, *, within: float = 30.0) -> None:
        """Until so many are in the queue, which stay there: to act while others are on their way."""
        deadline = time.monotonic() + within
        while self.aws.queued() < events:
            self._check(deadline, what, within)

    def consume_for(self, seconds: float) -> int:
        """Show what arrives for that long; how many did."""
        before, end = self.arrived.total(), time.monotonic() + seconds
        while time.monotonic() < end:
            if not self.consume():
                time.sleep(_POLL_INTERVAL_SECONDS)
        return self.arrived.total() - before

    def drain(self) -> None:
        """Until the queue is empty."""
        while self.consume():
            pass

    def consume(self) -> int:
        """Show what is there now; how many there were."""
        events = self.aws.receive(wait=0)
        for event in events:
            self.arrived[event.execution_id] += 1
            self.bodies.append(event.body)
            self.leaked += self.secret in event.body
            self.output.event(event, again=self.arrived[event.execution_id] > 1)
        return len(events)

    def _check(self, deadline: float, what: str, within: float) -> None:
        self.forwarder.ensure_running()
        if time.monotonic() > deadline:
            raise DemoError(f"{what} did not happen within {within:g} s")
