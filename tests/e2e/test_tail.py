"""`tail`: one line for each failure found and each event sent, beside a daemon."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from forwarder.demo.sample_data import execution
from tests.e2e.harness import fail, sent
from tests.e2e.terminal import terminal_process
from tests.fakes.alloy import FakeAlloy
from tests.fakes.eventbridge import StrictEventBridge
from tests.harness.installation import PROGRAM, Installation
from tests.harness.process import eventually


@dataclass(frozen=True)
class Tail:
    """A running `forwarder tail`, with its lines and its messages in one file each."""

    process: subprocess.Popen[bytes]
    output: Path

    @property
    def lines(self) -> Sequence[str]:
        return self.output.read_text().splitlines()

    @property
    def messages(self) -> str:
        return self.output.with_suffix(".err").read_text()

    @property
    def changes(self) -> Sequence[Any]:
        """Return kind and id of each line of JSON."""
        return [(line["kind"], line["execution_id"]) for line in map(json.loads, self.lines)]

    def interrupt(self) -> int:
        """Send SIGINT, as Ctrl-C does, and return the exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(20)


@contextmanager
def tail(installation: Installation, *options: str) -> Iterator[Tail]:
    output = installation.directory / "tail.txt"
    with output.open("wb") as out, output.with_suffix(".err").open("wb") as err:
        process = subprocess.Popen(  # noqa: S603 - the program under test
            [*PROGRAM, "-c", str(installation.settings_file), "tail", *options],
            cwd=installation.directory,
            env=installation.environment(),
            stdout=out,
            stderr=err,
        )
        try:
            yield Tail(process, output)
        finally:
            process.kill()
            process.wait()


def fail_with(alloy: FakeAlloy, id_: str, message: str) -> None:
    """List an execution that just failed with this message."""
    alloy.api.add_workflow("v")
    alloy.api.add("w", execution("failed-status", id=id_, started=alloy.api.now()) | {"error": {"message": message}})


def test_tail_of_a_new_ledger_waits_and_misses_nothing(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    fail(alloy, "a")
    with tail(installation, "--json") as tailed:
        assert eventually(lambda: "waiting for the ledger" in tailed.messages)
        with installation.start() as daemon:
            daemon.wait_until(lambda: sent(bus) == ["a"])
            daemon.wait_until(lambda: len(tailed.lines) == 2)
            fail(alloy, "b", ago=0)
            daemon.wait_until(lambda: len(tailed.lines) == 4)
            assert tailed.changes == [("found", "a"), ("sent", "a"), ("found", "b"), ("sent", "b")]
        assert tailed.interrupt() == 130
        assert tailed.messages.count("waiting for the ledger") == 1
        assert "Traceback" not in tailed.messages


@pytest.mark.usefixtures("five_sent_events")
def test_tail_prints_only_what_happens_after_its_start(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    with tail(installation) as tailed:
        assert eventually(lambda: "following" in tailed.messages)
        assert installation.run_command("replay", "now-1", "--yes").code == 0
        fail_with(alloy, "new", "an [odd]\x1b[31m message")
        assert installation.run_command("once").code == 0
        assert eventually(lambda: len(tailed.lines) == 3)
        assert tailed.interrupt() == 130
    assert sent(bus) == ["new", "now-1"]
    again, found, sent_line = tailed.lines
    assert re.match(r"\d\d:\d\d:\d\d  sent   w  now-1 {19}  again: ", again)
    assert re.match(r"\d\d:\d\d:\d\d  found  w  new {21}  an \[odd\].* message$", found)
    assert "\x1b" not in found
    assert re.match(r"\d\d:\d\d:\d\d  sent   w  new {21}  an ", sent_line)


@pytest.mark.usefixtures("five_sent_events")
def test_tail_since_prints_earlier_failures_first(installation: Installation) -> None:
    with tail(installation, "--json", "--since", "1h") as tailed:
        assert eventually(lambda: len(tailed.lines) == 5)
        assert {kind for kind, _ in tailed.changes} == {"found"}
        assert tailed.interrupt() == 130


@pytest.mark.usefixtures("five_sent_events")
def test_tail_at_a_terminal_cuts_lines_to_its_width(installation: Installation, alloy: FakeAlloy) -> None:
    installation.env["COLUMNS"] = "60"
    with terminal_process(installation, "tail") as tailed:
        tailed.wait_for("(following)")
        fail_with(alloy, "new", "word " * 40)
        assert installation.run_command("once").code == 0
        line = re.sub(r"\x1b\[[0-9;]*m", "", tailed.wait_for("(found[^\n]*new[^\n]*)\r\n"))
        assert (len("00:00:00  " + line), line[-1]) == (60, "…")
        assert tailed.interrupt() == 130


@pytest.mark.usefixtures("five_sent_events")
def test_idle_tail_writes_nothing(installation: Installation) -> None:
    with tail(installation) as tailed:
        assert eventually(lambda: "following" in tailed.messages)
        before = written_bytes(tailed.process)
        assert not eventually(lambda: written_bytes(tailed.process) != before, within=2)


def written_bytes(process: subprocess.Popen[bytes]) -> int:
    return int(re.findall(r"^write_bytes: (\d+)", Path(f"/proc/{process.pid}/io").read_text(), re.MULTILINE)[0])


def test_tail_of_a_lost_ledger_fails(installation: Installation) -> None:
    assert installation.run_command("once").code == 0
    for file in installation.directory.glob("forwarder.db*"):
        if not file.name.endswith(".lock"):
            file.unlink()
    done = installation.run_command("tail")
    assert done.code == 1
    assert "waiting" not in done.err


def test_tail_with_an_invalid_period_is_refused(installation: Installation) -> None:
    done = installation.run_command("tail", "--since", "soon")
    assert (done.code, done.out) == (2, "")
    assert "30s, 5m or 24h" in done.err
