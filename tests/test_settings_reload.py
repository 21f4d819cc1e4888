"""The reload of a settings file that is being written."""

import asyncio
import contextlib
from pathlib import Path

from structlog.testing import capture_logs

from forwarder.app import App
from forwarder.aws.responses import CODES
from forwarder.clock import SystemClock
from forwarder.configuration import RuntimeConfig
from forwarder.delivery.settlement import SettlementWriter
from forwarder.health import Health
from forwarder.heartbeat import Heartbeats
from forwarder.ledger import SqliteLedger
from forwarder.metrics import Metrics
from forwarder.model import State
from forwarder.settings import ConfigSource, load
from forwarder.settings_reload import SettingsReload
from forwarder.systemd import ServiceManager
from tests.waiting import until, with_deadline

OFF = """enabled = false
[source]
workflows = ["w"]
[destination]
event_bus = "failures"
region = "eu-central-1"
"""


class HealthOfAWriter(Health):
    """The health of a process whose settings file is completed at the moment when it is reported as invalid."""

    def __init__(self, clock: SystemClock, file: Path, content: str) -> None:
        super().__init__(clock.now)
        self._file, self._content = file, content

    def report(self, name: str, state: State, reason: str = "", hint: str = "") -> None:
        super().report(name, state, reason, hint)
        if state is State.FAILED:
            self._file.write_text(self._content)


@with_deadline
async def test_half_written_file_switches_nothing_off(tmp_path: Path) -> None:
    """An editor truncates the file, and then writes it: the switch is that of the content that is invalid."""
    messages = await messages_of_a_reload(tmp_path, OFF.replace("false", "true", 1), OFF, "settings reloaded")
    assert messages == ["invalid settings, keeping previous", "settings reloaded"]


@with_deadline
async def test_file_that_is_valid_again_is_logged(tmp_path: Path) -> None:
    messages = await messages_of_a_reload(tmp_path, OFF, OFF, "settings valid again")
    assert messages == ["invalid settings, keeping previous", "settings valid again"]


async def messages_of_a_reload(folder: Path, before: str, after: str, last: str) -> list[str]:
    """Return what is logged until the last message, when a file is truncated, and completed while it is reported."""
    clock, config_source = SystemClock(), ConfigSource(folder / "forwarder.toml", {})
    config_source.file.write_text(before)
    async with SqliteLedger(folder / "forwarder.db", create=True) as ledger:
        health = HealthOfAWriter(clock, config_source.file, after)
        config = RuntimeConfig(load(config_source))
        writer = SettlementWriter(ledger, clock, health)
        app = App(config_source, ledger, clock, health, Heartbeats(), Metrics(CODES), writer, config)
        settings_reload = SettingsReload(app, asyncio.Event(), ServiceManager(), lambda: None)
        config_source.file.write_text("")
        with capture_logs() as logs:
            task = asyncio.create_task(settings_reload.run())
            await until(lambda: any(entry["event"] == last for entry in logs))
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
    return [entry["event"] for entry in logs if entry["event"] != "component state changed"]
