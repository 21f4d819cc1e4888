"""`forwarder demo`: the whole way of a failed execution, played on this machine with the real daemon."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from rich.console import Console

from forwarder.demo import scenes
from forwarder.demo.process import Books, StoryError
from forwarder.demo.screen import Screen
from forwarder.demo.stage import REQUESTS_IN_FLIGHT, Stage, set_stage
from forwarder.demo.tally import Tally
from forwarder.demo.world import BUSY, WORKFLOWS

_INTERRUPTED = 130
_TITLE = "From a failed workflow to an event bus"
_SUBTITLE = "The real daemon between a local logs API and an emulated AWS; nothing leaves this machine."


def play(console: Console, *, keep: bool) -> int:
    """The exit code: 0 only when all numbers agree and the daemon ended well.

    With `keep`, everything stays up until Ctrl-C. Raises UsageError when moto is not installed.
    """
    screen = Screen(console, workflow_width=max(map(len, WORKFLOWS)))
    screen.title(_TITLE, _SUBTITLE)
    try:
        with _every_end_like_ctrl_c(), set_stage(screen) as stage, _log_shown_on_failure(stage):
            return perform(stage, keep=keep)
    except StoryError as error:
        screen.wrong(error.message)
        return 1
    except KeyboardInterrupt:
        screen.note("Interrupted; everything is taken down.")
        return _INTERRUPTED


def perform(stage: Stage, *, keep: bool) -> int:
    """The scenes on a stage that is set; 0. Raises StoryError where something is not as it should be."""
    began, screen = time.monotonic(), stage.screen
    if keep:
        screen.note("Its page, to watch all of this, and to play with afterwards:")
        _tell_page(stage)
    late = stage.world.begin()
    scenes.find_what_is_there(stage)
    scenes.shift_pages(stage, late)
    scenes.switch_off_and_on(stage)
    at_the_kill = scenes.kill_in_a_burst(stage)
    tally = _count(stage, at_the_kill)
    screen.table(tally.rows())
    if wrong := tally.disagreements():
        raise StoryError(" ".join(wrong))
    twice = f", {tally.duplicates} twice because of the kill" if tally.duplicates else ""
    seconds = time.monotonic() - began
    screen.result(f"The numbers agree: every failure arrived{twice}, and nothing else. {seconds:.0f} s.")
    if keep:
        _keep(stage)
    code, took = stage.forwarder.stop()
    if code:
        raise StoryError(f"The daemon answered SIGTERM with exit code {code}.")
    screen.result(f"SIGTERM: the daemon ended with exit code 0 in {took:.1f} s.")
    return 0


def _count(stage: Stage, at_the_kill: frozenset[str]) -> Tally:
    stage.screen.step("The numbers.")
    books = _settled_books(stage)
    stage.watch.drain()
    return Tally(
        listed=len(stage.world.listed),
        failed=frozenset(stage.world.failed),
        arrived=dict(stage.watch.arrived),
        at_the_kill=at_the_kill,
        requests_in_flight=REQUESTS_IN_FLIGHT,
        books=books,
        leaked=stage.watch.leaked,
    )


def _settled_books(stage: Stage) -> Books:
    """The books once nothing is owed: a settle follows its event by a moment."""
    deadline = time.monotonic() + 10
    while (books := stage.forwarder.books()).owed and time.monotonic() < deadline:
        stage.watch.during(0.2)
    return books


def _keep(stage: Stage) -> None:
    """Until Ctrl-C."""
    screen, settings = stage.screen, stage.forwarder.settings_file
    screen.step("Everything stays up until Ctrl-C. Open the page, log in with the token, and play with it:")
    _tell_page(stage)
    screen.addresses(
        [
            ("logs API", stage.logs.base_url),
            ("AWS", stage.aws.endpoint_url),
            ("event bus", stage.aws.event_bus),
            ("queue", stage.aws.queue_url),
            ("settings", str(settings)),
            ("daemon's log", str(stage.forwarder.log_file)),
            (
                "make one fail",
                f"curl -X POST '{stage.logs.base_url}/demo/fail?workflow={BUSY}&message=out+of+tea'",
            ),
            ("switch it off", f"forwarder -c {settings} disable"),
            ("look inside", f"forwarder -c {settings} status"),
        ]
    )
    try:
        while True:
            stage.watch.during(1)
            if (code := stage.forwarder.ended()) is not None:
                screen.note(f"The daemon ended with exit code {code}. Again: forwarder -c {settings} run")
    except KeyboardInterrupt:
        screen.note("Ctrl-C: everything is taken down.")


def _tell_page(stage: Stage) -> None:
    stage.screen.addresses([("page", stage.page), ("token", stage.token)])


@contextmanager
def _log_shown_on_failure(stage: Stage) -> Iterator[None]:
    try:
        yield
    except Exception:
        stage.screen.log(stage.forwarder.log_tail())
        raise


@contextmanager
def _every_end_like_ctrl_c() -> Iterator[None]:
    """SIGTERM and SIGHUP take everything down, too, and leave no daemon behind."""
    if threading.current_thread() is not threading.main_thread():  # only there may handlers be set
        yield
        return

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
