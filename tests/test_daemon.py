"""The daemon's main loop on a ledger that other processes share."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from forwarder import daemon
from forwarder.clock import SystemClock
from forwarder.delivery.dispatcher import Dispatcher
from forwarder.ledger import Fleet, Ledger
from forwarder.model import State
from forwarder.settings import ConfigSource
from forwarder.startup import open_app
from tests.harness.installation import Installation
from tests.waiting import until


class SwitchedMeanwhile:
    """A ledger whose switch of all processes is off until this process leaves. Another process switches it on then."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.is_on = False
        self.reads_after_leaving = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)

    async def leave(self) -> None:
        self.is_on = True

    async def saved_switch(self) -> bool:
        self.reads_after_leaving += self.is_on
        return self.is_on


class HeartbeatLog:
    """A ledger that records the calls of its heartbeats, each of which takes a moment."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.calls: list[str] = []
        self.running = 0
        self.most_running = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)

    async def beat(self) -> Fleet:
        await self._record("beat")
        return await self._ledger.beat()

    async def keep_alive(self) -> None:
        await self._record("keep_alive")

    async def _record(self, name: str) -> None:
        self.calls.append(name)
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            await asyncio.sleep(0.05)
        finally:
            self.running -= 1


async def test_heartbeats_go_on_while_requests_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a reload, they are those of the new loops. After a stop, those of a process that drains. Never both."""
    answered = asyncio.Event()

    async def drain(_: Dispatcher) -> None:
        await answered.wait()

    monkeypatch.setattr(Dispatcher, "drain", drain)
    installation = Installation(tmp_path, ledger={"heartbeat_interval": "200ms"})
    installation.create_vault()
    ledgers: list[HeartbeatLog] = []

    def wrapped(ledger: Ledger) -> Any:
        ledgers.append(HeartbeatLog(ledger))
        return ledgers[0]

    stopping, reload = asyncio.Event(), asyncio.Event()
    async with open_app(ConfigSource(installation.settings_file, {}), SystemClock(), wrapped) as app:
        running = asyncio.create_task(daemon.Daemon(app, stopping, reload).run())
        calls = ledgers[0].calls
        await until(lambda: calls)
        installation.change("source", workflows=["another"])
        reload.set()
        await until(lambda: [each.workflow_id for each in app.config.settings.source.workflows] == ["another"])
        count = len(calls)
        await until(lambda: len(calls) >= count + 5)
        assert set(calls) == {"beat"}, "requests of the loops before are in flight"
        stopping.set()
        await until(lambda: calls.count("keep_alive") >= 3)
        answered.set()
        await running
    assert calls == sorted(calls), "no loop writes heartbeats after the stop"
    assert ledgers[0].most_running == 1


async def test_switch_that_changes_when_a_pause_begins_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first read of the pause has the new value already. The process forwards, and does not stay paused."""
    monkeypatch.setattr(daemon, "SWITCH_CHECK_SECONDS", 0.01)
    installation = Installation(tmp_path)
    installation.create_vault()
    ledgers: list[SwitchedMeanwhile] = []

    def wrapped(ledger: Ledger) -> Any:
        ledgers.append(SwitchedMeanwhile(ledger))
        return ledgers[0]

    stopping = asyncio.Event()
    async with open_app(ConfigSource(installation.settings_file, {}), SystemClock(), wrapped) as app:
        running = asyncio.create_task(daemon.Daemon(app, stopping, asyncio.Event()).run())
        await until(lambda: ledgers[0].reads_after_leaving > 5)
        state = app.health.components["source"].state
        stopping.set()
        await running
    assert state is not State.PAUSED
