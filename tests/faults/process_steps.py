"""The steps that act on the process: its settings, its keys, its clock, and its signals."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Final, TypeAlias

from tests.faults.simulation_environment import BUS_CHECK_SECONDS, SimulationEnvironment
from tests.faults.workload import CANARY
from tests.harness.process import eventually

WRITE_METHODS: Final = ("rename", "in place", "symlink")

Change: TypeAlias = tuple[str, dict[str, list[Any]]]

CHANGES: Final[tuple[Change, ...]] = (
    ("source", {"page_size": [5, 30], "overlap": ["2m", "10m"], "discover": [False, True], "concurrency": [1, 8]}),
    ("event", {"payload": ["full", "errors", "none"], "detail_type": ["Failed", "Workflow Execution Failed"]}),
    ("destination", {"concurrency": [1, 4], "max_entry_bytes": [16_384, 260_000]}),
    ("ledger", {"payload_retention": ["10m", "1h"]}),
    ("run", {"log_level": ["info", "debug"]}),
)

INVALID_TEXTS: Final = (
    "",
    "\n# nothing\n",
    f'enabled = true\n[source]\napi_key = "{CANARY}-in-settings"\n',
    f'[source]\nbase_url = "https://user:{CANARY}-in-url@shop.example"\n',
    f'[destination]\nregion = "{CANARY}"\nevent_bus = "b"\n',
    f"[source\nkey = {CANARY}-not-toml",
    "enabled = 7\n",
)
"""Invalid settings files. No output may contain their values."""

REACH_SECONDS: Final = 0.8
"""The time in which a point should be reached before the faults are repaired so that it must be reached."""


def toggle(environment: SimulationEnvironment, draw: Random, _: str) -> None:
    on = not environment.installation.settings["enabled"]
    if draw.random() < 0.15 and not environment.settings_broken:
        environment.installation.settings["enabled"] = on
        environment.run_command("enable" if on else "disable")
    else:
        environment.write_settings(draw.choice(WRITE_METHODS), enabled=on)


def change_settings(environment: SimulationEnvironment, draw: Random, _: str) -> None:
    vary_settings(environment, draw)
    environment.write_settings(draw.choice(WRITE_METHODS))


def break_settings(environment: SimulationEnvironment, draw: Random, _: str) -> None:
    """Write invalid settings, or the first part of valid ones."""
    good = environment.installation.text()
    text = draw.choice([*INVALID_TEXTS, *[good[: draw.randrange(len(good) - 2)] for _ in INVALID_TEXTS]])
    environment.installation.write(text, draw.choice(WRITE_METHODS))
    environment.settings_broken = True


def reload(environment: SimulationEnvironment, _: Random, __: str) -> None:
    environment.send(signal.SIGHUP)


def set_key(environment: SimulationEnvironment, draw: Random, _: str) -> None:
    """Replace the key of the logs API, first in the vault and then in the API."""
    if environment.settings_broken:
        return
    key = f"{CANARY}-alloy-{draw.randrange(10**6)}"
    environment.run_command("keys", "set", "alloy-api-key", stdin=key)
    environment.alloy.api.api_key = key


def retry_dead_letters(environment: SimulationEnvironment, _: Random, __: str) -> None:
    if not environment.settings_broken:
        environment.run_command("dead-letters", "retry", "--all")


def set_clock(environment: SimulationEnvironment, draw: Random, _: str) -> None:
    """Set the machine's clock up to six hours ahead or back. The API's clock is unchanged."""
    environment.driver.set_clock(draw.uniform(-6, 6) * 3600)


def repair(environment: SimulationEnvironment, _: Random, __: str) -> None:
    """Repair everything, and require that pending entries are sent without a restart."""
    environment.repair()
    environment.require_recovery()


def stop(environment: SimulationEnvironment, _: Random, __: str) -> None:
    environment.stop()
    environment.start()


def kill(environment: SimulationEnvironment, _: Random, __: str) -> None:
    environment.send(signal.SIGKILL)
    environment.restart_after_kill()


def kill_at(environment: SimulationEnvironment, draw: Random, point: str) -> None:
    """Kill the process at a point that traffic, a change or time triggers. Repair everything if it is not reached."""
    environment.driver.arm(point)
    for is_repaired in (False, True):
        if is_repaired:
            environment.repair()
        _trigger(environment, draw, point)
        if eventually(
            lambda: environment.daemon.exit_code is not None,
            within=environment.recovery_seconds if is_repaired else REACH_SECONDS,
        ):
            break
    else:
        environment.problem(f"{point} was never reached")
        environment.driver.arm("")
        return
    environment.restart_after_kill()


def _trigger(environment: SimulationEnvironment, draw: Random, point: str) -> None:
    environment.workload.fail(draw, 4)
    if point.startswith("save_daemon_status:"):
        environment.run_command("status")  # the daemon saves its status when a command requests it
    if point.startswith("save_bus_verified"):
        time.sleep(environment.sim.real_seconds(BUS_CHECK_SECONDS))
        environment.workload.fail(draw)
    if point.startswith("requeue"):
        environment.wait_until_delivered()
        environment.delete_bus()
        environment.trigger_bus_check()
    if point.startswith(("save_switch", "add_feeds", "save_watched")):
        vary_settings(environment, draw, CHANGES[:1])
        environment.write_settings("rename")


def vary_settings(environment: SimulationEnvironment, draw: Random, changes: Sequence[Change] = CHANGES) -> None:
    """Change one setting to a value that differs from the present one."""
    section, fields = draw.choice(changes)
    name = draw.choice(list(fields))
    table = environment.installation.settings[section]
    table[name] = draw.choice([value for value in fields[name] if value != table.get(name)])


ACTIONS: Final[dict[str, Callable[[SimulationEnvironment, Random, str], None]]] = {
    "toggle": toggle,
    "change settings": change_settings,
    "break settings": break_settings,
    "reload": reload,
    "set key": set_key,
    "retry dead": retry_dead_letters,
    "set clock": set_clock,
    "repair": repair,
    "stop": stop,
    "kill": kill,
    "kill at": kill_at,
}
