"""The consumer of the demo: it takes events out of the queue, prints them, and counts them."""

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
    """A consumer of the queue.

    `arrived` counts the messages of each execution id. `known_keys` has the idempotency keys, by which the output marks
    an event that arrived before; a deliberate replay has a new key. `bodies` are the complete messages. `leaked` counts
    the events that contain `secret`.
    """

    aws: FakeAws
    forwarder: ForwarderProcess
    output: ConsoleOutput
    secret: str = field(repr=False)
    arrived: Counter[str] = field(default_factory=Counter, init=False)
    known_keys: set[str] = field(default_factory=set, init=False)
    bodies: list[str] = field(default_factory=list, init=False)
    leaked: int = field(default=0, init=False)

    @property
    def duplicates(self) -> int:
        return self.arrived.total() - len(self.arrived)

    def consume_until(self, done: Callable[[], bool], what: str, *, within: float = 30.0) -> float:
        """Print arriving events until `done()` is true, and return the seconds that this took.

        Raise DemoError, which names `what`, after `within` seconds or if the daemon ended.
        """
        started_at = time.monotonic()
        while not done():
            self._check(started_at + within, what, within)
            if not self.consume():
                time.sleep(_POLL_INTERVAL_SECONDS)
        return time.monotonic() - started_at

    def wait_for_queued(self, events: int, what: str, *, within: float = 30.0) -> None:
        """Wait until the queue holds this number of events, without taking them.

        Raise DemoError, which names `what`, after `within` seconds or if the daemon ended.
        """
        deadline = time.monotonic() + within
        while self.aws.queued() < events:
            self._check(deadline, what, within)

    def consume_for(self, seconds: float) -> int:
        """Print the events that arrive in this time, and return their number."""
        before, end = self.arrived.total(), time.monotonic() + seconds
        while time.monotonic() < end:
            if not self.consume():
                time.sleep(_POLL_INTERVAL_SECONDS)
        return self.arrived.total() - before

    def drain(self) -> None:
        """Print events until the queue is empty."""
        while self.consume():
            pass

    def consume(self) -> int:
        """Print the events that the queue returns now, and return their number."""
        events = self.aws.receive(wait=0)
        for event in events:
            self.arrived[event.execution_id] += 1
            self.bodies.append(event.body)
            self.leaked += self.secret in event.body
            self.output.event(event, again=event.idempotency_key in self.known_keys)
            self.known_keys.add(event.idempotency_key)
        return len(events)

    def _check(self, deadline: float, what: str, within: float) -> None:
        self.forwarder.ensure_running()
        if time.monotonic() > deadline:
            raise DemoError(f"{what} did not happen within {within:g} s")
