"""Steps that strike the process: its settings, its keys, its clock, its signals and its life."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Final, TypeAlias

from tests.faults.installation import eventually
from tests.faults.simulation_environment import LONGEST_TRUST, Scene
from tests.faults.workload import CANARY

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


def toggle(scene: Scene, draw: Random, _: str) -> None:
    on = not scene.home.settings["enabled"]
    if draw.random() < 0.15 and not scene.settings_broken:
        scene.home.settings["enabled"] = on
        scene.run_command("enable" if on else "disable")
    else:
        scene.write_settings(draw.choice(WAYS), enabled=on)


def change_settings(scene: Scene, draw: Random, _: str) -> None:
    vary_settings(scene, draw)
    scene.write_settings(draw.choice(WAYS))


def break_settings(scene: Scene, draw: Random, _: str) -> None:
    """Another text that is none, or the beginning of a good one."""
    good = scene.home.text()
    text = draw.choice([*BROKEN, *[good[: draw.randrange(len(good) - 2)] for _ in BROKEN]])
    scene.home.write(text, draw.choice(WAYS))
    scene.settings_broken = True


def reload(scene: Scene, _: Random, __: str) -> None:
    scene.send(signal.SIGHUP)


def set_key(scene: Scene, draw: Random, _: str) -> None:
    """The key of the logs API is replaced, here first and then there."""
    if scene.settings_broken:
        return
    key = f"{CANARY}-alloy-{draw.randrange(10**6)}"
    scene.run_command("keys", "set", "alloy-api-key", stdin=key)
    scene.alloy.api.api_key = key


def retry_dead_letters(scene: Scene, _: Random, __: str) -> None:
    if not scene.settings_broken:
        scene.run_command("dead-letters", "retry", "--all")


def set_clock(scene: Scene, draw: Random, _: str) -> None:
    """The machine's clock is set, hours ahead or back; the API's goes on as before."""
    scene.driver.set_clock(draw.uniform(-6, 6) * 3600)


def mend(scene: Scene, _: Random, __: str) -> None:
    """All is well again: what is owed goes out without a restart."""
    scene.mend()
    scene.require_recovery()


def stop(scene: Scene, _: Random, __: str) -> None:
    scene.stop()
    scene.start()


def kill(scene: Scene, _: Random, __: str) -> None:
    scene.send(signal.SIGKILL)
    scene.revive()


def kill_at(scene: Scene, draw: Random, point: str) -> None:
    """Death at a named point, which traffic, a change or time brings about; all is mended first if it must be."""
    scene.driver.arm(point)
    for mended in (False, True):
        if mended:
            scene.mend()
        _bring_about(scene, draw, point)
        if eventually(lambda: scene.daemon.ended is not None, within=scene.patience if mended else TO_ARRIVE):
            break
    else:
        scene.problem(f"{point} was never reached")
        scene.driver.arm("")
        return
    scene.revive()


def _bring_about(scene: Scene, draw: Random, point: str) -> None:
    scene.world.fail(draw, 4)
    if point.startswith("note:"):
        scene.run_command("status")  # which asks the daemon for word of how it does
    if point.startswith("save_bus_verified"):
        time.sleep(scene.sim.real(LONGEST_TRUST))
        scene.world.fail(draw)
    if point.startswith("requeue"):
        scene.until_owed_nothing()
        scene.lose_bus()
        scene.make_bus_missed()
    if point.startswith(("switch", "begin")):
        vary_settings(scene, draw, CHANGES[:1])
        scene.write_settings("rename")


def vary_settings(scene: Scene, draw: Random, changes: Sequence[Change] = CHANGES) -> None:
    """A change that is one, whatever the settings are."""
    section, fields = draw.choice(changes)
    name = draw.choice(list(fields))
    table = scene.home.settings[section]
    table[name] = draw.choice([value for value in fields[name] if value != table.get(name)])


ACTS: Final[dict[str, Callable[[Scene, Random, str], None]]] = {
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
