"""Steps that strike the process: its settings, its keys, its clock, its signals and its life."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Final, TypeAlias

from tests.faults.simulation_environment import LONGEST_TRUST, SimulationEnvironment
from tests.faults.workload import CANARY
from tests.harness.process import eventually

WAYS: Final = ("rename", "in place", "symlink")

Change: TypeAlias = tuple[str, dict[str, list[Any]]]

CHANGES: Final[tuple[Change, ...]] = (
    ("source", {"page_size": [5, 30], "overlap": ["2m", "10m"], "discover": [False, True], "concurrency": [1, 8]}),
    ("event", {"payload": ["full", "errors", "none"], "detail_type": ["Failed", "Workflow Execution Failed"]}),
    ("destination", {"concurrency": [1, 4], "max_entry_bytes": [16_384, 262_144]}),
    ("ledger", {"payload_retention": ["10m", "1h"]}),
    ("run", {"log_level": ["info", "debug"]}),
)

BROKEN: Final = (
    "",
    "\n# nothing\n",
    f'enabled = true\n[source]\napi_key = "{CANARY}-in-settings"\n',
    f'[source]\nbase_url = "https://user:{CANARY}-in-url@shop.example"\n',
    f'[destination]\nregion = "{CANARY}"\nevent_bus = "b"\n',
    f"[source\nkey = {CANARY}-not-toml",
    "enabled = 7\n",
)
"""Settings of which each is refused. None of what they hold may be told."""

TO_ARRIVE: Final = 0.8
"""Seconds that a point is waited for before all is mended so that it must be reached."""


def toggle(environment: SimulationEnvironment, draw: Random, _: str) -> None:
    on = not environment.installation.settings["enabled"]
    if draw.random() < 0.15 and not environment.settings_broken:
        environment.installation.settings["enabled"] = on
        environment.run_command("enable" if on else "disable")
    else:
        environment.write_settings(draw.choice(WAYS), enabled=on)


def change_settings(environment: SimulationEnvironment, draw: Random, _: str) -> None:
    vary_settings(environment, draw)
    environment.write_settings(draw.choice(WAYS))


def break_settings(environment: SimulationEnvironment, draw: Random, _: str) -> None:
    """Another text that is none, or the beginning of a good one."""
    good = environment.installation.text()
    text = draw.choice([*BROKEN, *[good[: draw.randrange(len(good) - 2)] for _ in BROKEN]])
    environment.installation.write(text, draw.choice(WAYS))
    environment.settings_broken = True


def reload(environment: SimulationEnvironment, _: Random, __: str) -> None:
    environment.send(signal.SIGHUP)


def set_key(environment: SimulationEnvironment, draw: Random, _: str) -> None:
    """The key of the logs API is replaced, here first and then there."""
    if environment.settings_broken:
        return
    key = f"{CANARY}-alloy-{draw.randrange(10**6)}"
    environment.run_command("keys", "set", "alloy-api-key", stdin=key)
    environment.alloy.api.api_key = key


def retry_dead_letters(environment: SimulationEnvironment, _: Random, __: str) -> None:
    if not environment.settings_broken:
        environment.run_command("dead-letters", "retry", "--all")


def set_clock(environment: SimulationEnvironment, draw: Random, _: str) -> None:
    """The machine's clock is set, hours ahead or back; the API's goes on as before."""
    environment.driver.set_clock(draw.uniform(-6, 6) * 3600)


def mend(environment: SimulationEnvironment, _: Random, __: str) -> None:
    """All is well again: what is owed goes out without a restart."""
    environment.mend()
    environment.require_recovery()


def stop(environment: SimulationEnvironment, _: Random, __: str) -> None:
    environment.stop()
    environment.start()


def kill(environment: SimulationEnvironment, _: Random, __: str) -> None:
    environment.send(signal.SIGKILL)
    environment.revive()


def kill_at(environment: SimulationEnvironment, draw: Random, point: str) -> None:
    """Death at a named point, which traffic, a change or time brings about; all is mended first if it must be."""
    environment.driver.arm(point)
    for mended in (False, True):
        if mended:
            environment.mend()
        _bring_about(environment, draw, point)
        if eventually(
            lambda: environment.daemon.exit_code is not None, within=environment.patience if mended else TO_ARRIVE
        ):
            break
    else:
        environment.problem(f"{point} was never reached")
        environment.driver.arm("")
        return
    environment.revive()


def _bring_about(environment: SimulationEnvironment, draw: Random, point: str) -> None:
    environment.workload.fail(draw, 4)
    if point.startswith("save_daemon_status:"):
        environment.run_command("status")  # the daemon saves its status when a command requests it
    if point.startswith("save_bus_verified"):
        time.sleep(environment.sim.real(LONGEST_TRUST))
        environment.workload.fail(draw)
    if point.startswith("requeue"):
        environment.until_owed_nothing()
        environment.lose_bus()
        environment.make_bus_missed()
    if point.startswith(("save_switch", "add_feeds")):
        vary_settings(environment, draw, CHANGES[:1])
        environment.write_settings("rename")


def vary_settings(environment: SimulationEnvironment, draw: Random, changes: Sequence[Change] = CHANGES) -> None:
    """A change that is one, whatever the settings are."""
    section, fields = draw.choice(changes)
    name = draw.choice(list(fields))
    table = environment.installation.settings[section]
    table[name] = draw.choice([value for value in fields[name] if value != table.get(name)])


ACTS: Final[dict[str, Callable[[SimulationEnvironment, Random, str], None]]] = {
    "toggle": toggle,
    "change settings": change_settings,
    "break settings": break_settings,
    "reload": reload,
    "set key": set_key,
    "retry dead": retry_dead_letters,
    "set clock": set_clock,
    "mend": mend,
    "stop": stop,
    "kill": kill,
    "kill at": kill_at,
}
