"""The scenes of the demo: what is done to the forwarder, what is waited for, and what a person is told."""

from collections.abc import Mapping

from forwarder.demo.process import StoryError
from forwarder.demo.stage import Stage
from forwarder.demo.world import BUSY, OF_VARIANT

_SLIPPED_IN = 8
_WHILE_OFF = 5
_BURST, _KILLED_AT, _AFTER_THE_KILL = 48, 12, 12
_NOTHING_ARRIVES_SECONDS = 1.5
_SILENCE_SECONDS = 0.8  # longer than the longest interval between two readings
_WORKFLOWS = (BUSY, *OF_VARIANT.values())


def find_what_is_there(stage: Stage) -> None:
    world, screen = stage.world, stage.screen
    screen.step(f"{len(world.listed)} executions are listed, {len(world.failed)} of them failed. The daemon starts.")
    screen.command("forwarder run")
    stage.forwarder.start()
    took = stage.watch.until(stage.everything_arrived, "the arrival of all failures")
    screen.result(f"{len(world.failed)} events, {took:.1f} s after the start. What runs or succeeded stays there.")


def shift_pages(stage: Stage, late: str) -> None:
    """Each time a further page is asked for, one more execution has failed: everything moves down by one."""
    world, screen, logs = stage.world, stage.screen, stage.logs
    screen.step(f"Pages shift while they are read: {_SLIPPED_IN} more fail in between. A long run fails, too.")
    slipped_in: list[str] = []

    def shift(path: str, query: Mapping[str, str]) -> None:
        further = path.endswith(f"/{BUSY}/logs") and query.get("page", "0") != "0"
        if further and len(slipped_in) < _SLIPPED_IN:
            slipped_in.append(world.fail(BUSY))

    logs.before_answer = shift
    world.fail_running(late)
    took = stage.watch.until(
        lambda: len(slipped_in) == _SLIPPED_IN and stage.everything_arrived(),
        "the arrival of what failed while pages were read",
    )
    logs.before_answer = None
    screen.result(f"{_SLIPPED_IN + 1} events in {took:.1f} s, {stage.watch.duplicates} twice.")


def switch_off_and_on(stage: Stage) -> None:
    world, screen, logs, watch = stage.world, stage.screen, stage.logs, stage.watch
    screen.step(f"Switched off in the settings file; {_WHILE_OFF} fail meanwhile.")
    screen.edit("forwarder.toml", "enabled = true", "enabled = false")
    stage.forwarder.switch(on=False)
    watch.until(lambda: logs.silent_for > _SILENCE_SECONDS, "the end of polling")
    asked = logs.requests
    for number in range(_WHILE_OFF):
        world.fail(_WORKFLOWS[number % len(_WORKFLOWS)])
    arrived = watch.during(_NOTHING_ARRIVES_SECONDS)
    asked = logs.requests - asked
    if arrived or asked:
        raise StoryError(f"switched off, the daemon sent {arrived} events and asked the logs API {asked} times")
    screen.result(f"{_NOTHING_ARRIVES_SECONDS} s: 0 events, 0 requests to the logs API.")
    screen.step("Switched on again.")
    screen.edit("forwarder.toml", "enabled = false", "enabled = true")
    stage.forwarder.switch(on=True)
    took = watch.until(stage.everything_arrived, "the catching up")
    screen.result(f"Caught up with {_WHILE_OFF} events in {took:.1f} s.")


def kill_in_a_burst(stage: Stage) -> frozenset[str]:
    """The executions that may have been on their way when the daemon was killed."""
    world, screen, watch = stage.world, stage.screen, stage.watch
    screen.step(f"{_BURST + _AFTER_THE_KILL} fail at once; the daemon is killed among them and started again.")
    before = frozenset(world.failed)
    for number in range(_BURST):
        world.fail(_WORKFLOWS[number % len(_WORKFLOWS)])
    watch.until_waiting(_KILLED_AT, "the first arrivals of the burst")
    screen.command(f"kill -9 {stage.forwarder.kill()}")
    for number in range(_AFTER_THE_KILL):
        world.fail(_WORKFLOWS[number % len(_WORKFLOWS)])
    there = len(watch.arrived)
    books = stage.forwarder.books()
    watch.drain()
    recorded, came = books.recorded - len(before), len(watch.arrived) - there
    screen.note(f"Its books: {recorded} of them recorded, {books.owed} still owed. In the queue: {came}.")
    screen.command("forwarder run")
    there = len(watch.arrived)
    stage.forwarder.start()
    took = watch.until(stage.everything_arrived, "the arrival of what failed around the kill")
    screen.result(f"Nothing is lost: the other {len(watch.arrived) - there} arrived {took:.1f} s after the start.")
    return frozenset(world.failed) - before
