"""How each part does, in one place: for the log, for `status`, and for whoever asks the daemon."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import structlog

from forwarder.model import State

log = structlog.get_logger("health")


@dataclass(frozen=True, slots=True)
class Part:
    """`why` and `mend` are sentences for a person, empty while all is well."""

    state: State
    since: datetime
    why: str = ""
    mend: str = ""


class Health:
    """A board that parts report to. A change is logged once; repeating what stands there changes nothing."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._parts: dict[str, Part] = {}
        self.changed = asyncio.Event()

    def report(self, name: str, state: State, why: str = "", mend: str = "") -> None:
        before = self._parts.get(name)
        if before is not None and (before.state, before.why) == (state, why):
            return
        since = before.since if before is not None and before.state == state else self._now()
        self._parts[name] = Part(state, since, why, mend)
        self.changed.set()
        if before is None or before.state != state:
            level = {State.FAILED: log.error, State.DEGRADED: log.warning}.get(state, log.info)
            level("part changed", part=name, state=state.value, **({"why": why, "mend": mend} if why else {}))

    def healthy(self, name: str) -> None:
        self.report(name, State.HEALTHY)

    @property
    def parts(self) -> dict[str, Part]:
        return dict(self._parts)
