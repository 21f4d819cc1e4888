"""A process that has loaded the program once, and forks for each command: a start then costs milliseconds.

The process under test gets its own arguments, environment, directory and streams, and ends with the code and output of
any interpreter. A start that tests the interpreter (a variable that Python reads, a program in between) is a real
`exec`. With `--long` each one is, except in tests that repeat another one with other data (`use_fork_server`).
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

if TYPE_CHECKING:
    import pytest

ROOT: Final = Path(__file__).parents[2]
MAX_REQUEST_BYTES: Final = 128 * 1024
PRELOADED: Final = (
    "forwarder.cli",
    "forwarder.daemon",
    "forwarder.once",
    # Modules that the program imports when it needs them.
    "anyio._backends._asyncio",
    "concurrent.futures.thread",
    "ctypes",
    "encodings.utf_8_sig",
    "httpcore",
    "importlib.resources.readers",
    "typer._adapters",
)
START_ENVIRONMENT: Final = {"LANG": "C.UTF-8"}
READ_ONCE: Final = ("PYTHON", "LC_", "LANG", "LD_", "MALLOC", "OPENSSL", "TZ")
"""Beginnings of the variables that are read only when a process starts. A fork has the values of START_ENVIRONMENT."""


class ForkedProcess:
    """A process that the server forked, with the part of the interface of `subprocess.Popen` that the tests use."""

    def __init__(self, pid: int, handle: int, status: socket.socket) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._handle = handle
        self._status = status

    def __del__(self) -> None:
        self._status.close()
        os.close(self._handle)

    def poll(self) -> int | None:
        """Return the exit code, or minus the signal, or None while the process runs."""
        return self._read(0)

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code. Raise TimeoutExpired if the process does not end in time."""
        if (code := self._read(timeout)) is None:
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0)
        return code

    def send_signal(self, number: int) -> None:
        """Send the signal, unless the process has ended."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._handle, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _read(self, timeout: float | None) -> int | None:
        if self.returncode is None and select.select([self._status], [], [], timeout)[0]:
            self.returncode = int(self._status.recv(16) or b"-9")  # a server that ends kills its processes
        return self.returncode


class ForkServer:
    """The tests' end of the server. With `--long` it is used only where a test asks for it."""

    is_supported: ClassVar[bool] = hasattr(os, "pidfd_open")
    is_used: ClassVar[bool] = is_supported

    def __init__(self) -> None:
        self._socket, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with other:
            self._process = subprocess.Popen(  # noqa: S603 - this module
                [sys.executable, "-m", "tests.harness.fork_server", str(other.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[other.fileno()],
                env={"PATH": os.environ["PATH"], **START_ENVIRONMENT},
                cwd=ROOT,
            )

    def start(
        self, module: str, words: Sequence[str], streams: Sequence[int], env: Mapping[str, str], cwd: Path
    ) -> ForkedProcess:
        """Run `python -m module words`. `streams` are the files of stdin, stdout and stderr."""
        request = json.dumps({"module": module, "words": list(words), "env": dict(env), "cwd": str(cwd)}).encode()
        status, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with other:
            socket.send_fds(self._socket, [request], [*streams, other.fileno()])
        pid, handles, _, _ = socket.recv_fds(status, 16, 1)
        assert handles, "the fork server has ended"
        return ForkedProcess(int(pid), handles[0], status)

    def stop(self) -> None:
        """End the server, and with it each process that still runs."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._process.wait()


lock = threading.Lock()
servers: list[ForkServer] = []


def fork_server() -> ForkServer:
    """Return the one server of this process, which the first call starts."""
    with lock:
        if not servers:
            servers.append(ForkServer())
        return servers[0]


def stop_fork_server() -> None:
    """End the server of this process, if there is one."""
    while servers:
        servers.pop().stop()


def use_fork_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fork the commands of this test with `--long` too, because another test has started the same ones."""
    monkeypatch.setattr(ForkServer, "is_used", ForkServer.is_supported)


def can_fork(env: Mapping[str, str]) -> bool:
    """Return whether a fork behaves like a start with this environment."""
    return ForkServer.is_used and {name: env[name] for name in env if name.startswith(READ_ONCE)} == START_ENVIRONMENT


def serve(control: socket.socket) -> bytes | None:
    """Fork for each request. Return the request in the new process, and None in the server when the tests end."""
    running: dict[int, tuple[int, socket.socket]] = {}  # by the handle of the process
    poll = select.poll()
    poll.register(control, select.POLLIN)
    while True:
        for ready, _ in poll.poll():
            if ready in running:
                poll.unregister(ready)
                report(ready, *running.pop(ready))
                continue
            request, files, _, _ = socket.recv_fds(control, MAX_REQUEST_BYTES, 4)
            if not request:
                for handle, (pid, status) in running.items():
                    signal.pidfd_send_signal(handle, signal.SIGKILL)
                    report(handle, pid, status)
                return None
            *streams, listener = files
            if (pid := os.fork()) == 0:
                leave_server(control, running, streams, listener)
                return request
            for file in streams:
                os.close(file)
            status, handle = socket.socket(fileno=listener), os.pidfd_open(pid)
            running[handle] = pid, status
            poll.register(handle, select.POLLIN)
            with contextlib.suppress(OSError):  # tests that are killed do not listen
                socket.send_fds(status, [b"%d" % pid], [handle])


def leave_server(
    control: socket.socket, running: Mapping[int, tuple[int, socket.socket]], streams: Sequence[int], listener: int
) -> None:
    """Close the files of the server in a new process, and take the streams of its own."""
    control.close()
    for handle, (_, status) in running.items():
        os.close(handle)
        status.close()
    for target, file in enumerate(streams):
        os.dup2(file, target)
    for file in (*streams, listener):
        os.close(file)


def report(handle: int, pid: int, status: socket.socket) -> None:
    """Send the exit code of an ended process to the tests, if they still listen."""
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os.close(handle)
    with status, contextlib.suppress(OSError):
        status.send(b"%d" % code)


def load_program() -> None:
    """Load the program, and make what a process makes once and keeps: the command line, the SDK's service models."""
    for name in PRELOADED:
        importlib.import_module(name)
    from forwarder.cli import command  # noqa: PLC0415  # the tests' end of the server does not need it
    from tests.harness.few_certificates import trust_few_certificates  # noqa: PLC0415  # as above

    trust_few_certificates()
    command()
    asyncio.run(make_clients())


async def make_clients() -> None:
    """Make each of the forwarder's clients of the SDK. They send nothing."""
    from forwarder.aws.credentials import Identity  # noqa: PLC0415  # as above
    from forwarder.settings.sections import DestinationSettings  # noqa: PLC0415  # as above

    session = Identity(DestinationSettings(event_bus="b", region="eu-central-1")).session()
    session.set_credentials("id", "secret")
    for service in ("events", "sts", "s3"):
        async with session.create_client(service):
            pass


def main() -> None:
    """Load the program and serve. A new process leaves `serve` and runs its command as the interpreter would."""
    load_program()
    gc.collect()
    gc.freeze()
    message = serve(socket.socket(fileno=int(sys.argv[1])))
    if message is None:
        return
    request = json.loads(message)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    sys.path[0] = request["cwd"]
    sys.argv = ["", *request["words"]]
    try:
        runpy.run_module(request["module"], run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if isinstance(end.code, int):
            leave(end.code)
        raise
    leave(0)


def leave(code: int) -> None:
    """End the process like the interpreter, without freeing its objects: that takes longer than most commands.

    Return if threads still run, which the interpreter waits for.
    """
    if threading.active_count() == 1:
        atexit._run_exitfuncs()  # noqa: SLF001  # the only way to run them
        for stream in (sys.stdout, sys.stderr):
            if stream is not None and not stream.closed:
                stream.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
