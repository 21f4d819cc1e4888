"""The fork server: its processes behave like real starts, and none is left when it ends."""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.fork_server import ForkedProcess, ForkServer, can_fork
from tests.harness.installation import PROGRAM
from tests.harness.process import eventually

ENVIRONMENT = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "COLUMNS": "100"}

pytestmark = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="this system starts each process")


def start(server: ForkServer, output: Path, *words: str, module: str = "forwarder") -> ForkedProcess:
    with output.open("wb") as file, Path(os.devnull).open("rb") as nothing:
        return server.start(module, words, (nothing.fileno(), file.fileno(), file.fileno()), ENVIRONMENT, output.parent)


@pytest.fixture(scope="module")
def server() -> Iterator[ForkServer]:
    """Return a server that the tests of its processes share: its start loads the whole program."""
    server = ForkServer()
    yield server
    server.stop()


@pytest.mark.parametrize(
    "words",
    [
        ["statos"],
        ["schema"],
        pytest.param(["--help"], marks=pytest.mark.long),
        pytest.param(["-c", "none.toml", "once"], marks=pytest.mark.long),
    ],
)
def test_fork_has_the_output_and_code_of_a_start(server: ForkServer, words: list[str], tmp_path: Path) -> None:
    with (tmp_path / "started").open("wb") as file:
        code = subprocess.run(  # noqa: S603  # the program under test
            [*PROGRAM, *words], env=ENVIRONMENT, cwd=tmp_path, stdout=file, stderr=file, check=False
        ).returncode
    assert start(server, tmp_path / "forked", *words).wait(20) == code
    assert (tmp_path / "forked").read_text() == (tmp_path / "started").read_text()


def test_fork_killed_by_a_signal_reports_the_signal(server: ForkServer, tmp_path: Path) -> None:
    process = start(server, tmp_path / "output", "0", "--bind", "127.0.0.1", module="http.server")
    assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    assert process.wait(20) == -signal.SIGKILL


def test_stopped_server_leaves_no_process(tmp_path: Path) -> None:
    server = ForkServer()
    process = start(server, tmp_path / "output", "0", "--bind", "127.0.0.1", module="http.server")
    server.stop()
    assert process.wait(20) == -signal.SIGKILL
    assert eventually(lambda: not Path(f"/proc/{process.pid}").exists())


def test_fork_is_refused_for_variables_of_the_interpreter() -> None:
    assert can_fork(ENVIRONMENT) is ForkServer.is_used
    assert not can_fork(ENVIRONMENT | {"PYTHONUTF8": "0"})
    assert not can_fork(ENVIRONMENT | {"LANG": "C"})
